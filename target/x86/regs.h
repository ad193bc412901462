/*
 * regs.h - the registers of an amd64 thread by number, get and set.
 *
 * Numbers are ours, in GDB's order with every feature present (Debugging with GDB, "i386 Features"); names are GDB's. Whoever
 * speaks a protocol maps its own numbers onto these by name.
 * Units:  values are bytes in target order; x86_reg_size() says how many.
 * Source: kernel struct user_regs_struct; FXSAVE and XSAVE areas as in xstate.h. ftag is the full 16-bit tag word, expanded from
 *         and packed into the abridged one; fiseg and foseg are the upper halves of FIP and FDP. pl3_ssp is in none of them
 *         (NT_X86_SHSTK): always -ENODATA here.
 */
#ifndef STOPGO_TARGET_X86_REGS_H
#define STOPGO_TARGET_X86_REGS_H

#include <stdbool.h>
#include <sys/user.h>

#include "target/x86/xstate.h"

enum x86_reg {
	X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RBP, X86_RSP,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_RIP, X86_EFLAGS, X86_CS, X86_SS, X86_DS, X86_ES, X86_FS, X86_GS,
	X86_ST0, X86_ST7 = X86_ST0 + 7,
	X86_FCTRL, X86_FSTAT, X86_FTAG, X86_FISEG, X86_FIOFF, X86_FOSEG, X86_FOOFF, X86_FOP,
	X86_XMM0, X86_XMM15 = X86_XMM0 + 15,
	X86_MXCSR,
	X86_ORIG_RAX,
	X86_FS_BASE, X86_GS_BASE,
	X86_YMM0H, X86_YMM15H = X86_YMM0H + 15,
	X86_XMM16, X86_XMM31 = X86_XMM16 + 15,
	X86_YMM16H, X86_YMM31H = X86_YMM16H + 15,
	X86_K0, X86_K7 = X86_K0 + 7,
	X86_ZMM0H, X86_ZMM31H = X86_ZMM0H + 31,
	X86_PKRU,
	X86_PL3_SSP,
	X86_REG_COUNT
};

enum { X86_REG_SIZE_MAX = 32 };

/* What this processor and kernel have, by CPUID and XCR0. */
struct x86_features {
	bool avx, avx512, pkeys;
};
void x86_features_detect(struct x86_features *ret);
/* What the machine had that wrote this area: for cores. */
void x86_features_of(const struct xstate *xs, struct x86_features *ret);

/* "rax", "ymm3h"; NULL for a number that is none. */
const char *x86_reg_name(unsigned reg);
/* Bytes; 0 for a number that is none. */
size_t x86_reg_size(unsigned reg);
/* The number of a name, or -1. */
int x86_reg_by_name(const char *name);
/* The value is in user_regs_struct; no xstate is needed. */
bool x86_reg_is_gp(unsigned reg);

/* Copies x86_reg_size() bytes. xs may be NULL for gp registers. -ENODATA: the thread has no such register. */
int x86_reg_get(unsigned reg, const struct user_regs_struct *gp, const struct xstate *xs, void *into);
int x86_reg_set(unsigned reg, struct user_regs_struct *gp, struct xstate *xs, const void *from);

#endif
