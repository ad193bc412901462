/*
 * dregs.h - shares the four debug registers among hardware breakpoints and watchpoints. Pure: no thread, no ptrace.
 *
 * A watchpoint of any address and length is cut into naturally aligned pieces of 1, 2, 4 and 8 bytes, one register each; equal
 * pieces of several points share a register. Inserting all of a point or nothing. A piece keeps its register as long as it is
 * needed, so that a thread which stopped meanwhile still has what it hit at the same number.
 * Use:    after a change write dregs_addr() and dregs_control() to every thread (DR7 = 0 first, addresses, then DR7); at a
 *         stop hand DR6 and DR0..3 of the thread to dregs_hits().
 * Order:  an execute breakpoint stops before its instruction, a watchpoint after it.
 * Source: Intel SDM volume 3, 18.2 Debug Registers; kernel arch/x86/kernel/ptrace.c, hw_breakpoint.c.
 */
#ifndef STOPGO_TARGET_X86_DREGS_H
#define STOPGO_TARGET_X86_DREGS_H

#include <stdbool.h>

#include "target/target.h"

enum {
	DREGS_COUNT = 4,
	DREGS_POINTS_MAX = 32,  /* points that share the registers */
};

struct dregs_point {
	enum point_kind kind;
	uint64_t        addr;
	uint64_t        len;
	unsigned        refs;  /* 0: the entry is free */
};

struct dregs_slot {
	uint64_t addr;
	uint8_t  len;
	uint8_t  type;  /* R/W bits of DR7 */
	unsigned refs;  /* 0: the register is free */
};

/* All zero is empty. */
struct dregs {
	struct dregs_slot  slots[DREGS_COUNT];
	struct dregs_point points[DREGS_POINTS_MAX];
	bool               filters_reads;  /* the owner tells reads from writes by value: POINT_READ is taken, and traps on both */
};

struct dregs_hit {
	enum point_kind kind;
	uint64_t        addr;        /* of the point */
	uint64_t        len;
	uint64_t        piece_addr;  /* of the piece that was touched */
	uint8_t         piece_len;
};

/*
 * kind is POINT_HW (len 1), POINT_WRITE, POINT_ACCESS or POINT_READ. A point that is there is counted once more.
 * -ENOSPC: too few registers are left; -EINVAL: length, or an address no process has; -EOPNOTSUPP: x86 has no such trap.
 */
int dregs_insert(struct dregs *d, enum point_kind kind, uint64_t addr, uint64_t len);
/* -ENOENT: there is none. */
int dregs_remove(struct dregs *d, enum point_kind kind, uint64_t addr, uint64_t len);
void dregs_clear(struct dregs *d);

/* What DR0..DR3 (0 when free) and DR7 (0 when nothing is in) are to hold. */
uint64_t dregs_addr(const struct dregs *d, unsigned slot);
uint64_t dregs_control(const struct dregs *d);

/*
 * The points that DR6 says were hit, watchpoints before breakpoints; returns how many (at most DREGS_POINTS_MAX). addrs are the
 * thread's DR0..3 at the stop (NULL: as dregs_addr() says): a register that has been given to another point since is not a hit.
 */
size_t dregs_hits(const struct dregs *d, uint64_t dr6, const uint64_t *addrs, struct dregs_hit *into);

#endif
