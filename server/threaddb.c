#include "server/threaddb.h"
#include "base/log.h"
#include "dwarf/linkmap.h"
#include "server/elfsym.h"
#include "server/hostio.h"
#include "server/svr4.h"

#include <assert.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <proc_service.h>
#include <stdio.h>
#include <string.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <thread_db.h>

#define DEFAULT_PATH "$sdir:$pdir"
#define LIBRARY      "libthread_db.so.1"

enum { SYMBOLS_MAX = 512 };

/* The library knows this type by name only and hands it back to our ps_ functions. */
struct ps_prochandle {
	struct inferior *inf;
};

struct library {
	void *handle;
	int fd; /* of one loaded by its descriptor, which the loader knows it by; else 0 */
	const char **(*symbol_list)(void);
	td_err_e (*ta_new)(struct ps_prochandle *, td_thragent_t **);
	td_err_e (*ta_delete)(td_thragent_t *);
	td_err_e (*map_lwp)(const td_thragent_t *, lwpid_t, td_thrhandle_t *);
	td_err_e (*tls_addr)(const td_thrhandle_t *, psaddr_t, size_t, psaddr_t *);
	td_err_e (*tls_base)(const td_thrhandle_t *, unsigned long, psaddr_t *);
};

struct threaddb {
	struct ps_prochandle proc;
	struct library lib;
	td_thragent_t *agent;   /* NULL: not begun yet */
	struct elfsym *symbols; /* as the library lists them */
	bool *refused;          /* the client does not know it either */
	size_t count;
	size_t version; /* which of them is nptl_version */
	size_t objects; /* how many were loaded when the files were searched last */
	bool searched;
};

static char *search_path;

int threaddb_set_search_path(const char *path)
{
	char *copy = path ? strdup(path) : NULL;
	if (path && !copy)
		return -ENOMEM;
	free(search_path);
	search_path = copy;
	return 0;
}

const char *threaddb_search_path(void)
{
	return search_path ? search_path : DEFAULT_PATH;
}

/* --- the library --- */

static bool load_functions(struct library *lib)
{
	/* POSIX wants the conversion of a data pointer this way. */
	*(void **)&lib->symbol_list = dlsym(lib->handle, "td_symbol_list");
	*(void **)&lib->ta_new = dlsym(lib->handle, "td_ta_new");
	*(void **)&lib->ta_delete = dlsym(lib->handle, "td_ta_delete");
	*(void **)&lib->map_lwp = dlsym(lib->handle, "td_ta_map_lwp2thr");
	*(void **)&lib->tls_addr = dlsym(lib->handle, "td_thr_tls_get_addr");
	*(void **)&lib->tls_base = dlsym(lib->handle, "td_thr_tlsbase");
	td_err_e (*init)(void);
	*(void **)&init = dlsym(lib->handle, "td_init");
	return lib->symbol_list && lib->ta_new && lib->ta_delete && lib->map_lwp && lib->tls_addr &&
	       lib->tls_base && init && init() == TD_OK;
}

static bool try_library(struct library *lib, const char *path)
{
	lib->handle = dlopen(path, RTLD_NOW);
	if (!lib->handle) {
		log_debug(LOG_IMAGE, "cannot load %s: %s", path, dlerror());
		return false;
	}
	if (load_functions(lib))
		return true;
	dlclose(lib->handle);
	*lib = (struct library){ 0 };
	return false;
}

static bool is_c_library(const char *path)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	return !strncmp(name, "libc.so", 7) || !strncmp(name, "libc-", 5) ||
	       !strncmp(name, "libpthread", 10);
}

/* It would run with our rights: nobody else may have written it. */
static bool is_trusted(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	       (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & (S_IWGRP | S_IWOTH));
}

