#include "target/ax.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "target/ax_code.h"
#include "target/ax_format.h"
#include "target/x86/regs.h"

/*
 * Compiling: decode() turns bytes into one struct ax_op per instruction and finds the boundaries,
 * flow() walks every path with the height of the stack (equal on all paths that meet, as gdb's own
 * ax_reqs() demands), emit() keeps what can be reached, folds what needs no run time and turns byte
 * offsets into indices. After that evaluation checks nothing but what depends on data.
 */

enum operand { NONE, BITS, INDEX, TARGET, IMM8, IMM16, IMM32, IMM64, REGISTER, VARIABLE, FORMAT };

struct op_def {
	const char *name;
	const char *refused; /* why we never run it */
	uint8_t operand;
	uint8_t pops;
	uint8_t pushes;
};

static const char no_float[] = "floating point is not part of what any agent evaluates";
static const char no_trace[] =
	"it collects trace data, which a condition or command has no place for";
static const char no_tsv[] = "trace state variables exist in trace experiments only";

/* clang-format off */
static const struct op_def defs[AXCODE_COUNT] = {
	[0x01] = { "float", no_float, 0, 0, 0 },
	[AXCODE_ADD] = { "add", NULL, NONE, 2, 1 },
	[AXCODE_SUB] = { "sub", NULL, NONE, 2, 1 },
	[AXCODE_MUL] = { "mul", NULL, NONE, 2, 1 },
	[AXCODE_DIV_SIGNED] = { "div_signed", NULL, NONE, 2, 1 },
	[AXCODE_DIV_UNSIGNED] = { "div_unsigned", NULL, NONE, 2, 1 },
	[AXCODE_REM_SIGNED] = { "rem_signed", NULL, NONE, 2, 1 },
	[AXCODE_REM_UNSIGNED] = { "rem_unsigned", NULL, NONE, 2, 1 },
	[AXCODE_LSH] = { "lsh", NULL, NONE, 2, 1 },
	[AXCODE_RSH_SIGNED] = { "rsh_signed", NULL, NONE, 2, 1 },
	[AXCODE_RSH_UNSIGNED] = { "rsh_unsigned", NULL, NONE, 2, 1 },
	[AXCODE_TRACE] = { "trace", NULL, NONE, 2, 0 },
	[AXCODE_TRACE_QUICK] = { "trace_quick", NULL, IMM8, 1, 1 },
	[AXCODE_LOG_NOT] = { "log_not", NULL, NONE, 1, 1 },
	[AXCODE_BIT_AND] = { "bit_and", NULL, NONE, 2, 1 },
	[AXCODE_BIT_OR] = { "bit_or", NULL, NONE, 2, 1 },
	[AXCODE_BIT_XOR] = { "bit_xor", NULL, NONE, 2, 1 },
	[AXCODE_BIT_NOT] = { "bit_not", NULL, NONE, 1, 1 },
	[AXCODE_EQUAL] = { "equal", NULL, NONE, 2, 1 },
	[AXCODE_LESS_SIGNED] = { "less_signed", NULL, NONE, 2, 1 },
	[AXCODE_LESS_UNSIGNED] = { "less_unsigned", NULL, NONE, 2, 1 },
	[AXCODE_EXT] = { "ext", NULL, BITS, 1, 1 },
	[AXCODE_REF8] = { "ref8", NULL, NONE, 1, 1 },
	[AXCODE_REF16] = { "ref16", NULL, NONE, 1, 1 },
	[AXCODE_REF32] = { "ref32", NULL, NONE, 1, 1 },
	[AXCODE_REF64] = { "ref64", NULL, NONE, 1, 1 },
	[0x1b] = { "ref_float", no_float, 0, 0, 0 },
	[0x1c] = { "ref_double", no_float, 0, 0, 0 },
	[0x1d] = { "ref_long_double", no_float, 0, 0, 0 },
	[0x1e] = { "l_to_d", no_float, 0, 0, 0 },
	[0x1f] = { "d_to_l", no_float, 0, 0, 0 },
	[AXCODE_IF_GOTO] = { "if_goto", NULL, TARGET, 1, 0 },
	[AXCODE_GOTO] = { "goto", NULL, TARGET, 0, 0 },
	[AXCODE_CONST8] = { "const8", NULL, IMM8, 0, 1 },
	[AXCODE_CONST16] = { "const16", NULL, IMM16, 0, 1 },
	[AXCODE_CONST32] = { "const32", NULL, IMM32, 0, 1 },
	[AXCODE_CONST64] = { "const64", NULL, IMM64, 0, 1 },
	[AXCODE_REG] = { "reg", NULL, REGISTER, 0, 1 },
	[AXCODE_END] = { "end", NULL, NONE, 0, 0 },
	[AXCODE_DUP] = { "dup", NULL, NONE, 1, 2 },
	[AXCODE_POP] = { "pop", NULL, NONE, 1, 0 },
	[AXCODE_ZERO_EXT] = { "zero_ext", NULL, BITS, 1, 1 },
	[AXCODE_SWAP] = { "swap", NULL, NONE, 2, 2 },
	[AXCODE_GETV] = { "getv", NULL, VARIABLE, 0, 1 },
	[AXCODE_SETV] = { "setv", NULL, VARIABLE, 1, 1 },
	[AXCODE_TRACEV] = { "tracev", NULL, VARIABLE, 0, 0 }, /* the manual has it push the value; gdb does not expect that */
	[AXCODE_TRACENZ] = { "tracenz", NULL, NONE, 2, 0 },
	[AXCODE_TRACE16] = { "trace16", NULL, IMM16, 1, 1 },
	[AXCODE_PICK] = { "pick", NULL, INDEX, 0, 1 },     /* and the cell it copies must be there: see flow() */
	[AXCODE_ROT] = { "rot", NULL, NONE, 3, 3 },
	[AXCODE_PRINTF] = { "printf", NULL, FORMAT, 2, 0 }, /* and its arguments */
	[AXCODE_F_ADD] = { "f_add", NULL, NONE, 2, 1 },
	[AXCODE_F_SUB] = { "f_sub", NULL, NONE, 2, 1 },
	[AXCODE_F_MUL] = { "f_mul", NULL, NONE, 2, 1 },
	[AXCODE_F_DIV] = { "f_div", NULL, NONE, 2, 1 },
	[AXCODE_F_EQUAL] = { "f_equal", NULL, NONE, 2, 1 },
	[AXCODE_F_LESS] = { "f_less", NULL, NONE, 2, 1 },
	[AXCODE_F_LESS_EQUAL] = { "f_less_equal", NULL, NONE, 2, 1 },
	[AXCODE_F_FROM_SIGNED] = { "f_from_signed", NULL, NONE, 1, 1 },
	[AXCODE_F_FROM_UNSIGNED] = { "f_from_unsigned", NULL, NONE, 1, 1 },
	[AXCODE_F_TO_SIGNED] = { "f_to_signed", NULL, NONE, 1, 1 },
	[AXCODE_F_FROM_FLOAT] = { "f_from_float", NULL, NONE, 1, 1 },
	[AXCODE_F_ROUND] = { "f_round", NULL, NONE, 1, 1 },
};
/* clang-format on */

