/*
 * A module's directory made of the input, beside a function table that is right: {release, kind, where the file is cut: 2 bytes}, then
 * what the writable part of the file holds. The words that make it one are put there first, so that the rest decides. Kind: bit 0,
 * the words come through relocations (a position-independent file); bit 1, nothing is put there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "../unit/go_tiny.h"

enum { DYNAMIC = 0x9800, RELA = 0x9900, RELA_MAX = 32, GUESSES_MAX = 512 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tiny tiny;

static void must(bool right)
{
	if (!right)
		abort();
}

/* What the linker wrote as words becomes relocations that will write them. */
static void make_relocs(size_t size)
{
	const Elf64_Dyn dynamic[] = { { .d_tag = DT_RELA, .d_un.d_ptr = tiny_addr(RELA) },
				      { .d_tag = DT_RELASZ,
					.d_un.d_val = RELA_MAX * sizeof(Elf64_Rela) },
				      { .d_tag = DT_NULL } };
	Elf64_Ehdr *eh = (Elf64_Ehdr *)tiny.data;
	Elf64_Phdr ph = { .p_type = PT_DYNAMIC,
			  .p_flags = PF_R,
			  .p_offset = DYNAMIC,
			  .p_vaddr = tiny_addr(DYNAMIC),
			  .p_filesz = sizeof(dynamic),
			  .p_memsz = sizeof(dynamic) };
	size_t n = 0;

	eh->e_type = ET_DYN;
	eh->e_phnum = 3;
	memcpy(tiny.data + sizeof(*eh) + 2 * sizeof(ph), &ph, sizeof(ph));
	for (uint64_t at = TINY_MODULE; at < TINY_MODULE + 360 && n < RELA_MAX; at += 8) {
		uint64_t value;
		memcpy(&value, tiny.data + at, 8);
		/* Counts and lengths are not addresses. */
		if (value < TINY_BASE || value >= TINY_BASE + TINY_SIZE)
			continue;
		Elf64_Rela rela = { .r_offset = tiny_addr(at),
				    .r_info = ELF64_R_INFO(0, R_X86_64_RELATIVE),
				    .r_addend = (int64_t)value };
		memcpy(tiny.data + RELA + n++ * sizeof(rela), &rela, sizeof(rela));
		tiny_put(&tiny, at, 0);
	}
	memcpy(tiny.data + DYNAMIC, dynamic, sizeof(dynamic));
	must(size <= TINY_SIZE);
}

static void ask(struct image *img, unsigned minor)
{
	struct go_moduledata md;
	struct go_pclntab t;
	uint64_t types = 0, etypes = 0;
	size_t n = 0;

	if (!go_pclntab_find(img, &t) || !go_moduledata_find(&t, minor, &md))
		return;
	must(md.vaddr && md.text && md.text <= md.minpc && md.minpc <= md.maxpc &&
	     md.maxpc <= md.etext);
	must(!md.gofunc == !md.gofunc_from);
	while (n < GUESSES_MAX && go_moduledata_types_guess(&md, img, minor, n, &types, &etypes)) {
		must(types < etypes);
		must(image_at_left(img, types) > 0);
		n++;
	}
	must(n < GUESSES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image *img = NULL;

	if (size < 4)
		return 0;
	unsigned minor = data[0] % 32, kind = data[1];
	size_t cut = (size_t)(data[2] | data[3] << 8) * 2;
	data += 4;
	size -= 4;

	tiny_make(&tiny);
	if (kind & 2)
		memset(tiny.data + TINY_MODULE, 0, 360);
	if (kind & 1)
		make_relocs(sizeof(tiny.data));
	/* {offset in the writable part: 2 bytes, length: 1, bytes} */
	while (size > 3) {
		size_t offset = (size_t)(data[0] | data[1] << 8),
		       len = MIN((size_t)data[2] % 64, size - 3);
		offset = TINY_DATA + offset % (TINY_SIZE - TINY_DATA - 64);
		memcpy(tiny.data + offset, data + 3, len);
		data += 3 + len;
		size -= 3 + len;
	}
	size_t file = cut && cut < sizeof(tiny.data) ? cut : sizeof(tiny.data);
	uint8_t *exact = malloc(file);
	must(exact != NULL);
	memcpy(exact, tiny.data, file);
	if (image_of_bytes(exact, file, "fuzz", &img, NULL) == 0)
		ask(img, minor);
	image_free(img);
	free(exact);
	return 0;
}
