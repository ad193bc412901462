/*
 * on_lldb.c - what lldb and Delve ask for besides RSP: who and where we are, threads and registers in their words.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "server/handlers.h"
#include "server/hostproc.h"
#include "server/lldbstop.h"
#include "server/platform.h"
#include "server/savedregs.h"
#include "server/server.h"
#include "server/svr4.h"

enum { JSON_MAX = 32 * 1024 * 1024 };

static void put_text(struct buf *b, const char *key, const char *text)
{
	buf_printf(b, "%s:", key);
	reply_hex_text(b, text);
	buf_putc(b, ';');
}

/* --- the session --- */

void on_thread_suffix(struct session *s, struct args *a)
{
	(void)a;
	s->thread_suffix = true;
	session_know_client(s);
	reply_ok(&s->reply);
}

void on_list_threads_in_stop(struct session *s, struct args *a)
{
	(void)a;
	s->dialect.list_threads = true;
	reply_ok(&s->reply);
}

/* lldb sends one after a reply that did not come in time: everything before it belongs to the past. */
void on_echo(struct session *s, struct args *a)
{
	size_t len;

	args_skip(a, ':');
	const uint8_t *text = args_rest(a, &len);
	if (!args_ok(a))
		return;
	buf_puts(&s->reply, "qEcho:");
	reply_binary(&s->reply, text, len);
}

void on_server_version(struct session *s, struct args *a)
{
	(void)a;
	buf_puts(&s->reply, "name:stopgo;version:" STOPGO_VERSION ";");
}

/* Yes to a question that asks whether we can. */
void on_can(struct session *s, struct args *a)
{
	(void)a;
	reply_ok(&s->reply);
}

/* --- the host and the process --- */

/* ID of os-release: a word such as debian. */
static void distribution(char *into, size_t size)
{
	FILE *f = fopen("/etc/os-release", "re");
	char line[256];

	into[0] = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "ID=", 3) != 0)
			continue;
		char *value = line + 3;
		value += strspn(value, "\"'");
		value[strcspn(value, "\"'\n")] = 0;
		snprintf(into, size, "%s", value);
	}
	if (f)
		fclose(f);
}

void on_host_info(struct session *s, struct args *a)
{
	struct buf *b = &s->reply;
	char distro[64];
	struct utsname u;

	(void)a;
	put_text(b, "triple", hostproc_triple);
	buf_puts(b, "ptrsize:8;");
	distribution(distro, sizeof(distro));
	if (distro[0])
		put_text(b, "distribution_id", distro);
	buf_puts(b, "watchpoint_exceptions_received:after;endian:little;");
	if (uname(&u) == 0) {
		/* Numbers only: 6.1.0 of 6.1.0-13-amd64. */
		buf_printf(b, "os_version:%.*s;", (int)strspn(u.release, "0123456789."), u.release);
		put_text(b, "os_build", u.release);
		put_text(b, "os_kernel", u.version);
		put_text(b, "hostname", u.nodename);
	}
	buf_printf(b, "vm-page-size:%ld;", sysconf(_SC_PAGESIZE));
}

/* What is debugged; in platform mode what was started there last, once. Numbers in hex. */
void on_process_info(struct session *s, struct args *a)
{
	const struct inferior *inf = session_inferior(s);
	struct platform *platform = s->server->opt ? s->server->opt->platform : NULL;
	pid_t pid = inf ? (pid_t)inf->pid : platform ? platform->launched : 0;
	struct hostproc p;

	(void)a;
	if (platform)
		platform->launched = 0;
	if (!pid || hostproc_read(pid, &p) < 0) {
		session_error(s, 0x44);
		return;
	}
	buf_printf(
		&s->reply,
		"pid:%x;parent-pid:%x;real-uid:%x;real-gid:%x;effective-uid:%x;effective-gid:%x;",
		(unsigned)p.pid, p.parent, p.uid, p.gid, p.euid, p.egid);
	put_text(&s->reply, "triple", hostproc_triple);
	buf_puts(&s->reply, "ostype:linux;endian:little;ptrsize:8;");
}

/* Of any process of ours, by its decimal number. Delve asks for the program's path this way. */
void on_process_info_pid(struct session *s, struct args *a)
{
	struct hostproc p;

	args_skip(a, ':');
	pid_t pid = (pid_t)args_dec_max(a, INT32_MAX);
	if (!args_done(a))
		args_fail(a);
	else if (hostproc_read(pid, &p) < 0)
		session_error(s, 1);
	else
		hostproc_put(&s->reply, &p);
}

