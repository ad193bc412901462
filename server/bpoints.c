#include "server/bpoints.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "server/expr.h"
#include "server/gview.h"
#include "server/session.h"
#include "server/tracing.h"
#include "target/ax.h"

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
	return (struct bpoint_thread){ (int64_t)at.g.goid, true, at.g.stack_hi };
}

/* --- the store --- */

static struct bpoint *bpoint_free(struct bpoint *b)
{
	if (!b)
		return NULL;
	places_fini(&b->places);
	tracepoint_free(b->trace);
	free(b->hits.by);
	free(b->spec);
	free(b->condition);
	free(b);
	return NULL;
}

static void bpoint_freep(struct bpoint **b)
{
	bpoint_free(*b);
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
static bool append(struct bpoints *all, struct bpoint *b)
{
	if (all->count >= BPOINTS_MAX || !make_room(&all->at, all->count, &all->room))
		return false;
	b->number = ++all->last;
	all->at[all->count++] = b;
	return true;
}

static void take_out(struct bpoints *all, const struct bpoint *b)
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

/* --- a person's --- */

static int compile_at(struct inferior *inf, const struct place *at, const char *text,
		      struct ax **ret, struct err *err)
{
	_cleanup_buf_ struct buf code = { 0 };

	buf_init(&code, EXPR_CODE_MAX);
	int r = places_condition(inf, at, text, &code, err);
	return r < 0 ? r : ax_compile(code.data, code.len, expr_ax_reg, NULL, ret, err);
}

static int insert_at(struct inferior *inf, const struct bpoint *b, const struct place *at,
		     struct err *err)
{
	struct point p = {
		.kind = POINT_SW, .internal = true, .number = b->number, .addr = at->addr, .len = 1
	};

	if (b->condition) {
		p.conditions = calloc(1, sizeof(struct ax *));
		int r = p.conditions ? compile_at(inf, at, b->condition, &p.conditions[0], err)
				     : err_set(err, -ENOMEM, "no memory for a condition");
		if (r < 0) {
			free(p.conditions);
			return r;
		}
		p.condition_count = 1;
	}
	return inf->target->ops->points->insert(inf->target, &p, err);
}

static void remove_number(struct inferior *inf, unsigned number, uint64_t addr)
{
	struct point p = {
		.kind = POINT_SW, .internal = true, .number = number, .addr = addr, .len = 1
	};
	inf->target->ops->points->remove(inf->target, &p);
}

static void remove_places(struct inferior *inf, const struct bpoint *b)
{
	for (size_t i = 0; i < b->places.count; i++)
		remove_number(inf, b->number, b->places.at[i].addr);
	if (b->trace)
		tracepoint_remove(inf, b);
}

void bpoints_delete(struct inferior *inf, struct bpoint *b)
{
	remove_places(inf, b);
	take_out(&inf->points, b);
	bpoint_free(b);
}

static int fill(struct inferior *inf, struct bpoint *b, const struct bpoint_want *want,
		struct err *err)
{
	b->kind = want->kind;
	b->trace = want->trace;
	b->thread = want->thread;
	b->rule = want->rule;
	b->spec = strdup(want->spec);
	b->condition = want->condition ? strdup(want->condition) : NULL;
	if (!b->spec || (want->condition && !b->condition))
		return err_set(err, -ENOMEM, "no memory for a breakpoint");
	return places_find(inf, b->spec, &b->places, err);
}

int bpoints_add(struct inferior *inf, const struct bpoint_want *want, struct bpoint **ret,
		struct err *err)
{
	_cleanup_(bpoint_freep) struct bpoint *b = calloc(1, sizeof(*b));

	if (!b) {
		tracepoint_free(want->trace);
		return err_set(err, -ENOMEM, "no memory for a breakpoint");
	}
	int r = fill(inf, b, want, err);
	if (r == 0 && !inf->target->ops->points)
		r = err_set(err, -EOPNOTSUPP, "no breakpoints can be set here: nothing runs");
	if (r == 0 && !append(&inf->points, b))
		r = err_set(err, -ENOMEM, "no room for another breakpoint");
	if (r < 0)
		return r;
	for (size_t i = 0; r == 0 && i < b->places.count; i++)
		r = insert_at(inf, b, &b->places.at[i], err);
	if (r == 0 && b->trace)
		r = tracepoint_prepare(inf, b, err);
	if (r < 0) {
		remove_places(inf, b);
		take_out(&inf->points, b);
		inf->points.last--;
		return r;
	}
	*ret = take_ptr(b);
	return 0;
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

static struct bpoint *client_at(const struct bpoints *all, enum point_kind kind, uint64_t addr)
{
	size_t i = client_index(all, kind, addr);
	return i < all->client_count && client_order(all->clients[i], kind, addr) == 0
		       ? all->clients[i]
		       : NULL;
}

/* Nobody has asked anything of it, and the client has not had it in when the process last ran. */
static bool is_forgotten(const struct bpoint *b)
{
	return b->kind == BPOINT_CLIENT && !b->in && !b->was_in && b->rule.op == HIT_ANY;
}

/* The oldest that nobody will ask for: clients put in thousands while they step. */
static void forget_clients(struct bpoints *all)
{
	size_t kept = 0;

	for (size_t i = 0; i < all->client_count; i++) {
		struct bpoint *b = all->clients[i];
		if (!is_forgotten(b)) {
			all->clients[kept++] = b;
			continue;
		}
		take_out(all, b);
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
	if (!b->places.at || !append(all, b))
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
	b = client_at(&inf->points, p->kind, p->addr);
	if (!b)
		b = client_new(&inf->points, p->kind, p->addr);
	if (!b)
		return;
	b->in = true;
	b->conditions = p->condition_count;
	b->commands = p->command_count;
}

static void look_at_way(struct inferior *inf, struct bpoint *b)
{
	const struct target_point_ops *ops = inf->target->ops->points;

	if (ops && ops->way && b->point == POINT_SW)
		(void)ops->way(inf->target, b->places.at[0].addr, &b->way);
}

void bpoints_client_removed(struct inferior *inf, const struct point *p)
{
	struct bpoint *b = client_at(&inf->points, p->kind, p->addr);
	if (!b)
		return;
	look_at_way(inf, b);
	b->in = false;
}

void bpoints_resumed(struct inferior *inf)
{
	for (size_t i = 0; i < inf->points.client_count; i++)
		inf->points.clients[i]->was_in = inf->points.clients[i]->in;
}

/* --- judging --- */

bool bpoints_hit(void *ctx, const struct point_hit *h)
{
	struct session *s = ctx;
	struct inferior *inf = inferior_of(h->target);
	struct bpoint *b = !inf        ? NULL
			   : h->number ? bpoints_find(&inf->points, h->number)
				       : client_at(&inf->points, h->kind, h->addr);

	if (!b)
		return !h->number;
	if (b->trace && tracepoint_is_return(b, h->addr)) {
		tracepoint_returned(s, inf, b, h);
		return false;
	}
	struct bpoint_thread who = bpoints_thread(inf, h->tid);
	if (b->thread && b->thread != who.id && b->thread != h->tid)
		return false;
	uint64_t of_thread = count_hit(&b->hits, who.id);
	if (!rule_allows(&b->rule, b->rule.each ? of_thread : b->hits.total))
		return false;
	if (!b->trace)
		return true;
	tracepoint_called(s, inf, b, h, &who);
	return false;
}

/* --- telling --- */

static const struct place *place_of(const struct bpoint *b, uint64_t addr)
{
	for (size_t i = 0; i < b->places.count; i++)
		if (b->places.at[i].addr == addr)
			return &b->places.at[i];
	return NULL;
}

void bpoints_describe_stop(struct inferior *inf, pid_t tid, const struct stop *stop,
			   struct buf *out)
{
	const struct bpoint *b = stop->kind == STOP_SWBREAK && stop->number
					 ? bpoints_find(&inf->points, stop->number)
					 : NULL;
	struct user_regs_struct gp;

	if (!b || inf->target->ops->gp_read(inf->target, tid, &gp) < 0)
		return;
	const struct place *at = place_of(b, gp.rip);
	buf_printf(out, "breakpoint %u of the server, %s", b->number, at ? at->text : b->spec);
}

bool bpoints_hides(struct inferior *inf, pid_t tid, const struct stop *stop)
{
	struct user_regs_struct gp;
	const struct bpoint *b;

	if (stop->kind != STOP_SWBREAK || !stop->number || !stop->unasked ||
	    inf->target->ops->gp_read(inf->target, tid, &gp) < 0)
		return false;
	b = client_at(&inf->points, POINT_SW, gp.rip);
	return b && b->in;
}

void bpoints_say_stop(struct session *s, struct inferior *inf, pid_t tid, const struct stop *stop)
{
	_cleanup_buf_ struct buf text = { 0 };

	buf_init(&text, SESSION_PACKET_MAX / 4);
	bpoints_describe_stop(inf, tid, stop, &text);
	if (!text.len)
		return;
	struct bpoint_thread who = bpoints_thread(inf, tid);
	text.data[0] = 'B';
	buf_printf(&text, " (%s %" PRId64 ")\n", who.goroutine ? "goroutine" : "thread", who.id);
	session_console(s, (const char *)text.data, text.len);
}

static const char *rule_text(enum hit_op op)
{
	for (size_t i = 0; i < ARRAY_SIZE(hit_ops); i++)
		if (hit_ops[i].op == op)
			return hit_ops[i].text;
	return "";
}

static void put_threads(struct inferior *inf, const struct hits *h, struct buf *out)
{
	enum { SHOWN = 16 };

	if (!h->count)
		return;
	buf_printf(out, "     hits by %s:", inferior_is_go(inf) ? "goroutine" : "thread");
	for (size_t i = 0; i < MIN(h->count, (size_t)SHOWN); i++)
		buf_printf(out, "%s %" PRId64 ": %" PRIu64, i ? "," : "", h->by[i].id,
			   h->by[i].count);
	if (h->count > SHOWN)
		buf_printf(out, " and %zu more", h->count - SHOWN);
	if (h->others)
		buf_printf(out, ", %" PRIu64 " by others", h->others);
	buf_putc(out, '\n');
}

static void put_conditions(const struct bpoint *b, struct buf *out)
{
	if (b->condition)
		buf_printf(out, "     if %s\n", b->condition);
	if (b->conditions)
		buf_printf(out, "     if %zu condition%s of the client's %s true\n", b->conditions,
			   b->conditions == 1 ? "" : "s", b->conditions == 1 ? "is" : "are");
	if (b->commands)
		buf_puts(out, "     with commands of the client's, no stop\n");
	if (b->thread)
		buf_printf(out, "     goroutine or thread %" PRId64 " only\n", b->thread);
	if (b->rule.op != HIT_ANY)
		buf_printf(out, "     stops when its hits%s are %s %" PRIu64 "\n",
			   b->rule.each ? " of one goroutine" : "", rule_text(b->rule.op),
			   b->rule.value);
}

static const char *const kinds[] = {
	[BPOINT_BREAK] = "break", [BPOINT_TRACE] = "trace", [BPOINT_CLIENT] = "client"
};

static void put_place(struct inferior *inf, const struct bpoint *b, const struct place *at,
		      struct buf *out)
{
	buf_printf(out, "0x%016" PRIx64 "  ", at->addr);
	if (at->text)
		buf_puts(out, at->text);
	else
		places_describe(inf, at->addr, out);
	if (b->kind == BPOINT_CLIENT)
		buf_printf(out, "%s%s", b->point == POINT_HW ? ", hardware" : "",
			   b->in ? "" : ", out of memory while stopped");
	buf_putc(out, '\n');
}

/* "emulated; traps (why)": of a client's, as it was when it was last in. */
static void put_way(struct inferior *inf, struct bpoint *b, struct buf *out)
{
	const struct point_way *way = &b->way;

	if (b->kind != BPOINT_CLIENT || b->in)
		look_at_way(inf, b);
	if (!way->how)
		return;
	buf_printf(out, "     %s", way->how);
	if (way->why && way->why[0])
		buf_printf(out, " (%s)", way->why);
	if (way->past && way->past[0])
		buf_printf(out, ", passed %s", way->past);
	if (b->kind == BPOINT_CLIENT && way->passed)
		buf_printf(out, ", its conditions were false %" PRIu64 " times", way->passed);
	buf_putc(out, '\n');
}

void bpoints_list(struct inferior *inf, struct buf *out)
{
	bool any = false;

	for (size_t i = 0; i < inf->points.count; i++) {
		struct bpoint *b = inf->points.at[i];
		if (is_forgotten(b))
			continue;
		if (!any)
			buf_puts(out, "Num  Kind    Hits      Address             Where\n");
		any = true;
		buf_printf(out, "%-4u %-7s %-9" PRIu64 " ", b->number, kinds[b->kind],
			   b->hits.total);
		for (size_t p = 0; p < b->places.count; p++) {
			if (p)
				buf_printf(out, "%23s", "");
			put_place(inf, b, &b->places.at[p], out);
		}
		put_conditions(b, out);
		put_way(inf, b, out);
		if (b->trace)
			tracepoint_describe(b->trace, out);
		put_threads(inf, &b->hits, out);
	}
	if (!any)
		buf_puts(out, "no breakpoints\n");
}
