#include "server/tracepoints.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "server/inferior.h"

enum { TIMESTAMP = 1 }; /* the number of $trace_timestamp, which gdb learns from us */

/* --- life --- */

static void action_fini(struct trace_action *a)
{
	ax_free(a->ax);
	free(a->text);
}

static void point_fini(struct trace_point *p)
{
	for (size_t i = 0; i < p->action_count; i++)
		action_fini(&p->actions[i]);
	for (size_t i = 0; i < p->source_count; i++) {
		free(p->sources[i].kind);
		free(p->sources[i].text);
	}
	free(p->actions);
	free(p->sources);
	free(p->condition_text);
	ax_free(p->condition);
}

static void forget_points(struct tracepoints *t)
{
	for (size_t i = 0; i < t->count; i++) {
		point_fini(t->points[i]);
		free(t->points[i]);
	}
	free(t->points);
	free(t->read_only);
	t->points = NULL;
	t->read_only = NULL;
	t->count = t->read_only_count = t->text = 0;
}

static void forget_variables(struct tracepoints *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->variable_count; i++) {
		if (t->variables[i].builtin && t->variables[i].number == TIMESTAMP)
			t->variables[kept++] = t->variables[i];
		else
			free(t->variables[i].name);
	}
	t->variable_count = kept;
}

struct tracepoints *tracepoints_get(struct inferiors *all)
{
	struct trace_variable timestamp = { .number = TIMESTAMP, .builtin = true };

	if (all->trace)
		return all->trace;
	struct tracepoints *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	timestamp.name = strdup("trace_timestamp");
	if (!timestamp.name || tracepoints_define_variable(t, &timestamp, NULL) < 0) {
		tracepoints_free(t);
		return NULL;
	}
	t->frames.size = TRACEPOINTS_BUFFER_DEFAULT;
	return all->trace = t;
}

void tracepoints_free(struct tracepoints *t)
{
	if (!t)
		return;
	forget_points(t);
	for (size_t i = 0; i < t->variable_count; i++)
		free(t->variables[i].name);
	free(t->variables);
	free(t->steppers);
	free(t->end_text);
	free(t->user);
	free(t->notes);
	free(t->stop_notes);
	traceframes_fini(&t->frames);
	free(t);
}

void tracepoints_init(struct tracepoints *t)
{
	tracepoints_end(t, TRACE_STOPPED, 0, NULL);
	tracepoints_settle(t);
	forget_points(t);
	forget_variables(t);
	traceframes_clear(&t->frames);
	free(t->end_text);
	free(t->stop_notes);
	t->end_text = t->stop_notes = NULL;
	t->end = TRACE_NOT_RUN;
	t->end_number = 0;
	t->started_us = t->stopped_us = 0;
	t->disconnected = false;
	t->inf = NULL;
}

/* --- what a client defines --- */

static bool may_take(struct tracepoints *t, size_t text)
{
	if (text > TRACEPOINTS_TEXT_MAX - t->text)
		return false;
	t->text += text;
	return true;
}

/* One more element at the end of a growing array of count; NULL: too many, or no memory. */
static void *one_more(void *list, size_t *count, size_t size)
{
	void **at = list;
	bool full = *count && !(*count & (*count - 1)); /* it doubles */
	size_t room = *count ? *count * 2 : 1;

	if (*count >= TRACEPOINTS_MAX)
		return NULL;
	if (full || !*count) {
		void *more = reallocarray(*at, room, size);
		if (!more)
			return NULL;
		*at = more;
	}
	return (uint8_t *)*at + (*count)++ * size;
}

static int no_room(struct err *err)
{
	return err_set(err, -ENOSPC, "no room for more: at most %d of each, and %d MB of text",
		       TRACEPOINTS_MAX, TRACEPOINTS_TEXT_MAX >> 20);
}

static size_t text_of(const char *text)
{
	return text ? strlen(text) + 1 : 0;
}

