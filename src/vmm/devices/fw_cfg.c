/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Firmware's configuration; see fw_cfg.h. */
#include "vmm/devices/fw_cfg.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

#define PORTS 12 /* selector, data, two of nothing, DMA address */
#define SELECTOR 0
#define DATA 1
#define DMA 4

#define FILE_FIRST 0x20
#define FILES_MAX 32
#define ITEMS (FILE_FIRST + FILES_MAX)
#define ITEM_NONE 0xffff
#define ITEM_WRITE 0x4000 /* asks for writing through the data port, which is long gone */

#define ID_TRADITIONAL BIT(0)
#define ID_DMA BIT(1)
#define DMA_SIGNATURE UINT64_C(0x51454d5520434647) /* "QEMU CFG" */

enum dma_control {
    DMA_ERROR = 1 << 0,
    DMA_READ = 1 << 1,
    DMA_SKIP = 1 << 2,
    DMA_SELECT = 1 << 3, /* the item is in the upper half */
    DMA_WRITE = 1 << 4,
};

/* In guest memory, big-endian. */
struct dma_access {
    uint32_t control, len;
    uint64_t address;
};

struct dir_entry {
    uint32_t size;
    uint16_t item, reserved;
    char name[FW_CFG_NAME_MAX + 1];
};

struct item {
    uint8_t *data;
    size_t len;
    void (*written)(void *opaque, const uint8_t *data); /* NULL: read-only */
    void *opaque;
};

struct fw_cfg {
    struct device device;
    pthread_mutex_t lock; /* everything below once the machine runs */
    struct item items[ITEMS];
    char names[FILES_MAX][FW_CFG_NAME_MAX + 1];
    unsigned files;
    uint16_t selected; /* ITEM_NONE: one that is not there, which reads as zeros */
    uint32_t offset;   /* in the selected item */
    uint32_t dma_high; /* upper half of the address to come */
};

static struct fw_cfg *to_fw_cfg(struct device *dev)
{
    return container_of(dev, struct fw_cfg, device);
}

static void select_item(struct fw_cfg *fw, uint16_t number)
{
    number &= (uint16_t)~ITEM_WRITE;
    fw->selected = number < ITEMS ? number : ITEM_NONE;
    fw->offset = 0;
}

static struct item *selected_item(struct fw_cfg *fw)
{
    return fw->selected == ITEM_NONE ? NULL : &fw->items[fw->selected];
}

/* The item's bytes from the current offset on, at most len of them; the rest of len is zeros. */
static const uint8_t *next_bytes(struct fw_cfg *fw, uint32_t len, uint32_t *there)
{
    const struct item *item = selected_item(fw);
    const uint8_t *bytes = NULL;
    *there = 0;
    if (item && fw->offset < item->len) {
        bytes = item->data + fw->offset;
        *there = (uint32_t)MIN((size_t)len, item->len - fw->offset);
    }
    fw->offset = len > UINT32_MAX - fw->offset ? UINT32_MAX : fw->offset + len;
    return bytes;
}

/* ---------------------------------------------------------------- DMA */

static int dma_read(struct fw_cfg *fw, uint64_t address, uint32_t len)
{
    static const uint8_t zeros[4096];
    struct guest_mem *mem = &fw->device.machine->mem;
    uint32_t there;
    const uint8_t *bytes = next_bytes(fw, len, &there);
    /* All of it at once or nothing, so that a wrong length is an error before it is a long loop. */
    if (!guest_mem_range(mem, address, len))
        return -EFAULT;
    int rc = there ? guest_mem_write(mem, address, bytes, there) : 0;
    for (uint32_t done = there, n; rc == 0 && done < len; done += n) {
        n = MIN(len - done, (uint32_t)sizeof(zeros));
        rc = guest_mem_write(mem, address + done, zeros, n);
    }
    return rc;
}

