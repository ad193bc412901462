#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "protocol/frame.h"
#include "server/conn.h"
#include "server/loop.h"

struct client {
	struct loop *loop;
	struct conn *conn;
	int fd; /* the client's end */
	int packets, interrupts, closes;
	char body[256];
	char why[128];
	size_t len;
	/* What to do in packet(). */
	const char *reply;
	size_t reply_len;
	bool no_ack, close_after;
};

static void on_packet(void *ctx, uint8_t *body, size_t len)
{
	struct client *s = ctx;
	s->packets++;
	s->len = len;
	memcpy(s->body, body, len < sizeof(s->body) ? len : sizeof(s->body));
	s->body[len < sizeof(s->body) ? len : sizeof(s->body) - 1] = 0;
	if (s->reply)
		conn_send(s->conn, (const uint8_t *)s->reply, s->reply_len);
	if (s->no_ack)
		conn_set_no_ack(s->conn);
	if (s->close_after)
		conn_flush_close(s->conn);
}

static void on_interrupt(void *ctx)
{
	((struct client *)ctx)->interrupts++;
}

static void on_closed(void *ctx, const char *why)
{
	struct client *s = ctx;
	s->closes++;
	snprintf(s->why, sizeof(s->why), "%s", why);
	conn_free(s->conn);
	s->conn = NULL;
}

static const struct conn_ops ops = { .packet = on_packet,
				     .interrupt = on_interrupt,
				     .closed = on_closed };

static void setup(struct client *s, const char *reply)
{
	int fd[2];
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	assert_int_equal(fcntl(fd[1], F_SETFL, O_NONBLOCK), 0);
	*s = (struct client){ .loop = loop_new(),
			      .fd = fd[1],
			      .reply = reply,
			      .reply_len = reply ? strlen(reply) : 0 };
	s->conn = conn_new(s->loop, fd[0], fd[0], &ops, s);
	assert_non_null(s->conn);
}

static void teardown(struct client *s)
{
	conn_free(s->conn);
	close(s->fd);
	loop_free(s->loop);
}

static void turn(struct client *s)
{
	for (int i = 0; i < 4; i++)
		loop_once(s->loop, false);
}

static void say_bytes(struct client *s, const char *bytes)
{
	assert_int_equal(write(s->fd, bytes, strlen(bytes)), (ssize_t)strlen(bytes));
	turn(s);
}

static void hear(struct client *s, const char *expected)
{
	char got[1024];
	ssize_t n = read(s->fd, got, sizeof(got) - 1);
	got[n > 0 ? n : 0] = 0;
	assert_string_equal(got, expected);
}

static void acknowledges_and_repeats(void **state _unused_)
{
	struct client s;
	setup(&s, "OK");
	say_bytes(&s, "+$qC#b4");
	assert_string_equal(s.body, "qC");
	hear(&s, "+$OK#9a");
	say_bytes(&s, "-");
	hear(&s, "$OK#9a");
	say_bytes(&s, "$qC#00");
	hear(&s, "-");
	assert_int_equal(s.packets, 1);
	say_bytes(&s, "\x03\x03");
	assert_int_equal(s.interrupts, 2);
	teardown(&s);
}

static void without_acks_nothing_but_replies(void **state _unused_)
{
	struct client s;
	setup(&s, "OK");
	s.no_ack = true;
	say_bytes(&s, "+$QStartNoAckMode#b0");
	hear(&s, "+$OK#9a");
	say_bytes(&s, "+$qC#zz+-");
	hear(&s, "$OK#9a");
	assert_int_equal(s.packets, 2);
	conn_notify(s.conn, (const uint8_t *)"Stop:T00", 8);
	hear(&s, "%Stop:T00#94");
	teardown(&s);
}

static void packets_may_come_in_pieces_and_in_heaps(void **state _unused_)
{
	struct client s;
	setup(&s, NULL);
	const char *text = "$qC#b4$m1}\x03,4#7e\x03";
	for (size_t i = 0; text[i]; i++)
		say_bytes(&s, (char[]){ text[i], 0 });
	assert_int_equal(s.packets, 2);
	assert_string_equal(s.body, "m1#,4");
	assert_int_equal(s.interrupts, 1);
	hear(&s, "++");
	say_bytes(&s, "$a#61$b#62$c#63");
	assert_int_equal(s.packets, 5);
	teardown(&s);
}

static void runs_can_be_switched_off(void **state _unused_)
{
	struct client s;
	setup(&s, "00000000");
	say_bytes(&s, "$g#67");
	hear(&s, "+$0*\"00#dc");
	conn_set_rle(s.conn, false);
	say_bytes(&s, "$g#67");
	hear(&s, "+$00000000#80");
	teardown(&s);
}

