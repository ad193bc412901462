/*
 * native_run.h - conditions compiled by native.c, run in this very process as the debuggee would run them.
 *
 * Two pages at fixed addresses: CODE_AT holds the point (five bytes of nop) with a stub behind it, STACK_AT the stack it runs on.
 * native_run() loads every general register from an array, jumps to the stub and collects what it left. What a fault or the int3
 * means is the handler's to say. Included by the unit test and by the fuzz target.
 */
#ifndef STOPGO_NATIVE_RUN_H
#define STOPGO_NATIVE_RUN_H

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#include "target/ax.h"
#include "target/x86/native.h"
#include "target/x86/regs.h"

#define NATIVE_CODE_AT  UINT64_C(0x61000000)
#define NATIVE_STUB_AT  (NATIVE_CODE_AT + 0x1000)
#define NATIVE_COUNT_AT (NATIVE_CODE_AT + 0x2000)
#define NATIVE_DATA_AT \
	(NATIVE_CODE_AT + 0x3000) /* 4 KiB the expressions may read; nothing behind it */
#define NATIVE_STACK_AT (NATIVE_CODE_AT + 0x10000)
enum { NATIVE_STACK_SIZE = 0x2000, NATIVE_POINT_OFFSET = 0x100 };
#define NATIVE_POINT (NATIVE_CODE_AT + NATIVE_POINT_OFFSET)

enum native_end { NATIVE_END_NONE, NATIVE_END_FALSE, NATIVE_END_TRAP, NATIVE_END_FAULT };

/* In the order of the code below. */
struct native_regs {
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp, r8, r9, r10, r11, r12, r13, r14, r15,
		flags;
};

extern struct native_regs native_in, native_out;
extern uint64_t native_own_rsp, native_go_to;
extern volatile int native_end;
extern volatile uint64_t native_stopped_at;
struct native_regs native_in, native_out;
uint64_t native_own_rsp, native_go_to;
volatile int native_end;
volatile uint64_t native_stopped_at;

void native_enter(void);
void native_collect(void);

/* All by absolute address: the pages are low enough in a non-PIE program only, so through a register that is reloaded last. */
__asm__(".text\n"
	".globl native_enter, native_collect\n"
	"native_enter:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, native_own_rsp(%rip)\n"
	"	pushq native_in+128(%rip); popfq\n"
	"	mov native_in+0(%rip), %rax; mov native_in+8(%rip), %rbx\n"
	"	mov native_in+16(%rip), %rcx; mov native_in+24(%rip), %rdx\n"
	"	mov native_in+32(%rip), %rsi; mov native_in+40(%rip), %rdi\n"
	"	mov native_in+48(%rip), %rbp; mov native_in+56(%rip), %rsp\n"
	"	mov native_in+64(%rip), %r8; mov native_in+72(%rip), %r9\n"
	"	mov native_in+80(%rip), %r10; mov native_in+88(%rip), %r11\n"
	"	mov native_in+96(%rip), %r12; mov native_in+104(%rip), %r13\n"
	"	mov native_in+112(%rip), %r14; mov native_in+120(%rip), %r15\n"
	"	jmp *native_go_to(%rip)\n"
	"native_collect:\n"
	"	mov %rax, native_out+0(%rip); mov %rbx, native_out+8(%rip)\n"
	"	mov %rcx, native_out+16(%rip); mov %rdx, native_out+24(%rip)\n"
	"	mov %rsi, native_out+32(%rip); mov %rdi, native_out+40(%rip)\n"
	"	mov %rbp, native_out+48(%rip); mov %rsp, native_out+56(%rip)\n"
	"	mov %r8, native_out+64(%rip); mov %r9, native_out+72(%rip)\n"
	"	mov %r10, native_out+80(%rip); mov %r11, native_out+88(%rip)\n"
	"	mov %r12, native_out+96(%rip); mov %r13, native_out+104(%rip)\n"
	"	mov %r14, native_out+112(%rip); mov %r15, native_out+120(%rip)\n"
	"	mov native_own_rsp(%rip), %rsp\n"
	"	pushfq; popq native_out+128(%rip)\n"
	"	cld\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n");

static const struct native *native_running;

static void native_to_regs(const ucontext_t *uc, struct user_regs_struct *ret)
{
	const greg_t *g = uc->uc_mcontext.gregs;
	*ret = (struct user_regs_struct){
		.rax = (uint64_t)g[REG_RAX],
		.rbx = (uint64_t)g[REG_RBX],
		.rcx = (uint64_t)g[REG_RCX],
		.rdx = (uint64_t)g[REG_RDX],
		.rsi = (uint64_t)g[REG_RSI],
		.rdi = (uint64_t)g[REG_RDI],
		.rbp = (uint64_t)g[REG_RBP],
		.rsp = (uint64_t)g[REG_RSP],
		.r8 = (uint64_t)g[REG_R8],
		.r9 = (uint64_t)g[REG_R9],
		.r10 = (uint64_t)g[REG_R10],
		.r11 = (uint64_t)g[REG_R11],
		.r12 = (uint64_t)g[REG_R12],
		.r13 = (uint64_t)g[REG_R13],
		.r14 = (uint64_t)g[REG_R14],
		.r15 = (uint64_t)g[REG_R15],
		.rip = (uint64_t)g[REG_RIP],
		.eflags = (uint64_t)g[REG_EFL],
	};
}

static int native_read_own(void *ctx _unused_, uint64_t addr, void *into, size_t len)
{
	memcpy(into, (const void *)addr, len);
	return 0;
}

