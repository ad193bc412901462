/*
 * over.c - past a breakpoint of ours, cheapest way first: the displaced instruction is emulated (no stop at all); or its relocated
 * copy is stepped in a scratch slot; or, when neither can be done, everybody else in this memory is halted, the int3 lifted, the
 * instruction stepped where it is, and the int3 put back.
 */
#include <errno.h>

#include "base/log.h"
#include "target/live/task.h"

static bool in_place_start(struct task *task, struct swpoint *point)
{
	struct proc *p = task->proc;
	struct live *live = p->live;
	uint64_t addr = point->addr;

	if (live->over_in_place)
		return true; /* one at a time; live_release() comes back to this task */
	live_halt(live, p);
	point = swpoints_find(&p->space->sw,
			      addr); /* news heard meanwhile may have moved the store */
	if (task->state != TASK_STOPPED || !point || !point->inserted)
		return false;

	task->over = (struct over){ .kind = OVER_IN_PLACE, .from = addr };
	live->over_in_place = task;
	if (space_write_raw(p->space, addr, &point->orig, 1) == 0)
		point->inserted = false;
	(void)task_flush(task);
	if (task->dregs_stale)
		task_write_dregs(task);
	int r = pt_step(task->tid, 0);
	if (r < 0 && r != -ESRCH)
		log_debug(LOG_RUN, "%d cannot be stepped over %#lx", task->tid,
			  (unsigned long)addr);
	task->stepping = true;
	task->state = TASK_RUNNING;
	task->gp_valid = false;
	return true;
}

bool over_start(struct task *task, int signo)
{
	struct user_regs_struct *gp;
	struct swpoint *point = swpoints_find(&task->proc->space->sw, task->pass_pc);

	if (task_gp(task, &gp) < 0 || gp->rip != task->pass_pc || !point || !point->inserted) {
		task->pass_valid = false;
		return false;
	}
	/* The instruction first, the signal's handler after it: else the hit would count again when the handler returns. */
	if (signo)
		task_defer_signal(task, signo);
	task->how.signo = 0;
	return in_place_start(task, point);
}

/* The int3 is back; true: others may be waiting for that. */
static bool over_end(struct task *task)
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

bool over_news(struct task *task, struct news *news)
{
	struct user_regs_struct *gp;
	uint64_t from = task->over.from;

	(void)news;
	over_end(task);
	if (task_gp(task, &gp) < 0 || gp->rip != from)
		task->pass_valid = false;
	return false;
}

void over_finish(struct task *task)
{
	if (over_end(task))
		live_release(task->proc->live, false);
}

void over_abort(struct task *task)
{
	if (task->over.kind != OVER_NONE)
		over_finish(task);
}
