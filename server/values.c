#include "server/values.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "dwarf/go/model.h"
#include "server/expr.h"
#include "target/ax.h"
#include "target/x86/regs.h"

/* --- reading --- */

void value_of_fini(struct value_of *v)
{
	for (size_t i = 0; i < v->count; i++)
		ax_free(v->pieces[i].ax);
	v->count = 0;
}

static struct ax *compile(const struct di_piece *piece)
{
	uint8_t code[DI_CODE_MAX + 1];
	struct ax *ax;

	memcpy(code, piece->code, piece->len);
	code[piece->len] = AXCODE_END;
	return ax_compile(code, piece->len + 1, expr_ax_reg, NULL, &ax, NULL) == 0 ? ax : NULL;
}

void value_of_init(struct value_of *v, const struct di_var *var)
{
	*v = (struct value_of){ .name = var->name, .type = var->type, .result = var->result };
	for (size_t i = 0; i < var->count; i++) {
		const struct di_piece *from = &var->pieces[i];
		struct ax *ax = from->where == DI_NOWHERE ? NULL : compile(from);
		v->pieces[i].where = ax ? from->where : DI_NOWHERE;
		v->pieces[i].offset = from->offset;
		v->pieces[i].size = from->size;
		v->pieces[i].ax = ax;
	}
	v->count = var->count;
}

int value_thread_init(struct value_thread *t, struct target *target, pid_t tid)
{
	t->target = target;
	t->tid = tid;
	t->mem = target_mem(target);
	t->go = NULL;
	t->has_xstate = false;
	return target->ops->gp_read(target, tid, &t->gp);
}

static int read_reg(void *ctx, unsigned reg, uint64_t *ret)
{
	struct value_thread *t = ctx;
	uint8_t value[X86_REG_SIZE_MAX] = { 0 };

	if (!x86_reg_is_gp(reg) && !t->has_xstate) {
		int r = t->target->ops->xstate_read(t->target, t->tid, &t->xstate);
		if (r < 0)
			return r;
		t->has_xstate = true;
	}
	int r = x86_reg_get(reg, &t->gp, t->has_xstate ? &t->xstate : NULL, value);
	if (r == 0)
		memcpy(ret, value, sizeof(*ret));
	return r;
}

int value_eval(struct value_thread *t, const struct ax *ax, uint64_t *ret)
{
	struct ax_env env = { .reg = read_reg, .ctx = t, .mem = &t->mem };
	return ax_eval(ax, &env, ret, NULL);
}

/* The front of the value; how many bytes of it are known. */
static size_t read_value(struct value_thread *t, const struct value_of *v, uint8_t *into,
			 size_t size)
{
	size_t known = 0;

	for (size_t i = 0; i < v->count && v->pieces[i].where != DI_NOWHERE; i++) {
		uint64_t at = v->pieces[i].offset, value;
		if (at > size || value_eval(t, v->pieces[i].ax, &value) < 0)
			break;
		size_t n = MIN(v->pieces[i].size ? v->pieces[i].size : size - at, size - at);
		if (v->pieces[i].where == DI_MEMORY) {
			if (mem_read(&t->mem, value, into + at, n) < 0)
				break;
		} else {
			n = MIN(n, sizeof(value));
			memcpy(into + at, &value, n);
		}
		known = at + n;
	}
	return known;
}

/* --- writing --- */

/* The last word of what is shown may be read whole. */
enum { DEPTH_MAX = 3, VALUES_ROOM = VALUES_BYTES_MAX + 8 };

struct writer {
	struct value_thread *t;
	struct buf *out;
};

static void put(struct writer *w, const struct di_type *type, const uint8_t *bytes, unsigned depth);

static uint64_t as_number(const uint8_t *bytes, uint64_t size, bool is_signed)
{
	uint64_t n = 0;

	memcpy(&n, bytes, MIN(size, sizeof(n)));
	if (is_signed && size && size < 8)
		n = (uint64_t)((int64_t)(n << (64 - size * 8)) >> (64 - size * 8));
	return n;
}

static void put_character(struct buf *out, uint8_t c)
{
	if (c == '"' || c == '\\')
		buf_printf(out, "\\%c", c);
	else if (c == '\n')
		buf_puts(out, "\\n");
	else if (c < ' ' || c == 0x7f)
		buf_printf(out, "\\x%02x", c);
	else
		buf_putc(out, c);
}

