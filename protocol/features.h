/*
 * features.h - what the client said in qSupported, and who it is. What the server offers is printed
 * from the packet table.
 *
 * The list may be empty, in any order, and hold anything: unknown features are ignored. lldb sends
 * it twice: the last counts. Source: "Debugging with GDB", General Query Packets: qSupported; lists
 * recorded from gdb 13 and 18, lldb 19 and 21, Delve 1.27.
 */
#ifndef STOPGO_PROTOCOL_FEATURES_H
#define STOPGO_PROTOCOL_FEATURES_H

#include <stdbool.h>
#include "base/util.h"

enum client_kind {
	CLIENT_UNKNOWN, /* netcat, a test, something old: plain RSP */
	CLIENT_GDB,
	CLIENT_LLDB,
	CLIENT_DELVE,
};

struct client_features {
	enum client_kind kind;
	bool multiprocess;
	bool swbreak, hwbreak;
	bool fork_events, vfork_events, exec_events;
	bool vcont;          /* vContSupported */
	bool thread_events;  /* QThreadEvents */
	bool thread_options; /* QThreadOptions */
	bool no_resumed;
	bool error_message; /* reads E.text as the answer to m and qRcmd, too */
	bool single_inf_arg;
	bool reloc_insn; /* qRelocInsn */
	bool memory_tagging;
	bool multi_wp_addr;
	char xml_registers[64]; /* "i386", "i386,arm,mips,arc"; empty when not sent, cut when longer
				 */
};

/* list: what follows "qSupported:", may be empty. Always succeeds; *ret is filled anew. */
void features_parse(const void *list, size_t len, struct client_features *ret);

/* "gdb", "lldb", "delve", "unknown": for logs and monitor output. */
const char *features_client_name(enum client_kind kind);

#endif
