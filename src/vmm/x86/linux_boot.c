/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Linux kernels in bzImage form by the 64-bit boot protocol
 * (Documentation/arch/x86/boot.rst): checks of the setup header, the
 * protected-mode part read straight to its place, and the zero page. Called by
 * boot.c. The file is not trusted: each number of it is checked before use.
 */
#include <errno.h>

#include "base/fd.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/boot.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/memory_map.h"

#define SETUP_HEADER 0x1f1 /* in the file and in the zero page */
#define SETUP_MAGIC 0x202
#define SETUP_MAGIC_VALUE 0x53726448 /* "HdrS" */
#define SETUP_BOOT_FLAG 0xaa55
#define SETUP_HEADER_MAX 0x290 /* the header never goes on behind this offset */
#define PROTOCOL_MIN 0x020c    /* 2.12: xloadflags, 64-bit entry */
#define ENTRY64 0x200
#define LOADER_UNDEFINED 0xff
#define SECTOR 512

bool linux_is_image(const uint8_t head[BOOT_HEAD_SIZE])
{
    return load_le(head + SETUP_MAGIC, 4) == SETUP_MAGIC_VALUE;
}

static int check_header(const struct boot_load *load, struct kv_error *err)
{
    const struct setup_header *h = &load->header;
    const char *name = load->kernel.name;

    if (h->boot_flag != SETUP_BOOT_FLAG)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: boot flag is 0x%04x; a bzImage has 0x%04x", name, h->boot_flag,
                            SETUP_BOOT_FLAG);
    if (h->version < PROTOCOL_MIN)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: setup header says protocol %u.%02u; 2.12 or newer is supported",
                            name, h->version >> 8, h->version & 0xff);
    if (!(h->loadflags & LOADED_HIGH))
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: a zImage that loads low; only bzImages are supported", name);
    if (!(h->xloadflags & XLF_KERNEL_64))
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: no 64-bit entry point (xloadflags 0x%x); a 64-bit kernel is "
                            "needed",
                            name, h->xloadflags);
    return 0;
}

/* Where the kernel goes: its preferred address, or the lowest one when memory ends before. */
static int choose_base(struct boot_load *load, uint64_t bytes, struct kv_error *err)
{
    const struct setup_header *h = &load->header;
    uint64_t low = load->machine->memory.low_size;
    uint64_t room = MAX((uint64_t)h->init_size, bytes);
    uint64_t align = h->kernel_alignment;
    uint64_t base = h->pref_address;

    bool fits = base >= MIB(1) && range_within(base, room, 0, low);
    if (!fits && h->relocatable_kernel && align && (align & (align - 1)) == 0) {
        base = ALIGN_UP((uint64_t)LAYOUT_KERNEL, align);
        fits = range_within(base, room, 0, low);
    }
    if (!fits)
        return kv_error_set(err, KV_ERR_BOOT, ENOMEM,
                            "%s: it needs %llu KiB from 0x%llx on; memory ends at 0x%llx",
                            load->kernel.name, (unsigned long long)(room >> 10),
                            (unsigned long long)base, (unsigned long long)low);
    load->kernel_base = base;
    load->kernel_end = base + room;
    return 0;
}

