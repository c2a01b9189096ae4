/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The drivers by name of their variables, for the table in drivers.c. */
#ifndef KV_BLOCK_DRIVERS_H
#define KV_BLOCK_DRIVERS_H

#include "block/driver.h"

/*
 * The formats of other products, NULL at the end. A program links one of two
 * libraries that have them: block_import reads them (kvasir-img, tests),
 * block_no_import refuses them by name (the monitor).
 */
extern const struct block_driver *const block_import_drivers[];

extern const struct block_driver block_blkdebug_driver;
extern const struct block_driver block_copy_before_write_driver;
extern const struct block_driver block_copy_on_read_driver;
extern const struct block_driver block_detect_zeroes_driver;
extern const struct block_driver block_file_driver;
extern const struct block_driver block_http_driver;
extern const struct block_driver block_https_driver;
extern const struct block_driver block_iscsi_driver;
extern const struct block_driver block_luks_driver;
extern const struct block_driver block_memory_driver;
extern const struct block_driver block_mirror_driver; /* of jobs; no description has it */
extern const struct block_driver block_nbd_driver;
extern const struct block_driver block_nfs_driver;
extern const struct block_driver block_qcow2_driver;
extern const struct block_driver block_raw_driver;
extern const struct block_driver block_rbd_driver;
extern const struct block_driver block_record_driver;
extern const struct block_driver block_snapshot_access_driver;
extern const struct block_driver block_stream_driver; /* of jobs; no description has it */
extern const struct block_driver block_throttle_driver;
extern const struct block_driver block_vdi_driver;
extern const struct block_driver block_vhdx_driver;
extern const struct block_driver block_vmdk_driver;
extern const struct block_driver block_vpc_driver;

#endif
