/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio over PCI: the common configuration structure (virtio 1.2, 4.1.4.3) as
 * a table of registers, and the order in which a driver may bring a device up
 * (2.1, 3.1). What comes out of order is ignored. Called by virtio_pci.c on
 * vCPU threads, under the function's lock.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "base/util.h"
#include "vmm/virtio/virtio_pci.h"

struct reg {
    uint8_t offset, len;
    uint64_t (*read)(struct virtio_pci *vp, const struct reg *reg);
    void (*write)(struct virtio_pci *vp, const struct reg *reg, uint64_t value);
    unsigned field; /* queue addresses: offset in struct virtqueue */
    unsigned shift; /* and which half */
};

static unsigned status_of(const struct virtio_pci *vp)
{
    return atomic_load(&vp->dev->status);
}

static struct virtio_queue *selected(const struct virtio_pci *vp)
{
    return vp->queue_select < vp->dev->queue_count ? &vp->dev->queues[vp->queue_select] : NULL;
}

/* The selected queue while its set-up may change: before it is enabled and before DRIVER_OK. */
static struct virtqueue *configurable(const struct virtio_pci *vp)
{
    struct virtio_queue *queue = selected(vp);
    if (!queue || vp->queues[queue->index].ready || status_of(vp) & VIRTIO_CONFIG_S_DRIVER_OK)
        return NULL;
    return &queue->ring;
}

static uint64_t read_device_feature_select(struct virtio_pci *vp, const struct reg *reg)
{
    return vp->device_feature_select;
}

static void write_device_feature_select(struct virtio_pci *vp, const struct reg *reg,
                                        uint64_t value)
{
    vp->device_feature_select = (uint32_t)value;
}

static uint64_t feature_word(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> 32 * select) : 0;
}

static uint64_t read_device_feature(struct virtio_pci *vp, const struct reg *reg)
{
    return feature_word(vp->dev->features, vp->device_feature_select);
}

static uint64_t read_driver_feature_select(struct virtio_pci *vp, const struct reg *reg)
{
    return vp->driver_feature_select;
}

static void write_driver_feature_select(struct virtio_pci *vp, const struct reg *reg,
                                        uint64_t value)
{
    vp->driver_feature_select = (uint32_t)value;
}

static uint64_t read_driver_feature(struct virtio_pci *vp, const struct reg *reg)
{
    return feature_word(vp->dev->driver_features, vp->driver_feature_select);
}

static void write_driver_feature(struct virtio_pci *vp, const struct reg *reg, uint64_t value)
{
    if (vp->driver_feature_select >= 2 || status_of(vp) & VIRTIO_CONFIG_S_FEATURES_OK)
        return;
    unsigned shift = 32 * vp->driver_feature_select;
    uint64_t kept = vp->dev->driver_features & ~(UINT64_C(0xffffffff) << shift);
    vp->dev->driver_features = kept | value << shift;
}

static uint16_t checked_vector(const struct virtio_pci *vp, uint64_t value)
{
    return value < vp->pci.msix.count ? (uint16_t)value : VIRTIO_MSI_NO_VECTOR;
}

static uint64_t read_config_vector(struct virtio_pci *vp, const struct reg *reg)
{
    return atomic_load(&vp->config_vector);
}

static void write_config_vector(struct virtio_pci *vp, const struct reg *reg, uint64_t value)
{
    atomic_store(&vp->config_vector, checked_vector(vp, value));
}

static uint64_t read_num_queues(struct virtio_pci *vp, const struct reg *reg)
{
    return vp->dev->queue_count;
}

static uint64_t read_status(struct virtio_pci *vp, const struct reg *reg)
{
    return status_of(vp);
}

void virtio_pci_start_if_ready(struct virtio_pci *vp)
{
    bool ready[VIRTIO_QUEUES_MAX];
    if (!(status_of(vp) & VIRTIO_CONFIG_S_DRIVER_OK) || atomic_load(&vp->dev->needs_reset))
        return;
    for (unsigned i = 0; i < vp->dev->queue_count; i++)
        ready[i] = vp->queues[i].ready;
    virtio_device_start(vp->dev, ready);
}

/* A bit of the status register that a driver may set, in the order it has to (3.1.1). */
struct step {
    unsigned bit;
    unsigned after; /* bits that must be there already */
    bool (*allowed)(struct virtio_device *dev);
};

static const struct step steps[] = {
    {VIRTIO_CONFIG_S_ACKNOWLEDGE, 0, NULL},
    {VIRTIO_CONFIG_S_DRIVER, VIRTIO_CONFIG_S_ACKNOWLEDGE, NULL},
    {VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER,
     virtio_features_ok},
    {VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, NULL},
    {VIRTIO_CONFIG_S_FAILED, 0, NULL},
};

static void write_status(struct virtio_pci *vp, const struct reg *reg, uint64_t value)
{
    if (value == 0) {
        virtio_pci_reset_registers(vp);
        return;
    }
    /* Bits are only ever added (2.1.1); only a reset takes them away. */
    unsigned before = status_of(vp);
    for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
        const struct step *step = &steps[i];
        unsigned now = status_of(vp);
        if (!(value & step->bit) || now & step->bit || (now & step->after) != step->after)
            continue;
        if (step->allowed && !step->allowed(vp->dev))
            continue;
        atomic_fetch_or(&vp->dev->status, step->bit);
    }
    if ((before ^ status_of(vp)) & VIRTIO_CONFIG_S_DRIVER_OK)
        virtio_pci_start_if_ready(vp);
}

static uint64_t read_config_generation(struct virtio_pci *vp, const struct reg *reg)
{
    return atomic_load(&vp->dev->config_generation) & 0xff;
}

static uint64_t read_queue_select(struct virtio_pci *vp, const struct reg *reg)
{
    return vp->queue_select;
}

