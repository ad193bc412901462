/*
 * live_test.c - run control on real processes: children of this test, whose code we know.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <cmocka.h>

#include "base/log.h"
#include "target/ax.h"
#include "target/live/live.h"
#include "target/live/ptrace.h"
#include "target/live/swpoints.h"
#include "target/x86/regs.h"

enum {
	TRIES = 20000
}; /* with a pause between them: what is awaited comes when the machine has time for it */

struct shared {
	volatile unsigned long calls, threads_up, signals, stop, value;
};

static struct shared *shared;
static struct tracer *tr;

__attribute__((noinline)) void marked(unsigned long n);
__attribute__((noinline)) void marked(unsigned long n)
{
	__asm__ volatile("" : : "r"(n) : "memory");
	__atomic_add_fetch(&shared->calls, 1, __ATOMIC_SEQ_CST);
}

static void *hammer(void *arg)
{
	__atomic_add_fetch(&shared->threads_up, 1, __ATOMIC_SEQ_CST);
	while (!shared->stop)
		marked((unsigned long)arg);
	return NULL;
}

static void on_signal(int signo)
{
	(void)signo;
	__atomic_add_fetch(&shared->signals, 1, __ATOMIC_SEQ_CST);
}

static pid_t child_of(void (*body)(void))
{
	memset((void *)shared, 0, sizeof(*shared));
	pid_t pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that is killed leaves nobody behind */
		sigset_t none;
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* its threads would spin for ever */
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		body();
		_exit(7);
	}
	return pid;
}

static void spin(void)
{
	signal(SIGUSR1, on_signal);
	__atomic_store_n(&shared->threads_up, 1, __ATOMIC_SEQ_CST);
	while (!shared->stop)
		marked(1);
}

/* Blocks SIGTRAP until it is told to go on, and then sends it to itself. */
static void block_traps(void)
{
	sigset_t trap;

	signal(SIGTRAP, on_signal);
	sigemptyset(&trap);
	sigaddset(&trap, SIGTRAP);
	sigprocmask(SIG_BLOCK, &trap, NULL);
	shared->threads_up = 1;
	while (!shared->stop)
		;
	sigprocmask(SIG_UNBLOCK, &trap, NULL);
	raise(SIGTRAP);
	if (shared->signals != 1)
		_exit(1);
}

