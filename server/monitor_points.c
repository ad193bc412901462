#include "server/monitor_points.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/bpoints.h"
#include "server/session.h"
#include "server/tracing.h"

enum { TEXT_MAX = 4 * 1024 * 1024, CONSOLE_RATE = 5000 };

static const char break_usage[] =
	"monitor break FUNC|FILE:LINE|*ADDR [pending] [if EXPR] [hits OP N [each]] [goroutine N]";
static const char watch_usage[] = "monitor watch EXPR|*ADDR [LEN] [write|read|access] [if EXPR] "
				  "[hits OP N [each]] [goroutine N]";
static const char trace_usage[] = "monitor trace FUNC|FILE:LINE [pending] [noargs] [noreturn] [if "
				  "EXPR] [hits OP N [each]] [goroutine N] [rate N] [--log FILE]";
static const char hits_usage[] =
	"monitor hits N OP VALUE [each] | monitor hits N off; OP is one of "
	"== != < <= > >= %";

static bool failed(struct session *s, const struct err *err, int r)
{
	session_printf(s, "%s\n", err_text(err, r));
	session_error(s, 1);
	return true;
}

static struct inferior *inferior(struct session *s)
{
	struct inferior *inf = session_inferior(s);
	if (!inf) {
		session_printf(s, "no process is being debugged\n");
		session_error(s, 1);
	}
	return inf;
}

/* --- words --- */

static char *word(char **rest)
{
	char *at = *rest + strspn(*rest, " \t"), *end;

	if (!*at)
		return NULL;
	if (*at == '"') {
		at++;
		end = at + strcspn(at, "\"");
	} else {
		end = at + strcspn(at, " \t");
	}
	*rest = *end ? end + 1 : end;
	*end = 0;
	return at;
}

static bool number(const char *text, uint64_t *ret)
{
	char *end;

	if (!text || !isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	return !*end && !errno;
}

static bool is_word_at(const char *text, const char *wanted)
{
	size_t n = strlen(wanted);
	return strncmp(text, wanted, n) == 0 && (!text[n] || text[n] == ' ' || text[n] == '\t');
}

/* An expression goes on behind an operator, whatever the next word is called. */
static bool goes_on(const char *begin, const char *end)
{
	while (end > begin && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	return end == begin || strchr("+-*/%&|^<>=!~(,.", end[-1]);
}

static bool is_option(const char *at)
{
	static const struct {
		const char *name;
		char takes; /* what follows: an operator, a number, anything */
	} options[] = { { "hits", 'o' }, { "goroutine", 'n' }, { "thread", 'n' }, { "rate", 'n' },
			{ "noargs", 0 }, { "noreturn", 0 },    { "--log", 0 },    { "each", 0 },
			{ "if", 0 },     { "write", 0 },       { "read", 0 },     { "access", 0 },
			{ "pending", 0 } };
	const char *next;

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (!is_word_at(at, options[i].name))
			continue;
		next = at + strlen(options[i].name);
		next += strspn(next, " \t");
		if (options[i].takes == 'o')
			return *next && strchr("=!<>%", *next);
		return options[i].takes != 'n' || isdigit((unsigned char)*next);
	}
	return false;
}

/* The text up to the next option, quotes respected. */
static char *expression(char **rest)
{
	char *begin = *rest + strspn(*rest, " \t"), *at = begin, quote = 0;

	for (; *at; at++) {
		bool first = at > begin && (at[-1] == ' ' || at[-1] == '\t');
		if (quote && *at == '\\' && at[1])
			at++;
		else if (quote)
			quote = *at == quote ? 0 : quote;
		else if (*at == '"' || *at == '\'')
			quote = *at;
		else if (first && is_option(at) && !goes_on(begin, at))
			break;
	}
	*rest = at;
	if (*at)
		at[-1] = 0;
	while (at > begin && (!at[-1] || at[-1] == ' ' || at[-1] == '\t'))
		*--at = 0;
	return *begin ? begin : NULL;
}

/* --- break, trace --- */

static bool take_rate(char *text, uint64_t *ret)
{
	char *slash = text ? strchr(text, '/') : NULL;

	if (slash && strcmp(slash, "/s") != 0)
		return false;
	if (slash)
		*slash = 0;
	return number(text, ret) && *ret;
}

static bool take_access(const char *name, struct bpoint_want *want)
{
	static const struct {
		const char *name;
		enum point_kind kind;
	} kinds[] = { { "write", POINT_WRITE },
		      { "read", POINT_READ },
		      { "access", POINT_ACCESS } };

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(name, kinds[i].name) != 0)
			continue;
		want->point = kinds[i].kind;
		return true;
	}
	return false;
}

