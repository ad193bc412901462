/*
 * stdio_pty.h - a terminal for a program that was launched for lldb: what it prints goes to the client, what the client types comes in.
 *
 * Use:    stdio_pty_new(), the program is started with stdio_pty_program_end() as its 0, 1 and 2, then stdio_pty_started().
 * Output: is handed to the sink as it comes, unless held back; stdio_pty_drain() hands over what is there now, held back or not, so
 *         that a stop can be told after what was printed before it. A program that prints faster than it is read waits.
 * Input:  is written as the terminal takes it; up to STDIO_PTY_INPUT_MAX bytes wait. stdio_pty_relay() also brings what comes on a
 *         descriptor of ours, its end included; it is read no faster than the program reads. While a terminal is somebody else's (we run in
 *         its background) nothing is read from it.
 */
#ifndef STOPGO_STDIO_PTY_H
#define STOPGO_STDIO_PTY_H

#include <stdbool.h>

#include "base/err.h"

struct loop;
struct stdio_pty;

enum { STDIO_PTY_INPUT_MAX = 1024 * 1024 };

int stdio_pty_new(struct loop *loop, void (*sink)(void *ctx, const char *text, size_t len),
		  void *ctx, struct stdio_pty **ret, struct err *err);
struct stdio_pty *stdio_pty_free(struct stdio_pty *p);
static inline void stdio_pty_freep(struct stdio_pty **p)
{
	stdio_pty_free(*p);
}

int stdio_pty_program_end(const struct stdio_pty *p);
/* The program has its end, ours of it is closed. */
void stdio_pty_started(struct stdio_pty *p);

/* Before the program is started. The terminal then does not echo: where the input comes from has shown it. */
void stdio_pty_relay(struct stdio_pty *p, int fd);

void stdio_pty_hold(struct stdio_pty *p, bool on);
void stdio_pty_drain(struct stdio_pty *p);
/* -ENOBUFS: the program does not read. */
int stdio_pty_write(struct stdio_pty *p, const void *data, size_t len);

#endif
