/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the forwarding thread tells the control thread of frames: a ring of slots of one size that
 * one thread fills and the other empties, without locks. The forwarding thread never waits: where
 * no slot is free, the record is lost and counted. It calls the kernel once in RING_PAUSE_NS at
 * most, when there is something after nothing; an idle ring takes no time of either.
 */
#ifndef KV_SWITCH_MONITOR_RING_H
#define KV_SWITCH_MONITOR_RING_H

#include <stdatomic.h>
#include <stddef.h>

#include "base/error.h"
#include "base/loop.h"

#define RING_PAUSE_NS INT64_C(10000000)

struct ring {
    size_t slot_size;
    uint32_t mask; /* slots, a power of two, less 1 */
    uint8_t *slots;
    int wake_fd;
    /* The control thread's. */
    struct loop *loop;
    struct loop_source source;
    struct loop_timer timer;
    void (*fn)(void *opaque, const void *slot);
    void *opaque;
    /* Shared: what is behind head and before tail is filled. */
    _Atomic(uint32_t) head __attribute__((aligned(64)));
    _Atomic(uint32_t) tail __attribute__((aligned(64)));
    _Atomic(uint64_t) lost;
    atomic_bool wake; /* the control thread waits for wake_fd */
};

/* On the control thread, where fn(opaque, slot) is called for each record. slots: a power of two.
 */
int ring_init(struct ring *ring, struct loop *loop, unsigned slots, size_t slot_size,
              void (*fn)(void *opaque, const void *slot), void *opaque, struct kv_error *err);
/* Calls fn for each record that is there. */
void ring_drain(struct ring *ring);
/* After the forwarding thread has stopped using it. What is in it is lost. */
void ring_destroy(struct ring *ring);

/* On the forwarding thread. A slot to fill, or NULL: the record is lost; then publish it. */
void *ring_reserve(struct ring *ring);
void ring_publish(struct ring *ring);

#endif
