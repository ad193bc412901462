#include "server/hostio.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

/* --- overlays --- */

struct overlay *overlay_new(size_t max)
{
	struct overlay *o = calloc(1, sizeof(*o));
	if (!o)
		return NULL;
	o->refs = 1;
	buf_init(&o->tail, max);
	return o;
}

struct overlay *overlay_ref(struct overlay *o)
{
	o->refs++;
	return o;
}

struct overlay *overlay_unref(struct overlay *o)
{
	if (o && --o->refs == 0) {
		buf_fini(&o->tail);
		free(o);
	}
	return NULL;
}

uint64_t overlay_size(const struct overlay *o)
{
	return o->at + o->tail.len;
}

/* The part of [from, from + have) that lies in [offset, offset + len), copied to where it belongs. */
static void copy_part(uint8_t *into, uint64_t offset, size_t len, const uint8_t *have,
		      uint64_t from, size_t have_len)
{
	uint64_t start = MAX(offset, from), end = MIN(offset + len, from + have_len);

	if (start < end)
		memcpy(into + (start - offset), have + (start - from), end - start);
}

ssize_t overlay_pread(struct overlay *o, int file, void *into, size_t len, uint64_t offset)
{
	uint64_t size = overlay_size(o);

	if (offset >= size)
		return 0;
	len = (size_t)MIN((uint64_t)len, size - offset);
	memset(into, 0, len);
	if (offset < o->base) {
		size_t own = (size_t)MIN((uint64_t)len, o->base - offset);
		ssize_t n = pread(file, into, own, (off_t)offset);
		if (n < 0)
			return -errno;
		/* A part is an answer; it may have been cut short under us. */
		if ((size_t)n < own)
			len = (size_t)n;
	}
	copy_part(into, offset, len, o->head, 0, o->head_len);
	if (o->tail.len)
		copy_part(into, offset, len, o->tail.data, o->at, o->tail.len);
	o->begun |= offset <= o->at && o->at - offset < len;
	return (ssize_t)len;
}

/* --- files --- */

void hostio_init(struct hostio *io)
{
	memset(io->overlays, 0, sizeof(io->overlays));
	for (size_t i = 0; i < ARRAY_SIZE(io->fds); i++)
		io->fds[i] = -1;
	io->root = -1;
}

void hostio_fini(struct hostio *io)
{
	for (size_t i = 0; i < ARRAY_SIZE(io->fds); i++) {
		close_fdp(&io->fds[i]);
		io->overlays[i] = overlay_unref(io->overlays[i]);
	}
	close_fdp(&io->root);
}

static bool same_mount_namespace(pid_t pid)
{
	char path[64];
	struct stat ours, theirs;

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	/* A namespace that cannot be looked at cannot be entered either. */
	if (stat("/proc/self/ns/mnt", &ours) < 0 || stat(path, &theirs) < 0)
		return true;
	return ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino;
}

int hostio_setfs(struct hostio *io, pid_t pid)
{
	char path[64];
	int root = -1;

	if (pid != 0 && !same_mount_namespace(pid)) {
		snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
		root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (root < 0)
			return -errno;
	}
	close_fdp(&io->root);
	io->root = root;
	return 0;
}

/* A path below the chosen root, or the server's own. */
static int open_path(struct hostio *io, const char *path, int flags, mode_t mode)
{
	int fd;

	if (io->root < 0) {
		fd = open(path, flags | O_CLOEXEC, mode);
	} else {
		struct open_how how = {
			.flags = (uint64_t)(flags | O_CLOEXEC),
			.mode = flags & O_CREAT ? mode : 0,
			.resolve = RESOLVE_IN_ROOT,
		};
		fd = (int)syscall(SYS_openat2, io->root, path, &how, sizeof(how));
	}
	return fd < 0 ? -errno : fd;
}

static int free_slot(const struct hostio *io)
{
	for (size_t slot = 0; slot < ARRAY_SIZE(io->fds); slot++)
		if (io->fds[slot] < 0)
			return (int)slot;
	return -EMFILE;
}

int hostio_take(struct hostio *io, int fd)
{
	int slot = free_slot(io);
	if (slot < 0)
		close(fd);
	else
		io->fds[slot] = fd;
	return slot;
}

void hostio_cover(struct hostio *io, uint64_t fd, struct overlay *o)
{
	overlay_unref(io->overlays[fd]);
	io->overlays[fd] = overlay_ref(o);
}

