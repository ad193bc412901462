/*
 * wait_fuzz.c - wait statuses and siginfos, whatever the kernel may come up with: each is one kind of news, and only the kinds that
 * have a signal or a status say one.
 */
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>

#include "base/util.h"
#include "target/live/wait.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool what)
{
	if (!what)
		__builtin_trap();
}

static bool stops(enum news_kind kind)
{
	return kind != NEWS_EXITED && kind != NEWS_KILLED && kind != NEWS_CONTINUED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	siginfo_t si = { 0 };
	int status;

	if (size < sizeof(status))
		return 0;
	memcpy(&status, data, sizeof(status));
	memcpy(&si, data + sizeof(status), MIN(size - sizeof(status), sizeof(si)));
	struct news bare = wait_classify(status, NULL), news = wait_classify(status, &si);

	check(news.kind <= NEWS_CONTINUED);
	check(stops(news.kind) == WIFSTOPPED(status));
	/* The siginfo matters for a SIGTRAP alone. */
	check(wait_needs_siginfo(status) || (bare.kind == news.kind && bare.value == news.value));
	check(!wait_needs_siginfo(status) || WSTOPSIG(status) == SIGTRAP);
	check(news.kind != NEWS_EXITED || news.value == WEXITSTATUS(status));
	check(news.kind != NEWS_KILLED || news.value == WTERMSIG(status));
	check(news.kind != NEWS_SIGNAL || news.value == WSTOPSIG(status));
	return 0;
}
