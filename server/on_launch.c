#include "base/log.h"
#include "protocol/hex.h"
#include "protocol/signals.h"
#include "server/handlers.h"
#include "server/platform.h"
#include "server/server.h"
#include "server/stops.h"
#include "server/tracepoints.h"

#include <errno.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { WORDS_MAX = 65536 };

/* --- how to launch --- */

static bool take_switch(struct args *a)
{
	args_skip(a, ':');
	bool on = args_hex_max(a, 1) == 1;
	if (!args_done(a))
		args_fail(a);
	return on;
}

void on_disable_randomization(struct session *s, struct args *a)
{
	bool off = take_switch(a);
	if (!args_ok(a))
		return;
	s->inferiors->launching.aslr = !off;
	reply_ok(&s->reply);
}

void on_detach_on_error(struct session *s, struct args *a)
{
	bool on = take_switch(a);
	if (!args_ok(a))
		return;
	s->on_loss = on ? SESSION_LOSS_DETACH : SESSION_LOSS_KILL;
	reply_ok(&s->reply);
}

void on_startup_with_shell(struct session *s, struct args *a)
{
	bool on = take_switch(a);
	if (!args_ok(a))
		return;
	s->inferiors->launching.shell = on;
	reply_ok(&s->reply);
}

static const char *take_text(struct session *s, struct args *a)
{
	args_skip(a, ':');
	const char *text = args_hex_text(a, &s->scratch);
	if (!args_done(a))
		args_fail(a);
	return args_ok(a) ? text : NULL;
}

