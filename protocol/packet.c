#include "protocol/packet.h"
#include "protocol/hex.h"

#include <string.h>

/* Two queries have a hex argument glued to the name; cutting at digits in general would cut QC1 and
 * the like. */
static const char *const glued[] = { "qRegisterInfo", "qThreadStopInfo" };

static size_t long_name_len(const uint8_t *body, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(glued); i++) {
		size_t n = strlen(glued[i]);
		if (len >= n && !memcmp(body, glued[i], n))
			return n;
	}
	size_t n = 0;
	while (n < len && body[n] != ':' && body[n] != ';' && body[n] != ',')
		n++;
	return n;
}

size_t packet_name_len(const void *body, size_t len)
{
	const uint8_t *p = body;

	if (!len)
		return 0;
	if (strchr("qQvj", p[0]) && p[0])
		return long_name_len(p, len);
	if (strchr("HZzb_", p[0]) && p[0])
		return MIN(len, (size_t)2);
	return 1;
}

static const char *row_name(const void *rows, size_t row_size, size_t i)
{
	return *(const char *const *)((const char *)rows + i * row_size);
}

/* As strcmp, for a name that is not terminated and may hold anything. */
static int compare_name(const void *name, size_t len, const char *row)
{
	size_t row_len = strlen(row);
	int c = memcmp(name, row, MIN(len, row_len));
	return c ? c : (len > row_len) - (len < row_len);
}

const void *packet_find(const void *rows, size_t count, size_t row_size, const void *name,
			size_t name_len)
{
	size_t lo = 0, hi = count;

	if (!name_len)
		return NULL;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int c = compare_name(name, name_len, row_name(rows, row_size, mid));
		if (!c)
			return (const char *)rows + mid * row_size;
		if (c < 0)
			hi = mid;
		else
			lo = mid + 1;
	}
	return NULL;
}

bool packet_rows_sorted(const void *rows, size_t count, size_t row_size)
{
	for (size_t i = 1; i < count; i++)
		if (strcmp(row_name(rows, row_size, i - 1), row_name(rows, row_size, i)) >= 0)
			return false;
	return true;
}

bool args_fail(struct args *a)
{
	a->failed = true;
	return false;
}

int args_peek(const struct args *a)
{
	return args_left(a) ? a->data[a->at] : -1;
}

char args_char(struct args *a)
{
	if (!args_left(a)) {
		args_fail(a);
		return 0;
	}
	return (char)a->data[a->at++];
}

bool args_accept(struct args *a, char c)
{
	if (args_peek(a) != (uint8_t)c)
		return false;
	a->at++;
	return true;
}

bool args_skip(struct args *a, char c)
{
	return args_accept(a, c) || args_fail(a);
}

bool args_accept_text(struct args *a, const char *text)
{
	size_t n = strlen(text);
	if (a->failed || args_left(a) < n || (n && memcmp(a->data + a->at, text, n) != 0))
		return false;
	a->at += n;
	return true;
}

static uint64_t number(struct args *a, unsigned base, uint64_t max)
{
	uint64_t value = 0;
	size_t start = a->at;

	for (int c; (c = args_peek(a)) >= 0; a->at++) {
		int digit = hex_digit((uint8_t)c);
		if (digit < 0 || digit >= (int)base)
			break;
		if ((uint64_t)digit > max || value > (max - (uint64_t)digit) / base) {
			args_fail(a);
			return 0;
		}
		value = value * base + (uint64_t)digit;
	}
	if (a->failed || a->at == start) {
		args_fail(a);
		return 0;
	}
	return value;
}

uint64_t args_hex_max(struct args *a, uint64_t max)
{
	return number(a, 16, max);
}

uint64_t args_hex_u64(struct args *a)
{
	return number(a, 16, UINT64_MAX);
}

uint64_t args_dec_max(struct args *a, uint64_t max)
{
	return number(a, 10, max);
}

int64_t args_hex_i64(struct args *a)
{
	bool negative = args_accept(a, '-');
	int64_t value = (int64_t)number(a, 16, INT64_MAX);
	return negative ? -value : value;
}

struct threadid args_thread_id(struct args *a)
{
	struct threadid id = { 0 };
	size_t n = a->failed ? 0 : threadid_parse(a->data + a->at, args_left(a), &id);
	if (!n)
		args_fail(a);
	else
		a->at += n;
	return id;
}

static size_t count_digits(const struct args *a)
{
	size_t left = args_left(a);
	return left ? hex_span(a->data + a->at, left) : 0;
}

size_t args_hex_bytes(struct args *a, struct buf *out)
{
	size_t digits = count_digits(a);
	uint8_t *to = digits && digits % 2 == 0 ? buf_reserve(out, digits / 2) : NULL;

	if (a->failed || (digits && !to) || (to && !args_hex_exact(a, to, digits / 2))) {
		args_fail(a);
		return 0;
	}
	out->len += digits / 2;
	return digits / 2;
}

bool args_hex_exact(struct args *a, void *into, size_t n)
{
	if (n > args_left(a) / 2)
		return args_fail(a);

	const uint8_t *from = a->data + a->at;
	bool good = true;
	if (into)
		good = hex_decode(into, (const char *)from, n * 2);
	else
		for (size_t i = 0; i < n * 2 && good; i++)
			good = hex_digit(from[i]) >= 0;
	if (a->failed || !good)
		return args_fail(a);
	a->at += n * 2;
	return true;
}

const char *args_hex_text(struct args *a, struct buf *out)
{
	size_t start = out->len;
	size_t n = args_hex_bytes(a, out);
	const char *data = a->failed ? NULL : buf_cstr(out);

	if (!data || memchr(data + start, 0, n)) {
		args_fail(a);
		return NULL;
	}
	return data + start;
}

const uint8_t *args_rest(struct args *a, size_t *ret_len)
{
	*ret_len = args_left(a);
	if (a->failed)
		return NULL;
	const uint8_t *p = a->data + a->at;
	a->at = a->len;
	return p;
}

struct args args_until(struct args *a, char delim)
{
	size_t left = args_left(a);
	if (a->failed)
		return (struct args){ .failed = true };

	const uint8_t *from = a->data + a->at;
	const uint8_t *end = left ? memchr(from, (uint8_t)delim, left) : NULL;
	size_t n = end ? (size_t)(end - from) : left;
	a->at += n + (end != NULL);
	return args_of(from, n);
}

struct args args_upto(struct args *a, char delim)
{
	size_t before = a->at;
	struct args part = args_until(a, delim);
	if (!a->failed && a->at == before + part.len)
		args_fail(a);
	return a->failed ? (struct args){ .failed = true } : part;
}

bool args_key_value(struct args *a, char sep, struct args *ret_key, struct args *ret_value)
{
	struct args element = { 0 };

	while (args_left(a) && !element.len)
		element = args_until(a, ';');
	if (!element.len)
		return false;

	size_t whole = element.len;
	*ret_key = args_until(&element, sep);
	*ret_value = ret_key->len == whole
			     ? (struct args){ 0 }
			     : args_of(element.data + element.at, element.len - element.at);
	return true;
}

bool args_is(const struct args *a, const char *text)
{
	size_t n = strlen(text);
	return !a->failed && args_left(a) == n && (!n || !memcmp(a->data + a->at, text, n));
}
