#include "server/session.h"
#include "base/log.h"
#include "server/conn.h"
#include "server/packets.h"
#include "server/savedregs.h"
#include "server/handlers.h"
#include "server/server.h"
#include "server/stdio_pty.h"
#include "server/stopqueue.h"
#include "server/stops.h"
#include "server/tracepoints.h"
#include "server/waiting.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { REPLY_MAX = 64 * 1024 * 1024, SCRATCH_MAX = 1024 * 1024, KEPT_MAX = 1024 * 1024 };

/* What may wait for a client that does not read before things are dropped, and when they no longer are. */
enum { UNREAD_MAX = 16 * 1024 * 1024, UNREAD_AGAIN = 4 * 1024 * 1024 };

static void console(void *ctx, const char *text, size_t len)
{
	struct session *s = ctx;

	/* What breakpoint commands print goes where gdbserver prints it, and to a client that waits for a stop. */
	fwrite(text, 1, len, stdout);
	fflush(stdout);
	(void)s;
}

struct session *session_new(struct server *srv, struct conn *conn)
{
	struct session *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->server = srv;
	s->conn = conn;
	s->tracer = srv->tracer;
	s->inferiors = srv->inferiors;
	sigemptyset(&s->pass);
	s->inferiors->policy.non_stop = false;
	session_know_client(s);
	hostio_init(&s->hostio);
	buf_init(&s->reply, REPLY_MAX);
	buf_init(&s->scratch, SCRATCH_MAX);
	buf_init(&s->kept, KEPT_MAX);
	buf_init(&s->xfer.data, SESSION_OBJECT_MAX);
	if (s->tracer) {
		s->tracer->console = console;
		s->tracer->console_ctx = s;
		s->tracer->hit = bpoints_hit;
		s->tracer->hit_ctx = s;
		s->tracer->stepped = tracepoints_stepped;
		s->tracer->stepper_gone = tracepoints_stepper_gone;
		s->tracer->trace = NULL;
	}
	s->trace_frame = -1;
	return s;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	inferiors_forget_client(s->inferiors, s->tracer);
	if (s->tracer) {
		s->tracer->console = NULL;
		s->tracer->console_ctx = NULL;
		s->tracer->hit = tracepoints_hit_alone;
		s->tracer->hit_ctx = NULL;
		s->tracer->trace = NULL;
	}
	stopqueue_fini(s);
	saved_regs_free(s);
	waiting_free(s);
	output_free(s);
	/* What it prints from now on is for nobody, but must not fill its terminal. */
	stdio_pty_hold(s->inferiors->pty, false);
	hostio_fini(&s->hostio);
	buf_fini(&s->reply);
	buf_fini(&s->scratch);
	buf_fini(&s->kept);
	buf_fini(&s->xfer.data);
	free(s);
}

enum session_on_loss session_on_loss(const struct session *s)
{
	return s->on_loss;
}

bool session_extended(const struct session *s)
{
	return s->extended;
}

bool session_is_running(const struct session *s)
{
	struct view_thread about;

	if (!s->non_stop)
		return s->running;
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		int64_t id = 0;
		while (threadview_next(inf->view, id, &id) == 0 && id)
			if (threadview_describe(inf->view, id, &about) == 0 && !about.stopped)
				return true;
	}
	return false;
}

static void settle(struct session *s)
{
	if (s->settled)
		return;
	s->settled = true;
	session_update_events(s);
	stops_settle(s);
}

void session_send_reply(struct session *s)
{
	/* What was put together there is part of it. */
	if (buf_error(&s->reply) || buf_error(&s->scratch)) {
		buf_reset(&s->reply);
		reply_error(&s->reply, ENOMEM);
	}
	conn_send(s->conn, s->reply.data, s->reply.len);
	if (s->no_ack_next)
		conn_set_no_ack(s->conn);
	s->no_ack_next = false;
}

void session_packet(struct session *s, uint8_t *body, size_t len)
{
	settle(s);
	buf_reset(&s->reply);
	buf_reset(&s->scratch);
	s->quiet = false;
	packets_serve(s, body, len);
	if (!s->quiet)
		session_send_reply(s);
	if (s->interrupt_early && s->running) {
		s->interrupt_early = false;
		session_interrupt(s);
	}
	session_events(s);
}

