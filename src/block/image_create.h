/* SPDX-License-Identifier: GPL-2.0-or-later */
/* New images by a format's name and qemu-img's options, for the control socket and jobs. */
#ifndef KV_BLOCK_IMAGE_CREATE_H
#define KV_BLOCK_IMAGE_CREATE_H

#include <jansson.h>

#include "base/error.h"

/* options: names as of "-o", with "size". */
int block_image_create(const char *path, const char *format, const json_t *options,
                       struct kv_error *err);

#endif
