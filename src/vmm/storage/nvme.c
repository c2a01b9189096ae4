/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NVMe: the PCI function, the controller's registers (NVM Express 1.4, 3.1), its
 * disks, and its life as a device.
 */
#include "vmm/storage/nvme.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "block/driver.h"
#include "vmm/machine/machine.h"
#include "vmm/storage/classes.h"
#include "vmm/storage/nvme_internal.h"
#include "vmm/virtio/virtio.h"

#define BAR 0
#define BAR_SIZE 0x4000
#define DOORBELLS_AT 0x1000
#define MSIX_TABLE_AT 0x2000
#define MSIX_PBA_AT 0x3000

enum {
    REG_CAP = 0x00,
    REG_CAP_HIGH = 0x04,
    REG_VS = 0x08,
    REG_INTMS = 0x0c,
    REG_INTMC = 0x10,
    REG_CC = 0x14,
    REG_CSTS = 0x1c,
    REG_AQA = 0x24,
    REG_ASQ = 0x28,
    REG_ASQ_HIGH = 0x2c,
    REG_ACQ = 0x30,
    REG_ACQ_HIGH = 0x34,
};
/* Queues lie in one piece, 10 s to come up; NVM commands, pages of 4 KiB. */
#define CAP_LOW (20u << 24 | 1u << 16 | (NVME_QUEUE_SIZE_MAX - 1))
#define CAP_HIGH (1u << 5)
#define VERSION 0x00010400

static struct nvme *of_device(struct device *device)
{
    return container_of(container_of(device, struct pci_device, device), struct nvme, pci);
}

/* --------------------------------------------------------------- registers */

static uint32_t read_register(const struct nvme *nvme, unsigned offset)
{
    switch (offset) {
    case REG_CAP:
        return CAP_LOW;
    case REG_CAP_HIGH:
        return CAP_HIGH;
    case REG_VS:
        return VERSION;
    case REG_INTMS:
    case REG_INTMC:
        return nvme->intms;
    case REG_CC:
        return nvme->cc;
    case REG_CSTS:
        return nvme->csts;
    case REG_AQA:
        return nvme->aqa;
    case REG_ASQ:
        return (uint32_t)nvme->asq;
    case REG_ASQ_HIGH:
        return (uint32_t)(nvme->asq >> 32);
    case REG_ACQ:
        return (uint32_t)nvme->acq;
    case REG_ACQ_HIGH:
        return (uint32_t)(nvme->acq >> 32);
    default:
        return 0;
    }
}

static void set_half(uint64_t *at, bool high, uint32_t value)
{
    *at = high ? (*at & UINT32_MAX) | (uint64_t)value << 32 : (*at & ~(uint64_t)UINT32_MAX) | value;
}

static void write_register(struct nvme *nvme, unsigned offset, uint32_t value)
{
    switch (offset) {
    case REG_INTMS:
        nvme->intms |= value;
        break;
    case REG_INTMC:
        nvme->intms &= ~value;
        break;
    case REG_CC:
        nvme->cc = value & 0xfffff1u;
        break;
    case REG_AQA:
        nvme->aqa = value & 0x0fff0fff;
        break;
    case REG_ASQ:
    case REG_ASQ_HIGH:
        set_half(&nvme->asq, offset == REG_ASQ_HIGH, value);
        break;
    case REG_ACQ:
    case REG_ACQ_HIGH:
        set_half(&nvme->acq, offset == REG_ACQ_HIGH, value);
        break;
    default: /* read-only, or not there */
        break;
    }
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned len)
{
    struct nvme *nvme = opaque;
    unsigned word = (unsigned)offset & ~3u, shift = 8 * (offset & 3);
    if (offset >= MSIX_PBA_AT)
        return pci_msix_pba_read(&nvme->pci, offset - MSIX_PBA_AT, len);
    if (offset >= MSIX_TABLE_AT)
        return pci_msix_table_read(&nvme->pci, offset - MSIX_TABLE_AT, len);
    if (offset >= DOORBELLS_AT)
        return 0;
    pthread_mutex_lock(&nvme->lock);
    uint64_t value = read_register(nvme, word);
    if (shift + 8 * len > 32)
        value |= (uint64_t)read_register(nvme, word + 4) << 32;
    pthread_mutex_unlock(&nvme->lock);
    return value >> shift;
}

