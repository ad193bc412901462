/*
 * gview.h - goroutines as threads: who they are, who of them is listed, whose registers they have.
 *
 * Ids:    goroutine N is thread N. One above 2^30 gets an id of its own (VIEW_ID_BIG and up). An OS thread that is not on the stack of
 *         a user's goroutine - idle, in the scheduler, in C, on a signal stack, at work for the runtime - is VIEW_ID_OS + tid, listed
 *         beside the goroutine it works for. One of the runtime's own goroutines can be asked for by its number all the same.
 *         Before the runtime has started, the first OS thread is thread 1, which becomes goroutine 1.
 * Listed: every goroutine but the runtime's own, at most policy->max_goroutines: the one that stopped, those that run, then the
 *         newest; and every OS thread that runs none of them. Whatever lives can be asked for, listed or not.
 * Brief:  a client that reads the list at every stop spends more time on a thousand entries than the stop takes otherwise (gdb compares
 *         each thread it has with each of the list). When not all can be listed anyway, a brief listing has those that the client
 *         was told last and that live, else a hundred; nobody looks at the others for it. None is told to have ended that lives.
 * Cost:   nothing is read before somebody asks, and once a stop. One thread's goroutine costs four reads, a listing a batch a
 *         few hundred goroutines. gview_resumed() forgets. Of more goroutines than can be listed the choice is made anew only so
 *         often that it takes a thirtieth of the time; in between those chosen are read again, and those made since.
 *
 * Used by threadview.c, which joins it with the view of OS threads, and by what follows goroutines (gstep.h) and tells of them
 * (monitor_go.h).
 */
#ifndef STOPGO_GVIEW_H
#define STOPGO_GVIEW_H

#include "dwarf/go/model.h"
#include "server/threadview.h"

enum {
	VIEW_ID_OS = 0x40000000,
	VIEW_ID_BIG = 0x40800000, /* above every tid Linux can have (2^22) */
};

/* Borrows target, model and policy. first_pc is where the program begins, 0 if that is not known. NULL: no memory. */
struct gview *gview_new(struct target *t, struct go_model *model, uint64_t first_pc,
			const struct view_policy *policy);
void gview_free(struct gview *gv);
void gview_resumed(struct gview *gv);

struct go_model *gview_model(struct gview *gv);

/* As in threadview.h. */
int gview_next(struct gview *gv, int64_t after, int64_t *ret);
bool gview_alive(struct gview *gv, int64_t id);
int64_t gview_id_of(struct gview *gv, pid_t tid);
pid_t gview_tid_of(struct gview *gv, int64_t id);
int64_t gview_main(struct gview *gv);
int64_t gview_interrupted(struct gview *gv, pid_t tid, int64_t wanted);
int gview_describe(struct gview *gv, int64_t id, struct view_thread *ret);
int gview_regs_begin(struct gview *gv, int64_t id, struct view_regs *r);

/* The client knows this one: it is listed whatever the limit. */
void gview_prefer(struct gview *gv, int64_t id);
/* The next listing is for somebody who does not want to see it. */
void gview_brief(struct gview *gv, bool brief);
/* The client has been told the listing as it is. */
void gview_told(struct gview *gv);
/* How many goroutines the last listing left out; 0 when there was none at this stop. */
size_t gview_left_out(struct gview *gv, size_t *ret_listed);

/* g 0: there is none, or the id is an OS thread's. */
struct go_goroutine gview_goroutine(struct gview *gv, int64_t id);
int64_t gview_id_of_goid(struct gview *gv, uint64_t goid);
/* What a stopped OS thread does; where is GO_WHERE_NOT_GO when it cannot be asked. Valid until the next resume. */
const struct go_thread *gview_thread(struct gview *gv, pid_t tid, struct go_thread_regs *ret_regs);
/* The OS thread that runs a goroutine or works for it; 0: none. */
pid_t gview_worker(struct gview *gv, const struct go_goroutine *g);
/* pc, sp, bp of a goroutine as they are, without windows. */
int gview_go_regs(struct gview *gv, const struct go_goroutine *g, struct go_regs *ret);

/* The window of a goroutine's stack; false: it has none, or they are off. */
bool gview_window(struct gview *gv, int64_t id, struct window *ret);
/* Where a window address is. False: it is none, or of no stack that the client was shown. */
bool gview_find_shown(struct gview *gv, uint64_t shown, struct window *ret);

#endif
