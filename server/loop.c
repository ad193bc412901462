#include "server/loop.h"

#include <assert.h>
#include <ev.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static_assert(sizeof(ev_io) <= sizeof(((struct watch *)0)->ev), "struct watch has too little room");
static_assert(sizeof(ev_timer) <= sizeof(((struct timer *)0)->ev),
	      "struct timer has too little room");

struct loop {
	struct ev_loop *ev;
};

/*
 * libev ends the process when it gets no memory, and then nobody would let the debuggees go in good order. What it asks for is little and
 * is rarely given back: without memory it gets some that was put by.
 */
static void *steady_realloc(void *old, long size)
{
	enum { RESERVE = 32 * 1024, ALIGN = 16 };
	static uint8_t reserve[RESERVE] __attribute__((aligned(ALIGN)));
	static size_t used;
	bool ours = (uint8_t *)old >= reserve && (uint8_t *)old < reserve + RESERVE;

	if (!size) {
		if (!ours)
			free(old);
		return NULL;
	}
	void *got = ours ? malloc((size_t)size) : realloc(old, (size_t)size);
	size_t room = ((size_t)size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	if (!got && RESERVE - used >= room) {
		got = reserve + used;
		used += room;
		/* As much of it as there can be: it was smaller. */
		size_t had = ours  ? (size_t)(reserve + used - room - (uint8_t *)old)
			     : old ? malloc_usable_size(old)
				   : 0;
		memcpy(got, old ? old : got, MIN(had, (size_t)size));
		if (!ours)
			free(old);
	} else if (got && ours) {
		memcpy(got, old, MIN((size_t)(reserve + used - (uint8_t *)old), (size_t)size));
	}
	return got;
}

struct loop *loop_new(void)
{
	struct loop *loop = calloc(1, sizeof(*loop));
	if (!loop)
		return NULL;
	ev_set_allocator(steady_realloc);
	/* No environment variable may choose another backend, and libev must leave the signal mask
	 * alone: it is the tracer's and signals.c's. */
	loop->ev = ev_loop_new(EVBACKEND_EPOLL | EVFLAG_NOENV | EVFLAG_NOSIGMASK);
	if (!loop->ev) {
		free(loop);
		return NULL;
	}
	return loop;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	ev_loop_destroy(loop->ev);
	free(loop);
}

void loop_run(struct loop *loop)
{
	ev_run(loop->ev, 0);
}

void loop_stop(struct loop *loop)
{
	ev_break(loop->ev, EVBREAK_ALL);
}

void loop_once(struct loop *loop, bool wait)
{
	ev_run(loop->ev, wait ? EVRUN_ONCE : EVRUN_NOWAIT);
}

static void on_io(struct ev_loop *ev _unused_, ev_io *io, int revents)
{
	struct watch *w = io->data;
	unsigned events = 0;

	if (revents & (EV_READ | EV_ERROR))
		events |= LOOP_READ;
	if (revents & EV_WRITE)
		events |= LOOP_WRITE;
	w->ready(w->ctx, events);
}

void watch_start(struct loop *loop, struct watch *w, int fd, unsigned events,
		 void (*ready)(void *ctx, unsigned events), void *ctx)
{
	watch_stop(w);

	ev_io *io = (ev_io *)w->ev;
	ev_io_init(io, on_io, fd,
		   (events & LOOP_READ ? EV_READ : 0) | (events & LOOP_WRITE ? EV_WRITE : 0));
	io->data = w;
	w->ready = ready;
	w->ctx = ctx;
	w->loop = loop;
	ev_io_start(loop->ev, io);
}

void watch_stop(struct watch *w)
{
	if (!w->loop)
		return;
	ev_io_stop(w->loop->ev, (ev_io *)w->ev);
	w->loop = NULL;
}

static void on_timer(struct ev_loop *ev _unused_, ev_timer *timer, int revents _unused_)
{
	struct timer *t = timer->data;
	t->loop = NULL; /* one-shot: libev has stopped it */
	t->due(t->ctx);
}

void timer_start(struct loop *loop, struct timer *t, unsigned delay_ms, void (*due)(void *ctx),
		 void *ctx)
{
	timer_stop(t);

	ev_timer *timer = (ev_timer *)t->ev;
	ev_now_update(
		loop->ev); /* a handler may have stopped a thousand threads since the loop looked */
	ev_timer_init(timer, on_timer, delay_ms / 1000.0, 0.);
	timer->data = t;
	t->due = due;
	t->ctx = ctx;
	t->loop = loop;
	ev_timer_start(loop->ev, timer);
}

void timer_stop(struct timer *t)
{
	if (!t->loop)
		return;
	ev_timer_stop(t->loop->ev, (ev_timer *)t->ev);
	t->loop = NULL;
}
