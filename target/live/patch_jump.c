/*
 * patch_jump.c - stubs, hops and jumps: where they go, and how they come into memory and out of it.
 *
 * Nobody runs beside a jump that changes, so that nobody sees half of it (patch_quieten); where somebody cannot be stopped the int3
 * comes first, which is whole at once.
 */
#include "target/live/patch_internal.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

enum {
	SLOTS = PATCH_PAGE / NATIVE_CODE_MAX,
	PAGES_MAX = 64,
	JUMP_SIZE = 5,       /* e9 rel32 */
	PREFIX = 0x26,       /* of a segment nobody asks: a jump takes no notice */
	CLEARANCE = 1 << 28, /* what may grow is left room to */
};

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

bool patch_quieten(struct proc *p)
{
	bool any = false;
	for (size_t i = 0; p->space && i < p->space->sw.count && !any; i++)
		any = p->space->sw.at[i].jump_len;
	if (!any || !patch_anybody_runs(p->space))
		return false;
	live_halt(p->live, p);
	return true;
}

/* Another breakpoint lies in the bytes of the jump, or will. */
bool patch_hemmed_in(const struct space *s, uint64_t addr, unsigned foot)
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

/* Why not, if not. */
static const char *put_in(struct space *s, struct swpoint *p)
{
	const struct patch *patch = p->patch;
	struct user_regs_struct *gp;

	if (patch_anybody_runs(s))
		return "not every thread can be stopped";
	for (struct proc *owner = s->live->procs; owner; owner = owner->next) {
		if (owner->space != s)
			continue;
		if (owner->gone || patch_refused_now(owner, p).why)
			return patch_refused_now(owner, p).why;
		for (size_t i = 0; i < owner->count; i++) {
			if (task_gp(owner->tasks[i], &gp) == 0 &&
			    gp->rip - p->addr - 1 < patch->length - 1u)
				return "a thread is in the middle of the instruction there";
		}
	}
	if (patch_hemmed_in(s, p->addr, patch->foot))
		return "another breakpoint is in the way of the jump";
	if (!same_code(s, p))
		return "the code there has changed";
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
		return "its code cannot be written";
	}
	log_debug(LOG_POINTS, "jump in at %#lx", (unsigned long)p->addr);
	return NULL;
}

void patch_put_in(struct space *s, struct swpoint *p)
{
	if (!p->patch || p->jump_len || !s->live || !s->live->fast || p->why_holds)
		return;
	p->why = put_in(s, p);
}

