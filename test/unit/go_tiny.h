/*
 * go_tiny.h - for tests: the smallest thing that looks like a stopped Go 1.27 program, in 72 KiB that are file and memory at once.
 *
 * Addresses are TINY_BASE + offset. It has a function table with names, files, lines, stack depths and an inlined call, moduledata,
 * type descriptors of runtime.g and what hangs on it, wait reasons, three goroutines, one M and a thread's slot.
 */
#ifndef STOPGO_TEST_GO_TINY_H
#define STOPGO_TEST_GO_TINY_H

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "dwarf/go/internal.h"

enum {
	TINY_SIZE = 0x12000,
	TINY_BASE = 0x400000,
	TINY_TEXT = 0x1000,
	TINY_FUNC_SIZE = 64,
	TINY_PCLN = 0x2000,
	TINY_GOFUNC = 0x3f00,
	TINY_TYPES = 0x4000,
	TINY_ETYPES = 0x7000,
	TINY_STRINGS = 0x7000,
	TINY_DATA = 0x8000, /* from here on writable */
	TINY_BUILDINFO = 0x8000,
	TINY_MODULE = 0x9000,
	TINY_REASONS = 0x9800,
	TINY_ALLGS = 0xa000,
	TINY_LIST = 0xa100,
	TINY_TLS = 0xa200, /* fs base */
	TINY_PANIC = 0xa300,
	TINY_LABELS = 0xa400,
	TINY_G = 0xb000, /* goroutines 1, 2, 3, then g0 and gsignal */
	TINY_G_SIZE = 0x200,
	TINY_M = 0xc000,
	TINY_STACKS = 0xd000, /* one of 2 KiB for each g */
	TINY_STACK_SIZE = 0x800,
	TINY_GOROUTINES = 3,
	TINY_G0 = 3,
	TINY_GSIGNAL = 4,
};

/* In the order of their addresses; the last ones are the user's. */
static const char *const tiny_funcs[] = {
	"runtime.allgadd",
	"runtime.asyncPreempt",
	"runtime.cgocallback",
	"runtime.fatalpanic",
	"runtime.fatalthrow",
	"runtime.goexit",
	"runtime.main",
	"runtime.malg",
	"runtime.mcall",
	"runtime.morestack",
	"runtime.morestack_noctxt",
	"runtime.sigpanic",
	"runtime.sigtramp",
	"runtime.systemstack",
	"runtime.throw",
	"runtime.gopark",
	"runtime.mstart",
	"runtime.schedule",
	"main.main",
	"main.(*Pool).run",
	"main.outer",
};
enum { TINY_FUNCS = ARRAY_SIZE(tiny_funcs) };

struct tiny {
	uint8_t data[TINY_SIZE];
	struct mem mem;
};

static uint64_t tiny_addr(uint64_t offset)
{
	return TINY_BASE + offset;
}

_unused_ static uint64_t tiny_func(const char *name)
{
	for (size_t i = 0; i < TINY_FUNCS; i++)
		if (strcmp(tiny_funcs[i], name) == 0)
			return tiny_addr(TINY_TEXT + i * TINY_FUNC_SIZE);
	return 0;
}

_unused_ static uint64_t tiny_g(size_t n)
{
	return tiny_addr(TINY_G + n * TINY_G_SIZE);
}

/* The highest address of the n-th g's stack. */
_unused_ static uint64_t tiny_stack(size_t n)
{
	return tiny_addr(TINY_STACKS + (n + 1) * TINY_STACK_SIZE);
}

_unused_ static void tiny_put(struct tiny *t, uint64_t offset, uint64_t value)
{
	memcpy(t->data + offset, &value, 8);
}

/* A word at an address. */
_unused_ static void tiny_poke(struct tiny *t, uint64_t addr, uint64_t value)
{
	tiny_put(t, addr - TINY_BASE, value);
}

static void tiny_put32(struct tiny *t, uint64_t offset, uint32_t value)
{
	memcpy(t->data + offset, &value, 4);
}

