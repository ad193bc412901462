/*
 * launch.c - fork, seize, exec. The child waits on a pipe until it has been seized, so that no stop of ours is left over in it; the
 * program is ready when the last of the execs on the way (shell, wrapper, program) has happened.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/wait.h>

#include "base/log.h"
#include "target/live/live_target.h"
#include "target/live/task.h"
#include "target/live/tick.h"

/* What we were started with, before anybody blocked or ignored a signal: what a program of ours is to start with. */
static sigset_t mask_at_birth;
static struct sigaction pipe_at_birth;

__attribute__((constructor)) static void remember_signals(void)
{
	sigprocmask(SIG_SETMASK, NULL, &mask_at_birth);
	sigaction(SIGPIPE, NULL, &pipe_at_birth);
}

static void quote(struct buf *out, const char *word)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+./:=@%^,";
	if (*word && strspn(word, plain) == strlen(word)) {
		buf_puts(out, word);
		return;
	}
	buf_putc(out, '\'');
	for (; *word; word++) {
		if (*word == '\'')
			buf_puts(out, "'\\''");
		else
			buf_putc(out, (uint8_t)*word);
	}
	buf_putc(out, '\'');
}

/* exec WRAPPER... PROGRAM ARGS... as a line for the shell */
static const char *shell_line(struct buf *out, const struct launch *how)
{
	buf_puts(out, "exec");
	for (char *const *w = how->wrapper; w && *w; w++) {
		buf_putc(out, ' ');
		quote(out, *w);
	}
	for (size_t i = 0; how->argv[i]; i++) {
		buf_putc(out, ' ');
		if (i && how->raw_args)
			buf_puts(out, how->argv[i]);
		else
			quote(out, how->argv[i]);
	}
	return buf_cstr(out);
}

/* Told to the parent through the pipe when the child cannot become the program. */
struct child_error {
	int code;
	char what[32];
};

static _Noreturn void child_fails(int fd, const char *what)
{
	struct child_error e = { .code = errno };
	snprintf(e.what, sizeof(e.what), "%s", what);
	ssize_t r = write(fd, &e, sizeof(e));
	(void)r;
	_exit(127);
}

/* Output and errors of one file are one descriptor, as of 2>&1: with one each they would write over each other. */
static bool is_output_file(const struct launch *how, int i)
{
	return i == 2 && how->stdio[1] && how->stdio[2] && !strcmp(how->stdio[1], how->stdio[2]);
}

static void child_stdio(const struct launch *how, int error_fd)
{
	for (int i = 0; i < 3; i++) {
		int fd = how->stdio_fd[i];
		if (is_output_file(how, i)) {
			fd = 1;
		} else if (how->stdio[i]) {
			fd = open(how->stdio[i], i == 0 ? O_RDONLY : O_WRONLY | O_CREAT, 0640);
			if (fd < 0)
				child_fails(error_fd, how->stdio[i]);
		}
		if (fd >= 0 && fd != i && dup2(fd, i) < 0)
			child_fails(error_fd, "dup2");
	}
}

static _Noreturn void child(const struct launch *how, const char *line, int go_fd, int error_fd)
{
	ssize_t got;
	char byte;
	while ((got = read(go_fd, &byte, 1)) < 0 && errno == EINTR)
		;
	if (got != 1) /* our server ended before it could trace us */
		_exit(127);

	if (how->new_session)
		setsid();
	else
		setpgid(0, 0);
	if (!how->aslr)
		personality(ADDR_NO_RANDOMIZE);
	child_stdio(how, error_fd);
	if (how->cwd && chdir(how->cwd) < 0)
		child_fails(error_fd, how->cwd);
	sigaction(SIGPIPE, &pipe_at_birth, NULL);
	sigprocmask(SIG_SETMASK, &mask_at_birth, NULL);
	if (how->envp)
		environ = (char **)how->envp;
	if (how->close_fds)
		(void)close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);

	if (how->shell) {
		const char *shell = getenv("SHELL");
		if (!shell || !*shell)
			shell = "/bin/sh";
		execl(shell, shell, "-c", line, (char *)NULL);
		child_fails(error_fd, shell);
	}
	size_t words = 0, n = 0;
	for (char *const *w = how->wrapper; w && *w; w++)
		words++;
	for (char *const *w = how->argv; *w; w++)
		words++;
	char **argv = calloc(words + 1, sizeof(*argv));
	if (!argv)
		child_fails(error_fd, "calloc");
	for (char *const *w = how->wrapper; w && *w; w++)
		argv[n++] = *w;
	for (char *const *w = how->argv; *w; w++)
		argv[n++] = *w;
	execvp(argv[0], argv);
	child_fails(error_fd, "execve");
}

static bool given_up(const struct launch *how, unsigned *asked)
{
	enum { ASK_MS = 20 };

	if (!how->keep_waiting || tick_count() - *asked < ASK_MS)
		return false;
	*asked = tick_count();
	return !how->keep_waiting(how->ctx);
}

