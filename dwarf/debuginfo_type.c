/* Types as a person's expression needs them. */
#include "dwarf/debuginfo_internal.h"

#include <dwarf.h>
#include <string.h>

/* Attributes of Go's own, cmd/internal/dwarf. */
enum { AT_GO_KIND = 0x2900, AT_GO_ELEM = 0x2902, AT_GO_EMBEDDED = 0x2903 };
/* internal/abi, Kind */
enum { GO_KIND_INTERFACE = 20, GO_KIND_SLICE = 23, GO_KIND_STRING = 24 };

struct di_type di_type_basic(enum di_kind kind, unsigned size, bool is_signed)
{
	return (struct di_type){ .kind = kind, .size = size, .is_signed = is_signed };
}

static bool ref(Dwarf_Die *die, unsigned attribute, Dwarf_Die *ret)
{
	Dwarf_Attribute attr;
	return dwarf_formref_die(dwarf_attr_integrate(die, attribute, &attr), ret);
}

static uint64_t number(Dwarf_Die *die, unsigned attribute, uint64_t otherwise)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;
	return dwarf_formudata(dwarf_attr_integrate(die, attribute, &attr), &value) == 0
		       ? value
		       : otherwise;
}

static bool flag(Dwarf_Die *die, unsigned attribute)
{
	Dwarf_Attribute attr;
	bool value;
	return dwarf_formflag(dwarf_attr_integrate(die, attribute, &attr), &value) == 0 && value;
}

static void take_base(struct di_type *t)
{
	switch (number(&t->die, DW_AT_encoding, 0)) {
	case DW_ATE_boolean: t->kind = DI_BOOL; break;
	case DW_ATE_signed: t->is_signed = true, t->kind = DI_INT; break;
	case DW_ATE_unsigned:
	case DW_ATE_address: t->kind = DI_INT; break;
	case DW_ATE_signed_char: t->is_signed = true, t->kind = DI_CHAR; break;
	case DW_ATE_unsigned_char:
	case DW_ATE_UTF: t->kind = DI_CHAR; break;
	case DW_ATE_float: t->kind = DI_FLOAT; break;
	case DW_ATE_complex_float: t->kind = DI_COMPLEX; break;
	default: break;
	}
}

static bool is_rust_slice(const struct di_type *t)
{
	struct di_field f;
	return t->name && t->name[0] == '&' && t->size == 16 && di_type_field(t, "data_ptr", &f) &&
	       di_type_field(t, "length", &f);
}

static void take_struct(struct di_type *t, uint64_t go_kind)
{
	t->kind = DI_STRUCT;
	if (go_kind == GO_KIND_STRING && t->size == 16)
		t->kind = DI_STRING;
	else if (go_kind == GO_KIND_SLICE && t->size == 24)
		t->kind = DI_SLICE;
	else if (go_kind == GO_KIND_INTERFACE && t->size == 16)
		t->kind = DI_INTERFACE;
	else if (is_rust_slice(t))
		t->kind = !strcmp(t->name, "&str") ? DI_STRING : DI_SLICE;
	if (t->kind == DI_INTERFACE) {
		const char *made_of = dwarf_diename(&t->die);
		t->dynamic = made_of && !strcmp(made_of, "runtime.eface");
	}
}

static void take_tag(struct di_type *t, uint64_t go_kind)
{
	Dwarf_Die under;

	switch (dwarf_tag(&t->die)) {
	case DW_TAG_base_type: take_base(t); break;
	case DW_TAG_reference_type:
	case DW_TAG_rvalue_reference_type: t->reference = true; /* fall through */
	case DW_TAG_pointer_type:
		t->kind = DI_POINTER;
		t->size = 8;
		break;
	case DW_TAG_enumeration_type:
		t->kind = DI_ENUM;
		t->is_signed = ref(&t->die, DW_AT_type, &under) &&
			       number(&under, DW_AT_encoding, 0) == DW_ATE_signed;
		break;
	case DW_TAG_structure_type:
	case DW_TAG_class_type:
	case DW_TAG_union_type: take_struct(t, go_kind); break;
	case DW_TAG_array_type: t->kind = DI_ARRAY; break;
	default: break;
	}
}

