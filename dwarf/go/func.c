/* Functions, files and lines as callers see them: addresses in the debuggee. */
#include <string.h>
#include "base/bytes.h"
#include "dwarf/go/internal.h"

enum { INLINE_DEPTH_MAX = 64, PROLOGUE_MAX = 128, WRAPPER_MAX = 512 };

static struct go_func func_of(const struct go_model *m, const struct go_pcln_func *f)
{
	return (struct go_func){
		.name = go_pclntab_name(&m->pcln, f->name_off),
		.entry = f->entry + m->bias,
		.end = f->end + m->bias,
		.index = (uint32_t)f->index,
		.start_line = f->start_line,
		.wrapper = m->wrapper_id && f->func_id == m->wrapper_id,
	};
}

size_t go_func_count(struct go_model *m)
{
	return model_need_functions(m) ? m->pcln.nfunc : 0;
}

struct go_func go_func_nth(struct go_model *m, size_t n)
{
	struct go_pcln_func f;
	if (!model_need_functions(m) || !go_pclntab_nth(&m->pcln, n, &f))
		return (struct go_func){ 0 };
	return func_of(m, &f);
}

struct go_func go_func_at(struct go_model *m, uint64_t pc)
{
	struct go_pcln_func f;
	if (!model_need_functions(m) || !go_pclntab_lookup(&m->pcln, model_linked(m, pc), &f))
		return (struct go_func){ 0 };
	return func_of(m, &f);
}

/* ---- by name ---- */

static uint32_t name_hash(const char *name)
{
	uint32_t h = 2166136261u;
	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return h;
}

static bool index_names(struct go_model *m)
{
	if (m->by_name)
		return true;
	size_t slots = 64;
	while (slots < m->pcln.nfunc * 2)
		slots *= 2;
	m->by_name = calloc(slots, sizeof(*m->by_name));
	if (!m->by_name)
		return false;
	m->n_by_name = slots;
	for (uint64_t i = 0; i < m->pcln.nfunc; i++) {
		struct go_pcln_func f;
		const char *name = NULL;
		if (go_pclntab_nth(&m->pcln, i, &f))
			name = go_pclntab_name(&m->pcln, f.name_off);
		if (!name)
			continue;
		size_t slot = name_hash(name) & (slots - 1);
		while (m->by_name[slot])
			slot = (slot + 1) & (slots - 1);
		m->by_name[slot] = (uint32_t)i + 1;
	}
	return true;
}

struct go_func go_func_by_name(struct go_model *m, const char *name)
{
	struct go_func best = { 0 };

	if (!model_need_functions(m))
		return best;
	if (strncmp(name, "runtime.", 8) == 0)
		for (size_t i = 0; i < RT_FUNCS; i++)
			if (m->rt_entry[i] && strcmp(name + 8, rt_name(i)) == 0)
				return go_func_at(m, m->rt_entry[i]);
	if (!index_names(m))
		return best;
	size_t slot = name_hash(name) & (m->n_by_name - 1);
	for (; m->by_name[slot]; slot = (slot + 1) & (m->n_by_name - 1)) {
		struct go_func f = go_func_nth(m, m->by_name[slot] - 1);
		if (!f.name || strcmp(f.name, name) != 0)
			continue;
		if (!best.name || (best.wrapper && !f.wrapper))
			best = f;
	}
	return best;
}

/* ---- lines ---- */

static void pc_look(struct go_model *m, uint64_t at, struct pc_info *p)
{
	*p = (struct pc_info){ .at = at, .known = true };
	p->in_func = go_pclntab_lookup(&m->pcln, at, &p->f);
	p->has_delta = p->in_func && go_pclntab_sp_delta(&m->pcln, &p->f, at, &p->delta);
}

static struct pc_info *pc_entry(struct go_model *m, uint64_t at)
{
	static struct pc_info one; /* without memory nothing is kept */

	if (!m->pcs)
		m->pcs = calloc(PC_CACHE, sizeof(*m->pcs));
	struct pc_info *p = m->pcs ? &m->pcs[(at ^ at >> 10) % PC_CACHE] : &one;
	if (!p->known || p->at != at || p == &one)
		pc_look(m, at, p);
	return p;
}