static void spin_threads(void)
{
	pthread_t threads[8];
	signal(SIGUSR1, on_signal);
	for (size_t i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, hammer, (void *)i);
	for (size_t i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
}

static void *call_once(void *arg)
{
	marked((unsigned long)arg);
	return NULL;
}

static void churn_threads(void)
{
	while (!shared->stop) {
		pthread_t thread;
		shared->threads_up = 0;
		pthread_create(&thread, NULL, call_once, NULL);
		pthread_join(thread, NULL);
	}
}

/* A load that faults until its handler has given it an address; a vector's, so that nothing emulates it. */
void loads(const void *from);
__asm__(".text\n"
	".globl loads\n"
	"loads: movups (%rdi), %xmm0\n"
	"	movups (%rdi), %xmm1\n"
	"	ret\n");

/* Counts in value whatever shows that the instruction ran elsewhere. */
static void mends(int signo, siginfo_t *si, void *context)
{
	static const char there[16];
	ucontext_t *uc = context;

	(void)signo;
	shared->value +=
		si->si_addr != (void *)16 || uc->uc_mcontext.gregs[REG_RIP] != (greg_t)loads;
	shared->signals++;
	uc->uc_mcontext.gregs[REG_RDI] = (greg_t)there;
}

static void fault_again_and_again(void)
{
	struct sigaction sa = { .sa_sigaction = mends, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &sa, NULL);
	shared->threads_up = 1;
	while (!shared->stop) {
		loads((const void *)16);
		shared->calls++;
	}
}

static void wait_up(unsigned long n)
{
	for (int i = 0; i < TRIES && shared->threads_up < n; i++)
		usleep(1000);
	assert_true(shared->threads_up >= n);
}

/* The next event, waited for at most 30 s. */
static struct target_event next(void)
{
	struct target_event ev = { 0 };
	for (int i = 0; i < 3000; i++) {
		if (tr->ops->next_event(tr, &ev))
			return ev;
		struct pollfd pfd = { tr->ops->fd(tr), POLLIN, 0 };
		poll(&pfd, 1, 10);
		tr->ops->collect(tr);
	}
	fail_msg("no event within 30 s");
	return ev;
}

static void go_all(struct target *t, enum resume_action action, pid_t only)
{
	pid_t tid = 0;
	struct resume cont = { .action = RESUME_CONT }, how = { .action = action };
	while (t->ops->next_thread(t, tid, &tid) == 0 && tid) {
		if (!only || tid == only)
			assert_int_equal(t->ops->run->resume(t, tid, tid == only ? &how : &cont),
					 0);
	}
	tr->ops->commit(tr, true);
}

static struct target *attach(pid_t pid)
{
	struct target *t;
	struct err err = { 0 };
	int r = tr->ops->attach(tr, pid, &t, &err);
	if (r < 0)
		fail_msg("%s", err.text);
	return t;
}

static void end(struct target *t, pid_t pid)
{
	if (t) {
		assert_int_equal(t->ops->run->detach(t, false), 0);
		t->ops->close(t);
	}
	shared->stop = 1; /* not before: its end is to be ours to see, not the tracer's */
	int status;
	pid_t got;
	while ((got = waitpid(pid, &status, 0)) < 0 && errno == EINTR)
		;
	assert_int_equal(got, pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void insert(struct target *t, enum point_kind kind, uint64_t addr, uint64_t len)
{
	struct point p = { .kind = kind, .addr = addr, .len = len };
	struct err err = { 0 };
	if (t->ops->points->insert(t, &p, &err) < 0)
		fail_msg("%s", err.text);
}

static void takes_out(struct target *t, enum point_kind kind, uint64_t addr, uint64_t len)
{
	assert_int_equal(t->ops->points->remove(
				 t, &(struct point){ .kind = kind, .addr = addr, .len = len }),
			 0);
}

static void hits_a_breakpoint_as_often_as_it_is_run(void **state _unused_)
{
	pid_t pid = child_of(spin);
	wait_up(1);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	uint8_t before[16], now[16];
	size_t got;
	assert_int_equal(t->ops->mem_read(t, (uint64_t)marked, before, 16, &got), 0);
	insert(t, POINT_SW, (uint64_t)marked, 1);
	assert_int_equal(t->ops->mem_read(t, (uint64_t)marked, now, 16, &got), 0);
	assert_memory_equal(before, now, 16);

	unsigned long last = 0;
	for (int i = 0; i < 50; i++) {
		go_all(t, RESUME_CONT, 0);
		struct target_event ev = next();
		assert_int_equal(ev.stop.kind, STOP_SWBREAK);
		assert_int_equal(ev.tid, pid);
		struct user_regs_struct gp;
		assert_int_equal(t->ops->gp_read(t, pid, &gp), 0);
		assert_int_equal(gp.rip, (uint64_t)marked);
		if (i)
			assert_int_equal(shared->calls, last + 1);
		last = shared->calls;
		takes_out(t, POINT_SW, (uint64_t)marked, 1);
		go_all(t, RESUME_STEP, pid);
		ev = next();
		assert_int_equal(ev.stop.kind, STOP_STEP);
		assert_int_equal(t->ops->gp_read(t, pid, &gp), 0);
		assert_int_not_equal(gp.rip, (uint64_t)marked);
		insert(t, POINT_SW, (uint64_t)marked, 1);
	}
	end(t, pid);
}

static void all_threads_hit_and_stop(void **state _unused_)
{
	pid_t pid = child_of(spin_threads);
	wait_up(8);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	pid_t tid = 0;
	int count = 0;
	while (t->ops->next_thread(t, tid, &tid) == 0 && tid)
		count++;
	assert_int_equal(count, 9);
	insert(t, POINT_SW, (uint64_t)marked, 1);
	unsigned long hits = 0, at_start = shared->calls;
	for (int i = 0; i < 200; i++) {
		go_all(t, RESUME_CONT, 0);
		struct target_event ev = next();
		assert_int_equal(ev.stop.kind, STOP_SWBREAK);
		hits++;
		tr->ops->stop_all(tr);
		unsigned long calls = shared->calls;
		usleep(200);
		assert_int_equal(calls, shared->calls); /* nobody runs */
		takes_out(t, POINT_SW, (uint64_t)marked, 1);
		struct resume step = { .action = RESUME_STEP };
		assert_int_equal(t->ops->run->resume(t, ev.tid, &step), 0);
		tr->ops->commit(tr, true);
		struct target_event stepped = next();
		assert_int_equal(stepped.stop.kind, STOP_STEP);
		assert_int_equal(stepped.tid, ev.tid);
		tr->ops->stop_all(tr);
		insert(t, POINT_SW, (uint64_t)marked, 1);
	}
	/* Every call counted is one hit stepped over; a few had passed the address when the first int3 went in. */
	assert_true(shared->calls - at_start <= hits + 8);
	end(t, pid);
}

static int same_number(void *ctx _unused_, unsigned number)
{
	return (int)number;
}

/* The server's own breakpoint beside the client's: an event says whose it is, and neither takes the other away. */
static void internal_points_stand_beside_the_clients(void **state _unused_)
{
	/* rdi == 3 */
	static const uint8_t is_three[] = { 0x26, 0x00, X86_RDI, 0x22, 0x03, 0x13, 0x27 };
	pid_t pid = child_of(spin_threads);
	wait_up(8);
	struct target *t = attach(pid);
	struct err err = { 0 };
	tr->ops->stop_all(tr);
	struct point own = {
		.kind = POINT_SW, .internal = true, .addr = (uint64_t)marked, .len = 1
	};
	own.conditions = calloc(1, sizeof(*own.conditions));
	own.condition_count = 1;
	assert_int_equal(ax_compile(is_three, sizeof(is_three), same_number, NULL, own.conditions,
				    &err),
			 0);
	assert_int_equal(t->ops->points->insert(t, &own, &err), 0);
	for (int i = 0; i < 20; i++) {
		struct user_regs_struct gp;
		go_all(t, RESUME_CONT, 0);
		struct target_event ev = next();
		tr->ops->stop_all(tr);
		assert_true(ev.stop.internal && ev.stop.unasked);
		assert_int_equal(t->ops->gp_read(t, ev.tid, &gp), 0);
		assert_int_equal(gp.rdi, 3);
		/* Each is another one: the thread was let past the point. */
		struct resume step = { .action = RESUME_STEP };
		assert_int_equal(t->ops->run->resume(t, ev.tid, &step), 0);
		tr->ops->commit(tr, true);
		assert_int_equal(next().stop.kind, STOP_STEP);
		assert_int_equal(t->ops->gp_read(t, ev.tid, &gp), 0);
		assert_int_not_equal(gp.rip, (uint64_t)marked);
	}
	insert(t, POINT_SW, (uint64_t)marked, 1);
	bool both = false, asked = false;
	for (int i = 0; i < 20000 && !(both && asked); i++) { /* who stops leads, for a while */
		go_all(t, RESUME_CONT, 0);
		struct target_event ev = next();
		tr->ops->stop_all(tr);
		assert_false(ev.stop.unasked && !ev.stop.internal);
		both |= ev.stop.internal && !ev.stop.unasked;
		asked |= !ev.stop.internal;
	}
	assert_true(both && asked);
	own = (struct point){
		.kind = POINT_SW, .internal = true, .addr = (uint64_t)marked, .len = 1
	};
	assert_int_equal(t->ops->points->remove(t, &own), 0);
	assert_int_equal(t->ops->points->remove(t, &own), -ENOENT);
	go_all(t, RESUME_CONT, 0);
	assert_false(next().stop.internal);
	tr->ops->stop_all(tr);
	takes_out(t, POINT_SW, (uint64_t)marked, 1);
	end(t, pid);
}

static void pass_only(int signo)
{
	sigset_t pass;

	sigemptyset(&pass);
	if (signo)
		sigaddset(&pass, signo);
	tr->ops->set_pass_signals(tr, &pass);
}

static struct target *attach_passing_usr1(pid_t *ret_pid)
{
	*ret_pid = child_of(spin);
	wait_up(1);
	pass_only(SIGUSR1);
	struct target *t = attach(*ret_pid);
	tr->ops->stop_all(tr);
	return t;
}

/* A signal that passes does not get into a step that holds signals; it is delivered when the thread continues. */
static void a_step_can_hold_signals(void **state _unused_)
{
	pid_t pid;
	struct target *t = attach_passing_usr1(&pid);
	for (int i = 0; i < 50; i++) {
		struct user_regs_struct gp;
		kill(pid, SIGUSR1);
		struct resume step = { .action = RESUME_STEP, .hold_signals = true };
		assert_int_equal(t->ops->run->resume(t, pid, &step), 0);
		tr->ops->commit(tr, true);
		assert_int_equal(next().stop.kind, STOP_STEP);
		assert_int_equal(t->ops->gp_read(t, pid, &gp), 0);
		assert_true(gp.rip - (uint64_t)on_signal >= 16);
		assert_int_equal(shared->signals, 0);
	}
	go_all(t, RESUME_CONT, 0);
	for (int i = 0; i < TRIES && !shared->signals; i++) {
		struct pollfd pfd = { tr->ops->fd(tr), POLLIN, 0 };
		poll(&pfd, 1, 10);
		tr->ops->collect(tr);
	}
	assert_int_equal(shared->signals, 1);
	pass_only(0);
	end(t, pid);
}

/* ... but not for ever, when it is said how long: one of many steps leads into the handler. */
static void a_hold_ends(void **state _unused_)
{
	pid_t pid;
	struct target *t = attach_passing_usr1(&pid);
	kill(pid, SIGUSR1);
	struct resume step = { .action = RESUME_STEP, .hold_signals = true, .hold_ms = 30 };
	struct user_regs_struct gp;
	struct target_event ev = { 0 };
	bool there = false;
	for (int i = 0; i < 100000 && !there; i++) {
		assert_int_equal(t->ops->run->resume(t, pid, &step), 0);
		tr->ops->commit(tr, true);
		ev = next();
		assert_int_equal(ev.stop.kind, STOP_STEP);
		assert_int_equal(t->ops->gp_read(t, pid, &gp), 0);
		there = gp.rip == (uint64_t)on_signal;
	}
	assert_true(there);
	assert_int_equal(shared->signals, 0);
	pass_only(0);
	end(t, pid);
}

static void a_watchpoint_stops_every_thread_that_writes(void **state _unused_)
{
	pid_t pid = child_of(spin_threads);
	wait_up(8);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	insert(t, POINT_WRITE, (uint64_t)&shared->calls, 8);
	for (int i = 0; i < 100; i++) {
		unsigned long calls = shared->calls;
		go_all(t, RESUME_CONT, 0);
		struct target_event ev = next();
		assert_int_equal(ev.stop.kind, STOP_WATCH);
		assert_int_equal(ev.stop.addr, (uint64_t)&shared->calls);
		tr->ops->stop_all(tr);
		assert_true(shared->calls > calls || i);
	}
	takes_out(t, POINT_WRITE, (uint64_t)&shared->calls, 8);
	end(t, pid);
}

static void signals_arrive_as_asked(void **state _unused_)
{
	pid_t pid = child_of(spin);
	wait_up(1);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);

	go_all(t, RESUME_CONT, 0);
	kill(pid, SIGUSR1);
	struct target_event ev = next();
	assert_int_equal(ev.stop.kind, STOP_SIGNAL);
	assert_int_equal(ev.stop.signo, SIGUSR1);
	go_all(t, RESUME_CONT, 0); /* dropped */
	usleep(20000);
	assert_int_equal(shared->signals, 0);

	kill(pid, SIGUSR1);
	ev = next();
	tr->ops->stop_all(tr);
	assert_int_equal(t->ops->run->resume(t, pid, &(struct resume){ .signo = SIGUSR1 }), 0);
	tr->ops->commit(tr, true);
	for (int i = 0; i < TRIES && !shared->signals; i++)
		usleep(1000);
	assert_int_equal(shared->signals, 1);

	pass_only(SIGUSR1);
	for (int n = 2; n < 20; n++) {
		kill(pid, SIGUSR1);
		for (int i = 0; i < TRIES && shared->signals < (unsigned)n; i++) {
			usleep(1000);
			tr->ops->collect(tr);
		}
		assert_int_equal(shared->signals, n);
	}
	assert_false(tr->ops->next_event(tr, &ev));
	pass_only(0);

	/* Seen, not answered: delivered at detach. */
	kill(pid, SIGUSR1);
	ev = next();
	assert_int_equal(ev.stop.kind, STOP_SIGNAL);
	assert_int_equal(t->ops->run->detach(t, false), 0);
	t->ops->close(t);
	for (int i = 0; i < TRIES && shared->signals < 20; i++)
		usleep(1000);
	assert_int_equal(shared->signals, 20);
	end(NULL, pid);
}

/* Its handler gets it, before the instruction is tried again: to try it first would raise it for ever. */
static void a_fault_under_a_false_condition_reaches_its_handler(void **state _unused_)
{
	static const uint8_t never[] = { 0x22, 0x00, 0x27 };
	pid_t pid = child_of(fault_again_and_again);
	wait_up(1);
	struct target *t = attach(pid);
	struct point p = { .kind = POINT_SW, .addr = (uint64_t)loads, .len = 1 };
	struct err err = { 0 };
	struct user_regs_struct gp;
	siginfo_t si;

	tr->ops->stop_all(tr);
	p.conditions = calloc(1, sizeof(*p.conditions));
	p.condition_count = 1;
	assert_int_equal(ax_compile(never, sizeof(never), same_number, NULL, p.conditions, &err),
			 0);
	assert_int_equal(t->ops->points->insert(t, &p, &err), 0);
	for (unsigned i = 0; i < 40; i++) {
		unsigned long faults = shared->signals;
		tr->ops->stop_all(tr);
		assert_int_equal(t->ops->run->resume(t, pid,
						     &(struct resume){ .signo = i ? SIGSEGV : 0 }),
				 0);
		tr->ops->commit(tr, true);
		struct target_event ev = next();
		assert_int_equal(ev.stop.kind, STOP_SIGNAL);
		assert_int_equal(ev.stop.signo, SIGSEGV);
		assert_int_equal(t->ops->gp_read(t, pid, &gp), 0);
		assert_int_equal(gp.rip, (uint64_t)loads);
		assert_int_equal(t->ops->siginfo_read(t, pid, &si), 0);
		assert_ptr_equal(si.si_addr, (void *)16);
		if (i > 1)
			assert_int_equal(shared->signals, faults + 1);
		assert_int_equal(shared->value, 0);
	}
	tr->ops->stop_all(tr);
	end(t, pid);
}

static void interrupt_and_attach_again_and_again(void **state _unused_)
{
	pid_t pid = child_of(spin_threads);
	wait_up(8);
	for (int i = 0; i < 30; i++) {
		struct target *t = attach(pid);
		assert_int_equal(t->ops->run->interrupt(t, pid), 0);
		struct target_event ev = next();
		assert_int_equal(ev.stop.kind, STOP_INTERRUPT);
		assert_int_equal(ev.tid, pid);
		tr->ops->stop_all(tr);
		insert(t, POINT_SW, (uint64_t)marked, 1);
		go_all(t, RESUME_CONT, 0);
		ev = next();
		assert_int_equal(ev.stop.kind, STOP_SWBREAK);
		unsigned long calls = shared->calls;
		assert_int_equal(t->ops->run->detach(t, false), 0);
		t->ops->close(t);
		for (int j = 0; j < TRIES && shared->calls < calls + 100; j++)
			usleep(1000);
		assert_true(shared->calls >= calls + 100); /* it goes on, and no int3 is left */
	}
	end(NULL, pid);
}

static bool has_stopped(pid_t pid)
{
	char path[32], line[256] = "";

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	FILE *file = fopen(path, "re");
	bool got = file && fgets(line, sizeof(line), file);
	if (file)
		fclose(file);
	return got && strstr(line, ") t ");
}

/* A signal that nobody hears of stands in its way, and everybody is halted in passing before it is dealt with. */
static void an_interrupt_outlasts_a_halt(void **state _unused_)
{
	pid_t pid;
	struct target *t = attach_passing_usr1(&pid);

	for (unsigned i = 0; i < 50; i++) {
		go_all(t, RESUME_CONT, 0);
		kill(pid, SIGUSR1);
		for (int j = 0; j < TRIES && !has_stopped(pid); j++)
			usleep(100);
		assert_int_equal(t->ops->run->interrupt(t, i % 2 ? pid : 0), 0);
		insert(t, POINT_WRITE, (uint64_t)&shared->value, 8);
		struct target_event ev = next();
		assert_int_equal(ev.stop.kind, STOP_INTERRUPT);
		tr->ops->stop_all(tr);
		takes_out(t, POINT_WRITE, (uint64_t)&shared->value, 8);
		/* And the signal was not what had to go. */
		go_all(t, RESUME_CONT, 0);
		for (int j = 0; j < TRIES && shared->signals <= i; j++) {
			usleep(1000);
			tr->ops->collect(tr);
		}
		assert_int_equal(shared->signals, i + 1);
		tr->ops->stop_all(tr);
	}
	pass_only(0);
	end(t, pid);
}

/* What is queued is seen, however often the tracer is interrupted while it looks. */
static void sees_every_signal_that_waits(void **state _unused_)
{
	enum { BEFORE = 20, LOOKS = 20000 };
	struct sigaction old, sa = { .sa_handler = on_signal };
	struct sigevent how = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
	const struct itimerspec often = { { 0, 20000 }, { 0, 20000 } };
	timer_t timer;
	pid_t pid = child_of(spin);

	wait_up(1);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	for (int i = 0; i < BEFORE; i++)
		assert_int_equal(syscall(SYS_tkill, pid, SIGRTMIN + 1), 0);
	assert_int_equal(syscall(SYS_tkill, pid, SIGWINCH), 0);
	assert_int_equal(sigaction(SIGUSR2, &sa, &old), 0);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &how, &timer), 0);
	assert_int_equal(timer_settime(timer, 0, &often, NULL), 0);
	unsigned long before = shared->signals, seen = 0;
	for (int i = 0; i < LOOKS; i++)
		seen += pt_signal_queued(pid, SIGWINCH);
	timer_delete(timer);
	sigaction(SIGUSR2, &old, NULL);
	assert_true(shared->signals > before);
	assert_int_equal(seen, LOOKS);
	assert_false(pt_signal_queued(pid, SIGUSR1));
	kill(pid, SIGKILL);
	assert_int_equal(next().stop.kind, STOP_KILLED);
	t->ops->close(t);
}

