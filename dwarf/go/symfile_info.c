/* .debug_info, .debug_abbrev and .debug_ranges (DWARF 4): units, functions and the calls inlined into them. */
#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include "dwarf/go/symfile_internal.h"

enum abbrev {
	ABBREV_UNIT = 1,
	ABBREV_FUNC, /* without and with entries inside */
	ABBREV_FUNC_PARENT,
	ABBREV_ABSTRACT, /* a function that is inlined somewhere */
	ABBREV_INLINED,  /* one range, several ranges */
	ABBREV_INLINED_RANGES,
};

enum { NODES_MAX = 8192, COVERS_MAX = 1 << 20, DEPTH_MAX = 64, NONE = -1, LANG_GO = 0x16 };

void symfile_abbrevs(struct symfile *s)
{
	static const struct {
		uint8_t code, tag, children;
		uint8_t pairs[20];
	} abbrevs[] = {
		{ ABBREV_UNIT,
		  DW_TAG_compile_unit,
		  1,
		  { DW_AT_producer, DW_FORM_strp, DW_AT_language, DW_FORM_data1, DW_AT_name,
		    DW_FORM_strp, DW_AT_low_pc, DW_FORM_addr, DW_AT_high_pc, DW_FORM_data8,
		    DW_AT_stmt_list, DW_FORM_sec_offset } },
		{ ABBREV_FUNC,
		  DW_TAG_subprogram,
		  0,
		  { DW_AT_external, DW_FORM_flag_present, DW_AT_name, DW_FORM_strp, DW_AT_low_pc,
		    DW_FORM_addr, DW_AT_high_pc, DW_FORM_data4, DW_AT_decl_file, DW_FORM_udata,
		    DW_AT_decl_line, DW_FORM_udata, DW_AT_frame_base, DW_FORM_exprloc } },
		{ ABBREV_FUNC_PARENT,
		  DW_TAG_subprogram,
		  1,
		  { DW_AT_external, DW_FORM_flag_present, DW_AT_name, DW_FORM_strp, DW_AT_low_pc,
		    DW_FORM_addr, DW_AT_high_pc, DW_FORM_data4, DW_AT_decl_file, DW_FORM_udata,
		    DW_AT_decl_line, DW_FORM_udata, DW_AT_frame_base, DW_FORM_exprloc } },
		{ ABBREV_ABSTRACT,
		  DW_TAG_subprogram,
		  0,
		  { DW_AT_external, DW_FORM_flag_present, DW_AT_name, DW_FORM_strp, DW_AT_inline,
		    DW_FORM_data1, DW_AT_decl_line, DW_FORM_udata } },
		{ ABBREV_INLINED,
		  DW_TAG_inlined_subroutine,
		  1,
		  { DW_AT_abstract_origin, DW_FORM_ref4, DW_AT_low_pc, DW_FORM_addr, DW_AT_high_pc,
		    DW_FORM_data4, DW_AT_call_file, DW_FORM_udata, DW_AT_call_line,
		    DW_FORM_udata } },
		{ ABBREV_INLINED_RANGES,
		  DW_TAG_inlined_subroutine,
		  1,
		  { DW_AT_abstract_origin, DW_FORM_ref4, DW_AT_ranges, DW_FORM_sec_offset,
		    DW_AT_call_file, DW_FORM_udata, DW_AT_call_line, DW_FORM_udata } },
	};
	for (size_t i = 0; i < ARRAY_SIZE(abbrevs); i++) {
		put_uleb(&s->abbrev, abbrevs[i].code);
		put_uleb(&s->abbrev, abbrevs[i].tag);
		put_u8(&s->abbrev, abbrevs[i].children);
		for (const uint8_t *p = abbrevs[i].pairs; *p; p += 2) {
			put_uleb(&s->abbrev, p[0]);
			put_uleb(&s->abbrev, p[1]);
		}
		put_u16(&s->abbrev, 0);
	}
	put_u8(&s->abbrev, 0);
}

/* ---- inlined functions of a unit ---- */

static size_t name_slot(const struct name_map *map, uint32_t name_off)
{
	return (name_off * UINT64_C(0x9e3779b97f4a7c15) >> 24) & (map->n_slots - 1);
}

static bool name_map_grow(struct name_map *map)
{
	struct name_map wider = { .n_slots = map->n_slots ? map->n_slots * 2 : 256 };

	wider.name_off = calloc(wider.n_slots, sizeof(*wider.name_off));
	wider.entry = calloc(wider.n_slots, sizeof(*wider.entry));
	if (!wider.name_off || !wider.entry) {
		free(wider.name_off);
		free(wider.entry);
		return false;
	}
	for (size_t i = 0; i < map->n_slots; i++) {
		if (!map->name_off[i])
			continue;
		size_t slot = name_slot(&wider, map->name_off[i]);
		while (wider.name_off[slot])
			slot = (slot + 1) & (wider.n_slots - 1);
		wider.name_off[slot] = map->name_off[i];
		wider.entry[slot] = map->entry[i];
	}
	wider.used = map->used;
	free(map->name_off);
	free(map->entry);
	*map = wider;
	return true;
}

