#include "server/packets.h"
#include "server/handlers.h"
#include "server/server.h"
#include "server/session.h"

#include <errno.h>
#include <string.h>

static unsigned disabled;

/* Clients that did not say that they know a thing are not told of it: lldb's parser takes what it does not know for an error. */
#define SAID(field)                                       \
	static bool said_##field(const struct session *s) \
	{                                                 \
		return s->client.field;                   \
	}
SAID(multiprocess)
SAID(swbreak)
SAID(hwbreak)
SAID(fork_events)
SAID(vfork_events)
SAID(exec_events)
SAID(no_resumed)
SAID(thread_events)
SAID(thread_options)
SAID(single_inf_arg)

static bool for_gdb(const struct session *s)
{
	return s->client.kind == CLIENT_GDB;
}

/* lldb's and Delve's own parsers know no more than what lldb-server says. */
static bool not_lldb(const struct session *s)
{
	return !session_is_lldb(s);
}

static bool for_lldb(const struct session *s)
{
	return s->client.kind == CLIENT_LLDB;
}

static bool has_vcont(const struct session *s)
{
	(void)s;
	return !(disabled & PACKETS_NO_VCONT);
}

static bool said_vcont(const struct session *s)
{
	return has_vcont(s) && s->client.vcont;
}

static bool has_qc(const struct session *s)
{
	(void)s;
	return !(disabled & PACKETS_NO_QC);
}

static bool has_qfthreadinfo(const struct session *s)
{
	(void)s;
	return !(disabled & PACKETS_NO_QFTHREADINFO);
}

/* A shell and the files of the user who started us are for who asked for a platform; a debug server has no such packets. */
static bool in_platform(const struct session *s)
{
	return s->server->opt && s->server->opt->platform;
}

#define ANY     PACKET_ANY
#define PROCESS PACKET_PROCESS
#define THREAD  PACKET_THREAD
#define WRITE   PACKET_WRITE
#define RUN     PACKET_RUN
#define POINTS  PACKET_POINTS
#define TRACER  PACKET_TRACER
#define ALLOC   PACKET_ALLOC

