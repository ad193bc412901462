#include "server/traceframes.h"

#include <string.h>

#include "base/bytes.h"

enum { MEMORY_HEAD = 1 + 8 + 2, VARIABLE_BLOCK = 1 + 4 + 8 };

void traceframes_fini(struct traceframes *f)
{
	free(f->bytes);
	free(f->starts);
	*f = (struct traceframes){ 0 };
}

void traceframes_clear(struct traceframes *f)
{
	struct traceframes empty = { .size = f->size,
				     .registers = f->registers,
				     .circular = f->circular };

	free(f->bytes);
	free(f->starts);
	*f = empty;
}

size_t traceframes_count(const struct traceframes *f)
{
	return f->last - f->first;
}

uint64_t traceframes_used(const struct traceframes *f)
{
	return f->end - f->begin;
}

const uint8_t *traceframes_bytes(const struct traceframes *f, size_t *ret_len)
{
	*ret_len = f->end - f->begin;
	return f->bytes ? f->bytes + f->begin : NULL;
}

/* --- room --- */

static void drop_oldest(struct traceframes *f)
{
	uint64_t next =
		f->first + 1 < f->last ? f->starts[f->first + 1] : f->dropped + (f->end - f->begin);

	f->begin += (size_t)(next - f->dropped);
	f->dropped = next;
	f->first++;
}

/* What was dropped lies in front until it is half of all there is. */
static void compact(struct traceframes *f)
{
	if (f->begin > f->end / 2) {
		memmove(f->bytes, f->bytes + f->begin, f->end - f->begin);
		f->end -= f->begin;
		f->begin = 0;
	}
	if (f->first > f->last / 2) {
		memmove(f->starts, f->starts + f->first, (f->last - f->first) * sizeof(*f->starts));
		f->last -= f->first;
		f->first = 0;
	}
}

static bool grow(struct traceframes *f, size_t len)
{
	enum { LEAST = 4096 };

	if (f->room - f->end >= len)
		return true;
	size_t room = MAX(f->room ? f->room * 2 : (size_t)LEAST, f->end + len);
	uint8_t *bytes = realloc(f->bytes, room);
	if (!bytes)
		return false;
	f->bytes = bytes;
	f->room = room;
	return true;
}

/* kept: frames that may not be dropped, from the newest on. */
static uint8_t *append(struct traceframes *f, size_t len, size_t kept)
{
	while (f->circular && traceframes_count(f) > kept && traceframes_used(f) + len > f->size)
		drop_oldest(f);
	if (traceframes_used(f) + len > f->size) {
		f->full = true;
		return NULL;
	}
	compact(f);
	if (!grow(f, len)) {
		f->full = true;
		return NULL;
	}
	uint8_t *at = f->bytes + f->end;
	f->end += len;
	return at;
}

bool traceframes_begin(struct traceframes *f, unsigned number)
{
	if (f->last == f->starts_room) {
		size_t room = f->starts_room ? f->starts_room * 2 : 64;
		uint64_t *starts = reallocarray(f->starts, room, sizeof(*starts));
		if (!starts) {
			f->full = true;
			return false;
		}
		f->starts = starts;
		f->starts_room = room;
	}
	uint8_t *head = append(f, TRACEFRAME_HEAD, 0);
	if (!head)
		return false;
	uint16_t short_number = (uint16_t)number;
	memcpy(head, &short_number, sizeof(short_number));
	memset(head + sizeof(short_number), 0, TRACEFRAME_HEAD - sizeof(short_number));
	f->starts[f->last++] = f->dropped + (f->end - f->begin) - TRACEFRAME_HEAD;
	f->created++;
	return true;
}

static uint8_t *add_block(struct traceframes *f, size_t len)
{
	uint32_t size;

	if (!traceframes_count(f))
		return NULL;
	uint8_t *at = append(f, len, 1);
	if (!at)
		return NULL;
	uint8_t *head = f->bytes + f->begin + (size_t)(f->starts[f->last - 1] - f->dropped);
	memcpy(&size, head + 2, sizeof(size));
	size += (uint32_t)len;
	memcpy(head + 2, &size, sizeof(size));
	return at;
}

