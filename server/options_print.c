/*
 * options_print.c - --help, --version, --list-options.
 */
#include "server/options_internal.h"

#include <stdio.h>
#include <string.h>

static void print_option(const struct option_def *d, unsigned as)
{
	char left[64];
	const char *sep = d->arg == ARG_NEEDED || d->arg == ARG_OPTIONAL ? "=" : " ";
	bool optional = d->arg == ARG_OPTIONAL;
	bool letter = d->letter && !(as & GDB);

	snprintf(left, sizeof(left), "%c%c%s--%s%s%s%s%s%s", letter ? '-' : ' ',
		 letter ? d->letter : ' ', letter ? ", " : "  ", d->name, optional ? "[" : "",
		 d->arg_name ? sep : "", d->arg_name ? d->arg_name : "", optional ? "]" : "",
		 d->arg == ARG_WORDS ? " --" : "");
	if (strlen(left) > 32)
		printf("  %s\n  %32s", left, "");
	else
		printf("  %-32s", left);
	printf("  %s\n", d->help);
}

static void print_ignored(unsigned as)
{
	const char *before = "Taken for compatibility, without effect:";
	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];
		if ((d->who & as) && !d->help) {
			printf("%s --%s", before, d->name);
			before = "";
		}
	}
	if (!*before)
		printf("\n\n");
}

static void print_usage(const struct options *o)
{
	switch (o->as) {
	case AS_GDBSERVER:
		printf("Usage:\tstopgo [OPTIONS] COMM PROG [ARGS ...]\n"
		       "\tstopgo [OPTIONS] --attach COMM PID\n"
		       "\tstopgo [OPTIONS] --multi COMM\n"
		       "\tstopgo gdbserver|g [OPTIONS] COMM [--] [PROG ARGS ...]   as lldb-server\n"
		       "\tstopgo platform|p [OPTIONS] --listen COMM                as "
		       "lldb-server's "
		       "platform\n"
		       "\tstopgo doctor PID                                        may I trace it, "
		       "and if not, why\n"
		       "\n"
		       "A debug server for gdb, lldb and Delve. COMM says where the client is:\n"
		       "  HOST:PORT, :PORT, [IPV6]:PORT   listen; an empty HOST is loopback, PORT "
		       "0 a free one\n"
		       "  *:PORT                          listen on every address (needs "
		       "--allow-remote)\n"
		       "  unix:PATH, /PATH                listen on a Unix socket that only this "
		       "user can open\n"
		       "  unix-abstract:NAME              the same without a file\n"
		       "  connect://HOST:PORT             connect to a client that waits there\n"
		       "  -, stdio                        standard input and output; fd:N  an open "
		       "descriptor\n"
		       "  /dev/...                        a serial line\n\n");
		break;
	case AS_LLDB_SERVER:
		printf("Usage:\tlldb-server g[dbserver] [OPTIONS] [[HOST]:PORT|URL|PATH] [[--] "
		       "PROG ARGS ...]\n"
		       "\tlldb-server p[latform] [OPTIONS] --listen [HOST]:PORT|URL [[--] PROG "
		       "ARGS "
		       "...]\n"
		       "\tlldb-server v[ersion]\n\n");
		break;
	case AS_DEBUGSERVER:
		printf("Usage:\tdebugserver [OPTIONS] -R HOST:PORT [--] [PROG ARGS ...]\n\n");
		break;
	}
}

void options_print_help(const struct options *o)
{
	unsigned as = 1u << o->as;

	print_usage(o);
	printf("Options:\n");
	for (size_t i = 0; i < option_count; i++) {
		if ((option_table[i].who & as) && option_table[i].help)
			print_option(&option_table[i], as);
	}
	printf("\n");
	print_ignored(as);
	printf("Exit status: 0 ended, 1 failed, 2 usage or refused address, 3 not permitted to "
	       "trace,\n"
	       "4 no such process, program or core, 5 address in use.\n"
	       "Environment: STOPGO_ALLOW_REMOTE=1 is --allow-remote.\n");
}

void options_print_version(const struct options *o)
{
	if (o->as == AS_LLDB_SERVER)
		printf("lldb-server: ");
	printf("stopgo (stopgo) %s\n"
	       "Licence MIT. There is no warranty, to the extent permitted by law.\n"
	       "Compatible with: gdb 13-18, lldb 19-21, Delve 1.20-1.27, Go 1.18-1.27, on "
	       "x86_64-linux-gnu.\n",
	       STOPGO_VERSION);
}

void options_print_list(void)
{
	static const char *const names[] = { "gdbserver", "lldb-server", "debugserver" };

	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];
		printf("--%s\t", d->name);
		if (d->letter)
			printf("-%c", d->letter);
		printf("\t%s\t", d->arg_name ? d->arg_name : "");
		const char *comma = "";
		for (unsigned as = 0; as < ARRAY_SIZE(names); as++) {
			if (d->who & 1u << as) {
				printf("%s%s", comma, names[as]);
				comma = ",";
			}
		}
		printf("\t%s\n", d->help ? d->help : "taken, without effect");
	}
}
