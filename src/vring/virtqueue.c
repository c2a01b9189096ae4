/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What split and packed rings share: start and stop, positions, mapping of buffers, copies; see
 * virtqueue.h. */
#include "vring/virtqueue.h"

#include <errno.h>

#include "vring/virtqueue_internal.h"

const char *virtqueue_size_wrong(uint16_t size, bool packed)
{
    if (size == 0 || size > VIRTQUEUE_SIZE_MAX)
        return "the size is not within 1 to 32768";
    if (!packed && (size & (size - 1)))
        return "the size of a split ring is not a power of two";
    return NULL;
}

struct area {
    const char *name;
    uint64_t gpa, len;
    unsigned align;
    void **hva;
};

static int map_area(struct guest_mem *mem, const struct area *area, struct kv_error *err)
{
    uint8_t *hva = guest_mem_range(mem, area->gpa, area->len);
    if (!IS_ALIGNED(area->gpa, area->align) || !IS_ALIGNED((uintptr_t)hva, area->align))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "%s at 0x%llx: it must be aligned to %u bytes", area->name,
                            (unsigned long long)area->gpa, area->align);
    if (!hva)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "%s at 0x%llx: its %llu bytes are not all in memory", area->name,
                            (unsigned long long)area->gpa, (unsigned long long)area->len);
    *area->hva = hva;
    return 0;
}

int virtqueue_start(struct virtqueue *vq, struct guest_mem *mem, struct kv_error *err)
{
    const char *wrong = virtqueue_size_wrong(vq->size, vq->packed);
    if (wrong)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL, "ring of %u: %s", vq->size, wrong);
    uint64_t size = vq->size;
    const struct area split[] = {
        {"descriptor table", vq->desc_gpa, DESC_SIZE * size, 16, &vq->desc},
        {"available ring", vq->driver_gpa, 6 + 2 * size, 2, &vq->driver},
        {"used ring", vq->device_gpa, 6 + 8 * size, 4, &vq->device},
    };
    const struct area packed[] = {
        {"descriptor ring", vq->desc_gpa, DESC_SIZE * size, 16, &vq->desc},
        {"driver event area", vq->driver_gpa, 4, 4, &vq->driver},
        {"device event area", vq->device_gpa, 4, 4, &vq->device},
    };
    const struct area *areas = vq->packed ? packed : split;
    for (unsigned i = 0; i < ARRAY_SIZE(split); i++) {
        int rc = map_area(mem, &areas[i], err);
        if (rc < 0)
            return rc;
    }
    if (!vq->positioned) {
        vq->last_avail = vq->used_idx = 0;
        vq->avail_wrap = vq->used_wrap = true;
        vq->pushed = 0;
        vq->inflight = vq->inflight_slots = 0;
    } else if (vq->packed && (vq->last_avail >= size || vq->used_idx >= size)) {
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "ring of %u: positions %u and %u are not inside", vq->size,
                            vq->last_avail, vq->used_idx);
    }
    vq->mem = mem;
    vq->region = 0;
    virtqueue_record_start(vq);
    vq->seen_avail = vq->last_avail;
    vq->started = true;
    virtqueue_enable_kick(vq);
    return 0;
}

void virtqueue_stop(struct virtqueue *vq)
{
    if (!vq->started)
        return;
    vq->started = false;
    vq->positioned = true;
    vq->desc = vq->driver = vq->device = NULL;
}

void virtqueue_reset(struct virtqueue *vq)
{
    *vq = (struct virtqueue){.size = vq->size, .record = vq->record};
}

void virtqueue_break(struct virtqueue *vq, const char *reason)
{
    if (vq->broken)
        return;
    vq->broken = true;
    vq->broken_reason = reason;
}

int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain)
{
    if (__builtin_expect(!vq->started || vq->broken, 0))
        return vq->broken ? -EPROTO : 0;
    int rc = vq->packed ? virtqueue_packed_pop(vq, chain) : virtqueue_split_pop(vq, chain);
    vq->inflight += rc > 0;
    return rc;
}

unsigned virtqueue_pop_buffers(struct virtqueue *vq, struct virtqueue_buffer *buffers, unsigned max,
                               bool in)
{
    if (__builtin_expect(!vq->started || vq->broken, 0))
        return 0;
    unsigned n = vq->packed ? virtqueue_packed_pop_buffers(vq, buffers, max, in)
                            : virtqueue_split_pop_buffers(vq, buffers, max, in);
    vq->inflight += (uint16_t)n;
    return n;
}

