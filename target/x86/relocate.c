#include <Zydis/Zydis.h>
#include <errno.h>
#include <string.h>

#include "target/x86/emulate.h"
#include "target/x86/insn.h"

/*
 * Only what depends on rip is rewritten; the copy of all else is the instruction itself. No copy uses a register or the flags.
 *
 *   [rip+disp]          a new displacement; out of reach: lea becomes mov, else (COPY_STEP) a free register stands for rip
 *   jmp rel             jmp target
 *   jcc, loop, jrcxz    the same over a jump back to a jump to the target
 *   call rel            push the return address, kept as data behind the code; jmp target
 *   call r/m            the same, or (COPY_STEP) itself, and the return address is mended afterwards
 */

enum copy_fix {
	FIX_NONE,
	FIX_RETURN,  /* the return address on the stack is in the copy */
	FIX_SYSCALL, /* so is rcx */
	FIX_PUSHF,   /* the trap flag that stepped it was pushed */
};

enum { TRAP_FLAG = 0x100, RSP = 4, NO_INDEX = 4, NO_BASE = 5 };

static void emit(struct insn_copy *c, const void *bytes, size_t len)
{
	memcpy(c->code + c->size, bytes, len);
	c->size += (uint8_t)len;
}

static void emit8(struct insn_copy *c, unsigned byte)
{
	c->code[c->size++] = (uint8_t)byte;
}

static void emit32(struct insn_copy *c, uint64_t value)
{
	emit(c, &value, 4);
}

static void emit64(struct insn_copy *c, uint64_t value)
{
	emit(c, &value, 8);
}

static void mark(struct insn_copy *c, unsigned at, uint64_t rip, bool done, unsigned rsp_back)
{
	c->marks[c->mark_count++] = (struct insn_mark){
		.at = (uint8_t)at, .rsp_back = (uint8_t)rsp_back, .done = done, .rip = rip
	};
}

static bool fits32(uint64_t distance)
{
	return (int64_t)distance == (int32_t)distance;
}

/* A place where a stepped thread stops belongs to the copy; nobody runs what is there. */
enum { INT3 = 0xcc };

/* rel32, else jmp [rip+0] and the address. */
static void emit_jump(struct insn_copy *c, uint64_t target)
{
	uint64_t distance = target - (c->to + c->size + 5);
	if (fits32(distance)) {
		emit8(c, 0xe9);
		emit32(c, distance);
		return;
	}
	emit(c, "\xff\x25\0\0\0\0", 6);
	emit64(c, target);
}

/* push qword [rip+behind], behind bytes being other code; the caller puts the value there. */
static void emit_push_data(struct insn_copy *c, unsigned behind)
{
	emit(c, "\xff\x35", 2);
	emit32(c, behind);
}

static void end_with(struct insn_copy *c, uint64_t next)
{
	mark(c, c->size, next, true, 0);
	if (c->mode == COPY_RUN)
		emit_jump(c, next);
	else
		emit8(c, INT3);
}

/* ---- operands that count from rip */

/* Rewrites ModRM from [rip+disp32] to [reg+disp32]; the B bit, which rip does not need, extends reg from then on. */
static void use_register(const struct insn *in, uint8_t *code, unsigned reg)
{
	code[in->modrm_at] = (uint8_t)((code[in->modrm_at] & 0x38) | 0x80 | reg);
	uint8_t *prefix = code + in->prefix_at;
	switch (in->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		if (prefix[0] == 0xc4)
			prefix[1] |= 0x20;
		break;
	case ZYDIS_INSTRUCTION_ENCODING_XOP:
	case ZYDIS_INSTRUCTION_ENCODING_EVEX: prefix[1] |= 0x20; break;
	default:
		if (in->prefix_at || (code[0] & 0xf0) == 0x40)
			prefix[0] &= 0xfe;
		break;
	}
}

static int borrow_register(const struct insn *in, struct insn_copy *c)
{
	static const uint8_t candidates[] = {
		6, 7, 1, 2, 3, 0
	}; /* those that need no REX and no SIB */
	for (size_t i = 0; i < sizeof(candidates); i++) {
		if (in->busy >> candidates[i] & 1)
			continue;
		c->borrowed = candidates[i];
		c->rip_value = c->next;
		emit(c, in->bytes, in->length);
		use_register(in, c->code, candidates[i]);
		return 0;
	}
	return -ERANGE;
}

/* lea of something far: mov the address. */
static bool emit_far_lea(const struct insn *in, struct insn_copy *c, uint64_t addr)
{
	if (in->op != EMU_LEA || in->size < 4)
		return false;
	unsigned rex = (in->size == 8 ? 0x48 : 0x40) | in->dst.reg >> 3;
	if (rex != 0x40)
		emit8(c, rex);
	emit8(c, 0xb8 | (in->dst.reg & 7));
	emit(c, &addr, in->size);
	return true;
}

