#include <errno.h>
#include <elf.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "target/x86/regs.h"

static void names_and_numbers_agree(void **state _unused_)
{
	assert_string_equal(x86_reg_name(0), "rax");
	assert_string_equal(x86_reg_name(16), "rip");
	assert_string_equal(x86_reg_name(24), "st0");
	assert_string_equal(x86_reg_name(39), "fop");
	assert_string_equal(x86_reg_name(56), "mxcsr");
	assert_string_equal(x86_reg_name(60), "ymm0h");
	assert_string_equal(x86_reg_name(147), "zmm31h");
	assert_null(x86_reg_name(X86_REG_COUNT));
	assert_int_equal(x86_reg_by_name("no"), -1);
	size_t total = 0;
	for (unsigned i = 0; i < X86_REG_COUNT; i++) {
		assert_int_equal(x86_reg_by_name(x86_reg_name(i)), i);
		assert_in_range(x86_reg_size(i), 4, X86_REG_SIZE_MAX);
		/* the g packet's offsets: 816 bytes with AVX, 2416 with AVX-512 */
		if (i == X86_XMM16)
			assert_int_equal(total, 816);
		if (i == X86_PKRU)
			assert_int_equal(total, 2416);
		total += x86_reg_size(i);
	}
}

static void tag_word_expands_and_packs(void **state _unused_)
{
	struct xstate xs = { .size = 512 };
	/* top 6: st0 is physical 6, st1 physical 7, st2 physical 0 */
	xs.data[3] = 6 << 3;
	xs.data[4] = 0xc1;
	xs.data[32 + 7] = 0x80, xs.data[32 + 8] = 0xff, xs.data[32 + 9] = 0x3f; /* st0 = 1.0 */
	xs.data[64 + 8] = 0xff, xs.data[64 + 9] = 0x7f;                         /* st2 = special */
	uint32_t tag;
	assert_int_equal(x86_reg_get(X86_FTAG, NULL, &xs, &tag), 0);
	/* from 7 down: zero, valid, five empty, special */
	assert_int_equal(tag, 0x4ffe);
	tag = 0x7ffc;
	assert_int_equal(x86_reg_set(X86_FTAG, NULL, &xs, &tag), 0);
	assert_int_equal(xs.data[4], 0x81);
	uint8_t wide[32];
	assert_int_equal(x86_reg_get(X86_YMM0H, NULL, &xs, wide), -ENODATA);
	assert_int_equal(x86_reg_get(X86_YMM0H, NULL, NULL, wide), -ENODATA);
	assert_int_equal(x86_reg_get(X86_PL3_SSP, NULL, &xs, wide), -ENODATA);
}

/* An area as a kernel on that machine would write it. */
static void make_xstate(struct xstate *xs, uint64_t xcr0, uint64_t bv, size_t size)
{
	memset(xs, 0xa5, sizeof(*xs));
	xs->size = size;
	memcpy(xs->data + 464, &xcr0, 8);
	memcpy(xs->data + 512, &bv, 8);
}

static void clear_bits_mean_the_initial_state(void **state _unused_)
{
	static struct xstate xs;
	make_xstate(&xs, 0x2e7, 0, 2696);
	uint8_t v[32], zero[32] = { 0 };
	for (unsigned i = 0; i < X86_PL3_SSP; i++) {
		if (x86_reg_is_gp(i))
			continue;
		uint32_t want = i == X86_FCTRL   ? 0x37f
				: i == X86_FTAG  ? 0xffff
				: i == X86_MXCSR ? 0x1f80
						 : 0;
		memset(v, 0x5a, sizeof(v));
		assert_int_equal(x86_reg_get(i, NULL, &xs, v), 0);
		assert_memory_equal(v, &want, 4);
		assert_memory_equal(v + 4, zero, x86_reg_size(i) - 4);
	}
	/* Writing one register of a component leaves the others at their initial values. */
	uint8_t ones[32];
	memset(ones, 0xff, sizeof(ones));
	assert_int_equal(x86_reg_set(X86_ST0 + 3, NULL, &xs, ones), 0);
	assert_int_equal(xs.data[512], 1);
	uint32_t word;
	x86_reg_get(X86_FCTRL, NULL, &xs, &word);
	assert_int_equal(word, 0x37f);
	x86_reg_get(X86_FTAG, NULL, &xs, &word);
	assert_int_equal(word, 0xffff);
	x86_reg_get(X86_MXCSR, NULL, &xs, &word);
	assert_int_equal(word, 0x1f80);
	assert_int_equal(x86_reg_set(X86_YMM0H + 2, NULL, &xs, ones), 0);
	assert_int_equal(xs.data[512], 5);
	x86_reg_get(X86_MXCSR, NULL, &xs, &word);
	assert_int_equal(word, 0x1f80);
	x86_reg_get(X86_YMM0H + 2, NULL, &xs, v);
	assert_memory_equal(v, ones, 16);
	x86_reg_get(X86_YMM0H + 3, NULL, &xs, v);
	assert_memory_equal(v, zero, 16);
	x86_reg_get(X86_XMM0 + 3, NULL, &xs, v);
	assert_memory_equal(v, zero, 16);
	word = 0x9fc0;
	assert_int_equal(x86_reg_set(X86_MXCSR, NULL, &xs, &word), 0);
	assert_int_equal(xs.data[512], 7);
	x86_reg_get(X86_XMM0 + 3, NULL, &xs, v);
	assert_memory_equal(v, zero, 16);
	x86_reg_get(X86_MXCSR, NULL, &xs, &word);
	assert_int_equal(word, 0x9fc0);
}

