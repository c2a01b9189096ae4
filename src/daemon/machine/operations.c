/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be done to a running machine; see machine.h. Each is a command or two of its monitor. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define KILL_GRACE_MS 10000 /* between SIGTERM and SIGKILL */
#define KILL_GRACEFUL_MS 15000
#define RESTART_S 5
#define KILLED_MS 30000 /* what the kernel may need to free a large guest's memory */

/* ------------------------------------------------------------------ what it is */

enum machine_state machine_get_state(struct machine *machine, enum machine_pause *reason)
{
    pthread_mutex_lock(&machine->lock);
    enum machine_state state = machine->state;
    if (reason)
        *reason = machine->pause;
    pthread_mutex_unlock(&machine->lock);
    return state;
}

pid_t machine_get_pid(const struct machine *machine)
{
    return machine->processes[0].pid;
}

const char *machine_get_uuid(const struct machine *machine)
{
    return machine->uuid;
}

const char *machine_get_name(const struct machine *machine)
{
    return machine->name;
}

int machine_get_id(const struct machine *machine)
{
    return machine->id;
}

void *machine_get_opaque(const struct machine *machine)
{
    return machine->opaque;
}

int machine_set_document(struct machine *machine, const char *text, struct kv_error *err)
{
    json_t *value = json_string(text);
    if (!value)
        return api_error(err, VIR_ERR_INVALID_ARG, "the document is no UTF-8");
    pthread_mutex_lock(&machine->lock);
    int rc = machine->dead ? 0 : record_set(&machine->record, "document", value, err);
    if (machine->dead)
        json_decref(value);
    pthread_mutex_unlock(&machine->lock);
    return rc;
}

/* -------------------------------------------------------------------- commands */

static int call(struct machine *machine, const char *command, json_t *arguments,
                struct kv_error *err)
{
    return machine_qmp(machine, command, arguments, NULL, err);
}

int machine_qmp(struct machine *machine, const char *command, json_t *arguments, json_t **out,
                struct kv_error *err)
{
    int rc = machine_check_alive(machine, err);
    if (rc < 0) {
        json_decref(arguments);
        return rc;
    }
    return monitor_call(machine->monitor, command, arguments, out, 0, err);
}

int machine_qmp_text(struct machine *machine, const char *command, char **answer,
                     struct kv_error *err)
{
    json_error_t where;
    json_t *reply = NULL, *request = json_loads(command, JSON_REJECT_DUPLICATES, &where);
    int rc = json_is_object(request)
                 ? machine_check_alive(machine, err)
                 : api_error(err, VIR_ERR_INTERNAL_ERROR, "cannot parse json %s: %s", command,
                             request ? "an object is expected" : where.text);
    if (rc == 0)
        rc = monitor_call_raw(machine->monitor, request, &reply, err);
    if (rc == 0 && !(*answer = json_dumps(reply, JSON_COMPACT)))
        rc = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    json_decref(reply);
    json_decref(request);
    return rc;
}

static void expect_pause(struct machine *machine, enum machine_pause pause)
{
    pthread_mutex_lock(&machine->lock);
    machine->expected_pause = pause;
    pthread_mutex_unlock(&machine->lock);
}

/* A restart under way would let it run again. */
static void wait_for_restart(struct machine *machine)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RESTART_S;
    pthread_mutex_lock(&machine->lock);
    while (machine->restarting && !machine->dead && rc == 0)
        rc = pthread_cond_timedwait(&machine->changed, &machine->lock, &until);
    pthread_mutex_unlock(&machine->lock);
}

int machine_stop(struct machine *machine, struct kv_error *err)
{
    wait_for_restart(machine);
    expect_pause(machine, MACHINE_PAUSE_USER);
    int rc = call(machine, "stop", NULL, err);
    expect_pause(machine, MACHINE_PAUSE_NONE); /* its event came before the answer, if at all */
    return rc;
}

int machine_cont(struct machine *machine, struct kv_error *err)
{
    return call(machine, "cont", NULL, err);
}

int machine_reset(struct machine *machine, struct kv_error *err)
{
    return call(machine, "system_reset", NULL, err);
}

static void restart_now(void *opaque)
{
    machine_begin_restart(opaque);
}

int machine_restart(struct machine *machine, struct kv_error *err)
{
    int rc = machine_check_alive(machine, err);
    if (rc == 0)
        loop_call(&machine->host->loop, restart_now, machine);
    return rc;
}

int machine_inject_nmi(struct machine *machine, struct kv_error *err)
{
    return call(machine, "inject-nmi", NULL, err);
}

int machine_set_link(struct machine *machine, const char *alias, bool up, struct kv_error *err)
{
    return call(machine, "set_link", json_pack("{s:s, s:b}", "name", alias, "up", up), err);
}

