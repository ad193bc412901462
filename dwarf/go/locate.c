/* Where the runtime keeps what the model reads: layouts, the list of goroutines, wait reasons, a
 * thread's g. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "dwarf/go/internal.h"

enum {
	CODE_MAX = 4096, /* of a function that is looked through */
	TARGETS_MAX = 64,
	ALLGS_SAMPLE = 16,
	TYPES_GUESSES = 64,
	SCAN_STEP = 1 << 16,
	SCAN_MAX = 256 << 20,
};

/* A function's code from the file: our own breakpoints are not in it. */
static struct bytes code_of(struct go_model *m, enum rt_func rt)
{
	struct go_pcln_func f;
	uint64_t entry = model_linked(m, m->rt_entry[rt]);

	if (!m->rt_entry[rt] || !go_pclntab_lookup(&m->pcln, entry, &f))
		return bytes_of(NULL, 0);
	size_t len = (size_t)MIN(f.end - f.entry, (uint64_t)CODE_MAX);
	const uint8_t *code = image_at(m->img, entry, len);
	return bytes_of(code, code ? len : 0);
}

/* The target of a RIP-relative operand with a REX prefix of 64 bits and this opcode at code[i]; 0:
 * it is none. */
static uint64_t rip_target(struct bytes code, size_t i, uint64_t start, uint8_t opcode)
{
	int32_t disp;

	if (i + 7 > code.size || (code.data[i] & 0xfb) != 0x48 || code.data[i + 1] != opcode ||
	    (code.data[i + 2] & 0xc7) != 0x05)
		return 0;
	memcpy(&disp, code.data + i + 3, sizeof(disp));
	return start + i + 7 + (uint64_t)(int64_t)disp;
}

/* ---- relocated? ---- */

/* Before the loader has done its work a position-independent program's pointers are not there. */
static bool is_relocated(struct go_model *m)
{
	uint64_t word;
	return m->mem && mem_read_u64(m->mem, m->md.vaddr + m->bias, &word) == 0 &&
	       word == m->pcln.vaddr + m->bias;
}

static void not_relocated(struct go_model *m, enum fact_id id)
{
	uint64_t word;
	if (!m->mem)
		fact_missing(m, id, "there is no process to read");
	else if (mem_read_u64(m->mem, m->md.vaddr + m->bias, &word) < 0)
		fact_later(m, id, "the program's data cannot be read at 0x%llx",
			   (unsigned long long)(m->md.vaddr + m->bias));
	else
		fact_later(m, id,
			   "the loader has not relocated the program, or the file is not the "
			   "one that runs");
}

/* ---- layouts ---- */

static uint64_t g_type_by_malg(struct go_model *m)
{
	struct bytes code = code_of(m, RT_MALG);

	for (size_t i = 0; i + 7 <= code.size; i++) {
		struct go_type type;
		struct go_struct_field goid;
		uint64_t target = rip_target(code, i, m->rt_entry[RT_MALG], 0x8d);
		if (target && go_type_read(&m->types, target, &type) &&
		    type.kind == GO_KIND_STRUCT && go_type_field(&m->types, &type, "goid", &goid))
			return target;
	}
	return 0;
}

/* Which words of moduledata are the type section is decided by the name of runtime.g. */
static uint64_t decide_types(struct go_model *m, uint64_t g_type)
{
	uint64_t types, etypes;

	for (size_t n = 0; n < TYPES_GUESSES; n++) {
		struct go_type type;
		char name[32];
		if (!go_moduledata_types_guess(&m->md, m->img, m->info.minor, n, &types, &etypes))
			break;
		m->types.types = types + m->bias;
		m->types.etypes = etypes + m->bias;
		uint64_t at = g_type;
		if (!at && n < 2)
			at = go_types_scan(&m->types, "runtime.g");
		if (at && go_type_read(&m->types, at, &type) &&
		    go_type_name(&m->types, &type, name, sizeof(name)) &&
		    strcmp(name, "runtime.g") == 0) {
			fact_known(m, FACT_TYPES, "0x%llx to 0x%llx, by the name of runtime.g%s",
				   (unsigned long long)m->types.types,
				   (unsigned long long)m->types.etypes,
				   n ? " (not where this release was expected to have it)" : "");
			return at;
		}
	}
	m->types.types = m->types.etypes = 0;
	fact_missing(m, FACT_TYPES, "no section of types fits the name of runtime.g");
	return g_type;
}

