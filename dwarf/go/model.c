#include "dwarf/go/model.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "dwarf/go/internal.h"

enum {
	RUNTIME_GAP =
		512, /* so many functions of other packages in a row: the runtime's are behind us */
};

/* Sorted by name, in the order of enum rt_func. */
static const struct {
	const char *name;
	bool always; /* every program has it */
} rt_names[RT_FUNCS] = {
	[RT_ALLGADD] = { "allgadd", true },
	[RT_ASYNCPREEMPT] = { "asyncPreempt", true },
	[RT_CGOCALLBACK] = { "cgocallback", true },
	[RT_COROSTART] = { "corostart", false },
	[RT_FATAL] = { "fatal", false },
	[RT_FATALPANIC] = { "fatalpanic", true },
	[RT_FATALTHROW] = { "fatalthrow", true },
	[RT_GOEXIT] = { "goexit", true },
	[RT_HANDLEASYNCEVENT] = { "handleAsyncEvent", false },
	[RT_MAIN] = { "main", true },
	[RT_MALG] = { "malg", true },
	[RT_MCALL] = { "mcall", true },
	[RT_MORESTACK] = { "morestack", true },
	[RT_MORESTACK_NOCTXT] = { "morestack_noctxt", true },
	[RT_RUNCLEANUPS] = { "runCleanups", false },
	[RT_RUNFINALIZERS] = { "runFinalizers", false },
	[RT_RUNFINQ] = { "runfinq", false },
	[RT_SIGPANIC] = { "sigpanic", true },
	[RT_SIGRETURN] = { "sigreturn", false },
	[RT_SIGRETURN_SIGACTION] = { "sigreturn__sigaction", false },
	[RT_SIGTRAMP] = { "sigtramp", true },
	[RT_SYSTEMSTACK] = { "systemstack", true },
	[RT_THROW] = { "throw", true },
};

static const char *const fact_names[FACTS] = {
	[FACT_FUNCTIONS] = "functions",  [FACT_MODULE] = "module",  [FACT_RUNTIME] = "runtime code",
	[FACT_TYPES] = "type names",     [FACT_LAYOUT] = "layouts", [FACT_ALLGS] = "goroutines",
	[FACT_REASONS] = "wait reasons", [FACT_TLS] = "current g",
};

/* ---- facts ---- */

static void fact_set(struct go_model *m, enum fact_id id, enum fact_state state, const char *fmt,
		     va_list args)
{
	m->facts[id].state = state;
	vsnprintf(m->facts[id].how, sizeof(m->facts[id].how), fmt, args);
}

void fact_known(struct go_model *m, enum fact_id id, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fact_set(m, id, FACT_KNOWN, fmt, args);
	va_end(args);
}

void fact_later(struct go_model *m, enum fact_id id, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fact_set(m, id, FACT_LATER, fmt, args);
	va_end(args);
}

void fact_missing(struct go_model *m, enum fact_id id, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	fact_set(m, id, FACT_MISSING, fmt, args);
	va_end(args);
}

int fact_error(const struct go_model *m, enum fact_id id, struct err *err)
{
	return err_set(err, -ENODATA, "%s: %s", fact_names[id], m->facts[id].how);
}

/* ---- opening ---- */

int go_model_open(struct image *img, uint64_t bias, const struct mem *mem, struct go_model **ret,
		  struct err *err)
{
	struct go_buildinfo info;
	int r = go_buildinfo_read(img, &info);
	if (r < 0)
		return err_set(err, r, "cannot read the build information of '%s'",
			       image_name(img));
	if (!*info.version || image_machine(img) != EM_X86_64) {
		go_buildinfo_fini(&info);
		*ret = NULL;
		return 0;
	}

	struct go_model *m = calloc(1, sizeof(*m));
	if (!m) {
		go_buildinfo_fini(&info);
		return err_set(err, -ENOMEM, "no memory for the Go model of '%s'", image_name(img));
	}
	m->img = img;
	m->bias = bias;
	m->mem = mem;
	m->im = (struct image_mem){ .img = img, .bias = bias, .mem = mem };
	m->info = info;
	m->stop = 1;
	*ret = m;
	return 0;
}

