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
#include <sys/wait.h>
#include <time.h>

#include "target/live/live.h"
#include "target/live/patch.h"
#include "target/live/task.h"

static struct live *the_live;
static pid_t the_pid;

void live_emergency_knows(struct live *live)
{
	the_live = live;
	the_pid = getpid();
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

/* It may be in the middle of being put in or taken out. */
static void restore_jump(const struct swpoint *p, int fd)
{
	uint8_t bytes[INSN_JUMP_MAX];

	if (p->jump_len > sizeof(bytes) ||
	    pread(fd, bytes, p->jump_len, (off_t)p->addr) != p->jump_len)
		return;
	for (size_t i = 0; i < p->jump_len; i++) {
		bool ours = bytes[i] == p->jump[i] || bytes[i] == p->under[i];
		if (!ours && (i || bytes[i] != INT3))
			return;
	}
	(void)!pwrite(fd, p->under, p->jump_len, (off_t)p->addr);
}

/*
 * At once: int3s, into which nobody is to run from now on. A jump that is whole stays in until nobody runs beside it, but its stub
 * traps no more.
 */
static void restore_traps(struct space *s)
{
	for (size_t i = 0; i < s->sw.count; i++) {
		const struct swpoint *p = &s->sw.at[i];
		bool int3 = p->inserted && byte_at(s->memfd, p->addr) == INT3;
		if (int3 && p->jump_len)
			restore_jump(p, s->memfd);
		else if (int3)
			(void)!pwrite(s->memfd, &p->orig, 1, (off_t)p->addr);
	}
	patch_disarm(s);
}

static bool has_jumps(const struct space *s)
{
	for (size_t i = 0; i < s->sw.count; i++) {
		if (s->sw.at[i].inserted && s->sw.at[i].jump_len)
			return true;
	}
	return false;
}

static void restore_memory(const struct swpoints *sw, int fd)
{
	for (size_t i = 0; i < sw->count; i++) {
		const struct swpoint *p = &sw->at[i];
		if (p->inserted && p->jump_len)
			restore_jump(p, fd);
		if (p->inserted && byte_at(fd, p->addr) == INT3)
			(void)!pwrite(fd, &p->orig, 1, (off_t)p->addr);
	}
}

static bool is_known(const struct live *live, pid_t tid)
{
	for (const struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; i < p->count; i++) {
			if (p->tasks[i]->tid == tid)
				return true;
		}
	}
	return false;
}

/* Out of a copy that no step of its own has led to: a new task begins where its parent made it. */
static void leave_scratch(const struct task *task, struct user_regs_struct *gp, uint64_t begin)
{
	if (begin && over_scratch_holds(task->proc->space, gp->rip))
		gp->rip = begin;
}

/* A child that was just made, and that nobody has heard of: its copy of the memory has the int3s, its pc may be in our scratch page. */
static void leave_child(const struct task *parent, uint64_t parent_rip)
{
	enum { TRIES = 100 };
	struct user_regs_struct gp;
	unsigned long child = 0;

	if (pt_event_message(parent->tid, &child) < 0 || !child ||
	    is_known(parent->proc->live, (pid_t)child))
		return;
	int fd = open_memory((pid_t)child);
	if (fd >= 0) {
		restore_memory(&parent->proc->space->sw, fd);
		close(fd);
	}
	if (!parent->proc->space->scratch && !parent->dregs_used)
		return;
	/* It stops before it executes anything. */
	int r = pt_get_gp((pid_t)child, &gp);
	for (int i = 0; i < TRIES && r == -ESRCH; i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL);
		r = pt_get_gp((pid_t)child, &gp);
	}
	if (r < 0)
		return;
	leave_scratch(parent, &gp, parent_rip);
	(void)pt_set_gp((pid_t)child, &gp);
	(void)pt_set_dreg((pid_t)child, 7, 0);
}

/* --- one task --- */

