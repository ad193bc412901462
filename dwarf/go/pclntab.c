#include "dwarf/go/pclntab.h"

#include <string.h>

enum {
	HEADER_SIZE = 72,
	NAMES_MIN =
		HEADER_SIZE, /* the first table follows the header, directly or after some words */
	NAMES_MAX = 256,
	NFUNC_MAX = 1 << 26,
	NAME_MAX_LEN = 1 << 16,
	RECORD_MAX = 48,
	TREE_MAX = 1 << 16,
	PCDATA_INLTREE = 2,
	FUNCDATA_INLTREE = 3,
	WINDOW = 256,
};

static const uint32_t NO_DATA = UINT32_MAX;

static const uint8_t *tab(const struct go_pclntab *t, uint64_t at, size_t len)
{
	if (at > t->size || len > t->size - at)
		return NULL;
	return image_bytes(t->img, t->offset + at, len);
}

static uint32_t le32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t le64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* ---- finding it ---- */

/* The first functions' records must be inside, with rising entries and names that are text. */
static bool first_functions_fit(const struct go_pclntab *t)
{
	uint64_t before = 0;
	uint64_t count = MIN(t->nfunc, (uint64_t)4);

	for (uint64_t i = 0; i < count; i++) {
		struct go_pcln_func f;
		if (!go_pclntab_nth(t, i, &f) || f.entry < before)
			return false;
		const char *name = go_pclntab_name(t, f.name_off);
		if (!name || !*name)
			return false;
		before = f.entry;
	}
	return count > 0;
}

bool go_pclntab_at(struct image *img, uint64_t vaddr, uint64_t offset, uint64_t size,
		   struct go_pclntab *ret)
{
	struct go_pclntab t = { .img = img, .vaddr = vaddr, .offset = offset, .size = size };
	const uint8_t *h = tab(&t, 0, HEADER_SIZE);
	if (!h)
		return false;

	t.magic = le32(h);
	if (t.magic != GO_PCLN_MAGIC_118 && t.magic != GO_PCLN_MAGIC_120)
		return false;
	if (h[4] != 0 || h[5] != 0 || h[6] != 1 || h[7] != 8)
		return false;
	t.nfunc = le64(h + 8);
	t.nfiles = le64(h + 16);
	t.text_start = t.text = le64(h + 24);
	t.funcname = le64(h + 32);
	t.cu = le64(h + 40);
	t.filetab = le64(h + 48);
	t.pctab = le64(h + 56);
	t.func = le64(h + 64);
	if (t.funcname < NAMES_MIN || t.funcname > NAMES_MAX)
		return false;
	if (t.cu <= t.funcname || t.filetab < t.cu || t.pctab < t.filetab || t.func < t.pctab)
		return false;
	if (!t.nfunc || t.nfunc > NFUNC_MAX || t.func > size || t.nfunc * 8 + 4 > size - t.func)
		return false;
	if (!first_functions_fit(&t))
		return false;
	*ret = t;
	return true;
}

static bool scan(struct image *img, uint64_t vaddr, uint64_t offset, uint64_t size,
		 struct go_pclntab *ret)
{
	static const uint8_t old_magic[8] = { 0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8 };
	static const uint8_t new_magic[8] = { 0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8 };
	enum { STEP = 1 << 16 };

	for (uint64_t at = -vaddr & 7; at + HEADER_SIZE <= size;) {
		size_t len = (size_t)MIN(size - at, (uint64_t)STEP) & ~(size_t)7;
		const uint8_t *raw = len ? image_bytes(img, offset + at, len) : NULL;
		if (!raw)
			return false;
		for (size_t i = 0; i < len; i += 8)
			if ((memcmp(raw + i, new_magic, 8) == 0 ||
			     memcmp(raw + i, old_magic, 8) == 0) &&
			    go_pclntab_at(img, vaddr + at + i, offset + at + i, size - at - i, ret))
				return true;
		at += len;
	}
	return false;
}

bool go_pclntab_find(struct image *img, struct go_pclntab *ret)
{
	/* External links up to Go 1.24 merge it into .data.rel.ro. */
	static const char *const likely[] = { ".gopclntab", ".data.rel.ro.gopclntab",
					      ".data.rel.ro" };
	const struct image_segment *segments;

	for (size_t i = 0; i < ARRAY_SIZE(likely); i++) {
		const struct image_section *s = image_section(img, likely[i]);
		if (s && s->type != SHT_NOBITS && scan(img, s->addr, s->offset, s->size, ret))
			return true;
	}
	size_t count = image_segments(img, &segments);
	for (size_t i = 0; i < count; i++)
		if (segments[i].type == PT_LOAD &&
		    scan(img, segments[i].vaddr, segments[i].offset, segments[i].filesz, ret))
			return true;
	return false;
}

/* ---- functions ---- */

static bool functab_entry(const struct go_pclntab *t, uint64_t n, uint32_t *entry_off,
			  uint32_t *func_off)
{
	/* One more than there are functions: the last pair has only the end. */
	size_t len = n < t->nfunc ? 8 : 4;
	const uint8_t *p = tab(t, t->func + n * 8, len);
	if (!p)
		return false;
	*entry_off = le32(p);
	if (func_off)
		*func_off = n < t->nfunc ? le32(p + 4) : 0;
	return true;
}