static int emit_self(const struct insn *in, struct insn_copy *c)
{
	if (in->base != INSN_RIP) {
		emit(c, in->bytes, in->length);
		return 0;
	}
	if (in->addr32 || !in->disp_at || !in->modrm_at)
		return -EOPNOTSUPP;
	uint64_t addr = c->next + (uint64_t)in->disp, disp = addr - (c->to + in->length);
	if (fits32(disp)) {
		emit(c, in->bytes, in->length);
		memcpy(c->code + in->disp_at, &disp, 4);
		return 0;
	}
	if (emit_far_lea(in, c, addr))
		return 0;
	return c->mode == COPY_STEP ? borrow_register(in, c) : -ERANGE;
}

/* ---- branches */

/* jmp qword [the operand of in], after a push when rsp is its base. */
static int emit_jump_memory(const struct insn *in, struct insn_copy *c)
{
	uint64_t disp = (uint64_t)in->disp + (in->base == RSP ? 8 : 0);
	/* The push would overwrite the target. Through another register nobody finds it there. */
	if (in->base == RSP && in->index == INSN_NO_REG && in->disp > -16 && in->disp < 0)
		return -EOPNOTSUPP;
	if (in->segment != SEGMENT_FLAT)
		emit8(c, in->segment == SEGMENT_FS ? 0x64 : 0x65);
	if (in->addr32)
		emit8(c, 0x67);
	if (in->base == INSN_RIP) {
		disp = c->next + (uint64_t)in->disp - (c->to + c->size + 6);
		if (in->addr32 || !fits32(disp))
			return in->addr32 ? -EOPNOTSUPP : -ERANGE;
		emit(c, "\xff\x25", 2);
		emit32(c, disp);
		return 0;
	}
	if (!fits32(disp))
		return -EOPNOTSUPP;
	unsigned base = in->base == INSN_NO_REG ? NO_BASE : in->base;
	unsigned index = in->index == INSN_NO_REG ? NO_INDEX : in->index;
	unsigned scale = in->index == INSN_NO_REG ? 0 : (unsigned)__builtin_ctz(in->scale | 8u);
	unsigned rex = 0x40 | index >> 3 << 1 | base >> 3;
	if (rex != 0x40)
		emit8(c, rex);
	emit8(c, 0xff);
	emit8(c, in->base == INSN_NO_REG ? 0x24 : 0xa4); /* jmp, SIB follows, no base or disp32 */
	emit8(c, scale << 6 | (index & 7) << 3 | (base & 7));
	emit32(c, disp);
	return 0;
}

static int emit_jump_register(const struct insn *in, struct insn_copy *c)
{
	if (in->dst.reg == RSP)
		return -EOPNOTSUPP;
	if (in->dst.reg & 8)
		emit8(c, 0x41);
	emit8(c, 0xff);
	emit8(c, 0xe0 | (in->dst.reg & 7));
	return 0;
}

/* What is pushed is behind the jump, whose length is known when it is there. */
static int copy_call(const struct insn *in, struct insn_copy *c)
{
	uint64_t target;
	bool relative = insn_target(in, c->from, &target);
	int r = 0;
	if (!relative && c->mode == COPY_STEP) {
		c->fix = FIX_RETURN;
		return emit_self(in, c);
	}
	emit_push_data(c, 0);
	unsigned jump_at = c->size;
	mark(c, jump_at, relative ? target : c->from, relative, relative ? 0 : 8);
	if (relative && c->mode == COPY_RUN)
		emit_jump(c, target);
	else if (in->dst.kind == OPERAND_REG)
		r = emit_jump_register(in, c);
	else if (in->dst.kind == OPERAND_MEM)
		r = emit_jump_memory(in, c);
	else if (!relative)
		r = -EOPNOTSUPP;
	c->code[2] = (uint8_t)(c->size - jump_at);
	emit64(c, c->next);
	return r;
}

static int copy_jump(const struct insn *in, struct insn_copy *c)
{
	uint64_t target;
	if (!insn_target(in, c->from, &target))
		return emit_self(in, c);
	if (c->mode == COPY_RUN) {
		emit_jump(c, target);
		return 0;
	}
	emit8(c, 0x90);
	end_with(c, target);
	return 0;
}

/* xbegin has a ModRM byte, unlike all branches. */
static int copy_branch(const struct insn *in, struct insn_copy *c)
{
	uint64_t target;
	if (in->modrm_at || !insn_target(in, c->from, &target))
		return -EOPNOTSUPP;
	if (in->op == EMU_JCC) {
		emit8(c, 0x70 | in->cond);
		emit8(c, 0);
	} else {
		emit(c, in->bytes, in->length);
	}
	unsigned end = c->size;
	end_with(c, c->next);
	c->code[end - 1] = (uint8_t)(c->size - end);
	end_with(c, target);
	return 0;
}

