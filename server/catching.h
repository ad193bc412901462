/*
 * catching.h - which system calls stop a process: those that the client asked for (QCatchSyscalls) and those of `monitor catch syscall`.
 *
 * gdb runs on from a system call that it does not catch itself, so a stop that only a person asked for is told to it as a SIGTRAP.
 */
#ifndef STOPGO_CATCHING_H
#define STOPGO_CATCHING_H

#include "base/buf.h"
#include "target/target.h"

struct inferior;
struct session;

struct catching {
	long *client, *own;
	ssize_t client_count; /* -1: all */
	size_t own_count;
};

void catching_fini(struct catching *c);

/* The number of a name or of digits; -1: there is none. NULL: a number without a name. */
long catching_number(const char *text);
const char *catching_name(long number);

/* Replaces what the client asked for. Count -1: all. */
int catching_client(struct inferior *inf, const long *numbers, ssize_t count);
int catching_own(struct inferior *inf, long number, bool on);
/* Nobody asks for any. */
void catching_forget(struct inferior *inf);

/* This stop is at a system call that the client did not ask for. */
bool catching_only_own(const struct inferior *inf, const struct stop *stop);
/* "entering write" ; nothing when it is another stop or the client's. */
void catching_describe(const struct inferior *inf, const struct stop *stop, struct buf *out);
/* Lines for a person: what is caught by monitor commands. */
void catching_list(const struct inferior *inf, struct buf *out);

#endif
