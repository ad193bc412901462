#include "target/x86/insn.h"

#include <Zydis/Zydis.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "target/x86/emulate.h"

/* The registers' order in Zydis' enumerations is the encoding's. */
static_assert(ZYDIS_REGISTER_R15 - ZYDIS_REGISTER_RAX == 15 &&
		      ZYDIS_REGISTER_RSP - ZYDIS_REGISTER_RAX == 4,
	      "GPR64");
static_assert(ZYDIS_REGISTER_R15D - ZYDIS_REGISTER_EAX == 15, "GPR32");
static_assert(ZYDIS_REGISTER_R15W - ZYDIS_REGISTER_AX == 15, "GPR16");
static_assert(ZYDIS_REGISTER_AH - ZYDIS_REGISTER_AL == 4 &&
		      ZYDIS_REGISTER_SPL - ZYDIS_REGISTER_AL == 8,
	      "GPR8");
static_assert(ZYDIS_REGISTER_R8B - ZYDIS_REGISTER_SPL == 4, "GPR8");

/* Everything Zydis said about one instruction. */
struct decoded {
	ZydisDecodedInstruction i;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
};

static const ZydisDecoder *decoder(void)
{
	static ZydisDecoder d;
	static bool ready;
	if (!ready) {
		ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
		ready = true;
	}
	return &d;
}

/* General register number as encoded, or INSN_NO_REG; *ret_kind tells ah..bh from the others. */
static uint8_t gpr_number(ZydisRegister reg, uint8_t *ret_kind)
{
	*ret_kind = OPERAND_REG;
	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return (uint8_t)(reg - ZYDIS_REGISTER_RAX);
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
		return (uint8_t)(reg - ZYDIS_REGISTER_EAX);
	if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
		return (uint8_t)(reg - ZYDIS_REGISTER_AX);
	if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
		return (uint8_t)(reg - ZYDIS_REGISTER_AL);
	if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B)
		return (uint8_t)(reg - ZYDIS_REGISTER_SPL + 4);
	*ret_kind = OPERAND_HIGH_BYTE;
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return (uint8_t)(reg - ZYDIS_REGISTER_AH);
	*ret_kind = OPERAND_NONE;
	return INSN_NO_REG;
}

static uint8_t address_register(ZydisRegister reg)
{
	uint8_t kind;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return INSN_RIP;
	return gpr_number(reg, &kind);
}

static void note_busy(struct insn *in, ZydisRegister reg)
{
	uint8_t kind, number = gpr_number(reg, &kind);
	if (number != INSN_NO_REG)
		in->busy |= (uint16_t)(1 << number);
}

