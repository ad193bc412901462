#include "server/launching.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void free_list(char **list)
{
	for (char **p = list; p && *p; p++)
		free(*p);
	free(list);
}

static size_t count_list(char *const *list)
{
	size_t n = 0;
	while (list && list[n])
		n++;
	return n;
}

/* NULL without memory; room for one more entry than it has. */
static char **copy_list(char *const *list)
{
	size_t n = count_list(list);
	char **copy = calloc(n + 2, sizeof(*copy));
	if (!copy)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		copy[i] = strdup(list[i]);
		if (!copy[i]) {
			free_list(copy);
			return NULL;
		}
	}
	return copy;
}

static int replace_list(char ***to, char *const *list)
{
	char **copy = NULL;
	if (list) {
		copy = copy_list(list);
		if (!copy)
			return -ENOMEM;
	}
	free_list(*to);
	*to = copy;
	return 0;
}

static int replace_text(char **to, const char *text)
{
	char *copy = NULL;
	if (text) {
		copy = strdup(text);
		if (!copy)
			return -ENOMEM;
	}
	free(*to);
	*to = copy;
	return 0;
}

void launching_init(struct launching *l)
{
	*l = (struct launching){ .shell = true, .stdio_fd = { -1, -1, -1 } };
}

void launching_fini(struct launching *l)
{
	free_list(l->argv);
	free_list(l->envp);
	free_list(l->wrapper);
	free(l->cwd);
	for (size_t i = 0; i < ARRAY_SIZE(l->stdio); i++)
		free(l->stdio[i]);
	launching_init(l);
}

/* A bare name is looked for in PATH, but a file of that name here comes first, as with gdbserver. NULL: no memory. */
static char *place_of(const char *name)
{
	struct stat st;

	if (!name[0] || strchr(name, '/') || stat(name, &st) < 0 || !S_ISREG(st.st_mode))
		return strdup(name);
	/* Links stay: many a program looks at the name it was started by. */
	_cleanup_free_ char *here = get_current_dir_name();
	char *place = NULL;
	return here && asprintf(&place, "%s/%s", here, name) >= 0 ? place : NULL;
}

int launching_set_program(struct launching *l, char *const *argv)
{
	int r = replace_list(&l->argv, argv);
	if (r < 0 || !l->argv || !l->argv[0])
		return r;

	char *place = place_of(l->argv[0]);
	if (!place)
		return -ENOMEM;
	free(l->argv[0]);
	l->argv[0] = place;
	return 0;
}

int launching_set_wrapper(struct launching *l, char *const *argv)
{
	return replace_list(&l->wrapper, argv);
}

int launching_set_cwd(struct launching *l, const char *cwd)
{
	return replace_text(&l->cwd, cwd);
}

int launching_set_stdio(struct launching *l, int which, const char *path)
{
	return replace_text(&l->stdio[which], path);
}

static char **find_env(char **envp, const char *name, size_t name_len)
{
	for (char **p = envp; p && *p; p++)
		if (!strncmp(*p, name, name_len) && (*p)[name_len] == '=')
			return p;
	return NULL;
}

static void remove_env(char **at)
{
	free(*at);
	for (; *at; at++)
		at[0] = at[1];
}

static char *join_env(const char *name, size_t name_len, const char *value)
{
	size_t value_len = strlen(value);
	char *text = malloc(name_len + value_len + 2);
	if (!text)
		return NULL;
	memcpy(text, name, name_len);
	text[name_len] = '=';
	memcpy(text + name_len + 1, value, value_len + 1);
	return text;
}

static int put_env(struct launching *l, const char *name, size_t name_len, const char *value)
{
	char *text = join_env(name, name_len, value);
	if (!text)
		return -ENOMEM;

	char **at = find_env(l->envp, name, name_len);
	if (at) {
		free(*at);
		*at = text;
		return 0;
	}
	size_t n = count_list(l->envp);
	char **more = realloc(l->envp, (n + 2) * sizeof(*more));
	if (!more) {
		free(text);
		return -ENOMEM;
	}
	more[n] = text;
	more[n + 1] = NULL;
	l->envp = more;
	return 0;
}

int launching_set_env(struct launching *l, const char *name, size_t name_len, const char *value)
{
	if (!name_len || memchr(name, '=', name_len) || memchr(name, 0, name_len))
		return -EINVAL;
	if (!l->envp) {
		l->envp = copy_list(environ);
		if (!l->envp)
			return -ENOMEM;
	}
	if (value)
		return put_env(l, name, name_len, value);

	char **at = find_env(l->envp, name, name_len);
	if (at)
		remove_env(at);
	return 0;
}

void launching_reset_env(struct launching *l)
{
	free_list(l->envp);
	l->envp = NULL;
}

int launching_clear_env(struct launching *l)
{
	char **empty = calloc(1, sizeof(*empty));
	if (!empty)
		return -ENOMEM;
	free_list(l->envp);
	l->envp = empty;
	return 0;
}

void launching_fill(const struct launching *l, struct launch *ret)
{
	*ret = (struct launch){
		.argv = l->argv,
		.envp = l->envp,
		.wrapper = l->wrapper,
		.cwd = l->cwd,
		.stdio = { l->stdio[0], l->stdio[1], l->stdio[2] },
		.stdio_fd = { l->stdio_fd[0], l->stdio_fd[1], l->stdio_fd[2] },
		.shell = l->shell,
		.raw_args = l->raw_args,
		.aslr = l->aslr,
	};
}
