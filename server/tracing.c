#include "server/tracing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "server/bpoints.h"
#include "server/expr.h"
#include "server/gview.h"
#include "server/session.h"
#include "server/results.h"
#include "target/ax.h"

enum { LINE_MAX_LEN = 8192, GO_REGISTER_ABI = 17 };

/* One place of the breakpoint. */
struct site {
	struct traced arguments, results;
	struct ax *cfa; /* NULL: not known, or returns are not wanted */
};

/* A call that was printed and has not returned. */
struct open_call {
	int64_t thread;
	bool goroutine;
	uint64_t depth;   /* of its frame's end, from the upper end of the stack */
	uint64_t returns; /* where to */
	size_t site;
};

struct tracepoint {
	struct trace_options how;
	char *log;
	int fd; /* -1: the client's console */
	struct site *sites;
	size_t site_count;
	uint64_t *returns; /* where calls came from, sorted: breakpoints */
	size_t return_count, return_room;
	uint64_t wanted[TRACE_WANTED_MAX]; /* to be set before the thread goes on */
	size_t wanted_count;
	uint64_t goexit; /* runtime.Goexit; 0: none */
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
	t->fd = log_open(how->log);
	if (t->fd < 0) {
		err_set(err, t->fd, "cannot open '%s' for writing: %s", how->log,
			t->fd == -ENXIO ? "nobody reads this pipe yet" : strerror(-t->fd));
		tracepoint_free(t);
		return NULL;
	}
	return t;
}

void tracepoint_reset(struct tracepoint *t)
{
	for (size_t i = 0; i < t->site_count; i++) {
		traced_fini(&t->sites[i].arguments);
		traced_fini(&t->sites[i].results);
		ax_free(t->sites[i].cfa);
	}
	free(t->sites);
	t->sites = NULL;
	t->site_count = t->return_count = t->wanted_count = t->open_count = 0;
	t->goexit = 0;
}

