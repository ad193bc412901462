/*
 * threadid.h - thread ids as packets spell them: "T" or, with multiprocess, "pP.T".
 *
 *   p0.0  0          any thread, the server picks      pid 0, tid 0
 *   pP.0             any one thread of P               pid P, tid 0
 *   pP.-1  pP        all threads of P                  pid P, tid -1
 *   p-1.-1  p-1  -1  all threads of all processes      pid -1, tid -1
 *   T                thread T, process not named       pid 0, tid T   (lldb sends these with
 * multiprocess on, too)
 *
 * All numbers are hex. Refused: negative numbers other than -1, "p-1.T" (all processes but one
 * thread), more than 63 bits. Source: "Debugging with GDB", Remote Protocol: Packets (thread-id
 * syntax); Multiprocess extensions.
 */
#ifndef STOPGO_PROTOCOL_THREADID_H
#define STOPGO_PROTOCOL_THREADID_H

#include <stdbool.h>
#include "base/buf.h"

enum {
	THREADID_ANY = 0,
	THREADID_ALL = -1,
};

struct threadid {
	int64_t pid; /* THREADID_ANY: not named */
	int64_t tid;
};

/*
 * Reads one id from the front of the text. Returns how many bytes it took, 0 when the text does not
 * begin with an id or the id is refused; what follows is the caller's to check.
 */
size_t threadid_parse(const void *text, size_t len, struct threadid *ret);

/* The p-form with multiprocess, else the bare tid. */
void threadid_put(struct buf *b, struct threadid id, bool multiprocess);

/* Both parts name exactly one thread (pid may be unnamed). */
static inline bool threadid_is_one(struct threadid id)
{
	return id.tid > 0 && id.pid >= 0;
}

/* Does the wildcard or id `what` cover the thread `one`? An unnamed pid covers every process. */
static inline bool threadid_covers(struct threadid what, struct threadid one)
{
	return (what.pid <= 0 || what.pid == one.pid) && (what.tid <= 0 || what.tid == one.tid);
}

#endif
