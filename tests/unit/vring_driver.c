/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The driver's side of a virtqueue; see vring_driver.h. */
#include "vring_driver.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

#define EVENT_ENABLE 0u
#define EVENT_DISABLE 1u
#define EVENT_DESC 2u
#define EVENT_WRAP (1u << 15)

static void *at(const struct vring_driver *d, uint64_t gpa, uint64_t len)
{
    return guest_mem_range(d->mem, gpa, len);
}

struct driver_split_desc *vring_split_desc_at(const struct vring_driver *d, unsigned index)
{
    return (struct driver_split_desc *)at(d, d->desc_gpa, 16 * (uint64_t)d->size) + index;
}

struct driver_packed_desc *vring_packed_desc_at(const struct vring_driver *d, unsigned slot)
{
    return (struct driver_packed_desc *)at(d, d->desc_gpa, 16 * (uint64_t)d->size) + slot;
}

uint16_t *vring_split_avail(const struct vring_driver *d)
{
    return at(d, d->driver_gpa, 6 + 2 * (uint64_t)d->size);
}

uint16_t *vring_split_used(const struct vring_driver *d)
{
    return at(d, d->device_gpa, 6 + 8 * (uint64_t)d->size);
}

uint64_t vring_driver_init(struct vring_driver *d, struct guest_mem *mem, uint16_t size,
                           bool packed, bool event_idx, uint64_t gpa)
{
    *d = (struct vring_driver){.mem = mem, .size = size, .packed = packed, .event_idx = event_idx};
    d->desc_gpa = ALIGN_UP(gpa, UINT64_C(16));
    d->driver_gpa = d->desc_gpa + UINT64_C(16) * size;
    d->device_gpa = ALIGN_UP(d->driver_gpa + (packed ? 4 : 6 + UINT64_C(2) * size), UINT64_C(4));
    uint64_t end = d->device_gpa + (packed ? 4 : 6 + UINT64_C(8) * size);
    memset(at(d, d->desc_gpa, end - d->desc_gpa), 0, end - d->desc_gpa);
    d->next_free = calloc(size, sizeof(*d->next_free));
    d->slots = calloc(size, sizeof(*d->slots));
    d->tokens = calloc(size, sizeof(*d->tokens));
    if (!d->next_free || !d->slots || !d->tokens)
        abort();
    for (unsigned i = 0; i < size; i++)
        d->next_free[i] = (uint16_t)(i + 1);
    d->free_count = size;
    d->avail_wrap = d->used_wrap = true;
    return end;
}

void vring_driver_destroy(struct vring_driver *d)
{
    free(d->next_free);
    free(d->slots);
    free(d->tokens);
    *d = (struct vring_driver){0};
}

void vring_driver_describe(const struct vring_driver *d, struct virtqueue *vq)
{
    vq->size = d->size;
    vq->packed = d->packed;
    vq->event_idx = d->event_idx;
    vq->indirect = true;
    vq->desc_gpa = d->desc_gpa;
    vq->driver_gpa = d->driver_gpa;
    vq->device_gpa = d->device_gpa;
}

static uint16_t buffer_flags(const struct vring_buffer *b)
{
    return b->in ? VRING_DESC_F_WRITE_ : 0;
}

