/*
 * patch_safe.c - where a condition may be compiled into the program, and what it may read there.
 *
 * What a jump changes: only bytes of the breakpoint's own instruction, which nobody's pc, return address or deferred call points into,
 * as none is in the middle of an instruction. Code that jumps into one does so past a lock prefix (glibc): not compiled.
 *
 * What a stub writes: at most NATIVE_STACK_MAX bytes below the red zone of whoever comes by. A C stack has room for the frame of a
 * signal at any time, which is more. A goroutine's has not: there the owner of the target says where it has (target->refuses_patch).
 *
 * What a stub reads: what lasts as long as the process or as the code it is in front of, and the page of the stack pointer: a fault of
 * ours would take the program's handler away where the thread blocks SIGSEGV (kernel/signal.c, force_sig_info_to_task()).
 */
#include "target/live/patch_internal.h"

#include <elf.h>
#include <limits.h>
#include <string.h>

/* One that the kernel keeps may come back to user mode only through a stop, but where it stands is not known. */
bool patch_anybody_runs(const struct space *s)
{
	for (const struct proc *p = s->live ? s->live->procs : NULL; p; p = p->next) {
		for (size_t i = 0; p->space == s && i < p->count; i++) {
			enum task_state state = p->tasks[i]->state;
			if (state == TASK_RUNNING || state == TASK_NEW || state == TASK_STUCK)
				return true;
		}
	}
	return false;
}

static struct patch_refusal for_now(const char *why)
{
	return (struct patch_refusal){ .why = why };
}

static struct patch_refusal for_good(const char *why)
{
	return (struct patch_refusal){ .why = why, .holds = why };
}

static const struct patch_refusal nothing;

struct patch_refusal patch_refused_now(const struct proc *p, const struct swpoint *point)
{
	if (p->space->refs > 1 || p->space->lifted || p->hidden || p->starting)
		return for_now("its memory is shared with another process");
	if (dregs_in_use(&p->dregs))
		return for_now("a watchpoint or hardware breakpoint is set");
	if (!patch_decided_by_conditions(point))
		return for_now("the server needs to see every hit");
	return nothing;
}

struct task *patch_worker(struct proc *p)
{
	for (size_t i = 0; i < p->count; i++) {
		struct task *task = p->tasks[i];
		if (inject_may(task) && task->pstop != PSTOP_GROUP)
			return task;
	}
	return NULL;
}

/* Nobody is in the bytes that change, and everybody can run what takes their place. */
static struct patch_refusal refused_by_registers(struct proc *p, uint64_t addr, unsigned length)
{
	enum { CODE_64 = 0x33 };
	struct user_regs_struct *gp;

	for (size_t i = 0; i < p->count; i++) {
		if (p->tasks[i]->state != TASK_STOPPED)
			continue;
		if (task_gp(p->tasks[i], &gp) < 0)
			return for_now("not every thread can be stopped");
		if (gp->cs != CODE_64)
			return for_now("a thread does not run 64-bit code");
		if (gp->rip > addr && gp->rip - addr < length)
			return for_now("a thread is in the middle of the instruction there");
	}
	return nothing;
}

struct patch_refusal patch_refused_by_threads(struct proc *p, uint64_t addr, unsigned length)
{
	if (!patch_worker(p) || patch_anybody_runs(p->space))
		return for_now("not every thread can be stopped");
	for (size_t i = 0; i < p->count; i++) {
		int filtered = p->tasks[i]->state == TASK_ZOMBIE
				       ? 0
				       : proc_is_filtered(p->base.pid, p->tasks[i]->tid);
		if (filtered < 0)
			return for_now("nothing is known of a thread");
		if (filtered) /* it might die of the mmap that makes room for the stub */
			return for_good("its system calls are filtered");
	}
	return refused_by_registers(p, addr, length);
}

struct patch_refusal patch_refused_code(struct proc *p, uint64_t addr)
{
	struct mem_region region;

	if (live_region_at(&p->base, addr, &region) < 0 || !region.mapped ||
	    addr + INSN_MAX >= region.end)
		return for_good("nothing is known of the memory there");
	if (!region.exec || region.write || region.shared || region.name[0] != '/')
		return for_good("the code there may change");
	return for_good(p->base.refuses_patch ? p->base.refuses_patch(&p->base, addr) : NULL);
}

