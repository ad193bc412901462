#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "server/findproc.h"

static char dir[] = "/tmp/stopgo-findproc-XXXXXX";
static char program[64], name[32];

/* A program of a name that nobody else has. */
static int make_program(void **state _unused_)
{
	char command[256];
	assert_non_null(mkdtemp(dir));
	snprintf(name, sizeof(name), "findme-%d", getpid());
	snprintf(program, sizeof(program), "%s/%s", dir, name);
	snprintf(command, sizeof(command), "cp /bin/sleep %s", program);
	return system(command);
}

static int drop_program(void **state _unused_)
{
	unlink(program);
	return rmdir(dir);
}

static pid_t start(void)
{
	int started[2];
	char byte;
	assert_int_equal(pipe(started), 0);
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fcntl(started[1], F_SETFD, FD_CLOEXEC);
		close(started[0]);
		execl(program, name, "60", (char *)NULL);
		_exit(1);
	}
	close(started[1]);
	assert_int_equal(read(started[0], &byte, 1), 0); /* the exec has happened */
	close(started[0]);
	return pid;
}

static void finish(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void finds_by_name_and_path(void **state _unused_)
{
	struct err err = { 0 };
	pid_t found = 0;
	assert_int_equal(findproc_by_name(name, &found, &err), -ESRCH);

	pid_t first = start();
	assert_int_equal(findproc_by_name(name, &found, &err), 0);
	assert_int_equal(found, first);
	assert_int_equal(findproc_by_name(program, &found, &err), 0);
	assert_int_equal(findproc_by_name("/nowhere/findme", &found, &err), -ESRCH);

	pid_t second = start();
	char both[64];
	assert_int_equal(findproc_by_name(name, &found, &err), -EINVAL);
	snprintf(both, sizeof(both), "%d", second);
	assert_non_null(strstr(err.text, both));
	finish(first);
	finish(second);
}

static void waits_for_one_that_is_new(void **state _unused_)
{
	struct findproc f;
	pid_t old = start();
	assert_int_equal(findproc_begin(&f, name), 0);
	assert_int_equal(findproc_poll(&f), 0);
	pid_t fresh = start();
	assert_int_equal(findproc_poll(&f), fresh);
	findproc_fini(&f);
	finish(old);
	finish(fresh);

	char longer[400];
	memset(longer, 'n', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(findproc_begin(&f, longer), -EINVAL);
	assert_int_equal(findproc_begin(&f, ""), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_by_name_and_path),
		cmocka_unit_test(waits_for_one_that_is_new),
	};
	return cmocka_run_group_tests(tests, make_program, drop_program);
}
