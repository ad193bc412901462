/* traceframes_test.c - frames in a buffer of a given size: full, circular, and read back block by block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "server/traceframes.h"

enum { REGISTERS = 16 };

static void add_frame(struct traceframes *f, unsigned number, uint64_t addr, const char *text)
{
	assert_true(traceframes_begin(f, number));
	assert_true(traceframes_add_memory(f, addr, (const uint8_t *)text, strlen(text)));
}

static void what_is_added_is_read_back(void **state _unused_)
{
	struct traceframes f = { .size = 1000, .registers = REGISTERS };
	uint8_t registers[REGISTERS] = "0123456789abcde", into[16] = { 0 };
	struct traceframe frame;
	uint64_t value = 0;

	assert_false(traceframes_get(&f, 0, &frame));
	add_frame(&f, 7, 0x1000, "hello");
	assert_true(traceframes_add_memory(&f, 0x1005, (const uint8_t *)" you", 4));
	assert_true(traceframes_add_registers(&f, registers));
	assert_true(traceframes_add_variable(&f, 3, 5));
	assert_true(traceframes_add_variable(&f, 3, UINT64_MAX));
	add_frame(&f, 8, 0x2000, "other");

	assert_int_equal(traceframes_count(&f), 2);
	assert_int_equal(f.created, 2);
	assert_true(traceframes_get(&f, 0, &frame));
	assert_int_equal(frame.number, 7);
	assert_int_equal(traceframe_read(&frame, 0x1001, into, sizeof(into)), 8);
	assert_memory_equal(into, "ello you", 8);
	assert_int_equal(traceframe_read(&frame, 0xfff, into, 1), 0);
	assert_int_equal(traceframe_read(&frame, 0x1009, into, 1), 0);
	assert_memory_equal(traceframe_registers(&frame), registers, REGISTERS);
	assert_true(traceframe_variable(&frame, 3, &value));
	assert_true(value == UINT64_MAX);
	assert_false(traceframe_variable(&frame, 4, &value));
	assert_true(traceframes_get(&f, 1, &frame));
	assert_int_equal(frame.number, 8);
	assert_null(traceframe_registers(&frame));
	assert_int_equal(traceframe_read(&frame, 0x1001, into, 1), 0);
	assert_false(traceframes_get(&f, 2, &frame));
	traceframes_fini(&f);
}

static void bytes_are_those_of_a_trace_file(void **state _unused_)
{
	static const uint8_t file[] = { 7, 0, 13, 0, 0,   0,    'M', 0, 0x10, 0, 0, 0, 0,
					0, 0, 2,  0, 'h', 'i',  8,   0, 13,   0, 0, 0, 'V',
					2, 0, 0,  0, 1,   0xff, 0,   0, 0,    0, 0, 0 };
	struct traceframes f = { .size = 1000 };
	size_t len;

	add_frame(&f, 7, 0x1000, "hi");
	assert_true(traceframes_begin(&f, 8));
	assert_true(traceframes_add_variable(&f, 2, 0xff01));
	const uint8_t *bytes = traceframes_bytes(&f, &len);
	assert_int_equal(len, sizeof(file));
	assert_memory_equal(bytes, file, len);
	assert_int_equal(traceframes_used(&f), len);
	traceframes_fini(&f);
}

static void a_full_buffer_keeps_what_it_has(void **state _unused_)
{
	struct traceframes f = { .size = 60 };
	struct traceframe frame;

	add_frame(&f, 1, 0x1000, "0123456789"); /* 6 + 11 + 10 */
	add_frame(&f, 2, 0x1000, "0123456789");
	assert_true(traceframes_begin(&f, 3));
	assert_false(f.full);
	assert_false(traceframes_add_memory(&f, 0x1000, (const uint8_t *)"x", 1));
	assert_true(f.full);
	assert_int_equal(traceframes_used(&f), 60);
	assert_int_equal(traceframes_count(&f), 3);
	assert_true(traceframes_get(&f, 2, &frame));
	assert_int_equal(frame.len, 0);
	assert_false(traceframes_begin(&f, 4));
	traceframes_clear(&f);
	assert_false(f.full);
	assert_int_equal(f.size, 60);
	assert_int_equal(traceframes_count(&f), 0);
	add_frame(&f, 5, 0x1000, "0123456789");
	traceframes_fini(&f);
}

static void a_circular_one_drops_the_oldest(void **state _unused_)
{
	enum { FRAMES = 20000, SIZE = 1000, EACH = 6 + 11 + 8 };
	struct traceframes f = { .size = SIZE, .circular = true };
	struct traceframe frame;
	uint64_t value;

	for (uint64_t i = 0; i < FRAMES; i++) {
		assert_true(traceframes_begin(&f, (unsigned)(i % 5 + 1)));
		assert_true(traceframes_add_memory(&f, i, (const uint8_t *)&i, sizeof(i)));
		assert_true(traceframes_used(&f) <= SIZE);
	}
	assert_false(f.full);
	assert_int_equal(f.created, FRAMES);
	assert_int_equal(traceframes_count(&f), SIZE / EACH);
	for (size_t n = 0; n < SIZE / EACH; n++) {
		uint64_t i = FRAMES - SIZE / EACH + n;
		assert_true(traceframes_get(&f, n, &frame));
		assert_int_equal(frame.number, i % 5 + 1);
		assert_int_equal(traceframe_read(&frame, i, (uint8_t *)&value, 8), 8);
		assert_int_equal(value, i);
	}
	assert_true(f.room <= 3 * SIZE + 4096);
	traceframes_fini(&f);
}

static void a_frame_larger_than_the_buffer_is_cut(void **state _unused_)
{
	struct traceframes f = { .size = 64, .circular = true };
	uint8_t large[128] = { 0 };
	struct traceframe frame;

	add_frame(&f, 1, 0x1000, "abc");
	assert_true(traceframes_begin(&f, 2));
	assert_false(traceframes_add_memory(&f, 0, large, sizeof(large)));
	assert_true(f.full);
	assert_true(traceframes_get(&f, 0, &frame));
	assert_int_equal(frame.number, 2); /* room was made for it as far as that went */
	traceframes_fini(&f);
	f = (struct traceframes){ .size = 3 };
	assert_false(traceframes_begin(&f, 1));
	assert_true(f.full);
	assert_false(traceframes_add_variable(&f, 1, 1));
	traceframes_fini(&f);
}

static void hostile_blocks_end_the_walk(void **state _unused_)
{
	static const uint8_t cut[] = { 'V', 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'M', 0, 0 };
	static const uint8_t unknown[] = { 'Z' };
	struct traceframe frame = { .data = cut, .len = sizeof(cut) };
	struct traceblock block;
	size_t at = 0;

	assert_true(traceframe_next_block(&frame, &at, &block));
	assert_false(traceframe_next_block(&frame, &at, &block));
	frame = (struct traceframe){ .data = unknown, .len = sizeof(unknown) };
	at = 0;
	assert_false(traceframe_next_block(&frame, &at, &block));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_added_is_read_back),
		cmocka_unit_test(bytes_are_those_of_a_trace_file),
		cmocka_unit_test(a_full_buffer_keeps_what_it_has),
		cmocka_unit_test(a_circular_one_drops_the_oldest),
		cmocka_unit_test(a_frame_larger_than_the_buffer_is_cut),
		cmocka_unit_test(hostile_blocks_end_the_walk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
