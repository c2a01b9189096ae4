/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Broken split rings, on every kind of device (virtio 1.2, 2.7): each row breaks
 * one rule; the device must ask for a reset and work after it.
 */
#include "health.h"

static struct desc table[RING_SIZE] __attribute__((aligned(16)));

static void indirect(struct ring *r, uint16_t flags, uint32_t len)
{
    memcpy(table, r->desc, sizeof(table));
    r->desc[0].addr = (uint64_t)(uintptr_t)table;
    r->desc[0].len = len;
    r->desc[0].flags = (uint16_t)(DESC_INDIRECT | flags);
    r->desc[0].next = 1;
}

static void head_out_of_range(struct vdev *dev, unsigned q)
{
    vdev_offer(dev, q, RING_SIZE);
}

static void head_65535(struct vdev *dev, unsigned q)
{
    vdev_offer(dev, q, 0xffff);
}

static void avail_index_leaps(struct vdev *dev, unsigned q)
{
    *(volatile uint16_t *)&dev->ring[q].avail.idx = RING_SIZE + 1;
    vdev_kick(dev, q);
}

static void avail_index_runs_backwards(struct vdev *dev, unsigned q)
{
    *(volatile uint16_t *)&dev->ring[q].avail.idx = 0xffff;
    vdev_kick(dev, q);
}

static void next_out_of_range(struct vdev *dev, unsigned q)
{
    dev->ring[q].desc[0].flags |= DESC_NEXT;
    dev->ring[q].desc[0].next = RING_SIZE;
    vdev_offer(dev, q, 0);
}

static void chain_loops_on_itself(struct vdev *dev, unsigned q)
{
    dev->ring[q].desc[0].flags |= DESC_NEXT;
    dev->ring[q].desc[0].next = 0;
    vdev_offer(dev, q, 0);
}

static void chain_loops_through_two(struct vdev *dev, unsigned q)
{
    struct ring *r = &dev->ring[q];
    r->desc[0].flags |= DESC_NEXT;
    r->desc[0].next = 1;
    r->desc[1] = r->desc[0];
    r->desc[1].next = 0;
    vdev_offer(dev, q, 0);
}

static void buffer_outside_memory(struct vdev *dev, unsigned q)
{
    dev->ring[q].desc[0].addr = 0x7000000000;
    vdev_offer(dev, q, 0);
}

static void buffer_at_the_end_of_the_address_space(struct vdev *dev, unsigned q)
{
    dev->ring[q].desc[0].addr = UINT64_MAX - 8;
    vdev_offer(dev, q, 0);
}

static void buffer_of_4_gib(struct vdev *dev, unsigned q)
{
    dev->ring[q].desc[0].len = UINT32_MAX;
    vdev_offer(dev, q, 0);
}

static void buffer_in_a_device_register(struct vdev *dev, unsigned q)
{
    dev->ring[q].desc[0].addr = dev->common;
    vdev_offer(dev, q, 0);
}

static void buffer_in_the_local_apic(struct vdev *dev, unsigned q)
{
    dev->ring[q].desc[0].addr = 0xfee00000;
    vdev_offer(dev, q, 0);
}

static void buffer_across_the_end_of_memory(struct vdev *dev, unsigned q)
{
    /* The runner gives 64 MiB. */
    dev->ring[q].desc[0].addr = (64 << 20) - 4;
    dev->ring[q].desc[0].len = 4096;
    vdev_offer(dev, q, 0);
}

static void readable_behind_writable(struct vdev *dev, unsigned q)
{
    struct ring *r = &dev->ring[q];
    r->desc[1] = r->desc[0];
    r->desc[0].flags = DESC_NEXT | DESC_WRITE;
    r->desc[0].next = 1;
    r->desc[1].flags = 0;
    vdev_offer(dev, q, 0);
}

static void indirect_not_negotiated(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], 0, 16);
    vdev_offer(dev, q, 0);
}

