#include "server/monitor.h"
#include "base/log.h"
#include "server/monitor_go.h"
#include "server/monitor_points.h"
#include "server/server.h"
#include "server/session.h"
#include "server/threaddb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_help(struct session *s);

/* --- switches --- */

/* 1, 0 or -1: "1" "on", "0" "off", anything else. */
static int parse_switch(const char *word)
{
	if (!strcmp(word, "1") || !strcmp(word, "on"))
		return 1;
	return !strcmp(word, "0") || !strcmp(word, "off") ? 0 : -1;
}

static void set_all(bool on)
{
	for (int c = 0; c < LOG_CATEGORIES; c++)
		log_set(c, on);
}

static bool debug_component(struct session *s, const char *name, bool on)
{
	static const struct {
		const char *name;
		enum log_category categories[3];
		size_t count;
	} components[] = {
		{ "threads", { LOG_STOP, LOG_RUN, LOG_GO }, 3 },
		{ "remote", { LOG_PACKET, LOG_FRAME }, 2 },
		{ "event-loop", { LOG_LOOP }, 1 },
	};

	if (!strcmp(name, "all")) {
		set_all(on);
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(components); i++) {
		if (strcmp(components[i].name, name) != 0)
			continue;
		for (size_t c = 0; c < components[i].count; c++)
			log_set(components[i].categories[c], on);
		return true;
	}
	session_printf(s, "Error: unknown debug option '%s'\n", name);
	return false;
}

static bool set_debug(struct session *s, char *rest)
{
	char *word = strtok_r(NULL, " ", &rest), *value = strtok_r(NULL, " ", &rest);
	int on = word ? parse_switch(value ? value : word) : -1;

	if (on < 0 || strtok_r(NULL, " ", &rest)) {
		session_printf(s, "Unknown monitor command.\n\n");
		return false;
	}
	if (value) {
		if (!debug_component(s, word, on))
			return false;
		session_printf(s, "Debug output for '%s' %s.\n", word, on ? "enabled" : "disabled");
		return true;
	}
	log_set(LOG_STOP, on);
	log_set(LOG_RUN, on);
	log_set(LOG_POINTS, on);
	session_printf(s, "Debug output %s.\n", on ? "enabled" : "disabled");
	return true;
}

static bool set_category(struct session *s, char *rest, enum log_category category,
			 const char *what)
{
	char *word = strtok_r(NULL, " ", &rest);
	int on = word ? parse_switch(word) : -1;

	if (on < 0 || strtok_r(NULL, " ", &rest)) {
		session_printf(s, "Unknown monitor command.\n\n");
		return false;
	}
	log_set(category, on);
	session_printf(s, "%s debug output %s.\n", what, on ? "enabled" : "disabled");
	return true;
}

static bool set_fast_conditions(struct session *s, char *rest)
{
	const char *what = rest + strspn(rest, " ");
	bool on = !strcmp(what, "on");

	if (!on && strcmp(what, "off") != 0) {
		session_printf(s, "monitor set fast-conditions on|off\n");
		return false;
	}
	if (!s->tracer || !s->tracer->ops->set_fast_conditions) {
		session_printf(s, "nothing runs here\n");
		return true;
	}
	s->tracer->ops->set_fast_conditions(s->tracer, on);
	session_printf(s, on ? "conditions that are often false are compiled into the program\n"
			     : "conditions are evaluated by the server\n");
	return true;
}

static bool show_fast_conditions(struct session *s, char *rest)
{
	char *word = strtok_r(NULL, " ", &rest), *end = word;
	uint64_t addr = word ? strtoull(word, &end, 16) : 0;
	struct inferior *inf = session_inferior(s);
	struct point_way way;

	if (!word || *end || strtok_r(NULL, " ", &rest)) {
		session_printf(s, "monitor show fast-conditions ADDR\n");
		return false;
	}
	const struct target_point_ops *ops = inf ? inf->target->ops->points : NULL;
	if (!ops || !ops->way || ops->way(inf->target, addr, &way) < 0)
		session_printf(s, "no breakpoint of a client's at %#" PRIx64 "\n", addr);
	else
		session_printf(s, "breakpoint at %#" PRIx64 " %s%s%s, passed %" PRIu64 " times\n",
			       addr, way.how, *way.why ? ": " : "", way.why, way.passed);
	return true;
}

static bool set_debug_hw(struct session *s, char *rest)
{
	return set_category(s, rest, LOG_POINTS, "H/W point");
}

static bool set_remote_debug(struct session *s, char *rest)
{
	return set_category(s, rest, LOG_PACKET, "Protocol");
}

