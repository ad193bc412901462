/* Agent expressions: whatever compiles evaluates within its limits and leaves only with the errors
 * ax.h names. */
#include <errno.h>
#include <string.h>

#include "target/ax.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Memory is 0x1000..0x1fff; everything below a register's low byte is a pattern. */
static int read_memory(void *ctx _unused_, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	if (addr < 0x1000 || addr >= 0x2000)
		return -EFAULT;
	*ret_got = MIN(len, (size_t)(0x2000 - addr));
	memset(into, (int)(addr & 0xff), *ret_got);
	return 0;
}

static int read_register(void *ctx _unused_, unsigned reg, uint64_t *ret)
{
	*ret = 0x1000 + reg * 8;
	return 0;
}

static int map_register(void *ctx _unused_, unsigned number)
{
	return number < 60 ? (int)number : -1;
}

static int get_variable(void *ctx _unused_, unsigned variable, uint64_t *ret)
{
	*ret = variable;
	return 0;
}

static int set_variable(void *ctx _unused_, unsigned variable _unused_, uint64_t value _unused_)
{
	return 0;
}

static int collect(void *ctx _unused_, uint64_t addr, uint64_t len)
{
	return addr == len ? -ENOSPC : 0;
}

static int collect_variable(void *ctx _unused_, unsigned variable _unused_)
{
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ax_trace trace = { .get = get_variable,
					       .set = set_variable,
					       .memory = collect,
					       .string = collect,
					       .variable = collect_variable };
	static const struct mem mem = { .read = read_memory };
	struct ax *ax = NULL;
	struct err err = { 0 };
	int r = ax_compile_allowing(AX_VARIABLES | AX_COLLECTS, data, size, map_register, NULL, &ax,
				    &err);
	if (r < 0) {
		if (r != -EINVAL || !err.text[0])
			abort();
		return 0;
	}
	_cleanup_buf_ struct buf out;
	buf_init(&out, 1 << 20);
	struct ax_env env = { .reg = read_register, .mem = &mem, .out = &out, .trace = &trace };
	uint64_t value;
	r = ax_eval(ax, &env, &value, &err);
	if (r != 0 && r != -EDOM && r != -EFAULT && r != -ELOOP && r != -ENOSPC)
		abort();
	if (out.len > AX_PRINT_MAX || buf_error(&out))
		abort();
	ax_free(ax);
	return 0;
}
