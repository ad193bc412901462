#include "server/images.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/axcode.h"
#include "dwarf/linkmap.h"
#include "server/inferior.h"
#include "server/svr4.h"
#include "server/threaddb.h"

enum { AUXV_MAX = 4096 };

/* --- the files --- */

void images_fini(struct images *all)
{
	for (size_t i = 0; i < all->count; i++) {
		debuginfo_free(all->at[i].di);
		free(all->at[i].path);
	}
	free(all->at);
	*all = (struct images){ 0 };
}

static void add_image(struct images *all, const char *path, uint64_t bias, uint64_t lm)
{
	for (size_t i = 0; i < all->count; i++) {
		if (all->at[i].bias != bias || strcmp(all->at[i].path, path) != 0)
			continue;
		/* Loaded anew it may have another place in the threads. */
		all->at[i].tls_known &= all->at[i].lm == lm && !all->at[i].gone;
		all->at[i].gone = false;
		all->at[i].lm = lm;
		return;
	}
	if (all->count == IMAGES_MAX)
		return;
	struct images_one *at = reallocarray(all->at, all->count + 1, sizeof(*at));
	if (!at)
		return;
	all->at = at;
	at[all->count] = (struct images_one){ .path = strdup(path), .bias = bias, .lm = lm };
	if (!at[all->count].path)
		return;
	(void)!debuginfo_open(path, bias, &at[all->count].di, NULL);
	all->count++;
}

