/*
 * run.c - from what is asked of threads to what they do.
 *
 * resume() notes it, commit() makes it so. task_go() is the one place where a stopped task that is meant to run is started or,
 * when it holds an untold event that is still true, queued instead.
 */
#include <errno.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "target/live/task.h"

void task_set_resumed(struct task *task, bool resumed)
{
	struct live *live = task->proc->live;
	if (task->resumed == resumed)
		return;
	task->resumed = resumed;
	live->resumed_count += resumed ? 1 : -1;
}

/*
 * Somebody stands still and could be resumed. A dead leader cannot: its process is about to end. Nor can one that stood until
 * another thread ended the process: the kernel has woken it to die, though its status is still to come.
 */
static bool anybody_stands(const struct proc *p)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct task *task = p->tasks[i];
		if (task->state == TASK_STOPPED && proc_state(p->base.pid, task->tid) == 't')
			return true;
	}
	return false;
}

/* Those that are alone are nobody's. */
static bool nobody_resumed(const struct live *live)
{
	size_t alone = 0;

	for (const struct proc *p = live->procs; p && live->resumed_count; p = p->next)
		for (size_t i = 0; proc_is_alone(p) && i < p->count; i++)
			alone += p->tasks[i]->resumed;
	return live->resumed_count == alone;
}

void live_check_no_resumed(struct live *live, struct proc *p, bool was_resumed)
{
	/* Only the leader is left, which exited long ago: the end of the process is about to be heard of. */
	if (p->count == 1 && p->tasks[0]->state == TASK_ZOMBIE)
		return;
	if (was_resumed && live->events.no_resumed && !p->base.alone && nobody_resumed(live) &&
	    !live->stopping && anybody_stands(p))
		live_tell(live, p, p->base.pid, (struct stop){ .kind = STOP_NO_RESUMED });
}

void task_pass_point(struct task *task, uint64_t pc)
{
	task->pass_valid = true;
	task->pass_pc = pc;
}

/* The breakpoints that asked for the event that is pending may have been removed since: what is told is what those that stay ask. */
static bool nobody_asks(struct task *task)
{
	struct stop *stop = &task->pending;
	const struct swpoint *point = swpoints_find(&task->proc->space->sw, task->pending_pc);

	stop->internal = stop->internal && point && point->internal;
	stop->unasked = stop->unasked || !point || !point->wanted;
	if (!point || !swpoint_number(point, stop->number))
		stop->number = 0;
	return !stop->internal && stop->unasked && !stop->number && !stop->attend;
}

/* The same of watchpoints. */
static bool watch_is_asked_for(struct task *task)
{
	struct stop *stop = &task->pending;

	if (!dregs_covers(&task->proc->dregs, false, stop->addr))
		return false;
	if (stop->number && !watch_numbered(task->proc, stop->number))
		stop->number = 0;
	return stop->number || !stop->unasked;
}

bool task_pending_stale(struct task *task)
{
	struct user_regs_struct *gp;

	switch (task->pending.kind) {
	case STOP_SIGNAL:
		if (!task_passes_signal(task, task->pending.signo))
			return false;
		if (task_hold_signal(task, task->pending.signo))
			break;
		if (task->how.signo) /* the client's own, beside it */
			task_defer_signal(task, task->how.signo);
		task->how.signo = task->pending.signo; /* delivered instead of told */
		break;
	case STOP_SWBREAK:
		if (task->pending.own)
			return false;
		if (!nobody_asks(task) && task_gp(task, &gp) == 0 && gp->rip == task->pending_pc)
			return false;
		break;
	case STOP_HWBREAK:
		if (task_gp(task, &gp) == 0 && gp->rip == task->pending_pc &&
		    dregs_covers(&task->proc->dregs, true, task->pending_pc))
			return false;
		break;
	case STOP_WATCH:
		if (watch_is_asked_for(task))
			return false;
		break;
	case STOP_STEP:
		if (task->how.action != RESUME_CONT)
			return false;
		break;
	default: return false;
	}
	task->has_pending = false;
	return true;
}

