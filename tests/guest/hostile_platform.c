/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nonsense for PCI config space, MSI-X tables and the platform's ports. The
 * machine must go on: each row ends with a sign of life of what it touched.
 */
#include "health.h"

static bool serial_alive(void)
{
    /* Scratch register of COM1. */
    outb(0x3ff, 0x5a);
    return inb(0x3ff) == 0x5a;
}

static bool serial_registers(void)
{
    uint8_t lcr = inb(0x3fb);
    for (unsigned v = 0; v < 256; v += 5) {
        for (unsigned reg = 1; reg < 8; reg++) {
            if (reg == 3 || (reg == 1 && (inb(0x3fb) & 0x80)))
                continue;
            outb((uint16_t)(0x3f8 + reg), (uint8_t)v);
        }
    }
    outb(0x3f9, 0);
    outb(0x3fc, 3);
    outb(0x3fb, lcr);
    outb(0x3fa, 0);
    return serial_alive();
}

static bool serial_widths(void)
{
    outw(0x3fe, 0x5a5a);
    inw(0x3f9);
    inl(0x3fc);
    return serial_alive();
}

static bool rtc_every_register(void)
{
    for (unsigned index = 0; index < 256; index++) {
        outb(0x70, (uint8_t)index);
        uint8_t v = inb(0x71);
        outb(0x71, 0xff);
        outb(0x71, v);
    }
    outb(0x70, 0x0b);
    outb(0x71, 0x02);
    outb(0x70, 0x00);
    return inb(0x71) <= 0x59;
}

static bool rtc_impossible_dates(void)
{
    static const uint8_t registers[] = {0, 2, 4, 6, 7, 8, 9, 0x32};
    outb(0x70, 0x0b);
    outb(0x71, 0x82);
    for (unsigned i = 0; i < sizeof(registers); i++) {
        outb(0x70, registers[i]);
        outb(0x71, 0xff);
    }
    outb(0x70, 0x0b);
    outb(0x71, 0x02);
    for (unsigned i = 0; i < sizeof(registers); i++) {
        outb(0x70, registers[i]);
        inb(0x71);
    }
    return true;
}

static bool rtc_fastest_periodic_interrupt(void)
{
    for (unsigned rate = 0; rate < 16; rate++) {
        outb(0x70, 0x0a);
        outb(0x71, (uint8_t)(0x20 | rate));
        outb(0x70, 0x0b);
        outb(0x71, 0x72);
        pause_us(50);
    }
    outb(0x70, 0x0b);
    outb(0x71, 0x02);
    outb(0x70, 0x0c);
    inb(0x71);
    return true;
}

static bool i8042_every_command_but_reset(void)
{
    for (unsigned v = 0; v < 0xf0; v++) {
        outb(0x64, (uint8_t)v);
        outb(0x60, (uint8_t)v);
        inb(0x60);
    }
    return inb(0x64) != 0xff;
}

static bool pm_registers(void)
{
    outl(0x600, 0xffffffff);
    outl(0x608, 0xffffffff);
    outw(0x604, 0x1400); /* a sleep type without SLP_EN */
    uint32_t a = inl(0x608);
    pause_us(200);
    return inl(0x608) != a;
}

static bool pm_unknown_sleep_type(void)
{
    outw(0x604, 0x2000 | 3 << 10);
    return true;
}

static bool gpe_registers(void)
{
    for (unsigned at = 0; at < 16; at++)
        outb((uint16_t)(0x620 + at), 0xff);
    for (unsigned at = 0; at < 16; at++)
        outb((uint16_t)(0x620 + at), at < 8 ? 0xff : 0);
    outl(0x62e, 0xffffffff);
    return true;
}

static bool pvpanic_unknown_bits(void)
{
    outb(0x505, 0xf8);
    outw(0x505, 0);
    return inb(0x505) != 0xff;
}

static bool reset_register_other_values(void)
{
    outb(0xcf9, 0);
    outb(0xcf9, 0x02);
    outb(0xcf9, 0xf0);
    return true;
}

