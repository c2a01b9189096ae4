/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The body of the DSDT. Private to x86/. */
#ifndef KV_VMM_X86_ACPI_DSDT_H
#define KV_VMM_X86_ACPI_DSDT_H

#include "vmm/x86/acpi_aml.h"

struct machine;

/* Where the four bytes of the generation ID's address are in it; 0: there are none. */
size_t acpi_dsdt_body(struct aml *a, struct machine *machine, uint64_t generation_id);

/* Whether there is a device of this type in the machine's list. */
bool acpi_has_device(struct machine *machine, const char *type);

/* What the tables say of a TPM, by its device's type. */
struct acpi_tpm {
    const char *type;
    uint32_t region_size;
    uint32_t start_method; /* TCG ACPI Specification 1.3, table 9 */
    uint64_t control_area; /* that goes with it; 0: none */
};
/* Of the one in the machine's list; NULL: there is none. */
const struct acpi_tpm *acpi_find_tpm(struct machine *machine);

/* acpi_processors.c: inside \_SB, and behind everything else. */
void acpi_processors(struct aml *a, struct machine *machine);
void acpi_processors_event(struct aml *a, struct machine *machine);

/* acpi_pci_slots.c: inside the PCI root, and behind everything else. */
void acpi_pci_slots(struct aml *a, struct machine *machine);
void acpi_pci_slots_event(struct aml *a, struct machine *machine);

#endif
