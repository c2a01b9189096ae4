/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What fuzz targets of virtio devices share; see bad_driver.h. */
#include "bad_driver.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "require.h"

#define QUEUE_AREA 0x1000
#define DRIVER_AREA 0x400
#define DEVICE_AREA 0x800
#define F_VERSION_1 32
#define F_RING_PACKED 34
#define DESC_NEXT 1u
#define DESC_WRITE 2u

void fuzz_device_init(struct fuzz_device *f)
{
    *f = (struct fuzz_device){.memory = aligned_alloc(4096, FUZZ_MEMORY)};
    struct guest_mem_region region = {.size = FUZZ_MEMORY, .hva = f->memory, .fd = -1};
    signal(SIGPIPE, SIG_IGN);
    log_level = LOG_ERROR;
    require(guest_mem_add(&f->mem, &region) == 0 && loop_init(&f->loop, NULL) == 0);
}

static void stop_turning(void *opaque)
{
    loop_stop(opaque);
}

void fuzz_device_turn(struct fuzz_device *f)
{
    struct loop_timer timer = {0};
    loop_timer_arm(&f->loop, &timer, 0, stop_turning, &f->loop);
    loop_run(&f->loop);
    loop_timer_cancel(&timer);
}

static void *at(struct fuzz_device *f, uint32_t gpa)
{
    return f->memory + gpa;
}

static void write_descriptor(struct fuzz_device *f, unsigned queue, uint64_t addr, uint32_t len,
                             uint16_t flags, uint16_t next)
{
    unsigned slot = f->rings[queue].slot % FUZZ_RING;
    uint8_t *desc = at(f, (queue + 1) * QUEUE_AREA + slot * 16);
    store_le(desc, addr, 8);
    store_le(desc + 8, len, 4);
    if (f->packed) {
        flags |= f->rings[queue].wrap ? 1u << 7 : 1u << 15;
        store_le(desc + 12, slot, 2);
        store_le(desc + 14, flags, 2);
        if (slot + 1 == FUZZ_RING)
            f->rings[queue].wrap = !f->rings[queue].wrap;
    } else {
        store_le(desc + 12, flags, 2);
        store_le(desc + 14, next, 2);
    }
    f->rings[queue].slot++;
}

static void make_available(struct fuzz_device *f, unsigned queue, uint16_t head)
{
    uint8_t *avail = at(f, (queue + 1) * QUEUE_AREA + DRIVER_AREA);
    if (f->packed)
        return;
    store_le(avail + 4 + 2 * (f->rings[queue].avail++ % FUZZ_RING), head, 2);
    store_le(avail + 2, f->rings[queue].avail, 2);
}

void fuzz_device_add(struct fuzz_device *f, unsigned queue, uint32_t gpa, uint32_t len, bool in,
                     bool more)
{
    uint16_t slot = f->rings[queue].slot % FUZZ_RING;
    uint16_t flags = (in ? DESC_WRITE : 0) | (more ? DESC_NEXT : 0);
    write_descriptor(f, queue, gpa, len, flags, (uint16_t)((slot + 1) % FUZZ_RING));
    if (!more)
        make_available(f, queue, slot);
}

void fuzz_device_kick(struct fuzz_device *f, unsigned queue)
{
    struct virtio_queue *q = &f->dev->queues[queue];
    if (q->ring.started && !atomic_load(&f->dev->needs_reset))
        f->dev->ops->kick(f->dev, q);
}

void fuzz_device_restart(struct fuzz_device *f, uint64_t features, uint16_t unready)
{
    virtio_device_reset(f->dev);
    memset(f->memory, 0, FUZZ_DATA);
    f->dev->driver_features = (features & f->dev->features) | BIT(F_VERSION_1);
    if (!virtio_features_ok(f->dev))
        f->dev->driver_features = BIT(F_VERSION_1);
    f->packed = virtio_has(f->dev, F_RING_PACKED);
    f->queue_count = MIN(f->dev->queue_count, (unsigned)FUZZ_QUEUES);
    for (unsigned i = 0; i < f->queue_count; i++) {
        struct virtqueue *vq = &f->dev->queues[i].ring;
        vq->size = FUZZ_RING;
        vq->desc_gpa = (i + 1) * QUEUE_AREA;
        vq->driver_gpa = vq->desc_gpa + DRIVER_AREA;
        vq->device_gpa = vq->desc_gpa + DEVICE_AREA;
        f->rings[i].slot = f->rings[i].avail = 0;
        f->rings[i].wrap = true;
        f->ready[i] = !(unready >> i & 1);
    }
    virtio_device_start(f->dev, f->ready);
}

void fuzz_device_act(struct fuzz_device *f, const struct fuzz_act *act)
{
    unsigned queue = act->queue % f->queue_count;
    uint32_t gpa = FUZZ_DATA + (uint32_t)(act->value % (FUZZ_MEMORY - FUZZ_DATA));
    switch (act->kind) {
    case FUZZ_POKE:
        store_le(at(f, (act->small * 8u) % FUZZ_MEMORY), act->value, 8);
        break;
    case FUZZ_DESCRIPTOR:
        write_descriptor(f, queue, act->value & 0x1fffff, (uint32_t)(act->value >> 24 & 0x3ffff),
                         act->small, (uint16_t)(act->value >> 48));
        break;
    case FUZZ_AVAILABLE:
        make_available(f, queue, act->small);
        break;
    case FUZZ_ADD_OUT:
    case FUZZ_ADD_IN:
        fuzz_device_add(f, queue, gpa, act->small, act->kind == FUZZ_ADD_IN, act->queue & 0x80);
        if (!(act->queue & 0x80))
            fuzz_device_kick(f, queue);
        break;
    case FUZZ_KICK:
        fuzz_device_kick(f, queue);
        break;
    case FUZZ_TURN:
        fuzz_device_turn(f);
        break;
    case FUZZ_RESTART:
        fuzz_device_restart(f, act->value, act->queue & 0x80 ? act->small : 0);
        break;
    default:
        virtio_device_stop(f->dev);
        virtio_device_start(f->dev, f->ready);
        break;
    }
}

void fuzz_device_end(struct fuzz_device *f)
{
    virtio_device_stop(f->dev);
    for (unsigned i = 0; i < f->queue_count; i++)
        require(f->dev->queues[i].ring.inflight == 0);
    virtio_device_reset(f->dev);
}

void fuzz_device_input(struct fuzz_device *f, const uint8_t *data, size_t size, uint64_t low,
                       unsigned kinds, void (*run)(const struct fuzz_act *act))
{
    struct fuzz_act act;
    fuzz_device_restart(f, size ? (uint64_t)data[0] << 28 | low : 0, 0);
    for (; size >= sizeof(act); data += sizeof(act), size -= sizeof(act)) {
        memcpy(&act, data, sizeof(act));
        act.kind = (uint8_t)(act.kind % kinds);
        run(&act);
    }
    fuzz_device_turn(f);
}
