/*
 * handlers.h - the handlers that packets.c has in its rows, by family. What they may assume and must do is in packets.h.
 */
#ifndef STOPGO_HANDLERS_H
#define STOPGO_HANDLERS_H

#include "server/packets.h"
#include "server/session.h"

/* on_session.c: handshake and life of the session */
void on_supported(struct session *s, struct args *a);
void on_no_ack(struct session *s, struct args *a);
void on_extended(struct session *s, struct args *a);
void on_attached(struct session *s, struct args *a);
void on_rcmd(struct session *s, struct args *a);
void on_enable_error_strings(struct session *s, struct args *a);

/* on_regs.c */
void on_read_all(struct session *s, struct args *a);
void on_write_all(struct session *s, struct args *a);
void on_read_one(struct session *s, struct args *a);
void on_write_one(struct session *s, struct args *a);

/* on_mem.c */
void on_mem_read(struct session *s, struct args *a);
void on_mem_write(struct session *s, struct args *a);
void on_mem_read_binary(struct session *s, struct args *a);
void on_mem_write_binary(struct session *s, struct args *a);
void on_search(struct session *s, struct args *a);
void on_crc(struct session *s, struct args *a);

/* on_points.c */
void on_point_sw(struct session *s, struct args *a);
void on_point_hw(struct session *s, struct args *a);
void on_point_write(struct session *s, struct args *a);
void on_point_read(struct session *s, struct args *a);
void on_point_access(struct session *s, struct args *a);
void on_unpoint_sw(struct session *s, struct args *a);
void on_unpoint_hw(struct session *s, struct args *a);
void on_unpoint_write(struct session *s, struct args *a);
void on_unpoint_read(struct session *s, struct args *a);
void on_unpoint_access(struct session *s, struct args *a);

/* on_trace.c: trace experiments */
void on_trace_buffer_set(struct session *s, struct args *a);
void on_trace_define(struct session *s, struct args *a);
void on_trace_source(struct session *s, struct args *a);
void on_trace_variable(struct session *s, struct args *a);
void on_trace_disable(struct session *s, struct args *a);
void on_trace_disconnected(struct session *s, struct args *a);
void on_trace_enable(struct session *s, struct args *a);
void on_trace_frame(struct session *s, struct args *a);
void on_trace_notes(struct session *s, struct args *a);
void on_trace_start(struct session *s, struct args *a);
void on_trace_stop(struct session *s, struct args *a);
void on_trace_init(struct session *s, struct args *a);
void on_trace_read_only(struct session *s, struct args *a);
void on_trace_buffer(struct session *s, struct args *a);
void on_trace_least_length(struct session *s, struct args *a);
void on_trace_point_status(struct session *s, struct args *a);
void on_trace_status(struct session *s, struct args *a);
void on_trace_variable_value(struct session *s, struct args *a);
void on_trace_first_point(struct session *s, struct args *a);
void on_trace_first_variable(struct session *s, struct args *a);
void on_trace_next_point(struct session *s, struct args *a);
void on_trace_next_variable(struct session *s, struct args *a);
/* The frame that is looked at, for qXfer. */
int trace_put_info(struct session *s, struct buf *out);

/* on_run.c */
void on_status(struct session *s, struct args *a);
void on_vcont(struct session *s, struct args *a);
void on_vcont_query(struct session *s, struct args *a);
void on_continue(struct session *s, struct args *a);
void on_step(struct session *s, struct args *a);
void on_continue_signal(struct session *s, struct args *a);
void on_step_signal(struct session *s, struct args *a);
void on_vstopped(struct session *s, struct args *a);
void on_ctrl_c(struct session *s, struct args *a);
void on_non_stop(struct session *s, struct args *a);
void on_thread_events(struct session *s, struct args *a);
void on_thread_options(struct session *s, struct args *a);

/* on_threads.c */
void on_select_general(struct session *s, struct args *a);
void on_select_continue(struct session *s, struct args *a);
void on_thread_alive(struct session *s, struct args *a);
void on_current_thread(struct session *s, struct args *a);
void on_first_threads(struct session *s, struct args *a);
void on_next_threads(struct session *s, struct args *a);
void on_thread_extra(struct session *s, struct args *a);

