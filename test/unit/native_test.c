/*
 * native_test.c - conditions as machine code: the same verdicts as ax_eval(), and at no instruction of a stub is anything of the
 * program's lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#include "native_run.h"
#include "target/ax_code.h"

static uint64_t seed = 1;

static uint64_t next_random(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return seed >> 11 ^ seed << 40;
}

static unsigned below(unsigned limit)
{
	return (unsigned)(next_random() % limit);
}

static int map_register(void *ctx _unused_, unsigned number)
{
	return number < 60 ? (int)number : -1;
}

/* ---- random expressions */

struct maker {
	uint8_t code[4096];
	size_t size;
	int height;
};

static void put(struct maker *m, unsigned value)
{
	m->code[m->size++] = (uint8_t)value;
}

static void put_big_endian(struct maker *m, uint64_t value, unsigned count)
{
	while (count--)
		put(m, (unsigned)(value >> 8 * count));
}

static void make_push(struct maker *m)
{
	static const uint64_t values[] = { 0,          1,   2, 64, 63, UINT64_C(0x8000000000000000),
					   UINT64_MAX, 0x80 };
	switch (below(4)) {
	case 0:
		put(m, AXCODE_CONST8);
		put(m, below(256));
		break;
	case 1:
		put(m, AXCODE_CONST64);
		put_big_endian(m, below(3) ? values[below(8)] : next_random(), 8);
		break;
	default:
		put(m, AXCODE_REG);
		put_big_endian(m, below(18), 2);
		break;
	}
	m->height++;
}

/* An address that can be read, mostly, and the value there. */
static void make_load(struct maker *m)
{
	if (below(3)) {
		put(m, AXCODE_CONST64);
		put_big_endian(m, NATIVE_DATA_AT + below(below(4) ? 0xff8 : 0x1010), 8);
	} else {
		put(m, AXCODE_REG);
		put_big_endian(m, below(16), 2);
	}
	put(m, AXCODE_REF8 + below(4));
	m->height++;
}

static void make_ops(struct maker *m, int count, int depth);

/* height stays: cond ? a : b */
static void make_choice(struct maker *m, int depth)
{
	make_push(m);
	put(m, AXCODE_IF_GOTO);
	size_t taken = m->size;
	put_big_endian(m, 0, 2);
	int height = --m->height;
	make_push(m);
	make_ops(m, (int)below(4), depth + 1);
	while (m->height > height + 1) {
		put(m, AXCODE_POP);
		m->height--;
	}
	put(m, AXCODE_GOTO);
	size_t past = m->size;
	put_big_endian(m, 0, 2);
	m->code[taken] = (uint8_t)(m->size >> 8);
	m->code[taken + 1] = (uint8_t)m->size;
	m->height = height;
	make_push(m);
	m->code[past] = (uint8_t)(m->size >> 8);
	m->code[past + 1] = (uint8_t)m->size;
}

static void make_unary(struct maker *m)
{
	static const uint8_t ops[] = { AXCODE_LOG_NOT, AXCODE_BIT_NOT, AXCODE_DUP, AXCODE_EXT,
				       AXCODE_ZERO_EXT };
	unsigned op = ops[below(sizeof(ops))];
	put(m, op);
	if (op == AXCODE_DUP)
		m->height++;
	else if (op == AXCODE_EXT || op == AXCODE_ZERO_EXT)
		put(m, 1 + below(70));
}

static void make_ops(struct maker *m, int count, int depth)
{
	static const uint8_t binaries[] = {
		AXCODE_ADD,          AXCODE_SUB,          AXCODE_MUL,          AXCODE_DIV_SIGNED,
		AXCODE_DIV_UNSIGNED, AXCODE_REM_SIGNED,   AXCODE_REM_UNSIGNED, AXCODE_LSH,
		AXCODE_RSH_SIGNED,   AXCODE_RSH_UNSIGNED, AXCODE_BIT_AND,      AXCODE_BIT_OR,
		AXCODE_BIT_XOR,      AXCODE_EQUAL,        AXCODE_LESS_SIGNED,  AXCODE_LESS_UNSIGNED
	};
	int bottom = m->height;
	while (count-- > 0) {
		unsigned what = below(12);
		int own = m->height - bottom;
		if (own < 1 || (what < 3 && m->height < NATIVE_CELLS_MAX - 3)) {
			make_push(m);
		} else if (what == 3 && m->height < NATIVE_CELLS_MAX - 2) {
			make_load(m);
		} else if (what == 4 && depth < 3 && m->height < NATIVE_CELLS_MAX - 4) {
			make_choice(m, depth);
		} else if (what == 5 && m->height < NATIVE_CELLS_MAX - 1) {
			put(m, AXCODE_PICK);
			put(m, below((unsigned)m->height));
			m->height++;
		} else if (what == 6 && own >= 3) {
			put(m, AXCODE_ROT);
		} else if (what == 7 && own >= 2) {
			put(m, AXCODE_SWAP);
		} else if (own >= 2 && what > 8) {
			put(m, binaries[below(sizeof(binaries))]);
			m->height--;
		} else {
			make_unary(m);
			if (m->height >= NATIVE_CELLS_MAX - 1) {
				put(m, AXCODE_POP);
				m->height--;
			}
		}
	}
}