static bool set_event_loop_debug(struct session *s, char *rest)
{
	return set_category(s, rest, LOG_LOOP, "Event loop");
}

static bool set_debug_format(struct session *s, char *rest)
{
	char *list = strtok_r(NULL, " ", &rest), *more = NULL;
	unsigned flags = LOG_FORMAT_NONE;
	const char *last = NULL;

	for (char *word = list ? strtok_r(list, ",", &more) : NULL; word;
	     word = strtok_r(NULL, ",", &more)) {
		if (!strcmp(word, "all")) {
			flags = LOG_FORMAT_TIMESTAMP;
			last = "All extra debug format options enabled.\n";
		} else if (!strcmp(word, "none")) {
			flags = LOG_FORMAT_NONE;
			last = "All extra debug format options disabled.\n";
		} else if (!strcmp(word, "timestamp")) {
			flags |= LOG_FORMAT_TIMESTAMP;
			last = "Timestamps will be added to debug output.\n";
		} else {
			session_printf(s, "Unknown debug-format argument: \"%s\"\n", word);
			return false;
		}
	}
	if (!last) {
		session_printf(s, "Unknown monitor command.\n\n");
		return false;
	}
	log_set_format(flags);
	session_printf(s, "%s", last);
	return true;
}

/* No name: back to stderr. */
static bool set_debug_file(struct session *s, char *rest)
{
	static int ours = -1;
	char *path = rest[strspn(rest, " ")] ? rest + strspn(rest, " ") : NULL;
	int fd = path ? log_open(path) : -1;

	(void)s;
	if (path && fd < 0)
		say("Cannot open %s for writing. %s. Switching to stderr.", path, strerror(-fd));
	log_to_fd(fd < 0 ? STDERR_FILENO : fd);
	close_fdp(&ours);
	ours = fd;
	return true;
}

static bool set_thread_db_path(struct session *s, char *rest)
{
	char *path = strtok_r(NULL, " ", &rest);

	if (threaddb_set_search_path(path) < 0) {
		session_printf(s, "no memory for the path\n");
		return false;
	}
	session_printf(s, "libthread-db-search-path set to `%s'\n", threaddb_search_path());
	return true;
}

static bool show_thread_db_path(struct session *s, char *rest)
{
	(void)rest;
	session_printf(s, "libthread-db-search-path is `%s'\n", threaddb_search_path());
	return true;
}

static bool show_debug(struct session *s, char *rest)
{
	static const char *const names[] = {
		[LOG_FRAME] = "frame", [LOG_PACKET] = "packet", [LOG_STOP] = "stop",
		[LOG_RUN] = "run",     [LOG_POINTS] = "points", [LOG_IMAGE] = "image",
		[LOG_GO] = "go",       [LOG_LOOP] = "loop"
	};
	(void)rest;
	for (int c = 0; c < LOG_CATEGORIES; c++)
		session_printf(s, "debug output of %s is %s\n", names[c], log_on(c) ? "on" : "off");
	return true;
}

static bool do_exit(struct session *s, char *rest)
{
	(void)rest;
	server_end(s->server, 0);
	return true;
}

static bool do_help(struct session *s, char *rest)
{
	(void)rest;
	print_help(s);
	return true;
}

/* --- the commands --- */

