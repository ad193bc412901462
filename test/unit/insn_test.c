/*
 * The oracle is the processor: each instruction runs in a child under hardware single step, on random registers and an arena both of
 * us can see, and then by emulation and by relocated copies, near and far. Registers, flags and memory must come out equal.
 *
 * Instructions: the first 32 bytes of all functions of libc, libstdc++ and a Go program (STOPGO_ORACLE_FILES: more, separated by
 * ':'), one of each form; and forms made at random. STOPGO_ORACLE=full takes every different byte string and more random ones.
 */
#include <Zydis/Zydis.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <glob.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <cmocka.h>

#include "target/x86/emulate.h"
#include "target/x86/insn.h"
#include "target/x86/xstate.h"

/* Everything lies where a 32-bit displacement and a 32-bit address reach it, but for the far scratch. */
#define ARENA 0x20000000ull
#define FROM  0x30000800ull
#define NEAR  0x30010000ull
#define FAR   0x7d0000000000ull

enum {
	ARENA_SIZE = 0x2000,
	RUN_STEPS_MAX = 64,
	AF = 0x10,
	TF = 0x100,
	RF = 0x10000,
	ARITHMETIC = 0x8d5,
	DF = 0x400,
};

static uint64_t seed = 88172645463325252ull;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the child */

static struct {
	pid_t pid;
	struct user_regs_struct clean;
	struct xstate xstate;
} child;

static uint8_t before[ARENA_SIZE];
static uint8_t *const arena = (uint8_t *)ARENA;

static void map(uint64_t addr, size_t size)
{
	void *at = mmap((void *)addr, size, PROT_READ | PROT_WRITE | PROT_EXEC,
			MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	assert_ptr_equal(at, (void *)addr);
}

static int start_child(void **state _unused_)
{
	map(ARENA, ARENA_SIZE);
	map(FROM & ~0xfffull, 0x1000);
	map(NEAR, 0x1000);
	map(FAR, 0x1000);
	child.pid = fork();
	if (child.pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		__asm__ volatile("fninit");
		raise(SIGSTOP);
		_exit(1);
	}
	int status;
	struct iovec iov = { child.xstate.data, sizeof(child.xstate.data) };
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
	assert_int_equal(ptrace(PTRACE_SETOPTIONS, child.pid, 0, PTRACE_O_EXITKILL), 0);
	assert_int_equal(ptrace(PTRACE_GETREGS, child.pid, 0, &child.clean), 0);
	assert_int_equal(ptrace(PTRACE_GETREGSET, child.pid, NT_X86_XSTATE, &iov), 0);
	child.xstate.size = iov.iov_len;
	/* x87 empty, SSE with patterns in it */
	for (unsigned i = 0; i < 256; i++)
		child.xstate.data[160 + i] = (uint8_t)(i * 5 + 3);
	child.xstate.data[512] |= 2;
	return 0;
}

static int end_child(void **state _unused_)
{
	kill(child.pid, SIGKILL);
	waitpid(child.pid, NULL, 0);
	return 0;
}

/* One step from regs; the signal it ended with (SIGTRAP: done). */
static int step(struct user_regs_struct *regs)
{
	int status;
	regs->orig_rax = ~0ull;
	if (ptrace(PTRACE_SETREGS, child.pid, 0, regs) < 0)
		fail_msg("registers are refused (%s): rip %llx fs_base %llx gs_base %llx",
			 strerror(errno), regs->rip, regs->fs_base, regs->gs_base);
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, child.pid, 0, 0), 0);
	assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(ptrace(PTRACE_GETREGS, child.pid, 0, regs), 0);
	return WSTOPSIG(status);
}

static void set_xstate(void)
{
	struct iovec iov = { child.xstate.data, child.xstate.size };
	assert_int_equal(ptrace(PTRACE_SETREGSET, child.pid, NT_X86_XSTATE, &iov), 0);
}

static void get_xstate(struct xstate *xs)
{
	struct iovec iov = { xs->data, sizeof(xs->data) };
	assert_int_equal(ptrace(PTRACE_GETREGSET, child.pid, NT_X86_XSTATE, &iov), 0);
	xs->size = iov.iov_len;
	/* The last x87 instruction's opcode and addresses are its own business. Whether a component in
	 * its initial state counts as in use depends on how often it was saved; its bytes are there. */
	memset(xs->data + 6, 0, 18);
	memset(xs->data + 512, 0, 8);
}

/* ---- memory as the emulator sees it */

static int read_at(void *ctx, uint64_t addr, void *into, size_t len)
{
	if (addr < ARENA || addr > ARENA + ARENA_SIZE - len)
		return -EFAULT;
	memcpy(into, (uint8_t *)ctx + (addr - ARENA), len);
	return 0;
}

static int write_at(void *ctx, uint64_t addr, const void *from, size_t len)
{
	if (addr < ARENA || addr > ARENA + ARENA_SIZE - len)
		return -EFAULT;
	memcpy((uint8_t *)ctx + (addr - ARENA), from, len);
	return 0;
}

/* ---- making a situation in which the instruction does something */

struct sample {
	struct insn in;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	struct user_regs_struct regs;
};

static unsigned long long *gpr(struct user_regs_struct *r, unsigned n)
{
	unsigned long long *const all[16] = { &r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp,
					      &r->rsi, &r->rdi, &r->r8,  &r->r9,  &r->r10, &r->r11,
					      &r->r12, &r->r13, &r->r14, &r->r15 };
	return all[n & 15];
}

static int number_of(ZydisRegister reg)
{
	reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);
	return reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15
		       ? (int)(reg - ZYDIS_REGISTER_RAX)
		       : -1;
}

static uint64_t random_value(void)
{
	switch (rnd() % 8) {
	case 0: return rnd() % 256;
	case 1: return 0 - rnd() % 256;
	case 2: return (uint32_t)rnd();
	case 3: return 1ull << rnd() % 64;
	case 4: return (1ull << rnd() % 64) - 1;
	case 5: return rnd() & 0x8000000080008080;
	default: return rnd();
	}
}

static uint64_t random_place(void)
{
	return ARENA + 0x1000 + (rnd() % 16) * 64 + (rnd() % 4 == 0 ? rnd() % 16 : 0);
}

