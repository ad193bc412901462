#include "server/stops.h"
#include "base/log.h"
#include "server/conn.h"
#include "server/gofiles.h"
#include "server/gview.h"
#include "server/server.h"
#include "server/stdio_pty.h"
#include "server/stopqueue.h"

#include <errno.h>
#include <limits.h>

static void forget_steps_of(struct inferior *inf)
{
	for (size_t i = 0; i < inf->note_count; i++)
		inf->notes[i].is_doing = false;
}

static void forget_steps(struct inferiors *all)
{
	for (struct inferior *inf = all->first; inf; inf = inf->next)
		forget_steps_of(inf);
}

void stops_settle(struct session *s)
{
	struct target_event ev;

	s->running = s->interrupting = false;
	if (!s->tracer)
		return;
	/* What happened while nobody listened is what '?' shall tell; the rest waits for the next resume. */
	while (!s->inferiors->last.target && s->tracer->ops->next_event(s->tracer, &ev) == 1) {
		if (ev.stop.kind == STOP_EXITED || ev.stop.kind == STOP_KILLED)
			inferiors_unattended(s->inferiors, &ev);
		else if (ev.stop.kind != STOP_NO_RESUMED && ev.stop.kind != STOP_THREAD_EXITED)
			s->inferiors->last = ev, s->inferiors->last_id = 0;
	}
	s->tracer->ops->stop_all(s->tracer);
	forget_steps(s->inferiors);
}

/* --- which events this client hears of --- */

static bool wants_event(const struct session *s, struct inferior *inf,
			const struct target_event *ev)
{
	struct thread_note *note = inferior_note(inf, ev->tid);
	unsigned options = note ? note->options : 0;

	/* The runtime's threads are no news where goroutines are the threads. */
	if (threadview_gview(inf->view) &&
	    (ev->stop.kind == STOP_CLONE || ev->stop.kind == STOP_THREAD_CREATED ||
	     ev->stop.kind == STOP_THREAD_EXITED))
		return false;
	switch (ev->stop.kind) {
	case STOP_FORK: return s->client.fork_events;
	case STOP_VFORK:
	case STOP_VFORK_DONE: return s->client.vfork_events;
	/* lldb and Delve do not ask; they have to start anew all the same. */
	case STOP_EXEC: return s->client.exec_events || session_is_lldb(s);
	case STOP_CLONE: return options & THREAD_OPTION_CLONE;
	case STOP_THREAD_CREATED: return s->thread_events;
	case STOP_THREAD_EXITED: return s->thread_events || options & THREAD_OPTION_EXIT;
	default: return true;
	}
}

static struct target *find_target(struct tracer *tr, pid_t pid)
{
	struct target *t = NULL;
	while ((t = tr->ops->next_target(tr, t)))
		if (t->pid == pid)
			return t;
	return NULL;
}

/* A child nobody asked for goes its own way. */
static void let_child_go(struct tracer *tr, pid_t pid)
{
	struct target *child = find_target(tr, pid);
	if (!child)
		return;
	child->ops->run->detach(child, false);
	child->ops->close(child);
}

static void resume_plain(struct target *t, pid_t tid)
{
	t->ops->run->resume(t, tid, &(struct resume){ .action = RESUME_CONT });
}

/* The thread goes on with what it was asked to do. */
static void go_on(struct session *s, struct inferior *inf, const struct target_event *ev)
{
	struct target *t = ev->target;
	struct thread_note *note = inferior_note(inf, ev->tid);

	if (ev->stop.kind == STOP_THREAD_EXITED) {
		inferior_note_drop(inf, ev->tid);
		/* Nobody is to be resumed, but the others may have been kept back for this news. */
		s->tracer->ops->commit(s->tracer, false);
		return;
	}
	if (ev->stop.kind == STOP_FORK || ev->stop.kind == STOP_VFORK)
		let_child_go(s->tracer, ev->stop.child_pid);
	if (ev->stop.kind == STOP_CLONE)
		resume_plain(t, ev->stop.child_tid);
	if (ev->stop.kind == STOP_EXEC) {
		inferior_execed(inf);
		if (session_is_lldb(s))
			session_update_signals(s);
	}
	threadview_resumed(inf->view);
	if (note && note->is_doing)
		t->ops->run->resume(t, ev->tid, &note->doing);
	else
		resume_plain(t, ev->tid);
	s->tracer->ops->commit(s->tracer, false);
}

