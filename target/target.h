/*
 * target.h - what a debugger can do with processes and cores. No packets, no symbols, no goroutines.
 *
 * Two objects:
 *   struct target   one process (or one core file): memory, registers, threads; and, as optional groups of operations,
 *                   writing, running, breakpoints, memory of our own. A core has no group but what it can do: an absent
 *                   group means "not offered", never a method that fails.
 *   struct tracer   what makes targets and hears of them: launches, attaches, starts and stops threads, yields events.
 *                   A core has none.
 *
 * Threads are Linux tids. Every thread has a state of its own: it is running or stopped, and a stopped one may hold an event
 * that was not told yet. Nothing here is all-stop or non-stop: the caller stops everybody with stop_all() if it wants to.
 *
 *   resume(t, tid, how) ...      say what each thread shall do; nothing happens yet
 *   commit(tr)                   now they run; one whose untold event is still true does not, and the event is yielded
 *   collect(tr)                  drain the kernel's news; called when fd() is readable
 *   next_event(tr, &ev)          1 and an event, or 0. Its thread is stopped; all others do what they did
 *
 * What concerns one thread only and is nobody's business (a signal that is passed, a false condition, a new thread nobody asked
 * about) is dealt with inside and stops no other thread.
 *
 * Errors: 0 or negative errno. -ESRCH: the thread or process is gone, its exit is or will be an event: news, not a failure.
 *         -EBUSY: the thread is running, or in a place in the kernel where it has no registers to show.
 * Owner:  targets are made by a tracer and freed by close(), after the event that ended them or after detach.
 */
#ifndef STOPGO_TARGET_TARGET_H
#define STOPGO_TARGET_TARGET_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/user.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "target/x86/xstate.h"

struct target;
struct tracer;
struct ax;
struct ax_trace;

enum point_kind {
	POINT_SW,      /* int3 */
	POINT_HW,      /* execute, debug register */
	POINT_WRITE,   /* watchpoints, debug register */
	POINT_READ,
	POINT_ACCESS,
};

/* Why a thread stopped. Signals are Linux numbers. */
enum stop_kind {
	STOP_NONE,            /* nothing of its own: stopped with the rest, or after attach */
	STOP_INTERRUPT,       /* because interrupt() asked for it */
	STOP_SIGNAL,          /* signo is about to be delivered; it is if the resume says so */
	STOP_STEP,            /* the step or the range is done */
	STOP_SWBREAK,         /* int3: ours (pc moved back onto it) or the program's own (own; pc behind it) */
	STOP_HWBREAK,         /* execute breakpoint of a debug register */
	STOP_WATCH,           /* watchpoint: addr lies in the watched range, watch says of which kind */
	STOP_FORK,            /* child_pid is the new process, stopped, known to the tracer */
	STOP_VFORK,
	STOP_VFORK_DONE,      /* the child has memory of its own now, or is gone */
	STOP_CLONE,           /* child_tid is the new thread (only while clone events are on) */
	STOP_EXEC,            /* new program; all other threads are gone; child_tid is the old tid */
	STOP_SYSCALL_ENTRY,   /* syscall is its number */
	STOP_SYSCALL_RETURN,
	STOP_THREAD_CREATED,  /* first stop of a new thread (only while thread events are on) */
	STOP_THREAD_EXITED,   /* status: exit code (only while thread events are on, or when it was being stepped) */
	STOP_EXITED,          /* the process is gone: exit status */
	STOP_KILLED,          /* the process is gone: killed by signo */
	STOP_NO_RESUMED,      /* the last thread that was resumed is gone, stopped ones remain */
};

struct stop {
	enum stop_kind  kind;
	enum point_kind watch;
	bool            own;
	bool            internal;  /* STOP_SWBREAK: a point of the server's own was hit (struct point) */
	bool            unasked;   /* STOP_SWBREAK, STOP_WATCH: and no other, the client has none here or its conditions are false */
	unsigned        number;    /* STOP_SWBREAK, STOP_WATCH: the numbered point that asked for it; 0: none did */
	bool            attend;    /* STOP_SWBREAK: tracer.hit said HIT_ATTEND. Alone, with unasked: nobody else wants to hear of it */
	int             signo;
	int             status;
	uint64_t        addr;
	uint64_t        point;  /* STOP_WATCH: the address the watchpoint was set with */
	long            syscall;
	pid_t           child_pid;
	pid_t           child_tid;
};

