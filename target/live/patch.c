#include "target/live/patch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "target/ax.h"
#include "target/ax_code.h"
#include "target/live/task.h"
#include "target/x86/native.h"

enum {
	PAGE = 4096,
	SLOTS = PAGE / NATIVE_CODE_MAX,
	HOP_SIZE = 16,
	PAGES_MAX = 64,
	JUMP_SIZE = 5,       /* e9 rel32 */
	PREFIX = 0x26,       /* of a segment nobody asks: a jump takes no notice */
	CLEARANCE = 1 << 28, /* what may grow is left room to */
};

/* A page of stubs with one of counters behind it, or of hops. */
struct patch_page {
	uint64_t addr;
	size_t size;
	bool hops;
	struct patch_page *next;
};

struct patch {
	uint64_t addr, counter;
	uint64_t hop;    /* 0: the jump leads to the stub itself */
	uint64_t passed; /* kept for the point while it is out */
	struct native native;
	struct ax **conditions;
	size_t condition_count;
	uint8_t length; /* of the jump, and how many bytes from addr on it consists of */
	uint8_t foot;
	uint8_t known; /* of original */
	uint8_t jump[INSN_MAX + 1], original[INSN_MAX + 1];
	struct patch *next;
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

static int remember_page(struct space *s, uint64_t addr, size_t size, bool hops)
{
	struct patch_page *page = calloc(1, sizeof(*page));
	if (!page)
		return -ENOMEM;
	*page = (struct patch_page){
		.addr = addr, .size = size, .hops = hops, .next = s->patch_pages
	};
	s->patch_pages = page;
	return 0;
}

static struct patch *find(const struct space *s, uint64_t pc)
{
	struct patch *patch = s->patches;
	while (patch && !native_holds(&patch->native, pc) &&
	       !(patch->hop && pc - patch->hop < HOP_SIZE))
		patch = patch->next;
	return patch;
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

static bool conditions_equal(const struct patch *patch, const struct swpoint *p)
{
	if (patch->condition_count != p->condition_count)
		return false;
	for (size_t i = 0; i < p->condition_count; i++) {
		if (!ax_equal(patch->conditions[i], p->conditions[i]))
			return false;
	}
	return true;
}

void patch_find_kept(struct space *s, struct swpoint *p)
{
	struct patch *patch = s->patches;

	while (patch && (patch->addr != p->addr || !conditions_equal(patch, p)))
		patch = patch->next;
	if (p->patch == patch)
		return;
	if (p->patch)
		patch_demote(s, p);
	p->patch = patch;
	p->passed = patch ? patch->passed : 0;
	s->sw.changed |= patch != NULL;
}

uint64_t patch_passed(struct space *s, const struct swpoint *p)
{
	uint64_t natively = 0;
	size_t got;

	if (p->patch && (space_read_raw(s, p->patch->counter, &natively, 8, &got) < 0 || got < 8))
		natively = 0;
	return p->passed + natively;
}

void patch_keep(struct swpoint *p)
{
	if (p->patch)
		p->patch->passed = p->passed;
	p->patch = NULL;
}

/* ---- jumps in memory, jumps out of memory */

static bool still_there(struct space *s, const struct swpoint *p)
{
	uint8_t bytes[sizeof(p->jump)];
	size_t got;
	return space_read_raw(s, p->addr, bytes, p->jump_len, &got) == 0 && got == p->jump_len &&
	       memcmp(bytes, p->jump, p->jump_len) == 0;
}

void patch_demote(struct space *s, struct swpoint *p)
{
	static const uint8_t int3 = INT3;

	if (!p->jump_len)
		return;
	/* The int3 first: it is whole at once, and whoever comes by from then on does not see the rest change. */
	if (!still_there(s, p) || space_write_raw(s, p->addr, &int3, 1) < 0)
		p->inserted = false;
	else
		(void)space_write_raw(s, p->addr + 1, p->under + 1, p->jump_len - 1u);
	p->jump_len = 0;
	log_debug(LOG_POINTS, "jump at %#lx becomes an int3", (unsigned long)p->addr);
}

void patch_demote_all(struct space *s)
{
	for (size_t i = 0; i < s->sw.count; i++)
		patch_demote(s, &s->sw.at[i]);
}

void patch_take_out(struct space *s, struct swpoint *p)
{
	patch_demote(s, p);
	if (p->inserted)
		(void)space_write_raw(s, p->addr, &p->orig, 1);
	p->inserted = false;
}

void patch_disturbed(struct space *s, uint64_t addr, uint64_t len, const struct swpoint *but,
		     const char *why)
{
	for (size_t i = 0; s->patches && i < s->sw.count; i++) {
		struct swpoint *p = &s->sw.at[i];
		if (!p->patch || p == but)
			continue;
		if (addr - p->addr >= p->patch->foot && p->addr - addr >= len)
			continue;
		patch_demote(s, p);
		patch_keep(p);
		p->why = why;
		p->why_holds = true;
	}
}

static bool anybody_runs(const struct space *s)
{
	for (const struct proc *p = s->live ? s->live->procs : NULL; p; p = p->next) {
		for (size_t i = 0; p->space == s && i < p->count; i++) {
			enum task_state state = p->tasks[i]->state;
			if (state == TASK_RUNNING || state == TASK_NEW)
				return true;
		}
	}
	return false;
}

bool patch_quieten(struct proc *p)
{
	bool any = false;
	for (size_t i = 0; p->space && i < p->space->sw.count && !any; i++)
		any = p->space->sw.at[i].jump_len;
	if (!any || !anybody_runs(p->space))
		return false;
	live_halt(p->live, p);
	return true;
}

/* Another breakpoint lies in the bytes of the jump, or will. */
static bool hemmed_in(const struct space *s, uint64_t addr, unsigned foot)
{
	size_t i = swpoints_from(&s->sw, addr + 1);
	return i < s->sw.count && s->sw.at[i].addr - addr < foot;
}

static bool same_code(struct space *s, const struct swpoint *p)
{
	const struct patch *patch = p->patch;
	uint8_t bytes[sizeof(patch->original)];
	size_t got;

	if (space_read_raw(s, p->addr, bytes, patch->known, &got) < 0 || got < patch->known)
		return false;
	if (p->inserted && bytes[0] == INT3)
		bytes[0] = p->orig;
	return memcmp(bytes, patch->original, patch->known) == 0;
}

void patch_put_in(struct space *s, struct swpoint *p)
{
	const struct patch *patch = p->patch;

	if (!patch || p->jump_len || !p->wanted || p->internal || p->number_count || s->lifted || s->refs > 1 ||
	    !s->live || !s->live->fast || p->why_holds || anybody_runs(s))
		return;
	for (const struct proc *owner = s->live->procs; owner; owner = owner->next) {
		if (owner->space == s &&
		    (dregs_in_use(&owner->dregs) || owner->hidden || owner->gone))
			return;
	}
	if (!same_code(s, p) || hemmed_in(s, p->addr, patch->foot))
		return;
	/* Known first, so that it is taken out should we end here. */
	memcpy(p->jump, patch->jump, sizeof(p->jump));
	memcpy(p->under, patch->original, sizeof(p->under));
	p->orig = patch->original[0];
	bool was = p->inserted;
	p->inserted = s->patched = true;
	p->jump_len = patch->length;
	if (space_write_raw(s, p->addr, patch->jump, patch->length) < 0) {
		p->jump_len = 0;
		p->inserted = was;
		return;
	}
	log_debug(LOG_POINTS, "jump in at %#lx", (unsigned long)p->addr);
}

/* ---- where stubs and hops go */

static bool within_reach(uint64_t a, uint64_t b)
{
	return (a > b ? a - b : b - a) < (UINT64_C(3) << 29);
}

static bool fits32(uint64_t distance)
{
	return (int64_t)distance == (int32_t)distance;
}

/* The thread that maps what is needed. */
static struct task *worker(struct proc *p)
{
	for (size_t i = 0; i < p->count; i++) {
		struct task *task = p->tasks[i];
		if (task->state == TASK_STOPPED && !task->in_kernel && task->pstop != PSTOP_GROUP)
			return task;
	}
	return NULL;
}

static bool slot_free(const struct space *s, uint64_t at)
{
	const struct patch *patch = s->patches;
	while (patch && patch->native.at != at)
		patch = patch->next;
	return !patch;
}

static size_t count_pages(const struct space *s)
{
	size_t n = 0;
	for (const struct patch_page *page = s->patch_pages; page; page = page->next)
		n++;
	return n;
}

/* A slot for a stub near addr and its counter. Everybody stands still. */
static int find_slot(struct proc *p, uint64_t addr, uint64_t *ret_at, uint64_t *ret_counter)
{
	struct space *s = p->space;
	uint64_t code, data;

	for (const struct patch_page *page = s->patch_pages; page; page = page->next) {
		for (unsigned i = 0; !page->hops && within_reach(page->addr, addr) && i < SLOTS;
		     i++) {
			if (!slot_free(s, page->addr + i * NATIVE_CODE_MAX))
				continue;
			*ret_at = page->addr + i * NATIVE_CODE_MAX;
			*ret_counter = page->addr + PAGE + i * 64;
			return 0;
		}
	}
	struct task *task = worker(p);
	uint64_t where = over_hole_near(p, addr);
	if (!task || !where || !within_reach(where, addr) || count_pages(s) >= PAGES_MAX)
		return -ENOSPC;
	int r = inject_map_at(task, where, PAGE, false, &code);
	if (r == 0)
		r = remember_page(s, code, 2 * PAGE, false);
	if (r == 0)
		r = inject_map_at(task, where + PAGE, PAGE, true, &data);
	if (r < 0)
		return r;
	*ret_at = code;
	*ret_counter = data;
	return 0;
}

static bool hop_free(const struct space *s, uint64_t at)
{
	const struct patch *patch = s->patches;
	while (patch && !(patch->hop && at + HOP_SIZE > patch->hop && at < patch->hop + HOP_SIZE))
		patch = patch->next;
	return !patch;
}

/* Nothing is there, and nothing that grows is near. */
static bool is_free_page(struct proc *p, uint64_t page)
{
	enum { LOWEST = 0x10000 };
	struct mem_region hole, above;

	if (page < LOWEST || page >> 47 || live_region_at(&p->base, page, &hole) < 0 ||
	    hole.mapped || !hole.end || page + PAGE > hole.end)
		return false;
	if (hole.start && page - hole.start < CLEARANCE)
		return false;
	return live_region_at(&p->base, hole.end, &above) == 0 &&
	       (strncmp(above.name, "[stack", 6) != 0 || hole.end - page >= CLEARANCE);
}

/* A place for a hop among the span addresses from base on; 0: there is none. */
static uint64_t find_hop(struct proc *p, uint64_t base, uint64_t span)
{
	enum { LOOKS = 16 };
	struct space *s = p->space;

	for (const struct patch_page *page = s->patch_pages; page; page = page->next) {
		uint64_t step = span > PAGE ? HOP_SIZE : 1, end = page->addr + PAGE - HOP_SIZE;
		for (uint64_t at = base > page->addr ? base : page->addr;
		     page->hops && at <= end && at - base < span; at += step) {
			if (hop_free(s, at))
				return at;
		}
	}
	uint64_t stride = span > LOOKS * PAGE ? span / LOOKS & ~(uint64_t)(PAGE - 1) : PAGE;
	for (unsigned i = 0; i < LOOKS && count_pages(s) < PAGES_MAX; i++) {
		uint64_t page = (base & ~(uint64_t)(PAGE - 1)) + i * stride;
		uint64_t at = base > page ? base : page, got;
		if (at - base >= span)
			break;
		if (at + HOP_SIZE > page + PAGE || !is_free_page(p, page))
			continue;
		struct task *task = worker(p);
		if (!task || inject_map_at(task, page, PAGE, false, &got) < 0 ||
		    remember_page(s, page, PAGE, true) < 0)
			return 0;
		return at;
	}
	return 0;
}

/* ---- the jump */

static void write_jump(struct patch *patch, unsigned prefixes, uint64_t target)
{
	uint64_t distance = target - (patch->addr + prefixes + JUMP_SIZE);
	memset(patch->jump, PREFIX, prefixes);
	patch->jump[prefixes] = 0xe9;
	memcpy(patch->jump + prefixes + 1, &distance, 4);
	patch->foot = (uint8_t)(prefixes + JUMP_SIZE);
}

static int write_hop(struct space *s, const struct patch *patch)
{
	uint8_t code[HOP_SIZE] = { 0xff, 0x25 };
	uint64_t target = patch->native.at, distance = target - (patch->hop + JUMP_SIZE);

	if (fits32(distance)) {
		code[0] = 0xe9;
		memcpy(code + 1, &distance, 4);
	} else {
		memcpy(code + 6, &target, 8);
	}
	return space_write_raw(s, patch->hop, code, sizeof(code));
}

/* The last bytes of the distance are those that follow the instruction. */
static bool jump_by_hop(struct proc *p, struct patch *patch, unsigned length)
{
	struct space *s = p->space;

	for (unsigned prefixes = 0; prefixes < length && prefixes + JUMP_SIZE <= patch->known;
	     prefixes++) {
		unsigned own = length - 1 - prefixes;
		if (hemmed_in(s, patch->addr, prefixes + JUMP_SIZE))
			return false;
		uint32_t fixed = 0;
		memcpy((uint8_t *)&fixed + own, patch->original + length, 4 - own);
		uint64_t base =
			patch->addr + prefixes + JUMP_SIZE + (uint64_t)(int64_t)(int32_t)fixed;
		patch->hop = find_hop(p, base, UINT64_C(1) << 8 * own);
		if (!patch->hop)
			continue;
		write_jump(patch, prefixes, patch->hop);
		patch->length = (uint8_t)length;
		return memcmp(patch->jump + length, patch->original + length,
			      patch->foot - length) == 0 &&
		       write_hop(s, patch) == 0;
	}
	return false;
}

static const char *make_jump(struct proc *p, struct patch *patch, unsigned length)
{
	static const char *const crowded = "another breakpoint is in the way of the jump";

	if (length < JUMP_SIZE) {
		if (jump_by_hop(p, patch, length))
			return NULL;
		return hemmed_in(p->space, patch->addr, JUMP_SIZE)
			       ? crowded
			       : "the instruction there is too short";
	}
	if (hemmed_in(p->space, patch->addr, JUMP_SIZE))
		return crowded;
	if (!fits32(patch->native.at - (patch->addr + JUMP_SIZE)))
		return "no memory is free near it";
	write_jump(patch, 0, patch->native.at);
	patch->length = JUMP_SIZE;
	return NULL;
}

/* ---- may it be done? */

static bool has_loads(const struct swpoint *p)
{
	for (size_t i = 0; i < p->condition_count; i++) {
		for (size_t k = 0; k < p->conditions[i]->count; k++) {
			uint8_t code = p->conditions[i]->ops[k].code;
			if (code >= OP_REF8 && code <= OP_REF64)
				return true;
		}
	}
	return false;
}

/* A fault of ours would take the program's handler away from it: the kernel resets what is blocked or ignored. */
static const char *refused_by_threads(struct proc *p, bool loads)
{
	const uint64_t faults = UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1);
	const struct task *mapper = worker(p);
	struct proc_signals of;

