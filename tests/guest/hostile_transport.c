/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Broken use of the virtio-pci registers (virtio 1.2, 4.1), on every kind of
 * device. The device may refuse or ask for a reset; it must work after one.
 */
#include "health.h"

static void doorbell_of_a_missing_queue(struct vdev *dev)
{
    vdev_start(dev);
    for (unsigned q = 0; q < 1024; q += 61)
        write16(dev->notify + (uint64_t)q * dev->notify_multiplier, (uint16_t)q);
}

static void doorbell_before_driver_ok(struct vdev *dev)
{
    vdev_reset(dev);
    vdev_negotiate(dev, 1ull << 32);
    vdev_enable_queue(dev, 0);
    vdev_kick(dev, 0);
}

static void doorbell_of_a_disabled_queue(struct vdev *dev)
{
    vdev_reset(dev);
    vdev_negotiate(dev, 1ull << 32);
    vdev_driver_ok(dev);
    vdev_kick(dev, 0);
}

static void doorbell_with_every_width(struct vdev *dev)
{
    vdev_start(dev);
    write8(dev->notify, 0xff);
    write32(dev->notify, 0xffffffff);
    write64(dev->notify, UINT64_MAX);
    write16(dev->notify + 1, 0xffff);
}

static void driver_ok_without_features_ok(struct vdev *dev)
{
    vdev_reset(dev);
    write8(dev->common + CFG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_DRIVER_OK);
    vdev_kick(dev, 0);
}

static void features_that_were_not_offered(struct vdev *dev)
{
    vdev_reset(dev);
    if (vdev_negotiate(dev, UINT64_MAX))
        vdev_driver_ok(dev);
}

static void no_version_1(struct vdev *dev)
{
    vdev_reset(dev);
    if (vdev_negotiate(dev, 0))
        vdev_driver_ok(dev);
}

static void every_status_value(struct vdev *dev)
{
    for (unsigned v = 0; v < 256; v++)
        write8(dev->common + CFG_STATUS, (uint8_t)v);
}

static void queue_size(struct vdev *dev, uint16_t size)
{
    vdev_reset(dev);
    vdev_negotiate(dev, 1ull << 32);
    vdev_enable_queue(dev, 0);
    write16(dev->common + CFG_QUEUE_SIZE, size);
    write16(dev->common + CFG_QUEUE_ENABLE, 1);
    vdev_driver_ok(dev);
    vdev_offer(dev, 0, 0);
}

static void queue_size_zero(struct vdev *dev)
{
    queue_size(dev, 0);
}

static void queue_size_no_power_of_two(struct vdev *dev)
{
    queue_size(dev, 15);
}

static void queue_size_beyond_the_limit(struct vdev *dev)
{
    queue_size(dev, 0x8000);
}

static void ring_address(struct vdev *dev, unsigned reg, uint64_t address)
{
    vdev_reset(dev);
    vdev_negotiate(dev, 1ull << 32);
    vdev_enable_queue(dev, 0);
    write64(dev->common + reg, address);
    write16(dev->common + CFG_QUEUE_ENABLE, 1);
    vdev_driver_ok(dev);
    vdev_kick(dev, 0);
}

static void descriptor_table_outside_memory(struct vdev *dev)
{
    ring_address(dev, CFG_QUEUE_DESC, 0x7000000000);
}

static void descriptor_table_across_the_end_of_memory(struct vdev *dev)
{
    ring_address(dev, CFG_QUEUE_DESC, (64 << 20) - 16);
}

static void descriptor_table_misaligned(struct vdev *dev)
{
    ring_address(dev, CFG_QUEUE_DESC, 0x300001);
}

static void available_ring_in_mmio(struct vdev *dev)
{
    ring_address(dev, CFG_QUEUE_DRIVER, dev->common & ~0xfffull);
}

static void used_ring_at_the_top(struct vdev *dev)
{
    ring_address(dev, CFG_QUEUE_DEVICE, UINT64_MAX - 3);
}

