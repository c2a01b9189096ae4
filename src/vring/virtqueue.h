/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device's side of a virtqueue, split (virtio 1.2, 2.7) or packed (2.8),
 * with indirect descriptors and event index. The other side is hostile: each
 * index, length, flag and address is checked, and shared memory is read once.
 * A rule broken by the driver makes the queue `broken`: nothing is popped any
 * more until virtqueue_reset().
 *
 * A queue belongs to the one thread that pops and pushes. virtqueue.c has what
 * both formats share, virtqueue_split.c and virtqueue_packed.c the rest.
 */
#ifndef KV_VRING_VIRTQUEUE_H
#define KV_VRING_VIRTQUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/error.h"
#include "vring/guest_mem.h"

#define VIRTQUEUE_SIZE_MAX 32768 /* split: power of two; 2.7 */

/* Segments that a chain's total may add up to (2.7.5): the driver makes none longer. */
#define VIRTQUEUE_CHAIN_BYTES_MAX (UINT64_C(1) << 32)

/*
 * One request: the buffers of a descriptor chain, device-readable first
 * (2.7.4.2). The id is the driver's word: two chains in flight may carry the
 * same one, so never index by it. No more than the queue's size are ever in
 * flight, so a device may keep exactly that many.
 */
struct virtqueue_chain {
    uint16_t id;         /* split: head index; packed: buffer id */
    uint16_t ring_slots; /* descriptors of the ring that it takes (split: always 1) */
    unsigned out_count;  /* iov[0 .. out_count): the device reads */
    unsigned in_count;   /* iov[out_count .. out_count + in_count): the device writes */
    uint64_t out_bytes, in_bytes;
    unsigned iov_max;  /* set by the caller before virtqueue_pop() */
    struct iovec *iov; /* the caller's array; unchanged until the push, which marks it dirty */
};

struct virtqueue {
    struct guest_mem *mem;
    /* Set by the transport before the start. */
    uint16_t size;
    bool packed, event_idx;
    bool indirect;       /* VIRTIO_F_INDIRECT_DESC was negotiated */
    bool in_order;       /* VIRTIO_F_IN_ORDER was negotiated: the device pushes as it popped */
    uint64_t desc_gpa;   /* split: descriptor table; packed: descriptor ring */
    uint64_t driver_gpa; /* split: available ring; packed: driver event suppression */
    uint64_t device_gpa; /* split: used ring; packed: device event suppression */

    /* Own state; read by tests and for saving. */
    bool started, broken;
    bool positioned;              /* the start goes on from the positions below */
    const char *broken_reason;    /* static text */
    void *desc, *driver, *device; /* host addresses of the three areas */
    uint16_t last_avail;          /* split: next available index; packed: next slot */
    uint16_t seen_avail;          /* split: the driver's index when it was last read */
    uint16_t used_idx;            /* split: next used index; packed: next used slot */
    bool avail_wrap, used_wrap;   /* packed wrap counters */
    bool kick_disabled;
    unsigned region;         /* where the last buffer was found in mem */
    uint16_t inflight;       /* chains popped and not pushed yet */
    uint16_t inflight_slots; /* packed: ring slots that they take */
    uint64_t pushed;         /* since the last virtqueue_should_interrupt(); packed: slots */
    struct virtqueue_record *record; /* see below; NULL: none */
};

/* Maps the rings and starts from the beginning, or from where virtqueue_stop() or
 * virtqueue_set_state() left it. Kicks are enabled. -EINVAL with a reason when size, alignment or
 * an address is wrong. */
int virtqueue_start(struct virtqueue *vq, struct guest_mem *mem, struct kv_error *err);

/* Unmaps the rings; addresses, size and positions stay. Chains in flight may be pushed after the
 * next start. */
void virtqueue_stop(struct virtqueue *vq);

/* As after zeroing, but for the size: not broken, addresses and positions forgotten. Stopped. */
void virtqueue_reset(struct virtqueue *vq);

/*
 * Takes the next chain. 1: got one; 0: none; -EPROTO: the driver broke a rule
 * (the queue is broken from now on). A chain with more segments than iov_max
 * breaks the queue too, so give at least as many as the device's limit says.
 */
int virtqueue_pop(struct virtqueue *vq, struct virtqueue_chain *chain);

