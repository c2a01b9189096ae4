/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI (virtio 1.2, 4.1): the PCI function in front of a virtio
 * device, with its capabilities, the BAR behind them, doorbells, interrupts and
 * the device's hooks in the machine. See virtio_pci.h.
 */
#include "vmm/virtio/virtio_pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/machine/machine.h"

#define VENDOR_VIRTIO 0x1af4
#define SUBSYSTEM_ID 0x1100
#define DEVICE_ID_BASE 0x1040
#define REVISION_MODERN 1
#define CLASS_OTHER 0x00ff00

#define ISR_QUEUE 1u
#define ISR_CONFIG 2u

/* Class codes as drivers of other monitors know them; all others are "unclassified". */
static const struct {
    uint16_t device_id;
    uint32_t class_code;
} class_codes[] = {
    {VIRTIO_ID_NET, 0x020000},  {VIRTIO_ID_BLOCK, 0x010000}, {VIRTIO_ID_CONSOLE, 0x078000},
    {VIRTIO_ID_SCSI, 0x010000}, {VIRTIO_ID_VSOCK, 0x078000}, {VIRTIO_ID_INPUT, 0x098000},
    {VIRTIO_ID_GPU, 0x038000},  {VIRTIO_ID_FS, 0x018000},
};

static struct virtio_pci *of_pci(struct pci_device *pci)
{
    return container_of(pci, struct virtio_pci, pci);
}

static struct virtio_pci *of_device(struct device *device)
{
    return container_of(device, struct virtio_pci, pci.device);
}

/* Interrupts: any thread, without pci.lock. */

static bool msix_enabled(const struct virtio_pci *vp)
{
    return __atomic_load_n(&vp->pci.msix.enabled, __ATOMIC_RELAXED);
}

static void interrupt(struct virtio_pci *vp, uint16_t vector, uint8_t isr)
{
    if (msix_enabled(vp)) {
        if (vector != VIRTIO_MSI_NO_VECTOR)
            pci_msix_notify(&vp->pci, vector);
        return;
    }
    pthread_mutex_lock(&vp->isr_lock);
    vp->isr |= isr;
    pci_intx_set(&vp->pci, true);
    pthread_mutex_unlock(&vp->isr_lock);
}

/* Reading acknowledges (4.1.4.5). */
static uint8_t take_isr(struct virtio_pci *vp)
{
    pthread_mutex_lock(&vp->isr_lock);
    uint8_t isr = vp->isr;
    vp->isr = 0;
    pci_intx_set(&vp->pci, false);
    pthread_mutex_unlock(&vp->isr_lock);
    return isr;
}

static void queue_interrupt(void *opaque, struct virtio_queue *queue)
{
    struct virtio_pci *vp = opaque;
    interrupt(vp, atomic_load_explicit(&vp->queues[queue->index].vector, memory_order_relaxed),
              ISR_QUEUE);
}

static void config_interrupt(void *opaque)
{
    struct virtio_pci *vp = opaque;
    interrupt(vp, atomic_load(&vp->config_vector), ISR_CONFIG);
}

static int queue_interrupt_fd(void *opaque, struct virtio_queue *queue)
{
    struct virtio_pci *vp = opaque;
    if (!msix_enabled(vp))
        return -1;
    return pci_msix_eventfd(&vp->pci, atomic_load(&vp->queues[queue->index].vector));
}

static const struct virtio_transport_ops transport_ops = {
    .queue_interrupt = queue_interrupt,
    .config_interrupt = config_interrupt,
    .queue_interrupt_fd = queue_interrupt_fd,
};

void virtio_pci_reset_registers(struct virtio_pci *vp)
{
    virtio_device_reset(vp->dev);
    vp->device_feature_select = vp->driver_feature_select = 0;
    vp->queue_select = 0;
    atomic_store(&vp->config_vector, VIRTIO_MSI_NO_VECTOR);
    for (unsigned i = 0; i < vp->dev->queue_count; i++) {
        vp->queues[i].ready = false;
        atomic_store(&vp->queues[i].vector, VIRTIO_MSI_NO_VECTOR);
    }
    take_isr(vp);
}

/* The BAR. */

static uint64_t isr_read(struct virtio_pci *vp, uint64_t offset, unsigned len)
{
    return offset == 0 && len == 1 ? take_isr(vp) : 0;
}

