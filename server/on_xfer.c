#include "server/gview.h"
#include "server/handlers.h"
#include "server/osdata.h"
#include "server/svr4.h"
#include "server/threaddb.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { HANDLES_MAX = 256 };

struct xfer_object {
	const char *name;
	enum packet_when when;
	const char *lldb_features; /* the part that lldb's own parsers know; NULL: none */
	const char *features;      /* qSupported */
	/* The whole document. -ENOENT: there is none by this annex. */
	int (*read)(struct session *s, const char *annex, struct buf *out);
	/* How many bytes were taken. */
	ssize_t (*write)(struct session *s, const char *annex, uint64_t offset, const uint8_t *data,
			 size_t len);
};

static int read_auxv(struct session *s, const char *annex, struct buf *out)
{
	struct target *t = session_inferior(s)->target;
	(void)annex;
	return t->ops->auxv_read(t, out);
}

static int read_exec_file(struct session *s, const char *annex, struct buf *out)
{
	struct args a = args_of(annex, strlen(annex));
	struct inferior *inf = session_inferior(s);
	char path[PATH_MAX];

	if (annex[0]) {
		inf = inferiors_by_pid(s->inferiors, (int64_t)args_hex_max(&a, INT32_MAX));
		if (!args_done(&a))
			return -EINVAL;
	}
	if (!inf)
		return -ESRCH;
	int r = inf->target->ops->exe_path(inf->target, path, sizeof(path));
	if (r == 0)
		buf_puts(out, path);
	return r;
}

static int read_features(struct session *s, const char *annex, struct buf *out)
{
	if (strcmp(annex, "target.xml") != 0)
		return -ENOENT;
	tdesc_put_xml(out, &s->regs.tdesc);
	return 0;
}

static int read_libraries(struct session *s, const char *annex, struct buf *out)
{
	struct svr4_part part = { .bare = session_is_lldb(s) };
	struct args a = args_of(annex, strlen(annex)), key, value;

	while (args_key_value(&a, '=', &key, &value)) {
		uint64_t number = args_hex_u64(&value);
		if (!args_done(&value))
			return -EINVAL;
		if (args_is(&key, "start"))
			part.start = number;
		else if (args_is(&key, "prev"))
			part.prev = number;
		else if (args_is(&key, "lmid"))
			part.lmid = number;
	}
	return svr4_put_list(session_inferior(s), &part, out);
}

static int read_osdata(struct session *s, const char *annex, struct buf *out)
{
	(void)s;
	int r = osdata_put(annex, out);
	/* gdbserver says that an unknown table is empty. */
	return r == -ENOENT ? 0 : r;
}

/* It was told as SIGINT: then that is the signal it stands at. */
static bool is_told_as_int(struct session *s, struct inferior *inf, pid_t tid)
{
	const struct target_run_ops *run = inf->target->ops->run;
	const struct thread_note *note = inferior_note(inf, tid);
	struct stop told;

	return !session_is_lldb(s) && !(note && note->stop_asked) && run &&
	       run->last_stop(inf->target, tid, &told) == 0 && told.kind == STOP_INTERRUPT;
}

static int read_siginfo(struct session *s, const char *annex, struct buf *out)
{
	struct inferior *inf;
	siginfo_t si;
	int64_t id;

	if (annex[0] || !session_thread(s, &inf, &id))
		return -ESRCH;
	pid_t tid = threadview_tid_of(inf->view, id);
	int r = tid ? inf->target->ops->siginfo_read(inf->target, tid, &si) : -ENODATA;
	if (r == 0 && si.si_signo == SIGSTOP && is_told_as_int(s, inf, tid)) {
		si.si_signo = SIGINT;
		si.si_code = SI_USER;
	}
	if (r == 0)
		buf_put(out, &si, sizeof(si));
	return r;
}

static ssize_t write_siginfo(struct session *s, const char *annex, uint64_t offset,
			     const uint8_t *data, size_t len)
{
	struct inferior *inf;
	siginfo_t si;
	int64_t id;

	if (annex[0] || !session_thread(s, &inf, &id) || offset > sizeof(si) ||
	    len > sizeof(si) - offset)
		return -EINVAL;
	struct target *t = inf->target;
	pid_t tid = threadview_tid_of(inf->view, id);
	if (!tid || !t->ops->write)
		return -EROFS;
	int r = t->ops->siginfo_read(t, tid, &si);
	if (r < 0)
		return r;
	memcpy((uint8_t *)&si + offset, data, len);
	r = t->ops->write->siginfo_write(t, tid, &si);
	return r < 0 ? r : (ssize_t)len;
}

