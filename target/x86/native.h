/*
 * native.h - the conditions of a breakpoint as machine code that runs in the debuggee, in front of the instruction it displaces.
 *
 *   stub:   save; any condition true?  -- yes -->  restore; int3
 *                 no: count, restore, the displaced instruction, jump to the one behind it
 *
 * Nothing is left behind by it: no register, no flag, no byte at or above rsp - 128, no address of the stub on the stack or in a
 * register when the displaced instruction runs. Vector registers are never touched. Until the count it only reads, so a thread may be
 * taken out of it at any point: native_leave() says where it stands in the program.
 *
 * Below the red zone NATIVE_STACK_MAX bytes of the thread's stack are written.
 * Loads:  what is read is checked to lie in memory that is certainly there: the page or two around the stack pointer, and what the
 *         caller names (struct native_memory). Any other address goes to the int3, as a division by zero does, which means: judge
 *         the hit yourself. A fault means the same.
 * Errors: -EOPNOTSUPP and a word why: what cannot be compiled, -ERANGE: the place is out of reach of the point or the counter.
 * Source: System V ABI, AMD64 supplement: 3.2.2 (red zone).
 */
#ifndef STOPGO_TARGET_X86_NATIVE_H
#define STOPGO_TARGET_X86_NATIVE_H

#include "target/x86/insn.h"

enum {
	NATIVE_CODE_MAX  = 1024,
	NATIVE_CELLS_MAX = 24,
	NATIVE_MARKS_MAX = 24,
	NATIVE_SPANS_MAX = 6,
	NATIVE_LOADS_MAX = 64,
	NATIVE_STACK_MAX = 32 + 8 * NATIVE_CELLS_MAX,
};

struct ax;

/* Memory that will be mapped and readable for as long as the stub is there. */
struct native_memory {
	struct native_span {
		uint64_t start, end;
	} spans[NATIVE_SPANS_MAX];
	size_t count;
};

/* From here on this much is saved. */
struct native_mark {
	uint16_t at;
	uint8_t  saved;    /* enum native_saved, native.c */
	bool     counted;
};

struct native {
	uint64_t at, point;
	uint8_t  code[NATIVE_CODE_MAX];
	uint16_t size;
	uint16_t trap;     /* offset of the int3 */
	uint16_t cells;
	struct native_mark marks[NATIVE_MARKS_MAX];
	uint8_t  mark_count;
	struct insn_copy copy;
};

/*
 * Makes the stub that is to run at at, in front of the instruction displaced from point. memory: NULL: whatever is read is there.
 * counter: 8 aligned bytes, one more for each passing. ret_why: a phrase, on failure.
 */
int native_make(struct ax *const *conditions, size_t count, const struct insn *displaced, const struct native_memory *memory,
		uint64_t point, uint64_t at, uint64_t counter, struct native *ret, const char **ret_why);

enum native_place {
	NATIVE_ELSEWHERE,  /* not in the stub: nothing changed */
	NATIVE_ASKING,     /* at the point, as it came; not judged */
	NATIVE_PASSED,     /* at the point, judged and counted: the instruction is to be executed */
	NATIVE_BEHIND,     /* behind the displaced instruction */
};

static inline bool native_holds(const struct native *n, uint64_t pc)
{
	return pc - n->at < n->size;
}

/* Puts a stopped thread where it belongs. -EFAULT: its stack cannot be read. mem->write is not used. */
int native_leave(const struct native *n, struct user_regs_struct *regs, const struct insn_mem *mem);

#endif
