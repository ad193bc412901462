/*
 * results.h - what a function takes, and what it gives back, as values that can be read while it is called and when it has returned.
 *
 * Results are those of the calling convention: Go's result registers (1.17 and later) or the places DWARF names, in C the registers
 * and memory of the System V ABI.
 *
 * Reading: arguments in a thread at the place; results in one that has just returned, with its stack pointer moved back by the 8 bytes
 *          of the return address, as it was at the `ret`.
 */
#ifndef STOPGO_RESULTS_H
#define STOPGO_RESULTS_H

#include "server/values.h"

struct place;

enum { TRACED_MAX = 32 };

struct traced {
	struct value_of *at;
	size_t count;
	bool known; /* there is DWARF for them */
};

void traced_fini(struct traced *v);
void results_find_arguments(const struct place *at, struct traced *into);
void results_find(const struct mem *mem, const struct place *at, struct traced *into);

#endif
