#include "server/lldbstop.h"
#include "base/log.h"
#include "protocol/signals.h"
#include "server/stops.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum {
	WHOLE = TDESC_EFLAGS +
		1, /* registers a stop reply expedites: all that unwinding asks for */
	BRIEF = 3,
	DESCRIPTION_MAX = 128,
	JSON_MAX = 32 * 1024 * 1024,
};

static const enum tdesc_id brief[BRIEF] = { TDESC_RIP, TDESC_RBP, TDESC_RSP };

/* Registers with the memory their values are in. */
struct values {
	struct stop_reply_reg regs[WHOLE];
	uint8_t bytes[WHOLE][8];
	size_t count;
};

static void take_values(struct session *s, struct inferior *inf, int64_t id,
			const enum tdesc_id *ids, size_t n, struct values *v)
{
	struct view_regs r;

	v->count = 0;
	if (view_regs_begin(&r, inf->view, id) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		const struct tdesc_reg *reg =
			tdesc_by_id(&s->regs.tdesc, ids ? ids[i] : (enum tdesc_id)i);
		if (!reg || s->regs.x86[reg->number] < 0 ||
		    view_regs_get(&r, (unsigned)s->regs.x86[reg->number], v->bytes[v->count]) < 0)
			continue;
		v->regs[v->count] =
			(struct stop_reply_reg){ reg->number, v->bytes[v->count], reg->size };
		v->count++;
	}
}

static bool read_pc(struct inferior *inf, int64_t id, uint64_t *ret)
{
	struct view_regs r;
	return view_regs_begin(&r, inf->view, id) == 0 && view_regs_get(&r, X86_RIP, ret) == 0;
}

/* --- in words what a processor's complaint was about --- */

static const struct {
	int signo, code;
	const char *text;
} codes[] = {
	{ SIGSEGV, SEGV_MAPERR, "address not mapped to object" },
	{ SIGSEGV, SEGV_ACCERR, "invalid permissions for mapped object" },
	{ SIGSEGV, SEGV_BNDERR, "failed address bounds checks" },
	{ SIGSEGV, SEGV_PKUERR, "address protected by a memory protection key" },
	{ SIGSEGV, SI_KERNEL, "invalid address" }, /* not canonical */
	{ SIGBUS, BUS_ADRALN, "illegal alignment" },
	{ SIGBUS, BUS_ADRERR, "illegal address" },
	{ SIGBUS, BUS_OBJERR, "hardware error" },
	{ SIGILL, ILL_ILLOPC, "illegal opcode" },
	{ SIGILL, ILL_ILLOPN, "illegal operand" },
	{ SIGILL, ILL_ILLADR, "illegal addressing mode" },
	{ SIGILL, ILL_ILLTRP, "illegal trap" },
	{ SIGILL, ILL_PRVOPC, "privileged opcode" },
	{ SIGILL, ILL_PRVREG, "privileged register" },
	{ SIGILL, ILL_COPROC, "coprocessor error" },
	{ SIGILL, ILL_BADSTK, "internal stack error" },
	{ SIGFPE, FPE_INTDIV, "integer divide by zero" },
	{ SIGFPE, FPE_INTOVF, "integer overflow" },
	{ SIGFPE, FPE_FLTDIV, "floating point divide by zero" },
	{ SIGFPE, FPE_FLTOVF, "floating point overflow" },
	{ SIGFPE, FPE_FLTUND, "floating point underflow" },
	{ SIGFPE, FPE_FLTRES, "floating point inexact result" },
	{ SIGFPE, FPE_FLTINV, "floating point invalid operation" },
	{ SIGFPE, FPE_FLTSUB, "subscript out of range" },
};

/* "signal SIGSEGV: address not mapped to object (fault address=0x0)"; empty when the signal's name says it all. */
static void describe_fault(struct inferior *inf, int64_t id, char *into, size_t size)
{
	pid_t tid = threadview_tid_of(inf->view, id);
	siginfo_t si;

	into[0] = 0;
	if (!tid || inf->target->ops->siginfo_read(inf->target, tid, &si) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		if (codes[i].signo != si.si_signo || codes[i].code != si.si_code)
			continue;
		int n = snprintf(into, size, "signal %s: %s", signals_linux_name(si.si_signo),
				 codes[i].text);
		if (si.si_signo == SIGSEGV || si.si_signo == SIGBUS)
			snprintf(into + n, size - (size_t)n, " (fault address=0x%llx)",
				 (unsigned long long)(uintptr_t)si.si_addr);
		return;
	}
}

