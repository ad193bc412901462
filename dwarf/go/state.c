/* What a goroutine is doing and where it comes from, in words. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include "dwarf/go/internal.h"

enum {
	LABEL_TEXT_MAX = 1024,
	MAP_BUCKETS_MAX = 64,
	MAP_SLOTS = 8,
	MAP_BUCKET_SIZE = 8 + MAP_SLOTS * 32 + 8,
	MAP_MIN_TOPHASH = 5,
};

static const uint64_t NS_PER_MINUTE = UINT64_C(60000000000);

const char *go_status_name(uint8_t status)
{
	switch (status) {
	case GO_IDLE: return "idle";
	case GO_RUNNABLE: return "runnable";
	case GO_RUNNING: return "running";
	case GO_SYSCALL: return "syscall";
	case GO_WAITING: return "waiting";
	case GO_DEAD: return "dead";
	case GO_COPYSTACK: return "copystack";
	case GO_PREEMPTED: return "preempted";
	case GO_LEAKED: return "leaked";
	case GO_DEADEXTRA: return "dead";
	default: return "unknown";
	}
}

const char *go_wait_reason(struct go_model *m, const struct go_goroutine *g)
{
	if ((g->status != GO_WAITING && g->status != GO_LEAKED) || !model_need_reasons(m) ||
	    g->wait_reason >= m->n_reasons)
		return "";
	return m->reasons[g->wait_reason];
}

uint64_t go_wait_ns(const struct go_goroutine *g, uint64_t now_ns)
{
	if (g->status != GO_WAITING && g->status != GO_SYSCALL && g->status != GO_LEAKED)
		return 0;
	return g->wait_since && now_ns > g->wait_since ? now_ns - g->wait_since : 0;
}

static void put_minutes(uint64_t minutes, struct buf *out)
{
	if (minutes < 120)
		buf_printf(out, ", %" PRIu64 "m", minutes);
	else if (minutes < 48 * 60)
		buf_printf(out, ", %" PRIu64 "h%" PRIu64 "m", minutes / 60, minutes % 60);
	else
		buf_printf(out, ", %" PRIu64 "d%" PRIu64 "h", minutes / 1440, minutes / 60 % 24);
}

void go_put_state(struct go_model *m, const struct go_goroutine *g, uint64_t now_ns,
		  struct buf *out)
{
	const char *reason = go_wait_reason(m, g);

	buf_puts(out, *reason ? reason : go_status_name(g->status));
	if (g->status == GO_LEAKED && *reason)
		buf_puts(out, " (leaked)");
	uint64_t minutes = go_wait_ns(g, now_ns) / NS_PER_MINUTE;
	if (minutes)
		put_minutes(minutes, out);
	if (g->locked_m)
		buf_puts(out, ", locked to thread");
}

const char *go_start_function(struct go_model *m, const struct go_goroutine *g)
{
	return g->start_pc ? start_info(m, g->start_pc)->name : NULL;
}

struct go_line go_creator(struct go_model *m, const struct go_goroutine *g)
{
	return g->go_pc ? go_line_at(m, g->go_pc - 1) : (struct go_line){ 0 };
}

/* ---- labels ---- */

/* A Go string, cut to what the buffer holds. */
static bool string_read(struct go_model *m, const uint64_t header[2], char *into, size_t size)
{
	size_t len = (size_t)MIN(header[1], (uint64_t)size - 1);
	size_t got = 0;

	if (header[1] > INT32_MAX)
		return false;
	if (len && (mem_read_some(m->mem, header[0], into, len, &got) < 0 || got < len))
		return false;
	into[len] = 0;
	return true;
}

static int label_emit(struct go_model *m, const uint64_t pair[4], go_label_fn *fn, void *ctx)
{
	char key[LABEL_TEXT_MAX];
	char value[LABEL_TEXT_MAX];

	if (!string_read(m, pair, key, sizeof(key)) ||
	    !string_read(m, pair + 2, value, sizeof(value)))
		return 0;
	return fn(ctx, key, value);
}

/* Since Go 1.24: a slice of pairs. */
static int labels_of_slice(struct go_model *m, uint64_t labels, go_label_fn *fn, void *ctx)
{
	uint64_t slice[3];
	uint64_t pair[4];

	if (mem_read(m->mem, labels, slice, sizeof(slice)) < 0 || slice[1] > slice[2])
		return 0;
	for (uint64_t i = 0; i < MIN(slice[1], (uint64_t)GO_LABELS_MAX); i++) {
		if (mem_read(m->mem, slice[0] + i * sizeof(pair), pair, sizeof(pair)) < 0)
			return 0;
		int r = label_emit(m, pair, fn, ctx);
		if (r)
			return r;
	}
	return 0;
}

