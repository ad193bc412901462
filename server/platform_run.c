/*
 * platform_run.c - the life of platform mode: clients that come, and the process that serves each.
 */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/log.h"
#include "server/listen.h"
#include "server/platform.h"
#include "server/server.h"

/* The numeric address that the client has connected to; empty for a Unix socket. */
static void note_host(struct platform *p, int fd)
{
	struct sockaddr_storage ss;
	socklen_t len = sizeof(ss);

	p->host[0] = 0;
	if (getsockname(fd, (struct sockaddr *)&ss, &len) < 0 || ss.ss_family == AF_UNIX)
		return;
	if (getnameinfo((struct sockaddr *)&ss, len, p->host, sizeof(p->host), NULL, 0,
			NI_NUMERICHOST))
		snprintf(p->host, sizeof(p->host), "127.0.0.1");
}

static int serve_client(const struct options *opt, int fd)
{
	struct options mine = *opt;
	struct platform p = { .opt = opt };
	struct err err = { 0 };

	note_host(&p, fd);
	if (opt->program && platform_spawn(&p, opt->program, 0, &p.pending, &err) < 0)
		say("error: %s", err.text);
	mine.comm = (struct comm){ .kind = COMM_FD, .fd = fd };
	mine.program = NULL;
	mine.platform = &p;
	int code = server_run(&mine);
	free(p.found);
	while (p.count)
		platform_forget(&p, 0);
	return code;
}

static int write_place(const struct options *o, const struct listener *l, struct err *err)
{
	if (!o->socket_file)
		return 0;
	/* Whoever waits for the file finds it whole. */
	_cleanup_free_ char *beside = NULL;
	if (asprintf(&beside, "%s.%d", o->socket_file, (int)getpid()) < 0)
		return err_set(err, -ENOMEM, "no memory");
	FILE *f = fopen(beside, "we");
	bool written = f && (listener_port(l) >= 0 ? fprintf(f, "%d", listener_port(l))
						   : fprintf(f, "%s", o->comm.path)) > 0;
	int e = written ? 0 : errno;
	if (f && fclose(f) != 0)
		e = errno;
	if (e || rename(beside, o->socket_file) < 0)
		return err_set(err, e ? -e : -errno, "cannot write '%s': %s", o->socket_file,
			       strerror(e ? e : errno));
	return 0;
}

/* The process that serves the client gets its descriptor; the one that waits for others gets -1. */
static int next_client(const struct options *o, struct listener *l)
{
	int fd;

	if (listener_accept(l, &fd) < 0)
		return -1;
	if (!o->platform_server)
		return fd;
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	pid_t pid = fork();
	if (pid == 0) {
		listener_leave(l);
		return fd;
	}
	if (pid < 0)
		say("cannot serve a client: %s", strerror(errno));
	close(fd);
	return -1;
}

int platform_run(const struct options *opt)
{
	struct listen_how how = {
		.allow_remote = opt->allow_remote,
		.any_user = opt->any_user,
		.any_may_be_less = true,
	};
	struct listener *l;
	struct err err = { 0 };
	int fd = -1;

	int r = listener_new(&opt->comm, &how, &l, &err);
	if (r < 0) {
		say("error: %s", err.text);
		return r == -EPERM ? EXIT_USAGE : r == -EADDRINUSE ? EXIT_IN_USE : EXIT_FAILED;
	}
	r = write_place(opt, l, &err);
	if (r < 0) {
		say("error: %s", err.text);
		listener_free(l);
		return EXIT_FAILED;
	}
	while (fd < 0)
		fd = next_client(opt, l);
	if (!opt->platform_server)
		listener_free(l);
	return serve_client(opt, fd);
}
