/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One PCI function: config space with its masks (PCI Local Bus 3.0 chapter 6),
 * BARs that appear on the machine's buses as command register and guest say,
 * capabilities, and the function's state as JSON. Called by the bus on vCPU
 * threads and by the device that owns it.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>

#include "base/log.h"
#include "vmm/pci/pci_internal.h"

#define COMMAND_WRITABLE                                                             \
    (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY | \
     PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)
#define STATUS_CLEARABLE 0xf900
#define FIRST_CAPABILITY 0x40
#define BAR_REGISTERS_END (PCI_BASE_ADDRESS_0 + 4 * PCI_BARS)
/* Lowest port a guest may move an I/O BAR to: below are the platform's own. */
#define IO_BAR_MIN 0x1000
#define IO_BAR_LIMIT 0x10000
#define MMIO64_LIMIT BIT(52)

void pci_device_init(struct pci_device *dev, const struct pci_identity *identity,
                     const struct pci_device_ops *ops)
{
    static const struct pci_device_ops no_ops;
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&dev->lock, &attr);
    pthread_mutexattr_destroy(&attr);
    pthread_mutex_init(&dev->irq_lock, NULL);

    dev->bus = NULL;
    dev->devfn = 0;
    dev->rom = (struct pci_rom){0};
    dev->ops = ops ? ops : &no_ops;
    dev->next_cap = FIRST_CAPABILITY;
    dev->last_cap = 0;
    dev->intx_high = dev->intx_disabled = dev->intx_driven = false;
    dev->msix = (struct pci_msix){0};
    dev->msi = (struct pci_msi){0};
    memset(dev->bars, 0, sizeof(dev->bars));
    memset(dev->config, 0, sizeof(dev->config));
    memset(dev->write_mask, 0, sizeof(dev->write_mask));
    memset(dev->clear_mask, 0, sizeof(dev->clear_mask));

    store_le(dev->config + PCI_VENDOR_ID, identity->vendor, 2);
    store_le(dev->config + PCI_DEVICE_ID, identity->device, 2);
    store_le(dev->config + PCI_REVISION_ID, identity->revision, 1);
    store_le(dev->config + PCI_CLASS_PROG, identity->class_code, 3);
    store_le(dev->config + PCI_SUBSYSTEM_VENDOR_ID, identity->subsystem_vendor, 2);
    store_le(dev->config + PCI_SUBSYSTEM_ID, identity->subsystem, 2);
    dev->config[PCI_INTERRUPT_PIN] = identity->intx ? 1 : 0;

    store_le(dev->write_mask + PCI_COMMAND, COMMAND_WRITABLE, 2);
    store_le(dev->clear_mask + PCI_STATUS, STATUS_CLEARABLE, 2);
    dev->write_mask[PCI_CACHE_LINE_SIZE] = 0xff;
    dev->write_mask[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_device_destroy(struct pci_device *dev)
{
    pci_msix_destroy(dev);
    free(dev->rom.data);
    pthread_mutex_destroy(&dev->irq_lock);
    pthread_mutex_destroy(&dev->lock);
}

static unsigned bar_register(unsigned bar)
{
    return PCI_BASE_ADDRESS_0 + 4 * bar;
}

static uint32_t bar_flags(const struct pci_bar *bar)
{
    if (bar->io)
        return PCI_BASE_ADDRESS_SPACE_IO;
    return (bar->is_64bit ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0) |
           (bar->prefetchable ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0);
}

static void bar_init(struct pci_device *dev, unsigned index, const struct pci_bar *bar)
{
    dev->bars[index] = *bar;
    unsigned reg = bar_register(index);
    uint64_t mask = ~(bar->size - 1);
    store_le(dev->config + reg, bar_flags(bar), 4);
    store_le(dev->write_mask + reg, (uint32_t)mask, 4);
    if (bar->is_64bit)
        store_le(dev->write_mask + reg + 4, (uint32_t)(mask >> 32), 4);
}

void pci_bar_init(struct pci_device *dev, unsigned bar, uint64_t size, bool is_64bit,
                  bool prefetchable, const struct bus_ops *ops, void *opaque)
{
    assert(bar + is_64bit < PCI_BARS && size >= 16 && (size & (size - 1)) == 0);
    assert(is_64bit || size <= BIT(31));
    bar_init(dev, bar,
             &(struct pci_bar){.size = size,
                               .is_64bit = is_64bit,
                               .prefetchable = prefetchable,
                               .ops = ops,
                               .opaque = opaque});
}

void pci_bar_init_io(struct pci_device *dev, unsigned bar, uint32_t size, const struct bus_ops *ops,
                     void *opaque)
{
    assert(bar < PCI_BARS && size >= 16 && size <= 256 && (size & (size - 1)) == 0);
    bar_init(dev, bar, &(struct pci_bar){.size = size, .io = true, .ops = ops, .opaque = opaque});
}

uint64_t pci_bar_address(const struct pci_device *dev, unsigned bar)
{
    const uint8_t *reg = dev->config + bar_register(bar);
    uint64_t address = load_le(reg, dev->bars[bar].is_64bit ? 8 : 4);
    return address & ~(uint64_t)(dev->bars[bar].size - 1);
}

static void set_bar_address(struct pci_device *dev, unsigned index, uint64_t address)
{
    const struct pci_bar *bar = &dev->bars[index];
    store_le(dev->config + bar_register(index), address | bar_flags(bar), bar->is_64bit ? 8 : 4);
}

/* The end of a BAR of another device that overlaps the range, or 0 when the range is free. */
static uint64_t taken_by(struct pci_device *other, bool io, uint64_t start, uint64_t size)
{
    uint64_t end = 0;
    pthread_mutex_lock(&other->lock);
    for (unsigned b = 0; b < PCI_BARS && !end; b++) {
        const struct pci_bar *bar = &other->bars[b];
        if (!bar->size || bar->io != io)
            continue;
        uint64_t address = pci_bar_address(other, b);
        if (ranges_overlap(start, size, address, bar->size))
            end = address + bar->size;
        else if (ranges_overlap(start, size, bar->initial, bar->size))
            end = bar->initial + bar->size;
    }
    pthread_mutex_unlock(&other->lock);
    return end;
}

static uint64_t taken_until(struct pci_bus *bus, bool io, uint64_t start, uint64_t size)
{
    uint64_t end = 0;
    for (unsigned i = 0; i < PCI_FUNCTIONS && !end; i++)
        if (bus->devices[i])
            end = taken_by(bus->devices[i], io, start, size);
    return end;
}

/* First fit among the BARs of devices already there and those of dev placed so far. */
static uint64_t find_place(struct pci_bus *bus, const struct pci_device *dev, unsigned index)
{
    const struct pci_bar *bar = &dev->bars[index];
    bool high = bar->is_64bit;
    uint64_t at = bar->io ? bus->io_base : high ? bus->mmio64_base : bus->mmio32_base;
    uint64_t end = bar->io ? bus->io_end : high ? bus->mmio64_end : bus->mmio32_end;
    for (;;) {
        at = ALIGN_UP(at, bar->size);
        if (!range_within(at, bar->size, 0, end))
            return 0;
        uint64_t taken = taken_until(bus, bar->io, at, bar->size);
        for (unsigned b = 0; !taken && b < index; b++)
            if (dev->bars[b].io == bar->io &&
                ranges_overlap(at, bar->size, dev->bars[b].initial, dev->bars[b].size))
                taken = dev->bars[b].initial + dev->bars[b].size;
        if (!taken)
            return at;
        at = taken;
    }
}

int pci_bars_place(struct pci_bus *bus, struct pci_device *dev, struct kv_error *err)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &dev->bars[i];
        if (!bar->size)
            continue;
        bar->initial = find_place(bus, dev, i);
        if (!bar->initial)
            return kv_error_set(err, KV_ERR_DEVICE, ENOSPC,
                                "BAR %u of device '%s': its window has no %" PRIu64 " bytes left",
                                i, dev->device.id, bar->size);
        set_bar_address(dev, i, bar->initial);
    }
    return 0;
}

