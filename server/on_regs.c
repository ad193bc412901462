#include "protocol/hex.h"
#include "server/handlers.h"
#include "server/tracepoints.h"

#include <errno.h>
#include <string.h>

static void put_unavailable(struct buf *b, size_t bytes)
{
	uint8_t *at = buf_reserve(b, bytes * 2);
	if (!at)
		return;
	memset(at, 'x', bytes * 2);
	b->len += bytes * 2;
}

/* A register this thread cannot show is xx; a thread that cannot be asked at all is an error. */
static int put_register(struct session *s, struct view_regs *r, const struct tdesc_reg *reg,
			struct buf *b)
{
	uint8_t bytes[X86_REG_SIZE_MAX];
	int e = s->trace_frame >= 0 ? tracepoints_register(s->inferiors->trace,
							   (size_t)s->trace_frame, reg, bytes)
				    : regmap_get(&s->regs, r, reg, bytes);

	if (e == -ENODATA)
		put_unavailable(b, reg->size);
	else if (e < 0)
		return e;
	else
		hex_put(b, bytes, reg->size);
	return 0;
}

/* Of the thread that is named behind everything else, or of the chosen one. */
static bool begin(struct session *s, struct args *a, struct view_regs *r)
{
	struct inferior *inf;
	int64_t id;
	int e = 0;

	if (s->trace_frame < 0)
		e = session_suffix_thread(s, a, &inf, &id) ? view_regs_begin(r, inf->view, id)
							   : -ESRCH;
	if (e < 0 || !args_done(a))
		session_error(s, 1);
	return e == 0 && args_done(a);
}

void on_read_all(struct session *s, struct args *a)
{
	struct view_regs r;

	if (!begin(s, a, &r))
		return;
	for (size_t i = 0; i < s->regs.tdesc.count; i++) {
		const struct tdesc_reg *reg = &s->regs.tdesc.regs[i];
		if (reg->container != TDESC_NONE)
			continue;
		if (put_register(s, &r, reg, &s->reply) < 0) {
			session_error(s, 1);
			return;
		}
	}
}

void on_read_one(struct session *s, struct args *a)
{
	const struct tdesc_reg *reg = tdesc_by_number(&s->regs.tdesc, args_hex_u64(a));
	struct view_regs r;

	if (!args_ok(a) || !begin(s, a, &r))
		return;
	if (!reg || put_register(s, &r, reg, &s->reply) < 0)
		session_error(s, 1);
}

/* Bytes in hex, all of them 'x' for a register that is to stay as it is. */
static bool take_value(struct args *a, size_t size, uint8_t *bytes, bool *ret_given)
{
	*ret_given = args_peek(a) != 'x';
	if (*ret_given)
		return args_hex_exact(a, bytes, size);
	for (size_t i = 0; i < size * 2; i++)
		args_skip(a, 'x');
	return args_ok(a);
}

/*
 * A thread whose pc is moved while it stands in a system call must not have the kernel start that call again. gdb sees to it itself;
 * the others do not know of orig_rax.
 */
static void forget_restart(struct session *s, struct view_regs *r, const struct tdesc_reg *reg,
			   const uint8_t *bytes)
{
	static const uint64_t none = UINT64_MAX;
	uint64_t pc;

	if (!session_is_lldb(s) || reg->id != TDESC_RIP || view_regs_get(r, X86_RIP, &pc) < 0 ||
	    !memcmp(&pc, bytes, sizeof(pc)))
		return;
	view_regs_set(r, X86_ORIG_RAX, &none);
}

static int set_register(struct session *s, struct view_regs *r, const struct tdesc_reg *reg,
			const uint8_t *bytes)
{
	forget_restart(s, r, reg, bytes);
	return regmap_set(&s->regs, r, reg, bytes);
}

/* A frame of a trace experiment is looked at. */
static bool is_past(struct session *s)
{
	if (s->trace_frame >= 0)
		session_error_text(s, 1, "what was collected cannot be changed");
	return s->trace_frame >= 0;
}

void on_write_one(struct session *s, struct args *a)
{
	const struct tdesc_reg *reg = tdesc_by_number(&s->regs.tdesc, args_hex_u64(a));
	uint8_t bytes[TDESC_REG_SIZE_MAX];
	struct view_regs r;

	args_skip(a, '=');
	if (!reg || !args_hex_exact(a, bytes, reg->size)) {
		args_fail(a);
		return;
	}
	if (is_past(s) || !begin(s, a, &r))
		return;
	if (set_register(s, &r, reg, bytes) < 0 || view_regs_flush(&r) < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}

/* A packet may be shorter than all registers; what it does not reach stays. */
void on_write_all(struct session *s, struct args *a)
{
	uint8_t bytes[TDESC_REG_SIZE_MAX];
	struct view_regs r;
	struct args values = args_until(a, ';');

	if (!args_ok(a))
		return;
	if (a->at < a->len || (a->at && a->data[a->at - 1] == ';'))
		a->at--;
	if (is_past(s) || !begin(s, a, &r))
		return;
	for (size_t i = 0; i < s->regs.tdesc.count && args_left(&values); i++) {
		const struct tdesc_reg *reg = &s->regs.tdesc.regs[i];
		bool given;
		if (reg->container != TDESC_NONE)
			continue;
		if (!take_value(&values, reg->size, bytes, &given)) {
			args_fail(a);
			return;
		}
		/* gdb writes back zeros for what it read as unavailable. */
		if (given && set_register(s, &r, reg, bytes) < 0 &&
		    x86_reg_is_gp((unsigned)s->regs.x86[i])) {
			session_error(s, 1);
			return;
		}
	}
	if (!args_done(&values) || view_regs_flush(&r) < 0)
		session_error(s, 1);
	else
		reply_ok(&s->reply);
}
