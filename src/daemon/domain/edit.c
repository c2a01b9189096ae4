/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Changes of documents; see edit.h. */
#include "daemon/domain/edit.h"

#include <errno.h>

#include "daemon/domain/plug.h"

/* The live document is changed as a copy, then put in its place. */
int domain_edit_live(struct domain_live *live, const struct edit *edit, struct kv_error *err)
{
    struct domain *domain = live->domain;
    pthread_mutex_lock(&domain->lock);
    struct model_domain *copy = model_domain_copy(live->document);
    pthread_mutex_unlock(&domain->lock);
    if (!copy)
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    int ret = edit->document(copy, true, edit->opaque, err);
    if (!ret && edit->machine)
        ret = edit->machine(live->machine, edit->opaque, err);
    if (!ret) {
        pthread_mutex_lock(&domain->lock);
        struct model_domain *old = live->document;
        live->document = copy;
        domain->updated = true;
        domain_text_changed(live->domains, domain, DOMAIN_TEXT_LIVE);
        pthread_mutex_unlock(&domain->lock);
        copy = old;
        ret = domain_live_save(live, err);
    }
    model_domain_free(copy);
    return ret == EDIT_LATER ? 0 : ret;
}

int domain_edit(struct rpc_call *call, struct domain *domain, const struct call_impact *impact,
                const struct edit *edit, struct kv_error *err)
{
    struct domains *domains = call_domains(call);
    struct model_domain *model = NULL;
    cleanup_live struct domain_live *live = NULL;
    int ret = 0;
    if (impact->live && edit->live_refused)
        return api_error(err, VIR_ERR_OPERATION_UNSUPPORTED, "%s", edit->live_refused);
    if (impact->live && !(live = domain_live_get(domain, err)))
        return -EINVAL;
    if (impact->config) {
        model = domain_config_load(domains, domain, err);
        ret = model ? edit->document(model, false, edit->opaque, err) : -EINVAL;
    }
    if (!ret && live)
        ret = domain_edit_live(live, edit, err);
    if (!ret && model)
        ret = domain_config_store(domains, domain, model, err);
    model_domain_free(model);
    return ret;
}

int call_edit(struct rpc_call *call, const wire_domain *dom, unsigned flags,
              const struct edit *edit, struct kv_error *err)
{
    struct domain *domain = call_begin(call, dom, err);
    if (!domain)
        return -ENOENT;
    struct call_impact impact;
    int ret = call_impact(domain, flags, &impact, err);
    if (!ret)
        ret = domain_edit(call, domain, &impact, edit, err);
    if (edit->plug && edit->plug->event)
        domain_event_device(call_domains(call), domain, edit->plug->event, edit->plug->alias);
    call_end(call, domain);
    return ret;
}