void tracepoint_free(struct tracepoint *t)
{
	if (!t)
		return;
	tracepoint_reset(t);
	free(t->returns);
	free(t->open);
	free(t->log);
	close_fdp(&t->fd);
	free(t);
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

static struct point return_point(const struct bpoint *b, uint64_t addr)
{
	return (struct point){
		.kind = POINT_SW, .internal = true, .number = b->number, .addr = addr, .len = 1
	};
}

/* Where it is, or belongs. */
static size_t return_index(const struct tracepoint *t, uint64_t addr)
{
	size_t lo = 0, hi = t->return_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (t->returns[mid] < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static bool has_return(const struct tracepoint *t, uint64_t addr)
{
	size_t i = return_index(t, addr);
	return i < t->return_count && t->returns[i] == addr;
}

static bool is_place(const struct bpoint *b, uint64_t addr)
{
	for (size_t i = 0; i < b->places.count; i++)
		if (b->places.at[i].addr == addr)
			return true;
	return false;
}

static void add_return(struct inferior *inf, struct bpoint *b, uint64_t addr)
{
	struct tracepoint *t = b->trace;
	struct point p = return_point(b, addr);
	struct err err = { 0 };

	if (has_return(t, addr) || is_place(b, addr))
		return;
	if (t->return_count == t->return_room) {
		size_t room = t->return_room ? t->return_room * 2 : 16;
		uint64_t *more = room <= TRACE_RETURNS_MAX
					 ? reallocarray(t->returns, room, sizeof(*more))
					 : NULL;
		if (!more)
			return;
		t->returns = more;
		t->return_room = room;
	}
	int r = inf->target->ops->points->insert(inf->target, &p, &err);
	if (r < 0) {
		log_debug(LOG_POINTS, "returns to %#" PRIx64 " are not seen: %s", addr,
			  err_text(&err, r));
		return;
	}
	size_t i = return_index(t, addr);
	memmove(t->returns + i + 1, t->returns + i, (t->return_count - i) * sizeof(*t->returns));
	t->returns[i] = addr;
	t->return_count++;
}

void tracepoint_attend(struct inferior *inf, struct bpoint *b)
{
	struct tracepoint *t = b->trace;

	for (size_t i = 0; i < t->wanted_count; i++)
		add_return(inf, b, t->wanted[i]);
	t->wanted_count = 0;
}

/* Goexit ends a goroutine and everything it has called. */
static void hear_of_goexit(struct inferior *inf, struct bpoint *b, struct go_model *go)
{
	struct go_func f = go_func_by_name(go, "runtime.Goexit");
	struct point p = return_point(b, f.entry);

	if (!f.entry || b->trace->goexit ||
	    inf->target->ops->points->insert(inf->target, &p, NULL) < 0)
		return;
	b->trace->goexit = f.entry;
}

int tracepoint_prepare(struct inferior *inf, struct bpoint *b, struct err *err)
{
	struct tracepoint *t = b->trace;
	struct mem mem = target_mem(inf->target);

	t->sites = calloc(b->places.count, sizeof(*t->sites));
	if (!t->sites)
		return err_set(err, -ENOMEM, "no memory for a trace");
	t->site_count = b->places.count;
	for (size_t i = 0; i < b->places.count; i++) {
		const struct place *at = &b->places.at[i];
		if (t->how.arguments)
			results_find_arguments(at, &t->sites[i].arguments);
		/* What was inlined does not return. */
		if (!t->how.returns || at->inlined)
			continue;
		t->sites[i].cfa = compile_cfa(at);
		results_find(&mem, at, &t->sites[i].results);
		if (at->go && t->sites[i].cfa)
			hear_of_goexit(inf, b, at->go);
	}
	return 0;
}

void tracepoint_remove(struct inferior *inf, const struct bpoint *b)
{
	const struct tracepoint *t = b->trace;

	for (size_t i = 0; i < t->return_count + !!t->goexit; i++) {
		struct point p = return_point(b, i < t->return_count ? t->returns[i] : t->goexit);
		inf->target->ops->points->remove(inf->target, &p);
	}
}

bool tracepoint_is_return(const struct bpoint *b, uint64_t addr)
{
	return has_return(b->trace, addr) || (addr && addr == b->trace->goexit);
}

/* --- printing --- */

static void print(struct session *s, const struct tracepoint *t, const struct buf *line)
{
	const char *text = (const char *)line->data;

	if (t->fd >= 0)
		(void)!write(t->fd, text, line->len);
	else
		session_trace(s, text, line->len);
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

static void put_values(struct value_thread *th, const struct traced *v, struct buf *line)
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

static void say_left(struct session *s, struct tracepoint *t, const struct bpoint *b,
		     const struct open_call *c, const char *how)
{
	struct bpoint_thread who = { .id = c->thread, .goroutine = c->goroutine };
	_cleanup_buf_ struct buf line = { 0 };

	buf_init(&line, LINE_MAX_LEN);
	if (!begin_line(s, t, '<', &who, &line))
		return;
	put_function(&b->places.at[c->site], &line);
	buf_printf(&line, " was left without a return%s\n", how);
	print(s, t, &line);
}

/* What lies as deep or deeper in the same stack is over, however it ended. */
static void leave_deeper(struct session *s, struct tracepoint *t, const struct bpoint *b,
			 int64_t thread, uint64_t depth, const char *how)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->open_count; i++) {
		struct open_call c = t->open[i];
		if (c.thread != thread || c.depth < depth)
			t->open[kept++] = c;
		else
			say_left(s, t, b, &c, how);
	}
	t->open_count = kept;
}

/* A frame at this depth is the innermost of its stack: so are over what other traces have seen begin beneath it. */
static void leave_beneath(struct session *s, struct inferior *inf, int64_t thread, uint64_t depth)
{
	for (size_t i = 0; i < inf->points.count; i++) {
		struct bpoint *b = inf->points.at[i];
		if (b->trace)
			leave_deeper(s, b->trace, b, thread, depth + 1, "");
	}
}

static void note_call(struct tracepoint *t, const struct open_call *c)
{
	if (t->open_count == TRACE_OPEN_MAX) /* the oldest one's thread has ended, most likely */
		memmove(t->open, t->open + 1, --t->open_count * sizeof(*t->open));
	if (t->open_count == t->open_room) {
		size_t room = t->open_room ? t->open_room * 2 : 64;
		struct open_call *open = reallocarray(t->open, room, sizeof(*open));
		if (!open)
			return;
		t->open = open;
		t->open_room = room;
	}
	t->open[t->open_count++] = *c;
}

/* The call that has come back here. */
static bool take_call(struct tracepoint *t, const struct open_call *back, size_t *ret_site)
{
	for (size_t i = 0; i < t->open_count; i++) {
		const struct open_call *c = &t->open[i];
		if (c->thread != back->thread || c->depth != back->depth ||
		    c->returns != back->returns)
			continue;
		*ret_site = c->site;
		t->open_count--;
		memmove(t->open + i, t->open + i + 1, (t->open_count - i) * sizeof(*t->open));
		return true;
	}
	return false;
}

/* Notes where the call returns to; true: a breakpoint is to be set there first. */
static bool open_call(struct tracepoint *t, const struct bpoint *b, struct value_thread *th,
		      size_t site, const struct bpoint_thread *who, uint64_t cfa)
{
	struct open_call c = { .thread = who->id,
			       .goroutine = who->goroutine,
			       .depth = who->stack_hi - cfa,
			       .site = site };

	if (mem_read_u64(&th->mem, cfa - 8, &c.returns) < 0)
		return false;
	note_call(t, &c);
	if (has_return(t, c.returns) || is_place(b, c.returns) ||
	    t->return_count == TRACE_RETURNS_MAX)
		return false;
	if (t->wanted_count == TRACE_WANTED_MAX)
		return true;
	t->wanted[t->wanted_count++] = c.returns;
	return true;
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

bool tracepoint_called(struct session *s, struct inferior *inf, struct bpoint *b,
		       const struct point_hit *h, const struct bpoint_thread *who)
{
	struct tracepoint *t = b->trace;
	struct value_thread *th = malloc(sizeof(*th));
	_cleanup_buf_ struct buf line = { 0 };
	size_t index;
	const struct place *at = place_at(b, h->addr, &index);
	uint64_t cfa;
	bool attend = false;

	buf_init(&line, LINE_MAX_LEN);
	if (th && at && value_thread_init(th, h->target, h->tid) == 0) {
		const struct site *site = &t->sites[index];
		bool has_cfa = site->cfa && value_eval(th, site->cfa, &cfa) == 0;
		if (has_cfa) {
			leave_beneath(s, inf, who->id, who->stack_hi - cfa);
			leave_deeper(s, t, b, who->id, who->stack_hi - cfa, "");
		}
		th->go = at->go;
		if (begin_line(s, t, '>', who, &line)) {
			attend = has_cfa && open_call(t, b, th, index, who, cfa);
			put_function(at, &line);
			put_arguments(th, t, at, site, &line);
			buf_putc(&line, '\n');
			print(s, t, &line);
		}
	}
	free(th);
	return attend;
}

static void say_returned(struct session *s, struct tracepoint *t, const struct bpoint *b,
			 size_t index, struct value_thread *th, const struct bpoint_thread *who)
{
	const struct place *at = &b->places.at[index];
	const struct traced *results = &t->sites[index].results;
	_cleanup_buf_ struct buf line = { 0 };

	buf_init(&line, LINE_MAX_LEN);
	if (!begin_line(s, t, '<', who, &line))
		return;
	th->go = at->go;
	th->gp.rsp -= 8; /* results.h */
	put_function(at, &line);
	if (results->count)
		buf_puts(&line, " => ");
	if (results->known)
		put_values(th, results, &line);
	else
		buf_printf(&line, " => rax = 0x%llx", th->gp.rax);
	buf_putc(&line, '\n');
	print(s, t, &line);
}

void tracepoint_returned(struct session *s, struct inferior *inf, struct bpoint *b,
			 const struct point_hit *h)
{
	struct tracepoint *t = b->trace;
	struct value_thread *th = malloc(sizeof(*th));
	struct bpoint_thread who = bpoints_thread(inf, h->tid);
	size_t site;

	if (h->addr == t->goexit) {
		leave_deeper(s, t, b, who.id, 0, " (runtime.Goexit)");
	} else if (th && value_thread_init(th, h->target, h->tid) == 0) {
		struct open_call back = { .thread = who.id,
					  .depth = who.stack_hi - th->gp.rsp,
					  .returns = h->addr };
		leave_beneath(s, inf, who.id, back.depth);
		if (take_call(t, &back, &site))
			say_returned(s, t, b, site, th, &who);
	}
	free(th);
}

void tracepoint_describe(const struct tracepoint *t, struct buf *out)
{
	buf_printf(out, "     traced: %s%s", t->how.arguments ? "arguments" : "calls",
		   t->how.returns ? " and returns" : "");
	if (t->return_count)
		buf_printf(out, " to %zu place%s", t->return_count,
			   t->return_count == 1 ? "" : "s");
	if (t->how.rate)
		buf_printf(out, ", at most %" PRIu64 " lines a second", t->how.rate);
	if (t->log)
		buf_printf(out, ", into %s", t->log);
	buf_putc(out, '\n');
}
