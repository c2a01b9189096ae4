/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that attach, detach and update devices: of definitions; what runs keeps its devices.
 */
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

static int update_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    struct model_device *device;
    const char *xml = opaque;
    return model_domain_update(model, xml, strlen(xml), &device, err);
}

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
    return change(call, &in->dom, in->xml, in->flags, update_in_document, err);
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
