/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The area that ACPI tables are built in, for any address: RSDP, generation ID
 * and FACS at the places that layout.h gives (ACPI_RSDP and on), then the tables. Private to x86/.
 */
#ifndef KV_VMM_X86_ACPI_TABLES_H
#define KV_VMM_X86_ACPI_TABLES_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct machine;

#define ACPI_TABLES_MAX 8
#define ACPI_POINTERS_MAX 16
#define ACPI_RSDP_SIZE 36
#define ACPI_RSDP_XSDT 24     /* offset of the XSDT's address, 8 bytes */
#define ACPI_RSDP_CHECKSUM 32 /* offset of the checksum of all of it */

/* Where an address of the area is written in it. */
struct acpi_pointer {
    uint32_t at;
    uint8_t bytes;
};

struct acpi_table {
    uint32_t start, len;
};

struct acpi_links {
    struct acpi_pointer pointers[ACPI_POINTERS_MAX];
    unsigned pointer_count;
    struct acpi_table tables[ACPI_TABLES_MAX];
    unsigned table_count;
};

struct acpi_area {
    uint8_t *data; /* owned; free() it, also after an error */
    size_t len;
    uint64_t xsdt; /* its address */
    struct acpi_links links;
};

/* All of it as it is to lie at base. The generation ID is left zero. */
int acpi_build_area(struct machine *machine, uint64_t base, struct acpi_area *area,
                    struct kv_error *err);

/* 5.2.5.3 */
void acpi_write_rsdp(uint8_t rsdp[ACPI_RSDP_SIZE], uint64_t xsdt);

/* What makes the sum of all bytes zero when it is added. */
uint8_t acpi_checksum(const void *data, size_t len);

#endif
