#include "server/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "base/log.h"
#include "server/listen.h"
#include "server/signals.h"
#include "server/options.h"

struct gate {
	const struct options *opt;
	struct listener *listener;
	int in_fd, out_fd; /* a client that is there already; -1: none */
	bool quiet;        /* the peer we stand for says nothing */
	bool told;         /* --pipe and --named-pipe know the port */
	bool (*client)(void *ctx, int in_fd, int out_fd);
	void *ctx;
};

/* ---- the ways in ---- */

/* The protocol keeps the descriptors it came on, under other numbers; nobody else shall write there. */
static int open_stdio(struct gate *g, struct err *err)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	g->in_fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	g->out_fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (null < 0 || g->in_fd < 0 || g->out_fd < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return err_set(err, -errno, "cannot use standard input and output: %s",
			       strerror(errno));
	return 0;
}

static int open_inherited(struct gate *g, int fd, struct err *err)
{
	if (fcntl(fd, F_GETFD) < 0)
		return err_set(err, -errno, "descriptor %d is not open", fd);
	if (fd <= STDERR_FILENO) {
		fd = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
		if (fd < 0)
			return err_set(err, -errno, "cannot use the descriptor: %s",
				       strerror(errno));
	}
	listen_tune(fd);
	g->in_fd = g->out_fd = fd;
	return 0;
}

static int open_tty(struct gate *g, const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, -errno, "cannot open '%s': %s", path, strerror(errno));

	struct termios t;
	if (tcgetattr(fd, &t) < 0)
		return err_set(err, -errno, "'%s' is no terminal: %s", path, strerror(errno));
	cfmakeraw(&t);
	t.c_cflag |= CLOCAL;
	t.c_cc[VMIN] = 1;
	t.c_cc[VTIME] = 0;
	if (tcsetattr(fd, TCSANOW, &t) < 0)
		return err_set(err, -errno, "cannot set up '%s': %s", path, strerror(errno));
	g->in_fd = g->out_fd = steal_fd(&fd);
	return 0;
}

static int open_socket(struct gate *g, const struct comm *c, struct err *err)
{
	struct listen_how how = {
		.allow_remote = g->opt->allow_remote,
		.any_user = g->opt->any_user,
		.empty_is_any = g->opt->as == AS_GDBSERVER,
		.any_may_be_less = g->opt->as == AS_LLDB_SERVER,
	};
	struct listen_peer peer;

	if (!c->connect)
		return listener_new(c, &how, &g->listener, err);
	int r = listen_connect(c, &how, &g->in_fd, &peer, err);
	g->out_fd = g->in_fd;
	return r;
}

static int open_way(struct gate *g, const struct comm *c, struct err *err)
{
	switch (c->kind) {
	case COMM_STDIO: return open_stdio(g, err);
	case COMM_FD: return open_inherited(g, c->fd, err);
	case COMM_TTY: return open_tty(g, c->path, err);
	case COMM_TCP:
	case COMM_UNIX:
	case COMM_ABSTRACT: return open_socket(g, c, err);
	case COMM_NONE: break;
	}
	return err_set(err, -EINVAL, "no address");
}

int gate_open(const struct options *opt, struct gate **ret, struct err *err)
{
	struct gate *g = malloc(sizeof(*g));
	if (!g)
		return err_set(err, -ENOMEM, "no memory");
	*g = (struct gate){
		.opt = opt, .in_fd = -1, .out_fd = -1, .quiet = opt->as != AS_GDBSERVER
	};

	int r = open_way(g, &opt->comm, err);
	if (r < 0) {
		gate_free(g);
		return r;
	}
	*ret = g;
	return 0;
}

void gate_close(struct gate *g)
{
	listener_free(g->listener);
	g->listener = NULL;
}

void gate_free(struct gate *g)
{
	if (!g)
		return;
	gate_close(g);
	if (g->out_fd != g->in_fd)
		close_fdp(&g->out_fd);
	close_fdp(&g->in_fd);
	free(g);
}

