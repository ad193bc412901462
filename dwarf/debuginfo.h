/*
 * debuginfo.h - what an ELF file and its DWARF say to a person: functions, lines, variables and where they are.
 *
 * Input:  DWARF 2 to 5 through libdw, of the file itself or of its separate debug file (build id, debug link). Hostile: libdw checks
 *         bounds, what it refuses is absent; walks are bounded here. Without DWARF there are the symbols.
 * Units:  addresses are the debuggee's; bias was said at opening.
 * Values: where a variable is comes as bytecode of agent expressions (base/axcode.h) with DWARF's register numbers.
 * Errors: 0 or negative errno with a sentence. -ENOENT: there is no such thing; -ENODATA: it has no value here, or none that can be
 *         told in bytecode.
 * Owner:  names and types live as long as the struct debuginfo.
 */
#ifndef STOPGO_DWARF_DEBUGINFO_H
#define STOPGO_DWARF_DEBUGINFO_H

#include <elfutils/libdw.h>

#include "base/axcode.h"
#include "base/err.h"
#include "dwarf/image.h"

struct debuginfo;

/* Opening succeeds for every ELF file; what it lacks is found missing later. */
int debuginfo_open(const char *path, uint64_t bias, struct debuginfo **ret,
		   struct err *err) _must_check_;
struct debuginfo *debuginfo_free(struct debuginfo *di);
static inline void debuginfo_freep(struct debuginfo **di)
{
	debuginfo_free(*di);
}

bool debuginfo_has_dwarf(const struct debuginfo *di);
const char *debuginfo_path(const struct debuginfo *di);
struct image *debuginfo_image(const struct debuginfo *di);
uint64_t debuginfo_bias(const struct debuginfo *di);
/* addr lies in a segment of the file. */
bool debuginfo_holds(const struct debuginfo *di, uint64_t addr);

/* ---- functions and lines ---- */

struct di_place {
	uint64_t addr;     /* where a breakpoint belongs: behind the prologue, when that is known */
	uint64_t low, end; /* of the function around it; end is exclusive, 0 when not known */
	bool inlined;      /* that function was inlined here, and low and end are of this copy */
	const char *function;
	const char *file; /* NULL: not known */
	int line;
};

/* Called for each; false ends the walk. */
typedef bool di_place_fn(void *ctx, const struct di_place *at);

/*
 * Functions of this name: "f", "ns::f", "T::f", a linkage name; inlined ones wherever they were inlined. Without DWARF, and for what
 * it does not have, the symbol table's.
 */
int debuginfo_functions(struct debuginfo *di, const char *name, di_place_fn *fn, void *ctx);
/*
 * Where code of this line begins: once a function. file is a whole path or the end of one. *line becomes the next that has code when
 * this one has none; 0: no such file, or nothing behind it.
 */
int debuginfo_lines(struct debuginfo *di, const char *file, int *line, di_place_fn *fn, void *ctx);
/* The function and line at addr; function NULL: nothing is known. */
struct di_place debuginfo_at(struct debuginfo *di, uint64_t addr);

/* ---- types ---- */

enum di_kind {
	DI_VOID,
	DI_BOOL,
	DI_INT,
	DI_CHAR,
	DI_FLOAT,
	DI_COMPLEX, /* two of floating point: the real part, then the imaginary one */
	DI_POINTER, /* and references */
	DI_ENUM,
	DI_STRUCT,
	DI_ARRAY,
	DI_STRING, /* bytes and length: Go's string, Rust's &str */
	DI_SLICE,  /* bytes, length, capacity: Go's slice; Rust's has no capacity */
	DI_INTERFACE,
	DI_OTHER,
};

struct di_type {
	enum di_kind kind;
	bool is_signed;
	bool reference; /* DI_POINTER that is followed by itself */
	bool dynamic;   /* DI_INTERFACE: the first word is the type, not a table */
	uint64_t size;
	const char *name; /* NULL: it has none */
	Dwarf_Die die;    /* without typedefs and qualifiers; addr NULL: made by di_type_basic() */
};

struct di_field {
	const char *name; /* NULL: it has none */
	uint64_t offset;
	unsigned bit_at, bits; /* bits 0: it is no bit field */
	struct di_type type;
};

struct di_type di_type_basic(enum di_kind kind, unsigned size, bool is_signed);
/* What a pointer points to, an array, slice or string is made of. */
bool di_type_target(const struct di_type *t, struct di_type *ret);
uint64_t di_type_count(const struct di_type *t); /* elements of an array; 0: not known */
/* Anonymous members, base classes and what Go embeds are looked through. */
bool di_type_field(const struct di_type *t, const char *name, struct di_field *ret);
bool di_type_field_nth(const struct di_type *t, size_t n, struct di_field *ret);
/* The name of an enumeration's value; NULL: none has it. */
const char *di_type_enumerator(const struct di_type *t, int64_t value);
/* The n-th word of a string or slice: 0 bytes, 1 length, 2 capacity. */
bool di_type_part(const struct di_type *t, unsigned n, struct di_field *ret);

/* ---- variables ---- */

enum { DI_PIECES_MAX = 16, DI_CODE_MAX = 192, DI_TLS_MAX = 64 };

enum di_where {
	DI_NOWHERE,
	DI_MEMORY, /* the code's value is its address */
	DI_VALUE,  /* the code's value is the value, in its low bytes */
};

/* A part of a variable; most have one. */
struct di_piece {
	enum di_where where;
	uint64_t offset, size; /* size 0: all of it */
	uint8_t code[DI_CODE_MAX];
	size_t len;
};

struct di_var {
	const char *name;
	struct di_type type;
	bool result; /* of the function: Go says so */
	size_t count;
	struct di_piece pieces[DI_PIECES_MAX];
};

/*
 * Where the running thread keeps the file's thread-local variables: bytecode of the block's address. Variables in it have no value before
 * that was said.
 */
int debuginfo_set_tls(struct debuginfo *di, const uint8_t *code, size_t len);

bool debuginfo_is_go(struct debuginfo *di, uint64_t pc);
/* A local variable or parameter that is visible at pc, else a global one; `this` and the package of pc are looked through. */
int debuginfo_variable(struct debuginfo *di, uint64_t pc, const char *name, struct di_var *ret,
		       struct err *err) _must_check_;
/* A constant: an enumerator, or a const of Go's. */
int debuginfo_constant(struct debuginfo *di, uint64_t pc, const char *name, int64_t *ret);
/* The n-th parameter of the function at pc; -ENOENT: there are not as many. One without a value there has no piece. */
int debuginfo_parameter(struct debuginfo *di, uint64_t pc, size_t n, struct di_var *ret);
/* What the function at pc returns; false: nothing, or it is not known. */
bool debuginfo_result(struct debuginfo *di, uint64_t pc, struct di_type *ret);
/* Bytecode of the canonical frame address at pc: the stack pointer in the caller, after the return. */
int debuginfo_cfa(struct debuginfo *di, uint64_t pc, struct buf *code);

#endif
