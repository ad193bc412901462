/*
 * The form of the file: sections and headers. A file of its own describes the program's sections without their bytes; what is
 * joined to the program keeps all that is there, section headers included, and adds to them.
 */
#include <errno.h>
#include <stdlib.h>
#include "dwarf/go/symfile_internal.h"

enum { SECTIONS_MAX = 512, OWN_SECTIONS = 12 };

struct out_section {
	Elf64_Shdr header;
	const char *name;
	const void *data; /* NULL: nothing of ours in the file */
	bool kept;        /* the program's own, as it is */
	int same_as;      /* shares the bytes of this section; 0: none */
};

struct symfile_sections {
	struct out_section list[SECTIONS_MAX];
	size_t count;
	bool joined;
	const uint8_t *old_names; /* of the kept ones */
	uint64_t old_names_len;
	uint8_t note[64]; /* a build id that has no section */
};

static struct out_section *add(struct symfile_sections *l, const char *name, uint32_t type)
{
	struct out_section *o = &l->list[l->count++];
	*o = (struct out_section){ .name = name };
	o->header.sh_type = type;
	o->header.sh_addralign = 1;
	return o;
}

/* The program's loaded sections as they are, without their bytes but for notes. */
static void add_loaded(struct symfile_sections *l, struct image *img)
{
	const struct image_section *sections;
	size_t count = image_sections(img, &sections);

	for (size_t i = 0; i < count && l->count < SECTIONS_MAX - OWN_SECTIONS; i++) {
		const struct image_section *in = &sections[i];
		if (!(in->flags & SHF_ALLOC) || in->type == SHT_NULL)
			continue;
		const void *data = in->type == SHT_NOTE ? image_section_bytes(img, in) : NULL;
		struct out_section *o = add(l, in->name, data ? SHT_NOTE : SHT_NOBITS);
		o->data = data;
		o->header.sh_flags = in->flags & ~(uint64_t)SHF_INFO_LINK;
		o->header.sh_addr = in->addr;
		o->header.sh_size = in->size;
		o->header.sh_addralign = data ? 4 : 1;
	}
}

static bool file_header(struct image *img, Elf64_Ehdr *ret)
{
	const uint8_t *raw = image_bytes(img, 0, sizeof(*ret));
	if (raw)
		memcpy(ret, raw, sizeof(*ret));
	return raw;
}

/* All of the program's sections, with the numbers and offsets they have. False: its section headers cannot be kept. */
static bool keep_all(struct symfile_sections *l, struct image *img)
{
	const struct image_section *sections;
	size_t count = image_sections(img, &sections);
	Elf64_Ehdr eh;

	if (!count || count > SECTIONS_MAX - OWN_SECTIONS || !file_header(img, &eh) ||
	    eh.e_shnum != count || eh.e_shstrndx >= count)
		return false;
	const uint8_t *raw = image_bytes(img, eh.e_shoff, count * sizeof(Elf64_Shdr));
	const uint8_t *names = image_section_bytes(img, &sections[eh.e_shstrndx]);
	if (!raw || !names || sections[eh.e_shstrndx].size > GO_SYMFILE_MAX / 4)
		return false;
	for (size_t i = 0; i < count; i++) {
		struct out_section *o = add(l, sections[i].name, sections[i].type);
		memcpy(&o->header, raw + i * sizeof(Elf64_Shdr), sizeof(o->header));
		o->kept = true;
	}
	l->old_names = names;
	l->old_names_len = sections[eh.e_shstrndx].size;
	return true;
}

static bool has_section(const struct symfile_sections *l, const char *name)
{
	for (size_t i = 1; i < l->count; i++)
		if (strcmp(l->list[i].name, name) == 0)
			return true;
	return false;
}

static void add_text(struct symfile_sections *l, const struct symfile *s)
{
	const struct image_segment *at = image_segment_at(s->t->img, s->m->md.text);
	uint64_t size = s->m->md.etext - s->m->md.text;
	struct out_section *o = add(l, ".text", SHT_NOBITS);

	o->header.sh_flags = SHF_ALLOC | SHF_EXECINSTR;
	o->header.sh_addr = s->m->md.text;
	o->header.sh_size = size;
	if (l->joined && at && image_at_left(s->t->img, s->m->md.text) >= size) {
		o->header.sh_type = SHT_PROGBITS;
		o->header.sh_offset = at->offset + (s->m->md.text - at->vaddr);
		o->kept = true;
	}
}

/* What a program without section headers lacks. */
static void add_missing(struct symfile_sections *l, const struct symfile *s)
{
	size_t len;
	const uint8_t *id = image_build_id(s->t->img, &len);

	if (!has_section(l, ".text"))
		add_text(l, s);
	if (id && len <= sizeof(l->note) - 16 && !has_section(l, ".note.gnu.build-id")) {
		const uint32_t head[] = { 4, (uint32_t)len, NT_GNU_BUILD_ID };
		memcpy(l->note, head, sizeof(head));
		memcpy(l->note + 12, "GNU", 4);
		memcpy(l->note + 16, id, len);
		struct out_section *o = add(l, ".note.gnu.build-id", SHT_NOTE);
		o->data = l->note;
		o->header.sh_size = 16 + len;
		o->header.sh_addralign = 4;
	}
}

/* Symbols belong to the section that holds them, so that they move with it when the program is loaded elsewhere. */
static uint16_t text_section(const struct symfile_sections *l, uint64_t addr)
{
	for (size_t i = 1; i < l->count; i++) {
		const Elf64_Shdr *h = &l->list[i].header;
		if ((h->sh_flags & SHF_EXECINSTR) && addr >= h->sh_addr &&
		    addr - h->sh_addr < h->sh_size)
			return (uint16_t)i;
	}
	return SHN_ABS;
}

