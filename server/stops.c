#include "server/stops.h"
#include "base/log.h"
#include "protocol/signals.h"
#include "server/conn.h"
#include "server/gofiles.h"
#include "server/gview.h"
#include "server/lldbstop.h"
#include "server/packets.h"
#include "server/server.h"
#include "server/stdio_pty.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

static const uint8_t reasons[] = {
	[STOP_NONE] = STOP_REASON_NONE,
	[STOP_INTERRUPT] = STOP_REASON_SIGNAL,
	[STOP_SIGNAL] = STOP_REASON_SIGNAL,
	[STOP_STEP] = STOP_REASON_TRACE,
	[STOP_SWBREAK] = STOP_REASON_SWBREAK,
	[STOP_HWBREAK] = STOP_REASON_HWBREAK,
	[STOP_FORK] = STOP_REASON_FORK,
	[STOP_VFORK] = STOP_REASON_VFORK,
	[STOP_VFORK_DONE] = STOP_REASON_VFORK_DONE,
	[STOP_CLONE] = STOP_REASON_CLONE,
	[STOP_EXEC] = STOP_REASON_EXEC,
	[STOP_SYSCALL_ENTRY] = STOP_REASON_SYSCALL_ENTRY,
	[STOP_SYSCALL_RETURN] = STOP_REASON_SYSCALL_RETURN,
	[STOP_THREAD_CREATED] = STOP_REASON_CREATE,
	[STOP_NO_RESUMED] = STOP_REASON_NONE,
};

static enum stop_reply_reason watch_reason(enum point_kind kind)
{
	switch (kind) {
	case POINT_READ: return STOP_REASON_RWATCH;
	case POINT_ACCESS: return STOP_REASON_AWATCH;
	default: return STOP_REASON_WATCH;
	}
}

static void describe_end(const struct stop *stop, struct stop_reply *sr)
{
	switch (stop->kind) {
	case STOP_EXITED:
		sr->kind = STOP_REPLY_EXITED;
		sr->status = stop->status;
		break;
	case STOP_KILLED:
		sr->kind = STOP_REPLY_SIGNALED;
		sr->signal = signals_to_gdb(stop->signo);
		break;
	case STOP_THREAD_EXITED:
		sr->kind = STOP_REPLY_THREAD_EXITED;
		sr->status = stop->status;
		break;
	default: break;
	}
}

struct stop_reply stops_describe(struct inferior *inf, int64_t id, const struct stop *stop,
				 bool stop_asked)
{
	struct stop_reply sr = {
		.kind = STOP_REPLY_STOPPED,
		.signal = SIGNALS_TRAP,
		.thread = session_id(inf, id),
		.core = -1,
	};

	switch (stop->kind) {
	case STOP_EXITED:
	case STOP_KILLED:
	case STOP_THREAD_EXITED: describe_end(stop, &sr); return sr;
	case STOP_NONE:
	case STOP_NO_RESUMED: sr.signal = SIGNALS_NONE; break;
	case STOP_INTERRUPT: sr.signal = stop_asked ? SIGNALS_NONE : SIGNALS_INT; break;
	case STOP_SIGNAL: sr.signal = signals_to_gdb(stop->signo); break;
	default: break;
	}
	sr.reason = stop->kind == STOP_WATCH ? watch_reason(stop->watch) : reasons[stop->kind];
	/* gdb looks for the instruction at the pc when it is told swbreak, and the pc is behind a trap of the program's own. */
	if (stop->kind == STOP_SWBREAK && (stop->own || stop->unasked))
		sr.reason = STOP_REASON_TRAP;
	/* From a watchpoint that it does not know gdb goes on without a word. */
	if (stop->kind == STOP_WATCH && stop->unasked)
		sr.reason = STOP_REASON_TRAP;
	sr.addr = stop->kind == STOP_WATCH ? gwatch_shown(inf, stop->addr) : stop->addr;
	sr.point = stop->point;
	sr.number = (uint64_t)stop->syscall;
	if (stop->kind == STOP_FORK || stop->kind == STOP_VFORK)
		sr.child = (struct threadid){ stop->child_pid, stop->child_pid };
	if (stop->kind == STOP_CLONE)
		sr.child = session_id(inf, threadview_id_of(inf->view, stop->child_tid));
	return sr;
}