/* Doorbells and registers are written as dwords, or two of them at once; else nothing is. */
static void bar_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct nvme *nvme = opaque;
    if (offset >= MSIX_TABLE_AT) {
        if (offset < MSIX_PBA_AT)
            pci_msix_table_write(&nvme->pci, offset - MSIX_TABLE_AT, value, len);
        return;
    }
    if (offset & 3 || len < 4)
        return;
    if (offset >= DOORBELLS_AT) {
        unsigned index = (unsigned)(offset - DOORBELLS_AT) / 4;
        if (index < ARRAY_SIZE(nvme->doorbells))
            atomic_store(&nvme->doorbells[index], (uint32_t)value & 0xffff);
    } else {
        pthread_mutex_lock(&nvme->lock);
        write_register(nvme, (unsigned)offset, (uint32_t)value);
        if (len == 8)
            write_register(nvme, (unsigned)offset + 4, (uint32_t)(value >> 32));
        pthread_mutex_unlock(&nvme->lock);
    }
    loop_post(nvme->loop, &nvme->work);
}

static const struct bus_ops bar_ops = {.read = bar_read, .write = bar_write};

/* ------------------------------------------------------------------ life */

static void each_queue(struct nvme *nvme, void (*fn)(struct drive_queue *queue))
{
    for (unsigned i = 0; i < NVME_NAMESPACES; i++) {
        if (nvme->namespaces[i])
            fn(&nvme->namespaces[i]->queue);
    }
}

static void pause_now(void *opaque)
{
    struct nvme *nvme = opaque;
    nvme->paused = true;
    each_queue(nvme, drive_queue_stop);
}

static void resume_now(void *opaque)
{
    struct nvme *nvme = opaque;
    nvme->paused = false;
    each_queue(nvme, drive_queue_start);
    nvme_run(nvme);
}

/* What was held is forgotten with its requests. */
static void reset_now(void *opaque)
{
    struct nvme *nvme = opaque;
    bool paused = nvme->paused;
    pause_now(nvme);
    each_queue(nvme, drive_queue_forget);
    list_init(&nvme->free);
    for (unsigned i = 0; i < nvme->made; i++) {
        struct nvme_request *request = nvme->requests[i];
        free(request->ranges);
        request->ranges = NULL;
        list_init(&request->node);
        list_init(&request->io.node);
        list_add_tail(&nvme->free, &request->node);
    }
    nvme->running = 0;
    pthread_mutex_lock(&nvme->lock);
    nvme->cc = nvme->csts = nvme->intms = nvme->aqa = 0;
    nvme->asq = nvme->acq = 0;
    nvme_clear(nvme);
    pthread_mutex_unlock(&nvme->lock);
    nvme->paused = paused;
}

static void nvme_quiesce(struct device *device)
{
    loop_call(of_device(device)->loop, pause_now, of_device(device));
}

static void nvme_resume(struct device *device)
{
    loop_call(of_device(device)->loop, resume_now, of_device(device));
}

static void nvme_reset(struct device *device)
{
    struct nvme *nvme = of_device(device);
    loop_call(nvme->loop, reset_now, nvme);
    pci_intx_set(&nvme->pci, false);
    pci_device_reset(&nvme->pci);
}

/* What a queue is, as numbers. */
static json_t *save_queue(const struct nvme *nvme, unsigned q)
{
    const struct nvme_sq *sq = &nvme->sqs[q];
    const struct nvme_cq *cq = &nvme->cqs[q];
    return json_pack("[I,I,I,I,I,I,I,I,I,I,I,I]", (json_int_t)sq->size, (json_int_t)sq->base,
                     (json_int_t)sq->head, (json_int_t)sq->cq, (json_int_t)cq->size,
                     (json_int_t)cq->base, (json_int_t)cq->tail, (json_int_t)cq->vector,
                     (json_int_t)cq->interrupts, (json_int_t)cq->phase,
                     (json_int_t)atomic_load(&nvme->doorbells[2 * q]),
                     (json_int_t)atomic_load(&nvme->doorbells[2 * q + 1]));
}

