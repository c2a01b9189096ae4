/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers of the procedures; see call.h. */
#include "daemon/domain/call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/domain/live.h"

struct domains *call_domains(const struct rpc_call *call)
{
    return rpc_call_opaque(call);
}

const char *uuid_text(const uint8_t u[16], char text[40])
{
    snprintf(text, 40, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0],
             u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
             u[14], u[15]);
    return text;
}

struct domain *call_domain(struct rpc_call *call, const wire_domain *dom, struct kv_error *err)
{
    struct domain *domain = domains_by_uuid(call_domains(call), (const uint8_t *)dom->uuid);
    if (!domain) {
        char text[40];
        api_error(err, VIR_ERR_NO_DOMAIN, "no domain with matching uuid '%s' (%s)",
                  uuid_text((const uint8_t *)dom->uuid, text), dom->name);
    }
    return domain;
}

struct domain *call_domain_locked(struct rpc_call *call, const wire_domain *dom,
                                  struct kv_error *err)
{
    struct domain *domain = call_domain(call, dom, err);
    if (domain)
        pthread_mutex_lock(&domain->lock);
    return domain;
}

int call_check_flags(struct rpc_call *call, unsigned flags, unsigned supported,
                     struct kv_error *err)
{
    return rpc_call_check_flags(call, VIR_FROM_QEMU, flags, supported, err);
}

bool domain_is_active(struct domain *domain)
{
    pthread_mutex_lock(&domain->lock);
    bool active = domain->live != NULL;
    pthread_mutex_unlock(&domain->lock);
    return active;
}

int domain_check_active(struct domain *domain, struct kv_error *err)
{
    if (domain_is_active(domain))
        return 0;
    return api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running");
}

int call_impact(struct domain *domain, unsigned flags, struct call_impact *impact,
                struct kv_error *err)
{
    pthread_mutex_lock(&domain->lock);
    bool active = domain->live, persistent = domain->persistent;
    pthread_mutex_unlock(&domain->lock);
    impact->live = flags & VIR_DOMAIN_AFFECT_LIVE;
    impact->config = flags & VIR_DOMAIN_AFFECT_CONFIG;
    if (!impact->live && !impact->config)
        *(active ? &impact->live : &impact->config) = true;
    if (impact->live && !active)
        return api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running");
    if (impact->config && !persistent)
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "transient domains do not have any persistent config");
    return 0;
}

struct domain *call_begin(struct rpc_call *call, const wire_domain *dom, struct kv_error *err)
{
    struct domain *domain = call_domain(call, dom, err);
    if (!domain || domain_job_begin(domain, rpc_call_procedure(call)->name, err)) {
        domain_unref(domain);
        return NULL;
    }
    pthread_mutex_lock(&domain->lock);
    bool there = domain->visible;
    pthread_mutex_unlock(&domain->lock);
    if (!there) {
        domain_gone(domain, err);
        call_end(call, domain);
        return NULL;
    }
    return domain;
}

void call_end(struct rpc_call *call, struct domain *domain)
{
    domain_job_finish(call_domains(call), domain);
    domain_unref(domain);
}

struct model_domain *call_document(struct rpc_call *call, struct domain *domain, bool live,
                                   struct kv_error *err)
{
    if (!live)
        return domain_config_load(call_domains(call), domain, err);
    struct model_domain *copy = NULL;
    pthread_mutex_lock(&domain->lock);
    bool active = domain->live;
    if (active)
        copy = model_domain_copy(domain->live->document);
    pthread_mutex_unlock(&domain->lock);
    if (!active)
        api_error(err, VIR_ERR_OPERATION_INVALID, "domain is not running");
    else if (!copy)
        api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return copy;
}

struct model_domain *call_asked_document(struct rpc_call *call, const wire_domain *dom,
                                         unsigned flags, unsigned more, struct kv_error *err)
{
    if (call_check_flags(call, flags, VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | more,
                         err))
        return NULL;
    cleanup_domain struct domain *domain = call_domain(call, dom, err);
    struct call_impact impact;
    if (!domain || call_impact(domain, flags, &impact, err))
        return NULL;
    return call_document(call, domain, impact.live, err);
}

int wire_domain_fill(wire_domain *out, const struct domain *domain)
{
    /* Either lock is enough; the struct itself does not change by that. */
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&domain->lock;
    pthread_mutex_lock(lock);
    out->name = strdup(domain->name);
    out->id = domain->id;
    pthread_mutex_unlock(lock);
    memcpy(out->uuid, domain->uuid, sizeof(domain->uuid));
    return out->name ? 0 : -ENOMEM;
}

int call_text(char **out, const char *text, struct kv_error *err)
{
    *out = strdup(text);
    return *out ? 0 : api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

int params_reply(struct params *p, int nparams, unsigned *len, wire_param **list, int *number,
                 struct kv_error *err)
{
    *number = 0;
    if (nparams == 0 && !p->failed) {
        *number = (int)p->n;
        params_free(p);
        return 0;
    }
    if (nparams < 0) {
        params_free(p);
        return api_error(err, VIR_ERR_INVALID_ARG, "nparams must not be negative");
    }
    while (p->n > (unsigned)nparams) {
        wire_param *last = &p->list[--p->n];
        if (last->value.type == VIR_TYPED_PARAM_STRING)
            free(last->value.wire_param_value_u.s);
        free(last->field);
    }
    return params_give(p, list, len, err);
}
