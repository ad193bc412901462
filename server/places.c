#include "server/places.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/expr.h"
#include "server/gview.h"
#include "server/inferior.h"
#include "server/values.h"
#include "target/ax.h"

enum { CANDIDATES_MAX = 64, TEXT_MAX = 1024, NAME_LEN_MAX = 1024 };

static struct go_model *model_of(struct inferior *inf)
{
	struct gview *gv = inferior_is_go(inf) ? threadview_goroutines(inf->view, NULL) : NULL;
	return gv ? gview_model(gv) : NULL;
}

/* --- places --- */

void places_fini(struct places *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->at[i].text);
	free(p->at);
	*p = (struct places){ 0 };
}

struct finder {
	struct inferior *inf;
	struct go_model *go;
	struct places *into;
	bool full; /* there are more than PLACES_FOUND_MAX, or no memory */
};

static void put_line(struct buf *out, const char *file, unsigned line)
{
	if (file)
		buf_printf(out, " at %s:%u", file, line);
}

static bool describe_go(struct go_model *m, uint64_t addr, struct buf *out)
{
	struct go_line at = m ? go_line_at(m, addr) : (struct go_line){ 0 };

	if (!at.function)
		return false;
	buf_puts(out, at.function);
	put_line(out, at.file, at.line);
	return true;
}

static void describe(struct go_model *m, struct debuginfo *di, uint64_t addr, struct buf *out)
{
	if (describe_go(m, addr, out))
		return;
	struct di_place at = di ? debuginfo_at(di, addr) : (struct di_place){ 0 };
	if (!at.function) {
		buf_printf(out, "0x%" PRIx64, addr);
		return;
	}
	buf_puts(out, at.function);
	if (!at.file && addr > at.low)
		buf_printf(out, "+%" PRIu64, addr - at.low);
	put_line(out, at.file, (unsigned)MAX(at.line, 0));
}

void places_describe(struct inferior *inf, uint64_t addr, struct buf *out)
{
	images_update(inf);
	describe(model_of(inf), images_at(inf, addr), addr, out);
}

/* False: no more can be taken. */
static bool add(struct finder *f, const struct place *one)
{
	_cleanup_buf_ struct buf text = { 0 };

	for (size_t i = 0; i < f->into->count; i++)
		if (f->into->at[i].addr == one->addr)
			return true;
	struct place *at = f->into->count < PLACES_FOUND_MAX
				   ? reallocarray(f->into->at, f->into->count + 1, sizeof(*at))
				   : NULL;
	f->full = !at;
	if (!at)
		return false;
	f->into->at = at;
	at += f->into->count;
	*at = *one;
	buf_init(&text, TEXT_MAX);
	describe(one->go, one->di, one->addr, &text);
	const char *words = buf_cstr(&text);
	at->text = strdup(words ? words : "");
	f->full = !at->text;
	if (at->text)
		f->into->count++;
	return at->text;
}

static bool add_go(void *ctx, uint64_t pc)
{
	struct finder *f = ctx;
	struct go_func func = go_func_at(f->go, pc);

	return add(f, &(struct place){ .addr = pc,
				       .inlined = go_line_at(f->go, pc).inlined,
				       .entry = func.entry,
				       .end = func.end,
				       .di = images_at(f->inf, pc),
				       .go = f->go });
}

static bool add_di(void *ctx, const struct di_place *at)
{
	struct finder *f = ctx;

	return add(f, &(struct place){ .addr = at->addr,
				       .entry = at->low,
				       .end = at->end,
				       .inlined = at->inlined,
				       .di = images_at(f->inf, at->addr) });
}

/* --- functions of Go --- */

/* The name without the arguments of generic types and functions: "main.(*box[...]).get" is main.(*box).get. */
static size_t bare_name(const char *name, char *into, size_t size)
{
	unsigned depth = 0;
	size_t len = 0;

	for (; *name && len + 1 < size; name++) {
		depth += *name == '[';
		if (!depth)
			into[len++] = *name;
		if (*name == ']' && depth)
			depth--;
	}
	into[len] = 0;
	return len;
}

enum fit { FIT_NOT, FIT_END, FIT_PACKAGE, FIT_WHOLE };

