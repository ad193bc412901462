#include "server/listen.h"
#include "server/peeruser.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/log.h"

enum {
	LISTEN_SOCKETS_MAX = 8, /* addresses one name may stand for */
	LISTEN_REFUSED_MAX = 8, /* clients being turned away at a time */
	LISTEN_REFUSE_MS = 1000,
	LISTEN_BACKLOG = 8,
	LISTEN_PORT_TRIES = 16, /* free ports tried until one is free for every address */
	LISTEN_CONNECT_MS = 10000,
};

/* A peer that vanished without a word is noticed within 15 + 2 * 15 seconds. */
enum {
	KEEPALIVE_IDLE_S = 15,
	KEEPALIVE_INTERVAL_S = 15,
	KEEPALIVE_PROBES = 3,
	UNANSWERED_MS = 45000,
};

struct door {
	struct listener *listener;
	struct watch watch;
	int fd;
};

struct refused {
	struct watch watch;
	struct timer timer;
	int fd;
};

struct listener {
	struct loop *loop;
	struct door doors[LISTEN_SOCKETS_MAX];
	size_t door_count;
	struct refused refused[LISTEN_REFUSED_MAX];
	int port;
	bool remote;
	bool local;    /* a Unix socket */
	bool any_user; /* else the peer's user is checked */
	int spare; /* a descriptor to give up when there is none left, so that a client can be turned away */
	char path[sizeof(((struct comm *)0)->path)]; /* to remove; empty: none */
	dev_t path_dev;
	ino_t path_ino;
	void (*client)(void *ctx, int fd, const struct listen_peer *peer);
	void *ctx;
};

/* ---- addresses ---- */

static bool is_loopback(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	if (sa->sa_family == AF_INET6) {
		const struct in6_addr *a = &((const struct sockaddr_in6 *)sa)->sin6_addr;
		return IN6_IS_ADDR_LOOPBACK(a) ||
		       (IN6_IS_ADDR_V4MAPPED(a) && a->s6_addr[12] == 127);
	}
	return false;
}

static void set_port(struct sockaddr *sa, int port)
{
	if (sa->sa_family == AF_INET6)
		((struct sockaddr_in6 *)sa)->sin6_port = htons((uint16_t)port);
	else
		((struct sockaddr_in *)sa)->sin_port = htons((uint16_t)port);
}

static int port_of(int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0)
		return -1;
	if (ss.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&ss)->sin6_port);
	return ntohs(((struct sockaddr_in *)&ss)->sin_port);
}

static int refuse_remote(const struct comm *c, struct err *err)
{
	char port[16] = "PORT";
	if (c->port)
		snprintf(port, sizeof(port), "%u", c->port);
	if (c->connect)
		return err_set(err, -EPERM,
			       "'%s' is another machine, and whoever answers there may run "
			       "anything as this user. "
			       "Give --allow-remote if that is meant",
			       c->host);
	return err_set(err, -EPERM,
		       "address '%s:%s' can be reached from other machines, and whoever reaches it "
		       "may run "
		       "anything as this user. Serve localhost:%s and on the other machine run "
		       "'ssh -L %s:localhost:%s THIS-HOST', or give --allow-remote",
		       c->host, port, port, port, port);
}

/* Every address was asked for, and this machine's own is what there will be. */
static bool is_narrowed(const struct comm *c, const struct listen_how *how)
{
	return how->any_may_be_less && !how->allow_remote && !strcmp(c->host, "*");
}

static bool wants_any(const struct comm *c, const struct listen_how *how)
{
	return (!strcmp(c->host, "*") && !is_narrowed(c, how)) ||
	       (!c->host[0] && how->empty_is_any && how->allow_remote);
}

/* The addresses that the host stands for; *ret is to be freed with freeaddrinfo(). */
static int resolve(const struct comm *c, const struct listen_how *how, struct addrinfo **ret,
		   struct err *err)
{
	bool any = wants_any(c, how);
	struct addrinfo hints = {
		.ai_family = c->family,
		.ai_socktype = SOCK_STREAM,
		.ai_flags = any ? AI_PASSIVE | AI_NUMERICSERV : AI_NUMERICSERV,
	};
	char port[8];
	snprintf(port, sizeof(port), "%u", c->port);

	/* No host: the resolver answers with the loopback addresses, or with AI_PASSIVE the wildcards, asking nobody. */
	bool loopback = !c->host[0] || !strcmp(c->host, "localhost") || is_narrowed(c, how);
	int r = getaddrinfo(any || loopback ? NULL : c->host, port, &hints, ret);
	if (r)
		return err_set(err, r == EAI_SYSTEM ? -errno : -EINVAL,
			       "%s: cannot resolve name: %s", c->host, gai_strerror(r));
	return 0;
}