/* How much of a g and of an m has to be read. */
static void layout_measure(struct go_model *m)
{
	const struct go_field_def *defs;
	size_t count = go_layout_fields(&defs);
	uint32_t m_end = 0;

	m->g_size = 0;
	m->m_low = UINT32_MAX;
	for (size_t i = 0; i < count; i++) {
		int32_t at = *go_layout_nth(&m->layout, i);
		if (at < 0)
			continue;
		uint32_t end = (uint32_t)at + (uint32_t)defs[i].size;
		if (strcmp(defs[i].root, "g") == 0) {
			m->g_size = MAX(m->g_size, end);
		} else if (strcmp(defs[i].root, "m") == 0) {
			m_end = MAX(m_end, end);
			m->m_low = MIN(m->m_low, (uint32_t)at);
		}
	}
	m->m_size = m_end - m->m_low;
}

bool model_need_layout(struct go_model *m)
{
	if (m->facts[FACT_LAYOUT].state != FACT_UNTRIED)
		return m->facts[FACT_LAYOUT].state == FACT_KNOWN;
	if (!model_need_functions(m))
		return false;
	if (!is_relocated(m)) {
		not_relocated(m, FACT_LAYOUT);
		return false;
	}

	if (!m->type_pages)
		m->type_pages = calloc(GO_TYPE_PAGES, sizeof(*m->type_pages));
	m->types = (struct go_types){ .im = &m->im,
				      .pages = m->type_pages,
				      .shifted_offsets = m->info.minor == 18 };
	uint64_t by_code = g_type_by_malg(m);
	m->g_type = decide_types(m, by_code);
	if (m->g_type && go_layout_from_types(&m->types, m->g_type, &m->layout))
		fact_known(m, FACT_LAYOUT, "from the program's type descriptors, runtime.g %s",
			   by_code ? "by runtime.malg" : "by its name");
	else if (go_layout_from_dwarf(m->img, &m->layout))
		fact_known(m, FACT_LAYOUT, "from DWARF");
	else
		/* Which release's table fits is decided when there are goroutines to try it on. */
		fact_later(m, FACT_LAYOUT, "no type descriptor and no DWARF for runtime.g");
	if (m->facts[FACT_LAYOUT].state == FACT_KNOWN)
		layout_measure(m);
	return m->facts[FACT_LAYOUT].state == FACT_KNOWN;
}

/* ---- allgs ---- */

enum allgs_fit { ALLGS_NO, ALLGS_EMPTY, ALLGS_WEAK, ALLGS_SURE };

/*
 * Is the slice at addr the list of goroutines? Sure when its first is the main goroutine; weak when
 * all of the first few are goroutines (the main one may have ended by runtime.Goexit and be another
 * one now).
 */
static enum allgs_fit allgs_fit(struct go_model *m, uint64_t addr)
{
	uint64_t slice[3];
	uint64_t list[ALLGS_SAMPLE];
	uint8_t raw[1024];

	if (m->g_size > sizeof(raw) || mem_read(m->mem, addr, slice, sizeof(slice)) < 0)
		return ALLGS_NO;
	if (!slice[0] && !slice[1] && !slice[2])
		return ALLGS_EMPTY;
	if (!slice[0] || slice[0] % 8 || !slice[1] || slice[1] > slice[2] ||
	    slice[2] > GO_GOROUTINES_MAX * UINT64_C(2))
		return ALLGS_NO;
	size_t count = (size_t)MIN(slice[1], (uint64_t)ALLGS_SAMPLE);
	if (mem_read(m->mem, slice[0], list, count * 8) < 0)
		return ALLGS_NO;

