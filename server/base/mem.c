#include "base/mem.h"

#include <errno.h>
#include <string.h>

int mem_read_some(const struct mem *m, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	return m->read(m->ctx, addr, into, len, ret_got);
}

int mem_read(const struct mem *m, uint64_t addr, void *into, size_t len)
{
	size_t got = 0;
	int r = m->read(m->ctx, addr, into, len, &got);
	if (r < 0)
		return r;
	return got == len ? 0 : -EFAULT;
}

int mem_read_u64(const struct mem *m, uint64_t addr, uint64_t *ret)
{
	uint64_t v;
	int r = mem_read(m, addr, &v, sizeof(v));
	if (r == 0)
		*ret = v;
	return r;
}

int mem_read_u32(const struct mem *m, uint64_t addr, uint32_t *ret)
{
	uint32_t v;
	int r = mem_read(m, addr, &v, sizeof(v));
	if (r == 0)
		*ret = v;
	return r;
}

int mem_read_spans(const struct mem *m, struct mem_span *spans, size_t count)
{
	if (m->read_spans)
		return m->read_spans(m->ctx, spans, count);

	for (size_t i = 0; i < count; i++) {
		spans[i].got = 0;
		int r = m->read(m->ctx, spans[i].addr, spans[i].into, spans[i].len, &spans[i].got);
		if (r < 0 && r != -EFAULT)
			return r;
	}
	return 0;
}

int mem_read_cstr(const struct mem *m, uint64_t addr, char *into, size_t size)
{
	size_t have = 0;

	if (!size)
		return -EINVAL;
	while (have < size - 1) {
		/* Up to the next page only: the string may end just before an unmapped one. */
		size_t chunk = MIN(size - 1 - have, (size_t)(4096 - ((addr + have) & 4095)));
		size_t got = 0;
		int r = m->read(m->ctx, addr + have, into + have, chunk, &got);
		if (r < 0 || !got) {
			into[have] = 0;
			return r < 0 ? r : -EFAULT;
		}
		if (memchr(into + have, 0, got))
			return 0;
		have += got;
	}
	into[have] = 0;
	return 0;
}
