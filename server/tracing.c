#include "server/tracing.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "server/bpoints.h"
#include "server/expr.h"
#include "server/gview.h"
#include "server/session.h"
#include "server/values.h"
#include "target/ax.h"
#include "target/x86/insn.h"

enum { LINE_MAX_LEN = 8192, CODE_MAX = 1 << 20, GO_REGISTER_ABI = 17 };

struct values {
	struct value_of *at;
	size_t count;
	bool known; /* there is DWARF for them; else registers are shown */
};

/* One place of the breakpoint. */
struct site {
	struct values arguments;
	struct ax *cfa; /* NULL: not known */
};

struct return_site {
	uint64_t addr;
	size_t site;
	struct values results;
};

/* A call that was printed and has not returned. */
struct open_call {
	int64_t thread;
	uint64_t depth; /* of its frame's end, from the upper end of the stack */
};

struct tracepoint {
	struct trace_options how;
	char *log;
	int fd; /* -1: the client's console */
	struct site *sites;
	size_t site_count;
	struct return_site *returns;
	size_t return_count;
	struct open_call *open;
	size_t open_count, open_room;
	uint64_t second, lines, left_out;
};

/* --- life --- */

struct tracepoint *tracepoint_new(const struct trace_options *how, struct err *err)
{
	struct tracepoint *t = calloc(1, sizeof(*t));

	if (!t || (how->log && !(t->log = strdup(how->log)))) {
		free(t);
		err_set(err, -ENOMEM, "no memory for a trace");
		return NULL;
	}
	t->how = *how;
	t->how.log = t->log;
	t->fd = -1;
	if (!how->log)
		return t;
	t->fd = open(how->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
	if (t->fd < 0) {
		err_set(err, -errno, "cannot open '%s' for writing: %s", how->log, strerror(errno));
		tracepoint_free(t);
		return NULL;
	}
	return t;
}

static void values_fini(struct values *v)
{
	for (size_t i = 0; i < v->count; i++)
		value_of_fini(&v->at[i]);
	free(v->at);
	*v = (struct values){ 0 };
}

void tracepoint_free(struct tracepoint *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->site_count; i++) {
		values_fini(&t->sites[i].arguments);
		ax_free(t->sites[i].cfa);
	}
	for (size_t i = 0; i < t->return_count; i++)
		values_fini(&t->returns[i].results);
	free(t->sites);
	free(t->returns);
	free(t->open);
	free(t->log);
	close_fdp(&t->fd);
	free(t);
}

/* --- which values --- */

static bool add_value(struct values *v, const struct di_var *var)
{
	struct value_of *at =
		v->count < TRACE_VALUES_MAX ? reallocarray(v->at, v->count + 1, sizeof(*at)) : NULL;
	if (!at)
		return false;
	v->at = at;
	value_of_init(&at[v->count++], var);
	return true;
}

static void find_values(struct debuginfo *di, uint64_t pc, bool results, struct values *into)
{
	struct di_var *var = malloc(sizeof(*var));

	into->known = di && debuginfo_has_dwarf(di);
	for (size_t n = 0; var && into->known && debuginfo_parameter(di, pc, n, var) == 0; n++)
		if (var->result == results && !add_value(into, var))
			break;
	free(var);
}

/* --- Go's result registers (cmd/compile, abi-internal.md) --- */

enum { GO_INTS = 9, GO_FLOATS = 15, DWARF_XMM0 = 17 };

struct registers {
	unsigned ints, floats;
};

static bool assign(const struct di_type *t, uint64_t offset, struct registers *r,
		   struct di_var *var, unsigned depth);

static bool add_piece(struct di_var *var, unsigned reg, uint64_t offset, uint64_t size)
{
	struct di_piece *p = &var->pieces[var->count];
	_cleanup_buf_ struct buf code = { 0 };

	if (var->count == DI_PIECES_MAX)
		return false;
	buf_init(&code, DI_CODE_MAX);
	axcode_reg(&code, reg);
	if (buf_error(&code))
		return false;
	*p = (struct di_piece){
		.where = DI_VALUE, .offset = offset, .size = size, .len = code.len
	};
	memcpy(p->code, code.data, code.len);
	var->count++;
	return true;
}

