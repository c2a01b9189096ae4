/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that define, undefine, rename, and set what a definition carries with it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "daemon/domain/call.h"
#include "daemon/machine/nvram.h"
#include "model/uuid.h"

static void free_model(void *opaque)
{
    model_domain_free(opaque);
}

static int define(struct rpc_call *call, const char *xml, unsigned flags, wire_domain *out,
                  struct kv_error *err)
{
    struct domains *domains = call_domains(call);
    struct model_domain *model = NULL;
    unsigned parse = MODEL_PARSE_INACTIVE;
    if (flags & VIR_DOMAIN_DEFINE_VALIDATE)
        parse |= MODEL_PARSE_VALIDATE;
    if (model_domain_parse(&model, domains->model_host, xml, strlen(xml), parse, err))
        return -EINVAL;
    struct domain *domain =
        domains_reserve_job(domains, model->uuid, model->name, rpc_call_procedure(call)->name, err);
    int ret = -EEXIST;
    if (domain) {
        pthread_mutex_lock(&domain->lock);
        bool known = domain->persistent;
        pthread_mutex_unlock(&domain->lock);
        ret = domain_config_store(domains, domain, model, err);
        if (!ret && wire_domain_fill(out, domain))
            ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
        if (!ret)
            domain_event_lifecycle(domains, domain, VIR_DOMAIN_EVENT_DEFINED,
                                   known ? VIR_DOMAIN_EVENT_DEFINED_UPDATED
                                         : VIR_DOMAIN_EVENT_DEFINED_ADDED);
        domain_job_finish(domains, domain);
    }
    domain_unref(domain);
    rpc_call_afterwards(call, free_model, model);
    return ret;
}

CALL(define_xml)
{
    const REMOTE_ARGS(DOMAIN_DEFINE_XML) *in = args;
    REMOTE_RET(DOMAIN_DEFINE_XML) *out = ret;
    return define(call, in->xml, 0, &out->dom, err);
}

CALL(define_xml_flags)
{
    const REMOTE_ARGS(DOMAIN_DEFINE_XML_FLAGS) *in = args;
    REMOTE_RET(DOMAIN_DEFINE_XML_FLAGS) *out = ret;
    if (call_check_flags(call, in->flags, VIR_DOMAIN_DEFINE_VALIDATE, err))
        return -EINVAL;
    return define(call, in->xml, in->flags, &out->dom, err);
}

/* The firmware's variables: kept or removed as the client says; where there are any, it has to. */
static int settle_nvram(const struct model_domain *model, unsigned flags, struct kv_error *err)
{
    if (!model || !model->nvram || access(model->nvram, F_OK) < 0)
        return 0;
    if (!(flags & (VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_KEEP_NVRAM)))
        return api_error(err, VIR_ERR_OPERATION_INVALID, "cannot undefine domain with nvram");
    if ((flags & VIR_DOMAIN_UNDEFINE_NVRAM) && unlink(model->nvram) < 0)
        return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_SYSTEM_ERROR,
                              "failed to remove nvram: %s: %s", model->nvram, strerror(errno));
    return 0;
}

/* What its TPM keeps goes with the definition unless the client or the document says otherwise; of
 * a machine that runs, with its end. */
static void settle_tpm(struct domains *domains, struct domain *domain,
                       const struct model_domain *model, unsigned flags)
{
    char uuid[UUID_TEXT];
    bool gone = model && model->tpm &&
                (model->tpm->persistent ? flags & VIR_DOMAIN_UNDEFINE_TPM
                                        : !(flags & VIR_DOMAIN_UNDEFINE_KEEP_TPM));
    if (!gone || domain_is_active(domain))
        return;
    uuid_format(domain->uuid, uuid);
    machine_host_forget_tpm(domains->host, uuid);
}

static int undefine(struct rpc_call *call, const wire_domain *dom, unsigned flags,
                    struct kv_error *err)
{
    struct domains *domains = call_domains(call);
    struct domain *domain = call_begin(call, dom, err);
    if (!domain)
        return -ENOENT;
    struct kv_error ignored;
    struct model_domain *model = domain_config_load(domains, domain, &ignored);
    int ret = 0;
    if (!domain->persistent)
        ret = api_error(err, VIR_ERR_OPERATION_INVALID, "cannot undefine transient domain");
    else
        ret = settle_nvram(model, flags, err);
    if (!ret)
        ret = state_delete(domains->state, STATE_DOMAIN, domain->uuid, err);
    if (!ret) {
        settle_tpm(domains, domain, model, flags);
        pthread_mutex_lock(&domain->lock);
        domain->persistent = domain->autostart = false;
        pthread_mutex_unlock(&domain->lock);
        domain_text_changed(domains, domain, DOMAIN_TEXT_STORED);
        domain_event_lifecycle(domains, domain, VIR_DOMAIN_EVENT_UNDEFINED,
                               VIR_DOMAIN_EVENT_UNDEFINED_REMOVED);
    }
    model_domain_free(model);
    call_end(call, domain);
    return ret;
}

CALL(undefine_plain)
{
    const REMOTE_ARGS(DOMAIN_UNDEFINE) *in = args;
    return undefine(call, &in->dom, 0, err);
}

/* There are no saved states, snapshots or checkpoints yet that would have to be kept or removed
 * with it. */