const struct pc_info *pc_info(struct go_model *m, uint64_t at)
{
	return pc_entry(m, at);
}

static size_t read_lines(struct go_model *m, const struct go_pcln_func *f, uint64_t at,
			 struct go_line *ret, size_t max)
{
	size_t count = 0;

	for (unsigned depth = 0; count < max && depth < INLINE_DEPTH_MAX; depth++) {
		struct go_inlined call;
		bool inlined = go_pclntab_inlined(&m->pcln, f, at, &call);
		ret[count++] = (struct go_line){
			.function = inlined ? call.name : go_pclntab_name(&m->pcln, f->name_off),
			.file = go_pclntab_file(&m->pcln, f, at),
			.line = go_pclntab_line(&m->pcln, f, at),
			.inlined = inlined,
		};
		if (!inlined)
			break;
		at = call.parent_pc;
	}
	return count;
}

size_t go_lines_at(struct go_model *m, uint64_t pc, struct go_line *ret, size_t max)
{
	struct go_line all[PC_LINES + 1];
	uint64_t at = model_linked(m, pc);

	if (!model_need_functions(m))
		return 0;
	struct pc_info *p = pc_entry(m, at);
	if (!p->in_func)
		return 0;
	if (!p->n_lines) {
		size_t n = read_lines(m, &p->f, at, all, PC_LINES + 1);
		if (n > PC_LINES)
			return read_lines(m, &p->f, at, ret, max);
		memcpy(p->lines, all, n * sizeof(*all));
		p->n_lines = (uint8_t)n;
	}
	size_t n = MIN((size_t)p->n_lines, max);
	if (n)
		memcpy(ret, p->lines, n * sizeof(*ret));
	return n;
}

struct go_line go_line_at(struct go_model *m, uint64_t pc)
{
	struct go_line one = { 0 };
	go_lines_at(m, pc, &one, 1);
	return one;
}

/* The line of the outermost function that pc belongs to, whatever was inlined there. */
static uint32_t outer_line(struct go_model *m, const struct go_pcln_func *f, uint64_t at)
{
	struct go_inlined call;
	for (unsigned depth = 0; depth < INLINE_DEPTH_MAX; depth++) {
		if (!go_pclntab_inlined(&m->pcln, f, at, &call))
			break;
		at = call.parent_pc;
	}
	return go_pclntab_line(&m->pcln, f, at);
}

bool go_line_range(struct go_model *m, uint64_t pc, uint64_t *ret_low, uint64_t *ret_high)
{
	struct go_pcln_func f;
	struct go_pcvalue v;
	uint64_t at = model_linked(m, pc);
	uint64_t low = 0;
	uint32_t line;

	if (!model_need_functions(m) || !go_pclntab_lookup(&m->pcln, at, &f))
		return false;
	line = outer_line(m, &f, at);
	if (!line)
		return false;
	/* Runs of the line table with the same outer line, one after the other, are one run. */
	bool open = false;
	for (go_pcvalue_start(&v, &m->pcln, &f, f.pcln); go_pcvalue_next(&v) && v.low < f.end;) {
		bool same = outer_line(m, &f, v.low) == line;
		if (same && !open)
			low = v.low;
		if (!same && open && v.low > at) {
			*ret_low = low + m->bias;
			*ret_high = v.low + m->bias;
			return true;
		}
		open = same;
	}
	if (!open || at < low)
		return false;
	*ret_low = low + m->bias;
	*ret_high = f.end + m->bias;
	return true;
}

/* ---- wrappers ---- */

static bool is_runtime(const char *name)
{
	return strncmp(name, "runtime.", 8) == 0;
}

/*
 * `go f(x)` starts a function of the compiler's own that calls f(x). f was either inlined into it,
 * or is the one thing besides the runtime's help that it calls.
 */
