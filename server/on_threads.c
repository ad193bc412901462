#include "server/handlers.h"

#include <stdio.h>

/* What is wrong with an id. lldb and Delve expect lldb-server's numbers; gdb looks at none. */
enum id_error {
	ID_ERROR = 1,
	ID_NO_PROCESS = 0xff, /* or an id that is none */
	ID_NO_THREAD = 0x15,
	ALIVE_NO_PROCESS = 1,
	ALIVE_NO_THREAD = 2,
	NO_CURRENT = 0x44,
};

static void refuse_id(struct session *s, struct args *a, int no_process, int no_thread,
		      struct threadid id)
{
	bool known = args_done(a) &&
		     (id.pid > 0 ? inferiors_by_pid(s->inferiors, id.pid) : session_inferior(s));

	*a = args_of(NULL, 0); /* its error is made here */
	session_error(s, !session_is_lldb(s) ? ID_ERROR : known ? no_thread : no_process);
}

/* The thread of Hg and Hc. False: refused. */
static bool take_selected(struct session *s, struct args *a, struct threadid *ret,
			  struct inferior **ret_inf, int64_t *ret_id)
{
	bool named = args_peek(a) == 'p';

	*ret = args_thread_id(a);
	/* lldb-server has no process 0 that stands for any. */
	if (named && !ret->pid && session_is_lldb(s))
		args_fail(a);
	if (args_done(a) && session_find_thread(s, *ret, ret_inf, ret_id))
		return true;
	refuse_id(s, a, ID_NO_PROCESS, ID_NO_THREAD, *ret);
	return false;
}

/*
 * gdb looks at no answer to Hg. What it writes next is for this process, although its thread has ended: it must not go to the
 * one that was chosen before.
 */
static void select_process_of(struct session *s, struct threadid id)
{
	if (session_is_lldb(s) || id.pid <= 0 || id.pid == s->general.pid ||
	    !inferiors_by_pid(s->inferiors, id.pid))
		return;
	s->general = (struct threadid){ .pid = id.pid, .tid = THREADID_ANY };
}

/* Hg: also chooses the process that memory, breakpoints and auxv mean. */
void on_select_general(struct session *s, struct args *a)
{
	struct threadid id;
	struct inferior *inf;
	int64_t found;

	if (!take_selected(s, a, &id, &inf, &found)) {
		select_process_of(s, id);
		return;
	}
	s->general = session_id(inf, found);
	reply_ok(&s->reply);
}

/* Hc: what c, s, C and S mean; wildcards stay wildcards, to lldb those of one process. */
void on_select_continue(struct session *s, struct args *a)
{
	struct threadid id;
	struct inferior *inf;
	int64_t found;

	if (!take_selected(s, a, &id, &inf, &found))
		return;
	if (id.tid > 0)
		s->cont = session_id(inf, found);
	else
		s->cont = (struct threadid){ .pid = session_is_lldb(s) ? inf->pid : 0 };
	reply_ok(&s->reply);
}

void on_thread_alive(struct session *s, struct args *a)
{
	struct threadid id = args_thread_id(a);
	struct inferior *inf;
	int64_t found;

	if (args_done(a) && session_find_thread(s, id, &inf, &found))
		reply_ok(&s->reply);
	else
		refuse_id(s, a, ALIVE_NO_PROCESS, ALIVE_NO_THREAD, id);
}

void on_current_thread(struct session *s, struct args *a)
{
	struct inferior *inf;
	int64_t id;

	(void)a;
	if (!session_thread(s, &inf, &id)) {
		session_error(s, session_is_lldb(s) ? NO_CURRENT : ID_ERROR);
		return;
	}
	buf_puts(&s->reply, "QC");
	session_put_id(s, inf, id);
}

/* As many ids as fit one packet, from where the last packet ended. */
static void put_threads(struct session *s)
{
	char sep = 'm';

	for (; s->listing.pid; s->listing = (struct threadid){ 0 }) {
		struct inferior *inf = inferiors_by_pid(s->inferiors, s->listing.pid);
		while (inf) {
			int64_t id = s->listing.tid;
			while (threadview_next(inf->view, id, &id) == 0 && id) {
				if (s->reply.len > SESSION_PACKET_MAX - 64)
					return;
				buf_putc(&s->reply, (uint8_t)sep);
				sep = ',';
				session_put_id(s, inf, id);
				s->listing.tid = id;
			}
			inf = inf->next;
			if (inf)
				s->listing = session_id(inf, 0);
		}
	}
	if (sep == 'm')
		buf_putc(&s->reply, 'l');
}

void on_first_threads(struct session *s, struct args *a)
{
	(void)a;
	/* To an end of the list alone lldb says that there must be a process 1. */
	if (!s->inferiors->first && session_is_lldb(s)) {
		reply_ok(&s->reply);
		return;
	}
	s->listing = (struct threadid){ s->inferiors->first ? s->inferiors->first->pid : 0, 0 };
	put_threads(s);
}

void on_next_threads(struct session *s, struct args *a)
{
	(void)a;
	put_threads(s);
}

void on_thread_extra(struct session *s, struct args *a)
{
	struct view_thread about;
	struct inferior *inf;
	int64_t id;
	char text[sizeof(about.name) + sizeof(about.extra) + 4];

	args_skip(a, ',');
	struct threadid which = args_thread_id(a);
	if (!args_done(a) || !session_find_thread(s, which, &inf, &id) ||
	    threadview_describe(inf->view, id, &about) < 0) {
		args_fail(a);
		return;
	}
	snprintf(text, sizeof(text), "%s%s%s", about.name,
		 about.name[0] && about.extra[0] ? ": " : "", about.extra);
	reply_hex_text(&s->reply, text);
}
