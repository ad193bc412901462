/*
 * lead_test.c - whom a resume starts first: however a client goes from hit to hit, the others get their turns.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <cmocka.h>

#include "target/live/task.h"

enum { THREADS = 8, HELD_AT_MOST_US = 3000 + 40 * THREADS, SHARE_AT_LEAST_US = 300 };

static uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* So many are resumed, one of whom stops at once, and then everybody is stopped. Returns whether the others waited. */
static bool turn(struct live *live, size_t resumed)
{
	live->marked_len = resumed;
	bool hold = lead_may_go_first(live, 1);
	lead_starts(live, 1, hold);
	live->marked_len = 0;
	lead_has_stopped(live);
	lead_all_stopped(live);
	live->kept_back = false;
	return hold;
}

/* A hit is told, the thread is stepped alone, all go on, and the same thread hits again. */
static void hit_after_hit(void **state _unused_)
{
	struct live live = { 0 };
	unsigned shared = 0, turns = 0;

	assert_false(turn(&live, THREADS));
	for (uint64_t ran = now_us(); shared < 5 && turns < 100000; turns++) {
		uint64_t began = now_us();
		bool owing = live.lead.owing;
		if (turn(&live, THREADS)) {
			assert_true(began - ran <= HELD_AT_MOST_US);
			assert_true(live.lead.owing);
		} else {
			assert_true(!owing || now_us() - began >= SHARE_AT_LEAST_US);
			assert_false(live.lead.owing);
			shared += owing;
			ran = now_us();
		}
		/* Which is nobody's turn but its own: no time is given to those that do not run, and none is owed any less. */
		owing = live.lead.owing;
		assert_false(turn(&live, 1));
		assert_int_equal(live.lead.owing, owing);
		assert_int_equal(live.lead.share_until_us, 0);
	}
}

/* One that does not stop is followed by the others, who have run then. */
static void nobody_stops(void **state _unused_)
{
	struct live live = { 0 };

	assert_false(turn(&live, THREADS));
	live.marked_len = THREADS;
	lead_starts(&live, 1, true);
	lead_let_follow(&live);
	assert_false(live.lead.holding);
	lead_all_stopped(&live);
	assert_false(live.lead.owing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hit_after_hit),
		cmocka_unit_test(nobody_stops),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