static void threads_that_come_and_go(void **state _unused_)
{
	pid_t pid = child_of(churn_threads);
	struct target *t = attach(pid);
	for (int i = 0; i < 100; i++) {
		tr->ops->stop_all(tr);
		unsigned long calls = shared->calls;
		usleep(300);
		assert_int_equal(calls, shared->calls);
		go_all(t, RESUME_CONT, 0);
		usleep(500);
		tr->ops->collect(tr);
	}
	tr->ops->stop_all(tr);
	insert(t, POINT_SW, (uint64_t)marked, 1);
	for (int i = 0; i < 50; i++) {
		go_all(t, RESUME_CONT, 0);
		struct target_event ev = next();
		assert_int_equal(ev.stop.kind, STOP_SWBREAK);
		assert_int_not_equal(ev.tid, pid);
		tr->ops->stop_all(tr);
		takes_out(t, POINT_SW, (uint64_t)marked, 1);
		go_all(t, RESUME_STEP, ev.tid);
		assert_int_equal(next().stop.kind, STOP_STEP);
		tr->ops->stop_all(tr);
		insert(t, POINT_SW, (uint64_t)marked, 1);
	}
	end(t, pid);
}

static void *executes(void *arg)
{
	while (!shared->value)
		usleep(100);
	execl("/bin/sh", "sh", "-c", "exit 7", NULL);
	return arg;
}