static bool is_same_file(const char *a, const char *b)
{
	struct stat sa, sb;
	return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

static uint64_t auxv_value(struct inferior *inf, uint64_t type)
{
	_cleanup_buf_ struct buf auxv = { 0 };
	uint64_t pair[2];

	buf_init(&auxv, AUXV_MAX);
	if (inf->target->ops->auxv_read(inf->target, &auxv) < 0)
		return 0;
	for (size_t at = 0; at + sizeof(pair) <= auxv.len; at += sizeof(pair)) {
		memcpy(pair, auxv.data + at, sizeof(pair));
		if (pair[0] == type)
			return pair[1];
	}
	return 0;
}

/* The program itself: by its name when that still is the file that runs, as separate debug files are looked for beside it. */
static void add_program(struct inferior *inf)
{
	char proc[64], path[PATH_MAX];
	struct image *img;

	snprintf(proc, sizeof(proc), "/proc/%d/exe", (int)inf->pid);
	if (inf->target->ops->exe_path(inf->target, path, sizeof(path)) < 0)
		snprintf(path, sizeof(path), "%s", proc);
	else if (inf->target->ops->run && !is_same_file(proc, path))
		snprintf(path, sizeof(path), "%s", proc);
	if (image_open(path, &img, NULL) < 0)
		return;
	uint64_t bias = image_bias(img, auxv_value(inf, AT_ENTRY));
	image_free(img);
	add_image(&inf->images, path, bias, 0);
}

static bool add_library(void *ctx, const struct linkmap_object *o)
{
	struct inferior *inf = ctx;
	struct mem_region region;

	if (o->name[0] == '/')
		add_image(&inf->images, o->name, o->addr, o->lm);
	/* "./plugin.so" as the program opened it, from where it was then. */
	else if (o->name[0] && inf->target->ops->region_at(inf->target, o->ld, &region) == 0 &&
		 region.name[0] == '/')
		add_image(&inf->images, region.name, o->addr, o->lm);
	return true;
}

void images_update(struct inferior *inf)
{
	if (!inf->images.count)
		add_program(inf);
	for (size_t i = 1; i < inf->images.count; i++)
		inf->images.at[i].gone = true;
	(void)svr4_each(inf, add_library, inf);
}

/* NULL: it is not there, or could not be opened. */
struct debuginfo *images_nth(const struct inferior *inf, size_t i)
{
	return inf->images.at[i].gone ? NULL : inf->images.at[i].di;
}

struct debuginfo *images_at(struct inferior *inf, uint64_t addr)
{
	for (size_t i = 0; i < inf->images.count; i++)
		if (images_nth(inf, i) && debuginfo_holds(inf->images.at[i].di, addr))
			return inf->images.at[i].di;
	return NULL;
}

/* --- thread-local variables --- */

enum { DWARF_FS_BASE = 58 };

static const struct image_segment *tls_segment(struct debuginfo *di)
{
	const struct image_segment *list;
	size_t n = image_segments(debuginfo_image(di), &list);

	for (size_t i = 0; i < n; i++)
		if (list[i].type == PT_TLS)
			return &list[i];
	return NULL;
}

/* The program's block ends at the thread pointer (ELF Handling For Thread-Local Storage, variant II). */
static void program_tls(const struct image_segment *tls, struct buf *code)
{
	uint64_t align = tls->align ? tls->align : 1, first = (0 - tls->vaddr) & (align - 1);
	uint64_t len = (tls->memsz - first + align - 1) / align * align + first;

	axcode_reg(code, DWARF_FS_BASE);
	axcode_add_const(code, 0 - len);
}

/*
 * A library's block has a place in each thread's vector, whose address is the word behind the thread pointer's; which one is seen in a
 * thread that has the block (glibc: sysdeps/generic/dl-dtv.h).
 */
static bool library_tls(struct inferior *inf, uint64_t lm, struct buf *code)
{
	enum { SLOT = 16, SLOTS_MAX = 4096 };
	struct mem mem = target_mem(inf->target);
	struct user_regs_struct gp;
	uint64_t block, vector, count, here;
	pid_t tid = 0;

	if (inf->target->ops->next_thread(inf->target, 0, &tid) < 0 || !tid ||
	    inf->target->ops->gp_read(inf->target, tid, &gp) < 0 ||
	    threaddb_tls_addr(inf, tid, lm, 0, &block, NULL) < 0 ||
	    mem_read_u64(&mem, gp.fs_base + 8, &vector) < 0 ||
	    mem_read_u64(&mem, vector - SLOT, &count) < 0)
		return false;
	for (uint64_t i = 1; i <= count && i <= SLOTS_MAX; i++) {
		if (mem_read_u64(&mem, vector + i * SLOT, &here) < 0)
			return false;
		if (here != block)
			continue;
		axcode_reg(code, DWARF_FS_BASE);
		axcode_add_const(code, 8);
		axcode_op(code, AXCODE_REF64);
		axcode_add_const(code, i * SLOT);
		axcode_op(code, AXCODE_REF64);
		return true;
	}
	return false;
}

/* Looked at again while it is not known: the library may just have been loaded. */
void images_find_tls(struct inferior *inf)
{
	for (size_t i = 0; i < inf->images.count; i++) {
		struct images_one *at = &inf->images.at[i];
		struct debuginfo *di = images_nth(inf, i);
		const struct image_segment *tls = di && !at->tls_known ? tls_segment(di) : NULL;
		_cleanup_buf_ struct buf code = { 0 };

		if (!di || at->tls_known || (!tls && (at->tls_known = true)))
			continue;
		buf_init(&code, DI_TLS_MAX);
		if (i == 0)
			program_tls(tls, &code);
		else if (!library_tls(inf, at->lm, &code))
			buf_reset(&code);
		at->tls_known = code.len && !buf_error(&code);
		(void)debuginfo_set_tls(di, code.data, at->tls_known ? code.len : 0);
	}
}

/* --- libraries that come --- */

uint64_t images_loader_hook(struct inferior *inf)
{
	uint64_t base = auxv_value(inf, AT_BASE);
	_cleanup_(image_freep) struct image *img = NULL;
	struct mem_region region;

	if (!base || inferior_region_at(inf, base, &region) < 0 || region.name[0] != '/' ||
	    image_open(region.name, &img, NULL) < 0)
		return 0;
	struct image_symbol sym = image_symbol(img, "_dl_debug_state");
	return sym.name ? base + sym.value : 0;
}
