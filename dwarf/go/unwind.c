/*
 * Stacks by pclntab: from a frame's pc the table tells how far above sp the return address is. Ends
 * at functions marked as the top; passes from a signal handler to what it interrupted and from the
 * system stack to the goroutine behind it.
 */
#include <errno.h>
#include <string.h>
#include "dwarf/go/internal.h"

enum {
	INLINED_MAX = 64,
	WINDOW = 4096,
	JUMPS_MAX = 16, /* from one stack to another */
	DELTA_MAX = 1 << 30,
};

struct unwind {
	struct go_model *m;
	uint64_t pc, sp;
	bool exact;                      /* pc is about to run, not a return address */
	bool system;                     /* on a stack of the thread's, with curg behind */
	bool first;                      /* no frame has been made yet */
	const struct go_goroutine *curg; /* whose stack is behind the system stack; NULL: none */
	uint64_t signal_hi;              /* end of the signal stack sp is on; 0: it is not */
	uint64_t lo, hi;                 /* the stack sp must stay in; hi 0: not known */
	unsigned jumps;
	uint64_t window_at;
	size_t window_len;
	uint8_t window[WINDOW];
	struct go_frame *frames;
	size_t max, count;
};

/* A word of the stack; frames lie close together, so a piece of it is read at a time. */
static bool stack_word(struct unwind *u, uint64_t addr, uint64_t *ret)
{
	if (addr < u->window_at || addr - u->window_at + 8 > u->window_len) {
		size_t len = WINDOW;
		if (u->hi > addr)
			len = (size_t)MIN((uint64_t)WINDOW, u->hi - addr);
		u->window_len = 0;
		u->window_at = addr;
		if (mem_read_some(u->m->mem, addr, u->window, len, &u->window_len) < 0 ||
		    u->window_len < 8)
			return false;
	}
	memcpy(ret, u->window + (addr - u->window_at), 8);
	return true;
}

/* The frames of one function activation: what was inlined, then itself. False: no more room. */
static bool push_frames(struct unwind *u, uint64_t cfa, const struct go_pcln_func *f, bool signal)
{
	struct go_line lines[INLINED_MAX];
	size_t n = go_lines_at(u->m, u->exact ? u->pc : u->pc - 1, lines, INLINED_MAX);

	for (size_t i = 0; i < MAX(n, (size_t)1); i++) {
		if (u->count == u->max)
			return false;
		u->frames[u->count++] = (struct go_frame){
			.pc = u->pc,
			.sp = u->sp,
			.cfa = cfa,
			.entry = f ? f->entry + u->m->bias : 0,
			.at = n ? lines[i] : (struct go_line){ 0 },
			.inlined = n && lines[i].inlined,
			.signal = signal,
			.system = u->system,
		};
	}
	return true;
}

static void jump_to(struct unwind *u, uint64_t pc, uint64_t sp, bool exact)
{
	u->pc = pc;
	u->sp = sp;
	u->exact = exact;
	if (u->curg && sp >= u->curg->stack_lo && sp < u->curg->stack_hi) {
		u->system = false;
		u->lo = u->curg->stack_lo;
		u->hi = u->curg->stack_hi;
	} else {
		u->lo = u->hi = 0;
	}
}

/* At one of these the goroutine's side of the story is in g.sched. False: not that, or not known.
 */
static bool leave_system_stack(struct unwind *u, enum rt_func rt)
{
	const struct go_goroutine *g = u->curg;

	if (!g || !g->sp || g->sp < g->stack_lo || g->sp >= g->stack_hi || u->jumps++ >= JUMPS_MAX)
		return false;
	switch (rt) {
	case RT_SYSTEMSTACK:
		/* It returns normally, with the goroutine's sp: same function, other stack. */
		jump_to(u, u->pc, g->sp, u->exact);
		return true;
	case RT_MORESTACK:
	case RT_MCALL: jump_to(u, g->pc, g->sp, false); return true;
	default: return false;
	}
}

