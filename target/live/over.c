/*
 * over.c - past a breakpoint of ours, cheapest way first.
 *
 *   emulate    the displaced instruction's effect is computed: no stop at all
 *   slot       a relocated copy runs in scratch memory. One that ends in a jump back needs no stop at all, but then nobody knows
 *              when the thread has left it; where it matters when the instruction is done, the copy is stepped
 *   in place   everybody else in this memory is halted, the int3 lifted, the instruction stepped
 *              where it is, the int3 put back: when nobody else runs there, or nothing else will do
 *
 * What was found out about an instruction is kept with its breakpoint (struct over_plan).
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "base/log.h"
#include "target/live/patch.h"
#include "target/live/task.h"
#include "target/x86/insn.h"

struct over_copy {
	bool tried;              /* without a scratch page: it cannot be done */
	struct scratch *scratch; /* NULL: there is no copy */
	unsigned slot;
	struct insn_copy insn;
};

struct over_plan {
	unsigned refs; /* the breakpoint and every task that was sent into a copy */
	unsigned passes;
	struct insn insn;
	bool decoded;               /* false: these bytes are no instruction */
	struct over_copy copies[2]; /* by enum insn_copy_mode */
};

enum { SLOT_SIZE = INSN_COPY_MAX, SLOTS = 64, SCRATCH_SIZE = SLOT_SIZE * SLOTS };

static_assert(SCRATCH_SIZE == 4096, "a scratch page is a page");

void over_plan_unref(struct over_plan *plan)
{
	if (!plan || --plan->refs)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(plan->copies); i++) {
		struct over_copy *copy = &plan->copies[i];
		if (copy->scratch)
			copy->scratch->used &= ~(UINT64_C(1) << copy->slot);
	}
	free(plan);
}

/* Reads of the instruction's own: other breakpoints hidden, and no more than the processor may read. */
static int emu_read(void *ctx, uint64_t addr, void *into, size_t len)
{
	struct space *s = ctx;
	struct iovec local = { into, len }, remote = { (void *)addr, len };

	if (process_vm_readv(s->pid, &local, 1, &remote, 1, 0) != (ssize_t)len)
		return -EFAULT;
	swpoints_hide(&s->sw, addr, into, len);
	return 0;
}

static int emu_write(void *ctx, uint64_t addr, const void *from, size_t len)
{
	struct space *s = ctx;
	struct iovec local = { (void *)from, len }, remote = { (void *)addr, len };

	/* A write into code of ours is left to the processor and the way in place. */
	if (swpoints_touch(&s->sw, addr, len))
		return -EFAULT;
	return process_vm_writev(s->pid, &local, 1, &remote, 1, 0) == (ssize_t)len ? 0 : -EFAULT;
}

/* Memory after a stepped copy: a return address or flags pushed by it are put right. */
static int fix_read(void *ctx, uint64_t addr, void *into, size_t len)
{
	struct space *s = ctx;
	size_t got;

	int r = space_read_raw(s, addr, into, len, &got);
	if (r < 0 || got < len)
		return -EFAULT;
	swpoints_hide(&s->sw, addr, into, len);
	return 0;
}

static int fix_write(void *ctx, uint64_t addr, const void *from, size_t len)
{
	return space_write_raw(ctx, addr, from, len);
}

static struct over_plan *plan_of(struct space *s, struct swpoint *point)
{
	if (point->plan)
		return point->plan;

	struct over_plan *plan = calloc(1, sizeof(*plan));
	uint8_t code[INSN_MAX];
	size_t got = 0;
	if (!plan)
		return NULL;
	plan->refs = 1;
	if (space_read_raw(s, point->addr, code, sizeof(code), &got) == 0) {
		swpoints_hide(&s->sw, point->addr, code, got);
		plan->decoded = insn_decode(code, got, &plan->insn) == 0;
	}
	return point->plan = plan;
}

void over_look_at(struct space *s, struct swpoint *point)
{
	(void)plan_of(s, point);
}

/* A thread with a shadow stack must make its calls and returns itself. */
static bool shadow_stack(struct proc *p)
{
	if (!p->space->shadow_known) {
		p->space->shadow_known = true;
		p->space->shadow_stack = proc_has_shadow_stack(p->base.pid);
	}
	return p->space->shadow_stack;
}

