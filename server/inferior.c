#include "server/inferior.h"
#include "protocol/signals.h"
#include "server/gview.h"
#include "server/stdio_pty.h"
#include "server/threaddb.h"
#include "server/tracepoints.h"

#include "base/log.h"
#include "dwarf/go/buildinfo.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

void inferiors_init(struct inferiors *all)
{
	*all = (struct inferiors){
		.policy = { .mode = THREADS_AUTO,
			    .stable_stacks = true,
			    .max_goroutines = MAX_GOROUTINES_DEFAULT,
			    .catch_panic = true,
			    .catch_fatal = true },
	};
	launching_init(&all->launching);
}

void inferiors_fini(struct inferiors *all)
{
	while (all->first)
		inferiors_remove(all->first);
	while (all->alone)
		inferiors_remove(all->alone);
	tracepoints_free(all->trace);
	all->pty = stdio_pty_free(all->pty);
	launching_fini(&all->launching);
}

static void inferior_free(struct inferior *inf)
{
	threaddb_free(inf->threaddb);
	gsteps_fini(&inf->steps);
	gwatch_forget(&inf->watches);
	gofiles_forget(&inf->files);
	bpoints_forget(&inf->points);
	catching_fini(&inf->catching);
	images_fini(&inf->images);
	threadview_free(inf->view);
	free(inf->notes);
	free(inf);
}

/* Go's compiler in a library of a program that is none of Go's: its stacks are as small, and nothing more is known of them. */
static bool is_go_library(struct inferior *inf, uint64_t addr)
{
	_cleanup_(image_freep) struct image *img = NULL;
	struct go_buildinfo info;
	struct mem_region region;
	char exe[PATH_MAX];

	if (inf->target->ops->region_at(inf->target, addr, &region) < 0 || !region.mapped)
		return true;
	if (inf->target->ops->exe_path(inf->target, exe, sizeof(exe)) == 0 &&
	    !strcmp(exe, region.name))
		return false;
	if (image_open(region.name, &img, NULL) < 0 || go_buildinfo_read(img, &info) < 0)
		return !img;
	bool is_go = info.version[0];
	go_buildinfo_fini(&info);
	return is_go;
}

/* Restartable sequences (rseq(2)): the kernel begins one anew by where the pc is, which in a stub is elsewhere. */
static bool has_sequences(struct inferior *inf, uint64_t addr)
{
	_cleanup_(image_freep) struct image *img = NULL;
	struct mem_region region;

	return inf->target->ops->region_at(inf->target, addr, &region) < 0 ||
	       image_open(region.name, &img, NULL) < 0 || image_section(img, "__rseq_cs");
}

/* A goroutine's stack may end just below the stack pointer, where another's begins. */
static const char *refuses_patch(struct target *t, uint64_t addr)
{
	struct inferior *inf = inferior_of(t);

	if (has_sequences(inf, addr))
		return "its file has restartable sequences, or cannot be read";
	if (!inferior_is_go(inf))
		return is_go_library(inf, addr)
			       ? "it is in a library written in Go, or in one that cannot be read"
			       : NULL;
	struct gview *gv = threadview_goroutines(inf->view, NULL);
	if (!gv)
		return "nothing is known of the Go program's stacks";
	struct go_func func = go_func_at(gview_model(gv), addr);
	if (!func.name)
		return is_go_library(inf, addr)
			       ? "it is in a library written in Go, or in one that cannot be read"
			       : NULL;
	return go_func_has_room(gview_model(gv), &func, addr)
		       ? NULL
		       : "nothing is known of how much is left of the stack there";
}

/* Go's heap, stacks of goroutines in it, which the runtime never unmaps. It begins there on amd64 (runtime/malloc.go: arenaHints). */
static bool lasting(struct target *t, uint64_t *ret_start, uint64_t *ret_end)
{
	enum { REGIONS_MAX = 64 };
	const uint64_t begin = UINT64_C(0xc000000000);
	struct mem_region region;
	uint64_t at = begin;

	for (int i = 0; inferior_is_go(inferior_of(t)) && i < REGIONS_MAX; i++) {
		if (t->ops->region_at(t, at, &region) < 0 || !region.mapped || !region.read ||
		    !region.write || region.shared || region.name[0] == '/')
			break;
		at = region.end;
	}
	*ret_start = begin;
	*ret_end = at;
	return at > begin;
}

/* In order of arrival: the first is the one to begin with. */
static void append(struct inferior **list, struct inferior *inf)
{
	while (*list)
		list = &(*list)->next;
	*list = inf;
	inf->next = NULL;
}

