#include "rows.h"

#include "delve.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct row_about rows[ROW_COUNT] = {
	[ROW_ROUND_TRIP] = { "round trip (qC)", UNIT_RATE },
	[ROW_STEP] = { "step, vCont;s", UNIT_RATE },
	[ROW_RANGE] = { "range step, an instruction", UNIT_RATE },
	[ROW_HIT] = { "hit z0,s,Z0,c: 1 thread", UNIT_RATE },
	[ROW_FALSE_SUB] = { "false condition: 1 thread, sub", UNIT_RATE },
	[ROW_FALSE_PUSH] = { "false condition: 1 thread, push", UNIT_RATE },
	[ROW_FALSE_VECTOR] = { "false condition: 1 thread, pxor", UNIT_RATE },
	[ROW_FALSE_OFTEN] = { "false condition, often: 1 thread", UNIT_RATE },
	[ROW_WATCH] = { "watchpoint hit", UNIT_RATE },
	[ROW_READ_HEX] = { "memory read, m", UNIT_MB },
	[ROW_READ_BINARY] = { "memory read, x", UNIT_MB },
	[ROW_WRITE_HEX] = { "memory write, M", UNIT_MB },
	[ROW_WRITE_BINARY] = { "memory write, X", UNIT_MB },
	[ROW_RSS] = { "resident, 1 thread", UNIT_SIZE },
	[ROW_HIT_8] = { "hit z0,s,Z0,c: 8 threads hit", UNIT_RATE },
	[ROW_FALSE_8] = { "false condition: 8 threads hit", UNIT_RATE },
	[ROW_HIT_BUSY] = { "hit z0,s,Z0,c: 64 threads hit", UNIT_RATE },
	[ROW_FALSE_BUSY] = { "false condition: 64 threads hit", UNIT_RATE },
	[ROW_FALSE_OFTEN_BUSY] = { "false condition, often: 64 threads hit", UNIT_RATE },
	[ROW_STEP_64] = { "step, others run: 64 idle", UNIT_RATE },
	[ROW_RANGE_64] = { "range step, others run: 64 idle", UNIT_RATE },
	[ROW_HIT_64] = { "hit z0,s,Z0,c: 64 idle", UNIT_RATE },
	[ROW_FALSE_64] = { "false condition: 64 idle", UNIT_RATE },
	[ROW_WATCH_64] = { "watchpoint hit: 64 idle", UNIT_RATE },
	[ROW_STEP_1000] = { "step, others run: 1,000 idle", UNIT_RATE },
	[ROW_RANGE_1000] = { "range step, others run: 1,000 idle", UNIT_RATE },
	[ROW_HIT_1000] = { "hit z0,s,Z0,c: 1,000 idle", UNIT_RATE },
	[ROW_FALSE_1000] = { "false condition: 1,000 idle", UNIT_RATE },
	[ROW_WATCH_1000] = { "watchpoint hit: 1,000 idle", UNIT_RATE },
	[ROW_ATTACH_1000] = { "attach, 1,000 threads", UNIT_TIME },
	[ROW_INTERRUPT_1000] = { "interrupt, 1,000 threads", UNIT_TIME },
	[ROW_LIST_1000] = { "thread list, 1,000, qXfer", UNIT_TIME },
	[ROW_JSON_1000] = { "thread list, 1,000, jThreadsInfo", UNIT_TIME },
	[ROW_DETACH_1000] = { "detach, 1,000 threads", UNIT_TIME },
	[ROW_RSS_1000] = { "resident, 1,000 threads", UNIT_SIZE },
	[ROW_ATTACH_5000] = { "attach, 5,000 threads", UNIT_TIME },
	[ROW_INTERRUPT_5000] = { "interrupt, 5,000 threads", UNIT_TIME },
	[ROW_LIST_5000] = { "thread list, 5,000, qXfer", UNIT_TIME },
	[ROW_JSON_5000] = { "thread list, 5,000, jThreadsInfo", UNIT_TIME },
	[ROW_DETACH_5000] = { "detach, 5,000 threads", UNIT_TIME },
	[ROW_RSS_5000] = { "resident, 5,000 threads", UNIT_SIZE },
	[ROW_START_GO] = { "start to first stop, large Go", UNIT_TIME },
	[ROW_RSS_GO] = { "resident, large Go", UNIT_SIZE },
};

