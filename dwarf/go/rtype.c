#include "dwarf/go/rtype.h"

#include <string.h>
#include "base/bytes.h"

enum {
	TYPE_SIZE = 48,
	KIND_MASK = 0x1f,
	KIND_DIRECT = 0x20, /* until Go 1.25; then tflag says it */
	TFLAG_EXTRA_STAR = 2,
	TFLAG_DIRECT = 32, /* since Go 1.26 */
	FIELD_SIZE = 24,
	PATH_DEPTH_MAX = 8,
	SCAN_MAX = 256 << 20,
	SCAN_STEP = 1 << 16,
};

static bool types_read(const struct go_types *t, uint64_t addr, void *into, size_t len)
{
	uint64_t at = addr & ~(uint64_t)(GO_TYPE_PAGE - 1);

	if (!t->pages || addr - at + len > GO_TYPE_PAGE)
		return image_mem_read(t->im, addr, into, len) == 0;
	struct go_type_page *page = &t->pages[at / GO_TYPE_PAGE % GO_TYPE_PAGES];
	if (page->addr != at || !at) {
		page->addr = 0;
		if (image_mem_read(t->im, at, page->data, GO_TYPE_PAGE) < 0)
			return image_mem_read(t->im, addr, into, len) == 0;
		page->addr = at;
	}
	memcpy(into, page->data + (addr - at), len);
	return true;
}

/* A name record: one byte of flags, a length, the bytes. */
static bool name_read(const struct go_types *t, uint64_t addr, char *name, size_t size)
{
	uint8_t raw[GO_TYPE_NAME_MAX];
	uint64_t len = 0;
	unsigned head = 1;

	for (unsigned shift = 0; shift < 21; shift += 7) {
		uint8_t byte;
		if (!types_read(t, addr + head++, &byte, 1))
			return false;
		len |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			break;
	}
	/* A longer name is cut, never refused: generic types have long ones. */
	size_t room = MIN(size - 1, sizeof(raw));
	size_t want = MIN((size_t)len, room);
	if (!want || !types_read(t, addr + head, raw, want))
		return false;
	for (size_t i = 0; i < want; i++)
		name[i] = raw[i] < ' ' || raw[i] == 0x7f ? '?' : (char)raw[i];
	name[want] = 0;
	return true;
}

bool go_type_read(const struct go_types *t, uint64_t addr, struct go_type *ret)
{
	uint8_t raw[TYPE_SIZE];

	if (!addr || addr % 8 || !types_read(t, addr, raw, sizeof(raw)))
		return false;
	struct bytes b = bytes_of(raw, sizeof(raw));
	*ret = (struct go_type){ .addr = addr, .size = bytes_u64(&b) };
	uint64_t ptr_bytes = bytes_u64(&b);
	bytes_seek(&b, 20);
	ret->tflag = bytes_u8(&b);
	bytes_skip(&b, 2);
	uint8_t kind = bytes_u8(&b);
	bytes_seek(&b, 40);
	ret->str = (int32_t)bytes_u32(&b);
	ret->kind = kind & KIND_MASK;
	ret->direct = (kind & KIND_DIRECT) || (ret->tflag & TFLAG_DIRECT);
	return ret->kind >= GO_KIND_BOOL && ret->kind <= GO_KIND_UNSAFE_POINTER &&
	       ptr_bytes <= ret->size;
}

bool go_type_name(const struct go_types *t, const struct go_type *type, char *name, size_t size)
{
	char text[GO_TYPE_NAME_MAX + 1];

	if (!t->types || type->str < 0 || t->types + (uint32_t)type->str >= t->etypes)
		return false;
	if (!name_read(t, t->types + (uint32_t)type->str, text, sizeof(text)))
		return false;
	const char *from = (type->tflag & TFLAG_EXTRA_STAR) && *text == '*' ? text + 1 : text;
	size_t len = MIN(strlen(from), size - 1);
	memcpy(name, from, len);
	name[len] = 0;
	return true;
}

static bool read_word(const struct go_types *t, uint64_t addr, uint64_t *ret)
{
	return types_read(t, addr, ret, sizeof(*ret));
}

bool go_type_elem(const struct go_types *t, const struct go_type *type, struct go_type *ret)
{
	uint64_t elem;

	if (type->kind != GO_KIND_POINTER && type->kind != GO_KIND_SLICE &&
	    type->kind != GO_KIND_ARRAY && type->kind != GO_KIND_CHAN)
		return false;
	return read_word(t, type->addr + TYPE_SIZE, &elem) && go_type_read(t, elem, ret);
}