/*
 * gogo, having loaded the goroutine's sp and about to jump to where it goes on: g.sched.pc still tells where. (It is an assembly
 * label without a package.)
 */
static bool is_in_gogo(const struct unwind *u, const struct go_pcln_func *f)
{
	const char *name = go_pclntab_name(&u->m->pcln, f->name_off);
	return name && strcmp(name, "gogo") == 0 && u->curg && u->curg->pc && u->hi;
}

static bool is_entry(const struct go_model *m, uint64_t pc)
{
	struct go_pcln_func f;
	return go_pclntab_lookup(&m->pcln, model_linked(m, pc), &f) &&
	       f.entry == model_linked(m, pc);
}

/* The frame after one of these was interrupted where it stands. */
static bool injects_call(const struct go_model *m, enum rt_func rt, const struct go_pcln_func *f)
{
	if (rt == RT_SIGPANIC || rt == RT_ASYNCPREEMPT)
		return true;
	const char *name = go_pclntab_name(&m->pcln, f->name_off);
	return name && strncmp(name, "runtime.debugCall", 17) == 0;
}

/* A handler in C code has no frames to follow, but the signal frame lies above it. */
static bool find_interrupted(struct unwind *u, struct go_regs *ret)
{
	return u->signal_hi > u->sp && signal_frame_scan(u->m, u->sp - 8, u->signal_hi, ret);
}

static bool leave_signal_stack(struct unwind *u, const struct go_regs *interrupted)
{
	if (u->jumps++ >= JUMPS_MAX)
		return false;
	/* A second signal may have come while on it: then what it interrupted lies further up. */
	if (interrupted->sp <= u->sp || interrupted->sp >= u->signal_hi)
		u->signal_hi = 0;
	jump_to(u, interrupted->pc, interrupted->sp, true);
	return true;
}

/* One activation. Returns GO_UNWIND_DONE with *more set to go on. */
static enum go_unwind_end step(struct unwind *u, bool *more)
{
	struct go_regs interrupted;

	*more = false;
	if (!u->pc)
		return GO_UNWIND_DONE;
	const struct pc_info *info =
		pc_info(u->m, model_linked(u->m, u->exact ? u->pc : u->pc - 1));
	struct go_pcln_func f = info->f;
	int32_t delta = info->delta;
	if (!info->in_func) {
		bool found = find_interrupted(u, &interrupted);
		if (!push_frames(u, 0, NULL, found))
			return GO_UNWIND_FULL;
		*more = found && leave_signal_stack(u, &interrupted);
		return *more ? GO_UNWIND_DONE : GO_UNWIND_LOST;
	}
	enum rt_func rt = rt_at(u->m, f.entry + u->m->bias);
	if (!info->has_delta || delta < 0 || delta > DELTA_MAX) {
		if (!push_frames(u, 0, &f, false))
			return GO_UNWIND_FULL;
		return (f.flag & GO_FUNC_TOP) ? GO_UNWIND_DONE : GO_UNWIND_BROKEN;
	}

	bool first = u->first;
	u->first = false;
	bool gone = u->system && leave_system_stack(u, rt);
	if (gone && rt == RT_SYSTEMSTACK)
		f.flag &= (uint8_t)~GO_FUNC_SP_WRITE;
	if (gone && rt == RT_MORESTACK) {
		*more = true;
		return GO_UNWIND_DONE;
	}
	if (!push_frames(u, u->sp + (uint64_t)delta + 8, &f, rt == RT_SIGTRAMP))
		return GO_UNWIND_FULL;
	/* Who called it may be running elsewhere by now: the scheduler goes on to the next goroutine from here. */
	if (u->system && rt == RT_MCALL)
		return GO_UNWIND_DONE;
	if (first && is_in_gogo(u, &f)) {
		u->pc = u->curg->pc;
		u->exact = is_entry(u->m, u->pc);
		*more = true;
		return GO_UNWIND_DONE;
	}
	uint64_t ra_at = u->sp + (uint64_t)delta;
	uint64_t cfa = ra_at + 8;