/* The new process of a fork becomes an inferior. False: it is gone already. */
static bool adopt_child(struct session *s, struct inferior *parent, pid_t pid)
{
	struct target *t = find_target(s->tracer, pid);
	if (!t)
		return false;
	struct inferior *inf = inferior_of(t) ? inferior_of(t) : inferiors_add(s->inferiors, t);
	if (!inf)
		return false;
	inf->attached = parent->attached;
	inf->fresh = false;
	return true;
}

/* --- reporting --- */

static bool is_end(const struct stop *stop)
{
	return stop->kind == STOP_EXITED || stop->kind == STOP_KILLED;
}

/* A thread stands there, as against one that is no more. */
static bool is_stop(const struct stop *stop)
{
	return !is_end(stop) && stop->kind != STOP_THREAD_EXITED && stop->kind != STOP_NO_RESUMED;
}

static void put_no_resumed(struct session *s, struct inferior *inf, struct buf *b)
{
	struct stop_reply sr = { .kind = STOP_REPLY_NO_RESUMED };

	/* A client that does not know N gets a stop of any thread: it must not wait for ever. */
	if (s->client.no_resumed)
		stop_reply_put(b, &sr, &s->dialect);
	else
		stops_put_state(s, inf, threadview_main(inf->view), b);
}

static void put_event(struct session *s, struct inferior *inf, const struct target_event *ev,
		      int64_t id, struct buf *b)
{
	if (ev->stop.kind == STOP_NO_RESUMED)
		put_no_resumed(s, inf, b);
	else
		stops_put(s, inf, ev->tid, id, &ev->stop, b);
}

static void note_report(struct session *s, struct inferior *inf, const struct target_event *ev,
			int64_t id)
{
	struct thread_note *note = inferior_note(inf, ev->tid);

	if (note)
		note->is_doing = false;
	if (ev->stop.kind == STOP_THREAD_EXITED)
		inferior_note_drop(inf, ev->tid);
	else if (ev->stop.kind != STOP_NO_RESUMED && !is_end(&ev->stop))
		s->inferiors->last = *ev, s->inferiors->last_id = id;
}

static bool has_thread(const struct stop *stop)
{
	return !is_end(stop) && stop->kind != STOP_NO_RESUMED && stop->kind != STOP_THREAD_EXITED;
}

/* Who is meant by an event: the goroutine it is of, else whatever the OS thread is. */
static int64_t id_of_event(struct session *s, struct inferior *inf, const struct target_event *ev,
			   int64_t id)
{
	int64_t wanted = s->general.pid == inf->pid ? s->general.tid : 0;
	const struct thread_note *note = inferior_note(inf, ev->tid);

	if (id || !has_thread(&ev->stop))
		return id ? id : ev->tid;
	/* Who stepped has stepped, whatever the OS thread carries now. */
	if (ev->stop.kind == STOP_STEP && note && note->as &&
	    note->as != threadview_id_of(inf->view, ev->tid)) {
		threadview_keep(inf->view, note->as, ev->tid);
		return note->as;
	}
	if (ev->stop.kind == STOP_INTERRUPT)
		return threadview_interrupted(inf->view, ev->tid, wanted);
	return threadview_id_of(inf->view, ev->tid);
}

