/*
 * emulate.h - which instructions emulate.c knows: the private half of insn.h, shared with the decoder.
 *
 * One value is one way to compute; sizes, operands and conditions are fields of struct insn.
 */
#ifndef STOPGO_TARGET_X86_EMULATE_H
#define STOPGO_TARGET_X86_EMULATE_H

enum emu_op {
	EMU_NONE,
	EMU_NOP,
	EMU_MOV, EMU_MOVZX, EMU_MOVSX, EMU_LEA, EMU_XCHG, EMU_BSWAP, EMU_CMOV, EMU_SETCC,
	EMU_PUSH, EMU_POP, EMU_LEAVE, EMU_CALL, EMU_JMP, EMU_JCC, EMU_JRCXZ, EMU_RET,
	EMU_ADD, EMU_OR, EMU_ADC, EMU_SBB, EMU_AND, EMU_SUB, EMU_XOR, EMU_CMP, EMU_TEST,
	EMU_INC, EMU_DEC, EMU_NEG, EMU_NOT,
	EMU_SHL, EMU_SHR, EMU_SAR, EMU_ROL, EMU_ROR,
	EMU_BT, EMU_BTS, EMU_BTR, EMU_BTC,
	EMU_IMUL, EMU_IMUL_IMM, EMU_MUL_WIDE, EMU_IMUL_WIDE,
	EMU_EXTEND_RAX,   /* cbw cwde cdqe */
	EMU_EXTEND_RDX,   /* cwd cdq cqo */
	EMU_CLC, EMU_STC, EMU_CMC, EMU_CLD, EMU_STD,
};

#endif
