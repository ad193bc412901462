/*
 * go_live.h - for tests: Go fixtures built on the spot, run, stopped under ptrace and read as the model reads a process.
 */
#ifndef STOPGO_TEST_GO_LIVE_H
#define STOPGO_TEST_GO_LIVE_H

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#include "dwarf/go/model.h"

enum { LIVE_TASKS_MAX = 256, LIVE_FIXTURES_MAX = 256 };

struct live_task {
	pid_t tid;
	struct user_regs_struct regs;
	int signal; /* came before our stop: delivered when the thread goes on */
};

struct live {
	pid_t pid;
	int to, from; /* its standard input and output */
	struct live_task tasks[LIVE_TASKS_MAX];
	size_t n_tasks;
	struct mem mem;
	unsigned long reads; /* system calls it took */
};

/* ---- fixtures ---- */

static char live_paths[LIVE_FIXTURES_MAX][PATH_MAX] _unused_;
static size_t live_n_paths _unused_;

_unused_ static void live_cache_dir(char *dir, size_t size)
{
	const char *env = getenv("STOPGO_FIXTURES");
	if (env) {
		snprintf(dir, size, "%s", env);
		return;
	}
	char exe[PATH_MAX] = "";
	if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
		exe[0] = 0;
	char *slash = strrchr(exe, '/');
	if (slash)
		*slash = 0;
	snprintf(dir, size, "%.4000s/go-fixtures", exe);
}

_unused_ static int live_by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/*
 * Builds the fixtures of the go in PATH (with STOPGO_GO_FULL set: of all toolchains and modes) and lists every build of NAME there
 * is. Exits with 77 when there is no Go.
 */
_unused_ static void live_fixtures(const char *name)
{
	char dir[PATH_MAX];
	char command[PATH_MAX * 2];

	live_cache_dir(dir, sizeof(dir));
	snprintf(command, sizeof(command), "sh fixtures/go/build.sh '%s' %s", dir,
		 getenv("STOPGO_GO_FULL") ? "full" : "quick");
	const char *only = getenv("STOPGO_GO_ONLY");
	FILE *built = popen(command, "r");
	char line[PATH_MAX];
	while (built && fgets(line, sizeof(line), built) && live_n_paths < LIVE_FIXTURES_MAX) {
		line[strcspn(line, "\n")] = 0;
		const char *base = strrchr(line, '/');
		if (base && strcmp(base + 1, name) == 0 && (!only || strstr(line, only)))
			snprintf(live_paths[live_n_paths++], PATH_MAX, "%s", line);
	}
	int status = built ? pclose(built) : -1;
	if (status < 0 || WEXITSTATUS(status) != 0 || !live_n_paths) {
		printf("no Go toolchain that builds the fixtures: skipped\n");
		exit(77);
	}
	qsort(live_paths, live_n_paths, PATH_MAX, live_by_name);
}

/* "go1.19.8-plain" of a path. */
_unused_ static const char *live_label(const char *path)
{
	static char label[256];
	const char *end = strrchr(path, '/');
	const char *from = end;
	while (from > path && from[-1] != '/')
		from--;
	snprintf(label, sizeof(label), "%.*s", (int)(end - from), from);
	return label;
}

/* ---- running ---- */

static struct live *live_current _unused_; /* what a failed test leaves behind */

_unused_ static void live_start(struct live *p, const char *path)
{
	int in[2], out[2];

	memset(p, 0, sizeof(*p));
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	p->pid = fork();
	assert_true(p->pid >= 0);
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(in[0], 0);
		dup2(out[1], 1);
		dup2(out[1], 2);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	p->to = in[1];
	p->from = out[0];
	live_current = p;
}

_unused_ static void live_say(struct live *p, const char *line)
{
	assert_int_equal(write(p->to, line, strlen(line)), (ssize_t)strlen(line));
}

/* Reads output until a line that begins with END, or 20 s; returns all of it. */
_unused_ static char *live_hear(struct live *p, const char *end)
{
	size_t size = 1 << 16, have = 0;
	char *text = malloc(size);
	char mark[64];
	snprintf(mark, sizeof(mark), "\n%s", end);

	for (int i = 0; text && i < 4000; i++) {
		struct pollfd fd = { .fd = p->from, .events = POLLIN };
		if (poll(&fd, 1, 20000) <= 0)
			break;
		if (size - have < 4096)
			text = realloc(text, size *= 2);
		ssize_t n = read(p->from, text + have, size - have - 1);
		if (n <= 0)
			break;
		have += (size_t)n;
		text[have] = 0;
		if (strncmp(text, end, strlen(end)) == 0 || strstr(text, mark))
			return text;
	}
	text[have] = 0;
	fail_msg("'%s' was not heard, only: %s", end, text);
	return text;
}

/* Waits until nobody is left: the leader is reported last, after every traced thread, also those that came since. */
_unused_ static void live_reap(void)
{
	for (int n = 0; n < 10000 && waitpid(-1, NULL, __WALL) > 0; n++)
		;
}

_unused_ static void live_end(struct live *p)
{
	kill(p->pid, SIGKILL);
	live_reap();
	p->n_tasks = 0;
	close(p->to);
	close(p->from);
	live_current = NULL;
}

/* After a test that failed in the middle. */
_unused_ static int live_teardown(void **state _unused_)
{
	if (live_current) {
		kill(live_current->pid, SIGKILL);
		live_reap();
		live_current = NULL;
	}
	return 0;
}

