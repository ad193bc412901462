/*
 * debuginfo_internal.h - what the parts of debuginfo share.
 */
#ifndef STOPGO_DWARF_DEBUGINFO_INTERNAL_H
#define STOPGO_DWARF_DEBUGINFO_INTERNAL_H

#include "dwarf/debuginfo.h"

enum {
	DI_UNITS_MAX = 1 << 20,
	DI_CHILDREN_MAX = 1 << 20,
	DI_DEPTH_MAX = 32,
	DI_OPS_MAX = 64,
	DI_SCOPES_MAX = 64,
};

struct debuginfo {
	char *path;
	uint64_t bias;
	struct image *img;
	int fd, debug_fd;
	Elf *elf;
	Dwarf *dw;          /* NULL: none */
	Dwarf_CFI *eh, *df; /* .eh_frame and .debug_frame */
	bool frames_looked_for;
	Dwarf_Die unit; /* the last that held a pc; addr NULL: none yet */
	uint8_t tls[DI_TLS_MAX]; /* bytecode: where a thread's block of the file is */
	size_t tls_len;          /* 0: not known */
};

/* Units one after the other, from *at = 0. */
bool di_next_unit(struct debuginfo *di, Dwarf_Off *at, Dwarf_Die *ret);
/* The unit of an address as linked. */
bool di_unit_at(struct debuginfo *di, uint64_t linked, Dwarf_Die *ret);
/* The subprogram around an address as linked. */
bool di_function_at(struct debuginfo *di, uint64_t linked, Dwarf_Die *ret);
/* The blocks and inlined functions around an address as linked, innermost first, up to the function; returns how many. */
int di_scopes_at(struct debuginfo *di, uint64_t linked, Dwarf_Die at[DI_SCOPES_MAX]);
bool di_is_go_unit(Dwarf_Die *unit);
/* The names of what is around a DIE, joined with "::", fit the end of what was asked for. */
bool di_name_fits(Dwarf_Die *die, const char *wanted);
/* The same of an enumerator: "ns::Colour::RED", and, as C has it, "ns::RED". */
bool di_enumerator_fits(Dwarf_Die *type, Dwarf_Die *die, const char *wanted);
/* The last part of "a::b<c::d>::e". */
const char *di_last_part(const char *name);
/* The operations of a location in a block; false: damaged, or one is not known here. */
bool di_block_ops(const uint8_t *data, size_t len, Dwarf_Op *ops, size_t max, size_t *ret_count);
bool di_resolve_type(Dwarf_Die *typed, struct di_type *ret);
/* A constant. The forms of a fixed size have no sign: compilers use them for what is not negative. */
bool di_constant(Dwarf_Attribute *attr, int64_t *ret);

#endif
