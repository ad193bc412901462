/*
 * server.h - the life of the server: starting, clients that come, go and vanish, and the end.
 *
 *   start     the address is bound, then the program launched or the process seized (nothing stops), then the lines
 *             that scripts wait for are printed, then clients are let in
 *   client    one at a time; a second one is turned away at once. Its debuggees are stopped when its packets arrive
 *   gone      breakpoints out at once. Asked for with QSetDetachOnError, or with --once: detached or killed. Else a stop is kept for
 *             --grace seconds, so that the client may come back to it; then what was attached runs on
 *   end       launched processes are killed, attached ones run on, clean. Within two seconds, whatever happens
 *
 * The one place that joins the loop, the tracer, the listener and the session. Debuggees are in inferiors (inferior.h).
 */
#ifndef STOPGO_SERVER_H
#define STOPGO_SERVER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "server/options.h"

struct inferiors;
struct launch;
struct loop;
struct session;
struct target;
struct tracer;

struct server {
	const struct options *opt;
	struct loop *loop;
	struct tracer *tracer; /* NULL: nothing can be launched or attached (a core) */
	struct inferiors *inferiors;
	struct session *session; /* NULL: no client */
};

/* Serves until the end and returns the exit code. */
int server_run(const struct options *opt);

/* --- for the session --- */

/* Ends in an orderly way once the reply to the current packet has been written (monitor exit). */
void server_end(struct server *srv, int exit_code);

/* After W, X, D, k and vKill. Ends the server when that was the last process and no --multi or '!' keeps it. */
void server_inferior_gone(struct server *srv);

/* Starts the program and says so ("Process PROG created; pid = N"). The caller takes the target over. */
int server_launch(struct server *srv, const struct launch *how, struct target **ret,
		  struct err *err);

/* The client or a signal wants us back while a packet is being served. */
bool server_is_called(const struct server *srv);

/* Checks, seizes and says so ("Attached; pid = N"). Nothing is stopped. The caller takes the target over. */
int server_attach(struct server *srv, pid_t pid, struct target **ret, struct err *err);

#endif
