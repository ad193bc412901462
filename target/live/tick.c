#include "target/live/tick.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>

#include "base/util.h"

enum { TICK_NS = 1000000 };

static struct {
	bool tried, have;
	timer_t timer;
	volatile sig_atomic_t runs;    /* the timer is set */
	volatile sig_atomic_t waiting; /* somebody is about to wait, or does: the timer goes on */
	volatile sig_atomic_t needed;  /* somebody has waited since the last tick */
	volatile sig_atomic_t count;
} tick;

static void set(long period_ns)
{
	struct itimerspec when = { { 0, period_ns }, { 0, period_ns } };
	timer_settime(tick.timer, 0, &when, NULL);
}

/*
 * SA_RESTART: whatever was interrupted is about to be called again, which is right for all calls but ours. That one is made to return:
 * its instruction is skipped, and its result is what it had been without SA_RESTART.
 */
static void end_wait(ucontext_t *at)
{
	static const unsigned char insn[] = { 0x0f, 0x05 }; /* syscall */
	greg_t *regs = at->uc_mcontext.gregs;

	if ((regs[REG_RAX] != SYS_wait4 && regs[REG_RAX] != SYS_waitid) ||
	    memcmp((const void *)regs[REG_RIP], insn, sizeof(insn)))
		return;
	regs[REG_RIP] += (greg_t)sizeof(insn);
	regs[REG_RAX] = -EINTR;
}

static void on_tick(int signo _unused_, siginfo_t *si _unused_, void *context)
{
	int saved = errno;

	tick.count++;
	if (tick.waiting) {
		end_wait(context);
	} else {
		if (!tick.needed) {
			tick.runs = 0;
			set(0);
		}
		tick.needed = 0;
	}
	errno = saved;
}

static void create(void)
{
	struct sigaction sa = { .sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct sigevent how = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
	sigset_t own;

	tick.tried = true;
	if (timer_create(CLOCK_MONOTONIC, &how, &tick.timer) < 0)
		return;
	sigemptyset(&own);
	sigaddset(&own, SIGRTMIN);
	tick.have =
		sigaction(SIGRTMIN, &sa, NULL) == 0 && sigprocmask(SIG_UNBLOCK, &own, NULL) == 0;
}

static pid_t take(pid_t tid, int *ret_status, int flags)
{
	return waitpid(tid, ret_status, __WALL | flags);
}

static pid_t look(pid_t tid, siginfo_t *ret, int flags)
{
	*ret = (siginfo_t){ 0 };
	int r = waitid(P_PID, (id_t)tid, ret, WEXITED | WSTOPPED | WNOWAIT | __WALL | flags);
	return r < 0 ? r : ret->si_pid;
}

/* ret_status or, when that is to stay, ret. */
static pid_t wait_with(pid_t tid, int *ret_status, siginfo_t *ret, int flags)
{
	return ret_status ? take(tid, ret_status, flags) : look(tid, ret, flags);
}

/* Without a timer to be had: look, and sleep. */
static pid_t wait_slowly(pid_t tid, int *ret_status, siginfo_t *ret)
{
	pid_t got = wait_with(tid, ret_status, ret, WNOHANG);
	if (got < 0)
		return errno == EINTR ? 0 : -errno;
	if (got == 0) {
		nanosleep(&(struct timespec){ .tv_nsec = TICK_NS }, NULL);
		tick.count++;
	}
	return got;
}

static pid_t wait_a_tick(pid_t tid, int *ret_status, siginfo_t *ret)
{
	if (!tick.tried)
		create();
	if (!tick.have)
		return wait_slowly(tid, ret_status, ret);
	/* Any number of ticks may come before we wait: the timer must not stop then. */
	tick.waiting = 1;
	if (!tick.runs) {
		tick.runs = 1;
		set(TICK_NS);
	}
	pid_t got = wait_with(tid, ret_status, ret, 0);
	int failed = errno;
	tick.needed = 1;
	tick.waiting = 0;
	return got >= 0 ? got : failed == EINTR ? 0 : -failed;
}

pid_t tick_wait(pid_t tid, int *ret_status)
{
	return wait_a_tick(tid, ret_status, NULL);
}

pid_t tick_look(pid_t tid, siginfo_t *ret)
{
	return wait_a_tick(tid, NULL, ret);
}

unsigned tick_count(void)
{
	return (unsigned)tick.count;
}