void session_events(struct session *s)
{
	struct target_event ev;

	if (!s->tracer || !s->settled)
		return;
	while ((s->running || s->non_stop) && s->tracer->ops->next_event(s->tracer, &ev) == 1)
		stops_event(s, &ev);
	while (s->inferiors->alone && s->tracer->ops->next_alone(s->tracer, &ev) == 1)
		stops_event(s, &ev);
	tracepoints_settle(s->inferiors->trace);
}

/* --- which thread is meant --- */

struct inferior *session_inferior(struct session *s)
{
	if (s->general.pid > 0)
		return inferiors_by_pid(s->inferiors, s->general.pid);
	return s->inferiors->first;
}

bool session_find_thread(struct session *s, struct threadid id, struct inferior **ret_inf,
			 int64_t *ret_id)
{
	struct inferior *inf =
		id.pid > 0 ? inferiors_by_pid(s->inferiors, id.pid) : session_inferior(s);
	int64_t tid = id.tid;

	if (!inf)
		return false;
	if (tid <= 0 && inf->pid == s->general.pid && threadview_alive(inf->view, s->general.tid))
		tid = s->general.tid;
	else if (tid <= 0)
		tid = threadview_main(inf->view);
	if (tid <= 0 || !threadview_alive(inf->view, tid))
		return false;
	*ret_inf = inf;
	*ret_id = tid;
	return true;
}

bool session_thread(struct session *s, struct inferior **ret_inf, int64_t *ret_id)
{
	return session_find_thread(s, s->general, ret_inf, ret_id);
}

bool session_suffix_thread(struct session *s, struct args *a, struct inferior **ret_inf,
			   int64_t *ret_id)
{
	if (!args_accept_text(a, ";thread:"))
		return session_thread(s, ret_inf, ret_id);

	struct threadid id = args_thread_id(a);
	args_accept(a, ';');
	return args_ok(a) && session_find_thread(s, id, ret_inf, ret_id);
}

void session_select(struct session *s, const struct inferior *inf, int64_t id)
{
	s->general = session_id(inf, id);
}

void session_put_id(struct session *s, const struct inferior *inf, int64_t id)
{
	threadid_put(&s->reply, session_id(inf, id), s->dialect.multiprocess);
}

/* --- errors --- */

void session_error(struct session *s, int code)
{
	buf_reset(&s->reply);
	reply_error(&s->reply, code);
}

static enum reply_error_style error_style(const struct session *s)
{
	if (s->error_strings)
		return REPLY_ERROR_HEX;
	return s->client.kind == CLIENT_GDB ? REPLY_ERROR_TEXT : REPLY_ERROR_PLAIN;
}

void session_error_text(struct session *s, int code, const char *fmt, ...)
{
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	buf_reset(&s->reply);
	reply_error_text(&s->reply, error_style(s), code, text);
}

void session_error_from(struct session *s, int code, const struct err *err)
{
	session_error_text(s, code, "%s", err_text(err, code));
}

void session_console(struct session *s, const char *text, size_t len)
{
	enum { CHUNK = SESSION_PACKET_MAX / 2 - 16 };
	_cleanup_buf_ struct buf b = { 0 };

	buf_init(&b, SESSION_PACKET_MAX);
	while (len) {
		size_t n = MIN(len, (size_t)CHUNK);
		buf_reset(&b);
		reply_console(&b, text, n);
		if (!buf_error(&b))
			conn_send(s->conn, b.data, b.len);
		text += n;
		len -= n;
	}
}

void session_tell_dropped(struct session *s)
{
	static const char *const what[] = {
		[CHATTER_LINES] = "lines",
		[CHATTER_OUTPUT] = "bytes that the program printed",
	};

	for (size_t i = 0; i < ARRAY_SIZE(what); i++) {
		if (s->dropped[i])
			session_printf(s, "(%llu %s were dropped: the client did not read)\n",
				       (unsigned long long)s->dropped[i], what[i]);
		s->dropped[i] = 0;
	}
}

