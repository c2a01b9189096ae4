/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The DSDT: what no table of fixed form can tell (ACPI 6.5, chapters 5 and 6).
 * The PCI root with its windows and interrupts, processors, legacy devices,
 * the generation ID, switching off. A device that the machine does not have is
 * not described. Called by acpi_tables.c.
 */
#include "vmm/x86/acpi_dsdt.h"

#include <stdio.h>

#include "vmm/devices/cpu_hotplug.h"
#include "vmm/devices/i8042.h"
#include "vmm/devices/tpm.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

static unsigned count_devices(struct machine *machine, const char *type)
{
    unsigned count = 0;
    list_for_each (node, &machine->devices) {
        const struct device *dev = list_entry(node, struct device, node);
        count += dev->ops->type && strcmp(dev->ops->type, type) == 0;
    }
    return count;
}

/* \_SB.PCI0._OSC (6.2.11): native control of all that PCI Express has, when the OS asks. */
static void pci_osc(struct aml *a)
{
    static const uint8_t uuid[16] = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40,
                                     0x96, 0x57, 0x74, 0x41, 0xc0, 0x3d, 0xd7, 0x66};
    const unsigned granted = 0x1f, wrong_uuid = 4, wrong_revision = 8;

    size_t method = aml_method(a, "_OSC", 4 | AML_SERIALIZED);
    aml_op(a, AML_CREATE_DWORD_FIELD);
    aml_op(a, AML_ARG3);
    aml_integer(a, 0);
    aml_bytes(a, "CDW1", 4);

    size_t known = aml_if(a);
    aml_op(a, AML_LEQUAL);
    aml_op(a, AML_ARG0);
    size_t buffer = aml_buffer(a);
    aml_bytes(a, uuid, sizeof(uuid));
    aml_buffer_end(a, buffer);

    aml_op(a, AML_CREATE_DWORD_FIELD);
    aml_op(a, AML_ARG3);
    aml_integer(a, 8);
    aml_bytes(a, "CDW3", 4);
    aml_op(a, AML_AND);
    aml_bytes(a, "CDW3", 4);
    aml_integer(a, granted);
    aml_bytes(a, "CDW3", 4);
    size_t revision = aml_if(a);
    aml_op(a, AML_LNOT);
    aml_op(a, AML_LEQUAL);
    aml_op(a, AML_ARG1);
    aml_integer(a, 1);
    aml_op(a, AML_OR);
    aml_bytes(a, "CDW1", 4);
    aml_integer(a, wrong_revision);
    aml_bytes(a, "CDW1", 4);
    aml_end(a, revision);
    aml_end(a, known);

    size_t unknown = aml_else(a);
    aml_op(a, AML_OR);
    aml_bytes(a, "CDW1", 4);
    aml_integer(a, wrong_uuid);
    aml_bytes(a, "CDW1", 4);
    aml_end(a, unknown);
    aml_op(a, AML_RETURN);
    aml_op(a, AML_ARG3);
    aml_end(a, method);
}

/* Pin A of each slot is wired to a GSI: no link devices (6.2.13). */
static void pci_prt(struct aml *a)
{
    aml_name(a, "_PRT");
    size_t table = aml_package(a, PCI_SLOTS);
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        size_t route = aml_package(a, 4);
        aml_integer(a, (uint64_t)slot << 16 | 0xffff);
        aml_integer(a, 0);
        aml_integer(a, 0);
        aml_integer(a, GSI_PCI_FIRST + slot % 8);
        aml_end(a, route);
    }
    aml_end(a, table);
}

static void pci_root(struct aml *a, struct machine *machine)
{
    const struct pci_bus *pci = &machine->pci;

    size_t device = aml_device(a, "PCI0");
    aml_name_eisa_id(a, "_HID", "PNP0A08");
    aml_name_eisa_id(a, "_CID", "PNP0A03");
    aml_name_integer(a, "_UID", 0);
    aml_name_integer(a, "_SEG", 0);
    aml_name_integer(a, "_BBN", 0);
    aml_name_integer(a, "_CCA", 1);

    size_t crs = aml_crs(a);
    aml_window(a, AML_WINDOW_BUS, 2, 0, LAYOUT_PCI_LAST_BUS);
    aml_io(a, PORT_PCI_CONFIG_ADDRESS, 8);
    aml_window(a, AML_WINDOW_IO, 2, 0, PORT_PCI_CONFIG_ADDRESS - 1);
    aml_window(a, AML_WINDOW_IO, 2, PORT_PCI_CONFIG_ADDRESS + 8, 0xffff);
    aml_window(a, AML_WINDOW_MEMORY, 4, LAYOUT_MMIO32_BASE, LAYOUT_MMIO32_END - 1);
    if (pci->mmio64_end > pci->mmio64_base)
        aml_window(a, AML_WINDOW_MEMORY, 8, pci->mmio64_base, pci->mmio64_end - 1);
    aml_crs_end(a, crs);

    pci_prt(a);
    pci_osc(a);
    acpi_pci_slots(a, machine);
    aml_end(a, device);
}

