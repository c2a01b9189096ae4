/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Split rings (virtio 1.2, 2.7), device side; called by virtqueue.c only. */
#include "vring/virtqueue_internal.h"

#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY 1u

struct avail_ring {
    uint16_t flags, idx;
    uint16_t ring[]; /* then used_event */
};

struct used_elem {
    uint32_t id, len;
};

struct used_ring {
    uint16_t flags, idx;
    struct used_elem ring[]; /* then avail_event */
};

static uint16_t *used_event(const struct virtqueue *vq)
{
    struct avail_ring *avail = vq->driver;
    return &avail->ring[vq->size];
}

static uint16_t *avail_event(const struct virtqueue *vq)
{
    struct used_ring *used = vq->device;
    return (uint16_t *)&used->ring[vq->size];
}

uint16_t virtqueue_split_used_index(const struct virtqueue *vq)
{
    const struct used_ring *used = vq->device;
    return load16_acquire(&used->idx);
}

/* How many chains wait. The driver's index is read only when fewer than wanted were there the last
 * time. */
static int waiting(struct virtqueue *vq, unsigned wanted)
{
    if ((uint16_t)(vq->seen_avail - vq->last_avail) < wanted) {
        const struct avail_ring *avail = vq->driver;
        vq->seen_avail = load16_acquire(&avail->idx);
        if ((uint16_t)(vq->seen_avail - vq->last_avail) > vq->size)
            return broken(vq, "the available index jumped by more than the queue size");
    }
    return (uint16_t)(vq->seen_avail - vq->last_avail);
}

unsigned virtqueue_split_pop_buffers(struct virtqueue *vq, struct virtqueue_buffer *buffers,
                                     unsigned max, bool in)
{
    const struct avail_ring *avail = vq->driver;
    const uint8_t *table = vq->desc;
    unsigned mask = vq->size - 1u, n;
    int there = waiting(vq, max);
    if (there <= 0)
        return 0;
    max = MIN(max, MIN((unsigned)there, (unsigned)(vq->size - vq->inflight)));
    for (unsigned i = 0; i < max; i++) {
        unsigned index = load16(&avail->ring[(vq->last_avail + i) & mask]) & mask;
        __builtin_prefetch(table + (size_t)index * DESC_SIZE);
    }
    for (n = 0; n < max; n++) {
        struct split_desc d;
        uint16_t index = load16(&avail->ring[(vq->last_avail + n) & mask]);
        if (index >= vq->size)
            break;
        desc_fetch(table + (size_t)index * DESC_SIZE, &d);
        if ((d.flags & (DESC_NEXT | DESC_INDIRECT | DESC_WRITE)) != (in ? DESC_WRITE : 0))
            break;
        if (__builtin_expect(!virtqueue_buffer_set(vq, &buffers[n], d.addr, d.len), 0) &&
            !virtqueue_buffer_elsewhere(vq, &buffers[n], d.addr, d.len))
            break;
        buffers[n].id = index;
    }
    vq->last_avail += (uint16_t)n;
    /* The descriptors of the next time, which mostly lie in order. */
    unsigned next = MIN((unsigned)there - n, 64u);
    unsigned head = load16(&avail->ring[vq->last_avail & mask]);
    for (unsigned i = 0; i < next; i += 4)
        __builtin_prefetch(table + (size_t)((head + i) & mask) * DESC_SIZE);
    return n;
}

void virtqueue_split_push_buffers(struct virtqueue *vq, const struct virtqueue_buffer *buffers,
                                  unsigned count, bool in)
{
    struct used_ring *used = vq->device;
    unsigned mask = vq->size - 1u;
    /* In order, the last one stands for all of them (2.7.9), where no lengths are told. */
    if (vq->in_order && !in) {
        used->ring[vq->used_idx & mask] = (struct used_elem){.id = buffers[count - 1].id};
    } else {
        for (unsigned i = 0; i < count; i++)
            used->ring[(vq->used_idx + i) & mask] =
                (struct used_elem){.id = buffers[i].id, .len = in ? buffers[i].len : 0};
    }
    if (__builtin_expect(__atomic_load_n(&vq->mem->dirty_bitmap, __ATOMIC_RELAXED) != NULL, 0))
        guest_mem_mark_dirty(vq->mem, vq->device_gpa, 4 + UINT64_C(8) * vq->size);
    vq->used_idx += (uint16_t)count;
    vq->pushed += count;
    store16_release(&used->idx, vq->used_idx);
    mark_dirty(vq, vq->device_gpa + 2, 2);
}

