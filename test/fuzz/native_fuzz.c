/* Conditions as machine code: whatever compiles to it has the verdict that ax_eval() has, and leaves nothing behind. */
#include "../unit/native_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t seed;

static uint64_t next_random(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return seed >> 11 ^ seed << 40;
}

static int map_register(void *ctx _unused_, unsigned number)
{
	return number < 60 ? (int)number : -1;
}

static void check(struct ax *const *ax, const struct native *n)
{
	volatile uint64_t *passed = (uint64_t *)NATIVE_COUNT_AT;
	uint8_t *stack = (uint8_t *)NATIVE_STACK_AT;
	native_random_regs(next_random);
	memset(stack, 0x5a, NATIVE_STACK_SIZE);
	int expected = native_expected(ax, 1);
	uint64_t before = *passed;
	enum native_end end = native_run(n);

	if (end != (expected == 0         ? NATIVE_END_FALSE
		    : expected == -EFAULT ? NATIVE_END_FAULT
					  : NATIVE_END_TRAP))
		abort();
	if (*passed != before + (expected == 0))
		abort();
	native_out.flags = (native_out.flags & ~UINT64_C(0x10000)); /* the resume flag of a fault */
	if (memcmp(&native_in, &native_out, sizeof(native_in)) != 0)
		abort();
	uint64_t zone = native_in.rsp - 128 - NATIVE_STACK_AT;
	for (uint64_t at = 0; at < NATIVE_STACK_SIZE; at++) {
		if (stack[at] != 0x5a && (at >= zone || at < zone - NATIVE_STACK_MAX))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;
	static struct native n;
	struct ax *ax = NULL;
	struct insn nop;
	const char *why = NULL;

	if (!ready)
		native_setup();
	ready = true;
	if (ax_compile(data, size, map_register, NULL, &ax, NULL) < 0)
		return 0;
	if (!native_nop(&nop))
		abort();
	int r = native_make(&ax, 1, &nop, NULL, NATIVE_POINT, NATIVE_STUB_AT, NATIVE_COUNT_AT, &n,
			    &why);
	if (r < 0 && !why)
		abort();
	seed = size;
	for (int i = 0; r == 0 && i < 8; i++)
		check(&ax, &n);
	ax_free(ax);
	return 0;
}
