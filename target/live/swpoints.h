/*
 * swpoints.h - the int3 breakpoints of one address space: which are wanted, which are in memory. Pure; points.c does the writing.
 *
 * Two facts a point: wanted (a client asked for it) and inserted (0xcc is in memory, orig is what it covers). They differ between a
 * client's remove and the next time anybody runs: gdb takes all breakpoints out at a stop and puts them back before it goes on, and
 * nothing is written for that.
 * Limits: SWPOINTS_MAX points, SWNUMBERS_MAX numbers at each.
 */
#ifndef STOPGO_TARGET_LIVE_SWPOINTS_H
#define STOPGO_TARGET_LIVE_SWPOINTS_H

#include <stdbool.h>
#include "base/util.h"

enum { SWPOINTS_MAX = 65536, SWNUMBERS_MAX = 64, INT3 = 0xcc, INSN_JUMP_MAX = 16 };

struct ax;
struct over_plan;
struct patch;

/* One of the server's own points that are known by number. */
struct swnumber {
	unsigned number;
	struct ax **conditions;
	size_t condition_count;
};

struct swpoint {
	uint64_t addr;
	uint8_t orig;
	bool wanted;
	bool internal; /* wanted by the server for itself, whether or not a client wants it too */
	bool inserted;
	bool persist;
	/* inserted: when it was last seen in memory, in starts of tasks (struct space) */
	uint64_t seen_at;
	struct ax **conditions;
	size_t condition_count;
	struct ax **commands;
	size_t command_count;
	struct ax **internal_conditions;
	size_t internal_condition_count;
	uint64_t passed;        /* hits that were judged false: of the client's, of the numbers' when there is none */
	uint8_t jump_len;       /* inserted: it is a jump of this many bytes that is in memory, no int3 */
	uint8_t jump[INSN_JUMP_MAX], under[INSN_JUMP_MAX];
	struct patch *patch; /* conditions compiled into the program: patch.h */
	const char *why;     /* the reason why there is none, or no jump at present */
	bool why_holds;      /* ... for as long as the conditions do */
	unsigned falses;     /* since that was last thought about */
	uint8_t tries;       /* ... in vain */
	struct swnumber *numbers; /* beside those */
	size_t number_count;
	struct over_plan *plan; /* how to step over it, once somebody had to */
};

static inline bool swpoint_needed(const struct swpoint *p)
{
	return p->wanted || p->internal || p->number_count;
}

struct swpoints {
	struct swpoint *at; /* by address */
	size_t count, cap;
	bool changed; /* wanted and inserted may differ somewhere */
};

void swpoints_fini(struct swpoints *s);
int swpoints_clone(struct swpoints *to, const struct swpoints *from);
struct swpoint *swpoints_find(const struct swpoints *s, uint64_t addr);
/* Index of the first point at or above addr. */
size_t swpoints_from(const struct swpoints *s, uint64_t addr);
/* The point at addr, made if there is none; NULL: no memory or too many. */
struct swpoint *swpoints_add(struct swpoints *s, uint64_t addr);
void swpoints_drop(struct swpoints *s, struct swpoint *p);
/* Gives back a plan; over.c. */
void over_plan_unref(struct over_plan *plan);
/* The one of this number; NULL: there is none. */
struct swnumber *swpoint_number(const struct swpoint *p, unsigned number);
/* Takes the conditions over; false: no room, and they are still the caller's. */
bool swpoint_add_number(struct swpoint *p, unsigned number, struct ax **conditions, size_t count);
void swpoint_drop_number(struct swpoint *p, struct swnumber *n);
void swpoint_drop_numbers(struct swpoint *p);
/* Frees the expressions a client's point holds; the server's own. */
void swpoint_forget(struct swpoint *p);
void swpoint_forget_internal(struct swpoint *p);
/* Some point is so near that its jump may lie in or lean on these bytes. */
bool swpoints_near(const struct swpoints *s, uint64_t addr, size_t len);
/* Something of a point's lies in these bytes. */
bool swpoints_touch(const struct swpoints *s, uint64_t addr, size_t len);
/* Puts the covered bytes into what was read from memory at addr. */
void swpoints_hide(const struct swpoints *s, uint64_t addr, uint8_t *bytes, size_t len);
/* For a write of bytes at addr: the covered bytes change in the store, out gets what memory shall hold. */
void swpoints_cover(struct swpoints *s, uint64_t addr, const uint8_t *bytes, uint8_t *out,
		    size_t len);

#endif