CALL(undefine_flags)
{
    const REMOTE_ARGS(DOMAIN_UNDEFINE_FLAGS) *in = args;
    if (call_check_flags(call, in->flags,
                         VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                             VIR_DOMAIN_UNDEFINE_NVRAM | VIR_DOMAIN_UNDEFINE_KEEP_NVRAM |
                             VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA | VIR_DOMAIN_UNDEFINE_TPM |
                             VIR_DOMAIN_UNDEFINE_KEEP_TPM,
                         err))
        return -EINVAL;
    if ((in->flags & VIR_DOMAIN_UNDEFINE_NVRAM) && (in->flags & VIR_DOMAIN_UNDEFINE_KEEP_NVRAM))
        return api_error(err, VIR_ERR_OPERATION_INVALID, "cannot both keep and delete nvram");
    if ((in->flags & VIR_DOMAIN_UNDEFINE_TPM) && (in->flags & VIR_DOMAIN_UNDEFINE_KEEP_TPM))
        return api_error(err, VIR_ERR_OPERATION_INVALID, "cannot both keep and delete TPM");
    return undefine(call, &in->dom, in->flags, err);
}

/* Stores what is its definition under the new name, and takes its variables along. from: their path
 * under the old name; NULL: it has none. */
static int store_renamed(struct domains *domains, struct domain *domain, struct model_domain *model,
                         const char *from, struct kv_error *err)
{
    bool moves = from && strcmp(from, model->nvram) != 0;
    int ret = moves ? nvram_rename_begin(from, model->nvram, err) : 0;
    if (ret)
        return ret;
    ret = domain_config_store(domains, domain, model, err);
    if (moves)
        nvram_rename_end(from, model->nvram, !ret);
    return ret;
}

static int rename_domain(struct rpc_call *call, struct domain *domain, const char *name,
                         struct kv_error *err)
{
    struct domains *domains = call_domains(call);
    if (!domain->persistent)
        return api_error(err, VIR_ERR_OPERATION_INVALID, "cannot rename a transient domain");
    if (domain_is_active(domain))
        return api_error(err, VIR_ERR_OPERATION_INVALID, "cannot rename active domain");
    struct model_domain *model = domain_config_load(domains, domain, err);
    if (!model)
        return -EINVAL;
    wire_domain before;
    cleanup_free char *nvram = model->nvram ? strdup(model->nvram) : NULL;
    int ret = model->nvram && !nvram ? api_error(err, VIR_ERR_NO_MEMORY, NULL)
                                     : model_domain_set_name(model, name, err);
    if (!ret && wire_domain_fill(&before, domain))
        ret = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    if (!ret) {
        struct domain_renaming renaming;
        ret = domains_rename_begin(domains, &renaming, domain, name, err);
        if (!ret) {
            ret = store_renamed(domains, domain, model, nvram, err);
            domains_rename_end(domains, &renaming, !ret);
        }
        if (!ret)
            domain_event_renamed(domains, domain, &before);
        free(before.name);
    }
    model_domain_free(model);
    return ret;
}

CALL(rename_call)
{
    const REMOTE_ARGS(DOMAIN_RENAME) *in = args;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    if (!in->new_name || !(*in->new_name)[0])
        return api_error(err, VIR_ERR_INVALID_ARG, "new_name must not be empty");
    if (strpbrk(*in->new_name, "/\n"))
        return api_error(err, VIR_ERR_XML_ERROR, "name %s cannot contain '/' or a line's end",
                         *in->new_name);
    struct domain *domain = call_begin(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    int result = rename_domain(call, domain, *in->new_name, err);
    call_end(call, domain);
    return result;
}

CALL(get_autostart)
{
    const REMOTE_ARGS(DOMAIN_GET_AUTOSTART) *in = args;
    REMOTE_RET(DOMAIN_GET_AUTOSTART) *out = ret;
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->autostart = domain->autostart;
    return 0;
}

CALL(set_autostart)
{
    const REMOTE_ARGS(DOMAIN_SET_AUTOSTART) *in = args;
    struct domain *domain = call_begin(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    bool autostart = in->autostart != 0;
    int result = 0;
    if (!domain->persistent)
        result =
            api_error(err, VIR_ERR_OPERATION_INVALID, "cannot set autostart for transient domain");
    else if (domain->autostart != autostart)
        result = state_set_autostart(call_domains(call)->state, STATE_DOMAIN, domain->uuid,
                                     autostart, err);
    if (!result) {
        pthread_mutex_lock(&domain->lock);
        domain->autostart = autostart;
        pthread_mutex_unlock(&domain->lock);
    }
    call_end(call, domain);
    return result;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_DEFINE_XML, define_xml, 0},
    {REMOTE_PROC_DOMAIN_DEFINE_XML_FLAGS, define_xml_flags, 0},
    {REMOTE_PROC_DOMAIN_UNDEFINE, undefine_plain, 0},
    {REMOTE_PROC_DOMAIN_UNDEFINE_FLAGS, undefine_flags, 0},
    {REMOTE_PROC_DOMAIN_RENAME, rename_call, 0},
    {REMOTE_PROC_DOMAIN_GET_AUTOSTART, get_autostart, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_SET_AUTOSTART, set_autostart, 0},
};
const struct call_rows call_define_rows = {rows, ARRAY_SIZE(rows)};
