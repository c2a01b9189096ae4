/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the machine says of its maker, board and parts (SMBIOS 3.0); called when images are loaded.
 */
#ifndef KV_VMM_X86_SMBIOS_H
#define KV_VMM_X86_SMBIOS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"

struct fw_cfg;
struct machine;

/* --smbios: texts of one structure. Those that its type does not have are NULL. */
struct smbios_config {
    uint64_t type;
    char *vendor, *version, *date, *release;       /* 0: the BIOS */
    char *manufacturer, *product, *serial, *asset; /* 1, 2, 3 */
    char *sku, *family, *location;
    char *value; /* 11: one string for the guest's software */
};

#define SMBIOS_ANCHOR_SIZE 24
#define SMBIOS_ANCHOR_TABLES 16 /* offset of the structures' address, 8 bytes */

/* All structures, for the caller to free also after an error. */
int smbios_build(const struct machine *machine, struct buffer *tables, struct kv_error *err);
/* The entry point (5.2.2) of structures that lie at an address, 0: whoever places them fills it in.
 */
void smbios_write_anchor(uint8_t anchor[SMBIOS_ANCHOR_SIZE], uint64_t address, size_t len);

/* Into memory, where kernels that no firmware starts look for them. */
int smbios_place(struct machine *machine, struct kv_error *err);
int smbios_give_to_firmware(struct machine *machine, struct fw_cfg *fw_cfg, struct kv_error *err);

#endif
