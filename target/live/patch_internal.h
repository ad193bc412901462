/*
 * patch_internal.h - what the files of patch.h share: the stubs of a memory and the pages they lie in.
 */
#ifndef STOPGO_TARGET_LIVE_PATCH_INTERNAL_H
#define STOPGO_TARGET_LIVE_PATCH_INTERNAL_H

#include "target/live/patch.h"
#include "target/live/task.h"
#include "target/x86/native.h"

enum { PATCH_PAGE = 4096, PATCH_HOP_SIZE = 16 };

/* A page of stubs with one of counters behind it, or of hops. */
struct patch_page {
	uint64_t addr;
	size_t size;
	bool hops;
	struct patch_page *next;
};

struct patch {
	uint64_t addr, counter;
	uint64_t hop;     /* 0: the jump leads to the stub itself */
	uint64_t counted; /* of the counter: in somebody's count already */
	uint64_t passed;  /* kept for the point while it is out */
	uint64_t looked;  /* passings natively when that was last weighed against traps */
	struct native native;
	struct ax **conditions;
	size_t condition_count;
	uint8_t length; /* of the jump, and how many bytes from addr on it consists of */
	uint8_t foot;
	uint8_t known; /* of original */
	uint8_t jump[INSN_MAX + 1], original[INSN_MAX + 1];
	struct patch *next;
};

/* A reason why not, and whether it will be one for as long as the conditions are the same. NULL: none. */
struct patch_refusal {
	const char *why;
	bool holds;
};

/* patch_safe.c: may it be done here? Everybody stands still. */
bool patch_anybody_runs(const struct space *s);
struct patch_refusal patch_refused_now(const struct proc *p, const struct swpoint *point);
struct patch_refusal patch_refused_by_threads(struct proc *p, uint64_t addr, unsigned length);
struct patch_refusal patch_refused_code(struct proc *p, uint64_t addr);
/* The instruction there, and the bytes behind it that a jump may lean on. */
struct patch_refusal patch_refused_insn(struct proc *p, struct patch *patch, struct insn *ret);
/* What the conditions may read without asking. */
void patch_find_memory(struct proc *p, uint64_t addr, struct native_memory *ret);
/* The thread that maps what is needed. */
struct task *patch_worker(struct proc *p);

/* patch_jump.c: stubs and jumps in memory */
bool patch_hemmed_in(const struct space *s, uint64_t addr, unsigned foot);
int patch_find_slot(struct proc *p, uint64_t addr, uint64_t *ret_at, uint64_t *ret_counter);
/* Fills in the bytes of the jump, and finds a place for its hop. */
struct patch_refusal patch_make_jump(struct proc *p, struct patch *patch, unsigned length);

/* patch_threads.c */
struct patch *patch_at(const struct space *s, uint64_t pc);

#endif
