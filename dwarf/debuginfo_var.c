/* Variables: which is meant by a name at a place, and where it is. */
#include "dwarf/debuginfo_internal.h"

#include <dwarf.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { NAME_MAX_LEN = 512 };

/* ---- locations as bytecode ---- */

struct locator {
	struct debuginfo *di;
	uint64_t linked;     /* pc */
	Dwarf_Die *function; /* whose frame; NULL: none */
	const char *name;
	struct err *err;
};

static int put_ops(struct locator *l, Dwarf_Attribute *attr, Dwarf_Op *ops, size_t n,
		   struct di_var *ret);

static int no_value(struct locator *l, const char *why)
{
	return err_set(l->err, -ENODATA, "'%s' has no value here: %s", l->name, why);
}

/* The location at a pc: libdw's own operations, or those of a block into room. */
static bool ops_at(Dwarf_Attribute *attr, uint64_t linked, Dwarf_Op room[DI_OPS_MAX],
		   Dwarf_Op **ret, size_t *ret_count)
{
	unsigned form = dwarf_whatform(attr);
	Dwarf_Block block;

	if (dwarf_getlocation_addr(attr, linked, ret, ret_count, 1) == 1)
		return *ret_count;
	if ((form != DW_FORM_block && form != DW_FORM_block1 && form != DW_FORM_block2 &&
	     form != DW_FORM_block4) ||
	    dwarf_formblock(attr, &block) != 0)
		return false;
	*ret = room;
	return di_block_ops(block.data, block.length, room, DI_OPS_MAX, ret_count);
}

/* An address of the frame: what DW_OP_fbreg counts from. */
static int put_frame_base(struct locator *l, struct buf *code)
{
	Dwarf_Attribute attr;
	Dwarf_Op room[DI_OPS_MAX], *ops;
	size_t n;
	struct di_var base = { .count = 0 };

	if (!l->function || !dwarf_attr_integrate(l->function, DW_AT_frame_base, &attr) ||
	    !ops_at(&attr, l->linked, room, &ops, &n))
		return no_value(l, "the function has no frame that is known");
	Dwarf_Die *function = l->function;
	l->function = NULL; /* a frame base cannot count from itself */
	int r = put_ops(l, &attr, ops, n, &base);
	l->function = function;
	if (r < 0)
		return r;
	/* A register is the base itself. */
	if (base.count != 1 || base.pieces[0].where == DI_NOWHERE)
		return no_value(l, "the function has no frame that is known");
	buf_put(code, base.pieces[0].code, base.pieces[0].len);
	return 0;
}

static int put_stack_op(struct locator *l, const Dwarf_Op *op, struct buf *code)
{
	static const uint8_t same[256] = {
		[DW_OP_plus] = AXCODE_ADD,        [DW_OP_minus] = AXCODE_SUB,
		[DW_OP_mul] = AXCODE_MUL,         [DW_OP_and] = AXCODE_BIT_AND,
		[DW_OP_or] = AXCODE_BIT_OR,       [DW_OP_xor] = AXCODE_BIT_XOR,
		[DW_OP_shl] = AXCODE_LSH,         [DW_OP_shr] = AXCODE_RSH_UNSIGNED,
		[DW_OP_shra] = AXCODE_RSH_SIGNED, [DW_OP_not] = AXCODE_BIT_NOT,
		[DW_OP_dup] = AXCODE_DUP,         [DW_OP_drop] = AXCODE_POP,
		[DW_OP_swap] = AXCODE_SWAP,       [DW_OP_deref] = AXCODE_REF64,
		[DW_OP_div] = AXCODE_DIV_SIGNED,  [DW_OP_mod] = AXCODE_REM_UNSIGNED,
		[DW_OP_eq] = AXCODE_EQUAL,        [DW_OP_lt] = AXCODE_LESS_SIGNED,
	};

	if (same[op->atom]) {
		axcode_op(code, same[op->atom]);
		return 0;
	}
	switch (op->atom) {
	case DW_OP_nop: return 0;
	case DW_OP_over: axcode_pick(code, 1); return 0;
	case DW_OP_pick: axcode_pick(code, (uint8_t)op->number); return 0;
	case DW_OP_plus_uconst: axcode_add_const(code, op->number); return 0;
	case DW_OP_neg:
		axcode_op(code, AXCODE_BIT_NOT);
		axcode_add_const(code, 1);
		return 0;
	case DW_OP_deref_size:
		if (!op->number || op->number > 8)
			break;
		axcode_load(code, (unsigned)op->number, false);
		return 0;
	case DW_OP_form_tls_address:
	case DW_OP_GNU_push_tls_address:
		if (!l->di->tls_len)
			return no_value(
				l,
				"it is thread-local, and where threads keep it is not known now");
		buf_put(code, l->di->tls, l->di->tls_len);
		axcode_op(code, AXCODE_ADD);
		return 0;
	case DW_OP_entry_value:
	case DW_OP_GNU_entry_value:
		return no_value(l, "only its value at the function's entry is known; break there");
	default: break;
	}
	err_set(l->err, -ENODATA, "'%s' has no value here: its location uses operation 0x%x",
		l->name, op->atom);
	return -ENODATA;
}

