#include "server/server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "server/conn.h"
#include "server/gate.h"
#include "server/inferior.h"
#include "server/loop.h"
#include "server/session.h"
#include "server/signals.h"
#include "server/start.h"
#include "server/tracepoints.h"
#include "target/live/live.h"

enum {
	END_WITHIN_MS = 1500, /* of a signal that ends the server */
	LINGER_MS = 2000,     /* for the client of the last process to hang up itself */
};

struct life {
	struct server base;
	struct inferiors inferiors;
	struct gate *gate;
	struct conn *conn; /* NULL: nobody is connected */
	int next_in; /* a client that waits for the last one's connection to be wound up; -1: none */
	int next_out;
	struct watch news; /* the tracer's */
	struct timer grace;
	struct timer linger;
	struct timer rest; /* the client has been silent for a while and nobody runs */
	bool extended;     /* a client said '!' */
	bool ending;
	bool join; /* ending because the last debuggee is gone or was let go by the client */
	int exit_code;
	int end_signal;  /* ending because of it; 0: not */
	pid_t tty_group; /* in the foreground of our terminal when we started; 0: no terminal */
};

static struct life *life_of(struct server *srv)
{
	return (struct life *)srv;
}

static bool stays(const struct life *l)
{
	return l->base.opt->multi || l->extended ||
	       (l->base.session && session_extended(l->base.session));
}

/* ---- letting debuggees go ---- */

static bool is_launched(const struct inferior *inf)
{
	const struct target_run_ops *run = inf->target->ops->run;
	return run && run->launched(inf->target);
}

static void say_each(struct life *l, const char *what, bool launched)
{
	char text[256] = "";
	size_t len = 0;

	for (struct inferior *inf = l->inferiors.first; inf && len < sizeof(text) - 16;
	     inf = inf->next) {
		if (is_launched(inf) == launched)
			len += (size_t)snprintf(text + len, sizeof(text) - len, " %d",
						(int)inf->pid);
	}
	if (len && l->base.opt->as == AS_GDBSERVER)
		say("%s process(es):%s", what, text);
}

static void let_go_of(struct inferior *inf, bool kill_it)
{
	const struct target_run_ops *run = inf->target->ops->run;
	if (run && kill_it)
		run->kill(inf->target);
	else if (run)
		run->detach(inf->target, false);
	inferiors_remove(inf);
}

/* Default: what was launched is killed, what was attached goes on. */
static void let_go_of_all(struct life *l, enum session_on_loss how)
{
	if (how == SESSION_LOSS_DEFAULT) {
		say_each(l, "Killing", true);
		say_each(l, "Detaching", false);
	}
	while (l->inferiors.first) {
		struct inferior *inf = l->inferiors.first;
		let_go_of(inf, how == SESSION_LOSS_KILL ||
				       (how == SESSION_LOSS_DEFAULT && is_launched(inf)));
	}
}

/* ---- the end ---- */

static void stop_now(struct life *l, int exit_code)
{
	if (!l->ending)
		l->exit_code = exit_code;
	l->ending = true;
	loop_stop(l->base.loop);
}

void server_end(struct server *srv, int exit_code)
{
	struct life *l = life_of(srv);

	if (l->ending)
		return;
	log_debug(LOG_LOOP, "ending with status %d", exit_code);
	l->ending = true;
	l->exit_code = exit_code;
	if (l->conn)
		conn_flush_close(l->conn);
	else
		loop_stop(srv->loop);
}

static void on_end_signal(void *ctx, int signo)
{
	struct life *l = ctx;
	log_debug(LOG_LOOP, "signal %d: ending", signo);
	signals_deadline(END_WITHIN_MS, EXIT_ENDED);
	l->join = false;
	l->end_signal = signo;
	stop_now(l, EXIT_ENDED);
}

/* lldb tells its user what its server died of, and lldb-server dies of the signal itself. */
static void die_as_lldb_server(const struct life *l)
{
	sigset_t just;

	if (!l->end_signal || l->base.opt->as == AS_GDBSERVER)
		return;
	sigemptyset(&just);
	sigaddset(&just, l->end_signal);
	signal(l->end_signal, SIG_DFL);
	raise(l->end_signal);
	sigprocmask(SIG_UNBLOCK, &just, NULL);
}

bool server_is_called(const struct server *srv)
{
	const struct life *l = (const struct life *)srv;
	return signals_waiting() || (l->conn && conn_calls(l->conn));
}

static void on_linger(void *ctx)
{
	struct life *l = ctx;
	if (!l->inferiors.count)
		server_end(&l->base, EXIT_ENDED);
}

/* The client of a plain session hangs up when its process is gone, and then we end; one that does not is not waited for. */
void server_inferior_gone(struct server *srv)
{
	struct life *l = life_of(srv);

	if (l->inferiors.count || stays(l) || l->ending)
		return;
	l->join = true;
	if (!l->conn)
		server_end(srv, EXIT_ENDED);
	else if (!srv->opt->lldb_client)
		timer_start(srv->loop, &l->linger, LINGER_MS, on_linger, l);
}

/* ---- nobody connected ---- */

