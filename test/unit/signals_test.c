#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/signals.h"

static void known_numbers(void **state)
{
	(void)state;
	static const struct {
		int gdb, host;
		const char *name;
	} cases[] = {
		{ 0x01, SIGHUP, "SIGHUP" },
		{ 0x02, SIGINT, "SIGINT" },
		{ 0x03, SIGQUIT, "SIGQUIT" },
		{ 0x04, SIGILL, "SIGILL" },
		{ 0x05, SIGTRAP, "SIGTRAP" },
		{ 0x06, SIGABRT, "SIGABRT" },
		{ 0x08, SIGFPE, "SIGFPE" },
		{ 0x09, SIGKILL, "SIGKILL" },
		{ 0x0a, SIGBUS, "SIGBUS" },
		{ 0x0b, SIGSEGV, "SIGSEGV" },
		{ 0x0c, SIGSYS, "SIGSYS" },
		{ 0x0d, SIGPIPE, "SIGPIPE" },
		{ 0x0e, SIGALRM, "SIGALRM" },
		{ 0x0f, SIGTERM, "SIGTERM" },
		{ 0x10, SIGURG, "SIGURG" },
		{ 0x11, SIGSTOP, "SIGSTOP" },
		{ 0x12, SIGTSTP, "SIGTSTP" },
		{ 0x13, SIGCONT, "SIGCONT" },
		{ 0x14, SIGCHLD, "SIGCHLD" },
		{ 0x15, SIGTTIN, "SIGTTIN" },
		{ 0x16, SIGTTOU, "SIGTTOU" },
		{ 0x17, SIGIO, "SIGIO" },
		{ 0x18, SIGXCPU, "SIGXCPU" },
		{ 0x19, SIGXFSZ, "SIGXFSZ" },
		{ 0x1a, SIGVTALRM, "SIGVTALRM" },
		{ 0x1b, SIGPROF, "SIGPROF" },
		{ 0x1c, SIGWINCH, "SIGWINCH" },
		{ 0x1e, SIGUSR1, "SIGUSR1" },
		{ 0x1f, SIGUSR2, "SIGUSR2" },
		{ 0x20, SIGPWR, "SIGPWR" },
		{ 0x4d, 32, "SIG32" },
		{ 0x2d, 33, "SIG33" },
		{ 0x2e, 34, "SIG34" },
		{ 0x4b, 63, "SIG63" },
		{ 0x4e, 64, "SIG64" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(signals_to_gdb(cases[i].host), cases[i].gdb);
		assert_int_equal(signals_from_gdb(cases[i].gdb), cases[i].host);
		assert_string_equal(signals_name(cases[i].gdb), cases[i].name);
		assert_string_equal(signals_linux_name(cases[i].host), cases[i].name);
	}
}

static void every_number(void **state)
{
	(void)state;
	for (int host = 1; host <= SIGNALS_LINUX_MAX; host++) {
		int gdb = signals_to_gdb(host);
		if (host == 16) {
			assert_int_equal(gdb, SIGNALS_UNKNOWN);
			assert_string_equal(signals_linux_name(host), "SIGSTKFLT");
			continue;
		}
		assert_int_equal(signals_from_gdb(gdb), host);
		assert_non_null(signals_text(gdb));
		assert_int_equal(signals_by_name(signals_name(gdb)), gdb);
	}
	int unnamed = 0;
	for (int gdb = 1; gdb < SIGNALS_COUNT; gdb++) {
		unnamed += !signals_name(gdb);
		assert_true(signals_from_gdb(gdb) >= 0 &&
			    signals_from_gdb(gdb) <= SIGNALS_LINUX_MAX);
	}
	assert_int_equal(unnamed, 2); /* 143 unknown and 144, which never travels */
}

static void odd_ones(void **state)
{
	(void)state;
	assert_int_equal(signals_to_gdb(0), 0);
	assert_int_equal(signals_to_gdb(65), SIGNALS_UNKNOWN);
	assert_int_equal(signals_to_gdb(-1), SIGNALS_UNKNOWN);
	assert_int_equal(signals_from_gdb(0), 0);
	assert_int_equal(signals_from_gdb(-1), 0);
	assert_int_equal(signals_from_gdb(7), 0);
	assert_int_equal(signals_from_gdb(SIGNALS_COUNT), 0);
	assert_int_equal(signals_from_gdb(0x21), SIGPOLL);
	assert_null(signals_name(0));
	assert_null(signals_name(SIGNALS_UNKNOWN));
	assert_null(signals_name(1000));
	assert_null(signals_linux_name(0));
	assert_null(signals_linux_name(65));
	assert_int_equal(signals_by_name("URG"), 16);
	assert_int_equal(signals_by_name("SIGNOPE"), -1);
	assert_int_equal(signals_by_name(""), -1);
	assert_string_equal(signals_name(0x8e), "SIGINFO");
	assert_string_equal(signals_name(0x97), "SIGLIBRT");
	assert_string_equal(signals_name(0x4c), "SIGCANCEL");
	assert_string_equal(signals_name(141), "SIG127");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_numbers),
		cmocka_unit_test(every_number),
		cmocka_unit_test(odd_ones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
