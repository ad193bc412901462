/*
 * threadview.h - the threads a client sees, and the OS threads behind them.
 *
 * The only place where client thread ids and Linux tids meet. Callers may assume neither that an id equals a tid, nor that every id
 * has an OS thread at the moment, nor that all registers of one can be read. Every OS thread has exactly one id at any moment.
 * Ids are positive and below 2^31, and never mean something else later in a session.
 *
 * Two views: OS threads (an id is a tid), and goroutines (gview.h: goroutine N is thread N). Which one is in force is decided by
 * the policy, when somebody asks; a program is looked at only if the policy wants goroutines.
 *
 * In the goroutine view addresses of a goroutine's stack are shown as window addresses (window.h) in its sp, bp and pc, and
 * understood wherever the client sends an address or a value.
 *
 * Errors: -ESRCH the id is unknown or its thread gone; -EBUSY it runs, or is where it has no registers; -ENODATA this register
 *         is not available; -EROFS it cannot be written.
 */
#ifndef STOPGO_THREADVIEW_H
#define STOPGO_THREADVIEW_H

#include "server/options.h"
#include "server/window.h"
#include "target/target.h"
#include "target/x86/regs.h"

struct go_model;
struct gview;
struct threadview;

/* What the views of all processes of a server obey. Changes count from the next question on. */
struct view_policy {
	enum threads_mode mode;
	bool suits;    /* THREADS_AUTO: this client is to see goroutines */
	bool non_stop; /* goroutines cannot be told while some threads run: OS threads are shown */
	bool stable_stacks;
	size_t max_goroutines;         /* listed at most */
	bool catch_panic, catch_fatal; /* a Go program that is about to die stops */
	bool catch_asked;              /* also where OS threads are shown */
};

/* Borrows the target and the policy. NULL: no memory. */
struct threadview *threadview_new(struct target *t, const struct view_policy *policy);
void threadview_free(struct threadview *v);

/* Somebody is about to run, or did: what was read is stale. */
void threadview_resumed(struct threadview *v);
/* The same when something was written. */
void threadview_changed(struct threadview *v);
/* Another program: whatever was learned is forgotten. */
void threadview_execed(struct threadview *v);
/* OS threads are shown because this client is in non-stop mode, where some run while others are asked. */
bool threadview_needs_all_stop(struct threadview *v);
/* The goroutine view if it is in force, else NULL. */
struct gview *threadview_gview(struct threadview *v);
/* The same, whichever view is in force; NULL: it is no Go program, err (may be NULL) says why. */
struct gview *threadview_goroutines(struct threadview *v, struct err *err);

/* The listing: after = 0 begins; 0 in *ret ends. */
int threadview_next(struct threadview *v, int64_t after, int64_t *ret);
/* Listed or not, does a thread of this id live? */
bool threadview_alive(struct threadview *v, int64_t id);
/* The id an event of this OS thread is reported with. */
int64_t threadview_id_of(struct threadview *v, pid_t tid);
/* The OS thread that runs it now; 0: none does. */
pid_t threadview_tid_of(struct threadview *v, int64_t id);
/* The thread to begin with when the client named none; 0: there is none. */
int64_t threadview_main(struct threadview *v);
/* Everybody was stopped on demand and this OS thread happened to say so: the thread a person wants to see. wanted: chosen before. */
int64_t threadview_interrupted(struct threadview *v, pid_t tid, int64_t wanted);

/* Until the next resume this OS thread has this id, whatever it carries now: its client stepped it by that name. */
void threadview_keep(struct threadview *v, int64_t id, pid_t tid);
/* The views are about to change: until the next resume the client may go on using the ids that OS threads have now. */
void threadview_keep_ids(struct threadview *v);
/* Is it such a name, and none of the view in force? */
bool threadview_is_former(struct threadview *v, int64_t id);
/* This one stopped: it is listed, whatever is left out. */
void threadview_stopped(struct threadview *v, int64_t id);

struct view_thread {
	char name[64];   /* empty: none */
	char extra[256]; /* a few words on what it does; empty: nothing to say */
	int core;        /* -1: unknown */
	bool stopped;    /* can be asked for registers */
};
int threadview_describe(struct threadview *v, int64_t id, struct view_thread *ret);

/* Where an address that the client sent is now, and how many of *len bytes from there on are. Itself when it is no window address. */
uint64_t threadview_real(struct threadview *v, uint64_t addr, uint64_t *len);
/* The same for the aligned words among bytes that are to be written at addr. */
void threadview_real_values(struct threadview *v, uint64_t addr, uint8_t *bytes, size_t len);

enum view_regs_from {
	VIEW_REGS_THREAD, /* of an OS thread, all of them */
	VIEW_REGS_SAVED,  /* pc, sp, bp of a goroutine that runs nowhere */
	VIEW_REGS_FRAME, /* of a goroutine that a signal interrupted: the general ones, kept in its signal frame */
	VIEW_REGS_NONE, /* it has none now */
};

/*
 * The registers of one thread for the length of a packet: fetched group by group when first asked for, written back by
 * view_regs_flush() where changed. Large (16 kB); view_regs_begin() touches little of it.
 */
struct view_regs {
	struct threadview *view;
	pid_t tid; /* VIEW_REGS_THREAD, VIEW_REGS_FRAME */
	enum view_regs_from from;
	bool fixed;           /* cannot be written */
	uint64_t frame;       /* VIEW_REGS_FRAME: where they are kept */
	struct window window; /* of the stack they are on; hi 0: shown as they are */
	bool have_gp, have_xstate;
	bool dirty_gp, dirty_xstate;
	int gp_error, xstate_error;
	struct user_regs_struct gp;
	struct xstate xstate;
};

int view_regs_begin(struct view_regs *r, struct threadview *v, int64_t id);
/* enum x86_reg; copies x86_reg_size() bytes. */
int view_regs_get(struct view_regs *r, unsigned reg, void *into);
int view_regs_set(struct view_regs *r, unsigned reg, const void *from);
int view_regs_flush(struct view_regs *r);

#endif