bool task_wants_syscalls(const struct task *task)
{
	return task->proc->catch_count != 0;
}

/* False: it has to be started now. */
static bool put_off(struct task *task)
{
	struct live *live = task->proc->live;

	if (!live->collecting || !task->resumed)
		return false;
	if (task->put_off)
		return true;
	if (live->put_off_len == live->put_off_cap) {
		size_t cap = live->put_off_cap ? live->put_off_cap * 2 : 64;
		struct task **tasks = realloc(live->put_off, cap * sizeof(struct task *));
		if (!tasks)
			return false;
		live->put_off = tasks;
		live->put_off_cap = cap;
	}
	live->put_off[live->put_off_len++] = task;
	task->put_off = true;
	return true;
}

/* Any of them first: who steps in place has the others wait, and always the same would. */
void live_start_put_off(struct live *live)
{
	while (live->put_off_len) {
		size_t at = (size_t)rand_r(&live->seed) % live->put_off_len;
		struct task *task = live->put_off[at];
		live->put_off[at] = live->put_off[--live->put_off_len];
		task->put_off = false;
		task_go(task);
	}
}

static int start(pid_t tid, enum task_start how, int signo)
{
	switch (how) {
	case START_CONT: return pt_cont(tid, signo);
	case START_STEP: return pt_step(tid, signo);
	case START_SYSCALL: return pt_syscall(tid, signo);
	case START_LISTEN: return pt_listen(tid);
	}
	return -EINVAL;
}

void task_interrupt_again(struct task *task)
{
	task->interrupt_sent = task->interrupt_wanted;
	if (task->interrupt_wanted)
		(void)pt_interrupt(task->tid);
}

static void note_step(struct task *task)
{
	struct user_regs_struct *gp;
	bool known = task_gp(task, &gp) == 0 && !(gp->eflags & TRAP_FLAG);

	task->step_rip = known ? gp->rip : 0;
	task->step_rsp = known ? gp->rsp : 0;
}

void task_start(struct task *task, enum task_start how, int signo)
{
	struct live *live = task->proc->live;

	if (!live->attending && !live->stopping)
		live_listen(live);
	(void)task_flush(task); /* fails only when it has been killed */
	if (how == START_STEP) {
		task_forget_hit(task);
		note_step(task);
	}
	int r = start(task->tid, how, signo);
	/* ESRCH: killed while it was stopped. Its status is on the way, so it counts as running. */
	if (r < 0 && r != -ESRCH)
		log_debug(LOG_RUN, "%d cannot be started: %s", task->tid, strerror(-r));
	if (signo && task_job_control(task, signo))
		task->defies_stop = false;
	task_set_state(task, TASK_RUNNING);
	task->gp_valid = task->fresh = false;
	task->proc->space->starts++;
	live->awaited = !live->awaited || live->awaited == task->tid ? task->tid : -1;
}

/*
 * Out of the very stop it came with, before the breakpoint is stepped over. Whether the process stops or has been continued since, we
 * hear of it before anything is executed.
 */
static void take_stop(struct task *task, int signo)
{
	task->how.signo = signo;
	if (task->dregs_stale)
		task_write_dregs(task);
	(void)task_flush(task);
	(void)pt_interrupt(task->tid);
	task->stepping = false;
	task_start(task, START_CONT, signo);
	task->interrupt_sent = true;
	task->how.signo = 0;
}