static void execute_in_a_thread(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, executes, NULL);
	shared->threads_up = 1;
	pthread_join(thread, NULL);
}

/* The process is another program, and stands where that is told. */
static bool has_executed(pid_t pid)
{
	char path[64], text[64] = "";
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	bool read = fgets(text, sizeof(text), f);
	fclose(f);
	return read && strstr(text, " (sh) t");
}

/*
 * A leader that stands is resumed when another thread has become it, which nobody has been told of: since Linux 5.13 the kernel starts
 * nobody then (kernel/ptrace.c, looks_like_a_spurious_pid()), and the exec is told.
 */
static void an_exec_beside_a_leader_that_stands(void **state _unused_)
{
	pid_t pid = child_of(execute_in_a_thread), other;
	const struct resume cont = { .action = RESUME_CONT };

	wait_up(1);
	struct target *t = attach(pid);
	tr->ops->set_events(tr, &(struct tracer_events){ .exec = true });
	tr->ops->stop_all(tr);
	assert_int_equal(t->ops->next_thread(t, pid, &other), 0);
	assert_true(other);
	assert_int_equal(t->ops->run->resume(t, other, &cont), 0);
	tr->ops->commit(tr, false);
	shared->value = 1;
	for (int i = 0; i < 10000 && !has_executed(pid); i++)
		usleep(1000);
	assert_true(has_executed(pid));
	assert_int_equal(t->ops->run->resume(t, pid, &cont), 0);
	tr->ops->commit(tr, false);
	struct target_event ev = next();
	assert_int_equal(ev.stop.kind, STOP_EXEC);
	assert_int_equal(ev.tid, pid);
	assert_int_equal(ev.stop.child_tid, other);
	tr->ops->set_events(tr, &(struct tracer_events){ 0 });
	end(t, pid);
}

