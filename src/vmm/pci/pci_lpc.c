/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The LPC bridge at 00:1f.0, as Intel's ICH9 shows itself (its datasheet,
 * chapter 13): where the power management's ports are, which are always on and
 * stay where they are, and the interrupt router's registers, which keep what
 * firmware writes (the lines of PCI lead to the IOAPIC alone). The root complex
 * registers (RCBA) are absent. SMIs are shown as set up and locked, so that
 * firmware without system management mode does not try to. Created by firmware.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "vmm/machine/machine.h"
#include "vmm/pci/pci.h"
#include "vmm/x86/layout.h"

#define LPC_CLASS 0x060100 /* bridge, ISA */
#define LPC_REVISION 2
#define LPC_PMBASE 0x40
#define LPC_PMBASE_IO 0x1
#define LPC_ACPI_CONTROL 0x44
#define LPC_ACPI_ENABLE 0x80 /* SCI on interrupt 9 */
#define LPC_PIRQ_A 0x60      /* to D */
#define LPC_PIRQ_E 0x68      /* to H */
#define LPC_PIRQS 4
#define LPC_PIRQ_OFF 0x80
#define LPC_PIRQ_MASK 0x8f

#define SMI_PORTS 8
#define SMI_ENABLE_APMC 0x20 /* by port 0xb2 */

static struct pci_device *to_pci(struct device *dev)
{
    return container_of(dev, struct pci_device, device);
}

static uint64_t smi_read(void *opaque, uint64_t offset, unsigned len)
{
    static const uint8_t registers[SMI_PORTS + 8] = {SMI_ENABLE_APMC};
    return load_le(registers + offset, len);
}

static void smi_write(void *opaque, uint64_t offset, uint64_t value, unsigned len)
{
}

static const struct bus_ops smi_ops = {.read = smi_read, .write = smi_write};

static void lpc_reset(struct device *dev)
{
    struct pci_device *pci = to_pci(dev);
    memset(pci->config + LPC_PIRQ_A, LPC_PIRQ_OFF, LPC_PIRQS);
    memset(pci->config + LPC_PIRQ_E, LPC_PIRQ_OFF, LPC_PIRQS);
    pci_device_reset(pci);
}

static json_t *lpc_save(struct device *dev)
{
    return pci_device_save(to_pci(dev));
}

static int lpc_load(struct device *dev, const json_t *state, struct kv_error *err)
{
    return pci_device_load(to_pci(dev), state, err);
}

static void lpc_free(struct device *dev)
{
    bus_unmap(&dev->machine->pio, PORT_SMI);
    pci_unplug(to_pci(dev));
    pci_device_destroy(to_pci(dev));
    free(to_pci(dev));
}

static const struct device_ops lpc_ops = {
    .type = "pci-lpc",
    .reset = lpc_reset,
    .save = lpc_save,
    .load = lpc_load,
    .free = lpc_free,
};

static const struct pci_identity lpc_identity = {
    .vendor = 0x8086,
    .device = 0x2918,
    .subsystem_vendor = 0x1af4,
    .subsystem = 0x1100,
    .class_code = LPC_CLASS,
    .revision = LPC_REVISION,
};

int pci_lpc_create(struct machine *machine, struct kv_error *err)
{
    struct pci_device *lpc = calloc(1, sizeof(*lpc));
    if (!lpc)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "no memory for the LPC bridge");
    pci_device_init(lpc, &lpc_identity, NULL);
    store_le(lpc->config + LPC_PMBASE, PORT_PM_BASE | LPC_PMBASE_IO, 4);
    lpc->config[LPC_ACPI_CONTROL] = LPC_ACPI_ENABLE;
    memset(lpc->write_mask + LPC_PIRQ_A, LPC_PIRQ_MASK, LPC_PIRQS);
    memset(lpc->write_mask + LPC_PIRQ_E, LPC_PIRQ_MASK, LPC_PIRQS);
    int rc = pci_plug(&machine->pci, lpc, PCI_SLOT_LPC, err);
    if (rc == 0)
        rc = device_register(machine, &lpc->device, &lpc_ops, NULL, err);
    if (rc < 0) {
        pci_unplug(lpc);
        pci_device_destroy(lpc);
        free(lpc);
        return rc;
    }
    lpc_reset(&lpc->device);
    return bus_map(&machine->pio,
                   &(struct bus_region){.base = PORT_SMI,
                                        .size = SMI_PORTS,
                                        .ops = &smi_ops,
                                        .opaque = lpc,
                                        .name = lpc->device.id},
                   err);
}
