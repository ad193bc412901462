/*
 * pclntab.h - Go's function table: names, files, lines, stack depths, inlining. In every Go
 * program, stripped or not.
 *
 * Input:  the file's bytes; hostile. Every offset is checked when it is followed; loops are bounded
 * by the table's size. Units:  addresses as linked (before the load bias). text and gofunc come
 * from moduledata, see go_pclntab_set_text(). Forms:  0xfffffff0 (Go 1.18, 1.19) and 0xfffffff1
 * (1.20 and later). Lazy:   only what a lookup touches is brought in from the file. Source:
 * runtime/symtab.go, internal/abi/symtab.go of the Go distribution.
 */
#ifndef STOPGO_DWARF_GO_PCLNTAB_H
#define STOPGO_DWARF_GO_PCLNTAB_H

#include "dwarf/image.h"

enum {
	GO_PCLN_MAGIC_118 = 0xfffffff0u,
	GO_PCLN_MAGIC_120 = 0xfffffff1u,
};

enum go_func_flag {
	GO_FUNC_TOP = 1,      /* unwinding ends here, well */
	GO_FUNC_SP_WRITE = 2, /* moves SP in a way the table does not tell */
	GO_FUNC_ASM = 4,      /* written in assembly */
};

struct go_pclntab {
	struct image *img;
	uint64_t vaddr;  /* of the header */
	uint64_t offset; /* of the header in the file */
	uint64_t size;   /* bytes of the file that may belong to it */
	uint32_t magic;
	uint64_t nfunc;
	uint64_t nfiles;
	uint64_t text_start;                         /* as the header says; 0 since Go 1.26 */
	uint64_t funcname, cu, filetab, pctab, func; /* from the header */
	uint64_t text;                               /* what entry offsets count from */
	uint64_t gofunc; /* what funcdata offsets count from; 0: not known */
};

/* One function's record. */
struct go_pcln_func {
	uint64_t index;
	uint64_t entry, end; /* as linked; end is the next function's entry */
	uint32_t name_off;
	uint32_t pcsp, pcfile, pcln;
	uint32_t npcdata, nfuncdata;
	uint32_t cu_off;
	uint32_t start_line; /* 0: not recorded */
	uint8_t func_id, flag;
	uint64_t tail; /* where pcdata offsets begin, from the header */
};

/* Finds the table; false when there is none. Fills all but text and gofunc (text is the header's).
 */
bool go_pclntab_find(struct image *img, struct go_pclntab *ret);
/* A table at this file offset with up to size bytes; false when its header makes no sense. */
bool go_pclntab_at(struct image *img, uint64_t vaddr, uint64_t offset, uint64_t size,
		   struct go_pclntab *ret);

bool go_pclntab_nth(const struct go_pclntab *t, uint64_t n, struct go_pcln_func *ret);
/* The function that holds pc. */
bool go_pclntab_lookup(const struct go_pclntab *t, uint64_t pc, struct go_pcln_func *ret);
/*
 * Takes the padding behind the function's code out of it: its line table ends where the code does. Returns how many entries that
 * table has.
 */
size_t go_pclntab_trim(const struct go_pclntab *t, struct go_pcln_func *f);
/* Just its name: NULL when damaged. The empty name is possible. */
const char *go_pclntab_name(const struct go_pclntab *t, uint32_t name_off);

/* The value of one of a function's pc-value tables at pc and the range [low, high) it holds for
 * (may be NULL). */
bool go_pclntab_value(const struct go_pclntab *t, const struct go_pcln_func *f, uint32_t table,
		      uint64_t pc, int32_t *ret, uint64_t *ret_low, uint64_t *ret_high);
/* Bytes from SP to the return address. */
bool go_pclntab_sp_delta(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc,
			 int32_t *ret);
uint32_t go_pclntab_line(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc);
const char *go_pclntab_file(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc);
/* The name that a file number of f's compilation unit stands for. */
const char *go_pclntab_file_name(const struct go_pclntab *t, const struct go_pcln_func *f,
				 int32_t number);

/* Steps through one pc-value table from its beginning; low = high = entry and value -1 at first. */
struct go_pcvalue {
	const struct go_pclntab *t;
	const uint8_t *next, *loaded; /* the bytes known to be readable */
	uint64_t at;                  /* where loaded ends, from the header */
	uint64_t entry;
	uint64_t low, high; /* the range of value */
	int32_t value;
	bool first;
};

void go_pcvalue_start(struct go_pcvalue *v, const struct go_pclntab *t,
		      const struct go_pcln_func *f, uint32_t table);
bool go_pcvalue_next(struct go_pcvalue *v);

/* The call that was inlined into f (or into another inlined one) and covers pc. */
struct go_inlined {
	const char *name;
	uint32_t name_off;
	uint32_t start_line; /* 0: not recorded */
	uint64_t parent_pc;  /* stands for the place of the call in what is around it */
};

/* False: nothing is inlined at pc. */
bool go_pclntab_inlined(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc,
			struct go_inlined *ret);
/* The pc-value table of f that says which inlined call covers a pc (-1: none); 0: nothing is inlined into f. */
uint32_t go_pclntab_inline_table(const struct go_pclntab *t, const struct go_pcln_func *f);
/* The n-th inlined call of f. */
bool go_pclntab_inlined_nth(const struct go_pclntab *t, const struct go_pcln_func *f, int32_t n,
			    struct go_inlined *ret);
/* Do f's inline trees make sense when funcdata counts from gofunc? 1 yes, 0 no, -1 f has none. */
int go_pclntab_try_gofunc(const struct go_pclntab *t, const struct go_pcln_func *f,
			  uint64_t gofunc);

#endif
