#include "server/threadview.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "server/gview.h"

enum { AUXV_MAX = 64 * 1024 };

struct former {
	int64_t id;
	pid_t tid;
};

struct threadview {
	struct target *target;
	const struct view_policy *policy;
	struct mem mem;
	bool looked; /* is it a Go program? */
	struct go_model *model;
	struct gview *gview; /* made with the model */
	struct err why_not;
	struct former *former; /* ids that count beside those of the view, until the next resume */
	size_t n_former, room_former;
	struct former kept; /* id 0: none */
};

struct threadview *threadview_new(struct target *t, const struct view_policy *policy)
{
	struct threadview *v = calloc(1, sizeof(*v));
	if (!v)
		return NULL;
	v->target = t;
	v->policy = policy;
	v->mem = target_mem(t);
	return v;
}

void threadview_execed(struct threadview *v)
{
	gview_free(v->gview);
	v->gview = NULL;
	v->model = go_model_free(v->model);
	v->looked = false;
	v->why_not = (struct err){ 0 };
}

void threadview_free(struct threadview *v)
{
	if (!v)
		return;
	threadview_execed(v);
	free(v->former);
	free(v);
}

/* --- is it Go? --- */

/* What the kernel told the program of itself: 0 where it did not. */
struct beginning {
	uint64_t entry, loader;
};

static struct beginning beginning_of(struct target *t)
{
	_cleanup_buf_ struct buf auxv = { 0 };
	struct beginning ret = { 0 };

	buf_init(&auxv, AUXV_MAX);
	if (t->ops->auxv_read(t, &auxv) < 0 || buf_error(&auxv))
		return ret;
	for (size_t at = 0; at + 16 <= auxv.len; at += 16) {
		uint64_t pair[2];
		memcpy(pair, auxv.data + at, sizeof(pair));
		if (pair[0] == AT_ENTRY)
			ret.entry = pair[1];
		else if (pair[0] == AT_BASE)
			ret.loader = pair[1];
	}
	return ret;
}

/* The first instruction that is executed is the loader's, if there is one. */
static uint64_t first_pc(const struct beginning *b, const struct mem *mem)
{
	uint64_t entry;

	if (!b->loader)
		return b->entry;
	return mem_read_u64(mem, b->loader + offsetof(Elf64_Ehdr, e_entry), &entry) < 0
		       ? 0
		       : b->loader + entry;
}

static int open_model(struct threadview *v, const struct beginning *b, struct err *err)
{
	struct target *t = v->target;
	char path[PATH_MAX];

	if (!b->entry)
		return err_set(err, -ENODATA,
			       "process %d has no entry point in its auxiliary vector",
			       (int)t->pid);
	/* The process's own file, also when its path names another one by now or is of another mount namespace. */
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)t->pid);
	if (!t->tracer) {
		int r = t->ops->exe_path(t, path, sizeof(path));
		if (r < 0)
			return err_set(err, r, "the program's file is not known");
	}
	int r = go_model_open_exe(path, b->entry, &v->mem, &v->model, err);
	if (r == 0 && !v->model)
		return err_set(err, -ENODATA, "this is not a Go program");
	return r;
}

static void look(struct threadview *v)
{
	if (v->looked)
		return;
	v->looked = true;
	struct beginning b = beginning_of(v->target);
	int r = open_model(v, &b, &v->why_not);
	if (r == 0) {
		v->gview = gview_new(v->target, v->model, first_pc(&b, &v->mem), v->policy);
		if (!v->gview)
			v->model = go_model_free(v->model);
	}
	if (v->gview)
		log_debug(LOG_GO, "process %d is %s", (int)v->target->pid,
			  go_model_version(v->model));
	else
		log_debug(LOG_GO, "process %d: %s", (int)v->target->pid, err_text(&v->why_not, r));
}

struct gview *threadview_goroutines(struct threadview *v, struct err *err)
{
	look(v);
	if (!v->gview && err)
		*err = v->why_not;
	return v->gview;
}

struct gview *threadview_gview(struct threadview *v)
{
	const struct view_policy *p = v->policy;

