/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Packed rings (virtio 1.2, 2.8), device side; called by virtqueue.c only. */
#include "vring/virtqueue_internal.h"

#define DESC_AVAIL (1u << 7)
#define DESC_USED (1u << 15)

/* Event suppression flags (2.8.14). */
#define EVENT_ENABLE 0u
#define EVENT_DISABLE 1u
#define EVENT_DESC 2u

#define EVENT_WRAP (1u << 15)

struct event_area {
    uint16_t off_wrap; /* slot, wrap counter in bit 15 */
    uint16_t flags;
};

static struct packed_desc *desc_at(const struct virtqueue *vq, unsigned slot)
{
    return (struct packed_desc *)vq->desc + slot;
}

/* Available: the avail bit equals the driver's wrap counter, the used bit does not (2.8.1). */
static bool is_available(const struct virtqueue *vq, uint16_t flags)
{
    bool avail = flags & DESC_AVAIL, used = flags & DESC_USED;
    return avail == vq->avail_wrap && used != vq->avail_wrap;
}

static void advance(uint16_t *slot, bool *wrap, unsigned by, uint16_t size)
{
    unsigned next = *slot + by;
    if (next >= size) {
        next -= size;
        *wrap = !*wrap;
    }
    *slot = (uint16_t)next;
}

static uint16_t used_flags(const struct virtqueue *vq, bool written)
{
    return (vq->used_wrap ? DESC_AVAIL | DESC_USED : 0) | (written ? DESC_WRITE : 0);
}

bool virtqueue_packed_is_used(const struct virtqueue *vq, uint16_t slot)
{
    uint16_t flags = load16_acquire(&desc_at(vq, slot)->flags);
    return !(flags & DESC_AVAIL) == !vq->used_wrap && !(flags & DESC_USED) == !vq->used_wrap;
}

void virtqueue_packed_skip_used(struct virtqueue *vq, unsigned slots)
{
    advance(&vq->used_idx, &vq->used_wrap, slots, vq->size);
}