/* Chooses registers so that the operand lies in the arena; done says which are chosen. */
static void aim(struct sample *s, const ZydisDecodedOperandMem *m, unsigned *done)
{
	int base = number_of(m->base), index = number_of(m->index);
	uint64_t place = random_place() - (uint64_t)(m->disp.has_displacement ? m->disp.value : 0),
		 small = rnd() % 8;
	if (m->segment == ZYDIS_REGISTER_FS || m->segment == ZYDIS_REGISTER_GS) {
		/* the segment takes what the registers leave */
		uint64_t rest = place;
		if (base >= 0 && !(*done >> base & 1))
			*gpr(&s->regs, (unsigned)base) = rnd() % 64;
		if (base >= 0)
			rest -= *gpr(&s->regs, (unsigned)base);
		if (index >= 0)
			rest -= *gpr(&s->regs, (unsigned)index) * m->scale;
		if (m->base == ZYDIS_REGISTER_RIP)
			rest -= FROM + s->in.length;
		*(m->segment == ZYDIS_REGISTER_FS ? &s->regs.fs_base : &s->regs.gs_base) =
			rest < 0x7ffffffff000 ? rest : 0;
		return;
	}
	if (base >= 0 && base == index) {
		if (!(*done >> base & 1))
			*gpr(&s->regs, (unsigned)base) = place / (m->scale + 1u);
	} else if (base >= 0) {
		if (index >= 0 && !(*done >> index & 1) && !(*done >> base & 1))
			*gpr(&s->regs, (unsigned)index) = small;
		if (!(*done >> base & 1))
			*gpr(&s->regs, (unsigned)base) =
				place -
				(index >= 0 ? *gpr(&s->regs, (unsigned)index) * m->scale : 0);
	} else if (index >= 0 && !(*done >> index & 1)) {
		*gpr(&s->regs, (unsigned)index) = place / m->scale;
	}
	if (base >= 0)
		*done |= 1u << base;
	if (index >= 0)
		*done |= 1u << index;
}

static uint64_t effective(const struct sample *s, const ZydisDecodedOperandMem *m)
{
	struct user_regs_struct r = s->regs;
	uint64_t addr = (uint64_t)(m->disp.has_displacement ? m->disp.value : 0);
	if (m->base == ZYDIS_REGISTER_RIP)
		addr += FROM + s->in.length;
	else if (number_of(m->base) >= 0)
		addr += *gpr(&r, (unsigned)number_of(m->base));
	if (number_of(m->index) >= 0)
		addr += *gpr(&r, (unsigned)number_of(m->index)) * m->scale;
	if (m->segment == ZYDIS_REGISTER_FS)
		addr += r.fs_base;
	if (m->segment == ZYDIS_REGISTER_GS)
		addr += r.gs_base;
	return addr;
}

/* An indirect branch goes somewhere an address can be. */
static void aim_branch(struct sample *s)
{
	uint64_t target = FROM + 0x100 + rnd() % 64;
	for (unsigned k = 0; k < s->z.operand_count; k++) {
		const ZydisDecodedOperand *o = &s->ops[k];
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ))
			write_at(before, effective(s, &o->mem), &target, 8);
		if (k == 0 && o->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    number_of(o->reg.value) >= 0 && number_of(o->reg.value) != 4)
			*gpr(&s->regs, (unsigned)number_of(o->reg.value)) = target;
	}
}

/* Absolute and rip-relative displacements are ours to choose; they do not change the form. */
static void patch_displacement(struct sample *s)
{
	const ZydisDecodedOperandMem *m = NULL;
	for (unsigned k = 0; k < s->z.operand_count && !m; k++)
		if (s->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
			m = &s->ops[k].mem;
	if (!m || !s->z.raw.disp.size || m->index != ZYDIS_REGISTER_NONE)
		return;
	uint64_t value = random_place();
	if (m->base == ZYDIS_REGISTER_RIP || m->base == ZYDIS_REGISTER_EIP)
		value -= FROM + s->in.length;
	else if (m->base != ZYDIS_REGISTER_NONE)
		return;
	memcpy(s->in.bytes + s->z.raw.disp.offset, &value, s->z.raw.disp.size / 8);
}

static bool decode(struct sample *s, const uint8_t *bytes, size_t len)
{
	static ZydisDecoder d;
	if (!d.machine_mode)
		ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	if (insn_decode(bytes, len, &s->in) < 0 ||
	    !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, bytes, len, &s->z, s->ops)))
		return false;
	/* Zydis 4.0.0 has a base where there is none */
	for (unsigned k = 0; k < s->z.operand_count; k++) {
		ZydisDecodedOperand *o = &s->ops[k];
		if (o->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    o->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
		    (s->z.attributes & ZYDIS_ATTRIB_HAS_MODRM) && s->z.raw.modrm.mod == 0 &&
		    s->z.raw.modrm.rm == 4 && s->z.raw.sib.base == 5) {
			o->mem.base = ZYDIS_REGISTER_NONE;
			o->mem.disp.has_displacement = true;
			o->mem.disp.value = s->z.raw.disp.value;
		}
	}
	return true;
}

/* What differs from one run to the next, never ends, or would change the child's surroundings. */
static bool is_left_out(const struct sample *s)
{
	switch (s->z.meta.category) {
	case ZYDIS_CATEGORY_XSAVE:
	case ZYDIS_CATEGORY_XSAVEOPT:
	case ZYDIS_CATEGORY_RDRAND:
	case ZYDIS_CATEGORY_RDSEED:
	case ZYDIS_CATEGORY_WAITPKG: return true;
	default: break;
	}
	switch (s->z.mnemonic) {
	case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_RDPMC:
	case ZYDIS_MNEMONIC_RDPID:
	case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FNSAVE:
	case ZYDIS_MNEMONIC_FXSAVE:
	case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_MONITORX:
	case ZYDIS_MNEMONIC_MWAITX:
	case ZYDIS_MNEMONIC_SYSENTER:
	case ZYDIS_MNEMONIC_XBEGIN: return true;
	default: break;
	}
	return (s->in.is & (INSN_INT3 | INSN_INT)) || s->in.data16_branch;
}

