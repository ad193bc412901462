/*
 * patch_test.c - conditions that run in the debuggee: every pass is counted, every hit that counts is a stop, nothing is left behind.
 */
#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#include "base/log.h"
#include "target/ax.h"
#include "target/live/live.h"
#include "target/x86/regs.h"

struct shared {
	volatile unsigned long threads_up, go, done, rounds, stop, signals, odd;
	volatile unsigned long sums[64];
	/* by thread, of functions that count both the displaced instruction and the one behind it: sums is the first of the two */
	volatile unsigned long behind[64], calls[64];
	volatile unsigned long turns[64]; /* counted in a register */
};

/* In the program's own memory, so that conditions may read it, but seen by both sides of a fork. */
static uint8_t shared_place[8192] __attribute__((aligned(4096)));
static struct shared *shared;
/* Memory that could be unmapped. */
static volatile unsigned long *passing;
static struct tracer *tr;

/*
 * Each function begins with an instruction of another length or kind, and adds rsi to *rdi. Behind is what decides where a jump that is
 * longer than the instruction leads to.
 */
#define BEGINS_WITH(name, first, second)                                                    \
	void name(volatile unsigned long *sum, unsigned long value);                        \
	__asm__(".text\n.p2align 4\n.globl " #name "\n" #name ":\n	" first "\n" second \
		"\n	ret\n.fill 16, 1, 0x90\n")

BEGINS_WITH(first_long, "lea shared(%rip), %rax", "lock addq %rsi, (%rdi)");
BEGINS_WITH(first_nop5, "nopl 0(%rax,%rax)", "lock addq %rsi, (%rdi)");
BEGINS_WITH(first_four, "mov 8(%rsp), %r8", "lock addq %rsi, (%rdi)");
BEGINS_WITH(first_three, "mov %rdi, %r9", "lock addq %rsi, (%r9)");
BEGINS_WITH(first_push, "push %rbx", "lock addq %rsi, (%rdi)\n	pop %rbx");
BEGINS_WITH(first_jump, "cmp $0, %rdi\n	jmp 1f\n	ud2\n1:", "lock addq %rsi, (%rdi)");
BEGINS_WITH(first_call, "call 2f\n	ret\n2:", "lock addq %rsi, (%rdi)");
BEGINS_WITH(first_locked, "lock addq %rsi, (%rdi)", "nop");
BEGINS_WITH(first_syscall, "mov $39, %eax\n	syscall", "lock addq %rsi, (%rdi)");

/* The displaced instruction counts, and so does the one behind it: in sums and in behind. */
BEGINS_WITH(counts_short, "add %rsi, (%rdi)", "add %rsi, 512(%rdi)");
BEGINS_WITH(counts_long, ".byte 0x48, 0x83, 0x87\n	.long 0\n	.byte 1",
	    "add %rsi, 512(%rdi)");
BEGINS_WITH(counts_call, "call 2f\n	ret\n2:", "add %rsi, (%rdi)\n	add %rsi, 512(%rdi)");
BEGINS_WITH(counts_vector,
	    "paddq 1f(%rip), %xmm7\n	jmp 2f\n	.p2align 4\n1:	.quad 1, 1\n2:",
	    "add %rsi, (%rdi)\n	add %rsi, 512(%rdi)");

static void (*const functions[])(volatile unsigned long *, unsigned long) = {
	first_long,  first_nop5,  first_four,    first_three,   first_push,
	first_jump,  first_call,  first_locked,  first_syscall, counts_short,
	counts_long, counts_call, counts_vector,
};

enum { FUNCTIONS = sizeof(functions) / sizeof(functions[0]) };

static void on_signal(int signo _unused_)
{
	__atomic_add_fetch(&shared->signals, 1, __ATOMIC_SEQ_CST);
}

static size_t worker_count;
static int which;
static bool one_processor, blocks_all;

/* Rounds are asked for and done: between them nobody is on the way. */
static void *work(void *arg)
{
	unsigned long seen = 0, number = (unsigned long)arg;
	__atomic_add_fetch(&shared->threads_up, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		while (__atomic_load_n(&shared->go, __ATOMIC_SEQ_CST) == seen) {
			if (shared->stop)
				return NULL;
			usleep(100);
		}
		seen = shared->go;
		register unsigned long turns __asm__("rbx") = 0;
		for (; turns < shared->rounds && !shared->stop; turns++) {
			functions[which](&shared->sums[number], 1);
			shared->calls[number]++;
			__asm__ volatile("" : "+r"(turns));
		}
		shared->turns[number] += turns;
		__atomic_add_fetch(&shared->done, 1, __ATOMIC_SEQ_CST);
	}
}

