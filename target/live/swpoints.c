#include "target/live/swpoints.h"

#include <errno.h>
#include <string.h>

#include "target/ax.h"

static void free_list(struct ax ***list, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		ax_free((*list)[i]);
	free(*list);
	*list = NULL;
	*count = 0;
}

void swpoint_forget(struct swpoint *p)
{
	free_list(&p->conditions, &p->condition_count);
	free_list(&p->commands, &p->command_count);
	p->persist = false;
}

void swpoint_forget_internal(struct swpoint *p)
{
	free_list(&p->internal_conditions, &p->internal_condition_count);
	p->internal = false;
}

struct swnumber *swpoint_number(const struct swpoint *p, unsigned number)
{
	for (size_t i = 0; i < p->number_count; i++)
		if (p->numbers[i].number == number)
			return &p->numbers[i];
	return NULL;
}

bool swpoint_add_number(struct swpoint *p, unsigned number, struct ax **conditions, size_t count)
{
	struct swnumber *n = swpoint_number(p, number);

	if (n) {
		free_list(&n->conditions, &n->condition_count);
	} else if (p->number_count == SWNUMBERS_MAX) {
		return false;
	} else {
		n = reallocarray(p->numbers, p->number_count + 1, sizeof(*n));
		if (!n)
			return false;
		p->numbers = n;
		n += p->number_count++;
	}
	*n = (struct swnumber){ number, conditions, count };
	return true;
}

void swpoint_drop_number(struct swpoint *p, struct swnumber *n)
{
	free_list(&n->conditions, &n->condition_count);
	*n = p->numbers[--p->number_count];
}

void swpoint_drop_numbers(struct swpoint *p)
{
	while (p->number_count)
		swpoint_drop_number(p, &p->numbers[0]);
	free(p->numbers);
	p->numbers = NULL;
}

void swpoints_fini(struct swpoints *s)
{
	for (size_t i = 0; i < s->count; i++) {
		swpoint_forget(&s->at[i]);
		swpoint_forget_internal(&s->at[i]);
		swpoint_drop_numbers(&s->at[i]);
		over_plan_unref(s->at[i].plan);
	}
	free(s->at);
	*s = (struct swpoints){ 0 };
}

/* A forked child's memory holds the int3s; nobody has asked for any in it, and its copy has no expressions. */
int swpoints_clone(struct swpoints *to, const struct swpoints *from)
{
	*to = (struct swpoints){ 0 };
	if (!from->count)
		return 0;
	to->at = calloc(from->count, sizeof(*to->at));
	if (!to->at)
		return -ENOMEM;
	to->cap = from->count;
	for (size_t i = 0; i < from->count; i++) {
		const struct swpoint *p = &from->at[i];
		to->at[to->count++] = (struct swpoint){ .addr = p->addr,
							.orig = p->orig,
							.wanted = p->wanted,
							.inserted = p->inserted,
							.jump_len = p->jump_len };
		memcpy(to->at[i].jump, p->jump, sizeof(p->jump));
		memcpy(to->at[i].under, p->under, sizeof(p->under));
	}
	to->changed = true;
	return 0;
}

size_t swpoints_from(const struct swpoints *s, uint64_t addr)
{
	size_t lo = 0, hi = s->count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (s->at[mid].addr < addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct swpoint *swpoints_find(const struct swpoints *s, uint64_t addr)
{
	size_t i = swpoints_from(s, addr);
	return i < s->count && s->at[i].addr == addr ? &s->at[i] : NULL;
}

struct swpoint *swpoints_add(struct swpoints *s, uint64_t addr)
{
	size_t i = swpoints_from(s, addr);
	if (i < s->count && s->at[i].addr == addr)
		return &s->at[i];
	if (s->count == SWPOINTS_MAX)
		return NULL;
	if (s->count == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 16;
		struct swpoint *at = realloc(s->at, cap * sizeof(*at));
		if (!at)
			return NULL;
		s->at = at;
		s->cap = cap;
	}
	memmove(s->at + i + 1, s->at + i, (s->count - i) * sizeof(*s->at));
	s->count++;
	s->at[i] = (struct swpoint){ .addr = addr };
	return &s->at[i];
}

void swpoints_drop(struct swpoints *s, struct swpoint *p)
{
	size_t i = (size_t)(p - s->at);
	swpoint_forget(p);
	swpoint_forget_internal(p);
	swpoint_drop_numbers(p);
	over_plan_unref(p->plan);
	memmove(p, p + 1, (s->count - i - 1) * sizeof(*p));
	s->count--;
}

static size_t from_before(const struct swpoints *s, uint64_t addr)
{
	return swpoints_from(s, addr > INSN_JUMP_MAX ? addr - INSN_JUMP_MAX : 0);
}

bool swpoints_near(const struct swpoints *s, uint64_t addr, size_t len)
{
	size_t i = from_before(s, addr);
	return i < s->count && (s->at[i].addr < addr || s->at[i].addr - addr < len);
}

bool swpoints_touch(const struct swpoints *s, uint64_t addr, size_t len)
{
	for (size_t i = from_before(s, addr);
	     i < s->count && (s->at[i].addr < addr || s->at[i].addr - addr < len); i++) {
		const struct swpoint *p = &s->at[i];
		if (p->addr >= addr || addr - p->addr < p->jump_len)
			return true;
	}
	return false;
}

/* The part of a jump that lies in these bytes. */
static void hide_jump(const struct swpoint *p, uint64_t addr, uint8_t *bytes, size_t len)
{
	size_t first = addr > p->addr ? addr - p->addr : 0, at = p->addr + first - addr;
	size_t count =
		first < p->jump_len ? MIN((size_t)p->jump_len - first, at < len ? len - at : 0) : 0;
	if (count && memcmp(bytes + at, p->jump + first, count) == 0)
		memcpy(bytes + at, p->under + first, count);
}

void swpoints_hide(const struct swpoints *s, uint64_t addr, uint8_t *bytes, size_t len)
{
	for (size_t i = from_before(s, addr);
	     i < s->count && (s->at[i].addr < addr || s->at[i].addr - addr < len); i++) {
		const struct swpoint *p = &s->at[i];
		if (p->inserted && p->jump_len)
			hide_jump(p, addr, bytes, len);
		/* Something else there now (the page was mapped anew, a JIT wrote): that is what the program has. */
		else if (p->inserted && p->addr >= addr && bytes[p->addr - addr] == INT3)
			bytes[p->addr - addr] = p->orig;
	}
}

void swpoints_cover(struct swpoints *s, uint64_t addr, const uint8_t *bytes, uint8_t *out,
		    size_t len)
{
	memcpy(out, bytes, len);
	for (size_t i = swpoints_from(s, addr); i < s->count && s->at[i].addr - addr < len; i++) {
		struct swpoint *p = &s->at[i];
		if (!p->inserted)
			continue;
		over_plan_unref(p->plan); /* another instruction is there now */
		p->plan = NULL;
		p->orig = bytes[p->addr - addr];
		out[p->addr - addr] = INT3;
	}
}
