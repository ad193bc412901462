#include "fake.h"

#include "server/tracepoints.h"
#include "target/ax.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	MEM_START = 0x10000,
	MEM_SIZE = 0x20000,
	MEM_FIXED = 0x2f000,
	PHDRS_AT = 0x12000,
	DYNAMIC_AT = 0x12200,
	R_DEBUG_AT = 0x12300,
	LINK_MAPS_AT = 0x12400,
	NAMES_AT = 0x12600,
	THREADS_MAX = 64,
	POINTS_MAX = 64,
};

struct fake_thread {
	pid_t tid;
	bool running, marked, has_pending;
	bool ran; /* until everybody was stopped */
	struct stop pending, told;
	struct user_regs_struct gp;
	siginfo_t si;
};

struct fake_process {
	struct target base; /* first */
	struct fake *fake;
	bool launched, dead;
	struct fake_thread threads[THREADS_MAX];
	size_t count;
	struct point points[POINTS_MAX];
	size_t point_count;
	bool has_end;
	struct stop end;
	uint8_t mem[MEM_SIZE];
	struct xstate xs;
	struct fake_process *next;
};

static const struct target_ops fake_target_ops;

static struct fake *fake_of(struct target *t)
{
	return ((struct fake_process *)t)->fake;
}

static struct fake_thread *thread_of(struct target *t, pid_t tid)
{
	struct fake_process *p = (struct fake_process *)t;
	for (size_t i = 0; i < p->count; i++)
		if (p->threads[i].tid == tid)
			return &p->threads[i];
	return NULL;
}

#define DID(fake, ...) buf_printf(&(fake)->did, __VA_ARGS__)

/* --- the target --- */

static int mem_read_op(struct target *t, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	struct fake_process *p = (struct fake_process *)t;

	if (addr < MEM_START || addr >= MEM_START + MEM_SIZE)
		return -EFAULT;
	*ret_got = MIN(len, (size_t)(MEM_START + MEM_SIZE - addr));
	memcpy(into, p->mem + (addr - MEM_START), *ret_got);
	return 0;
}

static int mem_write_op(struct target *t, uint64_t addr, const void *from, size_t len)
{
	struct fake_process *p = (struct fake_process *)t;

	if (addr < MEM_START || addr > MEM_FIXED || len > MEM_FIXED - addr)
		return -EFAULT;
	memcpy(p->mem + (addr - MEM_START), from, len);
	return 0;
}

static int gp_read(struct target *t, pid_t tid, struct user_regs_struct *ret)
{
	struct fake_thread *th = thread_of(t, tid);
	if (!th)
		return -ESRCH;
	if (th->running)
		return -EBUSY;
	*ret = th->gp;
	return 0;
}

static int gp_write(struct target *t, pid_t tid, const struct user_regs_struct *gp)
{
	struct fake_thread *th = thread_of(t, tid);
	if (!th || th->running)
		return th ? -EBUSY : -ESRCH;
	th->gp = *gp;
	return 0;
}

static int xstate_read(struct target *t, pid_t tid, struct xstate *ret)
{
	struct fake_thread *th = thread_of(t, tid);
	if (!th || th->running)
		return th ? -EBUSY : -ESRCH;
	*ret = ((struct fake_process *)t)->xs;
	return 0;
}

static int xstate_write(struct target *t, pid_t tid, const struct xstate *xs)
{
	struct fake_thread *th = thread_of(t, tid);
	if (!th || th->running)
		return th ? -EBUSY : -ESRCH;
	((struct fake_process *)t)->xs = *xs;
	return 0;
}

static int siginfo_read(struct target *t, pid_t tid, siginfo_t *ret)
{
	struct fake_thread *th = thread_of(t, tid);
	if (!th)
		return -ESRCH;
	*ret = th->si;
	return 0;
}

static int siginfo_write(struct target *t, pid_t tid, const siginfo_t *si)
{
	struct fake_thread *th = thread_of(t, tid);
	if (!th)
		return -ESRCH;
	th->si = *si;
	return 0;
}

static int next_thread(struct target *t, pid_t after, pid_t *ret)
{
	struct fake_process *p = (struct fake_process *)t;
	pid_t best = 0;

	for (size_t i = 0; i < p->count; i++)
		if (p->threads[i].tid > after && (!best || p->threads[i].tid < best))
			best = p->threads[i].tid;
	*ret = best;
	return 0;
}