static void take_off(struct inferior *inf)
{
	struct inferior **at = inf->target->alone ? &inf->all->alone : &inf->all->first;

	while (*at != inf)
		at = &(*at)->next;
	*at = inf->next;
}

struct inferior *inferiors_add(struct inferiors *all, struct target *t)
{
	struct inferior *inf = calloc(1, sizeof(*inf));
	if (!inf)
		return NULL;
	inf->view = threadview_new(t, &all->policy);
	if (!inf->view) {
		inferior_free(inf);
		return NULL;
	}
	inf->all = all;
	inf->target = t;
	inf->pid = t->pid;
	inf->fresh = t->ops->run && t->ops->run->launched(t);
	inf->attached = !inf->fresh;
	t->user = inf;
	t->refuses_patch = refuses_patch;
	t->lasting = lasting;

	append(&all->first, inf);
	all->count++;
	return inf;
}

void inferiors_remove(struct inferior *inf)
{
	struct inferiors *all = inf->all;

	take_off(inf);
	all->count--;
	if (all->last.target == inf->target)
		all->last = (struct target_event){ 0 };
	tracepoints_process_gone(inf, "the process has ended or was let go of");
	inf->target->ops->close(inf->target);
	inferior_free(inf);
}

struct inferior *inferiors_by_pid(struct inferiors *all, int64_t pid)
{
	struct inferior *inf = all->first;
	while (inf && inf->pid != pid)
		inf = inf->next;
	return inf;
}

struct inferior *inferior_of(const struct target *t)
{
	return t->user;
}

static void forget_client_of(struct inferior *inf)
{
	const struct target_ops *ops = inf->target->ops;

	if (ops->points)
		ops->points->remove_all(inf->target);
	gsteps_forget(&inf->steps);
	gwatch_forget(&inf->watches);
	bpoints_forget(&inf->points);
	catching_forget(inf);
	inf->note_count = 0;
}

void inferiors_forget_client(struct inferiors *all, struct tracer *tr)
{
	sigset_t none;

	while (all->alone)
		inferiors_take_back(all, all->alone->pid);
	for (struct inferior *inf = all->first; inf; inf = inf->next)
		forget_client_of(inf);
	tracepoints_client_gone(all);
	if (!tr)
		return;
	sigemptyset(&none);
	tr->ops->set_events(tr, &(struct tracer_events){ 0 });
	tr->ops->set_pass_signals(tr, &none);
}

static void run_on(struct target *t, pid_t tid)
{
	const struct target_run_ops *run = t->ops->run;
	struct stop stop;
	struct resume how = { .action = RESUME_CONT };

	if (run->last_stop(t, tid, &stop) == 0 && stop.kind == STOP_SIGNAL)
		how.signo = stop.signo;
	run->resume(t, tid, &how);
}

static void run_all_of(struct inferior *inf)
{
	struct target *t = inf->target;
	pid_t tid = 0;

	inf->fresh = false;
	if (inf->all->last.target == t)
		inf->all->last = (struct target_event){ 0 };
	threadview_resumed(inf->view);
	while (t->ops->next_thread(t, tid, &tid) == 0 && tid)
		run_on(t, tid);
}

void inferiors_run_on(struct inferiors *all, struct tracer *tr, bool launched_too)
{
	for (struct inferior *inf = all->first; inf; inf = inf->next) {
		const struct target_run_ops *run = inf->target->ops->run;
		if (run && (launched_too || !run->launched(inf->target)))
			run_all_of(inf);
	}
	tr->ops->commit(tr, false);
}

void inferiors_leave_alone(struct inferior *inf)
{
	struct target *t = inf->target;

	take_off(inf);
	append(&inf->all->alone, inf);
	t->alone = true;
	forget_client_of(inf);
	tracepoints_client_gone(inf->all);
	run_all_of(inf);
	t->tracer->ops->commit(t->tracer, false);
}

struct inferior *inferiors_take_back(struct inferiors *all, int64_t pid)
{
	struct inferior *inf = all->alone;

	while (inf && inf->pid != pid)
		inf = inf->next;
	if (!inf)
		return NULL;
	take_off(inf);
	inf->target->alone = false;
	append(&all->first, inf);
	return inf;
}

pid_t inferiors_unattended(struct inferiors *all, const struct target_event *ev)
{
	struct inferior *inf = inferior_of(ev->target);
	struct target *t = ev->target;

	if (ev->stop.kind == STOP_EXITED || ev->stop.kind == STOP_KILLED) {
		pid_t pid = t->pid;
		inferior_say_end(all, &ev->stop);
		if (inf)
			inferiors_remove(inf);
		return pid;
	}
	if (ev->stop.kind == STOP_EXEC && inf)
		inferior_execed(inf);
	if (t->ops->run && ev->stop.kind != STOP_THREAD_EXITED &&
	    ev->stop.kind != STOP_NO_RESUMED) {
		run_on(t, ev->tid);
		t->tracer->ops->commit(t->tracer, false);
	}
	return 0;
}

