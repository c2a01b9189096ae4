/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboard controller without keyboard and mouse, and system control port A. */
#ifndef KV_VMM_DEVICES_I8042_H
#define KV_VMM_DEVICES_I8042_H

#include "base/error.h"

struct machine;

int i8042_create(struct machine *machine, struct kv_error *err);

#endif
