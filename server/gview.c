#include "server/gview_internal.h"

#include <errno.h>
#include <string.h>

static const uint64_t small_goid = UINT64_C(1) << 30;

struct gview *gview_new(struct target *t, struct go_model *model, uint64_t first_pc,
			const struct view_policy *policy)
{
	struct gview *gv = calloc(1, sizeof(*gv));
	if (!gv)
		return NULL;
	gv->target = t;
	gv->model = model;
	gv->first_pc = first_pc;
	gv->policy = policy;
	gv->stop = 1;
	return gv;
}

void gview_free(struct gview *gv)
{
	if (!gv)
		return;
	free(gv->seen);
	free(gv->gs);
	free(gv->ids);
	free(gv->choice.g);
	free(gv->known);
	free(gv->big);
	free(gv->shown);
	free(gv);
}

void gview_resumed(struct gview *gv)
{
	gv->stop++;
	gv->asked_ready = false;
	gv->n_seen = 0;
	gv->seen_all = false;
	gv->listed = false;
	gv->n_gs = gv->n_ids = gv->left_out = 0;
}

struct go_model *gview_model(struct gview *gv)
{
	return gv->model;
}

int gview_room(void *array, size_t size, size_t count, size_t *room)
{
	void **at = array;

	if (count < *room)
		return 0;
	size_t more = *room ? *room * 2 : 32;
	void *grown = reallocarray(*at, more, size);
	if (!grown)
		return -ENOMEM;
	*at = grown;
	*room = more;
	return 0;
}

/* What stands where programs begin has executed nothing: to find out how far its runtime is takes milliseconds. */
static bool has_begun(struct gview *gv)
{
	struct target *t = gv->target;
	struct user_regs_struct gp;
	pid_t one = 0, other = 0;

	if (gv->first_pc && t->ops->next_thread(t, 0, &one) == 0 && one &&
	    t->ops->next_thread(t, one, &other) == 0 && !other &&
	    t->ops->gp_read(t, one, &gp) == 0 && gp.rip == gv->first_pc)
		return false;
	gv->first_pc = 0;
	return true;
}

bool gview_ready(struct gview *gv)
{
	if (!gv->asked_ready) {
		gv->asked_ready = true;
		gv->ready = has_begun(gv) && go_model_ready(gv->model, NULL);
	}
	return gv->ready;
}

/* --- OS threads --- */

static void read_thread(struct gview *gv, pid_t tid, struct seen *ret)
{
	struct user_regs_struct gp;

	*ret = (struct seen){ .tid = tid };
	if (gv->target->ops->gp_read(gv->target, tid, &gp) < 0)
		return;
	ret->known = true;
	ret->regs = (struct go_thread_regs){
		.fs_base = gp.fs_base, .pc = gp.rip, .sp = gp.rsp, .bp = gp.rbp
	};
}

static void remember(struct gview *gv, int64_t id, const struct go_goroutine *g)
{
	gv->recent[(size_t)id % RECENT] = (struct recent){ gv->stop, id, *g };
}

static void keep_goroutine(struct gview *gv, const struct seen *s)
{
	if (s->at.where == GO_WHERE_GO && s->at.g.g)
		remember(gv, gview_id_of_goid(gv, s->at.g.goid), &s->at.g);
}

