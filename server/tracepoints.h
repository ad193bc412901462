/*
 * tracepoints.h - gdb's trace experiments: tracepoints, trace state variables, and the run that collects.
 *
 * A hit concerns one thread, which goes on as soon as its data is in the buffer (traceframes.h): the tracer tells it as the hit of a
 * numbered point (target.h), TRACEPOINTS_NUMBER, whichever and however many tracepoints are at the address. With while-stepping the thread
 * goes on by single steps, each of which is collected; nobody sees them. tracecollect.c does all that; here are what was defined
 * and the run itself.
 *
 * A run ends by QTStop, a full buffer, a pass count, an expression that fails, the end of the process or its client, unless tracing goes on
 * without one (QTDisconnected). That it has ended may be found at a hit, when no breakpoint can be taken out: tracepoints_settle() does so
 * afterwards. What was collected stays until the next QTinit.
 *
 * Owner:  struct inferiors has one struct tracepoints, made at the first packet that needs it. The run is of one process.
 * Limits: TRACEPOINTS_MAX of each thing a client defines, TRACEPOINTS_TEXT_MAX bytes of it in all, TRACEPOINTS_BUFFER_MAX collected.
 * Source: Debugging with GDB, "Tracepoint Packets".
 */
#ifndef STOPGO_TRACEPOINTS_H
#define STOPGO_TRACEPOINTS_H

#include "server/regmap.h"
#include "server/traceframes.h"
#include "target/ax.h"
#include "target/target.h"

struct inferior;
struct inferiors;

enum {
	TRACEPOINTS_MAX = 4096,
	TRACEPOINTS_TEXT_MAX = 16 * 1024 * 1024,
	TRACEPOINTS_BUFFER_DEFAULT = 5 * 1024 * 1024,
	TRACEPOINTS_BUFFER_MAX = 1024 * 1024 * 1024,
	TRACEPOINTS_STEPPERS_MAX = 65536,
	TRACEPOINTS_NOTE_MAX = 4096,
};

/* The number of every point at the target that is a tracepoint; breakpoints by number never come so far (bpoints.h). */
static const unsigned TRACEPOINTS_NUMBER = 0x80000000;

enum trace_action_kind { TRACE_REGISTERS, TRACE_MEMORY, TRACE_EXPRESSION };

struct trace_action {
	enum trace_action_kind kind;
	bool stepping; /* after each of the steps, not at the hit */
	int base;      /* TRACE_MEMORY: the register that addr is added to; -1: none */
	uint64_t addr, len;
	struct ax *ax;
	char *text; /* as it was sent */
};

/* What a person typed: "at", "cond", "cmd". */
struct trace_source {
	char *kind, *text;
};

struct trace_point {
	unsigned number;
	uint64_t addr;
	bool enabled;
	bool in; /* at the target */
	uint64_t steps, passes;
	struct ax *condition;
	char *condition_text; /* "LEN,HEX"; NULL: none */
	struct trace_action *actions;
	size_t action_count;
	struct trace_source *sources;
	size_t source_count;
	uint64_t hits, usage;
};

struct trace_variable {
	unsigned number;
	char *name;
	bool builtin;
	uint64_t initial, value;
};

/* Goes on with the steps of a tracepoint it has hit. */
struct trace_stepper {
	pid_t tid;
	unsigned number; /* of the tracepoint */
	uint64_t addr;
	uint64_t done;
};

struct trace_range {
	uint64_t start, end;
};

enum trace_end {
	TRACE_NOT_RUN,
	TRACE_STOPPED,
	TRACE_FULL,
	TRACE_PASSED,
	TRACE_FAILED,
	TRACE_DISCONNECTED,
};

struct tracepoints {
	struct trace_point **points; /* in the order they were defined */
	size_t count;
	struct trace_variable *variables;
	size_t variable_count;
	struct trace_range *read_only; /* whose memory is the same in every frame */
	size_t read_only_count;
	size_t text; /* bytes of definitions */

