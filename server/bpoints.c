#include "server/bpoints_internal.h"

#include <errno.h>
#include <string.h>

#include "server/gview.h"
#include "server/session.h"
#include "server/tracepoints.h"
#include "server/tracing.h"

/* --- hits --- */

static const struct {
	const char *text;
	enum hit_op op;
} hit_ops[] = {
	{ "==", HIT_EQ }, { "!=", HIT_NE }, { "<=", HIT_LE },   { ">=", HIT_GE },
	{ "<", HIT_LT },  { ">", HIT_GT },  { "%", HIT_EVERY },
};

bool hit_rule_parse(const char *op, const char *value, struct hit_rule *ret)
{
	char *end;

	for (size_t i = 0; op && value && i < ARRAY_SIZE(hit_ops); i++) {
		if (strcmp(op, hit_ops[i].text) != 0)
			continue;
		errno = 0;
		ret->op = hit_ops[i].op;
		ret->value = strtoull(value, &end, 10);
		return *value >= '0' && *value <= '9' && !*end && !errno &&
		       (ret->op != HIT_EVERY || ret->value);
	}
	return false;
}

const char *hit_rule_text(enum hit_op op)
{
	for (size_t i = 0; i < ARRAY_SIZE(hit_ops); i++)
		if (hit_ops[i].op == op)
			return hit_ops[i].text;
	return "";
}

static bool rule_allows(const struct hit_rule *rule, uint64_t hits)
{
	switch (rule->op) {
	case HIT_EQ: return hits == rule->value;
	case HIT_NE: return hits != rule->value;
	case HIT_LT: return hits < rule->value;
	case HIT_LE: return hits <= rule->value;
	case HIT_GT: return hits > rule->value;
	case HIT_GE: return hits >= rule->value;
	case HIT_EVERY: return hits % rule->value == 0;
	default: return true;
	}
}

/* How many this thread has now; 0: it could not be noted. */
static uint64_t count_hit(struct hits *h, int64_t id)
{
	size_t lo = 0, hi = h->count;

	h->total++;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (h->by[mid].id < id)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo < h->count && h->by[lo].id == id)
		return ++h->by[lo].count;
	if (h->count == h->room && h->count < BPOINT_THREADS_MAX) {
		size_t room = h->room ? h->room * 2 : 8;
		struct thread_hits *by = reallocarray(h->by, room, sizeof(*by));
		if (by)
			h->by = by, h->room = room;
	}
	if (h->count == h->room) {
		h->others++;
		return 0;
	}
	memmove(h->by + lo + 1, h->by + lo, (h->count - lo) * sizeof(*h->by));
	h->by[lo] = (struct thread_hits){ id, 1 };
	h->count++;
	return 1;
}

struct bpoint_thread bpoints_thread(struct inferior *inf, pid_t tid)
{
	struct gview *gv = inferior_is_go(inf) ? threadview_goroutines(inf->view, NULL) : NULL;
	struct user_regs_struct gp;
	struct go_thread at;

	struct bpoint_thread itself = { .id = tid };

	if (!gv || inf->target->ops->gp_read(inf->target, tid, &gp) < 0)
		return itself;
	struct go_thread_regs regs = { gp.fs_base, gp.rip, gp.rsp, gp.rbp };
	go_model_resumed(gview_model(gv));
	if (go_threads(gview_model(gv), &regs, 1, &at) < 0 || !at.g.g)
		return itself;
	return (struct bpoint_thread){ (int64_t)at.g.goid, true, at.g.stack_lo, at.g.stack_hi };
}

bool bpoints_on_stack(struct inferior *inf, pid_t tid, uint64_t addr)
{
	struct bpoint_thread who = bpoints_thread(inf, tid);
	return addr - who.stack_lo < who.stack_hi - who.stack_lo;
}

/* --- the store --- */

struct bpoint *bpoint_free(struct bpoint *b)
{
	if (!b)
		return NULL;
	places_fini(&b->places);
	tracepoint_free(b->trace);
	free(b->hits.by);
	free(b->spec);
	free(b->condition);
	free(b->why);
	value_of_fini(&b->watched);
	free(b);
	return NULL;
}

struct bpoint *bpoints_find(const struct bpoints *all, unsigned number)
{
	size_t lo = 0, hi = all->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (all->at[mid]->number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < all->count && all->at[lo]->number == number ? all->at[lo] : NULL;
}

static bool make_room(struct bpoint ***at, size_t count, size_t *room)
{
	if (count < *room)
		return true;
	size_t more = *room ? *room * 2 : 16;
	struct bpoint **grown =
		more <= 2 * BPOINTS_MAX ? reallocarray(*at, more, sizeof(*grown)) : NULL;
	if (!grown)
		return false;
	*at = grown;
	*room = more;
	return true;
}

/* Numbers go up, so the last is the highest. */
bool bpoints_append(struct bpoints *all, struct bpoint *b)
{
	if (all->count >= BPOINTS_MAX || !make_room(&all->at, all->count, &all->room))
		return false;
	b->number = ++all->last;
	all->at[all->count++] = b;
	return true;
}

void bpoints_take_out(struct bpoints *all, const struct bpoint *b)
{
	size_t i = 0;

	while (all->at[i] != b)
		i++;
	all->count--;
	memmove(all->at + i, all->at + i + 1, (all->count - i) * sizeof(struct bpoint *));
}

void bpoints_forget(struct bpoints *all)
{
	for (size_t i = 0; i < all->count; i++)
		bpoint_free(all->at[i]);
	free(all->at);
	free(all->clients);
	*all = (struct bpoints){ .last = all->last };
}

void bpoints_forget_clients(struct bpoints *all)
{
	size_t kept = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct bpoint *b = all->at[i];
		if (b->kind == BPOINT_CLIENT)
			bpoint_free(b);
		else
			all->at[kept++] = b;
	}
	all->count = kept;
	all->client_count = 0;
}