/* ---- memory ---- */

_unused_ static int live_read(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	struct live *p = ctx;
	struct iovec local = { into, len }, remote = { (void *)addr, len };
	ssize_t n = process_vm_readv(p->pid, &local, 1, &remote, 1, 0);
	p->reads++;
	if (n < 0)
		return errno == ESRCH ? -ESRCH : -EFAULT;
	*ret_got = (size_t)n;
	return n ? 0 : -EFAULT;
}

_unused_ static int live_read_spans(void *ctx, struct mem_span *spans, size_t count)
{
	struct live *p = ctx;
	struct iovec local[256], remote[256];

	for (size_t at = 0; at < count;) {
		size_t n = MIN(count - at, ARRAY_SIZE(local));
		for (size_t i = 0; i < n; i++) {
			local[i] = (struct iovec){ spans[at + i].into, spans[at + i].len };
			remote[i] = (struct iovec){ (void *)spans[at + i].addr, spans[at + i].len };
			spans[at + i].got = 0;
		}
		ssize_t got = process_vm_readv(p->pid, local, n, remote, n, 0);
		p->reads++;
		if (got < 0 && errno == ESRCH)
			return -ESRCH;
		size_t i = 0;
		for (; i < n && got > 0; i++) {
			spans[at + i].got = MIN((size_t)got, spans[at + i].len);
			got -= (ssize_t)spans[at + i].got;
			if (spans[at + i].got < spans[at + i].len)
				break;
		}
		/* The first that failed may be read in part; go on behind it. */
		if (i < n && spans[at + i].got == 0) {
			size_t some = 0;
			if (live_read(p, spans[at + i].addr, spans[at + i].into, spans[at + i].len,
				      &some) == 0)
				spans[at + i].got = some;
		}
		at += i < n ? i + 1 : n;
	}
	return 0;
}

/* ---- stopping ---- */

_unused_ static void live_seize(struct live *p)
{
	char dir[64];
	bool more = true;

	snprintf(dir, sizeof(dir), "/proc/%d/task", p->pid);
	for (int pass = 0; more && pass < 10; pass++) {
		more = false;
		DIR *d = opendir(dir);
		struct dirent *e;
		while (d && (e = readdir(d))) {
			pid_t tid = atoi(e->d_name);
			bool known = tid <= 0;
			for (size_t i = 0; i < p->n_tasks; i++)
				known |= p->tasks[i].tid == tid;
			if (known || p->n_tasks == LIVE_TASKS_MAX ||
			    ptrace(PTRACE_SEIZE, tid, 0, 0) < 0 ||
			    ptrace(PTRACE_INTERRUPT, tid, 0, 0) < 0)
				continue;
			more = true;
			p->tasks[p->n_tasks++].tid = tid;
		}
		closedir(d);
	}
	for (size_t i = 0; i < p->n_tasks; i++) {
		struct live_task *t = &p->tasks[i];
		int status;
		assert_int_equal(waitpid(t->tid, &status, __WALL), t->tid);
		if (!WIFSTOPPED(status))
			fail_msg("thread %d of %d is gone: status %x", t->tid, p->pid, status);
		t->signal = status >> 16 == 0 ? WSTOPSIG(status) : 0;
		assert_int_equal(ptrace(PTRACE_GETREGS, t->tid, 0, &t->regs), 0);
	}
	p->mem = (struct mem){ .read = live_read, .read_spans = live_read_spans, .ctx = p };
}

_unused_ static void live_release(struct live *p)
{
	for (size_t i = 0; i < p->n_tasks; i++)
		ptrace(PTRACE_DETACH, p->tasks[i].tid, 0, (void *)(long)p->tasks[i].signal);
	p->n_tasks = 0;
}

_unused_ static uint64_t live_entry(pid_t pid)
{
	char path[64];
	Elf64_auxv_t auxv[64];
	uint64_t entry = 0;

	snprintf(path, sizeof(path), "/proc/%d/auxv", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	ssize_t n = read(fd, auxv, sizeof(auxv));
	close(fd);
	for (ssize_t i = 0; i < n / (ssize_t)sizeof(auxv[0]); i++)
		if (auxv[i].a_type == AT_ENTRY)
			entry = auxv[i].a_un.a_val;
	return entry;
}

_unused_ static struct go_model *live_model(struct live *p)
{
	char path[64];
	struct go_model *m = NULL;
	struct err err = { 0 };

	snprintf(path, sizeof(path), "/proc/%d/exe", p->pid);
	if (go_model_open_exe(path, live_entry(p->pid), &p->mem, &m, &err) < 0)
		fail_msg("%s", err_text(&err, -1));
	assert_non_null(m);
	return m;
}

_unused_ static struct go_thread_regs live_thread_regs(const struct live_task *t)
{
	return (struct go_thread_regs){
		.fs_base = t->regs.fs_base,
		.pc = t->regs.rip,
		.sp = t->regs.rsp,
		.bp = t->regs.rbp,
	};
}

_unused_ static const struct live_task *live_task(const struct live *p, pid_t tid)
{
	for (size_t i = 0; i < p->n_tasks; i++)
		if (p->tasks[i].tid == tid)
			return &p->tasks[i];
	return NULL;
}

_unused_ static uint64_t live_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#endif
