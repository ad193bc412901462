/*
 * packet.h - which packet is this, and what are its arguments.
 *
 * Names.  packet_name_len() cuts the name off a body so that a table finds a row by exact match and
 * order never matters:
 *   - bodies starting with q, Q, v or j:  up to the first of  : ; ,  or the end      qXfer  vCont?  vFile  jThreadsInfo
 *     except qRegisterInfo and qThreadStopInfo, whose hex argument follows directly   qRegisterInfo1f -> qRegisterInfo
 *   - starting with H, Z, z, b or _:      the first two characters                   Hg  Hc  Z0  z4  bc  bs  _M  _m
 *   - everything else:                    the first character                        m  M  x  p  g  ?  !  D  T  k
 * Sub-operations (qXfer objects, vFile operations) are arguments.
 *
 * Arguments.  struct args is a cursor over a body, as base/bytes.h is over a file: every read
 * checks, the first failure sticks, later reads yield 0 and args_ok() is false; so a handler reads
 * its fields and checks once. Nothing is copied and nothing allocated: the body must outlive the
 * cursor. Numbers are hex without 0x in either case, of any width as long as the value fits (lldb
 * pads with zeros); an empty number is a failure.
 */
#ifndef STOPGO_PROTOCOL_PACKET_H
#define STOPGO_PROTOCOL_PACKET_H

#include <stdbool.h>
#include "base/buf.h"
#include "protocol/threadid.h"

/* Bytes of body that are the packet's name; 0 for an empty body. */
size_t packet_name_len(const void *body, size_t len);

/*
 * Finds the row of a table sorted by name (strcmp order) whose name is exactly these bytes; NULL
 * when there is none. Every row begins with a `const char *` name. packet_rows_sorted() is for the
 * table owner's start-up check or test.
 */
const void *packet_find(const void *rows, size_t count, size_t row_size, const void *name,
			size_t name_len);
bool packet_rows_sorted(const void *rows, size_t count, size_t row_size);

struct args {
	const uint8_t *data;
	size_t len;
	size_t at; /* 0..len */
	bool failed;
};

static inline struct args args_of(const void *data, size_t len)
{
	return (struct args){ .data = data, .len = len };
}

static inline bool args_ok(const struct args *a)
{
	return !a->failed;
}

static inline size_t args_left(const struct args *a)
{
	return a->failed ? 0 : a->len - a->at;
}

/* Everything was read, and nothing failed. */
static inline bool args_done(const struct args *a)
{
	return !a->failed && a->at == a->len;
}

/* What a handler calls when a value parses but may not be. Returns false. */
bool args_fail(struct args *a);

/* The next byte without taking it; -1 at the end or after a failure. */
int args_peek(const struct args *a);
/* The next byte; failure at the end. */
char args_char(struct args *a);
/* Takes c, which must come next. */
bool args_skip(struct args *a, char c);
/* Takes c if it comes next; never fails. */
bool args_accept(struct args *a, char c);
/* Takes the text if it comes next; never fails. */
bool args_accept_text(struct args *a, const char *text);

uint64_t args_hex_u64(struct args *a);
/* A number above max is a failure: the bound is checked where the number is read. */
uint64_t args_hex_max(struct args *a, uint64_t max);
uint64_t args_dec_max(struct args *a, uint64_t max);
/* Hex with an optional '-' ("-1"); failure beyond int64_t. */
int64_t args_hex_i64(struct args *a);
struct threadid args_thread_id(struct args *a);

/* Pairs of hex digits up to the first byte that is no digit, appended to out. Odd or out of room:
 * failure. Returns the byte count. */
size_t args_hex_bytes(struct args *a, struct buf *out);
/* Exactly n pairs of hex digits; into may be NULL to skip them. */
bool args_hex_exact(struct args *a, void *into, size_t n);
/* Text in hex, NUL-terminated, into out (appended; a NUL inside is a failure). Returns the text,
 * NULL on failure. Valid until out changes. */
const char *args_hex_text(struct args *a, struct buf *out);

/* All that is left (may be empty): its start, and its length in *ret_len. Never NULL unless the
 * cursor has failed. */
const uint8_t *args_rest(struct args *a, size_t *ret_len);
/* The bytes up to delim, or to the end when there is none, as a cursor of their own; delim is
 * taken, too. */
struct args args_until(struct args *a, char delim);
/* As args_until, but a missing delim is a failure. */
struct args args_upto(struct args *a, char delim);
/*
 * Walks lists such as "a:1;b:2;" or "key=value;flag+": one element up to ';' per call, cut at its
 * first `sep` into key and value (value is empty and unset: data NULL, when there is no sep). Empty
 * elements are skipped. False at the end.
 */
bool args_key_value(struct args *a, char sep, struct args *ret_key, struct args *ret_value);

/* Is what is left exactly this text? */
bool args_is(const struct args *a, const char *text);

#endif
