/*
 * threadview.h - the threads a client sees, and the OS threads behind them.
 *
 * The only place where client thread ids and Linux tids meet. Callers may assume neither that an id equals a tid, nor that every id
 * has an OS thread at the moment, nor that all registers of one can be read. Every OS thread has exactly one id at any moment.
 * Ids are positive and below 2^31.
 *
 * Errors: -ESRCH the id is unknown or its thread gone; -EBUSY it runs, or is where it has no registers; -ENODATA this register
 *         is not available; -EROFS it cannot be written.
 */
#ifndef STOPGO_THREADVIEW_H
#define STOPGO_THREADVIEW_H

#include "target/target.h"
#include "target/x86/regs.h"

struct threadview;

/* Borrows the target. NULL: no memory. */
struct threadview *threadview_new(struct target *t);
void threadview_free(struct threadview *v);

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

struct view_thread {
	char name[64];   /* empty: none */
	char extra[256]; /* a few words on what it does; empty: nothing to say */
	int core;        /* -1: unknown */
	bool stopped;    /* can be asked for registers */
};
int threadview_describe(struct threadview *v, int64_t id, struct view_thread *ret);

/*
 * The registers of one thread for the length of a packet: fetched group by group when first asked for, written back by
 * view_regs_flush() where changed. Large (16 kB); view_regs_begin() touches little of it.
 */
struct view_regs {
	struct threadview *view;
	pid_t tid;
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
