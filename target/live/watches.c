/*
 * watches.c - what watched memory holds, so that accesses are told apart by value.
 *
 * A processor traps on writes, or on reads and writes. A write watchpoint that is only_changes is hit when the bytes differ from what
 * they were at the last hit, a read watchpoint when they do not: a write of what was there already counts as a read. What the program
 * does not write itself (the kernel, another process) traps nobody; it shows at the next access.
 */
#include <string.h>

#include "target/live/task.h"

static struct watch *find(struct proc *p, enum point_kind kind, uint64_t addr, uint64_t len)
{
	for (size_t i = 0; i < p->watch_count; i++) {
		struct watch *w = &p->watches[i];
		if (w->kind == kind && w->addr == addr && w->len == len)
			return w;
	}
	return NULL;
}

static bool look(struct proc *p, const struct watch *w, uint8_t *into)
{
	size_t got = 0;
	return live_mem_read(&p->base, w->addr, into, w->len, &got) == 0 && got == w->len;
}

void watch_add(struct proc *p, const struct point *point)
{
	struct watch *w = find(p, point->kind, point->addr, point->len);

	if (point->kind != POINT_READ && !(point->kind == POINT_WRITE && point->only_changes))
		return;
	if (point->len > WATCH_BYTES_MAX || (!w && p->watch_count == DREGS_POINTS_MAX))
		return;
	if (!w)
		w = &p->watches[p->watch_count++];
	*w = (struct watch){ .kind = point->kind, .addr = point->addr, .len = point->len };
	w->known = look(p, w, w->bytes);
}

void watch_drop(struct proc *p, const struct point *point)
{
	struct watch *w = find(p, point->kind, point->addr, point->len);

	if (w)
		*w = p->watches[--p->watch_count];
}

void watch_written(struct proc *p, uint64_t addr, size_t len)
{
	for (size_t i = 0; i < p->watch_count; i++) {
		struct watch *w = &p->watches[i];
		if (w->addr - addr < len || addr - w->addr < w->len)
			w->known = look(p, w, w->bytes);
	}
}

bool watch_tells(struct proc *p, const struct dregs_hit *hit)
{
	struct watch *w = find(p, hit->kind, hit->addr, hit->len);
	uint8_t now[WATCH_BYTES_MAX];

	if (!w)
		return true;
	bool known = look(p, w, now), knew = w->known;
	bool same = known && knew && !memcmp(now, w->bytes, w->len);
	w->known = known;
	if (known)
		memcpy(w->bytes, now, w->len);
	return !known || !knew || (w->kind == POINT_READ) == same;
}
