/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * AHCI: the PCI function, the controller's registers (AHCI 1.3.1, 3.1), its
 * ports' drives, and its life as a device.
 */
#include "vmm/storage/ahci.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "vmm/machine/machine.h"
#include "vmm/storage/ahci_internal.h"
#include "vmm/storage/classes.h"
#include "vmm/virtio/virtio.h"

#define ABAR 5
#define ABAR_SIZE 0x1000
#define QUEUE_DEPTH AHCI_SLOTS

/* Generic host control. */
enum {
    HBA_CAP = 0x00,
    HBA_GHC = 0x04,
    HBA_IS = 0x08,
    HBA_PI = 0x0c,
    HBA_VS = 0x10,
};
#define CAP_VALUE                                                                         \
    (BIT(31) /* 64-bit addresses */ | BIT(30) /* queued commands */ | BIT(24) /* CLO */ | \
     3u << 20 /* 6 Gb/s */ | BIT(18) /* nothing but AHCI */ | (AHCI_SLOTS - 1) << 8 |     \
     (AHCI_PORTS - 1))
#define VERSION 0x00010301
#define GHC_HR BIT(0)
#define GHC_IE BIT(1)
#define GHC_AE BIT(31)

static struct ahci *of_device(struct device *device)
{
    return container_of(container_of(device, struct pci_device, device), struct ahci, pci);
}

static uint32_t interrupting_ports(const struct ahci *ahci)
{
    uint32_t ports = 0;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        const struct ahci_port *port = ahci->ports[i];
        if (port && port->regs[PX_IS] & port->regs[PX_IE])
            ports |= 1u << i;
    }
    return ports;
}

void ahci_update_irq(struct ahci *ahci, bool news)
{
    bool wanted = ahci->ghc & GHC_IE && interrupting_ports(ahci);
    pci_intx_set(&ahci->pci, wanted);
    if (wanted && news)
        pci_msi_notify(&ahci->pci);
}

/* --------------------------------------------------------------- registers */

static uint32_t hba_read(const struct ahci *ahci, unsigned offset)
{
    switch (offset) {
    case HBA_CAP:
        return (uint32_t)CAP_VALUE;
    case HBA_GHC:
        return ahci->ghc | (uint32_t)GHC_AE;
    case HBA_IS:
        return interrupting_ports(ahci);
    case HBA_PI:
        return (1u << AHCI_PORTS) - 1;
    case HBA_VS:
        return VERSION;
    default:
        return 0;
    }
}

void ahci_reset_step(struct ahci *ahci)
{
    bool over = true;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        struct ahci_port *port = ahci->ports[i];
        if (!port || !port->resetting)
            continue;
        if (port->running) {
            over = false;
            continue;
        }
        port->resetting = false;
        ahci_port_reset_registers(port);
        loop_post(ahci->loop, &port->work);
    }
    if (over)
        ahci->ghc &= ~(uint32_t)GHC_HR;
}

static void write_ghc(struct ahci *ahci, uint32_t value)
{
    ahci->ghc = (ahci->ghc & (uint32_t)GHC_HR) | (value & (uint32_t)GHC_IE);
    if (!(value & GHC_HR) || ahci->ghc & GHC_HR)
        return;
    ahci->ghc = (uint32_t)GHC_HR;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (ahci->ports[i])
            ahci->ports[i]->resetting = true;
    }
    ahci_reset_step(ahci);
}

/* Registers are 32 bits; other accesses are put together of them. Under the lock. */
static uint32_t read_word(const struct ahci *ahci, unsigned offset)
{
    if (offset < AHCI_PORTS_AT)
        return hba_read(ahci, offset);
    unsigned index = (offset - AHCI_PORTS_AT) / AHCI_PORT_SIZE;
    unsigned reg = (offset - AHCI_PORTS_AT) % AHCI_PORT_SIZE / 4;
    if (index >= AHCI_PORTS || reg >= PX_COUNT)
        return 0;
    return ahci->ports[index] ? ahci_port_read(ahci->ports[index], reg) : 0;
}

static void write_word(struct ahci *ahci, unsigned offset, uint32_t value)
{
    if (offset == HBA_GHC)
        write_ghc(ahci, value);
    if (offset < AHCI_PORTS_AT)
        return;
    unsigned index = (offset - AHCI_PORTS_AT) / AHCI_PORT_SIZE;
    unsigned reg = (offset - AHCI_PORTS_AT) % AHCI_PORT_SIZE / 4;
    if (index < AHCI_PORTS && reg < PX_COUNT && ahci->ports[index] &&
        !ahci->ports[index]->resetting)
        ahci_port_write(ahci->ports[index], reg, value);
}

