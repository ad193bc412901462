/*
 * on_trace.h - what the handlers of trace packets share.
 */
#ifndef STOPGO_ON_TRACE_H
#define STOPGO_ON_TRACE_H

#include "server/session.h"
#include "server/tracepoints.h"

/* NULL: no memory, which has been said. */
struct tracepoints *trace_experiment(struct session *s);
/* OK, or the error. */
void trace_answer(struct session *s, int r, const struct err *err);
/* The whole packet was read; else it is an error. */
bool trace_complete(struct args *a);
unsigned trace_take_number(struct args *a);

#endif
