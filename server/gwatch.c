#include "server/gwatch.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "server/gview.h"
#include "server/inferior.h"
#include "target/ax.h"

void gwatch_forget(struct gwatches *w)
{
	free(w->at);
	*w = (struct gwatches){ 0 };
}

static bool is_watch(enum point_kind kind)
{
	return kind == POINT_WRITE || kind == POINT_READ || kind == POINT_ACCESS;
}

static struct point point_of(const struct gwatch *w)
{
	return (struct point){ .kind = w->kind,
			       .addr = w->real,
			       .len = w->len,
			       .only_changes = w->only_changes };
}

static struct gwatch *find(struct gwatches *all, const struct point *p)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->at[i].kind == p->kind && all->at[i].shown == p->addr &&
		    all->at[i].len == p->len)
			return &all->at[i];
	return NULL;
}

static struct gwatch *add(struct gwatches *all, const struct gwatch *one)
{
	if (all->count == all->room) {
		size_t room = all->room ? all->room * 2 : 8;
		struct gwatch *at = reallocarray(all->at, room, sizeof(*at));
		if (!at)
			return NULL;
		all->at = at;
		all->room = room;
	}
	all->at[all->count] = *one;
	return &all->at[all->count++];
}

static bool any_of(const struct gwatches *all, uint64_t g)
{
	for (size_t i = 0; i < all->count; i++)
		if (all->at[i].g == g && is_watch(all->at[i].kind))
			return true;
	return false;
}

/* Without it the watchpoint is right until the stack moves. */
static void hear_of_moves(struct inferior *inf, uint64_t g)
{
	struct go_model *m = gview_model(threadview_goroutines(inf->view, NULL));
	struct gpoint one = { .why = GPOINT_MOVES, .when = GPOINT_RAX, .g = g };
	struct err err = { 0 };

	one.addr = go_func_by_name(m, "runtime.copystack").entry;
	int r = one.addr ? gpoints_add(&inf->steps.points, inf->target, &one, &err) : -ENODATA;
	if (r < 0)
		log_debug(LOG_GO, "a watched stack cannot be followed when it moves: %s",
			  err_text(&err, r));
}

static void free_expressions(struct point *p)
{
	struct point none = { .kind = p->kind };

	for (size_t i = 0; i < p->condition_count; i++)
		ax_free(p->conditions[i]);
	for (size_t i = 0; i < p->command_count; i++)
		ax_free(p->commands[i]);
	free(p->conditions);
	free(p->commands);
	*p = none;
}

int gwatch_insert(struct inferior *inf, struct point *p, struct err *err)
{
	struct gview *gv = threadview_gview(inf->view);
	struct gwatch one = {
		.kind = p->kind, .shown = p->addr, .len = p->len, .only_changes = p->only_changes
	};
	struct window w;

	if (!window_owner(p->addr) || !gv || !gview_find_shown(gv, p->addr, &w) ||
	    !window_find(&w, p->addr, &one.real))
		return inf->target->ops->points->insert(inf->target, p, err);
	one.id = w.id;
	one.g = gview_goroutine(gv, w.id).g;

	struct gwatch *have = find(&inf->watches, p);
	if (p->len > window_bytes(&w, p->addr) || (!have && !add(&inf->watches, &one))) {
		free_expressions(p);
		return err_set(err, -ENOMEM, "cannot watch what lies beyond the stack");
	}
	p->addr = one.real;
	int r = inf->target->ops->points->insert(inf->target, p, err);
	if (r < 0 && !have)
		inf->watches.count--;
	else if (have)
		*have = one;
	if (r == 0 && is_watch(one.kind))
		hear_of_moves(inf, one.g);
	return r;
}

int gwatch_remove(struct inferior *inf, const struct point *p)
{
	struct gwatches *all = &inf->watches;
	struct gwatch *w = window_owner(p->addr) ? find(all, p) : NULL;

	if (!w)
		return inf->target->ops->points->remove(inf->target, p);
	struct gwatch gone = *w;
	struct point real = point_of(&gone);
	*w = all->at[--all->count];
	if (!any_of(all, gone.g))
		gpoints_remove(&inf->steps.points, inf->target, GPOINT_MOVES, gone.g);
	return gone.real ? inf->target->ops->points->remove(inf->target, &real) : 0;
}

uint64_t gwatch_shown(const struct inferior *inf, uint64_t addr)
{
	for (size_t i = 0; i < inf->watches.count; i++) {
		const struct gwatch *w = &inf->watches.at[i];
		if (w->real && addr - w->real < w->len)
			return w->shown + (addr - w->real);
	}
	return addr;
}

/* --- a stack moves --- */

static void lift(struct inferior *inf, uint64_t g)
{
	for (size_t i = 0; i < inf->watches.count; i++) {
		struct gwatch *w = &inf->watches.at[i];
		struct point p = point_of(w);
		if (w->g != g || !w->real || !is_watch(w->kind))
			continue;
		(void)inf->target->ops->points->remove(inf->target, &p);
		w->real = 0;
	}
}

static void set_again(struct inferior *inf, uint64_t g)
{
	struct gview *gv = threadview_goroutines(inf->view, NULL);

	for (size_t i = 0; i < inf->watches.count; i++) {
		struct gwatch *w = &inf->watches.at[i];
		struct window now;
		struct err err = { 0 };
		if (w->g != g || w->real || !is_watch(w->kind) ||
		    !gview_find_shown(gv, w->shown, &now) || !window_find(&now, w->shown, &w->real))
			continue;
		struct point p = point_of(w);
		int r = inf->target->ops->points->insert(inf->target, &p, &err);
		if (r < 0)
			w->real = 0;
		log_debug(LOG_GO,
			  "goroutine %lld has a new stack: what is watched is at %#llx now%s%s",
			  (long long)w->id, (unsigned long long)p.addr, r < 0 ? ", but " : "",
			  r < 0 ? err_text(&err, r) : "");
	}
}

bool gwatch_moves(struct inferior *inf, pid_t tid, const struct user_regs_struct *gp)
{
	struct gpoint back = { .why = GPOINT_MOVED, .g = gp->rax };
	struct mem mem = target_mem(inf->target);

	if (!any_of(&inf->watches, gp->rax))
		return false;
	if (mem_read_u64(&mem, gp->rsp, &back.addr) < 0 ||
	    gpoints_add(&inf->steps.points, inf->target, &back, NULL) < 0)
		return true;
	inf->watches.moving = tid;
	lift(inf, gp->rax);
	return true;
}

bool gwatch_moved(struct inferior *inf, pid_t tid, const struct user_regs_struct *gp)
{
	const struct gpoint *p = gpoints_find(&inf->steps.points, gp->rip, GPOINT_MOVED);

	if (!p)
		return false;
	/* Somebody else's stack moved, by the same way. */
	if (tid != inf->watches.moving)
		return true;
	uint64_t g = p->g;
	inf->watches.moving = 0;
	gpoints_remove(&inf->steps.points, inf->target, GPOINT_MOVED, g);
	lift(inf, g);
	set_again(inf, g);
	return true;
}
