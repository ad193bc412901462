#include "target/live/live.h"

#include <errno.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <time.h>

#include "target/live/guard.h"
#include "target/live/live_target.h"
#include "target/live/patch.h"
#include "target/live/task.h"

/* --- one process --- */

static int gp_read(struct target *t, pid_t tid, struct user_regs_struct *ret)
{
	struct task *task = proc_task(proc_of(t), tid);
	struct user_regs_struct *gp;
	int r = task ? task_gp(task, &gp) : -ESRCH;
	if (r == 0)
		*ret = *gp;
	return r;
}

static int gp_write(struct target *t, pid_t tid, const struct user_regs_struct *gp)
{
	struct task *task = proc_task(proc_of(t), tid);
	struct user_regs_struct *have;
	int r = task ? task_gp(task, &have) : -ESRCH;
	if (r < 0)
		return r;
	struct user_regs_struct before = *have;
	*have = *gp;
	task_gp_changed(task);
	/* At once, so that a value the kernel refuses is the client's error and not a surprise at the next resume. */
	r = task_flush(task);
	if (r < 0)
		*have = before;
	return r;
}

static int stopped_task(struct target *t, pid_t tid, struct task **ret)
{
	struct task *task = proc_task(proc_of(t), tid);
	struct user_regs_struct *gp;
	int r = task ? task_gp(task, &gp) : -ESRCH;
	if (r == 0)
		*ret = task;
	return r;
}

static int xstate_read(struct target *t, pid_t tid, struct xstate *ret)
{
	struct task *task;
	int r = stopped_task(t, tid, &task);
	return r < 0 ? r : pt_get_xstate(tid, ret);
}

static int xstate_write(struct target *t, pid_t tid, const struct xstate *xs)
{
	struct task *task;
	int r = stopped_task(t, tid, &task);
	return r < 0 ? r : pt_set_xstate(tid, xs);
}

static bool is_interrupt(const siginfo_t *si)
{
	return si->si_signo == SIGTRAP && si->si_code >> 8 == PTRACE_EVENT_STOP;
}

/* What it would be if the thread had been stopped by a signal: to clients the kernel's SIGTRAP is a breakpoint or a step. */
static void name_interrupt(siginfo_t *si)
{
	*si = (siginfo_t){ .si_signo = SIGSTOP, .si_code = SI_TKILL };
	si->si_pid = getpid();
	si->si_uid = getuid();
}

static int siginfo_read(struct target *t, pid_t tid, siginfo_t *ret)
{
	struct task *task;
	int r = stopped_task(t, tid, &task);
	if (r == 0)
		r = pt_get_siginfo(tid, ret);
	if (r == 0 && is_interrupt(ret))
		name_interrupt(ret);
	/* A trap names the place where it came: after a stepped copy that is the copy. */
	if (r == 0 && ret->si_signo == SIGTRAP && ret->si_code > 0)
		ret->si_addr = (void *)over_origin(task, (uint64_t)ret->si_addr);
	return r;
}

static int siginfo_write(struct target *t, pid_t tid, const siginfo_t *si)
{
	struct task *task;
	int r = stopped_task(t, tid, &task);
	return r < 0 ? r : pt_set_siginfo(tid, si);
}

static int next_thread(struct target *t, pid_t after, pid_t *ret)
{
	*ret = proc_next(proc_of(t), after);
	return 0;
}

static void live_close(struct target *t)
{
	struct proc *p = proc_of(t);
	live_forget_told(p->live, p);
	proc_free(p);
}

static const struct target_write_ops write_ops = {
	.mem_write = live_mem_write,
	.gp_write = gp_write,
	.xstate_write = xstate_write,
	.siginfo_write = siginfo_write,
};

const struct target_ops live_target_ops = {
	.name = "live",
	.mem_read = live_mem_read,
	.mem_read_spans = live_mem_read_spans,
	.gp_read = gp_read,
	.xstate_read = xstate_read,
	.siginfo_read = siginfo_read,
	.next_thread = next_thread,
	.thread_info = live_thread_info,
	.auxv_read = live_auxv_read,
	.exe_path = live_exe_path,
	.region_at = live_region_at,
	.close = live_close,
	.write = &write_ops,
	.run = &live_run_ops,
	.points = &live_point_ops,
	.alloc = &live_alloc_ops,
};

/* --- the tracer --- */

static int tracer_fd(struct tracer *tr)
{
	return live_of(tr)->sigfd;
}