static bool take_option(char *name, char **rest, struct bpoint_want *want,
			struct trace_options *how)
{
	uint64_t n;

	if (!strcmp(name, "if"))
		return !want->condition && (want->condition = expression(rest));
	if (!strcmp(name, "hits")) {
		char *op = word(rest);
		return hit_rule_parse(op, word(rest), &want->rule);
	}
	if (!strcmp(name, "each"))
		return (want->rule.each = want->rule.op != HIT_ANY);
	if (!strcmp(name, "goroutine") || !strcmp(name, "thread")) {
		if (!number(word(rest), &n) || !n || n > INT64_MAX)
			return false;
		want->thread = (int64_t)n;
		return true;
	}
	if (want->kind == BPOINT_WATCH)
		return take_access(name, want);
	if (!strcmp(name, "pending"))
		return (want->pending = true);
	if (!how)
		return false;
	if (!strcmp(name, "args") || !strcmp(name, "return"))
		return true;
	if (!strcmp(name, "noargs"))
		how->arguments = false;
	else if (!strcmp(name, "noreturn"))
		how->returns = false;
	else if (!strcmp(name, "rate"))
		return take_rate(word(rest), &how->rate);
	else if (!strcmp(name, "--log"))
		return (how->log = word(rest));
	else
		return false;
	return true;
}

/* "counter", "*0x404010 4" */
static bool take_watched(char **rest, struct bpoint_want *want)
{
	char *at = *rest + strspn(*rest, " \t");

	*rest = at;
	if (at[0] != '*' || !isdigit((unsigned char)at[1]))
		return (want->spec = expression(rest));
	want->spec = word(rest);
	at = *rest + strspn(*rest, " \t");
	return !isdigit((unsigned char)*at) || number(word(rest), &want->len);
}

static bool take_options(char *rest, struct bpoint_want *want, struct trace_options *how)
{
	char *name;

	if (want->kind != BPOINT_WATCH)
		want->spec = word(&rest);
	else if (!take_watched(&rest, want))
		return false;
	if (!want->spec)
		return false;
	while ((name = word(&rest)))
		if (!take_option(name, &rest, want, how))
			return false;
	return true;
}

static void say_added(struct session *s, const struct bpoint *b)
{
	enum { SHOWN = 8 };

	if (b->waits)
		session_printf(s, "Breakpoint %u waits: %s\n", b->number, b->why ? b->why : "");
	for (size_t i = 0; i < MIN(b->places.count, (size_t)SHOWN); i++)
		session_printf(s, "%s %u at 0x%llx: %s\n",
			       b->kind == BPOINT_TRACE   ? "Trace"
			       : b->kind == BPOINT_WATCH ? "Watchpoint"
							 : "Breakpoint",
			       b->number, (unsigned long long)b->places.at[i].addr,
			       b->places.at[i].text);
	if (b->places.count > SHOWN)
		session_printf(s, "... and %zu more places\n", b->places.count - SHOWN);
	if (b->left_out)
		session_printf(s, "not at %zu place%s where the condition has no meaning: %s\n",
			       b->left_out, b->left_out == 1 ? "" : "s", b->why ? b->why : "");
}

static void add(struct session *s, struct inferior *inf, const struct bpoint_want *want)
{
	struct bpoint *b;
	struct err err = { 0 };
	int r = bpoints_add(inf, want, &b, &err);

	if (r < 0)
		failed(s, &err, r);
	else
		say_added(s, b);
}

bool monitor_break(struct session *s, char *rest)
{
	struct bpoint_want want = { .kind = BPOINT_BREAK };
	struct inferior *inf = inferior(s);

	if (inf && !take_options(rest, &want, NULL))
		return session_usage(s, break_usage);
	if (inf)
		add(s, inf, &want);
	return true;
}

bool monitor_watch(struct session *s, char *rest)
{
	struct bpoint_want want = { .kind = BPOINT_WATCH, .point = POINT_WRITE };
	struct inferior *inf = inferior(s), *of;
	int64_t id;

	if (!inf)
		return true;
	if (!take_options(rest, &want, NULL))
		return session_usage(s, watch_usage);
	if (session_thread(s, &of, &id) && of == inf)
		want.tid = threadview_tid_of(inf->view, id);
	if (!want.tid)
		(void)inf->target->ops->next_thread(inf->target, 0, &want.tid);
	add(s, inf, &want);
	return true;
}

