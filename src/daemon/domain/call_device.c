/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that attach, detach and update devices: of definitions; what runs keeps its devices,
 * and only its screen's password changes. */
#include <errno.h>
#include <string.h>

#include "daemon/domain/edit.h"

static const char live_refused[] = "devices of a running domain cannot be changed; its definition "
                                   "can (VIR_DOMAIN_AFFECT_CONFIG)";

static int attach_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    struct model_device *device;
    const char *xml = opaque;
    return model_domain_attach(model, xml, strlen(xml), &device, err);
}

/* ------------------------------------------------------------------- update */

struct update {
    const char *xml;
    const struct model_graphics *graphics; /* of the changed live document */
};

static bool same(const char *a, const char *b)
{
    return (!a && !b) || (a && b && strcmp(a, b) == 0);
}

/* What a viewer is connected by stays; what was chosen at the start need not be said. */
static int check_graphics(const struct model_graphics *was, const struct model_graphics *is,
                          struct kv_error *err)
{
    const char *what = NULL;
    if (was->autoport != is->autoport || (is->port && was->port != is->port))
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
    if (ret == 0 && was->graphics->listen == MODEL_LISTEN_SOCKET &&
        model_graphics_set_socket(model, was->graphics->socket) < 0)
        ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return ret;
}

static int update_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    struct model_device *device;
    struct update *update = opaque;
    struct model_domain *was = live ? model_domain_copy(model) : NULL;
    if (live && !was)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int ret = model_domain_update(model, update->xml, strlen(update->xml), &device, err);
    if (ret == 0 && live)
        ret = device->kind == MODEL_GRAPHICS
                  ? update_graphics(model, was, err)
                  : api_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "%s", live_refused);
    update->graphics = model->graphics;
    model_domain_free(was);
    return ret;
}

static int update_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct model_graphics *graphics = ((struct update *)opaque)->graphics;
    return graphics->password ? machine_set_password(machine, graphics->password, graphics->expires,
                                                     graphics->password_until, err)
                              : 0;
}

/* ------------------------------------------------------------------- others */

static int detach_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    struct model_device *device;
    const char *xml = opaque;
    int ret = model_domain_find(model, xml, strlen(xml), &device, err);
    return ret ? ret : model_domain_detach(model, device, err);
}

static int detach_alias_in_document(struct model_domain *model, bool live, void *opaque,
                                    struct kv_error *err)
{
    const char *alias = opaque;
    struct model_device *device = model_domain_find_alias(model, alias);
    if (!device)
        return api_error(err, VIR_ERR_DEVICE_MISSING, "no device found with alias %s", alias);
    return model_domain_detach(model, device, err);
}

typedef int change_fn(struct model_domain *model, bool live, void *opaque, struct kv_error *err);

static int change(struct rpc_call *call, const wire_domain *dom, const char *text, unsigned flags,
                  change_fn *fn, struct kv_error *err)
{
    struct edit edit = {
        .document = fn, .live_refused = live_refused, .opaque = (void *)(uintptr_t)text};
    return call_edit(call, dom, flags, &edit, err);
}

#define AFFECT (VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG)

CALL(attach)
{
    const REMOTE_ARGS(DOMAIN_ATTACH_DEVICE) *in = args;
    return change(call, &in->dom, in->xml, VIR_DOMAIN_AFFECT_LIVE, attach_in_document, err);
}

CALL(detach)
{
    const REMOTE_ARGS(DOMAIN_DETACH_DEVICE) *in = args;
    return change(call, &in->dom, in->xml, VIR_DOMAIN_AFFECT_LIVE, detach_in_document, err);
}

CALL(attach_flags)
{
    const REMOTE_ARGS(DOMAIN_ATTACH_DEVICE_FLAGS) *in = args;
    if (call_check_flags(call, in->flags, AFFECT, err))
        return -EINVAL;
    return change(call, &in->dom, in->xml, in->flags, attach_in_document, err);
}

CALL(detach_flags)
{
    const REMOTE_ARGS(DOMAIN_DETACH_DEVICE_FLAGS) *in = args;
    if (call_check_flags(call, in->flags, AFFECT, err))
        return -EINVAL;
    return change(call, &in->dom, in->xml, in->flags, detach_in_document, err);
}

CALL(update_flags)
{
    const REMOTE_ARGS(DOMAIN_UPDATE_DEVICE_FLAGS) *in = args;
    if (call_check_flags(call, in->flags, AFFECT | VIR_DOMAIN_DEVICE_MODIFY_FORCE, err))
        return -EINVAL;
    struct update update = {.xml = in->xml};
    const struct edit edit = {
        .machine = update_machine, .document = update_in_document, .opaque = &update};
    return call_edit(call, &in->dom, in->flags, &edit, err);
}

CALL(detach_alias)
{
    const REMOTE_ARGS(DOMAIN_DETACH_DEVICE_ALIAS) *in = args;
    if (call_check_flags(call, in->flags, AFFECT, err))
        return -EINVAL;
    return change(call, &in->dom, in->alias, in->flags, detach_alias_in_document, err);
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
