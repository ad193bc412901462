#include "permit.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "target/live/guard.h"

enum {
	CAP_SYS_PTRACE_BIT = 19,
	ANCESTORS_MAX = 4096, /* a cycle cannot be, but the table changes while we read it */
	PF_KTHREAD = 0x00200000,
};

/* /proc/sys/... and ns/pid of the machine itself have this inode number (PROC_PID_INIT_INO). */
static const ino_t init_pid_ns = 0xEFFFFFFC;

/* ---- facts ---- */

static int read_file(const char *path, char *into, size_t size)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;

	size_t have = 0;
	ssize_t n;
	while (have < size - 1 && (n = read(fd, into + have, size - 1 - have)) > 0)
		have += (size_t)n;
	into[have] = 0;
	return 0;
}

static int read_proc(pid_t pid, const char *what, char *into, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	return read_file(path, into, size);
}

/* The text behind "Key:" and its blanks, or NULL. */
static const char *status_field(const char *status, const char *key)
{
	size_t len = strlen(key);
	for (const char *line = status; line && *line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (!strncmp(line, key, len) && line[len] == ':')
			return line + len + 1 + strspn(line + len + 1, " \t");
	}
	return NULL;
}

static long status_number(const char *status, const char *key, int base)
{
	const char *text = status_field(status, key);
	return text ? (long)strtoull(text, NULL, base) : 0;
}

static void status_name(const char *status, char *into, size_t size)
{
	const char *text = status_field(status, "Name");
	size_t len = text ? strcspn(text, "\n") : 0;
	len = MIN(len, size - 1);
	if (len)
		memcpy(into, text, len);
	into[len] = 0;
}

static void status_ids(const char *status, const char *key, unsigned into[3])
{
	const char *text = status_field(status, key);
	if (text)
		sscanf(text, "%u %u %u", &into[0], &into[1], &into[2]);
}

static bool is_zombie_state(char state)
{
	return state == 'Z' || state == 'X';
}

static int count_live_threads(pid_t pid)
{
	char path[64], stat[512];
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *dir = opendir(path);
	if (!dir)
		return 0;

	int live = 0;
	for (struct dirent *d; !live && (d = readdir(dir));) {
		if (d->d_name[0] == '.' ||
		    read_proc(atoi(d->d_name), "stat", stat, sizeof(stat)) < 0)
			continue;
		const char *after_name = strrchr(stat, ')');
		live += after_name && strlen(after_name) > 2 && !is_zombie_state(after_name[2]);
	}
	closedir(dir);
	return live;
}

static bool is_kernel_thread(pid_t pid)
{
	char stat[512];
	unsigned flags = 0;
	if (read_proc(pid, "stat", stat, sizeof(stat)) < 0)
		return false;
	const char *after_name = strrchr(stat, ')'); /* the name may hold anything */
	if (after_name)
		sscanf(after_name + 1, " %*c %*d %*d %*d %*d %*d %u", &flags);
	return flags & PF_KTHREAD;
}

static int elf_class_of(pid_t pid)
{
	char path[64], head[EI_NIDENT + 1] = { 0 };
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (read_file(path, head, sizeof(head)) < 0 || memcmp(head, ELFMAG, SELFMAG))
		return 0;
	return head[EI_CLASS];
}

static bool kernel_allows(pid_t pid)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0;
}

static ino_t namespace_of(const char *pid, const char *which)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%s/ns/%s", pid, which);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

/* The kernel gives the /proc files of a process that is not dumpable to root. */
static bool is_dumpable(pid_t pid, uid_t euid)
{
	char path[64];
	struct stat st;
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return stat(path, &st) < 0 || st.st_uid == euid;
}

static bool is_descendant(pid_t pid)
{
	char status[4096];
	for (int i = 0; i < ANCESTORS_MAX && pid > 1; i++) {
		if (read_proc(pid, "status", status, sizeof(status)) < 0)
			return false;
		pid = (pid_t)status_number(status, "PPid", 10);
		if (pid == getpid())
			return true;
	}
	return false;
}

static int yama_level(void)
{
	char text[16];
	if (read_file("/proc/sys/kernel/yama/ptrace_scope", text, sizeof(text)) < 0)
		return -1;
	return atoi(text);
}

static void name_user(uid_t uid, char *into, size_t size)
{
	char room[1024];
	struct passwd pw, *found = NULL;
	if (!getpwuid_r(uid, &pw, room, sizeof(room), &found) && found)
		snprintf(into, size, "%s", pw.pw_name);
}

