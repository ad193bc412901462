/*
 * waiting.h - vAttachName, vAttachWait, vAttachOrWait: attaching to a process by its name, now or when it starts.
 *
 * While a client waits it may interrupt; nothing else is served differently. The answer is a stop reply or an error.
 */
#ifndef STOPGO_WAITING_H
#define STOPGO_WAITING_H

#include "server/session.h"

/* Answers the client that waits with an error. False: none does. */
bool waiting_cancel(struct session *s);
void waiting_free(struct session *s);

#endif
