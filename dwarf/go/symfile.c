#include "dwarf/go/symfile.h"

#include <errno.h>
#include <stdlib.h>
#include "dwarf/go/symfile_internal.h"

enum { SECTIONS_MAX = 512, UNIT_FUNCS_MAX = 4096, PACKAGE_MAX = 256, OWN_SECTIONS = 9 };

/* Far more than any program takes (a big one takes about one and a half entries a byte), and a few seconds. */
enum { WORK_PER_BYTE = 32, WORK_MIN = 1 << 20 };

static const char producer[] = "stopgo, from the program's function table";

/* ---- names ---- */

uint32_t symfile_name(const struct symfile *s, const struct go_pcln_func *f)
{
	/*
	 * gdb knows the end of a signal handler by a name with "sigaction" in it (glibc-tdep's convention), as Go 1.22 and later
	 * have it; Go 1.19's is told the same way.
	 */
	if (f->entry + s->m->bias == s->m->rt_entry[RT_SIGRETURN])
		return s->sigreturn_name;
	return f->name_off + 1;
}

bool symfile_func(struct symfile *s, uint64_t n, struct go_pcln_func *ret)
{
	if (s->work > s->work_max || !go_pclntab_nth(s->t, n, ret) || ret->end <= ret->entry)
		return false;
	s->work += go_pclntab_trim(s->t, ret);
	return true;
}

static bool strings_init(struct symfile *s)
{
	uint64_t size = s->t->cu - s->t->funcname;
	const uint8_t *names = image_bytes(s->t->img, s->t->offset + s->t->funcname, size);

	if (!names || s->t->cu > s->t->size || size > GO_SYMFILE_MAX / 4)
		return false;
	put_u8(&s->strings, 0);
	buf_put(&s->strings, names, size);
	put_u8(&s->strings, 0); /* a damaged table may end in the middle of a name */
	s->producer_name = (uint32_t)s->strings.len;
	buf_put(&s->strings, producer, sizeof(producer));
	s->sigreturn_name = (uint32_t)s->strings.len;
	buf_put(&s->strings, "runtime.sigreturn__sigaction",
		sizeof("runtime.sigreturn__sigaction"));
	return buf_error(&s->strings) == 0;
}

/* How much of a function's name is its package: "net/http" of "net/http.(*Server).Serve". */
static size_t package_len(const char *name)
{
	const char *bracket = strchr(name, '[');
	size_t end = bracket ? (size_t)(bracket - name) : strlen(name);
	size_t slash = 0;

	for (size_t i = 0; i < end; i++)
		if (name[i] == '/')
			slash = i;
	for (size_t i = slash; i < end; i++)
		if (name[i] == '.')
			return MIN(i, (size_t)PACKAGE_MAX);
	return MIN(end, (size_t)PACKAGE_MAX);
}

/* ---- symbols and units ---- */

static void put_symbol(struct symfile *s, const struct go_pcln_func *f)
{
	Elf64_Sym sym = {
		.st_name = symfile_name(s, f),
		.st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
		.st_shndx = s->text_index,
		.st_value = f->entry,
		.st_size = f->end - f->entry,
	};
	buf_put(&s->symtab, &sym, sizeof(sym));
}

/* The next stretch of functions of one package. */
static bool unit_next(struct symfile *s, uint64_t from, struct unit *ret)
{
	const char *package = NULL;
	size_t len = 0;
	struct go_pcln_func f;

	*ret = (struct unit){ .first = from };
	for (uint64_t i = from; i < s->t->nfunc && ret->count < UNIT_FUNCS_MAX; i++) {
		const char *name = NULL;
		if (go_pclntab_nth(s->t, i, &f))
			name = go_pclntab_name(s->t, f.name_off);
		if (!name)
			name = "";
		if (!package) {
			package = name;
			len = package_len(name);
			ret->low = f.entry;
		} else if (package_len(name) != len || memcmp(name, package, len) != 0) {
			break;
		}
		ret->high = f.end;
		ret->count++;
	}
	if (!ret->count)
		return false;
	ret->name = (uint32_t)s->strings.len;
	buf_put(&s->strings, package, len);
	put_u8(&s->strings, 0);
	return true;
}

