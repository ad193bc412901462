#include "target/live/task.h"

#include "target/live/patch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static int open_mem(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

struct space *space_new(pid_t pid)
{
	struct space *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	s->refs = 1;
	s->pid = pid;
	s->memfd = open_mem(pid);
	return s;
}

struct space *space_ref(struct space *s)
{
	s->refs++;
	return s;
}

struct space *space_clone(struct space *s, pid_t pid)
{
	struct space *copy = space_new(pid);
	if (!copy)
		return NULL;
	if (swpoints_clone(&copy->sw, &s->sw) < 0) {
		space_unref(copy);
		return NULL;
	}
	for (struct scratch *from = s->scratch; from; from = from->next) {
		struct scratch *at = calloc(1, sizeof(*at));
		if (!at)
			break; /* the page stays in the child unused */
		at->addr = from->addr;
		at->next = copy->scratch;
		copy->scratch = at;
	}
	copy->syscall_insn = s->syscall_insn;
	copy->patched = s->patched;
	patch_clone(copy, s);
	return copy;
}

static void space_close(struct space *s)
{
	if (s->memfd >= 0)
		close(s->memfd);
	s->memfd = -1;
}

void space_unref(struct space *s)
{
	if (!s || --s->refs)
		return;
	space_close(s);
	swpoints_fini(&s->sw);
	patch_free_all(s);
	while (s->scratch) {
		struct scratch *at = s->scratch;
		s->scratch = at->next;
		free(at);
	}
	while (s->blocks) {
		struct block *block = s->blocks;
		s->blocks = block->next;
		free(block);
	}
	free(s);
}

int space_reopen(struct space *s, pid_t pid)
{
	space_close(s);
	s->pid = pid;
	s->memfd = open_mem(pid);
	return s->memfd < 0 ? s->memfd : 0;
}

struct task *task_find(struct live *live, pid_t tid)
{
	struct task *task;
	HASH_FIND_INT(live->tasks, &tid, task);
	return task;
}

static bool is_at(const struct proc *p, size_t at, pid_t tid)
{
	return at < p->count && p->tasks[at]->tid == tid;
}

struct task *proc_task(struct proc *p, pid_t tid)
{
	if (is_at(p, p->recent, tid))
		return p->tasks[p->recent];
	struct task *task = task_find(p->live, tid);
	return task && task->proc == p ? task : NULL;
}

static size_t position(const struct proc *p, pid_t tid)
{
	size_t lo = 0, hi = p->count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->tasks[mid]->tid < tid)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

pid_t proc_next(struct proc *p, pid_t after)
{
	size_t at = is_at(p, p->recent, after) ? p->recent : position(p, after);

	at += is_at(p, at, after);
	/* A leader that has exited before its threads has nothing to show. */
	while (at < p->count && p->tasks[at]->state == TASK_ZOMBIE)
		at++;
	p->recent = at;
	return at < p->count ? p->tasks[at]->tid : 0;
}

static bool in_kernels_hands(enum task_state state)
{
	return state == TASK_NEW || state == TASK_RUNNING || state == TASK_STUCK;
}

void task_set_state(struct task *task, enum task_state state)
{
	struct live *live = task->proc->live;

	if (in_kernels_hands(task->state))
		live->running--;
	if (in_kernels_hands(state))
		live->running++;
	task->state = state;
}

struct task *task_add(struct proc *p, pid_t tid, enum task_state state)
{
	if (p->count == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 8;
		struct task **tasks = realloc(p->tasks, cap * sizeof(*tasks));
		if (!tasks)
			return NULL;
		p->tasks = tasks;
		p->cap = cap;
	}
	struct task *task = calloc(1, sizeof(*task));
	if (!task)
		return NULL;
	task->tid = tid;
	HASH_ADD_INT(p->live->tasks, tid, task);
	if (!task->hh.tbl) { /* no memory for it */
		free(task);
		return NULL;
	}
	if (!live_room_to_tell(p->live)) {
		HASH_DEL(p->live->tasks, task);
		free(task);
		return NULL;
	}
	task->proc = p;
	task->state = TASK_STOPPED;
	task_set_state(task, state);
	if (state == TASK_NEW)
		p->live->awaited = -1;
	task->dregs_stale = dregs_in_use(&p->dregs);
	leaver_forget(p->live, tid);

