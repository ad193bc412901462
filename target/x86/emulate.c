#include "target/x86/emulate.h"

#include <errno.h>
#include <string.h>

#include "target/x86/insn.h"

/*
 * An instruction works on a copy of the registers; its one write to memory, if any, is the last thing that can fail, and only
 * then is the copy handed back.
 */

enum {
	CF = 1 << 0,
	PF = 1 << 2,
	AF = 1 << 4,
	ZF = 1 << 6,
	SF = 1 << 7,
	TF = 1 << 8,
	DF = 1 << 10,
	OF = 1 << 11,
	RF = 1 << 16,
	AC = 1 << 18,
	ARITHMETIC = CF | PF | AF | ZF | SF | OF,
};

enum { RAX, RCX, RDX, RBX, RSP, RBP };

enum { USER32_CS = 0x23 };

struct run {
	const struct insn *in;
	struct user_regs_struct regs;
	const struct insn_mem *mem;
};

static unsigned long long *gpr(struct run *r, unsigned number)
{
#define AT(field) (offsetof(struct user_regs_struct, field) / 8)
	static const uint8_t words[16] = { AT(rax), AT(rcx), AT(rdx), AT(rbx), AT(rsp), AT(rbp),
					   AT(rsi), AT(rdi), AT(r8),  AT(r9),  AT(r10), AT(r11),
					   AT(r12), AT(r13), AT(r14), AT(r15) };
#undef AT
	return (unsigned long long *)&r->regs + words[number];
}

static uint64_t mask_of(unsigned size)
{
	return size == 8 ? ~0ull : (1ull << size * 8) - 1;
}

static uint64_t sign_extend(uint64_t value, unsigned size)
{
	unsigned rest = 64 - size * 8;
	return (uint64_t)((int64_t)(value << rest) >> rest);
}

static bool negative(uint64_t value, unsigned size)
{
	return value >> (size * 8 - 1) & 1;
}

static uint64_t address(struct run *r)
{
	const struct insn *in = r->in;
	uint64_t addr = (uint64_t)in->disp;
	if (in->base == INSN_RIP)
		addr += r->regs.rip + in->length;
	else if (in->base != INSN_NO_REG)
		addr += *gpr(r, in->base);
	if (in->index != INSN_NO_REG)
		addr += *gpr(r, in->index) * in->scale;
	if (in->addr32)
		addr = (uint32_t)addr;
	if (in->segment == SEGMENT_FS)
		addr += r->regs.fs_base;
	else if (in->segment == SEGMENT_GS)
		addr += r->regs.gs_base;
	return addr;
}

static int load(struct run *r, uint64_t addr, unsigned size, uint64_t *ret)
{
	uint64_t value = 0;
	int e = r->mem->read(r->mem->ctx, addr, &value, size);
	*ret = value;
	return e;
}

static int store(struct run *r, uint64_t addr, unsigned size, uint64_t value)
{
	return r->mem->write(r->mem->ctx, addr, &value, size);
}

static int get(struct run *r, const struct insn_operand *o, unsigned size, uint64_t *ret)
{
	switch (o->kind) {
	case OPERAND_REG: *ret = *gpr(r, o->reg) & mask_of(size); return 0;
	case OPERAND_HIGH_BYTE: *ret = *gpr(r, o->reg) >> 8 & 0xff; return 0;
	case OPERAND_IMM: *ret = (uint64_t)r->in->imm & mask_of(size); return 0;
	default: return load(r, address(r), size, ret);
	}
}

/* 32 bits clear the upper half, fewer leave it. */
static void put_reg(struct run *r, unsigned number, unsigned size, uint64_t value)
{
	unsigned long long *reg = gpr(r, number);
	uint64_t mask = size == 4 ? ~0ull : mask_of(size);
	*reg = (*reg & ~mask) | (value & mask_of(size) & mask);
}

