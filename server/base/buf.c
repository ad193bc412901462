#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ .max = b->max };
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->error = 0;
}

static int grow(struct buf *b, size_t need)
{
	if (b->error)
		return b->error;
	if (need > b->max)
		return b->error = -EMSGSIZE;

	size_t cap = b->cap ? b->cap : 64;
	while (cap < need)
		cap *= 2;
	uint8_t *data = realloc(b->data, cap);
	if (!data)
		return b->error = -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

uint8_t *buf_reserve(struct buf *b, size_t extra)
{
	if (b->error)
		return NULL;
	if (extra > b->max || b->len > b->max - extra) {
		b->error = -EMSGSIZE;
		return NULL;
	}
	if ((!b->data || b->len + extra > b->cap) && grow(b, b->len + extra) < 0)
		return NULL;
	return b->data + b->len;
}

void buf_put(struct buf *b, const void *data, size_t len)
{
	uint8_t *at = len ? buf_reserve(b, len) : NULL;
	if (!at)
		return;
	memcpy(at, data, len);
	b->len += len;
}

void buf_putc(struct buf *b, uint8_t byte)
{
	buf_put(b, &byte, 1);
}

void buf_puts(struct buf *b, const char *text)
{
	buf_put(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	char small[256];
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int len = vsnprintf(small, sizeof(small), fmt, ap);
	va_end(ap);

	if (len >= 0 && (size_t)len < sizeof(small)) {
		buf_put(b, small, (size_t)len);
	} else if (len >= 0) {
		uint8_t *at = buf_reserve(b, (size_t)len + 1);
		if (at) {
			vsnprintf((char *)at, (size_t)len + 1, fmt, again);
			b->len += (size_t)len;
		}
	}
	va_end(again);
}

void buf_put_hex(struct buf *b, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t *at = len ? buf_reserve(b, len * 2) : NULL;
	if (!at)
		return;
	const uint8_t *in = data;
	for (size_t i = 0; i < len; i++) {
		at[2 * i] = (uint8_t)digits[in[i] >> 4];
		at[2 * i + 1] = (uint8_t)digits[in[i] & 15];
	}
	b->len += len * 2;
}

void buf_put_hex_num(struct buf *b, uint64_t value)
{
	buf_printf(b, "%llx", (unsigned long long)value);
}

void buf_put_xml(struct buf *b, const char *text)
{
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text;
		switch (c) {
		case '&': buf_puts(b, "&amp;"); break;
		case '<': buf_puts(b, "&lt;"); break;
		case '>': buf_puts(b, "&gt;"); break;
		case '"': buf_puts(b, "&quot;"); break;
		case '\'': buf_puts(b, "&apos;"); break;
		default: buf_putc(b, c < 0x20 && c != '\t' && c != '\n' && c != '\r' ? '?' : c);
		}
	}
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= b->len);
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
}

const char *buf_cstr(struct buf *b)
{
	uint8_t *at = buf_reserve(b, 1);
	if (!at)
		return NULL;
	*at = 0;
	return (const char *)b->data;
}
