#include "base/bytes.h"

#include <string.h>

const uint8_t *bytes_take(struct bytes *b, size_t n)
{
	if (b->failed || n > b->size - b->at) {
		b->failed = true;
		return NULL;
	}
	const uint8_t *p = b->data + b->at;
	b->at += n;
	return p;
}

void bytes_seek(struct bytes *b, size_t at)
{
	if (at > b->size)
		b->failed = true;
	else
		b->at = at;
}

void bytes_skip(struct bytes *b, size_t n)
{
	(void)bytes_take(b, n);
}

static uint64_t take_le(struct bytes *b, size_t n)
{
	const uint8_t *p = bytes_take(b, n);
	uint64_t v = 0;
	if (p)
		memcpy(&v, p, n);
	return v;
}

uint8_t bytes_u8(struct bytes *b)
{
	return (uint8_t)take_le(b, 1);
}

uint16_t bytes_u16(struct bytes *b)
{
	return (uint16_t)take_le(b, 2);
}

uint32_t bytes_u32(struct bytes *b)
{
	return (uint32_t)take_le(b, 4);
}

uint64_t bytes_u64(struct bytes *b)
{
	return take_le(b, 8);
}

uint64_t bytes_uleb(struct bytes *b)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = bytes_u8(b);
		if (shift == 63 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return b->failed ? 0 : value;
	}
	b->failed = true;
	return 0;
}

int64_t bytes_sleb(struct bytes *b)
{
	uint64_t value = 0;
	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte = bytes_u8(b);
		if (b->failed)
			return 0;
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			if (shift + 7 < 64 && (byte & 0x40))
				value |= ~UINT64_C(0) << (shift + 7);
			return (int64_t)value;
		}
	}
	b->failed = true;
	return 0;
}

const char *bytes_cstr(struct bytes *b)
{
	const uint8_t *start = b->data + b->at;
	const uint8_t *end = b->failed || !bytes_left(b) ? NULL : memchr(start, 0, bytes_left(b));
	if (!end) {
		b->failed = true;
		return NULL;
	}
	b->at += (size_t)(end - start) + 1;
	return (const char *)start;
}

struct bytes bytes_slice(const struct bytes *b, size_t offset, size_t n)
{
	if (b->failed || offset > b->size || n > b->size - offset)
		return (struct bytes){ .failed = true };
	return bytes_of(b->data + offset, n);
}
