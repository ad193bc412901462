/* ELF images: this very program, files cut short, and headers that lie. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "dwarf/image.h"

int image_test_landmark(int n);

__attribute__((noinline)) int image_test_landmark(int n)
{
	return n * 3 + 1;
}

static struct image *self(void)
{
	struct image *img = NULL;
	struct err err = { 0 };
	if (image_open("/proc/self/exe", &img, &err) < 0)
		fail_msg("%s", err.text);
	return img;
}

static void finds_its_own_functions(void **state _unused_)
{
	_cleanup_(image_freep) struct image *img = self();
	uint64_t bias = image_bias(img, getauxval(AT_ENTRY));

	assert_int_equal(image_machine(img), EM_X86_64);
	struct image_symbol s = image_symbol(img, "image_test_landmark");
	assert_non_null(s.name);
	assert_int_equal(s.value + bias, (uint64_t)(uintptr_t)image_test_landmark);
	assert_int_equal(s.type, STT_FUNC);
	struct image_symbol at = image_symbol_at(img, s.value + 1);
	assert_string_equal(at.name, "image_test_landmark");
	assert_null(image_symbol(img, "no such thing").name);
	assert_null(image_symbol_at(img, 1).name);
	assert_true(image_has_symtab(img));
	/* Undefined ones are not found. */
	assert_null(image_symbol(img, "printf").name);

	const uint8_t *code = image_at(img, s.value, 4);
	assert_non_null(code);
	assert_memory_equal(code, (const void *)(uintptr_t)image_test_landmark, 4);
}

static void headers_and_sections(void **state _unused_)
{
	_cleanup_(image_freep) struct image *img = self();
	const struct image_segment *segments;
	const struct image_section *sections;

	assert_true(image_segments(img, &segments) > 3);
	assert_true(image_sections(img, &sections) > 10);
	const struct image_section *text = image_section(img, ".text");
	assert_non_null(text);
	assert_non_null(image_segment_at(img, text->addr));
	assert_null(image_segment_at(img, UINT64_MAX));
	assert_ptr_equal(image_section_bytes(img, text), image_at(img, text->addr, text->size));
	assert_null(image_section(img, ".nothing"));
	const struct image_section *bss = image_section(img, ".bss");
	assert_non_null(bss);
	assert_null(image_section_bytes(img, bss));
	assert_null(image_at(img, bss->addr, bss->size ? bss->size : 1));
	size_t len = 0;
	if (image_section(img, ".note.gnu.build-id")) {
		assert_non_null(image_build_id(img, &len));
		assert_true(len >= 8);
	}
}

static int refuse(void *ctx, uint64_t addr _unused_, void *into _unused_, size_t len _unused_,
		  size_t *ret_got _unused_)
{
	(*(int *)ctx)++;
	return -EFAULT;
}

static void memory_behind_the_file(void **state _unused_)
{
	_cleanup_(image_freep) struct image *img = self();
	int asked = 0;
	struct mem none = { .read = refuse, .ctx = &asked };
	struct image_mem im = { .img = img, .bias = 0x10000, .mem = &none };
	struct image_symbol s = image_symbol(img, "image_test_landmark");
	uint8_t code[4];

	/* Text comes from the file without asking; what can be written does not. */
	assert_int_equal(image_mem_read(&im, s.value + 0x10000, code, sizeof(code)), 0);
	assert_memory_equal(code, (const void *)(uintptr_t)image_test_landmark, 4);
	assert_int_equal(asked, 0);
	const struct image_section *data = image_section(img, ".data");
	assert_non_null(data);
	assert_int_equal(image_mem_read(&im, data->addr + 0x10000, code, 1), -EFAULT);
	assert_int_equal(asked, 1);
	im.mem = NULL;
	assert_int_equal(image_mem_read(&im, data->addr + 0x10000, code, 1), 0);
}

