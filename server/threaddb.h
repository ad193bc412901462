/*
 * threaddb.h - where a thread keeps a thread-local variable, asked of the C library's own libthread_db.
 *
 * The library is loaded when first needed, from a search path the user can set; without it there are no addresses and no harm. It
 * calls back for symbols, memory and registers. Symbols come from the program's files as the server sees them; what these do
 * not have the client is asked for, one name per qSymbol packet.
 *
 * $sdir in the path is the system's library folder, $pdir the folder of the program's own C library. The default is $sdir:$pdir.
 * A library the debuggee names would run with the server's rights: unless the user has set a path, it is loaded only when root or
 * the server's user owns it and nobody else may write it.
 */
#ifndef STOPGO_THREADDB_H
#define STOPGO_THREADDB_H

#include <stdbool.h>

#include "base/err.h"
#include "server/inferior.h"

struct threaddb;

void threaddb_free(struct threaddb *db);

/* lm: the struct link_map of the variable's object, 0 in a static program. Errors with a sentence. */
int threaddb_tls_addr(struct inferior *inf, pid_t tid, uint64_t lm, uint64_t offset, uint64_t *ret,
		      struct err *err);

/* The C library's own name of a thread, pthread_t, on amd64 the thread pointer. False: it has no threads that we know of. */
bool threaddb_handle(struct inferior *inf, pid_t tid, uint64_t *ret);

/* The client can be asked: the next name that is missing, NULL when nothing is. */
const char *threaddb_missing_symbol(struct inferior *inf);
/* What it said; known false: it has no such symbol, and will not be asked again before more libraries are loaded. */
void threaddb_learn_symbol(struct inferior *inf, const char *name, bool known, uint64_t addr);

/* NULL: the default. 0 or -ENOMEM. */
int threaddb_set_search_path(const char *path);
const char *threaddb_search_path(void);

#endif
