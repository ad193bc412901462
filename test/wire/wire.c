/*
 * wire.c - replays a transcript against a session on the fake tracer.
 *
 *   -> BODY        the client sends a packet; \xNN is a byte; "-> ^C" is an interrupt
 *   <- BODY        what must come next; * stands for anything; "<- %Stop:..." is a notification
 *   !! WORDS       something happens:
 *                    process PID [attached] [threads N]   thread PID TID     end TID
 *                    stop TID KIND [KEY=VALUE...]          exit PID STATUS    kill PID SIGNAL
 *                    program WORD...     refuse on|off     deaf on|off     disable LIST       reconnect
 *                    traced TID ADDR     stepped TID
 *   ?? TEXT        what was done to the tracer since the last packet or ??, or "nothing"; * stands for anything
 *   # WHY
 *
 * When a packet is sent everything that came before must have been expected. Exit 0, or 1 with the line that went wrong.
 *
 * wire_test --starve TRANSCRIPT replays it once for each allocation that our code makes in it, which is refused that time. What was
 * expected next must then come, or an error, or the end of the session; after that nothing is expected but that nobody falls over.
 */
#include "fake.h"
#include "server/packets.h"
#include "starve.h"

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

struct wire {
	const char *path;
	char *text;
	unsigned line;
	unsigned long starve_at; /* the allocation that is refused; 0: none */
	bool excused;            /* it has been, and what came of it was looked at */
	struct fake *fake;
	struct session *session;
	bool failed;
};

static void fail(struct wire *w, const char *what, const char *wanted, const char *got)
{
	if (w->excused)
		return;
	if (w->starve_at)
		fprintf(stderr, "without allocation %lu: ", w->starve_at);
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
	if (w->fake->out.len && !starve_has_refused())
		fail(w, "something was sent that nobody expected", "nothing",
		     buf_cstr(&w->fake->out));
}

static void do_send(struct wire *w, char *text)
{
	expect_quiet(w);
	w->excused |= starve_has_refused(); /* what it was refused for has no answer */
	buf_reset(&w->fake->did);
	if (!strcmp(text, "^C")) {
		session_interrupt(w->session);
		return;
	}
	size_t len = unescape(text);
	/* As large as it is, so that a sanitizer sees a read behind it. */
	uint8_t *body = aligned_alloc(1, len + 1); /* which is never refused */
	memcpy(body, text, len);
	body[len] = 0;
	session_packet(w->session, body, len);
	free(body);
}

/* An error; the same stop without what is not needed; less on the console; a symbol that is not asked for. */
static bool will_do(const char *wanted, const char *got)
{
	bool stop = got[0] == 'T' || !strncmp(got, "%Stop:T", 7);
	size_t len = got[0] == 'T' ? 3 : 9;

	return got[0] == 'E' || (stop && !strncmp(wanted, got, len)) || wanted[0] == 'O' ||
	       !strncmp(wanted, "qSymbol:", 8) || !strncmp(got, "qSymbol:", 8);
}

static void do_expect(struct wire *w, const char *wanted)
{
	struct buf *out = &w->fake->out;
	uint8_t *end = out->len ? memchr(out->data, '\n', out->len) : NULL;

	if (!end) {
		bool goes_on = w->fake->did.len && strstr(buf_cstr(&w->fake->did), "resume");
		if (!starve_has_refused() || (!w->fake->ended && !goes_on))
			fail(w, "nothing was sent", wanted, "");
		w->excused = starve_has_refused();
		return;
	}
	*end = 0;
	if (!matches(wanted, (char *)out->data) &&
	    !(starve_has_refused() && (w->fake->ended || will_do(wanted, (char *)out->data))))
		fail(w, "another answer", wanted, (char *)out->data);
	w->excused = starve_has_refused();
	buf_consume(out, (size_t)(end - out->data) + 1);
}

