/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the two ring formats share on their hot paths; see virtqueue.h. Shared
 * memory is read through the functions here, each of which reads it exactly
 * once, so that what was checked is what is used.
 */
#ifndef KV_VRING_VIRTQUEUE_INTERNAL_H
#define KV_VRING_VIRTQUEUE_INTERNAL_H

#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vring/virtqueue.h"

/* Descriptor flags, the same in both formats (2.7.5, 2.8.7). */
#define DESC_NEXT 1u
#define DESC_WRITE 2u
#define DESC_INDIRECT 4u

/* A descriptor: split {addr, len, flags, next}, packed {addr, len, id, flags}. */
#define DESC_SIZE 16

struct split_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};

struct packed_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t id, flags;
};

/* Copies 16 bytes of shared memory, at any alignment. The empty asm keeps the compiler from
 * reading the source again later. */
static inline void desc_fetch(const void *from, void *to)
{
    uint64_t half[2];
    memcpy(half, from, sizeof(half));
    __asm__ volatile("" : "+r"(half[0]), "+r"(half[1]));
    memcpy(to, half, sizeof(half));
}

static inline uint16_t load16(const uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint16_t load16_acquire(const uint16_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline void store16(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

static inline void store16_release(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* Orders our stores before our following loads: each side of the event scheme stores what it did
 * and then looks at what the other side asked for (2.7.7.2). */
static inline void full_barrier(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static inline int broken(struct virtqueue *vq, const char *reason)
{
    virtqueue_break(vq, reason);
    return -EPROTO;
}

/* A buffer that is not inside the region where the last one was. */
int virtqueue_add_elsewhere(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t gpa,
                            uint32_t len, bool in);

static inline void chain_begin(struct virtqueue_chain *chain)
{
    chain->out_count = chain->in_count = 0;
    chain->out_bytes = chain->in_bytes = 0;
}

/* Checks one buffer and appends it. 0 or -EPROTO (broken). */
static inline int chain_add(struct virtqueue *vq, struct virtqueue_chain *chain, uint64_t gpa,
                            uint32_t len, bool in)
{
    const struct guest_mem_region *r = &vq->mem->regions[vq->region];
    uint64_t offset = gpa - r->gpa;

    if (len == 0)
        return broken(vq, "a descriptor has length 0");
    if (!in && chain->in_count)
        return broken(vq, "a device-readable descriptor follows a device-writable one");
    /* Both are below 2^32 + 2^32, so the sum cannot wrap. */
    if (chain->out_bytes + chain->in_bytes + len > VIRTQUEUE_CHAIN_BYTES_MAX)
        return broken(vq, "a descriptor chain is longer than 4 GiB");
    if (offset >= r->size || len > r->size - offset)
        return virtqueue_add_elsewhere(vq, chain, gpa, len, in);
    unsigned n = chain->out_count + chain->in_count;
    if (n >= chain->iov_max)
        return broken(vq, "a descriptor chain has too many segments");
    chain->iov[n] = (struct iovec){.iov_base = r->hva + offset, .iov_len = len};
    if (in) {
        chain->in_count++;
        chain->in_bytes += len;
    } else {
        chain->out_count++;
        chain->out_bytes += len;
    }
    return 0;
}

/* Maps an indirect table and returns it with how many descriptors it holds (at least 1), or breaks
 * the queue and returns NULL. */
const uint8_t *virtqueue_indirect_table(struct virtqueue *vq, uint64_t gpa, uint32_t len,
                                        uint32_t *count);

static inline void mark_dirty(struct virtqueue *vq, uint64_t gpa, uint64_t len)
{
    if (__builtin_expect(__atomic_load_n(&vq->mem->dirty_bitmap, __ATOMIC_RELAXED) != NULL, 0))
        guest_mem_mark_dirty(vq->mem, gpa, len);
}

/* A lone buffer, where it lies in the region of the last one. False: somewhere else, or it is
 * empty, and data points nowhere. */
static inline bool virtqueue_buffer_set(struct virtqueue *vq, struct virtqueue_buffer *buffer,
                                        uint64_t gpa, uint32_t len)
{
    const struct guest_mem_region *r = &vq->mem->regions[vq->region];
    uint64_t offset = gpa - r->gpa;
    buffer->data = (uint8_t *)((uintptr_t)r->hva + offset);
    buffer->len = len;
    return offset < r->size && len <= r->size - offset && len;
}
/* The same in any one region. */
bool virtqueue_buffer_elsewhere(struct virtqueue *vq, struct virtqueue_buffer *buffer, uint64_t gpa,
                                uint32_t len);

unsigned virtqueue_split_pop_buffers(struct virtqueue *vq, struct virtqueue_buffer *buffers,
                                     unsigned max, bool in);
void virtqueue_split_push_buffers(struct virtqueue *vq, const struct virtqueue_buffer *buffers,
                                  unsigned count, bool in);
unsigned virtqueue_packed_pop_buffers(struct virtqueue *vq, struct virtqueue_buffer *buffers,
                                      unsigned max, bool in);
void virtqueue_packed_push_buffers(struct virtqueue *vq, const struct virtqueue_buffer *buffers,
                                   unsigned count, bool in);
int virtqueue_split_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void virtqueue_split_push(struct virtqueue *vq, const struct virtqueue_chain *chains,
                          const uint32_t *written, unsigned count);
bool virtqueue_split_should_interrupt(struct virtqueue *vq, uint64_t pushed);
void virtqueue_split_kick_wanted(struct virtqueue *vq, bool wanted);
bool virtqueue_split_empty(struct virtqueue *vq);
/* As it stands in shared memory. */
uint16_t virtqueue_split_used_index(const struct virtqueue *vq);

/* Chains that were popped before come again. */
void virtqueue_nothing_in_flight(struct virtqueue *vq);

/* virtqueue_record.c: takes what the last server left, and keeps a record from now on; around what
 * a push of that many slots of a packed ring writes. */
void virtqueue_record_start(struct virtqueue *vq);
void virtqueue_record_pushing(struct virtqueue *vq, unsigned slots);
void virtqueue_record_pushed(struct virtqueue *vq);

/* Whether the driver sees the slot, which is the next one to be used, as used; passes slots over
 * that are. */
bool virtqueue_packed_is_used(const struct virtqueue *vq, uint16_t slot);
void virtqueue_packed_skip_used(struct virtqueue *vq, unsigned slots);
int virtqueue_packed_pop(struct virtqueue *vq, struct virtqueue_chain *chain);
void virtqueue_packed_unpop_slots(struct virtqueue *vq, unsigned slots);
void virtqueue_packed_push(struct virtqueue *vq, const struct virtqueue_chain *chains,
                           const uint32_t *written, unsigned count);
bool virtqueue_packed_should_interrupt(struct virtqueue *vq, uint64_t pushed);
void virtqueue_packed_kick_wanted(struct virtqueue *vq, bool wanted);
bool virtqueue_packed_empty(struct virtqueue *vq);

#endif