int tracepoints_define(struct tracepoints *t, const struct trace_point *what, struct err *err)
{
	struct trace_point *p = malloc(sizeof(*p));
	struct trace_point **at = NULL;

	if (p && may_take(t, sizeof(*p) + text_of(what->condition_text)))
		at = one_more(&t->points, &t->count, sizeof(struct trace_point *));
	if (!at) {
		struct trace_point gone = *what;
		point_fini(&gone);
		free(p);
		return no_room(err);
	}
	*p = *what;
	*at = p;
	return 0;
}

struct trace_point *tracepoints_find(const struct tracepoints *t, unsigned number, uint64_t addr)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->points[i]->number == number && t->points[i]->addr == addr)
			return t->points[i];
	return NULL;
}

struct trace_variable *tracepoints_variable(const struct tracepoints *t, unsigned number)
{
	for (size_t i = 0; i < t->variable_count; i++)
		if (t->variables[i].number == number)
			return &t->variables[i];
	return NULL;
}

int tracepoints_define_variable(struct tracepoints *t, const struct trace_variable *what,
				struct err *err)
{
	struct trace_variable *v = tracepoints_variable(t, what->number);

	if (!v && may_take(t, text_of(what->name)))
		v = one_more(&t->variables, &t->variable_count, sizeof(*v));
	else if (v)
		free(v->name);
	if (!v) {
		free(what->name);
		return no_room(err);
	}
	*v = *what;
	v->value = v->initial;
	return 0;
}

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t tracepoints_variable_value(const struct trace_variable *v)
{
	return v->builtin && v->number == TIMESTAMP ? now_us() : v->value;
}

int tracepoints_add_action(struct tracepoints *t, struct trace_point *p,
			   const struct trace_action *a, struct err *err)
{
	struct trace_action *at = NULL;

	if (may_take(t, sizeof(*a) + text_of(a->text)))
		at = one_more(&p->actions, &p->action_count, sizeof(*at));
	if (!at) {
		struct trace_action gone = *a;
		action_fini(&gone);
		return no_room(err);
	}
	*at = *a;
	return 0;
}

static int append_text(char **to, const char *text)
{
	size_t had = *to ? strlen(*to) : 0, more = strlen(text);
	char *grown = realloc(*to, had + more + 1);

	if (!grown)
		return -ENOMEM;
	memcpy(grown + had, text, more + 1);
	*to = grown;
	return 0;
}

int tracepoints_add_source(struct tracepoints *t, struct trace_point *p, const char *kind,
			   const char *text, bool goes_on, struct err *err)
{
	struct trace_source *last = p->source_count ? &p->sources[p->source_count - 1] : NULL;

	if (!may_take(t, text_of(kind) + text_of(text)))
		return no_room(err);
	if (goes_on && last && !strcmp(last->kind, kind))
		return append_text(&last->text, text) < 0 ? no_room(err) : 0;
	struct trace_source *at = one_more(&p->sources, &p->source_count, sizeof(*at));
	if (!at)
		return no_room(err);
	*at = (struct trace_source){ .kind = strdup(kind), .text = strdup(text) };
	if (at->kind && at->text)
		return 0;
	free(at->kind);
	free(at->text);
	p->source_count--;
	return no_room(err);
}

int tracepoints_add_read_only(struct tracepoints *t, struct trace_range range, struct err *err)
{
	struct trace_range *at = one_more(&t->read_only, &t->read_only_count, sizeof(*at));
	if (!at)
		return no_room(err);
	*at = range;
	return 0;
}

int tracepoints_set_text(char **text, const char *to, struct err *err)
{
	char *copy = to ? strdup(to) : NULL;

	if (to && !copy)
		return err_set(err, -ENOMEM, "no memory for a note");
	free(*text);
	*text = copy;
	return 0;
}

int tracepoints_set_size(struct tracepoints *t, uint64_t size, struct err *err)
{
	if (t->running)
		return err_set(err, -EBUSY,
			       "the trace buffer cannot change its size while the trace runs");
	if (size > TRACEPOINTS_BUFFER_MAX)
		return err_set(err, -EINVAL,
			       "a trace buffer of %" PRIu64 " bytes: at most %d are allowed", size,
			       TRACEPOINTS_BUFFER_MAX);
	t->frames.size = size ? size : TRACEPOINTS_BUFFER_DEFAULT;
	return 0;
}

