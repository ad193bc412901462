/*
 * internal.h - the Go model inside: what model.c, locate.c, func.c, goroutine.c, thread.c,
 * unwind.c, state.c and panic.c share. Nobody else includes it.
 *
 * A fact is something about the program that has to be found before anything else can be read. Each
 * is looked for once by its model_need_...() function, which tells whether it is known; one that
 * may come later (the loader or the runtime has not done its work yet) is tried again after the
 * process ran.
 */
#ifndef STOPGO_DWARF_GO_INTERNAL_H
#define STOPGO_DWARF_GO_INTERNAL_H

#include "dwarf/go/buildinfo.h"
#include "dwarf/go/layout.h"
#include "dwarf/go/model.h"
#include "dwarf/go/moduledata.h"
#include "dwarf/go/pclntab.h"
#include "dwarf/go/rtype.h"

enum fact_id {
	FACT_FUNCTIONS, /* pclntab */
	FACT_MODULE,    /* moduledata */
	FACT_RUNTIME,   /* entry points of runtime functions */
	FACT_TYPES,     /* where type names are */
	FACT_LAYOUT,    /* offsets in g and m */
	FACT_ALLGS,
	FACT_REASONS, /* wait reasons */
	FACT_TLS,     /* where a thread keeps its g */
	FACTS
};

enum fact_state { FACT_UNTRIED, FACT_KNOWN, FACT_LATER, FACT_MISSING };

struct fact {
	enum fact_state state;
	char how[200]; /* how it was found, or why it is missing; a clause for a person */
};

/* Functions of the runtime that mean something to us. */
enum rt_func {
	RT_ALLGADD,
	RT_ASYNCPREEMPT,
	RT_CGOCALLBACK,
	RT_COROSTART,
	RT_FATAL,
	RT_FATALPANIC,
	RT_FATALTHROW,
	RT_GOEXIT,
	RT_HANDLEASYNCEVENT,
	RT_MAIN,
	RT_MALG,
	RT_MCALL,
	RT_MORESTACK,
	RT_MORESTACK_NOCTXT,
	RT_RUNCLEANUPS,
	RT_RUNFINALIZERS,
	RT_RUNFINQ,
	RT_SIGPANIC,
	RT_SIGRETURN,
	RT_SIGRETURN_SIGACTION,
	RT_SIGTRAMP,
	RT_SYSTEMSTACK,
	RT_THROW,
	RT_FUNCS
};

enum { REASONS_MAX = 128, REASON_LEN_MAX = 63, START_CACHE = 256 };

/* What a goroutine's start function says about it; kept per function. */
struct start_info {
	uint64_t start_pc; /* 0: empty */
	const char *name;  /* NULL: not in Go code */
	enum rt_func rt;   /* RT_FUNCS: none of these */
	bool system;       /* by its name */
};

/*
 * What the function table says of one pc. Many goroutines stand at few places, and the table is read from its function's start at
 * each question: the answers are kept.
 */
enum { PC_CACHE = 1024, PC_LINES = 4 };

struct pc_info {
	uint64_t at;  /* as linked */
	bool known;   /* this entry is used */
	bool in_func; /* f is its function */
	bool has_delta;
	uint8_t n_lines; /* 0: not asked, or more than fit */
	int32_t delta;   /* of sp, if has_delta */
	struct go_pcln_func f;
	struct go_line lines[PC_LINES];
};

/* Ids of goroutines, in the order of allgs. */
struct goid_index {
	uint64_t *g;
	uint64_t *goid;
	uint32_t *slots; /* index + 1; 0: empty */
	size_t count, room;
	size_t n_slots; /* a power of two, more than count */
	uint64_t stop;  /* when it was made */
};

struct go_model {
	struct image *img;
	bool owns_image;
	uint64_t bias;
	const struct mem *mem;
	struct image_mem im;
	struct go_buildinfo info;
	char setting[512];
	uint64_t stop; /* counts go_model_resumed() */
	struct fact facts[FACTS];

	struct go_pclntab pcln;
	struct go_moduledata md;
	uint64_t rt_entry[RT_FUNCS]; /* in the debuggee; 0: the program has none */
	uint8_t wrapper_id;          /* funcID of wrappers; 0: not known */
	uint32_t *by_name; /* index + 1 of functions by hash of name; NULL: not made yet */
	size_t n_by_name;

	struct go_type_page *type_pages;
	struct go_types types;
	uint64_t g_type;
	struct go_layout layout;
	uint32_t g_size, m_low,
		m_size; /* bytes to read of a g from its start, and of an m from m_low on */

