#include "dwarf/image.h"

#include <errno.h>
#include <string.h>
#include "dwarf/image_internal.h"

#include <stdlib.h>

enum { SYMBOLS_MAX = 1 << 26 };

static uint32_t name_hash(const char *name)
{
	uint32_t h = 2166136261u;
	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h;
}

static void table_read(struct image *img, uint32_t type, struct image_symtab *ret)
{
	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];
		if (s->type != type || s->link >= img->n_sections)
			continue;
		if (s->entsize != sizeof(Elf64_Sym) || (s->offset & 7))
			continue;
		const struct image_section *str = &img->sections[s->link];
		const uint8_t *syms = image_section_bytes(img, s);
		const uint8_t *names = image_section_bytes(img, str);
		/* The table must end in a NUL, so that every name in it does. */
		if (!syms || !names || !str->size || names[str->size - 1] != 0)
			continue;
		/* image_of_bytes() may be given data of any alignment. */
		if ((uintptr_t)syms % _Alignof(Elf64_Sym) != 0)
			continue;
		size_t count = s->size / sizeof(Elf64_Sym);
		if (count > SYMBOLS_MAX)
			continue;
		*ret = (struct image_symtab){
			.syms = (const Elf64_Sym *)syms,
			.names = (const char *)names,
			.count = count,
			.names_size = str->size,
		};
		return;
	}
}

/* Both tables laid end to end. */
static const Elf64_Sym *symbol_nth(const struct image *img, size_t n, const char **ret_name)
{
	const struct image_symtab *t = &img->symtab[0];
	if (n >= t->count) {
		n -= t->count;
		t++;
	}
	const Elf64_Sym *sym = &t->syms[n];
	*ret_name = sym->st_name < t->names_size ? t->names + sym->st_name : "";
	return sym;
}

static bool symbol_wanted(const Elf64_Sym *sym)
{
	unsigned type = ELF64_ST_TYPE(sym->st_info);
	return sym->st_shndx != SHN_UNDEF && type != STT_FILE && type != STT_SECTION;
}

static struct image_symbol symbol_of(const Elf64_Sym *sym, const char *name)
{
	return (struct image_symbol){
		.name = name,
		.value = sym->st_value,
		.size = sym->st_size,
		.type = ELF64_ST_TYPE(sym->st_info),
		.bind = ELF64_ST_BIND(sym->st_info),
		.shndx = sym->st_shndx,
	};
}

static void symbols_read(struct image *img)
{
	if (img->symbols_read)
		return;
	img->symbols_read = true;

	table_read(img, SHT_SYMTAB, &img->symtab[0]);
	table_read(img, SHT_DYNSYM, &img->symtab[1]);
	size_t count = img->symtab[0].count + img->symtab[1].count;
	if (!count)
		return;
	img->n_buckets = count;
	img->buckets = calloc(count, sizeof(*img->buckets));
	img->chain = calloc(count, sizeof(*img->chain));
	if (!img->buckets || !img->chain) {
		img->n_buckets = 0;
		return;
	}
	/* From the end, so that a chain yields .symtab and what comes first in it first. */
	for (size_t i = count; i-- > 0;) {
		const char *name;
		const Elf64_Sym *sym = symbol_nth(img, i, &name);
		if (!symbol_wanted(sym) || !*name)
			continue;
		uint32_t *bucket = &img->buckets[name_hash(name) % count];
		img->chain[i] = *bucket;
		*bucket = (uint32_t)i + 1;
	}
}

struct image_symbol image_symbol(struct image *img, const char *name)
{
	symbols_read(img);
	if (!img->n_buckets)
		return (struct image_symbol){ 0 };

	/* A chain has no cycles: every link goes to a later symbol. */
	for (uint32_t i = img->buckets[name_hash(name) % img->n_buckets]; i;
	     i = img->chain[i - 1]) {
		const char *have;
		const Elf64_Sym *sym = symbol_nth(img, i - 1, &have);
		if (strcmp(have, name) == 0)
			return symbol_of(sym, have);
	}
	return (struct image_symbol){ 0 };
}

static int by_value(const void *a, const void *b, void *ctx)
{
	const char *name;
	const Elf64_Sym *x = symbol_nth(ctx, *(const uint32_t *)a, &name);
	const Elf64_Sym *y = symbol_nth(ctx, *(const uint32_t *)b, &name);
	if (x->st_value != y->st_value)
		return x->st_value < y->st_value ? -1 : 1;
	/* Of several at one place the sized one is the better answer: sort it last. */
	return (x->st_size > y->st_size) - (x->st_size < y->st_size);
}

static void index_by_addr(struct image *img)
{
	symbols_read(img);
	size_t count = img->symtab[0].count + img->symtab[1].count;
	if (img->by_addr || !count)
		return;
	img->by_addr = calloc(count, sizeof(*img->by_addr));
	if (!img->by_addr)
		return;
	for (size_t i = 0; i < count; i++) {
		const char *name;
		const Elf64_Sym *sym = symbol_nth(img, i, &name);
		unsigned type = ELF64_ST_TYPE(sym->st_info);
		if (!symbol_wanted(sym) || !*name || sym->st_shndx == SHN_ABS || type == STT_TLS ||
		    (type > STT_FUNC && type != STT_GNU_IFUNC))
			continue;
		img->by_addr[img->n_by_addr++] = (uint32_t)i;
	}
	qsort_r(img->by_addr, img->n_by_addr, sizeof(*img->by_addr), by_value, img);
}

struct image_symbol image_symbol_at(struct image *img, uint64_t vaddr)
{
	const char *name;

	index_by_addr(img);
	size_t low = 0;
	size_t high = img->n_by_addr;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (symbol_nth(img, img->by_addr[mid], &name)->st_value <= vaddr)
			low = mid + 1;
		else
			high = mid;
	}
	if (!low)
		return (struct image_symbol){ 0 };

	const Elf64_Sym *sym = symbol_nth(img, img->by_addr[low - 1], &name);
	if (sym->st_size && vaddr - sym->st_value >= sym->st_size)
		return (struct image_symbol){ 0 };
	if (!sym->st_size && sym->st_shndx < img->n_sections) {
		const struct image_section *s = &img->sections[sym->st_shndx];
		if (vaddr < s->addr || vaddr - s->addr >= s->size)
			return (struct image_symbol){ 0 };
	}
	return symbol_of(sym, name);
}

bool image_has_symtab(const struct image *img)
{
	for (size_t i = 0; i < img->n_sections; i++)
		if (img->sections[i].type == SHT_SYMTAB)
			return true;
	return false;
}
