/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures on the limits of one disk or one network interface. */
#include <errno.h>
#include <inttypes.h>
#include <libxml/tree.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/domain/edit.h"
#include "daemon/machine/tune.h"

/* Names are those of the elements below <iotune>. */
static const struct {
    const char *name;
    size_t offset; /* in struct model_iotune */
} limits[] = {
#define LIMIT(field)                                 \
    {                                                \
#field, offsetof(struct model_iotune, field) \
    }
    LIMIT(total_bytes_sec),
    LIMIT(read_bytes_sec),
    LIMIT(write_bytes_sec),
    LIMIT(total_iops_sec),
    LIMIT(read_iops_sec),
    LIMIT(write_iops_sec),
    LIMIT(total_bytes_sec_max),
    LIMIT(read_bytes_sec_max),
    LIMIT(write_bytes_sec_max),
    LIMIT(total_iops_sec_max),
    LIMIT(read_iops_sec_max),
    LIMIT(write_iops_sec_max),
    LIMIT(size_iops_sec),
    LIMIT(total_bytes_sec_max_length),
    LIMIT(read_bytes_sec_max_length),
    LIMIT(write_bytes_sec_max_length),
    LIMIT(total_iops_sec_max_length),
    LIMIT(read_iops_sec_max_length),
    LIMIT(write_iops_sec_max_length),
#undef LIMIT
};
#define GROUP_NAME "group_name"

static int no_disk(const char *name, struct kv_error *err)
{
    return api_error(err, VIR_ERR_INVALID_ARG, "invalid path: %s", name);
}

CALL(get_iotune)
{
    const REMOTE_ARGS(DOMAIN_GET_BLOCK_IO_TUNE) *in = args;
    REMOTE_RET(DOMAIN_GET_BLOCK_IO_TUNE) *out = ret;
    struct model_domain *model =
        call_asked_document(call, &in->dom, in->flags, VIR_TYPED_PARAM_STRING_OKAY, err);
    if (!model)
        return -EINVAL;
    struct params p = {0};
    const char *name = in->disk ? *in->disk : "";
    const struct model_disk *disk = model_domain_find_disk(model, name);
    for (size_t i = 0; disk && i < ARRAY_SIZE(limits); i++) {
        uint64_t value;
        memcpy(&value, (const char *)&disk->iotune + limits[i].offset, sizeof(value));
        params_add_ullong(&p, limits[i].name, value);
    }
    if (disk)
        params_add_text(&p, GROUP_NAME, disk->iotune.group ? disk->iotune.group : "");
    int result = 0;
    if (in->nparams == 0)
        out->nparams = ARRAY_SIZE(limits) + 1;
    else if (!disk)
        result = no_disk(name, err);
    else
        result = params_reply(&p, in->nparams, &out->params.params_len, &out->params.params_val,
                              &out->nparams, err);
    params_free(&p);
    model_domain_free(model);
    return result;
}

/* A child element of that name, made when missing. */
static xmlNode *child(xmlNode *parent, const char *name)
{
    for (xmlNode *n = parent->children; n; n = n->next)
        if (n->type == XML_ELEMENT_NODE && strcmp((const char *)n->name, name) == 0)
            return n;
    return xmlNewChild(parent, NULL, (const xmlChar *)name, NULL);
}

static void set_or_remove(xmlNode *parent, const char *name, const char *text)
{
    xmlNode *node = child(parent, name);
    if (!node)
        return;
    xmlNodeSetContent(node, NULL);
    if (text) {
        xmlNodeAddContent(node, (const xmlChar *)text);
        return;
    }
    xmlUnlinkNode(node);
    xmlFreeNode(node);
}