static void look_at_tracer(struct permit_facts *f)
{
	char status[4096];
	if (!f->tracer || read_proc(f->tracer, "status", status, sizeof(status)) < 0)
		return;
	status_name(status, f->tracer_name, sizeof(f->tracer_name));
}

static void look_at_us(struct permit_facts *f)
{
	char status[4096];
	f->our_uid = getuid();
	f->our_gid = getgid();
	f->own_pid_ns = namespace_of("self", "pid") != init_pid_ns;
	f->yama = yama_level();
	if (!read_file("/proc/self/status", status, sizeof(status)))
		f->have_cap = status_number(status, "CapEff", 16) >> CAP_SYS_PTRACE_BIT & 1;
}

void permit_look(pid_t pid, struct permit_facts *ret)
{
	struct permit_facts f = { .pid = pid, .yama = -1, .dumpable = true, .same_user_ns = true };
	char status[4096], number[16];

	look_at_us(&f);
	int r = pid > 0 ? read_proc(pid, "status", status, sizeof(status)) : -ENOENT;
	if (r == -ENOENT) /* of it, or of all? */
		f.unreadable = -read_file("/proc/self/status", number, sizeof(number));
	else if (r < 0 && r != -ESRCH)
		f.unreadable = -r;
	if (r == 0) {
		const char *state = status_field(status, "State");
		f.exists = true;
		f.state = state ? *state : '?';
		f.tgid = (pid_t)status_number(status, "Tgid", 10);
		f.self = f.tgid == getpid();
		f.tracer = (pid_t)status_number(status, "TracerPid", 10);
		status_name(status, f.name, sizeof(f.name));
		status_ids(status, "Uid", f.uid);
		status_ids(status, "Gid", f.gid);
		look_at_tracer(&f);
		f.live_threads = is_zombie_state(f.state) ? count_live_threads(pid) : 1;
		f.kernel_thread = is_kernel_thread(pid);
		f.elf_class = elf_class_of(pid);
		f.allowed = kernel_allows(pid);
		if (!f.allowed) /* a directory service may have to be asked */
			name_user(f.uid[0], f.user_name, sizeof(f.user_name));
		f.dumpable = is_dumpable(pid, f.uid[1]);
		f.descendant = is_descendant(pid);
		snprintf(number, sizeof(number), "%d", pid);
		ino_t theirs = namespace_of(number, "user");
		f.same_user_ns = !theirs || theirs == namespace_of("self", "user");
	}
	*ret = f;
}

/* ---- judgement ---- */

#define GET_CAP                                                                         \
	"run the server as root or with CAP_SYS_PTRACE (docker: --cap-add=SYS_PTRACE; " \
	"Kubernetes: "                                                                  \
	"securityContext.capabilities.add)"

static int judge_existence(const struct permit_facts *f, struct err *err)
{
	if (f->unreadable)
		return err_set(err, -f->unreadable, "/proc/%d/status cannot be read: %s%s", f->pid,
			       strerror(f->unreadable),
			       f->unreadable == ENOENT ? " (is /proc mounted?)" : "");
	if (!f->exists && f->own_pid_ns)
		return err_set(err, -ESRCH,
			       "No such process. This server is in a PID namespace of its own and "
			       "sees only the processes "
			       "there; share the other one (docker: --pid=host or "
			       "--pid=container:NAME; kubectl debug --target)");
	if (!f->exists)
		return err_set(err, -ESRCH, "No such process");
	if (f->tgid != f->pid)
		return err_set(err, -ESRCH,
			       "No such process: it is a thread of process %d; attach to that",
			       f->tgid);
	if (is_zombie_state(f->state) && !f->live_threads)
		return err_set(
			err, -ESRCH,
			"'%s' is a zombie: it has ended already and waits for its parent to notice",
			f->name);
	return 0;
}

static int judge_kind(const struct permit_facts *f, struct err *err)
{
	if (f->self)
		return err_set(err, -EPERM, "that is this server itself, which cannot stop itself");
	if (f->kernel_thread)
		return err_set(err, -EPERM,
			       "'%s' is a kernel thread; only user processes can be debugged",
			       f->name);
	if (f->tracer)
		return err_set(err, -EPERM,
			       "already traced by process %d (%s); a process has one tracer: end "
			       "or detach that one first",
			       f->tracer, f->tracer_name[0] ? f->tracer_name : "?");
	if (is_zombie_state(f->state))
		return err_set(err, -EPERM,
			       "'%s' goes on without its first thread, which has ended, and Linux "
			       "lets nobody trace such a process: start it with the server, or "
			       "attach before that thread ends",
			       f->name);
	if (f->elf_class == ELFCLASS32)
		return err_set(err, -EPERM,
			       "'%s' is a 32-bit process; only x86-64 ones are supported: use "
			       "gdbserver for it",
			       f->name);
	return 0;
}

