#include "server/findproc.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

static pid_t pid_of(const char *name)
{
	if (*name < '1' || *name > '9')
		return 0;
	char *end;
	long pid = strtol(name, &end, 10);
	return *end || pid > INT_MAX ? 0 : (pid_t)pid;
}

/* The file a process runs. False for kernel threads, zombies and processes of others that we may not look into. */
static bool exe_of(pid_t pid, char *into, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	ssize_t n = readlink(path, into, size - 1);
	if (n <= 0)
		return false;
	into[n] = 0;
	return true;
}

enum { COMM_MAX = 15 };

/* For scripts, and for those that have named themselves: what ps shows, cut by the kernel. */
static bool comm_is(pid_t pid, const char *name)
{
	char path[64], comm[32] = "";
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	if (!fgets(comm, sizeof(comm), f))
		comm[0] = 0;
	fclose(f);
	comm[strcspn(comm, "\n")] = 0;
	return comm[0] && !strncmp(comm, name, COMM_MAX);
}

/* The file may be gone. */
static bool file_is(const char *file, const char *name)
{
	size_t len = strlen(name);
	return !strncmp(file, name, len) && (!file[len] || !strcmp(file + len, " (deleted)"));
}

static bool is_named(pid_t pid, const char *name)
{
	char exe[PATH_MAX];
	if (!exe_of(pid, exe, sizeof(exe)))
		return false;
	if (strchr(name, '/'))
		return !strcmp(exe, name);
	const char *file = strrchr(exe, '/');
	if (file && file_is(file + 1, name))
		return true;
	/* Where the name is cut out of the file's, the file has said already that it goes on in another way. */
	bool cut = file && strlen(name) > COMM_MAX && !strncmp(file + 1, name, COMM_MAX);
	return !cut && comm_is(pid, name);
}

/* Calls for each process of that name but ourselves, until one call returns false. */
static int each(const char *name, bool (*found)(void *ctx, pid_t pid), void *ctx)
{
	DIR *dir = opendir("/proc");
	if (!dir)
		return -errno;

	bool more = true;
	for (struct dirent *d; more && (d = readdir(dir));) {
		pid_t pid = pid_of(d->d_name);
		if (pid && pid != getpid() && is_named(pid, name))
			more = found(ctx, pid);
	}
	closedir(dir);
	return 0;
}

struct matches {
	size_t count;
	pid_t pid;
	char list[128];
};

static bool note_match(void *ctx, pid_t pid)
{
	struct matches *m = ctx;
	size_t len = strlen(m->list);
	m->count++;
	m->pid = pid;
	snprintf(m->list + len, sizeof(m->list) - len, "%s%d", len ? ", " : "", pid);
	return true;
}

int findproc_by_name(const char *name, pid_t *ret, struct err *err)
{
	struct matches m = { 0 };
	int r = each(name, note_match, &m);
	if (r < 0)
		return err_set(err, r, "cannot list the processes: %s", strerror(-r));
	if (!m.count)
		return err_set(err, -ESRCH, "no process is named '%s'", name);
	if (m.count > 1)
		return err_set(err, -EINVAL,
			       "%zu processes are named '%s': say which one by number: %s", m.count,
			       name, m.list);
	*ret = m.pid;
	return 0;
}

static bool is_known(const struct findproc *f, pid_t pid)
{
	for (size_t i = 0; i < f->count; i++) {
		if (f->known[i] == pid)
			return true;
	}
	return false;
}

static bool note_known(void *ctx, pid_t pid)
{
	struct findproc *f = ctx;
	pid_t *grown = realloc(f->known, (f->count + 1) * sizeof(*grown));
	if (!grown)
		return false;
	f->known = grown;
	f->known[f->count++] = pid;
	return true;
}

int findproc_begin(struct findproc *f, const char *name)
{
	*f = (struct findproc){ 0 };
	if (!*name || strlen(name) >= sizeof(f->name))
		return -EINVAL;
	strcpy(f->name, name);
	return each(name, note_known, f);
}

struct fresh {
	const struct findproc *f;
	pid_t pid;
};

static bool take_fresh(void *ctx, pid_t pid)
{
	struct fresh *s = ctx;
	if (is_known(s->f, pid))
		return true;
	s->pid = pid;
	return false;
}

pid_t findproc_poll(struct findproc *f)
{
	struct fresh s = { .f = f };
	return each(f->name, take_fresh, &s) < 0 ? 0 : s.pid;
}

void findproc_fini(struct findproc *f)
{
	free(f->known);
	f->known = NULL;
	f->count = 0;
}
