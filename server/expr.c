#include "server/expr.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "target/x86/regs.h"

/*
 * One pass: the parser goes down by precedence and writes code as it goes, for a machine with a stack. What has been parsed and not
 * been needed yet is a struct value: on the stack, or its address is, or nothing is and the variable's pieces say how to get it.
 */

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

static void __attribute__((format(printf, 3, 4)))
fail(struct parser *p, int error, const char *fmt, ...)
{
	char why[ERR_TEXT_MAX / 2];
	va_list ap;

	if (p->error)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	p->error = err_set(p->err, error, "in '%.100s', column %d: %s", p->text,
			   (int)(p->at - p->text) + 1, why);
}

static void *own(struct parser *p)
{
	struct owned *o = calloc(1, sizeof(*o));

	if (!o) {
		fail(p, -ENOMEM, "no memory");
		return NULL;
	}
	o->next = p->owned;
	p->owned = o;
	return &o->var;
}

/* ---- words ---- */

static void blanks(struct parser *p)
{
	while (isspace((unsigned char)*p->at))
		p->at++;
}

static bool sees(struct parser *p, const char *token)
{
	blanks(p);
	return strncmp(p->at, token, strlen(token)) == 0;
}

static bool take(struct parser *p, const char *token)
{
	if (!sees(p, token))
		return false;
	p->at += strlen(token);
	return true;
}

static void expect(struct parser *p, const char *token)
{
	if (!take(p, token))
		fail(p, -EINVAL, "'%s' is missing", token);
}

static bool begins_name(char c)
{
	return isalpha((unsigned char)c) || c == '_';
}

static bool in_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* "a", "ns::a" */
static bool take_name(struct parser *p, char *into)
{
	const char *end;

	blanks(p);
	if (!begins_name(*p->at))
		return false;
	for (end = p->at; in_name(*end) || (end[0] == ':' && end[1] == ':' && begins_name(end[2]));)
		end += *end == ':' ? 2 : 1;
	if (end - p->at >= NAME_MAX_LEN) {
		fail(p, -EINVAL, "the name is too long");
		return false;
	}
	memcpy(into, p->at, (size_t)(end - p->at));
	into[end - p->at] = 0;
	p->at = end;
	return true;
}

/* ---- types ---- */

static const struct {
	const char *name;
	enum di_kind kind;
	uint8_t size;
	bool is_signed;
} basics[] = {
	{ "unsigned char", DI_CHAR, 1, false },
	{ "signed char", DI_CHAR, 1, true },
	{ "unsigned short", DI_INT, 2, false },
	{ "unsigned long long", DI_INT, 8, false },
	{ "unsigned long", DI_INT, 8, false },
	{ "unsigned int", DI_INT, 4, false },
	{ "unsigned", DI_INT, 4, false },
	{ "long long", DI_INT, 8, true },
	{ "long", DI_INT, 8, true },
	{ "short", DI_INT, 2, true },
	{ "char", DI_CHAR, 1, true },
	{ "bool", DI_BOOL, 1, false },
	{ "size_t", DI_INT, 8, false },
	{ "ssize_t", DI_INT, 8, true },
	{ "uintptr_t", DI_INT, 8, false },
	{ "uintptr", DI_INT, 8, false },
	{ "uint8_t", DI_INT, 1, false },
	{ "uint16_t", DI_INT, 2, false },
	{ "uint32_t", DI_INT, 4, false },
	{ "uint64_t", DI_INT, 8, false },
	{ "int8_t", DI_INT, 1, true },
	{ "int16_t", DI_INT, 2, true },
	{ "int32_t", DI_INT, 4, true },
	{ "int64_t", DI_INT, 8, true },
	{ "uint8", DI_INT, 1, false },
	{ "uint16", DI_INT, 2, false },
	{ "uint32", DI_INT, 4, false },
	{ "uint64", DI_INT, 8, false },
	{ "int8", DI_INT, 1, true },
	{ "int16", DI_INT, 2, true },
	{ "int32", DI_INT, 4, true },
	{ "int64", DI_INT, 8, true },
	{ "uint", DI_INT, 8, false },
	{ "byte", DI_INT, 1, false },
	{ "rune", DI_INT, 4, true },
	{ "int", DI_INT, 4, true },
};

