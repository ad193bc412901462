#include "target/live/ptrace.h"

#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <linux/ptrace.h>

enum {
	OPTIONS = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK |
		  PTRACE_O_TRACEVFORK | PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXEC,
};

static int request(int req, pid_t tid, uintptr_t addr, uintptr_t data)
{
	return ptrace((enum __ptrace_request)req, tid, (void *)addr, (void *)data) < 0 ? -errno : 0;
}

static uintptr_t options(bool exitkill)
{
	return (uintptr_t)(OPTIONS | (exitkill ? PTRACE_O_EXITKILL : 0));
}

int pt_seize(pid_t tid, bool exitkill)
{
	return request(PTRACE_SEIZE, tid, 0, options(exitkill));
}

int pt_set_exitkill(pid_t tid, bool exitkill)
{
	return request(PTRACE_SETOPTIONS, tid, 0, options(exitkill));
}

int pt_interrupt(pid_t tid)
{
	return request(PTRACE_INTERRUPT, tid, 0, 0);
}

int pt_listen(pid_t tid)
{
	return request(PTRACE_LISTEN, tid, 0, 0);
}

int pt_cont(pid_t tid, int signo)
{
	return request(PTRACE_CONT, tid, 0, (uintptr_t)signo);
}

int pt_step(pid_t tid, int signo)
{
	return request(PTRACE_SINGLESTEP, tid, 0, (uintptr_t)signo);
}

int pt_syscall(pid_t tid, int signo)
{
	return request(PTRACE_SYSCALL, tid, 0, (uintptr_t)signo);
}

int pt_detach(pid_t tid, int signo)
{
	return request(PTRACE_DETACH, tid, 0, (uintptr_t)signo);
}

int pt_event_message(pid_t tid, unsigned long *ret)
{
	return request(PTRACE_GETEVENTMSG, tid, 0, (uintptr_t)ret);
}

int pt_get_siginfo(pid_t tid, siginfo_t *ret)
{
	return request(PTRACE_GETSIGINFO, tid, 0, (uintptr_t)ret);
}

static uint64_t bit(int signo)
{
	return UINT64_C(1) << (signo - 1);
}

/* By the processor. One that waits because it is blocked is none of its: for those the kernel unblocks it (force_sig_info_to_task()). */
static bool is_raised(pid_t tid, const siginfo_t *si)
{
	uint64_t blocked;
	return si->si_code > 0 &&
	       (pt_get_sigmask(tid, &blocked) < 0 || !(blocked & bit(si->si_signo)));
}

/* The kernel shows fewer than there are when a signal comes for us meanwhile (kernel/ptrace.c, ptrace_peek_siginfo()). */
static bool any_queued(pid_t tid, uint32_t flags, uint64_t signals, bool raised)
{
	siginfo_t queue[8];
	struct __ptrace_peeksiginfo_args args = { .flags = flags, .nr = 8 };
	long n;

	while ((n = ptrace(PTRACE_PEEKSIGINFO, tid, &args, queue)) > 0) {
		for (long i = 0; i < n; i++) {
			const siginfo_t *si = &queue[i];
			if (si->si_signo && signals & bit(si->si_signo) &&
			    (!raised || is_raised(tid, si)))
				return true;
		}
		args.off += (uint64_t)n;
	}
	return false;
}

bool pt_trap_queued(pid_t tid)
{
	return any_queued(tid, 0, bit(SIGTRAP), true);
}

bool pt_fault_queued(pid_t tid)
{
	const uint64_t faults =
		bit(SIGTRAP) | bit(SIGSEGV) | bit(SIGBUS) | bit(SIGFPE) | bit(SIGILL);
	return any_queued(tid, 0, faults, true);
}

bool pt_signal_queued(pid_t tid, int signo)
{
	return any_queued(tid, 0, bit(signo), false);
}

bool pt_some_signal_queued(pid_t tid)
{
	return any_queued(tid, 0, UINT64_MAX, false) ||
	       any_queued(tid, PTRACE_PEEKSIGINFO_SHARED, UINT64_MAX, false);
}

int pt_get_sigmask(pid_t tid, uint64_t *ret)
{
	return request(PTRACE_GETSIGMASK, tid, sizeof(*ret), (uintptr_t)ret);
}

int pt_set_sigmask(pid_t tid, uint64_t mask)
{
	return request(PTRACE_SETSIGMASK, tid, sizeof(mask), (uintptr_t)&mask);
}

int pt_set_siginfo(pid_t tid, const siginfo_t *si)
{
	return request(PTRACE_SETSIGINFO, tid, 0, (uintptr_t)si);
}

int pt_get_gp(pid_t tid, struct user_regs_struct *ret)
{
	return request(PTRACE_GETREGS, tid, 0, (uintptr_t)ret);
}

int pt_set_gp(pid_t tid, const struct user_regs_struct *gp)
{
	return request(PTRACE_SETREGS, tid, 0, (uintptr_t)gp);
}

int pt_get_xstate(pid_t tid, struct xstate *ret)
{
	struct iovec iov = { ret->data, sizeof(ret->data) };
	int r = request(PTRACE_GETREGSET, tid, NT_X86_XSTATE, (uintptr_t)&iov);
	if (r == -ENODEV || r == -EINVAL) { /* no XSAVE: the FXSAVE area alone */
		iov.iov_len = sizeof(ret->data);
		r = request(PTRACE_GETREGSET, tid, NT_PRFPREG, (uintptr_t)&iov);
	}
	if (r == 0)
		ret->size = iov.iov_len;
	return r;
}

int pt_set_xstate(pid_t tid, const struct xstate *xs)
{
	struct iovec iov = { (void *)xs->data, xs->size };
	return request(PTRACE_SETREGSET, tid, xs->size > 512 ? NT_X86_XSTATE : NT_PRFPREG,
		       (uintptr_t)&iov);
}

static uintptr_t dreg_offset(int reg)
{
	return offsetof(struct user, u_debugreg) +
	       (size_t)reg * sizeof(((struct user *)0)->u_debugreg[0]);
}

int pt_get_dreg(pid_t tid, int reg, uint64_t *ret)
{
	errno = 0;
	long value = ptrace(PTRACE_PEEKUSER, tid, (void *)dreg_offset(reg), NULL);
	if (errno)
		return -errno;
	*ret = (uint64_t)value;
	return 0;
}

int pt_set_dreg(pid_t tid, int reg, uint64_t value)
{
	return request(PTRACE_POKEUSER, tid, dreg_offset(reg), (uintptr_t)value);
}

int pt_syscall_info(pid_t tid, enum pt_syscall_op *ret_op, long *ret_number)
{
	struct __ptrace_syscall_info info = { 0 };
	long size = ptrace(PTRACE_GET_SYSCALL_INFO, tid, (void *)sizeof(info), &info);
	if (size < 0)
		return -errno;

	struct user_regs_struct gp;
	switch (info.op) {
	case PTRACE_SYSCALL_INFO_ENTRY:
		*ret_op = PT_SYSCALL_ENTRY;
		*ret_number = (long)info.entry.nr;
		return 0;
	case PTRACE_SYSCALL_INFO_EXIT: {
		/* The exit record has the result only; orig_rax still holds the number. */
		int r = pt_get_gp(tid, &gp);
		if (r < 0)
			return r;
		*ret_op = PT_SYSCALL_EXIT;
		*ret_number = (long)gp.orig_rax;
		return 0;
	}
	default: *ret_op = PT_SYSCALL_NONE; return 0;
	}
}