struct thread_note *inferior_note(struct inferior *inf, pid_t tid)
{
	for (size_t i = 0; i < inf->note_count; i++)
		if (inf->notes[i].tid == tid)
			return &inf->notes[i];
	return NULL;
}

struct thread_note *inferior_note_make(struct inferior *inf, pid_t tid)
{
	struct thread_note *note = inferior_note(inf, tid);
	if (note)
		return note;
	if (inf->note_count == inf->note_room) {
		size_t room = inf->note_room ? inf->note_room * 2 : 8;
		note = realloc(inf->notes, room * sizeof(*note));
		if (!note)
			return NULL;
		inf->notes = note;
		inf->note_room = room;
	}
	note = &inf->notes[inf->note_count++];
	*note = (struct thread_note){ .tid = tid };
	return note;
}

void inferior_note_drop(struct inferior *inf, pid_t tid)
{
	struct thread_note *note = inferior_note(inf, tid);
	if (note)
		*note = inf->notes[--inf->note_count];
}

void inferior_execed(struct inferior *inf)
{
	tracepoints_process_gone(inf, "the process executes another program");
	threaddb_free(inf->threaddb);
	inf->threaddb = NULL;
	threadview_execed(inf->view);
	gsteps_forget(&inf->steps);
	gwatch_forget(&inf->watches);
	gofiles_forget(&inf->files);
	images_fini(&inf->images);
	inf->r_debug = 0;
	inf->is_go = 0;
	inf->note_count = 0;
	bpoints_execed(inf);
}

bool inferior_is_go(struct inferior *inf)
{
	struct go_buildinfo info;
	char path[64];

	if (!inf->is_go) {
		_cleanup_(image_freep) struct image *img = NULL;
		inf->is_go = -1;
		/* Through /proc: also when the file was replaced or lies in another mount namespace. */
		snprintf(path, sizeof(path), "/proc/%d/exe", (int)inf->pid);
		if (image_open(path, &img, NULL) == 0 && go_buildinfo_read(img, &info) == 0) {
			inf->is_go = info.version[0] ? 1 : -1;
			go_buildinfo_fini(&info);
		}
	}
	return inf->is_go > 0;
}

int inferior_mem_read(struct inferior *inf, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	uint64_t there = len;
	addr = threadview_real(inf->view, addr, &there);
	return inf->target->ops->mem_read(inf->target, addr, into, (size_t)there, ret_got);
}

int inferior_mem_write(struct inferior *inf, uint64_t addr, const void *from, size_t len)
{
	struct target *t = inf->target;
	uint64_t there = len;

	if (!t->ops->write)
		return -EROFS;
	addr = threadview_real(inf->view, addr, &there);
	if (there < len)
		return -EFAULT;
	if (!threadview_gview(inf->view))
		return t->ops->write->mem_write(t, addr, from, len);
	_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, from, len);
	threadview_real_values(inf->view, addr, copy, len);
	int r = t->ops->write->mem_write(t, addr, copy, len);
	/* It may have been the runtime's own bookkeeping. */
	threadview_changed(inf->view);
	return r;
}

int inferior_region_at(struct inferior *inf, uint64_t addr, struct mem_region *ret)
{
	struct gview *gv = window_owner(addr) ? threadview_gview(inf->view) : NULL;
	struct window w;
	uint64_t real;

	if (!gv || !gview_find_shown(gv, addr, &w) || !window_find(&w, addr, &real) || real == w.hi)
		return inf->target->ops->region_at(inf->target, addr, ret);
	uint64_t top = window_top(w.id);
	*ret = (struct mem_region){ .start = top - (w.hi - w.lo),
				    .end = top,
				    .mapped = true,
				    .read = true,
				    .write = true };
	snprintf(ret->name, sizeof(ret->name), "[stack:%lld]", (long long)w.id);
	return 0;
}

void inferior_say_end(const struct inferiors *all, const struct stop *stop)
{
	if (all->quiet)
		return;
	if (stop->kind == STOP_EXITED) {
		say("\nChild exited with status %d", stop->status);
		return;
	}
	const char *name = signals_linux_name(stop->signo);
	say("\nChild terminated with signal = 0x%x (%s)", (unsigned)stop->signo, name ? name : "?");
}
