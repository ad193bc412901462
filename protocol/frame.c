#include "protocol/frame.h"
#include "protocol/hex.h"

#include <assert.h>
#include <emmintrin.h>
#include <errno.h>
#include <string.h>

enum {
	INTERRUPT = 0x03,
	/* Every byte escaped, and the checksum. */
	RAW_MAX = 2 * FRAME_BODY_MAX,
	/* Undrained input: one packet of the longest and what else came with it. */
	IN_MAX = RAW_MAX + 1024 * 1024,
	RUN_MIN = 3,
	RUN_MAX = 97,
	RUN_BIAS = 29,
};

void frame_init(struct frame *f)
{
	*f = (struct frame){ 0 };
	buf_init(&f->in, IN_MAX);
}

void frame_fini(struct frame *f)
{
	buf_fini(&f->in);
	frame_init(f);
}

void frame_set_acks(struct frame *f, bool on)
{
	f->no_acks = !on;
}

int frame_push(struct frame *f, const void *data, size_t len)
{
	if (f->at) {
		buf_consume(&f->in, f->at);
		f->scanned -= MIN(f->scanned, f->at);
		f->at = 0;
	}
	buf_put(&f->in, data, len);

	int r = buf_error(&f->in);
	f->in.error = 0; /* what was there stays usable */
	return r;
}

static size_t available(const struct frame *f)
{
	return f->in.len - f->at;
}

bool frame_is_partial(const struct frame *f)
{
	return f->skipping || available(f);
}

/* Undoes escapes in place; returns the new length. A lone '}' at the end stays as it is: the
 * packet's handler refuses it. */
static size_t unescape(uint8_t *body, size_t len)
{
	uint8_t *to = memchr(body, '}', len), *end = body + len;
	if (!to)
		return len;

	/* from is at an escape */
	for (uint8_t *from = to; from < end;) {
		if (end - from < 2) {
			*to++ = *from++;
			break;
		}
		*to++ = from[1] ^ 0x20;
		from += 2;
		uint8_t *next = memchr(from, '}', (size_t)(end - from));
		size_t plain = (size_t)((next ? next : end) - from);
		memmove(to, from, plain);
		to += plain;
		from += plain;
	}
	return (size_t)(to - body);
}

/* The sum of bytes modulo 256. */
static uint8_t checksum(const uint8_t *p, size_t len)
{
	__m128i sums = _mm_setzero_si128();
	for (; len >= 16; len -= 16, p += 16) {
		__m128i v = _mm_loadu_si128((const __m128i *)p);
		sums = _mm_add_epi64(sums, _mm_sad_epu8(v, _mm_setzero_si128()));
	}
	unsigned sum = (unsigned)_mm_cvtsi128_si32(sums) +
		       (unsigned)_mm_cvtsi128_si32(_mm_srli_si128(sums, 8));
	for (; len; len--)
		sum += *p++;
	return (uint8_t)sum;
}

static bool checksum_matches(const uint8_t *body, size_t len, const uint8_t *digits)
{
	int hi = hex_digit(digits[0]), lo = hex_digit(digits[1]);
	return hi >= 0 && lo >= 0 && (hi << 4 | lo) == checksum(body, len);
}

static size_t find(const uint8_t *p, uint8_t byte, size_t from, size_t len)
{
	const uint8_t *at = from < len ? memchr(p + from, byte, len - from) : NULL;
	return at ? (size_t)(at - p) : len;
}

/* Outside a packet: consumes one byte that is none of a packet's. */
static enum frame_event take_single(struct frame *f, uint8_t c)
{
	bool known = c == '+' || c == '-' || c == INTERRUPT;
	bool noise = !known && !f->greeted;

	f->at++;
	f->greeted = true;
	if (c == INTERRUPT)
		return FRAME_INTERRUPT;
	if (c == '+' && !f->no_acks)
		return FRAME_ACK;
	if (c == '-' && !f->no_acks)
		return FRAME_NAK;
	return noise ? FRAME_NOISE : FRAME_MORE;
}

/* The front of the input is inside a body too long to keep: drops what belongs to it. True once its
 * end was seen. */
static bool skip_long(struct frame *f)
{
	const uint8_t *p = f->in.data + f->at;
	size_t len = available(f);
	size_t end = find(p, '#', 0, len);
	size_t start = find(p, '$', 0, end);

	if (start < end) {
		f->at += start;
		f->skipping = false;
		return false;
	}
	if (len - end < 3) {
		f->at += end;
		return false;
	}
	f->at += end + 3;
	f->skipping = false;
	return true;
}

/*
 * The front of the input is '$' or '%'. FRAME_MORE with *ret_again set: something was dropped, look
 * again; without: the end is not there yet.
 */
