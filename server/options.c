#include "server/options.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

enum {
	GRACE_DEFAULT_S = 30,
	GRACE_MAX_S = 24 * 3600,
	WAIT_MAX_S = 7 * 24 * 3600,
};

/* Whose grammar knows the option. */
enum {
	GDB = 1 << AS_GDBSERVER,
	LLDB = 1 << AS_LLDB_SERVER,
	DELVE = 1 << AS_DEBUGSERVER,
	ALL = GDB | LLDB | DELVE,
};

enum option_arg {
	ARG_NONE,
	ARG_NEEDED,   /* --name=VALUE or --name VALUE */
	ARG_OPTIONAL, /* --name or --name=VALUE */
	ARG_WORDS,    /* --name WORDS... -- */
};

struct option_def {
	const char *name;
	char letter; /* -x, where the peer has one; 0: none */
	unsigned who;
	enum option_arg arg;
	const char *arg_name;
	int (*set)(struct options *o, const char *value, struct err *err);
	const char *help; /* NULL: the peer takes it and so do we; it changes nothing */
};

/* ---- what the options do ---- */

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

static int parse_long(const char *text, long min, long max, long *ret)
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
	if (!parse_long(value, 1, INT_MAX, &pid))
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
	if (parse_long(value, 0, 60000000, &n) < 0)
		return err_set(err, -EINVAL, "bad --waitfor-interval '%s': microseconds", value);
	o->wait_interval_us = (unsigned)n;
	return 0;
}

static int set_wait_duration(struct options *o, const char *value, struct err *err)
{
	long n;
	if (parse_long(value, 0, WAIT_MAX_S, &n) < 0)
		return err_set(err, -EINVAL, "bad --waitfor-duration '%s': seconds", value);
	o->wait_s = (unsigned)n;
	return 0;
}