/* Sorted by name, as strcmp sorts. */
/* clang-format off */
static const struct packet_def packets[] = {
	/* name                     handler                   when     needs    qSupported                 announced if    exists if */
	{ "!",                          on_extended,              ANY,     0,       NULL,                      NULL,                NULL },
	{ "?",                          on_status,                ANY,     0,       NULL,                      NULL,                NULL },
	{ "A",                          on_launch_words,          ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "C",                          on_continue_signal,       PROCESS, RUN,     NULL,                      NULL,                NULL },
	{ "D",                          on_detach,                ANY,     0,       NULL,                      NULL,                NULL },
	{ "G",                          on_write_all,             THREAD,  WRITE,   NULL,                      NULL,                NULL },
	{ "Hc",                         on_select_continue,       ANY,     0,       NULL,                      NULL,                NULL },
	{ "Hg",                         on_select_general,        ANY,     0,       NULL,                      NULL,                NULL },
	{ "I",                          on_input,                 ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "M",                          on_mem_write,             PROCESS, WRITE,   NULL,                      NULL,                NULL },
	{ "P",                          on_write_one,             THREAD,  WRITE,   NULL,                      NULL,                NULL },
	{ "QCatchSyscalls",             on_catch_syscalls,        PROCESS, RUN,     "QCatchSyscalls+",         not_lldb,            NULL },
	{ "QDisableRandomization",      on_disable_randomization, ANY,     TRACER,  "QDisableRandomization+",  not_lldb,            NULL },
	{ "QEnableErrorStrings",        on_enable_error_strings,  ANY,     0,       NULL,                      NULL,                NULL },
	{ "QEnvironment",               on_env_plain,             ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "QEnvironmentHexEncoded",     on_env_hex,               ANY,     TRACER,  "QEnvironmentHexEncoded+", not_lldb,            NULL },
	{ "QEnvironmentReset",          on_env_reset,             ANY,     TRACER,  "QEnvironmentReset+",      not_lldb,            NULL },
	{ "QEnvironmentUnset",          on_env_unset,             ANY,     TRACER,  "QEnvironmentUnset+",      not_lldb,            NULL },
	{ "QLaunchArch",                on_launch_arch,           ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "QListThreadsInStopReply",    on_list_threads_in_stop,  ANY,     0,       "QListThreadsInStopReply+", for_lldb,            NULL },
	{ "QNonStop",                   on_non_stop,              ANY,     0,       "QNonStop+",               NULL,                NULL },
	{ "QPassSignals",               on_pass_signals,          ANY,     TRACER,  "QPassSignals+",           NULL,                NULL },
	{ "QProgramSignals",            on_program_signals,       ANY,     TRACER,  "QProgramSignals+",        not_lldb,            NULL },
	{ "QRestoreRegisterState",      on_restore_registers,     THREAD,  WRITE,   NULL,                      NULL,                NULL },
	{ "QSaveRegisterState",         on_save_registers,        THREAD,  WRITE,   NULL,                      NULL,                NULL },
	{ "QSetDetachOnError",          on_detach_on_error,       ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "QSetDisableASLR",            on_disable_randomization, ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "QSetSTDERR",                 on_set_stderr,            ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "QSetSTDIN",                  on_set_stdin,             ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "QSetSTDOUT",                 on_set_stdout,            ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "QSetWorkingDir",             on_working_dir,           ANY,     TRACER,  "QSetWorkingDir+",         not_lldb,            NULL },
	{ "QStartNoAckMode",            on_no_ack,                ANY,     0,       "QStartNoAckMode+",        NULL,                NULL },
	{ "QStartupWithShell",          on_startup_with_shell,    ANY,     TRACER,  "QStartupWithShell+",      not_lldb,            NULL },
	{ "QTBuffer",                    on_trace_buffer_set,      ANY,     POINTS, "QTBuffer:size+",          for_gdb,             NULL },
	{ "QTDP",                        on_trace_define,          ANY,     POINTS, "ConditionalTracepoints+", for_gdb,             NULL },
	{ "QTDPsrc",                     on_trace_source,          ANY,     POINTS, "TracepointSource+",       for_gdb,             NULL },
	{ "QTDV",                        on_trace_variable,        ANY,     POINTS, "TraceStateVariables+",    for_gdb,             NULL },
	{ "QTDisable",                   on_trace_disable,         ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "QTDisconnected",              on_trace_disconnected,    ANY,     POINTS, "DisconnectedTracing+",    for_gdb,             NULL },
	{ "QTEnable",                    on_trace_enable,          ANY,     POINTS, "EnableDisableTracepoints+", for_gdb,             NULL },
	{ "QTFrame",                     on_trace_frame,           ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "QTNotes",                     on_trace_notes,           ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "QTStart",                     on_trace_start,           ANY,     POINTS, "InstallInTrace+",         for_gdb,             NULL },
	{ "QTStop",                      on_trace_stop,            ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "QThreadEvents",              on_thread_events,         ANY,     TRACER,  "QThreadEvents+",          said_thread_events,  NULL },
	{ "QThreadOptions",             on_thread_options,        ANY,     TRACER,  "QThreadOptions=3",        said_thread_options, NULL },
	{ "QThreadSuffixSupported",     on_thread_suffix,         ANY,     0,       "QThreadSuffixSupported+", for_lldb,            NULL },
	{ "QTinit",                      on_trace_init,            ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "QTro",                        on_trace_read_only,       ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "R",                          on_restart,               ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "S",                          on_step_signal,           PROCESS, RUN,     NULL,                      NULL,                NULL },
	{ "T",                          on_thread_alive,          ANY,     0,       NULL,                      NULL,                NULL },
	{ "X",                          on_mem_write_binary,      PROCESS, WRITE,   NULL,                      NULL,                NULL },
	{ "Z0",                         on_point_sw,              PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "Z1",                         on_point_hw,              PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "Z2",                         on_point_write,           PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "Z3",                         on_point_read,            PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "Z4",                         on_point_access,          PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "_M",                         on_alloc,                 PROCESS, ALLOC,   NULL,                      NULL,                NULL },
	{ "_m",                         on_dealloc,               PROCESS, ALLOC,   NULL,                      NULL,                NULL },
	{ "c",                          on_continue,              PROCESS, RUN,     NULL,                      NULL,                NULL },
	{ "g",                          on_read_all,              THREAD,  0,       NULL,                      NULL,                NULL },
	{ "jModulesInfo",               on_modules_info,          ANY,     0,       NULL,                      NULL,                NULL },
	{ "jThreadsInfo",               on_threads_info,          PROCESS, 0,       NULL,                      NULL,                NULL },
	{ "k",                          on_kill_all,              ANY,     0,       NULL,                      NULL,                NULL },
	{ "m",                          on_mem_read,              PROCESS, 0,       NULL,                      NULL,                NULL },
	{ "p",                          on_read_one,              THREAD,  0,       NULL,                      NULL,                NULL },
	{ "qAttached",                  on_attached,              ANY,     0,       NULL,                      NULL,                NULL },
	{ "qC",                         on_current_thread,        ANY,     0,       NULL,                      NULL,                has_qc },
	{ "qCRC",                       on_crc,                   PROCESS, 0,       NULL,                      NULL,                NULL },
	{ "qEcho",                      on_echo,                  ANY,     0,       "qEcho+",                  for_lldb,            NULL },
	{ "qExecAndArgs",               on_exec_and_args,         ANY,     0,       NULL,                      NULL,                NULL },
	{ "qFileLoadAddress",           on_file_load_address,     PROCESS, TRACER,  NULL,                      NULL,                NULL },
	{ "qGDBServerVersion",          on_server_version,        ANY,     0,       NULL,                      NULL,                NULL },
	{ "qGetTLSAddr",                on_tls_addr,              PROCESS, 0,       NULL,                      NULL,                NULL },
	{ "qGetWorkingDir",             on_get_working_dir,       ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "qGroupName",                 on_group_name,            ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qHostInfo",                  on_host_info,             ANY,     0,       NULL,                      NULL,                NULL },
	{ "qKillSpawnedProcess",        on_kill_spawned,          ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qLaunchGDBServer",           on_launch_server,         ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qLaunchSuccess",             on_launch_success,        ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "qMemoryRegionInfo",          on_region_info,           PROCESS, 0,       NULL,                      NULL,                NULL },
	{ "qModuleInfo",                on_module_info,           ANY,     0,       NULL,                      NULL,                NULL },
	{ "qPathComplete",              on_complete_path,         ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qPlatform_chmod",            on_change_mode,           ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qPlatform_mkdir",            on_make_folder,           ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qPlatform_shell",            on_shell,                 ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qProcessInfo",               on_process_info,          ANY,     0,       NULL,                      NULL,                NULL },
	{ "qProcessInfoPID",            on_process_info_pid,      ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "qQueryGDBServer",            on_query_server,          ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qRcmd",                      on_rcmd,                  ANY,     0,       NULL,                      NULL,                NULL },
	{ "qRegisterInfo",              on_register_info,         ANY,     0,       NULL,                      NULL,                NULL },
	{ "qSearch",                    on_search,                PROCESS, 0,       NULL,                      NULL,                NULL },
	{ "qShlibInfoAddr",             on_shlib_info_addr,       PROCESS, 0,       NULL,                      NULL,                NULL },
	{ "qSupported",                 on_supported,             ANY,     0,       NULL,                      NULL,                NULL },
	{ "qSupportsDetachAndStayStopped", on_can,                   ANY,     RUN,     NULL,                      NULL,                NULL },
	{ "qSymbol",                    on_symbol,                ANY,     0,       NULL,                      NULL,                NULL },
	{ "qTBuffer",                    on_trace_buffer,          ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qTMinFTPILen",                on_trace_least_length,    ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qTP",                         on_trace_point_status,    ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qTStatus",                    on_trace_status,          ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qTV",                         on_trace_variable_value,  ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qTfP",                        on_trace_first_point,     ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qTfV",                        on_trace_first_variable,  ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qThreadExtraInfo",           on_thread_extra,          ANY,     0,       NULL,                      NULL,                NULL },
	{ "qThreadStopInfo",            on_thread_stop_info,      ANY,     0,       NULL,                      NULL,                NULL },
	{ "qTsP",                        on_trace_next_point,      ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qTsV",                        on_trace_next_variable,   ANY,     POINTS, NULL,                      NULL,                NULL },
	{ "qUserName",                  on_user_name,             ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qVAttachOrWaitSupported",    on_can,                   ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "qWatchpointSupportInfo",     on_watch_support,         ANY,     POINTS,  NULL,                      NULL,                NULL },
	{ "qXfer",                      on_xfer,                  ANY,     0,       NULL,                      NULL,                NULL },
	{ "qfProcessInfo",              on_first_process,         ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qfThreadInfo",               on_first_threads,         ANY,     0,       NULL,                      NULL,                has_qfthreadinfo },
	{ "qsProcessInfo",              on_next_process,          ANY,     TRACER,  NULL,                      NULL,                in_platform },
	{ "qsThreadInfo",               on_next_threads,          ANY,     0,       NULL,                      NULL,                has_qfthreadinfo },
	{ "s",                          on_step,                  PROCESS, RUN,     NULL,                      NULL,                NULL },
	{ "vAttach",                    on_attach,                ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "vAttachName",                on_attach_name,           ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "vAttachOrWait",              on_attach_or_wait,        ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "vAttachWait",                on_attach_wait,           ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "vCont",                      on_vcont,                 ANY,     RUN,     NULL,                      NULL,                has_vcont },
	{ "vCont?",                     on_vcont_query,           ANY,     TRACER,  "vContSupported+",         said_vcont,          has_vcont },
	{ "vCtrlC",                     on_ctrl_c,                ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "vFile",                      on_file,                  ANY,     0,       NULL,                      NULL,                NULL },
	{ "vKill",                      on_kill,                  ANY,     0,       NULL,                      NULL,                NULL },
	{ "vRun",                       on_run,                   ANY,     TRACER,  NULL,                      NULL,                NULL },
	{ "vStdio",                     on_vstdio,                ANY,     0,       NULL,                      NULL,                NULL },
	{ "vStopped",                   on_vstopped,              ANY,     0,       NULL,                      NULL,                NULL },
	{ "x",                          on_mem_read_binary,       PROCESS, 0,       "binary-upload+",          for_gdb,             NULL },
	{ "z0",                         on_unpoint_sw,            PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "z1",                         on_unpoint_hw,            PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "z2",                         on_unpoint_write,         PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "z3",                         on_unpoint_read,          PROCESS, POINTS,  NULL,                      NULL,                NULL },
	{ "z4",                         on_unpoint_access,        PROCESS, POINTS,  NULL,                      NULL,                NULL },
};
/* clang-format on */

/* What is announced and belongs to no packet of its own. */
static const struct {
	const char *text;
	bool (*announced)(const struct session *s);
	unsigned needs;
} plain_features[] = {
	{ "multiprocess+", said_multiprocess, 0 },
	{ "native-signals+", for_lldb, 0 },
	{ "SupportedWatchpointTypes=x86_64", for_lldb, POINTS },
	{ "swbreak+", said_swbreak, POINTS },
	{ "hwbreak+", said_hwbreak, POINTS },
	{ "fork-events+", said_fork_events, TRACER },
	{ "vfork-events+", said_vfork_events, TRACER },
	{ "exec-events+", said_exec_events, TRACER },
	{ "no-resumed+", said_no_resumed, TRACER },
	{ "ConditionalBreakpoints+", for_gdb, POINTS },
	{ "BreakpointCommands+", for_gdb, POINTS },
	{ "tracenz+", for_gdb, POINTS },
	{ "single-inf-arg+", said_single_inf_arg, TRACER },
};

static unsigned capabilities(struct session *s)
{
	struct inferior *inf = session_inferior(s);
	unsigned has = s->tracer ? TRACER : 0;

	/* Before there is a process the tracer's next one is what counts: it can do everything. */
	if (!inf)
		return s->tracer ? ~0u : 0;
	const struct target_ops *ops = inf->target->ops;
	return has | (ops->write ? WRITE : 0) | (ops->run ? RUN : 0) | (ops->points ? POINTS : 0) |
	       (ops->alloc ? PACKET_ALLOC : 0);
}

static bool may_come(struct session *s, const struct packet_def *def)
{
	struct inferior *inf;
	int64_t id;

	switch (def->when) {
	case PACKET_ANY: return true;
	case PACKET_PROCESS: return session_inferior(s);
	/* The thread may be named by a suffix: then the handler finds it. */
	case PACKET_THREAD: return s->thread_suffix || session_thread(s, &inf, &id);
	}
	return false;
}

void packets_serve(struct session *s, const uint8_t *body, size_t len)
{
	size_t name = packet_name_len(body, len);
	const struct packet_def *def =
		packet_find(packets, ARRAY_SIZE(packets), sizeof(*packets), body, name);
	struct args a = args_of(body + name, len - name);

	if (!def || (def->exists && !def->exists(s)))
		return;
	if (!may_come(s, def)) {
		session_error(s, 1);
		return;
	}
	if (def->needs & ~capabilities(s)) {
		session_error_text(s, 1, "this is not a live process: it cannot be changed or run");
		return;
	}
	def->serve(s, &a);
	if (!args_ok(&a)) {
		s->quiet = false;
		session_error(s, 1);
	}
}

void packets_put_features(struct session *s, struct buf *b)
{
	unsigned has = capabilities(s);

	buf_printf(b, "PacketSize=%x", SESSION_PACKET_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(plain_features); i++)
		if (plain_features[i].announced(s) && !(plain_features[i].needs & ~has))
			buf_printf(b, ";%s", plain_features[i].text);
	for (size_t i = 0; i < ARRAY_SIZE(packets); i++)
		if (packets[i].feature && (!packets[i].announced || packets[i].announced(s)) &&
		    !(packets[i].needs & ~has))
			buf_printf(b, ";%s", packets[i].feature);
	xfer_put_features(s, b);
}

int packets_disable(const char *list, struct err *err)
{
	static const struct {
		const char *name;
		unsigned bits;
	} names[] = {
		{ "vCont", PACKETS_NO_VCONT },
		{ "vConts", PACKETS_NO_VCONTS },
		{ "T", PACKETS_NO_T },
		{ "Tthread", PACKETS_NO_TTHREAD },
		{ "qC", PACKETS_NO_QC },
		{ "qfThreadInfo", PACKETS_NO_QFTHREADINFO },
		{ "threads",
		  PACKETS_NO_VCONT | PACKETS_NO_TTHREAD | PACKETS_NO_QC | PACKETS_NO_QFTHREADINFO },
	};

	while (*list) {
		size_t n = strcspn(list, ","), i = 0;
		while (i < ARRAY_SIZE(names) &&
		       (strlen(names[i].name) != n || memcmp(names[i].name, list, n) != 0))
			i++;
		if (i == ARRAY_SIZE(names))
			return err_set(err, -EINVAL, "Don't know how to disable \"%.*s\".", (int)n,
				       list);
		disabled |= names[i].bits;
		list += n + (list[n] == ',');
	}
	return 0;
}

unsigned packets_disabled(void)
{
	return disabled;
}