static bool take_type(struct parser *p, struct di_type *ret)
{
	blanks(p);
	for (size_t i = 0; i < ARRAY_SIZE(basics); i++) {
		size_t len = strlen(basics[i].name);
		if (strncmp(p->at, basics[i].name, len) != 0 || in_name(p->at[len]))
			continue;
		p->at += len;
		*ret = di_type_basic(basics[i].kind, basics[i].size, basics[i].is_signed);
		/* Go's are as wide as a word. */
		if (p->scope->go && !strcmp(basics[i].name, "int"))
			ret->size = 8;
		return true;
	}
	return false;
}

static struct di_type int_type(const struct parser *p)
{
	return di_type_basic(DI_INT, p->scope->go ? 8 : 4, true);
}

static bool is_scalar(const struct di_type *t)
{
	return (t->kind == DI_BOOL || t->kind == DI_INT || t->kind == DI_CHAR ||
		t->kind == DI_POINTER || t->kind == DI_ENUM) &&
	       t->size >= 1 && t->size <= 8;
}

static const char *name_of(const struct di_type *t)
{
	static const char *const words[] = {
		[DI_VOID] = "void",
		[DI_BOOL] = "bool",
		[DI_INT] = "an integer",
		[DI_CHAR] = "a character",
		[DI_FLOAT] = "a floating point number",
		[DI_POINTER] = "a pointer",
		[DI_ENUM] = "an enumeration",
		[DI_STRUCT] = "a structure",
		[DI_ARRAY] = "an array",
		[DI_STRING] = "a string",
		[DI_SLICE] = "a slice",
		[DI_INTERFACE] = "an interface",
		[DI_OTHER] = "of a type that is not known",
	};
	return t->name ? t->name : words[t->kind];
}

static bool target_of(const struct value *v, struct di_type *ret)
{
	if (v->target) {
		*ret = *v->target;
		return true;
	}
	return di_type_target(&v->type, ret);
}

/* ---- getting values onto the stack ---- */

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

