/*
 * svr4.h - the shared objects of a process as the document of qXfer:libraries-svr4.
 */
#ifndef STOPGO_SVR4_H
#define STOPGO_SVR4_H

#include "server/inferior.h"

struct linkmap_object;

/* What the annex asks for; all 0: everything. */
struct svr4_part {
	/* Begin with this link_map, which is the one behind prev, in this namespace */
	uint64_t start;
	uint64_t prev;
	uint64_t lmid;
	bool bare; /* nothing of namespaces: lldb's parser knows no more than lldb-server says */
};

/* Empty before the loader has run; -ENOENT: a static program. */
int svr4_put_list(struct inferior *inf, const struct svr4_part *part, struct buf *b);

/*
 * Calls each for every object of the process, the program itself (empty name) included, until it returns false. -ENOENT as above.
 */
/* Where the program's dynamic section has its pointer to struct r_debug. -ENOENT as above. */
int svr4_debug_entry(struct inferior *inf, uint64_t *ret);

int svr4_each(struct inferior *inf, bool (*each)(void *ctx, const struct linkmap_object *o),
	      void *ctx);

#endif
