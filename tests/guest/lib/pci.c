/* SPDX-License-Identifier: GPL-2.0-or-later */
/* PCI config space by ports 0xcf8 and 0xcfc; see payload.h. */
#include "payload.h"

static uint16_t select(unsigned devfn, unsigned offset)
{
    outl(0xcf8, 0x80000000u | devfn << 8 | (offset & 0xfc));
    return (uint16_t)(0xcfc + (offset & 3));
}

uint32_t pci_read(unsigned devfn, unsigned offset, unsigned len)
{
    uint16_t port = select(devfn, offset);
    return len == 1 ? inb(port) : len == 2 ? inw(port) : inl(port);
}

void pci_write(unsigned devfn, unsigned offset, uint32_t value, unsigned len)
{
    uint16_t port = select(devfn, offset);
    if (len == 1)
        outb(port, (uint8_t)value);
    else if (len == 2)
        outw(port, (uint16_t)value);
    else
        outl(port, value);
}

int pci_find(uint16_t vendor, uint16_t device, unsigned n)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        uint32_t id = pci_read(slot << 3, 0, 4);
        if ((id & 0xffff) == vendor && id >> 16 == device && n-- == 0)
            return (int)(slot << 3);
    }
    return -1;
}

unsigned pci_find_capability(unsigned devfn, uint8_t id, unsigned after)
{
    unsigned at = pci_read(devfn, after ? after + 1 : 0x34, 1);
    for (unsigned n = 0; at >= 0x40 && n < 48; n++) {
        if (pci_read(devfn, at, 1) == id)
            return at;
        at = pci_read(devfn, at + 1, 1);
    }
    return 0;
}

uint64_t pci_bar(unsigned devfn, unsigned bar)
{
    uint32_t low = pci_read(devfn, 0x10 + 4 * bar, 4);
    if (low & 1)
        return low & ~3u;
    uint64_t address = low & ~15u;
    if ((low & 6) == 4)
        address |= (uint64_t)pci_read(devfn, 0x14 + 4 * bar, 4) << 32;
    return address;
}
