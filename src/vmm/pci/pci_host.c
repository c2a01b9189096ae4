/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host bridge at 00:00.0, as Intel's Q35 MCH shows itself (its datasheet,
 * chapter 5: PCIEXBAR tells where ECAM lies; PAM and SMRAM registers keep what
 * firmware writes, and have no effect). Created once by machine.c; the
 * state of the bus itself is saved and reset with it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "vmm/machine/machine.h"
#include "vmm/pci/pci.h"
#include "vmm/x86/layout.h"

#define INTEL_VENDOR_ID 0x8086
#define MCH_DEVICE_ID 0x29c0
#define MCH_CLASS 0x060000 /* bridge, host */
/* What virtual machines' own chipset functions carry. */
#define SUBSYSTEM_VENDOR_ID 0x1af4
#define SUBSYSTEM_ID 0x1100
#define MCH_TSEG_SIZE \
    0x50 /* of virtual machines' bridges: more memory for SMM than a real one has */
#define MCH_TSEG_SIZE_QUERY 0xffff
#define MCH_PCIEXBAR 0x60
#define MCH_PAM0 0x90 /* 7 registers */
#define MCH_PAMS 7
#define MCH_SMRAM 0x9d
#define SMRAM_MASK 0x78     /* open, close, locked, enabled; without SMM nothing is behind it */
#define PCIEXBAR_ENABLE 0x1 /* size bits 0: 256 MiB, all 256 buses */

static struct pci_device *to_pci(struct device *dev)
{
    return container_of(dev, struct pci_device, device);
}

static void bridge_reset(struct device *dev)
{
    struct pci_bus *bus = to_pci(dev)->bus;
    pthread_mutex_lock(&bus->lock);
    bus->config_address = 0;
    bus->reset_control = 0;
    pthread_mutex_unlock(&bus->lock);
    memset(to_pci(dev)->config + MCH_PAM0, 0, MCH_PAMS);
    to_pci(dev)->config[MCH_SMRAM] = 0;
    pci_device_reset(to_pci(dev));
}

static json_t *bridge_save(struct device *dev)
{
    struct pci_bus *bus = to_pci(dev)->bus;
    return json_pack("{s:o, s:I, s:i}", "pci", pci_device_save(to_pci(dev)), "config_address",
                     (json_int_t)bus->config_address, "reset_control", bus->reset_control);
}

static int bridge_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    struct pci_bus *bus = to_pci(dev)->bus;
    bus->config_address = (uint32_t)json_integer_value(json_object_get(state, "config_address"));
    bus->reset_control = (uint8_t)json_integer_value(json_object_get(state, "reset_control"));
    return pci_device_load(to_pci(dev), json_object_get(state, "pci"), err);
}

static void bridge_free(struct device *dev)
{
    pci_unplug(to_pci(dev));
    pci_device_destroy(to_pci(dev));
    free(to_pci(dev));
}

static const struct device_ops bridge_ops = {
    .type = "pci-host",
    .reset = bridge_reset,
    .save = bridge_save,
    .load = bridge_load,
    .free = bridge_free,
};

/* Firmware that lives in system management mode asks how much memory there is for it, and hangs
 * without an answer. */
static void bridge_config_written(struct pci_device *dev, unsigned offset, unsigned len)
{
    struct machine *machine = dev->device.machine;
    if (!ranges_overlap(offset, len, MCH_TSEG_SIZE, 2))
        return;
    if (load_le(dev->config + MCH_TSEG_SIZE, 2) == MCH_TSEG_SIZE_QUERY) {
        log_error("the firmware needs system management mode, which this machine does not have; "
                  "accepted: a build without it, such as OVMF_CODE_4M.fd");
        machine_request(machine, REQUEST_INTERNAL_ERROR);
    }
    store_le(dev->config + MCH_TSEG_SIZE, 0, 2);
}

static const struct pci_device_ops bridge_pci_ops = {.config_written = bridge_config_written};

static const struct pci_identity bridge_identity = {
    .vendor = INTEL_VENDOR_ID,
    .device = MCH_DEVICE_ID,
    .subsystem_vendor = SUBSYSTEM_VENDOR_ID,
    .subsystem = SUBSYSTEM_ID,
    .class_code = MCH_CLASS,
};

int pci_host_create(struct machine *machine, struct kv_error *err)
{
    struct pci_bus *bus = &machine->pci;
    int rc = pci_bus_map_config(bus, err);
    if (rc < 0)
        return rc;
    struct pci_device *bridge = calloc(1, sizeof(*bridge));
    if (!bridge)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "no memory for the PCI host bridge");
    pci_device_init(bridge, &bridge_identity, &bridge_pci_ops);
    store_le(bridge->config + MCH_PCIEXBAR, bus->ecam_base | PCIEXBAR_ENABLE, 8);
    memset(bridge->write_mask + MCH_PAM0, 0x33, MCH_PAMS);
    bridge->write_mask[MCH_SMRAM] = SMRAM_MASK;
    if (machine_boots_firmware(&machine->config))
        store_le(bridge->write_mask + MCH_TSEG_SIZE, UINT16_MAX, 2);
    rc = pci_plug(bus, bridge, 0, err);
    if (rc == 0)
        rc = device_register(machine, &bridge->device, &bridge_ops, NULL, err);
    if (rc < 0) {
        pci_unplug(bridge);
        pci_device_destroy(bridge);
        free(bridge);
    }
    return rc;
}