static bool bar_may_be_at(const struct pci_bus *bus, const struct pci_bar *bar, uint64_t address)
{
    if (bar->io)
        return range_within(address, bar->size, IO_BAR_MIN, IO_BAR_LIMIT - IO_BAR_MIN);
    return range_within(address, bar->size, bus->mmio32_base,
                        bus->mmio32_limit - bus->mmio32_base) ||
           range_within(address, bar->size, bus->mmio64_base, MMIO64_LIMIT - bus->mmio64_base);
}

/* True when the address is what a guest leaves in the register while it asks for the size. */
static bool looks_like_probe(const struct pci_bar *bar, uint64_t address)
{
    uint64_t all = ~(uint64_t)(bar->size - 1);
    return address == all || address == (uint32_t)all || address == 0;
}

static bool map_bar(struct pci_device *dev, struct pci_bar *bar, uint64_t address)
{
    struct pci_bus *bus = dev->bus;
    unsigned index = (unsigned)(bar - dev->bars);
    if (!bar_may_be_at(bus, bar, address)) {
        if (!looks_like_probe(bar, address))
            log_guest("%s: BAR %u at 0x%" PRIx64 " lies outside the PCI windows, not mapped",
                      dev->device.id, index, address);
        return false;
    }
    struct bus_region region = {.base = address,
                                .size = bar->size,
                                .ops = bar->ops,
                                .opaque = bar->opaque,
                                .name = dev->device.id};
    struct kv_error err;
    if (bus_map(bar->io ? bus->pio : bus->mmio, &region, &err) < 0) {
        log_guest("%s: BAR %u not mapped: %s", dev->device.id, index, err.message);
        return false;
    }
    bar->mapped = true;
    bar->address = address;
    return true;
}