static bool is_same_user(const struct permit_facts *f)
{
	for (int i = 0; i < 3; i++) {
		if (f->uid[i] != f->our_uid || f->gid[i] != f->our_gid)
			return false;
	}
	return true;
}

static int judge_yama(const struct permit_facts *f, struct err *err)
{
	switch (f->yama) {
	case 1:
		if (f->descendant)
			return 0;
		return err_set(err, -EPERM,
			       "Yama ptrace_scope=1 and '%s' is not started by this server. Any "
			       "one of: " GET_CAP "; or start the program with the server; or "
			       "sysctl kernel.yama.ptrace_scope=0",
			       f->name);
	case 2:
		return err_set(err, -EPERM,
			       "Yama ptrace_scope=2 and this server lacks CAP_SYS_PTRACE. Any one "
			       "of: " GET_CAP "; or sysctl kernel.yama.ptrace_scope=0");
	case 3:
		return err_set(err, -EPERM,
			       "Yama ptrace_scope=3: no process can be traced on this machine, and "
			       "the setting cannot be "
			       "lowered without a reboot");
	default: return 0;
	}
}

/* The kernel has said no. Its reasons, in the order in which it looks (ptrace_may_access(), then the modules). */
static int judge_refusal(const struct permit_facts *f, struct err *err)
{
	if (!is_same_user(f) && !f->have_cap)
		return err_set(err, -EPERM,
			       "'%s' belongs to user %s (uid %u, gid %u), this server runs as uid "
			       "%u, gid %u: "
			       "run it as that user, or " GET_CAP,
			       f->name, f->user_name[0] ? f->user_name : "?", f->uid[0], f->gid[0],
			       f->our_uid, f->our_gid);
	if (!f->dumpable && !f->have_cap)
		return err_set(err, -EPERM,
			       "'%s' is not dumpable: it changed its user or capabilities, its "
			       "file cannot be read, or it said "
			       "PR_SET_DUMPABLE 0: " GET_CAP,
			       f->name);
	if (!f->same_user_ns && f->have_cap)
		return err_set(err, -EPERM,
			       "'%s' is in another user namespace, where this server's "
			       "CAP_SYS_PTRACE does not count: "
			       "run the server in that namespace (nsenter -U -t %d) or in their "
			       "common parent",
			       f->name, f->pid);
	int r = f->have_cap && f->yama < 3 ? 0 : judge_yama(f, err);
	if (r < 0)
		return r;
	return err_set(
		err, -EPERM,
		"the kernel refuses, for no reason that can be seen from here: a security module "
		"(AppArmor, SELinux), "
		"more capabilities there than here, or a seccomp filter. Ask 'dmesg', or " GET_CAP);
}

int permit_judge(const struct permit_facts *f, struct err *err)
{
	int r = judge_existence(f, err);
	if (!r)
		r = judge_kind(f, err);
	if (!r && f->yama == 3)
		r = judge_yama(f, err);
	if (!r && !f->allowed)
		r = judge_refusal(f, err);
	return r;
}

/* The server it waits for is its parent until that ends; when it is reaped as well there is no number for it. */
static bool is_guard_at_work(pid_t pid)
{
	char name[32], info[512], status[4096];

	if (read_proc(pid, "comm", name, sizeof(name)) < 0 || strcmp(name, GUARD_NAME "\n") != 0 ||
	    read_proc(pid, "fdinfo/0", info, sizeof(info)) < 0 || !status_field(info, "Pid") ||
	    read_proc(pid, "status", status, sizeof(status)) < 0)
		return false;
	const char *state = status_field(status, "State");
	return state && !is_zombie_state(*state) &&
	       status_number(info, "Pid", 10) != status_number(status, "PPid", 10);
}

static bool any_guard_at_work(void)
{
	DIR *dir = opendir("/proc");
	bool any = false;

	for (struct dirent *d; dir && !any && (d = readdir(dir));)
		any = atoi(d->d_name) > 0 && is_guard_at_work(atoi(d->d_name));
	if (dir)
		closedir(dir);
	return any;
}

/* Of a server that was killed. Threads that it finds taken by us would stay as that server left them. */
static void await_guards(void)
{
	enum { LOOKS = 500 };

	for (int i = 0; i < LOOKS && any_guard_at_work(); i++)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
}

int permit_check(pid_t pid, struct err *err)
{
	struct permit_facts f;

	await_guards();
	permit_look(pid, &f);
	return permit_judge(&f, err);
}
