#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/frame.h"

static void push(struct frame *f, const char *text)
{
	assert_int_equal(frame_push(f, text, strlen(text)), 0);
}

static void expect(struct frame *f, enum frame_event want)
{
	uint8_t *body = NULL;
	size_t len = 0;
	assert_int_equal(frame_next(f, &body, &len), want);
}

static void expect_packet(struct frame *f, const char *want, size_t want_len)
{
	uint8_t *body = NULL;
	size_t len = 0;
	assert_int_equal(frame_next(f, &body, &len), FRAME_PACKET);
	assert_int_equal(len, want_len);
	assert_memory_equal(body, want, want_len);
	assert_int_equal(body[len], 0);
}

static void packets_and_acks(void **state)
{
	(void)state;
	struct frame f;
	frame_init(&f);
	push(&f, "+$QStartNoAckMode#b0+-");
	expect(&f, FRAME_ACK);
	expect_packet(&f, "QStartNoAckMode", 15);
	expect(&f, FRAME_ACK);
	expect(&f, FRAME_NAK);
	expect(&f, FRAME_MORE);
	push(&f, "$#00$?#3F$?#3f$?#3e");
	expect_packet(&f, "", 0);
	expect_packet(&f, "?", 1);
	expect_packet(&f, "?", 1);
	expect(&f, FRAME_BAD);
	push(&f, "$?#zz");
	expect(&f, FRAME_BAD);
	frame_set_acks(&f, false);
	push(&f, "+-$?#3e+$g#zz");
	expect_packet(&f, "?", 1);
	expect_packet(&f, "g", 1);
	expect(&f, FRAME_MORE);
	frame_fini(&f);
}

/* Against the plainest way to undo escapes, with escapes side by side, at both ends, and a lone one last. */
static void escapes_are_undone(void **state)
{
	static const char *const bodies[] = { "}\x03",  "a}\x03}\x04z", "}\x5d}\x5d", "ab}",
					      "}\x03}", "X}}}",         "plain" };
	(void)state;

	for (size_t i = 0; i < sizeof(bodies) / sizeof(*bodies); i++) {
		char wire[64], want[64];
		size_t n = 0, len = strlen(bodies[i]);
		for (size_t at = 0; at < len; at++) {
			bool pair = bodies[i][at] == '}' && at + 1 < len;
			want[n++] = pair ? (char)(bodies[i][++at] ^ 0x20) : bodies[i][at];
		}
		struct frame f;
		frame_init(&f);
		frame_set_acks(&f, false);
		snprintf(wire, sizeof(wire), "$%s#00", bodies[i]);
		push(&f, wire);
		expect_packet(&f, want, n);
		frame_fini(&f);
	}
}

static void every_split(void **state)
{
	(void)state;
	static const char wire[] = "+$Xffff,3:}\x03"
				   "a}]#aa\x03$vCont;c:p1.-1#db%Stop:T05#d1$m0,1#fa";
	for (size_t cut = 0; cut <= sizeof(wire) - 1; cut++) {
		struct frame f;
		enum frame_event seen[16];
		size_t n = 0;
		frame_init(&f);
		frame_set_acks(&f, false);
		for (int part = 0; part < 2; part++) {
			const char *from = part ? wire + cut : wire;
			size_t len = part ? sizeof(wire) - 1 - cut : cut;
			assert_int_equal(frame_push(&f, from, len), 0);
			uint8_t *body;
			size_t body_len;
			enum frame_event e;
			while ((e = frame_next(&f, &body, &body_len)) != FRAME_MORE) {
				if (n == 0) {
					assert_int_equal(body_len, 11);
					assert_memory_equal(body, "Xffff,3:#a}", 11);
				}
				seen[n++] = e;
			}
		}
		assert_int_equal(n, 4);
		assert_int_equal(seen[0], FRAME_PACKET);
		assert_int_equal(seen[1], FRAME_INTERRUPT);
		assert_int_equal(seen[2], FRAME_PACKET);
		assert_int_equal(seen[3], FRAME_PACKET);
		assert_false(frame_is_partial(&f));
		frame_fini(&f);
	}
}