/* --- the client's --- */

static int client_order(const struct bpoint *b, enum point_kind kind, uint64_t addr)
{
	uint64_t have = b->places.at[0].addr;

	if (have != addr)
		return have < addr ? -1 : 1;
	return (int)b->point - (int)kind;
}

/* Where it is, or belongs. */
static size_t client_index(const struct bpoints *all, enum point_kind kind, uint64_t addr)
{
	size_t lo = 0, hi = all->client_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (client_order(all->clients[mid], kind, addr) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct bpoint *bpoints_client_at(const struct bpoints *all, enum point_kind kind, uint64_t addr)
{
	size_t i = client_index(all, kind, addr);
	return i < all->client_count && client_order(all->clients[i], kind, addr) == 0
		       ? all->clients[i]
		       : NULL;
}

/* Nobody has asked anything of it, and the client has not had it in when the process last ran. */
bool bpoint_is_forgotten(const struct bpoint *b)
{
	return b->kind == BPOINT_CLIENT && !b->in && !b->was_in && b->rule.op == HIT_ANY;
}

/* The oldest that nobody will ask for: clients put in thousands while they step. */
static void forget_clients(struct bpoints *all)
{
	size_t kept = 0;

	for (size_t i = 0; i < all->client_count; i++) {
		struct bpoint *b = all->clients[i];
		if (!bpoint_is_forgotten(b)) {
			all->clients[kept++] = b;
			continue;
		}
		bpoints_take_out(all, b);
		bpoint_free(b);
	}
	all->client_count = kept;
}

static struct bpoint *client_new(struct bpoints *all, enum point_kind kind, uint64_t addr)
{
	enum { CLIENTS_KEPT = 4096 };
	_cleanup_(bpoint_freep) struct bpoint *b = calloc(1, sizeof(*b));

	if (all->client_count >= CLIENTS_KEPT)
		forget_clients(all);
	if (!b || !make_room(&all->clients, all->client_count, &all->client_room))
		return NULL;
	b->kind = BPOINT_CLIENT;
	b->point = kind;
	b->places.at = calloc(1, sizeof(*b->places.at));
	if (!b->places.at || !bpoints_append(all, b))
		return NULL;
	b->places.at[0].addr = addr;
	b->places.count = 1;
	size_t i = client_index(all, kind, addr);
	memmove(all->clients + i + 1, all->clients + i,
		(all->client_count - i) * sizeof(struct bpoint *));
	all->clients[i] = b;
	all->client_count++;
	return take_ptr(b);
}

void bpoints_client_set(struct inferior *inf, const struct point *p)
{
	struct bpoint *b;

	if (p->kind != POINT_SW && p->kind != POINT_HW)
		return;
	b = bpoints_client_at(&inf->points, p->kind, p->addr);
	if (!b)
		b = client_new(&inf->points, p->kind, p->addr);
	if (!b)
		return;
	b->in = true;
	b->conditions = p->condition_count;
	b->commands = p->command_count;
}

void bpoint_look_at_way(struct inferior *inf, struct bpoint *b)
{
	const struct target_point_ops *ops = inf->target->ops->points;

	if (ops && ops->way && b->point == POINT_SW)
		(void)ops->way(inf->target, b->places.at[0].addr, &b->way);
}

void bpoints_client_removed(struct inferior *inf, const struct point *p)
{
	struct bpoint *b = bpoints_client_at(&inf->points, p->kind, p->addr);
	if (!b)
		return;
	bpoint_look_at_way(inf, b);
	b->in = false;
}

void bpoints_resumed(struct inferior *inf)
{
	for (size_t i = 0; i < inf->points.client_count; i++)
		inf->points.clients[i]->was_in = inf->points.clients[i]->in;
}

/* --- judging --- */

enum hit_answer bpoints_hit(void *ctx, const struct point_hit *h)
{
	struct session *s = ctx;
	struct inferior *inf = inferior_of(h->target);

	if (h->number == TRACEPOINTS_NUMBER) {
		tracepoints_hit(inf, h);
		return HIT_PASS;
	}
	if (inf && h->number == BPOINT_LOADS) {
		inf->points.attend = inf->points.loaded = true;
		return HIT_ATTEND;
	}
	struct bpoint *b = !inf        ? NULL
			   : h->number ? bpoints_find(&inf->points, h->number)
				       : bpoints_client_at(&inf->points, h->kind, h->addr);
	if (!b)
		return h->number ? HIT_PASS : HIT_STOP;
	if (b->trace && tracepoint_is_return(b, h->addr)) {
		tracepoint_returned(s, inf, b, h);
		return HIT_PASS;
	}
	struct bpoint_thread who = bpoints_thread(inf, h->tid);
	if (b->thread && b->thread != who.id && b->thread != h->tid)
		return HIT_PASS;
	uint64_t of_thread = count_hit(&b->hits, who.id);
	if (!rule_allows(&b->rule, b->rule.each ? of_thread : b->hits.total))
		return HIT_PASS;
	if (!b->trace)
		return HIT_STOP;
	if (!tracepoint_called(s, inf, b, h, &who))
		return HIT_PASS;
	inf->points.attend = true;
	return HIT_ATTEND;
}
