/*
 * session.h - one client: what was agreed with it, which thread it means, what it waits for.
 *
 * All-stop: a resume is answered by exactly one stop reply. When an event arrives everybody is stopped and it is reported; what
 * else happened waits inside the tracer and comes at the next resume, before anything runs.
 * Non-stop: resumes are answered OK; events are queued, announced by one %Stop at a time and fetched with vStopped.
 *
 * The debuggees are the server's (inferior.h) and stay when the session goes; so does what is pending.
 */
#ifndef STOPGO_SESSION_H
#define STOPGO_SESSION_H

#include "protocol/features.h"
#include "protocol/packet.h"
#include "protocol/reply.h"
#include "protocol/stopreply.h"
#include "protocol/threadid.h"
#include "server/hostio.h"
#include "server/inferior.h"
#include "server/regmap.h"
#include "target/ax.h"

struct conn;
struct saved_regs;
struct stdio_queue;
struct waiting;
struct server;

enum {
	SESSION_PACKET_MAX = 0x20000,          /* PacketSize: longest body in either direction */
	SESSION_OBJECT_MAX = 64 * 1024 * 1024, /* qXfer objects */
};

enum session_on_loss {
	SESSION_LOSS_DEFAULT, /* nothing was asked for */
	SESSION_LOSS_DETACH,  /* QSetDetachOnError:1 */
	SESSION_LOSS_KILL,    /* QSetDetachOnError:0 */
};

/* A stop that was not acknowledged with vStopped yet. */
struct queued_stop {
	int64_t pid;
	int64_t id;
	int64_t child; /* the process its fork made: nobody who says "all" means that one yet */
	bool final; /* an exit: '?' does not make it again */
	char *text; /* the encoded stop reply */
	size_t len;
};

/* The object a qXfer read is in the middle of. */
struct xfer_snapshot {
	const void *object; /* whose; NULL: none */
	int64_t pid, id;
	char annex[256];
	struct buf data;
};

struct session {
	struct server *server;
	struct conn *conn;
	struct inferiors *inferiors;
	struct tracer *tracer; /* NULL: a core */

	struct client_features client;
	struct stop_reply_dialect dialect;
	struct regmap regs;
	bool extended;
	bool error_strings; /* QEnableErrorStrings */
	bool thread_suffix; /* QThreadSuffixSupported */
	bool resumed;       /* the client has let something run */
	enum session_on_loss on_loss;
	sigset_t pass;            /* QPassSignals */
	bool signals_of_go;       /* the tracer has been told of Go's own signals */
	bool sigurg_asked;        /* a list of signals that pass was sent, and SIGURG was not in it */
	struct saved_regs *saved; /* QSaveRegisterState */
	uint64_t saved_count;
	bool env_begun;            /* lldb: the environment was emptied before its first variable */
	char launch_error[256];    /* of the last A; empty: none */
	struct waiting *waiting;   /* vAttachWait: for whom; NULL: for nobody */
	struct stdio_queue *stdio; /* non-stop: output not fetched with vStdio; NULL: none yet */

	struct threadid general; /* Hg; pid 0: none was chosen */
	struct threadid cont;    /* Hc */

	bool non_stop;
	bool running;              /* all-stop: a stop reply is due */
	bool interrupting;         /* all-stop: an interrupt is on its way */
	bool interrupt_early;      /* one came while nothing ran: it is for the next resume */
	bool begun_runs;           /* the process begun last took part in the last resume that was no step past a breakpoint */
	bool steps_past;           /* since then one thread of another process is stepped, alone */
	bool thread_events;        /* QThreadEvents:1 */
	struct queued_stop *queue; /* non-stop; [0] is the one the client was told last */
	size_t queued, queue_room;
	bool notified; /* vStopped is due */

	unsigned lists_due; /* of threads, that gdb reads by itself after a stop: nobody asked for them */
	struct threadid listing; /* qsThreadInfo goes on behind this thread; pid 0: it is over */
	struct xfer_snapshot xfer;
	struct hostio hostio;
	bool wants_symbols; /* in the middle of a qSymbol exchange */
	struct buf kept;    /* lines for the console that came while the client took none */
	uint64_t kept_lost; /* how many there was no room for */
	bool behind; /* it does not read what it has not asked for */
	uint64_t dropped[2]; /* by enum session_chatter: what that cost it */

