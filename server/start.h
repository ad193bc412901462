/*
 * start.h - the debuggee of the command line: from the options to a launched program or a seized process.
 */
#ifndef STOPGO_START_H
#define STOPGO_START_H

#include "base/err.h"

struct server;

/* Takes over what the options say about launching (also for programs that the client starts later). 0 or -ENOMEM. */
int start_prepare(struct server *srv, struct err *err);

/* Launches, attaches, or does neither. 0, or a negative errno with a sentence. */
int start_debuggee(struct server *srv, struct err *err);

/* The exit code for an error of start_debuggee(). */
int start_exit_code(const struct server *srv, int error);

#endif
