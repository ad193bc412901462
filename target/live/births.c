/*
 * births.c - new threads, forks, vforks and new programs.
 *
 * A child's first stop may come before its parent's event: it waits as a stray until the event names it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "target/live/task.h"

/* Our int3s are in a copy of this memory, where nobody would ever take them out. */
static void clean_copy(struct space *of, pid_t tid)
{
	struct space *copy = space_clone(of, tid);
	if (copy)
		space_lift(copy);
	space_unref(copy);
}

static const struct proc *living(const struct live *live, pid_t pid)
{
	const struct proc *p = live->procs;
	while (p && (p->gone || p->base.pid != pid))
		p = p->next;
	return p;
}

/* Nobody is left who could announce it: who made it has ended, or was swept away when its process, this one, became another program. */
static bool is_forsaken(struct live *live, pid_t tid, const struct proc *execs)
{
	pid_t group, parent;

	if (!proc_relatives(tid, &group, &parent) || living(live, group))
		return false;
	const struct proc *p = living(live, parent);
	return !p || p == execs;
}

/* It runs on as if it had never been traced. */
static void let_stray_go(struct live *live, pid_t tid, const struct proc *execs)
{
	for (const struct proc *p = live->procs; p; p = p->next) {
		if ((p->gone || p == execs) && p->space)
			clean_copy(p->space, tid);
	}
	if (live->bereft)
		clean_copy(live->bereft, tid);
	(void)pt_set_dreg(tid, 7, 0);
	(void)pt_detach(tid, 0);
}

void stray_add(struct live *live, pid_t tid, int status)
{
	if (live->bereaved && is_forsaken(live, tid, NULL)) {
		let_stray_go(live, tid, NULL);
		return;
	}
	if (live->stray_len + 2 > live->stray_cap) {
		size_t cap = live->stray_cap ? live->stray_cap * 2 : 32;
		int *strays = realloc(live->strays, cap * sizeof(*strays));
		if (!strays) {
			live->strays_lost = true;
			return;
		}
		live->strays = strays;
		live->stray_cap = cap;
	}
	live->strays[live->stray_len++] = tid;
	live->strays[live->stray_len++] = status;
}

void strays_let_go(struct live *live, const struct proc *execs)
{
	for (size_t i = live->stray_len; i > 0; i -= 2) {
		int *stray = live->strays + i - 2;
		if (!is_forsaken(live, stray[0], execs))
			continue;
		let_stray_go(live, stray[0], execs);
		live->stray_len -= 2;
		stray[0] = live->strays[live->stray_len];
		stray[1] = live->strays[live->stray_len + 1];
	}
}

/* What was lost of a task that has just been announced: it stands in its first stop. */
static bool find_lost(struct live *live, pid_t tid, int *ret_status)
{
	struct user_regs_struct gp;

	if (!live->strays_lost || pt_get_gp(tid, &gp) < 0)
		return false;
	int r = waitpid(tid, ret_status, __WALL | WNOHANG);
	if (r != tid)
		*ret_status = PTRACE_EVENT_STOP << 16 | SIGTRAP << 8 | 0x7f;
	return true;
}

bool stray_take(struct live *live, pid_t tid, int *ret_status)
{
	for (size_t i = 0; i < live->stray_len; i += 2) {
		if (live->strays[i] != tid)
			continue;
		*ret_status = live->strays[i + 1];
		memmove(live->strays + i, live->strays + i + 2,
			(live->stray_len - i - 2) * sizeof(*live->strays));
		live->stray_len -= 2;
		return true;
	}
	return find_lost(live, tid, ret_status);
}

/* Made by a copy of its parent's system call, a new task finds itself behind that copy. */
void task_begin_at(struct task *task, uint64_t rip)
{
	struct user_regs_struct *gp;

	if (!rip || task_gp(task, &gp) < 0 || !over_scratch_holds(task->proc->space, gp->rip))
		return;
	gp->rip = rip;
	task_gp_changed(task);
}

static uint64_t rip_of(struct task *task)
{
	struct user_regs_struct *gp;
	return task_gp(task, &gp) == 0 ? gp->rip : 0;
}