static bool may_emulate(struct task *task, const struct over_plan *plan)
{
	const struct insn *in = &plan->insn;
	return plan->decoded &&
	       !(dregs_in_use(&task->proc->dregs) && in->is & (INSN_READS | INSN_WRITES)) &&
	       !(in->is & (INSN_CALL | INSN_RET) && shadow_stack(task->proc));
}

/*
 * A thread that is stepped takes a signal that waits for it instead, and stands where it stood. Nothing that could hide that
 * may be done with it: no instruction computed, none of ours executed. Who goes on afterwards takes it soon enough.
 */
static bool signal_comes_first(const struct task *task)
{
	return task->how.action != RESUME_CONT && pt_some_signal_queued(task->tid);
}

static bool emulate(struct task *task, const struct over_plan *plan, struct user_regs_struct *gp)
{
	struct insn_mem mem = { .read = emu_read, .write = emu_write, .ctx = task->proc->space };

	if (!may_emulate(task, plan) || insn_emulate(&plan->insn, gp, &mem) != 1)
		return false;
	task_gp_changed(task);
	task->pass_valid = false;
	return true;
}

/* --- scratch memory --- */

uint64_t over_hole_near(struct proc *p, uint64_t addr)
{
	enum { LOOKS = 64, MARGIN = 0x10000 };
	struct mem_region region;
	uint64_t at = addr;

	for (int i = 0; i < LOOKS; i++) {
		if (live_region_at(&p->base, at, &region) < 0)
			return 0;
		if (!region.mapped && region.end - region.start >= 4 * MARGIN &&
		    region.end > 8 * MARGIN)
			return region.end - 2 * MARGIN;
		if (!region.start || addr - region.start > (UINT64_C(1) << 30))
			return 0;
		at = region.start - 1;
	}
	return 0;
}

static bool reaches(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) < (UINT64_C(3) << 29);
}

static struct scratch *scratch_for(struct task *task, uint64_t addr)
{
	struct proc *p = task->proc;

	for (struct scratch *s = p->space->scratch; s; s = s->next) {
		if (reaches(s->addr, addr) && ~s->used)
			return s;
	}
	uint64_t where = over_hole_near(p, addr);
	struct scratch *s = where ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return NULL;
	if (inject_map_scratch(task, where, SCRATCH_SIZE, &s->addr) < 0 ||
	    !reaches(s->addr, addr)) {
		free(s);
		return NULL;
	}
	s->next = p->space->scratch;
	p->space->scratch = s;
	return s;
}

/* The plan's copy for this mode, made when it is first of use; NULL: it cannot be done. */
static struct insn_copy *copy_of(struct task *task, struct over_plan *plan, uint64_t from,
				 enum insn_copy_mode mode)
{
	struct over_copy *copy = &plan->copies[mode];

	if (copy->tried)
		return copy->scratch ? &copy->insn : NULL;
	if (task->in_kernel) /* it cannot map a page now; another one will */
		return NULL;
	copy->tried = true;
	if (!plan->decoded || (plan->insn.is & (INSN_CALL | INSN_RET) && shadow_stack(task->proc)))
		return NULL;
	struct scratch *s = scratch_for(task, from);
	if (!s) {
		copy->tried = !task->has_pending;
		return NULL;
	}
	unsigned slot = (unsigned)__builtin_ctzll(~s->used);
	uint64_t to = s->addr + slot * SLOT_SIZE;
	if (insn_relocate(&plan->insn, from, to, mode, &copy->insn) < 0 ||
	    space_write_raw(task->proc->space, to, copy->insn.code, copy->insn.size) < 0)
		return NULL;
	s->used |= UINT64_C(1) << slot;
	copy->scratch = s;
	copy->slot = slot;
	return &copy->insn;
}

/* --- starting --- */

static void start_it(struct task *task, enum task_start how)
{
	if (task->dregs_stale)
		task_write_dregs(task);
	task->stepping = how == START_STEP;
	task_start(task, how, 0);
}

