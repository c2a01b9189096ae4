/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The list of domains, found by uuid, name and number in constant time; see
 * domain.h for its locks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/domain/call.h"
#include "daemon/domain/domain.h"

#define FIRST_SIZE 64

static size_t hash_bytes(const void *bytes, size_t len)
{
    const unsigned char *p = bytes;
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

static size_t hash_uuid(const struct domain *d)
{
    return hash_bytes(d->uuid, sizeof(d->uuid));
}

static size_t hash_name(const struct domain *d)
{
    return hash_bytes(d->name, strlen(d->name));
}

static size_t hash_id(const struct domain *d)
{
    return hash_bytes(&d->id, sizeof(d->id));
}

/* What differs between the three ways to find a domain. */
struct index_kind {
    size_t index, next; /* offsets in struct domains, struct domain */
    size_t (*hash)(const struct domain *domain);
};
static const struct index_kind uuid_index = {offsetof(struct domains, by_uuid),
                                             offsetof(struct domain, next_by_uuid), hash_uuid};
static const struct index_kind name_index = {offsetof(struct domains, by_name),
                                             offsetof(struct domain, next_by_name), hash_name};
static const struct index_kind id_index = {offsetof(struct domains, by_id),
                                           offsetof(struct domain, next_by_id), hash_id};

static struct domain_index *index_of(struct domains *domains, const struct index_kind *kind)
{
    return (struct domain_index *)((char *)domains + kind->index);
}

static struct domain **next_of(struct domain *domain, const struct index_kind *kind)
{
    return (struct domain **)((char *)domain + kind->next);
}

static struct domain **bucket_of(struct domains *domains, const struct index_kind *kind,
                                 size_t hash)
{
    struct domain_index *index = index_of(domains, kind);
    return &index->buckets[hash & (index->size - 1)];
}

static void index_add(struct domains *domains, const struct index_kind *kind, struct domain *domain)
{
    struct domain **bucket = bucket_of(domains, kind, kind->hash(domain));
    *next_of(domain, kind) = *bucket;
    *bucket = domain;
}

static void index_remove(struct domains *domains, const struct index_kind *kind,
                         struct domain *domain)
{
    struct domain **link = bucket_of(domains, kind, kind->hash(domain));
    while (*link && *link != domain)
        link = next_of(*link, kind);
    if (*link)
        *link = *next_of(domain, kind);
}

/* A larger table; the old one stays when there is no memory, which only costs time. */
static void index_grow(struct domains *domains, const struct index_kind *kind)
{
    struct domain_index *index = index_of(domains, kind), old = *index;
    struct domain **buckets = calloc(old.size * 2, sizeof(struct domain *));
    if (!buckets)
        return;
    *index = (struct domain_index){buckets, old.size * 2};
    for (size_t i = 0; i < old.size; i++)
        for (struct domain *d = old.buckets[i], *next; d; d = next) {
            next = *next_of(d, kind);
            index_add(domains, kind, d);
        }
    free(old.buckets);
}

int domains_init_list(struct domains *domains, struct kv_error *err)
{
    static const struct index_kind *const kinds[] = {&uuid_index, &name_index, &id_index};
    pthread_mutex_init(&domains->lock, NULL);
    domain_texts_init(&domains->texts);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct domain_index *index = index_of(domains, kinds[i]);
        index->buckets = calloc(FIRST_SIZE, sizeof(struct domain *));
        index->size = FIRST_SIZE;
        if (!index->buckets)
            return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "list of domains");
    }
    return 0;
}

void domains_free_list(struct domains *domains)
{
    domain_texts_free(&domains->texts);
    domains_release(domains->all, domains->count);
    free(domains->by_uuid.buckets);
    free(domains->by_name.buckets);
    free(domains->by_id.buckets);
    pthread_mutex_destroy(&domains->lock);
}

struct domain *domain_ref(struct domain *domain)
{
    atomic_fetch_add(&domain->refs, 1);
    return domain;
}

void domain_unref(struct domain *domain)
{
    if (!domain || atomic_fetch_sub(&domain->refs, 1) != 1)
        return;
    domain_summary_free(&domain->summary);
    pthread_cond_destroy(&domain->changed);
    pthread_mutex_destroy(&domain->lock);
    free(domain->name);
    free(domain);
}

/* Under the list's lock; also invisible ones. */
static struct domain *find_uuid(struct domains *domains, const uint8_t uuid[16])
{
    struct domain *d = *bucket_of(domains, &uuid_index, hash_bytes(uuid, 16));
    while (d && memcmp(d->uuid, uuid, 16) != 0)
        d = d->next_by_uuid;
    return d;
}

