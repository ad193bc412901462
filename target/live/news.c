/*
 * news.c - what the kernel says of the tasks, turned into events or dealt with on the spot.
 *
 * live_news() is fed every wait status, in whatever order they come. It changes the task's state and then either makes an event
 * of it (live_event) or lets the task go on (task_go); the latter stops nobody else. While live->stopping nothing is restarted.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "base/log.h"
#include "target/ax.h"
#include "target/live/task.h"
#include "target/x86/regs.h"

/* --- events --- */

void live_queue(struct task *task)
{
	struct live *live = task->proc->live;
	if (task->queued)
		return;
	if (live->queue_len == live->queue_cap) {
		size_t cap = live->queue_cap ? live->queue_cap * 2 : 64;
		struct task **queue = realloc(live->queue, cap * sizeof(*queue));
		if (!queue)
			return; /* it stays pending and is queued at its next resume */
		live->queue = queue;
		live->queue_cap = cap;
	}
	live->queue[live->queue_len++] = task;
	task->queued = true;
}

void live_event(struct task *task, struct stop stop)
{
	struct user_regs_struct *gp;

	task->pending = stop;
	task->has_pending = true;
	task->interrupt_wanted = false;
	task->pending_pc = task_gp(task, &gp) == 0 ? gp->rip : 0;
	if (task->resumed)
		live_queue(task);
}

void live_tell(struct live *live, struct proc *p, pid_t tid, struct stop stop)
{
	if (live->told_len == live->told_cap) {
		size_t cap = live->told_cap ? live->told_cap * 2 : 16;
		struct target_event *list = realloc(live->told, cap * sizeof(*list));
		if (!list)
			return;
		live->told = list;
		live->told_cap = cap;
	}
	live->told[live->told_len++] = (struct target_event){ &p->base, tid, stop };
}

bool live_take_told(struct live *live, struct proc *p, struct target_event *ret)
{
	for (size_t i = 0; i < live->told_len; i++) {
		if (p && live->told[i].target != &p->base)
			continue;
		*ret = live->told[i];
		live->told_len--;
		memmove(live->told + i, live->told + i + 1,
			(live->told_len - i) * sizeof(*live->told));
		return true;
	}
	return false;
}

void live_forget_told(struct live *live, struct proc *p)
{
	struct target_event dropped;
	while (live_take_told(live, p, &dropped))
		;
}

static size_t choose(struct live *live)
{
	for (size_t i = 0; i < live->queue_len; i++) {
		const struct task *task = live->queue[i];
		if (task->how.action != RESUME_CONT && task->pending.kind == STOP_STEP)
			return i;
	}
	/* Any of them, so that a busy breakpoint does not starve the other threads. */
	return (size_t)rand_r(&live->seed) % live->queue_len;
}

int live_next_event(struct tracer *tr, struct target_event *ret)
{
	struct live *live = live_of(tr);

	while (live->queue_len) {
		size_t at = choose(live);
		struct task *task = live->queue[at];
		memmove(live->queue + at, live->queue + at + 1,
			(live->queue_len - at - 1) * sizeof(*live->queue));
		live->queue_len--;
		task->queued = false;
		if (!task->has_pending || !task->resumed)
			continue;
		if (task_pending_stale(task)) {
			task_go(task);
			continue;
		}
		task->has_pending = false;
		task_set_resumed(task, false);
		task->told = task->pending;
		*ret = (struct target_event){ &task->proc->base, task->tid, task->pending };
		return 1;
	}
	return live_take_told(live, NULL, ret);
}

/* What is to be told with the stop of another thread: news of the thread's own that ask for no answer. */
static bool tells_itself(struct task *task)
{
	switch (task->pending.kind) {
	case STOP_SIGNAL: return sigismember(&task->proc->live->pass, task->pending.signo) != 1;
	case STOP_SWBREAK:
	case STOP_HWBREAK:
	case STOP_WATCH:
	case STOP_STEP: return !task_pending_stale(task);
	default: return false;
	}
}

int live_next_untold(struct tracer *tr, struct target_event *ret)
{
	for (struct proc *p = live_of(tr)->procs; p; p = p->next) {
		for (size_t i = 0; !p->hidden && i < p->count; i++) {
			struct task *task = p->tasks[i];
			if (!task->has_pending || task->resumed || task->state != TASK_STOPPED ||
			    !tells_itself(task))
				continue;
			task->has_pending = false;
			task_unqueue(task);
			task->told = task->pending;
			*ret = (struct target_event){ &p->base, task->tid, task->pending };
			return 1;
		}
	}
	return 0;
}

