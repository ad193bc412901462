#include "server/expr_internal.h"

#include <errno.h>
#include <string.h>

/* ---- comparing strings ---- */

bool expr_is_text_pointer(const struct value *v)
{
	struct di_type of;
	return (v->type.kind == DI_POINTER || v->type.kind == DI_ARRAY) && expr_target_of(v, &of) &&
	       of.size == 1 && (of.kind == DI_CHAR || of.kind == DI_INT);
}

/* libstdc++'s: the bytes first, then the length. libc++'s keeps short ones in itself. */
static bool is_std_string(const struct di_type *t)
{
	struct di_field bytes, length;

	return t->kind == DI_STRUCT && t->size == 32 && di_type_field(t, "_M_dataplus", &bytes) &&
	       bytes.offset == 0 && di_type_field(t, "_M_string_length", &length) &&
	       length.offset == 8;
}

bool expr_is_string(const struct value *v)
{
	return (v->form == PLACE || v->form == PARTS) &&
	       (v->type.kind == DI_STRING || is_std_string(&v->type));
}

static uint64_t bytes_as_number(const char *bytes, unsigned size)
{
	uint64_t n = 0;
	memcpy(&n, bytes, size);
	return n;
}

/* [pointer] becomes [] and a jump when a part differs. */
static size_t differ(struct parser *p, uint64_t at, const char *bytes, unsigned size)
{
	axcode_op(p->code, AXCODE_DUP);
	axcode_add_const(p->code, at);
	axcode_load(p->code, size, false);
	axcode_const(p->code, bytes_as_number(bytes, size));
	axcode_op(p->code, AXCODE_EQUAL);
	size_t same = axcode_jump(p->code, AXCODE_IF_GOTO);
	axcode_op(p->code, AXCODE_POP);
	axcode_const(p->code, 0);
	size_t out = axcode_jump(p->code, AXCODE_GOTO);
	axcode_land(p->code, same);
	return out;
}

static void land_all(struct parser *p, const size_t *jumps, size_t n)
{
	for (size_t i = 0; i < n; i++)
		axcode_land(p->code, jumps[i]);
}

/* [pointer] becomes [1] when len bytes there are these, else [0]. */
static void compare_bytes(struct parser *p, const char *text, size_t len, bool bytewise)
{
	size_t jumps[LITERAL_MAX + 1], n = 0;

	for (size_t at = 0; at < len;) {
		size_t left = len - at;
		unsigned size = bytewise || left < 2 ? 1 : left < 4 ? 2 : left < 8 ? 4 : 8;
		jumps[n++] = differ(p, at, text + at, size);
		at += size;
	}
	axcode_op(p->code, AXCODE_POP);
	axcode_const(p->code, 1);
	land_all(p, jumps, n);
}

/* A string with its length: compared only when that is right. */
static void compare_counted(struct parser *p, struct value *v, const struct value *text)
{
	struct value part = *v;
	bool place = v->form == PLACE;

	if (place) {
		axcode_op(p->code, AXCODE_DUP);
		axcode_add_const(p->code, 8);
		axcode_op(p->code, AXCODE_REF64);
	} else {
		part.offset += 8;
		expr_push_part(p, &part, 8, false);
	}
	axcode_const(p->code, text->len);
	axcode_op(p->code, AXCODE_EQUAL);
	size_t right = axcode_jump(p->code, AXCODE_IF_GOTO);
	if (place)
		axcode_op(p->code, AXCODE_POP);
	axcode_const(p->code, 0);
	size_t out = axcode_jump(p->code, AXCODE_GOTO);
	axcode_land(p->code, right);
	if (place)
		axcode_op(p->code, AXCODE_REF64);
	else
		expr_push_part(p, v, 8, false);
	compare_bytes(p, text->text, text->len, false);
	axcode_land(p->code, out);
}

