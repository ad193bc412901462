/*
 * linkmap_fuzz.c - the dynamic loader's lists in somebody's memory. Input: the auxiliary vector's length (2 bytes), the vector, and
 * memory that begins at 0x10000. Lists are walked as svr4.c does.
 */
#include <string.h>

#include "base/util.h"
#include "dwarf/linkmap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BASE = 0x10000 };

struct bytes {
	const uint8_t *data;
	size_t size;
};

static int read_bytes(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	const struct bytes *b = ctx;

	*ret_got = 0;
	if (addr < BASE || addr - BASE >= b->size)
		return -1;
	*ret_got = MIN(len, b->size - (size_t)(addr - BASE));
	memcpy(into, b->data + (addr - BASE), *ret_got);
	return 0;
}

static size_t walk(const struct mem *mem, uint64_t lm, size_t left)
{
	static struct linkmap_object o;
	uint64_t prev = 0;

	while (lm && left && linkmap_read(mem, lm, &o) == 0 && o.prev == prev) {
		if (strlen(o.name) >= sizeof(o.name))
			__builtin_trap();
		prev = lm;
		lm = o.next;
		left--;
	}
	return left;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint16_t len;
	uint64_t rd, entry, first, next;
	size_t left = 4096;

	if (size < sizeof(len))
		return 0;
	memcpy(&len, data, sizeof(len));
	data += sizeof(len);
	size -= sizeof(len);
	len = (uint16_t)MIN((size_t)len, size);
	struct bytes bytes = { data + len, size - len };
	struct mem mem = { .read = read_bytes, .ctx = &bytes };

	int found = linkmap_find_entry(&mem, data, len, &entry);
	if (linkmap_find(&mem, data, len, &rd) < 0)
		return 0;
	if (found < 0)
		__builtin_trap();
	for (size_t i = 0;
	     rd && i < LINKMAP_NAMESPACES_MAX && linkmap_namespace(&mem, rd, &first, &next) == 0;
	     i++, rd = next)
		left = walk(&mem, first, left);
	return 0;
}