void task_restart(struct task *task, int signo)
{
	struct proc *p = task->proc;
	struct live *live = p->live;

	if (live->over_in_place && live->over_in_place != task &&
	    live->over_in_place->proc->space == p->space) {
		task->how.signo = signo; /* live_release() starts it when the breakpoint is back */
		task->fresh = false;
		return;
	}
	if (put_off(task)) {
		task->how.signo = signo;
		task->fresh = false;
		return;
	}
	if (p->space->sw.changed && !task->stop_taken && over_start_unwanted(task, signo))
		return;
	space_sync(p->space);
	struct deferred_signal *head = task->deferred;
	if (!signo && head && !head->sent && task->pass_valid && task->pstop == PSTOP_SIGNAL &&
	    task_job_control(task, head->info.si_signo))
		signo = task_deferred(task, 0);
	if (task->stop_taken) {
		task->stop_taken = false;
		if (signo && task->pass_valid && !task_job_control(task, signo)) {
			task_defer_signal(task, signo);
			signo = 0;
		}
		take_stop(task, signo ? task_deferred(task, signo) : 0);
		return;
	}
	if (signo && task->pass_valid && task->pstop == PSTOP_SIGNAL &&
	    task_job_control(task, signo)) {
		take_stop(task, signo);
		return;
	}
	if (task->pass_valid && over_start(task, signo))
		return;
	if (task->dregs_stale)
		task_write_dregs(task);
	task_count_hold(task);
	if (signo || !task_holds_signals(task))
		signo = task_deferred(task, signo);
	task->how.signo = signo;
	task->stepping = task->how.action != RESUME_CONT || task->tells_steps;
	task->leaving_kernel = task->stepping && task->at_exec;
	task_start(task,
		   task->stepping              ? START_STEP
		   : task_wants_syscalls(task) ? START_SYSCALL
					       : START_CONT,
		   signo);
	task->how.signo = 0;
	task_interrupt_again(task);
}

/* The step that was asked for begins only now. Stopped by somebody meanwhile, it is begun at the next resume. */
void task_restart_step(struct task *task)
{
	if (task->resumed && !task->proc->live->stopping)
		task_restart(task, 0);
}

/* It was about to be delivered when something came between; the next resume says nothing of it. */
static void keep_signal(struct task *task)
{
	if (task->how.signo)
		task_defer_signal(task, task->how.signo);
	task->how.signo = 0;
}

void task_go(struct task *task)
{
	if (!task->resumed || task->state != TASK_STOPPED || task->proc->live->stopping)
		return;
	if (task->has_pending && !task_pending_stale(task)) {
		live_queue(task);
		return;
	}
	/* It stands, as it is to: started, it might wait for long until it is asked to again. */
	if (task->interrupt_wanted && task->how.action == RESUME_CONT &&
	    task->over.kind == OVER_NONE && task->pstop != PSTOP_GROUP) {
		keep_signal(task);
		live_event(task, (struct stop){ .kind = STOP_INTERRUPT });
		return;
	}
	/* It stays in its job-control stop until SIGCONT, or until its client has it run. */
	if (task->pstop == PSTOP_GROUP && !task->defies_stop) {
		(void)task_flush(task);
		task_start(task, START_LISTEN, 0);
	} else {
		task_restart(task, task->how.signo);
	}
}

static bool is_released(const struct proc *p, enum release whom)
{
	return whom == RELEASE_ALL || (whom == RELEASE_HIDDEN ? p->hidden : proc_is_alone(p));
}

void live_release(struct live *live, enum release whom)
{
	pid_t few[128], *tids = few;
	_cleanup_free_ pid_t *many = NULL;
	size_t count = 0, len = 0;

	if (live->stopping)
		return;
	live->lead.holding &= whom != RELEASE_ALL;
	for (struct proc *p = live->procs; p; p = p->next)
		count += is_released(p, whom) ? p->count : 0;
	if (!count)
		return;
	/* Starting one may remove others. */
	if (count > ARRAY_SIZE(few))
		tids = many = calloc(count, sizeof(*tids));
	for (struct proc *p = live->procs; p && tids; p = p->next) {
		for (size_t i = 0; is_released(p, whom) && i < p->count; i++)
			tids[len++] = p->tasks[i]->tid;
	}
	size_t first = len ? (size_t)rand_r(&live->seed) % len : 0;
	for (size_t i = 0; i < len; i++) {
		struct task *task = task_find(live, tids[(first + i) % len]);
		if (task && !task->marked && !task->queued)
			task_go(task);
	}
}

