/*
 * stops_put.c - a stop as the client reads it: reason, thread, registers it will ask for next.
 */
#include "protocol/signals.h"
#include "server/lldbstop.h"
#include "server/packets.h"
#include "server/stops.h"

#include <limits.h>
#include <string.h>

static const uint8_t reasons[] = {
	[STOP_NONE] = STOP_REASON_NONE,
	[STOP_INTERRUPT] = STOP_REASON_SIGNAL,
	[STOP_SIGNAL] = STOP_REASON_SIGNAL,
	[STOP_STEP] = STOP_REASON_TRACE,
	[STOP_SWBREAK] = STOP_REASON_SWBREAK,
	[STOP_HWBREAK] = STOP_REASON_HWBREAK,
	[STOP_FORK] = STOP_REASON_FORK,
	[STOP_VFORK] = STOP_REASON_VFORK,
	[STOP_VFORK_DONE] = STOP_REASON_VFORK_DONE,
	[STOP_CLONE] = STOP_REASON_CLONE,
	[STOP_EXEC] = STOP_REASON_EXEC,
	[STOP_SYSCALL_ENTRY] = STOP_REASON_SYSCALL_ENTRY,
	[STOP_SYSCALL_RETURN] = STOP_REASON_SYSCALL_RETURN,
	[STOP_THREAD_CREATED] = STOP_REASON_CREATE,
	[STOP_NO_RESUMED] = STOP_REASON_NONE,
};

static enum stop_reply_reason watch_reason(enum point_kind kind)
{
	switch (kind) {
	case POINT_READ: return STOP_REASON_RWATCH;
	case POINT_ACCESS: return STOP_REASON_AWATCH;
	default: return STOP_REASON_WATCH;
	}
}

static void describe_end(const struct stop *stop, struct stop_reply *sr)
{
	switch (stop->kind) {
	case STOP_EXITED:
		sr->kind = STOP_REPLY_EXITED;
		sr->status = stop->status;
		break;
	case STOP_KILLED:
		sr->kind = STOP_REPLY_SIGNALED;
		sr->signal = signals_to_gdb(stop->signo);
		break;
	case STOP_THREAD_EXITED:
		sr->kind = STOP_REPLY_THREAD_EXITED;
		sr->status = stop->status;
		break;
	default: break;
	}
}

struct stop_reply stops_describe(struct inferior *inf, int64_t id, const struct stop *stop,
				 bool stop_asked)
{
	struct stop_reply sr = {
		.kind = STOP_REPLY_STOPPED,
		.signal = SIGNALS_TRAP,
		.thread = session_id(inf, id),
	};

	switch (stop->kind) {
	case STOP_EXITED:
	case STOP_KILLED:
	case STOP_THREAD_EXITED: describe_end(stop, &sr); return sr;
	case STOP_NONE:
	case STOP_NO_RESUMED: sr.signal = SIGNALS_NONE; break;
	case STOP_INTERRUPT: sr.signal = stop_asked ? SIGNALS_NONE : SIGNALS_INT; break;
	case STOP_SIGNAL: sr.signal = signals_to_gdb(stop->signo); break;
	default: break;
	}
	sr.reason = stop->kind == STOP_WATCH ? watch_reason(stop->watch) : reasons[stop->kind];
	/* gdb looks for the instruction at the pc when it is told swbreak, and the pc is behind a trap of the program's own. */
	if (stop->kind == STOP_SWBREAK && (stop->own || stop->unasked))
		sr.reason = STOP_REASON_TRAP;
	/* From a watchpoint that it does not know gdb goes on without a word. */
	if (stop->kind == STOP_WATCH && stop->unasked)
		sr.reason = STOP_REASON_TRAP;
	sr.addr = stop->kind == STOP_WATCH ? gwatch_shown(inf, stop->addr) : stop->addr;
	sr.point = stop->point;
	sr.number = (uint64_t)stop->syscall;
	if (stop->kind == STOP_FORK || stop->kind == STOP_VFORK)
		sr.child = (struct threadid){ stop->child_pid, stop->child_pid };
	if (stop->kind == STOP_CLONE)
		sr.child = session_id(inf, threadview_id_of(inf->view, stop->child_tid));
	return sr;
}