/*
 * Where the program keeps its pointer to the loader's struct r_debug. Without it lldb takes the first word of the list of shared
 * objects for that pointer, which it is not.
 */
void on_shlib_info_addr(struct session *s, struct args *a)
{
	uint64_t at;

	(void)a;
	if (svr4_debug_entry(session_inferior(s), &at) == 0)
		buf_put_hex_num(&s->reply, at);
}

/* --- threads --- */

/* The thread of qThreadStopInfoT, whose id is part of the name. */
void on_thread_stop_info(struct session *s, struct args *a)
{
	struct threadid id = args_thread_id(a);
	struct inferior *inf;
	int64_t found;

	if (!args_done(a)) {
		args_fail(a);
		return;
	}
	if (session_find_thread(s, id, &inf, &found)) {
		lldbstop_put(s, inf, found, NULL, 0, &s->reply);
	} else if (s->client.kind == CLIENT_DELVE) {
		/* An error would end Delve's round of questions; a thread that has just ended has no reason. */
		buf_puts(&s->reply, "T00thread:");
		threadid_put(&s->reply, id, s->dialect.multiprocess);
		buf_putc(&s->reply, ';');
	} else {
		session_error(s, 1);
	}
}

void on_threads_info(struct session *s, struct args *a)
{
	_cleanup_buf_ struct buf json;

	(void)a;
	buf_init(&json, JSON_MAX);
	lldbstop_put_threads(s, session_inferior(s), &json);
	if (buf_error(&json))
		session_error(s, ENOMEM);
	else
		reply_binary(&s->reply, json.data, json.len);
}

/* --- registers --- */

void on_register_info(struct session *s, struct args *a)
{
	uint64_t number = args_hex_u64(a);
	if (args_done(a))
		tdesc_put_register_info(&s->reply, &s->regs.tdesc, number);
	else
		args_fail(a);
}

void on_save_registers(struct session *s, struct args *a)
{
	struct inferior *inf;
	int64_t id;
	bool found = session_suffix_thread(s, a, &inf, &id);
	int64_t which = found && args_done(a) ? saved_regs_put(s, inf, id) : -ESRCH;

	if (which < 0)
		session_error(s, 1);
	else
		buf_printf(&s->reply, "%lld", (long long)which);
}

void on_restore_registers(struct session *s, struct args *a)
{
	struct inferior *inf;
	int64_t id;

	args_skip(a, ':');
	uint64_t which = args_dec_max(a, INT64_MAX);
	if (!args_ok(a))
		return;
	bool found = session_suffix_thread(s, a, &inf, &id);
	if (!found || !args_done(a) || saved_regs_take(s, which, inf, id) < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}

/* --- memory --- */

void on_region_info(struct session *s, struct args *a)
{
	struct inferior *inf = session_inferior(s);
	struct mem_region m;

	/* Asked without an address: whether it can be asked. */
	if (args_done(a)) {
		reply_ok(&s->reply);
		return;
	}
	args_skip(a, ':');
	uint64_t addr = args_hex_u64(a);
	if (!args_done(a)) {
		args_fail(a);
		return;
	}
	if (inferior_region_at(inf, addr, &m) < 0) {
		session_error(s, 1);
		return;
	}
	/* Walks end where a range ends at the last address, so the last hole goes up to there. */
	uint64_t start = m.mapped ? m.start : MAX(m.start, addr);
	uint64_t end = m.end ? m.end : UINT64_MAX;
	buf_printf(&s->reply, "start:%llx;size:%llx;", (unsigned long long)start,
		   (unsigned long long)(end - start));
	if (!m.mapped)
		return;
	/* The kernel's clock pages can be read by the program alone: who saves all that is readable would fail there. */
	if (!strncmp(m.name, "[vvar", 5))
		m.read = false;
	buf_printf(&s->reply, "permissions:%s%s%s;flags:;", m.read ? "r" : "", m.write ? "w" : "",
		   m.exec ? "x" : "");
	if (m.name[0])
		put_text(&s->reply, "name", m.name);
}

void on_watch_support(struct session *s, struct args *a)
{
	(void)a;
	buf_puts(&s->reply, "num:4;");
}
