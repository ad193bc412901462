#include "server/monitor_go.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "server/gofiles.h"
#include "server/goroutines.h"
#include "server/session.h"

enum { TEXT_MAX = 1024 * 1024, STACK_MAX = 100 };

static char *word(char **rest)
{
	return strtok_r(NULL, " \t", rest);
}

/* The process that is meant, and what is known of its goroutines; NULL: nothing, which has been said. */
static struct gview *goroutines_of(struct session *s, struct inferior **ret_inf)
{
	struct inferior *inf = session_inferior(s);
	struct err err = { 0 };

	if (!inf) {
		session_printf(s, "no process is being debugged\n");
		return NULL;
	}
	struct gview *gv = threadview_goroutines(inf->view, &err);
	if (!gv) {
		session_printf(s, "process %d: %s\n", (int)inf->pid, err_text(&err, -ENODATA));
		return NULL;
	}
	*ret_inf = inf;
	return gv;
}

/* The goroutine of the selected thread; g 0: none. */
static struct go_goroutine selected(struct session *s, struct gview *gv)
{
	struct go_goroutine none = { 0 };
	struct inferior *inf;
	int64_t id;

	if (!session_thread(s, &inf, &id))
		return none;
	pid_t tid = threadview_tid_of(inf->view, id);
	struct go_goroutine g = threadview_gview(inf->view) ? gview_goroutine(gv, id) : none;
	return g.g || !tid ? g : gview_thread(gv, tid, NULL)->g;
}

static void to_console(void *ctx, const char *text, size_t len)
{
	session_console(ctx, text, len);
}

static void print_buf(struct session *s, struct buf *b)
{
	session_console(s, (const char *)b->data, b->len);
}

/* --- goroutines --- */

bool monitor_goroutines(struct session *s, char *rest)
{
	struct goroutines_query q;
	struct err err = { 0 };
	struct inferior *inf;

	if (goroutines_parse(rest, &q, &err) < 0) {
		session_printf(s, "%s\n", err_text(&err, -EINVAL));
		return session_usage(s,
				     "monitor goroutines [-r] [-w] [-u] [-s] [label KEY=VALUE] [at "
				     "FUNC] [-t [DEPTH]]"
				     " [-g state|func|label] [LIMIT]");
	}
	struct gview *gv = goroutines_of(s, &inf);
	if (gv && goroutines_print(gv, &q, selected(s, gv).goid, to_console, s, &err) < 0)
		session_printf(s, "%s\n", err_text(&err, -ENODATA));
	return true;
}

/* --- goroutine N --- */

static void put_line(struct buf *b, const char *what, const struct go_line *at)
{
	buf_printf(b, "  %-9s %s", what, at->function ? at->function : "??");
	if (at->file)
		buf_printf(b, " %s:%u", at->file, at->line);
}

static int put_ancestor(void *ctx, const struct go_ancestor *a)
{
	struct buf *b = ((void **)ctx)[0];
	struct go_model *m = ((void **)ctx)[1];

	buf_printf(b, "Ancestor goroutine %llu:\n", (unsigned long long)a->goid);
	for (size_t i = 0; i < a->n_pcs; i++) {
		struct go_line at = go_line_at(m, a->pcs[i] - 1);
		buf_printf(b, "\t%zu  0x%016llx in %s\n", i, (unsigned long long)a->pcs[i],
			   at.function ? at.function : "??");
		if (at.file)
			buf_printf(b, "\t    at %s:%u\n", at.file, at.line);
	}
	return 0;
}

