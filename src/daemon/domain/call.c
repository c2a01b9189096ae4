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

int call_check_flags(struct rpc_call *call, unsigned flags, unsigned supported,
                     struct kv_error *err)
{
    if (!(flags & ~supported))
        return 0;
    return api_error(err, VIR_ERR_INVALID_ARG, "unsupported flags (0x%x) in function %s",
                     flags & ~supported, rpc_call_procedure(call)->name);
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
        char text[40];
        api_error(err, VIR_ERR_NO_DOMAIN, "no domain with matching uuid '%s' (%s)",
                  uuid_text(domain->uuid, text), dom->name);
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

static wire_param_value *params_add(struct params *p, const char *field, int type)
{
    static wire_param_value nowhere;
    if (p->failed)
        return &nowhere;
    if (p->count == p->capacity) {
        unsigned capacity = p->capacity ? p->capacity * 2 : 16;
        wire_param *list = realloc(p->list, capacity * sizeof(*list));
        if (!list) {
            p->failed = true;
            return &nowhere;
        }
        p->list = list;
        p->capacity = capacity;
    }
    wire_param *param = &p->list[p->count];
    memset(param, 0, sizeof(*param));
    param->field = strdup(field);
    param->value.type = type;
    if (!param->field) {
        p->failed = true;
        return &nowhere;
    }
    p->count++;
    return &param->value;
}

void params_int(struct params *p, const char *field, int value)
{
    params_add(p, field, VIR_TYPED_PARAM_INT)->wire_param_value_u.i = value;
}

void params_uint(struct params *p, const char *field, unsigned value)
{
    params_add(p, field, VIR_TYPED_PARAM_UINT)->wire_param_value_u.ui = value;
}

void params_llong(struct params *p, const char *field, int64_t value)
{
    params_add(p, field, VIR_TYPED_PARAM_LLONG)->wire_param_value_u.l = value;
}

void params_ullong(struct params *p, const char *field, uint64_t value)
{
    params_add(p, field, VIR_TYPED_PARAM_ULLONG)->wire_param_value_u.ul = value;
}

void params_double(struct params *p, const char *field, double value)
{
    params_add(p, field, VIR_TYPED_PARAM_DOUBLE)->wire_param_value_u.d = value;
}

void params_bool(struct params *p, const char *field, bool value)
{
    params_add(p, field, VIR_TYPED_PARAM_BOOLEAN)->wire_param_value_u.b = value;
}

void params_string(struct params *p, const char *field, const char *value)
{
    char *copy = strdup(value ? value : "");
    if (!copy) {
        p->failed = true;
        return;
    }
    unsigned before = p->count;
    params_add(p, field, VIR_TYPED_PARAM_STRING)->wire_param_value_u.s = copy;
    if (p->count == before)
        free(copy);
}

void params_free(struct params *p)
{
    for (unsigned i = 0; i < p->count; i++) {
        if (p->list[i].value.type == VIR_TYPED_PARAM_STRING)
            free(p->list[i].value.wire_param_value_u.s);
        free(p->list[i].field);
    }
    free(p->list);
    memset(p, 0, sizeof(*p));
}

int params_take(struct params *p, unsigned *len, wire_param **list, struct kv_error *err)
{
    if (p->failed) {
        params_free(p);
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    *len = p->count;
    *list = p->list;
    memset(p, 0, sizeof(*p));
    return 0;
}

int params_reply(struct params *p, int nparams, unsigned *len, wire_param **list, int *number,
                 struct kv_error *err)
{
    *number = 0;
    if (nparams == 0 && !p->failed) {
        *number = (int)p->count;
        params_free(p);
        return 0;
    }
    if (nparams < 0) {
        params_free(p);
        return api_error(err, VIR_ERR_INVALID_ARG, "nparams must not be negative");
    }
    while (p->count > (unsigned)nparams) {
        wire_param *last = &p->list[--p->count];
        if (last->value.type == VIR_TYPED_PARAM_STRING)
            free(last->value.wire_param_value_u.s);
        free(last->field);
    }
    return params_take(p, len, list, err);
}
