#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/crc.h"
#include "protocol/hex.h"
#include "protocol/packet.h"

static struct args text(const char *s)
{
	return args_of(s, strlen(s));
}

static void names(void **state)
{
	(void)state;
	static const struct {
		const char *body, *name;
	} cases[] = {
		{ "", "" },
		{ "?", "?" },
		{ "!", "!" },
		{ "g", "g" },
		{ "g;thread:1;", "g" },
		{ "m7fff,10", "m" },
		{ "x0,0", "x" },
		{ "Xfff,0:", "X" },
		{ "p10;thread:1;", "p" },
		{ "P39=ffffffffffffffff", "P" },
		{ "D", "D" },
		{ "D1;000000000000763c", "D" },
		{ "T p1.2", "T" },
		{ "k", "k" },
		{ "A6,0,2f", "A" },
		{ "Hgp0.0", "Hg" },
		{ "Hc-1", "Hc" },
		{ "H", "H" },
		{ "Z0,4b7184,1;X9,2600001640220a1327", "Z0" },
		{ "z4,1,1", "z4" },
		{ "Z", "Z" },
		{ "bc", "bc" },
		{ "bs", "bs" },
		{ "_M1000,rwx", "_M" },
		{ "_m7ffff75d9000", "_m" },
		{ "vCont;c:p1.-1", "vCont" },
		{ "vCont?", "vCont?" },
		{ "vCtrlC", "vCtrlC" },
		{ "vMustReplyEmpty", "vMustReplyEmpty" },
		{ "vFile:open:6a757374,0,1c0", "vFile" },
		{ "vRun;2f62", "vRun" },
		{ "vAttach;19c3", "vAttach" },
		{ "vKill;1", "vKill" },
		{ "qXfer:features:read:target.xml:0,1000", "qXfer" },
		{ "qSupported", "qSupported" },
		{ "qSupported:multiprocess+;x", "qSupported" },
		{ "qC", "qC" },
		{ "qCRC:0,10", "qCRC" },
		{ "qRcmd,68656c70", "qRcmd" },
		{ "qThreadExtraInfo,p1.2", "qThreadExtraInfo" },
		{ "qThreadStopInfop1.2", "qThreadStopInfo" },
		{ "qThreadStopInfo1f", "qThreadStopInfo" },
		{ "qRegisterInfo0", "qRegisterInfo" },
		{ "qRegisterInfoff", "qRegisterInfo" },
		{ "qAttached", "qAttached" },
		{ "qSymbol::", "qSymbol" },
		{ "qSearch:memory:0;1;2", "qSearch" },
		{ "QStartNoAckMode", "QStartNoAckMode" },
		{ "QThreadOptions;0;3:p1.2", "QThreadOptions" },
		{ "QSaveRegisterState;thread:1;", "QSaveRegisterState" },
		{ "QCatchSyscalls:1;1;2", "QCatchSyscalls" },
		{ "jThreadsInfo", "jThreadsInfo" },
		{ "jModulesInfo:[{\"a\":1}]", "jModulesInfo" },
		{ "\x01zzz", "\x01" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		size_t n = packet_name_len(cases[i].body, strlen(cases[i].body));
		assert_int_equal(n, strlen(cases[i].name));
		assert_memory_equal(cases[i].body, cases[i].name, n);
	}
	assert_int_equal(packet_name_len("\0", 1), 1);
}

struct row {
	const char *name;
	int number;
};

static void lookup(void **state)
{
	(void)state;
	static const struct row rows[] = { { "!", 0 },        { "?", 1 },      { "Hg", 2 },
					   { "QNonStop", 3 }, { "Z0", 4 },     { "m", 5 },
					   { "qC", 6 },       { "qCRC", 7 },   { "v", 8 },
					   { "vCont", 9 },    { "vCont?", 10 } };
	size_t n = ARRAY_SIZE(rows), size = sizeof(rows[0]);

	assert_true(packet_rows_sorted(rows, n, size));
	for (size_t i = 0; i < n; i++)
		assert_ptr_equal(packet_find(rows, n, size, rows[i].name, strlen(rows[i].name)),
				 &rows[i]);
	assert_null(packet_find(rows, n, size, "vCon", 4));
	assert_null(packet_find(rows, n, size, "vCont?x", 7));
	assert_null(packet_find(rows, n, size, "vCont\0", 6));
	assert_null(packet_find(rows, n, size, "", 0));
	assert_null(packet_find(rows, n, size, "\xff", 1));
	assert_null(packet_find(rows, 0, size, "m", 1));

	static const struct row twice[] = { { "a", 0 }, { "a", 1 } };
	assert_false(packet_rows_sorted(twice, 2, sizeof(twice[0])));
}

static void numbers(void **state)
{
	(void)state;
	struct args a = text("7fFf,000000000000000000000010:");
	assert_int_equal(args_hex_u64(&a), 0x7fff);
	assert_true(args_skip(&a, ','));
	assert_int_equal(args_hex_u64(&a), 0x10);
	assert_true(args_skip(&a, ':'));
	assert_true(args_done(&a));

	a = text("ffffffffffffffff");
	assert_true(args_hex_u64(&a) == UINT64_MAX && args_done(&a));
	a = text("10000000000000000");
	assert_int_equal(args_hex_u64(&a), 0);
	assert_false(args_ok(&a));
	a = text("100");
	assert_int_equal(args_hex_max(&a, 0xff), 0);
	assert_false(args_ok(&a));
	a = text("ff");
	assert_int_equal(args_hex_max(&a, 0xff), 0xff);
	assert_true(args_done(&a));
	a = text("5");
	args_hex_max(&a, 3);
	assert_false(args_ok(&a));
	a = text("0");
	assert_int_equal(args_hex_max(&a, 0), 0);
	assert_true(args_done(&a));
	a = text("");
	args_hex_u64(&a);
	assert_false(args_ok(&a));
	a = text("0x10");
	assert_int_equal(args_hex_u64(&a), 0);
	assert_false(args_done(&a));
	a = text("18446744073709551615,");
	assert_true(args_dec_max(&a, UINT64_MAX) == UINT64_MAX && args_left(&a) == 1);
	a = text("18446744073709551616");
	args_dec_max(&a, UINT64_MAX);
	assert_false(args_ok(&a));
	a = text("12a");
	assert_int_equal(args_dec_max(&a, 99), 12);
	assert_int_equal(args_peek(&a), 'a');
	a = text("-1");
	assert_int_equal(args_hex_i64(&a), -1);
	a = text("8000000000000000");
	args_hex_i64(&a);
	assert_false(args_ok(&a));

	/* Failure sticks. */
	a = text("zz12");
	args_hex_u64(&a);
	assert_int_equal(args_left(&a), 0);
	assert_int_equal(args_peek(&a), -1);
	assert_false(args_accept(&a, 'z'));
	assert_int_equal(args_char(&a), 0);
	size_t n;
	assert_null(args_rest(&a, &n));
	assert_int_equal(n, 0);
	assert_false(args_until(&a, ';').data != NULL);
}

static void bytes(void **state)
{
	(void)state;
	struct buf out;
	uint8_t into[4];
	buf_init(&out, 64);

	struct args a = text("deadBEEF;rest");
	assert_int_equal(args_hex_bytes(&a, &out), 4);
	assert_memory_equal(out.data, "\xde\xad\xbe\xef", 4);
	assert_true(args_skip(&a, ';'));
	assert_true(args_accept_text(&a, "re"));
	assert_false(args_accept_text(&a, "stx"));
	assert_true(args_is(&a, "st"));
	assert_false(args_is(&a, "s"));

	a = text("abc");
	args_hex_bytes(&a, &out);
	assert_false(args_ok(&a));
	a = text("");
	assert_int_equal(args_hex_bytes(&a, &out), 0);
	assert_true(args_ok(&a));
	a = text("0102030405");
	assert_true(args_hex_exact(&a, into, 4));
	assert_memory_equal(into, "\1\2\3\4", 4);
	assert_false(args_hex_exact(&a, into, 2));
	a = text("01zz");
	assert_false(args_hex_exact(&a, NULL, 2));
	a = text("01020");
	assert_true(args_hex_exact(&a, NULL, 2));
	a = text("01");
	assert_false(args_hex_exact(&a, into, SIZE_MAX));

	/* Text: appended, terminated, no NUL inside. */
	a = text("2f62,6100");
	assert_string_equal(args_hex_text(&a, &out), "/b");
	args_skip(&a, ',');
	assert_null(args_hex_text(&a, &out));
	assert_false(args_ok(&a));
	a = text("");
	assert_string_equal(args_hex_text(&a, &out), "");

	/* Over the buffer's maximum. */
	char big[2 * 65 + 1];
	memset(big, '0', sizeof(big) - 1);
	big[sizeof(big) - 1] = 0;
	buf_reset(&out);
	a = text(big);
	assert_int_equal(args_hex_bytes(&a, &out), 0);
	assert_false(args_ok(&a));
	buf_fini(&out);
}

static void lists(void **state)
{
	(void)state;
	struct args a = text("thread:1f;;name;empty:;"), key, value;
	assert_true(args_key_value(&a, ':', &key, &value));
	assert_true(args_is(&key, "thread") && args_is(&value, "1f"));
	assert_true(args_key_value(&a, ':', &key, &value));
	assert_true(args_is(&key, "name") && !value.data);
	assert_true(args_key_value(&a, ':', &key, &value));
	assert_true(args_is(&key, "empty") && value.data && !value.len);
	assert_false(args_key_value(&a, ':', &key, &value));
	assert_true(args_ok(&a));

	a = text("annex:0,ff:tail");
	struct args annex = args_upto(&a, ':');
	assert_true(args_is(&annex, "annex"));
	assert_int_equal(args_hex_u64(&a), 0);
	args_skip(&a, ',');
	assert_int_equal(args_hex_u64(&a), 0xff);
	args_skip(&a, ':');
	size_t n;
	assert_memory_equal(args_rest(&a, &n), "tail", 4);
	assert_int_equal(n, 4);
	assert_true(args_done(&a));
	assert_non_null(args_rest(&a, &n));
	assert_int_equal(n, 0);

	a = text("nocolon");
	annex = args_upto(&a, ':');
	assert_false(args_ok(&a) || args_ok(&annex));
	a = text(":");
	annex = args_upto(&a, ':');
	assert_true(args_done(&a) && args_ok(&annex) && !annex.len);
}

static void hex_both_ways(void **state)
{
	(void)state;
	uint8_t data[300], back[300];
	char digits[600];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (size_t len = 0; len < sizeof(data); len++) {
		hex_encode(digits, data, len);
		for (size_t i = 0; i < len; i++)
			assert_int_equal(hex_digit((uint8_t)digits[2 * i]) << 4 |
						 hex_digit((uint8_t)digits[2 * i + 1]),
					 data[i]);
		assert_true(hex_decode(back, digits, len * 2));
		assert_memory_equal(back, data, len);
		for (size_t i = 0; i < len * 2; i++)
			if (digits[i] >= 'a')
				digits[i] -= 32;
		assert_true(hex_decode(digits, digits, len * 2)); /* in place */
		assert_memory_equal(digits, data, len);
	}
	assert_false(hex_decode(back, "0", 1));
	/* Every byte that is no digit is seen, in the wide part and in the tail. */
	for (int c = 0; c < 256; c++) {
		for (size_t at = 0; at < 38; at++) {
			char in[38];
			memset(in, '0', sizeof(in));
			in[at] = (char)c;
			assert_int_equal(hex_decode(back, in, sizeof(in)),
					 hex_digit((uint8_t)c) >= 0);
		}
	}
}

static void crc(void **state)
{
	(void)state;
	/* The check value of CRC-32/MPEG-2, which has these parameters. */
	assert_int_equal(crc_update(CRC_START, "123456789", 9), 0x0376e6e7);
	assert_int_equal(crc_update(CRC_START, "", 0), 0xffffffff);
	uint8_t data[100];
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	uint32_t whole = crc_update(CRC_START, data, sizeof(data));
	for (size_t cut = 0; cut <= sizeof(data); cut++)
		assert_int_equal(crc_update(crc_update(CRC_START, data, cut), data + cut,
					    sizeof(data) - cut),
				 whole);

	/* The check values of the catalogues, and that a long range can be summed piece by piece. */
	assert_int_equal(crc_reflected(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(crc_reflected(0, "", 0), 0);
	whole = crc_reflected(0, data, sizeof(data));
	for (size_t cut = 0; cut < sizeof(data); cut += 7)
		assert_int_equal(crc_reflected(crc_reflected(0, data, cut), data + cut,
					       sizeof(data) - cut),
				 whole);
}

/* Every byte, wherever it falls in the sixteen that are looked at together. */
static void a_span_of_digits_ends_at_the_first_other(void **state _unused_)
{
	char text[40];

	for (size_t at = 0; at < sizeof(text); at++) {
		for (int c = 0; c < 256; c++) {
			memset(text, 'a', sizeof(text));
			text[at] = (char)c;
			size_t want = hex_digit((uint8_t)c) >= 0 ? sizeof(text) : at;
			assert_int_equal(hex_span(text, sizeof(text)), want);
		}
		assert_int_equal(hex_span(text, 0), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(lookup),
		cmocka_unit_test(numbers),
		cmocka_unit_test(bytes),
		cmocka_unit_test(lists),
		cmocka_unit_test(hex_both_ways),
		cmocka_unit_test(crc),
		cmocka_unit_test(a_span_of_digits_ends_at_the_first_other),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