_unused_ static int tiny_read(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	struct tiny *t = ctx;
	if (addr < TINY_BASE || addr >= TINY_BASE + TINY_SIZE)
		return -EFAULT;
	*ret_got = MIN(len, (size_t)(TINY_BASE + TINY_SIZE - addr));
	memcpy(into, t->data + (addr - TINY_BASE), *ret_got);
	return 0;
}

/* ---- ELF ---- */

static void tiny_elf(struct tiny *t)
{
	Elf64_Ehdr eh = {
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = 1,
		.e_entry = TINY_BASE + TINY_TEXT,
		.e_phoff = sizeof(eh),
		.e_ehsize = sizeof(eh),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2,
	};
	Elf64_Phdr ph[2] = {
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_X,
		  .p_vaddr = TINY_BASE,
		  .p_filesz = TINY_DATA,
		  .p_memsz = TINY_DATA },
		{ .p_type = PT_LOAD,
		  .p_flags = PF_R | PF_W,
		  .p_offset = TINY_DATA,
		  .p_vaddr = TINY_BASE + TINY_DATA,
		  .p_filesz = TINY_SIZE - TINY_DATA,
		  .p_memsz = TINY_SIZE - TINY_DATA },
	};
	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_ident[EI_VERSION] = 1;
	memcpy(t->data, &eh, sizeof(eh));
	memcpy(t->data + sizeof(eh), ph, sizeof(ph));
}

static void tiny_buildinfo(struct tiny *t)
{
	static const char version[] = "go1.27.3";
	static const char modinfo[] =
		"0123456789abcdefpath\ttiny\nbuild\t-buildmode=exe\n0123456789abcdef";
	uint8_t *p = t->data + TINY_BUILDINFO;

	memcpy(p, "\xff Go buildinf:", 14);
	p[14] = 8;
	p[15] = 2;
	p += 32;
	*p++ = sizeof(version) - 1;
	memcpy(p, version, sizeof(version) - 1);
	p += sizeof(version) - 1;
	*p++ = sizeof(modinfo) - 1;
	memcpy(p, modinfo, sizeof(modinfo) - 1);
}

/* ---- functions ---- */

static void tiny_code(struct tiny *t)
{
	uint64_t at;
	int32_t disp;

	for (size_t i = 0; i < TINY_FUNCS; i++) {
		/* cmp rsp, [r14+16]; jbe; push rbp; mov rbp, rsp; sub rsp, 16; nop... */
		static const uint8_t prologue[] = { 0x49, 0x3b, 0x66, 0x10, 0x76, 0x30, 0x55,
						    0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x10 };
		at = TINY_TEXT + i * TINY_FUNC_SIZE;
		memset(t->data + at, 0x90, TINY_FUNC_SIZE);
		memcpy(t->data + at, prologue, sizeof(prologue));
	}
	at = tiny_func("runtime.allgadd") - TINY_BASE + 16;
	memcpy(t->data + at, "\x48\x8b\x05", 3); /* mov rax, [rip+allgs] */
	disp = TINY_ALLGS - (int32_t)(at + 7);
	memcpy(t->data + at + 3, &disp, 4);
	at = tiny_func("runtime.malg") - TINY_BASE + 16;
	memcpy(t->data + at, "\x48\x8d\x05", 3); /* lea rax, [rip+type:runtime.g] */
	disp = TINY_TYPES - (int32_t)(at + 7);
	memcpy(t->data + at + 3, &disp, 4);
	at = tiny_func("runtime.morestack") - TINY_BASE;
	memcpy(t->data + at, "\x64\x48\x8b\x3c\x25\xf8\xff\xff\xff", 9); /* mov rdi, fs:-8 */
}

/*
 * Each function: a frame of 24 bytes from its 14th byte on (0 before; 8 from the 7th), line 10 + its number, then one more in the
 * second half. The last one has "main.inner" inlined in its second half.
 */
