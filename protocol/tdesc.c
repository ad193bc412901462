#include "protocol/tdesc.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static_assert(TDESC_PL3_SSP_REG == 149, "ids are GDB's numbers with every feature present");

/* One <feature> of target.xml; in GDB's order. */
enum section {
	CORE,
	SSE,
	LINUX,
	SEGMENTS,
	AVX,
	AVX512,
	PKEYS,
	PL3_SSP,
	SECTIONS,
	WHOLE_YMM = SECTIONS, /* not in GDB's layout */
	PART,                 /* of another register */
};

enum group {
	GENERAL,
	FLOAT,
	VECTOR,
};

/* As lldb-server calls them; lldb prints them above its lists. */
static const char *const group_names[] = {
	[GENERAL] = "General Purpose Registers",
	[FLOAT] = "Floating Point Registers",
	[VECTOR] = "Advanced Vector Extensions",
};

/* How lldb reads the bytes. */
enum view {
	HEX,
	BYTES,
};

enum { NO_DWARF = -1 };

/* Registers that differ by an index only: `count` of them, %u in the name counting from `index`. */
struct family {
	uint16_t first;
	uint8_t count, index;
	uint8_t section, group, view;
	uint16_t bits;
	int16_t dwarf; /* of the first; the others follow */
	const char *name;
	const char *type;
	const char *gdb_group;
	const char *generic;
	const char *alt;
};

#define GPR(reg, name_, dwarf_, type_, ...)                                                 \
	{                                                                                   \
		.first = (reg), .count = 1, .section = CORE, .bits = 64, .dwarf = (dwarf_), \
		.name = (name_), .type = (type_), ##__VA_ARGS__                             \
	}
#define SEGMENT(reg, name_, dwarf_)                                                         \
	{                                                                                   \
		.first = (reg), .count = 1, .section = CORE, .bits = 32, .dwarf = (dwarf_), \
		.name = (name_), .type = "int32"                                            \
	}
#define X87(reg, name_, dwarf_)                                                          \
	{                                                                                \
		.first = (reg), .count = 1, .section = CORE, .group = FLOAT, .bits = 32, \
		.dwarf = (dwarf_), .name = (name_), .type = "int", .gdb_group = "float"  \
	}
#define MANY(reg, count_, index_, section_, group_, view_, bits_, dwarf_, name_, type_)      \
	{                                                                                    \
		.first = (reg), .count = (count_), .index = (index_), .section = (section_), \
		.group = (group_), .view = (view_), .bits = (bits_), .dwarf = (dwarf_),      \
		.name = (name_), .type = (type_)                                             \
	}

#define ONE_PART(reg, bits_, name_)                                                              \
	{                                                                                        \
		.first = (reg), .count = 1, .section = PART, .bits = (bits_), .dwarf = NO_DWARF, \
		.name = (name_), .type = "int" #bits_                                            \
	}
#define PARTS(reg, bits, a, b, c, d, e, f, g, h)                                            \
	ONE_PART(reg, bits, a), ONE_PART((reg) + 1, bits, b), ONE_PART((reg) + 2, bits, c), \
		ONE_PART((reg) + 3, bits, d), ONE_PART((reg) + 4, bits, e),                 \
		ONE_PART((reg) + 5, bits, f), ONE_PART((reg) + 6, bits, g),                 \
		ONE_PART((reg) + 7, bits, h)