void tracepoints_set_circular(struct tracepoints *t, bool circular)
{
	t->frames.circular = circular;
}

/* --- in the process --- */

static struct point point_at(uint64_t addr)
{
	return (struct point){ .kind = POINT_SW,
			       .internal = true,
			       .number = TRACEPOINTS_NUMBER,
			       .addr = addr,
			       .len = 1 };
}

/* Several may be at an address: there is one point for all that are enabled. */
static bool has_another_in(const struct tracepoints *t, const struct trace_point *p)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->points[i] != p && t->points[i]->in && t->points[i]->addr == p->addr)
			return true;
	return false;
}

static int put_in(struct tracepoints *t, struct trace_point *p, struct err *err)
{
	struct point point = point_at(p->addr);
	const struct target_point_ops *ops = t->inf->target->ops->points;

	if (p->in)
		return 0;
	int r = has_another_in(t, p) ? 0
		: ops                ? ops->insert(t->inf->target, &point, err)
		      : err_set(err, -EOPNOTSUPP, "nothing runs that could be traced");
	p->in = r == 0;
	return r;
}

static void take_out(struct tracepoints *t, struct trace_point *p)
{
	struct point point = point_at(p->addr);

	if (!p->in)
		return;
	p->in = false;
	if (t->inf && !has_another_in(t, p))
		t->inf->target->ops->points->remove(t->inf->target, &point);
}

static void take_all_out(struct tracepoints *t)
{
	for (size_t i = 0; i < t->count; i++)
		take_out(t, t->points[i]);
}