/* Repeats what returns 0 until the slice is over; the cost of one to *ret. */
static int repeat(struct link *l, int (*once)(struct link *l), double slice, double *ret)
{
	double begin = now(), spent = 0;
	unsigned long n = 0;

	while (spent < slice) {
		int e = once(l);
		if (e < 0)
			return e;
		n++;
		spent = now() - begin;
	}
	*ret = spent / (double)n;
	return 0;
}

/* --- one packet --- */

static int round_trip(struct link *l)
{
	char *body;
	int e = rsp_ask(&l->rsp, "qC", &body, NULL);
	return e == 0 && strncmp(body, "QC", 2) != 0 ? -EPROTO : e;
}

static int step_thread(struct link *l, long tid)
{
	char packet[32];
	int len = snprintf(packet, sizeof(packet), "vCont;s:%lx", (unsigned long)tid);
	int e = rsp_send(&l->rsp, packet, (size_t)len);
	return e == 0 ? link_stopped(l, NULL) : e;
}

static int step_only(struct link *l)
{
	return step_thread(l, l->debuggee);
}

static int step_all(struct link *l)
{
	char packet[32];
	int len = snprintf(packet, sizeof(packet), "vCont;s:%x;c", l->debuggee);
	int e = rsp_send(&l->rsp, packet, (size_t)len);
	return e == 0 ? link_stopped(l, NULL) : e;
}

/* --- points --- */

static int point(struct link *l, const char *what, uint64_t addr, unsigned len, const char *options)
{
	char packet[128];
	snprintf(packet, sizeof(packet), "%s,%lx,%x%s", what, (unsigned long)addr, len, options);
	return rsp_ask_ok(&l->rsp, packet);
}

static int run_to(struct link *l, uint64_t addr, long *ret_tid)
{
	int e = point(l, "Z0", addr, 1, "");
	if (e == 0)
		e = link_go(l);
	return e == 0 ? link_stopped(l, ret_tid) : e;
}

/* What gdb and lldb do at a hit, from one to the next: only the thread that hit is stepped, then all run. */
static int dance(struct link *l)
{
	uint64_t addr = l->shared->to_sub;
	int e = point(l, "z0", addr, 1, "");
	if (e == 0)
		e = step_thread(l, l->at);
	return e == 0 ? run_to(l, addr, &l->at) : e;
}

static int client_hits(struct link *l, double slice, double *ret)
{
	int e = link_work(l, WORK_SUB);
	if (e == 0)
		e = run_to(l, l->shared->to_sub, &l->at);
	if (e == 0)
		e = repeat(l, dance, slice, ret);
	return e == 0 ? point(l, "z0", l->shared->to_sub, 1, "") : e;
}

/* For so long. A server that stops for no reason (gdbserver does, for a hit of a thread it had forgotten) is sent on its way. */
static int let_run(struct link *l, int ms)
{
	double until = now() + ms / 1e3;
	int e = 0;

	for (int left = ms; e == 0 && left > 0; left = (int)((until - now()) * 1e3)) {
		struct pollfd p = { .fd = l->rsp.fd, .events = POLLIN };
		if (poll(&p, 1, left) == 1)
			e = link_stopped(l, NULL);
		else
			continue;
		if (e == 0)
			e = link_go(l);
	}
	return e;
}

/* The server compiles what is often false into the program, when it is told to. */
static int compiles(struct link *l, bool on)
{
	static const char text[] = "set fast-conditions ";
	char packet[80] = "qRcmd,", *reply = NULL;
	size_t len = strlen(packet);

	if (l->peer->kind != PEER_STOPGO)
		return 0;
	for (const char *c = text; *c; c++)
		len += (size_t)snprintf(packet + len, sizeof(packet) - len, "%02x", *c);
	snprintf(packet + len, sizeof(packet) - len, on ? "6f6e" : "6f6666");
	int e = rsp_ask(&l->rsp, packet, &reply, &len);
	while (e == 0 && reply[0] == 'O' && reply[1] != 'K')
		e = rsp_recv(&l->rsp, &reply, &len);
	return e;
}

