/* The words of a dying program: panics, throws, and the values they carry. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "dwarf/go/internal.h"

enum { TEXT_MAX = 4096, PANICS_MAX = 64 };

/* A Go string, as the runtime prints it: a newline is followed by a tab; what is not text is
 * escaped. */
static void put_string(struct go_model *m, uint64_t ptr, uint64_t len, struct buf *out)
{
	char text[TEXT_MAX];
	size_t got = 0;

	if (len &&
	    (len > UINT64_C(1) << 40 ||
	     mem_read_some(m->mem, ptr, text, (size_t)MIN(len, (uint64_t)TEXT_MAX), &got) < 0)) {
		buf_printf(out, "(unreadable string at 0x%" PRIx64 ")", ptr);
		return;
	}
	for (size_t i = 0; i < got; i++) {
		uint8_t c = (uint8_t)text[i];
		if (c == '\n')
			buf_puts(out, "\n\t");
		else if ((c < ' ' && c != '\t') || c == 0x7f)
			buf_printf(out, "\\x%02x", c);
		else
			buf_putc(out, c);
	}
	if (got < len)
		buf_puts(out, "...");
}

/* As few digits as tell it from its neighbours. */
static void put_float(double value, int digits_max, bool is_float, bool sign, struct buf *out)
{
	char text[64];

	for (int digits = 1; digits <= digits_max; digits++) {
		snprintf(text, sizeof(text), sign ? "%+.*g" : "%.*g", digits, value);
		if (is_float ? strtof(text, NULL) == (float)value : strtod(text, NULL) == value)
			break;
	}
	buf_puts(out, text);
}

static void put_complex(double real, double imag, int digits_max, bool is_float, struct buf *out)
{
	buf_putc(out, '(');
	put_float(real, digits_max, is_float, false, out);
	put_float(imag, digits_max, is_float, true, out);
	buf_puts(out, "i)");
}

static bool put_number(uint8_t kind, const uint8_t raw[16], struct buf *out)
{
	int64_t s;
	uint64_t u;
	float f[2];
	double d[2];

	memcpy(&s, raw, sizeof(s));
	memcpy(&u, raw, sizeof(u));
	memcpy(f, raw, sizeof(f));
	memcpy(d, raw, sizeof(d));
	switch (kind) {
	case GO_KIND_BOOL: buf_puts(out, raw[0] ? "true" : "false"); return true;
	case GO_KIND_INT:
	case GO_KIND_INT64: buf_printf(out, "%" PRId64, s); return true;
	case GO_KIND_INT8: buf_printf(out, "%d", (int8_t)u); return true;
	case GO_KIND_INT16: buf_printf(out, "%d", (int16_t)u); return true;
	case GO_KIND_INT32: buf_printf(out, "%d", (int32_t)u); return true;
	case GO_KIND_UINT:
	case GO_KIND_UINT64:
	case GO_KIND_UINTPTR: buf_printf(out, "%" PRIu64, u); return true;
	case GO_KIND_UINT8: buf_printf(out, "%u", (uint8_t)u); return true;
	case GO_KIND_UINT16: buf_printf(out, "%u", (uint16_t)u); return true;
	case GO_KIND_UINT32: buf_printf(out, "%u", (uint32_t)u); return true;
	case GO_KIND_FLOAT32: put_float((double)f[0], 9, true, false, out); return true;
	case GO_KIND_FLOAT64: put_float(d[0], 17, false, false, out); return true;
	case GO_KIND_COMPLEX64: put_complex((double)f[0], (double)f[1], 9, true, out); return true;
	case GO_KIND_COMPLEX128: put_complex(d[0], d[1], 17, false, out); return true;
	default: return false;
	}
}

/* What a value of this kind takes, for those that are printed; 0 for others. */
static size_t printed_size(const struct go_type *type)
{
	if (type->kind == GO_KIND_STRING)
		return 16;
	if (type->kind >= GO_KIND_BOOL && type->kind <= GO_KIND_COMPLEX128 && type->size <= 16)
		return type->size;
	return 0;
}

/* Is this the predeclared type, "int", and not one of the program's, "main.Code"? */
static bool is_plain(const char *name)
{
	return !strchr(name, '.');
}