bool gate_is_single(const struct gate *g)
{
	return !g->listener;
}

/* ---- saying where we are ---- */

/* As lldb reads it: the port in digits, or the socket's path, and a NUL. */
static int tell_port(const struct gate *g, int fd, const char *where, struct err *err)
{
	char text[sizeof(((struct comm *)0)->path)];
	if (listener_port(g->listener) >= 0)
		snprintf(text, sizeof(text), "%d", listener_port(g->listener));
	else
		snprintf(text, sizeof(text), "%s", g->opt->comm.path);
	if (write(fd, text, strlen(text) + 1) < 0)
		return err_set(err, -errno, "cannot write the port to %s: %s", where,
			       strerror(errno));
	return 0;
}

static int tell_ports(const struct gate *g, struct err *err)
{
	int r = 0;
	if (g->opt->port_pipe >= 0) {
		r = tell_port(g, g->opt->port_pipe, "--pipe", err);
		close(g->opt->port_pipe);
	}
	if (r < 0 || !g->opt->port_path)
		return r;
	/* Until somebody reads, or one of the signals that end us has come. */
	_cleanup_close_ int fd = -1;
	do
		fd = open(g->opt->port_path, O_WRONLY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR && !signals_waiting());
	if (fd < 0)
		return err_set(err, -errno, "cannot open the pipe '%s': %s", g->opt->port_path,
			       strerror(errno));
	return tell_port(g, fd, g->opt->port_path, err);
}

static void say_where(const struct gate *g)
{
	const struct comm *c = &g->opt->comm;

	if (g->listener && listener_port(g->listener) >= 0) {
		say("Listening on port %d", listener_port(g->listener));
		if (listener_is_remote(g->listener))
			say("Warning: other machines can reach this port, and whoever does may run "
			    "anything as this user");
	} else if (g->listener) {
		say("Listening on socket %s", c->path);
	}
}

void gate_say_redirected(const struct gate *g)
{
	if (!g->quiet && g->opt->comm.kind == COMM_STDIO)
		say("stdin/stdout redirected");
}

int gate_announce(struct gate *g, struct err *err)
{
	if (!g->quiet)
		say_where(g);
	if (!g->listener || g->told)
		return 0;
	g->told = true;
	return tell_ports(g, err);
}

static void say_who(const struct gate *g, const struct listen_peer *peer)
{
	const struct comm *c = &g->opt->comm;

	if (g->quiet)
		return;
	if (peer && peer->port >= 0)
		say("Remote debugging from host %s, port %d", peer->name, peer->port);
	else if (peer)
		say("Remote debugging using UNIX socket %s", c->path);
	else if (c->kind == COMM_STDIO)
		say("Remote debugging using stdio");
	else if (c->kind == COMM_FD)
		say("Remote debugging using descriptor %d", c->fd);
	else if (c->kind == COMM_TCP)
		say("Remote debugging using %s:%u", c->host, c->port);
	else
		say("Remote debugging using %s", c->path);
}

/* ---- letting clients in ---- */

static void on_arrival(void *ctx, int fd, const struct listen_peer *peer)
{
	struct gate *g = ctx;

	if (g->client(g->ctx, fd, fd)) {
		say_who(g, peer);
		return;
	}
	if (peer->port >= 0)
		say("Connection from host %s, port %d refused: another client is connected",
		    peer->name, peer->port);
	else
		say("Connection refused: another client is connected");
	listener_refuse(g->listener, fd);
}

void gate_admit(struct gate *g, struct loop *loop, bool (*client)(void *ctx, int in_fd, int out_fd),
		void *ctx)
{
	g->client = client;
	g->ctx = ctx;
	if (g->listener) {
		listener_start(g->listener, loop, on_arrival, g);
		return;
	}
	int in = steal_fd(&g->in_fd), out = steal_fd(&g->out_fd);
	if (client(ctx, in, out)) {
		say_who(g, NULL);
		return;
	}
	close(in);
	if (out != in)
		close(out);
}