static json_t *nvme_save(struct device *device)
{
    struct nvme *nvme = of_device(device);
    json_t *queues = json_array(), *features = json_array();
    for (unsigned q = 0; q < NVME_QUEUES; q++)
        json_array_append_new(queues, save_queue(nvme, q));
    for (unsigned i = 0; i < NVME_FEATURES; i++)
        json_array_append_new(features, json_integer(nvme->features[i]));
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o}", "pci",
                     pci_device_save(&nvme->pci), "cc", (json_int_t)nvme->cc, "csts",
                     (json_int_t)nvme->csts, "intms", (json_int_t)nvme->intms, "aqa",
                     (json_int_t)nvme->aqa, "asq", (json_int_t)nvme->asq, "acq",
                     (json_int_t)nvme->acq, "events", (json_int_t)nvme->events, "broken",
                     nvme->broken, "queues", queues, "features", features);
}

static uint64_t number(const json_t *state, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(state, name));
}

/* False: no guest can have made these. */
static bool load_queue(struct nvme *nvme, unsigned q, const json_t *state)
{
    uint64_t v[12];
    for (unsigned i = 0; i < ARRAY_SIZE(v); i++)
        v[i] = (uint64_t)json_integer_value(json_array_get(state, i));
    if (v[0] > 4096 || v[4] > 4096 || (v[0] && v[2] >= v[0]) || (v[4] && v[6] >= v[4]) ||
        v[3] >= NVME_QUEUES || v[7] >= NVME_QUEUES)
        return false;
    nvme->sqs[q] = (struct nvme_sq){
        .size = (uint32_t)v[0], .base = v[1], .head = (uint32_t)v[2], .cq = (uint16_t)v[3]};
    nvme->cqs[q] = (struct nvme_cq){.size = (uint32_t)v[4],
                                    .base = v[5],
                                    .tail = (uint32_t)v[6],
                                    .vector = (uint16_t)v[7],
                                    .interrupts = v[8],
                                    .phase = v[9]};
    atomic_store(&nvme->doorbells[2 * q], (uint32_t)v[10] & 0xffff);
    atomic_store(&nvme->doorbells[2 * q + 1], (uint32_t)v[11] & 0xffff);
    return true;
}

static int nvme_load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct nvme *nvme = of_device(device);
    const json_t *queues = json_object_get(state, "queues");
    bool good = true;
    nvme_clear(nvme);
    nvme->cc = (uint32_t)number(state, "cc") & 0xfffff1u;
    nvme->csts = (uint32_t)number(state, "csts") & 0xfu;
    nvme->intms = (uint32_t)number(state, "intms");
    nvme->aqa = (uint32_t)number(state, "aqa") & 0x0fff0fff;
    nvme->asq = number(state, "asq");
    nvme->acq = number(state, "acq");
    nvme->events = (unsigned)MIN(number(state, "events"), (uint64_t)NVME_EVENTS);
    nvme->broken = json_is_true(json_object_get(state, "broken"));
    for (unsigned q = 0; q < NVME_QUEUES; q++)
        good &= load_queue(nvme, q, json_array_get(queues, q));
    for (unsigned q = 0; q < NVME_QUEUES; q++) {
        good &= !nvme->sqs[q].size || nvme->cqs[nvme->sqs[q].cq].size;
        nvme->cqs[nvme->sqs[q].cq].users += nvme->sqs[q].size != 0;
    }
    for (unsigned i = 0; i < NVME_FEATURES; i++)
        nvme->features[i] =
            (uint32_t)json_integer_value(json_array_get(json_object_get(state, "features"), i));
    if (!good) {
        nvme_clear(nvme);
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "device '%s': the state has impossible "
                            "queues",
                            device->id);
    }
    return pci_device_load(&nvme->pci, json_object_get(state, "pci"), err);
}

static void nvme_metrics(struct device *device, json_t *out)
{
    const struct nvme *nvme = of_device(device);
    for (unsigned i = 0; i < NVME_NAMESPACES; i++) {
        if (nvme->namespaces[i])
            json_object_set_new(out, nvme->namespaces[i]->drive.id,
                                drive_describe_stats(&nvme->namespaces[i]->drive));
    }
}

static void leave_loop(void *opaque)
{
    struct nvme *nvme = opaque;
    reset_now(nvme);
    loop_unpost(nvme->loop, &nvme->work);
}

