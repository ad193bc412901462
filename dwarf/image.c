#include "dwarf/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "base/bytes.h"
#include "dwarf/image_internal.h"

enum {
	CHUNK = 64 << 10,
	HEADERS_MAX = 1 << 16, /* of a kind; a linked program has a few dozen */
	SECTION_NAME_MAX = 4096,
	NOTES_MAX = 1 << 20, /* bytes of one note section */
};

/* A file larger than any program is an attack or a mistake. */
static const uint64_t FILE_MAX = UINT64_C(64) << 30;

static bool chunk_load(struct image *img, uint64_t chunk)
{
	if (img->loaded[chunk / 8] & (1u << chunk % 8))
		return true;

	uint64_t at = chunk * CHUNK;
	size_t want = (size_t)MIN((uint64_t)CHUNK, img->size - at);
	for (size_t have = 0; have < want;) {
		ssize_t n = pread(img->fd, img->data + at + have, want - have, (off_t)(at + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		have += (size_t)n;
	}
	img->loaded[chunk / 8] |= (uint8_t)(1u << chunk % 8);
	return true;
}

const uint8_t *image_bytes(struct image *img, uint64_t offset, size_t len)
{
	if (offset > img->size || len > img->size - offset)
		return NULL;
	if (img->fd >= 0 && len)
		for (uint64_t c = offset / CHUNK; c <= (offset + len - 1) / CHUNK; c++)
			if (!chunk_load(img, c))
				return NULL;
	return img->data + offset;
}

static int read_segments(struct image *img)
{
	uint64_t count = img->ehdr.e_phnum;
	if (count == PN_XNUM && img->ehdr.e_shoff) {
		const uint8_t *raw = image_bytes(img, img->ehdr.e_shoff, sizeof(Elf64_Shdr));
		Elf64_Shdr first;
		if (raw) {
			memcpy(&first, raw, sizeof(first));
			count = first.sh_info;
		}
	}
	if (!count || img->ehdr.e_phentsize != sizeof(Elf64_Phdr))
		return 0;
	if (count > HEADERS_MAX)
		return 0;

	const uint8_t *raw = image_bytes(img, img->ehdr.e_phoff, count * sizeof(Elf64_Phdr));
	if (!raw)
		return 0;
	img->segments = calloc(count, sizeof(*img->segments));
	if (!img->segments)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		Elf64_Phdr ph;
		memcpy(&ph, raw + i * sizeof(ph), sizeof(ph));
		uint64_t left = ph.p_offset < img->size ? img->size - ph.p_offset : 0;
		if (ph.p_memsz > UINT64_MAX - ph.p_vaddr)
			continue;
		img->segments[img->n_segments++] = (struct image_segment){
			.type = ph.p_type,
			.flags = ph.p_flags,
			.offset = ph.p_offset,
			.vaddr = ph.p_vaddr,
			.filesz = MIN(MIN(ph.p_filesz, left), ph.p_memsz),
			.memsz = ph.p_memsz,
			.align = ph.p_align,
		};
	}
	return 0;
}

static const char *section_name(struct image *img, const struct image_section *names, uint32_t at)
{
	if (!names || names->type == SHT_NOBITS || at >= names->size)
		return "";
	const uint8_t *text = image_section_bytes(img, names);
	if (!text || !memchr(text + at, 0, MIN(names->size - at, (uint64_t)SECTION_NAME_MAX)))
		return "";
	return (const char *)text + at;
}

static int read_sections(struct image *img)
{
	const uint8_t *raw;
	Elf64_Shdr first;

	if (!img->ehdr.e_shoff || img->ehdr.e_shentsize != sizeof(Elf64_Shdr))
		return 0;
	raw = image_bytes(img, img->ehdr.e_shoff, sizeof(first));
	if (!raw)
		return 0;
	memcpy(&first, raw, sizeof(first));
	uint64_t count = img->ehdr.e_shnum ? img->ehdr.e_shnum : first.sh_size;
	uint32_t names = img->ehdr.e_shstrndx == SHN_XINDEX ? first.sh_link : img->ehdr.e_shstrndx;
	if (!count || count > HEADERS_MAX)
		return 0;
	raw = image_bytes(img, img->ehdr.e_shoff, count * sizeof(Elf64_Shdr));
	if (!raw)
		return 0;

	_cleanup_free_ uint32_t *name_at = calloc(count, sizeof(*name_at));
	img->sections = calloc(count, sizeof(*img->sections));
	if (!img->sections || !name_at)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		Elf64_Shdr sh;
		memcpy(&sh, raw + i * sizeof(sh), sizeof(sh));
		name_at[i] = sh.sh_name;
		img->sections[i] = (struct image_section){
			.name = "",
			.type = sh.sh_type,
			.flags = sh.sh_flags,
			.addr = sh.sh_addr,
			.offset = sh.sh_offset,
			.size = sh.sh_size,
			.entsize = sh.sh_entsize,
			.link = sh.sh_link,
			.info = sh.sh_info,
		};
	}
	img->n_sections = count;
	for (size_t i = 0; i < count; i++)
		img->sections[i].name =
			section_name(img, names < count ? &img->sections[names] : NULL, name_at[i]);
	return 0;
}