static void tiny_pclntab(struct tiny *t)
{
	enum { NAMES = 72, CU = 0x400, FILES = 0x440, PCTAB = 0x480, FUNC = 0x800, RECORD = 72 };
	const uint64_t header[] = { TINY_FUNCS, 1, 0, NAMES, CU, FILES, PCTAB, FUNC };
	uint8_t *base = t->data + TINY_PCLN;
	uint32_t name = 1, pc = 0;
	uint32_t inner;

	tiny_put32(t, TINY_PCLN, GO_PCLN_MAGIC_120);
	base[6] = 1;
	base[7] = 8;
	memcpy(base + 8, header, sizeof(header));
	strcpy((char *)base + FILES, "/src/tiny.go");

	uint8_t *pctab = base + PCTAB;
	/* at 1: 0 up to 7, 8 up to 14, 24 to the end */
	static const uint8_t sp[] = { 0, 2, 7, 16, 7, 32, TINY_FUNC_SIZE - 14, 0 };
	memcpy(pctab, sp, sizeof(sp));
	/* at 40: 0, from the 7th on -8, from the 14th on 0 again, as where the return address is popped for a while */
	static const uint8_t popped[] = { 2, 7, 15, 7, 16, TINY_FUNC_SIZE - 14, 0 };
	memcpy(pctab + 40, popped, sizeof(popped));
	static const uint8_t file[] = { 2, TINY_FUNC_SIZE, 0 };
	memcpy(pctab + 16, file, sizeof(file));
	static const uint8_t tree[] = { 0, TINY_FUNC_SIZE / 2, 2, TINY_FUNC_SIZE / 2, 0 };
	memcpy(pctab + 24, tree, sizeof(tree));

	inner = name;
	strcpy((char *)base + NAMES + name, "main.inner");
	name += sizeof("main.inner");
	for (uint32_t i = 0; i < TINY_FUNCS; i++) {
		bool last = i == TINY_FUNCS - 1;
		bool top = strcmp(tiny_funcs[i], "runtime.goexit") == 0 ||
			   strcmp(tiny_funcs[i], "runtime.mstart") == 0 ||
			   strcmp(tiny_funcs[i], "runtime.sigtramp") == 0;
		bool sp_write = strcmp(tiny_funcs[i], "runtime.systemstack") == 0 ||
				strcmp(tiny_funcs[i], "runtime.mcall") == 0;
		uint32_t at = FUNC + (TINY_FUNCS + 1) * 8 + i * RECORD;
		uint8_t *f = base + at;
		uint8_t *line = pctab + 64 + i * 8;
		line[0] = (uint8_t)((11 + i) * 2);
		line[1] = TINY_FUNC_SIZE / 2;
		line[2] = 2;
		line[3] = TINY_FUNC_SIZE / 2;
		strcpy((char *)base + NAMES + name, tiny_funcs[i]);
		tiny_put32(t, TINY_PCLN + FUNC + i * 8, pc);
		tiny_put32(t, TINY_PCLN + FUNC + i * 8 + 4, at - FUNC);
		memcpy(f, &pc, 4);
		memcpy(f + 4, &name, 4);
		f[16] = strcmp(tiny_funcs[i], "runtime.allgadd") == 0 ? 40 : 1;
		f[20] = 16;
		uint32_t line_at = 64 + i * 8;
		memcpy(f + 24, &line_at, 4);
		f[28] = last ? 3 : 0;
		f[36] = (uint8_t)(9 + i);
		f[41] = (top ? GO_FUNC_TOP : 0) | (sp_write ? GO_FUNC_SP_WRITE : 0);
		f[43] = last ? 4 : 0;
		if (last) {
			f[44 + 8] = 24; /* pcdata 2: which inlined call */
			memset(f + 44 + 12, 0xff, 12);
			memset(f + 44 + 24, 0, 4); /* funcdata 3: the tree, at gofunc */
		}
		name += (uint32_t)strlen(tiny_funcs[i]) + 1;
		pc += TINY_FUNC_SIZE;
	}
	tiny_put32(t, TINY_PCLN + FUNC + TINY_FUNCS * 8, pc);
	/* {funcID, name, parentPc, startLine} */
	tiny_put32(t, TINY_GOFUNC + 4, inner);
	tiny_put32(t, TINY_GOFUNC + 8, 20);
	tiny_put32(t, TINY_GOFUNC + 12, 77);
}