/* Or a stop at a system call. */
static bool is_event(const siginfo_t *si)
{
	return si->si_code >> 8 > 0 || (si->si_signo == SIGTRAP && si->si_code == (SIGTRAP | 0x80));
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

/* What its stop means has been found out before: registers and signals are in our tables. */
static bool is_judged(const struct task *task)
{
	return task->state == TASK_STOPPED && !task->fresh;
}

/* It ran into an int3 that is no more. */
static bool ran_into_ours(const struct task *task, const siginfo_t *si,
			  const struct user_regs_struct *there)
{
	if (is_judged(task) || task->away || si->si_signo != SIGTRAP || is_event(si))
		return false;
	return over_behind_int3(task->proc->space, there->rip) ||
	       (si->si_code == SI_KERNEL &&
		byte_at(task->proc->space->memfd, there->rip - 1) != INT3);
}

static int signal_of_stop(const struct task *task, const siginfo_t *si)
{
	if (is_judged(task))
		return task_signal_at_detach(task);
	if (is_event(si))
		return task->away ? task_signal_at_detach(task) : 0;
	/* The program's own traps are its own, those of a step, a breakpoint or a debug register are ours. */
	if (is_trap(si) && task->away)
		return task_signal_at_detach(task);
	if (is_trap(si) && si->si_code != SI_KERNEL && (task->stepping || task->dregs_used))
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

static bool is_fault(const siginfo_t *si)
{
	return is_trap(si) ||
	       ((si->si_signo == SIGSEGV || si->si_signo == SIGBUS) && si->si_code > 0);
}

/* A stub's int3 and its faults are ours, and where it stood in the stub is nobody's business: true, and so is its signal. */
static bool leave_stub(const struct task *task, const siginfo_t *si,
		       const struct user_regs_struct *there, struct user_regs_struct *gp)
{
	struct user_regs_struct moved = *there;

	if (is_judged(task) || task->away)
		return false;
	bool ours = patch_leave(task->proc->space, &moved, is_trap(si) && si->si_code == SI_KERNEL,
				is_fault(si));
	if (moved.rip != there->rip)
		*gp = moved;
	return ours;
}

static bool trap_to_come(const struct task *task, const struct user_regs_struct *there)
{
	const struct space *s = task->proc->space;
	return over_behind_int3(s, there->rip) ||
	       (s->patches ? pt_fault_queued(task->tid) : pt_trap_queued(task->tid));
}

static void leave(struct task *task, const struct user_regs_struct *there, const siginfo_t *si)
{
	bool changed = task->gp_valid && task->gp_dirty;
	struct user_regs_struct gp = task->away ? *task->away : changed ? task->gp : *there;
	bool ours = leave_stub(task, si, there, &gp);
	int signo = ours ? 0 : signal_of_stop(task, si);

	if (ran_into_ours(task, si, there)) {
		if (is_trap(si)) /* and not one that was sent, with which it was merged */
			signo = 0;
		if (!changed)
			gp.rip = there->rip - 1;
	} else if (task->over.kind == OVER_SLOT && !over_leave_copy(task, &gp) &&
		   si->si_signo == signo && si->si_code > 0) {
		signo = 0; /* a fault in the copy: the instruction will fault where it is */
	}
	leave_scratch(task, &gp, task->start_rip);
	if (is_birth(si) && !is_judged(task))
		leave_child(task, gp.rip);
	(void)pt_set_gp(task->tid, &gp);
	(void)pt_set_dreg(task->tid, 7, 0);
	send_deferred(task);
	if (task->away && !is_judged(task) && task_signal_at_detach(task) != signo)
		syscall(SYS_tkill, task->tid, task_signal_at_detach(task));
	if (signo && is_event(si))
		syscall(SYS_tkill, task->tid, signo); /* a restart out of this stop delivers none */
	(void)pt_detach(task->tid, signo);
	task->state = TASK_GONE;
}

/* Its parent does not hear of the end before we have. */
static bool has_died(struct task *task)
{
	int status;
	if (waitpid(task->tid, &status, __WALL | WNOHANG) != task->tid || WIFSTOPPED(status))
		return false;
	task->state = TASK_GONE;
	return true;
}

/* True: it is out of our hands. */
static bool try_leave(struct task *task)
{
	struct user_regs_struct gp;
	siginfo_t si = { 0 };

	if (task->state == TASK_GONE || task->state == TASK_ZOMBIE)
		return true;
	if (pt_get_gp(task->tid, &gp) < 0) {
		if (task->state == TASK_STOPPED && !task->away)
			task->state = TASK_RUNNING; /* just restarted */
		if (has_died(task))
			return true;
		return pt_interrupt(task->tid) == -ESRCH && kill(task->tid, 0) < 0;
	}
	if (pt_get_siginfo(task->tid, &si) < 0)
		memset(&si, 0, sizeof(si));
	/*
	 * The kernel looks at interrupts before signals: the trap of an int3 or of a step may still be queued (news.c), though the registers
	 * with which it was about to be started to hear of it may have been written.
	 */
	if (is_event(&si) && trap_to_come(task, &gp)) {
		if (!task->away)
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

static bool is_ours(const struct proc *p)
{
	return !p->launched && p->space;
}

/* Stopped, or on its way. */
static bool stands(struct task *task)
{
	struct user_regs_struct gp;

	if (task->state == TASK_GONE || task->state == TASK_ZOMBIE ||
	    pt_get_gp(task->tid, &gp) == 0)
		return true;
	if (task->state == TASK_STOPPED && !task->away)
		task->state = TASK_RUNNING; /* just restarted */
	return pt_interrupt(task->tid) == -ESRCH && kill(task->tid, 0) < 0;
}

static bool everybody_stands(struct live *live)
{
	bool all = true;

	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; is_ours(p) && has_jumps(p->space) && i < p->count; i++)
			all &= stands(p->tasks[i]);
	}
	return all;
}

/* Half as long again where there are jumps, which wait for everybody to stand. */
static void leave_within(struct live *live, unsigned patience_ms)
{
	uint64_t start = now_ms();
	while (!everybody_stands(live) && now_ms() - start < patience_ms / 2)
		nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
	for (struct proc *p = live->procs; p; p = p->next) {
		if (p->space)
			restore_memory(&p->space->sw, p->space->memfd);
	}
	start = now_ms();
	while (!try_leave_all(live) && now_ms() - start < patience_ms)
		nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL);
}

void live_emergency(unsigned patience_ms)
{
	struct live *live = the_live;

	if (!live || the_pid != getpid()) /* a child on its way to exec has no part in it */
		return;
	the_live = NULL;
	for (struct proc *p = live->procs; p; p = p->next) {
		if (p->space)
			restore_traps(p->space);
	}
	/* One that does not stop in time (a vfork parent) has no int3 left to run into, and the kernel lets go of it when we are gone. */
	leave_within(live, patience_ms);
}

/* --- of a server that is dead, by its guard --- */

static bool has_ended(const struct task *task)
{
	return task->state == TASK_GONE || task->state == TASK_ZOMBIE;
}

/* A leader that has exited shows no memory, its threads do. */
static int open_memory_of(const struct proc *p)
{
	pid_t by = p->base.pid;
	for (size_t i = p->count; i-- > 0;) {
		if (!has_ended(p->tasks[i]))
			by = p->tasks[i]->tid;
	}
	return open_memory(by);
}

/*
 * The kernel has let it run. A system call that it was making for us has returned into nowhere, or back in time: nothing is known of
 * its registers. The signal that only we knew of is sent anew.
 */
static void inherit_task(struct task *task)
{
	int signo = is_judged(task) && !task->away ? task_signal_at_detach(task) : 0;

	if (has_ended(task))
		return;
	task->away = NULL;
	task->gp_valid = task->gp_dirty = false;
	task->state = pt_seize(task->tid, false) < 0 ? TASK_GONE : TASK_RUNNING;
	if (signo && task->state == TASK_RUNNING)
		syscall(SYS_tkill, task->tid, signo);
}

void live_emergency_inherit(unsigned patience_ms)
{
	struct live *live = the_live;

	if (!live)
		return;
	for (struct proc *p = live->procs; p; p = p->next) {
		if (!p->space)
			continue;
		/* What was launched has died with us; the numbers of descriptors are used anew. */
		p->space->memfd = p->launched ? -1 : open_memory_of(p);
		restore_traps(p->space);
	}
	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; !p->launched && p->space && i < p->count; i++)
			inherit_task(p->tasks[i]);
	}
	leave_within(live, patience_ms);
}