static int read_headers(struct image *img, struct err *err)
{
	const uint8_t *raw = image_bytes(img, 0, sizeof(img->ehdr));
	if (!raw || memcmp(raw, ELFMAG, SELFMAG) != 0)
		return err_set(err, -ENOEXEC, "'%s' is not an ELF file", img->name);
	memcpy(&img->ehdr, raw, sizeof(img->ehdr));
	if (img->ehdr.e_ident[EI_CLASS] != ELFCLASS64 || img->ehdr.e_ident[EI_DATA] != ELFDATA2LSB)
		return err_set(err, -ENOEXEC, "'%s' is not a 64-bit little-endian ELF file",
			       img->name);

	int r = read_segments(img);
	if (r == 0)
		r = read_sections(img);
	if (r < 0)
		return err_set(err, r, "no memory for the headers of '%s'", img->name);
	return 0;
}

static struct image *image_new(const char *name)
{
	struct image *img = calloc(1, sizeof(*img));
	if (!img)
		return NULL;
	img->fd = -1;
	img->name = strdup(name);
	return img->name ? img : image_free(img);
}

int image_of_bytes(const void *data, size_t size, const char *name, struct image **ret,
		   struct err *err)
{
	_cleanup_(image_freep) struct image *img = image_new(name);
	if (!img)
		return err_set(err, -ENOMEM, "no memory to open '%s'", name);

	img->data = (uint8_t *)data;
	img->size = size;
	int r = read_headers(img, err);
	if (r < 0)
		return r;

	*ret = take_ptr(img);
	return 0;
}

static int open_taking_fd(int fd, const char *name, struct image **ret, struct err *err)
{
	_cleanup_close_ int mine = fd;
	_cleanup_(image_freep) struct image *img = image_new(name);
	struct stat st;

	if (!img)
		return err_set(err, -ENOMEM, "no memory to open '%s'", name);
	if (fstat(mine, &st) < 0)
		return err_set(err, -errno, "cannot look at '%s'", name);
	if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uint64_t)st.st_size > FILE_MAX)
		return err_set(err, -ENOEXEC, "'%s' is not an ELF file", name);

	img->size = (uint64_t)st.st_size;
	img->loaded = calloc(1, img->size / CHUNK / 8 + 1);
	if (!img->loaded)
		return err_set(err, -ENOMEM, "no memory to open '%s'", name);
	void *room = mmap(NULL, img->size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return err_set(err, -ENOMEM, "no memory to open '%s'", name);
	img->data = room;
	img->fd = steal_fd(&mine);

	int r = read_headers(img, err);
	if (r < 0)
		return r;

	*ret = take_ptr(img);
	return 0;
}

int image_open_fd(int fd, const char *name, struct image **ret, struct err *err)
{
	int mine = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (mine < 0)
		return err_set(err, -errno, "cannot open '%s'", name);
	return open_taking_fd(mine, name, ret, err);
}

