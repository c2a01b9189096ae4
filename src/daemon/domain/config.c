/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Definitions: documents in the database, a summary of each in memory. Who
 * changes one has the domain's job.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/domain/call.h"
#include "daemon/domain/domain.h"

void domain_summary_free(struct domain_summary *summary)
{
    free(summary->disks);
    memset(summary, 0, sizeof(*summary));
}

static const char *disk_source(const struct model_disk *disk)
{
    return disk->image.path ? disk->image.path : "";
}

int domain_summary_fill(struct domain_summary *summary, const struct model_domain *model)
{
    size_t len = 0;
    for (unsigned i = 0; i < model->disk_count; i++)
        len += strlen(model->disks[i].target) + strlen(disk_source(&model->disks[i])) + 2;
    struct domain_summary filled = {
        .max_memory_kib = model->memory_kib,
        .memory_kib = model->current_memory_kib,
        .vcpus = (uint16_t)model->vcpus,
        .max_vcpus = (uint16_t)model->vcpus_max,
        .disk_count = (uint16_t)model->disk_count,
        .disks = len ? malloc(len) : NULL,
    };
    if (len && !filled.disks)
        return -ENOMEM;
    char *p = filled.disks;
    for (unsigned i = 0; i < model->disk_count; i++) {
        p = stpcpy(p, model->disks[i].target) + 1;
        p = stpcpy(p, disk_source(&model->disks[i])) + 1;
    }
    domain_summary_free(summary);
    *summary = filled;
    return 0;
}

/* Undefined, or ended, since it was looked up. */
int domain_gone(struct domain *domain, struct kv_error *err)
{
    char uuid[40], name[256];
    pthread_mutex_lock(&domain->lock);
    snprintf(name, sizeof(name), "%s", domain->name);
    pthread_mutex_unlock(&domain->lock);
    return api_error(err, VIR_ERR_NO_DOMAIN, "no domain with matching uuid '%s' (%s)",
                     uuid_text(domain->uuid, uuid), name);
}

int domain_config_text(struct domains *domains, struct domain *domain, char **text,
                       struct kv_error *err)
{
    int ret = state_read_document(domains->state, STATE_DOMAIN, domain->uuid, text, err);
    return ret == -ENOENT ? domain_gone(domain, err) : ret;
}

struct model_domain *domain_config_parse(struct domains *domains, const char *text,
                                         struct kv_error *err)
{
    struct model_domain *model = NULL;
    model_domain_parse(&model, domains->model_host, text, strlen(text),
                       MODEL_PARSE_STORED | MODEL_PARSE_INACTIVE, err);
    return model;
}

struct model_domain *domain_config_load(struct domains *domains, struct domain *domain,
                                        struct kv_error *err)
{
    cleanup_free char *text = NULL;
    if (domain_config_text(domains, domain, &text, err))
        return NULL;
    return domain_config_parse(domains, text, err);
}

int domain_config_store(struct domains *domains, struct domain *domain,
                        const struct model_domain *model, struct kv_error *err)
{
    struct domain_summary summary = {0};
    cleanup_free char *text =
        model_domain_format(model, MODEL_FORMAT_SECURE | MODEL_FORMAT_INACTIVE);
    if (!text || domain_summary_fill(&summary, model))
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    pthread_mutex_lock(&domain->lock);
    bool autostart = domain->autostart;
    pthread_mutex_unlock(&domain->lock);
    struct state_object object = {
        .kind = STATE_DOMAIN, .name = model->name, .document = text, .autostart = autostart};
    memcpy(object.uuid, domain->uuid, sizeof(object.uuid));
    int ret = state_put(domains->state, &object, err);
    if (ret) {
        domain_summary_free(&summary);
        return ret;
    }
    pthread_mutex_lock(&domain->lock);
    struct domain_summary old = domain->summary;
    domain->summary = summary;
    domain->persistent = domain->visible = true;
    pthread_mutex_unlock(&domain->lock);
    domain_text_changed(domains, domain, DOMAIN_TEXT_STORED);
    domain_summary_free(&old);
    return 0;
}

/* One row of the database. A document that this version cannot read keeps its place: the others
 * must come up, and it can still be looked at and undefined. */
static int load_one(void *opaque, const struct state_object *object)
{
    struct domains *domains = opaque;
    struct kv_error err = {0};
    struct domain *domain = domains_reserve(domains, object->uuid, object->name, &err);
    if (!domain) {
        log_error("domain '%s': %s", object->name, err.message);
        return 0;
    }
    struct model_domain *model = domain_config_parse(domains, object->document, &err);
    if (!model)
        log_error("domain '%s': its definition cannot be used: %s", object->name, err.message);
    else if (domain_summary_fill(&domain->summary, model))
        log_error("domain '%s': out of memory", object->name);
    model_domain_free(model);
    domain->persistent = domain->visible = true;
    domain->autostart = object->autostart;
    domain_unref(domain);
    return 0;
}

int domains_load(struct domains *domains, struct kv_error *err)
{
    return state_each(domains->state, STATE_DOMAIN, load_one, domains, err);
}