/* Of enum ax_allowed. */
static unsigned needs_of(unsigned code)
{
	switch (code) {
	case AXCODE_GETV:
	case AXCODE_SETV: return AX_VARIABLES;
	case AXCODE_TRACE:
	case AXCODE_TRACE_QUICK:
	case AXCODE_TRACE16:
	case AXCODE_TRACENZ:
	case AXCODE_TRACEV: return AX_COLLECTS;
	default: return AX_PLAIN;
	}
}

void ax_free(struct ax *ax)
{
	if (!ax)
		return;
	for (size_t i = 0; i < ax->format_count; i++)
		ax_format_fini(&ax->formats[i]);
	free(ax->formats);
	free(ax->ops);
	free(ax);
}

bool ax_equal(const struct ax *a, const struct ax *b)
{
	if (a->count != b->count || a->format_count || b->format_count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct ax_op *x = &a->ops[i], *y = &b->ops[i];
		if (x->code != y->code || x->n != y->n || x->index != y->index ||
		    x->value != y->value)
			return false;
	}
	return true;
}

struct ax *ax_copy(const struct ax *ax)
{
	struct ax *copy = ax->format_count ? NULL : calloc(1, sizeof(*copy));
	if (!copy)
		return NULL;
	copy->ops = malloc(ax->count * sizeof(*copy->ops));
	if (!copy->ops) {
		free(copy);
		return NULL;
	}
	memcpy(copy->ops, ax->ops, ax->count * sizeof(*copy->ops));
	copy->count = ax->count;
	return copy;
}