/* The configuration space must be claimed by a device outside the bridge (PCI Firmware 4.1.2). */
static void motherboard(struct aml *a, struct machine *machine)
{
    size_t device = aml_device(a, "MBRD");
    aml_name_eisa_id(a, "_HID", "PNP0C02");
    aml_name_integer(a, "_UID", 0);
    size_t crs = aml_crs(a);
    aml_memory32_fixed(a, LAYOUT_ECAM_BASE, LAYOUT_ECAM_SIZE);
    aml_io(a, PORT_PM_BASE, 0x10);
    aml_io(a, PORT_GPE0, GPE0_BYTES);
    if (machine->platform.pci_hotplug)
        aml_io(a, PORT_PCI_HOTPLUG, PORTS_PCI_HOTPLUG);
    if (acpi_has_device(machine, CPU_HOTPLUG_TYPE))
        aml_memory32_fixed(a, LAYOUT_CPU_HOTPLUG_BASE, machine->vcpu_count);
    aml_crs_end(a, crs);
    aml_end(a, device);
}

/* The first serial port in the machine's list is COM1, and so on. */
static void serial_ports(struct aml *a, struct machine *machine)
{
    static const struct {
        const char *name;
        uint16_t port;
        uint8_t irq;
    } ports[] = {
        {"COM1", PORT_COM1, GSI_COM1},
        {"COM2", PORT_COM2, GSI_COM2},
        {"COM3", PORT_COM3, GSI_COM1},
        {"COM4", PORT_COM4, GSI_COM2},
    };
    unsigned count = MIN(count_devices(machine, "serial"), (unsigned)ARRAY_SIZE(ports));
    for (unsigned i = 0; i < count; i++) {
        size_t device = aml_device(a, ports[i].name);
        aml_name_eisa_id(a, "_HID", "PNP0501");
        aml_name_integer(a, "_UID", i + 1);
        aml_name_integer(a, "_STA", 0xf);
        size_t crs = aml_crs(a);
        aml_io(a, ports[i].port, 8);
        aml_irq(a, ports[i].irq);
        aml_crs_end(a, crs);
        aml_end(a, device);
    }
}

static void rtc(struct aml *a)
{
    size_t device = aml_device(a, "RTC_");
    aml_name_eisa_id(a, "_HID", "PNP0B00");
    size_t crs = aml_crs(a);
    aml_io(a, PORT_RTC, 2);
    aml_irq(a, GSI_RTC);
    aml_crs_end(a, crs);
    aml_end(a, device);
}

/* SeaBIOS looks for them here, too, before it asks the controller. */
static void keyboard_and_mouse(struct aml *a)
{
    size_t keyboard = aml_device(a, "KBD_");
    aml_name_eisa_id(a, "_HID", "PNP0303");
    aml_name_integer(a, "_STA", 0xf);
    size_t crs = aml_crs(a);
    aml_io(a, PORT_I8042_DATA, 1);
    aml_io(a, PORT_I8042_COMMAND, 1);
    aml_irq(a, GSI_KEYBOARD);
    aml_crs_end(a, crs);
    aml_end(a, keyboard);

    size_t mouse = aml_device(a, "MOU_");
    aml_name_eisa_id(a, "_HID", "PNP0F13");
    aml_name_integer(a, "_STA", 0xf);
    crs = aml_crs(a);
    aml_irq(a, GSI_MOUSE);
    aml_crs_end(a, crs);
    aml_end(a, mouse);
}

static void pvpanic(struct aml *a)
{
    size_t device = aml_device(a, "PEVT");
    aml_name_string(a, "_HID", "QEMU0001");
    aml_name_integer(a, "_STA", 0xf);
    size_t crs = aml_crs(a);
    aml_io(a, PORT_PVPANIC, 1);
    aml_crs_end(a, crs);
    aml_end(a, device);
}

