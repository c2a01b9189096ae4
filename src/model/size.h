/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sizes with libvirt's units. */
#ifndef KV_MODEL_SIZE_H
#define KV_MODEL_SIZE_H

#include <stdint.h>

#include "base/error.h"

/* "k", "KiB" (1024), "KB" (1000), ... "E", "bytes", "" and NULL (1), in any case.
 * VIR_ERR_INVALID_ARG, VIR_ERR_OVERFLOW. */
int size_scale(const char *unit, uint64_t value, uint64_t *bytes, struct kv_error *err);

#endif
