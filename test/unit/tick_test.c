/* The tick: waitpid() comes back, and nothing else that blocks is disturbed by it. */
#include "target/live/tick.h"

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WAITS = 50, LATE_NS = 5000000 };

/* Each time it is told to: a while later it answers. Until the pipe is closed. */
static pid_t start_answering(const int tell[2], int answers)
{
	pid_t pid = fork();
	if (pid)
		return pid;
	char byte;
	close(tell[1]);
	while (read(tell[0], &byte, 1) == 1) {
		nanosleep(&(struct timespec){ .tv_nsec = LATE_NS }, NULL);
		if (write(answers, &byte, 1) != 1)
			break;
	}
	_exit(7);
}

static void a_wait_for_what_does_not_come_ends_and_a_read_goes_on(void **state)
{
	(void)state;
	int tell[2], answer[2], status = 0;
	assert_int_equal(pipe(tell), 0);
	assert_int_equal(pipe(answer), 0);
	pid_t pid = start_answering(tell, answer[1]);
	assert_true(pid > 0);
	close(tell[0]);

	char byte = 'x';
	for (int i = 0; i < WAITS; i++) {
		unsigned began = tick_count();
		assert_int_equal(tick_wait(pid, &status), 0);
		assert_int_not_equal(tick_count(), began);
		assert_int_equal(write(tell[1], &byte, 1), 1);
		assert_int_equal(read(answer[0], &byte, 1), 1); /* the timer runs on into this */
	}
	close(tell[1]);

	pid_t got;
	while ((got = tick_wait(pid, &status)) == 0)
		;
	assert_int_equal(got, pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
	assert_true(tick_wait(pid, &status) < 0);
	close(answer[0]);
	close(answer[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_wait_for_what_does_not_come_ends_and_a_read_goes_on),
	};
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
