/*
 * elfsym.h - addresses of named symbols in an ELF file, as the file has them.
 *
 * Looks at .symtab and .dynsym. The file is foreign: libelf checks its bounds, and what it refuses is not found.
 */
#ifndef STOPGO_ELFSYM_H
#define STOPGO_ELFSYM_H

#include <stdbool.h>

#include "base/util.h"

struct elfsym {
	const char *name;
	uint64_t addr;
	bool found;
};

/*
 * Adds what the file knows of those not found yet; bias is added to the addresses. Returns how many it found.
 * -ENOEXEC: not an ELF file for x86-64.
 */
int elfsym_find(int fd, uint64_t bias, struct elfsym *wanted, size_t count);

/* The file's own idea of where it begins to run, which AT_ENTRY minus this tells the bias of. */
int elfsym_entry(int fd, uint64_t *ret);

#endif