/* --disable-packet=T and Tthread, for clients' own tests of old stubs. */
static void apply_disabled(struct buf *b, size_t start)
{
	unsigned off = packets_disabled();

	if (buf_error(b) || b->len < start + 3 || b->data[start] != 'T')
		return;
	uint8_t *text = b->data + start;
	size_t len = b->len - start;
	if (off & PACKETS_NO_T) {
		text[0] = 'S';
		b->len = start + 3;
	} else if (off & PACKETS_NO_TTHREAD) {
		uint8_t *from = memmem(text, len, "thread:", 7);
		uint8_t *end = from ? memchr(from, ';', (size_t)(text + len - from)) : NULL;
		if (!end)
			return;
		memmove(from, end + 1, (size_t)(text + len - (end + 1)));
		b->len -= (size_t)(end + 1 - from);
	}
}

struct expedited {
	struct stop_reply_reg regs[3];
	uint8_t bytes[3][8];
	size_t count;
};

/* The registers a client needs to know which frame it looks at; without them it would ask. */
static void expedite(struct session *s, struct inferior *inf, int64_t id, struct expedited *e)
{
	static const enum tdesc_id ids[] = { TDESC_RBP, TDESC_RSP, TDESC_RIP };
	static const unsigned ours[] = { X86_RBP, X86_RSP, X86_RIP };
	struct view_regs r;

	e->count = 0;
	if (view_regs_begin(&r, inf->view, id) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		const struct tdesc_reg *reg = tdesc_by_id(&s->regs.tdesc, ids[i]);
		if (!reg || view_regs_get(&r, ours[i], e->bytes[i]) < 0)
			continue;
		e->regs[e->count++] = (struct stop_reply_reg){ reg->number, e->bytes[i], 8 };
	}
}

/* The processor is read from /proc: not at each of a hundred thousand single steps, but at the end of those that make a line. */
static bool tells_core(struct inferior *inf, int64_t id, enum stop_reply_reason reason)
{
	if (reason != STOP_REASON_TRACE)
		return true;
	pid_t tid = threadview_tid_of(inf->view, id);
	const struct thread_note *note = tid ? inferior_note(inf, tid) : NULL;
	return note && note->doing.action == RESUME_RANGE;
}

static void put_stopped(struct session *s, struct inferior *inf, int64_t id, struct stop_reply *sr,
			struct buf *b)
{
	struct expedited e;
	struct view_thread about;
	char path[PATH_MAX];
	size_t start = b->len;

	expedite(s, inf, id, &e);
	sr->regs = e.regs;
	sr->nregs = e.count;
	if (tells_core(inf, id, sr->reason) && threadview_describe(inf->view, id, &about) == 0)
		sr->core = about.core;
	if (sr->reason == STOP_REASON_EXEC) {
		if (inf->target->ops->exe_path(inf->target, path, sizeof(path)) < 0)
			path[0] = 0;
		sr->path = path;
	}
	stop_reply_put(b, sr, &s->dialect);
	apply_disabled(b, start);
}

static void put_stop(struct session *s, struct inferior *inf, pid_t tid, int64_t id,
		     const struct stop *stop, struct buf *b)
{
	struct thread_note *note = inferior_note(inf, tid);
	struct stop_reply sr = stops_describe(inf, id, stop, note && note->stop_asked);

	if (catching_only_own(inf, stop))
		sr.reason = STOP_REASON_TRAP;
	/* gdb takes a SIGTRAP where it has a breakpoint for that one, and runs on when its condition is false. */
	if (bpoints_hides(inf, tid, stop)) {
		sr.signal = SIGNALS_INT;
		sr.reason = STOP_REASON_SIGNAL;
	}
	if (sr.kind == STOP_REPLY_STOPPED && session_is_lldb(s))
		lldbstop_put(s, inf, id, stop, LLDBSTOP_ALL, b);
	else if (sr.kind == STOP_REPLY_STOPPED)
		put_stopped(s, inf, id, &sr, b);
	else
		stop_reply_put(b, &sr, &s->dialect);
}

void stops_put(struct session *s, struct inferior *inf, pid_t tid, const struct stop *stop,
	       struct buf *b)
{
	put_stop(s, inf, tid, threadview_id_of(inf->view, tid), stop, b);
}

static bool is_birth(const struct stop *stop)
{
	switch (stop->kind) {
	case STOP_FORK:
	case STOP_VFORK:
	case STOP_VFORK_DONE:
	case STOP_CLONE:
	case STOP_EXEC: return true;
	default: return false;
	}
}