/*
 * The way for many small requests: chains of one buffer each, as network drivers mostly make them.
 * Takes up to max that come next, but stops before the first that is anything else (more
 * descriptors, an indirect table, the other direction, a rule broken): virtqueue_pop() takes that
 * one or breaks the queue. in: the device writes them.
 */
struct virtqueue_buffer {
    uint8_t *data;
    uint32_t len;
    uint16_t id;
};
unsigned virtqueue_pop_buffers(struct virtqueue *vq, struct virtqueue_buffer *buffers, unsigned max,
                               bool in);

/* Gives the first ones back, in order; the driver sees all or none. len of buffers that the device
 * writes: how much it wrote. */
void virtqueue_push_buffers(struct virtqueue *vq, const struct virtqueue_buffer *buffers,
                            unsigned count, bool in);

/* Undoes the pop of the last ones, which come again. */
void virtqueue_unpop_buffers(struct virtqueue *vq, unsigned count);

/* Undoes the last pop that was not undone yet; the chain comes again. Chains popped before it may
 * have been pushed meanwhile. */
void virtqueue_unpop(struct virtqueue *vq, const struct virtqueue_chain *chain);

/* Gives a chain back with how many bytes were written into its in-buffers; marks all of them dirty
 * (a request that failed half-way wrote some, too). */
void virtqueue_push(struct virtqueue *vq, const struct virtqueue_chain *chain, uint32_t written);

/* The same for several chains, in order; the driver sees all of them or none. A received frame
 * spread over merged buffers needs that (5.1.6.4). */
void virtqueue_push_many(struct virtqueue *vq, const struct virtqueue_chain *chains,
                         const uint32_t *written, unsigned count);

/* True when the driver wants an interrupt for what was pushed since the last time it was asked
 * (2.7.7, 2.8.10); false when nothing was. Contains the barrier. */
bool virtqueue_should_interrupt(struct virtqueue *vq);

/* The same for a caller that has had a barrier (seq_cst) since the push. */
bool virtqueue_wants_interrupt(struct virtqueue *vq);

/* Tells the driver not to kick, or to kick again. virtqueue_enable_kick() returns true when chains
 * arrived meanwhile, so the caller goes round once more. It must be called each time the queue was
 * found empty: with event index a kick is asked for once only. */
void virtqueue_disable_kick(struct virtqueue *vq);
bool virtqueue_enable_kick(struct virtqueue *vq);

/* True when nothing is waiting (or the queue is stopped or broken). */
bool virtqueue_empty(struct virtqueue *vq);

/* Breaks the queue with a static reason (a device found a malformed request). */
void virtqueue_break(struct virtqueue *vq, const char *reason);

/* Positions for save/restore and vhost, while nothing is in flight: split: available index in the
 * low 16 bits; packed: available index and wrap (bit 15) in the low, used in the high 16 bits (as
 * vhost-user's GET_VRING_BASE). What is set is checked by the start. */
uint32_t virtqueue_get_state(const struct virtqueue *vq);
void virtqueue_set_state(struct virtqueue *vq, uint32_t state);

/*
 * For a server that may die without a word, and one that goes on in its place, which must push as
 * it popped: memory of virtqueue_record_size() bytes, zeroes at first, that outlives the server and
 * that vq->record points to before the start. A start finds what the last server left there, and
 * goes on behind what it gave back, whatever positions were set. Once the positions are told to
 * somebody the record ends.
 */
struct virtqueue_record;
size_t virtqueue_record_size(uint16_t size);
void virtqueue_record_end(struct virtqueue *vq);

/* Whoever served the ring in our place is gone without a word: go on behind what it gave back, so
 * that what it had taken comes again. False, and nothing is done, where the ring does not tell
 * (packed). Started. */
bool virtqueue_recover(struct virtqueue *vq);

/* Why a queue size is no good for the format, or NULL. */
const char *virtqueue_size_wrong(uint16_t size, bool packed);

/* Copies between a chain's buffers and flat memory, at an offset; they return how many bytes. */
size_t virtqueue_read_out(const struct virtqueue_chain *chain, size_t offset, void *data,
                          size_t len);
size_t virtqueue_write_in(const struct virtqueue_chain *chain, size_t offset, const void *data,
                          size_t len);

#endif
