#include "target/live/patch_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "target/ax.h"

enum {
	CONDITIONS_MAX = 16,
	TRIES_MAX = 6, /* each time it takes twice as many hits */
	VAIN_AFTER = 1000,
	WORTH = 8, /* passings to one trap in vain */
};

/* ---- tables */

static void free_patch(struct patch *patch)
{
	for (size_t i = 0; i < patch->condition_count; i++)
		ax_free(patch->conditions[i]);
	free(patch->conditions);
	free(patch);
}

static void free_patchp(struct patch **patch)
{
	if (*patch)
		free_patch(*patch);
}

void patch_free_all(struct space *s)
{
	while (s->patches) {
		struct patch *patch = s->patches;
		s->patches = patch->next;
		free_patch(patch);
	}
	while (s->patch_pages) {
		struct patch_page *page = s->patch_pages;
		s->patch_pages = page->next;
		free(page);
	}
}

static bool in_use(const struct space *s, const struct patch *patch)
{
	const struct swpoint *p = swpoints_find(&s->sw, patch->addr);
	return p && p->patch == patch;
}

static void drop(struct space *s, struct patch *gone)
{
	for (struct patch **at = &s->patches; *at; at = &(*at)->next) {
		if (*at == gone) {
			*at = gone->next;
			free_patch(gone);
			return;
		}
	}
}

/* ---- the conditions that decide: those of the client and of each of the server's numbers */

static bool take(struct ax *const *from, size_t count, struct ax **to, size_t *total)
{
	if (!count || *total + count > CONDITIONS_MAX)
		return false;
	memcpy(to + *total, from, count * sizeof(struct ax *));
	*total += count;
	return true;
}

/* 0: somebody is to see every hit, or nobody any. */
static size_t gather(const struct swpoint *p, struct ax *ret[CONDITIONS_MAX])
{
	size_t total = 0;

	if (p->internal || (p->wanted && !take(p->conditions, p->condition_count, ret, &total)))
		return 0;
	for (size_t i = 0; i < p->number_count; i++) {
		const struct swnumber *n = &p->numbers[i];
		if (!take(n->conditions, n->condition_count, ret, &total))
			return 0;
	}
	return total;
}

bool patch_decided_by_conditions(const struct swpoint *p)
{
	struct ax *all[CONDITIONS_MAX];
	return gather(p, all) > 0;
}

static bool conditions_equal(const struct patch *patch, struct ax *const *all, size_t count)
{
	if (patch->condition_count != count)
		return false;
	for (size_t i = 0; i < count; i++) {
		if (!ax_equal(patch->conditions[i], all[i]))
			return false;
	}
	return true;
}

static int copy_conditions(struct ax *const *all, size_t count, struct patch *to)
{
	to->conditions = calloc(count, sizeof(struct ax *));
	if (!to->conditions)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		to->conditions[i] = ax_copy(all[i]);
		if (!to->conditions[i])
			return -ENOMEM;
		to->condition_count++;
	}
	return 0;
}

/* ---- how often it was passed */

/* Since that was last counted. */
static uint64_t natively(struct space *s, const struct patch *patch)
{
	uint64_t count = 0;
	size_t got;

	if (space_read_raw(s, patch->counter, &count, sizeof(count), &got) < 0 ||
	    got < sizeof(count))
		return 0;
	return count - patch->counted;
}

uint64_t patch_passed(struct space *s, const struct swpoint *p)
{
	return p->passed + (p->patch ? natively(s, p->patch) : 0);
}

void patch_keep(struct space *s, struct swpoint *p)
{
	struct patch *patch = p->patch;

	if (!patch)
		return;
	uint64_t more = natively(s, patch);
	patch->counted += more;
	patch->looked = 0;
	p->passed += more;
	patch->passed = p->passed;
	p->patch = NULL;
}

void patch_find_kept(struct space *s, struct swpoint *p)
{
	struct ax *all[CONDITIONS_MAX];
	size_t count = s->patches ? gather(p, all) : 0;
	struct patch *patch = count ? s->patches : NULL;

	while (patch && (patch->addr != p->addr || !conditions_equal(patch, all, count)))
		patch = patch->next;
	if (p->patch == patch)
		return;
	if (p->patch) {
		patch_demote(s, p);
		patch_keep(s, p);
	}
	p->patch = patch;
	if (!patch)
		return;
	p->passed = MAX(p->passed, patch->passed);
	s->sw.changed = true;
}

void patch_disturbed(struct space *s, uint64_t addr, uint64_t len, const struct swpoint *but,
		     const char *why, bool for_good)
{
	for (size_t i = 0; s->patches && i < s->sw.count; i++) {
		struct swpoint *p = &s->sw.at[i];
		if (!p->patch || p == but)
			continue;
		if (addr - p->addr >= p->patch->foot && p->addr - addr >= len)
			continue;
		patch_demote(s, p);
		patch_keep(s, p);
		p->why = why;
		p->why_holds = for_good;
	}
}

/* ---- making one */

/* Stubs that wait for their point to come back give way when there are too many, and to another at the same address. */
static void make_room(struct space *s, uint64_t addr)
{
	size_t count = 0;
	struct patch *last = NULL, *next;

	for (struct patch *patch = s->patches; patch; patch = next, count++) {
		next = patch->next;
		if (in_use(s, patch))
			continue;
		if (patch->addr == addr)
			drop(s, patch);
		else
			last = patch;
	}
	if (last && count >= PATCHES_MAX / 2)
		drop(s, last);
}