	enum allgs_fit fit = ALLGS_WEAK;
	for (size_t i = 0; i < count; i++) {
		struct go_goroutine g;
		if (!list[i] || list[i] % 8 || mem_read(m->mem, list[i], raw, m->g_size) < 0)
			return ALLGS_NO;
		goroutine_parse(m, list[i], raw, &g);
		if (!goroutine_plausible(m, &g))
			return ALLGS_NO;
		if (i == 0 && g.goid == 1 && g.start_pc == m->rt_entry[RT_MAIN])
			fit = ALLGS_SURE;
	}
	return fit;
}

struct targets {
	uint64_t at[TARGETS_MAX];
	size_t count;
};

/* The writable places that runtime.allgadd's code names; one of them is allgs. */
static struct targets allgs_targets(struct go_model *m)
{
	struct bytes code = code_of(m, RT_ALLGADD);
	struct targets t = { .count = 0 };

	for (size_t i = 0; i + 7 <= code.size && t.count < TARGETS_MAX; i++) {
		uint64_t start = m->rt_entry[RT_ALLGADD];
		uint64_t target = rip_target(code, i, start, 0x8b);
		if (!target)
			target = rip_target(code, i, start, 0x89);
		if (!target)
			target = rip_target(code, i, start, 0x8d);
		const struct image_segment *s =
			target ? image_segment_at(m->img, model_linked(m, target)) : NULL;
		if (s && (s->flags & PF_W) && target % 8 == 0)
			t.at[t.count++] = target;
	}
	return t;
}

/* Some slice in .bss whose first element is the main goroutine. */
static uint64_t allgs_scan(struct go_model *m)
{
	uint64_t end = m->md.ebss + m->bias;
	_cleanup_free_ uint64_t *window = malloc(SCAN_STEP);

	if (!window || m->md.ebss - m->md.bss > SCAN_MAX)
		return 0;
	for (uint64_t at = (m->md.bss + m->bias + 7) & ~UINT64_C(7); at + 24 <= end;) {
		size_t len = (size_t)MIN(end - at, (uint64_t)SCAN_STEP);
		size_t got = 0;
		if (mem_read_some(m->mem, at, window, len, &got) < 0 || got < 24)
			return 0;
		size_t words = got / 8;
		for (size_t i = 0; i + 2 < words; i++)
			if (window[i] && window[i] % 8 == 0 && window[i + 1] &&
			    window[i + 1] <= window[i + 2] &&
			    window[i + 2] <= GO_GOROUTINES_MAX * UINT64_C(2) &&
			    allgs_fit(m, at + i * 8) == ALLGS_SURE)
				return at + i * 8;
		at += (words - 2) * 8;
	}
	return 0;
}

/* Looking through all of .bss is worth it now and then only, while the runtime has not started. */
static bool scan_is_due(struct go_model *m)
{
	m->allgs_tries++;
	return (m->allgs_tries & (m->allgs_tries - 1)) == 0;
}

static enum allgs_fit allgs_accept(struct go_model *m, enum allgs_fit fit, uint64_t at,
				   const char *how)
{
	m->allgs = at;
	fact_known(m, FACT_ALLGS, "allgs at 0x%llx, %s%s", (unsigned long long)at, how,
		   fit == ALLGS_WEAK ? " (its first is not the main goroutine)" : "");
	return fit;
}

/* With the layout there is now: finds allgs or says how it stands. */
static enum allgs_fit allgs_find(struct go_model *m, bool sure_only)
{
	struct targets t = allgs_targets(m);
	enum allgs_fit best = ALLGS_NO;
	uint64_t best_at = 0;

	for (size_t i = 0; i < t.count && best != ALLGS_SURE; i++) {
		enum allgs_fit fit = allgs_fit(m, t.at[i]);
		if (fit > best) {
			best = fit;
			best_at = t.at[i];
		}
	}
	if (best == ALLGS_SURE || (best == ALLGS_WEAK && !sure_only))
		return allgs_accept(m, best, best_at, "by runtime.allgadd");
	if (!scan_is_due(m))
		return best > ALLGS_EMPTY ? ALLGS_EMPTY : best;