/* In the order of ids, which is GDB's order of numbers. */
static const struct family families[] = {
	GPR(TDESC_RAX, "rax", 0, "int64"),
	GPR(TDESC_RBX, "rbx", 3, "int64"),
	GPR(TDESC_RCX, "rcx", 2, "int64", .generic = "arg4"),
	GPR(TDESC_RDX, "rdx", 1, "int64", .generic = "arg3"),
	GPR(TDESC_RSI, "rsi", 4, "int64", .generic = "arg2"),
	GPR(TDESC_RDI, "rdi", 5, "int64", .generic = "arg1"),
	GPR(TDESC_RBP, "rbp", 6, "data_ptr", .generic = "fp"),
	GPR(TDESC_RSP, "rsp", 7, "data_ptr", .generic = "sp"),
	GPR(TDESC_R8, "r8", 8, "int64", .generic = "arg5"),
	GPR(TDESC_R8 + 1, "r9", 9, "int64", .generic = "arg6"),
	MANY(TDESC_R8 + 2, 6, 10, CORE, GENERAL, HEX, 64, 10, "r%u", "int64"),
	GPR(TDESC_RIP, "rip", 16, "code_ptr", .generic = "pc"),
	{ .first = TDESC_EFLAGS,
	  .count = 1,
	  .section = CORE,
	  .bits = 32,
	  .dwarf = 49,
	  .name = "eflags",
	  .type = "i386_eflags",
	  .generic = "flags",
	  .alt = "rflags" },
	SEGMENT(TDESC_CS, "cs", 51),
	SEGMENT(TDESC_SS, "ss", 52),
	SEGMENT(TDESC_DS, "ds", 53),
	SEGMENT(TDESC_ES, "es", 50),
	SEGMENT(TDESC_FS, "fs", 54),
	SEGMENT(TDESC_GS, "gs", 55),
	MANY(TDESC_ST0, 8, 0, CORE, FLOAT, BYTES, 80, 33, "st%u", "i387_ext"),
	X87(TDESC_FCTRL, "fctrl", 65),
	X87(TDESC_FSTAT, "fstat", 66),
	X87(TDESC_FTAG, "ftag", NO_DWARF),
	X87(TDESC_FISEG, "fiseg", NO_DWARF),
	X87(TDESC_FIOFF, "fioff", NO_DWARF),
	X87(TDESC_FOSEG, "foseg", NO_DWARF),
	X87(TDESC_FOOFF, "fooff", NO_DWARF),
	X87(TDESC_FOP, "fop", NO_DWARF),
	MANY(TDESC_XMM0, 16, 0, SSE, VECTOR, BYTES, 128, 17, "xmm%u", "vec128"),
	{ .first = TDESC_MXCSR,
	  .count = 1,
	  .section = SSE,
	  .group = FLOAT,
	  .bits = 32,
	  .dwarf = 64,
	  .name = "mxcsr",
	  .type = "i386_mxcsr",
	  .gdb_group = "vector" },
	{ .first = TDESC_ORIG_RAX,
	  .count = 1,
	  .section = LINUX,
	  .bits = 64,
	  .dwarf = NO_DWARF,
	  .name = "orig_rax",
	  .type = "int",
	  .gdb_group = "system" },
	{ .first = TDESC_FS_BASE,
	  .count = 1,
	  .section = SEGMENTS,
	  .bits = 64,
	  .dwarf = 58,
	  .name = "fs_base",
	  .type = "int",
	  .generic = "tp" },
	{ .first = TDESC_GS_BASE,
	  .count = 1,
	  .section = SEGMENTS,
	  .bits = 64,
	  .dwarf = 59,
	  .name = "gs_base",
	  .type = "int" },
	MANY(TDESC_YMM0H, 16, 0, AVX, VECTOR, BYTES, 128, NO_DWARF, "ymm%uh", "uint128"),
	MANY(TDESC_XMM16, 16, 16, AVX512, VECTOR, BYTES, 128, 67, "xmm%u", "vec128"),
	MANY(TDESC_YMM16H, 16, 16, AVX512, VECTOR, BYTES, 128, NO_DWARF, "ymm%uh", "uint128"),
	MANY(TDESC_K0, 8, 0, AVX512, VECTOR, HEX, 64, 118, "k%u", "uint64"),
	MANY(TDESC_ZMM0H, 32, 0, AVX512, VECTOR, BYTES, 256, NO_DWARF, "zmm%uh", "v2ui128"),
	{ .first = TDESC_PKRU,
	  .count = 1,
	  .section = PKEYS,
	  .bits = 32,
	  .dwarf = NO_DWARF,
	  .name = "pkru",
	  .type = "uint32" },
	{ .first = TDESC_PL3_SSP_REG,
	  .count = 1,
	  .section = PL3_SSP,
	  .bits = 64,
	  .dwarf = NO_DWARF,
	  .name = "pl3_ssp",
	  .type = "data_ptr" },
	MANY(TDESC_YMM0, 16, 0, WHOLE_YMM, VECTOR, BYTES, 256, NO_DWARF, "ymm%u", "vec256"),
	PARTS(TDESC_EAX, 32, "eax", "ebx", "ecx", "edx", "esi", "edi", "ebp", "esp"),
	MANY(TDESC_R8D, 8, 8, PART, GENERAL, HEX, 32, NO_DWARF, "r%ud", "int32"),
	PARTS(TDESC_AX, 16, "ax", "bx", "cx", "dx", "si", "di", "bp", "sp"),
	MANY(TDESC_R8W, 8, 8, PART, GENERAL, HEX, 16, NO_DWARF, "r%uw", "int16"),
	ONE_PART(TDESC_AH, 8, "ah"),
	ONE_PART(TDESC_AH + 1, 8, "bh"),
	ONE_PART(TDESC_AH + 2, 8, "ch"),
	ONE_PART(TDESC_AH + 3, 8, "dh"),
	PARTS(TDESC_AL, 8, "al", "bl", "cl", "dl", "sil", "dil", "bpl", "spl"),
	MANY(TDESC_R8L, 8, 8, PART, GENERAL, HEX, 8, NO_DWARF, "r%ul", "int8"),
	MANY(TDESC_MM0, 8, 0, PART, FLOAT, BYTES, 64, NO_DWARF, "mm%u", "uint64"),
};