int linux_load(struct boot_load *load, const uint8_t head[BOOT_HEAD_SIZE], struct kv_error *err)
{
    struct setup_header *h = &load->header;
    struct machine *m = load->machine;

    /* The byte behind the jump opcode gives the header's end, counted from the magic. */
    uint64_t end = SETUP_MAGIC + head[SETUP_MAGIC - 1];
    if (end > SETUP_HEADER_MAX || end > load->kernel.size)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: setup header ends at 0x%llx; 0x%x and the file's end (0x%llx) are "
                            "the limits",
                            load->kernel.name, (unsigned long long)end, SETUP_HEADER_MAX,
                            (unsigned long long)load->kernel.size);
    memcpy(h, head + SETUP_HEADER, MIN(end - SETUP_HEADER, sizeof(*h)));
    int rc = check_header(load, err);
    if (rc < 0)
        return rc;
    if (m->memory.size < BOOT_LINUX_MEMORY_MIN)
        return kv_error_set(err, KV_ERR_BOOT, EINVAL,
                            "%s: a Linux kernel needs at least 64 MiB of memory; there are %llu",
                            load->kernel.name, (unsigned long long)(m->memory.size >> 20));

    uint64_t setup = ((uint64_t)(h->setup_sects ? h->setup_sects : 4) + 1) * SECTOR;
    uint64_t bytes = (uint64_t)h->syssize * 16;
    /* The header counts in units of 16 bytes; the last one may be cut short. */
    if (load->kernel.size <= setup || load->kernel.size - setup + 15 < bytes || bytes == 0)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                            "%s: the file is cut short: %llu bytes, and the header promises %llu",
                            load->kernel.name, (unsigned long long)load->kernel.size,
                            (unsigned long long)(setup + bytes));
    bytes = MIN(bytes, load->kernel.size - setup);
    rc = choose_base(load, bytes, err);
    if (rc < 0)
        return rc;
    void *to = guest_mem_range(&m->mem, load->kernel_base, bytes);
    if (!to || bytes < ENTRY64)
        return kv_error_set(err, KV_ERR_BOOT, ENOEXEC, "%s: %llu bytes cannot be placed at 0x%llx",
                            load->kernel.name, (unsigned long long)bytes,
                            (unsigned long long)load->kernel_base);
    rc = fd_pread_all(load->kernel.fd, to, bytes, setup);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BOOT, -rc, "%s: reading it", load->kernel.name);
    guest_mem_mark_dirty(&m->mem, load->kernel_base, bytes);

    load->initrd_anywhere = h->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G;
    load->initrd_limit = load->initrd_anywhere ? UINT64_MAX : (uint64_t)h->initrd_addr_max + 1;
    load->cmdline_max = h->cmdline_size ? h->cmdline_size : 255;
    load->boot = (struct x86_boot){X86_BOOT_LINUX64, load->kernel_base + ENTRY64};
    return 0;
}

int linux_write_zero_page(struct boot_load *load, struct kv_error *err)
{
    struct machine *m = load->machine;
    struct boot_params *zero = guest_mem_range(&m->mem, LAYOUT_ZERO_PAGE, sizeof(*zero));
    struct memory_range map[MEMORY_MAP_MAX];

    if (!zero)
        return kv_error_set(err, KV_ERR_BOOT, EFAULT, "zero page does not lie in guest memory");
    memset(zero, 0, sizeof(*zero));
    zero->hdr = load->header;
    zero->hdr.boot_flag = SETUP_BOOT_FLAG;
    zero->hdr.header = SETUP_MAGIC_VALUE;
    zero->hdr.type_of_loader = LOADER_UNDEFINED;
    zero->hdr.code32_start = (uint32_t)load->kernel_base;
    zero->hdr.cmd_line_ptr = LAYOUT_CMDLINE;
    zero->hdr.ramdisk_image = (uint32_t)load->initrd;
    zero->hdr.ramdisk_size = (uint32_t)load->initrd_size;
    zero->ext_ramdisk_image = (uint32_t)(load->initrd >> 32);
    zero->ext_ramdisk_size = (uint32_t)(load->initrd_size >> 32);
    zero->acpi_rsdp_addr = load->rsdp;
    unsigned n = x86_memory_map(m, map);
    for (unsigned i = 0; i < n; i++)
        zero->e820_table[i] = (struct boot_e820_entry){map[i].base, map[i].size, map[i].type};
    zero->e820_entries = (uint8_t)n;
    guest_mem_mark_dirty(&m->mem, LAYOUT_ZERO_PAGE, sizeof(*zero));
    return 0;
}