static bool prepare(struct sample *s, const uint8_t *bytes, size_t len)
{
	if (!decode(s, bytes, len) || is_left_out(s))
		return false;
	patch_displacement(s);
	uint8_t patched[INSN_MAX];
	memcpy(patched, s->in.bytes, INSN_MAX);
	if (!decode(s, patched, s->in.length))
		return false;

	for (unsigned i = 0; i < ARENA_SIZE; i += 8) {
		uint64_t value = random_value();
		memcpy(before + i, &value, 8);
	}
	s->regs = child.clean;
	for (unsigned i = 0; i < 16; i++)
		*gpr(&s->regs, i) = random_value();
	if (rnd() % 4 == 0)
		*gpr(&s->regs, (unsigned)rnd() % 16) = *gpr(&s->regs, (unsigned)rnd() % 16);
	s->regs.rsp = ARENA + 0x1000 + rnd() % 64 * 8;
	s->regs.rip = FROM;
	s->regs.eflags = 0x202 | (rnd() & (ARITHMETIC | DF));
	unsigned done = 0;
	for (unsigned k = 0; k < s->z.operand_count; k++)
		if (s->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    s->ops[k].mem.type == ZYDIS_MEMOP_TYPE_MEM)
			aim(s, &s->ops[k].mem, &done);
	if (s->in.is & (INSN_CALL | INSN_JUMP | INSN_RET))
		aim_branch(s);
	if ((s->in.is & INSN_REP) || s->z.meta.category == ZYDIS_CATEGORY_COND_BR)
		s->regs.rcx = rnd() % 4;
	if (s->in.is & INSN_SYSCALL)
		s->regs.rax = SYS_getpid;
	if (s->z.mnemonic == ZYDIS_MNEMONIC_LEAVE)
		s->regs.rbp = random_place();
	return true;
}

/* ---- comparing */

static struct {
	unsigned compared, emulated, not_emulated, faulted;
	unsigned stepped[2], ran[2], refused[2][2];
	unsigned wrong;
} count;

static void complain(const struct sample *s, const char *what, const char *how, uint64_t got,
		     uint64_t want)
{
	char hex[2 * INSN_MAX + 1] = "";
	for (unsigned i = 0; i < s->in.length; i++)
		sprintf(hex + 2 * i, "%02x", s->in.bytes[i]);
	if (count.wrong++ < 40)
		print_error("%s %s (%s): %s is %lx, the processor's is %lx; flags before %llx\n",
			    how, ZydisMnemonicGetString(s->z.mnemonic), hex, what,
			    (unsigned long)got, (unsigned long)want, s->regs.eflags & ARITHMETIC);
}

static void compare(const struct sample *s, const char *how, const struct user_regs_struct *got,
		    const uint8_t *got_memory, const struct user_regs_struct *want,
		    const uint8_t *want_memory, uint64_t ignored_flags)
{
	struct user_regs_struct a = *got, b = *want;
	char name[8];
	for (unsigned i = 0; i < 16; i++) {
		snprintf(name, sizeof(name), "gpr %u", i);
		if (*gpr(&a, i) != *gpr(&b, i))
			complain(s, name, how, *gpr(&a, i), *gpr(&b, i));
	}
	if (a.rip != b.rip)
		complain(s, "rip", how, a.rip, b.rip);
	if ((a.eflags ^ b.eflags) & ~(ignored_flags | RF))
		complain(s, "eflags", how, a.eflags & ~ignored_flags, b.eflags & ~ignored_flags);
	if (a.fs_base != b.fs_base || a.gs_base != b.gs_base)
		complain(s, "segment base", how, a.fs_base, b.fs_base);
	for (unsigned i = 0; i < ARENA_SIZE; i++)
		if (got_memory[i] != want_memory[i]) {
			complain(s, "memory", how, got_memory[i], want_memory[i]);
			break;
		}
}

/* What the manual leaves undefined and processors do differently. */
static uint64_t undefined_flags(const struct sample *s)
{
	return s->in.op == EMU_SHL || s->in.op == EMU_SHR || s->in.op == EMU_SAR ? AF : 0;
}

static void compare_emulation(const struct sample *s, int sig, const struct user_regs_struct *want,
			      const uint8_t *want_memory)
{
	static uint8_t memory[ARENA_SIZE];
	struct user_regs_struct regs = s->regs;
	struct insn_mem mem = { read_at, write_at, memory };
	memcpy(memory, before, ARENA_SIZE);
	int r = insn_emulate(&s->in, &regs, &mem);
	if (r == 1) {
		count.emulated++;
		if (sig != SIGTRAP)
			complain(s, "done where the processor faults: signal", "emulation of", 0,
				 (uint64_t)sig);
		else
			compare(s, "emulation of", &regs, memory, want, want_memory,
				undefined_flags(s));
		return;
	}
	count.not_emulated++;
	if (memcmp(&regs, &s->regs, sizeof(regs)) || memcmp(memory, before, ARENA_SIZE))
		complain(s, "state changed by no emulation:", "emulation of", (uint64_t)r, 0);
	if (r < 0 && sig == SIGTRAP)
		complain(s, "memory error", "emulation of", (uint64_t)-r, 0);
}

/* Who steps shows the program the trap flag it stepped with. */
static void clear_pushed_trap(const struct sample *s, int sig, const struct user_regs_struct *regs)
{
	uint64_t at = regs->rsp - ARENA;
	if ((s->in.is & INSN_PUSHF) && sig == SIGTRAP && at < ARENA_SIZE - 2)
		arena[at + 1] &= (uint8_t) ~(TF >> 8);
}

/* A copy that runs pushes before it reads its target: what lies below rsp is nobody's. */
static bool is_below_stack(const struct sample *s)
{
	for (unsigned k = 0; k < s->z.operand_count; k++)
		if (s->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    s->ops[k].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
		    effective(s, &s->ops[k].mem) - (s->regs.rsp - 15) < 15)
			return true;
	return false;
}

