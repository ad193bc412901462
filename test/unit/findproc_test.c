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
static char longer[2][96]; /* two whose names are alike for longer than the kernel keeps them */

/* Programs of names that nobody else has. */
static int make_program(void **state _unused_)
{
	char command[512];
	assert_non_null(mkdtemp(dir));
	snprintf(name, sizeof(name), "findme-%d", getpid());
	snprintf(program, sizeof(program), "%s/%s", dir, name);
	for (int i = 0; i < 2; i++)
		snprintf(longer[i], sizeof(longer[i]), "%s/findme-by-my-name-%d-%d", dir, getpid(),
			 i);
	snprintf(command, sizeof(command), "cp /bin/sleep %s && ln %s %s && ln %s %s", program,
		 program, longer[0], program, longer[1]);
	return system(command);
}

static int drop_program(void **state _unused_)
{
	unlink(program);
	unlink(longer[0]);
	unlink(longer[1]);
	return rmdir(dir);
}

static pid_t start(const char *path)
{
	int started[2];
	char byte;
	assert_int_equal(pipe(started), 0);
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		fcntl(started[1], F_SETFD, FD_CLOEXEC);
		close(started[0]);
		execl(path, path, "60", (char *)NULL);
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

	pid_t first = start(program);
	assert_int_equal(findproc_by_name(name, &found, &err), 0);
	assert_int_equal(found, first);
	assert_int_equal(findproc_by_name(program, &found, &err), 0);
	assert_int_equal(findproc_by_name("/nowhere/findme", &found, &err), -ESRCH);

	pid_t second = start(program);
	char both[64];
	assert_int_equal(findproc_by_name(name, &found, &err), -EINVAL);
	snprintf(both, sizeof(both), "%d", second);
	assert_non_null(strstr(err.text, both));
	finish(first);
	finish(second);
}

/* What ps shows is the same for both. */
static void tells_long_names_apart(void **state _unused_)
{
	struct err err = { 0 };
	pid_t found = 0, pids[2] = { start(longer[0]), start(longer[1]) };

	for (int i = 0; i < 2; i++) {
		const char *file = strrchr(longer[i], '/') + 1;
		assert_int_equal(findproc_by_name(file, &found, &err), 0);
		assert_int_equal(found, pids[i]);
		unlink(longer[i]);
		assert_int_equal(findproc_by_name(file, &found, &err), 0);
		assert_int_equal(found, pids[i]);
	}
	finish(pids[0]);
	finish(pids[1]);
}

static void waits_for_one_that_is_new(void **state _unused_)
{
	struct findproc f;
	pid_t old = start(program);
	assert_int_equal(findproc_begin(&f, name), 0);
	assert_int_equal(findproc_poll(&f), 0);
	pid_t fresh = start(program);
	assert_int_equal(findproc_poll(&f), fresh);
	findproc_fini(&f);
	finish(old);
	finish(fresh);

	char longest[400];
	memset(longest, 'n', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(findproc_begin(&f, longest), -EINVAL);
	assert_int_equal(findproc_begin(&f, ""), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_by_name_and_path),
		cmocka_unit_test(tells_long_names_apart),
		cmocka_unit_test(waits_for_one_that_is_new),
	};
	return cmocka_run_group_tests(tests, make_program, drop_program);
}