	if (!mapper || anybody_runs(p->space))
		return "not every thread can be stopped";
	if (proc_signals_of(p->base.pid, mapper->tid, &of) < 0)
		return "nothing is known of a thread";
	if (of.filtered)
		return "its system calls are filtered";
	for (size_t i = 0; loads && i < p->count; i++) {
		if (p->tasks[i]->state == TASK_ZOMBIE)
			continue;
		if (proc_signals_of(p->base.pid, p->tasks[i]->tid, &of) < 0)
			return "nothing is known of a thread";
		if ((of.blocked | of.ignored) & faults)
			return "a thread blocks or ignores SIGSEGV or SIGBUS, which a condition "
			       "may raise";
	}
	return NULL;
}

static const char *refused_for_now(const struct proc *p, const struct swpoint *point)
{
	if (p->space->refs > 1 || p->space->lifted || p->hidden || p->starting)
		return "its memory is shared with another process";
	if (dregs_in_use(&p->dregs))
		return "a watchpoint or hardware breakpoint is set";
	if (point->internal || point->number_count)
		return "the server needs to see every hit";
	return NULL;
}

static const char *refused_code(struct proc *p, uint64_t addr)
{
	struct mem_region region;

	if (live_region_at(&p->base, addr, &region) < 0 || !region.mapped ||
	    addr + INSN_MAX >= region.end)
		return "nothing is known of the memory there";
	if (!region.exec || region.write || region.shared || region.name[0] != '/')
		return "the code there may change";
	return p->base.refuses_patch ? p->base.refuses_patch(&p->base, addr) : NULL;
}

static const char *decode(struct proc *p, uint64_t addr, struct patch *patch, struct insn *ret)
{
	size_t got = 0;

	if (live_mem_read(&p->base, addr, patch->original, sizeof(patch->original), &got) < 0 ||
	    insn_decode(patch->original, got, ret) < 0)
		return "there is no instruction";
	patch->known = (uint8_t)got;
	if (ret->is & INSN_LOCK)
		return "the instruction there is a locked one";
	if (ret->is & (INSN_CALL | INSN_RET) && proc_has_shadow_stack(p->base.pid))
		return "the process has shadow stacks";
	return NULL;
}

static const char *refused_by_registers(struct proc *p, uint64_t addr, unsigned length)
{
	enum { CODE_64 = 0x33 };
	struct user_regs_struct *gp;

	for (size_t i = 0; i < p->count; i++) {
		if (p->tasks[i]->state != TASK_STOPPED || task_gp(p->tasks[i], &gp) < 0)
			continue;
		if (gp->cs != CODE_64)
			return "a thread does not run 64-bit code";
		if (gp->rip > addr && gp->rip - addr < length)
			return "a thread is in the middle of the instruction there";
	}
	return NULL;
}

static int copy_conditions(const struct swpoint *from, struct patch *to)
{
	to->conditions = calloc(from->condition_count, sizeof(*to->conditions));
	if (!to->conditions)
		return -ENOMEM;
	for (size_t i = 0; i < from->condition_count; i++) {
		to->conditions[i] = ax_copy(from->conditions[i]);
		if (!to->conditions[i])
			return -ENOMEM;
		to->condition_count++;
	}
	return 0;
}

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

/* Everybody in this memory stands still. NULL: it has a stub, else why not; ret_holds: and never will have. */
static const char *make(struct proc *p, struct swpoint *point, bool *ret_holds)
{
	struct space *s = p->space;
	struct insn insn;
	uint64_t at = 0, counter = 0, zero = 0;
	const char *why = refused_for_now(p, point);

	*ret_holds = false;
	if (why)
		return why;
	*ret_holds = true;
	why = refused_by_threads(p, has_loads(point));
	if (why || point->patch)
		return why;
	_cleanup_(free_patchp) struct patch *patch = calloc(1, sizeof(*patch));
	if (!patch || copy_conditions(point, patch) < 0)
		return "no memory";
	patch->addr = point->addr;
	why = refused_code(p, point->addr);
	if (!why)
		why = decode(p, point->addr, patch, &insn);
	if (!why)
		why = refused_by_registers(p, point->addr, insn.length);
	if (why)
		return why;
	make_room(s, point->addr);
	if (find_slot(p, point->addr, &at, &counter) < 0)
		return "no memory is free near it";
	if (native_make(point->conditions, point->condition_count, &insn, point->addr, at, counter,
			&patch->native, &why) < 0)
		return why;
	why = make_jump(p, patch, insn.length);
	if (why)
		return why;
	patch->counter = counter;
	patch->known = patch->foot > insn.length ? patch->foot : insn.length;
	if (space_write_raw(s, at, patch->native.code, patch->native.size) < 0 ||
	    space_write_raw(s, counter, &zero, sizeof(zero)) < 0)
		return "its memory cannot be written";
	patch->next = s->patches;
	s->patches = patch;
	point->patch = take_ptr(patch);
	return NULL;
}

void patch_note_false(struct task *task, struct swpoint *p)
{
	struct live *live = task->proc->live;

	if (!live->fast || p->jump_len || p->why_holds || ++p->falses < PATCH_AFTER)
		return;
	p->falses = 0;
	live->patch_due = task->tid;
	live->patch_due_at = p->addr;
}

static struct proc *proc_by_pid(struct live *live, pid_t pid)
{
	struct proc *p = live->procs;
	while (p && (p->base.pid != pid || p->gone))
		p = p->next;
	return p;
}

static void make_due(struct proc *p, struct swpoint *point)
{
	if (!point || !point->wanted || !point->condition_count || point->jump_len)
		return;
	point->why = make(p, point, &point->why_holds);
	if (point->why) {
		log_debug(LOG_POINTS, "the condition at %#lx is not compiled: %s",
			  (unsigned long)point->addr, point->why);
		return;
	}
	point->why_holds = false;
	patch_put_in(p->space, point);
	if (point->jump_len)
		return;
	point->why = "the code there has changed, or another breakpoint is in the way";
	point->why_holds = true;
}

void patch_make_due(struct live *live)
{
	struct task *task = task_find(live, live->patch_due);
	struct swpoint *point =
		task ? swpoints_find(&task->proc->space->sw, live->patch_due_at) : NULL;

	live->patch_due = 0;
	if (!point || live->over_in_place)
		return;
	point->why = refused_for_now(task->proc, point);
	if (point->why)
		return;
	pid_t pid = task->proc->base.pid;
	live_halt(live, task->proc);
	live->release_due = true;
	struct proc *p = proc_by_pid(live, pid);
	if (!p || !p->space || live->over_in_place)
		return;
	p->space->live = live;
	make_due(p, swpoints_find(&p->space->sw, live->patch_due_at));
}

/* ---- threads in stubs */

static int read_stack(void *ctx, uint64_t addr, void *into, size_t len)
{
	struct space *s = ctx;
	size_t got;
	int r = space_read_raw(s, addr, into, len, &got);
	return r < 0 || got < len ? -EFAULT : 0;
}

/* Where in the program it is; the registers are the program's. */
static int leave(struct space *s, const struct patch *patch, struct user_regs_struct *gp)
{
	struct insn_mem mem = { .read = read_stack, .ctx = s };

	if (native_holds(&patch->native, gp->rip))
		return native_leave(&patch->native, gp, &mem);
	gp->rip = patch->addr;
	return NATIVE_ASKING;
}

bool patch_leave(struct space *s, struct user_regs_struct *gp, bool int3, bool fault)
{
	const struct patch *patch = find(s, gp->rip - int3);

	if (!patch)
		return false;
	if (!int3)
		return leave(s, patch, gp) == NATIVE_ASKING && fault;
	if (gp->rip - 1 != patch->native.at + patch->native.trap)
		return false;
	gp->rip = patch->addr;
	return true;
}

/* A fault in the copy of the instruction names an address in it. */
static void fix_siginfo(struct task *task, const struct patch *patch)
{
	siginfo_t si;

	if (pt_get_siginfo(task->tid, &si) < 0 || si.si_code <= 0 ||
	    !native_holds(&patch->native, (uint64_t)si.si_addr))
		return;
	si.si_addr = (void *)patch->addr;
	(void)pt_set_siginfo(task->tid, &si);
}

static bool raised_by_stub(struct task *task, int signo)
{
	siginfo_t si;
	return (signo == SIGSEGV || signo == SIGBUS) && pt_get_siginfo(task->tid, &si) == 0 &&
	       si.si_signo == signo && si.si_code > 0;
}

/* As an int3 at the point would have left it. */
static void as_if_trapped(struct user_regs_struct *gp, const struct patch *patch)
{
	gp->rip = patch->addr + 1;
}

static bool asking_news(struct task *task, struct news *news, struct user_regs_struct *gp,
			const struct patch *patch)
{
	switch (news->kind) {
	case NEWS_SIGNAL:
		if (!raised_by_stub(task, news->value)) {
			/* It came before the breakpoint did. A client that is told of it will step over the breakpoint. */
			if (!task_passes_signal(task, news->value))
				task_judge_quietly(task, patch->addr);
			return false;
		}
		as_if_trapped(gp, patch);
		news->kind = NEWS_INT3;
		return false;
	case NEWS_STEP:
	case NEWS_DEBUG_REG:
	case NEWS_INTERRUPT:
		as_if_trapped(gp, patch);
		task->pstop =
			news->kind == NEWS_INTERRUPT || !news->value ? PSTOP_EVENT : PSTOP_SIGNAL;
		task_int3_hit(task);
		return true;
	default: return false; /* a job-control stop: it arrives when it goes on */
	}
}

bool patch_news(struct task *task, struct news *news)
{
	struct space *s = task->proc->space;
	struct user_regs_struct *gp;

	if (!s->patches || task_gp(task, &gp) < 0)
		return false;
	struct patch *patch = find(s, gp->rip - (news->kind == NEWS_INT3));
	if (!patch)
		return false;
	if (news->kind == NEWS_INT3) {
		if (gp->rip - 1 == patch->native.at + patch->native.trap) {
			as_if_trapped(gp, patch);
			task_gp_changed(task);
		}
		return false;
	}
	/* Interrupts are looked at before signals: the fault has happened, its signal is still to come. */
	if ((news->kind == NEWS_INTERRUPT || news->kind == NEWS_GROUP_STOP) &&
	    pt_fault_queued(task->tid)) {
		task_start(task, START_CONT, 0);
		task->interrupt_sent = true;
		return true;
	}
	int place = leave(s, patch, gp);
	if (place < 0) {
		log_debug(LOG_POINTS, "%d: cannot be taken out of the stub for %#lx", task->tid,
			  (unsigned long)patch->addr);
		return false;
	}
	task_gp_changed(task);
	if (place == NATIVE_ASKING)
		return asking_news(task, news, gp, patch);
	if (place == NATIVE_PASSED)
		task_pass_point(task, patch->addr);
	if (news->kind == NEWS_SIGNAL)
		fix_siginfo(task, patch);
	return false;
}

/* ---- coming and going of memory */

void patch_clone(struct space *to, const struct space *from)
{
	for (const struct patch_page *page = from->patch_pages; page; page = page->next)
		(void)remember_page(to, page->addr, page->size, page->hops);
	patch_demote_all(to);
}

/* One that the kernel keeps may be in a stub: it must never trap again. */
static void disarm(struct space *s)
{
	for (struct patch *patch = s->patches; patch; patch = patch->next) {
		uint64_t at = patch->native.at + patch->native.trap;
		uint64_t distance = patch->native.copy.to - (at + JUMP_SIZE);
		uint8_t code[JUMP_SIZE] = { 0xe9 };
		memcpy(code + 1, &distance, 4);
		if (patch->native.trap + JUMP_SIZE <= NATIVE_CODE_MAX)
			(void)space_write_raw(s, at, code, sizeof(code));
	}
}

void patch_unmap(struct proc *p)
{
	struct space *s = p->space;

	if (s->refs > 1 || p->gone)
		return;
	for (size_t i = 0; i < s->sw.count; i++)
		patch_keep(&s->sw.at[i]);
	for (size_t i = 0; i < p->count; i++) {
		if (p->tasks[i]->state != TASK_STOPPED && p->tasks[i]->state != TASK_ZOMBIE) {
			disarm(s);
			return;
		}
	}
	for (const struct patch_page *page = s->patch_pages; page; page = page->next) {
		if (inject_unmap(p, page->addr, page->size) < 0)
			log_debug(LOG_POINTS, "a page of stubs stays mapped in process %d",
				  p->base.pid);
	}
	patch_free_all(s);
}