static int set_core(struct options *o _unused_, const char *value, struct err *err)
{
	return err_set(err, -EINVAL, "--core %s: this version does not serve core files", value);
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

static int set_grace(struct options *o, const char *value, struct err *err)
{
	long s;
	if (parse_long(value, 0, GRACE_MAX_S, &s) < 0)
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
	if (parse_long(value, 1, INT32_MAX, &n) < 0)
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
	if (parse_long(value, 0, INT_MAX, &fd) < 0)
		return err_set(err, -EINVAL, "bad --fd '%s'", value);
	o->comm = (struct comm){ .kind = COMM_FD, .fd = (int)fd };
	return 0;
}

static int set_pipe(struct options *o, const char *value, struct err *err)
{
	long fd;
	if (parse_long(value, 0, INT_MAX, &fd) < 0)
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
	if (parse_long(value, 1, UINT16_MAX, &port) < 0)
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

/* In the order of --help. */
static const struct option_def table[] = {
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

/* ---- finding options ---- */

/* Which row a word means: --name, --name=value, and in lldb's and debugserver's way -name and -x. NULL: none. */
static const struct option_def *find_option(const struct options *o, const char *word,
					    const char **ret_value)
{
	bool dashes = word[0] == '-' && word[1] == '-';
	const char *name = word + 1 + dashes;
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;

	if (!dashes && o->as == AS_GDBSERVER)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct option_def *d = &table[i];
		if (!(d->who & 1u << o->as))
			continue;
		bool by_name = strlen(d->name) == len && !memcmp(d->name, name, len);
		bool by_letter = !dashes && d->letter && len == 1 && name[0] == d->letter;
		if (by_name || by_letter) {
			*ret_value = value;
			return d;
		}
	}
	return NULL;
}

/* --wrapper W... --: the words stay where they are, the -- becomes their NULL. */
static int take_wrapper(struct options *o, char **argv, int *at, struct err *err)
{
	int first = *at, end = first;
	while (argv[end] && strcmp(argv[end], "--"))
		end++;
	if (!argv[end] || end == first)
		return err_set(err, -EINVAL, "--wrapper needs a command, followed by --");
	argv[end] = NULL;
	o->wrapper = argv + first;
	*at = end + 1;
	return 0;
}

/* Takes argv[*at], which is an option, and its value. */
static int take_option(struct options *o, char **argv, int *at, struct err *err)
{
	const char *word = argv[(*at)++], *value = NULL;
	const struct option_def *d = find_option(o, word, &value);

	if (!d)
		return err_set(err, -EINVAL, "Unknown argument: %s", word);
	if (d->arg == ARG_NONE && value)
		return err_set(err, -EINVAL, "--%s takes no value", d->name);
	if (d->arg == ARG_WORDS)
		return value ? err_set(err, -EINVAL,
				       "--%s COMMAND -- is needed, without =", d->name)
			     : take_wrapper(o, argv, at, err);
	if (d->arg == ARG_NEEDED && !value) {
		value = argv[*at];
		if (!value)
			return err_set(err, -EINVAL, "--%s needs a value: %s", d->name,
				       d->arg_name);
		++*at;
	}
	return d->set(o, value, err);
}

/* ---- grammars ---- */

static int take_pid(struct options *o, const char *text, struct err *err)
{
	long pid;
	if (parse_long(text, 1, INT_MAX, &pid) < 0)
		return err_set(err, -EINVAL, "'%s' is no process id", text);
	o->attach_pid = (pid_t)pid;
	return 0;
}

static bool ends_parsing(const struct options *o)
{
	return o->action != ACTION_SERVE;
}

/* Options, then COMM, then the program or process. A lone "-" is a COMM. */
static int parse_gdbserver(struct options *o, char **argv, struct err *err)
{
	int at = 0, r = 0;
	while (!r && argv[at] && argv[at][0] == '-' && argv[at][1]) {
		if (!strcmp(argv[at], "--")) {
			at++;
			break;
		}
		r = take_option(o, argv, &at, err);
		if (ends_parsing(o))
			return r;
	}
	if (r < 0)
		return r;

	if (!argv[at])
		return err_set(err, -EINVAL,
			       "no address: HOST:PORT, :PORT, unix:PATH, fd:N, a device, or -");
	r = comm_parse(argv[at++], false, &o->comm, err);
	if (r < 0)
		return r;

	if (argv[at] && !strcmp(argv[at], "--attach")) { /* its place in very old gdbservers */
		o->attach = true;
		at++;
	}
	if (o->attach) {
		if (!argv[at] || argv[at + 1])
			return err_set(err, -EINVAL,
				       "--attach COMM PID: exactly one process id is needed");
		return take_pid(o, argv[at], err);
	}
	if (argv[at])
		o->program = argv + at;
	else if (!o->multi)
		return err_set(err, -EINVAL,
			       "no program: COMM PROG ARGS..., --attach COMM PID, or --multi COMM");
	return 0;
}

static bool is_in(const char *word, const char *const *list)
{
	for (; *list; list++) {
		if (!strcmp(word, *list))
			return true;
	}
	return false;
}

/*
 * Without "--" lldb-server's own options are its own behind the program's name, too, and scripts put them there. The others are the
 * program's: lldb-server would refuse them.
 */
static int take_late_options(struct options *o, char **words, struct err *err)
{
	static const char *const late[] = {
		"attach",      "fd",   "log-channels",    "log-file", "named-pipe",
		"native-regs", "pipe", "reverse-connect", "setsid",   NULL
	};
	int from = 1, to = 1;

	while (words[from] && strcmp(words[from], "--")) {
		const char *value;
		const struct option_def *d =
			!strncmp(words[from], "--", 2) ? find_option(o, words[from], &value) : NULL;
		int r = 0;
		if (d && is_in(d->name, late))
			r = take_option(o, words, &from, err);
		else
			words[to++] = words[from++];
		if (r < 0)
			return r;
	}
	while (words[from])
		words[to++] = words[from++];
	words[to] = NULL;
	return 0;
}

/* Options and COMM in any order, then the program, perhaps behind "--". */
static int parse_loose(struct options *o, char **argv, bool positional_comm, struct err *err)
{
	bool have_comm = !positional_comm, reverse = false;
	int at = 0;

	while (argv[at]) {
		int r = 0;
		if (!strcmp(argv[at], "--")) {
			at++;
			break;
		}
		if (argv[at][0] == '-' && argv[at][1]) {
			r = take_option(o, argv, &at, err);
		} else if (!have_comm && o->comm.kind == COMM_NONE) {
			r = comm_parse(argv[at++], true, &o->comm, err);
			have_comm = true;
		} else {
			r = o->as == AS_LLDB_SERVER && !o->platform_mode
				    ? take_late_options(o, argv + at, err)
				    : 0;
			reverse |= o->comm.connect;
			if (r < 0)
				return r;
			break;
		}
		reverse |= o->comm.connect;
		if (r < 0 || ends_parsing(o))
			return r;
	}
	o->comm.connect = reverse;
	if (argv[at])
		o->program = argv + at;
	if (o->comm.kind == COMM_NONE)
		return err_set(err, -EINVAL,
			       positional_comm    ? "no connection arguments"
			       : o->platform_mode ? "no --listen ADDRESS"
						  : "no -R ADDRESS to connect to");
	if (o->program && o->attach)
		return err_set(err, -EINVAL,
			       "either attach to a process or start a program, not both");
	return 0;
}

static int parse_platform(struct options *o, char **argv, struct err *err)
{
	o->platform_mode = true;
	int r = parse_loose(o, argv, false, err);
	if (r < 0 || ends_parsing(o))
		return r;
	if (o->attach || o->port_pipe >= 0 || o->port_path || o->comm.connect)
		return err_set(err, -EINVAL, "that is no option of lldb-server platform");
	if (o->comm.kind != COMM_TCP && o->comm.kind != COMM_UNIX && o->comm.kind != COMM_ABSTRACT)
		return err_set(err, -EINVAL, "--listen needs HOST:PORT or a Unix socket");
	if (o->gdbserver_port_max < o->gdbserver_port_min)
		return err_set(err, -EINVAL,
			       "--min-gdbserver-port %u is above --max-gdbserver-port %u",
			       o->gdbserver_port_min, o->gdbserver_port_max);
	return 0;
}

static int parse_lldb_server(struct options *o, char **argv, struct err *err)
{
	const char *verb = argv[0] ? argv[0] : "";

	if (!strcmp(verb, "version") || !strcmp(verb, "v") || !strcmp(verb, "--version")) {
		o->action = ACTION_VERSION;
		return 0;
	}
	if (!strcmp(verb, "--help") || !strcmp(verb, "-h") || !strcmp(verb, "help")) {
		o->action = ACTION_HELP;
		return 0;
	}
	if (!strcmp(verb, "platform") || !strcmp(verb, "p"))
		return parse_platform(o, argv + 1, err);
	if (strcmp(verb, "gdbserver") && strcmp(verb, "g"))
		return err_set(err, -EINVAL,
			       "unknown command '%s': gdbserver (g), platform (p) or version (v)",
			       verb);
	int r = parse_loose(o, argv + 1, true, err);
	if (r == 0 && (o->platform_server || o->socket_file || o->gdbserver_port_max))
		return err_set(err, -EINVAL,
			       "--server, --socket-file and ports are for lldb-server platform");
	return r;
}

static int parse_doctor(struct options *o, char **argv, struct err *err)
{
	o->action = ACTION_DOCTOR;
	if (!argv[0] || argv[1])
		return err_set(err, -EINVAL, "doctor PID: exactly one process id is needed");
	return take_pid(o, argv[0], err);
}

static bool name_begins(const char *name, const char *with)
{
	return !strncmp(name, with, strlen(with));
}

/* Delve starts $DELVE_DEBUGSERVER_PATH, whatever its name, with options that only debugserver has. */
static bool is_debugserver_option(const char *word)
{
	struct options probe = { .as = AS_DEBUGSERVER };
	const char *value;
	if (word[0] != '-' || !word[1] || !strcmp(word, "--"))
		return false;
	const struct option_def *d = find_option(&probe, word, &value);
	return d && (word[1] != '-' || !(d->who & GDB)) && strcmp(d->name, "attach") &&
	       strcmp(d->name, "help");
}

static enum personality choose(const char *argv0, const char *word)
{
	static const char *const lldb_verbs[] = { "gdbserver", "g", "platform", "p",
						  "version",   "v", NULL };
	const char *slash = strrchr(argv0, '/'), *name = slash ? slash + 1 : argv0;

	if (name_begins(name, "lldb-server"))
		return AS_LLDB_SERVER;
	if (name_begins(name, "debugserver"))
		return AS_DEBUGSERVER;
	if (name_begins(name, "gdbserver") || !word)
		return AS_GDBSERVER;
	if (is_in(word, lldb_verbs))
		return AS_LLDB_SERVER;
	return is_debugserver_option(word) ? AS_DEBUGSERVER : AS_GDBSERVER;
}

static void set_defaults(struct options *o)
{
	const char *remote = getenv("STOPGO_ALLOW_REMOTE");
	*o = (struct options){
		.as = o->as,
		.port_pipe = -1,
		.grace_ms = GRACE_DEFAULT_S * 1000,
		.max_goroutines = MAX_GOROUTINES_DEFAULT,
		.wait_interval_us = 1000,
		.shell = o->as == AS_GDBSERVER,
		/* debugserver leaves it on; the others switch it off unless told otherwise */
		.aslr = o->as == AS_DEBUGSERVER,
		.lldb_client = o->as != AS_GDBSERVER,
		/* lldb-server serves one connection. */
		.once = o->as != AS_GDBSERVER,
		.allow_remote = remote && !strcmp(remote, "1"),
	};
}

int options_parse(int argc, char **argv, struct options *ret, struct err *err)
{
	struct options o = { .as = choose(argc ? argv[0] : "", argc > 1 ? argv[1] : NULL) };
	char **words = argc ? argv + 1 : argv;
	int r;

	set_defaults(&o);
	if (o.as == AS_LLDB_SERVER)
		r = parse_lldb_server(&o, words, err);
	else if (o.as == AS_DEBUGSERVER)
		r = parse_loose(&o, words, false, err);
	else if (words[0] && !strcmp(words[0], "doctor"))
		r = parse_doctor(&o, words + 1, err);
	else
		r = parse_gdbserver(&o, words, err);
	*ret = o;
	return r;
}

void options_fini(struct options *o)
{
	free(o->env);
	o->env = NULL;
}

/* ---- printing ---- */

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
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct option_def *d = &table[i];
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
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if ((table[i].who & as) && table[i].help)
			print_option(&table[i], as);
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
	       "Compatible with: gdb 13-18, lldb 19-21, Delve 1.20-1.27, Go 1.16-1.27, on "
	       "x86_64-linux-gnu.\n",
	       STOPGO_VERSION);
}

void options_print_list(void)
{
	static const char *const names[] = { "gdbserver", "lldb-server", "debugserver" };

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const struct option_def *d = &table[i];
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
