/*
 * model.h - what the Go runtime of a program looks like from outside: its goroutines, their states,
 * stacks and frames.
 *
 * Input:  an ELF file (struct image) and a struct mem of the process or core. Works on stripped
 * programs: functions come from pclntab, offsets of runtime structures from the program's own type
 * descriptors, else DWARF, else a table by release that is believed only when it fits. Go 1.18
 * to 1.27 and, as long as nothing of this moves, later. Lazy:   opening decides only whether this
 * is Go. Everything else is looked for when first asked for and kept; what cannot be known yet (the
 * runtime has not started) is tried again after go_model_resumed(). Trust:  everything read is
 * foreign. Counts are bounded, cycles cut; what does not fit is reported by go_model_describe() and
 * the functions below answer "nothing" rather than something invented. Time:   nothing here waits
 * or reads a clock. Times are nanoseconds of CLOCK_MONOTONIC, as the runtime keeps them. Errors: 0
 * or a negative errno. -ENODATA: this is not known of this program (or not yet); err says why.
 * Owner:  names and paths (const char *) live as long as the model. The image and the mem must
 * outlive it. Limits: GO_GOROUTINES_MAX goroutines are looked at.
 */
#ifndef STOPGO_DWARF_GO_MODEL_H
#define STOPGO_DWARF_GO_MODEL_H

#include <stdbool.h>
#include <sys/types.h>
#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "dwarf/image.h"

enum { GO_GOROUTINES_MAX = 16 << 20 };

struct go_model;

/* ---- opening ---- */

/*
 * *ret is NULL when the file is not a Go program. bias: image_bias(img, AT_ENTRY) for a program,
 * load address minus the first p_vaddr's page for a shared library. mem may be NULL: then only
 * functions, files and lines are known.
 */
int go_model_open(struct image *img, uint64_t bias, const struct mem *mem, struct go_model **ret,
		  struct err *err) _must_check_;
/* The same for a path; the model owns the image it opens. */
int go_model_open_exe(const char *path, uint64_t at_entry, const struct mem *mem,
		      struct go_model **ret, struct err *err) _must_check_;
struct go_model *go_model_free(struct go_model *model);
static inline void go_model_freep(struct go_model **model)
{
	go_model_free(*model);
}

/* The process ran since the last call: what was read of its memory is forgotten, what was not there
 * yet is tried again. */
void go_model_resumed(struct go_model *model);

struct image *go_model_image(const struct go_model *model);
uint64_t go_model_bias(const struct go_model *model);
const char *go_model_version(const struct go_model *model); /* "go1.27.3", "devel go1.28-..." */
unsigned go_model_minor(const struct go_model *model); /* 27; 0 when the version does not say */
/* A value of the build information, "-buildmode", "CGO_ENABLED", "path", "-ldflags"...; NULL: not
 * recorded. */
const char *go_model_build_setting(struct go_model *model, const char *key);

/* True when goroutines can be listed. Otherwise err says why not: the runtime has not started, or
 * what is missing. */
bool go_model_ready(struct go_model *model, struct err *err);
/* Lines for a person: version, build mode, each fact with how it was found, and what is missing and
 * why. */
void go_model_describe(struct go_model *model, struct buf *out);

/* ---- functions, files, lines ---- */

struct go_func {
	const char *name; /* NULL: pc is not in Go code */
	uint64_t entry;
	uint64_t end;        /* first address after it */
	uint32_t index;      /* in the function table */
	uint32_t start_line; /* 0: not recorded (before Go 1.20) */
	bool wrapper;        /* made by the compiler or linker around the function of this name */
};

struct go_line {
	const char *function; /* the innermost one when inlined */
	const char *file;     /* NULL: not known */
	uint32_t line;        /* 0: not known */
	bool inlined;         /* function was inlined into the one around it */
};

size_t go_func_count(struct go_model *model);
struct go_func go_func_nth(struct go_model *model, size_t n);
struct go_func go_func_at(struct go_model *model, uint64_t pc);
/* By its full name, "main.(*Pool).run"; not a wrapper when there is something else of that name. */
struct go_func go_func_by_name(struct go_model *model, const char *name);
/* Where a breakpoint on the function belongs: behind the stack check, so that a growing stack does
 * not hit it twice. */
uint64_t go_func_after_prologue(struct go_model *model, const struct go_func *func);
/* pc lies behind the function's stack check: what the linker lets functions without one use (800 bytes, less their frames) is left below
 * the stack pointer. False: it has none, or pc is before it or where the stack is made to grow. */
bool go_func_has_room(struct go_model *model, const struct go_func *func, uint64_t pc);
/* What is at pc, innermost inlined function first; pass a return address minus one. Returns how
 * many of max were set. */
