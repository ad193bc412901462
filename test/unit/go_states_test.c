/* The model against what a program prints of itself: goroutines, their states and stacks, over every build of the fixture. */
#include "go_live.h"
#include "dwarf/go/internal.h"

enum { DUMPED_MAX = 256, DUMP_FRAMES_MAX = 120 };

struct dumped_frame {
	char name[256];
	char file[256];
	unsigned line;
	bool elided;
};

struct dumped {
	uint64_t goid;
	char state[128];
	struct dumped_frame frames[DUMP_FRAMES_MAX];
	size_t n_frames;
	char creator[256];
	bool seen;
};

static struct dumped dumped[DUMPED_MAX];
static size_t n_dumped;

/* ---- reading runtime.Stack ---- */

static void parse_header(char *line)
{
	struct dumped *d = &dumped[n_dumped++];
	memset(d, 0, sizeof(*d));
	d->goid = strtoull(line + strlen("goroutine "), NULL, 10);
	char *from = strchr(line, '[');
	char *to = strrchr(line, ']');
	assert_true(from && to);
	snprintf(d->state, sizeof(d->state), "%.*s", (int)(to - from - 1), from + 1);
}

static void parse_dump(char *text)
{
	struct dumped_frame *frame = NULL;
	bool creator = false;

	n_dumped = 0;
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
		if (strncmp(line, "goroutine ", 10) == 0) {
			assert_true(n_dumped < DUMPED_MAX);
			parse_header(line);
			creator = false;
			continue;
		}
		struct dumped *d = n_dumped ? &dumped[n_dumped - 1] : NULL;
		if (!d || strcmp(line, "end") == 0)
			continue;
		if (strncmp(line, "created by ", 11) == 0) {
			snprintf(d->creator, sizeof(d->creator), "%s", line + 11);
			d->creator[strcspn(d->creator, " ")] = 0;
			creator = true;
		} else if (line[0] == '\t' && !creator && frame) {
			char *colon = strrchr(line, ':');
			assert_non_null(colon);
			*colon = 0;
			snprintf(frame->file, sizeof(frame->file), "%s", line + 1);
			frame->line = (unsigned)strtoul(colon + 1, NULL, 10);
		} else if (line[0] != '\t' && d->n_frames < DUMP_FRAMES_MAX) {
			frame = &d->frames[d->n_frames++];
			frame->elided = strncmp(line, "...", 3) == 0;
			char *args = strrchr(line, '(');
			if (args)
				*args = 0;
			snprintf(frame->name, sizeof(frame->name), "%s", line);
		}
	}
}

static struct dumped *dumped_of(uint64_t goid)
{
	for (size_t i = 0; i < n_dumped; i++)
		if (dumped[i].goid == goid)
			return &dumped[i];
	return NULL;
}

/* ---- comparing ---- */

/* What runtime.Stack leaves out: the runtime's inner functions and compiler-made wrappers. */
static bool is_shown(struct go_model *m, const struct go_frame *f)
{
	const char *name = f->at.function;
	if (!name || !strchr(name, '.'))
		return false;
	if (strncmp(name, "runtime.", 8) == 0 && !(name[8] >= 'A' && name[8] <= 'Z'))
		return false;
	return f->inlined || !go_func_at(m, f->entry).wrapper;
}

/* Since Go 1.21 the table has the type arguments in full, and the program prints "[...]". */
static const char *as_printed(const char *name)
{
	static char text[512];
	const char *open = strchr(name, '[');
	const char *close = strrchr(name, ']');
	if (!open || !close)
		return name;
	snprintf(text, sizeof(text), "%.*s[...]%s", (int)(open - name), name, close + 1);
	return text;
}

