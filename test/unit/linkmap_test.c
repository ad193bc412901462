#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "dwarf/linkmap.h"

enum {
	BASE = 0x10000,
	SIZE = 0x1000,
	PHDRS = 0x10040,
	DYNAMIC = 0x10200,
	RDEBUG = 0x10300,
	MAPS = 0x10400
};

static uint8_t memory[SIZE];

static int read_memory(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	(void)ctx;
	if (addr < BASE || addr >= BASE + SIZE)
		return -EFAULT;
	*ret_got = MIN(len, (size_t)(BASE + SIZE - addr));
	memcpy(into, memory + (addr - BASE), *ret_got);
	return 0;
}

static const struct mem mem = { .read = read_memory };

static void put(uint64_t addr, const void *data, size_t len)
{
	memcpy(memory + (addr - BASE), data, len);
}

static void put_u64(uint64_t addr, uint64_t value)
{
	put(addr, &value, sizeof(value));
}

/* A PIE at BASE with a dynamic section and an empty DT_DEBUG. */
static int set_up(void **state)
{
	const Elf64_Phdr ph[2] = { { .p_type = PT_PHDR, .p_vaddr = PHDRS - BASE },
				   { .p_type = PT_DYNAMIC, .p_vaddr = DYNAMIC - BASE } };
	(void)state;
	memset(memory, 0, sizeof(memory));
	put(PHDRS, ph, sizeof(ph));
	put_u64(DYNAMIC, DT_NEEDED);
	put_u64(DYNAMIC + 16, DT_DEBUG);
	return 0;
}

static int find(uint64_t phdrs, uint64_t count, uint64_t size, uint64_t *ret)
{
	const uint64_t auxv[] = { AT_PHDR, phdrs, AT_PHENT, size, AT_PHNUM, count, AT_NULL, 0 };
	return linkmap_find(&mem, auxv, sizeof(auxv), ret);
}

static void finds_what_the_loader_said(void **state)
{
	uint64_t rd = 1;
	(void)state;
	assert_int_equal(find(PHDRS, 2, sizeof(Elf64_Phdr), &rd), 0);
	assert_int_equal(rd, 0);
	put_u64(DYNAMIC + 24, RDEBUG);
	assert_int_equal(find(PHDRS, 2, sizeof(Elf64_Phdr), &rd), 0);
	assert_int_equal(rd, RDEBUG);
}

static void finds_its_place_without_pt_phdr(void **state)
{
	Elf64_Phdr load = { .p_type = PT_LOAD, .p_offset = 0, .p_vaddr = 0 };
	uint64_t rd = 1;
	(void)state;
	put(PHDRS, &load, sizeof(load));
	put_u64(DYNAMIC + 24, RDEBUG);
	assert_int_equal(find(PHDRS, 2, sizeof(Elf64_Phdr), &rd), 0);
	assert_int_equal(rd, RDEBUG);
}

static void static_programs_have_none(void **state)
{
	uint64_t rd = 1;
	(void)state;
	assert_int_equal(find(PHDRS, 1, sizeof(Elf64_Phdr), &rd), -ENOENT);
	put_u64(DYNAMIC + 16, DT_NULL);
	assert_int_equal(find(PHDRS, 2, sizeof(Elf64_Phdr), &rd), -ENOENT);
	assert_int_equal(rd, 1);
}

static void refuses_nonsense(void **state)
{
	uint64_t rd = 1;
	(void)state;
	assert_int_equal(find(0, 2, sizeof(Elf64_Phdr), &rd), -ENOENT);
	assert_int_equal(find(PHDRS, 0, sizeof(Elf64_Phdr), &rd), -ENOENT);
	assert_int_equal(find(PHDRS, UINT64_MAX, sizeof(Elf64_Phdr), &rd), -ENOENT);
	assert_int_equal(find(PHDRS, 2, 32, &rd), -ENOENT);
	assert_int_equal(find(0x50000, 2, sizeof(Elf64_Phdr), &rd), -EFAULT);
	/* A dynamic section that runs into unmapped memory without an end. */
	for (uint64_t at = DYNAMIC; at < BASE + SIZE; at += 16)
		put_u64(at, DT_NEEDED);
	assert_int_equal(find(PHDRS, 2, sizeof(Elf64_Phdr), &rd), -EFAULT);
	assert_int_equal(linkmap_find(&mem, "abc", 3, &rd), -ENOENT);
}

static void namespaces_came_with_version_2(void **state)
{
	uint64_t first, next;
	(void)state;
	put_u64(RDEBUG, 1);
	put_u64(RDEBUG + 8, MAPS);
	put_u64(RDEBUG + 40, 0x10800);
	assert_int_equal(linkmap_namespace(&mem, RDEBUG, &first, &next), 0);
	assert_int_equal(first, MAPS);
	assert_int_equal(next, 0);
	put_u64(RDEBUG, 2);
	assert_int_equal(linkmap_namespace(&mem, RDEBUG, &first, &next), 0);
	assert_int_equal(next, 0x10800);
	put_u64(RDEBUG, 0);
	assert_int_equal(linkmap_namespace(&mem, RDEBUG, &first, &next), -EINVAL);
	assert_int_equal(linkmap_namespace(&mem, 0x50000, &first, &next), -EFAULT);
}

static void reads_one_object(void **state)
{
	struct linkmap_object o;
	(void)state;
	put_u64(MAPS, 0x7000);
	put_u64(MAPS + 8, BASE + SIZE - 4);
	put_u64(MAPS + 16, 0x7100);
	put_u64(MAPS + 24, 0x10500);
	put_u64(MAPS + 32, 0x10600);
	put(BASE + SIZE - 4, "ab\0", 3);
	assert_int_equal(linkmap_read(&mem, MAPS, &o), 0);
	assert_int_equal(o.lm, MAPS);
	assert_int_equal(o.addr, 0x7000);
	assert_int_equal(o.ld, 0x7100);
	assert_int_equal(o.next, 0x10500);
	assert_int_equal(o.prev, 0x10600);
	assert_string_equal(o.name, "ab");
	/* A name that cannot be read is no name; an object that cannot is no object. */
	put_u64(MAPS + 8, 0x50000);
	assert_int_equal(linkmap_read(&mem, MAPS, &o), 0);
	assert_string_equal(o.name, "");
	assert_int_equal(linkmap_read(&mem, BASE + SIZE - 8, &o), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(finds_what_the_loader_said, set_up),
		cmocka_unit_test_setup(finds_its_place_without_pt_phdr, set_up),
		cmocka_unit_test_setup(static_programs_have_none, set_up),
		cmocka_unit_test_setup(refuses_nonsense, set_up),
		cmocka_unit_test_setup(namespaces_came_with_version_2, set_up),
		cmocka_unit_test_setup(reads_one_object, set_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
