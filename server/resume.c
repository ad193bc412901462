#include "server/resume.h"
#include "base/log.h"
#include "server/stdio_pty.h"
#include "server/stopqueue.h"
#include "server/stops.h"

#include <errno.h>

void actions_fini(struct actions *list)
{
	free(list->at);
	*list = (struct actions){ 0 };
}

int actions_add(struct actions *list, const struct action *one)
{
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 8;
		struct action *at = realloc(list->at, room * sizeof(*at));
		if (!at)
			return -ENOMEM;
		list->at = at;
		list->room = room;
	}
	list->at[list->count++] = *one;
	return 0;
}

static int parse_signal(struct session *s, struct args *a)
{
	int number = (int)args_hex_max(a, 255);
	int signo = stop_reply_linux_signal(number, &s->dialect);

	/* What Linux does not have cannot be delivered, which is not the same as delivering none. */
	if (number && !signo)
		args_fail(a);
	return signo;
}

/* "c", "C05", "s", "S05", "r1000,1010", "t" */
static int parse_verb(struct session *s, struct args *a, struct action *ret)
{
	char verb = args_char(a);

	switch (verb) {
	case 'c': break;
	case 'C': ret->how.signo = parse_signal(s, a); break;
	case 's': ret->how.action = RESUME_STEP; break;
	case 'S':
		ret->how.action = RESUME_STEP;
		ret->how.signo = parse_signal(s, a);
		break;
	case 'r':
		ret->how.action = RESUME_RANGE;
		ret->how.start = args_hex_u64(a);
		args_skip(a, ',');
		ret->how.end = args_hex_u64(a);
		break;
	case 't': ret->stop = true; break;
	default: return -EOPNOTSUPP;
	}
	return args_done(a) ? 0 : -EINVAL;
}

int actions_parse(struct session *s, struct actions *list, struct args *a)
{
	struct args verb, who;

	while (args_key_value(a, ':', &verb, &who)) {
		struct action one = { .who = { THREADID_ALL, THREADID_ALL } };
		int r = parse_verb(s, &verb, &one);
		if (r < 0)
			return r;
		if (who.data) {
			one.who = args_thread_id(&who);
			if (!args_done(&who))
				return -EINVAL;
		}
		r = actions_add(list, &one);
		if (r < 0)
			return r;
	}
	return args_ok(a) && list->count ? 0 : -EINVAL;
}

/* The process an id is of; a bare id means a thread of the current one, to lldb of the one that Hc chose. */
static struct inferior *process_of(struct session *s, struct threadid who)
{
	int64_t pid = who.pid > 0 ? who.pid : session_is_lldb(s) ? s->cont.pid : 0;
	return pid > 0 ? inferiors_by_pid(s->inferiors, pid) : session_inferior(s);
}

/* A bare id means a thread of the current process; any one thread of a process is its first. */
static int resolve(struct session *s, struct threadid *who)
{
	struct inferior *inf;

	if (who->pid == THREADID_ALL)
		return 0;
	inf = process_of(s, *who);
	if (!inf)
		return -ESRCH;
	who->pid = inf->pid;
	if (who->tid == THREADID_ANY)
		who->tid = threadview_main(inf->view);
	/* In non-stop a thread may end before its client hears of it. */
	if (who->tid != THREADID_ALL && !s->non_stop && !threadview_alive(inf->view, who->tid))
		return -ESRCH;
	return 0;
}

static void note_resume(struct inferior *inf, pid_t tid, const struct action *one)
{
	const struct resume *how = &one->how;
	struct thread_note *note = inferior_note(inf, tid);

	if (!note && how->action != RESUME_CONT)
		note = inferior_note_make(inf, tid);
	if (!note)
		return;
	note->stop_asked = false;
	note->is_doing = how->action != RESUME_CONT;
	note->doing = *how;
	note->doing.signo = 0;
	note->as = MAX(one->who.tid, (int64_t)0);
}

