/*
 * live_target.h - the operations table of a live process. Private to target/live.
 */
#ifndef STOPGO_TARGET_LIVE_LIVE_TARGET_H
#define STOPGO_TARGET_LIVE_LIVE_TARGET_H

#include "target/target.h"

extern const struct target_ops live_target_ops;

#endif
