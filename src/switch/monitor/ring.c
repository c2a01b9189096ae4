/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Records from the forwarding thread to the control thread; see ring.h. */
#include "switch/monitor/ring.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void *slot_at(const struct ring *ring, uint32_t position)
{
    return ring->slots + (size_t)(position & ring->mask) * ring->slot_size;
}

/* --- The forwarding thread's side ------------------------------------------ */

void *ring_reserve(struct ring *ring)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&ring->head, memory_order_acquire) > ring->mask) {
        atomic_fetch_add_explicit(&ring->lost, 1, memory_order_relaxed);
        return NULL;
    }
    return slot_at(ring, tail);
}

void ring_publish(struct ring *ring)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    /* Whoever is about to wait either sees the record, or we see that he waits. */
    atomic_store(&ring->tail, tail + 1);
    if (atomic_load(&ring->wake) && atomic_exchange(&ring->wake, false))
        eventfd_write(ring->wake_fd, 1);
}

/* --- The control thread's side --------------------------------------------- */

static bool drain(struct ring *ring)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load(&ring->tail);
    bool any = head != tail;
    while (head != tail) {
        ring->fn(ring->opaque, slot_at(ring, head));
        atomic_store_explicit(&ring->head, ++head, memory_order_release);
    }
    return any;
}

static void look(void *opaque)
{
    struct ring *ring = opaque;
    if (!drain(ring)) {
        atomic_store(&ring->wake, true);
        if (!drain(ring) || !atomic_exchange(&ring->wake, false))
            return; /* the descriptor tells of what comes, or has told already */
    }
    loop_timer_arm(ring->loop, &ring->timer, RING_PAUSE_NS, look, ring);
}

static void on_wake(void *opaque, uint32_t events)
{
    struct ring *ring = opaque;
    eventfd_t count;
    eventfd_read(ring->wake_fd, &count);
    look(ring);
}

void ring_drain(struct ring *ring)
{
    drain(ring);
}

int ring_init(struct ring *ring, struct loop *loop, unsigned slots, size_t slot_size,
              void (*fn)(void *opaque, const void *slot), void *opaque, struct kv_error *err)
{
    *ring = (struct ring){.slot_size = slot_size,
                          .mask = slots - 1,
                          .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                          .source = LOOP_SOURCE_INIT,
                          .loop = loop,
                          .fn = fn,
                          .opaque = opaque};
    ring->slots = calloc(slots, slot_size);
    int rc = ring->wake_fd < 0 ? -errno : ring->slots ? 0 : -ENOMEM;
    if (rc == 0)
        rc = loop_add(loop, &ring->source, ring->wake_fd, EPOLLIN, on_wake, ring);
    if (rc < 0) {
        ring_destroy(ring);
        return kv_error_errno(err, KV_ERR_NET, -rc, "ring of records");
    }
    atomic_store(&ring->wake, true);
    return 0;
}

void ring_destroy(struct ring *ring)
{
    loop_remove(&ring->source);
    loop_timer_cancel(&ring->timer);
    if (ring->wake_fd >= 0)
        close(ring->wake_fd);
    free(ring->slots);
    ring->slots = NULL;
    ring->wake_fd = -1;
}
