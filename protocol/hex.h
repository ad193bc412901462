/*
 * hex.h - bytes to hex digits and back, fast enough for memory reads of any size (SSE2; every
 * x86-64 has it).
 *
 * Writes lower case, reads both cases. Bytes stay in memory order: this is not how numbers are
 * written (big end first, see buf_put_hex_num and args_hex_u64).
 */
#ifndef STOPGO_PROTOCOL_HEX_H
#define STOPGO_PROTOCOL_HEX_H

#include <stdbool.h>
#include "base/buf.h"

/* 0..15, or -1 when c is no hex digit. */
int hex_digit(uint8_t c);
/* How many digits there are from the first byte on. */
size_t hex_span(const void *text, size_t len);

/* Writes 2*len digits and no NUL. out and data may not overlap. */
void hex_encode(char *out, const void *data, size_t len);

/* Reads pairs of digits into digits/2 bytes. False, with out undefined, on an odd number or
 * anything but digits. out may be digits. */
bool hex_decode(void *out, const char *hex, size_t digits) _must_check_;

/* Appends 2*len digits. */
void hex_put(struct buf *b, const void *data, size_t len);
void hex_put_text(struct buf *b, const char *text);

#endif
