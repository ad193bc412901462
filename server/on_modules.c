/*
 * on_modules.c - which file is what: jModulesInfo, qModuleInfo, qFileLoadAddress. Paths mean the debuggee's files.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "dwarf/image.h"
#include "protocol/crc.h"
#include "server/handlers.h"

enum { MODULES_MAX = 8192, ID_MAX = 64 };

static const char triple[] = "x86_64--linux";

struct module {
	char uuid[2 * ID_MAX + 1]; /* upper case; empty: the file has none */
	uint64_t size;
};

/* The file a path means to the debuggee, which may live in another mount namespace. */
static int open_module(struct session *s, const char *path)
{
	struct inferior *inf = session_inferior(s);
	struct hostio io;

	hostio_init(&io);
	if (inf)
		(void)hostio_setfs(&io, inf->pid);
	int slot = hostio_open(&io, path, O_RDONLY, 0);
	int fd = slot < 0 ? slot : steal_fd(&io.fds[slot]);
	hostio_fini(&io);
	return fd;
}

/* .gnu_debuglink: a name, padding to four bytes, the checksum of the file with the symbols. */
static bool debuglink_crc(struct image *img, uint32_t *ret)
{
	const struct image_section *link = image_section(img, ".gnu_debuglink");
	const uint8_t *bytes = link ? image_section_bytes(img, link) : NULL;

	if (!bytes || link->size < 8)
		return false;
	memcpy(ret, bytes + link->size - 4, 4);
	return true;
}

static bool file_crc(int fd, uint32_t *ret)
{
	uint8_t chunk[64 * 1024];
	uint32_t crc = 0;
	ssize_t n;

	for (off_t at = 0; (n = pread(fd, chunk, sizeof(chunk), at)) > 0; at += n)
		crc = crc_reflected(crc, chunk, (size_t)n);
	*ret = crc;
	return n == 0;
}

/* As lldb identifies a file without a build id by itself (ObjectFileELF::GetModuleSpecifications): four bytes of a checksum. */
static void put_crc_identity(struct image *img, int fd, struct module *m)
{
	uint32_t crc;

	if (debuglink_crc(img, &crc) || file_crc(fd, &crc))
		snprintf(m->uuid, sizeof(m->uuid), "%02X%02X%02X%02X", crc & 255, crc >> 8 & 255,
			 crc >> 16 & 255, crc >> 24);
}

static int read_module(struct session *s, const char *path, struct module *ret)
{
	_cleanup_(image_freep) struct image *img = NULL;
	_cleanup_close_ int fd = open_module(s, path);
	struct stat st;
	size_t len;

	if (fd < 0)
		return fd;
	int r = image_open_fd(fd, path, &img, NULL);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* As vFile:size says it. */
	off_t size = st.st_size;
	gofiles_stat(s->inferiors, &st);
	const uint8_t *id = image_build_id(img, &len);
	*ret = (struct module){ .size = (uint64_t)st.st_size };
	for (size_t i = 0; id && i < MIN(len, (size_t)ID_MAX); i++)
		snprintf(ret->uuid + 2 * i, 3, "%02X", id[i]);
	/* One that we make up for a stripped program has other bytes than the file. */
	if (!len && st.st_size == size)
		put_crc_identity(img, fd, ret);
	return 0;
}

/* --- jModulesInfo:[{"file":"...","triple":"..."},...] --- */

static json_t *describe(struct session *s, const json_t *wanted)
{
	const char *path = json_string_value(json_object_get(wanted, "file"));
	struct module m;

	/* lldb has no use for one without an identity: what we made up. */
	if (!path || read_module(s, path, &m) < 0 || !m.uuid[0])
		return NULL;
	return json_pack("{s:s, s:s, s:s, s:I, s:I}", "uuid", m.uuid, "triple", triple, "file_path",
			 path, "file_offset", (json_int_t)0, "file_size", (json_int_t)m.size);
}

void on_modules_info(struct session *s, struct args *a)
{
	size_t len, i;
	json_t *one;

	args_skip(a, ':');
	const uint8_t *text = args_rest(a, &len);
	if (!args_ok(a))
		return;
	json_t *wanted = json_loadb((const char *)text, len, 0, NULL);
	json_t *found = json_array();
	if (!json_is_array(wanted) || json_array_size(wanted) > MODULES_MAX || !found) {
		session_error(s, 1);
	} else {
		json_array_foreach(wanted, i, one)(void)
			json_array_append_new(found, describe(s, one));
		char *out = json_dumps(found, JSON_COMPACT);
		if (out)
			reply_binary(&s->reply, out, strlen(out));
		else
			session_error(s, ENOMEM);
		free(out);
	}
	json_decref(wanted);
	json_decref(found);
}

/* --- qModuleInfo:PATH;TRIPLE --- */

static void put_text(struct buf *b, const char *key, const char *text)
{
	buf_printf(b, "%s:", key);
	reply_hex_text(b, text);
	buf_putc(b, ';');
}

void on_module_info(struct session *s, struct args *a)
{
	struct module m;

	args_skip(a, ':');
	const char *path = args_hex_text(a, &s->scratch);
	if (!path || (args_left(a) && !args_accept(a, ';'))) {
		args_fail(a);
		return;
	}
	if (read_module(s, path, &m) < 0 || !m.uuid[0]) {
		session_error(s, 1);
		return;
	}
	put_text(&s->reply, "uuid", m.uuid);
	put_text(&s->reply, "triple", triple);
	put_text(&s->reply, "file_path", path);
	buf_printf(&s->reply, "file_offset:%016x;file_size:%016llx;", 0,
		   (unsigned long long)m.size);
}

/* --- qFileLoadAddress:PATH --- */

/* The path of a line of /proc/PID/maps, which is all that follows the inode; NULL: the mapping has none. */
static char *mapped_path(char *line)
{
	char *path = strchr(line, '/');

	if (!path)
		return NULL;
	path[strcspn(path, "\n")] = 0;
	return path;
}

/* Where the first mapping of the file begins. */
static int find_mapping(pid_t pid, const char *path, uint64_t *ret)
{
	/* The same file may be named by another path: a link, or the one the kernel resolved. */
	_cleanup_free_ char *resolved = realpath(path, NULL), *line = NULL;
	char maps[64];
	size_t size = 0;
	int r = -ENOENT;

	snprintf(maps, sizeof(maps), "/proc/%d/maps", (int)pid);
	FILE *f = fopen(maps, "re");
	if (!f)
		return -errno;
	while (r < 0 && getline(&line, &size, f) > 0) {
		const char *mapped = mapped_path(line);
		if (!mapped ||
		    (strcmp(mapped, path) != 0 && (!resolved || strcmp(mapped, resolved) != 0)))
			continue;
		*ret = strtoull(line, NULL, 16);
		r = 0;
	}
	fclose(f);
	return r;
}

void on_file_load_address(struct session *s, struct args *a)
{
	uint64_t addr = 0;

	args_skip(a, ':');
	const char *path = args_hex_text(a, &s->scratch);
	if (!args_done(a) || !path) {
		args_fail(a);
		return;
	}
	if (find_mapping(session_inferior(s)->pid, path, &addr) < 0)
		session_error(s, 1);
	else
		buf_printf(&s->reply, "%016llx", (unsigned long long)addr);
}
