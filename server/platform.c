#include "server/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <time.h>

enum {
	SPAWN_MS = 10000,
	KILL_MS = 1000,
	WORDS_MAX = 16,
};

/* ---- debug servers ---- */

static long left_ms(const struct timespec *end)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	long left = (end->tv_sec - now.tv_sec) * 1000 + (end->tv_nsec - now.tv_nsec) / 1000000;
	return MAX(left, 0L);
}

static struct timespec in_ms(unsigned ms)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_sec += ms / 1000;
	t.tv_nsec += ms % 1000 * 1000000L;
	return t;
}

/* The port in digits or a path, with a NUL, as --pipe has it. False: the server has ended or says nothing. */
static bool read_place(int fd, char *text, size_t size)
{
	struct timespec end = in_ms(SPAWN_MS);
	size_t len = 0;

	while (len < size) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int r = poll(&p, 1, (int)left_ms(&end));
		if (r < 0 && errno == EINTR)
			continue;
		ssize_t n = r > 0 ? read(fd, text + len, size - len) : 0;
		if (n <= 0)
			return false;
		len += (size_t)n;
		if (memchr(text, 0, len))
			return true;
	}
	return false;
}

/* Nothing of ours is the new program's but 0, 1, 2 and one descriptor more. */
static void become_clean(int keep)
{
	sigset_t none;

	sigemptyset(&none);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	(void)close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
	if (keep >= 0)
		(void)fcntl(keep, F_SETFD, 0);
}

/* What was said to the platform of clients and of threads holds for its debug servers. Returns how many words. */
static size_t put_settings(const struct options *o, char **argv)
{
	static const char *const threads[] = {
		[THREADS_AUTO] = "auto",
		[THREADS_GOROUTINES] = "goroutines",
		[THREADS_OS] = "os",
	};
	static char grace[32], goroutines[32];
	size_t n = 0;

	snprintf(grace, sizeof(grace), "%u", o->grace_ms / 1000);
	snprintf(goroutines, sizeof(goroutines), "%zu", o->max_goroutines);
	argv[n++] = "--grace";
	argv[n++] = grace;
	argv[n++] = "--threads";
	argv[n++] = (char *)threads[o->threads];
	argv[n++] = "--max-goroutines";
	argv[n++] = goroutines;
	if (o->any_user)
		argv[n++] = "--allow-other-users";
	if (o->no_guard)
		argv[n++] = "--no-guard";
	return n;
}

static _Noreturn void become_server(const struct options *o, const char *where, int pipe_fd,
				    char *const *program)
{
	char number[16];
	size_t words = WORDS_MAX, n = 0;

	for (char *const *w = program; w && *w; w++)
		words++;
	char **argv = calloc(words, sizeof(*argv));
	if (!argv)
		_exit(EXIT_FAILED);
	snprintf(number, sizeof(number), "%d", pipe_fd);
	argv[n++] = "lldb-server";
	argv[n++] = "gdbserver";
	argv[n++] = "--pipe";
	argv[n++] = number;
	n += put_settings(o, argv + n);
	argv[n++] = (char *)where;
	if (program)
		argv[n++] = "--";
	for (char *const *w = program; w && *w; w++)
		argv[n++] = *w;
	if (o->allow_remote)
		setenv("STOPGO_ALLOW_REMOTE", "1", 1);
	become_clean(pipe_fd);
	execv("/proc/self/exe", argv);
	_exit(EXIT_FAILED);
}

/* 0: it listens at what is in place now. */
static int start_server(struct platform *p, const char *where, char *const *program, pid_t *ret_pid,
			char *place, size_t size)
{
	int fds[2];

	if (p->count == PLATFORM_SPAWNED_MAX)
		return -EMFILE;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0)
		become_server(p->opt, where, fds[1], program);
	int r = pid < 0 ? -errno : 0;
	close(fds[1]);
	bool listens = pid > 0 && read_place(fds[0], place, size);
	close(fds[0]);
	if (r < 0)
		return r;

	int pidfd = pidfd_open(pid, 0);
	if (!listens || pidfd < 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		close_fdp(&pidfd);
		return -EIO;
	}
	p->spawned[p->count++] = (struct spawned){ pid, pidfd };
	*ret_pid = pid;
	return 0;
}

void platform_forget(struct platform *p, size_t i)
{
	close_fdp(&p->spawned[i].pidfd);
	p->spawned[i] = p->spawned[--p->count];
}

