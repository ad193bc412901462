/*
 * inferior.h - the processes (or the core) that are being debugged. They outlive the client's connection.
 *
 * An inferior is a target and what this server keeps about it: the view of its threads, what the client last heard of
 * them, caches that a resume or an exec makes stale. target->user points back at it.
 *
 * Owner:  struct inferiors owns its inferiors; an inferior owns its target and closes it.
 * Client gone: inferiors_forget_client() takes out every breakpoint and everything the client asked for.
 */
#ifndef STOPGO_INFERIOR_H
#define STOPGO_INFERIOR_H

#include "server/gofiles.h"
#include "server/gstep.h"
#include "server/gwatch.h"
#include "server/launching.h"
#include "server/bpoints.h"
#include "server/catching.h"
#include "server/places.h"
#include "server/threadview.h"
#include "target/target.h"

struct stdio_pty;
struct threaddb;
struct tracepoints;

/* What is known about one OS thread beyond what the target says. Only threads with something to note have one. */
struct thread_note {
	pid_t tid;
	struct resume doing; /* a step or range that was asked for; CONT: nothing to go on with */
	bool is_doing;
	int64_t as;       /* the thread id it was named by; 0: none */
	bool stop_asked;  /* vCont;t: its STOP_INTERRUPT is reported with signal 0 */
	unsigned options; /* QThreadOptions */
	bool listed;      /* was in the last jstopinfo for Delve */
};

enum {
	THREAD_OPTION_CLONE = 1,
	THREAD_OPTION_EXIT = 2,
};

struct inferior {
	struct inferior *next;
	struct inferiors *all;
	struct target *target;
	pid_t pid;
	struct threadview *view;
	struct thread_note *notes;
	size_t note_count, note_room;
	bool attached;             /* qAttached: 1 */
	bool fresh;                /* launched and not yet run: '?' says SIGTRAP */
	struct catching catching;  /* system calls that stop it */
	uint64_t r_debug;          /* 0: not found yet */
	struct threaddb *threaddb; /* NULL: not needed yet */
	int is_go;                 /* 0: not looked at yet, else 1 or -1 */
	struct gsteps steps;       /* what goroutines are doing */
	struct gwatches watches;   /* points on their stacks */
	struct gofiles files;      /* made for clients that read the program */
	struct bpoints points;     /* by number: the server's own and the client's */
	struct images images; /* its files, opened when a place is looked for */
};

struct inferiors {
	struct view_policy policy; /* what the client sees as threads */
	struct inferior *first;
	struct inferior *alone; /* run on without the client, who has let go of them: nobody is told of what happens to them */
	size_t count; /* of both */
	pid_t begun; /* the one that was started or attached last; 0: there was none */
	struct target_event last; /* reported last; target NULL: none, or its process is gone */
	int64_t last_id; /* of the thread it was reported of; 0: whatever its OS thread is now */
	struct launching launching;
	struct tracepoints *trace; /* NULL: no client has asked for any */
	bool quiet; /* nothing is said when one ends: over stdio our stderr is the client's screen */
	/* Of the program launched last; NULL: it has the server's terminal */
	struct stdio_pty *pty;
};

void inferiors_init(struct inferiors *all);
void inferiors_fini(struct inferiors *all);

/* Takes the target over, on success only. NULL: no memory. */
struct inferior *inferiors_add(struct inferiors *all, struct target *t);
/* Closes its target. */
void inferiors_remove(struct inferior *inf);
/* NULL: there is none. */
struct inferior *inferiors_by_pid(struct inferiors *all, int64_t pid);
struct inferior *inferior_of(const struct target *t);

/* Breakpoints out, system call catches and thread options off. The tracer's event switches and signal sets are put back, too. */
void inferiors_forget_client(struct inferiors *all, struct tracer *tr);

/*
 * Nobody is connected and nobody will be asked: every stopped thread runs on, with the signal it stopped for if it still holds one
 * (but, unless launched_too, those of what was launched for the client: it waits for one);
 * then inferiors_unattended() deals with one event as nobody's business (a signal is delivered, an exit removes the inferior).
 * Returns the inferior's pid when it is gone, else 0.
 */
void inferiors_run_on(struct inferiors *all, struct tracer *tr, bool launched_too);
pid_t inferiors_unattended(struct inferiors *all, const struct target_event *ev);

/*
 * The client lets go of one that is to be traced on: it runs at once, and the client sees nothing of it any more. It is the client's again
 * by take_back(), which stops nobody (NULL: none is alone by this number), or the next one's when this one is forgotten.
 */
void inferiors_leave_alone(struct inferior *inf);
struct inferior *inferiors_take_back(struct inferiors *all, int64_t pid);

/* The note of a thread; inferior_note_make() makes an empty one, NULL without memory. Valid until the next one is made or dropped. */
struct thread_note *inferior_note(struct inferior *inf, pid_t tid);
struct thread_note *inferior_note_make(struct inferior *inf, pid_t tid);
void inferior_note_drop(struct inferior *inf, pid_t tid);

/* Everything learned from the old program is forgotten; breakpoints that a person set are looked for in the new one. */
void inferior_execed(struct inferior *inf);

/* Is it a Go program? Looks once a program. */
bool inferior_is_go(struct inferior *inf);

/* Reads what the client calls memory, window addresses included; short when only the front is readable. */
int inferior_mem_read(struct inferior *inf, uint64_t addr, void *into, size_t len, size_t *ret_got);
int inferior_mem_write(struct inferior *inf, uint64_t addr, const void *from, size_t len);
/* The mapping, hole or window that holds addr. */
int inferior_region_at(struct inferior *inf, uint64_t addr, struct mem_region *ret);

/* Says on stderr what gdbserver says there when a process ends, where it does. */
void inferior_say_end(const struct inferiors *all, const struct stop *stop);

#endif
