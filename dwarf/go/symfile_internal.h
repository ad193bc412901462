/* symfile_internal.h - what the parts of the symbol file share: symfile.c, symfile_info.c, symfile_line.c, symfile_frame.c. */
#ifndef STOPGO_DWARF_GO_SYMFILE_INTERNAL_H
#define STOPGO_DWARF_GO_SYMFILE_INTERNAL_H

#include <string.h>
#include "dwarf/go/internal.h"
#include "dwarf/go/symfile.h"

/* The files one unit names, numbered from 1. */
struct file_set {
	const char **names; /* as pclntab has them: one file, one pointer */
	size_t count, room;
	uint32_t *slots; /* number by hash of the pointer; 0: empty */
	size_t n_slots;
};

/* A number for each of a unit's inlined functions: where its entry is. */
struct name_map {
	uint32_t *name_off; /* + 1; 0: empty */
	uint32_t *entry;
	size_t n_slots, used;
};

struct symfile {
	struct go_model *m;
	const struct go_pclntab *t;
	struct buf strings; /* "", the table of function names, more; .strtab and .debug_str */
	struct buf symtab, info, abbrev, line, ranges, frame;
	struct file_set files;
	struct name_map abstracts;
	uint32_t producer_name;
	uint32_t sigreturn_name; /* the name gdb knows the signal return by */
	uint16_t text_index;     /* section of functions */
	/* Table entries looked at: in a damaged file each function may use all of the table. */
	uint64_t work, work_max;
};

/* Functions [first, first + count) are one unit. */
struct unit {
	uint64_t first, count;
	uint64_t low, high;
	uint32_t name;    /* in strings */
	uint64_t info_at; /* where it begins in .debug_info */
};

static inline void put_u8(struct buf *b, uint8_t v)
{
	buf_putc(b, v);
}

static inline void put_u16(struct buf *b, uint16_t v)
{
	buf_put(b, &v, sizeof(v));
}

static inline void put_u32(struct buf *b, uint32_t v)
{
	buf_put(b, &v, sizeof(v));
}

static inline void put_u64(struct buf *b, uint64_t v)
{
	buf_put(b, &v, sizeof(v));
}

static inline void put_uleb(struct buf *b, uint64_t v)
{
	do {
		buf_putc(b, (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0)));
		v >>= 7;
	} while (v);
}

static inline void put_sleb(struct buf *b, int64_t v)
{
	bool more = true;
	while (more) {
		uint8_t byte = v & 0x7f;
		v >>= 7;
		more = !((v == 0 && !(byte & 0x40)) || (v == -1 && (byte & 0x40)));
		buf_putc(b, byte | (more ? 0x80 : 0));
	}
}

static inline void patch_u32(struct buf *b, size_t at, uint32_t v)
{
	if (!buf_error(b))
		memcpy(b->data + at, &v, sizeof(v));
}

/* The n-th function without its padding: a debugger must not take what stands behind it for a part of it. */
bool symfile_func(struct symfile *s, uint64_t n, struct go_pcln_func *ret);
/* The offset of a function's name in strings. */
uint32_t symfile_name(const struct symfile *s, const struct go_pcln_func *f);

/* The number of a file in the unit at hand; 0 when there is no memory or no name. */
uint32_t files_number(struct file_set *set, const char *name);
void files_reset(struct file_set *set);
void files_fini(struct file_set *set);

void symfile_abbrevs(struct symfile *s);
/* A unit's entries; its line program begins at line_at. Collects files. */
int symfile_info(struct symfile *s, struct unit *u, uint32_t line_at);
/* A unit's line program, after its info (the header lists the files). */
void symfile_line(struct symfile *s, const struct unit *u);
/* The common entry, then one for each function. */
void symfile_frame_start(struct symfile *s);
void symfile_frame(struct symfile *s, const struct go_pcln_func *f);

/* symfile_write.c: the program's sections, before anything of ours: says which one holds the functions. */
struct symfile_sections;
int symfile_sections_new(struct symfile *s, bool joined, struct symfile_sections **ret);
/* The file, or (join) what comes behind the program. */
int symfile_write(struct symfile *s, struct symfile_sections *l, struct buf *out,
		  struct go_symfile_join *join);

#endif