static void junk_and_noise(void **state)
{
	(void)state;
	struct frame f;
	frame_init(&f);
	push(&f, "GET / HTTP/1.1\r\n");
	expect(&f, FRAME_NOISE);
	expect(&f, FRAME_MORE);
	frame_fini(&f);

	push(&f, "\x16\x03\x01");
	expect(&f, FRAME_NOISE);
	frame_fini(&f);

	push(&f, "+\r\njunk$?#3f junk \x03");
	expect(&f, FRAME_ACK);
	expect_packet(&f, "?", 1);
	expect(&f, FRAME_INTERRUPT);
	expect(&f, FRAME_MORE);
	/* A packet that was cut short and sent again. */
	push(&f, "$m1234$m1234,4#f7");
	expect(&f, FRAME_BAD);
	push(&f, "$m12$m1234,4#f7$m12");
	expect(&f, FRAME_BAD);
	expect(&f, FRAME_MORE);
	assert_true(frame_is_partial(&f));
	push(&f, "$?#3f");
	expect_packet(&f, "?", 1);
	frame_fini(&f);
}

static void too_long(void **state)
{
	(void)state;
	static char block[65536];
	struct frame f;
	memset(block, 'a', sizeof(block));
	frame_init(&f);

	/* Exactly the limit passes, in many pushes. */
	push(&f, "$");
	for (int i = 0; i < FRAME_BODY_MAX / (int)sizeof(block); i++) {
		assert_int_equal(frame_push(&f, block, sizeof(block)), 0);
		expect(&f, FRAME_MORE);
	}
	frame_set_acks(&f, false);
	push(&f, "#00");
	uint8_t *body;
	size_t len;
	assert_int_equal(frame_next(&f, &body, &len), FRAME_PACKET);
	assert_int_equal(len, FRAME_BODY_MAX);

	/* One more does not. */
	push(&f, "$b");
	for (int i = 0; i < FRAME_BODY_MAX / (int)sizeof(block); i++)
		assert_int_equal(frame_push(&f, block, sizeof(block)), 0);
	push(&f, "#00");
	expect(&f, FRAME_TOO_LONG);
	expect(&f, FRAME_MORE);

	/* Endless: memory stays bounded, one report, and the next packet is read. */
	push(&f, "$");
	for (int i = 0; i < 200; i++) {
		assert_int_equal(frame_push(&f, block, sizeof(block)), 0);
		expect(&f, FRAME_MORE);
	}
	assert_true(f.in.cap < 2 * 1024 * 1024);
	push(&f, "#");
	expect(&f, FRAME_MORE);
	push(&f, "0");
	expect(&f, FRAME_MORE);
	push(&f, "0$?#3f");
	expect(&f, FRAME_TOO_LONG);
	expect_packet(&f, "?", 1);

	/* Not drained: refused, and what was there is kept. */
	int r = 0;
	push(&f, "$?#3f");
	for (int i = 0; i < 40 && r == 0; i++)
		r = frame_push(&f, block, sizeof(block));
	assert_int_equal(r, -EMSGSIZE);
	expect_packet(&f, "?", 1);
	frame_fini(&f);
}

static void expect_wire(const char *body, unsigned flags, const char *want)
{
	struct buf out;
	buf_init(&out, 1 << 20);
	frame_encode(&out, body, strlen(body), flags);
	assert_string_equal(buf_cstr(&out), want);
	buf_fini(&out);
}