int image_open(const char *path, struct image **ret, struct err *err)
{
	/* O_NONBLOCK: a FIFO that poses as a program must not hold us. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s'", path);
	return open_taking_fd(fd, path, ret, err);
}

struct image *image_free(struct image *img)
{
	if (!img)
		return NULL;
	if (img->fd >= 0) {
		munmap(img->data, img->size);
		close(img->fd);
	}
	free(img->loaded);
	free(img->segments);
	free(img->sections);
	free(img->buckets);
	free(img->chain);
	free(img->by_addr);
	free(img->name);
	free(img);
	return NULL;
}

const char *image_name(const struct image *img)
{
	return img->name;
}

int image_fd(const struct image *img)
{
	return img->fd;
}

uint64_t image_size(const struct image *img)
{
	return img->size;
}

uint64_t image_entry(const struct image *img)
{
	return img->ehdr.e_entry;
}

uint16_t image_type(const struct image *img)
{
	return img->ehdr.e_type;
}

uint16_t image_machine(const struct image *img)
{
	return img->ehdr.e_machine;
}

uint64_t image_bias(const struct image *img, uint64_t at_entry)
{
	return img->ehdr.e_type == ET_DYN ? at_entry - img->ehdr.e_entry : 0;
}

size_t image_segments(const struct image *img, const struct image_segment **ret)
{
	*ret = img->segments;
	return img->n_segments;
}

size_t image_sections(const struct image *img, const struct image_section **ret)
{
	*ret = img->sections;
	return img->n_sections;
}

const struct image_section *image_section(const struct image *img, const char *name)
{
	for (size_t i = 0; i < img->n_sections; i++)
		if (strcmp(img->sections[i].name, name) == 0)
			return &img->sections[i];
	return NULL;
}

const struct image_segment *image_segment_at(const struct image *img, uint64_t vaddr)
{
	for (size_t i = 0; i < img->n_segments; i++) {
		const struct image_segment *s = &img->segments[i];
		if (s->type == PT_LOAD && vaddr >= s->vaddr && vaddr - s->vaddr < s->memsz)
			return s;
	}
	return NULL;
}

const uint8_t *image_section_bytes(struct image *img, const struct image_section *section)
{
	if (section->type == SHT_NOBITS)
		return NULL;
	return image_bytes(img, section->offset, section->size);
}

uint64_t image_at_left(const struct image *img, uint64_t vaddr)
{
	const struct image_segment *s = image_segment_at(img, vaddr);
	if (!s || vaddr - s->vaddr >= s->filesz)
		return 0;
	return s->filesz - (vaddr - s->vaddr);
}

const uint8_t *image_at(struct image *img, uint64_t vaddr, size_t len)
{
	const struct image_segment *s = image_segment_at(img, vaddr);
	if (!s || vaddr - s->vaddr > s->filesz || len > s->filesz - (vaddr - s->vaddr))
		return NULL;
	return image_bytes(img, s->offset + (vaddr - s->vaddr), len);
}

const char *image_cstr_at(struct image *img, uint64_t vaddr, size_t max)
{
	uint64_t left = MIN(image_at_left(img, vaddr), (uint64_t)max);

	/* Most strings are short: do not bring in more of the file than they need. */
	for (uint64_t len = MIN(left, (uint64_t)64); len; len = MIN(left, len * 4)) {
		const uint8_t *text = image_at(img, vaddr, len);
		if (!text)
			return NULL;
		if (memchr(text, 0, len))
			return (const char *)text;
		if (len == left)
			break;
	}
	return NULL;
}

/* ---- notes ---- */

static const uint8_t *note_in(const uint8_t *data, size_t size, const char *name, uint32_t type,
			      size_t *ret_len)
{
	struct bytes b = bytes_of(data, size);
	size_t name_size = strlen(name) + 1;

	while (bytes_left(&b) >= sizeof(Elf64_Nhdr)) {
		uint32_t namesz = bytes_u32(&b);
		uint32_t descsz = bytes_u32(&b);
		uint32_t what = bytes_u32(&b);
		const uint8_t *who = bytes_take(&b, namesz);
		bytes_skip(&b, MIN((size_t)(-namesz & 3), bytes_left(&b)));
		const uint8_t *desc = bytes_take(&b, descsz);
		if (!bytes_ok(&b))
			break;
		/* "Go\0\0" counts its padding as part of the name. */
		if (what == type && namesz >= name_size && memcmp(who, name, name_size) == 0) {
			*ret_len = descsz;
			return desc;
		}
		bytes_skip(&b, MIN((size_t)(-descsz & 3), bytes_left(&b)));
	}
	return NULL;
}

