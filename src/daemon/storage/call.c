/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Helpers of the procedures; see internal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/storage/internal.h"

struct pool *call_pool(struct rpc_call *call, const wire_pool *wire, struct kv_error *err)
{
    return pool_get(storage_of(call), (const uint8_t *)wire->uuid, wire->name, err);
}

int wire_pool_fill(wire_pool *out, const struct pool *pool, struct kv_error *err)
{
    memcpy(out->uuid, pool->uuid, sizeof(out->uuid));
    out->name = strdup(pool->config->name);
    return out->name ? 0 : storage_no_memory(err);
}

int wire_volume_fill(wire_volume *out, const struct pool *pool, const struct volume *volume,
                     struct kv_error *err)
{
    out->pool = strdup(pool->config->name);
    out->name = strdup(volume->config.name);
    out->key = strdup(volume->config.path);
    return out->pool && out->name && out->key ? 0 : storage_no_memory(err);
}

/* ---------------------------------------------------------------------- conditions */

int pool_check_active(const struct pool *pool, struct kv_error *err)
{
    return pool->active ? 0
                        : storage_error(err, VIR_ERR_OPERATION_INVALID,
                                        "storage pool '%s' is not active", pool->config->name);
}

int pool_check_inactive(const struct pool *pool, const char *still, struct kv_error *err)
{
    return pool->active ? storage_error(err, VIR_ERR_OPERATION_INVALID,
                                        "storage pool '%s' is %s active", pool->config->name, still)
                        : 0;
}

int pool_check_idle(const struct pool *pool, struct kv_error *err)
{
    return pool->jobs
               ? storage_error(err, VIR_ERR_INTERNAL_ERROR,
                               "pool '%s' has asynchronous jobs running.", pool->config->name)
               : 0;
}

/* ------------------------------------------------------------------------- volumes */

struct volume *call_volume_lock(struct rpc_call *call, const wire_volume *wire, struct pool **out,
                                struct kv_error *err)
{
    struct storage *storage = storage_of(call);
    struct pool *pool = pool_get_named(storage, wire->pool, err);
    if (!pool)
        return NULL;
    pthread_mutex_lock(&storage->lock);
    struct volume *volume = pool_check_active(pool, err) < 0 ? NULL : volume_find(pool, wire->name);
    if (!volume && pool->active)
        storage_error(err, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching name '%s'",
                      wire->name);
    if (volume) {
        *out = pool;
        return volume;
    }
    pthread_mutex_unlock(&storage->lock);
    pool_put(pool);
    return NULL;
}

static int copy_text(char **out, const char *text)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? -ENOMEM : 0;
}

int volume_config_copy(struct model_volume *out, const struct model_volume *config)
{
    *out = *config;
    int r = copy_text(&out->name, config->name);
    r |= copy_text(&out->path, config->path);
    r |= copy_text(&out->permissions.label, config->permissions.label);
    r |= copy_text(&out->compat, config->compat);
    r |= copy_text(&out->secret_uuid, config->secret_uuid);
    r |= copy_text(&out->secret_usage, config->secret_usage);
    r |= copy_text(&out->backing_path, config->backing_path);
    if (r)
        model_volume_clear(out);
    return r ? -ENOMEM : 0;
}

int volume_use_begin(struct volume_use *use, struct pool *pool, struct volume *volume, bool alone,
                     struct kv_error *err)
{
    const char *name = volume->config.name;
    if (volume->building)
        return storage_error(err, VIR_ERR_OPERATION_INVALID,
                             "volume '%s' is still being allocated.", name);
    if (alone && volume->in_use)
        return storage_error(err, VIR_ERR_OPERATION_INVALID, "volume '%s' is still in use.", name);
    if (volume_config_copy(&use->config, &volume->config) < 0)
        return storage_no_memory(err);
    use->pool = pool_ref(pool);
    use->volume = volume;
    volume->refs++;
    volume->in_use++;
    pool->jobs++;
    return 0;
}

void volume_use_end(struct volume_use *use)
{
    struct storage *storage = use->pool->storage;
    /* Not what is there: what the file is now. */
    bool there = probe_volume(&use->config) == 0;
    pool_measure(use->pool);
    pthread_mutex_lock(&storage->lock);
    struct volume *volume = use->volume;
    volume->in_use--;
    use->pool->jobs--;
    if (there) {
        struct model_volume old = volume->config;
        volume->config = use->config;
        use->config = old;
    }
    volume_unref(volume);
    pthread_mutex_unlock(&storage->lock);
    model_volume_clear(&use->config);
    pool_put(use->pool);
}