/* rdi == 0xdead, which it never is: reg 5, const16, equal, end. */
static int false_conditions(struct link *l, enum work work, uint64_t addr, bool often, double slice,
			    double *ret)
{
	if (l->peer->kind == PEER_LLDB)
		return -EOPNOTSUPP;
	int e = link_work(l, work);
	if (e == 0)
		e = compiles(l, often);
	if (e == 0)
		e = point(l, "Z0", addr, 1, ";X8,26000523dead1327");
	if (e == 0)
		e = link_go(l);
	if (e < 0)
		return e;

	enum { WARM_MS = 5 };
	e = let_run(l, often ? 20 * WARM_MS : WARM_MS);
	double begin = now();
	uint64_t before = link_hits(l);
	do
		e = e ? e : let_run(l, (int)(slice * 1e3));
	while (e == 0 && link_hits(l) - before < 1 && now() - begin < RSP_TIMEOUT_S);
	double spent = now() - begin;
	uint64_t hits = link_hits(l) - before;
	if (e == 0)
		e = link_interrupt(l);
	if (e == 0)
		e = point(l, "z0", addr, 1, "");
	if (e == 0 && !hits) /* a condition that was true once, or a program that stands still */
		e = -ENODATA;
	*ret = spent / (double)hits;
	return e;
}

/* From the function's first instruction until it has returned. */
static int stretch(struct link *l, bool all)
{
	char packet[64];
	int len = snprintf(packet, sizeof(packet), "vCont;r%lx,%lx:%x%s",
			   (unsigned long)l->shared->stretch, (unsigned long)l->shared->stretch_end,
			   l->debuggee, all ? ";c" : "");
	int e = rsp_send(&l->rsp, packet, (size_t)len);
	return e == 0 ? link_stopped(l, NULL) : e;
}

static int range_steps(struct link *l, bool all, double slice, double *ret)
{
	double spent = 0;
	unsigned long n = 0;

	if (l->peer->kind == PEER_LLDB)
		return -EOPNOTSUPP;
	int e = link_work(l, WORK_STRETCH);
	while (e == 0 && spent < slice) {
		e = run_to(l, l->shared->stretch, NULL);
		if (e == 0)
			e = point(l, "z0", l->shared->stretch, 1, "");
		double begin = now();
		if (e == 0)
			e = stretch(l, all);
		spent += now() - begin;
		n += STRETCH_INSNS;
	}
	*ret = spent / (double)n;
	return e;
}

static int next_watch(struct link *l)
{
	int e = link_go(l);
	return e == 0 ? link_stopped(l, NULL) : e;
}

static int watch_hits(struct link *l, double slice, double *ret)
{
	int e = link_work(l, WORK_WATCH);
	if (e == 0)
		e = point(l, "Z2", l->shared->watched, 8, "");
	if (e == 0)
		e = repeat(l, next_watch, slice, ret);
	return e == 0 ? point(l, "z2", l->shared->watched, 8, "") : e;
}

/* --- memory --- */

static size_t chunk(const struct link *l)
{
	size_t n = l->packet_size / 2 - 32;
	return n < MEMORY_SIZE ? n : MEMORY_SIZE;
}

static int read_packet(struct link *l, char kind)
{
	char packet[64], *body;
	size_t got, want = chunk(l);
	int len = snprintf(packet, sizeof(packet), "%c%lx,%zx", kind,
			   (unsigned long)l->shared->memory, want);

	int e = rsp_send(&l->rsp, packet, (size_t)len);
	if (e == 0)
		e = rsp_recv(&l->rsp, &body, &got);
	if (e < 0)
		return e;
	if (!got)
		return -EOPNOTSUPP;
	return *body == 'E' && got == 3 ? -EPROTO : 0;
}

static int read_hex(struct link *l)
{
	return read_packet(l, 'm');
}

static int read_binary(struct link *l)
{
	return read_packet(l, 'x');
}

static int reads(struct link *l, bool binary, double slice, double *ret)
{
	int e = repeat(l, binary ? read_binary : read_hex, slice, ret);
	*ret *= 1e6 / (double)chunk(l);
	return e;
}

/* The packet is made once: the client's own work is no part of this. */
static uint8_t *write_packet(struct link *l, bool binary, size_t *ret_len)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = chunk(l);
	uint8_t *body = malloc(2 * n + 64), *frame = malloc(2 * n + 128);
	if (!body || !frame)
		abort();

	size_t at = (size_t)sprintf((char *)body, "%c%lx,%zx:", binary ? 'X' : 'M',
				    (unsigned long)l->shared->memory, n);
	uint32_t seed = 1;
	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525 + 1013904223;
		uint8_t c = (uint8_t)(seed >> 24);
		if (!binary) {
			body[at++] = (uint8_t)digits[c >> 4];
			body[at++] = (uint8_t)digits[c & 15];
		} else if (c == '#' || c == '$' || c == '}' || c == '*') {
			body[at++] = '}';
			body[at++] = c ^ 0x20;
		} else {
			body[at++] = c;
		}
	}
	*ret_len = rsp_frame(frame, body, at);
	free(body);
	return frame;
}

