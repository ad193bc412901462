#include "server/expr.h"
#include "server/expr_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- unary operators ---- */

void expr_to_float(struct parser *p, const struct di_type *from)
{
	if (from->kind == DI_POINTER)
		expr_fail(p, -EINVAL, "a pointer and floating point do not go together");
	axcode_op(p->code, from->is_signed || from->size < 8 ? AXCODE_F_FROM_SIGNED
							     : AXCODE_F_FROM_UNSIGNED);
}

void expr_convert(struct parser *p, struct value *v, const struct di_type *to)
{
	if (p->error)
		return;
	if (v->type.kind == DI_OTHER && v->form == PLACE)
		v->type = *to;
	if (to->kind == DI_BOOL)
		expr_load_truth(p, v);
	else
		expr_load(p, v);
	if (p->error)
		return;
	if (to->kind == DI_FLOAT) {
		if (v->type.kind != DI_FLOAT)
			expr_to_float(p, &v->type);
		if (to->size == 4)
			axcode_op(p->code, AXCODE_F_ROUND);
		v->type = *to;
		v->target = NULL;
		return;
	}
	if (v->type.kind == DI_FLOAT)
		axcode_op(p->code, AXCODE_F_TO_SIGNED);
	if (to->kind == DI_BOOL) {
		axcode_op(p->code, AXCODE_LOG_NOT);
		axcode_op(p->code, AXCODE_LOG_NOT);
	}
	axcode_extend(p->code, (unsigned)to->size * 8, to->is_signed);
	v->type = *to;
	v->target = NULL;
}

/* "(type)", "(type *)"; false: it is something else in parentheses. */
static bool take_cast(struct parser *p, struct di_type *ret, struct di_type **ret_target)
{
	const char *before = p->at;

	*ret_target = NULL;
	if (expr_take(p, "(") && expr_take_type(p, ret)) {
		if (expr_take(p, "*")) {
			*ret_target = expr_own(p);
			if (*ret_target)
				**ret_target = *ret;
			*ret = di_type_basic(DI_POINTER, 8, false);
		}
		if (expr_take(p, ")"))
			return true;
	}
	p->at = before;
	return false;
}

/* Integers narrower than int become int, in C. */
void expr_promote(const struct parser *p, struct di_type *t)
{
	bool small = t->size < 4 || t->kind == DI_BOOL || t->kind == DI_CHAR;

	t->name = NULL;
	if (t->kind == DI_POINTER)
		return;
	t->kind = DI_INT;
	if (small && !p->scope->go)
		*t = di_type_basic(DI_INT, MAX(t->size, (uint64_t)4), t->size < 4 || t->is_signed);
}

static void address_of(struct parser *p, struct value *v)
{
	struct di_type *target = expr_own(p);

	expr_unary(p, v);
	if (p->error || !target)
		return;
	if (v->form != PLACE || v->bits) {
		expr_fail(p, -EINVAL, "this has no address");
		return;
	}
	*target = v->type;
	*v = (struct value){ .form = SCALAR,
			     .type = di_type_basic(DI_POINTER, 8, false),
			     .target = target };
}

static void negate(struct parser *p, struct value *v, bool complement)
{
	expr_unary(p, v);
	if (complement)
		expr_load_integer(p, v, "~");
	else
		expr_load(p, v);
	if (p->error)
		return;
	if (v->type.kind == DI_FLOAT) {
		axcode_const(p->code, UINT64_C(1) << 63);
		axcode_op(p->code, AXCODE_BIT_XOR);
		return;
	}
	expr_promote(p, &v->type);
	axcode_op(p->code, AXCODE_BIT_NOT);
	if (!complement)
		axcode_add_const(p->code, 1);
	axcode_extend(p->code, (unsigned)v->type.size * 8, v->type.is_signed);
}

void expr_unary(struct parser *p, struct value *v)
{
	struct di_type type, *target;

	if (p->error)
		return;
	if (++p->depth > EXPR_DEPTH_MAX) {
		expr_fail(p, -EINVAL, "it is nested more than %d deep", EXPR_DEPTH_MAX);
	} else if (take_cast(p, &type, &target)) {
		expr_unary(p, v);
		expr_convert(p, v, &type);
		v->target = target;
	} else if (!expr_sees(p, "!=") && expr_take(p, "!")) {
		expr_unary(p, v);
		expr_load_truth(p, v);
		axcode_op(p->code, AXCODE_LOG_NOT);
	} else if (expr_take(p, "-")) {
		negate(p, v, false);
	} else if (expr_take(p, "~") || expr_take(p, "^")) {
		negate(p, v, true);
	} else if (expr_take(p, "+")) {
		expr_unary(p, v);
		expr_load(p, v);
	} else if (expr_take(p, "*")) {
		expr_unary(p, v);
		expr_follow(p, v);
		expr_follow_reference(p, v);
	} else if (!expr_sees(p, "&&") && expr_take(p, "&")) {
		address_of(p, v);
	} else {
		expr_postfix(p, v);
	}
	p->depth--;
}

/* ---- binary operators ---- */

/* Longer ones first. */
static const struct {
	const char *text;
	enum op op;
	uint8_t in_c, in_go;
} operators[] = {
	{ "||", OP_OR, 1, 1 },     { "&&", OP_AND, 2, 2 },        { "==", OP_EQ, 6, 6 },
	{ "!=", OP_NE, 6, 6 },     { "<<", OP_SHL, 8, 10 },       { ">>", OP_SHR, 8, 10 },
	{ "<=", OP_LE, 7, 6 },     { ">=", OP_GE, 7, 6 },         { "<", OP_LT, 7, 6 },
	{ ">", OP_GT, 7, 6 },      { "&^", OP_BIT_CLEAR, 0, 10 }, { "|", OP_BIT_OR, 3, 9 },
	{ "^", OP_BIT_XOR, 4, 9 }, { "&", OP_BIT_AND, 5, 10 },    { "+", OP_ADD, 9, 9 },
	{ "-", OP_SUB, 9, 9 },     { "*", OP_MUL, 10, 10 },       { "/", OP_DIV, 10, 10 },
	{ "%", OP_REM, 10, 10 },
};

