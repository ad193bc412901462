/*
 * on_trace.c - the packets of gdb's trace experiments (tracepoints.h). Source: Debugging with GDB, "Tracepoint Packets".
 */
#include "protocol/hex.h"
#include "server/handlers.h"
#include "server/tracepoints.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static struct tracepoints *experiment(struct session *s)
{
	struct tracepoints *t = tracepoints_get(s->inferiors);

	if (!t) {
		session_error_text(s, ENOMEM, "no memory for a trace experiment");
		return NULL;
	}
	tracepoints_settle(t);
	tracepoints_expressions(t, &s->trace_vars);
	if (s->tracer)
		s->tracer->trace = &s->trace_vars;
	return t;
}

static void answer(struct session *s, int r, const struct err *err)
{
	if (r < 0)
		session_error_from(s, 1, err);
	else
		reply_ok(&s->reply);
}

/* The whole packet was read; else it is an error. */
static bool complete(struct args *a)
{
	return args_done(a) || args_fail(a);
}

/* --- defining --- */

/* "LEN,HEX": the bytecode is compiled at once. */
static int take_code(struct session *s, struct args *a, unsigned allowed, struct ax **ret,
		     struct err *err)
{
	uint64_t len = args_hex_max(a, AX_CODE_MAX);
	args_skip(a, ',');
	buf_reset(&s->scratch);
	uint8_t *code = args_ok(a) ? buf_reserve(&s->scratch, len ? len : 1) : NULL;
	if (!code || !args_hex_exact(a, code, len))
		return err_set(err, -EINVAL, "a tracepoint's agent expression is malformed");
	return ax_compile_allowing(allowed, code, len, regmap_ax_reg, &s->regs, ret, err);
}

/* What lies between two places of a packet, as text. */
static char *text_between(const struct args *a, size_t from)
{
	return strndup((const char *)a->data + from, a->at - from);
}

/* ":Xlen,hex" is a condition; the others are kinds of tracepoints that need an agent in the program. */
static int take_option(struct session *s, struct args *a, struct trace_point *p, struct err *err)
{
	switch (args_char(a)) {
	case 'X': {
		size_t from = a->at;
		if (p->condition)
			return err_set(err, -EINVAL, "a tracepoint has one condition at most");
		int r = take_code(s, a, AX_VARIABLES, &p->condition, err);
		if (r == 0 && !(p->condition_text = text_between(a, from)))
			r = err_set(err, -ENOMEM, "no memory for a tracepoint");
		return r;
	}
	case 'F':
	case 'S':
		return err_set(err, -EOPNOTSUPP,
			       "fast and static tracepoints need an agent in the program, which "
			       "there is not");
	default: return err_set(err, -EINVAL, "a tracepoint packet is malformed");
	}
}

static unsigned take_number(struct args *a)
{
	return (unsigned)args_hex_max(a, TRACEFRAME_NUMBER_MAX);
}

/* "N:ADDR:E|D:STEPS:PASSES[:Xlen,hex][-]"; true: more is to come. */
static int take_definition(struct session *s, struct args *a, struct trace_point *p, bool *ret_more,
			   struct err *err)
{
	int r = 0;

	p->number = take_number(a);
	args_skip(a, ':');
	p->addr = args_hex_u64(a);
	args_skip(a, ':');
	p->enabled = args_accept(a, 'E');
	if (!p->enabled)
		args_skip(a, 'D');
	args_skip(a, ':');
	p->steps = args_hex_u64(a);
	args_skip(a, ':');
	p->passes = args_hex_u64(a);
	while (r == 0 && args_accept(a, ':'))
		r = take_option(s, a, p, err);
	*ret_more = args_accept(a, '-');
	if (r == 0 && (!args_done(a) || !p->number))
		r = err_set(err, -EINVAL, "a tracepoint packet is malformed");
	return r;
}

