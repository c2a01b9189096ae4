/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that tell what a domain is and does, without asking its monitor. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/domain/call.h"
#include "daemon/domain/live.h"

/* Processor time of what runs; 0 when nothing does. With the domain's lock. */
static uint64_t cpu_time(struct domain *domain)
{
    struct machine_cpu_time time = {0};
    if (domain->live)
        machine_query_cpu_time(domain->live->machine, &time, NULL);
    return time.total_ns;
}

CALL(get_info)
{
    const REMOTE_ARGS(DOMAIN_GET_INFO) *in = args;
    REMOTE_RET(DOMAIN_GET_INFO) *out = ret;
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    const struct model_domain *document = domain->live ? domain->live->document : NULL;
    out->state = domain->state;
    out->max_mem = document ? document->memory_kib : domain->summary.max_memory_kib;
    out->memory = document ? document->current_memory_kib : domain->summary.memory_kib;
    out->nr_virt_cpu = (unsigned short)(document ? document->vcpus : domain->summary.vcpus);
    out->cpu_time = cpu_time(domain);
    return 0;
}

CALL(get_state)
{
    const REMOTE_ARGS(DOMAIN_GET_STATE) *in = args;
    REMOTE_RET(DOMAIN_GET_STATE) *out = ret;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->state = domain->state;
    out->reason = domain->reason;
    return 0;
}

CALL(get_max_memory)
{
    const REMOTE_ARGS(DOMAIN_GET_MAX_MEMORY) *in = args;
    REMOTE_RET(DOMAIN_GET_MAX_MEMORY) *out = ret;
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->memory =
        domain->live ? domain->live->document->memory_kib : domain->summary.max_memory_kib;
    return 0;
}

CALL(get_os_type)
{
    const REMOTE_ARGS(DOMAIN_GET_OS_TYPE) *in = args;
    REMOTE_RET(DOMAIN_GET_OS_TYPE) *out = ret;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    return domain ? call_text(&out->type, "hvm", err) : -ENOENT;
}

CALL(is_active)
{
    const REMOTE_ARGS(DOMAIN_IS_ACTIVE) *in = args;
    REMOTE_RET(DOMAIN_IS_ACTIVE) *out = ret;
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->active = domain->live != NULL;
    return 0;
}

CALL(is_persistent)
{
    const REMOTE_ARGS(DOMAIN_IS_PERSISTENT) *in = args;
    REMOTE_RET(DOMAIN_IS_PERSISTENT) *out = ret;
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->persistent = domain->persistent;
    return 0;
}

CALL(is_updated)
{
    const REMOTE_ARGS(DOMAIN_IS_UPDATED) *in = args;
    REMOTE_RET(DOMAIN_IS_UPDATED) *out = ret;
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->updated = domain->updated;
    return 0;
}

/* What runs, as the flags want it; NULL when nothing does. */
static char *live_xml(struct domains *domains, struct domain *domain, unsigned flags)
{
    bool plain = !flags;
    if (!(flags & (VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_MIGRATABLE)))
        flags |= MODEL_FORMAT_PRESENT;
    unsigned version = domain_text_version(domains, domain, DOMAIN_TEXT_LIVE);
    pthread_mutex_lock(&domain->lock);
    char *text = domain->live ? model_domain_format(domain->live->document, flags) : NULL;
    pthread_mutex_unlock(&domain->lock);
    if (text && plain)
        domain_text_keep(domains, domain, DOMAIN_TEXT_LIVE, version, text);
    return text;
}

