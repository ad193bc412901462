#include "server/bpoints_internal.h"

#include <inttypes.h>
#include <string.h>

#include "server/session.h"
#include "server/tracing.h"

static const struct place *place_of(const struct bpoint *b, uint64_t addr)
{
	for (size_t i = 0; i < b->places.count; i++)
		if (b->places.at[i].addr == addr)
			return &b->places.at[i];
	return NULL;
}

/* "watchpoint 3 of the server, counter = 7, before main.f at main.go:12": a processor tells behind the access. */
static void describe_watch(struct inferior *inf, const struct bpoint *b, uint64_t pc,
			   struct buf *out)
{
	buf_printf(out, "watchpoint %u of the server, %s = ", b->number, b->spec);
	bpoint_put_watched(inf, b, out);
	buf_puts(out, ", before ");
	places_describe(inf, pc, out);
}

void bpoints_describe_stop(struct inferior *inf, pid_t tid, const struct stop *stop,
			   struct buf *out)
{
	bool may_be = (stop->kind == STOP_SWBREAK || stop->kind == STOP_WATCH) && stop->number;
	const struct bpoint *b = may_be ? bpoints_find(&inf->points, stop->number) : NULL;
	struct user_regs_struct gp;

	if (!b || inf->target->ops->gp_read(inf->target, tid, &gp) < 0)
		return;
	if (b->kind == BPOINT_WATCH) {
		describe_watch(inf, b, gp.rip, out);
		return;
	}
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
	b = bpoints_client_at(&inf->points, POINT_SW, gp.rip);
	return b && b->in;
}

void bpoints_say_stop(struct session *s, struct inferior *inf, pid_t tid, const struct stop *stop)
{
	_cleanup_buf_ struct buf text = { 0 };

	for (size_t i = 0; stop->kind == STOP_EXEC && i < inf->points.count; i++) {
		const struct bpoint *b = inf->points.at[i];
		if (b->waits)
			session_printf(s, "breakpoint %u waits: %s\n", b->number,
				       b->why ? b->why : "");
	}
	buf_init(&text, SESSION_PACKET_MAX / 4);
	bpoints_describe_stop(inf, tid, stop, &text);
	if (!text.len)
		return;
	struct bpoint_thread who = bpoints_thread(inf, tid);
	text.data[0] = (uint8_t)(text.data[0] == 'w' ? 'W' : 'B');
	buf_printf(&text, " (%s %" PRId64 ")\n", who.goroutine ? "goroutine" : "thread", who.id);
	session_console(s, (const char *)text.data, text.len);
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
			   b->rule.each ? " of one goroutine" : "", hit_rule_text(b->rule.op),
			   b->rule.value);
}

static const char *const kinds[] = {
	[BPOINT_BREAK] = "break",
	[BPOINT_TRACE] = "trace",
	[BPOINT_CLIENT] = "client",
	[BPOINT_WATCH] = "watch",
};

static const char *const watch_words[] = {
	[POINT_WRITE] = "written", [POINT_READ] = "read", [POINT_ACCESS] = "read or written"
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
	if (b->kind == BPOINT_WATCH)
		buf_printf(out, ", %" PRIu64 " byte%s %s", b->len, b->len == 1 ? "" : "s",
			   watch_words[b->point]);
	buf_putc(out, '\n');
}

/* "emulated; traps (why)": of a client's, as it was when it was last in. */
static void put_way(struct inferior *inf, struct bpoint *b, struct buf *out)
{
	const struct point_way *way = &b->way;

	if (b->kind == BPOINT_WATCH || !b->places.count)
		return;
	if (b->kind != BPOINT_CLIENT || b->in)
		bpoint_look_at_way(inf, b);
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
		if (bpoint_is_forgotten(b))
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
		if (!b->places.count)
			buf_printf(out, "%-18s  %s: %s\n", "waits", b->spec, b->why ? b->why : "");
		if (b->left_out)
			buf_printf(out, "     not at %zu more: %s\n", b->left_out,
				   b->why ? b->why : "");
		put_conditions(b, out);
		put_way(inf, b, out);
		if (b->trace)
			tracepoint_describe(b->trace, out);
		put_threads(inf, &b->hits, out);
	}
	if (!any)
		buf_puts(out, "no breakpoints\n");
}
