/*
 * comm.h - the COMM word of the command line: where the client is to be found.
 *
 *   HOST:PORT  :PORT  [V6]:PORT  *:PORT    listen on TCP; tcp: tcp4: tcp6: in front choose the family
 *   unix:PATH  /PATH                       listen on a Unix socket; a character device is a serial line
 *   unix-abstract:NAME                     the same without a file
 *   -  stdio                               standard input and output
 *   fd:N                                   a connected descriptor that was inherited
 *   connect://HOST:PORT                    connect to the client, who listens
 *   listen:// accept:// unix:// unix-accept:// unix-connect:// unix-abstract:// tcp:// fd://
 *   serial://
 *                                          as lldb-server's URLs
 *   PORT                                   in lldb-server's grammar only
 *
 * Nothing is resolved, opened or checked here but the form; a path is looked at to tell a device
 * from a socket.
 */
#ifndef STOPGO_COMM_H
#define STOPGO_COMM_H

#include <stdbool.h>
#include <sys/un.h>

#include "base/err.h"

enum comm_kind {
	COMM_NONE,
	COMM_TCP,
	COMM_UNIX,
	COMM_ABSTRACT,
	COMM_STDIO,
	COMM_FD,
	COMM_TTY,
};

enum { COMM_HOST_MAX = 256 };

struct comm {
	enum comm_kind kind;
	bool connect;             /* we call the client; else we listen (TCP and Unix sockets) */
	int family;               /* TCP: AF_UNSPEC, AF_INET or AF_INET6 */
	char host[COMM_HOST_MAX]; /* TCP; empty: loopback, "*": every address */
	uint16_t port;            /* TCP; 0: any free one */
	int fd;                   /* COMM_FD */
	char path[256];           /* COMM_UNIX, COMM_ABSTRACT (without the leading NUL), COMM_TTY */
};

/* bare_port: a number alone is a TCP port (lldb-server). -EINVAL with a sentence when it is no
 * COMM. */
int comm_parse(const char *text, bool bare_port, struct comm *ret, struct err *err);

#endif