/* "net/http.(*conn).serve" is also "http.(*conn).serve" and "(*conn).serve". */
static enum fit name_fit(const char *name, const char *wanted, size_t wanted_len)
{
	char bare[NAME_LEN_MAX];
	size_t len = strlen(name);

	if (strchr(name, '[') && !strchr(wanted, '[')) {
		len = bare_name(name, bare, sizeof(bare));
		name = bare;
	}
	if (len < wanted_len || memcmp(name + len - wanted_len, wanted, wanted_len) != 0)
		return FIT_NOT;
	if (len == wanted_len)
		return FIT_WHOLE;
	char before = name[len - wanted_len - 1];
	return before == '/' ? FIT_PACKAGE : before == '.' ? FIT_END : FIT_NOT;
}

struct candidates {
	size_t at[CANDIDATES_MAX];
	size_t count; /* may be more than were kept */
	enum fit fit;
};

static void look_for(struct go_model *m, const char *wanted, struct candidates *c)
{
	size_t n = go_func_count(m), len = strlen(wanted);

	*c = (struct candidates){ .fit = FIT_END };
	for (size_t i = 0; i < n; i++) {
		struct go_func f = go_func_nth(m, i);
		enum fit fit = f.name && !f.wrapper ? name_fit(f.name, wanted, len) : FIT_NOT;
		if (fit < c->fit)
			continue;
		if (fit > c->fit)
			*c = (struct candidates){ .fit = fit };
		if (c->count < CANDIDATES_MAX)
			c->at[c->count] = i;
		c->count++;
	}
}

/* Of several that fit the end only, none is meant; instances of one generic function all are. */
static bool is_ambiguous(struct go_model *m, const struct candidates *c, struct err *err)
{
	char first[NAME_LEN_MAX], here[NAME_LEN_MAX];
	char names[ERR_TEXT_MAX / 2];
	size_t len = 0;
	bool differ = c->count > CANDIDATES_MAX;

	names[0] = 0;
	for (size_t i = 0; i < MIN(c->count, (size_t)CANDIDATES_MAX); i++) {
		struct go_func f = go_func_nth(m, c->at[i]);
		bare_name(f.name, i ? here : first, NAME_LEN_MAX);
		differ |= i && strcmp(first, here) != 0;
		if (len < sizeof(names))
			len += (size_t)snprintf(names + len, sizeof(names) - len, "%s%s",
						i ? ", " : "", f.name);
	}
	if (differ)
		err_set(err, -EINVAL, "%zu functions end like that: %s%s; say which", c->count,
			names, c->count > CANDIDATES_MAX ? ", ..." : "");
	return differ;
}

static int go_functions(struct finder *f, const char *wanted, struct err *err)
{
	struct candidates c;

	if (!f->go)
		return -ENOENT;
	look_for(f->go, wanted, &c);
	if (c.count && c.fit != FIT_WHOLE && is_ambiguous(f->go, &c, err))
		return -EINVAL;
	for (size_t i = 0; i < MIN(c.count, (size_t)CANDIDATES_MAX); i++) {
		struct go_func func = go_func_nth(f->go, c.at[i]);
		add_go(f, go_func_after_prologue(f->go, &func));
		(void)go_inlined_places(f->go, func.name, add_go, f);
	}
	if (!c.count)
		(void)go_inlined_places(f->go, wanted, add_go, f);
	return f->into->count ? 0 : -ENOENT;
}

/* --- the three kinds of places --- */

static void find_function(struct finder *f, const char *name)
{
	for (size_t i = 0; i < f->inf->images.count && !f->full; i++)
		if (images_nth(f->inf, i))
			(void)debuginfo_functions(images_nth(f->inf, i), name, add_di, f);
}

static int function(struct finder *f, const char *name, struct err *err)
{
	int r = go_functions(f, name, err);

	if (r == -EINVAL)
		return r;
	if (r == -ENOENT)
		find_function(f, name);
	if (f->into->count)
		return 0;
	return err_set(err, -ENOENT,
		       f->go ? "no function '%s' in the Go program or its %zu files; write it as "
			       "main.f, pkg.(*T).m or FILE:LINE"
			     : "no function '%s' in %zu files; write FILE:LINE or *ADDRESS, "
			       "or add 'pending' to wait for a library that is loaded later",
		       name, f->inf->images.count);
}

