#include "dwarf/linkmap.h"
#include "base/bytes.h"

#include <elf.h>
#include <errno.h>

enum {
	PHDRS_MAX = 512,
	DYNAMIC_MAX = 4096,
	/* struct r_debug */
	R_MAP = 8,
	R_NEXT = 40,
};

static uint64_t auxv_value(const void *auxv, size_t len, uint64_t type)
{
	struct bytes b = bytes_of(auxv, len);

	while (bytes_left(&b) >= 16) {
		uint64_t key = bytes_u64(&b), value = bytes_u64(&b);
		if (key == type)
			return value;
		if (key == AT_NULL)
			break;
	}
	return 0;
}

struct segments {
	uint64_t at;      /* address of the program headers */
	uint64_t bias;    /* added to the file's addresses */
	uint64_t dynamic; /* address of the dynamic section; 0: none */
};

/*
 * The headers know their own address in the file (PT_PHDR); a program without it has them behind the ELF header, which the first
 * segment holds.
 */
static int read_segments(const struct mem *mem, struct segments *s, uint64_t count)
{
	Elf64_Phdr ph;
	bool placed = false;
	uint64_t dynamic = 0;

	for (uint64_t i = 0; i < count; i++) {
		int r = mem_read(mem, s->at + i * sizeof(ph), &ph, sizeof(ph));
		if (r < 0)
			return r;
		if (ph.p_type == PT_PHDR) {
			s->bias = s->at - ph.p_vaddr;
			placed = true;
		} else if (ph.p_type == PT_LOAD && ph.p_offset == 0 && !placed) {
			s->bias = s->at - sizeof(Elf64_Ehdr) - ph.p_vaddr;
		} else if (ph.p_type == PT_DYNAMIC) {
			dynamic = ph.p_vaddr;
		}
	}
	s->dynamic = dynamic ? dynamic + s->bias : 0;
	return 0;
}

/* The address of DT_DEBUG's value. */
static int find_debug_entry(const struct mem *mem, uint64_t dynamic, uint64_t *ret)
{
	Elf64_Dyn dyn;

	for (size_t i = 0; i < DYNAMIC_MAX; i++) {
		int r = mem_read(mem, dynamic + i * sizeof(dyn), &dyn, sizeof(dyn));
		if (r < 0)
			return r;
		if (dyn.d_tag == DT_DEBUG) {
			*ret = dynamic + i * sizeof(dyn) + offsetof(Elf64_Dyn, d_un);
			return 0;
		}
		if (dyn.d_tag == DT_NULL)
			break;
	}
	return -ENOENT;
}

int linkmap_find_entry(const struct mem *mem, const void *auxv, size_t len, uint64_t *ret)
{
	struct segments s = { .at = auxv_value(auxv, len, AT_PHDR) };
	uint64_t count = auxv_value(auxv, len, AT_PHNUM);
	uint64_t size = auxv_value(auxv, len, AT_PHENT);

	if (!s.at || !count || count > PHDRS_MAX || size != sizeof(Elf64_Phdr))
		return -ENOENT;
	int r = read_segments(mem, &s, count);
	if (r < 0)
		return r;
	return s.dynamic ? find_debug_entry(mem, s.dynamic, ret) : -ENOENT;
}

int linkmap_find(const struct mem *mem, const void *auxv, size_t len, uint64_t *ret)
{
	uint64_t entry;
	int r = linkmap_find_entry(mem, auxv, len, &entry);
	return r < 0 ? r : mem_read_u64(mem, entry, ret);
}

int linkmap_namespace(const struct mem *mem, uint64_t rd, uint64_t *ret_first, uint64_t *ret_next)
{
	uint32_t version;
	uint64_t first, next = 0;

	int r = mem_read_u32(mem, rd, &version);
	if (r == 0)
		r = mem_read_u64(mem, rd + R_MAP, &first);
	/* The chain of namespaces came with version 2 of the structure (glibc 2.35). */
	if (r == 0 && version >= 2)
		r = mem_read_u64(mem, rd + R_NEXT, &next);
	if (r < 0)
		return r;
	if (version < 1)
		return -EINVAL;
	*ret_first = first;
	*ret_next = next;
	return 0;
}

int linkmap_read(const struct mem *mem, uint64_t lm, struct linkmap_object *ret)
{
	uint64_t fields[5]; /* l_addr l_name l_ld l_next l_prev */

	int r = mem_read(mem, lm, fields, sizeof(fields));
	if (r < 0)
		return r;
	ret->lm = lm;
	ret->addr = fields[0];
	ret->ld = fields[2];
	ret->next = fields[3];
	ret->prev = fields[4];
	if (!fields[1] || mem_read_cstr(mem, fields[1], ret->name, sizeof(ret->name)) < 0)
		ret->name[0] = 0;
	return 0;
}
