#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "target/live/task.h"

/* The whole of a small /proc file; length, or -errno. Always NUL-terminated. */
static ssize_t read_file(const char *path, char *into, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	size_t have = 0;
	while (have < size - 1) {
		ssize_t n = read(fd, into + have, size - 1 - have);
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		have += (size_t)n;
	}
	into[have] = 0;
	return (ssize_t)have;
}

static int open_stat(pid_t pid, pid_t tid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

/* A line, written anew for each read from its beginning. */
static bool read_stat(int fd, char *line, size_t size)
{
	ssize_t n = fd < 0 ? -1 : pread(fd, line, size - 1, 0);
	line[MAX(n, (ssize_t)0)] = 0;
	return n > 0;
}

/* The thread that a client goes from stop to stop with is asked about each time. */
static bool read_stat_again(struct live *live, pid_t pid, pid_t tid, char *line, size_t size)
{
	if (live->stat_fd >= 0 && live->stat_tid == tid && read_stat(live->stat_fd, line, size))
		return true;
	if (live->stat_fd >= 0)
		close(live->stat_fd);
	live->stat_fd = open_stat(pid, tid);
	live->stat_tid = tid;
	return read_stat(live->stat_fd, line, size);
}

/* The text behind the command's name, which itself may hold blanks and parentheses: "S ppid ..." */
static const char *stat_fields(char *line, const char **ret_name, size_t *ret_name_len)
{
	char *open = strchr(line, '('), *close = strrchr(line, ')');
	if (!open || !close || close < open || close[1] != ' ')
		return NULL;
	if (ret_name) {
		*ret_name = open + 1;
		*ret_name_len = (size_t)(close - open - 1);
	}
	return close + 2;
}

char proc_state(pid_t pid, pid_t tid)
{
	_cleanup_close_ int fd = open_stat(pid, tid);
	char line[1024];
	const char *fields =
		read_stat(fd, line, sizeof(line)) ? stat_fields(line, NULL, NULL) : NULL;
	return fields ? *fields : 0;
}

bool proc_has_shadow_stack(pid_t pid)
{
	char path[64], text[8192];
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_file(path, text, sizeof(text)) <= 0)
		return false;
	const char *features = strstr(text, "x86_Thread_features:");
	const char *end = features ? strchr(features, '\n') : NULL;
	const char *word = features ? strstr(features, "shstk") : NULL;
	return word && (!end || word < end);
}

bool proc_catches(pid_t pid, int signo)
{
	char path[64], text[8192];
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	if (read_file(path, text, sizeof(text)) <= 0)
		return false;
	const char *caught = strstr(text, "SigCgt:");
	return caught && strtoull(caught + 7, NULL, 16) >> (signo - 1) & 1;
}

bool proc_relatives(pid_t tid, pid_t *ret_group, pid_t *ret_parent)
{
	char path[64], text[8192];
	snprintf(path, sizeof(path), "/proc/%d/status", tid);
	if (read_file(path, text, sizeof(text)) <= 0)
		return false;
	const char *group = strstr(text, "\nTgid:"), *parent = strstr(text, "\nPPid:");
	if (!group || !parent)
		return false;
	*ret_group = atoi(group + 6);
	*ret_parent = atoi(parent + 6);
	return true;
}

int proc_is_filtered(pid_t pid, pid_t tid)
{
	char path[64], text[8192];
	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	ssize_t n = read_file(path, text, sizeof(text));
	if (n < 0)
		return (int)n;
	const char *mode = strstr(text, "\nSeccomp:");
	return mode && strtol(mode + 9, NULL, 10) != 0;
}

int live_thread_info(struct target *t, pid_t tid, struct thread_info *ret)
{
	struct task *task = proc_task(proc_of(t), tid);
	if (!task)
		return -ESRCH;

	char line[1024];
	const char *name = "";
	size_t name_len = 0;
	const char *field = NULL;
	if (read_stat_again(task->proc->live, t->pid, tid, line, sizeof(line)))
		field = stat_fields(line, &name, &name_len);
	*ret = (struct thread_info){ .core = -1, .stopped = task->state == TASK_STOPPED };
	if (!field)
		return 0;
	name_len = MIN(name_len, sizeof(ret->name) - 1);
	memcpy(ret->name, name, name_len);

	/* "processor" is field 39 of proc(5); the state is field 3 */
	for (int i = 3; i < 39 && field; i++) {
		field = strchr(field, ' ');
		if (field)
			field++;
	}
	if (field)
		ret->core = atoi(field);
	return 0;
}

static bool has_exited(const struct task *task)
{
	if (task->state == TASK_ZOMBIE)
		return true;
	char state = proc_state(task->proc->base.pid, task->tid);
	return state == 'Z' || state == 'X';
}

pid_t proc_face(struct proc *p)
{
	const struct task *leader = proc_task(p, p->base.pid);

	if (p->count <= 1 || (leader && !has_exited(leader)))
		return p->base.pid;
	for (size_t i = 0; i < p->count; i++) {
		if (p->tasks[i] != leader)
			return p->tasks[i]->tid;
	}
	return p->base.pid;
}

int live_auxv_read(struct target *t, struct buf *out)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/auxv", proc_face(proc_of(t)));
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	for (;;) {
		uint8_t *at = buf_reserve(out, 1024);
		if (!at)
			return buf_error(out);
		ssize_t n = read(fd, at, 1024);
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		out->len += (size_t)n;
	}
}

int live_exe_path(struct target *t, char *into, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/exe", proc_face(proc_of(t)));
	ssize_t n = readlink(path, into, size - 1);
	if (n < 0)
		return -errno;
	if ((size_t)n >= size - 1)
		return -ENAMETOOLONG;
	into[n] = 0;
	return 0;
}

static bool parse_region(const char *line, struct mem_region *ret)
{
	unsigned long long start, end;
	char perms[8];
	int at = 0;

	if (sscanf(line, "%llx-%llx %7s %*x %*s %*u %n", &start, &end, perms, &at) < 3 || !at)
		return false;
	*ret = (struct mem_region){
		.start = start,
		.end = end,
		.mapped = true,
		.read = perms[0] == 'r',
		.write = perms[1] == 'w',
		.exec = perms[2] == 'x',
		.shared = perms[3] == 's',
	};
	snprintf(ret->name, sizeof(ret->name), "%.*s", (int)strcspn(line + at, "\n"), line + at);
	return true;
}

int live_each_region(struct proc *p, bool (*fn)(void *ctx, const struct mem_region *region),
		     void *ctx)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/maps", proc_face(p));
	FILE *maps = fopen(path, "re");
	if (!maps)
		return -errno;

	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	bool goes_on = true;
	while (goes_on && getline(&line, &size, maps) > 0) {
		struct mem_region region;
		if (parse_region(line, &region))
			goes_on = fn(ctx, &region);
	}
	int r = ferror(maps) ? -EIO : 0;
	fclose(maps);
	return r;
}

struct look {
	uint64_t addr;
	/* start: the end of the last one below addr, until there is one at or above it */
	struct mem_region found;
	bool done;
};

static bool look_for(void *ctx, const struct mem_region *region)
{
	struct look *look = ctx;

	if (look->addr < region->start)
		look->found.end = region->start;
	else if (look->addr < region->end)
		look->found = *region;
	else
		look->found.start = region->end;
	look->done = look->addr < region->end;
	return !look->done;
}

int live_region_at(struct target *t, uint64_t addr, struct mem_region *ret)
{
	struct look look = { .addr = addr };
	int r = live_each_region(proc_of(t), look_for, &look);
	if (r == 0)
		*ret = look.found;
	return r;
}
