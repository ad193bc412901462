/*
 * gstep.h - what is done with goroutines while they run: stepping that follows them, and the program's death caught.
 *
 * A step belongs to a goroutine. While an OS thread carries it on its own stack, that thread steps. When it leaves its stack - to
 * the scheduler, the system stack, C, a signal handler - or was not running at all, the process runs on until the goroutine comes
 * back to a place on its stack, whichever OS thread that is on: breakpoints of our own at its next frames, with the condition
 * that sp lies on its stack. Signals that pass (SIGURG, preemption) are held back from a thread that steps, for at most 20 ms
 * of its way while others run: the collector stands still until the goroutine has been preempted. One that comes then takes the
 * goroutine away from an instruction that it has not executed: the step goes on when it is back there.
 *
 * When the client lets nobody else run (scheduler-locking), a goroutine that parks cannot go on: it stops where it parked, and a
 * step of one that is parked ends at once. When a goroutine that is stepped ends, the stop says so.
 *
 * In all-stop only; everything is forgotten at each stop that is told.
 */
#ifndef STOPGO_GSTEP_H
#define STOPGO_GSTEP_H

#include "dwarf/go/model.h"
#include "server/gpoints.h"

struct inferior;
struct session;

/* One goroutine under way. */
struct gstep {
	int64_t id;
	uint64_t g, goid;
	struct resume how;
	bool alone;           /* nobody else was resumed */
	bool begun;           /* it has moved since it was asked to */
	pid_t tid;            /* carries it on its own stack; 0: it is awaited */
	pid_t left;           /* it left its stack on this one */
	uint64_t depth;       /* how far below its stack's upper end it was when it left */
	uint64_t interrupted; /* a signal took it away from there; 0: none did */
};

/* Of one inferior. */
struct gsteps {
	struct gstep *at;
	size_t count, room;
	struct gpoints points;
	bool caught; /* the points that catch the program's death are as the policy wants them */
	char *last_words; /* what it said when it was caught; NULL: it was not */
	bool told_limit;  /* that not all goroutines are listed */
};

void gsteps_fini(struct gsteps *steps);
/* The target's points are gone: exec, or the client is. */
void gsteps_forget(struct gsteps *steps);

/* Somebody will run: puts in what catches the program's death. */
void gstep_prepare(struct inferior *inf);
/* The stop to tell when nobody was started because this one is stuck. */
struct stop gstep_stuck(struct session *s, struct inferior *inf, int64_t id,
			const struct resume *how);
/* A stop is told: nothing is under way any more. */
void gstep_stopped(struct inferior *inf);
/* Says once that not all goroutines are listed; while a stop reply is due. */
void gstep_say_limit(struct session *s, struct inferior *inf);

enum gstep_start {
	GSTEP_CARRIED, /* its OS thread is to do *how */
	GSTEP_STARTED, /* dealt with: it goes on when it comes to run */
	GSTEP_STUCK,   /* it cannot run while the others stand still */
};
/* The client resumes a goroutine by name; tid carries it, 0: none does. alone: nobody else is resumed. */
enum gstep_start gstep_begin(struct inferior *inf, int64_t id, pid_t tid, bool alone,
			     struct resume *how);

enum gstep_verdict {
	GSTEP_TELL, /* as *ev says, of *ret_id */
	GSTEP_DONE, /* dealt with, its thread runs on */
};

/* *ret_id 0: whatever thread the OS thread is now. */
enum gstep_verdict gstep_event(struct session *s, struct inferior *inf, struct target_event *ev,
			       int64_t *ret_id);

#endif