/* Up to the NUL and no further: what is behind it may not be readable. No string is at NULL. */
static void compare_terminated(struct parser *p, struct value *v, const struct value *text)
{
	char bytes[LITERAL_MAX + 1];

	expr_load(p, v);
	axcode_op(p->code, AXCODE_DUP);
	size_t there = axcode_jump(p->code, AXCODE_IF_GOTO);
	axcode_op(p->code, AXCODE_POP);
	axcode_const(p->code, 0);
	size_t out = axcode_jump(p->code, AXCODE_GOTO);
	axcode_land(p->code, there);
	memcpy(bytes, text->text, text->len);
	bytes[text->len] = 0;
	compare_bytes(p, bytes, text->len + 1, true);
	axcode_land(p->code, out);
}

void expr_compare_text(struct parser *p, struct value *v, const struct value *text, bool differs)
{
	if (p->error)
		return;
	if (expr_is_string(v))
		compare_counted(p, v, text);
	else if (expr_is_text_pointer(v) && v->form != NUMBER)
		compare_terminated(p, v, text);
	else
		expr_fail(p, -EINVAL, "%s cannot be compared with a text", expr_name_of(&v->type));
	if (differs)
		axcode_op(p->code, AXCODE_LOG_NOT);
	*v = (struct value){ .form = SCALAR, .type = expr_int_type(p) };
}

void expr_spread_string(struct parser *p, struct value *v)
{
	if (p->error)
		return;
	if (v->form == PLACE) {
		axcode_op(p->code, AXCODE_DUP);
		axcode_op(p->code, AXCODE_REF64);
		axcode_op(p->code, AXCODE_SWAP);
		axcode_add_const(p->code, 8);
		axcode_op(p->code, AXCODE_REF64);
		return;
	}
	struct value part = *v;
	expr_push_part(p, &part, 8, false);
	part.offset += 8;
	expr_push_part(p, &part, 8, false);
}

static void drop_three(struct parser *p, uint64_t truth)
{
	for (int i = 0; i < 3; i++)
		axcode_op(p->code, AXCODE_POP);
	axcode_const(p->code, truth);
}

/* [bytes length bytes length] becomes [truth]: from the last byte on, when the lengths are the same. */
static void compare_spread(struct parser *p)
{
	axcode_pick(p->code, 2);
	axcode_op(p->code, AXCODE_EQUAL);
	size_t same = axcode_jump(p->code, AXCODE_IF_GOTO);
	drop_three(p, 0);
	size_t other_length = axcode_jump(p->code, AXCODE_GOTO);
	axcode_land(p->code, same);
	axcode_op(p->code, AXCODE_SWAP);
	size_t loop = p->code->len; /* bytes bytes left */
	axcode_op(p->code, AXCODE_DUP);
	axcode_op(p->code, AXCODE_LOG_NOT);
	size_t done = axcode_jump(p->code, AXCODE_IF_GOTO);
	axcode_add_const(p->code, (uint64_t)-1);
	for (int i = 0; i < 2; i++) {
		axcode_pick(p->code, 2);
		axcode_pick(p->code, (uint8_t)(1 + i));
		axcode_op(p->code, AXCODE_ADD);
		axcode_op(p->code, AXCODE_REF8);
	}
	axcode_op(p->code, AXCODE_EQUAL);
	axcode_jump_back(p->code, AXCODE_IF_GOTO, loop);
	drop_three(p, 0);
	size_t differs = axcode_jump(p->code, AXCODE_GOTO);
	axcode_land(p->code, done);
	drop_three(p, 1);
	axcode_land(p->code, differs);
	axcode_land(p->code, other_length);
}

void expr_compare_strings(struct parser *p, struct value *a, struct value *b, bool differs)
{
	if (p->error)
		return;
	if (!expr_is_string(b)) {
		expr_fail(p, -EINVAL,
			  "a string can be compared with another or with a \"text\", not with %s",
			  expr_name_of(&b->type));
		return;
	}
	expr_spread_string(p, b);
	compare_spread(p);
	if (differs)
		axcode_op(p->code, AXCODE_LOG_NOT);
	*a = (struct value){ .form = SCALAR, .type = expr_int_type(p) };
}