struct patch_refusal patch_refused_insn(struct proc *p, struct patch *patch, struct insn *ret)
{
	size_t got = 0;

	if (live_mem_read(&p->base, patch->addr, patch->original, sizeof(patch->original), &got) <
		    0 ||
	    insn_decode(patch->original, got, ret) < 0)
		return for_good("there is no instruction");
	patch->known = (uint8_t)got;
	if (ret->is & INSN_LOCK)
		return for_good("the instruction there is a locked one");
	if (ret->is & (INSN_CALL | INSN_RET) && proc_has_shadow_stack(p->base.pid))
		return for_good("the process has shadow stacks");
	return nothing;
}

/* ---- what may be read */

/* Where the files begin in memory that the code and the program come from, and the first thread's stack. */
struct found {
	uint64_t code_base, exe_base;
	char code[sizeof(((struct mem_region *)0)->name)], exe[PATH_MAX];
	struct native_span stack;
};

static bool look_at(void *ctx, const struct mem_region *region)
{
	struct found *f = ctx;

	if (!f->code_base && !strcmp(region->name, f->code))
		f->code_base = region->start;
	if (!f->exe_base && !strcmp(region->name, f->exe))
		f->exe_base = region->start;
	if (!strcmp(region->name, "[stack]") && region->read)
		f->stack = (struct native_span){ region->start, region->end };
	return true;
}

static void add_span(struct native_memory *m, uint64_t start, uint64_t end)
{
	struct native_span *last = m->count ? &m->spans[m->count - 1] : NULL;

	if (end <= start)
		return;
	if (last && last->end == start)
		last->end = end;
	else if (m->count < NATIVE_SPANS_MAX)
		m->spans[m->count++] = (struct native_span){ start, end };
}

/* The segments of the file that is mapped from base on. What a program says of itself wrongly it pays with slower breakpoints. */
static void add_file(struct proc *p, uint64_t base, struct native_memory *m)
{
	enum { SEGMENTS_MAX = 32 };
	const uint64_t in_page = PATCH_PAGE - 1;
	Elf64_Ehdr head;
	Elf64_Phdr segments[SEGMENTS_MAX];
	uint64_t first = UINT64_MAX;
	size_t got;

	if (live_mem_read(&p->base, base, &head, sizeof(head), &got) < 0 || got < sizeof(head) ||
	    memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_phentsize != sizeof(*segments) ||
	    !head.e_phnum || head.e_phnum > SEGMENTS_MAX)
		return;
	size_t size = head.e_phnum * sizeof(*segments);
	if (live_mem_read(&p->base, base + head.e_phoff, segments, size, &got) < 0 || got < size)
		return;
	for (size_t i = 0; i < head.e_phnum; i++) {
		const Elf64_Phdr *ph = &segments[i];
		if (ph->p_type != PT_LOAD)
			continue;
		if (first == UINT64_MAX)
			first = ph->p_vaddr & ~in_page;
		uint64_t start = base + (ph->p_vaddr - first);
		if (ph->p_flags & PF_R && ph->p_memsz < UINT64_C(1) << 47)
			add_span(m, start & ~in_page, (start + ph->p_memsz + in_page) & ~in_page);
	}
}

void patch_find_memory(struct proc *p, uint64_t addr, struct native_memory *ret)
{
	struct found f = { 0 };
	struct mem_region code;
	uint64_t start, end;

	*ret = (struct native_memory){ 0 };
	if (live_region_at(&p->base, addr, &code) < 0 || !code.mapped)
		return;
	memcpy(f.code, code.name, sizeof(f.code));
	if (live_exe_path(&p->base, f.exe, sizeof(f.exe)) < 0)
		f.exe[0] = 0;
	if (live_each_region(p, look_at, &f) < 0)
		return;
	if (f.code_base)
		add_file(p, f.code_base, ret);
	if (f.exe_base && f.exe_base != f.code_base)
		add_file(p, f.exe_base, ret);
	if (p->base.lasting && p->base.lasting(&p->base, &start, &end))
		add_span(ret, start, end);
	add_span(ret, f.stack.start, f.stack.end);
}