static uint64_t config_read(struct virtio_pci *vp, uint64_t offset, unsigned len)
{
    struct virtio_device *dev = vp->dev;
    if (!range_within(offset, len, 0, dev->config_size))
        return 0;
    if (dev->ops->config_read)
        dev->ops->config_read(dev);
    return load_le((char *)dev->config + offset, len);
}

static void config_write(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len)
{
    struct virtio_device *dev = vp->dev;
    if (dev->ops->config_write && range_within(offset, len, 0, dev->config_size))
        dev->ops->config_write(dev, (unsigned)offset, &value, len);
}

/* A doorbell that KVM did not take to the eventfd by itself. */
static void notify_write(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len)
{
    uint64_t index = offset / VIRTIO_PCI_NOTIFY_MULTIPLIER, one = 1;
    if (offset % VIRTIO_PCI_NOTIFY_MULTIPLIER || index >= vp->dev->queue_count)
        return;
    /* EAGAIN: the count is full, so the doorbell has been rung. */
    ssize_t written = write(vp->dev->queues[index].kick_fd, &one, sizeof(one));
    (void)written;
}

static uint64_t table_read(struct virtio_pci *vp, uint64_t offset, unsigned len)
{
    return pci_msix_table_read(&vp->pci, offset, len);
}

static void table_write(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len)
{
    pci_msix_table_write(&vp->pci, offset, value, len);
}

static uint64_t pba_read(struct virtio_pci *vp, uint64_t offset, unsigned len)
{
    return pci_msix_pba_read(&vp->pci, offset, len);
}

struct part {
    uint64_t base, end;
    bool locked;
    uint64_t (*read)(struct virtio_pci *vp, uint64_t offset, unsigned len);
    void (*write)(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len);
};

static const struct part parts[] = {
    {VIRTIO_PCI_NOTIFY, VIRTIO_PCI_MSIX_TABLE, false, NULL, notify_write},
    {VIRTIO_PCI_COMMON, VIRTIO_PCI_ISR_STATUS, true, virtio_pci_common_read,
     virtio_pci_common_write},
    {VIRTIO_PCI_ISR_STATUS, VIRTIO_PCI_DEVICE, false, isr_read, NULL},
    {VIRTIO_PCI_DEVICE, VIRTIO_PCI_NOTIFY, true, config_read, config_write},
    {VIRTIO_PCI_MSIX_TABLE, VIRTIO_PCI_MSIX_PBA, false, table_read, table_write},
    {VIRTIO_PCI_MSIX_PBA, VIRTIO_PCI_BAR_SIZE, false, pba_read, NULL},
};

static const struct part *find_part(uint64_t offset, unsigned len)
{
    for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
        if (range_within(offset, len, parts[i].base, parts[i].end - parts[i].base))
            return &parts[i];
    }
    return NULL;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned len)
{
    struct virtio_pci *vp = opaque;
    const struct part *part = find_part(offset, len);
    if (!part || !part->read)
        return 0;
    if (part->locked)
        pthread_mutex_lock(&vp->pci.lock);
    uint64_t value = part->read(vp, offset - part->base, len);
    if (part->locked)
        pthread_mutex_unlock(&vp->pci.lock);
    return value;
}

static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct virtio_pci *vp = opaque;
    const struct part *part = find_part(offset, len);
    if (!part || !part->write)
        return;
    if (part->locked)
        pthread_mutex_lock(&vp->pci.lock);
    part->write(vp, offset - part->base, value, len);
    if (part->locked)
        pthread_mutex_unlock(&vp->pci.lock);
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};

/* Config space. */

static void bar_changed(struct pci_device *pci, unsigned bar, bool mapped, uint64_t address)
{
    struct virtio_pci *vp = of_pci(pci);
    const struct virtio_companion *companion = vp->dev->companion;
    const struct pci_bus *bus = pci->bus;
    if (bar != vp->bar && companion)
        companion->bar_changed(vp->dev, bar, mapped, address);
    if (bar != vp->bar || vp->mapped == mapped)
        return;
    if (mapped)
        vp->bar_address = address;
    vp->mapped = mapped;
    for (unsigned i = 0; i < vp->dev->queue_count; i++) {
        uint64_t doorbell =
            vp->bar_address + VIRTIO_PCI_NOTIFY + (uint64_t)i * VIRTIO_PCI_NOTIFY_MULTIPLIER;
        int rc = bus->platform->ioeventfd(bus->platform_opaque, mapped, doorbell,
                                          vp->dev->queues[i].kick_fd);
        /* Not fatal: the doorbell then arrives as a write to the BAR. */
        if (rc < 0 && mapped)
            log_guest("%s: doorbell of queue %u takes the slow way: %s", pci->device.id, i,
                      strerror(-rc));
    }
}