/* Slices and interfaces are nil when their first word is. */
bool expr_first_word(struct parser *p, struct value *v)
{
	if (v->type.kind != DI_SLICE && v->type.kind != DI_INTERFACE)
		return false;
	v->type = di_type_basic(DI_POINTER, 8, false);
	expr_load(p, v);
	return true;
}

/* ---- arithmetic ---- */

bool expr_is_constant(const struct value *v)
{
	return v->form == NUMBER || v->form == NIL;
}

/* The type both are brought to. */
static struct di_type common_type(const struct parser *p, struct di_type a, bool a_constant,
				  struct di_type b, bool b_constant)
{
	if (p->scope->go && a_constant != b_constant)
		return a_constant ? b : a;
	expr_promote(p, &a);
	expr_promote(p, &b);
	if (a.size != b.size)
		return a.size > b.size ? a : b;
	return a.is_signed ? b : a;
}

static void to_common(struct parser *p, const struct di_type *from, const struct di_type *to)
{
	if (from->is_signed != to->is_signed || from->size > to->size)
		axcode_extend(p->code, (unsigned)to->size * 8, to->is_signed);
}

static void compare(struct parser *p, enum op op, bool is_signed)
{
	if (op == OP_GT || op == OP_LE)
		axcode_op(p->code, AXCODE_SWAP);
	axcode_op(p->code, op == OP_EQ || op == OP_NE ? AXCODE_EQUAL
			   : is_signed                ? AXCODE_LESS_SIGNED
						      : AXCODE_LESS_UNSIGNED);
	if (op == OP_NE || op == OP_LE || op == OP_GE)
		axcode_op(p->code, AXCODE_LOG_NOT);
}

static void compute(struct parser *p, enum op op, const struct di_type *t)
{
	bool s = t->is_signed;

	switch (op) {
	case OP_ADD: axcode_op(p->code, AXCODE_ADD); break;
	case OP_SUB: axcode_op(p->code, AXCODE_SUB); break;
	case OP_MUL: axcode_op(p->code, AXCODE_MUL); break;
	case OP_DIV: axcode_op(p->code, s ? AXCODE_DIV_SIGNED : AXCODE_DIV_UNSIGNED); break;
	case OP_REM: axcode_op(p->code, s ? AXCODE_REM_SIGNED : AXCODE_REM_UNSIGNED); break;
	case OP_SHL: axcode_op(p->code, AXCODE_LSH); break;
	case OP_SHR: axcode_op(p->code, s ? AXCODE_RSH_SIGNED : AXCODE_RSH_UNSIGNED); break;
	case OP_BIT_CLEAR: axcode_op(p->code, AXCODE_BIT_NOT); /* fall through */
	case OP_BIT_AND: axcode_op(p->code, AXCODE_BIT_AND); break;
	case OP_BIT_OR: axcode_op(p->code, AXCODE_BIT_OR); break;
	default: axcode_op(p->code, AXCODE_BIT_XOR); break;
	}
	axcode_extend(p->code, (unsigned)t->size * 8, t->is_signed);
}

/* [pointer number]: the number counts what is pointed to. */
static void scale(struct parser *p, const struct value *pointer)
{
	struct di_type of;

	if (!expr_target_of(pointer, &of) || of.size <= 1)
		return;
	axcode_const(p->code, of.size);
	axcode_op(p->code, AXCODE_MUL);
}

/* A pointer and a number, which may come first in a sum: *a becomes the pointer. */
static void move_pointer(struct parser *p, enum op op, struct value *a, struct value *b)
{
	if (a->type.kind == DI_POINTER && b->type.kind == DI_POINTER) {
		expr_fail(p, -EINVAL,
			  "two pointers cannot be added or subtracted: cast them to long");
		return;
	}
	if (a->type.kind != DI_POINTER && op == OP_SUB) {
		expr_fail(p, -EINVAL,
			  "a pointer cannot be subtracted from a number: cast it to long");
		return;
	}
	if (a->type.kind != DI_POINTER) {
		axcode_op(p->code, AXCODE_SWAP);
		*a = *b;
	}
	scale(p, a);
	axcode_op(p->code, op == OP_ADD ? AXCODE_ADD : AXCODE_SUB);
}

