/*
 * wire.c - replays a transcript against a session on the fake tracer.
 *
 *   -> BODY        the client sends a packet; \xNN is a byte; "-> ^C" is an interrupt
 *   <- BODY        what must come next; * stands for anything; "<- %Stop:..." is a notification
 *   !! WORDS       something happens:
 *                    process PID [attached] [threads N]   thread PID TID     end TID
 *                    stop TID KIND [KEY=VALUE...]          exit PID STATUS    kill PID SIGNAL
 *                    program WORD...     refuse on|off     deaf on|off     disable LIST       reconnect
 *   ?? TEXT        what was done to the tracer since the last packet or ??, or "nothing"; * stands for anything
 *   # WHY
 *
 * When a packet is sent everything that came before must have been expected. Exit 0, or 1 with the line that went wrong.
 */
#include "fake.h"
#include "server/packets.h"

#include <stdio.h>
#include <string.h>

struct wire {
	const char *path;
	unsigned line;
	struct fake *fake;
	struct session *session;
	bool failed;
};

static void fail(struct wire *w, const char *what, const char *wanted, const char *got)
{
	fprintf(stderr, "%s:%u: %s\n  wanted: %s\n  got:    %s\n", w->path, w->line, what, wanted,
		got);
	w->failed = true;
}

/* The only wildcard is '*': brackets and question marks are text. */
static bool matches(const char *pattern, const char *text)
{
	const char *star = strchr(pattern, '*');
	size_t n = star ? (size_t)(star - pattern) : strlen(pattern);

	if (strncmp(pattern, text, n) != 0)
		return false;
	if (!star)
		return !text[n];
	for (const char *t = text + n;; t++) {
		if (matches(star + 1, t))
			return true;
		if (!*t)
			return false;
	}
}

