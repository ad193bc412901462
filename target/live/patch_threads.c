/*
 * patch_threads.c - threads that stop in a stub or in a hop: before anybody looks they stand where they belong in the program.
 *
 *   asking    the conditions have not been judged: at the point, as it came. What stopped it came first, or was the breakpoint
 *   passed    judged and counted, the displaced instruction not executed: at the point, which it is to step over
 *   behind    the displaced instruction is executed: where that led to
 *
 * The stub's own int3 and its faults become the int3 of the point.
 */
#include "target/live/patch_internal.h"

#include <errno.h>

#include "base/log.h"

struct patch *patch_at(const struct space *s, uint64_t pc)
{
	struct patch *patch = s->patches;
	while (patch && !native_holds(&patch->native, pc) &&
	       !(patch->hop && pc - patch->hop < PATCH_HOP_SIZE))
		patch = patch->next;
	return patch;
}

const struct patch *patch_behind_trap(const struct space *s, uint64_t pc)
{
	const struct patch *patch = s->patches;
	while (patch && pc - 1 != patch->native.at + patch->native.trap)
		patch = patch->next;
	return patch;
}

static int read_stack(void *ctx, uint64_t addr, void *into, size_t len)
{
	struct space *s = ctx;
	size_t got;
	int r = space_read_raw(s, addr, into, len, &got);
	return r < 0 || got < len ? -EFAULT : 0;
}

/* Where in the program it is; the registers are the program's. */
static int leave(struct space *s, const struct patch *patch, struct user_regs_struct *gp)
{
	struct insn_mem mem = { .read = read_stack, .ctx = s };

	if (native_holds(&patch->native, gp->rip))
		return native_leave(&patch->native, gp, &mem);
	gp->rip = patch->addr;
	return NATIVE_ASKING;
}

bool patch_leave(struct space *s, struct user_regs_struct *gp, bool int3, bool fault)
{
	const struct patch *patch = int3 ? patch_behind_trap(s, gp->rip) : patch_at(s, gp->rip);

	if (!patch)
		return false;
	if (!int3)
		return leave(s, patch, gp) == NATIVE_ASKING && fault;
	gp->rip = patch->addr;
	return true;
}

/* A fault in the copy of the instruction names an address in it. */
static void fix_siginfo(struct task *task, const struct patch *patch)
{
	siginfo_t si;

	if (pt_get_siginfo(task->tid, &si) < 0 || si.si_code <= 0 ||
	    !native_holds(&patch->native, (uint64_t)si.si_addr))
		return;
	si.si_addr = (void *)patch->addr;
	(void)pt_set_siginfo(task->tid, &si);
}

static bool raised_by_stub(struct task *task, int signo)
{
	siginfo_t si;
	return (signo == SIGSEGV || signo == SIGBUS) && pt_get_siginfo(task->tid, &si) == 0 &&
	       si.si_signo == signo && si.si_code > 0;
}

/* As an int3 at the point would have left it. */
static void as_if_trapped(struct user_regs_struct *gp, const struct patch *patch)
{
	gp->rip = patch->addr + 1;
}

static bool asking_news(struct task *task, struct news *news, struct user_regs_struct *gp,
			const struct patch *patch)
{
	switch (news->kind) {
	case NEWS_SIGNAL:
		if (!raised_by_stub(task, news->value)) {
			/* It came before the breakpoint did. A client that is told of it will step over the breakpoint. */
			if (!task_passes_signal(task, news->value))
				task_judge_quietly(task, patch->addr);
			return false;
		}
		as_if_trapped(gp, patch);
		news->kind = NEWS_INT3;
		return false;
	case NEWS_STEP:
	case NEWS_DEBUG_REG:
	case NEWS_INTERRUPT:
		as_if_trapped(gp, patch);
		task->pstop =
			news->kind == NEWS_INTERRUPT || !news->value ? PSTOP_EVENT : PSTOP_SIGNAL;
		task_int3_hit(task);
		return true;
	default: return false; /* a job-control stop: it arrives when it goes on */
	}
}

bool patch_news(struct task *task, struct news *news)
{
	struct space *s = task->proc->space;
	struct user_regs_struct *gp;

	if (!s->patches || task_gp(task, &gp) < 0)
		return false;
	bool int3 = news->kind == NEWS_INT3;
	const struct patch *patch = int3 ? patch_behind_trap(s, gp->rip) : patch_at(s, gp->rip);
	if (!patch)
		return false;
	if (int3) {
		as_if_trapped(gp, patch);
		task_gp_changed(task);
		return false;
	}
	/* Interrupts are looked at before signals: the fault has happened, its signal is still to come. */
	if ((news->kind == NEWS_INTERRUPT || news->kind == NEWS_GROUP_STOP) &&
	    pt_fault_queued(task->tid)) {
		if (news->kind == NEWS_GROUP_STOP)
			task_take_stop_later(task);
		task_start(task, START_CONT, 0);
		task->interrupt_sent = true;
		return true;
	}
	int place = leave(s, patch, gp);
	if (place < 0) {
		log_debug(LOG_POINTS, "%d: cannot be taken out of the stub for %#lx", task->tid,
			  (unsigned long)patch->addr);
		return false;
	}
	task_gp_changed(task);
	if (place == NATIVE_ASKING)
		return asking_news(task, news, gp, patch);
	if (place == NATIVE_PASSED)
		task_pass_point(task, patch->addr);
	if (news->kind == NEWS_SIGNAL)
		fix_siginfo(task, patch);
	return false;
}