static const struct {
	const char *name;
	const char *arguments; /* NULL: not in the help, an older spelling */
	const char *help;
	bool (*serve)(struct session *s, char *rest);
} commands[] = {
	{ "help", "", "Show this list", do_help },
	{ "set debug", " <0|1>", "Enable general debugging messages", set_debug },
	{ "set debug", " COMPONENT <off|on>",
	  "Enable debugging messages for COMPONENT, which is\n    one of: all, threads, remote, "
	  "event-loop.",
	  set_debug },
	{ "set debug-hw-points", " <0|1>", "Enable h/w breakpoint/watchpoint debugging messages",
	  set_debug_hw },
	{ "set remote-debug", " <0|1>", "Enable remote protocol debugging messages",
	  set_remote_debug },
	{ "set event-loop-debug", " <0|1>", "Enable event loop debugging messages",
	  set_event_loop_debug },
	{ "set debug-format", " option1[,option2,...]",
	  "Add additional information to debugging messages\n    Options: all, none, timestamp",
	  set_debug_format },
	{ "set debug-file", " [FILE]", "Write debugging messages to FILE, or to standard error",
	  set_debug_file },
	{ "show debug", "", "Show which debugging messages are on", show_debug },
	{ "set libthread-db-search-path", " [PATH]",
	  "Where libthread_db is looked for: folders, $sdir, $pdir", set_thread_db_path },
	{ "show libthread-db-search-path", "", "Show that path", show_thread_db_path },
	{ "exit", "", "Quit GDBserver", do_exit },
	{ "break", " FUNC|FILE:LINE|*ADDR [pending] [if EXPR] [hits OP N [each]] [goroutine N]",
	  "Set a breakpoint of the server's own; its hits are told as SIGTRAP", monitor_break },
	{ "watch",
	  " EXPR|*ADDR [LEN] [write|read|access] [if EXPR] [hits OP N [each]] [goroutine N]",
	  "Set a watchpoint of the server's own on a variable or on memory; its hits are told as "
	  "SIGTRAP",
	  monitor_watch },
	{ "trace",
	  " FUNC|FILE:LINE [pending] [noargs] [noreturn] [if EXPR] [hits OP N [each]] [goroutine "
	  "N] [rate N] "
	  "[--log "
	  "FILE]",
	  "Print calls with arguments and results as they happen, without a stop", monitor_trace },
	{ "traced", "", "Print what traces have printed while the client took no text (non-stop)",
	  monitor_traced },
	{ "breakpoints", "", "List breakpoints, the client's and the server's, with their hits",
	  monitor_breakpoints },
	{ "delete", " N|all", "Delete a breakpoint, watchpoint or trace of the server's own",
	  monitor_delete },
	{ "hits", " N ==|!=|<|<=|>|>=|% VALUE [each] | N off",
	  "Stop at some hits of a breakpoint only; each: counted by goroutine", monitor_hits },
	{ "goroutines",
	  " [-r] [-w] [-u] [-s] [label KEY=VALUE] [at FUNC] [-t [DEPTH]] [-g state|func|label] "
	  "[LIMIT]",
	  "List goroutines: running, waiting, the user's (default), the runtime's own (-s), with a "
	  "label,\n    with FUNC on their stack; with stacks (-t), or counted in groups (-g)",
	  monitor_goroutines },
	{ "goroutine", " [N]", "All that is known of goroutine N, or of the selected thread's",
	  monitor_goroutine },
	{ "panic", "", "What the Go program panics with", monitor_panic },
	{ "catch", " [panic|fatal on|off] | [syscall NAME|N on|off]",
	  "Stop when nobody recovers a panic, when the Go runtime gives up (default on), at a "
	  "system call",
	  monitor_catch },
	{ "symbols", " FILE",
	  "Write a copy of a stripped Go program with names and lines, and say what to type for it",
	  monitor_symbols },
	{ "set threads", " <auto|goroutines|os>", "What is shown as threads", monitor_set_threads },
	{ "set max-goroutines", " N", "List at most N goroutines as threads (default 1024)",
	  monitor_set_max_goroutines },
	{ "set stable-stacks", " <on|off>",
	  "Show a goroutine's stack at addresses that stay when it moves (default on)",
	  monitor_set_stable_stacks },
	{ "set fast-conditions", " <on|off>",
	  "Compile conditions of breakpoints that are often false into the program (default on)",
	  set_fast_conditions },
	{ "show fast-conditions", " ADDR",
	  "Whether the condition of the breakpoint at ADDR is compiled, if not why, and how often "
	  "it was "
	  "false",
	  show_fast_conditions },
	{ "go", "", "What is known of the Go program, how it was found, and what is missing",
	  monitor_go },
};

static void print_help(struct session *s)
{
	session_printf(s, "The following monitor commands are supported:\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].arguments)
			session_printf(s, "  %s%s\n    %s\n", commands[i].name,
				       commands[i].arguments, commands[i].help);
}

/* The name may be several words; what follows is the arguments. NULL: another command. */
static char *match(const char *name, char *line)
{
	size_t n = strlen(name);

	if (strncmp(line, name, n) != 0 || (line[n] && line[n] != ' '))
		return NULL;
	return line + n;
}

void monitor_command(struct session *s, const char *line)
{
	_cleanup_free_ char *copy = strdup(line + strspn(line, " "));

	if (!copy) {
		session_error(s, ENOMEM);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		char *rest = match(commands[i].name, copy);
		if (!rest)
			continue;
		if (commands[i].serve(s, rest)) {
			if (!s->reply.len) /* an error may have been told in other words */
				reply_ok(&s->reply);
			return;
		}
		print_help(s);
		session_error(s, 1);
		return;
	}
	session_printf(s, "Unknown monitor command.\n\n");
	print_help(s);
	session_error(s, 1);
}
