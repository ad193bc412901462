/*
 * main.c - what the command line asks for, done.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "server/doctor.h"
#include "server/options.h"
#include "server/packets.h"
#include "server/platform.h"
#include "server/selftest.h"
#include "server/server.h"
#include "server/signals.h"

static int usage_error(const struct options *o, const char *text)
{
	static const char *const names[] = { "stopgo", "lldb-server", "debugserver" };
	bool renamed =
		strncmp(program_invocation_short_name, names[o->as], strlen(names[o->as])) != 0;

	say("%s: %s", names[o->as], text);
	/* Who wrote `stopgo gdbserver` may have another lldb-server, or none. */
	if (o->as == AS_LLDB_SERVER && renamed)
		say("Try '%s %s --help'", program_invocation_short_name,
		    o->platform_mode ? "platform" : "gdbserver");
	else
		say("Try '%s --help'", names[o->as]);
	return EXIT_USAGE;
}

/* Debug lines go where the options say. The file stays open until we end. */
static int open_log(const struct options *o, struct err *err)
{
	log_set_format(o->debug_format);
	if (!o->debug_file)
		return 0;
	int fd = open(o->debug_file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(err, -errno, "cannot open the debug file '%s': %s", o->debug_file,
			       strerror(errno));
	log_to_fd(fd);
	return 0;
}

static int serve(const struct options *o)
{
	struct err err = { 0 };

	if (o->disable_packets && packets_disable(o->disable_packets, &err) < 0)
		return usage_error(o, err.text);
	if (open_log(o, &err) < 0) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	return o->platform_mode ? platform_run(o) : server_run(o);
}

/* gdbserver's list, word for word where it has the word. */
static void list_packets(void)
{
	printf("Disableable packets:\n"
	       "  vCont       \tAll vCont packets\n"
	       "  vConts      \tvCont's s and S actions\n"
	       "  qC          \tQuerying the current thread\n"
	       "  qfThreadInfo\tThread listing\n"
	       "  Tthread     \tPassing the thread specifier in the T stop reply packet\n"
	       "  threads     \tAll of the above\n"
	       "  T           \tAll 'T' packets\n");
}

static int act(const struct options *o)
{
	switch (o->action) {
	case ACTION_HELP: options_print_help(o); return EXIT_ENDED;
	case ACTION_VERSION: options_print_version(o); return EXIT_ENDED;
	case ACTION_LIST_OPTIONS: options_print_list(); return EXIT_ENDED;
	case ACTION_LIST_PACKETS: list_packets(); return EXIT_ENDED;
	case ACTION_SELFTEST: return selftest_run(o->selftest);
	case ACTION_DOCTOR: return doctor_run(o->attach_pid);
	case ACTION_SERVE: break;
	}
	return serve(o);
}

int main(int argc, char **argv)
{
	struct options o;
	struct err err = { 0 };

	signals_init();
	int r = options_parse(argc, argv, &o, &err);
	int code = r < 0 ? usage_error(&o, err.text) : act(&o);
	options_fini(&o);
	signals_die_as_asked();
	return code;
}
