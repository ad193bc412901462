/*
 * task.h - the tracer's own picture of processes, threads and address spaces. Private to target/live.
 *
 * A task is an OS thread. Its state is what the kernel last told us; what its client wants of it stands beside it:
 *
 *   state      where it is: running, stopped, in the kernel's hands, gone
 *   resumed    somebody outside was told it runs; only such a task's events are yielded
 *   how        what it was last asked to do
 *   pending    an event nobody was told of yet
 *   told       the event it was last yielded with
 *
 * Registers are fetched when asked for and written back when changed, just before the task runs.
 */
#ifndef STOPGO_TARGET_LIVE_TASK_H
#define STOPGO_TARGET_LIVE_TASK_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "target/live/ptrace.h"
#include "target/live/swpoints.h"
#include "target/live/wait.h"
#include "target/target.h"
#include "target/x86/dregs.h"
#include "target/x86/insn.h"

enum { TRAP_FLAG = 1 << 8 }; /* in eflags */

enum task_state {
	TASK_NEW, /* seized by the kernel on our behalf, its first stop is awaited */
	TASK_RUNNING,
	TASK_STOPPED,
	TASK_STUCK, /* asked to stop, but the kernel keeps it: a vfork parent, an uninterruptible wait */
	TASK_ZOMBIE, /* leader that has exited while other threads live on; its status comes last */
	TASK_GONE,   /* the process is gone; the leader's task stays until that was told */
};

/* In which kind of ptrace-stop a stopped task is: decides how a signal can be given to it. */
enum task_pstop {
	PSTOP_EVENT,  /* ptrace event, interrupt, system call: a restart cannot inject a signal */
	PSTOP_SIGNAL, /* signal-delivery-stop: a restart delivers the signal it names, or none */
	PSTOP_GROUP,  /* job-control stop */
};

/* Stepping a task past a breakpoint of ours without letting anybody else miss it. */
enum over_kind {
	OVER_NONE,
	OVER_SLOT,     /* sent into a relocated copy in scratch memory; it may have left it */
	OVER_IN_PLACE, /* the breakpoint is lifted and everybody else in this memory stands still */
};

struct over_plan;

struct over {
	enum over_kind kind;
	uint64_t from;          /* address of the instruction stepped over */
	struct over_plan *plan; /* OVER_SLOT: whose copy it is in; a reference */
	const struct insn_copy *copy;
	struct insn_entered entered; /* OVER_SLOT: what the task gets back */
};

/* A signal the task is to get without anybody being told: it came at a bad moment, or the client sent it where none can be given. */
struct deferred_signal {
	siginfo_t info;
	bool have_info; /* else the kernel makes one up */
	bool sent;      /* on its way; passed when it arrives */
	bool untold; /* ... unless the client wants to hear of it, which it could not when it came */
	struct deferred_signal *next;
};

struct proc;

