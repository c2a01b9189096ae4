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

#endif