void task_tell_step(struct task *task)
{
	struct tracer *tr = &task->proc->live->base;

	if (task->tells_steps)
		task->tells_steps =
			tr->stepped && tr->stepped(tr->hit_ctx, &task->proc->base, task->tid);
}

void task_tell_end_of_steps(struct task *task)
{
	struct tracer *tr = &task->proc->live->base;

	if (task->tells_steps && tr->stepper_gone)
		tr->stepper_gone(tr->hit_ctx, &task->proc->base, task->tid);
	task->tells_steps = false;
}

void task_stepped(struct task *task)
{
	struct user_regs_struct *gp;

	task_tell_step(task);
	switch (task->how.action) {
	case RESUME_CONT: task_go(task); return; /* the step was our own affair */
	case RESUME_RANGE:
		if (task_gp(task, &gp) < 0 || gp->rip < task->how.start ||
		    gp->rip >= task->how.end || task->proc->live->stopping || !task->resumed)
			break;
		if (task->interrupt_wanted)
			live_event(task, (struct stop){ .kind = STOP_INTERRUPT });
		else
			task_restart(task, 0);
		return;
	case RESUME_STEP: break;
	}
	live_event(task, (struct stop){ .kind = STOP_STEP, .signo = SIGTRAP });
}

static bool caught(const struct proc *p, long number)
{
	if (p->catch_count < 0)
		return true;
	for (ssize_t i = 0; i < p->catch_count; i++) {
		if (p->catch[i] == number)
			return true;
	}
	return false;
}

void task_syscall_stop(struct task *task)
{
	enum pt_syscall_op op;
	long number;

	if (pt_syscall_info(task->tid, &op, &number) < 0 || op == PT_SYSCALL_NONE ||
	    !caught(task->proc, number)) {
		task_go(task);
		return;
	}
	live_event(task, (struct stop){ .kind = op == PT_SYSCALL_ENTRY ? STOP_SYSCALL_ENTRY
								       : STOP_SYSCALL_RETURN,
					.signo = SIGTRAP,
					.syscall = number });
}

/* --- operations --- */

static int mark(struct live *live, struct task *task)
{
	if (task->marked)
		return 0;
	if (live->marked_len == live->marked_cap) {
		size_t cap = live->marked_cap ? live->marked_cap * 2 : 64;
		struct task **marked = realloc(live->marked, cap * sizeof(*marked));
		if (!marked)
			return -ENOMEM;
		live->marked = marked;
		live->marked_cap = cap;
	}
	live->marked[live->marked_len++] = task;
	task->marked = true;
	return 0;
}

static int run_resume(struct target *t, pid_t tid, const struct resume *how)
{
	struct task *task = proc_task(proc_of(t), tid);
	if (!task)
		return -ESRCH;
	switch (task->state) {
	case TASK_GONE:
	case TASK_ZOMBIE:
	case TASK_STUCK:
		/* Nothing to start: it is on its way out, or runs on by itself when the kernel lets go of it. */
		task_set_resumed(task, task->state == TASK_STUCK);
		task->how = *how;
		if (task->state == TASK_STUCK)
			task_set_state(task, TASK_RUNNING);
		return 0;
	case TASK_STOPPED: break;
	default: return -EBUSY;
	}
	if (task->resumed) /* it runs, and stands still for a moment for reasons of our own */
		return -EBUSY;
	int r = mark(proc_of(t)->live, task);
	if (r == 0)
		task->how = *how;
	task->hold_from_us = 0;
	return r;
}

/* A client takes its breakpoint out, steps and puts it back; one of the server's own stays in, and has been judged. */
static void pass_internal_point(struct task *task)
{
	struct user_regs_struct *gp;
	const struct swpoint *point;

	if (task->told.kind != STOP_SWBREAK || task->told.own || task_gp(task, &gp) < 0 ||
	    gp->rip != task->pending_pc)
		return;
	point = swpoints_find(&task->proc->space->sw, gp->rip);
	if (task->told.internal || (point && point->number_count))
		task_pass_point(task, gp->rip);
}

