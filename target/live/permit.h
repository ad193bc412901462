/*
 * permit.h - may this process be traced by us, and if not, why not and what to do about it.
 *
 * The check touches nothing: it reads /proc and asks the kernel with an open of /proc/PID/mem, which passes the same
 * gate as PTRACE_SEIZE (mm_access(), mode ATTACH). It is made before anything is announced; the seizing may still
 * fail if the process changes meanwhile.
 *
 * Errors: -ESRCH   no such process, or one that has ended already
 *         -EPERM   it is there and cannot be traced: another tracer, another user, Yama, a kernel thread, 32 bits ...
 *         The sentence names the reason and the way out, without the process's number in front.
 */
#ifndef STOPGO_LIVE_PERMIT_H
#define STOPGO_LIVE_PERMIT_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* What the reason is found in. Gathered by permit_look(); made by hand in tests. */
struct permit_facts {
	pid_t pid;
	bool exists;
	int unreadable;   /* why /proc says nothing of it, as an errno; 0 */
	pid_t tgid;       /* differs from pid: a thread */
	char name[32];    /* comm */
	char state;       /* as in /proc/PID/status */
	int live_threads; /* threads that are not zombies */
	pid_t tracer;     /* 0: none */
	char tracer_name[32];
	bool kernel_thread;
	bool self;             /* one of our own threads */
	int elf_class;         /* 1: 32 bits, 2: 64 bits, 0: not known */
	bool allowed;          /* the kernel would let us */
	uid_t uid[3], our_uid; /* real, effective, saved */
	gid_t gid[3], our_gid;
	bool have_cap; /* CAP_SYS_PTRACE in our own user namespace */
	bool same_user_ns;
	bool own_pid_ns; /* we do not see the machine's processes but a container's */
	bool dumpable;
	bool descendant;    /* of ours */
	int yama;           /* kernel.yama.ptrace_scope; -1: no Yama */
	char user_name[32]; /* of uid[0], when it has one */
};

void permit_look(pid_t pid, struct permit_facts *ret);
/* 0 or the refusal, from the facts alone. */
int permit_judge(const struct permit_facts *f, struct err *err);
/* Waits first for the guards of servers that were killed (guard.h) to have cleaned up, for five seconds at most. */
int permit_check(pid_t pid, struct err *err);

#endif