static void compare_copy(const struct sample *s, bool far, enum insn_copy_mode mode, int want_sig,
			 const struct user_regs_struct *want, const uint8_t *want_memory,
			 const struct xstate *want_xs)
{
	static struct xstate xs;
	uint64_t to = (far ? FAR : NEAR) + rnd() % 64;
	struct insn_copy copy;
	struct insn_entered entered;
	struct insn_mem mem = { read_at, write_at, arena };
	const char *how = mode == COPY_STEP ? far ? "far step of" : "step of"
			  : far             ? "far run of"
					    : "run of";
	bool pushes_first =
		(s->in.is & INSN_CALL) && !(s->in.is & INSN_RELATIVE) && mode == COPY_RUN;
	int r = insn_relocate(&s->in, FROM, to, mode, &copy);
	if (pushes_first && is_below_stack(s))
		return;
	if (r < 0) {
		count.refused[mode][far]++;
		if (r != -EOPNOTSUPP && !(far && r == -ERANGE))
			complain(s, "relocation error", how, (uint64_t)-r, 0);
		return;
	}
	memset((void *)(to & ~0xfffull), 0xcc, 256);
	memcpy((void *)to, copy.code, copy.size);
	memcpy(arena, before, ARENA_SIZE);
	if (want_xs)
		set_xstate();
	struct user_regs_struct regs = s->regs;
	insn_enter(&copy, &regs, &entered);
	int sig, steps = 0;
	do {
		sig = step(&regs);
	} while (mode == COPY_RUN && sig == SIGTRAP && insn_copy_holds(&copy, regs.rip) &&
		 ++steps < RUN_STEPS_MAX);
	if (mode == COPY_RUN && sig == SIGTRAP && insn_copy_holds(&copy, regs.rip))
		complain(s, "still in the copy: rip", how, regs.rip, want->rip);
	if (mode == COPY_RUN)
		clear_pushed_trap(s, sig, &regs);
	r = insn_fixup(&copy, &entered, &regs, &mem);
	if (r < 0)
		complain(s, "fixup error", how, (uint64_t)-r, 0);
	if (sig != want_sig)
		complain(s, "signal", how, (uint64_t)sig, (uint64_t)want_sig);
	uint64_t below;
	if (pushes_first && sig != SIGTRAP &&
	    read_at((void *)want_memory, s->regs.rsp - 8, &below, 8) == 0)
		write_at(arena, s->regs.rsp - 8, &below, 8);
	compare(s, how, &regs, arena, want, want_memory, 0);
	if (want_xs) {
		get_xstate(&xs);
		if (xs.size != want_xs->size || memcmp(xs.data, want_xs->data, xs.size) != 0)
			complain(s, "extended state", how, 0, 0);
	}
	(mode == COPY_STEP ? count.stepped : count.ran)[far]++;
}

/* The processor's answer: one step, or for COPY_RUN of a repeated instruction all its rounds. */
static int ask_processor(const struct sample *s, bool all_rounds, struct user_regs_struct *ret,
			 uint8_t *ret_memory)
{
	memcpy((void *)FROM, s->in.bytes, s->in.length);
	memcpy(arena, before, ARENA_SIZE);
	*ret = s->regs;
	int sig, steps = 0;
	do {
		sig = step(ret);
	} while (all_rounds && sig == SIGTRAP && ret->rip == FROM && ++steps < RUN_STEPS_MAX);
	/* The step's own trap flag is nobody's. */
	uint64_t flags_at = ret->rsp - ARENA;
	if ((s->in.is & INSN_PUSHF) && sig == SIGTRAP && flags_at < ARENA_SIZE - 2)
		arena[flags_at + 1] &= (uint8_t) ~(TF >> 8);
	memcpy(ret_memory, arena, ARENA_SIZE);
	return sig;
}

static void try_sample(const struct sample *s)
{
	static uint8_t memory[ARENA_SIZE];
	static struct xstate xs;
	struct user_regs_struct regs;
	bool extended = s->in.op == EMU_NONE;
	if (extended)
		set_xstate();
	int sig = ask_processor(s, false, &regs, memory);
	if (extended)
		get_xstate(&xs);
	count.compared++;
	count.faulted += sig != SIGTRAP;
	compare_emulation(s, sig, &regs, memory);
	for (int far = 0; far < 2; far++)
		compare_copy(s, far, COPY_STEP, sig, &regs, memory, extended ? &xs : NULL);
	if (s->in.is & INSN_REP) {
		set_xstate();
		sig = ask_processor(s, true, &regs, memory);
		get_xstate(&xs);
	}
	for (int far = 0; far < 2; far++)
		compare_copy(s, far, COPY_RUN, sig, &regs, memory, extended ? &xs : NULL);
}

static void report(const char *what, uint64_t begin)
{
	printf("%s: %u instructions compared (%u faulted), %u emulated and %u not; copies stepped "
	       "%u near %u far, run %u near %u far; "
	       "refused %u %u, %u %u; %.1f s\n",
	       what, count.compared, count.faulted, count.emulated, count.not_emulated,
	       count.stepped[0], count.stepped[1], count.ran[0], count.ran[1],
	       count.refused[COPY_STEP][0], count.refused[COPY_STEP][1], count.refused[COPY_RUN][0],
	       count.refused[COPY_RUN][1], (double)(now_ns() - begin) / 1e9);
	assert_int_equal(count.wrong, 0);
	memset(&count, 0, sizeof(count));
}

static bool full(void)
{
	const char *how = getenv("STOPGO_ORACLE");
	return how && strcmp(how, "full") == 0;
}

/* ---- instructions of real programs */

enum { PROLOGUE = 32, TABLE_SIZE = 1 << 20 };

static struct {
	uint8_t (*codes)[INSN_MAX + 1]; /* the last byte is the length */
	size_t used;
	unsigned files, functions, instructions, emulated;
} found;

/* One entry per form (bytes without displacement and immediates), or per byte string; open addressing. */
static void remember(const struct sample *s)
{
	uint8_t key[INSN_MAX + 1] = { 0 };
	memcpy(key, s->in.bytes, s->in.length);
	key[INSN_MAX] = s->in.length;
	uint8_t masked[INSN_MAX + 1];
	memcpy(masked, key, sizeof(key));
	if (!full()) {
		memset(masked + s->z.raw.disp.offset, 0, s->z.raw.disp.size / 8);
		for (int i = 0; i < 2; i++)
			memset(masked + s->z.raw.imm[i].offset, 0, s->z.raw.imm[i].size / 8);
	}
	uint64_t hash = 14695981039346656037ull;
	for (unsigned i = 0; i < sizeof(masked); i++)
		hash = (hash ^ masked[i]) * 1099511628211ull;
	static uint64_t *seen;
	if (!seen)
		seen = calloc(TABLE_SIZE, sizeof(*seen));
	hash |= 1;
	size_t at = hash % TABLE_SIZE;
	while (seen[at] && seen[at] != hash)
		at = (at + 1) % TABLE_SIZE;
	if (seen[at] || found.used == TABLE_SIZE / 2)
		return;
	seen[at] = hash;
	memcpy(found.codes[found.used++], key, sizeof(key));
}

