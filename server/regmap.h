/*
 * regmap.h - the registers as the client numbers them, joined by name with the registers as the target keeps them.
 */
#ifndef STOPGO_REGMAP_H
#define STOPGO_REGMAP_H

#include "protocol/tdesc.h"
#include "server/threadview.h"
#include "target/x86/regs.h"

struct regmap {
	struct tdesc tdesc;
	int16_t x86[TDESC_REGS_MAX]; /* by client number: enum x86_reg, or -1 */
};

void regmap_init(struct regmap *m, const struct x86_features *cpu, enum tdesc_layout layout);

/*
 * One register of the client's as bytes of its size, from and to a thread. Whole ymm registers, which only Delve is shown, are made of
 * their halves. -ENODATA: the thread has no such register.
 */
int regmap_get(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg,
	       void *into);
int regmap_set(const struct regmap *m, struct view_regs *r, const struct tdesc_reg *reg,
	       const void *from);

/* For ax_compile(): the context is the struct regmap. */
int regmap_ax_reg(void *ctx, unsigned number);

#endif
