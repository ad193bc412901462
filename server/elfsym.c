#include "server/elfsym.h"

#include <errno.h>
#include <gelf.h>
#include <string.h>

static Elf *open_elf(int fd)
{
	GElf_Ehdr eh;

	elf_version(EV_CURRENT);
	Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (elf && elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, &eh) &&
	    eh.e_machine == EM_X86_64 && gelf_getclass(elf) == ELFCLASS64)
		return elf;
	elf_end(elf);
	return NULL;
}

static int match(const char *name, uint64_t addr, struct elfsym *wanted, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (wanted[i].found || strcmp(wanted[i].name, name) != 0)
			continue;
		wanted[i].addr = addr;
		wanted[i].found = true;
		return 1;
	}
	return 0;
}

static int search_table(Elf *elf, Elf_Scn *scn, const GElf_Shdr *sh, uint64_t bias,
			struct elfsym *wanted, size_t count)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n =
		data && sh->sh_entsize == sizeof(Elf64_Sym) ? data->d_size / sizeof(Elf64_Sym) : 0;
	int found = 0;

	for (size_t i = 0; i < n && i < INT32_MAX; i++) {
		GElf_Sym sym;
		if (!gelf_getsym(data, (int)i, &sym) || sym.st_shndx == SHN_UNDEF)
			continue;
		const char *name = elf_strptr(elf, sh->sh_link, sym.st_name);
		if (name)
			found += match(name, sym.st_value + bias, wanted, count);
	}
	return found;
}

int elfsym_find(int fd, uint64_t bias, struct elfsym *wanted, size_t count)
{
	Elf *elf = open_elf(fd);
	Elf_Scn *scn = NULL;
	int found = 0;

	if (!elf)
		return -ENOEXEC;
	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr sh;
		if (gelf_getshdr(scn, &sh) &&
		    (sh.sh_type == SHT_SYMTAB || sh.sh_type == SHT_DYNSYM))
			found += search_table(elf, scn, &sh, bias, wanted, count);
	}
	elf_end(elf);
	return found;
}

int elfsym_entry(int fd, uint64_t *ret)
{
	GElf_Ehdr eh;
	Elf *elf = open_elf(fd);

	if (!elf)
		return -ENOEXEC;
	if (gelf_getehdr(elf, &eh))
		*ret = eh.e_entry;
	elf_end(elf);
	return 0;
}