static uint64_t clock_ns(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static void put_facts(struct gview *gv, const struct go_goroutine *g, struct buf *b)
{
	struct go_model *m = gview_model(gv);
	const char *start = go_start_function(m, g);
	struct go_line created = go_creator(m, g);
	pid_t tid = gview_worker(gv, g);

	buf_printf(b, "Goroutine %llu, started with %s\n", (unsigned long long)g->goid,
		   start ? start : "??");
	buf_puts(b, "  state     ");
	go_put_state(m, g, clock_ns(), b);
	buf_puts(b, g->system ? " (one of the runtime's own)\n" : "\n");
	if (tid)
		buf_printf(b, "  thread    %d\n", (int)tid);
	if (created.function) {
		put_line(b, "created", &created);
		if (g->parent_goid)
			buf_printf(b, ", by goroutine %llu", (unsigned long long)g->parent_goid);
		buf_putc(b, '\n');
	}
	if (g->labels) {
		buf_puts(b, "  labels   ");
		goroutines_put_labels(gv, g, b);
		buf_putc(b, '\n');
	}
	buf_printf(b, "  g         0x%llx\n  stack     0x%llx to 0x%llx\n",
		   (unsigned long long)g->g, (unsigned long long)g->stack_lo,
		   (unsigned long long)g->stack_hi);
	(void)!go_put_panics(m, g, b);
}

bool monitor_goroutine(struct session *s, char *rest)
{
	const char *number = word(&rest);
	struct inferior *inf;
	struct gview *gv = goroutines_of(s, &inf);
	_cleanup_buf_ struct buf b = { 0 };
	struct go_goroutine g;

	buf_init(&b, TEXT_MAX);
	if (number && (strspn(number, "0123456789") != strlen(number) || word(&rest)))
		return session_usage(s, "monitor goroutine [N]");
	if (!gv)
		return true;
	g = selected(s, gv);
	if (number && go_find(gview_model(gv), strtoull(number, NULL, 10), &g) < 0)
		g.g = 0;
	if (!g.g) {
		session_printf(s,
			       number ? "there is no goroutine %s\n"
				      : "the selected thread runs no goroutine%s\n",
			       number ? number : "");
		return true;
	}
	put_facts(gv, &g, &b);
	goroutines_put_stack(gv, &g, STACK_MAX, &b);
	(void)!go_ancestors(gview_model(gv), &g, put_ancestor, (void *[]){ &b, gview_model(gv) });
	print_buf(s, &b);
	return true;
}

/* --- panics --- */

struct panics {
	struct go_model *model;
	struct buf *out;
};

static int put_panics_of(void *ctx, const struct go_goroutine *g)
{
	struct panics *p = ctx;
	_cleanup_buf_ struct buf one = { 0 };

	if (!g->panics)
		return 0;
	buf_init(&one, TEXT_MAX);
	if (go_put_panics(p->model, g, &one) == 0 && one.len) {
		buf_printf(p->out, "goroutine %llu:\n", (unsigned long long)g->goid);
		buf_put(p->out, one.data, one.len);
	}
	return 0;
}

bool monitor_panic(struct session *s, char *rest)
{
	struct inferior *inf;
	struct gview *gv;
	_cleanup_buf_ struct buf b = { 0 };
	struct err err = { 0 };

	buf_init(&b, TEXT_MAX);
	if (word(&rest))
		return session_usage(s, "monitor panic");
	gv = goroutines_of(s, &inf);
	if (!gv)
		return true;
	struct panics p = { gview_model(gv), &b };
	int r = go_walk(p.model, GO_WALK_NO_TID, put_panics_of, &p, &err);
	if (r < 0)
		session_printf(s, "%s\n", err_text(&err, r));
	else if (b.len)
		print_buf(s, &b);
	else
		session_printf(s, "%s",
			       inf->steps.last_words ? inf->steps.last_words
						     : "no goroutine panics\n");
	return true;
}

static int switch_of(const char *text)
{
	if (text && (!strcmp(text, "on") || !strcmp(text, "1")))
		return 1;
	return text && (!strcmp(text, "off") || !strcmp(text, "0")) ? 0 : -1;
}

static void print_syscalls(struct session *s)
{
	struct inferior *inf = session_inferior(s);
	_cleanup_buf_ struct buf b = { 0 };

	buf_init(&b, TEXT_MAX);
	if (inf)
		catching_list(inf, &b);
	print_buf(s, &b);
}

static bool catch_syscall(struct session *s, char *rest)
{
	const char *name = word(&rest);
	int on = switch_of(word(&rest));
	struct inferior *inf = session_inferior(s);
	long number = name ? catching_number(name) : -1;

	if (!name || on < 0 || word(&rest))
		return session_usage(s, "monitor catch syscall NAME|N on|off");
	if (!inf || !inf->target->ops->run) {
		session_printf(s, "no process that runs is being debugged\n");
		session_error(s, 1);
		return true;
	}
	if (number < 0) {
		session_printf(s, "there is no system call '%s'; write a number instead\n", name);
		session_error(s, 1);
		return true;
	}
	if (catching_own(inf, number, on) < 0)
		session_error(s, ENOMEM);
	else
		session_printf(s, "system call %s (%ld) %s\n",
			       catching_name(number) ? catching_name(number) : name, number,
			       on ? "stops the program" : "does not stop the program");
	return true;
}

bool monitor_catch(struct session *s, char *rest)
{
	struct view_policy *p = &s->inferiors->policy;
	const char *what = word(&rest);

	if (!what) {
		session_printf(s, "panic: %s\nfatal: %s\n", p->catch_panic ? "on" : "off",
			       p->catch_fatal ? "on" : "off");
		print_syscalls(s);
		return true;
	}
	if (!strcmp(what, "syscall"))
		return catch_syscall(s, rest);
	int on = switch_of(word(&rest));
	if (on < 0 || word(&rest) || (strcmp(what, "panic") != 0 && strcmp(what, "fatal") != 0))
		return session_usage(s, "monitor catch panic|fatal|syscall NAME|N on|off");
	if (!strcmp(what, "panic"))
		p->catch_panic = on;
	else
		p->catch_fatal = on;
	p->catch_asked = true;
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next)
		inf->steps.caught = false;
	session_printf(s, "%s %s\n",
		       !strcmp(what, "panic") ? "a panic that nobody recovers"
					      : "a fatal error of the Go runtime",
		       on ? "stops the program" : "does not stop the program");
	return true;
}

