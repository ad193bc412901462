/*
 * packet_fuzz.c - a packet body through the name rule and a random walk of the argument cursor: the
 * first bytes choose which reads are made. Reads stay inside the body, and a failed cursor yields
 * nothing more.
 */
#undef NDEBUG
#include <assert.h>
#include <string.h>

#include "protocol/features.h"
#include "protocol/hex.h"
#include "protocol/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS = 8 };

static void check_part(const struct args *whole, const struct args *part)
{
	if (part->failed || !part->data)
		return;
	assert(part->data >= whole->data && part->data + part->len <= whole->data + whole->len);
}

static void one_step(struct args *a, unsigned op, struct buf *out)
{
	struct args key, value;
	struct threadid id;
	uint8_t small[8];
	size_t n;

	switch (op % 16) {
	case 0: args_hex_u64(a); break;
	case 1: assert(args_hex_max(a, 0xffff) <= 0xffff); break;
	case 2: assert(args_dec_max(a, 1000) <= 1000); break;
	case 3: args_hex_i64(a); break;
	case 4:
		id = args_thread_id(a);
		assert(id.pid >= -1 && id.tid >= -1);
		break;
	case 5: args_char(a); break;
	case 6: args_skip(a, ','); break;
	case 7: args_accept(a, ';'); break;
	case 8:
		n = args_hex_bytes(a, out);
		assert(n <= a->len);
		break;
	case 9: args_hex_exact(a, small, op / 16 % 9); break;
	case 10: args_hex_exact(a, NULL, op); break;
	case 11:
		if (args_hex_text(a, out))
			assert(buf_cstr(out)[out->len] == 0);
		break;
	case 12:
		key = args_until(a, ':');
		check_part(a, &key);
		break;
	case 13:
		key = args_upto(a, ';');
		check_part(a, &key);
		break;
	case 14:
		while (args_key_value(a, ':', &key, &value)) {
			check_part(a, &key);
			check_part(a, &value);
			assert(key.len + value.len <= a->len);
		}
		break;
	case 15:
		if (args_rest(a, &n))
			assert(args_done(a));
		break;
	}
	assert(a->at <= a->len);
	if (a->failed)
		assert(!args_left(a) && args_peek(a) < 0);
}

/* What a thread id prints as is read back as itself. */
static void thread_id_round_trip(const uint8_t *data, size_t size)
{
	struct threadid id, again;
	struct buf b;

	if (!threadid_parse(data, size, &id))
		return;
	buf_init(&b, 64);
	threadid_put(&b, id, true);
	assert(threadid_parse(b.data, b.len, &again) == b.len);
	assert(again.pid == id.pid && again.tid == id.tid);
	buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct row {
		const char *name;
	} rows[] = { { "?" }, { "m" }, { "qSupported" }, { "vCont" } };

	if (size < STEPS)
		return 0;
	const uint8_t *ops = data;
	data += STEPS;
	size -= STEPS;

	size_t name = packet_name_len(data, size);
	assert(name <= size && (name || !size));
	const struct row *row = packet_find(rows, ARRAY_SIZE(rows), sizeof(rows[0]), data, name);
	if (row)
		assert(strlen(row->name) == name && !memcmp(row->name, data, name));

	struct buf out;
	struct args a = args_of(data + name, size - name);
	buf_init(&out, 4096);
	for (int i = 0; i < STEPS; i++)
		one_step(&a, ops[i], &out);
	buf_fini(&out);

	thread_id_round_trip(data + name, size - name);

	struct client_features features;
	features_parse(data + name, size - name, &features);
	assert(memchr(features.xml_registers, 0, sizeof(features.xml_registers)));
	return 0;
}