/* The types a feature's registers name; GDB looks a type up in its own feature only. */
#define VECTORS                                                   \
	"<vector id=\"v8bf16\" type=\"bfloat16\" count=\"8\"/>\n" \
	"<vector id=\"v8h\" type=\"ieee_half\" count=\"8\"/>\n"   \
	"<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/>\n" \
	"<vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>\n" \
	"<vector id=\"v16i8\" type=\"int8\" count=\"16\"/>\n"     \
	"<vector id=\"v8i16\" type=\"int16\" count=\"8\"/>\n"     \
	"<vector id=\"v4i32\" type=\"int32\" count=\"4\"/>\n"     \
	"<vector id=\"v2i64\" type=\"int64\" count=\"2\"/>\n"     \
	"<union id=\"vec128\">\n"                                 \
	"<field name=\"v8_bfloat16\" type=\"v8bf16\"/>\n"         \
	"<field name=\"v8_half\" type=\"v8h\"/>\n"                \
	"<field name=\"v4_float\" type=\"v4f\"/>\n"               \
	"<field name=\"v2_double\" type=\"v2d\"/>\n"              \
	"<field name=\"v16_int8\" type=\"v16i8\"/>\n"             \
	"<field name=\"v8_int16\" type=\"v8i16\"/>\n"             \
	"<field name=\"v4_int32\" type=\"v4i32\"/>\n"             \
	"<field name=\"v2_int64\" type=\"v2i64\"/>\n"             \
	"<field name=\"uint128\" type=\"uint128\"/>\n"            \
	"</union>\n"

struct flag {
	uint8_t bit;
	const char *name;
};

/* Bit 1 always reads 1 and has no name. */
static const struct flag eflags[] = {
	{ 0, "CF" },  { 1, "" },    { 2, "PF" },   { 4, "AF" },   { 6, "ZF" },  { 7, "SF" },
	{ 8, "TF" },  { 9, "IF" },  { 10, "DF" },  { 11, "OF" },  { 14, "NT" }, { 16, "RF" },
	{ 17, "VM" }, { 18, "AC" }, { 19, "VIF" }, { 20, "VIP" }, { 21, "ID" }, { 0, NULL },
};

