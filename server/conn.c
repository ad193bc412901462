#include "server/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/log.h"
#include "protocol/frame.h"
#include "server/loop.h"

enum {
	INPUT_SIZE = 64 * 1024,
	QUEUE_HIGH = 1024 * 1024, /* unread replies above which nothing more is asked of us */
	FLUSH_MS = 1000,
	LOG_BODY_MAX = 512,
	DRAIN_READS_MAX = 16,
};

enum conn_state {
	CONN_OPEN,
	CONN_FLUSHING, /* writes what is left, reads nothing */
	CONN_BROKEN,   /* closed() is due or was called */
};

struct conn {
	struct loop *loop;
	const struct conn_ops *ops;
	void *ctx;
	int in_fd, out_fd;
	int in_flags, out_flags; /* as they were: stdin may be shared with a shell */
	enum conn_state state;
	bool no_acks;
	bool no_rle;
	bool socket;
	struct frame frame;
	struct buf queue;
	size_t queue_at; /* written up to here */
	struct buf last; /* what '-' repeats; unused without acks */
	struct watch readable;
	struct watch writable;
	struct timer closing;
	char why[128];
	uint8_t input[INPUT_SIZE];
};

static void on_readable(void *ctx, unsigned events);
static void on_writable(void *ctx, unsigned events);

static size_t unwritten(const struct conn *c)
{
	return c->queue.len - c->queue_at;
}

/* ---- log ---- */

static void log_body(const char *direction, const uint8_t *body, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char text[LOG_BODY_MAX + 8];
	size_t at = 0, i = 0;

	for (; i < len && at < LOG_BODY_MAX; i++) {
		if (body[i] >= 0x20 && body[i] < 0x7f && body[i] != '\\') {
			text[at++] = (char)body[i];
			continue;
		}
		text[at++] = '\\';
		text[at++] = 'x';
		text[at++] = digits[body[i] >> 4];
		text[at++] = digits[body[i] & 15];
	}
	text[at] = 0;
	if (i < len)
		log_write(LOG_PACKET, "%s $%s... (%zu bytes)", direction, text, len);
	else
		log_write(LOG_PACKET, "%s $%s", direction, text);
}

/* ---- the end ---- */

static void on_closing(void *ctx)
{
	struct conn *c = ctx;

	c->state = CONN_BROKEN;
	watch_stop(&c->readable);
	watch_stop(&c->writable);
	c->ops->closed(c->ctx, c->why); /* may free c */
}

/* From now on nothing is read or written; closed() follows in the next turn of the loop. */
static void break_conn(struct conn *c, const char *why)
{
	if (c->state == CONN_BROKEN)
		return;
	c->state = CONN_BROKEN;
	snprintf(c->why, sizeof(c->why), "%s", why);
	watch_stop(&c->readable);
	watch_stop(&c->writable);
	timer_start(c->loop, &c->closing, 0, on_closing, c);
}

/* ---- writing ---- */

static int flush(struct conn *c)
{
	while (unwritten(c)) {
		ssize_t n = write(c->out_fd, c->queue.data + c->queue_at, unwritten(c));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (!c->writable.loop)
				watch_start(c->loop, &c->writable, c->out_fd, LOOP_WRITE,
					    on_writable, c);
			return 0;
		}
		if (n < 0) {
			int r = -errno;
			break_conn(c, strerror(-r));
			return r;
		}
		c->queue_at += (size_t)n;
	}
	buf_reset(&c->queue);
	c->queue_at = 0;
	watch_stop(&c->writable);
	return 0;
}

/* Room is taken from the front once half of the queue has been written, so that the queue's maximum means what is unread. */
static void compact(struct conn *c)
{
	if (c->queue_at && c->queue_at >= c->queue.len / 2) {
		buf_consume(&c->queue, c->queue_at);
		c->queue_at = 0;
	}
}

static int put(struct conn *c, const void *data, size_t len)
{
	if (c->state == CONN_BROKEN)
		return -EPIPE;
	compact(c);
	buf_put(&c->queue, data, len);
	return 0;
}

