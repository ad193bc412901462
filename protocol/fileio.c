#include "protocol/fileio.h"
#include "protocol/reply.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

int fileio_errno(int error)
{
	switch (error < 0 ? -error : error) {
	case EPERM:
	case ENOENT:
	case EINTR:
	case EIO:
	case EBADF:
	case EACCES:
	case EFAULT:
	case EBUSY:
	case EEXIST:
	case ENODEV:
	case ENOTDIR:
	case EISDIR:
	case EINVAL:
	case ENFILE:
	case EMFILE:
	case EFBIG:
	case ENOSPC:
	case ESPIPE:
	case EROFS: return error < 0 ? -error : error;
	case ENOSYS: return 88;
	case ENAMETOOLONG: return 91;
	default: return FILEIO_EUNKNOWN;
	}
}

/* Bits of the wire; the low two are the access mode. */
enum {
	WIRE_ACCESS = 3,
	WIRE_APPEND = 0x8,
	WIRE_CREAT = 0x200,
	WIRE_TRUNC = 0x400,
	WIRE_EXCL = 0x800,
};

#define LLDB_NONBLOCK (UINT64_C(1) << 28)
#define LLDB_NOFOLLOW (UINT64_C(1) << 29)
#define LLDB_CLOEXEC  (UINT64_C(1) << 30)

bool fileio_open_flags(uint64_t wire, bool lldb, int *ret_flags)
{
	static const int access[] = { O_RDONLY, O_WRONLY, O_RDWR };
	static const struct {
		uint64_t wire;
		int flag;
	} bits[] = {
		{ WIRE_APPEND, O_APPEND },     { WIRE_CREAT, O_CREAT },
		{ WIRE_TRUNC, O_TRUNC },       { WIRE_EXCL, O_EXCL },
		{ LLDB_NONBLOCK, O_NONBLOCK }, { LLDB_NOFOLLOW, O_NOFOLLOW },
		{ LLDB_CLOEXEC, O_CLOEXEC },
	};

	if ((wire & WIRE_ACCESS) >= ARRAY_SIZE(access))
		return false;
	int flags = access[wire & WIRE_ACCESS] | O_CLOEXEC;
	wire &= ~(uint64_t)WIRE_ACCESS;
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		if (!(wire & bits[i].wire) || (bits[i].wire >= LLDB_NONBLOCK && !lldb))
			continue;
		flags |= bits[i].flag;
		wire &= ~bits[i].wire;
	}
	if (wire)
		return false;
	*ret_flags = flags;
	return true;
}

mode_t fileio_mode(uint64_t wire)
{
	return (mode_t)(wire & 0777);
}

static uint8_t *put_be(uint8_t *to, uint64_t value, int size)
{
	for (int i = size - 1; i >= 0; i--)
		*to++ = (uint8_t)(value >> (8 * i));
	return to;
}

void fileio_stat_bytes(const struct stat *st, uint8_t ret[FILEIO_STAT_SIZE])
{
	uint8_t *to = ret;
	to = put_be(to, st->st_dev, 4);
	to = put_be(to, st->st_ino, 4);
	/* The type bits are Linux's own. */
	to = put_be(to, st->st_mode & (S_IFMT | 0777), 4);
	to = put_be(to, st->st_nlink, 4);
	to = put_be(to, st->st_uid, 4);
	to = put_be(to, st->st_gid, 4);
	to = put_be(to, st->st_rdev, 4);
	to = put_be(to, (uint64_t)st->st_size, 8);
	to = put_be(to, (uint64_t)st->st_blksize, 8);
	to = put_be(to, (uint64_t)st->st_blocks, 8);
	to = put_be(to, (uint64_t)st->st_atim.tv_sec, 4);
	to = put_be(to, (uint64_t)st->st_mtim.tv_sec, 4);
	put_be(to, (uint64_t)st->st_ctim.tv_sec, 4);
}

void fileio_reply(struct buf *b, int64_t result)
{
	buf_putc(b, 'F');
	if (result < 0)
		buf_putc(b, '-');
	buf_put_hex_num(b, result < 0 ? -(uint64_t)result : (uint64_t)result);
}

void fileio_reply_error(struct buf *b, int error)
{
	buf_printf(b, "F-1,%x", (unsigned)fileio_errno(error));
}

size_t fileio_reply_data(struct buf *b, const void *data, size_t len, size_t max)
{
	char head[24];
	/* The head is longest for the whole length; a shorter count may leave a byte unused. */
	size_t head_len = (size_t)snprintf(head, sizeof(head), "F%zx;", len);
	size_t n = reply_binary_fit(data, len, max > head_len ? max - head_len : 0);

	buf_printf(b, "F%zx;", n);
	reply_binary(b, data, n);
	return n;
}

void fileio_reply_stat(struct buf *b, const struct stat *st)
{
	uint8_t bytes[FILEIO_STAT_SIZE];
	fileio_stat_bytes(st, bytes);
	buf_printf(b, "F%x;", FILEIO_STAT_SIZE);
	reply_binary(b, bytes, sizeof(bytes));
}