struct task {
	pid_t tid;
	struct proc *proc;
	enum task_state state;
	enum task_pstop pstop;
	int stop_signo; /* PSTOP_SIGNAL: what is about to be delivered */
	bool fresh; /* stopped by news that nobody has drawn conclusions from yet: the kernel alone knows why and where */
	/* It makes a system call for us: what it is to get back */
	const struct user_regs_struct *away;
	bool interrupt_sent;   /* a PTRACE_INTERRUPT of ours may still be on its way */
	bool interrupt_wanted; /* the client asked for it, and has been told of no stop since */
	bool interrupt_any;    /* ... of whichever thread: should this one end first, of another */
	bool resumed;
	bool marked;   /* resume() was called, commit() was not */
	bool leads;    /* ... and it is to be started first */
	bool put_off;  /* runs again when the news of this round has been collected */
	bool queued;   /* in the tracer's event queue */
	bool stepping; /* last restarted by PTRACE_SINGLESTEP */
	/* ... from there; step_rip 0: the program traps by itself, or it is not known */
	uint64_t step_rip, step_rsp;
	bool in_kernel; /* stands inside a system call: a step ends on the way out of it, nothing executed */
	bool defies_stop; /* its client has it run although its process is in a job-control stop */
	bool stop_taken; /* it ran on behalf of us in a job-control stop, which it is to go back to */
	bool at_exec; /* ... of execve: the first step of a new program shall execute something */
	bool leaving_kernel; /* that first step is under way */
	bool tells_steps;    /* tracer.stepped is to hear of each instruction */
	bool vforking;       /* waits in the kernel for its vfork child */
	bool gp_valid, gp_dirty;
	bool gp_early;    /* fetched since it stopped, before it was known why */
	bool dregs_stale; /* the debug registers must be written before it runs */
	bool dregs_used;  /* some are set in the kernel */
	bool dr6_old;     /* DR6 holds a hit that has been dealt with */
	bool has_pending;
	/* Where it was when pending was made: an event is stale once it moved */
	uint64_t pending_pc;
	struct stop pending;
	struct stop told;
	bool pass_valid; /* the breakpoint at pass_pc has been dealt with: step over it */
	uint64_t pass_pc;
	/* != 0: where a new task begins, made from within a copy of its parent's instruction */
	uint64_t start_rip;
	struct resume how;
	struct over over;
	struct deferred_signal *deferred;
	uint64_t held_us, hold_from_us; /* how long they have been held while it was under way */
	struct user_regs_struct gp;
	UT_hash_handle hh;
};

struct scratch {
	uint64_t addr;
	uint64_t used; /* bit per slot */
	struct scratch *next;
};

struct block {
	uint64_t addr;
	size_t size;
	struct block *next;
};

/* Memory and what is written into it. A vfork child shares its parent's. */
struct space {
	int refs;
	int memfd; /* /proc/PID/mem, read and write */
	pid_t pid; /* a task that lives in it, for process_vm_readv */
	/* > 0: breakpoints are kept out, an untraced vfork child runs in this memory */
	unsigned lifted;
	/* Of these: threads there was no memory for, which run untraced to the end */
	unsigned strangers;
	uint64_t starts; /* of tasks in it: what was seen in memory may have changed since */
	struct swpoints sw;
	struct scratch *scratch; /* pages for out-of-line copies */
	uint64_t syscall_insn;   /* where a syscall instruction is; 0: not looked for yet */
	bool shadow_known, shadow_stack;
	struct block *blocks; /* what alloc() mapped */
	bool patched;      /* int3s have been in it: the trap of one may be on its way long after */
	struct live *live; /* once there is a patch: patch.h */
	struct patch *patches;
	struct patch_page *patch_pages;
};

enum { WATCH_BYTES_MAX = 32 };

/* A watchpoint; watches.c. */
struct watch {
	enum point_kind kind;
	uint64_t addr, len;
	unsigned number; /* 0: the client's */
	bool filters;    /* its hits are told apart by value */
	bool known;
	uint8_t bytes[WATCH_BYTES_MAX];
	struct ax **conditions;
	size_t condition_count;
};

struct proc {
	struct target base; /* first: a struct target * is a struct proc * */
	struct live *live;
	struct space *space;
	struct task **tasks; /* by tid */
	size_t count, cap;
	size_t recent; /* where proc_next() found the last, who is asked for next: a guess, others come and go */
	bool launched;
	bool starting; /* between fork and the program's exec: nothing is an event */
	bool hidden;   /* a vfork child nobody asked for, kept until it has memory of its own */
	bool gone;     /* exit is an event to be told, or was */
	struct dregs dregs;
	struct watch watches[DREGS_POINTS_MAX];
	size_t watch_count;
	struct swpoints hw;        /* conditions and commands of the hardware breakpoints */
	long *catch;               /* system calls to stop at */
	ssize_t catch_count;       /* -1: all */
	struct proc *vfork_parent; /* whose memory this child runs in; NULL: its own */
	bool vfork_child;          /* it still runs in memory that is its parent's, ours or not */
	struct proc *next;
};