static int put_op(struct locator *l, Dwarf_Attribute *attr, const Dwarf_Op *op, struct buf *code)
{
	unsigned atom = op->atom;
	Dwarf_Attribute at;
	Dwarf_Addr addr;
	Dwarf_Word value;
	int r;

	if (atom >= DW_OP_lit0 && atom <= DW_OP_lit31) {
		axcode_const(code, atom - DW_OP_lit0);
		return 0;
	}
	if (atom >= DW_OP_breg0 && atom <= DW_OP_breg31) {
		axcode_reg(code, atom - DW_OP_breg0);
		axcode_add_const(code, op->number);
		return 0;
	}
	switch (atom) {
	case DW_OP_addr: axcode_const(code, op->number + l->di->bias); return 0;
	case DW_OP_addrx:
	case DW_OP_GNU_addr_index:
		if (dwarf_getlocation_attr(attr, op, &at) != 0 || dwarf_formaddr(&at, &addr) != 0)
			break;
		axcode_const(code, addr + l->di->bias);
		return 0;
	case DW_OP_constx:
	case DW_OP_GNU_const_index:
		if (dwarf_getlocation_attr(attr, op, &at) != 0 || dwarf_formudata(&at, &value) != 0)
			break;
		axcode_const(code, value);
		return 0;
	case DW_OP_const1u:
	case DW_OP_const2u:
	case DW_OP_const4u:
	case DW_OP_const8u:
	case DW_OP_constu:
	case DW_OP_const1s:
	case DW_OP_const2s:
	case DW_OP_const4s:
	case DW_OP_const8s:
	case DW_OP_consts: axcode_const(code, op->number); return 0;
	case DW_OP_bregx:
		axcode_reg(code, (unsigned)op->number);
		axcode_add_const(code, op->number2);
		return 0;
	case DW_OP_fbreg:
		r = put_frame_base(l, code);
		axcode_add_const(code, op->number);
		return r;
	case DW_OP_call_frame_cfa:
		r = debuginfo_cfa(l->di, l->linked + l->di->bias, code);
		return r < 0 ? no_value(l, "there is no description of the frame") : 0;
	default: return put_stack_op(l, op, code);
	}
	return no_value(l, "its location is damaged");
}

static int end_piece(struct locator *l, struct buf *code, enum di_where where, uint64_t size,
		     struct di_var *ret)
{
	struct di_piece *p;

	if (buf_error(code) || code->len > DI_CODE_MAX)
		return no_value(l, "its location is too long");
	if (ret->count == DI_PIECES_MAX)
		return no_value(l, "it is in too many pieces");
	p = &ret->pieces[ret->count];
	p->where = code->len ? where : DI_NOWHERE;
	p->offset = ret->count ? p[-1].offset + p[-1].size : 0;
	p->size = size;
	p->len = code->len;
	if (code->len)
		memcpy(p->code, code->data, code->len);
	ret->count++;
	buf_reset(code);
	return 0;
}

