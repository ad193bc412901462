#include "server/bpoints_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "server/expr.h"
#include "server/session.h"
#include "server/tracing.h"
#include "target/ax.h"

/* --- at the target --- */

static int compile_at(struct inferior *inf, const struct place *at, const char *text,
		      struct ax **ret, struct err *err)
{
	_cleanup_buf_ struct buf code = { 0 };

	buf_init(&code, EXPR_CODE_MAX);
	int r = places_condition(inf, at, text, &code, err);
	return r < 0 ? r : ax_compile(code.data, code.len, expr_ax_reg, NULL, ret, err);
}

static struct point point_at(const struct bpoint *b, uint64_t addr)
{
	bool watch = b->kind == BPOINT_WATCH;

	return (struct point){ .kind = watch ? b->point : POINT_SW,
			       .internal = !watch,
			       .number = b->number,
			       .addr = addr,
			       .len = watch ? b->len : 1,
			       .only_changes = watch && b->point == POINT_WRITE };
}

static int insert_at(struct inferior *inf, const struct bpoint *b, const struct place *at,
		     struct err *err)
{
	struct point p = point_at(b, at->addr);

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

static void remove_places(struct inferior *inf, const struct bpoint *b)
{
	for (size_t i = 0; i < b->places.count; i++) {
		struct point p = point_at(b, b->places.at[i].addr);
		inf->target->ops->points->remove(inf->target, &p);
	}
	if (b->trace)
		tracepoint_remove(inf, b);
}

/* --- finding out where --- */

static void leave_out(struct bpoint *b, size_t i, const char *why)
{
	if (!b->left_out++) {
		free(b->why);
		if (asprintf(&b->why, "%s: %s", b->places.at[i].text, why) < 0)
			b->why = NULL;
	}
	free(b->places.at[i].text);
	b->places.count--;
	memmove(b->places.at + i, b->places.at + i + 1,
		(b->places.count - i) * sizeof(*b->places.at));
}

/* A name may mean several functions, and those of the condition be known in some. */
static int insert_where_it_has_meaning(struct inferior *inf, struct bpoint *b, struct err *err)
{
	size_t i = 0;
	int r = 0;

	b->left_out = 0;
	while (i < b->places.count) {
		struct err why = { 0 };
		r = insert_at(inf, b, &b->places.at[i], &why);
		bool unknown = b->condition && (r == -ENOENT || r == -ENODATA || r == -EINVAL);
		if (r < 0 && (!unknown || b->places.count == 1))
			return err_set(err, r, "%s", err_text(&why, r));
		if (r < 0)
			leave_out(b, i, err_text(&why, r));
		else
			i++;
	}
	return 0;
}

/* It is nowhere, until it is looked for again. */
static void be_nowhere(struct inferior *inf, struct bpoint *b)
{
	remove_places(inf, b);
	places_fini(&b->places);
	if (b->trace)
		tracepoint_reset(b->trace);
}

static int insert_all(struct inferior *inf, struct bpoint *b, struct err *err)
{
	int r = insert_where_it_has_meaning(inf, b, err);

	if (r == 0 && b->trace)
		r = tracepoint_prepare(inf, b, err);
	if (r < 0)
		be_nowhere(inf, b);
	return r;
}

/* What is at an address has no type: it is shown as a number. */
static int watch_address(struct inferior *inf, struct bpoint *b, struct di_var *var, uint64_t *ret,
			 struct err *err)
{
	struct mem_region region;
	char *end;

