/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of PCI hotplug by ACPI, after the interface in QEMU's
 * docs/specs/acpi_pci_hotplug; see pci_hotplug.h. A guest that ejects does so on
 * a vCPU thread: there the device leaves the bus, so that nothing answers any
 * more when the write is over; the control thread frees it.
 */
#include "vmm/pci/pci_hotplug.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "vmm/devices/pm.h"
#include "vmm/machine/machine.h"
#include "vmm/pci/pci.h"
#include "vmm/x86/layout.h"

#define OST_SUCCESS 0x00
#define OST_EJECT_IN_PROGRESS 0x84

struct pci_hotplug {
    struct device device;
    pthread_mutex_t lock; /* everything below but work; taken before the bus's */
    uint32_t up, down;    /* as the registers show them */
    uint32_t waiting;     /* slots that were asked for their device and did not answer yet */
    struct list ejected;  /* struct pci_device: off the bus, to be freed */
    struct loop_work work;
};

static struct pci_hotplug *of_device(struct device *dev)
{
    return container_of(dev, struct pci_hotplug, device);
}

static struct pci_device *device_in_slot(struct machine *machine, unsigned slot)
{
    struct pci_bus *bus = &machine->pci;
    pthread_mutex_lock(&bus->lock);
    struct pci_device *dev = bus->devices[PCI_DEVFN(slot, 0)];
    pthread_mutex_unlock(&bus->lock);
    return dev;
}

static json_t *describe(const struct pci_device *dev)
{
    return json_pack("{s:s, s:o}", "device", dev->device.id, "path",
                     json_sprintf("/machine/peripheral/%s", dev->device.id));
}

/* Control thread. No vCPU is in a handler of these any more afterwards. */
static void free_ejected(void *opaque)
{
    struct pci_hotplug *hotplug = opaque;
    struct machine *machine = hotplug->device.machine;
    struct list leaving;
    list_init(&leaving);
    pthread_mutex_lock(&hotplug->lock);
    while (!list_empty(&hotplug->ejected)) {
        struct list *node = hotplug->ejected.next;
        list_del(node);
        list_add_tail(&leaving, node);
    }
    pthread_mutex_unlock(&hotplug->lock);
    if (!list_empty(&leaving))
        machine_synchronize(machine);
    while (!list_empty(&leaving)) {
        struct pci_device *dev = list_entry(leaving.next, struct pci_device, leaving);
        json_t *data = describe(dev);
        list_del(&dev->leaving);
        device_unregister(&dev->device);
        dev->device.ops->free(&dev->device);
        machine_emit(machine, "DEVICE_DELETED", data);
    }
}

/* Any thread. What may not leave stays. */
static void eject(struct pci_hotplug *hotplug, uint32_t slots)
{
    struct machine *machine = hotplug->device.machine;
    bool any = false;
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        if (!(slots & BIT(slot)))
            continue;
        pthread_mutex_lock(&hotplug->lock);
        struct pci_device *dev = device_in_slot(machine, slot);
        if (dev && dev->removable) {
            pci_unplug(dev);
            list_add_tail(&hotplug->ejected, &dev->leaving);
            any = true;
        }
        uint32_t others = ~(uint32_t)BIT(slot);
        hotplug->up &= others;
        hotplug->down &= others;
        hotplug->waiting &= others;
        pthread_mutex_unlock(&hotplug->lock);
        if (!dev || !dev->removable)
            log_guest("%s: slot %u has nothing that could be ejected", hotplug->device.id, slot);
    }
    if (any)
        loop_post(&machine->loop, &hotplug->work);
}

/* The guest tells how it fared with a notification (ACPI 6.5, 6.3.5); only a refusal is news. */
static void guest_status(struct pci_hotplug *hotplug, uint32_t value)
{
    unsigned slot = value & 0xff, event = value >> 8 & 0xff, status = value >> 16;
    if (event != PCI_HOTPLUG_NOTIFY_EJECT || status == OST_SUCCESS ||
        status == OST_EJECT_IN_PROGRESS || slot >= PCI_SLOTS)
        return;
    pthread_mutex_lock(&hotplug->lock);
    struct pci_device *dev = device_in_slot(hotplug->device.machine, slot);
    bool refused = dev && (hotplug->waiting & BIT(slot));
    hotplug->waiting &= ~(uint32_t)BIT(slot);
    json_t *data = refused ? describe(dev) : NULL;
    pthread_mutex_unlock(&hotplug->lock);
    if (refused)
        machine_emit(hotplug->device.machine, "DEVICE_UNPLUG_GUEST_ERROR", data);
}

static uint64_t read_register(void *opaque, uint64_t offset, unsigned len)
{
    struct pci_hotplug *hotplug = opaque;
    uint32_t *reg = offset == PCI_HOTPLUG_UP     ? &hotplug->up
                    : offset == PCI_HOTPLUG_DOWN ? &hotplug->down
                                                 : NULL;
    if (!reg || len != 4)
        return 0;
    pthread_mutex_lock(&hotplug->lock);
    uint32_t value = *reg;
    *reg = 0;
    pthread_mutex_unlock(&hotplug->lock);
    return value;
}

static void write_register(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    if (offset == PCI_HOTPLUG_EJECT && len == 4)
        eject(opaque, (uint32_t)value);
    else if (offset == PCI_HOTPLUG_OST && len == 4)
        guest_status(opaque, (uint32_t)value);
}

