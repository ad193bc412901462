#include "protocol/stopreply.h"
#include "protocol/hex.h"
#include "protocol/signals.h"

#include <string.h>

enum { LINUX_SIGSTKFLT = 16 };

/* What a reason is called: the key of gdb's stop replies, and the value of lldb's `reason:`. */
static const struct {
	const char *key;
	const char *reason;
} words[] = {
	[STOP_REASON_NONE] = { NULL, NULL },
	[STOP_REASON_SIGNAL] = { NULL, "signal" },
	[STOP_REASON_TRACE] = { NULL, "trace" },
	[STOP_REASON_TRAP] = { NULL, "trap" },
	[STOP_REASON_SWBREAK] = { "swbreak", "breakpoint" },
	[STOP_REASON_HWBREAK] = { "hwbreak", "breakpoint" },
	[STOP_REASON_WATCH] = { "watch", "watchpoint" },
	[STOP_REASON_RWATCH] = { "rwatch", "watchpoint" },
	[STOP_REASON_AWATCH] = { "awatch", "watchpoint" },
	[STOP_REASON_LIBRARY] = { "library", "trap" },
	[STOP_REASON_FORK] = { "fork", "fork" },
	[STOP_REASON_VFORK] = { "vfork", "vfork" },
	[STOP_REASON_VFORK_DONE] = { "vforkdone", "vforkdone" },
	[STOP_REASON_EXEC] = { "exec", "exec" },
	[STOP_REASON_CLONE] = { "clone", "trap" },
	[STOP_REASON_CREATE] = { "create", "trap" },
	[STOP_REASON_SYSCALL_ENTRY] = { "syscall_entry", "trap" },
	[STOP_REASON_SYSCALL_RETURN] = { "syscall_return", "trap" },
	[STOP_REASON_LOG_BEGIN] = { "replaylog", "trap" },
	[STOP_REASON_LOG_END] = { "replaylog", "trap" },
};

static bool for_lldb(const struct stop_reply_dialect *d)
{
	return d->client == CLIENT_LLDB || d->client == CLIENT_DELVE;
}

static bool speaks_linux(const struct stop_reply_dialect *d)
{
	return d->client == CLIENT_DELVE || d->native_signals;
}

int stop_reply_signal(int gdb_signal, const struct stop_reply_dialect *d)
{
	if (!speaks_linux(d))
		return gdb_signal & 0xff;
	/* The only Linux signal without a number of GDB's. */
	return gdb_signal == SIGNALS_UNKNOWN ? LINUX_SIGSTKFLT : signals_from_gdb(gdb_signal);
}

int stop_reply_linux_signal(int client_signal, const struct stop_reply_dialect *d)
{
	if (!speaks_linux(d))
		return client_signal == SIGNALS_UNKNOWN ? LINUX_SIGSTKFLT
							: signals_from_gdb(client_signal);
	return client_signal > 0 && client_signal <= SIGNALS_LINUX_MAX ? client_signal : 0;
}

/* A reason is always told with SIGTRAP: gdb looks at the key only then. */
static int signal_of(const struct stop_reply *sr, const struct stop_reply_dialect *d)
{
	bool told = sr->reason != STOP_REASON_NONE && sr->reason != STOP_REASON_SIGNAL;
	return stop_reply_signal(told ? SIGNALS_TRAP : sr->signal, d);
}

static bool is_watch(enum stop_reply_reason reason)
{
	return reason == STOP_REASON_WATCH || reason == STOP_REASON_RWATCH ||
	       reason == STOP_REASON_AWATCH;
}

static void put_hex_key(struct buf *b, const char *key, const char *text)
{
	buf_printf(b, "%s:", key);
	hex_put_text(b, text);
	buf_putc(b, ';');
}

static void put_key(struct buf *b, const char *key)
{
	buf_printf(b, "%s:;", key);
}

/* The one reason of gdb's dialect: "key:value;". */
static void put_reason(struct buf *b, const struct stop_reply *sr,
		       const struct stop_reply_dialect *d)
{
	const char *key = words[sr->reason].key;

	switch (sr->reason) {
	case STOP_REASON_NONE:
	case STOP_REASON_SIGNAL:
	case STOP_REASON_TRACE:
	case STOP_REASON_TRAP: return;
	case STOP_REASON_SWBREAK:
		if (d->swbreak)
			put_key(b, key);
		return;
	case STOP_REASON_HWBREAK:
		if (d->hwbreak)
			put_key(b, key);
		return;
	case STOP_REASON_LIBRARY:
	case STOP_REASON_VFORK_DONE:
	case STOP_REASON_CREATE: put_key(b, key); return;
	case STOP_REASON_WATCH:
	case STOP_REASON_RWATCH:
	case STOP_REASON_AWATCH:
		buf_printf(b, "%s:%llx;", key, (unsigned long long)sr->addr);
		return;
	case STOP_REASON_SYSCALL_ENTRY:
	case STOP_REASON_SYSCALL_RETURN:
		buf_printf(b, "%s:%llx;", key, (unsigned long long)sr->number);
		return;
	case STOP_REASON_FORK:
	case STOP_REASON_VFORK:
	case STOP_REASON_CLONE:
		buf_printf(b, "%s:", key);
		threadid_put(b, sr->child, d->multiprocess);
		buf_putc(b, ';');
		return;
	case STOP_REASON_EXEC: put_hex_key(b, key, sr->path ? sr->path : ""); return;
	case STOP_REASON_LOG_BEGIN: buf_printf(b, "%s:begin;", key); return;
	case STOP_REASON_LOG_END: buf_printf(b, "%s:end;", key); return;
	}
}

