#include "server/handlers.h"
#include "server/resume.h"
#include "server/stopqueue.h"
#include "server/stops.h"

#include <errno.h>

static bool find_last(struct session *s, struct inferior **ret_inf, int64_t *ret_id)
{
	const struct target_event *last = &s->inferiors->last;

	if (!last->target)
		return false;
	*ret_inf = inferior_of(last->target);
	*ret_id = s->inferiors->last_id;
	if (!*ret_id || !threadview_alive((*ret_inf)->view, *ret_id))
		*ret_id = threadview_id_of((*ret_inf)->view, last->tid);
	return threadview_alive((*ret_inf)->view, *ret_id);
}

/* The thread that stopped last, else the first there is. */
static bool find_reported(struct session *s, struct inferior **ret_inf, int64_t *ret_id)
{
	if (find_last(s, ret_inf, ret_id))
		return true;
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		*ret_inf = inf;
		*ret_id = threadview_main(inf->view);
		if (*ret_id)
			return true;
	}
	return false;
}

void on_status(struct session *s, struct args *a)
{
	struct inferior *inf;
	int64_t id;

	(void)a;
	if (s->non_stop) {
		stopqueue_enumerate(s);
		return;
	}
	if (s->running)
		stops_settle(s);
	if (!find_reported(s, &inf, &id)) {
		buf_puts(&s->reply, "W00");
		return;
	}
	session_select(s, inf, id);
	/* gdb's "target remote" reads the list before and after it looks where the program is. */
	s->lists_due = 2;
	stops_put_state(s, inf, id, &s->reply);
}

void on_vcont_query(struct session *s, struct args *a)
{
	(void)s;
	(void)a;
	buf_puts(&s->reply, "vCont;c;C;t");
	/* A client that does not see s here steps by breakpoints of its own. */
	if (!(packets_disabled() & PACKETS_NO_VCONTS))
		buf_puts(&s->reply, ";s;S");
	buf_puts(&s->reply, ";r");
}

void on_vcont(struct session *s, struct args *a)
{
	struct actions list = { 0 };

	/* In non-stop gdb stops threads of a process whose end it has yet to hear of. */
	if (!session_inferior(s) && (!s->non_stop || session_is_lldb(s))) {
		*a = args_of(NULL, 0);
		session_error(s, 1);
		return;
	}
	args_skip(a, ';');
	int r = args_ok(a) ? actions_parse(s, &list, a) : -EINVAL;
	if (r == -EOPNOTSUPP)
		reply_empty(&s->reply);
	else if (r < 0)
		session_error(s, session_is_lldb(s) ? 0x03 : 1);
	else
		resume_threads(s, &list);
	actions_fini(&list);
}

/* --- c, s, C, S: what clients without vCont have --- */

enum { LLDB_NOT_SENT = 0x52 };

static int set_pc(struct inferior *inf, int64_t id, uint64_t pc)
{
	struct view_regs r;
	int e = view_regs_begin(&r, inf->view, id);

	if (e == 0)
		e = view_regs_set(&r, X86_RIP, &pc);
	return e == 0 ? view_regs_flush(&r) : e;
}

/*
 * To gdb the thread Hc chose does it and nobody else moves; with none chosen the current one does it and all others run. To lldb Hc
 * chooses a process, too: all of it continues, and who steps steps alone.
 */
static void resume_one(struct session *s, struct resume *how, struct args *a, bool has_addr)
{
	struct actions list = { 0 };
	struct inferior *inf;
	int64_t id;
	bool lldb = session_is_lldb(s);
	bool alone = lldb ? how->action == RESUME_STEP : s->cont.tid > 0;
	bool chosen = s->cont.tid > 0 || (lldb && s->cont.pid > 0);

	if (!session_find_thread(s, chosen ? s->cont : s->general, &inf, &id)) {
		session_error(s, 1);
		return;
	}
	if (has_addr) {
		uint64_t pc = args_hex_u64(a);
		if (!args_done(a) || set_pc(inf, id, pc) < 0) {
			session_error(s, 1);
			return;
		}
	} else if (!args_done(a)) {
		args_fail(a);
		return;
	}
	struct action one = { .who = session_id(inf, id), .how = *how };
	struct action rest = { .who = { inf->pid, THREADID_ALL } };
	if (actions_add(&list, &one) == 0 && (alone || actions_add(&list, &rest) == 0))
		resume_threads(s, &list);
	else
		session_error(s, ENOMEM);
	actions_fini(&list);
}

static void resume_plain(struct session *s, struct args *a, enum resume_action action)
{
	resume_one(s, &(struct resume){ .action = action }, a, args_left(a) > 0);
}

/* NULL: the signal is for the thread that is resumed. */
static struct inferior *process_to_signal(struct session *s, enum resume_action action)
{
	if (s->client.kind != CLIENT_LLDB || action != RESUME_CONT || s->cont.tid > 0)
		return NULL;
	return s->cont.pid > 0 ? inferiors_by_pid(s->inferiors, s->cont.pid) : session_inferior(s);
}

