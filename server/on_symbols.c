#include "server/handlers.h"
#include "server/threaddb.h"

#include <errno.h>
#include <string.h>

/* "qSymbol::" offers help, "qSymbol:VALUE:NAME" answers; the reply asks for the next name, or is OK. */
void on_symbol(struct session *s, struct args *a)
{
	struct inferior *inf = session_inferior(s);

	args_skip(a, ':');
	bool known = args_peek(a) != ':';
	uint64_t addr = known && args_left(a) ? args_hex_u64(a) : 0;
	args_skip(a, ':');
	const char *name = args_hex_text(a, &s->scratch);
	if (!args_done(a) || !name) {
		args_fail(a);
		return;
	}
	if (inf && name[0])
		threaddb_learn_symbol(inf, name, known, addr);
	/* lldb's thread-local variables need nothing of ours. */
	const char *next = inf && !session_is_lldb(s) ? threaddb_missing_symbol(inf) : NULL;
	if (!next) {
		reply_ok(&s->reply);
		return;
	}
	buf_puts(&s->reply, "qSymbol:");
	reply_hex_text(&s->reply, next);
}

/* qGetTLSAddr:THREAD,OFFSET,LINK-MAP */
void on_tls_addr(struct session *s, struct args *a)
{
	struct err err = { 0 };
	struct inferior *inf;
	int64_t id;
	uint64_t addr;

	args_skip(a, ':');
	struct threadid thread = args_thread_id(a);
	args_skip(a, ',');
	uint64_t offset = args_hex_u64(a);
	args_skip(a, ',');
	uint64_t lm = args_hex_u64(a);
	if (!args_done(a) || !session_find_thread(s, thread, &inf, &id)) {
		args_fail(a);
		return;
	}
	pid_t tid = threadview_tid_of(inf->view, id);
	int r = tid ? threaddb_tls_addr(inf, tid, lm, offset, &addr, &err) : -ENODATA;
	if (r < 0)
		session_error_from(s, 1, &err);
	else
		buf_put_hex_num(&s->reply, addr);
}
