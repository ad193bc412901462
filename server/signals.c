#include "server/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/time.h>

#include "server/loop.h"
#include "target/live/live.h"

enum {
	FATAL_STACK_SIZE = 64 * 1024,
	FATAL_PATIENCE_MS = 1500, /* a busy machine may take its time to stop a thread */
	DEADLINE_PATIENCE_MS = 400,
	ORDERLY_WITHIN_MS = 1500,
};

static const int fatal[] = { SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE };
static const int orderly[] = { SIGTERM, SIGINT, SIGHUP, SIGQUIT };

static struct {
	int fd;
	struct watch watch;
	void (*end)(void *ctx, int signo);
	void *ctx;
} watched = { .fd = -1 };

static volatile sig_atomic_t deadline_code;
static volatile sig_atomic_t
	sent_fatal; /* somebody sent it: an orderly end, and then we die of it */

/* ---- fatal ---- */

static void die_of(int signo)
{
	signal(signo, SIG_DFL);
	raise(signo); /* not blocked, so it is taken at once */
}

static void on_fatal(int signo, siginfo_t *si, void *context _unused_)
{
	static const char text[] = "stopgo: fatal signal; letting the debuggees go\n";
	bool sent = si->si_code <= 0 && si->si_pid != getpid();

	if (sent && watched.fd >= 0 && !sent_fatal) {
		/* Nothing is broken in us. Should the loop not come to it (a watchdog's SIGABRT), the deadline does. */
		sent_fatal = signo;
		signals_deadline(ORDERLY_WITHIN_MS, 0);
		raise(SIGTERM);
		return;
	}
	ssize_t n = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)n;
	live_emergency(FATAL_PATIENCE_MS);
	die_of(signo);
}

static void on_deadline(int signo _unused_, siginfo_t *si _unused_, void *context _unused_)
{
	live_emergency(DEADLINE_PATIENCE_MS);
	if (sent_fatal)
		die_of(sent_fatal);
	_exit(deadline_code);
}

static void catch (int signo, void (*handler)(int signo, siginfo_t *si, void *context))
{
	struct sigaction sa = { .sa_sigaction = handler,
				.sa_flags = SA_ONSTACK | SA_NODEFER | SA_SIGINFO };
	sigfillset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		sigdelset(&sa.sa_mask, fatal[i]);
	sigaction(signo, &sa, NULL);
}

/* A server started without a standard stream must not find a socket of its own at that number. */
static void open_standard_streams(void)
{
	int fd;
	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

void signals_init(void)
{
	static uint8_t stack[FATAL_STACK_SIZE] __attribute__((aligned(16)));
	stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };

	open_standard_streams();
	signal(SIGPIPE, SIG_IGN);
	sigaltstack(&alternate, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(fatal); i++)
		catch (fatal[i], on_fatal);
}

void signals_deadline(unsigned ms, int code)
{
	deadline_code = code;
	if (ms)
		catch (SIGALRM, on_deadline);
	struct itimerval timer = { .it_value = { .tv_sec = ms / 1000,
						 .tv_usec = ms % 1000 * 1000 } };
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* ---- orderly ---- */

static void on_signal(void *ctx _unused_, unsigned events _unused_)
{
	struct signalfd_siginfo si;
	if (read(watched.fd, &si, sizeof(si)) == sizeof(si))
		watched.end(watched.ctx, (int)si.ssi_signo);
}

int signals_watch(struct loop *loop, void (*end)(void *ctx, int signo), void *ctx, struct err *err)
{
	sigset_t set;
	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(orderly); i++)
		sigaddset(&set, orderly[i]);

	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return err_set(err, -errno, "cannot watch for signals: %s", strerror(errno));
	sigprocmask(SIG_BLOCK, &set, NULL);
	watched.fd = fd;
	watched.end = end;
	watched.ctx = ctx;
	watch_start(loop, &watched.watch, fd, LOOP_READ, on_signal, NULL);
	return 0;
}

bool signals_waiting(void)
{
	struct pollfd p = { .fd = watched.fd, .events = POLLIN };
	return watched.fd >= 0 && poll(&p, 1, 0) == 1;
}

void signals_unwatch(void)
{
	watch_stop(&watched.watch);
	close_fdp(&watched.fd);
}

void signals_die_as_asked(void)
{
	if (sent_fatal)
		die_of(sent_fatal);
}