static void compare_frames(struct go_model *m, const struct dumped *d,
			   const struct go_frame *frames, size_t count)
{
	size_t at = 0;
	size_t i = 0;

	/* In a system call the program's own view begins where it entered it; ours is where the thread is. */
	bool in_syscall = strncmp(d->state, "syscall", 7) == 0;
	if (in_syscall)
		while (i < count && strcmp(frames[i].at.function ? frames[i].at.function : "",
					   d->frames[0].name) != 0)
			i++;
	for (; i < count; i++) {
		if (!is_shown(m, &frames[i]))
			continue;
		if (at < d->n_frames ? d->frames[at].elided : at > 90)
			return;
		if (at >= d->n_frames)
			fail_msg("goroutine %lu: frame %s is invented", d->goid,
				 frames[i].at.function);
		const struct dumped_frame *want = &d->frames[at++];
		assert_string_equal(as_printed(frames[i].at.function), want->name);
		assert_non_null(frames[i].at.file);
		assert_string_equal(frames[i].at.file, want->file);
		/* The call that entered the kernel is further down than the one that said so. */
		if (at == 1 && in_syscall)
			continue;
		if (frames[i].at.line != want->line)
			fail_msg("goroutine %lu: %s at line %u, not %u", d->goid, want->name,
				 frames[i].at.line, want->line);
	}
	if (at != d->n_frames && !d->frames[at].elided)
		fail_msg("goroutine %lu: %zu of %zu frames, %s is missing", d->goid, at,
			 d->n_frames, d->frames[at].name);
}

struct round {
	struct live *p;
	struct go_model *m;
	size_t count;
};

static enum go_unwind_end frames_of(struct round *r, const struct go_goroutine *g,
				    struct go_frame *frames, size_t max, size_t *count)
{
	struct go_regs regs;
	struct go_thread_regs thread;
	const struct live_task *t = g->on_thread ? live_task(r->p, g->tid) : NULL;

	if (t)
		thread = live_thread_regs(t);
	if (g->on_thread)
		assert_non_null(t);
	assert_int_equal(go_regs(r->m, g, t ? &thread : NULL, &regs), 0);
	assert_int_not_equal(regs.from, GO_REGS_NONE);
	return go_unwind(r->m, g, &regs, frames, max, count);
}

/* The spinner and the main goroutine were elsewhere when the program looked. */
static bool has_moved(const struct dumped *d)
{
	return d->goid == 1 || strncmp(d->state, "run", 3) == 0;
}

static int compare_one(void *ctx, const struct go_goroutine *g)
{
	struct round *r = ctx;
	static struct go_frame frames[1000];
	size_t count = 0;

	if (g->system)
		return 0;
	r->count++;
	struct dumped *d = dumped_of(g->goid);
	if (!d)
		fail_msg("goroutine %lu (%s) is invented", g->goid, go_start_function(r->m, g));
	assert_false(d->seen);
	d->seen = true;

	struct go_goroutine again;
	assert_int_equal(go_find(r->m, g->goid, &again), 0);
	assert_int_equal(again.g, g->g);
	assert_int_equal(go_read(r->m, g->g, &again), 0);
	assert_int_equal(again.goid, g->goid);

	enum go_unwind_end end = frames_of(r, g, frames, ARRAY_SIZE(frames), &count);
	if (end != GO_UNWIND_DONE)
		fail_msg("goroutine %lu (%s): unwinding ends with %d after %zu frames, %s", g->goid,
			 d->state, end, count, count ? frames[count - 1].at.function : "");
	if (has_moved(d))
		return 0;

	_cleanup_buf_ struct buf state;
	buf_init(&state, 1024);
	go_put_state(r->m, g, live_now(), &state);
	assert_string_equal(buf_cstr(&state), d->state);
	compare_frames(r->m, d, frames, count);
	struct go_line creator = go_creator(r->m, g);
	if (*d->creator)
		assert_string_equal(creator.function, d->creator);
	return 0;
}

static int print_one_label(void *ctx, const char *key, const char *value)
{
	char *text = ctx;
	snprintf(text + strlen(text), 200 - strlen(text), "%s=%s;", key, value);
	return 0;
}