static int dma_write(struct fw_cfg *fw, uint64_t address, uint32_t len)
{
    struct item *item = selected_item(fw);
    if (!item || !item->written || fw->offset > item->len || len > item->len - fw->offset)
        return -EINVAL;
    int rc = guest_mem_read(&fw->device.machine->mem, address, item->data + fw->offset, len);
    if (rc < 0)
        return rc;
    fw->offset += len;
    item->written(item->opaque, item->data);
    return 0;
}

static int dma_transfer(struct fw_cfg *fw, const struct dma_access *access)
{
    uint32_t control = be32toh(access->control), len = be32toh(access->len), there;
    uint64_t address = be64toh(access->address);
    if (control & DMA_SELECT)
        select_item(fw, (uint16_t)(control >> 16));
    if (control & DMA_READ)
        return dma_read(fw, address, len);
    if (control & DMA_WRITE)
        return dma_write(fw, address, len);
    if (control & DMA_SKIP)
        next_bytes(fw, len, &there);
    return 0;
}

/* Done when the write to the port returns; the guest sees that the control field is zero. */
static void dma_start(struct fw_cfg *fw, uint64_t at)
{
    struct guest_mem *mem = &fw->device.machine->mem;
    struct dma_access access;
    uint32_t result = 0;
    if (guest_mem_read(mem, at, &access, sizeof(access)) < 0)
        return;
    if (dma_transfer(fw, &access) < 0)
        result = htobe32(DMA_ERROR);
    guest_mem_write(mem, at, &result, sizeof(result));
}

/* ---------------------------------------------------------------- ports */

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned len)
{
    struct fw_cfg *fw = opaque;
    uint64_t value = 0;
    if (offset == DATA && len == 1) {
        uint32_t there;
        pthread_mutex_lock(&fw->lock);
        const uint8_t *byte = next_bytes(fw, 1, &there);
        value = there ? *byte : 0;
        pthread_mutex_unlock(&fw->lock);
    } else if (offset >= DMA) {
        uint64_t signature = htobe64(DMA_SIGNATURE);
        memcpy(&value, (const uint8_t *)&signature + (offset - DMA),
               MIN(len, (unsigned)(PORTS - offset)));
    }
    return value;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct fw_cfg *fw = opaque;
    pthread_mutex_lock(&fw->lock);
    if (offset == SELECTOR && len == 2) {
        select_item(fw, (uint16_t)value);
    } else if (offset == DMA && len == 4) {
        fw->dma_high = be32toh((uint32_t)value);
    } else if (offset == DMA + 4 && len == 4) {
        uint64_t at = (uint64_t)fw->dma_high << 32 | be32toh((uint32_t)value);
        fw->dma_high = 0;
        dma_start(fw, at);
    }
    pthread_mutex_unlock(&fw->lock);
}

static const struct bus_ops ports = {.read = ports_read, .write = ports_write};

/* ---------------------------------------------------------------- contents */

static int put(struct item *item, const void *data, size_t len)
{
    uint8_t *copy = malloc(MAX(len, (size_t)1));
    if (!copy)
        return -ENOMEM;
    if (data)
        memcpy(copy, data, len);
    else
        memset(copy, 0, len);
    free(item->data);
    *item = (struct item){.data = copy, .len = len};
    return 0;
}

int fw_cfg_set(struct fw_cfg *fw, unsigned item, const void *data, size_t len)
{
    return item < FILE_FIRST ? put(&fw->items[item], data, len) : -EINVAL;
}

static int write_directory(struct fw_cfg *fw)
{
    struct {
        uint32_t count;
        struct dir_entry entries[FILES_MAX];
    } dir = {.count = htobe32(fw->files)};
    for (unsigned i = 0; i < fw->files; i++) {
        dir.entries[i].size = htobe32((uint32_t)fw->items[FILE_FIRST + i].len);
        dir.entries[i].item = htobe16((uint16_t)(FILE_FIRST + i));
        memcpy(dir.entries[i].name, fw->names[i], sizeof(fw->names[i]));
    }
    return put(&fw->items[FW_CFG_FILE_DIR], &dir,
               sizeof(dir.count) + fw->files * sizeof(dir.entries[0]));
}

