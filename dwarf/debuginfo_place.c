/* Functions by name, lines, and what is at an address. */
#include "dwarf/debuginfo_internal.h"

#include <dwarf.h>
#include <errno.h>
#include <string.h>

/* ---- where a function's body begins ---- */

/*
 * Parameters with lists of locations are valid from the first instruction on (gcc and clang that optimise): nothing is to be skipped,
 * as gdb sees it.
 */
static bool has_location_lists(Dwarf_Die *function)
{
	Dwarf_Die child;
	Dwarf_Attribute attr;

	if (dwarf_child(function, &child) != 0)
		return false;
	for (unsigned n = 0; n < DI_CHILDREN_MAX; n++) {
		if (dwarf_tag(&child) == DW_TAG_formal_parameter &&
		    dwarf_attr(&child, DW_AT_location, &attr)) {
			unsigned form = dwarf_whatform(&attr);
			return form == DW_FORM_sec_offset || form == DW_FORM_loclistx ||
			       form == DW_FORM_data4 || form == DW_FORM_data8;
		}
		if (dwarf_siblingof(&child, &child) != 0)
			return false;
	}
	return false;
}

static uint64_t body_of(Dwarf_Die *function, uint64_t low, uint64_t end)
{
	Dwarf_Addr *list = NULL;
	uint64_t best = low;

	if (has_location_lists(function))
		return low;
	int n = dwarf_entry_breakpoints(function, &list);
	for (int i = 0; i < n; i++)
		if (list[i] >= low && list[i] < end && (best == low || list[i] < best))
			best = list[i];
	if (n > 0)
		free(list);
	return best;
}

static bool bounds_of(Dwarf_Die *die, uint64_t *ret_low, uint64_t *ret_end)
{
	Dwarf_Addr entry = 0, base, low, high;
	bool said = dwarf_entrypc(die, &entry) == 0;
	ptrdiff_t at = 0;

	/* Of one in several parts (what is seldom run lies elsewhere) the first begins it, unless it says where it does. */
	while ((at = dwarf_ranges(die, at, &base, &low, &high)) > 0) {
		if (high <= low || (said && (entry < low || entry >= high)))
			continue;
		*ret_low = said ? entry : low;
		*ret_end = high;
		return true;
	}
	*ret_low = entry;
	*ret_end = entry + 1;
	return said;
}

static struct di_place place_at(struct debuginfo *di, Dwarf_Die *unit, uint64_t linked)
{
	struct di_place at = { .addr = linked + di->bias };
	Dwarf_Line *line = dwarf_getsrc_die(unit, linked);

	if (line) {
		at.file = dwarf_linesrc(line, NULL, NULL);
		dwarf_lineno(line, &at.line);
	}
	return at;
}

/* ---- functions ---- */

struct search {
	struct debuginfo *di;
	const char *name;
	Dwarf_Die unit;
	di_place_fn *fn;
	void *ctx;
	size_t found;
	bool stopped;
};

static void tell_function(struct search *s, Dwarf_Die *die, bool whole)
{
	Dwarf_Die unit = s->unit;
	uint64_t low, end;

	if (s->stopped || !bounds_of(die, &low, &end))
		return;
	uint64_t body = whole ? body_of(die, low, end) : low;
	(void)dwarf_diecu(die, &unit, NULL, NULL);
	struct di_place at = place_at(s->di, &unit, body);
	at.low = low + s->di->bias;
	at.end = end + s->di->bias;
	at.function = dwarf_diename(die);
	at.inlined = !whole;
	s->found++;
	s->stopped = !s->fn(s->ctx, &at);
}

static int tell_inlined(Dwarf_Die *die, void *ctx)
{
	struct search *s = ctx;
	tell_function(s, die, false);
	return s->stopped ? DWARF_CB_ABORT : DWARF_CB_OK;
}

