/*
 * news.c - what the kernel says of the tasks, turned into events or dealt with on the spot.
 *
 * live_news() is fed every wait status, in whatever order they come. It changes the task's state and then either makes an event
 * of it (live_event) or lets the task go on (task_go); the latter stops nobody else. While live->stopping nothing is restarted.
 */
#include <errno.h>
#include <sys/wait.h>

#include "base/log.h"
#include "target/live/patch.h"
#include "target/live/task.h"

/* One of those we sent ourselves: it passes, now or at the next start. */
static bool deferred_arrived(struct task *task, int signo)
{
	struct deferred_signal *d = task_take_arrival(task);

	if (!d)
		return false;
	if (d->untold && !task_passes_signal(task, signo)) {
		free(d);
		return false;
	}
	if (task->resumed && !task->proc->live->stopping) {
		free(d);
		task_restart(task, signo);
		return true;
	}
	task_put_arrival_back(task, d);
	return true;
}

static void signal_stop(struct task *task, int signo)
{
	struct live *live = task->proc->live;

	task->pstop = PSTOP_SIGNAL;
	task->stop_signo = signo;
	if (deferred_arrived(task, signo))
		return;
	bool passes = task->proc->starting || task->proc->hidden || task_passes_signal(task, signo);
	if (passes && !live->stopping && task->resumed) {
		bool held = task_hold_signal(task, signo);
		log_debug(LOG_STOP, "%d: signal %d %s", task->tid, signo, held ? "held" : "passed");
		task_restart(task, held ? 0 : signo);
		return;
	}
	live_event(task, (struct stop){ .kind = STOP_SIGNAL, .signo = signo });
}

static void process_gone(struct task *leader, struct stop stop)
{
	struct proc *p = leader->proc;

	children_follow(p, proc_let_go);
	for (size_t i = p->count; i-- > 0;) {
		if (p->tasks[i] != leader)
			task_remove(p->tasks[i]);
	}
	task_set_state(leader, TASK_GONE);
	leader->has_pending = false;
	leader->gp_valid = leader->gp_dirty = false;
	if (p->live->over_in_place == leader)
		over_finish(leader);
	p->gone = true;
	p->live->bereaved = true;
	strays_let_go(p->live, NULL);
	proc_leave_space(p);
	if (p->hidden) {
		proc_free(p);
		return;
	}
	live_tell(p->live, p, p->base.pid, stop);
}

static void task_exited(struct task *task, struct news news)
{
	struct proc *p = task->proc;
	struct live *live = p->live;

	live->ended = true;
	if (task->tid == p->base.pid) {
		process_gone(task,
			     news.kind == NEWS_EXITED
				     ? (struct stop){ .kind = STOP_EXITED, .status = news.value }
				     : (struct stop){ .kind = STOP_KILLED, .signo = news.value });
		return;
	}
	bool was_resumed = task->resumed;
	bool to_stop = task->interrupt_wanted && task->interrupt_any;
	if (live->events.threads && was_resumed && !p->starting)
		live_tell(live, p, task->tid,
			  (struct stop){ .kind = STOP_THREAD_EXITED, .status = news.value });
	child_follows(task, proc_let_go);
	task_remove(task);
	if (to_stop)
		proc_interrupt_other(p);
	live_check_no_resumed(live, p, was_resumed);
}

static void first_stop(struct task *task, bool group)
{
	struct live *live = task->proc->live;

	task->pstop = group ? PSTOP_GROUP : PSTOP_EVENT;
	task_begin_at(task, task->start_rip);
	if (live->events.threads && !task->proc->starting)
		live_event(task, (struct stop){ .kind = STOP_THREAD_CREATED });
	else if (task->interrupt_wanted)
		live_event(task, (struct stop){ .kind = STOP_INTERRUPT });
	else
		task_go(task);
}

void task_stop_over(struct task *task)
{
	task->defies_stop = task->stop_taken = false;
}

void task_take_stop_later(struct task *task)
{
	task->stop_taken |= !task->defies_stop;
}

static bool is_behind_int3(struct task *task)
{
	struct user_regs_struct *gp;
	return task_gp(task, &gp) == 0 && over_behind_int3(task->proc->space, gp->rip);
}

static bool trap_to_come(struct task *task)
{
	bool may_be = task->proc->space->patched || task->stepping || task->dregs_used;
	return may_be && pt_signal_queued(task->tid, SIGTRAP) &&
	       (pt_trap_queued(task->tid) || is_behind_int3(task));
}

static void interrupted(struct task *task, bool group)
{
	/*
	 * The kernel looks at interrupts before signals: a task that has just run into an int3 can stop here first, its pc behind the int3
	 * and the SIGTRAP still to come. Started now it executes nothing and stops again with that SIGTRAP.
	 */
	if (trap_to_come(task)) {
		if (group)
			task_take_stop_later(task);
		task_start(task, START_CONT, 0);
		task->interrupt_sent = true;
		return;
	}
	if (group)
		task->pstop = PSTOP_GROUP;
	if (task->interrupt_wanted)
		live_event(task, (struct stop){ .kind = STOP_INTERRUPT });
	else
		task_go(task);
}