static const struct {
    const char *what;
    void (*break_it)(struct vdev *dev, unsigned q);
} plain[] = {
    {"head index out of range", head_out_of_range},
    {"head index 65535", head_65535},
    {"available index leaps past the ring", avail_index_leaps},
    {"available index runs backwards", avail_index_runs_backwards},
    {"next index out of range", next_out_of_range},
    {"chain loops on itself", chain_loops_on_itself},
    {"chain loops through two", chain_loops_through_two},
    {"buffer outside memory", buffer_outside_memory},
    {"buffer at the end of the address space", buffer_at_the_end_of_the_address_space},
    {"buffer of 4 GiB", buffer_of_4_gib},
    {"buffer in a device register", buffer_in_a_device_register},
    {"buffer in the local APIC", buffer_in_the_local_apic},
    {"buffer across the end of memory", buffer_across_the_end_of_memory},
    {"readable buffer behind a writable one", readable_behind_writable},
    {"indirect table though not negotiated", indirect_not_negotiated},
};

static void indirect_inside_indirect(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], 0, 16);
    table[0].flags = DESC_INDIRECT;
    table[0].addr = (uint64_t)(uintptr_t)table;
    table[0].len = 16;
    vdev_offer(dev, q, 0);
}

static void indirect_with_next(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], DESC_NEXT, sizeof(table));
    vdev_offer(dev, q, 0);
}

static void indirect_table_of_odd_length(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], 0, 17);
    vdev_offer(dev, q, 0);
}

static void indirect_table_of_no_length(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], 0, 0);
    vdev_offer(dev, q, 0);
}

static void indirect_table_outside_memory(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], 0, 64);
    dev->ring[q].desc[0].addr = 0x7000000000;
    vdev_offer(dev, q, 0);
}

static void indirect_next_out_of_range(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], 0, 32);
    table[0].flags |= DESC_NEXT;
    table[0].next = 2;
    vdev_offer(dev, q, 0);
}

static void indirect_loop(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], 0, 32);
    table[0].flags |= DESC_NEXT;
    table[0].next = 0;
    vdev_offer(dev, q, 0);
}

static void indirect_table_of_4_gib(struct vdev *dev, unsigned q)
{
    indirect(&dev->ring[q], 0, 0xfffffff0);
    vdev_offer(dev, q, 0);
}

static const struct {
    const char *what;
    void (*break_it)(struct vdev *dev, unsigned q);
} with_indirect[] = {
    {"indirect table inside an indirect table", indirect_inside_indirect},
    {"indirect descriptor with NEXT", indirect_with_next},
    {"indirect table of odd length", indirect_table_of_odd_length},
    {"indirect table of no length", indirect_table_of_no_length},
    {"indirect table outside memory", indirect_table_outside_memory},
    {"indirect next index out of range", indirect_next_out_of_range},
    {"indirect table that loops", indirect_loop},
    {"indirect table of 4 GiB", indirect_table_of_4_gib},
};

static bool start_with_indirect(struct vdev *dev)
{
    vdev_reset(dev);
    if (!vdev_negotiate(dev, 1ull << 32 | 1ull << 28))
        return false;
    unsigned count = read16(dev->common + CFG_NUM_QUEUES);
    for (unsigned q = 0; q < count && q < VDEV_QUEUES; q++)
        vdev_enable_queue(dev, q);
    vdev_driver_ok(dev);
    return true;
}

void payload_main(void)
{
    struct vdev dev;
    for (const struct device_kind *kind = device_kinds; kind->type; kind++) {
        if (!vdev_find(&dev, kind->type, 0)) {
            result(kind->name, false, "the device is not there");
            continue;
        }
        for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
            vdev_start(&dev);
            vdev_prepare(&dev);
            plain[i].break_it(&dev, kind->queue);
            check_needs_reset(&dev, plain[i].what);
        }
        for (unsigned i = 0; i < sizeof(with_indirect) / sizeof(with_indirect[0]); i++) {
            if (!start_with_indirect(&dev)) {
                result(with_indirect[i].what, false, "indirect descriptors are not accepted");
                continue;
            }
            vdev_prepare(&dev);
            with_indirect[i].break_it(&dev, kind->queue);
            check_needs_reset(&dev, with_indirect[i].what);
        }
    }
    finish();
}
