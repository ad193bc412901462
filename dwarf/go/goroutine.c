/* Reading goroutines: one, all, by id. */
#include <errno.h>
#include <string.h>
#include "dwarf/go/internal.h"

enum {
	BATCH = 512,   /* goroutines read at a time */
	GAP_MAX = 512, /* read over so much between two g rather than ask twice */
	RUN_MAX = 64 << 10,
	SCAN_BIT = 0x1000, /* the collector looks at its stack */
};

static const uint64_t GOID_MAX = UINT64_C(1) << 56;

/* ---- one g ---- */

void goroutine_parse(struct go_model *m, uint64_t g, const uint8_t *raw, struct go_goroutine *ret)
{
	const struct go_layout *l = &m->layout;
	size_t size = m->g_size;

	*ret = (struct go_goroutine){
		.g = g,
		.goid = field_u64(raw, size, l->g_goid),
		.stack_lo = field_u64(raw, size, l->g_stack_lo),
		.stack_hi = field_u64(raw, size, l->g_stack_hi),
		.pc = field_u64(raw, size, l->g_sched_pc),
		.sp = field_u64(raw, size, l->g_sched_sp),
		.bp = field_u64(raw, size, l->g_sched_bp),
		.syscall_pc = field_u64(raw, size, l->g_syscallpc),
		.syscall_sp = field_u64(raw, size, l->g_syscallsp),
		.syscall_bp = field_u64(raw, size, l->g_syscallbp),
		.m = field_u64(raw, size, l->g_m),
		.locked_m = field_u64(raw, size, l->g_lockedm),
		.start_pc = field_u64(raw, size, l->g_startpc),
		.go_pc = field_u64(raw, size, l->g_gopc),
		.parent_goid = field_u64(raw, size, l->g_parentgoid),
		.wait_since = field_u64(raw, size, l->g_waitsince),
		.labels = field_u64(raw, size, l->g_labels),
		.ancestors = field_u64(raw, size, l->g_ancestors),
		.panics = field_u64(raw, size, l->g_panic),
		.status =
			(uint8_t)MIN(field_u32(raw, size, l->g_atomicstatus) & ~(uint32_t)SCAN_BIT,
				     UINT32_C(255)),
		.wait_reason = field_u8(raw, size, l->g_waitreason),
	};
}

bool goroutine_plausible(const struct go_model *m, const struct go_goroutine *g)
{
	(void)m;
	if (g->status > GO_DEADEXTRA || g->goid > GOID_MAX || g->m % 8)
		return false;
	if (g->stack_lo > g->stack_hi || g->stack_hi - g->stack_lo > UINT64_C(1) << 40)
		return false;
	return g->stack_hi || g->status == GO_DEAD || g->status == GO_IDLE ||
	       g->status == GO_DEADEXTRA;
}

/* ---- what the M and the start function say ---- */

const struct start_info *start_info(struct go_model *m, uint64_t start_pc)
{
	struct start_info *s = &m->starts[(start_pc >> 4 ^ start_pc >> 12) % START_CACHE];
	if (s->start_pc == start_pc && start_pc)
		return s;

	struct go_func f = go_func_at(m, start_pc);
	*s = (struct start_info){ .start_pc = start_pc, .rt = RT_FUNCS };
	s->name = f.wrapper ? go_func_wrapped(m, &f) : f.name;
	if (f.name && strncmp(f.name, "runtime.", 8) == 0) {
		s->rt = rt_at(m, f.entry);
		s->system =
			s->rt != RT_MAIN && s->rt != RT_COROSTART && s->rt != RT_HANDLEASYNCEVENT;
	}
	return s;
}

/* The goroutines that run finalizers and cleanups are the user's while they run the user's code. */
static bool is_system(struct go_model *m, const struct go_goroutine *g, bool running_cleanups)
{
	const struct start_info *s = start_info(m, g->start_pc);

	if (s->rt == RT_RUNCLEANUPS)
		return !running_cleanups;
	if (s->rt != RT_RUNFINQ && s->rt != RT_RUNFINALIZERS)
		return s->system;
	return g->status == GO_WAITING && strcmp(go_wait_reason(m, g), "finalizer wait") == 0;
}