/* The first stop of a forked child; false when it was killed before. */
static bool await_child(struct live *live, pid_t pid)
{
	int status;
	if (!stray_take(live, pid, &status)) {
		while (waitpid(pid, &status, __WALL) < 0) {
			if (errno != EINTR)
				return false;
		}
	}
	return WIFSTOPPED(status);
}

static struct proc *adopt_child(struct proc *parent, pid_t pid, bool vfork)
{
	struct proc *p = proc_new(parent->live, pid, parent->launched);
	if (!p)
		return NULL;
	p->base.ops = parent->base.ops;
	p->space = vfork ? space_ref(parent->space) : space_clone(parent->space, pid);
	p->vfork_parent = vfork ? parent : NULL;
	p->vfork_child = vfork;
	watches_inherit(p, parent);
	struct task *task = p->space ? task_add(p, pid, TASK_STOPPED) : NULL;
	if (!task) {
		proc_free(p);
		return NULL;
	}
	task->pstop = PSTOP_EVENT;
	task->how = (struct resume){ .action = RESUME_CONT };
	return p;
}

/* The kernel copies DR7 as a tracer sees it, though nothing is watched in the child; whoever looks there would find us. */
static void inherit_dregs(struct task *child, const struct task *parent)
{
	child->dregs_used |= parent->dregs_used;
}

void task_forked(struct task *parent, bool vfork)
{
	struct proc *pp = parent->proc;
	struct live *live = pp->live;
	unsigned long pid = 0;

	if (pt_event_message(parent->tid, &pid) < 0)
		return;
	if (!await_child(live, (pid_t)pid)) {
		task_go(parent);
		return;
	}
	parent->vforking = vfork;
	struct proc *child = adopt_child(pp, (pid_t)pid, vfork);
	if (!child) {
		pt_detach((pid_t)pid, 0);
		task_go(parent);
		return;
	}
	inherit_dregs(child->tasks[0], parent);
	task_begin_at(child->tasks[0], pp->space->scratch ? rip_of(parent) : 0);
	if (!pp->hidden && !pp->starting && (vfork ? live->events.vfork : live->events.fork)) {
		live_event(parent, (struct stop){ .kind = vfork ? STOP_VFORK : STOP_FORK,
						  .child_pid = (pid_t)pid,
						  .child_tid = (pid_t)pid });
		return;
	}
	if (vfork) {
		/* Our int3s are in the memory it runs in: it stays ours, unseen, until it has its own. */
		child->hidden = true;
		task_set_resumed(child->tasks[0], true);
		task_go(child->tasks[0]);
	} else {
		proc_let_go(child);
		proc_free(child);
	}
	task_go(parent);
}

static bool shares_memory(const struct proc *p, pid_t tid)
{
	enum { KCMP_SAME_VM = 1 };
	if (syscall(SYS_tgkill, p->base.pid, tid, 0) == 0)
		return true;
	/* 0: the same; -1: no such call, or it is gone */
	return syscall(SYS_kcmp, p->base.pid, tid, KCMP_SAME_VM, 0, 0) <= 0;
}

/*
 * A new thread for which there is no memory. It runs untraced from now on, so that there must be no int3 it could run into, for as
 * long as it may live; and it does not begin in a copy of ours.
 */
static void let_go_at_birth(struct task *parent, pid_t tid)
{
	static const char text[] =
		"No memory to trace a new thread: the breakpoints are out of the program\n";
	struct space *s = parent->proc->space;
	const struct tracer *tr = &parent->proc->live->base;
	uint64_t begin = s->scratch ? rip_of(parent) : 0;
	struct user_regs_struct gp;

	space_lift(s);
	s->lifted++;
	s->strangers++;
	if (await_child(parent->proc->live, tid) && begin && pt_get_gp(tid, &gp) == 0 &&
	    over_scratch_holds(s, gp.rip)) {
		gp.rip = begin;
		(void)pt_set_gp(tid, &gp);
	}
	(void)pt_detach(tid, 0);
	if (tr->console)
		tr->console(tr->console_ctx, text, sizeof(text) - 1);
}