static int look_at_function(Dwarf_Die *die, void *ctx)
{
	struct search *s = ctx;
	Dwarf_Attribute attr;

	if (!di_name_fits(die, s->name) || dwarf_hasattr(die, DW_AT_declaration))
		return DWARF_CB_OK;
	if (dwarf_attr(die, DW_AT_low_pc, &attr) || dwarf_attr(die, DW_AT_ranges, &attr))
		tell_function(s, die, true);
	if (dwarf_func_inline(die))
		(void)dwarf_func_inline_instances(die, tell_inlined, s);
	return s->stopped ? DWARF_CB_ABORT : DWARF_CB_OK;
}

static void tell_symbol(struct search *s)
{
	struct image_symbol sym = image_symbol(s->di->img, s->name);

	if (!sym.name ||
	    (sym.type != STT_FUNC && sym.type != STT_NOTYPE && sym.type != STT_GNU_IFUNC))
		return;
	struct di_place at = { .addr = sym.value + s->di->bias,
			       .low = sym.value + s->di->bias,
			       .end = sym.size ? sym.value + sym.size + s->di->bias : 0,
			       .function = sym.name };
	s->found++;
	s->fn(s->ctx, &at);
}

int debuginfo_functions(struct debuginfo *di, const char *name, di_place_fn *fn, void *ctx)
{
	struct search s = { .di = di, .name = name, .fn = fn, .ctx = ctx };
	Dwarf_Off at = 0;

	while (!s.stopped && di_next_unit(di, &at, &s.unit))
		if (!di_is_go_unit(&s.unit))
			(void)dwarf_getfuncs(&s.unit, look_at_function, &s, 0);
	if (!s.found)
		tell_symbol(&s);
	return s.found ? 0 : -ENOENT;
}

/* ---- lines ---- */

static bool file_fits(const char *have, const char *wanted)
{
	size_t a = strlen(have), b = strlen(wanted);

	if (a < b || strcmp(have + a - b, wanted) != 0)
		return false;
	return a == b || wanted[0] == '/' || have[a - b - 1] == '/';
}

/* Rows of a line table that belong to the file, one at a time; what was decided of a file is kept for the next row. */
struct rows {
	Dwarf_Lines *lines;
	size_t count, next;
	const char *file, *last;
	bool fits;
};

struct row {
	Dwarf_Addr addr;
	int line;
	const char *file;
};

static bool next_row(struct rows *r, struct row *ret)
{
	while (r->next < r->count) {
		Dwarf_Line *line = dwarf_onesrcline(r->lines, r->next++);
		bool stmt = false, end = false;
		if (!line || dwarf_linebeginstatement(line, &stmt) != 0 || !stmt ||
		    dwarf_lineendsequence(line, &end) != 0 || end)
			continue;
		ret->file = dwarf_linesrc(line, NULL, NULL);
		if (ret->file != r->last)
			r->fits = ret->file && file_fits(ret->file, r->file);
		r->last = ret->file;
		if (r->fits && dwarf_lineno(line, &ret->line) == 0 && ret->line > 0 &&
		    dwarf_lineaddr(line, &ret->addr) == 0)
			return true;
	}
	return false;
}

static bool rows_of(Dwarf_Die *unit, const char *file, struct rows *ret)
{
	*ret = (struct rows){ .file = file };
	return dwarf_getsrclines(unit, &ret->lines, &ret->count) == 0;
}

/* The first line at or behind the wanted one that has code. */
static int best_line(struct debuginfo *di, const char *file, int wanted)
{
	Dwarf_Off at = 0;
	Dwarf_Die unit;
	struct rows rows;
	struct row row;
	int best = 0;

	while (di_next_unit(di, &at, &unit)) {
		if (di_is_go_unit(&unit) || !rows_of(&unit, file, &rows))
			continue;
		while (next_row(&rows, &row))
			if (row.line >= wanted && (!best || row.line < best))
				best = row.line;
	}
	return best;
}

/* The innermost function around an address, inlined ones too. */
static bool scope_of(struct debuginfo *di, uint64_t linked, Dwarf_Die *ret)
{
	Dwarf_Die scopes[DI_SCOPES_MAX];
	int n = di_scopes_at(di, linked, scopes);
	bool found = false;

	for (int i = 0; i < n && !found; i++) {
		int tag = dwarf_tag(&scopes[i]);
		found = tag == DW_TAG_subprogram || tag == DW_TAG_inlined_subroutine;
		if (found)
			*ret = scopes[i];
	}
	return found;
}