static void put_registers(struct buf *b, const struct stop_reply *sr, size_t size_max)
{
	for (size_t i = 0; i < sr->nregs; i++) {
		if (!sr->regs[i].bytes || sr->regs[i].size > size_max)
			continue;
		buf_printf(b, "%02x:", sr->regs[i].number);
		hex_put(b, sr->regs[i].bytes, sr->regs[i].size);
		buf_putc(b, ';');
	}
}

static void put_thread(struct buf *b, const struct stop_reply *sr,
		       const struct stop_reply_dialect *d)
{
	buf_puts(b, "thread:");
	threadid_put(b, sr->thread, d->multiprocess);
	buf_putc(b, ';');
}

static void put_for_gdb(struct buf *b, const struct stop_reply *sr,
			const struct stop_reply_dialect *d)
{
	put_reason(b, sr, d);
	put_registers(b, sr, SIZE_MAX);
	put_thread(b, sr, d);
}

/* As hexname when a byte has a meaning to the frame, to lldb's key:value; list or (Delve) as an escape. */
static void put_name(struct buf *b, const char *name)
{
	for (const char *p = name; *p; p++) {
		if (*p < ' ' || *p > '~' || strchr("$#+-*:;,{}", *p)) {
			put_hex_key(b, "hexname", name);
			return;
		}
	}
	buf_printf(b, "name:%s;", name);
}

static void put_threads(struct buf *b, const struct stop_reply *sr)
{
	bool pcs = true;

	buf_puts(b, "threads:");
	for (size_t i = 0; i < sr->nthreads; i++) {
		buf_puts(b, i ? "," : "");
		buf_put_hex_num(b, (uint64_t)sr->threads[i].tid);
		pcs = pcs && sr->threads[i].has_pc;
	}
	buf_putc(b, ';');
	if (!pcs) /* the lists are matched by position */
		return;
	buf_puts(b, "thread-pcs:");
	for (size_t i = 0; i < sr->nthreads; i++) {
		buf_puts(b, i ? "," : "");
		buf_put_hex_num(b, sr->threads[i].pc);
	}
	buf_putc(b, ';');
}

/* The sentence for a person, or the numbers lldb expects there. False when there is nothing to say. */
static bool describe(const struct stop_reply *sr, char *into, size_t size)
{
	struct buf b;
	bool said = true;

	buf_init(&b, size - 1);
	if (is_watch(sr->reason)) {
		/* "<where it was set> <slot> <what was touched>", in decimal. */
		buf_printf(&b, "%llu %u %llu",
			   (unsigned long long)(sr->point ? sr->point : sr->addr), sr->slot,
			   (unsigned long long)sr->addr);
	} else if (sr->reason == STOP_REASON_FORK || sr->reason == STOP_REASON_VFORK) {
		buf_printf(&b, "%lld %lld", (long long)sr->child.pid, (long long)sr->child.tid);
	} else if (sr->description) {
		buf_put(&b, sr->description, strnlen(sr->description, size - 1));
	} else if (sr->reason == STOP_REASON_SIGNAL && signals_name(sr->signal)) {
		buf_printf(&b, "signal %s", signals_name(sr->signal));
	} else {
		said = false;
	}
	said = said && !buf_error(&b);
	if (said) {
		memcpy(into, b.data ? (const char *)b.data : "", b.len);
		into[b.len] = 0;
	}
	buf_fini(&b);
	return said;
}

enum { DESCRIPTION_MAX = 512 };

static void put_lldb_reason(struct buf *b, const struct stop_reply *sr,
			    const struct stop_reply_dialect *d)
{
	const char *reason = words[sr->reason].reason;
	char description[DESCRIPTION_MAX];

	if (!reason)
		return;
	/* Delve knows a watchpoint by this key alone, and by the address it set. */
	if (is_watch(sr->reason) && d->client == CLIENT_DELVE)
		buf_printf(b, "%s:%llx;", words[sr->reason].key,
			   (unsigned long long)(sr->point ? sr->point : sr->addr));
	buf_printf(b, "reason:%s;", reason);
	if (describe(sr, description, sizeof(description)))
		put_hex_key(b, "description", description);
	if (sr->reason == STOP_REASON_FORK || sr->reason == STOP_REASON_VFORK)
		put_reason(b, sr, d);
}

