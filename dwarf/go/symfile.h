/*
 * symfile.h - an ELF file with the symbols of a stripped Go program, made from its function table.
 *
 * A debugger that reads it instead of the program, or as its separate debug file, shows names, file:line, inlined calls and
 * backtraces and takes `break main.handle`; there are no variables and no types, which the program has not kept.
 * Holds: the program's headers and build id, its loaded sections without contents, .symtab, .debug_info (one unit for each
 * package's stretch of text), .debug_line, .debug_ranges, .debug_frame (from stack depths), all in DWARF 4.
 * Units: addresses as linked.
 * Cost:  about a third of the program's size, some tenths of a second for a large one; nothing is kept in the model.
 */
#ifndef STOPGO_DWARF_GO_SYMFILE_H
#define STOPGO_DWARF_GO_SYMFILE_H

#include "dwarf/go/model.h"

enum { GO_SYMFILE_MAX = 1 << 30, GO_SYMFILE_HEADER = 64 };

/* The program has no debug information of its own. */
bool go_symfile_is_needed(struct go_model *model);

/* Fills ret, which the caller releases with buf_fini() also on failure. -ENODATA: no function table. */
int go_symfile_build(struct go_model *model, struct buf *ret, struct err *err) _must_check_;

/*
 * The program and its symbols as one file: header takes the place of the program's first bytes, tail begins at `at`, zeros fill up
 * to there; everything else is the program's. For clients that open the program itself.
 */
struct go_symfile_join {
	uint8_t header[GO_SYMFILE_HEADER];
	uint64_t at;
	struct buf tail;
};

/* As go_symfile_build(); the caller releases ret->tail. */
int go_symfile_join(struct go_model *model, struct go_symfile_join *ret,
		    struct err *err) _must_check_;

#endif