static int fill(struct symfile *s)
{
	Elf64_Sym none = { 0 };
	struct unit u;

	buf_put(&s->symtab, &none, sizeof(none));
	symfile_abbrevs(s);
	symfile_frame_start(s);
	for (uint64_t at = 0; unit_next(s, at, &u); at += u.count) {
		int r = symfile_info(s, &u, (uint32_t)s->line.len);
		if (r < 0)
			return r;
		if (s->work > s->work_max)
			return -EBADMSG;
		symfile_line(s, &u);
		for (uint64_t i = 0; i < u.count; i++) {
			struct go_pcln_func f;
			if (!symfile_func(s, u.first + i, &f))
				continue;
			put_symbol(s, &f);
			symfile_frame(s, &f);
		}
	}
	return 0;
}

/* ---- the file ---- */

struct out_section {
	Elf64_Shdr header;
	const char *name;
	const void *data; /* NULL: nothing in the file */
	int same_as;      /* shares the bytes of this section; 0: none */
};

struct layout {
	struct out_section list[SECTIONS_MAX];
	size_t count;
	uint8_t note[64]; /* a build id that has no section */
};

static struct out_section *add(struct layout *l, const char *name, uint32_t type)
{
	struct out_section *o = &l->list[l->count++];
	*o = (struct out_section){ .name = name };
	o->header.sh_type = type;
	o->header.sh_addralign = 1;
	return o;
}

