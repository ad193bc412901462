#include "server/handlers.h"

#include <stdio.h>

/* Hg: also chooses the process that memory, breakpoints and auxv mean. */
void on_select_general(struct session *s, struct args *a)
{
	struct threadid id = args_thread_id(a);
	struct inferior *inf;
	int64_t found;

	if (!args_done(a) || !session_find_thread(s, id, &inf, &found)) {
		args_fail(a);
		return;
	}
	s->general = session_id(inf, found);
	reply_ok(&s->reply);
}

/* Hc: what c, s, C and S mean; wildcards stay wildcards. */
void on_select_continue(struct session *s, struct args *a)
{
	struct threadid id = args_thread_id(a);
	struct inferior *inf;
	int64_t found;

	if (!args_done(a) || !session_find_thread(s, id, &inf, &found)) {
		args_fail(a);
		return;
	}
	s->cont = id.tid > 0 ? session_id(inf, found) : (struct threadid){ 0 };
	reply_ok(&s->reply);
}

void on_thread_alive(struct session *s, struct args *a)
{
	struct threadid id = args_thread_id(a);
	struct inferior *inf;
	int64_t found;

	if (!args_done(a) || !session_find_thread(s, id, &inf, &found))
		args_fail(a);
	else
		reply_ok(&s->reply);
}

void on_current_thread(struct session *s, struct args *a)
{
	struct inferior *inf;
	int64_t id;

	if (!session_thread(s, &inf, &id)) {
		args_fail(a);
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