static struct ax *random_expression(void)
{
	struct maker m = { .size = 0 };
	struct err err = { 0 };
	struct ax *ax = NULL;
	make_ops(&m, 1 + (int)below(14), 0);
	if (m.height > 1 && below(2)) {
		put(&m, AXCODE_EQUAL);
		m.height--;
	}
	put(&m, AXCODE_END);
	if (ax_compile(m.code, m.size, map_register, NULL, &ax, &err) < 0)
		fail_msg("the test makes nonsense: %s", err.text);
	return ax;
}

/* ---- in this process */

static void makes(struct ax *const *conditions, size_t count, const struct insn *in,
		  struct native *ret)
{
	const char *why = "";
	if (native_make(conditions, count, in, NULL, NATIVE_POINT, NATIVE_STUB_AT, NATIVE_COUNT_AT,
			ret, &why) < 0)
		fail_msg("not compiled: %s", why);
}

static const char *const end_names[] = { "none", "false", "trap", "fault" };

static void random_expressions_have_their_verdict(void **state _unused_)
{
	static struct native n;
	volatile uint64_t *passed = (uint64_t *)NATIVE_COUNT_AT;
	uint8_t *stack = (uint8_t *)NATIVE_STACK_AT;
	unsigned ends[4] = { 0 };
	struct insn nop;

	assert_true(native_nop(&nop));
	for (int i = 0; i < 30000; i++) {
		uint64_t was = seed;
		struct ax *conditions[2] = { random_expression(), random_expression() };
		size_t count = 1 + below(2);
		const char *why = NULL;
		int r = native_make(conditions, count, &nop, NULL, NATIVE_POINT, NATIVE_STUB_AT,
				    NATIVE_COUNT_AT, &n, &why);
		if (r < 0 && strcmp(why, "the condition is too large") != 0)
			fail_msg("%s (seed %#lx)", why, was);
		for (int k = 0; r == 0 && k < 3; k++) {
			native_random_regs(next_random);
			memset(stack, 0x5a, NATIVE_STACK_SIZE);
			int expected = native_expected(conditions, count);
			uint64_t before = *passed;
			enum native_end end = native_run(&n),
					want = expected == 0         ? NATIVE_END_FALSE
					       : expected == -EFAULT ? NATIVE_END_FAULT
								     : NATIVE_END_TRAP;
			if (end != want)
				fail_msg("ends with %s, the evaluator says %d (seed %#lx)",
					 end_names[end], expected, was);
			ends[end]++;
			assert_int_equal(*passed, before + (expected == 0));
			native_out.flags &= ~UINT64_C(0x10000);
			assert_memory_equal(&native_in, &native_out, sizeof(native_in));
			uint64_t zone = native_in.rsp - 128 - NATIVE_STACK_AT;
			for (uint64_t at = 0; at < NATIVE_STACK_SIZE; at++)
				assert_true(stack[at] == 0x5a ||
					    (at < zone && at >= zone - NATIVE_STACK_MAX));
		}
		ax_free(conditions[0]);
		ax_free(conditions[1]);
	}
	print_message("%u false, %u trapped, %u faulted\n", ends[1], ends[2], ends[3]);
	for (int i = 1; i < 4; i++)
		assert_true(ends[i] > 2000);
}

static struct ax *expression(const uint8_t *code, size_t len)
{
	struct err err = { 0 };
	struct ax *ax = NULL;
	if (ax_compile(code, len, map_register, NULL, &ax, &err) < 0)
		fail_msg("%s", err.text);
	return ax;
}

