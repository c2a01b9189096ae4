/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Processors in the DSDT (ACPI 6.5, chapter 8.4): a device each, with methods
 * for those that are plugged and unplugged (devices/cpu_hotplug.h), and the
 * event that tells of them. Called by acpi_dsdt.c.
 */
#include <stdio.h>

#include "vmm/devices/cpu_hotplug.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/acpi_dsdt.h"
#include "vmm/x86/layout.h"

/* Names of processor i's device and of its register. */
struct cpu_names {
    char device[5], reg[5];
};

static struct cpu_names cpu_names(unsigned i)
{
    struct cpu_names names;
    snprintf(names.device, sizeof(names.device), "C%03X", i & 0xfff);
    snprintf(names.reg, sizeof(names.reg), "R%03X", i & 0xfff);
    return names;
}

static bool can_be_plugged(const struct machine *machine, unsigned cpu)
{
    return cpu >= machine->config.cpus.count;
}

/* If (reg & flag) */
static size_t if_flag(struct aml *a, const char *reg, unsigned flag)
{
    size_t mark = aml_if(a);
    aml_op(a, AML_AND);
    aml_path(a, reg);
    aml_integer(a, flag);
    aml_integer(a, 0); /* no further target */
    return mark;
}

static void store(struct aml *a, unsigned value, const char *reg)
{
    aml_op(a, AML_STORE);
    aml_integer(a, value);
    aml_path(a, reg);
}

/* If (!(argument == value)) */
static size_t if_not(struct aml *a, enum aml_op argument, unsigned value)
{
    size_t mark = aml_if(a);
    aml_op(a, AML_LNOT);
    aml_op(a, AML_LEQUAL);
    aml_op(a, argument);
    aml_integer(a, value);
    return mark;
}

/* 6.3.5: what became of a request. A removal that is not under way any more was refused: of one
 * that was carried out nothing is said. */
static void cpu_ost(struct aml *a, const char *reg)
{
    const unsigned eject_request = 3, eject_in_progress = 0x84;
    size_t method = aml_method(a, "_OST", 3);
    size_t request = aml_if(a);
    aml_op(a, AML_LEQUAL);
    aml_op(a, AML_ARG0);
    aml_integer(a, eject_request);
    size_t failed = if_not(a, AML_ARG1, 0);
    size_t ended = if_not(a, AML_ARG1, eject_in_progress);
    store(a, CPU_HOTPLUG_REFUSED, reg);
    aml_end(a, ended);
    aml_end(a, failed);
    aml_end(a, request);
    aml_end(a, method);
}

/* 6.2.11 (_MAT), 6.3.3 (_EJ0), 6.3.7 (_STA). */
static void pluggable_cpu(struct aml *a, struct machine *machine, unsigned i)
{
    const struct cpu_names names = cpu_names(i);
    size_t method = aml_method(a, "_STA", 0);
    size_t present = if_flag(a, names.reg, CPU_HOTPLUG_PRESENT);
    aml_op(a, AML_RETURN);
    aml_integer(a, 0xf);
    aml_end(a, present);
    aml_op(a, AML_RETURN);
    aml_integer(a, 0);
    aml_end(a, method);

    const uint8_t apic[8] = {0, 8, (uint8_t)i, (uint8_t)x86_apic_id(machine, i), 1};
    aml_name(a, "_MAT");
    size_t entry = aml_buffer(a);
    aml_bytes(a, apic, sizeof(apic));
    aml_buffer_end(a, entry);

    method = aml_method(a, "_EJ0", 1);
    store(a, CPU_HOTPLUG_EJECT, names.reg);
    aml_end(a, method);
    cpu_ost(a, names.reg);
}

static void cpu_registers(struct aml *a, const struct machine *machine)
{
    aml_region(a, "CPUR", AML_MEMORY, LAYOUT_CPU_HOTPLUG_BASE, machine->vcpu_count);
    size_t field = aml_field(a, "CPUR", AML_BYTES);
    for (unsigned i = 0; i < machine->vcpu_count; i++)
        aml_register(a, cpu_names(i).reg, 8);
    aml_end(a, field);
}

void acpi_processors(struct aml *a, struct machine *machine)
{
    if (acpi_has_device(machine, CPU_HOTPLUG_TYPE))
        cpu_registers(a, machine);
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        size_t device = aml_device(a, cpu_names(i).device);
        aml_name_string(a, "_HID", "ACPI0007");
        aml_name_integer(a, "_UID", i);
        if (can_be_plugged(machine, i))
            pluggable_cpu(a, machine, i);
        aml_end(a, device);
    }
}

/* Takes the request of that kind, and tells the operating system (5.6.6). */
static void pass_on(struct aml *a, unsigned cpu, unsigned flag, unsigned notification)
{
    char path[16];
    const struct cpu_names names = cpu_names(cpu);
    snprintf(path, sizeof(path), "\\_SB_.%s", names.reg);
    size_t wanted = if_flag(a, path, flag);
    store(a, flag, path);
    snprintf(path, sizeof(path), "\\_SB_.%s", names.device);
    aml_op(a, AML_NOTIFY);
    aml_path(a, path);
    aml_integer(a, notification);
    aml_end(a, wanted);
}

void acpi_processors_event(struct aml *a, struct machine *machine)
{
    if (!acpi_has_device(machine, CPU_HOTPLUG_TYPE))
        return;
    const unsigned device_check = 1, eject_request = 3;
    char handler[5];
    snprintf(handler, sizeof(handler), "_E%02X", GPE_CPU_HOTPLUG);
    size_t scope = aml_scope(a, "\\_GPE");
    size_t method = aml_method(a, handler, 0);
    for (unsigned i = 0; i < machine->vcpu_count; i++) {
        if (!can_be_plugged(machine, i))
            continue;
        pass_on(a, i, CPU_HOTPLUG_INSERTED, device_check);
        pass_on(a, i, CPU_HOTPLUG_WANTED_BACK, eject_request);
    }
    aml_end(a, method);
    aml_end(a, scope);
}
