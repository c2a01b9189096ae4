/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Making new images: what create, convert, dd and measure share. */
#ifndef KV_IMG_CREATE_H
#define KV_IMG_CREATE_H

#include "img/img.h"

/* All return 0, or -errno after a message that begins with prefix (NULL: none). */

/* A format that images can be made of. */
int img_find_creatable(const struct block_driver **out, const char *name, const char *prefix);
/* -b and -F; either may be NULL. */
int img_set_backing_options(struct img_create_options *options, const char *backing,
                            const char *format, const char *prefix);

bool img_knows_option(const struct block_driver *driver, const char *name);

/* Makes the image. 0 or -errno with err filled. */
int img_create_image(const struct img_create_options *options, const char *path,
                     struct kv_error *err);

#endif
