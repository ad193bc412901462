/*
 * window_test.c - addresses of moving stacks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/util.h"
#include "server/window.h"

static bool canonical(uint64_t addr)
{
	return addr >> 47 == 0 || addr >> 47 == 0x1ffff;
}

static void no_process_can_have_such_an_address(void **state _unused_)
{
	static const int64_t ids[] = { 1, 2, 1000, 0x3fffffff, 0x40000000, 0x40400000, 0x7fffffff };

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		uint64_t top = window_top(ids[i]);
		assert_false(canonical(top));
		assert_false(canonical(top - UINT32_MAX));
		assert_int_equal(window_owner(top), ids[i]);
		assert_int_equal(window_owner(top - UINT32_MAX), ids[i]);
		assert_int_not_equal(window_owner(top + 1), ids[i]);
		assert_int_not_equal(window_owner(top - UINT32_MAX - 1), ids[i]);
	}
}

static void other_addresses_belong_to_nobody(void **state _unused_)
{
	static const uint64_t addrs[] = { 0,
					  1,
					  0x400000,
					  0xc000012000,
					  0x7fffffffffff,
					  0xffffffffff600000,
					  UINT64_MAX,
					  UINT64_C(0x0100000000000000),
					  UINT64_C(0x0100000100000000) };

	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++)
		assert_int_equal(window_owner(addrs[i]), 0);
}

static void showing_and_finding_undo_each_other(void **state _unused_)
{
	struct window w = { .id = 18, .lo = 0xc000100000, .hi = 0xc000100800 };

	for (uint64_t addr = w.lo; addr <= w.hi; addr += 8) {
		uint64_t shown = window_show(&w, addr), back = 0;
		assert_false(canonical(shown));
		assert_true(window_find(&w, shown, &back));
		assert_int_equal(back, addr);
		assert_int_equal(window_bytes(&w, shown), w.hi - addr);
	}
}

static void what_is_not_on_the_stack_is_left_alone(void **state _unused_)
{
	struct window w = { .id = 18, .lo = 0xc000100000, .hi = 0xc000100800 }, none = { .id = 18 };
	uint64_t back = 7;

	assert_int_equal(window_show(&w, w.lo - 1), w.lo - 1);
	assert_int_equal(window_show(&w, w.hi + 1), w.hi + 1);
	assert_int_equal(window_show(&w, 0), 0);
	assert_int_equal(window_show(&none, 0), 0);
	/* Below what the stack covers now, above the top, and somebody else's. */
	assert_false(window_find(&w, window_top(18) - 0x801, &back));
	assert_false(window_find(&w, window_top(18) + 1, &back));
	assert_false(window_find(&w, window_top(19) - 8, &back));
	assert_false(window_find(&none, window_top(18), &back));
	assert_false(window_find(&w, w.lo, &back));
	assert_int_equal(back, 7);
	assert_int_equal(window_bytes(&w, window_top(18)), 0);
	assert_int_equal(window_bytes(&w, w.lo), 0);
}

/* The stack is copied to twice the room elsewhere: what was shown stays true. */
static void a_shown_address_survives_the_move(void **state _unused_)
{
	struct window before = { .id = 5, .lo = 0xc000100000, .hi = 0xc000100800 };
	struct window after = { .id = 5, .lo = 0xc000200000, .hi = 0xc000201000 };
	uint64_t shown = window_show(&before, 0xc0001007a0), now;

	assert_true(window_find(&after, shown, &now));
	assert_int_equal(now, 0xc000200fa0);
	assert_int_equal(window_show(&after, now), shown);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_process_can_have_such_an_address),
		cmocka_unit_test(other_addresses_belong_to_nobody),
		cmocka_unit_test(showing_and_finding_undo_each_other),
		cmocka_unit_test(what_is_not_on_the_stack_is_left_alone),
		cmocka_unit_test(a_shown_address_survives_the_move),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
