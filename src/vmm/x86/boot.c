/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot images: opened once before the jail closes, loaded at power-on and again
 * at every reset from the same descriptors. Called by the machine; the formats
 * are in linux_boot.c and elf_boot.c.
 */
#include "vmm/x86/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "vmm/machine/machine.h"
#include "vmm/x86/firmware.h"
#include "vmm/x86/layout.h"
#include "vmm/x86/smbios.h"

#define PAGE UINT64_C(4096)

/* Opens path into *fd unless a descriptor was inherited; both must be regular files, open as access
 * says (O_RDONLY, O_RDWR). */
static int image_open(const char *what, const char *path, int access, int *fd, struct kv_error *err)
{
    struct stat st;

    if (*fd < 0) {
        if (!path)
            return 0;
        *fd = open(path, access | O_CLOEXEC | O_NONBLOCK);
        if (*fd < 0)
            return kv_error_errno(err, KV_ERR_BOOT, errno, "%s '%s'", what, path);
    } else if (path) {
        return kv_error_set(err, KV_ERR_BOOT, EINVAL,
                            "%s: both a path ('%s') and a descriptor (%d) are given; one is "
                            "accepted",
                            what, path, *fd);
    }
    const char *name = path ? path : "inherited descriptor";
    if (fstat(*fd, &st) < 0)
        return kv_error_errno(err, KV_ERR_BOOT, errno, "%s '%s'", what, name);
    if (!S_ISREG(st.st_mode))
        return kv_error_set(err, KV_ERR_BOOT, EINVAL, "%s '%s': not a regular file", what, name);
    int flags = fcntl(*fd, F_GETFL);
    if (flags < 0 || ((flags & O_ACCMODE) != access && (flags & O_ACCMODE) != O_RDWR))
        return kv_error_set(err, KV_ERR_BOOT, EBADF, "%s '%s': not open for %s", what, name,
                            access == O_RDWR ? "reading and writing" : "reading");
    return 0;
}

int x86_open_images(struct machine *machine, struct kv_error *err)
{
    struct machine_config *c = &machine->config;
    int rc = image_open("firmware", c->firmware, O_RDONLY, &c->firmware_fd, err);
    if (rc == 0)
        rc = image_open("nvram", c->nvram, O_RDWR, &c->nvram_fd, err);
    if (rc == 0 && c->firmware_fd >= 0)
        return firmware_create(machine, err);
    if (rc == 0)
        rc = image_open("kernel", c->kernel, O_RDONLY, &c->kernel_fd, err);
    if (rc == 0)
        rc = image_open("initrd", c->initrd, O_RDONLY, &c->initrd_fd, err);
    if (rc < 0)
        return rc;
    if (c->kernel_fd < 0)
        return kv_error_set(err, KV_ERR_BOOT, EINVAL,
                            "no kernel is given; a bzImage or an ELF file is needed to boot");
    return 0;
}

void x86_close_images(struct machine *machine)
{
    int *fds[] = {&machine->config.firmware_fd, &machine->config.nvram_fd,
                  &machine->config.kernel_fd, &machine->config.initrd_fd};
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
    firmware_free(machine);
    free(machine->x86.cpuid);
    machine->x86.cpuid = NULL;
}

static int image_init(struct boot_image *image, const char *what, const char *path, int fd,
                      struct kv_error *err)
{
    struct stat st;

    image->fd = fd;
    if (path)
        snprintf(image->name, sizeof(image->name), "%s '%.256s'", what, path);
    else
        snprintf(image->name, sizeof(image->name), "%s (descriptor %d)", what, fd);
    if (fstat(fd, &st) < 0)
        return kv_error_errno(err, KV_ERR_BOOT, errno, "%s", image->name);
    image->size = (uint64_t)st.st_size;
    return 0;
}

/* The highest page-aligned place below end (and limit) that keeps clear of the kernel; 0: none. */
static uint64_t place_below(const struct boot_load *load, uint64_t base, uint64_t end,
                            uint64_t size)
{
    end = ALIGN_DOWN(MIN(end, load->initrd_limit), PAGE);
    size = ALIGN_UP(size, PAGE);
    if (ranges_overlap(base, end - base, load->kernel_base, load->kernel_end - load->kernel_base)) {
        /* Above the kernel if it fits there, else below. */
        uint64_t above = ALIGN_UP(load->kernel_end, PAGE);
        if (end > above && end - above >= size)
            return end - size;
        end = ALIGN_DOWN(load->kernel_base, PAGE);
    }
    return end > base && end - base >= size ? end - size : 0;
}

