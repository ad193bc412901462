/* Opening, units, and where a variable's frame is. */
#include "dwarf/debuginfo_internal.h"

#include <dwarf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- opening ---- */

static bool open_dwarf(struct debuginfo *di, int fd)
{
	di->dw = dwarf_begin(fd, DWARF_C_READ);
	if (!di->dw)
		return false;
	Dwarf_Off at = 0;
	Dwarf_Die unit;
	if (di_next_unit(di, &at, &unit))
		return true;
	dwarf_end(di->dw);
	di->dw = NULL;
	return false;
}

static bool open_separate(struct debuginfo *di, const char *path)
{
	/* Whoever put it there chose what it is: never wait for the other end of a FIFO. */
	di->debug_fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (di->debug_fd < 0)
		return false;
	if (open_dwarf(di, di->debug_fd))
		return true;
	close_fdp(&di->debug_fd);
	return false;
}

static bool by_build_id(struct debuginfo *di)
{
	size_t len;
	const uint8_t *id = image_build_id(di->img, &len);
	char path[128];

	if (!id || len < 2 || len > 32)
		return false;
	int n = snprintf(path, sizeof(path), "/usr/lib/debug/.build-id/%02x/", id[0]);
	for (size_t i = 1; i < len; i++)
		n += snprintf(path + n, sizeof(path) - (size_t)n, "%02x", id[i]);
	snprintf(path + n, sizeof(path) - (size_t)n, ".debug");
	return open_separate(di, path);
}

static bool by_link(struct debuginfo *di)
{
	const struct image_section *section = image_section(di->img, ".gnu_debuglink");
	const char *name = section ? (const char *)image_section_bytes(di->img, section) : NULL;
	const char *slash = strrchr(di->path, '/');
	int dir = slash ? (int)(slash - di->path) : 0;
	char path[PATH_MAX];

	if (!name || !memchr(name, 0, section->size) || strchr(name, '/') || !slash)
		return false;
	snprintf(path, sizeof(path), "%.*s/%s", dir, di->path, name);
	if (strcmp(path, di->path) != 0 && open_separate(di, path))
		return true;
	snprintf(path, sizeof(path), "%.*s/.debug/%s", dir, di->path, name);
	if (open_separate(di, path))
		return true;
	snprintf(path, sizeof(path), "/usr/lib/debug%.*s/%s", dir, di->path, name);
	return open_separate(di, path);
}

int debuginfo_open(const char *path, uint64_t bias, struct debuginfo **ret, struct err *err)
{
	_cleanup_(debuginfo_freep) struct debuginfo *di = calloc(1, sizeof(*di));

	if (!di)
		return err_set(err, -ENOMEM, "no memory to open '%s'", path);
	di->fd = di->debug_fd = -1;
	di->bias = bias;
	di->path = strdup(path);
	if (!di->path)
		return err_set(err, -ENOMEM, "no memory to open '%s'", path);
	int r = image_open(path, &di->img, err);
	if (r < 0)
		return r;
	di->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (di->fd < 0)
		return err_set(err, -errno, "cannot open '%s'", path);
	elf_version(EV_CURRENT);
	di->elf = elf_begin(di->fd, ELF_C_READ, NULL);
	if (!open_dwarf(di, di->fd) && !by_build_id(di))
		(void)by_link(di);
	*ret = take_ptr(di);
	return 0;
}

struct debuginfo *debuginfo_free(struct debuginfo *di)
{
	if (!di)
		return NULL;
	if (di->eh)
		dwarf_cfi_end(di->eh);
	if (di->dw)
		dwarf_end(di->dw);
	if (di->elf)
		elf_end(di->elf);
	image_free(di->img);
	close_fdp(&di->fd);
	close_fdp(&di->debug_fd);
	free(di->path);
	free(di);
	return NULL;
}

bool debuginfo_has_dwarf(const struct debuginfo *di)
{
	return di->dw;
}

const char *debuginfo_path(const struct debuginfo *di)
{
	return di->path;
}

struct image *debuginfo_image(const struct debuginfo *di)
{
	return di->img;
}

uint64_t debuginfo_bias(const struct debuginfo *di)
{
	return di->bias;
}

bool debuginfo_holds(const struct debuginfo *di, uint64_t addr)
{
	return image_segment_at(di->img, addr - di->bias);
}

/* ---- units ---- */

