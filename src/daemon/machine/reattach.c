/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Takes over a monitor that another daemon started: from its record, over its control socket. */
#include <errno.h>
#include <string.h>

#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define CONNECT_TIMEOUT_MS 10000

static void restore_facts(struct machine *machine)
{
    const json_t *lifecycle = json_object_get(machine->record.json, "lifecycle");
    for (unsigned i = 0; i < MACHINE_LIFECYCLE && json_is_array(lifecycle); i++)
        machine->lifecycle[i] = (unsigned)json_integer_value(json_array_get(lifecycle, i));
    machine->reboot_pending = json_is_true(json_object_get(machine->record.json, "reboot-pending"));
    machine->restarting = json_is_true(json_object_get(machine->record.json, "restarting"));
    machine->cid = (unsigned)json_integer_value(json_object_get(machine->record.json, "cid"));
    machine->log_start = json_integer_value(json_object_get(machine->record.json, "log-start"));
    machine_agent_restore(machine);
}

static int take_over(struct machine *machine, struct kv_error *err)
{
    struct monitor_handler handler = machine_handler(machine);
    json_t *status;
    restore_facts(machine);
    process_open_child(&machine->processes[1], &machine->processes[0]);
    int rc = monitor_connect(&machine->monitor, machine->control_path, &machine->processes[0],
                             CONNECT_TIMEOUT_MS, &machine->host->loop, &handler, err);
    if (rc == 0) {
        machine_ask_channels(machine);
        rc = monitor_call(machine->monitor, "query-status", NULL, &status, 0, err);
    }
    if (rc < 0)
        return rc;
    const char *run_state = json_string_value(json_object_get(status, "status"));
    machine_catch_up(machine, run_state ? run_state : "");
    json_decref(status);
    return machine_watch(machine, err);
}

int machine_reattach(struct machine **out, struct machine_host *host, const char *uuid,
                     machine_event_fn *event, void *opaque, struct kv_error *err)
{
    struct record record;
    struct process process = PROCESS_INIT;
    struct machine *machine;
    int rc = record_load(&record, host->run_dir, uuid, err);
    if (rc < 0)
        return rc;
    if (record_open_process(json_object_get(record.json, "process"), &process) < 0) {
        record_undo_all(&record);
        record_free(&record);
        api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running");
        return -ESRCH;
    }
    rc = machine_new(&machine, host, uuid, record_string(&record, "name"),
                     (int)json_integer_value(json_object_get(record.json, "id")), event, opaque,
                     err);
    if (rc < 0) {
        process_close(&process);
        record_free(&record);
        return rc;
    }
    machine->record = record;
    machine->processes[0] = process;
    rc = take_over(machine, err);
    if (rc < 0) {
        /* Gone meanwhile: nothing of it stays. Else it is left alone, for another try. */
        machine_unwatch(machine);
        if (process_wait(&machine->processes[0], 1000)) {
            record_undo_all(&machine->record);
            rc = -ESRCH;
        }
        machine_delete(machine);
        return rc;
    }
    *out = machine;
    return 0;
}