struct target_event {
	struct target *target;
	pid_t          tid;       /* STOP_EXITED, STOP_KILLED: the process id */
	struct stop    stop;
};

enum resume_action {
	RESUME_CONT,
	RESUME_STEP,   /* one instruction */
	RESUME_RANGE,  /* step while start <= pc < end, at least once */
};

struct resume {
	enum resume_action action;
	int                signo;  /* delivered first; 0: none, the signal it stopped with is dropped */
	bool               hold_signals; /* those that pass wait until the thread is next resumed without this, or let go */
	unsigned           hold_ms;      /* ... but no longer than the thread is under way for so long; 0: as long as it takes */
	uint64_t           start;
	uint64_t           end;    /* exclusive */
};

struct thread_info {
	char name[32];   /* /proc comm */
	int  core;       /* processor it last ran on, -1 unknown */
	bool stopped;    /* it can be asked for registers */
};

struct mem_region {
	uint64_t start;
	uint64_t end;      /* exclusive; 0: up to the top of the address space */
	bool     mapped;   /* false: a hole, and the rest says nothing */
	bool     read, write, exec, shared;
	char     name[256];
};

/* A breakpoint or watchpoint. Two are the same when kind, addr, len, internal and number are. */
struct point {
	enum point_kind kind;
	bool            internal;        /* POINT_SW: the server's own. It lives beside a client's at the same address and has no commands */
	unsigned        number;          /* internal, or a watchpoint: not 0, one of any number at an address, whose hits tracer.hit judges */
	uint64_t        addr;
	uint64_t        len;             /* watchpoints: bytes, at least 1; others 1 */
	bool            only_changes;    /* POINT_WRITE: a write that leaves what was there is no hit */
	struct ax     **conditions;      /* any true: the hit counts. None: always */
	size_t          condition_count;
	struct ax     **commands;        /* run at each hit that counts, which is then no event */
	size_t          command_count;
	bool            persist;         /* commands go on after the client has gone */
};

/* What a POINT_SW breakpoint does at present, for people to read. */
struct point_way {
	const char *past;    /* "emulated": how threads get past it; "" when none had to yet */
	const char *how;     /* "traps", "compiled into the program" */
	const char *why;     /* traps: why it is not more than that; "" when nothing speaks against it */
	uint64_t    passed;  /* times a thread came by while its conditions were false, since they were set */
};

struct target_write_ops {
	/* All of it or -EFAULT; read-only pages are written too. Breakpoints stay in; reads show what was written. */
	int (*mem_write)(struct target *t, uint64_t addr, const void *from, size_t len);
	int (*gp_write)(struct target *t, pid_t tid, const struct user_regs_struct *gp);
	int (*xstate_write)(struct target *t, pid_t tid, const struct xstate *xs);
	int (*siginfo_write)(struct target *t, pid_t tid, const siginfo_t *si);
};

struct target_run_ops {
	/* The thread must be stopped (-EBUSY). Takes effect at commit(). */
	int (*resume)(struct target *t, pid_t tid, const struct resume *how);
	/* Asks a running thread to stop: STOP_INTERRUPT follows unless another event is first. Stopped already: 0, no event.
	 * tid 0: whichever runs, and another in its place if that one ends first; -ESRCH when nobody does. */
	int (*interrupt)(struct target *t, pid_t tid);
	/* A signal to the process as a whole, as if another process had sent it. */
	int (*send_signal)(struct target *t, int signo);
	/* The event the thread was last yielded with since it was resumed; STOP_NONE when it has none. */
	int (*last_stop)(struct target *t, pid_t tid, struct stop *ret);
	/* Both return when it is done, without an event; the target is still to be closed. */
	int (*kill)(struct target *t);
	/* Breakpoints out, debug registers clear, undelivered signals delivered, threads run on. stop: leave it in SIGSTOP. */
	int (*detach)(struct target *t, bool stop);
	/* Stop at these system calls; count -1: all, 0: none. */
	int (*catch_syscalls)(struct target *t, const long *numbers, ssize_t count);
	/* Started by us, as against attached: decides what becomes of it when the server ends. */
	bool (*launched)(struct target *t);
	/* The thread goes on instruction by instruction, whatever it was asked to do, and tracer.stepped hears of each until it says
	 * that this will do. Also from within tracer.hit. NULL: cannot be done. */
	int (*tell_steps)(struct target *t, pid_t tid);
};

