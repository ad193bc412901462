#include "server/gofiles.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "dwarf/go/symfile.h"
#include "server/gview.h"
#include "server/inferior.h"

void gofiles_forget(struct gofiles *files)
{
	overlay_unref(files->program);
	overlay_unref(files->debug);
	*files = (struct gofiles){ 0 };
}

static struct go_model *model_of(struct inferior *inf)
{
	struct gview *gv = threadview_goroutines(inf->view, NULL);
	struct go_model *m = gv ? gview_model(gv) : NULL;

	return m && go_symfile_is_needed(m) ? m : NULL;
}

static struct overlay *said(struct overlay *o, int r, const struct err *err)
{
	if (r < 0)
		log_debug(LOG_GO, "%s: the program is served without symbols", err_text(err, r));
	return r < 0 ? overlay_unref(o) : o;
}

static struct overlay *make_program(struct go_model *m)
{
	struct overlay *o = overlay_new(0);
	struct go_symfile_join join;
	struct err err = { 0 };

	if (!o)
		return NULL;
	int r = go_symfile_join(m, &join, &err);
	o->tail = join.tail;
	o->at = join.at;
	o->base = image_size(go_model_image(m));
	o->head_len = sizeof(join.header);
	memcpy(o->head, join.header, sizeof(join.header));
	return said(o, r, &err);
}

static struct overlay *make_debug(struct go_model *m)
{
	struct overlay *o = overlay_new(0);
	struct err err = { 0 };

	return o ? said(o, go_symfile_build(m, &o->tail, &err), &err) : NULL;
}

static struct overlay *program_of(struct inferior *inf)
{
	struct gofiles *f = &inf->files;
	struct go_model *m = f->tried_program ? NULL : model_of(inf);

	f->tried_program = true;
	if (m)
		f->program = make_program(m);
	return f->program;
}

static bool is_program(struct inferior *inf, const struct stat *st)
{
	char path[PATH_MAX];
	struct stat own;

	/* Through /proc: the file that is mapped, whatever its path names by now. */
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)inf->pid);
	if (!inf->target->tracer && inf->target->ops->exe_path(inf->target, path, sizeof(path)) < 0)
		return false;
	return stat(path, &own) == 0 && own.st_dev == st->st_dev && own.st_ino == st->st_ino;
}

static struct overlay *overlay_of(struct inferiors *all, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return NULL;
	for (struct inferior *inf = all->first; inf; inf = inf->next)
		if (is_program(inf, st))
			return program_of(inf);
	return NULL;
}

/* Whoever compares build ids reads headers only; the symbols come first. */
static bool is_read(const struct overlay *o)
{
	return o && o->begun;
}

bool gofiles_put_hint(struct inferior *inf, struct buf *out)
{
	char path[PATH_MAX];

	if (!model_of(inf) || is_read(inf->files.program) || is_read(inf->files.debug) ||
	    inf->target->ops->exe_path(inf->target, path, sizeof(path)) < 0)
		return false;
	buf_printf(out,
		   "the program has no debug information; a gdb that was given a file of it gets "
		   "names and lines by: symbol-file target:%s\n",
		   path);
	return true;
}

static int copy_out(struct overlay *o, int from, int to)
{
	enum { PIECE = 1 << 16 };
	_cleanup_free_ uint8_t *piece = malloc(PIECE);
	uint64_t at = 0;

	if (!piece)
		return -ENOMEM;
	for (;;) {
		ssize_t n = overlay_pread(o, from, piece, PIECE, at);
		if (n <= 0)
			return n < 0 ? (int)n : at < overlay_size(o) ? -EIO : 0;
		ssize_t done = pwrite(to, piece, (size_t)n, (off_t)at);
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		at += (uint64_t)done;
	}
}

int gofiles_write(struct inferior *inf, const char *path, struct err *err)
{
	struct overlay *o = model_of(inf) ? program_of(inf) : NULL;
	char own[64];

	if (!o)
		return err_set(err, -ENODATA,
			       "the program has debug information of its own, or too little is "
			       "known of it");
	snprintf(own, sizeof(own), "/proc/%d/exe", (int)inf->pid);
	int from = open(own, O_RDONLY | O_CLOEXEC);
	if (from < 0)
		return err_set(err, -errno, "cannot open '%s'", own);
	int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = to < 0 ? -errno : copy_out(o, from, to);
	if (to >= 0 && close(to) < 0 && r == 0)
		r = -errno;
	if (to >= 0 && r < 0)
		unlink(path);
	close(from);
	return r < 0 ? err_set(err, r, "cannot write '%s'", path) : 0;
}

void gofiles_cover(struct inferiors *all, struct hostio *io, int fd)
{
	struct stat st;
	struct overlay *o = hostio_fstat(io, (uint64_t)fd, &st) == 0 ? overlay_of(all, &st) : NULL;

	if (o && o->base == (uint64_t)st.st_size)
		hostio_cover(io, (uint64_t)fd, o);
}

void gofiles_stat(struct inferiors *all, struct stat *st)
{
	struct overlay *o = overlay_of(all, st);

	if (o && o->base == (uint64_t)st->st_size)
		st->st_size = (off_t)overlay_size(o);
}

/* Does "…/.build-id/ab/cdef….debug" name this program's? */
static bool is_debug_path(struct go_model *m, const char *path)
{
	char wanted[PATH_MAX];
	size_t len, n = strlen(path);
	const uint8_t *id = image_build_id(go_model_image(m), &len);

	if (!id || len < 2 || len > 64)
		return false;
	int at = snprintf(wanted, sizeof(wanted), "/.build-id/%02x/", id[0]);
	for (size_t i = 1; i < len; i++)
		at += snprintf(wanted + at, sizeof(wanted) - (size_t)at, "%02x", id[i]);
	at += snprintf(wanted + at, sizeof(wanted) - (size_t)at, ".debug");
	return n >= (size_t)at && strcmp(path + n - (size_t)at, wanted) == 0;
}

static struct overlay *debug_of(struct inferior *inf, const char *path)
{
	struct gofiles *f = &inf->files;
	struct go_model *m = model_of(inf);

	if (!m || !is_debug_path(m, path))
		return NULL;
	if (!f->tried_debug) {
		f->tried_debug = true;
		f->debug = make_debug(m);
	}
	return f->debug;
}

int gofiles_open_debug(struct inferiors *all, struct hostio *io, const char *path)
{
	struct overlay *o = NULL;

	if (!strstr(path, "/.build-id/"))
		return -ENOENT;
	for (struct inferior *inf = all->first; inf && !o; inf = inf->next)
		o = debug_of(inf, path);
	if (!o)
		return -ENOENT;
	/* A descriptor of its own that has nothing in it: everything is laid over it. */
	int fd = memfd_create("debug", MFD_CLOEXEC);
	int slot = fd < 0 ? -errno : hostio_take(io, fd);
	if (slot >= 0)
		hostio_cover(io, (uint64_t)slot, o);
	return slot;
}