size_t go_lines_at(struct go_model *model, uint64_t pc, struct go_line *ret, size_t max);
/* The first of these. function is NULL outside Go code. */
struct go_line go_line_at(struct go_model *model, uint64_t pc);
/* The bounds [low, high) of the run of instructions around pc that belong to the same line of the
 * outermost function. */
bool go_line_range(struct go_model *model, uint64_t pc, uint64_t *ret_low, uint64_t *ret_high);

/*
 * Where code of a line begins, once a function: the lowest address, behind the prologue. file is a whole path or the end of one; *line
 * becomes the next that has code when this one has none, 0 when there is no such file. False from fn ends the walk. Returns how many.
 */
size_t go_line_places(struct go_model *model, const char *file, uint32_t *line,
		      bool (*fn)(void *ctx, uint64_t pc), void *ctx);
/* The same for each place where a function of this name was inlined. */
size_t go_inlined_places(struct go_model *model, const char *name,
			 bool (*fn)(void *ctx, uint64_t pc), void *ctx);
/* From SP to the canonical frame address: SP in the caller, after the return. False: not known at this pc. */
bool go_cfa_offset(struct go_model *model, uint64_t pc, int32_t *ret);

/* ---- goroutines ---- */

enum go_status {
	GO_IDLE = 0,
	GO_RUNNABLE = 1,
	GO_RUNNING = 2,
	GO_SYSCALL = 3,
	GO_WAITING = 4,
	GO_DEAD = 6,
	GO_COPYSTACK = 8, /* its stack is being moved: not to be unwound */
	GO_PREEMPTED = 9,
	GO_LEAKED = 10,    /* 1.26: waits for what nobody can send any more */
	GO_DEADEXTRA = 11, /* 1.26: spare for a C thread that calls Go */
};

struct go_goroutine {
	uint64_t g; /* address of the runtime.g; never moves, is used again for another goroutine.
		       0: none */
	uint64_t goid;
	uint64_t stack_lo, stack_hi; /* 0: it has none (dead) */
	uint64_t pc, sp, bp;         /* g.sched */
	uint64_t syscall_pc, syscall_sp, syscall_bp;
	uint64_t m;           /* the M it runs on or is tied to; 0: none */
	uint64_t locked_m;    /* runtime.LockOSThread */
	uint64_t start_pc;    /* the function it was started with */
	uint64_t go_pc;       /* return address of the go statement */
	uint64_t parent_goid; /* 0: not recorded (before Go 1.21, or the main goroutine) */
	uint64_t wait_since;  /* 0: not recorded (the collector has not seen it wait) */
	uint64_t labels;      /* pprof labels, see go_labels(); 0: none */
	uint64_t ancestors;   /* see go_ancestors(); 0: none */
	uint64_t panics;      /* innermost runtime._panic; 0: it does not panic */
	pid_t tid;            /* the OS thread of m; 0: none, or it has not started */
	uint8_t status;       /* enum go_status, without the scan bit */
	uint8_t wait_reason;  /* valid in GO_WAITING and GO_LEAKED; see go_wait_reason() */
	bool on_thread;       /* it is m's current goroutine */
	bool system;          /* one of the runtime's own, as the runtime's tracebacks see it */
	bool hidden; /* idle, dead, or a spare of a C thread that is not in Go: not for the user */
};

/* Called for each goroutine; anything but 0 ends the walk and is returned by it. */
typedef int go_walk_fn(void *ctx, const struct go_goroutine *g);

enum go_walk_flags {
	GO_WALK_ALL = 1, /* hidden ones too */
	GO_WALK_NO_TID =
		2, /* tid, on_thread and hidden for spares are not wanted: saves reading the Ms */
};

/*
 * Every goroutine, in the order in which their g were first made. Reads some hundreds at a time and keeps 8 bytes each: a million
 * takes 8 MB and about 0.15 s of our own time. -ENODATA as in go_model_ready(). A g that cannot be read is left out
 * and counted for go_model_describe().
 */
int go_walk(struct go_model *model, unsigned flags, go_walk_fn *fn, void *ctx,
	    struct err *err) _must_check_;
/* Of those at these addresses that are still goroutines, then of all that were made since there were `from` of them in go_count(). */
int go_walk_these(struct go_model *model, unsigned flags, const uint64_t *g, size_t count, size_t from,
		  go_walk_fn *fn, void *ctx) _must_check_;
/* As go_walk(), into an array from malloc. */
int go_list(struct go_model *model, unsigned flags, struct go_goroutine **ret, size_t *ret_count,
	    struct err *err) _must_check_;
