/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shared libraries that only some images need. They are loaded when the first
 * such image is opened, so that a monitor whose disks are raw carries none of
 * them. A process that gives its file system away loads what it needs before.
 */
#ifndef KV_BLOCK_LIBRARY_H
#define KV_BLOCK_LIBRARY_H

#include "base/library.h"

/* As library_open(); -EACCES in a sealed process that does not have it already. */
int library_load(struct library *library, struct kv_error *err);

#endif
