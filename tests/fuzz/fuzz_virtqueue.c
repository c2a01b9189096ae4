/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: a split or packed ring in fake memory of two regions, written by
 * a driver that breaks every rule while a device pops, undoes, pushes in any
 * order, stops, goes on and is restored. What a pop hands out must lie in
 * memory and add up, and never more may be in flight than the ring holds.
 */
#include <string.h>

#include "base/util.h"
#include "require.h"
#include "vring/virtqueue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REGION_SIZE 4096
#define HIGH_GPA \
    REGION_SIZE /* the second region continues the first one, elsewhere in the process */
#define RING_MAX 64
#define SEGMENTS 12
#define DESC_GPA 0
#define DRIVER_GPA 0x400
#define DEVICE_GPA 0x500
#define TABLE_GPA 0x800

struct header {
    uint8_t flags, size;
    uint16_t skew; /* moves an area away from where it belongs */
    uint32_t state;
} __attribute__((packed));

struct act {
    uint8_t kind, slot;
    uint16_t small;
    uint32_t value;
} __attribute__((packed));

static uint8_t *regions[2];
static struct guest_mem mem;
static uint64_t dirty;
static struct virtqueue vq;
static uint16_t avail; /* what the driver says it made available */

static struct {
    struct virtqueue_chain chain;
    struct iovec iov[SEGMENTS];
} flight[RING_MAX]; /* in the order of the pops */
static unsigned count;
static bool newest_pushed;

static void build(void)
{
    for (unsigned i = 0; i < 2; i++) {
        regions[i] =
            aligned_alloc(64, REGION_SIZE); /* two allocations: the sanitizer guards them */
        struct guest_mem_region region = {
            .gpa = i * HIGH_GPA, .size = REGION_SIZE, .hva = regions[i], .fd = -1};
        require(guest_mem_add(&mem, &region) == 0);
    }
    mem.dirty_pages = 2 * REGION_SIZE / 4096;
}

static bool in_memory(const struct iovec *iov)
{
    for (unsigned i = 0; i < 2; i++) {
        uint64_t offset = (uint64_t)((uint8_t *)iov->iov_base - regions[i]);
        if (offset < REGION_SIZE && iov->iov_len <= REGION_SIZE - offset)
            return true;
    }
    return false;
}

static void check(const struct virtqueue_chain *chain)
{
    uint64_t bytes[2] = {0};
    require(chain->out_count + chain->in_count <= SEGMENTS);
    for (unsigned i = 0; i < chain->out_count + chain->in_count; i++) {
        require(in_memory(&chain->iov[i]) && chain->iov[i].iov_len);
        bytes[i >= chain->out_count] += chain->iov[i].iov_len;
    }
    require(bytes[0] == chain->out_bytes && bytes[1] == chain->in_bytes);
    require(chain->ring_slots >= 1 && chain->ring_slots <= vq.size);
}

static void pop(void)
{
    if (count == vq.size)
        return;
    struct virtqueue_chain *chain = &flight[count].chain;
    *chain = (struct virtqueue_chain){.iov = flight[count].iov, .iov_max = SEGMENTS};
    int rc = virtqueue_pop(&vq, chain);
    require(rc == 1 ? !vq.broken : rc == 0 || vq.broken);
    if (rc != 1)
        return;
    check(chain);
    count++;
    newest_pushed = false;
    require(vq.inflight == count && vq.inflight_slots <= vq.size);
}

static void forget(unsigned first, unsigned many)
{
    for (unsigned i = first; i + many < count; i++) {
        flight[i] = flight[i + many];
        flight[i].chain.iov = flight[i].iov;
    }
    newest_pushed |= first + many == count;
    count -= many;
}

static void push(const struct act *act)
{
    struct virtqueue_chain chains[RING_MAX];
    uint32_t written[RING_MAX];
    if (count == 0)
        return;
    unsigned first = vq.in_order ? 0 : act->slot % count;
    unsigned many = 1 + act->small % (count - first);
    for (unsigned i = 0; i < many; i++) {
        chains[i] = flight[first + i].chain;
        written[i] = (uint32_t)virtqueue_write_in(&chains[i], act->value & 63, act, sizeof(*act));
    }
    if (many == 1)
        virtqueue_push(&vq, chains, written[0]);
    else
        virtqueue_push_many(&vq, chains, written, many);
    forget(first, many);
}

static void unpop(void)
{
    if (count == 0 || newest_pushed)
        return;
    virtqueue_unpop(&vq, &flight[--count].chain);
}

static void copy(const struct act *act)
{
    uint8_t bytes[300];
    if (count == 0)
        return;
    const struct virtqueue_chain *chain = &flight[act->slot % count].chain;
    size_t offset = act->small, len = act->value % sizeof(bytes);
    size_t left = chain->out_bytes > offset ? chain->out_bytes - offset : 0;
    require(virtqueue_read_out(chain, offset, bytes, len) == MIN(len, left));
}