/* How many the runtime has allocated, dead ones included; 0 before it has started. */
size_t go_count(struct go_model *model);
/* By id; ret->g is 0 when there is none (or it is hidden). Cheap when seen before, one walk at most
 * per stop when not. */
int go_find(struct go_model *model, uint64_t goid, struct go_goroutine *ret) _must_check_;
/* The one at an address; ret->g is 0 when what is there is no goroutine. */
int go_read(struct go_model *model, uint64_t g, struct go_goroutine *ret) _must_check_;

/* The runtime's word for why it waits, "chan receive"; "" when it does not say. From the program's
 * own table. */
const char *go_wait_reason(struct go_model *model, const struct go_goroutine *g);
/* How long it has been waiting, 0 when not known; now_ns is CLOCK_MONOTONIC (of the time of a
 * core's death). */
uint64_t go_wait_ns(const struct go_goroutine *g, uint64_t now_ns);
/* "running", "syscall", "chan receive, 3m", "select, locked to thread", "chan receive (leaked)";
 * now_ns 0: without time. */
void go_put_state(struct go_model *model, const struct go_goroutine *g, uint64_t now_ns,
		  struct buf *out);
/* "running", "runnable", "syscall", "waiting", ...: the bare status. */
const char *go_status_name(uint8_t status);
/* The function it was started with as a person thinks of it: wrappers that the compiler makes are
 * seen through where known. */
const char *go_start_function(struct go_model *model, const struct go_goroutine *g);
/* Where the go statement stands; function is NULL when not known. */
struct go_line go_creator(struct go_model *model, const struct go_goroutine *g);

enum { GO_LABELS_MAX = 64, GO_ANCESTORS_MAX = 64, GO_ANCESTOR_PCS_MAX = 100 };

/* Called for each label; the texts are valid during the call and may hold any byte but NUL (cut
 * there). */
typedef int go_label_fn(void *ctx, const char *key, const char *value);
int go_labels(struct go_model *model, const struct go_goroutine *g, go_label_fn *fn,
	      void *ctx) _must_check_;

struct go_ancestor {
	uint64_t goid;
	uint64_t go_pc;
	size_t n_pcs;
	uint64_t pcs[GO_ANCESTOR_PCS_MAX]; /* return addresses, innermost first */
};

/* Who started the one that started it..., nearest first; kept by the program under
 * GODEBUG=tracebackancestors=N only. */
typedef int go_ancestor_fn(void *ctx, const struct go_ancestor *a);
int go_ancestors(struct go_model *model, const struct go_goroutine *g, go_ancestor_fn *fn,
		 void *ctx) _must_check_;

/* ---- OS threads and registers ---- */

/* What the model needs of an OS thread's registers. */
struct go_thread_regs {
	uint64_t fs_base;
	uint64_t pc, sp, bp;
};

enum go_where {
	GO_WHERE_NOT_GO, /* a thread Go does not know: C code that never called Go; no M */
	GO_WHERE_GO,     /* in a goroutine's own code, on its stack */
	GO_WHERE_SYSTEM, /* on the scheduler's stack (g0): idle, or working for curg */
	GO_WHERE_SIGNAL, /* in a signal handler, on its stack */
	GO_WHERE_C,      /* in C code that curg called */
	GO_WHERE_VDSO,   /* curg is in the vdso, on the scheduler's stack */
	GO_WHERE_EXTRA,  /* a C thread that called Go once and is back in C */
};

struct go_thread {
	enum go_where where;
	uint64_t m, g0, gsignal;     /* addresses; 0: none */
	int64_t m_id;                /* M's number, as the runtime's own tracebacks have it; -1: none */
	uint64_t stack_lo, stack_hi; /* of the stack SP is on, 0 when not known (C) */
	pid_t tid;                   /* m.procid */
	struct go_goroutine g; /* the current goroutine, on its stack or behind the system stack;
				  g.g is 0: none */
};

/* Which goroutine each of count threads runs, decided by where SP is. Reads all of them in a
 * handful of batches. */
int go_threads(struct go_model *model, const struct go_thread_regs *regs, size_t count,
	       struct go_thread *ret) _must_check_;

/* What a thread in GO_WHERE_SYSTEM without a goroutine is doing. */
enum go_duty {
	GO_DUTY_SCHEDULER, /* looks for something to run, or what is not one of the others */
	GO_DUTY_IDLE,      /* parked until there is something to run */
	GO_DUTY_NETPOLL,   /* waits for the network on behalf of all */
	GO_DUTY_SYSMON,    /* the runtime's monitor, which never runs a goroutine */
	GO_DUTY_TEMPLATE,  /* starts threads for goroutines that are locked to theirs */
};