static bool debug_ports(void)
{
    for (unsigned i = 0; i < 100; i++) {
        outb(0x402, (uint8_t)i);
        outb(0xe9, (uint8_t)i);
    }
    outl(0x402, 0x41414141);
    return true;
}

static bool every_port(void)
{
    for (unsigned port = 0; port < 0x10000; port += 13) {
        inb((uint16_t)port);
        inl((uint16_t)port);
    }
    return serial_alive();
}

static bool config_address_nonsense(void)
{
    for (uint32_t v = 1; v; v <<= 1) {
        outl(0xcf8, v);
        inl(0xcfc);
        outl(0xcfc, 0xffffffff);
        outl(0xcf8, ~v | 0x80ff0000);
        inl(0xcfc);
        inw(0xcff);
    }
    outb(0xcf8, 0xff);
    outw(0xcfa, 0xffff);
    return (pci_read(0, 0, 4) & 0xffff) == 0x8086;
}

static bool host_bridge_written(void)
{
    uint32_t id = pci_read(0, 0, 4);
    for (unsigned at = 0; at < 0x60; at += 4)
        pci_write(0, at, 0xffffffff, 4);
    return pci_read(0, 0, 4) == id;
}

#define ECAM 0xb0000000ull

static bool ecam_every_width(void)
{
    uint64_t last = ECAM + (256ull << 20) - 8;
    read64(ECAM);
    read64(ECAM + 0xffd);
    read16(ECAM + 1);
    read32(ECAM + 3);
    write64(ECAM + 0xff8, UINT64_MAX);
    read64(last);
    write64(last, UINT64_MAX);
    read32(ECAM + (255ull << 20));
    return read32(ECAM) == pci_read(0, 0, 4);
}

static bool read_only_fields_written(void)
{
    struct vdev dev;
    if (!vdev_find(&dev, VIRTIO_RNG, 0))
        return false;
    uint32_t id = pci_read(dev.devfn, 0, 4), class = pci_read(dev.devfn, 8, 4);
    uint32_t subsystem = pci_read(dev.devfn, 0x2c, 4), caps = pci_read(dev.devfn, 0x34, 1);
    uint32_t bars[6];
    for (unsigned i = 0; i < 6; i++)
        bars[i] = pci_read(dev.devfn, 0x10 + 4 * i, 4);
    for (unsigned at = 0; at < 256; at += 4) {
        if (at != 4)
            pci_write(dev.devfn, at, 0xffffffff, 4);
    }
    bool same = pci_read(dev.devfn, 0, 4) == id && pci_read(dev.devfn, 8, 4) == class &&
                pci_read(dev.devfn, 0x2c, 4) == subsystem && pci_read(dev.devfn, 0x34, 1) == caps;
    for (unsigned i = 0; i < 6; i++)
        pci_write(dev.devfn, 0x10 + 4 * i, bars[i], 4);
    unsigned msix = pci_find_capability(dev.devfn, 0x11, 0);
    pci_write(dev.devfn, msix + 2, 0, 2);
    const char *why;
    return same && vdev_works(&dev, &why);
}

static bool msix_table_full_of_nonsense(void)
{
    struct vdev dev;
    const char *why;
    if (!vdev_find(&dev, VIRTIO_BLK, 0))
        return false;
    unsigned cap = pci_find_capability(dev.devfn, 0x11, 0);
    unsigned count = (pci_read(dev.devfn, cap + 2, 2) & 0x7ff) + 1;
    uint32_t where = pci_read(dev.devfn, cap + 4, 4);
    uint64_t table = pci_bar(dev.devfn, where & 7) + (where & ~7u);

    pci_write(dev.devfn, cap + 2, 0x8000, 2);
    for (unsigned pass = 0; pass < 4; pass++) {
        for (unsigned v = 0; v < count; v++) {
            write32(table + 16 * v, pass & 1 ? 0xffffffff : 0x12345678 * v);
            write32(table + 16 * v + 4, pass & 1 ? 0xffffffff : 0);
            write32(table + 16 * v + 8, 0xffffffff);
            write32(table + 16 * v + 12, pass & 2 ? 0 : 0xffffffff);
            write64(table + 16 * v + 8, 0);
            write8(table + 16 * v + 12, 0);
        }
        vdev_reset(&dev);
        vdev_negotiate(&dev, 1ull << 32);
        write16(dev.common + CFG_MSIX_VECTOR, 0);
        vdev_enable_queue(&dev, 0);
        write16(dev.common + CFG_QUEUE_MSIX, 1);
        vdev_driver_ok(&dev);
        vdev_offer(&dev, 0, vdev_prepare(&dev));
        vdev_wait_used(&dev, 0, 1, WAIT_US);
        pci_write(dev.devfn, cap + 2, pass & 1 ? 0xc000 : 0x8000, 2);
    }
    for (unsigned v = 0; v < 64; v++)
        read32(table + 16 * count + 4 * v);
    pci_write(dev.devfn, cap + 2, 0, 2);
    return vdev_works(&dev, &why);
}

