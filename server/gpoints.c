#include "server/gpoints.h"

#include <errno.h>
#include <string.h>

#include "target/ax.h"
#include "target/x86/regs.h"

/* --- conditions as agent expressions --- */

enum {
	AX_SUB = 0x03,
	AX_EQUAL = 0x13,
	AX_LESS_UNSIGNED = 0x15,
	AX_REF64 = 0x1a,
	AX_CONST64 = 0x25,
	AX_REG = 0x26,
	AX_END = 0x27
};

struct code {
	uint8_t bytes[64];
	size_t len;
};

static void put(struct code *c, uint8_t byte)
{
	c->bytes[c->len++] = byte;
}

static void put_const(struct code *c, uint64_t value)
{
	put(c, AX_CONST64);
	for (int shift = 56; shift >= 0; shift -= 8)
		put(c, (uint8_t)(value >> shift));
}

static void put_word_at(struct code *c, uint64_t addr)
{
	put_const(c, addr);
	put(c, AX_REF64);
}

static void put_reg(struct code *c, enum x86_reg reg)
{
	put(c, AX_REG);
	put(c, 0);
	put(c, (uint8_t)reg);
}

static int same_number(void *ctx, unsigned number)
{
	(void)ctx;
	return (int)number;
}

/* runtime.g begins with its stack's bounds, lo and hi, in every release. */
static int compile(const struct gpoint *p, struct ax **ret)
{
	struct code c = { .len = 0 };

	if (p->when == GPOINT_ON_STACK) {
		put_reg(&c, X86_RSP);
		put_word_at(&c, p->g);
		put(&c, AX_SUB);
		put_word_at(&c, p->g + 8);
		put_word_at(&c, p->g);
		put(&c, AX_SUB);
		put(&c, AX_LESS_UNSIGNED);
	} else {
		put_reg(&c, X86_RAX);
		put_const(&c, p->g);
		put(&c, AX_EQUAL);
	}
	put(&c, AX_END);
	return ax_compile(c.bytes, c.len, same_number, NULL, ret, NULL);
}

/* --- the target's point at an address --- */

static size_t count_at(const struct gpoints *p, uint64_t addr, bool *ret_always)
{
	size_t n = 0;

	*ret_always = false;
	for (size_t i = 0; i < p->count; i++) {
		if (p->at[i].addr != addr)
			continue;
		n++;
		*ret_always |= p->at[i].when == GPOINT_ALWAYS;
	}
	return n;
}

static int make_conditions(const struct gpoints *p, struct point *into)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->at[i].addr != into->addr)
			continue;
		int r = compile(&p->at[i], &into->conditions[into->condition_count]);
		if (r < 0)
			return r;
		into->condition_count++;
	}
	return 0;
}

static void free_conditions(struct point *p)
{
	for (size_t i = 0; i < p->condition_count; i++)
		ax_free(p->conditions[i]);
	free(p->conditions);
}

static int tell_target(const struct gpoints *p, struct target *t, uint64_t addr, struct err *err)
{
	struct point point = { .kind = POINT_SW, .internal = true, .addr = addr, .len = 1 };
	bool always;
	size_t n = count_at(p, addr, &always);

	if (!n)
		return t->ops->points->remove(t, &point);
	if (!always) {
		point.conditions = calloc(n, sizeof(struct ax *));
		int r = point.conditions ? make_conditions(p, &point) : -ENOMEM;
		if (r < 0) {
			free_conditions(&point);
			return err_set(err, r, "no memory for a breakpoint's condition");
		}
	}
	return t->ops->points->insert(t, &point, err);
}

/* --- the list --- */

static bool is_same(const struct gpoint *a, const struct gpoint *b)
{
	return a->addr == b->addr && a->why == b->why && a->when == b->when && a->g == b->g;
}

int gpoints_add(struct gpoints *p, struct target *t, const struct gpoint *one, struct err *err)
{
	if (!t->ops->points)
		return err_set(err, -EOPNOTSUPP, "no breakpoints can be set here");
	for (size_t i = 0; i < p->count; i++)
		if (is_same(&p->at[i], one))
			return 0;
	if (p->count == p->room) {
		size_t room = p->room ? p->room * 2 : 8;
		struct gpoint *at = reallocarray(p->at, room, sizeof(*at));
		if (!at)
			return err_set(err, -ENOMEM, "no memory for a breakpoint");
		p->at = at;
		p->room = room;
	}
	p->at[p->count++] = *one;
	int r = tell_target(p, t, one->addr, err);
	if (r < 0)
		p->count--;
	return r;
}

void gpoints_remove(struct gpoints *p, struct target *t, enum gpoint_why why, uint64_t g)
{
	for (size_t i = p->count; i-- > 0;) {
		uint64_t addr = p->at[i].addr;
		if (p->at[i].why != why || (g && p->at[i].g != g))
			continue;
		p->at[i] = p->at[--p->count];
		(void)tell_target(p, t, addr, NULL);
	}
}

const struct gpoint *gpoints_find(const struct gpoints *p, uint64_t addr, enum gpoint_why why)
{
	for (size_t i = 0; i < p->count; i++)
		if (p->at[i].addr == addr && p->at[i].why == why)
			return &p->at[i];
	return NULL;
}

void gpoints_forget(struct gpoints *p)
{
	free(p->at);
	*p = (struct gpoints){ 0 };
}