static void used_ring_misaligned(struct vdev *dev)
{
    ring_address(dev, CFG_QUEUE_DEVICE, 0x300002);
}

static void queue_moved_while_running(struct vdev *dev)
{
    vdev_start(dev);
    write16(dev->common + CFG_QUEUE_SELECT, 0);
    write64(dev->common + CFG_QUEUE_DESC, 0x7000000000);
    write16(dev->common + CFG_QUEUE_SIZE, 1);
    write16(dev->common + CFG_QUEUE_ENABLE, 0);
    vdev_kick(dev, 0);
}

static void queue_select_out_of_range(struct vdev *dev)
{
    vdev_start(dev);
    write16(dev->common + CFG_QUEUE_SELECT, 0xffff);
    for (unsigned reg = CFG_QUEUE_SIZE; reg < 56; reg += 2) {
        read16(dev->common + reg);
        write16(dev->common + reg, 0xffff);
    }
}

static void feature_select_out_of_range(struct vdev *dev)
{
    vdev_reset(dev);
    for (uint32_t i = 2; i; i <<= 1) {
        write32(dev->common + CFG_DEVICE_FEATURE_SELECT, i);
        read32(dev->common + CFG_DEVICE_FEATURE);
        write32(dev->common + CFG_DRIVER_FEATURE_SELECT, i);
        write32(dev->common + CFG_DRIVER_FEATURE, UINT32_MAX);
    }
}

static void vectors_out_of_range(struct vdev *dev)
{
    vdev_reset(dev);
    vdev_negotiate(dev, 1ull << 32);
    write16(dev->common + CFG_MSIX_VECTOR, 0x7ff);
    write16(dev->common + CFG_QUEUE_SELECT, 0);
    write16(dev->common + CFG_QUEUE_MSIX, 0xfffe);
    bool refused = read16(dev->common + CFG_MSIX_VECTOR) == 0xffff &&
                   read16(dev->common + CFG_QUEUE_MSIX) == 0xffff;
    if (!refused)
        result("vectors out of range", false, "they read back");
    vdev_driver_ok(dev);
}

static void every_register_with_every_width(struct vdev *dev)
{
    vdev_start(dev);
    for (unsigned at = 0; at < 0x100; at++) {
        read8(dev->bar0 + at);
        read32(dev->bar0 + at);
        read64(dev->bar0 + at);
        if (at == CFG_STATUS)
            continue;
        write8(dev->bar0 + at, 0xff);
        write64(dev->bar0 + (at & ~7u), UINT64_MAX);
    }
}

static void the_whole_bar(struct vdev *dev)
{
    vdev_start(dev);
    for (uint64_t at = 0; at < 0x10000; at += 0x3f4) {
        read32(dev->bar0 + (at & ~3ull));
        write32(dev->bar0 + (at & ~3ull), 0xdeadbeef);
    }
    read64(dev->bar0 + 0xfffc);
    write64(dev->bar0 + 0xfffd, UINT64_MAX);
}

static void config_space_beyond_its_end(struct vdev *dev)
{
    vdev_start(dev);
    if (!dev->config)
        return;
    for (unsigned at = 0; at < 0x1000; at += 37) {
        read32(dev->config + at);
        write8(dev->config + at, 0xff);
        write32(dev->config + at, 0xffffffff);
    }
    read64(dev->config + 0xffc);
}

static void config_window(struct vdev *dev)
{
    unsigned cap = 0;
    vdev_start(dev);
    while ((cap = pci_find_capability(dev->devfn, 9, cap))) {
        if (pci_read(dev->devfn, cap + 3, 1) != 5)
            continue;
        for (unsigned bar = 0; bar < 256; bar += 51) {
            for (unsigned len = 0; len < 9; len++) {
                pci_write(dev->devfn, cap + 4, bar, 1);
                pci_write(dev->devfn, cap + 8, 0xfffffffc + len, 4);
                pci_write(dev->devfn, cap + 12, len, 4);
                pci_read(dev->devfn, cap + 16, 4);
                pci_write(dev->devfn, cap + 16, 0xffffffff, 4);
                pci_write(dev->devfn, cap + 8, 0x1000 * len, 4);
                pci_read(dev->devfn, cap + 16, 4);
            }
        }
    }
}

