/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The switch's control socket: the QMP server (vmm/control/qmp.h) with commands of our own. */
#ifndef KV_SWITCH_CONTROL_COMMANDS_H
#define KV_SWITCH_CONTROL_COMMANDS_H

#include "switch/control/vswitch.h"
#include "vmm/control/qmp.h"

/* Tables for qmp_server_init(); its machine is the struct vswitch. */
extern const struct qmp_command *const switch_command_tables[];
extern const struct qmp_event switch_events[];

#endif
