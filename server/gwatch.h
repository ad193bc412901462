/*
 * gwatch.h - points that the client sets at window addresses (window.h), on a goroutine's stack.
 *
 * A debug register watches where the variable is now. When Go is about to move the stack of a goroutine that has one, the
 * watchpoint is lifted - copying the stack is no access of the program's - and set where the variable has come to lie.
 *
 * Hits are at real addresses; gwatch_shown() says what the client calls them.
 */
#ifndef STOPGO_GWATCH_H
#define STOPGO_GWATCH_H

#include "target/target.h"

struct inferior;

struct gwatch {
	enum point_kind kind;
	uint64_t shown, len;
	bool only_changes;
	int64_t id;
	uint64_t g;
	uint64_t real; /* 0: lifted, or its stack is gone */
};

/* Of one inferior. */
struct gwatches {
	struct gwatch *at;
	size_t count, room;
	pid_t moving; /* the OS thread that moves a stack; 0: none */
};

/* As the target's insert() and remove(), for addresses of the process, too. */
int gwatch_insert(struct inferior *inf, struct point *p, struct err *err);
int gwatch_remove(struct inferior *inf, const struct point *p);
/* The client's address of a watched place. */
uint64_t gwatch_shown(const struct inferior *inf, uint64_t addr);

/* This OS thread stands before runtime.copystack(g), or behind it; true: this was about a goroutine with watchpoints. */
bool gwatch_moves(struct inferior *inf, pid_t tid, const struct user_regs_struct *gp);
bool gwatch_moved(struct inferior *inf, pid_t tid, const struct user_regs_struct *gp);

/* The target's points are gone. */
void gwatch_forget(struct gwatches *w);

#endif
