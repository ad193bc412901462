/*
 * savedregs.h - registers put aside by QSaveRegisterState until QRestoreRegisterState asks for them: lldb and its function calls.
 *
 * Everything a thread has that the client may write, orig_rax included, so that a system call which was interrupted for a
 * function call goes on after it. At most SAVED_REGS_MAX are kept; the oldest goes first.
 */
#ifndef STOPGO_SAVEDREGS_H
#define STOPGO_SAVEDREGS_H

#include "server/session.h"

enum { SAVED_REGS_MAX = 1024 };

/* The id, from 1 up, or a negative errno. */
int64_t saved_regs_put(struct session *s, struct inferior *inf, int64_t id);
/* Back into the thread it was taken from or another one; spent afterwards. -ENOENT: there is no such id. */
int saved_regs_take(struct session *s, uint64_t which, struct inferior *inf, int64_t id);
void saved_regs_free(struct session *s);

#endif