static void do_check(struct wire *w, const char *wanted)
{
	struct buf *did = &w->fake->did;
	const char *got;

	while (did->len && (did->data[did->len - 1] == ' ' || did->data[did->len - 1] == ';'))
		did->len--;
	got = did->len ? buf_cstr(did) : "nothing";
	if (!starve_has_refused() && !matches(wanted, got))
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
	if (!strcmp(verb, "traced") && sscanf(rest, "%d %x", &a, (unsigned *)&b) == 2)
		return fake_traced(w->fake, a, (uint64_t)b);
	if (!strcmp(verb, "stepped") && sscanf(rest, "%d", &a) == 1)
		return fake_stepped(w->fake, a);
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
		return true;
	}
	return false;
}

static void do_happen(struct wire *w, char *text)
{
	char what[256];

	snprintf(what, sizeof(what), "%s", text);
	if (starve_has_refused())
		buf_reset(&w->fake->did); /* what is in it then is what came of this */
	if (!happen(w, text)) {
		w->excused = starve_has_refused();
		fail(w, "this cannot happen", what, "");
	}
	if (w->session)
		session_events(w->session);
}

static void do_line(struct wire *w, char *line)
{
	if (!line[0] || line[0] == '#')
		return;
	char *text = line + strnlen(line, 2);
	text += *text == ' ';
	if (!w->session)
		w->excused = true; /* there was no memory for one */
	else if (!strncmp(line, "->", 2))
		do_send(w, text);
	else if (!strncmp(line, "<-", 2))
		do_expect(w, text);
	else if (!strncmp(line, "??", 2))
		do_check(w, text);
	else if (!strncmp(line, "!!", 2))
		do_happen(w, text);
	else
		fail(w, "not a line of a transcript", line, "");
}

static bool replay(struct wire *w)
{
	char *rest = w->text, *line;

	w->fake = fake_new();
	starve_begin(w->starve_at);
	w->session = session_new(&w->fake->server, (struct conn *)w->fake);
	while (!w->failed && w->session && (line = strsep(&rest, "\n"))) {
		w->line++;
		do_line(w, line);
	}
	if (!w->failed && w->session)
		expect_quiet(w);
	session_free(w->session);
	starve_end();
	fake_free(w->fake);
	return !w->failed;
}

/* In a process of its own. *ret_count: how many allocations there were. */
static bool replay_apart(struct wire *w, unsigned long *ret_count)
{
	int pipe_fds[2], status = 0;
	unsigned long count = 0;

	if (pipe(pipe_fds) < 0)
		return false;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		bool ok = replay(w);
		count = starve_end();
		ok = write(pipe_fds[1], &count, sizeof(count)) == sizeof(count) && ok;
		exit(!ok); /* a sanitizer looks for leaks */
	}
	close(pipe_fds[1]);
	if (child > 0 && read(pipe_fds[0], &count, sizeof(count)) == sizeof(count))
		*ret_count = count;
	close(pipe_fds[0]);
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	if (WIFSIGNALED(status))
		fprintf(stderr, "%s: without allocation %lu: signal %d\n", w->path, w->starve_at,
			WTERMSIG(status));
	return status == 0;
}

static bool replay_starving(struct wire *w)
{
	unsigned long count = 0, ignored;
	unsigned bad = 0;

	if (!replay_apart(w, &count))
		return false;
	for (w->starve_at = 1; w->starve_at <= count; w->starve_at++)
		bad += !replay_apart(w, &ignored);
	printf("%lu allocations, %u of them missed\n", count, bad);
	return !bad;
}

int main(int argc, char **argv)
{
	bool starving = argc == 3 && !strcmp(argv[1], "--starve");
	struct wire w = { .path = argc > 1 ? argv[argc - 1] : "" };
	FILE *f = argc == 2 + starving ? fopen(w.path, "r") : NULL;
	size_t room = 0;

	if (!f) {
		fprintf(stderr, "usage: wire_test [--starve] TRANSCRIPT\n");
		return 2;
	}
	if (getdelim(&w.text, &room, 0, f) < 0)
		return 2;
	fclose(f);
	bool ok = starving ? replay_starving(&w) : replay(&w);
	free(w.text);
	return !ok;
}
