/*
 * ax_format.h - the printf of agent expressions: parsed once, printed often. The private half of ax.h.
 *
 * A format is what the user wrote: escapes come unprocessed. Conversions are d i u o x X c s p with C's flags, width, precision and
 * sizes; floating point, wide characters, '*' and n are refused. Every argument is a 64-bit cell; the size says what counts of it.
 */
#ifndef STOPGO_TARGET_AX_FORMAT_H
#define STOPGO_TARGET_AX_FORMAT_H

#include "target/ax.h"

struct ax_format {
	struct ax_piece *pieces;
	size_t           count;
	char            *text;  /* with escapes processed */
};

/* text is len bytes with a NUL at the end; args is how many arguments there are. -EINVAL with a sentence; -ENOMEM without one.
 * To be given to ax_format_fini() on failure too. */
int ax_format_init(struct ax_format *f, const uint8_t *text, size_t len, unsigned args, struct err *err);
void ax_format_fini(struct ax_format *f);

/* args points at the first argument, the others lie below it. start is where the evaluation's output began: AX_PRINT_MAX counts from
 * there, and what is more is dropped. -EFAULT: a string cannot be read, and nothing is printed. */
int ax_format_print(const struct ax_format *f, const struct ax_env *env, const uint64_t *args, size_t start, struct err *err);

/* The low bits of value, extended to 64. */
static inline uint64_t ax_extend(uint64_t value, unsigned bits, bool is_signed)
{
	if (bits >= 64)
		return value;
	unsigned rest = 64 - bits;
	return is_signed ? (uint64_t)((int64_t)(value << rest) >> rest) : value << rest >> rest;
}

#endif
