/*
 * on_trace_define.c - the packets that say what a trace experiment is. Source: Debugging with GDB, "Tracepoint Packets".
 */
#include "protocol/hex.h"
#include "server/handlers.h"
#include "server/on_trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* "N:ADDR:E|D:STEPS:PASSES[:Xlen,hex][-]"; true: more is to come. */
static int take_definition(struct session *s, struct args *a, struct trace_point *p, bool *ret_more,
			   struct err *err)
{
	int r = 0;

	p->number = trace_take_number(a);
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
	trace_answer(s, r, &err);
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
	unsigned number = trace_take_number(a);
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
	trace_answer(s, r, &err);
}

void on_trace_define(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);

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
	struct tracepoints *t = trace_experiment(s);
	char kind[16];
	struct err err = { 0 };

	args_skip(a, ':');
	unsigned number = trace_take_number(a);
	args_skip(a, ':');
	uint64_t addr = args_hex_u64(a);
	args_skip(a, ':');
	struct args word = args_upto(a, ':');
	uint64_t start = args_hex_u64(a);
	args_skip(a, ':');
	args_hex_u64(a);
	args_skip(a, ':');
	const char *text = args_left(a) ? args_hex_text(a, &s->scratch) : "";
	if (!t || !trace_complete(a) || !text || word.len >= sizeof(kind) ||
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
		trace_answer(s,
			     s->trace_again
				     ? 0
				     : tracepoints_add_source(t, p, kind, text, start != 0, &err),
			     &err);
}

/* QTDV:N:VALUE:BUILTIN:HEXNAME */
void on_trace_variable(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);
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
	if (!t || !trace_complete(a) || !name)
		return;
	v.name = strdup(name);
	trace_answer(s, v.name ? tracepoints_define_variable(t, &v, &err) : -ENOMEM, &err);
}

/* QTro:START,END:START,END */
void on_trace_read_only(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);
	struct err err = { 0 };
	int r = 0;

	while (t && r == 0 && args_accept(a, ':')) {
		struct trace_range range = { .start = args_hex_u64(a) };
		args_skip(a, ',');
		range.end = args_hex_u64(a);
		r = args_ok(a) ? tracepoints_add_read_only(t, range, &err) : 0;
	}
	if (t && trace_complete(a))
		trace_answer(s, r, &err);
}

void on_trace_init(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);

	if (!t || !trace_complete(a))
		return;
	s->trace_frame = -1;
	tracepoints_init(t);
	reply_ok(&s->reply);
}

/* --- settings --- */

/* "size:-1" is the default; "circular:1" */
void on_trace_buffer_set(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);
	struct err err = { 0 };
	int r = 0;

	if (args_accept_text(a, ":circular:")) {
		bool circular = args_hex_u64(a) != 0;
		if (t && trace_complete(a))
			tracepoints_set_circular(t, circular);
	} else if (args_accept_text(a, ":size:")) {
		uint64_t size = args_accept_text(a, "-1") ? 0 : args_hex_u64(a);
		if (t && trace_complete(a))
			r = tracepoints_set_size(t, size, &err);
	} else {
		return;
	}
	if (t && args_ok(a))
		trace_answer(s, r, &err);
}

void on_trace_disconnected(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);

	args_skip(a, ':');
	bool on = args_hex_u64(a) != 0;
	if (!t || !trace_complete(a))
		return;
	t->disconnected = on;
	reply_ok(&s->reply);
}

/* user:HEX;notes:HEX;tstop:HEX; */
void on_trace_notes(struct session *s, struct args *a)
{
	struct tracepoints *t = trace_experiment(s);
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
		trace_answer(s, r, &err);
}
