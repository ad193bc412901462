/*
 * buf.h - a growing byte buffer that was told at birth how large it may become.
 *
 * Errors stick: after a failed append (no memory, over the maximum) further appends do nothing and buf_error() tells,
 * so that a long text is built without a check a line. buf_reset() keeps the memory and forgets the error.
 * Owner: the struct that embeds it; data is valid until the next call that appends.
 */
#ifndef STOPGO_BASE_BUF_H
#define STOPGO_BASE_BUF_H

#include <stdbool.h>
#include "base/util.h"

struct buf {
	uint8_t *data;
	size_t   len;
	size_t   cap;
	size_t   max;    /* inclusive bound of len */
	int      error;  /* 0, -ENOMEM or -EMSGSIZE; set by the append that failed first */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);
void buf_reset(struct buf *b);
static inline int buf_error(const struct buf *b)
{
	return b->error;
}

/* Makes room for extra more bytes; the returned place is valid until the next append. NULL on error. */
uint8_t *buf_reserve(struct buf *b, size_t extra);

void buf_put(struct buf *b, const void *data, size_t len);
void buf_putc(struct buf *b, uint8_t byte);
void buf_puts(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) _printf_(2, 3);

/* Lower-case hex of the bytes, in memory order. */
void buf_put_hex(struct buf *b, const void *data, size_t len);
/* A number as the protocol writes it: hex, big end first, no padding. */
void buf_put_hex_num(struct buf *b, uint64_t value);
/* Text with & < > " ' escaped and what XML 1.0 forbids replaced by '?'. */
void buf_put_xml(struct buf *b, const char *text);

/* Removes n bytes from the front; n may not be larger than len. */
void buf_consume(struct buf *b, size_t n);

/* A NUL after the data, not counted in len; NULL on error. */
const char *buf_cstr(struct buf *b);

#define _cleanup_buf_ _cleanup_(buf_fini)

#endif