static void put_outcome(struct session *s, int r)
{
	if (r < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}

/* lldb sends the whole environment, variable by variable: what it does not send is not there. */
static void begin_env(struct session *s)
{
	if (session_is_lldb(s) && !s->env_begun &&
	    launching_clear_env(&s->inferiors->launching) == 0)
		s->env_begun = true;
}

/* QEnvironment:NAME=VALUE, as it is. */
void on_env_plain(struct session *s, struct args *a)
{
	size_t len;

	args_skip(a, ':');
	const uint8_t *text = args_rest(a, &len);
	buf_put(&s->scratch, text, args_ok(a) ? len : 0);
	const char *line = buf_cstr(&s->scratch);
	const char *eq = line && args_ok(a) && !memchr(line, 0, len) ? strchr(line, '=') : NULL;
	if (!args_ok(a) || !eq) {
		args_fail(a);
		return;
	}
	begin_env(s);
	put_outcome(s,
		    launching_set_env(&s->inferiors->launching, line, (size_t)(eq - line), eq + 1));
}

void on_env_hex(struct session *s, struct args *a)
{
	const char *text = take_text(s, a);
	const char *eq = text ? strchr(text, '=') : NULL;

	if (eq)
		begin_env(s);
	if (!eq)
		args_fail(a);
	else
		put_outcome(s, launching_set_env(&s->inferiors->launching, text,
						 (size_t)(eq - text), eq + 1));
}

void on_env_unset(struct session *s, struct args *a)
{
	const char *name = take_text(s, a);
	if (name)
		put_outcome(s,
			    launching_set_env(&s->inferiors->launching, name, strlen(name), NULL));
}

void on_env_reset(struct session *s, struct args *a)
{
	(void)a;
	launching_reset_env(&s->inferiors->launching);
	s->env_begun = false;
	begin_env(s);
	reply_ok(&s->reply);
}

void on_working_dir(struct session *s, struct args *a)
{
	const char *path = take_text(s, a);
	glob_t found = { 0 };

	if (!path)
		return;
	if (s->server->opt && s->server->opt->platform) {
		if (chdir(path) < 0)
			session_error(s, -errno);
		else
			reply_ok(&s->reply);
		return;
	}
	/* gdb leaves "~" to the side whose home it is. */
	if (path[0] == '~' && glob(path, GLOB_TILDE_CHECK | GLOB_NOCHECK, NULL, &found) == 0)
		path = found.gl_pathv[0];
	put_outcome(s, launching_set_cwd(&s->inferiors->launching, path[0] ? path : NULL));
	globfree(&found);
}

void on_get_working_dir(struct session *s, struct args *a)
{
	const char *dir = s->inferiors->launching.cwd;
	char here[PATH_MAX];

	(void)a;
	if (!dir)
		dir = getcwd(here, sizeof(here));
	if (dir)
		reply_hex_text(&s->reply, dir);
	else
		session_error(s, 1);
}

void on_launch_arch(struct session *s, struct args *a)
{
	args_skip(a, ':');
	if (args_accept_text(a, "x86_64"))
		reply_ok(&s->reply);
	else
		session_error_text(s, 1, "only x86_64 programs can be started here");
}

/* --- starting --- */

static void put_started(struct session *s, struct inferior *inf)
{
	int64_t id = threadview_main(inf->view);

	session_select(s, inf, id);
	if (session_is_lldb(s))
		session_update_signals(s);
	s->lists_due = 1;
	s->inferiors->last = (struct target_event){ 0 };
	stops_put_state(s, inf, id, &s->reply);
}

static struct inferior *take_over(struct session *s, struct target *t)
{
	struct inferior *inf = inferiors_add(s->inferiors, t);
	if (inf)
		s->inferiors->begun = inf->pid;
	else
		t->ops->close(t);
	return inf;
}

static struct inferior *launch(struct session *s, struct err *err)
{
	struct launch how;
	struct target *t;

	if (!s->inferiors->launching.argv) {
		err_set(err, -EINVAL, "no program was named, neither here nor on the command line");
		return NULL;
	}
	/* Our own environment is for the program of our own command line. */
	if (!s->server->opt || !s->server->opt->program)
		begin_env(s);
	launching_fill(&s->inferiors->launching, &how);
	/* lldb has its own ideas of a shell, and does not expect ours. */
	how.shell = how.shell && !session_is_lldb(s);
	how.close_fds = session_is_lldb(s);
	return server_launch(s->server, &how, &t, err) < 0 ? NULL : take_over(s, t);
}

/* The words of vRun;PROG;ARG;...: the program's name first. Texts stay in scratch, which may move until the last was read. */
static size_t take_words(struct session *s, struct args *a, size_t *offsets, size_t max)
{
	size_t n = 0;

	while (args_accept(a, ';') && n < max) {
		size_t at = s->scratch.len;
		if (!args_hex_text(a, &s->scratch))
			return 0;
		/* args_hex_text leaves a NUL behind the text that the next one would overwrite. */
		buf_putc(&s->scratch, 0);
		offsets[n++] = at;
	}
	if (!args_done(a) || buf_error(&s->scratch)) {
		args_fail(a);
		return 0;
	}
	return n;
}

static int set_program(struct session *s, const size_t *offsets, size_t n)
{
	struct launching *l = &s->inferiors->launching;
	char **argv = calloc(n + 1, sizeof(*argv));
	int r = argv ? 0 : -ENOMEM;

	for (size_t i = 0; i < n && r == 0; i++)
		argv[i] = (char *)s->scratch.data + offsets[i];
	/* No name: the program is the last one, the arguments are new. */
	if (r == 0 && !argv[0][0] && l->argv)
		argv[0] = l->argv[0];
	if (r == 0 && !argv[0][0])
		r = -EINVAL;
	if (r == 0)
		r = launching_set_program(l, argv);
	if (r == 0)
		l->raw_args = s->client.single_inf_arg;
	free(argv);
	return r;
}

/* A client of single-inf-arg sends all arguments as one text for the shell. Without a shell gdb means words between blanks, and
 * nothing is a quote. */
static size_t part_text(struct session *s, size_t *offsets, size_t n)
{
	if (n != 2 || !s->client.single_inf_arg || s->inferiors->launching.shell)
		return n;
	size_t at = offsets[1];
	for (n = 1; s->scratch.data[at] && n < WORDS_MAX;) {
		char *text = (char *)s->scratch.data + at;
		size_t blanks = strspn(text, " \t\n"), word = strcspn(text + blanks, " \t\n");
		if (word)
			offsets[n++] = at + blanks;
		at += blanks + word;
		if (s->scratch.data[at])
			s->scratch.data[at++] = 0;
	}
	return n;
}

void on_run(struct session *s, struct args *a)
{
	struct err err = { 0 };
	size_t *offsets = calloc(WORDS_MAX, sizeof(*offsets));
	size_t n = offsets ? take_words(s, a, offsets, WORDS_MAX) : 0;
	int r = 0;

	if (args_ok(a) && n)
		n = part_text(s, offsets, n);

	/* A bare vRun; or vRun starts what was started last. */
	if (args_ok(a) && n &&
	    !(n == 1 && !s->scratch.data[offsets[0]] && s->inferiors->launching.argv))
		r = set_program(s, offsets, n);
	free(offsets);
	if (!args_ok(a))
		return;
	if (r < 0) {
		session_error_text(s, 1, "No program to start");
		return;
	}
	struct inferior *inf = launch(s, &err);
	if (inf) {
		put_started(s, inf);
		return;
	}
	/* gdb 13 reads no reason from the answer: its user finds it where the server runs. */
	if (!session_is_lldb(s))
		say("%s", err_text(&err, err.code));
	session_error_from(s, 1, &err);
}

/* A10,0,HEX,4,1,HEX...: the length in hex digits, the place and the text of each word; lengths and places are decimal. */
static size_t take_counted_words(struct session *s, struct args *a, size_t *offsets, size_t max)
{
	size_t n = 0;

	args_accept(a, ' ');
	do {
		size_t at = s->scratch.len;
		uint64_t digits = args_dec_max(a, SESSION_PACKET_MAX);
		args_skip(a, ',');
		uint64_t place = args_dec_max(a, max - 1);
		args_skip(a, ',');
		if (place != n || !args_hex_text(a, &s->scratch) ||
		    (s->scratch.len - at) * 2 != digits)
			args_fail(a);
		buf_putc(&s->scratch, 0);
		offsets[n++] = at;
	} while (args_accept(a, ',') && n < max);
	if (!args_done(a) || buf_error(&s->scratch))
		args_fail(a);
	return args_ok(a) ? n : 0;
}

static void detach_inferior(struct session *s, struct inferior *inf, bool stay)
{
	say("Detaching from process %d", (int)inf->pid);
	if (inf->target->ops->run)
		inf->target->ops->run->detach(inf->target, stay);
	session_drop_inferior(s, inf);
}

void on_launch_words(struct session *s, struct args *a)
{
	struct err err = { 0 };
	size_t *offsets = calloc(WORDS_MAX, sizeof(*offsets));
	size_t n = offsets ? take_counted_words(s, a, offsets, WORDS_MAX) : 0;
	int r = n ? set_program(s, offsets, n) : -EINVAL;

	free(offsets);
	if (!args_ok(a))
		return;
	struct inferior *inf = r == 0 ? launch(s, &err) : NULL;
	if (inf && s->server->opt && s->server->opt->platform) {
		/* A platform starts a program; it debugs none. */
		s->server->opt->platform->launched = (pid_t)inf->pid;
		s->launch_error[0] = 0;
		detach_inferior(s, inf, false);
		reply_ok(&s->reply);
	} else if (inf) {
		session_select(s, inf, threadview_main(inf->view));
		if (session_is_lldb(s))
			session_update_signals(s);
		s->inferiors->last = (struct target_event){ 0 };
		s->launch_error[0] = 0;
		reply_ok(&s->reply);
	} else {
		snprintf(s->launch_error, sizeof(s->launch_error), "%s",
			 r < 0 ? "No program to start" : err_text(&err, -EIO));
		session_error_text(s, 1, "%s", s->launch_error);
	}
}

void on_launch_success(struct session *s, struct args *a)
{
	(void)a;
	if (s->launch_error[0])
		buf_printf(&s->reply, "E%s", s->launch_error);
	else
		reply_ok(&s->reply);
}

static void kill_inferior(struct session *s, struct inferior *inf)
{
	if (inf->target->ops->run)
		inf->target->ops->run->kill(inf->target);
	session_drop_inferior(s, inf);
}

/* No reply: the client asks with '?' next. */
void on_restart(struct session *s, struct args *a)
{
	struct err err = { 0 };

	args_hex_max(a, 255);
	s->quiet = true;
	if (!args_ok(a) || !s->extended)
		return;
	say("GDBserver restarting");
	while (s->inferiors->first)
		kill_inferior(s, s->inferiors->first);
	s->running = false;
	struct inferior *inf = launch(s, &err);
	if (inf)
		session_select(s, inf, threadview_main(inf->view));
	else
		say("cannot restart: %s", err_text(&err, err.code));
}

/* --- attaching --- */

/* Each thread stops and says so by itself. */
static void stop_each(struct session *s, struct inferior *inf)
{
	struct target *t = inf->target;
	pid_t tid = 0;

	(void)s;
	while (t->ops->next_thread(t, tid, &tid) == 0 && tid) {
		struct thread_note *note = inferior_note_make(inf, tid);
		if (note)
			note->stop_asked = true;
		t->ops->run->interrupt(t, tid);
	}
}

/* A signal that the main thread was just about to get is what it is said to have stopped by. */
static void take_signal(struct session *s, const struct target *t)
{
	struct target_event ev;

	if (session_is_lldb(s) || s->tracer->ops->next_untold(s->tracer, &ev) != 1)
		return;
	if (ev.target != t || ev.tid != t->pid || ev.stop.kind != STOP_SIGNAL)
		s->tracer->ops->push_back(s->tracer, &ev);
}

void launch_attach(struct session *s, pid_t pid)
{
	struct err err = { 0 };
	struct target *t;

	if (inferiors_by_pid(s->inferiors, pid)) {
		session_error_text(s, 1, "process %d is being debugged already", (int)pid);
		return;
	}
	struct inferior *inf = inferiors_take_back(s->inferiors, pid);
	if (!inf) {
		if (server_attach(s->server, pid, &t, &err) < 0) {
			session_error_from(s, 1, &err);
			return;
		}
		inf = take_over(s, t);
	} else {
		t = inf->target;
		s->inferiors->begun = inf->pid;
	}
	if (!inf) {
		session_error(s, ENOMEM);
	} else if (s->non_stop) {
		/* gdb asks for the stop when it has learned which registers there are: told before, it makes nothing of them. */
		if (session_is_lldb(s))
			stop_each(s, inf);
		reply_ok(&s->reply);
	} else {
		s->tracer->ops->stop_all(s->tracer);
		take_signal(s, t);
		put_started(s, inf);
	}
}

void on_attach(struct session *s, struct args *a)
{
	args_skip(a, ';');
	pid_t pid = (pid_t)args_hex_max(a, INT32_MAX);
	if (!args_done(a) || !pid)
		args_fail(a);
	else
		launch_attach(s, pid);
}

/* --- leaving --- */

/*
 * "D", "D;pid", lldb's "D1;pid": detach and leave it stopped. With no process named lldb means all there are. A trace experiment that goes
 * on without its client keeps the process, which runs on although the client may stay.
 */
void on_detach(struct session *s, struct args *a)
{
	enum { LLDB_NOT_TRACED = 0xff };
	bool stay = args_accept(a, '1'), all = session_is_lldb(s);
	struct inferior *inf = session_inferior(s);

	if (args_accept(a, ';')) {
		inf = inferiors_by_pid(s->inferiors, (int64_t)args_hex_max(a, INT32_MAX));
		all = false;
	}
	if (!args_done(a) || !inf) {
		if (args_ok(a))
			session_error(s, session_is_lldb(s) ? LLDB_NOT_TRACED : 1);
		else
			args_fail(a);
		return;
	}
	if (tracepoints_outlives_client(inf) && s->tracer->ops->next_alone) {
		say("Disconnected tracing in effect, leaving stopgo attached to the process");
		session_forget_inferior(s, inf);
		inferiors_leave_alone(inf);
		reply_ok(&s->reply);
		return;
	}
	detach_inferior(s, inf, stay);
	while (all && s->inferiors->first)
		detach_inferior(s, s->inferiors->first, stay);
	reply_ok(&s->reply);
}

void on_kill(struct session *s, struct args *a)
{
	args_skip(a, ';');
	struct inferior *inf = inferiors_by_pid(s->inferiors, (int64_t)args_hex_max(a, INT32_MAX));
	if (!args_done(a) || !inf) {
		args_fail(a);
		return;
	}
	kill_inferior(s, inf);
	reply_ok(&s->reply);
}

/* gdb waits for nothing; lldb for the end of each process, which in non-stop comes as all stops do. */
void on_kill_all(struct session *s, struct args *a)
{
	static const struct stop killed = { .kind = STOP_KILLED, .signo = SIGKILL };
	bool tell = s->client.kind != CLIENT_GDB;
	struct inferior *inf;

	(void)a;
	s->running = false;
	say("Killing all inferiors");
	if (tell && s->non_stop) {
		reply_ok(&s->reply);
		session_send_reply(s);
	}
	s->quiet = !tell || s->non_stop || s->inferiors->first;
	if (!s->quiet)
		buf_puts(&s->reply, "X09");
	while ((inf = s->inferiors->first)) {
		if (inf->target->ops->run)
			inf->target->ops->run->kill(inf->target);
		if (tell)
			stops_tell_end(s, inf, &killed);
		session_drop_inferior(s, inf);
	}
}

/* --- what was launched --- */

/* One word so that a shell reads it back as it is. */
static void put_quoted(struct buf *b, const char *word)
{
	static const char plain[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+=:,@%";

	if (word[0] && strspn(word, plain) == strlen(word)) {
		buf_puts(b, word);
		return;
	}
	buf_putc(b, '\'');
	for (; *word; word++) {
		if (*word == '\'')
			buf_puts(b, "'\\''");
		else
			buf_putc(b, (uint8_t)*word);
	}
	buf_putc(b, '\'');
}

void on_exec_and_args(struct session *s, struct args *a)
{
	const struct launching *l = &s->inferiors->launching;

	(void)a;
	if (!l->argv) {
		buf_putc(&s->reply, 'U');
		return;
	}
	for (size_t i = 1; l->argv[i]; i++) {
		if (i > 1)
			buf_putc(&s->scratch, ' ');
		if (l->raw_args)
			buf_puts(&s->scratch, l->argv[i]);
		else
			put_quoted(&s->scratch, l->argv[i]);
	}
	buf_puts(&s->reply, "S;");
	reply_hex_text(&s->reply, l->argv[0]);
	buf_putc(&s->reply, ';');
	reply_hex(&s->reply, s->scratch.data, s->scratch.len);
	buf_putc(&s->reply, ';');
}