	struct inferior *inf; /* whose run it is; NULL: gone, or not begun */
	struct regmap regs;   /* how registers are laid out in frames */
	bool running;
	bool out_due; /* the run has ended, its points are still at the target */
	bool disconnected;
	uint64_t started_us, stopped_us;
	enum trace_end end;
	unsigned end_number; /* of the tracepoint that ended it; 0: none did */
	char *end_text;      /* TRACE_FAILED: why */
	char *user, *notes, *stop_notes;
	struct traceframes frames;
	struct trace_stepper *steppers;
	size_t stepper_count, stepper_room;
};

/* The one there is, else a new one; NULL: no memory. */
struct tracepoints *tracepoints_get(struct inferiors *all);
void tracepoints_free(struct tracepoints *t);

/* Everything but variables, size, circular and notes is as at first. */
void tracepoints_init(struct tracepoints *t);
/* Both take what they are given, on failure too. */
int tracepoints_define(struct tracepoints *t, const struct trace_point *what, struct err *err);
int tracepoints_define_variable(struct tracepoints *t, const struct trace_variable *what,
				struct err *err);
/* NULL: there is none. */
struct trace_point *tracepoints_find(const struct tracepoints *t, unsigned number, uint64_t addr);
struct trace_variable *tracepoints_variable(const struct tracepoints *t, unsigned number);
uint64_t tracepoints_variable_value(const struct trace_variable *v);
/* Takes the action over, on failure too. */
int tracepoints_add_action(struct tracepoints *t, struct trace_point *p,
			   const struct trace_action *a, struct err *err);
/* text goes to the end of the last source of this kind if it goes on, else it is a new one. */
int tracepoints_add_source(struct tracepoints *t, struct trace_point *p, const char *kind,
			   const char *text, bool goes_on, struct err *err);
int tracepoints_add_read_only(struct tracepoints *t, struct trace_range range, struct err *err);
/* NULL: not to be set. Replaces *text. */
int tracepoints_set_text(char **text, const char *to, struct err *err);
/* size 0: the default. -EBUSY while the experiment runs. */
int tracepoints_set_size(struct tracepoints *t, uint64_t size, struct err *err);
void tracepoints_set_circular(struct tracepoints *t, bool circular);

int tracepoints_start(struct tracepoints *t, struct inferior *inf, const struct regmap *regs,
		      struct err *err);
/* Nothing happens when it does not run. number, text: of TRACE_PASSED and TRACE_FAILED. */
void tracepoints_end(struct tracepoints *t, enum trace_end how, unsigned number, const char *text);
/* A run that has ended is taken out of the process. Whenever no hit is being dealt with. */
void tracepoints_settle(struct tracepoints *t);
/* While it runs: it is complete, or is to be enabled, and goes into the process. */
int tracepoints_install(struct tracepoints *t, struct trace_point *p, struct err *err);
int tracepoints_enable(struct tracepoints *t, struct trace_point *p, bool enabled, struct err *err);

/* The client is gone and every breakpoint with it: the run ends, or goes on if it was meant to. */
void tracepoints_client_gone(struct inferiors *all);
/* The process is gone, let go of, or another program: its points are, too. */
void tracepoints_process_gone(struct inferior *inf, const char *why);
/* The experiment runs in this process and goes on when there is no client. */
bool tracepoints_outlives_client(const struct inferior *inf);

/* What conditions and commands of breakpoints know of variables. */
void tracepoints_expressions(struct tracepoints *t, struct ax_trace *ret);

/* What the client reads while it looks at frame n: as much of the front as there is. -EFAULT: none. */
int tracepoints_read(const struct tracepoints *t, size_t n, uint64_t addr, void *into, size_t len,
		     size_t *ret_got);
/* One register's bytes. -ENODATA: not collected. */
int tracepoints_register(const struct tracepoints *t, size_t n, const struct tdesc_reg *reg,
			 void *into);
/* The address at which a frame was collected; false: not known. */
bool tracepoints_pc(const struct tracepoints *t, size_t n, uint64_t *ret);

/* --- tracecollect.c --- */

/* For struct tracer. */
void tracepoints_hit(struct inferior *inf, const struct point_hit *h);
bool tracepoints_stepped(void *ctx, struct target *target, pid_t tid);
void tracepoints_stepper_gone(void *ctx, struct target *target, pid_t tid);
/* ... when there is no session: other hits are events. */
enum hit_answer tracepoints_hit_alone(void *ctx, const struct point_hit *h);

#endif