static void put_text(struct writer *w, uint64_t addr, uint64_t len, bool terminated)
{
	uint8_t text[VALUES_TEXT_MAX];
	size_t n = MIN(len, sizeof(text)), got = 0;

	if (n && (mem_read_some(&w->t->mem, addr, text, n, &got) < 0 || !got)) {
		buf_puts(w->out, "?");
		return;
	}
	size_t end = terminated ? strnlen((char *)text, got) : got;
	buf_putc(w->out, '"');
	for (size_t i = 0; i < end; i++)
		put_character(w->out, text[i]);
	buf_putc(w->out, '"');
	if (end == sizeof(text) && (terminated || len > end))
		buf_puts(w->out, "...");
}

static void put_pointer(struct writer *w, const struct di_type *type, uint64_t addr)
{
	struct di_type to;

	if (!addr) {
		buf_puts(w->out, w->t->go ? "nil" : "0x0");
		return;
	}
	buf_printf(w->out, "0x%" PRIx64, addr);
	if (di_type_target(type, &to) && to.kind == DI_CHAR && to.size == 1) {
		buf_putc(w->out, ' ');
		put_text(w, addr, VALUES_TEXT_MAX, true);
	}
}

static void put_elements(struct writer *w, const struct di_type *of, uint64_t addr,
			 const uint8_t *bytes, uint64_t count, unsigned depth)
{
	uint8_t element[VALUES_ROOM];

	buf_putc(w->out, '{');
	for (uint64_t i = 0; i < MIN(count, (uint64_t)VALUES_PARTS_MAX); i++) {
		const uint8_t *at = bytes ? bytes + i * of->size : element;
		buf_puts(w->out, i ? ", " : "");
		if (!bytes && mem_read(&w->t->mem, addr + i * of->size, element, of->size) < 0) {
			buf_puts(w->out, "?");
			break;
		}
		put(w, of, at, depth + 1);
	}
	buf_puts(w->out, count > VALUES_PARTS_MAX ? ", ...}" : "}");
}

static void put_slice(struct writer *w, const struct di_type *type, const uint8_t *bytes,
		      unsigned depth)
{
	uint64_t addr = as_number(bytes, 8, false), len = as_number(bytes + 8, 8, false);
	struct di_type of;

	buf_printf(w->out, "[%" PRIu64 "]", len);
	if (depth < DEPTH_MAX && di_type_target(type, &of) && of.size &&
	    of.size <= VALUES_BYTES_MAX)
		put_elements(w, &of, addr, NULL, len, depth);
	else
		buf_printf(w->out, "0x%" PRIx64, addr);
}

static void put_array(struct writer *w, const struct di_type *type, const uint8_t *bytes,
		      unsigned depth)
{
	uint64_t count = di_type_count(type);
	struct di_type of;

	if (depth >= DEPTH_MAX || !di_type_target(type, &of) || !of.size ||
	    of.size > VALUES_BYTES_MAX / VALUES_PARTS_MAX) {
		buf_puts(w->out, "{...}");
		return;
	}
	/* It says how many there are, and how many bytes it has. */
	count = MIN(count, type->size / of.size);
	if (of.kind == DI_CHAR && count) {
		size_t n = strnlen((const char *)bytes, MIN(count, (uint64_t)VALUES_TEXT_MAX));
		buf_putc(w->out, '"');
		for (size_t i = 0; i < n; i++)
			put_character(w->out, bytes[i]);
		buf_putc(w->out, '"');
		return;
	}
	put_elements(w, &of, 0, bytes, count, depth);
}

static void put_struct(struct writer *w, const struct di_type *type, const uint8_t *bytes,
		       unsigned depth)
{
	const uint64_t size = MIN(type->size, (uint64_t)VALUES_BYTES_MAX);
	struct di_field f;
	size_t n = 0;

	buf_putc(w->out, '{');
	for (; depth < DEPTH_MAX && n < VALUES_PARTS_MAX && di_type_field_nth(type, n, &f); n++) {
		buf_printf(w->out, "%s%s%s", n ? ", " : "", f.name ? f.name : "",
			   f.name ? ": " : "");
		uint64_t takes = f.bits ? (f.bit_at + f.bits + 7) / 8 : f.type.size;
		if (f.offset > size || takes > size - f.offset || (f.bits && takes > 8)) {
			buf_puts(w->out, "?");
		} else if (f.bits) {
			uint64_t word = as_number(bytes + f.offset,
						  MIN((uint64_t)8, size - f.offset), false);
			word = word >> f.bit_at << (64 - f.bits);
			buf_printf(w->out, "%" PRId64,
				   f.type.is_signed ? (int64_t)word >> (64 - f.bits)
						    : (int64_t)(word >> (64 - f.bits)));
		} else {
			put(w, &f.type, bytes + f.offset, depth + 1);
		}
	}
	if (depth >= DEPTH_MAX || di_type_field_nth(type, n, &f))
		buf_puts(w->out, n ? ", ..." : "...");
	buf_putc(w->out, '}');
}