struct target_point_ops {
	/* -EFAULT: cannot be written there; -ENOSPC: no debug register left; -EINVAL: length; -EOPNOTSUPP: kind.
	 * One that is there gets the new conditions and commands. Those pass to the target, on failure too. */
	int (*insert)(struct target *t, struct point *p, struct err *err);
	/* -ENOENT: there is none. -EFAULT: there is none any more, its memory is gone. */
	int (*remove)(struct target *t, const struct point *p);
	/* Memory and debug registers clean at return, nothing remembered: the client is gone. */
	void (*remove_all)(struct target *t);
	/* -ENOENT: there is no POINT_SW. NULL: not known of any. */
	int (*way)(struct target *t, uint64_t addr, struct point_way *ret);
};

struct target_alloc_ops {
	/* Fresh memory mapped into the debuggee; prot as mmap(2). All threads must be stopped. */
	int (*alloc)(struct target *t, size_t size, int prot, uint64_t *ret);
	int (*free)(struct target *t, uint64_t addr);
};

struct target_ops {
	const char *name;  /* "live", "core": for logs and monitor output */
	int  (*mem_read)(struct target *t, uint64_t addr, void *into, size_t len, size_t *ret_got);
	int  (*mem_read_spans)(struct target *t, struct mem_span *spans, size_t count);
	int  (*gp_read)(struct target *t, pid_t tid, struct user_regs_struct *ret);
	int  (*xstate_read)(struct target *t, pid_t tid, struct xstate *ret);
	int  (*siginfo_read)(struct target *t, pid_t tid, siginfo_t *ret);
	/* The thread with the next larger number; after = 0 begins, *ret = 0 ends the walk. */
	int  (*next_thread)(struct target *t, pid_t after, pid_t *ret);
	int  (*thread_info)(struct target *t, pid_t tid, struct thread_info *ret);
	int  (*auxv_read)(struct target *t, struct buf *out);
	int  (*exe_path)(struct target *t, char *into, size_t size);
	/* The mapping or hole that holds addr. */
	int  (*region_at)(struct target *t, uint64_t addr, struct mem_region *ret);
	void (*close)(struct target *t);
	const struct target_write_ops *write;  /* NULL: memory and registers are read-only */
	const struct target_run_ops   *run;    /* NULL: nothing can be resumed (a core) */
	const struct target_point_ops *points; /* NULL: no breakpoints, no watchpoints */
	const struct target_alloc_ops *alloc;  /* NULL: no memory of our own */
};

struct target {
	const struct target_ops *ops;
	struct tracer           *tracer;  /* NULL: a core */
	pid_t                    pid;
	void                    *user;    /* the caller's; NULL at birth */
	bool                     alone;   /* the caller's: stop_all() passes it by, and its threads count for no STOP_NO_RESUMED */
	/* Asked before a condition is compiled into the program at addr, where it writes up to 400 bytes below the stack pointer: a
	 * phrase why not, or NULL. Itself NULL: nothing speaks against it. */
	const char              *(*refuses_patch)(struct target *t, uint64_t addr);
	/* Memory of no file that stays mapped and readable until the process ends; false: none is known of. May be NULL. */
	bool                     (*lasting)(struct target *t, uint64_t *ret_start, uint64_t *ret_end);
};

struct launch {
	char *const *argv;          /* argv[0] is the program, as the shell or execvp finds it */
	char *const *envp;          /* NULL: ours */
	char *const *wrapper;       /* NULL, or words put before argv */
	const char  *cwd;           /* NULL: ours */
	const char  *stdio[3];      /* NULL: inherited; else a path opened as fd 0, 1, 2 */
	int          stdio_fd[3];   /* where stdio[i] is NULL: -1 inherited, else this descriptor */
	bool         shell;         /* through $SHELL -c exec ..., as gdbserver does */
	bool         raw_args;      /* with shell: argv is joined by blanks and not quoted, the shell expands it */
	bool         aslr;          /* false: address randomisation off */
	bool         new_session;   /* setsid() */
	bool         close_fds;     /* of what we inherited the program gets 0, 1 and 2 only */
	/* Asked now and then while the program has not been reached yet (a wrapper that waits, a FIFO nobody opens). False: -EINTR, and what
	 * was started is killed. NULL: wait for ever. */
	bool       (*keep_waiting)(void *ctx);
	void        *ctx;
};