static void unmap_bar(struct pci_device *dev, struct pci_bar *bar)
{
    uint64_t address = bar->address;
    bus_unmap(bar->io ? dev->bus->pio : dev->bus->mmio, address);
    bar->mapped = false;
    if (dev->ops->bar_changed)
        dev->ops->bar_changed(dev, (unsigned)(bar - dev->bars), false, address);
}

void pci_bars_update(struct pci_device *dev)
{
    if (!dev->bus)
        return;
    uint16_t command = (uint16_t)load_le(dev->config + PCI_COMMAND, 2);
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &dev->bars[i];
        if (!bar->size)
            continue;
        bool on = command & (bar->io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
        uint64_t address = pci_bar_address(dev, i);
        if (bar->mapped && (!on || bar->address != address))
            unmap_bar(dev, bar);
        if (on && !bar->mapped && map_bar(dev, bar, address) && dev->ops->bar_changed)
            dev->ops->bar_changed(dev, i, true, address);
    }
}

unsigned pci_add_capability(struct pci_device *dev, uint8_t id, unsigned len)
{
    unsigned at = dev->next_cap;
    assert(len >= 2 && at + len <= PCI_CONFIG_SIZE);
    dev->config[at] = id;
    dev->config[at + 1] = 0;
    if (dev->last_cap)
        dev->config[dev->last_cap + 1] = (uint8_t)at;
    else
        dev->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
    dev->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
    dev->last_cap = at;
    dev->next_cap = ALIGN_UP(at + len, 4);
    return at;
}

void pci_intx_set(struct pci_device *dev, bool high)
{
    pthread_mutex_lock(&dev->irq_lock);
    dev->intx_high = high;
    pci_intx_update(dev);
    pthread_mutex_unlock(&dev->irq_lock);
}

static bool touches(unsigned offset, unsigned len, unsigned reg, unsigned reg_len)
{
    return ranges_overlap(offset, len, reg, reg_len);
}

uint32_t pci_config_read(struct pci_device *dev, unsigned offset, unsigned len)
{
    if (len == 0 || len > 4 || !range_within(offset, len, 0, PCI_CONFIG_SIZE))
        return UINT32_MAX;
    pthread_mutex_lock(&dev->lock);
    if (dev->ops->config_read)
        dev->ops->config_read(dev, offset, len);
    if (touches(offset, len, PCI_STATUS, 1)) {
        pthread_mutex_lock(&dev->irq_lock);
        dev->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
        if (dev->intx_high)
            dev->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
        pthread_mutex_unlock(&dev->irq_lock);
    }
    uint32_t value = (uint32_t)load_le(dev->config + offset, len);
    pthread_mutex_unlock(&dev->lock);
    return value;
}

/* What follows from the registers' new contents. Under the lock. */
static void apply_config(struct pci_device *dev, unsigned offset, unsigned len)
{
    if (touches(offset, len, PCI_COMMAND, 2)) {
        uint16_t command = (uint16_t)load_le(dev->config + PCI_COMMAND, 2);
        pthread_mutex_lock(&dev->irq_lock);
        dev->intx_disabled = command & PCI_COMMAND_INTX_DISABLE;
        pci_intx_update(dev);
        pthread_mutex_unlock(&dev->irq_lock);
    }
    if (touches(offset, len, PCI_COMMAND, 2) ||
        touches(offset, len, PCI_BASE_ADDRESS_0, BAR_REGISTERS_END - PCI_BASE_ADDRESS_0))
        pci_bars_update(dev);
    if (dev->msix.count && touches(offset, len, dev->msix.cap + PCI_MSIX_FLAGS, 2))
        pci_msix_control_changed(dev);
    if (dev->msi.cap && touches(offset, len, dev->msi.cap, PCI_MSI_SIZE))
        pci_msi_changed(dev);
}

