#include "dwarf/go/moduledata.h"

#include <string.h>

enum {
	/* Byte offsets that hold from Go 1.18 on. */
	PC_HEADER = 0,
	FUNCNAMETAB = 8,
	PCLNTABLE = 104,
	FTAB = 128,
	MINPC = 160,
	MAXPC = 168,
	TEXT = 176,
	ETEXT = 184,
	NOPTRDATA = 192,
	FIXED_END = 256,
	CANDIDATES_MAX = 64,
	SAMPLE_FUNCS = 4096,
	SAMPLE_TREES = 8,
};

/* Where the tail's fields are, by the release that brought the layout. */
static const struct tail {
	unsigned since;
	uint16_t types, etypes, gofunc;
} tails[] = {
	{ 27, 296, 312, 344 },
	{ 26, 296, 304, 320 },
	{ 20, 296, 304, 320 },
	{ 18, 280, 288, 304 },
};

static const struct tail *tail_of(unsigned minor)
{
	for (size_t i = 0; i < ARRAY_SIZE(tails); i++)
		if (minor >= tails[i].since)
			return &tails[i];
	return &tails[0];
}

static uint64_t word(const struct go_moduledata *md, unsigned offset)
{
	return md->words[offset / 8];
}

/* Are these words the moduledata of this table? */
static bool fits(const struct go_moduledata *md, const struct go_pclntab *t)
{
	return word(md, PC_HEADER) == t->vaddr && word(md, FUNCNAMETAB) == t->vaddr + t->funcname &&
	       word(md, PCLNTABLE) == t->vaddr + t->func && word(md, FTAB) == t->vaddr + t->func &&
	       word(md, FTAB + 8) == t->nfunc + 1 && word(md, TEXT) <= word(md, MINPC) &&
	       word(md, MINPC) <= word(md, MAXPC) && word(md, MAXPC) <= word(md, ETEXT) &&
	       word(md, TEXT) != 0;
}

static void words_read(const struct go_pclntab *t, uint64_t vaddr, struct go_moduledata *md)
{
	size_t left = (size_t)MIN(image_at_left(t->img, vaddr), (uint64_t)sizeof(md->words));
	const uint8_t *raw = image_at(t->img, vaddr, left & ~(size_t)7);

	memset(md->words, 0, sizeof(md->words));
	md->vaddr = vaddr;
	if (raw)
		memcpy(md->words, raw, left & ~(size_t)7);
}

/* ---- in the bytes of the file: fixed addresses, or addends left in place ---- */

static bool scan_segment(const struct go_pclntab *t, const struct image_segment *s,
			 struct go_moduledata *md)
{
	enum { STEP = 1 << 16 };

	for (uint64_t at = -s->vaddr & 7; at + FIXED_END <= s->filesz;) {
		size_t len = (size_t)MIN(s->filesz - at, (uint64_t)STEP) & ~(size_t)7;
		const uint8_t *raw = image_bytes(t->img, s->offset + at, len);
		if (!raw || !len)
			return false;
		for (size_t i = 0; i < len; i += 8) {
			if (memcmp(raw + i, &t->vaddr, 8) != 0)
				continue;
			words_read(t, s->vaddr + at + i, md);
			if (fits(md, t))
				return true;
		}
		at += len;
	}
	return false;
}

static bool scan_file(const struct go_pclntab *t, struct go_moduledata *md)
{
	const struct image_section *own = image_section(t->img, ".go.module");
	const struct image_segment *segments;

	if (own && own->type != SHT_NOBITS) {
		words_read(t, own->addr, md);
		if (fits(md, t))
			return true;
	}
	size_t count = image_segments(t->img, &segments);
	for (size_t i = 0; i < count; i++)
		if (segments[i].type == PT_LOAD && (segments[i].flags & PF_W) &&
		    scan_segment(t, &segments[i], md))
			return true;
	return false;
}

/* ---- through relocations ---- */

struct candidates {
	uint64_t addend;
	uint64_t places[CANDIDATES_MAX];
	size_t count;
};

