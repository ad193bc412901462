/* What functions of this very program give back, found by its own DWARF and read from registers that are said here. */
#include <complex.h>
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include <cmocka.h>

#include "server/places.h"
#include "server/results.h"
#include "target/x86/regs.h"

struct pair {
	double x, y;
};
struct mixed {
	long whole;
	float real;
};
struct __attribute__((packed)) packed {
	char c;
	int n;
};
struct bits {
	unsigned low : 3;
	int sign : 5;
	unsigned long high : 40;
};
struct extended {
	long double value;
};

#define GIVES(type, name) __attribute__((noinline)) type name(void)

GIVES(double complex, gives_double_complex);
GIVES(float complex, gives_float_complex);
GIVES(long double complex, gives_extended_complex);
GIVES(struct extended, gives_extended);
GIVES(struct pair, gives_pair);
GIVES(struct mixed, gives_mixed);
GIVES(__int128, gives_wide);
GIVES(struct packed, gives_packed);
GIVES(struct bits, gives_bits);

GIVES(double complex, gives_double_complex)
{
	return 1;
}

GIVES(float complex, gives_float_complex)
{
	return 1;
}

GIVES(long double complex, gives_extended_complex)
{
	return 1;
}

GIVES(struct extended, gives_extended)
{
	return (struct extended){ 1 };
}

GIVES(struct pair, gives_pair)
{
	return (struct pair){ 1, 2 };
}

GIVES(struct mixed, gives_mixed)
{
	return (struct mixed){ 1, 2 };
}

GIVES(__int128, gives_wide)
{
	return 1;
}

GIVES(struct packed, gives_packed)
{
	return (struct packed){ 1, 2 };
}

GIVES(struct bits, gives_bits)
{
	return (struct bits){ 1, 2, 3 };
}

static struct debuginfo *own;
static const struct packed in_memory = { -3, 70000 };

static int own_read(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	(void)ctx;
	assert_true(addr == (uintptr_t)&in_memory && len == sizeof(in_memory));
	memcpy(into, &in_memory, len);
	*ret_got = len;
	return 0;
}

static int xstate_read(struct target *t, pid_t tid, struct xstate *ret)
{
	static const double doubles[2] = { 1.5, -2.5 };
	static const float floats[2] = { 0.5F, 3 };

	(void)t;
	*ret = (struct xstate){ .size = 512 };
	double low = doubles[0];
	if (tid == 2)
		memcpy(&low, floats, sizeof(low));
	assert_int_equal(x86_reg_set(X86_XMM0, NULL, ret, ((double[2]){ low, 0 })), 0);
	assert_int_equal(x86_reg_set(X86_XMM0 + 1, NULL, ret, ((double[2]){ doubles[1], 0 })), 0);
	return 0;
}

/* rax is 7 and rdx 3, together -7 in thread 3; rax points to in_memory in thread 4. In thread 2 xmm0 holds two floats. */
static void gives(void *function, pid_t tid, const char *wanted)
{
	static const struct target_ops ops = { .xstate_read = xstate_read };
	struct target t = { .ops = &ops };
	struct value_thread *th = calloc(1, sizeof(*th));
	struct place at = { .addr = (uintptr_t)function, .di = own };
	struct traced results = { 0 };
	_cleanup_buf_ struct buf text = { 0 };

	assert_non_null(th);
	th->target = &t;
	th->tid = tid;
	th->mem.read = own_read;
	th->gp.rax = tid == 4 ? (uintptr_t)&in_memory : tid == 3 ? (uint64_t)-7 : 7;
	th->gp.rdx = tid == 3 ? UINT64_MAX : 3;
	results_find(&th->mem, &at, &results);
	assert_true(results.known);
	assert_int_equal(results.count, 1);
	buf_init(&text, 1000);
	value_put(th, &results.at[0], &text);
	assert_string_equal(buf_cstr(&text), wanted);
	traced_fini(&results);
	free(th);
}

static void complex_numbers(void **state)
{
	(void)state;
	gives(gives_double_complex, 1, "(1.5-2.5i)");
	gives(gives_float_complex, 2, "(0.5+3i)");
	/* In the x87 registers, which nothing here reads: that is said instead of what another register holds. */
	gives(gives_extended_complex, 1, "?");
}

static void more_than_a_word(void **state)
{
	(void)state;
	gives(gives_wide, 1, "0x30000000000000007");
	gives(gives_wide, 3, "-7");
}

static void structures(void **state)
{
	(void)state;
	gives(gives_pair, 1, "{x: 1.5, y: -2.5}");
	gives(gives_mixed, 2, "{whole: 7, real: 0.5}");
	gives(gives_extended, 1, "?");
	gives(gives_packed, 4, "{c: -3, n: 70000}");
	gives(gives_bits, 3, "{low: 1, sign: -1, high: 1099511627775}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(complex_numbers),
		cmocka_unit_test(more_than_a_word),
		cmocka_unit_test(structures),
	};
	struct image *img;

	if (image_open("/proc/self/exe", &img, NULL) < 0)
		return 1;
	uint64_t bias = image_bias(img, getauxval(AT_ENTRY));
	image_free(img);
	if (debuginfo_open("/proc/self/exe", bias, &own, NULL) < 0 || !debuginfo_has_dwarf(own)) {
		own = debuginfo_free(own);
		puts("this build has no DWARF");
		return 77;
	}
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	own = debuginfo_free(own);
	return failed;
}