static bool assign_int(uint64_t offset, uint64_t size, struct registers *r, struct di_var *var)
{
	static const uint8_t numbers[GO_INTS] = { 0, 3, 2, 5, 4, 8, 9, 10, 11 };
	return r->ints < GO_INTS && add_piece(var, numbers[r->ints++], offset, size);
}

static bool assign_words(unsigned n, uint64_t offset, struct registers *r, struct di_var *var)
{
	for (unsigned i = 0; i < n; i++)
		if (!assign_int(offset + i * 8, 8, r, var))
			return false;
	return true;
}

static bool assign_members(const struct di_type *t, uint64_t offset, struct registers *r,
			   struct di_var *var, unsigned depth)
{
	struct di_field f;

	for (size_t n = 0; di_type_field_nth(t, n, &f); n++)
		if (!assign(&f.type, offset + f.offset, r, var, depth + 1))
			return false;
	return true;
}

static bool assign(const struct di_type *t, uint64_t offset, struct registers *r,
		   struct di_var *var, unsigned depth)
{
	enum { DEPTH_MAX = 16 };
	struct di_type of;

	if (depth > DEPTH_MAX)
		return false;
	switch (t->kind) {
	case DI_STRING:
	case DI_INTERFACE: return assign_words(2, offset, r, var);
	case DI_SLICE: return assign_words(3, offset, r, var);
	case DI_FLOAT:
		return r->floats < GO_FLOATS &&
		       add_piece(var, DWARF_XMM0 + r->floats++, offset, t->size);
	case DI_STRUCT: return assign_members(t, offset, r, var, depth);
	case DI_ARRAY:
		if (di_type_count(t) > 1 || !di_type_target(t, &of))
			return false;
		return di_type_count(t) == 0 || assign(&of, offset, r, var, depth + 1);
	default: return assign_int(offset, t->size ? t->size : 8, r, var);
	}
}

static void go_results(struct debuginfo *di, uint64_t pc, struct values *into)
{
	struct di_var *var = malloc(sizeof(*var));
	struct registers used = { 0 };

	into->known = di && debuginfo_has_dwarf(di);
	for (size_t n = 0; var && into->known && debuginfo_parameter(di, pc, n, var) == 0; n++) {
		struct registers before = used;
		size_t count = var->count;
		if (!var->result)
			continue;
		struct di_piece first = var->pieces[0];
		var->count = 0;
		if (!assign(&var->type, 0, &used, var, 0)) {
			used = before; /* it is on the stack, where DWARF may say it is */
			var->count = count ? 1 : 0;
			var->pieces[0] = first;
		}
		if (!add_value(into, var))
			break;
	}
	free(var);
}

static void c_result(struct debuginfo *di, uint64_t pc, struct values *into)
{
	struct di_var *var = calloc(1, sizeof(*var));

	into->known = di && debuginfo_has_dwarf(di);
	if (var && into->known && debuginfo_result(di, pc, &var->type)) {
		bool is_float = var->type.kind == DI_FLOAT && var->type.size <= 8;
		bool scalar = var->type.size <= 8 && var->type.kind != DI_STRUCT;
		var->name = "";
		var->result = true;
		if (is_float || scalar)
			add_piece(var, is_float ? DWARF_XMM0 : 0, 0, 0);
		add_value(into, var);
	}
	free(var);
}

static void find_results(const struct place *at, uint64_t pc, struct values *into)
{
	if (!at->go)
		c_result(at->di, pc, into);
	else if (go_model_minor(at->go) >= GO_REGISTER_ABI)
		go_results(at->di, pc, into);
	else
		find_values(at->di, pc, true, into);
}

/* --- preparing --- */

static struct ax *compile_cfa(const struct place *at)
{
	_cleanup_buf_ struct buf code = { 0 };
	struct ax *ax;
	int32_t offset;
	enum { RSP = 7 };

