/*
 * guard.h - a process beside ours that cleans up when we are killed and can do nothing ourselves.
 *
 * It shares our memory (clone(2) with CLONE_VM), and so our tables, and waits for our end, asleep. An end in order leaves it nothing
 * to do. After SIGKILL it takes the breakpoints out of what was attached, and stops each thread for a moment to clear its debug
 * registers and to lead it out of code of ours. It becomes a tracer only then, when the kernel has let go of everything.
 *
 * In a session of its own, deaf to signals but SIGKILL, with no descriptor of ours: it keeps no socket, pipe or terminal open, and ends
 * when we do. It is our child, which waitpid() for anybody may see the end of; guard_stop() waits for it, so that an end in order
 * leaves no zombie where nobody reaps orphans, as in many a container.
 * Limits: a thread that runs into an int3 before the guard has taken it out (a fraction of a millisecond) dies of SIGTRAP. The
 *         kernel's OOM killer kills whoever shares the memory of its victim: this case is not guarded.
 */
#ifndef STOPGO_TARGET_LIVE_GUARD_H
#define STOPGO_TARGET_LIVE_GUARD_H

/* Its name in /proc. */
#define GUARD_NAME "stopgo-guard"

/* One for this process, which is there already at the second call. 0 or -errno: then there is none. */
int guard_start(void);
/* Nothing is to be guarded any more. */
void guard_stop(void);

#endif
