#include "server/window.h"

enum { SIZE_BITS = 32 };

static const uint64_t base = UINT64_C(0x0100000000000000);
static const uint64_t ids = UINT64_C(1) << 31;

int64_t window_owner(uint64_t addr)
{
	uint64_t id = (addr - base - 1) >> SIZE_BITS;
	return addr > base && id > 0 && id < ids ? (int64_t)id : 0;
}

uint64_t window_top(int64_t id)
{
	return base + (((uint64_t)id + 1) << SIZE_BITS);
}

uint64_t window_show(const struct window *w, uint64_t addr)
{
	return w->hi && addr >= w->lo && addr <= w->hi ? window_top(w->id) - (w->hi - addr) : addr;
}

bool window_find(const struct window *w, uint64_t shown, uint64_t *ret)
{
	uint64_t down = window_top(w->id) - shown;

	if (!w->hi || window_owner(shown) != w->id || down > w->hi - w->lo)
		return false;
	*ret = w->hi - down;
	return true;
}

uint64_t window_bytes(const struct window *w, uint64_t shown)
{
	uint64_t addr;
	return window_find(w, shown, &addr) ? w->hi - addr : 0;
}
