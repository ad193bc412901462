#include "server/osdata.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { CORES_MAX = 4096 };

/* --- building blocks --- */

static void put_column(struct buf *b, const char *name, const char *value)
{
	buf_puts(b, "<column name=\"");
	buf_put_xml(b, name);
	buf_puts(b, "\">");
	buf_put_xml(b, value);
	buf_puts(b, "</column>");
}

static void _printf_(3, 4) put_column_f(struct buf *b, const char *name, const char *fmt, ...)
{
	char text[PATH_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	put_column(b, name, text);
}

static void put_user(struct buf *b, const char *column, uid_t uid)
{
	const struct passwd *pw = getpwuid(uid);
	if (pw)
		put_column(b, column, pw->pw_name);
	else
		put_column_f(b, column, "%u", uid);
}

static void put_group(struct buf *b, const char *column, gid_t gid)
{
	const struct group *gr = getgrgid(gid);
	if (gr)
		put_column(b, column, gr->gr_name);
	else
		put_column_f(b, column, "%u", gid);
}

/* The front of a file of /proc as text without a newline at its end; false: it cannot be read. */
static bool read_text(const char *path, char *into, size_t size)
{
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t n = fread(into, 1, size - 1, f);
	fclose(f);
	while (n && into[n - 1] == '\n')
		n--;
	into[n] = 0;
	return true;
}

static bool comm_of(int pid, char *into, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	return read_text(path, into, size);
}

/* Words with blanks between them; a kernel thread, which has none, is its name in brackets. */
static bool command_of(int pid, char *into, size_t size)
{
	char path[64], comm[64];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return false;
	size_t n = fread(into, 1, size - 1, f);
	fclose(f);
	into[n] = 0;
	for (size_t i = 0; i + 1 < n; i++)
		if (!into[i])
			into[i] = ' ';
	if (!n && comm_of(pid, comm, sizeof(comm)))
		snprintf(into, size, "[%s]", comm);
	return true;
}

/* The processor a thread last ran on; -1: unknown. */
static int core_of(int pid, int tid)
{
	char path[96], text[1024];
	int core;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	if (!read_text(path, text, sizeof(text)))
		return -1;
	/* The name is in brackets and may hold anything; "processor" is the 37th field behind it. */
	const char *p = strrchr(text, ')');
	for (int field = 0; p && field < 37; field++)
		p = strchr(p + 1, ' ');
	return p && sscanf(p, "%d", &core) == 1 ? core : -1;
}

/* Calls each for every entry of a folder whose name is a number. */
static void each_number(const char *folder, void (*each)(void *ctx, int number), void *ctx)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (isdigit((unsigned char)entry->d_name[0]))
			each(ctx, atoi(entry->d_name));
	if (dir)
		closedir(dir);
}

struct table {
	struct buf *out;
	int pid;
	char command[PATH_MAX];
	uint8_t cores[CORES_MAX];
};

/* --- processes --- */

static void note_core(void *ctx, int tid)
{
	struct table *t = ctx;
	int core = core_of(t->pid, tid);
	if (core >= 0 && core < CORES_MAX)
		t->cores[core] = 1;
}

static void put_cores(struct table *t)
{
	char path[64];
	const char *sep = "";

	memset(t->cores, 0, sizeof(t->cores));
	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	each_number(path, note_core, t);
	buf_puts(t->out, "<column name=\"cores\">");
	for (int i = 0; i < CORES_MAX; i++) {
		if (!t->cores[i])
			continue;
		buf_printf(t->out, "%s%d", sep, i);
		sep = ",";
	}
	buf_puts(t->out, "</column>");
}

static void put_process(void *ctx, int pid)
{
	struct table *t = ctx;
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &st) < 0 || !command_of(pid, t->command, sizeof(t->command)))
		return;
	t->pid = pid;
	buf_puts(t->out, "<item>");
	put_column_f(t->out, "pid", "%d", pid);
	put_user(t->out, "user", st.st_uid);
	put_column(t->out, "command", t->command);
	put_cores(t);
	buf_puts(t->out, "</item>\n");
}

static void put_processes(struct table *t)
{
	each_number("/proc", put_process, t);
}

/* --- process groups: sorted by group, its leader first --- */

struct member {
	int pgid, pid;
};

struct members {
	struct member *at;
	size_t count, room;
};

static void note_member(void *ctx, int pid)
{
	struct members *m = ctx;
	pid_t pgid = getpgid(pid);

	if (pgid <= 0)
		return;
	if (m->count == m->room) {
		size_t room = m->room ? m->room * 2 : 256;
		struct member *at = realloc(m->at, room * sizeof(*at));
		if (!at)
			return;
		m->at = at;
		m->room = room;
	}
	m->at[m->count++] = (struct member){ pgid, pid };
}

