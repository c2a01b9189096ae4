/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fuzz target: virtqueues of both formats over memory that holds anything. The
 * input first chooses the format, then writes memory and calls the device's
 * side in any order. What is popped must lie in memory and add up, and is
 * touched, so that the address sanitizer sees every wrong byte.
 */
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "vring/virtqueue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RING 0x1000   /* where the areas are */
#define DRIVER 0x2000 /* available ring, or driver event area */
#define DEVICE 0x3000
#define IOV_MAX_ 24
#define FLYING_MAX 64

#define NEXT 1u
#define WRITE 2u
#define INDIRECT 4u

/* Two regions that touch each other, then a hole, then a third. */
static const struct {
    uint64_t gpa, size;
} layout[] = {{0, 0x8000}, {0x8000, 0x4000}, {0x10000, 0x4000}};

struct act {
    uint8_t kind, flags;
    uint16_t small;
    uint64_t value;
} __attribute__((packed));

enum { POKE, DESCRIPTOR, AVAILABLE, TABLE, POP, PUSH, UNPOP, ASK, KICKS, RESTART, KINDS };

static struct guest_mem mem;
static uint64_t dirty[1];
static struct virtqueue vq;
static struct {
    struct virtqueue_chain chain;
    struct iovec iov[IOV_MAX_];
} flying[FLYING_MAX];
static unsigned flying_count;
static unsigned slot, avail, wrap;
static uint8_t sink;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void init_memory(void)
{
    for (unsigned i = 0; i < ARRAY_SIZE(layout); i++) {
        const struct guest_mem_region region = {.gpa = layout[i].gpa,
                                                .size = layout[i].size,
                                                .hva = aligned_alloc(4096, layout[i].size),
                                                .fd = -1};
        require(region.hva && guest_mem_add(&mem, &region) == 0);
    }
}

static void poke(uint64_t gpa, uint64_t value, unsigned len)
{
    void *p = guest_mem_range(&mem, gpa, len);
    if (p)
        store_le(p, value, len);
}

static void start(const uint8_t *choice)
{
    vq = (struct virtqueue){
        .size = (uint16_t)(choice[0] & 1 ? 1 + choice[1] % 40 : 1 << choice[1] % 6),
        .packed = choice[0] & 1,
        .event_idx = choice[0] & 2,
        .indirect = choice[0] & 4,
        .desc_gpa = RING,
        .driver_gpa = DRIVER,
        .device_gpa = DEVICE,
    };
    mem.dirty_bitmap = choice[0] & 8 ? dirty : NULL;
    mem.dirty_pages = 0x14;
    for (unsigned i = 0; i < mem.region_count; i++)
        memset(mem.regions[i].hva, 0, mem.regions[i].size);
    flying_count = slot = avail = 0;
    wrap = 1;
    require(virtqueue_start(&vq, &mem, NULL) == 0);
}

/* An address and a length that are good more often than not. */
static void descriptor(uint64_t gpa, const struct act *act)
{
    uint64_t addr = act->value & 0x1ffff;
    uint32_t len = act->value >> 24 & 0xffff;
    uint16_t flags = act->flags & (NEXT | WRITE | INDIRECT);
    if (act->flags & 0x20)
        addr = act->value;
    if (act->flags & 0x40)
        len = (uint32_t)(act->value >> 32);
    if (act->flags & INDIRECT && !(act->flags & 0x40))
        len = 16 * (1 + len % 20);
    poke(gpa, addr, 8);
    poke(gpa + 8, len, 4);
    if (vq.packed) {
        poke(gpa + 12, act->small, 2);
        poke(gpa + 14, flags | (wrap ? 1u << 7 : 1u << 15), 2);
    } else {
        poke(gpa + 12, flags, 2);
        poke(gpa + 14, act->small, 2);
    }
}

static void next_descriptor(const struct act *act)
{
    descriptor(RING + UINT64_C(16) * slot, act);
    if (++slot == vq.size) {
        slot = 0;
        wrap = !wrap;
    }
}

