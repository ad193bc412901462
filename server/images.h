/*
 * images.h - the files a process consists of, the program and its libraries, opened for their symbols and DWARF.
 *
 * Opened when something is first looked for, and looked for again each time: libraries come and go. What was closed by the program
 * stays open here, as places borrow from it, and is passed over.
 *
 * Owner:  struct images belongs to an inferior and keeps what was opened until the next exec. The first is the program.
 */
#ifndef STOPGO_IMAGES_H
#define STOPGO_IMAGES_H

#include "dwarf/debuginfo.h"

struct inferior;

enum { IMAGES_MAX = 4096 };

struct images_one {
	char *path;
	uint64_t bias;
	uint64_t lm;          /* its struct link_map; 0: not known */
	bool gone;            /* closed by the program */
	bool tls_known;       /* debuginfo_set_tls() was called, or it has none */
	struct debuginfo *di; /* NULL: it could not be opened */
};

struct images {
	struct images_one *at;
	size_t count;
};

void images_fini(struct images *all);
/* Looks for the program, and for libraries that have come or gone. */
void images_update(struct inferior *inf);
/* NULL: it is not there, or could not be opened. */
struct debuginfo *images_nth(const struct inferior *inf, size_t i);
struct debuginfo *images_at(struct inferior *inf, uint64_t addr);
/* Says of each image that has thread-local variables where they are, as far as that is known now. */
void images_find_tls(struct inferior *inf);
/* Where a breakpoint hears of each library that is loaded or closed; 0: nowhere. */
uint64_t images_loader_hook(struct inferior *inf);

#endif
