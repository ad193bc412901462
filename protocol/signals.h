/*
 * signals.h - GDB's signal numbers, which all packets use, and the kernel's on x86-64.
 *
 * GDB's list runs from 0 (none) to 151. Several of its numbers have no Linux signal, and Linux 16
 * (SIGSTKFLT) has none of GDB's. Delve takes the numbers in stop replies for Linux ones: its stop
 * replies carry those (stopreply.h). Source: "Debugging with GDB", Remote Protocol; GDB's
 * include/gdb/signals.def lists the numbers; asm/signal.h for Linux.
 */
#ifndef STOPGO_PROTOCOL_SIGNALS_H
#define STOPGO_PROTOCOL_SIGNALS_H

#include "base/util.h"

enum {
	SIGNALS_NONE = 0,
	SIGNALS_INT = 2,
	SIGNALS_TRAP = 5,
	SIGNALS_KILL = 9,
	SIGNALS_STOP = 17,
	SIGNALS_UNKNOWN = 143,
	SIGNALS_COUNT = 152, /* GDB's numbers are below this */
	SIGNALS_LINUX_MAX = 64,
};

/* Linux 1..64 to GDB's number; 0 for 0, SIGNALS_UNKNOWN for what GDB has no number for. */
int signals_to_gdb(int linux_signal);
/* GDB's number to Linux; 0 when there is no such signal on Linux (not an error: such numbers in
 * lists are ignored). */
int signals_from_gdb(int gdb_signal);

/* "SIGSEGV" and "Segmentation fault" for GDB's number; NULL where it has no name. */
const char *signals_name(int gdb_signal);
const char *signals_text(int gdb_signal);
/* GDB's number for "SIGSEGV" or "SEGV"; -1 when unknown. */
int signals_by_name(const char *name);
/* The name by Linux number, "SIGSTKFLT" included; NULL out of range. */
const char *signals_linux_name(int linux_signal);

#endif
