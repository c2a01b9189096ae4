/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory map that boot images get; called by both boot protocols. The ACPI
 * area, with SMBIOS tables behind it, is reserved, not reclaimable: the generation ID in it must
 * stay where it is, and its specification forbids memory of ACPI data type.
 */
#include "vmm/x86/memory_map.h"

#include "vmm/machine/machine.h"
#include "vmm/x86/layout.h"

unsigned x86_memory_map(const struct machine *machine, struct memory_range map[MEMORY_MAP_MAX])
{
    const struct memory *memory = &machine->memory;
    unsigned n = 0;

    map[n++] = (struct memory_range){0, LAYOUT_EBDA, MEMORY_RAM};
    map[n++] = (struct memory_range){LAYOUT_EBDA, 0xa0000 - LAYOUT_EBDA, MEMORY_RESERVED};
    map[n++] = (struct memory_range){LAYOUT_ACPI_BASE, LAYOUT_ACPI_SIZE + LAYOUT_SMBIOS_SIZE,
                                     MEMORY_RESERVED};
    if (memory->low_size > MIB(1))
        map[n++] = (struct memory_range){MIB(1), memory->low_size - MIB(1), MEMORY_RAM};
    map[n++] = (struct memory_range){LAYOUT_ECAM_BASE, LAYOUT_ECAM_SIZE, MEMORY_RESERVED};
    if (memory->high_size)
        map[n++] = (struct memory_range){LAYOUT_HIGH_BASE, memory->high_size, MEMORY_RAM};
    return n;
}