static void define(struct session *s, struct tracepoints *t, struct args *a)
{
	struct trace_point p = { 0 };
	struct err err = { 0 };
	bool more;

	int r = take_definition(s, a, &p, &more, &err);
	s->trace_steps = false;
	if (r < 0) {
		ax_free(p.condition);
		free(p.condition_text);
		session_error_from(s, 1, &err);
		return;
	}
	/* gdb defines one anew while the trace runs when it has looked at its places again: it is there already. */
	s->trace_again = tracepoints_find(t, p.number, p.addr) != NULL;
	if (s->trace_again) {
		ax_free(p.condition);
		free(p.condition_text);
		reply_ok(&s->reply);
		return;
	}
	r = tracepoints_define(t, &p, &err);
	if (r == 0 && !more)
		r = tracepoints_install(t, tracepoints_find(t, p.number, p.addr), &err);
	answer(s, r, &err);
}

/* "R<mask>": all are collected whatever it says, as one register is not worth a format of its own. */
static void skip_mask(struct args *a)
{
	while (args_left(a) && hex_digit((uint8_t)args_peek(a)) >= 0)
		args_char(a);
}

/* "M<register>,<offset>,<length>"; -1 or ffffffff: no register. */
static int take_memory(struct session *s, struct args *a, struct trace_action *ret)
{
	bool none = args_accept_text(a, "-1");
	uint64_t base = none ? UINT32_MAX : args_hex_u64(a);

	args_skip(a, ',');
	ret->addr = args_hex_u64(a);
	args_skip(a, ',');
	ret->len = args_hex_max(a, UINT32_MAX);
	ret->base = -1;
	if (base != UINT32_MAX && base != UINT64_MAX) {
		ret->base = base <= UINT16_MAX ? regmap_ax_reg(&s->regs, (unsigned)base) : -1;
		if (ret->base < 0)
			args_fail(a);
	}
	return args_ok(a) ? 0 : -EINVAL;
}

static int take_action(struct session *s, struct args *a, struct trace_action *ret, struct err *err)
{
	size_t from = a->at;
	int r = 0;

	switch (args_char(a)) {
	case 'R':
		ret->kind = TRACE_REGISTERS;
		skip_mask(a);
		break;
	case 'M':
		ret->kind = TRACE_MEMORY;
		r = take_memory(s, a, ret);
		break;
	case 'X':
		ret->kind = TRACE_EXPRESSION;
		r = take_code(s, a, AX_VARIABLES | AX_COLLECTS, &ret->ax, err);
		break;
	case 'L':
		return err_set(
			err, -EOPNOTSUPP,
			"static tracepoints need an agent in the program, which there is not");
	default: r = -EINVAL;
	}
	if (r == 0 && !(ret->text = text_between(a, from)))
		r = err_set(err, -ENOMEM, "no memory for a tracepoint's action");
	if (r == -EINVAL && err && !err->code)
		err_set(err, r, "a tracepoint's action is malformed");
	return r;
}

/* "-N:ADDR:[S]actions[-]". Behind the first S all are for the steps. */
static void add_actions(struct session *s, struct tracepoints *t, struct args *a)
{
	unsigned number = take_number(a);
	args_skip(a, ':');
	uint64_t addr = args_hex_u64(a);
	struct err err = { 0 };
	int r = 0;

	args_skip(a, ':');
	struct trace_point *p = args_ok(a) ? tracepoints_find(t, number, addr) : NULL;
	if (!p) {
		session_error_text(s, 1, "there is no such tracepoint");
		return;
	}
	while (r == 0 && args_left(a) && args_peek(a) != '-') {
		struct trace_action action = { 0 };
		s->trace_steps |= args_accept(a, 'S');
		r = take_action(s, a, &action, &err);
		action.stepping = s->trace_steps;
		if (r < 0 || s->trace_again) {
			ax_free(action.ax);
			free(action.text);
		} else {
			r = tracepoints_add_action(t, p, &action, &err);
		}
	}
	bool more = args_accept(a, '-');
	if (r == 0 && !args_done(a))
		r = err_set(&err, -EINVAL, "a tracepoint's actions are malformed");
	if (r == 0 && !more)
		r = tracepoints_install(t, p, &err);
	if (r < 0)
		a->failed = false; /* the words say more than E01 */
	answer(s, r, &err);
}