static int put_all_in(struct tracepoints *t, struct err *err)
{
	for (size_t i = 0; i < t->count; i++) {
		int r = t->points[i]->enabled ? put_in(t, t->points[i], err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int tracepoints_start(struct tracepoints *t, struct inferior *inf, const struct regmap *regs,
		      struct err *err)
{
	if (t->running)
		return err_set(err, -EBUSY, "the trace is running already");
	t->inf = inf;
	t->regs = *regs;
	t->frames.registers = regs->tdesc.size;
	traceframes_clear(&t->frames);
	for (size_t i = 0; i < t->count; i++)
		t->points[i]->hits = t->points[i]->usage = 0;
	int r = put_all_in(t, err);
	if (r < 0) {
		take_all_out(t);
		return r;
	}
	t->stepper_count = 0;
	t->end = TRACE_NOT_RUN;
	t->end_number = 0;
	t->started_us = now_us();
	t->stopped_us = 0;
	t->running = true;
	return 0;
}

void tracepoints_end(struct tracepoints *t, enum trace_end how, unsigned number, const char *text)
{
	if (!t->running)
		return;
	log_debug(LOG_POINTS, "the trace ends (%d): tracepoint %u, %s", (int)how, number,
		  text ? text : "no text");
	t->running = false;
	t->out_due = true;
	t->stopped_us = now_us();
	t->end = how;
	t->end_number = number;
	t->stepper_count = 0;
	(void)tracepoints_set_text(&t->end_text, text, NULL);
}

void tracepoints_settle(struct tracepoints *t)
{
	if (!t || !t->out_due)
		return;
	t->out_due = false;
	take_all_out(t);
}

int tracepoints_install(struct tracepoints *t, struct trace_point *p, struct err *err)
{
	return t->running && p->enabled ? put_in(t, p, err) : 0;
}

int tracepoints_enable(struct tracepoints *t, struct trace_point *p, bool enabled, struct err *err)
{
	int r = 0;

	if (t->running && enabled)
		r = put_in(t, p, err);
	else if (!enabled)
		take_out(t, p);
	if (r == 0)
		p->enabled = enabled;
	return r;
}

/* --- ends that are not asked for --- */

bool tracepoints_outlives_client(const struct inferior *inf)
{
	const struct tracepoints *t = inf->all->trace;
	return t && t->inf == inf && t->running && t->disconnected;
}

void tracepoints_client_gone(struct inferiors *all)
{
	struct tracepoints *t = all->trace;
	struct err err = { 0 };

	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++)
		t->points[i]->in = false;
	t->out_due = false;
	if (!t->running)
		return;
	if (!t->disconnected) {
		tracepoints_end(t, TRACE_DISCONNECTED, 0, NULL);
		t->out_due = false;
	} else if (put_all_in(t, &err) < 0) {
		tracepoints_end(t, TRACE_FAILED, 0, err.text);
	}
}

void tracepoints_process_gone(struct inferior *inf, const char *why)
{
	struct tracepoints *t = inf->all->trace;

	if (!t || t->inf != inf)
		return;
	for (size_t i = 0; i < t->count; i++)
		t->points[i]->in = false;
	if (t->running) {
		tracepoints_end(t, TRACE_STOPPED, 0, NULL);
		(void)tracepoints_set_text(&t->stop_notes, why, NULL);
	}
	t->out_due = false;
	t->inf = NULL;
}

/* --- variables of conditions --- */

/* As in gdb, one that was never set is 0. */
static int get_variable(void *ctx, unsigned variable, uint64_t *ret)
{
	const struct trace_variable *v = tracepoints_variable(ctx, variable);
	*ret = v ? tracepoints_variable_value(v) : 0;
	return 0;
}

static int set_variable(void *ctx, unsigned variable, uint64_t value)
{
	struct trace_variable *v = tracepoints_variable(ctx, variable);
	if (v)
		v->value = value;
	return 0;
}

static int collect_nothing(void *ctx, uint64_t addr, uint64_t len)
{
	(void)ctx, (void)addr, (void)len;
	return -ENODATA;
}

static int collect_no_variable(void *ctx, unsigned variable)
{
	(void)ctx, (void)variable;
	return -ENODATA;
}

void tracepoints_expressions(struct tracepoints *t, struct ax_trace *ret)
{
	*ret = (struct ax_trace){ .get = get_variable,
				  .set = set_variable,
				  .memory = collect_nothing,
				  .string = collect_nothing,
				  .variable = collect_no_variable,
				  .ctx = t };
}

/* --- looking at a frame --- */

static bool in_read_only(const struct tracepoints *t, uint64_t addr, size_t *len)
{
	for (size_t i = 0; i < t->read_only_count; i++) {
		const struct trace_range *r = &t->read_only[i];
		if (addr < r->start || addr >= r->end)
			continue;
		*len = (size_t)MIN((uint64_t)*len, r->end - addr);
		return true;
	}
	return false;
}

int tracepoints_read(const struct tracepoints *t, size_t n, uint64_t addr, void *into, size_t len,
		     size_t *ret_got)
{
	struct traceframe frame;

	if (!traceframes_get(&t->frames, n, &frame))
		return -EFAULT;
	*ret_got = traceframe_read(&frame, addr, into, len);
	if (*ret_got)
		return 0;
	if (!t->inf || !in_read_only(t, addr, &len))
		return -EFAULT;
	return t->inf->target->ops->mem_read(t->inf->target, addr, into, len, ret_got);
}

bool tracepoints_pc(const struct tracepoints *t, size_t n, uint64_t *ret)
{
	const struct tdesc_reg *rip = tdesc_by_id(&t->regs.tdesc, TDESC_RIP);
	struct traceframe frame;

	if (!traceframes_get(&t->frames, n, &frame))
		return false;
	const uint8_t *registers = traceframe_registers(&frame);
	if (registers && rip) {
		memcpy(ret, registers + rip->offset, sizeof(*ret));
		return true;
	}
	for (size_t i = 0; i < t->count; i++) {
		if (t->points[i]->number == frame.number) {
			*ret = t->points[i]->addr;
			return true;
		}
	}
	return false;
}

int tracepoints_register(const struct tracepoints *t, size_t n, const struct tdesc_reg *reg,
			 void *into)
{
	const struct tdesc_reg *then = tdesc_by_id(&t->regs.tdesc, reg->id);
	struct traceframe frame;

	if (!then || then->container != TDESC_NONE || then->size != reg->size ||
	    !traceframes_get(&t->frames, n, &frame))
		return -ENODATA;
	const uint8_t *registers = traceframe_registers(&frame);
	if (registers)
		memcpy(into, registers + then->offset, then->size);
	else if (reg->id != TDESC_RIP || !tracepoints_pc(t, n, into))
		return -ENODATA;
	return 0;
}
