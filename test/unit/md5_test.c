#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/md5.h"

/* RFC 1321, A.5 */
static const struct {
	const char *text;
	uint8_t sum[MD5_SIZE];
} known[] = {
	{ "",
	  { 0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8,
	    0x42, 0x7e } },
	{ "abc",
	  { 0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1,
	    0x7f, 0x72 } },
	{ "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
	  { 0x57, 0xed, 0xf4, 0xa2, 0x2b, 0xe3, 0xc9, 0x55, 0xac, 0x49, 0xda, 0x2e, 0x21, 0x07,
	    0xb6, 0x7a } },
};

static void known_sums(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		struct md5 m;
		uint8_t sum[MD5_SIZE];
		md5_init(&m);
		md5_add(&m, known[i].text, strlen(known[i].text));
		md5_finish(&m, sum);
		assert_memory_equal(sum, known[i].sum, MD5_SIZE);
	}
}

/* However it is cut, the sum is the same; around the lengths where the padding needs a block of its own. */
static void pieces_add_up(void **state)
{
	uint8_t data[200], whole[MD5_SIZE], cut[MD5_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7);
	for (size_t len = 50; len < sizeof(data); len++) {
		struct md5 m;
		md5_init(&m);
		md5_add(&m, data, len);
		md5_finish(&m, whole);
		md5_init(&m);
		for (size_t i = 0; i < len; i += 13)
			md5_add(&m, data + i, MIN(len - i, (size_t)13));
		md5_finish(&m, cut);
		assert_memory_equal(whole, cut, MD5_SIZE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_sums),
		cmocka_unit_test(pieces_add_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
