/*
 * options.h - the command line, in the grammars of the servers we stand for.
 *
 *   gdbserver      OPTIONS COMM PROG ARGS...   --attach COMM PID   --multi COMM       (also under the name stopgo)
 *   lldb-server    gdbserver|g OPTIONS COMM [--] PROG ARGS...; options may follow COMM and PROG; also `stopgo gdbserver ...`
 *                  platform|p OPTIONS --listen COMM [[--] PROG ARGS...]
 *   debugserver    OPTIONS -R COMM [--] PROG ARGS..., as Delve starts it; known by its name or its first option
 *   stopgo         doctor PID
 *
 * The grammar is chosen by argv[0], then by the first word. Every option is one row of one table in option_table.c, from
 * which --help, --list-options and with it the check of the man page and the shell completions come. Every form of
 * gdbserver and lldb-server is taken: --opt=VALUE, --opt VALUE, and -opt where the peer has it.
 *
 * Owner:  strings are argv's. argv is written to: a "--" that ends --wrapper becomes its NULL.
 * Errors: -EINVAL with a sentence for a usage error; nothing is printed here but by options_print_*().
 */
#ifndef STOPGO_OPTIONS_H
#define STOPGO_OPTIONS_H

#include <stdbool.h>
#include <sys/types.h>

#include "server/comm.h"

enum exit_code {
	EXIT_ENDED = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NOT_PERMITTED = 3,
	EXIT_NOT_FOUND = 4,
	EXIT_IN_USE = 5,
};

enum personality {
	AS_GDBSERVER,
	AS_LLDB_SERVER,
	AS_DEBUGSERVER,
};

enum options_action {
	ACTION_SERVE,
	ACTION_HELP,
	ACTION_VERSION,
	ACTION_LIST_OPTIONS,
	ACTION_LIST_PACKETS, /* --disable-packet alone */
	ACTION_SELFTEST,
	ACTION_DOCTOR, /* attach_pid */
};

enum { MAX_GOROUTINES_DEFAULT = 1024 };

enum threads_mode {
	THREADS_AUTO,
	THREADS_GOROUTINES,
	THREADS_OS,
};

struct options {
	enum personality as;
	enum options_action action;
	bool lldb_client; /* the client will be lldb or Delve's lldb backend */

	bool platform_mode;                              /* lldb-server platform */
	bool platform_server;                            /* a client is not the last one */
	const char *socket_file;                         /* told where we listen */
	unsigned gdbserver_port_min, gdbserver_port_max; /* 0: any */
	unsigned port_offset;      /* what a client must add to a port to reach it */
	struct platform *platform; /* platform mode serves a client; NULL: no */

	struct comm comm;
	bool allow_remote;
	bool any_user;
	int port_pipe;         /* --pipe: a descriptor that is told the port; -1: none */
	const char *port_path; /* --named-pipe */

	char **program; /* PROG ARGS..., NULL-terminated; NULL: none */
	char **wrapper; /* NULL: none */
	bool attach;    /* attach_pid or attach_name is set */
	pid_t attach_pid;
	const char *attach_name; /* --attach NAME, --waitfor NAME */
	bool wait_for;           /* only a process that starts from now on */
	unsigned wait_interval_us;
	unsigned wait_s; /* 0: for ever */

	bool multi;
	bool once;
	unsigned grace_ms;
	bool no_guard; /* nobody cleans up after a SIGKILL of the server */

	bool aslr;
	bool shell;
	bool raw_args;
	bool setsid;
	const char *stdio[3]; /* NULL: inherited */
	const char **env;     /* NAME=VALUE to add, NULL-terminated; NULL: none */

	enum threads_mode threads;
	size_t max_goroutines; /* listed as threads at most */

	bool debug; /* a log category is on */
	const char *debug_file;
	unsigned debug_format;       /* log.h */
	const char *disable_packets; /* NULL: none */
	const char *selftest;        /* NULL or empty: all */
};

/* 0 or -EINVAL. Turns log categories on as it meets them. */
int options_parse(int argc, char **argv, struct options *ret, struct err *err);
void options_fini(struct options *o);

/* To stdout. */
void options_print_help(const struct options *o);
void options_print_version(const struct options *o);
/* One option a line: name, short form, argument, grammars and help, separated by tabs. */
void options_print_list(void);

#endif
