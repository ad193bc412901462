/*
 * stopqueue.h - non-stop: stops that the client has not acknowledged. One is announced at a time (%Stop) and the others are fetched with
 * vStopped. Source: Debugging with GDB, "Notification Packets".
 */
#ifndef STOPGO_STOPQUEUE_H
#define STOPGO_STOPQUEUE_H

#include "server/session.h"

/* child: the process a fork made, or 0; final: an exit, which '?' does not make again. -ENOMEM. */
int stopqueue_put(struct session *s, struct threadid id, int64_t child, bool final,
		  const struct buf *text);
/* Announces the first that is queued, unless one was announced and not acknowledged. */
void stopqueue_notify(struct session *s);
/* A client that cannot be told of a stop would wait for ever: it hears that we are gone, and the next one hears of the stop. */
void stopqueue_give_up(struct session *s);
/*
 * lldb's non-stop, which is lldb-server's: a process stops as a whole, and every thread of it is told of, the one with the event
 * first. That one is `first`; 0: the one reported last, or the first there is.
 */
void stopqueue_process(struct session *s, struct inferior *inf, int64_t first);

/* The queue is made anew from what is stopped, exits are kept; its first becomes the answer, or OK. */
void stopqueue_enumerate(struct session *s);
/* vStopped: the first was received; the next becomes the answer, or OK. */
void stopqueue_acknowledge(struct session *s);
bool stopqueue_has(const struct session *s, int64_t pid, int64_t id);
void stopqueue_forget(struct session *s, int64_t pid);
void stopqueue_fini(struct session *s);

#endif
