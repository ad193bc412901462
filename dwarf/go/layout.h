/*
 * layout.h - where the fields of runtime.g, runtime.m and their like are in this program.
 *
 * Three sources, best first: the program's own type descriptors (in every program, stripped or
 * not), DWARF, the table in layout.def. A layout is complete when every field without which nothing
 * can be said is there and inside its structure.
 */
#ifndef STOPGO_DWARF_GO_LAYOUT_H
#define STOPGO_DWARF_GO_LAYOUT_H

#include "dwarf/go/rtype.h"

enum { GO_FIELD_NONE = -1 };

/* Byte offsets; GO_FIELD_NONE when the release has no such field. */
struct go_layout {
#define GO_FIELD(id, ...) int32_t id;
#include "dwarf/go/layout.def"
#undef GO_FIELD
};

struct go_field_def {
	const char *root; /* the structure without its package: "g" */
	const char *path; /* "sched.sp" */
	int32_t size;
	int32_t by_release[6]; /* 1.19, 1.22, 1.23, 1.24, 1.26, 1.27 */
};

size_t go_layout_fields(const struct go_field_def **ret);
/* The n-th field's offset in a layout. */
int32_t *go_layout_nth(struct go_layout *layout, size_t n);

/* From the descriptor of runtime.g at this address. False when something needed is missing. */
bool go_layout_from_types(const struct go_types *types, uint64_t g_type, struct go_layout *ret);
/* From .debug_info of an image that is a file. False when there is none, or it does not tell. */
bool go_layout_from_dwarf(struct image *img, struct go_layout *ret);
/* From the table: n = 0 is the release nearest to minor, larger n the others in order of distance;
 * false past the last. */
bool go_layout_from_table(unsigned minor, size_t n, struct go_layout *ret, unsigned *ret_minor);

/* All that is needed is there and no field lies beyond what a structure can measure. */
bool go_layout_complete(const struct go_layout *layout);

#endif