static uint64_t abar_read(void *opaque, uint64_t offset, unsigned len)
{
    struct ahci *ahci = opaque;
    unsigned word = (unsigned)offset & ~3u, shift = 8 * (offset & 3);
    pthread_mutex_lock(&ahci->lock);
    uint64_t value = read_word(ahci, word);
    if (word + 4 < ABAR_SIZE && shift + 8 * len > 32)
        value |= (uint64_t)read_word(ahci, word + 4) << 32;
    pthread_mutex_unlock(&ahci->lock);
    return value >> shift;
}

/* What is smaller than a register, or lies across two, writes nothing (3: dwords are what software
 * uses). */
static void abar_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
    struct ahci *ahci = opaque;
    if (offset & 3 || len < 4)
        return;
    pthread_mutex_lock(&ahci->lock);
    write_word(ahci, (unsigned)offset, (uint32_t)value);
    if (len == 8 && offset + 4 < ABAR_SIZE)
        write_word(ahci, (unsigned)offset + 4, (uint32_t)(value >> 32));
    ahci_update_irq(ahci, true);
    pthread_mutex_unlock(&ahci->lock);
}

static const struct bus_ops abar_ops = {.read = abar_read, .write = abar_write};

/* ------------------------------------------------------------------ life */

static void each_port(struct ahci *ahci, void (*fn)(void *opaque))
{
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (ahci->ports[i])
            loop_call(ahci->loop, fn, ahci->ports[i]);
    }
}

static void pause_port(void *opaque)
{
    struct ahci_port *port = opaque;
    port->paused = true;
    drive_queue_stop(&port->unit.queue);
}

static void resume_port(void *opaque)
{
    struct ahci_port *port = opaque;
    port->paused = false;
    drive_queue_start(&port->unit.queue);
    ahci_port_run(port);
}

/* Paused, or never run: what was held is forgotten with its slots. */
static void reset_port(void *opaque)
{
    struct ahci_port *port = opaque;
    bool paused = port->paused;
    pause_port(port);
    drive_queue_forget(&port->unit.queue);
    pthread_mutex_lock(&port->ahci->lock);
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        struct ahci_slot *slot = &port->slots[i];
        if (slot->running)
            free(slot->task.ranges);
        slot->task.ranges = NULL;
        slot->running = false;
    }
    port->running = port->queued = 0;
    port->resetting = port->srst = false;
    ahci_port_reset_registers(port);
    ata_reset(port);
    scsi_unit_reset(&port->unit);
    pthread_mutex_unlock(&port->ahci->lock);
    port->paused = paused;
}

static void ahci_quiesce(struct device *device)
{
    each_port(of_device(device), pause_port);
}

static void ahci_resume(struct device *device)
{
    each_port(of_device(device), resume_port);
}

static void ahci_reset(struct device *device)
{
    struct ahci *ahci = of_device(device);
    each_port(ahci, reset_port);
    pthread_mutex_lock(&ahci->lock);
    ahci->ghc = 0;
    pthread_mutex_unlock(&ahci->lock);
    pci_device_reset(&ahci->pci);
}

/* What runs is begun anew after loading: queued commands go back into PxCI. */
static json_t *save_port(const struct ahci_port *port)
{
    json_t *regs = json_array();
    for (unsigned i = 0; i < PX_COUNT; i++) {
        uint32_t value = port->regs[i] | (i == PX_CI ? port->queued : 0);
        json_array_append_new(regs, json_integer(value));
    }
    return json_pack("{s:o, s:b, s:b, s:i, s:i, s:o}", "regs", regs, "failed", port->failed, "srst",
                     port->srst, "features", port->features_word85, "multiple", port->multiple,
                     "unit", scsi_unit_save(&port->unit));
}

static json_t *ahci_save(struct device *device)
{
    struct ahci *ahci = of_device(device);
    json_t *ports = json_array();
    for (unsigned i = 0; i < AHCI_PORTS; i++)
        json_array_append_new(ports, ahci->ports[i] ? save_port(ahci->ports[i]) : json_null());
    return json_pack("{s:o, s:i, s:o}", "pci", pci_device_save(&ahci->pci), "ghc", (int)ahci->ghc,
                     "ports", ports);
}

