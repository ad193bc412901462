/*
 * starve.h - one allocation is refused: the n-th that our own code makes (libraries are let be) between begin and end.
 */
#ifndef STOPGO_TEST_STARVE_H
#define STOPGO_TEST_STARVE_H

#include <stdbool.h>

/* at 0: they are only counted. */
void starve_begin(unsigned long at);
/* How many there were. */
unsigned long starve_end(void);
bool starve_has_refused(void);

#endif
