/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What BIOS firmware runs for a device: a screen's text, a network interface's
 * boot. SeaBIOS takes it from fw_cfg (firmware.c), so that there is no expansion
 * ROM register. Called by classes of devices while the machine is built.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/pci/pci.h"

#define ROM_MIN 512
#define ROM_MAX KIB(512)

int pci_rom_read(struct pci_rom *rom, const char *path, struct kv_error *err)
{
    struct stat st;
    int inherited;
    cleanup_fd int fd =
        sscanf(path, "fd:%d", &inherited) == 1 ? inherited : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "rom '%s'", path);
    if (st.st_size < ROM_MIN || (uint64_t)st.st_size > ROM_MAX)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "rom '%s' has %lld bytes; accepted: 512 bytes to 512 KiB", path,
                            (long long)st.st_size);
    rom->size = (size_t)st.st_size;
    rom->data = malloc(rom->size);
    if (!rom->data)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "rom '%s': out of memory", path);
    int rc = fd_pread_all(fd, rom->data, rom->size, 0);
    return rc < 0 ? kv_error_errno(err, KV_ERR_DEVICE, -rc, "rom '%s': reading it", path) : 0;
}
