/*
 * delve.h - Delve's own server: lines of JSON instead of packets. It attaches when it starts, and to Go programs only.
 *
 * Errors: as rsp.h has them; -EPROTO: it says that something went wrong.
 */
#ifndef STOPGO_BENCH_DELVE_H
#define STOPGO_BENCH_DELVE_H

#include "link.h"

/* Waits until it answers; the program stands still. */
int delve_attach(struct link *l);
/* "continue", "stepInstruction": sent, and waited for. */
int delve_command(struct link *l, const char *name);
/* Everybody runs; no reply is read. */
int delve_go(struct link *l);
/* The stop that ends it. */
int delve_halt(struct link *l);
/* At a function; condition may be empty. */
int delve_break(struct link *l, const char *function, const char *condition);
int delve_watch(struct link *l, const char *variable);
/* All of them. */
int delve_clear(struct link *l);

#endif