static void count_in_a_vfork_child(void)
{
	shared->threads_up = 1;
	while (!shared->value)
		usleep(100);
	if (vfork() == 0) {
		while (!shared->stop)
			shared->calls++;
		_exit(0);
	}
}

static bool goes_on_counting(void)
{
	unsigned long before = shared->calls;

	for (int i = 0; i < TRIES && shared->calls < before + 1000; i++) {
		usleep(1000);
		tr->ops->collect(tr);
	}
	return shared->calls >= before + 1000;
}

/* A stop passes by what is alone, and the vfork child that it waits for. */
static void a_vfork_child_of_what_is_alone(void **state _unused_)
{
	pid_t pid = child_of(count_in_a_vfork_child);

	wait_up(1);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	pass_only(SIGCHLD);
	t->alone = true;
	go_all(t, RESUME_CONT, 0);
	shared->value = 1;
	assert_true(goes_on_counting());
	tr->ops->stop_all(tr);
	assert_true(goes_on_counting());
	shared->stop = 1;
	struct target_event ev = next();
	assert_int_equal(ev.stop.kind, STOP_EXITED);
	assert_int_equal(ev.stop.status, 7);
	t->ops->close(t);
	pass_only(0);
}

static unsigned long steps_begun, steps_of_gone;
static pid_t last_stepper;

