/*
 * bare.c - the least that the work can cost: ptrace requests and nothing else, behind just enough of the protocol for the
 * benchmark to drive it like any server. It checks nothing, knows one process of the benchmark's own, and is wrong for any other use.
 *
 *   bench_bare PORT HITTERS          waits for vAttach
 *   bench_bare PORT 1 PROG ARGS...   launches
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shared.h"

enum { TASKS_MAX = 8192, BUFFER = 1 << 20, CHUNK = 0x20000 };

static int client;
static bool no_acks;
static size_t hitters;
static pid_t pid, tasks[TASKS_MAX];
static size_t count;
static int memory = -1;
static uint8_t in[BUFFER], data[BUFFER];
static size_t in_len, taken; /* of it, served */
static char out[BUFFER], list[BUFFER];
static size_t list_len;

static struct {
	uint64_t addr, cave;
	uint8_t orig[8];
	bool there, conditional, watch;
} point;

static long pt(int request, pid_t tid, uintptr_t addr, uintptr_t value)
{
	return ptrace((enum __ptrace_request)request, tid, (void *)addr, (void *)value);
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* --- the wire --- */

static void reply(const char *body, size_t len)
{
	static char frame[BUFFER];
	char *to = frame;
	uint8_t sum = 0;

	if (!no_acks)
		*to++ = '+';
	*to++ = '$';
	for (size_t i = 0; i < len; i++) {
		sum = (uint8_t)(sum + (uint8_t)body[i]);
		*to++ = body[i];
	}
	to += sprintf(to, "#%02x", sum);
	if (send(client, frame, (size_t)(to - frame), MSG_NOSIGNAL) < 0)
		exit(0);
}

static void reply_text(const char *text)
{
	reply(text, strlen(text));
}

static char *put_hex(char *to, const void *from, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	static uint16_t pairs[256];
	const uint8_t *p = from;

	if (!pairs[0]) {
		for (unsigned i = 0; i < 256; i++)
			pairs[i] = (uint16_t)(digits[i >> 4] | digits[i & 15] << 8);
	}
	for (size_t i = 0; i < len; i++, to += 2)
		memcpy(to, &pairs[p[i]], 2);
	return to;
}

static uint8_t nibble(char c)
{
	return (uint8_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
}

static void reply_stop(int signo, pid_t tid, const struct user_regs_struct *gp)
{
	char text[256], *to = text;

	to += sprintf(to, "T%02xthread:%x;06:", signo, tid);
	to = put_hex(to, &gp->rbp, 8);
	to += sprintf(to, ";07:");
	to = put_hex(to, &gp->rsp, 8);
	to += sprintf(to, ";10:");
	to = put_hex(to, &gp->rip, 8);
	*to++ = ';';
	reply(text, (size_t)(to - text));
}

/* --- the process --- */

/* Until a pass finds nobody new. */
static void seize_all(void)
{
	static bool known[1 << 22];
	char path[64];
	bool fresh = true;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	while (fresh) {
		fresh = false;
		DIR *dir = opendir(path);
		if (!dir)
			fail(path);
		for (struct dirent *e; (e = readdir(dir));) {
			pid_t tid = (pid_t)atoi(e->d_name);
			if (tid <= 0 || known[tid] || count == TASKS_MAX ||
			    pt(PTRACE_SEIZE, tid, 0, 0) < 0)
				continue;
			known[tid] = fresh = true;
			tasks[count++] = tid;
		}
		closedir(dir);
	}
}

static void open_memory(void)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	memory = open(path, O_RDWR | O_CLOEXEC);
	if (memory < 0)
		fail(path);
}

/* A thread that has run into the point is put back before it; its SIGTRAP may still be behind the interrupt. */
static void take_back(pid_t tid, int status)
{
	struct user_regs_struct gp;

	pt(PTRACE_GETREGS, tid, 0, (uintptr_t)&gp);
	if (gp.rip != point.addr + 1)
		return;
	/* Or it stands there because it was passed over a short instruction: then it comes round again. */
	while (status >> 16 || WSTOPSIG(status) != SIGTRAP) {
		pt(PTRACE_CONT, tid, 0, 0);
		if (waitpid(tid, &status, __WALL) < 0)
			fail("waitpid");
	}
	pt(PTRACE_GETREGS, tid, 0, (uintptr_t)&gp);
	gp.rip = point.addr;
	pt(PTRACE_SETREGS, tid, 0, (uintptr_t)&gp);
}

/* Everybody but one. */
static void stop_all(pid_t but)
{
	int status;

	for (size_t i = 0; i < count; i++)
		if (tasks[i] != but)
			pt(PTRACE_INTERRUPT, tasks[i], 0, 0);
	for (size_t i = 0; i < count; i++) {
		if (tasks[i] == but || waitpid(tasks[i], &status, __WALL) < 0)
			continue;
		if (point.there && !point.watch && (hitters > 1 || tasks[i] == pid))
			take_back(tasks[i], status);
	}
}

static void go_all(void)
{
	for (size_t i = 0; i < count; i++)
		pt(PTRACE_CONT, tasks[i], 0, 0);
}

static void list_threads(void)
{
	list_len = (size_t)sprintf(list, "l<threads>\n");
	for (size_t i = 0; i < count; i++)
		list_len +=
			(size_t)sprintf(list + list_len,
					"<thread id=\"%x\" core=\"0\" name=\"bench_debuggee\"/>\n",
					tasks[i]);
	list_len += (size_t)sprintf(list + list_len, "</threads>\n");
}

static void attach(pid_t wanted)
{
	struct user_regs_struct gp;

	pid = wanted;
	seize_all();
	stop_all(0);
	open_memory();
	list_threads();
	pt(PTRACE_GETREGS, pid, 0, (uintptr_t)&gp);
	reply_stop(0, pid, &gp);
}

static void launch(char **argv)
{
	int status;

	pid = fork();
	if (pid == 0) {
		pt(PTRACE_TRACEME, 0, 0, 0);
		execvp(argv[0], argv);
		fail(argv[0]);
	}
	if (waitpid(pid, &status, 0) < 0)
		fail("waitpid");
	pt(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL);
	tasks[count++] = pid;
	open_memory();
}

/* --- running --- */

/* An interrupt that was read together with the packet before it. */
static uint8_t *interrupt_in_hand(void)
{
	return memchr(in + taken, 3, in_len - taken);
}

static bool client_waits(void)
{
	char c;
	return interrupt_in_hand() || recv(client, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1;
}

static void interrupted(void)
{
	struct user_regs_struct gp;
	uint8_t *in_hand = interrupt_in_hand();
	char c;

	if (in_hand)
		taken = (size_t)(in_hand - in) + 1;
	while (!in_hand && recv(client, &c, 1, 0) == 1 && c != 3)
		;
	stop_all(0);
	pt(PTRACE_GETREGS, pid, 0, (uintptr_t)&gp);
	reply_stop(2, pid, &gp);
}

/* The displaced instruction's effect: what shared.h says is at each place. */
static void pass(struct user_regs_struct *gp)
{
	if (point.cave) {
		gp->rip = point.cave;
	} else if (point.orig[0] == 0x55) {
		gp->rsp -= 8;
		struct iovec from = { &gp->rbp, 8 }, to = { (void *)gp->rsp, 8 };
		if (process_vm_writev(pid, &from, 1, &to, 1, 0) != 8)
			fail("push");
	} else {
		gp->rsp -= 0x18;
		gp->rip += 3;
	}
}

/* One stop of a task that ran into the point; false: it was nothing. */
static bool hit(pid_t tid, int status, struct user_regs_struct *gp)
{
	if (status >> 16 || WSTOPSIG(status) != SIGTRAP) {
		pt(PTRACE_CONT, tid, 0, 0);
		return false;
	}
	pt(PTRACE_GETREGS, tid, 0, (uintptr_t)gp);
	return true;
}

/* Those that have stopped are heard of before any goes on, or a few would hit again and again and the others never be heard of. */
static void run_condition(void)
{
	static pid_t due[TASKS_MAX];
	struct user_regs_struct gp;
	unsigned looks = 0;
	int status;

	do {
		size_t n = 0;
		pid_t tid = waitpid(hitters > 1 ? -1 : pid, &status, __WALL);
		if (tid < 0)
			fail("waitpid");
		for (; tid > 0; tid = hitters > 1 ? waitpid(-1, &status, __WALL | WNOHANG) : 0) {
			if (!hit(tid, status, &gp) || gp.rdi == 0xdead)
				continue;
			pass(&gp);
			pt(PTRACE_SETREGS, tid, 0, (uintptr_t)&gp);
			due[n++] = tid;
		}
		while (n)
			pt(PTRACE_CONT, due[--n], 0, 0);
	} while (++looks % 64 || !client_waits());
	interrupted();
}

static void go(void)
{
	struct user_regs_struct gp;
	int status;

	go_all();
	if (!point.there) {
		interrupted();
		return;
	}
	if (point.conditional) {
		run_condition();
		return;
	}
	while (waitpid(pid, &status, __WALL) == pid && !hit(pid, status, &gp))
		;
	stop_all(pid);
	if (!point.watch) {
		gp.rip--;
		pt(PTRACE_SETREGS, pid, 0, (uintptr_t)&gp);
	}
	reply_stop(5, pid, &gp);
}

static void step(uint64_t start, uint64_t end)
{
	struct user_regs_struct gp;
	int status;

	do {
		do {
			pt(PTRACE_SINGLESTEP, pid, 0, 0);
			if (waitpid(pid, &status, __WALL) < 0)
				fail("waitpid");
		} while (status >> 16);
		pt(PTRACE_GETREGS, pid, 0, (uintptr_t)&gp);
	} while (gp.rip >= start && gp.rip < end);
	reply_stop(5, pid, &gp);
}

/* --- points and memory --- */

static void set_dreg(int n, uint64_t value)
{
	for (size_t i = 0; i < count; i++)
		pt(PTRACE_POKEUSER, tasks[i], offsetof(struct user, u_debugreg) + 8 * (size_t)n,
		   value);
}

static void write_memory(uint64_t addr, const void *from, size_t len)
{
	if (pwrite(memory, from, len, (off_t)addr) != (ssize_t)len)
		fail("write");
}

static void insert(char kind, uint64_t addr, bool conditional)
{
	point.addr = addr;
	point.there = true;
	point.conditional = conditional;
	point.watch = kind == '2';
	if (point.watch) {
		set_dreg(0, addr);
		set_dreg(7, 0xd0101);
		return;
	}
	if (pread(memory, point.orig, sizeof(point.orig), (off_t)addr) != sizeof(point.orig))
		fail("read");
	point.cave = 0;
	if (point.orig[0] ==
	    0x66) { /* to_vector: its copy and a jump back stand in the cave two lines on */
		uint8_t copy[9];
		memcpy(copy, point.orig, 4);
		copy[4] = 0xe9;
		uint64_t cave = addr + 128;
		int32_t back = (int32_t)(addr + 4 - (cave + 9));
		memcpy(copy + 5, &back, 4);
		write_memory(cave, copy, sizeof(copy));
		point.cave = cave;
	}
	write_memory(addr, "\xcc", 1);
}

static void drop(void)
{
	if (point.watch)
		set_dreg(7, 0);
	else if (point.there)
		write_memory(point.addr, point.orig, 1);
	point.there = false;
}

static void read_memory(uint64_t addr, size_t len, bool hex)
{
	struct iovec to = { data, len }, from = { (void *)addr, len };
	char *end = out;

	ssize_t got = process_vm_readv(pid, &to, 1, &from, 1, 0);
	if (hex) {
		end = put_hex(out, data, (size_t)got);
	} else {
		*end++ = 'b';
		for (ssize_t i = 0; i < got; i++) {
			uint8_t c = data[i];
			if (c == '#' || c == '$' || c == '}' || c == '*') {
				*end++ = '}';
				c ^= 0x20;
			}
			*end++ = (char)c;
		}
	}
	reply(out, (size_t)(end - out));
}

static void store_memory(uint64_t addr, const char *body, size_t len, bool hex)
{
	size_t n = 0;

	for (size_t i = 0; hex && i + 1 < len; i += 2)
		data[n++] = (uint8_t)(nibble(body[i]) << 4 | nibble(body[i + 1]));
	for (size_t i = 0; !hex && i < len; i++)
		data[n++] = body[i] == '}' ? (uint8_t)body[++i] ^ 0x20 : (uint8_t)body[i];
	write_memory(addr, data, n);
	reply_text("OK");
}

static void detach(void)
{
	for (size_t i = 0; i < count; i++)
		pt(PTRACE_DETACH, tasks[i], 0, 0);
	count = 0;
	reply_text("OK");
}

/* --- packets --- */

static bool is(const char *p, const char *name)
{
	return !strncmp(p, name, strlen(name));
}

static void serve(char *p, size_t len)
{
	unsigned long a = 0, b = 0;
	char *rest = p + 1;

	if (is(p, "QStartNoAckMode")) {
		reply_text("OK");
		no_acks = true;
	} else if (is(p, "qSupported")) {
		reply_text("PacketSize=20000;binary-upload+;qXfer:threads:read+");
	} else if (is(p, "qC")) {
		char text[32];
		sprintf(text, "QC%x", pid);
		reply_text(text);
	} else if (is(p, "?")) {
		struct user_regs_struct gp;
		pt(PTRACE_GETREGS, pid, 0, (uintptr_t)&gp);
		reply_stop(5, pid, &gp);
	} else if (is(p, "vAttach;")) {
		attach((pid_t)strtol(p + 8, NULL, 16));
	} else if (is(p, "qXfer:threads")) {
		reply(list, list_len);
	} else if (is(p, "vCont;c")) {
		go();
	} else if (is(p, "vCont;s")) {
		step(0, 0);
	} else if (sscanf(p, "vCont;r%lx,%lx", &a, &b) == 2) {
		step(a, b);
	} else if (*p == 'm' || *p == 'x') {
		a = strtoul(rest, &rest, 16);
		b = strtoul(rest + 1, &rest, 16);
		read_memory(a, b, *p == 'm');
	} else if (*p == 'M' || *p == 'X') {
		a = strtoul(rest, &rest, 16);
		strtoul(rest + 1, &rest, 16);
		store_memory(a, rest + 1, len - (size_t)(rest + 1 - p), *p == 'M');
	} else if (*p == 'Z') {
		insert(p[1], strtoul(p + 3, NULL, 16), strstr(p, ";X"));
		reply_text("OK");
	} else if (*p == 'z') {
		drop();
		reply_text("OK");
	} else if (*p == 'D') {
		detach();
	} else {
		reply_text("");
	}
}

static void take(void)
{
	taken = 0;
	while (taken < in_len) {
		if (in[taken] != '$') {
			taken++;
			continue;
		}
		uint8_t *packet = in + taken + 1, *hash = memchr(packet, '#', in_len - taken - 1);
		if (!hash || hash + 3 > in + in_len)
			break;
		*hash = 0;
		taken = (size_t)(hash - in) + 3;
		serve((char *)packet, (size_t)(hash - packet));
	}
	memmove(in, in + taken, in_len - taken);
	in_len -= taken;
}

static void wait_for_client(int port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int one = 1, s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (s < 0 || bind(s, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(s, 1) < 0)
		fail("listen");
	client = accept(s, NULL, NULL);
	if (client < 0)
		fail("accept");
	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	close(s);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	hitters = strtoul(argv[2], NULL, 10);
	if (argc > 3)
		launch(argv + 3);
	wait_for_client(atoi(argv[1]));
	for (;;) {
		ssize_t n = recv(client, in + in_len, sizeof(in) - 1 - in_len, 0);
		if (n <= 0)
			return 0;
		in_len += (size_t)n;
		take();
	}
}