static enum frame_event take_packet(struct frame *f, uint8_t **ret_body, size_t *ret_len,
				    bool *ret_again)
{
	uint8_t *p = f->in.data + f->at;
	size_t len = available(f);
	size_t from = MAX(f->scanned, f->at + 1) - f->at;
	size_t end = find(p, '#', from, len);
	size_t restart = find(p, '$', from, end);

	f->greeted = true;
	if (restart < end) {
		f->at += restart;
		*ret_again = true;
		return FRAME_MORE;
	}
	if (end > RAW_MAX) {
		f->at++;
		f->skipping = true;
		*ret_again = true;
		return FRAME_MORE;
	}
	if (len - end < 3) {
		f->scanned = f->at + end;
		return FRAME_MORE;
	}

	f->at += end + 3;
	if (p[0] == '%') {
		*ret_again = true;
		return FRAME_MORE;
	}
	if (!f->no_acks && !checksum_matches(p + 1, end - 1, p + end + 1))
		return FRAME_BAD;
	size_t body_len = unescape(p + 1, end - 1);
	if (body_len > FRAME_BODY_MAX)
		return FRAME_TOO_LONG;
	p[1 + body_len] = 0;
	*ret_body = p + 1;
	*ret_len = body_len;
	return FRAME_PACKET;
}

enum frame_event frame_next(struct frame *f, uint8_t **ret_body, size_t *ret_len)
{
	while (available(f)) {
		uint8_t c = f->in.data[f->at];
		enum frame_event event = FRAME_MORE;

		if (f->skipping) {
			if (skip_long(f))
				return FRAME_TOO_LONG;
			if (f->skipping)
				return FRAME_MORE;
		} else if (c == '$' || c == '%') {
			bool again = false;
			event = take_packet(f, ret_body, ret_len, &again);
			if (!again)
				return event;
		} else {
			event = take_single(f, c);
			if (event != FRAME_MORE)
				return event;
		}
	}
	return FRAME_MORE;
}

/* How many of the n further copies one run may stand for, its count being a byte that clients do
 * not look for; 0: none. */
static size_t run_count(size_t n)
{
	if (n > RUN_MAX)
		n = RUN_MAX;
	switch (n + RUN_BIAS) {
	case '#': return n - 1;
	case '$': return n - 2;
	case '+':
	case '-': return n - 1;
	default: return n < RUN_MIN ? 0 : n;
	}
}

/* Writes total copies of c; returns the end. Never longer than total. */
static uint8_t *put_run(uint8_t *to, uint8_t c, size_t total)
{
	while (total) {
		size_t n = run_count(total - 1);
		*to++ = c;
		total--;
		if (n) {
			*to++ = '*';
			*to++ = (uint8_t)(n + RUN_BIAS);
			total -= n;
		}
	}
	return to;
}

static size_t run_length(const uint8_t *in, const uint8_t *end)
{
	const uint8_t *p = in + 1;
	uint64_t repeated = *in * UINT64_C(0x0101010101010101), word;

	for (; end - p >= 8; p += 8) {
		memcpy(&word, p, 8);
		if (word != repeated)
			return (size_t)(p - in) + (size_t)__builtin_ctzll(word ^ repeated) / 8;
	}
	while (p < end && *p == *in)
		p++;
	return (size_t)(p - in);
}

/* Bit i is set when a run worth encoding, or an escaped pair, begins at byte i. Reads 19 bytes. */
static unsigned special_mask(const uint8_t *in)
{
	__m128i a = _mm_loadu_si128((const __m128i *)in);
	__m128i b = _mm_loadu_si128((const __m128i *)(in + 1));
	__m128i c = _mm_loadu_si128((const __m128i *)(in + 2));
	__m128i d = _mm_loadu_si128((const __m128i *)(in + 3));
	__m128i run = _mm_and_si128(_mm_cmpeq_epi8(a, b),
				    _mm_and_si128(_mm_cmpeq_epi8(b, c), _mm_cmpeq_epi8(c, d)));
	return (unsigned)_mm_movemask_epi8(
		_mm_or_si128(run, _mm_cmpeq_epi8(a, _mm_set1_epi8('}'))));
}

static uint8_t *encode_runs(uint8_t *to, const uint8_t *in, size_t len)
{
	const uint8_t *end = in + len;

	while (in < end) {
		if (end - in >= 19) {
			unsigned mask = special_mask(in);
			size_t plain = mask ? (size_t)__builtin_ctz(mask) : 16;
			_mm_storeu_si128((__m128i *)to, _mm_loadu_si128((const __m128i *)in));
			to += plain;
			in += plain;
			if (plain == 16)
				continue;
		}
		if (*in == '}') {
			*to++ = *in++;
			if (in < end)
				*to++ = *in++;
			continue;
		}
		size_t n = run_length(in, end);
		to = put_run(to, *in, n);
		in += n;
	}
	return to;
}

void frame_encode(struct buf *out, const void *body, size_t len, unsigned flags)
{
	static const char digits[] = "0123456789abcdef";
	/* Runs only shorten, and a 16-byte store in encode_runs reaches no further than the bytes
	 * it has read. */
	uint8_t *start = buf_reserve(out, len + FRAME_OVERHEAD);
	if (!start)
		return;

	uint8_t *to = start;
	*to++ = flags & FRAME_NOTIFY ? '%' : '$';
	if (flags & FRAME_RUNS && len) {
		to = encode_runs(to, body, len);
	} else if (len) {
		memcpy(to, body, len);
		to += len;
	}
	assert((size_t)(to - start) <= len + 1);

	uint8_t sum = checksum(start + 1, (size_t)(to - start) - 1);
	*to++ = '#';
	*to++ = (uint8_t)digits[sum >> 4];
	*to++ = (uint8_t)digits[sum & 15];
	out->len += (size_t)(to - start);
}
