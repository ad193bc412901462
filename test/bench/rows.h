/*
 * rows.h - what is measured. Each function does one thing for about a slice of time and notes what one operation cost, for one
 * server or for each in turn; bench.c repeats and compares.
 */
#ifndef STOPGO_BENCH_ROWS_H
#define STOPGO_BENCH_ROWS_H

#include "link.h"

enum unit {
	UNIT_RATE, /* seconds an operation; shown as operations a second */
	UNIT_TIME, /* seconds; shown as milliseconds */
	UNIT_MB,   /* seconds a megabyte; shown as MB/s */
	UNIT_SIZE, /* kilobytes */
};

enum row {
	ROW_ROUND_TRIP,
	ROW_STEP,
	ROW_RANGE,
	ROW_HIT,
	ROW_FALSE_SUB,
	ROW_FALSE_PUSH,
	ROW_FALSE_VECTOR,
	ROW_FALSE_OFTEN,
	ROW_WATCH,
	ROW_READ_HEX,
	ROW_READ_BINARY,
	ROW_WRITE_HEX,
	ROW_WRITE_BINARY,
	ROW_RSS,
	ROW_HIT_8,
	ROW_FALSE_8,
	ROW_HIT_BUSY,
	ROW_FALSE_BUSY,
	ROW_FALSE_OFTEN_BUSY,
	ROW_STEP_64,
	ROW_RANGE_64,
	ROW_HIT_64,
	ROW_FALSE_64,
	ROW_WATCH_64,
	ROW_STEP_1000,
	ROW_RANGE_1000,
	ROW_HIT_1000,
	ROW_FALSE_1000,
	ROW_WATCH_1000,
	ROW_ATTACH_1000,
	ROW_INTERRUPT_1000,
	ROW_LIST_1000,
	ROW_JSON_1000,
	ROW_DETACH_1000,
	ROW_RSS_1000,
	ROW_ATTACH_5000,
	ROW_INTERRUPT_5000,
	ROW_LIST_5000,
	ROW_JSON_5000,
	ROW_DETACH_5000,
	ROW_RSS_5000,
	ROW_START_GO,
	ROW_RSS_GO,
	ROW_COUNT,
};

struct row_about {
	const char *name;
	enum unit unit;
};
extern const struct row_about rows[ROW_COUNT];

/* Where a measurement goes; bench.c. */
void note(const struct link *l, enum row row, double value);
bool wanted(enum row row);

/* Measures row on a stopped link for about slice seconds. 0; -EOPNOTSUPP: this server has no such thing; else the link is broken. */
int measure(struct link *l, enum row row, double slice);
/* Attach, interrupt, lists and detach of a link that was opened and not attached; first is ROW_ATTACH_... */
int measure_many(struct link *l, enum row first, double slice);

#endif