int m_read(struct go_model *m, struct m_info *ms, size_t count)
{
	const struct go_layout *l = &m->layout;
	size_t size = m->m_size;
	_cleanup_free_ struct mem_span *spans = calloc(count ? count : 1, sizeof(*spans));
	_cleanup_free_ uint8_t *raw = malloc(count ? count * size : 1);

	if (!spans || !raw)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		spans[i] = (struct mem_span){ .addr = ms[i].m + m->m_low,
					      .into = raw + i * size,
					      .len = size };
	int r = mem_read_spans(m->mem, spans, count);
	if (r < 0)
		return r;

	int32_t low = (int32_t)m->m_low;
	for (size_t i = 0; i < count; i++) {
		const uint8_t *p = raw + i * size;
		uint64_t addr = ms[i].m;
		ms[i] = (struct m_info){ .m = addr };
		if (!addr || spans[i].got < size)
			continue;
		ms[i].g0 = field_u64(p, size, l->m_g0 - low);
		ms[i].gsignal = field_u64(p, size, l->m_gsignal - low);
		ms[i].curg = field_u64(p, size, l->m_curg - low);
		ms[i].vdso_sp = l->m_vdsosp < 0 ? 0 : field_u64(p, size, l->m_vdsosp - low);
		ms[i].vdso_pc = l->m_vdsopc < 0 ? 0 : field_u64(p, size, l->m_vdsopc - low);
		uint64_t tid = field_u64(p, size, l->m_procid - low);
		ms[i].tid = tid <= INT32_MAX ? (pid_t)tid : 0;
		ms[i].id = l->m_id < 0 ? -1 : (int64_t)field_u64(p, size, l->m_id - low);
		ms[i].incgo = l->m_incgo >= 0 && field_u8(p, size, l->m_incgo - low);
		ms[i].extra = l->m_isextra >= 0 && field_u8(p, size, l->m_isextra - low);
		ms[i].extra_in_c = l->m_isextrainc >= 0 && field_u8(p, size, l->m_isextrainc - low);
	}
	return 0;
}

static void apply_m(struct go_goroutine *g, const struct m_info *info)
{
	if (!info->g0)
		return;
	g->tid = info->tid;
	g->on_thread = info->curg == g->g;
	if (info->extra_in_c && g->on_thread)
		g->hidden = true;
}

static void finish(struct go_model *m, struct go_goroutine *g, const uint8_t *raw)
{
	bool cleanups = field_u8(raw, m->g_size, m->layout.g_runningcleanups) != 0;

	g->system = is_system(m, g, cleanups);
	if (g->status == GO_IDLE || g->status == GO_DEAD || g->status == GO_DEADEXTRA)
		g->hidden = true;
}

int go_read(struct go_model *m, uint64_t g, struct go_goroutine *ret)
{
	uint8_t raw[4096];
	struct go_goroutine one;

	*ret = (struct go_goroutine){ 0 };
	if (!model_need_allgs(m) || !g || m->g_size > sizeof(raw))
		return 0;
	int r = mem_read(m->mem, g, raw, m->g_size);
	if (r < 0)
		return r == -EFAULT ? 0 : r;
	goroutine_parse(m, g, raw, &one);
	if (!goroutine_plausible(m, &one))
		return 0;
	finish(m, &one, raw);
	if (one.m) {
		struct m_info info = { .m = one.m };
		r = m_read(m, &info, 1);
		if (r < 0)
			return r;
		apply_m(&one, &info);
	}
	*ret = one;
	return 0;
}

/* ---- batches ---- */

struct batch {
	uint64_t addr[BATCH];
	size_t count;
	uint8_t *raw; /* room for all of them with the gaps between */
	size_t raw_size;
	const uint8_t *at[BATCH]; /* NULL: could not be read */
	struct mem_span spans[BATCH];
	size_t span_of[BATCH];
	struct m_info ms[BATCH];
};

static struct batch *batch_new(const struct go_model *m)
{
	struct batch *b = malloc(sizeof(*b));
	if (!b)
		return NULL;
	b->raw_size = (size_t)BATCH * (m->g_size + GAP_MAX);
	b->raw = malloc(b->raw_size);
	if (!b->raw) {
		free(b);
		return NULL;
	}
	return b;
}

static void batch_freep(struct batch **b)
{
	if (*b)
		free((*b)->raw);
	free(*b);
}

/* The g structures of one batch are mostly neighbours: runs of them are read as one piece. */
static size_t batch_plan(struct batch *b, uint32_t g_size)
{
	size_t n_spans = 0;
	uint8_t *room = b->raw;

	for (size_t i = 0; i < b->count; i++) {
		struct mem_span *s = n_spans ? &b->spans[n_spans - 1] : NULL;
		uint64_t end = s ? s->addr + s->len : 0;
		if (s && b->addr[i] >= end && b->addr[i] - end <= GAP_MAX &&
		    s->len + (b->addr[i] - end) + g_size <= RUN_MAX) {
			s->len += (b->addr[i] - end) + g_size;
			room = (uint8_t *)s->into + s->len;
		} else {
			b->spans[n_spans++] = (struct mem_span){ .addr = b->addr[i],
								 .into = room,
								 .len = g_size };
			room += g_size;
		}
		b->span_of[i] = n_spans - 1;
	}
	return n_spans;
}