	struct image_symbol symbol = image_symbol(m->img, "runtime.allgs");
	if (symbol.name && allgs_fit(m, symbol.value + m->bias) >= ALLGS_WEAK)
		return allgs_accept(m, ALLGS_SURE, symbol.value + m->bias, "by symbol");
	uint64_t scanned = allgs_scan(m);
	if (scanned)
		return allgs_accept(m, ALLGS_SURE, scanned,
				    "the list in .bss that begins with the main goroutine");
	return best > ALLGS_EMPTY ? ALLGS_EMPTY : best;
}

/* Neither types nor DWARF: the first release's table that makes the list of goroutines fit. */
static enum allgs_fit allgs_find_by_table(struct go_model *m)
{
	unsigned minor;

	for (size_t n = 0; go_layout_from_table(m->info.minor, n, &m->layout, &minor); n++) {
		layout_measure(m);
		enum allgs_fit fit = allgs_find(m, true);
		if (fit == ALLGS_EMPTY)
			return fit;
		if (fit == ALLGS_SURE) {
			fact_known(m, FACT_LAYOUT, "from the table of Go 1.%u, which fits", minor);
			return fit;
		}
	}
	fact_later(m, FACT_LAYOUT,
		   "no type descriptor, no DWARF, and no release's table fits this program");
	return ALLGS_NO;
}

bool model_need_allgs(struct go_model *m)
{
	if (m->facts[FACT_ALLGS].state != FACT_UNTRIED)
		return m->facts[FACT_ALLGS].state == FACT_KNOWN;

	enum allgs_fit fit;
	if (model_need_layout(m))
		fit = allgs_find(m, false);
	else if (m->facts[FACT_RUNTIME].state == FACT_KNOWN && is_relocated(m))
		fit = allgs_find_by_table(m);
	else
		return false;

	if (fit == ALLGS_EMPTY)
		fact_later(m, FACT_ALLGS, "the runtime has not started a goroutine");
	else if (fit == ALLGS_NO)
		fact_missing(m, FACT_ALLGS,
			     "runtime.allgadd names no list of goroutines, and none "
			     "was found in .bss");
	return m->facts[FACT_ALLGS].state == FACT_KNOWN;
}

/* ---- wait reasons ---- */

static bool reason_read(struct go_model *m, const uint64_t header[2], char into[REASON_LEN_MAX + 1])
{
	if (header[1] > REASON_LEN_MAX)
		return false;
	memset(into, 0, REASON_LEN_MAX + 1);
	if (!header[1])
		return true;
	if (image_mem_read(&m->im, header[0], into, header[1]) < 0)
		return false;
	for (size_t i = 0; i < header[1]; i++)
		if (into[i] < ' ' || into[i] > '~')
			return false;
	return true;
}

/* Reads the table at addr; how many there are is known for measured releases, else it ends where
 * texts end. */
static bool reasons_at(struct go_model *m, uint64_t addr)
{
	static const struct {
		unsigned minor;
		size_t count;
	} counts[] = { { 18, 27 }, { 19, 27 }, { 22, 37 }, { 23, 38 },
		       { 24, 44 }, { 26, 47 }, { 27, 47 } };
	char text[REASON_LEN_MAX + 1];
	uint64_t header[2];
	size_t limit = REASONS_MAX;

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
		if (counts[i].minor == m->info.minor)
			limit = counts[i].count;
	char(*table)[REASON_LEN_MAX + 1] = calloc(REASONS_MAX, sizeof(*table));
	size_t count = 0;
	while (table && count < limit &&
	       mem_read(m->mem, addr + count * 16, header, sizeof(header)) == 0 &&
	       reason_read(m, header, text) && (count == 0 || *text))
		memcpy(table[count++], text, sizeof(text));
	if (count < 3 || strcmp(table[1], "GC assist marking") != 0 ||
	    strcmp(table[2], "IO wait") != 0) {
		free(table);
		return false;
	}
	m->reasons = table;
	m->n_reasons = count;
	return true;
}

/* The table begins with "", "GC assist marking", "IO wait" in every release: look for strings of
 * these lengths. */
