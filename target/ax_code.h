/*
 * ax_code.h - an agent expression as it is after compiling. Private to target: ax.c makes and evaluates it, x86/native.c turns it into
 * machine code.
 *
 * What has been proved of it: every instruction is reached, the height of the stack before each is the same on every path, it never
 * falls below zero nor above AX_STACK_MAX, jumps lead to instructions and the last one does not fall through.
 */
#ifndef STOPGO_TARGET_AX_CODE_H
#define STOPGO_TARGET_AX_CODE_H

#include <stdbool.h>

#include "target/ax.h"

/* Opcodes, "Debugging with GDB", Bytecode Descriptions. */
enum {
	OP_ADD = 0x02,
	OP_SUB,
	OP_MUL,
	OP_DIV_SIGNED,
	OP_DIV_UNSIGNED,
	OP_REM_SIGNED,
	OP_REM_UNSIGNED,
	OP_LSH,
	OP_RSH_SIGNED,
	OP_RSH_UNSIGNED,
	OP_TRACE,
	OP_TRACE_QUICK,
	OP_LOG_NOT,
	OP_BIT_AND,
	OP_BIT_OR,
	OP_BIT_XOR,
	OP_BIT_NOT,
	OP_EQUAL,
	OP_LESS_SIGNED,
	OP_LESS_UNSIGNED,
	OP_EXT,
	OP_REF8,
	OP_REF16,
	OP_REF32,
	OP_REF64,
	OP_IF_GOTO = 0x20,
	OP_GOTO,
	OP_CONST8,
	OP_CONST16,
	OP_CONST32,
	OP_CONST64,
	OP_REG,
	OP_END,
	OP_DUP,
	OP_POP,
	OP_ZERO_EXT,
	OP_SWAP,
	OP_GETV,
	OP_SETV,
	OP_TRACEV,
	OP_TRACENZ,
	OP_TRACE16,
	OP_PICK = 0x32,
	OP_ROT,
	OP_PRINTF,
	/* Ours: base/axcode.h. */
	OP_F_ADD = 0x40,
	OP_F_SUB,
	OP_F_MUL,
	OP_F_DIV,
	OP_F_EQUAL,
	OP_F_LESS,
	OP_F_LESS_EQUAL,
	OP_F_FROM_SIGNED,
	OP_F_FROM_UNSIGNED,
	OP_F_TO_SIGNED,
	OP_F_FROM_FLOAT,
	OP_F_ROUND,
	OP_COUNT,
};

struct ax_op {
	uint8_t code;
	uint8_t n;      /* bits of ext, index of pick, arguments of printf */
	uint16_t at;    /* offset in the bytecode, for messages */
	uint32_t index; /* jump target, register (ours), variable, format */
	uint64_t value;
};

/* It needs more than registers and memory: trace state variables, or a place for what it collects. */
static inline bool ax_op_is_tracing(const struct ax_op *op)
{
	return op->code == OP_TRACE || op->code == OP_TRACE_QUICK || (op->code >= OP_GETV && op->code <= OP_TRACE16);
}

/* Every constant is OP_CONST64. */
struct ax {
	struct ax_op *ops;
	size_t count;
	struct ax_format *formats;
	size_t format_count;
};

#endif
