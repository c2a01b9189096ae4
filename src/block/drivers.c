/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All formats and protocols. A new one is a line here. */
#include "block/drivers.h"

#include <string.h>

/* clang-format off */
const struct block_driver *const block_drivers[] = {
    &block_blkdebug_driver,      &block_copy_on_read_driver,
    &block_detect_zeroes_driver, &block_file_driver,
    &block_luks_driver,          &block_memory_driver,
    &block_nbd_driver,           &block_qcow2_driver,
    &block_raw_driver,           &block_record_driver,
    &block_throttle_driver,      &block_vdi_driver,
    &block_vhdx_driver,          &block_vmdk_driver,
    &block_vpc_driver,           NULL,
};
/* clang-format on */

const struct block_driver *block_driver_find(const char *name)
{
    for (unsigned i = 0; block_drivers[i]; i++) {
        if (strcmp(block_drivers[i]->name, name) == 0)
            return block_drivers[i];
    }
    return NULL;
}
