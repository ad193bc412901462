/*
 * emergency.c - letting go of everything when we are about to die, in the handler of a fatal signal.
 *
 * Plain system calls and our own tables, which may be in the middle of a change: nothing is allocated, freed, locked, logged or believed.
 * Where a task is, and in which stop, is asked of the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <time.h>

#include "target/live/live.h"
#include "target/live/task.h"

static struct live *the_live;

void live_emergency_knows(struct live *live)
{
	the_live = live;
}

/* --- memory --- */

/* "/proc/PID/mem" */
static int open_memory(pid_t pid)
{
	char path[32] = "/proc/", digits[16];
	size_t at = 6, n = 0;

	for (; pid && n < sizeof(digits); pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	while (n)
		path[at++] = digits[--n];
	memcpy(path + at, "/mem", 5);
	return open(path, O_RDWR | O_CLOEXEC);
}

static uint8_t byte_at(int fd, uint64_t addr)
{
	uint8_t byte = 0;
	return pread(fd, &byte, 1, (off_t)addr) == 1 ? byte : 0;
}

static void restore_memory(const struct swpoints *sw, int fd)
{
	for (size_t i = 0; i < sw->count; i++) {
		const struct swpoint *p = &sw->at[i];
		if (p->inserted && byte_at(fd, p->addr) == INT3)
			(void)!pwrite(fd, &p->orig, 1, (off_t)p->addr);
	}
}

/* A child that was just made, and that nobody has heard of: its copy of the memory has the int3s, its pc may be in our scratch page. */
static void leave_child(const struct task *parent, uint64_t parent_rip)
{
	struct user_regs_struct gp;
	unsigned long child = 0;

	if (pt_event_message(parent->tid, &child) < 0 || !child)
		return;
	int fd = open_memory((pid_t)child);
	if (fd >= 0) {
		restore_memory(&parent->proc->space->sw, fd);
		close(fd);
	}
	if (pt_get_gp((pid_t)child, &gp) < 0 || !over_scratch_holds(parent->proc->space, gp.rip))
		return;
	gp.rip = parent_rip;
	(void)pt_set_gp((pid_t)child, &gp);
}

/* --- one task --- */

static bool is_event(const siginfo_t *si)
{
	return si->si_code >> 8 > 0;
}

static bool is_birth(const siginfo_t *si)
{
	int event = si->si_code >> 8;
	return event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK ||
	       event == PTRACE_EVENT_CLONE;
}

static bool is_trap(const siginfo_t *si)
{
	return si->si_signo == SIGTRAP && !is_event(si) && si->si_code > 0;
}

/* It ran into an int3 that is no more: back onto what was under it. */
static bool ran_into_ours(const struct task *task, const siginfo_t *si,
			  const struct user_regs_struct *gp)
{
	const struct space *s = task->proc->space;

	if (!is_trap(si) || si->si_code != SI_KERNEL || byte_at(s->memfd, gp->rip - 1) == INT3)
		return false;
	/* One whose stop we knew of has been moved back already. */
	return task->state != TASK_STOPPED ||
	       (swpoints_find(&s->sw, gp->rip - 1) && !swpoints_find(&s->sw, gp->rip));
}

static int signal_of_stop(const struct task *task, const siginfo_t *si,
			  const struct user_regs_struct *gp)
{
	if (task->state == TASK_STOPPED)
		return task_signal_at_detach(task);
	if (is_event(si) || si->si_signo == (SIGTRAP | 0x80))
		return 0;
	/* The program's own traps are its own, those of a breakpoint, a step or a watchpoint are ours. */
	if (is_trap(si) && si->si_code == SI_KERNEL)
		return byte_at(task->proc->space->memfd, gp->rip - 1) == INT3 ? SIGTRAP : 0;
	if (is_trap(si) && (task->stepping || task->dregs_used))
		return 0;
	return si->si_signo;
}

static void send_deferred(const struct task *task)
{
	for (const struct deferred_signal *d = task->deferred; d; d = d->next) {
		if (!d->sent)
			task_send(task, d);
	}
}

static void leave(struct task *task, struct user_regs_struct *gp, const siginfo_t *si)
{
	int signo = signal_of_stop(task, si, gp);

	if (task->over.kind == OVER_SLOT && !over_leave_copy(task, gp) && si->si_signo == signo &&
	    si->si_code > 0)
		signo = 0; /* a fault in the copy: the instruction will fault where it is */
	if (ran_into_ours(task, si, gp)) {
		gp->rip--;
		signo = 0;
	}
	if (is_birth(si) && task->state != TASK_STOPPED)
		leave_child(task, gp->rip);
	(void)pt_set_gp(task->tid, gp);
	(void)pt_set_dreg(task->tid, 7, 0);
	send_deferred(task);
	(void)pt_detach(task->tid, signo);
	task->state = TASK_GONE;
}

/* True: it is out of our hands. */
static bool try_leave(struct task *task)
{
	struct user_regs_struct gp;
	siginfo_t si = { 0 };

	if (task->state == TASK_GONE || task->state == TASK_ZOMBIE)
		return true;
	if (pt_get_gp(task->tid, &gp) < 0) {
		if (task->state == TASK_STOPPED)
			task->state = TASK_RUNNING; /* just restarted */
		return pt_interrupt(task->tid) == -ESRCH && kill(task->tid, 0) < 0;
	}
	if (task->state == TASK_STOPPED && task->gp_valid && task->gp_dirty)
		gp = task->gp;
	if (pt_get_siginfo(task->tid, &si) < 0)
		memset(&si, 0, sizeof(si));
	/* The kernel looks at interrupts before signals: the trap of an int3 or of a step may still be queued (news.c). */
	if (is_event(&si) && pt_trap_queued(task->tid)) {
		(void)pt_set_gp(task->tid, &gp);
		task->state = TASK_RUNNING;
		return pt_cont(task->tid, 0) < 0;
	}
	leave(task, &gp, &si);
	return true;
}

/* --- all of them --- */

static bool try_leave_all(struct live *live)
{
	bool all = true;

	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; !p->launched && p->space && i < p->count; i++)
			all &= try_leave(p->tasks[i]);
	}
	return all;
}

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void live_emergency(unsigned patience_ms)
{
	struct live *live = the_live;

	if (!live)
		return;
	the_live = NULL;
	for (struct proc *p = live->procs; p; p = p->next) {
		if (p->space)
			restore_memory(&p->space->sw, p->space->memfd);
	}
	/* One that does not stop in time (a vfork parent) has no int3 left to run into, and the kernel lets go of it when we are gone. */
	uint64_t start = now_ms();
	while (!try_leave_all(live) && now_ms() - start < patience_ms)
		nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
}