void stops_put_state(struct session *s, struct inferior *inf, int64_t id, struct buf *b)
{
	const struct target_run_ops *run = inf->target->ops->run;
	pid_t tid = threadview_tid_of(inf->view, id);
	struct thread_note *note = tid ? inferior_note(inf, tid) : NULL;
	struct stop stop = { 0 };

	if (session_is_lldb(s)) {
		lldbstop_put(s, inf, id, NULL, LLDBSTOP_ALL | (s->non_stop ? 0 : LLDBSTOP_FIRST),
			     b);
		return;
	}
	if (tid && run && run->last_stop(inf->target, tid, &stop) < 0)
		stop = (struct stop){ 0 };
	/* Births are no state: told of one that it followed before, or of the exec of a program just started, gdb follows it again. */
	bool plain = inf->fresh || is_birth(&stop);
	if (plain)
		stop = (struct stop){ 0 };
	struct stop_reply sr = stops_describe(inf, id, &stop, note && note->stop_asked);
	if (plain)
		sr.signal = SIGNALS_TRAP;
	put_stopped(s, inf, id, &sr, b);
}

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

/* --- non-stop: the queue --- */

/* child: the process a fork made, or 0. */
static int queue_put(struct session *s, struct threadid id, int64_t child, bool final,
		     const struct buf *text)
{
	if (s->queued == s->queue_room) {
		size_t room = s->queue_room ? s->queue_room * 2 : 16;
		struct queued_stop *q = realloc(s->queue, room * sizeof(*q));
		if (!q)
			return -ENOMEM;
		s->queue = q;
		s->queue_room = room;
	}
	char *copy = malloc(text->len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, text->data, text->len);
	s->queue[s->queued++] =
		(struct queued_stop){ id.pid, id.tid, child, final, copy, text->len };
	return 0;
}

static void queue_remove(struct session *s, size_t i)
{
	free(s->queue[i].text);
	s->queued--;
	memmove(&s->queue[i], &s->queue[i + 1], (s->queued - i) * sizeof(*s->queue));
}

/* A client that cannot be told of a stop would wait for ever: it hears that we are gone, and the next one hears of the stop. */
static void give_up(struct session *s)
{
	log_debug(LOG_STOP, "no memory to tell of a stop: the client is let go");
	conn_flush_close(s->conn);
}

/* Announces the first that is queued, unless one was announced and not acknowledged. */
static void notify(struct session *s)
{
	if (s->notified || !s->queued)
		return;
	_cleanup_buf_ struct buf note = { 0 };
	buf_init(&note, SESSION_PACKET_MAX);
	buf_puts(&note, "Stop:");
	buf_put(&note, s->queue[0].text, s->queue[0].len);
	if (buf_error(&note)) {
		give_up(s);
		return;
	}
	s->notified = true;
	conn_notify(s->conn, note.data, note.len);
}

static void answer_head(struct session *s)
{
	s->notified = s->queued > 0;
	if (s->notified)
		buf_put(&s->reply, s->queue[0].text, s->queue[0].len);
	else
		reply_ok(&s->reply);
}

void stops_acknowledge(struct session *s)
{
	if (s->notified && s->queued)
		queue_remove(s, 0);
	answer_head(s);
}

/*
 * A thread that stands still only because everybody was stopped when the client came. In non-stop it
 * runs, as with gdbserver; gdb 13 aborts on a connection that begins with several stops.
 */
static bool let_run(struct inferior *inf, int64_t id)
{
	struct target *t = inf->target;
	struct stop stop;
	pid_t tid = threadview_tid_of(inf->view, id);

	return t->ops->run && tid && id != threadview_main(inf->view) &&
	       t->ops->run->last_stop(t, tid, &stop) == 0 && stop.kind == STOP_NONE &&
	       t->ops->run->resume(t, tid, &(struct resume){ .action = RESUME_CONT }) == 0;
}

static void queue_state(struct session *s, struct inferior *inf, int64_t id)
{
	struct view_thread about;
	_cleanup_buf_ struct buf text = { 0 };

	if (threadview_describe(inf->view, id, &about) < 0 || !about.stopped)
		return;
	buf_init(&text, SESSION_PACKET_MAX);
	stops_put_state(s, inf, id, &text);
	if (buf_error(&text) || queue_put(s, session_id(inf, id), 0, false, &text) < 0)
		give_up(s);
}

/* false: it was let run instead. */
static bool enumerate_thread(struct session *s, struct inferior *inf, int64_t id)
{
	struct view_thread about;

	if (threadview_describe(inf->view, id, &about) < 0 || !about.stopped)
		return true;
	if (let_run(inf, id))
		return false;
	queue_state(s, inf, id);
	return true;
}

