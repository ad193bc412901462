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

#include "base/axcode.h"
#include "target/ax.h"

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
	return op->code == AXCODE_TRACE || op->code == AXCODE_TRACE_QUICK ||
	       (op->code >= AXCODE_GETV && op->code <= AXCODE_TRACE16);
}

/* Every constant is AXCODE_CONST64. */
struct ax {
	struct ax_op *ops;
	size_t count;
	struct ax_format *formats;
	size_t format_count;
};

#endif