/* A copy that runs is left without a stop. */
static bool must_be_stepped(struct task *task, const struct over_plan *plan,
			    const struct user_regs_struct *gp)
{
	/* A step is over when the instruction is done, and a signal that waits is delivered then. */
	if (task->how.action != RESUME_CONT || task->tells_steps || task->deferred)
		return true;
	/* A call in several instructions is begun anew when a trap comes between them, and would trap again. */
	return plan->insn.is & INSN_CALL &&
	       (gp->eflags & TRAP_FLAG || dregs_in_use(&task->proc->dregs));
}

static bool slot_start(struct task *task, struct over_plan *plan, struct user_regs_struct *gp)
{
	struct insn_copy *copy =
		must_be_stepped(task, plan, gp) ? NULL : copy_of(task, plan, gp->rip, COPY_RUN);
	bool runs = copy;

	if (!copy)
		copy = copy_of(task, plan, gp->rip, COPY_STEP);
	if (!copy)
		return false;
	task->over =
		(struct over){ .kind = OVER_SLOT, .from = gp->rip, .plan = plan, .copy = copy };
	plan->refs++;
	insn_enter(copy, gp, &task->over.entered);
	task_gp_changed(task);
	start_it(task, !runs ? START_STEP : task_wants_syscalls(task) ? START_SYSCALL : START_CONT);
	if (runs) /* no stop of its own follows */
		task_interrupt_again(task);
	return true;
}

static bool in_place_start(struct task *task, uint64_t addr)
{
	struct proc *p = task->proc;
	struct live *live = p->live;

	if (live->over_in_place)
		return true; /* one at a time; live_release() comes back to this task */
	live_halt(live, p);
	struct swpoint *point = swpoints_find(&p->space->sw, addr);
	if (task->state != TASK_STOPPED || !point || !point->inserted) {
		live->release_due = true;
		return false;
	}
	task->over = (struct over){ .kind = OVER_IN_PLACE, .from = addr };
	live->over_in_place = task;
	point_take_out(p->space, point);
	start_it(task, START_STEP);
	return true;
}

/* Nobody else runs there who could miss the breakpoint while it is lifted: a page for copies is mapped only where it pays. */
static bool in_place_will_do(const struct proc *p, struct over_plan *plan)
{
	enum { OFTEN = 8 };
	return p->count == 1 && p->space->refs == 1 && plan->passes++ < OFTEN;
}

/* Emulated: is that what was asked for, or does it go on? */
static bool emulated_enough(struct task *task, const struct user_regs_struct *gp)
{
	switch (task->how.action) {
	case RESUME_CONT: return false;
	case RESUME_STEP: return true;
	case RESUME_RANGE: return gp->rip < task->how.start || gp->rip >= task->how.end;
	}
	return false;
}

/* The instruction itself raised it, as far as it came: to do it again would raise it again. */
static bool is_its_fault(struct task *task, int signo)
{
	siginfo_t si;

	if (signo != SIGSEGV && signo != SIGBUS && signo != SIGILL && signo != SIGFPE &&
	    signo != SIGTRAP)
		return false;
	return task->pstop == PSTOP_SIGNAL && pt_get_siginfo(task->tid, &si) == 0 &&
	       si.si_signo == signo && si.si_code > 0;
}

bool over_start(struct task *task, int signo)
{
	struct proc *p = task->proc;
	struct user_regs_struct *gp;
	struct swpoint *point = swpoints_find(&p->space->sw, task->pass_pc);

	if (task_gp(task, &gp) < 0 || gp->rip != task->pass_pc || !point || !point->inserted ||
	    is_its_fault(task, signo)) {
		task->pass_valid = false;
		return false;
	}
	bool signal_first = signal_comes_first(task);
	struct over_plan *plan = plan_of(p->space, point);
	if (plan && !signal_first && emulate(task, plan, gp)) {
		/* What it goes on with is in our tables alone. */
		task->how.signo = signo;
		task->fresh = false;
		task_tell_step(task);
		if (!emulated_enough(task, gp))
			return false;
		if (signo)
			task_defer_signal(task, signo);
		task->how.signo = 0;
		live_event(task, (struct stop){ .kind = STOP_STEP, .signo = SIGTRAP });
		return true;
	}
	/* The instruction first, the signal's handler after it: else the hit would count again when the handler returns. */
	if (signo)
		task_defer_signal(task, signo);
	task->how.signo = 0;
	if (plan && !signal_first && !in_place_will_do(p, plan) && slot_start(task, plan, gp))
		return true;
	if (task->has_pending ||
	    task->state != TASK_STOPPED) /* since a page for the copy was made */
		return true;
	return in_place_start(task, task->pass_pc);
}

