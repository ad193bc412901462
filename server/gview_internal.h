/*
 * gview_internal.h - the goroutine view inside: what gview.c (who runs what, registers, windows), gview_list.c (who is listed) and
 * gview_describe.c (what is said of them) share. Nobody else includes it.
 *
 * Everything here is of one stop: it is made when asked for and forgotten by gview_resumed(). What lasts is the table of ids and
 * the set of windows that the client was shown.
 */
#ifndef STOPGO_GVIEW_INTERNAL_H
#define STOPGO_GVIEW_INTERNAL_H

#include "server/gview.h"

/* An OS thread as it stands. */
struct seen {
	pid_t tid;
	bool known; /* its registers could be read */
	struct go_thread_regs regs;
	struct go_thread at;
};

enum { RECENT = 64 };

/* A goroutine asked for at this stop; several share a place, the last one has it. */
struct recent {
	uint64_t stop;
	int64_t id;
	struct go_goroutine g;
};

struct big_id {
	uint64_t goid;
	int64_t id;
};

/* A goroutine of the list that the client was told last. */
struct known {
	uint64_t g, goid;
};

struct gview {
	struct target *target;
	struct go_model *model;
	const struct view_policy *policy;
	uint64_t stop;

	uint64_t first_pc; /* until it has been left */
	bool asked_ready, ready; /* the runtime has goroutines */
	struct seen *seen;
	size_t n_seen, seen_room;
	bool seen_all; /* every OS thread is there, by tid */
	struct recent recent[RECENT];

	bool listed;
	struct go_goroutine *gs; /* by id */
	size_t n_gs, gs_room;
	int64_t *ids; /* all that is listed, rising */
	size_t n_ids, ids_room;
	size_t left_out;

	/* Of the goroutines when there are more than are listed; outlives the stop. */
	struct {
		uint64_t *g;
		size_t count, room, limit;
		size_t of, seen;   /* what go_count() was; how many could have been listed */
		uint64_t again_ns; /* chosen anew from then on */
	} choice;

	bool brief;
	struct known *known; /* by goid; outlives the stop */
	size_t n_known, known_room;

	int64_t preferred;
	struct big_id *big;
	size_t n_big, big_room;
	int64_t *shown; /* windows the client knows addresses of, rising */
	size_t n_shown, shown_room;
};

/* gview.c */
bool gview_ready(struct gview *gv);
int gview_see_all(struct gview *gv);
struct seen *gview_see(struct gview *gv, pid_t tid);
/* The thread that g runs on or that works for it; NULL: none. */
struct seen *gview_thread_of(struct gview *gv, const struct go_goroutine *g);
bool gview_thread_exists(struct gview *gv, pid_t tid);
/* Grows an array to hold one more. */
int gview_room(void *array, size_t size, size_t count, size_t *room);

/* gview_list.c */
uint64_t gview_clock_ns(void);
int gview_list(struct gview *gv);
/* In the listing of this stop, if there is one. */
const struct go_goroutine *gview_listed(const struct gview *gv, int64_t id);

#endif