static enum op see_operator(struct parser *p, int *ret_precedence, size_t *ret_len)
{
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		uint8_t precedence = p->scope->go ? operators[i].in_go : operators[i].in_c;
		if (!precedence || !expr_sees(p, operators[i].text))
			continue;
		*ret_precedence = precedence;
		*ret_len = strlen(operators[i].text);
		return operators[i].op;
	}
	return OP_NONE;
}

static void logical(struct parser *p, enum op op, int precedence, struct value *a)
{
	struct value b = { 0 };

	expr_load_truth(p, a);
	if (op == OP_AND)
		axcode_op(p->code, AXCODE_LOG_NOT);
	size_t decided = axcode_jump(p->code, AXCODE_IF_GOTO);
	expr_parse(p, precedence + 1, &b);
	expr_load_truth(p, &b);
	axcode_op(p->code, AXCODE_LOG_NOT);
	axcode_op(p->code, AXCODE_LOG_NOT);
	size_t out = axcode_jump(p->code, AXCODE_GOTO);
	axcode_land(p->code, decided);
	axcode_const(p->code, op == OP_OR);
	axcode_land(p->code, out);
	*a = (struct value){ .form = SCALAR, .type = expr_int_type(p) };
}

/* The left operand is parsed; the operator is behind us. */
static void binary(struct parser *p, enum op op, int precedence, struct value *a)
{
	struct value b = { 0 };
	bool equality = op == OP_EQ || op == OP_NE, a_constant = expr_is_constant(a), b_constant;

	/* A text waits for what it is compared with, and that one for the text. */
	if (equality && (a->form == LITERAL || expr_is_string(a) || expr_is_text_pointer(a))) {
		const char *before = p->at;
		expr_blanks(p);
		if (a->form == LITERAL) {
			expr_parse(p, precedence + 1, &b);
			expr_compare_text(p, &b, a, op == OP_NE);
			*a = b;
			return;
		}
		if (*p->at == '"') {
			expr_parse_literal(p, &b);
			expr_compare_text(p, a, &b, op == OP_NE);
			return;
		}
		p->at = before;
		if (expr_is_string(a)) {
			expr_spread_string(p, a);
			expr_parse(p, precedence + 1, &b);
			expr_compare_strings(p, a, &b, op == OP_NE);
			return;
		}
	}
	bool a_nil = a->form == NIL, a_words = equality && expr_first_word(p, a);
	if (!a_words)
		expr_load(p, a);
	expr_parse(p, precedence + 1, &b);
	b_constant = expr_is_constant(&b);
	bool b_nil = b.form == NIL, b_words = equality && expr_first_word(p, &b);
	if (!b_words)
		expr_load(p, &b);
	/* The first word of an interface is its type. */
	if ((a_words && !b_nil) || (b_words && !a_nil))
		expr_fail(p, -EINVAL, "interfaces and slices can be compared with nil only");
	if (!p->error)
		expr_arithmetic(p, op, a, a_constant, &b, b_constant);
}

void expr_parse(struct parser *p, int precedence, struct value *ret)
{
	int found;
	size_t len;

	expr_unary(p, ret);
	while (!p->error) {
		enum op op = see_operator(p, &found, &len);
		if (op == OP_NONE || found < precedence)
			return;
		p->at += len;
		if (++p->depth > EXPR_DEPTH_MAX) {
			expr_fail(p, -EINVAL, "it is nested more than %d deep", EXPR_DEPTH_MAX);
			return;
		}
		if (op == OP_AND || op == OP_OR)
			logical(p, op, found, ret);
		else
			binary(p, op, found, ret);
		p->depth--;
	}
}

static void take_address(struct parser *p, struct value *v)
{
	if (v->form != PLACE || v->bits)
		expr_fail(p, -EINVAL,
			  "this is no variable in memory: it is a value, a bit field or in a "
			  "register");
}

/* want: what becomes of the value. */
static int compile(const char *text, const struct expr_scope *scope, struct buf *code,
		   void (*want)(struct parser *, struct value *), struct di_type *ret_type,
		   struct err *err)
{
	struct parser p = { .text = text, .at = text, .scope = scope, .code = code, .err = err };
	struct value v = { 0 };

	if (strlen(text) > EXPR_TEXT_MAX)
		return err_set(err, -EINVAL, "the expression is longer than %d bytes",
			       EXPR_TEXT_MAX);
	expr_parse(&p, 1, &v);
	expr_blanks(&p);
	if (*p.at)
		expr_fail(&p, -EINVAL, "something is left over");
	if (!p.error)
		want(&p, &v);
	axcode_op(code, AXCODE_END);
	*ret_type = v.type;
	while (p.owned) {
		struct owned *next = p.owned->next;
		free(p.owned);
		p.owned = next;
	}
	if (!p.error && buf_error(code))
		return err_set(err, buf_error(code), "'%.100s' is too long", text);
	return p.error;
}

int expr_compile_condition(const char *text, const struct expr_scope *scope, struct buf *code,
			   struct err *err)
{
	struct di_type type;
	return compile(text, scope, code, expr_load_truth, &type, err);
}

int expr_compile_address(const char *text, const struct expr_scope *scope, struct buf *code,
			 struct di_type *ret, struct err *err)
{
	struct di_type type;
	int r = compile(text, scope, code, take_address, &type, err);
	if (r == 0)
		*ret = type;
	return r;
}