void on_trace_define(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);

	args_skip(a, ':');
	if (!t || !args_ok(a))
		return;
	if (args_accept(a, '-'))
		add_actions(s, t, a);
	else
		define(s, t, a);
}

/* QTDPsrc:N:ADDR:KIND:START:LENGTH:HEX */
void on_trace_source(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	char kind[16];
	struct err err = { 0 };

	args_skip(a, ':');
	unsigned number = take_number(a);
	args_skip(a, ':');
	uint64_t addr = args_hex_u64(a);
	args_skip(a, ':');
	struct args word = args_upto(a, ':');
	uint64_t start = args_hex_u64(a);
	args_skip(a, ':');
	args_hex_u64(a);
	args_skip(a, ':');
	const char *text = args_left(a) ? args_hex_text(a, &s->scratch) : "";
	if (!t || !complete(a) || !text || word.len >= sizeof(kind) ||
	    memchr(word.data, 0, word.len)) {
		args_fail(a);
		return;
	}
	memcpy(kind, word.data, word.len);
	kind[word.len] = 0;
	struct trace_point *p = tracepoints_find(t, number, addr);
	if (!p)
		session_error_text(s, 1, "there is no such tracepoint");
	else
		answer(s,
		       s->trace_again ? 0
				      : tracepoints_add_source(t, p, kind, text, start != 0, &err),
		       &err);
}

/* QTDV:N:VALUE:BUILTIN:HEXNAME */
void on_trace_variable(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	struct trace_variable v = { 0 };
	struct err err = { 0 };

	args_skip(a, ':');
	v.number = (unsigned)args_hex_max(a, UINT16_MAX);
	args_skip(a, ':');
	v.initial = args_hex_u64(a);
	args_skip(a, ':');
	v.builtin = args_hex_u64(a) != 0;
	args_skip(a, ':');
	const char *name = args_left(a) ? args_hex_text(a, &s->scratch) : "";
	if (!t || !complete(a) || !name)
		return;
	v.name = strdup(name);
	answer(s, v.name ? tracepoints_define_variable(t, &v, &err) : -ENOMEM, &err);
}

/* QTro:START,END:START,END */
void on_trace_read_only(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	struct err err = { 0 };
	int r = 0;

	while (t && r == 0 && args_accept(a, ':')) {
		struct trace_range range = { .start = args_hex_u64(a) };
		args_skip(a, ',');
		range.end = args_hex_u64(a);
		r = args_ok(a) ? tracepoints_add_read_only(t, range, &err) : 0;
	}
	if (t && complete(a))
		answer(s, r, &err);
}

void on_trace_init(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);

	if (!t || !complete(a))
		return;
	s->trace_frame = -1;
	tracepoints_init(t);
	reply_ok(&s->reply);
}

/* --- settings --- */

/* "size:-1" is the default; "circular:1" */
void on_trace_buffer_set(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	struct err err = { 0 };
	int r = 0;

	if (args_accept_text(a, ":circular:")) {
		bool circular = args_hex_u64(a) != 0;
		if (t && complete(a))
			tracepoints_set_circular(t, circular);
	} else if (args_accept_text(a, ":size:")) {
		uint64_t size = args_accept_text(a, "-1") ? 0 : args_hex_u64(a);
		if (t && complete(a))
			r = tracepoints_set_size(t, size, &err);
	} else {
		return;
	}
	if (t && args_ok(a))
		answer(s, r, &err);
}

void on_trace_disconnected(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);

	args_skip(a, ':');
	bool on = args_hex_u64(a) != 0;
	if (!t || !complete(a))
		return;
	t->disconnected = on;
	reply_ok(&s->reply);
}