static pid_t start(size_t workers, int function)
{
	memset((void *)shared, 0, sizeof(*shared));
	worker_count = workers;
	which = function;
	pid_t pid = fork();
	if (pid)
		goto parent;
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGUSR1, on_signal);
	signal(SIGALRM, on_signal);
	sigset_t all;
	sigfillset(&all);
	if (blocks_all)
		sigprocmask(SIG_SETMASK, &all, NULL);
	if (one_processor) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(0, &set);
		sched_setaffinity(0, sizeof(set), &set);
	}
	pthread_t threads[64];
	for (size_t i = 1; i < workers; i++)
		pthread_create(&threads[i], NULL, work, (void *)i);
	work(NULL);
	for (size_t i = 1; i < workers; i++)
		pthread_join(threads[i], NULL);
	_exit(7);
parent:
	for (int i = 0; i < 5000 && shared->threads_up < workers; i++)
		usleep(1000);
	assert_int_equal(shared->threads_up, workers);
	return pid;
}

static unsigned long total(void)
{
	unsigned long sum = 0;
	for (size_t i = 0; i < 64; i++)
		sum += shared->sums[i];
	return sum;
}

static int same_number(void *ctx _unused_, unsigned number)
{
	return (int)number;
}

static void insert(struct target *t, uint64_t addr, const uint8_t *code, size_t len)
{
	struct point p = { .kind = POINT_SW, .addr = addr, .len = 1 };
	struct err err = { 0 };
	if (len) {
		p.conditions = calloc(1, sizeof(*p.conditions));
		p.condition_count = 1;
		if (ax_compile(code, len, same_number, NULL, p.conditions, &err) < 0)
			fail_msg("%s", err.text);
	}
	if (t->ops->points->insert(t, &p, &err) < 0)
		fail_msg("%s", err.text);
}

static void takes_out(struct target *t, uint64_t addr)
{
	assert_int_equal(t->ops->points->remove(
				 t, &(struct point){ .kind = POINT_SW, .addr = addr, .len = 1 }),
			 0);
}

/* rsi == 3 */
static const uint8_t is_three[] = { 0x26, 0, X86_RSI, 0x22, 3, 0x13, 0x27 };
/* *(long *)rdi % 1000 == 999 */
static const uint8_t is_999[] = { 0x26, 0,    X86_RDI, 0x1a, 0x23, 0x03, 0xe8,
				  0x08, 0x23, 0x03,    0xe7, 0x13, 0x27 };