/*
 * The handler of Go's preemption signal is not where a step of lldb's or Delve's leads. It sends the goroutine to the scheduler, from
 * where it does not come back while the client holds all others: lldb resumes one thread alone to a breakpoint at the end of the line.
 * Nor does it belong to the step that a goroutine's name is good for after the views have changed.
 */
static bool holds_preemption(struct session *s, struct inferior *inf, const struct action *one,
			     bool alone)
{
	bool step = one->how.action != RESUME_CONT;
	bool former = one->who.tid > 0 && threadview_is_former(inf->view, one->who.tid);

	return ((step && (session_is_lldb(s) || former)) || alone) && inferior_is_go(inf);
}

static bool start_thread(struct session *s, struct inferior *inf, pid_t tid,
			 const struct action *one, bool alone)
{
	struct action mine = *one;

	/* It has something to tell first. */
	if (s->non_stop && !session_is_lldb(s) &&
	    stopqueue_has(s, inf->pid, threadview_id_of(inf->view, tid)))
		return false;

	if (holds_preemption(s, inf, one, alone))
		mine.how.hold_signals = true;
	int r = inf->target->ops->run->resume(inf->target, tid, &mine.how);
	if (r == -EBUSY)
		return false;
	note_resume(inf, tid, &mine);
	inf->fresh = false;
	/* One that is gone has its end to tell. */
	return true;
}

static void stop_thread(struct session *s, struct inferior *inf, pid_t tid)
{
	struct thread_info info;
	struct target *t = inf->target;

	if (!s->non_stop || t->ops->thread_info(t, tid, &info) < 0 || info.stopped)
		return;
	struct thread_note *note = inferior_note_make(inf, tid);
	if (note)
		note->stop_asked = true;
	t->ops->run->interrupt(t, tid);
}

static bool is_about(const struct action *one, const struct inferior *inf)
{
	return one->who.pid == THREADID_ALL || one->who.pid == inf->pid;
}

/* The leftmost that covers this OS thread, by who it is or by a wildcard. */
static const struct action *action_of(const struct actions *list, const struct inferior *inf,
				      pid_t tid)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct action *one = &list->at[i];
		if (is_about(one, inf) && (one->who.tid <= 0 || one->tid == tid))
			return one;
	}
	return NULL;
}

static bool runs_the_rest(const struct actions *list, const struct inferior *inf)
{
	for (size_t i = 0; i < list->count; i++)
		if (is_about(&list->at[i], inf) && list->at[i].who.tid <= 0 && !list->at[i].stop)
			return true;
	return false;
}

/* Who carries whom is asked before anybody is started: then it changes. */
static void find_carriers(struct inferior *inf, struct actions *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->at[i].who.pid == inf->pid && list->at[i].who.tid > 0)
			list->at[i].tid = threadview_tid_of(inf->view, list->at[i].who.tid);
}

/* Goroutines that are named: one that runs nowhere at the moment cannot be started by its OS thread. */
static size_t begin_goroutines(struct inferior *inf, struct actions *list,
			       struct action **ret_stuck)
{
	bool alone = !runs_the_rest(list, inf);
	size_t started = 0;

	if (!threadview_gview(inf->view))
		return 0;
	for (size_t i = 0; i < list->count; i++) {
		struct action *one = &list->at[i];
		if (one->who.pid != inf->pid || one->who.tid <= 0 || one->stop)
			continue;
		enum gstep_start how = gstep_begin(inf, one->who.tid, one->tid, alone, &one->how);
		started += how == GSTEP_STARTED;
		if (how == GSTEP_STUCK)
			*ret_stuck = one;
	}
	return started;
}

static size_t apply(struct session *s, struct inferior *inf, struct actions *list,
		    struct action **ret_stuck)
{
	struct target *t = inf->target;
	bool alone = !s->non_stop && list->count == 1 && !runs_the_rest(list, inf);
	pid_t tid = 0;

	find_carriers(inf, list);
	gstep_prepare(inf);
	size_t started = begin_goroutines(inf, list, ret_stuck);
	while (t->ops->next_thread(t, tid, &tid) == 0 && tid) {
		const struct action *one = action_of(list, inf, tid);
		if (!one)
			continue;
		if (one->stop)
			stop_thread(s, inf, tid);
		else
			started += start_thread(s, inf, tid, one, alone);
	}
	return started;
}