struct live {
	struct tracer base; /* first */
	struct proc *procs;
	struct task *tasks;  /* uthash by tid */
	struct task **queue; /* tasks with an untold event that may be told */
	size_t queue_len, queue_cap;
	struct task **marked; /* resume()d since the last commit */
	size_t marked_len, marked_cap;
	/* While news is collected nobody is started: the kernel gives the youngest thread's first, and threads that hit a busy
	 * breakpoint again at once would never let it come to the others'. */
	bool collecting;
	struct task **put_off;
	size_t put_off_len, put_off_cap;
	struct target_event *told; /* ends and the like, which belong to no task any more */
	size_t told_len, told_cap;
	int *strays; /* tid, status pairs: first stops that came before their parent's event */
	size_t stray_len, stray_cap;
	pid_t *leavers; /* let go while the kernel kept them: they are when they stop */
	size_t leaver_len, leaver_cap;
	struct space *bereft; /* of the process that was closed last, after its end: children may come of it */
	bool bereaved; /* some have ended: first stops of their children may come that nobody announces */
	bool strays_lost; /* there was no memory for one: whether a new task has stopped is asked of the kernel */
	int sigfd;
	int stat_fd; /* /proc/PID/task/TID/stat of the thread asked about last: proc.c; -1 */
	pid_t stat_tid;
	size_t running; /* tasks in the kernel's hands: they may have news at any time */
	bool quiet;     /* their stops raise no SIGCHLD */
	bool attending; /* we wait for news, or come to look at once */
	pid_t awaited;  /* who was started since: one task, -1 several, 0 none */
	bool ended;     /* a task has ended since dead leaders were looked for */
	bool stopping;  /* stop_all() at work: nobody is restarted */
	bool kept_back; /* tasks that are meant to run were not started, for an event that comes first */
	struct deferred_signal *spare; /* for signals that come when there is no memory */
	size_t spare_count;
	struct {
		bool holding; /* a commit has started those that lead, the others wait */
		bool owing;   /* they have waited since they last ran */
		bool alone;   /* nobody but those that lead was started */
		uint64_t all_ran_us, share_until_us;
	} lead;
	size_t resumed_count;
	struct task *over_in_place;
	bool release_due; /* it has finished: those who waited may run */
	bool fast;        /* conditions are compiled into the program */
	bool unguarded;   /* no guard: guard.h */
	pid_t patch_due;  /* whose hit was one too many at patch_due_at; 0: nobody's */
	uint64_t patch_due_at;
	bool patch_vain; /* it was a jump by then */
	struct tracer_events events;
	sigset_t pass, program;
	bool program_set;
	unsigned seed;
};

static inline struct live *live_of(struct tracer *tr)
{
	return (struct live *)tr;
}

/* Some may have news at any time, of whom we know or of whom we do not. */
static inline bool live_expects_news(const struct live *live)
{
	return live->running || live->leaver_len || live->bereaved;
}

static inline struct proc *proc_of(struct target *t)
{
	return (struct proc *)t;
}

/* Its client has let go of it, or of the parent that waits for this unseen vfork child. */
static inline bool proc_is_alone(const struct proc *p)
{
	return p->base.alone || (p->hidden && p->vfork_parent && p->vfork_parent->base.alone);
}

/* task.c: tables */
struct proc *proc_new(struct live *live, pid_t pid, bool launched);
void proc_free(struct proc *p);
/* A new task in proc's table; -ENOMEM yields NULL. */
struct task *task_add(struct proc *p, pid_t tid, enum task_state state);
void task_remove(struct task *task);
void task_unqueue(struct task *task);
void task_set_state(struct task *task, enum task_state state);
struct task *task_find(struct live *live, pid_t tid);
struct task *proc_task(struct proc *p, pid_t tid);
/* The next above; 0: none. */
pid_t proc_next(struct proc *p, pid_t after);
struct space *space_new(pid_t pid);
struct space *space_ref(struct space *s);
/* A copy for a forked child: the same breakpoints are in its memory. */
struct space *space_clone(struct space *s, pid_t pid);
void space_unref(struct space *s);
/* After exec the old descriptor names memory that is gone. */
int space_reopen(struct space *s, pid_t pid);

