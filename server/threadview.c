#include "server/threadview.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The view of OS threads: an id is the tid. */
struct threadview {
	struct target *target;
};

struct threadview *threadview_new(struct target *t)
{
	struct threadview *v = malloc(sizeof(*v));
	if (v)
		v->target = t;
	return v;
}

void threadview_free(struct threadview *v)
{
	free(v);
}

int threadview_next(struct threadview *v, int64_t after, int64_t *ret)
{
	pid_t tid;
	int r = v->target->ops->next_thread(v->target, (pid_t)after, &tid);
	if (r < 0)
		return r;
	*ret = tid;
	return 0;
}

bool threadview_alive(struct threadview *v, int64_t id)
{
	int64_t next;
	return id > 0 && id <= INT32_MAX && threadview_next(v, id - 1, &next) == 0 && next == id;
}

int64_t threadview_id_of(struct threadview *v, pid_t tid)
{
	(void)v;
	return tid;
}

pid_t threadview_tid_of(struct threadview *v, int64_t id)
{
	return threadview_alive(v, id) ? (pid_t)id : 0;
}

int64_t threadview_main(struct threadview *v)
{
	int64_t first;

	if (threadview_alive(v, v->target->pid))
		return v->target->pid;
	return threadview_next(v, 0, &first) == 0 ? first : 0;
}

int threadview_describe(struct threadview *v, int64_t id, struct view_thread *ret)
{
	struct thread_info info;

	if (!threadview_alive(v, id))
		return -ESRCH;
	int r = v->target->ops->thread_info(v->target, (pid_t)id, &info);
	if (r < 0)
		return r;
	*ret = (struct view_thread){ .core = info.core, .stopped = info.stopped };
	snprintf(ret->name, sizeof(ret->name), "%s", info.name);
	return 0;
}

int view_regs_begin(struct view_regs *r, struct threadview *v, int64_t id)
{
	pid_t tid = threadview_tid_of(v, id);
	if (!tid)
		return -ESRCH;
	r->view = v;
	r->tid = tid;
	r->have_gp = r->have_xstate = false;
	r->dirty_gp = r->dirty_xstate = false;
	r->gp_error = r->xstate_error = 0;
	return 0;
}

static int need_gp(struct view_regs *r)
{
	struct target *t = r->view->target;
	if (!r->have_gp) {
		r->gp_error = t->ops->gp_read(t, r->tid, &r->gp);
		r->have_gp = true;
	}
	return r->gp_error;
}

static int need_xstate(struct view_regs *r)
{
	struct target *t = r->view->target;
	if (!r->have_xstate) {
		r->xstate_error = t->ops->xstate_read(t, r->tid, &r->xstate);
		r->have_xstate = true;
	}
	return r->xstate_error;
}

int view_regs_get(struct view_regs *r, unsigned reg, void *into)
{
	bool gp = x86_reg_is_gp(reg);
	int e = gp ? need_gp(r) : need_xstate(r);
	if (e < 0)
		return e;
	return x86_reg_get(reg, &r->gp, gp ? NULL : &r->xstate, into);
}

int view_regs_set(struct view_regs *r, unsigned reg, const void *from)
{
	bool gp = x86_reg_is_gp(reg);

	if (!r->view->target->ops->write)
		return -EROFS;
	int e = gp ? need_gp(r) : need_xstate(r);
	if (e < 0)
		return e;
	e = x86_reg_set(reg, &r->gp, gp ? NULL : &r->xstate, from);
	if (e < 0)
		return e;
	if (gp)
		r->dirty_gp = true;
	else
		r->dirty_xstate = true;
	return 0;
}

int view_regs_flush(struct view_regs *r)
{
	struct target *t = r->view->target;
	int e = 0;

	if (r->dirty_gp)
		e = t->ops->write->gp_write(t, r->tid, &r->gp);
	if (r->dirty_xstate) {
		int x = t->ops->write->xstate_write(t, r->tid, &r->xstate);
		e = e < 0 ? e : x;
	}
	r->dirty_gp = r->dirty_xstate = false;
	return e;
}
