/*
 * insn.h - one amd64 instruction: what it is, its effect without running it, a copy of it that runs elsewhere.
 *
 * These are the two ways past a breakpoint that touch one thread only. Decode once (Zydis, some 120 ns), keep the struct insn with
 * the breakpoint, and per hit either insn_emulate() it (some 15 ns) or send the thread through the copy insn_relocate() made.
 *
 *   insn_decode(bytes)                   length, class, what the other two need
 *   insn_emulate(insn, regs, mem)        1: regs and memory are as the processor would have left them
 *   insn_relocate(insn, from, to, ...)   bytes to put at to; then insn_enter(), let the thread run, insn_fixup()
 *
 * Errors: 0 or negative errno; nothing is changed by a call that fails.
 * Mode:   64-bit code only. A thread in a 32-bit segment is never emulated (0).
 * Not seen from here: user shadow stacks. While a thread has one, neither emulate nor relocate what is INSN_CALL or INSN_RET.
 * Source: Intel SDM volume 2; AMD APM volume 3 where the two differ (0x66 before a near branch: refused).
 */
#ifndef STOPGO_TARGET_X86_INSN_H
#define STOPGO_TARGET_X86_INSN_H

#include <stdbool.h>
#include <sys/user.h>

#include "base/util.h"

enum {
	INSN_MAX = 15,       /* bytes of the longest instruction */
	INSN_COPY_MAX = 64,  /* bytes of the largest relocated copy */
};

/* What an instruction is, for run control. */
enum insn_class {
	INSN_CALL     = 1 << 0,
	INSN_RET      = 1 << 1,
	INSN_JUMP     = 1 << 2,   /* always taken */
	INSN_COND     = 1 << 3,   /* jcc, loop, jrcxz */
	INSN_RELATIVE = 1 << 4,   /* with CALL, JUMP, COND: insn_target() knows where to */
	INSN_FAR      = 1 << 5,   /* changes the code segment, or returns from an interrupt */
	INSN_SYSCALL  = 1 << 6,   /* syscall, sysenter, int 0x80: enters the kernel, may stay there */
	INSN_INT      = 1 << 7,   /* int n, int1, into */
	INSN_INT3     = 1 << 8,   /* a breakpoint of the program's own */
	INSN_PUSHF    = 1 << 9,   /* shows a tracer's trap flag to the program when it is stepped */
	INSN_POPF     = 1 << 10,
	INSN_REP      = 1 << 11,  /* repeated string instruction: a step is one round of it */
	INSN_LOCK     = 1 << 12,
	INSN_READS    = 1 << 13,  /* memory */
	INSN_WRITES   = 1 << 14,
	INSN_STACK    = 1 << 15,  /* ... through rsp only: nobody else is looking */
};

enum insn_operand_kind { OPERAND_NONE, OPERAND_REG, OPERAND_HIGH_BYTE, OPERAND_MEM, OPERAND_IMM };

struct insn_operand {
	uint8_t kind;
	uint8_t reg;  /* as encoded: rax rcx rdx rbx rsp rbp rsi rdi r8..r15 */
};

struct insn {
	uint8_t  length;
	uint8_t  bytes[INSN_MAX];
	uint32_t is;             /* enum insn_class */

	/* For emulate.c and relocate.c. */
	uint8_t  op;             /* enum emu_op; 0: not emulated */
	uint8_t  cond;
	uint8_t  size;           /* bytes of the first operand */
	uint8_t  src_size;
	struct insn_operand dst, src;
	uint8_t  base, index;    /* registers as encoded; INSN_NO_REG, INSN_RIP */
	uint8_t  scale;
	uint8_t  segment;        /* enum insn_segment */
	bool     addr32;
	bool     data16_branch;
	uint8_t  modrm_at, disp_at, prefix_at;  /* offsets in bytes; 0: none. prefix_at: of REX, VEX, XOP, EVEX */
	uint8_t  encoding;       /* ZydisInstructionEncoding */
	uint16_t busy;           /* general registers it reads or writes, bit = number as encoded */
	int64_t  disp;
	int64_t  imm;            /* or the relative target's distance */
};

enum { INSN_NO_REG = 255, INSN_RIP = 254 };
enum insn_segment { SEGMENT_FLAT, SEGMENT_FS, SEGMENT_GS };