/* The definition, as the flags want it: seldom otherwise than it is stored. */
static int stored_xml(struct domains *domains, struct domain *domain, unsigned flags, char **out,
                      struct kv_error *err)
{
    const unsigned plain = VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_INACTIVE;
    unsigned version = domain_text_version(domains, domain, DOMAIN_TEXT_STORED);
    cleanup_free char *text = NULL;
    int ret = domain_config_text(domains, domain, &text, err);
    if (ret)
        return ret;
    if (!(flags & ~plain) && ((flags & VIR_DOMAIN_XML_SECURE) || !domain_text_has_secrets(text))) {
        domain_text_keep(domains, domain, DOMAIN_TEXT_STORED, version, text);
        *out = take_ptr(text);
        return 0;
    }
    struct model_domain *model = domain_config_parse(domains, text, err);
    if (!model)
        return -EINVAL;
    *out = model_domain_format(model, flags);
    model_domain_free(model);
    return *out ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

CALL(get_xml_desc)
{
    const REMOTE_ARGS(DOMAIN_GET_XML_DESC) *in = args;
    REMOTE_RET(DOMAIN_GET_XML_DESC) *out = ret;
    const unsigned inactive = VIR_DOMAIN_XML_INACTIVE, secure = VIR_DOMAIN_XML_SECURE,
                   others = VIR_DOMAIN_XML_UPDATE_CPU | VIR_DOMAIN_XML_MIGRATABLE;
    if (call_check_flags(call, in->flags, inactive | secure | others, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    struct domains *domains = call_domains(call);
    pthread_mutex_lock(&domain->lock);
    bool live = domain->live && (!(in->flags & inactive) || !domain->persistent);
    pthread_mutex_unlock(&domain->lock);
    if (rpc_call_on_loop(call)) {
        bool kept = live ? !in->flags : !(in->flags & others);
        if (kept && domain_text_reply(domains, domain, live ? DOMAIN_TEXT_LIVE : DOMAIN_TEXT_STORED,
                                      in->flags & secure, call))
            return 0;
        return RPC_TO_WORKER;
    }
    if (live && (out->xml = live_xml(domains, domain, in->flags)))
        return 0;
    return stored_xml(domains, domain, in->flags, &out->xml, err);
}

CALL(get_control_info)
{
    const REMOTE_ARGS(DOMAIN_GET_CONTROL_INFO) *in = args;
    REMOTE_RET(DOMAIN_GET_CONTROL_INFO) *out = ret;
    if (call_check_flags(call, in->flags, 0, err))
        return -EINVAL;
    cleanup_locked struct domain *domain = call_domain_locked(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    if (!domain->live)
        return api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running");
    out->state = domain->job ? VIR_DOMAIN_CONTROL_OCCUPIED : VIR_DOMAIN_CONTROL_OK;
    return 0;
}

/* A core dump is the only job that takes long. */
static bool dump_runs(struct domain *domain, uint64_t *done, uint64_t *total)
{
    pthread_mutex_lock(&domain->lock);
    bool runs = domain->live && domain->job && strstr(domain->job, "CORE_DUMP");
    if (runs)
        machine_dump_progress(domain->live->machine, done, total);
    pthread_mutex_unlock(&domain->lock);
    return runs;
}

CALL(get_job_info)
{
    const REMOTE_ARGS(DOMAIN_GET_JOB_INFO) *in = args;
    REMOTE_RET(DOMAIN_GET_JOB_INFO) *out = ret;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain || domain_check_active(domain, err))
        return -EINVAL;
    uint64_t done = 0, total = 0;
    out->type = VIR_DOMAIN_JOB_NONE;
    if (dump_runs(domain, &done, &total)) {
        out->type = VIR_DOMAIN_JOB_UNBOUNDED;
        out->data_total = out->mem_total = total;
        out->data_processed = out->mem_processed = done;
        out->data_remaining = out->mem_remaining = total - done;
    }
    return 0;
}

CALL(get_job_stats)
{
    const REMOTE_ARGS(DOMAIN_GET_JOB_STATS) *in = args;
    REMOTE_RET(DOMAIN_GET_JOB_STATS) *out = ret;
    if (call_check_flags(call, in->flags,
                         VIR_DOMAIN_JOB_STATS_COMPLETED | VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->type = VIR_DOMAIN_JOB_NONE;
    if (in->flags & VIR_DOMAIN_JOB_STATS_COMPLETED)
        return 0;
    if (domain_check_active(domain, err))
        return -EINVAL;
    uint64_t done = 0, total = 0;
    if (!dump_runs(domain, &done, &total))
        return 0;
    struct params p = {0};
    out->type = VIR_DOMAIN_JOB_UNBOUNDED;
    params_add_int(&p, VIR_DOMAIN_JOB_OPERATION, VIR_DOMAIN_JOB_OPERATION_DUMP);
    params_add_ullong(&p, VIR_DOMAIN_JOB_MEMORY_TOTAL, total);
    params_add_ullong(&p, VIR_DOMAIN_JOB_MEMORY_PROCESSED, done);
    params_add_ullong(&p, VIR_DOMAIN_JOB_MEMORY_REMAINING, total - done);
    return params_give(&p, &out->params.params_val, &out->params.params_len, err);
}

CALL(abort_job)
{
    const wire_domain *dom = args; /* the first member of both procedures' arguments */
    cleanup_domain struct domain *domain = call_domain(call, dom, err);
    if (!domain || domain_check_active(domain, err))
        return -EINVAL;
    uint64_t done, total;
    if (!dump_runs(domain, &done, &total))
        return api_error(err, VIR_ERR_OPERATION_INVALID, "no job is active on the domain");
    return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "a core dump cannot be aborted");
}

/* Every monitor is confined in its own way; no security module of the host labels it. */
CALL(get_security_label)
{
    const REMOTE_ARGS(DOMAIN_GET_SECURITY_LABEL) *in = args;
    REMOTE_RET(DOMAIN_GET_SECURITY_LABEL) *out = ret;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    out->label.label_val = calloc(1, 1);
    if (!out->label.label_val)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    out->label.label_len = 1;
    return 0;
}

CALL(get_security_label_list)
{
    const REMOTE_ARGS(DOMAIN_GET_SECURITY_LABEL_LIST) *in = args;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    return domain ? 0 : -ENOENT;
}

/* What should be known of a domain: what its guest runs without. */
CALL(get_messages)
{
    const REMOTE_ARGS(DOMAIN_GET_MESSAGES) *in = args;
    REMOTE_RET(DOMAIN_GET_MESSAGES) *out = ret;
    if (call_check_flags(call, in->flags,
                         VIR_DOMAIN_MESSAGE_DEPRECATION | VIR_DOMAIN_MESSAGE_TAINTING, err))
        return -EINVAL;
    cleanup_domain struct domain *domain = call_domain(call, &in->dom, err);
    if (!domain)
        return -ENOENT;
    if (in->flags && !(in->flags & VIR_DOMAIN_MESSAGE_TAINTING))
        return 0;
    struct model_domain *model = call_document(call, domain, domain_is_active(domain), err);
    if (!model)
        return -EINVAL;
    int result = 0;
    if (model->left_out_count) {
        out->msgs.msgs_val = calloc(model->left_out_count, sizeof(wire_text));
        for (unsigned i = 0; out->msgs.msgs_val && !result && i < model->left_out_count; i++) {
            result = call_text(&out->msgs.msgs_val[i], model->left_out[i], err);
            if (!result)
                out->msgs.msgs_len++;
        }
        if (!out->msgs.msgs_val)
            result = api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    model_domain_free(model);
    return result;
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_DOMAIN_GET_INFO, get_info, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_STATE, get_state, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_MAX_MEMORY, get_max_memory, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_OS_TYPE, get_os_type, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_IS_ACTIVE, is_active, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_IS_PERSISTENT, is_persistent, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_IS_UPDATED, is_updated, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_XML_DESC, get_xml_desc, RPC_LOOP_FIRST},
    {REMOTE_PROC_DOMAIN_GET_CONTROL_INFO, get_control_info, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_JOB_INFO, get_job_info, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_JOB_STATS, get_job_stats, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_ABORT_JOB, abort_job, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_ABORT_JOB_FLAGS, abort_job, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_SECURITY_LABEL, get_security_label, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_SECURITY_LABEL_LIST, get_security_label_list, RPC_INLINE},
    {REMOTE_PROC_DOMAIN_GET_MESSAGES, get_messages, 0},
};
const struct call_rows call_info_rows = {rows, ARRAY_SIZE(rows)};