static void task_stopped(struct task *task, struct news news)
{
	bool was_new = task->state == TASK_NEW;

	task->fresh = true;
	task_set_state(task, TASK_STOPPED);
	if (news.kind == NEWS_INTERRUPT)
		task_stop_over(task);
	task->pstop = PSTOP_EVENT;
	task->stop_signo = 0;
	task->gp_valid = task->gp_early;
	task->gp_early = false;
	task->interrupt_sent =
		false; /* one still on its way shows up as a stop nobody wants, which is passed over */
	if (was_new && (news.kind == NEWS_INTERRUPT || news.kind == NEWS_GROUP_STOP)) {
		first_stop(task, news.kind == NEWS_GROUP_STOP);
		return;
	}
	bool left_kernel = news.kind == NEWS_STEP && task->leaving_kernel;
	task->leaving_kernel = false;
	task->in_kernel =
		news.kind == NEWS_SYSCALL || (news.kind >= NEWS_FORK && news.kind <= NEWS_EXEC);
	task->at_exec = news.kind == NEWS_EXEC;
	if (left_kernel) {
		task_restart_step(task);
		return;
	}
	if (news.kind == NEWS_STEP && task->stepping)
		task_hide_trap_flag(task);
	if (news.kind == NEWS_SIGNAL && news.value == SIGTRAP && is_behind_int3(task))
		news.kind = NEWS_INT3; /* merged with one that was sent */
	if (task->over.kind != OVER_NONE && over_news(task, &news))
		return;
	if (patch_news(task, &news))
		return;

	switch (news.kind) {
	case NEWS_SIGNAL: signal_stop(task, news.value); break;
	case NEWS_INT3:
		task->pstop = PSTOP_SIGNAL;
		task_int3_hit(task);
		break;
	case NEWS_STEP:
		task->pstop = news.value ? PSTOP_SIGNAL : PSTOP_EVENT;
		if (!task->stepping)
			signal_stop(task, SIGTRAP); /* the program set the trap flag itself */
		else if (task->dregs_used)
			task_debug_reg_hit(task, true);
		else
			task_stepped(task);
		break;
	case NEWS_DEBUG_REG:
		task->pstop = PSTOP_SIGNAL;
		task_debug_reg_hit(task, false);
		break;
	case NEWS_SYSCALL: task_syscall_stop(task); break;
	case NEWS_INTERRUPT: interrupted(task, false); break;
	case NEWS_GROUP_STOP: interrupted(task, true); break;
	case NEWS_FORK: task_forked(task, false); break;
	case NEWS_VFORK: task_forked(task, true); break;
	case NEWS_VFORK_DONE: task_vfork_done(task); break;
	case NEWS_CLONE: task_cloned(task); break;
	case NEWS_EXEC: task_execed(task); break;
	case NEWS_EXITED:
	case NEWS_KILLED:
	case NEWS_CONTINUED: break;
	}
}

/* The kernel need not be asked what a SIGTRAP is there. */
static bool is_int3_of_ours(struct task *task)
{
	if (!task || task->state != TASK_RUNNING || task->stepping || task->dregs_used ||
	    !task->proc->space->patched || task->gp_dirty || pt_get_gp(task->tid, &task->gp) < 0)
		return false;
	task->gp_early = true;
	return over_behind_int3(task->proc->space, task->gp.rip);
}

void live_hear(struct live *live, pid_t tid, int status)
{
	siginfo_t si, *have = NULL;
	struct task *task = task_find(live, tid);
	struct news news = { NEWS_INT3, SIGTRAP };

	if (!wait_needs_siginfo(status) || !is_int3_of_ours(task)) {
		int r = wait_needs_siginfo(status) ? pt_get_siginfo(tid, &si) : -ENODATA;
		/* Killed since it stopped: nobody can say why it did, and its end is on the way. */
		if (task && r == -ESRCH)
			return;
		if (r == 0)
			have = &si;
		news = wait_classify(status, have);
	}
	log_debug(LOG_STOP, "%d: status %#x is news %d value %d%s", tid, (unsigned)status,
		  news.kind, news.value, task ? "" : " (unknown task)");

	if (!task) {
		int old;
		if (leaver_has_news(live, tid, status))
			return;
		if (news.kind == NEWS_EXITED || news.kind == NEWS_KILLED)
			(void)stray_take(live, tid, &old);
		else if (news.kind != NEWS_CONTINUED)
			stray_add(live, tid, status);
		return;
	}
	if (task->state == TASK_GONE)
		return;
	if (news.kind == NEWS_EXITED || news.kind == NEWS_KILLED)
		task_exited(task, news);
	else if (news.kind != NEWS_CONTINUED)
		task_stopped(task, news);
	task = task_find(live, tid);
	if (task)
		task->fresh = false;
}

void live_news(struct live *live, pid_t tid, int status)
{
	live_hear(live, tid, status);
	if (live->patch_due && !live->stopping)
		patch_make_due(live);
	if (live->release_due && !live->stopping) {
		live->release_due = false;
		live_release(live, RELEASE_ALL);
	}
}
