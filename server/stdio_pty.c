#include "server/stdio_pty.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/buf.h"
#include "server/loop.h"

enum {
	CHUNK = 16 * 1024,
	DRAIN_MAX = 4 * 1024 * 1024, /* somebody we do not trace may print without end */
};

struct stdio_pty {
	struct loop *loop;
	void (*sink)(void *ctx, const char *text, size_t len);
	void *ctx;
	int master, slave;
	bool held;
	bool over; /* nobody has the other end open any more */
	struct watch readable, writable;
	struct buf input;
};

static void on_readable(void *ctx, unsigned events);

/* False: there is nothing more now. */
static bool read_some(struct stdio_pty *p)
{
	char text[CHUNK];
	ssize_t n = read(p->master, text, sizeof(text));

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0) {
		/* EIO: the last one who had it open has closed it. */
		p->over = n == 0 || errno != EAGAIN;
		return false;
	}
	p->sink(p->ctx, text, (size_t)n);
	return true;
}

static void listen_as_wanted(struct stdio_pty *p)
{
	if (p->held || p->over || p->slave >= 0)
		watch_stop(&p->readable);
	else if (!p->readable.loop)
		watch_start(p->loop, &p->readable, p->master, LOOP_READ, on_readable, p);
}

static void on_readable(void *ctx, unsigned events _unused_)
{
	struct stdio_pty *p = ctx;
	read_some(p);
	listen_as_wanted(p);
}

static int open_pair(struct stdio_pty *p)
{
	p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (p->master < 0 || grantpt(p->master) < 0 || unlockpt(p->master) < 0)
		return -errno;
	char name[64];
	if (ptsname_r(p->master, name, sizeof(name)) != 0)
		return -errno;
	p->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return p->slave < 0 ? -errno : 0;
}

int stdio_pty_new(struct loop *loop, void (*sink)(void *ctx, const char *text, size_t len),
		  void *ctx, struct stdio_pty **ret, struct err *err)
{
	_cleanup_(stdio_pty_freep) struct stdio_pty *p = calloc(1, sizeof(*p));
	if (!p)
		return err_set(err, -ENOMEM, "no memory for the program's terminal");
	p->loop = loop;
	p->sink = sink;
	p->ctx = ctx;
	p->master = p->slave = -1;
	buf_init(&p->input, STDIO_PTY_INPUT_MAX);
	int r = open_pair(p);
	if (r < 0)
		return err_set(err, r, "cannot make a terminal for the program: %s", strerror(-r));
	*ret = take_ptr(p);
	return 0;
}

struct stdio_pty *stdio_pty_free(struct stdio_pty *p)
{
	if (!p)
		return NULL;
	watch_stop(&p->readable);
	watch_stop(&p->writable);
	close_fdp(&p->master);
	close_fdp(&p->slave);
	buf_fini(&p->input);
	free(p);
	return NULL;
}

int stdio_pty_program_end(const struct stdio_pty *p)
{
	return p->slave;
}

void stdio_pty_started(struct stdio_pty *p)
{
	close_fdp(&p->slave);
	listen_as_wanted(p);
}

void stdio_pty_hold(struct stdio_pty *p, bool on)
{
	if (!p)
		return;
	p->held = on;
	listen_as_wanted(p);
}

void stdio_pty_drain(struct stdio_pty *p)
{
	for (size_t n = 0; p && !p->over && n < DRAIN_MAX / CHUNK && read_some(p); n++)
		;
	if (p)
		listen_as_wanted(p);
}

/* --- input --- */

static void write_waiting(struct stdio_pty *p);

static void on_writable(void *ctx, unsigned events _unused_)
{
	write_waiting(ctx);
}

static void write_waiting(struct stdio_pty *p)
{
	while (p->input.len) {
		ssize_t n = write(p->master, p->input.data, p->input.len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (!p->writable.loop)
				watch_start(p->loop, &p->writable, p->master, LOOP_WRITE,
					    on_writable, p);
			return;
		}
		if (n < 0)
			break; /* nobody will read it */
		buf_consume(&p->input, (size_t)n);
	}
	buf_reset(&p->input);
	watch_stop(&p->writable);
}

int stdio_pty_write(struct stdio_pty *p, const void *data, size_t len)
{
	if (len > STDIO_PTY_INPUT_MAX - p->input.len)
		return -ENOBUFS;
	buf_put(&p->input, data, len);
	if (buf_error(&p->input))
		return -ENOMEM;
	if (!p->writable.loop)
		write_waiting(p);
	return 0;
}
