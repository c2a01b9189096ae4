/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that come to a running machine and leave it; see machine.h. A guest
 * that is asked for a device may answer late or never, so its answer is waited
 * for a moment and afterwards told as an event.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/util.h"
#include "daemon/machine/config.h"
#include "daemon/machine/hand_over.h"
#include "daemon/machine/machine_internal.h"
#include "daemon/machine/tune.h"
#include "model/api_error.h"

#define UNPLUG_WAIT_S 5 /* libvirt's */
#define PCI_LPC_SLOT 31

static const char *const noted_kinds[] = {"disks", "nics"};

/* What was made at the host's end, and what the record knows of the device. */
void machine_forget_device(struct machine *machine, const char *alias)
{
    pthread_mutex_lock(&machine->lock);
    json_t *undo = record_undo_of(&machine->record, alias);
    pthread_mutex_unlock(&machine->lock);
    record_run_undo(undo);
    pthread_mutex_lock(&machine->lock);
    for (unsigned i = 0; i < ARRAY_SIZE(noted_kinds); i++)
        json_object_del(json_object_get(machine->record.json, noted_kinds[i]), alias);
    if (!machine->dead)
        record_drop_undo(&machine->record, undo);
    pthread_mutex_unlock(&machine->lock);
    json_decref(undo);
}

static int note(struct machine *machine, const struct plan *plan, struct kv_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&machine->lock);
    for (unsigned i = 0; i < ARRAY_SIZE(noted_kinds); i++) {
        const char *kind = noted_kinds[i];
        json_t *facts = json_object_get(machine->record.json, kind);
        if (!facts) {
            facts = json_object();
            json_object_set_new(machine->record.json, kind, facts);
        }
        json_object_update(facts, json_object_get(plan->record.json, kind));
    }
    if (!machine->dead)
        rc = record_save(&machine->record, err);
    pthread_mutex_unlock(&machine->lock);
    return rc;
}

int machine_each_device(struct machine *machine, void (*fn)(void *opaque, const char *alias),
                        void *opaque, struct kv_error *err)
{
    json_t *buses, *function;
    size_t i;
    int rc = machine_qmp(machine, "query-pci", NULL, &buses, err);
    if (rc < 0)
        return rc;
    json_array_foreach (json_object_get(json_array_get(buses, 0), "devices"), i, function) {
        const char *alias = json_string_value(json_object_get(function, "qdev_id"));
        if (alias)
            fn(opaque, alias);
    }
    json_decref(buses);
    return 0;
}

/* Devices that are only written onto other buses are where the start put them, which the document
 * does not tell. */
static int choose_slot(struct machine *machine, struct model_device *device, struct kv_error *err)
{
    json_t *buses, *function;
    uint32_t taken = 1u << 0 | 1u << PCI_LPC_SLOT;
    size_t i;
    int rc = machine_qmp(machine, "query-pci", NULL, &buses, err);
    if (rc < 0)
        return rc;
    json_array_foreach (json_object_get(json_array_get(buses, 0), "devices"), i, function)
        taken |= 1u << (json_integer_value(json_object_get(function, "slot")) & 31);
    json_decref(buses);
    if (taken == UINT32_MAX)
        return api_error(err, VIR_ERR_INTERNAL_ERROR, "No more available PCI slots");
    if (device->slot > 0 && !(taken & 1u << device->slot))
        return 0;
    unsigned slot = (unsigned)__builtin_ctz(~taken);
    return model_device_set_slot(device, slot) < 0 ? api_error(err, VIR_ERR_NO_MEMORY, NULL) : 0;
}

int machine_plug(struct machine *machine, const struct machine_plug *plug, struct kv_error *err)
{
    const struct machine_start start = {.domain = plug->domain, .volume = plug->volume};
    const char *alias = plug->device->alias;
    struct plan plan;
    int rc = hand_over_begin(&plan, machine, alias, err);
    if (rc < 0)
        return rc;
    rc = choose_slot(machine, plug->device, err);
    if (rc == 0)
        rc = config_add_device(&plan, &start, plug->device, err);
    if (rc == 0)
        rc = hand_over_device(&plan, err);
    if (rc == 0) {
        rc = note(machine, &plan, err);
        if (rc == 0 && plug->device->kind == MODEL_DISK)
            rc = machine_throttle_disk(machine, (const struct model_disk *)plug->device, err);
        if (rc < 0) /* the guest has hardly seen it */
            machine_qmp(machine, "device_del", json_pack("{s:s, s:b}", "id", alias, "force", true),
                        NULL, NULL);
    }
    plan_free(&plan);
    if (rc < 0)
        machine_forget_device(machine, alias);
    return rc;
}

/* Waits until the guest answered. With the lock held. */
static enum machine_unplug wait_for_answer(struct machine *machine)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += UNPLUG_WAIT_S;
    while (machine->unplug == MACHINE_UNPLUG_ASKED && !machine->dead && rc == 0)
        rc = pthread_cond_timedwait(&machine->changed, &machine->lock, &until);
    return machine->unplug;
}

static void expect(struct machine *machine, const char *alias)
{
    pthread_mutex_lock(&machine->lock);
    machine->unplug = MACHINE_UNPLUG_ASKED;
    machine->unplug_alias = alias;
    pthread_mutex_unlock(&machine->lock);
}

int machine_ask_back(struct machine *machine, const struct machine_request *request,
                     enum machine_unplug *how, struct kv_error *err)
{
    expect(machine, request->alias);
    int rc = machine_qmp(machine, request->command, request->arguments, NULL, err);
    pthread_mutex_lock(&machine->lock);
    *how = rc == 0 ? wait_for_answer(machine) : MACHINE_UNPLUG_ASKED;
    machine->unplug_alias = NULL;
    pthread_mutex_unlock(&machine->lock);
    return rc < 0 ? rc : machine_check_alive(machine, err);
}

int machine_unplug(struct machine *machine, const char *alias, bool *gone, struct kv_error *err)
{
    const struct machine_request request = {
        .command = "device_del", .arguments = json_pack("{s:s}", "id", alias), .alias = alias};
    enum machine_unplug how;
    int rc = machine_ask_back(machine, &request, &how, err);
    if (rc == 0 && how == MACHINE_UNPLUG_REFUSED)
        rc = api_error(err, VIR_ERR_OPERATION_FAILED, "unplug of device was rejected by the guest");
    *gone = rc == 0 && how == MACHINE_UNPLUG_GONE;
    if (*gone)
        machine_forget_device(machine, alias);
    return rc;
}

bool machine_note_unplug(struct machine *machine, const char *alias, enum machine_unplug how)
{
    pthread_mutex_lock(&machine->lock);
    bool waited = machine->unplug_alias && strcmp(machine->unplug_alias, alias) == 0;
    if (waited) {
        machine->unplug = how;
        pthread_cond_broadcast(&machine->changed);
    }
    pthread_mutex_unlock(&machine->lock);
    return waited;
}