/* What is not known to be there is not read: no stub faults, and none says false that the evaluator does not. */
static void reads_only_what_is_there(void **state _unused_)
{
	static struct native n;
	static const struct native_memory known[] = {
		{ .spans = { { NATIVE_DATA_AT, NATIVE_DATA_AT + 0x1000 } }, .count = 1 },
		{ .spans = { { NATIVE_COUNT_AT, NATIVE_COUNT_AT + 4 },
			     { NATIVE_DATA_AT + 8, NATIVE_DATA_AT + 0xff0 },
			     { NATIVE_COUNT_AT, NATIVE_DATA_AT } },
		  .count = 3 },
		{ .count = 0 },
	};
	unsigned ends[4] = { 0 };
	struct insn nop;

	assert_true(native_nop(&nop));
	for (int i = 0; i < 20000; i++) {
		uint64_t was = seed;
		struct ax *ax = random_expression();
		const char *why = NULL;
		int r = native_make(&ax, 1, &nop, &known[i % 3], NATIVE_POINT, NATIVE_STUB_AT,
				    NATIVE_COUNT_AT, &n, &why);
		for (int k = 0; r == 0 && k < 3; k++) {
			native_random_regs(next_random);
			if (k == 0) /* near the end of a page, and of the stack */
				native_in.rsp =
					NATIVE_STACK_AT + 0x1000 * (1 + below(2)) - 8 * below(40);
			int expected = native_expected(&ax, 1);
			enum native_end end = native_run(&n);
			ends[end]++;
			if (end == NATIVE_END_FAULT || (end == NATIVE_END_FALSE && expected))
				fail_msg("ends with %s, the evaluator says %d (seed %#lx)",
					 end_names[end], expected, was);
			native_out.flags &= ~UINT64_C(0x10000);
			assert_memory_equal(&native_in, &native_out, sizeof(native_in));
		}
		ax_free(ax);
	}
	print_message("%u false, %u trapped\n", ends[1], ends[2]);
	assert_true(ends[1] > 2000 && ends[2] > 2000);
}

/* One load by a register: which addresses are read, which are left to others. */
static void reads_the_stack_and_the_spans(void **state _unused_)
{
	/* *(long *)rdi & 0 */
	static const uint8_t code[] = { 0x26, 0, X86_RDI, 0x1a, 0x22, 0, 0x0f, 0x27 };
	static const struct native_memory memory = {
		.spans = { { NATIVE_DATA_AT + 0x100, NATIVE_DATA_AT + 0x200 } }, .count = 1
	};
	static const struct native_memory large = {
		.spans = { { NATIVE_DATA_AT, NATIVE_DATA_AT + (UINT64_C(1) << 33) } }, .count = 1
	};
	const uint64_t rsp = NATIVE_STACK_AT + 0x1ff0;
	const struct {
		uint64_t at;
		bool is_read;
	} cases[] = {
		{ NATIVE_DATA_AT + 0xff, false },
		{ NATIVE_DATA_AT + 0x100, true },
		{ NATIVE_DATA_AT + 0x1f8, true },
		{ NATIVE_DATA_AT + 0x1f9, false },
		{ NATIVE_STACK_AT + 0x1ff8, true },
		{ NATIVE_STACK_AT + 0x1ff9, false },
		{ rsp, true },
		{ rsp - 8, true },
		{ rsp - 128, true },
		{ rsp - 0x400, false },
		{ NATIVE_STACK_AT + 0x2000, false },
		{ 0, false },
		{ UINT64_MAX, false },
		{ UINT64_MAX - 7, false },
		{ UINT64_C(1) << 63, false },
	};
	static struct native n;
	struct insn nop;
	const char *why = NULL;
	struct ax *ax = expression(code, sizeof(code));

	assert_true(native_nop(&nop));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(native_make(&ax, 1, &nop, &memory, NATIVE_POINT, NATIVE_STUB_AT,
					     NATIVE_COUNT_AT, &n, &why),
				 0);
		native_random_regs(next_random);
		native_in.rsp = rsp;
		native_in.rdi = cases[i].at;
		enum native_end end = native_run(&n);
		if (end != (cases[i].is_read ? NATIVE_END_FALSE : NATIVE_END_TRAP))
			fail_msg("%#lx: ends with %s", cases[i].at, end_names[end]);
	}
	assert_int_equal(native_make(&ax, 1, &nop, &large, NATIVE_POINT, NATIVE_STUB_AT,
				     NATIVE_COUNT_AT, &n, &why),
			 0);
	native_in.rdi = NATIVE_DATA_AT + 0x1000 - 8;
	assert_int_equal(native_run(&n), NATIVE_END_FALSE);
	native_in.rdi = NATIVE_DATA_AT - 1;
	assert_int_equal(native_run(&n), NATIVE_END_TRAP);
	ax_free(ax);
}