struct chosen {
	Dwarf_Off scope;
	uint64_t addr;
	Dwarf_Die die;
	const char *file;
	bool in_function;
};

struct chosens {
	struct chosen *at;
	size_t count, room;
};

/* The lowest address of a scope stands for it. */
static int choose(struct chosens *c, const struct chosen *one)
{
	for (size_t i = 0; i < c->count; i++) {
		if (c->at[i].scope != one->scope || !one->in_function)
			continue;
		if (one->addr < c->at[i].addr)
			c->at[i] = *one;
		return 0;
	}
	if (c->count == c->room) {
		size_t room = c->room ? c->room * 2 : 8;
		struct chosen *at = reallocarray(c->at, room, sizeof(*at));
		if (!at)
			return -ENOMEM;
		c->at = at;
		c->room = room;
	}
	c->at[c->count++] = *one;
	return 0;
}

static bool tell_chosen(struct debuginfo *di, const struct chosen *one, int line, di_place_fn *fn,
			void *ctx)
{
	struct di_place at = { .addr = one->addr + di->bias, .file = one->file, .line = line };
	Dwarf_Die die = one->die, outer;
	uint64_t low, end;

	if (one->in_function && bounds_of(&die, &low, &end)) {
		at.function = dwarf_diename(&die);
		if (dwarf_tag(&die) == DW_TAG_subprogram && one->addr == low)
			at.addr = body_of(&die, low, end) + di->bias;
		if (di_function_at(di, one->addr, &outer) && bounds_of(&outer, &low, &end)) {
			at.low = low + di->bias;
			at.end = end + di->bias;
		}
	}
	return fn(ctx, &at);
}

static int choose_rows(struct debuginfo *di, Dwarf_Die *unit, const char *file, int line,
		       struct chosens *into)
{
	struct rows rows;
	struct row row;
	int r = 0;

	if (di_is_go_unit(unit) || !rows_of(unit, file, &rows))
		return 0;
	while (r == 0 && next_row(&rows, &row)) {
		struct chosen one = { .addr = row.addr, .file = row.file };
		if (row.line != line)
			continue;
		one.in_function = scope_of(di, row.addr, &one.die);
		one.scope = one.in_function ? dwarf_dieoffset(&one.die) : row.addr;
		r = choose(into, &one);
	}
	return r;
}

int debuginfo_lines(struct debuginfo *di, const char *file, int *line, di_place_fn *fn, void *ctx)
{
	struct chosens chosen = { 0 };
	Dwarf_Off at = 0;
	Dwarf_Die unit;
	int r = 0;

	*line = best_line(di, file, *line);
	if (!*line)
		return -ENOENT;
	while (r == 0 && di_next_unit(di, &at, &unit))
		r = choose_rows(di, &unit, file, *line, &chosen);
	for (size_t i = 0; r == 0 && i < chosen.count; i++)
		if (!tell_chosen(di, &chosen.at[i], *line, fn, ctx))
			break;
	free(chosen.at);
	return r;
}

/* ---- what is at an address ---- */

struct di_place debuginfo_at(struct debuginfo *di, uint64_t addr)
{
	uint64_t linked = addr - di->bias, low, end;
	Dwarf_Die unit, function;
	struct di_place at = { .addr = addr };

	if (di_unit_at(di, linked, &unit)) {
		at = place_at(di, &unit, linked);
		if (scope_of(di, linked, &function))
			at.function = dwarf_diename(&function);
	}
	if (di_function_at(di, linked, &function) && bounds_of(&function, &low, &end)) {
		at.low = low + di->bias;
		at.end = end + di->bias;
	}
	if (at.function)
		return at;
	struct image_symbol sym = image_symbol_at(di->img, linked);
	if (sym.name && debuginfo_holds(di, addr)) {
		at.function = sym.name;
		at.low = sym.value + di->bias;
		at.end = sym.size ? sym.value + sym.size + di->bias : 0;
	}
	return at;
}
