/*
 * linkmap.h - which shared objects the dynamic loader of a process has loaded, as its own lists say.
 *
 * The way there: the auxiliary vector names the program headers, these the dynamic section, its DT_DEBUG the loader's struct
 * r_debug, which holds one list of struct link_map per namespace (the first, and those that dlmopen made).
 * Everything is read from the debuggee: lists are bounded, must be linked both ways, and end at the first contradiction.
 * Source: <link.h>; glibc elf/link.h, elf/dl-debug.c; System V ABI, "Dynamic Section".
 */
#ifndef STOPGO_DWARF_LINKMAP_H
#define STOPGO_DWARF_LINKMAP_H

#include "base/mem.h"

enum {
	LINKMAP_OBJECTS_MAX = 65536,
	LINKMAP_NAMESPACES_MAX = 256,
	LINKMAP_NAME_MAX = 4096,
};

struct linkmap_object {
	uint64_t lm;   /* its struct link_map */
	uint64_t addr; /* l_addr: what was added to its addresses */
	uint64_t ld;   /* l_ld: its dynamic section */
	uint64_t prev, next;
	char name[LINKMAP_NAME_MAX]; /* may be empty (the program itself) */
};

/*
 * Where the loader keeps its struct r_debug. 0 in *ret: the loader has not said so yet. -ENOENT: there is no dynamic section or no
 * DT_DEBUG, and there will never be.
 */
int linkmap_find(const struct mem *mem, const void *auxv, size_t len, uint64_t *ret);
/* Where in the dynamic section that pointer is. -ENOENT as above. */
int linkmap_find_entry(const struct mem *mem, const void *auxv, size_t len, uint64_t *ret);

/* The namespaces: rd is one's r_debug; *ret_first its first link_map (0: empty), *ret_next the next namespace's r_debug (0: none). */
int linkmap_namespace(const struct mem *mem, uint64_t rd, uint64_t *ret_first, uint64_t *ret_next);

int linkmap_read(const struct mem *mem, uint64_t lm, struct linkmap_object *ret);

#endif