static unsigned missing[ZYDIS_MNEMONIC_MAX_VALUE + 1];

/* What emulation leaves out most. */
static void list_missing(void)
{
	for (int i = 0; i < 12; i++) {
		unsigned most = 0;
		for (unsigned k = 1; k <= ZYDIS_MNEMONIC_MAX_VALUE; k++)
			if (missing[k] > missing[most])
				most = k;
		printf("%s%s %u",
		       i ? ", " : "not emulated: ", ZydisMnemonicGetString((ZydisMnemonic)most),
		       missing[most]);
		missing[most] = 0;
	}
	printf("\n");
}

static void take_function(const uint8_t *code, size_t len)
{
	found.functions++;
	for (size_t at = 0; at < len;) {
		struct sample s;
		if (!decode(&s, code + at, len - at) ||
		    (s.in.is & INSN_INT3)) /* padding: the function was short */
			return;
		found.instructions++;
		found.emulated += s.in.op != EMU_NONE;
		if (s.in.op == EMU_NONE)
			missing[s.z.mnemonic]++;
		remember(&s);
		at += s.in.length;
	}
}

static const uint8_t *at_address(Elf *elf, uint64_t addr, size_t *ret_len)
{
	for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn; scn = elf_nextscn(elf, scn)) {
		GElf_Shdr sh;
		Elf_Data *data;
		if (!gelf_getshdr(scn, &sh) || !(sh.sh_flags & SHF_EXECINSTR) ||
		    addr < sh.sh_addr || addr >= sh.sh_addr + sh.sh_size)
			continue;
		data = elf_rawdata(scn, NULL);
		if (!data || !data->d_buf || addr - sh.sh_addr >= data->d_size)
			return NULL;
		*ret_len = data->d_size - (addr - sh.sh_addr);
		return (const uint8_t *)data->d_buf + (addr - sh.sh_addr);
	}
	return NULL;
}

static void take_address(Elf *elf, uint64_t addr, uint64_t size)
{
	size_t len = 0;
	const uint8_t *code = at_address(elf, addr, &len);
	len = MIN(len, size);
	if (code)
		take_function(code, MIN(len, (size_t)PROLOGUE));
}

static void take_symbols(Elf *elf, Elf_Scn *scn, const GElf_Shdr *sh)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	GElf_Sym sym;
	for (size_t i = 0; data && sh->sh_entsize && i < sh->sh_size / sh->sh_entsize; i++)
		if (gelf_getsym(data, (int)i, &sym) && GELF_ST_TYPE(sym.st_info) == STT_FUNC &&
		    sym.st_size && sym.st_value)
			take_address(elf, sym.st_value, sym.st_size);
}

/* Stripped Go programs still have their function table (Go 1.18 and later). */
static void take_pclntab(Elf *elf, Elf_Scn *scn, uint64_t text)
{
	Elf_Data *data = elf_rawdata(scn, NULL);
	const uint8_t *p = data ? data->d_buf : NULL;
	uint64_t count_of, tab;
	if (!p || data->d_size < 72 || (p[0] != 0xf0 && p[0] != 0xf1) || p[1] != 0xff)
		return;
	memcpy(&count_of, p + 8, 8);
	memcpy(&tab, p + 64, 8);
	for (uint64_t i = 0; i + 1 < count_of && tab + i * 8 + 16 <= data->d_size; i++) {
		uint32_t entry[3];
		memcpy(entry, p + tab + i * 8, 12);
		take_address(elf, text + entry[0], entry[2] - entry[0]);
	}
}

static void take_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf *elf = fd >= 0 ? elf_begin(fd, ELF_C_READ, NULL) : NULL;
	size_t strings = 0;
	if (elf && elf_getshdrstrndx(elf, &strings) == 0) {
		unsigned functions = found.functions;
		uint64_t text = 0;
		found.files++;
		for (Elf_Scn *scn = elf_nextscn(elf, NULL); scn; scn = elf_nextscn(elf, scn)) {
			GElf_Shdr sh;
			const char *name = gelf_getshdr(scn, &sh)
						   ? elf_strptr(elf, strings, sh.sh_name)
						   : NULL;
			if (!name)
				continue;
			if (strcmp(name, ".text") == 0)
				text = sh.sh_addr;
			if (sh.sh_type == SHT_SYMTAB || sh.sh_type == SHT_DYNSYM)
				take_symbols(elf, scn, &sh);
			if (strcmp(name, ".gopclntab") == 0)
				take_pclntab(elf, scn, text);
		}
		printf("%s: %u functions\n", path, found.functions - functions);
	}
	elf_end(elf);
	if (fd >= 0)
		close(fd);
}

static void take_pattern(const char *pattern)
{
	glob_t g;
	if (glob(pattern, 0, NULL, &g) == 0 && g.gl_pathc)
		take_file(g.gl_pathv[0]);
	globfree(&g);
}

static void collect(void)
{
	elf_version(EV_CURRENT);
	found.codes = calloc(TABLE_SIZE / 2, sizeof(*found.codes));
	take_pattern("/lib/x86_64-linux-gnu/libc.so.6");
	take_pattern("/usr/lib/x86_64-linux-gnu/libstdc++.so.6");
	take_pattern("/usr/lib/go-*/bin/go");
	take_pattern("/proc/self/exe");
	char *more = getenv("STOPGO_ORACLE_FILES") ? strdup(getenv("STOPGO_ORACLE_FILES")) : NULL;
	for (char *path = more ? strtok(more, ":") : NULL; path; path = strtok(NULL, ":"))
		take_pattern(path);
	free(more);
}

static void real_code_runs_as_on_the_processor(void **state _unused_)
{
	collect();
	uint64_t begin = now_ns();
	printf("%u files, %u functions, %u instructions in their first %d bytes, %.2f%% of them "
	       "emulated; %zu different %s\n",
	       found.files, found.functions, found.instructions, PROLOGUE,
	       100.0 * found.emulated / found.instructions, found.used,
	       full() ? "byte strings" : "forms");
	list_missing();
	assert_true(found.functions > 100);
	/* Scattered over all of them when there is no time for all. */
	size_t stride = 1;
	while (found.used % stride == 0 || stride < 7)
		stride += 2;
	for (size_t i = 0; i < found.used; i++) {
		const uint8_t *code = found.codes[i * stride % found.used];
		struct sample s;
		if (prepare(&s, code, code[INSN_MAX]))
			try_sample(&s);
		if (!full() && now_ns() - begin > 5000000000)
			break;
	}
	report("real code", begin);
	assert_true(100.0 * found.emulated / found.instructions > 95);
}

