#include "server/options.h"
#include "server/options_internal.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

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
	for (size_t i = 0; i < option_count; i++) {
		const struct option_def *d = &option_table[i];
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
	if (options_long(text, 1, INT_MAX, &pid) < 0)
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
