/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The variables of a machine's UEFI firmware: a file, made at the first start. */
#ifndef KV_DAEMON_MACHINE_NVRAM_H
#define KV_DAEMON_MACHINE_NVRAM_H

#include <stdbool.h>

#include "base/error.h"

struct model_domain;

/* Opens the domain's file for reading and writing, after copying its template when it is missing
 * or reset says so. The descriptor, or -errno with err filled. */
int nvram_open(const struct model_domain *domain, bool reset, struct kv_error *err);

/* The variables of a machine that is being renamed: begin gives the file its new name beside the
 * old one, end removes one of the two. A file that has the new name already is somebody else's:
 * VIR_ERR_OPERATION_INVALID. Where there are no variables yet, nothing happens. */
int nvram_rename_begin(const char *from, const char *to, struct kv_error *err);
void nvram_rename_end(const char *from, const char *to, bool renamed);

#endif
