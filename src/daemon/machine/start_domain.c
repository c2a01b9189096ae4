/* SPDX-License-Identifier: GPL-2.0-or-later */
/* machine_start(): a domain's document becomes a running machine, and learns what was chosen. */
#include <stdio.h>
#include <string.h>

#include "daemon/machine/machine_internal.h"
#include "daemon/machine/plan.h"
#include "daemon/machine/tune.h"
#include "model/api_error.h"
#include "model/domain.h"

/* The terminals that the monitor made. */
static int tell_paths(struct machine *machine, struct model_domain *domain,
                      struct model_chardev *chardevs, unsigned count, const char *fallback,
                      struct kv_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&machine->lock);
    const json_t *facts = json_object_get(machine->record.json, "chardevs");
    for (unsigned i = 0; rc == 0 && i < count; i++) {
        struct model_chardev *chardev = &chardevs[i];
        char alias[64];
        snprintf(alias, sizeof(alias), "%s%u", fallback, i);
        const json_t *fact =
            json_object_get(facts, chardev->device.alias ? chardev->device.alias : alias);
        const char *path = json_string_value(json_object_get(fact, "path"));
        if (path && (chardev->type == MODEL_CHARDEV_PTY || !chardev->path))
            rc = model_chardev_set_path(domain, chardev, path);
    }
    pthread_mutex_unlock(&machine->lock);
    return rc < 0 ? api_error(err, VIR_ERR_NO_MEMORY, NULL) : 0;
}

static int finish(struct machine *machine, const struct machine_start *start, struct kv_error *err)
{
    struct model_domain *domain = start->domain;
    int rc = tell_paths(machine, domain, domain->serials, domain->serial_count, "serial", err);
    if (rc == 0)
        rc = tell_paths(machine, domain, domain->consoles, domain->console_count, "console", err);
    if (rc == 0)
        rc = tell_paths(machine, domain, domain->channels, domain->channel_count, "channel", err);
    /* The guest did not run yet. */
    for (unsigned i = 0; rc == 0 && i < domain->channel_count; i++)
        if (model_channel_set_state(domain, &domain->channels[i], false) < 0)
            rc = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    const struct model_graphics *graphics = domain->graphics;
    if (rc == 0 && graphics && graphics->password)
        rc = machine_set_password(machine, graphics->password, graphics->expires,
                                  graphics->password_until, err);
    if (rc == 0 && domain->vcpus_fixed < domain->vcpus)
        rc = machine_plug_vcpus(machine, domain, domain->vcpus_fixed, err);
    if (rc == 0)
        rc = machine_tune(machine, domain, err);
    return rc < 0 || start->paused ? rc : machine_cont(machine, err);
}

int machine_start(struct machine **out, struct machine_host *host,
                  const struct machine_start *start, struct kv_error *err)
{
    struct plan plan;
    struct machine *machine;
    int rc = plan_init(&plan, host, start->domain->uuid_text, start->domain->name, start->id,
                       start->event, start->opaque, err);
    if (rc < 0)
        return rc;
    rc = plan_configure(&plan, start, err);
    if (rc < 0) {
        plan_abort(&plan);
        return rc;
    }
    rc = machine_launch(&machine, &plan, true, err);
    if (rc < 0)
        return rc;
    rc = finish(machine, start, err);
    if (rc < 0) {
        machine_kill(machine, false, NULL);
        machine_free(machine);
        return rc;
    }
    *out = machine;
    return 0;
}
