#include "server/expr_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/x86/regs.h"

/* ---- primary expressions ---- */

static void number_value(struct parser *p, uint64_t number, bool is_signed, struct value *ret)
{
	*ret = (struct value){ .form = NUMBER, .number = number, .type = expr_int_type(p) };
	if (!is_signed)
		ret->type.is_signed = false;
	if (number > INT32_MAX)
		ret->type.size = 8;
}

/* "1.5", "2e-3", "0.25f" */
static void parse_float(struct parser *p, struct value *ret)
{
	char *end;
	double d = strtod(p->at, &end);
	bool is_float = (*end | 32) == 'f';

	p->at = end + is_float;
	if (expr_in_name(*p->at)) {
		expr_fail(p, -EINVAL, "this is no number");
		return;
	}
	if (is_float)
		d = (float)d;
	*ret = (struct value){ .form = NUMBER,
			       .type = di_type_basic(DI_FLOAT, is_float ? 4 : 8, true) };
	memcpy(&ret->number, &d, sizeof(d));
}

static void parse_number(struct parser *p, struct value *ret)
{
	unsigned base = 10;
	uint64_t number = 0;
	bool is_signed = true, any = false, is_long = false;
	const char *begin = p->at;

	if (p->at[0] == '0' && (p->at[1] | 32) == 'x')
		base = 16, p->at += 2;
	else if (p->at[0] == '0' && (p->at[1] | 32) == 'b')
		base = 2, p->at += 2;
	else if (p->at[0] == '0' && (p->at[1] | 32) == 'o')
		base = 8, p->at += 2;
	else if (p->at[0] == '0' && isdigit((unsigned char)p->at[1]))
		base = 8, p->at++;
	for (;; p->at++) {
		char c = *p->at;
		unsigned digit = isdigit((unsigned char)c)    ? (unsigned)(c - '0')
				 : isxdigit((unsigned char)c) ? (unsigned)((c | 32) - 'a' + 10)
							      : 99;
		if (c == '_' && any)
			continue;
		if (digit >= base)
			break;
		any = true;
		if (__builtin_mul_overflow(number, (uint64_t)base, &number) ||
		    __builtin_add_overflow(number, (uint64_t)digit, &number)) {
			expr_fail(p, -EINVAL, "the number does not fit in 64 bits");
			return;
		}
	}
	if (base == 10 && (any || *begin == '.') && (*p->at == '.' || (*p->at | 32) == 'e')) {
		p->at = begin;
		parse_float(p, ret);
		return;
	}
	for (; *p->at && strchr("uUlL", *p->at); p->at++) {
		is_signed &= (*p->at | 32) != 'u';
		is_long |= (*p->at | 32) == 'l';
	}
	if (!any || expr_in_name(*p->at))
		expr_fail(p, -EINVAL, "this is no number");
	number_value(p, number, is_signed, ret);
	if (is_long)
		ret->type.size = 8;
	if (number > INT64_MAX)
		ret->type.is_signed = false;
	else if (base != 10 && number > INT32_MAX && number <= UINT32_MAX && !p->scope->go &&
		 !is_long)
		ret->type = di_type_basic(DI_INT, 4, false);
}

/* One character of a literal; -1: it has ended or is wrong. */
static int character(struct parser *p, char quote)
{
	static const char from[] = "abfnrtv0\\'\"", to[] = "\a\b\f\n\r\t\v\0\\'\"";
	const char *known;
	unsigned char c = (unsigned char)*p->at;

	if (!c || c == (unsigned char)quote)
		return -1;
	p->at++;
	if (c != '\\')
		return c;
	c = (unsigned char)*p->at;
	if (c == 'x' && isxdigit((unsigned char)p->at[1]) && isxdigit((unsigned char)p->at[2])) {
		char digits[3] = { p->at[1], p->at[2], 0 };
		p->at += 3;
		return (int)strtoul(digits, NULL, 16);
	}
	known = c ? memchr(from, c, sizeof(from) - 1) : NULL;
	if (!known) {
		expr_fail(p, -EINVAL, "this escape is not known");
		return -1;
	}
	p->at++;
	return (unsigned char)to[known - from];
}

