/*
 * fileio.h - the encoding of host I/O (vFile): errno, open flags, struct stat and the F replies.
 *
 * The File-I/O protocol has numbers of its own, which happen to be Linux's in most places. lldb (14
 * and later) uses them too and adds three flags in the top bits; a flag nobody defined is refused.
 * Source: "Debugging with GDB", Host I/O Packets; File-I/O: Protocol-specific Representation of
 * Datatypes, Constants.
 */
#ifndef STOPGO_PROTOCOL_FILEIO_H
#define STOPGO_PROTOCOL_FILEIO_H

#include <stdbool.h>
#include <sys/stat.h>
#include "base/buf.h"

enum {
	FILEIO_STAT_SIZE = 64,
	FILEIO_EUNKNOWN = 9999,
};

/* A positive or negative errno to the protocol's number. */
int fileio_errno(int error);

/* The protocol's open flags to open(2)'s, O_CLOEXEC included. False when a bit is not known. */
bool fileio_open_flags(uint64_t wire, bool lldb, int *ret_flags) _must_check_;
/* The protocol's mode bits to mode_t (permissions only). */
mode_t fileio_mode(uint64_t wire);

/* 64 bytes, big-endian; what does not fit its field is cut as gdbserver does. */
void fileio_stat_bytes(const struct stat *st, uint8_t ret[FILEIO_STAT_SIZE]);

/* "F<result>", hex. */
void fileio_reply(struct buf *b, int64_t result);
/* "F-1,<errno>" */
void fileio_reply_error(struct buf *b, int error);
/*
 * "F<n>;<data>", escaped; data is cut so that the body is at most max bytes: n counts what is sent,
 * decoded. Returns n.
 */
size_t fileio_reply_data(struct buf *b, const void *data, size_t len, size_t max);
/* "F40;<stat>" */
void fileio_reply_stat(struct buf *b, const struct stat *st);

#endif