static const struct flag mxcsr[] = {
	{ 0, "IE" },  { 1, "DE" },  { 2, "ZE" },  { 3, "OE" },  { 4, "UE" },
	{ 5, "PE" },  { 6, "DAZ" }, { 7, "IM" },  { 8, "DM" },  { 9, "ZM" },
	{ 10, "OM" }, { 11, "UM" }, { 12, "PM" }, { 15, "FZ" }, { 0, NULL },
};

static const struct {
	const char *name;
	unsigned feature; /* 0: always there */
	const char *types;
	const char *flags_name;
	const struct flag *flags;
} sections[SECTIONS] = {
	[CORE] = { "org.gnu.gdb.i386.core", 0, "", "i386_eflags", eflags },
	[SSE] = { "org.gnu.gdb.i386.sse", 0, VECTORS, "i386_mxcsr", mxcsr },
	[LINUX] = { "org.gnu.gdb.i386.linux", 0, "", NULL, NULL },
	[SEGMENTS] = { "org.gnu.gdb.i386.segments", TDESC_SEGMENTS, "", NULL, NULL },
	[AVX] = { "org.gnu.gdb.i386.avx", TDESC_AVX, "", NULL, NULL },
	[AVX512] = { "org.gnu.gdb.i386.avx512", TDESC_AVX512,
		     VECTORS "<vector id=\"v2ui128\" type=\"uint128\" count=\"2\"/>\n", NULL,
		     NULL },
	[PKEYS] = { "org.gnu.gdb.i386.pkeys", TDESC_PKEYS, "", NULL, NULL },
	[PL3_SSP] = { "org.gnu.gdb.i386.pl3_ssp", TDESC_PL3_SSP, "", NULL, NULL },
};

static const struct family *family_of(unsigned id)
{
	size_t lo = 0, hi = ARRAY_SIZE(families);
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (families[mid].first <= id)
			lo = mid;
		else
			hi = mid;
	}
	return &families[lo];
}

/* Delve and lldb are shown whole ymm registers instead of halves, and nothing of AVX-512. */
static bool is_listed(const struct family *f, unsigned features, enum tdesc_layout layout)
{
	bool whole_ymm = layout != TDESC_GDB && features & TDESC_AVX;

	if (f->section == WHOLE_YMM)
		return whole_ymm;
	if (f->section == PART)
		return layout == TDESC_LLDB;
	if (layout != TDESC_GDB && (f->section == AVX || f->section == AVX512))
		return false;
	unsigned needs = sections[f->section].feature;
	return !needs || features & needs;
}

/* What gdb calls eflags lldb calls rflags; the other name goes with it. */
static const char *name_in(const struct family *f, enum tdesc_layout layout)
{
	return f->alt && layout == TDESC_LLDB ? f->alt : f->name;
}

static const char *alt_in(const struct family *f, enum tdesc_layout layout)
{
	return f->alt && layout == TDESC_LLDB ? f->name : f->alt;
}

static void add_reg(struct tdesc *t, const struct family *f, unsigned i)
{
	struct tdesc_reg *reg = &t->regs[t->count];

	*reg = (struct tdesc_reg){
		.id = (uint16_t)(f->first + i),
		.number = (uint16_t)t->count,
		.size = f->bits / 8,
		.container = TDESC_NONE,
	};
	if (f->count > 1)
		snprintf(reg->name, sizeof(reg->name), f->name, f->index + i);
	else
		snprintf(reg->name, sizeof(reg->name), "%s", name_in(f, t->layout));
	t->numbers[reg->id] = reg->number;
	t->count++;
}

/* Families whose registers lie in those of another one, in the same order. */
static const struct {
	uint16_t first, count, in, at; /* at: bytes from the container's first */
} contained[] = {
	{ TDESC_XMM0, 16, TDESC_YMM0, 0 }, { TDESC_EAX, 16, TDESC_RAX, 0 },
	{ TDESC_AX, 16, TDESC_RAX, 0 },    { TDESC_AH, 4, TDESC_RAX, 1 },
	{ TDESC_AL, 16, TDESC_RAX, 0 },    { TDESC_MM0, 8, TDESC_ST0, 0 },
};

