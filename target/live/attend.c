/*
 * attend.c - hearing of news.
 *
 * Asleep in the loop we are woken by SIGCHLD, which the loop sees through a signalfd. But most stops come so soon after the start that
 * to go back to the loop, be woken, read the signal and ask who it was takes longer than the stop itself, so whoever starts tasks
 * attends for a moment: blocks in waitpid() for the one that was started, deals with what comes, and again. SIGCHLD is switched off
 * for that time (SA_NOCLDSTOP), as raising it is a good part of what a stop costs.
 */
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "target/live/task.h"
#include "target/live/tick.h"

/* SIGCHLD is blocked: it never runs. But to set the default action would drop a SIGCHLD that waits, the only word of a dead leader. */
static void ignore(int signo)
{
	(void)signo;
}

static void raise_for_stops(bool on)
{
	struct sigaction sa = { .sa_handler = ignore, .sa_flags = on ? 0 : SA_NOCLDSTOP };
	sigaction(SIGCHLD, &sa, NULL);
}

void live_hush(struct live *live)
{
	if (live->quiet)
		return;
	live->quiet = true;
	raise_for_stops(false);
}

void live_listen(struct live *live)
{
	siginfo_t si = { 0 };

	if (!live->quiet)
		return;
	live->quiet = false;
	raise_for_stops(true);
	/* What came meanwhile raised none. */
	if (waitid(P_ALL, 0, &si, WEXITED | WSTOPPED | WNOHANG | WNOWAIT | __WALL) == 0 &&
	    si.si_pid)
		syscall(SYS_tgkill, getpid(), gettid(), SIGCHLD);
}

/* One status, and then all there are, unless it is clear whose came first. Returns how many. */
static size_t take(struct live *live, pid_t tid, int status, bool everybodys)
{
	size_t n = 0;

	live->collecting = everybodys;
	for (; tid > 0; tid = everybodys ? waitpid(-1, &status, __WALL | WNOHANG) : 0) {
		live_news(live, tid, status);
		n++;
	}
	live->collecting = false;
	live_start_put_off(live);
	if (live->release_due) {
		live->release_due = false;
		live_release(live, RELEASE_ALL);
	}
	return n;
}

static size_t look(struct live *live)
{
	int status;
	pid_t tid = waitpid(-1, &status, __WALL | WNOHANG);
	return take(live, tid, status, true);
}

/*
 * A leader that exits before its threads leaves no status until they are gone, but the kernel does send
 * SIGCHLD. Looked for when something ended or a SIGCHLD came.
 */
static void find_dead_leaders(struct live *live)
{
	live->ended = false;
	for (struct proc *p = live->procs; p; p = p->next) {
		struct task *leader = proc_task(p, p->base.pid);
		if (!leader || leader->state != TASK_RUNNING || p->count == 1)
			continue;
		bool was_resumed = leader->resumed;
		judge_zombie(leader);
		if (leader->state != TASK_ZOMBIE)
			continue;
		if (live->events.threads && was_resumed)
			live_tell(live, p, leader->tid,
				  (struct stop){ .kind = STOP_THREAD_EXITED });
		if (leader->interrupt_wanted && leader->interrupt_any)
			proc_interrupt_other(p);
		leader->interrupt_wanted = false;
		live_check_no_resumed(live, p, was_resumed);
	}
}

void live_attend(struct live *live)
{
	enum { MOMENT_MS = 2 };
	unsigned began = tick_count(), looked = began;

	while (live->awaited && !live->queue_len && !live->told_len &&
	       tick_count() - began < MOMENT_MS) {
		pid_t whom = live->awaited;
		int status;
		pid_t tid = tick_wait(whom, &status);
		(void)take(live, tid, status, whom < 0);
		/* The one we wait for may come so often that nobody else is heard of, or be gone under another number. */
		bool late = tid < 0 || tick_count() != looked;
		bool nobody = late ? !look(live) : false;
		looked = tick_count();
		if (late && !live->queue_len && !live->told_len)
			lead_let_follow(live);
		if (nobody && tid < 0)
			break;
	}
	if (live->queue_len || live->told_len)
		lead_has_stopped(live);
	else
		lead_let_follow(live);
	if (live->ended)
		find_dead_leaders(live);
}

static void forget_signals(struct live *live)
{
	struct signalfd_siginfo info[8];
	while (read(live->sigfd, info, sizeof(info)) == (ssize_t)sizeof(info))
		;
}

void live_collect(struct tracer *tr)
{
	struct live *live = live_of(tr);

	forget_signals(live);
	live_hush(live);
	live->attending = true;
	live->awaited = 0;
	if (look(live))
		live_attend(live);
	find_dead_leaders(live); /* even so: one SIGCHLD may stand for a stop and for a leader's end */
	live->attending = false;
	if (live_expects_news(live))
		live_listen(live);
}