static void load_port(struct ahci_port *port, const json_t *state)
{
    for (unsigned i = 0; i < PX_COUNT; i++)
        port->regs[i] =
            (uint32_t)json_integer_value(json_array_get(json_object_get(state, "regs"), i));
    port->failed = json_is_true(json_object_get(state, "failed"));
    port->srst = json_is_true(json_object_get(state, "srst"));
    port->features_word85 = (uint8_t)json_integer_value(json_object_get(state, "features"));
    port->multiple = (uint8_t)json_integer_value(json_object_get(state, "multiple"));
    scsi_unit_load(&port->unit, json_object_get(state, "unit"));
}

static int ahci_load(struct device *device, const json_t *state, struct kv_error *err)
{
    struct ahci *ahci = of_device(device);
    const json_t *ports = json_object_get(state, "ports");
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (json_is_object(json_array_get(ports, i)) != (ahci->ports[i] != NULL))
            return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                                "device '%s': the state has %s at port %u, this machine %s",
                                device->id, ahci->ports[i] ? "nothing" : "a drive", i,
                                ahci->ports[i] ? "a drive" : "nothing");
    }
    ahci->ghc = (uint32_t)json_integer_value(json_object_get(state, "ghc")) & (uint32_t)GHC_IE;
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (ahci->ports[i])
            load_port(ahci->ports[i], json_array_get(ports, i));
    }
    return pci_device_load(&ahci->pci, json_object_get(state, "pci"), err);
}

static void ahci_metrics(struct device *device, json_t *out)
{
    const struct ahci *ahci = of_device(device);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (ahci->ports[i])
            json_object_set_new(out, ahci->ports[i]->unit.drive.id,
                                drive_describe_stats(&ahci->ports[i]->unit.drive));
    }
}

static void leave_loop(void *opaque)
{
    struct ahci_port *port = opaque;
    loop_unpost(port->ahci->loop, &port->work);
}

static void free_port(struct ahci_port *port)
{
    loop_call(port->ahci->loop, reset_port, port);
    loop_call(port->ahci->loop, leave_loop, port);
    scsi_unit_destroy(&port->unit);
    for (unsigned i = 0; i < AHCI_SLOTS; i++)
        free(port->slots[i].iov);
    free(port);
}

static void ahci_free(struct device *device)
{
    struct ahci *ahci = of_device(device);
    pci_unplug(&ahci->pci);
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (ahci->ports[i])
            free_port(ahci->ports[i]);
    }
    pci_device_destroy(&ahci->pci);
    pthread_mutex_destroy(&ahci->lock);
    free(ahci);
}

static const struct device_ops ahci_ops = {
    .type = "ahci",
    .quiesce = ahci_quiesce,
    .resume = ahci_resume,
    .reset = ahci_reset,
    .save = ahci_save,
    .load = ahci_load,
    .metrics = ahci_metrics,
    .free = ahci_free,
};

static const struct pci_identity identity = {
    .vendor = 0x8086,
    .device = 0x2922, /* ICH9 */
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class_code = 0x010601, /* mass storage, SATA, AHCI 1.0 */
    .revision = 0x02,
    .intx = true,
};

int ahci_create(struct ahci **out, struct machine *machine, struct pci_bus *bus,
                struct guest_mem *mem, struct loop *loop, const char *id, uint64_t slot,
                struct kv_error *err)
{
    struct ahci *ahci = calloc(1, sizeof(*ahci));
    if (!ahci)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "SATA controller: out of memory");
    ahci->mem = mem;
    ahci->loop = loop;
    pthread_mutex_init(&ahci->lock, NULL);
    pci_device_init(&ahci->pci, &identity, NULL);
    pci_msi_init(&ahci->pci);
    pci_bar_init(&ahci->pci, ABAR, ABAR_SIZE, false, false, &abar_ops, ahci);
    ahci->pci.boot_units = ahci->boot_units;
    ahci->pci.boot_unit_count = AHCI_PORTS;
    struct kv_error local = {0};
    int rc = device_register(machine, &ahci->pci.device, &ahci_ops, id, &local);
    if (rc == 0)
        rc = pci_plug(bus, &ahci->pci, slot ? (int)slot : -1, &local);
    if (rc < 0) {
        device_unregister(&ahci->pci.device);
        ahci_free(&ahci->pci.device);
        if (err)
            *err = local;
        return rc;
    }
    *out = ahci;
    return 0;
}

static void init_slots(struct ahci_port *port)
{
    for (unsigned i = 0; i < AHCI_SLOTS; i++) {
        port->slots[i].port = port;
        port->slots[i].index = i;
        port->slots[i].task.unit = &port->unit;
        list_init(&port->slots[i].task.request.node);
    }
}