static bool ends_within(int pidfd, unsigned ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	return poll(&p, 1, (int)ms) > 0;
}

static void forget_ended(struct platform *p)
{
	for (size_t i = p->count; i-- > 0;)
		if (ends_within(p->spawned[i].pidfd, 0))
			platform_forget(p, i);
}

int platform_kill(struct platform *p, pid_t pid)
{
	size_t i = 0;

	while (i < p->count && p->spawned[i].pid != pid)
		i++;
	if (i == p->count)
		return -ESRCH;
	int fd = p->spawned[i].pidfd;
	(void)pidfd_send_signal(fd, SIGTERM, NULL, 0);
	if (!ends_within(fd, KILL_MS)) {
		(void)pidfd_send_signal(fd, SIGKILL, NULL, 0);
		if (!ends_within(fd, KILL_MS))
			return -ETIMEDOUT;
	}
	platform_forget(p, i);
	return 0;
}

static int spawn_at_port(struct platform *p, char *const *program, unsigned port,
			 struct platform_server *ret)
{
	char where[COMM_HOST_MAX + 32], place[16];

	snprintf(where, sizeof(where), "listen://[%s]:%u", p->host, port);
	int r = start_server(p, where, program, &ret->pid, place, sizeof(place));
	if (r == 0)
		ret->port = (unsigned)atoi(place);
	return r;
}

static int spawn_at_socket(struct platform *p, char *const *program, struct platform_server *ret)
{
	char where[sizeof(ret->path) + 32];
	const char *dir = getenv("TMPDIR");

	int n = snprintf(ret->path, sizeof(ret->path), "%s/stopgo-%d-%u.sock",
			 dir && *dir == '/' ? dir : "/tmp", (int)getpid(), ++p->sockets);
	if (n < 0 || (size_t)n >= sizeof(ret->path))
		return -ENAMETOOLONG;
	snprintf(where, sizeof(where), "unix://%s", ret->path);
	char place[sizeof(ret->path)];
	return start_server(p, where, program, &ret->pid, place, sizeof(place));
}

int platform_spawn(struct platform *p, char *const *program, unsigned port,
		   struct platform_server *ret, struct err *err)
{
	struct platform_server s = { 0 };
	unsigned first = port ? port : p->opt->gdbserver_port_min;
	unsigned last = port ? port : p->opt->gdbserver_port_max;
	int r = -EADDRINUSE;

	forget_ended(p);
	if (!p->host[0])
		r = spawn_at_socket(p, program, &s);
	for (unsigned n = first; p->host[0] && r < 0 && n <= last; n++)
		r = spawn_at_port(p, program, n, &s);
	if (r < 0)
		return err_set(err, r, "cannot start a debug server: %s", strerror(-r));
	if (s.port)
		s.port += p->opt->port_offset;
	*ret = s;
	return 0;
}

/* ---- a shell ---- */

static void collect(int fd, struct buf *out, const struct timespec *end)
{
	uint8_t text[4096];

	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		int r = poll(&p, 1, (int)left_ms(end));
		if (r < 0 && errno == EINTR)
			continue;
		ssize_t n = r > 0 ? read(fd, text, sizeof(text)) : 0;
		if (n <= 0)
			return;
		buf_put(out, text, (size_t)n);
	}
}

int platform_shell(const char *line, const char *dir, unsigned timeout_s, struct buf *out,
		   int *ret_status)
{
	struct timespec end = in_ms(timeout_s * 1000);
	int fds[2], status = 0;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		if (dup2(fds[1], STDOUT_FILENO) < 0 || dup2(fds[1], STDERR_FILENO) < 0 ||
		    (dir[0] && chdir(dir) < 0))
			_exit(127);
		become_clean(-1);
		execl("/bin/sh", "sh", "-c", line, (char *)NULL);
		_exit(127);
	}
	int r = pid < 0 ? -errno : 0;
	close(fds[1]);
	int pidfd = pid > 0 ? pidfd_open(pid, 0) : -1;
	if (pid > 0)
		collect(fds[0], out, &end);
	close(fds[0]);
	if (r < 0)
		return r;
	/* It may have closed its output and go on; who is in its session goes with it. */
	if (pidfd < 0 || !ends_within(pidfd, (unsigned)left_ms(&end))) {
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		r = -ETIMEDOUT;
	}
	close_fdp(&pidfd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	*ret_status = status;
	return r;
}