/* What is asked of each that is marked becomes what it does. True: one of them has something to tell first. */
static bool mark_resumed(struct live *live, size_t *ret_leads)
{
	bool first = false;

	*ret_leads = 0;
	for (size_t i = 0; i < live->marked_len; i++) {
		struct task *task = live->marked[i];
		task_set_resumed(task, true);
		task->interrupt_wanted = false;
		task->defies_stop |= task->pstop == PSTOP_GROUP || task->stop_taken;
		task->stop_taken = false;
		pass_internal_point(task);
		task->leads = task->told.kind != STOP_NONE || task->how.action != RESUME_CONT;
		*ret_leads += task->leads;
		task->told = (struct stop){ 0 };
		if (task->has_pending && task->pending.kind == STOP_INTERRUPT)
			task->has_pending = false; /* it has been asked to run since */
		if (task->has_pending && !task_pending_stale(task)) {
			live_queue(task);
			first = true;
		}
	}
	return first;
}

static void start_marked(struct live *live, bool start)
{
	/* Starting one may hold, start or even remove others, so take them off the list one by one. */
	while (live->marked_len) {
		struct task *task = live->marked[--live->marked_len];
		task->marked = false;
		if (start && !task->queued && (task->leads || !live->lead.holding)) {
			task_go(task);
		} else if (task->how.signo && !live->lead.holding) {
			/* Its client has been told that it runs, so this signal counts as delivered: it must not get lost. */
			keep_signal(task);
		}
	}
}

void live_commit(struct tracer *tr, bool pending_first)
{
	struct live *live = live_of(tr);
	size_t leads;

	bool first = mark_resumed(live, &leads);
	bool start = !(first && pending_first) && !(pending_first && live->told_len);
	/* In all-stop everybody waits for what the threads that run will do, and most often they do it at once. */
	live->attending = start && pending_first;
	live->awaited = 0;
	if (live->attending)
		live_hush(live);
	bool hold = live->attending && lead_may_go_first(live, leads);
	if (start)
		lead_starts(live, leads, hold);
	start_marked(live, start);
	/* The event that kept the others back was nobody's business: now they run. */
	bool all = !hold && start && (live->kept_back || live->release_due);
	live_release(live, all ? RELEASE_ALL : RELEASE_HIDDEN);
	live->kept_back = !start;
	if (live->attending)
		live_attend(live);
	live->attending = false;
	/* When nobody stands either they have all been killed, and their end is about to be heard of. */
	struct proc *first_of_all = live->procs;
	while (first_of_all && first_of_all->base.alone)
		first_of_all = first_of_all->next;
	if (pending_first && nobody_resumed(live) && !live->queue_len && !live->told_len &&
	    first_of_all && anybody_stands(first_of_all))
		live_tell(live, first_of_all, first_of_all->base.pid,
			  (struct stop){ .kind = STOP_NO_RESUMED });
}

static void settle(struct task *task)
{
	if (task->over.kind != OVER_NONE && task->state == TASK_STOPPED)
		over_abort(task);
	if (task->proc->hidden)
		return;
	task_set_resumed(task, false);
	if (task->state == TASK_STOPPED)
		keep_signal(task);
}

void live_stop_target(struct tracer *tr, struct target *t)
{
	struct proc *p = proc_of(t);

	live_halt(live_of(tr), p);
	for (size_t i = 0; i < p->count; i++) {
		settle(p->tasks[i]);
		task_unqueue(p->tasks[i]);
	}
}

/* Those that are alone run on, and what they have to tell stays to be told. */
static void settle_all(struct live *live)
{
	size_t kept = 0;

	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; !proc_is_alone(p) && i < p->count; i++) {
			settle(p->tasks[i]);
			p->tasks[i]->queued = false;
		}
	}
	for (size_t i = 0; i < live->queue_len; i++)
		if (live->queue[i]->queued)
			live->queue[kept++] = live->queue[i];
	live->queue_len = kept;
}

