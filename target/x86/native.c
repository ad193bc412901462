#include "target/x86/native.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "target/ax_code.h"
#include "target/x86/regs.h"

/*
 * The top of the expression's stack is in rax, the cells below it lie in the frame; rcx and rdx are scratch. All other registers hold
 * what the program has in them, so that reading one is a move.
 *
 *   rsp -> cells, rdx, rcx, rax, flags, 128 bytes of red zone, what rsp was
 *
 * Jumps go forward only, so that an evaluation ends and so that one pass knows the height of the stack everywhere. The check of an
 * address is the one subroutine, at the end; it is jumped to, as a call would be seen on a shadow stack.
 */

enum { RED_ZONE = 128, RAX = 0, RCX = 1, RDX = 2, RSP = 4, INT3 = 0xcc };

/* How much of the frame is there. */
enum native_saved {
	SAVED_NONE,
	SAVED_ZONE,
	SAVED_FLAGS,
	SAVED_RAX,
	SAVED_RCX,
	SAVED_RDX,
	SAVED_ALL
};

struct jump {
	uint16_t at; /* of its rel32 */
	uint32_t to; /* index of the instruction */
};

struct coder {
	struct native *n;
	size_t size; /* as it would be with room enough */
	unsigned cells;
	size_t truths[AX_STACK_MAX]; /* rel32s of jumps to where it is true */
	size_t truth_count;
	const struct native_memory *memory;
	size_t checks[NATIVE_LOADS_MAX]; /* rel32s of jumps to the check of an address */
	size_t check_count;
	const char *why;
};

static void bytes(struct coder *c, const void *from, size_t len)
{
	if (c->size < NATIVE_CODE_MAX && len <= NATIVE_CODE_MAX - c->size)
		memcpy(c->n->code + c->size, from, len);
	c->size += len;
}

/* The bytes of a string literal. */
#define CODE(c, text) bytes(c, text, sizeof(text) - 1)

static void byte(struct coder *c, unsigned value)
{
	bytes(c, &(uint8_t){ (uint8_t)value }, 1);
}

static void word32(struct coder *c, uint64_t value)
{
	bytes(c, &value, 4);
}

static void mark(struct coder *c, enum native_saved saved, bool counted)
{
	struct native *n = c->n;
	if (n->mark_count < NATIVE_MARKS_MAX)
		n->marks[n->mark_count++] = (struct native_mark){ .at = (uint16_t)c->size,
								  .saved = (uint8_t)saved,
								  .counted = counted };
}

/* Fills the rel32 at an offset so that it leads to here. */
static void land(struct coder *c, size_t at)
{
	uint32_t distance = (uint32_t)(c->size - (at + 4));
	if (c->size <= NATIVE_CODE_MAX)
		memcpy(c->n->code + at, &distance, 4);
}

/* ---- rax, rcx, rdx and the frame */

/* op reg, [rsp + disp32] of 64 bits. */
static void frame_op(struct coder *c, unsigned op, unsigned reg, unsigned disp)
{
	byte(c, reg & 8 ? 0x4c : 0x48);
	byte(c, op);
	byte(c, 0x84 | (reg & 7) << 3);
	byte(c, 0x24);
	word32(c, disp);
}

static void load_cell(struct coder *c, unsigned reg, int cell)
{
	frame_op(c, 0x8b, reg, 8 * (unsigned)cell);
}

static void store_cell(struct coder *c, unsigned reg, int cell)
{
	frame_op(c, 0x89, reg, 8 * (unsigned)cell);
}

/* Makes room for another value in rax; height is that before. */
static void push(struct coder *c, int height)
{
	if (height > 0)
		store_cell(c, RAX, height - 1);
}

static void load_constant(struct coder *c, uint64_t value)
{
	if (!value) {
		CODE(c, "\x31\xc0"); /* xor eax, eax */
	} else if (value == (uint32_t)value) {
		byte(c, 0xb8);
		word32(c, value);
	} else if (value == (uint64_t)(int64_t)(int32_t)value) {
		CODE(c, "\x48\xc7\xc0");
		word32(c, value);
	} else {
		CODE(c, "\x48\xb8");
		bytes(c, &value, 8);
	}
}

