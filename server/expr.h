/*
 * expr.h - what a person writes as a condition, compiled to the bytecode of agent expressions.
 *
 * Values:    integers, characters, booleans, enumerations, float and double, pointers; members by . and ->, elements by [], what a
 *            pointer points to by *; registers ($rax, $sp). Strings can be compared with each other (of Go, Rust's &str, libstdc++'s
 *            std::string; some 5,000 bytes of them) and with "text", and asked for their len(); nil with everything that can be nil.
 *            No long double, no calls.
 * Operators: those of C, or of Go (&^, another precedence) where the code is Go. Arithmetic is done in the type C or Go would use.
 * Reading:   what is read is read when the condition is evaluated; what cannot be read then is an error then (target/ax.h).
 * Limits:    EXPR_TEXT_MAX, EXPR_DEPTH_MAX.
 */
#ifndef STOPGO_EXPR_H
#define STOPGO_EXPR_H

#include "dwarf/debuginfo.h"

enum { EXPR_TEXT_MAX = 4096, EXPR_DEPTH_MAX = 64, EXPR_CODE_MAX = 32768 };

/* What names mean. Both may be NULL: then there are registers and numbers only. */
struct expr_scope {
	bool go;
	int (*variable)(void *ctx, const char *name, struct di_var *ret, struct err *err);
	int (*constant)(void *ctx, const char *name, int64_t *ret);
	void *ctx;
};

/* Appends bytecode that ends with the truth of the text. -EINVAL, -ENOENT, -ENODATA, -ENOMEM with a sentence. */
int expr_compile_condition(const char *text, const struct expr_scope *scope, struct buf *code,
			   struct err *err);

/* The same of an expression that means a variable: ends with its address. -EINVAL: it is none, or is in a register. */
int expr_compile_address(const char *text, const struct expr_scope *scope, struct buf *code,
			 struct di_type *ret, struct err *err);

/* The bytecode's register numbers, DWARF's, as enum x86_reg: for ax_compile(). */
int expr_ax_reg(void *ctx, unsigned number);

#endif