static int batch_read(struct go_model *m, struct batch *b)
{
	size_t n_spans = batch_plan(b, m->g_size);
	int r = mem_read_spans(m->mem, b->spans, n_spans);
	if (r < 0)
		return r;

	for (size_t i = 0; i < b->count; i++) {
		const struct mem_span *s = &b->spans[b->span_of[i]];
		uint64_t offset = b->addr[i] - s->addr;
		uint8_t *at = (uint8_t *)s->into + offset;
		b->at[i] = offset + m->g_size <= s->got ? at : NULL;
		/* A run broke off before it: it may be readable by itself. */
		if (!b->at[i] && s->len > m->g_size && b->addr[i]) {
			r = mem_read(m->mem, b->addr[i], at, m->g_size);
			if (r < 0 && r != -EFAULT)
				return r;
			b->at[i] = r == 0 ? at : NULL;
		}
	}
	return 0;
}

/* One M for each goroutine that has one; several goroutines may name the same, which costs little.
 */
static int batch_read_ms(struct go_model *m, struct batch *b, struct go_goroutine *gs)
{
	size_t count = 0;

	for (size_t i = 0; i < b->count; i++)
		if (gs[i].g && gs[i].m)
			b->ms[count++].m = gs[i].m;
	int r = count ? m_read(m, b->ms, count) : 0;
	if (r < 0)
		return r;
	count = 0;
	for (size_t i = 0; i < b->count; i++)
		if (gs[i].g && gs[i].m)
			apply_m(&gs[i], &b->ms[count++]);
	return 0;
}

/* ---- walking ---- */

/* The addresses in allgs from this one on, all of them in one read. */
static int allgs_read(struct go_model *m, size_t from, uint64_t **ret, size_t *ret_count)
{
	uint64_t slice[3];
	int r = mem_read(m->mem, m->allgs, slice, sizeof(slice));
	if (r < 0)
		return r;
	if (slice[1] > slice[2] || slice[1] > GO_GOROUTINES_MAX)
		return -EBADMSG;

	size_t count = slice[1] > from ? slice[1] - from : 0;
	_cleanup_free_ uint64_t *list = malloc(count ? count * 8 : 8);
	if (!list)
		return -ENOMEM;
	size_t got = 0;
	if (count) {
		r = mem_read_some(m->mem, slice[0] + from * 8, list, count * 8, &got);
		if (r < 0)
			return r;
	}
	*ret_count = got / 8;
	*ret = take_ptr(list);
	return 0;
}

size_t go_count(struct go_model *m)
{
	uint64_t slice[3];
	if (!model_need_allgs(m) || mem_read(m->mem, m->allgs, slice, sizeof(slice)) < 0 ||
	    slice[1] > slice[2])
		return 0;
	return (size_t)MIN(slice[1], (uint64_t)GO_GOROUTINES_MAX);
}

static int walk_batch(struct go_model *m, unsigned flags, struct batch *b, struct go_goroutine *gs,
		      go_walk_fn *fn, void *ctx)
{
	int r = batch_read(m, b);
	if (r < 0)
		return r;
	for (size_t i = 0; i < b->count; i++) {
		gs[i].g = 0;
		if (b->at[i])
			goroutine_parse(m, b->addr[i], b->at[i], &gs[i]);
		if (!gs[i].g || !goroutine_plausible(m, &gs[i])) {
			gs[i].g = 0;
			m->unreadable++;
			continue;
		}
		finish(m, &gs[i], b->at[i]);
	}
	if (!(flags & GO_WALK_NO_TID)) {
		r = batch_read_ms(m, b, gs);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < b->count; i++) {
		if (!gs[i].g || (gs[i].hidden && !(flags & GO_WALK_ALL)))
			continue;
		r = fn(ctx, &gs[i]);
		if (r)
			return r;
	}
	return 0;
}

static int walk(struct go_model *m, unsigned flags, const uint64_t *list, size_t count,
		go_walk_fn *fn, void *ctx)
{
	_cleanup_(batch_freep) struct batch *b = batch_new(m);
	_cleanup_free_ struct go_goroutine *gs = malloc(BATCH * sizeof(*gs));

	if (!b || !gs)
		return -ENOMEM;
	for (size_t at = 0; at < count; at += b->count) {
		b->count = MIN(count - at, (size_t)BATCH);
		memcpy(b->addr, list + at, b->count * sizeof(*list));
		int r = walk_batch(m, flags, b, gs, fn, ctx);
		if (r)
			return r;
	}
	return 0;
}

int go_walk(struct go_model *m, unsigned flags, go_walk_fn *fn, void *ctx, struct err *err)
{
	_cleanup_free_ uint64_t *list = NULL;
	size_t count = 0;

	if (!go_model_ready(m, err))
		return -ENODATA;
	int r = allgs_read(m, 0, &list, &count);
	if (r < 0)
		return err_set(err, r, "cannot read the list of goroutines at 0x%llx",
			       (unsigned long long)m->allgs);
	m->unreadable = 0;
	r = walk(m, flags, list, count, fn, ctx);
	return r < 0 ? err_set(err, r, "cannot read the goroutines") : r;
}

