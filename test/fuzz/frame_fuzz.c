/*
 * frame_fuzz.c - any bytes through the decoder in any pieces; and whatever is encoded comes back
 * the same.
 *
 * The first byte chooses the size of the pieces (low nibble) and the mode (bit 7: without acks).
 */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "protocol/frame.h"
#include "protocol/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decode_in_pieces(const uint8_t *data, size_t size, size_t piece, bool acks)
{
	struct frame f;
	size_t total = 0;

	frame_init(&f);
	frame_set_acks(&f, acks);
	for (size_t at = 0; at < size; at += piece) {
		if (frame_push(&f, data + at, MIN(piece, size - at)) < 0)
			abort();
		uint8_t *body;
		size_t len;
		enum frame_event event;
		while ((event = frame_next(&f, &body, &len)) != FRAME_MORE) {
			if (event != FRAME_PACKET)
				continue;
			assert(len <= FRAME_BODY_MAX && body[len] == 0);
			total += len;
			memset(body, '$', len); /* the caller may */
		}
	}
	assert(total <= size);
	frame_fini(&f);
}

/* Undoes runs as gdb does. */
static size_t expand(const uint8_t *in, size_t len, struct buf *out)
{
	for (size_t i = 0; i < len; i++) {
		if (in[i] != '*') {
			buf_putc(out, in[i]);
			continue;
		}
		assert(i + 1 < len && out->len);
		uint8_t count = in[++i];
		assert(count >= ' ' && count <= '~' && !strchr("#$+-", count));
		for (int k = 29; k < count; k++)
			buf_putc(out, out->data[out->len - 1]);
	}
	return out->len;
}

static void round_trip(const uint8_t *data, size_t size, unsigned flags)
{
	struct buf body, wire, plain;
	struct frame f;
	uint8_t *back;
	size_t len;

	buf_init(&body, 2 * size + 1);
	buf_init(&wire, 2 * size + FRAME_OVERHEAD);
	buf_init(&plain, 4 * size + 16);
	reply_binary(&body, data, size);
	frame_encode(&wire, body.data, body.len, flags);
	assert(!buf_error(&body) && !buf_error(&wire));

	/* What is escaped stays so when runs are expanded. */
	assert(expand(wire.data + 1, wire.len - 4, &plain) == body.len);
	assert(!body.len || !memcmp(plain.data, body.data, body.len));

	/* And without runs it is what a client could have sent. */
	buf_reset(&wire);
	frame_encode(&wire, body.data, body.len, 0);
	frame_init(&f);
	if (frame_push(&f, wire.data, wire.len) < 0)
		abort();
	assert(frame_next(&f, &back, &len) == FRAME_PACKET && len == size);
	assert(!size || !memcmp(back, data, size));
	assert(frame_next(&f, &back, &len) == FRAME_MORE && !frame_is_partial(&f));

	frame_fini(&f);
	buf_fini(&body);
	buf_fini(&wire);
	buf_fini(&plain);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size || size > FRAME_BODY_MAX)
		return 0;
	size_t piece = (data[0] & 15) ? (data[0] & 15u) : size;
	decode_in_pieces(data + 1, size - 1, piece, !(data[0] & 128));
	round_trip(data + 1, size - 1, FRAME_RUNS);
	return 0;
}
