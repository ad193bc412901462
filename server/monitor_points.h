/*
 * monitor_points.h - the monitor commands about breakpoints of the server's own, hits and traced calls.
 */
#ifndef STOPGO_MONITOR_POINTS_H
#define STOPGO_MONITOR_POINTS_H

#include <stdbool.h>

struct session;

/* As monitor.c calls them: rest is the arguments; false: the usage is to be shown. */
bool monitor_break(struct session *s, char *rest);
bool monitor_watch(struct session *s, char *rest);
bool monitor_trace(struct session *s, char *rest);
bool monitor_traced(struct session *s, char *rest);
bool monitor_breakpoints(struct session *s, char *rest);
bool monitor_delete(struct session *s, char *rest);
bool monitor_hits(struct session *s, char *rest);

#endif