static bool runs(struct inferior *inf)
{
	struct thread_info info;
	pid_t tid = 0;

	while (inf->target->ops->next_thread(inf->target, tid, &tid) == 0 && tid)
		if (inf->target->ops->thread_info(inf->target, tid, &info) == 0 && !info.stopped)
			return true;
	return false;
}

static bool names(struct session *s, const struct action *a, const struct inferior *inf)
{
	return a->who.pid == THREADID_ALL || process_of(s, a->who) == inf;
}

/*
 * lldb's non-stop (stops.c): a process runs or stands still as a whole, so one that runs cannot be resumed and no single thread
 * stopped. In all-stop one process is resumed, for the reply is of one. The numbers are lldb-server's.
 */
static int refuse_for_lldb(struct session *s, const struct actions *list)
{
	size_t processes = 0;

	for (size_t i = 0; i < list->count; i++)
		if (list->at[i].stop && list->at[i].who.tid > 0)
			return 0x03;
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		bool named = false, resumed = false;
		for (size_t i = 0; i < list->count; i++) {
			bool mine = names(s, &list->at[i], inf);
			named |= mine;
			resumed |= mine && !list->at[i].stop;
		}
		processes += named;
		if (s->non_stop && resumed && runs(inf))
			return 0x37;
		if (s->non_stop && resumed)
			stopqueue_forget(s, inf->pid);
	}
	return processes > 1 && !s->non_stop ? 0x03 : 0;
}

static void tell_stuck(struct session *s, const struct action *one)
{
	struct inferior *inf = inferiors_by_pid(s->inferiors, one->who.pid);
	struct stop stop = gstep_stuck(s, inf, one->who.tid, &one->how);

	s->quiet = true;
	stops_tell(s, inf, one->who.tid, &stop);
}

/* gdb steps one thread past a breakpoint and then resumes all that ran before. */
static void note_step_past(struct session *s, const struct actions *list)
{
	const struct inferior *begun = inferiors_by_pid(s->inferiors, s->inferiors->begun);
	const struct action *one = &list->at[0];

	s->steps_past = s->begun_runs && begun && list->count == 1 && one->who.tid > 0 &&
			one->how.action == RESUME_STEP && !is_about(one, begun);
	if (s->steps_past)
		return;
	s->begun_runs = false;
	for (size_t i = 0; i < list->count; i++)
		s->begun_runs |= begun && is_about(&list->at[i], begun);
}

void resume_threads(struct session *s, struct actions *list)
{
	struct action *stuck = NULL;
	size_t started = 0, absent = 0;
	int refusal = session_is_lldb(s) ? refuse_for_lldb(s, list) : 0;

	if (refusal) {
		session_error(s, refusal);
		return;
	}
	if (s->running) {
		session_error(s, 1);
		return;
	}
	/* One that has just ended, and its client has yet to hear of it, is passed over. */
	for (size_t i = 0; i < list->count; i++)
		absent += resolve(s, &list->at[i].who) < 0;
	s->resumed = true;
	note_step_past(s, list);
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next)
		bpoints_resumed(inf);
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next)
		if (inf->target->ops->run)
			started += apply(s, inf, list, &stuck);
	if (!started && stuck) {
		tell_stuck(s, stuck);
		return;
	}
	/* When only such were named commit() finds that nobody was resumed and says so. */
	if (!s->non_stop && !started && !absent && !session_is_lldb(s)) {
		session_error(s, 1);
		return;
	}
	stdio_pty_hold(s->inferiors->pty, false);
	if (!s->non_stop) {
		s->inferiors->last = (struct target_event){ 0 };
		s->running = true;
		s->quiet = true;
	} else {
		reply_ok(&s->reply);
	}
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		if (threadview_gview(inf->view) && !s->signals_of_go)
			session_update_signals(s);
		threadview_resumed(inf->view);
	}
	s->tracer->ops->commit(s->tracer, !s->non_stop);
}
