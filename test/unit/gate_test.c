#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <cmocka.h>

#include "base/util.h"
#include "server/gate.h"
#include "server/loop.h"
#include "server/options.h"

struct door {
	bool open; /* take the next client */
	int taken, in_fd, out_fd;
};

static bool on_client(void *ctx, int in_fd, int out_fd)
{
	struct door *d = ctx;
	if (!d->open)
		return false;
	d->taken++;
	d->in_fd = in_fd;
	d->out_fd = out_fd;
	return true;
}

static struct options options_for(const char *comm)
{
	struct options o = { .as = AS_LLDB_SERVER, .port_pipe = -1 }; /* says nothing on stderr */
	assert_int_equal(comm_parse(comm, true, &o.comm, NULL), 0);
	return o;
}

static void a_socket_lets_in_and_turns_away(void **state _unused_)
{
	char dir[] = "/tmp/stopgo-gate-XXXXXX", path[64];
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
	struct options o = options_for(path);
	struct loop *loop = loop_new();
	struct door d = { .open = true };
	struct gate *g;
	int told[2];
	assert_int_equal(pipe(told), 0);
	o.port_pipe = told[1];

	assert_int_equal(gate_open(&o, &g, NULL), 0);
	assert_false(gate_is_single(g));
	assert_int_equal(gate_announce(g, NULL), 0);
	char text[128] = "";
	assert_int_equal(read(told[0], text, sizeof(text)), (ssize_t)strlen(path) + 1);
	assert_string_equal(text, path);
	assert_int_equal(gate_announce(g, NULL),
			 0); /* again, for the next client: the pipe is closed by now */
	gate_admit(g, loop, on_client, &d);

	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	memcpy(sa.sun_path, path, strlen(path));
	int fd[2];
	for (int i = 0; i < 2; i++) {
		fd[i] = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(connect(fd[i], (struct sockaddr *)&sa, sizeof(sa)), 0);
		loop_once(loop, true);
		d.open = false;
	}
	assert_int_equal(d.taken, 1);
	assert_int_equal(d.in_fd, d.out_fd);
	char byte;
	assert_int_equal(read(fd[1], &byte, 1), 0);

	gate_close(g);
	int late = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(late, (struct sockaddr *)&sa, sizeof(sa)), -1);
	gate_free(g);
	loop_free(loop);
	close(late);
	close(fd[0]);
	close(fd[1]);
	close(d.in_fd);
	close(told[0]);
	rmdir(dir);
}

static void an_inherited_descriptor_is_the_client(void **state _unused_)
{
	int fd[2];
	char text[16];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	snprintf(text, sizeof(text), "fd:%d", fd[0]);
	struct options o = options_for(text);
	struct door d = { .open = true };
	struct gate *g;
	assert_int_equal(gate_open(&o, &g, NULL), 0);
	assert_true(gate_is_single(g));
	gate_admit(g, NULL, on_client, &d);
	assert_int_equal(d.taken, 1);
	assert_int_equal(d.in_fd, fd[0]);
	assert_true(fcntl(fd[0], F_GETFD) & FD_CLOEXEC);
	gate_free(g);
	close(fd[0]);
	close(fd[1]);

	struct err err = { 0 };
	o = options_for("fd:987");
	assert_int_equal(gate_open(&o, &g, &err), -EBADF);
	assert_non_null(strstr(err.text, "987"));
}

static void a_terminal_becomes_raw(void **state _unused_)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);
	if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
		skip();
	struct options o = options_for(ptsname(master));
	struct door d = { .open = true };
	struct gate *g;
	assert_int_equal(o.comm.kind, COMM_TTY);
	assert_int_equal(gate_open(&o, &g, NULL), 0);
	gate_admit(g, NULL, on_client, &d);
	struct termios t;
	assert_int_equal(tcgetattr(d.in_fd, &t), 0);
	assert_false(t.c_lflag & (ICANON | ECHO | ISIG));
	gate_free(g);
	close(d.in_fd);
	close(master);

	o = options_for("/dev/null");
	struct err err = { 0 };
	assert_int_equal(gate_open(&o, &g, &err), -ENOTTY);
	assert_non_null(strstr(err.text, "no terminal"));
}

/* Done in a child, as it takes our standard streams away. */
static void standard_streams_are_set_aside(void **state _unused_)
{
	int in[2], out[2];
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	pid_t pid = fork();
	if (!pid) {
		struct options o = options_for("-");
		struct door d = { .open = true };
		struct gate *g;
		struct stat null, zero;
		char byte = 0;
		dup2(in[0], 0);
		dup2(out[1], 1);
		bool ok = gate_open(&o, &g, NULL) == 0;
		gate_admit(g, NULL, on_client, &d);
		ok = ok && d.in_fd > 2 && d.out_fd > 2 && d.in_fd != d.out_fd;
		ok = ok && read(d.in_fd, &byte, 1) == 1 && byte == 'x' &&
		     write(d.out_fd, "y", 1) == 1;
		ok = ok && stat("/dev/null", &null) == 0 && fstat(0, &zero) == 0 &&
		     null.st_rdev == zero.st_rdev;
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(write(in[1], "x", 1), 1);
	char byte = 0;
	assert_int_equal(read(out[0], &byte, 1), 1);
	assert_int_equal(byte, 'y');
	int status;
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_socket_lets_in_and_turns_away),
		cmocka_unit_test(an_inherited_descriptor_is_the_client),
		cmocka_unit_test(a_terminal_becomes_raw),
		cmocka_unit_test(standard_streams_are_set_aside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