static bool is_name_only(int tag)
{
	return tag == DW_TAG_typedef || tag == DW_TAG_const_type || tag == DW_TAG_volatile_type ||
	       tag == DW_TAG_restrict_type || tag == DW_TAG_atomic_type;
}

bool di_resolve_type(Dwarf_Die *typed, struct di_type *ret)
{
	struct di_type t = { .kind = DI_OTHER };
	uint64_t go_kind = 0;
	Dwarf_Word size;

	if (!ref(typed, DW_AT_type, &t.die)) {
		*ret = (struct di_type){ .kind = DI_VOID };
		return false;
	}
	for (unsigned depth = 0; depth < DI_DEPTH_MAX; depth++) {
		Dwarf_Die under;
		if (!t.name)
			t.name = dwarf_diename(&t.die);
		if (!go_kind)
			go_kind = number(&t.die, AT_GO_KIND, 0);
		if (!is_name_only(dwarf_tag(&t.die)))
			break;
		if (!ref(&t.die, DW_AT_type, &under)) {
			*ret = (struct di_type){ .kind = DI_VOID, .name = t.name };
			return true;
		}
		t.die = under;
	}
	if (dwarf_aggregate_size(&t.die, &size) == 0)
		t.size = size;
	take_tag(&t, go_kind);
	*ret = t;
	return true;
}

bool di_type_part(const struct di_type *t, unsigned n, struct di_field *ret)
{
	if ((t->kind != DI_STRING && t->kind != DI_SLICE) || n * 8 >= t->size)
		return false;
	*ret = (struct di_field){ .offset = n * 8,
				  .type = di_type_basic(n ? DI_INT : DI_POINTER, 8, n) };
	return true;
}

bool di_type_target(const struct di_type *t, struct di_type *ret)
{
	Dwarf_Die die = t->die, element;
	struct di_field data;

	if (t->kind == DI_STRING) {
		*ret = di_type_basic(DI_INT, 1, false);
		return true;
	}
	if (!die.addr)
		return false;
	if (t->kind == DI_SLICE && ref(&die, AT_GO_ELEM, &element)) {
		/* The attribute names the type itself: asked for as the type of a pointer to it, of which there is one. */
		if (di_type_field(t, "array", &data))
			return di_type_target(&data.type, ret);
		return false;
	}
	if (t->kind == DI_SLICE)
		return di_type_field(t, "data_ptr", &data) && di_type_target(&data.type, ret);
	if (t->kind != DI_POINTER && t->kind != DI_ARRAY)
		return false;
	return di_resolve_type(&die, ret);
}

uint64_t di_type_count(const struct di_type *t)
{
	Dwarf_Die die = t->die, child;
	struct di_type element;

	if (t->kind != DI_ARRAY || !die.addr || dwarf_child(&die, &child) != 0)
		return 0;
	if (dwarf_tag(&child) == DW_TAG_subrange_type) {
		uint64_t count = number(&child, DW_AT_count, UINT64_MAX);
		uint64_t last = number(&child, DW_AT_upper_bound, UINT64_MAX);
		if (count != UINT64_MAX)
			return count;
		if (last != UINT64_MAX)
			return last + 1;
	}
	return di_type_target(t, &element) && element.size ? t->size / element.size : 0;
}

/* ---- members ---- */

static uint64_t offset_of(Dwarf_Die *member)
{
	Dwarf_Attribute attr;
	Dwarf_Word value;
	Dwarf_Op *ops;
	size_t n;

	if (!dwarf_attr_integrate(member, DW_AT_data_member_location, &attr))
		return 0;
	if (dwarf_formudata(&attr, &value) == 0)
		return value;
	if (dwarf_getlocation(&attr, &ops, &n) == 0 && n == 1 && ops[0].atom == DW_OP_plus_uconst)
		return ops[0].number;
	return 0;
}

