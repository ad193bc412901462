#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "target/x86/dregs.h"

static void splits_into_aligned_pieces(void **state _unused_)
{
	static const struct {
		uint64_t addr, len;
		uint64_t piece[4];
		uint8_t size[4];
	} cases[] = {
		{ 0x1000, 8, { 0x1000 }, { 8 } },
		{ 0x1004, 4, { 0x1004 }, { 4 } },
		{ 0x1001, 1, { 0x1001 }, { 1 } },
		{ 0x1001, 2, { 0x1001, 0x1002 }, { 1, 1 } },
		{ 0x1001, 7, { 0x1001, 0x1002, 0x1004 }, { 1, 2, 4 } },
		{ 0x1001, 8, { 0x1001, 0x1002, 0x1004, 0x1008 }, { 1, 2, 4, 1 } },
		{ 0x1004, 8, { 0x1004, 0x1008 }, { 4, 4 } },
		{ 0x1000, 32, { 0x1000, 0x1008, 0x1010, 0x1018 }, { 8, 8, 8, 8 } },
		{ 0x1000, 3, { 0x1000, 0x1002 }, { 2, 1 } },
		{ 0xffffffffffefff, 1, { 0xffffffffffefff }, { 1 } },
	};
	static const uint8_t bits[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dregs d = { 0 };
		assert_int_equal(dregs_insert(&d, POINT_WRITE, cases[i].addr, cases[i].len), 0);
		uint64_t dr7 = 0;
		for (unsigned k = 0; k < 4; k++) {
			assert_int_equal(dregs_addr(&d, k), cases[i].piece[k]);
			if (cases[i].size[k])
				dr7 |= 1ull << 2 * k | (uint64_t)(1 | bits[cases[i].size[k]] << 2)
							       << (16 + 4 * k);
		}
		assert_int_equal(dregs_control(&d), dr7);
		assert_int_equal(dregs_remove(&d, POINT_WRITE, cases[i].addr, cases[i].len), 0);
		assert_int_equal(dregs_control(&d), 0);
	}
}

static void refuses_what_x86_cannot(void **state _unused_)
{
	struct dregs d = { 0 };
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1000, 0), -EINVAL);
	assert_int_equal(dregs_insert(&d, POINT_HW, 0x1000, 4), -EINVAL);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, ~0ull, 1), -EINVAL);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, ~0ull, 8), -EINVAL);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 1ull << 60, 4), -EINVAL);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1000, ~0ull), -EINVAL);
	assert_int_equal(dregs_insert(&d, POINT_READ, 0x1000, 4), -EOPNOTSUPP);
	assert_int_equal(dregs_insert(&d, POINT_SW, 0x1000, 1), -EOPNOTSUPP);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1000, 33), -ENOSPC);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1001, 16), -ENOSPC);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1000, 1ull << 40), -ENOSPC);
	assert_int_equal(dregs_remove(&d, POINT_WRITE, 0x1000, 4), -ENOENT);
	assert_int_equal(dregs_control(&d), 0);
}

static void all_or_nothing_and_shared(void **state _unused_)
{
	struct dregs d = { 0 };
	assert_int_equal(dregs_insert(&d, POINT_HW, 0x401000, 1), 0);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1000, 16), 0);
	uint64_t before = dregs_control(&d);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x2004, 8), -ENOSPC);
	assert_int_equal(dregs_control(&d), before);
	/* parts of what is there cost nothing; the same point twice neither */
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1008, 8), 0);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1000, 16), 0);
	assert_int_equal(dregs_control(&d), before);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1008, 16), 0); /* one more register */
	assert_int_equal(dregs_addr(&d, 3), 0x1010);
	assert_int_equal(dregs_insert(&d, POINT_ACCESS, 0x1008, 8), -ENOSPC);
	assert_int_equal(dregs_remove(&d, POINT_WRITE, 0x1000, 16), 0);
	assert_int_equal(dregs_addr(&d, 1), 0x1000); /* still once */
	assert_int_equal(dregs_remove(&d, POINT_WRITE, 0x1000, 16), 0);
	assert_int_equal(dregs_addr(&d, 1), 0);
	assert_int_equal(dregs_addr(&d, 2), 0x1008); /* kept its register */
	assert_int_equal(dregs_remove(&d, POINT_WRITE, 0x1000, 16), -ENOENT);
	assert_int_equal(dregs_remove(&d, POINT_WRITE, 0x1008, 16), 0);
	assert_int_equal(dregs_remove(&d, POINT_WRITE, 0x1008, 8), 0);
	assert_int_equal(dregs_remove(&d, POINT_HW, 0x401000, 1), 0);
	assert_int_equal(dregs_control(&d), 0);
}