static enum hit_answer begins_steps(void *ctx _unused_, const struct point_hit *h)
{
	steps_begun += h->tid != last_stepper;
	last_stepper = h->tid;
	assert_int_equal(h->target->ops->run->tell_steps(h->target, h->tid), 0);
	return HIT_PASS;
}

static bool steps_for_ever(void *ctx _unused_, struct target *t _unused_, pid_t tid _unused_)
{
	return true;
}

static void stepper_is_gone(void *ctx _unused_, struct target *t _unused_, pid_t tid _unused_)
{
	steps_of_gone++;
}

/* Who hears of each step of a thread hears that it is gone, and once. */
static void the_end_of_steps_is_told(void **state _unused_)
{
	pid_t pid = child_of(churn_threads);
	struct target *t = attach(pid);

	tr->ops->stop_all(tr);
	struct point own = {
		.kind = POINT_SW, .internal = true, .number = 5, .addr = (uint64_t)marked, .len = 1
	};
	struct err err = { 0 };
	tr->hit = begins_steps;
	tr->stepped = steps_for_ever;
	tr->stepper_gone = stepper_is_gone;
	assert_int_equal(t->ops->points->insert(t, &own, &err), 0);
	go_all(t, RESUME_CONT, 0);
	/* Who steps wakes us at every step: it is time that bounds this, not turns, and how far we come in it is the machine's. */
	for (time_t until = time(NULL) + 60; steps_begun < 20 && time(NULL) < until;) {
		struct target_event ev;
		struct pollfd pfd = { tr->ops->fd(tr), POLLIN, 0 };
		assert_false(tr->ops->next_event(tr, &ev));
		poll(&pfd, 1, 10);
		tr->ops->collect(tr);
	}
	assert_true(steps_begun > 1);
	/* The next one may hit before the kernel tells of the last one's end. */
	assert_in_range(steps_begun - steps_of_gone, 0, 3);
	tr->ops->stop_all(tr);
	end(t, pid);
	assert_int_equal(steps_of_gone, steps_begun);
	tr->hit = NULL;
	tr->stepped = NULL;
	tr->stepper_gone = NULL;
}

