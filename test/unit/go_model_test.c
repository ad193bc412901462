/* The model on a made-up program: what no real one can be made to show at will. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "go_tiny.h"

static struct tiny tiny;

struct opened {
	struct image *img;
	struct go_model *m;
};

static struct opened open_tiny(void)
{
	struct opened o = { NULL, NULL };
	struct err err = { 0 };
	if (image_of_bytes(tiny.data, sizeof(tiny.data), "tiny", &o.img, &err) < 0 ||
	    go_model_open(o.img, 0, &tiny.mem, &o.m, &err) < 0)
		fail_msg("%s", err_text(&err, -1));
	return o;
}

static void close_tiny(struct opened *o)
{
	go_model_free(o->m);
	image_free(o->img);
}

#define _cleanup_tiny_ _cleanup_(close_tiny)

static const struct go_thread_regs running = {
	.fs_base = TINY_BASE + TINY_TLS,
};

static struct go_thread_regs at_main(void)
{
	struct go_thread_regs r = running;
	r.pc = tiny_func("main.main") + 40;
	r.sp = tiny_stack(0) - 200;
	return r;
}

static void assert_frame(const struct go_frame *f, const char *function, unsigned line)
{
	assert_non_null(f->at.function);
	assert_string_equal(f->at.function, function);
	assert_int_equal(f->at.line, line);
	assert_string_equal(f->at.file, "/src/tiny.go");
}

static unsigned line_of(const char *function)
{
	for (size_t i = 0; i < TINY_FUNCS; i++)
		if (strcmp(tiny_funcs[i], function) == 0)
			return (unsigned)(10 + i);
	return 0;
}

static void everything_is_found(void **state _unused_)
{
	_cleanup_buf_ struct buf facts;
	tiny_make(&tiny);
	_cleanup_tiny_ struct opened o = open_tiny();

	assert_non_null(o.m);
	assert_string_equal(go_model_version(o.m), "go1.27.3");
	assert_int_equal(go_model_minor(o.m), 27);
	assert_string_equal(go_model_build_setting(o.m, "-buildmode"), "exe");
	assert_string_equal(go_model_build_setting(o.m, "path"), "tiny");
	assert_null(go_model_build_setting(o.m, "mod"));
	struct err err = { 0 };
	if (!go_model_ready(o.m, &err))
		fail_msg("%s", err.text);
	buf_init(&facts, 1 << 16);
	go_model_describe(o.m, &facts);
	assert_null(strstr(buf_cstr(&facts), "missing"));
	assert_non_null(strstr(buf_cstr(&facts), "from the program's type descriptors"));
	assert_int_equal(go_func_count(o.m), TINY_FUNCS);
	assert_int_equal(go_count(o.m), 3);
}

static void functions_and_lines(void **state _unused_)
{
	tiny_make(&tiny);
	_cleanup_tiny_ struct opened o = open_tiny();
	uint64_t outer = tiny_func("main.outer");
	struct go_line lines[4];

	assert_string_equal(go_func_at(o.m, outer + 63).name, "main.outer");
	assert_null(go_func_at(o.m, outer + 64).name);
	assert_null(go_func_at(o.m, tiny_func("runtime.allgadd") - 1).name);
	struct go_func f = go_func_by_name(o.m, "main.(*Pool).run");
	assert_int_equal(f.entry, tiny_func("main.(*Pool).run"));
	assert_int_equal(f.start_line, line_of("main.(*Pool).run") - 1);
	assert_int_equal(go_func_after_prologue(o.m, &f), f.entry + 14);

	assert_int_equal(go_lines_at(o.m, outer + 10, lines, 4), 1);
	assert_string_equal(lines[0].function, "main.outer");
	assert_int_equal(go_lines_at(o.m, outer + 40, lines, 4), 2);
	assert_string_equal(lines[0].function, "main.inner");
	assert_int_equal(lines[0].line, line_of("main.outer") + 1);
	assert_true(lines[0].inlined && !lines[1].inlined);
	assert_string_equal(lines[1].function, "main.outer");
	assert_int_equal(lines[1].line, line_of("main.outer"));
	assert_int_equal(go_lines_at(o.m, outer + 40, lines, 1), 1);

	uint64_t low, high;
	assert_true(go_line_range(o.m, tiny_func("main.main") + 5, &low, &high));
	assert_int_equal(low, tiny_func("main.main"));
	assert_int_equal(high, tiny_func("main.main") + 32);
	/* What is inlined belongs to the line of the call. */
	assert_true(go_line_range(o.m, outer + 40, &low, &high));
	assert_int_equal(low, outer);
	assert_int_equal(high, outer + 64);
	assert_false(go_line_range(o.m, 1, &low, &high));
}

