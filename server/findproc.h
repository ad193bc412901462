/*
 * findproc.h - processes by name, now or as soon as they start (--attach NAME, --waitfor, vAttachName, vAttachWait).
 *
 * A name is the program's file name, or a path to it. Ourselves, threads and kernel threads are never found.
 */
#ifndef STOPGO_FINDPROC_H
#define STOPGO_FINDPROC_H

#include <sys/types.h>

#include "base/err.h"

/* -ESRCH: none; -EINVAL: several, the sentence says which. */
int findproc_by_name(const char *name, pid_t *ret, struct err *err);

struct findproc {
	char name[256];
	pid_t *known; /* those that were there at findproc_begin() */
	size_t count;
};

/* 0, -ENOMEM or -EINVAL. */
int findproc_begin(struct findproc *f, const char *name);
/* The first process of that name that was not there before; 0: none yet. Cheap enough to be asked every millisecond. */
pid_t findproc_poll(struct findproc *f);
void findproc_fini(struct findproc *f);

#endif