static int compare_members(const void *x, const void *y)
{
	const struct member *a = x, *b = y;

	if (a->pgid != b->pgid)
		return a->pgid < b->pgid ? -1 : 1;
	if ((a->pid == a->pgid) != (b->pid == b->pgid))
		return a->pid == a->pgid ? -1 : 1;
	return a->pid < b->pid ? -1 : a->pid > b->pid;
}

static void put_groups(struct table *t)
{
	struct members m = { 0 };
	char leader[64];

	each_number("/proc", note_member, &m);
	if (m.count)
		qsort(m.at, m.count, sizeof(*m.at), compare_members);
	for (size_t i = 0; i < m.count; i++) {
		if (!comm_of(m.at[i].pgid, leader, sizeof(leader)) ||
		    !command_of(m.at[i].pid, t->command, sizeof(t->command)))
			continue;
		buf_puts(t->out, "<item>");
		put_column_f(t->out, "pgid", "%d", m.at[i].pgid);
		put_column(t->out, "leader command", leader);
		put_column_f(t->out, "pid", "%d", m.at[i].pid);
		put_column(t->out, "command line", t->command);
		buf_puts(t->out, "</item>\n");
	}
	free(m.at);
}

/* --- threads --- */

static void put_thread(void *ctx, int tid)
{
	struct table *t = ctx;

	buf_puts(t->out, "<item>");
	put_column_f(t->out, "pid", "%d", t->pid);
	put_column(t->out, "command", t->command);
	put_column_f(t->out, "tid", "%d", tid);
	put_column_f(t->out, "core", "%d", core_of(t->pid, tid));
	buf_puts(t->out, "</item>\n");
}

static void put_process_threads(void *ctx, int pid)
{
	struct table *t = ctx;
	char path[64];

	if (!comm_of(pid, t->command, sizeof(t->command)))
		return;
	t->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	each_number(path, put_thread, t);
}

static void put_threads(struct table *t)
{
	each_number("/proc", put_process_threads, t);
}

/* --- open files --- */

static void put_file(void *ctx, int fd)
{
	struct table *t = ctx;
	char path[64], name[PATH_MAX];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t->pid, fd);
	ssize_t n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return;
	name[n] = 0;
	buf_puts(t->out, "<item>");
	put_column_f(t->out, "pid", "%d", t->pid);
	put_column(t->out, "command", t->command);
	put_column_f(t->out, "file descriptor", "%d", fd);
	put_column(t->out, "name", name);
	buf_puts(t->out, "</item>\n");
}

static void put_process_files(void *ctx, int pid)
{
	struct table *t = ctx;
	char path[64];

	if (!comm_of(pid, t->command, sizeof(t->command)))
		return;
	t->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	each_number(path, put_file, t);
}

static void put_files(struct table *t)
{
	each_number("/proc", put_process_files, t);
}

/* --- lines of a table in /proc --- */

static void each_line(const char *path, bool skip_first, void (*each)(struct table *t, char *line),
		      struct table *t)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t room = 0;

	while (f && getline(&line, &room, f) > 0) {
		if (!skip_first)
			each(t, line);
		skip_first = false;
	}
	free(line);
	if (f)
		fclose(f);
}

/* --- sockets --- */

static const char *tcp_state(unsigned state)
{
	static const char *const names[] = { "unknown",    "ESTABLISHED", "SYN_SENT",  "SYN_RECV",
					     "FIN_WAIT1",  "FIN_WAIT2",   "TIME_WAIT", "CLOSE",
					     "CLOSE_WAIT", "LAST_ACK",    "LISTEN",    "CLOSING" };
	return state < ARRAY_SIZE(names) ? names[state] : "unknown";
}

struct socket_kind {
	const char *path;
	const char *protocol;
	int family;
};

/* The kernel prints an address as 32-bit words in the machine's order. */
static bool put_address(struct buf *b, const char *column, const char *hex, int family)
{
	uint32_t words[4];
	char text[INET6_ADDRSTRLEN];
	size_t n = family == AF_INET ? 1 : 4;

	for (size_t i = 0; i < n; i++)
		if (sscanf(hex + i * 8, "%8x", &words[i]) != 1)
			return false;
	if (!inet_ntop(family, words, text, sizeof(text)))
		return false;
	put_column(b, column, text);
	return true;
}