/* task.c: registers, fetched lazily */
int task_gp(struct task *task, struct user_regs_struct **ret);
void task_gp_changed(struct task *task);
int task_flush(struct task *task);

/* mem.c: as the program's bytes lie there, breakpoints and all */
int space_read_raw(struct space *s, uint64_t addr, void *into, size_t len, size_t *ret_got);
int space_write_raw(struct space *s, uint64_t addr, const void *from, size_t len);
/* mem.c: breakpoints hidden, writes kept under them */
int live_mem_read(struct target *t, uint64_t addr, void *into, size_t len, size_t *ret_got);
int live_mem_read_spans(struct target *t, struct mem_span *spans, size_t count);
int live_mem_write(struct target *t, uint64_t addr, const void *from, size_t len);

/* points.c */
extern const struct target_point_ops live_point_ops;
/* Puts back what the int3 or the jump covers, unless the program has put something else there since. */
void point_take_out(struct space *s, struct swpoint *p);
/* Makes memory as the store wants it; called before anybody runs. */
void space_sync(struct space *s);
/* The int3 has just been seen in memory. If nobody runs, it is there until somebody does. */
void point_seen(struct proc *p, struct swpoint *point);
/* Takes every breakpoint out of memory, remembering which are wanted. */
void space_lift(struct space *s);
bool dregs_in_use(const struct dregs *d);
bool dregs_covers(const struct dregs *d, bool exec, uint64_t addr);
/* Reads DR6 and tells whether a watchpoint or hardware breakpoint of proc has hit. */
bool task_debug_hit(struct task *task, struct stop *ret);
void task_write_dregs(struct task *task);
void task_forget_hit(struct task *task);
void task_clear_dregs(struct task *task);

/* watches.c */
/* The debug registers have room. Takes the conditions over; -ENOSPC: not taken. */
int watch_add(struct proc *p, struct point *point);
struct watch *watch_find(struct proc *p, const struct point *point);
struct watch *watch_numbered(struct proc *p, unsigned number);
void watch_drop(struct proc *p, struct watch *w);
void watches_forget(struct proc *p);
/* The child has what the client set. */
void watches_inherit(struct proc *child, const struct proc *parent);
/* The client has written there. */
void watch_written(struct proc *p, uint64_t addr, size_t len);
/* Somebody is to hear of the hit: who is in ret. */
bool watch_tells(struct task *task, const struct dregs_hit *hit, struct stop *ret);

/* events.c */
/* An event of a process or a thread that is no more. */
void live_tell(struct live *live, struct proc *p, pid_t tid, struct stop stop);
/* Makes the event of a task's own; it is queued if the task is meant to run. */
void live_event(struct task *task, struct stop stop);
/* The first event told of p that nobody has taken, or all of them forgotten. */
bool live_take_told(struct live *live, struct proc *p, struct target_event *ret);
void live_forget_told(struct live *live, struct proc *p);
int live_next_event(struct tracer *tr, struct target_event *ret);
int live_next_alone(struct tracer *tr, struct target_event *ret);
int live_next_untold(struct tracer *tr, struct target_event *ret);
void live_push_back(struct tracer *tr, const struct target_event *ev);
void live_queue(struct task *task);
/* For one event of each task, so that none gets lost when memory is short. */
bool live_room_to_tell(struct live *live);

/* hits.c: a step is over: the trap flag that stepped it is neither in what it pushed nor in the program's flags */
void task_hide_trap_flag(struct task *task);
/* hits.c: the task stands in the SIGTRAP of an int3, or of a debug register (stepped: or of a step) */
/* Any of the conditions is true, or cannot be evaluated, or there is none. */
bool task_hit_counts(struct task *task, struct ax *const *conditions, size_t count);
/* The tracer's owner counts and judges. */
enum hit_answer task_hit_told(struct task *task, enum point_kind kind, uint64_t addr, unsigned number,
			      bool done);
