/*
 * inject.c - system calls made by the debuggee on our behalf: memory of our own in it.
 *
 * A stopped thread is sent to a syscall instruction that is there already (the vDSO has some), stepped over it, and put back. Nothing is
 * written, so that other threads may run meanwhile. The thread must not be inside a system call of its own (the stops of fork, clone,
 * exec): the kernel would overwrite rax with that call's result on the way out.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/log.h"
#include "target/live/task.h"
#include "target/live/tick.h"

static const uint8_t syscall_insn[] = { 0x0f, 0x05 };

static bool outside_kernel(const struct task *task)
{
	return task->state == TASK_STOPPED && !task->in_kernel;
}

/* A system call that the client stops at has not happened yet, or its result is what the client wants to see. */
static bool may_leave(const struct task *task)
{
	enum stop_kind kind = task->has_pending ? task->pending.kind : task->told.kind;
	return task->state == TASK_STOPPED && task->in_kernel && !task->vforking &&
	       kind != STOP_SYSCALL_ENTRY && kind != STOP_SYSCALL_RETURN;
}

/* True: in a job-control stop. */
static bool note_event_stop(struct task *task, int status)
{
	bool group = WSTOPSIG(status) != SIGTRAP;

	if (!group)
		task_stop_over(task);
	return group;
}

/*
 * What the task that we have just started stops with. -ESRCH: it ends, or another thread has made another program of the process, which
 * is left for whoever collects; for an end of the first thread's there may be nothing yet: the others' are to be collected before.
 */
static int await_own_stop(struct task *task, int *ret_status)
{
	enum { PATIENCE_MS = 2000 };
	siginfo_t what;
	pid_t got;

	for (unsigned began = tick_count();;) {
		got = tick_look(task->tid, &what);
		if (got < 0)
			return got == -ECHILD ? -ESRCH : got;
		if (got > 0 &&
		    (what.si_code != CLD_TRAPPED || what.si_status >> 8 == PTRACE_EVENT_EXEC))
			return -ESRCH;
		/* What was seen is gone when the task has been killed since. */
		if (got > 0 && (got = waitpid(task->tid, ret_status, __WALL | WNOHANG)) != 0)
			return got < 0 ? -errno : 0;
		char state = proc_state(task->proc->base.pid, task->tid);
		if (state == 'Z' || state == 'X')
			return -ESRCH;
		/* With no descriptor left nothing is said of it, be it there or not. */
		if (!state && tick_count() - began > PATIENCE_MS)
			return -ESRCH;
	}
}

/* Its news is on the way: whatever it is started with would be lost, or meant for another program. */
static void leave_to_collector(struct task *task)
{
	task->gp_valid = task->gp_dirty = false;
	task_set_state(task, TASK_STUCK);
}

int task_leave_kernel(struct task *task)
{
	pid_t tid = task->tid;
	int status;

	/* The interrupt is looked at before anything is executed and before a signal is. */
	int r = task_flush(task);
	if (r == 0)
		r = pt_interrupt(tid);
	if (r == 0)
		r = pt_cont(tid, 0);
	if (r == 0)
		r = await_own_stop(task, &status);
	if (r == -ESRCH)
		leave_to_collector(task);
	if (r < 0)
		return r;
	task->gp_valid = false;
	if (status >> 16 != PTRACE_EVENT_STOP) {
		live_news(task->proc->live, tid, status);
		return -EBUSY;
	}
	task->in_kernel = task->at_exec = false;
	task->pstop = note_event_stop(task, status) ? PSTOP_GROUP : PSTOP_EVENT;
	return 0;
}

/*
 * A signal on the way, which the restart delivers (returned) or which is put aside. One of job control that somebody is to be told of is
 * told out of this very stop (-EINTR), unless the stop that the call was made from holds one already.
 */
static int signal_on_the_way(struct task *task, int signo)
{
	bool holds = task->has_pending || task->how.signo || task->stop_signo;

	task->pstop = PSTOP_SIGNAL;
	struct deferred_signal *d = task_take_arrival(task);
	if (!task_job_control(task, signo)) {
		if (d)
			task_put_arrival_back(task, d);
		else
			task_defer_untold(task, signo);
		return 0;
	}
	if (d || task_passes_signal(task, signo)) {
		free(d);
		task->defies_stop = false;
		task_take_stop_later(task);
		return signo;
	}
	if (!holds)
		return -EINTR;
	task_defer_untold(task, signo);
	return 0;
}