int fw_cfg_set_file(struct fw_cfg *fw, const char *name, const void *data, size_t len)
{
    unsigned i = 0;
    while (i < fw->files && strcmp(fw->names[i], name) != 0)
        i++;
    if (i == FILES_MAX || strlen(name) > FW_CFG_NAME_MAX || len > UINT32_MAX)
        return -ENOSPC;
    int rc = put(&fw->items[FILE_FIRST + i], data, len);
    if (rc < 0)
        return rc;
    strcpy(fw->names[i], name);
    fw->files = MAX(fw->files, i + 1);
    return write_directory(fw);
}

int fw_cfg_set_writable(struct fw_cfg *fw, const char *name, size_t len,
                        void (*written)(void *opaque, const uint8_t *data), void *opaque)
{
    int rc = fw_cfg_set_file(fw, name, NULL, len);
    for (unsigned i = 0; rc == 0 && i < fw->files; i++) {
        if (strcmp(fw->names[i], name) != 0)
            continue;
        fw->items[FILE_FIRST + i].written = written;
        fw->items[FILE_FIRST + i].opaque = opaque;
    }
    return rc;
}

/* ---------------------------------------------------------------- device */

static void fw_cfg_reset(struct device *dev)
{
    struct fw_cfg *fw = to_fw_cfg(dev);
    pthread_mutex_lock(&fw->lock);
    select_item(fw, FW_CFG_SIGNATURE);
    fw->dma_high = 0;
    pthread_mutex_unlock(&fw->lock);
}

static json_t *fw_cfg_save(struct device *dev)
{
    const struct fw_cfg *fw = to_fw_cfg(dev);
    return json_pack("{s:i, s:I, s:I}", "selected", fw->selected, "offset", (json_int_t)fw->offset,
                     "dma_high", (json_int_t)fw->dma_high);
}

static int fw_cfg_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct fw_cfg *fw = to_fw_cfg(dev);
    json_int_t selected, offset, dma_high;
    if (json_unpack((json_t *)state, "{s:I, s:I, s:I}", "selected", &selected, "offset", &offset,
                    "dma_high", &dma_high) < 0 ||
        selected < 0 || selected > ITEM_NONE || (selected >= ITEMS && selected != ITEM_NONE))
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': its state has no selected item below %u", dev->id, ITEMS);
    fw->selected = (uint16_t)selected;
    fw->offset = (uint32_t)offset;
    fw->dma_high = (uint32_t)dma_high;
    return 0;
}

static void fw_cfg_free(struct device *dev)
{
    struct fw_cfg *fw = to_fw_cfg(dev);
    bus_unmap(&dev->machine->pio, PORT_FW_CFG);
    for (unsigned i = 0; i < ITEMS; i++)
        free(fw->items[i].data);
    pthread_mutex_destroy(&fw->lock);
    free(fw);
}

static const struct device_ops fw_cfg_ops = {
    .type = "fw-cfg",
    .reset = fw_cfg_reset,
    .save = fw_cfg_save,
    .load = fw_cfg_load,
    .free = fw_cfg_free,
};

int fw_cfg_create(struct machine *machine, struct fw_cfg **out, struct kv_error *err)
{
    const uint8_t id[4] = {ID_TRADITIONAL | ID_DMA};
    struct fw_cfg *fw = calloc(1, sizeof(*fw));
    if (!fw)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "firmware configuration: out of memory");
    pthread_mutex_init(&fw->lock, NULL);
    int rc = device_register(machine, &fw->device, &fw_cfg_ops, NULL, err);
    if (rc < 0) {
        pthread_mutex_destroy(&fw->lock);
        free(fw);
        return rc;
    }
    if (fw_cfg_set(fw, FW_CFG_SIGNATURE, "QEMU", 4) < 0 || fw_cfg_set(fw, FW_CFG_ID, id, 4) < 0 ||
        write_directory(fw) < 0)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "firmware configuration: out of memory");
    *out = fw;
    return bus_map(
        &machine->pio,
        &(struct bus_region){
            .base = PORT_FW_CFG, .size = PORTS, .ops = &ports, .opaque = fw, .name = fw->device.id},
        err);
}