	size_t at = position(p, tid);
	memmove(p->tasks + at + 1, p->tasks + at, (p->count - at) * sizeof(*p->tasks));
	p->tasks[at] = task;
	p->count++;
	return task;
}

static void drop_from(struct task **list, size_t *len, struct task *task)
{
	for (size_t i = 0; i < *len; i++) {
		if (list[i] == task) {
			memmove(list + i, list + i + 1, (*len - i - 1) * sizeof(*list));
			(*len)--;
			return;
		}
	}
}

void task_unqueue(struct task *task)
{
	struct live *live = task->proc->live;
	if (task->queued)
		drop_from(live->queue, &live->queue_len, task);
	task->queued = false;
}

void task_remove(struct task *task)
{
	struct proc *p = task->proc;
	struct live *live = p->live;

	task_tell_end_of_steps(task);
	if (live->over_in_place == task)
		over_finish(task);
	task_unqueue(task);
	task_set_resumed(task, false);
	task_set_state(task, TASK_GONE);
	if (task->marked)
		drop_from(live->marked, &live->marked_len, task);
	if (task->put_off)
		drop_from(live->put_off, &live->put_off_len, task);
	if (task->over.kind == OVER_SLOT)
		over_finish(task);
	while (task->deferred) {
		struct deferred_signal *d = task->deferred;
		task->deferred = d->next;
		free(d);
	}

	pid_t tid = task->tid;
	size_t at = position(p, tid);
	memmove(p->tasks + at, p->tasks + at + 1, (p->count - at - 1) * sizeof(*p->tasks));
	p->count--;
	HASH_DEL(live->tasks, task);
	free(task);
	if (p->space && p->space->pid == tid && p->count)
		p->space->pid = proc_face(p);
}

struct proc *proc_new(struct live *live, pid_t pid, bool launched)
{
	struct proc *p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->live = live;
	p->base.pid = pid;
	p->base.tracer = &live->base;
	p->launched = launched;
	p->dregs.filters_reads = true; /* watches.c */

	struct proc **end = &live->procs;
	while (*end)
		end = &(*end)->next;
	*end = p;
	return p;
}

void proc_free(struct proc *p)
{
	if (!p)
		return;
	bool ended = p->gone && p->count;
	while (p->count)
		task_remove(p->tasks[p->count - 1]);
	for (struct proc **at = &p->live->procs; *at; at = &(*at)->next) {
		if (*at == p) {
			*at = p->next;
			break;
		}
	}
	for (struct proc *other = p->live->procs; other; other = other->next) {
		if (other->vfork_parent == p)
			other->vfork_parent = NULL;
	}
	if (ended && p->space && p->space->refs == 1) {
		space_unref(p->live->bereft);
		p->live->bereft = take_ptr(p->space);
		space_close(p->live->bereft);
	}
	space_unref(p->space);
	swpoints_fini(&p->hw);
	watches_forget(p);
	free(p->tasks);
	free(p->catch);
	free(p);
}

int task_gp(struct task *task, struct user_regs_struct **ret)
{
	if (task->state != TASK_STOPPED)
		return task->state == TASK_GONE || task->state == TASK_ZOMBIE ? -ESRCH : -EBUSY;
	if (!task->gp_valid) {
		int r = pt_get_gp(task->tid, &task->gp);
		if (r < 0)
			return r;
		task->gp_valid = true;
	}
	*ret = &task->gp;
	return 0;
}

void task_gp_changed(struct task *task)
{
	task->gp_dirty = true;
}

int task_flush(struct task *task)
{
	if (!task->gp_dirty)
		return 0;
	task->fresh = false;
	int r = pt_set_gp(task->tid, &task->gp);
	task->gp_dirty = false;
	return r;
}
