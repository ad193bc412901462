/*
 * watches.c - what watched memory holds, so that accesses are told apart by value, and who watches it: the client, and any number of the
 * server's own watchpoints.
 *
 * A processor traps on writes, or on reads and writes. A write watchpoint that is only_changes is hit when the bytes differ from what
 * they were at the last hit, a read watchpoint when they do not: a write of what was there already counts as a read. What the program
 * does not write itself (the kernel, another process) traps nobody; it shows at the next access. Then conditions are evaluated, in the
 * thread that hit: what was written is there already.
 */
#include <errno.h>
#include <string.h>

#include "target/ax.h"
#include "target/live/task.h"

struct watch *watch_find(struct proc *p, const struct point *point)
{
	for (size_t i = 0; i < p->watch_count; i++) {
		struct watch *w = &p->watches[i];
		if (w->kind == point->kind && w->addr == point->addr && w->len == point->len &&
		    w->number == point->number)
			return w;
	}
	return NULL;
}

struct watch *watch_numbered(struct proc *p, unsigned number)
{
	for (size_t i = 0; i < p->watch_count; i++)
		if (p->watches[i].number == number)
			return &p->watches[i];
	return NULL;
}

static bool look(struct proc *p, const struct watch *w, uint8_t *into)
{
	size_t got = 0;
	return live_mem_read(&p->base, w->addr, into, w->len, &got) == 0 && got == w->len;
}

static void free_conditions(struct watch *w)
{
	for (size_t i = 0; i < w->condition_count; i++)
		ax_free(w->conditions[i]);
	free(w->conditions);
	w->conditions = NULL;
	w->condition_count = 0;
}

int watch_add(struct proc *p, struct point *point)
{
	struct watch *w = watch_find(p, point);
	bool changes = point->kind == POINT_WRITE && point->only_changes;

	if (!w && p->watch_count == DREGS_POINTS_MAX)
		return -ENOSPC;
	if (w)
		free_conditions(w);
	else
		w = &p->watches[p->watch_count++];
	*w = (struct watch){ .kind = point->kind,
			     .addr = point->addr,
			     .len = point->len,
			     .number = point->number,
			     .conditions = point->conditions,
			     .condition_count = point->condition_count };
	point->conditions = NULL;
	point->condition_count = 0;
	w->filters = (point->kind == POINT_READ || changes) && point->len <= WATCH_BYTES_MAX;
	w->known = w->filters && look(p, w, w->bytes);
	return 0;
}

void watch_drop(struct proc *p, struct watch *w)
{
	free_conditions(w);
	*w = p->watches[--p->watch_count];
}

void watches_forget(struct proc *p)
{
	while (p->watch_count)
		watch_drop(p, &p->watches[0]);
}

void watches_inherit(struct proc *child, const struct proc *parent)
{
	child->dregs = parent->dregs;
	for (size_t i = 0; i < parent->watch_count; i++) {
		const struct watch *w = &parent->watches[i];
		if (w->number) {
			(void)dregs_remove(&child->dregs, w->kind, w->addr, w->len);
			continue;
		}
		child->watches[child->watch_count] = *w;
		child->watches[child->watch_count].conditions = NULL;
		child->watches[child->watch_count++].condition_count = 0;
	}
}

void watch_written(struct proc *p, uint64_t addr, size_t len)
{
	for (size_t i = 0; i < p->watch_count; i++) {
		struct watch *w = &p->watches[i];
		if (w->filters && (w->addr - addr < len || addr - w->addr < w->len))
			w->known = look(p, w, w->bytes);
	}
}

/* By value: it is a hit of its kind. */
static bool is_hit(struct proc *p, struct watch *w)
{
	uint8_t now[WATCH_BYTES_MAX];

	if (!w->filters)
		return true;
	bool known = look(p, w, now), knew = w->known;
	bool same = known && knew && !memcmp(now, w->bytes, w->len);
	w->known = known;
	if (known)
		memcpy(w->bytes, now, w->len);
	return !known || !knew || (w->kind == POINT_READ) == same;
}

bool watch_tells(struct task *task, const struct dregs_hit *hit, struct stop *ret)
{
	struct proc *p = task->proc;
	bool asked = false;
	unsigned told = 0;

	for (size_t i = 0; i < p->watch_count; i++) {
		struct watch *w = &p->watches[i];
		if (w->kind != hit->kind || w->addr != hit->addr || w->len != hit->len ||
		    !is_hit(p, w) || !task_hit_counts(task, w->conditions, w->condition_count))
			continue;
		if (!w->number)
			asked = true;
		else if (task_hit_told(task, w->kind, w->addr, w->number, false) == HIT_STOP &&
			 !told)
			told = w->number;
	}
	*ret = (struct stop){ .kind = STOP_WATCH,
			      .signo = SIGTRAP,
			      .addr = hit->piece_addr,
			      .point = hit->addr,
			      .watch = hit->kind,
			      .unasked = !asked,
			      .number = told };
	return asked || told;
}
