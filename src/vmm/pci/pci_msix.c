/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * MSI-X (PCI Local Bus 3.0 6.8.2). Each vector has an eventfd. While the vector
 * is unmasked the platform delivers what is written there (KVM: irqfd), so that
 * raising it is one write(); while it is masked the eventfd's count is the
 * pending bit. Notifications come from any thread, table accesses from vCPUs.
 *
 * A vector the platform has no route for is delivered by msi_send when
 * pci_msix_notify() raises it.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/pci/pci_internal.h"

#define CONTROL_MASKED PCI_MSIX_ENTRY_CTRL_MASKBIT

int pci_msix_init(struct pci_device *dev, unsigned count, unsigned bar, uint32_t table_offset,
                  uint32_t pba_offset)
{
    if (count == 0 || count > PCI_MSIX_VECTORS_MAX || bar >= PCI_BARS)
        return -EINVAL;
    struct pci_msix_vector *vectors = calloc(count, sizeof(*vectors));
    if (!vectors)
        return -ENOMEM;
    for (unsigned i = 0; i < count; i++) {
        vectors[i].gsi = -1;
        vectors[i].control = CONTROL_MASKED;
        vectors[i].eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (vectors[i].eventfd < 0) {
            int rc = -errno;
            while (i-- > 0)
                close(vectors[i].eventfd);
            free(vectors);
            return rc;
        }
    }
    unsigned cap = pci_add_capability(dev, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);
    store_le(dev->config + cap + PCI_MSIX_FLAGS, count - 1, 2);
    store_le(dev->write_mask + cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL,
             2);
    store_le(dev->config + cap + PCI_MSIX_TABLE, table_offset | bar, 4);
    store_le(dev->config + cap + PCI_MSIX_PBA, pba_offset | bar, 4);
    dev->msix = (struct pci_msix){.count = count, .cap = cap, .vectors = vectors};
    return 0;
}

void pci_msix_destroy(struct pci_device *dev)
{
    for (unsigned i = 0; i < dev->msix.count; i++)
        close(dev->msix.vectors[i].eventfd);
    free(dev->msix.vectors);
    dev->msix = (struct pci_msix){0};
}

/* True when a message may leave now. Under irq_lock, as all that follows. */
static bool vector_open(const struct pci_device *dev, const struct pci_msix_vector *v)
{
    return dev->bus && dev->msix.enabled && !dev->msix.function_masked &&
           !(v->control & CONTROL_MASKED);
}

/* Moves what the eventfd counted while nobody listened into the pending bit. */
static void collect_pending(struct pci_msix_vector *v)
{
    uint64_t count;
    if (read(v->eventfd, &count, sizeof(count)) == sizeof(count))
        v->pending = true;
}

static void send_pending(struct pci_device *dev, struct pci_msix_vector *v)
{
    if (!v->pending)
        return;
    v->pending = false;
    dev->bus->platform->msi_send(dev->bus->platform_opaque, v->address, v->data);
}

static void connect_vector(struct pci_device *dev, struct pci_msix_vector *v)
{
    /* Emptied first: the platform would deliver the old count but might leave it there, to be taken
     * for a new event at the next masking. */
    collect_pending(v);
    int rc = dev->bus->platform->msi_connect(dev->bus->platform_opaque, &v->gsi, v->eventfd,
                                             v->address, v->data);
    if (rc < 0)
        log_guest("%s: no interrupt route for MSI-X vector %u: %s", dev->device.id,
                  (unsigned)(v - dev->msix.vectors), strerror(-rc));
    atomic_store(&v->connected, rc == 0);
    send_pending(dev, v);
}

static void disconnect_vector(struct pci_device *dev, struct pci_msix_vector *v)
{
    if (!atomic_load(&v->connected))
        return;
    atomic_store(&v->connected, false);
    dev->bus->platform->msi_disconnect(dev->bus->platform_opaque, v->gsi, v->eventfd);
}

/* After mask, message or switches changed. */
static void update_vector(struct pci_device *dev, struct pci_msix_vector *v, bool message_changed)
{
    if (!vector_open(dev, v))
        disconnect_vector(dev, v);
    else if (message_changed || !atomic_load(&v->connected))
        connect_vector(dev, v);
}

static void report_change(struct pci_device *dev, unsigned vector)
{
    if (dev->ops->msix_changed)
        dev->ops->msix_changed(dev, vector);
}