static struct target *attach(pid_t pid)
{
	struct target *t;
	struct err err = { 0 };
	if (tr->ops->attach(tr, pid, &t, &err) < 0)
		fail_msg("%s", err.text);
	return t;
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

static bool next_within(struct target_event *ev, int limit_ms)
{
	for (int i = 0; i < limit_ms / 2 + 1; i++) {
		if (tr->ops->next_event(tr, ev))
			return true;
		struct pollfd pfd = { tr->ops->fd(tr), POLLIN, 0 };
		poll(&pfd, 1, 2);
		tr->ops->collect(tr);
	}
	return tr->ops->next_event(tr, ev);
}

static struct point_way way(struct target *t, uint64_t addr)
{
	struct point_way w;
	assert_int_equal(t->ops->points->way(t, addr, &w), 0);
	return w;
}

static bool is_compiled(const struct point_way *w)
{
	return strstr(w->how, "compiled");
}

static bool compiled_now(struct target *t, uint64_t addr)
{
	struct point_way w = way(t, addr);
	return is_compiled(&w);
}

/* Stops everybody, whatever they say meanwhile. */
static void halt(void)
{
	struct target_event ev;
	tr->ops->stop_all(tr);
	while (tr->ops->next_event(tr, &ev))
		;
}

static void begin_rounds(unsigned long rounds)
{
	shared->done = 0;
	shared->rounds = rounds;
	__atomic_add_fetch(&shared->go, 1, __ATOMIC_SEQ_CST);
}

static double now_s(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void run_rounds(struct target *t, unsigned long rounds)
{
	struct target_event ev;
	begin_rounds(rounds);
	go_all(t, RESUME_CONT, 0);
	for (double end = now_s() + 20; shared->done < worker_count && now_s() < end;) {
		if (next_within(&ev, 2))
			fail_msg("an event of kind %d signal %d", ev.stop.kind, ev.stop.signo);
	}
	assert_int_equal(shared->done, worker_count);
	halt();
}

static void raw_bytes(pid_t pid, uint64_t addr, uint8_t *into)
{
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	assert_int_equal(fseek(file, (long)addr, SEEK_SET), 0);
	assert_int_equal(fread(into, 1, 16, file), 16);
	fclose(file);
}

static size_t mappings(pid_t pid)
{
	char path[32], line[512];
	size_t n = 0;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	FILE *file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		n++;
	if (file)
		fclose(file);
	return n;
}

static void end(struct target *t, pid_t pid)
{
	int status;
	if (t) {
		assert_int_equal(t->ops->run->detach(t, false), 0);
		t->ops->close(t);
	}
	shared->stop = 1;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status))
		fail_msg("ended with status %#x", status);
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void pass_signals(bool on)
{
	sigset_t pass;
	sigemptyset(&pass);
	if (on) {
		sigaddset(&pass, SIGUSR1);
		sigaddset(&pass, SIGALRM);
		sigaddset(&pass, SIGCHLD);
	}
	tr->ops->set_pass_signals(tr, &pass);
}

/* ---- */

static void every_kind_of_instruction(void **state _unused_)
{
	static const bool refused[FUNCTIONS] = { [7] = true };
	size_t compiled = 0;

	for (int f = 0; f < (int)FUNCTIONS; f++) {
		uint64_t addr = (uint64_t)functions[f];
		uint8_t before[16], now[16];
		size_t got;
		pid_t pid = start(2, f);
		size_t maps = mappings(pid);
		struct target *t = attach(pid);
		halt();
		raw_bytes(pid, addr, before);
		insert(t, addr, is_three, sizeof(is_three));
		run_rounds(t, 20000);
		struct point_way w = way(t, addr);
		print_message("%d: %s%s%s\n", f, w.how, *w.why ? ": " : "", w.why);
		assert_int_equal(w.passed, 2 * 20000);
		assert_int_equal(total(), 2 * 20000);
		compiled += is_compiled(&w);
		assert_false(refused[f] && is_compiled(&w));
		/* Nobody sees it. */
		assert_int_equal(t->ops->mem_read(t, addr, now, 16, &got), 0);
		assert_memory_equal(before, now, 16);
		for (unsigned i = 1; i < 8; i++) {
			assert_int_equal(t->ops->mem_read(t, addr + i, now, 8, &got), 0);
			assert_memory_equal(before + i, now, 8);
			assert_int_equal(t->ops->mem_read(t, addr - 4, now, 4 + i, &got), 0);
			assert_memory_equal(before, now + 4, i);
		}
		run_rounds(t, 1000);
		assert_int_equal(way(t, addr).passed, 2 * 21000);
		assert_int_equal(t->ops->run->detach(t, false), 0);
		t->ops->close(t);
		raw_bytes(pid, addr, now);
		assert_memory_equal(before, now, 16);
		assert_int_equal(mappings(pid), maps);
		begin_rounds(100);
		end(NULL, pid);
	}
	assert_true(compiled >= 5);
}

static void rain(pid_t pid, size_t count)
{
	for (size_t i = 0; i < count; i++)
		kill(pid, SIGUSR1);
}

/* Threads, a storm of signals and interrupts, other breakpoints coming and going: the counter is the number of calls. */
static void counts_exactly(void **state _unused_)
{
	static const size_t threads[] = { 1, 8, 64 };
	static const int kinds[] = { 0, 2, 3 };
	pass_signals(true);
	for (size_t i = 0; i < 9; i++) {
		uint64_t addr = (uint64_t)functions[kinds[i / 3]];
		size_t workers = threads[i % 3], halts = 0;
		struct target_event ev;
		pid_t pid = start(workers, kinds[i / 3]);
		struct target *t = attach(pid);
		halt();
		insert(t, addr, is_three, sizeof(is_three));
		unsigned long rounds = 6000000 / workers;
		begin_rounds(rounds);
		for (double end = now_s() + 30; shared->done < workers && now_s() < end; halts++) {
			go_all(t, RESUME_CONT, 0);
			rain(pid, 3);
			if (next_within(&ev, (int)(halts % 5)))
				fail_msg("an event of kind %d signal %d", ev.stop.kind,
					 ev.stop.signo);
			halt();
			if (halts % 5 == 4)
				insert(t, (uint64_t)first_syscall, is_three, sizeof(is_three));
			if (halts % 10 == 9)
				takes_out(t, (uint64_t)first_syscall);
			if (halts % 4 == 3) {
				takes_out(t, addr);
				insert(t, addr, is_three, sizeof(is_three));
			}
		}
		assert_int_equal(shared->done, workers);
		struct point_way w = way(t, addr);
		print_message("%zu threads, %zu halts, %lu signals: %lu of %lu, %s\n", workers,
			      halts, shared->signals, (unsigned long)w.passed, rounds * workers,
			      w.how);
		assert_int_equal(total(), rounds * workers);
		assert_int_equal(w.passed, rounds * workers);
		end(t, pid);
	}
	pass_signals(false);
}

static void settle_down(struct target *t, size_t workers)
{
	struct target_event ev;
	shared->rounds = 0;
	go_all(t, RESUME_CONT, 0);
	for (double end = now_s() + 60; shared->done < workers && now_s() < end;)
		(void)next_within(&ev, 5);
	halt();
	assert_int_equal(shared->done, workers);
}

/* All on one processor, halted as often as can be: no displaced instruction is executed twice or not at all, no pass counted twice. */
static void never_twice(void **state _unused_)
{
	static const size_t threads[] = { 1, 3, 16 };
	static const int kinds[] = { 9, 10, 11, 12 };
	const char *how_long = getenv("PATCH_SECONDS");
	double budget = how_long ? atof(how_long) : 0.15;
	unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();

	print_message("seed %u\n", seed);
	pass_signals(true);
	for (size_t i = 0; i < 24; i++) {
		int kind = kinds[i / 3 % 4];
		uint64_t addr = (uint64_t)functions[kind];
		size_t workers = threads[i % 3], halts = 0, compiled = 0;
		struct target_event ev;
		one_processor = i < 12;
		pid_t pid = start(workers, kind);
		struct target *t = attach(pid);
		halt();
		insert(t, addr, is_three, sizeof(is_three));
		begin_rounds(UINT64_C(1) << 60);
		for (double end = now_s() + budget; now_s() < end; halts++) {
			go_all(t, RESUME_CONT, 0);
			rain(pid, (size_t)rand_r(&seed) % 3);
			if (tr->ops->next_event(tr, &ev))
				fail_msg("an event of kind %d signal %d", ev.stop.kind,
					 ev.stop.signo);
			unsigned mode = (unsigned)rand_r(&seed) % 16;
			if (mode == 0)
				(void)next_within(&ev, 20);
			else if (mode > 3)
				usleep((unsigned)rand_r(&seed) % 300);
			if (mode == 1 || mode == 2) {
				tr->ops->set_fast_conditions(tr, mode == 2);
				if (rand_r(&seed) % 2)
					(void)next_within(&ev, 1);
			}
			halt();
			compiled += compiled_now(t, addr);
			if (rand_r(&seed) % 4 == 0) {
				takes_out(t, addr);
				insert(t, addr, is_three, sizeof(is_three));
			}
			unsigned long sum = 0;
			for (size_t w = 0; w < 64; w++)
				sum += shared->calls[w];
			unsigned long passed = way(t, addr).passed;
			if (passed - sum > workers)
				fail_msg("halt %zu: passed %lu times in %lu calls of %zu threads",
					 halts, passed, sum, workers);
		}
		tr->ops->set_fast_conditions(tr, true);
		settle_down(t, workers);
		struct point_way w = way(t, addr);
		unsigned long calls = 0;
		for (size_t n = 0; n < workers; n++)
			calls += shared->calls[n];
		print_message("kind %d, %zu threads, %zu halts, %zu compiled, %lu signals: %lu of "
			      "%lu, %s\n",
			      kind, workers, halts, compiled, shared->signals,
			      (unsigned long)w.passed, calls, w.how);
		for (size_t n = 0; n < workers; n++) {
			assert_int_equal(shared->sums[n], shared->calls[n]);
			assert_int_equal(shared->behind[n], shared->calls[n]);
			assert_int_equal(shared->turns[n], shared->calls[n]);
		}
		assert_int_equal(w.passed, calls);
		end(t, pid);
	}
	one_processor = false;
	pass_signals(false);
}

/* One is due while everybody is halted for the other. */
static void two_at_once(void **state _unused_)
{
	const uint64_t first = (uint64_t)counts_long, second = first + 8;
	pid_t pid = start(8, 10);

	begin_rounds(UINT64_C(1) << 60);
	for (int visit = 0; visit < 30; visit++) {
		struct target_event ev;
		struct target *t = attach(pid);
		halt();
		insert(t, first, is_three, sizeof(is_three));
		insert(t, second, is_three, sizeof(is_three));
		go_all(t, RESUME_CONT, 0);
		for (double end = now_s() + 20; now_s() < end;) {
			assert_false(next_within(&ev, 1));
			if (compiled_now(t, first) && compiled_now(t, second))
				break;
		}
		halt();
		struct point_way a = way(t, first), b = way(t, second);
		if (!is_compiled(&a) || !is_compiled(&b))
			fail_msg("visit %d: %s %s, %s %s", visit, a.how, a.why, b.how, b.why);
		assert_int_equal(t->ops->run->detach(t, false), 0);
		t->ops->close(t);
	}
	end(NULL, pid);
}

/* The same with a debugger that comes and goes while the threads run. */
static void nothing_twice_when_it_goes(void **state _unused_)
{
	static const int kinds[] = { 9, 10, 11, 12 };
	const char *how_long = getenv("PATCH_SECONDS");
	double budget = how_long ? atof(how_long) : 0.3;
	unsigned seed = (unsigned)time(NULL) ^ (unsigned)getpid();

	pass_signals(true);
	for (size_t i = 0; i < 8; i++) {
		size_t workers = i % 2 ? 8 : 2, visits = 0, compiled = 0;
		uint64_t addr = (uint64_t)functions[kinds[i / 2]];
		struct target_event ev;
		one_processor = i % 4 < 2;
		pid_t pid = start(workers, kinds[i / 2]);
		size_t maps = mappings(pid);
		struct target *t;
		begin_rounds(UINT64_C(1) << 60);
		for (double end = now_s() + budget; now_s() < end; visits++) {
			t = attach(pid);
			halt();
			insert(t, addr, is_three, sizeof(is_three));
			go_all(t, RESUME_CONT, 0);
			rain(pid, (size_t)rand_r(&seed) % 4);
			for (int k = rand_r(&seed) % 100; k && !compiled_now(t, addr); k--)
				(void)next_within(&ev, 1);
			compiled += compiled_now(t, addr);
			usleep((unsigned)rand_r(&seed) % 300);
			assert_int_equal(t->ops->run->detach(t, false), 0);
			t->ops->close(t);
		}
		t = attach(pid);
		halt();
		settle_down(t, workers);
		print_message("kind %d, %zu threads, %zu visits, %zu compiled\n", kinds[i / 2],
			      workers, visits, compiled);
		for (size_t n = 0; n < workers; n++) {
			assert_int_equal(shared->sums[n], shared->calls[n]);
			assert_int_equal(shared->behind[n], shared->calls[n]);
			assert_int_equal(shared->turns[n], shared->calls[n]);
		}
		assert_true(mappings(pid) <= maps + workers);
		end(t, pid);
	}
	one_processor = false;
	pass_signals(false);
}

/* Each hit that counts is one stop, at the point, with the registers of the program. */
static void stops_where_it_is_true(void **state _unused_)
{
	uint64_t addr = (uint64_t)first_long;
	struct target_event ev;
	pid_t pid = start(4, 0);
	struct target *t = attach(pid);
	halt();
	insert(t, addr, is_999, sizeof(is_999));
	begin_rounds(20000);
	size_t hits = 0, compiled = 0;
	for (double end = now_s() + 20; shared->done < 4 && now_s() < end;) {
		struct user_regs_struct gp;
		go_all(t, RESUME_CONT, 0);
		if (!next_within(&ev, 20)) {
			halt();
			continue;
		}
		assert_int_equal(ev.stop.kind, STOP_SWBREAK);
		tr->ops->stop_all(tr);
		assert_int_equal(t->ops->gp_read(t, ev.tid, &gp), 0);
		assert_int_equal(gp.rip, addr);
		assert_int_equal(gp.rsi, 1);
		assert_int_equal(*(unsigned long *)gp.rdi % 1000, 999);
		hits++;
		struct point_way w = way(t, addr);
		compiled += is_compiled(&w);
		/* As gdb does. */
		takes_out(t, addr);
		assert_int_equal(t->ops->run->resume(t, ev.tid,
						     &(struct resume){ .action = RESUME_STEP }),
				 0);
		tr->ops->commit(tr, true);
		struct target_event stepped = { 0 };
		assert_true(next_within(&stepped, 2000));
		assert_int_equal(stepped.stop.kind, STOP_STEP);
		tr->ops->stop_all(tr);
		assert_int_equal(t->ops->gp_read(t, ev.tid, &gp), 0);
		assert_int_equal(gp.rip, addr + 7);
		insert(t, addr, is_999, sizeof(is_999));
	}
	halt();
	assert_int_equal(total(), 80000);
	assert_int_equal(hits, 80);
	assert_int_equal(way(t, addr).passed, 80000 - 80);
	assert_true(compiled > 40);
	end(t, pid);
}

/* *(long *)ADDR == 1 */
static void equals_one(uint64_t addr, uint8_t code[14])
{
	code[0] = 0x25;
	for (int i = 0; i < 8; i++)
		code[1 + i] = (uint8_t)(addr >> (56 - 8 * i));
	memcpy(code + 9, (uint8_t[]){ 0x1a, 0x22, 1, 0x13, 0x27 }, 5);
}

/* What may be unmapped is not read by the program: where it would trap each time, it is an int3 again, and says why. */
static void leaves_alone_what_may_go(void **state _unused_)
{
	uint64_t addr = (uint64_t)first_nop5;
	uint8_t code[14];
	pid_t pid = start(1, 1);
	struct target *t = attach(pid);
	struct target_event ev;

	halt();
	equals_one((uint64_t)passing, code);
	insert(t, addr, code, sizeof(code));
	run_rounds(t, 10000);
	struct point_way w = way(t, addr);
	assert_false(is_compiled(&w));
	assert_non_null(strstr(w.why, "give back"));
	assert_int_equal(w.passed, 10000);
	*passing = 1;
	begin_rounds(1);
	go_all(t, RESUME_CONT, 0);
	assert_true(next_within(&ev, 20000));
	assert_int_equal(ev.stop.kind, STOP_SWBREAK);
	halt();
	*passing = 0;
	takes_out(t, addr);
	settle_down(t, 1);
	/* The program's own is. */
	equals_one((uint64_t)&shared->odd, code);
	insert(t, addr, code, sizeof(code));
	run_rounds(t, 10000);
	assert_true(compiled_now(t, addr));
	end(t, pid);
}

/* What every thread blocks matters no more: nothing that is compiled can fault. */
static void compiles_where_signals_are_blocked(void **state _unused_)
{
	uint64_t addr = (uint64_t)first_nop5;
	uint8_t code[14];

	blocks_all = true;
	pid_t pid = start(3, 1);
	blocks_all = false;
	struct target *t = attach(pid);
	halt();
	equals_one((uint64_t)&shared->odd, code);
	insert(t, addr, code, sizeof(code));
	run_rounds(t, 10000);
	assert_true(compiled_now(t, addr));
	assert_int_equal(way(t, addr).passed, 30000);
	end(t, pid);
}

/* The server's own points of a number are conditions like the client's; one without a condition sees every hit. */
static void numbers_are_compiled_too(void **state _unused_)
{
	uint64_t addr = (uint64_t)first_long;
	pid_t pid = start(2, 0);
	struct target *t = attach(pid);
	struct target_event ev;
	struct err err = { 0 };
	struct point own = { .kind = POINT_SW, .number = 7, .addr = addr, .len = 1 };

	halt();
	own.conditions = calloc(1, sizeof(*own.conditions));
	own.condition_count = 1;
	assert_int_equal(ax_compile(is_999, sizeof(is_999), same_number, NULL, own.conditions,
				    &err),
			 0);
	assert_int_equal(t->ops->points->insert(t, &own, &err), 0);
	begin_rounds(5000);
	size_t hits = 0, compiled = 0;
	for (double end = now_s() + 40; shared->done < 2 && now_s() < end;) {
		go_all(t, RESUME_CONT, 0);
		if (next_within(&ev, 20)) {
			assert_int_equal(ev.stop.kind, STOP_SWBREAK);
			assert_int_equal(ev.stop.number, 7);
			hits++;
		}
		halt();
		compiled += compiled_now(t, addr);
	}
	assert_int_equal(hits, 10);
	assert_int_equal(total(), 10000);
	assert_true(compiled > 3);

	/* A client's beside it: both decide. */
	insert(t, addr, is_three, sizeof(is_three));
	assert_false(compiled_now(t, addr));
	shared->rounds = 0;
	for (size_t i = 0; i < 64; i++)
		shared->sums[i] = 1000;
	run_rounds(t, 900);
	assert_true(compiled_now(t, addr));
	assert_int_equal(way(t, addr).passed, 1800);
	/* One that wants every hit ends it, and when it goes the stub is there again. */
	struct point all = { .kind = POINT_SW, .number = 8, .addr = addr, .len = 1 };
	assert_int_equal(t->ops->points->insert(t, &all, &err), 0);
	assert_false(compiled_now(t, addr));
	begin_rounds(1);
	go_all(t, RESUME_CONT, 0);
	assert_true(next_within(&ev, 20000));
	assert_int_equal(ev.stop.number, 8);
	halt();
	assert_int_equal(t->ops->points->remove(t, &all), 0);
	own = (struct point){ .kind = POINT_SW, .number = 7, .addr = addr, .len = 1 };
	assert_int_equal(t->ops->points->remove(t, &own), 0);
	settle_down(t, 2);
	run_rounds(t, 900);
	assert_true(compiled_now(t, addr));
	end(t, pid);
}

/* A fault of the condition is a hit: it is for the client to say what it means. The program does not notice. */
static void a_fault_is_a_hit(void **state _unused_)
{
	uint64_t addr = (uint64_t)first_nop5;
	struct target_event ev = { 0 };
	struct user_regs_struct gp;
	pid_t pid = start(1, 1);
	struct target *t = attach(pid);
	halt();
	/* rdi is readable for as long as it takes to be compiled. */
	static const uint8_t by_odd[] = { 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0x1a, 0x1a, 0x27 };
	uint8_t code[sizeof(by_odd)];
	memcpy(code, by_odd, sizeof(code));
	for (int i = 0; i < 8; i++)
		code[1 + i] = (uint8_t)((uint64_t)&shared->odd >> (56 - 8 * i));
	shared->odd = (unsigned long)&shared->sums[63];
	insert(t, addr, code, sizeof(code));
	run_rounds(t, 5000);
	struct point_way w = way(t, addr);
	assert_true(is_compiled(&w));
	assert_int_equal(w.passed, 5000);
	static const unsigned long bad[] = { 8, 0x8000000000000000, 0xfffffffffffffff0 };
	for (size_t i = 0; i < 3; i++) {
		shared->odd = bad[i];
		unsigned long before = total();
		if (i == 0)
			begin_rounds(50);
		go_all(t, RESUME_CONT, 0);
		assert_true(next_within(&ev, 3000));
		assert_int_equal(ev.stop.kind, STOP_SWBREAK);
		assert_int_equal(t->ops->gp_read(t, ev.tid, &gp), 0);
		assert_int_equal(gp.rip, addr);
		assert_true(total() - before <= 1);
		halt();
		takes_out(t, addr);
		go_all(t, RESUME_STEP, ev.tid);
		assert_true(next_within(&ev, 3000));
		assert_int_equal(ev.stop.kind, STOP_STEP);
		halt();
		insert(t, addr, code, sizeof(code));
	}
	end(t, pid);
}

static void what_comes_near_makes_it_an_int3(void **state _unused_)
{
	uint64_t addr = (uint64_t)first_long;
	pid_t pid = start(2, 0);
	uint8_t before[16], now[16];
	struct target *t = attach(pid);
	struct err err = { 0 };
	halt();
	raw_bytes(pid, addr, before);
	insert(t, addr, is_three, sizeof(is_three));
	run_rounds(t, 2000);
	struct point_way w = way(t, addr);
	assert_true(is_compiled(&w));

	/* Stepped onto and over. */
	/* A watchpoint, which goes again. */
	struct point watch = { .kind = POINT_WRITE, .addr = (uint64_t)&shared->odd, .len = 8 };
	assert_int_equal(t->ops->points->insert(t, &watch, &err), 0);
	w = way(t, addr);
	assert_false(is_compiled(&w));
	raw_bytes(pid, addr, now);
	assert_int_equal(now[0], 0xcc);
	assert_memory_equal(before + 1, now + 1, 15);
	run_rounds(t, 2000);
	w = way(t, addr);
	assert_non_null(strstr(w.why, "watchpoint"));
	assert_int_equal(t->ops->points->remove(t, &watch), 0);
	run_rounds(t, 2000);
	w = way(t, addr);
	assert_true(is_compiled(&w));

	/* The server's own, which goes again. */
	struct point own = { .kind = POINT_SW, .internal = true, .addr = addr, .len = 1 };
	own.conditions = calloc(1, sizeof(*own.conditions));
	own.condition_count = 1;
	assert_int_equal(ax_compile(is_three, sizeof(is_three), same_number, NULL, own.conditions,
				    &err),
			 0);
	assert_int_equal(t->ops->points->insert(t, &own, &err), 0);
	run_rounds(t, 2000);
	w = way(t, addr);
	assert_false(is_compiled(&w));
	own = (struct point){ .kind = POINT_SW, .internal = true, .addr = addr, .len = 1 };
	assert_int_equal(t->ops->points->remove(t, &own), 0);
	run_rounds(t, 2000);
	w = way(t, addr);
	assert_true(is_compiled(&w));
	assert_int_equal(w.passed, 2 * 5 * 2000);

	/* Switched off, and on. */
	tr->ops->set_fast_conditions(tr, false);
	w = way(t, addr);
	assert_false(is_compiled(&w));
	run_rounds(t, 1000);
	tr->ops->set_fast_conditions(tr, true);
	run_rounds(t, 1000);
	w = way(t, addr);
	assert_true(is_compiled(&w));

	/* A write on its code. */
	assert_int_equal(t->ops->write->mem_write(t, addr + 3, before + 3, 2), 0);
	w = way(t, addr);
	assert_false(is_compiled(&w));
	assert_non_null(strstr(w.why, "written"));

	/* Other conditions, and none. */
	insert(t, addr, is_999, sizeof(is_999));
	takes_out(t, addr);
	insert(t, addr, is_three, sizeof(is_three));
	run_rounds(t, 1000);
	w = way(t, addr);
	assert_true(is_compiled(&w));
	/* A breakpoint in the bytes of the jump. */
	insert(t, addr + 4, is_three, sizeof(is_three));
	w = way(t, addr);
	assert_false(is_compiled(&w));
	assert_non_null(strstr(w.why, "another"));
	takes_out(t, addr + 4);
	takes_out(t, addr);
	run_rounds(t, 10);
	raw_bytes(pid, addr, now);
	assert_memory_equal(before, now, 16);
	end(t, pid);
}

/* Stepped, range-stepped and resumed onto the point: it stops as at any breakpoint, and a false one is no stop. */
static void steps_through(void **state _unused_)
{
	uint64_t addr = (uint64_t)first_three;
	struct target_event ev = { 0 };
	struct user_regs_struct gp;
	pid_t pid = start(1, 3);
	struct target *t = attach(pid);
	halt();
	insert(t, addr, is_three, sizeof(is_three));
	run_rounds(t, 2000);
	unsigned long passed = way(t, addr).passed;
	begin_rounds(UINT64_C(1) << 60);
	size_t at_point = 0;
	go_all(t, RESUME_CONT, 0);
	while (shared->sums[0] < 2100)
		(void)next_within(&ev, 2);
	halt();
	for (int i = 0; i < 3000; i++) {
		assert_int_equal(t->ops->run->resume(t, pid,
						     &(struct resume){ .action = RESUME_STEP }),
				 0);
		tr->ops->commit(tr, true);
		assert_true(next_within(&ev, 2000));
		assert_int_equal(ev.stop.kind, STOP_STEP);
		assert_int_equal(t->ops->gp_read(t, pid, &gp), 0);
		at_point += gp.rip == addr;
		assert_true(gp.rip < addr || gp.rip >= addr + 3 || gp.rip == addr);
	}
	assert_true(at_point > 10);
	unsigned long calls = shared->sums[0];
	assert_true(way(t, addr).passed - passed + 2000 - calls <= 1);
	end(t, pid);
}

/* A child takes no jump along. */
static void fork_is_clean(void **state _unused_)
{
	uint8_t own_code[16];
	memcpy(own_code, (const void *)first_long, sizeof(own_code));
	memset((void *)shared, 0, sizeof(*shared));
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		shared->threads_up = 1;
		while (!shared->go)
			usleep(100);
		for (int i = 0; i < 3000; i++)
			first_long(&shared->sums[0], 1);
		for (int i = 0; i < 20; i++) {
			pid_t child = fork();
			if (child == 0) {
				for (int k = 0; k < 1000; k++)
					first_long(&shared->sums[1], 1 + (k == 500) * 2);
				_exit(memcmp((const void *)first_long, own_code, 16) != 0);
			}
			int status;
			waitpid(child, &status, 0);
			shared->odd += status != 0;
			pid_t spawned = vfork();
			if (spawned == 0)
				_exit(0);
			waitpid(spawned, &status, 0);
		}
		shared->done = 1;
		while (!shared->stop)
			usleep(100);
		_exit(7);
	}
	for (int i = 0; i < 5000 && !shared->threads_up; i++)
		usleep(1000);
	pass_signals(true);
	struct target *t = attach(pid);
	worker_count = 1;
	halt();
	insert(t, (uint64_t)first_long, is_three, sizeof(is_three));
	shared->go = 1;
	struct target_event ev;
	go_all(t, RESUME_CONT, 0);
	for (double end = now_s() + 20; !shared->done && now_s() < end;)
		if (next_within(&ev, 2))
			fail_msg("an event of kind %d signal %d", ev.stop.kind, ev.stop.signo);
	halt();
	struct point_way w = way(t, (uint64_t)first_long);
	assert_true(is_compiled(&w));
	assert_int_equal(w.passed, 3000);
	assert_int_equal(shared->sums[1], 20 * 1002);
	assert_int_equal(shared->odd, 0);
	pass_signals(false);
	end(t, pid);
}