static void all_stopped(struct session *s)
{
	s->tracer->ops->stop_all(s->tracer);
	/* What was printed before the stop is shown before it. */
	stdio_pty_drain(s->inferiors->pty);
	stdio_pty_hold(s->inferiors->pty, true);
	s->running = s->interrupting = false;
	s->lists_due = 1;
	forget_steps(s->inferiors);
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		threadview_resumed(inf->view);
		gstep_stopped(inf);
		bpoints_attend(inf);
	}
}

/* gdb has words of its own for what it asked for. */
static void say_syscall(struct session *s, struct inferior *inf, const struct target_event *ev)
{
	_cleanup_buf_ struct buf text = { 0 };

	buf_init(&text, 256);
	catching_describe(inf, &ev->stop, &text);
	if (!text.len)
		return;
	buf_printf(&text, " (thread %d)\n", (int)ev->tid);
	session_console(s, (const char *)text.data, text.len);
}

/* Once, to whom goroutines are shown. */
static void say_stripped(struct session *s, struct inferior *inf)
{
	_cleanup_buf_ struct buf text = { 0 };

	if (inf->files.hinted || s->client.kind != CLIENT_GDB || !threadview_gview(inf->view))
		return;
	inf->files.hinted = true;
	buf_init(&text, PATH_MAX + 256);
	if (gofiles_put_hint(inf, &text) && !buf_error(&text))
		session_console(s, (const char *)text.data, text.len);
}

/* id 0: of whatever thread the OS thread is. */
static void report_all_stop(struct session *s, struct inferior *inf, const struct target_event *ev,
			    int64_t id)
{
	/*
	 * gdb goes on by itself from a stop it did not wait for, and its user's interrupt is still to be answered: as
	 * gdbserver's SIGINT it waits for the next resume.
	 */
	s->interrupt_early = (s->interrupting || s->interrupt_early) &&
			     s->client.kind == CLIENT_GDB && has_thread(&ev->stop) &&
			     ev->stop.kind != STOP_INTERRUPT;
	all_stopped(s);
	session_tell_dropped(s);
	id = id_of_event(s, inf, ev, id);
	if (has_thread(&ev->stop)) {
		threadview_stopped(inf->view, id);
		gstep_say_limit(s, inf);
		say_stripped(s, inf);
		bpoints_say_stop(s, inf, ev->tid, &ev->stop);
		say_syscall(s, inf, ev);
	}
	/* Noted first: who else has a reason to have stopped is told in the reply, too. */
	note_report(s, inf, ev, id);
	buf_reset(&s->reply);
	put_event(s, inf, ev, id, &s->reply);
	if (has_thread(&ev->stop))
		session_select(s, inf, id);
	if (buf_error(&s->reply)) {
		buf_reset(&s->reply);
		reply_error(&s->reply, ENOMEM);
	}
	conn_send(s->conn, s->reply.data, s->reply.len);
	if (is_end(&ev->stop))
		session_drop_inferior(s, inf);
}

static int64_t forked_child(const struct stop *stop)
{
	return stop->kind == STOP_FORK || stop->kind == STOP_VFORK ? stop->child_pid : 0;
}

static void report_non_stop(struct session *s, struct inferior *inf, const struct target_event *ev)
{
	_cleanup_buf_ struct buf text = { 0 };
	bool final = is_end(&ev->stop) || ev->stop.kind == STOP_THREAD_EXITED ||
		     ev->stop.kind == STOP_NO_RESUMED;
	struct threadid id = session_id(inf, threadview_id_of(inf->view, ev->tid));

	stdio_pty_drain(s->inferiors->pty);
	buf_init(&text, SESSION_PACKET_MAX);
	note_report(s, inf, ev, 0);
	put_event(s, inf, ev, id.tid, &text);
	/* What waited to be told of a process that is gone would only confuse. */
	if (is_end(&ev->stop))
		stopqueue_forget(s, inf->pid);
	if (buf_error(&text) || stopqueue_put(s, id, forked_child(&ev->stop), final, &text) < 0)
		stopqueue_give_up(s);
	stopqueue_notify(s);
	if (is_end(&ev->stop))
		session_drop_inferior(s, inf);
}