static struct domain *find_name(struct domains *domains, const char *name)
{
    struct domain *d = *bucket_of(domains, &name_index, hash_bytes(name, strlen(name)));
    while (d && strcmp(d->name, name) != 0)
        d = d->next_by_name;
    return d;
}

/* Whose that name is, or still is while it gets another. */
static struct domain *find_taken(struct domains *domains, const char *name)
{
    struct domain *d = find_name(domains, name);
    for (struct domain_renaming *r = domains->renamings; !d && r; r = r->next)
        if (strcmp(r->old, name) == 0)
            d = r->domain;
    return d;
}

static bool is_visible(struct domain *domain)
{
    pthread_mutex_lock(&domain->lock);
    bool visible = domain->visible;
    pthread_mutex_unlock(&domain->lock);
    return visible;
}

struct domain *domains_by_uuid(struct domains *domains, const uint8_t uuid[16])
{
    pthread_mutex_lock(&domains->lock);
    struct domain *d = find_uuid(domains, uuid);
    d = d && is_visible(d) ? domain_ref(d) : NULL;
    pthread_mutex_unlock(&domains->lock);
    return d;
}

struct domain *domains_by_name(struct domains *domains, const char *name)
{
    pthread_mutex_lock(&domains->lock);
    struct domain *d = find_name(domains, name);
    d = d && is_visible(d) ? domain_ref(d) : NULL;
    pthread_mutex_unlock(&domains->lock);
    return d;
}

struct domain *domains_by_id(struct domains *domains, int id)
{
    pthread_mutex_lock(&domains->lock);
    struct domain *d = *bucket_of(domains, &id_index, hash_bytes(&id, sizeof(id)));
    while (d && d->id != id)
        d = d->next_by_id;
    d = d && is_visible(d) ? domain_ref(d) : NULL;
    pthread_mutex_unlock(&domains->lock);
    return d;
}

static struct domain *domain_new(const uint8_t uuid[16], const char *name)
{
    struct domain *d = calloc(1, sizeof(*d));
    char *copy = strdup(name);
    if (!d || !copy) {
        free(d);
        free(copy);
        return NULL;
    }
    atomic_init(&d->refs, 1);
    memcpy(d->uuid, uuid, 16);
    d->name = copy;
    d->id = -1;
    d->state = VIR_DOMAIN_SHUTOFF;
    d->agent_seconds = MACHINE_AGENT_DEFAULT;
    pthread_mutex_init(&d->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&d->changed, &attr);
    pthread_condattr_destroy(&attr);
    return d;
}

static int list_domain(struct domains *domains, struct domain *d)
{
    if (domains->count == domains->room) {
        size_t room = MAX(domains->room * 2, (size_t)FIRST_SIZE);
        struct domain **all = realloc(domains->all, room * sizeof(struct domain *));
        if (!all)
            return -ENOMEM;
        domains->all = all;
        domains->room = room;
    }
    if (domains->count >= domains->by_uuid.size) {
        index_grow(domains, &uuid_index);
        index_grow(domains, &name_index);
        index_grow(domains, &id_index);
    }
    domains->all[domains->count++] = d;
    index_add(domains, &uuid_index, d);
    index_add(domains, &name_index, d);
    d->listed = true;
    return 0;
}

struct domain *domains_reserve(struct domains *domains, const uint8_t uuid[16], const char *name,
                               struct kv_error *err)
{
    char text[40];
    pthread_mutex_lock(&domains->lock);
    struct domain *d = find_uuid(domains, uuid);
    if (d && strcmp(d->name, name) != 0) {
        api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_OPERATION_FAILED,
                       "domain '%s' is already defined with uuid %s", d->name,
                       uuid_text(d->uuid, text));
        d = NULL;
    } else if (d) {
        domain_ref(d);
    } else if ((d = find_taken(domains, name))) {
        api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_OPERATION_FAILED,
                       "domain '%s' already exists with uuid %s", name, uuid_text(d->uuid, text));
        d = NULL;
    } else if ((d = domain_new(uuid, name)) && list_domain(domains, d) == 0) {
        domain_ref(d);
    } else {
        domain_unref(d);
        d = NULL;
        kv_error_errno(err, KV_ERR_BASE, ENOMEM, "domain '%s'", name);
    }
    pthread_mutex_unlock(&domains->lock);
    return d;
}

struct domain *domains_reserve_job(struct domains *domains, const uint8_t uuid[16],
                                   const char *name, const char *job, struct kv_error *err)
{
    for (;;) {
        struct domain *d = domains_reserve(domains, uuid, name, err);
        if (!d || domain_job_begin(d, job, err)) {
            domain_unref(d);
            return NULL;
        }
        pthread_mutex_lock(&domains->lock);
        bool listed = d->listed;
        pthread_mutex_unlock(&domains->lock);
        if (listed)
            return d;
        /* It went away while we waited for the job: the next one is new. */
        domain_job_end(d);
        domain_unref(d);
    }
}

