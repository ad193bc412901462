/*
 * gate.h - how clients come in, whatever COMM was given: one interface over listening sockets, standard input and
 * output, an inherited descriptor, a serial line, and a client that is called.
 *
 * Order:  gate_open() claims the address, so that one in use costs no program a start; gate_announce() says
 *         what scripts wait for; gate_admit() lets clients in.
 * stdio:  the protocol moves to descriptors of its own. 0 becomes /dev/null and 1 stderr, for us and for what we start.
 */
#ifndef STOPGO_GATE_H
#define STOPGO_GATE_H

#include <stdbool.h>

#include "base/err.h"

struct gate;
struct loop;
struct options;

int gate_open(const struct options *opt, struct gate **ret, struct err *err);
void gate_free(struct gate *g);

/* In stdio mode says so, before the program is started; else nothing. */
void gate_say_redirected(const struct gate *g);
/* "Listening on port N"; tells --pipe and --named-pipe the port. */
int gate_announce(struct gate *g, struct err *err);
/*
 * From now on clients are told. True: taken, the descriptors, which may be the same, are the callback's. False: there is
 * no room for another one; the gate sends it away.
 */
void gate_admit(struct gate *g, struct loop *loop, bool (*client)(void *ctx, int in_fd, int out_fd),
		void *ctx);
/* Nobody else is let in (--once). */
void gate_close(struct gate *g);
/* No other client can come: the one there is came by a way of its own. */
bool gate_is_single(const struct gate *g);

#endif
