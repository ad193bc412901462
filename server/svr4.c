#include "server/svr4.h"
#include "dwarf/linkmap.h"

#include <errno.h>

enum { AUXV_MAX = 4096 };

/* Once found it stays where it is until the next exec. */
static int find_r_debug(struct inferior *inf, uint64_t *ret)
{
	struct mem mem = target_mem(inf->target);
	_cleanup_buf_ struct buf auxv = { 0 };

	buf_init(&auxv, AUXV_MAX);
	if (!inf->r_debug) {
		int r = inf->target->ops->auxv_read(inf->target, &auxv);
		if (r == 0)
			r = linkmap_find(&mem, auxv.data, auxv.len, &inf->r_debug);
		if (r < 0)
			return r;
	}
	*ret = inf->r_debug;
	return 0;
}

int svr4_debug_entry(struct inferior *inf, uint64_t *ret)
{
	struct mem mem = target_mem(inf->target);
	_cleanup_buf_ struct buf auxv;

	buf_init(&auxv, AUXV_MAX);
	int r = inf->target->ops->auxv_read(inf->target, &auxv);
	return r < 0 ? r : linkmap_find_entry(&mem, auxv.data, auxv.len, ret);
}

struct walk {
	struct mem mem;
	struct linkmap_object *object; /* large: on the heap */
	size_t left;
	uint64_t lmid;
	bool bare;
	uint64_t main; /* the program's own link_map, not listed */
	bool (*each)(void *ctx, const struct linkmap_object *o);
	void *ctx;
	struct buf *out;
};

static void put_object(struct walk *w)
{
	const struct linkmap_object *o = w->object;

	buf_puts(w->out, "<library name=\"");
	buf_put_xml(w->out, o->name);
	buf_printf(w->out, "\" lm=\"0x%llx\" l_addr=\"0x%llx\" l_ld=\"0x%llx\"",
		   (unsigned long long)o->lm, (unsigned long long)o->addr,
		   (unsigned long long)o->ld);
	if (w->lmid && !w->bare)
		buf_printf(w->out, " lmid=\"0x%llx\"", (unsigned long long)w->lmid);
	buf_puts(w->out, "/>");
}

/* One namespace from lm on. False: each has seen enough. */
static bool walk_list(struct walk *w, uint64_t lm, uint64_t prev)
{
	while (lm && w->left) {
		w->left--;
		/* While the loader works on its list the next object may not be linked back yet: then it is not there yet. */
		if (linkmap_read(&w->mem, lm, w->object) < 0 || w->object->prev != prev)
			return true;
		if (w->each && !w->each(w->ctx, w->object))
			return false;
		if (w->out && w->object->name[0] && lm != w->main)
			put_object(w);
		prev = lm;
		lm = w->object->next;
	}
	return true;
}

static void walk_all(struct walk *w, uint64_t rd)
{
	uint64_t first, next;

	for (size_t i = 0; rd && i < LINKMAP_NAMESPACES_MAX; i++, rd = next) {
		if (linkmap_namespace(&w->mem, rd, &first, &next) < 0)
			return;
		w->lmid = rd;
		if (!walk_list(w, first, 0))
			return;
	}
}

int svr4_each(struct inferior *inf, bool (*each)(void *ctx, const struct linkmap_object *o),
	      void *ctx)
{
	_cleanup_free_ struct linkmap_object *object = malloc(sizeof(*object));
	struct walk w = { .mem = target_mem(inf->target),
			  .object = object,
			  .left = LINKMAP_OBJECTS_MAX,
			  .each = each,
			  .ctx = ctx };
	uint64_t rd;

	int r = object ? find_r_debug(inf, &rd) : -ENOMEM;
	if (r == 0)
		walk_all(&w, rd);
	return r;
}

static void put_all(struct walk *w, uint64_t rd)
{
	uint64_t first = 0, next;

	if (rd && linkmap_namespace(&w->mem, rd, &first, &next) < 0)
		first = 0;
	if (first && !w->bare)
		buf_printf(w->out, " main-lm=\"0x%llx\"", (unsigned long long)first);
	buf_putc(w->out, '>');
	w->main = first;
	walk_all(w, rd);
}

int svr4_put_list(struct inferior *inf, const struct svr4_part *part, struct buf *b)
{
	_cleanup_free_ struct linkmap_object *object = malloc(sizeof(*object));
	struct walk w = { .mem = target_mem(inf->target),
			  .object = object,
			  .left = LINKMAP_OBJECTS_MAX,
			  .out = b,
			  .bare = part->bare };
	uint64_t rd = 0;

	if (!object)
		return -ENOMEM;
	if (!part->start) {
		int r = find_r_debug(inf, &rd);
		if (r < 0)
			return r;
	}
	buf_puts(b, "<library-list-svr4 version=\"1.0\"");
	if (part->start) {
		buf_putc(b, '>');
		w.lmid = part->lmid;
		walk_list(&w, part->start, part->prev);
	} else {
		put_all(&w, rd);
	}
	buf_puts(b, "</library-list-svr4>");
	return buf_error(b);
}