static void write_queue_select(struct virtio_pci *vp, const struct reg *reg, uint64_t value)
{
    vp->queue_select = (uint16_t)value;
}

static uint64_t read_queue_size(struct virtio_pci *vp, const struct reg *reg)
{
    struct virtio_queue *queue = selected(vp);
    return queue ? queue->ring.size : 0;
}

static void write_queue_size(struct virtio_pci *vp, const struct reg *reg, uint64_t value)
{
    struct virtqueue *ring = configurable(vp);
    bool packed = virtio_has(vp->dev, VIRTIO_F_RING_PACKED);
    if (ring && value <= selected(vp)->size_max && !virtqueue_size_wrong((uint16_t)value, packed))
        ring->size = (uint16_t)value;
}

static uint64_t read_queue_vector(struct virtio_pci *vp, const struct reg *reg)
{
    return selected(vp) ? atomic_load(&vp->queues[vp->queue_select].vector) : VIRTIO_MSI_NO_VECTOR;
}

static void write_queue_vector(struct virtio_pci *vp, const struct reg *reg, uint64_t value)
{
    if (selected(vp))
        atomic_store(&vp->queues[vp->queue_select].vector, checked_vector(vp, value));
}

static uint64_t read_queue_enable(struct virtio_pci *vp, const struct reg *reg)
{
    return selected(vp) && vp->queues[vp->queue_select].ready;
}

static void write_queue_enable(struct virtio_pci *vp, const struct reg *reg, uint64_t value)
{
    struct virtqueue *ring = configurable(vp);
    /* A queue is disabled by a reset only (4.1.4.3.2); the size may predate the ring's format. */
    bool packed = virtio_has(vp->dev, VIRTIO_F_RING_PACKED);
    if (ring && value == 1 && !virtqueue_size_wrong(ring->size, packed))
        vp->queues[vp->queue_select].ready = true;
}

static uint64_t read_queue_notify_off(struct virtio_pci *vp, const struct reg *reg)
{
    return selected(vp) ? vp->queue_select : 0;
}

static uint64_t read_queue_address(struct virtio_pci *vp, const struct reg *reg)
{
    struct virtio_queue *queue = selected(vp);
    return queue ? load_le((char *)&queue->ring + reg->field, 8) >> reg->shift : 0;
}

static void write_queue_address(struct virtio_pci *vp, const struct reg *reg, uint64_t value)
{
    struct virtqueue *ring = configurable(vp);
    if (ring)
        store_le((char *)ring + reg->field + reg->shift / 8, value, reg->len);
}

#define ADDRESS(offset, name)                                                                      \
    {offset, 4, read_queue_address, write_queue_address, offsetof(struct virtqueue, name), 0},     \
        {offset + 4, 4, read_queue_address, write_queue_address, offsetof(struct virtqueue, name), \
         32},                                                                                      \
    {                                                                                              \
        offset, 8, read_queue_address, write_queue_address, offsetof(struct virtqueue, name), 0    \
    }

static const struct reg regs[] = {
    {VIRTIO_PCI_COMMON_DFSELECT, 4, read_device_feature_select, write_device_feature_select},
    {VIRTIO_PCI_COMMON_DF, 4, read_device_feature},
    {VIRTIO_PCI_COMMON_GFSELECT, 4, read_driver_feature_select, write_driver_feature_select},
    {VIRTIO_PCI_COMMON_GF, 4, read_driver_feature, write_driver_feature},
    {VIRTIO_PCI_COMMON_MSIX, 2, read_config_vector, write_config_vector},
    {VIRTIO_PCI_COMMON_NUMQ, 2, read_num_queues},
    {VIRTIO_PCI_COMMON_STATUS, 1, read_status, write_status},
    {VIRTIO_PCI_COMMON_CFGGENERATION, 1, read_config_generation},
    {VIRTIO_PCI_COMMON_Q_SELECT, 2, read_queue_select, write_queue_select},
    {VIRTIO_PCI_COMMON_Q_SIZE, 2, read_queue_size, write_queue_size},
    {VIRTIO_PCI_COMMON_Q_MSIX, 2, read_queue_vector, write_queue_vector},
    {VIRTIO_PCI_COMMON_Q_ENABLE, 2, read_queue_enable, write_queue_enable},
    {VIRTIO_PCI_COMMON_Q_NOFF, 2, read_queue_notify_off},
    ADDRESS(VIRTIO_PCI_COMMON_Q_DESCLO, desc_gpa),
    ADDRESS(VIRTIO_PCI_COMMON_Q_AVAILLO, driver_gpa),
    ADDRESS(VIRTIO_PCI_COMMON_Q_USEDLO, device_gpa),
};

static const struct reg *find_reg(uint64_t offset, unsigned len)
{
    for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
        if (regs[i].offset == offset && regs[i].len == len)
            return &regs[i];
    }
    return NULL;
}

/* Drivers have to read a field as a whole (4.1.3.1). iPXE before February 2019, which is Debian's,
 * reads 2 bytes of those of 4, and gets these. */
uint64_t virtio_pci_common_read(struct virtio_pci *vp, uint64_t offset, unsigned len)
{
    const struct reg *reg = find_reg(offset, len);
    if (!reg && len == 2)
        reg = find_reg(offset, 4);
    if (!reg)
        return 0;
    uint64_t value = reg->read(vp, reg);
    return len == 8 ? value : value & (BIT(8 * len) - 1);
}

void virtio_pci_common_write(struct virtio_pci *vp, uint64_t offset, uint64_t value, unsigned len)
{
    const struct reg *reg = find_reg(offset, len);
    if (reg && reg->write)
        reg->write(vp, reg, len == 8 ? value : value & (BIT(8 * len) - 1));
}