static int collect(void *ctx, const struct go_goroutine *g)
{
	uint64_t *goids = ctx;
	goids[goids[0] + 1] = g->goid;
	goids[0]++;
	return 0;
}

static void goroutines_and_states(void **state _unused_)
{
	tiny_make(&tiny);
	_cleanup_tiny_ struct opened o = open_tiny();
	uint64_t goids[8] = { 0 };
	struct go_goroutine g;

	assert_int_equal(go_walk(o.m, 0, collect, goids, NULL), 0);
	assert_int_equal(goids[0], 2);
	assert_int_equal(goids[1], 1);
	assert_int_equal(goids[2], 2);
	goids[0] = 0;
	assert_int_equal(go_walk(o.m, GO_WALK_ALL, collect, goids, NULL), 0);
	assert_int_equal(goids[0], 3);

	assert_int_equal(go_find(o.m, 1, &g), 0);
	assert_int_equal(g.tid, 4711);
	assert_true(g.on_thread && !g.system);
	assert_int_equal(go_find(o.m, 3, &g), 0);
	assert_int_equal(g.g, 0);
	assert_int_equal(go_find(o.m, 99, &g), 0);
	assert_int_equal(g.g, 0);
	assert_int_equal(go_find(o.m, 2, &g), 0);
	assert_int_equal(g.status, GO_WAITING);
	assert_string_equal(go_wait_reason(o.m, &g), "chan receive");
	assert_string_equal(go_start_function(o.m, &g), "main.(*Pool).run");
	assert_string_equal(go_creator(o.m, &g).function, "main.main");

	_cleanup_buf_ struct buf text;
	buf_init(&text, 1000);
	go_put_state(o.m, &g, 0, &text);
	assert_string_equal(buf_cstr(&text), "chan receive");
	buf_reset(&text);
	g.wait_since = 1000;
	g.locked_m = 1;
	go_put_state(o.m, &g, 1000 + 3 * UINT64_C(60000000000), &text);
	assert_string_equal(buf_cstr(&text), "chan receive, 3m, locked to thread");
	buf_reset(&text);
	g.locked_m = 0;
	g.status = GO_LEAKED;
	go_put_state(o.m, &g, 1000 + 150 * UINT64_C(60000000000), &text);
	assert_string_equal(buf_cstr(&text), "chan receive (leaked), 2h30m");

	/* The g is used again for another one: the old id is gone, the new one is there, after the program ran. */
	tiny_set_g(&tiny, 1, "goid", 77);
	go_model_resumed(o.m);
	assert_int_equal(go_find(o.m, 2, &g), 0);
	assert_int_equal(g.g, 0);
	assert_int_equal(go_find(o.m, 77, &g), 0);
	assert_int_equal(g.g, tiny_g(1));
}

