/*
 * option_table.c - every option: whose it is, what it does, what --help says of it.
 */
#include "server/options_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum {
	GRACE_MAX_S = 24 * 3600,
	WAIT_MAX_S = 7 * 24 * 3600,
};

static int set_help(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->action = ACTION_HELP;
	return 0;
}

static int set_version(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->action = ACTION_VERSION;
	return 0;
}

static int set_list_options(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->action = ACTION_LIST_OPTIONS;
	return 0;
}

static int set_selftest(struct options *o, const char *value, struct err *err _unused_)
{
	o->action = ACTION_SELFTEST;
	o->selftest = value;
	return 0;
}

static int set_once(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->once = true;
	return 0;
}

static int set_multi(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->multi = true;
	return 0;
}

static int set_attach_flag(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->attach = true;
	return 0;
}

int options_long(const char *text, long min, long max, long *ret)
{
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < min || value > max)
		return -EINVAL;
	*ret = value;
	return 0;
}

static int set_attach_target(struct options *o, const char *value, struct err *err)
{
	long pid;
	if (!*value)
		return err_set(err, -EINVAL, "--attach needs a process id or name");
	o->attach = true;
	if (!options_long(value, 1, INT_MAX, &pid))
		o->attach_pid = (pid_t)pid;
	else
		o->attach_name = value;
	return 0;
}

static int set_wait_for(struct options *o, const char *value, struct err *err)
{
	if (!*value)
		return err_set(err, -EINVAL, "--waitfor needs the name of a program");
	o->attach = true;
	o->attach_name = value;
	o->wait_for = true;
	return 0;
}

static int set_wait_interval(struct options *o, const char *value, struct err *err)
{
	long n;
	if (options_long(value, 0, 60000000, &n) < 0)
		return err_set(err, -EINVAL, "bad --waitfor-interval '%s': microseconds", value);
	o->wait_interval_us = (unsigned)n;
	return 0;
}

static int set_wait_duration(struct options *o, const char *value, struct err *err)
{
	long n;
	if (options_long(value, 0, WAIT_MAX_S, &n) < 0)
		return err_set(err, -EINVAL, "bad --waitfor-duration '%s': seconds", value);
	o->wait_s = (unsigned)n;
	return 0;
}

static int set_core(struct options *o _unused_, const char *value, struct err *err)
{
	return err_set(
		err, -EINVAL,
		"--core %s: this version does not serve core files; gdb reads them without a "
		"server: gdb PROG %s",
		value, value);
}

static int set_aslr(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->aslr = true;
	return 0;
}

static int set_no_aslr(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->aslr = false;
	return 0;
}

static int set_shell(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->shell = true;
	return 0;
}

static int set_no_shell(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->shell = false;
	return 0;
}

static int set_raw_args(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->raw_args = true;
	return 0;
}

static int set_allow_remote(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->allow_remote = true;
	return 0;
}

static int set_any_user(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->any_user = true;
	return 0;
}

static int set_no_guard(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->no_guard = true;
	return 0;
}

static int set_grace(struct options *o, const char *value, struct err *err)
{
	long s;
	if (options_long(value, 0, GRACE_MAX_S, &s) < 0)
		return err_set(err, -EINVAL, "bad --grace '%s': 0 to %d seconds", value,
			       GRACE_MAX_S);
	o->grace_ms = (unsigned)s * 1000;
	return 0;
}

static int set_threads(struct options *o, const char *value, struct err *err)
{
	if (!strcmp(value, "auto"))
		o->threads = THREADS_AUTO;
	else if (!strcmp(value, "os"))
		o->threads = THREADS_OS;
	else if (!strcmp(value, "goroutines"))
		o->threads = THREADS_GOROUTINES;
	else
		return err_set(err, -EINVAL, "bad --threads '%s': auto, goroutines or os", value);
	return 0;
}

