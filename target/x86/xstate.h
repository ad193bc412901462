/*
 * xstate.h - the extended register state of a thread as the kernel hands it out.
 *
 * Shape:  NT_X86_XSTATE of PTRACE_GETREGSET, standard (not compacted) form: 512 bytes FXSAVE, 64 bytes header with XSTATE_BV
 *         first, then the components at the offsets CPUID.0DH reports; they differ between Intel and AMD.
 * Init:   a clear XSTATE_BV bit means the component is in its initial state whatever its bytes say.
 * Source: Intel SDM volume 1, chapter 13; kernel arch/x86/kernel/fpu/xstate.c, Documentation/arch/x86/xstate.rst.
 */
#ifndef STOPGO_TARGET_X86_XSTATE_H
#define STOPGO_TARGET_X86_XSTATE_H

#include "base/util.h"

enum { XSTATE_MAX = 16384 };  /* with AMX tiles the kernel's is 11,008 */

struct xstate {
	size_t  size;              /* bytes the kernel gave; 512 without XSAVE (NT_PRFPREG) */
	uint8_t data[XSTATE_MAX] __attribute__((aligned(64)));
};

#endif
