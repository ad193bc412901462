#include "server/comm.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* What the word may begin with, and what it then means. Longer ones first where one begins with
 * another. */
static const struct prefix {
	const char *text;
	enum comm_kind kind;
	int family;
	bool connect;
} prefixes[] = {
	{ "unix-abstract-connect://", COMM_ABSTRACT, AF_UNSPEC, true },
	{ "unix-abstract-accept://", COMM_ABSTRACT, AF_UNSPEC, false },
	{ "unix-abstract://", COMM_ABSTRACT, AF_UNSPEC, false },
	{ "unix-abstract:", COMM_ABSTRACT, AF_UNSPEC, false },
	{ "unix-connect://", COMM_UNIX, AF_UNSPEC, true },
	{ "unix-accept://", COMM_UNIX, AF_UNSPEC, false },
	{ "unix://", COMM_UNIX, AF_UNSPEC, false },
	{ "unix:", COMM_UNIX, AF_UNSPEC, false },
	{ "tcp-connect://", COMM_TCP, AF_UNSPEC, true },
	{ "connect://", COMM_TCP, AF_UNSPEC, true },
	{ "listen://", COMM_TCP, AF_UNSPEC, false },
	{ "accept://", COMM_TCP, AF_UNSPEC, false },
	{ "tcp://", COMM_TCP, AF_UNSPEC, false },
	{ "tcp4:", COMM_TCP, AF_INET, false },
	{ "tcp6:", COMM_TCP, AF_INET6, false },
	{ "tcp:", COMM_TCP, AF_UNSPEC, false },
	{ "serial://", COMM_TTY, AF_UNSPEC, false },
	{ "fd://", COMM_FD, AF_UNSPEC, false },
	{ "fd:", COMM_FD, AF_UNSPEC, false },
};

static int parse_number(const char *text, long max, long *ret)
{
	if (*text < '0' || *text > '9')
		return -EINVAL;

	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (errno || *end || value > max)
		return -EINVAL;
	*ret = value;
	return 0;
}

static int set_path(struct comm *c, const char *path, struct err *err)
{
	/* The kernel's own limit; an abstract name spends one byte on its leading NUL and needs
	 * none behind. */
	if (!*path || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(err, -EINVAL, "socket path '%s' is %s", path,
			       *path ? "too long" : "empty");
	snprintf(c->path, sizeof(c->path), "%s", path);
	return 0;
}

/* As gdbserver takes them: without brackets the last colon is the port's. */
static bool is_ipv6(const char *host, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr addr;

	if (len >= sizeof(text))
		return false;
	memcpy(text, host, len);
	text[len] = 0;
	return inet_pton(AF_INET6, text, &addr) == 1;
}

static int parse_tcp(struct comm *c, const char *text, struct err *err)
{
	const char *host = text, *colon = strrchr(text, ':');
	if (!colon)
		return err_set(err, -EINVAL, "no port in '%s': HOST:PORT is needed", text);

	size_t len = (size_t)(colon - text);
	bool bracketed = len >= 2 && host[0] == '[' && host[len - 1] == ']';
	if (bracketed) {
		host++;
		len -= 2;
	}
	if (len >= sizeof(c->host))
		return err_set(err, -EINVAL, "host name in '%s' is too long", text);
	if (!bracketed && memchr(host, ':', len) && !is_ipv6(host, len))
		return err_set(err, -EINVAL,
			       "%.*s: cannot resolve name: it is no IPv6 address; "
			       "prefixes are tcp: tcp4: tcp6: unix: fd:",
			       (int)len, host);

	long port;
	if (parse_number(colon + 1, UINT16_MAX, &port) < 0)
		return err_set(err, -EINVAL, "bad port '%s' in '%s': 0 to 65535", colon + 1, text);

	memcpy(c->host, host, len);
	c->host[len] = 0;
	c->port = (uint16_t)port;
	return 0;
}

static int parse_fd(struct comm *c, const char *text, struct err *err)
{
	long fd;
	if (parse_number(text, INT_MAX, &fd) < 0)
		return err_set(err, -EINVAL, "bad descriptor number '%s'", text);
	c->fd = (int)fd;
	return 0;
}

static bool is_device(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISCHR(st.st_mode);
}

/* Behind '?' an lldb-server's URL has the line's settings; ours is raw and keeps its speed. */
static int parse_serial(struct comm *c, const char *text, struct err *err)
{
	size_t len = strcspn(text, "?");

	if (len >= sizeof(c->path))
		return err_set(err, -EINVAL, "device name '%s' is too long", text);
	memcpy(c->path, text, len);
	c->path[len] = 0;
	return is_device(c->path) ? 0 : err_set(err, -EINVAL, "'%s' is no device", c->path);
}

static int parse_prefixed(const struct prefix *p, const char *rest, struct comm *c, struct err *err)
{
	c->kind = p->kind;
	c->family = p->family;
	c->connect = p->connect;
	switch (p->kind) {
	case COMM_TCP: return parse_tcp(c, rest, err);
	case COMM_FD: return parse_fd(c, rest, err);
	case COMM_TTY: return parse_serial(c, rest, err);
	default: return set_path(c, rest, err);
	}
}

static int parse_path(struct comm *c, const char *path, struct err *err)
{
	c->kind = is_device(path) ? COMM_TTY : COMM_UNIX;
	if (c->kind == COMM_UNIX)
		return set_path(c, path, err);
	if (strlen(path) >= sizeof(c->path))
		return err_set(err, -EINVAL, "device name '%s' is too long", path);
	snprintf(c->path, sizeof(c->path), "%s", path);
	return 0;
}

static int parse_plain(const char *text, bool bare_port, struct comm *c, struct err *err)
{
	long port;

	if (!strcmp(text, "-") || !strcmp(text, "stdio")) {
		c->kind = COMM_STDIO;
		return 0;
	}
	if (bare_port && !parse_number(text, UINT16_MAX, &port)) {
		c->kind = COMM_TCP;
		c->port = (uint16_t)port;
		return 0;
	}
	if (text[0] == '/' || (text[0] && !strchr(text, ':') && is_device(text)))
		return parse_path(c, text, err);
	if (!strchr(text, ':'))
		return err_set(
			err, -EINVAL,
			"'%s' is no address: HOST:PORT, :PORT, unix:PATH, fd:N, a device, or - are",
			text);
	c->kind = COMM_TCP;
	return parse_tcp(c, text, err);
}

int comm_parse(const char *text, bool bare_port, struct comm *ret, struct err *err)
{
	struct comm c = { .kind = COMM_NONE, .family = AF_UNSPEC, .fd = -1 };
	int r = 1;

	for (size_t i = 0; r > 0 && i < ARRAY_SIZE(prefixes); i++) {
		size_t len = strlen(prefixes[i].text);
		if (!strncmp(text, prefixes[i].text, len))
			r = parse_prefixed(&prefixes[i], text + len, &c, err);
	}
	if (r > 0)
		r = parse_plain(text, bare_port, &c, err);
	if (r < 0)
		return r;
	*ret = c;
	return 0;
}