void live_push_back(struct tracer *tr, const struct target_event *ev)
{
	struct proc *p = proc_of(ev->target);
	struct task *task = proc_task(p, ev->tid);

	if (!task || ev->stop.kind == STOP_EXITED || ev->stop.kind == STOP_KILLED ||
	    ev->stop.kind == STOP_THREAD_EXITED || ev->stop.kind == STOP_NO_RESUMED) {
		live_tell(live_of(tr), p, ev->tid, ev->stop);
		return;
	}
	task->pending = ev->stop;
	task->has_pending = true;
	task->told = (struct stop){ 0 };
}

/* --- first stops that come before their parent's event --- */

static void stray_add(struct live *live, pid_t tid, int status)
{
	if (live->stray_len + 2 > live->stray_cap) {
		size_t cap = live->stray_cap ? live->stray_cap * 2 : 32;
		int *strays = realloc(live->strays, cap * sizeof(*strays));
		if (!strays)
			return;
		live->strays = strays;
		live->stray_cap = cap;
	}
	live->strays[live->stray_len++] = tid;
	live->strays[live->stray_len++] = status;
}

static bool stray_take(struct live *live, pid_t tid, int *ret_status)
{
	for (size_t i = 0; i < live->stray_len; i += 2) {
		if (live->strays[i] != tid)
			continue;
		*ret_status = live->strays[i + 1];
		memmove(live->strays + i, live->strays + i + 2,
			(live->stray_len - i - 2) * sizeof(*live->strays));
		live->stray_len -= 2;
		return true;
	}
	return false;
}

/* --- breakpoints --- */

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
static bool hit_counts(struct task *task, struct ax *const *conditions, size_t count)
{
	struct mem mem = target_mem(&task->proc->base);
	struct ax_env env = { .reg = read_reg, .ctx = task, .mem = &mem };

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
	struct ax_env env = { .reg = read_reg, .ctx = task, .mem = &mem, .out = &out };

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

/* Judges a hit once: false, it is nobody's business any more. Commands have then been run. */
static bool hit_reported(struct task *task, const struct swpoint *point)
{
	if (!hit_counts(task, point->conditions, point->condition_count))
		return false;
	if (!point->command_count)
		return true;
	run_commands(task, point->commands, point->command_count);
	return false;
}

static void int3_hit(struct task *task)
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
	bool internal =
		point->internal && !p->hidden &&
		hit_counts(task, point->internal_conditions, point->internal_condition_count);
	bool asked = point->wanted && !p->hidden && hit_reported(task, point);
	if (!internal && !asked) {
		task_pass_point(task, at);
		task_go(task);
		return;
	}
	live_event(task, (struct stop){ .kind = STOP_SWBREAK,
					.internal = internal,
					.unasked = !asked,
					.signo = SIGTRAP });
}