static void run_unattended(struct life *l)
{
	struct tracer *tr = l->base.tracer;
	struct target_event ev;
	bool gone = false;

	while (tr->ops->next_event(tr, &ev) == 1)
		gone |= inferiors_unattended(&l->inferiors, &ev) != 0;
	tracepoints_settle(l->inferiors.trace);
	if (gone)
		server_inferior_gone(&l->base);
}

static void on_rest(void *ctx)
{
	struct life *l = ctx;

	if (l->base.session && !session_is_running(l->base.session) && l->base.tracer->ops->rest)
		l->base.tracer->ops->rest(l->base.tracer);
}

/* A client that is at it again within the time costs nobody a call. */
static void rest_later(struct life *l)
{
	enum { REST_MS = 20 };

	if (!l->rest.loop && l->base.session)
		timer_start(l->base.loop, &l->rest, REST_MS, on_rest, l);
}

static void on_news(void *ctx, unsigned events _unused_)
{
	struct life *l = ctx;

	l->base.tracer->ops->collect(l->base.tracer);
	if (l->base.session)
		session_events(l->base.session);
	else
		run_unattended(l);
	rest_later(l);
}

static void run_on(struct life *l, bool launched_too)
{
	inferiors_run_on(&l->inferiors, l->base.tracer, launched_too);
	run_unattended(l);
}

/* What was launched for the client alone waits for one. */
static void on_grace_over(void *ctx)
{
	struct life *l = ctx;

	log_debug(LOG_LOOP, "nobody came back: what was attached runs on");
	run_on(l, false);
}

/* ---- a client ---- */

static void on_packet(void *ctx, uint8_t *body, size_t len)
{
	struct life *l = ctx;
	session_packet(l->base.session, body, len);
	rest_later(l);
}

static void on_interrupt(void *ctx)
{
	struct life *l = ctx;
	session_interrupt(l->base.session);
}

static bool on_client(void *ctx, int in_fd, int out_fd);

static void wind_up(struct life *l, enum session_on_loss *ret_how, bool *ret_running)
{
	struct session *s = l->base.session;

	*ret_how = session_on_loss(s);
	*ret_running = session_is_running(s);
	l->extended |= session_extended(s);
	session_free(s);
	l->base.session = NULL;
	inferiors_forget_client(&l->inferiors, l->base.tracer);
	conn_free(l->conn);
	l->conn = NULL;
	timer_stop(&l->linger);
	timer_stop(&l->rest);
}

static void wait_for_another(struct life *l, bool running)
{
	if (l->base.opt->as == AS_GDBSERVER)
		say("Remote side has terminated connection.  GDBserver will reopen the "
		    "connection.");
	gate_announce(l->gate, NULL);

	if (l->next_in >= 0) {
		int in = steal_fd(&l->next_in), out = steal_fd(&l->next_out);
		on_client(l, in, out);
	} else if (running) {
		run_on(l, true);
	} else if (!l->base.opt->grace_ms) {
		on_grace_over(l);
	} else if (l->inferiors.count) {
		timer_start(l->base.loop, &l->grace, l->base.opt->grace_ms, on_grace_over, l);
	}
}

static void on_closed(void *ctx, const char *why)
{
	struct life *l = ctx;
	enum session_on_loss how;
	bool running;

	log_debug(LOG_LOOP, "connection closed: %s", why);
	wind_up(l, &how, &running);
	if (l->ending) {
		loop_stop(l->base.loop);
		return;
	}
	if (how != SESSION_LOSS_DEFAULT)
		let_go_of_all(l, how);
	bool over = !l->inferiors.count && !stays(l);
	if (over || l->base.opt->once || gate_is_single(l->gate))
		stop_now(l, EXIT_ENDED);
	else
		wait_for_another(l, running);
}

static const struct conn_ops conn_ops = {
	.packet = on_packet,
	.interrupt = on_interrupt,
	.closed = on_closed,
};

static bool begin_session(struct life *l, int in_fd, int out_fd)
{
	timer_stop(&l->grace);
	l->conn = conn_new(l->base.loop, in_fd, out_fd, &conn_ops, l);
	if (!l->conn) {
		say("No memory to serve a client");
		return true; /* the descriptors are closed */
	}
	l->base.session = session_new(&l->base, l->conn);
	if (!l->base.session) {
		say("No memory to serve a client");
		conn_free(l->conn);
		l->conn = NULL;
	}
	return true;
}

static bool on_client(void *ctx, int in_fd, int out_fd)
{
	struct life *l = ctx;

	if (l->ending)
		return false;
	if (!l->conn) {
		bool taken = begin_session(l, in_fd, out_fd);
		if (l->base.opt->once && l->conn)
			gate_close(l->gate);
		return taken;
	}
	/* The last client's end may be waiting to be read in this very turn of the loop: then this one is not the second. */
	if (l->next_in >= 0 || !conn_peer_gone(l->conn))
		return false;
	l->next_in = in_fd;
	l->next_out = out_fd;
	return true;
}

/* ---- the terminal ---- */