void listen_tune(int fd)
{
	int on = 1, idle = KEEPALIVE_IDLE_S, interval = KEEPALIVE_INTERVAL_S,
	    probes = KEEPALIVE_PROBES;
	unsigned unanswered = UNANSWERED_MS;

	/* Each fails where it has no meaning: on Unix sockets, pipes and serial lines. */
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered, sizeof(unanswered));
	(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- TCP ---- */

static int bind_one(const struct addrinfo *ai, int port, int *ret_fd)
{
	_cleanup_close_ int fd =
		socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;

	int on = 1;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (ai->ai_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));

	struct sockaddr_storage ss;
	memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
	set_port((struct sockaddr *)&ss, port);
	if (bind(fd, (struct sockaddr *)&ss, ai->ai_addrlen) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
		return -errno;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static void close_doors(struct listener *l)
{
	for (size_t i = 0; i < l->door_count; i++) {
		watch_stop(&l->doors[i].watch);
		close(l->doors[i].fd);
	}
	l->door_count = 0;
}

/* Every address with one port. An address this machine does not have is left out as long as one works. */
static int bind_all(struct listener *l, const struct addrinfo *list, int port)
{
	int failed = -EADDRNOTAVAIL;

	for (const struct addrinfo *ai = list; ai && l->door_count < LISTEN_SOCKETS_MAX;
	     ai = ai->ai_next) {
		int fd = -1, r = bind_one(ai, port, &fd);
		if (r == -EADDRINUSE) {
			close_doors(l);
			return r;
		}
		if (r < 0) {
			failed = r;
			continue;
		}
		if (!port)
			port = port_of(fd);
		l->doors[l->door_count++] = (struct door){ .listener = l, .fd = fd };
		l->remote |= !is_loopback(ai->ai_addr);
	}
	l->port = port;
	return l->door_count ? 0 : failed;
}

static int listen_tcp(struct listener *l, const struct comm *c, const struct listen_how *how,
		      struct err *err)
{
	struct addrinfo *list;
	int r = resolve(c, how, &list, err);
	if (r < 0)
		return r;

	for (const struct addrinfo *ai = list; ai && !how->allow_remote; ai = ai->ai_next) {
		if (!is_loopback(ai->ai_addr)) {
			freeaddrinfo(list);
			return refuse_remote(c, err);
		}
	}

	/* A port that is free on one address may be taken on the next: then another. */
	int tries = c->port ? 1 : LISTEN_PORT_TRIES;
	do
		r = bind_all(l, list, c->port);
	while (r == -EADDRINUSE && --tries > 0);
	freeaddrinfo(list);
	if (r < 0)
		return err_set(err, r, "Can't bind address: %s. Port %u %s", strerror(-r),
			       (unsigned)c->port,
			       r == -EADDRINUSE
				       ? "is taken: give another one, or 0 for any that is free"
				       : "was asked for");
	if (is_narrowed(c, how))
		say("Warning: '*' is served on this machine only, as whoever reaches it may run "
		    "anything as "
		    "this user: on the other machine run 'ssh -L %d:localhost:%d THIS-HOST', or "
		    "give "
		    "--allow-remote",
		    l->port, l->port);
	return 0;
}

/* ---- Unix sockets ---- */

static socklen_t unix_address(const struct comm *c, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	size_t abstract = c->kind == COMM_ABSTRACT, len = strlen(c->path);
	memcpy(ret->sun_path + abstract, c->path, MIN(len, sizeof(ret->sun_path) - 1));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
}

/* A socket file that nobody listens on any more; the one who checks is the one who removes it. */
static bool is_stale_socket(const struct sockaddr_un *sa, socklen_t len)
{
	struct stat st;
	if (lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return false;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd >= 0 && connect(fd, (const struct sockaddr *)sa, len) < 0 &&
	       errno == ECONNREFUSED;
}

static int bind_unix(int fd, const struct sockaddr_un *sa, socklen_t len)
{
	/* The file must never be open to others, not even between bind and chmod. */
	mode_t old = umask(0177);
	int r = bind(fd, (const struct sockaddr *)sa, len) < 0 ? -errno : 0;
	umask(old);
	return r;
}

static int listen_unix(struct listener *l, const struct comm *c, struct err *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set(err, -errno, "cannot make a socket: %m");

	struct sockaddr_un sa;
	socklen_t len = unix_address(c, &sa);
	int r = bind_unix(fd, &sa, len);
	if (r == -EADDRINUSE && c->kind == COMM_UNIX && is_stale_socket(&sa, len)) {
		log_debug(LOG_LOOP, "removing the stale socket %s", c->path);
		unlink(c->path);
		r = bind_unix(fd, &sa, len);
	}
	if (!r && listen(fd, LISTEN_BACKLOG) < 0)
		r = -errno;
	if (r < 0)
		return err_set(err, r, "Can't bind address: %s: %s.", c->path, strerror(-r));

	struct stat st;
	if (c->kind == COMM_UNIX && !lstat(c->path, &st)) {
		snprintf(l->path, sizeof(l->path), "%s", c->path);
		l->path_dev = st.st_dev;
		l->path_ino = st.st_ino;
	}
	l->doors[l->door_count++] = (struct door){ .listener = l, .fd = steal_fd(&fd) };
	l->local = true;
	l->port = -1;
	return 0;
}

/* ---- the listener ---- */

int listener_new(const struct comm *comm, const struct listen_how *how, struct listener **ret,
		 struct err *err)
{
	struct listener *l = calloc(1, sizeof(*l));
	if (!l)
		return err_set(err, -ENOMEM, "no memory to listen");
	for (size_t i = 0; i < LISTEN_REFUSED_MAX; i++)
		l->refused[i].fd = -1;
	l->any_user = how->any_user;
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);

	int r = comm->kind == COMM_TCP ? listen_tcp(l, comm, how, err) : listen_unix(l, comm, err);
	if (r < 0) {
		listener_free(l);
		return r;
	}
	*ret = l;
	return 0;
}

static void refused_close(struct refused *r)
{
	watch_stop(&r->watch);
	timer_stop(&r->timer);
	close_fdp(&r->fd);
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	close_doors(l);
	for (size_t i = 0; i < LISTEN_REFUSED_MAX; i++)
		refused_close(&l->refused[i]);
	close_fdp(&l->spare);

	struct stat st;
	if (l->path[0] && !lstat(l->path, &st) && st.st_dev == l->path_dev &&
	    st.st_ino == l->path_ino)
		unlink(l->path);
	free(l);
}

int listener_port(const struct listener *l)
{
	return l->port;
}

bool listener_is_remote(const struct listener *l)
{
	return l->remote;
}

static void on_refused_late(void *ctx)
{
	refused_close(ctx);
}

static void on_refused_ready(void *ctx, unsigned events _unused_)
{
	struct refused *r = ctx;
	char waste[4096];
	ssize_t n = read(r->fd, waste, sizeof(waste));
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		refused_close(r);
}

void listener_refuse(struct listener *l, int fd)
{
	for (size_t i = 0; i < LISTEN_REFUSED_MAX; i++) {
		struct refused *r = &l->refused[i];
		if (r->fd >= 0)
			continue;
		r->fd = fd;
		shutdown(fd, SHUT_WR);
		watch_start(l->loop, &r->watch, fd, LOOP_READ, on_refused_ready, r);
		timer_start(l->loop, &r->timer, LISTEN_REFUSE_MS, on_refused_late, r);
		return;
	}
	close(fd);
}

static void peer_of(const struct listener *l, const struct sockaddr_storage *ss, socklen_t len,
		    struct listen_peer *ret)
{
	*ret = (struct listen_peer){ .port = -1 };
	if (l && l->local) {
		snprintf(ret->name, sizeof(ret->name), "%s", l->path);
		return;
	}
	char port[8] = "0";
	if (getnameinfo((const struct sockaddr *)ss, len, ret->name, sizeof(ret->name), port,
			sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
		snprintf(ret->name, sizeof(ret->name), "unknown");
	ret->port = atoi(port);
}

static bool is_same_user(int fd)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return false;
	if (cred.uid == 0 || cred.uid == geteuid())
		return true;
	say("Connection of another user (uid %u, pid %d) refused", cred.uid, cred.pid);
	return false;
}

/* Everybody on this machine can connect to loopback; who packets come from can do all that we can. */
static bool may_come_in(int fd)
{
	uid_t uid;

	if (peeruser_of(fd, &uid) < 0) {
		uint8_t byte;
		ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		/* Gone without a word, as those do who only look whether somebody listens. */
		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		say("Connection refused: whose it is cannot be told (--allow-other-users)");
		return false;
	}
	if (uid == 0 || uid == geteuid())
		return true;
	say("Connection of another user (uid %u) refused (--allow-other-users)", uid);
	return false;
}

/* Where other machines may come other users may. */
static bool is_let_in(const struct listener *l, int fd)
{
	return l->any_user || l->remote || (l->local ? is_same_user(fd) : may_come_in(fd));
}

/* No descriptor is left: whoever knocks would go on knocking, and we go on hearing of it. */
static void turn_away(struct listener *l, int door)
{
	close_fdp(&l->spare);
	int fd = accept4(door, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	l->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_door(void *ctx, unsigned events _unused_)
{
	struct door *d = ctx;
	struct listener *l = d->listener;
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	int fd = accept4(d->fd, (struct sockaddr *)&ss, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		/* ECONNABORTED and the like: the next turn of the loop tries again. */
		bool none_left = errno == EMFILE || errno == ENFILE;
		log_debug(LOG_LOOP, "accept: %m");
		if (none_left)
			turn_away(l, d->fd);
		return;
	}
	if (!is_let_in(l, fd)) {
		listener_refuse(l, fd);
		return;
	}
	listen_tune(fd);
	struct listen_peer peer;
	peer_of(l, &ss, len, &peer);
	l->client(l->ctx, fd, &peer);
}

int listener_accept(struct listener *l, int *ret_fd)
{
	struct pollfd p[LISTEN_SOCKETS_MAX];

	for (size_t i = 0; i < l->door_count; i++)
		p[i] = (struct pollfd){ .fd = l->doors[i].fd, .events = POLLIN };
	if (poll(p, l->door_count, -1) < 0)
		return -EAGAIN;
	for (size_t i = 0; i < l->door_count; i++) {
		if (!p[i].revents)
			continue;
		int fd = accept4(p[i].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			continue;
		if (!is_let_in(l, fd)) {
			close(fd);
			continue;
		}
		listen_tune(fd);
		*ret_fd = fd;
		return 0;
	}
	return -EAGAIN;
}

void listener_leave(struct listener *l)
{
	l->path[0] = 0;
	listener_free(l);
}

void listener_start(struct listener *l, struct loop *loop,
		    void (*client)(void *ctx, int fd, const struct listen_peer *peer), void *ctx)
{
	l->loop = loop;
	l->client = client;
	l->ctx = ctx;
	for (size_t i = 0; i < l->door_count; i++)
		watch_start(loop, &l->doors[i].watch, l->doors[i].fd, LOOP_READ, on_door,
			    &l->doors[i]);
}

/* ---- calling the client ---- */

static int connect_within(int fd, const struct sockaddr *sa, socklen_t len)
{
	if (!connect(fd, sa, len))
		return 0;
	if (errno != EINPROGRESS)
		return -errno;

	struct pollfd p = { .fd = fd, .events = POLLOUT };
	int r = poll(&p, 1, LISTEN_CONNECT_MS);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;

	int error = 0;
	socklen_t size = sizeof(error);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

static int connect_address(const struct sockaddr *sa, socklen_t len, int *ret_fd)
{
	_cleanup_close_ int fd =
		socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	int r = connect_within(fd, sa, len);
	if (r < 0)
		return r;
	listen_tune(fd);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int connect_tcp(const struct comm *c, const struct listen_how *how, int *ret_fd,
		       struct listen_peer *ret_peer, struct err *err)
{
	struct addrinfo *list;
	int r = resolve(c, how, &list, err);
	if (r < 0)
		return r;

	r = -EADDRNOTAVAIL;
	for (const struct addrinfo *ai = list; ai && r < 0; ai = ai->ai_next) {
		if (!how->allow_remote && !is_loopback(ai->ai_addr)) {
			r = refuse_remote(c, err);
			break;
		}
		struct sockaddr_storage ss;
		memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
		r = connect_address(ai->ai_addr, ai->ai_addrlen, ret_fd);
		if (!r)
			peer_of(NULL, &ss, ai->ai_addrlen, ret_peer);
		else
			err_set(err, r, "cannot connect to '%s:%u': %s", c->host, c->port,
				strerror(-r));
	}
	freeaddrinfo(list);
	return r;
}

int listen_connect(const struct comm *comm, const struct listen_how *how, int *ret_fd,
		   struct listen_peer *ret_peer, struct err *err)
{
	if (comm->kind == COMM_TCP)
		return connect_tcp(comm, how, ret_fd, ret_peer, err);

	struct sockaddr_un sa;
	socklen_t len = unix_address(comm, &sa);
	int r = connect_address((struct sockaddr *)&sa, len, ret_fd);
	if (r < 0)
		return err_set(err, r, "cannot connect to '%s': %s", comm->path, strerror(-r));
	*ret_peer = (struct listen_peer){ .port = -1 };
	snprintf(ret_peer->name, sizeof(ret_peer->name), "%s", comm->path);
	return 0;
}
