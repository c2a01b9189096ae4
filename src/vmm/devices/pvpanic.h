/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The port through which a guest says that it panicked. */
#ifndef KV_VMM_DEVICES_PVPANIC_H
#define KV_VMM_DEVICES_PVPANIC_H

#include "base/error.h"

struct machine;

int pvpanic_create(struct machine *machine, struct kv_error *err);

#endif
