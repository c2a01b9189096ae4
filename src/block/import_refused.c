/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The formats of other products, for programs that do not read them (the
 * monitor): known by name and by content, and refused with the way out.
 */
#include <errno.h>

#include "block/drivers.h"
#include "block/import_probe.h"

static int refuse(struct block_node *node, const struct block_open_options *options,
                  struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                        "'%s': images of format %s are not used by a machine; convert it with "
                        "'kvasir-img convert -O qcow2 IMAGE NEW-IMAGE'",
                        node->name, node->driver->name);
}

#define REFUSED(name_)                                  \
    static const struct block_driver name_##_driver = { \
        .name = #name_,                                 \
        .probe = name_##_probe,                         \
        .open = refuse,                                 \
        .refused = true,                                \
    }
REFUSED(vdi);
REFUSED(vhdx);
REFUSED(vmdk);
REFUSED(vpc);

const struct block_driver *const block_import_drivers[] = {
    &vdi_driver, &vhdx_driver, &vmdk_driver, &vpc_driver, NULL,
};
