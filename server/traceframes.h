/*
 * traceframes.h - what a trace experiment has collected: frames made of blocks, in a buffer of a given size. Pure.
 *
 * The bytes lie as gdb's trace files have them (Debugging with GDB, "Trace File Format"), so that a client can save them as they are:
 *
 *   frame   tracepoint's number (2), size of what follows (4), blocks
 *   'R'     the registers as a g packet has them, always as many bytes
 *   'M'     address (8), length (2), that many bytes
 *   'V'     number of a trace state variable (4), its value (8)
 *
 * Numbers are little-endian. Frames are numbered from 0, the oldest. When a frame does not fit, the oldest are dropped if the buffer is
 * circular; else it is full, and what there is of the frame stays.
 * Limits: the sum of all frames is at most size; memory grows as it is used, to about twice of that in a circular one.
 */
#ifndef STOPGO_TRACEFRAMES_H
#define STOPGO_TRACEFRAMES_H

#include <stdbool.h>
#include "base/util.h"

enum {
	TRACEFRAME_HEAD = 6,
	TRACEFRAME_MEMORY_MAX = 65535, /* bytes in one block */
	TRACEFRAME_NUMBER_MAX = 65535,
};

struct traceframes {
	uint64_t size;
	size_t registers; /* bytes of an 'R' block, without its letter */
	bool circular;
	bool full; /* something did not fit */
	uint64_t created;
	/* the rest is private */
	uint8_t *bytes;
	size_t begin, end, room;
	uint64_t dropped; /* bytes that lay before begin */
	uint64_t *starts; /* of frames, dropped ones counted */
	size_t first, last, starts_room;
};

/* Points into the buffer: valid until something is added. */
struct traceframe {
	unsigned number;
	const uint8_t *data;
	size_t len;
	size_t registers;
};

enum traceblock_kind {
	TRACEBLOCK_REGISTERS = 'R',
	TRACEBLOCK_MEMORY = 'M',
	TRACEBLOCK_VARIABLE = 'V'
};

struct traceblock {
	enum traceblock_kind kind;
	const uint8_t *data; /* registers, memory */
	size_t len;
	uint64_t addr;
	unsigned variable;
	uint64_t value;
};

/* Empty, of the same size. */
void traceframes_clear(struct traceframes *f);
void traceframes_fini(struct traceframes *f);

size_t traceframes_count(const struct traceframes *f);
/* Bytes in use. */
uint64_t traceframes_used(const struct traceframes *f);
/* All of it, as it is saved. */
const uint8_t *traceframes_bytes(const struct traceframes *f, size_t *ret_len);

/* A new frame, to which blocks are added until the next begins. False: there is no room, or no memory. */
bool traceframes_begin(struct traceframes *f, unsigned number);
/* Each appends a block to the last frame; false: no room for it. bytes: f->registers of them. */
bool traceframes_add_registers(struct traceframes *f, const uint8_t *bytes);
bool traceframes_add_memory(struct traceframes *f, uint64_t addr, const uint8_t *bytes, size_t len);
bool traceframes_add_variable(struct traceframes *f, unsigned variable, uint64_t value);

/* False: there are not so many. */
bool traceframes_get(const struct traceframes *f, size_t n, struct traceframe *ret);
/* *at begins at 0. False: no more. */
bool traceframe_next_block(const struct traceframe *frame, size_t *at, struct traceblock *ret);
/* NULL: none were collected. */
const uint8_t *traceframe_registers(const struct traceframe *frame);
/* As much of the front as was collected; 0: not even the first byte. */
size_t traceframe_read(const struct traceframe *frame, uint64_t addr, uint8_t *into, size_t len);
/* As it was collected last: an expression may have set it in between. */
bool traceframe_variable(const struct traceframe *frame, unsigned variable, uint64_t *ret);

#endif
