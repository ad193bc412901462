#include "server/goroutines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum {
	DEPTH_DEFAULT = 10,
	DEPTH_MAX = 1000,
	LOCATE_FRAMES = 24, /* looked through for the one in user code */
	AT_FRAMES = 200,    /* looked through for `at FUNC` */
	GROUPS_MAX = 4096,
	PIECE = 64 * 1024,
};

/* --- the words --- */

static char *next_word(char **rest)
{
	return strtok_r(NULL, " \t", rest);
}

static bool is_number(const char *word)
{
	return word && *word && strspn(word, "0123456789") == strlen(word) && strlen(word) < 10;
}

static const char *peek_word(const char *rest, size_t *ret_len)
{
	const char *word = rest + strspn(rest, " \t");
	*ret_len = strcspn(word, " \t");
	return word;
}

static size_t take_number(char **rest, size_t otherwise)
{
	char digits[16];
	size_t len;
	const char *word = peek_word(*rest, &len);

	if (!len || len >= sizeof(digits))
		return otherwise;
	snprintf(digits, sizeof(digits), "%.*s", (int)len, word);
	return is_number(digits) ? (size_t)strtoul(next_word(rest), NULL, 10) : otherwise;
}

static int take_group(char **rest, struct goroutines_query *q, struct err *err)
{
	const char *by = next_word(rest);

	if (by && !strcmp(by, "state"))
		q->group = GROUP_STATE;
	else if (by && !strcmp(by, "func"))
		q->group = GROUP_FUNC;
	else if (by && !strcmp(by, "label"))
		q->group = GROUP_LABEL;
	else
		return err_set(err, -EINVAL, "-g is followed by state, func or label");
	return 0;
}

static int take_label(char **rest, struct goroutines_query *q, struct err *err)
{
	char *word = next_word(rest);
	char *eq = word ? strchr(word, '=') : NULL;

	if (!eq || eq == word)
		return err_set(err, -EINVAL, "label is followed by KEY=VALUE");
	*eq = 0;
	q->label_key = word;
	q->label_value = eq + 1;
	return 0;
}

static int take_word(const char *word, char **rest, struct goroutines_query *q, struct err *err)
{
	if (!strcmp(word, "-r")) {
		q->running = true;
	} else if (!strcmp(word, "-w")) {
		q->waiting = true;
	} else if (!strcmp(word, "-u")) {
		q->user = true;
	} else if (!strcmp(word, "-s")) {
		q->system = true;
	} else if (!strcmp(word, "-t")) {
		q->depth = MIN(take_number(rest, DEPTH_DEFAULT), (size_t)DEPTH_MAX);
	} else if (!strcmp(word, "-g")) {
		return take_group(rest, q, err);
	} else if (!strcmp(word, "label")) {
		return take_label(rest, q, err);
	} else if (!strcmp(word, "at")) {
		q->at = next_word(rest);
		if (!q->at)
			return err_set(err, -EINVAL, "at is followed by a function");
	} else if (is_number(word)) {
		q->limit = (size_t)strtoul(word, NULL, 10);
	} else {
		return err_set(err, -EINVAL, "'%s' is not understood", word);
	}
	return 0;
}

int goroutines_parse(char *words, struct goroutines_query *ret, struct err *err)
{
	char *rest = words, *word;
	int r = 0;

	*ret = (struct goroutines_query){ 0 };
	while (r == 0 && (word = next_word(&rest)))
		r = take_word(word, &rest, ret, err);
	return r;
}

/* --- one goroutine --- */

static int put_label(void *ctx, const char *key, const char *value)
{
	struct buf *out = ctx;
	buf_printf(out, "%s%s=%s", out->len && out->data[out->len - 1] == '{' ? "" : ", ", key,
		   value);
	return 0;
}

void goroutines_put_labels(struct gview *gv, const struct go_goroutine *g, struct buf *out)
{
	size_t before = out->len;

	if (!g->labels)
		return;
	buf_puts(out, " {");
	if (go_labels(gview_model(gv), g, put_label, out) == 0 && out->len > before + 2)
		buf_putc(out, '}');
	else
		out->len = MIN(out->len, before);
}

struct label_wanted {
	const struct goroutines_query *q;
	bool found;
};

static int compare_label(void *ctx, const char *key, const char *value)
{
	struct label_wanted *w = ctx;
	w->found |= !strcmp(key, w->q->label_key) && !strcmp(value, w->q->label_value);
	return 0;
}

static bool has_label(struct gview *gv, const struct go_goroutine *g,
		      const struct goroutines_query *q)
{
	struct label_wanted w = { .q = q };
	return go_labels(gview_model(gv), g, compare_label, &w) == 0 && w.found;
}