void task_int3_hit(struct task *task);
void task_debug_reg_hit(struct task *task, bool stepped);
/* It stands at a client's point for another reason: if the conditions are false, that is one passing and it need not ask again. */
void task_judge_quietly(struct task *task, uint64_t addr);

/* births.c */
void stray_add(struct live *live, pid_t tid, int status);
bool stray_take(struct live *live, pid_t tid, int *ret_status);
/* Those that nobody will announce any more; nor will any thread of a process that has just become another program. NULL: there is none. */
void strays_let_go(struct live *live, const struct proc *execs);
/* A new task that finds itself behind the copy of its parent's system call is put behind the original. */
void task_begin_at(struct task *task, uint64_t rip);
void task_forked(struct task *parent, bool vfork);
void task_cloned(struct task *parent);
void task_execed(struct task *task);
void task_vfork_done(struct task *task);
/* The process is gone or has memory of its own: what it leaves to others is clean. */
void proc_leave_space(struct proc *p);

/* news.c */
void live_news(struct live *live, pid_t tid, int status);
/* The same in the middle of another task's news: nobody is halted or released for it. */
void live_hear(struct live *live, pid_t tid, int status);
/* The kernel has said that it is in no job-control stop. */
void task_stop_over(struct task *task);
/* It runs on our behalf in a job-control stop, and is to go back to it if it stood in it for the program. */
void task_take_stop_later(struct task *task);

/* attend.c */
void live_collect(struct tracer *tr);
/* Nobody is to be told by SIGCHLD of stops, as we look for them ourselves. */
void live_hush(struct live *live);
/* From here on we may sleep elsewhere: what has happened and what will raises SIGCHLD. */
void live_listen(struct live *live);
/*
 * Waits for the news of those that were started since live->awaited was 0, and deals with it as it comes, until it is an event or
 * for a moment. Between live_hush() and live_listen().
 */
void live_attend(struct live *live);

/* lead.c */
/* Of those that are marked leads go first, and the others may wait for them for a moment. */
bool lead_may_go_first(struct live *live, size_t leads);
/* They have waited long enough. */
void lead_let_follow(struct live *live);
/* A commit starts those that are marked, leads of them first; hold: the others are to wait. */
void lead_starts(struct live *live, size_t leads, bool hold);
/* Everybody is started. */
void lead_all_run(struct live *live);
/* An event is about to be told, after which everybody will be stopped. */
void lead_has_stopped(struct live *live);
/* Everybody has been stopped who ran. */
void lead_all_stopped(struct live *live);

/* halt.c */
/* Waits until no task of p (NULL: of any process) runs, but for those the kernel keeps. */
void live_halt(struct live *live, struct proc *p);
/* A leader that exited before its threads: there is no status to wait for until they are gone. */
void judge_zombie(struct task *task);

/* signals.c */
/* Puts the signal it stopped with aside until it next starts. */
void task_defer_signal(struct task *task, int signo);
/* ... and then it is as if it had come only then. */
void task_defer_untold(struct task *task, int signo);
/* The same for one that passes, if the step under way is to see none; false: it is to be delivered. */
bool task_hold_signal(struct task *task, int signo);
bool task_steps_openly(const struct task *task);
/* SIGSTOP and the like, and SIGCONT, which the program leaves to the kernel. Delivered where it came and never sent anew: by then the
 * process may have been continued, or stopped. */
bool task_job_control(const struct task *task, int signo);
/* Delivered without a stop. */
bool task_passes_signal(struct task *task, int signo);
/* The step under way is to see no signal that passes. */
bool task_holds_signals(const struct task *task);
/*
 * How long it has been under way since a signal waits, in all resumes together: somebody in the program may wait for what the handler
 * does (Go's collector, for a goroutine to be preempted), and waits as long as this goes on.
 */