static int put_implicit(struct locator *l, Dwarf_Attribute *attr, const Dwarf_Op *op,
			struct buf *code)
{
	Dwarf_Block block;
	uint64_t value = 0;

	if (dwarf_getlocation_implicit_value(attr, op, &block) != 0 || block.length > sizeof(value))
		return no_value(l, "it is a constant that is too large");
	memcpy(&value, block.data, block.length);
	axcode_const(code, value);
	return 0;
}

static int put_ops(struct locator *l, Dwarf_Attribute *attr, Dwarf_Op *ops, size_t n,
		   struct di_var *ret)
{
	_cleanup_buf_ struct buf code = { 0 };
	enum di_where where = DI_MEMORY;
	bool open = false;
	int r = 0;

	buf_init(&code, 4 * DI_CODE_MAX);
	for (size_t i = 0; r == 0 && i < n; i++) {
		const Dwarf_Op *op = &ops[i];
		if (op->atom == DW_OP_piece) {
			r = end_piece(l, &code, where, op->number, ret);
			where = DI_MEMORY;
			open = false;
			continue;
		}
		open = true;
		if (op->atom == DW_OP_stack_value) {
			where = DI_VALUE;
		} else if (op->atom >= DW_OP_reg0 && op->atom <= DW_OP_reg31) {
			axcode_reg(&code, op->atom - DW_OP_reg0);
			where = DI_VALUE;
		} else if (op->atom == DW_OP_regx) {
			axcode_reg(&code, (unsigned)op->number);
			where = DI_VALUE;
		} else if (op->atom == DW_OP_implicit_value) {
			r = put_implicit(l, attr, op, &code);
			where = DI_VALUE;
		} else {
			r = put_op(l, attr, op, &code);
		}
	}
	if (r == 0 && open)
		r = end_piece(l, &code, where, 0, ret);
	return r;
}

static int put_constant(struct locator *l, Dwarf_Attribute *attr, struct di_var *ret)
{
	_cleanup_buf_ struct buf code = { 0 };
	int64_t value;
	Dwarf_Block block;

	buf_init(&code, DI_CODE_MAX);
	if (!di_constant(attr, &value)) {
		value = 0;
		if (dwarf_formblock(attr, &block) != 0 || block.length > sizeof(value))
			return no_value(l, "it is a constant that is too large");
		memcpy(&value, block.data, block.length);
	}
	axcode_const(&code, (uint64_t)value);
	return end_piece(l, &code, DI_VALUE, 0, ret);
}

static int locate(struct locator *l, Dwarf_Die *die, struct di_var *ret)
{
	Dwarf_Attribute attr;
	Dwarf_Op room[DI_OPS_MAX], *ops;
	size_t n;

	ret->count = 0;
	(void)di_resolve_type(die, &ret->type);
	if (dwarf_attr_integrate(die, DW_AT_const_value, &attr))
		return put_constant(l, &attr, ret);
	if (!dwarf_attr_integrate(die, DW_AT_location, &attr))
		return no_value(l, "the compiler kept it nowhere");
	if (!ops_at(&attr, l->linked, room, &ops, &n))
		return no_value(l, "the compiler keeps it nowhere at this instruction");
	return put_ops(l, &attr, ops, n, ret);
}

/* ---- finding the name ---- */

static bool is_variable(int tag)
{
	return tag == DW_TAG_variable || tag == DW_TAG_formal_parameter;
}

static uint64_t decl_line(Dwarf_Die *die)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;
	return dwarf_formudata(dwarf_attr_integrate(die, DW_AT_decl_line, &attr), &value) == 0
		       ? value
		       : 0;
}

/* The last of this name in one scope that is declared at or before the line; a parameter always is. */
static bool child_named(Dwarf_Die *scope, const char *name, uint64_t line, Dwarf_Die *ret)
{
	Dwarf_Die child;
	bool found = false;

	if (dwarf_child(scope, &child) != 0)
		return false;
	for (unsigned n = 0; n < DI_CHILDREN_MAX; n++) {
		int tag = dwarf_tag(&child);
		const char *have = is_variable(tag) ? dwarf_diename(&child) : NULL;
		if (have && !strcmp(have, name) &&
		    (!line || tag == DW_TAG_formal_parameter || decl_line(&child) <= line)) {
			*ret = child;
			found = true;
		}
		if (dwarf_siblingof(&child, &child) != 0)
			break;
	}
	return found;
}

