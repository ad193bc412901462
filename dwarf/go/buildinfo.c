#include "dwarf/go/buildinfo.h"

#include <errno.h>
#include <string.h>

enum {
	MAGIC_SIZE = 14,
	ALIGN = 16,
	HEADER_SIZE = 32,
	FLAG_INLINE = 2, /* both strings follow the header; since Go 1.18 */
	FRAME = 16,      /* random bytes around the module text */
	BLOB_MAX = HEADER_SIZE + GO_VERSION_MAX + GO_MODINFO_MAX + 2 * FRAME + 20,
	SCAN_MAX = 64 << 20, /* of one segment, only in files without section headers */
};

static const char magic[MAGIC_SIZE + 1] = "\xff Go buildinf:";

unsigned go_version_minor(const char *version)
{
	const char *at = strstr(version, "go1.");
	if (!at)
		return 0;
	unsigned minor = 0;
	for (at += 4; *at >= '0' && *at <= '9' && minor < 1000; at++)
		minor = minor * 10 + (unsigned)(*at - '0');
	return minor < 1000 ? minor : 0;
}

static void version_set(struct go_buildinfo *info, const uint8_t *text, size_t len)
{
	len = MIN(len, sizeof(info->version) - 1);
	for (size_t i = 0; i < len; i++)
		info->version[i] = text[i] < ' ' || text[i] > '~' ? '?' : (char)text[i];
	info->version[len] = 0;
	info->minor = go_version_minor(info->version);
}

static void modinfo_set(struct go_buildinfo *info, const uint8_t *text, size_t len)
{
	if (len < 2 * FRAME || len > GO_MODINFO_MAX)
		return;
	info->modinfo = strndup((const char *)text + FRAME, len - 2 * FRAME);
}

bool go_buildinfo_parse(struct bytes blob, struct go_buildinfo *ret)
{
	const uint8_t *head = bytes_take(&blob, HEADER_SIZE);
	if (!head || memcmp(head, magic, MAGIC_SIZE) != 0)
		return false;

	*ret = (struct go_buildinfo){ .version = "" };
	if (!(head[15] & FLAG_INLINE)) {
		/* 1.13 to 1.17: pointers into data; that it is Go is all we need of so old a
		 * program. */
		version_set(ret, (const uint8_t *)"go1 (before 1.18)", 17);
		return true;
	}
	uint64_t len = bytes_uleb(&blob);
	const uint8_t *version = bytes_take(&blob, len);
	if (!version || !len)
		return false;
	version_set(ret, version, len);

	len = bytes_uleb(&blob);
	const uint8_t *modinfo = bytes_take(&blob, len);
	if (modinfo)
		modinfo_set(ret, modinfo, len);
	return true;
}

static bool parse_at(struct image *img, uint64_t offset, uint64_t left, struct go_buildinfo *ret)
{
	/* Most are below a few KiB; a program with thousands of dependencies has some hundred KiB.
	 */
	for (uint64_t want = 4096;; want *= 16) {
		uint64_t len = MIN(MIN(want, left), (uint64_t)BLOB_MAX);
		const uint8_t *raw = image_bytes(img, offset, len);
		if (!raw)
			return false;
		bool found = go_buildinfo_parse(bytes_of(raw, len), ret);
		if (found && (ret->modinfo || len < want || len == BLOB_MAX))
			return true;
		if (found)
			go_buildinfo_fini(ret);
		if (len < want || len == BLOB_MAX)
			return found;
	}
}

static bool scan(struct image *img, const struct image_segment *s, struct go_buildinfo *ret)
{
	uint64_t size = MIN(s->filesz, (uint64_t)SCAN_MAX);

	for (uint64_t at = -s->vaddr & (ALIGN - 1); at + HEADER_SIZE <= size; at += ALIGN) {
		const uint8_t *raw = image_bytes(img, s->offset + at, HEADER_SIZE);
		if (!raw)
			return false;
		if (memcmp(raw, magic, MAGIC_SIZE) == 0 &&
		    parse_at(img, s->offset + at, s->filesz - at, ret))
			return true;
	}
	return false;
}

int go_buildinfo_read(struct image *img, struct go_buildinfo *ret)
{
	const struct image_section *section = image_section(img, ".go.buildinfo");
	const struct image_section *sections;
	const struct image_segment *segments;

	*ret = (struct go_buildinfo){ .version = "" };
	if (section && section->type != SHT_NOBITS &&
	    parse_at(img, section->offset, section->size, ret))
		return 0;
	/* Where there are section headers every Go linker names the section. */
	if (!section && image_sections(img, &sections))
		return 0;

	size_t count = image_segments(img, &segments);
	for (size_t i = 0; i < count; i++)
		if (segments[i].type == PT_LOAD && (segments[i].flags & PF_W) &&
		    scan(img, &segments[i], ret))
			break;
	return 0;
}

void go_buildinfo_fini(struct go_buildinfo *info)
{
	free(info->modinfo);
	*info = (struct go_buildinfo){ .version = "" };
}

/* The end of "key=" or "key\t" at the start of line, or NULL. */
static const char *after_key(const char *line, const char *key)
{
	size_t len = strlen(key);
	if (strncmp(line, "build\t", 6) == 0 && strncmp(line + 6, key, len) == 0 &&
	    line[6 + len] == '=')
		return line + 6 + len + 1;
	if (strncmp(line, key, len) == 0 && line[len] == '\t')
		return line + len + 1;
	return NULL;
}

bool go_buildinfo_setting(const struct go_buildinfo *info, const char *key, char *value,
			  size_t size)
{
	for (const char *line = info->modinfo; line && *line;) {
		const char *end = strchrnul(line, '\n');
		const char *text = after_key(line, key);
		if (text && text <= end) {
			size_t len = MIN((size_t)(end - text), size - 1);
			memcpy(value, text, len);
			value[len] = 0;
			return true;
		}
		line = *end ? end + 1 : end;
	}
	return false;
}
