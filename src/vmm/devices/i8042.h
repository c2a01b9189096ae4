/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keyboard controller, and system control port A. */
#ifndef KV_VMM_DEVICES_I8042_H
#define KV_VMM_DEVICES_I8042_H

#include <stdbool.h>

#include "base/error.h"

struct machine;

int i8042_create(struct machine *machine, struct kv_error *err);

/* Gives it a keyboard and a mouse, for the viewers of the machine's screen. Before the machine
 * runs. */
void i8042_plug(struct machine *machine);
/* Without a keyboard its status reads as if there were no controller; resets go on working. UEFI
 * asks by that alone, and else waits seconds for a keyboard's answers. Before the machine runs. */
void i8042_hide(struct machine *machine);
bool i8042_is_plugged(const struct machine *machine);

#endif
