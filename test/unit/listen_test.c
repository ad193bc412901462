#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <cmocka.h>

#include "server/listen.h"

static const struct listen_how local_only = { 0 };

static struct comm comm_of(const char *text)
{
	struct comm c;
	assert_int_equal(comm_parse(text, false, &c, NULL), 0);
	return c;
}

static int connect_v4(int port)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in sa = { .sin_family = AF_INET,
				  .sin_port = htons((uint16_t)port),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

struct got {
	int clients;
	int fd;
	struct listen_peer peer;
};

static void on_client(void *ctx, int fd, const struct listen_peer *peer)
{
	struct got *g = ctx;
	g->clients++;
	g->fd = fd;
	g->peer = *peer;
}

static void a_client_arrives_on_the_port_that_was_told(void **state _unused_)
{
	struct loop *loop = loop_new();
	struct listener *l;
	struct comm c = comm_of(":0");
	struct got got = { 0 };

	assert_int_equal(listener_new(&c, &local_only, &l, NULL), 0);
	assert_in_range(listener_port(l), 1, 65535);
	assert_false(listener_is_remote(l));
	listener_start(l, loop, on_client, &got);

	int fd = connect_v4(listener_port(l));
	assert_true(fd >= 0);
	loop_once(loop, true);
	assert_int_equal(got.clients, 1);
	assert_string_equal(got.peer.name, "127.0.0.1");
	assert_in_range(got.peer.port, 1, 65535);
	int on = 0;
	socklen_t len = sizeof(on);
	assert_int_equal(getsockopt(got.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
	assert_int_not_equal(on, 0);

	/* The same port again is in use, on whichever of the loopback addresses. */
	struct comm again = comm_of("localhost:0");
	struct listener *second;
	struct err err = { 0 };
	again.port = (uint16_t)listener_port(l);
	assert_int_equal(listener_new(&again, &local_only, &second, &err), -EADDRINUSE);
	char wanted[200];
	snprintf(wanted, sizeof(wanted),
		 "Can't bind address: Address already in use. Port %d is taken: give another one, "
		 "or 0 for any that is free",
		 listener_port(l));
	assert_string_equal(err.text, wanted);

	close(fd);
	close(got.fd);
	listener_free(l);
	loop_free(loop);
}

static void other_machines_are_refused_unless_allowed(void **state _unused_)
{
	static const char *const wide[] = { "*:0", "0.0.0.0:0", "[::]:0",
					    "tcp6:[::ffff:0.0.0.0]:0" };
	struct listener *l;

	for (size_t i = 0; i < ARRAY_SIZE(wide); i++) {
		struct comm c = comm_of(wide[i]);
		struct err err = { 0 };
		assert_int_equal(listener_new(&c, &local_only, &l, &err), -EPERM);
		assert_non_null(strstr(err.text, "ssh -L"));
		assert_non_null(strstr(err.text, "--allow-remote"));
	}
	struct comm c = comm_of("*:0");
	assert_int_equal(listener_new(&c, &(struct listen_how){ .allow_remote = true }, &l, NULL),
			 0);
	assert_true(listener_is_remote(l));
	listener_free(l);

	struct comm mapped = comm_of("[::ffff:127.0.0.1]:0");
	int r = listener_new(&mapped, &local_only, &l, NULL);
	assert_int_not_equal(r, -EPERM);
	if (!r)
		listener_free(l);
}

static void an_empty_host_is_loopback_unless_said_otherwise(void **state _unused_)
{
	struct listener *l;
	struct comm c = comm_of(":0");
	assert_int_equal(listener_new(&c, &(struct listen_how){ .allow_remote = true }, &l, NULL),
			 0);
	assert_false(listener_is_remote(l));
	listener_free(l);
	assert_int_equal(listener_new(&c, &(struct listen_how){ .empty_is_any = true }, &l, NULL),
			 0);
	assert_false(listener_is_remote(l));
	listener_free(l);
	struct listen_how both = { .allow_remote = true, .empty_is_any = true };
	assert_int_equal(listener_new(&c, &both, &l, NULL), 0);
	assert_true(listener_is_remote(l));
	listener_free(l);
}

static void a_socket_file_is_private_and_goes_away(void **state _unused_)
{
	char dir[] = "/tmp/stopgo-listen-XXXXXX", text[64];
	assert_non_null(mkdtemp(dir));
	snprintf(text, sizeof(text), "unix:%s/s", dir);
	struct comm c = comm_of(text);
	struct listener *l, *second;
	struct stat st;

	assert_int_equal(listener_new(&c, &local_only, &l, NULL), 0);
	assert_int_equal(lstat(c.path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(listener_port(l), -1);
	assert_int_equal(listener_new(&c, &local_only, &second, NULL), -EADDRINUSE);
	assert_int_equal(lstat(c.path, &st), 0);

	struct loop *loop = loop_new();
	struct got got = { 0 };
	listener_start(l, loop, on_client, &got);
	int fd;
	struct listen_peer peer;
	struct comm call = c;
	call.connect = true;
	assert_int_equal(listen_connect(&call, &local_only, &fd, &peer, NULL), 0);
	loop_once(loop, true);
	assert_int_equal(got.clients, 1);
	assert_string_equal(got.peer.name, c.path);
	close(fd);
	close(got.fd);
	listener_free(l);
	loop_free(loop);
	assert_int_equal(lstat(c.path, &st), -1);

	/* A socket left behind by a server that was killed is taken over; a file is not. */
	int left = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	memcpy(sa.sun_path, c.path, strlen(c.path));
	assert_int_equal(bind(left, (struct sockaddr *)&sa, sizeof(sa)), 0);
	close(left);
	assert_int_equal(listener_new(&c, &local_only, &l, NULL), 0);
	listener_free(l);

	FILE *f = fopen(c.path, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(listener_new(&c, &local_only, &l, NULL), -EADDRINUSE);
	assert_int_equal(lstat(c.path, &st), 0);
	unlink(c.path);
	rmdir(dir);
}

/* Even with its bytes unread a client that is turned away sees an end, not a reset. */
static void refusing_is_a_clean_close(void **state _unused_)
{
	struct loop *loop = loop_new();
	struct listener *l;
	struct comm c = comm_of("127.0.0.1:0");
	struct got got = { 0 };

	assert_int_equal(listener_new(&c, &local_only, &l, NULL), 0);
	listener_start(l, loop, on_client, &got);
	for (int i = 0; i < 12; i++) {
		int fd = connect_v4(listener_port(l));
		assert_int_equal(write(fd, "+$qSupported:x#00", 17), 17);
		loop_once(loop, true);
		listener_refuse(l, got.fd);
		char byte;
		assert_int_equal(read(fd, &byte, 1), 0);
		close(fd);
		loop_once(loop, false);
		loop_once(loop, false);
	}
	assert_int_equal(got.clients, 12);
	listener_free(l);
	loop_free(loop);
}

static void calls_a_client_that_waits(void **state _unused_)
{
	struct listener *l;
	struct comm c = comm_of("127.0.0.1:0"), call = comm_of("connect://127.0.0.1:1");
	assert_int_equal(listener_new(&c, &local_only, &l, NULL), 0);
	call.port = (uint16_t)listener_port(l);

	int fd;
	struct listen_peer peer;
	assert_int_equal(listen_connect(&call, &local_only, &fd, &peer, NULL), 0);
	assert_int_equal(peer.port, listener_port(l));
	close(fd);
	listener_free(l);

	struct err err = { 0 };
	assert_int_equal(listen_connect(&call, &local_only, &fd, &peer, &err), -ECONNREFUSED);
	assert_non_null(strstr(err.text, "cannot connect"));
	call = comm_of("connect://192.0.2.1:1");
	assert_int_equal(listen_connect(&call, &local_only, &fd, &peer, &err), -EPERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_client_arrives_on_the_port_that_was_told),
		cmocka_unit_test(other_machines_are_refused_unless_allowed),
		cmocka_unit_test(an_empty_host_is_loopback_unless_said_otherwise),
		cmocka_unit_test(a_socket_file_is_private_and_goes_away),
		cmocka_unit_test(refusing_is_a_clean_close),
		cmocka_unit_test(calls_a_client_that_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