static void report_process(struct session *s, struct inferior *inf, const struct target_event *ev)
{
	s->tracer->ops->stop_target(s->tracer, inf->target);
	forget_steps_of(inf);
	note_report(s, inf, ev, 0);
	stdio_pty_drain(s->inferiors->pty);
	stopqueue_process(s, inf, threadview_id_of(inf->view, ev->tid));
	stopqueue_notify(s);
}

void stops_tell(struct session *s, struct inferior *inf, int64_t id, const struct stop *stop)
{
	struct target_event ev = { .target = inf->target,
				   .tid = threadview_tid_of(inf->view, id),
				   .stop = *stop };
	report_all_stop(s, inf, &ev, id);
}

void stops_tell_end(struct session *s, struct inferior *inf, const struct stop *stop)
{
	_cleanup_buf_ struct buf text = { 0 };

	buf_init(&text, SESSION_PACKET_MAX);
	stops_put(s, inf, (pid_t)inf->pid, inf->pid, stop, &text);
	if (s->non_stop)
		stopqueue_forget(s, inf->pid);
	if (buf_error(&text) ||
	    (s->non_stop && stopqueue_put(s, session_id(inf, inf->pid), 0, true, &text) < 0)) {
		stopqueue_give_up(s);
	} else if (s->non_stop) {
		stopqueue_notify(s);
	} else {
		conn_send(s->conn, text.data, text.len);
	}
}

/* Nobody else wanted to hear of it. */
static bool is_attended_to(const struct stop *stop)
{
	return stop->unasked && !stop->internal && !stop->number;
}

/* Of one that was let go of to be traced on. */
static void tell_nobody(struct session *s, const struct target_event *ev)
{
	if (ev->stop.kind == STOP_FORK || ev->stop.kind == STOP_VFORK)
		let_child_go(s->tracer, ev->stop.child_pid);
	if (ev->stop.kind == STOP_CLONE)
		resume_plain(ev->target, ev->stop.child_tid);
	if (inferiors_unattended(s->inferiors, ev))
		server_inferior_gone(s->server);
}

void stops_event(struct session *s, const struct target_event *happened)
{
	struct inferior *inf = inferior_of(happened->target);
	struct target_event mine = *happened, *ev = &mine;
	int64_t id = 0;

	if (ev->target->alone) {
		tell_nobody(s, ev);
		return;
	}
	if (!inf)
		inf = inferiors_add(s->inferiors, ev->target);
	if (!inf)
		return;
	log_debug(LOG_STOP, "event %d of thread %d of process %d", ev->stop.kind, ev->tid,
		  inf->pid);
	if (!wants_event(s, inf, ev)) {
		go_on(s, inf, ev);
		return;
	}
	if (ev->stop.attend) {
		bpoints_attend(inf);
		if (is_attended_to(&ev->stop)) {
			go_on(s, inf, ev);
			return;
		}
	}
	if (!is_end(&ev->stop) && gstep_event(s, inf, ev, &id) == GSTEP_DONE)
		return;
	if ((ev->stop.kind == STOP_FORK || ev->stop.kind == STOP_VFORK) &&
	    !adopt_child(s, inf, ev->stop.child_pid)) {
		go_on(s, inf, ev);
		return;
	}
	if (ev->stop.kind == STOP_EXEC) {
		inferior_execed(inf);
		if (session_is_lldb(s))
			session_update_signals(s);
	}
	if (is_end(&ev->stop))
		inferior_say_end(s->inferiors, &ev->stop);
	if (s->non_stop && session_is_lldb(s) && is_stop(&ev->stop))
		report_process(s, inf, ev);
	else if (s->non_stop)
		report_non_stop(s, inf, ev);
	else
		report_all_stop(s, inf, ev, id);
}