/* As the tracer does: the thread is taken out of the stub; then it goes to the collector with what it has. */
static void native_caught(int signo, siginfo_t *si _unused_, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;
	struct user_regs_struct regs;
	struct insn_mem mem = { .read = native_read_own };

	native_to_regs(uc, &regs);
	if (signo == SIGTRAP)
		regs.rip--;
	native_stopped_at = regs.rip;
	if (native_leave(native_running, &regs, &mem) != NATIVE_ASKING || regs.rip != NATIVE_POINT)
		abort();
	native_end = signo == SIGTRAP ? NATIVE_END_TRAP : NATIVE_END_FAULT;
	g[REG_RAX] = (greg_t)regs.rax;
	g[REG_RCX] = (greg_t)regs.rcx;
	g[REG_RDX] = (greg_t)regs.rdx;
	g[REG_RSP] = (greg_t)regs.rsp;
	g[REG_EFL] = (greg_t)regs.eflags;
	g[REG_RIP] = (greg_t)(uintptr_t)native_collect;
}

static void native_map(uint64_t at, size_t size)
{
	if (mmap((void *)at, size, PROT_READ | PROT_WRITE | PROT_EXEC,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)at)
		abort();
}

static void native_setup(void)
{
	static const uint8_t nop[] = { 0x0f, 0x1f, 0x44, 0, 0 };
	uint8_t *code = (uint8_t *)NATIVE_CODE_AT;
	uint64_t to = (uint64_t)(uintptr_t)native_collect;
	static uint8_t stack[65536];
	stack_t alternative = { .ss_sp = stack, .ss_size = sizeof(stack) };

	if (sigaltstack(&alternative, NULL) < 0)
		abort();
	native_map(NATIVE_CODE_AT, 0x4000);
	native_map(NATIVE_STACK_AT, NATIVE_STACK_SIZE);
	memcpy(code + NATIVE_POINT_OFFSET, nop, sizeof(nop));
	memcpy(code + NATIVE_POINT_OFFSET + 5, "\xff\x25\0\0\0\0", 6);
	memcpy(code + NATIVE_POINT_OFFSET + 11, &to, 8);
	for (unsigned i = 0; i < 0x1000; i++)
		((uint8_t *)NATIVE_DATA_AT)[i] = (uint8_t)(i * 37 + (i >> 4));
}

/* Memory of this process, without faults. */
static int native_read_memory(void *ctx _unused_, uint64_t addr, void *into, size_t len,
			      size_t *ret_got)
{
	struct iovec local = { into, len }, remote = { (void *)addr, len };
	ssize_t n = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
	*ret_got = n > 0 ? (size_t)n : 0;
	return n > 0 ? 0 : -EFAULT;
}

static int native_read_register(void *ctx _unused_, unsigned reg, uint64_t *ret)
{
	const struct native_regs *r = &native_in;
	const uint64_t all[] = { r->rax, r->rbx, r->rcx, r->rdx, r->rsi,       r->rdi,
				 r->rbp, r->rsp, r->r8,  r->r9,  r->r10,       r->r11,
				 r->r12, r->r13, r->r14, r->r15, NATIVE_POINT, r->flags };
	*ret = reg < sizeof(all) / sizeof(all[0]) ? all[reg] : 0;
	return 0;
}

/* The verdict of ax.c on all of them: 1, 0 or what the first that cannot be evaluated says. */
static int native_expected(struct ax *const *conditions, size_t count)
{
	static const struct mem mem = { .read = native_read_memory };
	struct ax_env env = { .reg = native_read_register, .mem = &mem };
	for (size_t i = 0; i < count; i++) {
		struct err err = { 0 };
		uint64_t value = 0;
		int r = ax_eval(conditions[i], &env, &value, &err);
		if (r < 0 || value)
			return r < 0 ? r : 1;
	}
	return 0;
}

/* Runs the stub on native_in; how it ended. native_out is what the program would go on with. */
static enum native_end native_run(const struct native *n)
{
	struct sigaction sa = { .sa_sigaction = native_caught,
				.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	struct sigaction old[3];
	static const int signals[3] = { SIGTRAP, SIGSEGV, SIGBUS };

	memcpy((void *)NATIVE_STUB_AT, n->code, n->size);
	native_running = n;
	native_go_to = NATIVE_STUB_AT;
	native_end = NATIVE_END_FALSE;
	for (int i = 0; i < 3; i++)
		sigaction(signals[i], &sa, &old[i]);
	native_enter();
	for (int i = 0; i < 3; i++)
		sigaction(signals[i], &old[i], NULL);
	return (enum native_end)native_end;
}

/* Registers that make expressions interesting: small numbers, addresses that can be read and some that cannot. */
static void native_random_regs(uint64_t (*next)(void))
{
	uint64_t *all = (uint64_t *)&native_in;
	for (size_t i = 0; i < 16; i++) {
		uint64_t r = next();
		switch (r % 5) {
		case 0: all[i] = r >> 8 & 15; break;
		case 1: all[i] = NATIVE_DATA_AT + (r >> 8 & 0xfff); break;
		case 2: all[i] = -(r >> 8 & 7); break;
		case 3: all[i] = NATIVE_DATA_AT + 0x1000 - (r >> 8 & 15); break;
		default: all[i] = next(); break;
		}
	}
	native_in.rsp = NATIVE_STACK_AT + 0x1000 + (next() & 0xff);
	native_in.flags = 0x202 | (next() & 0x8d5) | (next() & 0x400);
}

static inline bool native_nop(struct insn *ret)
{
	return insn_decode((const uint8_t *)NATIVE_POINT, 5, ret) == 0;
}

#endif
