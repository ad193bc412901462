/*
 * patch.h - conditions that run in the debuggee: instead of an int3 a jump to a stub (x86/native.h) that traps only when one is true.
 *
 * Only the bytes of the breakpoint's own instruction change, so that every other instruction still begins where it did: nobody's pc,
 * return address or branch can be in the middle of anything. Five bytes hold any jump; a shorter instruction is made the beginning of
 * one whose distance ends in the bytes that follow, and where that leads a second jump is put (a "hop"), if nothing else is there.
 *
 * Whoever stops in a stub is moved to where it belongs in the program before anybody looks (patch_news), so that a stopped thread is
 * never in one. Signals are stops, so no handler, unwinder or runtime sees an address of ours either.
 *
 * Made when an int3's conditions, the client's and those of the server's numbers, have been false PATCH_AFTER times: with every thread
 * of that memory halted. What is in the way then (a thread, a watchpoint, another breakpoint) may be gone later: tried again, each time
 * after twice as many hits. Taken out as int3s are, and exchanged for an int3 (patch_demote) when something comes near it: a
 * breakpoint or a write in the jump's bytes, another condition, a watchpoint. Stubs are kept for the next time the client puts the
 * same breakpoint in. A condition that reads what may be unmapped traps where it would; if that is often, it is an int3 again.
 *
 * Never where the program could tell: code that can be written, memory shared with another process, filtered system calls, calls
 * and returns with shadow stacks, locked instructions (whose prefix is jumped over), and what the target's owner refuses
 * (target->refuses_patch): patch_safe.c.
 *
 * Not seen from here: a C thread with less than NATIVE_STACK_MAX bytes left below its red zone, on a stack with no guard page, for it
 * could take no signal and make no call either; hand-written code that jumps into the middle of an instruction.
 */
#ifndef STOPGO_TARGET_LIVE_PATCH_H
#define STOPGO_TARGET_LIVE_PATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/user.h>

enum { PATCH_AFTER = 200, PATCHES_MAX = 256 };

struct live;
struct news;
struct patch;
struct point;
struct proc;
struct space;
struct swpoint;
struct task;

/* Whether it is a hit that counts is a matter of conditions alone. */
bool patch_decided_by_conditions(const struct swpoint *p);
/* A hit whose conditions were false: it may be time. */
void patch_note_false(struct task *task, struct swpoint *p);
/* Makes what is due; everybody is halted for it and is to be released. */
void patch_make_due(struct live *live);
/* What is asked of the point has changed: a stub that it had for these conditions is its again, one for others is not. */
void patch_find_kept(struct space *s, struct swpoint *p);
/* An int3 that has a stub becomes a jump, if nobody runs in this memory. */
void patch_put_in(struct space *s, struct swpoint *p);
/* The point goes, its stub stays. */
void patch_keep(struct space *s, struct swpoint *p);
/* The jump is there; while everybody stands still: it will be when somebody runs. */
bool patch_is_in(const struct proc *p, const struct swpoint *point);
/* Halts who runs beside jumps that are about to be changed; true: somebody is to be released. */
bool patch_quieten(struct proc *p);
/* A jump becomes an int3. */
void patch_demote(struct space *s, struct swpoint *p);
void patch_demote_all(struct space *s);
/* The same for jumps that lie in or lean on these bytes, but one, for this reason; for good: until their conditions change. */
void patch_disturbed(struct space *s, uint64_t addr, uint64_t len, const struct swpoint *but, const char *why, bool for_good);
/* Takes a jump out of memory, whoever runs. */
void patch_take_out(struct space *s, struct swpoint *p);
/* News of a stopped task: true: dealt with. It is no longer in a stub, and the news may have become that of an int3. */
bool patch_news(struct task *task, struct news *news);
/* The same for registers alone, of a thread that stopped for an int3 or a fault; true: which was ours. Allocates nothing. */
bool patch_leave(struct space *s, struct user_regs_struct *gp, bool int3, bool fault);
/* The stub whose int3, a condition being true, lies just before pc; NULL: none. */
const struct patch *patch_behind_trap(const struct space *s, uint64_t pc);
/* Times the point was passed natively. */
uint64_t patch_passed(struct space *s, const struct swpoint *p);
/* What a forked child is to know: its memory has the pages, and is to have no jumps. */
void patch_clone(struct space *to, const struct space *from);
/* Everybody stands still and is to be let go, jumps are out: the pages go. */
void patch_unmap(struct proc *p);
/* Whoever the kernel keeps in a stub, or runs beside our end, must never trap again. Allocates nothing. */
void patch_disarm(struct space *s);
void patch_free_all(struct space *s);

#endif
