#include "server/results.h"

#include <errno.h>
#include <string.h>

#include <dwarf.h>

#include "dwarf/go/model.h"
#include "server/places.h"
#include "target/x86/insn.h"

enum { GO_REGISTER_ABI = 17, CODE_MAX = 1 << 20, PARAMETERS_MAX = 256 };

void traced_fini(struct traced *v)
{
	for (size_t i = 0; i < v->count; i++)
		value_of_fini(&v->at[i]);
	free(v->at);
	*v = (struct traced){ 0 };
}

static bool add_value(struct traced *v, const struct di_var *var)
{
	struct value_of *at =
		v->count < TRACED_MAX ? reallocarray(v->at, v->count + 1, sizeof(*at)) : NULL;
	if (!at)
		return false;
	v->at = at;
	value_of_init(&at[v->count++], var);
	return true;
}

static void find_values(struct debuginfo *di, uint64_t pc, bool results, struct traced *into)
{
	struct di_var *var = malloc(sizeof(*var));

	into->known = di && debuginfo_has_dwarf(di);
	for (size_t n = 0;
	     n < PARAMETERS_MAX && var && into->known && debuginfo_parameter(di, pc, n, var) == 0;
	     n++)
		if (var->result == results && !add_value(into, var))
			break;
	free(var);
}

/* --- Go's result registers (cmd/compile, abi-internal.md) --- */

enum { GO_INTS = 9, GO_FLOATS = 15, DWARF_XMM0 = 17 };

struct registers {
	unsigned ints, floats;
};

static bool assign(const struct di_type *t, uint64_t offset, struct registers *r,
		   struct di_var *var, unsigned depth);

static bool add_piece_at(struct di_var *var, enum di_where where, unsigned reg, uint64_t offset,
			 uint64_t size)
{
	struct di_piece *p = &var->pieces[var->count];
	_cleanup_buf_ struct buf code = { 0 };

	if (var->count == DI_PIECES_MAX)
		return false;
	buf_init(&code, DI_CODE_MAX);
	axcode_reg(&code, reg);
	if (buf_error(&code))
		return false;
	*p = (struct di_piece){ .where = where, .offset = offset, .size = size, .len = code.len };
	memcpy(p->code, code.data, code.len);
	var->count++;
	return true;
}

static bool add_piece(struct di_var *var, unsigned reg, uint64_t offset, uint64_t size)
{
	return add_piece_at(var, DI_VALUE, reg, offset, size);
}

static bool assign_int(uint64_t offset, uint64_t size, struct registers *r, struct di_var *var)
{
	static const uint8_t numbers[GO_INTS] = { 0, 3, 2, 5, 4, 8, 9, 10, 11 };
	return r->ints < GO_INTS && add_piece(var, numbers[r->ints++], offset, size);
}

static bool assign_float(uint64_t offset, uint64_t size, struct registers *r, struct di_var *var)
{
	return r->floats < GO_FLOATS && add_piece(var, DWARF_XMM0 + r->floats++, offset, size);
}

static bool assign_words(unsigned n, uint64_t offset, struct registers *r, struct di_var *var)
{
	for (unsigned i = 0; i < n; i++)
		if (!assign_int(offset + i * 8, 8, r, var))
			return false;
	return true;
}

static bool assign_members(const struct di_type *t, uint64_t offset, struct registers *r,
			   struct di_var *var, unsigned depth)
{
	struct di_field f;

	for (size_t n = 0; di_type_field_nth(t, n, &f); n++)
		if (!assign(&f.type, offset + f.offset, r, var, depth + 1))
			return false;
	return true;
}

static bool assign(const struct di_type *t, uint64_t offset, struct registers *r,
		   struct di_var *var, unsigned depth)
{
	enum { DEPTH_MAX = 16 };
	struct di_type of;

	if (depth > DEPTH_MAX)
		return false;
	switch (t->kind) {
	case DI_STRING:
	case DI_INTERFACE: return assign_words(2, offset, r, var);
	case DI_SLICE: return assign_words(3, offset, r, var);
	case DI_FLOAT: return assign_float(offset, t->size, r, var);
	case DI_COMPLEX:
		return assign_float(offset, t->size / 2, r, var) &&
		       assign_float(offset + t->size / 2, t->size / 2, r, var);
	case DI_STRUCT: return assign_members(t, offset, r, var, depth);
	case DI_ARRAY:
		if (di_type_count(t) > 1 || !di_type_target(t, &of))
			return false;
		return di_type_count(t) == 0 || assign(&of, offset, r, var, depth + 1);
	default: return assign_int(offset, t->size ? t->size : 8, r, var);
	}
}

static void go_results(struct debuginfo *di, uint64_t pc, struct traced *into)
{
	struct di_var *var = malloc(sizeof(*var));
	struct registers used = { 0 };

	for (size_t n = 0;
	     n < PARAMETERS_MAX && var && into->known && debuginfo_parameter(di, pc, n, var) == 0;
	     n++) {
		struct registers before = used;
		size_t count = var->count;
		if (!var->result)
			continue;
		struct di_piece first = var->pieces[0];
		var->count = 0;
		if (!assign(&var->type, 0, &used, var, 0)) {
			used = before; /* it is on the stack, where DWARF may say it is */
			var->count = count ? 1 : 0;
			var->pieces[0] = first;
		}
		if (!add_value(into, var))
			break;
	}
	free(var);
}

/* --- C's (System V ABI, AMD64 supplement, 3.2.3: returning of values) --- */

struct halves {
	bool ints[2]; /* have anything but floating point */
	bool unaligned; /* something lies where its type would not: all of it is given back in memory */
};

