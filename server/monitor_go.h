/*
 * monitor_go.h - monitor commands about Go: goroutines, panics, what is known of the program, how it is shown.
 *
 * They look at the Go program whichever view of threads is in force, and work on a stripped one. Each takes what follows its name,
 * prints on the client's console and returns true; false: the line was not understood, which it has said.
 */
#ifndef STOPGO_MONITOR_GO_H
#define STOPGO_MONITOR_GO_H

#include <stdbool.h>

struct session;

bool monitor_goroutines(struct session *s, char *rest);
bool monitor_goroutine(struct session *s, char *rest);
bool monitor_panic(struct session *s, char *rest);
bool monitor_catch(struct session *s, char *rest);
bool monitor_go(struct session *s, char *rest);
bool monitor_symbols(struct session *s, char *rest);
bool monitor_set_threads(struct session *s, char *rest);
bool monitor_set_max_goroutines(struct session *s, char *rest);
bool monitor_set_stable_stacks(struct session *s, char *rest);

#endif