/* Writes what was put, unless more of it waits already. */
static int push(struct conn *c)
{
	int r = buf_error(&c->queue);
	if (r < 0) {
		break_conn(c, "the client does not read");
		return r;
	}
	return c->writable.loop ? 0 : flush(c);
}

static int send_framed(struct conn *c, const uint8_t *body, size_t len, unsigned flags)
{
	if (c->state == CONN_BROKEN)
		return -EPIPE;
	if (log_on(LOG_PACKET))
		log_body(flags & FRAME_NOTIFY ? "<- %" : "<-", body, len);

	compact(c);
	size_t start = c->queue.len;
	frame_encode(&c->queue, body, len, flags);
	if (!c->no_acks && !(flags & FRAME_NOTIFY) && !buf_error(&c->queue)) {
		buf_reset(&c->last);
		buf_put(&c->last, c->queue.data + start, c->queue.len - start);
	}
	return push(c);
}

int conn_send(struct conn *c, const uint8_t *body, size_t len)
{
	return send_framed(c, body, len, c->no_rle ? 0 : FRAME_RUNS);
}

int conn_notify(struct conn *c, const uint8_t *body, size_t len)
{
	return send_framed(c, body, len, FRAME_NOTIFY);
}

static void send_ack(struct conn *c, const char *ack)
{
	if (!c->no_acks && !put(c, ack, 1))
		push(c);
}

static void repeat_last(struct conn *c)
{
	if (c->last.len && !put(c, c->last.data, c->last.len))
		push(c);
}

/* ---- reading ---- */

static void too_long(struct conn *c)
{
	char text[8];
	int len = snprintf(text, sizeof(text), "E%02x", EMSGSIZE);
	log_debug(LOG_FRAME, "a packet above %d bytes was refused", FRAME_BODY_MAX);
	send_ack(c, "+");
	conn_send(c, (const uint8_t *)text, (size_t)len);
}

static void take_packet(struct conn *c, uint8_t *body, size_t len)
{
	if (log_on(LOG_PACKET))
		log_body("->", body, len);
	send_ack(c, "+");
	if (c->state == CONN_OPEN)
		c->ops->packet(c->ctx, body, len);
}

static void take_event(struct conn *c, enum frame_event event, uint8_t *body, size_t len)
{
	switch (event) {
	case FRAME_MORE:
	case FRAME_ACK: break;
	case FRAME_PACKET: take_packet(c, body, len); break;
	case FRAME_NAK: repeat_last(c); break;
	case FRAME_TOO_LONG: too_long(c); break;
	case FRAME_BAD:
		log_debug(LOG_FRAME, "a packet with a wrong checksum: asking for it again");
		send_ack(c, "-");
		break;
	case FRAME_INTERRUPT:
		log_debug(LOG_PACKET, "-> \\x03");
		c->ops->interrupt(c->ctx);
		break;
	case FRAME_NOISE:
		/* On a serial line noise is noise; on a socket it is somebody who speaks another protocol. */
		if (c->socket)
			break_conn(c, "what arrived is not the remote protocol");
		break;
	}
}

/* Serves what has been received, as long as the client reads its replies. */
static void serve(struct conn *c)
{
	enum frame_event event = FRAME_ACK;

	while (c->state == CONN_OPEN && event != FRAME_MORE && unwritten(c) <= QUEUE_HIGH) {
		uint8_t *body = NULL;
		size_t len = 0;
		event = frame_next(&c->frame, &body, &len);
		take_event(c, event, body, len);
	}
	if (c->state != CONN_OPEN)
		return;
	if (unwritten(c) > QUEUE_HIGH)
		watch_stop(&c->readable);
	else if (!c->readable.loop)
		watch_start(c->loop, &c->readable, c->in_fd, LOOP_READ, on_readable, c);
}

static void on_readable(void *ctx, unsigned events _unused_)
{
	struct conn *c = ctx;
	ssize_t n = read(c->in_fd, c->input, sizeof(c->input));

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		const char *why = n < 0                         ? strerror(errno)
				  : frame_is_partial(&c->frame) ? "end in the middle of a packet"
								: "end";
		break_conn(c, why);
		return;
	}
	if (frame_push(&c->frame, c->input, (size_t)n) < 0) {
		break_conn(c, "out of memory");
		return;
	}
	serve(c);
}