static void a_parked_stack(void **state _unused_)
{
	tiny_make(&tiny);
	_cleanup_tiny_ struct opened o = open_tiny();
	struct go_goroutine g;
	struct go_regs regs;
	struct go_frame f[16];
	size_t n;

	assert_int_equal(go_find(o.m, 2, &g), 0);
	assert_int_equal(go_regs(o.m, &g, NULL, &regs), 0);
	assert_int_equal(regs.from, GO_REGS_SAVED);
	assert_int_equal(regs.tid, 0);
	assert_int_equal(go_unwind(o.m, &g, &regs, f, 16, &n), GO_UNWIND_DONE);
	assert_int_equal(n, 5);
	assert_frame(&f[0], "runtime.gopark", line_of("runtime.gopark"));
	assert_frame(&f[1], "main.inner", line_of("main.outer") + 1);
	assert_frame(&f[2], "main.outer", line_of("main.outer"));
	assert_frame(&f[3], "main.(*Pool).run", line_of("main.(*Pool).run"));
	assert_frame(&f[4], "runtime.goexit", line_of("runtime.goexit"));
	assert_true(f[1].inlined && f[1].cfa == f[2].cfa && f[1].pc == f[2].pc);
	assert_int_equal(go_frame_user(f, n), 1);
	assert_int_equal(go_unwind(o.m, &g, &regs, f, 3, &n), GO_UNWIND_FULL);
	assert_int_equal(n, 3);

	/* A return address that leads nowhere, and a stack that ends too soon. */
	tiny_poke(&tiny, regs.sp + 24, 12345);
	assert_int_equal(go_unwind(o.m, &g, &regs, f, 16, &n), GO_UNWIND_LOST);
	g.stack_hi = regs.sp + 8;
	assert_int_equal(go_unwind(o.m, &g, &regs, f, 16, &n), GO_UNWIND_BROKEN);
}

static void one_that_never_ran(void **state _unused_)
{
	tiny_make(&tiny);
	uint64_t sp = tiny_stack(1) - 40;
	tiny_set_g(&tiny, 1, "atomicstatus", GO_RUNNABLE);
	tiny_set_g(&tiny, 1, "sched.pc", tiny_func("main.(*Pool).run"));
	tiny_set_g(&tiny, 1, "sched.sp", sp);
	tiny_poke(&tiny, sp, tiny_func("runtime.goexit") + 1);
	_cleanup_tiny_ struct opened o = open_tiny();
	struct go_goroutine g;
	struct go_regs regs;
	struct go_frame f[4];
	size_t n;

	assert_int_equal(go_find(o.m, 2, &g), 0);
	assert_int_equal(go_regs(o.m, &g, NULL, &regs), 0);
	assert_true(regs.pc_exact);
	assert_int_equal(go_unwind(o.m, &g, &regs, f, 4, &n), GO_UNWIND_DONE);
	assert_int_equal(n, 2);
	assert_frame(&f[0], "main.(*Pool).run", line_of("main.(*Pool).run"));
}

/* A thread where regs says: what is it, and which registers does goroutine 1 have? */
static struct go_thread look(struct go_model *m, const struct go_thread_regs *at,
			     struct go_regs *regs)
{
	struct go_thread t;
	struct go_goroutine g;

	go_model_resumed(m);
	assert_int_equal(go_threads(m, at, 1, &t), 0);
	assert_int_equal(go_find(m, 1, &g), 0);
	assert_int_equal(go_regs(m, &g, at, regs), 0);
	return t;
}

