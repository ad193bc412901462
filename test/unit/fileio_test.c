#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <cmocka.h>

#include "protocol/fileio.h"

static void errors(void **state)
{
	(void)state;
	static const int same[] = { 1,  2,  4,  5,  9,  13, 14, 16, 17, 19,
				    20, 21, 22, 23, 24, 27, 28, 29, 30 };
	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		assert_int_equal(fileio_errno(same[i]), same[i]);
		assert_int_equal(fileio_errno(-same[i]), same[i]);
	}
	assert_int_equal(fileio_errno(ENOSYS), 0x58);
	assert_int_equal(fileio_errno(ENAMETOOLONG), 0x5b);
	assert_int_equal(fileio_errno(ELOOP), 0x270f);
	assert_int_equal(fileio_errno(0), 0x270f);
}

static int flags_of(uint64_t wire, bool lldb)
{
	int flags = -1;
	return fileio_open_flags(wire, lldb, &flags) ? flags & ~O_CLOEXEC : -1;
}

static void open_flags(void **state)
{
	(void)state;
	int flags;
	assert_true(fileio_open_flags(0, false, &flags));
	assert_int_equal(flags, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flags_of(0x601, false), O_WRONLY | O_CREAT | O_TRUNC);
	assert_int_equal(flags_of(0xa0a, false), O_RDWR | O_APPEND | O_CREAT | O_EXCL);
	assert_int_equal(flags_of(3, false), -1);
	assert_int_equal(flags_of(4, false), -1);
	assert_int_equal(flags_of(0x100, true), -1);
	assert_int_equal(flags_of(1u << 28, false), -1);
	assert_int_equal(flags_of(UINT64_C(1) << 40, true), -1);
	assert_int_equal(flags_of(7u << 28, true), O_NONBLOCK | O_NOFOLLOW);
	assert_int_equal(flags_of(1u << 31, true), -1);
	assert_int_equal(fileio_mode(0x1c0), 0700);
	assert_int_equal(fileio_mode(07777), 0777);
}

static void stat_layout(void **state)
{
	(void)state;
	struct stat st = {
		.st_dev = 0x11223344,
		.st_ino = 0x5566778899,
		.st_mode = S_IFREG | 04755,
		.st_nlink = 2,
		.st_uid = 1000,
		.st_gid = 100,
		.st_rdev = 0,
		.st_size = 0x123456789,
		.st_blksize = 4096,
		.st_blocks = 8,
		.st_atim.tv_sec = 0x60000001,
		.st_mtim.tv_sec = 0x60000002,
		.st_ctim.tv_sec = 0x60000003,
	};
	static const uint8_t want[FILEIO_STAT_SIZE] = {
		0x11, 0x22, 0x33, 0x44, 0x66, 0x77, 0x88, 0x99, 0x00, 0x00, 0x81, 0xed, 0x00,
		0x00, 0x00, 0x02, 0x00, 0x00, 0x03, 0xe8, 0x00, 0x00, 0x00, 0x64, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0x00, 0x00, 0x00,
		0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x08,
		0x60, 0x00, 0x00, 0x01, 0x60, 0x00, 0x00, 0x02, 0x60, 0x00, 0x00, 0x03,
	};
	uint8_t bytes[FILEIO_STAT_SIZE];
	fileio_stat_bytes(&st, bytes);
	assert_memory_equal(bytes, want, sizeof(want));

	struct buf b;
	buf_init(&b, 200);
	fileio_reply_stat(&b, &st);
	assert_int_equal(b.len, 4 + 64 + 1); /* a byte of the size is a # */
	assert_memory_equal(b.data, "F40;\x11\x22\x33", 7);
	buf_fini(&b);
}

static void replies(void **state)
{
	(void)state;
	struct buf b;
	buf_init(&b, 4096);
	fileio_reply(&b, 0);
	assert_string_equal(buf_cstr(&b), "F0");
	buf_reset(&b);
	fileio_reply(&b, 0x1f);
	assert_string_equal(buf_cstr(&b), "F1f");
	buf_reset(&b);
	fileio_reply(&b, -1);
	assert_string_equal(buf_cstr(&b), "F-1");
	buf_reset(&b);
	fileio_reply_error(&b, -ENOENT);
	assert_string_equal(buf_cstr(&b), "F-1,2");
	buf_reset(&b);
	fileio_reply_error(&b, ELOOP);
	assert_string_equal(buf_cstr(&b), "F-1,270f");
	buf_reset(&b);

	/* The count is of decoded bytes. */
	assert_int_equal(fileio_reply_data(&b, "a#b", 3, 100), 3);
	assert_string_equal(buf_cstr(&b), "F3;a}\x03"
					  "b");
	buf_reset(&b);
	assert_int_equal(fileio_reply_data(&b, "", 0, 100), 0);
	assert_string_equal(buf_cstr(&b), "F0;");
	buf_reset(&b);
	char data[300];
	memset(data, '#', sizeof(data));
	size_t n = fileio_reply_data(&b, data, sizeof(data), 105);
	assert_int_equal(n, 50);
	assert_true(b.len <= 105);
	assert_memory_equal(b.data, "F32;}\x03", 6);
	buf_fini(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors),
		cmocka_unit_test(open_flags),
		cmocka_unit_test(stat_layout),
		cmocka_unit_test(replies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
