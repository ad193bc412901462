/*
 * inject.c - system calls made by the debuggee on our behalf: memory of our own in it.
 *
 * A syscall instruction is put at the pc of a stopped thread and stepped; everything is put back. The thread must not be inside a
 * system call of its own (the stops of fork, clone, exec): the kernel would overwrite rax with that call's result on the way out.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/log.h"
#include "target/live/task.h"

static const uint8_t syscall_insn[] = { 0x0f, 0x05 };

static bool outside_kernel(const struct task *task)
{
	return task->state == TASK_STOPPED && !task->in_kernel;
}

/* Steps the task once over the instruction at gp->rip; signals on the way are put aside. 0 when it stands behind it. */
static int step_once(struct task *task, struct user_regs_struct *gp)
{
	uint64_t behind = gp->rip + sizeof(syscall_insn);

	for (int tries = 0; tries < 100; tries++) {
		int status, r = pt_step(task->tid, 0);
		if (r < 0)
			return r;
		while (waitpid(task->tid, &status, __WALL) < 0) {
			if (errno != EINTR)
				return -errno;
		}
		if (!WIFSTOPPED(status)) {
			live_news(task->proc->live, task->tid, status);
			return -ESRCH;
		}
		r = pt_get_gp(task->tid, gp);
		if (r < 0)
			return r;
		if (gp->rip == behind)
			return 0;
		if (status >> 16 == 0 && WSTOPSIG(status) != SIGTRAP) {
			task->pstop = PSTOP_SIGNAL;
			task_defer_signal(task, WSTOPSIG(status));
		}
	}
	return -EAGAIN;
}

static int inject_in(struct task *task, long number, const uint64_t args[6], uint64_t *ret)
{
	struct space *s = task->proc->space;
	struct user_regs_struct *have;
	uint8_t under[sizeof(syscall_insn)];
	size_t got;

	int r = task_gp(task, &have);
	if (r < 0)
		return r;
	struct user_regs_struct saved = *have, gp = saved;
	if (space_read_raw(s, gp.rip, under, sizeof(under), &got) < 0 || got < sizeof(under))
		return -EFAULT;
	r = space_write_raw(s, gp.rip, syscall_insn, sizeof(syscall_insn));
	if (r < 0)
		return r;

	siginfo_t si;
	bool have_si = pt_get_siginfo(task->tid, &si) == 0;
	gp.rax = (uint64_t)number;
	gp.orig_rax = (uint64_t)-1;
	gp.rdi = args[0];
	gp.rsi = args[1];
	gp.rdx = args[2];
	gp.r10 = args[3];
	gp.r8 = args[4];
	gp.r9 = args[5];
	gp.eflags &= ~UINT64_C(0x100);
	r = pt_set_gp(task->tid, &gp);
	if (r == 0)
		r = step_once(task, &gp);
	if (r == -ESRCH)
		return r;

	(void)space_write_raw(s, saved.rip, under, sizeof(under));
	(void)pt_set_gp(task->tid, &saved);
	*have = saved;
	task->gp_valid = true;
	task->gp_dirty = false;
	/* It stands in the signal-delivery-stop of our step now: what it stood in before is put back as its siginfo. */
	task->pstop = PSTOP_SIGNAL;
	if (have_si)
		(void)pt_set_siginfo(task->tid, &si);
	if (r < 0)
		return r;
	if ((int64_t)gp.rax < 0 && (int64_t)gp.rax > -4096)
		return (int)(int64_t)gp.rax;
	*ret = gp.rax;
	return 0;
}

int inject_syscall(struct proc *p, long number, const uint64_t args[6], uint64_t *ret)
{
	for (size_t i = 0; i < p->count; i++) {
		if (outside_kernel(p->tasks[i]))
			return inject_in(p->tasks[i], number, args, ret);
	}
	return -EBUSY;
}

static int map(struct proc *p, size_t size, int prot, uint64_t *ret)
{
	const uint64_t args[6] = {
		0, size, (uint64_t)prot, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0
	};
	uint64_t addr;
	int r = inject_syscall(p, SYS_mmap, args, &addr);
	if (r < 0)
		return r;
	if (addr & 4095 || !addr) /* never hand out what a botched call left in rax */
		return -EIO;
	*ret = addr;
	return 0;
}

static int unmap(struct proc *p, uint64_t addr, size_t size)
{
	uint64_t result;
	return inject_syscall(p, SYS_munmap, (const uint64_t[6]){ addr, size }, &result);
}

static int alloc(struct target *t, size_t size, int prot, uint64_t *ret)
{
	struct proc *p = proc_of(t);
	size = (size + 4095) & ~(size_t)4095;
	if (!size)
		return -EINVAL;
	struct block *block = calloc(1, sizeof(*block));
	if (!block)
		return -ENOMEM;
	int r = map(p, size, prot, &block->addr);
	if (r < 0) {
		free(block);
		return r;
	}
	block->size = size;
	block->next = p->space->blocks;
	p->space->blocks = block;
	*ret = block->addr;
	return 0;
}

static int dealloc(struct target *t, uint64_t addr)
{
	struct proc *p = proc_of(t);
	for (struct block **at = &p->space->blocks; *at; at = &(*at)->next) {
		struct block *block = *at;
		if (block->addr != addr)
			continue;
		int r = unmap(p, block->addr, block->size);
		if (r == 0) {
			*at = block->next;
			free(block);
		}
		return r;
	}
	return -ENOENT;
}

void inject_unmap_scratch(struct proc *p)
{
	struct space *s = p->space;
	if (!s->scratch || s->refs > 1 || p->gone)
		return;
	if (unmap(p, s->scratch, 4096) < 0)
		log_debug(LOG_RUN, "the page for out-of-line steps stays mapped in process %d",
			  p->base.pid);
	s->scratch = 0;
}

const struct target_alloc_ops live_alloc_ops = {
	.alloc = alloc,
	.free = dealloc,
};
