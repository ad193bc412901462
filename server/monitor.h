/*
 * monitor.h - the commands a person types after `monitor`.
 *
 * What they print goes to the client's console; the reply says whether it was understood. A new command is one row in monitor.c.
 */
#ifndef STOPGO_MONITOR_H
#define STOPGO_MONITOR_H

struct session;

/* Makes the reply. */
void monitor_command(struct session *s, const char *line);

#endif
