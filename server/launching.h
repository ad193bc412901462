/*
 * launching.h - how programs are to be started: the program that vRun without a name and R start again, and what
 * QEnvironment..., QSetWorkingDir, QDisableRandomization, QStartupWithShell and the command line said about it.
 *
 * Owner: everything in here is a copy and belongs to the struct. struct launch of launching_fill() borrows it until the next change.
 */
#ifndef STOPGO_LAUNCHING_H
#define STOPGO_LAUNCHING_H

#include <stdbool.h>

#include "target/target.h"

struct launching {
	char **argv; /* NULL-terminated; NULL: no program has been named */
	char **envp; /* the server's environment with the client's changes; NULL: the server's as it is */
	char **wrapper; /* NULL-terminated; NULL: none */
	char *cwd;      /* NULL: the server's */
	char *stdio[3]; /* NULL: inherited */
	int stdio_fd
		[3]; /* -1, or what the server gives the program instead of its own (borrowed) */
	bool aslr;
	bool shell;
	bool raw_args; /* the arguments are one string in shell syntax */
};

/* gdbserver's defaults: no address randomisation, started through the shell. */
void launching_init(struct launching *l);
void launching_fini(struct launching *l);

/* Copy; 0 or -ENOMEM, unchanged on failure. NULL resets. A program named without a folder that is in this one gets its path. */
int launching_set_program(struct launching *l, char *const *argv);
int launching_set_wrapper(struct launching *l, char *const *argv);
int launching_set_cwd(struct launching *l, const char *cwd);
int launching_set_stdio(struct launching *l, int which, const char *path);

/* value NULL removes the variable. */
int launching_set_env(struct launching *l, const char *name, size_t name_len, const char *value);
void launching_reset_env(struct launching *l);
/* Nothing of the server's own environment. */
int launching_clear_env(struct launching *l);

void launching_fill(const struct launching *l, struct launch *ret);

#endif