bool over_start_unwanted(struct task *task, int signo)
{
	struct proc *p = task->proc;
	struct user_regs_struct *gp;

	if (signo || task->deferred || task->in_kernel || task->tells_steps ||
	    task->how.action != RESUME_STEP || p->live->resumed_count != 1 || p->live->running ||
	    task_gp(task, &gp) < 0)
		return false;
	struct swpoint *point = swpoints_find(&p->space->sw, gp->rip);
	if (!point || !point->inserted || swpoint_needed(point) || signal_comes_first(task))
		return false;
	struct over_plan *plan = plan_of(p->space, point);
	if (plan && emulate(task, plan, gp)) {
		live_event(task, (struct stop){ .kind = STOP_STEP, .signo = SIGTRAP });
		return true;
	}
	/* It would see what other breakpoints cover. */
	bool looks = !plan || (plan->insn.is & INSN_READS && !(plan->insn.is & INSN_STACK));
	return !looks && !in_place_will_do(p, plan) &&
	       (slot_start(task, plan, gp) || task->has_pending || task->state != TASK_STOPPED);
}

/* --- ending --- */

/* The int3 is back; true: others may be waiting for that. */
static bool in_place_end(struct task *task)
{
	struct live *live = task->proc->live;
	bool in_place = live->over_in_place == task;

	task->over = (struct over){ 0 };
	if (!in_place)
		return false;
	live->over_in_place = NULL;
	task->proc->space->sw.changed = true;
	space_sync(task->proc->space);
	live->release_due = true;
	return true;
}

/* insn_fixup(); but one that runs may have left its copy long ago, and then nothing is owed to it. */
static int leave_copy(const struct over *over, struct user_regs_struct *gp,
		      const struct insn_mem *mem)
{
	if (over->copy->mode == COPY_RUN && !insn_copy_holds(over->copy, gp->rip))
		return 1;
	return insn_fixup(over->copy, &over->entered, gp, mem);
}

bool over_leave_copy(struct task *task, struct user_regs_struct *gp)
{
	struct insn_mem mem = { .read = fix_read, .write = fix_write, .ctx = task->proc->space };
	return leave_copy(&task->over, gp, &mem) != 0;
}

/* Moves the task out of the slot; true: the instruction is behind it. */
static bool slot_end(struct task *task)
{
	struct over over = task->over;
	struct user_regs_struct *gp;
	struct insn_mem mem = { .read = fix_read, .write = fix_write, .ctx = task->proc->space };
	int r = -ESRCH;

	if (task_gp(task, &gp) == 0) {
		struct user_regs_struct fixed = *gp;
		r = leave_copy(&over, &fixed, &mem);
		*gp = fixed;
		task_gp_changed(task);
		if (r < 0)
			log_debug(LOG_RUN, "%d: out-of-line step of %#lx cannot be put right: %d",
				  task->tid, (unsigned long)over.from, r);
	}
	task->over = (struct over){ 0 };
	over_plan_unref(over.plan);
	return r != 0;
}

/* A fault in the copy names an address in it. */
static void fix_siginfo(struct task *task, const struct over *over)
{
	siginfo_t si;
	if (pt_get_siginfo(task->tid, &si) < 0 || si.si_code <= 0)
		return;
	if (!insn_copy_holds(over->copy, (uint64_t)si.si_addr))
		return;
	si.si_addr = (void *)over->from;
	(void)pt_set_siginfo(task->tid, &si);
}

