/*
 * frame.h - RSP framing: bytes in, packets out; replies in, bytes out. No I/O, no knowledge of any
 * packet.
 *
 * Shape:  '$' body '#' two hex digits; '}' escapes the next byte (xor 0x20). Outside a packet '+'
 * '-' are acks, a lone 0x03 is an interrupt, '%' begins a notification (clients send none; it is
 * skipped), everything else is junk and ignored. Units:  sizes count decoded body bytes, not wire
 * bytes. Errors: a bad checksum is an event, not a failure; only allocation can fail. A '$' inside
 * a body begins a new packet: what was cut short is dropped without an event, as its sender has
 * moved on. '#' and '$' are never bare data (clients escape them). Limits: a body above
 * FRAME_BODY_MAX is skipped, whatever its length, and reported once, at its end. Owner:  the body
 * of a FRAME_PACKET is valid until the next frame_push() or frame_next(); a NUL follows it. The
 * caller may change it. Use:    frame_push() what was received, then frame_next() until FRAME_MORE.
 * Acks are the caller's to send. Source: "Debugging with GDB", Remote Protocol: Overview; Packet
 * Acknowledgment; Interrupts; Notification Packets.
 */
#ifndef STOPGO_PROTOCOL_FRAME_H
#define STOPGO_PROTOCOL_FRAME_H

#include <stdbool.h>
#include "base/buf.h"

enum {
	FRAME_BODY_MAX = 256 * 1024,
	/* What a reply of n bytes can grow to: '$', '#', two digits. Runs only shorten. */
	FRAME_OVERHEAD = 4,
};

enum frame_event {
	FRAME_MORE,      /* nothing complete is left: push more */
	FRAME_PACKET,    /* a packet; its checksum was right, or is not looked at without acks */
	FRAME_BAD,       /* wrong checksum: answer '-' */
	FRAME_TOO_LONG,  /* a packet above FRAME_BODY_MAX has ended: acknowledge it and answer an
			    error */
	FRAME_ACK,       /* '+'; never without acks */
	FRAME_NAK,       /* '-': send the last reply again; never without acks */
	FRAME_INTERRUPT, /* 0x03 */
	FRAME_NOISE, /* the first byte of the connection is none a debugger sends (HTTP, TLS, a port
			scan); reported once */
};

struct frame {
	struct buf in;  /* received, from the first byte that is not yet consumed by frame_push */
	size_t at;      /* consumed up to here */
	size_t scanned; /* inside a packet: no '#' before here */
	bool no_acks;
	bool greeted;  /* a byte that debuggers send has been seen */
	bool skipping; /* inside a body that is too long */
};

void frame_init(struct frame *f);
void frame_fini(struct frame *f);
/* Off after QStartNoAckMode was answered: checksums are not verified any more, stray '+' and '-'
 * ignored. */
void frame_set_acks(struct frame *f, bool on);

/* 0 or -ENOMEM; -EMSGSIZE when the caller did not drain what came before. */
int frame_push(struct frame *f, const void *data, size_t len) _must_check_;
/* ret_body and ret_len are set for FRAME_PACKET only. */
enum frame_event frame_next(struct frame *f, uint8_t **ret_body, size_t *ret_len);
/* Inside a packet whose end has not come: a timeout or hang-up here is a cut connection. */
bool frame_is_partial(const struct frame *f);

enum frame_flags {
	FRAME_RUNS = 1,   /* run-length encode (never binary replies to Delve, which does not expand
			     them there) */
	FRAME_NOTIFY = 2, /* '%' instead of '$' */
};

/*
 * Appends $body#cc. The body is already escaped (reply.h). With FRAME_RUNS c*N replaces N-29
 * further copies of c: at least 3, at most 97, never a count spelled # $ + or -, never in or out of
 * an escaped pair. On error the buffer's error sticks.
 */
void frame_encode(struct buf *out, const void *body, size_t len, unsigned flags);

#endif
