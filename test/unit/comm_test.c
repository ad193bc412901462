#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

#include "server/comm.h"

static const struct good {
	const char *text;
	bool bare;
	enum comm_kind kind;
	int family;
	bool connect;
	const char *host_or_path;
	int number;
} good[] = {
	{ ":2345", false, COMM_TCP, AF_UNSPEC, false, "", 2345 },
	{ ":0", false, COMM_TCP, AF_UNSPEC, false, "", 0 },
	{ "localhost:1", false, COMM_TCP, AF_UNSPEC, false, "localhost", 1 },
	{ "127.0.0.1:65535", false, COMM_TCP, AF_UNSPEC, false, "127.0.0.1", 65535 },
	{ "*:1234", false, COMM_TCP, AF_UNSPEC, false, "*", 1234 },
	{ "[::1]:77", false, COMM_TCP, AF_UNSPEC, false, "::1", 77 },
	{ "[127.0.0.1]:77", true, COMM_TCP, AF_UNSPEC, false, "127.0.0.1", 77 },
	{ "tcp:localhost:9", false, COMM_TCP, AF_UNSPEC, false, "localhost", 9 },
	{ "tcp4::9", false, COMM_TCP, AF_INET, false, "", 9 },
	{ "tcp6:[::1]:9", false, COMM_TCP, AF_INET6, false, "::1", 9 },
	{ "tcp6:::1:9", false, COMM_TCP, AF_INET6, false, "::1", 9 },
	{ "connect://localhost:12", true, COMM_TCP, AF_UNSPEC, true, "localhost", 12 },
	{ "listen://[::1]:12", true, COMM_TCP, AF_UNSPEC, false, "::1", 12 },
	{ "4711", true, COMM_TCP, AF_UNSPEC, false, "", 4711 },
	{ "unix:/tmp/s", false, COMM_UNIX, AF_UNSPEC, false, "/tmp/s", 0 },
	{ "unix:rel/s", false, COMM_UNIX, AF_UNSPEC, false, "rel/s", 0 },
	{ "unix:///tmp/s", true, COMM_UNIX, AF_UNSPEC, false, "/tmp/s", 0 },
	{ "unix-connect:///tmp/s", true, COMM_UNIX, AF_UNSPEC, true, "/tmp/s", 0 },
	{ "/tmp/no-such-thing.sock", false, COMM_UNIX, AF_UNSPEC, false, "/tmp/no-such-thing.sock",
	  0 },
	{ "unix-abstract://name", true, COMM_ABSTRACT, AF_UNSPEC, false, "name", 0 },
	{ "/dev/null", false, COMM_TTY, AF_UNSPEC, false, "/dev/null", 0 },
	{ "-", false, COMM_STDIO, AF_UNSPEC, false, "", 0 },
	{ "stdio", false, COMM_STDIO, AF_UNSPEC, false, "", 0 },
	{ "fd:5", false, COMM_FD, AF_UNSPEC, false, "", 5 },
	{ "fd://12", true, COMM_FD, AF_UNSPEC, false, "", 12 },
	{ "serial:///dev/null", true, COMM_TTY, AF_UNSPEC, false, "/dev/null", 0 },
	{ "serial:///dev/null?baud=115200", true, COMM_TTY, AF_UNSPEC, false, "/dev/null", 0 },
};

static void forms_are_understood(void **state _unused_)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		const struct good *g = &good[i];
		struct comm c;
		struct err err = { 0 };
		if (comm_parse(g->text, g->bare, &c, &err) < 0)
			fail_msg("%s: %s", g->text, err.text);
		assert_int_equal(c.kind, g->kind);
		assert_int_equal(c.connect, g->connect);
		assert_int_equal(c.family, g->family);
		assert_string_equal(c.kind == COMM_TCP ? c.host : c.path, g->host_or_path);
		assert_int_equal(c.kind == COMM_TCP  ? c.port
				 : c.kind == COMM_FD ? c.fd
						     : 0,
				 g->number);
	}
}

static void nonsense_is_refused(void **state _unused_)
{
	static const char *const bad[] = { "",
					   "2345",
					   ":",
					   ":x",
					   ":65536",
					   ":-1",
					   ":1 ",
					   "host",
					   "host:",
					   "tcp8:x:1",
					   "udp:localhost:1",
					   "unix:",
					   "fd:",
					   "fd:-1",
					   "fd:1x",
					   "tcp:12",
					   "connect://x",
					   ":99999999999999999999",
					   "fd:99999999999",
					   "unix-abstract:" };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct comm c = { .fd = 1234 };
		struct err err = { 0 };
		if (comm_parse(bad[i], false, &c, &err) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
		assert_int_equal(c.fd, 1234);
		assert_true(err.text[0]);
	}
}

static void length_is_bounded(void **state _unused_)
{
	char text[600] = "unix:/";
	struct comm c;
	memset(text + 6, 'p', 200);
	assert_int_equal(comm_parse(text, false, &c, NULL), -EINVAL);
	memset(text, 'h', 500);
	strcpy(text + 500, ":1");
	assert_int_equal(comm_parse(text, false, &c, NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forms_are_understood),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(length_is_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