	uint64_t allgs; /* address of the slice */
	unsigned allgs_tries;
	int64_t tls_offset; /* of g, from fs_base */
	char (*reasons)[REASON_LEN_MAX + 1];
	size_t n_reasons;

	struct start_info starts[START_CACHE];
	struct pc_info *pcs; /* PC_CACHE of them; NULL: not used yet */
	struct goid_index index;
	size_t unreadable; /* goroutines left out of the last walk */
};

void fact_known(struct go_model *m, enum fact_id id, const char *fmt, ...) _printf_(3, 4);
void fact_later(struct go_model *m, enum fact_id id, const char *fmt, ...) _printf_(3, 4);
void fact_missing(struct go_model *m, enum fact_id id, const char *fmt, ...) _printf_(3, 4);
int fact_error(const struct go_model *m, enum fact_id id, struct err *err);

/* Each is true when known now. */
bool model_need_functions(struct go_model *m); /* FUNCTIONS, MODULE and RUNTIME */
bool model_need_layout(struct go_model *m);
bool model_need_allgs(struct go_model *m);
bool model_need_reasons(struct go_model *m);
bool model_need_tls(struct go_model *m);

/* An address in the debuggee to one as linked. */
static inline uint64_t model_linked(const struct go_model *m, uint64_t addr)
{
	return addr - m->bias;
}

/* True when addr lies in Go's (or, with cgo, the program's) text. */
static inline bool model_in_text(const struct go_model *m, uint64_t addr)
{
	return addr - m->bias - m->md.minpc < m->md.maxpc - m->md.minpc;
}

const char *rt_name(enum rt_func f);
/* Which of them begins at this address, RT_FUNCS when none does. */
enum rt_func rt_at(const struct go_model *m, uint64_t entry);

/* A word, byte or so in a structure read before; 0 when the field does not exist or lies outside
 * what was read. */
static inline uint64_t field_u64(const uint8_t *raw, size_t size, int32_t at)
{
	uint64_t v = 0;
	if (at >= 0 && (size_t)at + sizeof(v) <= size)
		__builtin_memcpy(&v, raw + at, sizeof(v));
	return v;
}

static inline uint32_t field_u32(const uint8_t *raw, size_t size, int32_t at)
{
	uint32_t v = 0;
	if (at >= 0 && (size_t)at + sizeof(v) <= size)
		__builtin_memcpy(&v, raw + at, sizeof(v));
	return v;
}

static inline uint8_t field_u8(const uint8_t *raw, size_t size, int32_t at)
{
	return at >= 0 && (size_t)at < size ? raw[at] : 0;
}

/* The function and stack depth at a pc as linked; valid until the next call. */
const struct pc_info *pc_info(struct go_model *m, uint64_t at);

/* A g's bytes, g_size of them, as a goroutine without what its M says. */
void goroutine_parse(struct go_model *m, uint64_t g, const uint8_t *raw, struct go_goroutine *ret);
/* Can these be the bytes of a goroutine? */
bool goroutine_plausible(const struct go_model *m, const struct go_goroutine *g);
/* The name of what a wrapper is around; its own when that cannot be seen. */
const char *go_func_wrapped(struct go_model *m, const struct go_func *wrapper);
/* What is known of a start function. */
const struct start_info *start_info(struct go_model *m, uint64_t start_pc);

/* What an M says. */
struct m_info {
	uint64_t m, g0, gsignal, curg, vdso_sp, vdso_pc;
	int64_t id; /* -1: not known */
	pid_t tid;
	bool incgo, extra, extra_in_c;
};

/* Reads count Ms in one go; an entry's g0 is 0 when it could not be read. ms[i].m says which. */
int m_read(struct go_model *m, struct m_info *ms, size_t count);

/* The signal frame that thread's handler runs on, found from its registers: the saved general
 * registers. */
bool signal_frame_find(struct go_model *m, const struct go_thread_regs *thread, uint64_t stack_lo,
		       uint64_t stack_hi, struct go_regs *ret);
/* The same by looking through a signal stack from sp up to hi, for where there are no frames to follow. */
bool signal_frame_scan(struct go_model *m, uint64_t sp, uint64_t hi, struct go_regs *ret);
/* The general registers in a signal frame whose ucontext is here. */
bool signal_frame_read(struct go_model *m, uint64_t ucontext, struct go_regs *ret);

#endif