	if (p->mode == THREADS_OS || p->non_stop || (p->mode == THREADS_AUTO && !p->suits))
		return NULL;
	look(v);
	return v->gview;
}

bool threadview_needs_all_stop(struct threadview *v)
{
	const struct view_policy *p = v->policy;

	if (!p->non_stop || p->mode == THREADS_OS || (p->mode == THREADS_AUTO && !p->suits))
		return false;
	look(v);
	return v->gview;
}

void threadview_changed(struct threadview *v)
{
	if (!v->model)
		return;
	go_model_resumed(v->model);
	gview_resumed(v->gview);
}

void threadview_resumed(struct threadview *v)
{
	v->n_former = 0;
	v->kept.id = 0;
	threadview_changed(v);
}

/* --- OS threads: an id is the tid --- */

static int os_next(struct threadview *v, int64_t after, int64_t *ret)
{
	pid_t tid;

	/* Nothing has a number above that, and the cast would make a small one of it. */
	if (after >= INT32_MAX) {
		*ret = 0;
		return 0;
	}
	int r = v->target->ops->next_thread(v->target, (pid_t)after, &tid);
	if (r < 0)
		return r;
	*ret = tid;
	return 0;
}

static bool os_alive(struct threadview *v, int64_t id)
{
	int64_t next;
	return id > 0 && id <= INT32_MAX && os_next(v, id - 1, &next) == 0 && next == id;
}

static int64_t os_main(struct threadview *v)
{
	int64_t first;

	if (os_alive(v, v->target->pid))
		return v->target->pid;
	return os_next(v, 0, &first) == 0 ? first : 0;
}

static int os_describe(struct threadview *v, int64_t id, struct view_thread *ret)
{
	struct thread_info info;

	if (!os_alive(v, id))
		return -ESRCH;
	int r = v->target->ops->thread_info(v->target, (pid_t)id, &info);
	if (r < 0)
		return r;
	*ret = (struct view_thread){ .core = info.core, .stopped = info.stopped };
	snprintf(ret->name, sizeof(ret->name), "%s", info.name);
	/* Once in a list is enough, and who looks for goroutines reads it there. */
	if (id == v->target->pid && threadview_needs_all_stop(v))
		snprintf(ret->extra, sizeof(ret->extra),
			 "OS threads: goroutines are shown in all-stop mode");
	return 0;
}

/* --- whichever is in force --- */

void threadview_keep(struct threadview *v, int64_t id, pid_t tid)
{
	v->kept = (struct former){ id, tid };
}

void threadview_keep_ids(struct threadview *v)
{
	pid_t tid = 0;

	v->n_former = 0;
	while (v->target->ops->next_thread(v->target, tid, &tid) == 0 && tid) {
		if (v->n_former == v->room_former) {
			size_t room = v->room_former ? v->room_former * 2 : 32;
			struct former *more = reallocarray(v->former, room, sizeof(*more));
			if (!more)
				return;
			v->former = more;
			v->room_former = room;
		}
		v->former[v->n_former++] = (struct former){ threadview_id_of(v, tid), tid };
	}
}

/* 0: it was none, or is one of the view in force. */
static pid_t former_tid(struct threadview *v, int64_t id)
{
	struct gview *gv = v->n_former ? threadview_gview(v) : NULL;

	if (v->kept.id && v->kept.id == id)
		return os_alive(v, v->kept.tid) ? v->kept.tid : 0;
	if (!v->n_former || (gv ? gview_alive(gv, id) : os_alive(v, id)))
		return 0;
	for (size_t i = 0; i < v->n_former; i++)
		if (v->former[i].id == id && os_alive(v, v->former[i].tid))
			return v->former[i].tid;
	return 0;
}

bool threadview_is_former(struct threadview *v, int64_t id)
{
	return former_tid(v, id) != 0;
}

/* The name that the OS thread which keeps one of the other view would have now; 0: it keeps none. A tid is no goroutine's number. */
static int64_t other_name(struct threadview *v, struct gview *gv)
{
	if (!v->kept.id || (gv && v->kept.id != v->kept.tid))
		return 0;
	return gv ? gview_id_of(gv, v->kept.tid) : v->kept.tid;
}

