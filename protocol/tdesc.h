/*
 * tdesc.h - the registers of amd64 GNU/Linux: one table for target.xml, qRegisterInfo, g/G and p/P.
 *
 * An id (enum tdesc_id) names a register for good; its number and its offset in the g packet depend
 * on which features the machine has, because GDB numbers registers through all features in order. A
 * struct tdesc is that numbering for one machine.
 *
 * Three layouts. TDESC_GDB is GDB's: names, order, numbers and sizes of gdbserver, plus attributes
 * lldb reads and gdb ignores; the upper halves of ymm are registers of their own (ymm0h).
 * TDESC_DELVE serves Delve, which knows only qRegisterInfo and wants ymm0 as 32 consecutive bytes
 * with xmm0 contained in them: ymm registers follow the general ones, xmm share their bytes,
 * AVX-512 is left out. TDESC_LLDB is the same with the parts of registers that lldb-server lists,
 * too (eax, ax, ah, al, mm0): lldb makes them up itself only when it knows the processor before it
 * reads the list, which it does not when it attaches.
 *
 * Source: GDB's org.gnu.gdb.i386.* features ("Debugging with GDB", i386 Features); DWARF numbers
 * from the x86-64 psABI; LLDB's description of qRegisterInfo and of the attributes of <reg>.
 */
#ifndef STOPGO_PROTOCOL_TDESC_H
#define STOPGO_PROTOCOL_TDESC_H

#include <stdbool.h>
#include "base/buf.h"

enum tdesc_feature {
	TDESC_SEGMENTS = 1, /* fs_base gs_base */
	TDESC_AVX = 2,      /* ymm0h..ymm15h */
	TDESC_AVX512 = 4,   /* xmm16.. ymm16h.. k0.. zmm0h..; implies TDESC_AVX */
	TDESC_PKEYS = 8,    /* pkru */
	TDESC_PL3_SSP = 16, /* user shadow stack pointer */
	TDESC_ALL = 31,
};

enum tdesc_layout {
	TDESC_GDB,
	TDESC_DELVE,
	TDESC_LLDB,
};

/* Ids: up to TDESC_PL3_SSP they equal GDB's numbers when every feature is present. Families are
 * consecutive. */
enum tdesc_id {
	TDESC_RAX,
	TDESC_RBX,
	TDESC_RCX,
	TDESC_RDX,
	TDESC_RSI,
	TDESC_RDI,
	TDESC_RBP,
	TDESC_RSP,
	TDESC_R8,
	TDESC_R15 = TDESC_R8 + 7,
	TDESC_RIP,
	TDESC_EFLAGS,
	TDESC_CS,
	TDESC_SS,
	TDESC_DS,
	TDESC_ES,
	TDESC_FS,
	TDESC_GS,
	TDESC_ST0,
	TDESC_ST7 = TDESC_ST0 + 7,
	TDESC_FCTRL,
	TDESC_FSTAT,
	TDESC_FTAG,
	TDESC_FISEG,
	TDESC_FIOFF,
	TDESC_FOSEG,
	TDESC_FOOFF,
	TDESC_FOP,
	TDESC_XMM0,
	TDESC_XMM15 = TDESC_XMM0 + 15,
	TDESC_MXCSR,
	TDESC_ORIG_RAX,
	TDESC_FS_BASE,
	TDESC_GS_BASE,
	TDESC_YMM0H,
	TDESC_YMM15H = TDESC_YMM0H + 15,
	TDESC_XMM16,
	TDESC_XMM31 = TDESC_XMM16 + 15,
	TDESC_YMM16H,
	TDESC_YMM31H = TDESC_YMM16H + 15,
	TDESC_K0,
	TDESC_K7 = TDESC_K0 + 7,
	TDESC_ZMM0H,
	TDESC_ZMM31H = TDESC_ZMM0H + 31,
	TDESC_PKRU,
	TDESC_PL3_SSP_REG,
	TDESC_YMM0,
	TDESC_YMM15 = TDESC_YMM0 + 15, /* not TDESC_GDB: 32 bytes, the lower 16 are xmm */
	/* Parts of other registers; TDESC_LLDB only. In the order of what they are parts of. */
	TDESC_EAX,
	TDESC_R8D = TDESC_EAX + 8,
	TDESC_AX = TDESC_EAX + 16,
	TDESC_R8W = TDESC_AX + 8,
	TDESC_AH = TDESC_AX + 16,
	TDESC_AL = TDESC_AH + 4,
	TDESC_R8L = TDESC_AL + 8,
	TDESC_MM0 = TDESC_AL + 16,
	TDESC_IDS = TDESC_MM0 + 8,
};

enum {
	TDESC_REGS_MAX = TDESC_IDS,
	TDESC_REG_SIZE_MAX = 32,
	TDESC_SIZE_MAX = 2428, /* of a g packet, bytes before hex: everything, pl3_ssp included */
	TDESC_NONE = 0xffff,   /* no such number */
};

struct tdesc_reg {
	uint16_t id;
	uint16_t number;    /* in p, P, stop replies, agent expressions */
	uint16_t size;      /* bytes */
	uint16_t offset;    /* in the g packet, bytes; inside its container's when it has one */
	uint16_t container; /* number of the register whose bytes it shares, TDESC_NONE otherwise */
	char name[12];
};

struct tdesc {
	enum tdesc_layout layout;
	unsigned features;
	size_t count; /* regs[0..count), index == number */
	size_t size;  /* of the g packet, bytes before hex */
	struct tdesc_reg regs[TDESC_REGS_MAX];
	uint16_t numbers[TDESC_IDS]; /* id -> number, TDESC_NONE when absent */
};

/* features: TDESC_ bits. */
void tdesc_build(struct tdesc *t, unsigned features, enum tdesc_layout layout);

/* NULL when there is none. */
const struct tdesc_reg *tdesc_by_number(const struct tdesc *t, uint64_t number);
const struct tdesc_reg *tdesc_by_id(const struct tdesc *t, enum tdesc_id id);
/* Also by alternative name: rflags. */
const struct tdesc_reg *tdesc_by_name(const struct tdesc *t, const char *name);

/* The whole of target.xml, no includes; about 10 to 30 kB. Only for TDESC_GDB and TDESC_LLDB. */
void tdesc_put_xml(struct buf *b, const struct tdesc *t);

/* The answer to qRegisterInfo: key:value; text, or E45 past the last register. */
void tdesc_put_register_info(struct buf *b, const struct tdesc *t, uint64_t number);

#endif