/* The goroutine whose innermost user frame is this function. */
static struct go_goroutine started_with(struct go_model *m, const char *name)
{
	struct go_goroutine *list, found = { 0 };
	size_t count;
	assert_int_equal(go_list(m, 0, &list, &count, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		const char *start = go_start_function(m, &list[i]);
		if (start && strcmp(start, name) == 0)
			found = list[i];
	}
	free(list);
	if (!found.g)
		fail_msg("no goroutine was started with %s", name);
	return found;
}

static void check_details(struct go_model *m)
{
	char text[200] = "";
	struct go_goroutine g = started_with(m, "main.labelled");
	assert_int_equal(go_labels(m, &g, print_one_label, text), 0);
	assert_true(strstr(text, "team=storage;") && strstr(text, "request=42;"));

	g = started_with(m, "main.lockedWaiter");
	assert_true(g.locked_m != 0);
	started_with(m, "main.(*Pool).run");
	started_with(m, "main.receiver");
	g = started_with(m, "main.selector");
	if (go_model_minor(m) >= 21)
		assert_int_equal(g.parent_goid, 1);
	else
		assert_int_equal(g.parent_goid, 0);
	struct go_line at = go_creator(m, &g);
	assert_string_equal(at.function, "main.start");
	assert_true(at.line > 90 && strstr(at.file, "main.go"));
}

static void check_functions(struct go_model *m)
{
	static const char *const names[] = { "main.main", "main.waitDeep", "runtime.gopanic",
					     "fmt.Fprintln" };
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct go_func f = go_func_by_name(m, names[i]);
		assert_non_null(f.name);
		assert_string_equal(f.name, names[i]);
		assert_string_equal(go_func_at(m, f.entry).name, names[i]);
		uint64_t after = go_func_after_prologue(m, &f);
		assert_true(after > f.entry && after < f.end);
		uint64_t low, high;
		assert_true(go_line_range(m, after, &low, &high));
		assert_true(low <= after && after < high);
	}
	assert_null(go_func_by_name(m, "main.nothing").name);
	struct go_fatal_point points[GO_FATAL_POINTS_MAX];
	assert_int_equal(go_fatal_points(m, points), 4);
}

/* All sources of layouts agree, where they have something to say. */
static void check_layouts(struct go_model *m, const char *path)
{
	const struct go_field_def *defs;
	size_t count = go_layout_fields(&defs);
	struct go_layout other;
	unsigned minor;

	assert_non_null(strstr(m->facts[FACT_LAYOUT].how, "type descriptors"));
	assert_true(go_layout_from_table(m->info.minor, 0, &other, &minor));
	for (int source = 0; source < 2; source++) {
		bool stripped = strstr(path, "stripped") != NULL;
		if (source == 0)
			assert_int_equal(go_layout_from_dwarf(m->img, &other), !stripped);
		else
			assert_true(go_layout_from_table(m->info.minor, 0, &other, &minor));
		if (source == 0 ? stripped : minor != m->info.minor)
			continue;
		for (size_t i = 0; i < count; i++)
			if (*go_layout_nth(&m->layout, i) != *go_layout_nth(&other, i))
				fail_msg("%s.%s is at %d by type descriptors, at %d by %s",
					 defs[i].root, defs[i].path, *go_layout_nth(&m->layout, i),
					 *go_layout_nth(&other, i), source ? "table" : "DWARF");
	}
}

static void forget(struct go_model *m)
{
	for (size_t i = FACT_TYPES; i < FACTS; i++)
		m->facts[i].state = FACT_UNTRIED;
	m->allgs_tries = 0;
	m->allgs = 0;
}

