/*
 * shared.h - the page that the benchmark and the program it measures on both look at.
 *
 * The program says where its code and data are and counts what it does; the benchmark says what it shall do next, also while it
 * stands still under a debugger.
 */
#ifndef STOPGO_BENCH_SHARED_H
#define STOPGO_BENCH_SHARED_H

#include <stdint.h>

enum {
	HITTERS_MAX = 64,
	MEMORY_SIZE = 4 * 1024 * 1024,
	STRETCH_ROUNDS = 500,
	STRETCH_INSNS =
		4 * STRETCH_ROUNDS + 2, /* from its first instruction to the return, both counted */
	SHARED_FD = 3,                  /* where the program finds the page */
};

enum work {
	WORK_SLEEP,
	WORK_SPIN, /* plain instructions, for ever */
	WORK_SUB,  /* calls to_sub: a breakpoint there displaces an instruction on registers only */
	WORK_PUSH, /* calls to_push: one that writes memory */
	WORK_VECTOR,  /* calls to_vector: one that nobody emulates */
	WORK_STRETCH, /* calls stretch */
	WORK_WATCH,   /* counts in watched */
};

struct hitter {
	volatile uint64_t count;
	uint64_t pad[7]; /* a cache line each */
};

struct shared {
	volatile uint32_t ready; /* threads that have begun */
	volatile uint32_t work;  /* enum work */
	uint64_t to_sub, to_push, to_vector, stretch, stretch_end, watched, memory;
	struct hitter hitters[HITTERS_MAX];
};

#endif