/* user:HEX;notes:HEX;tstop:HEX; */
void on_trace_notes(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	struct args key, value;
	struct err err = { 0 };
	int r = 0;

	args_skip(a, ':');
	while (t && r == 0 && args_key_value(a, ':', &key, &value)) {
		char **which = args_is(&key, "user")    ? &t->user
			       : args_is(&key, "notes") ? &t->notes
			       : args_is(&key, "tstop") ? &t->stop_notes
							: NULL;
		buf_reset(&s->scratch);
		const char *text = args_left(&value) ? args_hex_text(&value, &s->scratch) : "";
		if (!which || !text || !args_done(&value) || strlen(text) > TRACEPOINTS_NOTE_MAX) {
			args_fail(a);
			return;
		}
		r = tracepoints_set_text(which, text, &err);
	}
	if (t && args_ok(a))
		answer(s, r, &err);
}

/* --- the run --- */

void on_trace_start(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	struct inferior *inf = session_inferior(s);
	struct err err = { 0 };

	if (!t || !complete(a))
		return;
	s->trace_frame = -1;
	answer(s,
	       inf ? tracepoints_start(t, inf, &s->regs, &err)
		   : err_set(&err, -ESRCH, "there is no process that could be traced"),
	       &err);
}

void on_trace_stop(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);

	if (!t || !complete(a))
		return;
	tracepoints_end(t, TRACE_STOPPED, 0, NULL);
	tracepoints_settle(t);
	reply_ok(&s->reply);
}

static void enable(struct session *s, struct args *a, bool enabled)
{
	struct tracepoints *t = experiment(s);
	struct err err = { 0 };

	args_skip(a, ':');
	unsigned number = take_number(a);
	args_skip(a, ':');
	uint64_t addr = args_hex_u64(a);
	if (!t || !complete(a))
		return;
	struct trace_point *p = tracepoints_find(t, number, addr);
	if (!p)
		session_error_text(s, 1, "there is no such tracepoint");
	else
		answer(s, tracepoints_enable(t, p, enabled, &err), &err);
}

void on_trace_enable(struct session *s, struct args *a)
{
	enable(s, a, true);
}

void on_trace_disable(struct session *s, struct args *a)
{
	enable(s, a, false);
}

static void put_hex_text(struct buf *b, const char *text)
{
	if (text)
		hex_put_text(b, text);
}

static void put_end(const struct tracepoints *t, struct buf *b)
{
	static const char *const names[] = {
		[TRACE_NOT_RUN] = "tnotrun", [TRACE_STOPPED] = "tstop",
		[TRACE_FULL] = "tfull",      [TRACE_PASSED] = "tpasscount",
		[TRACE_FAILED] = "terror",   [TRACE_DISCONNECTED] = "tdisconnected",
	};
	const char *text = t->end == TRACE_STOPPED  ? t->stop_notes
			   : t->end == TRACE_FAILED ? t->end_text
						    : NULL;

	buf_puts(b, names[t->end]);
	if (text) {
		buf_putc(b, ':');
		put_hex_text(b, text);
	}
	buf_printf(b, ":%x", t->end_number);
}

void on_trace_status(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	struct buf *b = &s->reply;

	if (!t || !complete(a))
		return;
	buf_printf(b, "T%d;", t->running);
	put_end(t, b);
	buf_printf(b, ";tframes:%zx;tcreated:%" PRIx64 ";tfree:%" PRIx64 ";tsize:%" PRIx64,
		   traceframes_count(&t->frames), t->frames.created,
		   t->frames.size > traceframes_used(&t->frames)
			   ? t->frames.size - traceframes_used(&t->frames)
			   : 0,
		   t->frames.size);
	buf_printf(b,
		   ";circular:%d;disconn:%d;starttime:%" PRIx64 ";stoptime:%" PRIx64 ";username:",
		   t->frames.circular, t->disconnected, t->started_us, t->stopped_us);
	put_hex_text(b, t->user);
	buf_puts(b, ";notes:");
	put_hex_text(b, t->notes);
	buf_putc(b, ':');
}

