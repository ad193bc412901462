/*
 * err.h - an error that carries a sentence.
 *
 * A fallible function returns 0 or a negative errno. Where the reason will reach a person its last parameter is a
 * `struct err *`, which may be NULL, and it returns err_set(...): the text is made where the reason is known.
 * The text says what was tried, on what, and what to do next; it has no trailing newline and no prefix.
 */
#ifndef STOPGO_BASE_ERR_H
#define STOPGO_BASE_ERR_H

#include "base/util.h"

enum { ERR_TEXT_MAX = 512 };

struct err {
	int  code;                /* negative errno; 0: nothing has been set */
	char text[ERR_TEXT_MAX];  /* NUL-terminated, cut when longer */
};

/* Stores the sentence (when err is not NULL) and returns code, which must be a negative errno. */
int err_set(struct err *err, int code, const char *fmt, ...) _printf_(3, 4);

/* The sentence, or the plain text of code when no sentence was set. */
const char *err_text(const struct err *err, int code);

#endif