static void push_part(struct parser *p, const struct value *v, unsigned size, bool is_signed)
{
	const struct di_piece *piece = piece_of(v->var, v->offset, size);

	if (!piece || piece->where == DI_NOWHERE) {
		fail(p, -ENODATA, "a part of '%s' is kept nowhere at this instruction",
		     v->var->name);
		return;
	}
	uint64_t from = v->offset - piece->offset;
	buf_put(p->code, piece->code, piece->len);
	if (piece->where == DI_MEMORY) {
		axcode_add_const(p->code, from);
		axcode_load(p->code, size, is_signed);
	} else if (from >= 8) {
		fail(p, -ENODATA, "'%s' is in a register that conditions cannot see all of",
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
		fail(p, -ENODATA, "the bit field is spread over more than a word");
		return;
	}
	if (v->form == PLACE)
		axcode_load(p->code, bytes, false);
	else
		push_part(p, v, bytes, false);
	if (v->bit_at) {
		axcode_const(p->code, v->bit_at);
		axcode_op(p->code, AXCODE_RSH_UNSIGNED);
	}
	axcode_extend(p->code, v->bits, v->type.is_signed);
}

/* Afterwards it is a SCALAR on the stack. */
static void load(struct parser *p, struct value *v)
{
	if (p->error || v->form == SCALAR)
		return;
	if (v->form == NUMBER || v->form == NIL) {
		axcode_const(p->code, v->number);
	} else if (v->form == LITERAL) {
		fail(p, -EINVAL, "a text can only be compared with a string by == and !=");
	} else if (v->type.kind == DI_ARRAY && v->form == PLACE) {
		struct di_type element;
		struct di_type *kept = di_type_target(&v->type, &element) ? own(p) : NULL;
		if (kept)
			*kept = element;
		v->target = kept;
		v->type = di_type_basic(DI_POINTER, 8, false);
	} else if (v->type.kind == DI_OTHER && v->form == PLACE) {
		fail(p, -EINVAL, "its type is not known: say it, as in (int)name");
	} else if (v->type.kind == DI_FLOAT) {
		fail(p, -EINVAL, "floating point cannot be used in conditions");
	} else if (!is_scalar(&v->type)) {
		fail(p, -EINVAL, "%s cannot be used as a number%s", name_of(&v->type),
		     v->type.kind == DI_STRING ? ": compare it with \"text\", or use len()" : "");
	} else if (v->bits) {
		push_bits(p, v);
	} else if (v->form == PLACE) {
		axcode_load(p->code, (unsigned)v->type.size, v->type.is_signed);
	} else {
		push_part(p, v, (unsigned)v->type.size, v->type.is_signed);
	}
	v->bits = 0;
	v->form = SCALAR;
}

static void load_truth(struct parser *p, struct value *v)
{
	load(p, v);
	v->type = int_type(p);
	v->target = NULL;
}

/* A pointer becomes the place it points to. */
static void follow(struct parser *p, struct value *v)
{
	struct di_type target;

	load(p, v);
	if (p->error)
		return;
	if (v->type.kind != DI_POINTER || !target_of(v, &target) || target.kind == DI_VOID) {
		fail(p, -EINVAL, "%s points to nothing that is known", name_of(&v->type));
		return;
	}
	*v = (struct value){ .form = PLACE, .type = target };
}

static void follow_reference(struct parser *p, struct value *v)
{
	if (v->type.kind == DI_POINTER && v->type.reference && v->form != SCALAR)
		follow(p, v);
}

/* ---- primary expressions ---- */

static void parse(struct parser *p, int precedence, struct value *ret);
static void unary(struct parser *p, struct value *ret);

static void number_value(struct parser *p, uint64_t number, bool is_signed, struct value *ret)
{
	*ret = (struct value){ .form = NUMBER, .number = number, .type = int_type(p) };
	if (!is_signed)
		ret->type.is_signed = false;
	if (number > INT32_MAX)
		ret->type.size = 8;
}

static void parse_number(struct parser *p, struct value *ret)
{
	unsigned base = 10;
	uint64_t number = 0;
	bool is_signed = true, any = false;

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
			fail(p, -EINVAL, "the number does not fit in 64 bits");
			return;
		}
	}
	for (; *p->at && strchr("uUlL", *p->at); p->at++)
		is_signed &= (*p->at | 32) != 'u';
	if (!any || in_name(*p->at))
		fail(p, -EINVAL, "this is no number");
	else if (*p->at == '.')
		fail(p, -EINVAL, "floating point cannot be used in conditions");
	number_value(p, number, is_signed, ret);
	if (number > INT64_MAX)
		ret->type.is_signed = false;
	else if (base != 10 && number > INT32_MAX && number <= UINT32_MAX && !p->scope->go)
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
		fail(p, -EINVAL, "this escape is not known");
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
		fail(p, -EINVAL, "this is no character");
		return;
	}
	p->at++;
	number_value(p, value, true, ret);
}