/* A library that the debuggee names. */
static bool try_foreign(struct library *lib, const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	char opened[64];

	if (fd < 0)
		return false;
	if (!search_path && !is_trusted(fd)) {
		log_debug(LOG_IMAGE, "%s is not loaded: others than root and us can write it",
			  path);
		return false;
	}
	snprintf(opened, sizeof(opened), "/proc/self/fd/%d", fd);
	if (!try_library(lib, opened))
		return false;
	lib->fd = steal_fd(&fd);
	return true;
}

static bool try_beside(void *ctx, const struct linkmap_object *o)
{
	struct library *lib = ctx;
	char path[LINKMAP_NAME_MAX + sizeof(LIBRARY)];

	if (!is_c_library(o->name))
		return true;
	const char *slash = strrchr(o->name, '/');
	snprintf(path, sizeof(path), "%.*s/%s", slash ? (int)(slash - o->name) : 0, o->name,
		 LIBRARY);
	return !try_foreign(lib, path);
}

static bool load_library(struct library *lib, struct inferior *inf)
{
	const char *p = threaddb_search_path();
	char path[PATH_MAX];

	while (*p && !lib->handle) {
		int n = (int)strcspn(p, ":");
		if (!strncmp(p, "$sdir", 5)) {
			try_library(lib, LIBRARY);
		} else if (!strncmp(p, "$pdir", 5)) {
			svr4_each(inf, try_beside, lib);
		} else if (snprintf(path, sizeof(path), "%.*s/%s", n, p, LIBRARY) <
			   (int)sizeof(path)) {
			try_library(lib, path);
		}
		p += n + (p[n] == ':');
	}
	return lib->handle;
}

/* --- symbols --- */

static struct threaddb *database(struct inferior *inf)
{
	struct threaddb *db = inf->threaddb;

	if (db)
		return db;
	db = calloc(1, sizeof(*db));
	if (!db || !load_library(&db->lib, inf)) {
		free(db);
		return NULL;
	}
	const char **names = db->lib.symbol_list();
	while (db->count < SYMBOLS_MAX && names[db->count])
		db->count++;
	db->proc.inf = inf;
	db->symbols = calloc(db->count + 1, sizeof(*db->symbols));
	db->refused = calloc(db->count + 1, sizeof(*db->refused));
	if (!db->symbols || !db->refused) {
		threaddb_free(db);
		return NULL;
	}
	for (size_t i = 0; i < db->count; i++) {
		db->symbols[i].name = names[i];
		if (strstr(names[i], "nptl_version"))
			db->version = i;
	}
	inf->threaddb = db;
	return db;
}

void threaddb_free(struct threaddb *db)
{
	if (!db)
		return;
	if (db->agent)
		db->lib.ta_delete(db->agent);
	if (db->lib.handle)
		dlclose(db->lib.handle);
	if (db->lib.fd)
		close(db->lib.fd);
	free(db->symbols);
	free(db->refused);
	free(db);
}

static bool count_objects(void *ctx, const struct linkmap_object *o)
{
	(void)o;
	++*(size_t *)ctx;
	return true;
}

/* The loader has run, or there is none: from then on the library has something to find. */
static bool has_begun(struct inferior *inf)
{
	size_t objects = 0;
	int r = svr4_each(inf, count_objects, &objects);
	return r == -ENOENT || (r == 0 && objects);
}

static void search_file(struct threaddb *db, const char *path, uint64_t bias)
{
	static struct hostio io;
	int fd = -1;

	hostio_init(&io);
	if (hostio_setfs(&io, db->proc.inf->pid) == 0)
		fd = hostio_open(&io, path, O_RDONLY, 0);
	if (fd >= 0)
		elfsym_find(io.fds[fd], bias, db->symbols, db->count);
	hostio_fini(&io);
}

struct counting {
	struct threaddb *db;
	size_t objects;
	bool search;
};

static bool count_object(void *ctx, const struct linkmap_object *o)
{
	struct counting *c = ctx;

	c->objects++;
	if (c->search && is_c_library(o->name))
		search_file(c->db, o->name, o->addr);
	return true;
}

