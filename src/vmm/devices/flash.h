/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * NOR flash that keeps the variables of UEFI firmware: an 8-bit chip with
 * Intel's command set and 4 KiB blocks, whose contents are a file (Common Flash
 * Memory Interface, JEDEC JESD68.01; Intel 28F documentation of the commands).
 * Made for machines that boot by firmware and have --nvram.
 */
#ifndef KV_VMM_DEVICES_FLASH_H
#define KV_VMM_DEVICES_FLASH_H

#include <stdint.h>

#include "base/error.h"

struct machine;

#define FLASH_BLOCK 4096u /* a chip has a multiple of that */

struct flash_config {
    const char *name; /* of the file, for messages */
    int fd;           /* open for reading and writing; stays the caller's, as long as the machine */
    uint64_t base;    /* guest-physical */
    uint32_t size;
};

/* Reads the file, before the jail. The device goes to the machine's list. */
int flash_create(struct machine *machine, const struct flash_config *config, struct kv_error *err);

#endif