static bool is_contained(const struct tdesc *t, const struct tdesc_reg *reg,
			 unsigned *ret_container, unsigned *ret_at)
{
	for (size_t i = 0; i < ARRAY_SIZE(contained); i++) {
		unsigned k = reg->id - (unsigned)contained[i].first;
		if (k >= contained[i].count || t->numbers[contained[i].in + k] == TDESC_NONE)
			continue;
		*ret_container = t->numbers[contained[i].in + k];
		*ret_at = contained[i].at;
		return true;
	}
	return false;
}

static void place_regs(struct tdesc *t)
{
	unsigned container, at;

	for (size_t i = 0; i < t->count; i++) {
		struct tdesc_reg *reg = &t->regs[i];
		if (is_contained(t, reg, &container, &at))
			continue;
		reg->offset = (uint16_t)t->size;
		t->size += reg->size;
	}
	for (size_t i = 0; i < t->count; i++) {
		struct tdesc_reg *reg = &t->regs[i];
		if (!is_contained(t, reg, &container, &at))
			continue;
		reg->container = (uint16_t)container;
		reg->offset = (uint16_t)(t->regs[container].offset + at);
	}
	assert(t->size <= TDESC_SIZE_MAX);
}

void tdesc_build(struct tdesc *t, unsigned features, enum tdesc_layout layout)
{
	if (features & TDESC_AVX512)
		features |= TDESC_AVX;
	*t = (struct tdesc){ .layout = layout, .features = features & TDESC_ALL };
	for (size_t id = 0; id < TDESC_IDS; id++)
		t->numbers[id] = TDESC_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++)
		if (is_listed(&families[i], features, layout))
			for (unsigned k = 0; k < families[i].count; k++)
				add_reg(t, &families[i], k);
	place_regs(t);
}

const struct tdesc_reg *tdesc_by_number(const struct tdesc *t, uint64_t number)
{
	return number < t->count ? &t->regs[number] : NULL;
}

const struct tdesc_reg *tdesc_by_id(const struct tdesc *t, enum tdesc_id id)
{
	return (unsigned)id < TDESC_IDS ? tdesc_by_number(t, t->numbers[id]) : NULL;
}

const struct tdesc_reg *tdesc_by_name(const struct tdesc *t, const char *name)
{
	for (size_t i = 0; i < t->count; i++) {
		const char *alt = alt_in(family_of(t->regs[i].id), t->layout);
		if (!strcmp(t->regs[i].name, name) || (alt && !strcmp(alt, name)))
			return &t->regs[i];
	}
	return NULL;
}

static void put_flags(struct buf *b, const char *name, const struct flag *flags)
{
	buf_printf(b, "<flags id=\"%s\" size=\"4\">\n", name);
	for (; flags->name; flags++)
		buf_printf(b, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>\n", flags->name,
			   flags->bit, flags->bit);
	buf_puts(b, "</flags>\n");
}

static const char *encoding(const struct family *f)
{
	return f->view == BYTES ? "vector" : "uint";
}

static const char *format(const struct family *f)
{
	return f->view == BYTES ? "vector-uint8" : "hex";
}

static int dwarf_number(const struct family *f, const struct tdesc_reg *reg)
{
	return f->dwarf == NO_DWARF ? NO_DWARF : f->dwarf + (reg->id - f->first);
}