/* A bucket: eight hash bytes, eight keys, eight values, the next bucket. */
static int labels_of_bucket(struct go_model *m, uint64_t addr, size_t *left, go_label_fn *fn,
			    void *ctx)
{
	uint8_t raw[MAP_BUCKET_SIZE];

	while (addr && (*left)-- > 0) {
		if (mem_read(m->mem, addr, raw, sizeof(raw)) < 0)
			return 0;
		for (size_t i = 0; i < MAP_SLOTS; i++) {
			uint64_t pair[4];
			if (raw[i] < MAP_MIN_TOPHASH)
				continue;
			memcpy(pair, raw + 8 + i * 16, 16);
			memcpy(pair + 2, raw + 8 + MAP_SLOTS * 16 + i * 16, 16);
			int r = label_emit(m, pair, fn, ctx);
			if (r)
				return r;
		}
		memcpy(&addr, raw + sizeof(raw) - 8, 8);
		if (!*left)
			break;
	}
	return 0;
}

static int labels_of_buckets(struct go_model *m, uint64_t buckets, unsigned log2, go_label_fn *fn,
			     void *ctx)
{
	size_t left = MAP_BUCKETS_MAX;

	for (uint64_t i = 0; buckets && log2 < 8 && i < UINT64_C(1) << log2 && left; i++) {
		int r = labels_of_bucket(m, buckets + i * MAP_BUCKET_SIZE, &left, fn, ctx);
		if (r)
			return r;
	}
	return 0;
}

/* Until Go 1.23: a pointer to a map[string]string. While it grows, what was not moved yet is in the
 * old buckets. */
static int labels_of_map(struct go_model *m, uint64_t labels, go_label_fn *fn, void *ctx)
{
	uint64_t hmap;
	uint64_t words[5]; /* count; flags, B, ...; buckets; oldbuckets; nevacuate */

	if (mem_read_u64(m->mem, labels, &hmap) < 0 || !hmap ||
	    mem_read(m->mem, hmap, words, sizeof(words)) < 0)
		return 0;
	unsigned log2 = words[1] >> 8 & 0xff;
	int r = labels_of_buckets(m, words[2], log2, fn, ctx);
	if (r == 0 && words[3])
		/* Evacuated slots carry hashes below the least; the same size or half of it. */
		r = labels_of_buckets(m, words[3], words[1] & 8 ? log2 : log2 - !!log2, fn, ctx);
	return r;
}

int go_labels(struct go_model *m, const struct go_goroutine *g, go_label_fn *fn, void *ctx)
{
	if (!g->labels || !m->mem)
		return 0;
	if (m->info.minor && m->info.minor < 24)
		return labels_of_map(m, g->labels, fn, ctx);
	return labels_of_slice(m, g->labels, fn, ctx);
}

/* ---- ancestors ---- */

int go_ancestors(struct go_model *m, const struct go_goroutine *g, go_ancestor_fn *fn, void *ctx)
{
	const struct go_layout *l = &m->layout;
	uint64_t slice[3];

	if (!g->ancestors || !model_need_layout(m) || l->ancestor_pcs < 0 || l->ancestor_goid < 0 ||
	    l->ancestor_gopc < 0)
		return 0;
	uint8_t raw[64];
	size_t size =
		(size_t)MAX(MAX(l->ancestor_pcs + 24, l->ancestor_goid + 8), l->ancestor_gopc + 8);
	if (size > sizeof(raw) || mem_read(m->mem, g->ancestors, slice, sizeof(slice)) < 0 ||
	    slice[1] > slice[2])
		return 0;
	for (uint64_t i = 0; i < MIN(slice[1], (uint64_t)GO_ANCESTORS_MAX); i++) {
		if (mem_read(m->mem, slice[0] + i * size, raw, size) < 0)
			return 0;
		struct go_ancestor a = {
			.goid = field_u64(raw, size, l->ancestor_goid),
			.go_pc = field_u64(raw, size, l->ancestor_gopc),
		};
		uint64_t pcs = field_u64(raw, size, l->ancestor_pcs);
		uint64_t n = MIN(field_u64(raw, size, l->ancestor_pcs + 8),
				 (uint64_t)GO_ANCESTOR_PCS_MAX);
		size_t got = 0;
		if (n && mem_read_some(m->mem, pcs, a.pcs, n * 8, &got) == 0)
			a.n_pcs = got / 8;
		int r = fn(ctx, &a);
		if (r)
			return r;
	}
	return 0;
}
