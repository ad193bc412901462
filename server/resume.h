/*
 * resume.h - vCont and its older relatives: what each thread shall do.
 *
 * The leftmost action that covers a thread is its action; a thread that none covers stays as it is. Nothing is resumed before
 * the whole packet was understood and every process and thread it names was found.
 */
#ifndef STOPGO_RESUME_H
#define STOPGO_RESUME_H

#include "server/session.h"

struct action {
	struct threadid who;
	pid_t tid; /* the OS thread that is the one thread it names, while it is served; 0: none is */
	bool stop; /* t */
	struct resume how;
};

struct actions {
	struct action *at;
	size_t count, room;
};

void actions_fini(struct actions *list);
/* -ENOMEM. */
int actions_add(struct actions *list, const struct action *one);
/* What follows "vCont;". -EINVAL; -EOPNOTSUPP: an action we do not have. */
int actions_parse(struct session *s, struct actions *list, struct args *a);

/* Resumes and makes the reply: OK in non-stop; later in all-stop, unless it was refused. */
void resume_threads(struct session *s, struct actions *list);

#endif