	buf_init(&code, DI_CODE_MAX);
	if (at->go && go_cfa_offset(at->go, at->addr, &offset)) {
		axcode_reg(&code, RSP);
		axcode_add_const(&code, (uint64_t)offset);
	} else if (!at->di || debuginfo_cfa(at->di, at->addr, &code) < 0) {
		return NULL;
	}
	axcode_op(&code, AXCODE_END);
	return ax_compile(code.data, code.len, expr_ax_reg, NULL, &ax, NULL) == 0 ? ax : NULL;
}

static int add_return(struct inferior *inf, struct bpoint *b, size_t site, uint64_t addr,
		      struct err *err)
{
	struct tracepoint *t = b->trace;
	struct point p = {
		.kind = POINT_SW, .internal = true, .number = b->number, .addr = addr, .len = 1
	};

	if (t->return_count == TRACE_RETURNS_MAX)
		return 0;
	struct return_site *at = reallocarray(t->returns, t->return_count + 1, sizeof(*at));
	if (!at)
		return err_set(err, -ENOMEM, "no memory for a trace");
	t->returns = at;
	at += t->return_count;
	*at = (struct return_site){ .addr = addr, .site = site };
	int r = inf->target->ops->points->insert(inf->target, &p, err);
	if (r < 0)
		return r;
	t->return_count++;
	find_results(&b->places.at[site], addr, &at->results);
	return 0;
}

/* Each ret of the function, found by going through its instructions from the first on. */
static int find_returns(struct inferior *inf, struct bpoint *b, size_t site, struct err *err)
{
	const struct place *at = &b->places.at[site];
	size_t len = at->end > at->entry ? (size_t)MIN(at->end - at->entry, (uint64_t)CODE_MAX) : 0;
	_cleanup_free_ uint8_t *code = malloc(len + INSN_MAX);
	struct mem mem = target_mem(inf->target);
	int r = 0;

	/* What was inlined does not return. */
	if (at->go && go_line_at(at->go, at->addr).inlined)
		return 0;
	if (!code || !len || mem_read(&mem, at->entry, code, len) < 0)
		return 0;
	for (size_t i = 0; r == 0 && i < len;) {
		struct insn in;
		if (insn_decode(code + i, len - i, &in) < 0)
			break;
		if (in.is & INSN_RET && !(in.is & INSN_FAR))
			r = add_return(inf, b, site, at->entry + i, err);
		i += in.length;
	}
	return r;
}

int tracepoint_prepare(struct inferior *inf, struct bpoint *b, struct err *err)
{
	struct tracepoint *t = b->trace;
	int r = 0;

	t->sites = calloc(b->places.count, sizeof(*t->sites));
	if (!t->sites)
		return err_set(err, -ENOMEM, "no memory for a trace");
	t->site_count = b->places.count;
	for (size_t i = 0; r == 0 && i < b->places.count; i++) {
		const struct place *at = &b->places.at[i];
		if (t->how.arguments)
			find_values(at->di, at->addr, false, &t->sites[i].arguments);
		t->sites[i].cfa = t->how.returns ? compile_cfa(at) : NULL;
		if (t->sites[i].cfa)
			r = find_returns(inf, b, i, err);
	}
	return r;
}

void tracepoint_remove(struct inferior *inf, const struct bpoint *b)
{
	for (size_t i = 0; i < b->trace->return_count; i++) {
		struct point p = { .kind = POINT_SW,
				   .internal = true,
				   .number = b->number,
				   .addr = b->trace->returns[i].addr,
				   .len = 1 };
		inf->target->ops->points->remove(inf->target, &p);
	}
}

static const struct return_site *return_at(const struct tracepoint *t, uint64_t addr)
{
	for (size_t i = 0; i < t->return_count; i++)
		if (t->returns[i].addr == addr)
			return &t->returns[i];
	return NULL;
}

bool tracepoint_is_return(const struct bpoint *b, uint64_t addr)
{
	for (size_t i = 0; i < b->places.count; i++)
		if (b->places.at[i].addr == addr)
			return false;
	return return_at(b->trace, addr);
}

/* --- printing --- */

