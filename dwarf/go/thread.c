/* Which goroutine an OS thread runs, and which registers a goroutine has. */
#include <errno.h>
#include <string.h>
#include "dwarf/go/internal.h"

enum {
	SIGNALS_NESTED_MAX = 4,
	/* The kernel's struct ucontext: flags, link, stack (40 bytes), then 23 words of registers.
	 */
	UC_GREGS = 40,
	UC_CS = UC_GREGS + 18 * 8,
	USER_CS = 0x33,
	GREG_BP = 10,
	GREG_SP = 15,
	GREG_PC = 16,
	STACK_SCAN_MAX = 64 << 10,
	DUTY_FRAMES = 24,
};

static bool within(uint64_t addr, uint64_t lo, uint64_t hi)
{
	return addr >= lo && addr < hi;
}

/* ---- threads ---- */

/* The stages of finding out about many threads: each is one batch of reads for all of them. */
struct looking {
	const struct go_thread_regs *regs;
	size_t count;
	uint64_t *tls_g; /* what the thread's slot holds; 0: nothing */
	struct m_info *ms;
	struct go_goroutine *tls, *curg, *g0, *gsignal;
	struct mem_span *spans;
	uint8_t *raw;
};

static void looking_fini(struct looking *k)
{
	free(k->tls_g);
	free(k->ms);
	free(k->tls);
	free(k->spans);
	free(k->raw);
}

static int looking_init(struct looking *k, const struct go_model *m)
{
	size_t n = k->count ? k->count : 1;

	k->tls_g = calloc(n, sizeof(*k->tls_g));
	k->ms = calloc(n, sizeof(*k->ms));
	k->tls = calloc(n * 4, sizeof(*k->tls));
	k->spans = calloc(n * 3, sizeof(*k->spans));
	k->raw = malloc(n * 3 * m->g_size);
	if (!k->tls_g || !k->ms || !k->tls || !k->spans || !k->raw)
		return -ENOMEM;
	k->curg = k->tls + n;
	k->g0 = k->curg + n;
	k->gsignal = k->g0 + n;
	return 0;
}

static int read_tls(struct go_model *m, struct looking *k)
{
	for (size_t i = 0; i < k->count; i++)
		k->spans[i] = (struct mem_span){
			.addr = k->regs[i].fs_base + (uint64_t)m->tls_offset,
			.into = &k->tls_g[i],
			.len = sizeof(k->tls_g[i]),
		};
	int r = mem_read_spans(m->mem, k->spans, k->count);
	for (size_t i = 0; i < k->count; i++)
		if (!k->regs[i].fs_base || k->spans[i].got < sizeof(k->tls_g[i]) || k->tls_g[i] % 8)
			k->tls_g[i] = 0;
	return r;
}

/* Reads count g structures at these addresses (0: none) into ret; what is none becomes g 0. */
static int read_gs(struct go_model *m, struct looking *k, const uint64_t *addrs, size_t count,
		   struct go_goroutine *ret)
{
	for (size_t i = 0; i < count; i++)
		k->spans[i] = (struct mem_span){ .addr = addrs[i],
						 .into = k->raw + i * m->g_size,
						 .len = m->g_size };
	int r = mem_read_spans(m->mem, k->spans, count);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++) {
		ret[i] = (struct go_goroutine){ 0 };
		if (addrs[i] && k->spans[i].got == m->g_size)
			goroutine_parse(m, addrs[i], k->raw + i * m->g_size, &ret[i]);
		ret[i].g = ret[i].status <= GO_DEADEXTRA && ret[i].stack_lo <= ret[i].stack_hi
				   ? ret[i].g
				   : 0;
	}
	return 0;
}

