#include "starve.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned long count, refuse_at;
static bool on;

void starve_begin(unsigned long at)
{
	count = 0;
	refuse_at = at;
	on = true;
}

unsigned long starve_end(void)
{
	on = false;
	return count;
}

bool starve_has_refused(void)
{
	return refuse_at && count >= refuse_at;
}

static bool refuses(void)
{
	return on && ++count == refuse_at;
}

/* --- instead of libc's, for what is ours: the linker's --wrap --- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

void *__wrap_malloc(size_t size)
{
	return refuses() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return refuses() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return refuses() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return refuses() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
	return refuses() ? NULL : __real_strndup(text, len);
}