static size_t frames_of(struct gview *gv, const struct go_goroutine *g, struct go_frame *frames,
			size_t max)
{
	struct go_regs regs;
	size_t n = 0;

	if (gview_go_regs(gv, g, &regs) == 0)
		(void)go_unwind(gview_model(gv), g, &regs, frames, max, &n);
	return n;
}

/* "main.(*Pool).run" by its full name, "(*Pool).run" or "run". */
static bool is_called(const char *function, const char *wanted)
{
	size_t n = function ? strlen(function) : 0, w = strlen(wanted);

	if (!n || w > n || strcmp(function + n - w, wanted) != 0)
		return false;
	return w == n || function[n - w - 1] == '.' || function[n - w - 1] == '/';
}

static bool is_in(const struct go_frame *frames, size_t n, const char *function)
{
	for (size_t i = 0; i < n; i++)
		if (is_called(frames[i].at.function, function))
			return true;
	return false;
}

static const char *state_name(struct gview *gv, const struct go_goroutine *g)
{
	const char *reason = go_wait_reason(gview_model(gv), g);
	return *reason ? reason : go_status_name(g->status);
}

static void put_frames(const struct go_frame *frames, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++) {
		const struct go_frame *f = &frames[i];
		buf_printf(out, "\t%zu  0x%016llx in %s%s\n", i, (unsigned long long)f->pc,
			   f->at.function ? f->at.function : "??", f->inlined ? " (inlined)" : "");
		if (f->at.file)
			buf_printf(out, "\t    at %s:%u\n", f->at.file, f->at.line);
	}
}

void goroutines_put_stack(struct gview *gv, const struct go_goroutine *g, size_t max,
			  struct buf *out)
{
	_cleanup_free_ struct go_frame *frames = calloc(max + 1, sizeof(*frames));
	size_t n = frames ? frames_of(gv, g, frames, max + 1) : 0;

	put_frames(frames, MIN(n, max), out);
	if (n > max)
		buf_puts(out, "\t... more\n");
}

/* --- all of them --- */

struct group {
	char *name;
	size_t count;
	uint64_t example;
};

struct listing {
	struct gview *gv;
	const struct goroutines_query *q;
	uint64_t selected;
	uint64_t now_ns;
	goroutines_out_fn *out;
	void *ctx;
	struct buf text;
	struct go_frame *frames;
	size_t room;
	size_t shown, matched, not_users;
	struct group *groups;
	size_t n_groups;
};

static void hand_out(struct listing *l, size_t above)
{
	if (l->text.len <= above)
		return;
	l->out(l->ctx, (const char *)l->text.data, l->text.len);
	buf_reset(&l->text);
}

static bool wants_state(const struct listing *l, const struct go_goroutine *g)
{
	const struct goroutines_query *q = l->q;
	bool runs = g->on_thread || g->status == GO_RUNNING;
	bool waits = !runs && (g->status == GO_WAITING || g->status == GO_LEAKED);

	return (!q->running && !q->waiting) || (q->running && runs) || (q->waiting && waits);
}

static bool wants_owner(struct listing *l, const struct go_goroutine *g)
{
	const struct goroutines_query *q = l->q;

	if (g->system && !q->system && !q->user)
		l->not_users++;
	return g->system ? q->system : q->user || !q->system;
}

/* How deep its stack has to be looked at. */
static size_t depth_needed(const struct goroutines_query *q)
{
	size_t depth = q->depth ? q->depth + 1 : 0;

	if (q->at)
		depth = MAX(depth, (size_t)AT_FRAMES);
	if (q->group == GROUP_NONE || q->group == GROUP_FUNC)
		depth = MAX(depth, (size_t)LOCATE_FRAMES);
	return depth;
}

static int add_to_group(struct listing *l, const char *name, uint64_t goid)
{
	size_t i = 0;

	while (i < l->n_groups && strcmp(l->groups[i].name, name) != 0)
		i++;
	if (i == l->n_groups) {
		if (l->n_groups == GROUPS_MAX)
			return 0;
		l->groups[i] = (struct group){ .name = strdup(name), .example = goid };
		if (!l->groups[i].name)
			return -ENOMEM;
		l->n_groups++;
	}
	l->groups[i].count++;
	/* Most are of a few kinds: the common ones are found first. */
	if (i && l->groups[i].count > l->groups[i - 1].count) {
		struct group t = l->groups[i];
		l->groups[i] = l->groups[i - 1];
		l->groups[i - 1] = t;
	}
	return 0;
}

static int group_one(struct listing *l, const struct go_goroutine *g, size_t n)
{
	ssize_t user = go_frame_user(l->frames, n);
	_cleanup_buf_ struct buf name = { 0 };

	if (l->q->group == GROUP_STATE)
		return add_to_group(l, state_name(l->gv, g), g->goid);
	if (l->q->group == GROUP_FUNC) {
		const char *function = user >= 0 ? l->frames[user].at.function : NULL;
		return add_to_group(l, function ? function : "??", g->goid);
	}
	buf_init(&name, 4096);
	goroutines_put_labels(l->gv, g, &name);
	const char *text = buf_cstr(&name);
	return add_to_group(l, text && name.len ? text + 1 : "no labels", g->goid);
}