static void hits_name_their_points(void **state _unused_)
{
	struct dregs d = { .filters_reads = true };
	struct dregs_hit hits[DREGS_POINTS_MAX];
	assert_int_equal(dregs_insert(&d, POINT_HW, 0x401000, 1), 0);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, 0x1001, 3), 0); /* 1, 2 */
	assert_int_equal(dregs_insert(&d, POINT_READ, 0x2000, 4), 0);
	assert_int_equal(dregs_insert(&d, POINT_ACCESS, 0x2000, 4), 0);
	uint64_t addrs[4] = { 0x401000, 0x1001, 0x1002, 0x2000 };

	assert_int_equal(dregs_hits(&d, 0, addrs, hits), 0);
	assert_int_equal(dregs_hits(&d, 0x4000, addrs, hits), 0);
	assert_int_equal(dregs_hits(&d, 4, addrs, hits), 1);
	assert_int_equal(hits[0].kind, POINT_WRITE);
	assert_int_equal(hits[0].addr, 0x1001);
	assert_int_equal(hits[0].len, 3);
	assert_int_equal(hits[0].piece_addr, 0x1002);
	assert_int_equal(hits[0].piece_len, 2);
	assert_int_equal(dregs_hits(&d, 6, NULL, hits), 1); /* both pieces, one point */
	assert_int_equal(dregs_hits(&d, 8, addrs, hits), 2);
	assert_int_equal(dregs_hits(&d, 0xffff0fff, addrs, hits), 4);
	assert_int_equal(hits[3].kind, POINT_HW);
	/* the register has been given away since */
	addrs[2] = 0x9000;
	assert_int_equal(dregs_hits(&d, 4, addrs, hits), 0);
	assert_int_equal(dregs_remove(&d, POINT_READ, 0x2000, 4), 0);
	assert_int_equal(dregs_hits(&d, 8, addrs, hits), 1);
	dregs_clear(&d);
	assert_true(d.filters_reads);
	assert_int_equal(dregs_hits(&d, 0xf, addrs, hits), 0);
}

static uint8_t watched[32] __attribute__((aligned(32)));

static void __attribute__((noinline)) stepping_stone(void)
{
	__asm__ volatile("");
}

static _Noreturn void run_child(void)
{
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	((volatile uint8_t *)watched)[8] = 1; /* outside */
	__asm__ volatile("movl $5, 3(%0)" : : "r"(watched) : "memory");
	__asm__ volatile("movb (%0), %%al" : : "r"(watched + 17) : "rax");
	stepping_stone();
	_exit(7);
}

static int poke(pid_t pid, unsigned number, uint64_t value)
{
	return (int)ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg[number]), value);
}

static size_t next_hit(pid_t pid, const struct dregs *d, struct dregs_hit *hits)
{
	int status;
	assert_int_equal(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status)) {
		assert_int_equal(WEXITSTATUS(status), 7);
		return 0;
	}
	assert_int_equal(WSTOPSIG(status), SIGTRAP);
	uint64_t addrs[4];
	for (unsigned i = 0; i < 4; i++)
		addrs[i] = (uint64_t)ptrace(PTRACE_PEEKUSER, pid,
					    offsetof(struct user, u_debugreg[i]), 0);
	uint64_t dr6 =
		(uint64_t)ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[6]), 0);
	poke(pid, 6, 0);
	return dregs_hits(d, dr6, addrs, hits);
}

static void the_processor_agrees(void **state _unused_)
{
	struct dregs d = { 0 };
	struct dregs_hit hits[DREGS_POINTS_MAX];
	uint64_t base = (uint64_t)watched, stone = (uint64_t)stepping_stone;
	assert_int_equal(dregs_insert(&d, POINT_WRITE, base + 1, 6),
			 0); /* 1@1 2@2 2@4 1@6: all four */
	dregs_clear(&d);
	assert_int_equal(dregs_insert(&d, POINT_WRITE, base + 6, 2), 0);
	assert_int_equal(dregs_insert(&d, POINT_ACCESS, base + 16, 2), 0);
	assert_int_equal(dregs_insert(&d, POINT_HW, stone, 1), 0);
	pid_t pid = fork();
	if (pid == 0)
		run_child();
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(poke(pid, i, dregs_addr(&d, i)), 0);
	assert_int_equal(poke(pid, 7, dregs_control(&d)), 0);

	assert_int_equal(next_hit(pid, &d, hits), 1);
	assert_int_equal(hits[0].addr, base + 6);
	assert_int_equal(next_hit(pid, &d, hits), 1);
	assert_int_equal(hits[0].kind, POINT_ACCESS);
	assert_int_equal(hits[0].addr, base + 16);
	assert_int_equal(next_hit(pid, &d, hits), 1);
	assert_int_equal(hits[0].kind, POINT_HW);
	assert_int_equal(hits[0].addr, stone);
	poke(pid, 7, 0);
	assert_int_equal(next_hit(pid, &d, hits), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_into_aligned_pieces),
		cmocka_unit_test(refuses_what_x86_cannot),
		cmocka_unit_test(all_or_nothing_and_shared),
		cmocka_unit_test(hits_name_their_points),
		cmocka_unit_test(the_processor_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
