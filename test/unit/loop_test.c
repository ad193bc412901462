#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>
#include <cmocka.h>

#include "server/loop.h"

struct seen {
	struct loop *loop;
	struct watch watch;
	struct timer timer;
	int fd;
	int bytes;
	int ticks;
	bool stop;
};

static void on_ready(void *ctx, unsigned events)
{
	struct seen *s = ctx;
	char byte;
	assert_int_equal(events, LOOP_READ);
	if (read(s->fd, &byte, 1) == 1)
		s->bytes++;
	if (s->stop) {
		watch_stop(&s->watch);
		loop_stop(s->loop);
	}
}

static void on_due(void *ctx)
{
	struct seen *s = ctx;
	if (++s->ticks < 3)
		timer_start(s->loop, &s->timer, 1, on_due, s);
	else
		loop_stop(s->loop);
}

static long now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void reads_until_it_is_stopped(void **state _unused_)
{
	int fd[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fd), 0);
	struct seen s = { .loop = loop_new(), .fd = fd[0] };
	watch_start(s.loop, &s.watch, fd[0], LOOP_READ, on_ready, &s);
	loop_once(s.loop, false);
	assert_int_equal(s.bytes, 0);
	assert_int_equal(write(fd[1], "ab", 2), 2);
	loop_once(s.loop, true);
	assert_int_equal(s.bytes, 1);
	s.stop = true;
	loop_run(s.loop);
	assert_int_equal(s.bytes, 2);
	assert_null(s.watch.loop);
	assert_int_equal(write(fd[1], "c", 1), 1);
	loop_once(s.loop, false);
	assert_int_equal(s.bytes, 2);
	watch_stop(&s.watch);
	loop_free(s.loop);
	close(fd[0]);
	close(fd[1]);
}

static void timers_fire_once_and_may_be_set_again(void **state _unused_)
{
	struct seen s = { .loop = loop_new() };
	long start = now_ms();
	timer_start(s.loop, &s.timer, 60000, on_due, &s);
	timer_start(s.loop, &s.timer, 20, on_due, &s);
	loop_run(s.loop);
	assert_int_equal(s.ticks, 3);
	assert_in_range(now_ms() - start, 20, 59000);
	timer_start(s.loop, &s.timer, 0, on_due, &s);
	timer_stop(&s.timer);
	timer_stop(&s.timer);
	loop_once(s.loop, false);
	assert_int_equal(s.ticks, 3);
	loop_free(s.loop);
}

/* Redirected input is a regular file, which epoll refuses: it counts as always ready. */
static void a_plain_file_is_ready(void **state _unused_)
{
	struct seen s = { .loop = loop_new(),
			  .fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
			  .stop = true };
	watch_start(s.loop, &s.watch, s.fd, LOOP_READ, on_ready, &s);
	loop_run(s.loop);
	assert_int_equal(s.bytes, 1);
	loop_free(s.loop);
	close(s.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_until_it_is_stopped),
		cmocka_unit_test(timers_fire_once_and_may_be_set_again),
		cmocka_unit_test(a_plain_file_is_ready),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