/* Where the unit describes this inlined function, from the unit's start; describes it when it has not. 0: no memory. */
static uint32_t abstract_entry(struct symfile *s, const struct unit *u,
			       const struct go_inlined *call)
{
	struct name_map *map = &s->abstracts;
	uint32_t key = call->name_off + 1;

	if (map->used * 2 >= map->n_slots && !name_map_grow(map))
		return 0;
	size_t slot = name_slot(map, key);
	for (; map->name_off[slot]; slot = (slot + 1) & (map->n_slots - 1))
		if (map->name_off[slot] == key)
			return map->entry[slot];
	map->name_off[slot] = key;
	map->entry[slot] = (uint32_t)(s->info.len - u->info_at);
	map->used++;
	put_uleb(&s->info, ABBREV_ABSTRACT);
	put_u32(&s->info, call->name_off + 1);
	put_u8(&s->info, DW_INL_inlined);
	put_uleb(&s->info, call->start_line);
	return map->entry[slot];
}

static void abstracts_reset(struct name_map *map)
{
	map->used = 0;
	if (map->name_off)
		memset(map->name_off, 0, map->n_slots * sizeof(*map->name_off));
}

/* ---- the calls inlined into one function ---- */

struct range {
	uint64_t low, high;
	int32_t next; /* of the same call; NONE: the last */
};

struct node {
	struct go_inlined call;
	int32_t parent; /* NONE: inlined into the function itself */
	int32_t child, sibling;
	int32_t first, last; /* ranges */
	bool known;
};

/* Which call covers a stretch of code, in the order of addresses. */
struct cover {
	uint64_t low, high;
	int32_t node;
};

struct tree {
	struct node *nodes;
	int32_t count;
	int32_t child; /* first of those inlined into the function itself */
	struct cover *covers;
	size_t n_covers;
	struct range *ranges;
	size_t n_ranges, room;
};

static void tree_fini(struct tree *tr)
{
	free(tr->nodes);
	free(tr->covers);
	free(tr->ranges);
}

static int add_range(struct tree *tr, struct node *node, uint64_t low, uint64_t high)
{
	/* A neighbour of the one before is the same range. */
	if (node->last != NONE && tr->ranges[node->last].high == low) {
		tr->ranges[node->last].high = high;
		return 0;
	}
	if (tr->n_ranges == tr->room) {
		size_t room = tr->room ? tr->room * 2 : 64;
		struct range *more = realloc(tr->ranges, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		tr->ranges = more;
		tr->room = room;
	}
	if (node->last == NONE)
		node->first = (int32_t)tr->n_ranges;
	else
		tr->ranges[node->last].next = (int32_t)tr->n_ranges;
	node->last = (int32_t)tr->n_ranges;
	tr->ranges[tr->n_ranges++] = (struct range){ low, high, NONE };
	return 0;
}

/* The inlined call that covers pc, NONE: none does. */
static int32_t node_at(const struct tree *tr, uint64_t pc)
{
	size_t low = 0;
	size_t high = tr->n_covers;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (tr->covers[mid].high <= pc)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < tr->n_covers && tr->covers[low].low <= pc)
		return tr->covers[low].node;
	return NONE;
}

/* The table that says which call covers what. */
static int covers_read(const struct symfile *s, const struct go_pcln_func *f, struct tree *tr)
{
	uint32_t table = go_pclntab_inline_table(s->t, f);
	struct go_pcvalue v;
	size_t room = 0;

	if (!table)
		return 0;
	for (go_pcvalue_start(&v, s->t, f, table); go_pcvalue_next(&v) && v.low < f->end;) {
		if (v.value < 0 || v.value >= NODES_MAX || tr->n_covers >= COVERS_MAX)
			continue;
		if (tr->n_covers == room) {
			room = room ? room * 2 : 32;
			struct cover *more = realloc(tr->covers, room * sizeof(*more));
			if (!more)
				return -ENOMEM;
			tr->covers = more;
		}
		tr->covers[tr->n_covers++] = (struct cover){ v.low, MIN(v.high, f->end), v.value };
		tr->count = MAX(tr->count, v.value + 1);
	}
	return 0;
}

static int tree_read(const struct symfile *s, const struct go_pcln_func *f, struct tree *tr)
{
	int r = covers_read(s, f, tr);
	if (r < 0 || !tr->count)
		return r;
	tr->nodes = calloc((size_t)tr->count, sizeof(*tr->nodes));
	if (!tr->nodes)
		return -ENOMEM;
	tr->child = NONE;
	for (int32_t i = 0; i < tr->count; i++) {
		struct node *n = &tr->nodes[i];
		n->child = n->sibling = n->first = n->last = NONE;
		n->known = go_pclntab_inlined_nth(s->t, f, i, &n->call);
		n->parent = n->known ? node_at(tr, n->call.parent_pc) : NONE;
	}
	/* From the end, so that a list of children is in order. */
	for (int32_t i = tr->count; i-- > 0;) {
		struct node *n = &tr->nodes[i];
		int32_t *head = n->parent == NONE ? &tr->child : &tr->nodes[n->parent].child;
		n->sibling = *head;
		*head = i;
	}
	for (size_t c = 0; c < tr->n_covers; c++) {
		int32_t n = tr->covers[c].node;
		for (unsigned depth = 0; n != NONE && depth < DEPTH_MAX; depth++) {
			if (!tr->nodes[n].known)
				break;
			r = add_range(tr, &tr->nodes[n], tr->covers[c].low, tr->covers[c].high);
			if (r < 0)
				return r;
			n = tr->nodes[n].parent;
		}
	}
	return 0;
}