/* --- what is known --- */

bool monitor_go(struct session *s, char *rest)
{
	struct inferior *inf;
	struct gview *gv;
	_cleanup_buf_ struct buf b = { 0 };

	buf_init(&b, TEXT_MAX);
	if (word(&rest))
		return session_usage(s, "monitor go");
	gv = goroutines_of(s, &inf);
	if (!gv)
		return true;
	go_model_describe(gview_model(gv), &b);
	buf_printf(&b, "  threads: %s, stable stacks %s, at most %zu goroutines listed\n",
		   threadview_gview(inf->view) ? "goroutines"
		   : threadview_needs_all_stop(inf->view)
			   ? "OS threads (goroutines in all-stop mode only)"
			   : "OS threads",
		   s->inferiors->policy.stable_stacks ? "on" : "off",
		   s->inferiors->policy.max_goroutines);
	size_t before = b.len;
	buf_puts(&b, "  ");
	if (!gofiles_put_hint(inf, &b))
		b.len = MIN(b.len, before);
	print_buf(s, &b);
	return true;
}

bool monitor_symbols(struct session *s, char *rest)
{
	struct inferior *inf;
	struct gview *gv;
	struct err err = { 0 };
	const char *path = word(&rest);

	if (!path || *path != '/' || word(&rest))
		return session_usage(s, "monitor symbols /PATH/OF/A/NEW/FILE");
	gv = goroutines_of(s, &inf);
	if (!gv)
		return true;
	int r = gofiles_write(inf, path, &err);
	if (r < 0) {
		session_printf(s, "%s: %s\n", err_text(&err, r), strerror(-r));
		return true;
	}
	session_printf(s,
		       "lldb: target modules add %s\n"
		       "      target modules load --file %s --slide 0x%llx\n"
		       "gdb:  symbol-file %s\n",
		       path, path, (unsigned long long)go_model_bias(gview_model(gv)), path);
	return true;
}

/* --- how it is shown --- */

bool monitor_set_threads(struct session *s, char *rest)
{
	static const char *const names[] = {
		[THREADS_AUTO] = "auto", [THREADS_GOROUTINES] = "goroutines", [THREADS_OS] = "os"
	};
	const char *name = word(&rest);
	struct inferior *inf = session_inferior(s);
	size_t mode = 0;

	while (name && mode < ARRAY_SIZE(names) && strcmp(name, names[mode]) != 0)
		mode++;
	if (!name || mode == ARRAY_SIZE(names) || word(&rest))
		return session_usage(s, "monitor set threads auto|goroutines|os");
	for (struct inferior *each = s->inferiors->first; each; each = each->next)
		threadview_keep_ids(each->view);
	s->inferiors->last_id = 0;
	s->inferiors->policy.mode = (enum threads_mode)mode;
	s->xfer.object = NULL;
	if (!inf)
		return true;
	session_printf(s, "threads are %s\n",
		       threadview_gview(inf->view) ? "goroutines" : "OS threads");
	if (mode == THREADS_GOROUTINES && s->inferiors->policy.non_stop)
		session_printf(s, "goroutines are shown in all-stop mode only\n");
	return true;
}

bool monitor_set_max_goroutines(struct session *s, char *rest)
{
	const char *number = word(&rest);
	bool good = number && strspn(number, "0123456789") == strlen(number) && strlen(number) < 10;

	if (!good || word(&rest) || !strtoul(number, NULL, 10))
		return session_usage(s, "monitor set max-goroutines N");
	s->inferiors->policy.max_goroutines = strtoul(number, NULL, 10);
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		inf->steps.told_limit = false;
		threadview_changed(inf->view);
	}
	session_printf(s, "at most %s goroutines are listed as threads\n", number);
	return true;
}

bool monitor_set_stable_stacks(struct session *s, char *rest)
{
	int on = switch_of(word(&rest));

	if (on < 0 || word(&rest))
		return session_usage(s, "monitor set stable-stacks on|off");
	s->inferiors->policy.stable_stacks = on;
	session_printf(s,
		       on ? "a goroutine's stack has addresses of its own that stay when it moves\n"
			  : "stack addresses are those of the process\n");
	return true;
}
