/*
 * ax.h - agent expressions: verify once, evaluate often.
 *
 * A condition or command arrives as bytecode (Debugging with GDB, "The GDB Agent Expression Mechanism"). ax_compile() refuses what
 * could fail for reasons of its own: unknown or unimplemented opcodes, jumps to the outside or into an operand, a missing end,
 * stack underflow or overflow on any path, registers the caller does not know. What can still fail at run time is division by
 * zero, unreadable memory and AX_STEPS_MAX; ax_eval() says so and the caller reports the stop: an expression is never silently
 * true, false or dropped.
 */
#ifndef STOPGO_TARGET_AX_H
#define STOPGO_TARGET_AX_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

enum {
	AX_CODE_MAX  = 65536,   /* bytes of bytecode */
	AX_STACK_MAX = 128,     /* cells */
	AX_STEPS_MAX = 100000,  /* instructions in one evaluation */
	AX_PRINT_MAX = 16384,   /* bytes one evaluation may print */
};

struct ax;

/* What an expression may contain beyond what every condition may. */
enum ax_allowed {
	AX_PLAIN = 0,
	AX_VARIABLES = 1, /* getv, setv */
	AX_COLLECTS = 2,  /* trace, trace_quick, trace16, tracenz, tracev */
};

/* Where trace state variables are and what is collected goes. All return 0 or -errno, which ends the evaluation. */
struct ax_trace {
	int (*get)(void *ctx, unsigned variable, uint64_t *ret);
	int (*set)(void *ctx, unsigned variable, uint64_t value);
	int (*memory)(void *ctx, uint64_t addr, uint64_t len);
	int (*string)(void *ctx, uint64_t addr, uint64_t max); /* up to its NUL, or max bytes */
	int (*variable)(void *ctx, unsigned variable);
	void *ctx;
};

/* Bytecode's register number to ours (enum x86_reg), or -1 when there is none. */
typedef int (*ax_reg_map)(void *ctx, unsigned number);

/* What an evaluation may look at. */
struct ax_env {
	/* The register's low 64 bits; 0 or -errno. */
	int (*reg)(void *ctx, unsigned reg, uint64_t *ret);
	void             *ctx;
	const struct mem *mem;
	struct buf       *out;   /* printf; NULL: not wanted */
	const struct ax_trace *trace; /* NULL: an expression that needs it fails with -ENODATA */
};

/* -EINVAL with a sentence; -ENOMEM. */
int ax_compile(const uint8_t *code, size_t len, ax_reg_map map, void *map_ctx, struct ax **ret, struct err *err);
/* allowed: of enum ax_allowed */
int ax_compile_allowing(unsigned allowed, const uint8_t *code, size_t len, ax_reg_map map, void *map_ctx, struct ax **ret,
			struct err *err);
void ax_free(struct ax *ax);
/* The same instructions with the same operands; never of two that print. */
bool ax_equal(const struct ax *a, const struct ax *b);
/* Another one like it; NULL: no memory, or it prints. */
struct ax *ax_copy(const struct ax *ax);

/* 0 and the top of the stack at end (0 when empty); -EDOM division by zero, -EFAULT memory, -ELOOP too many steps. */
int ax_eval(const struct ax *ax, const struct ax_env *env, uint64_t *ret, struct err *err);

#endif
