/* Line programs (DWARF 4, section 6.2): one for each unit, one sequence over all its functions. */
#include <stdlib.h>
#include "dwarf/go/symfile_internal.h"

enum {
	LINE_BASE = -5,
	LINE_RANGE = 14,
	OPCODE_BASE = 13,
	LNS_COPY = 1,
	LNS_ADVANCE_PC = 2,
	LNS_ADVANCE_LINE = 3,
	LNS_SET_FILE = 4,
	LNS_SET_PROLOGUE_END = 10,
	LNE_END_SEQUENCE = 1,
	LNE_SET_ADDRESS = 2,
	FILES_MAX = 1 << 20,
};

/* ---- files ---- */

static size_t file_slot(const struct file_set *set, const char *name)
{
	return ((uintptr_t)name * UINT64_C(0x9e3779b97f4a7c15) >> 24) & (set->n_slots - 1);
}

static bool files_grow(struct file_set *set)
{
	size_t room = set->room ? set->room * 2 : 64;
	if (room > FILES_MAX)
		return false;
	const char **names = realloc(set->names, room * sizeof(*names));
	if (names)
		set->names = names;
	uint32_t *slots = realloc(set->slots, room * 2 * sizeof(*slots));
	if (slots)
		set->slots = slots;
	if (!names || !slots)
		return false;
	set->room = room;
	set->n_slots = room * 2;
	memset(slots, 0, set->n_slots * sizeof(*slots));
	for (size_t i = 0; i < set->count; i++) {
		size_t slot = file_slot(set, set->names[i]);
		while (slots[slot])
			slot = (slot + 1) & (set->n_slots - 1);
		slots[slot] = (uint32_t)i + 1;
	}
	return true;
}

uint32_t files_number(struct file_set *set, const char *name)
{
	if (!name || (set->count == set->room && !files_grow(set)))
		return 0;
	size_t slot = file_slot(set, name);
	for (; set->slots[slot]; slot = (slot + 1) & (set->n_slots - 1))
		if (set->names[set->slots[slot] - 1] == name)
			return set->slots[slot];
	set->names[set->count++] = name;
	set->slots[slot] = (uint32_t)set->count;
	return (uint32_t)set->count;
}

void files_reset(struct file_set *set)
{
	set->count = 0;
	if (set->slots)
		memset(set->slots, 0, set->n_slots * sizeof(*set->slots));
}

void files_fini(struct file_set *set)
{
	free(set->names);
	free(set->slots);
}

/* ---- rows ---- */

struct state {
	struct symfile *s;
	uint64_t addr;
	uint32_t file, line;
};

static void row(struct state *r, uint64_t addr, uint32_t file, uint32_t line, bool prologue_end)
{
	struct buf *b = &r->s->line;
	uint64_t advance = addr - r->addr;
	int64_t delta = (int64_t)line - r->line;

	if (file != r->file) {
		put_u8(b, LNS_SET_FILE);
		put_uleb(b, file);
	}
	if (prologue_end)
		put_u8(b, LNS_SET_PROLOGUE_END);
	if (delta < LINE_BASE || delta >= LINE_BASE + LINE_RANGE) {
		put_u8(b, LNS_ADVANCE_LINE);
		put_sleb(b, delta);
		delta = 0;
	}
	uint64_t special = (uint64_t)(delta - LINE_BASE) + OPCODE_BASE;
	if (advance > (255 - special) / LINE_RANGE) {
		put_u8(b, LNS_ADVANCE_PC);
		put_uleb(b, advance);
		advance = 0;
	}
	put_u8(b, (uint8_t)(special + advance * LINE_RANGE));
	r->addr = addr;
	r->file = file;
	r->line = line;
}

/* A row wherever the line or the file changes, and one where the prologue ends. */
static void function_rows(struct state *r, const struct go_pcln_func *f)
{
	struct symfile *s = r->s;
	struct go_pcvalue line, file;
	uint64_t entry = f->entry + s->m->bias;
	struct go_func as_func = { .entry = entry, .end = f->end + s->m->bias };
	uint64_t body = go_func_after_prologue(s->m, &as_func) - s->m->bias;
	bool has_file = false;

	go_pcvalue_start(&file, s->t, f, f->pcfile);
	for (go_pcvalue_start(&line, s->t, f, f->pcln); go_pcvalue_next(&line);) {
		uint64_t high = MIN(line.high, f->end);
		for (uint64_t at = line.low; at < high;) {
			while (!has_file || file.high <= at) {
				has_file = go_pcvalue_next(&file);
				if (!has_file)
					return;
			}
			uint32_t number =
				files_number(&s->files, go_pclntab_file_name(s->t, f, file.value));
			if (number && line.value > 0)
				row(r, at, number, (uint32_t)line.value, at == body);
			uint64_t next = MIN(high, file.high);
			if (at < body && body < next)
				next = body;
			at = next;
		}
	}
}

static void put_program(struct symfile *s, const struct unit *u)
{
	struct state r = { .s = s, .addr = u->low, .file = 1, .line = 1 };

	put_u8(&s->line, 0);
	put_uleb(&s->line, 9);
	put_u8(&s->line, LNE_SET_ADDRESS);
	put_u64(&s->line, u->low);
	for (uint64_t i = 0; i < u->count; i++) {
		struct go_pcln_func f;
		if (symfile_func(s, u->first + i, &f) && f.entry >= r.addr)
			function_rows(&r, &f);
	}
	put_u8(&s->line, LNS_ADVANCE_PC);
	put_uleb(&s->line, u->high > r.addr ? u->high - r.addr : 0);
	put_u8(&s->line, 0);
	put_uleb(&s->line, 1);
	put_u8(&s->line, LNE_END_SEQUENCE);
}

/* The program's files are known when it has been made: it is made aside first. */
void symfile_line(struct symfile *s, const struct unit *u)
{
	static const uint8_t lengths[] = { 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1 };
	struct buf whole = s->line;

	buf_init(&s->line, whole.max);
	put_program(s, u);
	struct buf program = s->line;
	s->line = whole;

	struct buf *b = &s->line;
	size_t start = b->len;
	put_u32(b, 0);
	put_u16(b, 4);
	size_t header = b->len;
	put_u32(b, 0);
	put_u8(b, 1); /* minimum_instruction_length */
	put_u8(b, 1); /* maximum_operations_per_instruction */
	put_u8(b, 1); /* default_is_stmt */
	put_u8(b, (uint8_t)LINE_BASE);
	put_u8(b, LINE_RANGE);
	put_u8(b, OPCODE_BASE);
	buf_put(b, lengths, sizeof(lengths));
	put_u8(b, 0); /* no include directories */
	for (size_t i = 0; i < s->files.count; i++) {
		buf_put(b, s->files.names[i], strlen(s->files.names[i]) + 1);
		put_u8(b, 0);
		put_u8(b, 0);
		put_u8(b, 0);
	}
	put_u8(b, 0);
	patch_u32(b, header, (uint32_t)(b->len - header - 4));
	if (buf_error(&program))
		b->error = buf_error(&program);
	buf_put(b, program.data, program.len);
	patch_u32(b, start, (uint32_t)(b->len - start - 4));
	buf_fini(&program);
}