static int line_of(struct finder *f, const char *file, int wanted, struct err *err)
{
	uint32_t go_line = (uint32_t)wanted;
	size_t dwarf = 0;

	if (f->go)
		(void)go_line_places(f->go, file, &go_line, add_go, f);
	for (size_t i = 0; !f->into->count && i < f->inf->images.count; i++) {
		int line = wanted;
		struct debuginfo *di = images_nth(f->inf, i);
		dwarf += di && debuginfo_has_dwarf(di);
		if (di)
			(void)debuginfo_lines(di, file, &line, add_di, f);
	}
	if (f->into->count)
		return 0;
	return err_set(err, -ENOENT,
		       "no code of '%s' at or behind line %d; %zu of %zu files have line tables%s",
		       file, wanted, dwarf, f->inf->images.count,
		       dwarf || f->go ? "" : ": build with -g, or break at a function");
}

static int address(struct finder *f, const char *text, struct err *err)
{
	struct mem_region region;
	char *end;

	errno = 0;
	uint64_t addr = strtoull(text, &end, 0);
	if (end == text || *end || errno)
		return err_set(err, -EINVAL, "'%s' is no address: write *0x401136", text);
	if (inferior_region_at(f->inf, addr, &region) < 0 || !region.mapped || !region.exec)
		return err_set(err, -EINVAL, "0x%" PRIx64 " is in no memory that is executed",
			       addr);
	struct debuginfo *di = images_at(f->inf, addr);
	struct place one = { .addr = addr, .di = di };
	struct go_func func = f->go ? go_func_at(f->go, addr) : (struct go_func){ 0 };
	struct di_place at = di ? debuginfo_at(di, addr) : (struct di_place){ 0 };
	one.go = func.name ? f->go : NULL;
	one.entry = func.name ? func.entry : at.function ? at.low : 0;
	one.end = func.name ? func.end : at.end;
	add(f, &one);
	return f->into->count ? 0 : err_set(err, -ENOMEM, "no memory for a place");
}

/* "main.go:12": where the colon is; NULL: it is something else. */
static const char *line_colon(const char *spec)
{
	const char *colon = strrchr(spec, ':');

	if (!colon || colon == spec || colon[-1] == ':' || !colon[1] ||
	    strspn(colon + 1, "0123456789") != strlen(colon + 1) || strlen(colon + 1) > 8)
		return NULL;
	return colon;
}

static int find(struct finder *f, const char *spec, struct err *err)
{
	const char *colon = line_colon(spec);

	if (spec[0] == '*')
		return address(f, spec + 1, err);
	if (!colon)
		return function(f, spec, err);
	_cleanup_free_ char *file = strndup(spec, (size_t)(colon - spec));
	if (!file)
		return err_set(err, -ENOMEM, "no memory");
	return line_of(f, file, atoi(colon + 1), err);
}

int places_find(struct inferior *inf, const char *spec, struct places *ret, struct err *err)
{
	struct finder f = { .inf = inf, .go = model_of(inf), .into = ret };

	*ret = (struct places){ 0 };
	images_update(inf);
	int r = find(&f, spec, err);
	if (r == 0 && f.full)
		r = err_set(err, -ENOSPC, "'%s' is in more than %d places", spec, PLACES_FOUND_MAX);
	if (r < 0)
		places_fini(ret);
	return r;
}

/* --- conditions --- */

struct names {
	struct inferior *inf;
	const struct place *at;
	uint64_t pc; /* where names are looked up */
};

static bool is_word(const char *name)
{
	static const char *const words[] = { "nil", "NULL", "nullptr", "true", "false" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(name, words[i]))
			return true;
	return false;
}

static int look_up(struct names *n, uint64_t pc, const char *name, struct di_var *ret,
		   struct err *err)
{
	struct debuginfo *here = n->at->di;
	int r = here ? debuginfo_variable(here, pc, name, ret, err) : -ENOENT;

	for (size_t i = 0; r == -ENOENT && i < n->inf->images.count; i++) {
		struct debuginfo *di = images_nth(n->inf, i);
		if (di && di != here)
			r = debuginfo_variable(di, pc, name, ret, err);
	}
	return r;
}

