/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The machine's commands and events: one table a subject (cmd_*.c), gathered in commands.c. */
#ifndef KV_VMM_CONTROL_COMMANDS_H
#define KV_VMM_CONTROL_COMMANDS_H

#include "vmm/control/qmp.h"

extern const struct qmp_command *const qmp_command_tables[]; /* NULL at the end */
extern const struct qmp_event qmp_events[];

extern const struct qmp_command qmp_monitor_commands[], qmp_run_commands[], qmp_cpu_commands[],
    qmp_memory_commands[], qmp_pci_commands[], qmp_net_commands[], qmp_block_commands[],
    qmp_chardev_commands[], qmp_balloon_commands[], qmp_fd_commands[], qmp_node_commands[],
    qmp_transaction_commands[], qmp_snapshot_commands[], qmp_bitmap_commands[],
    qmp_export_commands[], qmp_job_commands[], qmp_display_commands[], qmp_input_commands[],
    qmp_medium_commands[], qmp_device_commands[];

/* All tables as one document, docs/qmp.json. The caller owns it. */
json_t *qmp_describe(void);

#endif
