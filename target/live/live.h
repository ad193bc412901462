/*
 * live.h - processes of this machine, by ptrace.
 */
#ifndef STOPGO_TARGET_LIVE_LIVE_H
#define STOPGO_TARGET_LIVE_LIVE_H

#include "target/target.h"

/* One tracer a server process; ptrace ties it to the calling thread. SIGCHLD is blocked from here on. NULL and err on failure. */
struct tracer *live_tracer_new(struct err *err);

/*
 * For a fatal-signal handler: takes every breakpoint out and lets go of what was attached, by plain system calls on fixed tables.
 * Must run in the thread that made the tracer. Does nothing when there is no tracer.
 * Threads that do not stop within the time given are left to the kernel.
 */
void live_emergency(unsigned patience_ms);

/*
 * The same done by another process in this memory, when the one that made the tracer is dead and the kernel has let go of everything:
 * guard.h. Descriptors are not shared.
 */
void live_emergency_inherit(unsigned patience_ms);

/* No guard will be started for this tracer's processes. */
void live_go_unguarded(struct tracer *tr);

#endif
