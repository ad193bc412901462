/*
 * The readers of the runtime's state - the list of goroutines, g and m, wait reasons, labels, ancestors, panics - on memory with changes
 * and holes. The file is right. The input is a list of {what: 1 byte, where: 2 bytes, length: 1 byte, bytes}: bytes written to the
 * writable part, a hole in it (what & 3 == 1), a field of a goroutine set (2), the process lets go on in between (3).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "../unit/go_tiny.h"

enum { HOLES_MAX = 4, LIST_MAX = 4096, WORDS_MAX = 1 << 14 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tiny tiny;
static struct image *img; /* of the file as it was made, once */
static uint8_t file[TINY_SIZE];
static struct hole {
	uint64_t from, to;
} holes[HOLES_MAX];
static size_t n_holes;

static void must(bool right)
{
	if (!right)
		abort();
}

static int holed_read(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	for (size_t i = 0; i < n_holes; i++) {
		if (addr >= holes[i].from && addr < holes[i].to)
			return -EFAULT;
		if (addr < holes[i].from && addr + len > holes[i].from)
			len = (size_t)(holes[i].from - addr);
	}
	return tiny_read(ctx, addr, into, len, ret_got);
}

struct seen {
	struct go_model *m;
	size_t count;
};

static int on_label(void *ctx, const char *key, const char *value)
{
	size_t *n = ctx;
	must(key && value);
	return ++*n > WORDS_MAX;
}

static int on_ancestor(void *ctx, const struct go_ancestor *a)
{
	size_t *n = ctx;
	must(a->n_pcs <= GO_ANCESTOR_PCS_MAX);
	return ++*n > WORDS_MAX;
}

static int on_goroutine(void *ctx, const struct go_goroutine *g)
{
	struct seen *s = ctx;
	struct buf text;
	size_t labels = 0, ancestors = 0;

	must(g->g && g->stack_lo <= g->stack_hi);
	s->count++;
	if (s->count > 8)
		return s->count > LIST_MAX;
	buf_init(&text, 1 << 16);
	const char *reason = go_wait_reason(s->m, g);
	must(reason && strlen(reason) <= REASON_LEN_MAX);
	go_put_state(s->m, g, 1, &text);
	(void)!go_labels(s->m, g, on_label, &labels);
	(void)!go_ancestors(s->m, g, on_ancestor, &ancestors);
	must(labels <= WORDS_MAX && ancestors <= WORDS_MAX);
	(void)!go_put_panics(s->m, g, &text);
	buf_fini(&text);
	return 0;
}

static void ask(struct go_model *m)
{
	const struct go_thread_regs at = { tiny_addr(TINY_TLS), tiny_func("main.main") + 20,
					   tiny_stack(0) - 256, 0 };
	struct seen s = { .m = m };
	struct go_goroutine g;
	struct go_thread thread;
	struct err err = { 0 };

	(void)!go_walk(m, GO_WALK_ALL, on_goroutine, &s, NULL);
	must(s.count <= go_count(m));
	for (uint64_t goid = 0; goid < 4; goid++)
		if (go_find(m, goid, &g) == 0)
			must(!g.g || g.goid == goid);
	must(go_threads(m, &at, 1, &thread) == 0 || n_holes);
	/* Who cannot list goroutines says why: to the asker, and to whoever asks for a description. */
	if (!go_model_ready(m, &err)) {
		struct buf text;
		must(*err_text(&err, 0) != 0);
		buf_init(&text, 1 << 16);
		go_model_describe(m, &text);
		must(text.len > 0);
		buf_fini(&text);
	}
}

/* One change; false: the process runs. */
static bool change(const uint8_t **data, const uint8_t *end)
{
	static const char *const fields[] = { "goid",     "atomicstatus", "waitreason", "m",
					      "labels",   "ancestors",    "_panic",     "stack.lo",
					      "stack.hi", "sched.sp",     "startpc",    "gopc" };
	const uint8_t *at = *data;
	uint64_t where = TINY_DATA + (uint64_t)(at[1] | at[2] << 8) % (TINY_SIZE - TINY_DATA - 64);
	size_t len = MIN((size_t)at[3] % 64, (size_t)(end - at - 4));
	uint64_t value = 0;

	*data = at + 4 + len;
	switch (at[0] & 3) {
	case 0: memcpy(tiny.data + where, at + 4, len); break;
	case 1:
		if (n_holes < HOLES_MAX)
			holes[n_holes++] =
				(struct hole){ tiny_addr(where), tiny_addr(where) + at[3] * 16 };
		break;
	case 2:
		memcpy(&value, at + 4, MIN(len, sizeof(value)));
		tiny_set_g(&tiny, at[1] % 5, fields[at[2] % ARRAY_SIZE(fields)], value);
		break;
	case 3: return false;
	}
	return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = data + size;
	struct go_model *m = NULL;
	unsigned runs = 0;

	tiny_make(&tiny);
	tiny.mem.read = holed_read;
	n_holes = 0;
	if (!img) {
		memcpy(file, tiny.data, sizeof(file));
		must(image_of_bytes(file, sizeof(file), "fuzz", &img, NULL) == 0);
	}
	while (end - data > 4 && change(&data, end))
		;
	must(go_model_open(img, 0, &tiny.mem, &m, NULL) == 0 && m);
	ask(m);
	while (end - data > 4 && runs < 4)
		if (!change(&data, end)) {
			go_model_resumed(m);
			ask(m);
			runs++;
		}
	go_model_resumed(m);
	ask(m);
	go_model_free(m);
	return 0;
}