/* Saved, restored and started again, as a migration does when nothing is in flight; else paused. */
static void move(void)
{
    bool was_broken = vq.broken;
    if (count == 0) {
        struct virtqueue old = vq;
        uint32_t state = virtqueue_get_state(&vq);
        virtqueue_reset(&vq);
        vq.packed = old.packed;
        vq.event_idx = old.event_idx;
        vq.indirect = old.indirect;
        vq.in_order = old.in_order;
        vq.desc_gpa = old.desc_gpa;
        vq.driver_gpa = old.driver_gpa;
        vq.device_gpa = old.device_gpa;
        virtqueue_set_state(&vq, state);
        require(virtqueue_get_state(&vq) == state);
    } else {
        virtqueue_stop(&vq);
        require(virtqueue_empty(&vq) && (was_broken || virtqueue_pop(&vq, NULL) == 0));
    }
    require(virtqueue_start(&vq, &mem, NULL) == 0);
}

static void descriptor(const struct act *act, uint32_t gpa)
{
    uint8_t *desc = guest_mem_range(&mem, gpa, 16);
    store_le(desc, act->value & 0x3fff, 8); /* memory ends in the middle */
    store_le(desc + 8, act->small & 0x1ff ? act->value >> 14 & 0x7ff : act->value, 4);
    store_le(desc + 12, vq.packed ? act->slot : act->small >> 9, 2);
    store_le(desc + 14, vq.packed ? act->small : act->slot, 2);
}

/* The next descriptor as a proper driver writes it: a chain of one buffer. */
static void proper(const struct act *act)
{
    unsigned slot = avail % vq.size;
    bool wrap = !(avail / vq.size & 1);
    unsigned flags = act->small & 7;
    uint8_t *desc = regions[0] + DESC_GPA + slot * 16;
    store_le(desc, act->value & 0x1fff, 8);
    store_le(desc + 8, act->value >> 13 & 0xff, 4);
    if (vq.packed) {
        store_le(desc + 12, act->slot, 2);
        store_le(desc + 14, flags | (wrap ? 0x80 : 0x8000), 2);
    } else {
        store_le(desc + 12, flags, 2);
        store_le(desc + 14, act->slot % vq.size, 2);
        store_le(regions[0] + DRIVER_GPA + 4 + 2 * slot, slot, 2);
        store_le(regions[0] + DRIVER_GPA + 2, avail + 1u, 2);
    }
    avail++;
}

static void perform(const struct act *act)
{
    switch (act->kind % 16) {
    case 0:
        store_le(regions[0] + act->small % (TABLE_GPA / 2) * 2, act->value, 2);
        break;
    case 1:
        store_le(regions[0] + act->small % (TABLE_GPA / 4) * 4, act->value, 4);
        break;
    case 2:
        descriptor(act, DESC_GPA + act->slot % RING_MAX * 16u);
        break;
    case 3:
        descriptor(act, TABLE_GPA + act->slot * 16u);
        break;
    case 4:
    case 5:
        proper(act);
        break;
    case 6:
    case 7:
        pop();
        break;
    case 8:
    case 9:
        push(act);
        break;
    case 10:
        unpop();
        break;
    case 11:
        virtqueue_should_interrupt(&vq);
        break;
    case 12:
        if (act->small & 1)
            virtqueue_disable_kick(&vq);
        else
            require(virtqueue_enable_kick(&vq) == !virtqueue_empty(&vq));
        break;
    case 13:
        move();
        break;
    case 14:
        copy(act);
        break;
    default:
        mem.dirty_bitmap = act->small & 1 ? &dirty : NULL;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct header header;
    struct act act;
    if (!regions[0])
        build();
    if (size < sizeof(header))
        return 0;
    memcpy(&header, data, sizeof(header));
    memset(regions[0], 0, REGION_SIZE);
    memset(regions[1], 0, REGION_SIZE);
    mem.dirty_bitmap = NULL;
    count = 0;
    newest_pushed = true;
    vq = (struct virtqueue){
        .size = header.flags & 0x40 ? header.size : 1u << header.size % 7,
        .packed = header.flags & 1,
        .event_idx = header.flags & 2,
        .indirect = header.flags & 4,
        .in_order = header.flags & 8,
        .desc_gpa = DESC_GPA,
        .driver_gpa = DRIVER_GPA,
        .device_gpa = DEVICE_GPA,
    };
    if (header.flags & 0x80)
        *(uint64_t *[]){&vq.desc_gpa, &vq.driver_gpa, &vq.device_gpa}[header.size % 3] +=
            header.skew;
    if (header.flags & 0x10)
        virtqueue_set_state(&vq, header.state);
    avail = header.flags & 0x10 && !vq.packed ? (uint16_t)header.state : 0;
    if (virtqueue_start(&vq, &mem, NULL) < 0 || vq.size > RING_MAX)
        return 0;
    data += sizeof(header);
    for (size -= sizeof(header); size >= sizeof(act); data += sizeof(act), size -= sizeof(act)) {
        memcpy(&act, data, sizeof(act));
        perform(&act);
    }
    return 0;
}
