#include "rsp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int rsp_connect(struct rsp *r, int port, int server)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct timeval patience = { .tv_sec = RSP_TIMEOUT_S };
	enum { TRIES = 100000, PAUSE_US = 200 };
	int one = 1;

	*r = (struct rsp){ .fd = -1 };
	for (int i = 0; i < TRIES; i++) {
		siginfo_t si = { 0 };
		r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (r->fd < 0)
			return -errno;
		if (connect(r->fd, (struct sockaddr *)&to, sizeof(to)) == 0)
			break;
		close(r->fd);
		r->fd = -1;
		if (waitid(P_PID, (id_t)server, &si, WEXITED | WNOHANG | WNOWAIT) == 0 && si.si_pid)
			return -ECHILD;
		usleep(PAUSE_US);
	}
	if (r->fd < 0)
		return -ETIMEDOUT;
	setsockopt(r->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	r->in = malloc(RSP_BUFFER);
	r->plain = malloc(RSP_BUFFER);
	return r->in && r->plain ? 0 : -ENOMEM;
}

void rsp_close(struct rsp *r)
{
	if (r->fd >= 0)
		close(r->fd);
	free(r->in);
	free(r->plain);
	*r = (struct rsp){ .fd = -1 };
}

size_t rsp_frame(uint8_t *into, const void *body, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *p = body;
	uint8_t sum = 0;

	into[0] = '$';
	memcpy(into + 1, body, len);
	for (size_t i = 0; i < len; i++)
		sum = (uint8_t)(sum + p[i]);
	into[len + 1] = '#';
	into[len + 2] = (uint8_t)digits[sum >> 4];
	into[len + 3] = (uint8_t)digits[sum & 15];
	return len + 4;
}

int rsp_write(struct rsp *r, const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	while (len) {
		ssize_t n = send(r->fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int rsp_send(struct rsp *r, const void *body, size_t len)
{
	uint8_t small[1024], *frame = len + 4 <= sizeof(small) ? small : malloc(len + 4);
	if (!frame)
		return -ENOMEM;
	int e = rsp_write(r, frame, rsp_frame(frame, body, len));
	if (frame != small)
		free(frame);
	return e;
}

/* 1: a packet, consumed; 0: not all of it is there. */
static int take(struct rsp *r, char **ret, size_t *ret_len)
{
	while (r->at < r->len) {
		uint8_t *start = r->in + r->at;
		if (*start != '$' && *start != '%') {
			r->at++;
			continue;
		}
		uint8_t *hash = memchr(start, '#', r->len - r->at);
		if (!hash || (size_t)(hash - r->in) + 3 > r->len)
			return 0;
		r->at = (size_t)(hash - r->in) + 3;
		if (*start == '%')
			continue;
		*hash = 0;
		*ret = (char *)start + 1;
		*ret_len = (size_t)(hash - start) - 1;
		return 1;
	}
	return 0;
}

int rsp_recv(struct rsp *r, char **ret, size_t *ret_len)
{
	while (!take(r, ret, ret_len)) {
		if (r->at) {
			memmove(r->in, r->in + r->at, r->len - r->at);
			r->len -= r->at;
			r->at = 0;
		}
		if (r->len == RSP_BUFFER)
			return -EMSGSIZE;
		ssize_t n = recv(r->fd, r->in + r->len, RSP_BUFFER - r->len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return !n ? -EPIPE : errno == EAGAIN ? -ETIMEDOUT : -errno;
		r->len += (size_t)n;
	}
	return 0;
}

int rsp_expand(struct rsp *r, char **body, size_t *len)
{
	enum { RUN_BIAS = 29, RUN_MAX = 97 };
	const char *from = *body, *end = from + *len;
	uint8_t *to = r->plain;

	if (!memchr(from, '*', *len))
		return 0;
	for (; from < end; from++) {
		if (*from != '*') {
			*to++ = (uint8_t)*from;
		} else {
			int n = ++from < end && to > r->plain ? *from - RUN_BIAS : 0;
			if (n < 3 || n > RUN_MAX)
				return -EPROTO;
			memset(to, to[-1], (size_t)n);
			to += n;
		}
		if ((size_t)(to - r->plain) > RSP_BUFFER - 2 * RUN_MAX)
			return -EMSGSIZE;
	}
	*to = 0;
	*body = (char *)r->plain;
	*len = (size_t)(to - r->plain);
	return 0;
}

int rsp_ask(struct rsp *r, const char *packet, char **ret, size_t *ret_len)
{
	char *body;
	size_t len;
	int e = rsp_send(r, packet, strlen(packet));

	if (e == 0)
		e = rsp_recv(r, &body, &len);
	if (e == 0)
		e = rsp_expand(r, &body, &len);
	if (ret)
		*ret = body;
	if (ret_len)
		*ret_len = len;
	return e;
}

int rsp_ask_ok(struct rsp *r, const char *packet)
{
	char *body;
	int e = rsp_ask(r, packet, &body, NULL);
	return e == 0 && strcmp(body, "OK") != 0 ? -EPROTO : e;
}

int rsp_askf(struct rsp *r, char **ret, const char *fmt, ...)
{
	char packet[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(packet, sizeof(packet), fmt, ap);
	va_end(ap);
	return rsp_ask(r, packet, ret, NULL);
}
