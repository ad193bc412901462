#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "target/live/patch.h"
#include "target/live/task.h"

/*
 * The signal a task takes along. One nobody was told of is delivered; one the client saw and did not answer is delivered too, unless
 * the client said which signals the program is to get (QProgramSignals) and this is not among them.
 */
int task_signal_at_detach(const struct task *task)
{
	const struct live *live = task->proc->live;

	if (task->has_pending && task->pending.kind == STOP_SIGNAL)
		return task->pending.signo;
	if (task->told.kind == STOP_SIGNAL &&
	    (!live->program_set || sigismember(&live->program, task->told.signo) == 1))
		return task->told.signo;
	return task->how.signo;
}

static void leaver_add(struct live *live, pid_t tid)
{
	if (live->leaver_len == live->leaver_cap) {
		size_t cap = live->leaver_cap ? live->leaver_cap * 2 : 8;
		pid_t *leavers = realloc(live->leavers, cap * sizeof(*leavers));
		if (!leavers)
			return;
		live->leavers = leavers;
		live->leaver_cap = cap;
	}
	live->leavers[live->leaver_len++] = tid;
	live->bereaved = true;
}

void leaver_forget(struct live *live, pid_t tid)
{
	for (size_t i = live->leaver_len; i-- > 0;) {
		if (live->leavers[i] == tid)
			live->leavers[i] = live->leavers[--live->leaver_len];
	}
}

static bool is_leaver(const struct live *live, pid_t tid)
{
	for (size_t i = 0; i < live->leaver_len; i++) {
		if (live->leavers[i] == tid)
			return true;
	}
	return false;
}

bool leaver_has_news(struct live *live, pid_t tid, int status)
{
	if (!is_leaver(live, tid))
		return false;
	leaver_forget(live, tid);
	if (!WIFSTOPPED(status))
		return true;
	siginfo_t si;
	bool ours = status >> 16 || WSTOPSIG(status) == (SIGTRAP | 0x80) ||
		    (wait_needs_siginfo(status) && pt_get_siginfo(tid, &si) == 0 && si.si_code > 0);
	(void)pt_set_dreg(tid, 7, 0);
	(void)pt_detach(tid, ours ? 0 : WSTOPSIG(status));
	return true;
}

/* It goes when the kernel lets go of it. */
static void let_kept_task_go(struct task *task)
{
	for (struct deferred_signal *d = task->deferred; d; d = d->next) {
		if (!d->sent)
			task_send(task, d);
		d->sent = true;
	}
	leaver_add(task->proc->live, task->tid);
}

static void let_task_go(struct task *task)
{
	if (task->state == TASK_RUNNING || task->state == TASK_NEW || task->state == TASK_STUCK)
		let_kept_task_go(task);
	if (task->state != TASK_STOPPED)
		return;
	if (task->dregs_used)
		task_clear_dregs(task);
	(void)task_flush(task);

	task->how.signo = task_signal_at_detach(task);
	task->has_pending = false;
	task->told = (struct stop){ 0 };
	int signo = task_deferred(task, task->how.signo);
	int r = pt_detach(task->tid, signo);
	if (r < 0 && r != -ESRCH)
		log_debug(LOG_RUN, "%d: detach failed: %d", task->tid, r);
}

/* All tasks that can be stopped are. Leaves the table; the caller frees it. */
void proc_let_go(struct proc *p)
{
	struct space *s = p->space;

	for (size_t i = 0; i < p->count; i++) {
		if (p->tasks[i]->state == TASK_STOPPED)
			over_abort(p->tasks[i]);
	}
	if (s) {
		space_lift(s);
		over_unmap_scratch(p);
		patch_unmap(p);
		/* A vfork child we let go runs in memory that is still its parent's: no int3 there until it is out. */
		if (p->vfork_parent && s->refs > 1)
			s->lifted++;
		else if (s->refs > 1)
			s->sw.changed = true;
	}
	for (size_t i = 0; i < p->count; i++)
		let_task_go(p->tasks[i]);
}

void child_follows(struct task *task, void (*go)(struct proc *child))
{
	bool fork = task->has_pending &&
		    (task->pending.kind == STOP_FORK || task->pending.kind == STOP_VFORK);
	struct task *child = fork ? task_find(task->proc->live, task->pending.child_tid) : NULL;

	if (!child || child->proc == task->proc || child->proc->base.user)
		return;
	struct proc *cp = child->proc;
	children_follow(cp, go);
	go(cp);
	proc_free(cp);
}

void children_follow(struct proc *p, void (*go)(struct proc *child))
{
	for (size_t i = 0; i < p->count; i++)
		child_follows(p->tasks[i], go);
}

static void kill_child(struct proc *child)
{
	(void)live_kill(&child->base);
}

int live_detach(struct target *t, bool stop)
{
	struct proc *p = proc_of(t);
	struct live *live = p->live;

	if (p->gone)
		return 0;
	live_halt(live, p);
	if (p->gone)
		return 0;
	if (stop)
		kill(t->pid, SIGSTOP);
	children_follow(p, proc_let_go);
	proc_let_go(p);
	while (p->count)
		task_remove(p->tasks[p->count - 1]);
	p->gone = true;
	live_release(live, RELEASE_ALL);
	return 0;
}

int live_kill(struct target *t)
{
	struct proc *p = proc_of(t);
	struct live *live = p->live;
	enum { TRIES = 2000 };

	children_follow(p, kill_child);
	kill(t->pid, SIGKILL);
	for (int i = 0; i < TRIES && !p->gone; i++) {
		int status;
		pid_t tid;
		bool any = false;
		live->stopping = true;
		while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
			live_news(live, tid, status);
			any = true;
		}
		live->stopping = false;
		if (tid < 0 && errno == ECHILD)
			break;
		/* A task that stood in a ptrace-stop which SIGKILL does not break is started into its death. */
		for (size_t j = 0; j < p->count && !p->gone && i; j++) {
			if (p->tasks[j]->state == TASK_STOPPED)
				(void)pt_cont(p->tasks[j]->tid, SIGKILL);
		}
		if (!any && !p->gone)
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	live_forget_told(live, p);
	live_release(live, RELEASE_ALL);
	return p->gone ? 0 : -ETIMEDOUT;
}
