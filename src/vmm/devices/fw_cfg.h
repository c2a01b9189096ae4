/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration that firmware reads from its host: QEMU's fw_cfg device
 * (its docs/specs/fw_cfg.rst), at ports 0x510 to 0x51b, with its DMA interface.
 * Items have numbers; files have names too, listed in the item FW_CFG_FILE_DIR.
 * Made for machines that boot by firmware; filled before the machine runs.
 */
#ifndef KV_VMM_DEVICES_FW_CFG_H
#define KV_VMM_DEVICES_FW_CFG_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct fw_cfg;
struct machine;

/* Items with fixed numbers. */
enum fw_cfg_item {
    FW_CFG_SIGNATURE = 0x00,
    FW_CFG_ID = 0x01,
    FW_CFG_UUID = 0x02,      /* 16 bytes */
    FW_CFG_NB_CPUS = 0x05,   /* 2 bytes: running at the start */
    FW_CFG_BOOT_MENU = 0x0e, /* 2 bytes: 0: none is shown */
    FW_CFG_MAX_CPUS = 0x0f,  /* 2 bytes: the largest APIC ID and one */
    FW_CFG_FILE_DIR = 0x19,
};

#define FW_CFG_NAME_MAX 55 /* bytes of a file's name */

int fw_cfg_create(struct machine *machine, struct fw_cfg **out, struct kv_error *err);

/* The bytes are copied; what had this number or name before is replaced. 0 or -ENOMEM, -ENOSPC. */
int fw_cfg_set(struct fw_cfg *fw_cfg, unsigned item, const void *data, size_t len);
int fw_cfg_set_file(struct fw_cfg *fw_cfg, const char *name, const void *data, size_t len);

/* A file that firmware may write as a whole or in part, by DMA. written is called on a vCPU thread
 * with all of its bytes. */
int fw_cfg_set_writable(struct fw_cfg *fw_cfg, const char *name, size_t len,
                        void (*written)(void *opaque, const uint8_t *data), void *opaque);

#endif