/* What stands between single quotes; UTF-8 is one character, too. */
static void parse_character(struct parser *p, struct value *ret)
{
	uint32_t value = 0;
	int c, more;

	p->at++;
	bool escaped = *p->at == '\\';
	c = character(p, '\'');
	value = (uint32_t)c;
	more = escaped || c < 0xc0 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
	if (more)
		value &= 0x3fu >> more;
	for (; more && c >= 0; more--) {
		c = character(p, '\'');
		value = value << 6 | ((uint32_t)c & 0x3f);
	}
	if (c < 0 || *p->at != '\'') {
		expr_fail(p, -EINVAL, "this is no character");
		return;
	}
	p->at++;
	number_value(p, value, true, ret);
}

void expr_parse_literal(struct parser *p, struct value *ret)
{
	char *text = expr_own(p);
	size_t len = 0;
	int c;

	p->at++;
	while (text && (c = character(p, '"')) >= 0) {
		if (len == LITERAL_MAX) {
			expr_fail(p, -EINVAL, "the text is longer than %d bytes", LITERAL_MAX);
			return;
		}
		text[len++] = (char)c;
	}
	if (*p->at != '"')
		expr_fail(p, -EINVAL, "the text has no end");
	else
		p->at++;
	*ret = (struct value){ .form = LITERAL, .text = text, .len = len };
}

/* ---- names ---- */

/* In DWARF's order. */
static const uint8_t dwarf_regs[] = {
	X86_RAX, X86_RDX, X86_RCX, X86_RBX, X86_RSI, X86_RDI, X86_RBP, X86_RSP, X86_R8,
	X86_R9,  X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15, X86_RIP,
};

enum {
	DWARF_XMM0 = 17,
	DWARF_RFLAGS = 49,
	DWARF_FS_BASE = 58,
	DWARF_GS_BASE = 59,
	OWN_REGS = 1000
};

int expr_ax_reg(void *ctx, unsigned number)
{
	(void)ctx;
	if (number < ARRAY_SIZE(dwarf_regs))
		return dwarf_regs[number];
	if (number >= DWARF_XMM0 && number < DWARF_XMM0 + 16)
		return X86_XMM0 + (int)number - DWARF_XMM0;
	switch (number) {
	case DWARF_RFLAGS: return X86_EFLAGS;
	case DWARF_FS_BASE: return X86_FS_BASE;
	case DWARF_GS_BASE: return X86_GS_BASE;
	default:
		return number >= OWN_REGS && number < OWN_REGS + X86_REG_COUNT
			       ? (int)number - OWN_REGS
			       : -1;
	}
}