static void debug_reg_hit(struct task *task, bool stepped)
{
	struct stop stop;

	if (task_debug_hit(task, &stop)) {
		const struct swpoint *point = stop.kind == STOP_HWBREAK
						      ? swpoints_find(&task->proc->hw, stop.addr)
						      : NULL;
		struct user_regs_struct *gp;
		if (!point || hit_reported(task, point) || task_gp(task, &gp) < 0) {
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

/* --- signals --- */

/* One of those we sent ourselves: it passes, now or at the next start. */
static bool deferred_arrived(struct task *task, int signo)
{
	struct deferred_signal **at = &task->deferred;

	while (*at && !((*at)->sent && (*at)->info.si_signo == signo))
		at = &(*at)->next;
	struct deferred_signal *d = *at;
	if (!d)
		return false;
	if (d->have_info)
		(void)pt_set_siginfo(task->tid, &d->info);
	else
		d->have_info = pt_get_siginfo(task->tid, &d->info) == 0;
	if (task->resumed && !task->proc->live->stopping) {
		*at = d->next;
		free(d);
		task_restart(task, signo);
		return true;
	}
	/* First in the list: the restart out of this very stop delivers it. */
	*at = d->next;
	d->next = task->deferred;
	d->sent = false;
	task->deferred = d;
	return true;
}

static void signal_stop(struct task *task, int signo)
{
	struct live *live = task->proc->live;

	task->pstop = PSTOP_SIGNAL;
	task->stop_signo = signo;
	if (deferred_arrived(task, signo))
		return;
	bool passes = sigismember(&live->pass, signo) == 1 && !task_steps_openly(task);
	if ((task->proc->starting || task->proc->hidden || passes) && !live->stopping &&
	    task->resumed) {
		bool held = task_hold_signal(task, signo);
		log_debug(LOG_STOP, "%d: signal %d %s", task->tid, signo, held ? "held" : "passed");
		task_restart(task, held ? 0 : signo);
		return;
	}
	live_event(task, (struct stop){ .kind = STOP_SIGNAL, .signo = signo });
}

/* --- new tasks and processes --- */

/* Made by a copy of its parent's system call, a new task finds itself behind that copy. */
static void begin_at(struct task *task, uint64_t rip)
{
	struct user_regs_struct *gp;

	if (!rip || task_gp(task, &gp) < 0 || !over_scratch_holds(task->proc->space, gp->rip))
		return;
	gp->rip = rip;
	task_gp_changed(task);
}

static uint64_t rip_of(struct task *task)
{
	struct user_regs_struct *gp;
	return task_gp(task, &gp) == 0 ? gp->rip : 0;
}

/* The first stop of a forked child; false when it was killed before. */
static bool await_child(struct live *live, pid_t pid)
{
	int status;
	if (!stray_take(live, pid, &status)) {
		while (waitpid(pid, &status, __WALL) < 0) {
			if (errno != EINTR)
				return false;
		}
	}
	return WIFSTOPPED(status);
}

static struct proc *adopt_child(struct proc *parent, pid_t pid, bool vfork)
{
	struct proc *p = proc_new(parent->live, pid, parent->launched);
	if (!p)
		return NULL;
	p->base.ops = parent->base.ops;
	p->space = vfork ? space_ref(parent->space) : space_clone(parent->space, pid);
	p->vfork_parent = vfork ? parent : NULL;
	p->vfork_child = vfork;
	p->dregs = parent->dregs;
	struct task *task = p->space ? task_add(p, pid, TASK_STOPPED) : NULL;
	if (!task) {
		proc_free(p);
		return NULL;
	}
	task->pstop = PSTOP_EVENT;
	task->how = (struct resume){ .action = RESUME_CONT };
	return p;
}

static void fork_event(struct task *parent, bool vfork)
{
	struct proc *pp = parent->proc;
	struct live *live = pp->live;
	unsigned long pid = 0;

	if (pt_event_message(parent->tid, &pid) < 0)
		return;
	if (!await_child(live, (pid_t)pid)) {
		task_go(parent);
		return;
	}
	parent->vforking = vfork;
	struct proc *child = adopt_child(pp, (pid_t)pid, vfork);
	if (!child) {
		pt_detach((pid_t)pid, 0);
		task_go(parent);
		return;
	}
	begin_at(child->tasks[0], pp->space->scratch ? rip_of(parent) : 0);
	if (!pp->hidden && !pp->starting && (vfork ? live->events.vfork : live->events.fork)) {
		live_event(parent, (struct stop){ .kind = vfork ? STOP_VFORK : STOP_FORK,
						  .child_pid = (pid_t)pid,
						  .child_tid = (pid_t)pid });
		return;
	}
	if (vfork) {
		/* Our int3s are in the memory it runs in: it stays ours, unseen, until it has its own. */
		child->hidden = true;
		task_set_resumed(child->tasks[0], true);
		task_go(child->tasks[0]);
	} else {
		proc_let_go(child);
		proc_free(child);
	}
	task_go(parent);
}

static bool shares_memory(const struct proc *p, pid_t tid)
{
	enum { KCMP_SAME_VM = 1 };
	if (syscall(SYS_tgkill, p->base.pid, tid, 0) == 0)
		return true;
	/* 0: the same; -1: no such call, or it is gone */
	return syscall(SYS_kcmp, p->base.pid, tid, KCMP_SAME_VM, 0, 0) <= 0;
}

/*
 * The kernel calls it a clone, and every debugger a thread, but it is a fork with an exit signal of
 * its own: our int3s are in a copy of the memory where nobody would ever take them out.
 */
static void clean_copy(struct proc *p, pid_t tid)
{
	struct space *copy = space_clone(p->space, tid);
	if (copy)
		space_lift(copy);
	space_unref(copy);
}

static void clone_event(struct task *parent)
{
	struct live *live = parent->proc->live;
	unsigned long tid = 0;

	if (pt_event_message(parent->tid, &tid) < 0)
		return;

	struct proc *p = parent->proc;
	struct task *task = task_find(live, (pid_t)tid);
	if (!task && !shares_memory(p, (pid_t)tid))
		clean_copy(p, (pid_t)tid);
	if (!task)
		task = task_add(p, (pid_t)tid, TASK_NEW);
	if (!task) {
		pt_detach((pid_t)tid, 0);
	} else {
		task->how = (struct resume){ .action = RESUME_CONT };
		task_set_resumed(task, parent->resumed);
		task->start_rip = parent->proc->space->scratch ? rip_of(parent) : 0;
		int status;
		if (stray_take(live, (pid_t)tid, &status))
			live_news(live, (pid_t)tid, status);
	}
	if (live->events.clone)
		live_event(parent, (struct stop){ .kind = STOP_CLONE,
						  .child_pid = p->base.pid,
						  .child_tid = (pid_t)tid });
	else
		task_go(parent);
}

/*
 * The process no longer lives in this memory. If it was a vfork child whose parent we have let go, the
 * parent lives on in it and nobody else will take our int3s out.
 */
static void leave_space(struct proc *p)
{
	struct space *s = p->space;

	if (!p->vfork_child || s->refs > 1)
		return;
	s->pid = 0; /* by the descriptor only: it still names the old memory */
	space_lift(s);
}

static void exec_event(struct task *task)
{
	struct proc *p = task->proc;
	struct live *live = p->live;
	unsigned long former = 0;

	(void)pt_event_message(task->tid, &former);
	struct task *execer =
		former && (pid_t)former != task->tid ? proc_task(p, (pid_t)former) : NULL;
	if (execer) { /* what was asked of the thread that called exec now holds for the leader */
		task_set_resumed(task, execer->resumed);
		task->how = execer->how;
	}
	/* All other threads vanish without a word, the former leader too. */
	for (size_t i = p->count; i-- > 0;) {
		if (p->tasks[i] != task)
			task_remove(p->tasks[i]);
	}
	over_finish(task);
	task->pass_valid = false;
	task->dregs_used = false;
	task->dregs_stale = false;
	task->vforking = false;
	dregs_clear(&p->dregs);
	swpoints_fini(&p->hw);

	leave_space(p);
	struct space *fresh = space_new(p->base.pid);
	if (fresh) {
		space_unref(p->space);
		p->space = fresh;
	}
	p->vfork_parent = NULL;
	p->vfork_child = false;

	if (p->hidden) {
		proc_let_go(p);
		proc_free(p);
	} else if (p->starting || live->events.exec) {
		live_event(task, (struct stop){ .kind = STOP_EXEC, .child_tid = (pid_t)former });
	} else {
		task_go(task);
	}
}

static void vfork_done(struct task *task)
{
	struct space *s = task->proc->space;

	task->vforking = false;
	if (s->lifted && !--s->lifted)
		s->sw.changed = true;
	if (task->proc->live->events.vfork && !task->proc->hidden && !task->proc->starting)
		live_event(task, (struct stop){ .kind = STOP_VFORK_DONE });
	else
		task_go(task);
}

/* --- ends --- */

static void process_gone(struct task *leader, struct stop stop)
{
	struct proc *p = leader->proc;

	for (size_t i = p->count; i-- > 0;) {
		if (p->tasks[i] != leader)
			task_remove(p->tasks[i]);
	}
	leader->state = TASK_GONE;
	leader->has_pending = false;
	leader->gp_valid = leader->gp_dirty = false;
	if (p->live->over_in_place == leader)
		over_finish(leader);
	p->gone = true;
	leave_space(p);
	if (p->hidden) {
		proc_free(p);
		return;
	}
	live_tell(p->live, p, p->base.pid, stop);
}

static void task_exited(struct task *task, struct news news)
{
	struct proc *p = task->proc;
	struct live *live = p->live;

	if (task->tid == p->base.pid) {
		process_gone(task,
			     news.kind == NEWS_EXITED
				     ? (struct stop){ .kind = STOP_EXITED, .status = news.value }
				     : (struct stop){ .kind = STOP_KILLED, .signo = news.value });
		return;
	}
	bool was_resumed = task->resumed;
	if (live->events.threads && was_resumed)
		live_tell(live, p, task->tid,
			  (struct stop){ .kind = STOP_THREAD_EXITED, .status = news.value });
	task_remove(task);
	live_check_no_resumed(live, p, was_resumed);
}

/* --- one status --- */

static void first_stop(struct task *task)
{
	struct live *live = task->proc->live;

	task->pstop = PSTOP_EVENT;
	begin_at(task, task->start_rip);
	if (live->events.threads)
		live_event(task, (struct stop){ .kind = STOP_THREAD_CREATED });
	else
		task_go(task);
}

static bool trap_may_follow(const struct task *task)
{
	return task->proc->space->sw.count || task->stepping || task->dregs_used;
}

static void task_stopped(struct task *task, struct news news)
{
	struct live *live = task->proc->live;
	bool was_new = task->state == TASK_NEW;

	task->state = TASK_STOPPED;
	task->pstop = PSTOP_EVENT;
	task->stop_signo = 0;
	task->gp_valid = false;
	task->interrupt_sent =
		false; /* one still on its way shows up as a stop nobody wants, which is passed over */
	if (was_new && (news.kind == NEWS_INTERRUPT || news.kind == NEWS_GROUP_STOP)) {
		first_stop(task);
		return;
	}
	bool left_kernel = news.kind == NEWS_STEP && task->leaving_kernel;
	task->leaving_kernel = false;
	task->in_kernel =
		news.kind == NEWS_SYSCALL || (news.kind >= NEWS_FORK && news.kind <= NEWS_EXEC);
	if (left_kernel) {
		task_restart_step(task);
		return;
	}
	if (task->over.kind != OVER_NONE && over_news(task, &news))
		return;

	switch (news.kind) {
	case NEWS_SIGNAL: signal_stop(task, news.value); break;
	case NEWS_INT3:
		task->pstop = PSTOP_SIGNAL;
		int3_hit(task);
		break;
	case NEWS_STEP:
		task->pstop = news.value ? PSTOP_SIGNAL : PSTOP_EVENT;
		if (!task->stepping)
			signal_stop(task, SIGTRAP); /* the program set the trap flag itself */
		else if (task->dregs_used)
			debug_reg_hit(task, true);
		else
			task_stepped(task);
		break;
	case NEWS_DEBUG_REG:
		task->pstop = PSTOP_SIGNAL;
		debug_reg_hit(task, false);
		break;
	case NEWS_SYSCALL: task_syscall_stop(task); break;
	case NEWS_INTERRUPT:
	case NEWS_GROUP_STOP:
		/*
		 * The kernel looks at interrupts before signals: a task that has just run into an int3 can stop here first, its pc behind
		 * the int3 and the SIGTRAP still to come. Started now it executes nothing and stops again with that SIGTRAP.
		 */
		if (trap_may_follow(task) && pt_trap_queued(task->tid) && task_flush(task) == 0 &&
		    pt_cont(task->tid, 0) == 0) {
			task->state = TASK_RUNNING;
			task->interrupt_sent = true;
			break;
		}
		if (news.kind == NEWS_GROUP_STOP)
			task->pstop = PSTOP_GROUP;
		if (task->interrupt_wanted)
			live_event(task, (struct stop){ .kind = STOP_INTERRUPT });
		else if (live->stopping || !task->resumed)
			break;
		else if (news.kind == NEWS_GROUP_STOP && pt_listen(task->tid) == 0)
			task->state =
				TASK_RUNNING; /* stays in its job-control stop until SIGCONT */
		else
			task_go(task);
		break;
	case NEWS_FORK: fork_event(task, false); break;
	case NEWS_VFORK: fork_event(task, true); break;
	case NEWS_VFORK_DONE: vfork_done(task); break;
	case NEWS_CLONE: clone_event(task); break;
	case NEWS_EXEC: exec_event(task); break;
	case NEWS_EXITED:
	case NEWS_KILLED:
	case NEWS_CONTINUED: break;
	}
}

void live_news(struct live *live, pid_t tid, int status)
{
	siginfo_t si, *have = NULL;

	if (wait_needs_siginfo(status) && pt_get_siginfo(tid, &si) == 0)
		have = &si;
	struct news news = wait_classify(status, have);
	struct task *task = task_find(live, tid);
	log_debug(LOG_STOP, "%d: status %#x is news %d value %d%s", tid, (unsigned)status,
		  news.kind, news.value, task ? "" : " (unknown task)");

	if (!task) {
		int old;
		if (news.kind == NEWS_EXITED || news.kind == NEWS_KILLED)
			(void)stray_take(live, tid, &old);
		else if (news.kind != NEWS_CONTINUED)
			stray_add(live, tid, status);
		return;
	}
	if (task->state == TASK_GONE)
		return;
	if (news.kind == NEWS_EXITED || news.kind == NEWS_KILLED)
		task_exited(task, news);
	else if (news.kind != NEWS_CONTINUED)
		task_stopped(task, news);
	if (live->release_due && !live->stopping) {
		live->release_due = false;
		live_release(live, false);
	}
}

static void drain_sigfd(struct live *live)
{
	struct signalfd_siginfo info[8];
	while (read(live->sigfd, info, sizeof(info)) == (ssize_t)sizeof(info))
		;
}

void live_collect(struct tracer *tr)
{
	struct live *live = live_of(tr);
	int status;
	pid_t tid;

	drain_sigfd(live);
	while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0)
		live_news(live, tid, status);
}

/* --- waiting for everybody to stop --- */

static uint64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static bool still_runs(const struct task *task)
{
	return task->state == TASK_RUNNING || task->state == TASK_NEW;
}

/* A leader that exited before its threads: there is no status to wait for until they are gone. */
static void judge_zombie(struct task *task)
{
	struct proc *p = task->proc;
	if (task->tid != p->base.pid || p->count == 1)
		return;
	char state = proc_state(p->base.pid, task->tid);
	if (state != 'Z' && state != 'X')
		return;
	task->state = TASK_ZOMBIE;
	task_set_resumed(task, false);
}

/* Has looked long enough: is the kernel keeping it? */
static void judge_late(struct task *task)
{
	switch (proc_state(task->proc->base.pid, task->tid)) {
	case 'Z':
	case 'X': judge_zombie(task); break;
	case 'D': task->state = TASK_STUCK; break;
	default:
		if (task->vforking)
			task->state = TASK_STUCK;
	}
}

static bool concerns(const struct proc *p, const struct proc *only)
{
	return !only || p == only || p->space == only->space;
}

static void halt_interrupt(struct live *live, struct proc *only)
{
	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; concerns(p, only) && i < p->count; i++) {
			struct task *task = p->tasks[i];
			if (task->state != TASK_RUNNING || task->interrupt_sent)
				continue;
			task->interrupt_sent = true;
			(void)pt_interrupt(
				task->tid); /* ESRCH: it is stopping or dying of itself */
		}
	}
}

