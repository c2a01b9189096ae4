/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which commands and events there are. */
#include "vmm/control/commands.h"

#include <stddef.h>

const struct qmp_command *const qmp_command_tables[] = {
    qmp_monitor_commands,  qmp_fd_commands,      qmp_run_commands,
    qmp_cpu_commands,      qmp_memory_commands,  qmp_pci_commands,
    qmp_block_commands,    qmp_medium_commands,  qmp_net_commands,
    qmp_chardev_commands,  qmp_balloon_commands, qmp_display_commands,
    qmp_input_commands,    qmp_node_commands,    qmp_transaction_commands,
    qmp_snapshot_commands, qmp_bitmap_commands,  qmp_export_commands,
    qmp_job_commands,      qmp_device_commands,  NULL,
};

const struct qmp_event qmp_events[] = {
    {"BALLOON_CHANGE", "the guest changed the balloon's size", .interval_ms = 1000},
    {"BLOCK_EXPORT_DELETED", "an export is gone"},
    {"BLOCK_IO_ERROR", "a disk request failed", .interval_ms = 100, .key = "device"},
    {"BLOCK_JOB_CANCELLED", "a job was ended"},
    {"BLOCK_JOB_COMPLETED", "a job is over; with error: it failed"},
    {"BLOCK_JOB_ERROR", "a job's I/O failed"},
    {"BLOCK_JOB_PENDING", "a job waits for block-job-finalize"},
    {"BLOCK_JOB_READY", "a job waits for block-job-complete"},
    {"DEVICE_DELETED", "a device left the machine"},
    {"DEVICE_TRAY_MOVED", "a CD-ROM's tray was opened or closed"},
    {"DEVICE_UNPLUG_GUEST_ERROR", "the guest does not let a device go"},
    {"GUEST_CRASHLOADED", "the guest panicked and its crash kernel takes over",
     .interval_ms = 1000},
    {"GUEST_PANICKED", "the guest panicked", .interval_ms = 1000},
    {"JOB_STATUS_CHANGE", "a job has another status"},
    {"KVASIR_INTERNAL_ERROR", "a vCPU cannot go on; its registers and instruction bytes"},
    {"NETDEV_STREAM_DISCONNECTED",
     "the program at the other end of a network device's stream is gone"},
    {"POWERDOWN", "the power button was pressed"},
    {"RESET", "the machine was reset", .interval_ms = 100},
    {"RESUME", "the machine runs"},
    {"RTC_CHANGE", "the guest set its clock", .interval_ms = 1000},
    {"SHUTDOWN", "the guest is off or the process ends"},
    {"STOP", "the machine stands still"},
    {"VNC_CONNECTED", "a viewer of the screen connected"},
    {"VNC_DISCONNECTED", "a viewer of the screen is gone"},
    {"VNC_INITIALIZED", "a viewer sees the screen"},
    {"VSERPORT_CHANGE", "the guest opened or closed a port of the console device",
     .interval_ms = 1000, .key = "id"},
    {"WATCHDOG", "the guest did not tell its watchdog that it lives", .interval_ms = 1000},
    {NULL},
};

json_t *qmp_describe(void)
{
    json_t *commands = json_array(), *events = json_array();
    for (const struct qmp_command *const *table = qmp_command_tables; *table; table++) {
        for (const struct qmp_command *command = *table; command->name; command++)
            json_array_append_new(commands, qmp_describe_command(command));
    }
    for (const struct qmp_event *event = qmp_events; event->name; event++)
        json_array_append_new(events,
                              json_pack("{s:s, s:s, s:i}", "name", event->name, "help", event->help,
                                        "interval-ms", (int)event->interval_ms));
    return json_pack("{s:o, s:o}", "commands", commands, "events", events);
}