static void nvme_free(struct device *device)
{
    struct nvme *nvme = of_device(device);
    pci_unplug(&nvme->pci);
    loop_call(nvme->loop, leave_loop, nvme);
    for (unsigned i = 0; i < NVME_NAMESPACES; i++) {
        if (!nvme->namespaces[i])
            continue;
        drive_queue_destroy(&nvme->namespaces[i]->queue);
        drive_destroy(&nvme->namespaces[i]->drive);
        free(nvme->namespaces[i]);
    }
    for (unsigned i = 0; i < nvme->made; i++)
        free(nvme->requests[i]);
    pci_device_destroy(&nvme->pci);
    pthread_mutex_destroy(&nvme->lock);
    free(nvme);
}

static const struct device_ops nvme_ops = {
    .type = "nvme",
    .quiesce = nvme_quiesce,
    .resume = nvme_resume,
    .reset = nvme_reset,
    .save = nvme_save,
    .load = nvme_load,
    .metrics = nvme_metrics,
    .free = nvme_free,
};

static const struct pci_identity identity = {
    .vendor = 0x1b36,
    .device = 0x0010,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class_code = 0x010802, /* mass storage, non-volatile memory, NVM Express */
    .revision = 0x02,
    .intx = true,
};

int nvme_create(struct nvme **out, struct machine *machine, struct pci_bus *bus,
                struct guest_mem *mem, struct loop *loop, const char *id, uint64_t slot,
                const char *serial, struct kv_error *err)
{
    struct nvme *nvme = calloc(1, sizeof(*nvme));
    if (!nvme)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "NVMe controller: out of memory");
    nvme->mem = mem;
    nvme->loop = loop;
    nvme->work = (struct loop_work){.fn = nvme_run, .opaque = nvme};
    list_init(&nvme->free);
    snprintf(nvme->serial, sizeof(nvme->serial), "%s", serial ? serial : "");
    pthread_mutex_init(&nvme->lock, NULL);
    nvme_clear(nvme);
    pci_device_init(&nvme->pci, &identity, NULL);
    pci_bar_init(&nvme->pci, BAR, BAR_SIZE, true, false, &bar_ops, nvme);
    nvme->pci.boot_units = nvme->boot_units;
    nvme->pci.boot_unit_count = NVME_NAMESPACES;
    struct kv_error local = {0};
    int rc = pci_msix_init(&nvme->pci, NVME_QUEUES, BAR, MSIX_TABLE_AT, MSIX_PBA_AT);
    if (rc < 0)
        kv_error_set(&local, KV_ERR_DEVICE, -rc, "NVMe controller: no interrupts");
    if (rc == 0)
        rc = device_register(machine, &nvme->pci.device, &nvme_ops, id, &local);
    if (rc == 0)
        rc = pci_plug(bus, &nvme->pci, slot ? (int)slot : -1, &local);
    if (rc < 0) {
        device_unregister(&nvme->pci.device);
        nvme_free(&nvme->pci.device);
        if (err)
            *err = local;
        return rc;
    }
    *out = nvme;
    return 0;
}

/* ------------------------------------------------------------------ namespaces */

static int find_number(const struct nvme *nvme, const struct drive_config *config,
                       struct kv_error *err)
{
    const char *id = nvme->pci.device.id;
    for (int i = 0; config->unit == DRIVE_NO_UNIT && i < NVME_NAMESPACES; i++) {
        if (!nvme->namespaces[i])
            return i;
    }
    if (config->unit >= NVME_NAMESPACES)
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC,
                            "NVMe controller '%s' has units 0 to %d, and none free where none is "
                            "named",
                            id, NVME_NAMESPACES - 1);
    if (nvme->namespaces[config->unit])
        return kv_error_set(err, KV_ERR_CONFIG, EEXIST,
                            "unit %" PRIu64 " of NVMe controller '%s' has disk '%s' already",
                            config->unit, id, nvme->namespaces[config->unit]->drive.id);
    return (int)config->unit;
}

/* Its size is asked for when the guest looks again. */
static const struct drive_ops drive_ops;