static int set_max_goroutines(struct options *o, const char *value, struct err *err)
{
	long n;
	if (options_long(value, 1, INT32_MAX, &n) < 0)
		return err_set(err, -EINVAL, "bad --max-goroutines '%s': a number from 1", value);
	o->max_goroutines = (size_t)n;
	return 0;
}

/* gdbserver's words for our categories; ours are taken, too. */
static int debug_word(struct options *o, const char *word, struct err *err)
{
	static const struct {
		const char *word, *categories;
	} words[] = {
		{ "all", "all" },         { "threads", "stop,run,points" },
		{ "event-loop", "loop" }, { "remote", "packet,frame" },
		{ "off", "none" },
	};
	o->debug = true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(word, words[i].word))
			return log_enable(words[i].categories, err);
	}
	return log_enable(word, err);
}

static int each_word(struct options *o, const char *list, const char *separators,
		     int (*take)(struct options *o, const char *word, struct err *err),
		     struct err *err)
{
	while (*list) {
		char word[64];
		size_t len = strcspn(list, separators);
		if (len >= sizeof(word))
			return err_set(err, -EINVAL, "unknown word '%.*s'", (int)len, list);
		memcpy(word, list, len);
		word[len] = 0;
		int r = len ? take(o, word, err) : 0;
		if (r < 0)
			return r;
		list += len;
		list += *list != 0;
	}
	return 0;
}

static int set_debug(struct options *o, const char *value, struct err *err)
{
	return each_word(o, value && *value ? value : "threads", ",", debug_word, err);
}

static int set_remote_debug(struct options *o, const char *value _unused_, struct err *err)
{
	return debug_word(o, "remote", err);
}

static int set_event_loop_debug(struct options *o, const char *value _unused_, struct err *err)
{
	return debug_word(o, "event-loop", err);
}

static int format_word(struct options *o, const char *word, struct err *err)
{
	if (!strcmp(word, "none"))
		o->debug_format = LOG_FORMAT_NONE;
	else if (!strcmp(word, "all") || !strcmp(word, "timestamp"))
		o->debug_format = LOG_FORMAT_TIMESTAMP;
	else
		return err_set(err, -EINVAL, "Unknown debug-format argument: \"%s\"", word);
	return 0;
}

static int set_debug_format(struct options *o, const char *value, struct err *err)
{
	return each_word(o, value, ",", format_word, err);
}

static int set_debug_file(struct options *o, const char *value, struct err *err)
{
	if (!*value)
		return err_set(err, -EINVAL, "--debug-file needs a file name");
	o->debug_file = value;
	return 0;
}

static int set_disable_packets(struct options *o, const char *value, struct err *err _unused_)
{
	if (value)
		o->disable_packets = value;
	else
		o->action = ACTION_LIST_PACKETS;
	return 0;
}

/* lldb's and debugserver's log files: "stdout" would mix with the program's output, so it means stderr here. */
static int set_log_file(struct options *o, const char *value, struct err *err _unused_)
{
	bool standard = !*value || !strcmp(value, "stdout") || !strcmp(value, "stderr");
	o->debug_file = standard ? NULL : value;
	return 0;
}

