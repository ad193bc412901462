#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "server/hostio.h"

static char folder[] = "/tmp/hostio-XXXXXX";

static void path_of(char *into, size_t size, const char *name)
{
	snprintf(into, size, "%s/%s", folder, name);
}

static void files_live_as_long_as_the_session(void **state)
{
	struct hostio io;
	struct stat st;
	char path[128], back[16], link[128];

	(void)state;
	hostio_init(&io);
	path_of(path, sizeof(path), "a");
	int fd = hostio_open(&io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(hostio_pwrite(&io, (uint64_t)fd, "hello", 5, 2), 5);
	assert_int_equal(hostio_pread(&io, (uint64_t)fd, back, sizeof(back), 3), 4);
	assert_memory_equal(back, "ello", 4);
	assert_int_equal(hostio_pread(&io, (uint64_t)fd, back, sizeof(back), 100), 0);
	assert_int_equal(hostio_pread(&io, (uint64_t)fd, back, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(hostio_fstat(&io, (uint64_t)fd, &st), 0);
	assert_int_equal(st.st_size, 7);
	path_of(link, sizeof(link), "l");
	assert_int_equal(symlink("a", link), 0);
	assert_int_equal(hostio_stat(&io, link, true, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(hostio_stat(&io, link, false, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(hostio_readlink(&io, link, back, sizeof(back)), 1);
	assert_int_equal(hostio_unlink(&io, link), 0);
	assert_int_equal(hostio_unlink(&io, path), 0);
	assert_int_equal(hostio_close(&io, (uint64_t)fd), 0);
	assert_int_equal(hostio_close(&io, (uint64_t)fd), -EBADF);
	assert_int_equal(hostio_close(&io, UINT64_MAX), -EBADF);
	hostio_fini(&io);
}

/* The file's own bytes, some of the first replaced, a gap, more behind: by whatever pieces it is read. */
static void a_file_that_is_covered(void **state)
{
	struct hostio io;
	struct stat st;
	char path[128];
	uint8_t want[40], got[64];
	struct overlay *o = overlay_new(100);

	(void)state;
	hostio_init(&io);
	path_of(path, sizeof(path), "covered");
	int fd = hostio_open(&io, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(hostio_pwrite(&io, (uint64_t)fd, "0123456789abcdefghi", 19, 0), 19);
	assert_int_equal(hostio_close(&io, (uint64_t)fd), 0);
	fd = hostio_open(&io, path, O_RDONLY, 0);

	memcpy(o->head, "HEAD", 4);
	o->head_len = 4;
	o->base = 19;
	o->at = 24;
	buf_puts(&o->tail, "and more behind!");
	memcpy(want, "HEAD456789abcdefghi\0\0\0\0\0and more behind!", sizeof(want));
	hostio_cover(&io, (uint64_t)fd, o);
	assert_int_equal(o->refs, 2);
	assert_int_equal(hostio_fstat(&io, (uint64_t)fd, &st), 0);
	assert_int_equal(st.st_size, sizeof(want));
	for (size_t from = 0; from <= sizeof(want); from++) {
		for (size_t len = 0; len <= sizeof(want) + 2; len++) {
			size_t n = MIN(len, sizeof(want) - from);
			memset(got, 0xee, sizeof(got));
			assert_int_equal(hostio_pread(&io, (uint64_t)fd, got, len, from), n);
			assert_memory_equal(got, want + from, n);
			assert_int_equal(got[n], 0xee);
		}
	}
	/* Cut short under us: what is left. */
	assert_int_equal(truncate(path, 7), 0);
	assert_int_equal(hostio_pread(&io, (uint64_t)fd, got, sizeof(got), 2), 5);
	assert_memory_equal(got, "AD456", 5);
	assert_int_equal(hostio_close(&io, (uint64_t)fd), 0);
	assert_int_equal(o->refs, 1);
	assert_null(overlay_unref(o));
	assert_int_equal(hostio_unlink(&io, path), 0);
	hostio_fini(&io);
}

static void there_are_only_so_many(void **state)
{
	struct hostio io;

	(void)state;
	hostio_init(&io);
	for (int i = 0; i < HOSTIO_FILES_MAX; i++)
		assert_int_equal(hostio_open(&io, "/dev/null", O_RDONLY, 0), i);
	assert_int_equal(hostio_open(&io, "/dev/null", O_RDONLY, 0), -EMFILE);
	assert_int_equal(hostio_close(&io, 7), 0);
	assert_int_equal(hostio_open(&io, "/dev/null", O_RDONLY, 0), 7);
	int last = io.fds[HOSTIO_FILES_MAX - 1];
	hostio_fini(&io);
	assert_int_equal(fcntl(last, F_GETFD), -1);
}

static void a_fifo_without_a_writer_does_not_hang(void **state)
{
	struct hostio io;
	char path[128];

	(void)state;
	hostio_init(&io);
	path_of(path, sizeof(path), "f");
	assert_int_equal(mkfifo(path, 0600), 0);
	int fd = hostio_open(&io, path, O_RDONLY, 0);
	assert_true(fd >= 0);
	char byte;
	assert_int_equal(hostio_pread(&io, (uint64_t)fd, &byte, 1, 0), 0);
	hostio_fini(&io);
	unlink(path);
}

/* A child with a mount namespace of its own, and a file system over the folder; -1: not permitted here. */
static pid_t start_container(int *ret_end)
{
	int ready[2], end[2];
	char ok = 0;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(end, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		char path[128];
		ok = unshare(CLONE_NEWNS) == 0 &&
		     mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
		     mount("t", folder, "tmpfs", 0, "size=64k") == 0;
		path_of(path, sizeof(path), "inside");
		close(open(path, O_CREAT | O_WRONLY, 0600));
		path_of(path, sizeof(path), "out");
		if (symlink("../../../../../../etc", path) < 0)
			ok = 0;
		if (write(ready[1], &ok, 1) != 1)
			_exit(1);
		close(end[1]);
		ssize_t n = read(end[0], &ok, 1);
		_exit(n != 0);
	}
	close(ready[1]);
	close(end[0]);
	if (read(ready[0], &ok, 1) != 1)
		ok = 0;
	close(ready[0]);
	*ret_end = end[1];
	return ok ? pid : -1;
}

static void paths_mean_what_the_process_sees(void **state)
{
	struct hostio io;
	struct stat st;
	char path[128], link[64];
	int end;

	(void)state;
	pid_t pid = start_container(&end);
	if (pid < 0)
		skip();
	hostio_init(&io);
	path_of(path, sizeof(path), "inside");
	assert_int_equal(hostio_stat(&io, path, true, &st), -ENOENT);
	assert_int_equal(hostio_setfs(&io, pid), 0);
	assert_int_equal(hostio_stat(&io, path, true, &st), 0);
	int fd = hostio_open(&io, path, O_RDONLY, 0);
	assert_true(fd >= 0);
	/* No link leads out of the root it was found in, but to where the process itself would come. */
	path_of(path, sizeof(path), "out/passwd");
	assert_int_equal(hostio_stat(&io, path, true, &st), 0);
	path_of(path, sizeof(path), "out");
	assert_int_equal(hostio_readlink(&io, path, link, sizeof(link)), 21);
	path_of(path, sizeof(path), "inside");
	assert_int_equal(hostio_readlink(&io, path, link, sizeof(link)), -EINVAL);
	assert_int_equal(hostio_unlink(&io, path), 0);
	assert_int_equal(hostio_stat(&io, path, true, &st), -ENOENT);
	assert_int_equal(hostio_setfs(&io, 0), 0);
	assert_int_equal(io.root, -1);
	hostio_fini(&io);
	close(end);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_live_as_long_as_the_session),
		cmocka_unit_test(a_file_that_is_covered),
		cmocka_unit_test(there_are_only_so_many),
		cmocka_unit_test(a_fifo_without_a_writer_does_not_hang),
		cmocka_unit_test(paths_mean_what_the_process_sees),
	};
	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
