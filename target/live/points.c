/*
 * points.c - breakpoints into memory and debug registers, and out again.
 *
 * int3s: a remove only says that nobody wants the point any more; the byte goes back when somebody is about to run (space_sync),
 * at detach and when the client is gone. Reads never show one. Debug registers are the same in every thread of a process and are
 * written when the thread next starts.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "target/ax.h"
#include "target/live/patch.h"
#include "target/live/task.h"

void point_take_out(struct space *s, struct swpoint *p)
{
	uint8_t byte = 0;
	size_t got;

	if (p->jump_len) {
		patch_take_out(s, p);
		return;
	}
	if (space_read_raw(s, p->addr, &byte, 1, &got) == 0 && byte == INT3)
		(void)space_write_raw(s, p->addr, &p->orig, 1);
	p->inserted = false;
	log_debug(LOG_POINTS, "int3 out at %#" PRIx64, p->addr);
}

static int put_in(struct space *s, struct swpoint *p)
{
	static const uint8_t int3 = INT3;
	size_t got;

	if (space_read_raw(s, p->addr, &p->orig, 1, &got) < 0)
		return -EFAULT;
	p->inserted = s->patched = true; /* first, so that it is taken out should we end here */
	if (space_write_raw(s, p->addr, &int3, 1) < 0) {
		p->inserted = false;
		return -EFAULT;
	}
	p->seen_at = UINT64_MAX;
	over_look_at(s, p);
	log_debug(LOG_POINTS, "int3 in at %#" PRIx64, p->addr);
	return 0;
}

void point_seen(struct proc *p, struct swpoint *point)
{
	point->seen_at = p->live->running ? UINT64_MAX : p->space->starts;
}

/*
 * The page may be another since: gdb takes no breakpoint out of a library that was closed, and puts one into the next that is
 * opened at the same address. -EFAULT: there is none.
 */
static int check_still_in(struct proc *p, struct swpoint *point)
{
	uint8_t byte = 0;
	size_t got;

	if (point->inserted && point->seen_at == p->space->starts && !p->live->running)
		return 0;
	int r = space_read_raw(p->space, point->addr, &byte, 1, &got);
	if (!point->inserted)
		return r;
	if (r == 0 && byte == (point->jump_len ? point->jump[0] : INT3)) {
		point_seen(p, point);
		return 0;
	}
	point->inserted = false;
	point->jump_len = 0;
	over_plan_unref(point->plan);
	point->plan = NULL;
	return r;
}

void space_sync(struct space *s)
{
	if (!s->sw.changed)
		return;
	s->sw.changed = false;
	for (size_t i = 0; i < s->sw.count;) {
		struct swpoint *p = &s->sw.at[i];
		bool want = swpoint_needed(p) && !s->lifted;
		if (want && !p->inserted)
			(void)put_in(s, p);
		else if (!want && p->inserted)
			point_take_out(s, p);
		if (want && p->patch)
			patch_put_in(s, p);
		if (!swpoint_needed(p)) {
			patch_keep(s, p);
			swpoints_drop(&s->sw, p);
		} else {
			i++;
		}
	}
}

void space_lift(struct space *s)
{
	for (size_t i = 0; i < s->sw.count; i++) {
		if (s->sw.at[i].inserted)
			point_take_out(s, &s->sw.at[i]);
	}
	s->sw.changed = true;
}

static void free_expressions(struct point *p)
{
	for (size_t i = 0; i < p->condition_count; i++)
		ax_free(p->conditions[i]);
	for (size_t i = 0; i < p->command_count; i++)
		ax_free(p->commands[i]);
	free(p->conditions);
	free(p->commands);
	p->conditions = p->commands = NULL;
	p->condition_count = p->command_count = 0;
}

static bool same_conditions(const struct swpoint *p, const struct point *want)
{
	if (p->condition_count != want->condition_count)
		return false;
	for (size_t i = 0; i < want->condition_count; i++) {
		if (!ax_equal(p->conditions[i], want->conditions[i]))
			return false;
	}
	return true;
}

static void think_anew(struct swpoint *p)
{
	p->falses = p->tries = 0;
	p->why = NULL;
	p->why_holds = false;
}

