/*
 * Threads and goroutines of a running program: who runs where, with which registers, stop after stop while goroutines come and go
 * and the collector runs; and what a dying program says.
 */
#include <sys/syscall.h>
#include <sys/time.h>

#include "go_live.h"

enum { ROUNDS = 40, FRAMES = 2000 };

struct tally {
	size_t where[GO_WHERE_EXTRA + 1];
	size_t from[GO_REGS_SIGNAL + 1];
	size_t ends[GO_UNWIND_BROKEN + 1];
	size_t goroutines, stops, through;
	size_t duties[GO_DUTY_TEMPLATE + 1];
};

static struct go_frame frames[FRAMES];

static void describe_frames(size_t count)
{
	for (size_t i = 0; i < count; i++)
		printf("    #%zu %lx %s:%u%s%s\n", i, frames[i].pc, frames[i].at.function,
		       frames[i].at.line, frames[i].system ? " (system)" : "",
		       frames[i].signal ? " (signal)" : "");
}

struct round {
	struct live *p;
	struct go_model *m;
	struct tally *t;
	struct go_thread threads[LIVE_TASKS_MAX];
};

static int check_goroutine(void *ctx, const struct go_goroutine *g)
{
	struct round *r = ctx;
	const struct live_task *task = NULL;
	struct go_thread_regs at;
	struct go_regs regs;

	r->t->goroutines++;
	if (g->on_thread) {
		task = live_task(r->p, g->tid);
		if (!task)
			fail_msg("goroutine %lu runs on %d, which is no thread", g->goid, g->tid);
		at = live_thread_regs(task);
		const struct go_thread *t = &r->threads[task - r->p->tasks];
		if (t->where == GO_WHERE_NOT_GO)
			fail_msg("goroutine %lu runs on %d, which does not know it", g->goid,
				 g->tid);
		if (t->g.goid != g->goid)
			fail_msg("goroutine %lu runs on %d, which runs %lu", g->goid, g->tid,
				 t->g.goid);
	}
	assert_int_equal(go_regs(r->m, g, task ? &at : NULL, &regs), 0);
	r->t->from[regs.from]++;
	if (regs.from == GO_REGS_NONE) {
		assert_true(g->status == GO_COPYSTACK || g->status == GO_RUNNING ||
			    g->status == GO_SYSCALL);
		return 0;
	}
	size_t count = 0;
	enum go_unwind_end end = go_unwind(r->m, g, &regs, frames, FRAMES, &count);
	r->t->ends[end]++;
	/* Only where the thread stands between two stacks may a stack not be told. */
	if (end != GO_UNWIND_DONE && g->status != GO_COPYSTACK) {
		bool between = regs.from == GO_REGS_THREAD &&
			       (at.sp < g->stack_lo || at.sp >= g->stack_hi);
		printf("  goroutine %lu status %d regs %d at %lx sp %lx of [%lx, %lx): end %d\n",
		       g->goid, g->status, regs.from, regs.pc, regs.sp, g->stack_lo, g->stack_hi,
		       end);
		describe_frames(count);
		if (!between)
			fail_msg("goroutine %lu cannot be unwound", g->goid);
	} else if (end == GO_UNWIND_DONE) {
		assert_true(count > 0);
		const char *last = frames[count - 1].at.function;
		if (strcmp(last, "runtime.goexit") != 0 && strcmp(last, "runtime.mstart") != 0 &&
		    strcmp(last, "runtime.rt0_go") != 0)
			fail_msg("goroutine %lu ends in %s", g->goid, last);
	}
	return 0;
}

static void check_thread(struct round *r, size_t i)
{
	struct live_task *task = &r->p->tasks[i];
	const struct go_thread *t = &r->threads[i];
	struct go_thread_regs at = live_thread_regs(task);
	size_t count = 0;

	r->t->where[t->where]++;
	if (t->where == GO_WHERE_NOT_GO)
		return;
	/* An M that is just starting does not know its thread yet. */
	assert_true(t->tid == task->tid || (t->tid == 0 && !t->g.g));
	if (t->where == GO_WHERE_GO)
		assert_true(at.sp >= t->g.stack_lo && at.sp < t->g.stack_hi);
	assert_true(t->m_id >= 0 && t->m_id < LIVE_TASKS_MAX);
	if (t->where == GO_WHERE_SYSTEM && !t->g.g)
		r->t->duties[go_thread_duty(r->m, t, &at)]++;
	enum go_unwind_end end = go_unwind_thread(r->m, t, &at, frames, FRAMES, &count);
	/* Code of C and of the vdso has no function table; all else leads somewhere. */
	bool in_go = count && frames[count - 1].at.function;
	if (end == GO_UNWIND_BROKEN ||
	    (end == GO_UNWIND_LOST && t->where == GO_WHERE_GO && in_go)) {
		printf("  thread %d where %d pc %lx sp %lx: end %d\n", task->tid, t->where, at.pc,
		       at.sp, end);
		describe_frames(count);
	}
	if (t->where != GO_WHERE_GO && t->g.g && end == GO_UNWIND_DONE && count &&
	    strcmp(frames[count - 1].at.function, "runtime.goexit") == 0)
		r->t->through++;
}