struct scopes {
	Dwarf_Die unit, function;
	bool has_function, go;
	Dwarf_Die at[DI_SCOPES_MAX];
	int count;
};

static bool scopes_init(struct scopes *s, struct debuginfo *di, uint64_t linked)
{
	s->count = 0;
	s->has_function = s->go = false;
	if (!di_unit_at(di, linked, &s->unit))
		return false;
	s->go = di_is_go_unit(&s->unit);
	s->count = di_scopes_at(di, linked, s->at);
	s->has_function = s->count > 0;
	if (s->has_function)
		s->function = s->at[s->count - 1];
	return true;
}

static bool local_named(struct scopes *s, const char *name, uint64_t line, Dwarf_Die *ret)
{
	for (int i = 0; i < s->count; i++) {
		int tag = dwarf_tag(&s->at[i]);
		if (tag == DW_TAG_compile_unit)
			return false;
		if (child_named(&s->at[i], name, line, ret))
			return true;
		if (tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine)
			return false;
	}
	return false;
}

/* What Go moved to the heap is a pointer named "&x". */
static int go_escaped(struct scopes *s, struct locator *l, const char *name, uint64_t line,
		      struct di_var *ret)
{
	char escaped[NAME_MAX_LEN];
	Dwarf_Die die;
	struct di_type under;

	if (!s->go || strlen(name) + 2 > sizeof(escaped))
		return -ENOENT;
	escaped[0] = '&';
	strcpy(escaped + 1, name);
	if (!local_named(s, escaped, line, &die))
		return -ENOENT;
	int r = locate(l, &die, ret);
	if (r < 0)
		return r;
	struct di_piece *p = &ret->pieces[0];
	if (ret->count != 1 || p->where == DI_NOWHERE || !di_type_target(&ret->type, &under))
		return -ENODATA;
	if (p->where == DI_MEMORY && p->len < DI_CODE_MAX)
		p->code[p->len++] = AXCODE_REF64;
	p->where = DI_MEMORY;
	ret->type = under;
	return 0;
}

static uint64_t go_line(struct debuginfo *di, struct scopes *s, uint64_t linked)
{
	Dwarf_Line *line = s->go ? dwarf_getsrc_die(&s->unit, linked) : NULL;
	int number;

	(void)di;
	return line && dwarf_lineno(line, &number) == 0 && number > 0 ? (uint64_t)number : 0;
}

/* ---- global ones ---- */

/* "net/http.DefaultClient" is meant by "http.DefaultClient", and within the package by its last part. */
static bool go_name_fits(const char *have, const char *wanted, const char *package, size_t len)
{
	const char *slash = strrchr(have, '/');

	if (!strcmp(have, wanted) || (slash && !strcmp(slash + 1, wanted)))
		return true;
	return package && !strncmp(have, package, len) && have[len] == '.' &&
	       !strcmp(have + len + 1, wanted);
}

struct global {
	const char *name;
	const char *package; /* of Go; NULL: none */
	size_t package_len;
	bool go;
	int tag; /* DW_TAG_variable, or DW_TAG_constant with enumerators */
	Dwarf_Die die;
};

static bool global_is(struct global *g, Dwarf_Die *parent, Dwarf_Die *die)
{
	const char *have;

	if (g->tag == DW_TAG_variable &&
	    (dwarf_tag(die) != DW_TAG_variable || !dwarf_hasattr(die, DW_AT_location)))
		return false;
	if (g->tag != DW_TAG_variable && !dwarf_hasattr(die, DW_AT_const_value))
		return false;
	have = dwarf_diename(die);
	if (g->go)
		return have && go_name_fits(have, g->name, g->package, g->package_len);
	return dwarf_tag(parent) == DW_TAG_enumeration_type
		       ? di_enumerator_fits(parent, die, g->name)
		       : di_name_fits(die, g->name);
}