static void put_socket(struct table *t, const struct socket_kind *kind, const char *line)
{
	char local[33], remote[33];
	unsigned local_port, remote_port, state, uid;

	if (sscanf(line, "%*d: %32[0-9A-Fa-f]:%x %32[0-9A-Fa-f]:%x %x %*x:%*x %*x:%*x %*x %u",
		   local, &local_port, remote, &remote_port, &state, &uid) != 6)
		return;
	size_t digits = kind->family == AF_INET ? 8 : 32;
	if (strlen(local) != digits || strlen(remote) != digits)
		return;
	buf_puts(t->out, "<item>");
	put_address(t->out, "local address", local, kind->family);
	put_column_f(t->out, "local port", "%u", local_port);
	put_address(t->out, "remote address", remote, kind->family);
	put_column_f(t->out, "remote port", "%u", remote_port);
	put_column(t->out, "state", tcp_state(state));
	put_user(t->out, "user", uid);
	put_column(t->out, "family", kind->family == AF_INET ? "INET" : "INET6");
	put_column(t->out, "protocol", kind->protocol);
	buf_puts(t->out, "</item>\n");
}

static void put_sockets(struct table *t)
{
	static const struct socket_kind kinds[] = {
		{ "/proc/net/tcp", "STREAM", AF_INET },
		{ "/proc/net/tcp6", "STREAM", AF_INET6 },
		{ "/proc/net/udp", "DGRAM", AF_INET },
		{ "/proc/net/udp6", "DGRAM", AF_INET6 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		FILE *f = fopen(kinds[i].path, "re");
		char line[1024];
		while (f && fgets(line, sizeof(line), f))
			put_socket(t, &kinds[i], line);
		if (f)
			fclose(f);
	}
}

/* --- System V IPC --- */

static void put_time(struct buf *b, const char *column, long long when)
{
	char text[64];
	time_t seconds = (time_t)when;
	struct tm tm;

	if (!when || !localtime_r(&seconds, &tm) ||
	    !strftime(text, sizeof(text), "%a %b %e %H:%M:%S %Y", &tm))
		text[0] = 0;
	put_column(b, column, text);
}

static void put_command(struct buf *b, const char *column, int pid)
{
	char comm[64];
	/* Of one that is gone the number is all there is. */
	if (!comm_of(pid, comm, sizeof(comm)))
		snprintf(comm, sizeof(comm), "%d", pid);
	put_column(b, column, comm);
}

static void put_owners(struct buf *b, const unsigned ids[4])
{
	put_user(b, "user", ids[0]);
	put_group(b, "group", ids[1]);
	put_user(b, "creator user", ids[2]);
	put_group(b, "creator group", ids[3]);
}

static void put_shm_line(struct table *t, char *line)
{
	int key, id, creator, last;
	unsigned perms, ids[4];
	unsigned long long size, attached;
	long long at, dt, ct;

	if (sscanf(line, "%d %d %o %llu %d %d %llu %u %u %u %u %lld %lld %lld", &key, &id, &perms,
		   &size, &creator, &last, &attached, &ids[0], &ids[1], &ids[2], &ids[3], &at, &dt,
		   &ct) != 14)
		return;
	buf_puts(t->out, "<item>");
	put_column_f(t->out, "key", "%d", key);
	put_column_f(t->out, "shmid", "%d", id);
	put_column_f(t->out, "permissions", "%o", perms);
	put_column_f(t->out, "size", "%llu", size);
	put_command(t->out, "creator command", creator);
	put_command(t->out, "last op. command", last);
	put_column_f(t->out, "num attached", "%llu", attached);
	put_owners(t->out, ids);
	put_time(t->out, "last shmat() time", at);
	put_time(t->out, "last shmdt() time", dt);
	put_time(t->out, "last shmctl() time", ct);
	buf_puts(t->out, "</item>\n");
}

static void put_shm(struct table *t)
{
	each_line("/proc/sysvipc/shm", true, put_shm_line, t);
}

static void put_sem_line(struct table *t, char *line)
{
	int key, id;
	unsigned perms, ids[4];
	unsigned long long count;
	long long op, ct;

	if (sscanf(line, "%d %d %o %llu %u %u %u %u %lld %lld", &key, &id, &perms, &count, &ids[0],
		   &ids[1], &ids[2], &ids[3], &op, &ct) != 10)
		return;
	buf_puts(t->out, "<item>");
	put_column_f(t->out, "key", "%d", key);
	put_column_f(t->out, "semid", "%d", id);
	put_column_f(t->out, "permissions", "%o", perms);
	put_column_f(t->out, "num semaphores", "%llu", count);
	put_owners(t->out, ids);
	put_time(t->out, "last semop() time", op);
	put_time(t->out, "last semctl() time", ct);
	buf_puts(t->out, "</item>\n");
}

static void put_sem(struct table *t)
{
	each_line("/proc/sysvipc/sem", true, put_sem_line, t);
}

static void put_msg_line(struct table *t, char *line)
{
	int key, id, sender, receiver;
	unsigned perms, ids[4];
	unsigned long long bytes, count;
	long long st, rt, ct;

	if (sscanf(line, "%d %d %o %llu %llu %d %d %u %u %u %u %lld %lld %lld", &key, &id, &perms,
		   &bytes, &count, &sender, &receiver, &ids[0], &ids[1], &ids[2], &ids[3], &st, &rt,
		   &ct) != 14)
		return;
	buf_puts(t->out, "<item>");
	put_column_f(t->out, "key", "%d", key);
	put_column_f(t->out, "msqid", "%d", id);
	put_column_f(t->out, "permissions", "%o", perms);
	put_column_f(t->out, "num used bytes", "%llu", bytes);
	put_column_f(t->out, "num messages", "%llu", count);
	put_command(t->out, "last msgsnd() command", sender);
	put_command(t->out, "last msgrcv() command", receiver);
	put_owners(t->out, ids);
	put_time(t->out, "last msgsnd() time", st);
	put_time(t->out, "last msgrcv() time", rt);
	put_time(t->out, "last msgctl() time", ct);
	buf_puts(t->out, "</item>\n");
}

static void put_msg(struct table *t)
{
	each_line("/proc/sysvipc/msg", true, put_msg_line, t);
}

/* --- kernel modules --- */

static void put_module(struct table *t, char *line)
{
	static const char *const columns[] = { "name",         "size",   "num uses",
					       "dependencies", "status", "address" };
	char *rest = NULL, *word = strtok_r(line, " \n", &rest);

	if (!word)
		return;
	buf_puts(t->out, "<item>");
	for (size_t i = 0; i < ARRAY_SIZE(columns) && word; i++) {
		put_column(t->out, columns[i], word);
		word = strtok_r(NULL, " \n", &rest);
	}
	buf_puts(t->out, "</item>\n");
}

static void put_modules(struct table *t)
{
	each_line("/proc/modules", false, put_module, t);
}

/* --- processors: paragraphs of "key : value" --- */

static void put_cpus(struct table *t)
{
	FILE *f = fopen("/proc/cpuinfo", "re");
	char *line = NULL;
	size_t room = 0;
	bool open = false;

	while (f && getline(&line, &room, f) > 0) {
		char *colon = strchr(line, ':');
		if (!colon) {
			if (open)
				buf_puts(t->out, "</item>\n");
			open = false;
			continue;
		}
		char *end = colon;
		while (end > line && isspace((unsigned char)end[-1]))
			end--;
		*end = 0;
		colon += 1 + (colon[1] == ' ');
		colon[strcspn(colon, "\n")] = 0;
		if (!open)
			buf_puts(t->out, "<item>");
		open = true;
		put_column(t->out, line, colon);
	}
	if (open)
		buf_puts(t->out, "</item>\n");
	free(line);
	if (f)
		fclose(f);
}

/* --- the list of tables --- */

static const struct {
	const char *type, *title, *description;
	const char *root; /* of the document, where it is not the type */
	void (*put)(struct table *t);
} tables[] = {
	{ "cpus", "CPUs", "Listing of all cpus/cores on the system", NULL, put_cpus },
	{ "files", "File descriptors", "Listing of all file descriptors", NULL, put_files },
	{ "modules", "Kernel modules", "Listing of all loaded kernel modules", NULL, put_modules },
	{ "msg", "Message queues", "Listing of all message queues", "message queues", put_msg },
	{ "processes", "Processes", "Listing of all processes", NULL, put_processes },
	{ "procgroups", "Process groups", "Listing of all process groups", "process groups",
	  put_groups },
	{ "semaphores", "Semaphores", "Listing of all semaphores", NULL, put_sem },
	{ "shm", "Shared-memory regions", "Listing of all shared-memory regions", "shared memory",
	  put_shm },
	{ "sockets", "Sockets", "Listing of all internet-domain sockets", NULL, put_sockets },
	{ "threads", "Threads", "Listing of all threads", NULL, put_threads },
};

static void put_types(struct buf *b)
{
	buf_puts(b, "<osdata type=\"types\">\n");
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		buf_puts(b, "<item>");
		put_column(b, "Type", tables[i].type);
		put_column(b, "Description", tables[i].description);
		put_column(b, "Title", tables[i].title);
		buf_puts(b, "</item>\n");
	}
	buf_puts(b, "</osdata>\n");
}

int osdata_put(const char *type, struct buf *b)
{
	_cleanup_free_ struct table *t = NULL;
	size_t i = 0;

	if (!type[0]) {
		put_types(b);
		return buf_error(b);
	}
	while (i < ARRAY_SIZE(tables) && strcmp(tables[i].type, type) != 0)
		i++;
	if (i == ARRAY_SIZE(tables))
		return -ENOENT;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->out = b;
	buf_printf(b, "<osdata type=\"%s\">\n", tables[i].root ? tables[i].root : type);
	tables[i].put(t);
	buf_puts(b, "</osdata>\n");
	return buf_error(b);
}
