/*
 * platform.h - lldb's platform mode: who connects is served files, processes and a shell, and for each program it debugs a debug server
 * of its own, on the address it came to.
 *
 * Shape:  platform_run() waits for clients. With --server each gets a process of ours, else the first one is the last. What it asks for
 *         goes through an ordinary session without a program; the packets that only this mode has are in on_platform.c.
 * Ports:  a debug server takes the first free one of --gdbserver-port or --min-gdbserver-port to --max-gdbserver-port, else any. On a
 *         Unix socket it has a socket of its own beside it.
 * Owner:  debug servers end with their client. They are children that the tracer reaps, so each is kept by a pidfd.
 */
#ifndef STOPGO_PLATFORM_H
#define STOPGO_PLATFORM_H

#include "base/buf.h"
#include "server/options.h"

enum { PLATFORM_SPAWNED_MAX = 256 };

struct spawned {
	pid_t pid;
	int pidfd;
};

/* One debug server, as the client is told of it. */
struct platform_server {
	pid_t pid; /* 0: none */
	unsigned port;
	char path[sizeof(((struct comm *)0)->path)]; /* a Unix socket; empty: there is a port */
};

struct platform {
	const struct options *opt;
	char host[COMM_HOST_MAX];       /* where the client came to; empty: a Unix socket */
	struct platform_server pending; /* of the command line's program, for qQueryGDBServer */
	struct spawned spawned[PLATFORM_SPAWNED_MAX];
	size_t count;
	unsigned sockets; /* made so far */
	pid_t launched;   /* without a debug server, by A; 0: none */
	pid_t *found;     /* qfProcessInfo; the next one is found[at] */
	size_t found_count, found_at;
};

/* Serves until the end and returns the exit code. In platform_run.c. */
int platform_run(const struct options *opt);

/* Starts a debug server with that program, or none. port 0: as the options say. Returns when it listens. */
int platform_spawn(struct platform *p, char *const *program, unsigned port,
		   struct platform_server *ret, struct err *err);
/* No more is known of spawned[i]; it goes on. */
void platform_forget(struct platform *p, size_t i);
/* Ends a debug server that we started. -ESRCH: it is none. */
int platform_kill(struct platform *p, pid_t pid);

/*
 * Runs a line in /bin/sh, there if dir is not empty, for at most that long; what it prints goes to out up to the room that has. 0 or a
 * negative errno; -ETIMEDOUT: it was killed.
 */
int platform_shell(const char *line, const char *dir, unsigned timeout_s, struct buf *out,
		   int *ret_status);

#endif
