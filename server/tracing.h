/*
 * tracing.h - calls that are printed as they happen, with arguments and results, while the program runs on.
 *
 *   12:04:05.123456 > goroutine 7: main.price(o = 0xc00011c640, n = 3)
 *   12:04:05.123511 < goroutine 7: main.price => 42
 *
 * Arguments are read where the breakpoint is, behind the prologue, by DWARF; without it, the registers and the stack that Go's
 * calling convention, or C's, may have them in are shown. Results are read before each `ret` of the function: from Go's result
 * registers (1.17 and later) or the places DWARF names, from rax or xmm0 in C. A function that panics, is left by a tail call or by
 * an exception has no return that is shown.
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

enum { TRACE_VALUES_MAX = 32, TRACE_RETURNS_MAX = 256, TRACE_OPEN_MAX = 65536 };

struct trace_options {
	bool arguments, returns;
	uint64_t rate;   /* lines a second; 0: all */
	const char *log; /* a file they are appended to; NULL: the client's console */
};

struct tracepoint;

/* NULL with a sentence. */
struct tracepoint *tracepoint_new(const struct trace_options *how, struct err *err);
void tracepoint_free(struct tracepoint *t);
/* Its breakpoint's places are known and set: finds arguments and sets what sees returns. */
int tracepoint_prepare(struct inferior *inf, struct bpoint *b, struct err *err);
/* Takes out what sees returns. */
void tracepoint_remove(struct inferior *inf, const struct bpoint *b);

bool tracepoint_is_return(const struct bpoint *b, uint64_t addr);
void tracepoint_called(struct session *s, struct inferior *inf, struct bpoint *b,
		       const struct point_hit *h, const struct bpoint_thread *who);
void tracepoint_returned(struct session *s, struct inferior *inf, struct bpoint *b,
			 const struct point_hit *h);
void tracepoint_describe(const struct tracepoint *t, struct buf *out);

#endif