void go_put_value(struct go_model *m, uint64_t type_addr, uint64_t data, struct buf *out)
{
	struct go_type type;
	char name[GO_TYPE_NAME_MAX];
	uint8_t raw[16] = { 0 };

	if (!type_addr) {
		buf_puts(out, "nil");
		return;
	}
	if (!model_need_layout(m) || !go_type_read(&m->types, type_addr, &type)) {
		buf_printf(out, "(type 0x%" PRIx64 ") 0x%" PRIx64, type_addr, data);
		return;
	}
	bool named = go_type_name(&m->types, &type, name, sizeof(name));
	if (!named)
		snprintf(name, sizeof(name), "type 0x%" PRIx64, type_addr);

	size_t size = printed_size(&type);
	if (!size || (!type.direct && mem_read(m->mem, data, raw, size) < 0)) {
		buf_printf(out, "(%s) 0x%" PRIx64, name, data);
		return;
	}
	if (type.direct)
		memcpy(raw, &data, sizeof(data));
	bool plain = named && is_plain(name);
	if (!plain)
		buf_printf(out, "%s(", name);
	if (type.kind == GO_KIND_STRING) {
		uint64_t header[2];
		memcpy(header, raw, sizeof(header));
		if (!plain)
			buf_putc(out, '"');
		put_string(m, header[0], header[1], out);
		if (!plain)
			buf_putc(out, '"');
	} else {
		put_number(type.kind, raw, out);
	}
	if (!plain)
		buf_putc(out, ')');
}

/* ---- the chain of panics ---- */

struct one_panic {
	uint64_t type, data;
	bool recovered, goexit, repanicked;
};

static size_t panics_read(struct go_model *m, uint64_t addr, struct one_panic ret[PANICS_MAX])
{
	const struct go_layout *l = &m->layout;
	uint8_t raw[128];
	size_t count = 0;
	int32_t last = MAX(l->panic_arg_type + 16, l->panic_link + 8);
	last = MAX(last, l->panic_recovered + 1);
	last = MAX(last, l->panic_goexit + 1);
	last = MAX(last, l->panic_repanicked + 1);
	size_t size = (size_t)last;

	if (l->panic_arg_type < 0 || l->panic_link < 0 || size > sizeof(raw))
		return 0;
	while (addr && count < PANICS_MAX && mem_read(m->mem, addr, raw, size) == 0) {
		ret[count++] = (struct one_panic){
			.type = field_u64(raw, size, l->panic_arg_type),
			.data = field_u64(raw, size, l->panic_arg_type + 8),
			.recovered = field_u8(raw, size, l->panic_recovered),
			.goexit = field_u8(raw, size, l->panic_goexit),
			.repanicked = field_u8(raw, size, l->panic_repanicked),
		};
		addr = field_u64(raw, size, l->panic_link);
	}
	return count;
}

/* Oldest first, each later one behind a tab, as runtime.printpanics does it. */
static int put_chain(struct go_model *m, uint64_t addr, struct buf *out)
{
	struct one_panic chain[PANICS_MAX];
	bool before = false;
	bool skip = false;

	if (!model_need_layout(m))
		return 0;
	for (size_t i = panics_read(m, addr, chain); i-- > 0;) {
		const struct one_panic *p = &chain[i];
		/* The one after a repanicked one carries the same value. */
		bool said = skip;
		skip = p->repanicked;
		if (p->goexit || said)
			continue;
		if (before)
			buf_putc(out, '\t');
		before = true;
		buf_puts(out, "panic: ");
		go_put_value(m, p->type, p->data, out);
		if (p->recovered)
			buf_puts(out, p->repanicked ? " [recovered, repanicked]" : " [recovered]");
		buf_putc(out, '\n');
	}
	return buf_error(out);
}

int go_put_panics(struct go_model *m, const struct go_goroutine *g, struct buf *out)
{
	return put_chain(m, g->panics, out);
}

/* ---- fatal ends ---- */

size_t go_fatal_points(struct go_model *m, struct go_fatal_point ret[GO_FATAL_POINTS_MAX])
{
	static const struct {
		enum rt_func rt;
		const char *name;
		enum go_fatal kind;
	} points[] = {
		{ RT_FATALPANIC, "runtime.fatalpanic", GO_FATAL_PANIC },
		{ RT_THROW, "runtime.throw", GO_FATAL_THROW },
		{ RT_FATAL, "runtime.fatal", GO_FATAL_THROW },
		{ RT_FATALTHROW, "runtime.fatalthrow", GO_FATAL_END },
	};
	size_t count = 0;

	if (!model_need_functions(m))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(points) && count < GO_FATAL_POINTS_MAX; i++)
		if (m->rt_entry[points[i].rt])
			ret[count++] = (struct go_fatal_point){
				.kind = points[i].kind,
				.function = points[i].name,
				.entry = m->rt_entry[points[i].rt],
			};
	return count;
}

int go_put_fatal(struct go_model *m, enum go_fatal kind, uint64_t rax, uint64_t rbx,
		 struct buf *out)
{
	if (!m->mem)
		return -ENODATA;
	switch (kind) {
	case GO_FATAL_PANIC: return put_chain(m, rax, out);
	case GO_FATAL_THROW:
		buf_puts(out, "fatal error: ");
		put_string(m, rax, rbx, out);
		buf_putc(out, '\n');
		return buf_error(out);
	case GO_FATAL_NONE:
	case GO_FATAL_END: break;
	}
	return 0;
}