static void one_stop(struct live *p, struct go_model **m, struct tally *t)
{
	struct round r = { .p = p, .t = t };
	struct go_thread_regs regs[LIVE_TASKS_MAX];
	struct err err = { 0 };

	live_seize(p);
	if (!*m)
		*m = live_model(p);
	else
		go_model_resumed(*m);
	r.m = *m;
	t->stops++;
	for (size_t i = 0; i < p->n_tasks; i++)
		regs[i] = live_thread_regs(&p->tasks[i]);
	assert_int_equal(go_threads(*m, regs, p->n_tasks, r.threads), 0);
	for (size_t i = 0; i < p->n_tasks; i++)
		check_thread(&r, i);
	if (go_walk(*m, 0, check_goroutine, &r, &err) < 0)
		fail_msg("%s", err.text);
	live_release(p);
}

/* To every thread, as the runtime does to preempt: some are found in the handler. */
static void send_urgent(pid_t pid)
{
	char dir[64];
	snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	DIR *d = opendir(dir);
	struct dirent *e;
	while (d && (e = readdir(d)))
		if (atoi(e->d_name) > 0)
			syscall(SYS_tgkill, pid, atoi(e->d_name), SIGURG);
	if (d)
		closedir(d);
}

static bool is_cgo(const char *path)
{
	return strstr(path, "-cgo") != NULL;
}

static void check_under_load(const char *path)
{
	static struct live p;
	struct tally t = { 0 };
	struct go_model *m = NULL;

	live_start(&p, path);
	free(live_hear(&p, "ready"));
	live_say(&p, "busy 20\n");
	free(live_hear(&p, "busy"));
	live_say(&p, "clock\n");
	free(live_hear(&p, "clock"));
	for (int i = 0; i < ROUNDS; i++) {
		send_urgent(p.pid);
		one_stop(&p, &m, &t);
		if (i % 4 == 0)
			live_say(&p, "gc\n");
		usleep(1000 + i * 137);
	}
	printf("%-28s %zu stops, %zu goroutines; threads: no Go %zu, Go %zu, system %zu, signal "
	       "%zu, "
	       "C %zu, vdso %zu, extra %zu; registers: none %zu, thread %zu, saved %zu, signal "
	       "%zu; through system stacks %zu\n",
	       live_label(path), t.stops, t.goroutines, t.where[0], t.where[1], t.where[2],
	       t.where[3], t.where[4], t.where[5], t.where[6], t.from[0], t.from[1], t.from[2],
	       t.from[3], t.through);
	fflush(stdout);
	assert_true(t.where[GO_WHERE_GO] > 0 && t.where[GO_WHERE_SYSTEM] > 0);
	assert_true(t.from[GO_REGS_THREAD] > 0 && t.from[GO_REGS_SAVED] > 0);
	/* There is one, which stands in a handler at times but for ever in no other guise. */
	assert_true(t.duties[GO_DUTY_SYSMON] <= t.stops && t.duties[GO_DUTY_SYSMON] >= t.stops / 2);
	assert_true(t.duties[GO_DUTY_IDLE] > 0);
	if (is_cgo(path)) {
		/* As sysmon. */
		assert_true(t.where[GO_WHERE_C] >= t.stops / 2);
		assert_true(t.where[GO_WHERE_NOT_GO] >= t.stops / 2);
		if (go_model_minor(m) >= 21)
			assert_true(t.where[GO_WHERE_EXTRA] <= t.stops &&
				    t.where[GO_WHERE_EXTRA] >= t.stops / 2);
	}
	go_model_free(m);
	live_end(&p);
}

static void threads_are_told_under_load(void **state _unused_)
{
	for (size_t i = 0; i < live_n_paths; i++)
		check_under_load(live_paths[i]);
}

/* ---- instruction by instruction ---- */

enum { STEPS = 10000, STEPS_QUICK = 3000, STEPS_IN_HANDLER = 1500, PROCESSES = 30 };