static void parse_register(struct parser *p, struct value *ret)
{
	static const struct {
		const char *name;
		enum x86_reg reg;
	} others[] = { { "pc", X86_RIP }, { "sp", X86_RSP }, { "fp", X86_RBP } };
	char name[NAME_MAX_LEN], whole[8];
	int reg = -1;
	unsigned size = 8;

	p->at++;
	if (!expr_take_name(p, name)) {
		expr_fail(p, -EINVAL, "a register's name is missing behind '$'");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (!strcmp(name, others[i].name))
			reg = others[i].reg;
	if (reg < 0)
		reg = x86_reg_by_name(name);
	if (reg < 0 && name[0] == 'e' && strlen(name) == 3) {
		snprintf(whole, sizeof(whole), "r%.2s", name + 1);
		reg = x86_reg_by_name(whole);
		size = 4;
	}
	if (reg < 0 || x86_reg_size((unsigned)reg) > 8) {
		expr_fail(p, -EINVAL, "there is no register '$%s' of at most 64 bits", name);
		return;
	}
	size = MIN(size, (unsigned)x86_reg_size((unsigned)reg));
	axcode_reg(p->code, OWN_REGS + (unsigned)reg);
	axcode_extend(p->code, size * 8, true);
	*ret = (struct value){ .form = SCALAR, .type = di_type_basic(DI_INT, size, true) };
}

static void variable_value(struct parser *p, const struct di_var *var, struct value *ret)
{
	*ret = (struct value){ .form = PARTS, .type = var->type, .var = var };
	if (var->count == 1 && var->pieces[0].where == DI_MEMORY && !var->pieces[0].size) {
		buf_put(p->code, var->pieces[0].code, var->pieces[0].len);
		ret->form = PLACE;
	}
	expr_follow_reference(p, ret);
}

static bool word_value(struct parser *p, const char *name, struct value *ret)
{
	if (!strcmp(name, "true") || !strcmp(name, "false")) {
		number_value(p, name[0] == 't', true, ret);
		return true;
	}
	if (!strcmp(name, "nil") || !strcmp(name, "NULL") || !strcmp(name, "nullptr")) {
		*ret = (struct value){ .form = NIL, .type = di_type_basic(DI_POINTER, 8, false) };
		return true;
	}
	return false;
}

static int find_name(struct parser *p, const char *name, struct value *ret, struct err *err)
{
	const struct expr_scope *s = p->scope;
	struct di_var *var = s->variable ? expr_own(p) : NULL;
	int64_t number;
	int r = var ? s->variable(s->ctx, name, var, err) : -ENOENT;

	if (r == 0) {
		variable_value(p, var, ret);
		return 0;
	}
	if (r == -ENOENT && s->constant && s->constant(s->ctx, name, &number) == 0) {
		number_value(p, (uint64_t)number, true, ret);
		ret->type.size = number > INT32_MAX || number < INT32_MIN ? 8 : ret->type.size;
		return 0;
	}
	return r;
}

static void parse_len(struct parser *p, bool capacity, struct value *ret)
{
	struct di_field part;

	expr_expect(p, "(");
	expr_parse(p, 1, ret);
	expr_expect(p, ")");
	if (p->error)
		return;
	if (ret->form == LITERAL) {
		number_value(p, ret->len, true, ret);
		return;
	}
	/* Of libstdc++'s the length is the second word, too. */
	bool of_cxx = !capacity && ret->type.kind == DI_STRUCT && expr_is_string(ret);
	if (of_cxx)
		part = (struct di_field){ .offset = 8, .type = di_type_basic(DI_INT, 8, false) };
	if ((!of_cxx && !di_type_part(&ret->type, capacity ? 2 : 1, &part)) ||
	    (ret->form != PLACE && ret->form != PARTS)) {
		expr_fail(p, -EINVAL, "%s has no %s", expr_name_of(&ret->type),
			  capacity ? "capacity" : "length");
		return;
	}
	if (ret->form == PLACE)
		axcode_add_const(p->code, part.offset);
	ret->offset += part.offset;
	ret->type = part.type;
	expr_load(p, ret);
}

static void parse_name(struct parser *p, struct value *ret)
{
	char name[2 * NAME_MAX_LEN + 2];
	struct di_type type;
	struct err why = { 0 };
	const char *before = p->at;

	if (expr_take_type(p, &type) && expr_take(p, "(")) {
		expr_parse(p, 1, ret);
		expr_expect(p, ")");
		expr_convert(p, ret, &type);
		return;
	}
	p->at = before;
	if (!expr_take_name(p, name))
		return;
	if ((!strcmp(name, "len") || !strcmp(name, "cap")) && expr_sees(p, "(")) {
		parse_len(p, name[0] == 'c', ret);
		return;
	}
	int r = find_name(p, name, ret, &why);
	if (r == -ENOENT && word_value(p, name, ret))
		return;
	/* "pkg.name" of Go is one name. */
	size_t len = strlen(name);
	const char *behind = p->at;
	if (r == -ENOENT && expr_take(p, ".") && expr_take_name(p, name + len + 1)) {
		struct err joined = { 0 };
		name[len] = '.';
		r = find_name(p, name, ret, &joined);
		if (r != -ENOENT)
			why = joined;
		else
			p->at = behind;
	}
	name[len] = r < 0 ? 0 : name[len];
	if (r == -ENOENT && !p->scope->variable)
		expr_fail(
			p, r,
			"'%s' cannot be looked up: without DWARF only registers ($rax) have names",
			name);
	else if (r == -ENOENT && expr_sees(p, "("))
		expr_fail(p, r, "'%s' cannot be called: conditions run in the server", name);
	else if (r == -ENOENT)
		expr_fail(p, r, "there is no variable or constant '%s' here", name);
	else if (r < 0)
		expr_fail(p, r, "%s", err_text(&why, r));
}

static void primary(struct parser *p, struct value *ret)
{
	expr_blanks(p);
	if (isdigit((unsigned char)*p->at) ||
	    (p->at[0] == '.' && isdigit((unsigned char)p->at[1]))) {
		parse_number(p, ret);
	} else if (*p->at == '\'') {
		parse_character(p, ret);
	} else if (*p->at == '"') {
		expr_parse_literal(p, ret);
	} else if (*p->at == '$') {
		parse_register(p, ret);
	} else if (expr_begins_name(*p->at)) {
		parse_name(p, ret);
	} else if (expr_take(p, "(")) {
		expr_parse(p, 1, ret);
		expr_expect(p, ")");
	} else {
		expr_fail(p, -EINVAL,
			  *p->at ? "a value was expected here" : "the expression is not finished");
	}
}

/* ---- members and elements ---- */

static void member(struct parser *p, struct value *v)
{
	char name[NAME_MAX_LEN];
	struct di_field field;

	if (!expr_take_name(p, name)) {
		expr_fail(p, -EINVAL, "a member's name is missing");
		return;
	}
	for (int i = 0; v->type.kind == DI_POINTER && i < 2 && !p->error; i++)
		expr_follow(p, v);
	if (p->error)
		return;
	if ((v->form != PLACE && v->form != PARTS) || !di_type_field(&v->type, name, &field)) {
		expr_fail(p, -EINVAL, "%s has no member '%s'", expr_name_of(&v->type), name);
		return;
	}
	if (v->form == PLACE)
		axcode_add_const(p->code, field.offset);
	v->offset += field.offset;
	v->type = field.type;
	v->target = NULL;
	v->bit_at = field.bit_at;
	v->bits = field.bits;
	expr_follow_reference(p, v);
}

static void load_index(struct parser *p)
{
	struct value index = { 0 };

	expr_parse(p, 1, &index);
	expr_load_integer(p, &index, "an index");
	expr_expect(p, "]");
}

/* [index length] becomes [index], or evaluation fails as at memory that cannot be read. */
static void check_index(struct parser *p)
{
	axcode_pick(p->code, 1);
	axcode_op(p->code, AXCODE_SWAP);
	axcode_op(p->code, AXCODE_LESS_UNSIGNED);
	size_t good = axcode_jump(p->code, AXCODE_IF_GOTO);
	axcode_const(p->code, 0);
	axcode_op(p->code, AXCODE_REF8);
	axcode_op(p->code, AXCODE_POP);
	axcode_land(p->code, good);
}

/* The words of a slice or string: [] or [its address] becomes [data index]. */
static void slice_index(struct parser *p, struct value *v)
{
	expr_spread_string(p, v);
	load_index(p);                   /* data length index */
	axcode_op(p->code, AXCODE_SWAP); /* data index length */
	check_index(p);
}

static void element(struct parser *p, struct value *v)
{
	struct di_type of;

	if (p->error)
		return;
	if (v->type.kind == DI_SLICE || v->type.kind == DI_STRING) {
		if (!di_type_target(&v->type, &of) || (v->form != PLACE && v->form != PARTS)) {
			expr_fail(p, -EINVAL, "what %s is made of is not known",
				  expr_name_of(&v->type));
			return;
		}
		slice_index(p, v);
	} else {
		bool to_array =
			v->type.kind == DI_POINTER && expr_target_of(v, &of) && of.kind == DI_ARRAY;
		if (to_array)
			expr_follow(p, v);
		/* To DWARF a map is a pointer to what the runtime makes of it. */
		else if (p->scope->go && v->type.kind == DI_POINTER)
			expr_fail(p, -EINVAL,
				  "maps are not looked into, and pointers have no elements in Go: "
				  "slices, "
				  "arrays and strings have");
		if (v->type.kind == DI_ARRAY && v->form != PLACE)
			expr_fail(p, -EINVAL, "an array in registers cannot be indexed");
		expr_load(p, v);
		if (!p->error && (v->type.kind != DI_POINTER || !expr_target_of(v, &of)))
			expr_fail(p, -EINVAL, "%s cannot be indexed", expr_name_of(&v->type));
		if (p->error)
			return;
		load_index(p);
	}
	if (p->error)
		return;
	if (!of.size) {
		expr_fail(p, -EINVAL, "the size of %s is not known", expr_name_of(&of));
		return;
	}
	if (of.size != 1) {
		axcode_const(p->code, of.size);
		axcode_op(p->code, AXCODE_MUL);
	}
	axcode_op(p->code, AXCODE_ADD);
	*v = (struct value){ .form = PLACE, .type = of };
	expr_follow_reference(p, v);
}

void expr_postfix(struct parser *p, struct value *v)
{
	primary(p, v);
	while (!p->error) {
		if (expr_take(p, "->") || expr_take(p, "."))
			member(p, v);
		else if (expr_take(p, "["))
			element(p, v);
		else
			return;
	}
}
