/*
 * on_platform.c - what lldb asks of a platform: debug servers, the host's processes, users and files, a shell.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "server/handlers.h"
#include "server/hostproc.h"
#include "server/platform.h"
#include "server/server.h"

/* lldb-server's numbers. */
enum {
	E_BAD_MATCH = 2,
	E_NO_PROCESSES = 3,
	E_NO_PENDING = 4,
	E_NO_USER = 5,
	E_NO_GROUP = 6,
	E_NO_SERVER = 9,
	E_NOT_OURS = 10,
	E_NOT_KILLED = 11,
	E_BAD_COMPLETION = 85,
};

enum {
	SHELL_DEFAULT_S = 10,
	SHELL_MAX_S = 3600,
	SHELL_OUTPUT_MAX = SESSION_PACKET_MAX / 2 - 64,
};

static struct platform *platform_of(struct session *s)
{
	return s->server->opt->platform;
}

/* --- debug servers --- */

/* qLaunchGDBServer;host:NAME;port:N; the host is where the client believes to be, which is of no use here. */
void on_launch_server(struct session *s, struct args *a)
{
	struct platform_server at;
	struct err err = { 0 };
	struct args key, value;
	unsigned port = 0;

	args_accept(a, ';');
	while (args_key_value(a, ':', &key, &value))
		if (args_is(&key, "port"))
			port = (unsigned)args_dec_max(&value, UINT16_MAX);
	if (!args_ok(a))
		return;
	if (platform_spawn(platform_of(s), NULL, port, &at, &err) < 0) {
		session_error_text(s, E_NO_SERVER, "%s", err.text);
		return;
	}
	buf_printf(&s->reply, "pid:%d;port:%u;", (int)at.pid, at.port);
	if (at.path[0]) {
		buf_puts(&s->reply, "socket_name:");
		reply_hex_text(&s->reply, at.path);
		buf_putc(&s->reply, ';');
	}
}

/* The debug server of the program that the command line named. */
void on_query_server(struct session *s, struct args *a)
{
	const struct platform_server *at = &platform_of(s)->pending;
	_cleanup_buf_ struct buf json = { 0 };

	(void)a;
	if (!at->pid) {
		session_error(s, E_NO_PENDING);
		return;
	}
	buf_init(&json, SESSION_PACKET_MAX);
	buf_printf(&json, "[{\"port\":%u", at->port);
	if (at->path[0])
		buf_printf(&json, ",\"socket_name\":\"%s\"", at->path);
	buf_puts(&json, "}]");
	reply_binary(&s->reply, json.data, json.len);
}

void on_kill_spawned(struct session *s, struct args *a)
{
	args_skip(a, ':');
	pid_t pid = (pid_t)args_dec_max(a, INT32_MAX);
	int r = args_done(a) ? platform_kill(platform_of(s), pid) : -EINVAL;

	if (!args_done(a))
		args_fail(a);
	else if (r < 0)
		session_error(s, r == -ESRCH ? E_NOT_OURS : E_NOT_KILLED);
	else
		reply_ok(&s->reply);
}

/* --- processes --- */

struct match {
	char name[256];
	char how[16]; /* empty: any name */
	bool pid, parent, uid, gid, euid, egid, all_users;
	struct hostproc want;
	regex_t regex;
	bool have_regex;
};

static bool name_fits(const struct match *m, const char *name)
{
	size_t n = strlen(name), w = strlen(m->name);

	if (!m->how[0])
		return true;
	if (!strcmp(m->how, "equals"))
		return !strcmp(name, m->name);
	if (!strcmp(m->how, "starts_with"))
		return !strncmp(name, m->name, w);
	if (!strcmp(m->how, "ends_with"))
		return n >= w && !strcmp(name + n - w, m->name);
	if (!strcmp(m->how, "contains"))
		return strstr(name, m->name);
	return m->have_regex && regexec(&m->regex, name, 0, NULL, 0) == 0;
}

static bool fits(const struct match *m, const struct hostproc *p)
{
	const char *slash = strrchr(p->exe, '/');

	return (!m->pid || p->pid == m->want.pid) && (!m->parent || p->parent == m->want.parent) &&
	       (!m->uid || p->uid == m->want.uid) && (!m->gid || p->gid == m->want.gid) &&
	       (!m->euid || p->euid == m->want.euid) && (!m->egid || p->egid == m->want.egid) &&
	       (m->all_users || !getuid() || p->uid == getuid()) && !p->taken &&
	       name_fits(m, slash ? slash + 1 : p->exe);
}

static unsigned take_id(struct args *value, bool *ret_given)
{
	*ret_given = true;
	return (unsigned)args_dec_max(value, UINT32_MAX);
}