/* A system call made in a program that blocks SIGTRAP leaves it its handler. */
static void a_call_where_traps_are_blocked(void **state _unused_)
{
	pid_t pid = child_of(block_traps);
	uint64_t block;

	wait_up(1);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	assert_int_equal(t->ops->alloc->alloc(t, 4096, PROT_READ, &block), 0);
	assert_int_equal(t->ops->alloc->free(t, block), 0);
	end(t, pid);
}

/* Each is looked at when it is hit: none may be there that is not. */
static void an_address_takes_so_many_numbers(void **state _unused_)
{
	pid_t pid = child_of(block_traps);
	struct err err = { 0 };

	wait_up(1);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	for (unsigned i = 1; i <= SWNUMBERS_MAX + 1; i++) {
		struct point own = {
			.kind = POINT_SW, .number = i, .addr = (uint64_t)marked, .len = 1
		};
		int r = t->ops->points->insert(t, &own, &err);
		assert_int_equal(r, i <= SWNUMBERS_MAX ? 0 : -ENOSPC);
	}
	end(t, pid);
}

static void launches_steps_and_sees_the_end(void **state _unused_)
{
	char *argv[] = { "/bin/sh", "-c", "exit 3", NULL };
	struct launch how = { .argv = argv, .stdio_fd = { -1, -1, -1 } };
	struct target *t;
	struct err err = { 0 };
	assert_int_equal(tr->ops->launch(tr, &how, &t, &err), 0);
	struct user_regs_struct gp, after;
	assert_int_equal(t->ops->gp_read(t, t->pid, &gp), 0);
	go_all(t, RESUME_STEP, t->pid);
	assert_int_equal(next().stop.kind, STOP_STEP);
	assert_int_equal(t->ops->gp_read(t, t->pid, &after), 0);
	assert_int_not_equal(gp.rip, after.rip);

	uint64_t block;
	assert_int_equal(t->ops->alloc->alloc(t, 5000, PROT_READ | PROT_WRITE, &block), 0);
	assert_int_equal(t->ops->write->mem_write(t, block + 4990, "0123456789", 10), 0);
	struct user_regs_struct same;
	assert_int_equal(t->ops->gp_read(t, t->pid, &same), 0);
	assert_memory_equal(&same, &after, sizeof(same));
	assert_int_equal(t->ops->alloc->free(t, block), 0);
	assert_int_equal(t->ops->write->mem_write(t, block, "0", 1), -EFAULT);

	go_all(t, RESUME_CONT, 0);
	struct target_event ev = next();
	assert_int_equal(ev.stop.kind, STOP_EXITED);
	assert_int_equal(ev.stop.status, 3);
	t->ops->close(t);

	char *missing[] = { "/nonexistent/program", NULL };
	how.argv = missing;
	int r = tr->ops->launch(tr, &how, &t, &err);
	assert_int_equal(r, -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/program"));
	how.shell = true;
	assert_true(tr->ops->launch(tr, &how, &t, &err) < 0);
	assert_non_null(strstr(err.text, "exited with code 127"));
}

static void killed_from_outside_while_stopped(void **state _unused_)
{
	pid_t pid = child_of(spin_threads);
	wait_up(8);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	kill(pid, SIGKILL);
	usleep(20000);
	tr->ops->collect(tr);
	go_all(t, RESUME_CONT, 0);
	struct target_event ev = next();
	assert_int_equal(ev.stop.kind, STOP_KILLED);
	assert_int_equal(ev.stop.signo, SIGKILL);
	t->ops->close(t);
}

static void kill_ends_it(void **state _unused_)
{
	pid_t pid = child_of(spin_threads);
	wait_up(8);
	struct target *t = attach(pid);
	tr->ops->stop_all(tr);
	assert_int_equal(t->ops->run->kill(t), 0);
	t->ops->close(t);
	assert_int_equal(kill(pid, 0), -1);
}

static int set_up(void **state _unused_)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	tr = live_tracer_new(NULL);
	if (getenv("LIVE_LOG"))
		log_enable("all", NULL);
	return tr ? 0 : -1;
}

