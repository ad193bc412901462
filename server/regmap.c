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

/* A whole ymm or zmm as it lies in its parts: 16 bytes of xmm, 16 and 32 above them. */
static size_t parts_of(const struct tdesc_reg *reg, unsigned ret_parts[3])
{
	bool ymm = reg->id >= TDESC_YMM0 && reg->id <= TDESC_YMM15;
	bool zmm = reg->id >= TDESC_ZMM0 && reg->id <= TDESC_ZMM15;
	unsigned i = (unsigned)reg->id - (zmm ? TDESC_ZMM0 : TDESC_YMM0);

	if (!ymm && !zmm)
		return 0;
	ret_parts[0] = X86_XMM0 + i;
	ret_parts[1] = X86_YMM0H + i;
	ret_parts[2] = X86_ZMM0H + i;
	return zmm ? 3 : 2;
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
	unsigned parts[3];
	size_t count = parts_of(reg, parts);
	uint8_t *at = into;
	int e = 0;

	for (size_t i = 0; i < count && e == 0; i++) {
		e = view_regs_get(r, parts[i], at);
		at += x86_reg_size(parts[i]);
	}
	if (count)
		return e;
	if (m->x86[reg->number] >= 0)
		return view_regs_get(r, (unsigned)m->x86[reg->number], into);
	return part_get(m, r, reg, into);
}

int regmap_set(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg,
	       const void *from)
{
	unsigned parts[3];
	size_t count = parts_of(reg, parts);
	const uint8_t *at = from;
	int e = 0;

	for (size_t i = 0; i < count && e == 0; i++) {
		e = view_regs_set(r, parts[i], at);
		at += x86_reg_size(parts[i]);
	}
	if (count)
		return e;
	if (m->x86[reg->number] >= 0)
		return view_regs_set(r, (unsigned)m->x86[reg->number], from);
	return part_set(m, r, reg, from);
}

int regmap_ax_reg(void *ctx, unsigned number)
{
	const struct regmap *m = ctx;
	return number < m->tdesc.count ? m->x86[number] : -1;
}
