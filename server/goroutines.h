/*
 * goroutines.h - `monitor goroutines`: goroutines filtered, located, with stacks or in groups, as text.
 *
 * One walk over all of them; nothing is kept but groups. The text is handed out in pieces, so that a million goroutines need no
 * buffer of their size.
 */
#ifndef STOPGO_GOROUTINES_H
#define STOPGO_GOROUTINES_H

#include "server/gview.h"

enum goroutines_group { GROUP_NONE, GROUP_STATE, GROUP_FUNC, GROUP_LABEL };

struct goroutines_query {
	bool running, waiting; /* neither: any state */
	bool user, system;     /* neither: the user's */
	const char *label_key; /* NULL: any */
	const char *label_value;
	const char *at; /* a function one of its frames is in; NULL: any */
	size_t depth;   /* frames shown; 0: none */
	enum goroutines_group group;
	size_t limit; /* shown; 0: all */
};

/* The words behind `goroutines`; they are cut in place and kept. -EINVAL with a sentence. */
int goroutines_parse(char *words, struct goroutines_query *ret, struct err *err);

typedef void goroutines_out_fn(void *ctx, const char *text, size_t len);
/* selected: the goroutine to mark; 0: none. */
int goroutines_print(struct gview *gv, const struct goroutines_query *q, uint64_t selected,
		     goroutines_out_fn *out, void *ctx, struct err *err);

/* Frames as goroutines_print() shows them, at most max. */
void goroutines_put_stack(struct gview *gv, const struct go_goroutine *g, size_t max,
			  struct buf *out);
/* " {key=value, ...}", nothing without labels. */
void goroutines_put_labels(struct gview *gv, const struct go_goroutine *g, struct buf *out);

#endif