static void resets_in_the_middle_of_work(struct vdev *dev)
{
    unsigned q = vdev_kind(dev)->queue;
    for (unsigned i = 0; i < 20; i++) {
        vdev_start(dev);
        vdev_offer(dev, q, vdev_prepare(dev));
        if (i & 1)
            vdev_offer(dev, q, 0);
        write8(dev->common + CFG_STATUS, 0);
    }
}

static void memory_space_off_while_running(struct vdev *dev)
{
    vdev_start(dev);
    vdev_offer(dev, vdev_kind(dev)->queue, vdev_prepare(dev));
    pci_write(dev->devfn, 4, 0, 2);
    read32(dev->common);
    write16(dev->notify, 0);
    pci_write(dev->devfn, 4, 6, 2);
}

static void bar_moved_while_running(struct vdev *dev)
{
    uint32_t low = pci_read(dev->devfn, 0x10, 4), high = pci_read(dev->devfn, 0x14, 4);
    static const uint64_t places[] = {0,          0x100000,           0xfee00000,  0xfec00000,
                                      0xb0000000, 0xffffffffffff0000, 0x7000000000};
    vdev_start(dev);
    for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        pci_write(dev->devfn, 0x10, (uint32_t)places[i], 4);
        pci_write(dev->devfn, 0x14, (uint32_t)(places[i] >> 32), 4);
        vdev_wait_used(dev, 0, 0xffff, 100);
    }
    pci_write(dev->devfn, 0x10, low, 4);
    pci_write(dev->devfn, 0x14, high, 4);
}

static const struct {
    const char *what;
    void (*misuse)(struct vdev *dev);
} rows[] = {
    {"doorbell of a missing queue", doorbell_of_a_missing_queue},
    {"doorbell before DRIVER_OK", doorbell_before_driver_ok},
    {"doorbell of a disabled queue", doorbell_of_a_disabled_queue},
    {"doorbell with every width", doorbell_with_every_width},
    {"DRIVER_OK without FEATURES_OK", driver_ok_without_features_ok},
    {"features that were not offered", features_that_were_not_offered},
    {"VERSION_1 not accepted", no_version_1},
    {"every status value in turn", every_status_value},
    {"queue size 0", queue_size_zero},
    {"queue size that is no power of two", queue_size_no_power_of_two},
    {"queue size beyond the limit", queue_size_beyond_the_limit},
    {"descriptor table outside memory", descriptor_table_outside_memory},
    {"descriptor table across the end of memory", descriptor_table_across_the_end_of_memory},
    {"descriptor table misaligned", descriptor_table_misaligned},
    {"available ring in MMIO", available_ring_in_mmio},
    {"used ring at the top of the address space", used_ring_at_the_top},
    {"used ring misaligned", used_ring_misaligned},
    {"queue moved while it runs", queue_moved_while_running},
    {"queue select out of range", queue_select_out_of_range},
    {"feature select out of range", feature_select_out_of_range},
    {"interrupt vectors out of range", vectors_out_of_range},
    {"every common register with every width", every_register_with_every_width},
    {"the whole BAR written", the_whole_bar},
    {"configuration space beyond its end", config_space_beyond_its_end},
    {"configuration window with nonsense", config_window},
    {"resets in the middle of work", resets_in_the_middle_of_work},
    {"memory space switched off while running", memory_space_off_while_running},
    {"BAR moved over everything while running", bar_moved_while_running},
};

void payload_main(void)
{
    struct vdev dev;
    for (const struct device_kind *kind = device_kinds; kind->type; kind++) {
        if (!vdev_find(&dev, kind->type, 0)) {
            result(kind->name, false, "the device is not there");
            continue;
        }
        for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            rows[i].misuse(&dev);
            check_recovers(&dev, rows[i].what);
        }
    }
    finish();
}
