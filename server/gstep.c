#include "server/gstep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "server/gview.h"
#include "server/session.h"

enum {
	FRAMES_MAX = 24, /* looked at for places to come back to */
	PLACES_MAX = 3,
	HOLD_MS = 20,
};

void gsteps_fini(struct gsteps *steps)
{
	free(steps->at);
	free(steps->last_words);
	gpoints_forget(&steps->points);
	*steps = (struct gsteps){ 0 };
}

void gsteps_forget(struct gsteps *steps)
{
	steps->count = 0;
	steps->caught = false;
	gpoints_forget(&steps->points);
}

/* --- letting an OS thread run --- */

static void run_thread(struct session *s, struct inferior *inf, pid_t tid, const struct resume *how)
{
	struct thread_note *note = inferior_note(inf, tid);

	if (!note && how->action != RESUME_CONT)
		note = inferior_note_make(inf, tid);
	if (note) {
		note->is_doing = how->action != RESUME_CONT;
		note->doing = *how;
		note->doing.signo = 0;
	}
	threadview_resumed(inf->view);
	inf->target->ops->run->resume(inf->target, tid, how);
	if (s)
		s->tracer->ops->commit(s->tracer, false);
}

static void run_on(struct session *s, struct inferior *inf, pid_t tid)
{
	run_thread(s, inf, tid, &(struct resume){ .action = RESUME_CONT });
}

/* What it was doing before we interfered. */
static void run_again(struct session *s, struct inferior *inf, pid_t tid)
{
	struct thread_note *note = inferior_note(inf, tid);

	if (note && note->is_doing) {
		struct resume how = note->doing;
		run_thread(s, inf, tid, &how);
	} else {
		run_on(s, inf, tid);
	}
}

/* --- steps --- */

static struct gstep *add_step(struct gsteps *steps, const struct gstep *one)
{
	if (steps->count == steps->room) {
		size_t room = steps->room ? steps->room * 2 : 4;
		struct gstep *at = reallocarray(steps->at, room, sizeof(*at));
		if (!at)
			return NULL;
		steps->at = at;
		steps->room = room;
	}
	steps->at[steps->count] = *one;
	return &steps->at[steps->count++];
}

static struct gstep *step_of_thread(struct gsteps *steps, pid_t tid)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->at[i].tid == tid)
			return &steps->at[i];
	return NULL;
}

static void stop_awaiting(struct inferior *inf, const struct gstep *st)
{
	struct gpoints *p = &inf->steps.points;

	gpoints_remove(p, inf->target, GPOINT_AWAIT, st->g);
	gpoints_remove(p, inf->target, GPOINT_GONE, st->g);
	gpoints_remove(p, inf->target, GPOINT_LEFT, st->g);
}

static void add_point(struct inferior *inf, const struct gstep *st, uint64_t addr,
		      enum gpoint_why why, enum gpoint_if when)
{
	struct gpoint one = { .addr = addr, .why = why, .when = when, .g = st->g };
	struct err err = { 0 };
	int r = addr ? gpoints_add(&inf->steps.points, inf->target, &one, &err) : 0;

	if (r < 0)
		log_debug(LOG_GO, "goroutine %llu cannot be awaited at %#llx: %s",
			  (unsigned long long)st->goid, (unsigned long long)addr,
			  err_text(&err, r));
}

static uint64_t entry_of(struct inferior *inf, const char *name)
{
	return go_func_by_name(gview_model(threadview_goroutines(inf->view, NULL)), name).entry;
}

/* The places on its own stack where it goes on: here if it is parked, else in one of the frames it returns to. */
static void await_in_frames(struct inferior *inf, struct gstep *st, const struct go_goroutine *g,
			    const struct go_regs *regs)
{
	struct go_model *m = gview_model(threadview_goroutines(inf->view, NULL));
	struct go_frame frames[FRAMES_MAX];
	uint64_t last = 0;
	size_t n = 0, places = 0;

	(void)go_unwind(m, g, regs, frames, FRAMES_MAX, &n);
	for (size_t i = 0; i < n && places < PLACES_MAX; i++) {
		if (frames[i].pc == last || frames[i].system)
			continue;
		last = frames[i].pc;
		add_point(inf, st, last, GPOINT_AWAIT, GPOINT_ON_STACK);
		places++;
	}
}

