#include "server/selftest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "protocol/frame.h"
#include "server/listen.h"
#include "server/options.h"
#include "target/live/live.h"

static int test_frame(struct err *err)
{
	static const uint8_t body[] = "m0000000000000000,}\x03";
	_cleanup_buf_ struct buf wire;
	_cleanup_(frame_fini) struct frame f;
	uint8_t *got = NULL;
	size_t len = 0;

	buf_init(&wire, 4096);
	frame_init(&f);
	frame_encode(&wire, body, sizeof(body) - 1, 0);
	if (buf_error(&wire) || frame_push(&f, wire.data, wire.len) < 0 ||
	    frame_next(&f, &got, &len) != FRAME_PACKET)
		return err_set(err, -EPROTO, "a packet that was encoded is not decoded");
	if (len != sizeof(body) - 2 || memcmp(got, "m0000000000000000,#", len))
		return err_set(err, -EPROTO, "a packet changes on the way");
	return 0;
}

static int test_listen(struct err *err)
{
	struct listener *l;
	struct comm c;
	int r = comm_parse(":0", false, &c, err);
	if (!r)
		r = listener_new(&c, &(struct listen_how){ 0 }, &l, err);
	if (!r)
		listener_free(l);
	return r;
}

/* Runs until the program has ended; its exit status, or an error. */
static int run_to_end(struct tracer *tr, struct target *t, struct err *err)
{
	struct resume go = { .action = RESUME_CONT };
	struct target_event ev = { 0 };
	int r = t->ops->run->resume(t, t->pid, &go);
	if (r < 0)
		return err_set(err, r, "cannot resume: %s", strerror(-r));

	tr->ops->commit(tr, false);
	for (int waited_ms = 0; waited_ms < 5000; waited_ms += 10) {
		tr->ops->collect(tr);
		while (tr->ops->next_event(tr, &ev) == 1) {
			if (ev.stop.kind == STOP_EXITED)
				return ev.stop.status;
			if (ev.stop.kind == STOP_KILLED)
				return err_set(err, -ECANCELED, "/bin/true was killed by signal %d",
					       ev.stop.signo);
		}
		usleep(10000);
	}
	return err_set(err, -ETIMEDOUT, "/bin/true does not end");
}

static int trace_true(struct tracer *tr, struct err *err)
{
	char *argv[] = { "/bin/true", NULL };
	struct launch how = { .argv = argv, .stdio_fd = { -1, -1, -1 } };
	struct user_regs_struct gp;
	struct target *t;
	uint8_t insn;
	size_t got = 0;

	int r = tr->ops->launch(tr, &how, &t, err);
	if (r < 0)
		return r;
	r = t->ops->gp_read(t, t->pid, &gp);
	if (!r)
		r = t->ops->mem_read(t, gp.rip, &insn, 1, &got);
	if (r < 0) {
		t->ops->run->kill(t);
		t->ops->close(t);
		return err_set(err, r, "cannot read registers and memory: %s", strerror(-r));
	}
	r = run_to_end(tr, t, err);
	if (r < 0)
		t->ops->run->kill(t);
	t->ops->close(t);
	return r > 0 ? err_set(err, -ECANCELED, "/bin/true ended with status %d", r) : r;
}

static int test_trace(struct err *err)
{
	struct tracer *tr = live_tracer_new(err);
	if (!tr)
		return err->code ? err->code : -ENOMEM;
	int r = trace_true(tr, err);
	tr->ops->free(tr);
	return r;
}

static const struct selftest {
	const char *name;
	int (*run)(struct err *err);
} tests[] = {
	{ "frame", test_frame },   /* packets survive encoding */
	{ "listen", test_listen }, /* loopback can be listened on */
	{ "trace", test_trace },   /* a program can be launched, read and run under ptrace */
};

int selftest_run(const char *filter)
{
	unsigned ran = 0, failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		struct err err = { 0 };
		if (filter && !strstr(tests[i].name, filter))
			continue;
		printf("Running selftest %s.\n", tests[i].name);
		fflush(stdout);
		ran++;
		int r = tests[i].run(&err);
		if (r < 0) {
			printf("Self test failed: %s\n", err_text(&err, r));
			failed++;
		}
	}
	printf("Ran %u unit tests, %u failed\n", ran, failed);
	return failed ? EXIT_FAILED : EXIT_ENDED;
}
