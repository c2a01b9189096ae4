/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a ring's server leaves behind when it dies without a word; see virtqueue.h. A split ring
 * tells itself where its server stood (2.7.8). A packed ring does not: used descriptors lie over
 * those that were available, and the driver sees a push when its first descriptor's flags are
 * written. So the record has the position and, while a push goes on, what it writes over.
 *
 * The record lies in memory that others write, too: what is in it is checked before it is used.
 */
#include "vring/virtqueue_internal.h"

#define MAGIC UINT64_C(0x31646372724b5651)

/* Changes as a whole: a server may die at any instruction. */
struct position {
    uint16_t size;
    uint16_t used_idx; /* packed: the next used slot */
    uint8_t used_wrap, packed;
    uint16_t pushing; /* packed: slots that a push writes from used_idx on; 0: none goes on */
};

struct virtqueue_record {
    uint64_t magic; /* another: the ring was given back, or never served */
    uint64_t position;
    struct packed_desc slots[]; /* that the push writes over, at their places */
};

size_t virtqueue_record_size(uint16_t size)
{
    return ALIGN_UP(sizeof(struct virtqueue_record) + size * sizeof(struct packed_desc),
                    (size_t)64);
}

void virtqueue_record_end(struct virtqueue *vq)
{
    if (vq->record)
        vq->record->magic = 0;
}

static void set_position(const struct virtqueue *vq, uint16_t pushing)
{
    const struct position position = {vq->size, vq->used_idx, vq->used_wrap, vq->packed, pushing};
    uint64_t word;
    memcpy(&word, &position, sizeof(word));
    __atomic_store_n(&vq->record->position, word, __ATOMIC_RELEASE);
}

/* False: the record is none of such a ring. */
static bool get_position(const struct virtqueue *vq, struct position *position)
{
    uint64_t word = __atomic_load_n(&vq->record->position, __ATOMIC_ACQUIRE);
    memcpy(position, &word, sizeof(word));
    return vq->record->magic == MAGIC && position->size == vq->size &&
           !position->packed == !vq->packed && position->pushing <= vq->size &&
           (!vq->packed || position->used_idx < vq->size);
}

static uint16_t next_slot(const struct virtqueue *vq, uint16_t slot)
{
    return slot + 1u == vq->size ? 0 : (uint16_t)(slot + 1);
}

/* The driver has seen the push that was going on, or what it wrote is undone. */
static void settle_push(struct virtqueue *vq, uint16_t count)
{
    struct packed_desc *ring = vq->desc;
    if (virtqueue_packed_is_used(vq, vq->used_idx)) {
        virtqueue_packed_skip_used(vq, count);
        return;
    }
    for (uint16_t i = 0, slot = vq->used_idx; i < count; i++, slot = next_slot(vq, slot)) {
        struct packed_desc was;
        desc_fetch(&vq->record->slots[slot], &was);
        ring[slot].addr = was.addr;
        ring[slot].len = was.len;
        ring[slot].id = was.id;
        store16_release(&ring[slot].flags, was.flags);
    }
    mark_dirty(vq, vq->desc_gpa, DESC_SIZE * (uint64_t)vq->size);
}

void virtqueue_record_start(struct virtqueue *vq)
{
    struct position position;
    if (!vq->record)
        return;
    if (get_position(vq, &position)) {
        if (vq->packed) {
            vq->used_idx = position.used_idx;
            vq->used_wrap = position.used_wrap;
            if (position.pushing)
                settle_push(vq, position.pushing);
        } else {
            vq->used_idx = virtqueue_split_used_index(vq);
        }
        vq->last_avail = vq->used_idx;
        vq->avail_wrap = vq->used_wrap;
        virtqueue_nothing_in_flight(vq);
    }
    set_position(vq, 0);
    __atomic_store_n(&vq->record->magic, MAGIC, __ATOMIC_RELEASE);
}

void virtqueue_record_pushing(struct virtqueue *vq, unsigned slots)
{
    const struct packed_desc *ring = vq->desc;
    uint16_t slot = vq->used_idx;
    for (unsigned i = 0; i < slots; i++, slot = next_slot(vq, slot))
        desc_fetch(&ring[slot], &vq->record->slots[slot]);
    set_position(vq, (uint16_t)slots);
    /* What is written to the ring comes behind. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void virtqueue_record_pushed(struct virtqueue *vq)
{
    set_position(vq, 0);
}