/* Returns are those of a function. */
static bool is_function(const char *spec)
{
	const char *colon = strrchr(spec, ':');
	return *spec != '*' && !(colon && isdigit((unsigned char)colon[1]));
}

bool monitor_trace(struct session *s, char *rest)
{
	struct trace_options how = { .arguments = true, .returns = true };
	struct bpoint_want want = { .kind = BPOINT_TRACE };
	struct inferior *inf = inferior(s);
	struct err err = { 0 };

	if (!inf)
		return true;
	if (!take_options(rest, &want, &how))
		return session_usage(s, trace_usage);
	how.returns &= is_function(want.spec);
	if (!how.rate && !how.log)
		how.rate = CONSOLE_RATE;
	want.trace = tracepoint_new(&how, &err);
	if (!want.trace)
		return failed(s, &err, -ENOMEM);
	add(s, inf, &want);
	if (s->non_stop && !how.log)
		session_printf(
			s,
			"in non-stop the console takes no text by itself: 'monitor traced' shows "
			"the lines\n");
	return true;
}

bool monitor_traced(struct session *s, char *rest)
{
	if (word(&rest))
		return session_usage(s, "monitor traced");
	session_tell_kept(s);
	return true;
}

/* --- what there is --- */

bool monitor_breakpoints(struct session *s, char *rest)
{
	struct inferior *inf = inferior(s);
	_cleanup_buf_ struct buf b = { 0 };

	buf_init(&b, TEXT_MAX);
	if (word(&rest))
		return session_usage(s, "monitor breakpoints");
	if (!inf)
		return true;
	bpoints_list(inf, &b);
	session_console(s, (const char *)b.data, b.len);
	return true;
}

static struct bpoint *by_number(struct session *s, struct inferior *inf, const char *text)
{
	uint64_t n;
	struct bpoint *b = number(text, &n) && n <= UINT32_MAX
				   ? bpoints_find(&inf->points, (unsigned)n)
				   : NULL;
	if (!b) {
		session_printf(s, "there is no breakpoint %s; 'monitor breakpoints' lists them\n",
			       text);
		session_error(s, 1);
	}
	return b;
}

static void delete_all(struct session *s, struct inferior *inf)
{
	size_t n = 0;

	for (size_t i = inf->points.count; i-- > 0;) {
		if (inf->points.at[i]->kind == BPOINT_CLIENT)
			continue;
		bpoints_delete(inf, inf->points.at[i]);
		n++;
	}
	session_printf(s, "%zu breakpoint%s deleted\n", n, n == 1 ? "" : "s");
}

bool monitor_delete(struct session *s, char *rest)
{
	const char *which = word(&rest);
	struct inferior *inf = which && !word(&rest) ? inferior(s) : NULL;
	struct bpoint *b;

	if (!which || !inf)
		return inf || s->reply.len ? true : session_usage(s, "monitor delete N|all");
	if (!strcmp(which, "all")) {
		delete_all(s, inf);
		return true;
	}
	b = by_number(s, inf, which);
	if (!b)
		return true;
	if (b->kind == BPOINT_CLIENT) {
		session_printf(s, "breakpoint %s is the client's own: delete it there\n", which);
		session_error(s, 1);
		return true;
	}
	bpoints_delete(inf, b);
	session_printf(s, "breakpoint %s deleted\n", which);
	return true;
}

bool monitor_hits(struct session *s, char *rest)
{
	const char *which = word(&rest), *op = word(&rest), *value = word(&rest),
		   *each = word(&rest);
	struct inferior *inf;
	struct hit_rule rule = { 0 };
	struct bpoint *b;

	bool off = op && !value && !strcmp(op, "off");
	if (!off && !hit_rule_parse(op, value, &rule))
		return session_usage(s, hits_usage);
	rule.each = each && !strcmp(each, "each");
	if (each && !rule.each)
		return session_usage(s, hits_usage);
	inf = inferior(s);
	b = inf ? by_number(s, inf, which) : NULL;
	if (!b)
		return true;
	b->rule = rule;
	if (off)
		session_printf(s, "breakpoint %u stops at every hit\n", b->number);
	else
		session_printf(
			s,
			"breakpoint %u stops when its hits%s are %s %llu; so far there are %llu\n",
			b->number, rule.each ? " of one goroutine" : "", op,
			(unsigned long long)rule.value, (unsigned long long)b->hits.total);
	return true;
}
