/*
 * bench.c - stopgo beside other servers and beside a bare ptrace loop, in one run.
 *
 * Every row is measured several times, a slice of each server in turn (A B C, A B C), so that what else the machine does meets all
 * of them alike. Shown are medians; a ratio is the median of the ratios within one turn.
 *
 * Client, server and program share one processor unless --spread is given. Otherwise a stop costs mostly what it costs to wake
 * another processor, several times the work itself, and whether that happens is the scheduler's whim.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rows.h"

enum { PEERS = 6, TURNS_MAX = 32 };
enum { BARE, STOPGO };

static struct peer peers[PEERS] = {
	[BARE] = { .name = "bare", .kind = PEER_BARE },
	[STOPGO] = { .name = "stopgo", .kind = PEER_STOPGO },
	{ .name = "gdbserver13", .kind = PEER_GDBSERVER },
	{ .name = "gdbserver18", .kind = PEER_GDBSERVER },
	{ .name = "lldb-server", .kind = PEER_LLDB },
	{ .name = "delve", .kind = PEER_DELVE },
};

static struct {
	bool lengthy, smoke, spread;
	char *only[ROW_COUNT];
	size_t only_count;
	const char *debuggee;
	const char *go_debuggee; /* Delve's */
	const char *go_program;  /* NULL: there is none */
	double slice;
	int turns;
} opt = { .slice = 0.1, .turns = 5 };

static double values[ROW_COUNT][PEERS][TURNS_MAX]; /* NAN: none */
static int turn;
static unsigned failures;

/* --- what was measured --- */

static void forget_all(void)
{
	for (size_t r = 0; r < ROW_COUNT; r++)
		for (size_t p = 0; p < PEERS; p++)
			for (size_t t = 0; t < TURNS_MAX; t++)
				values[r][p][t] = NAN;
}

void note(const struct link *l, enum row row, double value)
{
	values[row][l->peer - peers][turn] = value;
}

bool wanted(enum row row)
{
	for (size_t i = 0; i < opt.only_count; i++)
		if (strstr(rows[row].name, opt.only[i]))
			return true;
	return !opt.only_count;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;
	return (x > y) - (x < y);
}