static void put_for_lldb(struct buf *b, const struct stop_reply *sr,
			 const struct stop_reply_dialect *d)
{
	put_thread(b, sr, d);
	if (sr->name)
		put_name(b, sr->name);
	if (d->list_threads && sr->nthreads)
		put_threads(b, sr);
	if (sr->jstopinfo)
		put_hex_key(b, "jstopinfo", sr->jstopinfo);
	/* A value of more than 64 bits ends Delve's session. */
	put_registers(b, sr, d->client == CLIENT_DELVE ? 8 : SIZE_MAX);
	put_lldb_reason(b, sr, d);
}

static void put_process(struct buf *b, const struct stop_reply *sr,
			const struct stop_reply_dialect *d)
{
	if (d->multiprocess && sr->thread.pid > 0)
		buf_printf(b, ";process:%llx", (unsigned long long)sr->thread.pid);
}

void stop_reply_put(struct buf *b, const struct stop_reply *sr, const struct stop_reply_dialect *d)
{
	switch (sr->kind) {
	case STOP_REPLY_STOPPED:
		buf_printf(b, "T%02x", (unsigned)signal_of(sr, d));
		if (for_lldb(d))
			put_for_lldb(b, sr, d);
		else
			put_for_gdb(b, sr, d);
		return;
	case STOP_REPLY_EXITED:
		buf_printf(b, "W%02x", (unsigned)sr->status & 0xff);
		put_process(b, sr, d);
		return;
	case STOP_REPLY_SIGNALED:
		buf_printf(b, "X%02x", (unsigned)stop_reply_signal(sr->signal, d));
		put_process(b, sr, d);
		return;
	case STOP_REPLY_THREAD_EXITED:
		buf_printf(b, "w%02x;", (unsigned)sr->status & 0xff);
		threadid_put(b, sr->thread, d->multiprocess);
		return;
	case STOP_REPLY_NO_RESUMED: buf_putc(b, 'N'); return;
	}
}

/* Bytes of a well-formed UTF-8 sequence at p, 0 when it is none; p is NUL-terminated. */
static size_t utf8_len(const char *p)
{
	const uint8_t *u = (const uint8_t *)p;
	size_t n = u[0] < 0x80                   ? 1
		   : u[0] >= 0xc2 && u[0] < 0xe0 ? 2
		   : (u[0] & 0xf0) == 0xe0       ? 3
		   : u[0] >= 0xf0 && u[0] < 0xf5 ? 4
						 : 0;

	for (size_t i = 1; i < n; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and beyond 10ffff. */
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) ||
	    (u[0] == 0xf0 && u[1] < 0x90) || (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return n;
}

/* A JSON string. Names come from the debuggee and may hold anything. */
static void put_json_text(struct buf *b, const char *text)
{
	buf_putc(b, '"');
	while (*text) {
		size_t n = utf8_len(text);
		uint8_t c = (uint8_t)*text;
		if (n == 1 && (c == '"' || c == '\\'))
			buf_printf(b, "\\%c", c);
		else if (n == 1 && (c < ' ' || c == 0x7f))
			buf_printf(b, "\\u%04x", c);
		else if (n)
			buf_put(b, text, n);
		else
			buf_putc(b, '?');
		text += n ? n : 1;
	}
	buf_putc(b, '"');
}

static void put_json_registers(struct buf *b, const struct stop_reply *sr)
{
	const char *comma = "";

	buf_puts(b, ",\"registers\":{");
	for (size_t i = 0; i < sr->nregs; i++) {
		if (!sr->regs[i].bytes)
			continue;
		buf_printf(b, "%s\"%u\":\"", comma, sr->regs[i].number);
		hex_put(b, sr->regs[i].bytes, sr->regs[i].size);
		buf_putc(b, '"');
		comma = ",";
	}
	buf_putc(b, '}');
}

void stop_reply_put_json(struct buf *b, const struct stop_reply *sr,
			 const struct stop_reply_dialect *d, unsigned flags)
{
	const char *reason = words[sr->reason].reason;
	char description[DESCRIPTION_MAX];

	buf_printf(b, "{\"tid\":%lld", (long long)sr->thread.tid);
	if (sr->name) {
		buf_puts(b, ",\"name\":");
		put_json_text(b, sr->name);
	}
	if (reason)
		buf_printf(b, ",\"reason\":\"%s\",\"signal\":%d", reason, signal_of(sr, d));
	else if (d->client == CLIENT_DELVE)
		/* Said, so that Delve forgets the signal the thread had at an earlier stop. */
		buf_printf(b, ",\"reason\":\"none\",\"signal\":0");
	if (reason && describe(sr, description, sizeof(description))) {
		buf_puts(b, ",\"description\":");
		put_json_text(b, description);
	}
	if (flags & STOP_REPLY_JSON_REGISTERS && sr->nregs)
		put_json_registers(b, sr);
	buf_putc(b, '}');
}
