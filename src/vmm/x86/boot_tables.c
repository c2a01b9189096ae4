/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptor and page tables that boot images start with: a flat GDT, and an
 * identity map of the first 4 GiB (Intel SDM volume 3, 3.4.5 and 4.5). Pages of
 * 1 GiB are used where the CPU has them: two pages of tables instead of six.
 */
#include <errno.h>

#include "vmm/machine/machine.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/layout.h"

#define PAGE_PRESENT BIT(0)
#define PAGE_WRITABLE BIT(1)
#define PAGE_LARGE BIT(7)
#define ENTRIES 512
#define IDENTITY_GIB 4

int boot_write(struct machine *machine, uint64_t gpa, const void *data, size_t len,
               const char *what, struct kv_error *err)
{
    if (guest_mem_write(&machine->mem, gpa, data, len) < 0)
        return kv_error_set(err, KV_ERR_BOOT, EFAULT,
                            "%s: %zu bytes at 0x%llx do not lie in guest memory", what, len,
                            (unsigned long long)gpa);
    return 0;
}

int boot_write_gdt(struct machine *machine, struct kv_error *err)
{
    bool long_mode = machine->x86.boot.protocol == X86_BOOT_LINUX64;
    const uint64_t gdt[] = {
        [BOOT_CS / 8] = long_mode ? 0x00af9b000000ffff : 0x00cf9b000000ffff,
        [BOOT_DS / 8] = 0x00cf93000000ffff,
        [BOOT_TSS / 8] = 0x00008b0000000067,
        [BOOT_TSS / 8 + 1] = 0, /* a TSS descriptor takes two places in 64-bit mode */
    };
    return boot_write(machine, LAYOUT_GDT, gdt, sizeof(gdt), "GDT", err);
}

int boot_write_page_tables(struct machine *machine, struct kv_error *err)
{
    const uint64_t page = 4096, flags = PAGE_PRESENT | PAGE_WRITABLE;
    uint64_t *table = guest_mem_range(&machine->mem, LAYOUT_PAGE_TABLES, (2 + IDENTITY_GIB) * page);
    if (!table)
        return kv_error_set(err, KV_ERR_BOOT, EFAULT, "page tables do not lie in guest memory");
    bool gib_pages = x86_cpu_has_gib_pages(machine);

    uint64_t *pml4 = table, *pdpt = table + ENTRIES, *pd = table + 2 * ENTRIES;
    memset(pml4, 0, 2 * page);
    pml4[0] = (LAYOUT_PAGE_TABLES + page) | flags;
    for (unsigned g = 0; g < IDENTITY_GIB; g++) {
        if (gib_pages) {
            pdpt[g] = GIB(g) | flags | PAGE_LARGE;
            continue;
        }
        pdpt[g] = (LAYOUT_PAGE_TABLES + (2 + g) * page) | flags;
        for (unsigned i = 0; i < ENTRIES; i++)
            pd[g * ENTRIES + i] = (GIB(g) + MIB(2) * i) | flags | PAGE_LARGE;
    }
    guest_mem_mark_dirty(&machine->mem, LAYOUT_PAGE_TABLES,
                         (gib_pages ? 2 : 2 + IDENTITY_GIB) * page);
    return 0;
}
