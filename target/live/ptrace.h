/*
 * ptrace.h - the ptrace(2) requests we use, typed. The only file that calls ptrace is ptrace.c.
 *
 * Errors: 0 or negative errno. -ESRCH has two meanings the kernel does not tell apart: the task is gone, or it is not in a
 *         ptrace-stop. Whoever gets it waits for the task's status; it is never proof of a death.
 * Thread: every call must come from the thread that seized the task.
 * Source: ptrace(2); kernel/ptrace.c, arch/x86/kernel/ptrace.c.
 */
#ifndef STOPGO_TARGET_LIVE_PTRACE_H
#define STOPGO_TARGET_LIVE_PTRACE_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/user.h>

#include "target/x86/xstate.h"

enum pt_syscall_op {
	PT_SYSCALL_NONE,
	PT_SYSCALL_ENTRY,
	PT_SYSCALL_EXIT,
};

/* exitkill: the task dies with us. All events a tracer needs are switched on. */
int pt_seize(pid_t tid, bool exitkill);
int pt_set_exitkill(pid_t tid, bool exitkill);
int pt_interrupt(pid_t tid);
int pt_listen(pid_t tid);
int pt_cont(pid_t tid, int signo);
int pt_step(pid_t tid, int signo);
int pt_syscall(pid_t tid, int signo);
int pt_detach(pid_t tid, int signo);
int pt_event_message(pid_t tid, unsigned long *ret);
int pt_get_siginfo(pid_t tid, siginfo_t *ret);
/* Whether a SIGTRAP of the processor's own (int3, step, debug register) waits to be delivered to the task. */
bool pt_trap_queued(pid_t tid);
/* The same, or that of any other fault. */
bool pt_fault_queued(pid_t tid);
/* ... or a signal that was sent to the task itself. */
bool pt_signal_queued(pid_t tid, int signo);
/* ... or any signal that was sent to the task or to its process; it may be one that is blocked. */
bool pt_some_signal_queued(pid_t tid);
/* The signals it blocks, bit N - 1 for signal N. */
int pt_get_sigmask(pid_t tid, uint64_t *ret);
int pt_set_sigmask(pid_t tid, uint64_t mask);
int pt_set_siginfo(pid_t tid, const siginfo_t *si);
int pt_get_gp(pid_t tid, struct user_regs_struct *ret);
int pt_set_gp(pid_t tid, const struct user_regs_struct *gp);
int pt_get_xstate(pid_t tid, struct xstate *ret);
int pt_set_xstate(pid_t tid, const struct xstate *xs);
/* Debug register 0..3, 6, 7. */
int pt_get_dreg(pid_t tid, int reg, uint64_t *ret);
int pt_set_dreg(pid_t tid, int reg, uint64_t value);
/* Whether the task stands at the entry to or the return from a system call, and which. */
int pt_syscall_info(pid_t tid, enum pt_syscall_op *ret_op, long *ret_number);

#endif