static int thread_info(struct target *t, pid_t tid, struct thread_info *ret)
{
	struct fake_thread *th = thread_of(t, tid);
	if (!th)
		return -ESRCH;
	*ret = (struct thread_info){ .core = 1, .stopped = !th->running };
	snprintf(ret->name, sizeof(ret->name), "t<%d>", (int)tid);
	return 0;
}

static int auxv_read(struct target *t, struct buf *out)
{
	const uint64_t words[] = { AT_PHDR,  PHDRS_AT, AT_PHENT, sizeof(Elf64_Phdr),
				   AT_PHNUM, 2,        AT_ENTRY, 0x11000,
				   0,        0 };
	(void)t;
	buf_put(out, words, sizeof(words));
	return buf_error(out);
}

static int exe_path(struct target *t, char *into, size_t size)
{
	snprintf(into, size, "/fake/%d", (int)t->pid);
	return 0;
}

static int region_at(struct target *t, uint64_t addr, struct mem_region *ret)
{
	(void)t;
	*ret = (struct mem_region){ .start = 0, .end = MEM_START };
	if (addr >= MEM_START + MEM_SIZE)
		*ret = (struct mem_region){ .start = MEM_START + MEM_SIZE };
	else if (addr >= MEM_START)
		*ret = (struct mem_region){ .start = MEM_START,
					    .end = MEM_START + MEM_SIZE,
					    .mapped = true,
					    .read = true,
					    .write = true };
	return 0;
}

static void close_op(struct target *t)
{
	struct fake_process *p = (struct fake_process *)t, **at = &p->fake->first;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	DID(p->fake, "close %d; ", (int)t->pid);
	for (size_t i = 0; i < p->point_count; i++) {
		for (size_t c = 0; c < p->points[i].condition_count; c++)
			ax_free(p->points[i].conditions[c]);
		for (size_t c = 0; c < p->points[i].command_count; c++)
			ax_free(p->points[i].commands[c]);
		free(p->points[i].conditions);
		free(p->points[i].commands);
	}
	free(p);
}

static int resume_op(struct target *t, pid_t tid, const struct resume *how)
{
	static const char *const names[] = { "cont", "step", "range" };
	struct fake_thread *th = thread_of(t, tid);

	if (!th || th->running)
		return th ? -EBUSY : -ESRCH;
	DID(fake_of(t), "resume %d %s", (int)tid, names[how->action]);
	if (how->signo)
		DID(fake_of(t), " signal %d", how->signo);
	if (how->action == RESUME_RANGE)
		DID(fake_of(t), " %llx %llx", (unsigned long long)how->start,
		    (unsigned long long)how->end);
	DID(fake_of(t), "; ");
	th->marked = true;
	return 0;
}

static struct fake_thread *running_thread(struct target *t)
{
	struct fake_process *p = (struct fake_process *)t;
	for (size_t i = 0; i < p->count; i++)
		if (p->threads[i].running && !p->threads[i].has_pending)
			return &p->threads[i];
	return NULL;
}

static int interrupt_op(struct target *t, pid_t tid)
{
	struct fake_thread *th = tid ? thread_of(t, tid) : running_thread(t);

	if (!th)
		return -ESRCH;
	DID(fake_of(t), "interrupt %d; ", (int)th->tid);
	if (th->running && !th->has_pending && !fake_of(t)->deaf) {
		th->has_pending = true;
		th->pending = (struct stop){ .kind = STOP_INTERRUPT };
	}
	return 0;
}

static int send_op(struct target *t, int signo)
{
	DID(fake_of(t), "send %d to %d; ", signo, (int)t->pid);
	return 0;
}

static int last_stop(struct target *t, pid_t tid, struct stop *ret)
{
	struct fake_thread *th = thread_of(t, tid);
	if (!th)
		return -ESRCH;
	*ret = th->told;
	return 0;
}

static int kill_op(struct target *t)
{
	DID(fake_of(t), "kill %d; ", (int)t->pid);
	((struct fake_process *)t)->count = 0;
	return 0;
}

static int detach_op(struct target *t, bool stop)
{
	DID(fake_of(t), "detach %d%s; ", (int)t->pid, stop ? " stopped" : "");
	((struct fake_process *)t)->count = 0;
	return 0;
}

static int catch_op(struct target *t, const long *numbers, ssize_t count)
{
	DID(fake_of(t), "catch %d", (int)count);
	for (ssize_t i = 0; i < count; i++)
		DID(fake_of(t), " %ld", numbers[i]);
	DID(fake_of(t), "; ");
	return 0;
}

