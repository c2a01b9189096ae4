/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Devices that come to a running domain and leave it; see plug.h. A guest that
 * gives a device back after its time, or by itself, has it taken out of the
 * live document by a worker, in its turn.
 */
#include "daemon/domain/plug.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "daemon/driver.h"
#include "daemon/storage/storage.h"
#include "model/xml.h"
#include "rpc/server.h"

static bool comes_and_goes(const struct model_device *device)
{
    return device->kind == MODEL_NIC || device->kind == MODEL_RNG ||
           (device->kind == MODEL_DISK &&
            ((const struct model_disk *)device)->bus == MODEL_DISK_VIRTIO);
}

/* In libvirt's words. */
static int check_kind(const struct model_device *device, bool comes, struct kv_error *err)
{
    const char *bus =
        device->kind == MODEL_DISK ? xml_child_attr(device->node, "target", "bus") : NULL;
    if (comes_and_goes(device))
        return 0;
    if (bus && comes)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "disk bus '%s' cannot be hotplugged.",
                         bus);
    if (bus)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                         "This type of disk cannot be hot unplugged");
    return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "live %s of device '%s' is not supported",
                     comes ? "attach" : "detach", xml_name(device->node));
}

static void begin(struct domain_plug *plug, struct model_domain *model, const char *alias)
{
    plug->model = model;
    snprintf(plug->alias, sizeof(plug->alias), "%s", alias ? alias : "");
}

int plug_into_document(struct model_domain *model, struct domain_plug *plug, const char *xml,
                       struct kv_error *err)
{
    int ret = model_domain_attach(model, xml, strlen(xml), &plug->device, err);
    if (ret == 0)
        ret = check_kind(plug->device, true, err);
    if (ret == 0)
        begin(plug, model, plug->device->alias);
    return ret;
}

int plug_into_machine(struct machine *machine, struct domain_plug *plug, struct kv_error *err)
{
    const struct machine_plug in = {
        .domain = plug->model, .device = plug->device, .volume = storage_find_volume};
    int ret = machine_plug(machine, &in, err);
    if (ret == 0)
        plug->event = VIR_DOMAIN_EVENT_ID_DEVICE_ADDED;
    return ret;
}

int unplug_from_document(struct model_domain *model, struct domain_plug *plug,
                         struct model_device *device, struct kv_error *err)
{
    int ret = check_kind(device, false, err);
    if (ret)
        return ret;
    begin(plug, model, device->alias);
    return model_domain_detach(model, device, err);
}

int unplug_from_machine(struct machine *machine, struct domain_plug *plug, struct kv_error *err)
{
    bool gone = false;
    int ret = machine_unplug(machine, plug->alias, &gone, err);
    if (ret)
        return ret;
    if (gone)
        plug->event = VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED;
    return gone ? 0 : EDIT_LATER;
}

/* ------------------------------------------------------------ late departures */

struct departure {
    struct domain_live *live; /* a reference */
    char alias[64];
};

/* The last one goes first, so there is only one that can have left. */
static bool is_last_vcpu(const struct model_domain *model, const char *alias)
{
    unsigned index;
    return sscanf(alias, "vcpu%u", &index) == 1 && index + 1 == model->vcpus;
}

static int leave_document(struct model_domain *model, bool live, void *opaque, struct kv_error *err)
{
    const struct departure *departure = opaque;
    if (is_last_vcpu(model, departure->alias))
        return model_domain_set_vcpus(model, model->vcpus_max, model->vcpus - 1, model->vcpus_fixed,
                                      err);
    struct model_device *device = model_domain_find_alias(model, departure->alias);
    if (!device)
        return api_error(err, VIR_ERR_DEVICE_MISSING, "no device found with alias %s",
                         departure->alias);
    return model_domain_detach(model, device, err);
}

static int leave_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct departure *departure = opaque;
    machine_forget_device(machine, departure->alias);
    return 0;
}

/* A device that the document does not have came and went within one call. */
static void settle_departure(void *opaque)
{
    struct departure *departure = opaque;
    struct domain_live *live = departure->live;
    const struct edit edit = {
        .document = leave_document, .machine = leave_machine, .opaque = departure};
    struct kv_error err = {0};
    int ret = domain_job_begin(live->domain, "device-removed", &err);
    if (ret == 0) {
        ret = live->machine ? domain_edit_live(live, &edit, &err) : -EINVAL;
        if (ret == 0)
            domain_event_device(live->domains, live->domain, VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
                                departure->alias);
        domain_job_end(live->domain);
    } else {
        log_warning("domain '%s': device '%s' is gone and stays in its document: %s",
                    live->domain->name, departure->alias, err.message);
    }
    domain_live_put(live);
    free(departure);
}

void domain_device_left(struct domain_live *live, const char *alias)
{
    struct departure *departure = calloc(1, sizeof(*departure));
    if (departure) {
        departure->live = live;
        snprintf(departure->alias, sizeof(departure->alias), "%s", alias);
        atomic_fetch_add(&live->refs, 1);
        if (rpc_server_run_later(live->domains->daemon->server, settle_departure, departure) == 0)
            return;
        atomic_fetch_sub(&live->refs, 1); /* not the last: the machine has one */
        free(departure);
    }
    log_warning("domain '%s': device '%s' is gone and stays in its document: out of memory",
                live->domain->name, alias);
}

/* The devices of a document that a machine turned out to have. */
struct presence {
    const struct model_domain *document;
    bool *there; /* by the device's number */
};

static void note_presence(void *opaque, const char *alias)
{
    struct presence *presence = opaque;
    for (unsigned i = 0; i < presence->document->device_count; i++) {
        const char *own = presence->document->devices[i]->alias;
        presence->there[i] |= own && strcmp(own, alias) == 0;
    }
}

void domain_look_for_departed(struct domain_live *live)
{
    struct kv_error err = {0};
    pthread_mutex_lock(&live->domain->lock);
    struct model_domain *document = model_domain_copy(live->document);
    pthread_mutex_unlock(&live->domain->lock);
    bool *there = document ? calloc(document->device_count + 1, sizeof(*there)) : NULL;
    struct presence presence = {.document = document, .there = there};
    if (there && machine_each_device(live->machine, note_presence, &presence, &err) == 0) {
        for (unsigned i = 0; i < document->device_count; i++) {
            const struct model_device *device = document->devices[i];
            if (comes_and_goes(device) && device->alias && !there[i])
                domain_device_left(live, device->alias);
        }
    }
    free(there);
    model_domain_free(document);
}