static bool take_key(struct match *m, struct args *key, struct args *value, struct buf *scratch)
{
	size_t len;

	if (args_is(key, "name")) {
		const char *text = args_hex_text(value, scratch);
		const char *slash = text ? strrchr(text, '/') : NULL;
		snprintf(m->name, sizeof(m->name), "%s", slash ? slash + 1 : text ? text : "");
	} else if (args_is(key, "name_match")) {
		const char *how = (const char *)args_rest(value, &len);
		snprintf(m->how, sizeof(m->how), "%.*s", (int)MIN(len, (size_t)15), how);
	} else if (args_is(key, "pid")) {
		m->want.pid = (pid_t)take_id(value, &m->pid);
	} else if (args_is(key, "parent_pid")) {
		m->want.parent = take_id(value, &m->parent);
	} else if (args_is(key, "uid")) {
		m->want.uid = take_id(value, &m->uid);
	} else if (args_is(key, "gid")) {
		m->want.gid = take_id(value, &m->gid);
	} else if (args_is(key, "euid")) {
		m->want.euid = take_id(value, &m->euid);
	} else if (args_is(key, "egid")) {
		m->want.egid = take_id(value, &m->egid);
	} else if (args_is(key, "all_users")) {
		m->all_users = args_accept(value, '1') || args_accept_text(value, "true");
		args_rest(value, &len);
	} else {
		args_rest(value, &len); /* triple: there is one here */
	}
	return args_done(value);
}

/* "name:HEX;name_match:equals;pid:N;..." */
static bool take_match(struct args *a, struct match *m, struct buf *scratch)
{
	static const char *const hows[] = { "equals", "starts_with", "ends_with", "contains",
					    "regex",  "ignore",      "" };
	struct args key, value;
	size_t i = 0;

	args_accept(a, ':');
	while (args_key_value(a, ':', &key, &value))
		if (!take_key(m, &key, &value, scratch))
			return false;
	while (i < ARRAY_SIZE(hows) && strcmp(hows[i], m->how) != 0)
		i++;
	if (!args_ok(a) || i == ARRAY_SIZE(hows))
		return false;
	if (!strcmp(m->how, "ignore") || (!m->how[0] && !m->name[0]))
		m->how[0] = 0;
	else if (!m->how[0])
		strcpy(m->how, "equals");
	m->have_regex = !strcmp(m->how, "regex") &&
			regcomp(&m->regex, m->name, REG_EXTENDED | REG_NOSUB) == 0;
	return strcmp(m->how, "regex") != 0 || m->have_regex;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
	return (x > y) - (x < y);
}

static void find_processes(struct platform *p, const struct match *m)
{
	struct hostproc one;
	struct dirent *e;
	size_t room = 0;
	DIR *d = opendir("/proc");

	p->found_count = p->found_at = 0;
	while (d && (e = readdir(d))) {
		pid_t pid = isdigit((unsigned char)e->d_name[0]) ? atoi(e->d_name) : 0;
		if (!pid || pid == getpid() || hostproc_read(pid, &one) < 0 || !fits(m, &one))
			continue;
		if (p->found_count == room) {
			room = room ? room * 2 : 64;
			pid_t *more = reallocarray(p->found, room, sizeof(*more));
			if (!more)
				break;
			p->found = more;
		}
		p->found[p->found_count++] = pid;
	}
	if (d)
		closedir(d);
	if (p->found_count)
		qsort(p->found, p->found_count, sizeof(*p->found), compare_pids);
}

/* The next one that is still there. */
void on_next_process(struct session *s, struct args *a)
{
	struct platform *p = platform_of(s);
	struct hostproc one;

	(void)a;
	while (p->found_at < p->found_count) {
		if (hostproc_read(p->found[p->found_at++], &one) == 0) {
			hostproc_put(&s->reply, &one);
			return;
		}
	}
	session_error(s, E_NO_PROCESSES + 1);
}

void on_first_process(struct session *s, struct args *a)
{
	struct platform *p = platform_of(s);
	struct match m = { 0 };

	bool good = take_match(a, &m, &s->scratch);
	*a = args_of(NULL, 0); /* its error is made here */
	if (good)
		find_processes(p, &m);
	if (m.have_regex)
		regfree(&m.regex);
	if (!good)
		session_error(s, E_BAD_MATCH);
	else if (!p->found_count)
		session_error(s, E_NO_PROCESSES);
	else
		on_next_process(s, a);
}

void on_user_name(struct session *s, struct args *a)
{
	args_skip(a, ':');
	uid_t uid = (uid_t)args_dec_max(a, UINT32_MAX);
	const struct passwd *found = args_done(a) ? getpwuid(uid) : NULL;

	if (found)
		reply_hex_text(&s->reply, found->pw_name);
	else
		session_error(s, E_NO_USER);
}

void on_group_name(struct session *s, struct args *a)
{
	args_skip(a, ':');
	gid_t gid = (gid_t)args_dec_max(a, UINT32_MAX);
	const struct group *found = args_done(a) ? getgrgid(gid) : NULL;

	if (found)
		reply_hex_text(&s->reply, found->gr_name);
	else
		session_error(s, E_NO_GROUP);
}