static void refuses_what_it_cannot_do(void **state _unused_)
{
	static const struct {
		uint8_t code[24];
		size_t len;
		const char *why;
	} cases[] = {
		{ { 0x22, 1, 0x20, 0, 0, 0x22, 0, 0x27 }, 8, "loop" },
		{ { 0x26, 0, X86_XMM0, 0x27 }, 4, "register" },
		{ { 0x26, 0, X86_FS_BASE, 0x27 }, 4, "register" },
		{ { 0x22, 0, 0x22, 0, 0x34, 0, 0, 2, 'x', 0, 0x22, 0, 0x27 }, 13, "prints" },
	};
	static struct native n;
	struct insn nop;

	assert_true(native_nop(&nop));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ax *ax = expression(cases[i].code, cases[i].len);
		const char *why = NULL;
		assert_true(native_make(&ax, 1, &nop, NULL, NATIVE_POINT, NATIVE_STUB_AT,
					NATIVE_COUNT_AT, &n, &why) < 0);
		assert_non_null(strstr(why, cases[i].why));
		ax_free(ax);
	}
	/* rdi == 3 in front of what cannot be displaced */
	static const uint8_t simple[] = { 0x26, 0, X86_RDI, 0x22, 3, 0x13, 0x27 };
	static const uint8_t fixed[][3] = {
		{ 0x0f, 0x05, 0 }, { 0xcc, 0, 0 }, { 0xcd, 0x80, 0 }, { 0x48, 0xcf, 0 }
	};
	struct ax *ax = expression(simple, sizeof(simple));
	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		struct insn in;
		const char *why = NULL;
		assert_int_equal(insn_decode(fixed[i], 3, &in), 0);
		assert_true(native_make(&ax, 1, &in, NULL, NATIVE_POINT, NATIVE_STUB_AT,
					NATIVE_COUNT_AT, &n, &why) < 0);
		assert_non_null(why);
	}
	const char *why = NULL;
	assert_int_equal(native_make(&ax, 1, &nop, NULL, NATIVE_POINT, NATIVE_STUB_AT,
				     NATIVE_STUB_AT + (UINT64_C(1) << 33), &n, &why),
			 -ERANGE);
	ax_free(ax);
}

/* ---- in a child, instruction by instruction: wherever it stops it can be put back */

static int peek(void *ctx, uint64_t addr, void *into, size_t len)
{
	struct iovec local = { into, len }, remote = { (void *)addr, len };
	return process_vm_readv(*(pid_t *)ctx, &local, 1, &remote, 1, 0) == (ssize_t)len ? 0
											 : -EFAULT;
}

static void same_registers(const struct user_regs_struct *a, const struct user_regs_struct *b)
{
	struct user_regs_struct x = *a, y = *b;
	/* Stepped, pushfq shows the trap flag. */
	x.eflags &= ~UINT64_C(0x10100), y.eflags &= ~UINT64_C(0x10100);
	x.orig_rax = y.orig_rax;
	x.rip = y.rip;
	assert_memory_equal(&x, &y, sizeof(x));
}

/* Steps a child through the stub from these registers; what its last step ended with. */
static int step_through(pid_t pid, const struct native *n, const struct user_regs_struct *from)
{
	struct user_regs_struct regs = *from, back;
	struct insn_mem mem = { .read = peek, .ctx = &pid };
	int status, last = NATIVE_ASKING;

	regs.rip = n->at;
	for (int i = 0; i < 2000; i++) {
		regs.orig_rax = ~0ull;
		assert_int_equal(ptrace(PTRACE_SETREGS, pid, 0, &regs), 0);
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, 0, 0), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
		assert_int_equal(ptrace(PTRACE_GETREGS, pid, 0, &regs), 0);
		regs.eflags &= ~UINT64_C(0x100);
		back = regs;
		siginfo_t si;
		assert_int_equal(ptrace(PTRACE_GETSIGINFO, pid, 0, &si), 0);
		if (si.si_signo == SIGTRAP && si.si_code == SI_KERNEL)
			back.rip--;
		int place = native_leave(n, &back, &mem);
		if (place == NATIVE_ELSEWHERE) {
			assert_int_equal(last, NATIVE_PASSED);
			assert_int_equal(regs.rip, NATIVE_POINT + 5);
			same_registers(&regs, from);
			return NATIVE_END_FALSE;
		}
		if (place == NATIVE_BEHIND) {
			assert_int_equal(back.rip, NATIVE_POINT + 5);
			same_registers(&back, from);
			continue;
		}
		assert_true(place == last || (last == NATIVE_ASKING && place == NATIVE_PASSED));
		last = place;
		assert_int_equal(back.rip, NATIVE_POINT);
		same_registers(&back, from);
		if (si.si_signo != SIGTRAP || si.si_code == SI_KERNEL) {
			assert_int_equal(place, NATIVE_ASKING);
			return si.si_signo == SIGTRAP ? NATIVE_END_TRAP : NATIVE_END_FAULT;
		}
	}
	fail_msg("the stub has no end");
	return NATIVE_END_NONE;
}

