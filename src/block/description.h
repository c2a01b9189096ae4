/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptions of images, as QEMU's blockdev options: an object with "driver",
 * "node-name", "read-only", "discard" (ignore, unmap), "cache" ({"direct",
 * "no-flush"}), "file" and "backing" (objects again), "filename" for files, and
 * what is special to a driver. "file.filename" stands for a member of a member.
 */
#ifndef KV_BLOCK_DESCRIPTION_H
#define KV_BLOCK_DESCRIPTION_H

#include "block/block.h"

/* The text behind "json:". *out: new reference, members in members. */
int description_parse(json_t **out, const char *text, struct kv_error *err);
/* "driver=qcow2,file.filename=disk.qcow2" (",," for a comma). *out: new reference. */
int description_from_options(json_t **out, const char *text, struct kv_error *err);
/* Takes over what descriptions of all drivers have in common. */
int description_apply(const json_t *description, struct block_open_options *options,
                      struct kv_error *err);

#endif