/* qTP:N:ADDR */
void on_trace_point_status(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);

	args_skip(a, ':');
	unsigned number = take_number(a);
	args_skip(a, ':');
	uint64_t addr = args_hex_u64(a);
	if (!t || !complete(a))
		return;
	const struct trace_point *p = tracepoints_find(t, number, addr);
	if (p)
		buf_printf(&s->reply, "V%" PRIx64 ":%" PRIx64, p->hits, p->usage);
	else
		session_error(s, 1);
}

/* qTV:N */
void on_trace_variable_value(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	struct traceframe frame;
	uint64_t value = 0;
	bool known;

	args_skip(a, ':');
	unsigned number = (unsigned)args_hex_max(a, UINT16_MAX);
	if (!t || !complete(a))
		return;
	if (s->trace_frame >= 0) {
		known = traceframes_get(&t->frames, (size_t)s->trace_frame, &frame) &&
			traceframe_variable(&frame, number, &value);
	} else {
		const struct trace_variable *v = tracepoints_variable(t, number);
		known = v;
		if (v)
			value = tracepoints_variable_value(v);
	}
	if (known)
		buf_printf(&s->reply, "V%" PRIx64, value);
	else
		buf_putc(&s->reply, 'U');
}

/* --- what was defined, for a client that comes later --- */

static void put_point(struct session *s, const struct trace_point *p)
{
	buf_printf(&s->reply, "T%x:%" PRIx64 ":%c:%" PRIx64 ":%" PRIx64, p->number, p->addr,
		   p->enabled ? 'E' : 'D', p->steps, p->passes);
	if (p->condition_text)
		buf_printf(&s->reply, ":X%s", p->condition_text);
}

/* The nth thing of a tracepoint: itself, its actions, what was typed. False: there is none. */
static bool put_part(struct session *s, const struct trace_point *p, size_t n)
{
	if (n == 0) {
		put_point(s, p);
		return true;
	}
	if (--n < p->action_count) {
		const struct trace_action *a = &p->actions[n];
		buf_printf(&s->reply, "%c%x:%" PRIx64 ":%s", a->stepping ? 'S' : 'A', p->number,
			   p->addr, a->text);
		return true;
	}
	n -= p->action_count;
	if (n >= p->source_count)
		return false;
	const struct trace_source *src = &p->sources[n];
	buf_printf(&s->reply, "Z%x:%" PRIx64 ":%s:0:%zx:", p->number, p->addr, src->kind,
		   strlen(src->text));
	put_hex_text(&s->reply, src->text);
	return true;
}

void on_trace_next_point(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);

	if (!t || !complete(a))
		return;
	while (s->trace_upload.point < t->count) {
		if (put_part(s, t->points[s->trace_upload.point], s->trace_upload.part++))
			return;
		s->trace_upload.point++;
		s->trace_upload.part = 0;
	}
	buf_putc(&s->reply, 'l');
}

void on_trace_first_point(struct session *s, struct args *a)
{
	s->trace_upload.point = s->trace_upload.part = 0;
	on_trace_next_point(s, a);
}

void on_trace_next_variable(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);

	if (!t || !complete(a))
		return;
	if (s->trace_upload.variable >= t->variable_count) {
		buf_putc(&s->reply, 'l');
		return;
	}
	/* The newest first: gdb lists what it is told of in the opposite order. */
	const struct trace_variable *v = &t->variables[t->variable_count - ++s->trace_upload.variable];
	buf_printf(&s->reply, "%x:%" PRIx64 ":%x:", v->number, v->initial, v->builtin);
	put_hex_text(&s->reply, v->name);
}

void on_trace_first_variable(struct session *s, struct args *a)
{
	s->trace_upload.variable = 0;
	on_trace_next_variable(s, a);
}

/* Without an agent in the program there are no fast tracepoints, and any instruction will do for the others. */
void on_trace_least_length(struct session *s, struct args *a)
{
	if (complete(a))
		buf_putc(&s->reply, '0');
}

/* --- what was collected --- */

