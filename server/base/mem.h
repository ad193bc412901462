/*
 * mem.h - somewhere the debuggee's bytes can be read: a live process, a core, an array in a test.
 *
 * This is the whole of what symbol and runtime code (dwarf/) knows about a process. Addresses are the debuggee's.
 * Errors: 0 with *ret_got < len when only the front of the range is readable; -EFAULT when not even its first byte is;
 *         -ESRCH when the process is gone. Breakpoints of ours are never seen in what is read.
 */
#ifndef STOPGO_BASE_MEM_H
#define STOPGO_BASE_MEM_H

#include "base/util.h"

struct mem_span {
	uint64_t addr;
	void    *into;
	size_t   len;
	size_t   got;   /* out: bytes read from the front; 0 when unreadable */
};

struct mem {
	int  (*read)(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got);
	/* Many places in one go (process_vm_readv). NULL: mem_read_spans() calls read for each. Returns 0 or -errno of the process. */
	int  (*read_spans)(void *ctx, struct mem_span *spans, size_t count);
	void  *ctx;
};

/* All of the range or -EFAULT. */
int mem_read(const struct mem *m, uint64_t addr, void *into, size_t len) _must_check_;
int mem_read_u64(const struct mem *m, uint64_t addr, uint64_t *ret) _must_check_;
int mem_read_u32(const struct mem *m, uint64_t addr, uint32_t *ret) _must_check_;
/* As much of the front as is readable. */
int mem_read_some(const struct mem *m, uint64_t addr, void *into, size_t len, size_t *ret_got) _must_check_;
int mem_read_spans(const struct mem *m, struct mem_span *spans, size_t count) _must_check_;
/* A NUL-terminated string of at most size-1 bytes; a longer one is cut. Always terminates into. */
int mem_read_cstr(const struct mem *m, uint64_t addr, char *into, size_t size) _must_check_;

#endif