	errno = 0;
	*ret = strtoull(b->spec + 1, &end, 0);
	if (end == b->spec + 1 || *end || errno)
		return err_set(err, -EINVAL, "'%s' is no address: write *0x401136", b->spec + 1);
	if (inferior_region_at(inf, *ret, &region) < 0 || !region.mapped)
		return err_set(err, -EINVAL, "there is no memory at 0x%" PRIx64 " now", *ret);
	if (!b->len)
		b->len = 8;
	var->type = di_type_basic(DI_INT, (unsigned)MIN(b->len, (uint64_t)8), true);
	return 0;
}

static int find_watched(struct inferior *inf, struct bpoint *b, pid_t tid, struct di_var *var,
			uint64_t *ret, struct err *err)
{
	bool address = b->spec[0] == '*' && b->spec[1] >= '0' && b->spec[1] <= '9';
	int r = address ? watch_address(inf, b, var, ret, err)
			: places_variable(inf, tid, b->spec, &var->type, ret, err);

	if (r < 0)
		return r;
	if (!b->len)
		b->len = var->type.size;
	if (!b->len || b->len > WATCHED_MAX)
		return err_set(err, -EINVAL,
			       "'%s' has %" PRIu64
			       " bytes: a processor watches 1 to %d, in at most "
			       "four aligned words; watch a member, or *ADDR LEN",
			       b->spec, b->len, WATCHED_MAX);
	if (window_owner(*ret) || (inferior_is_go(inf) && bpoints_on_stack(inf, tid, *ret)))
		return err_set(
			err, -EINVAL,
			"'%s' is on a goroutine's stack, which ends and moves: watch it with "
			"the client's own command, which follows it",
			b->spec);
	return 0;
}

static int find_watch(struct inferior *inf, struct bpoint *b, pid_t tid, struct err *err)
{
	_cleanup_free_ struct di_var *var = calloc(1, sizeof(*var));
	_cleanup_buf_ struct buf code = { 0 };
	uint64_t addr;

	if (!var)
		return err_set(err, -ENOMEM, "no memory for a watchpoint");
	int r = find_watched(inf, b, tid, var, &addr, err);
	if (r < 0)
		return r;
	buf_init(&code, DI_CODE_MAX);
	axcode_const(&code, addr);
	var->count = 1;
	var->pieces[0].where = DI_MEMORY;
	var->pieces[0].len = code.len;
	memcpy(var->pieces[0].code, code.data, code.len);
	value_of_fini(&b->watched);
	value_of_init(&b->watched, var);
	return places_anywhere(inf, tid, addr, b->spec, &b->places, err);
}

static int set(struct inferior *inf, struct bpoint *b, pid_t tid, struct err *err)
{
	int r = b->kind == BPOINT_WATCH ? find_watch(inf, b, tid, err)
					: places_find(inf, b->spec, &b->places, err);
	return r < 0 ? r : insert_all(inf, b, err);
}

/* --- those that wait for a library --- */

static int hear_of_libraries(struct inferior *inf, struct err *err)
{
	struct point p = { .kind = POINT_SW, .internal = true, .number = BPOINT_LOADS, .len = 1 };

	if (inf->points.loads_at)
		return 0;
	p.addr = images_loader_hook(inf);
	if (!p.addr)
		return err_set(err, -ENOENT,
			       "the program loads no libraries, or its loader does not say when");
	int r = inf->target->ops->points->insert(inf->target, &p, err);
	if (r == 0)
		inf->points.loads_at = p.addr;
	return r;
}

static void stop_hearing(struct inferior *inf)
{
	struct point p = { .kind = POINT_SW,
			   .internal = true,
			   .number = BPOINT_LOADS,
			   .addr = inf->points.loads_at,
			   .len = 1 };

	for (size_t i = 0; i < inf->points.count; i++)
		if (inf->points.at[i]->pending)
			return;
	if (p.addr)
		(void)inf->target->ops->points->remove(inf->target, &p);
	inf->points.loads_at = 0;
}

/* The first part of the sentence: what to do is being done. */
static void wait_because(struct bpoint *b, const struct err *why, int r)
{
	const char *text = err_text(why, r);

	free(b->why);
	b->why = strndup(text, strcspn(text, ";"));
	b->waits = b->pending = true;
}

static bool same_places(const struct places *a, const struct places *b)
{
	bool same = a->count == b->count;

	for (size_t i = 0; same && i < a->count; i++)
		same = a->at[i].addr == b->at[i].addr;
	return same;
}

/* A library that comes back to where it was has none of our breakpoints in its new pages; they are put in again. */
static int set_again(struct inferior *inf, struct bpoint *b, struct err *err)
{
	struct places now;
	int r = places_find(inf, b->spec, &now, err);

	if (r == 0 && same_places(&now, &b->places)) {
		places_fini(&now);
		for (size_t i = 0; r == 0 && i < b->places.count; i++)
			r = insert_at(inf, b, &b->places.at[i], err);
		if (r < 0)
			be_nowhere(inf, b);
		return r;
	}
	be_nowhere(inf, b);
	if (r < 0)
		return r;
	b->places = now;
	return insert_all(inf, b, err);
}

static void try_again(struct inferior *inf)
{
	for (size_t i = 0; i < inf->points.count; i++) {
		struct bpoint *b = inf->points.at[i];
		struct err err = { 0 };
		if (!b->pending)
			continue;
		int r = b->waits ? set(inf, b, inf->pid, &err) : set_again(inf, b, &err);
		b->waits = false;
		if (r < 0)
			wait_because(b, &err, r);
		log_debug(LOG_POINTS, "breakpoint %u has %zu places", b->number, b->places.count);
	}
}

void bpoints_attend(struct inferior *inf)
{
	struct bpoints *all = &inf->points;

	if (!all->attend || !inf->target->ops->points)
		return;
	all->attend = false;
	if (all->loaded) {
		all->loaded = false;
		try_again(inf);
	}
	for (size_t i = 0; i < all->count; i++)
		if (all->at[i]->trace)
			tracepoint_attend(inf, all->at[i]);
}

/* --- exec --- */

/* An address means something else in another program. */
static bool outlives_exec(const struct bpoint *b)
{
	return b->spec[0] != '*';
}

void bpoints_execed(struct inferior *inf)
{
	struct bpoints *all = &inf->points;

	bpoints_forget_clients(all);
	all->loads_at = 0;
	all->attend = all->loaded = false;
	for (size_t i = all->count; i-- > 0;) {
		struct bpoint *b = all->at[i];
		places_fini(&b->places);
		if (b->trace)
			tracepoint_reset(b->trace);
		if (outlives_exec(b))
			continue;
		bpoints_take_out(all, b);
		bpoint_free(b);
	}
	for (size_t i = 0; inf->target->ops->points && i < all->count; i++) {
		struct bpoint *b = all->at[i];
		struct err err = { 0 };
		int r = set(inf, b, inf->pid, &err);
		b->waits = false;
		if (r < 0)
			wait_because(b, &err, r);
		if (b->pending)
			(void)hear_of_libraries(inf, NULL);
	}
}

/* --- a person's --- */

void bpoints_delete(struct inferior *inf, struct bpoint *b)
{
	remove_places(inf, b);
	bpoints_take_out(&inf->points, b);
	bpoint_free(b);
	stop_hearing(inf);
}

static int fill(struct bpoint *b, const struct bpoint_want *want, struct err *err)
{
	b->kind = want->kind;
	b->trace = want->trace;
	b->thread = want->thread;
	b->rule = want->rule;
	b->point = want->point;
	b->len = want->len;
	b->spec = strdup(want->spec);
	b->condition = want->condition ? strdup(want->condition) : NULL;
	if (!b->spec || (want->condition && !b->condition))
		return err_set(err, -ENOMEM, "no memory for a breakpoint");
	return 0;
}

int bpoints_add(struct inferior *inf, const struct bpoint_want *want, struct bpoint **ret,
		struct err *err)
{
	_cleanup_(bpoint_freep) struct bpoint *b = calloc(1, sizeof(*b));
	struct err why = { 0 };