/* qTBuffer:OFFSET,LENGTH: bytes as they are saved; 'l' behind the last. */
void on_trace_buffer(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	size_t size;

	args_skip(a, ':');
	uint64_t offset = args_hex_u64(a);
	args_skip(a, ',');
	uint64_t len = args_hex_u64(a);
	if (!t || !complete(a))
		return;
	const uint8_t *bytes = traceframes_bytes(&t->frames, &size);
	if (offset >= size)
		buf_putc(&s->reply, 'l');
	else
		reply_hex(&s->reply, bytes + offset,
			  (size_t)MIN(MIN(len, (uint64_t)SESSION_PACKET_MAX / 2), size - offset));
}

enum search { BY_NUMBER, BY_POINT, INSIDE, OUTSIDE };

struct wanted {
	enum search by;
	uint64_t start, end; /* inclusive */
};

static bool take_wanted(struct args *a, struct wanted *ret)
{
	args_skip(a, ':');
	if (args_accept_text(a, "pc:")) {
		ret->by = INSIDE;
		ret->start = ret->end = args_hex_u64(a);
		return complete(a);
	}
	if (args_accept_text(a, "tdp:")) {
		ret->by = BY_POINT;
		ret->start = args_hex_u64(a);
		return complete(a);
	}
	bool inside = args_accept_text(a, "range:"),
	     outside = !inside && args_accept_text(a, "outside:");
	ret->by = inside ? INSIDE : outside ? OUTSIDE : BY_NUMBER;
	ret->start = args_hex_u64(a);
	if (inside || outside) {
		args_skip(a, ':');
		ret->end = args_hex_u64(a);
	}
	return complete(a);
}

static bool is_wanted(const struct tracepoints *t, size_t n, const struct wanted *w)
{
	struct traceframe frame;
	uint64_t pc;

	if (w->by == BY_NUMBER)
		return n == w->start;
	if (w->by == BY_POINT)
		return traceframes_get(&t->frames, n, &frame) && frame.number == w->start;
	if (!tracepoints_pc(t, n, &pc))
		return false;
	return (pc >= w->start && pc <= w->end) == (w->by == INSIDE);
}

/* Searches begin behind the frame that is looked at. */
void on_trace_frame(struct session *s, struct args *a)
{
	struct tracepoints *t = experiment(s);
	struct wanted w = { 0 };
	struct traceframe frame;

	if (!t || !take_wanted(a, &w))
		return;
	if (w.by == BY_NUMBER && (w.start == UINT32_MAX || w.start == UINT64_MAX)) {
		s->trace_frame = -1;
		reply_ok(&s->reply);
		return;
	}
	size_t count = traceframes_count(&t->frames),
	       n = w.by == BY_NUMBER ? 0 : (size_t)(s->trace_frame + 1);
	if (w.by == BY_NUMBER)
		n = w.start < count ? (size_t)w.start : count;
	while (n < count && !is_wanted(t, n, &w))
		n++;
	if (!traceframes_get(&t->frames, n, &frame)) {
		buf_puts(&s->reply, "F-1");
		return;
	}
	s->trace_frame = (int64_t)n;
	buf_printf(&s->reply, "F%zxT%x", n, frame.number);
}

int trace_put_info(struct session *s, struct buf *out)
{
	const struct tracepoints *t = s->inferiors->trace;
	struct traceframe frame;
	struct traceblock block;

	if (!t || s->trace_frame < 0 ||
	    !traceframes_get(&t->frames, (size_t)s->trace_frame, &frame))
		return -ENOENT;
	buf_puts(out, "<traceframe-info>\n");
	for (size_t at = 0; traceframe_next_block(&frame, &at, &block);) {
		if (block.kind == TRACEBLOCK_MEMORY)
			buf_printf(out, "<memory start=\"0x%" PRIx64 "\" length=\"0x%zx\"/>\n",
				   block.addr, block.len);
		else if (block.kind == TRACEBLOCK_VARIABLE)
			buf_printf(out, "<tvar id=\"0x%x\"/>\n", block.variable);
	}
	buf_puts(out, "</traceframe-info>\n");
	return 0;
}
