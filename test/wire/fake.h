/*
 * fake.h - a tracer without processes: what a session does to it is written down, what happens in it is said by the test.
 *
 * Processes are numbers; the first thread of process N is thread N. Registers: rax = tid, rbx = tid << 8, rsp = 0x18000, rbp = 0x18010,
 * rip = 0x11000. Memory: 0x10000 to 0x30000, each byte the low byte of its address, with program headers, a dynamic section and a
 * list of two shared objects in it; everything else cannot be read. Bytes above 0x2f000 cannot be written.
 *
 * The seams: fake.c defines the functions of conn.h and server.h that a session calls, so that those files are not linked.
 */
#ifndef STOPGO_TEST_FAKE_H
#define STOPGO_TEST_FAKE_H

#include "server/conn.h"
#include "server/inferior.h"
#include "server/server.h"
#include "server/session.h"

struct fake {
	struct tracer base; /* first */
	struct fake_process *first;
	struct tracer_events events;
	struct buf did; /* what was done to it: "resume 1 cont; commit; " */
	/* What the session sent: one body a line, notifications with '%' in front */
	struct buf out;
	struct server server;
	struct inferiors inferiors;
	pid_t next_pid;
	bool refuse;   /* launch, attach and insert fail */
	bool nobody;   /* the last commit started nobody: the next event says so */
	bool deaf;     /* an interrupt has no effect: something else comes first */
	bool ended;    /* server_end() or conn_flush_close() was called */
	size_t unread; /* conn_unread() */
	unsigned gone; /* how often server_inferior_gone() was */
};

struct fake *fake_new(void);
void fake_free(struct fake *f);

/* A stopped process that is an inferior already. NULL: the number is taken. */
struct target *fake_process(struct fake *f, pid_t pid, bool launched);
/* One more thread, stopped. False: there is no such process or the number is taken. */
bool fake_thread(struct fake *f, pid_t pid, pid_t tid);
/* It happens when the thread runs next, or now if it does; the exit kinds name the process. False: there is no such thread. */
bool fake_event(struct fake *f, pid_t tid, const struct stop *stop);
/* A thread comes to a tracepoint, or is past one more instruction behind one; others run. False: there is no such thread. */
bool fake_traced(struct fake *f, pid_t tid, uint64_t addr);
bool fake_stepped(struct fake *f, pid_t tid);
/* What the program does: the thread is no more, without an event. */
void fake_thread_ends(struct fake *f, pid_t tid);

#endif
