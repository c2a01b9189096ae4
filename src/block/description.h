/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Descriptions of images, as QEMU's blockdev options: an object with "driver",
 * "node-name", "read-only", "discard" (ignore, unmap), "cache" ({"direct",
 * "no-flush"}), "file" and "backing" (objects again), "filename" for files, and
 * what is special to a driver. "file.filename" stands for a member of a member.
 */
#ifndef KV_BLOCK_DESCRIPTION_H
#define KV_BLOCK_DESCRIPTION_H

#include "block/driver.h"

/* The text behind "json:". *out: new reference, members in members. */
int description_parse(json_t **out, const char *text, struct kv_error *err);
/* "driver=qcow2,file.filename=disk.qcow2" (",," for a comma). All values are texts. *out: new
 * reference. */
int description_from_options(json_t **out, const char *text, struct kv_error *err);

/* Refuses, by name, what neither all drivers nor this one knows, and values of the wrong type. */
int description_check(const json_t *description, const struct block_driver *driver,
                      struct kv_error *err);
/* Takes over what descriptions of all drivers have in common. */
int description_apply(const json_t *description, struct block_open_options *options,
                      struct kv_error *err);

/* Members at the path a.b (NULL: not given), and of a checked description their values. */
const json_t *description_member(const json_t *description, const char *name);
const char *description_text(const json_t *description, const char *name); /* NULL: not given */
/* False: not given, *out is left as it is. */
bool description_number(const json_t *description, const char *name, uint64_t *out);
bool description_bool(const json_t *description, const char *name, bool *out);

#endif