static bool launched_op(struct target *t)
{
	return ((struct fake_process *)t)->launched;
}

static void free_expressions(struct point *p)
{
	for (size_t i = 0; i < p->condition_count; i++)
		ax_free(p->conditions[i]);
	for (size_t i = 0; i < p->command_count; i++)
		ax_free(p->commands[i]);
	free(p->conditions);
	free(p->commands);
}

static struct point *find_point(struct fake_process *p, const struct point *what)
{
	for (size_t i = 0; i < p->point_count; i++)
		if (p->points[i].kind == what->kind && p->points[i].addr == what->addr &&
		    p->points[i].len == what->len)
			return &p->points[i];
	return NULL;
}

static int insert_op(struct target *t, struct point *what, struct err *err)
{
	struct fake_process *p = (struct fake_process *)t;
	struct point *at = find_point(p, what);
	int r = 0;

	if (what->kind == POINT_READ)
		r = -EOPNOTSUPP;
	else if (what->addr < MEM_START || what->addr >= MEM_FIXED || p->fake->refuse)
		r = -EFAULT;
	else if (!at && p->point_count == POINTS_MAX)
		r = -ENOSPC;
	if (r < 0) {
		free_expressions(what);
		return err_set(err, r, "cannot insert");
	}
	DID(p->fake, "insert %d %llx %llu conditions %zu commands %zu; ", what->kind,
	    (unsigned long long)what->addr, (unsigned long long)what->len, what->condition_count,
	    what->command_count);
	if (at)
		free_expressions(at);
	else
		at = &p->points[p->point_count++];
	*at = *what;
	return 0;
}

static int remove_op(struct target *t, const struct point *what)
{
	struct fake_process *p = (struct fake_process *)t;
	struct point *at = find_point(p, what);

	if (what->kind == POINT_READ)
		return -EOPNOTSUPP;
	if (!at)
		return -ENOENT;
	if (what->number) /* the server's own: which the client's are its packets say */
		DID(p->fake, "remove %d %llx; ", (int)what->kind, (unsigned long long)what->addr);
	free_expressions(at);
	*at = p->points[--p->point_count];
	return 0;
}

static void remove_all_op(struct target *t)
{
	struct fake_process *p = (struct fake_process *)t;
	while (p->point_count)
		free_expressions(&p->points[--p->point_count]);
}

static const struct target_write_ops write_ops = { mem_write_op, gp_write, xstate_write,
						   siginfo_write };
static int tell_steps_op(struct target *t, pid_t tid)
{
	DID(fake_of(t), "steps %d; ", (int)tid);
	return 0;
}

static const struct target_run_ops run_ops = { resume_op, interrupt_op, send_op,
					       last_stop, kill_op,      detach_op,
					       catch_op,  launched_op,  tell_steps_op };
static const struct target_point_ops point_ops = {
	.insert = insert_op,
	.remove = remove_op,
	.remove_all = remove_all_op,
};

static const struct target_ops fake_target_ops = {
	.name = "fake",
	.mem_read = mem_read_op,
	.gp_read = gp_read,
	.xstate_read = xstate_read,
	.siginfo_read = siginfo_read,
	.next_thread = next_thread,
	.thread_info = thread_info,
	.auxv_read = auxv_read,
	.exe_path = exe_path,
	.region_at = region_at,
	.close = close_op,
	.write = &write_ops,
	.run = &run_ops,
	.points = &point_ops,
};

/* --- the tracer --- */

static void commit_op(struct tracer *tr, bool pending_first)
{
	struct fake *f = (struct fake *)tr;

	DID(f, "commit%s; ", pending_first ? " first" : "");
	f->nobody = pending_first;
	for (struct fake_process *p = f->first; p; p = p->next) {
		for (size_t i = 0; i < p->count; i++) {
			struct fake_thread *th = &p->threads[i];
			f->nobody &= !th->marked && !th->running;
			if (!th->marked)
				continue;
			th->marked = false;
			th->running = th->ran = true;
			th->told = (struct stop){ 0 };
		}
	}
}

