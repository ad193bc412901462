#include "server/handlers.h"
#include "target/ax.h"

#include <errno.h>

enum { EXPRESSIONS_MAX = 256 };

static void free_expressions(struct ax **list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		ax_free(list[i]);
	free(list);
}

/* One X<len>,<hex> of a list; the bytecode is compiled at once. */
static int take_expression(struct session *s, struct args *a, struct ax ***list, size_t *count,
			   struct err *err)
{
	args_skip(a, 'X');
	uint64_t len = args_hex_max(a, AX_CODE_MAX);
	args_skip(a, ',');
	uint8_t *code = args_ok(a) ? buf_reserve(&s->scratch, len) : NULL;
	if (!code || !args_hex_exact(a, code, len) || *count == EXPRESSIONS_MAX)
		return err_set(err, -EINVAL, "a breakpoint's agent expression is malformed");

	struct ax **more = realloc(*list, (*count + 1) * sizeof(*more));
	if (!more)
		return err_set(err, -ENOMEM, "no memory for a breakpoint's agent expression");
	*list = more;
	int r = ax_compile_allowing(AX_VARIABLES, code, len, regmap_ax_reg, &s->regs, &more[*count],
				    err);
	if (r == 0)
		++*count;
	return r;
}

/* ";X12,...X9,..." and ";cmds:1,X21,..." */
static int take_options(struct session *s, struct args *a, struct point *p, struct err *err)
{
	int r = 0;

	while (r == 0 && args_accept(a, ';')) {
		if (args_accept_text(a, "cmds:")) {
			p->persist = args_hex_max(a, 1) == 1;
			args_skip(a, ',');
			while (r == 0 && args_peek(a) == 'X')
				r = take_expression(s, a, &p->commands, &p->command_count, err);
			continue;
		}
		while (r == 0 && args_peek(a) == 'X')
			r = take_expression(s, a, &p->conditions, &p->condition_count, err);
	}
	return r == 0 && !args_done(a) ? err_set(err, -EINVAL, "a breakpoint packet is malformed")
				       : r;
}

static bool take_place(struct args *a, struct point *p)
{
	args_skip(a, ',');
	p->addr = args_hex_u64(a);
	args_skip(a, ',');
	p->len = args_hex_max(a, UINT32_MAX);
	if (p->kind == POINT_SW || p->kind == POINT_HW)
		p->len = 1;
	else if (!p->len)
		args_fail(a);
	return args_ok(a);
}

/* x86 cannot watch reads alone. gdb asks for both itself when told so; lldb and Delve expect it to be done for them. */
static enum point_kind for_client(const struct session *s, enum point_kind kind)
{
	return kind == POINT_READ && session_is_lldb(s) ? POINT_ACCESS : kind;
}

static void insert(struct session *s, struct args *a, enum point_kind kind)
{
	struct inferior *inf = session_inferior(s);
	struct point p = { .kind = for_client(s, kind) };
	struct err err = { 0 };

	if (!take_place(a, &p))
		return;
	/* gdb compares values itself and runs on; lldb and Delve also want to hear of writes that change nothing. */
	p.only_changes = kind == POINT_WRITE && s->client.kind == CLIENT_GDB;
	int r = take_options(s, a, &p, &err);
	if (r < 0) {
		free_expressions(p.conditions, p.condition_count);
		free_expressions(p.commands, p.command_count);
		session_error_from(s, 1, &err);
		return;
	}
	struct point asked = p; /* its expressions go over to the target */
	r = gwatch_insert(inf, &p, &err);
	if (r == 0)
		bpoints_client_set(inf, &asked);
	if (r == -EOPNOTSUPP)
		reply_empty(&s->reply);
	else if (r < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}

static void drop(struct session *s, struct args *a, enum point_kind kind)
{
	struct inferior *inf = session_inferior(s);
	struct point p = { .kind = for_client(s, kind) };

	if (!take_place(a, &p))
		return;
	bpoints_client_removed(inf, &p);
	int r = gwatch_remove(inf, &p);
	if (r == -EOPNOTSUPP)
		reply_empty(&s->reply);
	else if (r < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}

#define POINT_HANDLERS(name, kind)                                \
	void on_point_##name(struct session *s, struct args *a)   \
	{                                                         \
		insert(s, a, kind);                               \
	}                                                         \
	void on_unpoint_##name(struct session *s, struct args *a) \
	{                                                         \
		drop(s, a, kind);                                 \
	}
POINT_HANDLERS(sw, POINT_SW)
POINT_HANDLERS(hw, POINT_HW)
POINT_HANDLERS(write, POINT_WRITE)
POINT_HANDLERS(read, POINT_READ)
POINT_HANDLERS(access, POINT_ACCESS)
