/*
 * peeruser.h - whose process is at the other end of a TCP connection within this machine.
 *
 * Asked of the kernel: its socket tables by netlink (sock_diag(7)), or /proc/net/tcp and tcp6 where that is not to be had. A socket that
 * its process has closed already has no owner any more: the tables then say user 0, and we say that we do not know.
 */
#ifndef STOPGO_PEERUSER_H
#define STOPGO_PEERUSER_H

#include <sys/types.h>

/* fd is our end. 0, or -ENOENT: it cannot be told. */
int peeruser_of(int fd, uid_t *ret);

#endif
