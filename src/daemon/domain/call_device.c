/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that attach, detach and update devices, of definitions and of what runs: there disks,
 * interfaces and random numbers come and go (plug.c), CD-ROMs get other media, interfaces another
 * state of their link, and the screen another password. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/domain/edit.h"
#include "daemon/domain/plug.h"
#include "daemon/storage/storage.h"
#include "model/xml.h"

/* ------------------------------------------------------------------- screen */

static bool same(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

/* What a viewer is connected by stays; what was chosen at the start need not be said. */
static int check_graphics(const struct model_graphics *was, const struct model_graphics *is,
                          struct kv_error *err)
{
    const char *what = NULL;
    if (was->autoport != is->autoport || (is->port && was->port != is->port) ||
        was->has_websocket != is->has_websocket ||
        (is->websocket && was->websocket != is->websocket))
        what = "port settings";
    if (was->listen != is->listen || (is->address && !same(was->address, is->address)) ||
        (is->socket && !same(was->socket, is->socket)))
        what = "listen address setting";
    if (!same(was->share_policy, is->share_policy))
        what = "share policy";
    if (was->password && !is->password)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                         "the password of a running machine's screen can be changed, not taken "
                         "away");
    return what ? api_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "cannot change %s on vnc graphics",
                            what)
                : 0;
}

/* model is a copy: was has what the machine uses. */
static int update_graphics(struct model_domain *model, const struct model_domain *was,
                           struct kv_error *err)
{
    int ret = check_graphics(was->graphics, model->graphics, err);
    if (ret == 0 && was->graphics->listen == MODEL_LISTEN_ADDRESS &&
        model_graphics_set_port(model, was->graphics->port, was->graphics->address) < 0)
        ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (ret == 0 && was->graphics->has_websocket &&
        model_graphics_set_websocket(model, was->graphics->websocket) < 0)
        ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (ret == 0 && was->graphics->listen == MODEL_LISTEN_SOCKET &&
        model_graphics_set_socket(model, was->graphics->socket) < 0)
        ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return ret;
}

/* ---------------------------------------------------------- attach, update */

struct device_change {
    const char *xml;
    bool attach, force;
    struct domain_plug plug;
    /* Of the changed live document: what the machine is to have. */
    const struct model_nic *nic;   /* with another link */
    const struct model_disk *disk; /* with another medium */
    const struct model_graphics *graphics;
};

/* model is a copy. */
static int update_live(struct model_domain *model, struct device_change *change,
                       struct kv_error *err)
{
    struct model_device *device;
    struct model_domain *was = model_domain_copy(model);
    if (!was)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int ret = model_domain_update(model, change->xml, strlen(change->xml), &device, err);
    if (ret == 0 && device->kind == MODEL_GRAPHICS) {
        ret = update_graphics(model, was, err);
        change->graphics = model->graphics;
    } else if (ret == 0 && device->kind == MODEL_NIC) {
        change->nic = (struct model_nic *)device;
        ret = model_nic_check_live(model, was, (struct model_nic *)device, err);
    } else if (ret == 0) {
        ret = api_error(err, VIR_ERR_OPERATION_UNSUPPORTED,
                        "live update of device '%s' is not supported", xml_name(device->node));
    }
    model_domain_free(was);
    return ret;
}

static int put_in_document(struct model_domain *model, bool live, void *opaque,
                           struct kv_error *err)
{
    struct device_change *change = opaque;
    struct model_device *device;
    struct model_disk *disk;
    size_t len = strlen(change->xml);
    bool other_medium = false;
    if (!live && change->attach)
        return model_domain_attach(model, change->xml, len, &device, err);
    if (!live)
        return model_domain_update(model, change->xml, len, &device, err);
    int ret = model_domain_change_medium(model, change->xml, len, change->attach, &disk,
                                         &other_medium, err);
    if (ret == -ENOTBLK)
        return change->attach ? plug_into_document(model, &change->plug, change->xml, err)
                              : update_live(model, change, err);
    change->disk = other_medium ? disk : NULL;
    return ret;
}

static int put_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    struct device_change *change = opaque;
    const struct model_graphics *graphics = change->graphics;
    const struct machine_medium medium = {
        .disk = change->disk, .force = change->force, .volume = storage_find_volume};
    if (change->plug.device)
        return plug_into_machine(machine, &change->plug, err);
    if (change->disk)
        return machine_change_medium(machine, &medium, err);
    if (change->nic)
        return machine_set_link(machine, change->nic->device.alias, !change->nic->link_down, err);
    return graphics && graphics->password
               ? machine_set_password(machine, graphics->password, graphics->expires,
                                      graphics->password_until, err)
               : 0;
}

