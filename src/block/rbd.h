/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a Ceph image is: rbd_address.c reads it, rbd.c is the driver. */
#ifndef KV_BLOCK_RBD_H
#define KV_BLOCK_RBD_H

#include "block/driver.h"

#define RBD_SETTINGS_MAX 32

struct rbd_address {
    char *pool, *namespace, *image, *snapshot; /* NULL: none */
    char *user, *conf;                         /* NULL: the library's */
    unsigned setting_count;
    struct {
        char *name, *value; /* of the library's configuration; values are wiped when freed */
    } settings[RBD_SETTINGS_MAX];
};

extern const struct block_key rbd_keys[];

/* "rbd:pool[/namespace]/image[@snapshot][:option=value...]" with backslashes before what is meant
 * as it is, or a description. The address is emptied first; free it either way. */
int rbd_address_parse(struct rbd_address *address, const struct block_open_options *options,
                      struct kv_error *err);
void rbd_address_free(struct rbd_address *address);

#endif
