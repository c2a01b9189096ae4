/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * pvpanic (the event bits that Linux's and Windows' drivers know, on an ISA
 * port that the DSDT names QEMU0001): a read says which events are understood,
 * a write reports them. It has no state.
 */
#include "vmm/devices/pvpanic.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

static const struct {
    uint8_t bit;
    enum machine_request request;
} events[] = {
    {0x01, REQUEST_PANIC},
    {0x02, REQUEST_CRASH_LOADED},
    {0x04, REQUEST_PVSHUTDOWN},
};

static uint64_t pvpanic_read(void *opaque, uint64_t offset, unsigned len)
{
    uint64_t known = 0;
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++)
        known |= events[i].bit;
    return known;
}

static void pvpanic_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct device *dev = opaque;
    for (unsigned i = 0; i < ARRAY_SIZE(events); i++) {
        if (value & events[i].bit)
            machine_request(dev->machine, events[i].request);
        value &= ~(uint64_t)events[i].bit;
    }
    if (value)
        log_guest("%s: unknown events 0x%llx", dev->id, (unsigned long long)value);
}

static const struct bus_ops pvpanic_regs = {.read = pvpanic_read, .write = pvpanic_write};

static void pvpanic_free(struct device *dev)
{
    bus_unmap(&dev->machine->pio, PORT_PVPANIC);
    free(dev);
}

static const struct device_ops pvpanic_ops = {.type = "pvpanic", .free = pvpanic_free};

int pvpanic_create(struct machine *machine, struct kv_error *err)
{
    struct device *dev = calloc(1, sizeof(*dev));
    if (!dev)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "pvpanic: out of memory");
    int rc = device_register(machine, dev, &pvpanic_ops, "pvpanic", err);
    if (rc < 0) {
        free(dev);
        return rc;
    }
    return bus_map(&machine->pio,
                   &(struct bus_region){.base = PORT_PVPANIC,
                                        .size = 1,
                                        .ops = &pvpanic_regs,
                                        .opaque = dev,
                                        .name = "pvpanic"},
                   err);
}
