/*
 * Type descriptors and the layouts made of them. The input is the memory they are in: {kind, where runtime.g is: 1 byte}, then the
 * type section at BASE, where go_tiny.h has its own. Kind: bit 0, field offsets as Go 1.18 has them; bit 1, the section is said to be longer than it is.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dwarf/go/layout.h"
#include "server/base/mem.h"

enum { BASE = 0x404000, TYPES_MAX = 200 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct place {
	const uint8_t *data;
	size_t size;
	size_t reads;
};

static void must(bool right)
{
	if (!right)
		abort();
}

static int place_read(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	struct place *p = ctx;

	p->reads++;
	if (addr < BASE || addr - BASE >= p->size)
		return -EFAULT;
	*ret_got = MIN(len, p->size - (size_t)(addr - BASE));
	memcpy(into, p->data + (addr - BASE), *ret_got);
	return 0;
}

struct fields {
	uint64_t size;
	size_t count;
	uint64_t sum;
};

static bool on_field(void *ctx, const struct go_struct_field *f)
{
	struct fields *all = ctx;

	must(f->offset <= all->size);
	must(memchr(f->name, 0, sizeof(f->name)) != NULL);
	all->count++;
	all->sum = all->sum * 31 + f->offset + f->type + strlen(f->name);
	return true;
}

/* All that one descriptor can be asked, as a number. */
static uint64_t ask_type(const struct go_types *t, uint64_t addr)
{
	static const char *const paths[] = { "goid", "sched.sp", "m.curg.m.curg.m.curg.goid",
					     "",     ".",        "a.b.c.d.e.f.g.h.i.j" };
	struct go_type type, elem;
	struct go_struct_field field;
	char name[40];
	uint64_t sum = 0;

	if (!go_type_read(t, addr, &type))
		return 0;
	if (go_type_name(t, &type, name, sizeof(name))) {
		must(memchr(name, 0, sizeof(name)) != NULL);
		sum += strlen(name);
	}
	/* Types can be of themselves: how deep one goes is the asker's. */
	elem = type;
	for (unsigned depth = 0; depth < 8 && go_type_elem(t, &elem, &elem); depth++)
		sum = sum * 31 + elem.addr;
	struct fields all = { .size = type.size };
	sum = sum * 31 + go_type_fields(t, &type, on_field, &all);
	must(all.count <= GO_STRUCT_FIELDS_MAX);
	sum += all.sum;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (go_type_field(t, &type, paths[i], &field))
			sum = sum * 31 + field.offset + field.type;
	return sum;
}

static uint64_t ask_layout(const struct go_types *t, uint64_t addr)
{
	struct go_layout layout;
	uint64_t sum = 1;

	if (!go_layout_from_types(t, addr, &layout))
		return 0;
	must(go_layout_complete(&layout));
	const struct go_field_def *defs;
	size_t count = go_layout_fields(&defs);
	for (size_t i = 0; i < count; i++) {
		int32_t at = *go_layout_nth(&layout, i);
		must(at <= 1 << 16);
		sum = sum * 31 + (uint64_t)(int64_t)at;
	}
	return sum;
}

static uint64_t ask(const struct go_types *t, size_t size, uint64_t g)
{
	static const char *const names[] = { "runtime.g", "runtime.m", "x", "" };
	uint64_t sum = ask_layout(t, g);

	for (size_t i = 0; i < MIN(size / 8, (size_t)TYPES_MAX); i++)
		sum = sum * 31 + ask_type(t, BASE + i * 8);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		uint64_t at = go_types_scan(t, names[i]);
		if (at)
			must(at >= t->types && at < t->etypes);
		sum = sum * 31 + at + (at ? ask_layout(t, at) : 0);
	}
	return sum;
}

/* A file that has nothing: what is read is memory. */
static struct image *nothing(void)
{
	static struct image *img;
	static Elf64_Ehdr eh = { .e_type = ET_EXEC,
				 .e_machine = EM_X86_64,
				 .e_version = EV_CURRENT,
				 .e_ehsize = sizeof(eh) };

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	eh.e_ident[EI_VERSION] = EV_CURRENT;
	must(img || image_of_bytes((const uint8_t *)&eh, sizeof(eh), "fuzz", &img, NULL) == 0);
	return img;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct go_type_page pages[GO_TYPE_PAGES];

	if (size < 2)
		return 0;
	struct place place = { data + 2, size - 2, 0 };
	struct mem mem = { .read = place_read, .ctx = &place };
	struct image_mem im = { .img = nothing(), .mem = &mem };
	struct go_types t = { .im = &im,
			      .types = BASE,
			      .etypes = BASE + place.size + (data[0] & 2 ? 1 << 30 : 0),
			      .shifted_offsets = data[0] & 1 };
	uint64_t g = BASE + data[1] * UINT64_C(8);

	uint64_t plain = ask(&t, place.size, g);
	size_t reads = place.reads;
	memset(pages, 0, sizeof(pages));
	t.pages = pages;
	/* What is kept says the same, and a circle of types is no endless walk. */
	must(ask(&t, place.size, g) == plain);
	must(reads < 4000000);
	return 0;
}