/* ---- instructions nobody compiled */

/* Opcodes emulate.c has, with what follows them; random ModRM bytes choose the rest. */
static size_t make_instruction(uint8_t *into)
{
	static const uint8_t one[] = {
		0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x10, 0x11,
		0x12, 0x13, 0x14, 0x15, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x20, 0x21, 0x22, 0x23,
		0x24, 0x25, 0x28, 0x29, 0x2a, 0x2b, 0x2c, 0x2d, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35,
		0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x50, 0x53, 0x54, 0x57, 0x58, 0x5b, 0x5c, 0x5f,
		0x63, 0x68, 0x69, 0x6a, 0x6b, 0x70, 0x71, 0x72, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78,
		0x79, 0x7a, 0x7b, 0x7c, 0x7d, 0x7e, 0x7f, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87,
		0x88, 0x89, 0x8a, 0x8b, 0x8d, 0x8f, 0x90, 0x93, 0x98, 0x99, 0x9c, 0xa4, 0xa5, 0xa6,
		0xa8, 0xa9, 0xaa, 0xab, 0xac, 0xae, 0xb0, 0xb4, 0xb8, 0xbb, 0xc0, 0xc1, 0xc2, 0xc3,
		0xc6, 0xc7, 0xc9, 0xd0, 0xd1, 0xd2, 0xd3, 0xe0, 0xe1, 0xe2, 0xe3, 0xe8, 0xe9, 0xeb,
		0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfc, 0xfd, 0xfe, 0xff, 0xf6, 0xf7, 0xff, 0xff, 0xd3,
	};
	static const uint8_t two[] = {
		0x1f, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x4c,
		0x4d, 0x4e, 0x4f, 0x80, 0x82, 0x85, 0x86, 0x88, 0x8b, 0x8c, 0x8f, 0x90, 0x91, 0x92,
		0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0x9b, 0x9c, 0x9d, 0x9e, 0x9f, 0xa3,
		0xab, 0xaf, 0xb0, 0xb1, 0xb3, 0xb6, 0xb7, 0xb8, 0xba, 0xbb, 0xbc, 0xbd, 0xbe, 0xbf,
		0xc1, 0xc8, 0xcb, 0xcf, 0xba, 0xaf, 0xbe, 0x10, 0x28, 0x6f, 0xef, 0x7f, 0x05,
	};
	size_t len = 0;
	uint64_t r = rnd();
	if (r % 8 == 0)
		into[len++] = 0x66;
	if (r / 8 % 16 == 0)
		into[len++] = r / 128 % 2 ? 0x64 : 0x65;
	if (r / 256 % 16 == 0)
		into[len++] = 0x67;
	if (r / 4096 % 16 == 0)
		into[len++] = r / 65536 % 2 ? 0xf3 : 0xf2;
	if (r >> 17 & 1)
		into[len++] = 0x40 | (r >> 18 & 15);
	if (r >> 22 & 1) {
		into[len++] = 0x0f;
		into[len++] = two[rnd() % sizeof(two)];
	} else {
		into[len++] = one[rnd() % sizeof(one)];
	}
	for (; len < INSN_MAX; len++)
		into[len] = (uint8_t)(rnd() % 8 == 0 ? random_value() : rnd());
	if (rnd() % 4 == 0) /* more rip-relative ones than chance has */
		for (size_t i = 1; i + 1 < len; i++)
			if (into[i - 1] > 0x7f && into[i - 1] < 0x8c)
				into[i] &= 0x3d, into[i] |= 5;
	return len;
}

/* VEX and EVEX hide the bits a copy must change elsewhere; half of these count from rip. */
static size_t make_vector_instruction(uint8_t *into)
{
	static const uint8_t opcodes[] = { 0x10, 0x11, 0x28, 0x2a, 0x54, 0x57, 0x58, 0x59,
					   0x6f, 0x7f, 0xd4, 0xef, 0xf3, 0xf7, 0x18, 0x30 };
	uint64_t r = rnd();
	size_t len = 0;
	switch (r % 4) {
	case 0:
		into[len++] = 0xc5;
		into[len++] = (uint8_t)(r >> 8);
		break;
	case 1:
		into[len++] = 0xc4;
		into[len++] = (uint8_t)((r >> 8 & 0xe0) | (1 + (r >> 16) % 3));
		into[len++] = (uint8_t)(r >> 24);
		break;
	default:
		into[len++] = 0x62;
		into[len++] = (uint8_t)((r >> 8 & 0xf0) | (1 + (r >> 16) % 3));
		into[len++] = (uint8_t)(r >> 24 | 4);
		into[len++] = (uint8_t)((r >> 32 & 0x6f) | 8);
		break;
	}
	into[len++] = opcodes[rnd() % sizeof(opcodes)];
	into[len++] = (uint8_t)(rnd() % 2 ? (rnd() & 0x38) | 5 : rnd());
	while (len < INSN_MAX)
		into[len++] = (uint8_t)rnd();
	return len;
}

static void random_forms_run_as_on_the_processor(void **state _unused_)
{
	uint64_t begin = now_ns();
	unsigned wanted = full() ? 400000 : 6000;
	for (unsigned i = 0; i < wanted; i++) {
		uint8_t bytes[INSN_MAX];
		struct sample s;
		size_t len = i % 4 ? make_instruction(bytes) : make_vector_instruction(bytes);
		if (prepare(&s, bytes, len))
			try_sample(&s);
		if (!full() && now_ns() - begin > 5000000000)
			break;
	}
	report("random forms", begin);
}

/* ---- by hand */

static struct insn decoded(const char *hex)
{
	uint8_t bytes[INSN_MAX];
	size_t len = 0;
	for (int used; sscanf(hex, " %2hhx%n", &bytes[len], &used) == 1; hex += used)
		len++;
	struct insn in;
	assert_int_equal(insn_decode(bytes, len, &in), 0);
	assert_int_equal(in.length, len);
	assert_int_equal(insn_length(bytes, len), len);
	assert_int_equal(insn_decode(bytes, len - 1, &(struct insn){ 0 }), -EINVAL);
	return in;
}