static int by_tid(const void *a, const void *b)
{
	const struct seen *x = a, *y = b;
	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

struct seen *gview_see(struct gview *gv, pid_t tid)
{
	struct seen key = { .tid = tid };

	if (gv->seen_all)
		return gv->n_seen ? bsearch(&key, gv->seen, gv->n_seen, sizeof(key), by_tid) : NULL;
	for (size_t i = 0; i < gv->n_seen; i++)
		if (gv->seen[i].tid == tid)
			return &gv->seen[i];
	if (gview_room(&gv->seen, sizeof(*gv->seen), gv->n_seen, &gv->seen_room) < 0)
		return NULL;

	struct seen *s = &gv->seen[gv->n_seen];
	read_thread(gv, tid, s);
	if (s->known && gview_ready(gv) && go_threads(gv->model, &s->regs, 1, &s->at) < 0)
		s->at = (struct go_thread){ .where = GO_WHERE_NOT_GO };
	gv->n_seen++;
	keep_goroutine(gv, s);
	return s;
}

static int ask_all(struct gview *gv)
{
	_cleanup_free_ struct go_thread_regs *regs = calloc(gv->n_seen + 1, sizeof(*regs));
	_cleanup_free_ struct go_thread *at = calloc(gv->n_seen + 1, sizeof(*at));
	if (!regs || !at)
		return -ENOMEM;
	for (size_t i = 0; i < gv->n_seen; i++)
		regs[i] = gv->seen[i].regs;
	int r = go_threads(gv->model, regs, gv->n_seen, at);
	for (size_t i = 0; r == 0 && i < gv->n_seen; i++) {
		/* One whose registers cannot be read had zeros: nothing was found. */
		gv->seen[i].at = at[i];
		keep_goroutine(gv, &gv->seen[i]);
	}
	return r;
}

int gview_see_all(struct gview *gv)
{
	pid_t tid = 0;

	if (gv->seen_all)
		return 0;
	gv->n_seen = 0;
	while (gv->target->ops->next_thread(gv->target, tid, &tid) == 0 && tid) {
		if (gview_room(&gv->seen, sizeof(*gv->seen), gv->n_seen, &gv->seen_room) < 0)
			return -ENOMEM;
		read_thread(gv, tid, &gv->seen[gv->n_seen++]);
	}
	gv->seen_all = true;
	return gview_ready(gv) ? ask_all(gv) : 0;
}

bool gview_thread_exists(struct gview *gv, pid_t tid)
{
	pid_t next;
	return tid > 0 && gv->target->ops->next_thread(gv->target, tid - 1, &next) == 0 &&
	       next == tid;
}

/*
 * m.procid is right unless the program lives in a pid namespace of its own; so the thread must say the same of itself, else
 * all are asked.
 */
struct seen *gview_thread_of(struct gview *gv, const struct go_goroutine *g)
{
	if (!g->on_thread || !g->m)
		return NULL;
	struct seen *s = gview_thread_exists(gv, g->tid) ? gview_see(gv, g->tid) : NULL;
	if (s && s->at.m == g->m)
		return s;
	if (gview_see_all(gv) < 0)
		return NULL;
	for (size_t i = 0; i < gv->n_seen; i++)
		if (gv->seen[i].at.m == g->m)
			return &gv->seen[i];
	return NULL;
}

const struct go_thread *gview_thread(struct gview *gv, pid_t tid, struct go_thread_regs *ret_regs)
{
	static const struct go_thread unknown = { .where = GO_WHERE_NOT_GO };
	const struct seen *s = gview_see(gv, tid);

	if (ret_regs)
		*ret_regs = s ? s->regs : (struct go_thread_regs){ 0 };
	return s ? &s->at : &unknown;
}

/* --- ids --- */

static bool is_os_id(int64_t id)
{
	return id > VIEW_ID_OS && id < VIEW_ID_BIG;
}

int64_t gview_id_of_goid(struct gview *gv, uint64_t goid)
{
	if (goid < small_goid)
		return (int64_t)goid;
	for (size_t i = 0; i < gv->n_big; i++)
		if (gv->big[i].goid == goid)
			return gv->big[i].id;
	if (gview_room(&gv->big, sizeof(*gv->big), gv->n_big, &gv->big_room) < 0)
		return 0;
	struct big_id *b = &gv->big[gv->n_big];
	*b = (struct big_id){ goid, VIEW_ID_BIG + (int64_t)gv->n_big };
	gv->n_big++;
	return b->id;
}

static uint64_t goid_of(const struct gview *gv, int64_t id)
{
	if (id > 0 && (uint64_t)id < small_goid)
		return (uint64_t)id;
	return id >= VIEW_ID_BIG && (size_t)(id - VIEW_ID_BIG) < gv->n_big
		       ? gv->big[id - VIEW_ID_BIG].goid
		       : 0;
}

struct go_goroutine gview_goroutine(struct gview *gv, int64_t id)
{
	struct go_goroutine g = { 0 };
	uint64_t goid = goid_of(gv, id);
	const struct recent *r = &gv->recent[(size_t)id % RECENT];

	if (!goid || !gview_ready(gv))
		return g;
	if (r->stop == gv->stop && r->id == id)
		return r->g;
	const struct go_goroutine *listed = gview_listed(gv, id);
	if (listed)
		return *listed;
	if (go_find(gv->model, goid, &g) < 0)
		g.g = 0;
	remember(gv, id, &g);
	return g;
}

/* Before there are goroutines the first OS thread is what becomes the first of them. */
static bool is_first(struct gview *gv, pid_t tid)
{
	return tid == gv->target->pid && !gview_ready(gv);
}

int64_t gview_id_of(struct gview *gv, pid_t tid)
{
	if (is_first(gv, tid))
		return 1;
	const struct seen *s = gview_see(gv, tid);
	if (s && s->at.where == GO_WHERE_GO && s->at.g.g && !s->at.g.system)
		return gview_id_of_goid(gv, s->at.g.goid);
	return VIEW_ID_OS + (int64_t)tid;
}

pid_t gview_tid_of(struct gview *gv, int64_t id)
{
	if (id == 1 && is_first(gv, gv->target->pid))
		return gview_thread_exists(gv, gv->target->pid) ? gv->target->pid : 0;
	if (is_os_id(id)) {
		pid_t tid = (pid_t)(id - VIEW_ID_OS);
		return gview_thread_exists(gv, tid) && gview_id_of(gv, tid) == id ? tid : 0;
	}
	struct go_goroutine g = gview_goroutine(gv, id);
	const struct seen *s = g.g ? gview_thread_of(gv, &g) : NULL;
	return s && s->at.where == GO_WHERE_GO && s->at.g.g == g.g ? s->tid : 0;
}

bool gview_alive(struct gview *gv, int64_t id)
{
	if (is_os_id(id) || (id == 1 && !gview_ready(gv)))
		return gview_tid_of(gv, id) != 0;
	return gview_goroutine(gv, id).g != 0;
}

int64_t gview_main(struct gview *gv)
{
	int64_t first = 0;

	if (gview_alive(gv, 1))
		return 1;
	return gview_next(gv, 0, &first) == 0 ? first : 0;
}

static bool is_users(struct gview *gv, int64_t id)
{
	struct go_goroutine g = gview_goroutine(gv, id);
	return g.g && !g.system;
}

int64_t gview_interrupted(struct gview *gv, pid_t tid, int64_t wanted)
{
	int64_t id = gview_id_of(gv, tid);

	if (!gview_ready(gv) || is_users(gv, id))
		return id;
	if (wanted > 0 && is_users(gv, wanted))
		return wanted;
	if (gview_see_all(gv) < 0)
		return id;
	for (size_t i = 0; i < gv->n_seen; i++) {
		const struct go_thread *at = &gv->seen[i].at;
		if (at->where == GO_WHERE_GO && at->g.g && !at->g.system)
			return gview_id_of_goid(gv, at->g.goid);
	}
	return gview_alive(gv, 1) ? 1 : id;
}

void gview_prefer(struct gview *gv, int64_t id)
{
	gv->preferred = id;
}

/* --- registers --- */

/* Addresses of this stack will be in the client's hands from now on. */
static void note_shown(struct gview *gv, int64_t id)
{
	size_t at = 0;

	while (at < gv->n_shown && gv->shown[at] < id)
		at++;
	if (at < gv->n_shown && gv->shown[at] == id)
		return;
	if (gview_room(&gv->shown, sizeof(*gv->shown), gv->n_shown, &gv->shown_room) < 0)
		return;
	memmove(gv->shown + at + 1, gv->shown + at, (gv->n_shown - at) * sizeof(*gv->shown));
	gv->shown[at] = id;
	gv->n_shown++;
}

static void show_window(struct gview *gv, int64_t id, const struct go_goroutine *g,
			struct window *ret)
{
	if (!gv->policy->stable_stacks || !g->stack_hi || g->stack_lo >= g->stack_hi)
		return;
	note_shown(gv, id);
	*ret = (struct window){ id, g->stack_lo, g->stack_hi };
}

pid_t gview_worker(struct gview *gv, const struct go_goroutine *g)
{
	const struct seen *s = gview_thread_of(gv, g);
	return s ? s->tid : 0;
}

int gview_go_regs(struct gview *gv, const struct go_goroutine *g, struct go_regs *ret)
{
	const struct seen *s = gview_thread_of(gv, g);
	return go_regs(gv->model, g, s && s->known ? &s->regs : NULL, ret);
}

static void frame_to_gp(const struct go_regs *from, struct user_regs_struct *gp)
{
	const uint64_t *r = from->gregs;

	gp->r8 = r[0], gp->r9 = r[1], gp->r10 = r[2], gp->r11 = r[3];
	gp->r12 = r[4], gp->r13 = r[5], gp->r14 = r[6], gp->r15 = r[7];
	gp->rdi = r[8], gp->rsi = r[9], gp->rbp = r[10], gp->rbx = r[11];
	gp->rdx = r[12], gp->rax = r[13], gp->rcx = r[14], gp->rsp = r[15];
	gp->rip = r[16], gp->eflags = r[17];
	gp->orig_rax = UINT64_MAX;
}

static int goroutine_regs(struct gview *gv, int64_t id, struct view_regs *r)
{
	struct go_goroutine g = gview_goroutine(gv, id);
	struct go_regs from;

	if (!g.g)
		return -ESRCH;
	const struct seen *s = gview_thread_of(gv, &g);
	int e = go_regs(gv->model, &g, s && s->known ? &s->regs : NULL, &from);
	if (e < 0)
		return e;
	show_window(gv, id, &g, &r->window);
	r->tid = s ? s->tid : 0;
	r->fixed = true;
	switch (from.from) {
	case GO_REGS_THREAD:
		r->from = VIEW_REGS_THREAD;
		/* On the way from one stack to another they are the OS thread's, listed beside. */
		r->fixed = s->at.where != GO_WHERE_GO;
		break;
	case GO_REGS_SIGNAL:
		r->from = VIEW_REGS_FRAME;
		r->frame = from.gregs_addr;
		r->have_gp = true;
		e = r->tid ? gv->target->ops->gp_read(gv->target, r->tid, &r->gp) : -ESRCH;
		if (e < 0)
			return e;
		frame_to_gp(&from, &r->gp);
		r->fixed = false;
		break;
	case GO_REGS_SAVED:
		r->from = VIEW_REGS_SAVED;
		r->have_gp = true;
		memset(&r->gp, 0, sizeof(r->gp));
		r->gp.rip = from.pc;
		r->gp.rsp = from.sp;
		r->gp.rbp = from.bp;
		break;
	case GO_REGS_NONE: r->from = VIEW_REGS_NONE; break;
	}
	return 0;
}

int gview_regs_begin(struct gview *gv, int64_t id, struct view_regs *r)
{
	if (goid_of(gv, id) && gview_ready(gv))
		return goroutine_regs(gv, id, r);
	r->tid = gview_tid_of(gv, id);
	r->from = VIEW_REGS_THREAD;
	return r->tid ? 0 : -ESRCH;
}

/* --- windows --- */

bool gview_window(struct gview *gv, int64_t id, struct window *ret)
{
	struct go_goroutine g = gview_goroutine(gv, id);
	struct window w = { 0 };

	if (g.g)
		show_window(gv, id, &g, &w);
	if (!w.hi)
		return false;
	*ret = w;
	return true;
}

static int compare_ids(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

bool gview_find_shown(struct gview *gv, uint64_t shown, struct window *ret)
{
	int64_t id = window_owner(shown);

	if (!id || !gv->n_shown || !bsearch(&id, gv->shown, gv->n_shown, sizeof(id), compare_ids))
		return false;
	return gview_window(gv, id, ret);
}
