/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Platform devices that every machine has. */
#ifndef KV_VMM_DEVICES_PLATFORM_H
#define KV_VMM_DEVICES_PLATFORM_H

#include "base/error.h"

struct machine;

/* Creates RTC, i8042, power management, reset and panic ports, VM generation ID, and puts them into
 * the machine's list. Before the configured devices. */
int platform_create(struct machine *machine, struct kv_error *err);

#endif