static void tiny_module(struct tiny *t)
{
	uint64_t p = tiny_addr(TINY_PCLN);
	uint64_t text = tiny_addr(TINY_TEXT), etext = text + TINY_FUNCS * TINY_FUNC_SIZE;
	const struct {
		unsigned at;
		uint64_t value;
	} words[] = {
		{ 0, p },
		{ 8, p + 72 },
		{ 104, p + 0x800 },
		{ 128, p + 0x800 },
		{ 136, TINY_FUNCS + 1 },
		{ 160, text },
		{ 168, etext },
		{ 176, text },
		{ 184, etext },
		{ 208, tiny_addr(TINY_REASONS) },
		{ 216, tiny_addr(TINY_ALLGS) },
		{ 224, tiny_addr(TINY_ALLGS) },
		{ 232, tiny_addr(TINY_LIST) },
		{ 296, tiny_addr(TINY_TYPES) },
		{ 304, 256 },
		{ 312, tiny_addr(TINY_ETYPES) },
		{ 344, tiny_addr(TINY_GOFUNC) },
	};
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		tiny_put(t, TINY_MODULE + words[i].at, words[i].value);
}

/* ---- types ---- */

struct tiny_types {
	struct tiny *t;
	uint32_t next; /* free place in the type section */
};

static uint32_t tiny_room(struct tiny_types *y, uint32_t size)
{
	uint32_t at = (y->next + 7) & ~7u;
	y->next = at + size;
	return at;
}

static uint32_t tiny_name(struct tiny_types *y, const char *text)
{
	uint32_t len = (uint32_t)strlen(text);
	uint32_t at = y->next;
	y->t->data[at + 1] = (uint8_t)len;
	memcpy(y->t->data + at + 2, text, len);
	y->next = at + 2 + len;
	return at;
}

static void tiny_type(struct tiny_types *y, uint32_t at, uint8_t kind, uint64_t size,
		      const char *name)
{
	tiny_put(y->t, at, size);
	y->t->data[at + 20] = 2; /* the name has a star too many */
	y->t->data[at + 23] = kind;
	tiny_put32(y->t, at + 40, tiny_name(y, name) - TINY_TYPES);
}

static uint32_t tiny_pointer(struct tiny_types *y, uint32_t elem, const char *name)
{
	uint32_t at = tiny_room(y, 56);
	tiny_type(y, at, GO_KIND_POINTER, 8, name);
	tiny_put(y->t, at + 48, tiny_addr(elem));
	return at;
}

/* A field whose type matters. */
struct tiny_special {
	const char *field;
	uint32_t type;
	int32_t offset;
};

/* All fields of a root in layout.def that have this prefix, by their last name; "" for those without a dot. */
static void tiny_struct(struct tiny_types *y, uint32_t at, const char *name, uint64_t size,
			const char *root, const char *prefix, int32_t base, uint32_t word,
			const struct tiny_special *special)
{
	const struct go_field_def *defs;
	size_t count = go_layout_fields(&defs);
	uint32_t fields = tiny_room(y, 24 * 48);
	uint64_t n = 0;

	for (; special && special->field; special++, n++) {
		tiny_put(y->t, fields + n * 24, tiny_addr(tiny_name(y, special->field)));
		tiny_put(y->t, fields + n * 24 + 8, tiny_addr(special->type));
		tiny_put(y->t, fields + n * 24 + 16, (uint64_t)special->offset);
	}
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(prefix);
		const char *path = defs[i].path;
		int32_t offset = defs[i].by_release[5];
		if (strcmp(defs[i].root, root) != 0 || offset < 0 ||
		    strncmp(path, prefix, len) != 0 || strchr(path + len, '.') ||
		    strcmp(path, "m") == 0 || strcmp(path, "_panic") == 0 ||
		    strcmp(path, "ancestors") == 0)
			continue;
		tiny_put(y->t, fields + n * 24, tiny_addr(tiny_name(y, path + len)));
		tiny_put(y->t, fields + n * 24 + 8, tiny_addr(word));
		tiny_put(y->t, fields + n * 24 + 16, (uint64_t)(offset - base));
		n++;
	}
	tiny_type(y, at, GO_KIND_STRUCT, size, name);
	tiny_put(y->t, at + 56, tiny_addr(fields));
	tiny_put(y->t, at + 64, n);
	tiny_put(y->t, at + 72, n);
}