/* False: not a register that can be had. */
static bool load_register(struct coder *c, unsigned reg, uint64_t point)
{
	static const uint8_t encoded[] = { 0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15 };
	unsigned saved = 8 * c->cells;

	switch (reg) {
	case X86_RDX: frame_op(c, 0x8b, RAX, saved); return true;
	case X86_RCX: frame_op(c, 0x8b, RAX, saved + 8); return true;
	case X86_RAX: frame_op(c, 0x8b, RAX, saved + 16); return true;
	case X86_EFLAGS: frame_op(c, 0x8b, RAX, saved + 24); return true;
	case X86_RSP: frame_op(c, 0x8d, RAX, saved + 32 + RED_ZONE); return true;
	case X86_RIP: load_constant(c, point); return true;
	default: break;
	}
	if (reg > X86_R15)
		return false;
	byte(c, encoded[reg] & 8 ? 0x4c : 0x48);
	byte(c, 0x89);
	byte(c, 0xc0 | (encoded[reg] & 7) << 3); /* mov rax, reg */
	return true;
}

/* ---- instructions */

static void truth(struct coder *c)
{
	if (c->truth_count == AX_STACK_MAX)
		c->why = "the condition has too many ends";
	else
		c->truths[c->truth_count++] = c->size;
	word32(c, 0);
}

static void divide(struct coder *c, unsigned op)
{
	bool is_signed = op == AXCODE_DIV_SIGNED || op == AXCODE_REM_SIGNED;
	bool remainder = op == AXCODE_REM_SIGNED || op == AXCODE_REM_UNSIGNED;

	CODE(c,
	     "\x48\x85\xc9\x0f\x84"); /* test rcx, rcx; je: it is for others to say that this cannot be done */
	truth(c);
	if (!is_signed) {
		CODE(c, "\x31\xd2\x48\xf7\xf1"); /* xor edx, edx; div rcx */
		if (remainder)
			CODE(c, "\x48\x89\xd0");
		return;
	}
	/* The smallest number divided by -1 wraps. */
	if (remainder)
		CODE(c,
		     "\x48\x83\xf9\xff\x75\x04\x31\xc0\xeb\x08" /* cmp rcx, -1; jne; xor eax, eax; jmp */
		     "\x48\x99\x48\xf7\xf9\x48\x89\xd0");       /* cqo; idiv rcx; mov rax, rdx */
	else
		CODE(c, "\x48\x83\xf9\xff\x75\x05\x48\xf7\xd8\xeb\x05" /* neg rax */
			"\x48\x99\x48\xf7\xf9");
}

static void shift(struct coder *c, unsigned op)
{
	if (op == AXCODE_RSH_SIGNED)
		CODE(c,
		     "\x48\x83\xf9\x3f\x76\x05\xb9\x3f\0\0\0\x48\xd3\xf8"); /* cmp rcx, 63; jbe; mov ecx, 63; sar rax, cl */
	else if (op == AXCODE_LSH)
		CODE(c, "\x48\x83\xf9\x3f\x76\x04\x31\xc0\xeb\x03\x48\xd3\xe0");
	else
		CODE(c, "\x48\x83\xf9\x3f\x76\x04\x31\xc0\xeb\x03\x48\xd3\xe8");
}

/* rcx is the right operand, rax the left one. */
static void binary(struct coder *c, unsigned op, int height)
{
	CODE(c, "\x48\x89\xc1");
	load_cell(c, RAX, height - 2);
	switch (op) {
	case AXCODE_ADD: CODE(c, "\x48\x01\xc8"); break;
	case AXCODE_SUB: CODE(c, "\x48\x29\xc8"); break;
	case AXCODE_MUL: CODE(c, "\x48\x0f\xaf\xc1"); break;
	case AXCODE_BIT_AND: CODE(c, "\x48\x21\xc8"); break;
	case AXCODE_BIT_OR: CODE(c, "\x48\x09\xc8"); break;
	case AXCODE_BIT_XOR: CODE(c, "\x48\x31\xc8"); break;
	case AXCODE_EQUAL: CODE(c, "\x48\x39\xc8\x0f\x94\xc0\x0f\xb6\xc0"); break;
	case AXCODE_LESS_SIGNED: CODE(c, "\x48\x39\xc8\x0f\x9c\xc0\x0f\xb6\xc0"); break;
	case AXCODE_LESS_UNSIGNED: CODE(c, "\x48\x39\xc8\x0f\x92\xc0\x0f\xb6\xc0"); break;
	case AXCODE_LSH:
	case AXCODE_RSH_SIGNED:
	case AXCODE_RSH_UNSIGNED: shift(c, op); break;
	default: divide(c, op); break;
	}
}