static bool is_one_range(const struct node *n)
{
	return n->first == n->last;
}

static void put_place(struct symfile *s, const struct go_pcln_func *f, const struct tree *tr,
		      const struct node *n)
{
	struct buf *b = &s->info;

	if (is_one_range(n)) {
		put_u64(b, tr->ranges[n->first].low);
		put_u32(b, (uint32_t)(tr->ranges[n->first].high - tr->ranges[n->first].low));
	} else {
		put_u32(b, (uint32_t)s->ranges.len);
		/* A base of its own, so that the pairs are addresses. */
		put_u64(&s->ranges, UINT64_MAX);
		put_u64(&s->ranges, 0);
		for (int32_t i = n->first; i != NONE; i = tr->ranges[i].next) {
			put_u64(&s->ranges, tr->ranges[i].low);
			put_u64(&s->ranges, tr->ranges[i].high);
		}
		put_u64(&s->ranges, 0);
		put_u64(&s->ranges, 0);
	}
	put_uleb(b, files_number(&s->files, go_pclntab_file(s->t, f, n->call.parent_pc)));
	put_uleb(b, go_pclntab_line(s->t, f, n->call.parent_pc));
}

/* A list of calls, each with those inlined into it. */
static void put_calls(struct symfile *s, const struct unit *u, const struct go_pcln_func *f,
		      const struct tree *tr, int32_t first, unsigned depth)
{
	if (depth >= DEPTH_MAX)
		return;
	for (int32_t i = first; i != NONE; i = tr->nodes[i].sibling) {
		const struct node *n = &tr->nodes[i];
		if (!n->known || n->first == NONE)
			continue;
		put_uleb(&s->info, is_one_range(n) ? ABBREV_INLINED : ABBREV_INLINED_RANGES);
		put_u32(&s->info, abstract_entry(s, u, &n->call));
		put_place(s, f, tr, n);
		put_calls(s, u, f, tr, n->child, depth + 1);
		put_u8(&s->info, 0);
	}
}

/* ---- functions and units ---- */

static int put_function(struct symfile *s, const struct unit *u, const struct go_pcln_func *f,
			size_t rows)
{
	_cleanup_(tree_fini) struct tree tr = { .count = 0 };
	struct buf *b = &s->info;

	int r = tree_read(s, f, &tr);
	if (r < 0)
		return r;
	/* The place of each call is looked up in the function's tables. */
	s->work += (uint64_t)tr.count * rows;
	/* What is referred to has to be described outside of the function. */
	for (int32_t i = 0; i < tr.count; i++)
		if (tr.nodes[i].known && tr.nodes[i].first != NONE &&
		    !abstract_entry(s, u, &tr.nodes[i].call))
			return -ENOMEM;

	uint32_t line = f->start_line ? f->start_line : go_pclntab_line(s->t, f, f->entry);
	put_uleb(b, tr.count ? ABBREV_FUNC_PARENT : ABBREV_FUNC);
	put_u32(b, symfile_name(s, f));
	put_u64(b, f->entry);
	put_u32(b, (uint32_t)(f->end - f->entry));
	put_uleb(b, files_number(&s->files, go_pclntab_file(s->t, f, f->entry)));
	put_uleb(b, line);
	put_uleb(b, 1);
	put_u8(b, DW_OP_call_frame_cfa);
	if (tr.count) {
		put_calls(s, u, f, &tr, tr.child, 0);
		put_u8(b, 0);
	}
	return 0;
}

int symfile_info(struct symfile *s, struct unit *u, uint32_t line_at)
{
	struct buf *b = &s->info;

	files_reset(&s->files);
	abstracts_reset(&s->abstracts);
	u->info_at = b->len;
	put_u32(b, 0);
	put_u16(b, 4); /* version */
	put_u32(b, 0); /* one table of abbreviations for all */
	put_u8(b, 8);
	put_uleb(b, ABBREV_UNIT);
	put_u32(b, s->producer_name);
	put_u8(b, LANG_GO);
	put_u32(b, u->name);
	put_u64(b, u->low);
	put_u64(b, u->high - u->low);
	put_u32(b, line_at);
	for (uint64_t i = 0; i < u->count; i++) {
		struct go_pcln_func f;
		uint64_t before = s->work;
		if (!symfile_func(s, u->first + i, &f))
			continue;
		int r = put_function(s, u, &f, (size_t)(s->work - before));
		if (r < 0)
			return r;
	}
	put_u8(b, 0);
	patch_u32(b, u->info_at, (uint32_t)(b->len - u->info_at - 4));
	return buf_error(b);
}
