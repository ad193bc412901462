#include "protocol/hex.h"

#include <emmintrin.h>
#include <string.h>

int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Sixteen values 0..15 to their digits. */
static __m128i to_digits(__m128i nibbles)
{
	__m128i letter = _mm_cmpgt_epi8(nibbles, _mm_set1_epi8(9));
	__m128i base = _mm_add_epi8(nibbles, _mm_set1_epi8('0'));
	return _mm_add_epi8(base, _mm_and_si128(letter, _mm_set1_epi8('a' - '0' - 10)));
}

void hex_encode(char *out, const void *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const __m128i low = _mm_set1_epi8(15);
	const uint8_t *in = data;

	for (; len >= 16; len -= 16, in += 16, out += 32) {
		__m128i v = _mm_loadu_si128((const __m128i *)in);
		__m128i lo = to_digits(_mm_and_si128(v, low));
		__m128i hi = to_digits(_mm_and_si128(_mm_srli_epi16(v, 4), low));
		_mm_storeu_si128((__m128i *)out, _mm_unpacklo_epi8(hi, lo));
		_mm_storeu_si128((__m128i *)(out + 16), _mm_unpackhi_epi8(hi, lo));
	}
	for (; len; len--, in++) {
		*out++ = digits[*in >> 4];
		*out++ = digits[*in & 15];
	}
}

/* Sixteen digits to their values; false when one of them is no digit. */
static bool from_digits(__m128i chars, __m128i *ret)
{
	__m128i number = _mm_sub_epi8(chars, _mm_set1_epi8('0'));
	__m128i letter = _mm_sub_epi8(_mm_or_si128(chars, _mm_set1_epi8(0x20)), _mm_set1_epi8('a'));
	/* SSE2 has no unsigned compare: x <= n exactly when min(x, n) == x. */
	__m128i is_number = _mm_cmpeq_epi8(_mm_min_epu8(number, _mm_set1_epi8(9)), number);
	__m128i is_letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(5)), letter);

	if (_mm_movemask_epi8(_mm_or_si128(is_number, is_letter)) != 0xffff)
		return false;
	letter = _mm_add_epi8(letter, _mm_set1_epi8(10));
	*ret = _mm_or_si128(_mm_and_si128(is_number, number), _mm_and_si128(is_letter, letter));
	return true;
}

size_t hex_span(const void *text, size_t len)
{
	const uint8_t *p = text;
	size_t n = 0;
	__m128i values;

	while (len - n >= 16 && from_digits(_mm_loadu_si128((const __m128i *)(p + n)), &values))
		n += 16;
	while (n < len && hex_digit(p[n]) >= 0)
		n++;
	return n;
}

/* Eight pairs of values to eight bytes in 16-bit lanes. */
static __m128i join_pairs(__m128i values)
{
	__m128i hi = _mm_slli_epi16(_mm_and_si128(values, _mm_set1_epi16(0xff)), 4);
	return _mm_or_si128(hi, _mm_srli_epi16(values, 8));
}

bool hex_decode(void *out, const char *hex, size_t digits)
{
	uint8_t *to = out;

	if (digits % 2)
		return false;
	for (; digits >= 32; digits -= 32, hex += 32, to += 16) {
		__m128i a, b;
		if (!from_digits(_mm_loadu_si128((const __m128i *)hex), &a) ||
		    !from_digits(_mm_loadu_si128((const __m128i *)(hex + 16)), &b))
			return false;
		_mm_storeu_si128((__m128i *)to, _mm_packus_epi16(join_pairs(a), join_pairs(b)));
	}
	for (; digits; digits -= 2, hex += 2) {
		int hi = hex_digit((uint8_t)hex[0]), lo = hex_digit((uint8_t)hex[1]);
		if (hi < 0 || lo < 0)
			return false;
		*to++ = (uint8_t)(hi << 4 | lo);
	}
	return true;
}

void hex_put(struct buf *b, const void *data, size_t len)
{
	uint8_t *at = len ? buf_reserve(b, len * 2) : NULL;
	if (!at)
		return;
	hex_encode((char *)at, data, len);
	b->len += len * 2;
}

void hex_put_text(struct buf *b, const char *text)
{
	hex_put(b, text, strlen(text));
}