void live_stop_all(struct tracer *tr)
{
	struct live *live = live_of(tr);

	if (live->running) {
		live_halt(live, NULL);
		live->stopping = true;
		int status;
		for (pid_t tid; (tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0;)
			live_news(live, tid, status);
		live->stopping = false;
	}
	lead_all_stopped(live);

	settle_all(live);
	live->kept_back = false;
	live_release(live, RELEASE_ALONE);
}

/* It runs, or waits for somebody's step in place, or to be told of, unless that turns out to be nobody's business. */
static bool can_be_interrupted(const struct task *task)
{
	return task &&
	       (task->state == TASK_RUNNING || (task->state == TASK_STOPPED && task->resumed));
}

/* It runs on as soon as the kernel lets go of it, or begins to, unless it is told not to. */
static bool will_stop(const struct task *task)
{
	return !task->has_pending && task->resumed &&
	       (task->state == TASK_STUCK || task->state == TASK_NEW);
}

/* The leader if it is alive, for others come and go. */
static struct task *find_running(struct proc *p)
{
	struct task *leader = proc_task(p, p->base.pid);
	char state = can_be_interrupted(leader) ? proc_state(p->base.pid, p->base.pid) : 0;

	if (state && state != 'Z' && state != 'X')
		return leader;
	for (size_t i = 0; i < p->count; i++) {
		if (p->tasks[i] != leader && can_be_interrupted(p->tasks[i]))
			return p->tasks[i];
	}
	return NULL;
}

static void interrupt_task(struct task *task, bool any)
{
	task->interrupt_any = any && (task->interrupt_any || !task->interrupt_wanted);
	task->interrupt_wanted = true;
	if (!task->interrupt_sent && (task->state == TASK_RUNNING || task->state == TASK_STUCK)) {
		task->interrupt_sent = true;
		(void)pt_interrupt(task->tid); /* ESRCH: another stop, or its end, is under way */
	}
}

void proc_interrupt_other(struct proc *p)
{
	struct task *task = find_running(p);
	if (task)
		interrupt_task(task, true);
}

static int run_interrupt(struct target *t, pid_t tid)
{
	struct task *task = tid ? proc_task(proc_of(t), tid) : find_running(proc_of(t));
	if (!task)
		return -ESRCH;
	if (can_be_interrupted(task) || will_stop(task))
		interrupt_task(task, !tid);
	return 0;
}

static int run_last_stop(struct target *t, pid_t tid, struct stop *ret)
{
	struct task *task = proc_task(proc_of(t), tid);
	if (!task)
		return -ESRCH;
	*ret = task->told;
	return 0;
}

static int run_catch_syscalls(struct target *t, const long *numbers, ssize_t count)
{
	struct proc *p = proc_of(t);
	long *copy = count > 0 ? copy_bytes(numbers, (size_t)count * sizeof(*copy)) : NULL;

	if (count > 0 && !copy)
		return -ENOMEM;
	free(p->catch);
	p->catch = copy;
	p->catch_count = count;
	return 0;
}

static bool run_launched(struct target *t)
{
	return proc_of(t)->launched;
}

static int run_send_signal(struct target *t, int signo)
{
	return proc_of(t)->gone ? -ESRCH : kill(t->pid, signo) < 0 ? -errno : 0;
}

static int run_tell_steps(struct target *t, pid_t tid)
{
	struct task *task = proc_task(proc_of(t), tid);
	if (!task)
		return -ESRCH;
	task->tells_steps = true;
	return 0;
}

const struct target_run_ops live_run_ops = {
	.resume = run_resume,
	.interrupt = run_interrupt,
	.send_signal = run_send_signal,
	.last_stop = run_last_stop,
	.kill = live_kill,
	.detach = live_detach,
	.catch_syscalls = run_catch_syscalls,
	.launched = run_launched,
	.tell_steps = run_tell_steps,
};