static void remember_terminal(struct life *l)
{
	pid_t group = tcgetpgrp(STDIN_FILENO);
	l->tty_group = group > 0 ? group : 0;
}

/* A launched program was given the terminal; the shell that waits for us wants it back. */
static void return_terminal(const struct life *l)
{
	if (!l->tty_group || tcgetpgrp(STDIN_FILENO) == l->tty_group)
		return;
	signal(SIGTTOU, SIG_IGN);
	(void)tcsetpgrp(STDIN_FILENO, l->tty_group);
}

/* ---- life ---- */

static int complain(const struct options *o, const struct err *err, int r, int exit_code)
{
	if (o->as == AS_GDBSERVER) {
		say("%s", err_text(err, r));
		say("Exiting");
	} else {
		say("error: %s", err_text(err, r));
	}
	return exit_code;
}

static int gate_exit_code(int r)
{
	switch (r) {
	case -EPERM: return EXIT_USAGE;
	case -EADDRINUSE: return EXIT_IN_USE;
	default: return EXIT_FAILED;
	}
}

/* 0, or the exit code of what failed, which has been told. */
static int start(struct life *l)
{
	const struct options *o = l->base.opt;
	struct err err = { 0 };

	int r = start_prepare(&l->base, &err);
	if (r < 0)
		return complain(o, &err, r, EXIT_FAILED);
	r = gate_open(o, &l->gate, &err);
	if (r < 0)
		return complain(o, &err, r, gate_exit_code(r));
	gate_say_redirected(l->gate);
	r = start_debuggee(&l->base, &err);
	if (r < 0)
		return complain(o, &err, r, start_exit_code(&l->base, r));
	r = signals_watch(l->base.loop, on_end_signal, l, &err);
	if (!r)
		r = gate_announce(l->gate, &err);
	return r < 0 ? complain(o, &err, r, EXIT_FAILED) : 0;
}

static int live(struct life *l)
{
	struct err err = { 0 };

	l->base.loop = loop_new();
	l->base.tracer = live_tracer_new(&err);
	if (!l->base.loop || !l->base.tracer) {
		err_set(l->base.tracer ? &err : NULL, -ENOMEM,
			"no memory or descriptors for the event loop");
		return complain(l->base.opt, &err, -ENOMEM, EXIT_FAILED);
	}
	if (l->base.opt->no_guard)
		live_go_unguarded(l->base.tracer);
	remember_terminal(l);
	int code = start(l);
	if (code)
		return code;

	struct tracer *tr = l->base.tracer;
	watch_start(l->base.loop, &l->news, tr->ops->fd(tr), LOOP_READ, on_news, l);
	gate_admit(l->gate, l->base.loop, on_client, l);
	if (!l->ending)
		loop_run(l->base.loop);
	return l->exit_code;
}

/* A leader of somebody else's that has exited before its threads cannot be let go of: waitpid() would wait for it, too. */
static bool has_children(void)
{
	char byte;
	_cleanup_close_ int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
	return fd < 0 || read(fd, &byte, 1) == 1;
}

/* A program that was launched and let go belongs to the terminal we hold: gdbserver, too, stays until it has ended. */
static void wait_for_children(const struct life *l)
{
	sigset_t none;

	if (!l->join || l->base.opt->as != AS_GDBSERVER)
		return;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL); /* SIGTERM ends us here as it would anybody */
	while (has_children() && (waitpid(-1, NULL, 0) > 0 || errno == EINTR))
		;
}

static void finish(struct life *l)
{
	watch_stop(&l->news);
	timer_stop(&l->grace);
	timer_stop(&l->linger);
	timer_stop(&l->rest);
	session_free(l->base.session);
	l->base.session = NULL;
	inferiors_forget_client(&l->inferiors, l->base.tracer);
	let_go_of_all(l, SESSION_LOSS_DEFAULT);
	conn_free(l->conn);
	if (l->next_out != l->next_in)
		close_fdp(&l->next_out);
	close_fdp(&l->next_in);
	gate_free(l->gate);
	inferiors_fini(&l->inferiors);
	if (l->base.tracer)
		l->base.tracer->ops->free(l->base.tracer);
	signals_unwatch();
	loop_free(l->base.loop);
}

int server_run(const struct options *opt)
{
	struct life l = {
		.base = { .opt = opt, .inferiors = &l.inferiors },
		.next_in = -1,
		.next_out = -1,
	};

	if (opt->setsid)
		(void)setsid(); /* a group leader cannot, and need not: it was started in a session of its own */
	inferiors_init(&l.inferiors);
	l.inferiors.quiet = opt->as != AS_GDBSERVER || opt->comm.kind == COMM_STDIO;
	/* Delve and scripts that start lldb-server or debugserver expect kernel threads. */
	l.inferiors.policy.mode =
		opt->as != AS_GDBSERVER && opt->threads == THREADS_AUTO ? THREADS_OS : opt->threads;
	l.inferiors.policy.max_goroutines = opt->max_goroutines;
	int code = live(&l);
	finish(&l);
	wait_for_children(&l);
	return_terminal(&l);
	signals_deadline(0, 0);
	die_as_lldb_server(&l);
	return code;
}