void session_chat(struct session *s, enum session_chatter what, const char *text, size_t len)
{
	s->behind = conn_unread(s->conn) > (s->behind ? UNREAD_AGAIN : UNREAD_MAX);
	if (s->behind) {
		s->dropped[what] += what == CHATTER_LINES ? 1 : len;
		return;
	}
	session_tell_dropped(s);
	session_console(s, text, len);
}

void session_trace(struct session *s, const char *line, size_t len)
{
	if (s->running && !s->non_stop) {
		session_chat(s, CHATTER_LINES, line, len);
		return;
	}
	/*
	 * In non-stop an O packet answers a monitor command and is nowhere else: gdb would take it for the answer to what it has just
	 * asked. gdbserver prints on its own output.
	 */
	fwrite(line, 1, len, stdout);
	fflush(stdout);
	if (s->kept.len + len > KEPT_MAX || buf_error(&s->kept))
		s->kept_lost++;
	else
		buf_put(&s->kept, line, len);
}

void session_tell_kept(struct session *s)
{
	session_console(s, (const char *)s->kept.data, s->kept.len);
	if (s->kept_lost)
		session_printf(s, "(%llu lines more were not kept)\n",
			       (unsigned long long)s->kept_lost);
	else if (!s->kept.len)
		session_printf(s, "nothing was traced that was not shown at once\n");
	buf_reset(&s->kept);
	s->kept_lost = 0;
}

void session_printf(struct session *s, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	int n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		text = NULL;
	else
		session_console(s, text, (size_t)n);
}

bool session_usage(struct session *s, const char *usage)
{
	session_printf(s, "usage: %s\n", usage);
	session_error(s, 1);
	return true;
}

/* --- processes --- */

void session_forget_inferior(struct session *s, const struct inferior *inf)
{
	if (s->general.pid == inf->pid)
		s->general = (struct threadid){ 0 };
	if (s->cont.pid == inf->pid)
		s->cont = (struct threadid){ 0 };
	s->xfer.object = NULL;
	/* As gdbserver's SIGINT it goes with the process, and does not wait for the next one that is started. */
	s->interrupt_early = false;
	stopqueue_forget(s, inf->pid);
}

void session_drop_inferior(struct session *s, struct inferior *inf)
{
	session_forget_inferior(s, inf);
	inferiors_remove(inf);
	server_inferior_gone(s->server);
}

void session_update_events(struct session *s)
{
	struct tracer_events which = {
		.fork = s->client.fork_events,
		.vfork = s->client.vfork_events,
		.exec = s->client.exec_events || session_is_lldb(s),
		.threads = s->thread_events,
		/* Also for a client that does not know N: it would wait for ever. */
		.no_resumed = true,
	};

	if (!s->tracer)
		return;
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		for (size_t i = 0; i < inf->note_count; i++) {
			which.clone |= inf->notes[i].options & THREAD_OPTION_CLONE;
			which.threads |= inf->notes[i].options & THREAD_OPTION_EXIT;
		}
	}
	s->tracer->ops->set_events(s->tracer, &which);
}

/*
 * Go's runtime preempts by it: unless the user asks for it by name it stops nobody. gdb names it among the signals that pass, but
 * names none while it steps; lldb stops at it although nobody said so.
 */
static bool owns_sigurg(const struct session *s)
{
	return session_is_lldb(s) || (s->inferiors->policy.suits && !s->sigurg_asked);
}

void session_update_signals(struct session *s)
{
	sigset_t set = s->pass;

	if (!s->tracer)
		return;
	for (struct inferior *inf = s->inferiors->first; inf && owns_sigurg(s); inf = inf->next)
		if (inferior_is_go(inf))
			sigaddset(&set, SIGURG), s->signals_of_go = true;
	s->tracer->ops->set_pass_signals(s->tracer, &set);
}

/* --- who the client is --- */