/* False: in memory, or it is not known how (x87 registers). */
static bool classify(const struct di_type *t, uint64_t offset, struct halves *h, unsigned depth);

static bool classify_members(const struct di_type *t, uint64_t offset, struct halves *h,
			     unsigned depth)
{
	struct di_field f;

	for (size_t n = 0; di_type_field_nth(t, n, &f); n++) {
		uint64_t first = offset + f.offset, last = first + (f.bit_at + f.bits - 1) / 8;
		if (f.bits && last < 16 && first <= last)
			h->ints[first / 8] = h->ints[last / 8] = true;
		else if (f.bits || !classify(&f.type, first, h, depth + 1))
			return false;
	}
	return true;
}

static bool classify(const struct di_type *t, uint64_t offset, struct halves *h, unsigned depth)
{
	enum { DEPTH_MAX = 16, ELEMENTS_MAX = 16 };
	struct di_type of;

	if (depth > DEPTH_MAX || offset > 16 || t->size > 16 - offset)
		return false;
	if (!t->size) /* Rust's () */
		return true;
	if (t->kind == DI_STRUCT)
		return classify_members(t, offset, h, depth);
	if (t->kind == DI_ARRAY) {
		uint64_t count = di_type_count(t);
		if (count > ELEMENTS_MAX || !di_type_target(t, &of))
			return false;
		for (uint64_t n = 0; n < count; n++)
			if (!classify(&of, offset + n * of.size, h, depth + 1))
				return false;
		return true;
	}
	uint64_t align = t->kind == DI_COMPLEX ? t->size / 2 : t->size;
	if (align && align <= 8 && offset % align) {
		h->unaligned = true;
		return false;
	}
	if (t->kind == DI_FLOAT)
		return t->size <= 8;
	if (t->kind == DI_COMPLEX)
		return true;
	h->ints[offset / 8] = true;
	if (t->size > 8)
		h->ints[1] = true;
	return true;
}

/* A class with a copy constructor or destructor of its own is given back in memory, however small. */
static bool is_by_reference(const struct di_type *t)
{
	Dwarf_Die die = t->die;
	Dwarf_Attribute attr;
	Dwarf_Word how;

	return die.addr && dwarf_attr(&die, DW_AT_calling_convention, &attr) &&
	       dwarf_formudata(&attr, &how) == 0 && how == DW_CC_pass_by_reference;
}

static void place_c_result(struct di_var *var)
{
	enum { RAX = 0, RDX = 1 };
	struct halves h = { .unaligned = false };
	const struct di_type *t = &var->type;
	unsigned n_int = 0, n_float = 0;
	bool aggregate = t->kind == DI_STRUCT || t->kind == DI_ARRAY || t->kind == DI_STRING ||
			 t->kind == DI_SLICE;

	if (t->kind == DI_FLOAT && t->size <= 8) {
		add_piece(var, DWARF_XMM0, 0, 0);
		return;
	}
	/* A long double is in the x87 registers, both parts of a complex one, too. */
	if (t->kind == DI_FLOAT || !t->size || (!aggregate && t->size > 16))
		return;
	bool large = aggregate && (t->size > 16 || is_by_reference(t));
	bool known = large || !aggregate || classify(t, 0, &h, 0);
	if (large || h.unaligned) {
		add_piece_at(var, DI_MEMORY, RAX, 0, 0);
		return;
	}
	if (!known)
		return;
	if (!aggregate)
		h.ints[0] = h.ints[1] = t->kind != DI_COMPLEX;
	for (unsigned half = 0; half * 8 < t->size; half++) {
		unsigned reg = !h.ints[half] ? DWARF_XMM0 + n_float++ : n_int++ ? RDX : RAX;
		add_piece(var, reg, half * 8, t->size > 8 ? 8 : 0);
	}
}

static void c_result(struct debuginfo *di, uint64_t pc, struct traced *into)
{
	struct di_var *var = calloc(1, sizeof(*var));

	if (var && into->known && debuginfo_result(di, pc, &var->type)) {
		var->name = "";
		var->result = true;
		place_c_result(var);
		add_value(into, var);
	}
	free(var);
}

/* --- where it returns --- */

/* The first ret of the function; 0: it has none, or its code cannot be read. */
static uint64_t find_ret(const struct mem *mem, const struct place *at)
{
	size_t len = at->end > at->entry ? (size_t)MIN(at->end - at->entry, (uint64_t)CODE_MAX) : 0;
	_cleanup_free_ uint8_t *code = malloc(len + INSN_MAX);

	if (!code || !len || mem_read(mem, at->entry, code, len) < 0)
		return 0;
	for (size_t i = 0; i < len;) {
		struct insn in;
		if (insn_decode(code + i, len - i, &in) < 0)
			return 0;
		if (in.is & INSN_RET && !(in.is & INSN_FAR))
			return at->entry + i;
		i += in.length;
	}
	return 0;
}

void results_find_arguments(const struct place *at, struct traced *into)
{
	find_values(at->di, at->addr, false, into);
}

void results_find(const struct mem *mem, const struct place *at, struct traced *into)
{
	uint64_t ret = at->go ? find_ret(mem, at) : 0;

	into->known = at->di && debuginfo_has_dwarf(at->di);
	if (!at->go)
		c_result(at->di, at->addr, into);
	else if (go_model_minor(at->go) >= GO_REGISTER_ABI)
		go_results(at->di, ret ? ret : at->addr, into);
	else if (ret)
		find_values(at->di, ret, true, into);
	else
		into->known = false;
}
