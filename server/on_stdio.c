/*
 * on_stdio.c - the program's input and output: where a launch directs them, and through the client when it does not.
 *
 * All-stop: output is an O packet while the client waits for a stop reply, and at no other time. Non-stop: %Stdio notifications, one at
 * a time; what comes until vStdio asks for the next one is put together.
 */
#include <errno.h>

#include "server/conn.h"
#include "server/handlers.h"
#include "server/stdio_pty.h"

enum { WAITING_MAX = 16 * 1024 * 1024 };

struct stdio_queue {
	bool notified; /* vStdio is due */
	/* Bytes there was no room for since, which is told when all that waits has been fetched */
	uint64_t dropped;
	struct buf waiting;
};

static struct stdio_queue *queue_of(struct session *s)
{
	if (!s->stdio) {
		s->stdio = calloc(1, sizeof(*s->stdio));
		if (s->stdio)
			buf_init(&s->stdio->waiting, WAITING_MAX);
	}
	return s->stdio;
}

void output_free(struct session *s)
{
	if (!s->stdio)
		return;
	buf_fini(&s->stdio->waiting);
	free(s->stdio);
	s->stdio = NULL;
}

/* As much of it as one packet takes. */
static void put_front(struct buf *from, struct buf *to)
{
	size_t n = MIN(from->len, (size_t)SESSION_PACKET_MAX / 2 - 16);

	reply_console(to, from->data, n);
	buf_consume(from, n);
}

static void notify(struct session *s, struct stdio_queue *q)
{
	_cleanup_buf_ struct buf b;

	buf_init(&b, SESSION_PACKET_MAX);
	buf_puts(&b, "Stdio:");
	put_front(&q->waiting, &b);
	if (buf_error(&b))
		return;
	q->notified = true;
	conn_notify(s->conn, b.data, b.len);
}

void session_output(struct session *s, const char *text, size_t len)
{
	struct stdio_queue *q;

	if (!s->non_stop) {
		session_chat(s, CHATTER_OUTPUT, text, len);
		return;
	}
	q = queue_of(s);
	if (!q)
		return;
	/* What a client does not fetch is lost in the end, and the program goes on. */
	if (q->dropped || len > WAITING_MAX - q->waiting.len)
		q->dropped += len;
	else
		buf_put(&q->waiting, text, len);
	if (buf_error(&q->waiting))
		buf_reset(&q->waiting);
	else if (!q->notified)
		notify(s, q);
}

void on_vstdio(struct session *s, struct args *a)
{
	struct stdio_queue *q = s->stdio;

	(void)a;
	if (q && q->dropped && !q->waiting.len) {
		buf_printf(&q->waiting,
			   "(%llu bytes that the program printed were dropped: "
			   "the client did not read)\n",
			   (unsigned long long)q->dropped);
		q->dropped = 0;
	}
	if (!s->non_stop) {
		session_error(s, 1);
	} else if (q && q->waiting.len) {
		put_front(&q->waiting, &s->reply);
	} else {
		if (q)
			q->notified = false;
		reply_ok(&s->reply);
	}
}

/* I: what was typed, in hex. */
void on_input(struct session *s, struct args *a)
{
	size_t len = args_hex_bytes(a, &s->scratch);

	if (!args_done(a))
		args_fail(a);
	else if (!s->inferiors->pty || stdio_pty_write(s->inferiors->pty, s->scratch.data, len) < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}

/* --- QSetSTDIN, QSetSTDOUT, QSetSTDERR --- */

static void direct(struct session *s, struct args *a, int which)
{
	args_skip(a, ':');
	const char *path = args_hex_text(a, &s->scratch);
	if (!args_done(a) || !path)
		args_fail(a);
	else if (launching_set_stdio(&s->inferiors->launching, which, path[0] ? path : NULL) < 0)
		session_error(s, ENOMEM);
	else
		reply_ok(&s->reply);
}

void on_set_stdin(struct session *s, struct args *a)
{
	direct(s, a, 0);
}

void on_set_stdout(struct session *s, struct args *a)
{
	direct(s, a, 1);
}

void on_set_stderr(struct session *s, struct args *a)
{
	direct(s, a, 2);
}