static void put_interface(struct writer *w, const struct di_type *type, const uint8_t *bytes)
{
	uint64_t first = as_number(bytes, 8, false), data = as_number(bytes + 8, 8, false);

	if (!first) {
		buf_puts(w->out, "nil");
		return;
	}
	/* An itab's second word is the type. */
	if (!w->t->go || (!type->dynamic && mem_read_u64(&w->t->mem, first + 8, &first) < 0))
		buf_printf(w->out, "0x%" PRIx64, data);
	else
		go_put_value(w->t->go, first, data, w->out);
}

static void put_float(struct writer *w, const uint8_t *bytes, uint64_t size)
{
	double d;
	float f;

	if (size == sizeof(f)) {
		memcpy(&f, bytes, sizeof(f));
		buf_printf(w->out, "%.9g", (double)f);
	} else if (size == sizeof(d)) {
		memcpy(&d, bytes, sizeof(d));
		buf_printf(w->out, "%.17g", d);
	} else {
		buf_puts(w->out, "?");
	}
}

static void put_complex(struct writer *w, const uint8_t *bytes, uint64_t size)
{
	double d[2];
	float f[2];

	if (size == sizeof(f)) {
		memcpy(f, bytes, sizeof(f));
		buf_printf(w->out, "(%.9g%+.9gi)", (double)f[0], (double)f[1]);
	} else if (size == sizeof(d)) {
		memcpy(d, bytes, sizeof(d));
		buf_printf(w->out, "(%.17g%+.17gi)", d[0], d[1]);
	} else {
		buf_puts(w->out, "?");
	}
}

/* One of more than a word is in hex when it needs more than a word. */
static void put_int(struct writer *w, const struct di_type *type, const uint8_t *bytes, uint64_t n)
{
	uint64_t high = type->size == 16 ? as_number(bytes + 8, 8, false) : 0;
	uint64_t sign = type->is_signed && type->size == 16 && n >> 63 ? UINT64_MAX : 0;

	if (type->size > 8 && type->size != 16)
		buf_puts(w->out, "?");
	else if (high != sign)
		buf_printf(w->out, "0x%" PRIx64 "%016" PRIx64, high, n);
	else if (type->is_signed)
		buf_printf(w->out, "%" PRId64, (int64_t)n);
	else
		buf_printf(w->out, "%" PRIu64, n);
}

static void put_enum(struct writer *w, const struct di_type *type, uint64_t n)
{
	const char *name = di_type_enumerator(type, (int64_t)n);

	if (name)
		buf_puts(w->out, name);
	else
		buf_printf(w->out, "%" PRId64, (int64_t)n);
}

static void put(struct writer *w, const struct di_type *type, const uint8_t *bytes, unsigned depth)
{
	uint64_t n = as_number(bytes, type->size, type->is_signed);

	switch (type->kind) {
	case DI_BOOL: buf_puts(w->out, n & 0xff ? "true" : "false"); break;
	case DI_INT: put_int(w, type, bytes, n); break;
	case DI_CHAR:
		buf_printf(w->out, "%" PRId64, (int64_t)n);
		if (n < 0x80 && isprint((int)n))
			buf_printf(w->out, " '%c'", (char)n);
		break;
	case DI_FLOAT: put_float(w, bytes, type->size); break;
	case DI_COMPLEX: put_complex(w, bytes, type->size); break;
	case DI_POINTER: put_pointer(w, type, n); break;
	case DI_ENUM: put_enum(w, type, n); break;
	case DI_STRING: put_text(w, n, as_number(bytes + 8, 8, false), false); break;
	case DI_SLICE: put_slice(w, type, bytes, depth); break;
	case DI_INTERFACE: put_interface(w, type, bytes); break;
	case DI_ARRAY: put_array(w, type, bytes, depth); break;
	case DI_STRUCT: put_struct(w, type, bytes, depth); break;
	default: buf_printf(w->out, "0x%" PRIx64, as_number(bytes, 8, false)); break;
	}
}

void value_put(struct value_thread *t, const struct value_of *v, struct buf *out)
{
	uint8_t bytes[VALUES_ROOM] = { 0 };
	struct writer w = { t, out };
	uint64_t size = v->type.size ? v->type.size : 8;
	size_t wanted = (size_t)MIN(size, (uint64_t)VALUES_BYTES_MAX);

	if (read_value(t, v, bytes, wanted) < wanted)
		buf_puts(out, "?");
	else
		put(&w, &v->type, bytes, 0);
}
