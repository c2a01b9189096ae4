/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Storage: pools are directories, volumes the images in them. Definitions are in the state; which
 * pools are active is noted below the run directory, so that they are after a restart of the
 * daemon, and not after one of the host. Images are made and changed by the block engine; what
 * lies in a pool is recognized by its first bytes alone (probe.c), for it may be anybody's.
 */
#ifndef KV_DAEMON_STORAGE_STORAGE_H
#define KV_DAEMON_STORAGE_STORAGE_H

#include "daemon/driver.h"

extern const struct daemon_driver storage_driver;

/*
 * For domains whose disk is <source pool= volume=>: *path becomes the file, to free().
 * VIR_ERR_NO_STORAGE_POOL, VIR_ERR_NO_STORAGE_VOL, or VIR_ERR_OPERATION_INVALID when the pool is
 * not active. Any thread, while the driver is started.
 */
int storage_find_volume(const char *pool, const char *volume, char **path, struct kv_error *err);

#endif