const uint8_t *image_note(struct image *img, const char *name, uint32_t type, size_t *ret_len)
{
	for (size_t i = 0; i < img->n_segments; i++) {
		const struct image_segment *s = &img->segments[i];
		if (s->type != PT_NOTE || s->filesz > NOTES_MAX)
			continue;
		const uint8_t *data = image_bytes(img, s->offset, s->filesz);
		const uint8_t *desc = data ? note_in(data, s->filesz, name, type, ret_len) : NULL;
		if (desc)
			return desc;
	}
	for (size_t i = 0; i < img->n_sections; i++) {
		const struct image_section *s = &img->sections[i];
		if (s->type != SHT_NOTE || s->size > NOTES_MAX)
			continue;
		const uint8_t *data = image_section_bytes(img, s);
		const uint8_t *desc = data ? note_in(data, s->size, name, type, ret_len) : NULL;
		if (desc)
			return desc;
	}
	*ret_len = 0;
	return NULL;
}

const uint8_t *image_build_id(struct image *img, size_t *ret_len)
{
	return image_note(img, "GNU", NT_GNU_BUILD_ID, ret_len);
}

/* ---- the dynamic section ---- */

static void read_dynamic(struct image *img)
{
	if (img->dynamic_read)
		return;
	img->dynamic_read = true;

	for (size_t i = 0; i < img->n_segments; i++) {
		const struct image_segment *s = &img->segments[i];
		if (s->type != PT_DYNAMIC || s->filesz > NOTES_MAX)
			continue;
		const uint8_t *raw = image_bytes(img, s->offset, s->filesz);
		for (size_t at = 0; raw && at + sizeof(Elf64_Dyn) <= s->filesz;
		     at += sizeof(Elf64_Dyn)) {
			Elf64_Dyn d;
			memcpy(&d, raw + at, sizeof(d));
			if (d.d_tag == DT_NULL)
				break;
			if (d.d_tag == DT_RELA)
				img->rela = d.d_un.d_ptr;
			else if (d.d_tag == DT_RELASZ)
				img->rela_size = d.d_un.d_val;
			else if (d.d_tag == DT_TEXTREL ||
				 (d.d_tag == DT_FLAGS && (d.d_un.d_val & DF_TEXTREL)))
				img->has_textrel = true;
		}
	}
}

void image_relative_relocs(struct image *img,
			   bool (*fn)(void *ctx, uint64_t place, uint64_t addend), void *ctx)
{
	read_dynamic(img);
	uint64_t left = image_at_left(img, img->rela);
	uint64_t size = MIN(img->rela_size, left);
	const uint8_t *raw = img->rela && size ? image_at(img, img->rela, size) : NULL;

	for (uint64_t at = 0; raw && at + sizeof(Elf64_Rela) <= size; at += sizeof(Elf64_Rela)) {
		Elf64_Rela rela;
		memcpy(&rela, raw + at, sizeof(rela));
		if (ELF64_R_TYPE(rela.r_info) == R_X86_64_RELATIVE &&
		    !fn(ctx, rela.r_offset, (uint64_t)rela.r_addend))
			return;
	}
}

/* ---- memory with the file behind it ---- */

static const uint8_t *read_only_bytes(const struct image_mem *im, uint64_t vaddr, size_t len)
{
	const struct image_segment *s = image_segment_at(im->img, vaddr);
	if (!s || (s->flags & PF_W))
		return NULL;
	read_dynamic(im->img);
	return im->img->has_textrel ? NULL : image_at(im->img, vaddr, len);
}

static int image_mem_read_some(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	const struct image_mem *im = ctx;
	const uint8_t *raw = read_only_bytes(im, addr - im->bias, len);

	if (!raw && im->mem)
		return mem_read_some(im->mem, addr, into, len, ret_got);
	if (!raw)
		raw = image_at(im->img, addr - im->bias, len);
	if (!raw)
		return -EFAULT;
	memcpy(into, raw, len);
	*ret_got = len;
	return 0;
}

int image_mem_read(const struct image_mem *im, uint64_t addr, void *into, size_t len)
{
	size_t got = 0;
	int r = image_mem_read_some((void *)im, addr, into, len, &got);
	if (r < 0)
		return r;
	return got == len ? 0 : -EFAULT;
}

struct mem image_mem_as_mem(struct image_mem *im)
{
	return (struct mem){ .read = image_mem_read_some, .ctx = im };
}
