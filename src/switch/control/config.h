/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The configuration as commands have made it, kept from what vswitch_tell() is told: what --config
 * would have to say so that the switch becomes what it is. For the control thread.
 */
#ifndef KV_SWITCH_CONTROL_CONFIG_H
#define KV_SWITCH_CONTROL_CONFIG_H

#include "switch/control/vswitch.h"

/* A change that was carried out. config: an object, empty at first. */
void config_note(json_t *config, enum vswitch_change change, const json_t *object);

/* As --config's file has it; a new reference. */
json_t *config_describe(const json_t *config);
/* Writes that file: whoever reads it finds the old contents or the new ones, also when the host
 * stops. -errno with err. */
int config_save(const json_t *config, const char *file, struct kv_error *err);

#endif
