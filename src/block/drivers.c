/* SPDX-License-Identifier: GPL-2.0-or-later */
/* All formats and protocols. A new one is a line here; one that the monitor is not to have, in
 * import_drivers.c. */
#include "block/drivers.h"

#include <string.h>

#include "base/util.h"

static const struct block_driver *const drivers[] = {
    &block_blkdebug_driver,
    &block_copy_before_write_driver,
    &block_copy_on_read_driver,
    &block_detect_zeroes_driver,
    &block_file_driver,
    &block_http_driver,
    &block_https_driver,
    &block_iscsi_driver,
    &block_luks_driver,
    &block_memory_driver,
    &block_nbd_driver,
    &block_nfs_driver,
    &block_qcow2_driver,
    &block_raw_driver,
    &block_rbd_driver,
    &block_record_driver,
    &block_snapshot_access_driver,
    &block_throttle_driver,
};

const struct block_driver *block_driver_at(unsigned index)
{
    if (index < ARRAY_SIZE(drivers))
        return drivers[index];
    const struct block_driver *const *driver = block_import_drivers;
    for (index -= ARRAY_SIZE(drivers); index && *driver; index--)
        driver++;
    return *driver;
}

const struct block_driver *block_driver_find(const char *name)
{
    const struct block_driver *driver;
    for (unsigned i = 0; (driver = block_driver_at(i)); i++) {
        if (strcmp(driver->name, name) == 0)
            return driver;
    }
    return NULL;
}