void task_count_hold(struct task *task);
/* It stands still: the time until it goes on does not count for a hold. */
void task_hold_pauses(struct task *task);
/* Room for signals that come when there is no memory, as far as there is some now. */
void live_provide(struct live *live);
/*
 * Of the signals we sent, the one it stands in the delivery of, off the list and the caller's; NULL: it is none of them. Put back it is
 * the first in the list: the restart out of this very stop delivers it.
 */
struct deferred_signal *task_take_arrival(struct task *task);
void task_put_arrival_back(struct task *task, struct deferred_signal *d);
/* Sends it with what came with it, as far as the kernel allows. */
void task_send(const struct task *task, const struct deferred_signal *d);
/* What a restart is to deliver, given that it was asked to deliver signo; the rest is sent. */
int task_deferred(struct task *task, int signo);

/* run.c */
extern const struct target_run_ops live_run_ops;
void live_commit(struct tracer *tr, bool pending_first);
void live_stop_all(struct tracer *tr);
void live_stop_target(struct tracer *tr, struct target *t);
void task_set_resumed(struct task *task, bool resumed);
/* Lets a stopped task that is to run do so, unless it holds an event to be told first. */
void task_go(struct task *task);
/* Starts it whatever it holds; signo is delivered. */
void task_restart(struct task *task, int signo);
/* Hands it to the kernel: the one place where tasks are started. It counts as running whatever comes of it. */
enum task_start { START_CONT, START_STEP, START_SYSCALL, START_LISTEN };
void task_start(struct task *task, enum task_start how, int signo);
/* After a start: the interrupt that was sent may be used up, taken for a trap that was about to come, whose thread goes on from here. */
void task_interrupt_again(struct task *task);
/* Its client asked for stops at system calls. */
bool task_wants_syscalls(const struct task *task);
/* Those whose start waited until this round's news was collected. */
void live_start_put_off(struct live *live);
/* A hardware step has ended: done, or on with the range. */
void task_stepped(struct task *task);
/* An instruction is done, by a step or without one: who wanted to hear of it does. */
void task_tell_step(struct task *task);
/* There will be none any more. */
void task_tell_end_of_steps(struct task *task);
void task_restart_step(struct task *task);
void task_syscall_stop(struct task *task);
/* Starts whoever is meant to run and stands still only because somebody was stepping in place, or was halted in passing. */
enum release { RELEASE_ALL, RELEASE_HIDDEN, RELEASE_ALONE };
void live_release(struct live *live, enum release whom);
/* The thread that was to stop, whichever it is, has ended: another one is asked. */
void proc_interrupt_other(struct proc *p);
/* The breakpoint at pc has been judged for this arrival: going on means stepping over it. */
void task_pass_point(struct task *task, uint64_t pc);
/* The untold event is no longer true: its breakpoint is gone, its signal passes now, its step is not asked for any more. */
bool task_pending_stale(struct task *task);
void live_check_no_resumed(struct live *live, struct proc *p, bool was_resumed);

/* over.c: stepping past a breakpoint of ours */
/* An unused page near addr, from where what is relative to the pc there can still be reached; 0: none. */
uint64_t over_hole_near(struct proc *p, uint64_t addr);
/* In words; "" when nobody had to yet. */
const char *over_way(const struct swpoint *point);
/* Its instruction becomes known. */
void over_look_at(struct space *s, struct swpoint *point);
/*
 * Who stands there has executed an int3 of ours, whatever the kernel says of the stop: nobody comes to be inside an instruction, or behind
 * a stub, by another way. The SIGTRAP of an int3 is dropped where one that was sent to the thread is waiting already
 * (kernel/signal.c, legacy_queue()); that one is then the int3's. Of an int3 that covers a whole instruction it cannot be told.
 */
bool over_behind_int3(const struct space *s, uint64_t pc);
/* true: the task was started, held or has got its event; false: it stands behind the instruction and goes on like any other. */
bool over_start(struct task *task, int signo);
/*
 * The same for a breakpoint that is still in memory though nobody wants it any more, as long as this task does one instruction and nobody
 * else runs: what a client does at a hit, which will want it again in a moment. false: memory must be made as it is wanted.
 */
