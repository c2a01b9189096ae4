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

/* `BLOCK_ABSENT(iscsi, "iscsi:")`: the variable's name and the prefixes */
#define BLOCK_ABSENT(name_, ...)                                                         \
    static int refuse(struct block_node *node, const struct block_open_options *options, \
                      struct kv_error *err)                                              \
    {                                                                                    \
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,                                  \
                            "'%s': this program was built without " #name_               \
                            " (meson setup -D" #name_ "=enabled)",                       \
                            node->name);                                                 \
    }                                                                                    \
    static const char *const prefixes[] = {__VA_ARGS__, NULL};                           \
    const struct block_driver block_##name_##_driver = {                                 \
        .name = #name_,                                                                  \
        .is_protocol = true,                                                             \
        .refused = true,                                                                 \
        .prefixes = prefixes,                                                            \
        .open = refuse,                                                                  \
    }

#endif
