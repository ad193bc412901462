#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/reply.h"

static struct buf b;

static int setup(void **state)
{
	(void)state;
	buf_init(&b, 1 << 20);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	buf_fini(&b);
	return 0;
}

static void expect(const char *want)
{
	assert_string_equal(buf_cstr(&b), want);
	buf_reset(&b);
}

static void short_ones(void **state)
{
	(void)state;
	reply_ok(&b);
	expect("OK");
	reply_ok(&b);
	reply_empty(&b);
	expect("");
	reply_error(&b, 1);
	expect("E01");
	reply_error(&b, 0x44);
	expect("E44");
	reply_error(&b, -EIO);
	expect("E05");
	reply_error(&b, 0);
	expect("E01");
	reply_error(&b, 256);
	expect("E01");
	reply_error(&b, -4095);
	expect("E01");
	reply_hex_text(&b, "hello");
	expect("68656c6c6f");
	reply_console(&b, "hi\n", 3);
	expect("O68690a");
}

static void error_styles(void **state)
{
	(void)state;
	reply_error_text(&b, REPLY_ERROR_PLAIN, 3, "no");
	expect("E03");
	reply_error_text(&b, REPLY_ERROR_TEXT, 3, "core file is read-only");
	expect("E.core file is read-only");
	reply_error_text(&b, REPLY_ERROR_TEXT, 3, "main.(*T).f #1 $x {}\n\xc3");
	expect("E.main.(?T).f ?1 ?x {???");
	reply_error_text(&b, REPLY_ERROR_HEX, -EPERM, "no");
	expect("E01;6e6f");
}

static void binary(void **state)
{
	(void)state;
	reply_binary(&b, "a}b#c$d*e", 9);
	expect("a}]b}\x03"
	       "c}\x04"
	       "d}\ne");
	reply_binary(&b, "[{\"tid\":1}]", 11);
	expect("[{\"tid\":1}]]");
	reply_binary(&b, "", 0);
	expect("");

	/* Any byte at any place, against the plain rule. */
	for (size_t len = 0; len < 70; len++) {
		for (unsigned seed = 0; seed < 40; seed++) {
			uint8_t in[70], want[140];
			size_t n = 0;
			for (size_t i = 0; i < len; i++) {
				in[i] = seed % 2 ? "}#$*ab"[(i * 7 + seed) % 6]
						 : (uint8_t)(i * 31 + seed * 11);
				if (strchr("}#$*", in[i]) && in[i]) {
					want[n++] = '}';
					want[n++] = in[i] ^ 0x20;
				} else {
					want[n++] = in[i];
				}
			}
			struct buf tight;
			buf_init(&tight, n);
			reply_binary(&tight, in, len);
			assert_int_equal(buf_error(&tight), 0);
			assert_int_equal(tight.len, n);
			if (n)
				assert_memory_equal(tight.data, want, n);
			buf_fini(&tight);
			for (size_t room = 0; room <= n; room++) {
				size_t fit = reply_binary_fit(in, len, room);
				buf_reset(&b);
				reply_binary(&b, in, fit);
				assert_true(b.len <= room);
				if (fit < len) {
					buf_reset(&b);
					reply_binary(&b, in, fit + 1);
					assert_true(b.len > room);
				}
			}
			buf_reset(&b);
		}
	}
}

static void xfer(void **state)
{
	(void)state;
	const char *object = "<threads></threads>";
	size_t n = strlen(object);
	reply_xfer(&b, object, n, 0, 0x1000, 1000);
	expect("l<threads></threads>");
	reply_xfer(&b, object, n, 0, 9, 1000);
	expect("m<threads>");
	reply_xfer(&b, object, n, 9, 10, 1000);
	expect("l</threads>");
	reply_xfer(&b, object, n, 9, UINT64_MAX, 1000);
	expect("l</threads>");
	reply_xfer(&b, object, n, n, 1, 1000);
	expect("l");
	reply_xfer(&b, object, n, UINT64_MAX, UINT64_MAX, 1000);
	expect("l");
	reply_xfer(&b, "", 0, 0, 1, 1000);
	expect("l");
	/* The escaped form has to fit, too. */
	reply_xfer(&b, "##ab", 4, 0, 100, 5);
	expect("m}\x03}\x03");
	reply_xfer(&b, "##ab", 4, 0, 100, 4);
	expect("m}\x03");
	reply_xfer(&b, "##ab", 4, 0, 100, 7);
	expect("l}\x03}\x03"
	       "ab");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(short_ones),
		cmocka_unit_test(error_styles),
		cmocka_unit_test(binary),
		cmocka_unit_test(xfer),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