int hostio_open(struct hostio *io, const char *path, int flags, mode_t mode)
{
	int slot = free_slot(io);
	if (slot < 0)
		return slot;

	/* Never wait for the other end of a FIFO, never take a terminal. */
	int fd = open_path(io, path, flags | O_NONBLOCK | O_NOCTTY, mode);
	if (fd < 0)
		return fd;
	io->fds[slot] = fd;
	return slot;
}

static int file_of(const struct hostio *io, uint64_t fd)
{
	return fd < ARRAY_SIZE(io->fds) && io->fds[fd] >= 0 ? io->fds[fd] : -EBADF;
}

int hostio_close(struct hostio *io, uint64_t fd)
{
	int file = file_of(io, fd);
	if (file < 0)
		return file;
	close_fdp(&io->fds[fd]);
	io->overlays[fd] = overlay_unref(io->overlays[fd]);
	return 0;
}

/* Pipes and the like have no offset: they are read and written in order, as gdbserver does. */
ssize_t hostio_pread(struct hostio *io, uint64_t fd, void *into, size_t len, uint64_t offset)
{
	int file = file_of(io, fd);
	if (file < 0)
		return file;
	if (offset > INT64_MAX)
		return -EINVAL;
	if (io->overlays[fd])
		return overlay_pread(io->overlays[fd], file, into, len, offset);
	ssize_t n = pread(file, into, len, (off_t)offset);
	if (n < 0 && errno == ESPIPE)
		n = read(file, into, len);
	return n < 0 ? -errno : n;
}

ssize_t hostio_pwrite(struct hostio *io, uint64_t fd, const void *from, size_t len, uint64_t offset)
{
	int file = file_of(io, fd);
	if (file < 0)
		return file;
	if (offset > INT64_MAX)
		return -EINVAL;
	ssize_t n = pwrite(file, from, len, (off_t)offset);
	if (n < 0 && errno == ESPIPE)
		n = write(file, from, len);
	return n < 0 ? -errno : n;
}

int hostio_fstat(struct hostio *io, uint64_t fd, struct stat *ret)
{
	int file = file_of(io, fd);
	if (file < 0)
		return file;
	if (fstat(file, ret) < 0)
		return -errno;
	if (io->overlays[fd])
		ret->st_size = (off_t)overlay_size(io->overlays[fd]);
	return 0;
}

int hostio_stat(struct hostio *io, const char *path, bool follow, struct stat *ret)
{
	_cleanup_close_ int fd = open_path(io, path, O_PATH | (follow ? 0 : O_NOFOLLOW), 0);
	if (fd < 0)
		return fd;
	return fstat(fd, ret) < 0 ? -errno : 0;
}

ssize_t hostio_readlink(struct hostio *io, const char *path, char *into, size_t size)
{
	if (io->root < 0) {
		ssize_t n = readlink(path, into, size);
		return n < 0 ? -errno : n;
	}
	_cleanup_close_ int fd = open_path(io, path, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	ssize_t n = readlinkat(fd, "", into, size);
	/* The empty path says ENOENT where readlink(2) would say that this is no link. */
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno;
	return n;
}

/*
 * The folder a path's last name is in, resolved inside the root, and that name: unlink and symlink have no openat2 of their own.
 * AT_FDCWD and the whole path without a root. A folder that was opened is the caller's to close.
 */
static int open_folder(struct hostio *io, const char *path, const char **ret_name)
{
	char folder[PATH_MAX];

	if (io->root < 0) {
		*ret_name = path;
		return AT_FDCWD;
	}
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) + 1 : 0;
	if (n >= sizeof(folder))
		return -ENAMETOOLONG;
	memcpy(folder, path, n);
	folder[n] = 0;
	*ret_name = slash ? slash + 1 : path;
	return open_path(io, n ? folder : ".", O_PATH | O_DIRECTORY, 0);
}

static void close_folder(int fd)
{
	if (fd >= 0)
		close(fd);
}

int hostio_unlink(struct hostio *io, const char *path)
{
	const char *name;
	int fd = open_folder(io, path, &name);
	if (fd < 0 && fd != AT_FDCWD)
		return fd;
	int r = unlinkat(fd, name, 0) < 0 ? -errno : 0;
	close_folder(fd);
	return r;
}

int hostio_symlink(struct hostio *io, const char *target, const char *link)
{
	const char *name;
	int fd = open_folder(io, link, &name);
	if (fd < 0 && fd != AT_FDCWD)
		return fd;
	int r = symlinkat(target, fd, name) < 0 ? -errno : 0;
	close_folder(fd);
	return r;
}
