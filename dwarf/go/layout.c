#include "dwarf/go/layout.h"

#include <string.h>

#define NONE GO_FIELD_NONE

static const struct go_field_def defs[] = {
#define GO_FIELD(id, root, path, size, ...) { root, path, size, { __VA_ARGS__ } },
#include "dwarf/go/layout.def"
#undef GO_FIELD
};

static const size_t places[] = {
#define GO_FIELD(id, ...) offsetof(struct go_layout, id),
#include "dwarf/go/layout.def"
#undef GO_FIELD
};

/* Columns of the table; releases between two of them were not measured and try the nearer one
 * first. */
static const unsigned releases[] = { 19, 22, 23, 24, 26, 27 };

enum { STRUCT_MAX = 1 << 16 };

size_t go_layout_fields(const struct go_field_def **ret)
{
	*ret = defs;
	return ARRAY_SIZE(defs);
}

int32_t *go_layout_nth(struct go_layout *layout, size_t n)
{
	return (int32_t *)((char *)layout + places[n]);
}

bool go_layout_complete(const struct go_layout *l)
{
	const int32_t needed[] = { l->g_stack_lo,  l->g_stack_hi,   l->g_m,
				   l->g_sched_sp,  l->g_sched_pc,   l->g_syscallsp,
				   l->g_syscallpc, l->g_waitreason, l->g_atomicstatus,
				   l->g_goid,      l->g_gopc,       l->g_startpc,
				   l->m_g0,        l->m_procid,     l->m_gsignal,
				   l->m_curg };

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
		if (needed[i] < 0)
			return false;
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++) {
		int32_t at = *go_layout_nth((struct go_layout *)l, i);
		if (at > STRUCT_MAX || (at >= 0 && at % MIN(defs[i].size, 8)))
			return false;
	}
	return true;
}

bool go_layout_from_table(unsigned minor, size_t n, struct go_layout *ret, unsigned *ret_minor)
{
	bool used[ARRAY_SIZE(releases)] = { false };
	size_t best = 0;

	if (n >= ARRAY_SIZE(releases))
		return false;
	for (size_t round = 0; round <= n; round++) {
		unsigned nearest = UINT32_MAX;
		for (size_t i = 0; i < ARRAY_SIZE(releases); i++) {
			unsigned far =
				releases[i] > minor ? releases[i] - minor : minor - releases[i];
			if (!used[i] && far < nearest) {
				nearest = far;
				best = i;
			}
		}
		used[best] = true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(defs); i++)
		*go_layout_nth(ret, i) = defs[i].by_release[best];
	*ret_minor = releases[best];
	return true;
}

/* ---- type descriptors ---- */

static bool elem_of_field(const struct go_types *t, const struct go_type *type, const char *path,
			  struct go_type *ret)
{
	struct go_struct_field f;
	struct go_type pointer;

	return go_type_field(t, type, path, &f) && go_type_read(t, f.type, &pointer) &&
	       go_type_elem(t, &pointer, ret);
}

/* The structure a definition belongs to; kind 0 when this program has none. */
struct roots {
	struct go_type g, m, panic, ancestor;
};

static const struct go_type *root_named(const struct roots *r, const char *name)
{
	if (strcmp(name, "g") == 0)
		return &r->g;
	if (strcmp(name, "m") == 0)
		return &r->m;
	if (strcmp(name, "_panic") == 0)
		return &r->panic;
	return &r->ancestor;
}

bool go_layout_from_types(const struct go_types *t, uint64_t g_type, struct go_layout *ret)
{
	struct roots r = { 0 };
	struct go_type list;

	if (!go_type_read(t, g_type, &r.g) || r.g.kind != GO_KIND_STRUCT || r.g.size > STRUCT_MAX)
		return false;
	if (!elem_of_field(t, &r.g, "m", &r.m) || r.m.size > STRUCT_MAX)
		return false;
	/* Without these two there are no panic texts and no ancestors; all else works. */
	if (!elem_of_field(t, &r.g, "_panic", &r.panic))
		r.panic = (struct go_type){ 0 };
	if (!elem_of_field(t, &r.g, "ancestors", &list) || !go_type_elem(t, &list, &r.ancestor))
		r.ancestor = (struct go_type){ 0 };

	for (size_t i = 0; i < ARRAY_SIZE(defs); i++) {
		const struct go_type *root = root_named(&r, defs[i].root);
		struct go_struct_field f;
		bool found = root->kind == GO_KIND_STRUCT &&
			     go_type_field(t, root, defs[i].path, &f) &&
			     f.offset + (uint32_t)defs[i].size <= root->size;
		*go_layout_nth(ret, i) = found ? (int32_t)f.offset : NONE;
	}
	return go_layout_complete(ret);
}
