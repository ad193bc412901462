/*
 * session_fuzz.c - a whole session on the fake tracer: anything a client may send, in any order, with things happening in between.
 *
 * The input is lines. One is a packet's body, with \xNN for bytes that a line cannot hold; two begin otherwise:
 *   ^C                an interrupt
 *   !KIND TID NUMBER  an event of a thread: KIND is a number of enum stop_kind
 *   !t TID ADDR       a thread runs into a tracepoint
 *   !s TID 0          ... and is past another instruction
 * The session is left with everything it made; leaks and reads outside are the sanitizers' to find. What would change files or
 * load libraries on this machine is not sent.
 */
#include "../wire/fake.c"

#include <fcntl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has(const uint8_t *body, size_t len, const char *text)
{
	return memmem(body, len, text, strlen(text)) != NULL;
}

/* vFile for writing, `monitor set debug-file` and `set libthread-db-search-path`; fresh paths are refused by the namespace below. */
static bool is_harmless(const uint8_t *body, size_t len)
{
	return !has(body, len, "vFile:setfs") && !has(body, len, "qRcmd,73657420646562756") &&
	       !has(body, len, "qRcmd,736574206c6962") && !has(body, len, "qRcmd,20") &&
	       !has(body, len, "qXfer:osdata");
}

static int digit(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t unescape(uint8_t *to, const uint8_t *from, size_t len)
{
	size_t n = 0;
	for (size_t i = 0; i < len; i++) {
		if (len - i >= 4 && from[i] == '\\' && from[i + 1] == 'x' &&
		    digit(from[i + 2]) >= 0 && digit(from[i + 3]) >= 0) {
			to[n++] = (uint8_t)(digit(from[i + 2]) << 4 | digit(from[i + 3]));
			i += 3;
		} else {
			to[n++] = from[i];
		}
	}
	return n;
}

static void happen(struct fake *f, const uint8_t *line, size_t len)
{
	char text[64];
	int kind, tid, number;

	snprintf(text, sizeof(text), "%.*s", (int)MIN(len, sizeof(text) - 1), (const char *)line);
	if (sscanf(text, "!%d %d %d", &kind, &tid, &number) != 3 || kind <= STOP_NONE ||
	    kind > STOP_NO_RESUMED)
		return;
	struct stop stop = { .kind = (enum stop_kind)kind,
			     .signo = number & 63,
			     .status = number & 255,
			     .addr = (uint64_t)number,
			     .child_pid = number & 0xffff,
			     .child_tid = number & 0xffff,
			     .syscall = number,
			     .own = number & 1,
			     .watch = POINT_WRITE };
	if (kind == STOP_CLONE)
		fake_thread(f, f->first ? f->first->base.pid : 0,
			    stop.child_tid ? stop.child_tid : 1);
	if (tid > 0 && tid < 0x10000 && stop.child_pid > 0)
		fake_event(f, tid, &stop);
}

static void trace(struct fake *f, const uint8_t *line, size_t len)
{
	unsigned long long addr;
	char text[64];
	int tid;

	snprintf(text, sizeof(text), "%.*s", (int)MIN(len, sizeof(text) - 1), (const char *)line);
	if (sscanf(text + 2, "%d %llx", &tid, &addr) != 2)
		return;
	if (text[1] == 's')
		(void)fake_stepped(f, tid);
	else
		(void)fake_traced(f, tid, addr);
}

static void one_line(struct fake *f, struct session *s, const uint8_t *line, size_t len)
{
	if (len >= 2 && !memcmp(line, "^C", 2)) {
		session_interrupt(s);
	} else if (len > 2 && line[0] == '!' && (line[1] == 't' || line[1] == 's')) {
		trace(f, line, len);
		session_events(s);
	} else if (len > 1 && line[0] == '!' && line[1] >= '0' && line[1] <= '9') {
		happen(f, line, len);
		session_events(s);
	} else {
		/* As large as it is, so that a sanitizer sees a read behind it. */
		uint8_t *body = malloc(len + 1);
		size_t n = unescape(body, line, len);
		body[n] = 0;
		if (is_harmless(body, n))
			session_packet(s, body, n);
		free(body);
	}
	buf_reset(&f->out);
	buf_reset(&f->did);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake *f = fake_new();
	struct session *s = session_new(&f->server, (struct conn *)f);

	/* A place where nothing can be opened for writing. */
	s->hostio.root = open("/proc/self/net", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fake_process(f, 10, true);
	fake_thread(f, 10, 11);
	fake_process(f, 20, false);
	while (size && !f->ended) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		one_line(f, s, data, len);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	session_free(s);
	fake_free(f);
	return 0;
}