/* The window that VIRTIO_PCI_CAP_PCI_CFG is (4.1.4.9). False unless the access touches its data
 * and what it is set to is an aligned access inside the BAR. */
static bool window(const struct virtio_pci *vp, unsigned offset, unsigned len, uint32_t *at,
                   uint32_t *width)
{
    const uint8_t *cap = vp->pci.config + vp->cfg_cap;
    unsigned data = vp->cfg_cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
    if (!ranges_overlap(offset, len, data, 4))
        return false;
    *at = (uint32_t)load_le(cap + offsetof(struct virtio_pci_cap, offset), 4);
    *width = (uint32_t)load_le(cap + offsetof(struct virtio_pci_cap, length), 4);
    return cap[offsetof(struct virtio_pci_cap, bar)] == vp->bar &&
           (*width == 1 || *width == 2 || *width == 4) && *at % *width == 0 &&
           range_within(*at, *width, 0, VIRTIO_PCI_BAR_SIZE);
}

static uint8_t *window_data(struct virtio_pci *vp)
{
    return vp->pci.config + vp->cfg_cap + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
}

static void pci_config_about_to_be_read(struct pci_device *pci, unsigned offset, unsigned len)
{
    struct virtio_pci *vp = of_pci(pci);
    uint32_t at, width;
    if (window(vp, offset, len, &at, &width))
        store_le(window_data(vp), bar_read(vp, at, width), width);
}

static void pci_config_written(struct pci_device *pci, unsigned offset, unsigned len)
{
    struct virtio_pci *vp = of_pci(pci);
    uint32_t at, width;
    if (window(vp, offset, len, &at, &width))
        bar_write(vp, at, load_le(window_data(vp), width), width);
}

static const struct pci_device_ops pci_ops = {
    .config_written = pci_config_written,
    .config_read = pci_config_about_to_be_read,
    .bar_changed = bar_changed,
};

struct location {
    uint8_t type, size;
    uint32_t offset, length;
};

static unsigned add_cap(struct virtio_pci *vp, const struct location *location)
{
    unsigned at = pci_add_capability(&vp->pci, PCI_CAP_ID_VNDR, location->size);
    uint8_t *cap = vp->pci.config + at;
    cap[offsetof(struct virtio_pci_cap, cap_len)] = location->size;
    cap[offsetof(struct virtio_pci_cap, cfg_type)] = location->type;
    cap[offsetof(struct virtio_pci_cap, bar)] = (uint8_t)vp->bar;
    store_le(cap + offsetof(struct virtio_pci_cap, offset), location->offset, 4);
    store_le(cap + offsetof(struct virtio_pci_cap, length), location->length, 4);
    return at;
}

