#include "protocol/fileio.h"
#include "server/handlers.h"
#include "server/md5.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

struct file_op {
	const char *name;
	void (*serve)(struct session *s, struct args *a);
};

static void put_result(struct session *s, int64_t result)
{
	if (result < 0)
		fileio_reply_error(&s->reply, (int)result);
	else
		fileio_reply(&s->reply, result);
}

/* A path in hex, which must be all that is left or end at a comma. */
static const char *take_path(struct session *s, struct args *a)
{
	const char *path = args_hex_text(a, &s->scratch);
	return path && strlen(path) < PATH_MAX ? path : NULL;
}

static void file_setfs(struct session *s, struct args *a)
{
	pid_t pid = (pid_t)args_hex_max(a, INT32_MAX);
	if (args_done(a))
		put_result(s, hostio_setfs(&s->hostio, pid));
	else
		args_fail(a);
}

/* What the client opens and looks at: the files there are, and what is made for it (gofiles.h). */
static int open_file(struct session *s, const char *path, int flags, mode_t mode)
{
	int fd = hostio_open(&s->hostio, path, flags, mode);

	if ((flags & (O_ACCMODE | O_CREAT)) != O_RDONLY)
		return fd;
	if (fd >= 0)
		gofiles_cover(s->inferiors, &s->hostio, fd);
	else if (fd == -ENOENT)
		fd = gofiles_open_debug(s->inferiors, &s->hostio, path);
	return fd;
}

static int stat_file(struct session *s, const char *path, bool follow, struct stat *st)
{
	int r = hostio_stat(&s->hostio, path, follow, st);

	if (r == 0) {
		gofiles_stat(s->inferiors, st);
	} else if (r == -ENOENT) {
		int fd = gofiles_open_debug(s->inferiors, &s->hostio, path);
		if (fd < 0)
			return fd;
		r = hostio_fstat(&s->hostio, (uint64_t)fd, st);
		hostio_close(&s->hostio, (uint64_t)fd);
	}
	return r;
}

static void file_open(struct session *s, struct args *a)
{
	const char *path = take_path(s, a);
	int flags = 0;

	args_skip(a, ',');
	uint64_t wire = args_hex_u64(a);
	args_skip(a, ',');
	mode_t mode = fileio_mode(args_hex_u64(a));
	if (!args_done(a) || !path)
		args_fail(a);
	else if (!fileio_open_flags(wire, s->client.kind == CLIENT_LLDB, &flags))
		put_result(s, -EINVAL);
	else
		put_result(s, open_file(s, path, flags, mode));
}

static void file_close(struct session *s, struct args *a)
{
	uint64_t fd = args_hex_u64(a);
	if (args_done(a))
		put_result(s, hostio_close(&s->hostio, fd));
	else
		args_fail(a);
}

static void file_pread(struct session *s, struct args *a)
{
	uint64_t fd = args_hex_u64(a);
	args_skip(a, ',');
	uint64_t len = args_hex_u64(a);
	args_skip(a, ',');
	uint64_t offset = args_hex_u64(a);
	if (!args_done(a)) {
		args_fail(a);
		return;
	}
	size_t want = (size_t)MIN(len, (uint64_t)SESSION_PACKET_MAX);
	uint8_t *into = buf_reserve(&s->scratch, want);
	ssize_t n = into ? hostio_pread(&s->hostio, fd, into, want, offset) : -ENOMEM;
	if (n < 0)
		put_result(s, n);
	else
		fileio_reply_data(&s->reply, into, (size_t)n, SESSION_PACKET_MAX);
}

static void file_pwrite(struct session *s, struct args *a)
{
	uint64_t fd = args_hex_u64(a);
	args_skip(a, ',');
	uint64_t offset = args_hex_u64(a);
	args_skip(a, ',');
	size_t len;
	const uint8_t *data = args_rest(a, &len);
	if (args_ok(a))
		put_result(s, hostio_pwrite(&s->hostio, fd, data, len, offset));
}

static void put_stat(struct session *s, int result, const struct stat *st)
{
	if (result < 0)
		put_result(s, result);
	else
		fileio_reply_stat(&s->reply, st);
}

static void file_fstat(struct session *s, struct args *a)
{
	struct stat st;
	uint64_t fd = args_hex_u64(a);
	if (args_done(a))
		put_stat(s, hostio_fstat(&s->hostio, fd, &st), &st);
	else
		args_fail(a);
}

static void stat_path(struct session *s, struct args *a, bool follow)
{
	struct stat st;
	const char *path = take_path(s, a);
	if (args_done(a) && path)
		put_stat(s, stat_file(s, path, follow, &st), &st);
	else
		args_fail(a);
}

static void file_stat(struct session *s, struct args *a)
{
	stat_path(s, a, true);
}

static void file_lstat(struct session *s, struct args *a)
{
	stat_path(s, a, false);
}

