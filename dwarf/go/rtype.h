/*
 * rtype.h - Go's type descriptors (runtime type information) read from the debuggee.
 *
 * Input:  foreign. Names, field counts and nesting are bounded.
 * Units:  addresses in the debuggee.
 * Source: internal/abi/type.go of the Go distribution; linux/amd64 is the same from Go 1.18 to 1.27
 * but for 1.18's field offsets, which are shifted left by one.
 */
#ifndef STOPGO_DWARF_GO_RTYPE_H
#define STOPGO_DWARF_GO_RTYPE_H

#include "dwarf/image.h"

/* reflect.Kind */
enum go_kind {
	GO_KIND_BOOL = 1,
	GO_KIND_INT,
	GO_KIND_INT8,
	GO_KIND_INT16,
	GO_KIND_INT32,
	GO_KIND_INT64,
	GO_KIND_UINT,
	GO_KIND_UINT8,
	GO_KIND_UINT16,
	GO_KIND_UINT32,
	GO_KIND_UINT64,
	GO_KIND_UINTPTR,
	GO_KIND_FLOAT32,
	GO_KIND_FLOAT64,
	GO_KIND_COMPLEX64,
	GO_KIND_COMPLEX128,
	GO_KIND_ARRAY,
	GO_KIND_CHAN,
	GO_KIND_FUNC,
	GO_KIND_INTERFACE,
	GO_KIND_MAP,
	GO_KIND_POINTER,
	GO_KIND_SLICE,
	GO_KIND_STRING,
	GO_KIND_STRUCT,
	GO_KIND_UNSAFE_POINTER,
};

enum { GO_TYPE_NAME_MAX = 256, GO_STRUCT_FIELDS_MAX = 1024 };

enum { GO_TYPE_PAGES = 16, GO_TYPE_PAGE = 4096 };

/* Descriptors do not change once the program is relocated: pages of them are kept. */
struct go_type_page {
	uint64_t addr; /* 0: empty */
	uint8_t data[GO_TYPE_PAGE];
};

struct go_types {
	const struct image_mem *im;
	/* GO_TYPE_PAGES of them, all zero at first; NULL: nothing is kept */
	struct go_type_page *pages;
	uint64_t types, etypes; /* the type section; 0: not known, names of types cannot be read */
	bool shifted_offsets;   /* Go 1.18 */
};

struct go_type {
	uint64_t addr;
	uint64_t size;
	uint8_t kind; /* enum go_kind */
	uint8_t tflag;
	int32_t str; /* of the name, from types */
	bool direct; /* an interface holds the value itself, not a pointer to it */
};

struct go_struct_field {
	char name[64];
	uint64_t type;
	uint64_t offset;
};

/* False when there is no descriptor at addr. */
bool go_type_read(const struct go_types *t, uint64_t addr, struct go_type *ret);
/* "runtime.g", "*main.T", "map[string]int". False: types is not known, or the name is damaged. */
bool go_type_name(const struct go_types *t, const struct go_type *type, char *name, size_t size);
/* What a pointer, slice, array or channel type is of. */
bool go_type_elem(const struct go_types *t, const struct go_type *type, struct go_type *ret);

/* Calls fn for each field until it returns false. False when the type is no struct or damaged. */
bool go_type_fields(const struct go_types *t, const struct go_type *type,
		    bool (*fn)(void *ctx, const struct go_struct_field *f), void *ctx);
/* A field by a dotted path through structs held by value. */
bool go_type_field(const struct go_types *t, const struct go_type *type, const char *path,
		   struct go_struct_field *ret);

/* The descriptor of a named struct type ("runtime.g") by scanning the type section; 0: none. */
uint64_t go_types_scan(const struct go_types *t, const char *name);

#endif