static void an_end_is_told_once_and_from_the_loop(void **state _unused_)
{
	struct client s;
	setup(&s, NULL);
	say_bytes(&s, "$qC#b4$half");
	shutdown(s.fd, SHUT_WR);
	turn(&s);
	assert_int_equal(s.closes, 1);
	assert_string_equal(s.why, "end in the middle of a packet");
	teardown(&s);

	setup(&s, NULL);
	close(s.fd);
	/* A write that fails inside a handler must not take the connection away under it. */
	assert_int_equal(conn_send(s.conn, (const uint8_t *)"OK", 2), -EPIPE);
	assert_int_equal(s.closes, 0);
	assert_int_equal(conn_send(s.conn, (const uint8_t *)"OK", 2), -EPIPE);
	turn(&s);
	assert_int_equal(s.closes, 1);
	s.fd = -1;
	teardown(&s);
}

static void another_protocol_is_hung_up_on(void **state _unused_)
{
	struct client s;
	setup(&s, NULL);
	say_bytes(&s, "GET / HTTP/1.1\r\n\r\n$qC#b4");
	assert_int_equal(s.closes, 1);
	assert_int_equal(s.packets, 0);
	hear(&s, "");
	teardown(&s);
}

static void flushes_before_it_closes(void **state _unused_)
{
	struct client s;
	setup(&s, "X09");
	s.close_after = true;
	say_bytes(&s, "$k#6b$qC#b4");
	assert_int_equal(s.packets, 1);
	assert_int_equal(s.closes, 1);
	hear(&s, "+$X09#c1");
	teardown(&s);
}

/* A client that asks and does not read is not served further, and loses nothing when it reads again. */
static void a_slow_reader_is_waited_for(void **state _unused_)
{
	enum { REPLY = 100000, ASKED = 600 };
	struct client s;
	char *reply = calloc(1, REPLY + 1);
	for (size_t i = 0; i < REPLY; i++)
		reply[i] = "0123456789abcdef"[i % 16];
	setup(&s, reply);
	s.reply_len = REPLY;
	s.no_ack = true;

	char asked[5 * ASKED + 1] = "";
	for (int i = 0; i < ASKED; i++)
		memcpy(asked + 5 * i, "$g#67", 6);
	say_bytes(&s, asked);
	assert_in_range(s.packets, 1, 20);

	char *got = malloc(1 << 20);
	size_t total = 0;
	for (int idle = 0; idle < 100;) {
		ssize_t n = read(s.fd, got, 1 << 20);
		if (n > 0)
			total += (size_t)n;
		idle = n > 0 ? 0 : idle + 1;
		loop_once(s.loop, false);
	}
	assert_int_equal(s.packets, ASKED);
	assert_int_equal(total, 1 + (size_t)ASKED * (REPLY + 4));
	free(got);
	free(reply);
	teardown(&s);
}

static void a_packet_too_long_is_an_error_reply(void **state _unused_)
{
	struct client s;
	setup(&s, "OK");
	char *chunk = malloc(1 << 16);
	memset(chunk, 'a', 1 << 16);
	say_bytes(&s, "+$");
	for (int i = 0; i < 10; i++) {
		assert_int_equal(write(s.fd, chunk, 1 << 16), 1 << 16);
		turn(&s);
	}
	say_bytes(&s, "#00");
	hear(&s, "+$E5a#db");
	say_bytes(&s, "$qC#b4");
	hear(&s, "+$OK#9a");
	free(chunk);
	teardown(&s);
}

static void a_pair_of_pipes_does_as_well(void **state _unused_)
{
	struct client s;
	int in[2], out[2];
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	s = (struct client){ .loop = loop_new(), .fd = in[1], .reply = "OK", .reply_len = 2 };
	s.conn = conn_new(s.loop, in[0], out[1], &ops, &s);
	say_bytes(&s, "noise on the line $qC#b4");
	char got[32] = { 0 };
	assert_int_equal(read(out[0], got, sizeof(got)), 7);
	assert_string_equal(got, "+$OK#9a");
	teardown(&s);
	close(out[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(acknowledges_and_repeats),
		cmocka_unit_test(without_acks_nothing_but_replies),
		cmocka_unit_test(packets_may_come_in_pieces_and_in_heaps),
		cmocka_unit_test(runs_can_be_switched_off),
		cmocka_unit_test(an_end_is_told_once_and_from_the_loop),
		cmocka_unit_test(another_protocol_is_hung_up_on),
		cmocka_unit_test(flushes_before_it_closes),
		cmocka_unit_test(a_slow_reader_is_waited_for),
		cmocka_unit_test(a_packet_too_long_is_an_error_reply),
		cmocka_unit_test(a_pair_of_pipes_does_as_well),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
