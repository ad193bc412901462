/*
 * tracecollect.c - what is done at the hit of a tracepoint, and after each step of a thread that goes on in steps from there.
 *
 * Everything here runs while other threads do: nothing is changed at the target, not even the tracepoint's own point taken out when the
 * run is over.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/log.h"
#include "server/bpoints.h"
#include "server/inferior.h"
#include "server/tracepoints.h"
#include "target/x86/regs.h"

/* One thread that is looked at. */
struct collector {
	struct tracepoints *t;
	struct target *target;
	pid_t tid;
	struct mem mem;
	struct user_regs_struct gp;
	struct xstate xs;
	bool have_xs;
};

/* xstate is too large for a stack that an expression is evaluated on, and one thread is looked at at a time. */
static struct collector the_collector;

static struct collector *look_at(struct tracepoints *t, struct target *target, pid_t tid)
{
	struct collector *c = &the_collector;

	c->t = t;
	c->target = target;
	c->tid = tid;
	c->mem = target_mem(target);
	c->have_xs = false;
	return target->ops->gp_read(target, tid, &c->gp) == 0 ? c : NULL;
}

/* --- registers --- */

static int need_xstate(struct collector *c)
{
	int r = c->have_xs ? 0 : c->target->ops->xstate_read(c->target, c->tid, &c->xs);
	c->have_xs |= r == 0;
	return r;
}

static int read_reg(void *ctx, unsigned reg, uint64_t *ret)
{
	struct collector *c = ctx;
	uint8_t value[X86_REG_SIZE_MAX] = { 0 };

	int r = x86_reg_is_gp(reg) ? 0 : need_xstate(c);
	if (r == 0)
		r = x86_reg_get(reg, &c->gp, c->have_xs ? &c->xs : NULL, value);
	if (r == 0)
		memcpy(ret, value, sizeof(*ret));
	return r;
}

static void collect_registers(struct collector *c)
{
	const struct regmap *m = &c->t->regs;
	uint8_t bytes[TDESC_SIZE_MAX] = { 0 };

	(void)need_xstate(c);
	for (size_t i = 0; i < m->tdesc.count; i++) {
		const struct tdesc_reg *reg = &m->tdesc.regs[i];
		if (reg->container != TDESC_NONE || m->x86[i] < 0 ||
		    (!c->have_xs && !x86_reg_is_gp((unsigned)m->x86[i])))
			continue;
		/* One that the thread has not got stays 0: a frame has no other word for it. */
		(void)x86_reg_get((unsigned)m->x86[i], &c->gp, &c->xs, bytes + reg->offset);
	}
	(void)traceframes_add_registers(&c->t->frames, bytes);
}

/* --- memory --- */

/* What cannot be read is not collected, and nobody's fault: pointers may lead nowhere. */
static int collect_memory(void *ctx, uint64_t addr, uint64_t len)
{
	static uint8_t bytes[TRACEFRAME_MEMORY_MAX];
	struct collector *c = ctx;

	while (len) {
		size_t want = (size_t)MIN(len, (uint64_t)sizeof(bytes)), got = 0;
		if (mem_read_some(&c->mem, addr, bytes, want, &got) < 0 || !got)
			return 0;
		if (!traceframes_add_memory(&c->t->frames, addr, bytes, got))
			return -ENOSPC;
		addr += got;
		len = got < want ? 0 : len - got;
	}
	return 0;
}

static int collect_string(void *ctx, uint64_t addr, uint64_t max)
{
	enum { CHUNK = 64 };
	struct collector *c = ctx;
	uint8_t bytes[CHUNK];
	uint64_t len = 0;
	const uint8_t *nul = NULL;

	while (len < max && !nul) {
		size_t want = (size_t)MIN(max - len, (uint64_t)CHUNK), got = 0;
		if (mem_read_some(&c->mem, addr + len, bytes, want, &got) < 0 || !got)
			break;
		nul = memchr(bytes, 0, got);
		len += nul ? (uint64_t)(nul - bytes) + 1 : got;
	}
	return collect_memory(c, addr, len);
}

static int get_variable(void *ctx, unsigned variable, uint64_t *ret)
{
	struct collector *c = ctx;
	struct trace_variable *v = tracepoints_variable(c->t, variable);
	*ret = v ? tracepoints_variable_value(v) : 0;
	return 0;
}

static int set_variable(void *ctx, unsigned variable, uint64_t value)
{
	struct collector *c = ctx;
	struct trace_variable *v = tracepoints_variable(c->t, variable);
	if (v)
		v->value = value;
	return 0;
}

static int collect_variable(void *ctx, unsigned variable)
{
	struct collector *c = ctx;
	uint64_t value;

	(void)get_variable(c, variable, &value);
	return traceframes_add_variable(&c->t->frames, variable, value) ? 0 : -ENOSPC;
}

/* --- expressions --- */

static int evaluate(struct collector *c, const struct ax *ax, uint64_t *ret, struct err *err)
{
	const struct ax_trace trace = { .get = get_variable,
					.set = set_variable,
					.memory = collect_memory,
					.string = collect_string,
					.variable = collect_variable,
					.ctx = c };
	const struct ax_env env = { .reg = read_reg, .ctx = c, .mem = &c->mem, .trace = &trace };

	return ax_eval(ax, &env, ret, err);
}

/* One that fails in a way that no data explains ends the run, as the manual has it. */
static void fail(struct collector *c, const struct trace_point *p, int r, const struct err *err)
{
	tracepoints_end(c->t, TRACE_FAILED, p->number, err_text(err, r));
}