static void resume_signal(struct session *s, struct args *a, enum resume_action action)
{
	struct resume how = { .action = action };

	how.signo = stop_reply_linux_signal((int)args_hex_max(a, 255), &s->dialect);
	bool has_addr = args_accept(a, ';');
	/* lldb's "process signal": with no thread chosen it is for the process, and may stop it as one from outside would. */
	struct inferior *inf = process_to_signal(s, action);
	if (args_ok(a) && inf && how.signo) {
		if (inf->target->ops->run->send_signal(inf->target, how.signo) < 0) {
			session_error(s, LLDB_NOT_SENT);
			return;
		}
		how.signo = 0;
	}
	if (args_ok(a))
		resume_one(s, &how, a, has_addr);
}

void on_continue(struct session *s, struct args *a)
{
	resume_plain(s, a, RESUME_CONT);
}

void on_step(struct session *s, struct args *a)
{
	resume_plain(s, a, RESUME_STEP);
}

void on_continue_signal(struct session *s, struct args *a)
{
	resume_signal(s, a, RESUME_CONT);
}

void on_step_signal(struct session *s, struct args *a)
{
	resume_signal(s, a, RESUME_STEP);
}

/* --- non-stop --- */

void on_vstopped(struct session *s, struct args *a)
{
	(void)a;
	if (s->non_stop)
		stopqueue_acknowledge(s);
	else
		session_error(s, session_is_lldb(s) ? 0xff : 1);
}

void on_ctrl_c(struct session *s, struct args *a)
{
	(void)a;
	/* In all-stop a stop reply is the answer to a resume, and 0x03 is how to ask for one. */
	if (!s->non_stop) {
		session_error(s, 1);
		return;
	}
	session_interrupt(s);
	reply_ok(&s->reply);
}

void on_non_stop(struct session *s, struct args *a)
{
	args_skip(a, ':');
	bool on = args_hex_max(a, 1) == 1;
	if (!args_done(a) || s->running) {
		args_fail(a);
		return;
	}
	/* From here on one stop reply a resume: nobody may run without one being due. */
	if (!on && s->non_stop) {
		stopqueue_fini(s);
		s->non_stop = false;
		stops_settle(s);
	}
	s->non_stop = s->inferiors->policy.non_stop = on;
	reply_ok(&s->reply);
}

void on_thread_events(struct session *s, struct args *a)
{
	args_skip(a, ':');
	bool on = args_hex_max(a, 1) == 1;
	if (!args_done(a)) {
		args_fail(a);
		return;
	}
	s->thread_events = on;
	session_update_events(s);
	reply_ok(&s->reply);
}

struct option_rule {
	struct threadid who;
	unsigned bits;
};

enum { RULES_MAX = 1024 };

/* "3:p1.2" or "0" */
static bool take_rule(struct args *a, struct option_rule *ret)
{
	ret->bits = (unsigned)args_hex_max(a, THREAD_OPTION_CLONE | THREAD_OPTION_EXIT);
	ret->who = (struct threadid){ THREADID_ALL, THREADID_ALL };
	if (args_accept(a, ':'))
		ret->who = args_thread_id(a);
	return args_ok(a);
}

/* The last rule that covers a thread counts; one that none covers keeps what it has. */
static int apply_rules(struct inferior *inf, const struct option_rule *rules, size_t count)
{
	int64_t id = 0;

	/* What the runtime does with its threads is no news about goroutines. */
	if (threadview_gview(inf->view))
		return 0;
	while (threadview_next(inf->view, id, &id) == 0 && id) {
		size_t i = count;
		while (i > 0 && !threadid_covers(rules[i - 1].who, session_id(inf, id)))
			i--;
		pid_t tid = i ? threadview_tid_of(inf->view, id) : 0;
		struct thread_note *note = tid ? inferior_note(inf, tid) : NULL;
		if (tid && !note && rules[i - 1].bits)
			note = inferior_note_make(inf, tid);
		if (note)
			note->options = rules[i - 1].bits;
		else if (tid && rules[i - 1].bits)
			return -ENOMEM;
	}
	return 0;
}

void on_thread_options(struct session *s, struct args *a)
{
	struct option_rule *rules;
	size_t count = 0;
	int r = 0;

	rules = (void *)buf_reserve(&s->scratch, RULES_MAX * sizeof(*rules));
	while (rules && args_accept(a, ';') && count < RULES_MAX && take_rule(a, &rules[count]))
		count++;
	if (!rules || !args_done(a) || !count) {
		args_fail(a);
		return;
	}
	for (struct inferior *inf = s->inferiors->first; inf && r == 0; inf = inf->next)
		r = apply_rules(inf, rules, count);
	if (r < 0) {
		session_error(s, 1);
		return;
	}
	session_update_events(s);
	reply_ok(&s->reply);
}
