#include "delve.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* A reply is a line. */
static int receive(struct rsp *r, char **ret)
{
	for (;;) {
		uint8_t *end = r->len > r->at ? memchr(r->in + r->at, '\n', r->len - r->at) : NULL;
		if (end) {
			*end = 0;
			*ret = (char *)r->in + r->at;
			r->at = (size_t)(end - r->in) + 1;
			return strstr(*ret, "\"error\":null") ? 0 : -EPROTO;
		}
		memmove(r->in, r->in + r->at, r->len - r->at);
		r->len -= r->at;
		r->at = 0;
		if (r->len == RSP_BUFFER)
			return -EMSGSIZE;
		ssize_t n = recv(r->fd, r->in + r->len, RSP_BUFFER - r->len, 0);
		if (n == 0)
			return -ECONNRESET;
		if (n < 0 && errno != EINTR)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		r->len += n > 0 ? (size_t)n : 0;
	}
}

static int __attribute__((format(printf, 3, 4)))
ask_later(struct link *l, const char *method, const char *fmt, ...)
{
	char params[256], line[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(params, sizeof(params), fmt, ap);
	va_end(ap);
	int len = snprintf(line, sizeof(line),
			   "{\"method\":\"RPCServer.%s\",\"params\":[%s],\"id\":1}\n", method,
			   params);
	return rsp_write(&l->rsp, line, (size_t)len);
}

static int answer(struct link *l, int sent)
{
	char *reply;
	return sent < 0 ? sent : receive(&l->rsp, &reply);
}

int delve_attach(struct link *l)
{
	return answer(l, ask_later(l, "State", "{\"NonBlocking\":false}"));
}

int delve_command(struct link *l, const char *name)
{
	return answer(l, ask_later(l, "Command", "{\"name\":\"%s\"}", name));
}

int delve_go(struct link *l)
{
	return ask_later(l, "Command", "{\"name\":\"continue\"}");
}

/* Two replies: to continue and to halt, in whatever order. */
int delve_halt(struct link *l)
{
	int e = delve_command(l, "halt");
	return answer(l, e);
}

/* {"result":{"id":7,… of a watchpoint, {"result":{"Breakpoint":{"id":7,… of a breakpoint. */
static unsigned id_of(const char *reply)
{
	const char *result = strstr(reply, "\"result\":{");
	const char *id = result ? strstr(result, "\"id\":") : NULL;
	unsigned number = 0;
	return id && sscanf(id, "\"id\":%u", &number) == 1 ? number : 0;
}

static int made(struct link *l, int sent)
{
	char *reply;
	int e = sent < 0 ? sent : receive(&l->rsp, &reply);
	if (e == 0)
		l->point = id_of(reply);
	return e == 0 && !l->point ? -EPROTO : e;
}

int delve_break(struct link *l, const char *function, const char *condition)
{
	return made(l, ask_later(l, "CreateBreakpoint",
				 "{\"Breakpoint\":{\"functionName\":\"%s\",\"Cond\":\"%s\"}}",
				 function, condition));
}

int delve_watch(struct link *l, const char *variable)
{
	enum { WRITE = 2 };
	return made(l, ask_later(l, "CreateWatchpoint",
				 "{\"Scope\":{\"GoroutineID\":-1},\"Expr\":\"%s\",\"Type\":%d}",
				 variable, WRITE));
}

int delve_clear(struct link *l)
{
	unsigned id = l->point;
	l->point = 0;
	return id ? answer(l, ask_later(l, "ClearBreakpoint", "{\"Id\":%u,\"Name\":\"\"}", id)) : 0;
}
