/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New images; see image_create.h. */
#include "block/image_create.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/driver.h"

int block_image_create(const char *path, const char *format, const json_t *options,
                       struct kv_error *err)
{
    const struct block_driver *driver = block_driver_find(format);
    if (!driver || !driver->create)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            driver ? "Format driver '%s' does not support image creation"
                                   : "Unknown file format '%s'",
                            format);
    cleanup_free void *config = calloc(1, driver->create_config_size);
    if (!config)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", path);
    if (driver->create_defaults)
        driver->create_defaults(config);
    int rc = options_parse_json(driver->create_options, format, options, config, err);
    if (rc == 0)
        rc = driver->create(path, config, err);
    options_free(driver->create_options, config);
    return rc;
}