static int put(struct run *r, const struct insn_operand *o, unsigned size, uint64_t value)
{
	unsigned long long *reg;
	switch (o->kind) {
	case OPERAND_REG: put_reg(r, o->reg, size, value); return 0;
	case OPERAND_HIGH_BYTE:
		reg = gpr(r, o->reg);
		*reg = (*reg & ~0xff00ull) | (value & 0xff) << 8;
		return 0;
	default: return store(r, address(r), size, value);
	}
}

static void set_flags(struct run *r, unsigned which, unsigned values)
{
	r->regs.eflags = (r->regs.eflags & ~(uint64_t)which) | (values & which);
}

/* Zero, sign and parity of a result that is masked to its size. */
static unsigned zsp(uint64_t result, unsigned size)
{
	unsigned flags = result ? 0 : ZF;
	if (negative(result, size))
		flags |= SF;
	if (!__builtin_parity(result & 0xff))
		flags |= PF;
	return flags;
}

static uint64_t do_add(struct run *r, uint64_t a, uint64_t b, unsigned carry, unsigned size)
{
	uint64_t sum = (a + b + carry) & mask_of(size);
	unsigned flags = zsp(sum, size) | ((a ^ b ^ sum) & AF);
	if (sum < a || (carry && sum == a))
		flags |= CF;
	if (negative((a ^ sum) & (b ^ sum), size))
		flags |= OF;
	set_flags(r, ARITHMETIC, flags);
	return sum;
}

static uint64_t do_sub(struct run *r, uint64_t a, uint64_t b, unsigned borrow, unsigned size)
{
	uint64_t difference = (a - b - borrow) & mask_of(size);
	unsigned flags = zsp(difference, size) | ((a ^ b ^ difference) & AF);
	if (a < b || (borrow && a == b))
		flags |= CF;
	if (negative((a ^ b) & (a ^ difference), size))
		flags |= OF;
	set_flags(r, ARITHMETIC, flags);
	return difference;
}

/* AF is undefined; processors clear it. */
static uint64_t do_logic(struct run *r, uint64_t result, unsigned size)
{
	set_flags(r, ARITHMETIC, zsp(result, size));
	return result;
}

static int run_binary(struct run *r)
{
	const struct insn *in = r->in;
	unsigned size = in->size, carry = r->regs.eflags & CF;
	uint64_t a, b, result;
	int e = get(r, &in->dst, size, &a);
	if (e == 0)
		e = get(r, &in->src, size, &b);
	if (e < 0)
		return e;
	switch (in->op) {
	case EMU_ADD: result = do_add(r, a, b, 0, size); break;
	case EMU_ADC: result = do_add(r, a, b, carry, size); break;
	case EMU_SUB: result = do_sub(r, a, b, 0, size); break;
	case EMU_SBB: result = do_sub(r, a, b, carry, size); break;
	case EMU_OR: result = do_logic(r, a | b, size); break;
	case EMU_AND: result = do_logic(r, a & b, size); break;
	case EMU_XOR: result = do_logic(r, a ^ b, size); break;
	case EMU_CMP: do_sub(r, a, b, 0, size); return 0;
	default: do_logic(r, a & b, size); return 0; /* EMU_TEST */
	}
	return put(r, &in->dst, size, result);
}

static int run_unary(struct run *r)
{
	const struct insn *in = r->in;
	unsigned size = in->size, carry = r->regs.eflags & CF;
	uint64_t a;
	int e = get(r, &in->dst, size, &a);
	if (e < 0)
		return e;
	switch (in->op) {
	case EMU_INC:
		a = do_add(r, a, 1, 0, size);
		set_flags(r, CF, carry);
		break;
	case EMU_DEC:
		a = do_sub(r, a, 1, 0, size);
		set_flags(r, CF, carry);
		break;
	case EMU_NEG: a = do_sub(r, 0, a, 0, size); break;
	default: a = ~a & mask_of(size); break; /* EMU_NOT */
	}
	return put(r, &in->dst, size, a);
}

