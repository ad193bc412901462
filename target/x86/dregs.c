#include "target/x86/dregs.h"

#include <errno.h>
#include <string.h>

/* R/W field of DR7. 2 is I/O, which needs CR4.DE. */
enum { TYPE_EXEC = 0, TYPE_WRITE = 1, TYPE_ACCESS = 3 };

/* With five-level paging user space ends one page below this. */
static const uint64_t user_end = (1ull << 56) - 4096;

struct piece {
	uint64_t addr;
	uint8_t len;
};

static int type_of(const struct dregs *d, enum point_kind kind)
{
	switch (kind) {
	case POINT_HW: return TYPE_EXEC;
	case POINT_WRITE: return TYPE_WRITE;
	case POINT_ACCESS: return TYPE_ACCESS;
	case POINT_READ: return d->filters_reads ? TYPE_ACCESS : -EOPNOTSUPP;
	default: return -EOPNOTSUPP;
	}
}

/* The largest aligned piece each time is the least number of pieces. */
static int split(uint64_t addr, uint64_t len, struct piece *into)
{
	int count = 0;
	while (len) {
		uint8_t size = 8;
		while (addr % size || size > len)
			size /= 2;
		if (count == DREGS_COUNT)
			return -ENOSPC;
		into[count++] = (struct piece){ addr, size };
		addr += size;
		len -= size;
	}
	return count;
}

static struct dregs_slot *find_slot(struct dregs *d, const struct piece *p, int type)
{
	for (int i = 0; i < DREGS_COUNT; i++) {
		struct dregs_slot *s = &d->slots[i];
		if (s->refs && s->addr == p->addr && s->len == p->len && s->type == type)
			return s;
	}
	return NULL;
}

static struct dregs_slot *free_slot(struct dregs *d)
{
	for (int i = 0; i < DREGS_COUNT; i++)
		if (!d->slots[i].refs)
			return &d->slots[i];
	return NULL;
}

static struct dregs_point *find_point(struct dregs *d, enum point_kind kind, uint64_t addr,
				      uint64_t len)
{
	for (int i = 0; i < DREGS_POINTS_MAX; i++) {
		struct dregs_point *p = &d->points[i];
		if (p->refs && p->kind == kind && p->addr == addr && p->len == len)
			return p;
	}
	return NULL;
}

static struct dregs_point *free_point(struct dregs *d)
{
	for (int i = 0; i < DREGS_POINTS_MAX; i++)
		if (!d->points[i].refs)
			return &d->points[i];
	return NULL;
}

static int take_slots(struct dregs *d, const struct piece *pieces, int count, int type)
{
	const struct dregs before = *d;
	for (int i = 0; i < count; i++) {
		struct dregs_slot *s = find_slot(d, &pieces[i], type);
		if (!s)
			s = free_slot(d);
		if (!s) {
			*d = before;
			return -ENOSPC;
		}
		*s = (struct dregs_slot){ pieces[i].addr, pieces[i].len, (uint8_t)type,
					  s->refs + 1 };
	}
	return 0;
}

int dregs_insert(struct dregs *d, enum point_kind kind, uint64_t addr, uint64_t len)
{
	struct piece pieces[DREGS_COUNT];
	int type = type_of(d, kind);
	if (type < 0)
		return type;
	if (!len || (kind == POINT_HW && len != 1) || addr >= user_end || len > user_end - addr)
		return -EINVAL;
	struct dregs_point *p = find_point(d, kind, addr, len);
	if (p) {
		p->refs++;
		return 0;
	}
	p = free_point(d);
	int count = split(addr, len, pieces);
	if (count < 0 || !p)
		return -ENOSPC;
	int r = take_slots(d, pieces, count, type);
	if (r == 0)
		*p = (struct dregs_point){ kind, addr, len, 1 };
	return r;
}

int dregs_remove(struct dregs *d, enum point_kind kind, uint64_t addr, uint64_t len)
{
	struct piece pieces[DREGS_COUNT];
	struct dregs_point *p = find_point(d, kind, addr, len);
	if (!p)
		return -ENOENT;
	if (--p->refs)
		return 0;
	/* What is in could be split and had a type when it came. */
	int type = kind == POINT_READ ? TYPE_ACCESS : type_of(d, kind);
	int count = split(addr, len, pieces);
	for (int i = 0; i < count; i++)
		find_slot(d, &pieces[i], type)->refs--;
	return 0;
}

void dregs_clear(struct dregs *d)
{
	*d = (struct dregs){ .filters_reads = d->filters_reads };
}

uint64_t dregs_addr(const struct dregs *d, unsigned slot)
{
	return slot < DREGS_COUNT && d->slots[slot].refs ? d->slots[slot].addr : 0;
}

uint64_t dregs_control(const struct dregs *d)
{
	static const uint8_t len_bits[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
	uint64_t dr7 = 0;
	for (unsigned i = 0; i < DREGS_COUNT; i++) {
		const struct dregs_slot *s = &d->slots[i];
		if (s->refs)
			dr7 |= 1ull << 2 * i | (uint64_t)(s->type | len_bits[s->len] << 2)
						       << (16 + 4 * i);
	}
	return dr7;
}

static bool point_owns(const struct dregs *d, const struct dregs_point *p,
		       const struct dregs_slot *s)
{
	int type = p->refs ? type_of(d, p->kind) : -1;
	return type == s->type && s->addr >= p->addr && s->addr - p->addr < p->len &&
	       s->len <= p->len - (s->addr - p->addr);
}

/* DR6 also tells of registers that matched without being switched on. */
static bool slot_was_hit(const struct dregs *d, unsigned slot, uint64_t dr6, const uint64_t *addrs)
{
	const struct dregs_slot *s = &d->slots[slot];
	return (dr6 >> slot & 1) && s->refs && (!addrs || addrs[slot] == s->addr);
}

static bool already_in(const struct dregs_hit *hits, size_t count, const struct dregs_point *p)
{
	for (size_t i = 0; i < count; i++)
		if (hits[i].kind == p->kind && hits[i].addr == p->addr && hits[i].len == p->len)
			return true;
	return false;
}

size_t dregs_hits(const struct dregs *d, uint64_t dr6, const uint64_t *addrs,
		  struct dregs_hit *into)
{
	size_t count = 0;
	for (int breakpoints = 0; breakpoints < 2; breakpoints++) {
		for (unsigned i = 0; i < DREGS_COUNT * DREGS_POINTS_MAX; i++) {
			const struct dregs_slot *s = &d->slots[i / DREGS_POINTS_MAX];
			const struct dregs_point *p = &d->points[i % DREGS_POINTS_MAX];
			if ((p->kind == POINT_HW) != breakpoints ||
			    !slot_was_hit(d, i / DREGS_POINTS_MAX, dr6, addrs))
				continue;
			if (point_owns(d, p, s) && !already_in(into, count, p))
				into[count++] = (struct dregs_hit){ p->kind, p->addr, p->len,
								    s->addr, s->len };
		}
	}
	return count;
}