const char *go_func_wrapped(struct go_model *m, const struct go_func *wrapper)
{
	struct go_line lines[INLINE_DEPTH_MAX];
	size_t len = (size_t)MIN(wrapper->end - wrapper->entry, (uint64_t)WRAPPER_MAX);
	const uint8_t *code = image_at(m->img, model_linked(m, wrapper->entry), len);
	struct go_pcln_func f;
	struct go_pcvalue v;

	if (!go_pclntab_nth(&m->pcln, wrapper->index, &f))
		return wrapper->name;
	for (go_pcvalue_start(&v, &m->pcln, &f, f.pcln); go_pcvalue_next(&v) && v.low < f.end;) {
		size_t n = go_lines_at(m, v.low + m->bias, lines, INLINE_DEPTH_MAX);
		if (n >= 2 && lines[n - 2].function && !is_runtime(lines[n - 2].function))
			return lines[n - 2].function;
	}
	for (size_t i = 0; code && i + 5 <= len; i++) {
		int32_t disp;
		if (code[i] != 0xe8)
			continue;
		memcpy(&disp, code + i + 1, sizeof(disp));
		uint64_t target = wrapper->entry + i + 5 + (uint64_t)(int64_t)disp;
		struct go_func callee = go_func_at(m, target);
		if (callee.name && callee.entry == target && !is_runtime(callee.name))
			return callee.name;
	}
	return wrapper->name;
}

/* ---- the prologue ---- */

struct pattern {
	uint8_t len;
	uint8_t bytes[8];
	uint8_t extra; /* bytes of operand behind them */
};

static bool take(struct bytes *b, const struct pattern *p)
{
	if (bytes_left(b) < (size_t)p->len + p->extra ||
	    memcmp(b->data + b->at, p->bytes, p->len) != 0)
		return false;
	bytes_skip(b, (size_t)p->len + p->extra);
	return true;
}

static bool take_any(struct bytes *b, const struct pattern *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (take(b, &list[i]))
			return true;
	return false;
}

/*
 * The compiler's prologue: [load g], [compute the lowest SP], compare with g.stackguard0 (at 16),
 * jbe to the call of morestack, then the frame: push rbp; mov rbp, rsp; sub rsp (1.21 and later),
 * or sub rsp; mov [rsp+n], rbp; lea rbp, [rsp+n].
 */
struct prologue {
	uint64_t checked; /* behind the check; 0: there is none */
	uint64_t grow; /* where it jumps to when the stack is too small: behind everything else */
	uint64_t body;
};

static uint64_t jump_target(const uint8_t *code, size_t from, size_t to)
{
	uint32_t distance = 0;
	if (to - from == 2)
		return to + (uint64_t)(int64_t)(int8_t)code[to - 1];
	memcpy(&distance, code + to - 4, 4);
	return to + (uint64_t)(int64_t)(int32_t)distance;
}

static struct prologue prologue_of(struct go_model *m, const struct go_func *func)
{
	static const struct pattern load_g[] = {
		{ 5, { 0x64, 0x48, 0x8b, 0x0c, 0x25 }, 4 }, /* mov rcx, fs:disp32 */
		{ 3, { 0x48, 0xc7, 0xc1 }, 4 },             /* mov rcx, imm32 */
		{ 4, { 0x64, 0x48, 0x8b, 0x09 }, 0 },       /* mov rcx, fs:[rcx] */
	};
	static const struct pattern lowest[] = {
		{ 4, { 0x4c, 0x8d, 0x64, 0x24 }, 1 }, /* lea r12, [rsp+disp8] */
		{ 4, { 0x4c, 0x8d, 0xa4, 0x24 }, 4 }, /* lea r12, [rsp+disp32] */
		{ 3, { 0x49, 0x89, 0xe4 }, 0 },       /* mov r12, rsp */
		{ 3, { 0x49, 0x81, 0xec }, 4 },       /* sub r12, imm32 */
		{ 1, { 0x72 }, 1 },                   /* jb */
		{ 2, { 0x0f, 0x82 }, 4 },
	};
	static const struct pattern compare[] = {
		{ 4, { 0x49, 0x3b, 0x66, 0x10 }, 0 }, /* cmp rsp, [r14+16] */
		{ 4, { 0x4d, 0x3b, 0x66, 0x10 }, 0 }, /* cmp r12, [r14+16] */
		{ 4, { 0x48, 0x3b, 0x61, 0x10 }, 0 }, /* cmp rsp, [rcx+16] */
		{ 4, { 0x4c, 0x3b, 0x61, 0x10 }, 0 }, /* cmp r12, [rcx+16] */
	};
	static const struct pattern jump[] = {
		{ 1, { 0x76 }, 1 },
		{ 2, { 0x0f, 0x86 }, 4 },
	};
	static const struct pattern frame[] = {
		{ 1, { 0x55 }, 0 },                   /* push rbp */
		{ 3, { 0x48, 0x89, 0xe5 }, 0 },       /* mov rbp, rsp */
		{ 3, { 0x48, 0x83, 0xec }, 1 },       /* sub rsp, imm8 */
		{ 3, { 0x48, 0x81, 0xec }, 4 },       /* sub rsp, imm32 */
		{ 3, { 0x48, 0x83, 0xc4 }, 1 },       /* add rsp, -128 */
		{ 4, { 0x48, 0x89, 0x6c, 0x24 }, 1 }, /* mov [rsp+disp8], rbp */
		{ 4, { 0x48, 0x89, 0xac, 0x24 }, 4 },
		{ 4, { 0x48, 0x8d, 0x6c, 0x24 }, 1 }, /* lea rbp, [rsp+disp8] */
		{ 4, { 0x48, 0x8d, 0xac, 0x24 }, 4 },
	};
	size_t len = (size_t)MIN(func->end - func->entry, (uint64_t)PROLOGUE_MAX);
	const uint8_t *code = image_at(m->img, model_linked(m, func->entry), len);
	struct prologue p = { .body = func->entry };
	if (!code || func->end <= func->entry)
		return p;

