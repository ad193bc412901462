#include "server/stdio_pty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <termios.h>

#include "base/buf.h"
#include "server/loop.h"

enum {
	CHUNK = 16 * 1024,
	DRAIN_MAX = 4 * 1024 * 1024, /* somebody we do not trace may print without end */
	BACKGROUND_MS = 500,         /* how often to look whether a terminal is ours again */
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
	int source;     /* what is relayed; -1: nothing, or it has ended */
	bool line_open; /* the last byte relayed was not the end of a line */
	struct watch source_ready;
	struct timer source_later;
};

static void on_readable(void *ctx, unsigned events);
static void relay_as_wanted(struct stdio_pty *p);

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
	p->master = p->slave = p->source = -1;
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
	watch_stop(&p->source_ready);
	timer_stop(&p->source_later);
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
	relay_as_wanted(p);
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
	relay_as_wanted(p);
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

/* --- input from a descriptor of ours --- */

/* The end of input is a key of the terminal's; within a line it only ends what was typed, so that it takes two. */
static void put_end_of_input(struct stdio_pty *p)
{
	struct termios t;

	if (tcgetattr(p->master, &t) < 0 || !(t.c_lflag & ICANON))
		return;
	char keys[2] = { (char)t.c_cc[VEOF], (char)t.c_cc[VEOF] };
	stdio_pty_write(p, keys, p->line_open ? 2 : 1);
}

/* Reading a terminal in whose background we are would stop us: with SIGTTIN blocked it fails. */
static ssize_t read_source(int fd, void *into, size_t len)
{
	sigset_t ttin, before;

	sigemptyset(&ttin);
	sigaddset(&ttin, SIGTTIN);
	sigprocmask(SIG_BLOCK, &ttin, &before);
	ssize_t n = read(fd, into, len);
	int error = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	errno = error;
	return n;
}

static void on_source_later(void *ctx)
{
	relay_as_wanted(ctx);
}

static void on_source_ready(void *ctx, unsigned events _unused_)
{
	struct stdio_pty *p = ctx;
	char text[CHUNK];

	/* Another reader of the same terminal may have been faster, and this read would wait. */
	if (poll(&(struct pollfd){ .fd = p->source, .events = POLLIN }, 1, 0) <= 0)
		return;
	ssize_t n = read_source(p->source, text, sizeof(text));
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	watch_stop(&p->source_ready);
	if (n < 0 && errno == EIO && isatty(p->source)) {
		timer_start(p->loop, &p->source_later, BACKGROUND_MS, on_source_later, p);
		return;
	}
	if (n <= 0) {
		p->source = -1;
		put_end_of_input(p);
		return;
	}
	p->line_open = text[n - 1] != '\n';
	stdio_pty_write(p, text, (size_t)n);
	relay_as_wanted(p);
}

/* One piece at a time: the next one when the program's terminal has taken the last. */
static void relay_as_wanted(struct stdio_pty *p)
{
	if (p->source < 0 || p->slave >= 0 || p->input.len)
		watch_stop(&p->source_ready);
	else if (!p->source_ready.loop)
		watch_start(p->loop, &p->source_ready, p->source, LOOP_READ, on_source_ready, p);
}

void stdio_pty_relay(struct stdio_pty *p, int fd)
{
	struct termios t;

	p->source = fd;
	if (tcgetattr(p->slave, &t) < 0)
		return;
	t.c_lflag &= ~(tcflag_t)ECHO;
	tcsetattr(p->slave, TCSANOW, &t);
}