static const struct bus_ops registers = {.read = read_register, .write = write_register};

bool pci_hotplug_has_slot(struct machine *machine, unsigned slot)
{
    if (!machine->platform.pci_hotplug || slot == 0 || slot == PCI_SLOT_LPC)
        return false;
    const struct pci_device *dev = device_in_slot(machine, slot);
    return !dev || dev->removable;
}

struct pci_device *pci_hotplug_find(struct machine *machine, const struct device *device)
{
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        struct pci_device *dev = device_in_slot(machine, slot);
        if (dev && &dev->device == device)
            return dev;
    }
    return NULL;
}

static void notify(struct pci_hotplug *hotplug, uint32_t *reg, unsigned devfn)
{
    pthread_mutex_lock(&hotplug->lock);
    *reg |= (uint32_t)BIT(devfn >> 3);
    pthread_mutex_unlock(&hotplug->lock);
    pm_gpe_raise(hotplug->device.machine, GPE_PCI_HOTPLUG);
}

void pci_hotplug_announce(struct machine *machine, const struct pci_device *dev)
{
    struct pci_hotplug *hotplug = machine->platform.pci_hotplug;
    notify(hotplug, &hotplug->up, dev->devfn);
}

int pci_hotplug_remove(struct machine *machine, struct pci_device *dev, bool force,
                       struct kv_error *err)
{
    struct pci_hotplug *hotplug = machine->platform.pci_hotplug;
    if (!hotplug || !dev->removable)
        return kv_error_set(err, KV_ERR_DEVICE, ENOTSUP, "Device '%s' does not support hotplugging",
                            dev->device.id);
    unsigned devfn = dev->devfn;
    if (force || machine->state == RUN_PRELAUNCH) {
        eject(hotplug, (uint32_t)BIT(devfn >> 3));
        return 0;
    }
    pthread_mutex_lock(&hotplug->lock);
    hotplug->waiting |= (uint32_t)BIT(devfn >> 3);
    pthread_mutex_unlock(&hotplug->lock);
    notify(hotplug, &hotplug->down, devfn);
    return 0;
}

/* Nobody is there any more whom the devices could be missed by. */
static void hotplug_reset(struct device *dev)
{
    struct pci_hotplug *hotplug = of_device(dev);
    pthread_mutex_lock(&hotplug->lock);
    uint32_t waiting = hotplug->waiting;
    hotplug->up = hotplug->down = 0;
    pthread_mutex_unlock(&hotplug->lock);
    eject(hotplug, waiting);
}

static json_t *hotplug_save(struct device *dev)
{
    struct pci_hotplug *hotplug = of_device(dev);
    pthread_mutex_lock(&hotplug->lock);
    json_t *state = json_pack("{s:I, s:I, s:I}", "up", (json_int_t)hotplug->up, "down",
                              (json_int_t)hotplug->down, "waiting", (json_int_t)hotplug->waiting);
    pthread_mutex_unlock(&hotplug->lock);
    return state;
}

static int hotplug_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct pci_hotplug *hotplug = of_device(dev);
    json_int_t up, down, waiting;
    if (json_unpack((json_t *)state, "{s:I, s:I, s:I}", "up", &up, "down", &down, "waiting",
                    &waiting) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': a register is missing in its state", dev->id);
    pthread_mutex_lock(&hotplug->lock);
    hotplug->up = (uint32_t)up;
    hotplug->down = (uint32_t)down;
    hotplug->waiting = (uint32_t)waiting;
    pthread_mutex_unlock(&hotplug->lock);
    return 0;
}

static void hotplug_free(struct device *dev)
{
    struct pci_hotplug *hotplug = of_device(dev);
    bus_unmap(&dev->machine->pio, PORT_PCI_HOTPLUG);
    dev->machine->platform.pci_hotplug = NULL;
    loop_unpost(&dev->machine->loop, &hotplug->work);
    pthread_mutex_destroy(&hotplug->lock);
    free(hotplug);
}

static const struct device_ops hotplug_ops = {
    .type = "acpi-pci-hotplug",
    .reset = hotplug_reset,
    .save = hotplug_save,
    .load = hotplug_load,
    .free = hotplug_free,
};

int pci_hotplug_create(struct machine *machine, struct kv_error *err)
{
    struct pci_hotplug *hotplug = calloc(1, sizeof(*hotplug));
    if (!hotplug)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "PCI hotplug: out of memory");
    pthread_mutex_init(&hotplug->lock, NULL);
    list_init(&hotplug->ejected);
    hotplug->work = (struct loop_work){.fn = free_ejected, .opaque = hotplug};
    int rc = device_register(machine, &hotplug->device, &hotplug_ops, "acpi-pci-hotplug", err);
    if (rc < 0) {
        pthread_mutex_destroy(&hotplug->lock);
        free(hotplug);
        return rc;
    }
    machine->platform.pci_hotplug = hotplug;
    /* On error the machine frees its devices, this one too. */
    return bus_map(&machine->pio,
                   &(struct bus_region){.base = PORT_PCI_HOTPLUG,
                                        .size = PORTS_PCI_HOTPLUG,
                                        .ops = &registers,
                                        .opaque = hotplug,
                                        .name = "acpi-pci-hotplug"},
                   err);
}
