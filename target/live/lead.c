/*
 * lead.c - whom a resume starts first, and how long the others wait for it.
 *
 * A client that goes from hit to hit, or steps while others run, has everybody started and stopped again within microseconds, and each
 * thread costs three system calls a time. So the thread that stopped last, or is to step, is started first. If it stops at once the others
 * have not moved, which is what a busy processor would have done to them, too.
 *
 * They are not to starve: they wait only if they ran no longer than HOLD_US ago, for a tick at most (attend.c), and when they have waited
 * they next run for SHARE_US at least. The more there are the longer they wait: HOLD_MORE_US is four times what it costs to start and stop
 * one, so that most of the time is not spent on that.
 */
#include <errno.h>
#include <time.h>

#include "target/live/task.h"

enum { HOLD_US = 3000, HOLD_MORE_US = 40, SHARE_US = 300 };

static uint64_t now_us(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

bool lead_may_go_first(struct live *live, size_t leads)
{
	size_t others = live->marked_len - leads;

	if (!leads || !others || live->kept_back)
		return false;
	return now_us() - live->lead.all_ran_us < HOLD_US + HOLD_MORE_US * others;
}

void lead_starts(struct live *live, size_t leads, bool hold)
{
	live->lead.holding = hold;
	live->lead.alone = !hold && live->marked_len == leads;
	live->lead.share_until_us = 0;
	if (!hold && !live->lead.alone)
		lead_all_run(live);
}

void lead_all_run(struct live *live)
{
	live->lead.share_until_us = live->lead.owing ? now_us() + SHARE_US : 0;
	live->lead.owing = false;
	live->lead.holding = false;
}

void lead_let_follow(struct live *live)
{
	if (!live->lead.holding)
		return;
	lead_all_run(live);
	live_release(live, RELEASE_ALL);
}

void lead_has_stopped(struct live *live)
{
	uint64_t now;

	if (live->lead.holding) {
		live->lead.holding = false;
		live->lead.owing = true;
		live->kept_back = true;
		return;
	}
	if (!live->lead.share_until_us)
		return;
	while ((now = now_us()) < live->lead.share_until_us)
		nanosleep(&(struct timespec){ .tv_nsec = (long)(live->lead.share_until_us - now) *
							 1000 },
			  NULL);
	live->lead.share_until_us = 0;
}

void lead_all_stopped(struct live *live)
{
	if (!live->kept_back && !live->lead.alone)
		live->lead.all_ran_us = now_us();
}
