#include "base/axcode.h"

#include <errno.h>

void axcode_op(struct buf *b, enum axcode op)
{
	buf_putc(b, (uint8_t)op);
}

static void put_big_endian(struct buf *b, uint64_t value, unsigned bytes)
{
	while (bytes--)
		buf_putc(b, (uint8_t)(value >> bytes * 8));
}

void axcode_const(struct buf *b, uint64_t value)
{
	unsigned log = value <= UINT8_MAX    ? 0
		       : value <= UINT16_MAX ? 1
		       : value <= UINT32_MAX ? 2
					     : 3;

	axcode_op(b, AXCODE_CONST8 + log);
	put_big_endian(b, value, 1u << log);
}

void axcode_reg(struct buf *b, unsigned number)
{
	axcode_op(b, AXCODE_REG);
	put_big_endian(b, number, 2);
}

void axcode_pick(struct buf *b, uint8_t depth)
{
	axcode_op(b, AXCODE_PICK);
	buf_putc(b, depth);
}

void axcode_extend(struct buf *b, unsigned bits, bool is_signed)
{
	if (!bits || bits >= 64)
		return;
	axcode_op(b, is_signed ? AXCODE_EXT : AXCODE_ZERO_EXT);
	buf_putc(b, (uint8_t)bits);
}

void axcode_add_const(struct buf *b, uint64_t value)
{
	if (!value)
		return;
	if (value >> 63) {
		axcode_const(b, 0 - value);
		axcode_op(b, AXCODE_SUB);
	} else {
		axcode_const(b, value);
		axcode_op(b, AXCODE_ADD);
	}
}

void axcode_load(struct buf *b, unsigned size, bool is_signed)
{
	unsigned low = size >= 8 ? 8 : size >= 4 ? 4 : size >= 2 ? 2 : 1;
	enum axcode op = low == 8   ? AXCODE_REF64
			 : low == 4 ? AXCODE_REF32
			 : low == 2 ? AXCODE_REF16
				    : AXCODE_REF8;

	if (size > low && size < 8) {
		axcode_op(b, AXCODE_DUP);
		axcode_add_const(b, low);
		axcode_load(b, size - low, false);
		axcode_const(b, low * 8);
		axcode_op(b, AXCODE_LSH);
		axcode_op(b, AXCODE_SWAP);
		axcode_op(b, op);
		axcode_op(b, AXCODE_BIT_OR);
	} else {
		axcode_op(b, op);
	}
	if (is_signed)
		axcode_extend(b, size * 8, true);
}

size_t axcode_jump(struct buf *b, enum axcode op)
{
	axcode_op(b, op);
	put_big_endian(b, 0, 2);
	return b->len;
}

void axcode_land(struct buf *b, size_t jump)
{
	if (buf_error(b))
		return;
	if (b->len > UINT16_MAX) {
		b->error = -EMSGSIZE;
		return;
	}
	b->data[jump - 2] = (uint8_t)(b->len >> 8);
	b->data[jump - 1] = (uint8_t)b->len;
}

void axcode_jump_back(struct buf *b, enum axcode op, size_t to)
{
	axcode_op(b, op);
	put_big_endian(b, to, 2);
}
