#include "server/gview_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CHOOSE_SHARE = 30, BRIEF = 100 };

static const uint64_t choose_max_ns = UINT64_C(2000000000);

/*
 * The chosen ones while all are walked: a heap with the least wanted on top, so that a million goroutines cost the memory of as
 * many as are listed.
 */
struct choice {
	struct gview *gv;
	size_t limit;
	size_t seen; /* that could have been listed */
};

static int rank(const struct gview *gv, const struct go_goroutine *g)
{
	if (gv->preferred && g->goid == (uint64_t)gv->preferred)
		return 3;
	if (g->on_thread || g->status == GO_RUNNING)
		return 2;
	return g->status == GO_RUNNABLE || g->status == GO_SYSCALL;
}

static bool less_wanted(const struct gview *gv, const struct go_goroutine *a,
			const struct go_goroutine *b)
{
	int x = rank(gv, a), y = rank(gv, b);
	return x != y ? x < y : a->goid < b->goid;
}

static void swap(struct go_goroutine *a, struct go_goroutine *b)
{
	struct go_goroutine t = *a;
	*a = *b;
	*b = t;
}

static void sift_up(struct gview *gv, size_t i)
{
	while (i && less_wanted(gv, &gv->gs[i], &gv->gs[(i - 1) / 2])) {
		swap(&gv->gs[i], &gv->gs[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
}

static void sift_down(struct gview *gv)
{
	size_t i = 0;

	for (;;) {
		size_t least = i;
		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < gv->n_gs; child++)
			if (less_wanted(gv, &gv->gs[child], &gv->gs[least]))
				least = child;
		if (least == i)
			return;
		swap(&gv->gs[i], &gv->gs[least]);
		i = least;
	}
}

static bool wanted(const struct gview *gv, const struct go_goroutine *g)
{
	if (gv->preferred && g->goid == (uint64_t)gv->preferred)
		return true;
	/* A C thread's spare one, when nobody looked at its M. */
	if (!g->start_pc && !g->on_thread)
		return false;
	return !g->system;
}

static int choose(void *ctx, const struct go_goroutine *g)
{
	struct choice *c = ctx;
	struct gview *gv = c->gv;

	if (!wanted(gv, g))
		return 0;
	c->seen++;
	if (gv->n_gs < c->limit) {
		if (gview_room(&gv->gs, sizeof(*gv->gs), gv->n_gs, &gv->gs_room) < 0)
			return -ENOMEM;
		gv->gs[gv->n_gs] = *g;
		sift_up(gv, gv->n_gs++);
	} else if (c->limit && less_wanted(gv, &gv->gs[0], g)) {
		gv->gs[0] = *g;
		sift_down(gv);
	}
	return 0;
}

static struct go_goroutine *chosen(const struct gview *gv, uint64_t g)
{
	for (size_t i = 0; i < gv->n_gs; i++)
		if (gv->gs[i].g == g)
			return &gv->gs[i];
	return NULL;
}

/* What the threads say of themselves counts; and whoever runs is listed, whatever the limit. */
static int add_running(struct gview *gv)
{
	for (size_t i = 0; i < gv->n_seen; i++) {
		const struct go_thread *at = &gv->seen[i].at;
		struct go_goroutine *have = at->g.g ? chosen(gv, at->g.g) : NULL;
		if (have)
			*have = at->g;
		if (have || at->where != GO_WHERE_GO || !wanted(gv, &at->g))
			continue;
		if (gview_room(&gv->gs, sizeof(*gv->gs), gv->n_gs, &gv->gs_room) < 0)
			return -ENOMEM;
		gv->gs[gv->n_gs++] = at->g;
	}
	return 0;
}

static int by_goid(const void *a, const void *b)
{
	const struct go_goroutine *x = a, *y = b;
	return x->goid < y->goid ? -1 : x->goid > y->goid;
}

static int by_id(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return x < y ? -1 : x > y;
}

static int add_id(struct gview *gv, int64_t id)
{
	if (gview_room(&gv->ids, sizeof(*gv->ids), gv->n_ids, &gv->ids_room) < 0)
		return -ENOMEM;
	gv->ids[gv->n_ids++] = id;
	return 0;
}

static int number(struct gview *gv)
{
	int r = 0;

	gv->n_ids = 0;
	if (gv->n_gs)
		qsort(gv->gs, gv->n_gs, sizeof(*gv->gs), by_goid);
	for (size_t i = 0; i < gv->n_gs && r == 0; i++)
		r = add_id(gv, gview_id_of_goid(gv, gv->gs[i].goid));
	for (size_t i = 0; i < gv->n_seen && r == 0; i++) {
		int64_t id = gview_id_of(gv, gv->seen[i].tid);
		/* Those that run a user's goroutine are there as that one. */
		if (!gview_ready(gv) || (id > VIEW_ID_OS && id < VIEW_ID_BIG))
			r = add_id(gv, id);
	}
	if (gv->n_ids)
		qsort(gv->ids, gv->n_ids, sizeof(*gv->ids), by_id);
	return r;
}

uint64_t gview_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

/* Without memory the next listing chooses again. */
static void keep_choice(struct gview *gv, const struct choice *c, size_t of, uint64_t began_ns)
{
	uint64_t now = gview_clock_ns();

	gv->choice.count = 0;
	for (size_t i = 0; i < gv->n_gs && c->seen > gv->n_gs; i++) {
		if (gview_room(&gv->choice.g, sizeof(*gv->choice.g), gv->choice.count,
			       &gv->choice.room) < 0) {
			gv->choice.count = 0;
			return;
		}
		gv->choice.g[gv->choice.count++] = gv->gs[i].g;
	}
	gv->choice.limit = c->limit;
	gv->choice.of = of;
	gv->choice.seen = c->seen;
	gv->choice.again_ns = now + MIN((now - began_ns) * CHOOSE_SHARE, choose_max_ns);
}

/* The one that is to be listed whatever the limit may wait, and not be among those that were read. */
static int add_preferred(struct gview *gv)
{
	struct go_goroutine g = gview_goroutine(gv, gv->preferred);

	if (!g.g || chosen(gv, g.g) || !wanted(gv, &g))
		return 0;
	if (gview_room(&gv->gs, sizeof(*gv->gs), gv->n_gs, &gv->gs_room) < 0)
		return -ENOMEM;
	gv->gs[gv->n_gs++] = g;
	return 0;
}

static int choose_among(struct gview *gv, struct choice *c)
{
	uint64_t now = gview_clock_ns();
	size_t of = go_count(gv->model);
	/* Who runs where is known from the threads: with more than can be listed the Ms are not read. */
	unsigned flags = of > c->limit ? GO_WALK_NO_TID : 0;
	bool again = !gv->choice.count || gv->choice.limit != c->limit || of < gv->choice.of ||
		     now >= gv->choice.again_ns;

	if (!again) {
		int r = go_walk_these(gv->model, flags, gv->choice.g, gv->choice.count,
				      gv->choice.of, choose, c);
		c->seen = MAX(c->seen, gv->choice.seen);
		return r;
	}
	int r = go_walk(gv->model, flags, choose, c, NULL);
	if (r == 0)
		keep_choice(gv, c, of, now);
	return r;
}

/* --- few of them --- */

static int known_by_goid(const void *a, const void *b)
{
	const struct known *x = a, *y = b;
	return x->goid < y->goid ? -1 : x->goid > y->goid;
}

static bool is_known(const struct gview *gv, const struct go_goroutine *g)
{
	const struct known key = { g->g, g->goid };
	const struct known *k =
		gv->n_known ? bsearch(&key, gv->known, gv->n_known, sizeof(key), known_by_goid)
			    : NULL;
	return k && k->g == g->g;
}

static int keep_known(void *ctx, const struct go_goroutine *g)
{
	struct gview *gv = ctx;

	if (!is_known(gv, g) || !wanted(gv, g))
		return 0;
	if (gview_room(&gv->gs, sizeof(*gv->gs), gv->n_gs, &gv->gs_room) < 0)
		return -ENOMEM;
	gv->gs[gv->n_gs++] = *g;
	return 0;
}

/* Those that the client has and that still live: to leave one out would tell it that it ended. */
static int list_known(struct gview *gv)
{
	_cleanup_free_ uint64_t *g = calloc(gv->n_known + 1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	for (size_t i = 0; i < gv->n_known; i++)
		g[i] = gv->known[i].g;
	gv->n_gs = 0;
	return go_walk_these(gv->model, GO_WALK_NO_TID, g, gv->n_known, GO_GOROUTINES_MAX,
			     keep_known, gv);
}

static int most_wanted(const void *a, const void *b, void *ctx)
{
	const struct gview *gv = ctx;
	bool less = less_wanted(gv, a, b);
	return less != less_wanted(gv, b, a) ? (less ? 1 : -1) : 0;
}

/* Of those that were chosen: what the client has, and when that has become little, the most wanted. */
static int cut(struct gview *gv)
{
	size_t n = 0;

	qsort_r(gv->gs, gv->n_gs, sizeof(*gv->gs), most_wanted, gv);
	for (size_t i = 0; i < gv->n_gs; i++)
		if (!is_known(gv, &gv->gs[i]) && n < BRIEF)
			gv->gs[n++] = gv->gs[i];
	_cleanup_free_ struct go_goroutine *new = calloc(n + 1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	memcpy(new, gv->gs, n * sizeof(*new));
	int r = list_known(gv);
	for (size_t i = 0; i < n && r == 0 && gv->n_gs < BRIEF; i++) {
		r = gview_room(&gv->gs, sizeof(*gv->gs), gv->n_gs, &gv->gs_room);
		if (r == 0)
			gv->gs[gv->n_gs++] = new[i];
	}
	return r;
}

/* Is what the client has enough, without a look at the others? Until it is time to look at all again. */
static bool known_will_do(const struct gview *gv, const struct choice *c)
{
	return gv->brief && gv->choice.count && gv->choice.limit == c->limit &&
	       gv->n_known >= BRIEF / 2 && go_count(gv->model) >= gv->choice.of &&
	       gview_clock_ns() < gv->choice.again_ns;
}

static int choose_few(struct gview *gv, struct choice *c)
{
	if (known_will_do(gv, c)) {
		c->seen = gv->choice.seen;
		int r = list_known(gv);
		if (r < 0 || gv->n_gs >= BRIEF / 2)
			return r;
		gv->n_gs = 0;
		c->seen = 0;
	}
	int r = choose_among(gv, c);
	return r == 0 && gv->brief && c->seen > gv->n_gs ? cut(gv) : r;
}

void gview_brief(struct gview *gv, bool brief)
{
	/* A listing that has all of them is the same either way. */
	if (gv->brief != brief && gv->left_out)
		gv->listed = false;
	gv->brief = brief;
}

void gview_told(struct gview *gv)
{
	gv->n_known = 0;
	for (size_t i = 0; gv->listed && i < gv->n_gs; i++) {
		if (gview_room(&gv->known, sizeof(*gv->known), gv->n_known, &gv->known_room) < 0)
			return;
		gv->known[gv->n_known++] = (struct known){ gv->gs[i].g, gv->gs[i].goid };
	}
}

/* --- the listing --- */

int gview_list(struct gview *gv)
{
	struct choice c = { .gv = gv, .limit = gv->policy->max_goroutines };

	if (gv->listed)
		return 0;
	int r = gview_see_all(gv);
	gv->n_gs = 0;
	if (r == 0 && gview_ready(gv)) {
		r = choose_few(gv, &c);
		if (r == 0)
			r = add_running(gv);
		if (r == 0)
			r = add_preferred(gv);
	}
	if (r == 0)
		r = number(gv);
	gv->left_out = c.seen > gv->n_gs ? c.seen - gv->n_gs : 0;
	gv->listed = r == 0;
	return r;
}

size_t gview_left_out(struct gview *gv, size_t *ret_listed)
{
	*ret_listed = gv->n_gs;
	return gv->listed ? gv->left_out : 0;
}

const struct go_goroutine *gview_listed(const struct gview *gv, int64_t id)
{
	struct go_goroutine key = { .goid = (uint64_t)id };

	if (!gv->listed || id >= VIEW_ID_OS)
		return NULL;
	return gv->n_gs ? bsearch(&key, gv->gs, gv->n_gs, sizeof(key), by_goid) : NULL;
}

int gview_next(struct gview *gv, int64_t after, int64_t *ret)
{
	int r = gview_list(gv);
	size_t lo = 0, hi = gv->n_ids;

	if (r < 0)
		return r;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (gv->ids[mid] <= after)
			lo = mid + 1;
		else
			hi = mid;
	}
	*ret = lo < gv->n_ids ? gv->ids[lo] : 0;
	return 0;
}
