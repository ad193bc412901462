#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <cmocka.h>

#include "target/live/permit.h"

static struct permit_facts good(void)
{
	return (struct permit_facts){ .pid = 4711,
				      .exists = true,
				      .tgid = 4711,
				      .name = "app",
				      .state = 'S',
				      .live_threads = 1,
				      .elf_class = 2,
				      .allowed = true,
				      .same_user_ns = true,
				      .dumpable = true,
				      .uid = { 7, 7, 7 },
				      .our_uid = 7,
				      .yama = -1 };
}

static void expect(struct permit_facts f, int code, const char *words)
{
	struct err err = { 0 };
	int r = permit_judge(&f, &err);
	if (r != code || (words && !strstr(err.text, words)))
		fail_msg("got %d '%s', expected %d '%s'", r, err.text, code, words ? words : "");
}

static void every_refusal_says_why(void **state _unused_)
{
	struct permit_facts f = good();
	expect(f, 0, NULL);

	f = (struct permit_facts){ .pid = 4711 };
	expect(f, -ESRCH, "No such process");
	f.own_pid_ns = true;
	expect(f, -ESRCH, "PID namespace");
	f = good(), f.tgid = 4700;
	expect(f, -ESRCH, "a thread of process 4700");
	f = good(), f.state = 'Z', f.live_threads = 0;
	expect(f, -ESRCH, "zombie");
	f.live_threads = 2, f.allowed = false;
	expect(f, -EPERM, "without its first thread");

	f = good(), f.self = true;
	expect(f, -EPERM, "server itself");
	f = good(), f.kernel_thread = true, f.allowed = false;
	expect(f, -EPERM, "kernel thread");
	f = good(), f.tracer = 99, strcpy(f.tracer_name, "strace");
	expect(f, -EPERM, "already traced by process 99 (strace)");
	f = good(), f.elf_class = 1;
	expect(f, -EPERM, "32-bit");

	f = good(), f.allowed = false, f.uid[1] = 0, strcpy(f.user_name, "alice");
	expect(f, -EPERM, "belongs to user alice");
	f = good(), f.allowed = false, f.gid[2] = 1;
	expect(f, -EPERM, "belongs to user");
	f = good(), f.allowed = false, f.dumpable = false;
	expect(f, -EPERM, "not dumpable");
	f = good(), f.allowed = false, f.have_cap = true, f.same_user_ns = false;
	expect(f, -EPERM, "user namespace");
	f = good(), f.allowed = false;
	expect(f, -EPERM, "security module");
}

static void yama_is_named_with_its_level(void **state _unused_)
{
	struct permit_facts f = good();
	f.yama = 1, f.allowed = false;
	expect(f, -EPERM, "ptrace_scope=1 and 'app' is not started by this server");
	f.descendant = true;
	expect(f, -EPERM, "security module");
	f = good(), f.yama = 2, f.allowed = false;
	expect(f, -EPERM, "ptrace_scope=2");
	f.have_cap = true;
	expect(f, -EPERM, "security module");
	f = good(), f.yama = 3, f.have_cap = true;
	expect(f, -EPERM, "ptrace_scope=3");
	f = good(), f.yama = 2, f.have_cap = true;
	expect(f, 0, NULL);
}

/* The texts are long: none may be cut in the middle of the advice. */
static void no_sentence_is_cut(void **state _unused_)
{
	struct permit_facts f = good();
	struct err err = { 0 };
	f.allowed = false, f.yama = 1;
	memset(f.name, 'n', sizeof(f.name) - 1);
	assert_int_equal(permit_judge(&f, &err), -EPERM);
	assert_non_null(strstr(err.text, "ptrace_scope=0"));
	f.uid[0] = 4294967290u, memset(f.user_name, 'u', sizeof(f.user_name) - 1);
	assert_int_equal(permit_judge(&f, &err), -EPERM);
	assert_non_null(strstr(err.text, "capabilities.add)"));
	f = good(), f.allowed = false;
	assert_int_equal(permit_judge(&f, &err), -EPERM);
	assert_non_null(strstr(err.text, "capabilities.add)"));
}

static pid_t child_that_waits(void (*first)(void))
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (first)
			first();
		close(ready[0]);
		close(ready[1]);
		for (;;)
			pause();
	}
	close(ready[1]);
	char byte;
	(void)!read(ready[0], &byte, 1);
	close(ready[0]);
	return pid;
}

static void become_nobody(void)
{
	if (setgid(65534) || setuid(65534))
		_exit(1);
}

static void real_processes(void **state _unused_)
{
	struct err err = { 0 };
	assert_int_equal(permit_check(getpid(), &err), -EPERM);
	assert_int_equal(permit_check(0, &err), -ESRCH);
	assert_int_equal(permit_check(-5, &err), -ESRCH);
	assert_int_equal(permit_check(0x3fffffff, &err), -ESRCH);

	pid_t pid = child_that_waits(NULL);
	struct permit_facts f;
	permit_look(pid, &f);
	assert_true(f.exists);
	assert_true(f.descendant);
	assert_false(f.kernel_thread);
	assert_int_equal(f.elf_class, 2);
	assert_int_equal(f.uid[0], getuid());
	kill(pid, SIGKILL);
	siginfo_t si;
	assert_int_equal(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT), 0);
	assert_int_equal(permit_check(pid, &err), -ESRCH);
	assert_non_null(strstr(err.text, "zombie"));
	waitpid(pid, NULL, 0);
	assert_int_equal(permit_check(pid, &err), -ESRCH);
}

/* What the kernel says to somebody else, asked by a child that has become somebody else. */
static void another_users_process(void **state _unused_)
{
	if (getuid() != 0)
		skip();
	pid_t victim = child_that_waits(NULL);
	pid_t asker = fork();
	if (!asker) {
		struct err err = { 0 };
		become_nobody();
		int r = permit_check(victim, &err);
		_exit(r == -EPERM && strstr(err.text, "belongs to user root") ? 0 : 1);
	}
	int status;
	waitpid(asker, &status, 0);
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
	assert_int_equal(status, 0);

	victim = child_that_waits(become_nobody);
	struct permit_facts f;
	permit_look(victim, &f);
	assert_int_equal(f.uid[0], 65534);
	assert_false(f.dumpable);
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_refusal_says_why),
		cmocka_unit_test(yama_is_named_with_its_level),
		cmocka_unit_test(no_sentence_is_cut),
		cmocka_unit_test(real_processes),
		cmocka_unit_test(another_users_process),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