bool go_type_fields(const struct go_types *t, const struct go_type *type,
		    bool (*fn)(void *ctx, const struct go_struct_field *f), void *ctx)
{
	uint64_t fields[2];

	if (type->kind != GO_KIND_STRUCT ||
	    !types_read(t, type->addr + TYPE_SIZE + 8, fields, sizeof(fields)) ||
	    fields[1] > GO_STRUCT_FIELDS_MAX)
		return false;
	if (!fields[1])
		return true;
	_cleanup_free_ uint8_t *raw = malloc(fields[1] * FIELD_SIZE);
	if (!raw || image_mem_read(t->im, fields[0], raw, fields[1] * FIELD_SIZE) < 0)
		return false;

	struct bytes b = bytes_of(raw, fields[1] * FIELD_SIZE);
	for (uint64_t i = 0; i < fields[1]; i++) {
		struct go_struct_field f;
		uint64_t name = bytes_u64(&b);
		f.type = bytes_u64(&b);
		f.offset = bytes_u64(&b) >> (t->shifted_offsets ? 1 : 0);
		if (f.offset > type->size || !name_read(t, name, f.name, sizeof(f.name)))
			return false;
		if (!fn(ctx, &f))
			break;
	}
	return true;
}

struct wanted {
	const char *name;
	size_t len;
	struct go_struct_field field;
	bool found;
};

static bool is_wanted(void *ctx, const struct go_struct_field *f)
{
	struct wanted *w = ctx;
	w->found = strncmp(f->name, w->name, w->len) == 0 && f->name[w->len] == 0;
	w->field = *f;
	return !w->found;
}

bool go_type_field(const struct go_types *t, const struct go_type *type, const char *path,
		   struct go_struct_field *ret)
{
	struct go_type at = *type;
	uint64_t offset = 0;

	for (unsigned depth = 0; depth < PATH_DEPTH_MAX; depth++) {
		struct wanted w = { .name = path, .len = strcspn(path, ".") };
		if (w.len >= sizeof(w.field.name) || !go_type_fields(t, &at, is_wanted, &w) ||
		    !w.found)
			return false;
		offset += w.field.offset;
		path += w.len;
		if (!*path) {
			*ret = w.field;
			ret->offset = offset;
			return true;
		}
		path++;
		if (!go_type_read(t, w.field.type, &at))
			return false;
	}
	return false;
}

/* ---- scanning ---- */

struct scan {
	const struct go_types *t;
	uint8_t *window;
	uint64_t at; /* of the window */
	size_t len;
};

/* The next window, overlapping the one before by keep bytes. */
static bool scan_next(struct scan *s, size_t keep)
{
	uint64_t end = MIN(s->t->etypes, s->t->types + (uint64_t)SCAN_MAX);
	uint64_t at = s->at ? s->at + s->len - MIN(keep, s->len) : s->t->types;
	if (at >= end || (s->at && at <= s->at))
		return false;
	s->len = (size_t)MIN(end - at, (uint64_t)SCAN_STEP);
	s->at = at;
	return image_mem_read(s->t->im, at, s->window, s->len) == 0;
}

/* Where the name record of "*NAME" or "NAME" is, from types; -1: nowhere. */
static int64_t scan_name(struct scan *s, const char *name, bool *ret_star)
{
	size_t len = strlen(name);
	char star[GO_TYPE_NAME_MAX + 2];

	star[0] = (char)(len + 1);
	star[1] = '*';
	memcpy(star + 2, name, len);
	while (scan_next(s, len + 3)) {
		const uint8_t *from = s->window;
		size_t left = s->len;
		const uint8_t *hit = left > 1 ? memmem(from + 1, left - 1, star, len + 2) : NULL;
		if (hit) {
			*ret_star = true;
			return (int64_t)(s->at + (uint64_t)(hit - 1 - s->window) - s->t->types);
		}
	}
	return -1;
}

uint64_t go_types_scan(const struct go_types *t, const char *name)
{
	_cleanup_free_ uint8_t *window = malloc(SCAN_STEP);
	struct scan s = { .t = t, .window = window };
	bool star = false;

	if (!window || !t->types || strlen(name) > 100)
		return 0;
	int64_t str = scan_name(&s, name, &star);
	if (str < 0)
		return 0;

	s = (struct scan){ .t = t, .window = window };
	while (scan_next(&s, TYPE_SIZE - 8)) {
		for (size_t i = -s.at & 7; i + TYPE_SIZE <= s.len; i += 8) {
			uint32_t at;
			memcpy(&at, window + i + 40, sizeof(at));
			if (at == (uint64_t)str && (window[i + 23] & KIND_MASK) == GO_KIND_STRUCT &&
			    (window[i + 20] & TFLAG_EXTRA_STAR))
				return s.at + i;
		}
	}
	return 0;
}
