/* image_internal.h - what image.c and image_symbols.c share; nobody else includes it. */
#ifndef STOPGO_DWARF_IMAGE_INTERNAL_H
#define STOPGO_DWARF_IMAGE_INTERNAL_H

#include "dwarf/image.h"

struct image_symtab {
	const Elf64_Sym *syms;
	const char *names;
	size_t count;
	size_t names_size;
};

struct image {
	char *name;
	int fd;        /* -1: data is the caller's */
	uint8_t *data; /* an anonymous mapping the file is read into, or the caller's bytes */
	uint64_t size;
	uint8_t *loaded; /* one bit a chunk */
	Elf64_Ehdr ehdr;
	struct image_segment *segments;
	size_t n_segments;
	struct image_section *sections;
	size_t n_sections;
	bool has_textrel;
	bool dynamic_read;
	uint64_t rela, rela_size; /* as linked; 0: none */

	bool symbols_read;
	struct image_symtab symtab[2]; /* .symtab, .dynsym */
	uint32_t *buckets;             /* index + 1 into both tables laid end to end; 0: empty */
	uint32_t *chain;
	size_t n_buckets;
	uint32_t *by_addr;
	size_t n_by_addr;
};

#endif
