#include "protocol/crc.h"
#include "protocol/hex.h"
#include "server/handlers.h"
#include "server/tracepoints.h"

#include <errno.h>
#include <string.h>

enum {
	CHUNK = 256 * 1024,
	PATTERN_MAX = SESSION_PACKET_MAX,
};
/* qSearch and qCRC keep the loop from doing anything else: beyond this they are refused. */
static const uint64_t range_max = UINT64_C(4) << 30;

/* From the process, or what was collected of it while a frame of a trace experiment is looked at. */
static int read_memory(struct session *s, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	if (s->trace_frame >= 0)
		return tracepoints_read(s->inferiors->trace, (size_t)s->trace_frame, addr, into,
					len, ret_got);
	return inferior_mem_read(session_inferior(s), addr, into, len, ret_got);
}

static uint64_t take_range(struct args *a, uint64_t *ret_addr)
{
	*ret_addr = args_hex_u64(a);
	args_skip(a, ',');
	return args_hex_u64(a);
}

/* As much of the front as there is; the buffer grows to what was asked for, at most max. */
static int read_front(struct session *s, uint64_t addr, uint64_t len, size_t max, size_t *ret_got)
{
	size_t want = (size_t)MIN(len, (uint64_t)max);
	uint8_t *into = buf_reserve(&s->scratch, want);

	if (!into)
		return -ENOMEM;
	return read_memory(s, addr, into, want, ret_got);
}

void on_mem_read(struct session *s, struct args *a)
{
	uint64_t addr, len = take_range(a, &addr);
	size_t got;

	if (!args_done(a)) {
		args_fail(a);
		return;
	}
	if (!len) {
		reply_ok(&s->reply);
		return;
	}
	int r = read_front(s, addr, len, SESSION_PACKET_MAX / 2, &got);
	if (r < 0 || !got)
		session_error(s, 1);
	else
		reply_hex(&s->reply, s->scratch.data, got);
}

/* gdb's form begins with a 'b'; lldb's does not, and answers the probe x0,0 with OK. */
void on_mem_read_binary(struct session *s, struct args *a)
{
	uint64_t addr, len = take_range(a, &addr);
	bool prefixed = s->client.kind == CLIENT_GDB;
	size_t got = 0;

	if (!args_done(a)) {
		args_fail(a);
		return;
	}
	if (!len && !prefixed) {
		reply_ok(&s->reply);
		return;
	}
	int r = len ? read_front(s, addr, len, SESSION_PACKET_MAX, &got) : 0;
	if (r < 0 || (len && !got)) {
		session_error(s, 1);
		return;
	}
	if (prefixed)
		buf_putc(&s->reply, 'b');
	got = reply_binary_fit(s->scratch.data, got, SESSION_PACKET_MAX - 1);
	reply_binary(&s->reply, s->scratch.data, got);
}

static void write_bytes(struct session *s, uint64_t addr, const uint8_t *bytes, size_t len)
{
	if (s->trace_frame >= 0)
		session_error_text(s, 1, "what was collected cannot be changed");
	else if (len && inferior_mem_write(session_inferior(s), addr, bytes, len) < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}

void on_mem_write(struct session *s, struct args *a)
{
	uint64_t addr, len = take_range(a, &addr);

	args_skip(a, ':');
	size_t got = args_hex_bytes(a, &s->scratch);
	if (!args_done(a) || got != len)
		args_fail(a);
	else
		write_bytes(s, addr, s->scratch.data, got);
}

void on_mem_write_binary(struct session *s, struct args *a)
{
	uint64_t addr, len = take_range(a, &addr);
	size_t got;

	args_skip(a, ':');
	const uint8_t *bytes = args_rest(a, &got);
	if (!args_ok(a) || got != len)
		args_fail(a);
	else
		write_bytes(s, addr, bytes, got);
}

/* --- qSearch:memory:ADDR;LENGTH;PATTERN --- */

struct search {
	struct session *s;
	const uint8_t *pattern;
	size_t pattern_len;
	uint8_t *window; /* CHUNK + pattern_len bytes */
};

/* 1 and the address; 0: not there; -errno: memory ended before it was found. */
static int search(struct search *q, uint64_t addr, uint64_t len, uint64_t *ret)
{
	size_t kept = 0;

	while (len) {
		size_t want = (size_t)MIN(len, (uint64_t)CHUNK), got;
		int r = read_memory(q->s, addr, q->window + kept, want, &got);
		if (r < 0)
			return r;
		uint8_t *hit = memmem(q->window, kept + got, q->pattern, q->pattern_len);
		if (hit) {
			*ret = addr - kept + (size_t)(hit - q->window);
			return 1;
		}
		if (got < want)
			return -EFAULT;
		addr += got;
		len -= got;
		/* The pattern may lie across the seam. */
		size_t keep = MIN(kept + got, q->pattern_len - 1);
		memmove(q->window, q->window + kept + got - keep, keep);
		kept = keep;
	}
	return 0;
}

void on_search(struct session *s, struct args *a)
{
	struct search q = { .s = s };
	uint64_t addr, len, found;

	if (!args_accept_text(a, ":memory:")) {
		reply_empty(&s->reply);
		return;
	}
	addr = args_hex_u64(a);
	args_skip(a, ';');
	len = args_hex_u64(a);
	args_skip(a, ';');
	q.pattern = args_rest(a, &q.pattern_len);
	if (!args_ok(a) || !q.pattern_len || q.pattern_len > PATTERN_MAX || len > range_max) {
		args_fail(a);
		return;
	}
	q.window = buf_reserve(&s->scratch, CHUNK + q.pattern_len);
	int r = q.window ? search(&q, addr, len, &found) : -ENOMEM;
	if (r < 0)
		session_error(s, 1);
	else if (r == 0)
		buf_putc(&s->reply, '0');
	else
		buf_printf(&s->reply, "1,%llx", (unsigned long long)found);
}

void on_crc(struct session *s, struct args *a)
{
	struct inferior *inf = session_inferior(s);
	uint32_t crc = CRC_START;
	uint64_t addr, len;

	args_skip(a, ':');
	len = take_range(a, &addr);
	if (!args_done(a) || len > range_max) {
		args_fail(a);
		return;
	}
	uint8_t *chunk = buf_reserve(&s->scratch, CHUNK);
	while (chunk && len) {
		size_t want = (size_t)MIN(len, (uint64_t)CHUNK), got;
		if (inferior_mem_read(inf, addr, chunk, want, &got) < 0 || got < want)
			break;
		crc = crc_update(crc, chunk, got);
		addr += got;
		len -= got;
	}
	if (len || !chunk)
		session_error(s, 1);
	else
		buf_printf(&s->reply, "C%x", crc);
}
