#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/log.h"
#include "server/options.h"

enum { WORDS_MAX = 32 };

/* A command line as the shell would split it, without quoting. */
static int parse(const char *line, struct options *o, struct err *err)
{
	static char text[1024];
	static char *argv[WORDS_MAX + 1];
	int argc = 0;
	assert_true(strlen(line) < sizeof(text));
	strcpy(text, line);
	for (char *word = strtok(text, " "); word && argc < WORDS_MAX; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	return options_parse(argc, argv, o, err);
}

static struct options good(const char *line)
{
	struct options o;
	struct err err = { 0 };
	if (parse(line, &o, &err) < 0)
		fail_msg("'%s': %s", line, err.text);
	return o;
}

static void bad(const char *line, const char *words)
{
	struct options o;
	struct err err = { 0 };
	int r = parse(line, &o, &err);
	options_fini(&o);
	if (r != -EINVAL || !strstr(err.text, words))
		fail_msg("'%s': %d '%s', expected '%s'", line, r, err.text, words);
}

static void gdbservers_grammar(void **state _unused_)
{
	struct options o = good("/usr/bin/stopgo :2345 ./prog -x --once");
	assert_int_equal(o.as, AS_GDBSERVER);
	assert_int_equal(o.comm.port, 2345);
	assert_string_equal(o.program[0], "./prog");
	assert_string_equal(o.program[2], "--once");
	assert_null(o.program[3]);
	assert_false(o.once);
	assert_false(o.aslr);
	assert_true(o.shell);
	assert_int_equal(o.grace_ms, 30000);
	assert_false(o.lldb_client);

	o = good("stopgo --once --no-disable-randomization --no-startup-with-shell --grace=0 - "
		 "prog");
	assert_true(o.once);
	assert_true(o.aslr);
	assert_false(o.shell);
	assert_int_equal(o.comm.kind, COMM_STDIO);
	assert_int_equal(o.grace_ms, 0);

	o = good("stopgo --attach --grace 5 unix:/tmp/x 4711");
	assert_true(o.attach);
	assert_int_equal(o.attach_pid, 4711);
	assert_int_equal(o.grace_ms, 5000);
	assert_null(o.program);

	o = good("gdbserver --multi localhost:0");
	assert_true(o.multi);
	assert_null(o.program);
	o = good("gdbserver --multi localhost:0 prog");
	assert_string_equal(o.program[0], "prog");
	/* Under the name gdbserver its sub-command is a COMM as any other. */
	bad("gdbserver g :1", "no address");
}

/* The command line of pwntools. */
static void a_wrapper_ends_at_its_dashes(void **state _unused_)
{
	struct options o = good("gdbserver --multi --no-disable-randomization --wrapper env -i A=B "
				"--x -- localhost:0 ./p a");
	assert_string_equal(o.wrapper[0], "env");
	assert_string_equal(o.wrapper[1], "-i");
	assert_string_equal(o.wrapper[3], "--x");
	assert_null(o.wrapper[4]);
	assert_string_equal(o.comm.host, "localhost");
	assert_string_equal(o.program[1], "a");
	assert_null(o.program[2]);
	bad("gdbserver --wrapper env localhost:0 ./p", "--wrapper");
	bad("gdbserver --wrapper -- localhost:0 ./p", "--wrapper");
	bad("gdbserver --wrapper=env -- localhost:0 ./p", "--wrapper");
}

static void usage_errors_name_what_is_wrong(void **state _unused_)
{
	bad("stopgo", "no address");
	bad("stopgo :0", "no program");
	bad("stopgo --foo :0 x", "Unknown argument: --foo");
	bad("stopgo -x :0 x", "Unknown argument: -x");
	bad("stopgo --once=1 :0 x", "takes no value");
	bad("stopgo --grace", "needs a value");
	bad("stopgo --grace=-1 :0 x", "--grace");
	bad("stopgo --grace=9999999999 :0 x", "--grace");
	bad("stopgo --attach :0", "exactly one");
	bad("stopgo --attach :0 12 13", "exactly one");
	bad("stopgo --attach :0 self", "no process id");
	bad("stopgo --attach :0 0", "no process id");
	bad("stopgo --threads=fibres :0 x", "auto, goroutines or os");
	bad("stopgo --core=c :0", "does not serve core files");
	bad("stopgo --debug=nonsense :0 x", "nonsense");
	bad("stopgo --debug-format=x :0 x", "Unknown debug-format");
	bad("stopgo doctor", "exactly one");
	bad("stopgo doctor x", "no process id");
	bad("lldb-server", "unknown command");
	bad("lldb-server platform", "no --listen ADDRESS");
	bad("lldb-server platform --listen fd:3", "--listen needs");
	bad("lldb-server platform --listen :0 --attach 1", "no option of lldb-server platform");
	bad("lldb-server platform --listen :0 --gdbserver-port 0", "bad --gdbserver-port");
	bad("lldb-server platform --listen :0 -m 5 -M 4", "--min-gdbserver-port 5 is above");
	bad("lldb-server gdbserver --server :0", "for lldb-server platform");
	bad("lldb-server gdbserver", "no connection arguments");
	bad("lldb-server gdbserver --once :0", "Unknown argument: --once");
	bad("lldb-server gdbserver --fd=x", "bad --fd");
	bad("lldb-server gdbserver :0 --attach 1 -- prog", "not both");
	bad("stopgo -R", "needs a value");
	/* Delve asks whether the option is known, and reads the answer. */
	bad("stopgo --unmask-signals", "no -R ADDRESS");
}

static void lldb_servers_options_behind_the_program(void **state _unused_)
{
	struct options o = good("lldb-server gdbserver :0 prog a --named-pipe path --server -f x "
				"--setsid -- --pipe 3");
	assert_string_equal(o.port_path, "path");
	assert_true(o.setsid);
	assert_int_equal(o.port_pipe, -1);
	static const char *const words[] = {
		"prog", "a", "--server", "-f", "x", "--", "--pipe", "3"
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		assert_string_equal(o.program[i], words[i]);
	assert_null(o.program[ARRAY_SIZE(words)]);
	options_fini(&o);
	o = good("lldb-server gdbserver :0 -- prog --named-pipe path");
	assert_null(o.port_path);
	assert_string_equal(o.program[1], "--named-pipe");
	options_fini(&o);
	bad("lldb-server gdbserver :0 prog --pipe", "needs a value");
}

static void platform_grammar(void **state _unused_)
{
	struct options o = good("lldb-server platform --server --listen [::1]:0 --socket-file f -m "
				"7000 -M 7009 -p 10 -- prog a");
	assert_true(o.platform_mode);
	assert_true(o.platform_server);
	assert_int_equal(o.comm.kind, COMM_TCP);
	assert_string_equal(o.comm.host, "::1");
	assert_string_equal(o.socket_file, "f");
	assert_int_equal(o.gdbserver_port_min, 7000);
	assert_int_equal(o.gdbserver_port_max, 7009);
	assert_int_equal(o.port_offset, 10);
	assert_string_equal(o.program[1], "a");
	options_fini(&o);
	o = good("stopgo p -L localhost:1234 -P 7000");
	assert_true(o.platform_mode);
	assert_false(o.platform_server);
	assert_null(o.program);
	assert_int_equal(o.gdbserver_port_max, 7000);
	options_fini(&o);
}

static void lldb_servers_grammar(void **state _unused_)
{
	struct options o = good("stopgo gdbserver :41234 -- ./prog -a");
	assert_int_equal(o.as, AS_LLDB_SERVER);
	assert_true(o.lldb_client);
	assert_true(o.once);
	assert_false(o.shell);
	assert_false(o.aslr);
	assert_int_equal(o.comm.port, 41234);
	assert_string_equal(o.program[0], "./prog");
	assert_string_equal(o.program[1], "-a");

	o = good("/opt/lldb-server-19 g --fd=7 --native-regs --setsid");
	assert_int_equal(o.as, AS_LLDB_SERVER);
	assert_int_equal(o.comm.kind, COMM_FD);
	assert_int_equal(o.comm.fd, 7);
	assert_true(o.setsid);
	assert_null(o.program);

	o = good("lldb-server gdbserver --reverse-connect [127.0.0.1]:4444");
	assert_true(o.comm.connect);
	assert_string_equal(o.comm.host, "127.0.0.1");
	o = good("lldb-server gdbserver -R connect://localhost:4444");
	assert_true(o.comm.connect);
	o = good("lldb-server gdbserver localhost:0 --named-pipe /tmp/p");
	assert_string_equal(o.port_path, "/tmp/p");
	assert_false(o.comm.connect);
	o = good("lldb-server gdbserver --pipe 5 1234 prog --not-ours");
	assert_int_equal(o.port_pipe, 5);
	assert_int_equal(o.comm.port, 1234);
	assert_string_equal(o.program[1], "--not-ours");
	o = good("lldb-server gdbserver --attach 77 :0");
	assert_int_equal(o.attach_pid, 77);
	o = good("lldb-server gdbserver *:1 -attach=sleep");
	assert_true(o.attach);
	assert_int_equal(o.attach_pid, 0);
	assert_string_equal(o.attach_name, "sleep");
	o = good("lldb-server version");
	assert_int_equal(o.action, ACTION_VERSION);
}

static void debugservers_grammar(void **state _unused_)
{
	struct options o = good("stopgo -e LD_X=1 -e B=2 --stdio-path /dev/pts/3 -g -l stdout -D "
				"--unmask-signals -F "
				"-R 127.0.0.1:999 -- prog -R x");
	assert_int_equal(o.as, AS_DEBUGSERVER);
	assert_string_equal(o.env[0], "LD_X=1");
	assert_string_equal(o.env[1], "B=2");
	assert_null(o.env[2]);
	assert_string_equal(o.stdio[2], "/dev/pts/3");
	assert_false(o.aslr);
	assert_null(o.debug_file);
	assert_true(o.comm.connect);
	assert_int_equal(o.comm.port, 999);
	assert_string_equal(o.program[2], "x");
	options_fini(&o);

	o = good("stopgo -F -R 127.0.0.1:999 prog");
	assert_true(o.aslr);
	assert_string_equal(o.program[0], "prog");
	o = good("debugserver -R 127.0.0.1:999 --attach=42");
	assert_int_equal(o.attach_pid, 42);
	o = good("stopgo -R 127.0.0.1:9 --waitfor=app --waitfor-interval=500 --waitfor-duration=3 "
		 "--unmask-signals");
	assert_true(o.wait_for);
	assert_string_equal(o.attach_name, "app");
	assert_int_equal(o.wait_interval_us, 500);
	assert_int_equal(o.wait_s, 3);
}

static void what_is_only_printed(void **state _unused_)
{
	assert_int_equal(good("stopgo --help :0").action, ACTION_HELP);
	assert_int_equal(good("stopgo --version").action, ACTION_VERSION);
	assert_int_equal(good("stopgo --list-options").action, ACTION_LIST_OPTIONS);
	assert_int_equal(good("gdbserver --disable-packet").action, ACTION_LIST_PACKETS);
	assert_int_equal(good("gdbserver --selftest").action, ACTION_SELFTEST);
	assert_string_equal(good("gdbserver --selftest=frame").selftest, "frame");
	assert_string_equal(good("gdbserver --disable-packet=vCont,T :0 x").disable_packets,
			    "vCont,T");
	struct options o = good("stopgo doctor 5");
	assert_int_equal(o.action, ACTION_DOCTOR);
	assert_int_equal(o.attach_pid, 5);
}

static void debug_words_are_gdbservers_and_ours(void **state _unused_)
{
	log_enable("none", NULL);
	struct options o = good("stopgo --debug --debug-format=timestamp --debug-file=/tmp/l :0 x");
	assert_true(o.debug);
	assert_true(log_on(LOG_STOP));
	assert_false(log_on(LOG_PACKET));
	assert_int_equal(o.debug_format, LOG_FORMAT_TIMESTAMP);
	good("stopgo --remote-debug --event-loop-debug :0 x");
	assert_true(log_on(LOG_PACKET));
	assert_true(log_on(LOG_LOOP));
	log_enable("none", NULL);
	good("stopgo --debug=remote,go :0 x");
	assert_true(log_on(LOG_GO));
	log_enable("none", NULL);
	assert_false(good("lldb-server g :0 --log-channels nothing").debug);
	good("lldb-server g :0 --log-channels lldb:gdb-remote");
	good("lldb-server g :0 -c process");
	assert_true(log_on(LOG_STOP));
	log_enable("none", NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gdbservers_grammar),
		cmocka_unit_test(a_wrapper_ends_at_its_dashes),
		cmocka_unit_test(usage_errors_name_what_is_wrong),
		cmocka_unit_test(lldb_servers_options_behind_the_program),
		cmocka_unit_test(platform_grammar),
		cmocka_unit_test(lldb_servers_grammar),
		cmocka_unit_test(debugservers_grammar),
		cmocka_unit_test(what_is_only_printed),
		cmocka_unit_test(debug_words_are_gdbservers_and_ours),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