/* Which registers and memory it touches; hidden operands count. */
static void classify_operands(struct insn *in, const struct decoded *d)
{
	bool other = false;
	for (unsigned k = 0; k < d->i.operand_count; k++) {
		const ZydisDecodedOperand *o = &d->ops[k];
		if (o->type == ZYDIS_OPERAND_TYPE_REGISTER)
			note_busy(in, o->reg.value);
		if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		note_busy(in, o->mem.base);
		note_busy(in, o->mem.index);
		if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN ||
		    d->i.meta.category == ZYDIS_CATEGORY_WIDENOP)
			continue;
		if (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
			in->is |= INSN_READS;
		if (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			in->is |= INSN_WRITES;
		other |= o->mem.base != ZYDIS_REGISTER_RSP || o->mem.index != ZYDIS_REGISTER_NONE ||
			 o->mem.segment == ZYDIS_REGISTER_FS || o->mem.segment == ZYDIS_REGISTER_GS;
	}
	if ((in->is & (INSN_READS | INSN_WRITES)) && !other)
		in->is |= INSN_STACK;
}

static void classify_branch(struct insn *in, const struct decoded *d)
{
	if (d->i.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
		in->is |= INSN_FAR;
	if (d->i.raw.imm[0].is_relative) {
		in->is |= INSN_RELATIVE;
		in->imm = d->i.raw.imm[0].value.s;
	}
}

static void classify(struct insn *in, const struct decoded *d)
{
	switch (d->i.meta.category) {
	case ZYDIS_CATEGORY_CALL: in->is |= INSN_CALL; break;
	case ZYDIS_CATEGORY_RET: in->is |= INSN_RET; break;
	case ZYDIS_CATEGORY_UNCOND_BR: in->is |= INSN_JUMP; break;
	case ZYDIS_CATEGORY_COND_BR: in->is |= INSN_COND; break;
	case ZYDIS_CATEGORY_SYSCALL: in->is |= INSN_SYSCALL; break;
	case ZYDIS_CATEGORY_SYSRET: in->is |= INSN_FAR; break;
	default: break;
	}
	switch (d->i.mnemonic) {
	case ZYDIS_MNEMONIC_INT3: in->is |= INSN_INT3; break;
	case ZYDIS_MNEMONIC_INT:
		in->is |= in->bytes[in->length - 1] == 0x80 ? INSN_SYSCALL | INSN_INT : INSN_INT;
		break;
	case ZYDIS_MNEMONIC_INT1:
	case ZYDIS_MNEMONIC_INTO: in->is |= INSN_INT; break;
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
	case ZYDIS_MNEMONIC_UIRET: in->is |= INSN_RET | INSN_FAR; break;
	case ZYDIS_MNEMONIC_SYSENTER: in->is |= INSN_SYSCALL; break;
	case ZYDIS_MNEMONIC_PUSHF:
	case ZYDIS_MNEMONIC_PUSHFD:
	case ZYDIS_MNEMONIC_PUSHFQ: in->is |= INSN_PUSHF; break;
	case ZYDIS_MNEMONIC_POPF:
	case ZYDIS_MNEMONIC_POPFD:
	case ZYDIS_MNEMONIC_POPFQ: in->is |= INSN_POPF; break;
	default: break;
	}
	if (d->i.attributes &
	    (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE))
		in->is |= INSN_REP;
	if (d->i.attributes & ZYDIS_ATTRIB_HAS_LOCK)
		in->is |= INSN_LOCK;
	if (in->is & (INSN_CALL | INSN_RET | INSN_JUMP | INSN_COND))
		classify_branch(in, d);
	classify_operands(in, d);
}

static bool has_prefix(const struct decoded *d, uint8_t value)
{
	for (unsigned k = 0; k < d->i.raw.prefix_count; k++)
		if (d->i.raw.prefixes[k].value == value)
			return true;
	return false;
}

/* AMD takes 0x66 before a near branch as a 16-bit one, Intel ignores it; with REX.W both ignore it. */
static bool is_data16_branch(const struct insn *in, const struct decoded *d)
{
	return (in->is & (INSN_CALL | INSN_RET | INSN_JUMP | INSN_COND)) && has_prefix(d, 0x66) &&
	       !d->i.raw.rex.W;
}

/* Without a base there is only [disp32 + index], whatever REX.B says; Zydis 4.0.0 takes it for r13 then. */
static bool has_no_base(const ZydisDecodedInstruction *i)
{
	return i->raw.modrm.mod == 0 && i->raw.modrm.rm == 4 && i->raw.sib.base == 5;
}

static void set_memory(struct insn *in, const ZydisDecodedInstruction *i,
		       const ZydisDecodedOperandMem *m)
{
	bool has_modrm = i->attributes & ZYDIS_ATTRIB_HAS_MODRM;
	in->base = address_register(m->base);
	in->index = address_register(m->index);
	in->scale = m->scale;
	in->disp = m->disp.has_displacement ? m->disp.value : 0;
	if (has_modrm && has_no_base(i)) {
		in->base = INSN_NO_REG;
		in->disp = i->raw.disp.value;
	}
	in->addr32 = i->address_width == 32;
	if (m->type == ZYDIS_MEMOP_TYPE_MEM && m->segment == ZYDIS_REGISTER_FS)
		in->segment = SEGMENT_FS;
	else if (m->type == ZYDIS_MEMOP_TYPE_MEM && m->segment == ZYDIS_REGISTER_GS)
		in->segment = SEGMENT_GS;
}

static bool set_operand(struct insn *in, struct insn_operand *to, const ZydisDecodedOperand *o)
{
	switch (o->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		to->reg = gpr_number(o->reg.value, &to->kind);
		return to->kind != OPERAND_NONE;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		to->kind = OPERAND_IMM;
		in->imm = o->imm.value.s;
		return true;
	case ZYDIS_OPERAND_TYPE_MEMORY:
		to->kind = OPERAND_MEM;
		return o->mem.type == ZYDIS_MEMOP_TYPE_MEM || o->mem.type == ZYDIS_MEMOP_TYPE_AGEN;
	default: return false;
	}
}

static bool is_jcc(const ZydisDecodedInstruction *i)
{
	return (i->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (i->opcode & 0xf0) == 0x70) ||
	       (i->opcode_map == ZYDIS_OPCODE_MAP_0F && (i->opcode & 0xf0) == 0x80);
}

static enum emu_op op_of(const ZydisDecodedInstruction *i)
{
	switch (i->meta.category) {
	case ZYDIS_CATEGORY_COND_BR:
		if (is_jcc(i))
			return EMU_JCC;
		break;
	case ZYDIS_CATEGORY_CMOV: return EMU_CMOV;
	case ZYDIS_CATEGORY_SETCC: return EMU_SETCC;
	case ZYDIS_CATEGORY_NOP:
	case ZYDIS_CATEGORY_WIDENOP:
	case ZYDIS_CATEGORY_PREFETCH: return EMU_NOP;
	default: break;
	}
	switch (i->mnemonic) {
	case ZYDIS_MNEMONIC_ENDBR64:
	case ZYDIS_MNEMONIC_PAUSE: return EMU_NOP;
	case ZYDIS_MNEMONIC_MOV: return EMU_MOV;
	case ZYDIS_MNEMONIC_MOVZX: return EMU_MOVZX;
	case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD: return EMU_MOVSX;
	case ZYDIS_MNEMONIC_LEA: return EMU_LEA;
	case ZYDIS_MNEMONIC_XCHG: return EMU_XCHG;
	case ZYDIS_MNEMONIC_BSWAP: return EMU_BSWAP;
	case ZYDIS_MNEMONIC_PUSH: return EMU_PUSH;
	case ZYDIS_MNEMONIC_POP: return EMU_POP;
	case ZYDIS_MNEMONIC_LEAVE: return EMU_LEAVE;
	case ZYDIS_MNEMONIC_CALL: return EMU_CALL;
	case ZYDIS_MNEMONIC_JMP: return EMU_JMP;
	case ZYDIS_MNEMONIC_JRCXZ: return EMU_JRCXZ;
	case ZYDIS_MNEMONIC_RET: return EMU_RET;
	case ZYDIS_MNEMONIC_ADD: return EMU_ADD;
	case ZYDIS_MNEMONIC_OR: return EMU_OR;
	case ZYDIS_MNEMONIC_ADC: return EMU_ADC;
	case ZYDIS_MNEMONIC_SBB: return EMU_SBB;
	case ZYDIS_MNEMONIC_AND: return EMU_AND;
	case ZYDIS_MNEMONIC_SUB: return EMU_SUB;
	case ZYDIS_MNEMONIC_XOR: return EMU_XOR;
	case ZYDIS_MNEMONIC_CMP: return EMU_CMP;
	case ZYDIS_MNEMONIC_TEST: return EMU_TEST;
	case ZYDIS_MNEMONIC_INC: return EMU_INC;
	case ZYDIS_MNEMONIC_DEC: return EMU_DEC;
	case ZYDIS_MNEMONIC_NEG: return EMU_NEG;
	case ZYDIS_MNEMONIC_NOT: return EMU_NOT;
	case ZYDIS_MNEMONIC_SHL: return EMU_SHL;
	case ZYDIS_MNEMONIC_SHR: return EMU_SHR;
	case ZYDIS_MNEMONIC_SAR: return EMU_SAR;
	case ZYDIS_MNEMONIC_ROL: return EMU_ROL;
	case ZYDIS_MNEMONIC_ROR: return EMU_ROR;
	case ZYDIS_MNEMONIC_BT: return EMU_BT;
	case ZYDIS_MNEMONIC_BTS: return EMU_BTS;
	case ZYDIS_MNEMONIC_BTR: return EMU_BTR;
	case ZYDIS_MNEMONIC_BTC: return EMU_BTC;
	case ZYDIS_MNEMONIC_IMUL: return EMU_IMUL;
	case ZYDIS_MNEMONIC_MUL: return EMU_MUL_WIDE;
	case ZYDIS_MNEMONIC_CBW:
	case ZYDIS_MNEMONIC_CWDE:
	case ZYDIS_MNEMONIC_CDQE: return EMU_EXTEND_RAX;
	case ZYDIS_MNEMONIC_CWD:
	case ZYDIS_MNEMONIC_CDQ:
	case ZYDIS_MNEMONIC_CQO: return EMU_EXTEND_RDX;
	case ZYDIS_MNEMONIC_CLC: return EMU_CLC;
	case ZYDIS_MNEMONIC_STC: return EMU_STC;
	case ZYDIS_MNEMONIC_CMC: return EMU_CMC;
	case ZYDIS_MNEMONIC_CLD: return EMU_CLD;
	case ZYDIS_MNEMONIC_STD: return EMU_STD;
	default: return EMU_NONE;
	}
}

/* Prefixes in front of what they mean nothing to: some processor may give them a meaning, so not ours. */
static bool has_odd_prefixes(const struct insn *in, const struct decoded *d, enum emu_op op)
{
	bool branch = in->is & (INSN_CALL | INSN_RET | INSN_JUMP | INSN_COND); /* bnd, rep ret */
	if (has_prefix(d, 0xf0) || in->data16_branch)
		return true;
	/* f3 41 90 exchanges rax and r8 on AMD */
	if (d->i.mnemonic == ZYDIS_MNEMONIC_PAUSE && d->i.raw.rex.B)
		return true;
	if ((has_prefix(d, 0xf2) || has_prefix(d, 0xf3)) && !branch && op != EMU_NOP)
		return true;
	/* push, pop, leave and ret of 16 bits */
	return (op == EMU_PUSH || op == EMU_POP || op == EMU_LEAVE) && d->i.operand_width != 64;
}

/* Forms of an op that are not done here although the mnemonic is. */
static bool is_form_left_out(const struct insn *in, enum emu_op op)
{
	switch (op) {
	case EMU_XCHG:
		return in->dst.kind == OPERAND_MEM ||
		       in->src.kind == OPERAND_MEM; /* implies lock */
	case EMU_POP: return in->dst.kind == OPERAND_MEM;
	case EMU_BT:
	case EMU_BTS:
	case EMU_BTR:
	case EMU_BTC:
		return in->dst.kind == OPERAND_MEM &&
		       in->src.kind != OPERAND_IMM; /* addresses a bit string */
	case EMU_BSWAP: return in->size < 4;        /* undefined */
	default: return false;
	}
}

/* imul has one, two or three operands: rax times it, the first times it, the second times the third. */
static bool set_imul(struct insn *in, const struct decoded *d)
{
	struct insn_operand third;
	switch (d->i.operand_count_visible) {
	case 1: in->op = EMU_IMUL_WIDE; return true;
	case 2: return true;
	case 3:
		in->op = EMU_IMUL_IMM;
		return set_operand(in, &third, &d->ops[2]) && third.kind == OPERAND_IMM;
	default: return false;
	}
}

static void set_emulation(struct insn *in, const struct decoded *d)
{
	enum emu_op op = op_of(&d->i);
	if (op == EMU_NONE || d->i.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
	    (in->is & INSN_FAR) || has_odd_prefixes(in, d, op))
		return;
	in->op = (uint8_t)op;
	in->cond = d->i.opcode & 15;
	if (op == EMU_NOP)
		return;
	if (op == EMU_EXTEND_RAX || op == EMU_EXTEND_RDX)
		in->size = (uint8_t)(d->i.operand_width / 8);
	bool good = true;
	for (unsigned k = 0; k < 2 && k < d->i.operand_count; k++) {
		const ZydisDecodedOperand *o = &d->ops[k];
		if (o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN || op == EMU_EXTEND_RAX ||
		    op == EMU_EXTEND_RDX)
			break;
		good = good && set_operand(in, k ? &in->src : &in->dst, o);
		*(k ? &in->src_size : &in->size) = (uint8_t)(o->size / 8);
	}
	if (good && op == EMU_IMUL)
		good = set_imul(in, d);
	if (!good || is_form_left_out(in, op))
		in->op = EMU_NONE;
}

/* Where the bytes are that a copy must change. */
static void set_layout(struct insn *in, const struct decoded *d)
{
	in->encoding = (uint8_t)d->i.encoding;
	in->modrm_at = d->i.raw.modrm.offset;
	in->disp_at = d->i.raw.disp.size ? d->i.raw.disp.offset : 0;
	switch (d->i.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX: in->prefix_at = d->i.raw.vex.offset; break;
	case ZYDIS_INSTRUCTION_ENCODING_XOP: in->prefix_at = d->i.raw.xop.offset; break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX: in->prefix_at = d->i.raw.evex.offset; break;
	default: in->prefix_at = d->i.raw.rex.offset; break;
	}
	in->base = in->index = INSN_NO_REG;
	for (unsigned k = 0; k < d->i.operand_count; k++)
		if (d->ops[k].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    d->ops[k].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
			set_memory(in, &d->i, &d->ops[k].mem);
			break;
		}
}

/* Zydis reads Knights Corner's encoding even where it is not asked to; later processors give those bytes another meaning (APX). */
static bool is_foreign(const ZydisDecodedInstruction *i)
{
	return i->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX;
}

int insn_decode(const uint8_t *code, size_t len, struct insn *ret)
{
	struct decoded d;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder(), code, MIN(len, (size_t)INSN_MAX), &d.i,
						 d.ops)) ||
	    is_foreign(&d.i))
		return -EINVAL;
	struct insn in = { .length = d.i.length };
	memcpy(in.bytes, code, in.length);
	set_layout(&in, &d);
	classify(&in, &d);
	in.data16_branch = is_data16_branch(&in, &d);
	set_emulation(&in, &d);
	*ret = in;
	return 0;
}

size_t insn_length(const uint8_t *code, size_t len)
{
	ZydisDecodedInstruction i;
	ZydisDecoderContext context;
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(decoder(), &context, code,
							MIN(len, (size_t)INSN_MAX), &i)) ||
	    is_foreign(&i))
		return 0;
	return i.length;
}

bool insn_target(const struct insn *in, uint64_t addr, uint64_t *ret)
{
	if (!(in->is & INSN_RELATIVE) || (in->is & INSN_FAR) || in->data16_branch)
		return false;
	*ret = addr + in->length + (uint64_t)in->imm;
	return true;
}
