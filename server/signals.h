/*
 * signals.h - signals to the server itself.
 *
 * Orderly: SIGTERM, SIGINT, SIGHUP and SIGQUIT arrive in the loop, one after the other, as a call. SIGPIPE is ignored.
 * Fatal:   SIGSEGV, SIGBUS, SIGABRT, SIGILL and SIGFPE take our breakpoints out of what was attached and let it go, with plain system calls
 *          on a stack of their own, and then end the server as they would have without us. When somebody sends one (a watchdog, kill -ABRT)
 *          nothing is broken: that is an orderly end, and only one that takes too long goes the other way.
 * Late:    signals_deadline() makes an end that hangs an end all the same.
 *
 * Programs we start are given the signal mask and handlers we were born with; that is the tracer's business.
 */
#ifndef STOPGO_SIGNALS_H
#define STOPGO_SIGNALS_H

#include <stdbool.h>

#include "base/err.h"

struct loop;

/* From the very start: opens what is missing of descriptors 0 to 2, ignores SIGPIPE, catches the fatal ones. */
void signals_init(void);

/* From now on the orderly ones do not kill us but are told. 0 or a negative errno. */
int signals_watch(struct loop *loop, void (*end)(void *ctx, int signo), void *ctx, struct err *err);
void signals_unwatch(void);
/* One has come, and the loop has not. */
bool signals_waiting(void);

/* In ms milliseconds: lets everything go as after a fatal signal and exits with code. 0 milliseconds: not after all. */
void signals_deadline(unsigned ms, int code);

/* At the very end: of the fatal signal that somebody sent, if that is why we end. */
void signals_die_as_asked(void);

#endif