int go_model_open_exe(const char *path, uint64_t at_entry, const struct mem *mem,
		      struct go_model **ret, struct err *err)
{
	_cleanup_(image_freep) struct image *img = NULL;
	struct go_model *m = NULL;

	int r = image_open(path, &img, err);
	if (r == 0)
		r = go_model_open(img, image_bias(img, at_entry), mem, &m, err);
	if (r < 0)
		return r;
	if (m) {
		m->owns_image = true;
		(void)take_ptr(img);
	}
	*ret = m;
	return 0;
}

struct go_model *go_model_free(struct go_model *m)
{
	if (!m)
		return NULL;
	go_buildinfo_fini(&m->info);
	free(m->by_name);
	free(m->pcs);
	free(m->type_pages);
	free(m->reasons);
	free(m->index.g);
	free(m->index.goid);
	free(m->index.slots);
	if (m->owns_image)
		image_free(m->img);
	free(m);
	return NULL;
}

void go_model_resumed(struct go_model *m)
{
	m->stop++;
	for (size_t i = 0; i < FACTS; i++)
		if (m->facts[i].state == FACT_LATER)
			m->facts[i].state = FACT_UNTRIED;
}

struct image *go_model_image(const struct go_model *m)
{
	return m->img;
}

uint64_t go_model_bias(const struct go_model *m)
{
	return m->bias;
}

const char *go_model_version(const struct go_model *m)
{
	return m->info.version;
}

unsigned go_model_minor(const struct go_model *m)
{
	return m->info.minor;
}

const char *go_model_build_setting(struct go_model *m, const char *key)
{
	return go_buildinfo_setting(&m->info, key, m->setting, sizeof(m->setting)) ? m->setting
										   : NULL;
}

bool go_model_ready(struct go_model *m, struct err *err)
{
	if (model_need_allgs(m))
		return true;
	/* The first thing that is missing is the reason; all behind it could not be tried. */
	for (size_t i = 0; i <= FACT_ALLGS; i++)
		if (m->facts[i].state != FACT_KNOWN && i != FACT_TYPES &&
		    m->facts[i].state != FACT_UNTRIED) {
			fact_error(m, i, err);
			return false;
		}
	fact_error(m, FACT_ALLGS, err);
	return false;
}

static bool is_dynamic(const struct go_model *m)
{
	const struct image_segment *segments;
	size_t count = image_segments(m->img, &segments);
	for (size_t i = 0; i < count; i++)
		if (segments[i].type == PT_INTERP)
			return true;
	return false;
}

void go_model_describe(struct go_model *m, struct buf *out)
{
	static const char *const keys[] = { "path",        "-buildmode", "-compiler",
					    "CGO_ENABLED", "-ldflags",   "-gcflags",
					    "-trimpath",   "-race",      "vcs.revision" };

	model_need_allgs(m);
	model_need_reasons(m);
	model_need_tls(m);
	buf_printf(out, "Go program: %s (%s)\n", image_name(m->img), m->info.version);
	buf_printf(out, "  linked: %s, %s%s\n",
		   image_type(m->img) == ET_DYN ? "position-independent" : "fixed address",
		   is_dynamic(m) ? "dynamic" : "static",
		   image_has_symtab(m->img) ? "" : ", stripped");
	if (m->bias)
		buf_printf(out, "  loaded at: +0x%llx\n", (unsigned long long)m->bias);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = go_model_build_setting(m, keys[i]);
		if (value && *value)
			buf_printf(out, "  %s: %s\n", keys[i], value);
	}
	for (size_t i = 0; i < FACTS; i++) {
		const struct fact *f = &m->facts[i];
		const char *word = f->state == FACT_KNOWN   ? ""
				   : f->state == FACT_LATER ? "not yet: "
				   : f->state == FACT_MISSING
					   ? "missing: "
					   : "not tried: something above is missing";
		buf_printf(out, "  %s: %s%s\n", fact_names[i], word,
			   f->state == FACT_UNTRIED ? "" : f->how);
	}
	if (m->unreadable)
		buf_printf(out, "  %zu goroutines could not be read and were left out\n",
			   m->unreadable);
}

/* ---- the runtime's own functions ---- */

const char *rt_name(enum rt_func f)
{
	return rt_names[f].name;
}

