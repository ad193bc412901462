#include "protocol/signals.h"

#include <string.h>

/* Indexed by GDB's number. Linux 0: no such signal there. POLL is IO by another name. */
static const struct {
	const char *name;
	const char *text;
	uint8_t linux_signal;
} table[SIGNALS_COUNT] = {
	[1] = { "SIGHUP", "Hangup", 1 },
	[2] = { "SIGINT", "Interrupt", 2 },
	[3] = { "SIGQUIT", "Quit", 3 },
	[4] = { "SIGILL", "Illegal instruction", 4 },
	[5] = { "SIGTRAP", "Trace/breakpoint trap", 5 },
	[6] = { "SIGABRT", "Aborted", 6 },
	[7] = { "SIGEMT", "Emulation trap", 0 },
	[8] = { "SIGFPE", "Arithmetic exception", 8 },
	[9] = { "SIGKILL", "Killed", 9 },
	[10] = { "SIGBUS", "Bus error", 7 },
	[11] = { "SIGSEGV", "Segmentation fault", 11 },
	[12] = { "SIGSYS", "Bad system call", 31 },
	[13] = { "SIGPIPE", "Broken pipe", 13 },
	[14] = { "SIGALRM", "Alarm clock", 14 },
	[15] = { "SIGTERM", "Terminated", 15 },
	[16] = { "SIGURG", "Urgent I/O condition", 23 },
	[17] = { "SIGSTOP", "Stopped (signal)", 19 },
	[18] = { "SIGTSTP", "Stopped (user)", 20 },
	[19] = { "SIGCONT", "Continued", 18 },
	[20] = { "SIGCHLD", "Child status changed", 17 },
	[21] = { "SIGTTIN", "Stopped (tty input)", 21 },
	[22] = { "SIGTTOU", "Stopped (tty output)", 22 },
	[23] = { "SIGIO", "I/O possible", 29 },
	[24] = { "SIGXCPU", "CPU time limit exceeded", 24 },
	[25] = { "SIGXFSZ", "File size limit exceeded", 25 },
	[26] = { "SIGVTALRM", "Virtual timer expired", 26 },
	[27] = { "SIGPROF", "Profiling timer expired", 27 },
	[28] = { "SIGWINCH", "Window size changed", 28 },
	[29] = { "SIGLOST", "Resource lost", 0 },
	[30] = { "SIGUSR1", "User defined signal 1", 10 },
	[31] = { "SIGUSR2", "User defined signal 2", 12 },
	[32] = { "SIGPWR", "Power fail/restart", 30 },
	[33] = { "SIGPOLL", "Pollable event occurred", 29 },
	[34] = { "SIGWIND", "SIGWIND", 0 },
	[35] = { "SIGPHONE", "SIGPHONE", 0 },
	[36] = { "SIGWAITING", "Process's LWPs are blocked", 0 },
	[37] = { "SIGLWP", "Signal LWP", 0 },
	[38] = { "SIGDANGER", "Swap space dangerously low", 0 },
	[39] = { "SIGGRANT", "Monitor mode granted", 0 },
	[40] = { "SIGRETRACT", "Need to relinquish monitor mode", 0 },
	[41] = { "SIGMSG", "Monitor mode data available", 0 },
	[42] = { "SIGSOUND", "Sound completed", 0 },
	[43] = { "SIGSAK", "Secure attention", 0 },
	[44] = { "SIGPRIO", "SIGPRIO", 0 },
	[45] = { "SIG33", "Real-time event 33", 33 },
	[46] = { "SIG34", "Real-time event 34", 34 },
	[47] = { "SIG35", "Real-time event 35", 35 },
	[48] = { "SIG36", "Real-time event 36", 36 },
	[49] = { "SIG37", "Real-time event 37", 37 },
	[50] = { "SIG38", "Real-time event 38", 38 },
	[51] = { "SIG39", "Real-time event 39", 39 },
	[52] = { "SIG40", "Real-time event 40", 40 },
	[53] = { "SIG41", "Real-time event 41", 41 },
	[54] = { "SIG42", "Real-time event 42", 42 },
	[55] = { "SIG43", "Real-time event 43", 43 },
	[56] = { "SIG44", "Real-time event 44", 44 },
	[57] = { "SIG45", "Real-time event 45", 45 },
	[58] = { "SIG46", "Real-time event 46", 46 },
	[59] = { "SIG47", "Real-time event 47", 47 },
	[60] = { "SIG48", "Real-time event 48", 48 },
	[61] = { "SIG49", "Real-time event 49", 49 },
	[62] = { "SIG50", "Real-time event 50", 50 },
	[63] = { "SIG51", "Real-time event 51", 51 },
	[64] = { "SIG52", "Real-time event 52", 52 },
	[65] = { "SIG53", "Real-time event 53", 53 },
	[66] = { "SIG54", "Real-time event 54", 54 },
	[67] = { "SIG55", "Real-time event 55", 55 },
	[68] = { "SIG56", "Real-time event 56", 56 },
	[69] = { "SIG57", "Real-time event 57", 57 },
	[70] = { "SIG58", "Real-time event 58", 58 },
	[71] = { "SIG59", "Real-time event 59", 59 },
	[72] = { "SIG60", "Real-time event 60", 60 },
	[73] = { "SIG61", "Real-time event 61", 61 },
	[74] = { "SIG62", "Real-time event 62", 62 },
	[75] = { "SIG63", "Real-time event 63", 63 },
	[76] = { "SIGCANCEL", "LWP internal signal", 0 },
	[77] = { "SIG32", "Real-time event 32", 32 },
	[78] = { "SIG64", "Real-time event 64", 64 },
	[79] = { "SIG65", "Real-time event 65", 0 },
	[80] = { "SIG66", "Real-time event 66", 0 },
	[81] = { "SIG67", "Real-time event 67", 0 },
	[82] = { "SIG68", "Real-time event 68", 0 },
	[83] = { "SIG69", "Real-time event 69", 0 },
	[84] = { "SIG70", "Real-time event 70", 0 },
	[85] = { "SIG71", "Real-time event 71", 0 },
	[86] = { "SIG72", "Real-time event 72", 0 },
	[87] = { "SIG73", "Real-time event 73", 0 },
	[88] = { "SIG74", "Real-time event 74", 0 },
	[89] = { "SIG75", "Real-time event 75", 0 },
	[90] = { "SIG76", "Real-time event 76", 0 },
	[91] = { "SIG77", "Real-time event 77", 0 },
	[92] = { "SIG78", "Real-time event 78", 0 },
	[93] = { "SIG79", "Real-time event 79", 0 },
	[94] = { "SIG80", "Real-time event 80", 0 },
	[95] = { "SIG81", "Real-time event 81", 0 },
	[96] = { "SIG82", "Real-time event 82", 0 },
	[97] = { "SIG83", "Real-time event 83", 0 },
	[98] = { "SIG84", "Real-time event 84", 0 },
	[99] = { "SIG85", "Real-time event 85", 0 },
	[100] = { "SIG86", "Real-time event 86", 0 },
	[101] = { "SIG87", "Real-time event 87", 0 },
	[102] = { "SIG88", "Real-time event 88", 0 },
	[103] = { "SIG89", "Real-time event 89", 0 },
	[104] = { "SIG90", "Real-time event 90", 0 },
	[105] = { "SIG91", "Real-time event 91", 0 },
	[106] = { "SIG92", "Real-time event 92", 0 },
	[107] = { "SIG93", "Real-time event 93", 0 },
	[108] = { "SIG94", "Real-time event 94", 0 },
	[109] = { "SIG95", "Real-time event 95", 0 },
	[110] = { "SIG96", "Real-time event 96", 0 },
	[111] = { "SIG97", "Real-time event 97", 0 },
	[112] = { "SIG98", "Real-time event 98", 0 },
	[113] = { "SIG99", "Real-time event 99", 0 },
	[114] = { "SIG100", "Real-time event 100", 0 },
	[115] = { "SIG101", "Real-time event 101", 0 },
	[116] = { "SIG102", "Real-time event 102", 0 },
	[117] = { "SIG103", "Real-time event 103", 0 },
	[118] = { "SIG104", "Real-time event 104", 0 },
	[119] = { "SIG105", "Real-time event 105", 0 },
	[120] = { "SIG106", "Real-time event 106", 0 },
	[121] = { "SIG107", "Real-time event 107", 0 },
	[122] = { "SIG108", "Real-time event 108", 0 },
	[123] = { "SIG109", "Real-time event 109", 0 },
	[124] = { "SIG110", "Real-time event 110", 0 },
	[125] = { "SIG111", "Real-time event 111", 0 },
	[126] = { "SIG112", "Real-time event 112", 0 },
	[127] = { "SIG113", "Real-time event 113", 0 },
	[128] = { "SIG114", "Real-time event 114", 0 },
	[129] = { "SIG115", "Real-time event 115", 0 },
	[130] = { "SIG116", "Real-time event 116", 0 },
	[131] = { "SIG117", "Real-time event 117", 0 },
	[132] = { "SIG118", "Real-time event 118", 0 },
	[133] = { "SIG119", "Real-time event 119", 0 },
	[134] = { "SIG120", "Real-time event 120", 0 },
	[135] = { "SIG121", "Real-time event 121", 0 },
	[136] = { "SIG122", "Real-time event 122", 0 },
	[137] = { "SIG123", "Real-time event 123", 0 },
	[138] = { "SIG124", "Real-time event 124", 0 },
	[139] = { "SIG125", "Real-time event 125", 0 },
	[140] = { "SIG126", "Real-time event 126", 0 },
	[141] = { "SIG127", "Real-time event 127", 0 },
	[142] = { "SIGINFO", "Information request", 0 },
	[145] = { "EXC_BAD_ACCESS", "Could not access memory", 0 },
	[146] = { "EXC_BAD_INSTRUCTION", "Illegal instruction/operand", 0 },
	[147] = { "EXC_ARITHMETIC", "Arithmetic exception", 0 },
	[148] = { "EXC_EMULATION", "Emulation instruction", 0 },
	[149] = { "EXC_SOFTWARE", "Software generated exception", 0 },
	[150] = { "EXC_BREAKPOINT", "Breakpoint", 0 },
	[151] = { "SIGLIBRT", "librt internal signal", 0 },
};