/*
 * lldb's non-stop, which is lldb-server's: a process stops as a whole, and every thread of it is told of, the one with the event
 * first. That one is `first`; 0: the one reported last, or the first there is.
 */
static void queue_process(struct session *s, struct inferior *inf, int64_t first)
{
	int64_t id = 0;

	if (!first && s->inferiors->last.target == inf->target)
		first = threadview_id_of(inf->view, s->inferiors->last.tid);
	if (!threadview_alive(inf->view, first))
		first = threadview_main(inf->view);
	queue_state(s, inf, first);
	while (threadview_next(inf->view, id, &id) == 0 && id)
		if (id != first)
			queue_state(s, inf, id);
}

void stops_enumerate(struct session *s)
{
	bool anybody = false;

	for (size_t i = s->queued; i-- > 0;)
		if (!s->queue[i].final)
			queue_remove(s, i);
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		int64_t id = 0;
		if (session_is_lldb(s)) {
			queue_process(s, inf, 0);
			continue;
		}
		while (threadview_next(inf->view, id, &id) == 0 && id)
			anybody |= !enumerate_thread(s, inf, id);
	}
	if (anybody)
		s->tracer->ops->commit(s->tracer, false);
	answer_head(s);
}

bool stops_is_queued(const struct session *s, int64_t pid, int64_t id)
{
	for (size_t i = 0; i < s->queued; i++)
		if ((s->queue[i].pid == pid && s->queue[i].id == id && !s->queue[i].final) ||
		    s->queue[i].child == pid)
			return true;
	return false;
}

void stops_forget(struct session *s, int64_t pid)
{
	/* The first was announced and will be acknowledged. */
	size_t first = s->notified ? 1 : 0;

	for (size_t i = s->queued; i-- > first;)
		if (s->queue[i].pid == pid && !s->queue[i].final)
			queue_remove(s, i);
}

void stops_fini(struct session *s)
{
	while (s->queued)
		queue_remove(s, s->queued - 1);
	free(s->queue);
	s->queue = NULL;
	s->queue_room = 0;
	s->notified = false;
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
		put_stop(s, inf, ev->tid, id, &ev->stop, b);
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
	id = id_of_event(s, inf, ev, id);
	if (has_thread(&ev->stop)) {
		threadview_stopped(inf->view, id);
		gstep_say_limit(s, inf);
		say_stripped(s, inf);
		bpoints_say_stop(s, inf, ev->tid, &ev->stop);
		say_syscall(s, inf, ev);
	}
	buf_reset(&s->reply);
	put_event(s, inf, ev, id, &s->reply);
	note_report(s, inf, ev, id);
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
	put_event(s, inf, ev, id.tid, &text);
	note_report(s, inf, ev, 0);
	/* What waited to be told of a process that is gone would only confuse. */
	if (is_end(&ev->stop))
		stops_forget(s, inf->pid);
	if (buf_error(&text) || queue_put(s, id, forked_child(&ev->stop), final, &text) < 0)
		give_up(s);
	notify(s);
	if (is_end(&ev->stop))
		session_drop_inferior(s, inf);
}

static void report_process(struct session *s, struct inferior *inf, const struct target_event *ev)
{
	s->tracer->ops->stop_target(s->tracer, inf->target);
	forget_steps_of(inf);
	note_report(s, inf, ev, 0);
	stdio_pty_drain(s->inferiors->pty);
	queue_process(s, inf, threadview_id_of(inf->view, ev->tid));
	notify(s);
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
	put_stop(s, inf, (pid_t)inf->pid, inf->pid, stop, &text);
	if (s->non_stop)
		stops_forget(s, inf->pid);
	if (buf_error(&text) ||
	    (s->non_stop && queue_put(s, session_id(inf, inf->pid), 0, true, &text) < 0)) {
		give_up(s);
	} else if (s->non_stop) {
		notify(s);
	} else {
		conn_send(s->conn, text.data, text.len);
	}
}

/* Nobody else wanted to hear of it. */
static bool is_attended_to(const struct stop *stop)
{
	return stop->unasked && !stop->internal && !stop->number;
}

void stops_event(struct session *s, const struct target_event *happened)
{
	struct inferior *inf = inferior_of(happened->target);
	struct target_event mine = *happened, *ev = &mine;
	int64_t id = 0;

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
