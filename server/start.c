#include "server/start.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "server/findproc.h"
#include "server/inferior.h"
#include "server/server.h"
#include "server/session.h"
#include "server/stdio_pty.h"
#include "target/live/permit.h"

/* The lines that scripts read are gdbserver's; the other servers we stand for say nothing. */
static bool speaks(const struct server *srv)
{
	return srv->opt->as == AS_GDBSERVER;
}

/* ---- the program's terminal ---- */

static void to_client(void *ctx, const char *text, size_t len)
{
	struct server *srv = ctx;
	if (srv->session)
		session_output(srv->session, text, len);
}

/* lldb shows what a program prints that it did not direct elsewhere, as lldb-server has it. */
static bool needs_pty(const struct server *srv, const struct launch *how)
{
	bool lldb = srv->session ? session_is_lldb(srv->session) : srv->opt->lldb_client;

	if (srv->opt->platform)
		return false;

	for (int i = 0; i < 3; i++)
		lldb = lldb && !how->stdio[i] && how->stdio_fd[i] < 0;
	return lldb;
}

/* What is typed where the server was started is the program's, as with a server that gives it that terminal: Delve in front of
 * a person, a pipe. Not when the client has asked for the program, nor when nothing can come. */
static bool has_input(const struct server *srv)
{
	const struct comm *c = &srv->opt->comm;
	struct stat st;

	if (srv->session || c->kind == COMM_STDIO || (c->kind == COMM_FD && c->fd == STDIN_FILENO))
		return false;
	return fstat(STDIN_FILENO, &st) == 0 &&
	       !(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

static int launch_in_pty(struct server *srv, const struct launch *how, struct target **ret,
			 struct err *err)
{
	_cleanup_(stdio_pty_freep) struct stdio_pty *pty = NULL;
	struct launch in_pty = *how;

	int r = stdio_pty_new(srv->loop, to_client, srv, &pty, err);
	if (r < 0)
		return r;
	if (has_input(srv))
		stdio_pty_relay(pty, STDIN_FILENO);
	for (int i = 0; i < 3; i++)
		in_pty.stdio_fd[i] = stdio_pty_program_end(pty);
	r = srv->tracer->ops->launch(srv->tracer, &in_pty, ret, err);
	if (r < 0)
		return r;
	stdio_pty_hold(pty, true);
	stdio_pty_started(pty);
	stdio_pty_free(srv->inferiors->pty);
	srv->inferiors->pty = take_ptr(pty);
	return 0;
}

static bool keep_waiting(void *ctx)
{
	return !server_is_called(ctx);
}

int server_launch(struct server *srv, const struct launch *given, struct target **ret,
		  struct err *err)
{
	struct launch patient = *given, *how = &patient;
	struct target *t;

	patient.keep_waiting = keep_waiting;
	patient.ctx = srv;
	int r = needs_pty(srv, how) ? launch_in_pty(srv, how, &t, err)
				    : srv->tracer->ops->launch(srv->tracer, how, &t, err);
	if (r < 0)
		return r;
	if (speaks(srv))
		say("Process %s created; pid = %d", how->argv[0], t->pid);
	*ret = t;
	return 0;
}

int server_attach(struct server *srv, pid_t pid, struct target **ret, struct err *err)
{
	struct err why = { 0 };
	struct target *t;

	int r = permit_check(pid, &why);
	if (!r)
		r = srv->tracer->ops->attach(srv->tracer, pid, &t, &why);
	if (r < 0) {
		/* Exactly as gdbserver says it, number and all: there are scripts that look for it. */
		const char *number =
			r == -ESRCH && !strcmp(why.text, "No such process") ? " (3)" : "";
		return err_set(err, r, "Cannot attach to process %d: %s%s", pid, err_text(&why, r),
			       number);
	}
	if (speaks(srv))
		say("Attached; pid = %d", t->pid);
	*ret = t;
	return 0;
}

int start_prepare(struct server *srv, struct err *err)
{
	const struct options *o = srv->opt;
	struct launching *l = &srv->inferiors->launching;
	int r = 0;

	for (size_t i = 0; !r && o->env && o->env[i]; i++) {
		const char *equals = strchr(o->env[i], '=');
		r = launching_set_env(l, o->env[i], (size_t)(equals - o->env[i]), equals + 1);
	}
	for (int i = 0; !r && i < 3; i++) {
		if (o->stdio[i])
			r = launching_set_stdio(l, i, o->stdio[i]);
	}
	if (!r && o->wrapper)
		r = launching_set_wrapper(l, o->wrapper);
	if (!r && o->program)
		r = launching_set_program(l, o->program);
	l->aslr = o->aslr;
	l->shell = o->shell;
	l->raw_args = o->raw_args;
	return r < 0 ? err_set(err, r, "no memory for the command line") : 0;
}

/* ---- which process ---- */

static long long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ll + ts.tv_nsec / 1000000;
}

static int wait_for_process(const struct options *o, pid_t *ret, struct err *err)
{
	struct timespec pause = { .tv_sec = o->wait_interval_us / 1000000,
				  .tv_nsec = o->wait_interval_us % 1000000 * 1000l };
	long long end = now_ms() + o->wait_s * 1000ll;
	struct findproc f;

	int r = findproc_begin(&f, o->attach_name);
	if (r < 0)
		return err_set(err, r, "cannot wait for '%s': %s", o->attach_name, strerror(-r));
	pid_t pid;
	while (!(pid = findproc_poll(&f)) && (!o->wait_s || now_ms() < end))
		nanosleep(&pause, NULL);
	findproc_fini(&f);
	if (!pid)
		return err_set(err, -ESRCH, "no process named '%s' started within %u s",
			       o->attach_name, o->wait_s);
	*ret = pid;
	return 0;
}

static int choose_process(const struct options *o, pid_t *ret, struct err *err)
{
	if (!o->attach_name) {
		*ret = o->attach_pid;
		return 0;
	}
	return o->wait_for ? wait_for_process(o, ret, err)
			   : findproc_by_name(o->attach_name, ret, err);
}

/* ---- starting ---- */

static int take_over(struct server *srv, struct target *t, struct err *err)
{
	if (inferiors_add(srv->inferiors, t)) {
		srv->inferiors->begun = t->pid;
		return 0;
	}
	if (t->ops->run->launched(t))
		t->ops->run->kill(t);
	else
		t->ops->run->detach(t, false);
	t->ops->close(t);
	return err_set(err, -ENOMEM, "no memory for process %d", t->pid);
}

int start_debuggee(struct server *srv, struct err *err)
{
	const struct options *o = srv->opt;
	struct target *t;
	struct launch how;
	pid_t pid;
	int r;

	if (o->attach) {
		r = choose_process(o, &pid, err);
		if (!r)
			r = server_attach(srv, pid, &t, err);
	} else if (o->program) {
		launching_fill(&srv->inferiors->launching, &how);
		how.close_fds = srv->opt->lldb_client;
		r = server_launch(srv, &how, &t, err);
	} else {
		return 0;
	}
	return r < 0 ? r : take_over(srv, t, err);
}

int start_exit_code(const struct server *srv, int error)
{
	switch (error) {
	case -EPERM: return EXIT_NOT_PERMITTED;
	case -EACCES: return srv->opt->attach ? EXIT_NOT_PERMITTED : EXIT_FAILED;
	case -ESRCH:
	case -ENOENT: return EXIT_NOT_FOUND;
	case -EINVAL: return EXIT_USAGE;
	default: return EXIT_FAILED;
	}
}