bool patch_is_in(const struct proc *p, const struct swpoint *point)
{
	return point->jump_len ||
	       (point->patch && !point->why && p->live->fast && !patch_anybody_runs(p->space) &&
		!patch_refused_now(p, point).why);
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
int patch_find_slot(struct proc *p, uint64_t addr, uint64_t *ret_at, uint64_t *ret_counter)
{
	struct space *s = p->space;
	uint64_t code, data;

	for (const struct patch_page *page = s->patch_pages; page; page = page->next) {
		for (unsigned i = 0; !page->hops && within_reach(page->addr, addr) && i < SLOTS;
		     i++) {
			if (!slot_free(s, page->addr + i * NATIVE_CODE_MAX))
				continue;
			*ret_at = page->addr + i * NATIVE_CODE_MAX;
			*ret_counter = page->addr + PATCH_PAGE + i * 64;
			return 0;
		}
	}
	struct task *task = patch_worker(p);
	uint64_t where = over_hole_near(p, addr);
	if (!task || !where || !within_reach(where, addr) || count_pages(s) >= PAGES_MAX)
		return -ENOSPC;
	int r = inject_map_at(task, where, PATCH_PAGE, false, &code);
	if (r == 0)
		r = remember_page(s, code, 2 * PATCH_PAGE, false);
	if (r == 0)
		r = inject_map_at(task, where + PATCH_PAGE, PATCH_PAGE, true, &data);
	if (r < 0)
		return r;
	*ret_at = code;
	*ret_counter = data;
	return 0;
}

static bool hop_free(const struct space *s, uint64_t at)
{
	const struct patch *patch = s->patches;
	while (patch && !(patch->hop && at + PATCH_HOP_SIZE > patch->hop &&
			  at < patch->hop + PATCH_HOP_SIZE))
		patch = patch->next;
	return !patch;
}

/* Nothing is there, and nothing that grows is near. */
static bool is_free_page(struct proc *p, uint64_t page)
{
	enum { LOWEST = 0x10000 };
	struct mem_region hole, above;

	if (page < LOWEST || page >> 47 || live_region_at(&p->base, page, &hole) < 0 ||
	    hole.mapped || !hole.end || page + PATCH_PAGE > hole.end)
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
		uint64_t step = span > PATCH_PAGE ? PATCH_HOP_SIZE : 1,
			 end = page->addr + PATCH_PAGE - PATCH_HOP_SIZE;
		for (uint64_t at = base > page->addr ? base : page->addr;
		     page->hops && at <= end && at - base < span; at += step) {
			if (hop_free(s, at))
				return at;
		}
	}
	uint64_t stride =
		span > LOOKS * PATCH_PAGE ? span / LOOKS & ~(uint64_t)(PATCH_PAGE - 1) : PATCH_PAGE;
	for (unsigned i = 0; i < LOOKS && count_pages(s) < PAGES_MAX; i++) {
		uint64_t page = (base & ~(uint64_t)(PATCH_PAGE - 1)) + i * stride;
		uint64_t at = base > page ? base : page, got;
		if (at - base >= span)
			break;
		if (at + PATCH_HOP_SIZE > page + PATCH_PAGE || !is_free_page(p, page))
			continue;
		struct task *task = patch_worker(p);
		if (!task || inject_map_at(task, page, PATCH_PAGE, false, &got) < 0 ||
		    remember_page(s, page, PATCH_PAGE, true) < 0)
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
	uint8_t code[PATCH_HOP_SIZE] = { 0xff, 0x25 };
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
		if (patch_hemmed_in(s, patch->addr, prefixes + JUMP_SIZE))
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

struct patch_refusal patch_make_jump(struct proc *p, struct patch *patch, unsigned length)
{
	static const struct patch_refusal crowded = {
		"another breakpoint is in the way of the jump", false
	};

	if (length < JUMP_SIZE) {
		if (jump_by_hop(p, patch, length))
			return (struct patch_refusal){ 0 };
		if (patch_hemmed_in(p->space, patch->addr, JUMP_SIZE))
			return crowded;
		return (struct patch_refusal){ "the instruction there is too short", true };
	}
	if (patch_hemmed_in(p->space, patch->addr, JUMP_SIZE))
		return crowded;
	if (!fits32(patch->native.at - (patch->addr + JUMP_SIZE)))
		return (struct patch_refusal){ "no memory is free near it", false };
	write_jump(patch, 0, patch->native.at);
	patch->length = JUMP_SIZE;
	return (struct patch_refusal){ 0 };
}

/* ---- coming and going of memory */

void patch_clone(struct space *to, const struct space *from)
{
	for (const struct patch_page *page = from->patch_pages; page; page = page->next)
		(void)remember_page(to, page->addr, page->size, page->hops);
	patch_demote_all(to);
}

/* The first byte last: until then it is the int3, behind which nobody is. */
void patch_disarm(struct space *s)
{
	for (struct patch *patch = s->patches; patch; patch = patch->next) {
		uint64_t at = patch->native.at + patch->native.trap;
		uint64_t distance = patch->native.copy.to - (at + JUMP_SIZE);
		uint8_t code[JUMP_SIZE] = { 0xe9 };
		memcpy(code + 1, &distance, 4);
		if (patch->native.trap + JUMP_SIZE <= NATIVE_CODE_MAX)
			(void)(space_write_raw(s, at + 1, code + 1, sizeof(code) - 1) < 0 ||
			       space_write_raw(s, at, code, 1) < 0);
	}
}

void patch_unmap(struct proc *p)
{
	struct space *s = p->space;

	if (s->refs > 1 || p->gone)
		return;
	for (size_t i = 0; i < s->sw.count; i++)
		patch_keep(s, &s->sw.at[i]);
	for (size_t i = 0; i < p->count; i++) {
		if (p->tasks[i]->state != TASK_STOPPED && p->tasks[i]->state != TASK_ZOMBIE) {
			patch_disarm(s);
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