static void layouts_of_other_machines_are_told_by_size(void **state _unused_)
{
	static struct xstate xs;
	struct x86_features f;
	uint32_t pkru;
	make_xstate(&xs, 0x2e7, 0x2e7, 2696);
	memcpy(xs.data + 2688, "\x54\x55\x55\x55", 4);
	assert_int_equal(x86_reg_get(X86_PKRU, NULL, &xs, &pkru), 0);
	assert_int_equal(pkru, 0x55555554);
	x86_features_of(&xs, &f);
	assert_true(f.avx && f.avx512 && f.pkeys);
	make_xstate(&xs, 0x2e7, 0x2e7, 2440);
	memcpy(xs.data + 2432, "\x11\x22\x33\x44", 4);
	assert_int_equal(x86_reg_get(X86_PKRU, NULL, &xs, &pkru), 0);
	assert_int_equal(pkru, 0x44332211);
	/* a core that lies about its size */
	make_xstate(&xs, 0x2e7, 0x2e7, 900);
	assert_int_equal(x86_reg_get(X86_PKRU, NULL, &xs, &pkru), -ENODATA);
	make_xstate(&xs, ~0ull, ~0ull, 600);
	assert_int_equal(x86_reg_get(X86_ZMM0H, NULL, &xs, &pkru), -ENODATA);
	make_xstate(&xs, 7, 7, 832);
	x86_features_of(&xs, &f);
	assert_true(f.avx && !f.avx512 && !f.pkeys);
	assert_int_equal(x86_reg_get(X86_K0, NULL, &xs, &pkru), -ENODATA);
	xs.size = SIZE_MAX;
	assert_int_equal(x86_reg_get(X86_XMM0, NULL, &xs, &pkru), -ENODATA);
}

static void general_registers_are_bounded(void **state _unused_)
{
	struct user_regs_struct gp = {
		.rax = 0x1122334455667788, .eflags = 0x246, .gs = 0x2b, .orig_rax = ~0ull
	};
	uint64_t v = 0;
	assert_int_equal(x86_reg_get(X86_RAX, &gp, NULL, &v), 0);
	assert_int_equal(v, gp.rax);
	v = 0;
	assert_int_equal(x86_reg_get(X86_GS, &gp, NULL, &v), 0);
	assert_int_equal(v, 0x2b);
	v = 0x33;
	gp.cs = ~0ull;
	assert_int_equal(x86_reg_set(X86_CS, &gp, NULL, &v), 0);
	assert_int_equal(gp.cs, 0x33);
	assert_int_equal(x86_reg_set(9999, &gp, NULL, &v), -ENODATA);
}

enum { PATTERN_SIZE = 32 * 64 };
static uint8_t patterns[PATTERN_SIZE], seen[PATTERN_SIZE];

/* Loads every vector register the machine has, x87 and MXCSR, stops, and stores what it finds then.
 */
static _Noreturn void run_child(const struct x86_features *f)
{
	static const long double pi = 3.14159265358979323846L;
	static const uint32_t mxcsr = 0x3f80;
	static uint32_t mxcsr_after;
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	__asm__ volatile("fninit; fldt %0; fldz; ldmxcsr %1" : : "m"(pi), "m"(mxcsr));
	if (f->avx512)
		__asm__ volatile("vmovdqu64 (%0), %%zmm0; vmovdqu64 64*5(%0), %%zmm5; vmovdqu64 "
				 "64*17(%0), %%zmm17\n"
				 "vmovdqu64 64*31(%0), %%zmm31; kmovw %k1, %%k3; int3\n"
				 "vmovdqu64 %%zmm0, (%2); vmovdqu64 %%zmm5, 64*5(%2); vmovdqu64 "
				 "%%zmm17, 64*17(%2)\n"
				 "vmovdqu64 %%zmm31, 64*31(%2)"
				 :
				 : "r"(patterns), "r"(0x1234), "r"(seen)
				 : "memory");
	else if (f->avx)
		__asm__ volatile("vmovdqu (%0), %%ymm0; vmovdqu 64*5(%0), %%ymm5; int3\n"
				 "vmovdqu %%ymm0, (%1); vmovdqu %%ymm5, 64*5(%1)"
				 :
				 : "r"(patterns), "r"(seen)
				 : "memory");
	else
		__asm__ volatile("movdqu (%0), %%xmm0; movdqu 64*5(%0), %%xmm5; int3\n"
				 "movdqu %%xmm0, (%1); movdqu %%xmm5, 64*5(%1)"
				 :
				 : "r"(patterns), "r"(seen)
				 : "memory");
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr_after));
	bool good = mxcsr_after == 0x1f80 && seen[64 * 5] == 0x77 && seen[0] == patterns[0];
	if (f->avx)
		good = good && seen[64 * 5 + 16] == 0x66 &&
		       seen[64 * 5 + 31] == patterns[64 * 5 + 31];
	if (f->avx512)
		good = good && seen[64 * 5 + 32] == 0x55 && seen[64 * 31 + 48] == 0x44;
	_exit(good ? 42 : 1);
}