static void extend(struct coder *c, unsigned op, unsigned bits)
{
	if (bits >= 64)
		return;
	CODE(c, "\x48\xc1\xe0"); /* shl rax, n */
	byte(c, 64 - bits);
	if (op == AXCODE_EXT)
		CODE(c, "\x48\xc1\xf8");
	else
		CODE(c, "\x48\xc1\xe8");
	byte(c, 64 - bits);
}

static void rotate(struct coder *c, int height)
{
	load_cell(c, RCX, height - 2);
	load_cell(c, RDX, height - 3);
	store_cell(c, RDX, height - 2);
	store_cell(c, RAX, height - 3);
	CODE(c, "\x48\x89\xc8");
}

/* The check of rax comes back to what rdx says, or does not. */
static void check_address(struct coder *c)
{
	if (!c->memory)
		return;
	CODE(c, "\x48\x8d\x15\x05\0\0\0\xe9"); /* lea rdx, [rip + 5]; jmp */
	if (c->check_count == NATIVE_LOADS_MAX)
		c->why = "the condition reads too often";
	else
		c->checks[c->check_count++] = c->size;
	word32(c, 0);
}

static bool plain(struct coder *c, const struct ax_op *op, int height, uint64_t point)
{
	if (op->code >= AXCODE_REF8 && op->code <= AXCODE_REF64)
		check_address(c);
	switch (op->code) {
	case AXCODE_LOG_NOT: CODE(c, "\x48\x85\xc0\x0f\x94\xc0\x0f\xb6\xc0"); break;
	case AXCODE_BIT_NOT: CODE(c, "\x48\xf7\xd0"); break;
	case AXCODE_EXT:
	case AXCODE_ZERO_EXT: extend(c, op->code, op->n); break;
	case AXCODE_REF8: CODE(c, "\x0f\xb6\x00"); break;
	case AXCODE_REF16: CODE(c, "\x0f\xb7\x00"); break;
	case AXCODE_REF32: CODE(c, "\x8b\x00"); break;
	case AXCODE_REF64: CODE(c, "\x48\x8b\x00"); break;
	case AXCODE_CONST64:
		push(c, height);
		load_constant(c, op->value);
		break;
	case AXCODE_REG: push(c, height); return load_register(c, op->index, point);
	case AXCODE_DUP: push(c, height); break;
	case AXCODE_POP:
		if (height > 1)
			load_cell(c, RAX, height - 2);
		break;
	case AXCODE_SWAP:
		load_cell(c, RCX, height - 2);
		store_cell(c, RAX, height - 2);
		CODE(c, "\x48\x89\xc8");
		break;
	case AXCODE_PICK:
		push(c, height);
		if (op->n)
			load_cell(c, RAX, height - 1 - op->n);
		break;
	case AXCODE_ROT: rotate(c, height); break;
	default: return false;
	}
	return true;
}

static int height_after(const struct ax_op *op, int height)
{
	switch (op->code) {
	case AXCODE_CONST64:
	case AXCODE_REG:
	case AXCODE_DUP:
	case AXCODE_PICK: return height + 1;
	case AXCODE_LOG_NOT:
	case AXCODE_BIT_NOT:
	case AXCODE_EXT:
	case AXCODE_ZERO_EXT:
	case AXCODE_REF8:
	case AXCODE_REF16:
	case AXCODE_REF32:
	case AXCODE_REF64:
	case AXCODE_SWAP:
	case AXCODE_ROT:
	case AXCODE_GOTO:
	case AXCODE_END: return height;
	default: return height - 1;
	}
}

