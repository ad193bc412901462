#include "server/expr_internal.h"

#include <errno.h>

/* Getting values onto the stack. */

/* Part of a variable in pieces: which piece has all of it. */
static const struct di_piece *piece_of(const struct di_var *var, uint64_t offset, uint64_t size)
{
	for (size_t i = 0; i < var->count; i++) {
		const struct di_piece *piece = &var->pieces[i];
		uint64_t have = piece->size ? piece->size : UINT64_MAX;
		if (offset >= piece->offset && offset - piece->offset <= have &&
		    size <= have - (offset - piece->offset))
			return piece;
	}
	return NULL;
}

void expr_push_part(struct parser *p, const struct value *v, unsigned size, bool is_signed)
{
	const struct di_piece *piece = piece_of(v->var, v->offset, size);

	if (!piece || piece->where == DI_NOWHERE) {
		expr_fail(p, -ENODATA, "a part of '%s' is kept nowhere at this instruction",
			  v->var->name);
		return;
	}
	uint64_t from = v->offset - piece->offset;
	buf_put(p->code, piece->code, piece->len);
	if (piece->where == DI_MEMORY) {
		axcode_add_const(p->code, from);
		axcode_load(p->code, size, is_signed);
	} else if (from >= 8) {
		expr_fail(p, -ENODATA, "'%s' is in a register that conditions cannot see all of",
			  v->var->name);
	} else {
		if (from) {
			axcode_const(p->code, from * 8);
			axcode_op(p->code, AXCODE_RSH_UNSIGNED);
		}
		axcode_extend(p->code, size * 8, is_signed);
	}
}

static void push_bits(struct parser *p, struct value *v)
{
	unsigned bytes = (v->bit_at + v->bits + 7) / 8;

	if (bytes > 8) {
		expr_fail(p, -ENODATA, "the bit field is spread over more than a word");
		return;
	}
	if (v->form == PLACE)
		axcode_load(p->code, bytes, false);
	else
		expr_push_part(p, v, bytes, false);
	if (v->bit_at) {
		axcode_const(p->code, v->bit_at);
		axcode_op(p->code, AXCODE_RSH_UNSIGNED);
	}
	axcode_extend(p->code, v->bits, v->type.is_signed);
}

/* As a double, whatever it was. */
static void load_float(struct parser *p, struct value *v)
{
	unsigned size = (unsigned)v->type.size;

	if (size != 4 && size != 8) {
		expr_fail(p, -EINVAL, "of floating point, float and double can be used, not %s",
			  expr_name_of(&v->type));
		return;
	}
	if (v->form == PLACE)
		axcode_load(p->code, size, false);
	else
		expr_push_part(p, v, size, false);
	if (size == 4)
		axcode_op(p->code, AXCODE_F_FROM_FLOAT);
}

void expr_load_integer(struct parser *p, struct value *v, const char *what)
{
	expr_load(p, v);
	if (!p->error && v->type.kind == DI_FLOAT)
		expr_fail(p, -EINVAL, "%s needs an integer", what);
}

/* Afterwards it is a SCALAR on the stack. */
void expr_load(struct parser *p, struct value *v)
{
	if (p->error || v->form == SCALAR)
		return;
	if (v->form == NUMBER || v->form == NIL) {
		axcode_const(p->code, v->number);
	} else if (v->form == LITERAL) {
		expr_fail(p, -EINVAL, "a text can only be compared with a string by == and !=");
	} else if (v->type.kind == DI_ARRAY && v->form == PLACE) {
		struct di_type element;
		struct di_type *kept = di_type_target(&v->type, &element) ? expr_own(p) : NULL;
		if (kept)
			*kept = element;
		v->target = kept;
		v->type = di_type_basic(DI_POINTER, 8, false);
	} else if (v->type.kind == DI_OTHER && v->form == PLACE) {
		expr_fail(p, -EINVAL, "its type is not known: say it, as in (int)name");
	} else if (v->type.kind == DI_FLOAT) {
		load_float(p, v);
	} else if (v->type.kind == DI_STRUCT && !v->type.size) {
		expr_fail(p, -EINVAL,
			  "nothing is known of %s but its name: build with -fstandalone-debug",
			  expr_name_of(&v->type));
	} else if (!expr_is_scalar(&v->type)) {
		expr_fail(p, -EINVAL, "%s cannot be used as a number%s", expr_name_of(&v->type),
			  v->type.kind == DI_STRING ? ": compare it with \"text\", or use len()"
						    : "");
	} else if (v->bits) {
		push_bits(p, v);
	} else if (v->form == PLACE) {
		axcode_load(p->code, (unsigned)v->type.size, v->type.is_signed);
	} else {
		expr_push_part(p, v, (unsigned)v->type.size, v->type.is_signed);
	}
	v->bits = 0;
	v->form = SCALAR;
}

void expr_load_truth(struct parser *p, struct value *v)
{
	expr_load(p, v);
	if (v->type.kind == DI_FLOAT) {
		axcode_const(p->code, 0);
		axcode_op(p->code, AXCODE_F_EQUAL);
		axcode_op(p->code, AXCODE_LOG_NOT);
	}
	v->type = expr_int_type(p);
	v->target = NULL;
}

/* A pointer becomes the place it points to. */
void expr_follow(struct parser *p, struct value *v)
{
	struct di_type target;

	expr_load(p, v);
	if (p->error)
		return;
	if (v->type.kind != DI_POINTER || !expr_target_of(v, &target) || target.kind == DI_VOID) {
		expr_fail(p, -EINVAL, "%s points to nothing that is known", expr_name_of(&v->type));
		return;
	}
	*v = (struct value){ .form = PLACE, .type = target };
}

void expr_follow_reference(struct parser *p, struct value *v)
{
	if (v->type.kind == DI_POINTER && v->type.reference && v->form != SCALAR)
		expr_follow(p, v);
}
