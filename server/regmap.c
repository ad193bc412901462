#include "server/regmap.h"

#include <errno.h>
#include <string.h>

/* By name; lldb's name of one is not ours. */
static int ours(const struct tdesc_reg *reg)
{
	return reg->id == TDESC_EFLAGS ? X86_EFLAGS : x86_reg_by_name(reg->name);
}

void regmap_init(struct regmap *m, const struct x86_features *cpu, enum tdesc_layout layout)
{
	unsigned features = TDESC_SEGMENTS;

	if (cpu->avx)
		features |= TDESC_AVX;
	if (cpu->avx512)
		features |= TDESC_AVX512;
	if (cpu->pkeys)
		features |= TDESC_PKEYS;
	tdesc_build(&m->tdesc, features, layout);
	for (size_t i = 0; i < TDESC_REGS_MAX; i++)
		m->x86[i] = i < m->tdesc.count ? (int16_t)ours(&m->tdesc.regs[i]) : -1;
}

enum { HALF = 16 };

static bool is_whole_ymm(const struct tdesc_reg *reg)
{
	return reg->id >= TDESC_YMM0 && reg->id <= TDESC_YMM15;
}

/* eax of rax and the like */
static int part_get(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg,
		    void *into)
{
	const struct tdesc_reg *whole = tdesc_by_number(&m->tdesc, reg->container);
	uint8_t bytes[X86_REG_SIZE_MAX];

	if (!whole || m->x86[whole->number] < 0)
		return -ENODATA;
	int e = view_regs_get(r, (unsigned)m->x86[whole->number], bytes);
	if (e == 0)
		memcpy(into, bytes + (reg->offset - whole->offset), reg->size);
	return e;
}

static int part_set(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg,
		    const void *from)
{
	const struct tdesc_reg *whole = tdesc_by_number(&m->tdesc, reg->container);
	uint8_t bytes[X86_REG_SIZE_MAX];

	if (!whole || m->x86[whole->number] < 0)
		return -ENODATA;
	int e = view_regs_get(r, (unsigned)m->x86[whole->number], bytes);
	if (e < 0)
		return e;
	memcpy(bytes + (reg->offset - whole->offset), from, reg->size);
	return view_regs_set(r, (unsigned)m->x86[whole->number], bytes);
}

int regmap_get(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg, void *into)
{
	unsigned i = (unsigned)reg->id - TDESC_YMM0;

	if (is_whole_ymm(reg)) {
		int e = view_regs_get(r, X86_XMM0 + i, into);
		return e < 0 ? e : view_regs_get(r, X86_YMM0H + i, (uint8_t *)into + HALF);
	}
	if (m->x86[reg->number] >= 0)
		return view_regs_get(r, (unsigned)m->x86[reg->number], into);
	return part_get(m, r, reg, into);
}

int regmap_set(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg,
	       const void *from)
{
	unsigned i = (unsigned)reg->id - TDESC_YMM0;

	if (is_whole_ymm(reg)) {
		int e = view_regs_set(r, X86_XMM0 + i, from);
		return e < 0 ? e : view_regs_set(r, X86_YMM0H + i, (const uint8_t *)from + HALF);
	}
	if (m->x86[reg->number] >= 0)
		return view_regs_set(r, (unsigned)m->x86[reg->number], from);
	return part_set(m, r, reg, from);
}

int regmap_ax_reg(void *ctx, unsigned number)
{
	const struct regmap *m = ctx;
	return number < m->tdesc.count ? m->x86[number] : -1;
}
