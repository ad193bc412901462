#include "server/handlers.h"
#include "server/monitor.h"

void on_supported(struct session *s, struct args *a)
{
	size_t len;

	/* lldb sends it twice, and a list may be missing: each time counts anew. */
	args_accept(a, ':');
	const uint8_t *list = args_rest(a, &len);
	features_parse(list, len, &s->client);
	session_know_client(s);
	/* lldb-server tells of no second process whom it cannot name. */
	if (session_is_lldb(s) && !s->client.multiprocess)
		s->client.fork_events = s->client.vfork_events = false;
	s->dialect.multiprocess = s->client.multiprocess;
	s->dialect.swbreak = s->client.swbreak;
	s->dialect.hwbreak = s->client.hwbreak;
	session_update_events(s);
	packets_put_features(s, &s->reply);
}

void on_no_ack(struct session *s, struct args *a)
{
	(void)a;
	s->no_ack_next = true;
	reply_ok(&s->reply);
}

void on_extended(struct session *s, struct args *a)
{
	(void)a;
	s->extended = true;
	reply_ok(&s->reply);
}

void on_enable_error_strings(struct session *s, struct args *a)
{
	(void)a;
	s->error_strings = true;
	reply_ok(&s->reply);
}

void on_attached(struct session *s, struct args *a)
{
	struct inferior *inf;

	if (args_accept(a, ':'))
		inf = inferiors_by_pid(s->inferiors, (int64_t)args_hex_max(a, INT32_MAX));
	else
		inf = session_inferior(s);
	if (!inf)
		args_fail(a);
	else
		buf_putc(&s->reply, inf->attached ? '1' : '0');
}

void on_rcmd(struct session *s, struct args *a)
{
	args_skip(a, ',');
	const char *line = args_hex_text(a, &s->scratch);
	if (!args_done(a) || !line)
		args_fail(a);
	else
		monitor_command(s, line);
}
