#include "server/regmap.h"

#include <errno.h>

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
		m->x86[i] =
			i < m->tdesc.count ? (int16_t)x86_reg_by_name(m->tdesc.regs[i].name) : -1;
}

enum { HALF = 16 };

static bool is_whole_ymm(const struct tdesc_reg *reg)
{
	return reg->id >= TDESC_YMM0 && reg->id <= TDESC_YMM15;
}

int regmap_get(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg, void *into)
{
	unsigned i = (unsigned)reg->id - TDESC_YMM0;

	if (is_whole_ymm(reg)) {
		int e = view_regs_get(r, X86_XMM0 + i, into);
		return e < 0 ? e : view_regs_get(r, X86_YMM0H + i, (uint8_t *)into + HALF);
	}
	return m->x86[reg->number] < 0 ? -ENODATA
				       : view_regs_get(r, (unsigned)m->x86[reg->number], into);
}

int regmap_set(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg,
	       const void *from)
{
	unsigned i = (unsigned)reg->id - TDESC_YMM0;

	if (is_whole_ymm(reg)) {
		int e = view_regs_set(r, X86_XMM0 + i, from);
		return e < 0 ? e : view_regs_set(r, X86_YMM0H + i, (const uint8_t *)from + HALF);
	}
	return m->x86[reg->number] < 0 ? -ENODATA
				       : view_regs_set(r, (unsigned)m->x86[reg->number], from);
}

int regmap_ax_reg(void *ctx, unsigned number)
{
	const struct regmap *m = ctx;
	return number < m->tdesc.count ? m->x86[number] : -1;
}
