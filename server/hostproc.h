/*
 * hostproc.h - a process of this host as lldb's platform packets tell of it.
 */
#ifndef STOPGO_HOSTPROC_H
#define STOPGO_HOSTPROC_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"

struct hostproc {
	pid_t pid;
	unsigned parent, uid, euid, gid, egid;
	bool taken; /* nobody can attach: it has ended, or somebody traces it */
	bool has_exe; /* else exe is its name in brackets: a kernel's thread, a process of somebody else */
	char exe[4096];
};

/* -ESRCH: there is none. */
int hostproc_read(pid_t pid, struct hostproc *ret);

/* "pid:1;ppid:0;uid:0;...;name:HEX;args:HEX-HEX;triple:HEX;", numbers in decimal. */
void hostproc_put(struct buf *b, const struct hostproc *p);

extern const char hostproc_triple[];

#endif
