/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the DSDT says of slots whose devices come and go (ACPI 6.5, 6.3): the
 * registers of pci/pci_hotplug.h, a device with _EJ0 and _OST for each slot,
 * and the event's method, which notifies those that the registers name. Called
 * by acpi_dsdt.c; a machine without hotplug has none of it.
 */
#include <stdio.h>

#include "vmm/machine/machine.h"
#include "vmm/pci/pci_hotplug.h"
#include "vmm/x86/acpi_dsdt.h"
#include "vmm/x86/layout.h"

#define REGION "HPRG"
#define UP "HPUP"
#define DOWN "HPDN"
#define EJECT "HPEJ"
#define STATUS "HPOS"
#define TELL_STATUS "HPST" /* (slot, event, status) */
#define NOTIFY_SLOTS "HPNT"

static void slot_name(unsigned slot, char name[5])
{
    snprintf(name, 5, "S%02X_", slot & 0xff);
}

static void registers(struct aml *a)
{
    aml_region(a, REGION, AML_PORTS, PORT_PCI_HOTPLUG, PORTS_PCI_HOTPLUG);
    size_t field = aml_field(a, REGION, AML_DWORDS);
    aml_register(a, UP, 32);
    aml_register(a, DOWN, 32);
    aml_register(a, EJECT, 32);
    aml_register(a, STATUS, 32);
    aml_end(a, field);
}

/* slot | (event & 0xff) << 8 | status << 16 */
static void tell_status(struct aml *a)
{
    size_t method = aml_method(a, TELL_STATUS, 3);
    aml_op(a, AML_OR);
    aml_op(a, AML_ARG0);
    aml_op(a, AML_OR);
    aml_op(a, AML_SHIFT_LEFT);
    aml_op(a, AML_AND);
    aml_op(a, AML_ARG1);
    aml_integer(a, 0xff);
    aml_integer(a, 0); /* no target, as those below */
    aml_integer(a, 8);
    aml_integer(a, 0);
    aml_op(a, AML_SHIFT_LEFT);
    aml_op(a, AML_ARG2);
    aml_integer(a, 16);
    aml_integer(a, 0);
    aml_integer(a, 0);
    aml_path(a, STATUS);
    aml_end(a, method);
}

static void slot_device(struct aml *a, unsigned slot)
{
    char name[5];
    slot_name(slot, name);
    size_t device = aml_device(a, name);
    aml_name_integer(a, "_ADR", (uint64_t)slot << 16);
    aml_name_integer(a, "_SUN", slot);

    size_t method = aml_method(a, "_EJ0", 1);
    aml_op(a, AML_STORE);
    aml_integer(a, BIT(slot));
    aml_path(a, EJECT);
    aml_end(a, method);

    method = aml_method(a, "_OST", 3);
    aml_path(a, TELL_STATUS);
    aml_integer(a, slot);
    aml_op(a, AML_ARG0);
    aml_op(a, AML_ARG1);
    aml_end(a, method);
    aml_end(a, device);
}

static void notify_if(struct aml *a, enum aml_op slots, unsigned slot, unsigned notification)
{
    char name[5];
    slot_name(slot, name);
    size_t condition = aml_if(a);
    aml_op(a, AML_AND);
    aml_op(a, slots);
    aml_integer(a, BIT(slot));
    aml_integer(a, 0);
    aml_op(a, AML_NOTIFY);
    aml_path(a, name);
    aml_integer(a, notification);
    aml_end(a, condition);
}

/* Reading the registers clears them. */
static void notify_slots(struct aml *a, struct machine *machine)
{
    size_t method = aml_method(a, NOTIFY_SLOTS, AML_SERIALIZED);
    aml_op(a, AML_STORE);
    aml_path(a, UP);
    aml_op(a, AML_LOCAL0);
    aml_op(a, AML_STORE);
    aml_path(a, DOWN);
    aml_op(a, AML_LOCAL1);
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        if (!pci_hotplug_has_slot(machine, slot))
            continue;
        notify_if(a, AML_LOCAL0, slot, PCI_HOTPLUG_NOTIFY_CHECK);
        notify_if(a, AML_LOCAL1, slot, PCI_HOTPLUG_NOTIFY_EJECT);
    }
    aml_end(a, method);
}

void acpi_pci_slots(struct aml *a, struct machine *machine)
{
    if (!machine->platform.pci_hotplug)
        return;
    registers(a);
    tell_status(a);
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        if (pci_hotplug_has_slot(machine, slot))
            slot_device(a, slot);
    }
    notify_slots(a, machine);
}

void acpi_pci_slots_event(struct aml *a, struct machine *machine)
{
    char handler[5];
    if (!machine->platform.pci_hotplug)
        return;
    snprintf(handler, sizeof(handler), "_E%02X", GPE_PCI_HOTPLUG);
    size_t scope = aml_scope(a, "\\_GPE");
    size_t method = aml_method(a, handler, 0);
    aml_path(a, "\\_SB_.PCI0." NOTIFY_SLOTS);
    aml_end(a, method);
    aml_end(a, scope);
}
