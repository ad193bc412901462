#include "target/target.h"

static int read_memory(void *ctx, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	struct target *t = ctx;
	return t->ops->mem_read(t, addr, into, len, ret_got);
}

static int read_spans(void *ctx, struct mem_span *spans, size_t count)
{
	struct target *t = ctx;
	return t->ops->mem_read_spans(t, spans, count);
}

struct mem target_mem(struct target *t)
{
	return (struct mem){ .read = read_memory,
			     .read_spans = t->ops->mem_read_spans ? read_spans : NULL,
			     .ctx = t };
}