int threadview_next(struct threadview *v, int64_t after, int64_t *ret)
{
	struct gview *gv = threadview_gview(v);
	int64_t hidden = other_name(v, gv);
	int r = gv ? gview_next(gv, after, ret) : os_next(v, after, ret);

	/* A client that stepped it by its old name would take the new one for somebody else who stepped. */
	if (r == 0 && *ret && *ret == hidden)
		r = gv ? gview_next(gv, hidden, ret) : os_next(v, hidden, ret);
	if (r == 0 && v->kept.id > after && (!*ret || v->kept.id < *ret) &&
	    os_alive(v, v->kept.tid))
		*ret = v->kept.id;
	return r;
}

bool threadview_alive(struct threadview *v, int64_t id)
{
	struct gview *gv = threadview_gview(v);

	if (former_tid(v, id))
		return true;
	return gv ? gview_alive(gv, id) : os_alive(v, id);
}

int64_t threadview_id_of(struct threadview *v, pid_t tid)
{
	struct gview *gv = threadview_gview(v);

	if (v->kept.id && v->kept.tid == tid)
		return v->kept.id;
	return gv ? gview_id_of(gv, tid) : tid;
}

pid_t threadview_tid_of(struct threadview *v, int64_t id)
{
	struct gview *gv = threadview_gview(v);

	if (former_tid(v, id))
		return former_tid(v, id);
	if (gv)
		return gview_tid_of(gv, id);
	return os_alive(v, id) ? (pid_t)id : 0;
}

int64_t threadview_main(struct threadview *v)
{
	struct gview *gv = threadview_gview(v);
	return gv ? gview_main(gv) : os_main(v);
}

int64_t threadview_interrupted(struct threadview *v, pid_t tid, int64_t wanted)
{
	struct gview *gv = threadview_gview(v);
	return gv ? gview_interrupted(gv, tid, wanted) : tid;
}

void threadview_stopped(struct threadview *v, int64_t id)
{
	struct gview *gv = threadview_gview(v);
	if (gv)
		gview_prefer(gv, id);
}

int threadview_describe(struct threadview *v, int64_t id, struct view_thread *ret)
{
	struct gview *gv = threadview_gview(v);
	pid_t former = former_tid(v, id);

	if (former)
		return os_describe(v, former, ret);
	return gv ? gview_describe(gv, id, ret) : os_describe(v, id, ret);
}

/* --- window addresses --- */

uint64_t threadview_real(struct threadview *v, uint64_t addr, uint64_t *len)
{
	struct window w;
	uint64_t real;

	if (!window_owner(addr))
		return addr;
	struct gview *gv = threadview_gview(v);
	if (!gv || !gview_find_shown(gv, addr, &w) || !window_find(&w, addr, &real))
		return addr;
	*len = MIN(*len, window_bytes(&w, addr));
	return real;
}

static uint64_t real_value(struct gview *gv, uint64_t value)
{
	struct window w;
	uint64_t real;

	if (window_owner(value) && gview_find_shown(gv, value, &w) && window_find(&w, value, &real))
		return real;
	return value;
}

static void real_words(struct gview *gv, uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t value;
		memcpy(&value, bytes + i * 8, 8);
		uint64_t real = real_value(gv, value);
		if (real != value)
			memcpy(bytes + i * 8, &real, 8);
	}
}

void threadview_real_values(struct threadview *v, uint64_t addr, uint8_t *bytes, size_t len)
{
	struct gview *gv = threadview_gview(v);
	size_t skip = (size_t)(-addr & 7);

	if (gv && len >= skip + 8)
		real_words(gv, bytes + skip, (len - skip) / 8);
}

/* --- registers --- */

int view_regs_begin(struct view_regs *r, struct threadview *v, int64_t id)
{
	struct gview *gv = threadview_gview(v);

	r->view = v;
	r->tid = 0;
	r->from = VIEW_REGS_THREAD;
	r->fixed = false;
	r->frame = 0;
	r->window = (struct window){ 0 };
	r->have_gp = r->have_xstate = false;
	r->dirty_gp = r->dirty_xstate = false;
	r->gp_error = r->xstate_error = 0;
	if (gv && !former_tid(v, id))
		return gview_regs_begin(gv, id, r);
	r->tid = threadview_tid_of(v, id);
	return r->tid ? 0 : -ESRCH;
}

