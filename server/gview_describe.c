#include "server/gview_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint64_t now_ns(const struct gview *gv)
{
	/* A core's clock stands where it died. */
	return gv->target->tracer ? gview_clock_ns() : 0;
}

struct labels {
	struct buf *out;
	size_t count;
};

static int put_label(void *ctx, const char *key, const char *value)
{
	struct labels *l = ctx;
	buf_printf(l->out, "%s%s=%s", l->count++ ? ", " : ", {", key, value);
	return 0;
}

static void put_goroutine_text(struct gview *gv, const struct go_goroutine *g, struct buf *out)
{
	struct labels l = { .out = out };

	go_put_state(gv->model, g, now_ns(gv), out);
	if (g->labels && go_labels(gv->model, g, put_label, &l) == 0 && l.count)
		buf_putc(out, '}');
	struct go_line from = go_creator(gv->model, g);
	if (from.function && strncmp(from.function, "runtime.", 8) != 0)
		buf_printf(out, ", created by %s", from.function);
}

static const char *name_of(struct gview *gv, const struct go_goroutine *g)
{
	const char *name = go_start_function(gv->model, g);
	return name && !strcmp(name, "runtime.main") ? "main.main" : name;
}

static void copy_text(const struct buf *from, char *into, size_t size)
{
	size_t len = MIN(from->len, size - 1);

	if (len)
		memcpy(into, from->data, len);
	into[len] = 0;
}

static int describe_goroutine(struct gview *gv, int64_t id, struct view_thread *ret)
{
	struct go_goroutine g = gview_goroutine(gv, id);
	struct thread_info info;
	_cleanup_buf_ struct buf text = { 0 };

	if (!g.g)
		return -ESRCH;
	*ret = (struct view_thread){ .core = -1, .stopped = true };
	const struct seen *s = gview_thread_of(gv, &g);
	if (s && gv->target->ops->thread_info(gv->target, s->tid, &info) == 0) {
		ret->core = info.core;
		ret->stopped = info.stopped;
	}
	const char *name = name_of(gv, &g);
	snprintf(ret->name, sizeof(ret->name), "%s", name ? name : "");
	buf_init(&text, 4096);
	put_goroutine_text(gv, &g, &text);
	copy_text(&text, ret->extra, sizeof(ret->extra));
	return 0;
}

static void describe_idle(struct gview *gv, const struct seen *s, struct view_thread *ret)
{
	static const struct {
		const char *name, *extra;
	} duties[] = {
		[GO_DUTY_SCHEDULER] = { "scheduler", "no goroutine: in the scheduler" },
		[GO_DUTY_IDLE] = { "idle", "no goroutine: parked" },
		[GO_DUTY_NETPOLL] = { "idle", "no goroutine: waits for the network" },
		[GO_DUTY_SYSMON] = { "sysmon", "no goroutine: the runtime's monitor" },
		[GO_DUTY_TEMPLATE] = { "template thread", "no goroutine: starts threads" },
	};
	enum go_duty duty = go_thread_duty(gv->model, &s->at, &s->regs);

	snprintf(ret->extra, sizeof(ret->extra), "%s", duties[duty].extra);
	if (duty == GO_DUTY_SYSMON || duty == GO_DUTY_TEMPLATE || s->at.m_id < 0)
		snprintf(ret->name, sizeof(ret->name), "%s", duties[duty].name);
	else
		snprintf(ret->name, sizeof(ret->name), "%s M%lld", duties[duty].name,
			 (long long)s->at.m_id);
}

/* One of the runtime's own goroutines, on its stack or behind the system stack. */
static void describe_runtimes(struct gview *gv, const struct seen *s, struct view_thread *ret)
{
	const char *name = go_start_function(gv->model, &s->at.g);
	_cleanup_buf_ struct buf state = { 0 };

	if (name)
		snprintf(ret->name, sizeof(ret->name), "%s", name);
	buf_init(&state, 256);
	go_put_state(gv->model, &s->at.g, 0, &state);
	const char *text = buf_cstr(&state);
	snprintf(ret->extra, sizeof(ret->extra), "the runtime's own goroutine %llu: %s",
		 (unsigned long long)s->at.g.goid, text ? text : "");
}

static void describe_thread(struct gview *gv, const struct seen *s, struct view_thread *ret)
{
	const struct go_thread *at = &s->at;
	unsigned long long goid = at->g.goid;
	char *into = ret->extra;
	size_t size = sizeof(ret->extra);

	switch (at->where) {
	case GO_WHERE_NOT_GO: snprintf(into, size, "C thread"); break;
	case GO_WHERE_EXTRA: snprintf(into, size, "C thread that has called Go"); break;
	case GO_WHERE_C: snprintf(into, size, "C code called by goroutine %llu", goid); break;
	case GO_WHERE_VDSO: snprintf(into, size, "vdso, for goroutine %llu", goid); break;
	case GO_WHERE_SIGNAL:
		if (at->g.g)
			snprintf(into, size, "signal handler, goroutine %llu interrupted", goid);
		else
			snprintf(into, size, "signal handler");
		break;
	case GO_WHERE_SYSTEM:
	case GO_WHERE_GO:
		if (!at->g.g)
			describe_idle(gv, s, ret);
		else if (at->g.system)
			describe_runtimes(gv, s, ret);
		else
			snprintf(into, size, "runtime, for goroutine %llu", goid);
		break;
	}
}

static int describe_os(struct gview *gv, int64_t id, struct view_thread *ret)
{
	pid_t tid = gview_tid_of(gv, id);
	struct thread_info info;

	if (!tid)
		return -ESRCH;
	int r = gv->target->ops->thread_info(gv->target, tid, &info);
	if (r < 0)
		return r;
	*ret = (struct view_thread){ .core = info.core, .stopped = info.stopped };
	snprintf(ret->name, sizeof(ret->name), "%s", info.name);
	const struct seen *s = gview_see(gv, tid);
	if (!gview_ready(gv))
		snprintf(ret->extra, sizeof(ret->extra), "Go has not started");
	else if (s && s->known)
		describe_thread(gv, s, ret);
	return 0;
}

int gview_describe(struct gview *gv, int64_t id, struct view_thread *ret)
{
	if ((id > VIEW_ID_OS && id < VIEW_ID_BIG) || !gview_ready(gv))
		return describe_os(gv, id, ret);
	return describe_goroutine(gv, id, ret);
}