static void ax_freep(struct ax **ax)
{
	ax_free(*ax);
}

/* ---- compiling */

struct compiler {
	const uint8_t *code;
	size_t len;
	unsigned allowed;
	ax_reg_map map;
	void *map_ctx;
	struct ax *ax;
	size_t count;     /* of ax->ops */
	uint32_t *starts; /* by offset: index of the instruction that begins there + 1, 0: none does
			   */
	int16_t *heights; /* by index: cells on the stack before it, -1: never reached */
	bool *joins;      /* by index: somebody jumps here */
	uint32_t *todo;
	struct err *err;
};

static uint64_t big_endian(const uint8_t *from, size_t bytes)
{
	uint64_t value = 0;
	for (size_t i = 0; i < bytes; i++)
		value = value << 8 | from[i];
	return value;
}

static int decode_printf(struct compiler *c, struct ax_op *op, size_t *at)
{
	if (c->len - *at < 3)
		return err_set(c->err, -EINVAL, "bytecode ends inside printf at %u", op->at);
	size_t len = big_endian(c->code + *at + 1, 2);
	op->n = c->code[*at];
	*at += 3;
	if (c->len - *at < len)
		return err_set(c->err, -EINVAL, "bytecode ends inside printf at %u", op->at);
	struct ax_format *grown =
		realloc(c->ax->formats, (c->ax->format_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->ax->formats = grown;
	op->index = (uint32_t)c->ax->format_count;
	grown[c->ax->format_count] = (struct ax_format){ 0 };
	int r = ax_format_init(&grown[c->ax->format_count++], c->code + *at, len, op->n, c->err);
	*at += len;
	return r;
}

static int decode_operand(struct compiler *c, struct ax_op *op, size_t *at)
{
	static const uint8_t sizes[] = {
		[BITS] = 1,  [INDEX] = 1, [TARGET] = 2,   [IMM8] = 1,    [IMM16] = 2,
		[IMM32] = 4, [IMM64] = 8, [REGISTER] = 2, [VARIABLE] = 2
	};
	const struct op_def *def = &defs[op->code];
	if (def->operand == FORMAT)
		return decode_printf(c, op, at);
	size_t size = sizes[def->operand];
	if (c->len - *at < size)
		return err_set(c->err, -EINVAL, "bytecode ends inside %s at %u", def->name, op->at);
	uint64_t value = big_endian(c->code + *at, size);
	*at += size;
	op->n = (uint8_t)value;
	op->value = value;
	op->index = (uint32_t)value;
	if (def->operand == BITS && value == 0)
		return err_set(c->err, -EINVAL, "%s at %u extends from 0 bits", def->name, op->at);
	if (def->operand == REGISTER) {
		int reg = c->map(c->map_ctx, (unsigned)value);
		if (reg < 0)
			return err_set(c->err, -EINVAL,
				       "bytecode at %u names register %u, which there is not",
				       op->at, (unsigned)value);
		op->index = (uint32_t)reg;
	}
	return 0;
}

static int decode(struct compiler *c)
{
	for (size_t at = 0; at < c->len;) {
		struct ax_op *op = &c->ax->ops[c->count++];
		uint8_t code = c->code[at];
		*op = (struct ax_op){ .code = code, .at = (uint16_t)at };
		c->starts[at++] = (uint32_t)c->count;
		if (code >= AXCODE_COUNT || !defs[code].name)
			return err_set(c->err, -EINVAL, "bytecode at %u: unknown opcode 0x%02x",
				       op->at, code);
		if (defs[code].refused)
			return err_set(c->err, -EINVAL, "bytecode at %u: %s is not offered: %s",
				       op->at, defs[code].name, defs[code].refused);
		if (needs_of(code) & ~c->allowed)
			return err_set(c->err, -EINVAL, "bytecode at %u: %s is not offered: %s",
				       op->at, defs[code].name,
				       needs_of(code) == AX_COLLECTS ? no_trace : no_tsv);
		int r = decode_operand(c, op, &at);
		if (r < 0)
			return r;
	}
	return 0;
}

static int resolve_jumps(struct compiler *c)
{
	for (size_t i = 0; i < c->count; i++) {
		struct ax_op *op = &c->ax->ops[i];
		if (defs[op->code].operand != TARGET)
			continue;
		if (op->value >= c->len || !c->starts[op->value])
			return err_set(c->err, -EINVAL,
				       "bytecode at %u jumps to %u, where no instruction begins",
				       op->at, (unsigned)op->value);
		op->index = c->starts[op->value] - 1;
		c->joins[op->index] = true;
	}
	return 0;
}

/* The path that comes to index has height cells; queues it when it is the first. */
static int reach(struct compiler *c, size_t index, int height, size_t *todo_count)
{
	if (index >= c->count)
		return err_set(c->err, -EINVAL, "bytecode has a path without an end");
	if (c->heights[index] < 0) {
		c->heights[index] = (int16_t)height;
		c->todo[(*todo_count)++] = (uint32_t)index;
		return 0;
	}
	if (c->heights[index] == height)
		return 0;
	return err_set(c->err, -EINVAL,
		       "bytecode at %u is reached with %d and with %d values on the stack",
		       c->ax->ops[index].at, c->heights[index], height);
}

/* Every instruction is queued once, so the queue holds at most count. */
static int flow(struct compiler *c)
{
	size_t todo_count = 0;
	int r = reach(c, 0, 0, &todo_count);
	while (r == 0 && todo_count) {
		size_t index = c->todo[--todo_count];
		const struct ax_op *op = &c->ax->ops[index];
		const struct op_def *def = &defs[op->code];
		int pops = def->pops + (def->operand == FORMAT ? op->n : 0);
		int needs = def->operand == INDEX ? op->n + 1 : pops;
		int height = c->heights[index] - pops + def->pushes;
		if (c->heights[index] < needs)
			return err_set(c->err, -EINVAL,
				       "%s at %u needs %d values, the stack has %d", def->name,
				       op->at, needs, c->heights[index]);
		if (height > AX_STACK_MAX)
			return err_set(c->err, -EINVAL,
				       "%s at %u needs more than %d values on the stack", def->name,
				       op->at, AX_STACK_MAX);
		if (def->operand == TARGET)
			r = reach(c, op->index, height, &todo_count);
		if (r == 0 && op->code != AXCODE_GOTO && op->code != AXCODE_END)
			r = reach(c, index + 1, height, &todo_count);
	}
	return r;
}

/* In place: what is emitted is never longer than what was read. starts[] becomes the map from old
 * to new index. */
static void emit(struct compiler *c)
{
	struct ax_op *ops = c->ax->ops;
	size_t out = 0;
	for (size_t i = 0; i < c->count; i++) {
		struct ax_op op = ops[i];
		bool foldable = out && ops[out - 1].code == AXCODE_CONST64 && !c->joins[i];
		bool ext = op.code == AXCODE_EXT || op.code == AXCODE_ZERO_EXT;
		c->starts[i] = (uint32_t)out;
		if (c->heights[i] < 0)
			continue;
		if (ext && op.n >= 64) {
			c->joins[i + 1] |= c->joins[i];
			continue;
		}
		if (op.code >= AXCODE_CONST8 && op.code <= AXCODE_CONST64)
			op.code = AXCODE_CONST64;
		if (ext && foldable)
			ops[out - 1].value = ax_extend(ops[out - 1].value, op.n, op.code == AXCODE_EXT);
		else
			ops[out++] = op;
	}
	for (size_t i = 0; i < out; i++)
		if (defs[ops[i].code].operand == TARGET)
			ops[i].index = c->starts[ops[i].index];
	struct ax_op *shrunk = realloc(ops, out * sizeof(*ops));
	c->ax->ops = shrunk ? shrunk : ops;
	c->ax->count = out;
}

static int compile(struct compiler *c)
{
	int r = decode(c);
	if (r == 0)
		r = resolve_jumps(c);
	if (r == 0)
		r = flow(c);
	if (r == 0)
		emit(c);
	return r;
}

int ax_compile_allowing(unsigned allowed, const uint8_t *code, size_t len, ax_reg_map map,
			void *map_ctx, struct ax **ret, struct err *err)
{
	if (len == 0 || len > AX_CODE_MAX)
		return err_set(err, -EINVAL, "bytecode of %zu bytes: 1 to %d are allowed", len,
			       AX_CODE_MAX);
	_cleanup_(ax_freep) struct ax *ax = calloc(1, sizeof(*ax));
	_cleanup_free_ uint32_t *starts = calloc(len, sizeof(*starts));
	_cleanup_free_ int16_t *heights = malloc(len * sizeof(*heights));
	_cleanup_free_ bool *joins = calloc(len, sizeof(*joins));
	_cleanup_free_ uint32_t *todo = malloc(len * sizeof(*todo));
	if (ax)
		ax->ops = malloc(len * sizeof(*ax->ops));
	if (!ax || !ax->ops || !starts || !heights || !joins || !todo)
		return err_set(err, -ENOMEM, "no memory for an agent expression");
	memset(heights, 0xff, len * sizeof(*heights));
	struct compiler c = { .code = code,
			      .len = len,
			      .allowed = allowed,
			      .map = map,
			      .map_ctx = map_ctx,
			      .ax = ax,
			      .starts = starts,
			      .heights = heights,
			      .joins = joins,
			      .todo = todo,
			      .err = err };
	int r = compile(&c);
	if (r == -ENOMEM)
		return err_set(err, -ENOMEM, "no memory for an agent expression");
	if (r < 0)
		return r;
	*ret = take_ptr(ax);
	return 0;
}

int ax_compile(const uint8_t *code, size_t len, ax_reg_map map, void *map_ctx, struct ax **ret,
	       struct err *err)
{
	return ax_compile_allowing(AX_PLAIN, code, len, map, map_ctx, ret, err);
}

/* ---- evaluating */

static int load(const struct ax_env *env, const struct ax_op *op, size_t size, uint64_t *cell,
		struct err *err)
{
	uint64_t value = 0;
	if (!env->mem || mem_read(env->mem, *cell, &value, size) < 0)
		return err_set(err, -EFAULT,
			       "cannot read %zu bytes at 0x%" PRIx64 " (bytecode at %u)", size,
			       *cell, op->at);
	*cell = value;
	return 0;
}

static int fetch(const struct ax_env *env, const struct ax_op *op, uint64_t *cell, struct err *err)
{
	int r = env->reg(env->ctx, op->index, cell);
	if (r < 0)
		return err_set(err, r, "cannot read register %s (bytecode at %u)",
			       x86_reg_name(op->index) ? x86_reg_name(op->index) : "?", op->at);
	return 0;
}

/* The smallest number divided by -1 does not fit and would trap: it wraps, as every other operation
 * does. */
static int divide(const struct ax_op *op, uint64_t a, uint64_t b, uint64_t *cell, struct err *err)
{
	if (b == 0)
		return err_set(err, -EDOM, "division by zero (%s in bytecode at %u)",
			       defs[op->code].name, op->at);
	bool wraps = b == ~0ull;
	switch (op->code) {
	case AXCODE_DIV_SIGNED: *cell = wraps ? 0 - a : (uint64_t)((int64_t)a / (int64_t)b); break;
	case AXCODE_DIV_UNSIGNED: *cell = a / b; break;
	case AXCODE_REM_SIGNED: *cell = wraps ? 0 : (uint64_t)((int64_t)a % (int64_t)b); break;
	default: *cell = a % b; break;
	}
	return 0;
}

static uint64_t shift(unsigned code, uint64_t a, uint64_t by)
{
	switch (code) {
	case AXCODE_LSH: return by < 64 ? a << by : 0;
	case AXCODE_RSH_UNSIGNED: return by < 64 ? a >> by : 0;
	default: return (uint64_t)((int64_t)a >> (by < 64 ? by : 63));
	}
}

static double as_double(uint64_t cell)
{
	double d;
	memcpy(&d, &cell, sizeof(d));
	return d;
}

static uint64_t as_cell(double d)
{
	uint64_t cell;
	memcpy(&cell, &d, sizeof(cell));
	return cell;
}

static double from_float(uint64_t cell)
{
	uint32_t low = (uint32_t)cell;
	float f;
	memcpy(&f, &low, sizeof(f));
	return f;
}

static uint64_t to_signed(double d)
{
	return d >= -0x1p63 && d < 0x1p63 ? (uint64_t)(int64_t)d : UINT64_C(1) << 63;
}

/* A double whose float would be infinite has one; a conversion that overflows is as the processor does it. */
static uint64_t f_unary(unsigned code, uint64_t a)
{
	switch (code) {
	case AXCODE_F_FROM_SIGNED: return as_cell((double)(int64_t)a);
	case AXCODE_F_FROM_UNSIGNED: return as_cell((double)a);
	case AXCODE_F_TO_SIGNED: return to_signed(as_double(a));
	case AXCODE_F_FROM_FLOAT: return as_cell(from_float(a));
	default: return as_cell((double)(float)as_double(a));
	}
}

static uint64_t f_binary(unsigned code, uint64_t a, uint64_t b)
{
	double x = as_double(a), y = as_double(b);

	switch (code) {
	case AXCODE_F_ADD: return as_cell(x + y);
	case AXCODE_F_SUB: return as_cell(x - y);
	case AXCODE_F_MUL: return as_cell(x * y);
	case AXCODE_F_DIV: return as_cell(x / y);
	case AXCODE_F_EQUAL: return x == y;
	case AXCODE_F_LESS: return x < y;
	default: return x <= y;
	}
}

static int use_variable(const struct ax_trace *t, const struct ax_op *op, uint64_t *cell)
{
	if (op->code == AXCODE_SETV)
		return t->set(t->ctx, op->index, *cell);
	if (op->code == AXCODE_TRACEV)
		return t->variable(t->ctx, op->index);
	return t->get(t->ctx, op->index, cell);
}

/* cell: the top; those with two arguments have been popped, and their second is above it. */
static int trace(const struct ax_env *env, const struct ax_op *op, uint64_t *cell, struct err *err)
{
	const struct ax_trace *t = env->trace;
	int r;

	if (!t)
		return err_set(err, -ENODATA, "%s in bytecode at %u: no trace experiment runs",
			       defs[op->code].name, op->at);
	switch (op->code) {
	case AXCODE_TRACE: r = t->memory(t->ctx, cell[1], cell[2]); break;
	case AXCODE_TRACENZ: r = t->string(t->ctx, cell[1], cell[2]); break;
	case AXCODE_TRACE_QUICK:
	case AXCODE_TRACE16: r = t->memory(t->ctx, *cell, op->value); break;
	default: r = use_variable(t, op, cell); break;
	}
	if (r < 0 && err && !err->code)
		return err_set(err, r, "%s failed (bytecode at %u)", defs[op->code].name, op->at);
	return r;
}

int ax_eval(const struct ax *ax, const struct ax_env *env, uint64_t *ret, struct err *err)
{
	/* flow() proved that cells 1..AX_STACK_MAX suffice; top at cells[0]: empty. */
	uint64_t cells[AX_STACK_MAX + 1];
	uint64_t *top = cells, swapped;
	const struct ax_op *op = ax->ops;
	size_t print_start = env->out ? env->out->len : 0;
	int r = 0;
	for (unsigned steps = AX_STEPS_MAX; steps; steps--, op++) {
		switch (op->code) {
		case AXCODE_ADD: top--, top[0] += top[1]; break;
		case AXCODE_SUB: top--, top[0] -= top[1]; break;
		case AXCODE_MUL: top--, top[0] *= top[1]; break;
		case AXCODE_DIV_SIGNED:
		case AXCODE_DIV_UNSIGNED:
		case AXCODE_REM_SIGNED:
		case AXCODE_REM_UNSIGNED: top--, r = divide(op, top[0], top[1], top, err); break;
		case AXCODE_LSH:
		case AXCODE_RSH_SIGNED:
		case AXCODE_RSH_UNSIGNED: top--, top[0] = shift(op->code, top[0], top[1]); break;
		case AXCODE_LOG_NOT: top[0] = !top[0]; break;
		case AXCODE_BIT_AND: top--, top[0] &= top[1]; break;
		case AXCODE_BIT_OR: top--, top[0] |= top[1]; break;
		case AXCODE_BIT_XOR: top--, top[0] ^= top[1]; break;
		case AXCODE_BIT_NOT: top[0] = ~top[0]; break;
		case AXCODE_EQUAL: top--, top[0] = top[0] == top[1]; break;
		case AXCODE_LESS_SIGNED: top--, top[0] = (int64_t)top[0] < (int64_t)top[1]; break;
		case AXCODE_LESS_UNSIGNED: top--, top[0] = top[0] < top[1]; break;
		case AXCODE_EXT: top[0] = ax_extend(top[0], op->n, true); break;
		case AXCODE_ZERO_EXT: top[0] = ax_extend(top[0], op->n, false); break;
		case AXCODE_REF8: r = load(env, op, 1, top, err); break;
		case AXCODE_REF16: r = load(env, op, 2, top, err); break;
		case AXCODE_REF32: r = load(env, op, 4, top, err); break;
		case AXCODE_REF64: r = load(env, op, 8, top, err); break;
		case AXCODE_IF_GOTO:
			if (*top--)
				op = ax->ops + op->index - 1;
			break;
		case AXCODE_GOTO: op = ax->ops + op->index - 1; break;
		case AXCODE_CONST64: *++top = op->value; break;
		case AXCODE_REG: r = fetch(env, op, ++top, err); break;
		case AXCODE_DUP: top[1] = top[0], top++; break;
		case AXCODE_POP: top--; break;
		case AXCODE_TRACE:
		case AXCODE_TRACENZ: top -= 2, r = trace(env, op, top, err); break;
		case AXCODE_GETV: r = trace(env, op, ++top, err); break;
		case AXCODE_TRACEV:
		case AXCODE_SETV:
		case AXCODE_TRACE_QUICK:
		case AXCODE_TRACE16: r = trace(env, op, top, err); break;
		case AXCODE_SWAP: swapped = top[0], top[0] = top[-1], top[-1] = swapped; break;
		case AXCODE_PICK: top[1] = top[-(ptrdiff_t)op->n], top++; break;
		case AXCODE_ROT:
			swapped = top[0], top[0] = top[-1], top[-1] = top[-2], top[-2] = swapped;
			break;
		case AXCODE_PRINTF:
			if (env->out)
				r = ax_format_print(&ax->formats[op->index], env, top - 2,
						    print_start, err);
			top -= 2 + op->n;
			break;
		case AXCODE_F_ADD:
		case AXCODE_F_SUB:
		case AXCODE_F_MUL:
		case AXCODE_F_DIV:
		case AXCODE_F_EQUAL:
		case AXCODE_F_LESS:
		case AXCODE_F_LESS_EQUAL: top--, top[0] = f_binary(op->code, top[0], top[1]); break;
		case AXCODE_F_FROM_SIGNED:
		case AXCODE_F_FROM_UNSIGNED:
		case AXCODE_F_TO_SIGNED:
		case AXCODE_F_FROM_FLOAT:
		case AXCODE_F_ROUND: top[0] = f_unary(op->code, top[0]); break;
		default: /* AXCODE_END */ *ret = top > cells ? *top : 0; return 0;
		}
		if (r < 0)
			return r;
	}
	return err_set(err, -ELOOP, "the expression is not done after %d steps", AX_STEPS_MAX);
}