static void add_caps(struct virtio_pci *vp)
{
    const uint8_t plain = sizeof(struct virtio_pci_cap);
    const struct location locations[] = {
        {VIRTIO_PCI_CAP_COMMON_CFG, plain, VIRTIO_PCI_COMMON, sizeof(struct virtio_pci_common_cfg)},
        {VIRTIO_PCI_CAP_ISR_CFG, plain, VIRTIO_PCI_ISR_STATUS, 1},
        {VIRTIO_PCI_CAP_DEVICE_CFG, plain, VIRTIO_PCI_DEVICE, vp->dev->config_size},
        {VIRTIO_PCI_CAP_NOTIFY_CFG, sizeof(struct virtio_pci_notify_cap), VIRTIO_PCI_NOTIFY,
         vp->dev->queue_count * VIRTIO_PCI_NOTIFY_MULTIPLIER},
        {VIRTIO_PCI_CAP_PCI_CFG, sizeof(struct virtio_pci_cfg_cap), 0, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(locations); i++) {
        const struct location *location = &locations[i];
        if (location->type == VIRTIO_PCI_CAP_DEVICE_CFG && location->length == 0)
            continue;
        unsigned at = add_cap(vp, location);
        if (location->type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
            store_le(vp->pci.config + at +
                         offsetof(struct virtio_pci_notify_cap, notify_off_multiplier),
                     VIRTIO_PCI_NOTIFY_MULTIPLIER, 4);
        } else if (location->type == VIRTIO_PCI_CAP_PCI_CFG) {
            uint8_t *mask = vp->pci.write_mask + at;
            vp->cfg_cap = at;
            mask[offsetof(struct virtio_pci_cap, bar)] = 0xff;
            /* Offset, length and data lie behind each other. */
            memset(mask + offsetof(struct virtio_pci_cap, offset), 0xff, 12);
        }
    }
}

/* The machine's hooks: control thread. */

static void quiesce(struct device *device)
{
    struct virtio_pci *vp = of_device(device);
    pthread_mutex_lock(&vp->pci.lock);
    virtio_device_stop(vp->dev);
    pthread_mutex_unlock(&vp->pci.lock);
}

static void resume(struct device *device)
{
    struct virtio_pci *vp = of_device(device);
    pthread_mutex_lock(&vp->pci.lock);
    virtio_pci_start_if_ready(vp);
    virtio_device_kick_all(vp->dev);
    pthread_mutex_unlock(&vp->pci.lock);
}

static void reset(struct device *device)
{
    struct virtio_pci *vp = of_device(device);
    pthread_mutex_lock(&vp->pci.lock);
    virtio_pci_reset_registers(vp);
    pci_device_reset(&vp->pci);
    if (vp->dev->companion)
        vp->dev->companion->reset(vp->dev);
    pthread_mutex_unlock(&vp->pci.lock);
}

static json_t *save(struct device *device)
{
    struct virtio_pci *vp = of_device(device);
    json_t *queues = json_array();
    pthread_mutex_lock(&vp->pci.lock);
    for (unsigned i = 0; i < vp->dev->queue_count; i++)
        json_array_append_new(queues, json_pack("{s:b, s:i}", "ready", vp->queues[i].ready,
                                                "vector", atomic_load(&vp->queues[i].vector)));
    json_t *out =
        json_pack("{s:o, s:o, s:o, s:I, s:I, s:i, s:i, s:i}", "pci", pci_device_save(&vp->pci),
                  "virtio", virtio_device_save(vp->dev), "queues", queues, "device-feature-select",
                  (json_int_t)vp->device_feature_select, "driver-feature-select",
                  (json_int_t)vp->driver_feature_select, "queue-select", vp->queue_select,
                  "config-vector", atomic_load(&vp->config_vector), "isr", vp->isr);
    if (vp->dev->companion)
        json_object_set_new(out, "companion", vp->dev->companion->save(vp->dev));
    pthread_mutex_unlock(&vp->pci.lock);
    return out;
}

static int load_queues(struct virtio_pci *vp, const json_t *queues, struct kv_error *err)
{
    for (unsigned i = 0; i < vp->dev->queue_count; i++) {
        int ready;
        json_int_t vector;
        if (json_unpack(json_array_get(queues, i), "{s:b, s:I}", "ready", &ready, "vector",
                        &vector) < 0)
            return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                                "device '%s': the state lacks ready and vector of queue %u",
                                vp->pci.device.id, i);
        vp->queues[i].ready = ready;
        atomic_store(&vp->queues[i].vector, vector >= 0 && vector < vp->pci.msix.count
                                                ? (uint16_t)vector
                                                : VIRTIO_MSI_NO_VECTOR);
    }
    return 0;
}

static int load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct virtio_pci *vp = of_device(device);
    json_t *pci, *virtio, *queues;
    json_int_t device_select, driver_select, queue_select, vector, isr;
    if (json_unpack((json_t *)state, "{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "pci", &pci,
                    "virtio", &virtio, "queues", &queues, "device-feature-select", &device_select,
                    "driver-feature-select", &driver_select, "queue-select", &queue_select,
                    "config-vector", &vector, "isr", &isr) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state lacks a part of virtio over PCI", device->id);
    pthread_mutex_lock(&vp->pci.lock);
    int rc = virtio_device_load(vp->dev, virtio, err);
    if (rc == 0)
        rc = load_queues(vp, queues, err);
    if (rc == 0 && vp->dev->companion)
        rc = vp->dev->companion->load(vp->dev, json_object_get(state, "companion"), err);
    if (rc == 0)
        rc = pci_device_load(&vp->pci, pci, err);
    if (rc == 0) {
        vp->device_feature_select = (uint32_t)device_select;
        vp->driver_feature_select = (uint32_t)driver_select;
        vp->queue_select = (uint16_t)queue_select;
        vp->isr = isr & (ISR_QUEUE | ISR_CONFIG);
        atomic_store(&vp->config_vector, vector >= 0 && vector < vp->pci.msix.count
                                             ? (uint16_t)vector
                                             : VIRTIO_MSI_NO_VECTOR);
    }
    pthread_mutex_unlock(&vp->pci.lock);
    return rc;
}

