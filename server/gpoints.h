/*
 * gpoints.h - the server's own breakpoints in a Go program, and what each is for.
 *
 * Several purposes may share an address; the target hears of one internal point there whose conditions are those of all of them,
 * so that goroutines nobody is interested in pass it without stopping anybody. What a hit means is then asked here, by address.
 *
 * Owner:  struct gpoints holds no reference to the target's points: gpoints_forget() when they are gone (exec, client lost).
 */
#ifndef STOPGO_GPOINTS_H
#define STOPGO_GPOINTS_H

#include "target/target.h"

enum gpoint_why {
	GPOINT_AWAIT, /* a goroutine that is being stepped comes back here */
	GPOINT_LEFT, /* the scheduler looks for another goroutine: the one that was to run alone has parked */
	GPOINT_GONE,  /* a goroutine ends */
	GPOINT_MOVES, /* a stack is about to move */
	GPOINT_MOVED, /* it has moved */
	GPOINT_CATCH, /* the program is about to die */
};

/* When a hit counts. */
enum gpoint_if {
	GPOINT_ALWAYS,
	GPOINT_ON_STACK, /* sp lies on the stack that the runtime.g at g has now */
	GPOINT_RAX,      /* g is the first argument */
};

struct gpoint {
	uint64_t addr;
	enum gpoint_why why;
	enum gpoint_if when;
	uint64_t g;
};

struct gpoints {
	struct gpoint *at;
	size_t count, room;
};

/* One that is there already is not added again. */
int gpoints_add(struct gpoints *p, struct target *t, const struct gpoint *one, struct err *err);
/* All that are for this, of this g (0: of any). */
void gpoints_remove(struct gpoints *p, struct target *t, enum gpoint_why why, uint64_t g);
/* The first at this address that is for this; NULL: none. */
const struct gpoint *gpoints_find(const struct gpoints *p, uint64_t addr, enum gpoint_why why);
void gpoints_forget(struct gpoints *p);

#endif
