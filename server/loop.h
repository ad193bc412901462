/*
 * loop.h - waiting for descriptors and time. The only file that knows libev, behind it.
 *
 * One loop in one thread. It is a loop of our own, never libev's default one: that would reap our
 * tracees' stops as children. Signals to the server arrive through a signalfd and a watch
 * (signals.h), ptrace's news through the tracer's fd.
 *
 * Owner:  watches and timers are embedded in what they serve and must be stopped before it is
 * freed; stopping one that does not run is harmless, and so is stopping or restarting any from
 * inside a callback. Errors: a callback gets LOOP_READ for an error or hang-up too: the read then
 * says what it was.
 */
#ifndef STOPGO_LOOP_H
#define STOPGO_LOOP_H

#include <stdbool.h>

#include "base/util.h"

struct loop;

enum {
	LOOP_READ = 1,
	LOOP_WRITE = 2,
};

struct watch {
	struct loop *loop; /* NULL: not running */
	void (*ready)(void *ctx, unsigned events);
	void *ctx;
	uint64_t ev[8]; /* libev's own, checked in loop.c */
};

struct timer {
	struct loop *loop; /* NULL: not running */
	void (*due)(void *ctx);
	void *ctx;
	uint64_t ev[8];
};

/* NULL: no memory or no descriptors left. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);
/* Returns when loop_stop() was called. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* Handles what is ready now, or waits for the first thing to become so. */
void loop_once(struct loop *loop, bool wait);

/* Begins, or goes on with other events or another callback. A watch that runs must be stopped
 * before its fd is closed. */
void watch_start(struct loop *loop, struct watch *w, int fd, unsigned events,
		 void (*ready)(void *ctx, unsigned events), void *ctx);
void watch_stop(struct watch *w);

/* Calls once, delay_ms from now; a timer that runs is set anew. Zero: at the next turn of the loop.
 */
void timer_start(struct loop *loop, struct timer *t, unsigned delay_ms, void (*due)(void *ctx),
		 void *ctx);
void timer_stop(struct timer *t);

#endif
