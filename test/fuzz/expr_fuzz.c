/*
 * expr_fuzz.c - conditions as people type them: the first byte says C or Go, the rest is the text. Names are variables of every kind
 * and place. What the compiler accepts the verifier accepts, too.
 */
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "server/expr.h"
#include "target/ax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* "a" to "z": the letter decides what it is. */
static int variable(void *ctx, const char *name, struct di_var *ret, struct err *err)
{
	static const enum di_kind kinds[] = {
		DI_INT,   DI_BOOL,  DI_CHAR, DI_POINTER, DI_STRING,
		DI_FLOAT, DI_OTHER, DI_ENUM, DI_STRUCT,  DI_INTERFACE
	};
	unsigned n = (unsigned)(name[0] | 32) - 'a';

	(void)ctx;
	if (name[1] || n > 25)
		return err_set(err, -ENOENT, "none");
	unsigned size = n & 1 ? 4 : 8;
	*ret = (struct di_var){ .name = name, .type = di_type_basic(kinds[n % 10], size, n & 2) };
	if (ret->type.kind == DI_STRING || ret->type.kind == DI_INTERFACE)
		ret->type.size = 16;
	ret->count = n % 3 ? 1 : 2;
	for (size_t i = 0; i < ret->count; i++) {
		struct di_piece *p = &ret->pieces[i];
		p->where = n % 5 ? DI_MEMORY : DI_VALUE;
		p->offset = i * 8;
		p->size = ret->count == 2 ? 8 : 0;
		p->code[0] = AXCODE_CONST8;
		p->code[1] = 64;
		p->len = 2;
	}
	return 0;
}

static int constant(void *ctx, const char *name, int64_t *ret)
{
	(void)ctx;
	*ret = -5;
	return strcmp(name, "FIVE") ? -ENOENT : 0;
}

static int reg(void *ctx, unsigned number, uint64_t *ret)
{
	(void)ctx;
	*ret = number;
	return 0;
}

static int no_mem(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	(void)ctx;
	if (addr > 4096)
		return -EFAULT;
	memset(into, (int)addr, len);
	*ret_got = len;
	return 0;
}

/* What the compiler accepts has a verdict, or an address; refusals have a sentence. */
static void check(int r, const struct buf *code, struct err *err)
{
	struct mem mem = { .read = no_mem };
	struct ax_env env = { .reg = reg, .mem = &mem };
	struct ax *ax;
	uint64_t value;

	if (r < 0) {
		assert(err->text[0]);
		return;
	}
	r = ax_compile(code->data, code->len, expr_ax_reg, NULL, &ax, err);
	/* What needs more than the machine has is refused there. */
	assert(r == 0 || strstr(err->text, "values on the stack"));
	if (r < 0)
		return;
	(void)ax_eval(ax, &env, &value, NULL);
	ax_free(ax);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct expr_scope scope = { .variable = variable, .constant = constant };
	struct err err = { 0 };
	struct di_type type;
	struct buf code;

	if (!size || size > 2048)
		return 0;
	char *text = strndup((const char *)data + 1, size - 1);
	assert(text);
	scope.go = data[0] & 1;
	buf_init(&code, EXPR_CODE_MAX);
	check(expr_compile_condition(text, &scope, &code, &err), &code, &err);
	buf_reset(&code);
	err = (struct err){ 0 };
	check(expr_compile_address(text, &scope, &code, &type, &err), &code, &err);
	buf_fini(&code);
	free(text);
	return 0;
}
