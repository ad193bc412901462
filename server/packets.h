/*
 * packets.h - one row per packet: what it is called, when it may come, what the target must be able to do, who serves it,
 * and what qSupported says about it.
 *
 * A new packet is one row in packets.c and one handler in the on_*.c of its family. A handler reads its arguments, calls one or two
 * operations and appends one reply to s->reply. It begins with the cursor behind the packet's name, delimiter not taken.
 *
 *   nothing appended       an empty reply: not supported
 *   session_error(...)     Exx, or words where the client reads them
 *   s->quiet = true        no reply now (a resume in all-stop, k)
 *
 * Checked before the handler: `when` and `needs`. A cursor that has failed when the handler returns makes the reply E01, whatever
 * was appended; so a malformed known packet is an error without a line in the handler. Handlers that act must still check first.
 */
#ifndef STOPGO_PACKETS_H
#define STOPGO_PACKETS_H

#include <stdbool.h>

#include "base/err.h"
#include "protocol/packet.h"

struct session;

enum packet_when {
	PACKET_ANY,     /* at any time, with or without a process */
	PACKET_PROCESS, /* a process is there; else E01 */
	PACKET_THREAD,  /* the general thread is there; else E01 */
};

/* What must be there for the packet to exist. A core has none of these. */
enum packet_needs {
	PACKET_NO_NEEDS = 0,
	PACKET_WRITE = 1,
	PACKET_RUN = 2,
	PACKET_POINTS = 4,
	PACKET_ALLOC = 8,
	PACKET_TRACER = 16, /* processes can be made and found */
};

struct packet_def {
	const char *name;
	void (*serve)(struct session *s, struct args *a);
	enum packet_when when;
	unsigned needs;
	const char *feature;                        /* qSupported text; NULL: not announced */
	bool (*announced)(const struct session *s); /* NULL: to everybody. Served in any case */
	bool (*exists)(
		const struct session *s); /* NULL: always. False: as if there were no such row */
};

/* Serves one packet; the reply is in s->reply afterwards. */
void packets_serve(struct session *s, const uint8_t *body, size_t len);

/* What qSupported answers, from the rows. */
void packets_put_features(struct session *s, struct buf *b);

/* --disable-packet: a comma-separated list of vCont, vConts, T, Tthread, qC, qfThreadInfo, threads. -EINVAL on another name. */
int packets_disable(const char *list, struct err *err);

enum packets_disabled {
	PACKETS_NO_VCONT = 1,
	PACKETS_NO_VCONTS = 2, /* vCont without s and S */
	PACKETS_NO_T = 4,
	PACKETS_NO_TTHREAD = 8, /* T without thread: */
	PACKETS_NO_QC = 16,
	PACKETS_NO_QFTHREADINFO = 32,
};
unsigned packets_disabled(void);

#endif
