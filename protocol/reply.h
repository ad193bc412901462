/*
 * reply.h - the bodies of replies, appended to a struct buf that the connection owns;
 * frame_encode() puts them on the wire.
 *
 * Everything here writes an *encoded* body: bytes that may not travel bare are already escaped, so
 * that the frame encoder only adds runs and the checksum. A reply that was begun and then failed is
 * dropped with buf_reset(). Source: "Debugging with GDB", Remote Protocol: Overview (binary data,
 * error replies); LLDB: QEnableErrorStrings.
 */
#ifndef STOPGO_PROTOCOL_REPLY_H
#define STOPGO_PROTOCOL_REPLY_H

#include <stdbool.h>
#include "base/buf.h"

/* How a client reads a failure that has words. */
enum reply_error_style {
	REPLY_ERROR_PLAIN, /* Exx; always understood */
	REPLY_ERROR_TEXT,  /* E.text, gdb; for m and qRcmd only after error-message+ */
	REPLY_ERROR_HEX,   /* Exx;hextext, lldb after QEnableErrorStrings */
};

/* The packet or sub-operation is not supported: an empty body. */
void reply_empty(struct buf *b);
void reply_ok(struct buf *b);
/* "Exx". code: 1..255, or a negative errno of ours; what does not fit in two digits becomes 01. */
void reply_error(struct buf *b, int code);
/* In E.text what cannot travel ('#', '$', '*', '}', bytes outside printable ASCII) is replaced: the
 * form has no escapes. */
void reply_error_text(struct buf *b, enum reply_error_style style, int code, const char *text);

void reply_hex(struct buf *b, const void *data, size_t len);
void reply_hex_text(struct buf *b, const char *text);

/* Escapes } # $ * */
void reply_binary(struct buf *b, const void *data, size_t len);
/* How many leading bytes of data have an escaped form of at most room bytes. */
size_t reply_binary_fit(const void *data, size_t len, size_t room);

/*
 * One chunk of a qXfer object: 'l' or 'm', then the bytes [offset, offset+len) cut at the object's
 * end and so that the body is at most max bytes escaped. An offset at or past the end is a plain
 * 'l'.
 */
void reply_xfer(struct buf *b, const void *object, size_t size, uint64_t offset, uint64_t len,
		size_t max);

/* "O" and the text in hex: what the program or a monitor command printed. */
void reply_console(struct buf *b, const void *text, size_t len);

#endif