static int next_event_op(struct tracer *tr, struct target_event *ret)
{
	struct fake *f = (struct fake *)tr;

	if (f->nobody && f->first && f->first->count) {
		f->nobody = false;
		*ret = (struct target_event){ &f->first->base,
					      f->first->base.pid,
					      { .kind = STOP_NO_RESUMED } };
		return 1;
	}
	for (struct fake_process *p = f->first; p; p = p->next) {
		if (p->has_end) {
			p->has_end = false;
			p->count = 0;
			*ret = (struct target_event){ &p->base, p->base.pid, p->end };
			return 1;
		}
		for (size_t i = 0; i < p->count; i++) {
			struct fake_thread *th = &p->threads[i];
			if (!th->running || !th->has_pending)
				continue;
			th->running = th->has_pending = false;
			th->told = th->pending;
			*ret = (struct target_event){ &p->base, th->tid, th->pending };
			if (th->pending.kind == STOP_THREAD_EXITED)
				fake_thread_ends(f, th->tid);
			return 1;
		}
	}
	return 0;
}

static int next_untold_op(struct tracer *tr, struct target_event *ret)
{
	struct fake *f = (struct fake *)tr;

	for (struct fake_process *p = f->first; p; p = p->next) {
		for (size_t i = 0; i < p->count; i++) {
			struct fake_thread *th = &p->threads[i];
			if (th->running || !th->has_pending || !th->ran ||
			    th->pending.kind > STOP_WATCH)
				continue;
			th->has_pending = false;
			th->told = th->pending;
			*ret = (struct target_event){ &p->base, th->tid, th->pending };
			return 1;
		}
	}
	return 0;
}

static void push_back_op(struct tracer *tr, const struct target_event *ev)
{
	struct fake_thread *th = thread_of(ev->target, ev->tid);
	(void)tr;
	if (th) {
		th->has_pending = true;
		th->pending = ev->stop;
	}
}

static void stop_all_op(struct tracer *tr)
{
	struct fake *f = (struct fake *)tr;

	DID(f, "stop all; ");
	for (struct fake_process *p = f->first; p; p = p->next)
		for (size_t i = 0; i < p->count; i++)
			p->threads[i].running = false;
}

static void stop_target_op(struct tracer *tr, struct target *t)
{
	struct fake_process *p = (struct fake_process *)t;

	DID((struct fake *)tr, "stop %d; ", (int)t->pid);
	for (size_t i = 0; i < p->count; i++)
		p->threads[i].running = false;
}

static void set_events_op(struct tracer *tr, const struct tracer_events *which)
{
	((struct fake *)tr)->events = *which;
}

static void set_signals_op(struct tracer *tr, const sigset_t *set)
{
	struct fake *f = (struct fake *)tr;

	DID(f, "signals");
	for (int i = 1; i <= 64; i++)
		if (sigismember(set, i) == 1)
			DID(f, " %d", i);
	DID(f, "; ");
}

static struct target *next_target_op(struct tracer *tr, struct target *after)
{
	struct fake_process *p =
		after ? ((struct fake_process *)after)->next : ((struct fake *)tr)->first;
	return p ? &p->base : NULL;
}

static int tracer_fd(struct tracer *tr)
{
	(void)tr;
	return -1;
}

static void collect_op(struct tracer *tr)
{
	(void)tr;
}

static const struct tracer_ops fake_tracer_ops = {
	.fd = tracer_fd,
	.collect = collect_op,
	.next_event = next_event_op,
	.next_untold = next_untold_op,
	.push_back = push_back_op,
	.commit = commit_op,
	.stop_all = stop_all_op,
	.stop_target = stop_target_op,
	.set_events = set_events_op,
	.set_pass_signals = set_signals_op,
	.set_program_signals = set_signals_op,
	.next_target = next_target_op,
};

/* --- making things happen --- */

static void put_word(struct fake_process *p, uint64_t addr, uint64_t value)
{
	memcpy(p->mem + (addr - MEM_START), &value, sizeof(value));
}

/* The program, then two objects whose names begin at NAMES_AT. */
static void fill_link_maps(struct fake_process *p)
{
	const uint64_t maps[3] = { LINK_MAPS_AT, LINK_MAPS_AT + 0x40, LINK_MAPS_AT + 0x80 };
	Elf64_Phdr ph[2] = { { .p_type = PT_PHDR, .p_vaddr = PHDRS_AT - 0x10000 },
			     { .p_type = PT_DYNAMIC, .p_vaddr = DYNAMIC_AT - 0x10000 } };

	memcpy(p->mem + (PHDRS_AT - MEM_START), ph, sizeof(ph));
	put_word(p, DYNAMIC_AT, DT_DEBUG);
	put_word(p, DYNAMIC_AT + 8, R_DEBUG_AT);
	put_word(p, DYNAMIC_AT + 16, DT_NULL);
	put_word(p, R_DEBUG_AT, 1);
	put_word(p, R_DEBUG_AT + 8, maps[0]);
	for (size_t i = 0; i < 3; i++) {
		put_word(p, maps[i], i * 0x1000);
		put_word(p, maps[i] + 8, NAMES_AT + i * 0x20);
		put_word(p, maps[i] + 16, 0x5000 + i);
		put_word(p, maps[i] + 24, i < 2 ? maps[i + 1] : 0);
		put_word(p, maps[i] + 32, i > 0 ? maps[i - 1] : 0);
		snprintf((char *)p->mem + (NAMES_AT - MEM_START) + i * 0x20, 0x20,
			 i ? "/lib/a&b%zu.so" : "%.0zu", i);
	}
}