static bool msix_flipped_while_interrupts_come(void)
{
    struct vdev dev;
    const char *why;
    if (!vdev_find(&dev, VIRTIO_RNG, 0))
        return false;
    unsigned cap = pci_find_capability(dev.devfn, 0x11, 0);
    vdev_reset(&dev);
    vdev_negotiate(&dev, 1ull << 32);
    vdev_enable_queue(&dev, 0);
    write16(dev.common + CFG_QUEUE_MSIX, 0);
    vdev_driver_ok(&dev);
    for (unsigned i = 0; i < 200; i++) {
        vdev_offer(&dev, 0, vdev_prepare(&dev));
        pci_write(dev.devfn, cap + 2, (i % 4) << 14, 2);
    }
    pci_write(dev.devfn, cap + 2, 0, 2);
    return vdev_works(&dev, &why);
}

static bool mmio_holes(void)
{
    static const uint64_t holes[] = {0xc0000000, 0xfdfffff8, 0xfed00000, 0xfeffc000,
                                     0xfffffff8, 0x4000000,  0x8fffffff8};
    for (unsigned i = 0; i < sizeof(holes) / sizeof(holes[0]); i++) {
        read64(holes[i]);
        read8(holes[i] + 7);
        write32(holes[i], 0);
        write64(holes[i], UINT64_MAX);
    }
    return serial_alive();
}

static bool string_io_into_holes(void)
{
    static uint8_t block[512];
    uint8_t *p = block;
    uint64_t n = sizeof(block);
    __asm__ volatile("rep insb" : "+D"(p), "+c"(n) : "d"(0x3fd) : "memory");
    p = block;
    n = sizeof(block);
    __asm__ volatile("rep outsb" : "+S"(p), "+c"(n) : "d"(0x80) : "memory");
    return serial_alive();
}

static const struct {
    const char *what;
    bool (*misuse)(void);
} rows[] = {
    {"serial: every register with many values", serial_registers},
    {"serial: wide accesses", serial_widths},
    {"rtc: every register written", rtc_every_register},
    {"rtc: impossible dates", rtc_impossible_dates},
    {"rtc: every periodic rate", rtc_fastest_periodic_interrupt},
    {"i8042: every command but reset", i8042_every_command_but_reset},
    {"pm: all ones everywhere", pm_registers},
    {"pm: a sleep type that does not exist", pm_unknown_sleep_type},
    {"gpe: all enabled and cleared, across the end", gpe_registers},
    {"pvpanic: unknown bits", pvpanic_unknown_bits},
    {"reset port: values that do not reset", reset_register_other_values},
    {"debug ports: floods and wide writes", debug_ports},
    {"ports: reads all over the space", every_port},
    {"ports: string I/O", string_io_into_holes},
    {"pci: config address nonsense", config_address_nonsense},
    {"pci: host bridge written all over", host_bridge_written},
    {"pci: ECAM with every width, and its ends", ecam_every_width},
    {"pci: read-only fields written", read_only_fields_written},
    {"msix: table full of nonsense", msix_table_full_of_nonsense},
    {"msix: flipped while interrupts come", msix_flipped_while_interrupts_come},
    {"mmio: holes read and written", mmio_holes},
};

void payload_main(void)
{
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        result(rows[i].what, rows[i].misuse(), "no sign of life afterwards");
    finish();
}