static int await(struct inferior *inf, struct gstep *st)
{
	struct gview *gv = threadview_goroutines(inf->view, NULL);
	struct go_goroutine g = gview_goroutine(gv, st->id);
	struct go_regs regs;

	if (g.g != st->g)
		return -ESRCH;
	int r = gview_go_regs(gv, &g, &regs);
	if (r < 0 || regs.from == GO_REGS_NONE)
		return r < 0 ? r : -ENODATA;
	st->depth = g.stack_hi - regs.sp;
	await_in_frames(inf, st, &g, &regs);
	st->interrupted = regs.from == GO_REGS_SIGNAL ? regs.pc : 0;
	/* The handler may have made it look as if it had called this. asyncPreempt, the other one, comes back without a trace. */
	if (st->interrupted)
		add_point(inf, st, entry_of(inf, "runtime.sigpanic"), GPOINT_AWAIT,
			  GPOINT_ON_STACK);
	uint64_t end = entry_of(inf, "runtime.goexit0");
	add_point(inf, st, end ? end : entry_of(inf, "runtime.gdestroy"), GPOINT_GONE, GPOINT_RAX);
	if (st->alone)
		add_point(inf, st, entry_of(inf, "runtime.schedule"), GPOINT_LEFT, GPOINT_ALWAYS);
	return 0;
}

enum gstep_start gstep_begin(struct inferior *inf, int64_t id, pid_t tid, bool alone,
			     struct resume *how)
{
	struct gview *gv = threadview_gview(inf->view);
	struct go_goroutine g = gview_goroutine(gv, id);
	struct gstep one = {
		.id = id, .g = g.g, .goid = g.goid, .how = *how, .alone = alone, .tid = tid
	};

	one.how.hold_signals = true;
	/* A loop on one line may take minutes, and the collector waits for it all the while. Alone nobody waits. */
	one.how.hold_ms = alone ? 0 : HOLD_MS;
	one.how.signo = 0;
	if (!g.g || (tid && how->action == RESUME_CONT))
		return GSTEP_CARRIED;
	if (tid) {
		how->hold_signals = true;
		how->hold_ms = one.how.hold_ms;
		(void)add_step(&inf->steps, &one);
		return GSTEP_CARRIED;
	}
	pid_t worker = gview_worker(gv, &g);
	if (alone && !worker)
		return GSTEP_STUCK;
	struct gstep *st = how->action == RESUME_CONT ? NULL : add_step(&inf->steps, &one);
	if (st) {
		st->left = worker;
		if (await(inf, st) < 0)
			inf->steps.count--;
	}
	if (alone)
		run_on(NULL, inf, worker);
	return GSTEP_STARTED;
}

struct stop gstep_stuck(struct session *s, struct inferior *inf, int64_t id,
			const struct resume *how)
{
	struct gview *gv = threadview_gview(inf->view);
	struct go_goroutine g = gview_goroutine(gv, id);
	_cleanup_buf_ struct buf state = { 0 };

	/* What a client does to get a thread past a breakpoint: it is past it, for it was not there. */
	if (how->action == RESUME_STEP)
		return (struct stop){ .kind = STOP_STEP };
	buf_init(&state, 256);
	go_put_state(gview_model(gv), &g, 0, &state);
	const char *text = buf_cstr(&state);
	session_printf(
		s, "goroutine %llu is not running [%s] and cannot run while all others are held\n",
		(unsigned long long)g.goid, text ? text : "");
	return (struct stop){ .kind = STOP_NONE };
}

void gstep_stopped(struct inferior *inf)
{
	for (size_t i = 0; i < inf->steps.count; i++)
		stop_awaiting(inf, &inf->steps.at[i]);
	inf->steps.count = 0;
}

/* --- events --- */

static bool runs(struct inferior *inf, pid_t tid, const struct gstep *st,
		 struct go_thread_regs *ret_regs, const struct go_thread **ret)
{
	const struct go_thread *at =
		gview_thread(threadview_goroutines(inf->view, NULL), tid, ret_regs);

	*ret = at;
	return at->where == GO_WHERE_GO && at->g.g == st->g && at->g.goid == st->goid;
}

static enum gstep_verdict done(struct target_event *ev, const struct gstep *st, int64_t *ret_id)
{
	ev->stop = (struct stop){ .kind = STOP_STEP, .signo = SIGTRAP };
	*ret_id = st->id;
	return GSTEP_TELL;
}

/* Somebody outside wants to hear of this hit. */
static bool is_asked(const struct stop *stop)
{
	return !stop->unasked || stop->number;
}