static int find_port(const struct ahci *ahci, const struct drive_config *config,
                     struct kv_error *err)
{
    const char *id = ahci->pci.device.id;
    if (config->unit == DRIVE_NO_UNIT) {
        for (int i = 0; i < AHCI_PORTS; i++) {
            if (!ahci->ports[i])
                return i;
        }
        return kv_error_set(err, KV_ERR_CONFIG, ENOSPC, "SATA controller '%s' has no port free",
                            id);
    }
    if (config->unit >= AHCI_PORTS)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "unit %" PRIu64 ": SATA controller '%s' has ports 0 to %d",
                            config->unit, id, AHCI_PORTS - 1);
    if (ahci->ports[config->unit])
        return kv_error_set(err, KV_ERR_CONFIG, EEXIST,
                            "port %" PRIu64 " of SATA controller '%s' has drive '%s' already",
                            config->unit, id, ahci->ports[config->unit]->unit.drive.id);
    return (int)config->unit;
}

int ahci_add(struct ahci *ahci, const struct drive_config *config, struct kv_error *err)
{
    if (config->slot || config->queues || config->iothread)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "slot, queues and iothread are for bus=virtio");
    if (config->lun)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "lun is for bus=scsi");
    if (config->logical_block_size > DRIVE_SECTOR)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "logical-block-size %" PRIu64 ": a SATA disk's is 512",
                            config->logical_block_size);
    int index = find_port(ahci, config, err);
    if (index < 0)
        return index;
    struct ahci_port *port = calloc(1, sizeof(*port));
    if (!port)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "SATA port: out of memory");
    port->ahci = ahci;
    port->index = (unsigned)index;
    port->work = (struct loop_work){.fn = ahci_port_run, .opaque = port};
    init_slots(port);
    int rc = scsi_unit_init(&port->unit, ahci->pci.device.machine, config, ahci->loop, QUEUE_DEPTH,
                            NULL, NULL, err);
    if (rc < 0) {
        free(port);
        return rc;
    }
    ahci_port_reset_registers(port);
    ata_reset(port);
    struct pci_boot_unit *boot = &ahci->boot_units[index];
    boot->index = (unsigned)config->bootindex;
    snprintf(boot->path, sizeof(boot->path), "/drive@%x/disk@0", port->index);
    pthread_mutex_lock(&ahci->lock);
    ahci->ports[index] = port;
    pthread_mutex_unlock(&ahci->lock);
    return 0;
}

/* ------------------------------------------------------------- configuration */

static bool has_room(const struct ahci *ahci, const struct drive_config *config)
{
    for (unsigned i = 0; i < AHCI_PORTS; i++) {
        if (!ahci->ports[i] && (config->unit == DRIVE_NO_UNIT || config->unit == i))
            return true;
    }
    return false;
}

int ahci_attach(struct machine *machine, const struct drive_config *config, struct kv_error *err)
{
    struct ahci *ahci = NULL;
    if (config->controller) {
        struct device *device = device_find(machine, config->controller);
        if (!device || device->ops != &ahci_ops)
            return kv_error_set(err, KV_ERR_CONFIG, ENOENT,
                                "controller '%s' is no SATA controller; --sata id=%s makes one",
                                config->controller, config->controller);
        return ahci_add(of_device(device), config, err);
    }
    list_for_each (pos, &machine->devices) {
        struct device *device = list_entry(pos, struct device, node);
        if (device->ops == &ahci_ops && has_room(of_device(device), config)) {
            ahci = of_device(device);
            break;
        }
    }
    int rc = 0;
    if (!ahci)
        rc = ahci_create(&ahci, machine, &machine->pci, &machine->mem, machine_pick_loop(machine),
                         NULL, 0, err);
    return rc < 0 ? rc : ahci_add(ahci, config, err);
}

struct sata_config {
    char *id;
    uint64_t slot;
};

static const struct option_spec sata_options[] = {
    OPTION(STRING, struct sata_config, id, .help = "name of the controller"),
    OPTION(UINT, struct sata_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION_END,
};

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct sata_config *config = opaque;
    struct ahci *ahci;
    return ahci_create(&ahci, machine, &machine->pci, &machine->mem, machine_pick_loop(machine),
                       config->id, config->slot, err);
}

const struct device_class sata_class = {
    .option = "sata",
    .implied = "id",
    .help = "a SATA controller (AHCI) with six ports, for --disk bus=sata and --cdrom",
    .options = sata_options,
    .config_size = sizeof(struct sata_config),
    .create = create,
};
