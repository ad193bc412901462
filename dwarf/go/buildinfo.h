/*
 * buildinfo.h - is this a Go program, and of which release: the blob "\xff Go buildinf:" that every
 * Go linker leaves.
 *
 * Finds it by section, or, when there are no section headers, by its 16-byte aligned magic in the
 * writable segments. Source: debug/buildinfo of the Go distribution; 1.18 and later put both
 * strings inline, earlier ones point to them.
 */
#ifndef STOPGO_DWARF_GO_BUILDINFO_H
#define STOPGO_DWARF_GO_BUILDINFO_H

#include "base/bytes.h"
#include "dwarf/image.h"

enum { GO_VERSION_MAX = 128, GO_MODINFO_MAX = 1 << 20 };

struct go_buildinfo {
	char version[GO_VERSION_MAX]; /* "" : not a Go program */
	unsigned minor;               /* of 1.N; 0 when the version does not say */
	char *modinfo;                /* lines "build\tkey=value"; NULL: none */
};

/* An empty version when the image holds no build information. Only memory can fail. */
int go_buildinfo_read(struct image *img, struct go_buildinfo *ret) _must_check_;
/* The blob from its magic on; false when it is none or damaged. */
bool go_buildinfo_parse(struct bytes blob, struct go_buildinfo *ret);
void go_buildinfo_fini(struct go_buildinfo *info);

/* 27 for "go1.27.3", "go1.27-abc X:foo", "devel go1.27-0123"; 0 for what says nothing. */
unsigned go_version_minor(const char *version);

/* The value of a "build\tkey=value" or "key\tvalue" line, cut into value; false when there is none.
 */
bool go_buildinfo_setting(const struct go_buildinfo *info, const char *key, char *value,
			  size_t size);

#endif