static bool slot_news(struct task *task, const struct news *news)
{
	siginfo_t si;

	if (news->kind == NEWS_SIGNAL) {
		task->over.plan->refs++;
		struct over over = task->over;
		bool done = slot_end(task);
		fix_siginfo(task, &over);
		over_plan_unref(over.plan);
		if (done)
			task->pass_valid = false;
		/* One that came from outside and passes waits until the instruction is done. The instruction waits for the others. */
		if (!done && task_passes_signal(task, news->value) &&
		    !task_job_control(task, news->value) && task->resumed &&
		    !task->proc->live->stopping && pt_get_siginfo(task->tid, &si) == 0 &&
		    si.si_code <= 0) {
			task->pstop = PSTOP_SIGNAL;
			struct deferred_signal *ours = task_take_arrival(task);
			if (ours)
				task_put_arrival_back(task, ours);
			else
				task_defer_signal(task, news->value);
			task_restart(task, 0);
			return true;
		}
		return false;
	}
	if (slot_end(task))
		task->pass_valid = false;
	return false;
}

bool over_news(struct task *task, struct news *news)
{
	struct user_regs_struct *gp;

	if (task->over.kind == OVER_SLOT)
		return slot_news(task, news);

	uint64_t from = task->over.from;
	(void)in_place_end(task);
	if (task_gp(task, &gp) < 0 || gp->rip != from)
		task->pass_valid = false;
	return false;
}

void over_finish(struct task *task)
{
	if (task->over.kind == OVER_SLOT) {
		over_plan_unref(task->over.plan);
		task->over = (struct over){ 0 };
		return;
	}
	if (in_place_end(task))
		live_release(task->proc->live, RELEASE_ALL);
}

void over_abort(struct task *task)
{
	if (task->over.kind == OVER_SLOT && task->state == TASK_STOPPED) {
		if (slot_end(task))
			task->pass_valid = false;
	} else if (task->over.kind != OVER_NONE) {
		over_finish(task);
	}
}

/* One that the kernel keeps may be in a copy still: its page stays, and what it goes on with there ends in a jump back. */
void over_unmap_scratch(struct proc *p)
{
	struct space *s = p->space;

	if (s->refs > 1 || p->gone)
		return;
	for (size_t i = 0; i < s->sw.count; i++) {
		over_plan_unref(s->sw.at[i].plan);
		s->sw.at[i].plan = NULL;
	}
	for (struct scratch **at = &s->scratch; *at;) {
		struct scratch *page = *at;
		if (page->used || inject_unmap(p, page->addr, SCRATCH_SIZE) < 0) {
			log_debug(LOG_RUN,
				  "a page for out-of-line steps stays mapped in process %d",
				  p->base.pid);
			at = &page->next;
			continue;
		}
		*at = page->next;
		free(page);
	}
}

uint64_t over_origin(struct task *task, uint64_t addr)
{
	struct user_regs_struct *gp;
	bool in_copy = over_scratch_holds(task->proc->space, addr) && task_gp(task, &gp) == 0;
	return in_copy ? gp->rip : addr;
}

bool over_scratch_holds(const struct space *s, uint64_t addr)
{
	for (const struct scratch *at = s->scratch; at; at = at->next) {
		if (addr - at->addr < SCRATCH_SIZE)
			return true;
	}
	return false;
}

/* The first byte of an instruction that has more, and not a prefix that may be jumped over. */
static bool is_long(const struct over_plan *plan)
{
	static const uint8_t prefixes[] = { 0xf0, 0xf2, 0xf3, 0x66, 0x67, 0x26,
					    0x2e, 0x36, 0x3e, 0x64, 0x65 };

	/* Programs do jump behind these: libc over its `lock` while it has one thread, others over the `rep` of a ret. */
	return plan && plan->decoded && plan->insn.length > 1 &&
	       !memchr(prefixes, plan->insn.bytes[0], sizeof(prefixes));
}

bool over_behind_int3(const struct space *s, uint64_t pc)
{
	const struct swpoint *point = swpoints_find(&s->sw, pc - 1);

	if (point && point->inserted && !point->jump_len)
		return is_long(point->plan);
	return patch_behind_trap(s, pc) != NULL;
}

const char *over_way(const struct swpoint *point)
{
	const struct over_plan *plan = point->plan;

	if (!plan)
		return "";
	if (plan->decoded && plan->insn.op)
		return "emulated";
	return plan->copies[0].scratch || plan->copies[1].scratch ? "by a copy elsewhere"
								  : "in place";
}