static bool is_binary(unsigned code)
{
	switch (code) {
	case AXCODE_LOG_NOT:
	case AXCODE_BIT_NOT: return false;
	default: return code >= AXCODE_ADD && code <= AXCODE_LESS_UNSIGNED;
	}
}

/* ---- one condition */

/* More instructions than this never fit. */
enum { OPS_MAX = NATIVE_CODE_MAX / 2 };

static const char *const no_loop = "the condition has a loop";
static const char *const too_large = "the condition is too large";

/* The height of the stack before each instruction; the greatest. Every instruction is reached from one before it. */
static const char *heights_of(const struct ax *ax, int *heights, unsigned *ret_cells)
{
	if (ax->count > OPS_MAX)
		return too_large;
	memset(heights, 0, (ax->count + 1) * sizeof(*heights));
	for (size_t i = 0; i < ax->count; i++) {
		const struct ax_op *op = &ax->ops[i];
		if (op->code == AXCODE_PRINTF)
			return "the condition prints";
		if (op->code >= AXCODE_F_ADD)
			return "the condition computes with floating point";
		if (ax_op_is_tracing(op))
			return "the condition uses trace state variables";
		int after = height_after(op, heights[i]);
		if (op->code == AXCODE_GOTO || op->code == AXCODE_IF_GOTO) {
			if (op->index <= i)
				return no_loop;
			heights[op->index] = after;
		}
		if (op->code != AXCODE_GOTO && op->code != AXCODE_END)
			heights[i + 1] = after;
		if (after > NATIVE_CELLS_MAX)
			return "the condition needs too much of the stack";
		if (after > (int)*ret_cells)
			*ret_cells = (unsigned)after;
	}
	return NULL;
}

static void jump_to(struct coder *c, struct jump *jumps, size_t *count, uint32_t index)
{
	jumps[(*count)++] = (struct jump){ .at = (uint16_t)c->size, .to = index };
	word32(c, 0);
}

/* Falls through where it is false. The instruction behind the last one is that place. */
static void condition(struct coder *c, const struct ax *ax, uint64_t point)
{
	int heights[OPS_MAX + 1];
	struct jump jumps[OPS_MAX];
	size_t jump_count = 0;
	unsigned ignored = 0;

	c->why = heights_of(ax, heights, &ignored);
	for (size_t i = 0; i <= ax->count && !c->why; i++) {
		for (size_t j = 0; j < jump_count; j++) {
			if (jumps[j].to == i)
				land(c, jumps[j].at);
		}
		if (i == ax->count)
			break;
		const struct ax_op *op = &ax->ops[i];
		int height = heights[i];
		if (c->size > NATIVE_CODE_MAX) {
			c->why = too_large;
		} else if (is_binary(op->code)) {
			binary(c, op->code, height);
		} else if (op->code == AXCODE_END) {
			if (height) {
				CODE(c, "\x48\x85\xc0\x0f\x85"); /* test rax, rax; jne */
				truth(c);
			}
			if (i + 1 < ax->count) {
				byte(c, 0xe9);
				jump_to(c, jumps, &jump_count, (uint32_t)ax->count);
			}
		} else if (op->code == AXCODE_GOTO) {
			byte(c, 0xe9);
			jump_to(c, jumps, &jump_count, op->index);
		} else if (op->code == AXCODE_IF_GOTO) {
			CODE(c, "\x48\x85\xc0");
			if (height > 1)
				load_cell(c, RAX, height - 2);
			CODE(c, "\x0f\x85");
			jump_to(c, jumps, &jump_count, op->index);
		} else if (!plain(c, op, height, point)) {
			c->why = "the condition reads a register that is not a general one";
		}
	}
}

/* ---- the stub */

static void lea_rsp(struct coder *c, int64_t distance)
{
	CODE(c, "\x48\x8d\xa4\x24");
	word32(c, (uint64_t)distance);
}