static void add_split(struct vring_driver *d, const struct vring_buffer *buffers, unsigned count,
                      uint64_t indirect_gpa, uint64_t token)
{
    uint16_t *avail = vring_split_avail(d);
    uint16_t head = d->free_head, slot = head;
    unsigned slots = indirect_gpa ? 1 : count;
    if (indirect_gpa) {
        struct driver_split_desc *table = at(d, indirect_gpa, 16 * (uint64_t)count);
        for (unsigned i = 0; i < count; i++) {
            uint16_t next = i + 1 < count ? VRING_DESC_F_NEXT_ : 0;
            table[i] =
                (struct driver_split_desc){buffers[i].gpa, buffers[i].len,
                                           buffer_flags(&buffers[i]) | next, (uint16_t)(i + 1)};
        }
        *vring_split_desc_at(d, head) =
            (struct driver_split_desc){indirect_gpa, 16 * count, VRING_DESC_F_INDIRECT_, 0};
    }
    for (unsigned i = 0; i < slots; i++) {
        uint16_t following = d->next_free[slot];
        if (!indirect_gpa) {
            uint16_t next = i + 1 < count ? VRING_DESC_F_NEXT_ : 0;
            *vring_split_desc_at(d, slot) = (struct driver_split_desc){
                buffers[i].gpa, buffers[i].len, buffer_flags(&buffers[i]) | next, following};
        }
        if (i + 1 == slots)
            d->free_head = following;
        slot = following;
    }
    d->free_count -= (uint16_t)slots;
    d->slots[head] = (uint16_t)slots;
    d->tokens[head] = token;
    avail[2 + d->avail_idx % d->size] = head;
    d->avail_idx++;
    __atomic_store_n(&avail[1], d->avail_idx, __ATOMIC_RELEASE);
    d->added++;
}

static void add_packed(struct vring_driver *d, const struct vring_buffer *buffers, unsigned count,
                       uint64_t indirect_gpa, uint64_t token)
{
    uint16_t id = d->free_head, head_flags = 0;
    unsigned slots = indirect_gpa ? 1 : count, head = d->avail_idx;
    if (indirect_gpa) {
        struct driver_packed_desc *table = at(d, indirect_gpa, 16 * (uint64_t)count);
        for (unsigned i = 0; i < count; i++)
            table[i] = (struct driver_packed_desc){buffers[i].gpa, buffers[i].len, 0,
                                                   buffer_flags(&buffers[i])};
    }
    for (unsigned i = 0; i < slots; i++) {
        struct driver_packed_desc *desc = vring_packed_desc_at(d, d->avail_idx);
        uint16_t flags = d->avail_wrap ? VRING_PACKED_AVAIL_ : VRING_PACKED_USED_;
        desc->addr = indirect_gpa ? indirect_gpa : buffers[i].gpa;
        desc->len = indirect_gpa ? 16 * count : buffers[i].len;
        desc->id = id;
        flags |= indirect_gpa ? VRING_DESC_F_INDIRECT_ : buffer_flags(&buffers[i]);
        if (i + 1 < slots)
            flags |= VRING_DESC_F_NEXT_;
        if (i == 0)
            head_flags = flags;
        else
            __atomic_store_n(&desc->flags, flags, __ATOMIC_RELAXED);
        if (++d->avail_idx == d->size) {
            d->avail_idx = 0;
            d->avail_wrap = !d->avail_wrap;
        }
    }
    d->free_head = d->next_free[id];
    d->free_count -= (uint16_t)slots;
    d->slots[id] = (uint16_t)slots;
    d->tokens[id] = token;
    __atomic_store_n(&vring_packed_desc_at(d, head)->flags, head_flags, __ATOMIC_RELEASE);
    d->added += slots;
}

bool vring_driver_add(struct vring_driver *d, const struct vring_buffer *buffers, unsigned count,
                      uint64_t indirect_gpa, uint64_t token)
{
    if ((indirect_gpa ? 1 : count) > d->free_count)
        return false;
    if (d->packed)
        add_packed(d, buffers, count, indirect_gpa, token);
    else
        add_split(d, buffers, count, indirect_gpa, token);
    return true;
}

/* Did the side's position pass the event slot when it moved on by moved slots to here? */
static bool packed_passed(unsigned here, bool wrap, uint16_t event, unsigned moved, unsigned size)
{
    unsigned slot = event & ~EVENT_WRAP;
    bool event_wrap = event & EVENT_WRAP;
    for (unsigned i = 0; i < moved; i++) {
        if (here == 0) {
            here = size;
            wrap = !wrap;
        }
        here--;
        if (here == slot && wrap == event_wrap)
            return true;
    }
    return false;
}

