/*
 * lldbstop.h - stop replies for lldb and Delve, who want to know at a stop how every thread stands.
 *
 * What gdb asks for with a packet a thread is in the stop reply here: names, pcs, and the reasons of all threads that have one. So
 * every event that a thread holds counts as told once the stop is reported (next_untold), not at some later resume.
 */
#ifndef STOPGO_LLDBSTOP_H
#define STOPGO_LLDBSTOP_H

#include "server/session.h"

enum lldbstop_flags {
	LLDBSTOP_ALL =
		1, /* with what is known of the other threads: a reply to a resume, to '?', vRun, vAttach */
	LLDBSTOP_FIRST =
		2, /* a thread without a reason is said to have got SIGSTOP: where a session begins */
};

/* Appends T for how the thread stands: with this stop, or (NULL) the one it was last told of. */
void lldbstop_put(struct session *s, struct inferior *inf, int64_t id, const struct stop *stop,
		  unsigned flags, struct buf *b);

/* jThreadsInfo: a JSON array of all threads, each with the registers of its innermost frame. */
void lldbstop_put_threads(struct session *s, struct inferior *inf, struct buf *b);

#endif
