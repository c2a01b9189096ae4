/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shared libraries that are loaded when an image needs them. */
#include "block/library.h"

#include <errno.h>

#include "block/block.h"

int library_load(struct library *library, struct kv_error *err)
{
    if (block_is_sealed() && !library_is_open(library))
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "%s need the library %s, which a jailed process loads only for disks "
                            "that it was started with",
                            library->purpose, library->soname);
    return library_open(library, err);
}