/* None that the step made. */
static bool was_sent(const struct task *task, int signo)
{
	siginfo_t si;
	return signo != SIGTRAP || (pt_get_siginfo(task->tid, &si) == 0 && si.si_code <= 0);
}

/* Steps the task once over the instruction at gp->rip. 0 when it stands behind it; -EINTR: in signal_on_the_way()'s stop. */
static int step_once(struct task *task, struct user_regs_struct *gp)
{
	uint64_t behind = gp->rip + sizeof(syscall_insn);
	int stop = 0;

	for (int tries = 0; tries < 100; tries++) {
		int status, r = pt_step(task->tid, stop);
		if (r < 0)
			return r;
		stop = 0;
		task->fresh = true;
		r = await_own_stop(task, &status);
		if (r < 0)
			return r;
		task->fresh = true;
		r = pt_get_gp(task->tid, gp);
		if (r < 0)
			return r;
		bool event_stop = status >> 16 == PTRACE_EVENT_STOP;
		if (event_stop && note_event_stop(task, status))
			task_take_stop_later(task);
		/* Interrupts are looked at before signals: the SIGTRAP of the step may be still to come. */
		if (gp->rip == behind && !(event_stop && pt_trap_queued(task->tid)))
			return 0;
		if (status >> 16 == 0 && was_sent(task, WSTOPSIG(status)))
			stop = signal_on_the_way(task, WSTOPSIG(status));
		if (stop < 0) {
			task->stop_signo = WSTOPSIG(status);
			return stop;
		}
	}
	return -EAGAIN;
}

/* A SIGTRAP that comes where it is blocked costs the program its handler: the kernel puts the default action in its place. */
static int step_unblocked(struct task *task, struct user_regs_struct *gp)
{
	const uint64_t trap = UINT64_C(1) << (SIGTRAP - 1);
	uint64_t mask;
	bool blocked = pt_get_sigmask(task->tid, &mask) == 0 && mask & trap;

	if (blocked)
		(void)pt_set_sigmask(task->tid, mask & ~trap);
	int r = step_once(task, gp);
	if (blocked)
		(void)pt_set_sigmask(task->tid, mask);
	return r;
}

/* Where the bytes of a syscall instruction lie in memory that may be executed. */
static uint64_t scan_region(struct proc *p, const struct mem_region *region)
{
	uint8_t page[4096];
	for (uint64_t at = region->start; at < region->end; at += sizeof(page)) {
		size_t got;
		if (live_mem_read(&p->base, at, page, sizeof(page), &got) < 0)
			return 0;
		const uint8_t *hit = memmem(page, got, syscall_insn, sizeof(syscall_insn));
		if (hit && !swpoints_find(&p->space->sw, at + (uint64_t)(hit - page)))
			return at + (uint64_t)(hit - page);
	}
	return 0;
}

static uint64_t find_syscall(struct proc *p)
{
	enum { LOOKS = 4096 };
	struct mem_region region;
	uint64_t at = 0;
	bool vdso_only = true;

	if (p->space->syscall_insn)
		return p->space->syscall_insn;
	for (int i = 0; i < LOOKS && live_region_at(&p->base, at, &region) == 0; i++) {
		bool wanted = vdso_only ? !strcmp(region.name, "[vdso]")
					: region.exec && strcmp(region.name, "[vsyscall]") != 0;
		if (region.mapped && wanted) {
			p->space->syscall_insn = scan_region(p, &region);
			if (p->space->syscall_insn)
				break;
		}
		at = region.end;
		if (!at && !vdso_only)
			break;
		if (!at) /* no vDSO: whatever code has one */
			vdso_only = false;
	}
	return p->space->syscall_insn;
}

static int inject_in(struct task *task, long number, const uint64_t args[6], uint64_t *ret)
{
	struct user_regs_struct *have;
	int r = task_gp(task, &have);
	if (r < 0)
		return r;
	struct user_regs_struct saved = *have, gp = saved;
	gp.rip = find_syscall(task->proc);
	if (!gp.rip)
		return -ENOEXEC;

	siginfo_t si;
	bool have_si = pt_get_siginfo(task->tid, &si) == 0;
	gp.rax = (uint64_t)number;
	gp.orig_rax = (uint64_t)-1;
	gp.rdi = args[0];
	gp.rsi = args[1];
	gp.rdx = args[2];
	gp.r10 = args[3];
	gp.r8 = args[4];
	gp.r9 = args[5];
	gp.eflags &= ~UINT64_C(0x100);
	task->stop_taken |= task->pstop == PSTOP_GROUP && !task->defies_stop;
	task->away = &saved;
	r = pt_set_gp(task->tid, &gp);
	if (r == 0)
		r = step_unblocked(task, &gp);
	if (r == -ESRCH) {
		task->away = NULL;
		leave_to_collector(task);
		return r;
	}
	(void)pt_set_gp(task->tid, &saved);
	task->away = NULL;
	task->fresh = false;
	*have = saved;
	task->gp_valid = true;
	task->gp_dirty = false;
	/* It stands in the signal-delivery-stop of our step now: what it stood in before is put back as its siginfo. */
	task->pstop = PSTOP_SIGNAL;
	if (r == -EINTR)
		live_event(task, (struct stop){ .kind = STOP_SIGNAL, .signo = task->stop_signo });
	else if (have_si)
		(void)pt_set_siginfo(task->tid, &si);
	if (r < 0)
		return r;
	if ((int64_t)gp.rax < 0 && (int64_t)gp.rax > -4096)
		return (int)(int64_t)gp.rax;
	*ret = gp.rax;
	return 0;
}