static int need_gp(struct view_regs *r)
{
	struct target *t = r->view->target;
	if (!r->have_gp) {
		r->gp_error = t->ops->gp_read(t, r->tid, &r->gp);
		r->have_gp = true;
	}
	return r->gp_error;
}

static int need_xstate(struct view_regs *r)
{
	struct target *t = r->view->target;
	if (!r->have_xstate) {
		r->xstate_error = t->ops->xstate_read(t, r->tid, &r->xstate);
		r->have_xstate = true;
	}
	return r->xstate_error;
}

static bool is_saved(const struct view_regs *r, unsigned reg)
{
	return reg == X86_RIP || reg == X86_RSP || (reg == X86_RBP && r->gp.rbp);
}

/* Only those that make the frame: a pointer in another register may be kept, and compared with others of its kind. */
static bool is_shown_in_window(unsigned reg)
{
	return reg == X86_RSP || reg == X86_RBP || reg == X86_RIP;
}

int view_regs_get(struct view_regs *r, unsigned reg, void *into)
{
	bool gp = x86_reg_is_gp(reg);

	if (r->from == VIEW_REGS_NONE || (r->from == VIEW_REGS_SAVED && !is_saved(r, reg)) ||
	    (r->from == VIEW_REGS_FRAME && !gp))
		return -ENODATA;
	int e = gp ? need_gp(r) : need_xstate(r);
	if (e < 0)
		return e;
	e = x86_reg_get(reg, &r->gp, gp ? NULL : &r->xstate, into);
	if (e == 0 && r->window.hi && is_shown_in_window(reg)) {
		uint64_t value;
		memcpy(&value, into, sizeof(value));
		value = window_show(&r->window, value);
		memcpy(into, &value, sizeof(value));
	}
	return e;
}

int view_regs_set(struct view_regs *r, unsigned reg, const void *from)
{
	struct gview *gv = threadview_gview(r->view);
	uint8_t value[X86_REG_SIZE_MAX];
	bool gp = x86_reg_is_gp(reg);

	if (!r->view->target->ops->write || r->fixed || r->from == VIEW_REGS_NONE ||
	    (r->from == VIEW_REGS_FRAME && !gp))
		return -EROFS;
	memcpy(value, from, x86_reg_size(reg));
	if (gv)
		real_words(gv, value, x86_reg_size(reg) / 8);
	int e = gp ? need_gp(r) : need_xstate(r);
	if (e < 0)
		return e;
	e = x86_reg_set(reg, &r->gp, gp ? NULL : &r->xstate, value);
	if (e < 0)
		return e;
	if (gp)
		r->dirty_gp = true;
	else
		r->dirty_xstate = true;
	return 0;
}

/* The registers a signal frame has, in its order. */
static int write_frame(struct view_regs *r)
{
	struct target *t = r->view->target;
	const struct user_regs_struct *gp = &r->gp;
	uint64_t gregs[] = { gp->r8,  gp->r9,  gp->r10, gp->r11, gp->r12, gp->r13,
			     gp->r14, gp->r15, gp->rdi, gp->rsi, gp->rbp, gp->rbx,
			     gp->rdx, gp->rax, gp->rcx, gp->rsp, gp->rip, gp->eflags };
	return t->ops->write->mem_write(t, r->frame, gregs, sizeof(gregs));
}

int view_regs_flush(struct view_regs *r)
{
	struct target *t = r->view->target;
	int e = 0;

	if (r->dirty_gp && r->from == VIEW_REGS_FRAME)
		e = write_frame(r);
	else if (r->dirty_gp)
		e = t->ops->write->gp_write(t, r->tid, &r->gp);
	if (r->dirty_xstate) {
		int x = t->ops->write->xstate_write(t, r->tid, &r->xstate);
		e = e < 0 ? e : x;
	}
	/* Who runs what is decided by the stack pointer. */
	if (r->dirty_gp)
		threadview_changed(r->view);
	r->dirty_gp = r->dirty_xstate = false;
	return e;
}
