#include "dwarf/go/symfile.h"

#include <errno.h>
#include <stdlib.h>
#include "dwarf/go/symfile_internal.h"

enum { UNIT_FUNCS_MAX = 4096, PACKAGE_MAX = 256 };

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

/* ---- the whole ---- */

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

static void symfile_init(struct symfile *s, struct go_model *m)
{
	*s = (struct symfile){ .m = m, .t = &m->pcln };
	s->work_max = WORK_PER_BYTE * image_size(m->img) + WORK_MIN;
	buf_init(&s->strings, GO_SYMFILE_MAX);
	buf_init(&s->symtab, GO_SYMFILE_MAX);
	buf_init(&s->info, GO_SYMFILE_MAX);
	buf_init(&s->abbrev, 1 << 16);
	buf_init(&s->line, GO_SYMFILE_MAX);
	buf_init(&s->ranges, GO_SYMFILE_MAX);
	buf_init(&s->frame, GO_SYMFILE_MAX);
}

/* All but the file's own form; join NULL: a file of its own. */
static int build(struct go_model *m, struct buf *out, struct go_symfile_join *join, struct err *err)
{
	_cleanup_(symfile_fini) struct symfile s;
	_cleanup_free_ struct symfile_sections *l = NULL;

	symfile_init(&s, m);
	buf_init(out, GO_SYMFILE_MAX);
	if (!model_need_functions(m)) {
		enum fact_id why =
			m->facts[FACT_FUNCTIONS].state == FACT_KNOWN ? FACT_MODULE : FACT_FUNCTIONS;
		return fact_error(m, why, err);
	}
	if (!strings_init(&s))
		return err_set(err, -ENODATA, "the table of function names is cut short");

	int r = symfile_sections_new(&s, join != NULL, &l);
	if (r == 0)
		r = fill(&s);
	if (r == 0)
		r = symfile_error(&s);
	if (r == 0)
		r = symfile_write(&s, l, out, join);
	if (r < 0)
		return err_set(err, r, "cannot make a symbol file for '%s'", image_name(m->img));
	return 0;
}

int go_symfile_build(struct go_model *m, struct buf *ret, struct err *err)
{
	return build(m, ret, NULL, err);
}

int go_symfile_join(struct go_model *m, struct go_symfile_join *ret, struct err *err)
{
	*ret = (struct go_symfile_join){ 0 };
	return build(m, &ret->tail, ret, err);
}

bool go_symfile_is_needed(struct go_model *m)
{
	return !image_section(m->img, ".debug_info") && !image_section(m->img, ".zdebug_info");
}