/* Of what is a number; NAN when nothing is. */
static double median(const double *from, size_t count)
{
	double sorted[TURNS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		if (!isnan(from[i]))
			sorted[n++] = from[i];
	if (!n)
		return NAN;
	qsort(sorted, n, sizeof(*sorted), by_size);
	return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* How many times as much the peer needs as stopgo does. */
static double ratio(enum row row, size_t peer)
{
	double each[TURNS_MAX];
	for (size_t t = 0; t < TURNS_MAX; t++)
		each[t] = values[row][peer][t] / values[row][STOPGO][t];
	return median(each, TURNS_MAX);
}

/* --- measuring --- */

static void complain(const struct link *l, const char *what, int e)
{
	fprintf(stderr, "bench: %s: %s: %s\n", l->peer->name, what, strerror(-e));
	failures += l->peer->kind == PEER_STOPGO || l->peer->kind == PEER_BARE;
}

static void open_all(struct link links[PEERS], size_t idlers, size_t hitters)
{
	for (size_t p = 0; p < PEERS; p++) {
		struct link *l = &links[p];
		const char *debuggee = peers[p].kind == PEER_DELVE ? opt.go_debuggee : opt.debuggee;
		if (!peers[p].path || !debuggee) {
			*l = (struct link){ .peer = &peers[p], .rsp.fd = -1, .error = -ENOENT };
			continue;
		}
		int e = link_open(l, &peers[p], debuggee, idlers, hitters);
		if (e == 0)
			e = l->error = link_attach(l);
		if (e < 0)
			complain(l, "attach", e);
	}
}

static void measure_in_turn(struct link links[PEERS], enum row row, double slice)
{
	for (size_t p = 0; p < PEERS; p++) {
		struct link *l = &links[p];
		if (l->error)
			continue;
		int e = measure(l, row, slice);
		if (e < 0 && e != -EOPNOTSUPP) {
			complain(l, rows[row].name, e);
			l->error = e;
		}
	}
}

static void run_group(const enum row *list, size_t count, size_t idlers, size_t hitters)
{
	struct link links[PEERS];
	bool any = false;

	for (size_t i = 0; i < count; i++)
		any |= wanted(list[i]);
	if (!any)
		return;
	open_all(links, idlers, hitters);
	for (turn = 0; turn < opt.turns; turn++)
		for (size_t i = 0; i < count; i++)
			if (wanted(list[i]))
				measure_in_turn(links, list[i], opt.slice);
	for (size_t p = 0; p < PEERS; p++)
		link_close(&links[p]);
}

static void run_many(enum row first, size_t threads)
{
	bool any = false;

	for (enum row r = first; r <= first + (ROW_RSS_1000 - ROW_ATTACH_1000); r++)
		any |= wanted(r);
	for (turn = 0; any && turn < opt.turns; turn++) {
		for (size_t p = 0; p < PEERS; p++) {
			struct link l;
			if (!peers[p].path || peers[p].kind == PEER_DELVE)
				continue;
			int e = link_open(&l, &peers[p], opt.debuggee, threads - 1, 0);
			if (e == 0)
				e = measure_many(&l, first, opt.slice);
			if (e < 0)
				complain(&l, rows[first].name, e);
			link_close(&l);
		}
	}
}

/* From the server's start until its client has been told where the program stands. */
static void start_and_ask(const struct peer *peer, char *const argv[])
{
	struct link l;
	double begin = now();
	int e = link_launch(&l, peer, argv);

	if (e == 0)
		e = rsp_send(&l.rsp, "?", 1);
	if (e == 0)
		e = link_stopped(&l, NULL);
	if (e == 0) {
		note(&l, ROW_START_GO, now() - begin);
		note(&l, ROW_RSS_GO, (double)link_rss(&l));
	} else {
		complain(&l, rows[ROW_START_GO].name, e);
	}
	link_close(&l);
}

/* Each twice, and the second counts: the first finds in the caches what another server has left there, which favours those behind it. */
static void run_start(void)
{
	char *argv[] = { (char *)opt.go_program, "version", NULL };

	for (turn = 0; opt.go_program && wanted(ROW_START_GO) && turn < opt.turns; turn++) {
		for (size_t p = 0; p < PEERS; p++) {
			if (!peers[p].path || peers[p].kind == PEER_DELVE)
				continue;
			start_and_ask(&peers[p], argv);
			start_and_ask(&peers[p], argv);
		}
	}
}

/* --- showing --- */

static void put_value(enum unit unit, double v)
{
	char text[32];

	if (isnan(v)) {
		printf(" %12s", "-");
		return;
	}
	switch (unit) {
	case UNIT_RATE: snprintf(text, sizeof(text), v > 1e-2 ? "%.1f/s" : "%.0f/s", 1 / v); break;
	case UNIT_TIME: snprintf(text, sizeof(text), "%.2f ms", v * 1e3); break;
	case UNIT_MB: snprintf(text, sizeof(text), "%.0f MB/s", 1 / v); break;
	case UNIT_SIZE: snprintf(text, sizeof(text), "%.1f MB", v / 1024); break;
	}
	printf(" %12s", text);
}

static void put_ratio(double v)
{
	if (isnan(v))
		printf(" %11s", "-");
	else
		printf(" %10.*fx", v < 10 ? 2 : v < 100 ? 1 : 0, v);
}

static void show(void)
{
	printf("%-34s", "");
	for (size_t p = 0; p < PEERS; p++)
		printf(" %12s", peers[p].name);
	for (size_t p = 0; p < PEERS; p++)
		if (p != STOPGO)
			printf(" %11s", peers[p].name);
	printf("\n%-34s %*s  what it needs, in units of what stopgo needs\n", "", 13 * PEERS - 1,
	       "");
	for (enum row r = 0; r < ROW_COUNT; r++) {
		if (isnan(median(values[r][STOPGO], TURNS_MAX)) &&
		    isnan(median(values[r][BARE], TURNS_MAX)))
			continue;
		printf("%-34s", rows[r].name);
		for (size_t p = 0; p < PEERS; p++)
			put_value(rows[r].unit, median(values[r][p], TURNS_MAX));
		for (size_t p = 0; p < PEERS; p++)
			if (p != STOPGO)
				put_ratio(ratio(r, p));
		printf("\n");
	}
}

/* Every row that should have a number has one. */
static void check(void)
{
	for (enum row r = 0; r < ROW_COUNT; r++) {
		bool optional = r == ROW_JSON_1000 || r >= ROW_ATTACH_5000;
		if (!optional && wanted(r) && isnan(median(values[r][STOPGO], TURNS_MAX))) {
			fprintf(stderr, "bench: no number for '%s'\n", rows[r].name);
			failures++;
		}
	}
}

/* --- command line --- */

static void usage(FILE *to)
{
	fprintf(to, "usage: bench [OPTIONS] --debuggee PATH --bare PATH --stopgo PATH\n"
		    "  --gdbserver13, --gdbserver18, --lldb-server, --delve PATH        what else "
		    "is there\n"
		    "  --go-program, --go-debuggee PATH                                 a large "
		    "one, and Delve's\n"
		    "  --rows TEXT[,TEXT...]   only rows whose name contains one of these\n"
		    "  --long                  more and longer turns, and 5,000 threads\n"
		    "  --smoke                 does every row work? The figures say nothing\n"
		    "  --slice MS --turns N    how long each row is measured at a time, and how "
		    "often\n");
}

static void only_rows(char *list)
{
	for (char *word = strtok(list, ","); word && opt.only_count < ROW_COUNT;
	     word = strtok(NULL, ","))
		opt.only[opt.only_count++] = word;
}

static int parse(int argc, char **argv)
{
	enum {
		LONG = 256,
		SMOKE,
		SPREAD,
		ROWS,
		SLICE,
		TURNS,
		DEBUGGEE,
		GO_DEBUGGEE,
		GO,
		HELP,
		PATHS
	};
	static const struct option options[] = {
		{ "long", no_argument, NULL, LONG },
		{ "smoke", no_argument, NULL, SMOKE },
		{ "spread", no_argument, NULL, SPREAD },
		{ "rows", required_argument, NULL, ROWS },
		{ "slice", required_argument, NULL, SLICE },
		{ "turns", required_argument, NULL, TURNS },
		{ "debuggee", required_argument, NULL, DEBUGGEE },
		{ "go-debuggee", required_argument, NULL, GO_DEBUGGEE },
		{ "go-program", required_argument, NULL, GO },
		{ "help", no_argument, NULL, HELP },
		{ "bare", required_argument, NULL, PATHS },
		{ "stopgo", required_argument, NULL, PATHS + 1 },
		{ "gdbserver13", required_argument, NULL, PATHS + 2 },
		{ "gdbserver18", required_argument, NULL, PATHS + 3 },
		{ "lldb-server", required_argument, NULL, PATHS + 4 },
		{ "delve", required_argument, NULL, PATHS + 5 },
		{ 0 },
	};

	for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
		switch (c) {
		case LONG:
			opt.lengthy = true;
			opt.slice = 0.3;
			opt.turns = 11;
			break;
		case SMOKE:
			opt.smoke = true;
			opt.slice = 0.005;
			opt.turns = 1;
			break;
		case SPREAD: opt.spread = true; break;
		case ROWS: only_rows(optarg); break;
		case SLICE: opt.slice = atof(optarg) / 1000; break;
		case TURNS: opt.turns = atoi(optarg); break;
		case DEBUGGEE: opt.debuggee = optarg; break;
		case GO_DEBUGGEE: opt.go_debuggee = optarg; break;
		case GO: opt.go_program = optarg; break;
		case 'h':
		case HELP: usage(stdout); exit(0);
		default:
			if (c < PATHS || c >= PATHS + PEERS)
				return -EINVAL;
			peers[c - PATHS].path = optarg;
		}
	}
	bool sound = opt.slice > 0 && opt.turns > 0 && opt.turns <= TURNS_MAX;
	return optind == argc && sound && opt.debuggee && peers[BARE].path && peers[STOPGO].path
		       ? 0
		       : -EINVAL;
}

/* All that is started from here on inherits it. */
static void stay_on_one_processor(void)
{
	cpu_set_t set;
	int cpu = sched_getcpu();

	CPU_ZERO(&set);
	CPU_SET(cpu < 0 ? 0 : (size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		perror("bench: cannot stay on one processor");
}

int main(int argc, char **argv)
{
	static const enum row one[] = {
		ROW_ROUND_TRIP,  ROW_STEP,         ROW_RANGE,        ROW_HIT,   ROW_FALSE_SUB,
		ROW_FALSE_PUSH,  ROW_FALSE_VECTOR, ROW_FALSE_OFTEN,  ROW_WATCH, ROW_READ_HEX,
		ROW_READ_BINARY, ROW_WRITE_HEX,    ROW_WRITE_BINARY, ROW_RSS,
	};
	static const enum row eight[] = { ROW_HIT_8, ROW_FALSE_8 };
	static const enum row busy[] = { ROW_HIT_BUSY, ROW_FALSE_BUSY, ROW_FALSE_OFTEN_BUSY };
	static const enum row some[] = { ROW_STEP_64, ROW_RANGE_64, ROW_HIT_64, ROW_FALSE_64,
					 ROW_WATCH_64 };
	static const enum row thousand[] = { ROW_STEP_1000, ROW_RANGE_1000, ROW_HIT_1000,
					     ROW_FALSE_1000, ROW_WATCH_1000 };

	if (parse(argc, argv) < 0) {
		usage(stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	setlinebuf(stdout);
	if (!opt.spread)
		stay_on_one_processor();
	forget_all();
	run_group(one, sizeof(one) / sizeof(*one), 0, 1);
	run_group(eight, sizeof(eight) / sizeof(*eight), 0, 8);
	run_group(busy, sizeof(busy) / sizeof(*busy), 0, opt.smoke ? 4 : HITTERS_MAX);
	run_group(some, sizeof(some) / sizeof(*some), opt.smoke ? 4 : 64, 1);
	run_group(thousand, sizeof(thousand) / sizeof(*thousand), opt.smoke ? 8 : 1000, 1);
	run_many(ROW_ATTACH_1000, opt.smoke ? 8 : 1000);
	if (opt.lengthy)
		run_many(ROW_ATTACH_5000, 5000);
	run_start();
	show();
	if (opt.smoke)
		check();
	return failures ? 1 : 0;
}
