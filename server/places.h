/*
 * places.h - what a person means by "main.f", "main.go:12", "*0x401136": addresses in a process, and the other way round.
 *
 * Functions, files and lines of Go come from its function table, stripped or not; those of C, C++ and Rust from DWARF, of the program
 * and of every library that is loaded, else from symbols. Breakpoints belong behind the prologue, where arguments can be read.
 *
 * Owner:  struct places_images belongs to an inferior and keeps what was opened until the next exec; a struct place borrows from it.
 * Errors: say what was looked through and what to try next.
 */
#ifndef STOPGO_PLACES_H
#define STOPGO_PLACES_H

#include "base/buf.h"
#include "dwarf/debuginfo.h"

struct inferior;
struct go_model;

enum { PLACES_FOUND_MAX = 1024, PLACES_IMAGES_MAX = 4096 };

struct places_image {
	char *path;
	uint64_t bias;
	bool gone;            /* closed by the program; places may still borrow from it */
	struct debuginfo *di; /* NULL: it could not be opened */
};

struct places_images {
	struct places_image *at;
	size_t count;
};

void places_images_fini(struct places_images *all);

struct place {
	uint64_t addr;
	uint64_t entry, end;  /* of the function around it; end 0: not known */
	struct debuginfo *di; /* NULL: no file is known there */
	struct go_model *go;  /* NULL: it is no Go code */
	bool inlined;         /* a copy of the function, which does not return */
	bool anywhere; /* of memory: whoever comes by has a frame of his own, and names are of globals */
	char *text; /* "main.f at main.go:12" */
};

struct places {
	struct place *at;
	size_t count;
};

void places_fini(struct places *p);

/* FUNC, FILE:LINE or *ADDR. -ENOENT, -EINVAL with a sentence; at least one place on success. */
int places_find(struct inferior *inf, const char *spec, struct places *ret, struct err *err);
/* "main.f at /src/main.go:12", "0x401136" when nothing is known. */
void places_describe(struct inferior *inf, uint64_t addr, struct buf *out);

/*
 * The variable that an expression means in a thread's innermost frame: its type and where it is. -EINVAL: it is a value, or in a
 * register; the rest as places_find().
 */
int places_variable(struct inferior *inf, pid_t tid, const char *text, struct di_type *ret_type,
		    uint64_t *ret_addr, struct err *err);
/* One place: this address of memory, called text, in terms of globals as that thread's code knows them. */
int places_anywhere(struct inferior *inf, pid_t tid, uint64_t addr, const char *text,
		    struct places *ret, struct err *err);
/* Where a breakpoint hears of each library that is loaded or closed; 0: nowhere. */
uint64_t places_loader_hook(struct inferior *inf);

/* A condition in the terms of a place, as bytecode; for ax_compile() with expr_ax_reg(). */
int places_condition(struct inferior *inf, const struct place *at, const char *text,
		     struct buf *code, struct err *err);

#endif
