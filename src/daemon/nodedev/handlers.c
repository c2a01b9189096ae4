/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The procedures on the host's devices. */
#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "daemon/nodedev/nodedev.h"
#include "model/api_error.h"

#define NAMES_MAX 65536

static int no_memory(struct kv_error *err)
{
    return api_error_from(err, VIR_FROM_NODEDEV, VIR_ERR_NO_MEMORY, NULL);
}

static int find(const char *name, struct node_device *out, struct kv_error *err)
{
    struct node_device *all;
    int n = node_devices_list(&all, err), r = -ENOENT;
    if (n < 0)
        return n;
    for (int i = 0; i < n && r < 0; i++) {
        if (strcmp(all[i].name, name) == 0) {
            *out = all[i];
            r = 0;
        }
    }
    free(all);
    return r == 0 ? 0
                  : api_error_from(err, VIR_FROM_NODEDEV, VIR_ERR_NO_NODE_DEVICE,
                                   "no node device with matching name '%s'", name);
}

/* Appends a copy. */
static int give(char **list, u_int *n, const char *text, struct kv_error *err)
{
    list[*n] = strdup(text);
    if (!list[*n])
        return no_memory(err);
    ++*n;
    return 0;
}

static bool is_of(const struct node_device *device, char *const *capability)
{
    return !capability || strcmp(node_kinds[device->kind].capability, *capability) == 0;
}

static int count(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_NUM_OF_DEVICES) *in = args;
    REMOTE_RET(NODE_NUM_OF_DEVICES) *out = ret;
    struct node_device *all;
    if (rpc_call_check_flags(call, VIR_FROM_NODEDEV, in->flags, 0, err) < 0)
        return -EINVAL;
    int n = node_devices_list(&all, err);
    if (n < 0)
        return n;
    for (int i = 0; i < n; i++)
        out->num += is_of(&all[i], in->cap);
    free(all);
    return 0;
}

static int list_names(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_LIST_DEVICES) *in = args;
    REMOTE_RET(NODE_LIST_DEVICES) *out = ret;
    struct node_device *all;
    int r = rpc_call_check_flags(call, VIR_FROM_NODEDEV, in->flags, 0, err);
    if (r == 0 && (in->maxnames < 0 || in->maxnames > NAMES_MAX))
        r = api_error_from(err, VIR_FROM_NODEDEV, VIR_ERR_INVALID_ARG, "too many names '%d'",
                           in->maxnames);
    int n = r < 0 ? r : node_devices_list(&all, err);
    if (n < 0)
        return n;
    out->names.names_val = calloc((size_t)n, sizeof(wire_text));
    r = out->names.names_val ? 0 : no_memory(err);
    for (int i = 0; i < n && r == 0; i++) {
        if (is_of(&all[i], in->cap) && out->names.names_len < (u_int)in->maxnames)
            r = give(out->names.names_val, &out->names.names_len, all[i].name, err);
    }
    free(all);
    return r;
}

/* Every bit that names a capability, ours or not. */
#define LIST_CAPABILITIES ((VIR_CONNECT_LIST_NODE_DEVICES_CAP_VPD << 1) - 1u)
#define LIST_STATES (VIR_CONNECT_LIST_NODE_DEVICES_ACTIVE | VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE)

static int list_all(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_LIST_ALL_NODE_DEVICES) *in = args;
    REMOTE_RET(CONNECT_LIST_ALL_NODE_DEVICES) *out = ret;
    unsigned wanted = in->flags & LIST_CAPABILITIES;
    bool only_inactive = (in->flags & LIST_STATES) == VIR_CONNECT_LIST_NODE_DEVICES_INACTIVE;
    struct node_device *all;
    int r = rpc_call_check_flags(call, VIR_FROM_NODEDEV, in->flags, LIST_CAPABILITIES | LIST_STATES,
                                 err);
    int n = r < 0 ? r : node_devices_list(&all, err);
    if (n < 0)
        return n;
    out->devices.devices_val = calloc((size_t)n, sizeof(wire_device));
    r = out->devices.devices_val ? 0 : no_memory(err);
    for (int i = 0; i < n && r == 0 && !only_inactive; i++) {
        if (wanted && !(wanted & node_kinds[all[i].kind].flag))
            continue;
        out->result++;
        if (!in->want_list)
            continue;
        char *name = strdup(all[i].name);
        out->devices.devices_val[out->devices.devices_len++].name = name;
        r = name ? 0 : no_memory(err);
    }
    free(all);
    return r;
}