static struct patch_refusal for_now(const char *why)
{
	return (struct patch_refusal){ why, false };
}

/* The stub and its counter into memory; nobody is led there yet. */
static struct patch_refusal write_stub(struct proc *p, struct patch *patch, const struct insn *insn)
{
	struct space *s = p->space;
	struct native_memory memory;
	uint64_t at = 0;
	const uint64_t zero = 0;
	const char *why = NULL;

	make_room(s, patch->addr);
	if (patch_find_slot(p, patch->addr, &at, &patch->counter) < 0)
		return for_now("no memory is free near it");
	patch_find_memory(p, patch->addr, &memory);
	if (native_make(patch->conditions, patch->condition_count, insn, &memory, patch->addr, at,
			patch->counter, &patch->native, &why) < 0)
		return (struct patch_refusal){ why, true };
	struct patch_refusal r = patch_make_jump(p, patch, insn->length);
	if (r.why)
		return r;
	patch->known = patch->foot > insn->length ? patch->foot : insn->length;
	if (space_write_raw(s, at, patch->native.code, patch->native.size) < 0 ||
	    space_write_raw(s, patch->counter, &zero, sizeof(zero)) < 0)
		return for_now("its memory cannot be written");
	return r;
}

static struct patch_refusal make(struct proc *p, struct swpoint *point)
{
	struct ax *all[CONDITIONS_MAX];
	struct insn insn;

	_cleanup_(free_patchp) struct patch *patch = calloc(1, sizeof(*patch));
	if (!patch || copy_conditions(all, gather(point, all), patch) < 0)
		return for_now("no memory");
	patch->addr = point->addr;
	struct patch_refusal r = patch_refused_code(p, point->addr);
	if (!r.why)
		r = patch_refused_insn(p, patch, &insn);
	if (!r.why)
		r = patch_refused_by_threads(p, point->addr, insn.length);
	if (!r.why)
		r = write_stub(p, patch, &insn);
	if (r.why)
		return r;
	patch->next = p->space->patches;
	p->space->patches = patch;
	point->patch = take_ptr(patch);
	return r;
}

/* ---- when */

void patch_note_false(struct task *task, struct swpoint *p)
{
	struct live *live = task->proc->live;

	if (!live->fast || p->why_holds)
		return;
	p->falses++;
	if (live->patch_due ||
	    p->falses < (p->jump_len ? (unsigned)VAIN_AFTER : (unsigned)PATCH_AFTER << p->tries))
		return;
	p->falses = 0;
	live->patch_due = task->tid;
	live->patch_due_at = p->addr;
	live->patch_vain = p->jump_len;
}

/* A jump whose traps are in vain, as what its conditions read is not known to be there, is worth no more than an int3. */
static void weigh(struct space *s, struct swpoint *p)
{
	uint64_t passed = natively(s, p->patch), before = p->patch->looked;

	p->patch->looked = passed;
	if (passed - before >= (uint64_t)WORTH * VAIN_AFTER)
		return;
	patch_demote(s, p);
	patch_keep(s, p);
	p->why = "it reads memory that the program may give back";
	p->why_holds = true;
	log_debug(LOG_POINTS, "the condition at %#lx traps in vain", (unsigned long)p->addr);
}

static void make_due(struct proc *p, struct swpoint *point, bool in_vain)
{
	struct patch_refusal r = { 0 };

	if (!point || !patch_decided_by_conditions(point))
		return;
	if (point->jump_len) {
		if (in_vain) /* else it has become one since */
			weigh(p->space, point);
		return;
	}
	if (!point->patch)
		patch_find_kept(p->space, point);
	if (!point->patch)
		r = make(p, point);
	point->why = r.why;
	point->why_holds = r.holds;
	patch_put_in(p->space, point);
	point->tries = point->jump_len ? 0 : (uint8_t)MIN(point->tries + 1, TRIES_MAX);
	if (point->why)
		log_debug(LOG_POINTS, "the condition at %#lx is not compiled: %s",
			  (unsigned long)point->addr, point->why);
}

static struct proc *proc_by_pid(struct live *live, pid_t pid)
{
	struct proc *p = live->procs;
	while (p && (p->base.pid != pid || p->gone))
		p = p->next;
	return p;
}

void patch_make_due(struct live *live)
{
	/* While everybody halts the next one may become due. */
	uint64_t at = live->patch_due_at;
	bool in_vain = live->patch_vain;
	struct task *task = task_find(live, live->patch_due);
	struct swpoint *point = task ? swpoints_find(&task->proc->space->sw, at) : NULL;

	live->patch_due = 0;
	if (!point || live->over_in_place)
		return;
	point->why = patch_refused_now(task->proc, point).why;
	if (point->why)
		return;
	pid_t pid = task->proc->base.pid;
	live_halt(live, task->proc);
	live->release_due = true;
	struct proc *p = proc_by_pid(live, pid);
	if (!p || !p->space || live->over_in_place)
		return;
	p->space->live = live;
	make_due(p, swpoints_find(&p->space->sw, at), in_vain);
}
