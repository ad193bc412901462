/* bpoints_test.c - breakpoints by number that cannot be set again. */
#include "../wire/fake.c"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static int code_everywhere(struct target *t, uint64_t addr, struct mem_region *ret)
{
	(void)t;
	*ret = (struct mem_region){ .start = addr & ~UINT64_C(0xfff),
				    .end = (addr | 0xfff) + 1,
				    .mapped = true,
				    .read = true,
				    .exec = true };
	return 0;
}

static void libraries_have_changed(struct inferior *inf)
{
	inf->points.attend = inf->points.loaded = true;
	bpoints_attend(inf);
}

/* Its place is the same as before, and it can no longer be set there; later it can. */
static void what_cannot_be_set_again_is_nowhere(void **state _unused_)
{
	const struct bpoint_want want = { .spec = "*0x11000", .pending = true };
	struct fake *f = fake_new();
	struct err err = { 0 };
	struct bpoint *b;

	struct inferior *inf = inferior_of(fake_process(f, 7, true));
	struct target_ops ops = *inf->target->ops;
	ops.region_at = code_everywhere;
	inf->target->ops = &ops;
	inf->points.loads_at = 0x11010; /* as if its loader said when */
	if (bpoints_add(inf, &want, &b, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(b->places.count, 1);
	f->refuse = true;
	libraries_have_changed(inf);
	assert_true(b->waits);
	assert_int_equal(b->places.count, 0);
	f->refuse = false;
	libraries_have_changed(inf);
	assert_false(b->waits);
	assert_int_equal(b->places.count, 1);
	fake_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_cannot_be_set_again_is_nowhere),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