static bool global_within(struct global *g, Dwarf_Die *parent, unsigned depth)
{
	Dwarf_Die child;

	if (!depth || dwarf_child(parent, &child) != 0)
		return false;
	for (unsigned n = 0; n < DI_CHILDREN_MAX; n++) {
		int tag = dwarf_tag(&child);
		bool inside = tag == DW_TAG_namespace || tag == DW_TAG_structure_type ||
			      tag == DW_TAG_class_type ||
			      (tag == DW_TAG_enumeration_type && g->tag != DW_TAG_variable);
		if (global_is(g, parent, &child)) {
			g->die = child;
			return true;
		}
		if (inside && !g->go && global_within(g, &child, depth - 1))
			return true;
		if (dwarf_siblingof(&child, &child) != 0)
			return false;
	}
	return false;
}

static bool find_global(struct debuginfo *di, struct scopes *s, struct global *g)
{
	enum { NAMESPACES_MAX = 8 };
	Dwarf_Off at = 0;
	Dwarf_Die unit;
	const char *function = s && s->has_function ? dwarf_diename(&s->function) : NULL;

	if (s && s->go && function) {
		const char *slash = strrchr(function, '/');
		const char *dot = strchr(slash ? slash : function, '.');
		g->package = dot ? function : NULL;
		g->package_len = dot ? (size_t)(dot - function) : 0;
	}
	g->go = s && s->go;
	if (s && global_within(g, &s->unit, NAMESPACES_MAX))
		return true;
	while (di_next_unit(di, &at, &unit)) {
		g->go = di_is_go_unit(&unit);
		if (global_within(g, &unit, NAMESPACES_MAX))
			return true;
	}
	return false;
}

/* Without DWARF an object is as many bytes at an address. */
static int symbol_named(struct debuginfo *di, const char *name, struct di_var *ret)
{
	struct image_symbol sym = image_symbol(di->img, name);
	_cleanup_buf_ struct buf code = { 0 };

	bool tls = sym.name && sym.type == STT_TLS && di->tls_len;

	if (!sym.name ||
	    (sym.type != STT_OBJECT && sym.type != STT_NOTYPE && sym.type != STT_FUNC && !tls))
		return -ENOENT;
	buf_init(&code, DI_CODE_MAX);
	axcode_const(&code, sym.value + (tls ? 0 : di->bias));
	if (tls) {
		buf_put(&code, di->tls, di->tls_len);
		axcode_op(&code, AXCODE_ADD);
	}
	*ret = (struct di_var){ .name = sym.name,
				.type = { .kind = DI_OTHER, .size = sym.size },
				.count = 1,
				.pieces[0] = { .where = DI_MEMORY, .len = code.len } };
	if (buf_error(&code))
		return -ENOMEM;
	memcpy(ret->pieces[0].code, code.data, code.len);
	/* A macro in C, so that even a libc with debug information says nothing of its type. */
	if (tls && !strcmp(name, "errno"))
		ret->type = di_type_basic(DI_INT, 4, true);
	return 0;
}

int debuginfo_set_tls(struct debuginfo *di, const uint8_t *code, size_t len)
{
	if (len > sizeof(di->tls))
		return -EMSGSIZE;
	if (len)
		memcpy(di->tls, code, len);
	di->tls_len = len;
	return 0;
}

/* A member of the object that the method at pc is called for. */
static int member_of_this(struct scopes *s, struct locator *l, const char *name, struct di_var *ret)
{
	Dwarf_Die this;
	struct di_type object;
	struct di_field field;
	_cleanup_buf_ struct buf code = { 0 };

	if (s->go || !local_named(s, "this", 0, &this) || locate(l, &this, ret) < 0 ||
	    !di_type_target(&ret->type, &object) || !di_type_field(&object, name, &field) ||
	    ret->count != 1 || ret->pieces[0].where == DI_NOWHERE || field.bits)
		return -ENOENT;
	struct di_piece *p = &ret->pieces[0];
	buf_init(&code, DI_CODE_MAX);
	buf_put(&code, p->code, p->len);
	if (p->where == DI_MEMORY)
		axcode_op(&code, AXCODE_REF64);
	axcode_add_const(&code, field.offset);
	if (buf_error(&code))
		return -ENOENT;
	memcpy(p->code, code.data, code.len);
	p->len = code.len;
	p->where = DI_MEMORY;
	ret->type = field.type;
	return 0;
}

