#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/uio.h>

#include "target/live/patch.h"
#include "target/live/task.h"

/* process_vm_readv does the bulk; /proc/PID/mem also reads what is mapped without read permission, and says how far it came. */
static size_t read_by_file(struct space *s, uint64_t addr, uint8_t *into, size_t len)
{
	size_t have = 0;
	while (have < len) {
		ssize_t n = pread(s->memfd, into + have, len - have, (off_t)(addr + have));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		have += (size_t)n;
	}
	return have;
}

int space_read_raw(struct space *s, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	*ret_got = 0;
	if (!len)
		return 0;
	if (addr + (len - 1) < addr) /* past the top: only what is below it */
		len = (size_t)-addr;

	struct iovec local = { into, len }, remote = { (void *)addr, len };
	ssize_t n = process_vm_readv(s->pid, &local, 1, &remote, 1, 0);
	size_t have = n > 0 ? (size_t)n : 0;
	if (have < len && (int64_t)addr >= 0)
		have += read_by_file(s, addr + have, (uint8_t *)into + have, len - have);
	*ret_got = have;
	return have ? 0 : -EFAULT;
}

int space_write_raw(struct space *s, uint64_t addr, const void *from, size_t len)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = pwrite(s->memfd, (const uint8_t *)from + done, len - done,
				   (off_t)(addr + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EFAULT;
		done += (size_t)n;
	}
	return 0;
}

int live_mem_read(struct target *t, uint64_t addr, void *into, size_t len, size_t *ret_got)
{
	struct space *s = proc_of(t)->space;
	int r = space_read_raw(s, addr, into, len, ret_got);
	if (r == 0)
		swpoints_hide(&s->sw, addr, into, *ret_got);
	return r;
}

int live_mem_read_spans(struct target *t, struct mem_span *spans, size_t count)
{
	struct space *s = proc_of(t)->space;
	enum { BATCH = 512 };
	struct iovec local[BATCH], remote[BATCH];

	for (size_t at = 0; at < count;) {
		size_t n = MIN(count - at, (size_t)BATCH);
		size_t want = 0;
		for (size_t i = 0; i < n; i++) {
			local[i] = (struct iovec){ spans[at + i].into, spans[at + i].len };
			remote[i] = (struct iovec){ (void *)spans[at + i].addr, spans[at + i].len };
			want += spans[at + i].len;
		}
		ssize_t got = process_vm_readv(s->pid, local, n, remote, n, 0);
		bool all = got >= 0 && (size_t)got == want;
		for (size_t i = 0; i < n; i++) {
			struct mem_span *span = &spans[at + i];
			span->got = span->len;
			if (!all)
				(void)space_read_raw(s, span->addr, span->into, span->len,
						     &span->got);
			swpoints_hide(&s->sw, span->addr, span->into, span->got);
		}
		at += n;
	}
	return 0;
}

static int write_under(struct target *t, uint64_t addr, const void *from, size_t len)
{
	struct space *s = proc_of(t)->space;

	if (!len)
		return 0;
	/* A jump leans on bytes behind those it changes. */
	if (s->patches && swpoints_near(&s->sw, addr, len)) {
		bool held = patch_quieten(proc_of(t));
		s = proc_of(t)->space; /* another, if it has become another program */
		patch_disturbed(s, addr, len, NULL, "its code was written", true);
		if (held)
			live_release(proc_of(t)->live, RELEASE_ALL);
	}
	if (!swpoints_touch(&s->sw, addr, len))
		return space_write_raw(s, addr, from, len);

	_cleanup_free_ uint8_t *under = malloc(len);
	if (!under)
		return -ENOMEM;
	/* All or nothing, also for the bytes remembered under breakpoints: try the place before changing the store. */
	size_t got;
	int r = space_read_raw(s, addr, under, len, &got);
	if (r < 0 || got < len)
		return -EFAULT;
	swpoints_cover(&s->sw, addr, from, under, len);
	return space_write_raw(s, addr, under, len);
}

int live_mem_write(struct target *t, uint64_t addr, const void *from, size_t len)
{
	int r = write_under(t, addr, from, len);
	if (r == 0)
		watch_written(proc_of(t), addr, len);
	return r;
}
