/*
 * md5.h - MD5 of a file's bytes, which lldb compares with that of its own copy (vFile:MD5). No use for security.
 *
 * Source: RFC 1321.
 */
#ifndef STOPGO_MD5_H
#define STOPGO_MD5_H

#include "base/util.h"

enum { MD5_SIZE = 16, MD5_BLOCK = 64 };

struct md5 {
	uint32_t state[4];
	uint64_t len; /* bytes so far */
	uint8_t block[MD5_BLOCK];
};

void md5_init(struct md5 *m);
void md5_add(struct md5 *m, const void *data, size_t len);
void md5_finish(struct md5 *m, uint8_t ret[MD5_SIZE]);

#endif