/* Where it is depends on no frame. */
static bool is_global(const struct di_var *var)
{
	const struct di_piece *p = &var->pieces[0];

	return var->count == 1 && p->where == DI_MEMORY && p->len && p->code[0] >= AXCODE_CONST8 &&
	       p->code[0] <= AXCODE_CONST64;
}

static int variable(void *ctx, const char *name, struct di_var *ret, struct err *err)
{
	struct names *n = ctx;
	struct debuginfo *here = n->at->di;
	images_find_tls(n->inf);
	int r = look_up(n, n->pc, name, ret, err);

	if (n->at->anywhere && r == 0 && !is_global(ret)) {
		r = look_up(n, 0, name, ret, err);
		if (r < 0 || !is_global(ret))
			return err_set(
				err, -EINVAL,
				"'%s' is local: who comes by there has another frame; globals "
				"and registers can be used",
				name);
	}
	if (r == -ENOENT && !is_word(name) && (!here || !debuginfo_has_dwarf(here)))
		return err_set(
			err, -ENODATA,
			"'%s' needs DWARF, which %s does not have (stripped, or built with "
			"-ldflags=-w); registers can be used: the first integer argument is %s",
			name, here ? debuginfo_path(here) : "the code there",
			n->at->go ? "$rax in Go 1.17 and later" : "$rdi");
	return r;
}

static int constant(void *ctx, const char *name, int64_t *ret)
{
	struct names *n = ctx;
	return n->at->di ? debuginfo_constant(n->at->di, n->pc, name, ret) : -ENOENT;
}

int places_condition(struct inferior *inf, const struct place *at, const char *text,
		     struct buf *code, struct err *err)
{
	struct names names = { inf, at, at->anywhere ? at->entry : at->addr };
	struct expr_scope scope = {
		.go = at->go, .variable = variable, .constant = constant, .ctx = &names
	};

	return expr_compile_condition(text, &scope, code, err);
}

/* --- memory --- */

static struct go_model *model_at(struct go_model *m, uint64_t pc)
{
	return m && go_func_at(m, pc).name ? m : NULL;
}

int places_variable(struct inferior *inf, pid_t tid, const char *text, struct di_type *ret_type,
		    uint64_t *ret_addr, struct err *err)
{
	_cleanup_free_ struct value_thread *th = calloc(1, sizeof(*th));
	_cleanup_buf_ struct buf code = { 0 };
	struct ax *ax;

	if (!th || value_thread_init(th, inf->target, tid) < 0)
		return err_set(err, th ? -ESRCH : -ENOMEM, "thread %d cannot be asked", (int)tid);
	images_update(inf);
	struct place at = { .addr = th->gp.rip,
			    .di = images_at(inf, th->gp.rip),
			    .go = model_at(model_of(inf), th->gp.rip) };
	struct names names = { inf, &at, at.addr };
	struct expr_scope scope = {
		.go = at.go, .variable = variable, .constant = constant, .ctx = &names
	};
	buf_init(&code, EXPR_CODE_MAX);
	int r = expr_compile_address(text, &scope, &code, ret_type, err);
	if (r == 0)
		r = ax_compile(code.data, code.len, expr_ax_reg, NULL, &ax, err);
	if (r < 0)
		return r;
	r = value_eval(th, ax, ret_addr);
	ax_free(ax);
	return r < 0 ? err_set(err, r, "'%s' leads through memory that cannot be read now", text)
		     : 0;
}

int places_anywhere(struct inferior *inf, pid_t tid, uint64_t addr, const char *text,
		    struct places *ret, struct err *err)
{
	struct user_regs_struct gp = { 0 };

	(void)inf->target->ops->gp_read(inf->target, tid, &gp);
	*ret = (struct places){ .at = calloc(1, sizeof(*ret->at)), .count = 1 };
	if (!ret->at || !(ret->at[0].text = strdup(text))) {
		places_fini(ret);
		return err_set(err, -ENOMEM, "no memory for a place");
	}
	images_update(inf);
	ret->at[0].addr = addr;
	ret->at[0].entry = gp.rip;
	ret->at[0].anywhere = true;
	ret->at[0].di = images_at(inf, gp.rip);
	ret->at[0].go = model_at(model_of(inf), gp.rip);
	return 0;
}