static int add_indirect(struct virtqueue *vq, struct virtqueue_chain *chain,
                        const struct packed_desc *head)
{
    uint32_t count;
    const uint8_t *table = virtqueue_indirect_table(vq, head->addr, head->len, &count);
    if (!table)
        return -EPROTO;
    /* The whole table in order; of its flags only WRITE means something (2.8.7). */
    for (uint32_t i = 0; i < count; i++) {
        struct packed_desc d;
        desc_fetch(table + (size_t)i * DESC_SIZE, &d);
        if (d.flags & DESC_INDIRECT)
            return broken(vq, "an indirect table holds an indirect descriptor");
        int rc = chain_add(vq, chain, d.addr, d.len, d.flags & DESC_WRITE);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int virtqueue_packed_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
    unsigned slot = vq->last_avail, slots = 0;
    uint16_t flags = load16_acquire(&desc_at(vq, slot)->flags);
    if (!is_available(vq, flags))
        return 0;

    chain_begin(chain);
    for (;;) {
        struct packed_desc d;
        desc_fetch(desc_at(vq, slot), &d);
        if (slots > 0)
            flags = d.flags;
        if (vq->inflight_slots + ++slots > vq->size)
            return broken(vq, "more descriptors are in flight than the ring holds");
        int rc;
        if (flags & DESC_INDIRECT) {
            if (slots > 1 || flags & DESC_NEXT)
                return broken(vq, "an indirect descriptor is part of a list");
            rc = add_indirect(vq, chain, &d);
        } else {
            rc = chain_add(vq, chain, d.addr, d.len, flags & DESC_WRITE);
        }
        if (rc < 0)
            return rc;
        chain->id = d.id; /* the last one's counts (2.8.5) */
        if (!(flags & DESC_NEXT))
            break;
        slot = slot + 1 == vq->size ? 0 : slot + 1;
    }
    chain->ring_slots = (uint16_t)slots;
    vq->inflight_slots += (uint16_t)slots;
    advance(&vq->last_avail, &vq->avail_wrap, slots, vq->size);
    return 1;
}

void virtqueue_packed_unpop_slots(struct virtqueue *vq, unsigned slots)
{
    unsigned from = vq->last_avail;
    vq->inflight_slots -= (uint16_t)slots;
    if (from < slots) {
        from += vq->size;
        vq->avail_wrap = !vq->avail_wrap;
    }
    vq->last_avail = (uint16_t)(from - slots);
}

unsigned virtqueue_packed_pop_buffers(struct virtqueue *vq, struct virtqueue_buffer *buffers,
                                      unsigned max, bool in)
{
    unsigned n;
    max = MIN(max, (unsigned)(vq->size - vq->inflight_slots));
    for (n = 0; n < max; n++) {
        struct packed_desc d;
        const struct packed_desc *at = desc_at(vq, vq->last_avail);
        uint16_t flags = load16_acquire(&at->flags);
        if (!is_available(vq, flags))
            break;
        if ((flags & (DESC_NEXT | DESC_INDIRECT | DESC_WRITE)) != (in ? DESC_WRITE : 0))
            break;
        desc_fetch(at, &d);
        if (__builtin_expect(!virtqueue_buffer_set(vq, &buffers[n], d.addr, d.len), 0) &&
            !virtqueue_buffer_elsewhere(vq, &buffers[n], d.addr, d.len))
            break;
        buffers[n].id = d.id;
        advance(&vq->last_avail, &vq->avail_wrap, 1, vq->size);
    }
    vq->inflight_slots += (uint16_t)n;
    return n;
}

void virtqueue_packed_push_buffers(struct virtqueue *vq, const struct virtqueue_buffer *buffers,
                                   unsigned count, bool in)
{
    struct packed_desc *first = desc_at(vq, vq->used_idx);
    uint16_t first_flags = used_flags(vq, in && buffers[0].len);
    /* In order, the last one stands for all of them (2.8.8), where no lengths are told. */
    bool one = vq->in_order && !in;
    if (__builtin_expect(vq->record != NULL, 0))
        virtqueue_record_pushing(vq, count);
    first->id = buffers[one ? count - 1 : 0].id;
    first->len = in ? buffers[0].len : 0;
    if (one) {
        advance(&vq->used_idx, &vq->used_wrap, count, vq->size);
    } else {
        advance(&vq->used_idx, &vq->used_wrap, 1, vq->size);
        for (unsigned i = 1; i < count; i++) {
            struct packed_desc *d = desc_at(vq, vq->used_idx);
            d->id = buffers[i].id;
            d->len = in ? buffers[i].len : 0;
            store16_release(&d->flags, used_flags(vq, in && buffers[i].len));
            advance(&vq->used_idx, &vq->used_wrap, 1, vq->size);
        }
    }
    vq->inflight_slots -= (uint16_t)count;
    vq->pushed += count;
    store16_release(&first->flags, first_flags);
    if (__builtin_expect(vq->record != NULL, 0))
        virtqueue_record_pushed(vq);
    mark_dirty(vq, vq->desc_gpa, DESC_SIZE * (uint64_t)vq->size);
}

static unsigned slots_of(const struct virtqueue_chain *chains, unsigned count)
{
    unsigned slots = 0;
    for (unsigned i = 0; i < count; i++)
        slots += chains[i].ring_slots;
    return slots;
}

/* The driver looks at used descriptors in ring order, so storing the first one's flags last shows
 * it all of them at once. */
void virtqueue_packed_push(struct virtqueue *vq, const struct virtqueue_chain *chains,
                           const uint32_t *written, unsigned count)
{
    uint64_t first_gpa = vq->desc_gpa + UINT64_C(16) * vq->used_idx;
    struct packed_desc *first = desc_at(vq, vq->used_idx);
    uint16_t first_flags = 0;
    if (__builtin_expect(vq->record != NULL, 0))
        virtqueue_record_pushing(vq, slots_of(chains, count));
    for (unsigned i = 0; i < count; i++) {
        struct packed_desc *d = desc_at(vq, vq->used_idx);
        uint16_t flags = used_flags(vq, written[i]);
        d->id = chains[i].id;
        d->len = written[i];
        if (i == 0)
            first_flags = flags;
        else
            store16_release(&d->flags, flags);
        mark_dirty(vq, vq->desc_gpa + UINT64_C(16) * vq->used_idx, DESC_SIZE);
        vq->inflight_slots -= chains[i].ring_slots;
        vq->pushed += chains[i].ring_slots;
        advance(&vq->used_idx, &vq->used_wrap, chains[i].ring_slots, vq->size);
    }
    store16_release(&first->flags, first_flags);
    if (__builtin_expect(vq->record != NULL, 0))
        virtqueue_record_pushed(vq);
    mark_dirty(vq, first_gpa, DESC_SIZE);
}

bool virtqueue_packed_should_interrupt(struct virtqueue *vq, uint64_t pushed)
{
    const struct event_area *driver = vq->driver;
    uint16_t flags = load16_acquire(&driver->flags);
    if (flags == EVENT_DISABLE)
        return false;
    if (flags != EVENT_DESC || !vq->event_idx || pushed > vq->size)
        return true;
    /* How many slots the event lies behind the next used slot; those of the other wrap counter
     * were passed before the ring began anew, or lie a lap ahead (more than pushed, then). */
    uint16_t event = load16(&driver->off_wrap);
    int behind = (int)vq->used_idx - (int)(event & ~EVENT_WRAP);
    if (!(event & EVENT_WRAP) != !vq->used_wrap)
        behind += vq->size;
    return behind > 0 && (uint64_t)behind <= pushed;
}

void virtqueue_packed_kick_wanted(struct virtqueue *vq, bool wanted)
{
    struct event_area *device = vq->device;
    if (!wanted) {
        store16(&device->flags, EVENT_DISABLE);
    } else if (!vq->event_idx) {
        store16(&device->flags, EVENT_ENABLE);
    } else {
        store16(&device->off_wrap, vq->last_avail | (vq->avail_wrap ? EVENT_WRAP : 0));
        store16_release(&device->flags, EVENT_DESC);
    }
    mark_dirty(vq, vq->device_gpa, 4);
}

bool virtqueue_packed_empty(struct virtqueue *vq)
{
    return !is_available(vq, load16_acquire(&desc_at(vq, vq->last_avail)->flags));
}