static void tells_what_an_instruction_is(void **state _unused_)
{
	static const struct {
		const char *hex;
		uint32_t is;
	} cases[] = {
		{ "90", 0 },
		{ "f3 0f 1e fa", 0 },
		{ "0f 1f 84 00 00 00 00 00", 0 },
		{ "48 8d 05 00 00 00 00", 0 },
		{ "cc", INSN_INT3 },
		{ "cd 03", INSN_INT },
		{ "cd 80", INSN_INT | INSN_SYSCALL },
		{ "0f 05", INSN_SYSCALL },
		{ "0f 34", INSN_SYSCALL },
		{ "e8 00 00 00 00", INSN_CALL | INSN_RELATIVE | INSN_WRITES | INSN_STACK },
		{ "ff d0", INSN_CALL | INSN_WRITES | INSN_STACK },
		{ "ff 10", INSN_CALL | INSN_READS | INSN_WRITES },
		{ "ff 18", INSN_CALL | INSN_FAR | INSN_READS | INSN_WRITES },
		{ "c3", INSN_RET | INSN_READS | INSN_STACK },
		{ "f3 c3", INSN_RET | INSN_READS | INSN_STACK },
		{ "cb", INSN_RET | INSN_FAR | INSN_READS | INSN_STACK },
		{ "48 cf", INSN_RET | INSN_FAR | INSN_READS | INSN_STACK },
		{ "eb fe", INSN_JUMP | INSN_RELATIVE },
		{ "ff e0", INSN_JUMP },
		{ "75 00", INSN_COND | INSN_RELATIVE },
		{ "0f 85 00 00 00 00", INSN_COND | INSN_RELATIVE },
		{ "e2 00", INSN_COND | INSN_RELATIVE },
		{ "e3 00", INSN_COND | INSN_RELATIVE },
		{ "9c", INSN_PUSHF | INSN_WRITES | INSN_STACK },
		{ "9d", INSN_POPF | INSN_READS | INSN_STACK },
		{ "f3 48 a5", INSN_REP | INSN_READS | INSN_WRITES },
		{ "f0 48 ff 00", INSN_LOCK | INSN_READS | INSN_WRITES },
		{ "55", INSN_WRITES | INSN_STACK },
		{ "48 89 44 24 08", INSN_WRITES | INSN_STACK },
		{ "48 8b 00", INSN_READS },
		{ "64 48 8b 04 25 28 00 00 00", INSN_READS },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct insn in = decoded(cases[i].hex);
		if (in.is != cases[i].is)
			fail_msg("%s is %x, not %x", cases[i].hex, in.is, cases[i].is);
	}
	struct insn in = decoded("eb fe");
	uint64_t target;
	assert_true(insn_target(&in, 0x1000, &target));
	assert_int_equal(target, 0x1000);
	in = decoded("e8 00 01 00 00");
	assert_true(insn_target(&in, 0x1000, &target));
	assert_int_equal(target, 0x1105);
	in = decoded("ff e0");
	assert_false(insn_target(&in, 0x1000, &target));
	assert_int_equal(insn_decode((const uint8_t *)"\x06", 1, &in), -EINVAL);
	assert_int_equal(insn_decode((const uint8_t *)"", 0, &in), -EINVAL);
	assert_true(insn_is_int3((const uint8_t *)"\xcc", 1));
	assert_false(insn_is_int3((const uint8_t *)"\xcc", 0));
}

static void refuses_what_cannot_be_moved(void **state _unused_)
{
	static const char *const never[] = { "cc",
					     "cd 03",
					     "f1",
					     "0f 34",
					     "cb",
					     "48 cf",
					     "ff 18",
					     "66 e9 00 00",
					     "c7 f8 00 00 00 00",
					     "67 8b 05 00 00 00 00" };
	static const char *const not_run[] = { "0f 05", "cd 80", "ff d4" };
	struct insn_copy copy;
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		uint8_t bytes[INSN_MAX] = { 0 };
		const char *hex = never[i];
		for (int used, len = 0; sscanf(hex, " %2hhx%n", &bytes[len], &used) == 1;
		     hex += used)
			len++;
		struct insn in;
		assert_int_equal(insn_decode(bytes, INSN_MAX, &in), 0);
		assert_int_equal(insn_relocate(&in, 0x1000, 0x2000, COPY_STEP, &copy), -EOPNOTSUPP);
		assert_int_equal(insn_relocate(&in, 0x1000, 0x2000, COPY_RUN, &copy), -EOPNOTSUPP);
	}
	for (size_t i = 0; i < ARRAY_SIZE(not_run); i++) {
		struct insn in = decoded(not_run[i]);
		assert_int_equal(insn_relocate(&in, 0x1000, 0x2000, COPY_STEP, &copy), 0);
		assert_int_equal(insn_relocate(&in, 0x1000, 0x2000, COPY_RUN, &copy), -EOPNOTSUPP);
	}
}

