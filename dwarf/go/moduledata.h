/*
 * moduledata.h - the linker's directory of a Go module: where its text, data, types and function
 * data are.
 *
 * Found in the file, so it is known before the program runs: in a position-independent one through
 * the relocations that will fill it in. All addresses are as linked. The front (up to enoptrbss)
 * has been the same since Go 1.18; where types and gofunc stand moves from release to release, so
 * they are candidates until something that depends on them proves right.
 */
#ifndef STOPGO_DWARF_GO_MODULEDATA_H
#define STOPGO_DWARF_GO_MODULEDATA_H

#include "dwarf/go/pclntab.h"

enum { GO_MODULEDATA_WORDS = 96 };

struct go_moduledata {
	uint64_t vaddr; /* 0: not found */
	uint64_t text, etext;
	uint64_t minpc, maxpc; /* Go code proper */
	uint64_t noptrdata, enoptrdata, data, edata, bss, ebss, noptrbss, enoptrbss;
	uint64_t types, etypes;              /* 0: not known */
	uint64_t gofunc;                     /* 0: not known */
	bool by_reloc;                       /* found through relocations */
	const char *gofunc_from;             /* how gofunc was decided: "the 1.27 layout", ... */
	uint64_t words[GO_MODULEDATA_WORDS]; /* as linked; for what has no fixed place */
};

/* False when there is none that fits the table. minor chooses where the tail is looked for first;
 * 0: not known. */
bool go_moduledata_find(const struct go_pclntab *t, unsigned minor, struct go_moduledata *ret);

/*
 * The n-th guess of where the type section begins and ends, the layout of the release first, then
 * any pair of words that can be one; false when there are no more.
 */
bool go_moduledata_types_guess(const struct go_moduledata *md, struct image *img, unsigned minor,
			       size_t n, uint64_t *ret_types, uint64_t *ret_etypes);

#endif