static int hex_value(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t unescape(char *text)
{
	char *to = text;
	for (const char *from = text; *from;) {
		if (from[0] == '\\' && from[1] == 'x' && hex_value(from[2]) >= 0 &&
		    hex_value(from[3]) >= 0) {
			*to++ = (char)(hex_value(from[2]) << 4 | hex_value(from[3]));
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	return (size_t)(to - text);
}

static void expect_quiet(struct wire *w)
{
	if (w->fake->out.len)
		fail(w, "something was sent that nobody expected", "nothing",
		     buf_cstr(&w->fake->out));
}

static void do_send(struct wire *w, char *text)
{
	expect_quiet(w);
	buf_reset(&w->fake->did);
	if (!strcmp(text, "^C")) {
		session_interrupt(w->session);
		return;
	}
	size_t len = unescape(text);
	/* As large as it is, so that a sanitizer sees a read behind it. */
	uint8_t *body = malloc(len + 1);
	memcpy(body, text, len);
	body[len] = 0;
	session_packet(w->session, body, len);
	free(body);
}

static void do_expect(struct wire *w, const char *wanted)
{
	struct buf *out = &w->fake->out;
	uint8_t *end = out->len ? memchr(out->data, '\n', out->len) : NULL;

	if (!end) {
		fail(w, "nothing was sent", wanted, "");
		return;
	}
	*end = 0;
	if (!matches(wanted, (char *)out->data))
		fail(w, "another answer", wanted, (char *)out->data);
	buf_consume(out, (size_t)(end - out->data) + 1);
}

static void do_check(struct wire *w, const char *wanted)
{
	struct buf *did = &w->fake->did;
	const char *got;

	while (did->len && (did->data[did->len - 1] == ' ' || did->data[did->len - 1] == ';'))
		did->len--;
	got = did->len ? buf_cstr(did) : "nothing";
	if (!matches(wanted, got))
		fail(w, "the tracer was asked for something else", wanted, got);
	buf_reset(did);
}

static const struct {
	const char *name;
	enum stop_kind kind;
} kinds[] = {
	{ "interrupt", STOP_INTERRUPT },
	{ "signal", STOP_SIGNAL },
	{ "step", STOP_STEP },
	{ "swbreak", STOP_SWBREAK },
	{ "hwbreak", STOP_HWBREAK },
	{ "watch", STOP_WATCH },
	{ "fork", STOP_FORK },
	{ "vfork", STOP_VFORK },
	{ "vforkdone", STOP_VFORK_DONE },
	{ "clone", STOP_CLONE },
	{ "exec", STOP_EXEC },
	{ "syscall-entry", STOP_SYSCALL_ENTRY },
	{ "syscall-return", STOP_SYSCALL_RETURN },
	{ "created", STOP_THREAD_CREATED },
	{ "exited", STOP_THREAD_EXITED },
	{ "no-resumed", STOP_NO_RESUMED },
};

static void set_field(struct stop *stop, const char *key, long value)
{
	if (!strcmp(key, "signo"))
		stop->signo = (int)value;
	else if (!strcmp(key, "own"))
		stop->own = value;
	else if (!strcmp(key, "status"))
		stop->status = (int)value;
	else if (!strcmp(key, "addr"))
		stop->addr = (uint64_t)value;
	else if (!strcmp(key, "point"))
		stop->point = (uint64_t)value;
	else if (!strcmp(key, "watch"))
		stop->watch = (enum point_kind)value;
	else if (!strcmp(key, "syscall"))
		stop->syscall = value;
	else if (!strcmp(key, "child"))
		stop->child_pid = stop->child_tid = (pid_t)value;
}

static bool happen_stop(struct wire *w, char *rest)
{
	struct stop stop = { .watch = POINT_WRITE };
	char *tid = strtok_r(NULL, " ", &rest), *kind = strtok_r(NULL, " ", &rest), *word;
	size_t i = 0;

	while (kind && i < ARRAY_SIZE(kinds) && strcmp(kinds[i].name, kind) != 0)
		i++;
	if (!kind || i == ARRAY_SIZE(kinds))
		return false;
	stop.kind = kinds[i].kind;
	while ((word = strtok_r(NULL, " ", &rest))) {
		char *eq = strchr(word, '=');
		if (!eq)
			return false;
		*eq = 0;
		set_field(&stop, word, strtol(eq + 1, NULL, 0));
	}
	return fake_event(w->fake, atoi(tid), &stop);
}

static bool happen_process(struct wire *w, char *rest)
{
	char *word = strtok_r(NULL, " ", &rest);
	int pid = word ? atoi(word) : 0;
	bool attached = false;
	int threads = 1;

	while ((word = strtok_r(NULL, " ", &rest))) {
		if (!strcmp(word, "attached"))
			attached = true;
		else if (!strcmp(word, "threads") && (word = strtok_r(NULL, " ", &rest)))
			threads = atoi(word);
		else
			return false;
	}
	if (!fake_process(w->fake, pid, !attached))
		return false;
	for (int i = 1; i < threads; i++)
		if (!fake_thread(w->fake, pid, pid + i))
			return false;
	return true;
}

static bool happen_program(struct wire *w, char *rest)
{
	char *argv[16] = { NULL };
	size_t n = 0;

	while (n < ARRAY_SIZE(argv) - 1 && (argv[n] = strtok_r(NULL, " ", &rest)))
		n++;
	return launching_set_program(&w->fake->inferiors.launching, argv) == 0;
}

static bool happen(struct wire *w, char *text)
{
	char *rest = NULL, *verb = strtok_r(text, " ", &rest);
	int a, b;

	if (!strcmp(verb, "process"))
		return happen_process(w, rest);
	if (!strcmp(verb, "stop"))
		return happen_stop(w, rest);
	if (!strcmp(verb, "program"))
		return happen_program(w, rest);
	if (!strcmp(verb, "thread") && sscanf(rest, "%d %d", &a, &b) == 2)
		return fake_thread(w->fake, a, b);
	if (!strcmp(verb, "exit") && sscanf(rest, "%d %d", &a, &b) == 2)
		return fake_event(w->fake, a, &(struct stop){ .kind = STOP_EXITED, .status = b });
	if (!strcmp(verb, "kill") && sscanf(rest, "%d %d", &a, &b) == 2)
		return fake_event(w->fake, a, &(struct stop){ .kind = STOP_KILLED, .signo = b });
	if (!strcmp(verb, "end") && sscanf(rest, "%d", &a) == 1) {
		fake_thread_ends(w->fake, a);
		return true;
	}
	if (!strcmp(verb, "refuse")) {
		w->fake->refuse = !strcmp(rest, "on");
		return true;
	}
	if (!strcmp(verb, "deaf")) {
		w->fake->deaf = !strcmp(rest, "on");
		return true;
	}
	if (!strcmp(verb, "disable"))
		return packets_disable(rest, NULL) == 0;
	if (!strcmp(verb, "reconnect")) {
		session_free(w->session);
		w->session = session_new(&w->fake->server, (struct conn *)w->fake);
		return w->session;
	}
	return false;
}

static void do_happen(struct wire *w, char *text)
{
	char what[256];

	snprintf(what, sizeof(what), "%s", text);
	if (!happen(w, text))
		fail(w, "this cannot happen", what, "");
	session_events(w->session);
}

static void do_line(struct wire *w, char *line)
{
	char *text = line + 2 + (line[2] == ' ');

	if (!strncmp(line, "->", 2))
		do_send(w, text);
	else if (!strncmp(line, "<-", 2))
		do_expect(w, text);
	else if (!strncmp(line, "??", 2))
		do_check(w, text);
	else if (!strncmp(line, "!!", 2))
		do_happen(w, text);
	else if (line[0] && line[0] != '#')
		fail(w, "not a line of a transcript", line, "");
}

int main(int argc, char **argv)
{
	struct wire w = { .path = argc > 1 ? argv[1] : "" };
	FILE *f = argc == 2 ? fopen(argv[1], "r") : NULL;
	char *line = NULL;
	size_t room = 0;

	if (!f) {
		fprintf(stderr, "usage: wire_test TRANSCRIPT\n");
		return 2;
	}
	w.fake = fake_new();
	w.session = session_new(&w.fake->server, (struct conn *)w.fake);
	while (!w.failed && getline(&line, &room, f) > 0) {
		w.line++;
		line[strcspn(line, "\n")] = 0;
		do_line(&w, line);
	}
	if (!w.failed)
		expect_quiet(&w);
	session_free(w.session);
	fake_free(w.fake);
	free(line);
	fclose(f);
	return w.failed;
}
