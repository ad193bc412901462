#include "target/live/wait.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

#ifndef TRAP_HWBKPT
#define TRAP_HWBKPT 4
#endif

bool wait_needs_siginfo(int status)
{
	return WIFSTOPPED(status) && status >> 16 == 0 && WSTOPSIG(status) == SIGTRAP;
}

static struct news classify_trap(const siginfo_t *si)
{
	if (!si)
		return (struct news){ NEWS_SIGNAL, SIGTRAP };
	switch (si->si_code) {
	case SI_KERNEL: return (struct news){ NEWS_INT3, SIGTRAP };
	case TRAP_TRACE:
	case TRAP_BRKPT: return (struct news){ NEWS_STEP, SIGTRAP };
	case TRAP_HWBKPT: return (struct news){ NEWS_DEBUG_REG, SIGTRAP };
	/* ptrace_notify(): before the first instruction of a handler that it was stepped into (kernel/signal.c, signal_setup_done). */
	case SIGTRAP: return (struct news){ NEWS_STEP, 0 };
	default: return (struct news){ NEWS_SIGNAL, SIGTRAP };
	}
}

struct news wait_classify(int status, const siginfo_t *si)
{
	if (WIFEXITED(status))
		return (struct news){ NEWS_EXITED, WEXITSTATUS(status) };
	if (WIFSIGNALED(status))
		return (struct news){ NEWS_KILLED, WTERMSIG(status) };
	if (!WIFSTOPPED(status))
		return (struct news){ NEWS_CONTINUED, 0 };

	int signo = WSTOPSIG(status);
	switch (status >> 16) {
	case 0: break;
	case PTRACE_EVENT_FORK: return (struct news){ NEWS_FORK, 0 };
	case PTRACE_EVENT_VFORK: return (struct news){ NEWS_VFORK, 0 };
	case PTRACE_EVENT_VFORK_DONE: return (struct news){ NEWS_VFORK_DONE, 0 };
	case PTRACE_EVENT_CLONE: return (struct news){ NEWS_CLONE, 0 };
	case PTRACE_EVENT_EXEC: return (struct news){ NEWS_EXEC, 0 };
	case PTRACE_EVENT_STOP:
		return signo == SIGTRAP ? (struct news){ NEWS_INTERRUPT, 0 }
					: (struct news){ NEWS_GROUP_STOP, signo };
	default: return (struct news){ NEWS_INTERRUPT, 0 };
	}

	if (signo == (SIGTRAP | 0x80))
		return (struct news){ NEWS_SYSCALL, 0 };
	if (signo == SIGTRAP)
		return classify_trap(si);
	return (struct news){ NEWS_SIGNAL, signo };
}