static int log_channel_word(struct options *o, const char *word, struct err *err)
{
	static const struct {
		const char *word, *categories;
	} words[] = {
		{ "all", "all" },           { "default", "stop,packet" }, { "packets", "packet" },
		{ "comm", "frame,loop" },   { "process", "stop,run" },    { "thread", "stop,run" },
		{ "break", "points" },      { "breakpoints", "points" },  { "step", "run" },
		{ "watch", "points" },      { "watchpoints", "points" },  { "async", "loop" },
		{ "ptrace", "run,points" }, { "event", "loop" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (!strcmp(word, words[i].word)) {
			o->debug = true;
			return log_enable(words[i].categories, err);
		}
	}
	return 0; /* names of channels, and of things there is nothing to say about here */
}

static int set_log_channels(struct options *o, const char *value, struct err *err)
{
	return each_word(o, value, " :", log_channel_word, err);
}

static int set_log_all(struct options *o, const char *value _unused_, struct err *err)
{
	return debug_word(o, "remote", err);
}

static int set_fd(struct options *o, const char *value, struct err *err)
{
	long fd;
	if (options_long(value, 0, INT_MAX, &fd) < 0)
		return err_set(err, -EINVAL, "bad --fd '%s'", value);
	o->comm = (struct comm){ .kind = COMM_FD, .fd = (int)fd };
	return 0;
}

static int set_pipe(struct options *o, const char *value, struct err *err)
{
	long fd;
	if (options_long(value, 0, INT_MAX, &fd) < 0)
		return err_set(err, -EINVAL, "bad --pipe '%s'", value);
	o->port_pipe = (int)fd;
	return 0;
}

static int set_named_pipe(struct options *o, const char *value, struct err *err)
{
	if (!*value)
		return err_set(err, -EINVAL, "--named-pipe needs a path");
	o->port_path = value;
	return 0;
}

static int set_listen(struct options *o, const char *value, struct err *err)
{
	return comm_parse(value, true, &o->comm, err);
}

static int set_server(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->platform_server = true;
	return 0;
}

static int set_socket_file(struct options *o, const char *value, struct err *err)
{
	if (!*value)
		return err_set(err, -EINVAL, "--socket-file needs a path");
	o->socket_file = value;
	return 0;
}

static int take_port(const char *name, const char *value, unsigned *ret, struct err *err)
{
	long port;
	if (options_long(value, 1, UINT16_MAX, &port) < 0)
		return err_set(err, -EINVAL, "bad --%s '%s': 1 to 65535", name, value);
	*ret = (unsigned)port;
	return 0;
}

static int set_gdbserver_port(struct options *o, const char *value, struct err *err)
{
	int r = take_port("gdbserver-port", value, &o->gdbserver_port_min, err);
	o->gdbserver_port_max = o->gdbserver_port_min;
	return r;
}

static int set_min_port(struct options *o, const char *value, struct err *err)
{
	return take_port("min-gdbserver-port", value, &o->gdbserver_port_min, err);
}

static int set_max_port(struct options *o, const char *value, struct err *err)
{
	return take_port("max-gdbserver-port", value, &o->gdbserver_port_max, err);
}

static int set_port_offset(struct options *o, const char *value, struct err *err)
{
	return take_port("port-offset", value, &o->port_offset, err);
}

static int set_reverse_flag(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->comm.connect = true;
	return 0;
}

static int set_reverse_address(struct options *o, const char *value, struct err *err)
{
	int r = comm_parse(value, true, &o->comm, err);
	if (!r)
		o->comm.connect = true;
	return r;
}

static int set_setsid(struct options *o, const char *value _unused_, struct err *err _unused_)
{
	o->setsid = true;
	return 0;
}

static int set_stdin(struct options *o, const char *value, struct err *err _unused_)
{
	o->stdio[0] = value;
	return 0;
}

static int set_stdout(struct options *o, const char *value, struct err *err _unused_)
{
	o->stdio[1] = value;
	return 0;
}

static int set_stderr(struct options *o, const char *value, struct err *err _unused_)
{
	o->stdio[2] = value;
	return 0;
}

static int set_stdio(struct options *o, const char *value, struct err *err _unused_)
{
	o->stdio[0] = o->stdio[1] = o->stdio[2] = value;
	return 0;
}

static int set_env(struct options *o, const char *value, struct err *err)
{
	if (!strchr(value, '=') || value[0] == '=')
		return err_set(err, -EINVAL, "-e %s: NAME=VALUE is needed", value);

	size_t n = 0;
	while (o->env && o->env[n])
		n++;
	const char **grown = realloc(o->env, (n + 2) * sizeof(*grown));
	if (!grown)
		return err_set(err, -ENOMEM, "no memory for -e %s", value);
	grown[n] = value;
	grown[n + 1] = NULL;
	o->env = grown;
	return 0;
}

static int set_nothing(struct options *o _unused_, const char *value _unused_,
		       struct err *err _unused_)
{
	return 0;
}

const struct option_def option_table[] = {
	{ "attach", 0, GDB, ARG_NONE, NULL, set_attach_flag, "Attach to the running process PID" },
	{ "attach", 'a', LLDB | DELVE, ARG_NEEDED, "PID|NAME", set_attach_target,
	  "Attach to a running process, by number or name" },
	{ "multi", 0, GDB, ARG_NONE, NULL, set_multi,
	  "Serve without a program until told to end (extended-remote)" },
	{ "once", 0, GDB, ARG_NONE, NULL, set_once, "End when the first client has gone" },
	{ "core", 0, GDB, ARG_NEEDED, "FILE", set_core,
	  "Reserved for core files; refused by this version" },
	{ "waitfor", 0, DELVE, ARG_NEEDED, "NAME", set_wait_for,
	  "Attach to the next process of this name that starts" },
	{ "waitfor-interval", 0, DELVE, ARG_NEEDED, "USEC", set_wait_interval,
	  "How often --waitfor looks" },
	{ "waitfor-duration", 0, DELVE, ARG_NEEDED, "SECONDS", set_wait_duration,
	  "How long --waitfor waits; 0: for ever" },
	{ "help", 'h', ALL, ARG_NONE, NULL, set_help, "Print this and end" },
	{ "version", 0, ALL, ARG_NONE, NULL, set_version, "Print the version and end" },
	{ "list-options", 0, GDB, ARG_NONE, NULL, set_list_options,
	  "Print every option, one a line, for scripts" },

	{ "wrapper", 0, GDB, ARG_WORDS, "WRAPPER...", set_nothing,
	  "Start programs through WRAPPER; ends with --" },
	{ "disable-randomization", 0, GDB, ARG_NONE, NULL, set_no_aslr,
	  "Start PROG with address space randomisation off (default)" },
	{ "no-disable-randomization", 0, GDB, ARG_NONE, NULL, set_aslr,
	  "Leave address space randomisation as it is" },
	{ "startup-with-shell", 0, GDB, ARG_NONE, NULL, set_shell,
	  "Start PROG through $SHELL (default)" },
	{ "no-startup-with-shell", 0, GDB, ARG_NONE, NULL, set_no_shell,
	  "Start PROG directly: no globbing, no variables" },
	{ "no-escape-args", 0, GDB, ARG_NONE, NULL, set_raw_args, "Let the shell interpret ARGS" },
	{ "env", 'e', DELVE, ARG_NEEDED, "NAME=VALUE", set_env, "Set a variable for PROG" },
	{ "forward-env", 'F', DELVE, ARG_NONE, NULL, set_nothing, NULL },
	{ "disable-aslr", 'D', DELVE, ARG_NONE, NULL, set_no_aslr,
	  "Start PROG with address space randomisation off" },
	{ "unmask-signals", 0, DELVE, ARG_NONE, NULL, set_nothing, NULL },
	{ "stdin-path", 'i', DELVE, ARG_NEEDED, "FILE", set_stdin, "PROG's standard input" },
	{ "stdout-path", 'o', DELVE, ARG_NEEDED, "FILE", set_stdout, "PROG's standard output" },
	{ "stderr-path", 0, DELVE, ARG_NEEDED, "FILE", set_stderr, "PROG's standard error" },
	{ "stdio-path", 's', DELVE, ARG_NEEDED, "FILE", set_stdio, "All three" },

	{ "allow-remote", 0, ALL, ARG_NONE, NULL, set_allow_remote,
	  "Serve addresses beyond loopback; an empty HOST then means every address, as in "
	  "gdbserver" },
	{ "allow-other-users", 0, ALL, ARG_NONE, NULL, set_any_user,
	  "Serve other users of this machine, too, not the server's user and root alone" },
	{ "grace", 0, ALL, ARG_NEEDED, "SECONDS", set_grace,
	  "How long a stop is kept for a client that vanished (default 30)" },
	{ "no-guard", 0, ALL, ARG_NONE, NULL, set_no_guard,
	  "Start no process that cleans up attached processes should the server be killed" },
	{ "threads", 0, ALL, ARG_NEEDED, "auto|goroutines|os", set_threads,
	  "What the client sees as threads; auto: goroutines of a Go program, to gdb and lldb" },
	{ "max-goroutines", 0, ALL, ARG_NEEDED, "N", set_max_goroutines,
	  "List at most N goroutines as threads (default 1024)" },
	{ "fd", 0, LLDB, ARG_NEEDED, "N", set_fd, "The client is at this inherited descriptor" },
	{ "pipe", 0, LLDB, ARG_NEEDED, "N", set_pipe,
	  "Write the port and a NUL to this descriptor" },
	{ "named-pipe", 'f', LLDB, ARG_NEEDED, "PATH", set_named_pipe, "The same to a named pipe" },
	{ "listen", 'L', LLDB, ARG_NEEDED, "COMM", set_listen, "platform: where clients come" },
	{ "server", 0, LLDB, ARG_NONE, NULL, set_server,
	  "platform: serve any number of clients, not one" },
	{ "socket-file", 0, LLDB, ARG_NEEDED, "PATH", set_socket_file,
	  "platform: write the port or the socket's path to this file" },
	{ "gdbserver-port", 'P', LLDB, ARG_NEEDED, "PORT", set_gdbserver_port,
	  "platform: the port of debug servers; without it any free one" },
	{ "min-gdbserver-port", 'm', LLDB, ARG_NEEDED, "PORT", set_min_port,
	  "platform: the first of a range of such ports" },
	{ "max-gdbserver-port", 'M', LLDB, ARG_NEEDED, "PORT", set_max_port,
	  "platform: the last one" },
	{ "port-offset", 'p', LLDB, ARG_NEEDED, "N", set_port_offset,
	  "platform: what to add to a port before a client is told of it" },
	{ "reverse-connect", 'R', LLDB, ARG_NONE, NULL, set_reverse_flag,
	  "Connect to the client at COMM" },
	{ "reverse-connect", 'R', DELVE, ARG_NEEDED, "COMM", set_reverse_address,
	  "Connect to the client there" },
	{ "setsid", 'S', LLDB | DELVE, ARG_NONE, NULL, set_setsid, "Run in a session of our own" },
	{ "native-regs", 'r', LLDB | DELVE, ARG_NONE, NULL, set_nothing, NULL },

	{ "debug", 0, GDB, ARG_OPTIONAL, "WHAT,...", set_debug,
	  "Say what happens: all threads event-loop remote, or frame packet stop run points image "
	  "go loop" },
	{ "debug-format", 0, GDB, ARG_NEEDED, "all|none|timestamp", set_debug_format,
	  "What debug lines begin with" },
	{ "debug-file", 0, GDB, ARG_NEEDED, "FILE", set_debug_file,
	  "Write debug lines there instead of to stderr" },
	{ "remote-debug", 0, GDB, ARG_NONE, NULL, set_remote_debug, "The same as --debug=remote" },
	{ "event-loop-debug", 0, GDB, ARG_NONE, NULL, set_event_loop_debug,
	  "The same as --debug=event-loop" },
	{ "log-file", 'l', LLDB | DELVE, ARG_NEEDED, "FILE", set_log_file,
	  "Write debug lines there instead of to stderr" },
	{ "log-channels", 'c', LLDB, ARG_NEEDED, "LIST", set_log_channels,
	  "What to log, as \"lldb process thread:gdb-remote packets\"" },
	{ "lldb-log", 'g', DELVE, ARG_NONE, NULL, set_log_all, "Log packets" },
	{ "disable-packet", 0, GDB, ARG_OPTIONAL, "NAME,...", set_disable_packets,
	  "Do not serve these packets; alone: list them" },
	{ "selftest", 0, GDB, ARG_OPTIONAL, "NAME", set_selftest,
	  "Check that tracing works here and end" },
};

const size_t option_count = ARRAY_SIZE(option_table);
