/*
 * rsp.h - the remote protocol from the client's side, as fast as it goes: no acknowledgements, nothing parsed that nobody asks for.
 *
 * Errors: 0 or negative errno; -ETIMEDOUT when nothing came for RSP_TIMEOUT_S.
 * Owner:  a body is valid until the next rsp_recv().
 */
#ifndef STOPGO_BENCH_RSP_H
#define STOPGO_BENCH_RSP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RSP_TIMEOUT_S = 15, RSP_BUFFER = 4 * 1024 * 1024 };

struct rsp {
	int fd; /* -1: not connected */
	size_t at, len;
	uint8_t *in, *plain;
};

/* Tries until somebody listens there or the server (a child of ours) has ended. */
int rsp_connect(struct rsp *r, int port, int server);
void rsp_close(struct rsp *r);

int rsp_send(struct rsp *r, const void *body, size_t len);
/* Makes "$body#cc" once, to be written many times; into needs len + 4 bytes. Returns its length. */
size_t rsp_frame(uint8_t *into, const void *body, size_t len);
int rsp_write(struct rsp *r, const void *bytes, size_t len);
/* The next packet's body as it came over the wire, a NUL behind it. Notifications and acknowledgements are passed over. */
int rsp_recv(struct rsp *r, char **ret, size_t *ret_len);

/* The same body with its runs expanded, where it has any. */
int rsp_expand(struct rsp *r, char **body, size_t *len);

/* Send, receive and expand; ret may be NULL. */
int rsp_ask(struct rsp *r, const char *packet, char **ret, size_t *ret_len);
/* The same, and the reply must be OK. -EPROTO: it is not. */
int rsp_ask_ok(struct rsp *r, const char *packet);
int rsp_askf(struct rsp *r, char **ret, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