static void on_alarm(int sig _unused_)
{
}

/* False: the thread waits for another one (which is stopped), or is gone. */
static bool step(struct live_task *task, int sig)
{
	static const struct sigaction action = { .sa_handler = on_alarm };
	static const struct itimerval soon = { { 0, 100000 }, { 0, 500000 } }, never;
	int status = 0;

	sigaction(SIGALRM, &action, NULL);
	if (ptrace(PTRACE_SINGLESTEP, task->tid, 0, (void *)(long)sig) < 0)
		return false;
	setitimer(ITIMER_REAL, &soon, NULL);
	pid_t who = waitpid(task->tid, &status, __WALL);
	bool late = who < 0 && errno == EINTR;
	setitimer(ITIMER_REAL, &never, NULL);
	if (late) {
		ptrace(PTRACE_INTERRUPT, task->tid, 0, 0);
		waitpid(task->tid, &status, __WALL);
	}
	if (late || who < 0)
		return false;
	if (!WIFSTOPPED(status))
		return false;
	int got = WSTOPSIG(status);
	task->signal = status >> 16 == 0 && got != SIGTRAP ? got : 0;
	return ptrace(PTRACE_GETREGS, task->tid, 0, &task->regs) == 0;
}

struct stepped {
	size_t steps, with_goroutine, done, between, none;
	size_t where[GO_WHERE_EXTRA + 1];
};

/* What the thread runs now, and the goroutine's stack: whole, at every instruction. */
static void check_step(struct go_model *m, const struct live_task *task, struct stepped *s)
{
	struct go_thread_regs at = live_thread_regs(task);
	struct go_thread t;
	struct go_regs regs;
	size_t n = 0;

	go_model_resumed(m);
	assert_int_equal(go_threads(m, &at, 1, &t), 0);
	s->steps++;
	s->where[t.where]++;
	if (!t.g.g)
		return;
	s->with_goroutine++;
	assert_int_equal(go_regs(m, &t.g, &at, &regs), 0);
	if (regs.from == GO_REGS_NONE) {
		s->none++;
		return;
	}
	enum go_unwind_end end = go_unwind(m, &t.g, &regs, frames, FRAMES, &n);
	const char *last = n ? frames[n - 1].at.function : NULL;
	if (end == GO_UNWIND_DONE && last && strcmp(last, "runtime.goexit") == 0) {
		s->done++;
		return;
	}
	/* The stack it left, and the scheduler's it is not on yet. */
	bool own = regs.sp >= t.g.stack_lo && regs.sp < t.g.stack_hi;
	s->between++;
	if (own && t.g.status != GO_COPYSTACK) {
		printf("  where %d status %d regs %d pc %lx sp %lx: end %d\n", t.where, t.g.status,
		       regs.from, regs.pc, regs.sp, end);
		describe_frames(n);
		fail_msg("goroutine %lu cannot be unwound", t.g.goid);
	}
}

static void print_stepped(const char *path, const char *what, const struct stepped *s)
{
	printf("%-28s %s: %zu instructions, %zu of a goroutine: whole %zu, on neither stack %zu, "
	       "none %zu; Go %zu, system %zu, signal %zu, vdso %zu\n",
	       live_label(path), what, s->steps, s->with_goroutine, s->done, s->between, s->none,
	       s->where[GO_WHERE_GO], s->where[GO_WHERE_SYSTEM], s->where[GO_WHERE_SIGNAL],
	       s->where[GO_WHERE_VDSO]);
	fflush(stdout);
}

/* A thread in the code of a user goroutine of the busy ones. */
static struct live_task *running_task(struct live *p, struct go_model *m)
{
	for (size_t i = 0; i < p->n_tasks; i++) {
		struct go_thread_regs at = live_thread_regs(&p->tasks[i]);
		struct go_thread t;
		assert_int_equal(go_threads(m, &at, 1, &t), 0);
		const char *start = t.g.g ? go_start_function(m, &t.g) : NULL;
		if (t.where == GO_WHERE_GO && start && strncmp(start, "main.busy", 9) == 0)
			return &p->tasks[i];
	}
	return NULL;
}

/*
 * Steps one thread of a fresh process while the others stand still, until it has to wait for one of them. The process is not let
 * go on afterwards: what was stepped over a pushf has the trap flag on its stack.
 */