static int open_namespace(struct nvme_namespace *ns, const struct drive_config *config,
                          struct kv_error *err)
{
    struct nvme *nvme = ns->nvme;
    int rc = drive_init(&ns->drive, nvme->pci.device.machine, config, &drive_ops, err);
    if (rc < 0)
        return rc;
    struct block_node *node = drive_node(&ns->drive);
    const struct block_info *info = block_get_info(node);
    uint64_t block = config->logical_block_size ? config->logical_block_size : info->logical_block;
    ns->shift = block > DRIVE_SECTOR ? (unsigned)__builtin_ctzll(block) : 9;
    ns->can_discard = info->can_discard;
    ns->can_write_zeroes = info->can_write_zeroes;
    block_close(node);
    rc = drive_queue_init(&ns->queue, &ns->drive, nvme->loop, NVME_REQUESTS, NULL, NULL, err);
    if (rc < 0) {
        drive_destroy(&ns->drive);
        return rc;
    }
    ns->queues[0] = &ns->queue;
    ns->drive.queues = ns->queues;
    ns->drive.queue_count = 1;
    return 0;
}

int nvme_add(struct nvme *nvme, const struct drive_config *config, struct kv_error *err)
{
    if (config->physical_block_size)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "physical-block-size: an NVMe disk does not tell it");
    if (config->slot || config->queues || config->iothread || config->lun)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "slot, queues and iothread are for bus=virtio, lun for bus=scsi");
    if (config->cdrom)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "a CD-ROM is on sata or scsi");
    int number = find_number(nvme, config, err);
    if (number < 0)
        return number;
    struct nvme_namespace *ns = calloc(1, sizeof(*ns));
    if (!ns)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "NVMe namespace: out of memory");
    ns->nvme = nvme;
    int rc = open_namespace(ns, config, err);
    if (rc < 0) {
        free(ns);
        return rc;
    }
    if (!*nvme->serial)
        snprintf(nvme->serial, sizeof(nvme->serial), "%s",
                 config->serial ? config->serial : ns->drive.id);
    struct pci_boot_unit *boot = &nvme->boot_units[number];
    boot->index = (unsigned)config->bootindex;
    snprintf(boot->path, sizeof(boot->path), "/namespace@%x,0", (unsigned)number + 1);
    nvme->namespaces[number] = ns;
    return 0;
}

/* ------------------------------------------------------------- configuration */

int nvme_attach(struct machine *machine, const struct drive_config *config, struct kv_error *err)
{
    struct nvme *nvme = NULL;
    list_for_each (pos, &machine->devices) {
        struct device *device = list_entry(pos, struct device, node);
        if (!nvme && device->ops == &nvme_ops &&
            (!config->controller || strcmp(device->id, config->controller) == 0))
            nvme = of_device(device);
    }
    if (!nvme && config->controller)
        return kv_error_set(err, KV_ERR_CONFIG, ENOENT,
                            "controller '%s' is no NVMe controller; --nvme id=%s makes one",
                            config->controller, config->controller);
    int rc = 0;
    if (!nvme)
        rc = nvme_create(&nvme, machine, &machine->pci, &machine->mem, machine_pick_loop(machine),
                         NULL, 0, NULL, err);
    return rc < 0 ? rc : nvme_add(nvme, config, err);
}

struct nvme_config {
    char *id, *serial;
    uint64_t slot;
};

static const struct option_spec nvme_options[] = {
    OPTION(STRING, struct nvme_config, id, .help = "name of the controller"),
    OPTION(STRING, struct nvme_config, serial, .help = "up to 20 bytes; default: the first disk's"),
    OPTION(UINT, struct nvme_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION_END,
};

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct nvme_config *config = opaque;
    struct nvme *nvme;
    if (config->serial && strlen(config->serial) > DRIVE_SERIAL_MAX)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "serial '%s' has %zu bytes; at most %u are possible", config->serial,
                            strlen(config->serial), DRIVE_SERIAL_MAX);
    return nvme_create(&nvme, machine, &machine->pci, &machine->mem, machine_pick_loop(machine),
                       config->id, config->slot, config->serial, err);
}

const struct device_class nvme_class = {
    .option = "nvme",
    .implied = "id",
    .help = "an NVMe controller with up to 16 namespaces, for --disk bus=nvme",
    .options = nvme_options,
    .config_size = sizeof(struct nvme_config),
    .create = create,
};