static void print(struct session *s, const struct tracepoint *t, const struct buf *line)
{
	const char *text = (const char *)line->data;

	if (t->fd >= 0) {
		(void)!write(t->fd, text, line->len);
	} else if (s->running && !s->non_stop) {
		session_console(s, text, line->len);
	} else {
		/* A client in non-stop mode takes no text unless it asks for something. */
		fwrite(text, 1, line->len, stdout);
		fflush(stdout);
	}
}

/* False: this line is one too many in this second. */
static bool rate_allows(struct session *s, struct tracepoint *t, const struct timespec *now)
{
	_cleanup_buf_ struct buf line = { 0 };

	if ((uint64_t)now->tv_sec != t->second) {
		buf_init(&line, 256);
		if (t->left_out)
			buf_printf(&line,
				   "(%" PRIu64 " lines were left out: the rate is %" PRIu64
				   " a second)\n",
				   t->left_out, t->how.rate);
		if (line.len)
			print(s, t, &line);
		t->second = (uint64_t)now->tv_sec;
		t->lines = t->left_out = 0;
	}
	if (t->how.rate && t->lines >= t->how.rate) {
		t->left_out++;
		return false;
	}
	t->lines++;
	return true;
}

static bool begin_line(struct session *s, struct tracepoint *t, char arrow,
		       const struct bpoint_thread *who, struct buf *line)
{
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	if (!rate_allows(s, t, &now))
		return false;
	localtime_r(&now.tv_sec, &tm);
	buf_printf(line, "%02d:%02d:%02d.%06ld %c %s %" PRId64 ": ", tm.tm_hour, tm.tm_min,
		   tm.tm_sec, now.tv_nsec / 1000, arrow, who->goroutine ? "goroutine" : "thread",
		   who->id);
	return true;
}

static void put_values(struct value_thread *th, const struct values *v, struct buf *line)
{
	for (size_t i = 0; i < v->count; i++) {
		const char *name = v->at[i].name;
		/* Go's names for results without one are ~r0, ~r1. */
		bool named = name && name[0] && name[0] != '~';
		buf_printf(line, "%s%s%s", i ? ", " : "", named ? name : "", named ? " = " : "");
		value_put(th, &v->at[i], line);
	}
}

static void put_registers(const struct place *at, const struct user_regs_struct *gp,
			  struct buf *line)
{
	if (at->go)
		buf_printf(line, "rax = 0x%llx, rbx = 0x%llx, rcx = 0x%llx, rdi = 0x%llx", gp->rax,
			   gp->rbx, gp->rcx, gp->rdi);
	else
		buf_printf(line, "rdi = 0x%llx, rsi = 0x%llx, rdx = 0x%llx, rcx = 0x%llx", gp->rdi,
			   gp->rsi, gp->rdx, gp->rcx);
}

/* Before Go 1.17 arguments were on the stack, from the frame's end on. */
static void put_stack(struct value_thread *th, const struct site *site, struct buf *line)
{
	uint64_t words[4], cfa;

	if (!site->cfa || value_eval(th, site->cfa, &cfa) < 0 ||
	    mem_read(&th->mem, cfa, words, sizeof(words)) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		buf_printf(line, "%s0x%" PRIx64, i ? ", " : "on the stack: ", words[i]);
}

static void put_function(const struct place *at, struct buf *line)
{
	size_t len = strcspn(at->text, " ");
	buf_put(line, at->text, len);
}

static void put_arguments(struct value_thread *th, const struct tracepoint *t,
			  const struct place *at, const struct site *site, struct buf *line)
{
	bool stack = at->go && go_model_minor(at->go) && go_model_minor(at->go) < GO_REGISTER_ABI;

	buf_putc(line, '(');
	if (!t->how.arguments)
		buf_puts(line, "...");
	else if (site->arguments.known)
		put_values(th, &site->arguments, line);
	else if (stack)
		put_stack(th, site, line);
	else
		put_registers(at, &th->gp, line);
	buf_putc(line, ')');
}

/* --- calls under way --- */

/* What lies as deep or deeper in the same stack is over, however it ended. */
static void forget_deeper(struct tracepoint *t, int64_t thread, uint64_t depth)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->open_count; i++)
		if (t->open[i].thread != thread || t->open[i].depth < depth)
			t->open[kept++] = t->open[i];
	t->open_count = kept;
}

