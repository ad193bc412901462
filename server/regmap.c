#include "server/regmap.h"

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

int regmap_ax_reg(void *ctx, unsigned number)
{
	const struct regmap *m = ctx;
	return number < m->tdesc.count ? m->x86[number] : -1;
}