bool di_next_unit(struct debuginfo *di, Dwarf_Off *at, Dwarf_Die *ret)
{
	for (unsigned n = 0; di->dw && n < DI_UNITS_MAX; n++) {
		Dwarf_Off next;
		size_t header;
		if (dwarf_nextcu(di->dw, *at, &next, &header, NULL, NULL, NULL) != 0)
			return false;
		Dwarf_Die *die = dwarf_offdie(di->dw, *at + header, ret);
		*at = next;
		if (die && dwarf_tag(ret) == DW_TAG_compile_unit)
			return true;
	}
	return false;
}

bool di_unit_at(struct debuginfo *di, uint64_t linked, Dwarf_Die *ret)
{
	Dwarf_Off at = 0;
	Dwarf_Die unit;

	if (di->unit.addr && dwarf_haspc(&di->unit, linked) == 1) {
		*ret = di->unit;
		return true;
	}
	while (di_next_unit(di, &at, &unit)) {
		if (dwarf_haspc(&unit, linked) != 1)
			continue;
		*ret = di->unit = unit;
		return true;
	}
	return false;
}

bool di_is_go_unit(Dwarf_Die *unit)
{
	return dwarf_srclang(unit) == DW_LANG_Go;
}

bool debuginfo_is_go(struct debuginfo *di, uint64_t pc)
{
	Dwarf_Die unit;
	return di_unit_at(di, pc - di->bias, &unit) && di_is_go_unit(&unit);
}

struct holder {
	uint64_t linked;
	Dwarf_Die *ret;
	bool found;
};

static int holds_pc(Dwarf_Die *die, void *ctx)
{
	struct holder *h = ctx;

	if (dwarf_haspc(die, h->linked) != 1)
		return DWARF_CB_OK;
	*h->ret = *die;
	h->found = true;
	return DWARF_CB_ABORT;
}

/*
 * Not by dwarf_getscopes(): behind an inlined function it goes on with what was around its declaration, and it finds nothing in what lies
 * within namespaces and structures, where rustc and clang put their functions.
 */
bool di_function_at(struct debuginfo *di, uint64_t linked, Dwarf_Die *ret)
{
	struct holder h = { .linked = linked, .ret = ret };
	Dwarf_Die unit;

	if (di_unit_at(di, linked, &unit))
		(void)dwarf_getfuncs(&unit, holds_pc, &h, 0);
	return h.found;
}

static bool block_within(Dwarf_Die *around, uint64_t linked, Dwarf_Die *ret)
{
	Dwarf_Die child;

	if (dwarf_child(around, &child) != 0)
		return false;
	for (unsigned n = 0; n < DI_CHILDREN_MAX; n++) {
		int tag = dwarf_tag(&child);
		bool block = tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine ||
			     tag == DW_TAG_try_block || tag == DW_TAG_catch_block;
		if (block && dwarf_haspc(&child, linked) == 1) {
			*ret = child;
			return true;
		}
		if (dwarf_siblingof(&child, &child) != 0)
			return false;
	}
	return false;
}

int di_scopes_at(struct debuginfo *di, uint64_t linked, Dwarf_Die at[DI_SCOPES_MAX])
{
	int n = 0;

	if (!di_function_at(di, linked, &at[n]))
		return 0;
	for (n = 1; n < DI_SCOPES_MAX && block_within(&at[n - 1], linked, &at[n]);)
		n++;
	for (int i = 0; i < n / 2; i++) {
		Dwarf_Die outer = at[i];
		at[i] = at[n - 1 - i];
		at[n - 1 - i] = outer;
	}
	return n;
}

/* ---- names ---- */

const char *di_last_part(const char *name)
{
	const char *last = name;
	unsigned depth = 0;

	for (const char *c = name; *c; c++) {
		if (*c == '<')
			depth++;
		else if (*c == '>' && depth)
			depth--;
		else if (!depth && c[0] == ':' && c[1] == ':')
			last = c + 2;
	}
	return last;
}

static bool has_name(int tag)
{
	return tag == DW_TAG_namespace || tag == DW_TAG_structure_type ||
	       tag == DW_TAG_class_type || tag == DW_TAG_union_type ||
	       tag == DW_TAG_enumeration_type;
}

