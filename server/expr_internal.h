/*
 * expr_internal.h - what the files of the expression compiler share.
 *
 * One pass: the parser goes down by precedence and writes code as it goes, for a machine with a stack. What has been parsed and not
 * been needed yet is a struct value: on the stack, or its address is, or nothing is and the variable's pieces say how to get it.
 * After an error everything goes on without effect; struct parser keeps the first one.
 */
#ifndef STOPGO_EXPR_INTERNAL_H
#define STOPGO_EXPR_INTERNAL_H

#include "server/expr.h"

enum { NAME_MAX_LEN = 256, LITERAL_MAX = 256 };

enum form {
	SCALAR,  /* its value is on the stack */
	PLACE,   /* its address is */
	PARTS,   /* nothing is: var from offset on */
	NUMBER,  /* nothing is: a constant, which takes the type of what it meets */
	LITERAL, /* nothing is: a string */
	NIL,
};

struct value {
	enum form form;
	struct di_type type;
	const struct di_type *target; /* of a pointer that a cast made */
	const struct di_var *var;
	uint64_t offset;
	unsigned bit_at, bits;
	uint64_t number;
	const char *text;
	size_t len;
};

struct owned {
	struct owned *next;
	union {
		struct di_var var;
		struct di_type type;
		char text[LITERAL_MAX];
	};
};

struct parser {
	const char *text, *at;
	const struct expr_scope *scope;
	struct buf *code;
	struct err *err;
	int error;
	unsigned depth;
	struct owned *owned;
};

enum op {
	OP_NONE,
	OP_OR,
	OP_AND,
	OP_EQ,
	OP_NE,
	OP_LT,
	OP_LE,
	OP_GT,
	OP_GE,
	OP_BIT_OR,
	OP_BIT_XOR,
	OP_BIT_AND,
	OP_BIT_CLEAR,
	OP_SHL,
	OP_SHR,
	OP_ADD,
	OP_SUB,
	OP_MUL,
	OP_DIV,
	OP_REM,
};

/* --- expr_words.c --- */

/* The first one counts; p->error from then on. */
void expr_fail(struct parser *p, int error, const char *fmt, ...) _printf_(3, 4);
/* Zeroed room that lives as long as the parser: a struct di_var, a struct di_type or LITERAL_MAX bytes. NULL: no memory, which has been said. */
void *expr_own(struct parser *p);

void expr_blanks(struct parser *p);
/* Is the token next, behind blanks; take() goes past it, expect() says what is missing. */
bool expr_sees(struct parser *p, const char *token);
bool expr_take(struct parser *p, const char *token);
void expr_expect(struct parser *p, const char *token);
bool expr_begins_name(char c);
bool expr_in_name(char c);
bool expr_take_name(struct parser *p, char *into);
/* "uint32" "unsigned long": a type that needs no debug information. */
bool expr_take_type(struct parser *p, struct di_type *ret);
struct di_type expr_int_type(const struct parser *p);
bool expr_is_scalar(const struct di_type *t);
const char *expr_name_of(const struct di_type *t);
/* What a pointer points to. */
bool expr_target_of(const struct value *v, struct di_type *ret);

/* --- expr_value.c --- */

void expr_push_part(struct parser *p, const struct value *v, unsigned size, bool is_signed);
/* Whatever its form: afterwards the value is on the stack; of a structure it fails. */
void expr_load(struct parser *p, struct value *v);
/* The same of what must not be floating point. */
void expr_load_integer(struct parser *p, struct value *v, const char *what);
void expr_load_truth(struct parser *p, struct value *v);
/* What a pointer, or a reference, points to: a PLACE. */
void expr_follow(struct parser *p, struct value *v);
void expr_follow_reference(struct parser *p, struct value *v);

/* --- expr_operand.c --- */

void expr_parse_literal(struct parser *p, struct value *ret);
void expr_postfix(struct parser *p, struct value *v);

/* --- expr_operate.c --- */

bool expr_is_text_pointer(const struct value *v);
/* Go's string, Rust's &str, C++'s std::string: bytes and a length, in this order. */
bool expr_is_string(const struct value *v);
/* The left one of two becomes its bytes and length on the stack; then both are compared. */
void expr_spread_string(struct parser *p, struct value *v);
void expr_compare_strings(struct parser *p, struct value *a, struct value *b, bool differs);
void expr_compare_text(struct parser *p, struct value *v, const struct value *text, bool differs);
bool expr_first_word(struct parser *p, struct value *v);
bool expr_is_constant(const struct value *v);
void expr_arithmetic(struct parser *p, enum op op, struct value *a, bool a_constant,
		     struct value *b, bool b_constant);

/* --- expr.c --- */

/* Cells of these types become doubles, or numbers of that type. */
void expr_to_float(struct parser *p, const struct di_type *from);
void expr_convert(struct parser *p, struct value *v, const struct di_type *to);
void expr_promote(const struct parser *p, struct di_type *t);
void expr_unary(struct parser *p, struct value *v);
void expr_parse(struct parser *p, int precedence, struct value *ret);

#endif
