/*
 * hostio_fuzz.c - vFile and jModulesInfo: file requests line by line, and lldb's JSON. A line that begins with '[' or '{' is the
 * latter, any other follows "vFile:". Files are those of a folder where nothing can be opened for writing.
 */
#include "../wire/fake.c"

#include <fcntl.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void say(struct session *s, const char *before, const uint8_t *line, size_t len)
{
	size_t head = strlen(before);
	/* As large as it is, so that a sanitizer sees a read behind it. */
	uint8_t *body = malloc(head + len + 1);

	memcpy(body, before, head);
	memcpy(body + head, line, len);
	body[head + len] = 0;
	if (!memmem(body, head + len, "setfs", 5))
		session_packet(s, body, head + len);
	free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake *f = fake_new();
	struct session *s = session_new(&f->server, (struct conn *)f);

	s->hostio.root = open("/proc/self/net", O_PATH | O_DIRECTORY | O_CLOEXEC);
	while (size && !f->ended) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		bool json = len && (data[0] == '[' || data[0] == '{');
		say(s, json ? "jModulesInfo:" : "vFile:", data, len);
		buf_reset(&f->out);
		buf_reset(&f->did);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	session_free(s);
	fake_free(f);
	return 0;
}