bool go_pclntab_nth(const struct go_pclntab *t, uint64_t n, struct go_pcln_func *ret)
{
	bool has_start_line = t->magic == GO_PCLN_MAGIC_120;
	size_t size = has_start_line ? 44 : 40;
	uint32_t entry_off, func_off, end_off;

	if (n >= t->nfunc || !functab_entry(t, n, &entry_off, &func_off) ||
	    !functab_entry(t, n + 1, &end_off, NULL))
		return false;
	const uint8_t *p = tab(t, t->func + func_off, size);
	if (!p || end_off < entry_off)
		return false;
	const uint8_t *ids = p + size - 4;
	*ret = (struct go_pcln_func){
		.index = n,
		.entry = t->text + entry_off,
		.end = t->text + end_off,
		.name_off = le32(p + 4),
		.pcsp = le32(p + 16),
		.pcfile = le32(p + 20),
		.pcln = le32(p + 24),
		.npcdata = le32(p + 28),
		.cu_off = le32(p + 32),
		.start_line = has_start_line ? le32(p + 36) : 0,
		.func_id = ids[0],
		.flag = ids[1],
		.nfuncdata = ids[3],
		.tail = t->func + func_off + size,
	};
	return true;
}

bool go_pclntab_lookup(const struct go_pclntab *t, uint64_t pc, struct go_pcln_func *ret)
{
	if (pc < t->text || pc - t->text > UINT32_MAX)
		return false;
	uint32_t want = (uint32_t)(pc - t->text);
	uint64_t low = 0;
	uint64_t high = t->nfunc;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		uint32_t entry;
		if (!functab_entry(t, mid, &entry, NULL))
			return false;
		if (entry <= want)
			low = mid + 1;
		else
			high = mid;
	}
	return low && go_pclntab_nth(t, low - 1, ret) && pc < ret->end;
}

/* A NUL-terminated text in [at, end). */
static const char *text_at(const struct go_pclntab *t, uint64_t at, uint64_t end)
{
	end = MIN(end, t->size);
	if (at >= end)
		return NULL;
	uint64_t left = MIN(end - at, (uint64_t)NAME_MAX_LEN);
	for (uint64_t len = MIN(left, (uint64_t)128);; len = MIN(left, len * 8)) {
		const uint8_t *p = tab(t, at, len);
		if (!p)
			return NULL;
		if (memchr(p, 0, len))
			return (const char *)p;
		if (len == left)
			return NULL;
	}
}

const char *go_pclntab_name(const struct go_pclntab *t, uint32_t name_off)
{
	return text_at(t, t->funcname + name_off, t->cu);
}

/* ---- pc-value tables ---- */

void go_pcvalue_start(struct go_pcvalue *v, const struct go_pclntab *t,
		      const struct go_pcln_func *f, uint32_t table)
{
	*v = (struct go_pcvalue){
		.t = t,
		.at = table ? t->pctab + table : t->size,
		.entry = f->entry,
		.low = f->entry,
		.high = f->entry,
		.value = -1,
		.first = true,
	};
}

static bool next_byte(struct go_pcvalue *v, uint8_t *ret)
{
	if (v->next == v->loaded) {
		uint64_t left = v->at < v->t->size ? v->t->size - v->at : 0;
		size_t len = (size_t)MIN(left, (uint64_t)WINDOW);
		const uint8_t *p = len ? tab(v->t, v->at, len) : NULL;
		if (!p)
			return false;
		v->next = p;
		v->loaded = p + len;
		v->at += len;
	}
	*ret = *v->next++;
	return true;
}