	if (rt == RT_SIGTRAMP) {
		*more = signal_frame_read(u->m, cfa, &interrupted) &&
			leave_signal_stack(u, &interrupted);
		return *more ? GO_UNWIND_DONE : GO_UNWIND_BROKEN;
	}
	if (f.flag & GO_FUNC_TOP)
		return GO_UNWIND_DONE;
	/* On the goroutine's own stack it has not switched yet: what it calls before that returns here. */
	if ((f.flag & GO_FUNC_SP_WRITE) && !first && rt != RT_CGOCALLBACK && (u->system || !u->hi))
		return GO_UNWIND_LOST;
	if (cfa <= u->sp || (u->hi && cfa > u->hi))
		return GO_UNWIND_BROKEN;
	uint64_t ra;
	if (!stack_word(u, ra_at, &ra))
		return GO_UNWIND_BROKEN;
	/* What C was called from by Go 1.19 is noted as the address of systemstack_switch. */
	u->exact = injects_call(u->m, rt, &f) || (rt == RT_CGOCALLBACK && is_entry(u->m, ra));
	u->pc = ra;
	u->sp = cfa;
	*more = true;
	return GO_UNWIND_DONE;
}

static enum go_unwind_end unwind(struct unwind *u, size_t *ret_count)
{
	enum go_unwind_end end = GO_UNWIND_DONE;
	bool more = true;

	u->first = true;
	for (unsigned i = 0; more && i < GO_FRAMES_MAX; i++) {
		if (u->count == u->max) {
			end = GO_UNWIND_FULL;
			break;
		}
		end = step(u, &more);
	}
	*ret_count = u->count;
	return end;
}

enum go_unwind_end go_unwind(struct go_model *m, const struct go_goroutine *g,
			     const struct go_regs *regs, struct go_frame *frames, size_t max,
			     size_t *ret_count)
{
	struct unwind u = {
		.m = m,
		.pc = regs->pc,
		.sp = regs->sp,
		.exact = regs->pc_exact,
		.curg = g,
		.frames = frames,
		.max = max,
	};

	*ret_count = 0;
	if (regs->from == GO_REGS_NONE || !m->mem || !model_need_functions(m))
		return GO_UNWIND_BROKEN;
	/* Registers of a thread that is between its stacks are not on the goroutine's. */
	if (g && g->stack_hi && regs->sp >= g->stack_lo && regs->sp < g->stack_hi) {
		u.lo = g->stack_lo;
		u.hi = g->stack_hi;
	} else {
		u.system = g != NULL;
	}
	return unwind(&u, ret_count);
}

enum go_unwind_end go_unwind_thread(struct go_model *m, const struct go_thread *thread,
				    const struct go_thread_regs *regs, struct go_frame *frames,
				    size_t max, size_t *ret_count)
{
	struct unwind u = {
		.m = m,
		.pc = regs->pc,
		.sp = regs->sp,
		.exact = true,
		.system = thread->where != GO_WHERE_GO,
		.curg = thread->g.g ? &thread->g : NULL,
		.frames = frames,
		.max = max,
	};

	*ret_count = 0;
	if (!m->mem || !model_need_functions(m))
		return GO_UNWIND_BROKEN;
	/* The end of a system stack that C made is a guess of the runtime's: only a goroutine's bounds are believed. */
	if (thread->where == GO_WHERE_GO) {
		u.lo = thread->stack_lo;
		u.hi = thread->stack_hi;
	}
	if (thread->where == GO_WHERE_SIGNAL)
		u.signal_hi = thread->stack_hi;
	return unwind(&u, ret_count);
}

ssize_t go_frame_user(const struct go_frame *frames, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *name = frames[i].at.function;
		if (name && strncmp(name, "runtime.", 8) != 0 &&
		    strncmp(name, "internal/runtime/", 17) != 0 &&
		    strncmp(name, "runtime/internal/", 17) != 0)
			return (ssize_t)i;
	}
	return count ? 0 : -1;
}