static bool collect_candidate(void *ctx, uint64_t place, uint64_t addend)
{
	struct candidates *c = ctx;
	if (addend == c->addend)
		c->places[c->count++] = place;
	return c->count < CANDIDATES_MAX;
}

static bool apply_reloc(void *ctx, uint64_t place, uint64_t addend)
{
	struct go_moduledata *md = ctx;
	if (place >= md->vaddr && place - md->vaddr < sizeof(md->words) &&
	    place % 8 == md->vaddr % 8)
		md->words[(place - md->vaddr) / 8] = addend;
	return true;
}

static bool scan_relocs(const struct go_pclntab *t, struct go_moduledata *md)
{
	struct candidates c = { .addend = t->vaddr };

	image_relative_relocs(t->img, collect_candidate, &c);
	for (size_t i = 0; i < c.count; i++) {
		words_read(t, c.places[i], md);
		image_relative_relocs(t->img, apply_reloc, md);
		if (fits(md, t)) {
			md->by_reloc = true;
			return true;
		}
	}
	return false;
}

/* ---- gofunc: proved by inline trees that make sense ---- */

static bool gofunc_right(const struct go_pclntab *t, uint64_t gofunc)
{
	unsigned good = 0;

	if (!image_at_left(t->img, gofunc))
		return false;
	for (uint64_t i = 0; i < MIN(t->nfunc, (uint64_t)SAMPLE_FUNCS) && good < SAMPLE_TREES;
	     i++) {
		struct go_pcln_func f;
		if (!go_pclntab_nth(t, i, &f))
			return false;
		int fit = go_pclntab_try_gofunc(t, &f, gofunc);
		if (fit == 0)
			return false;
		good += fit > 0;
	}
	return good > 0;
}

static void gofunc_decide(const struct go_pclntab *t, unsigned minor, struct go_moduledata *md)
{
	uint64_t first = word(md, tail_of(minor)->gofunc);
	if (gofunc_right(t, first)) {
		md->gofunc = first;
		md->gofunc_from = "the release's layout";
		return;
	}
	for (unsigned at = FIXED_END; at < sizeof(md->words); at += 8) {
		if (word(md, at) == first || !gofunc_right(t, word(md, at)))
			continue;
		md->gofunc = word(md, at);
		md->gofunc_from = "trial, by inline trees that fit";
		return;
	}
}

/* ---- */

bool go_moduledata_types_guess(const struct go_moduledata *md, struct image *img, unsigned minor,
			       size_t n, uint64_t *ret_types, uint64_t *ret_etypes)
{
	const struct tail *tail = tail_of(minor);
	size_t seen = 0;

	for (unsigned at = FIXED_END - 8; at < sizeof(md->words) - 16; at += 8) {
		/* The first turn is the release's own place; etypes follows types, or stands one
		 * word further (1.27). */
		bool own = at == FIXED_END - 8;
		uint64_t types = word(md, own ? tail->types : at);
		uint64_t etypes = word(md, own ? tail->etypes : at + 8);
		if (!own && etypes <= types)
			etypes = word(md, at + 16);
		if (!image_at_left(img, types) || etypes <= types ||
		    !image_segment_at(img, etypes - 1))
			continue;
		if (seen++ == n) {
			*ret_types = types;
			*ret_etypes = etypes;
			return true;
		}
	}
	return false;
}

bool go_moduledata_find(const struct go_pclntab *t, unsigned minor, struct go_moduledata *ret)
{
	struct go_moduledata md = { 0 };

	if (!scan_file(t, &md) && !scan_relocs(t, &md))
		return false;
	const uint64_t *data = &md.words[NOPTRDATA / 8];
	md.minpc = word(&md, MINPC);
	md.maxpc = word(&md, MAXPC);
	md.text = word(&md, TEXT);
	md.etext = word(&md, ETEXT);
	md.noptrdata = data[0];
	md.enoptrdata = data[1];
	md.data = data[2];
	md.edata = data[3];
	md.bss = data[4];
	md.ebss = data[5];
	md.noptrbss = data[6];
	md.enoptrbss = data[7];

	struct go_pclntab with_text = *t;
	with_text.text = md.text;
	gofunc_decide(&with_text, minor, &md);
	*ret = md;
	return true;
}