/*
 * Signals of job control stop the process only out of the stop they came with: the kernel forgets them there when SIGCONT comes, and
 * takes them for fresh out of any later one.
 */
static bool holds_stop(const struct task *task)
{
	return task->pstop == PSTOP_SIGNAL && task->stop_signo &&
	       task_job_control(task, task->stop_signo);
}

bool inject_may(const struct task *task)
{
	return outside_kernel(task) && !holds_stop(task);
}

static struct task *able_task(struct proc *p)
{
	for (size_t i = 0; i < p->count; i++) {
		if (inject_may(p->tasks[i]))
			return p->tasks[i];
	}
	for (size_t i = 0; i < p->count; i++) {
		if (may_leave(p->tasks[i]) && task_leave_kernel(p->tasks[i]) == 0)
			return p->tasks[i];
	}
	return NULL;
}

static int map(struct task *task, uint64_t where, size_t size, int prot, int flags, uint64_t *ret)
{
	const uint64_t args[6] = { where,          size,
				   (uint64_t)prot, (uint64_t)(MAP_PRIVATE | MAP_ANONYMOUS | flags),
				   (uint64_t)-1,   0 };
	uint64_t addr;
	int r = inject_in(task, SYS_mmap, args, &addr);
	if (r < 0)
		return r;
	if (addr & 4095 || !addr) /* never hand out what a botched call left in rax */
		return -EIO;
	*ret = addr;
	return 0;
}

int inject_unmap(struct proc *p, uint64_t addr, size_t size)
{
	struct task *task = able_task(p);
	uint64_t result;
	return task ? inject_in(task, SYS_munmap, (const uint64_t[6]){ addr, size }, &result)
		    : -EBUSY;
}

static int alloc(struct target *t, size_t size, int prot, uint64_t *ret)
{
	struct proc *p = proc_of(t);
	size = (size + 4095) & ~(size_t)4095;
	if (!size)
		return -EINVAL;
	struct block *block = calloc(1, sizeof(*block));
	if (!block)
		return -ENOMEM;
	struct task *task = able_task(p);
	int r = task ? map(task, 0, size, prot, 0, &block->addr) : -EBUSY;
	if (r < 0) {
		free(block);
		return r;
	}
	block->size = size;
	block->next = p->space->blocks;
	p->space->blocks = block;
	*ret = block->addr;
	return 0;
}

static int dealloc(struct target *t, uint64_t addr)
{
	struct proc *p = proc_of(t);
	for (struct block **at = &p->space->blocks; *at; at = &(*at)->next) {
		struct block *block = *at;
		if (block->addr != addr)
			continue;
		int r = inject_unmap(p, block->addr, block->size);
		if (r == 0) {
			*at = block->next;
			free(block);
		}
		return r;
	}
	return -ENOENT;
}

int inject_map_scratch(struct task *task, uint64_t where, size_t size, uint64_t *ret)
{
	if (!outside_kernel(task))
		return -EBUSY;
	return map(task, where, size, PROT_READ | PROT_EXEC, 0, ret);
}

int inject_map_at(struct task *task, uint64_t where, size_t size, bool data, uint64_t *ret)
{
	if (!outside_kernel(task))
		return -EBUSY;
	int r = map(task, where, size, PROT_READ | (data ? PROT_WRITE : PROT_EXEC),
		    MAP_FIXED_NOREPLACE, ret);
	return r == 0 && *ret != where ? -EEXIST : r; /* before Linux 4.17 it is a hint */
}

const struct target_alloc_ops live_alloc_ops = {
	.alloc = alloc,
	.free = dealloc,
};
