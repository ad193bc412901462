/*
 * hostio.h - files for the client, read and written where the debuggee sees them.
 *
 * setfs chooses whose mount namespace paths mean: 0 is the server's own; a pid whose namespace differs is reached through
 * /proc/PID/root with openat2(RESOLVE_IN_ROOT), so that no link in a container leads out of it and the server needs no
 * privilege beyond being able to trace. Descriptors the client opened are bounded and closed with the session.
 *
 * Errors: negative errno.
 */
#ifndef STOPGO_HOSTIO_H
#define STOPGO_HOSTIO_H

#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/util.h"

enum { HOSTIO_FILES_MAX = 256 };

/*
 * What a file holds beyond its own bytes: other first ones, and more behind its end. Shared by all who have it open.
 * Only for descriptors that are open for reading.
 */
struct overlay {
	unsigned refs;
	uint8_t head[64]; /* in the place of the first head_len bytes */
	size_t head_len;
	uint64_t base; /* the file's own bytes end here, zeros follow */
	uint64_t at;   /* tail begins */
	struct buf tail;
	bool begun; /* somebody has read the first byte of tail */
};

/* One reference; tail is empty and may take max bytes. NULL: no memory. */
struct overlay *overlay_new(size_t max);
struct overlay *overlay_ref(struct overlay *o);
/* NULL is fine; always NULL. */
struct overlay *overlay_unref(struct overlay *o);
uint64_t overlay_size(const struct overlay *o);
/* The file with this over it; a part is an answer, 0 is the end. */
ssize_t overlay_pread(struct overlay *o, int file, void *into, size_t len, uint64_t offset);

struct hostio {
	int fds[HOSTIO_FILES_MAX]; /* by the client's number; -1: free */
	struct overlay *overlays[HOSTIO_FILES_MAX];
	int root; /* of the chosen namespace; -1: the server's own */
};

void hostio_init(struct hostio *io);
void hostio_fini(struct hostio *io);

int hostio_setfs(struct hostio *io, pid_t pid);
/* The client's descriptor. flags and mode are open(2)'s. */
int hostio_open(struct hostio *io, const char *path, int flags, mode_t mode);
/* A descriptor that is taken over. */
int hostio_take(struct hostio *io, int fd);
/* From now on the client reads the file with this over it. */
void hostio_cover(struct hostio *io, uint64_t fd, struct overlay *o);
int hostio_close(struct hostio *io, uint64_t fd);
ssize_t hostio_pread(struct hostio *io, uint64_t fd, void *into, size_t len, uint64_t offset);
ssize_t hostio_pwrite(struct hostio *io, uint64_t fd, const void *from, size_t len,
		      uint64_t offset);
int hostio_fstat(struct hostio *io, uint64_t fd, struct stat *ret);
int hostio_stat(struct hostio *io, const char *path, bool follow, struct stat *ret);
int hostio_symlink(struct hostio *io, const char *target, const char *link);
int hostio_unlink(struct hostio *io, const char *path);
ssize_t hostio_readlink(struct hostio *io, const char *path, char *into, size_t size);

#endif