/* on_xfer.c: qXfer; what qSupported says about its objects */
void on_xfer(struct session *s, struct args *a);
void xfer_put_features(struct session *s, struct buf *b);

/* on_file.c */
void on_file(struct session *s, struct args *a);

/* on_launch.c: launch, attach, leave */
void on_run(struct session *s, struct args *a);
void on_restart(struct session *s, struct args *a);
void on_attach(struct session *s, struct args *a);
void on_launch_words(struct session *s, struct args *a);
void on_launch_success(struct session *s, struct args *a);
void on_detach(struct session *s, struct args *a);
void on_kill(struct session *s, struct args *a);
void on_kill_all(struct session *s, struct args *a);
void on_exec_and_args(struct session *s, struct args *a);
void on_disable_randomization(struct session *s, struct args *a);
void on_detach_on_error(struct session *s, struct args *a);
void on_startup_with_shell(struct session *s, struct args *a);
void on_env_plain(struct session *s, struct args *a);
void on_env_hex(struct session *s, struct args *a);
void on_env_unset(struct session *s, struct args *a);
void on_env_reset(struct session *s, struct args *a);
void on_working_dir(struct session *s, struct args *a);
void on_get_working_dir(struct session *s, struct args *a);
void on_launch_arch(struct session *s, struct args *a);

/* What vAttach does once the process is known; makes the reply. */
void launch_attach(struct session *s, pid_t pid);

/* waiting.c: attaching by name */
void on_attach_name(struct session *s, struct args *a);
void on_attach_wait(struct session *s, struct args *a);
void on_attach_or_wait(struct session *s, struct args *a);

/* on_stdio.c: the program's input and output */
void on_input(struct session *s, struct args *a);
void on_vstdio(struct session *s, struct args *a);
void on_set_stdin(struct session *s, struct args *a);
void on_set_stdout(struct session *s, struct args *a);
void on_set_stderr(struct session *s, struct args *a);
void output_free(struct session *s);

/* on_lldb.c: what lldb and Delve ask besides */
void on_thread_suffix(struct session *s, struct args *a);
void on_list_threads_in_stop(struct session *s, struct args *a);
void on_echo(struct session *s, struct args *a);
void on_server_version(struct session *s, struct args *a);
void on_can(struct session *s, struct args *a);
void on_host_info(struct session *s, struct args *a);
void on_process_info(struct session *s, struct args *a);
void on_process_info_pid(struct session *s, struct args *a);
void on_shlib_info_addr(struct session *s, struct args *a);
void on_thread_stop_info(struct session *s, struct args *a);
void on_threads_info(struct session *s, struct args *a);
void on_register_info(struct session *s, struct args *a);
void on_save_registers(struct session *s, struct args *a);
void on_restore_registers(struct session *s, struct args *a);
void on_region_info(struct session *s, struct args *a);
void on_watch_support(struct session *s, struct args *a);

/* on_platform.c: platform mode only */
void on_launch_server(struct session *s, struct args *a);
void on_query_server(struct session *s, struct args *a);
void on_kill_spawned(struct session *s, struct args *a);
void on_first_process(struct session *s, struct args *a);
void on_next_process(struct session *s, struct args *a);
void on_user_name(struct session *s, struct args *a);
void on_group_name(struct session *s, struct args *a);
void on_shell(struct session *s, struct args *a);
void on_make_folder(struct session *s, struct args *a);
void on_change_mode(struct session *s, struct args *a);
void on_complete_path(struct session *s, struct args *a);

/* on_alloc.c */
void on_alloc(struct session *s, struct args *a);
void on_dealloc(struct session *s, struct args *a);

/* on_modules.c */
void on_modules_info(struct session *s, struct args *a);
void on_module_info(struct session *s, struct args *a);
void on_file_load_address(struct session *s, struct args *a);

/* on_signals.c */
void on_pass_signals(struct session *s, struct args *a);
void on_program_signals(struct session *s, struct args *a);
void on_catch_syscalls(struct session *s, struct args *a);

/* on_symbols.c: thread-local variables */
void on_symbol(struct session *s, struct args *a);
void on_tls_addr(struct session *s, struct args *a);

#endif
