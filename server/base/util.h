/*
 * util.h - the handful of macros every file may use. Includes libc only.
 *
 * _cleanup_(f)   calls f(&variable) when the variable leaves its scope.
 * take_ptr(p)    hands a pointer on: yields its value and sets it to NULL.
 * steal_fd(fd)   the same for a file descriptor: yields it and leaves -1.
 */
#ifndef STOPGO_BASE_UTIL_H
#define STOPGO_BASE_UTIL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _printf_(f, a) __attribute__((format(printf, f, a)))
#define _must_check_   __attribute__((warn_unused_result))
#define _unused_       __attribute__((unused))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* The names inside are made anew by each use, so that one may stand in another without shadowing it. */
#define UTIL_PASTE_(a, b) a##b
#define UTIL_NAME_(a, b)  UTIL_PASTE_(a, b)
#define UTIL_CHOOSE_(a, b, op, n)                                                               \
	({                                                                                      \
		__auto_type UTIL_NAME_(a_, n) = (a);                                            \
		__auto_type UTIL_NAME_(b_, n) = (b);                                            \
		UTIL_NAME_(a_, n) op UTIL_NAME_(b_, n) ? UTIL_NAME_(a_, n) : UTIL_NAME_(b_, n); \
	})
#define MIN(a, b) UTIL_CHOOSE_(a, b, <, __COUNTER__)
#define MAX(a, b) UTIL_CHOOSE_(a, b, >, __COUNTER__)

#define take_ptr(p)                   \
	({                            \
		__auto_type p_ = (p); \
		(p) = NULL;           \
		p_;                   \
	})

/* NULL: no memory. */
static inline void *copy_bytes(const void *from, size_t len)
{
	void *copy = malloc(len);
	return copy ? memcpy(copy, from, len) : NULL;
}

static inline int steal_fd(int *fd)
{
	int value = *fd;
	*fd = -1;
	return value;
}

static inline void close_fdp(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void freep(void *p)
{
	free(*(void **)p);
}

#define _cleanup_close_ _cleanup_(close_fdp)
#define _cleanup_free_  _cleanup_(freep)

#endif
