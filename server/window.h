/*
 * window.h - addresses of a goroutine's stack that stay the same while the stack moves. Pure arithmetic.
 *
 * Go moves a stack when it grows or shrinks; what stays is the distance from its upper end. Each thread id owns a window of
 * 4 GiB that no process can have (non-canonical addresses); the window's top stands for the stack's upper end:
 *
 *   shown address = top(id) - (hi - address)
 *
 * Shape:  window of id: (BASE + id * 4 GiB, BASE + (id + 1) * 4 GiB]; the top itself belongs to it, for it is what sp and frame
 *         addresses are at the outermost frame. Ids are positive and below 2^31, so no window reaches canonical addresses.
 * Bounds: an address is translated only while it lies in what the stack covers now: lo <= address <= hi.
 */
#ifndef STOPGO_WINDOW_H
#define STOPGO_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A stack and the id that owns its window. hi 0: none, nothing is translated. */
struct window {
	int64_t id;
	uint64_t lo, hi;
};

/* Whose window the address lies in; 0: nobody's, it is an address like any other. */
int64_t window_owner(uint64_t addr);
/* The address that stands for the stack's upper end. */
uint64_t window_top(int64_t id);

/* What the client is shown for an address; itself when it is not on this stack. */
uint64_t window_show(const struct window *w, uint64_t addr);
/* Where a shown address is now; false: not in this window, or not covered by the stack. */
bool window_find(const struct window *w, uint64_t shown, uint64_t *ret);
/* How many bytes from a shown address up to the stack's end; 0: none of it is there. */
uint64_t window_bytes(const struct window *w, uint64_t shown);

#endif
