/*
 * places.h - what a person means by "main.f", "main.go:12", "*0x401136": addresses in a process, and the other way round.
 *
 * Functions, files and lines of Go come from its function table, stripped or not; those of C, C++ and Rust from DWARF, of the program
 * and of every library that is loaded, else from symbols. Breakpoints belong behind the prologue, where arguments can be read.
 *
 * Owner:  a struct place borrows from the inferior's images (images.h), until the next exec.
 * Errors: say what was looked through and what to try next.
 */
#ifndef STOPGO_PLACES_H
#define STOPGO_PLACES_H

#include "base/buf.h"
#include "server/images.h"

struct inferior;
struct go_model;

enum { PLACES_FOUND_MAX = 1024 };

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
/* A condition in the terms of a place, as bytecode; for ax_compile() with expr_ax_reg(). */
int places_condition(struct inferior *inf, const struct place *at, const char *text,
		     struct buf *code, struct err *err);

#endif