static void print_one(struct listing *l, const struct go_goroutine *g, size_t n)
{
	ssize_t user = go_frame_user(l->frames, n);
	struct buf *b = &l->text;

	buf_printf(b, "%c Goroutine %llu - ", g->goid == l->selected ? '*' : ' ',
		   (unsigned long long)g->goid);
	if (user >= 0) {
		const struct go_line *at = &l->frames[user].at;
		buf_puts(b, at->function ? at->function : "??");
		if (at->file)
			buf_printf(b, " %s:%u", at->file, at->line);
	} else {
		buf_puts(b, "??");
	}
	buf_puts(b, " [");
	go_put_state(gview_model(l->gv), g, l->now_ns, b);
	buf_puts(b, g->system ? ", system]" : "]");
	pid_t tid = gview_worker(l->gv, g);
	if (tid)
		buf_printf(b, " (thread %d)", (int)tid);
	goroutines_put_labels(l->gv, g, b);
	buf_putc(b, '\n');
	if (l->q->depth) {
		put_frames(l->frames, MIN(n, l->q->depth), b);
		if (n > l->q->depth)
			buf_puts(b, "\t... more\n");
	}
	hand_out(l, PIECE);
}

static int list_one(void *ctx, const struct go_goroutine *g)
{
	struct listing *l = ctx;
	const struct goroutines_query *q = l->q;

	if (!wants_owner(l, g) || !wants_state(l, g) || (q->label_key && !has_label(l->gv, g, q)))
		return 0;
	bool full = q->group == GROUP_NONE && q->limit && l->shown == q->limit;
	if (full && !q->at) {
		l->matched++;
		return 0;
	}
	size_t n = l->room ? frames_of(l->gv, g, l->frames, l->room) : 0;
	if (q->at && !is_in(l->frames, n, q->at))
		return 0;
	l->matched++;
	if (full)
		return 0;
	if (q->group != GROUP_NONE)
		return group_one(l, g, n);
	l->shown++;
	print_one(l, g, n);
	return 0;
}

static int by_count(const void *a, const void *b)
{
	const struct group *x = a, *y = b;
	return x->count != y->count ? (x->count < y->count ? 1 : -1) : strcmp(x->name, y->name);
}

static void print_groups(struct listing *l)
{
	size_t shown = l->q->limit ? MIN(l->q->limit, l->n_groups) : l->n_groups;

	if (l->n_groups)
		qsort(l->groups, l->n_groups, sizeof(*l->groups), by_count);
	for (size_t i = 0; i < shown; i++) {
		const struct group *g = &l->groups[i];
		buf_printf(&l->text, "%8zu  %s (goroutine %llu%s)\n", g->count, g->name,
			   (unsigned long long)g->example, g->count > 1 ? ", ..." : "");
		hand_out(l, PIECE);
	}
	if (shown < l->n_groups)
		buf_printf(&l->text, "%zu groups more\n", l->n_groups - shown);
}

static void print_end(struct listing *l)
{
	buf_printf(&l->text, "[%zu goroutine%s", l->matched, l->matched == 1 ? "" : "s");
	if (l->q->group == GROUP_NONE && l->shown < l->matched)
		buf_printf(&l->text, ", %zu shown", l->shown);
	if (l->not_users)
		buf_printf(&l->text, "; -s: %zu of the runtime's own", l->not_users);
	buf_puts(&l->text, "]\n");
	hand_out(l, 0);
}

static uint64_t clock_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void listing_fini(struct listing *l)
{
	for (size_t i = 0; i < l->n_groups; i++)
		free(l->groups[i].name);
	free(l->groups);
	free(l->frames);
	buf_fini(&l->text);
}

int goroutines_print(struct gview *gv, const struct goroutines_query *q, uint64_t selected,
		     goroutines_out_fn *out, void *ctx, struct err *err)
{
	_cleanup_(listing_fini) struct listing l = {
		.gv = gv, .q = q, .selected = selected, .now_ns = clock_ns(), .out = out, .ctx = ctx
	};

	buf_init(&l.text, PIECE * 16);
	l.room = depth_needed(q);
	l.frames = calloc(l.room + 1, sizeof(*l.frames));
	l.groups = q->group == GROUP_NONE ? NULL : calloc(GROUPS_MAX, sizeof(*l.groups));
	if (!l.frames || (q->group != GROUP_NONE && !l.groups))
		return err_set(err, -ENOMEM, "no memory to list goroutines");
	int r = go_walk(gview_model(gv), 0, list_one, &l, err);
	if (r < 0)
		return r;
	if (q->group != GROUP_NONE)
		print_groups(&l);
	print_end(&l);
	return 0;
}
