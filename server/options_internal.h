/*
 * options_internal.h - the table of options, which parsing and printing share.
 */
#ifndef STOPGO_OPTIONS_INTERNAL_H
#define STOPGO_OPTIONS_INTERNAL_H

#include "server/options.h"

enum { GRACE_DEFAULT_S = 30 };

/* Whose grammar knows the option. */
enum {
	GDB = 1 << AS_GDBSERVER,
	LLDB = 1 << AS_LLDB_SERVER,
	DELVE = 1 << AS_DEBUGSERVER,
	ALL = GDB | LLDB | DELVE,
};

enum option_arg {
	ARG_NONE,
	ARG_NEEDED,   /* --name=VALUE or --name VALUE */
	ARG_OPTIONAL, /* --name or --name=VALUE */
	ARG_WORDS,    /* --name WORDS... -- */
};

struct option_def {
	const char *name;
	char letter; /* -x, where the peer has one; 0: none */
	unsigned who;
	enum option_arg arg;
	const char *arg_name;
	int (*set)(struct options *o, const char *value, struct err *err);
	const char *help; /* NULL: the peer takes it and so do we; it changes nothing */
};

/* In the order of --help. */
extern const struct option_def option_table[];
extern const size_t option_count;

/* A whole number between the two. -EINVAL: it is none. */
int options_long(const char *text, long min, long max, long *ret);

#endif