enum rt_func rt_at(const struct go_model *m, uint64_t entry)
{
	for (size_t i = 0; i < RT_FUNCS; i++)
		if (m->rt_entry[i] && m->rt_entry[i] == entry)
			return i;
	return RT_FUNCS;
}

static enum rt_func rt_named(const char *name)
{
	size_t low = 0;
	size_t high = RT_FUNCS;
	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = strcmp(name, rt_names[mid].name);
		if (order == 0)
			return mid;
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return RT_FUNCS;
}

struct rt_search {
	uint8_t ids[RT_FUNCS];
	bool is_asm[RT_FUNCS];
	size_t missing; /* of those every program has */
};

/*
 * Of two functions of one name one is the assembly body and the other a wrapper that changes the
 * calling convention. That also tells which funcID means "wrapper" in this release.
 */
static void rt_note(struct go_model *m, struct rt_search *s, enum rt_func rt,
		    const struct go_pcln_func *f)
{
	bool is_asm = f->flag & GO_FUNC_ASM;
	bool again = m->rt_entry[rt] != 0;

	if (again && is_asm != s->is_asm[rt])
		m->wrapper_id = is_asm ? s->ids[rt] : f->func_id;
	if (again && !is_asm)
		return;
	if (!again && rt_names[rt].always)
		s->missing--;
	m->rt_entry[rt] = f->entry + m->bias;
	s->ids[rt] = f->func_id;
	s->is_asm[rt] = is_asm;
}

static void rt_find(struct go_model *m)
{
	struct rt_search s = { .missing = 0 };
	size_t gap = 0;

	for (size_t i = 0; i < RT_FUNCS; i++)
		s.missing += rt_names[i].always;
	for (uint64_t i = 0; i < m->pcln.nfunc; i++) {
		struct go_pcln_func f;
		const char *name = NULL;
		if (go_pclntab_nth(&m->pcln, i, &f))
			name = go_pclntab_name(&m->pcln, f.name_off);
		if (!name || strncmp(name, "runtime.", 8) != 0) {
			if (!s.missing && ++gap > RUNTIME_GAP)
				break;
			continue;
		}
		gap = 0;
		enum rt_func rt = rt_named(name + 8);
		if (rt < RT_FUNCS)
			rt_note(m, &s, rt, &f);
	}
	if (!m->wrapper_id)
		m->wrapper_id = m->info.minor >= 26 ? 23 : m->info.minor >= 21 ? 22 : 21;

	if (m->rt_entry[RT_MAIN] && m->rt_entry[RT_ALLGADD])
		fact_known(m, FACT_RUNTIME, "by name, %s",
			   s.missing ? "some are missing" : "all that are needed");
	else
		fact_missing(m, FACT_RUNTIME,
			     "no runtime.main or runtime.allgadd among the functions: not the "
			     "main part of a Go program");
}

bool model_need_functions(struct go_model *m)
{
	if (m->facts[FACT_RUNTIME].state == FACT_UNTRIED &&
	    m->facts[FACT_FUNCTIONS].state == FACT_UNTRIED) {
		if (!go_pclntab_find(m->img, &m->pcln)) {
			fact_missing(m, FACT_FUNCTIONS,
				     "no function table (pclntab) of Go 1.18 or later in the file");
			return false;
		}
		fact_known(m, FACT_FUNCTIONS, "pclntab of form %x at 0x%llx, %llu functions",
			   m->pcln.magic, (unsigned long long)m->pcln.vaddr,
			   (unsigned long long)m->pcln.nfunc);
		if (!go_moduledata_find(&m->pcln, m->info.minor, &m->md)) {
			fact_missing(m, FACT_MODULE,
				     "nothing in the file points to the function table as "
				     "runtime.firstmoduledata does");
			return false;
		}
		m->pcln.text = m->md.text;
		m->pcln.gofunc = m->md.gofunc;
		fact_known(m, FACT_MODULE, "moduledata at 0x%llx%s; inlined calls: %s",
			   (unsigned long long)m->md.vaddr,
			   m->md.by_reloc ? ", by relocations" : "",
			   m->md.gofunc ? m->md.gofunc_from : "not known");
		rt_find(m);
	}
	return m->facts[FACT_RUNTIME].state == FACT_KNOWN;
}