static void parse_literal(struct parser *p, struct value *ret)
{
	char *text = own(p);
	size_t len = 0;
	int c;

	p->at++;
	while (text && (c = character(p, '"')) >= 0) {
		if (len == LITERAL_MAX) {
			fail(p, -EINVAL, "the text is longer than %d bytes", LITERAL_MAX);
			return;
		}
		text[len++] = (char)c;
	}
	if (*p->at != '"')
		fail(p, -EINVAL, "the text has no end");
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
	if (!take_name(p, name)) {
		fail(p, -EINVAL, "a register's name is missing behind '$'");
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
		fail(p, -EINVAL, "there is no register '$%s' of at most 64 bits", name);
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
	follow_reference(p, ret);
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
	struct di_var *var = s->variable ? own(p) : NULL;
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

	expect(p, "(");
	parse(p, 1, ret);
	expect(p, ")");
	if (p->error)
		return;
	if (ret->form == LITERAL) {
		number_value(p, ret->len, true, ret);
		return;
	}
	if (!di_type_part(&ret->type, capacity ? 2 : 1, &part) ||
	    (ret->form != PLACE && ret->form != PARTS)) {
		fail(p, -EINVAL, "%s has no %s", name_of(&ret->type),
		     capacity ? "capacity" : "length");
		return;
	}
	if (ret->form == PLACE)
		axcode_add_const(p->code, part.offset);
	ret->offset += part.offset;
	ret->type = part.type;
	load(p, ret);
}

static void convert(struct parser *p, struct value *v, const struct di_type *to);

static void parse_name(struct parser *p, struct value *ret)
{
	char name[2 * NAME_MAX_LEN + 2];
	struct di_type type;
	struct err why = { 0 };
	const char *before = p->at;

	if (take_type(p, &type) && take(p, "(")) {
		parse(p, 1, ret);
		expect(p, ")");
		convert(p, ret, &type);
		return;
	}
	p->at = before;
	if (!take_name(p, name))
		return;
	if ((!strcmp(name, "len") || !strcmp(name, "cap")) && sees(p, "(")) {
		parse_len(p, name[0] == 'c', ret);
		return;
	}
	int r = find_name(p, name, ret, &why);
	if (r == -ENOENT && word_value(p, name, ret))
		return;
	/* "pkg.name" of Go is one name. */
	size_t len = strlen(name);
	const char *behind = p->at;
	if (r == -ENOENT && take(p, ".") && take_name(p, name + len + 1)) {
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
		fail(p, r,
		     "'%s' cannot be looked up: without DWARF only registers ($rax) have names",
		     name);
	else if (r == -ENOENT)
		fail(p, r, "there is no variable or constant '%s' here", name);
	else if (r < 0)
		fail(p, r, "%s", err_text(&why, r));
}

static void primary(struct parser *p, struct value *ret)
{
	blanks(p);
	if (isdigit((unsigned char)*p->at)) {
		parse_number(p, ret);
	} else if (*p->at == '\'') {
		parse_character(p, ret);
	} else if (*p->at == '"') {
		parse_literal(p, ret);
	} else if (*p->at == '$') {
		parse_register(p, ret);
	} else if (begins_name(*p->at)) {
		parse_name(p, ret);
	} else if (take(p, "(")) {
		parse(p, 1, ret);
		expect(p, ")");
	} else {
		fail(p, -EINVAL,
		     *p->at ? "a value was expected here" : "the expression is not finished");
	}
}

/* ---- members and elements ---- */

static void member(struct parser *p, struct value *v)
{
	char name[NAME_MAX_LEN];
	struct di_field field;

	if (!take_name(p, name)) {
		fail(p, -EINVAL, "a member's name is missing");
		return;
	}
	for (int i = 0; v->type.kind == DI_POINTER && i < 2 && !p->error; i++)
		follow(p, v);
	if (p->error)
		return;
	if ((v->form != PLACE && v->form != PARTS) || !di_type_field(&v->type, name, &field)) {
		fail(p, -EINVAL, "%s has no member '%s'", name_of(&v->type), name);
		return;
	}
	if (v->form == PLACE)
		axcode_add_const(p->code, field.offset);
	v->offset += field.offset;
	v->type = field.type;
	v->target = NULL;
	v->bit_at = field.bit_at;
	v->bits = field.bits;
	follow_reference(p, v);
}

static void load_index(struct parser *p)
{
	struct value index = { 0 };

	parse(p, 1, &index);
	load(p, &index);
	expect(p, "]");
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
	if (v->form == PLACE) {
		axcode_op(p->code, AXCODE_DUP);
		axcode_op(p->code, AXCODE_REF64);
		axcode_op(p->code, AXCODE_SWAP);
		axcode_add_const(p->code, 8);
		axcode_op(p->code, AXCODE_REF64);
		load_index(p);                   /* data length index */
		axcode_op(p->code, AXCODE_SWAP); /* data index length */
	} else {
		struct value part = *v;
		push_part(p, &part, 8, false);
		load_index(p);
		part.offset += 8;
		push_part(p, &part, 8, false);
	}
	check_index(p);
}

static void element(struct parser *p, struct value *v)
{
	struct di_type of;

	if (p->error)
		return;
	if (v->type.kind == DI_SLICE || v->type.kind == DI_STRING) {
		if (!di_type_target(&v->type, &of) || (v->form != PLACE && v->form != PARTS)) {
			fail(p, -EINVAL, "what %s is made of is not known", name_of(&v->type));
			return;
		}
		slice_index(p, v);
	} else {
		bool to_array =
			v->type.kind == DI_POINTER && target_of(v, &of) && of.kind == DI_ARRAY;
		if (to_array)
			follow(p, v);
		if (v->type.kind == DI_ARRAY && v->form != PLACE)
			fail(p, -EINVAL, "an array in registers cannot be indexed");
		load(p, v);
		if (!p->error && (v->type.kind != DI_POINTER || !target_of(v, &of)))
			fail(p, -EINVAL, "%s cannot be indexed", name_of(&v->type));
		if (p->error)
			return;
		load_index(p);
	}
	if (p->error)
		return;
	if (!of.size) {
		fail(p, -EINVAL, "the size of %s is not known", name_of(&of));
		return;
	}
	if (of.size != 1) {
		axcode_const(p->code, of.size);
		axcode_op(p->code, AXCODE_MUL);
	}
	axcode_op(p->code, AXCODE_ADD);
	*v = (struct value){ .form = PLACE, .type = of };
	follow_reference(p, v);
}

static void postfix(struct parser *p, struct value *v)
{
	primary(p, v);
	while (!p->error) {
		if (take(p, "->") || take(p, "."))
			member(p, v);
		else if (take(p, "["))
			element(p, v);
		else
			return;
	}
}

/* ---- unary operators ---- */

static void convert(struct parser *p, struct value *v, const struct di_type *to)
{
	if (p->error)
		return;
	if (v->type.kind == DI_OTHER && v->form == PLACE)
		v->type = *to;
	load(p, v);
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
	if (take(p, "(") && take_type(p, ret)) {
		if (take(p, "*")) {
			*ret_target = own(p);
			if (*ret_target)
				**ret_target = *ret;
			*ret = di_type_basic(DI_POINTER, 8, false);
		}
		if (take(p, ")"))
			return true;
	}
	p->at = before;
	return false;
}

/* Integers narrower than int become int, in C. */
static void promote(const struct parser *p, struct di_type *t)
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
	struct di_type *target = own(p);

	unary(p, v);
	if (p->error || !target)
		return;
	if (v->form != PLACE || v->bits) {
		fail(p, -EINVAL, "this has no address");
		return;
	}
	*target = v->type;
	*v = (struct value){ .form = SCALAR,
			     .type = di_type_basic(DI_POINTER, 8, false),
			     .target = target };
}

static void negate(struct parser *p, struct value *v, bool complement)
{
	unary(p, v);
	load(p, v);
	if (p->error)
		return;
	promote(p, &v->type);
	axcode_op(p->code, AXCODE_BIT_NOT);
	if (!complement)
		axcode_add_const(p->code, 1);
	axcode_extend(p->code, (unsigned)v->type.size * 8, v->type.is_signed);
}

static void unary(struct parser *p, struct value *v)
{
	struct di_type type, *target;

	if (p->error)
		return;
	if (++p->depth > EXPR_DEPTH_MAX) {
		fail(p, -EINVAL, "it is nested more than %d deep", EXPR_DEPTH_MAX);
	} else if (take_cast(p, &type, &target)) {
		unary(p, v);
		convert(p, v, &type);
		v->target = target;
	} else if (!sees(p, "!=") && take(p, "!")) {
		unary(p, v);
		load_truth(p, v);
		axcode_op(p->code, AXCODE_LOG_NOT);
	} else if (take(p, "-")) {
		negate(p, v, false);
	} else if (take(p, "~") || take(p, "^")) {
		negate(p, v, true);
	} else if (take(p, "+")) {
		unary(p, v);
		load(p, v);
	} else if (take(p, "*")) {
		unary(p, v);
		follow(p, v);
		follow_reference(p, v);
	} else if (!sees(p, "&&") && take(p, "&")) {
		address_of(p, v);
	} else {
		postfix(p, v);
	}
	p->depth--;
}

/* ---- binary operators ---- */

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
		if (!precedence || !sees(p, operators[i].text))
			continue;
		*ret_precedence = precedence;
		*ret_len = strlen(operators[i].text);
		return operators[i].op;
	}
	return OP_NONE;
}