/* --disable-packet=T and Tthread, for clients' own tests of old stubs. */
static void apply_disabled(struct buf *b, size_t start)
{
	unsigned off = packets_disabled();

	if (buf_error(b) || b->len < start + 3 || b->data[start] != 'T')
		return;
	uint8_t *text = b->data + start;
	size_t len = b->len - start;
	if (off & PACKETS_NO_T) {
		text[0] = 'S';
		b->len = start + 3;
	} else if (off & PACKETS_NO_TTHREAD) {
		uint8_t *from = memmem(text, len, "thread:", 7);
		uint8_t *end = from ? memchr(from, ';', (size_t)(text + len - from)) : NULL;
		if (!end)
			return;
		memmove(from, end + 1, (size_t)(text + len - (end + 1)));
		b->len -= (size_t)(end + 1 - from);
	}
}

struct expedited {
	struct stop_reply_reg regs[3];
	uint8_t bytes[3][8];
	size_t count;
};

/* The registers a client needs to know which frame it looks at; without them it would ask. */
static void expedite(struct session *s, struct inferior *inf, int64_t id, struct expedited *e)
{
	static const enum tdesc_id ids[] = { TDESC_RBP, TDESC_RSP, TDESC_RIP };
	static const unsigned ours[] = { X86_RBP, X86_RSP, X86_RIP };
	struct view_regs r;

	e->count = 0;
	if (view_regs_begin(&r, inf->view, id) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		const struct tdesc_reg *reg = tdesc_by_id(&s->regs.tdesc, ids[i]);
		if (!reg || view_regs_get(&r, ours[i], e->bytes[i]) < 0)
			continue;
		e->regs[e->count++] = (struct stop_reply_reg){ reg->number, e->bytes[i], 8 };
	}
}

/*
 * No "core": it would be read from /proc at every stop, and what gdb shows of it comes from the list of threads, which it asks for at
 * each stop that it shows.
 */
static void put_stopped(struct session *s, struct inferior *inf, int64_t id, struct stop_reply *sr,
			struct buf *b)
{
	struct expedited e;
	char path[PATH_MAX];
	size_t start = b->len;

	expedite(s, inf, id, &e);
	sr->regs = e.regs;
	sr->nregs = e.count;
	if (sr->reason == STOP_REASON_EXEC) {
		if (inf->target->ops->exe_path(inf->target, path, sizeof(path)) < 0)
			path[0] = 0;
		sr->path = path;
	}
	stop_reply_put(b, sr, &s->dialect);
	apply_disabled(b, start);
}

void stops_put(struct session *s, struct inferior *inf, pid_t tid, int64_t id,
	       const struct stop *stop, struct buf *b)
{
	struct thread_note *note = inferior_note(inf, tid);
	struct stop_reply sr = stops_describe(inf, id, stop, note && note->stop_asked);

	if (catching_only_own(inf, stop))
		sr.reason = STOP_REASON_TRAP;
	/* gdb takes a SIGTRAP where it has a breakpoint for that one, and runs on when its condition is false. */
	if (bpoints_hides(inf, tid, stop)) {
		sr.signal = SIGNALS_INT;
		sr.reason = STOP_REASON_SIGNAL;
	}
	if (sr.kind == STOP_REPLY_STOPPED && session_is_lldb(s))
		lldbstop_put(s, inf, id, stop, LLDBSTOP_ALL, b);
	else if (sr.kind == STOP_REPLY_STOPPED)
		put_stopped(s, inf, id, &sr, b);
	else
		stop_reply_put(b, &sr, &s->dialect);
}

static bool is_birth(const struct stop *stop)
{
	switch (stop->kind) {
	case STOP_FORK:
	case STOP_VFORK:
	case STOP_VFORK_DONE:
	case STOP_CLONE:
	case STOP_EXEC: return true;
	default: return false;
	}
}

void stops_put_state(struct session *s, struct inferior *inf, int64_t id, struct buf *b)
{
	const struct target_run_ops *run = inf->target->ops->run;
	pid_t tid = threadview_tid_of(inf->view, id);
	struct thread_note *note = tid ? inferior_note(inf, tid) : NULL;
	struct stop stop = { 0 };

	if (session_is_lldb(s)) {
		lldbstop_put(s, inf, id, NULL, LLDBSTOP_ALL | (s->non_stop ? 0 : LLDBSTOP_FIRST),
			     b);
		return;
	}
	if (tid && run && run->last_stop(inf->target, tid, &stop) < 0)
		stop = (struct stop){ 0 };
	/* Births are no state: told of one that it followed before, or of the exec of a program just started, gdb follows it again. */
	bool plain = inf->fresh || is_birth(&stop);
	if (plain)
		stop = (struct stop){ 0 };
	struct stop_reply sr = stops_describe(inf, id, &stop, note && note->stop_asked);
	if (plain)
		sr.signal = SIGNALS_TRAP;
	put_stopped(s, inf, id, &sr, b);
}