bool over_start_unwanted(struct task *task, int signo);
/* News of a task that is stepping over; true: dealt with. */
bool over_news(struct task *task, struct news *news);
void over_finish(struct task *task);
/* Moves a thread out of the copy it is in, in these registers alone; true: the instruction is behind it. Allocates nothing. */
bool over_leave_copy(struct task *task, struct user_regs_struct *gp);
bool over_scratch_holds(const struct space *s, uint64_t addr);
/* What a stopped task is told of its own pc: of an address in a copy, the original's. */
uint64_t over_origin(struct task *task, uint64_t addr);
/* Everybody stands still and is to be let go: pages for copies that nobody is in go, and with them what is known of instructions. */
void over_unmap_scratch(struct proc *p);
/* Gives up halfway: the task stands at the instruction or behind it, not in a scratch slot. */
void over_abort(struct task *task);

/* emergency.c: which tracer live_emergency() is to end */
void live_emergency_knows(struct live *live);

/* attach.c, detach.c, launch.c, inject.c */
int live_attach(struct tracer *tr, pid_t pid, struct target **ret, struct err *err);
int live_launch(struct tracer *tr, const struct launch *how, struct target **ret, struct err *err);
int live_detach(struct target *t, bool stop);
int live_kill(struct target *t);
void proc_let_go(struct proc *p);
/* A child whose fork nobody was told of goes the way of its parent. */
void child_follows(struct task *task, void (*go)(struct proc *child));
void children_follow(struct proc *p, void (*go)(struct proc *child));
/* News of one that was let go while the kernel kept it: it could not be then. False: it is none of those. */
bool leaver_has_news(struct live *live, pid_t tid, int status);
void leaver_forget(struct live *live, pid_t tid);
/* The signal a task takes along when it is let go. */
int task_signal_at_detach(const struct task *task);
extern const struct target_alloc_ops live_alloc_ops;
/*
 * A task that stands in the system call of a fork, clone or exec event is taken out of it, to where it executes its next
 * instruction. -EBUSY when something else happened on the way, which is news.
 */
int task_leave_kernel(struct task *task);
/* A page for copies at or near where, made by this stopped task while others may run. */
int inject_map_scratch(struct task *task, uint64_t where, size_t size, uint64_t *ret);
/* Pages for code or for data, exactly there: -EEXIST. */
int inject_map_at(struct task *task, uint64_t where, size_t size, bool data, uint64_t *ret);
int inject_unmap(struct proc *p, uint64_t addr, size_t size);
/* It can make a system call here, and loses nothing by it. */
bool inject_may(const struct task *task);

/* proc.c: /proc */
int live_thread_info(struct target *t, pid_t tid, struct thread_info *ret);
int live_auxv_read(struct target *t, struct buf *out);
int live_exe_path(struct target *t, char *into, size_t size);
int live_region_at(struct target *t, uint64_t addr, struct mem_region *ret);
/* Its system calls are, by seccomp; or -errno. */
int proc_is_filtered(pid_t pid, pid_t tid);
/* What is mapped, by address, until fn says false. */
int live_each_region(struct proc *p, bool (*fn)(void *ctx, const struct mem_region *region),
		     void *ctx);
/* State letter of /proc/PID/task/TID/stat, 0 when there is none. */
char proc_state(pid_t pid, pid_t tid);
/* The task through which /proc shows the process's memory: a leader that has exited before the others shows nothing. */
pid_t proc_face(struct proc *p);
/* The process has switched user shadow stacks on (x86 CET). */
bool proc_has_shadow_stack(pid_t pid);
/* The process that a thread belongs to, and that one's parent; false: not known. */
bool proc_relatives(pid_t tid, pid_t *ret_group, pid_t *ret_parent);
/* The program has a handler for the signal. */
bool proc_catches(pid_t pid, int signo);

#endif