/* The program's loaded sections as they are, without their bytes but for notes. */
static void add_loaded(struct layout *l, struct image *img)
{
	const struct image_section *sections;
	size_t count = image_sections(img, &sections);

	for (size_t i = 0; i < count && l->count < SECTIONS_MAX - OWN_SECTIONS - 2; i++) {
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

static bool has_section(const struct layout *l, const char *name)
{
	for (size_t i = 1; i < l->count; i++)
		if (strcmp(l->list[i].name, name) == 0)
			return true;
	return false;
}

/* What a program without section headers lacks. */
static void add_missing(struct layout *l, const struct symfile *s)
{
	size_t len;
	const uint8_t *id = image_build_id(s->t->img, &len);

	if (!has_section(l, ".text")) {
		struct out_section *o = add(l, ".text", SHT_NOBITS);
		o->header.sh_flags = SHF_ALLOC | SHF_EXECINSTR;
		o->header.sh_addr = s->m->md.text;
		o->header.sh_size = s->m->md.etext - s->m->md.text;
	}
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
static uint16_t text_section(const struct layout *l, uint64_t addr)
{
	for (size_t i = 1; i < l->count; i++) {
		const Elf64_Shdr *h = &l->list[i].header;
		if ((h->sh_flags & SHF_EXECINSTR) && addr >= h->sh_addr &&
		    addr - h->sh_addr < h->sh_size)
			return (uint16_t)i;
	}
	return SHN_ABS;
}

static void add_buf(struct layout *l, const char *name, const struct buf *b)
{
	struct out_section *o = add(l, name, SHT_PROGBITS);
	o->data = b->data;
	o->header.sh_size = b->len;
}

static void add_own(struct layout *l, const struct symfile *s)
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
	o = add(l, ".debug_str", SHT_PROGBITS);
	o->same_as = (int)strtab;
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

static int write_file(struct symfile *s, struct layout *l, struct buf *out)
{
	const uint8_t *raw = image_bytes(s->t->img, 0, sizeof(Elf64_Ehdr));
	struct buf names;
	Elf64_Ehdr eh;

	if (!raw)
		return -EIO;
	memcpy(&eh, raw, sizeof(eh));
	uint64_t ph_size = (uint64_t)eh.e_phnum * eh.e_phentsize;
	const uint8_t *phdrs = image_bytes(s->t->img, eh.e_phoff, ph_size);
	put_aligned(out, 8);
	buf_put(out, &eh, sizeof(eh));
	/* A debugger compares these with what is in memory to learn where the program was loaded. */
	if (phdrs)
		buf_put(out, phdrs, ph_size);

	buf_init(&names, 1 << 20);
	put_u8(&names, 0);
	struct out_section *own = add(l, ".shstrtab", SHT_STRTAB);
	for (size_t i = 1; i < l->count; i++) {
		l->list[i].header.sh_name = (uint32_t)names.len;
		buf_put(&names, l->list[i].name, strlen(l->list[i].name) + 1);
	}
	own->data = names.data;
	own->header.sh_size = names.len;
	for (size_t i = 1; i < l->count; i++) {
		struct out_section *o = &l->list[i];
		if (o->same_as) {
			o->header.sh_offset = l->list[o->same_as].header.sh_offset;
			o->header.sh_size = l->list[o->same_as].header.sh_size;
			continue;
		}
		put_aligned(out, o->header.sh_addralign);
		o->header.sh_offset = out->len;
		if (o->data)
			buf_put(out, o->data, o->header.sh_size);
	}
	put_aligned(out, 8);
	eh.e_phoff = phdrs ? sizeof(eh) : 0;
	eh.e_phnum = phdrs ? eh.e_phnum : 0;
	eh.e_shoff = out->len;
	eh.e_shentsize = sizeof(Elf64_Shdr);
	eh.e_shnum = (uint16_t)l->count;
	eh.e_shstrndx = (uint16_t)(l->count - 1);
	for (size_t i = 0; i < l->count; i++)
		buf_put(out, &l->list[i].header, sizeof(Elf64_Shdr));
	int r = buf_error(&names) ? buf_error(&names) : buf_error(out);
	if (r == 0)
		memcpy(out->data, &eh, sizeof(eh));
	buf_fini(&names);
	return r;
}

static void symfile_fini(struct symfile *s)
{
	buf_fini(&s->strings);
	buf_fini(&s->symtab);
	buf_fini(&s->info);
	buf_fini(&s->abbrev);
	buf_fini(&s->line);
	buf_fini(&s->ranges);
	buf_fini(&s->frame);
	files_fini(&s->files);
	free(s->abstracts.name_off);
	free(s->abstracts.entry);
}

static int symfile_error(const struct symfile *s)
{
	const struct buf *all[] = { &s->strings, &s->symtab, &s->info, &s->abbrev,
				    &s->line,    &s->ranges, &s->frame };
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (buf_error(all[i]))
			return buf_error(all[i]);
	return 0;
}

int go_symfile_build(struct go_model *m, struct buf *ret, struct err *err)
{
	_cleanup_(symfile_fini) struct symfile s = { .m = m, .t = &m->pcln };
	s.work_max = WORK_PER_BYTE * image_size(m->img) + WORK_MIN;
	_cleanup_free_ struct layout *l = calloc(1, sizeof(*l));

	buf_init(ret, GO_SYMFILE_MAX);
	buf_init(&s.strings, GO_SYMFILE_MAX);
	buf_init(&s.symtab, GO_SYMFILE_MAX);
	buf_init(&s.info, GO_SYMFILE_MAX);
	buf_init(&s.abbrev, 1 << 16);
	buf_init(&s.line, GO_SYMFILE_MAX);
	buf_init(&s.ranges, GO_SYMFILE_MAX);
	buf_init(&s.frame, GO_SYMFILE_MAX);
	if (!l)
		return err_set(err, -ENOMEM, "no memory for a symbol file");
	if (!model_need_functions(m)) {
		enum fact_id why =
			m->facts[FACT_FUNCTIONS].state == FACT_KNOWN ? FACT_MODULE : FACT_FUNCTIONS;
		return fact_error(m, why, err);
	}
	if (!strings_init(&s))
		return err_set(err, -ENODATA, "the table of function names is cut short");

	add(l, "", SHT_NULL)->header.sh_addralign = 0;
	add_loaded(l, m->img);
	add_missing(l, &s);
	s.text_index = text_section(l, m->md.minpc);
	int r = fill(&s);
	if (r == 0)
		r = symfile_error(&s);
	if (r == 0) {
		add_own(l, &s);
		r = write_file(&s, l, ret);
	}
	if (r < 0)
		return err_set(err, r, "cannot make a symbol file for '%s'", image_name(m->img));
	return 0;
}