/* --- one thread --- */

/*
 * What a thread was last told of. The thread that was reported may be another one than its OS thread stands for: a goroutine that was
 * stepped, or the one a person wants to see after an interrupt.
 */
static struct stop last_stop(struct session *s, struct inferior *inf, int64_t id, pid_t tid)
{
	const struct inferiors *all = s->inferiors;
	const struct target_run_ops *run = inf->target->ops->run;
	bool here = all->last.target == inf->target && all->last_id;
	struct stop stop;

	if (here && id == all->last_id)
		return all->last.stop;
	if (!tid || !run || (here && tid == all->last.tid) ||
	    run->last_stop(inf->target, tid, &stop) < 0)
		stop = (struct stop){ .kind = STOP_NONE };
	return stop;
}

static struct stop_reply describe(struct session *s, struct inferior *inf, int64_t id,
				  const struct stop *given, bool first)
{
	pid_t tid = threadview_tid_of(inf->view, id);
	struct thread_note *note = tid ? inferior_note(inf, tid) : NULL;
	bool asked = note && note->stop_asked;
	struct stop stop = given ? *given : last_stop(s, inf, id, tid);
	struct stop_reply sr = stops_describe(inf, id, &stop, asked);

	/* An interrupt shows as SIGSTOP, which is what lldb looks for after one of its own. */
	if ((stop.kind == STOP_INTERRUPT && !asked) || (first && stop.kind == STOP_NONE)) {
		sr.signal = SIGNALS_STOP;
		sr.reason = STOP_REASON_SIGNAL;
	}
	/* A trap of the program's own is a breakpoint to Delve; lldb makes SIGTRAP of one it did not set. */
	if (stop.kind == STOP_SWBREAK || (stop.kind == STOP_WATCH && stop.unasked))
		sr.reason = STOP_REASON_SWBREAK;
	return sr;
}

static bool has_reason(const struct stop_reply *sr)
{
	return sr->reason != STOP_REASON_NONE;
}

/* The words of one thread for as long as its reply or object is made. */
struct words {
	char description[DESCRIPTION_MAX];
	struct view_thread about;
};

/* A breakpoint of the server's own: lldb shows these words beside the signal. */
static void describe_own(struct inferior *inf, int64_t id, char *into, size_t size)
{
	const struct target_run_ops *run = inf->target->ops->run;
	pid_t tid = threadview_tid_of(inf->view, id);
	_cleanup_buf_ struct buf text = { 0 };
	struct stop stop;

	into[0] = 0;
	buf_init(&text, 4096);
	if (tid && run && run->last_stop(inf->target, tid, &stop) == 0) {
		bpoints_describe_stop(inf, tid, &stop, &text);
		catching_describe(inf, &stop, &text);
	}
	const char *words = text.len ? buf_cstr(&text) : NULL;
	if (words)
		snprintf(into, size, "%s", words);
}

static void put_words(struct inferior *inf, int64_t id, struct stop_reply *sr, struct words *w)
{
	if (sr->reason == STOP_REASON_SWBREAK || sr->reason == STOP_REASON_SYSCALL_ENTRY ||
	    sr->reason == STOP_REASON_SYSCALL_RETURN) {
		describe_own(inf, id, w->description, sizeof(w->description));
		if (w->description[0])
			sr->description = w->description;
	}
	if (sr->reason == STOP_REASON_SIGNAL) {
		describe_fault(inf, id, w->description, sizeof(w->description));
		if (w->description[0])
			sr->description = w->description;
	}
	if (threadview_describe(inf->view, id, &w->about) == 0 && w->about.name[0])
		sr->name = w->about.name;
}

/* --- all of them --- */

static struct stop_reply_thread *list_threads(struct inferior *inf, size_t *ret_count)
{
	struct stop_reply_thread *list = NULL;
	size_t count = 0, room = 0;
	int64_t id = 0;

	while (threadview_next(inf->view, id, &id) == 0 && id) {
		if (count == room) {
			room = room ? room * 2 : 16;
			struct stop_reply_thread *more = realloc(list, room * sizeof(*list));
			if (!more)
				break;
			list = more;
		}
		struct stop_reply_thread *t = &list[count++];
		*t = (struct stop_reply_thread){ .tid = id };
		t->has_pc = read_pc(inf, id, &t->pc);
	}
	*ret_count = count;
	return list;
}

