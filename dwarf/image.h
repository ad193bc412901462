/*
 * image.h - an ELF file opened for reading: headers, bytes by file offset or by address, symbols,
 * build id.
 *
 * Input:  hostile. Every offset and count is checked against the file; a damaged table reads as
 * absent. Lazy:   opening reads the headers only. File bytes come in by pread, 64 KiB at a time,
 * when they are asked for, so a file that is cut short under us is an unreadable range and never a
 * SIGBUS. Units:  vaddr is an address as linked; an address in the debuggee is vaddr + bias. Owner:
 * pointers to bytes, names, segments and sections live as long as the image. Errors: -ENOEXEC when
 * it is not a 64-bit little-endian ELF file. Absence is not an error: lookups give NULL or an empty
 * result.
 */
#ifndef STOPGO_DWARF_IMAGE_H
#define STOPGO_DWARF_IMAGE_H

#include <elf.h>
#include <stdbool.h>
#include "base/err.h"
#include "base/mem.h"

struct image;

struct image_segment {
	uint32_t type;  /* PT_* */
	uint32_t flags; /* PF_* */
	uint64_t offset;
	uint64_t vaddr;
	uint64_t filesz; /* cut to what the file has */
	uint64_t memsz;  /* >= filesz */
	uint64_t align;
};

struct image_section {
	const char *name; /* never NULL */
	uint32_t type;    /* SHT_* */
	uint64_t flags;   /* SHF_* */
	uint64_t addr;
	uint64_t offset;
	uint64_t size;
	uint64_t entsize;
	uint32_t link;
	uint32_t info;
};

struct image_symbol {
	const char *name; /* NULL: no such symbol */
	uint64_t value;   /* as linked */
	uint64_t size;
	uint8_t type; /* STT_* */
	uint8_t bind; /* STB_* */
	uint16_t shndx;
};

int image_open(const char *path, struct image **ret, struct err *err) _must_check_;
/* Works on a duplicate of fd; name is for messages. */
int image_open_fd(int fd, const char *name, struct image **ret, struct err *err) _must_check_;
/* An ELF file that is in memory already. Borrows data, which must outlive the image. */
int image_of_bytes(const void *data, size_t size, const char *name, struct image **ret,
		   struct err *err) _must_check_;
struct image *image_free(struct image *img);
static inline void image_freep(struct image **img)
{
	image_free(*img);
}

const char *image_name(const struct image *img);
/* The descriptor the image reads, for libraries that open files themselves; -1 for
 * image_of_bytes(). */
int image_fd(const struct image *img);
uint64_t image_size(const struct image *img);
uint64_t image_entry(const struct image *img);
uint16_t image_type(const struct image *img);    /* ET_EXEC, ET_DYN, ... */
uint16_t image_machine(const struct image *img); /* EM_X86_64, ... */
/* Where the program was loaded, from the auxiliary vector's AT_ENTRY: what to add to an address as
 * linked. */
uint64_t image_bias(const struct image *img, uint64_t at_entry);

size_t image_segments(const struct image *img, const struct image_segment **ret);
size_t image_sections(const struct image *img, const struct image_section **ret);
const struct image_section *image_section(const struct image *img, const char *name);
/* The PT_LOAD that holds vaddr in memory (memsz), or NULL. */
const struct image_segment *image_segment_at(const struct image *img, uint64_t vaddr);

/* len bytes of the file, or NULL when the file does not have all of them. */
const uint8_t *image_bytes(struct image *img, uint64_t offset, size_t len);
/* A section's bytes as they are in the file, compressed or not; NULL for SHT_NOBITS or when cut
 * short. */
const uint8_t *image_section_bytes(struct image *img, const struct image_section *section);
/* len bytes that the file puts at vaddr; NULL unless all lie in the file part of one PT_LOAD. */
const uint8_t *image_at(struct image *img, uint64_t vaddr, size_t len);
/* How many bytes the file has from vaddr to the end of its PT_LOAD's file part. */
uint64_t image_at_left(const struct image *img, uint64_t vaddr);
/* A NUL-terminated string at vaddr of at most max bytes, or NULL. */
const char *image_cstr_at(struct image *img, uint64_t vaddr, size_t max);

/* By name, .symtab before .dynsym, defined symbols only. The first call builds an index. */
struct image_symbol image_symbol(struct image *img, const char *name);
/* The symbol that covers vaddr: the nearest function, object or untyped label at or below it in the
 * same section. */
struct image_symbol image_symbol_at(struct image *img, uint64_t vaddr);
/* True when .symtab is there, that is, when the program was not stripped. */
bool image_has_symtab(const struct image *img);

/* The GNU build id (NT_GNU_BUILD_ID), from PT_NOTE or a note section. Length 0: none. */
const uint8_t *image_build_id(struct image *img, size_t *ret_len);
/* A note's descriptor by name and type; NULL: none. */
const uint8_t *image_note(struct image *img, const char *name, uint32_t type, size_t *ret_len);

/*
 * Calls fn for every R_X86_64_RELATIVE relocation with addend (place and addend as linked) until it
 * returns false. What a position-independent file leaves to the loader is known here before the
 * program runs.
 */
void image_relative_relocs(struct image *img,
			   bool (*fn)(void *ctx, uint64_t place, uint64_t addend), void *ctx);

/*
 * The debuggee's memory with the file behind it: what lies in a read-only PT_LOAD comes from the
 * file (cheap, and there even when a core left it out), all else from mem. Fill in the three
 * fields, then use image_mem_read() or the struct mem that image_mem_as_mem() gives, which borrows
 * im.
 */
struct image_mem {
	struct image *img;
	uint64_t bias;
	const struct mem *mem; /* may be NULL: only what the file has */
};

/* All of the range or -EFAULT. */
int image_mem_read(const struct image_mem *im, uint64_t addr, void *into, size_t len) _must_check_;
struct mem image_mem_as_mem(struct image_mem *im);

#endif
