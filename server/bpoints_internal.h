/*
 * bpoints_internal.h - what the files of the breakpoints by number share.
 */
#ifndef STOPGO_BPOINTS_INTERNAL_H
#define STOPGO_BPOINTS_INTERNAL_H

#include <limits.h>

#include "server/bpoints.h"

/* The number of the breakpoint where the loader tells of libraries; no other has it. */
enum { BPOINT_LOADS = INT_MAX };

/* --- bpoints.c --- */

struct bpoint *bpoint_free(struct bpoint *b);
static inline void bpoint_freep(struct bpoint **b)
{
	bpoint_free(*b);
}

/* Gives it its number; false: no room. */
bool bpoints_append(struct bpoints *all, struct bpoint *b);
void bpoints_take_out(struct bpoints *all, const struct bpoint *b);
void bpoints_forget_clients(struct bpoints *all);
/* NULL: there is none. */
struct bpoint *bpoints_client_at(const struct bpoints *all, enum point_kind kind, uint64_t addr);
/* Nobody has asked anything of it, and the client has not had it in when the process last ran. */
bool bpoint_is_forgotten(const struct bpoint *b);
void bpoint_look_at_way(struct inferior *inf, struct bpoint *b);
const char *hit_rule_text(enum hit_op op);

/* --- bpoints_set.c --- */

/* "7": what is watched holds. */
void bpoint_put_watched(struct inferior *inf, const struct bpoint *b, struct buf *out);

#endif