static int lookup(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_DEVICE_LOOKUP_BY_NAME) *in = args;
    REMOTE_RET(NODE_DEVICE_LOOKUP_BY_NAME) *out = ret;
    struct node_device found;
    int r = find(in->name, &found, err);
    if (r < 0)
        return r;
    out->dev.name = strdup(found.name);
    return out->dev.name ? 0 : no_memory(err);
}

static int lookup_wwn(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_DEVICE_LOOKUP_SCSI_HOST_BY_WWN) *in = args;
    if (rpc_call_check_flags(call, VIR_FROM_NODEDEV, in->flags, 0, err) < 0)
        return -EINVAL;
    return api_error_from(err, VIR_FROM_NODEDEV, VIR_ERR_NO_NODE_DEVICE,
                          "no SCSI host with WWNN '%s' and WWPN '%s'", in->wwnn, in->wwpn);
}

static int get_xml(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_DEVICE_GET_XML_DESC) *in = args;
    REMOTE_RET(NODE_DEVICE_GET_XML_DESC) *out = ret;
    struct node_device found;
    int r = rpc_call_check_flags(call, VIR_FROM_NODEDEV, in->flags, 1, err);
    if (r == 0)
        r = find(in->name, &found, err);
    if (r < 0)
        return r;
    out->xml = node_device_describe(&found);
    return out->xml ? 0 : no_memory(err);
}

static int get_parent(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(NODE_DEVICE_GET_PARENT) *in = args;
    REMOTE_RET(NODE_DEVICE_GET_PARENT) *out = ret;
    struct node_device found;
    int r = find(in->name, &found, err);
    if (r < 0 || !*found.parent)
        return r;
    out->parent_name = calloc(1, sizeof(wire_text));
    if (!out->parent_name)
        return no_memory(err);
    *out->parent_name = strdup(found.parent);
    return *out->parent_name ? 0 : no_memory(err);
}

static int count_capabilities(struct rpc_call *call, const void *args, void *ret,
                              struct kv_error *err)
{
    const REMOTE_ARGS(NODE_DEVICE_NUM_OF_CAPS) *in = args;
    REMOTE_RET(NODE_DEVICE_NUM_OF_CAPS) *out = ret;
    struct node_device found;
    out->num = 1;
    return find(in->name, &found, err);
}

static int list_capabilities(struct rpc_call *call, const void *args, void *ret,
                             struct kv_error *err)
{
    const REMOTE_ARGS(NODE_DEVICE_LIST_CAPS) *in = args;
    REMOTE_RET(NODE_DEVICE_LIST_CAPS) *out = ret;
    struct node_device found;
    int r = find(in->name, &found, err);
    if (r < 0 || in->maxnames <= 0)
        return r;
    out->names.names_val = calloc(1, sizeof(wire_text));
    return out->names.names_val ? give(out->names.names_val, &out->names.names_len,
                                       node_kinds[found.kind].capability, err)
                                : no_memory(err);
}

static const struct rpc_handler handlers[] = {
    {REMOTE_PROC_NODE_NUM_OF_DEVICES, count, 0},
    {REMOTE_PROC_NODE_LIST_DEVICES, list_names, 0},
    {REMOTE_PROC_CONNECT_LIST_ALL_NODE_DEVICES, list_all, 0},
    {REMOTE_PROC_NODE_DEVICE_LOOKUP_BY_NAME, lookup, 0},
    {REMOTE_PROC_NODE_DEVICE_LOOKUP_SCSI_HOST_BY_WWN, lookup_wwn, 0},
    {REMOTE_PROC_NODE_DEVICE_GET_XML_DESC, get_xml, 0},
    {REMOTE_PROC_NODE_DEVICE_GET_PARENT, get_parent, 0},
    {REMOTE_PROC_NODE_DEVICE_NUM_OF_CAPS, count_capabilities, 0},
    {REMOTE_PROC_NODE_DEVICE_LIST_CAPS, list_capabilities, 0},
    {0},
};

const struct daemon_driver nodedev_driver = {
    .name = "nodedev",
    .handlers = handlers,
};
