#include "server/stopqueue.h"
#include "base/log.h"
#include "server/conn.h"
#include "server/stops.h"

#include <errno.h>
#include <string.h>

/* child: the process a fork made, or 0. */
int stopqueue_put(struct session *s, struct threadid id, int64_t child, bool final,
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
void stopqueue_give_up(struct session *s)
{
	log_debug(LOG_STOP, "no memory to tell of a stop: the client is let go");
	conn_flush_close(s->conn);
}

/* Announces the first that is queued, unless one was announced and not acknowledged. */
void stopqueue_notify(struct session *s)
{
	if (s->notified || !s->queued)
		return;
	_cleanup_buf_ struct buf note = { 0 };
	buf_init(&note, SESSION_PACKET_MAX);
	buf_puts(&note, "Stop:");
	buf_put(&note, s->queue[0].text, s->queue[0].len);
	if (buf_error(&note)) {
		stopqueue_give_up(s);
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

void stopqueue_acknowledge(struct session *s)
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
	if (buf_error(&text) || stopqueue_put(s, session_id(inf, id), 0, false, &text) < 0)
		stopqueue_give_up(s);
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
void stopqueue_process(struct session *s, struct inferior *inf, int64_t first)
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

void stopqueue_enumerate(struct session *s)
{
	bool anybody = false;

	for (size_t i = s->queued; i-- > 0;)
		if (!s->queue[i].final)
			queue_remove(s, i);
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		int64_t id = 0;
		if (session_is_lldb(s)) {
			stopqueue_process(s, inf, 0);
			continue;
		}
		while (threadview_next(inf->view, id, &id) == 0 && id)
			anybody |= !enumerate_thread(s, inf, id);
	}
	if (anybody)
		s->tracer->ops->commit(s->tracer, false);
	answer_head(s);
}

bool stopqueue_has(const struct session *s, int64_t pid, int64_t id)
{
	for (size_t i = 0; i < s->queued; i++)
		if ((s->queue[i].pid == pid && s->queue[i].id == id && !s->queue[i].final) ||
		    s->queue[i].child == pid)
			return true;
	return false;
}

void stopqueue_forget(struct session *s, int64_t pid)
{
	/* The first was announced and will be acknowledged. */
	size_t first = s->notified ? 1 : 0;

	for (size_t i = s->queued; i-- > first;)
		if (s->queue[i].pid == pid && !s->queue[i].final)
			queue_remove(s, i);
}

void stopqueue_fini(struct session *s)
{
	while (s->queued)
		queue_remove(s, s->queued - 1);
	free(s->queue);
	s->queue = NULL;
	s->queue_room = 0;
	s->notified = false;
}