	struct bytes b = bytes_of(code, len);
	while (take_any(&b, load_g, ARRAY_SIZE(load_g)))
		;
	while (take_any(&b, lowest, ARRAY_SIZE(lowest)))
		;
	/* Without a stack check (a leaf) nothing was taken that matters. */
	bool compared = take_any(&b, compare, ARRAY_SIZE(compare));
	size_t jump_at = b.at;
	if (compared && take_any(&b, jump, ARRAY_SIZE(jump))) {
		p.checked = func->entry + b.at;
		p.grow = func->entry + jump_target(code, jump_at, b.at);
	} else {
		bytes_seek(&b, 0);
	}
	while (take_any(&b, frame, ARRAY_SIZE(frame)))
		;
	p.body = b.at < len ? func->entry + b.at : func->entry;
	return p;
}

uint64_t go_func_after_prologue(struct go_model *m, const struct go_func *func)
{
	return prologue_of(m, func).body;
}

bool go_func_has_room(struct go_model *m, const struct go_func *func, uint64_t pc)
{
	struct prologue p = prologue_of(m, func);
	return p.checked && pc >= p.checked && pc < func->end &&
	       (p.grow < p.checked || pc < p.grow);
}

/* ---- places of a line ---- */

static bool file_fits(const char *have, const char *wanted)
{
	size_t a = strlen(have), b = strlen(wanted);

	if (a < b || strcmp(have + a - b, wanted) != 0)
		return false;
	return a == b || wanted[0] == '/' || have[a - b - 1] == '/';
}

/* The parts of one function that come from the file, as its table of files says. */
struct file_parts {
	const struct go_pclntab *t;
	const struct go_pcln_func *f;
	const char *wanted, *last;
	bool fits;
};

static bool part_fits(struct file_parts *p, int32_t number)
{
	const char *name = go_pclntab_file_name(p->t, p->f, number);

	if (name != p->last)
		p->fits = name && file_fits(name, p->wanted);
	p->last = name;
	return p->fits;
}

static bool has_file(struct file_parts *p)
{
	struct go_pcvalue v;

	for (go_pcvalue_start(&v, p->t, p->f, p->f->pcfile);
	     go_pcvalue_next(&v) && v.low < p->f->end;)
		if (part_fits(p, v.value))
			return true;
	return false;
}