void task_cloned(struct task *parent)
{
	struct live *live = parent->proc->live;
	unsigned long tid = 0;

	if (pt_event_message(parent->tid, &tid) < 0)
		return;

	struct proc *p = parent->proc;
	struct task *task = task_find(live, (pid_t)tid);
	/* The kernel calls it a clone, and every debugger a thread, but it may be a fork with an exit signal of its own. */
	if (!task && !shares_memory(p, (pid_t)tid))
		clean_copy(p->space, (pid_t)tid);
	if (!task)
		task = task_add(p, (pid_t)tid, TASK_NEW);
	if (!task) {
		let_go_at_birth(parent, (pid_t)tid);
	} else {
		task->how = (struct resume){ .action = RESUME_CONT };
		task_set_resumed(task, parent->resumed);
		task->defies_stop = parent->defies_stop;
		task->start_rip = parent->proc->space->scratch ? rip_of(parent) : 0;
		inherit_dregs(task, parent);
		int status;
		if (stray_take(live, (pid_t)tid, &status))
			live_hear(live, (pid_t)tid, status);
	}
	if (live->events.clone && !p->starting)
		live_event(parent, (struct stop){ .kind = STOP_CLONE,
						  .child_pid = p->base.pid,
						  .child_tid = (pid_t)tid });
	else
		task_go(parent);
}

/*
 * The process no longer lives in this memory. If it was a vfork child whose parent we have let go, the
 * parent lives on in it and nobody else will take our int3s out.
 */
void proc_leave_space(struct proc *p)
{
	struct space *s = p->space;

	if (!p->vfork_child || s->refs > 1)
		return;
	s->pid = 0; /* by the descriptor only: it still names the old memory */
	space_lift(s);
}

void task_execed(struct task *task)
{
	struct proc *p = task->proc;
	struct live *live = p->live;
	unsigned long former = 0;

	(void)pt_event_message(task->tid, &former);
	struct task *execer =
		former && (pid_t)former != task->tid ? proc_task(p, (pid_t)former) : NULL;
	if (execer) { /* what was asked of the thread that called exec now holds for the leader */
		/* Its number went before this was heard of: asked to go on with the leader it was taken for one that has ended. */
		bool resumed = execer->resumed || (execer->state == TASK_ZOMBIE && task->resumed);
		task_set_resumed(task, resumed);
		task->how = execer->how;
		struct deferred_signal *waiting = task->deferred;
		task->deferred = execer->deferred;
		execer->deferred = waiting;
	}
	/* All other threads vanish without a word, the former leader too. */
	for (size_t i = p->count; i-- > 0;) {
		if (p->tasks[i] == task)
			continue;
		task->interrupt_wanted |=
			p->tasks[i]->interrupt_wanted && p->tasks[i]->interrupt_any;
		child_follows(p->tasks[i], proc_let_go);
		task_remove(p->tasks[i]);
	}
	over_finish(task);
	child_follows(task, proc_let_go); /* of the leader that was */
	task->has_pending = false;
	strays_let_go(live, p);
	task->pass_valid = false;
	task->dregs_used = false;
	task->dregs_stale = false;
	task->vforking = false;
	dregs_clear(&p->dregs);
	watches_forget(p);
	swpoints_fini(&p->hw);

	proc_leave_space(p);
	struct space *fresh = space_new(p->base.pid);
	if (fresh) {
		space_unref(p->space);
		p->space = fresh;
	}
	p->vfork_parent = NULL;
	p->vfork_child = false;

	if (p->hidden) {
		proc_let_go(p);
		proc_free(p);
	} else if (p->starting || live->events.exec) {
		live_event(task, (struct stop){ .kind = STOP_EXEC, .child_tid = (pid_t)former });
	} else {
		task_go(task);
	}
}

void task_vfork_done(struct task *task)
{
	struct space *s = task->proc->space;

	task->vforking = false;
	if (s->lifted > s->strangers && !--s->lifted)
		s->sw.changed = true;
	if (task->proc->live->events.vfork && !task->proc->hidden && !task->proc->starting)
		live_event(task, (struct stop){ .kind = STOP_VFORK_DONE });
	else
		task_go(task);
}