/* Which internal news become events. All off at birth. */
struct tracer_events {
	bool fork, vfork;     /* off: children are let go at once, clean */
	bool exec;            /* off: passed over */
	bool clone;           /* STOP_CLONE for each new thread */
	bool threads;         /* STOP_THREAD_CREATED, STOP_THREAD_EXITED */
	bool no_resumed;
};

struct tracer_ops {
	/* The program stands before its first instruction. */
	int  (*launch)(struct tracer *tr, const struct launch *how, struct target **ret, struct err *err);
	/* All threads are seized and run on; nothing is stopped until stop_all() or interrupt(). */
	int  (*attach)(struct tracer *tr, pid_t pid, struct target **ret, struct err *err);
	int  (*fd)(struct tracer *tr);
	void (*collect)(struct tracer *tr);
	int  (*next_event)(struct tracer *tr, struct target_event *ret);
	/* The same of targets that are alone, while the others stand still. NULL: none can be. */
	int  (*next_alone)(struct tracer *tr, struct target_event *ret);
	/*
	 * The same for what stopped threads hold of their own (signals, traps, steps) though nobody let them run since: 1 and it counts
	 * as told, or 0. For clients that want to hear of every thread at a stop.
	 */
	int  (*next_untold)(struct tracer *tr, struct target_event *ret);
	/* An event that was yielded but told to nobody goes back to its thread. */
	void (*push_back)(struct tracer *tr, const struct target_event *ev);
	/* pending_first: while a thread that is to run holds an untold event, start nobody (all-stop). */
	void (*commit)(struct tracer *tr, bool pending_first);
	/* Every thread of every target is stopped at return, but for those the kernel keeps (vfork parents, uninterruptible waits). */
	void (*stop_all)(struct tracer *tr);
	/* The same for one target; the others do what they did. */
	void (*stop_target)(struct tracer *tr, struct target *t);
	void (*set_events)(struct tracer *tr, const struct tracer_events *which);
	/* Signals delivered without a stop, but to a thread that steps and does not hold them; signals delivered at detach although
	 * nobody said so. Linux numbers. */
	void (*set_pass_signals)(struct tracer *tr, const sigset_t *set);
	void (*set_program_signals)(struct tracer *tr, const sigset_t *set);
	/* Conditions of breakpoints that are often false are compiled into the program, where that is safe; on at first. NULL: never. */
	void (*set_fast_conditions)(struct tracer *tr, bool on);
	/*
	 * Everybody has stood still for a while: what is not as without us is put right until the next resume, as nobody could if the server
	 * were killed now. NULL: there is nothing.
	 */
	void (*rest)(struct tracer *tr);
	/* Walks the targets; NULL begins and ends. */
	struct target *(*next_target)(struct tracer *tr, struct target *after);
	/* Detaches from what was attached, kills what was launched. */
	void (*free)(struct tracer *tr);
};

/* A hit that counts: the conditions are true, the commands have been run. */
struct point_hit {
	struct target  *target;
	pid_t           tid;     /* stopped: its registers and the memory can be read; nothing else is to be done */
	enum point_kind kind;
	uint64_t        addr;
	unsigned        number;  /* 0: the client's */
	bool            done;    /* it had commands: it is no event whatever is answered */
};

enum hit_answer {
	HIT_PASS,    /* it is no event */
	HIT_ATTEND,  /* an event, so that points can be set before the thread goes on; of numbered breakpoints only */
	HIT_STOP,
};

struct tracer {
	const struct tracer_ops *ops;
	/* Hears of each hit of the client's breakpoints and of numbered points, once, while other threads run. NULL: all are events. */
	enum hit_answer (*hit)(void *ctx, const struct point_hit *h);
	void   *hit_ctx;
	/* A thread of tell_steps() is past one more instruction; other threads run. Registers and memory can be read. False: this will do. */
	bool  (*stepped)(void *ctx, struct target *t, pid_t tid);
	/* Such a thread is gone before it was said that this will do. */
	void  (*stepper_gone)(void *ctx, struct target *t, pid_t tid);
	const struct ax_trace *trace; /* variables in conditions and commands; NULL: there are none */
	void (*console)(void *ctx, const char *text, size_t len);  /* what breakpoint commands print; NULL: dropped */
	void  *console_ctx;
};

/* A struct mem over the target, valid as long as it is. */
struct mem target_mem(struct target *t);

#endif