/* OF is defined for a count of 1; processors compute it the same way for every count. Counts reach 63, values 64 bits. */
static uint64_t do_shift(struct run *r, uint64_t a, unsigned count, unsigned size)
{
	unsigned bits = size * 8;
	uint64_t result;
	bool carry, overflow;
	switch (r->in->op) {
	case EMU_SHL:
		result = (count < 64 ? a << count : 0) & mask_of(size);
		carry = count <= bits && (a >> (bits - count) & 1);
		overflow = negative(result, size) != carry;
		break;
	case EMU_SHR:
		result = a >> count;
		carry = a >> (count - 1) & 1;
		overflow = negative(result << 1, size);
		break;
	default: /* EMU_SAR */
		result = (uint64_t)((int64_t)sign_extend(a, size) >> count) & mask_of(size);
		carry = (int64_t)sign_extend(a, size) >> (count - 1) & 1;
		overflow = false;
		break;
	}
	set_flags(r, ARITHMETIC, zsp(result, size) | (carry ? CF : 0) | (overflow ? OF : 0));
	return result;
}

static uint64_t do_rotate(struct run *r, uint64_t a, unsigned count, unsigned size)
{
	unsigned bits = size * 8, turn = count % bits;
	uint64_t result;
	unsigned flags;
	if (r->in->op == EMU_ROL) {
		result = turn ? (a << turn | a >> (bits - turn)) & mask_of(size) : a;
		flags = result & 1 ? CF : 0;
		if (negative(result, size) != (result & 1))
			flags |= OF;
	} else {
		result = turn ? (a >> turn | a << (bits - turn)) & mask_of(size) : a;
		flags = negative(result, size) ? CF : 0;
		if (negative(result ^ result << 1, size))
			flags |= OF;
	}
	set_flags(r, CF | OF, flags);
	return result;
}

/* A count of zero leaves the flags, yet the operand is written: 32 bits clear the upper half. */
static int run_shift(struct run *r)
{
	const struct insn *in = r->in;
	uint64_t a, count = 1;
	int e = get(r, &in->dst, in->size, &a);
	if (e == 0 && in->src.kind != OPERAND_NONE)
		e = get(r, &in->src, 1, &count);
	if (e < 0)
		return e;
	count &= in->size == 8 ? 63 : 31;
	if (count && (in->op == EMU_ROL || in->op == EMU_ROR))
		a = do_rotate(r, a, (unsigned)count, in->size);
	else if (count)
		a = do_shift(r, a, (unsigned)count, in->size);
	return put(r, &in->dst, in->size, a);
}

static int run_bit(struct run *r)
{
	const struct insn *in = r->in;
	uint64_t a, bit;
	int e = get(r, &in->dst, in->size, &a);
	if (e == 0)
		e = get(r, &in->src, in->size, &bit);
	if (e < 0)
		return e;
	bit = 1ull << (bit & (in->size * 8u - 1));
	set_flags(r, CF, a & bit ? CF : 0);
	switch (in->op) {
	case EMU_BTS: a |= bit; break;
	case EMU_BTR: a &= ~bit; break;
	case EMU_BTC: a ^= bit; break;
	default: return 0; /* EMU_BT */
	}
	return put(r, &in->dst, in->size, a);
}

static int run_imul(struct run *r)
{
	const struct insn *in = r->in;
	uint64_t a, b = (uint64_t)in->imm;
	int e = get(r, &in->src, in->size, &a);
	if (e == 0 && in->op == EMU_IMUL)
		e = get(r, &in->dst, in->size, &b);
	if (e < 0)
		return e;
	__int128 product =
		(__int128)(int64_t)sign_extend(a, in->size) * (int64_t)sign_extend(b, in->size);
	uint64_t low = (uint64_t)product & mask_of(in->size);
	set_flags(r, CF | OF, (int64_t)sign_extend(low, in->size) == product ? 0 : CF | OF);
	return put(r, &in->dst, in->size, low);
}