static void tpm(struct aml *a, const struct acpi_tpm *found)
{
    size_t device = aml_device(a, "TPM_");
    aml_name_string(a, "_HID", "MSFT0101");
    aml_name_integer(a, "_UID", 1);
    aml_name_integer(a, "_STA", 0xf);
    size_t crs = aml_crs(a);
    aml_memory32_fixed(a, LAYOUT_TPM_BASE, found->region_size);
    aml_crs_end(a, crs);
    aml_end(a, device);
}

/* Outside of everything that has a length, so that its bytes stay where they are. */
static size_t generation_id_address(struct aml *a, uint64_t address)
{
    aml_name(a, "VGIA");
    return aml_dword(a, (uint32_t)address);
}

/* "Virtual Machine Generation ID" (Microsoft, 2012): ADDR gives the identifier's address. */
static void generation_id(struct aml *a)
{
    size_t device = aml_device(a, "VGEN");
    aml_name_string(a, "_HID", "QEMUVGID");
    aml_name_string(a, "_CID", "VM_Gen_Counter");
    aml_name_string(a, "_DDN", "VM_Gen_Counter");
    size_t method = aml_method(a, "ADDR", 0);
    aml_op(a, AML_STORE);
    size_t halves = aml_package(a, 2);
    aml_integer(a, 0);
    aml_integer(a, 0);
    aml_end(a, halves);
    aml_op(a, AML_LOCAL0);
    aml_op(a, AML_STORE);
    aml_path(a, "VGIA");
    aml_op(a, AML_INDEX);
    aml_op(a, AML_LOCAL0);
    aml_integer(a, 0);
    aml_integer(a, 0); /* no further target */
    aml_op(a, AML_RETURN);
    aml_op(a, AML_LOCAL0);
    aml_end(a, method);
    aml_end(a, device);
}

static void generation_id_event(struct aml *a)
{
    char handler[5];
    snprintf(handler, sizeof(handler), "_E%02X", GPE_VMGENID);
    size_t scope = aml_scope(a, "\\_GPE");
    size_t method = aml_method(a, handler, 0);
    aml_op(a, AML_NOTIFY);
    aml_path(a, "\\_SB_.VGEN");
    aml_integer(a, 0x80);
    aml_end(a, method);
    aml_end(a, scope);
}

static void switch_off(struct aml *a)
{
    aml_name(a, "\\_S5_");
    size_t types = aml_package(a, 4);
    aml_integer(a, PM1_SLP_TYP_S5);
    for (unsigned i = 0; i < 3; i++)
        aml_integer(a, 0);
    aml_end(a, types);
}

bool acpi_has_device(struct machine *machine, const char *type)
{
    return count_devices(machine, type);
}

const struct acpi_tpm *acpi_find_tpm(struct machine *machine)
{
    static const struct acpi_tpm tpms[] = {
        {TPM_CRB, TPM_REGION_SIZE, 7, LAYOUT_TPM_BASE + TPM_CONTROL_AREA},
        {TPM_TIS, TPM_TIS_REGION_SIZE, 6, 0},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(tpms); i++)
        if (count_devices(machine, tpms[i].type))
            return &tpms[i];
    return NULL;
}

size_t acpi_dsdt_body(struct aml *a, struct machine *machine, uint64_t generation_id_at)
{
    bool has_generation_id = count_devices(machine, "vmgenid");

    size_t address = has_generation_id ? generation_id_address(a, generation_id_at) : 0;
    size_t sb = aml_scope(a, "\\_SB_");
    pci_root(a, machine);
    motherboard(a, machine);
    acpi_processors(a, machine);
    serial_ports(a, machine);
    if (count_devices(machine, "rtc"))
        rtc(a);
    if (i8042_is_plugged(machine))
        keyboard_and_mouse(a);
    if (count_devices(machine, "pvpanic"))
        pvpanic(a);
    if (acpi_find_tpm(machine))
        tpm(a, acpi_find_tpm(machine));
    if (has_generation_id)
        generation_id(a);
    aml_end(a, sb);
    if (has_generation_id)
        generation_id_event(a);
    acpi_pci_slots_event(a, machine);
    acpi_processors_event(a, machine);
    switch_off(a);
    return address;
}