static void note_call(struct tracepoint *t, int64_t thread, uint64_t depth)
{
	forget_deeper(t, thread, depth);
	if (t->open_count == t->open_room && t->open_room < TRACE_OPEN_MAX) {
		size_t room = t->open_room ? t->open_room * 2 : 64;
		struct open_call *open = reallocarray(t->open, room, sizeof(*open));
		if (open)
			t->open = open, t->open_room = room;
	}
	if (t->open_count < t->open_room)
		t->open[t->open_count++] = (struct open_call){ thread, depth };
}

static bool take_call(struct tracepoint *t, int64_t thread, uint64_t depth)
{
	bool found = false;

	for (size_t i = 0; i < t->open_count && !found; i++)
		found = t->open[i].thread == thread && t->open[i].depth == depth;
	forget_deeper(t, thread, depth);
	return found;
}

static const struct place *place_at(const struct bpoint *b, uint64_t addr, size_t *ret_index)
{
	for (size_t i = 0; i < b->places.count; i++) {
		if (b->places.at[i].addr == addr) {
			*ret_index = i;
			return &b->places.at[i];
		}
	}
	return NULL;
}

void tracepoint_called(struct session *s, struct inferior *inf, struct bpoint *b,
		       const struct point_hit *h, const struct bpoint_thread *who)
{
	struct tracepoint *t = b->trace;
	struct value_thread *th = malloc(sizeof(*th));
	_cleanup_buf_ struct buf line = { 0 };
	size_t index;
	const struct place *at = place_at(b, h->addr, &index);
	uint64_t cfa;

	(void)inf;
	buf_init(&line, LINE_MAX_LEN);
	if (th && at && value_thread_init(th, h->target, h->tid) == 0 &&
	    begin_line(s, t, '>', who, &line)) {
		const struct site *site = &t->sites[index];
		th->go = at->go;
		if (site->cfa && value_eval(th, site->cfa, &cfa) == 0)
			note_call(t, who->id, who->stack_hi - cfa);
		put_function(at, &line);
		put_arguments(th, t, at, site, &line);
		buf_putc(&line, '\n');
		print(s, t, &line);
	}
	free(th);
}

void tracepoint_returned(struct session *s, struct inferior *inf, struct bpoint *b,
			 const struct point_hit *h)
{
	struct tracepoint *t = b->trace;
	const struct return_site *ret = return_at(t, h->addr);
	struct value_thread *th = malloc(sizeof(*th));
	struct bpoint_thread who = bpoints_thread(inf, h->tid);
	_cleanup_buf_ struct buf line = { 0 };

	buf_init(&line, LINE_MAX_LEN);
	if (th && value_thread_init(th, h->target, h->tid) == 0 &&
	    take_call(t, who.id, who.stack_hi - (th->gp.rsp + 8)) &&
	    begin_line(s, t, '<', &who, &line)) {
		const struct place *at = &b->places.at[ret->site];
		th->go = at->go;
		put_function(at, &line);
		if (ret->results.count)
			buf_puts(&line, " => ");
		if (ret->results.known)
			put_values(th, &ret->results, &line);
		else
			buf_printf(&line, " => rax = 0x%llx", th->gp.rax);
		buf_putc(&line, '\n');
		print(s, t, &line);
	}
	free(th);
}

void tracepoint_describe(const struct tracepoint *t, struct buf *out)
{
	buf_printf(out, "     traced: %s, %zu return%s", t->how.arguments ? "arguments" : "calls",
		   t->return_count, t->return_count == 1 ? "" : "s");
	if (t->how.rate)
		buf_printf(out, ", at most %" PRIu64 " lines a second", t->how.rate);
	if (t->log)
		buf_printf(out, ", into %s", t->log);
	buf_putc(out, '\n');
}
