#include "target/x86/regs.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>

/* XSAVE state components, Intel SDM volume 1, 13.1. PLACE_GP and PLACE_NOWHERE are ours. */
enum place {
	PLACE_FP = 0,
	PLACE_SSE = 1,
	PLACE_AVX = 2,
	PLACE_K = 5,
	PLACE_ZMM_H = 6,
	PLACE_HI16_ZMM = 7,
	PLACE_PKRU = 9,
	PLACE_COUNT,
	PLACE_GP,
	PLACE_NOWHERE, /* not in the XSAVE area the kernel shows (PL3_SSP has a regset of its own)
			*/
};

enum {
	FX_FCW = 0,
	FX_FSW = 2,
	FX_FTW = 4,
	FX_FOP = 6,
	FX_FIP = 8,
	FX_FDP = 16,
	FX_MXCSR = 24,
	FX_ST = 32,
	FX_XMM = 160,
	FX_XCR0 = 464, /* what the kernel had switched on: struct xregs_state, sw_reserved of
			  NT_X86_XSTATE */
	XSTATE_BV = 512,
	XSTATE_HEADER_END = 576,

	FCW_INIT = 0x37f,
	MXCSR_INIT = 0x1f80,
};

struct reg_def {
	const char *name;
	uint8_t size;  /* bytes shown */
	uint8_t width; /* bytes stored; the rest is zero */
	uint8_t place;
	uint16_t at; /* from the beginning of struct user_regs_struct or of the component */
};