	int64_t trace_frame;          /* QTFrame: registers and memory are read from it; -1: from the process */
	bool trace_steps;             /* QTDP: the actions that come are for the steps */
	bool trace_again;             /* ... and of a tracepoint that has them already */
	struct {
		size_t point, part, variable;
	} trace_upload; /* what qTsP and qTsV go on with */
	struct ax_trace trace_vars; /* for conditions of breakpoints */

	struct buf reply;
	struct buf scratch; /* for handlers; emptied before each packet */
	bool quiet;         /* the handler answers later or never */
	bool settled;       /* the first packet has come: everybody was stopped */
	bool no_ack_next;   /* the reply being made is the last that is acknowledged */
};

/* What runs is stopped when the first packet comes. NULL: no memory. */
struct session *session_new(struct server *srv, struct conn *conn);
/* Takes out what the client put into the debuggees. Nothing is resumed. */
void session_free(struct session *s);

void session_packet(struct session *s, uint8_t *body, size_t len);
void session_interrupt(struct session *s);
/* The tracer may have events. */
void session_events(struct session *s);

enum session_on_loss session_on_loss(const struct session *s);
bool session_extended(const struct session *s);
/* Something was resumed and has not been reported since. */
bool session_is_running(const struct session *s);

/* --- for handlers --- */

/* The process or thread that Hg chose, or the first there is. NULL or false: there is none. */
struct inferior *session_inferior(struct session *s);
bool session_thread(struct session *s, struct inferior **ret_inf, int64_t *ret_id);
/* The same for an id a packet names; its wildcards mean any. */
bool session_find_thread(struct session *s, struct threadid id, struct inferior **ret_inf,
			 int64_t *ret_id);
/* Takes ";thread:ID;" where it comes; else as session_thread(). */
bool session_suffix_thread(struct session *s, struct args *a, struct inferior **ret_inf,
			   int64_t *ret_id);
void session_select(struct session *s, const struct inferior *inf, int64_t id);

static inline struct threadid session_id(const struct inferior *inf, int64_t id)
{
	return (struct threadid){ .pid = inf->pid, .tid = id };
}

void session_put_id(struct session *s, const struct inferior *inf, int64_t id);

/* What was appended is dropped and an error takes its place. code: a negative errno, or 1 to 255. */
void session_error(struct session *s, int code);
void session_error_text(struct session *s, int code, const char *fmt, ...) _printf_(3, 4);
void session_error_from(struct session *s, int code, const struct err *err);

/* Sends what is in s->reply: for answers that come later than their packet. */
void session_send_reply(struct session *s);

/* Output of the program that goes to the client. */
void session_output(struct session *s, const char *text, size_t len);

/* Prints on the client's console, at once; only while it waits for the reply of qRcmd or a stop reply. */
void session_console(struct session *s, const char *text, size_t len);
void session_printf(struct session *s, const char *fmt, ...) _printf_(2, 3);
/*
 * What nobody asked for: of a client that does not read it, only so much waits. Lines of ours or bytes of the program's are dropped then
 * and counted, which is told as soon as it reads again, or at the stop.
 */
enum session_chatter { CHATTER_LINES, CHATTER_OUTPUT };
void session_chat(struct session *s, enum session_chatter what, const char *text, size_t len);
void session_tell_dropped(struct session *s);
/* For the console, now or, if the client takes no text now, when session_tell_kept() is called. */
void session_trace(struct session *s, const char *line, size_t len);
/* What was kept; the rest of it is how many lines were lost. */
void session_tell_kept(struct session *s);
/* What a monitor command takes, as an error. Returns true: the command was known. */
bool session_usage(struct session *s, const char *usage);

/* What the client has chosen and was about to hear of it. */
void session_forget_inferior(struct session *s, const struct inferior *inf);
/* The process is no more: forgets it everywhere and tells the server. */
void session_drop_inferior(struct session *s, struct inferior *inf);

/* Tells the tracer which events this client wants. */
void session_update_events(struct session *s);
/* Tells the tracer which signals pass: what the client said, and with lldb and Delve the one that Go preempts goroutines with. */
void session_update_signals(struct session *s);

/* The client speaks as lldb does: lldb itself or Delve. */
static inline bool session_is_lldb(const struct session *s)
{
	return s->client.kind == CLIENT_LLDB || s->client.kind == CLIENT_DELVE;
}

/* After something was learned of who the client is. */
void session_know_client(struct session *s);

#endif