static void tiny_all_types(struct tiny *t)
{
	struct tiny_types y = { .t = t, .next = TINY_TYPES };
	uint32_t g = tiny_room(&y, 80), m = tiny_room(&y, 80), panic = tiny_room(&y, 80);
	uint32_t ancestor = tiny_room(&y, 80), stack = tiny_room(&y, 80), gobuf = tiny_room(&y, 80);
	uint32_t list = tiny_room(&y, 56), word = tiny_room(&y, 48);

	tiny_type(&y, word, GO_KIND_UINT64, 8, "*uint64");
	tiny_struct(&y, stack, "*runtime.stack", 16, "g", "stack.", 0, word, NULL);
	tiny_struct(&y, gobuf, "*runtime.gobuf", 48, "g", "sched.", 56, word, NULL);
	tiny_struct(&y, m, "*runtime.m", 1832, "m", "", 0, word, NULL);
	tiny_struct(&y, panic, "*runtime._panic", 96, "_panic", "", 0, word, NULL);
	tiny_struct(&y, ancestor, "*runtime.ancestorInfo", 40, "ancestorInfo", "", 0, word, NULL);
	tiny_type(&y, list, GO_KIND_SLICE, 24, "*[]runtime.ancestorInfo");
	tiny_put(t, list + 48, tiny_addr(ancestor));
	const struct tiny_special special[] = {
		{ "stack", stack, 0 },
		{ "_panic", tiny_pointer(&y, panic, "**runtime._panic"), 32 },
		{ "m", tiny_pointer(&y, m, "**runtime.m"), 48 },
		{ "sched", gobuf, 56 },
		{ "ancestors", tiny_pointer(&y, list, "**[]runtime.ancestorInfo"), 296 },
		{ NULL, 0, 0 },
	};
	tiny_struct(&y, g, "*runtime.g", 456, "g", "", 0, word, special);
}

/* ---- the runtime's state ---- */

static uint64_t tiny_string(struct tiny *t, uint64_t *next, const char *text)
{
	uint64_t at = *next;
	memcpy(t->data + at, text, strlen(text));
	*next = at + strlen(text);
	return tiny_addr(at);
}

static void tiny_reasons(struct tiny *t)
{
	static const char *const some[] = { "", "GC assist marking", "IO wait", "chan receive" };
	uint64_t next = TINY_STRINGS;

	for (size_t i = 0; i < 47; i++) {
		const char *text = i < ARRAY_SIZE(some) ? some[i] : "something else";
		tiny_put(t, TINY_REASONS + i * 16, tiny_string(t, &next, text));
		tiny_put(t, TINY_REASONS + i * 16 + 8, strlen(text));
	}
}

/* A field by the offsets of Go 1.27. */
static void tiny_field(struct tiny *t, uint64_t addr, const char *root, const char *path,
		       uint64_t value)
{
	const struct go_field_def *defs;
	size_t count = go_layout_fields(&defs);
	for (size_t i = 0; i < count; i++)
		if (strcmp(defs[i].root, root) == 0 && strcmp(defs[i].path, path) == 0)
			memcpy(t->data + (addr - TINY_BASE) + defs[i].by_release[5], &value,
			       MIN((size_t)defs[i].size, sizeof(value)));
}