bool traceframes_add_registers(struct traceframes *f, const uint8_t *bytes)
{
	uint8_t *at = add_block(f, 1 + f->registers);
	if (!at)
		return false;
	*at = TRACEBLOCK_REGISTERS;
	memcpy(at + 1, bytes, f->registers);
	return true;
}

bool traceframes_add_memory(struct traceframes *f, uint64_t addr, const uint8_t *bytes, size_t len)
{
	uint16_t short_len = (uint16_t)len;
	uint8_t *at = len <= TRACEFRAME_MEMORY_MAX ? add_block(f, MEMORY_HEAD + len) : NULL;
	if (!at)
		return false;
	*at = TRACEBLOCK_MEMORY;
	memcpy(at + 1, &addr, sizeof(addr));
	memcpy(at + 9, &short_len, sizeof(short_len));
	memcpy(at + MEMORY_HEAD, bytes, len);
	return true;
}

bool traceframes_add_variable(struct traceframes *f, unsigned variable, uint64_t value)
{
	uint32_t number = variable;
	uint8_t *at = add_block(f, VARIABLE_BLOCK);
	if (!at)
		return false;
	*at = TRACEBLOCK_VARIABLE;
	memcpy(at + 1, &number, sizeof(number));
	memcpy(at + 5, &value, sizeof(value));
	return true;
}

/* --- looking at them --- */

bool traceframes_get(const struct traceframes *f, size_t n, struct traceframe *ret)
{
	uint16_t number;
	uint32_t len;

	if (n >= traceframes_count(f))
		return false;
	const uint8_t *head = f->bytes + f->begin + (size_t)(f->starts[f->first + n] - f->dropped);
	memcpy(&number, head, sizeof(number));
	memcpy(&len, head + 2, sizeof(len));
	*ret = (struct traceframe){ .number = number,
				    .data = head + TRACEFRAME_HEAD,
				    .len = len,
				    .registers = f->registers };
	return true;
}

bool traceframe_next_block(const struct traceframe *frame, size_t *at, struct traceblock *ret)
{
	struct bytes b = bytes_of(frame->data, frame->len);

	bytes_seek(&b, *at);
	if (!bytes_left(&b))
		return false;
	*ret = (struct traceblock){ .kind = (enum traceblock_kind)bytes_u8(&b) };
	switch (ret->kind) {
	case TRACEBLOCK_REGISTERS: ret->len = frame->registers; break;
	case TRACEBLOCK_MEMORY:
		ret->addr = bytes_u64(&b);
		ret->len = bytes_u16(&b);
		break;
	case TRACEBLOCK_VARIABLE:
		ret->variable = bytes_u32(&b);
		ret->value = bytes_u64(&b);
		break;
	default: return false;
	}
	ret->data = bytes_take(&b, ret->len);
	*at = b.at;
	return bytes_ok(&b);
}

const uint8_t *traceframe_registers(const struct traceframe *frame)
{
	struct traceblock block;

	for (size_t at = 0; traceframe_next_block(frame, &at, &block);)
		if (block.kind == TRACEBLOCK_REGISTERS)
			return block.data;
	return NULL;
}

static size_t read_once(const struct traceframe *frame, uint64_t addr, uint8_t *into, size_t len)
{
	struct traceblock block;

	for (size_t at = 0; traceframe_next_block(frame, &at, &block);) {
		if (block.kind != TRACEBLOCK_MEMORY || addr - block.addr >= block.len)
			continue;
		size_t skip = (size_t)(addr - block.addr), n = MIN(len, block.len - skip);
		memcpy(into, block.data + skip, n);
		return n;
	}
	return 0;
}

size_t traceframe_read(const struct traceframe *frame, uint64_t addr, uint8_t *into, size_t len)
{
	size_t got = 0, n;

	while (got < len && (n = read_once(frame, addr + got, into + got, len - got)))
		got += n;
	return got;
}

bool traceframe_variable(const struct traceframe *frame, unsigned variable, uint64_t *ret)
{
	struct traceblock block;
	bool found = false;

	for (size_t at = 0; traceframe_next_block(frame, &at, &block);) {
		if (block.kind == TRACEBLOCK_VARIABLE && block.variable == variable) {
			*ret = block.value;
			found = true;
		}
	}
	return found;
}
