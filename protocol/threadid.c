#include "protocol/threadid.h"
#include "protocol/packet.h"

/* -1 or a number that fits 63 bits. */
static int64_t one_part(struct args *a)
{
	int64_t n = args_hex_i64(a);
	if (n < THREADID_ALL)
		args_fail(a);
	return n;
}

size_t threadid_parse(const void *text, size_t len, struct threadid *ret)
{
	struct args a = args_of(text, len);
	struct threadid id = { 0 };

	if (args_accept(&a, 'p')) {
		id.pid = one_part(&a);
		id.tid = args_accept(&a, '.') ? one_part(&a) : THREADID_ALL;
		if (id.pid == THREADID_ALL && id.tid != THREADID_ALL)
			args_fail(&a);
	} else {
		id.tid = one_part(&a);
		id.pid = id.tid == THREADID_ALL ? THREADID_ALL : THREADID_ANY;
	}
	if (!args_ok(&a))
		return 0;
	*ret = id;
	return a.at;
}

static void put_part(struct buf *b, int64_t n)
{
	if (n < 0)
		buf_puts(b, "-1");
	else
		buf_put_hex_num(b, (uint64_t)n);
}

void threadid_put(struct buf *b, struct threadid id, bool multiprocess)
{
	if (multiprocess) {
		buf_putc(b, 'p');
		put_part(b, id.pid);
		buf_putc(b, '.');
	}
	put_part(b, id.tid);
}
