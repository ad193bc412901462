#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/stopreply.h"

static const struct stop_reply_dialect gdb = {
	.client = CLIENT_GDB, .multiprocess = true, .swbreak = true, .hwbreak = true
};
static const struct stop_reply_dialect old_gdb = { .client = CLIENT_GDB };
static const struct stop_reply_dialect lldb = { .client = CLIENT_LLDB,
						.multiprocess = true,
						.list_threads = true };
static const struct stop_reply_dialect delve = { .client = CLIENT_DELVE, .list_threads = true };

static const uint8_t rbp[8] = { 0x10, 0xe0, 0xff, 0xff, 0xff, 0x7f };
static const uint8_t rip[8] = { 0x84, 0x71, 0x4b };
static const uint8_t xmm[16] = { 1 };
static const struct stop_reply_reg regs[] = { { 6, rbp, 8 }, { 7, NULL, 8 }, { 16, rip, 8 } };
static const struct stop_reply_thread threads[] = { { 0x1297, 0x4711fa, true },
						    { 0x134f, 0x471200, true } };

static struct stop_reply stopped(enum stop_reply_reason reason)
{
	return (struct stop_reply){ .signal = 5, .thread = { 0x1297, 0x134f }, .reason = reason };
}

static void expect(const struct stop_reply *sr, const struct stop_reply_dialect *d,
		   const char *want)
{
	struct buf b;
	buf_init(&b, 4096);
	stop_reply_put(&b, sr, d);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void expect_json(const struct stop_reply *sr, const struct stop_reply_dialect *d,
			unsigned flags, const char *want)
{
	struct buf b;
	buf_init(&b, 4096);
	stop_reply_put_json(&b, sr, d, flags);
	assert_string_equal(buf_cstr(&b), want);
	buf_fini(&b);
}

static void for_gdb(void **state)
{
	(void)state;
	struct stop_reply sr = stopped(STOP_REASON_SWBREAK);
	sr.regs = regs;
	sr.nregs = ARRAY_SIZE(regs);
	expect(&sr, &gdb, "T05swbreak:;06:10e0ffffff7f0000;10:84714b0000000000;thread:p1297.134f;");
	expect(&sr, &old_gdb, "T0506:10e0ffffff7f0000;10:84714b0000000000;thread:134f;");

	sr = stopped(STOP_REASON_HWBREAK);
	expect(&sr, &gdb, "T05hwbreak:;thread:p1297.134f;");

	sr = stopped(STOP_REASON_WATCH);
	sr.addr = 0x555555558060;
	expect(&sr, &gdb, "T05watch:555555558060;thread:p1297.134f;");
	sr.reason = STOP_REASON_RWATCH;
	expect(&sr, &gdb, "T05rwatch:555555558060;thread:p1297.134f;");
	sr.reason = STOP_REASON_AWATCH;
	expect(&sr, &old_gdb, "T05awatch:555555558060;thread:134f;");

	sr = stopped(STOP_REASON_NONE);
	sr.signal = 0;
	expect(&sr, &gdb, "T00thread:p1297.134f;");
	sr = stopped(STOP_REASON_SIGNAL);
	sr.signal = 11;
	expect(&sr, &gdb, "T0bthread:p1297.134f;");
	sr = stopped(STOP_REASON_TRACE);
	expect(&sr, &gdb, "T05thread:p1297.134f;");
	sr.signal = 0;
	expect(&sr, &gdb, "T05thread:p1297.134f;");
	sr = stopped(STOP_REASON_TRAP);
	expect(&sr, &gdb, "T05thread:p1297.134f;");
}

static void events_for_gdb(void **state)
{
	(void)state;
	struct stop_reply sr = stopped(STOP_REASON_FORK);
	sr.child = (struct threadid){ 0x1636, 0x1636 };
	expect(&sr, &gdb, "T05fork:p1636.1636;thread:p1297.134f;");
	sr.reason = STOP_REASON_VFORK;
	expect(&sr, &gdb, "T05vfork:p1636.1636;thread:p1297.134f;");
	sr.reason = STOP_REASON_CLONE;
	expect(&sr, &gdb, "T05clone:p1636.1636;thread:p1297.134f;");
	sr.reason = STOP_REASON_VFORK_DONE;
	expect(&sr, &gdb, "T05vforkdone:;thread:p1297.134f;");
	sr.reason = STOP_REASON_CREATE;
	expect(&sr, &gdb, "T05create:;thread:p1297.134f;");
	sr.reason = STOP_REASON_LIBRARY;
	expect(&sr, &gdb, "T05library:;thread:p1297.134f;");
	sr.reason = STOP_REASON_EXEC;
	sr.path = "/usr/bin/ls";
	expect(&sr, &gdb, "T05exec:2f7573722f62696e2f6c73;thread:p1297.134f;");
	sr.path = NULL;
	expect(&sr, &gdb, "T05exec:;thread:p1297.134f;");
	sr.reason = STOP_REASON_SYSCALL_ENTRY;
	sr.number = 0xe6;
	expect(&sr, &gdb, "T05syscall_entry:e6;thread:p1297.134f;");
	sr.reason = STOP_REASON_SYSCALL_RETURN;
	expect(&sr, &gdb, "T05syscall_return:e6;thread:p1297.134f;");
	sr.reason = STOP_REASON_LOG_BEGIN;
	expect(&sr, &gdb, "T05replaylog:begin;thread:p1297.134f;");
	sr.reason = STOP_REASON_LOG_END;
	expect(&sr, &gdb, "T05replaylog:end;thread:p1297.134f;");
}

static void endings(void **state)
{
	(void)state;
	struct stop_reply sr = { .kind = STOP_REPLY_EXITED,
				 .status = 3,
				 .thread = { 0x74ee, 0x74ee } };
	expect(&sr, &gdb, "W03;process:74ee");
	expect(&sr, &lldb, "W03;process:74ee");
	expect(&sr, &old_gdb, "W03");
	expect(&sr, &delve, "W03");
	sr.status = 255;
	expect(&sr, &old_gdb, "Wff");
	sr = (struct stop_reply){ .kind = STOP_REPLY_SIGNALED, .signal = 9, .thread = { 1, 0 } };
	expect(&sr, &lldb, "X09;process:1");
	expect(&sr, &old_gdb, "X09");
	sr.signal = 10;
	expect(&sr, &gdb, "X0a;process:1");
	expect(&sr, &delve, "X07");
	sr = (struct stop_reply){ .kind = STOP_REPLY_THREAD_EXITED,
				  .status = 0,
				  .thread = { 1, 0x1f } };
	expect(&sr, &gdb, "w00;p1.1f");
	expect(&sr, &old_gdb, "w00;1f");
	sr = (struct stop_reply){ .kind = STOP_REPLY_NO_RESUMED };
	expect(&sr, &gdb, "N");
}

static void for_lldb(void **state)
{
	(void)state;
	struct stop_reply sr = stopped(STOP_REASON_SWBREAK);
	sr.name = "worker";
	sr.threads = threads;
	sr.nthreads = ARRAY_SIZE(threads);
	sr.regs = regs;
	sr.nregs = ARRAY_SIZE(regs);
	sr.jstopinfo = "[]";
	expect(&sr, &lldb,
	       "T05thread:p1297.134f;name:worker;threads:1297,134f;thread-pcs:4711fa,471200;"
	       "jstopinfo:5b5d;"
	       "06:10e0ffffff7f0000;10:84714b0000000000;reason:breakpoint;");

	struct stop_reply_dialect quiet = lldb;
	quiet.list_threads = false;
	sr.jstopinfo = NULL;
	sr.nregs = 0;
	/* A name that '*' or ';' would break travels in hex. */
	sr.name = "main.(*T).f";
	expect(&sr, &quiet,
	       "T05thread:p1297.134f;hexname:6d61696e2e282a54292e66;reason:breakpoint;");

	/* One pc is missing: no list of pcs. */
	struct stop_reply_thread some[] = { { 1, 0x10, true }, { 2, 0, false } };
	sr = stopped(STOP_REASON_TRACE);
	sr.threads = some;
	sr.nthreads = 2;
	expect(&sr, &lldb, "T05thread:p1297.134f;threads:1,2;reason:trace;");

	sr = stopped(STOP_REASON_WATCH);
	sr.addr = 100;
	sr.point = 96;
	sr.slot = 1;
	expect(&sr, &lldb, "T05thread:p1297.134f;reason:watchpoint;description:3936203120313030;");

	sr = stopped(STOP_REASON_FORK);
	sr.child = (struct threadid){ 10, 11 };
	expect(&sr, &lldb, "T05thread:p1297.134f;reason:fork;description:3130203131;fork:pa.b;");
	sr.reason = STOP_REASON_EXEC;
	expect(&sr, &lldb, "T05thread:p1297.134f;reason:exec;");
	sr.reason = STOP_REASON_VFORK_DONE;
	expect(&sr, &lldb, "T05thread:p1297.134f;reason:vforkdone;");

	sr = stopped(STOP_REASON_SIGNAL);
	sr.signal = 16;
	expect(&sr, &lldb,
	       "T10thread:p1297.134f;reason:signal;description:7369676e616c20534947555247;");
	sr.description = "x";
	expect(&sr, &lldb, "T10thread:p1297.134f;reason:signal;description:78;");
	sr = stopped(STOP_REASON_NONE);
	sr.signal = 0;
	expect(&sr, &lldb, "T00thread:p1297.134f;");
}

static void for_delve(void **state)
{
	(void)state;
	const struct stop_reply_reg with_vector[] = { { 6, rbp, 8 },
						      { 40, xmm, 16 },
						      { 16, rip, 8 } };
	struct stop_reply sr = stopped(STOP_REASON_RWATCH);
	sr.addr = 0xc000012345;
	sr.point = 0xc000012340;
	sr.slot = 2;
	sr.regs = with_vector;
	sr.nregs = ARRAY_SIZE(with_vector);
	expect(&sr, &delve,
	       "T05thread:134f;06:10e0ffffff7f0000;10:84714b0000000000;rwatch:c000012340;reason:"
	       "watchpoint;"
	       "description:383234363333373935333932203220383234363333373935333937;");

	/* Linux numbers: URG 23, BUS 7, SYS 31, STKFLT 16. */
	sr = stopped(STOP_REASON_SIGNAL);
	sr.description = "-";
	sr.signal = 16;
	expect(&sr, &delve, "T17thread:134f;reason:signal;description:2d;");
	sr.signal = 10;
	expect(&sr, &delve, "T07thread:134f;reason:signal;description:2d;");
	assert_int_equal(stop_reply_signal(143, &delve), 16);
	assert_int_equal(stop_reply_signal(143, &gdb), 143);
	assert_int_equal(stop_reply_signal(17, &delve), 19);
	assert_int_equal(stop_reply_linux_signal(0x17, &delve), 23);
	assert_int_equal(stop_reply_linux_signal(0x10, &gdb), 23);
	assert_int_equal(stop_reply_linux_signal(65, &delve), 0);
	assert_int_equal(stop_reply_linux_signal(-3, &delve), 0);
}

static void json(void **state)
{
	(void)state;
	struct stop_reply sr = stopped(STOP_REASON_SWBREAK);
	sr.thread.tid = 21997;
	sr.name = "c1";
	sr.regs = regs;
	sr.nregs = ARRAY_SIZE(regs);
	expect_json(&sr, &lldb, 0,
		    "{\"tid\":21997,\"name\":\"c1\",\"reason\":\"breakpoint\",\"signal\":5}");
	expect_json(&sr, &lldb, STOP_REPLY_JSON_REGISTERS,
		    "{\"tid\":21997,\"name\":\"c1\",\"reason\":\"breakpoint\",\"signal\":5,"
		    "\"registers\":{\"6\":\"10e0ffffff7f0000\",\"16\":\"84714b0000000000\"}}");

	sr = stopped(STOP_REASON_NONE);
	sr.thread.tid = 2;
	sr.signal = 0;
	expect_json(&sr, &lldb, 0, "{\"tid\":2}");
	expect_json(&sr, &delve, 0, "{\"tid\":2,\"reason\":\"none\",\"signal\":0}");

	sr = stopped(STOP_REASON_SIGNAL);
	sr.thread.tid = 2;
	sr.signal = 16;
	sr.description = "a\"b";
	expect_json(&sr, &delve, 0,
		    "{\"tid\":2,\"reason\":\"signal\",\"signal\":23,\"description\":\"a\\\"b\"}");

	/* Whatever the debuggee calls itself, the text stays JSON. */
	sr = stopped(STOP_REASON_NONE);
	sr.thread.tid = 2;
	sr.name = "q\"\\\n\x7f\xc3\xa9\xc3|\xff|\xe2\x82\xac|\xe2\x82|\xc0\x80|\xed\xa0\x80|"
		  "\xf0\x9f\x98\x80|\xf5";
	expect_json(&sr, &lldb, 0,
		    "{\"tid\":2,\"name\":\"q\\\"\\\\\\u000a\\u007f\xc3\xa9?|?|\xe2\x82\xac|??|\?\?|"
		    "\?\?\?|\xf0\x9f\x98\x80|?\"}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(for_gdb),   cmocka_unit_test(events_for_gdb),
		cmocka_unit_test(endings),   cmocka_unit_test(for_lldb),
		cmocka_unit_test(for_delve), cmocka_unit_test(json),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
