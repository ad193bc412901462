#include "server/waiting.h"

#include <errno.h>

#include "server/findproc.h"
#include "server/handlers.h"
#include "server/loop.h"
#include "server/server.h"

enum { POLL_MS = 5 };

struct waiting {
	struct session *session;
	struct timer timer;
	struct findproc who;
};

void waiting_free(struct session *s)
{
	struct waiting *w = s->waiting;

	if (!w)
		return;
	timer_stop(&w->timer);
	findproc_fini(&w->who);
	free(w);
	s->waiting = NULL;
}

bool waiting_cancel(struct session *s)
{
	if (!s->waiting)
		return false;
	waiting_free(s);
	session_error_text(s, 1, "interrupted while waiting for the process");
	session_send_reply(s);
	return true;
}

static void look(void *ctx)
{
	struct waiting *w = ctx;
	struct session *s = w->session;
	pid_t pid = findproc_poll(&w->who);

	if (!pid) {
		timer_start(s->server->loop, &w->timer, POLL_MS, look, w);
		return;
	}
	waiting_free(s);
	buf_reset(&s->reply);
	launch_attach(s, pid);
	session_send_reply(s);
}

static void wait_for(struct session *s, const char *name)
{
	struct waiting *w = calloc(1, sizeof(*w));
	int r = w ? findproc_begin(&w->who, name) : -ENOMEM;

	if (r < 0 || !s->server->loop) {
		if (w)
			findproc_fini(&w->who);
		free(w);
		session_error(s, 1);
		return;
	}
	waiting_free(s);
	w->session = s;
	s->waiting = w;
	s->quiet = true;
	timer_start(s->server->loop, &w->timer, POLL_MS, look, w);
}

static const char *take_name(struct session *s, struct args *a)
{
	args_skip(a, ';');
	const char *name = args_hex_text(a, &s->scratch);
	if (!args_done(a) || !name || !name[0])
		args_fail(a);
	return args_ok(a) ? name : NULL;
}

void on_attach_name(struct session *s, struct args *a)
{
	const char *name = take_name(s, a);
	struct err err = { 0 };
	pid_t pid;

	if (!name)
		return;
	if (findproc_by_name(name, &pid, &err) < 0)
		session_error_from(s, 1, &err);
	else
		launch_attach(s, pid);
}

void on_attach_wait(struct session *s, struct args *a)
{
	const char *name = take_name(s, a);
	if (name)
		wait_for(s, name);
}

void on_attach_or_wait(struct session *s, struct args *a)
{
	const char *name = take_name(s, a);
	struct err err = { 0 };
	pid_t pid;

	if (!name)
		return;
	int r = findproc_by_name(name, &pid, &err);
	if (r == -ESRCH)
		wait_for(s, name);
	else if (r < 0)
		session_error_from(s, 1, &err);
	else
		launch_attach(s, pid);
}