#define GP(reg, field, shown) \
	[reg] = { #field, shown, shown, PLACE_GP, offsetof(struct user_regs_struct, field) }
#define AT(reg, text, shown, stored, where, offset) [reg] = { text, shown, stored, where, offset }

#define ST(n)     AT(X86_ST0 + (n), "st" #n, 10, 10, PLACE_FP, FX_ST + 16 * (n))
#define XMM(n)    AT(X86_XMM0 + (n), "xmm" #n, 16, 16, PLACE_SSE, FX_XMM + 16 * (n))
#define YMMH(n)   AT(X86_YMM0H + (n), "ymm" #n "h", 16, 16, PLACE_AVX, 16 * (n))
#define XMM_HI(n) AT(X86_XMM16 + (n)-16, "xmm" #n, 16, 16, PLACE_HI16_ZMM, 64 * ((n)-16))
#define YMM_HI(n) AT(X86_YMM16H + (n)-16, "ymm" #n "h", 16, 16, PLACE_HI16_ZMM, 64 * ((n)-16) + 16)
#define ZMMH(n)   AT(X86_ZMM0H + (n), "zmm" #n "h", 32, 32, PLACE_ZMM_H, 32 * (n))
#define ZMM_HI(n) AT(X86_ZMM0H + (n), "zmm" #n "h", 32, 32, PLACE_HI16_ZMM, 64 * ((n)-16) + 32)
#define K(n)      AT(X86_K0 + (n), "k" #n, 8, 8, PLACE_K, 8 * (n))

#define EACH_0_7(m)  m(0), m(1), m(2), m(3), m(4), m(5), m(6), m(7)
#define EACH_0_15(m) EACH_0_7(m), m(8), m(9), m(10), m(11), m(12), m(13), m(14), m(15)
#define EACH_16_31(m)                                                                              \
	m(16), m(17), m(18), m(19), m(20), m(21), m(22), m(23), m(24), m(25), m(26), m(27), m(28), \
		m(29), m(30), m(31)

/* clang-format off */
static const struct reg_def regs[X86_REG_COUNT] = {
	GP(X86_RAX, rax, 8), GP(X86_RBX, rbx, 8), GP(X86_RCX, rcx, 8), GP(X86_RDX, rdx, 8),
	GP(X86_RSI, rsi, 8), GP(X86_RDI, rdi, 8), GP(X86_RBP, rbp, 8), GP(X86_RSP, rsp, 8),
	GP(X86_R8, r8, 8), GP(X86_R9, r9, 8), GP(X86_R10, r10, 8), GP(X86_R11, r11, 8),
	GP(X86_R12, r12, 8), GP(X86_R13, r13, 8), GP(X86_R14, r14, 8), GP(X86_R15, r15, 8),
	GP(X86_RIP, rip, 8), GP(X86_EFLAGS, eflags, 4),
	GP(X86_CS, cs, 4), GP(X86_SS, ss, 4), GP(X86_DS, ds, 4), GP(X86_ES, es, 4), GP(X86_FS, fs, 4), GP(X86_GS, gs, 4),
	EACH_0_7(ST),
	AT(X86_FCTRL, "fctrl", 4, 2, PLACE_FP, FX_FCW),
	AT(X86_FSTAT, "fstat", 4, 2, PLACE_FP, FX_FSW),
	AT(X86_FTAG, "ftag", 4, 2, PLACE_FP, FX_FTW),
	AT(X86_FISEG, "fiseg", 4, 4, PLACE_FP, FX_FIP + 4),
	AT(X86_FIOFF, "fioff", 4, 4, PLACE_FP, FX_FIP),
	AT(X86_FOSEG, "foseg", 4, 4, PLACE_FP, FX_FDP + 4),
	AT(X86_FOOFF, "fooff", 4, 4, PLACE_FP, FX_FDP),
	AT(X86_FOP, "fop", 4, 2, PLACE_FP, FX_FOP),
	EACH_0_15(XMM),
	AT(X86_MXCSR, "mxcsr", 4, 4, PLACE_SSE, FX_MXCSR),
	GP(X86_ORIG_RAX, orig_rax, 8),
	GP(X86_FS_BASE, fs_base, 8), GP(X86_GS_BASE, gs_base, 8),
	EACH_0_15(YMMH),
	EACH_16_31(XMM_HI),
	EACH_16_31(YMM_HI),
	EACH_0_7(K),
	EACH_0_15(ZMMH), EACH_16_31(ZMM_HI),
	AT(X86_PKRU, "pkru", 4, 4, PLACE_PKRU, 0),
	AT(X86_PL3_SSP, "pl3_ssp", 8, 8, PLACE_NOWHERE, 0),
};
/* clang-format on */

static const uint16_t place_size[PLACE_COUNT] = {
	[PLACE_FP] = 160,    [PLACE_SSE] = 416,       [PLACE_AVX] = 256, [PLACE_K] = 64,
	[PLACE_ZMM_H] = 512, [PLACE_HI16_ZMM] = 1024, [PLACE_PKRU] = 4,
};

/* Where components begin in the standard form; 0: this layout has none (FP and SSE begin at 0 in
 * all). */
struct layout {
	uint32_t at[PLACE_COUNT];
};

/* For cores of other machines: Intel left a hole for MPX, AMD did not. The size tells which one it
 * was. */
static const struct layout intel_layout = { .at = { [PLACE_AVX] = 576,
						    [PLACE_K] = 1088,
						    [PLACE_ZMM_H] = 1152,
						    [PLACE_HI16_ZMM] = 1664,
						    [PLACE_PKRU] = 2688 } };
static const struct layout amd_layout = { .at = { [PLACE_AVX] = 576,
						  [PLACE_K] = 832,
						  [PLACE_ZMM_H] = 896,
						  [PLACE_HI16_ZMM] = 1408,
						  [PLACE_PKRU] = 2432 } };

/* This processor's, asked once: under a hypervisor each CPUID costs microseconds. */
static struct {
	bool asked;
	uint64_t xcr0;
	bool avx512f, pku;
	struct layout layout;
} cpu;

static uint64_t xgetbv0(void)
{
	uint32_t lo, hi;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

static void ask_cpu(void)
{
	unsigned a, b, c, d;
	if (cpu.asked)
		return;
	cpu.asked = true;
	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return;
	cpu.xcr0 = xgetbv0();
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
		cpu.avx512f = b & bit_AVX512F;
		cpu.pku = c & bit_OSPKE;
	}
	for (unsigned i = PLACE_AVX; i < PLACE_COUNT; i++)
		if ((cpu.xcr0 >> i & 1) && __get_cpuid_count(0xd, i, &a, &b, &c, &d) &&
		    b >= XSTATE_HEADER_END)
			cpu.layout.at[i] = b;
}

static void features_of_xcr0(uint64_t xcr0, struct x86_features *ret)
{
	ret->avx = (xcr0 & 0x6) == 0x6;
	ret->avx512 = (xcr0 & 0xe6) == 0xe6;
	ret->pkeys = xcr0 & 0x200;
}

void x86_features_detect(struct x86_features *ret)
{
	ask_cpu();
	features_of_xcr0(cpu.xcr0, ret);
	ret->avx512 = ret->avx512 && cpu.avx512f;
	ret->pkeys = ret->pkeys && cpu.pku;
}

static uint64_t load64(const uint8_t *from)
{
	uint64_t value;
	memcpy(&value, from, sizeof(value));
	return value;
}

static bool has_header(const struct xstate *xs)
{
	return xs->size >= XSTATE_HEADER_END && xs->size <= XSTATE_MAX;
}

/* The components this area was made with; dumps of emulators leave the kernel's note of it empty.
 */
static uint64_t xcr0_of(const struct xstate *xs)
{
	if (!has_header(xs))
		return 1 << PLACE_FP | 1 << PLACE_SSE;
	uint64_t xcr0 = load64(xs->data + FX_XCR0);
	if (xcr0 & 1)
		return xcr0;
	ask_cpu();
	return cpu.xcr0 | 1 << PLACE_FP | 1 << PLACE_SSE;
}

void x86_features_of(const struct xstate *xs, struct x86_features *ret)
{
	features_of_xcr0(xcr0_of(xs), ret);
}

static size_t layout_end(const struct layout *l, uint64_t xcr0)
{
	size_t end = XSTATE_HEADER_END;
	for (unsigned i = PLACE_AVX; i < PLACE_COUNT; i++)
		if ((xcr0 >> i & 1) && place_size[i])
			/* PKRU takes 4 bytes of a component of 8. */
			end = MAX(end,
				  l->at[i]
					  ? l->at[i] + (size_t)(i == PLACE_PKRU ? 8 : place_size[i])
					  : SIZE_MAX);
	return end;
}

/* An exact fit of the size wins, ours before the others; with components behind those we know, ours
 * if it fits at all. */
static const struct layout *layout_of(const struct xstate *xs)
{
	uint64_t xcr0 = xcr0_of(xs);
	ask_cpu();
	const struct layout *known[] = { &cpu.layout, &intel_layout, &amd_layout };
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (layout_end(known[i], xcr0) == xs->size)
			return known[i];
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (layout_end(known[i], xcr0) <= xs->size)
			return known[i];
	return NULL;
}

/* Where the component begins in xs, or -ENODATA. */
static int place_offset(const struct xstate *xs, unsigned place)
{
	if (xs->size < XSTATE_BV || xs->size > XSTATE_MAX)
		return -ENODATA;
	if (place <= PLACE_SSE)
		return 0;
	if (!has_header(xs) || place >= PLACE_COUNT || !(xcr0_of(xs) >> place & 1))
		return -ENODATA;
	const struct layout *l = layout_of(xs);
	return l ? (int)l->at[place] : -ENODATA;
}

static bool in_use(const struct xstate *xs, unsigned place)
{
	return !has_header(xs) || (load64(xs->data + XSTATE_BV) >> place & 1);
}

/* XRSTOR takes MXCSR with either SSE or AVX (SDM volume 1, 13.8.1), so the kernel keeps it when one
 * of them is in use. */
static bool mxcsr_in_use(const struct xstate *xs)
{
	return in_use(xs, PLACE_SSE) || in_use(xs, PLACE_AVX);
}

/* Before the first byte of a component in its initial state is written, all its other bytes must
 * say that state. */
static void make_in_use(struct xstate *xs, unsigned place, int offset)
{
	if (in_use(xs, place))
		return;
	if (place == PLACE_FP) {
		static const uint16_t fcw = FCW_INIT;
		memset(xs->data, 0, FX_MXCSR);
		memset(xs->data + FX_ST, 0, FX_XMM - FX_ST);
		memcpy(xs->data + FX_FCW, &fcw, sizeof(fcw));
	} else if (place == PLACE_SSE) {
		memset(xs->data + FX_XMM, 0, 256);
	} else {
		memset(xs->data + offset, 0, place_size[place]);
	}
	if ((place == PLACE_SSE || place == PLACE_AVX) && !mxcsr_in_use(xs)) {
		static const uint32_t mxcsr = MXCSR_INIT;
		memcpy(xs->data + FX_MXCSR, &mxcsr, sizeof(mxcsr));
	}
	uint64_t bv = load64(xs->data + XSTATE_BV) | 1ull << place;
	memcpy(xs->data + XSTATE_BV, &bv, sizeof(bv));
}

/* The two bits FSAVE would have stored for a register that is not empty: 0 valid, 1 zero, 2
 * special. */
static unsigned tag_of(const uint8_t *st)
{
	uint64_t mantissa = load64(st);
	unsigned exponent = (st[8] | st[9] << 8) & 0x7fff;
	if (exponent == 0)
		return mantissa ? 2 : 1;
	return exponent != 0x7fff && mantissa >> 63 ? 0 : 2;
}

static uint16_t ftag_expand(const uint8_t *fx)
{
	unsigned top = fx[FX_FSW + 1] >> 3 & 7;
	unsigned full = 0;
	for (unsigned phys = 0; phys < 8; phys++) {
		bool used = fx[FX_FTW] >> phys & 1;
		unsigned tag = used ? tag_of(fx + FX_ST + 16 * ((phys - top) & 7)) : 3;
		full |= tag << 2 * phys;
	}
	return (uint16_t)full;
}

static uint8_t ftag_pack(uint16_t full)
{
	unsigned abridged = 0;
	for (unsigned phys = 0; phys < 8; phys++)
		if ((full >> 2 * phys & 3) != 3)
			abridged |= 1u << phys;
	return (uint8_t)abridged;
}

const char *x86_reg_name(unsigned reg)
{
	return reg < X86_REG_COUNT ? regs[reg].name : NULL;
}

size_t x86_reg_size(unsigned reg)
{
	return reg < X86_REG_COUNT ? regs[reg].size : 0;
}

int x86_reg_by_name(const char *name)
{
	for (unsigned i = 0; i < X86_REG_COUNT; i++)
		if (strcmp(regs[i].name, name) == 0)
			return (int)i;
	return -1;
}

bool x86_reg_is_gp(unsigned reg)
{
	return reg < X86_REG_COUNT && regs[reg].place == PLACE_GP;
}

/* What the register reads as while its component is in its initial state. */
static void get_initial(unsigned reg, void *into)
{
	static const uint32_t fctrl = FCW_INIT, ftag = 0xffff, mxcsr = MXCSR_INIT;
	memset(into, 0, regs[reg].size);
	if (reg == X86_FCTRL)
		memcpy(into, &fctrl, sizeof(fctrl));
	if (reg == X86_FTAG)
		memcpy(into, &ftag, sizeof(ftag));
	if (reg == X86_MXCSR)
		memcpy(into, &mxcsr, sizeof(mxcsr));
}

int x86_reg_get(unsigned reg, const struct user_regs_struct *gp, const struct xstate *xs,
		void *into)
{
	if (reg >= X86_REG_COUNT)
		return -ENODATA;
	const struct reg_def *def = &regs[reg];
	if (def->place == PLACE_GP) {
		memcpy(into, (const uint8_t *)gp + def->at, def->size);
		return 0;
	}
	int offset = xs ? place_offset(xs, def->place) : -ENODATA;
	if (offset < 0)
		return offset;
	if (reg == X86_MXCSR ? !mxcsr_in_use(xs) : !in_use(xs, def->place)) {
		get_initial(reg, into);
		return 0;
	}
	memset(into, 0, def->size);
	if (reg == X86_FTAG) {
		uint16_t full = ftag_expand(xs->data);
		memcpy(into, &full, sizeof(full));
		return 0;
	}
	memcpy(into, xs->data + offset + def->at, def->width);
	return 0;
}

int x86_reg_set(unsigned reg, struct user_regs_struct *gp, struct xstate *xs, const void *from)
{
	if (reg >= X86_REG_COUNT)
		return -ENODATA;
	const struct reg_def *def = &regs[reg];
	if (def->place == PLACE_GP) {
		memset((uint8_t *)gp + def->at, 0, 8); /* all fields are 8 bytes */
		memcpy((uint8_t *)gp + def->at, from, def->size);
		return 0;
	}
	int offset = xs ? place_offset(xs, def->place) : -ENODATA;
	if (offset < 0)
		return offset;
	make_in_use(xs, def->place, offset);
	if (reg == X86_FTAG) {
		uint16_t full;
		memcpy(&full, from, sizeof(full));
		xs->data[FX_FTW] = ftag_pack(full);
		return 0;
	}
	memcpy(xs->data + offset + def->at, from, def->width);
	return 0;
}
