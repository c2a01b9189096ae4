/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The list of pools, and the start and end of the storage driver. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/storage/internal.h"
#include "model/uuid.h"

/* The one that runs, for storage_find_volume(). Set before calls are served. */
static struct storage *running;

struct storage *storage_of(const struct rpc_call *call)
{
    return rpc_call_opaque(call);
}

int storage_no_memory(struct kv_error *err)
{
    return storage_error(err, VIR_ERR_NO_MEMORY, NULL);
}

int storage_check_flags(const struct rpc_call *call, unsigned flags, unsigned known,
                        struct kv_error *err)
{
    return rpc_call_check_flags(call, VIR_FROM_STORAGE, flags, known, err);
}

/* ---------------------------------------------------------------------- the list */

struct pool *pool_by_uuid(struct storage *storage, const uint8_t uuid[16])
{
    list_for_each (node, &storage->pools) {
        struct pool *pool = list_entry(node, struct pool, node);
        if (memcmp(pool->uuid, uuid, sizeof(pool->uuid)) == 0)
            return pool;
    }
    return NULL;
}

struct pool *pool_by_name(struct storage *storage, const char *name)
{
    list_for_each (node, &storage->pools) {
        struct pool *pool = list_entry(node, struct pool, node);
        if (strcmp(pool->config->name, name) == 0)
            return pool;
    }
    return NULL;
}

struct pool *pool_ref(struct pool *pool)
{
    if (pool)
        pool->refs++;
    return pool;
}

struct pool *pool_get(struct storage *storage, const uint8_t uuid[16], const char *name,
                      struct kv_error *err)
{
    char text[UUID_TEXT];
    pthread_mutex_lock(&storage->lock);
    struct pool *pool = pool_ref(pool_by_uuid(storage, uuid));
    pthread_mutex_unlock(&storage->lock);
    if (pool)
        return pool;
    uuid_format(uuid, text);
    if (name)
        storage_error(err, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching uuid '%s' (%s)",
                      text, name);
    else
        storage_error(err, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching uuid '%s'",
                      text);
    return NULL;
}

struct pool *pool_get_named(struct storage *storage, const char *name, struct kv_error *err)
{
    pthread_mutex_lock(&storage->lock);
    struct pool *pool = pool_ref(pool_by_name(storage, name));
    pthread_mutex_unlock(&storage->lock);
    if (!pool)
        storage_error(err, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching name '%s'",
                      name);
    return pool;
}

struct pool *pool_create(struct storage *storage, struct model_pool *config)
{
    struct pool *pool = calloc(1, sizeof(*pool));
    if (!pool) {
        model_pool_free(config);
        return NULL;
    }
    *pool = (struct pool){.refs = 1, .storage = storage, .config = config};
    memcpy(pool->uuid, config->uuid, sizeof(pool->uuid));
    list_init(&pool->node);
    pthread_mutex_init(&pool->job, NULL);
    return pool;
}

static void pool_free(struct pool *pool)
{
    volumes_clear(pool);
    model_pool_free(pool->config);
    model_pool_free(pool->next_config);
    pthread_mutex_destroy(&pool->job);
    free(pool);
}

void pool_put(struct pool *pool)
{
    if (!pool)
        return;
    struct storage *storage = pool->storage;
    pthread_mutex_lock(&storage->lock);
    bool last = --pool->refs == 0;
    pthread_mutex_unlock(&storage->lock);
    if (last)
        pool_free(pool);
}

void pool_list(struct pool *pool)
{
    list_add_tail(&pool->storage->pools, &pool->node);
    pool->storage->count++;
    pool->listed = true;
    pool->refs++;
}

void pool_unlist(struct pool *pool)
{
    if (!pool->listed)
        return;
    list_del(&pool->node);
    pool->storage->count--;
    pool->listed = false;
    pool->refs--; /* who calls has one of its own */
}

/* --------------------------------------------------------------------- for domains */

int storage_find_volume(const char *pool_name, const char *name, char **path, struct kv_error *err)
{
    if (!running)
        return storage_error(err, VIR_ERR_NO_STORAGE_POOL,
                             "no storage pool with matching name '%s'", pool_name);
    cleanup_pool struct pool *pool = pool_get_named(running, pool_name, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&running->lock);
    int r = pool_check_active(pool, err);
    const struct volume *volume = r < 0 ? NULL : volume_find(pool, name);
    if (volume && volume->building)
        r = storage_error(err, VIR_ERR_OPERATION_INVALID, "volume '%s' is still being allocated.",
                          name);
    else if (volume && !(*path = strdup(volume->config.path)))
        r = storage_no_memory(err);
    else if (r == 0 && !volume)
        r = storage_error(err, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching name '%s'",
                          name);
    pthread_mutex_unlock(&running->lock);
    return r;
}

/* ------------------------------------------------------------------- start and stop */

static void stop(void *opaque)
{
    struct storage *storage = opaque;
    running = NULL;
    pthread_mutex_lock(&storage->lock);
    while (storage->transfers)
        pthread_cond_wait(&storage->no_transfers, &storage->lock);
    pthread_mutex_unlock(&storage->lock);
    list_for_each_safe (node, &storage->pools)
        pool_free(list_entry(node, struct pool, node));
    pthread_cond_destroy(&storage->no_transfers);
    pthread_mutex_destroy(&storage->lock);
    pthread_mutex_destroy(&storage->define);
    free(storage->run_dir);
    free(storage);
}

static int start(struct daemon *daemon, void **opaque, struct kv_error *err)
{
    struct storage *storage = calloc(1, sizeof(*storage));
    if (!storage)
        return kv_error_errno(err, KV_ERR_BASE, ENOMEM, "storage");
    storage->daemon = daemon;
    list_init(&storage->pools);
    pthread_mutex_init(&storage->lock, NULL);
    pthread_mutex_init(&storage->define, NULL);
    pthread_cond_init(&storage->no_transfers, NULL);
    int r = asprintf(&storage->run_dir, "%s/storage", daemon->run_dir) < 0
                ? kv_error_errno(err, KV_ERR_BASE, ENOMEM, "storage")
                : storage_load(storage, err);
    if (r < 0) {
        stop(storage);
        return r;
    }
    storage_start_pools(storage);
    running = storage;
    *opaque = storage;
    return 0;
}

const struct daemon_driver storage_driver = {
    .name = "storage",
    .handlers = storage_handlers,
    .start = start,
    .stop = stop,
};