static void file_unlink(struct session *s, struct args *a)
{
	const char *path = take_path(s, a);
	if (args_done(a) && path)
		put_result(s, hostio_unlink(&s->hostio, path));
	else
		args_fail(a);
}

static void file_readlink(struct session *s, struct args *a)
{
	char link[PATH_MAX];
	const char *path = take_path(s, a);
	if (!args_done(a) || !path) {
		args_fail(a);
		return;
	}
	ssize_t n = hostio_readlink(&s->hostio, path, link, sizeof(link));
	if (n < 0)
		put_result(s, n);
	else
		fileio_reply_data(&s->reply, link, (size_t)n, SESSION_PACKET_MAX);
}

/* --- what lldb asks of files; errors in the words it reads --- */

static void file_size(struct session *s, struct args *a)
{
	struct stat st;
	const char *path = take_path(s, a);

	if (!args_done(a) || !path) {
		args_fail(a);
		return;
	}
	int r = stat_file(s, path, true, &st);
	put_result(s, r < 0 ? r : st.st_size);
}

static void file_mode(struct session *s, struct args *a)
{
	struct stat st;
	const char *path = take_path(s, a);

	if (!args_done(a) || !path) {
		args_fail(a);
		return;
	}
	int r = stat_file(s, path, true, &st);
	put_result(s, r < 0 ? r : (int64_t)(st.st_mode & 07777));
}

static void file_exists(struct session *s, struct args *a)
{
	struct stat st;
	const char *path = take_path(s, a);

	if (!args_done(a) || !path)
		args_fail(a);
	else
		buf_printf(&s->reply, "F,%d", stat_file(s, path, true, &st) == 0);
}

/* vFile:symlink:TARGET,LINK */
static void file_symlink(struct session *s, struct args *a)
{
	struct args words = args_until(a, ',');
	const char *first = args_hex_text(&words, &s->scratch);
	char target[PATH_MAX];

	if (!args_done(&words) || !first || strlen(first) >= sizeof(target)) {
		args_fail(a);
		return;
	}
	strcpy(target, first);
	buf_reset(&s->scratch);
	const char *link = take_path(s, a);
	if (args_done(a) && link)
		put_result(s, hostio_symlink(&s->hostio, target, link));
	else
		args_fail(a);
}

static int sum_file(struct session *s, uint64_t fd, struct md5 *m)
{
	enum { CHUNK = 256 * 1024 };
	uint8_t *chunk = buf_reserve(&s->scratch, CHUNK);
	uint64_t offset = 0;

	while (chunk) {
		ssize_t n = hostio_pread(&s->hostio, fd, chunk, CHUNK, offset);
		if (n <= 0)
			return (int)n;
		md5_add(m, chunk, (size_t)n);
		offset += (uint64_t)n;
	}
	return -ENOMEM;
}

/* lldb reads the sum as two numbers of eight bytes each. */
static void put_sum(struct session *s, const uint8_t sum[MD5_SIZE])
{
	uint64_t halves[2];

	memcpy(halves, sum, sizeof(halves));
	buf_printf(&s->reply, "F,%016llx%016llx", (unsigned long long)halves[0],
		   (unsigned long long)halves[1]);
}

static void file_md5(struct session *s, struct args *a)
{
	const char *path = take_path(s, a);
	uint8_t sum[MD5_SIZE];
	struct stat st;
	struct md5 m;

	if (!args_done(a) || !path) {
		args_fail(a);
		return;
	}
	int fd = stat_file(s, path, true, &st) == 0 && S_ISREG(st.st_mode)
			 ? open_file(s, path, O_RDONLY, 0)
			 : -ENOENT;
	md5_init(&m);
	int r = fd < 0 ? fd : sum_file(s, (uint64_t)fd, &m);
	if (fd >= 0)
		hostio_close(&s->hostio, (uint64_t)fd);
	md5_finish(&m, sum);
	if (r < 0)
		buf_puts(&s->reply, "F,x");
	else
		put_sum(s, sum);
}

/* Sorted by name. */
static const struct file_op ops[] = {
	{ "MD5", file_md5 },           { "close", file_close },     { "exists", file_exists },
	{ "fstat", file_fstat },       { "lstat", file_lstat },     { "mode", file_mode },
	{ "open", file_open },         { "pread", file_pread },     { "pwrite", file_pwrite },
	{ "readlink", file_readlink }, { "setfs", file_setfs },     { "size", file_size },
	{ "stat", file_stat },         { "symlink", file_symlink }, { "unlink", file_unlink },
};

void on_file(struct session *s, struct args *a)
{
	args_skip(a, ':');
	struct args name = args_upto(a, ':');
	const struct file_op *op =
		args_ok(a) ? packet_find(ops, ARRAY_SIZE(ops), sizeof(*ops), name.data, name.len)
			   : NULL;
	if (op)
		op->serve(s, a);
}