static void save(struct coder *c)
{
	mark(c, SAVED_NONE, false);
	lea_rsp(c, -RED_ZONE);
	mark(c, SAVED_ZONE, false);
	byte(c, 0x9c); /* pushfq */
	mark(c, SAVED_FLAGS, false);
	byte(c, 0x50);
	mark(c, SAVED_RAX, false);
	byte(c, 0x51);
	mark(c, SAVED_RCX, false);
	byte(c, 0x52);
	mark(c, SAVED_RDX, false);
	lea_rsp(c, -8 * (int64_t)c->cells);
	mark(c, SAVED_ALL, false);
}

static void restore(struct coder *c, bool counted)
{
	mark(c, SAVED_ALL, counted);
	lea_rsp(c, 8 * (int64_t)c->cells);
	mark(c, SAVED_RDX, counted);
	byte(c, 0x5a);
	mark(c, SAVED_RCX, counted);
	byte(c, 0x59);
	mark(c, SAVED_RAX, counted);
	byte(c, 0x58);
	mark(c, SAVED_FLAGS, counted);
	byte(c, 0x9d);
	mark(c, SAVED_ZONE, counted);
	lea_rsp(c, RED_ZONE);
	mark(c, SAVED_NONE, counted);
}

static bool reaches(uint64_t from, uint64_t to)
{
	return (int64_t)(to - from) == (int32_t)(to - from);
}

static int displaced_copy(struct coder *c, const struct insn *displaced)
{
	struct native *n = c->n;
	if (displaced->is & INSN_SYSCALL) {
		c->why = "the instruction there is a system call";
		return -EOPNOTSUPP;
	}
	int r = insn_relocate(displaced, n->point, n->at + c->size, COPY_RUN, &n->copy);
	if (r < 0) {
		c->why = r == -ERANGE ? "what the instruction there refers to is out of reach"
				      : "the instruction there cannot be moved";
		return r;
	}
	bytes(c, n->copy.code, n->copy.size);
	return 0;
}

/* jcc rel32 back to an earlier place. */
static void jump_back(struct coder *c, unsigned cond, size_t to)
{
	byte(c, 0x0f);
	byte(c, 0x80 | cond);
	word32(c, to - (c->size + 4));
}

/*
 * Eight bytes at rax, whatever is read of them, in the pages from rsp to where it was when the thread came: the frame lies in the
 * first, and what is just below the program's rsp is stack in the last. All else must be in a span.
 */
static void check(struct coder *c)
{
	enum { BELOW_OR_EQUAL = 6, BELOW = 2, WORD = 8 };
	unsigned frame = 8 * c->cells + 32 + RED_ZONE;

	mark(c, SAVED_ALL, false);
	size_t good = c->size;
	CODE(c, "\xff\xe2"); /* jmp rdx */
	for (size_t i = 0; i < c->check_count; i++)
		land(c, c->checks[i]);
	CODE(c, "\x48\x39\xe0\x72\x1e" /* cmp rax, rsp; jb: on with the spans */
		"\x48\x8d\x8c\x24");   /* lea rcx, [rsp + frame - 1] */
	word32(c, frame - 1);
	CODE(c, "\x48\x81\xc9\xff\x0f\0\0" /* or rcx, 4095 */
		"\x48\x29\xc1\x72\x0a"     /* sub rcx, rax; jb: on */
		"\x48\x83\xf9\x07");       /* cmp rcx, 7 */
	static_assert(WORD == 8, "as compared above");
	jump_back(c, 3, good); /* jae */
	for (size_t i = 0; i < c->memory->count; i++) {
		uint64_t start = c->memory->spans[i].start, len = c->memory->spans[i].end - start;
		if (len < WORD)
			continue;
		CODE(c, "\x48\xb9"); /* mov rcx, -start; add rcx, rax */
		bytes(c, &(uint64_t){ -start }, 8);
		CODE(c, "\x48\x01\xc1");
		if (len <= INT32_MAX) {
			CODE(c, "\x48\x81\xf9"); /* cmp rcx, the last place */
			word32(c, len - WORD);
			jump_back(c, BELOW_OR_EQUAL, good);
		} else {
			/* In pages, without the last. */
			uint64_t pages = (len >> 12) - 1;
			CODE(c, "\x48\xc1\xe9\x0c\x48\x81\xf9"); /* shr rcx, 12; cmp */
			word32(c, pages < INT32_MAX ? pages : INT32_MAX);
			jump_back(c, BELOW, good);
		}
	}
}

