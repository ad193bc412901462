#include "server/hostproc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "protocol/hex.h"

enum { ARGS_MAX = 16384 };

const char hostproc_triple[] = "x86_64-pc-linux-gnu";

/* The program's path; of one that may not be seen, or has none, what it calls itself. */
static void read_name(struct hostproc *p, const char *comm)
{
	static const char gone[] = " (deleted)";
	const size_t tail = sizeof(gone) - 1;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)p->pid);
	ssize_t n = readlink(path, p->exe, sizeof(p->exe) - 1);
	p->has_exe = n >= 0;
	if (n < 0) {
		snprintf(p->exe, sizeof(p->exe), "[%s]", comm);
		return;
	}
	p->exe[n] = 0;
	if ((size_t)n > tail && !strcmp(p->exe + (size_t)n - tail, gone))
		p->exe[(size_t)n - tail] = 0;
}

int hostproc_read(pid_t pid, struct hostproc *ret)
{
	char path[64], line[256], comm[32] = "";
	struct hostproc p = { .pid = pid };
	unsigned tracer = 0;
	char state = 0;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	if (!f)
		return -ESRCH;
	while (fgets(line, sizeof(line), f)) {
		(void)sscanf(line, "Name: %31[^\n]", comm);
		(void)sscanf(line, "State: %c", &state);
		(void)sscanf(line, "PPid: %u", &p.parent);
		(void)sscanf(line, "TracerPid: %u", &tracer);
		(void)sscanf(line, "Uid: %u %u", &p.uid, &p.euid);
		(void)sscanf(line, "Gid: %u %u", &p.gid, &p.egid);
	}
	fclose(f);
	/* It ended between two looks. */
	if (!state)
		return -ESRCH;
	p.taken = tracer || state == 'Z' || state == 'X';
	read_name(&p, comm);
	*ret = p;
	return 0;
}

/* The words of the command line, the program's name first; as many as fit. */
static void put_words(struct buf *b, pid_t pid)
{
	char path[64], words[ARGS_MAX];
	const char *dash = "";

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, words, sizeof(words)) : 0;
	for (ssize_t at = 0; at < len;) {
		size_t n = strnlen(words + at, (size_t)(len - at));
		buf_puts(b, dash);
		hex_put(b, words + at, n);
		dash = "-";
		at += (ssize_t)n + 1;
	}
}

void hostproc_put(struct buf *b, const struct hostproc *p)
{
	buf_printf(b, "pid:%d;ppid:%u;uid:%u;gid:%u;euid:%u;egid:%u;name:", (int)p->pid, p->parent,
		   p->uid, p->gid, p->euid, p->egid);
	hex_put_text(b, p->exe);
	buf_puts(b, ";args:");
	put_words(b, p->pid);
	if (p->has_exe) {
		buf_puts(b, ";triple:");
		hex_put_text(b, hostproc_triple);
	}
	buf_putc(b, ';');
}