/* It is back on its stack: the step is done, unless it only begins now, begins again, or the range goes on. */
static enum gstep_verdict arrived(struct session *s, struct inferior *inf, struct gstep *st,
				  uint64_t pc, struct target_event *ev, int64_t *ret_id)
{
	stop_awaiting(inf, st);
	st->tid = ev->tid;
	/* The client or a person has a breakpoint here as well: that is what is to be heard. */
	if (is_asked(&ev->stop)) {
		*ret_id = st->id;
		return GSTEP_TELL;
	}
	bool in_range = st->how.action == RESUME_RANGE && pc >= st->how.start && pc < st->how.end;
	if (st->begun && !in_range && pc != st->interrupted)
		return done(ev, st, ret_id);
	st->begun = true;
	run_thread(s, inf, ev->tid, &st->how);
	return GSTEP_DONE;
}

/* The OS thread that stepped it is elsewhere: the goroutine has left its stack, and will be back. */
static enum gstep_verdict left(struct session *s, struct inferior *inf, struct gstep *st,
			       struct target_event *ev, int64_t *ret_id)
{
	st->begun = true;
	st->left = st->tid;
	st->tid = 0;
	if (await(inf, st) < 0) {
		*ret_id = 0;
		return GSTEP_TELL;
	}
	run_on(s, inf, ev->tid);
	return GSTEP_DONE;
}

static enum gstep_verdict stepped(struct session *s, struct inferior *inf, struct target_event *ev,
				  int64_t *ret_id)
{
	struct gstep *st = step_of_thread(&inf->steps, ev->tid);
	const struct go_thread *at;

	if (!st)
		return GSTEP_TELL;
	if (!runs(inf, ev->tid, st, NULL, &at))
		return left(s, inf, st, ev, ret_id);
	*ret_id = st->id;
	return GSTEP_TELL;
}

static enum gstep_verdict gone(struct session *s, struct gstep *st, struct target_event *ev)
{
	session_printf(s, "goroutine %llu has ended\n", (unsigned long long)st->goid);
	ev->stop = (struct stop){ .kind = STOP_NONE };
	return GSTEP_TELL;
}

static bool put_message(struct go_model *m, const struct go_fatal_point *at,
			const struct user_regs_struct *gp, struct buf *out)
{
	return go_put_fatal(m, at->kind, gp->rax, gp->rbx, out) == 0 && out->len;
}

static enum gstep_verdict dying(struct session *s, struct inferior *inf, struct target_event *ev,
				const struct user_regs_struct *gp)
{
	struct go_fatal_point points[GO_FATAL_POINTS_MAX];
	struct go_model *m = gview_model(threadview_goroutines(inf->view, NULL));
	size_t n = go_fatal_points(m, points);
	_cleanup_buf_ struct buf text = { 0 };

	buf_init(&text, 64 * 1024);
	for (size_t i = 0; i < n; i++) {
		if (points[i].entry != gp->rip || !put_message(m, &points[i], gp, &text))
			continue;
		if (text.data[text.len - 1] != '\n')
			buf_putc(&text, '\n');
		session_console(s, (const char *)text.data, text.len);
		const char *words = buf_cstr(&text);
		free(inf->steps.last_words);
		inf->steps.last_words = words ? strdup(words) : NULL;
		break;
	}
	/* To a client that has no breakpoint here it is a trap of the program's own. */
	if (ev->stop.unasked)
		ev->stop.own = true;
	return GSTEP_TELL;
}

/* The one that is awaited here and stands on this thread, no deeper than when it left. */
static struct gstep *awaited(struct inferior *inf, pid_t tid, uint64_t pc)
{
	for (size_t i = 0; i < inf->steps.count; i++) {
		struct gstep *st = &inf->steps.at[i];
		const struct gpoint *p = gpoints_find(&inf->steps.points, pc, GPOINT_AWAIT);
		struct go_thread_regs regs;
		const struct go_thread *at;
		if (st->tid || !p || !runs(inf, tid, st, &regs, &at))
			continue;
		bool injected = pc == entry_of(inf, "runtime.sigpanic");
		if (injected || at->g.stack_hi - regs.sp <= st->depth)
			return st;
	}
	return NULL;
}

static struct gstep *step_gone(struct inferior *inf, const struct user_regs_struct *gp)
{
	if (!gpoints_find(&inf->steps.points, gp->rip, GPOINT_GONE))
		return NULL;
	for (size_t i = 0; i < inf->steps.count; i++)
		if (!inf->steps.at[i].tid && inf->steps.at[i].g == gp->rax)
			return &inf->steps.at[i];
	return NULL;
}