static int stub(struct coder *c, struct ax *const *conditions, size_t count,
		const struct insn *displaced, uint64_t counter)
{
	struct native *n = c->n;

	save(c);
	for (size_t i = 0; i < count && !c->why; i++)
		condition(c, conditions[i], n->point);
	if (c->why)
		return -EOPNOTSUPP;
	CODE(c, "\xf0\x48\xff\x05"); /* lock inc qword [rip + distance] */
	word32(c, counter - (n->at + c->size + 4));
	restore(c, true);
	int r = displaced_copy(c, displaced);
	if (r < 0)
		return r;
	if (c->check_count)
		check(c);
	for (size_t i = 0; i < c->truth_count; i++)
		land(c, c->truths[i]);
	restore(c, false);
	n->trap = (uint16_t)c->size;
	byte(c, INT3);
	return 0;
}

int native_make(struct ax *const *conditions, size_t count, const struct insn *displaced,
		const struct native_memory *memory, uint64_t point, uint64_t at, uint64_t counter,
		struct native *ret, const char **ret_why)
{
	struct native n = { .at = at, .point = point };
	struct coder c = { .n = &n, .memory = memory };
	int r = 0;

	if (!reaches(at, counter) || !reaches(at + NATIVE_CODE_MAX, counter)) {
		*ret_why = "its counter is out of reach";
		return -ERANGE;
	}
	for (size_t i = 0; i < count && !c.why; i++) {
		int heights[OPS_MAX + 1];
		c.why = heights_of(conditions[i], heights, &c.cells);
	}
	n.cells = (uint16_t)c.cells;
	r = c.why ? -EOPNOTSUPP : stub(&c, conditions, count, displaced, counter);
	/* What is behind the int3 is room for a jump in its place. */
	if (r == 0 && c.size + 4 > NATIVE_CODE_MAX) {
		c.why = too_large;
		r = -EOPNOTSUPP;
	}
	if (r < 0) {
		*ret_why = c.why;
		return r;
	}
	n.size = (uint16_t)c.size;
	*ret = n;
	return 0;
}

/* ---- threads in the stub */

/* What is still in the frame goes back to where it came from. */
static int unsave(const struct native *n, unsigned saved, struct user_regs_struct *regs,
		  const struct insn_mem *mem)
{
	uint64_t frame[4] = { 0 }; /* rdx, rcx, rax, flags: those that are there, at the end */
	size_t count = saved >= SAVED_RDX ? 4 : saved >= SAVED_FLAGS ? saved - SAVED_FLAGS + 1 : 0;
	uint64_t at = regs->rsp + (saved == SAVED_ALL ? 8u * n->cells : 0);

	if (count && mem->read(mem->ctx, at, frame + 4 - count, 8 * count) < 0)
		return -EFAULT;
	if (count >= 4)
		regs->rdx = frame[0];
	if (count >= 3)
		regs->rcx = frame[1];
	if (count >= 2)
		regs->rax = frame[2];
	if (count >= 1)
		regs->eflags = frame[3];
	if (saved >= SAVED_ZONE)
		regs->rsp = at + 8 * count + RED_ZONE;
	return 0;
}

int native_leave(const struct native *n, struct user_regs_struct *regs, const struct insn_mem *mem)
{
	const struct native_mark *last = NULL;

	if (!native_holds(n, regs->rip))
		return NATIVE_ELSEWHERE;
	if (insn_copy_holds(&n->copy, regs->rip)) {
		struct insn_entered entered = { .eflags = regs->eflags };
		int r = insn_fixup(&n->copy, &entered, regs, mem);
		if (r < 0)
			return r;
		return r ? NATIVE_BEHIND : NATIVE_PASSED;
	}
	for (size_t i = 0; i < n->mark_count && n->marks[i].at <= regs->rip - n->at; i++)
		last = &n->marks[i];
	if (!last)
		return -EINVAL;
	int r = unsave(n, last->saved, regs, mem);
	if (r < 0)
		return r;
	regs->rip = n->point;
	return last->counted ? NATIVE_PASSED : NATIVE_ASKING;
}
