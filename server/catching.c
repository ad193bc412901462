#include "server/catching.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "server/inferior.h"
#include "server/syscall_names.def"

enum { NUMBER_MAX = 0xffff };

void catching_fini(struct catching *c)
{
	free(c->client);
	free(c->own);
	*c = (struct catching){ 0 };
}

const char *catching_name(long number)
{
	return number >= 0 && number < (long)ARRAY_SIZE(syscall_names) ? syscall_names[number]
								       : NULL;
}

long catching_number(const char *text)
{
	char *end;

	if (isdigit((unsigned char)*text)) {
		unsigned long n = strtoul(text, &end, 10);
		return *end || n > NUMBER_MAX ? -1 : (long)n;
	}
	for (size_t i = 0; i < ARRAY_SIZE(syscall_names); i++)
		if (syscall_names[i] && !strcmp(syscall_names[i], text))
			return (long)i;
	return -1;
}

static bool has(const long *list, size_t count, long number)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == number)
			return true;
	return false;
}

/* The target is told of both lists as one. */
static int apply(struct inferior *inf)
{
	const struct catching *c = &inf->catching;
	const struct target_run_ops *run = inf->target->ops->run;

	if (c->client_count < 0)
		return run->catch_syscalls(inf->target, NULL, -1);
	size_t count = (size_t)c->client_count + c->own_count;
	_cleanup_free_ long *all = count ? calloc(count, sizeof(*all)) : NULL;
	if (count && !all)
		return -ENOMEM;
	if (c->client_count)
		memcpy(all, c->client, (size_t)c->client_count * sizeof(*all));
	if (c->own_count)
		memcpy(all + c->client_count, c->own, c->own_count * sizeof(*all));
	return run->catch_syscalls(inf->target, all, (ssize_t)count);
}

int catching_client(struct inferior *inf, const long *numbers, ssize_t count)
{
	struct catching *c = &inf->catching;
	long *copy = count > 0 ? copy_bytes(numbers, (size_t)count * sizeof(*copy)) : NULL;

	if (count > 0 && !copy)
		return -ENOMEM;
	free(c->client);
	c->client = copy;
	c->client_count = count;
	return apply(inf);
}

int catching_own(struct inferior *inf, long number, bool on)
{
	struct catching *c = &inf->catching;

	if (on && !has(c->own, c->own_count, number)) {
		long *own = reallocarray(c->own, c->own_count + 1, sizeof(*own));
		if (!own)
			return -ENOMEM;
		c->own = own;
		own[c->own_count++] = number;
	}
	for (size_t i = 0; !on && i < c->own_count; i++)
		if (c->own[i] == number)
			c->own[i] = c->own[--c->own_count];
	return apply(inf);
}

void catching_forget(struct inferior *inf)
{
	bool any = inf->catching.client_count || inf->catching.own_count;

	catching_fini(&inf->catching);
	if (any && inf->target->ops->run)
		(void)apply(inf);
}

static bool is_syscall(const struct stop *stop)
{
	return stop->kind == STOP_SYSCALL_ENTRY || stop->kind == STOP_SYSCALL_RETURN;
}

bool catching_only_own(const struct inferior *inf, const struct stop *stop)
{
	const struct catching *c = &inf->catching;

	return is_syscall(stop) && c->client_count >= 0 &&
	       !has(c->client, (size_t)c->client_count, stop->syscall) &&
	       has(c->own, c->own_count, stop->syscall);
}

void catching_describe(const struct inferior *inf, const struct stop *stop, struct buf *out)
{
	const char *name = catching_name(stop->syscall);

	if (!catching_only_own(inf, stop))
		return;
	buf_puts(out, stop->kind == STOP_SYSCALL_ENTRY ? "entering system call "
						       : "returning from system call ");
	if (name)
		buf_puts(out, name);
	else
		buf_printf(out, "%ld", stop->syscall);
}

void catching_list(const struct inferior *inf, struct buf *out)
{
	const struct catching *c = &inf->catching;

	buf_puts(out, "syscall:");
	for (size_t i = 0; i < c->own_count; i++) {
		const char *name = catching_name(c->own[i]);
		if (name)
			buf_printf(out, " %s", name);
		else
			buf_printf(out, " %ld", c->own[i]);
	}
	buf_puts(out, c->own_count ? "\n" : " none\n");
}