int signals_from_gdb(int gdb_signal)
{
	if (gdb_signal < 0 || gdb_signal >= SIGNALS_COUNT)
		return 0;
	return table[gdb_signal].linux_signal;
}

int signals_to_gdb(int linux_signal)
{
	if (linux_signal == 0)
		return SIGNALS_NONE;
	/* The first match: 29 is IO, not POLL. */
	for (int i = 1; i < SIGNALS_COUNT; i++)
		if (table[i].linux_signal == linux_signal)
			return i;
	return SIGNALS_UNKNOWN;
}

const char *signals_name(int gdb_signal)
{
	return gdb_signal >= 0 && gdb_signal < SIGNALS_COUNT ? table[gdb_signal].name : NULL;
}

const char *signals_text(int gdb_signal)
{
	return gdb_signal >= 0 && gdb_signal < SIGNALS_COUNT ? table[gdb_signal].text : NULL;
}

int signals_by_name(const char *name)
{
	for (int i = 1; i < SIGNALS_COUNT; i++) {
		const char *full = table[i].name;
		if (full &&
		    (!strcmp(full, name) || (!strncmp(full, "SIG", 3) && !strcmp(full + 3, name))))
			return i;
	}
	return -1;
}

const char *signals_linux_name(int linux_signal)
{
	if (linux_signal == 16)
		return "SIGSTKFLT";
	if (linux_signal < 1 || linux_signal > SIGNALS_LINUX_MAX)
		return NULL;
	return signals_name(signals_to_gdb(linux_signal));
}