/* A static program has the C library inside; where it runs tells how far it was moved. */
static void search_program(struct threaddb *db)
{
	struct target *t = db->proc.inf->target;
	_cleanup_buf_ struct buf auxv = { 0 };
	char path[PATH_MAX];
	uint64_t entry, runs_at = 0;

	buf_init(&auxv, 4096);
	if (t->ops->auxv_read(t, &auxv) < 0 || t->ops->exe_path(t, path, sizeof(path)) < 0)
		return;
	for (size_t i = 0; i + sizeof(Elf64_auxv_t) <= auxv.len; i += sizeof(Elf64_auxv_t)) {
		Elf64_auxv_t a;
		memcpy(&a, auxv.data + i, sizeof(a));
		if (a.a_type == AT_ENTRY)
			runs_at = a.a_un.a_val;
	}
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && elfsym_entry(fd, &entry) == 0)
		elfsym_find(fd, runs_at - entry, db->symbols, db->count);
}

/* In the files; again when more objects have been loaded. */
static void search_files(struct threaddb *db)
{
	struct counting c = { .db = db };

	if (svr4_each(db->proc.inf, count_object, &c) == -ENOENT) {
		if (!db->searched)
			search_program(db);
	} else if (c.objects != db->objects) {
		db->objects = c.objects;
		c.search = true;
		svr4_each(db->proc.inf, count_object, &c);
		memset(db->refused, 0, db->count * sizeof(*db->refused));
	}
	db->searched = true;
}

const char *threaddb_missing_symbol(struct inferior *inf)
{
	/* The library is not chosen before it can be of use: until then the user may say where it is. */
	struct threaddb *db = has_begun(inf) ? database(inf) : NULL;

	if (!db || db->agent)
		return NULL;
	search_files(db);
	/* Whoever does not know the version has no C library and knows none of the others. */
	if (!db->symbols[db->version].found)
		return db->refused[db->version] ? NULL : db->symbols[db->version].name;
	for (size_t i = 0; i < db->count; i++)
		if (!db->symbols[i].found && !db->refused[i])
			return db->symbols[i].name;
	return NULL;
}

void threaddb_learn_symbol(struct inferior *inf, const char *name, bool known, uint64_t addr)
{
	struct threaddb *db = inf->threaddb;

	for (size_t i = 0; db && i < db->count; i++) {
		if (strcmp(db->symbols[i].name, name) != 0)
			continue;
		db->symbols[i].found = known;
		db->symbols[i].addr = addr;
		db->refused[i] = !known;
	}
}

bool threaddb_handle(struct inferior *inf, pid_t tid, uint64_t *ret)
{
	struct threaddb *db = inf->threaddb;
	struct target *t = inf->target;
	struct user_regs_struct gp;

	if (!db || !db->symbols[db->version].found || t->ops->gp_read(t, tid, &gp) < 0 ||
	    !gp.fs_base)
		return false;
	*ret = gp.fs_base;
	return true;
}

/* --- what the library calls --- */

ps_err_e ps_pglobal_lookup(struct ps_prochandle *ph, const char *object, const char *name,
			   psaddr_t *ret)
{
	struct threaddb *db = ph->inf->threaddb;

	(void)object;
	for (size_t i = 0; db && i < db->count; i++) {
		if (!db->symbols[i].found || strcmp(db->symbols[i].name, name) != 0)
			continue;
		*ret = (psaddr_t)db->symbols[i].addr;
		return PS_OK;
	}
	return PS_NOSYM;
}

static ps_err_e read_memory(struct ps_prochandle *ph, psaddr_t addr, void *into, size_t len)
{
	struct mem mem = target_mem(ph->inf->target);
	return mem_read(&mem, (uint64_t)addr, into, len) < 0 ? PS_ERR : PS_OK;
}

ps_err_e ps_pdread(struct ps_prochandle *ph, psaddr_t addr, void *into, size_t len)
{
	return read_memory(ph, addr, into, len);
}