static void threads_by_where_sp_is(void **state _unused_)
{
	tiny_make(&tiny);
	_cleanup_tiny_ struct opened o = open_tiny();
	struct go_thread_regs at = at_main();
	struct go_regs regs;

	struct go_thread t = look(o.m, &at, &regs);
	assert_int_equal(t.where, GO_WHERE_GO);
	assert_int_equal(t.tid, 4711);
	assert_int_equal(t.g.goid, 1);
	assert_int_equal(regs.from, GO_REGS_THREAD);
	assert_int_equal(regs.tid, 4711);

	/* On the scheduler's stack for it, the slot says g0. */
	tiny_put(&tiny, TINY_TLS - 8, tiny_g(TINY_G0));
	tiny_set_g(&tiny, 0, "sched.pc", tiny_func("main.main") + 20);
	tiny_set_g(&tiny, 0, "sched.sp", tiny_stack(0) - 100);
	at.sp = tiny_stack(TINY_G0) - 100;
	at.pc = tiny_func("runtime.schedule") + 20;
	t = look(o.m, &at, &regs);
	assert_int_equal(t.where, GO_WHERE_SYSTEM);
	assert_int_equal(t.g.goid, 1);
	assert_int_equal(regs.from, GO_REGS_SAVED);
	assert_int_equal(regs.sp, tiny_stack(0) - 100);

	/* Between the stacks nothing is saved: the thread's own. */
	tiny_set_g(&tiny, 0, "sched.sp", 0);
	t = look(o.m, &at, &regs);
	assert_int_equal(regs.from, GO_REGS_THREAD);

	/* In the vdso; but not when it is the scheduler that asks for the time. */
	tiny_set_m(&tiny, "vdsoSP", tiny_stack(0) - 48);
	tiny_set_m(&tiny, "vdsoPC", tiny_func("main.main") + 44);
	at.pc = 0x7fff00000000;
	t = look(o.m, &at, &regs);
	assert_int_equal(t.where, GO_WHERE_VDSO);
	assert_int_equal(regs.from, GO_REGS_SAVED);
	assert_int_equal(regs.sp, tiny_stack(0) - 48);
	tiny_set_m(&tiny, "vdsoSP", tiny_stack(TINY_G0) - 48);
	t = look(o.m, &at, &regs);
	assert_int_equal(t.where, GO_WHERE_SYSTEM);
	tiny_set_m(&tiny, "vdsoSP", 0);

	/* In C. */
	tiny_set_g(&tiny, 0, "atomicstatus", GO_SYSCALL);
	tiny_set_g(&tiny, 0, "syscallsp", tiny_stack(0) - 64);
	tiny_set_g(&tiny, 0, "syscallpc", tiny_func("main.main") + 33);
	t = look(o.m, &at, &regs);
	assert_int_equal(t.where, GO_WHERE_C);
	assert_int_equal(regs.from, GO_REGS_SAVED);
	assert_int_equal(regs.pc, tiny_func("main.main") + 33);

	/* A C thread that called Go once. */
	tiny_set_m(&tiny, "isExtraInC", 1);
	assert_int_equal(go_threads(o.m, &at, 1, &t), 0);
	assert_int_equal(t.where, GO_WHERE_EXTRA);
	assert_int_equal(t.g.g, 0);
	tiny_set_m(&tiny, "isExtraInC", 0);

	/* One that never did; one whose slot holds rubbish; one that has no slot. */
	tiny_put(&tiny, TINY_TLS - 8, 0);
	assert_int_equal(go_threads(o.m, &at, 1, &t), 0);
	assert_int_equal(t.where, GO_WHERE_NOT_GO);
	tiny_put(&tiny, TINY_TLS - 8, tiny_addr(TINY_TYPES));
	assert_int_equal(go_threads(o.m, &at, 1, &t), 0);
	assert_int_equal(t.where, GO_WHERE_NOT_GO);
	at.fs_base = 0;
	assert_int_equal(go_threads(o.m, &at, 1, &t), 0);
	assert_int_equal(t.where, GO_WHERE_NOT_GO);
}

/* On gsignal's stack, sigtramp (32 bytes of frame) under the kernel's frame; returns the handler's registers. */
static struct go_thread_regs in_handler(uint64_t pc, uint64_t sp)
{
	struct go_thread_regs at = running;
	uint64_t uc = tiny_stack(TINY_GSIGNAL) - 0x300;

	tiny_poke(&tiny, uc + 40 + 15 * 8, sp);
	tiny_poke(&tiny, uc + 40 + 16 * 8, pc);
	tiny_poke(&tiny, uc + 40 + 12 * 8, 0x1234); /* rdx */
	tiny_poke(&tiny, uc + 40 + 18 * 8, 0x33);
	at.sp = uc - 32 - 32;
	at.pc = tiny_func("runtime.gopark") + 30;
	tiny_poke(&tiny, at.sp + 24, tiny_func("runtime.sigtramp") + 20);
	return at;
}