int machine_resize_disk(struct machine *machine, const char *alias, uint64_t bytes,
                        struct kv_error *err)
{
    return call(machine, "block_resize",
                json_pack("{s:s, s:I}", "device", alias, "size", (json_int_t)bytes), err);
}

int machine_set_balloon(struct machine *machine, uint64_t bytes, struct kv_error *err)
{
    return call(machine, "balloon", json_pack("{s:I}", "value", (json_int_t)bytes), err);
}

int machine_set_balloon_period(struct machine *machine, unsigned seconds, struct kv_error *err)
{
    pthread_mutex_lock(&machine->lock);
    const char *alias = record_string(&machine->record, "balloon");
    json_t *path = json_sprintf("/machine/peripheral/%s", alias);
    bool has_balloon = *alias;
    pthread_mutex_unlock(&machine->lock);
    if (!has_balloon) {
        json_decref(path);
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "Memory balloon model must be virtio to set the collection period");
    }
    return call(machine, "qom-set",
                json_pack("{s:o, s:s, s:i}", "path", path, "property",
                          "guest-stats-polling-interval", "value", (int)seconds),
                err);
}

/* ------------------------------------------------------------- power and reboot */

/* Kept in the record as well: the guest may be off only after the daemon was restarted. */
static int set_reboot_pending(struct machine *machine, bool pending, struct kv_error *err)
{
    pthread_mutex_lock(&machine->lock);
    machine->reboot_pending = pending;
    int rc = record_set(&machine->record, "reboot-pending", json_boolean(pending), err);
    json_t *options = machine_lifecycle_options(machine->lifecycle);
    pthread_mutex_unlock(&machine->lock);
    if (pending && options)
        json_object_set_new(options, "shutdown", json_string("pause"));
    if (rc < 0) {
        json_decref(options);
        return rc;
    }
    return call(machine, "set-action", options, err);
}

int machine_powerdown(struct machine *machine, struct kv_error *err)
{
    int rc = set_reboot_pending(machine, false, err);
    return rc < 0 ? rc : call(machine, "system_powerdown", NULL, err);
}

int machine_reboot(struct machine *machine, struct kv_error *err)
{
    int rc = set_reboot_pending(machine, true, err);
    return rc < 0 ? rc : call(machine, "system_powerdown", NULL, err);
}

int machine_set_lifecycle_action(struct machine *machine, unsigned type, unsigned action,
                                 struct kv_error *err)
{
    if (type >= MACHINE_LIFECYCLE)
        return api_error(err, VIR_ERR_INVALID_ARG, "lifecycle type %u", type);
    pthread_mutex_lock(&machine->lock);
    machine->lifecycle[type] = action;
    json_t *saved = json_array();
    for (unsigned i = 0; i < MACHINE_LIFECYCLE; i++)
        json_array_append_new(saved, json_integer(machine->lifecycle[i]));
    int rc = record_set(&machine->record, "lifecycle", saved, err);
    json_t *options = machine_lifecycle_options(machine->lifecycle);
    if (machine->reboot_pending)
        json_object_set_new(options, "shutdown", json_string("pause"));
    pthread_mutex_unlock(&machine->lock);
    if (rc < 0) {
        json_decref(options);
        return rc;
    }
    return call(machine, "set-action", options, err);
}

/* ------------------------------------------------------------------------- kill */

static bool wait_for_death(struct machine *machine, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    int rc = 0;
    pthread_mutex_lock(&machine->lock);
    while (!machine->dead && rc == 0)
        rc = pthread_cond_timedwait(&machine->changed, &machine->lock, &until);
    bool dead = machine->dead;
    pthread_mutex_unlock(&machine->lock);
    return dead;
}

int machine_kill(struct machine *machine, bool graceful, struct kv_error *err)
{
    int rc = machine_check_alive(machine, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&machine->lock);
    if (!machine->end_known) {
        machine->end_known = true;
        machine->end = MACHINE_END_DESTROYED;
    }
    pthread_mutex_unlock(&machine->lock);
    process_signal(&machine->processes[0], SIGTERM);
    if (wait_for_death(machine, graceful ? KILL_GRACEFUL_MS : KILL_GRACE_MS))
        return 0;
    if (graceful)
        return api_error(err, VIR_ERR_OPERATION_FAILED,
                         "Failed to terminate process %d with SIGTERM: Device or resource busy",
                         machine->processes[0].pid);
    /* The one in the jail holds the disks; the one outside ends by itself then. */
    process_signal(&machine->processes[1], SIGKILL);
    process_wait(&machine->processes[0], 1000);
    process_signal(&machine->processes[0], SIGKILL);
    if (wait_for_death(machine, KILLED_MS))
        return 0;
    return api_error(err, VIR_ERR_OPERATION_FAILED,
                     "Failed to terminate process %d with SIGKILL: Device or resource busy",
                     machine->processes[0].pid);
}
