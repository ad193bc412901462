/*
 * on_alloc.c - memory of the client's own in the debuggee: _M and _m.
 */
#include <sys/mman.h>

#include "server/handlers.h"

static const uint64_t size_max = UINT64_C(1) << 32;

/* "rwx" in any order; nothing: no access. */
static int take_protection(struct args *a)
{
	int prot = PROT_NONE;

	while (args_left(a)) {
		switch (args_char(a)) {
		case 'r': prot |= PROT_READ; break;
		case 'w': prot |= PROT_WRITE; break;
		case 'x': prot |= PROT_EXEC; break;
		default: args_fail(a);
		}
	}
	return prot;
}

void on_alloc(struct session *s, struct args *a)
{
	struct target *t = session_inferior(s)->target;
	uint64_t addr, size = args_hex_max(a, size_max);

	args_skip(a, ',');
	int prot = take_protection(a);
	if (!args_done(a) || !size) {
		args_fail(a);
		return;
	}
	if (t->ops->alloc->alloc(t, size, prot, &addr) < 0)
		session_error(s, 1);
	else
		buf_printf(&s->reply, "%016llx", (unsigned long long)addr);
}

void on_dealloc(struct session *s, struct args *a)
{
	struct target *t = session_inferior(s)->target;
	uint64_t addr = args_hex_u64(a);

	if (!args_done(a))
		args_fail(a);
	else if (t->ops->alloc->free(t, addr) < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}
