/*
 * selftest.h - does it work on this machine: --selftest.
 *
 * Not a replacement for test/: these are the things that depend on where the server runs -- the kernel, the container's
 * capabilities and filters, the processor. Each is one line of output; the last line is the one GDB's test suite reads.
 */
#ifndef STOPGO_SELFTEST_H
#define STOPGO_SELFTEST_H

/* Runs those whose name contains filter (NULL: all) and prints to stdout. The exit code. */
int selftest_run(const char *filter);

#endif
