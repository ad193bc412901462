/*
 * wait.h - what a wait status says, as a type. Pure: unit tests feed it what no kernel produces on demand. Nobody else decodes bits.
 *
 * Shape:  one status, and for a SIGTRAP the siginfo that belongs to it.
 * Source: ptrace(2) "Stopped states"; wait(2); kernel arch/x86/kernel/traps.c for the si_codes of a SIGTRAP:
 *         int3 SI_KERNEL, single step TRAP_TRACE, step over a system call TRAP_BRKPT, debug register TRAP_HWBKPT.
 */
#ifndef STOPGO_TARGET_LIVE_WAIT_H
#define STOPGO_TARGET_LIVE_WAIT_H

#include <signal.h>
#include <stdbool.h>

enum news_kind {
	NEWS_EXITED, /* value: exit status */
	NEWS_KILLED, /* value: signal */
	NEWS_SIGNAL, /* signal-delivery-stop; value: signal. A SIGTRAP that somebody sent is one too */
	NEWS_INT3, /* SIGTRAP of an int3 */
	NEWS_STEP, /* SIGTRAP of the trap flag; a watchpoint may have hit at the same time: look at DR6 */
	NEWS_DEBUG_REG,  /* SIGTRAP of a debug register */
	NEWS_SYSCALL,    /* entry to or return from a system call */
	NEWS_INTERRUPT,  /* PTRACE_EVENT_STOP: our interrupt, or the first stop of a new task */
	NEWS_GROUP_STOP, /* PTRACE_EVENT_STOP in a job-control stop; value: the stop signal */
	NEWS_FORK,
	NEWS_VFORK,
	NEWS_VFORK_DONE,
	NEWS_CLONE,
	NEWS_EXEC,
	NEWS_CONTINUED, /* SIGCONT seen by wait: nothing */
};

struct news {
	enum news_kind kind;
	int value;
};

/* si is needed when wait_needs_siginfo() says so and may be NULL otherwise, or when it could not be had. */
struct news wait_classify(int status, const siginfo_t *si);
bool wait_needs_siginfo(int status);

#endif