void pci_msix_control_changed(struct pci_device *dev)
{
    uint16_t flags = (uint16_t)load_le(dev->config + dev->msix.cap + PCI_MSIX_FLAGS, 2);
    bool enabled = flags & PCI_MSIX_FLAGS_ENABLE, masked = flags & PCI_MSIX_FLAGS_MASKALL;
    pthread_mutex_lock(&dev->irq_lock);
    bool changed = dev->msix.enabled != enabled || dev->msix.function_masked != masked;
    dev->msix.enabled = enabled;
    dev->msix.function_masked = masked;
    for (unsigned i = 0; changed && i < dev->msix.count; i++)
        update_vector(dev, &dev->msix.vectors[i], false);
    pci_intx_update(dev);
    pthread_mutex_unlock(&dev->irq_lock);
    if (changed)
        report_change(dev, PCI_MSIX_ALL);
}

void pci_msix_detach(struct pci_device *dev)
{
    for (unsigned i = 0; i < dev->msix.count; i++) {
        struct pci_msix_vector *v = &dev->msix.vectors[i];
        disconnect_vector(dev, v);
        if (v->gsi >= 0 && dev->bus->platform->msi_release)
            dev->bus->platform->msi_release(dev->bus->platform_opaque, v->gsi);
        v->gsi = -1;
    }
}

void pci_msix_reset(struct pci_device *dev)
{
    store_le(dev->config + dev->msix.cap + PCI_MSIX_FLAGS, dev->msix.count - 1, 2);
    pci_msix_control_changed(dev);
    pthread_mutex_lock(&dev->irq_lock);
    for (unsigned i = 0; i < dev->msix.count; i++) {
        struct pci_msix_vector *v = &dev->msix.vectors[i];
        collect_pending(v);
        v->pending = false;
        v->address = 0;
        v->data = 0;
        v->control = CONTROL_MASKED;
    }
    pthread_mutex_unlock(&dev->irq_lock);
}

/* One dword of an entry, by its index in the table. */
static uint32_t entry_read(const struct pci_msix_vector *v, unsigned dword)
{
    switch (dword) {
    case 0:
        return (uint32_t)v->address;
    case 1:
        return (uint32_t)(v->address >> 32);
    case 2:
        return v->data;
    default:
        return v->control;
    }
}

static void entry_write(struct pci_msix_vector *v, unsigned dword, uint32_t value)
{
    switch (dword) {
    case 0:
        v->address = (v->address & ~UINT64_C(0xffffffff)) | (value & ~3u);
        break;
    case 1:
        v->address = (v->address & 0xffffffff) | (uint64_t)value << 32;
        break;
    case 2:
        v->data = value;
        break;
    default:
        v->control = value & CONTROL_MASKED;
        break;
    }
}

/* Only aligned dwords and qwords are defined for the table (6.8.2); others read as ones. */
static bool table_access_valid(const struct pci_device *dev, uint64_t offset, unsigned len)
{
    return (len == 4 || len == 8) && offset % len == 0 &&
           range_within(offset, len, 0, (uint64_t)dev->msix.count * PCI_MSIX_ENTRY_SIZE);
}

uint64_t pci_msix_table_read(struct pci_device *dev, uint64_t offset, unsigned len)
{
    if (!table_access_valid(dev, offset, len))
        return UINT64_MAX;
    const struct pci_msix_vector *v = &dev->msix.vectors[offset / PCI_MSIX_ENTRY_SIZE];
    unsigned dword = offset % PCI_MSIX_ENTRY_SIZE / 4;
    pthread_mutex_lock(&dev->irq_lock);
    uint64_t value = entry_read(v, dword);
    if (len == 8)
        value |= (uint64_t)entry_read(v, dword + 1) << 32;
    pthread_mutex_unlock(&dev->irq_lock);
    return value;
}