static void available(const struct act *act)
{
    poke(DRIVER + 4 + 2 * (avail % vq.size), act->small % vq.size, 2);
    poke(DRIVER + 2, ++avail, 2);
}

static void touch(const struct virtqueue_chain *chain)
{
    uint64_t out = 0, in = 0;
    require(chain->out_count + chain->in_count <= chain->iov_max);
    for (unsigned i = 0; i < chain->out_count + chain->in_count; i++) {
        uint8_t *p = chain->iov[i].iov_base;
        size_t len = chain->iov[i].iov_len;
        require(len > 0);
        if (i < chain->out_count) {
            sink ^= p[0] ^ p[len - 1];
            out += len;
        } else {
            p[0] ^= 1;
            p[len - 1] ^= 1;
            in += len;
        }
    }
    require(out == chain->out_bytes && in == chain->in_bytes);
}

static void pop(const struct act *act)
{
    if (flying_count == FLYING_MAX)
        return;
    struct virtqueue_chain *chain = &flying[flying_count].chain;
    *chain = (struct virtqueue_chain){.iov = flying[flying_count].iov,
                                      .iov_max = 1 + act->small % IOV_MAX_};
    int rc = virtqueue_pop(&vq, chain);
    require(rc <= 1 && (rc >= 0 || vq.broken));
    if (rc == 1) {
        touch(chain);
        flying_count++;
    }
    require(vq.inflight == flying_count && vq.inflight <= vq.size);
}

static void push(const struct act *act)
{
    if (!flying_count)
        return;
    unsigned which = act->small % flying_count;
    virtqueue_push(&vq, &flying[which].chain, (uint32_t)act->value);
    flying[which] = flying[--flying_count];
    flying[which].chain.iov = flying[which].iov;
}

/* Only the chain that was popped last can go back, and only while the order is known. */
static void unpop(const struct act *act)
{
    struct virtqueue_chain chain = {.iov = flying[0].iov, .iov_max = IOV_MAX_};
    if (flying_count || virtqueue_pop(&vq, &chain) != 1)
        return;
    virtqueue_unpop(&vq, &chain);
    require(vq.inflight == 0 && vq.inflight_slots == 0);
}

static void restart(const struct act *act)
{
    if (flying_count)
        return;
    uint32_t state = virtqueue_get_state(&vq);
    virtqueue_stop(&vq);
    if (act->flags & 1)
        virtqueue_set_state(&vq, act->flags & 2 ? (uint32_t)act->value : state);
    if (act->flags & 4)
        virtqueue_reset(&vq);
    vq.desc_gpa = act->flags & 8 ? act->value : RING;
    vq.driver_gpa = act->flags & 16 ? act->value >> 8 : DRIVER;
    vq.device_gpa = act->flags & 32 ? act->value >> 16 : DEVICE;
    if (virtqueue_start(&vq, &mem, NULL) == 0)
        return;
    start((const uint8_t[]){act->flags, (uint8_t)act->small});
}

static void run(const struct act *act)
{
    switch (act->kind % KINDS) {
    case POKE:
        poke(act->small * UINT64_C(2), act->value, 8);
        break;
    case DESCRIPTOR:
        next_descriptor(act);
        break;
    case AVAILABLE:
        available(act);
        break;
    case TABLE:
        descriptor(0x4000 + act->small % 32 * UINT64_C(16), act);
        break;
    case POP:
        pop(act);
        break;
    case PUSH:
        push(act);
        break;
    case UNPOP:
        unpop(act);
        break;
    case ASK:
        virtqueue_should_interrupt(&vq);
        virtqueue_empty(&vq);
        break;
    case KICKS:
        if (act->flags & 1)
            virtqueue_enable_kick(&vq);
        else
            virtqueue_disable_kick(&vq);
        break;
    default:
        restart(act);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct act act;
    if (!mem.region_count)
        init_memory();
    if (size < 2)
        return 0;
    start(data);
    for (data += 2, size -= 2; size >= sizeof(act); data += sizeof(act), size -= sizeof(act)) {
        memcpy(&act, data, sizeof(act));
        run(&act);
    }
    return 0;
}