/* rdx:rax, or ax, = rax times the operand. */
static int run_wide_mul(struct run *r)
{
	const struct insn *in = r->in;
	unsigned size = in->size;
	uint64_t b, a = *gpr(r, RAX) & mask_of(size);
	int e = get(r, &in->dst, size, &b);
	if (e < 0)
		return e;
	unsigned __int128 product = (unsigned __int128)a * b;
	if (in->op == EMU_IMUL_WIDE)
		product = (unsigned __int128)((__int128)(int64_t)sign_extend(a, size) *
					      (int64_t)sign_extend(b, size));
	uint64_t low = (uint64_t)product & mask_of(size),
		 high = (uint64_t)(product >> size * 8) & mask_of(size);
	uint64_t expected = in->op == EMU_IMUL_WIDE && negative(low, size) ? mask_of(size) : 0;
	set_flags(r, CF | OF, high == expected ? 0 : CF | OF);
	if (size == 1) {
		put_reg(r, RAX, 2, high << 8 | low);
	} else {
		put_reg(r, RAX, size, low);
		put_reg(r, RDX, size, high);
	}
	return 0;
}

static bool condition(uint64_t flags, unsigned cond)
{
	bool holds;
	switch (cond >> 1) {
	case 0: holds = flags & OF; break;
	case 1: holds = flags & CF; break;
	case 2: holds = flags & ZF; break;
	case 3: holds = flags & (CF | ZF); break;
	case 4: holds = flags & SF; break;
	case 5: holds = flags & PF; break;
	case 6: holds = !(flags & SF) != !(flags & OF); break;
	default: holds = (flags & ZF) || !(flags & SF) != !(flags & OF); break;
	}
	return holds != (cond & 1);
}

static int run_move(struct run *r)
{
	const struct insn *in = r->in;
	uint64_t a, b;
	int e = 0;
	switch (in->op) {
	case EMU_LEA: return put(r, &in->dst, in->size, address(r));
	case EMU_SETCC: return put(r, &in->dst, 1, condition(r->regs.eflags, in->cond));
	case EMU_BSWAP:
		get(r, &in->dst, in->size, &a);
		return put(r, &in->dst, in->size,
			   in->size == 8 ? __builtin_bswap64(a) : __builtin_bswap32((uint32_t)a));
	default: break;
	}
	bool widens = in->op == EMU_MOVZX || in->op == EMU_MOVSX;
	e = get(r, &in->src, widens ? in->src_size : in->size, &b);
	if (e < 0)
		return e;
	if (in->op == EMU_MOVSX)
		b = sign_extend(b, in->src_size);
	if (in->op == EMU_CMOV && !condition(r->regs.eflags, in->cond))
		e = get(r, &in->dst, in->size,
			&b); /* memory was read all the same, and 32 bits clear the upper half */
	if (in->op == EMU_XCHG) {
		get(r, &in->dst, in->size, &a);
		put(r, &in->src, in->size, a);
	}
	return e < 0 ? e : put(r, &in->dst, in->size, b);
}

static int push(struct run *r, uint64_t value)
{
	r->regs.rsp -= 8;
	return store(r, r->regs.rsp, 8, value);
}

static int pop(struct run *r, uint64_t *ret)
{
	int e = load(r, r->regs.rsp, 8, ret);
	r->regs.rsp += 8;
	return e;
}

static int run_stack(struct run *r)
{
	const struct insn *in = r->in;
	uint64_t value;
	int e;
	switch (in->op) {
	case EMU_PUSH: e = get(r, &in->dst, 8, &value); return e < 0 ? e : push(r, value);
	case EMU_POP: e = pop(r, &value); return e < 0 ? e : put(r, &in->dst, 8, value);
	default: /* EMU_LEAVE */
		r->regs.rsp = r->regs.rbp;
		e = pop(r, &value);
		r->regs.rbp = value;
		return e;
	}
}

/* No user code lies there (the vsyscall page is not code): let the processor and the kernel deal with it. */
static bool is_foreign(uint64_t pc)
{
	return pc >> 47;
}

static int go_to(struct run *r, uint64_t target)
{
	if (is_foreign(target))
		return 0;
	r->regs.rip = target;
	return 1;
}

