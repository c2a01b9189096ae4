/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The formats of other products, for programs that read them; see drivers.h. */
#include "block/drivers.h"

const struct block_driver *const block_import_drivers[] = {
    &block_vdi_driver, &block_vhdx_driver, &block_vmdk_driver, &block_vpc_driver, NULL,
};