/* --- a shell, folders --- */

/* qPlatform_shell:HEXLINE,SECONDS[,HEXDIR]; the answer is the exit status, the signal and what was printed. */
void on_shell(struct session *s, struct args *a)
{
	_cleanup_buf_ struct buf line = { 0 }, dir = { 0 };
	unsigned timeout = SHELL_DEFAULT_S;
	int status;

	buf_init(&line, SESSION_PACKET_MAX);
	buf_init(&dir, SESSION_PACKET_MAX);
	buf_reset(&s->scratch);
	args_skip(a, ':');
	const char *text = args_hex_text(a, &line);
	if (args_accept(a, ',') && args_left(a) && args_peek(a) != ',')
		timeout = (unsigned)args_hex_max(a, UINT32_MAX);
	const char *where = args_accept(a, ',') ? args_hex_text(a, &dir) : "";
	if (!args_done(a) || !text || !where) {
		args_fail(a);
		return;
	}
	struct buf out;
	buf_init(&out, SHELL_OUTPUT_MAX);
	int r = platform_shell(text, where,
			       MIN(timeout ? timeout : SHELL_DEFAULT_S, (unsigned)SHELL_MAX_S),
			       &out, &status);
	if (r < 0) {
		buf_puts(&s->reply, "F,ffffffff");
	} else {
		buf_printf(&s->reply, "F,%08x,%08x,",
			   WIFEXITED(status) ? (unsigned)WEXITSTATUS(status) : UINT32_MAX,
			   WIFSIGNALED(status) ? (unsigned)WTERMSIG(status) : 0);
		reply_binary(&s->reply, out.data, out.len);
	}
	buf_fini(&out);
}

static void on_folder(struct session *s, struct args *a, int (*change)(const char *, mode_t))
{
	args_skip(a, ':');
	mode_t mode = (mode_t)args_hex_max(a, 07777);
	args_skip(a, ',');
	const char *path = args_hex_text(a, &s->scratch);

	if (!args_done(a) || !path)
		args_fail(a);
	else
		buf_printf(&s->reply, "F%x", change(path, mode) < 0 ? (unsigned)errno : 0);
}

/* With the folders it is in. One that is there already is no error. */
static int make_folders(const char *path, mode_t mode)
{
	_cleanup_free_ char *text = strdup(path);
	struct stat st;

	for (char *p = text ? text + 1 : NULL; p && *p && text[0]; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		(void)mkdir(text, mode);
		*p = '/';
	}
	if (text && (mkdir(path, mode) == 0 ||
		     (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))))
		return 0;
	return -1;
}

void on_make_folder(struct session *s, struct args *a)
{
	on_folder(s, a, make_folders);
}

void on_change_mode(struct session *s, struct args *a)
{
	on_folder(s, a, chmod);
}

/* --- completing a path --- */

static int wants_name(const struct dirent *e, const char *begun)
{
	return !strncmp(e->d_name, begun, strlen(begun)) &&
	       (begun[0] == '.' || e->d_name[0] != '.') && strcmp(e->d_name, ".") != 0 &&
	       strcmp(e->d_name, "..") != 0;
}

static bool is_folder(int dir, const char *name)
{
	struct stat st;
	return fstatat(dir, name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

/* What begins with path, in order, each with the folders that were typed; folders end with '/'. */
static void put_completions(struct buf *b, const char *path, bool folders_only)
{
	const char *slash = strrchr(path, '/'), *begun = slash ? slash + 1 : path;
	_cleanup_free_ char *folder = strndup(path, (size_t)(begun - path));
	struct dirent **names = NULL;
	const char *comma = "";
	const size_t longest = 2 * (strlen(path) + NAME_MAX) + 4;
	const size_t room = longest < SESSION_PACKET_MAX ? SESSION_PACKET_MAX - longest : 0;

	int dir = folder ? open(folder[0] ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int n = dir >= 0 ? scandirat(dir, ".", &names, NULL, alphasort) : 0;
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		bool is_dir = wants_name(names[i], begun) && is_folder(dir, name);
		if (wants_name(names[i], begun) && (is_dir || !folders_only) && b->len < room) {
			buf_puts(b, comma);
			reply_hex_text(b, folder);
			reply_hex_text(b, name);
			reply_hex_text(b, is_dir ? "/" : "");
			comma = ",";
		}
		free(names[i]);
	}
	free(names);
	if (dir >= 0)
		close(dir);
}

void on_complete_path(struct session *s, struct args *a)
{
	args_skip(a, ':');
	bool folders_only = args_hex_max(a, 255) == 1;
	bool comma = args_accept(a, ',');
	const char *path = comma ? args_hex_text(a, &s->scratch) : NULL;

	if (!args_done(a) || !path) {
		*a = args_of(NULL, 0);
		session_error(s, E_BAD_COMPLETION);
		return;
	}
	buf_putc(&s->reply, 'M');
	put_completions(&s->reply, path, folders_only);
}