/* False: no memory; they are freed. */
static bool take_expressions(struct swpoint *p, struct point *want)
{
	if (want->number) {
		if (swpoint_add_number(p, want->number, want->conditions, want->condition_count)) {
			think_anew(p);
			return true;
		}
		free_expressions(want);
		return false;
	}
	if (want->internal) {
		swpoint_forget_internal(p);
		p->internal = true;
		p->internal_conditions = want->conditions;
		p->internal_condition_count = want->condition_count;
		return true;
	}
	if (!same_conditions(p, want)) {
		p->passed = 0;
		think_anew(p);
	}
	swpoint_forget(p);
	p->wanted = true;
	p->persist = want->persist;
	p->conditions = want->conditions;
	p->condition_count = want->condition_count;
	p->commands = want->commands;
	p->command_count = want->command_count;
	return true;
}

static int insert_sw(struct proc *proc, struct point *want, struct err *err)
{
	struct space *s = proc->space;
	struct swpoint *p = swpoints_add(&s->sw, want->addr);
	if (!p) {
		free_expressions(want);
		return err_set(err, s->sw.count == SWPOINTS_MAX ? -ENOSPC : -ENOMEM,
			       "no room for another breakpoint at %#" PRIx64, want->addr);
	}
	if (p->inserted)
		(void)check_still_in(proc, p);
	patch_disturbed(s, p->addr, 1, p, "another breakpoint is in the way of the jump", false);
	if (want->internal)
		patch_demote(s, p);
	if (!p->inserted && s->lifted) {
		s->sw.changed = true;
	} else if (!p->inserted && put_in(s, p) < 0) {
		if (!swpoint_needed(p))
			swpoints_drop(&s->sw, p);
		free_expressions(want);
		return err_set(err, -EFAULT,
			       "cannot write a breakpoint at %#" PRIx64 ": nothing is mapped there",
			       want->addr);
	}
	/* What was counted was counted for other conditions. */
	if (p->patch && !want->number && !want->internal && !same_conditions(p, want)) {
		patch_demote(s, p);
		patch_keep(s, p);
	}
	if (!take_expressions(p, want)) {
		s->sw.changed = true;
		return err_set(err, -ENOSPC, "no room for another breakpoint at %#" PRIx64,
			       want->addr);
	}
	if (!want->internal)
		patch_find_kept(s, p);
	return 0;
}

static void dregs_changed(struct proc *p)
{
	for (size_t i = 0; i < p->count; i++)
		p->tasks[i]->dregs_stale = true;
}

/* The same while threads run: they are held for a moment, as a thread's registers are written when it starts. */
static void dregs_changed_now(struct proc *p)
{
	struct live *live = p->live;
	bool running = false;

	for (size_t i = 0; i < p->count && !running; i++)
		running = p->tasks[i]->state == TASK_RUNNING;
	if (running)
		live_halt(live, p);
	dregs_changed(p);
	if (running)
		live_release(live, RELEASE_ALL);
}

static bool dregs_has(const struct dregs *d, enum point_kind kind, uint64_t addr, uint64_t len)
{
	for (size_t i = 0; i < DREGS_POINTS_MAX; i++) {
		const struct dregs_point *point = &d->points[i];
		if (point->refs && point->kind == kind && point->addr == addr && point->len == len)
			return true;
	}
	return false;
}

bool dregs_covers(const struct dregs *d, bool exec, uint64_t addr)
{
	for (size_t i = 0; i < DREGS_POINTS_MAX; i++) {
		const struct dregs_point *point = &d->points[i];
		if (point->refs && (point->kind == POINT_HW) == exec &&
		    addr - point->addr < point->len)
			return true;
	}
	return false;
}

bool dregs_in_use(const struct dregs *d)
{
	return dregs_control(d) != 0;
}

static int keep_expressions(struct proc *p, struct point *want, struct err *err)
{
	struct swpoint *point = swpoints_add(&p->hw, want->addr);
	if (!point) {
		free_expressions(want);
		return err_set(err, -ENOMEM, "no memory for the conditions at %#" PRIx64,
			       want->addr);
	}
	(void)take_expressions(point, want);
	return 0;
}

/* Who stands there already has arrived before it was set. */
static void pass_who_stands(struct proc *p, uint64_t addr)
{
	struct user_regs_struct *gp;

	for (size_t i = 0; i < p->count; i++) {
		struct task *task = p->tasks[i];
		if (task->state == TASK_STOPPED && !task->resumed && !task->has_pending &&
		    task_gp(task, &gp) == 0 && gp->rip == addr)
			task_pass_point(task, addr);
	}
}