void pci_msix_table_write(struct pci_device *dev, uint64_t offset, uint64_t value, unsigned len)
{
    if (!table_access_valid(dev, offset, len))
        return;
    unsigned vector = (unsigned)(offset / PCI_MSIX_ENTRY_SIZE);
    struct pci_msix_vector *v = &dev->msix.vectors[vector];
    unsigned dword = offset % PCI_MSIX_ENTRY_SIZE / 4;

    pthread_mutex_lock(&dev->lock);
    pthread_mutex_lock(&dev->irq_lock);
    struct pci_msix_vector before = {.address = v->address, .data = v->data, .control = v->control};
    entry_write(v, dword, (uint32_t)value);
    if (len == 8)
        entry_write(v, dword + 1, (uint32_t)(value >> 32));
    bool message_changed = before.address != v->address || before.data != v->data;
    bool changed = message_changed || before.control != v->control;
    if (changed)
        update_vector(dev, v, message_changed);
    pthread_mutex_unlock(&dev->irq_lock);
    if (changed)
        report_change(dev, vector);
    pthread_mutex_unlock(&dev->lock);
}

static bool vector_pending(struct pci_msix_vector *v)
{
    if (!atomic_load(&v->connected))
        collect_pending(v);
    return v->pending;
}

uint64_t pci_msix_pba_read(struct pci_device *dev, uint64_t offset, unsigned len)
{
    uint64_t bits = 0, first = offset * 8;
    if (len > 8 || offset >= PCI_MSIX_VECTORS_MAX / 8)
        return 0;
    pthread_mutex_lock(&dev->irq_lock);
    for (uint64_t i = 0; i < len * 8 && first + i < dev->msix.count; i++)
        if (vector_pending(&dev->msix.vectors[first + i]))
            bits |= BIT(i);
    pthread_mutex_unlock(&dev->irq_lock);
    return bits;
}

static void signal_eventfd(const struct pci_msix_vector *v)
{
    uint64_t one = 1;
    /* EAGAIN: the count is at its maximum, so the event is pending anyway. */
    ssize_t written = write(v->eventfd, &one, sizeof(one));
    (void)written;
}

void pci_msix_notify(struct pci_device *dev, unsigned vector)
{
    if (vector >= dev->msix.count)
        return;
    struct pci_msix_vector *v = &dev->msix.vectors[vector];
    /* When it is masked right now the count stays and is found at the unmasking. */
    if (atomic_load(&v->connected)) {
        signal_eventfd(v);
        return;
    }
    pthread_mutex_lock(&dev->irq_lock);
    if (atomic_load(&v->connected)) {
        signal_eventfd(v);
    } else {
        v->pending = true;
        if (vector_open(dev, v))
            send_pending(dev, v);
    }
    pthread_mutex_unlock(&dev->irq_lock);
}

int pci_msix_eventfd(struct pci_device *dev, unsigned vector)
{
    return vector < dev->msix.count ? dev->msix.vectors[vector].eventfd : -1;
}

json_t *pci_msix_save(struct pci_device *dev)
{
    json_t *entries = json_array();
    pthread_mutex_lock(&dev->irq_lock);
    for (unsigned i = 0; i < dev->msix.count; i++) {
        struct pci_msix_vector *v = &dev->msix.vectors[i];
        json_array_append_new(entries,
                              json_pack("[I, I, I, b]", (json_int_t)v->address, (json_int_t)v->data,
                                        (json_int_t)v->control, (int)vector_pending(v)));
    }
    pthread_mutex_unlock(&dev->irq_lock);
    return entries;
}

/* Message control follows with the rest of config space and connects the vectors. */
int pci_msix_load(struct pci_device *dev, const json_t *state, struct kv_error *err)
{
    if (json_array_size(state) != dev->msix.count)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': the state has %zu MSI-X vectors, the device has %u",
                            dev->device.id, json_array_size(state), dev->msix.count);
    for (unsigned i = 0; i < dev->msix.count; i++) {
        json_int_t address, data, control;
        int pending;
        if (json_unpack(json_array_get(state, i), "[I, I, I, b]", &address, &data, &control,
                        &pending) < 0)
            return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                                "device '%s': MSI-X vector %u of the state is no list of address, "
                                "data, control and pending bit",
                                dev->device.id, i);
        struct pci_msix_vector *v = &dev->msix.vectors[i];
        pthread_mutex_lock(&dev->irq_lock);
        disconnect_vector(dev, v);
        v->address = (uint64_t)address & ~UINT64_C(3);
        v->data = (uint32_t)data;
        v->control = (uint32_t)control & CONTROL_MASKED;
        v->pending = pending;
        update_vector(dev, v, true);
        pthread_mutex_unlock(&dev->irq_lock);
    }
    return 0;
}