/* Attach, compile, detach while it runs, again and again: nothing is left and nothing is lost. */
static void comes_and_goes(void **state _unused_)
{
	uint64_t addr = (uint64_t)first_four;
	struct target_event ev;
	uint8_t before[16], now[16];
	pass_signals(true);
	pid_t pid = start(8, 2);
	size_t maps = mappings(pid), compiled = 0;
	raw_bytes(pid, addr, before);
	begin_rounds(UINT64_C(1) << 60);
	for (int i = 0; i < 60; i++) {
		struct target *t = attach(pid);
		halt();
		insert(t, addr, is_three, sizeof(is_three));
		go_all(t, RESUME_CONT, 0);
		rain(pid, 5);
		assert_false(next_within(&ev, 20));
		struct point_way w = way(t, addr);
		compiled += is_compiled(&w);
		assert_int_equal(t->ops->run->detach(t, false), 0);
		t->ops->close(t);
		raw_bytes(pid, addr, now);
		assert_memory_equal(before, now, 16);
		/* A thread's stack may have come meanwhile, but no page of ours. */
		assert_true(mappings(pid) <= maps + 1);
	}
	print_message("compiled %zu times of 60\n", compiled);
	assert_true(compiled > 30);
	pass_signals(false);
	end(NULL, pid);
}