/* With the list's lock. */
static void unlist(struct domains *domains, struct domain *domain)
{
    if (!domain->listed)
        return;
    domain->listed = false;
    domain_texts_forget(domains, domain);
    size_t at = 0;
    while (domains->all[at] != domain)
        at++;
    domains->count--;
    memmove(&domains->all[at], &domains->all[at + 1],
            (domains->count - at) * sizeof(struct domain *));
    index_remove(domains, &uuid_index, domain);
    index_remove(domains, &name_index, domain);
    domain_unref(domain);
}

static void remove_unneeded(struct domains *domains, struct domain *domain, unsigned reaping,
                            bool with_job)
{
    pthread_mutex_lock(&domains->lock);
    pthread_mutex_lock(&domain->lock);
    bool needed = domain->persistent || domain->live || domain->reaping > reaping ||
                  (domain->job && !with_job);
    if (!needed)
        domain->visible = false;
    pthread_cond_broadcast(&domain->changed);
    pthread_mutex_unlock(&domain->lock);
    if (!needed)
        unlist(domains, domain);
    pthread_mutex_unlock(&domains->lock);
}

void domains_remove_unneeded(struct domains *domains, struct domain *domain, unsigned reaping)
{
    remove_unneeded(domains, domain, reaping, false);
}

void domain_job_finish(struct domains *domains, struct domain *domain)
{
    remove_unneeded(domains, domain, 0, true);
    domain_job_end(domain);
}

/* With the list's lock. */
static void set_name(struct domains *domains, struct domain *domain, char *name)
{
    index_remove(domains, &name_index, domain);
    pthread_mutex_lock(&domain->lock);
    domain->name = name;
    pthread_mutex_unlock(&domain->lock);
    index_add(domains, &name_index, domain);
}

int domains_rename_begin(struct domains *domains, struct domain_renaming *renaming,
                         struct domain *domain, const char *name, struct kv_error *err)
{
    char *copy = strdup(name);
    if (!copy)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "rename");
    pthread_mutex_lock(&domains->lock);
    bool taken = find_taken(domains, name);
    if (!taken) {
        *renaming = (struct domain_renaming){domain, domain->name, domains->renamings};
        domains->renamings = renaming;
        set_name(domains, domain, copy);
    }
    pthread_mutex_unlock(&domains->lock);
    if (!taken)
        return 0;
    free(copy);
    return api_error_from(err, VIR_FROM_DOMAIN, VIR_ERR_OPERATION_INVALID,
                          "domain with name '%s' already exists", name);
}

void domains_rename_end(struct domains *domains, struct domain_renaming *renaming, bool stored)
{
    char *unused = renaming->old;
    pthread_mutex_lock(&domains->lock);
    struct domain_renaming **at = &domains->renamings;
    while (*at != renaming)
        at = &(*at)->next;
    *at = renaming->next;
    if (!stored) {
        unused = renaming->domain->name;
        set_name(domains, renaming->domain, renaming->old);
    }
    pthread_mutex_unlock(&domains->lock);
    free(unused);
}

int domains_set_id(struct domains *domains, struct domain *domain, int id)
{
    pthread_mutex_lock(&domains->lock);
    if (domain->id >= 0)
        index_remove(domains, &id_index, domain);
    if (id == 0)
        id = domains->last_id + 1;
    if (id > domains->last_id)
        domains->last_id = id;
    pthread_mutex_lock(&domain->lock);
    domain->id = id;
    pthread_mutex_unlock(&domain->lock);
    if (id >= 0)
        index_add(domains, &id_index, domain);
    pthread_mutex_unlock(&domains->lock);
    return id;
}

struct domain **domains_snapshot(struct domains *domains, size_t *count)
{
    pthread_mutex_lock(&domains->lock);
    struct domain **array = calloc(domains->count + 1, sizeof(struct domain *));
    *count = 0;
    for (size_t i = 0; array && i < domains->count; i++) {
        struct domain *d = domains->all[i];
        domain_fetch_ahead(domains->all, domains->count, i);
        pthread_mutex_lock(&d->lock);
        if (d->visible)
            array[(*count)++] = domain_ref(d);
        /* These will be wanted next. */
        __builtin_prefetch(d->name);
        __builtin_prefetch(d->summary.disks);
        pthread_mutex_unlock(&d->lock);
    }
    pthread_mutex_unlock(&domains->lock);
    return array;
}

void domains_release(struct domain **array, size_t count)
{
    for (size_t i = 0; array && i < count; i++)
        domain_unref(array[i]);
    free(array);
}