static int read_all(struct go_model *m, struct looking *k)
{
	int r = read_tls(m, k);
	if (r == 0)
		r = read_gs(m, k, k->tls_g, k->count, k->tls);
	if (r < 0)
		return r;
	for (size_t i = 0; i < k->count; i++)
		k->ms[i].m = k->tls[i].g ? k->tls[i].m : 0;
	r = m_read(m, k->ms, k->count);
	if (r < 0)
		return r;

	_cleanup_free_ uint64_t *addrs = calloc(k->count * 3 + 1, sizeof(*addrs));
	if (!addrs)
		return -ENOMEM;
	for (size_t i = 0; i < k->count; i++) {
		const struct m_info *mi = &k->ms[i];
		/* An M that does not know this g is no M: the slot holds something else. */
		bool ours = mi->g0 && k->tls_g[i] &&
			    (mi->g0 == k->tls_g[i] || mi->curg == k->tls_g[i] ||
			     mi->gsignal == k->tls_g[i]);
		if (!ours)
			k->ms[i] = (struct m_info){ 0 };
		addrs[i] = k->ms[i].curg;
		addrs[k->count + i] = k->ms[i].g0;
		addrs[2 * k->count + i] = k->ms[i].gsignal;
	}
	_cleanup_free_ struct go_goroutine *all = calloc(k->count * 3 + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	r = read_gs(m, k, addrs, k->count * 3, all);
	if (r < 0)
		return r;
	memcpy(k->curg, all, k->count * sizeof(*all));
	memcpy(k->g0, all + k->count, k->count * sizeof(*all));
	memcpy(k->gsignal, all + 2 * k->count, k->count * sizeof(*all));
	return 0;
}

static bool on_stack(const struct go_goroutine *g, uint64_t sp)
{
	return g->g && within(sp, g->stack_lo, g->stack_hi);
}

static void on(struct go_thread *t, enum go_where where, const struct go_goroutine *stack)
{
	t->where = where;
	if (stack) {
		t->stack_lo = stack->stack_lo;
		t->stack_hi = stack->stack_hi;
	}
}

static void decide(struct go_model *m, const struct looking *k, size_t i, struct go_thread *t)
{
	const struct m_info *mi = &k->ms[i];
	const struct go_goroutine *curg = &k->curg[i];
	uint64_t sp = k->regs[i].sp;
	bool in_go = model_in_text(m, k->regs[i].pc);

	*t = (struct go_thread){ .where = GO_WHERE_NOT_GO, .m_id = -1 };
	if (!mi->g0)
		return;
	t->m = mi->m;
	t->m_id = mi->id;
	t->g0 = mi->g0;
	t->gsignal = mi->gsignal;
	t->tid = mi->tid;
	if (curg->g) {
		t->g = *curg;
		t->g.tid = mi->tid;
		t->g.on_thread = true;
		t->g.system = start_info(m, curg->start_pc)->system;
		t->g.hidden = mi->extra_in_c || curg->status == GO_DEAD ||
			      curg->status == GO_IDLE || curg->status == GO_DEADEXTRA;
	}

	if (on_stack(curg, sp)) {
		on(t, GO_WHERE_GO, curg);
	} else if (on_stack(&k->gsignal[i], sp)) {
		on(t, GO_WHERE_SIGNAL, &k->gsignal[i]);
	} else if (mi->extra_in_c) {
		on(t, GO_WHERE_EXTRA, NULL);
		t->g = (struct go_goroutine){ 0 };
	} else if (on_stack(curg, mi->vdso_sp)) {
		on(t, GO_WHERE_VDSO, on_stack(&k->g0[i], sp) ? &k->g0[i] : NULL);
	} else if (curg->g && !in_go && (mi->incgo || curg->status == GO_SYSCALL)) {
		on(t, GO_WHERE_C, NULL);
	} else {
		on(t, GO_WHERE_SYSTEM, on_stack(&k->g0[i], sp) ? &k->g0[i] : NULL);
	}
}

int go_threads(struct go_model *m, const struct go_thread_regs *regs, size_t count,
	       struct go_thread *ret)
{
	_cleanup_(looking_fini) struct looking k = { .regs = regs, .count = count };

	/* Before the first goroutine there is nothing to be current. */
	if (!count || !model_need_allgs(m) || !model_need_tls(m)) {
		for (size_t i = 0; i < count; i++)
			ret[i] = (struct go_thread){ .where = GO_WHERE_NOT_GO };
		return 0;
	}
	int r = looking_init(&k, m);
	if (r == 0)
		r = read_all(m, &k);
	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		decide(m, &k, i, &ret[i]);
	return 0;
}

/* The innermost of these decides. */
static const struct {
	const char *function;
	enum go_duty duty;
} duties[] = {
	{ "runtime.mPark", GO_DUTY_IDLE },       { "runtime.stopm", GO_DUTY_IDLE },
	{ "runtime.stoplockedm", GO_DUTY_IDLE }, { "runtime.netpoll", GO_DUTY_NETPOLL },
	{ "runtime.sysmon", GO_DUTY_SYSMON },    { "runtime.templateThread", GO_DUTY_TEMPLATE },
};

enum go_duty go_thread_duty(struct go_model *m, const struct go_thread *thread,
			    const struct go_thread_regs *regs)
{
	struct go_frame frames[DUTY_FRAMES];
	size_t n = 0;

	(void)go_unwind_thread(m, thread, regs, frames, DUTY_FRAMES, &n);
	for (size_t i = 0; i < n; i++)
		for (size_t d = 0; d < ARRAY_SIZE(duties); d++)
			if (frames[i].at.function &&
			    strcmp(frames[i].at.function, duties[d].function) == 0)
				return duties[d].duty;
	return GO_DUTY_SCHEDULER;
}

/* ---- signal frames ---- */

/*
 * The handler that preempts makes it look as if the goroutine had called asyncPreempt (pushCall in runtime/signal_amd64.go): it puts
 * pc below sp, moves sp, then sets pc. Between the last two sp is that of a call which has not been made. In no other state is
 * the word at sp the address of the instruction that comes next.
 */
static void undo_half_a_call(struct go_model *m, struct go_regs *r)
{
	uint64_t top;

	if (!model_in_text(m, r->pc) || mem_read_u64(m->mem, r->sp, &top) < 0 || top != r->pc)
		return;
	r->sp += sizeof(top);
	r->gregs[GREG_SP] = r->sp;
}

bool signal_frame_read(struct go_model *m, uint64_t ucontext, struct go_regs *ret)
{
	uint64_t gregs[GO_GREGS + 1];

	if (mem_read(m->mem, ucontext + UC_GREGS, gregs, sizeof(gregs)) < 0 ||
	    (gregs[GO_GREGS] & 0xffff) != USER_CS)
		return false;
	*ret = (struct go_regs){
		.from = GO_REGS_SIGNAL,
		.pc = gregs[GREG_PC],
		.sp = gregs[GREG_SP],
		.bp = gregs[GREG_BP],
		.pc_exact = true,
		.gregs_addr = ucontext + UC_GREGS,
	};
	memcpy(ret->gregs, gregs, sizeof(ret->gregs));
	undo_half_a_call(m, ret);
	return true;
}

/*
 * What the kernel returns through: Go's own restorer, or with cgo the one of libc, which is these instructions (mov rax, 15;
 * syscall) in both.
 */
static bool is_restorer(struct go_model *m, uint64_t pc)
{
	static const uint8_t code[] = { 0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05 };
	uint8_t raw[sizeof(code)];

	if (pc && (pc == m->rt_entry[RT_SIGRETURN] || pc == m->rt_entry[RT_SIGRETURN_SIGACTION]))
		return true;
	return mem_read(m->mem, pc, raw, sizeof(raw)) == 0 && memcmp(raw, code, sizeof(code)) == 0;
}

/* Looks for the return address the kernel pushed; the context is right above it. */
bool signal_frame_scan(struct go_model *m, uint64_t sp, uint64_t hi, struct go_regs *ret)
{
	_cleanup_free_ uint64_t *window = malloc(STACK_SCAN_MAX);
	uint64_t from = (sp + 7) & ~UINT64_C(7);
	size_t got = 0;

	if (!window || from >= hi ||
	    mem_read_some(m->mem, from, window, (size_t)MIN(hi - from, (uint64_t)STACK_SCAN_MAX),
			  &got) < 0)
		return false;
	for (size_t i = 0; i + 1 + UC_CS / 8 < got / 8; i++) {
		if ((window[i + 1 + UC_CS / 8] & 0xffff) == USER_CS && is_restorer(m, window[i]) &&
		    signal_frame_read(m, from + i * 8 + 8, ret))
			return true;
	}
	return false;
}

bool signal_frame_find(struct go_model *m, const struct go_thread_regs *thread, uint64_t stack_lo,
		       uint64_t stack_hi, struct go_regs *ret)
{
	uint64_t sp = thread->sp;
	uint64_t pc = thread->pc;
	bool exact = true;

	/* By frames up to sigtramp, whose caller is the kernel. */
	for (unsigned depth = 0; depth < 64 && within(sp, stack_lo, stack_hi); depth++) {
		struct go_pcln_func f;
		int32_t delta;
		uint64_t at = model_linked(m, exact ? pc : pc - 1);
		if (!go_pclntab_lookup(&m->pcln, at, &f) ||
		    !go_pclntab_sp_delta(&m->pcln, &f, at, &delta) || delta < 0)
			break;
		sp += (uint64_t)delta;
		if (f.entry + m->bias == m->rt_entry[RT_SIGTRAMP])
			return signal_frame_read(m, sp + 8, ret);
		if ((f.flag & (GO_FUNC_TOP | GO_FUNC_SP_WRITE)) ||
		    mem_read_u64(m->mem, sp, &pc) < 0)
			break;
		sp += 8;
		exact = f.entry + m->bias == m->rt_entry[RT_SIGPANIC];
	}
	/* Through C code (a forwarded signal) there are no frames to follow. */
	return signal_frame_scan(m, thread->sp, stack_hi, ret);
}

/* ---- a goroutine's registers ---- */

/*
 * What is saved is a return address, except in a goroutine that never ran, and in Go 1.19 behind systemstack, where it is the
 * address of systemstack_switch. Both are the entry of a function, which no return address is.
 */
static void saved(const struct go_model *m, struct go_regs *ret, uint64_t pc, uint64_t sp,
		  uint64_t bp)
{
	struct go_pcln_func f;

	ret->from = sp ? GO_REGS_SAVED : GO_REGS_NONE;
	ret->pc_exact = go_pclntab_lookup(&m->pcln, model_linked(m, pc), &f) &&
			f.entry == model_linked(m, pc);
	ret->pc = pc;
	ret->sp = sp;
	ret->bp = bp;
}

/* The thread works for g on another stack: what g was at when it left its own. False: it is between
 * the two. */
static bool saved_behind_system(const struct go_model *m, const struct go_goroutine *g,
				const struct m_info *mi, struct go_regs *ret)
{
	/* The scheduler asks for the time as well; then it is its own stack that is noted. */
	if (within(mi->vdso_sp, g->stack_lo, g->stack_hi))
		saved(m, ret, mi->vdso_pc, mi->vdso_sp, 0);
	else if (g->status == GO_SYSCALL && g->syscall_sp)
		saved(m, ret, g->syscall_pc, g->syscall_sp, g->syscall_bp);
	else if (g->sp)
		saved(m, ret, g->pc, g->sp, g->bp);
	else
		return false;
	return true;
}

static void from_thread(const struct go_thread_regs *thread, struct go_regs *ret)
{
	ret->from = GO_REGS_THREAD;
	ret->pc = thread->pc;
	ret->sp = thread->sp;
	ret->bp = thread->bp;
	ret->pc_exact = true;
}

static int regs_on_thread(struct go_model *m, const struct go_goroutine *g,
			  const struct go_thread_regs *thread, struct go_regs *ret)
{
	struct m_info mi = { .m = g->m };
	struct go_goroutine gsignal = { 0 };
	struct go_thread_regs at = thread ? *thread : (struct go_thread_regs){ 0 };

	int r = m_read(m, &mi, 1);
	if (r < 0)
		return r;
	if (thread && within(at.sp, g->stack_lo, g->stack_hi)) {
		from_thread(thread, ret);
		return 0;
	}
	uint8_t raw[4096];
	if (thread && mi.gsignal && m->g_size <= sizeof(raw) &&
	    mem_read(m->mem, mi.gsignal, raw, m->g_size) == 0)
		goroutine_parse(m, mi.gsignal, raw, &gsignal);
	for (unsigned i = 0; i < SIGNALS_NESTED_MAX && on_stack(&gsignal, at.sp); i++) {
		struct go_regs frame;
		if (!signal_frame_find(m, &at, gsignal.stack_lo, gsignal.stack_hi, &frame))
			break;
		if (within(frame.sp, g->stack_lo, g->stack_hi)) {
			frame.tid = ret->tid;
			*ret = frame;
			return 0;
		}
		if (within(frame.sp, gsignal.stack_lo, gsignal.stack_hi) && frame.sp <= at.sp)
			break;
		at.pc = frame.pc;
		at.sp = frame.sp;
	}
	if (!saved_behind_system(m, g, &mi, ret) && thread)
		from_thread(thread, ret);
	return 0;
}

int go_regs(struct go_model *m, const struct go_goroutine *g, const struct go_thread_regs *thread,
	    struct go_regs *ret)
{
	*ret = (struct go_regs){ .from = GO_REGS_NONE };
	if (!g->g || !g->stack_hi || g->status == GO_DEAD || g->status == GO_IDLE ||
	    g->status == GO_DEADEXTRA || !model_need_allgs(m))
		return 0;
	if (g->status == GO_COPYSTACK) {
		/* Half of its stack is here and half is there; only the thread that moves it can be
		 * shown. */
		ret->tid = g->on_thread ? g->tid : 0;
		if (g->on_thread && thread)
			from_thread(thread, ret);
		return 0;
	}
	if (g->on_thread) {
		ret->tid = g->tid;
		return regs_on_thread(m, g, thread, ret);
	}
	if (g->status == GO_SYSCALL && g->syscall_sp)
		saved(m, ret, g->syscall_pc, g->syscall_sp, g->syscall_bp);
	else
		saved(m, ret, g->pc, g->sp, g->bp);
	return 0;
}
