/*
 * link.h - one server under measurement: started, connected to, its debuggee beside it.
 *
 * link_open() starts a debuggee and a server for it and connects; the debuggee runs until link_attach(). After that it is stopped
 * whenever no function of rows.c is at work, so that links of several servers can be open at once and take turns.
 */
#ifndef STOPGO_BENCH_LINK_H
#define STOPGO_BENCH_LINK_H

#include <stdbool.h>
#include <sys/types.h>

#include "rsp.h"
#include "shared.h"

enum peer_kind { PEER_BARE, PEER_STOPGO, PEER_GDBSERVER, PEER_LLDB, PEER_DELVE };

struct peer {
	const char *name;
	enum peer_kind kind;
	const char *path; /* NULL: not there */
};

struct link {
	const struct peer *peer;
	struct rsp rsp;
	pid_t server, debuggee;
	struct shared *shared;
	size_t hitters;
	size_t packet_size;
	bool prefixed;  /* x answers with a 'b' in front, as gdb has it */
	long at;        /* rows.c: the thread that hit */
	unsigned point; /* Delve's: the number of its breakpoint */
	int error;      /* of a row that failed; the link is of no use any more */
};

/* idlers and hitters as debuggee.c has them. */
int link_open(struct link *l, const struct peer *peer, const char *debuggee, size_t idlers,
	      size_t hitters);
/* Only a server that launches argv itself, connected to. */
int link_launch(struct link *l, const struct peer *peer, char *const argv[]);
void link_close(struct link *l);

int link_attach(struct link *l);
/* Lets it run until it does that work, and stops it. */
int link_work(struct link *l, enum work work);
/* Everybody runs; no reply is read. */
int link_go(struct link *l);
/* 0x03, and the stop reply read. */
int link_interrupt(struct link *l);
/* Reads a stop reply; ret_tid may be NULL. -EPROTO: it is not one. Not for Delve. */
int link_stopped(struct link *l, long *ret_tid);
/* Sum over the hitters. */
uint64_t link_hits(const struct link *l);
/* Kilobytes of the server; 0: not known. */
long link_rss(const struct link *l);

double now(void);

#endif