static int insert(struct target *t, struct point *want, struct err *err)
{
	struct proc *p = proc_of(t);

	if (p->gone) {
		free_expressions(want);
		return err_set(err, -ESRCH, "process %d is gone", t->pid);
	}
	bool held = patch_quieten(p);
	int r = want->kind == POINT_SW ? insert_sw(p, want, err) : 0;
	if (want->kind != POINT_SW)
		patch_demote_all(p->space); /* a stub's own accesses are not to hit */
	if (held)
		live_release(p->live, RELEASE_ALL);
	if (r == 0 && want->number)
		pass_who_stands(p, want->addr);
	if (want->kind == POINT_SW)
		return r;

	uint64_t len = want->kind == POINT_HW ? 1 : want->len;
	bool have = want->kind == POINT_HW ? dregs_has(&p->dregs, want->kind, want->addr, len)
					   : watch_find(p, want) != NULL;
	if (!have)
		r = dregs_insert(&p->dregs, want->kind, want->addr, len);
	if (r < 0)
		free_expressions(want);
	if (r == -ENOSPC)
		return err_set(err, r,
			       "no debug register is free for %#" PRIx64 ": a processor has four",
			       want->addr);
	if (r < 0)
		return err_set(err, r, "cannot watch %" PRIu64 " bytes at %#" PRIx64, want->len,
			       want->addr);
	dregs_changed_now(p);
	if (want->kind == POINT_HW)
		return keep_expressions(p, want, err);
	r = watch_add(p, want);
	free_expressions(want); /* the protocol has no commands of watchpoints */
	if (r < 0) {
		(void)dregs_remove(&p->dregs, want->kind, want->addr, len);
		return err_set(err, r, "no room for another watchpoint");
	}
	return 0;
}

static int remove_point(struct target *t, const struct point *gone)
{
	struct proc *p = proc_of(t);

	if (gone->kind != POINT_SW) {
		struct watch *w = gone->kind == POINT_HW ? NULL : watch_find(p, gone);
		if (gone->kind != POINT_HW && !w)
			return -ENOENT;
		int r = dregs_remove(&p->dregs, gone->kind, gone->addr,
				     gone->kind == POINT_HW ? 1 : gone->len);
		struct swpoint *hw =
			gone->kind == POINT_HW ? swpoints_find(&p->hw, gone->addr) : NULL;
		if (hw)
			swpoints_drop(&p->hw, hw);
		if (w)
			watch_drop(p, w);
		if (r == 0)
			dregs_changed_now(p);
		return r;
	}
	struct swpoint *point = swpoints_find(&p->space->sw, gone->addr);
	bool held = point && point->jump_len && patch_quieten(p);
	if (held) /* there may be another program in another memory since */
		point = swpoints_find(&p->space->sw, gone->addr);
	struct swnumber *numbered = point ? swpoint_number(point, gone->number) : NULL;
	if (!point || (gone->number     ? !numbered
		       : gone->internal ? !point->internal
					: !point->wanted)) {
		if (held)
			live_release(p->live, RELEASE_ALL);
		return -ENOENT;
	}
	int r = check_still_in(p, point);
	/* What a client's point is asked is kept as long as it is in memory: it may be put in again. */
	if (gone->number)
		swpoint_drop_number(point, numbered);
	else if (gone->internal)
		swpoint_forget_internal(point);
	else
		point->wanted = false;
	if (swpoint_needed(point)) {
		think_anew(point);
		patch_find_kept(p->space, point);
	}
	p->space->sw.changed = true;
	if (held) {
		space_sync(p->space);
		live_release(p->live, RELEASE_ALL);
	}
	/* While somebody runs in this memory the byte must go now. */
	for (size_t i = 0; p->live->running && i < p->count; i++) {
		if (p->tasks[i]->state == TASK_RUNNING) {
			space_sync(p->space);
			break;
		}
	}
	return r;
}

