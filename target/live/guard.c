#include "target/live/guard.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/util.h"
#include "target/live/live.h"
#include "target/live/task.h"

enum {
	STACK_SIZE = 64 * 1024,
	MOST_URGENT = -20,
	PATIENCE_MS = 5000, /* a busy machine may take its time to stop a thread */
};

struct guard {
	int pidfd; /* ours; readable when all of us has ended, our tracees let go (kernel/exit.c, exit_notify()) */
	uint8_t *stack, *helper_stack;
	pid_t *ret_pid;
};

static pid_t guarded; /* the process that has a guard: a forked child has none */
static uint8_t *guard_stack;
/* Its pidfd, while there is one: its number may have been given to another since it died. */
static int guard_fd;

/* Nothing but system calls: the server may have died holding any lock. */
static int guard_main(void *arg _unused_)
{
	struct pollfd server = { .fd = STDIN_FILENO, .events = POLLIN };

	while (poll(&server, 1, -1) <= 0)
		;
	live_emergency_inherit(PATIENCE_MS);
	_exit(0);
}

/* We wait until it has ended, so the guard has none of our descriptors when we go on, and is handed to us (start()). */
static int helper_main(void *arg)
{
	const struct guard *g = arg;

	if (dup2(g->pidfd, STDIN_FILENO) < 0 ||
	    syscall(SYS_close_range, STDIN_FILENO + 1, UINT_MAX, 0) < 0)
		_exit(errno);
	setsid();
	prctl(PR_SET_NAME, GUARD_NAME);
	(void)setpriority(PRIO_PROCESS, 0, MOST_URGENT); /* where that is allowed */
	(void)!chdir("/");
	*g->ret_pid = clone(guard_main, g->stack + STACK_SIZE, CLONE_VM, NULL);
	_exit(*g->ret_pid < 0 ? errno : 0);
}

/* While the helper ends its child becomes ours and not init's. */
static int start(const struct guard *g)
{
	int status, adopts = 0, r = 0;

	(void)prctl(PR_GET_CHILD_SUBREAPER, &adopts, 0, 0, 0);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	pid_t helper =
		clone(helper_main, g->helper_stack + STACK_SIZE, CLONE_VM | CLONE_VFORK, (void *)g);
	if (helper < 0)
		r = -errno;
	while (r == 0 && waitpid(helper, &status, __WALL) < 0) {
		if (errno != EINTR)
			r = -errno;
	}
	(void)prctl(PR_SET_CHILD_SUBREAPER, adopts, 0, 0, 0);
	if (r < 0)
		return r;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EAGAIN;
}

int guard_start(void)
{
	sigset_t all, old;

	if (guarded == getpid())
		return 0;
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	if (pidfd < 0)
		return -errno;
	uint8_t *stacks = mmap(NULL, 2 * STACK_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stacks == MAP_FAILED)
		return -ENOMEM;
	/* What they inherit: no signal is taken, and no handler of ours runs in them. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid_t pid = -1;
	int r = start(&(struct guard){ pidfd, stacks, stacks + STACK_SIZE, &pid });
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (r < 0) {
		munmap(stacks, 2 * STACK_SIZE);
		return r;
	}
	munmap(stacks + STACK_SIZE, STACK_SIZE);
	guarded = getpid();
	guard_stack = stacks;
	guard_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	return 0;
}

void guard_stop(void)
{
	siginfo_t si;

	if (guarded != getpid())
		return;
	guarded = 0;
	if (guard_fd < 0)
		return;
	(void)syscall(SYS_pidfd_send_signal, guard_fd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)guard_fd, &si, WEXITED | __WALL) < 0 && errno == EINTR)
		;
	close_fdp(&guard_fd);
	munmap(guard_stack, STACK_SIZE);
}
