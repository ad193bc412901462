/* Offsets of runtime structures from DWARF. Types are top-level entries, in any of several units
 * called "runtime". */
#include "dwarf/go/layout.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <string.h>

enum { DIES_MAX = 1 << 22, MEMBERS_MAX = 4096, DEPTH_MAX = 8 };

static void dwarf_endp(Dwarf **dw)
{
	if (*dw)
		dwarf_end(*dw);
}

static void elf_endp(Elf **elf)
{
	if (*elf)
		elf_end(*elf);
}

static bool type_of(Dwarf_Die *die, Dwarf_Die *ret)
{
	Dwarf_Attribute attr;
	if (!dwarf_formref_die(dwarf_attr(die, DW_AT_type, &attr), ret))
		return false;
	for (unsigned depth = 0; dwarf_tag(ret) == DW_TAG_typedef; depth++) {
		Dwarf_Die under;
		if (depth > DEPTH_MAX ||
		    !dwarf_formref_die(dwarf_attr(ret, DW_AT_type, &attr), &under))
			return false;
		*ret = under;
	}
	return true;
}

static bool member_named(Dwarf_Die *type, const char *name, size_t len, Dwarf_Die *ret)
{
	if (dwarf_tag(type) != DW_TAG_structure_type || dwarf_child(type, ret) != 0)
		return false;
	for (unsigned n = 0; n < MEMBERS_MAX; n++) {
		const char *have = dwarf_diename(ret);
		if (have && strncmp(have, name, len) == 0 && have[len] == 0)
			return true;
		if (dwarf_siblingof(ret, ret) != 0)
			return false;
	}
	return false;
}

static int32_t offset_of(Dwarf_Die *root, const char *path)
{
	Dwarf_Die type = *root;
	uint64_t offset = 0;

	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		Dwarf_Die member;
		Dwarf_Attribute attr;
		Dwarf_Word at;
		size_t len = strcspn(path, ".");
		if (!member_named(&type, path, len, &member) ||
		    dwarf_formudata(dwarf_attr(&member, DW_AT_data_member_location, &attr), &at) !=
			    0)
			return GO_FIELD_NONE;
		offset += at;
		path += len;
		if (!*path)
			return offset < INT32_MAX ? (int32_t)offset : GO_FIELD_NONE;
		path++;
		if (!type_of(&member, &type))
			return GO_FIELD_NONE;
	}
	return GO_FIELD_NONE;
}

struct roots {
	const char *names[4];
	Dwarf_Die dies[4];
	bool found[4];
	unsigned missing;
};

static void look_in_unit(Dwarf_Die *unit, struct roots *r)
{
	Dwarf_Die die;

	if (dwarf_child(unit, &die) != 0)
		return;
	for (unsigned n = 0; n < DIES_MAX && r->missing; n++) {
		const char *name =
			dwarf_tag(&die) == DW_TAG_structure_type ? dwarf_diename(&die) : NULL;
		for (size_t i = 0; name && i < ARRAY_SIZE(r->names); i++) {
			if (r->found[i] || strncmp(name, "runtime.", 8) != 0 ||
			    strcmp(name + 8, r->names[i]) != 0)
				continue;
			r->found[i] = true;
			r->dies[i] = die;
			r->missing--;
		}
		if (dwarf_siblingof(&die, &die) != 0)
			return;
	}
}

bool go_layout_from_dwarf(struct image *img, struct go_layout *ret)
{
	if (image_fd(img) < 0 || elf_version(EV_CURRENT) == EV_NONE)
		return false;
	/* Not ELF_C_READ_MMAP: a file cut short under us must not be a SIGBUS. */
	_cleanup_(elf_endp) Elf *elf = elf_begin(image_fd(img), ELF_C_READ, NULL);
	_cleanup_(dwarf_endp) Dwarf *dw = elf ? dwarf_begin_elf(elf, DWARF_C_READ, NULL) : NULL;
	if (!dw)
		return false;

	struct roots r = { .names = { "g", "m", "_panic", "ancestorInfo" }, .missing = 4 };
	Dwarf_CU *cu = NULL;
	Dwarf_Die unit;
	while (r.missing && dwarf_get_units(dw, cu, &cu, NULL, NULL, &unit, NULL) == 0) {
		const char *name = dwarf_diename(&unit);
		if (name && strcmp(name, "runtime") == 0)
			look_in_unit(&unit, &r);
	}

	const struct go_field_def *defs;
	size_t count = go_layout_fields(&defs);
	for (size_t i = 0; i < count; i++) {
		int32_t at = GO_FIELD_NONE;
		for (size_t k = 0; k < ARRAY_SIZE(r.names); k++)
			if (r.found[k] && strcmp(defs[i].root, r.names[k]) == 0)
				at = offset_of(&r.dies[k], defs[i].path);
		*go_layout_nth(ret, i) = at;
	}
	return go_layout_complete(ret);
}