static int copy_plain(const struct insn *in, struct insn_copy *c)
{
	int r = emit_self(in, c);
	if (r == 0)
		end_with(c, c->next);
	if (in->is & INSN_SYSCALL)
		c->fix = FIX_SYSCALL;
	else if ((in->is & INSN_PUSHF) && c->mode == COPY_STEP)
		c->fix = FIX_PUSHF;
	return r;
}

static bool is_movable(const struct insn *in, enum insn_copy_mode mode)
{
	static const uint8_t sysenter[] = { 0x0f, 0x34 };
	if ((in->is & (INSN_FAR | INSN_INT3)) || in->data16_branch)
		return false;
	if ((in->is & INSN_INT) && !(in->is & INSN_SYSCALL))
		return false;
	if (in->is & INSN_SYSCALL)
		return mode == COPY_STEP && memcmp(in->bytes + in->length - 2, sysenter, 2) != 0;
	return true;
}

int insn_relocate(const struct insn *in, uint64_t from, uint64_t to, enum insn_copy_mode mode,
		  struct insn_copy *ret)
{
	if (!is_movable(in, mode))
		return -EOPNOTSUPP;
	struct insn_copy c = { .from = from,
			       .to = to,
			       .mode = mode,
			       .borrowed = INSN_NO_REG,
			       .next = from + in->length };
	int r;
	mark(&c, 0, from, false, 0);
	if (in->is & INSN_CALL)
		r = copy_call(in, &c);
	else if (in->is & INSN_JUMP)
		r = copy_jump(in, &c);
	else if (in->is & INSN_COND)
		r = copy_branch(in, &c);
	else if (in->is & INSN_RET)
		r = emit_self(in, &c);
	else
		r = copy_plain(in, &c);
	if (r < 0)
		return r;
	c.length = in->length;
	*ret = c;
	return 0;
}

/* ---- threads in a copy */

/* Only the six registers borrow_register() knows. */
static unsigned long long *borrowed_register(const struct insn_copy *c,
					     struct user_regs_struct *regs)
{
	switch (c->borrowed) {
	case 0: return &regs->rax;
	case 1: return &regs->rcx;
	case 2: return &regs->rdx;
	case 3: return &regs->rbx;
	case 6: return &regs->rsi;
	case 7: return &regs->rdi;
	default: return NULL;
	}
}

void insn_enter(const struct insn_copy *copy, struct user_regs_struct *regs,
		struct insn_entered *ret)
{
	unsigned long long *reg = borrowed_register(copy, regs);
	*ret = (struct insn_entered){ .borrowed = reg ? *reg : 0, .eflags = regs->eflags };
	if (reg)
		*reg = copy->rip_value;
	regs->rip = copy->to;
}

bool insn_copy_holds(const struct insn_copy *copy, uint64_t pc)
{
	return pc - copy->to < copy->size;
}

static const struct insn_mark *find_mark(const struct insn_copy *copy, uint64_t pc)
{
	for (unsigned i = 0; i < copy->mark_count; i++)
		if (pc - copy->to == copy->marks[i].at)
			return &copy->marks[i];
	return NULL;
}

/* The copy's own return address is replaced; anything else there was not pushed by it. */
static int mend_return(const struct insn_copy *copy, const struct user_regs_struct *regs,
		       const struct insn_mem *mem)
{
	uint64_t pushed;
	int r = mem->read(mem->ctx, regs->rsp, &pushed, sizeof(pushed));
	if (r == 0 && pushed == copy->to + copy->length)
		r = mem->write(mem->ctx, regs->rsp, &copy->next, sizeof(copy->next));
	return r;
}

static int mend_flags(const struct insn_entered *entered, const struct user_regs_struct *regs,
		      const struct insn_mem *mem)
{
	uint8_t second;
	if (entered->eflags & TRAP_FLAG)
		return 0;
	int r = mem->read(mem->ctx, regs->rsp + 1, &second, 1);
	second &= (uint8_t) ~(TRAP_FLAG >> 8);
	return r < 0 ? r : mem->write(mem->ctx, regs->rsp + 1, &second, 1);
}

int insn_fixup(const struct insn_copy *copy, const struct insn_entered *entered,
	       struct user_regs_struct *regs, const struct insn_mem *mem)
{
	const struct insn_mark *m = find_mark(copy, regs->rip);
	bool jumped = !m;
	int r = 0;
	if (jumped && insn_copy_holds(copy, regs->rip))
		return -EINVAL;
	if (copy->fix == FIX_RETURN && jumped)
		r = mend_return(copy, regs, mem);
	else if (copy->fix == FIX_PUSHF && m && m->done)
		r = mend_flags(entered, regs, mem);
	if (r < 0)
		return r;
	unsigned long long *reg = borrowed_register(copy, regs);
	if (reg)
		*reg = entered->borrowed;
	if (jumped)
		return 1;
	if (copy->fix == FIX_SYSCALL && m->done && regs->rcx == copy->to + copy->length)
		regs->rcx = copy->next;
	regs->rsp += m->rsp_back;
	regs->rip = m->rip;
	return m->done;
}
