#include "server/md5.h"

#include <math.h>
#include <string.h>

/* By how much a step of each round turns left; every fourth step the row begins anew. */
static const uint8_t turns[4][4] = {
	{ 7, 12, 17, 22 }, { 5, 9, 14, 20 }, { 4, 11, 16, 23 }, { 6, 10, 15, 21 }
};

/* RFC 1321, 3.4: step i adds the integer part of 2^32 times the sine of i, in radians, counted from 1. */
static const uint32_t *sines(void)
{
	static uint32_t table[64];

	if (!table[0])
		for (int i = 0; i < 64; i++)
			table[i] = (uint32_t)(fabs(sin(i + 1.0)) * 4294967296.0);
	return table;
}

static uint32_t mix(unsigned round, uint32_t b, uint32_t c, uint32_t d)
{
	switch (round) {
	case 0: return (b & c) | (~b & d);
	case 1: return (b & d) | (c & ~d);
	case 2: return b ^ c ^ d;
	default: return c ^ (b | ~d);
	}
}

/* Which of the sixteen words of the block a step takes. */
static unsigned word_of(unsigned step)
{
	static const uint8_t factor[4] = { 1, 5, 3, 7 }, first[4] = { 0, 1, 5, 0 };
	return (first[step / 16] + factor[step / 16] * step) % 16;
}

static void add_block(struct md5 *m, const uint8_t *block)
{
	const uint32_t *sine = sines();
	uint32_t a = m->state[0], b = m->state[1], c = m->state[2], d = m->state[3];
	uint32_t words[16];

	memcpy(words, block, sizeof(words));
	for (unsigned step = 0; step < 64; step++) {
		unsigned round = step / 16, turn = turns[round][step % 4];
		uint32_t sum = a + mix(round, b, c, d) + words[word_of(step)] + sine[step];
		a = d;
		d = c;
		c = b;
		b += sum << turn | sum >> (32 - turn);
	}
	m->state[0] += a;
	m->state[1] += b;
	m->state[2] += c;
	m->state[3] += d;
}

void md5_init(struct md5 *m)
{
	*m = (struct md5){ .state = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476 } };
}

void md5_add(struct md5 *m, const void *data, size_t len)
{
	const uint8_t *at = data;

	while (len) {
		size_t have = m->len % MD5_BLOCK, n = MIN(len, MD5_BLOCK - have);
		memcpy(m->block + have, at, n);
		m->len += n;
		at += n;
		len -= n;
		if (have + n == MD5_BLOCK)
			add_block(m, m->block);
	}
}

void md5_finish(struct md5 *m, uint8_t ret[MD5_SIZE])
{
	static const uint8_t padding[MD5_BLOCK] = { 0x80 };
	uint64_t bits = m->len * 8;

	md5_add(m, padding, 1 + (MD5_BLOCK * 2 - 9 - m->len % MD5_BLOCK) % MD5_BLOCK);
	md5_add(m, &bits, sizeof(bits));
	memcpy(ret, m->state, MD5_SIZE);
}