static struct gstep *step_parked(struct inferior *inf, pid_t tid, uint64_t pc)
{
	if (!gpoints_find(&inf->steps.points, pc, GPOINT_LEFT))
		return NULL;
	for (size_t i = 0; i < inf->steps.count; i++)
		if (!inf->steps.at[i].tid && inf->steps.at[i].alone && inf->steps.at[i].left == tid)
			return &inf->steps.at[i];
	return NULL;
}

static enum gstep_verdict own_point(struct session *s, struct inferior *inf,
				    struct target_event *ev, int64_t *ret_id)
{
	struct user_regs_struct gp;
	struct gstep *st;

	if (inf->target->ops->gp_read(inf->target, ev->tid, &gp) < 0)
		return GSTEP_TELL;
	if (gpoints_find(&inf->steps.points, gp.rip, GPOINT_CATCH))
		return dying(s, inf, ev, &gp);
	bool moves = gpoints_find(&inf->steps.points, gp.rip, GPOINT_MOVES) &&
		     gwatch_moves(inf, ev->tid, &gp);
	if ((moves || gwatch_moved(inf, ev->tid, &gp)) && !is_asked(&ev->stop)) {
		run_again(s, inf, ev->tid);
		return GSTEP_DONE;
	}
	st = awaited(inf, ev->tid, gp.rip);
	if (st)
		return arrived(s, inf, st, gp.rip, ev, ret_id);
	st = step_gone(inf, &gp);
	if (st)
		return gone(s, st, ev);
	st = step_parked(inf, ev->tid, gp.rip);
	if (st)
		return done(ev, st, ret_id);
	if (is_asked(&ev->stop))
		return GSTEP_TELL;
	run_again(s, inf, ev->tid);
	return GSTEP_DONE;
}

enum gstep_verdict gstep_event(struct session *s, struct inferior *inf, struct target_event *ev,
			       int64_t *ret_id)
{
	*ret_id = 0;
	threadview_resumed(inf->view);
	if (ev->stop.kind == STOP_SWBREAK && ev->stop.internal)
		return own_point(s, inf, ev, ret_id);
	if (ev->stop.kind == STOP_STEP)
		return stepped(s, inf, ev, ret_id);
	return GSTEP_TELL;
}

/* --- catching the program's death --- */

static bool wants(const struct inferior *inf, enum go_fatal kind)
{
	const struct view_policy *p = &inf->all->policy;
	return (kind == GO_FATAL_PANIC && p->catch_panic) ||
	       (kind == GO_FATAL_THROW && p->catch_fatal);
}

void gstep_prepare(struct inferior *inf)
{
	struct go_fatal_point points[GO_FATAL_POINTS_MAX];
	bool asked = inf->all->policy.catch_asked;
	struct gview *gv =
		asked ? threadview_goroutines(inf->view, NULL) : threadview_gview(inf->view);

	if (inf->steps.caught)
		return;
	gpoints_remove(&inf->steps.points, inf->target, GPOINT_CATCH, 0);
	if (!gv)
		return;
	size_t n = go_fatal_points(gview_model(gv), points);
	for (size_t i = 0; i < n; i++) {
		struct gpoint one = { .addr = points[i].entry, .why = GPOINT_CATCH };
		struct err err = { 0 };
		if (!wants(inf, points[i].kind))
			continue;
		int r = gpoints_add(&inf->steps.points, inf->target, &one, &err);
		if (r < 0)
			log_debug(LOG_GO, "%s cannot be caught: %s", points[i].function,
				  err_text(&err, r));
	}
	inf->steps.caught = n > 0;
}

void gstep_say_limit(struct session *s, struct inferior *inf)
{
	struct gview *gv = threadview_gview(inf->view);
	size_t listed;
	int64_t first;

	if (!gv || inf->steps.told_limit ||
	    go_count(gview_model(gv)) <= inf->all->policy.max_goroutines ||
	    gview_next(gv, 0, &first) < 0)
		return;
	/* A brief listing has fewer than there will be when somebody looks. */
	size_t all = gview_left_out(gv, &listed) + listed;
	listed = MAX(listed, MIN(all, inf->all->policy.max_goroutines));
	if (all == listed)
		return;
	inf->steps.told_limit = true;
	session_printf(
		s,
		"%zu goroutines are not listed as threads, %zu are; 'monitor goroutines' shows "
		"all, "
		"'monitor set max-goroutines N' lists more\n",
		all - listed, listed);
}