/*
 * Delve asks about each thread that is in here, and keeps what it heard of a thread at an earlier stop when that is not: so one that
 * was in the list last time is in it once more, to say that it has nothing to say.
 */
static bool is_listed(struct session *s, struct inferior *inf, int64_t id, bool reason)
{
	if (s->client.kind != CLIENT_DELVE)
		return reason;

	pid_t tid = threadview_tid_of(inf->view, id);
	struct thread_note *note = tid ? inferior_note(inf, tid) : NULL;
	bool was = note && note->listed;
	if (tid && reason && !note)
		note = inferior_note_make(inf, tid);
	if (note)
		note->listed = reason;
	return reason || was;
}

static void put_object(struct session *s, struct inferior *inf, int64_t id, struct stop_reply *sr,
		       struct buf *b, unsigned flags)
{
	struct words w;

	put_words(inf, id, sr, &w);
	if (b->len && b->data[b->len - 1] != '[')
		buf_putc(b, ',');
	stop_reply_put_json(b, sr, &s->dialect, flags);
}

/* Of the threads with a reason, and the one that is reported. */
static void put_reasons(struct session *s, struct inferior *inf, int64_t reported,
			const struct stop_reply *sr, const struct stop_reply_thread *threads,
			size_t count, struct buf *b)
{
	buf_putc(b, '[');
	for (size_t i = 0; i < count; i++) {
		int64_t id = threads[i].tid;
		struct stop_reply one = id == reported ? *sr : describe(s, inf, id, NULL, false);
		if (is_listed(s, inf, id, has_reason(&one)))
			put_object(s, inf, id, &one, b, 0);
	}
	buf_putc(b, ']');
}

/* What the other threads hold is told together with this stop. */
static void tell_all(struct session *s)
{
	struct target_event ev;

	while (s->tracer && s->tracer->ops->next_untold(s->tracer, &ev) == 1)
		log_debug(LOG_STOP, "event %d of thread %d is told, too", ev.stop.kind, ev.tid);
}

static void put_lists(struct session *s, struct inferior *inf, int64_t id, struct stop_reply *sr,
		      struct buf *json, struct stop_reply_thread **ret_threads)
{
	struct stop_reply one = *sr;

	*ret_threads = list_threads(inf, &sr->nthreads);
	sr->threads = *ret_threads;
	if (sr->nthreads > 1) {
		put_reasons(s, inf, id, &one, sr->threads, sr->nthreads, json);
		sr->jstopinfo = buf_cstr(json);
	}
}

void lldbstop_put(struct session *s, struct inferior *inf, int64_t id, const struct stop *stop,
		  unsigned flags, struct buf *b)
{
	_cleanup_free_ struct stop_reply_thread *threads = NULL;
	_cleanup_buf_ struct buf json = { 0 };
	struct stop_reply sr;
	struct values v;
	struct words w;
	char path[PATH_MAX];

	buf_init(&json, JSON_MAX);
	if (flags & LLDBSTOP_ALL && !s->non_stop)
		tell_all(s);
	sr = describe(s, inf, id, stop, flags & LLDBSTOP_FIRST);
	if (flags & LLDBSTOP_ALL && s->dialect.list_threads)
		put_lists(s, inf, id, &sr, &json, &threads);
	take_values(s, inf, id, NULL, WHOLE, &v);
	sr.regs = v.regs;
	sr.nregs = v.count;
	put_words(inf, id, &sr, &w);
	if (sr.reason == STOP_REASON_EXEC &&
	    inf->target->ops->exe_path(inf->target, path, sizeof(path)) == 0)
		sr.path = path;
	stop_reply_put(b, &sr, &s->dialect);
}

void lldbstop_put_threads(struct session *s, struct inferior *inf, struct buf *b)
{
	int64_t id = 0, main = threadview_main(inf->view);

	buf_putc(b, '[');
	while (threadview_next(inf->view, id, &id) == 0 && id) {
		bool first = !s->resumed && !s->inferiors->last.target && id == main;
		struct stop_reply sr = describe(s, inf, id, NULL, first);
		struct values v;

		take_values(s, inf, id, brief, BRIEF, &v);
		sr.regs = v.regs;
		sr.nregs = v.count;
		put_object(s, inf, id, &sr, b, STOP_REPLY_JSON_REGISTERS);
	}
	buf_putc(b, ']');
}
