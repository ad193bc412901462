/*
 * halt.c - waiting until everybody has stopped, and for whom not to wait: dead leaders, vfork parents, uninterruptible waits.
 */
#include "base/log.h"
#include "target/live/task.h"
#include "target/live/tick.h"

enum { LATE_MS = 30, GIVE_UP_MS = 5000 };

static bool still_runs(const struct task *task)
{
	return task->state == TASK_RUNNING || task->state == TASK_NEW;
}

/* A leader that exited before its threads: there is no status to wait for until they are gone. */
void judge_zombie(struct task *task)
{
	struct proc *p = task->proc;
	if (task->tid != p->base.pid || p->count == 1)
		return;
	char state = proc_state(p->base.pid, task->tid);
	if (state != 'Z' && state != 'X')
		return;
	task_tell_end_of_steps(task);
	task_set_state(task, TASK_ZOMBIE);
	task_set_resumed(task, false);
	if (p->space && p->space->pid == task->tid)
		p->space->pid = proc_face(p);
}

/* Has looked long enough: is the kernel keeping it? */
static void judge_late(struct task *task)
{
	switch (proc_state(task->proc->base.pid, task->tid)) {
	case 'Z':
	case 'X': judge_zombie(task); break;
	case 'D': task_set_state(task, TASK_STUCK); break;
	default:
		if (task->vforking)
			task_set_state(task, TASK_STUCK);
	}
}

static bool concerns(const struct proc *p, const struct proc *only)
{
	return only ? p == only || p->space == only->space : !proc_is_alone(p);
}

static void halt_interrupt(struct live *live, struct proc *only)
{
	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; concerns(p, only) && i < p->count; i++) {
			struct task *task = p->tasks[i];
			if (task->state != TASK_RUNNING || task->interrupt_sent)
				continue;
			task->interrupt_sent = true;
			(void)pt_interrupt(
				task->tid); /* ESRCH: it is stopping or dying of itself */
		}
	}
}

static bool known(const struct live *live, const struct proc *wanted)
{
	const struct proc *p = live->procs;
	while (p && p != wanted)
		p = p->next;
	return p != NULL;
}

/* Waits for one. False: its process, an unseen vfork child, is no more. */
static bool await_stop(struct live *live, struct proc *p, pid_t tid, unsigned began)
{
	struct task *task;

	while ((task = proc_task(p, tid)) && still_runs(task)) {
		int status;
		pid_t got = tick_wait(tid, &status);
		unsigned waited = tick_count() - began;
		if (got == tid) { /* it may be started again to hear of a trap */
			live_news(live, tid, status);
			if (!known(live, p))
				return false;
		} else if (got < 0) {
			/* exec by another thread took its number away, or it was never ours */
			task_set_state(task, TASK_ZOMBIE);
		} else if (waited > GIVE_UP_MS) {
			return true;
		} else if (waited > LATE_MS) {
			judge_late(task);
		}
	}
	return true;
}

/* Each that should stop is waited for, while the others do it meanwhile; how many still have not, among them those that were made since. */
static size_t halt_pass(struct live *live, struct proc *only, unsigned began)
{
	size_t left = 0;

	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; concerns(p, only) && i < p->count;) {
			pid_t tid = p->tasks[i]->tid;
			if (still_runs(p->tasks[i]) && !await_stop(live, p, tid, began))
				return 1; /* the list has changed: look again */
			if (i < p->count && p->tasks[i]->tid == tid)
				i++;
		}
	}
	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; concerns(p, only) && i < p->count; i++)
			left += still_runs(p->tasks[i]);
	}
	return left;
}

void live_halt(struct live *live, struct proc *only)
{
	bool was = live->stopping;
	unsigned began = tick_count();
	size_t left;

	if (!live->running)
		return;
	live->stopping = true;
	live_hush(live);
	do {
		halt_interrupt(live, only);
		left = halt_pass(live, only, began);
	} while (left && tick_count() - began <= GIVE_UP_MS);
	if (left)
		log_debug(LOG_STOP, "%zu threads do not stop after %d ms; going on without them",
			  left, GIVE_UP_MS);
	live->stopping = was;
	if (live_expects_news(live) && !live->attending)
		live_listen(live);
}
