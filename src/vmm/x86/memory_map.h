/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's memory map as the boot protocols tell it: e820 types, sorted, not overlapping. */
#ifndef KV_VMM_X86_MEMORY_MAP_H
#define KV_VMM_X86_MEMORY_MAP_H

#include <stdint.h>

struct machine;

enum memory_type { /* ACPI 6.5 table 15.1; the same numbers in e820 and in PVH's map */
                   MEMORY_RAM = 1,
                   MEMORY_RESERVED = 2,
};

struct memory_range {
    uint64_t base, size;
    enum memory_type type;
};

#define MEMORY_MAP_MAX 8

/* Fills map and returns the number of entries. */
unsigned x86_memory_map(const struct machine *machine, struct memory_range map[MEMORY_MAP_MAX]);

#endif
