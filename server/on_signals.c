#include "server/handlers.h"
#include "protocol/signals.h"

#include <string.h>

enum { SYSCALLS_MAX = 4096, SYSCALL_NUMBER_MAX = 0xffff };

/* sigaddset() refuses the two signals the C library uses itself; the program being debugged uses them as well. */
static void add_signal(sigset_t *set, int signo)
{
	uint64_t bits;

	memcpy(&bits, set, sizeof(bits));
	bits |= UINT64_C(1) << (signo - 1);
	memcpy(set, &bits, sizeof(bits));
}

/*
 * "e;10;14"; numbers without a Linux signal are passed over, and those that no stop is told with: GDB has two numbers for 29, SIGIO
 * and SIGPOLL, and what its user says of the second is not said of the first.
 */
static bool take_set(struct session *s, struct args *a, sigset_t *ret)
{
	sigemptyset(ret);
	args_skip(a, ':');
	while (args_left(a) && args_peek(a) != ' ') {
		int number = (int)args_hex_max(a, 0xffff);
		int signo = stop_reply_linux_signal(number, &s->dialect);
		if (signo > 0 && stop_reply_signal(signals_to_gdb(signo), &s->dialect) == number)
			add_signal(ret, signo);
		if (args_left(a) && args_peek(a) != ' ')
			args_skip(a, ';');
	}
	return args_ok(a);
}

void on_pass_signals(struct session *s, struct args *a)
{
	sigset_t set;

	if (!take_set(s, a, &set))
		return;
	s->pass = set;
	if (!sigisemptyset(&set))
		s->sigurg_asked = !sigismember(&set, SIGURG);
	session_update_signals(s);
	reply_ok(&s->reply);
}

void on_program_signals(struct session *s, struct args *a)
{
	sigset_t set;

	if (!take_set(s, a, &set))
		return;
	s->tracer->ops->set_program_signals(s->tracer, &set);
	reply_ok(&s->reply);
}

void on_catch_syscalls(struct session *s, struct args *a)
{
	struct inferior *inf = session_inferior(s);
	long *numbers = (long *)(void *)buf_reserve(&s->scratch, SYSCALLS_MAX * sizeof(*numbers));
	ssize_t count = 0;

	args_skip(a, ':');
	bool on = args_hex_max(a, 1) == 1;
	while (numbers && args_accept(a, ';') && count < SYSCALLS_MAX)
		numbers[count++] = (long)args_hex_max(a, SYSCALL_NUMBER_MAX);
	if (!numbers || !args_done(a) || (!on && count)) {
		args_fail(a);
		return;
	}
	if (on && !count)
		count = -1;
	if (catching_client(inf, numbers, count) < 0) {
		session_error(s, 1);
		return;
	}
	reply_ok(&s->reply);
}
