/*
 * axcode.h - the opcodes of agent expressions, and writing them: the bytecode that conditions are made of, one operation at a time into a buf.
 *
 * Registers are numbered by whoever compiles the bytecode (target/ax.h). A buf that is full or has no memory keeps its error.
 * Source: "Debugging with GDB", The GDB Agent Expression Mechanism.
 */
#ifndef STOPGO_BASE_AXCODE_H
#define STOPGO_BASE_AXCODE_H

#include "base/buf.h"

enum axcode {
	AXCODE_ADD = 0x02,
	AXCODE_SUB,
	AXCODE_MUL,
	AXCODE_DIV_SIGNED,
	AXCODE_DIV_UNSIGNED,
	AXCODE_REM_SIGNED,
	AXCODE_REM_UNSIGNED,
	AXCODE_LSH,
	AXCODE_RSH_SIGNED,
	AXCODE_RSH_UNSIGNED,
	AXCODE_TRACE,
	AXCODE_TRACE_QUICK,
	AXCODE_LOG_NOT,
	AXCODE_BIT_AND,
	AXCODE_BIT_OR,
	AXCODE_BIT_XOR,
	AXCODE_BIT_NOT,
	AXCODE_EQUAL,
	AXCODE_LESS_SIGNED,
	AXCODE_LESS_UNSIGNED,
	AXCODE_EXT,
	AXCODE_REF8,
	AXCODE_REF16,
	AXCODE_REF32,
	AXCODE_REF64,
	AXCODE_IF_GOTO = 0x20,
	AXCODE_GOTO,
	AXCODE_CONST8,
	AXCODE_CONST16,
	AXCODE_CONST32,
	AXCODE_CONST64,
	AXCODE_REG,
	AXCODE_END,
	AXCODE_DUP,
	AXCODE_POP,
	AXCODE_ZERO_EXT,
	AXCODE_SWAP,
	AXCODE_GETV,
	AXCODE_SETV,
	AXCODE_TRACEV,
	AXCODE_TRACENZ,
	AXCODE_TRACE16,
	AXCODE_PICK = 0x32,
	AXCODE_ROT,
	AXCODE_PRINTF,
	/* Ours, not of the manual, which has no floating point: a cell is a double. */
	AXCODE_F_ADD = 0x40,
	AXCODE_F_SUB,
	AXCODE_F_MUL,
	AXCODE_F_DIV,
	AXCODE_F_EQUAL,
	AXCODE_F_LESS,
	AXCODE_F_LESS_EQUAL,
	AXCODE_F_FROM_SIGNED,
	AXCODE_F_FROM_UNSIGNED,
	AXCODE_F_TO_SIGNED, /* towards zero; what does not fit is the smallest number, as on the processor */
	AXCODE_F_FROM_FLOAT, /* of the low 32 bits */
	AXCODE_F_ROUND,      /* to what a float can hold */
	AXCODE_COUNT,
};

/* One without operand. */
void axcode_op(struct buf *b, enum axcode op);
void axcode_const(struct buf *b, uint64_t value);
void axcode_reg(struct buf *b, unsigned number);
void axcode_pick(struct buf *b, uint8_t depth);
/* The top cell is cut to its low bits and extended again. */
void axcode_extend(struct buf *b, unsigned bits, bool is_signed);
/* The address on top becomes the 1 to 8 bytes there, extended; sizes that no load has are put together of two. */
void axcode_load(struct buf *b, unsigned size, bool is_signed);
/* The top cell plus a constant. */
void axcode_add_const(struct buf *b, uint64_t value);

/* GOTO or IF_GOTO to a place that is not known yet; axcode_land() says it is here. */
size_t axcode_jump(struct buf *b, enum axcode op);
void axcode_land(struct buf *b, size_t jump);
/* The same to a place that is behind us: an earlier b->len. */
void axcode_jump_back(struct buf *b, enum axcode op, size_t to);

#endif