static void signal_handlers(void **state _unused_)
{
	tiny_make(&tiny);
	_cleanup_tiny_ struct opened o = open_tiny();
	struct go_thread_regs at = in_handler(tiny_func("main.main") + 40, tiny_stack(0) - 200);
	struct go_regs regs;
	struct go_frame f[16];
	size_t n;

	struct go_thread t = look(o.m, &at, &regs);
	assert_int_equal(t.where, GO_WHERE_SIGNAL);
	assert_int_equal(t.g.goid, 1);
	assert_int_equal(regs.from, GO_REGS_SIGNAL);
	assert_int_equal(regs.pc, tiny_func("main.main") + 40);
	assert_int_equal(regs.gregs[12], 0x1234);
	assert_int_equal(go_unwind_thread(o.m, &t, &at, f, 16, &n), GO_UNWIND_DONE);
	assert_int_equal(n, 5);
	assert_frame(&f[0], "runtime.gopark", line_of("runtime.gopark"));
	assert_frame(&f[1], "runtime.sigtramp", line_of("runtime.sigtramp"));
	assert_true(f[1].signal && f[1].system && !f[2].system);
	/* Interrupted, not calling: the line of pc itself. */
	assert_frame(&f[2], "main.main", line_of("main.main") + 1);
	assert_frame(&f[4], "runtime.goexit", line_of("runtime.goexit"));

	/* The handler makes it look like a call: pc is pushed, sp has moved, pc has not. */
	tiny_poke(&tiny, tiny_stack(0) - 208, tiny_func("main.main") + 40);
	at = in_handler(tiny_func("main.main") + 40, tiny_stack(0) - 208);
	t = look(o.m, &at, &regs);
	assert_int_equal(regs.sp, tiny_stack(0) - 200);
	assert_int_equal(regs.gregs[15], tiny_stack(0) - 200);
	assert_int_equal(go_unwind_thread(o.m, &t, &at, f, 16, &n), GO_UNWIND_DONE);
	assert_int_equal(n, 5);
	assert_frame(&f[4], "runtime.goexit", line_of("runtime.goexit"));

	/* It interrupted the scheduler, which worked for the goroutine. */
	tiny_set_g(&tiny, 0, "sched.pc", tiny_func("main.main") + 20);
	tiny_set_g(&tiny, 0, "sched.sp", tiny_stack(0) - 200);
	at = in_handler(tiny_func("runtime.schedule") + 20, tiny_stack(TINY_G0) - 100);
	look(o.m, &at, &regs);
	assert_int_equal(regs.from, GO_REGS_SAVED);
	assert_int_equal(regs.sp, tiny_stack(0) - 200);
}

static void through_the_system_stack(void **state _unused_)
{
	tiny_make(&tiny);
	uint64_t sp = tiny_stack(0) - 232;
	tiny_set_g(&tiny, 0, "sched.pc", tiny_func("runtime.systemstack") + 40);
	tiny_set_g(&tiny, 0, "sched.sp", sp);
	sp = tiny_frame(&tiny, sp, tiny_func("main.main") + 20);
	sp = tiny_frame(&tiny, sp, tiny_func("runtime.main") + 30);
	tiny_frame(&tiny, sp, tiny_func("runtime.goexit") + 1);
	_cleanup_tiny_ struct opened o = open_tiny();
	struct go_thread_regs at = running;
	struct go_thread t;
	struct go_frame f[16];
	size_t n;

	at.sp = tiny_stack(TINY_G0) - 100;
	at.pc = tiny_func("runtime.gopark") + 30;
	tiny_poke(&tiny, at.sp + 24, tiny_func("runtime.systemstack") + 40);
	assert_int_equal(go_threads(o.m, &at, 1, &t), 0);
	assert_int_equal(t.where, GO_WHERE_SYSTEM);
	assert_int_equal(go_unwind_thread(o.m, &t, &at, f, 16, &n), GO_UNWIND_DONE);
	assert_int_equal(n, 5);
	assert_frame(&f[1], "runtime.systemstack", line_of("runtime.systemstack") + 1);
	assert_frame(&f[2], "main.main", line_of("main.main"));
	assert_true(f[0].system && !f[2].system);
	assert_frame(&f[4], "runtime.goexit", line_of("runtime.goexit"));
}

