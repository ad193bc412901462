#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const names[LOG_CATEGORIES] = {
	[LOG_FRAME] = "frame",   [LOG_PACKET] = "packet", [LOG_STOP] = "stop", [LOG_RUN] = "run",
	[LOG_POINTS] = "points", [LOG_IMAGE] = "image",   [LOG_GO] = "go",     [LOG_LOOP] = "loop",
};

static unsigned enabled;
static unsigned format;
static int out_fd = STDERR_FILENO;

void log_set(enum log_category category, bool on)
{
	if (on)
		enabled |= 1u << category;
	else
		enabled &= ~(1u << category);
}

bool log_on(enum log_category category)
{
	return enabled & (1u << category);
}

void log_to_fd(int fd)
{
	out_fd = fd;
}

int log_fd(void)
{
	return out_fd;
}

int log_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
		      0600);
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	if (flags >= 0)
		(void)fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

void log_set_format(unsigned flags)
{
	format = flags;
}

static int enable_one(const char *name, size_t len, struct err *err)
{
	if (len == 3 && !memcmp(name, "all", 3)) {
		enabled = ~0u;
		return 0;
	}
	if (len == 4 && !memcmp(name, "none", 4)) {
		enabled = 0;
		return 0;
	}
	for (int i = 0; i < LOG_CATEGORIES; i++) {
		if (strlen(names[i]) == len && !memcmp(names[i], name, len)) {
			enabled |= 1u << i;
			return 0;
		}
	}
	return err_set(err, -EINVAL, "unknown log category '%.*s'", (int)len, name);
}

int log_enable(const char *list, struct err *err)
{
	while (*list) {
		size_t len = strcspn(list, ",");
		int r = len ? enable_one(list, len, err) : 0;
		if (r < 0)
			return r;
		list += len;
		list += *list == ',';
	}
	return 0;
}

/* One write per line where it is taken whole, so that lines of several processes on one stderr do not mix. */
static void put_line(int fd, char *line, int len, int size)
{
	if (len >= size)
		len = size - 1;
	line[len++] = '\n';
	for (int at = 0; at < len;) {
		ssize_t n = write(fd, line + at, (size_t)(len - at));
		if (n > 0)
			at += (int)n;
		else if (n == 0 || errno != EINTR)
			return; /* a closed stderr must not stop a debug session */
	}
}

void log_write(enum log_category category, const char *fmt, ...)
{
	char line[4096];
	int len = 0;

	if (format & LOG_FORMAT_TIMESTAMP) {
		struct timespec ts;
		clock_gettime(CLOCK_REALTIME, &ts);
		len = snprintf(line, sizeof(line), "%lld.%06ld ", (long long)ts.tv_sec,
			       ts.tv_nsec / 1000);
	}
	len += snprintf(line + len, sizeof(line) - len, "[%s] ", names[category]);

	va_list ap;
	va_start(ap, fmt);
	len += vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	put_line(out_fd, line, len, sizeof(line));
}

void say(const char *fmt, ...)
{
	char line[4096];
	va_list ap;
	va_start(ap, fmt);
	int len = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	put_line(STDERR_FILENO, line, len, sizeof(line));
}