static void act(struct collector *c, const struct trace_point *p, const struct trace_action *a)
{
	struct err err = { 0 };
	uint64_t value = 0;
	int r = 0;

	switch (a->kind) {
	case TRACE_REGISTERS: collect_registers(c); break;
	case TRACE_MEMORY:
		if (a->base < 0 || read_reg(c, (unsigned)a->base, &value) == 0)
			(void)collect_memory(c, value + a->addr, a->len);
		break;
	case TRACE_EXPRESSION:
		r = evaluate(c, a->ax, &value, &err);
		/* A pointer that leads nowhere, a register that is not there: unavailable, and the buffer says itself when it is full. */
		if (r == -EDOM || r == -ELOOP)
			fail(c, p, r, &err);
		break;
	}
}

static bool condition_holds(struct collector *c, const struct trace_point *p)
{
	struct err err = { 0 };
	uint64_t value = 1;

	int r = p->condition ? evaluate(c, p->condition, &value, &err) : 0;
	if (r < 0)
		fail(c, p, r, &err);
	return r == 0 && value;
}

/* --- frames --- */

static void collect(struct collector *c, struct trace_point *p, bool stepping)
{
	struct tracepoints *t = c->t;
	struct traceframe frame;

	if (traceframes_begin(&t->frames, p->number)) {
		for (size_t i = 0; i < p->action_count && t->running && !t->frames.full; i++)
			if (p->actions[i].stepping == stepping)
				act(c, p, &p->actions[i]);
		if (traceframes_get(&t->frames, traceframes_count(&t->frames) - 1, &frame))
			p->usage += TRACEFRAME_HEAD + frame.len;
	}
	if (t->frames.full)
		tracepoints_end(t, TRACE_FULL, 0, NULL);
}

static void pass(struct tracepoints *t, const struct trace_point *p)
{
	if (p->passes && p->hits >= p->passes)
		tracepoints_end(t, TRACE_PASSED, p->number, NULL);
}

static bool begin_steps(struct tracepoints *t, struct target *target, pid_t tid,
			const struct trace_point *p)
{
	const struct target_run_ops *run = target->ops->run;

	if (!run || !run->tell_steps)
		return false;
	if (t->stepper_count == t->stepper_room) {
		size_t room = t->stepper_room ? t->stepper_room * 2 : 16;
		struct trace_stepper *steppers =
			room <= TRACEPOINTS_STEPPERS_MAX
				? reallocarray(t->steppers, room, sizeof(*steppers))
				: NULL;
		if (!steppers)
			return false;
		t->steppers = steppers;
		t->stepper_room = room;
	}
	t->steppers[t->stepper_count++] =
		(struct trace_stepper){ .tid = tid, .number = p->number, .addr = p->addr };
	return run->tell_steps(target, tid) == 0;
}

static void hit_one(struct collector *c, struct trace_point *p)
{
	struct tracepoints *t = c->t;

	if (!p->enabled || !condition_holds(c, p))
		return;
	p->hits++;
	collect(c, p, false);
	if (t->running && p->steps && !begin_steps(t, c->target, c->tid, p))
		tracepoints_end(t, TRACE_FAILED, p->number, "no memory to go on in steps");
	else if (!p->steps)
		pass(t, p);
}

void tracepoints_hit(struct inferior *inf, const struct point_hit *h)
{
	struct tracepoints *t = inf ? inf->all->trace : NULL;

	if (!t || !t->running || t->inf != inf)
		return;
	struct collector *c = look_at(t, h->target, h->tid);
	for (size_t i = 0; c && i < t->count && t->running; i++)
		if (t->points[i]->in && t->points[i]->addr == h->addr)
			hit_one(c, t->points[i]);
}

enum hit_answer tracepoints_hit_alone(void *ctx, const struct point_hit *h)
{
	(void)ctx;
	if (h->number != TRACEPOINTS_NUMBER)
		return HIT_STOP;
	tracepoints_hit(inferior_of(h->target), h);
	return HIT_PASS;
}

/* --- steps --- */

/* False: it has done all. */
static bool step_one(struct collector *c, struct trace_stepper *stepper)
{
	struct tracepoints *t = c->t;
	struct trace_point *p = tracepoints_find(t, stepper->number, stepper->addr);

	if (!p)
		return false;
	collect(c, p, true);
	if (++stepper->done < p->steps)
		return true;
	pass(t, p);
	return false;
}

void tracepoints_stepper_gone(void *ctx, struct target *target, pid_t tid)
{
	struct inferior *inf = inferior_of(target);
	struct tracepoints *t = inf ? inf->all->trace : NULL;

	(void)ctx;
	if (!t || t->inf != inf)
		return;
	for (size_t i = t->stepper_count; i-- > 0;)
		if (t->steppers[i].tid == tid)
			t->steppers[i] = t->steppers[--t->stepper_count];
}

bool tracepoints_stepped(void *ctx, struct target *target, pid_t tid)
{
	struct inferior *inf = inferior_of(target);
	struct tracepoints *t = inf ? inf->all->trace : NULL;
	bool more = false;

	(void)ctx;
	if (!t || !t->running || t->inf != inf)
		return false;
	struct collector *c = look_at(t, target, tid);
	for (size_t i = 0; c && t->running && i < t->stepper_count;) {
		if (t->steppers[i].tid != tid) {
			i++;
		} else if (step_one(c, &t->steppers[i])) {
			more = true;
			i++;
		} else if (t->running) { /* the end of the run has forgotten them all */
			t->steppers[i] = t->steppers[--t->stepper_count];
		}
	}
	return more && t->running;
}
