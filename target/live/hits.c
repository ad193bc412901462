/*
 * hits.c - a breakpoint or watchpoint was hit: is that anybody's business? Conditions and commands run here, in the one thread that hit.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "target/ax.h"
#include "target/live/patch.h"
#include "target/live/task.h"
#include "target/x86/regs.h"

static int read_reg(void *ctx, unsigned reg, uint64_t *ret)
{
	struct task *task = ctx;
	struct user_regs_struct *gp;
	uint8_t value[X86_REG_SIZE_MAX] = { 0 };

	int r = task_gp(task, &gp);
	if (r < 0)
		return r;
	if (x86_reg_is_gp(reg)) {
		r = x86_reg_get(reg, gp, NULL, value);
	} else {
		static struct xstate xs;
		r = pt_get_xstate(task->tid, &xs);
		if (r == 0)
			r = x86_reg_get(reg, gp, &xs, value);
	}
	if (r < 0)
		return r;
	memcpy(ret, value, sizeof(*ret));
	return 0;
}

/* Any condition true, none at all, or one that cannot be evaluated: the hit counts. The last one is the client's to judge. */
bool task_hit_counts(struct task *task, struct ax *const *conditions, size_t count)
{
	struct mem mem = target_mem(&task->proc->base);
	struct ax_env env = { .reg = read_reg,
			      .ctx = task,
			      .mem = &mem,
			      .trace = task->proc->live->base.trace };

	if (!count)
		return true;
	for (size_t i = 0; i < count; i++) {
		struct err err = { 0 };
		uint64_t value;
		int r = ax_eval(conditions[i], &env, &value, &err);
		if (r < 0)
			log_debug(LOG_POINTS,
				  "condition cannot be evaluated in %d: %s; the hit is reported",
				  task->tid, err_text(&err, r));
		if (r < 0 || value)
			return true;
	}
	return false;
}

static void run_commands(struct task *task, struct ax *const *commands, size_t count)
{
	struct tracer *tr = &task->proc->live->base;
	struct mem mem = target_mem(&task->proc->base);
	_cleanup_buf_ struct buf out;
	buf_init(&out, AX_PRINT_MAX);
	struct ax_env env = {
		.reg = read_reg, .ctx = task, .mem = &mem, .out = &out, .trace = tr->trace
	};

	for (size_t i = 0; i < count; i++) {
		struct err err = { 0 };
		uint64_t value;
		int r = ax_eval(commands[i], &env, &value, &err);
		if (r < 0)
			log_debug(LOG_POINTS, "command of a breakpoint failed in %d: %s", task->tid,
				  err_text(&err, r));
	}
	if (out.len && tr->console)
		tr->console(tr->console_ctx, (const char *)out.data, out.len);
}

enum hit_answer task_hit_told(struct task *task, enum point_kind kind, uint64_t addr,
			      unsigned number, bool done)
{
	struct tracer *tr = &task->proc->live->base;
	struct point_hit hit = { &task->proc->base, task->tid, kind, addr, number, done };
	enum hit_answer answer = tr->hit ? tr->hit(tr->hit_ctx, &hit) : HIT_STOP;

	return done ? HIT_PASS : answer;
}

/* Judges a hit once: false, it is nobody's business any more. Commands have then been run. */
static bool hit_reported(struct task *task, enum point_kind kind, struct swpoint *point)
{
	bool done = point->command_count;
	uint64_t addr = point->addr;

	if (!task_hit_counts(task, point->conditions, point->condition_count)) {
		point->passed++;
		return false;
	}
	run_commands(task, point->commands, point->command_count);
	return task_hit_told(task, kind, addr, 0, done) == HIT_STOP;
}

/* The first of the numbered points here that wants the hit told; 0: none does. One may want to be attended to. Any: conditions true. */
static unsigned numbered_hit(struct task *task, uint64_t at, bool *ret_attend, bool *ret_any)
{
	const struct swpoint *point = swpoints_find(&task->proc->space->sw, at);
	unsigned numbers[SWNUMBERS_MAX], told = 0;
	size_t n = 0;

	for (size_t i = 0; point && i < point->number_count; i++) {
		const struct swnumber *one = &point->numbers[i];
		if (task_hit_counts(task, one->conditions, one->condition_count))
			numbers[n++] = one->number;
	}
	*ret_any = n;
	for (size_t i = 0; i < n; i++) {
		enum hit_answer answer = task_hit_told(task, POINT_SW, at, numbers[i], false);
		*ret_attend |= answer == HIT_ATTEND;
		if (answer == HIT_STOP && !told)
			told = numbers[i];
	}
	return told;
}

