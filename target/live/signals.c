/*
 * signals.c - which signals pass, which wait, and how those that wait get to the program after all.
 */
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "target/live/task.h"

bool task_holds_signals(const struct task *task)
{
	return task->how.hold_signals &&
	       (!task->how.hold_ms || task->held_us < UINT64_C(1000) * task->how.hold_ms);
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void task_hold_pauses(struct task *task)
{
	if (task->hold_from_us)
		task->held_us += now_us() - task->hold_from_us;
	task->hold_from_us = 0;
}

void task_count_hold(struct task *task)
{
	task_hold_pauses(task);
	if (!task->how.hold_ms || !task->deferred)
		task->held_us = 0;
	else
		task->hold_from_us = now_us();
}

/* Its client must hear of every signal: a handler that it does not know of would be taken for where the step led. */
bool task_steps_openly(const struct task *task)
{
	return task->how.action != RESUME_CONT && !task->how.hold_signals;
}

/*
 * gdb lets a function it called return to a breakpoint on the stack, which may not be executable, or to no memory at all: the fault
 * at that address is the breakpoint, whatever is passed otherwise.
 */
static bool faults_at_point(struct task *task, int signo)
{
	struct user_regs_struct *gp;
	const struct swpoint *point;

	if (signo != SIGSEGV && signo != SIGILL && signo != SIGBUS)
		return false;
	if (task_gp(task, &gp) < 0)
		return false;
	point = swpoints_find(&task->proc->space->sw, gp->rip);
	return point && point->wanted;
}

bool task_passes_signal(struct task *task, int signo)
{
	return sigismember(&task->proc->live->pass, signo) == 1 && !task_steps_openly(task) &&
	       !faults_at_point(task, signo);
}

static bool is_deferred(const struct task *task, int signo)
{
	const struct deferred_signal *d = task->deferred;
	while (d && (d->sent || d->info.si_signo != signo))
		d = d->next;
	return d;
}

bool task_job_control(const struct task *task, int signo)
{
	switch (signo) {
	case SIGSTOP: return true;
	case SIGTSTP:
	case SIGTTIN:
	case SIGTTOU:
	case SIGCONT: return !proc_catches(task->proc->base.pid, signo);
	default: return false;
	}
}

bool task_hold_signal(struct task *task, int signo)
{
	if (!task_holds_signals(task) || task_job_control(task, signo))
		return false;
	/* As in the kernel, one that waits already is not queued twice. */
	if (!is_deferred(task, signo))
		task_defer_signal(task, signo);
	return true;
}

/* ---- those that wait */

void live_provide(struct live *live)
{
	enum { SPARES = 64 };

	while (live->spare_count < SPARES) {
		struct deferred_signal *d = calloc(1, sizeof(*d));
		if (!d)
			return;
		d->next = live->spare;
		live->spare = d;
		live->spare_count++;
	}
}

static void defer(struct task *task, int signo, const siginfo_t *si)
{
	struct live *live = task->proc->live;

	live_provide(live);
	struct deferred_signal *d = live->spare;
	if (!d)
		return;
	live->spare = take_ptr(d->next);
	live->spare_count--;
	if (si)
		d->info = *si;
	d->have_info = si;
	d->info.si_signo = signo;
	struct deferred_signal **end = &task->deferred;
	while (*end)
		end = &(*end)->next;
	*end = d;
	task->fresh = false;
}

void task_defer_signal(struct task *task, int signo)
{
	siginfo_t si;
	bool known = task->pstop == PSTOP_SIGNAL && pt_get_siginfo(task->tid, &si) == 0 &&
		     si.si_signo == signo;

	defer(task, signo, known ? &si : NULL);
}

void task_defer_untold(struct task *task, int signo)
{
	task_defer_signal(task, signo);
	struct deferred_signal *d = task->deferred;
	while (d && d->next)
		d = d->next;
	if (d)
		d->untold = true;
}

/* The kernel lets us queue what carries a value (sigqueue and its kin), and nothing that says it came from itself or from kill(2). */
void task_send(const struct task *task, const struct deferred_signal *d)
{
	siginfo_t info = d->info;

	if (d->have_info && info.si_code < 0 && info.si_code != SI_TKILL &&
	    syscall(SYS_rt_tgsigqueueinfo, task->proc->base.pid, task->tid, info.si_signo, &info) ==
		    0)
		return;
	syscall(SYS_tkill, task->tid, info.si_signo);
}

/*
 * A restart delivers a signal only out of a signal-delivery-stop, and only one. Every other is sent to the task, and when it arrives
 * gets the siginfo it had and passes (news.c).
 */
int task_deferred(struct task *task, int signo)
{
	if (signo && task->pstop != PSTOP_SIGNAL) {
		defer(task, signo, NULL);
		task->how.signo = signo = 0;
	}
	struct deferred_signal *head = task->deferred;
	if (!signo && head && !head->sent && !head->untold && task->pstop == PSTOP_SIGNAL) {
		task->how.signo = signo = head->info.si_signo;
		task->deferred = head->next;
		task->fresh = false;
		if (head->have_info)
			(void)pt_set_siginfo(task->tid, &head->info);
		free(head);
	}
	for (struct deferred_signal *d = task->deferred; d; d = d->next) {
		if (!d->sent)
			task_send(task, d);
		d->sent = true;
	}
	return signo;
}

/* What comes from a PID namespace above, as ours would, comes from nobody. */
static bool is_sender(const siginfo_t *si, pid_t pid)
{
	return si->si_pid == pid || si->si_pid == 0;
}

/* Those that were sent with a value come with it, the others as our tkill. */
static bool is_arrival(const struct deferred_signal *d, const siginfo_t *si)
{
	if (!d->sent || d->info.si_signo != si->si_signo)
		return false;
	if (si->si_code == SI_TKILL && is_sender(si, getpid()))
		return true;
	return d->have_info && d->info.si_code == si->si_code && is_sender(si, d->info.si_pid) &&
	       d->info.si_value.sival_ptr == si->si_value.sival_ptr;
}

/*
 * One we sent is neither here nor on its way: the same signal waited already and stands for both, so it is to be sent again; or one that
 * stops or continues the process has taken it back.
 */
static void find_deferred(struct task *task, const siginfo_t *arrived)
{
	for (struct deferred_signal *d, **at = &task->deferred; (d = *at);) {
		bool lost = d->sent && !is_arrival(d, arrived) &&
			    !pt_signal_queued(task->tid, d->info.si_signo);
		if (lost && task_job_control(task, d->info.si_signo)) {
			*at = d->next;
			free(d);
			continue;
		}
		if (lost)
			d->sent = false;
		at = &d->next;
	}
}

struct deferred_signal *task_take_arrival(struct task *task)
{
	siginfo_t si;
	struct deferred_signal **at = &task->deferred;

	if (!task->deferred || pt_get_siginfo(task->tid, &si) < 0)
		return NULL;
	find_deferred(task, &si);
	while (*at && !is_arrival(*at, &si))
		at = &(*at)->next;
	struct deferred_signal *d = *at;
	if (!d)
		return NULL;
	*at = d->next;
	if (d->have_info)
		(void)pt_set_siginfo(task->tid, &d->info);
	else
		d->info = si;
	d->have_info = true;
	return d;
}

void task_put_arrival_back(struct task *task, struct deferred_signal *d)
{
	d->next = task->deferred;
	d->sent = false;
	task->deferred = d;
}