static int writes(struct link *l, bool binary, double slice, double *ret)
{
	size_t len;
	uint8_t *frame = write_packet(l, binary, &len);
	double begin = now(), spent = 0;
	unsigned long n = 0;
	char *body;
	int e = 0;

	while (e == 0 && spent < slice) {
		size_t got;
		e = rsp_write(&l->rsp, frame, len);
		if (e == 0)
			e = rsp_recv(&l->rsp, &body, &got);
		if (e == 0 && strcmp(body, "OK") != 0)
			e = got ? -EPROTO : -EOPNOTSUPP;
		n++;
		spent = now() - begin;
	}
	free(frame);
	*ret = spent / (double)n * 1e6 / (double)chunk(l);
	return e;
}

/* --- Delve --- */

static int delve_step(struct link *l)
{
	return delve_command(l, "stepInstruction");
}

static int delve_next_stop(struct link *l)
{
	return delve_command(l, "continue");
}

static int delve_repeat(struct link *l, int (*once)(struct link *l), double slice, double *ret)
{
	int e = repeat(l, once, slice, ret);
	int cleared = delve_clear(l);
	return e < 0 ? e : cleared;
}

static int delve_hits(struct link *l, double slice, double *ret)
{
	int e = link_work(l, WORK_SUB);
	if (e == 0)
		e = delve_break(l, "main.toSub", "");
	return e == 0 ? delve_repeat(l, delve_next_stop, slice, ret) : e;
}

static int delve_watch_hits(struct link *l, double slice, double *ret)
{
	int e = link_work(l, WORK_WATCH);
	if (e == 0)
		e = delve_watch(l, "main.watched");
	return e == 0 ? delve_repeat(l, delve_next_stop, slice, ret) : e;
}

static int delve_false(struct link *l, double slice, double *ret)
{
	int e = link_work(l, WORK_SUB);
	if (e == 0)
		e = delve_break(l, "main.toSub", "n == 57005");
	if (e == 0)
		e = delve_go(l);
	double begin = now();
	uint64_t before = link_hits(l);
	do
		usleep((useconds_t)(slice * 1e6));
	while (e == 0 && link_hits(l) - before < 1 && now() - begin < RSP_TIMEOUT_S);
	*ret = (now() - begin) / (double)(link_hits(l) - before);
	if (e == 0)
		e = delve_halt(l);
	int cleared = delve_clear(l);
	return e < 0 ? e : cleared;
}

static int delve_measure(struct link *l, enum row row, double slice, double *ret)
{
	int e;

	switch (row) {
	case ROW_STEP:
	case ROW_STEP_64:
	case ROW_STEP_1000:
		e = link_work(l, WORK_SPIN);
		return e == 0 ? repeat(l, delve_step, slice, ret) : e;
	case ROW_HIT:
	case ROW_HIT_8:
	case ROW_HIT_BUSY:
	case ROW_HIT_64:
	case ROW_HIT_1000: return delve_hits(l, slice, ret);
	case ROW_FALSE_SUB:
	case ROW_FALSE_8:
	case ROW_FALSE_BUSY:
	case ROW_FALSE_64:
	case ROW_FALSE_1000: return delve_false(l, slice, ret);
	case ROW_WATCH:
	case ROW_WATCH_64:
	case ROW_WATCH_1000: return delve_watch_hits(l, slice, ret);
	case ROW_RSS: *ret = (double)link_rss(l); return 0;
	default: return -EOPNOTSUPP;
	}
}