static void encode(void **state)
{
	(void)state;
	expect_wire("", 0, "$#00");
	expect_wire("OK", 0, "$OK#9a");
	expect_wire("OK", FRAME_RUNS, "$OK#9a");
	expect_wire("Stop:T05", FRAME_NOTIFY, "%Stop:T05#99");
	expect_wire("000", FRAME_RUNS, "$000#90");
	expect_wire("0000", FRAME_RUNS, "$0* #7a");
	expect_wire("0000", 0, "$0000#c0");
	expect_wire("x0000y", FRAME_RUNS, "$x0* y#6b");
	/* 6 and 7 further copies would be spelled '#' and '$': five, then the rest. */
	expect_wire("000000", FRAME_RUNS, "$0*\"#7c");
	expect_wire("0000000", FRAME_RUNS, "$0*\"0#ac");
	expect_wire("00000000", FRAME_RUNS, "$0*\"00#dc");
	expect_wire("000000000", FRAME_RUNS, "$0*%#7f");
	/* 14 '+' and 16 '-' */
	expect_wire("000000000000000", FRAME_RUNS, "$0**0#b4");
	expect_wire("00000000000000000", FRAME_RUNS, "$0*,0#b6");
	/* An escaped pair neither begins nor joins a run. */
	expect_wire("}]]]", FRAME_RUNS, "$}]]]#94");
	expect_wire("}]]]]]", FRAME_RUNS, "$}]]* #81");
	expect_wire("}]}]}]}]}]}]}]}]}]}]", FRAME_RUNS, "$}]}]}]}]}]}]}]}]}]}]#84");
	char zeros[300];
	memset(zeros, '0', sizeof(zeros));
	zeros[98 + 98 + 2] = 0;
	expect_wire(zeros, FRAME_RUNS, "$0*~0*~00#10");
}

/* What gdb does with a reply. */
static size_t expand(const uint8_t *in, size_t len, uint8_t *out)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (in[i] == '*') {
			assert_true(n > 0 && i + 1 < len);
			uint8_t count = in[++i];
			assert_true(count >= ' ' && count <= '~' && !strchr("#$+-", count));
			for (int k = 0; k < count - 29; k++, n++)
				out[n] = out[n - 1];
		} else {
			out[n++] = in[i];
		}
	}
	return n;
}

static void every_run_length(void **state)
{
	(void)state;
	uint8_t body[512], back[512];
	for (size_t before = 0; before < 20; before += 3) {
		for (size_t run = 0; run < 420; run++) {
			size_t len = before + run + 5;
			for (size_t i = 0; i < len; i++)
				body[i] = i < before || i >= before + run ? (uint8_t)('a' + i % 7)
									  : 'z';
			struct buf out;
			buf_init(&out, 4096);
			frame_encode(&out, body, len, FRAME_RUNS);
			assert_int_equal(expand(out.data + 1, out.len - 4, back), len);
			assert_memory_equal(back, body, len);
			unsigned sum = 0;
			for (size_t i = 1; i < out.len - 3; i++)
				sum += out.data[i];
			char digits[3];
			snprintf(digits, sizeof(digits), "%02x", sum & 255);
			assert_memory_equal(out.data + out.len - 2, digits, 2);
			if (run > 12)
				assert_true(out.len < before + 5 + 4 + 3 * (run / 98 + 1) + 4);
			buf_fini(&out);
		}
	}
}

static void encode_refuses_what_does_not_fit(void **state)
{
	(void)state;
	struct buf out;
	buf_init(&out, 8);
	frame_encode(&out, "12345", 5, 0);
	assert_int_equal(buf_error(&out), -EMSGSIZE);
	buf_reset(&out);
	frame_encode(&out, "1234", 4, 0);
	assert_int_equal(buf_error(&out), 0);
	assert_int_equal(out.len, 8);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packets_and_acks),
		cmocka_unit_test(escapes_are_undone),
		cmocka_unit_test(every_split),
		cmocka_unit_test(junk_and_noise),
		cmocka_unit_test(too_long),
		cmocka_unit_test(encode),
		cmocka_unit_test(every_run_length),
		cmocka_unit_test(encode_refuses_what_does_not_fit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