static int load_initrd(struct boot_load *load, struct kv_error *err)
{
    struct machine *m = load->machine;
    struct boot_image initrd;

    if (m->config.initrd_fd < 0)
        return 0;
    int rc = image_init(&initrd, "initrd", m->config.initrd, m->config.initrd_fd, err);
    if (rc < 0)
        return rc;
    if (initrd.size == 0)
        return kv_error_set(err, KV_ERR_BOOT, EINVAL, "%s: the file is empty", initrd.name);
    uint64_t at = 0;
    if (initrd.size <= m->memory.size)
        at = place_below(load, MIB(1), m->memory.low_size, initrd.size);
    if (!at && initrd.size <= m->memory.size && load->initrd_anywhere && m->memory.high_size)
        at = place_below(load, LAYOUT_HIGH_BASE, LAYOUT_HIGH_BASE + m->memory.high_size,
                         initrd.size);
    if (!at)
        return kv_error_set(err, KV_ERR_BOOT, ENOMEM,
                            "%s: its %llu bytes do not fit into guest memory (%llu MiB) beside "
                            "the kernel (0x%llx to 0x%llx)",
                            initrd.name, (unsigned long long)initrd.size,
                            (unsigned long long)(m->memory.size >> 20),
                            (unsigned long long)load->kernel_base,
                            (unsigned long long)load->kernel_end);
    void *to = guest_mem_range(&m->mem, at, initrd.size);
    if (!to)
        return kv_error_set(err, KV_ERR_BOOT, EFAULT, "%s: 0x%llx is not guest memory", initrd.name,
                            (unsigned long long)at);
    rc = fd_pread_all(initrd.fd, to, initrd.size, 0);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BOOT, -rc, "%s: reading it", initrd.name);
    guest_mem_mark_dirty(&m->mem, at, initrd.size);
    load->initrd = at;
    load->initrd_size = initrd.size;
    return 0;
}

static int load_cmdline(struct boot_load *load, struct kv_error *err)
{
    struct machine *m = load->machine;
    const char *text = m->config.cmdline ? m->config.cmdline : "";
    size_t len = strlen(text);
    uint64_t max = MIN(load->cmdline_max, LAYOUT_CMDLINE_MAX - 1);

    if (len > max)
        return kv_error_set(err, KV_ERR_BOOT, E2BIG,
                            "the kernel command line has %zu bytes; %s takes up to %llu", len,
                            load->kernel.name, (unsigned long long)max);
    return boot_write(m, LAYOUT_CMDLINE, text, len + 1, "kernel command line", err);
}

static int load_kernel(struct boot_load *load, struct kv_error *err)
{
    uint8_t head[BOOT_HEAD_SIZE] = {0};

    int rc = fd_pread_all(load->kernel.fd, head, MIN(load->kernel.size, sizeof(head)), 0);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BOOT, -rc, "%s: reading it", load->kernel.name);
    if (elf_is_image(head))
        return elf_load(load, head, err);
    if (linux_is_image(head))
        return linux_load(load, head, err);
    return kv_error_set(err, KV_ERR_BOOT, ENOEXEC,
                        "%s: it is neither a Linux bzImage nor a 64-bit ELF file for x86-64",
                        load->kernel.name);
}

int x86_load_boot(struct machine *machine, struct kv_error *err)
{
    struct boot_load load = {
        .machine = machine, .initrd_limit = UINT64_MAX, .cmdline_max = LAYOUT_CMDLINE_MAX - 1};
    struct machine_config *c = &machine->config;

    if (machine->x86.firmware)
        return firmware_load(machine, err);
    int rc = image_init(&load.kernel, "kernel", c->kernel, c->kernel_fd, err);
    if (rc == 0)
        rc = load_kernel(&load, err);
    if (rc == 0)
        rc = load_initrd(&load, err);
    if (rc == 0)
        rc = load_cmdline(&load, err);
    if (rc == 0)
        rc = x86_acpi_build(machine, &load.rsdp, err);
    if (rc == 0)
        rc = smbios_place(machine, err);
    if (rc < 0)
        return rc;
    machine->x86.boot = load.boot;
    machine->x86.loaded = true;
    rc = boot_write_gdt(machine, err);
    if (rc < 0)
        return rc;
    if (load.boot.protocol == X86_BOOT_PVH)
        return pvh_write_start_info(&load, err);
    rc = boot_write_page_tables(machine, err);
    return rc < 0 ? rc : linux_write_zero_page(&load, err);
}