/* Lets the new process run through execs; 0 when the last one has happened. */
static int start_up(struct proc *p, const struct launch *how, struct err *err)
{
	struct live *live = p->live;
	int execs = 1 + how->shell + (how->wrapper && how->wrapper[0]);
	unsigned asked = tick_count();

	p->starting = true;
	while (execs > 0) {
		int status;
		/* A shell or a wrapper may have threads, and children in its memory, that it waits for. */
		pid_t tid = tick_wait(-1, &status);
		if (tid < 0)
			return err_set(err, tid, "cannot wait for process %d: %s", p->base.pid,
				       strerror(-tid));
		if (tid > 0)
			live_news(live, tid, status);
		if (!p->gone && given_up(how, &asked)) {
			(void)live_kill(&p->base);
			return err_set(err, -EINTR, "'%s' was given up: it has not begun yet",
				       how->argv[0]);
		}
		if (p->gone) {
			struct target_event ev = { .stop.kind = STOP_NONE };
			live_take_told(live, p, &ev);
			if (ev.stop.kind == STOP_KILLED)
				return err_set(
					err, -ECANCELED,
					"During startup program terminated with signal %d (%s).",
					ev.stop.signo, strsignal(ev.stop.signo));
			return err_set(err, -ENOENT, "During startup program exited with code %d.",
				       ev.stop.status);
		}
		struct task *task = proc_task(p, p->base.pid);
		if (!task || task->state != TASK_STOPPED)
			continue;
		if (task->has_pending && task->pending.kind == STOP_EXEC && --execs == 0)
			break;
		task->has_pending = false;
		task_restart(task, 0);
	}
	p->starting = false;
	return 0;
}

static struct proc *new_process(struct live *live, pid_t pid)
{
	struct proc *p = proc_new(live, pid, true);
	if (!p)
		return NULL;
	p->base.ops = &live_target_ops;
	p->space = space_new(pid);
	struct task *task = p->space ? task_add(p, pid, TASK_RUNNING) : NULL;
	if (!task) {
		proc_free(p);
		return NULL;
	}
	task->how = (struct resume){ .action = RESUME_CONT };
	task_set_resumed(task, true);
	return p;
}

static void abandon(pid_t pid)
{
	kill(pid, SIGKILL);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

int live_launch(struct tracer *tr, const struct launch *how, struct target **ret, struct err *err)
{
	struct live *live = live_of(tr);
	_cleanup_close_ int go_read = -1, go_write = -1, error_read = -1, error_write = -1;
	_cleanup_buf_ struct buf line;
	buf_init(&line, 2 << 20);

	if (!how->argv || !how->argv[0])
		return err_set(err, -EINVAL, "no program to run");
	const char *text = shell_line(&line, how);
	int go[2], error[2];
	if (!text || pipe2(go, O_CLOEXEC) < 0)
		return err_set(err, text ? -errno : -E2BIG, "cannot start '%s': %s", how->argv[0],
			       strerror(text ? errno : E2BIG));
	go_read = go[0];
	go_write = go[1];
	if (pipe2(error, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot start '%s': %s", how->argv[0], strerror(errno));
	error_read = error[0];
	error_write = error[1];

	pid_t pid = fork();
	if (pid < 0)
		return err_set(err, -errno, "cannot fork to start '%s': %s", how->argv[0],
			       strerror(errno));
	if (pid == 0) {
		close(go_write);
		child(how, text, go_read, error_write);
	}
	close_fdp(&error_write);

	int r = pt_seize(pid, true);
	struct proc *p = r < 0 ? NULL : new_process(live, pid);
	if (!p) {
		abandon(pid);
		return r < 0 ? err_set(err, r, "cannot trace '%s' (process %d): %s", how->argv[0],
				       pid, strerror(-r))
			     : err_set(err, -ENOMEM, "no memory to start '%s'", how->argv[0]);
	}
	ssize_t told = write(go_write, "", 1);
	(void)told; /* it is gone: its status says so */
	close_fdp(&go_write);
	if (how->stdio_fd[0] < 0 && !how->stdio[0] && !how->new_session && isatty(STDIN_FILENO)) {
		/* Keys pressed in our terminal go to the program, as if it had been started there. */
		struct sigaction ignore = { .sa_handler = SIG_IGN }, old;
		sigaction(SIGTTOU, &ignore, &old);
		setpgid(pid, pid);
		tcsetpgrp(STDIN_FILENO, pid);
		sigaction(SIGTTOU, &old, NULL);
	}

	r = start_up(p, how, err);
	if (r < 0) {
		struct child_error e;
		if (read(error_read, &e, sizeof(e)) == (ssize_t)sizeof(e))
			r = err_set(err, -e.code, "Cannot exec '%s': %s failed: %s", how->argv[0],
				    e.what, strerror(e.code));
		proc_free(p);
		return r;
	}
	struct task *task = proc_task(p, pid);
	task->has_pending = false;
	task_unqueue(task);
	task_set_resumed(task, false);
	task->told = (struct stop){ 0 };
	/* Out of exec: its registers are the program's first ones, and memory can be mapped for the client. */
	(void)task_leave_kernel(task);
	*ret = &p->base;
	return 0;
}