/* ---- comparing strings ---- */

static bool is_text_pointer(const struct value *v)
{
	struct di_type of;
	return (v->type.kind == DI_POINTER || v->type.kind == DI_ARRAY) && target_of(v, &of) &&
	       of.size == 1 && (of.kind == DI_CHAR || of.kind == DI_INT);
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
		push_part(p, &part, 8, false);
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
		push_part(p, v, 8, false);
	compare_bytes(p, text->text, text->len, false);
	axcode_land(p->code, out);
}

/* Up to the NUL and no further: what is behind it may not be readable. No string is at NULL. */
static void compare_terminated(struct parser *p, struct value *v, const struct value *text)
{
	char bytes[LITERAL_MAX + 1];

	load(p, v);
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

static void compare_text(struct parser *p, struct value *v, const struct value *text, bool differs)
{
	if (p->error)
		return;
	if (v->type.kind == DI_STRING && (v->form == PLACE || v->form == PARTS))
		compare_counted(p, v, text);
	else if (is_text_pointer(v) && v->form != NUMBER)
		compare_terminated(p, v, text);
	else
		fail(p, -EINVAL, "%s cannot be compared with a text", name_of(&v->type));
	if (differs)
		axcode_op(p->code, AXCODE_LOG_NOT);
	*v = (struct value){ .form = SCALAR, .type = int_type(p) };
}

/* Slices and interfaces are nil when their first word is. */
static bool first_word(struct parser *p, struct value *v)
{
	if (v->type.kind != DI_SLICE && v->type.kind != DI_INTERFACE)
		return false;
	v->type = di_type_basic(DI_POINTER, 8, false);
	load(p, v);
	return true;
}

/* ---- arithmetic ---- */

static bool is_constant(const struct value *v)
{
	return v->form == NUMBER || v->form == NIL;
}

/* The type both are brought to. */
static struct di_type common_type(const struct parser *p, struct di_type a, bool a_constant,
				  struct di_type b, bool b_constant)
{
	if (p->scope->go && a_constant != b_constant)
		return a_constant ? b : a;
	promote(p, &a);
	promote(p, &b);
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

	if (!target_of(pointer, &of) || of.size <= 1)
		return;
	axcode_const(p->code, of.size);
	axcode_op(p->code, AXCODE_MUL);
}

static void arithmetic(struct parser *p, enum op op, struct value *a, bool a_constant,
		       struct value *b, bool b_constant)
{
	bool compares = op >= OP_EQ && op <= OP_GE;
	struct di_type t = common_type(p, a->type, a_constant, b->type, b_constant);

	if (a->type.kind == DI_POINTER && (op == OP_ADD || op == OP_SUB)) {
		if (b->type.kind == DI_POINTER) {
			fail(p, -EINVAL,
			     "two pointers cannot be added or subtracted: cast them to long");
			return;
		}
		scale(p, a);
		axcode_op(p->code, op == OP_ADD ? AXCODE_ADD : AXCODE_SUB);
		return;
	}
	if (op == OP_SHL || op == OP_SHR) {
		t = a->type;
		promote(p, &t);
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
	*a = (struct value){ .form = SCALAR, .type = compares ? int_type(p) : t };
}

/* The left operand is parsed; the operator is behind us. */
static void logical(struct parser *p, enum op op, int precedence, struct value *a)
{
	struct value b = { 0 };

	load_truth(p, a);
	if (op == OP_AND)
		axcode_op(p->code, AXCODE_LOG_NOT);
	size_t decided = axcode_jump(p->code, AXCODE_IF_GOTO);
	parse(p, precedence + 1, &b);
	load_truth(p, &b);
	axcode_op(p->code, AXCODE_LOG_NOT);
	axcode_op(p->code, AXCODE_LOG_NOT);
	size_t out = axcode_jump(p->code, AXCODE_GOTO);
	axcode_land(p->code, decided);
	axcode_const(p->code, op == OP_OR);
	axcode_land(p->code, out);
	*a = (struct value){ .form = SCALAR, .type = int_type(p) };
}

static void binary(struct parser *p, enum op op, int precedence, struct value *a)
{
	struct value b = { 0 };
	bool equality = op == OP_EQ || op == OP_NE, a_constant = is_constant(a), b_constant;

	/* A text waits for what it is compared with, and that one for the text. */
	if (equality && (a->form == LITERAL || a->type.kind == DI_STRING || is_text_pointer(a))) {
		const char *before = p->at;
		blanks(p);
		if (a->form == LITERAL) {
			parse(p, precedence + 1, &b);
			compare_text(p, &b, a, op == OP_NE);
			*a = b;
			return;
		}
		if (*p->at == '"') {
			parse_literal(p, &b);
			compare_text(p, a, &b, op == OP_NE);
			return;
		}
		p->at = before;
	}
	if (!(equality && first_word(p, a)))
		load(p, a);
	parse(p, precedence + 1, &b);
	b_constant = is_constant(&b);
	if (!(equality && first_word(p, &b)))
		load(p, &b);
	if (!p->error)
		arithmetic(p, op, a, a_constant, &b, b_constant);
}

static void parse(struct parser *p, int precedence, struct value *ret)
{
	int found;
	size_t len;

	unary(p, ret);
	while (!p->error) {
		enum op op = see_operator(p, &found, &len);
		if (op == OP_NONE || found < precedence)
			return;
		p->at += len;
		if (++p->depth > EXPR_DEPTH_MAX) {
			fail(p, -EINVAL, "it is nested more than %d deep", EXPR_DEPTH_MAX);
			return;
		}
		if (op == OP_AND || op == OP_OR)
			logical(p, op, found, ret);
		else
			binary(p, op, found, ret);
		p->depth--;
	}
}

int expr_compile_condition(const char *text, const struct expr_scope *scope, struct buf *code,
			   struct err *err)
{
	struct parser p = { .text = text, .at = text, .scope = scope, .code = code, .err = err };
	struct value v = { 0 };

	if (strlen(text) > EXPR_TEXT_MAX)
		return err_set(err, -EINVAL, "the expression is longer than %d bytes",
			       EXPR_TEXT_MAX);
	parse(&p, 1, &v);
	load_truth(&p, &v);
	blanks(&p);
	if (*p.at)
		fail(&p, -EINVAL, "something is left over");
	axcode_op(code, AXCODE_END);
	while (p.owned) {
		struct owned *next = p.owned->next;
		free(p.owned);
		p.owned = next;
	}
	if (!p.error && buf_error(code))
		return err_set(err, buf_error(code), "'%.100s' is too long", text);
	return p.error;
}