static struct fake_process *new_process(struct fake *f, pid_t pid, bool launched)
{
	struct fake_process *p = calloc(1, sizeof(*p)), **at = &f->first;

	if (!p)
		return NULL;
	p->base = (struct target){ .ops = &fake_target_ops, .tracer = &f->base, .pid = pid };
	p->fake = f;
	p->launched = launched;
	p->xs.size = 832;
	for (size_t i = 0; i < MEM_SIZE; i++)
		p->mem[i] = (uint8_t)(MEM_START + i);
	fill_link_maps(p);
	while (*at)
		at = &(*at)->next;
	*at = p;
	fake_thread(f, pid, pid);
	return p;
}

static struct fake_process *find_process(struct fake *f, pid_t pid)
{
	struct fake_process *p = f->first;
	while (p && p->base.pid != pid)
		p = p->next;
	return p;
}

static struct fake_thread *find_thread(struct fake *f, pid_t tid)
{
	for (struct fake_process *p = f->first; p; p = p->next) {
		struct fake_thread *th = thread_of(&p->base, tid);
		if (th)
			return th;
	}
	return NULL;
}

struct target *fake_process(struct fake *f, pid_t pid, bool launched)
{
	if (find_thread(f, pid) || find_process(f, pid))
		return NULL;
	struct fake_process *p = new_process(f, pid, launched);
	if (!p || !inferiors_add(&f->inferiors, &p->base))
		return NULL;
	return &p->base;
}

bool fake_thread(struct fake *f, pid_t pid, pid_t tid)
{
	struct fake_process *p = find_process(f, pid);

	if (!p || find_thread(f, tid) || p->count == THREADS_MAX)
		return false;
	struct fake_thread *th = &p->threads[p->count++];
	*th = (struct fake_thread){ .tid = tid };
	th->gp.rax = (unsigned long)tid;
	th->gp.rbx = (unsigned long)tid << 8;
	th->gp.rsp = 0x18000;
	th->gp.rbp = 0x18010;
	th->gp.rip = 0x11000;
	th->si.si_signo = SIGTRAP;
	return true;
}

void fake_thread_ends(struct fake *f, pid_t tid)
{
	for (struct fake_process *p = f->first; p; p = p->next) {
		struct fake_thread *th = thread_of(&p->base, tid);
		if (!th)
			continue;
		if (f->base.stepper_gone)
			f->base.stepper_gone(f->base.hit_ctx, &p->base, tid);
		*th = p->threads[--p->count];
	}
}

/* Stopped for as long as its hit is looked at. */
static bool look_at(struct fake *f, pid_t tid, uint64_t addr, bool step)
{
	struct tracer *tr = &f->base;

	for (struct fake_process *p = f->first; p; p = p->next) {
		struct fake_thread *th = thread_of(&p->base, tid);
		struct point_hit hit = { .target = &p->base,
					 .tid = tid,
					 .kind = POINT_SW,
					 .addr = addr,
					 .number = TRACEPOINTS_NUMBER };
		if (!th)
			continue;
		bool ran = th->running;
		th->running = false;
		th->gp.rip = step ? th->gp.rip + 1 : addr;
		if (step && tr->stepped)
			DID(f, "%s; ", tr->stepped(tr->hit_ctx, &p->base, tid) ? "more" : "done");
		else if (!step && tr->hit)
			(void)tr->hit(tr->hit_ctx, &hit);
		th->running = ran;
		return true;
	}
	return false;
}

bool fake_traced(struct fake *f, pid_t tid, uint64_t addr)
{
	return look_at(f, tid, addr, false);
}

bool fake_stepped(struct fake *f, pid_t tid)
{
	return look_at(f, tid, 0, true);
}