static void step_one(const char *path, struct stepped *all, struct stepped *handler)
{
	static struct live p;
	struct go_model *m = NULL;
	struct live_task *task = NULL;

	live_start(&p, path);
	free(live_hear(&p, "ready"));
	live_say(&p, "busy 20\n");
	free(live_hear(&p, "busy"));
	for (int i = 0; i < 300; i++) {
		live_seize(&p);
		if (!m)
			m = live_model(&p);
		go_model_resumed(m);
		task = running_task(&p, m);
		if (task)
			break;
		live_release(&p);
		usleep(1000);
	}
	assert_non_null(task);
	bool going = true;
	int steps = getenv("STOPGO_GO_FULL") ? STEPS : STEPS_QUICK;
	for (int n = 0; going && n < steps; n++) {
		going = step(task, task->signal);
		if (going)
			check_step(m, task, all);
	}
	/* Into a handler and out of it. */
	going = going && step(task, SIGURG);
	for (int n = 0; going && n < STEPS_IN_HANDLER; n++) {
		check_step(m, task, handler);
		going = step(task, task->signal);
	}
	go_model_free(m);
	live_end(&p);
}

static bool enough(const struct stepped *all, const struct stepped *handler)
{
	return all->done > 100 && handler->done > 100 && handler->where[GO_WHERE_SIGNAL] >= 100;
}

static void step_through(const char *path)
{
	struct stepped all = { 0 }, handler = { 0 };

	/* The thread may be in the scheduler when the signal comes: then the handler is on top of no goroutine. */
	for (int i = 0; i < PROCESSES && !enough(&all, &handler); i++)
		step_one(path, &all, &handler);
	print_stepped(path, "steps", &all);
	print_stepped(path, "in a handler", &handler);
	assert_true(enough(&all, &handler));
}

static void every_instruction_has_a_stack(void **state _unused_)
{
	/* Long. */
	if (!getenv("STOPGO_GO_FULL"))
		skip();
	for (size_t i = 0; i < live_n_paths; i++)
		step_through(live_paths[i]);
}

/* ---- dying ---- */

/* A trap at each of the points, written as the program's own would be. */
static void set_traps(struct live *p, const struct go_fatal_point *points, size_t count,
		      uint8_t *kept, bool set)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/mem", p->pid);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	for (size_t i = 0; i < count; i++) {
		uint8_t trap = 0xcc;
		if (set)
			assert_int_equal(pread(fd, &kept[i], 1, (off_t)points[i].entry), 1);
		assert_int_equal(pwrite(fd, set ? &trap : &kept[i], 1, (off_t)points[i].entry), 1);
	}
	close(fd);
}

/* Lets the threads run until one hits a trap; the others are left running. Returns it, or -1. */
static pid_t run_to_trap(struct live *p)
{
	for (size_t i = 0; i < p->n_tasks; i++)
		ptrace(PTRACE_CONT, p->tasks[i].tid, 0, (void *)(long)p->tasks[i].signal);
	for (int n = 0; n < 100000; n++) {
		int status;
		pid_t tid = waitpid(-1, &status, __WALL);
		if (tid < 0)
			return -1;
		if (!WIFSTOPPED(status))
			continue;
		int sig = WSTOPSIG(status);
		if (status >> 16 == 0 && sig == SIGTRAP)
			return tid;
		ptrace(PTRACE_CONT, tid, 0, (void *)(long)(status >> 16 ? 0 : sig));
	}
	return -1;
}

/* After the traps are gone: one that hit a trap as well goes back to where it was. */
static void let_go_on(pid_t tid, int status)
{
	struct user_regs_struct regs;
	int sig = status >> 16 ? 0 : WSTOPSIG(status);

	if (sig == SIGTRAP && ptrace(PTRACE_GETREGS, tid, 0, &regs) == 0) {
		regs.rip--;
		ptrace(PTRACE_SETREGS, tid, 0, &regs);
		sig = 0;
	}
	ptrace(PTRACE_CONT, tid, 0, (void *)(long)sig);
}

/* Whatever tabs there are. */
static bool begins_with(const char *text, const char *start)
{
	for (; *start; start++) {
		if (*start == '\t')
			continue;
		while (*text == '\t')
			text++;
		if (*text++ != *start)
			return false;
	}
	return true;
}