static int run_branch(struct run *r)
{
	const struct insn *in = r->in;
	uint64_t next = r->regs.rip + in->length, target = next + (uint64_t)in->imm;
	int e = 0;
	switch (in->op) {
	case EMU_JCC: return go_to(r, condition(r->regs.eflags, in->cond) ? target : next);
	case EMU_JRCXZ: return go_to(r, r->regs.rcx ? next : target);
	case EMU_RET:
		e = pop(r, &target);
		if (in->dst.kind == OPERAND_IMM)
			r->regs.rsp += (uint64_t)in->imm & 0xffff;
		break;
	default: /* EMU_CALL, EMU_JMP */
		if (in->dst.kind != OPERAND_IMM)
			e = get(r, &in->dst, 8, &target);
		break;
	}
	if (e < 0)
		return e;
	int done = go_to(r, target);
	if (done && in->op == EMU_CALL)
		e = push(r, next);
	return e < 0 ? e : done;
}

static void run_extend(struct run *r)
{
	unsigned size = r->in->size;
	if (r->in->op == EMU_EXTEND_RAX)
		put_reg(r, RAX, size, sign_extend(*gpr(r, RAX), size / 2));
	else
		put_reg(r, RDX, size, negative(*gpr(r, RAX), size) ? ~0ull : 0);
}

static int run(struct run *r)
{
	switch (r->in->op) {
	case EMU_NOP: return 0;
	case EMU_MOV:
	case EMU_MOVZX:
	case EMU_MOVSX:
	case EMU_LEA:
	case EMU_XCHG:
	case EMU_BSWAP:
	case EMU_CMOV:
	case EMU_SETCC: return run_move(r);
	case EMU_PUSH:
	case EMU_POP:
	case EMU_LEAVE: return run_stack(r);
	case EMU_ADD:
	case EMU_OR:
	case EMU_ADC:
	case EMU_SBB:
	case EMU_AND:
	case EMU_SUB:
	case EMU_XOR:
	case EMU_CMP:
	case EMU_TEST: return run_binary(r);
	case EMU_INC:
	case EMU_DEC:
	case EMU_NEG:
	case EMU_NOT: return run_unary(r);
	case EMU_SHL:
	case EMU_SHR:
	case EMU_SAR:
	case EMU_ROL:
	case EMU_ROR: return run_shift(r);
	case EMU_BT:
	case EMU_BTS:
	case EMU_BTR:
	case EMU_BTC: return run_bit(r);
	case EMU_IMUL:
	case EMU_IMUL_IMM: return run_imul(r);
	case EMU_MUL_WIDE:
	case EMU_IMUL_WIDE: return run_wide_mul(r);
	case EMU_EXTEND_RAX:
	case EMU_EXTEND_RDX: run_extend(r); return 0;
	case EMU_CLC: set_flags(r, CF, 0); return 0;
	case EMU_STC: set_flags(r, CF, CF); return 0;
	case EMU_CMC: r->regs.eflags ^= CF; return 0;
	case EMU_CLD: set_flags(r, DF, 0); return 0;
	default: set_flags(r, DF, DF); return 0; /* EMU_STD */
	}
}

static bool is_branch(unsigned op)
{
	return op == EMU_CALL || op == EMU_JMP || op == EMU_JCC || op == EMU_JRCXZ || op == EMU_RET;
}

int insn_emulate(const struct insn *in, struct user_regs_struct *regs, const struct insn_mem *mem)
{
	if (in->op == EMU_NONE || (regs->eflags & (TF | AC)) || regs->cs == USER32_CS ||
	    is_foreign(regs->rip + in->length))
		return 0;
	struct run r = { .in = in, .regs = *regs, .mem = mem };
	int done;
	if (is_branch(in->op)) {
		done = run_branch(&r);
	} else {
		done = run(&r);
		if (done == 0)
			done = go_to(&r, regs->rip + in->length);
	}
	if (done <= 0)
		return done;
	r.regs.eflags &= ~(uint64_t)RF;
	*regs = r.regs;
	return 1;
}