/* As C does it: in double, and a float again when both are. A constant of Go's is a float if the other one is. */
static void float_arithmetic(struct parser *p, enum op op, struct value *a, bool a_constant,
			     struct value *b, bool b_constant)
{
	bool compares = op >= OP_EQ && op <= OP_GE, narrow, only_float;
	static const uint8_t codes[] = {
		[OP_EQ] = AXCODE_F_EQUAL,
		[OP_NE] = AXCODE_F_EQUAL,
		[OP_LT] = AXCODE_F_LESS,
		[OP_GE] = AXCODE_F_LESS_EQUAL,
		[OP_GT] = AXCODE_F_LESS,
		[OP_LE] = AXCODE_F_LESS_EQUAL,
		[OP_ADD] = AXCODE_F_ADD,
		[OP_SUB] = AXCODE_F_SUB,
		[OP_MUL] = AXCODE_F_MUL,
		[OP_DIV] = AXCODE_F_DIV,
		[OP_REM] = 0,
	};

	if (!codes[op]) {
		expr_fail(p, -EINVAL, "%% and the operators of bits need integers");
		return;
	}
	bool a_narrow = a->type.kind != DI_FLOAT || a->type.size == 4;
	bool b_narrow = b->type.kind != DI_FLOAT || b->type.size == 4;
	only_float = p->scope->go && a_constant != b_constant;
	narrow = only_float ? (a_constant ? b_narrow : a_narrow) : a_narrow && b_narrow;
	if (b->type.kind != DI_FLOAT)
		expr_to_float(p, &b->type);
	if (only_float && narrow && b_constant)
		axcode_op(p->code, AXCODE_F_ROUND);
	if (a->type.kind != DI_FLOAT || (only_float && narrow && a_constant)) {
		axcode_op(p->code, AXCODE_SWAP);
		if (a->type.kind != DI_FLOAT)
			expr_to_float(p, &a->type);
		if (only_float && narrow)
			axcode_op(p->code, AXCODE_F_ROUND);
		axcode_op(p->code, AXCODE_SWAP);
	}
	if (op == OP_GT || op == OP_GE)
		axcode_op(p->code, AXCODE_SWAP);
	axcode_op(p->code, codes[op]);
	if (op == OP_NE)
		axcode_op(p->code, AXCODE_LOG_NOT);
	if (!compares && narrow)
		axcode_op(p->code, AXCODE_F_ROUND);
	*a = (struct value){ .form = SCALAR,
			     .type = compares ? expr_int_type(p)
					      : di_type_basic(DI_FLOAT, narrow ? 4 : 8, true) };
}

void expr_arithmetic(struct parser *p, enum op op, struct value *a, bool a_constant,
		     struct value *b, bool b_constant)
{
	bool compares = op >= OP_EQ && op <= OP_GE;

	if (a->type.kind == DI_FLOAT || b->type.kind == DI_FLOAT) {
		float_arithmetic(p, op, a, a_constant, b, b_constant);
		return;
	}
	struct di_type t = common_type(p, a->type, a_constant, b->type, b_constant);

	if ((a->type.kind == DI_POINTER || b->type.kind == DI_POINTER) &&
	    (op == OP_ADD || op == OP_SUB)) {
		move_pointer(p, op, a, b);
		return;
	}
	if (op == OP_SHL || op == OP_SHR) {
		t = a->type;
		expr_promote(p, &t);
	} else {
		to_common(p, &b->type, &t);
		if (a->type.is_signed != t.is_signed || a->type.size > t.size) {
			axcode_op(p->code, AXCODE_SWAP);
			to_common(p, &a->type, &t);
			axcode_op(p->code, AXCODE_SWAP);
		}
	}
	if (compares)
		compare(p, op, t.is_signed);
	else
		compute(p, op, &t);
	*a = (struct value){ .form = SCALAR, .type = compares ? expr_int_type(p) : t };
}
