/*
 * on_trace.c - the packets that run a trace experiment and look at what it collected. Source: Debugging with GDB, "Tracepoint Packets".
 */
#include "protocol/hex.h"
#include "server/handlers.h"
#include "server/on_trace.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct tracepoints *trace_experiment(struct session *s)
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

void trace_answer(struct session *s, int r, const struct err *err)
{
	if (r < 0)
		session_error_from(s, 1, err);
	else
		reply_ok(&s->reply);
}

bool trace_complete(struct args *a)
{
	return args_done(a) || args_fail(a);
}

unsigned trace_take_number(struct args *a)
{
	return (unsigned)args_hex_max(a, TRACEFRAME_NUMBER_MAX);
}

/* --- the run --- */

void on_trace_start(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);
	struct inferior *inf = session_inferior(s);
	struct err err = { 0 };

	if (!t || !trace_complete(a))
		return;
	s->trace_frame = -1;
	trace_answer(s,
		     inf ? tracepoints_start(t, inf, &s->regs, &err)
			 : err_set(&err, -ESRCH, "there is no process that could be traced"),
		     &err);
}

void on_trace_stop(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);

	if (!t || !trace_complete(a))
		return;
	tracepoints_end(t, TRACE_STOPPED, 0, NULL);
	tracepoints_settle(t);
	reply_ok(&s->reply);
}

/* :N:ADDR to the end, by which a tracepoint is named; *ret is NULL when there is none. */
static bool take_point(struct tracepoints *t, struct args *a, struct trace_point **ret)
{
	args_skip(a, ':');
	unsigned number = trace_take_number(a);
	args_skip(a, ':');
	uint64_t addr = args_hex_u64(a);
	if (!trace_complete(a))
		return false;
	*ret = tracepoints_find(t, number, addr);
	return true;
}

static void enable(struct session *s, struct args *a, bool enabled)
{
	struct tracepoints *t = trace_experiment(s);
	struct err err = { 0 };
	struct trace_point *p;

	if (!t || !take_point(t, a, &p))
		return;
	if (!p)
		session_error_text(s, 1, "there is no such tracepoint");
	else
		trace_answer(s, tracepoints_enable(t, p, enabled, &err), &err);
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
	struct tracepoints *t = trace_experiment(s);
	struct buf *b = &s->reply;

	if (!t || !trace_complete(a))
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
	struct tracepoints *t = trace_experiment(s);
	struct trace_point *p;

	if (!t || !take_point(t, a, &p))
		return;
	if (p)
		buf_printf(&s->reply, "V%" PRIx64 ":%" PRIx64, p->hits, p->usage);
	else
		session_error(s, 1);
}

/* qTV:N */
void on_trace_variable_value(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);
	struct traceframe frame;
	uint64_t value = 0;
	bool known;

	args_skip(a, ':');
	unsigned number = (unsigned)args_hex_max(a, UINT16_MAX);
	if (!t || !trace_complete(a))
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
	struct tracepoints *t = trace_experiment(s);

	if (!t || !trace_complete(a))
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
	struct tracepoints *t = trace_experiment(s);

	if (!t || !trace_complete(a))
		return;
	if (s->trace_upload.variable >= t->variable_count) {
		buf_putc(&s->reply, 'l');
		return;
	}
	/* The newest first: gdb lists what it is told of in the opposite order. */
	const struct trace_variable *v =
		&t->variables[t->variable_count - ++s->trace_upload.variable];
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
	if (trace_complete(a))
		buf_putc(&s->reply, '0');
}

/* --- what was collected --- */

/* qTBuffer:OFFSET,LENGTH: bytes as they are saved; 'l' behind the last. */
void on_trace_buffer(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);
	size_t size;

	args_skip(a, ':');
	uint64_t offset = args_hex_u64(a);
	args_skip(a, ',');
	uint64_t len = args_hex_u64(a);
	if (!t || !trace_complete(a))
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
		return trace_complete(a);
	}
	if (args_accept_text(a, "tdp:")) {
		ret->by = BY_POINT;
		ret->start = args_hex_u64(a);
		return trace_complete(a);
	}
	bool inside = args_accept_text(a, "range:"),
	     outside = !inside && args_accept_text(a, "outside:");
	ret->by = inside ? INSIDE : outside ? OUTSIDE : BY_NUMBER;
	ret->start = args_hex_u64(a);
	if (inside || outside) {
		args_skip(a, ':');
		ret->end = args_hex_u64(a);
	}
	return trace_complete(a);
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
	struct tracepoints *t = trace_experiment(s);
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
