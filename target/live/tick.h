/*
 * tick.h - a blocking waitpid(2) that comes back.
 *
 * To block in waitpid() for one task is the cheapest way to hear of its next stop: nothing else is called, and the kernel looks at
 * nobody else. But it knows no time limit, so a timer's signal makes it return every millisecond. The timer runs on between two
 * waits, so that a hundred thousand of them a second do not set it as often, and stops by itself soon after the last one. Other system calls
 * that block are restarted; poll(2), epoll_wait(2), nanosleep(2) and the like never are, and may see EINTR.
 */
#ifndef STOPGO_TARGET_LIVE_TICK_H
#define STOPGO_TARGET_LIVE_TICK_H

#include <signal.h>
#include <sys/types.h>

/* The task and its status, or 0 when a tick has passed first, or -errno (-ECHILD: no such task is ours). tid -1: any task. */
pid_t tick_wait(pid_t tid, int *ret_status);

/* The same, but its news is only looked at and stays to be waited for. */
pid_t tick_look(pid_t tid, siginfo_t *ret);

/* Ticks so far. Counts on only while somebody waits. */
unsigned tick_count(void);

#endif
