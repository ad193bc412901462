/*
 * bpoints.h - the breakpoints of a process by number: those that a person sets by `monitor break` and `watch`, traces, and the
 * client's own.
 *
 * Numbers begin at 1 and are not used again. A client's breakpoint gets one when it is first inserted and keeps it, with its counts,
 * while the client stays: gdb takes all of them out at every stop.
 *
 * Hits are counted, in all and by goroutine (by OS thread where there are none), when the conditions are true: in the thread that
 * hit, while all others run. A hit condition then decides, as Delve's does: `== 3` stops at the third hit and at no other.
 *
 * A person's outlive an exec when they name a function, a line or a variable: they are looked for in the new program. One that is not
 * found there waits, and is looked for again whenever a library has been loaded.
 *
 * Owner:  an inferior has one struct bpoints. bpoints_forget() when the target's points are gone and so is who set them.
 */
#ifndef STOPGO_BPOINTS_H
#define STOPGO_BPOINTS_H

#include "base/buf.h"
#include "server/places.h"
#include "server/values.h"
#include "target/target.h"

struct inferior;
struct session;
struct tracepoint;

/* WATCHED_MAX: four debug registers of eight bytes. */
enum { BPOINTS_MAX = 65536, BPOINT_THREADS_MAX = 65536, WATCHED_MAX = 32 };

enum bpoint_kind { BPOINT_BREAK, BPOINT_TRACE, BPOINT_CLIENT, BPOINT_WATCH };
enum hit_op { HIT_ANY, HIT_EQ, HIT_NE, HIT_LT, HIT_LE, HIT_GT, HIT_GE, HIT_EVERY };

struct hit_rule {
	enum hit_op op;
	uint64_t value;
	bool each; /* by goroutine, not in all */
};

struct thread_hits {
	int64_t id;
	uint64_t count;
};

struct hits {
	uint64_t total;
	struct thread_hits *by; /* sorted by id */
	size_t count, room;
	uint64_t others; /* of threads that have no place above */
};

struct bpoint {
	unsigned number;
	enum bpoint_kind kind;
	enum point_kind point; /* BPOINT_CLIENT: POINT_SW, POINT_HW; BPOINT_WATCH: the access */
	uint64_t len;          /* BPOINT_WATCH */
	struct value_of watched;
	bool pending;      /* libraries that are loaded later are looked through */
	bool waits;        /* it has no places yet */
	size_t left_out;   /* places that the condition has no meaning at */
	char *why;         /* waits: what was looked for in vain; left_out: what the first lacks */
	bool in, was_in;   /* BPOINT_CLIENT: inserted; when the process last ran */
	size_t conditions; /* BPOINT_CLIENT: how many it sent */
	bool commands;
	struct point_way way;   /* how NULL: not known */
	char *spec, *condition; /* what was typed; condition NULL: none */
	int64_t thread;         /* goroutine or OS thread that it is for; 0: any */
	struct places places;
	struct hit_rule rule;
	struct hits hits;
	struct tracepoint *trace; /* BPOINT_TRACE */
};

struct bpoints {
	struct bpoint **at; /* by number */
	size_t count, room;
	struct bpoint **clients; /* by address and kind */
	size_t client_count, client_room;
	unsigned last;
	uint64_t loads_at; /* where the loader tells of libraries; 0: nobody waits for one */
	bool loaded;       /* it has told */
	bool attend;       /* bpoints_attend() has something to do */
};

/* What a person asked for. */
struct bpoint_want {
	enum bpoint_kind kind;
	const char *spec, *condition;
	int64_t thread;
	struct hit_rule rule;
	struct tracepoint *trace; /* taken over, on failure too */
	enum point_kind
		point; /* BPOINT_WATCH: the access, and how many bytes; 0: as many as it has */
	uint64_t len;
	pid_t tid;    /* in whose terms a watched expression is meant */
	bool pending; /* what is in no file yet may come with a library */
};

/* "==", "<=" ...; false: it is none. */
bool hit_rule_parse(const char *op, const char *value, struct hit_rule *ret);

int bpoints_add(struct inferior *inf, const struct bpoint_want *want, struct bpoint **ret,
		struct err *err);
/* NULL: there is none. */
struct bpoint *bpoints_find(const struct bpoints *all, unsigned number);
/* Not a client's. */
void bpoints_delete(struct inferior *inf, struct bpoint *b);
/* Those at the target are gone already. */
void bpoints_forget(struct bpoints *all);

/* The client's, as they come and go. */
void bpoints_client_set(struct inferior *inf, const struct point *p);
/* Before it is removed. */
void bpoints_client_removed(struct inferior *inf, const struct point *p);
/* Somebody is about to run. */
void bpoints_resumed(struct inferior *inf);

/* For struct tracer: the context is the session. */
enum hit_answer bpoints_hit(void *ctx, const struct point_hit *h);
/* Sets what hits have asked for; the thread that hit has not gone on yet. */
void bpoints_attend(struct inferior *inf);
/* The process runs another program. */
void bpoints_execed(struct inferior *inf);
/* "breakpoint 2, main.f at main.go:12"; nothing when this stop is none of ours. */
void bpoints_describe_stop(struct inferior *inf, pid_t tid, const struct stop *stop,
			   struct buf *out);
/* The client has a breakpoint where one of the server's was hit, and it was not hit. */
bool bpoints_hides(struct inferior *inf, pid_t tid, const struct stop *stop);
/* What is told before the stop itself, on the client's console. */
void bpoints_say_stop(struct session *s, struct inferior *inf, pid_t tid, const struct stop *stop);
void bpoints_list(struct inferior *inf, struct buf *out);

/* The goroutine an OS thread runs now, else the thread itself. */
struct bpoint_thread {
	int64_t id;
	bool goroutine;
	uint64_t stack_lo, stack_hi; /* the goroutine's stack; 0: it is none */
};

/* The thread is stopped. */
struct bpoint_thread bpoints_thread(struct inferior *inf, pid_t tid);
/* On the stack of the goroutine that the thread runs. */
bool bpoints_on_stack(struct inferior *inf, pid_t tid, uint64_t addr);

#endif
