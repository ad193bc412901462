#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/bytes.h"
#include "base/mem.h"

static void appends_and_grows(void **state _unused_)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 4096);
	for (int i = 0; i < 1000; i++)
		buf_printf(&b, "%d", i % 10);
	assert_int_equal(b.len, 1000);
	assert_int_equal(buf_error(&b), 0);
	buf_reset(&b);
	buf_put_hex(&b, "\x00\xff\x7a", 3);
	buf_put_hex_num(&b, 0x2001f);
	buf_put_xml(&b, "<a&'b'\x01>");
	assert_string_equal(buf_cstr(&b), "00ff7a2001f&lt;a&amp;&apos;b&apos;?&gt;");
	buf_consume(&b, 6);
	assert_memory_equal(b.data, "2001f", 5);
}

static void stops_at_its_maximum(void **state _unused_)
{
	_cleanup_buf_ struct buf b;
	buf_init(&b, 10);
	buf_puts(&b, "0123456789");
	assert_int_equal(buf_error(&b), 0);
	buf_putc(&b, 'x');
	assert_int_equal(buf_error(&b), -EMSGSIZE);
	buf_puts(&b, "");
	assert_int_equal(b.len, 10);
	buf_reset(&b);
	buf_printf(&b, "%300d", 1);
	assert_int_equal(buf_error(&b), -EMSGSIZE);
}

static void cursor_fails_once_and_stays_failed(void **state _unused_)
{
	static const uint8_t data[] = { 1, 0x34, 0x12, 0xe5, 0x8e, 0x26, 0x7f, 'a', 0 };
	struct bytes c = bytes_of(data, sizeof(data));
	assert_int_equal(bytes_u8(&c), 1);
	assert_int_equal(bytes_u16(&c), 0x1234);
	assert_int_equal(bytes_uleb(&c), 624485);
	assert_int_equal(bytes_sleb(&c), -1);
	assert_string_equal(bytes_cstr(&c), "a");
	assert_true(bytes_ok(&c));
	assert_int_equal(bytes_u8(&c), 0);
	assert_false(bytes_ok(&c));
	assert_int_equal(bytes_left(&c), 0);
	bytes_seek(&c, 0);
	assert_int_equal(bytes_u8(&c), 0);

	static const uint8_t endless[] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1 };
	c = bytes_of(endless, sizeof(endless));
	bytes_uleb(&c);
	assert_false(bytes_ok(&c));
	assert_false(bytes_ok(&(struct bytes){ .failed = true }));
}

static int read_page(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	const char *page = ctx; /* readable: 0x1000..0x1fff */
	if (addr < 0x1000 || addr >= 0x2000)
		return -EFAULT;
	*ret_got = MIN(len, (size_t)(0x2000 - addr));
	memcpy(into, page + addr - 0x1000, *ret_got);
	return 0;
}

static void strings_end_at_the_page_boundary(void **state _unused_)
{
	char page[4096] = { 0 };
	strcpy(page + 4090, "hello");
	struct mem m = { .read = read_page, .ctx = page };
	char text[64];
	assert_int_equal(mem_read_cstr(&m, 0x1000 + 4090, text, sizeof(text)), 0);
	assert_string_equal(text, "hello");
	assert_int_equal(mem_read_cstr(&m, 0x1000 + 4090, text, 3), 0);
	assert_string_equal(text, "he");
	page[4095] = 'x';
	assert_int_equal(mem_read_cstr(&m, 0x1000 + 4090, text, sizeof(text)), -EFAULT);
	assert_string_equal(text, "hellox");

	uint64_t v;
	assert_int_equal(mem_read_u64(&m, 0x1ffc, &v), -EFAULT);
	struct mem_span spans[] = { { 0x1ffc, &v, 8, 0 }, { 0x3000, &v, 8, 0 } };
	assert_int_equal(mem_read_spans(&m, spans, 2), 0);
	assert_int_equal(spans[0].got, 4);
	assert_int_equal(spans[1].got, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_and_grows),
		cmocka_unit_test(stops_at_its_maximum),
		cmocka_unit_test(cursor_fails_once_and_stays_failed),
		cmocka_unit_test(strings_end_at_the_page_boundary),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