int go_walk_these(struct go_model *m, unsigned flags, const uint64_t *g, size_t count, size_t from,
		  go_walk_fn *fn, void *ctx)
{
	_cleanup_free_ uint64_t *list = NULL;
	size_t more = 0;

	if (!go_model_ready(m, NULL))
		return -ENODATA;
	int r = walk(m, flags, g, count, fn, ctx);
	if (r == 0)
		r = allgs_read(m, from, &list, &more);
	return r == 0 ? walk(m, flags, list, more, fn, ctx) : r;
}

struct growing {
	struct go_goroutine *list;
	size_t count, room;
};

static int append(void *ctx, const struct go_goroutine *g)
{
	struct growing *to = ctx;
	if (to->count == to->room) {
		size_t room = to->room ? to->room + to->room / 2 : 256;
		struct go_goroutine *more = realloc(to->list, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		to->list = more;
		to->room = room;
	}
	to->list[to->count++] = *g;
	return 0;
}

int go_list(struct go_model *m, unsigned flags, struct go_goroutine **ret, size_t *ret_count,
	    struct err *err)
{
	struct growing to = { NULL, 0, 0 };
	int r = go_walk(m, flags, append, &to, err);
	if (r < 0) {
		free(to.list);
		return r;
	}
	*ret = to.list;
	*ret_count = to.count;
	return 0;
}

/* ---- by id ---- */

static size_t slot_of(const struct goid_index *x, uint64_t goid)
{
	return (goid * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (x->n_slots - 1);
}

static int note_goid(void *ctx, const struct go_goroutine *g)
{
	struct goid_index *x = ctx;
	if (x->count == x->room)
		return 1;
	x->g[x->count] = g->g;
	x->goid[x->count] = g->goid;
	x->count++;
	size_t slot = slot_of(x, g->goid);
	while (x->slots[slot])
		slot = (slot + 1) & (x->n_slots - 1);
	x->slots[slot] = (uint32_t)x->count;
	return 0;
}

static int index_room(struct goid_index *x, size_t count)
{
	if (count > x->room) {
		size_t room = count + count / 4;
		size_t n_slots = 64;
		while (n_slots < room * 2)
			n_slots *= 2;
		uint64_t *g = realloc(x->g, room * sizeof(*g));
		if (g)
			x->g = g;
		uint64_t *goid = realloc(x->goid, room * sizeof(*goid));
		if (goid)
			x->goid = goid;
		uint32_t *slots = realloc(x->slots, n_slots * sizeof(*slots));
		if (slots)
			x->slots = slots;
		if (!g || !goid || !slots) {
			x->room = 0;
			x->n_slots = 0;
			return -ENOMEM;
		}
		x->room = room;
		x->n_slots = n_slots;
	}
	x->count = 0;
	if (x->slots)
		memset(x->slots, 0, x->n_slots * sizeof(*x->slots));
	return 0;
}

static int index_make(struct go_model *m)
{
	struct goid_index *x = &m->index;
	_cleanup_free_ uint64_t *list = NULL;
	size_t count = 0;

	int r = allgs_read(m, 0, &list, &count);
	if (r == 0)
		r = index_room(x, count);
	if (r == 0)
		r = walk(m, GO_WALK_NO_TID, list, count, note_goid, x);
	if (r < 0) {
		x->count = 0;
		x->n_slots = 0;
		x->room = 0;
		return r;
	}
	x->stop = m->stop;
	return 0;
}

static uint64_t index_get(const struct goid_index *x, uint64_t goid)
{
	if (!x->n_slots)
		return 0;
	for (size_t slot = slot_of(x, goid); x->slots[slot]; slot = (slot + 1) & (x->n_slots - 1))
		if (x->goid[x->slots[slot] - 1] == goid)
			return x->g[x->slots[slot] - 1];
	return 0;
}

int go_find(struct go_model *m, uint64_t goid, struct go_goroutine *ret)
{
	*ret = (struct go_goroutine){ 0 };
	if (!model_need_allgs(m) || !goid)
		return 0;

	/* The index of an earlier stop may be out of date: what it says is checked, and made anew
	 * once a stop. */
	for (unsigned attempt = 0; attempt < 2; attempt++) {
		struct go_goroutine g;
		int r = go_read(m, index_get(&m->index, goid), &g);
		if (r < 0)
			return r;
		if (g.g && g.goid == goid && !g.hidden) {
			*ret = g;
			return 0;
		}
		if (m->index.stop == m->stop)
			return 0;
		r = index_make(m);
		if (r < 0)
			return r;
	}
	return 0;
}
