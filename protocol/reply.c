#include "protocol/reply.h"
#include "protocol/hex.h"

#include <emmintrin.h>
#include <string.h>

void reply_empty(struct buf *b)
{
	buf_reset(b);
}

void reply_ok(struct buf *b)
{
	buf_puts(b, "OK");
}

static unsigned two_digit_code(int code)
{
	if (code < 0 && code >= -255)
		code = -code;
	return code > 0 && code <= 255 ? (unsigned)code : 1;
}

void reply_error(struct buf *b, int code)
{
	buf_printf(b, "E%02x", two_digit_code(code));
}

/* gdb takes the text as it comes: '*' would start a run and the others end the packet or look like
 * an escape. */
static void put_plain(struct buf *b, const char *text)
{
	for (; *text; text++) {
		bool bare = *text >= ' ' && *text <= '~' && !strchr("#$*}", *text);
		buf_putc(b, bare ? (uint8_t)*text : '?');
	}
}

void reply_error_text(struct buf *b, enum reply_error_style style, int code, const char *text)
{
	switch (style) {
	case REPLY_ERROR_TEXT:
		buf_puts(b, "E.");
		put_plain(b, text);
		return;
	case REPLY_ERROR_HEX:
		reply_error(b, code);
		buf_putc(b, ';');
		hex_put_text(b, text);
		return;
	case REPLY_ERROR_PLAIN: break;
	}
	reply_error(b, code);
}

void reply_hex(struct buf *b, const void *data, size_t len)
{
	hex_put(b, data, len);
}

void reply_hex_text(struct buf *b, const char *text)
{
	hex_put_text(b, text);
}

static bool must_escape(uint8_t c)
{
	return c == '#' || c == '$' || c == '}' || c == '*';
}

/* Bit i is set when byte i of the sixteen must be escaped. */
static unsigned escape_mask(__m128i v)
{
	__m128i a = _mm_cmpeq_epi8(v, _mm_set1_epi8('#'));
	__m128i b = _mm_cmpeq_epi8(v, _mm_set1_epi8('$'));
	__m128i c = _mm_cmpeq_epi8(v, _mm_set1_epi8('}'));
	__m128i d = _mm_cmpeq_epi8(v, _mm_set1_epi8('*'));
	return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d)));
}

/* Returns the end of what was written. */
static uint8_t *escape(uint8_t *to, const uint8_t *in, size_t n)
{
	for (; n; n--, in++) {
		if (must_escape(*in)) {
			*to++ = '}';
			*to++ = *in ^ 0x20;
		} else {
			*to++ = *in;
		}
	}
	return to;
}

static size_t count_escapes(const uint8_t *in, size_t len)
{
	size_t n = 0;
	for (; len >= 16; len -= 16, in += 16)
		n += (size_t)__builtin_popcount(escape_mask(_mm_loadu_si128((const __m128i *)in)));
	for (; len; len--, in++)
		n += must_escape(*in);
	return n;
}

void reply_binary(struct buf *b, const void *data, size_t len)
{
	const uint8_t *in = data;
	/* Counting first costs less than reserving twice the length, and an object that just fits
	 * does fit. */
	size_t need = len + count_escapes(in, len);
	uint8_t *to = need ? buf_reserve(b, need) : NULL;

	if (!to)
		return;
	for (; len >= 16; len -= 16, in += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)in);
		if (escape_mask(v)) {
			to = escape(to, in, 16);
		} else {
			_mm_storeu_si128((__m128i *)to, v);
			to += 16;
		}
	}
	escape(to, in, len);
	b->len += need;
}

size_t reply_binary_fit(const void *data, size_t len, size_t room)
{
	const uint8_t *in = data;
	size_t n = 0;

	while (len - n >= 16 && room >= 32) {
		__m128i v = _mm_loadu_si128((const __m128i *)(in + n));
		room -= 16 + (size_t)__builtin_popcount(escape_mask(v));
		n += 16;
	}
	for (; n < len; n++) {
		size_t need = must_escape(in[n]) ? 2 : 1;
		if (need > room)
			break;
		room -= need;
	}
	return n;
}

void reply_xfer(struct buf *b, const void *object, size_t size, uint64_t offset, uint64_t len,
		size_t max)
{
	if (offset >= size) {
		buf_putc(b, 'l');
		return;
	}
	const uint8_t *from = (const uint8_t *)object + offset;
	size_t left = size - (size_t)offset;
	size_t n = reply_binary_fit(from, (size_t)MIN(len, (uint64_t)left), max ? max - 1 : 0);
	buf_putc(b, n == left ? 'l' : 'm');
	reply_binary(b, from, n);
}

void reply_console(struct buf *b, const void *text, size_t len)
{
	buf_putc(b, 'O');
	hex_put(b, text, len);
}
