/*
 * osdata.h - what `info os` shows: tables about the machine, from /proc.
 *
 * Names, columns and titles are gdbserver's. Everything comes from the server's own view of /proc and may change while it is read;
 * what has vanished or may not be looked at is left out.
 */
#ifndef STOPGO_OSDATA_H
#define STOPGO_OSDATA_H

#include "base/buf.h"

/* type: "processes", ...; empty: the list of types. -ENOENT: there is no such table. */
int osdata_put(const char *type, struct buf *b);

#endif