ps_err_e ps_ptread(struct ps_prochandle *ph, psaddr_t addr, void *into, size_t len)
{
	return read_memory(ph, addr, into, len);
}

/* Nothing we ask of the library needs to write. */
ps_err_e ps_pdwrite(struct ps_prochandle *ph, psaddr_t addr, const void *from, size_t len)
{
	(void)ph, (void)addr, (void)from, (void)len;
	return PS_ERR;
}

ps_err_e ps_ptwrite(struct ps_prochandle *ph, psaddr_t addr, const void *from, size_t len)
{
	return ps_pdwrite(ph, addr, from, len);
}

ps_err_e ps_lgetregs(struct ps_prochandle *ph, lwpid_t tid, prgregset_t regs)
{
	struct target *t = ph->inf->target;
	struct user_regs_struct gp;

	static_assert(sizeof(gp) == sizeof(prgregset_t), "elf_gregset_t is user_regs_struct");
	if (t->ops->gp_read(t, tid, &gp) < 0)
		return PS_ERR;
	memcpy(regs, &gp, sizeof(gp));
	return PS_OK;
}

ps_err_e ps_lsetregs(struct ps_prochandle *ph, lwpid_t tid, const prgregset_t regs)
{
	(void)ph, (void)tid, (void)regs;
	return PS_ERR;
}

ps_err_e ps_lgetfpregs(struct ps_prochandle *ph, lwpid_t tid, prfpregset_t *regs)
{
	(void)ph, (void)tid, (void)regs;
	return PS_ERR;
}

ps_err_e ps_lsetfpregs(struct ps_prochandle *ph, lwpid_t tid, const prfpregset_t *regs)
{
	(void)ph, (void)tid, (void)regs;
	return PS_ERR;
}

pid_t ps_getpid(struct ps_prochandle *ph)
{
	return ph->inf->pid;
}

/* The thread pointer is the base of %fs; what is asked for is that register's number. */
ps_err_e ps_get_thread_area(struct ps_prochandle *ph, lwpid_t tid, int which, psaddr_t *ret)
{
	enum { USER_FS = 25, USER_GS = 26 };
	struct target *t = ph->inf->target;
	struct user_regs_struct gp;

	if ((which != USER_FS && which != USER_GS) || t->ops->gp_read(t, tid, &gp) < 0)
		return PS_ERR;
	*ret = (psaddr_t)(which == USER_FS ? gp.fs_base : gp.gs_base);
	return PS_OK;
}

/* --- the question --- */

static const char *error_text(td_err_e e)
{
	switch (e) {
	case TD_NOLWP:
	case TD_NOTHR: return "the C library does not know this thread yet";
	case TD_NOTLS:
	case TD_TLSDEFER: return "the thread has not touched the variable's object yet";
	case TD_VERSION: return "libthread_db is of another release than the program's C library";
	case TD_NOLIBTHREAD: return "the program has no C library with threads";
	default: return "libthread_db cannot tell";
	}
}

int threaddb_tls_addr(struct inferior *inf, pid_t tid, uint64_t lm, uint64_t offset, uint64_t *ret,
		      struct err *err)
{
	struct threaddb *db = database(inf);
	td_thrhandle_t thread;
	psaddr_t addr = NULL;

	if (!db)
		return err_set(err, -ENOTSUP,
			       "%s was not found (monitor set libthread-db-search-path)", LIBRARY);
	search_files(db);
	td_err_e e = db->agent ? TD_OK : db->lib.ta_new(&db->proc, &db->agent);
	if (e == TD_OK)
		e = db->lib.map_lwp(db->agent, tid, &thread);
	if (e == TD_OK && lm)
		e = db->lib.tls_addr(&thread, (psaddr_t)lm, offset, &addr);
	else if (e == TD_OK)
		e = db->lib.tls_base(&thread, 1, &addr);
	if (e != TD_OK)
		return err_set(err, -ENXIO, "%s", error_text(e));
	*ret = (uint64_t)addr + (lm ? 0 : offset);
	return 0;
}
