/*
 * listen.h - sockets on which clients arrive, and the one way to call a client instead.
 *
 * Who:    loopback only unless the caller allows more: listener_new() resolves the host and refuses an address
 *         that another machine could reach. A Unix socket is made 0600. A client of this machine, by whichever socket, must be this user or
 *         root, unless the caller allows any; one of whom that cannot be told is refused, too.
 * Ports:  "localhost" and an empty host mean 127.0.0.1 and ::1 with one port. Port 0 picks a free one.
 * Paths:  a socket that somebody listens on is -EADDRINUSE; one that nobody does is removed first; what is no
 *         socket is never touched. The file goes away with the listener.
 * Owner:  accepted descriptors pass to the callback. They are non-blocking, close-on-exec and tuned for packets.
 */
#ifndef STOPGO_LISTEN_H
#define STOPGO_LISTEN_H

#include "server/comm.h"
#include "server/loop.h"

struct listener;

struct listen_peer {
	char name[COMM_HOST_MAX]; /* a numeric address; a Unix socket's path */
	int port;                 /* -1: a Unix socket */
};

struct listen_how {
	bool allow_remote; /* addresses beyond loopback */
	bool empty_is_any; /* an empty host means every address, not loopback */
	bool any_may_be_less; /* "*" without allow_remote is loopback, and a warning, instead of an error */
	bool any_user; /* clients of this machine may be other users' */
};

/*
 * Binds and listens; nobody is accepted before listener_start(). -EPERM: the address is reachable from outside and
 * that was not allowed; -EADDRINUSE; others as the system says, all with a sentence.
 */
int listener_new(const struct comm *comm, const struct listen_how *how, struct listener **ret,
		 struct err *err);
void listener_start(struct listener *l, struct loop *loop,
		    void (*client)(void *ctx, int fd, const struct listen_peer *peer), void *ctx);
/* Instead of listener_start(): waits for a client. -EAGAIN: who came was turned away or has gone. */
int listener_accept(struct listener *l, int *ret_fd);
/* In a child: closes the sockets, which another process goes on listening on, and frees. */
void listener_leave(struct listener *l);
/* Removes the socket file. */
void listener_free(struct listener *l);
/* The TCP port, -1 for a Unix socket. */
int listener_port(const struct listener *l);
/* True when an address beyond loopback is served. */
bool listener_is_remote(const struct listener *l);

/*
 * Hangs up on a client politely: says no more, reads what it has sent so that it sees an end and not a reset, closes.
 * Takes fd. At most a handful are kept at a time, for at most a second each.
 */
void listener_refuse(struct listener *l, int fd);

/* Calls the client (connect://, --reverse-connect). *ret_fd as an accepted one. */
int listen_connect(const struct comm *comm, const struct listen_how *how, int *ret_fd,
		   struct listen_peer *ret_peer, struct err *err);

/* Keepalive, no delay, non-blocking, close-on-exec; harmless on what is no socket. */
void listen_tune(int fd);

#endif