static void says_how_fast_it_is(void **state _unused_)
{
	static const size_t threads[] = { 1, 8, 64 };

	for (int i = 0; i < 3; i++) {
		pid_t pid = start(threads[i], 0);
		uint64_t addr = (uint64_t)first_long;
		struct target *t = attach(pid);
		halt();
		insert(t, addr, is_three, sizeof(is_three));
		run_rounds(t, 300);
		unsigned long rounds = 5000000 / threads[i];
		double from = now_s();
		run_rounds(t, rounds);
		print_message("%zu threads: %.1f million a second\n", worker_count,
			      (double)(rounds * worker_count) / (now_s() - from) / 1e6);
		end(t, pid);
	}
}

static int set_up(void **state _unused_)
{
	struct err err = { 0 };
	static_assert(sizeof(*shared) <= sizeof(shared_place), "they share all of it");
	shared = mmap(shared_place, sizeof(shared_place), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	passing = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	tr = live_tracer_new(&err);
	if (!tr || shared == MAP_FAILED)
		return -1;
	if (getenv("LIVE_LOG"))
		log_enable("all", NULL);
	tr->ops->set_fast_conditions(tr, true);
	return 0;
}

static int tear_down(void **state _unused_)
{
	tr->ops->free(tr);
	return 0;
}

/* patch_test [PATTERN]: those whose name matches. */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_instruction),
		cmocka_unit_test(counts_exactly),
		cmocka_unit_test(never_twice),
		cmocka_unit_test(two_at_once),
		cmocka_unit_test(nothing_twice_when_it_goes),
		cmocka_unit_test(stops_where_it_is_true),
		cmocka_unit_test(leaves_alone_what_may_go),
		cmocka_unit_test(compiles_where_signals_are_blocked),
		cmocka_unit_test(numbers_are_compiled_too),
		cmocka_unit_test(a_fault_is_a_hit),
		cmocka_unit_test(what_comes_near_makes_it_an_int3),
		cmocka_unit_test(steps_through),
		cmocka_unit_test(fork_is_clean),
		cmocka_unit_test(comes_and_goes),
		cmocka_unit_test(says_how_fast_it_is),
	};
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
