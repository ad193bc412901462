/*
 * stopreply.h - why the debuggee stopped, in the words of the client's dialect.
 *
 * One struct, three dialects:
 *   gdb    T05swbreak:;06:<rbp>;07:<rsp>;10:<rip>;thread:p1.2;
 *   lldb
 * T05thread:p1.2;name:x;threads:2,3;thread-pcs:4711fa,471200;jstopinfo:<hex>;06:<rbp>;…;reason:breakpoint;
 *   Delve  as lldb, bare thread ids, Linux signal numbers, and watch:<addr>, which it needs to
 * notice a watchpoint. With native_signals lldb, too, is told Linux numbers. To lldb and Delve `thread:` comes first, and no reason is ever a key of hex
 * digits. To gdb at most one reason is given, always with signal 05, and swbreak/hwbreak only when
 * it said it reads them. Exit statuses always have two digits (lldb reads exactly two). Borrow:
 * every pointer in struct stop_reply is the caller's and read during the call only. Source:
 * "Debugging with GDB", Stop Reply Packets; LLDB's description of its extensions of T.
 */
#ifndef STOPGO_PROTOCOL_STOPREPLY_H
#define STOPGO_PROTOCOL_STOPREPLY_H

#include "protocol/features.h"
#include "protocol/threadid.h"

enum stop_reply_kind {
	STOP_REPLY_STOPPED,       /* T: a thread stopped, everything below applies */
	STOP_REPLY_EXITED,        /* W status */
	STOP_REPLY_SIGNALED,      /* X signal */
	STOP_REPLY_THREAD_EXITED, /* w status;thread (QThreadEvents, QThreadOptions) */
	STOP_REPLY_NO_RESUMED,    /* N */
};

enum stop_reply_reason {
	STOP_REASON_NONE,   /* merely stopped with the rest, or attached */
	STOP_REASON_SIGNAL, /* the signal says it all */
	STOP_REASON_TRACE,  /* a step (or range step) ended */
	STOP_REASON_TRAP,   /* SIGTRAP that is the program's own */
	STOP_REASON_SWBREAK,
	STOP_REASON_HWBREAK,
	STOP_REASON_WATCH,  /* addr: written */
	STOP_REASON_RWATCH, /* addr: read */
	STOP_REASON_AWATCH, /* addr: accessed */
	STOP_REASON_LIBRARY,
	STOP_REASON_FORK,  /* child */
	STOP_REASON_VFORK, /* child */
	STOP_REASON_VFORK_DONE,
	STOP_REASON_EXEC,  /* path */
	STOP_REASON_CLONE, /* child */
	STOP_REASON_CREATE,
	STOP_REASON_SYSCALL_ENTRY,  /* number */
	STOP_REASON_SYSCALL_RETURN, /* number */
	STOP_REASON_LOG_BEGIN,      /* replaylog */
	STOP_REASON_LOG_END,
};

struct stop_reply_reg {
	unsigned number;      /* of the target description in use */
	const uint8_t *bytes; /* target order; NULL leaves the register out */
	size_t size;
};

struct stop_reply_thread {
	int64_t tid;
	uint64_t pc;
	bool has_pc;
};

struct stop_reply {
	enum stop_reply_kind kind;
	int signal; /* GDB's number; with a reason other than NONE and SIGNAL it is sent as 05 */
	int status; /* EXITED, THREAD_EXITED: 0..255 */
	struct threadid thread; /* pid also for W and X */
	enum stop_reply_reason reason;
	uint64_t addr;  /* data address, inside the watched range */
	uint64_t point; /* the address given in the Z packet that set the watchpoint; 0: the same as
			   addr */
	unsigned slot;  /* watchpoint index for lldb's description */
	struct threadid child;
	uint64_t number;  /* system call */
	const char *path; /* exec */
	const struct stop_reply_reg *regs;
	size_t nregs;

	/* lldb and Delve only; NULL or 0 leaves them out */
	const char *name;
	/* Every thread of the process: threads: and thread-pcs: */
	const struct stop_reply_thread *threads;
	size_t nthreads;
	const char *jstopinfo;   /* JSON text; sent in hex */
	const char *description; /* a sentence; NULL: made from the reason where lldb needs one */
};

/* What the connection agreed on. */
struct stop_reply_dialect {
	enum client_kind client; /* CLIENT_UNKNOWN is written to as gdb */
	bool multiprocess;
	bool swbreak, hwbreak; /* negotiated; gdb only */
	bool list_threads;     /* QListThreadsInStopReply was answered OK */
	bool native_signals;   /* Linux signal numbers both ways; Delve has them without asking */
};

void stop_reply_put(struct buf *b, const struct stop_reply *sr, const struct stop_reply_dialect *d);

/* Of jstopinfo and jThreadsInfo */
enum stop_reply_json_flags {
	STOP_REPLY_JSON_REGISTERS = 1,
};

/*
 * One object of jThreadsInfo or jstopinfo, bare JSON:
 * {"tid":1,"name":"…","reason":"breakpoint","signal":5,"description":"…"}. The caller adds brackets
 * and commas, and escapes (reply_binary) or hexes the whole.
 */
void stop_reply_put_json(struct buf *b, const struct stop_reply *sr,
			 const struct stop_reply_dialect *d, unsigned flags);

/* The signal number as this dialect spells it: GDB's, or the kernel's. */
int stop_reply_signal(int gdb_signal, const struct stop_reply_dialect *d);
/* A number the client sent (vCont;C17) to the kernel's; 0 when it means none. */
int stop_reply_linux_signal(int client_signal, const struct stop_reply_dialect *d);

#endif