int debuginfo_variable(struct debuginfo *di, uint64_t pc, const char *name, struct di_var *ret,
		       struct err *err)
{
	uint64_t linked = pc - di->bias;
	struct locator l = { .di = di, .linked = linked, .name = name, .err = err };
	struct scopes s;
	struct global g = { .name = name, .tag = DW_TAG_variable };
	bool here = scopes_init(&s, di, linked);
	Dwarf_Die die;

	*ret = (struct di_var){ .name = name };
	l.function = s.has_function ? &s.function : NULL;
	if (here) {
		uint64_t line = go_line(di, &s, linked);
		if (local_named(&s, name, line, &die))
			return locate(&l, &die, ret);
		int r = go_escaped(&s, &l, name, line, ret);
		if (r == -ENOENT)
			r = member_of_this(&s, &l, name, ret);
		if (r != -ENOENT)
			return r;
	}
	*ret = (struct di_var){ .name = name };
	if (di->dw && find_global(di, here ? &s : NULL, &g))
		return locate(&l, &g.die, ret);
	if (symbol_named(di, name, ret) == 0)
		return 0;
	return err_set(err, -ENOENT, "there is no variable '%s' here", name);
}

int debuginfo_constant(struct debuginfo *di, uint64_t pc, const char *name, int64_t *ret)
{
	struct scopes s;
	struct global g = { .name = name, .tag = DW_TAG_constant };
	bool here = scopes_init(&s, di, pc - di->bias);
	Dwarf_Attribute attr;

	if (!di->dw || !find_global(di, here ? &s : NULL, &g) ||
	    !di_constant(dwarf_attr(&g.die, DW_AT_const_value, &attr), ret))
		return -ENOENT;
	return 0;
}

/* ---- parameters and results ---- */

/* The function at pc, or the one that was inlined there. */
static Dwarf_Die *innermost(struct scopes *s)
{
	for (int i = 0; i < s->count; i++) {
		int tag = dwarf_tag(&s->at[i]);
		if (tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine)
			return &s->at[i];
	}
	return s->has_function ? &s->function : NULL;
}

int debuginfo_parameter(struct debuginfo *di, uint64_t pc, size_t n, struct di_var *ret)
{
	struct scopes s;
	uint64_t linked = pc - di->bias;
	struct locator l = { .di = di, .linked = linked };
	Dwarf_Attribute attr;
	Dwarf_Die child, *function;
	bool result;

	if (!scopes_init(&s, di, linked))
		return -ENOENT;
	function = innermost(&s);
	if (!function || dwarf_child(function, &child) != 0)
		return -ENOENT;
	for (unsigned i = 0; i < DI_CHILDREN_MAX; i++) {
		if (dwarf_tag(&child) == DW_TAG_formal_parameter && n-- == 0)
			break;
		if (dwarf_siblingof(&child, &child) != 0)
			return -ENOENT;
	}
	if (dwarf_tag(&child) != DW_TAG_formal_parameter)
		return -ENOENT;
	*ret = (struct di_var){ .name = dwarf_diename(&child) };
	ret->result = dwarf_formflag(dwarf_attr_integrate(&child, DW_AT_variable_parameter, &attr),
				     &result) == 0 &&
		      result;
	if (!ret->name)
		ret->name = "_";
	l.name = ret->name;
	l.function = s.has_function ? &s.function : NULL;
	if (locate(&l, &child, ret) < 0)
		ret->count = 0;
	return 0;
}

bool debuginfo_result(struct debuginfo *di, uint64_t pc, struct di_type *ret)
{
	Dwarf_Die function;

	return di_function_at(di, pc - di->bias, &function) && di_resolve_type(&function, ret) &&
	       ret->kind != DI_VOID;
}
