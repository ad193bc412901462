#include "delve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- processes --- */

/* fd becomes SHARED_FD unless negative. Nothing the child prints is seen, unless STOPGO_BENCH_VERBOSE is set. */
static pid_t start(char *const argv[], int fd)
{
	pid_t pid = fork();
	if (pid)
		return pid < 0 ? -errno : pid;

	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	setpgid(0, 0); /* gdbserver interrupts a whole process group */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (!getenv("STOPGO_BENCH_VERBOSE"))
		dup2(null, STDERR_FILENO);
	if (fd >= 0 && dup2(fd, SHARED_FD) < 0)
		_exit(127);
	execvp(argv[0], argv);
	_exit(127);
}

static void end(pid_t *pid)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		while (waitpid(*pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*pid = 0;
}

static int start_debuggee(struct link *l, const char *path, size_t idlers, size_t hitters)
{
	char idle[24], hit[24];
	int fd = memfd_create("bench", 0); /* closed again before anything else is started */
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*l->shared)) < 0) {
		close(fd);
		return -errno;
	}
	l->shared = mmap(NULL, sizeof(*l->shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (l->shared == MAP_FAILED) {
		l->shared = NULL;
		close(fd);
		return -errno;
	}
	snprintf(idle, sizeof(idle), "%zu", idlers);
	snprintf(hit, sizeof(hit), "%zu", hitters);
	char *argv[] = { (char *)path, idle, hit, NULL };
	l->debuggee = start(argv, fd);
	close(fd);
	if (l->debuggee < 0)
		return (int)l->debuggee;

	size_t want = idlers + (hitters ? hitters : 1);
	for (double until = now() + 30; l->shared->ready < want;) {
		if (now() > until || waitpid(l->debuggee, NULL, WNOHANG) != 0)
			return -ECHILD;
		usleep(1000);
	}
	return 0;
}

static int free_port(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int port = -1;

	if (s >= 0 && bind(s, (struct sockaddr *)&at, sizeof(at)) == 0 &&
	    getsockname(s, (struct sockaddr *)&at, &len) == 0)
		port = ntohs(at.sin_port);
	if (s >= 0)
		close(s);
	return port;
}

/* program: NULL, or what the server is to launch. */
static int start_server(struct link *l, char *const program[])
{
	char where[32], listen[48], port_text[16], hitters[16], pid[16];
	char *argv[16] = { (char *)l->peer->path };
	size_t n = 1;
	int port = free_port();

	snprintf(port_text, sizeof(port_text), "%d", port);
	snprintf(where, sizeof(where), "127.0.0.1:%d", port);
	snprintf(listen, sizeof(listen), "--listen=%s", where);
	snprintf(pid, sizeof(pid), "%d", l->debuggee);
	snprintf(hitters, sizeof(hitters), "%zu", l->hitters);
	switch (l->peer->kind) {
	case PEER_BARE:
		argv[n++] = port_text;
		argv[n++] = hitters;
		break;
	case PEER_STOPGO:
	case PEER_GDBSERVER:
		argv[n++] = program ? "--once" : "--multi";
		argv[n++] = where;
		break;
	case PEER_LLDB:
		argv[n++] = "gdbserver";
		argv[n++] = where;
		if (program)
			argv[n++] = "--";
		break;
	case PEER_DELVE:
		argv[n++] = "attach";
		argv[n++] = pid;
		argv[n++] = "--headless";
		argv[n++] = "--api-version=2";
		argv[n++] = "--check-go-version=false";
		argv[n++] = listen;
		break;
	}
	while (program && *program && n < 15)
		argv[n++] = *program++;
	l->server = start(argv, -1);
	return l->server < 0 ? (int)l->server : rsp_connect(&l->rsp, port, l->server);
}

/* --- the conversation --- */

/* lldb-server wants lldb's words, the others gdb's. */
static int handshake(struct link *l)
{
	static const char gdb[] =
		"qSupported:swbreak+;hwbreak+;vContSupported+;no-resumed+;xmlRegisters=i386";
	static const char lldb[] = "qSupported:xmlRegisters=i386,arm,mips,arc";
	char *features;

	if (l->peer->kind == PEER_DELVE)
		return 0;
	int e = rsp_ask_ok(&l->rsp, "QStartNoAckMode");
	if (e == 0)
		e = rsp_write(&l->rsp, "+", 1); /* that OK is the last to be acknowledged */
	if (e < 0)
		return e;
	e = rsp_ask(&l->rsp, l->peer->kind == PEER_LLDB ? lldb : gdb, &features, NULL);
	if (e < 0)
		return e;
	const char *size = strstr(features, "PacketSize=");
	l->packet_size = size ? strtoul(size + strlen("PacketSize="), NULL, 16) : 1024;
	l->prefixed = strstr(features, "binary-upload+");
	return 0;
}

static int begin(struct link *l, const struct peer *peer)
{
	*l = (struct link){ .peer = peer, .rsp.fd = -1 };
	return peer->path ? 0 : -ENOENT;
}

int link_open(struct link *l, const struct peer *peer, const char *debuggee, size_t idlers,
	      size_t hitters)
{
	int e = begin(l, peer);

	l->hitters = hitters;
	if (e == 0)
		e = start_debuggee(l, debuggee, idlers, hitters);
	if (e == 0)
		e = start_server(l, NULL);
	if (e == 0)
		e = handshake(l);
	return l->error = e;
}

int link_launch(struct link *l, const struct peer *peer, char *const argv[])
{
	int e = begin(l, peer);

	l->hitters = 1;
	if (e == 0)
		e = start_server(l, argv);
	if (e == 0)
		e = handshake(l);
	return l->error = e;
}

void link_close(struct link *l)
{
	/* The debuggee first: nobody shall tidy up a process that is thrown away. */
	if (l->debuggee > 0)
		kill(l->debuggee, SIGKILL);
	rsp_close(&l->rsp);
	end(&l->server);
	end(&l->debuggee); /* its end is the server's to see as long as that lives */
	if (l->shared)
		munmap(l->shared, sizeof(*l->shared));
	l->shared = NULL;
}

int link_stopped(struct link *l, long *ret_tid)
{
	char *body;
	size_t len;
	int e = rsp_recv(&l->rsp, &body, &len);

	if (e == 0)
		e = rsp_expand(&l->rsp, &body, &len);
	if (e < 0)
		return e;
	if (*body != 'T')
		return -EPROTO;
	const char *thread = strstr(body, "thread:");
	if (ret_tid)
		*ret_tid = thread ? strtol(thread + strlen("thread:"), NULL, 16) : 0;
	return 0;
}

int link_attach(struct link *l)
{
	char packet[32];

	if (l->peer->kind == PEER_DELVE)
		return delve_attach(l);
	int len = snprintf(packet, sizeof(packet), "vAttach;%x", l->debuggee);
	int e = rsp_send(&l->rsp, packet, (size_t)len);
	return e == 0 ? link_stopped(l, NULL) : e;
}

int link_go(struct link *l)
{
	return l->peer->kind == PEER_DELVE ? delve_go(l) : rsp_send(&l->rsp, "vCont;c", 7);
}

int link_interrupt(struct link *l)
{
	if (l->peer->kind == PEER_DELVE)
		return delve_halt(l);
	int e = rsp_write(&l->rsp, "\x03", 1);
	return e == 0 ? link_stopped(l, NULL) : e;
}

int link_work(struct link *l, enum work work)
{
	enum { SETTLE_US = 20000 };

	if (l->shared->work == work)
		return 0;
	l->shared->work = work;
	int e = link_go(l);
	usleep(SETTLE_US); /* its nap lasts 5 ms */
	return e == 0 ? link_interrupt(l) : e;
}

uint64_t link_hits(const struct link *l)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < HITTERS_MAX; i++)
		sum += l->shared->hitters[i].count;
	return sum;
}

long link_rss(const struct link *l)
{
	char path[64], line[256];
	long kb = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", l->server);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}
