/*
 * tracing.h - calls that are printed as they happen, with arguments and results, while the program runs on.
 *
 *   12:04:05.123456 > goroutine 7: main.price(o = 0xc00011c640, n = 3)
 *   12:04:05.123511 < goroutine 7: main.price => 42
 *
 * Arguments are read where the breakpoint is, behind the prologue, by DWARF; without it, the registers and the stack that Go's
 * calling convention, or C's, may have them in are shown. A return is seen where the call came from, so that a tail call's result is
 * seen, too: a breakpoint at each return address, set when it is first met; nothing is written into a stack, which may move. The thread
 * or goroutine and the depth of the stack tell calls apart. A call that ends otherwise (a panic, runtime.Goexit, an exception, longjmp,
 * the end of its thread) is said to have been left, as soon as its thread is seen to be back above it; of Goexit at once.
 *
 * A rate limits what is printed in a second; how much was left out is said.
 */
#ifndef STOPGO_TRACING_H
#define STOPGO_TRACING_H

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

struct bpoint;
struct bpoint_thread;
struct inferior;
struct place;
struct point_hit;
struct session;

enum { TRACE_RETURNS_MAX = 4096, TRACE_WANTED_MAX = 64, TRACE_OPEN_MAX = 65536 };

struct trace_options {
	bool arguments, returns;
	uint64_t rate;   /* lines a second; 0: all */
	const char *log; /* a file they are appended to; NULL: the client's console */
};

struct tracepoint;

/* NULL with a sentence. */
struct tracepoint *tracepoint_new(const struct trace_options *how, struct err *err);
void tracepoint_free(struct tracepoint *t);
/* Its breakpoint's places are known and set: finds arguments and results. */
int tracepoint_prepare(struct inferior *inf, struct bpoint *b, struct err *err);
/* Takes out what sees returns. */
void tracepoint_remove(struct inferior *inf, const struct bpoint *b);
/* Its places are gone. */
void tracepoint_reset(struct tracepoint *t);
/* Sets what sees returns to where calls have come from since. */
void tracepoint_attend(struct inferior *inf, struct bpoint *b);

bool tracepoint_is_return(const struct bpoint *b, uint64_t addr);
/* True: tracepoint_attend() is to be called before the thread goes on. */
bool tracepoint_called(struct session *s, struct inferior *inf, struct bpoint *b,
		       const struct point_hit *h, const struct bpoint_thread *who);
void tracepoint_returned(struct session *s, struct inferior *inf, struct bpoint *b,
			 const struct point_hit *h);
void tracepoint_describe(const struct tracepoint *t, struct buf *out);

#endif
