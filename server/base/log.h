/*
 * log.h - diagnostics for people, on stderr or in a file. Never on stdout, which belongs to the inferior or the protocol.
 *
 * Leaf code returns errors and stays silent above LOG_DEBUG; server/ decides what is said. A line says what was tried,
 * on what, and what happens next. Categories are switched on one by one ("packet,stop" or "all").
 */
#ifndef STOPGO_BASE_LOG_H
#define STOPGO_BASE_LOG_H

#include <stdbool.h>
#include "base/err.h"

enum log_category {
	LOG_FRAME,      /* bytes and packets that do not parse */
	LOG_PACKET,     /* every packet, both ways, in the client's notation */
	LOG_STOP,       /* wait statuses and what they were taken for */
	LOG_RUN,        /* resumes, steps, step-overs */
	LOG_POINTS,     /* breakpoints and watchpoints going in and out */
	LOG_IMAGE,      /* ELF and DWARF files */
	LOG_GO,         /* the Go runtime model */
	LOG_LOOP,       /* connections, timers, signals to the server */
	LOG_CATEGORIES
};

enum log_format_flags {
	LOG_FORMAT_NONE      = 0,
	LOG_FORMAT_TIMESTAMP = 1,
};

/* Switches categories on: a comma-separated list of names, or "all"; "none" switches all off. -EINVAL on a name that is unknown. */
int log_enable(const char *list, struct err *err);
void log_set(enum log_category category, bool on);
bool log_on(enum log_category category);

/* Where lines go: an open descriptor, which log borrows. Starts as 2. */
void log_to_fd(int fd);
int log_fd(void);
void log_set_format(unsigned flags);

/* A file that lines are appended to, or -errno. Nobody waits for a reader: a FIFO without one is -ENXIO. */
int log_open(const char *path);

/* One line of debug output when the category is on; the newline is added. */
#define log_debug(category, ...)                            \
	do {                                                \
		if (log_on(category))                       \
			log_write((category), __VA_ARGS__); \
	} while (0)

/* A line people and scripts read whatever is switched on; written to stderr verbatim with a newline. */
void say(const char *fmt, ...) _printf_(1, 2);

void log_write(enum log_category category, const char *fmt, ...) _printf_(2, 3);

#endif
