/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PCI bus whose platform writes down what was asked of it. */
#ifndef KV_TESTS_FAKE_PCI_H
#define KV_TESTS_FAKE_PCI_H

#include <string.h>

#include "base/util.h"
#include "vmm/pci/pci.h"

#define FAKE_CONNECTIONS_MAX 64

struct fake_pci {
    struct bus mmio, pio;
    struct bus_cache cache;
    struct pci_bus bus;
    struct {
        int eventfd; /* 0: free */
        uint64_t address;
        uint32_t data;
    } connections[FAKE_CONNECTIONS_MAX]; /* by gsi - 100 */
    bool refuse_connections;
    unsigned sent;
    uint64_t sent_address;
    uint32_t sent_data;
    bool lines[32];
    unsigned resets;
};

static inline int fake_msi_connect(void *opaque, int *gsi, int eventfd, uint64_t address,
                                   uint32_t data)
{
    struct fake_pci *fake = opaque;
    if (fake->refuse_connections)
        return -28; /* ENOSPC */
    for (int i = 0; *gsi < 0 && i < FAKE_CONNECTIONS_MAX; i++)
        if (!fake->connections[i].eventfd)
            *gsi = 100 + i;
    fake->connections[*gsi - 100].eventfd = eventfd;
    fake->connections[*gsi - 100].address = address;
    fake->connections[*gsi - 100].data = data;
    return 0;
}

static inline void fake_msi_disconnect(void *opaque, int gsi, int eventfd)
{
    struct fake_pci *fake = opaque;
    if (fake->connections[gsi - 100].eventfd == eventfd)
        fake->connections[gsi - 100].eventfd = 0;
}

static inline void fake_msi_send(void *opaque, uint64_t address, uint32_t data)
{
    struct fake_pci *fake = opaque;
    fake->sent++;
    fake->sent_address = address;
    fake->sent_data = data;
}

static inline void fake_set_line(void *opaque, unsigned gsi, bool high)
{
    struct fake_pci *fake = opaque;
    fake->lines[gsi % 32] = high;
}

static inline int fake_ioeventfd(void *opaque, bool add, uint64_t address, int eventfd)
{
    return 0;
}

static inline void fake_reset(void *opaque)
{
    struct fake_pci *fake = opaque;
    fake->resets++;
}

static const struct pci_platform_ops fake_platform_ops = {
    .msi_connect = fake_msi_connect,
    .msi_disconnect = fake_msi_disconnect,
    .msi_send = fake_msi_send,
    .set_line = fake_set_line,
    .ioeventfd = fake_ioeventfd,
    .reset = fake_reset,
};

static inline void fake_pci_init(struct fake_pci *fake)
{
    memset(fake, 0, sizeof(*fake));
    bus_init(&fake->mmio, "mmio");
    bus_init(&fake->pio, "port");
    pci_bus_init(&fake->bus, &fake->mmio, &fake->pio, &fake_platform_ops, fake);
}

static inline void fake_pci_destroy(struct fake_pci *fake)
{
    pci_bus_destroy(&fake->bus);
    bus_destroy(&fake->mmio);
    bus_destroy(&fake->pio);
}

/* What a guest's instruction would see; each access looks the region up afresh. */
static inline uint64_t fake_read(struct bus *bus, uint64_t address, unsigned len)
{
    struct bus_cache cache = {0};
    uint64_t value = 0;
    bus_read(bus, &cache, address, &value, len);
    return value;
}

static inline bool fake_write(struct bus *bus, uint64_t address, uint64_t value, unsigned len)
{
    struct bus_cache cache = {0};
    return bus_write(bus, &cache, address, value, len);
}

#endif