static int tear_down(void **state _unused_)
{
	tr->ops->free(tr);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hits_a_breakpoint_as_often_as_it_is_run),
		cmocka_unit_test(all_threads_hit_and_stop),
		cmocka_unit_test(internal_points_stand_beside_the_clients),
		cmocka_unit_test(a_step_can_hold_signals),
		cmocka_unit_test(a_hold_ends),
		cmocka_unit_test(a_call_where_traps_are_blocked),
		cmocka_unit_test(an_address_takes_so_many_numbers),
		cmocka_unit_test(a_watchpoint_stops_every_thread_that_writes),
		cmocka_unit_test(signals_arrive_as_asked),
		cmocka_unit_test(a_fault_under_a_false_condition_reaches_its_handler),
		cmocka_unit_test(interrupt_and_attach_again_and_again),
		cmocka_unit_test(an_interrupt_outlasts_a_halt),
		cmocka_unit_test(sees_every_signal_that_waits),
		cmocka_unit_test(threads_that_come_and_go),
		cmocka_unit_test(a_vfork_child_of_what_is_alone),
		cmocka_unit_test(the_end_of_steps_is_told),
		cmocka_unit_test(an_exec_beside_a_leader_that_stands),
		cmocka_unit_test(launches_steps_and_sees_the_end),
		cmocka_unit_test(killed_from_outside_while_stopped),
		cmocka_unit_test(kill_ends_it),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