/* gdb's Python knows threads by it. */
static void put_handle(struct inferior *inf, int64_t id, struct buf *out)
{
	pid_t tid = threadview_tid_of(inf->view, id);
	uint64_t handle;

	if (!tid || !threaddb_handle(inf, tid, &handle))
		return;
	buf_puts(out, " handle=\"");
	buf_put_hex(out, &handle, sizeof(handle));
	buf_putc(out, '"');
}

static size_t count_threads(struct inferior *inf)
{
	int64_t id = 0;
	size_t n = 0;

	while (threadview_next(inf->view, id, &id) == 0 && id)
		n++;
	return n;
}

static void put_thread(struct session *s, struct inferior *inf, int64_t id, bool with_handle,
		       struct buf *out)
{
	struct view_thread about;

	if (threadview_describe(inf->view, id, &about) < 0)
		return;
	buf_puts(out, "<thread id=\"");
	threadid_put(out, session_id(inf, id), s->dialect.multiprocess);
	buf_putc(out, '"');
	if (about.core >= 0)
		buf_printf(out, " core=\"%d\"", about.core);
	if (about.name[0]) {
		buf_puts(out, " name=\"");
		buf_put_xml(out, about.name);
		buf_putc(out, '"');
	}
	if (with_handle)
		put_handle(inf, id, out);
	if (!about.extra[0]) {
		buf_puts(out, "/>\n");
		return;
	}
	buf_putc(out, '>');
	buf_put_xml(out, about.extra);
	buf_puts(out, "</thread>\n");
}

/*
 * gdb reads the list at each stop, and again when somebody asks for it: 'info threads', 'thread apply', an IDE's list. True when it is
 * the first.
 */
static bool nobody_asked(struct session *s)
{
	if (!s->lists_due)
		return false;
	s->lists_due--;
	return s->client.kind == CLIENT_GDB;
}

static int read_threads(struct session *s, const char *annex, struct buf *out)
{
	if (annex[0])
		return -EINVAL;
	bool brief = nobody_asked(s);
	buf_puts(out, "<threads>\n");
	for (struct inferior *inf = s->inferiors->first; inf; inf = inf->next) {
		struct gview *gv = threadview_gview(inf->view);
		if (gv)
			gview_brief(gv, brief);
		/* Each costs reading the thread's registers: too much for a list of thousands. */
		bool with_handle = inf->threaddb && count_threads(inf) <= HANDLES_MAX;
		int64_t id = 0;
		while (threadview_next(inf->view, id, &id) == 0 && id)
			put_thread(s, inf, id, with_handle, out);
		if (gv)
			gview_told(gv);
	}
	buf_puts(out, "</threads>\n");
	return 0;
}

static int read_traceframe_info(struct session *s, const char *annex, struct buf *out)
{
	return annex[0] ? -EINVAL : trace_put_info(s, out);
}

/* Sorted by name. */
static const struct xfer_object objects[] = {
	{ "auxv", PACKET_PROCESS, "qXfer:auxv:read+", "qXfer:auxv:read+", read_auxv, NULL },
	{ "exec-file", PACKET_ANY, NULL, "qXfer:exec-file:read+", read_exec_file, NULL },
	{ "features", PACKET_PROCESS, "qXfer:features:read+", "qXfer:features:read+", read_features,
	  NULL },
	{ "libraries-svr4", PACKET_PROCESS,
	  "qXfer:libraries-svr4:read+;augmented-libraries-svr4-read+",
	  "qXfer:libraries-svr4:read+;augmented-libraries-svr4-read+", read_libraries, NULL },
	{ "osdata", PACKET_ANY, NULL, "qXfer:osdata:read+", read_osdata, NULL },
	{ "siginfo", PACKET_THREAD, "qXfer:siginfo:read+",
	  "qXfer:siginfo:read+;qXfer:siginfo:write+", read_siginfo, write_siginfo },
	{ "threads", PACKET_ANY, NULL, "qXfer:threads:read+", read_threads, NULL },
	{ "traceframe-info", PACKET_ANY, NULL, "qXfer:traceframe-info:read+", read_traceframe_info,
	  NULL },
};

