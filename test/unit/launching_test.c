#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "server/launching.h"

static const char *value_of(const struct launching *l, const char *name)
{
	size_t n = strlen(name);
	for (char **p = l->envp ? l->envp : environ; *p; p++)
		if (!strncmp(*p, name, n) && (*p)[n] == '=')
			return *p + n + 1;
	return NULL;
}

static void set_env(struct launching *l, const char *name, const char *value)
{
	assert_int_equal(launching_set_env(l, name, strlen(name), value), 0);
}

static void environment_is_ours_with_changes(void **state)
{
	struct launching l;
	(void)state;
	setenv("STOPGO_A", "1", 1);
	launching_init(&l);
	set_env(&l, "STOPGO_B", "x=y");
	assert_string_equal(value_of(&l, "STOPGO_A"), "1");
	assert_string_equal(value_of(&l, "STOPGO_B"), "x=y");
	set_env(&l, "STOPGO_B", "");
	assert_string_equal(value_of(&l, "STOPGO_B"), "");
	set_env(&l, "STOPGO_A", NULL);
	assert_null(value_of(&l, "STOPGO_A"));
	set_env(&l, "STOPGO_NONE", NULL);
	/* The beginning of a name is another name. */
	set_env(&l, "STOPGO_BB", "2");
	set_env(&l, "STOPGO_B", NULL);
	assert_string_equal(value_of(&l, "STOPGO_BB"), "2");
	assert_string_equal(getenv("STOPGO_A"), "1");
	launching_reset_env(&l);
	assert_string_equal(value_of(&l, "STOPGO_A"), "1");
	assert_null(l.envp);
	launching_fini(&l);
}

static void names_that_are_none_are_refused(void **state)
{
	struct launching l;
	(void)state;
	launching_init(&l);
	assert_int_equal(launching_set_env(&l, "", 0, "x"), -EINVAL);
	assert_int_equal(launching_set_env(&l, "a=b", 3, "x"), -EINVAL);
	assert_int_equal(launching_set_env(&l, "a\0b", 3, "x"), -EINVAL);
	launching_fini(&l);
}

static void a_file_of_this_folder_is_started_from_it(void **state)
{
	char folder[] = "/tmp/launching-XXXXXX", wanted[64];
	struct launching l;
	struct launch how;

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	close(open("prog", O_CREAT | O_WRONLY, 0700));
	launching_init(&l);
	assert_int_equal(launching_set_program(&l, (char *[]){ "prog", "a b", NULL }), 0);
	launching_fill(&l, &how);
	snprintf(wanted, sizeof(wanted), "%s/prog", folder);
	assert_string_equal(how.argv[0], wanted);
	assert_string_equal(how.argv[1], "a b");
	assert_null(how.argv[2]);
	assert_true(how.shell);
	assert_false(how.aslr);
	/* What is elsewhere, or named with a folder, stays as it is. */
	assert_int_equal(launching_set_program(&l, (char *[]){ "other", NULL }), 0);
	assert_string_equal(l.argv[0], "other");
	assert_int_equal(launching_set_program(&l, (char *[]){ "./prog", NULL }), 0);
	assert_string_equal(l.argv[0], "./prog");
	assert_int_equal(launching_set_program(&l, NULL), 0);
	assert_null(l.argv);
	launching_fini(&l);
	unlink("prog");
	assert_int_equal(chdir("/"), 0);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(environment_is_ours_with_changes),
		cmocka_unit_test(names_that_are_none_are_refused),
		cmocka_unit_test(a_file_of_this_folder_is_started_from_it),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