/* Delve does not pass on what a thread had got when it attached: that signal is for the first resume to tell. */
static void keep_first_signal(struct session *s)
{
	struct target_event *last = &s->inferiors->last;

	if (s->resumed || !s->tracer || !last->target || last->stop.kind != STOP_SIGNAL)
		return;
	s->tracer->ops->push_back(s->tracer, last);
	*last = (struct target_event){ 0 };
}

/* A gdb that reads no XML takes the registers every amd64 has, and no more, for granted. */
static void choose_registers(struct session *s)
{
	static const enum tdesc_layout layouts[] = {
		[CLIENT_UNKNOWN] = TDESC_GDB,
		[CLIENT_GDB] = TDESC_GDB,
		[CLIENT_LLDB] = TDESC_LLDB,
		[CLIENT_DELVE] = TDESC_DELVE,
	};
	struct x86_features cpu = { 0 };

	if (s->client.kind != CLIENT_GDB || s->client.xml_registers[0])
		x86_features_detect(&cpu);
	regmap_init(&s->regs, &cpu, layouts[s->client.kind]);
}

/*
 * lldb asks for thread suffixes before it says anything of itself; and where we were started as lldb-server, a client that says
 * nothing of itself expects one.
 */
void session_know_client(struct session *s)
{
	const struct options *o = s->server->opt;

	if (s->client.kind == CLIENT_UNKNOWN && (s->thread_suffix || (o && o->lldb_client)))
		s->client.kind = CLIENT_LLDB;
	s->inferiors->policy.suits = s->client.kind == CLIENT_GDB || s->client.kind == CLIENT_LLDB;
	s->dialect.client = s->client.kind;
	s->dialect.native_signals = s->client.kind == CLIENT_LLDB;
	choose_registers(s);
	if (!session_is_lldb(s))
		return;
	/* Delve expands no runs in binary replies, and lldb-server sends none. */
	conn_set_rle(s->conn, false);
	session_update_signals(s);
	if (s->client.kind == CLIENT_DELVE)
		keep_first_signal(s);
}

/* --- interrupt --- */

static bool interrupt_inferior(struct inferior *inf)
{
	const struct target_run_ops *run = inf ? inf->target->ops->run : NULL;
	return run && run->interrupt(inf->target, 0) == 0;
}

static bool interrupt_any(struct session *s)
{
	/* gdb does not say whom it means, and its Hg names whom it looked at last. gdbserver takes the one begun last, and so do we. */
	if (!session_is_lldb(s) &&
	    interrupt_inferior(inferiors_by_pid(s->inferiors, s->inferiors->begun)))
		return true;
	if (interrupt_inferior(session_inferior(s)))
		return true;
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next)
		if (interrupt_inferior(inf))
			return true;
	return false;
}

/* Nobody runs, and still a stop reply is due. */
static void tell_standstill(struct session *s)
{
	struct inferior *inf = session_inferior(s) ? session_inferior(s) : s->inferiors->first;
	struct target_event ev = { .stop.kind = STOP_INTERRUPT };

	if (!inf)
		return;
	ev.target = inf->target;
	ev.tid = threadview_tid_of(inf->view, threadview_main(inf->view));
	stops_event(s, &ev);
}

void session_interrupt(struct session *s)
{
	if (waiting_cancel(s))
		return;
	/* gdb sends it before the resume it is meant for when Ctrl-C comes between the two (seen with 13). */
	if (s->settled && !s->running && !s->non_stop)
		s->interrupt_early = s->client.kind == CLIENT_GDB;
	if (!s->tracer || !s->settled || s->interrupting || (!s->running && !s->non_stop))
		return;
	/* gdbserver's SIGINT waits until the process it was sent to runs again. A second interrupt here does not. */
	if (s->running && s->steps_past && !s->interrupt_early) {
		s->interrupt_early = s->client.kind == CLIENT_GDB;
		return;
	}
	log_debug(LOG_PACKET, "-> interrupt");
	s->interrupting = s->running;
	if (!interrupt_any(s)) {
		/* Who runs no more has something to tell first: gdb 13 ends when another than the one it steps is told of. */
		session_events(s);
		if (s->running && !interrupt_any(s))
			tell_standstill(s);
	}
	session_events(s);
}
