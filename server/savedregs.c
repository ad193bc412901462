#include "server/savedregs.h"

#include <errno.h>

struct saved_regs {
	struct saved_regs *next; /* older */
	uint64_t id;
	bool have[TDESC_REGS_MAX];
	uint8_t bytes[TDESC_SIZE_MAX];
};

static void drop_oldest(struct session *s)
{
	struct saved_regs **at = &s->saved;
	size_t n = 0;

	for (; *at; at = &(*at)->next) {
		if (++n < SAVED_REGS_MAX)
			continue;
		struct saved_regs *old = *at;
		*at = old->next;
		free(old);
		return;
	}
}

int64_t saved_regs_put(struct session *s, struct inferior *inf, int64_t id)
{
	const struct tdesc *t = &s->regs.tdesc;
	struct view_regs r;
	int e = view_regs_begin(&r, inf->view, id);

	if (e < 0)
		return e;
	_cleanup_free_ struct saved_regs *saved = calloc(1, sizeof(*saved));
	if (!saved)
		return -ENOMEM;
	for (size_t i = 0; i < t->count; i++) {
		const struct tdesc_reg *reg = &t->regs[i];
		if (reg->container != TDESC_NONE)
			continue;
		e = regmap_get(&s->regs, &r, reg, saved->bytes + reg->offset);
		if (e < 0 && e != -ENODATA)
			return e;
		saved->have[i] = e == 0;
	}
	drop_oldest(s);
	saved->id = ++s->saved_count;
	saved->next = s->saved;
	s->saved = saved;
	return (int64_t)take_ptr(saved)->id;
}

static int restore(struct session *s, const struct saved_regs *saved, struct inferior *inf,
		   int64_t id)
{
	const struct tdesc *t = &s->regs.tdesc;
	struct view_regs r;
	int e = view_regs_begin(&r, inf->view, id);

	for (size_t i = 0; i < t->count && e == 0; i++)
		if (saved->have[i])
			e = regmap_set(&s->regs, &r, &t->regs[i], saved->bytes + t->regs[i].offset);
	return e == 0 ? view_regs_flush(&r) : e;
}

int saved_regs_take(struct session *s, uint64_t which, struct inferior *inf, int64_t id)
{
	struct saved_regs **at = &s->saved;

	while (*at && (*at)->id != which)
		at = &(*at)->next;
	if (!*at)
		return -ENOENT;
	_cleanup_free_ struct saved_regs *saved = *at;
	*at = saved->next;
	return restore(s, saved, inf, id);
}

void saved_regs_free(struct session *s)
{
	while (s->saved) {
		struct saved_regs *first = s->saved;
		s->saved = first->next;
		free(first);
	}
}
