#include "server/expr_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void expr_fail(struct parser *p, int error, const char *fmt, ...)
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

void *expr_own(struct parser *p)
{
	struct owned *o = calloc(1, sizeof(*o));

	if (!o) {
		expr_fail(p, -ENOMEM, "no memory");
		return NULL;
	}
	o->next = p->owned;
	p->owned = o;
	return &o->var;
}

/* ---- words ---- */

void expr_blanks(struct parser *p)
{
	while (isspace((unsigned char)*p->at))
		p->at++;
}

bool expr_sees(struct parser *p, const char *token)
{
	expr_blanks(p);
	return strncmp(p->at, token, strlen(token)) == 0;
}

bool expr_take(struct parser *p, const char *token)
{
	if (!expr_sees(p, token))
		return false;
	p->at += strlen(token);
	return true;
}

void expr_expect(struct parser *p, const char *token)
{
	if (!expr_take(p, token))
		expr_fail(p, -EINVAL, "'%s' is missing", token);
}

bool expr_begins_name(char c)
{
	return isalpha((unsigned char)c) || c == '_';
}

bool expr_in_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* "a", "ns::a" */
bool expr_take_name(struct parser *p, char *into)
{
	const char *end;

	expr_blanks(p);
	if (!expr_begins_name(*p->at))
		return false;
	for (end = p->at;
	     expr_in_name(*end) || (end[0] == ':' && end[1] == ':' && expr_begins_name(end[2]));)
		end += *end == ':' ? 2 : 1;
	if (end - p->at >= NAME_MAX_LEN) {
		expr_fail(p, -EINVAL, "the name is too long");
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
	{ "double", DI_FLOAT, 8, true },
	{ "float64", DI_FLOAT, 8, true },
	{ "float32", DI_FLOAT, 4, true },
	{ "float", DI_FLOAT, 4, true },
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

bool expr_take_type(struct parser *p, struct di_type *ret)
{
	expr_blanks(p);
	for (size_t i = 0; i < ARRAY_SIZE(basics); i++) {
		size_t len = strlen(basics[i].name);
		if (strncmp(p->at, basics[i].name, len) != 0 || expr_in_name(p->at[len]))
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

struct di_type expr_int_type(const struct parser *p)
{
	return di_type_basic(DI_INT, p->scope->go ? 8 : 4, true);
}

bool expr_is_scalar(const struct di_type *t)
{
	return (t->kind == DI_BOOL || t->kind == DI_INT || t->kind == DI_CHAR ||
		t->kind == DI_POINTER || t->kind == DI_ENUM) &&
	       t->size >= 1 && t->size <= 8;
}

const char *expr_name_of(const struct di_type *t)
{
	static const char *const words[] = {
		[DI_VOID] = "void",
		[DI_BOOL] = "bool",
		[DI_INT] = "an integer",
		[DI_CHAR] = "a character",
		[DI_FLOAT] = "a floating point number",
		[DI_COMPLEX] = "a complex number",
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

bool expr_target_of(const struct value *v, struct di_type *ret)
{
	if (v->target) {
		*ret = *v->target;
		return true;
	}
	return di_type_target(&v->type, ret);
}
