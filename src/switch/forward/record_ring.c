/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records that wait; see record_ring.h. */
#include "switch/forward/record_ring.h"

#include <errno.h>
#include <stdlib.h>

#include "base/util.h"

/* In front of each record. Where one would not fit before the ring's end, a header with WRAP stands
 * for the rest of it, or less than a header is left. */
struct header {
    size_t size; /* with the header; WRAP: the next is at the ring's begin */
} __attribute__((aligned(16)));
#define WRAP SIZE_MAX

int record_ring_init(struct record_ring *ring, size_t size)
{
    *ring = (struct record_ring){.size = ALIGN_UP(size, sizeof(struct header))};
    ring->bytes = aligned_alloc(sizeof(struct header), ring->size);
    return ring->bytes ? 0 : -ENOMEM;
}

void record_ring_free(struct record_ring *ring)
{
    free(ring->bytes);
    ring->bytes = NULL;
}

static struct header *header_at(const struct record_ring *ring, size_t offset)
{
    return (struct header *)(void *)(ring->bytes + offset);
}

void *record_ring_push(struct record_ring *ring, size_t len)
{
    size_t size = sizeof(struct header) + ALIGN_UP(len, sizeof(struct header));
    bool wrapped = ring->count && ring->tail <= ring->head;
    if (ring->count == 0)
        ring->head = ring->tail = 0;
    size_t end = wrapped ? ring->head : ring->size;
    if (end - ring->tail < size) {
        if (wrapped || ring->head < size)
            return NULL;
        if (ring->size - ring->tail >= sizeof(struct header))
            header_at(ring, ring->tail)->size = WRAP;
        ring->tail = 0;
    }
    struct header *header = header_at(ring, ring->tail);
    header->size = size;
    ring->tail += size;
    ring->count++;
    return header + 1;
}

/* Where the record at the offset, or behind the ring's end, is. */
static size_t place(const struct record_ring *ring, size_t offset)
{
    bool wraps =
        ring->size - offset < sizeof(struct header) || header_at(ring, offset)->size == WRAP;
    return wraps ? 0 : offset;
}

void *record_ring_next(const struct record_ring *ring, size_t *cursor)
{
    size_t at = place(ring, *cursor);
    *cursor = at + header_at(ring, at)->size;
    return header_at(ring, at) + 1;
}

void record_ring_pop(struct record_ring *ring)
{
    record_ring_next(ring, &ring->head);
    ring->count--;
}