static void set_events(struct tracer *tr, const struct tracer_events *which)
{
	live_of(tr)->events = *which;
}

static void set_pass(struct tracer *tr, const sigset_t *set)
{
	live_of(tr)->pass = *set;
}

static void set_program(struct tracer *tr, const sigset_t *set)
{
	struct live *live = live_of(tr);
	live->program_set = set != NULL;
	if (set)
		live->program = *set;
}

static void set_fast(struct tracer *tr, bool on)
{
	struct live *live = live_of(tr);

	live->fast = on;
	for (struct proc *p = live->procs; p && !on; p = p->next) {
		if (p->gone || !p->space)
			continue;
		bool held = patch_quieten(p);
		patch_demote_all(p->space);
		if (held)
			live_release(live, RELEASE_ALL);
	}
}

static struct target *next_target(struct tracer *tr, struct target *after)
{
	struct proc *p = after ? proc_of(after)->next : live_of(tr)->procs;
	while (p && p->hidden)
		p = p->next;
	return p ? &p->base : NULL;
}

/* So many are taken out and put back within a few milliseconds. */
enum { REST_POINTS_MAX = 4096 };

static void rest_task(struct task *task)
{
	siginfo_t si;

	if (task->state != TASK_STOPPED)
		return;
	(void)task_flush(task);
	/* The kernel forgets that it stepped only when it is started otherwise; nothing is executed. */
	if (task->stepping && !task->in_kernel && !task->vforking && !task->stop_signo &&
	    pt_get_siginfo(task->tid, &si) == 0 && task_leave_kernel(task) == 0) {
		task->stepping = false;
		(void)pt_set_siginfo(task->tid, &si);
	}
	if (task->dregs_used) {
		task_clear_dregs(task);
		task->dregs_stale = true;
	}
}

static void live_rest(struct tracer *tr)
{
	struct live *live = live_of(tr);

	if (live->running || live->marked_len)
		return;
	for (struct proc *p = live->procs; p; p = p->next) {
		if (p->gone || !p->space || p->space->sw.count > REST_POINTS_MAX)
			continue;
		for (size_t i = 0; i < p->count; i++)
			rest_task(p->tasks[i]);
		space_lift(p->space);
	}
}

static void live_free(struct tracer *tr)
{
	struct live *live = live_of(tr);

	while (live->procs) {
		struct proc *p = live->procs;
		p->hidden = false; /* whose end would free it under our hands */
		if (p->launched && !p->gone)
			(void)live_kill(&p->base);
		else if (!p->gone)
			(void)live_detach(&p->base, false);
		proc_free(p);
	}
	live_emergency_knows(NULL);
	guard_stop();
	close(live->sigfd);
	if (live->stat_fd >= 0)
		close(live->stat_fd);
	free(live->queue);
	free(live->marked);
	free(live->put_off);
	free(live->told);
	free(live->strays);
	free(live->leavers);
	space_unref(live->bereft);
	while (live->spare) {
		struct deferred_signal *next = live->spare->next;
		free(live->spare);
		live->spare = next;
	}
	free(live);
}

static const struct tracer_ops tracer_ops = {
	.launch = live_launch,
	.attach = live_attach,
	.fd = tracer_fd,
	.collect = live_collect,
	.next_event = live_next_event,
	.next_alone = live_next_alone,
	.next_untold = live_next_untold,
	.push_back = live_push_back,
	.commit = live_commit,
	.stop_all = live_stop_all,
	.stop_target = live_stop_target,
	.set_events = set_events,
	.set_pass_signals = set_pass,
	.set_program_signals = set_program,
	.set_fast_conditions = set_fast,
	.rest = live_rest,
	.next_target = next_target,
	.free = live_free,
};

void live_go_unguarded(struct tracer *tr)
{
	live_of(tr)->unguarded = true;
}

struct tracer *live_tracer_new(struct err *err)
{
	struct live *live = calloc(1, sizeof(*live));
	if (!live) {
		err_set(err, -ENOMEM, "no memory for the tracer");
		return NULL;
	}
	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	live->sigfd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (live->sigfd < 0) {
		err_set(err, -errno, "cannot listen for SIGCHLD: %s", strerror(errno));
		free(live);
		return NULL;
	}
	live->stat_fd = -1;
	live->fast = true;
	live->base.ops = &tracer_ops;
	live->seed = (unsigned)time(NULL);
	live_provide(live);
	sigemptyset(&live->pass);
	sigemptyset(&live->program);
	live_emergency_knows(live);
	return &live->base;
}