/* Gives the device the XML of node, which is a copy of its own that was changed. */
static int take_over(struct model_domain *model, xmlNode *node, struct kv_error *err)
{
    xmlBuffer *buffer = xmlBufferCreate();
    struct model_device *device;
    int ret = -ENOMEM;
    if (buffer && xmlNodeDump(buffer, model->doc, node, 0, 0) >= 0) {
        const char *xml = (const char *)xmlBufferContent(buffer);
        ret = model_domain_update(model, xml, strlen(xml), &device, err);
    } else {
        api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    xmlBufferFree(buffer);
    return ret;
}

static bool is_limit(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
        if (strcmp(limits[i].name, name) == 0)
            return true;
    return false;
}

struct iotune_change {
    const REMOTE_ARGS(DOMAIN_SET_BLOCK_IO_TUNE) * in;
    struct model_domain *now; /* what runs, after the change; the edit's */
};

static int iotune_in_document(struct model_domain *model, bool live, void *opaque,
                              struct kv_error *err)
{
    struct iotune_change *change = opaque;
    const REMOTE_ARGS(DOMAIN_SET_BLOCK_IO_TUNE) *in = change->in;
    if (live)
        change->now = model;
    const struct model_disk *disk = model_domain_find_disk(model, in->disk);
    if (!disk)
        return no_disk(in->disk, err);
    xmlNode *copy = xmlCopyNode(disk->device.node, 1);
    xmlNode *iotune = copy ? child(copy, "iotune") : NULL;
    int ret = iotune ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
    for (unsigned i = 0; !ret && i < in->params.params_len; i++) {
        const wire_param *p = &in->params.params_val[i];
        char text[32];
        if (p->value.type == VIR_TYPED_PARAM_STRING && strcmp(p->field, GROUP_NAME) == 0) {
            set_or_remove(iotune, GROUP_NAME, p->value.wire_param_value_u.s);
        } else if (p->value.type == VIR_TYPED_PARAM_ULLONG && is_limit(p->field)) {
            uint64_t value = p->value.wire_param_value_u.ul;
            snprintf(text, sizeof(text), "%" PRIu64, value);
            set_or_remove(iotune, p->field, value ? text : NULL);
        } else {
            ret = api_error(err, VIR_ERR_INVALID_ARG, "parameter '%s' not supported", p->field);
        }
    }
    if (!ret && !xmlFirstElementChild(iotune)) {
        xmlUnlinkNode(iotune);
        xmlFreeNode(iotune);
    }
    if (!ret)
        ret = take_over(model, copy, err);
    xmlFreeNode(copy);
    return ret;
}

static int iotune_in_machine(struct machine *machine, void *opaque, struct kv_error *err)
{
    const struct iotune_change *change = opaque;
    const struct model_disk *disk = model_domain_find_disk(change->now, change->in->disk);
    return disk ? machine_throttle_disk(machine, disk, err) : no_disk(change->in->disk, err);
}

CALL(set_iotune)
{
    const REMOTE_ARGS(DOMAIN_SET_BLOCK_IO_TUNE) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    struct iotune_change change = {.in = in};
    struct edit edit = {
        .machine = iotune_in_machine, .document = iotune_in_document, .opaque = &change};
    return call_edit(call, &in->dom, in->flags, &edit, err);
}

CALL(get_interface)
{
    const REMOTE_ARGS(DOMAIN_GET_INTERFACE_PARAMETERS) *in = args;
    REMOTE_RET(DOMAIN_GET_INTERFACE_PARAMETERS) *out = ret;
    struct model_domain *model =
        call_asked_document(call, &in->dom, in->flags, VIR_TYPED_PARAM_STRING_OKAY, err);
    if (!model)
        return -EINVAL;
    const struct model_nic *nic = model_domain_find_nic(model, in->device);
    int result;
    if (nic) {
        struct params p = {0};
        params_add_uint(&p, VIR_DOMAIN_BANDWIDTH_IN_AVERAGE, (unsigned)nic->in.average);
        params_add_uint(&p, VIR_DOMAIN_BANDWIDTH_IN_PEAK, (unsigned)nic->in.peak);
        params_add_uint(&p, VIR_DOMAIN_BANDWIDTH_IN_BURST, (unsigned)nic->in.burst);
        params_add_uint(&p, VIR_DOMAIN_BANDWIDTH_IN_FLOOR, (unsigned)nic->in.floor);
        params_add_uint(&p, VIR_DOMAIN_BANDWIDTH_OUT_AVERAGE, (unsigned)nic->out.average);
        params_add_uint(&p, VIR_DOMAIN_BANDWIDTH_OUT_PEAK, (unsigned)nic->out.peak);
        params_add_uint(&p, VIR_DOMAIN_BANDWIDTH_OUT_BURST, (unsigned)nic->out.burst);
        result = params_reply(&p, in->nparams, &out->params.params_len, &out->params.params_val,
                              &out->nparams, err);
    } else {
        result = api_error(err, VIR_ERR_INVALID_ARG, "Can't find device %s", in->device);
    }
    model_domain_free(model);
    return result;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_GET_BLOCK_IO_TUNE, get_iotune, 0},
    {REMOTE_PROC_DOMAIN_SET_BLOCK_IO_TUNE, set_iotune, 0},
    {REMOTE_PROC_DOMAIN_GET_INTERFACE_PARAMETERS, get_interface, 0},
};
const struct call_rows call_iotune_rows = {rows, ARRAY_SIZE(rows)};