static void remove_all(struct target *t)
{
	struct proc *p = proc_of(t);

	if (p->gone)
		return;
	bool held = patch_quieten(p);
	for (size_t i = 0; i < p->space->sw.count; i++) {
		struct swpoint *point = &p->space->sw.at[i];
		swpoint_forget_internal(point);
		swpoint_drop_numbers(point);
		if (point->persist && point->command_count)
			continue;
		point->wanted = false;
		swpoint_forget(point);
	}
	p->space->sw.changed = true;
	space_sync(p->space);
	dregs_clear(&p->dregs);
	watches_forget(p);
	swpoints_fini(&p->hw);
	dregs_changed(p);
	for (size_t i = 0; i < p->count; i++) {
		struct task *task = p->tasks[i];
		if (task->state == TASK_STOPPED && task->dregs_used)
			task_clear_dregs(task);
	}
	if (held)
		live_release(p->live, RELEASE_ALL);
}

static int way(struct target *t, uint64_t addr, struct point_way *ret)
{
	struct proc *p = proc_of(t);
	struct swpoint *point = p->gone ? NULL : swpoints_find(&p->space->sw, addr);

	/* gdb takes its breakpoints out at each stop: they are there until something runs. */
	bool was = point && point->inserted && point->condition_count;
	if (!was && (!point || !swpoint_needed(point)))
		return -ENOENT;
	bool compiled = patch_is_in(p, point);
	*ret = (struct point_way){ .how = compiled ? "compiled into the program" : "traps",
				   .why = compiled || !point->why ? "" : point->why,
				   .past = over_way(point),
				   .passed = patch_passed(p->space, point) };
	if (!compiled && point->condition_count && !p->live->fast)
		ret->why = "fast-conditions is off";
	return 0;
}

const struct target_point_ops live_point_ops = {
	.insert = insert,
	.remove = remove_point,
	.remove_all = remove_all,
	.way = way,
};

/* --- debug registers of one task --- */

void task_write_dregs(struct task *task)
{
	const struct dregs *d = &task->proc->dregs;

	task->dregs_stale = false;
	if (!dregs_in_use(d) && !task->dregs_used)
		return;
	task->dregs_used = true;
	/* DR7 first to zero: the kernel checks an enabled slot's address and length together. */
	int r = pt_set_dreg(task->tid, 7, 0);
	for (int i = 0; i < DREGS_COUNT && r == 0 && dregs_in_use(d); i++)
		r = pt_set_dreg(task->tid, i, dregs_addr(d, (unsigned)i));
	if (r == 0 && dregs_in_use(d))
		r = pt_set_dreg(task->tid, 7, dregs_control(d));
	if (r < 0 && r != -ESRCH)
		log_debug(LOG_POINTS, "%d: debug registers cannot be written: %d", task->tid, r);
	task->dregs_used = dregs_in_use(d);
}

/* The processor's next debug exception overwrites it, but a step out of a system call is none. */
void task_forget_hit(struct task *task)
{
	if (task->dr6_old)
		(void)pt_set_dreg(task->tid, 6, 0);
	task->dr6_old = false;
}

void task_clear_dregs(struct task *task)
{
	task_forget_hit(task);
	for (int i = 7; i >= 0; i = i == 7 ? DREGS_COUNT - 1 : i - 1)
		(void)pt_set_dreg(task->tid, i, 0);
	task->dregs_used = false;
	task->dregs_stale = false;
}

bool task_debug_hit(struct task *task, struct stop *ret)
{
	struct dregs_hit hits[DREGS_POINTS_MAX];
	uint64_t dr6, addrs[DREGS_COUNT];

	if (!task->dregs_used || pt_get_dreg(task->tid, 6, &dr6) < 0 || !(dr6 & 15))
		return false;
	task->dr6_old = true;
	for (int i = 0; i < DREGS_COUNT; i++) {
		/* What the client has asked for since has not reached this task. */
		if (!task->dregs_stale)
			addrs[i] = dregs_addr(&task->proc->dregs, (unsigned)i);
		else if (pt_get_dreg(task->tid, i, &addrs[i]) < 0)
			return false;
	}
	size_t n = dregs_hits(&task->proc->dregs, dr6, addrs, hits);
	bool any = false;
	/* Each is looked at: what is there now is what the next hit is compared with. The client's is what is told. */
	for (size_t i = 0; i < n; i++) {
		struct stop stop = { .kind = STOP_HWBREAK, .signo = SIGTRAP, .addr = hits[i].addr };
		bool tells = hits[i].kind == POINT_HW || watch_tells(task, &hits[i], &stop);
		if (tells && (!any || (ret->unasked && !stop.unasked)))
			*ret = stop;
		any |= tells;
	}
	return any;
}
