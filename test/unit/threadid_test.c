#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/packet.h"

static void parse(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int64_t pid, tid;
		size_t used;
	} cases[] = {
		{ "p0.0", 0, 0, 4 },
		{ "0", 0, 0, 1 },
		{ "-1", -1, -1, 2 },
		{ "p1.-1", 1, -1, 5 },
		{ "p1.0", 1, 0, 4 },
		{ "p1", 1, -1, 2 },
		{ "p-1.-1", -1, -1, 6 },
		{ "p-1", -1, -1, 3 },
		{ "1f", 0, 0x1f, 2 },
		{ "p74ee.74Ef;c", 0x74ee, 0x74ef, 10 },
		{ "p1.40000005", 1, 0x40000005, 11 },
		{ "7fffffffffffffff", 0, INT64_MAX, 16 },
		{ "000000000000763c", 0, 0x763c, 16 },
		{ "p0.5", 0, 5, 4 },
		/* refused */
		{ "", 0, 0, 0 },
		{ "p", 0, 0, 0 },
		{ "p.1", 0, 0, 0 },
		{ "p1.", 0, 0, 0 },
		{ "-", 0, 0, 0 },
		{ "-2", 0, 0, 0 },
		{ "p1.-6ffffffb", 0, 0, 0 },
		{ "p-1.5", 0, 0, 0 },
		{ "p-1.0", 0, 0, 0 },
		{ "8000000000000000", 0, 0, 0 },
		{ "p8000000000000000.1", 0, 0, 0 },
		{ "x", 0, 0, 0 },
		{ "q1.1", 0, 0, 0 },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct threadid id = { 77, 77 };
		size_t used = threadid_parse(cases[i].text, strlen(cases[i].text), &id);
		assert_int_equal(used, cases[i].used);
		assert_int_equal(id.pid, used ? cases[i].pid : 77);
		assert_int_equal(id.tid, used ? cases[i].tid : 77);
	}
}

static void from_packets(void **state)
{
	(void)state;
	struct args a = args_of(";c:p1.-1;s:2", 12);
	args_skip(&a, ';');
	args_skip(&a, 'c');
	args_skip(&a, ':');
	struct threadid id = args_thread_id(&a);
	assert_true(id.pid == 1 && id.tid == -1);
	args_skip(&a, ';');
	args_skip(&a, 's');
	args_skip(&a, ':');
	id = args_thread_id(&a);
	assert_true(args_done(&a) && id.pid == 0 && id.tid == 2);
	id = args_thread_id(&a);
	assert_true(!args_ok(&a) && id.pid == 0 && id.tid == 0);
}

static void expect_text(struct threadid id, bool multiprocess, const char *want)
{
	struct buf b;
	buf_init(&b, 64);
	threadid_put(&b, id, multiprocess);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void print(void **state)
{
	(void)state;
	expect_text((struct threadid){ 1, 2 }, true, "p1.2");
	expect_text((struct threadid){ 0x74ee, 0x134f }, true, "p74ee.134f");
	expect_text((struct threadid){ 1, 0x1f }, false, "1f");
	expect_text((struct threadid){ -1, -1 }, true, "p-1.-1");
	expect_text((struct threadid){ 5, -1 }, false, "-1");
	expect_text((struct threadid){ 0, 0 }, true, "p0.0");
}

static void covers(void **state)
{
	(void)state;
	struct threadid one = { 1, 2 };
	assert_true(threadid_covers((struct threadid){ -1, -1 }, one));
	assert_true(threadid_covers((struct threadid){ 1, -1 }, one));
	assert_true(threadid_covers((struct threadid){ 0, 2 }, one));
	assert_false(threadid_covers((struct threadid){ 2, -1 }, one));
	assert_false(threadid_covers((struct threadid){ 1, 3 }, one));
	assert_true(threadid_is_one(one));
	assert_false(threadid_is_one((struct threadid){ 1, -1 }));
	assert_false(threadid_is_one((struct threadid){ 1, 0 }));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parse),
		cmocka_unit_test(from_packets),
		cmocka_unit_test(print),
		cmocka_unit_test(covers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
