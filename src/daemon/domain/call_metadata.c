/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures on titles, descriptions and metadata. */
#include <errno.h>
#include <string.h>

#include "daemon/domain/edit.h"

static const char *optional(wire_opt_text text)
{
    return text ? *text : NULL;
}

static int set_in_document(struct model_domain *model, bool live, void *opaque,
                           struct kv_error *err)
{
    const REMOTE_ARGS(DOMAIN_SET_METADATA) *in = opaque;
    return model_domain_set_metadata(model, in->type, optional(in->metadata), optional(in->key),
                                     optional(in->uri), err);
}

CALL(set_metadata)
{
    const REMOTE_ARGS(DOMAIN_SET_METADATA) *in = args;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG, err))
        return -EINVAL;
    const char *text = optional(in->metadata);
    if (in->type == VIR_DOMAIN_METADATA_TITLE && text && strchr(text, '\n'))
        return api_error(err, VIR_ERR_INVALID_ARG, "metadata title can't contain newlines");
    struct edit edit = {.document = set_in_document, .opaque = (void *)(uintptr_t)args};
    int result = call_edit(call, &in->dom, in->flags, &edit, err);
    if (!result) {
        cleanup_domain struct domain *domain = call_domain(call, &in->dom, NULL);
        if (domain)
            domain_event_metadata(call_domains(call), domain, in->type, optional(in->uri));
    }
    return result;
}

CALL(get_metadata)
{
    const REMOTE_ARGS(DOMAIN_GET_METADATA) *in = args;
    REMOTE_RET(DOMAIN_GET_METADATA) *out = ret;
    struct model_domain *model = call_asked_document(call, &in->dom, in->flags, 0, err);
    if (!model)
        return -EINVAL;
    int result = model_domain_get_metadata(model, in->type, optional(in->uri), &out->metadata, err);
    model_domain_free(model);
    return result;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_SET_METADATA, set_metadata, 0},
    {REMOTE_PROC_DOMAIN_GET_METADATA, get_metadata, 0},
};
const struct call_rows call_metadata_rows = {rows, ARRAY_SIZE(rows)};