static int add_indirect(struct virtqueue *vq, struct virtqueue_chain *chain,
                        const struct split_desc *head)
{
    uint32_t count, index = 0, seen = 0;
    const uint8_t *table = virtqueue_indirect_table(vq, head->addr, head->len, &count);
    if (!table)
        return -EPROTO;
    for (;;) {
        struct split_desc d;
        desc_fetch(table + (size_t)index * DESC_SIZE, &d);
        if (d.flags & DESC_INDIRECT)
            return broken(vq, "an indirect table holds an indirect descriptor");
        if (++seen > count)
            return broken(vq, "an indirect table loops");
        int rc = chain_add(vq, chain, d.addr, d.len, d.flags & DESC_WRITE);
        if (rc < 0)
            return rc;
        if (!(d.flags & DESC_NEXT))
            return 0;
        index = d.next;
        if (index >= count)
            return broken(vq, "an indirect table's next index is outside the table");
    }
}

int virtqueue_split_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
    int rc = waiting(vq, 1);
    if (rc <= 0)
        return rc;
    if (vq->inflight >= vq->size)
        return broken(vq, "more chains are in flight than the queue holds");

    const struct avail_ring *avail = vq->driver;
    const uint8_t *table = vq->desc;
    unsigned mask = vq->size - 1u;
    uint16_t index = load16(&avail->ring[vq->last_avail & mask]);
    unsigned seen = 0;
    if (index >= vq->size)
        return broken(vq, "an available entry names a descriptor outside the table");
    chain->id = index;
    chain->ring_slots = 1;
    chain_begin(chain);
    for (;;) {
        struct split_desc d;
        desc_fetch(table + (size_t)index * DESC_SIZE, &d);
        if (++seen > vq->size)
            return broken(vq, "a descriptor chain loops");
        if (d.flags & DESC_INDIRECT) {
            if (d.flags & DESC_NEXT)
                return broken(vq, "a descriptor is indirect and has a next one");
            rc = add_indirect(vq, chain, &d);
            if (rc < 0)
                return rc;
            break;
        }
        rc = chain_add(vq, chain, d.addr, d.len, d.flags & DESC_WRITE);
        if (rc < 0)
            return rc;
        if (!(d.flags & DESC_NEXT))
            break;
        index = d.next;
        if (index >= vq->size)
            return broken(vq, "a descriptor's next index is outside the table");
    }
    vq->last_avail++;
    return 1;
}

void virtqueue_split_push(struct virtqueue *vq, const struct virtqueue_chain *chains,
                          const uint32_t *written, unsigned count)
{
    struct used_ring *used = vq->device;
    for (unsigned i = 0; i < count; i++) {
        unsigned slot = vq->used_idx++ & (vq->size - 1u);
        used->ring[slot] = (struct used_elem){.id = chains[i].id, .len = written[i]};
        mark_dirty(vq, vq->device_gpa + 4 + UINT64_C(8) * slot, 8);
    }
    vq->pushed += count;
    store16_release(&used->idx, vq->used_idx);
    mark_dirty(vq, vq->device_gpa + 2, 2);
}

bool virtqueue_split_should_interrupt(struct virtqueue *vq, uint64_t pushed)
{
    const struct avail_ring *avail = vq->driver;
    if (!vq->event_idx)
        return !(load16(&avail->flags) & AVAIL_NO_INTERRUPT);
    /* The driver asks for the moment that used index passes its event, modulo 2^16 (2.7.10). */
    return (uint16_t)(vq->used_idx - load16(used_event(vq)) - 1) < pushed;
}

void virtqueue_split_kick_wanted(struct virtqueue *vq, bool wanted)
{
    struct used_ring *used = vq->device;
    if (!vq->event_idx) {
        store16(&used->flags, wanted ? 0 : USED_NO_NOTIFY);
        mark_dirty(vq, vq->device_gpa, 2);
    } else if (wanted) {
        /* An event index that lies behind asks for nothing, so switching off needs no store. */
        store16(avail_event(vq), vq->last_avail);
        mark_dirty(vq, vq->device_gpa + 4 + UINT64_C(8) * vq->size, 2);
    }
}

bool virtqueue_split_empty(struct virtqueue *vq)
{
    return waiting(vq, 1) <= 0;
}