/* "ns::T::" around a declaration, into the end of the space from text on; returns where it begins. */
static char *put_scopes(Dwarf_Die *die, char *text, char *end)
{
	Dwarf_Die *scopes = NULL;
	int n = dwarf_getscopes_die(die, &scopes);

	for (int i = 1; i < n; i++) {
		const char *name =
			has_name(dwarf_tag(&scopes[i])) ? dwarf_diename(&scopes[i]) : NULL;
		size_t len = name ? strlen(name) : 0;
		if (!name || len + 2 > (size_t)(end - text))
			continue;
		end -= 2;
		memcpy(end, "::", 2);
		end -= len;
		memcpy(end, name, len);
	}
	if (n > 0)
		free(scopes);
	return end;
}

/* What comes before the last part: the end of the scopes, at a boundary. */
static bool scopes_fit(Dwarf_Die *die, const char *wanted, size_t len)
{
	Dwarf_Attribute attr;
	Dwarf_Die declared = *die, next;
	char text[1024], *end = text + sizeof(text);

	for (unsigned depth = 0; depth < DI_DEPTH_MAX; depth++) {
		if (!dwarf_formref_die(dwarf_attr(&declared, DW_AT_abstract_origin, &attr),
				       &next) &&
		    !dwarf_formref_die(dwarf_attr(&declared, DW_AT_specification, &attr), &next))
			break;
		declared = next;
	}
	char *begin = put_scopes(&declared, text, end);
	if ((size_t)(end - begin) < len || memcmp(end - len, wanted, len) != 0)
		return false;
	return end - len == begin || end[-(ptrdiff_t)len - 1] == ':';
}

/* The name as it is, or without the arguments of a template. */
static bool part_fits(const char *name, const char *wanted)
{
	size_t len = strlen(wanted);
	return strncmp(name, wanted, len) == 0 &&
	       (!name[len] || (name[len] == '<' && !strchr(wanted, '<')));
}

bool di_name_fits(Dwarf_Die *die, const char *wanted)
{
	const char *name = dwarf_diename(die), *last = di_last_part(wanted);
	Dwarf_Attribute attr;
	const char *linked = dwarf_formstring(dwarf_attr_integrate(die, DW_AT_linkage_name, &attr));

	if (linked && !strcmp(linked, wanted))
		return true;
	if (!name || !part_fits(name, last))
		return false;
	return last == wanted || scopes_fit(die, wanted, (size_t)(last - wanted));
}

/* libdw finds no scopes around what lies in an enumeration. */
bool di_enumerator_fits(Dwarf_Die *type, Dwarf_Die *die, const char *wanted)
{
	const char *name = dwarf_diename(die), *last = di_last_part(wanted);
	char scope[1024];
	size_t len = (size_t)(last - wanted);

	if (!name || strcmp(name, last) != 0 || len >= sizeof(scope))
		return false;
	if (!len || scopes_fit(type, wanted, len))
		return true;
	memcpy(scope, wanted, len - 2);
	scope[len - 2] = 0;
	return di_name_fits(type, scope);
}

/* ---- frames ---- */

static void look_for_frames(struct debuginfo *di)
{
	if (di->frames_looked_for)
		return;
	di->frames_looked_for = true;
	if (di->dw)
		di->df = dwarf_getcfi(di->dw);
	if (di->elf)
		di->eh = dwarf_getcfi_elf(di->elf);
}

static int put_cfa(Dwarf_CFI *cfi, uint64_t linked, struct buf *code)
{
	Dwarf_Frame *frame = NULL;
	Dwarf_Op *ops;
	size_t n;

	if (!cfi || dwarf_cfi_addrframe(cfi, linked, &frame) != 0)
		return -ENODATA;
	int r = dwarf_frame_cfa(frame, &ops, &n);
	/* A register and an offset; the other kinds stand in procedure linkage tables. */
	if (r == 0 && n == 1 && ops[0].atom == DW_OP_bregx) {
		axcode_reg(code, (unsigned)ops[0].number);
		axcode_add_const(code, ops[0].number2);
	} else if (r == 0 && n == 1 && ops[0].atom >= DW_OP_breg0 && ops[0].atom <= DW_OP_breg31) {
		axcode_reg(code, ops[0].atom - DW_OP_breg0);
		axcode_add_const(code, ops[0].number);
	} else {
		r = -1;
	}
	free(frame);
	return r == 0 ? 0 : -ENODATA;
}

int debuginfo_cfa(struct debuginfo *di, uint64_t pc, struct buf *code)
{
	look_for_frames(di);
	int r = put_cfa(di->df, pc - di->bias, code);
	return r < 0 ? put_cfa(di->eh, pc - di->bias, code) : r;
}
