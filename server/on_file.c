#include "protocol/fileio.h"
#include "server/handlers.h"

#include <errno.h>
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
		put_result(s, hostio_open(&s->hostio, path, flags, mode));
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
		put_stat(s, hostio_stat(&s->hostio, path, follow, &st), &st);
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

/* Sorted by name. */
static const struct file_op ops[] = {
	{ "close", file_close },       { "fstat", file_fstat }, { "lstat", file_lstat },
	{ "open", file_open },         { "pread", file_pread }, { "pwrite", file_pwrite },
	{ "readlink", file_readlink }, { "setfs", file_setfs }, { "stat", file_stat },
	{ "unlink", file_unlink },
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