static void check_vector(const struct xstate *xs, unsigned reg, const uint8_t *want)
{
	uint8_t v[32];
	assert_int_equal(x86_reg_get(reg, NULL, xs, v), 0);
	assert_memory_equal(v, want, x86_reg_size(reg));
}

static void set_first_byte(struct xstate *xs, unsigned reg, size_t index, uint8_t byte)
{
	uint8_t v[32];
	assert_int_equal(x86_reg_get(reg, NULL, xs, v), 0);
	v[index] = byte;
	assert_int_equal(x86_reg_set(reg, NULL, xs, v), 0);
}

static void a_real_thread_agrees(void **state _unused_)
{
	struct x86_features f;
	x86_features_detect(&f);
	for (unsigned i = 0; i < PATTERN_SIZE; i++)
		patterns[i] = (uint8_t)(i * 7 + i / 64 + 1);
	pid_t pid = fork();
	if (pid == 0)
		run_child(&f);
	int status;
	static struct xstate xs;
	struct iovec iov = { xs.data, sizeof(xs.data) };
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL), 0);
	assert_int_equal(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
	assert_int_equal(ptrace(PTRACE_GETREGSET, pid, NT_X86_XSTATE, &iov), 0);
	xs.size = iov.iov_len;
	struct x86_features of;
	x86_features_of(&xs, &of);
	assert_int_equal(of.avx, f.avx);
	assert_int_equal(of.avx512, f.avx512);

	uint32_t word;
	x86_reg_get(X86_MXCSR, NULL, &xs, &word);
	assert_int_equal(word, 0x3f80);
	x86_reg_get(X86_FCTRL, NULL, &xs, &word);
	assert_int_equal(word, 0x37f);
	x86_reg_get(X86_FTAG, NULL, &xs, &word);
	assert_int_equal(word, 0x1fff); /* st0 (physical 6) zero, st1 (7) valid */
	uint8_t st[10];
	static const uint8_t pi[10] = {
		0x35, 0xc2, 0x68, 0x21, 0xa2, 0xda, 0x0f, 0xc9, 0x00, 0x40
	};
	x86_reg_get(X86_ST0 + 1, NULL, &xs, st);
	assert_memory_equal(st, pi, 10);
	check_vector(&xs, X86_XMM0, patterns);
	check_vector(&xs, X86_XMM0 + 5, patterns + 64 * 5);
	if (f.avx) {
		check_vector(&xs, X86_YMM0H, patterns + 16);
		check_vector(&xs, X86_YMM0H + 5, patterns + 64 * 5 + 16);
		set_first_byte(&xs, X86_YMM0H + 5, 0, 0x66);
	}
	if (f.avx512) {
		check_vector(&xs, X86_ZMM0H + 5, patterns + 64 * 5 + 32);
		check_vector(&xs, X86_XMM16 + 1, patterns + 64 * 17);
		check_vector(&xs, X86_YMM16H + 1, patterns + 64 * 17 + 16);
		check_vector(&xs, X86_ZMM31H, patterns + 64 * 31 + 32);
		uint64_t k3;
		assert_int_equal(x86_reg_get(X86_K0 + 3, NULL, &xs, &k3), 0);
		assert_int_equal(k3, 0x1234);
		set_first_byte(&xs, X86_ZMM0H + 5, 0, 0x55);
		set_first_byte(&xs, X86_ZMM31H, 16, 0x44);
	}
	set_first_byte(&xs, X86_XMM0 + 5, 0, 0x77);
	word = 0x1f80;
	x86_reg_set(X86_MXCSR, NULL, &xs, &word);
	iov.iov_len = xs.size;
	assert_int_equal(ptrace(PTRACE_SETREGSET, pid, NT_X86_XSTATE, &iov), 0);
	assert_int_equal(ptrace(PTRACE_CONT, pid, 0, 0), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_numbers_agree),
		cmocka_unit_test(tag_word_expands_and_packs),
		cmocka_unit_test(clear_bits_mean_the_initial_state),
		cmocka_unit_test(layouts_of_other_machines_are_told_by_size),
		cmocka_unit_test(general_registers_are_bounded),
		cmocka_unit_test(a_real_thread_agrees),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