void virtqueue_push_buffers(struct virtqueue *vq, const struct virtqueue_buffer *buffers,
                            unsigned count, bool in)
{
    if (count == 0)
        return;
    vq->inflight -= (uint16_t)count;
    if (in &&
        __builtin_expect(__atomic_load_n(&vq->mem->dirty_bitmap, __ATOMIC_RELAXED) != NULL, 0)) {
        for (unsigned i = 0; i < count; i++)
            guest_mem_mark_dirty_hva(vq->mem, buffers[i].data, buffers[i].len);
    }
    if (vq->packed)
        virtqueue_packed_push_buffers(vq, buffers, count, in);
    else
        virtqueue_split_push_buffers(vq, buffers, count, in);
}

void virtqueue_unpop_buffers(struct virtqueue *vq, unsigned count)
{
    vq->inflight -= (uint16_t)count;
    if (vq->packed)
        virtqueue_packed_unpop_slots(vq, count);
    else
        vq->last_avail -= (uint16_t)count;
}

void virtqueue_unpop(struct virtqueue *vq, const struct virtqueue_chain *chain)
{
    vq->inflight--;
    if (vq->packed)
        virtqueue_packed_unpop_slots(vq, chain->ring_slots);
    else
        vq->last_avail--;
}

static void mark_in_buffers(struct virtqueue *vq, const struct virtqueue_chain *chain)
{
    for (unsigned i = 0; i < chain->in_count; i++) {
        const struct iovec *iov = &chain->iov[chain->out_count + i];
        guest_mem_mark_dirty_hva(vq->mem, iov->iov_base, iov->iov_len);
    }
}

void virtqueue_push_many(struct virtqueue *vq, const struct virtqueue_chain *chains,
                         const uint32_t *written, unsigned count)
{
    if (count == 0)
        return;
    vq->inflight -= (uint16_t)count;
    if (__builtin_expect(__atomic_load_n(&vq->mem->dirty_bitmap, __ATOMIC_RELAXED) != NULL, 0)) {
        for (unsigned i = 0; i < count; i++)
            mark_in_buffers(vq, &chains[i]);
    }
    if (vq->packed)
        virtqueue_packed_push(vq, chains, written, count);
    else
        virtqueue_split_push(vq, chains, written, count);
}

void virtqueue_push(struct virtqueue *vq, const struct virtqueue_chain *chain, uint32_t written)
{
    virtqueue_push_many(vq, chain, &written, 1);
}

bool virtqueue_should_interrupt(struct virtqueue *vq)
{
    if (vq->pushed == 0)
        return false;
    full_barrier();
    return virtqueue_wants_interrupt(vq);
}

bool virtqueue_wants_interrupt(struct virtqueue *vq)
{
    uint64_t pushed = vq->pushed;
    if (pushed == 0 || !vq->started)
        return false;
    vq->pushed = 0;
    return vq->packed ? virtqueue_packed_should_interrupt(vq, pushed)
                      : virtqueue_split_should_interrupt(vq, pushed);
}

static void kick_wanted(struct virtqueue *vq, bool wanted)
{
    vq->kick_disabled = !wanted;
    if (vq->packed)
        virtqueue_packed_kick_wanted(vq, wanted);
    else
        virtqueue_split_kick_wanted(vq, wanted);
}

void virtqueue_disable_kick(struct virtqueue *vq)
{
    if (vq->started && !vq->kick_disabled)
        kick_wanted(vq, false);
}

bool virtqueue_enable_kick(struct virtqueue *vq)
{
    if (!vq->started)
        return false;
    kick_wanted(vq, true);
    full_barrier();
    return !virtqueue_empty(vq);
}

bool virtqueue_empty(struct virtqueue *vq)
{
    if (!vq->started || vq->broken)
        return true;
    return vq->packed ? virtqueue_packed_empty(vq) : virtqueue_split_empty(vq);
}

uint32_t virtqueue_get_state(const struct virtqueue *vq)
{
    if (!vq->packed)
        return vq->last_avail;
    uint32_t avail = vq->last_avail | (uint32_t)vq->avail_wrap << 15;
    uint32_t used = vq->used_idx | (uint32_t)vq->used_wrap << 15;
    return avail | used << 16;
}