int symfile_sections_new(struct symfile *s, bool joined, struct symfile_sections **ret)
{
	struct symfile_sections *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->joined = joined;
	if (!joined || !keep_all(l, s->t->img)) {
		add(l, "", SHT_NULL)->header.sh_addralign = 0;
		if (!joined)
			add_loaded(l, s->t->img);
	}
	add_missing(l, s);
	s->text_index = text_section(l, s->m->md.minpc);
	*ret = l;
	return 0;
}

static void add_buf(struct symfile_sections *l, const char *name, const struct buf *b)
{
	struct out_section *o = add(l, name, SHT_PROGBITS);
	o->data = b->data;
	o->header.sh_size = b->len;
}

static void add_symbols(struct symfile_sections *l, const struct symfile *s)
{
	size_t strtab = l->count + 1;
	struct out_section *o = add(l, ".symtab", SHT_SYMTAB);

	o->data = s->symtab.data;
	o->header.sh_size = s->symtab.len;
	o->header.sh_entsize = sizeof(Elf64_Sym);
	o->header.sh_addralign = 8;
	o->header.sh_link = (uint32_t)strtab;
	o->header.sh_info = 1; /* all but the first are global */
	o = add(l, ".strtab", SHT_STRTAB);
	o->data = s->strings.data;
	o->header.sh_size = s->strings.len;
}

static void add_own(struct symfile_sections *l, const struct symfile *s)
{
	/* A file has one symbol table; a program that was linked without debug information alone has a better one. */
	if (has_section(l, ".symtab")) {
		add_buf(l, ".debug_str", &s->strings);
	} else {
		add_symbols(l, s);
		int strtab = (int)l->count - 1;
		add(l, ".debug_str", SHT_PROGBITS)->same_as = strtab;
	}
	add_buf(l, ".debug_abbrev", &s->abbrev);
	add_buf(l, ".debug_info", &s->info);
	add_buf(l, ".debug_line", &s->line);
	add_buf(l, ".debug_ranges", &s->ranges);
	add_buf(l, ".debug_frame", &s->frame);
	l->list[l->count - 1].header.sh_addralign = 8;
}

static void put_aligned(struct buf *out, uint64_t align)
{
	while (align > 1 && out->len % align != 0 && !buf_error(out))
		put_u8(out, 0);
}

/* Names of all sections; fills in where each is. */
static int put_names(struct symfile_sections *l, struct buf *names)
{
	struct out_section *own = add(l, ".shstrtab", SHT_STRTAB);

	if (l->old_names)
		buf_put(names, l->old_names, l->old_names_len);
	put_u8(names, 0);
	for (size_t i = 1; i < l->count; i++) {
		if (l->list[i].kept && l->old_names)
			continue;
		l->list[i].header.sh_name = (uint32_t)names->len;
		buf_put(names, l->list[i].name, strlen(l->list[i].name) + 1);
	}
	own->data = names->data;
	own->header.sh_size = names->len;
	return buf_error(names);
}

/* Sections and their headers; base: where in the file out begins. */
static void put_sections(struct symfile_sections *l, uint64_t base, struct buf *out, Elf64_Ehdr *eh)
{
	for (size_t i = 1; i < l->count; i++) {
		struct out_section *o = &l->list[i];
		if (o->kept)
			continue;
		if (o->same_as) {
			o->header.sh_offset = l->list[o->same_as].header.sh_offset;
			o->header.sh_size = l->list[o->same_as].header.sh_size;
			continue;
		}
		put_aligned(out, o->header.sh_addralign);
		o->header.sh_offset = base + out->len;
		if (o->data)
			buf_put(out, o->data, o->header.sh_size);
	}
	put_aligned(out, 8);
	eh->e_shoff = base + out->len;
	eh->e_shentsize = sizeof(Elf64_Shdr);
	eh->e_shnum = (uint16_t)l->count;
	eh->e_shstrndx = (uint16_t)(l->count - 1);
	for (size_t i = 0; i < l->count; i++)
		buf_put(out, &l->list[i].header, sizeof(Elf64_Shdr));
}

/* A file of its own begins with the program's headers: a debugger compares them with memory to learn where it was loaded. */
static void put_headers(struct image *img, Elf64_Ehdr *eh, struct buf *out)
{
	uint64_t ph_size = (uint64_t)eh->e_phnum * eh->e_phentsize;
	const uint8_t *phdrs = image_bytes(img, eh->e_phoff, ph_size);

	buf_put(out, eh, sizeof(*eh));
	if (phdrs)
		buf_put(out, phdrs, ph_size);
	eh->e_phoff = phdrs ? sizeof(*eh) : 0;
	eh->e_phnum = phdrs ? eh->e_phnum : 0;
}

int symfile_write(struct symfile *s, struct symfile_sections *l, struct buf *out,
		  struct go_symfile_join *join)
{
	_cleanup_buf_ struct buf names = { 0 };
	struct image *img = s->t->img;
	uint64_t base = join ? (image_size(img) + 7) & ~UINT64_C(7) : 0;
	Elf64_Ehdr eh;

	if (!file_header(img, &eh))
		return -EIO;
	add_own(l, s);
	buf_init(&names, GO_SYMFILE_MAX / 2);
	int r = put_names(l, &names);
	if (r < 0)
		return r;
	if (!join)
		put_headers(img, &eh, out);
	put_sections(l, base, out, &eh);
	r = buf_error(out);
	if (r < 0)
		return r;
	if (join) {
		join->at = base;
		memcpy(join->header, &eh, sizeof(eh));
	} else {
		memcpy(out->data, &eh, sizeof(eh));
	}
	return 0;
}