/* What an interrupt finds in the middle of a copy. */
static void threads_in_a_copy_are_moved_home(void **state _unused_)
{
	struct insn_copy copy;
	struct insn_entered entered;
	struct insn_mem mem = { read_at, write_at, arena };
	struct insn in = decoded("e8 00 01 00 00");
	assert_int_equal(insn_relocate(&in, 0x1000, 0x2000, COPY_RUN, &copy), 0);
	struct user_regs_struct regs = { .rip = 0x1000, .rsp = ARENA + 0x100 };
	insn_enter(&copy, &regs, &entered);
	assert_int_equal(regs.rip, 0x2000);
	assert_true(insn_copy_holds(&copy, regs.rip));
	assert_int_equal(insn_fixup(&copy, &entered, &regs, &mem), 0);
	assert_int_equal(regs.rip, 0x1000);
	regs.rip = 0x2006; /* behind the push of 0x1005 */
	regs.rsp -= 8;
	assert_int_equal(insn_fixup(&copy, &entered, &regs, &mem), 1);
	assert_int_equal(regs.rip, 0x1105);
	assert_int_equal(regs.rsp, ARENA + 0xf8);
	regs.rip = 0x2003;
	assert_int_equal(insn_fixup(&copy, &entered, &regs, &mem), -EINVAL);
	assert_int_equal(regs.rip, 0x2003);
	regs.rip = 0x1105;
	assert_int_equal(insn_fixup(&copy, &entered, &regs, &mem), 1);
	assert_false(insn_copy_holds(&copy, regs.rip));

	in = decoded("ff 50 08");
	assert_int_equal(insn_relocate(&in, 0x1000, 0x2000, COPY_RUN, &copy), 0);
	regs.rip = 0x2006;
	regs.rsp = ARENA + 0xf8;
	assert_int_equal(insn_fixup(&copy, &entered, &regs, &mem), 0);
	assert_int_equal(regs.rip, 0x1000);
	assert_int_equal(regs.rsp, ARENA + 0x100);

	/* a system call seen at its entry: the thread sleeps at home */
	in = decoded("0f 05");
	assert_int_equal(insn_relocate(&in, 0x1000, 0x2000, COPY_STEP, &copy), 0);
	regs = (struct user_regs_struct){ .rip = 0x2002, .rcx = 0x2002 };
	assert_int_equal(insn_fixup(&copy, &entered, &regs, &mem), 1);
	assert_int_equal(regs.rip, 0x1002);
	assert_int_equal(regs.rcx, 0x1002);

	/* a repeated instruction after one of its rounds */
	in = decoded("f3 a4");
	assert_int_equal(insn_relocate(&in, 0x1000, 0x2000, COPY_RUN, &copy), 0);
	regs = (struct user_regs_struct){ .rip = 0x2000, .rcx = 5 };
	assert_int_equal(insn_fixup(&copy, &entered, &regs, &mem), 0);
	assert_int_equal(regs.rip, 0x1000);
	regs.rip = 0x2002;
	assert_int_equal(insn_fixup(&copy, &entered, &regs, &mem), 1);
	assert_int_equal(regs.rip, 0x1002);
}

static void leaves_to_the_processor_what_is_not_plain(void **state _unused_)
{
	struct insn_mem mem = { read_at, write_at, arena };
	struct insn in = decoded("55");
	const struct user_regs_struct good = {
		.rip = FROM, .rsp = ARENA + 0x100, .cs = 0x33, .eflags = 0x202
	};
	struct user_regs_struct regs = good;
	assert_int_equal(insn_emulate(&in, &regs, &mem), 1);
	assert_int_equal(regs.rsp, ARENA + 0xf8);
	regs = good;
	regs.eflags |= TF;
	assert_int_equal(insn_emulate(&in, &regs, &mem), 0);
	regs = good;
	regs.eflags |= 0x40000; /* alignment checks */
	assert_int_equal(insn_emulate(&in, &regs, &mem), 0);
	regs = good;
	regs.cs = 0x23;
	assert_int_equal(insn_emulate(&in, &regs, &mem), 0);
	regs = good;
	regs.rip = 0x7fffffffffff;
	assert_int_equal(insn_emulate(&in, &regs, &mem), 0);
	regs = good;
	regs.rsp = 8;
	assert_int_equal(insn_emulate(&in, &regs, &mem), -EFAULT);
	assert_int_equal(regs.rsp, 8);
	regs = good;
	regs.eflags |= RF;
	assert_int_equal(insn_emulate(&in, &regs, &mem), 1);
	assert_int_equal(regs.eflags, 0x202);
	static const char *const never[] = { "f0 48 ff 00", "87 00",    "0f b1 08", "0f 28 c1",
					     "c5 f8 28 c1", "f3 a4",    "0f 05",    "9c",
					     "9d",          "f3 41 90", "66 55",    "8f 00",
					     "0f a3 08",    "d8 c1",    "0f a2" };
	for (size_t i = 0; i < ARRAY_SIZE(never); i++) {
		in = decoded(never[i]);
		regs = good;
		assert_int_equal(insn_emulate(&in, &regs, &mem), 0);
		assert_memory_equal(&regs, &good, sizeof(regs));
	}
}

/* Bounds far above what is measured, so that only a change of kind fails. */
static void takes_nanoseconds(void **state _unused_)
{
	enum { ROUNDS = 200000 };
	static const char *const prologue[] = { "f3 0f 1e fa", "55",          "48 89 e5",
						"48 83 ec 20", "48 89 7d e8", "83 7d e8 03",
						"75 10" };
	struct insn ins[ARRAY_SIZE(prologue)];
	struct insn_mem mem = { read_at, write_at, arena };
	uint64_t begin = now_ns();
	for (unsigned i = 0; i < ROUNDS / 10; i++)
		insn_decode((const uint8_t *)"\x48\x89\x7d\xe8", 4, &ins[0]);
	double decode_ns = (double)(now_ns() - begin) / (ROUNDS / 10);
	for (size_t i = 0; i < ARRAY_SIZE(prologue); i++)
		ins[i] = decoded(prologue[i]);
	begin = now_ns();
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct user_regs_struct regs = {
			.rip = FROM, .rsp = ARENA + 0x100, .cs = 0x33, .eflags = 0x202
		};
		for (size_t k = 0; k < ARRAY_SIZE(ins); k++)
			assert_true(insn_emulate(&ins[k], &regs, &mem) == 1);
	}
	double emulate_ns = (double)(now_ns() - begin) / ROUNDS / ARRAY_SIZE(ins);
	struct insn_copy copy;
	begin = now_ns();
	for (unsigned i = 0; i < ROUNDS; i++)
		assert_true(insn_relocate(&ins[i % ARRAY_SIZE(ins)], FROM, NEAR, COPY_RUN, &copy) ==
			    0);
	double relocate_ns = (double)(now_ns() - begin) / ROUNDS;
	printf("decode %.0f ns, emulate %.1f ns, relocate %.1f ns\n", decode_ns, emulate_ns,
	       relocate_ns);
	assert_true(decode_ns < 20000 && emulate_ns < 2000 && relocate_ns < 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_what_an_instruction_is),
		cmocka_unit_test(refuses_what_cannot_be_moved),
		cmocka_unit_test(threads_in_a_copy_are_moved_home),
		cmocka_unit_test(leaves_to_the_processor_what_is_not_plain),
		cmocka_unit_test(takes_nanoseconds),
		cmocka_unit_test(real_code_runs_as_on_the_processor),
		cmocka_unit_test(random_forms_run_as_on_the_processor),
	};
	return cmocka_run_group_tests(tests, start_child, end_child);
}