void virtqueue_set_state(struct virtqueue *vq, uint32_t state)
{
    if (vq->packed) {
        vq->last_avail = state & 0x7fff;
        vq->avail_wrap = state >> 15 & 1;
        vq->used_idx = state >> 16 & 0x7fff;
        vq->used_wrap = state >> 31;
    } else {
        /* Nothing is in flight, so as many were used as were available. */
        vq->last_avail = vq->used_idx = (uint16_t)state;
    }
    vq->positioned = true;
    virtqueue_nothing_in_flight(vq);
}

void virtqueue_nothing_in_flight(struct virtqueue *vq)
{
    vq->inflight = vq->inflight_slots = 0;
    /* Nobody knows any more what the driver was told last: tell it once too often. */
    vq->pushed = UINT64_C(1) << 32;
}

bool virtqueue_recover(struct virtqueue *vq)
{
    if (vq->packed)
        return false;
    virtqueue_set_state(vq, virtqueue_split_used_index(vq));
    return true;
}

/* So that the next buffer is looked for there first. */
static void find_region(struct virtqueue *vq, uint64_t gpa)
{
    const struct guest_mem *mem = vq->mem;
    for (unsigned i = 0; i < mem->region_count; i++) {
        if (gpa - mem->regions[i].gpa < mem->regions[i].size)
            vq->region = i;
    }
}

bool virtqueue_buffer_elsewhere(struct virtqueue *vq, struct virtqueue_buffer *buffer, uint64_t gpa,
                                uint32_t len)
{
    find_region(vq, gpa);
    return len && virtqueue_buffer_set(vq, buffer, gpa, len);
}

int virtqueue_add_elsewhere(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t gpa,
                            uint32_t len, bool in)
{
    const struct guest_mem *mem = vq->mem;
    unsigned n = chain->out_count + chain->in_count;
    int parts = guest_mem_iovec(mem, gpa, len, &chain->iov[n], chain->iov_max - n);
    if (parts == -E2BIG)
        return broken(vq, "a descriptor chain has too many segments");
    if (parts < 0)
        return broken(vq, "a descriptor points outside memory");
    find_region(vq, gpa);
    if (in) {
        chain->in_count += (unsigned)parts;
        chain->in_bytes += len;
    } else {
        chain->out_count += (unsigned)parts;
        chain->out_bytes += len;
    }
    return 0;
}

const uint8_t *virtqueue_indirect_table(struct virtqueue *vq, uint64_t gpa, uint32_t len,
                                        uint32_t *count)
{
    if (!vq->indirect) {
        virtqueue_break(vq, "an indirect descriptor came without the feature");
        return NULL;
    }
    if (len == 0 || len % DESC_SIZE) {
        virtqueue_break(vq, "the length of an indirect table is not a multiple of 16");
        return NULL;
    }
    const uint8_t *table = guest_mem_range(vq->mem, gpa, len);
    if (!table)
        virtqueue_break(vq, "an indirect table is not in memory");
    *count = len / DESC_SIZE;
    return table;
}

size_t virtqueue_read_out(const struct virtqueue_chain *chain, size_t offset, void *data,
                          size_t len)
{
    size_t done = 0;
    for (unsigned i = 0; i < chain->out_count && done < len; i++) {
        const struct iovec *iov = &chain->iov[i];
        if (offset >= iov->iov_len) {
            offset -= iov->iov_len;
            continue;
        }
        size_t part = MIN(len - done, iov->iov_len - offset);
        memcpy((char *)data + done, (const char *)iov->iov_base + offset, part);
        done += part;
        offset = 0;
    }
    return done;
}

size_t virtqueue_write_in(const struct virtqueue_chain *chain, size_t offset, const void *data,
                          size_t len)
{
    size_t done = 0;
    for (unsigned i = 0; i < chain->in_count && done < len; i++) {
        const struct iovec *iov = &chain->iov[chain->out_count + i];
        if (offset >= iov->iov_len) {
            offset -= iov->iov_len;
            continue;
        }
        size_t part = MIN(len - done, iov->iov_len - offset);
        memcpy((char *)iov->iov_base + offset, (const char *)data + done, part);
        done += part;
        offset = 0;
    }
    return done;
}