_unused_ static void tiny_set_g(struct tiny *t, size_t n, const char *path, uint64_t value)
{
	tiny_field(t, tiny_g(n), "g", path, value);
}

_unused_ static void tiny_set_m(struct tiny *t, const char *path, uint64_t value)
{
	tiny_field(t, tiny_addr(TINY_M), "m", path, value);
}

/* A frame whose function returns to ra: the word at its cfa - 8. Returns the cfa. */
_unused_ static uint64_t tiny_frame(struct tiny *t, uint64_t sp, uint64_t ra)
{
	tiny_poke(t, sp + 24, ra);
	return sp + 32;
}

/* Goroutine 1 runs main.main, 2 waits in main.(*Pool).run, 3 is dead. */
static void tiny_runtime(struct tiny *t)
{
	tiny_put(t, TINY_ALLGS, tiny_addr(TINY_LIST));
	tiny_put(t, TINY_ALLGS + 8, TINY_GOROUTINES);
	tiny_put(t, TINY_ALLGS + 16, TINY_GOROUTINES + 1);
	for (size_t i = 0; i < 5; i++) {
		if (i < TINY_GOROUTINES) {
			tiny_put(t, TINY_LIST + i * 8, tiny_g(i));
			tiny_set_g(t, i, "goid", i + 1);
		}
		tiny_set_g(t, i, "stack.lo", tiny_stack(i) - TINY_STACK_SIZE);
		tiny_set_g(t, i, "stack.hi", tiny_stack(i));
		tiny_set_g(t, i, "startpc",
			   tiny_func(i == 0 ? "runtime.main" : "main.(*Pool).run"));
	}
	tiny_set_g(t, 0, "atomicstatus", GO_RUNNING);
	tiny_set_g(t, 0, "m", tiny_addr(TINY_M));
	tiny_set_g(t, 1, "atomicstatus", GO_WAITING | 0x1000);
	tiny_set_g(t, 1, "waitreason", 3);
	tiny_set_g(t, 1, "gopc", tiny_func("main.main") + 20);
	tiny_set_g(t, 1, "parentGoid", 1);
	tiny_set_g(t, 2, "atomicstatus", GO_DEAD);
	tiny_set_g(t, TINY_G0, "m", tiny_addr(TINY_M));
	tiny_set_g(t, TINY_GSIGNAL, "m", tiny_addr(TINY_M));

	/* gopark <- main.outer (with main.inner in it) <- run <- goexit */
	uint64_t sp = tiny_stack(1) - 200;
	tiny_set_g(t, 1, "sched.pc", tiny_func("runtime.gopark") + 30);
	tiny_set_g(t, 1, "sched.sp", sp);
	sp = tiny_frame(t, sp, tiny_func("main.outer") + 50);
	sp = tiny_frame(t, sp, tiny_func("main.(*Pool).run") + 20);
	tiny_frame(t, sp, tiny_func("runtime.goexit") + 1);
	/* main.main <- runtime.main <- goexit, where the thread is */
	sp = tiny_frame(t, tiny_stack(0) - 200, tiny_func("runtime.main") + 30);
	tiny_frame(t, sp, tiny_func("runtime.goexit") + 1);

	tiny_set_m(t, "g0", tiny_g(TINY_G0));
	tiny_set_m(t, "gsignal", tiny_g(TINY_GSIGNAL));
	tiny_set_m(t, "curg", tiny_g(0));
	tiny_set_m(t, "procid", 4711);
	tiny_put(t, TINY_TLS - 8, tiny_g(0));
}

_unused_ static void tiny_make(struct tiny *t)
{
	memset(t->data, 0, sizeof(t->data));
	tiny_elf(t);
	tiny_buildinfo(t);
	tiny_code(t);
	tiny_pclntab(t);
	tiny_module(t);
	tiny_all_types(t);
	tiny_reasons(t);
	tiny_runtime(t);
	t->mem = (struct mem){ .read = tiny_read, .ctx = t };
}

#endif
