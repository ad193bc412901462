/*
 * debuginfo_fuzz.c - an ELF file with DWARF, damaged: functions, lines, variables, types and frames are looked up; and the same bytes
 * as a location in a block.
 */
#undef NDEBUG
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "dwarf/debuginfo_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
	struct debuginfo *di;
	unsigned left;
};

static void look_into(const struct di_type *type, unsigned depth)
{
	struct di_type under;
	struct di_field field;

	if (depth > 3)
		return;
	if (di_type_target(type, &under))
		look_into(&under, depth + 1);
	(void)di_type_count(type);
	(void)di_type_enumerator(type, 1);
	for (size_t n = 0; n < 8 && di_type_field_nth(type, n, &field); n++)
		look_into(&field.type, depth + 1);
	(void)di_type_field(type, "left", &field);
}

static bool look_at(void *ctx, const struct di_place *at)
{
	static const char *const names[] = { "a", "b", "n", "sum", "counter", "this", "first" };
	struct walk *w = ctx;
	struct di_var var;
	struct di_type type;
	struct buf code;
	struct err err;

	buf_init(&code, 1024);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (debuginfo_variable(w->di, at->addr, names[i], &var, &err) == 0)
			look_into(&var.type, 0);
	for (size_t i = 0; i < 4 && debuginfo_parameter(w->di, at->addr, i, &var) == 0; i++)
		assert(var.count <= DI_PIECES_MAX);
	if (debuginfo_result(w->di, at->addr, &type))
		look_into(&type, 0);
	(void)debuginfo_cfa(w->di, at->addr, &code);
	(void)debuginfo_at(w->di, at->addr);
	(void)debuginfo_is_go(w->di, at->addr);
	buf_fini(&code);
	return --w->left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const functions[] = { "add", "main", "ns::T::f" };
	Dwarf_Op ops[DI_OPS_MAX];
	size_t n;
	char path[64];
	int64_t value;
	struct debuginfo *di;

	if (di_block_ops(data, MIN(size, (size_t)256), ops, DI_OPS_MAX, &n))
		assert(n && n <= DI_OPS_MAX);
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (debuginfo_open(path, 0x1000, &di, NULL) == 0) {
		struct walk w = { di, 8 };
		int line = 1;
		for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
			w.left = 4;
			(void)debuginfo_functions(di, functions[i], look_at, &w);
		}
		w.left = 4;
		(void)debuginfo_lines(di, "t.c", &line, look_at, &w);
		(void)debuginfo_constant(di, 0x1000, "GREEN", &value);
		debuginfo_free(di);
	}
	close(fd);
	return 0;
}