static void what_comes_later(void **state _unused_)
{
	tiny_make(&tiny);
	uint64_t kept[3];
	memcpy(kept, tiny.data + TINY_ALLGS, sizeof(kept));
	memset(tiny.data + TINY_ALLGS, 0, sizeof(kept));
	_cleanup_tiny_ struct opened o = open_tiny();
	struct err err = { 0 };
	struct go_thread t;
	struct go_thread_regs at = at_main();

	assert_false(go_model_ready(o.m, &err));
	assert_non_null(strstr(err.text, "not started"));
	assert_int_equal(go_walk(o.m, 0, collect, NULL, &err), -ENODATA);
	assert_int_equal(go_threads(o.m, &at, 1, &t), 0);
	assert_int_equal(t.where, GO_WHERE_NOT_GO);
	memcpy(tiny.data + TINY_ALLGS, kept, sizeof(kept));
	assert_false(go_model_ready(o.m, &err));
	go_model_resumed(o.m);
	assert_true(go_model_ready(o.m, &err));
	assert_int_equal(go_threads(o.m, &at, 1, &t), 0);
	assert_int_equal(t.where, GO_WHERE_GO);
}

static void what_is_missing_is_said(void **state _unused_)
{
	_cleanup_buf_ struct buf facts;
	struct err err = { 0 };

	tiny_make(&tiny);
	memset(tiny.data + TINY_PCLN, 0, 8);
	_cleanup_tiny_ struct opened o = open_tiny();
	assert_false(go_model_ready(o.m, &err));
	assert_non_null(strstr(err.text, "function table"));
	buf_init(&facts, 1 << 16);
	go_model_describe(o.m, &facts);
	assert_non_null(strstr(buf_cstr(&facts), "functions: missing"));
	assert_int_equal(go_func_count(o.m), 0);

	/* Types that say nothing: the table of the release is taken, as it fits. */
	tiny_make(&tiny);
	memset(tiny.data + TINY_TYPES, 0, TINY_ETYPES - TINY_TYPES);
	_cleanup_tiny_ struct opened q = open_tiny();
	assert_true(go_model_ready(q.m, &err));
	buf_reset(&facts);
	go_model_describe(q.m, &facts);
	assert_non_null(strstr(buf_cstr(&facts), "table of Go 1.27"));
	/* And not when it does not. */
	tiny_make(&tiny);
	memset(tiny.data + TINY_TYPES, 0, TINY_ETYPES - TINY_TYPES);
	tiny_set_g(&tiny, 0, "goid", UINT64_MAX);
	_cleanup_tiny_ struct opened s = open_tiny();
	assert_false(go_model_ready(s.m, &err));

	/* Not Go. */
	tiny_make(&tiny);
	tiny.data[TINY_BUILDINFO] = 0;
	_cleanup_tiny_ struct opened c = open_tiny();
	assert_null(c.m);
}

static int put_label(void *ctx, const char *key, const char *value)
{
	buf_printf(ctx, "%s=%s ", key, value);
	return 0;
}

static int put_ancestor(void *ctx, const struct go_ancestor *a)
{
	buf_printf(ctx, "%llu from %llx with %zu ", (unsigned long long)a->goid,
		   (unsigned long long)a->go_pc, a->n_pcs);
	return 0;
}