void pci_config_write(struct pci_device *dev, unsigned offset, uint32_t value, unsigned len)
{
    if (len == 0 || len > 4 || !range_within(offset, len, 0, PCI_CONFIG_SIZE))
        return;
    pthread_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)(value >> (8 * i));
        uint8_t mask = dev->write_mask[offset + i];
        uint8_t *at = &dev->config[offset + i];
        *at = (uint8_t)((*at & ~mask) | (byte & mask));
        *at &= (uint8_t) ~(byte & dev->clear_mask[offset + i]);
    }
    apply_config(dev, offset, len);
    if (dev->ops->config_written)
        dev->ops->config_written(dev, offset, len);
    pthread_mutex_unlock(&dev->lock);
}

void pci_device_reset(struct pci_device *dev)
{
    pthread_mutex_lock(&dev->lock);
    store_le(dev->config + PCI_COMMAND, 0, 2);
    dev->config[PCI_CACHE_LINE_SIZE] = 0;
    dev->config[PCI_INTERRUPT_LINE] = 0;
    pci_bars_update(dev);
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (dev->bars[i].size)
            set_bar_address(dev, i, dev->bars[i].initial);
    pthread_mutex_lock(&dev->irq_lock);
    dev->intx_high = dev->intx_disabled = false;
    pci_intx_update(dev);
    pthread_mutex_unlock(&dev->irq_lock);
    if (dev->msix.count)
        pci_msix_reset(dev);
    if (dev->msi.cap)
        pci_msi_reset(dev);
    pthread_mutex_unlock(&dev->lock);
}

json_t *pci_device_save(struct pci_device *dev)
{
    char hex[2 * PCI_CONFIG_SIZE + 1];
    static const char digits[] = "0123456789abcdef";
    pthread_mutex_lock(&dev->lock);
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        hex[2 * i] = digits[dev->config[i] >> 4];
        hex[2 * i + 1] = digits[dev->config[i] & 15];
    }
    hex[2 * PCI_CONFIG_SIZE] = '\0';
    pthread_mutex_lock(&dev->irq_lock);
    bool high = dev->intx_high;
    pthread_mutex_unlock(&dev->irq_lock);
    json_t *state = json_pack("{s:s, s:b, s:i}", "config", hex, "intx", high, "devfn", dev->devfn);
    if (state && dev->msix.count)
        json_object_set_new(state, "msix", pci_msix_save(dev));
    pthread_mutex_unlock(&dev->lock);
    return state;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

static int parse_config(const char *hex, uint8_t config[PCI_CONFIG_SIZE])
{
    if (strlen(hex) != 2 * PCI_CONFIG_SIZE)
        return -EINVAL;
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            return -EINVAL;
        config[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int pci_device_load(struct pci_device *dev, const json_t *state, struct kv_error *err)
{
    const char *hex = json_string_value(json_object_get(state, "config"));
    const json_t *intx = json_object_get(state, "intx");
    uint8_t config[PCI_CONFIG_SIZE];
    if (!hex || !json_is_boolean(intx) || parse_config(hex, config) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its PCI state is no 256 bytes in hexadecimal",
                            dev->device.id);
    if (memcmp(config, dev->config, 4) != 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': the state is of PCI device %04x:%04x, this is %04x:%04x",
                            dev->device.id, (unsigned)load_le(config, 2),
                            (unsigned)load_le(config + 2, 2), (unsigned)load_le(dev->config, 2),
                            (unsigned)load_le(dev->config + 2, 2));
    pthread_mutex_lock(&dev->lock);
    int rc = 0;
    if (dev->msix.count)
        rc = pci_msix_load(dev, json_object_get(state, "msix"), err);
    if (rc == 0) {
        for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
            uint8_t mask = dev->write_mask[i] | dev->clear_mask[i];
            dev->config[i] = (uint8_t)((dev->config[i] & ~mask) | (config[i] & mask));
        }
        pthread_mutex_lock(&dev->irq_lock);
        dev->intx_high = json_is_true(intx);
        pthread_mutex_unlock(&dev->irq_lock);
        apply_config(dev, PCI_COMMAND, PCI_CONFIG_SIZE - PCI_COMMAND);
    }
    pthread_mutex_unlock(&dev->lock);
    return rc;
}