static void can_be_left_at_every_instruction(void **state _unused_)
{
	static struct native n;
	static const struct native_memory known = {
		.spans = { { NATIVE_DATA_AT, NATIVE_DATA_AT + 0x1000 } }, .count = 1
	};
	struct user_regs_struct clean;
	unsigned ends[4] = { 0 };
	struct insn nop;
	int status;

	pid_t pid = fork();
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL), 0);
	assert_int_equal(ptrace(PTRACE_GETREGS, pid, 0, &clean), 0);
	assert_true(native_nop(&nop));
	for (int i = 0; i < 400; i++) {
		struct ax *ax = random_expression();
		const char *why = NULL;
		if (native_make(&ax, 1, &nop, i % 2 ? &known : NULL, NATIVE_POINT, NATIVE_STUB_AT,
				NATIVE_COUNT_AT, &n, &why) == 0) {
			memcpy((void *)NATIVE_STUB_AT, n.code, n.size);
			native_random_regs(next_random);
			struct native_regs *in = &native_in;
			in->flags &= ~UINT64_C(
				0x400); /* the child shares no stack with a handler, but be tidy */
			struct user_regs_struct from = clean;
			from.rax = in->rax, from.rbx = in->rbx, from.rcx = in->rcx,
			from.rdx = in->rdx;
			from.rsi = in->rsi, from.rdi = in->rdi, from.rbp = in->rbp,
			from.rsp = in->rsp;
			from.r8 = in->r8, from.r9 = in->r9, from.r10 = in->r10, from.r11 = in->r11;
			from.r12 = in->r12, from.r13 = in->r13, from.r14 = in->r14,
			from.r15 = in->r15;
			from.eflags = in->flags;
			ends[step_through(pid, &n, &from)]++;
		}
		ax_free(ax);
	}
	assert_true(ends[NATIVE_END_FALSE] > 10 && ends[NATIVE_END_TRAP] > 10 &&
		    ends[NATIVE_END_FAULT] > 10);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- speed: not judged, but printed */

static void says_how_fast_it_is(void **state _unused_)
{
	/* rdi == 3 and *(int *)(rsi + 8) != 0 */
	static const uint8_t both[] = { 0x26, 0,    X86_RDI, 0x22, 3,       0x13, 0x0e, 0x20,
					0,    21,   0x26,    0,    X86_RSI, 0x22, 8,    0x02,
					0x19, 0x0e, 0x0e,    0x27, 0x27,    0x22, 0,    0x27 };
	static struct native n;
	struct insn nop;
	struct ax *ax = expression(both, sizeof(both));
	struct timespec from, to;
	enum { TURNS = 200000 };

	assert_true(native_nop(&nop));
	makes(&ax, 1, &nop, &n);
	memcpy((void *)NATIVE_STUB_AT, n.code, n.size);
	native_random_regs(next_random);
	native_in.rdi = 4;
	native_in.flags = 0x202;
	native_go_to = NATIVE_STUB_AT;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < TURNS; i++)
		native_enter();
	clock_gettime(CLOCK_MONOTONIC, &to);
	double ns = (double)(to.tv_sec - from.tv_sec) * 1e9 + (double)(to.tv_nsec - from.tv_nsec);
	print_message("%u bytes, %.0f ns a pass, the harness included\n", n.size, ns / TURNS);
	ax_free(ax);
}

static int set_up(void **state _unused_)
{
	native_setup();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_expressions_have_their_verdict),
		cmocka_unit_test(reads_only_what_is_there),
		cmocka_unit_test(reads_the_stack_and_the_spans),
		cmocka_unit_test(refuses_what_it_cannot_do),
		cmocka_unit_test(can_be_left_at_every_instruction),
		cmocka_unit_test(says_how_fast_it_is),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