void task_int3_hit(struct task *task)
{
	struct proc *p = task->proc;
	struct user_regs_struct *gp;

	if (task_gp(task, &gp) < 0)
		return; /* killed meanwhile: its exit is on the way */

	uint64_t at = gp->rip - 1;
	struct swpoint *point = swpoints_find(&p->space->sw, at);
	if (!point || !point->inserted) {
		uint8_t byte = INT3;
		size_t got;
		if (space_read_raw(p->space, at, &byte, 1, &got) == 0 && byte != INT3) {
			/* It was ours when the task ran into it and has been taken out since. */
			gp->rip = at;
			task_gp_changed(task);
			task_go(task);
			return;
		}
		live_event(task,
			   (struct stop){ .kind = STOP_SWBREAK, .own = true, .signo = SIGTRAP });
		return;
	}

	gp->rip = at;
	task_gp_changed(task);
	point_seen(p, point);
	bool internal =
		point->internal && !p->hidden &&
		task_hit_counts(task, point->internal_conditions, point->internal_condition_count);
	bool trap = point->orig == INT3;
	uint64_t passed = point->passed;
	bool asked = point->wanted && !p->hidden && hit_reported(task, POINT_SW, point);
	bool attend = false, any = false;
	unsigned number =
		point->number_count && !p->hidden ? numbered_hit(task, at, &attend, &any) : 0;
	/* Whoever was told may have taken it out. */
	point = swpoints_find(&p->space->sw, at);
	if (point && !any && !p->hidden && (!point->wanted || point->passed != passed) &&
	    patch_decided_by_conditions(point)) {
		point->passed += !point->wanted;
		patch_note_false(task, point);
	}
	if (!internal && !asked && !number && !attend) {
		/* Below it is a trap of the program's own: it was taken with ours. */
		if (trap) {
			gp->rip = at + 1;
			task_gp_changed(task);
		} else {
			task_pass_point(task, at);
		}
		task_go(task);
		return;
	}
	live_event(task, (struct stop){ .kind = STOP_SWBREAK,
					.internal = internal,
					.unasked = !asked,
					.number = number,
					.attend = attend,
					.signo = SIGTRAP });
}

void task_judge_quietly(struct task *task, uint64_t addr)
{
	struct swpoint *point = swpoints_find(&task->proc->space->sw, addr);

	if (!point || !point->wanted || point->internal || point->number_count ||
	    task->proc->hidden || task_hit_counts(task, point->conditions, point->condition_count))
		return;
	point->passed++;
	task_pass_point(task, addr);
}

void task_debug_reg_hit(struct task *task, bool stepped)
{
	struct stop stop;

	if (task_debug_hit(task, &stop)) {
		struct swpoint *point = stop.kind == STOP_HWBREAK
						? swpoints_find(&task->proc->hw, stop.addr)
						: NULL;
		struct user_regs_struct *gp;
		if (!point || hit_reported(task, POINT_HW, point) || task_gp(task, &gp) < 0) {
			if (stepped)
				task_tell_step(task);
			live_event(task, stop);
			return;
		}
		gp->eflags |= 0x10000; /* RF: the instruction runs once without its breakpoint */
		task_gp_changed(task);
	}
	if (stepped)
		task_stepped(task);
	else
		task_go(task); /* of a point that was taken out meanwhile */
}

/* The instruction that was stepped, prefixes left out. False: it cannot be read. */
static bool stepped_insn(struct task *task, size_t *ret_prefixes, uint8_t *ret_opcode)
{
	uint8_t insn[4];
	size_t got = 0, at = 0;

	if (space_read_raw(task->proc->space, task->step_rip, insn, sizeof(insn), &got) < 0)
		return false;
	while (at < got && (insn[at] == 0x66 || insn[at] == 0xf3 || insn[at] == 0xf2 ||
			    (insn[at] & 0xf0) == 0x40))
		at++;
	if (at == got)
		return false;
	*ret_prefixes = at;
	*ret_opcode = insn[at];
	return true;
}

/* popf, iret and the system call that returns from a signal handler set flags as the program wants them. */
static bool may_set_trap_flag(uint8_t opcode)
{
	return opcode == 0x9d || opcode == 0xcf || opcode == 0x0f;
}

/* pushf has pushed the flag that stepped it. */
static void clean_pushed(struct task *task, uint64_t sp)
{
	struct space *space = task->proc->space;
	uint16_t flags;
	size_t got = 0;

	if (space_read_raw(space, sp, &flags, sizeof(flags), &got) < 0 || got < sizeof(flags) ||
	    !(flags & TRAP_FLAG))
		return;
	flags &= (uint16_t)~TRAP_FLAG;
	int r = space_write_raw(space, sp, &flags, sizeof(flags));
	if (r < 0)
		log_debug(LOG_POINTS, "the trap flag stays on the stack of %d: %s", task->tid,
			  strerror(-r));
}

/*
 * Linux hides the flag it steps with, but not from pushf; and in steps behind one of popf it takes it for the program's own
 * (arch/x86/kernel/step.c: TIF_SINGLESTEP is still set, TIF_FORCED_TF is not), which would trap when it runs on.
 */
void task_hide_trap_flag(struct task *task)
{
	struct user_regs_struct *gp;
	size_t prefixes;
	uint8_t opcode;

	if (!task->step_rip || task_gp(task, &gp) < 0)
		return;
	uint64_t pushed = task->step_rsp - gp->rsp, len = gp->rip - task->step_rip;
	bool may_be_pushf = (pushed == 8 || pushed == 2) && len >= 1 && len <= 4;
	bool shows = gp->eflags & TRAP_FLAG;

	if ((!may_be_pushf && !shows) || !stepped_insn(task, &prefixes, &opcode))
		return;
	if (may_be_pushf && opcode == 0x9c && len == prefixes + 1)
		clean_pushed(task, gp->rsp);
	if (shows && !may_set_trap_flag(opcode)) {
		gp->eflags &= ~(uint64_t)TRAP_FLAG;
		task_gp_changed(task);
	}
}
