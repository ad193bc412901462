/*
 * monitor_fuzz.c - what people type after `monitor`, line by line, in one session. What opens files that are named, or loads
 * libraries, is not said.
 */
#include "../wire/fake.c"

#include "server/monitor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_harmless(const char *line)
{
	return !strstr(line, "debug-file") && !strstr(line, "libthread-db");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake *f = fake_new();
	struct session *s = session_new(&f->server, (struct conn *)f);

	fake_process(f, 10, true);
	fake_thread(f, 10, 11);
	while (size && !f->ended) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;
		/* As large as it is, so that a sanitizer sees a read behind it. */
		char *line = strndup((const char *)data, len);
		if (line && is_harmless(line))
			monitor_command(s, line);
		free(line);
		buf_reset(&s->reply);
		buf_reset(&f->out);
		buf_reset(&f->did);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	session_free(s);
	fake_free(f);
	return 0;
}
