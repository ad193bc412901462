/*
 * conn.h - one client on a pair of descriptors: packets in, replies out.
 *
 * Framing, checksums, acknowledgements and repetition (after '-') happen here and are seen by nobody else. A reply is
 * written at once when the socket takes it; what it does not take is queued and written when it can be. A client that
 * sends but does not read is not listened to until it has read; one that lets more than CONN_QUEUE_MAX pile up is lost.
 *
 * Callbacks come from the loop only, never from inside conn_send(): a connection that breaks there says so in
 *         the next turn. closed() is the last one; conn_free() is for the owner to call, in closed() or at any time but
 *         from inside packet() or interrupt() -- conn_flush_close() is for those.
 * Owner:  the descriptors pass to the connection; they may be the same. The body of packet() is valid until it returns.
 */
#ifndef STOPGO_CONN_H
#define STOPGO_CONN_H

#include <stdbool.h>

#include "base/util.h"

struct conn;
struct loop;

enum { CONN_QUEUE_MAX = 128 * 1024 * 1024 };

struct conn_ops {
	void (*packet)(void *ctx, uint8_t *body, size_t len);
	void (*interrupt)(void *ctx);
	void (*closed)(void *ctx, const char *why);
};

/* NULL: no memory; the descriptors are then closed. Nothing is read before the loop runs. */
struct conn *conn_new(struct loop *loop, int in_fd, int out_fd, const struct conn_ops *ops,
		      void *ctx);
void conn_free(struct conn *c);

/* Sends $body#cc; what is binary in it is already escaped. 0, or the error that has broken the connection. */
int conn_send(struct conn *c, const uint8_t *body, size_t len);
/* Sends %body#cc. */
int conn_notify(struct conn *c, const uint8_t *body, size_t len);

/* From the reply sent last on neither side acknowledges; call it after the OK to QStartNoAckMode has been sent. */
void conn_set_no_ack(struct conn *c);
/* Run-length encoding, on at birth; off for the packets whose client does not expand them. */
void conn_set_rle(struct conn *c, bool on);

/* Bytes that wait for the client to read. */
size_t conn_unread(const struct conn *c);

/* The other end has hung up, though closed() is still to come. */
bool conn_peer_gone(const struct conn *c);

/* While the loop stands still for the sake of a packet: the client has hung up, or calls for an end of that with 0x03, which stays to be read. */
bool conn_calls(const struct conn *c);

/* Reads no more, writes what is queued (for at most a second), then closed(). */
void conn_flush_close(struct conn *c);

#endif