bool vring_driver_kick_needed(struct vring_driver *d)
{
    unsigned added = d->added;
    d->added = 0;
    if (!added)
        return false;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (d->packed) {
        uint16_t *device = at(d, d->device_gpa, 4);
        uint16_t flags = __atomic_load_n(&device[1], __ATOMIC_ACQUIRE);
        if (flags != EVENT_DESC)
            return flags == EVENT_ENABLE;
        uint16_t event = __atomic_load_n(&device[0], __ATOMIC_RELAXED);
        return packed_passed(d->avail_idx, d->avail_wrap, event, added, d->size);
    }
    uint16_t *used = vring_split_used(d);
    if (!d->event_idx)
        return !(__atomic_load_n(&used[0], __ATOMIC_RELAXED) & 1);
    uint16_t event = __atomic_load_n(&used[2 + 4 * d->size], __ATOMIC_RELAXED);
    return (uint16_t)(d->avail_idx - event - 1) < added;
}

static void give_back(struct vring_driver *d, uint16_t head)
{
    if (d->packed) {
        d->next_free[head] = d->free_head;
    } else {
        uint16_t last = head;
        for (unsigned i = 1; i < d->slots[head]; i++)
            last = d->next_free[last];
        d->next_free[last] = d->free_head;
    }
    d->free_head = head;
    d->free_count += d->slots[head];
}

static bool used_waits(const struct vring_driver *d)
{
    if (!d->packed)
        return __atomic_load_n(&vring_split_used(d)[1], __ATOMIC_ACQUIRE) != d->used_idx;
    uint16_t flags =
        __atomic_load_n(&vring_packed_desc_at(d, d->used_idx)->flags, __ATOMIC_ACQUIRE);
    bool avail = flags & VRING_PACKED_AVAIL_, used = flags & VRING_PACKED_USED_;
    return avail == used && used == d->used_wrap;
}

bool vring_driver_get(struct vring_driver *d, uint64_t *token, uint32_t *written)
{
    uint16_t head;
    if (!used_waits(d))
        return false;
    if (d->packed) {
        const struct driver_packed_desc *desc = vring_packed_desc_at(d, d->used_idx);
        head = desc->id;
        *written = desc->flags & VRING_DESC_F_WRITE_ ? desc->len : 0;
        d->used_idx += d->slots[head];
        if (d->used_idx >= d->size) {
            d->used_idx -= d->size;
            d->used_wrap = !d->used_wrap;
        }
    } else {
        const uint16_t *elem = &vring_split_used(d)[2 + 4 * (d->used_idx % d->size)];
        uint32_t id;
        memcpy(&id, elem, 4);
        memcpy(written, elem + 2, 4);
        head = (uint16_t)id;
        d->used_idx++;
    }
    *token = d->tokens[head];
    give_back(d, head);
    return true;
}

void vring_driver_disable_interrupts(struct vring_driver *d)
{
    if (d->packed) {
        uint16_t *driver = at(d, d->driver_gpa, 4);
        __atomic_store_n(&driver[1], EVENT_DISABLE, __ATOMIC_RELAXED);
    } else if (!d->event_idx) {
        __atomic_store_n(&vring_split_avail(d)[0], 1, __ATOMIC_RELAXED);
    }
}

bool vring_driver_enable_interrupts(struct vring_driver *d, uint16_t ahead)
{
    if (d->packed) {
        uint16_t *driver = at(d, d->driver_gpa, 4);
        unsigned slot = d->used_idx + ahead;
        bool wrap = d->used_wrap;
        if (slot >= d->size) {
            slot -= d->size;
            wrap = !wrap;
        }
        uint16_t event = (uint16_t)(slot | (wrap ? EVENT_WRAP : 0));
        __atomic_store_n(&driver[0], event, __ATOMIC_RELAXED);
        __atomic_store_n(&driver[1], d->event_idx ? EVENT_DESC : EVENT_ENABLE, __ATOMIC_RELEASE);
    } else if (d->event_idx) {
        __atomic_store_n(&vring_split_avail(d)[2 + d->size], (uint16_t)(d->used_idx + ahead),
                         __ATOMIC_RELAXED);
    } else {
        __atomic_store_n(&vring_split_avail(d)[0], 0, __ATOMIC_RELAXED);
    }
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return used_waits(d);
}