static void labels_ancestors_and_panics(void **state _unused_)
{
	_cleanup_buf_ struct buf text;
	struct go_goroutine g;
	uint64_t next = TINY_STRINGS + 0x600;

	buf_init(&text, 4096);
	tiny_make(&tiny);
	/* {list: {ptr, len, cap}} of {key, value}; the list also serves as ancestors, one of them */
	uint64_t pairs = tiny_addr(TINY_LABELS + 64);
	tiny_put(&tiny, TINY_LABELS, pairs);
	tiny_put(&tiny, TINY_LABELS + 8, 1);
	tiny_put(&tiny, TINY_LABELS + 16, 1);
	tiny_poke(&tiny, pairs, tiny_string(&tiny, &next, "team"));
	tiny_poke(&tiny, pairs + 8, 4);
	tiny_poke(&tiny, pairs + 16, tiny_string(&tiny, &next, "storage"));
	tiny_poke(&tiny, pairs + 24, 7);
	tiny_set_g(&tiny, 1, "labels", tiny_addr(TINY_LABELS));
	tiny_put(&tiny, TINY_LABELS + 128, tiny_addr(TINY_LABELS + 192));
	tiny_put(&tiny, TINY_LABELS + 136, 1);
	tiny_put(&tiny, TINY_LABELS + 144, 1);
	tiny_put(&tiny, TINY_LABELS + 192, tiny_addr(TINY_LABELS));
	tiny_put(&tiny, TINY_LABELS + 200, 2);
	tiny_put(&tiny, TINY_LABELS + 208, 2);
	tiny_put(&tiny, TINY_LABELS + 216, 5);
	tiny_put(&tiny, TINY_LABELS + 224, 0x401234);
	tiny_set_g(&tiny, 1, "ancestors", tiny_addr(TINY_LABELS + 128));
	/* A panic of a uint64, then one whose type is unreadable, in a circle. */
	uint64_t word = 0;
	for (uint64_t at = TINY_TYPES; at < TINY_TYPES + 640 && !word; at += 8)
		if (tiny.data[at + 23] == GO_KIND_UINT64)
			word = tiny_addr(at);
	assert_true(word != 0);
	tiny_put(&tiny, TINY_PANIC, word);
	tiny_put(&tiny, TINY_PANIC + 8, pairs + 24);
	tiny_set_g(&tiny, 1, "_panic", tiny_addr(TINY_PANIC));
	_cleanup_tiny_ struct opened o = open_tiny();

	assert_int_equal(go_find(o.m, 2, &g), 0);
	assert_int_equal(go_labels(o.m, &g, put_label, &text), 0);
	assert_string_equal(buf_cstr(&text), "team=storage ");
	buf_reset(&text);
	assert_int_equal(go_ancestors(o.m, &g, put_ancestor, &text), 0);
	assert_string_equal(buf_cstr(&text), "5 from 401234 with 2 ");
	buf_reset(&text);
	assert_int_equal(go_put_panics(o.m, &g, &text), 0);
	assert_string_equal(buf_cstr(&text), "panic: 7\n");
	buf_reset(&text);
	assert_int_equal(go_put_fatal(o.m, GO_FATAL_THROW, pairs - 64 + 1000, 3, &text), 0);
	assert_non_null(strstr(buf_cstr(&text), "fatal error: "));
	buf_reset(&text);
	tiny_put(&tiny, TINY_PANIC + 16, tiny_addr(TINY_PANIC)); /* link: to itself */
	assert_int_equal(go_put_panics(o.m, &g, &text), 0);
	assert_true(text.len < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_is_found),
		cmocka_unit_test(functions_and_lines),
		cmocka_unit_test(goroutines_and_states),
		cmocka_unit_test(a_parked_stack),
		cmocka_unit_test(one_that_never_ran),
		cmocka_unit_test(threads_by_where_sp_is),
		cmocka_unit_test(signal_handlers),
		cmocka_unit_test(through_the_system_stack),
		cmocka_unit_test(what_comes_later),
		cmocka_unit_test(what_is_missing_is_said),
		cmocka_unit_test(labels_ancestors_and_panics),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