/*
 * Memory of the debuggee, for one instruction. Both return 0 for all of it or -errno for none of it. They must refuse what the
 * processor would not do in the same place: writing to read-only pages (so not /proc/PID/mem), touching what a watchpoint covers.
 * What other threads look at (READS or WRITES without INSN_STACK) is read and written as atomically as these two do it.
 */
struct insn_mem {
	int  (*read)(void *ctx, uint64_t addr, void *into, size_t len);
	int  (*write)(void *ctx, uint64_t addr, const void *from, size_t len);
	void  *ctx;
};

/* -EINVAL: not an instruction, or longer than len. */
int insn_decode(const uint8_t *code, size_t len, struct insn *ret);
/* 0: as insn_decode() failing. */
size_t insn_length(const uint8_t *code, size_t len);

/* Where a relative call, jump or branch at addr goes when taken. False: not a relative one. */
bool insn_target(const struct insn *in, uint64_t addr, uint64_t *ret);

/*
 * Does to regs and memory what the instruction at regs->rip does. 1: done, rip moved on. 0: not one of ours (vector, atomic, rare;
 * trap flag or alignment checks on). -errno: the memory cannot be accessed: step it, the processor will fault as it must.
 * Flags the architecture leaves undefined are set as current processors do where these agree, else kept.
 */
int insn_emulate(const struct insn *in, struct user_regs_struct *regs, const struct insn_mem *mem);

enum insn_copy_mode {
	COPY_STEP,  /* one single step, then insn_fixup() */
	COPY_RUN,   /* ends in a jump to where the original would have gone on: no second stop */
};

/* Where in a copy a thread can be, and where that is in the original. */
struct insn_mark {
	uint8_t  at;        /* offset in the copy */
	uint8_t  rsp_back;  /* added to rsp: undoes what the copy has done already */
	bool     done;      /* the instruction is behind us */
	uint64_t rip;
};

struct insn_copy {
	uint64_t            from, to;
	enum insn_copy_mode mode;
	uint8_t             code[INSN_COPY_MAX];
	uint8_t             size;         /* bytes of scratch memory */
	uint8_t             length;       /* of the first instruction */
	struct insn_mark    marks[4];
	uint8_t             mark_count;
	uint8_t             borrowed;     /* COPY_STEP: register that stands for rip; INSN_NO_REG */
	uint64_t            rip_value;    /* what it holds then */
	uint8_t             fix;          /* enum copy_fix, relocate.c */
	uint64_t            next;         /* address behind the original */
};

/* What insn_fixup() must give back to a thread. */
struct insn_entered {
	uint64_t borrowed;
	uint64_t eflags;
};

/*
 * Makes the copy of the instruction at from that is to run at to. The memory there must be readable and executable; any number of
 * threads may be in one copy. Signals to a thread in a copy must wait.
 * -EOPNOTSUPP: this instruction cannot be moved (that way); -ERANGE: it could to a place within 2 GiB.
 * System calls take COPY_STEP only: a thread may sleep in one for ever.
 */
int insn_relocate(const struct insn *in, uint64_t from, uint64_t to, enum insn_copy_mode mode, struct insn_copy *ret);

/* The thread at copy->from goes to the copy. */
void insn_enter(const struct insn_copy *copy, struct user_regs_struct *regs, struct insn_entered *ret);

/*
 * A thread that entered has stopped: where is it in the original? Call it whatever stopped it (the step, a fault, a signal, a system
 * call's entry, an interrupt). 1: the instruction is done; 0: it is not, regs are as before it (INSN_REP: after some rounds of it).
 * Memory is touched only after a stepped indirect call or pushf. A thread outside the copy keeps its pc (1). -errno: that memory
 * could not be written; -EINVAL: no thread can be where this one is.
 */
int insn_fixup(const struct insn_copy *copy, const struct insn_entered *entered, struct user_regs_struct *regs,
	       const struct insn_mem *mem);

/* The thread's pc is in the copy. */
bool insn_copy_holds(const struct insn_copy *copy, uint64_t pc);

static inline bool insn_is_int3(const uint8_t *code, size_t len)
{
	return len > 0 && code[0] == 0xcc;
}

#endif