static void check_death(const char *path, const char *kind, const char *expect)
{
	static struct live p;
	struct go_fatal_point points[GO_FATAL_POINTS_MAX];
	uint8_t kept[GO_FATAL_POINTS_MAX];
	struct user_regs_struct regs;
	char command[64];

	if (getenv("STOPGO_GO_TELL")) {
		printf("%s: panic %s\n", live_label(path), kind);
		fflush(stdout);
	}

	live_start(&p, path);
	free(live_hear(&p, "ready"));
	live_seize(&p);
	struct go_model *m = live_model(&p);
	size_t count = go_fatal_points(m, points);
	set_traps(&p, points, count, kept, true);
	/* New threads must be seen too: the map writers start some. */
	for (size_t i = 0; i < p.n_tasks; i++)
		ptrace(PTRACE_SETOPTIONS, p.tasks[i].tid, 0, PTRACE_O_TRACECLONE);
	snprintf(command, sizeof(command), "panic %s\n", kind);
	live_say(&p, command);
	pid_t tid = run_to_trap(&p);
	assert_true(tid > 0);
	assert_int_equal(ptrace(PTRACE_GETREGS, tid, 0, &regs), 0);
	go_model_resumed(m);

	_cleanup_buf_ struct buf text;
	buf_init(&text, 1 << 16);
	enum go_fatal hit = GO_FATAL_NONE;
	for (size_t i = 0; i < count; i++)
		if (points[i].entry == regs.rip - 1)
			hit = points[i].kind;
	assert_int_not_equal(hit, GO_FATAL_NONE);
	assert_int_equal(go_put_fatal(m, hit, regs.rax, regs.rbx, &text), 0);
	if (hit == GO_FATAL_PANIC) {
		/* The goroutine knows it as well. */
		_cleanup_buf_ struct buf again;
		buf_init(&again, 1 << 16);
		struct go_thread_regs at = { regs.fs_base, regs.rip - 1, regs.rsp, regs.rbp };
		struct go_thread t;
		assert_int_equal(go_threads(m, &at, 1, &t), 0);
		assert_int_equal(t.where, GO_WHERE_GO);
		assert_int_equal(go_put_panics(m, &t.g, &again), 0);
		assert_string_equal(buf_cstr(&again), buf_cstr(&text));
		size_t n = 0;
		enum go_unwind_end end = go_unwind_thread(m, &t, &at, frames, FRAMES, &n);
		if (end != GO_UNWIND_DONE)
			describe_frames(n);
		assert_int_equal(end, GO_UNWIND_DONE);
		ssize_t user = go_frame_user(frames, n);
		assert_true(user >= 0);
		assert_true(strncmp(frames[user].at.function, "main.", 5) == 0);
	}

	/* Now let it say so itself. */
	set_traps(&p, points, count, kept, false);
	regs.rip--;
	ptrace(PTRACE_SETREGS, tid, 0, &regs);
	ptrace(PTRACE_CONT, tid, 0, 0);
	char *said = NULL;
	if (!expect) {
		size_t have = 0;
		said = calloc(1, 1 << 20);
		for (int n = 0; n < 10000; n++) {
			struct pollfd fd = { .fd = p.from, .events = POLLIN };
			int status;
			pid_t who = waitpid(-1, &status, __WALL | WNOHANG);
			if (who > 0 && WIFSTOPPED(status))
				let_go_on(who, status);
			if (poll(&fd, 1, 5) <= 0)
				continue;
			ssize_t got = read(p.from, said + have, (1 << 20) - 1 - have);
			if (got <= 0)
				break;
			have += (size_t)got;
			if (strstr(said, "goroutine "))
				break;
		}
		const char *from =
			strstr(said, hit == GO_FATAL_PANIC ? "panic: " : "fatal error: ");
		assert_non_null(from);
		/* Since Go 1.23 a line after the first is indented. */
		if (!begins_with(from, buf_cstr(&text)))
			fail_msg("%s: the program says '%.200s', we say '%s'", kind, from,
				 buf_cstr(&text));
	} else {
		assert_string_equal(buf_cstr(&text), expect);
	}
	free(said);
	go_model_free(m);
	live_end(&p);
}

static void last_words_are_the_programs_own(void **state _unused_)
{
	static const char *const kinds[] = { "string", "error", "custom", "code",  "pointer",
					     "index",  "nil",   "chain",  "throw", "map" };
	for (size_t i = 0; i < live_n_paths; i++) {
		for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
			check_death(live_paths[i], kinds[k], NULL);
		check_death(live_paths[i], "float", "panic: 1.5\n");
		printf("%-28s %zu deaths\n", live_label(live_paths[i]), ARRAY_SIZE(kinds) + 1);
		fflush(stdout);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(threads_are_told_under_load, live_teardown),
		cmocka_unit_test_teardown(every_instruction_has_a_stack, live_teardown),
		cmocka_unit_test_teardown(last_words_are_the_programs_own, live_teardown),
	};
	if (getenv("STOPGO_GO_TEST"))
		cmocka_set_test_filter(getenv("STOPGO_GO_TEST"));
	live_fixtures("states");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