static uint64_t reasons_scan(struct go_model *m, uint64_t from, uint64_t to)
{
	_cleanup_free_ uint64_t *window = malloc(SCAN_STEP);

	if (!window || to <= from || to - from > SCAN_MAX)
		return 0;
	uint64_t end = to + m->bias;
	for (uint64_t at = (from + m->bias + 7) & ~UINT64_C(7); at + 48 <= end;) {
		size_t got = 0;
		size_t len = (size_t)MIN(end - at, (uint64_t)SCAN_STEP);
		if (mem_read_some(m->mem, at, window, len, &got) < 0 || got < 48)
			return 0;
		size_t words = got / 8;
		for (size_t i = 0; i + 5 < words; i++)
			if (window[i + 1] == 0 && window[i + 3] == 17 && window[i + 5] == 7 &&
			    reasons_at(m, at + i * 8))
				return at + i * 8;
		at += (words - 5) * 8;
	}
	return 0;
}

bool model_need_reasons(struct go_model *m)
{
	if (m->facts[FACT_REASONS].state != FACT_UNTRIED)
		return m->facts[FACT_REASONS].state == FACT_KNOWN;
	if (!model_need_functions(m))
		return false;
	if (!is_relocated(m)) {
		not_relocated(m, FACT_REASONS);
		return false;
	}
	uint64_t at = reasons_scan(m, m->md.data, m->md.edata);
	if (!at)
		at = reasons_scan(m, m->md.noptrdata, m->md.enoptrdata);
	if (at)
		fact_known(m, FACT_REASONS, "%zu in the program's own table at 0x%llx",
			   m->n_reasons, (unsigned long long)at);
	else
		fact_missing(m, FACT_REASONS, "no table of them in the program's data");
	return at != 0;
}

/* ---- a thread's g ---- */

/*
 * runtime.morestack begins with loading g: `mov reg, fs:disp32`; or `mov reg, imm32` (or, in a
 * library, `mov reg, [rip+got]`) and then `mov reg, fs:[reg]`.
 */
static bool tls_decode(struct go_model *m, struct bytes code, int64_t *ret, const char **ret_how)
{
	for (size_t i = 0; i + 4 <= code.size; i++) {
		const uint8_t *p = code.data + i;
		int32_t value;
		if (p[0] != 0x64 || (p[1] & 0xf8) != 0x48 || p[2] != 0x8b)
			continue;
		if ((p[3] & 0xc7) == 0x04 && i + 9 <= code.size && p[4] == 0x25) {
			memcpy(&value, p + 5, sizeof(value));
			*ret = value;
			*ret_how = "absolute";
			return true;
		}
		if ((p[3] & 0xc0) != 0 || i < 7)
			continue;
		const uint8_t *load = p - 7;
		memcpy(&value, load + 3, sizeof(value));
		if ((load[0] & 0xf8) == 0x48 && load[1] == 0xc7 && (load[2] & 0xf8) == 0xc0) {
			*ret = value;
			*ret_how = "by register";
			return true;
		}
		uint64_t got = rip_target(code, i - 7, m->rt_entry[RT_MORESTACK], 0x8b);
		uint64_t word;
		if (got && mem_read_u64(m->mem, got, &word) == 0) {
			*ret = (int64_t)word;
			*ret_how = "by the global offset table";
			return true;
		}
	}
	return false;
}

bool model_need_tls(struct go_model *m)
{
	const char *how;

	if (m->facts[FACT_TLS].state != FACT_UNTRIED)
		return m->facts[FACT_TLS].state == FACT_KNOWN;
	if (!model_need_functions(m))
		return false;
	if (!is_relocated(m)) {
		not_relocated(m, FACT_TLS);
		return false;
	}
	if (tls_decode(m, code_of(m, RT_MORESTACK), &m->tls_offset, &how) &&
	    m->tls_offset % 8 == 0 && m->tls_offset > -(INT64_C(1) << 30) &&
	    m->tls_offset < INT64_C(1) << 30)
		fact_known(m, FACT_TLS, "at fs:%lld, by runtime.morestack (%s)",
			   (long long)m->tls_offset, how);
	else
		fact_missing(m, FACT_TLS, "runtime.morestack does not load g in a known way");
	return m->facts[FACT_TLS].state == FACT_KNOWN;
}
