/*
 * values.h - values of the debuggee as a person reads them: by type, short, whatever they are.
 *
 * A value's places are compiled once and read at each hit, in the thread that hit. Text, elements and members are cut at limits, what
 * cannot be read is shown as `?`.
 */
#ifndef STOPGO_VALUES_H
#define STOPGO_VALUES_H

#include "dwarf/debuginfo.h"
#include "target/target.h"

struct ax;
struct go_model;

enum { VALUES_BYTES_MAX = 256, VALUES_TEXT_MAX = 64, VALUES_PARTS_MAX = 8 };

/* A variable whose places can be read. */
struct value_of {
	const char *name;
	struct di_type type;
	bool result;
	size_t count;
	struct {
		enum di_where where;
		uint64_t offset, size;
		struct ax *ax;
	} pieces[DI_PIECES_MAX];
};

void value_of_fini(struct value_of *v);
/* A place that cannot be compiled is none. */
void value_of_init(struct value_of *v, const struct di_var *var);

/* One stopped thread, for as long as it is stopped. */
struct value_thread {
	struct target *target;
	pid_t tid;
	struct mem mem;
	struct go_model *go; /* NULL: no interfaces are looked into */
	struct user_regs_struct gp;
	bool has_xstate;
	struct xstate xstate;
};

int value_thread_init(struct value_thread *t, struct target *target, pid_t tid);
/* The bytecode's value in that thread. */
int value_eval(struct value_thread *t, const struct ax *ax, uint64_t *ret);
void value_put(struct value_thread *t, const struct value_of *v, struct buf *out);

#endif
