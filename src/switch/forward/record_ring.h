/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records of any length that wait in a ring of a fixed size, each in one piece, first in, first
 * out: frames in a shaper, and on their way from one bridge to another. For one thread.
 */
#ifndef KV_SWITCH_FORWARD_RECORD_RING_H
#define KV_SWITCH_FORWARD_RECORD_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct record_ring {
    uint8_t *bytes;
    size_t size, head, tail;
    unsigned count; /* records */
};

/* 0 or -ENOMEM. */
int record_ring_init(struct record_ring *ring, size_t size);
void record_ring_free(struct record_ring *ring);

/* Room for a record of that many bytes, aligned for any type; the caller fills it in. NULL: there
 * is none. */
void *record_ring_push(struct record_ring *ring, size_t len);

/* The first record, or with *cursor of the call before the one behind it. Only count times. */
void *record_ring_next(const struct record_ring *ring, size_t *cursor);
/* Stands before the first record. */
static inline size_t record_ring_begin(const struct record_ring *ring)
{
    return ring->head;
}

/* Removes the first record; there is one. */
void record_ring_pop(struct record_ring *ring);

#endif
