/*
 * bytes.h - a bounded cursor over foreign bytes (ELF, DWARF, pclntab, packets, cores). No parser touches a raw pointer.
 *
 * Every read checks bounds. The first failure sticks: later reads yield 0 and bytes_ok() is false, so a record is read
 * field by field and checked once. Values are little-endian. Borrow: the memory must outlive the cursor.
 */
#ifndef STOPGO_BASE_BYTES_H
#define STOPGO_BASE_BYTES_H

#include <stdbool.h>
#include "base/util.h"

struct bytes {
	const uint8_t *data;
	size_t         size;
	size_t         at;      /* 0..size */
	bool           failed;
};

static inline struct bytes bytes_of(const void *data, size_t size)
{
	return (struct bytes){ .data = data, .size = size };
}

static inline bool bytes_ok(const struct bytes *b)
{
	return !b->failed;
}

static inline size_t bytes_left(const struct bytes *b)
{
	return b->failed ? 0 : b->size - b->at;
}

/* The next n bytes, or NULL (and failed) when there are fewer. */
const uint8_t *bytes_take(struct bytes *b, size_t n);
void bytes_seek(struct bytes *b, size_t at);
void bytes_skip(struct bytes *b, size_t n);
uint8_t bytes_u8(struct bytes *b);
uint16_t bytes_u16(struct bytes *b);
uint32_t bytes_u32(struct bytes *b);
uint64_t bytes_u64(struct bytes *b);
/* Unsigned LEB128, which Go calls uvarint; more than 64 bits is a failure. */
uint64_t bytes_uleb(struct bytes *b);
int64_t bytes_sleb(struct bytes *b);
/* A NUL-terminated string inside the bounds, or NULL (and failed). */
const char *bytes_cstr(struct bytes *b);
/* The n bytes from offset on as a cursor of their own; failed when out of bounds. Does not move b. */
struct bytes bytes_slice(const struct bytes *b, size_t offset, size_t n);

#endif