static void take_bits(Dwarf_Die *member, struct di_field *f)
{
	uint64_t from_start = number(member, DW_AT_data_bit_offset, UINT64_MAX);
	uint64_t from_top = number(member, DW_AT_bit_offset, UINT64_MAX);
	uint64_t bits = number(member, DW_AT_bit_size, 0), at = 0;
	uint64_t unit = number(member, DW_AT_byte_size, f->type.size) * 8;

	if (!bits || bits > 64)
		return;
	if (from_start != UINT64_MAX)
		at = from_start;
	else if (from_top != UINT64_MAX && from_top + bits <= unit)
		at = f->offset * 8 + unit - from_top - bits;
	f->offset = at / 8;
	f->bit_at = at % 8;
	f->bits = (unsigned)bits;
}

static bool take_member(Dwarf_Die *die, struct di_field *ret)
{
	*ret = (struct di_field){ .name = dwarf_diename(die), .offset = offset_of(die) };
	if (!di_resolve_type(die, &ret->type))
		return false;
	take_bits(die, ret);
	return true;
}

static bool is_member(Dwarf_Die *die)
{
	int tag = dwarf_tag(die);
	return (tag == DW_TAG_member && !flag(die, DW_AT_declaration)) || tag == DW_TAG_inheritance;
}

bool di_type_field_nth(const struct di_type *t, size_t n, struct di_field *ret)
{
	Dwarf_Die die = t->die, child;

	if (!die.addr || dwarf_child(&die, &child) != 0)
		return false;
	for (unsigned i = 0; i < DI_CHILDREN_MAX; i++) {
		if (is_member(&child) && n-- == 0)
			return take_member(&child, ret);
		if (dwarf_siblingof(&child, &child) != 0)
			return false;
	}
	return false;
}

static bool is_looked_through(Dwarf_Die *child)
{
	return !dwarf_diename(child) || dwarf_tag(child) == DW_TAG_inheritance ||
	       flag(child, AT_GO_EMBEDDED);
}

static bool field_within(Dwarf_Die *die, const char *name, unsigned depth, struct di_field *ret)
{
	Dwarf_Die child;

	if (!depth || dwarf_child(die, &child) != 0)
		return false;
	for (unsigned i = 0; i < DI_CHILDREN_MAX; i++) {
		const char *have = is_member(&child) ? dwarf_diename(&child) : NULL;
		if (have && !strcmp(have, name))
			return take_member(&child, ret);
		if (dwarf_siblingof(&child, &child) != 0)
			break;
	}
	/* Nearer ones hide those of what is embedded. */
	if (dwarf_child(die, &child) != 0)
		return false;
	for (unsigned i = 0; i < DI_CHILDREN_MAX; i++) {
		struct di_field outer;
		if (is_member(&child) && is_looked_through(&child) && take_member(&child, &outer) &&
		    outer.type.die.addr && field_within(&outer.type.die, name, depth - 1, ret)) {
			ret->offset += outer.offset;
			return true;
		}
		if (dwarf_siblingof(&child, &child) != 0)
			return false;
	}
	return false;
}

bool di_type_field(const struct di_type *t, const char *name, struct di_field *ret)
{
	enum { EMBEDDED_MAX = 8 };
	Dwarf_Die die = t->die;

	return die.addr && field_within(&die, name, EMBEDDED_MAX, ret);
}

bool di_constant(Dwarf_Attribute *attr, int64_t *ret)
{
	Dwarf_Word value;

	if (dwarf_formudata(attr, &value) != 0)
		return false;
	*ret = (int64_t)value;
	return true;
}

const char *di_type_enumerator(const struct di_type *t, int64_t value)
{
	Dwarf_Die die = t->die, child;
	Dwarf_Attribute attr;
	int64_t have;

	if (t->kind != DI_ENUM || !die.addr || dwarf_child(&die, &child) != 0)
		return NULL;
	for (unsigned i = 0; i < DI_CHILDREN_MAX; i++) {
		if (dwarf_tag(&child) == DW_TAG_enumerator &&
		    di_constant(dwarf_attr(&child, DW_AT_const_value, &attr), &have) &&
		    have == value)
			return dwarf_diename(&child);
		if (dwarf_siblingof(&child, &child) != 0)
			return NULL;
	}
	return NULL;
}