	if (!b) {
		tracepoint_free(want->trace);
		return err_set(err, -ENOMEM, "no memory for a breakpoint");
	}
	int r = fill(b, want, err);
	if (r == 0 && !inf->target->ops->points)
		r = err_set(err, -EOPNOTSUPP, "no breakpoints can be set here: nothing runs");
	if (r == 0 && !bpoints_append(&inf->points, b))
		r = err_set(err, -ENOMEM, "no room for another breakpoint");
	if (r < 0)
		return r;
	r = set(inf, b, want->tid, &why);
	if (r == -ENOENT && want->pending) {
		wait_because(b, &why, r);
		r = 0;
	}
	if (r == 0 && (b->pending = want->pending))
		r = hear_of_libraries(inf, &why);
	if (r < 0) {
		remove_places(inf, b);
		bpoints_take_out(&inf->points, b);
		inf->points.last--;
		return err_set(err, r, "%s", err_text(&why, r));
	}
	*ret = take_ptr(b);
	return 0;
}

void bpoint_put_watched(struct inferior *inf, const struct bpoint *b, struct buf *out)
{
	_cleanup_free_ struct value_thread *th = calloc(1, sizeof(*th));

	if (!th)
		return;
	th->target = inf->target;
	th->mem = target_mem(inf->target);
	th->go = b->places.count ? b->places.at[0].go : NULL;
	value_put(th, &b->watched, out);
}