int measure(struct link *l, enum row row, double slice)
{
	double value = 0;
	int e = -EINVAL;

	if (l->peer->kind == PEER_DELVE) {
		e = delve_measure(l, row, slice, &value);
		if (e == 0)
			note(l, row, value);
		return e;
	}
	switch (row) {
	case ROW_ROUND_TRIP: e = repeat(l, round_trip, slice, &value); break;
	case ROW_STEP:
		e = link_work(l, WORK_SPIN);
		if (e == 0)
			e = repeat(l, step_only, slice, &value);
		break;
	case ROW_STEP_64:
	case ROW_STEP_1000:
		e = link_work(l, WORK_SPIN);
		if (e == 0)
			e = repeat(l, step_all, slice, &value);
		break;
	case ROW_RANGE: e = range_steps(l, false, slice, &value); break;
	case ROW_RANGE_64:
	case ROW_RANGE_1000: e = range_steps(l, true, slice, &value); break;
	case ROW_HIT:
	case ROW_HIT_8:
	case ROW_HIT_BUSY:
	case ROW_HIT_64:
	case ROW_HIT_1000: e = client_hits(l, slice, &value); break;
	case ROW_FALSE_PUSH:
		e = false_conditions(l, WORK_PUSH, l->shared->to_push, false, slice, &value);
		break;
	case ROW_FALSE_VECTOR:
		e = false_conditions(l, WORK_VECTOR, l->shared->to_vector, false, slice, &value);
		break;
	case ROW_FALSE_SUB:
	case ROW_FALSE_8:
	case ROW_FALSE_BUSY:
	case ROW_FALSE_64:
	case ROW_FALSE_1000:
		e = false_conditions(l, WORK_SUB, l->shared->to_sub, false, slice, &value);
		break;
	case ROW_FALSE_OFTEN:
	case ROW_FALSE_OFTEN_BUSY:
		e = false_conditions(l, WORK_SUB, l->shared->to_sub, true, slice, &value);
		break;
	case ROW_WATCH:
	case ROW_WATCH_64:
	case ROW_WATCH_1000: e = watch_hits(l, slice, &value); break;
	case ROW_READ_HEX: e = reads(l, false, slice, &value); break;
	case ROW_READ_BINARY: e = reads(l, true, slice, &value); break;
	case ROW_WRITE_HEX: e = writes(l, false, slice, &value); break;
	case ROW_WRITE_BINARY: e = writes(l, true, slice, &value); break;
	case ROW_RSS:
		value = (double)link_rss(l);
		e = 0;
		break;
	default: break;
	}
	if (e == 0)
		note(l, row, value);
	return e;
}

/* --- many threads --- */

static int list_by_xfer(struct link *l)
{
	char *body;
	size_t len = 0, offset = 0;

	do {
		int e = rsp_askf(&l->rsp, &body, "qXfer:threads:read::%zx,%zx", offset,
				 l->packet_size - 16);
		if (e < 0)
			return e;
		len = strlen(body);
		if (!len || (*body != 'm' && *body != 'l'))
			return -EOPNOTSUPP;
		offset += len - 1;
	} while (*body == 'm');
	return 0;
}

static int list_by_json(struct link *l)
{
	char *body;
	size_t len;
	int e = rsp_ask(&l->rsp, "jThreadsInfo", &body, &len);
	return e < 0 ? e : len < 16 ? -EOPNOTSUPP : 0;
}

/* Each list is the first since the threads ran. */
static int after_a_stop(struct link *l, int (*list)(struct link *l), double *sum_interrupt,
			double *sum_list)
{
	enum { RUN_US = 2000 };

	int e = link_go(l);
	usleep(RUN_US);
	double begin = now();
	if (e == 0)
		e = link_interrupt(l);
	double stopped = now();
	*sum_interrupt += stopped - begin;
	if (e == 0)
		e = list(l);
	*sum_list += now() - stopped;
	return e;
}

static int interrupts_and_lists(struct link *l, enum row first, double slice, bool json)
{
	double interrupt = 0, list = 0;
	unsigned n = 0;
	int e = 0;

	while (e == 0 && interrupt + list < slice) {
		e = after_a_stop(l, json ? list_by_json : list_by_xfer, &interrupt, &list);
		n++;
	}
	if ((e == -EOPNOTSUPP || e == 0) && (!json || l->peer->kind == PEER_LLDB))
		note(l, first + (ROW_INTERRUPT_1000 - ROW_ATTACH_1000), interrupt / n);
	if (e == 0)
		note(l,
		     first + (json ? ROW_JSON_1000 - ROW_ATTACH_1000
				   : ROW_LIST_1000 - ROW_ATTACH_1000),
		     list / n);
	return e == -EOPNOTSUPP ? 0 : e;
}

int measure_many(struct link *l, enum row first, double slice)
{
	double begin = now();

	int e = link_attach(l);
	if (e < 0)
		return e;
	note(l, first, now() - begin);
	if (l->peer->kind != PEER_LLDB)
		e = interrupts_and_lists(l, first, slice, false);
	if (e == 0 && (l->peer->kind == PEER_LLDB || l->peer->kind == PEER_STOPGO))
		e = interrupts_and_lists(l, first, slice, true);
	if (e < 0)
		return e;
	note(l, first + (ROW_RSS_1000 - ROW_ATTACH_1000), (double)link_rss(l));

	begin = now();
	e = rsp_ask_ok(&l->rsp, "D");
	if (e == 0)
		note(l, first + (ROW_DETACH_1000 - ROW_ATTACH_1000), now() - begin);
	return e;
}
