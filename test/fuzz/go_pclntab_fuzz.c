/* A function table made of the input: every function, and what the table says of some pcs in each. */
#include <stdlib.h>
#include <string.h>

#include "dwarf/go/pclntab.h"

enum { AT = 0x100, BASE = 0x400000, FUNCS_MAX = 256 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The table behind an ELF header that maps all of it. */
static uint8_t *wrap(const uint8_t *data, size_t size)
{
	uint8_t *file = calloc(1, AT + size);
	Elf64_Ehdr eh = { .e_type = ET_EXEC,
			  .e_machine = EM_X86_64,
			  .e_phoff = sizeof(eh),
			  .e_phentsize = sizeof(Elf64_Phdr),
			  .e_phnum = 1 };
	Elf64_Phdr ph = { .p_type = PT_LOAD,
			  .p_flags = PF_R,
			  .p_vaddr = BASE,
			  .p_filesz = AT + size,
			  .p_memsz = AT + size };

	if (!file)
		abort();
	memcpy(eh.e_ident, ELFMAG, SELFMAG);
	eh.e_ident[EI_CLASS] = ELFCLASS64;
	eh.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(file, &eh, sizeof(eh));
	memcpy(file + sizeof(eh), &ph, sizeof(ph));
	memcpy(file + AT, data, size);
	return file;
}

static void ask(const struct go_pclntab *t, const struct go_pcln_func *f, uint64_t pc)
{
	struct go_pcln_func same;
	struct go_inlined call;
	int32_t delta;

	(void)go_pclntab_lookup(t, pc, &same);
	(void)go_pclntab_sp_delta(t, f, pc, &delta);
	(void)go_pclntab_line(t, f, pc);
	(void)go_pclntab_file(t, f, pc);
	for (unsigned i = 0; i < 16 && go_pclntab_inlined(t, f, pc, &call); i++)
		pc = call.parent_pc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *file = wrap(data, size);
	struct image *img = NULL;
	struct go_pclntab t;

	if (image_of_bytes(file, AT + size, "fuzz", &img, NULL) == 0 && go_pclntab_find(img, &t)) {
		t.text = BASE;
		t.gofunc = BASE + AT;
		for (uint64_t i = 0; i < MIN(t.nfunc, (uint64_t)FUNCS_MAX); i++) {
			struct go_pcln_func f;
			if (!go_pclntab_nth(&t, i, &f))
				continue;
			(void)go_pclntab_name(&t, f.name_off);
			ask(&t, &f, f.entry);
			ask(&t, &f, f.entry + (f.end - f.entry) / 2);
			(void)go_pclntab_try_gofunc(&t, &f, t.gofunc);
		}
	}
	image_free(img);
	free(file);
	return 0;
}