bool fake_event(struct fake *f, pid_t tid, const struct stop *stop)
{
	struct fake_thread *th = find_thread(f, tid);

	if (stop->kind == STOP_EXITED || stop->kind == STOP_KILLED) {
		struct fake_process *p = find_process(f, tid);
		if (!p)
			return false;
		p->has_end = true;
		p->end = *stop;
		return true;
	}
	if (!th)
		return false;
	if (stop->kind == STOP_FORK || stop->kind == STOP_VFORK) {
		struct fake_process *p = f->first;
		while (p && thread_of(&p->base, tid) != th)
			p = p->next;
		if (find_thread(f, stop->child_pid) || find_process(f, stop->child_pid) ||
		    !new_process(f, stop->child_pid, p->launched))
			return false;
		th = find_thread(f, tid);
	}
	th->has_pending = true;
	th->pending = *stop;
	return true;
}

struct fake *fake_new(void)
{
	struct fake *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->base.ops = &fake_tracer_ops;
	f->next_pid = 100;
	buf_init(&f->did, 1 << 20);
	buf_init(&f->out, 1 << 26);
	/* What the test itself needs is there, whatever is refused later. */
	buf_reserve(&f->did, 1 << 16);
	buf_reserve(&f->out, 1 << 22);
	inferiors_init(&f->inferiors);
	f->server = (struct server){ .tracer = &f->base, .inferiors = &f->inferiors };
	return f;
}

void fake_free(struct fake *f)
{
	inferiors_fini(&f->inferiors);
	while (f->first)
		close_op(&f->first->base);
	buf_fini(&f->did);
	buf_fini(&f->out);
	free(f);
}

/* --- the seams: the connection is the fake itself --- */

static int put_out(struct conn *c, const char *mark, const uint8_t *body, size_t len)
{
	struct fake *f = (struct fake *)c;

	buf_puts(&f->out, mark);
	for (size_t i = 0; i < len; i++) {
		if (body[i] >= ' ' && body[i] <= '~' && body[i] != '\\')
			buf_putc(&f->out, body[i]);
		else
			buf_printf(&f->out, "\\x%02x", body[i]);
	}
	buf_putc(&f->out, '\n');
	return 0;
}

int conn_send(struct conn *c, const uint8_t *body, size_t len)
{
	return put_out(c, "", body, len);
}

int conn_notify(struct conn *c, const uint8_t *body, size_t len)
{
	return put_out(c, "%", body, len);
}

void conn_flush_close(struct conn *c)
{
	((struct fake *)c)->ended = true;
}

size_t conn_unread(const struct conn *c)
{
	return ((const struct fake *)c)->unread;
}

void conn_set_no_ack(struct conn *c)
{
	DID((struct fake *)c, "no acks; ");
}

void conn_set_rle(struct conn *c, bool on)
{
	DID((struct fake *)c, "runs %s; ", on ? "on" : "off");
}

void server_end(struct server *srv, int exit_code)
{
	struct fake *f = (struct fake *)srv->tracer;
	DID(f, "end %d; ", exit_code);
	f->ended = true;
}

void server_inferior_gone(struct server *srv)
{
	((struct fake *)srv->tracer)->gone++;
}

static int make_process(struct fake *f, pid_t pid, bool launched, struct target **ret,
			struct err *err)
{
	struct fake_process *p = f->refuse ? NULL : new_process(f, pid, launched);

	if (!p)
		return err_set(err, -EPERM, "the fake refuses process %d", (int)pid);
	*ret = &p->base;
	return 0;
}

int server_launch(struct server *srv, const struct launch *how, struct target **ret,
		  struct err *err)
{
	struct fake *f = (struct fake *)srv->tracer;

	DID(f, "launch");
	for (size_t i = 0; how->argv[i]; i++)
		DID(f, " [%s]", how->argv[i]);
	DID(f, "%s%s%s%s", how->shell ? " shell" : "", how->raw_args ? " raw" : "",
	    how->aslr ? " aslr" : "", how->cwd ? " cwd " : "");
	DID(f, "%s; ", how->cwd ? how->cwd : "");
	return make_process(f, f->next_pid++, true, ret, err);
}

int server_attach(struct server *srv, pid_t pid, struct target **ret, struct err *err)
{
	struct fake *f = (struct fake *)srv->tracer;

	DID(f, "attach %d; ", (int)pid);
	if (find_process(f, pid) || find_thread(f, pid))
		return err_set(err, -EPERM, "traced already");
	int r = make_process(f, pid, false, ret, err);
	if (r == 0)
		find_thread(f, pid)->running = true;
	return r;
}
