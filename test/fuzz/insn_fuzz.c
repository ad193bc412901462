/*
 * Arbitrary bytes as an instruction on arbitrary registers: nothing outside memory's callbacks is touched, what is not done leaves no
 * trace, and every copy is made of whole instructions and knows the places a thread can stop at.
 */
#include <errno.h>
#include <string.h>

#include "target/x86/insn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEM_AT = 0x10000, MEM_SIZE = 4096 };
static uint8_t memory[MEM_SIZE];

static int read_memory(void *ctx _unused_, uint64_t addr, void *into, size_t len)
{
	if (addr < MEM_AT || addr - MEM_AT > MEM_SIZE - len)
		return -EFAULT;
	memcpy(into, memory + (addr - MEM_AT), len);
	return 0;
}

static int write_memory(void *ctx _unused_, uint64_t addr, const void *from, size_t len)
{
	if (addr < MEM_AT || addr - MEM_AT > MEM_SIZE - len)
		return -EFAULT;
	memcpy(memory + (addr - MEM_AT), from, len);
	return 0;
}

static const struct insn_mem mem = { read_memory, write_memory, NULL };

static void check(bool good)
{
	if (!good)
		abort();
}

static void fuzz_emulation(const struct insn *in, const struct user_regs_struct *start)
{
	static uint8_t saved[MEM_SIZE];
	struct user_regs_struct regs = *start;
	memcpy(saved, memory, sizeof(saved));
	int r = insn_emulate(in, &regs, &mem);
	check(r <= 1);
	if (r != 1)
		check(memcmp(&regs, start, sizeof(regs)) == 0 &&
		      memcmp(saved, memory, sizeof(saved)) == 0);
	else if (!(in->is & (INSN_CALL | INSN_RET | INSN_JUMP | INSN_COND)))
		check(regs.rip == start->rip + in->length);
}

/* Places behind the last mark are jumps' addresses and data: instructions end there at the latest. */
static void check_marks(const struct insn_copy *copy)
{
	unsigned at = 0;
	for (unsigned i = 0; i < copy->mark_count; i++) {
		check(copy->marks[i].at < copy->size);
		while (at < copy->marks[i].at) {
			size_t len = insn_length(copy->code + at, (size_t)copy->size - at);
			check(len > 0);
			/* jmp [rip+0] carries its address */
			if (memcmp(copy->code + at, "\xff\x25\0\0\0\0", 6) == 0)
				len += 8;
			at += (unsigned)len;
		}
		check(at == copy->marks[i].at);
	}
}

static void fuzz_copy(const struct insn *in, const struct user_regs_struct *start, uint64_t to,
		      enum insn_copy_mode mode)
{
	struct insn_copy copy;
	struct insn_entered entered;
	int r = insn_relocate(in, start->rip, to, mode, &copy);
	if (r < 0) {
		check(r == -EOPNOTSUPP || r == -ERANGE);
		return;
	}
	check(copy.size > 0 && copy.size <= INSN_COPY_MAX);
	check(insn_length(copy.code, copy.size) > 0);
	check_marks(&copy);
	struct user_regs_struct regs = *start;
	insn_enter(&copy, &regs, &entered);
	check(regs.rip == to && insn_copy_holds(&copy, to) &&
	      !insn_copy_holds(&copy, to + copy.size));
	/* not begun: as if nothing had been */
	check(insn_fixup(&copy, &entered, &regs, &mem) == 0);
	check(memcmp(&regs, start, sizeof(regs)) == 0);
	for (unsigned at = 0; at <= copy.size; at++) {
		regs = *start;
		regs.rip = to + at;
		insn_fixup(&copy, &entered, &regs, &mem);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct insn in;
	struct user_regs_struct regs = { 0 };
	if (insn_decode(data, size, &in) < 0) {
		check(insn_length(data, size) == 0 || size == 0 ||
		      insn_length(data, size) <= INSN_MAX);
		return 0;
	}
	check(in.length >= 1 && in.length <= INSN_MAX && in.length <= size);
	check(insn_length(data, size) == in.length);
	data += in.length;
	size -= in.length;
	for (size_t i = 0; i < sizeof(regs) / 8; i++) {
		uint64_t value = MEM_AT + 0x400 + i * 8;
		memcpy((uint8_t *)&regs + i * 8, &value, 8);
	}
	regs.cs = 0x33;
	regs.eflags = 0x202;
	memcpy(&regs, data, MIN(size, sizeof(regs)));
	for (unsigned i = 0; i < MEM_SIZE; i++)
		memory[i] = (uint8_t)(i * 3 + size);
	fuzz_emulation(&in, &regs);
	for (int mode = COPY_STEP; mode <= COPY_RUN; mode++) {
		fuzz_copy(&in, &regs, regs.rip + 0x100000, (enum insn_copy_mode)mode);
		fuzz_copy(&in, &regs, regs.rip ^ 0x600000000000, (enum insn_copy_mode)mode);
	}
	return 0;
}
