/* Call frame information (DWARF 4, section 6.4) from the stack depths of the function table. */
#include "dwarf/go/symfile_internal.h"

enum {
	CFA_ADVANCE_LOC = 0x40,
	CFA_OFFSET = 0x80,
	CFA_ADVANCE_LOC1 = 2,
	CFA_ADVANCE_LOC2 = 3,
	CFA_ADVANCE_LOC4 = 4,
	CFA_UNDEFINED = 7,
	CFA_DEF_CFA = 0xc,
	CFA_DEF_CFA_OFFSET = 0xe,
	REG_RSP = 7,
	REG_RA = 16,
	ALIGN = 8,
};

static void put_padding(struct buf *b, size_t start)
{
	while ((b->len - start) % ALIGN != 0 && !buf_error(b))
		put_u8(b, 0); /* DW_CFA_nop */
}

void symfile_frame_start(struct symfile *s)
{
	struct buf *b = &s->frame;
	size_t start = b->len;

	put_u32(b, 0);
	put_u32(b, UINT32_MAX); /* a common entry */
	put_u8(b, 4);           /* version */
	put_u8(b, 0);           /* no augmentation */
	put_u8(b, 8);           /* address size */
	put_u8(b, 0);           /* segment size */
	put_uleb(b, 1);         /* code alignment */
	put_sleb(b, -8);        /* data alignment */
	put_uleb(b, REG_RA);
	put_u8(b, CFA_DEF_CFA);
	put_uleb(b, REG_RSP);
	put_uleb(b, 8);
	put_u8(b, CFA_OFFSET | REG_RA);
	put_uleb(b, 1);
	put_padding(b, start + 4);
	patch_u32(b, start, (uint32_t)(b->len - start - 4));
}

static void put_advance(struct buf *b, uint64_t delta)
{
	if (delta < 0x40) {
		put_u8(b, (uint8_t)(CFA_ADVANCE_LOC | delta));
	} else if (delta <= UINT8_MAX) {
		put_u8(b, CFA_ADVANCE_LOC1);
		put_u8(b, (uint8_t)delta);
	} else if (delta <= UINT16_MAX) {
		put_u8(b, CFA_ADVANCE_LOC2);
		put_u16(b, (uint16_t)delta);
	} else {
		put_u8(b, CFA_ADVANCE_LOC4);
		put_u32(b, (uint32_t)delta);
	}
}

/*
 * Where a stack begins, and where a function has gone over to another stack, there is no caller to be found: the return address
 * is undefined and a debugger ends its backtrace there, rather than in rubbish.
 */
static bool has_no_caller(const struct symfile *s, const struct go_pcln_func *f)
{
	if (f->flag & GO_FUNC_TOP)
		return true;
	return (f->flag & GO_FUNC_SP_WRITE) &&
	       f->entry + s->m->bias != s->m->rt_entry[RT_CGOCALLBACK];
}

void symfile_frame(struct symfile *s, const struct go_pcln_func *f)
{
	struct buf *b = &s->frame;
	enum rt_func rt = rt_at(s->m, f->entry + s->m->bias);
	size_t start = b->len;
	uint64_t at = f->entry;
	int32_t depth = 0;
	struct go_pcvalue v;

	/* The debugger knows by itself what the kernel's signal frame looks like. */
	if (rt == RT_SIGRETURN || rt == RT_SIGRETURN_SIGACTION || !f->pcsp || f->end <= f->entry)
		return;
	put_u32(b, 0);
	put_u32(b, 0); /* the common entry is the first */
	put_u64(b, f->entry);
	put_u64(b, f->end - f->entry);
	/* A handler's caller is the kernel's frame above it, though the table calls it a top. */
	if (has_no_caller(s, f) && rt != RT_SIGTRAMP) {
		/* Stepped into, before its first instruction, it still has one. */
		if (!(f->flag & GO_FUNC_TOP)) {
			put_advance(b, 1);
			at = f->entry + 1;
		}
		put_u8(b, CFA_UNDEFINED);
		put_uleb(b, REG_RA);
	}
	for (go_pcvalue_start(&v, s->t, f, f->pcsp); go_pcvalue_next(&v) && v.low < f->end;) {
		/* syscall.rawVforkSyscall keeps its return address in a register, and it is still below sp. */
		if (v.value == depth || v.value < -8)
			continue;
		if (v.low > at) {
			put_advance(b, v.low - at);
			at = v.low;
		}
		depth = v.value;
		put_u8(b, CFA_DEF_CFA_OFFSET);
		put_uleb(b, (uint64_t)(depth + 8));
	}
	put_padding(b, start + 4);
	patch_u32(b, start, (uint32_t)(b->len - start - 4));
}