static void refuses_what_is_no_program(void **state _unused_)
{
	struct image *img = NULL;
	struct err err = { 0 };
	char dir[] = "/tmp/image-XXXXXX", path[64];

	assert_int_equal(image_open("/nonexistent", &img, &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent"));
	assert_int_equal(image_open("/", &img, &err), -ENOEXEC);
	assert_int_equal(image_open("/dev/null", &img, &err), -ENOEXEC);
	assert_int_equal(image_of_bytes("\177ELF", 4, "short", &img, &err), -ENOEXEC);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(image_open(path, &img, &err), -ENOEXEC);
	unlink(path);
	rmdir(dir);
	assert_null(img);
}

/* A file that shrinks after it was opened is unreadable where it was cut, and nothing worse. */
static void a_file_cut_short(void **state _unused_)
{
	char path[] = "/tmp/image-XXXXXX";
	int to = mkstemp(path), from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char buffer[1 << 16];
	ssize_t n;
	struct err err = { 0 };
	_cleanup_(image_freep) struct image *img = NULL;

	assert_true(to >= 0 && from >= 0);
	while ((n = read(from, buffer, sizeof(buffer))) > 0)
		assert_int_equal(write(to, buffer, (size_t)n), n);
	close(from);
	assert_int_equal(image_open_fd(to, path, &img, &err), 0);
	assert_int_equal(ftruncate(to, 200), 0);
	close(to);
	unlink(path);
	/* The last pieces had not been read yet. */
	uint64_t size = image_size(img);
	if (size > 1 << 18) {
		const struct image_section *info = image_section(img, ".debug_info");
		if (info && info->size > 1 << 17)
			assert_null(image_section_bytes(img, info));
	}
	assert_null(image_bytes(img, size, 1));
	assert_null(image_bytes(img, UINT64_MAX - 3, 8));
	(void)image_symbol(img, "main");
}

static void headers_that_lie(void **state _unused_)
{
	static uint8_t file[4096];
	Elf64_Ehdr eh = { .e_type = ET_EXEC,
			  .e_machine = EM_X86_64,
			  .e_phoff = 64,
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = 2,
			  .e_shoff = 512,
			  .e_shentsize = sizeof(Elf64_Shdr),
			  .e_shnum = 3,
			  .e_shstrndx = 60000 };
	Elf64_Phdr ph[2] = {
		{ .p_type = PT_LOAD, .p_vaddr = UINT64_MAX - 10, .p_memsz = 100, .p_filesz = 100 },
		{ .p_type = PT_LOAD,
		  .p_offset = 4000,
		  .p_vaddr = 0x1000,
		  .p_memsz = 0x1000,
		  .p_filesz = UINT64_MAX },
	};
	Elf64_Shdr sh[3] = {
		{ 0 },
		{ .sh_type = SHT_SYMTAB,
		  .sh_offset = UINT64_MAX - 8,
		  .sh_size = 1 << 20,
		  .sh_entsize = sizeof(Elf64_Sym),
		  .sh_link = 2 },
		{ .sh_type = SHT_STRTAB, .sh_offset = 100, .sh_size = UINT64_MAX },
	};
	const struct image_segment *segments;
	_cleanup_(image_freep) struct image *img = NULL;
	size_t len;

	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(file, &eh, sizeof(eh));
	memcpy(file + 64, ph, sizeof(ph));
	memcpy(file + 512, sh, sizeof(sh));
	assert_int_equal(image_of_bytes(file, sizeof(file), "lies", &img, NULL), 0);
	/* The one that wraps around is left out, the other cut to what there is. */
	assert_int_equal(image_segments(img, &segments), 1);
	assert_int_equal(segments[0].filesz, 96);
	assert_non_null(image_at(img, 0x1000, 96));
	assert_null(image_at(img, 0x1000, 97));
	assert_int_equal(image_at_left(img, 0x1000 + 95), 1);
	assert_int_equal(image_at_left(img, 0x1000 + 96), 0);
	assert_null(image_symbol(img, "main").name);
	assert_null(image_build_id(img, &len));
	assert_string_equal(image_cstr_at(img, 0x1000, 10), "");
	memset(file + 4000, 'x', 96);
	assert_null(image_cstr_at(img, 0x1000, 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_its_own_functions),
		cmocka_unit_test(headers_and_sections),
		cmocka_unit_test(memory_behind_the_file),
		cmocka_unit_test(refuses_what_is_no_program),
		cmocka_unit_test(a_file_cut_short),
		cmocka_unit_test(headers_that_lie),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