static bool next_varint(struct go_pcvalue *v, uint32_t *ret)
{
	uint32_t value = 0;
	for (unsigned shift = 0; shift < 35; shift += 7) {
		uint8_t byte;
		if (!next_byte(v, &byte))
			return false;
		value |= (uint32_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

bool go_pcvalue_next(struct go_pcvalue *v)
{
	uint32_t delta, length;

	if (!next_varint(v, &delta) || (delta == 0 && !v->first) || !next_varint(v, &length))
		return false;
	/* An empty range is no range of a compiler's, and many of them are a way to hold us. */
	if (length == 0 && !v->first)
		return false;
	v->first = false;
	v->value = (int32_t)((uint32_t)v->value + (delta & 1 ? ~(delta >> 1) : delta >> 1));
	v->low = v->high;
	v->high += length;
	return true;
}

size_t go_pclntab_trim(const struct go_pclntab *t, struct go_pcln_func *f)
{
	struct go_pcvalue v;
	size_t count = 0;

	for (go_pcvalue_start(&v, t, f, f->pcln); go_pcvalue_next(&v) && v.high < f->end;)
		count++;
	if (v.high > f->entry && v.high < f->end)
		f->end = v.high;
	return count + 1;
}

bool go_pclntab_value(const struct go_pclntab *t, const struct go_pcln_func *f, uint32_t table,
		      uint64_t pc, int32_t *ret, uint64_t *ret_low, uint64_t *ret_high)
{
	struct go_pcvalue v;

	if (!table)
		return false;
	for (go_pcvalue_start(&v, t, f, table); go_pcvalue_next(&v);) {
		if (pc >= v.high)
			continue;
		*ret = v.value;
		if (ret_low)
			*ret_low = v.low;
		if (ret_high)
			*ret_high = v.high;
		return true;
	}
	return false;
}

bool go_pclntab_sp_delta(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc,
			 int32_t *ret)
{
	return go_pclntab_value(t, f, f->pcsp, pc, ret, NULL, NULL);
}

uint32_t go_pclntab_line(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc)
{
	int32_t line;
	if (!go_pclntab_value(t, f, f->pcln, pc, &line, NULL, NULL) || line < 0)
		return 0;
	return (uint32_t)line;
}

const char *go_pclntab_file_name(const struct go_pclntab *t, const struct go_pcln_func *f,
				 int32_t number)
{
	if (number < 0)
		return NULL;
	uint64_t at = t->cu + ((uint64_t)f->cu_off + (uint32_t)number) * 4;
	if (at >= t->filetab)
		return NULL;
	const uint8_t *p = tab(t, at, 4);
	if (!p || le32(p) == NO_DATA)
		return NULL;
	return text_at(t, t->filetab + le32(p), t->pctab);
}

const char *go_pclntab_file(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc)
{
	int32_t number;
	if (!go_pclntab_value(t, f, f->pcfile, pc, &number, NULL, NULL))
		return NULL;
	return go_pclntab_file_name(t, f, number);
}

/* ---- inlining ---- */

static uint32_t pcdata_table(const struct go_pclntab *t, const struct go_pcln_func *f, uint32_t n)
{
	const uint8_t *p = n < f->npcdata ? tab(t, f->tail + (uint64_t)n * 4, 4) : NULL;
	return p ? le32(p) : 0;
}

static uint32_t funcdata_off(const struct go_pclntab *t, const struct go_pcln_func *f, uint32_t n)
{
	if (n >= f->nfuncdata)
		return NO_DATA;
	const uint8_t *p = tab(t, f->tail + ((uint64_t)f->npcdata + n) * 4, 4);
	return p ? le32(p) : NO_DATA;
}

/* Go 1.18 and 1.19: parent i16, funcID u8, pad, file, line, name, parentPc; 1.20: funcID u8, pad,
 * name, parentPc, startLine. */
static bool tree_nth(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t gofunc,
		     int32_t n, struct go_inlined *ret)
{
	bool old = t->magic == GO_PCLN_MAGIC_118;
	size_t size = old ? 20 : 16;
	uint32_t off = funcdata_off(t, f, FUNCDATA_INLTREE);

	if (off == NO_DATA || !gofunc || n < 0 || n >= TREE_MAX)
		return false;
	const uint8_t *p = image_at(t->img, gofunc + off + (uint64_t)n * size, size);
	if (!p)
		return false;
	const uint8_t *name_off = p + (old ? 12 : 4);
	uint32_t parent = le32(name_off + 4);
	const char *name = go_pclntab_name(t, le32(name_off));
	if (!name || !*name || parent >= f->end - f->entry)
		return false;
	*ret = (struct go_inlined){
		.name = name,
		.name_off = le32(name_off),
		.start_line = old ? 0 : le32(p + 12),
		.parent_pc = f->entry + parent,
	};
	return true;
}

bool go_pclntab_inlined(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc,
			struct go_inlined *ret)
{
	int32_t index;
	uint32_t table = pcdata_table(t, f, PCDATA_INLTREE);

	if (!go_pclntab_value(t, f, table, pc, &index, NULL, NULL))
		return false;
	return tree_nth(t, f, t->gofunc, index, ret);
}

uint32_t go_pclntab_inline_table(const struct go_pclntab *t, const struct go_pcln_func *f)
{
	return t->gofunc && funcdata_off(t, f, FUNCDATA_INLTREE) != NO_DATA
		       ? pcdata_table(t, f, PCDATA_INLTREE)
		       : 0;
}

bool go_pclntab_inlined_nth(const struct go_pclntab *t, const struct go_pcln_func *f, int32_t n,
			    struct go_inlined *ret)
{
	return tree_nth(t, f, t->gofunc, n, ret);
}

int go_pclntab_try_gofunc(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t gofunc)
{
	struct go_pcvalue v;
	int32_t most = -1;
	uint32_t table = pcdata_table(t, f, PCDATA_INLTREE);

	if (funcdata_off(t, f, FUNCDATA_INLTREE) == NO_DATA || !table)
		return -1;
	for (go_pcvalue_start(&v, t, f, table); go_pcvalue_next(&v) && v.low < f->end;)
		most = MAX(most, v.value);
	if (most < 0)
		return -1;
	struct go_inlined one;
	for (int32_t i = 0; i <= most; i++)
		if (!tree_nth(t, f, gofunc, i, &one))
			return 0;
	return 1;
}