void xfer_put_features(struct session *s, struct buf *b)
{
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		if (!session_is_lldb(s) || objects[i].lldb_features)
			buf_printf(b, ";%s",
				   session_is_lldb(s) ? objects[i].lldb_features
						      : objects[i].features);
}

/* The snapshot that offset 0 made, so that a document in several chunks is one document. */
static int take_snapshot(struct session *s, const struct xfer_object *o, const char *annex,
			 uint64_t offset)
{
	struct xfer_snapshot *x = &s->xfer;
	struct inferior *inf = session_inferior(s);
	int64_t pid = inf ? inf->pid : 0;

	if (offset && x->object == o && x->pid == pid && x->id == s->general.tid &&
	    !strcmp(x->annex, annex))
		return 0;
	x->object = NULL;
	buf_reset(&x->data);
	int r = o->read(s, annex, &x->data);
	if (r == 0)
		r = buf_error(&x->data);
	if (r < 0)
		return r;
	x->object = o;
	x->pid = pid;
	x->id = s->general.tid;
	snprintf(x->annex, sizeof(x->annex), "%s", annex);
	return 0;
}

static void forget_snapshot(struct session *s)
{
	enum { KEEP = 256 * 1024 };
	s->xfer.object = NULL;
	/* Most are small and come again; a list of ten thousand threads is not kept around. */
	if (s->xfer.data.cap > KEEP) {
		buf_fini(&s->xfer.data);
		buf_init(&s->xfer.data, SESSION_OBJECT_MAX);
	}
}

static void serve_read(struct session *s, struct args *a, const struct xfer_object *o,
		       const char *annex)
{
	uint64_t offset = args_hex_u64(a);
	args_skip(a, ',');
	uint64_t len = args_hex_u64(a);

	args_accept(a, ':'); /* lldb's own tests close it with one */
	if (!args_done(a)) {
		args_fail(a);
		return;
	}
	if (take_snapshot(s, o, annex, offset) < 0) {
		session_error(s, 1);
		return;
	}
	reply_xfer(&s->reply, s->xfer.data.data, s->xfer.data.len, offset, len, SESSION_PACKET_MAX);
	if (s->reply.len && s->reply.data[0] == 'l')
		forget_snapshot(s);
}

static void serve_write(struct session *s, struct args *a, const struct xfer_object *o,
			const char *annex)
{
	uint64_t offset = args_hex_u64(a);
	size_t len;

	args_skip(a, ':');
	const uint8_t *data = args_rest(a, &len);
	if (!args_ok(a))
		return;
	ssize_t n = o->write(s, annex, offset, data, len);
	if (n < 0)
		session_error(s, 1);
	else
		buf_put_hex_num(&s->reply, (uint64_t)n);
}

static bool is_there(struct session *s, enum packet_when when)
{
	struct inferior *inf;
	int64_t id;

	if (when == PACKET_THREAD)
		return session_thread(s, &inf, &id);
	return when == PACKET_ANY || session_inferior(s);
}

void on_xfer(struct session *s, struct args *a)
{
	char annex[sizeof(s->xfer.annex)];

	args_skip(a, ':');
	struct args name = args_upto(a, ':');
	struct args verb = args_upto(a, ':');
	if (!args_ok(a))
		return;
	const struct xfer_object *o =
		packet_find(objects, ARRAY_SIZE(objects), sizeof(*objects), name.data, name.len);
	bool reads = args_is(&verb, "read"), writes = args_is(&verb, "write");
	if (!o || !(reads ? o->read != NULL : writes && o->write))
		return;

	struct args text = args_upto(a, ':');
	if (!args_ok(a) || text.len >= sizeof(annex) || memchr(text.data, 0, text.len) ||
	    !is_there(s, o->when)) {
		args_fail(a);
		return;
	}
	memcpy(annex, text.data, text.len);
	annex[text.len] = 0;
	if (reads)
		serve_read(s, a, o, annex);
	else
		serve_write(s, a, o, annex);
}