/* The lowest address of line, or of the first line behind it (*ret_line), in one function; 0: none. */
static uint64_t lowest_of_line(struct file_parts *p, uint32_t line, uint32_t *ret_line)
{
	uint64_t best = 0;
	struct go_pcvalue v;
	int32_t number;

	*ret_line = 0;
	for (go_pcvalue_start(&v, p->t, p->f, p->f->pcln);
	     go_pcvalue_next(&v) && v.low < p->f->end;) {
		uint32_t here = v.value > 0 ? (uint32_t)v.value : 0;
		if (here < line || (*ret_line && here >= *ret_line))
			continue;
		if (!go_pclntab_value(p->t, p->f, p->f->pcfile, v.low, &number, NULL, NULL) ||
		    !part_fits(p, number))
			continue;
		*ret_line = here;
		best = v.low;
	}
	return best;
}

static uint32_t nearest_line(struct go_model *m, const char *file, uint32_t line)
{
	uint32_t best = 0, here;
	struct go_pcln_func f;

	for (uint64_t i = 0; i < m->pcln.nfunc; i++) {
		struct file_parts p = { &m->pcln, &f, file, NULL, false };
		if (!go_pclntab_nth(&m->pcln, i, &f) || !has_file(&p))
			continue;
		/* A function that begins behind the line has none of its code, unless by inlining, which is of the line itself. */
		if (lowest_of_line(&p, line, &here) && (!best || here < best))
			best = here;
	}
	return best;
}

size_t go_line_places(struct go_model *m, const char *file, uint32_t *line,
		      bool (*fn)(void *ctx, uint64_t pc), void *ctx)
{
	struct go_pcln_func f;
	uint32_t here;
	size_t count = 0;

	if (!model_need_functions(m))
		return 0;
	*line = nearest_line(m, file, *line);
	for (uint64_t i = 0; *line && i < m->pcln.nfunc; i++) {
		struct file_parts p = { &m->pcln, &f, file, NULL, false };
		if (!go_pclntab_nth(&m->pcln, i, &f) || !has_file(&p))
			continue;
		uint64_t at = lowest_of_line(&p, *line, &here);
		if (!at || here != *line)
			continue;
		struct go_func func = func_of(m, &f);
		uint64_t body = go_func_after_prologue(m, &func);
		count++;
		if (!fn(ctx, MAX(at + m->bias, at + m->bias < body ? body : 0)))
			break;
	}
	return count;
}

bool go_cfa_offset(struct go_model *m, uint64_t pc, int32_t *ret)
{
	struct go_pcln_func f;
	int32_t delta;

	if (!model_need_functions(m) || !go_pclntab_lookup(&m->pcln, model_linked(m, pc), &f) ||
	    f.flag & GO_FUNC_SP_WRITE ||
	    !go_pclntab_sp_delta(&m->pcln, &f, model_linked(m, pc), &delta))
		return false;
	*ret = delta + 8;
	return true;
}

/* ---- places of what was inlined ---- */

enum { CALLS_MAX = 65536 };

size_t go_inlined_places(struct go_model *m, const char *name, bool (*fn)(void *ctx, uint64_t pc),
			 void *ctx)
{
	_cleanup_free_ uint8_t *told = calloc(CALLS_MAX / 8, 1);
	struct go_pcln_func f;
	size_t count = 0;

	if (!told || !model_need_functions(m))
		return 0;
	for (uint64_t i = 0; i < m->pcln.nfunc; i++) {
		uint32_t table =
			go_pclntab_nth(&m->pcln, i, &f) ? go_pclntab_inline_table(&m->pcln, &f) : 0;
		struct go_pcvalue v;
		bool any = false;
		if (!table)
			continue;
		for (go_pcvalue_start(&v, &m->pcln, &f, table);
		     go_pcvalue_next(&v) && v.low < f.end;) {
			struct go_inlined call;
			if (v.value < 0 || v.value >= CALLS_MAX ||
			    told[v.value / 8] & 1 << v.value % 8 ||
			    !go_pclntab_inlined_nth(&m->pcln, &f, v.value, &call) || !call.name ||
			    strcmp(call.name, name) != 0)
				continue;
			told[v.value / 8] |= (uint8_t)(1 << v.value % 8);
			any = true;
			count++;
			if (!fn(ctx, v.low + m->bias))
				return count;
		}
		if (any)
			memset(told, 0, CALLS_MAX / 8);
	}
	return count;
}
