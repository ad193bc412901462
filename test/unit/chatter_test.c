/* chatter_test.c - what is printed for a client that does not read: kept so far, then dropped and counted. */
#include "../wire/fake.c"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct listener {
	struct fake *fake;
	struct session *session;
};

static void setup(struct listener *l)
{
	l->fake = fake_new();
	l->session = session_new(&l->fake->server, (struct conn *)l->fake);
	assert_non_null(l->session);
	l->session->running = true;
}

static void teardown(struct listener *l)
{
	session_free(l->session);
	fake_free(l->fake);
}

static void trace(struct listener *l, size_t unread)
{
	l->fake->unread = unread;
	session_trace(l->session, "a\n", 2);
}

static void heard(struct listener *l, const char *want)
{
	buf_putc(&l->fake->out, 0);
	assert_string_equal((const char *)l->fake->out.data, want);
	buf_reset(&l->fake->out);
}

/* "(N lines were dropped: the client did not read)" */
#define DROPPED_2                                                                                  \
	"O2832206c696e657320776572652064726f707065643a2074686520636c69656e7420646964206e6f7420726" \
	"56164290a\n"
#define DROPPED_1                                                                                  \
	"O2831206c696e657320776572652064726f707065643a2074686520636c69656e7420646964206e6f7420726" \
	"56164290a\n"

static void what_is_too_much_is_dropped_and_counted(void **state _unused_)
{
	const size_t mega = 1024 * 1024;
	struct listener l;

	setup(&l);
	trace(&l, 0);
	trace(&l, 15 * mega);
	heard(&l, "O610a\nO610a\n");
	trace(&l, 17 * mega);
	/* It has begun to read: not every line that it makes room for is one that is told of. */
	trace(&l, 15 * mega);
	heard(&l, "");
	trace(&l, 1 * mega);
	heard(&l, DROPPED_2 "O610a\n");
	trace(&l, 15 * mega);
	heard(&l, "O610a\n");
	teardown(&l);
}

static void the_stop_tells_of_it(void **state _unused_)
{
	static const struct stop stop = { .kind = STOP_INTERRUPT };
	struct listener l;

	setup(&l);
	assert_non_null(fake_process(l.fake, 7, true));
	session_packet(l.session, (uint8_t[]){ "?" }, 1);
	session_packet(l.session, (uint8_t[]){ "c" }, 1);
	buf_reset(&l.fake->out);
	trace(&l, SIZE_MAX / 2);
	heard(&l, "");
	assert_true(fake_event(l.fake, 7, &stop));
	session_events(l.session);
	buf_putc(&l.fake->out, 0);
	const char *said = (const char *)l.fake->out.data;
	assert_memory_equal(said, DROPPED_1, strlen(DROPPED_1));
	assert_int_equal(said[strlen(DROPPED_1)], 'T');
	teardown(&l);
}

static void output_is_counted_in_bytes(void **state _unused_)
{
	/* "(5 bytes that the program printed were dropped: the client did not read)" */
	static const char said[] =
		"O28352062797465732074686174207468652070726f6772616d207072696e746564207765726520647"
		"26f70706564"
		"3a2074686520636c69656e7420646964206e6f742072656164290a\nO6f75740a\n";
	struct listener l;

	setup(&l);
	l.fake->unread = SIZE_MAX / 2;
	session_output(l.session, "12345", 5);
	heard(&l, "");
	l.fake->unread = 0;
	session_output(l.session, "out\n", 4);
	heard(&l, said);
	teardown(&l);
}

/* In non-stop the client fetches what is printed. */
static void output_that_is_not_fetched_is_counted(void **state _unused_)
{
	enum { PIECE = 1024 * 1024, PIECES = 20 };
	struct listener l;
	char *piece = malloc(PIECE);

	setup(&l);
	l.session->non_stop = true;
	memset(piece, 'x', PIECE);
	for (int i = 0; i < PIECES; i++)
		session_output(l.session, piece, PIECE);
	size_t got = l.fake->out.len / 2;
	for (int i = 0; i < 1000 && !memmem(l.fake->out.data, l.fake->out.len, "O28", 3); i++) {
		buf_reset(&l.fake->out);
		session_packet(l.session, (uint8_t *)(char[]){ "vStdio" }, 6);
		got += l.fake->out.len / 2;
	}
	buf_putc(&l.fake->out, 0);
	assert_memory_equal(l.fake->out.data, "O28343139343330342062797465732074686174", 39);
	assert_in_range(got, 16 * PIECE, 17 * PIECE);
	buf_reset(&l.fake->out);
	session_packet(l.session, (uint8_t *)(char[]){ "vStdio" }, 6);
	heard(&l, "OK\n");
	free(piece);
	teardown(&l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_too_much_is_dropped_and_counted),
		cmocka_unit_test(the_stop_tells_of_it),
		cmocka_unit_test(output_is_counted_in_bytes),
		cmocka_unit_test(output_that_is_not_fetched_is_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
