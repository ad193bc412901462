/*
 * gofiles.h - the symbols of a stripped Go program, for clients that read files through the server.
 *
 * Who opens the program of a process here for reading gets it with symbols, lines and frames made from its function table
 * (dwarf/go/symfile.h): the program's own bytes, other section headers, more behind its end. Who asks for the debug file of its
 * build id gets those alone, unless there is a real one. Anything else is as it is, and so is a program with debug information.
 *
 * Made when first opened, once a program, and kept as long as the process or somebody who has it open.
 */
#ifndef STOPGO_GOFILES_H
#define STOPGO_GOFILES_H

#include <stdbool.h>

#include "base/err.h"
#include "server/hostio.h"

struct inferior;
struct inferiors;

/* Of one inferior. */
struct gofiles {
	bool tried_program, tried_debug;
	bool hinted; /* the client's person was told how to get them */
	struct overlay *program, *debug; /* NULL: nothing is made for it */
};

void gofiles_forget(struct gofiles *files);

/* A file that was just opened for reading is covered if it is such a program. */
void gofiles_cover(struct inferiors *all, struct hostio *io, int fd);
/* Opens what only exists here: a debug file by its path. -ENOENT: it is none. */
int gofiles_open_debug(struct inferiors *all, struct hostio *io, const char *path);
/*
 * What to type at gdb for these symbols: one that was started with a file of its own reads no other unasked. False: the program has
 * symbols, or gdb's file says nothing of them, or somebody has read them.
 */
bool gofiles_put_hint(struct inferior *inf, struct buf *out);
/*
 * A copy of the program with its symbols in a new file on this machine, for clients that read no file through the server (lldb).
 * -ENODATA: there is nothing to add; -EEXIST: nothing is overwritten.
 */
int gofiles_write(struct inferior *inf, const char *path, struct err *err);
/* The size of a file that was looked at without opening it. */
void gofiles_stat(struct inferiors *all, struct stat *st);

#endif