static bool known(const struct live *live, const struct proc *wanted)
{
	const struct proc *p = live->procs;
	while (p && p != wanted)
		p = p->next;
	return p != NULL;
}

/* One look at each task that should stop; how many still have not. */
static size_t halt_pass(struct live *live, struct proc *only, bool late)
{
	size_t left = 0;

	for (struct proc *p = live->procs; p; p = p->next) {
		for (size_t i = 0; concerns(p, only) && i < p->count; i++) {
			struct task *task = p->tasks[i];
			pid_t tid = task->tid;
			int status;
			if (!still_runs(task))
				continue;
			pid_t got = waitpid(tid, &status, __WALL | WNOHANG);
			if (got == tid) {
				live_news(live, tid, status);
				if (!known(live,
					   p)) /* an unseen vfork child that is gone: the list has changed, look again */
					return 1;
				task = proc_task(p, tid);
				if (task)
					left += still_runs(
						task); /* started again to hear of a trap */
				else
					i--;
				continue;
			}
			if (got < 0 &&
			    errno ==
				    ECHILD) { /* exec by another thread took its number away, or it was never ours */
				task->state = TASK_ZOMBIE;
				continue;
			}
			if (late)
				judge_late(task);
			left += still_runs(task);
		}
	}
	return left;
}

void live_halt(struct live *live, struct proc *only)
{
	enum { LATE_MS = 30, GIVE_UP_MS = 5000 };
	bool was = live->stopping;
	uint64_t start = now_ms();
	live->stopping = true;

	for (;;) {
		uint64_t waited = now_ms() - start;
		halt_interrupt(live, only);
		size_t left = halt_pass(live, only, waited >= LATE_MS);
		if (!left)
			break;
		if (waited > GIVE_UP_MS) {
			log_debug(LOG_STOP,
				  "%zu threads do not stop after %d ms; going on without them",
				  left, GIVE_UP_MS);
			break;
		}
		struct pollfd pfd = { live->sigfd, POLLIN, 0 };
		if (poll(&pfd, 1, 2) > 0)
			drain_sigfd(live);
	}
	live->stopping = was;
}