static void put_reg_xml(struct buf *b, const struct tdesc *t, const struct family *f,
			const struct tdesc_reg *reg)
{
	int dwarf = dwarf_number(f, reg);

	buf_printf(b, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"", reg->name,
		   f->bits, f->type, reg->number);
	if (t->layout == TDESC_LLDB)
		buf_printf(b, " group=\"%s\"", group_names[f->group]);
	else if (f->gdb_group)
		buf_printf(b, " group=\"%s\"", f->gdb_group);
	/* What follows only lldb reads. */
	buf_printf(b, " offset=\"%u\" encoding=\"%s\" format=\"%s\" group_id=\"%d\"", reg->offset,
		   encoding(f), format(f), f->group + 1);
	if (f->alt)
		buf_printf(b, " altname=\"%s\"", alt_in(f, t->layout));
	if (f->generic)
		buf_printf(b, " generic=\"%s\"", f->generic);
	if (dwarf != NO_DWARF)
		buf_printf(b, " dwarf_regnum=\"%d\" ehframe_regnum=\"%d\"", dwarf, dwarf);
	if (reg->container != TDESC_NONE)
		buf_printf(b, " value_regnums=\"%u\" invalidate_regnums=\"%u\"", reg->container,
			   reg->container);
	buf_puts(b, "/>\n");
}

static void put_section(struct buf *b, const struct tdesc *t, enum section section)
{
	buf_printf(b, "<feature name=\"%s\">\n%s", sections[section].name, sections[section].types);
	if (sections[section].flags)
		put_flags(b, sections[section].flags_name, sections[section].flags);
	for (size_t i = 0; i < t->count; i++) {
		const struct family *f = family_of(t->regs[i].id);
		if (f->section == section)
			put_reg_xml(b, t, f, &t->regs[i]);
	}
	buf_puts(b, "</feature>\n");
}

/* As lldb-server has it: one feature, an architecture in lldb's own words, sets named in full. */
static void put_lldb_xml(struct buf *b, const struct tdesc *t)
{
	buf_puts(b, "<?xml version=\"1.0\"?>\n<target version=\"1.0\">\n"
		    "<architecture>x86_64</architecture>\n<feature>\n");
	for (enum section s = 0; s < SECTIONS; s++)
		if (sections[s].flags)
			put_flags(b, sections[s].flags_name, sections[s].flags);
	for (size_t i = 0; i < t->count; i++)
		put_reg_xml(b, t, family_of(t->regs[i].id), &t->regs[i]);
	buf_puts(b, "</feature>\n</target>\n");
}

void tdesc_put_xml(struct buf *b, const struct tdesc *t)
{
	if (t->layout == TDESC_LLDB) {
		put_lldb_xml(b, t);
		return;
	}
	buf_puts(b, "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
		    "<target version=\"1.0\">\n<architecture>i386:x86-64</architecture>\n"
		    "<osabi>GNU/Linux</osabi>\n<groups>\n");
	for (size_t i = 0; i < ARRAY_SIZE(group_names); i++)
		buf_printf(b, "<group id=\"%zu\" name=\"%s\"/>\n", i + 1, group_names[i]);
	buf_puts(b, "</groups>\n");
	for (enum section s = 0; s < SECTIONS; s++)
		if (!sections[s].feature || t->features & sections[s].feature)
			put_section(b, t, s);
	buf_puts(b, "</target>\n");
}

void tdesc_put_register_info(struct buf *b, const struct tdesc *t, uint64_t number)
{
	const struct tdesc_reg *reg = tdesc_by_number(t, number);
	if (!reg) {
		buf_puts(b, "E45");
		return;
	}

	const struct family *f = family_of(reg->id);
	int dwarf = dwarf_number(f, reg);
	buf_printf(b, "name:%s;", reg->name);
	if (f->alt)
		buf_printf(b, "alt-name:%s;", alt_in(f, t->layout));
	buf_printf(b, "bitsize:%u;offset:%u;encoding:%s;format:%s;set:%s;", f->bits, reg->offset,
		   encoding(f), format(f), group_names[f->group]);
	if (dwarf != NO_DWARF)
		buf_printf(b, "ehframe:%d;dwarf:%d;", dwarf, dwarf);
	if (f->generic)
		buf_printf(b, "generic:%s;", f->generic);
	if (reg->container != TDESC_NONE)
		buf_printf(b, "container-regs:%x;", reg->container);
}
