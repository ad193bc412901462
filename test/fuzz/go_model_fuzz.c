/*
 * A made-up Go program with changes: the input is a list of {offset: 4 bytes, length: 1 byte (1 to 16), bytes}. All that the
 * model can be asked is asked, before and after the second half of the changes (the program "ran" in between).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "../unit/go_tiny.h"
#include "dwarf/go/symfile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tiny tiny;

static int on_label(void *ctx _unused_, const char *key, const char *value)
{
	return key == value;
}

static int on_ancestor(void *ctx _unused_, const struct go_ancestor *a)
{
	return a->n_pcs > GO_ANCESTOR_PCS_MAX;
}

static void unwind_all(struct go_model *m, const struct go_goroutine *g,
		       const struct go_thread_regs *at)
{
	static struct go_frame frames[200];
	struct go_regs regs;
	size_t n = 0;

	if (go_regs(m, g, at, &regs) < 0)
		abort();
	(void)go_unwind(m, g, &regs, frames, ARRAY_SIZE(frames), &n);
	if (n > ARRAY_SIZE(frames))
		abort();
	(void)go_frame_user(frames, n);
}

static int on_goroutine(void *ctx, const struct go_goroutine *g)
{
	struct go_model *m = ctx;
	struct go_thread_regs at = { tiny_addr(TINY_TLS), tiny_func("main.main"), g->sp, 0 };
	struct buf text;

	buf_init(&text, 1 << 16);
	go_put_state(m, g, 1, &text);
	(void)!go_labels(m, g, on_label, NULL);
	(void)!go_ancestors(m, g, on_ancestor, NULL);
	(void)!go_put_panics(m, g, &text);
	go_put_value(m, g->labels, g->ancestors, &text);
	(void)go_start_function(m, g);
	(void)go_creator(m, g);
	unwind_all(m, g, NULL);
	unwind_all(m, g, &at);
	buf_fini(&text);
	return 0;
}

static void ask_threads(struct go_model *m)
{
	static struct go_frame frames[200];
	struct go_thread_regs at[5];
	struct go_thread threads[5];
	size_t n;

	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		at[i] = (struct go_thread_regs){ tiny_addr(TINY_TLS),
						 tiny_func("main.main") + 20 * i,
						 tiny_stack(i) - 256, 0 };
	if (go_threads(m, at, ARRAY_SIZE(at), threads) < 0)
		abort();
	for (size_t i = 0; i < ARRAY_SIZE(at); i++)
		(void)go_unwind_thread(m, &threads[i], &at[i], frames, ARRAY_SIZE(frames), &n);
}

static void ask(struct go_model *m)
{
	struct go_goroutine g;
	struct go_line lines[8];
	struct buf text;
	uint64_t low, high;

	buf_init(&text, 1 << 20);
	go_model_describe(m, &text);
	(void)!go_walk(m, GO_WALK_ALL, on_goroutine, m, NULL);
	for (uint64_t goid = 0; goid < 4; goid++)
		(void)!go_find(m, goid, &g);
	ask_threads(m);
	for (size_t i = 0; i < TINY_FUNCS; i++) {
		struct go_func f = go_func_by_name(m, tiny_funcs[i]);
		if (f.name)
			(void)go_func_after_prologue(m, &f);
		uint64_t pc = tiny_addr(TINY_TEXT + i * TINY_FUNC_SIZE + 40);
		(void)go_lines_at(m, pc, lines, ARRAY_SIZE(lines));
		(void)go_line_range(m, pc, &low, &high);
	}
	struct go_fatal_point points[GO_FATAL_POINTS_MAX];
	(void)go_fatal_points(m, points);
	(void)!go_put_fatal(m, GO_FATAL_PANIC, tiny_addr(TINY_PANIC), 0, &text);
	(void)!go_put_fatal(m, GO_FATAL_THROW, tiny_addr(TINY_PANIC), 100, &text);
	buf_fini(&text);
}

static const uint8_t *change(const uint8_t *at, const uint8_t *end)
{
	while (end - at > 5) {
		uint32_t offset;
		memcpy(&offset, at, 4);
		size_t len = at[4] % 16 + 1;
		at += 5;
		if ((size_t)(end - at) < len)
			return end;
		offset %= TINY_SIZE - 16;
		memcpy(tiny.data + offset, at, len);
		at += len;
	}
	return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *img = NULL;
	struct go_model *m = NULL;

	tiny_make(&tiny);
	change(data, data + size / 2);
	/* The file's headers are read once; its bytes are those of the memory. */
	if (image_of_bytes(tiny.data, sizeof(tiny.data), "fuzz", &img, NULL) == 0 &&
	    go_model_open(img, 0, &tiny.mem, &m, NULL) == 0 && m) {
		ask(m);
		change(data + size / 2, data + size);
		go_model_resumed(m);
		ask(m);
		struct buf file;
		struct go_symfile_join join;
		(void)!go_symfile_build(m, &file, NULL);
		buf_fini(&file);
		(void)!go_symfile_join(m, &join, NULL);
		buf_fini(&join.tail);
	}
	go_model_free(m);
	image_free(img);
	return 0;
}
