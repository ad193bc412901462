/*
 * halt.c - waiting until everybody has stopped, and for whom not to wait: dead leaders, vfork parents, uninterruptible waits.
 */
#include <errno.h>
#include <poll.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "target/live/task.h"

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

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
	task->state = TASK_ZOMBIE;
	task_set_resumed(task, false);
}

/* Has looked long enough: is the kernel keeping it? */
static void judge_late(struct task *task)
{
	switch (proc_state(task->proc->base.pid, task->tid)) {
	case 'Z':
	case 'X': judge_zombie(task); break;
	case 'D': task->state = TASK_STUCK; break;
	default:
		if (task->vforking)
			task->state = TASK_STUCK;
	}
}

static bool concerns(const struct proc *p, const struct proc *only)
{
	return !only || p == only || p->space == only->space;
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

/* One look at each task that should stop; how many still have not. */
static size_t halt_pass(struct live *live, struct proc *only, bool late)
{
	size_t left = 0;

	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; concerns(p, only) && i < p->count; i++) {
			struct task *task = p->tasks[i];
			pid_t tid = task->tid;
			int status;
			if (!still_runs(task))
				continue;
			pid_t got = waitpid(tid, &status, __WALL | WNOHANG);
			if (got == tid) {
				live_news(live, tid, status);
				if (!known(live,
					   p)) /* an unseen vfork child that is gone: the list has changed, look again */
					return 1;
				task = proc_task(p, tid);
				if (task)
					left += still_runs(
						task); /* started again to hear of a trap */
				else
					i--;
				continue;
			}
			if (got < 0 &&
			    errno ==
				    ECHILD) { /* exec by another thread took its number away, or it was never ours */
				task->state = TASK_ZOMBIE;
				continue;
			}
			if (late)
				judge_late(task);
			left += still_runs(task);
		}
	}
	return left;
}

void live_halt(struct live *live, struct proc *only)
{
	enum { LATE_MS = 30, GIVE_UP_MS = 5000 };
	bool was = live->stopping;
	uint64_t start = now_ms();
	live->stopping = true;

	for (;;) {
		uint64_t waited = now_ms() - start;
		halt_interrupt(live, only);
		size_t left = halt_pass(live, only, waited >= LATE_MS);
		if (!left)
			break;
		if (waited > GIVE_UP_MS) {
			log_debug(LOG_STOP,
				  "%zu threads do not stop after %d ms; going on without them",
				  left, GIVE_UP_MS);
			break;
		}
		struct pollfd pfd = { live->sigfd, POLLIN, 0 };
		if (poll(&pfd, 1, 2) > 0)
			live_drain(live);
	}
	live->stopping = was;
}