/* Each way to the list of goroutines by itself leads to the same place. */
static void check_fallbacks(struct live *p, const char *path)
{
	struct go_model *m = live_model(p);
	assert_true(go_model_ready(m, NULL));
	uint64_t allgs = m->allgs, g_type = m->g_type;

	m->rt_entry[RT_MALG] = 0;
	forget(m);
	assert_true(go_model_ready(m, NULL));
	assert_int_equal(m->g_type, g_type);
	assert_non_null(strstr(m->facts[FACT_LAYOUT].how, "by its name"));

	m->rt_entry[RT_ALLGADD] = 0;
	forget(m);
	assert_true(go_model_ready(m, NULL));
	assert_int_equal(m->allgs, allgs);
	assert_null(strstr(m->facts[FACT_ALLGS].how, "allgadd"));

	memset(&m->md.words[32], 0, sizeof(m->md.words) - 32 * 8);
	forget(m);
	assert_true(go_model_ready(m, NULL));
	assert_int_equal(m->allgs, allgs);
	assert_non_null(
		strstr(m->facts[FACT_LAYOUT].how, strstr(path, "stripped") ? "table" : "DWARF"));
	go_model_free(m);
}

static void check_build(const char *path)
{
	static struct live p;
	struct err err = { 0 };
	struct round r = { .p = &p };

	live_start(&p, path);
	free(live_hear(&p, "ready"));
	live_say(&p, "dump\n");
	char *text = live_hear(&p, "end");
	parse_dump(text);
	free(text);
	usleep(100000);
	live_seize(&p);
	r.m = live_model(&p);

	if (!go_model_ready(r.m, &err))
		fail_msg("%s", err.text);
	assert_int_equal(go_walk(r.m, 0, compare_one, &r, &err), 0);
	for (size_t i = 0; i < n_dumped; i++)
		/* A spare of a C thread that is back in C is nobody's goroutine (the program prints it since 1.22). */
		if (!dumped[i].seen && strcmp(dumped[i].frames[0].name, "runtime.goexit") != 0)
			fail_msg("goroutine %lu [%s] of %s is not found", dumped[i].goid,
				 dumped[i].state, dumped[i].frames[0].name);
	check_details(r.m);
	check_functions(r.m);
	check_layouts(r.m, path);
	check_fallbacks(&p, path);

	_cleanup_buf_ struct buf facts;
	buf_init(&facts, 1 << 16);
	go_model_describe(r.m, &facts);
	const char *told = buf_cstr(&facts);
	if (getenv("STOPGO_GO_TELL"))
		printf("%s", told);
	assert_null(strstr(told, "missing:"));
	assert_null(strstr(told, "not yet:"));
	assert_null(strstr(told, "not where this release"));
	printf("%-28s %zu goroutines as printed\n", live_label(path), r.count);
	go_model_free(r.m);
	live_end(&p);
}

static void every_build_is_as_it_prints(void **state _unused_)
{
	for (size_t i = 0; i < live_n_paths; i++) {
		printf("%s\n", live_label(live_paths[i]));
		fflush(stdout);
		check_build(live_paths[i]);
	}
}

static int check_ancestor(void *ctx, const struct go_ancestor *a)
{
	struct go_model *m = ctx;
	bool in_start = false;

	assert_int_equal(a->goid, 1);
	for (size_t i = 0; i < a->n_pcs; i++) {
		struct go_line at = go_line_at(m, a->pcs[i] - 1);
		in_start |= at.function && strcmp(at.function, "main.start") == 0;
	}
	assert_true(in_start);
	return 7;
}

static void ancestors_are_kept_when_asked_for(void **state _unused_)
{
	setenv("GODEBUG", "tracebackancestors=3", 1);
	for (size_t i = 0; i < live_n_paths; i++) {
		static struct live p;
		live_start(&p, live_paths[i]);
		free(live_hear(&p, "ready"));
		live_seize(&p);
		struct go_model *m = live_model(&p);
		struct go_goroutine g = started_with(m, "main.labelled");
		assert_int_equal(go_ancestors(m, &g, check_ancestor, m), 7);
		go_model_free(m);
		live_end(&p);
	}
	unsetenv("GODEBUG");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_build_is_as_it_prints, live_teardown),
		cmocka_unit_test_teardown(ancestors_are_kept_when_asked_for, live_teardown),
	};
	live_fixtures("states");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