static void on_writable(void *ctx, unsigned events _unused_)
{
	struct conn *c = ctx;

	if (flush(c) < 0)
		return;
	if (c->state == CONN_FLUSHING && !unwritten(c))
		timer_start(c->loop, &c->closing, 0, on_closing, c);
	else if (c->state == CONN_OPEN && !c->readable.loop)
		serve(c);
}

/* ---- life ---- */

static int make_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	return flags;
}

static bool is_socket(int fd)
{
	int type;
	socklen_t len = sizeof(type);
	return !getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len);
}

struct conn *conn_new(struct loop *loop, int in_fd, int out_fd, const struct conn_ops *ops,
		      void *ctx)
{
	struct conn *c = malloc(sizeof(*c));
	if (!c) {
		close(in_fd);
		if (out_fd != in_fd)
			close(out_fd);
		return NULL;
	}
	memset(c, 0, offsetof(struct conn, input));
	c->loop = loop;
	c->ops = ops;
	c->ctx = ctx;
	c->in_fd = in_fd;
	c->out_fd = out_fd;
	c->in_flags = make_nonblocking(in_fd);
	c->out_flags = in_fd == out_fd ? c->in_flags : make_nonblocking(out_fd);
	c->socket = is_socket(in_fd);
	frame_init(&c->frame);
	buf_init(&c->queue, CONN_QUEUE_MAX);
	buf_init(&c->last, CONN_QUEUE_MAX);
	watch_start(loop, &c->readable, in_fd, LOOP_READ, on_readable, c);
	return c;
}

/* Closing a socket with unread bytes in it resets the connection, which can cost the client our last words. */
static void close_gently(struct conn *c)
{
	if (c->socket) {
		shutdown(c->out_fd, SHUT_WR);
		for (int i = 0; i < DRAIN_READS_MAX; i++) {
			if (read(c->in_fd, c->input, sizeof(c->input)) <= 0)
				break;
		}
	} else {
		if (c->in_flags >= 0)
			(void)fcntl(c->in_fd, F_SETFL, c->in_flags);
		if (c->out_flags >= 0)
			(void)fcntl(c->out_fd, F_SETFL, c->out_flags);
	}
	close(c->in_fd);
	if (c->out_fd != c->in_fd)
		close(c->out_fd);
}

void conn_free(struct conn *c)
{
	if (!c)
		return;
	watch_stop(&c->readable);
	watch_stop(&c->writable);
	timer_stop(&c->closing);
	close_gently(c);
	frame_fini(&c->frame);
	buf_fini(&c->queue);
	buf_fini(&c->last);
	free(c);
}

void conn_set_no_ack(struct conn *c)
{
	c->no_acks = true;
	frame_set_acks(&c->frame, false);
	buf_reset(&c->last);
}

void conn_set_rle(struct conn *c, bool on)
{
	c->no_rle = !on;
}

void conn_flush_close(struct conn *c)
{
	if (c->state != CONN_OPEN)
		return;
	c->state = CONN_FLUSHING;
	snprintf(c->why, sizeof(c->why), "closed by the server");
	watch_stop(&c->readable);
	timer_start(c->loop, &c->closing, unwritten(c) ? FLUSH_MS : 0, on_closing, c);
}

size_t conn_unread(const struct conn *c)
{
	return unwritten(c);
}

bool conn_peer_gone(const struct conn *c)
{
	struct pollfd p = { .fd = c->in_fd, .events = POLLRDHUP };
	return c->state == CONN_BROKEN ||
	       (poll(&p, 1, 0) == 1 && p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Nothing else is sent by a client that waits for a reply; where nobody can look ahead, any byte is the one. */
bool conn_calls(const struct conn *c)
{
	struct pollfd p = { .fd = c->in_fd, .events = POLLIN | POLLRDHUP };
	uint8_t next[256];

	if (conn_peer_gone(c))
		return true;
	if (poll(&p, 1, 0) != 1)
		return false;
	if (!c->socket)
		return true;
	ssize_t n = recv(c->in_fd, next, sizeof(next), MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n > 0 && memchr(next, 0x03, (size_t)n));
}
