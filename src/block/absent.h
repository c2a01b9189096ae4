/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A protocol that this build was made without (see meson_options.txt): known by
 * name and by the beginning of its paths, and refused, so that "iscsi://..."
 * is not taken for the name of a file.
 */
#ifndef KV_BLOCK_ABSENT_H
#define KV_BLOCK_ABSENT_H

#include <errno.h>

#include "block/drivers.h"

/* `BLOCK_ABSENT(https, "http", "https:")`: the driver, the build option, how its paths begin. */
#define BLOCK_ABSENT(name_, option_, prefix_)                                                    \
    static int name_##_refuse(struct block_node *node, const struct block_open_options *options, \
                              struct kv_error *err)                                              \
    {                                                                                            \
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,                                          \
                            "'%s': this program was built without " option_                      \
                            " (meson setup -D" option_ "=enabled)",                              \
                            node->name);                                                         \
    }                                                                                            \
    static const char *const name_##_prefixes[] = {prefix_, NULL};                               \
    const struct block_driver block_##name_##_driver = {                                         \
        .name = #name_,                                                                          \
        .is_protocol = true,                                                                     \
        .refused = true,                                                                         \
        .prefixes = name_##_prefixes,                                                            \
        .open = name_##_refuse,                                                                  \
    }

#endif
