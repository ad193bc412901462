/*
 * events.c - what is to be told: events of tasks wait in the tracer's queue, ends of what is no more in a list of their own.
 */
#include <string.h>

#include "target/live/task.h"

bool live_room_to_tell(struct live *live)
{
	size_t count = HASH_COUNT(live->tasks), cap = count + count / 2 + 16;

	if (live->queue_cap < count) {
		struct task **queue = realloc(live->queue, cap * sizeof(*queue));
		if (!queue)
			return false;
		live->queue = queue;
		live->queue_cap = cap;
	}
	if (live->told_cap < count) {
		struct target_event *told = realloc(live->told, cap * sizeof(*told));
		if (!told)
			return false;
		live->told = told;
		live->told_cap = cap;
	}
	return true;
}

void live_queue(struct task *task)
{
	struct live *live = task->proc->live;
	if (task->queued)
		return;
	live->queue[live->queue_len++] = task; /* each task was given its place when it was added */
	task->queued = true;
}

void live_event(struct task *task, struct stop stop)
{
	struct user_regs_struct *gp;

	task->pending_pc = task_gp(task, &gp) == 0 ? gp->rip : 0;
	task->pending = stop;
	task->has_pending = true;
	task_hold_pauses(task);
	if (task->resumed)
		live_queue(task);
}

void live_tell(struct live *live, struct proc *p, pid_t tid, struct stop stop)
{
	if (live->told_len == live->told_cap) {
		size_t cap = live->told_cap ? live->told_cap * 2 : 16;
		struct target_event *list = realloc(live->told, cap * sizeof(*list));
		if (!list)
			return;
		live->told = list;
		live->told_cap = cap;
	}
	live->told[live->told_len++] = (struct target_event){ &p->base, tid, stop };
}

bool live_take_told(struct live *live, struct proc *p, struct target_event *ret)
{
	for (size_t i = 0; i < live->told_len; i++) {
		if (p && live->told[i].target != &p->base)
			continue;
		*ret = live->told[i];
		live->told_len--;
		memmove(live->told + i, live->told + i + 1,
			(live->told_len - i) * sizeof(*live->told));
		return true;
	}
	return false;
}

void live_forget_told(struct live *live, struct proc *p)
{
	struct target_event dropped;
	while (live_take_told(live, p, &dropped))
		;
}

/* SIZE_MAX: there is none. */
static size_t choose(struct live *live, bool alone)
{
	for (size_t i = 0; i < live->queue_len; i++) {
		const struct task *task = live->queue[i];
		if (task->how.action != RESUME_CONT && task->pending.kind == STOP_STEP && !alone)
			return i;
	}
	/* Any of them, so that a busy breakpoint does not starve the other threads. */
	size_t first = live->queue_len ? (size_t)rand_r(&live->seed) % live->queue_len : 0;
	for (size_t i = 0; i < live->queue_len; i++) {
		size_t at = (first + i) % live->queue_len;
		if (!alone || live->queue[at]->proc->base.alone)
			return at;
	}
	return SIZE_MAX;
}

static bool take_queued(struct live *live, bool alone, struct target_event *ret)
{
	size_t at;

	while ((at = choose(live, alone)) != SIZE_MAX) {
		struct task *task = live->queue[at];
		memmove(live->queue + at, live->queue + at + 1,
			(live->queue_len - at - 1) * sizeof(*live->queue));
		live->queue_len--;
		task->queued = false;
		if (!task->has_pending || !task->resumed)
			continue;
		if (task_pending_stale(task)) {
			task_go(task);
			continue;
		}
		task->has_pending = task->interrupt_wanted = false;
		task_set_resumed(task, false);
		task->told = task->pending;
		*ret = (struct target_event){ &task->proc->base, task->tid, task->pending };
		return true;
	}
	return false;
}

int live_next_alone(struct tracer *tr, struct target_event *ret)
{
	struct live *live = live_of(tr);
	bool got = take_queued(live, true, ret);

	for (struct proc *p = live->procs; p && !got; p = p->next)
		got = p->base.alone && live_take_told(live, p, ret);
	if (!got && live_expects_news(live))
		live_listen(live);
	return got;
}

int live_next_event(struct tracer *tr, struct target_event *ret)
{
	struct live *live = live_of(tr);

	if (take_queued(live, false, ret))
		return 1;
	int r = live_take_told(live, NULL, ret);
	if (!r && live->kept_back) {
		/* What the others were kept back for is no longer true. */
		live->kept_back = false;
		live_release(live, RELEASE_ALL);
	}
	if (!r && live_expects_news(live))
		live_listen(live); /* the caller may go to sleep */
	return r;
}

/* What is to be told with the stop of another thread: news of the thread's own that ask for no answer. */
static bool tells_itself(struct task *task)
{
	switch (task->pending.kind) {
	case STOP_SIGNAL: return sigismember(&task->proc->live->pass, task->pending.signo) != 1;
	case STOP_SWBREAK:
	case STOP_HWBREAK:
	case STOP_WATCH:
	case STOP_STEP: return !task_pending_stale(task);
	default: return false;
	}
}

int live_next_untold(struct tracer *tr, struct target_event *ret)
{
	for (struct proc *p = live_of(tr)->procs; p; p = p->next) {
		for (size_t i = 0; !p->hidden && i < p->count; i++) {
			struct task *task = p->tasks[i];
			if (!task->has_pending || task->resumed || task->state != TASK_STOPPED ||
			    !tells_itself(task))
				continue;
			task->has_pending = task->interrupt_wanted = false;
			task_unqueue(task);
			task->told = task->pending;
			*ret = (struct target_event){ &p->base, task->tid, task->pending };
			return 1;
		}
	}
	return 0;
}

void live_push_back(struct tracer *tr, const struct target_event *ev)
{
	struct proc *p = proc_of(ev->target);
	struct task *task = proc_task(p, ev->tid);

	if (!task || ev->stop.kind == STOP_EXITED || ev->stop.kind == STOP_KILLED ||
	    ev->stop.kind == STOP_THREAD_EXITED || ev->stop.kind == STOP_NO_RESUMED) {
		live_tell(live_of(tr), p, ev->tid, ev->stop);
		return;
	}
	task->pending = ev->stop;
	task->has_pending = true;
	task->told = (struct stop){ 0 };
}