static int put(struct rpc_call *call, const wire_domain *dom, const char *xml, unsigned flags,
               bool attach, struct kv_error *err)
{
    cleanup_free char *complete = NULL;
    int ret = attach ? model_device_complete(xml, strlen(xml), &complete, err) : 0;
    if (ret)
        return ret;
    struct device_change change = {.xml = complete ? complete : xml,
                                   .attach = attach,
                                   .force = flags & VIR_DOMAIN_DEVICE_MODIFY_FORCE};
    const struct edit edit = {.document = put_in_document,
                              .machine = put_in_machine,
                              .opaque = &change,
                              .plug = &change.plug};
    return call_edit(call, dom, flags & ~(unsigned)VIR_DOMAIN_DEVICE_MODIFY_FORCE, &edit, err);
}

/* ------------------------------------------------------------------- others */

struct detaching {
    const char *xml, *alias; /* one of them */
    struct domain_plug plug;
};

static int detach_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    struct detaching *detaching = opaque;
    const char *xml = detaching->xml, *alias = detaching->alias;
    struct model_device *device = alias ? model_domain_find_alias(model, alias) : NULL;
    if (alias && !device)
        return api_error(err, VIR_ERR_DEVICE_MISSING, "no device found with alias %s", alias);
    int ret = xml ? model_domain_find(model, xml, strlen(xml), &device, err) : 0;
    if (ret)
        return ret;
    return live ? unplug_from_document(model, &detaching->plug, device, err)
                : model_domain_detach(model, device, err);
}

static int detach_from_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    struct detaching *detaching = opaque;
    return unplug_from_machine(machine, &detaching->plug, err);
}

static int take(struct rpc_call *call, const wire_domain *dom, const char *xml, const char *alias,
                unsigned flags, struct kv_error *err)
{
    struct detaching detaching = {.xml = xml, .alias = alias};
    const struct edit edit = {.document = detach_in_document,
                              .machine = detach_from_machine,
                              .opaque = &detaching,
                              .plug = &detaching.plug};
    return call_edit(call, dom, flags, &edit, err);
}

#define AFFECT (VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG)

CALL(attach)
{
    const REMOTE_ARGS(DOMAIN_ATTACH_DEVICE) *in = args;
    return put(call, &in->dom, in->xml, VIR_DOMAIN_AFFECT_LIVE, true, err);
}

CALL(detach)
{
    const REMOTE_ARGS(DOMAIN_DETACH_DEVICE) *in = args;
    return take(call, &in->dom, in->xml, NULL, VIR_DOMAIN_AFFECT_LIVE, err);
}

CALL(attach_flags)
{
    const REMOTE_ARGS(DOMAIN_ATTACH_DEVICE_FLAGS) *in = args;
    if (call_check_flags(call, in->flags, AFFECT, err))
        return -EINVAL;
    return put(call, &in->dom, in->xml, in->flags, true, err);
}

CALL(detach_flags)
{
    const REMOTE_ARGS(DOMAIN_DETACH_DEVICE_FLAGS) *in = args;
    if (call_check_flags(call, in->flags, AFFECT, err))
        return -EINVAL;
    return take(call, &in->dom, in->xml, NULL, in->flags, err);
}

CALL(update_flags)
{
    const REMOTE_ARGS(DOMAIN_UPDATE_DEVICE_FLAGS) *in = args;
    if (call_check_flags(call, in->flags, AFFECT | VIR_DOMAIN_DEVICE_MODIFY_FORCE, err))
        return -EINVAL;
    return put(call, &in->dom, in->xml, in->flags, false, err);
}

CALL(detach_alias)
{
    const REMOTE_ARGS(DOMAIN_DETACH_DEVICE_ALIAS) *in = args;
    if (call_check_flags(call, in->flags, AFFECT, err))
        return -EINVAL;
    return take(call, &in->dom, NULL, in->alias, in->flags, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_ATTACH_DEVICE, attach, 0},
    {REMOTE_PROC_DOMAIN_DETACH_DEVICE, detach, 0},
    {REMOTE_PROC_DOMAIN_ATTACH_DEVICE_FLAGS, attach_flags, 0},
    {REMOTE_PROC_DOMAIN_DETACH_DEVICE_FLAGS, detach_flags, 0},
    {REMOTE_PROC_DOMAIN_UPDATE_DEVICE_FLAGS, update_flags, 0},
    {REMOTE_PROC_DOMAIN_DETACH_DEVICE_ALIAS, detach_alias, 0},
};
const struct call_rows call_device_rows = {rows, ARRAY_SIZE(rows)};