/* Decided by its frames, in about as many reads. */
enum go_duty go_thread_duty(struct go_model *model, const struct go_thread *thread,
			    const struct go_thread_regs *regs);

enum go_regs_from {
	GO_REGS_NONE,   /* it has none: dead, or its stack is being moved */
	GO_REGS_THREAD, /* the OS thread's, the whole set */
	GO_REGS_SAVED,  /* pc, sp, bp as the runtime saved them; no others exist */
	GO_REGS_SIGNAL, /* the whole general set, from a signal frame */
};

/* General registers in the order of the kernel's signal frame (REG_R8 ... REG_RIP of
 * <sys/ucontext.h>), then eflags. */
enum { GO_GREGS = 18 };

struct go_regs {
	enum go_regs_from from;
	pid_t tid; /* the OS thread that runs it; 0: parked */
	uint64_t pc, sp, bp;
	bool pc_exact;            /* pc is the next instruction to run, not a return address */
	uint64_t gregs_addr;      /* GO_REGS_SIGNAL: where the signal frame keeps them */
	uint64_t gregs[GO_GREGS]; /* GO_REGS_SIGNAL */
};

/* thread: the registers of g->tid when that is not 0, else NULL. */
int go_regs(struct go_model *model, const struct go_goroutine *g,
	    const struct go_thread_regs *thread, struct go_regs *ret) _must_check_;

/* ---- stacks ---- */

struct go_frame {
	uint64_t pc;       /* return address in all but the innermost and interrupted frames */
	uint64_t sp;       /* when in this frame */
	uint64_t cfa;      /* sp of the caller after the return */
	uint64_t entry;    /* of the function that was compiled, whatever was inlined into it */
	struct go_line at; /* function, file and line now */
	bool inlined; /* stands for a call that was inlined: same pc, sp, cfa as the next frame */
	bool signal;  /* the frame below was interrupted by a signal, this is its handler */
	bool system;  /* on the system stack */
};

enum go_unwind_end {
	GO_UNWIND_DONE,   /* reached where the goroutine or thread began */
	GO_UNWIND_FULL,   /* max frames were set, there are more */
	GO_UNWIND_LOST,   /* a pc outside Go code (C), or code that leaves no trace of its caller */
	GO_UNWIND_BROKEN, /* unreadable or impossible values */
};

enum { GO_FRAMES_MAX = 100000 };

/* The frames of regs, innermost first, inlined calls as frames of their own. g (may be NULL) bounds
 * the stack. */
enum go_unwind_end go_unwind(struct go_model *model, const struct go_goroutine *g,
			     const struct go_regs *regs, struct go_frame *frames, size_t max,
			     size_t *ret_count);
/* The frames of an OS thread as it stands: signal handler, system stack, then the goroutine behind
 * them. */
enum go_unwind_end go_unwind_thread(struct go_model *model, const struct go_thread *thread,
				    const struct go_thread_regs *regs, struct go_frame *frames,
				    size_t max, size_t *ret_count);
/* The frame a person looks for first: the innermost that is not the runtime's own, else the
 * innermost. -1: none. */
ssize_t go_frame_user(const struct go_frame *frames, size_t count);

/* ---- panics ---- */

enum go_fatal {
	GO_FATAL_NONE,
	GO_FATAL_PANIC, /* runtime.fatalpanic: a panic that nobody recovered */
	GO_FATAL_THROW, /* runtime.throw, runtime.fatal: the runtime gives up (deadlock, concurrent
			   map writes, ...) */
	GO_FATAL_END,   /* runtime.fatalthrow: where the second kind ends up; the message is gone */
};

/* Functions to break on so that a dying program stops: entry points; count of those that exist. */
struct go_fatal_point {
	enum go_fatal kind;
	const char *function;
	uint64_t entry; /* the message is in registers here, see go_put_fatal() */
};

enum { GO_FATAL_POINTS_MAX = 4 };
size_t go_fatal_points(struct go_model *model, struct go_fatal_point ret[GO_FATAL_POINTS_MAX]);
/* "panic: ..." or "fatal error: ..." at one of these points, from rax and rbx. */
int go_put_fatal(struct go_model *model, enum go_fatal kind, uint64_t rax, uint64_t rbx,
		 struct buf *out) _must_check_;
/* The goroutine's chain of panics as the runtime would print it, oldest first, one per line;
 * nothing when it has none. */
int go_put_panics(struct go_model *model, const struct go_goroutine *g,
		  struct buf *out) _must_check_;
/* An interface{} value {type, data} as text: `"text"`, `42`, `main.E{...}` as `(main.E) 0xc000...`.
 */
void go_put_value(struct go_model *model, uint64_t type, uint64_t data, struct buf *out);

#endif
