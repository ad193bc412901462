/*
 * Location expressions in blocks. Go writes them where DWARF 4 and later have an exprloc, and libdw (0.188) refuses those.
 */
#include "dwarf/debuginfo_internal.h"

#include <dwarf.h>

#include "base/bytes.h"

/* The operand of one operation; false: this operation is not known. */
static bool take_operands(struct bytes *b, Dwarf_Op *op)
{
	if ((op->atom >= DW_OP_lit0 && op->atom <= DW_OP_lit31) ||
	    (op->atom >= DW_OP_reg0 && op->atom <= DW_OP_reg31))
		return true;
	if (op->atom >= DW_OP_breg0 && op->atom <= DW_OP_breg31) {
		op->number = (Dwarf_Word)bytes_sleb(b);
		return true;
	}
	switch (op->atom) {
	case DW_OP_addr:
	case DW_OP_const8u:
	case DW_OP_const8s: op->number = bytes_u64(b); return true;
	case DW_OP_const1u:
	case DW_OP_deref_size:
	case DW_OP_pick: op->number = bytes_u8(b); return true;
	case DW_OP_const1s: op->number = (Dwarf_Word)(int8_t)bytes_u8(b); return true;
	case DW_OP_const2u: op->number = bytes_u16(b); return true;
	case DW_OP_const2s: op->number = (Dwarf_Word)(int16_t)bytes_u16(b); return true;
	case DW_OP_const4u: op->number = bytes_u32(b); return true;
	case DW_OP_const4s: op->number = (Dwarf_Word)(int32_t)bytes_u32(b); return true;
	case DW_OP_constu:
	case DW_OP_plus_uconst:
	case DW_OP_piece:
	case DW_OP_regx:
	case DW_OP_addrx: op->number = bytes_uleb(b); return true;
	case DW_OP_consts:
	case DW_OP_fbreg: op->number = (Dwarf_Word)bytes_sleb(b); return true;
	case DW_OP_bregx:
		op->number = bytes_uleb(b);
		op->number2 = (Dwarf_Word)bytes_sleb(b);
		return true;
	case DW_OP_deref:
	case DW_OP_dup:
	case DW_OP_drop:
	case DW_OP_over:
	case DW_OP_swap:
	case DW_OP_and:
	case DW_OP_minus:
	case DW_OP_mul:
	case DW_OP_neg:
	case DW_OP_not:
	case DW_OP_or:
	case DW_OP_plus:
	case DW_OP_shl:
	case DW_OP_shr:
	case DW_OP_shra:
	case DW_OP_xor:
	case DW_OP_nop:
	case DW_OP_stack_value:
	case DW_OP_call_frame_cfa: return true;
	default: return false;
	}
}

bool di_block_ops(const uint8_t *data, size_t len, Dwarf_Op *ops, size_t max, size_t *ret_count)
{
	struct bytes b = bytes_of(data, len);
	size_t n = 0;

	while (bytes_left(&b)) {
		if (n == max)
			return false;
		ops[n] = (Dwarf_Op){ .offset = b.at, .atom = bytes_u8(&b) };
		if (!take_operands(&b, &ops[n++]))
			return false;
	}
	*ret_count = n;
	return bytes_ok(&b) && n;
}
