/*
 * stops.h - from an event of the tracer to what the client is told of it.
 *
 * All-stop: everybody is stopped, the event is the reply to the resume. Non-stop: it is queued. What this client did not ask for
 * is nobody's business: its thread goes on with what it was doing, and no other thread notices.
 */
#ifndef STOPGO_STOPS_H
#define STOPGO_STOPS_H

#include "server/session.h"

/* Reports the event, or lets its thread go on. */
void stops_event(struct session *s, const struct target_event *ev);

/* All-stop: this thread is reported to have stopped so, though no OS thread of its own did. */
void stops_tell(struct session *s, struct inferior *inf, int64_t id, const struct stop *stop);

/* The process has ended so, which no event says: its end is sent, or queued in non-stop. */
void stops_tell_end(struct session *s, struct inferior *inf, const struct stop *stop);

/* Appends the stop reply that says how this thread stands now; for '?', vRun, vAttach, qThreadStopInfo. */
void stops_put_state(struct session *s, struct inferior *inf, int64_t id, struct buf *b);

/* Appends the stop reply for a stop of this OS thread, which the client knows by this id. */
void stops_put(struct session *s, struct inferior *inf, pid_t tid, int64_t id,
	       const struct stop *stop, struct buf *b);

/* Fills what a stop reply says about a stop; no registers, name or core. */
struct stop_reply stops_describe(struct inferior *inf, int64_t id, const struct stop *stop,
				 bool stop_asked);

/* Everybody is stopped without a report, and nothing is due any more. */
void stops_settle(struct session *s);

#endif