static void metrics(struct device *device, json_t *out)
{
    virtio_device_metrics(of_device(device)->dev, out);
}

static void virtio_pci_free(struct virtio_pci *vp)
{
    pci_unplug(&vp->pci);
    virtio_device_stop(vp->dev);
    vp->dev->transport = NULL;
    vp->dev->ops->free(vp->dev);
    pci_device_destroy(&vp->pci);
    pthread_mutex_destroy(&vp->isr_lock);
    free(vp->queues);
    free(vp);
}

static void free_device(struct device *device)
{
    virtio_pci_free(of_device(device));
}

static const struct device_ops device_ops = {
    .quiesce = quiesce,
    .resume = resume,
    .reset = reset,
    .save = save,
    .load = load,
    .metrics = metrics,
    .free = free_device,
};

static uint32_t class_code(const struct virtio_device *dev)
{
    if (dev->companion)
        return dev->companion->class_code;
    for (unsigned i = 0; i < ARRAY_SIZE(class_codes); i++) {
        if (class_codes[i].device_id == dev->ops->device_id)
            return class_codes[i].class_code;
    }
    return CLASS_OTHER;
}

struct virtio_pci *virtio_pci_plug(struct machine *machine, struct pci_bus *bus,
                                   struct virtio_device *dev, const char *id, int slot,
                                   struct kv_error *err)
{
    struct virtio_pci *vp = calloc(1, sizeof(*vp));
    struct virtio_pci_queue *queues = calloc(dev->queue_count, sizeof(*queues));
    if (!vp || !queues) {
        dev->ops->free(dev);
        free(vp);
        free(queues);
        kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "virtio device: out of memory");
        return NULL;
    }
    const struct pci_identity identity = {
        .vendor = VENDOR_VIRTIO,
        .device = (uint16_t)(DEVICE_ID_BASE + dev->ops->device_id),
        .subsystem_vendor = VENDOR_VIRTIO,
        .subsystem = SUBSYSTEM_ID,
        .class_code = class_code(dev),
        .revision = REVISION_MODERN,
        .intx = true,
    };
    vp->dev = dev;
    vp->queues = queues;
    vp->ops = device_ops;
    vp->ops.type = dev->name;
    pthread_mutex_init(&vp->isr_lock, NULL);
    pci_device_init(&vp->pci, &identity, &pci_ops);
    vp->bar = dev->companion ? VIRTIO_PCI_BAR_BESIDE : VIRTIO_PCI_BAR;
    pci_bar_init(&vp->pci, vp->bar, VIRTIO_PCI_BAR_SIZE, true, true, &bar_ops, vp);
    if (dev->companion)
        dev->companion->join(dev, &vp->pci);
    vp->pci.removable = dev->ops->removable;
    vp->pci.boot_index = dev->boot_index;
    vp->pci.boot_units = dev->boot_units;
    vp->pci.boot_unit_count = dev->boot_unit_count;
    add_caps(vp);
    dev->machine = machine;
    dev->transport = &transport_ops;
    dev->transport_opaque = vp;

    int rc = pci_msix_init(&vp->pci, MIN(dev->queue_count + 1, (unsigned)VIRTIO_PCI_VECTORS_MAX),
                           vp->bar, VIRTIO_PCI_MSIX_TABLE, VIRTIO_PCI_MSIX_PBA);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_DEVICE, -rc, "%s: MSI-X", dev->name);
    else if (dev->rom)
        rc = pci_rom_read(&vp->pci.rom, dev->rom, err);
    if (rc == 0)
        rc = device_register(machine, &vp->pci.device, &vp->ops, id, err);
    if (rc == 0) {
        virtio_pci_reset_registers(vp);
        rc = pci_plug(bus, &vp->pci, slot, err);
    }
    if (rc < 0) {
        device_unregister(&vp->pci.device);
        virtio_pci_free(vp);
        return NULL;
    }
    return vp;
}

int virtio_pci_create(struct machine *machine, struct virtio_device *dev, const char *id,
                      uint64_t slot, struct kv_error *err)
{
    struct kv_error local = {0};
    if (virtio_pci_plug(machine, &machine->pci, dev, id, slot ? (int)slot : -1, &local))
        return 0;
    if (err)
        *err = local;
    return -local.code;
}
