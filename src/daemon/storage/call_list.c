/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that list and look up pools and volumes. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/storage/internal.h"

/* --------------------------------------------------------------------- lists of pools */

static int count_pools(struct storage *storage, bool active)
{
    int count = 0;
    pthread_mutex_lock(&storage->lock);
    list_for_each (node, &storage->pools)
        count += list_entry(node, struct pool, node)->active == active;
    pthread_mutex_unlock(&storage->lock);
    return count;
}

CALL(num_of_pools)
{
    REMOTE_RET(CONNECT_NUM_OF_STORAGE_POOLS) *out = ret;
    out->num = count_pools(storage_of(call), true);
    return 0;
}

CALL(num_of_defined_pools)
{
    REMOTE_RET(CONNECT_NUM_OF_DEFINED_STORAGE_POOLS) *out = ret;
    out->num = count_pools(storage_of(call), false);
    return 0;
}

/* Room for at most max names. */
static int names_room(wire_names *out, int max, int limit, struct kv_error *err)
{
    if (max < 0 || max > limit)
        return storage_error(err, VIR_ERR_INVALID_ARG, "maxnames is %d; 0 to %d are possible", max,
                             limit);
    out->names.names_val = calloc((size_t)max + 1, sizeof(wire_text));
    return out->names.names_val ? 0 : storage_no_memory(err);
}

static int names_add(wire_names *out, const char *name, struct kv_error *err)
{
    char *copy = strdup(name);
    if (!copy)
        return storage_no_memory(err);
    out->names.names_val[out->names.names_len++] = copy;
    return 0;
}

static int list_names(struct storage *storage, bool active, int max, wire_names *out,
                      struct kv_error *err)
{
    int r = names_room(out, max, POOLS_MAX, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&storage->lock);
    list_for_each (node, &storage->pools) {
        const struct pool *pool = list_entry(node, struct pool, node);
        if (r == 0 && pool->active == active && out->names.names_len < (u_int)max)
            r = names_add(out, pool->config->name, err);
    }
    pthread_mutex_unlock(&storage->lock);
    return r;
}

CALL(list_pools)
{
    const REMOTE_ARGS(CONNECT_LIST_STORAGE_POOLS) *in = args;
    return list_names(storage_of(call), true, in->maxnames, ret, err);
}

CALL(list_defined_pools)
{
    const REMOTE_ARGS(CONNECT_LIST_DEFINED_STORAGE_POOLS) *in = args;
    return list_names(storage_of(call), false, in->maxnames, ret, err);
}

/* Each group of flags leaves out those that are not so; all or none leave out nothing. */
static bool is_wanted(const struct pool *pool, unsigned flags)
{
    const struct {
        unsigned group, is;
    } groups[] = {
        {VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE | VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE,
         pool->active ? VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE
                      : VIR_CONNECT_LIST_STORAGE_POOLS_INACTIVE},
        {VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT | VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT,
         pool->persistent ? VIR_CONNECT_LIST_STORAGE_POOLS_PERSISTENT
                          : VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT},
        {VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART | VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART,
         pool->autostart ? VIR_CONNECT_LIST_STORAGE_POOLS_AUTOSTART
                         : VIR_CONNECT_LIST_STORAGE_POOLS_NO_AUTOSTART},
        {~(unsigned)(VIR_CONNECT_LIST_STORAGE_POOLS_DIR - 1), VIR_CONNECT_LIST_STORAGE_POOLS_DIR},
    };
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        if ((flags & groups[i].group) && !(flags & groups[i].is))
            return false;
    }
    return true;
}

CALL(list_all_pools)
{
    const REMOTE_ARGS(CONNECT_LIST_ALL_STORAGE_POOLS) *in = args;
    REMOTE_RET(CONNECT_LIST_ALL_STORAGE_POOLS) *out = ret;
    struct storage *storage = storage_of(call);
    unsigned known = VIR_CONNECT_LIST_STORAGE_POOLS_ISCSI_DIRECT * 2 - 1;
    int r = storage_check_flags(call, in->flags, known, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&storage->lock);
    out->pools.pools_val = calloc(storage->count + (size_t)1, sizeof(wire_pool));
    if (!out->pools.pools_val)
        r = storage_no_memory(err);
    list_for_each (node, &storage->pools) {
        const struct pool *pool = list_entry(node, struct pool, node);
        if (r < 0 || !is_wanted(pool, in->flags))
            continue;
        out->result++;
        if (in->want_list)
            r = wire_pool_fill(&out->pools.pools_val[out->pools.pools_len++], pool, err);
    }
    pthread_mutex_unlock(&storage->lock);
    return r;
}

/* ------------------------------------------------------------------- looking for pools */

static int give_pool(wire_pool *out, struct pool *pool, struct kv_error *err)
{
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&pool->storage->lock);
    int r = wire_pool_fill(out, pool, err);
    pthread_mutex_unlock(&pool->storage->lock);
    pool_put(pool);
    return r;
}

CALL(lookup_pool_by_name)
{
    const REMOTE_ARGS(STORAGE_POOL_LOOKUP_BY_NAME) *in = args;
    REMOTE_RET(STORAGE_POOL_LOOKUP_BY_NAME) *out = ret;
    return give_pool(&out->pool, pool_get_named(storage_of(call), in->name, err), err);
}

CALL(lookup_pool_by_uuid)
{
    const REMOTE_ARGS(STORAGE_POOL_LOOKUP_BY_UUID) *in = args;
    REMOTE_RET(STORAGE_POOL_LOOKUP_BY_UUID) *out = ret;
    return give_pool(&out->pool, pool_get(storage_of(call), (const uint8_t *)in->uuid, NULL, err),
                     err);
}

CALL(lookup_pool_by_volume)
{
    const REMOTE_ARGS(STORAGE_POOL_LOOKUP_BY_VOLUME) *in = args;
    REMOTE_RET(STORAGE_POOL_LOOKUP_BY_VOLUME) *out = ret;
    return give_pool(&out->pool, pool_get_named(storage_of(call), in->volume.pool, err), err);
}

CALL(lookup_pool_by_target_path)
{
    const REMOTE_ARGS(STORAGE_POOL_LOOKUP_BY_TARGET_PATH) *in = args;
    REMOTE_RET(STORAGE_POOL_LOOKUP_BY_TARGET_PATH) *out = ret;
    struct storage *storage = storage_of(call);
    cleanup_free char *path = strdup(in->path);
    if (!path)
        return storage_no_memory(err);
    model_path_tidy(path);
    int r = -ENOENT;
    pthread_mutex_lock(&storage->lock);
    list_for_each (node, &storage->pools) {
        const struct pool *pool = list_entry(node, struct pool, node);
        if (pool->active && strcmp(pool->config->path, path) == 0) {
            r = wire_pool_fill(&out->pool, pool, err);
            break;
        }
    }
    pthread_mutex_unlock(&storage->lock);
    return r == -ENOENT ? storage_error(err, VIR_ERR_NO_STORAGE_POOL,
                                        "no storage pool with matching target path '%s'", path)
                        : r;
}

/* -------------------------------------------------------------------- lists of volumes */

/* The active pool of a call, with the lock held; NULL: not, and not held. */
static struct pool *lock_active(struct rpc_call *call, const wire_pool *wire, struct kv_error *err)
{
    struct pool *pool = call_pool(call, wire, err);
    if (!pool)
        return NULL;
    pthread_mutex_lock(&pool->storage->lock);
    if (pool_check_active(pool, err) == 0)
        return pool;
    pthread_mutex_unlock(&pool->storage->lock);
    pool_put(pool);
    return NULL;
}

static int unlock(struct pool *pool, int result)
{
    pthread_mutex_unlock(&pool->storage->lock);
    pool_put(pool);
    return result;
}

CALL(num_of_volumes)
{
    const REMOTE_ARGS(STORAGE_POOL_NUM_OF_VOLUMES) *in = args;
    REMOTE_RET(STORAGE_POOL_NUM_OF_VOLUMES) *out = ret;
    struct pool *pool = lock_active(call, &in->pool, err);
    if (!pool)
        return -EINVAL;
    out->num = (int)pool->volume_count;
    return unlock(pool, 0);
}

CALL(list_volumes)
{
    const REMOTE_ARGS(STORAGE_POOL_LIST_VOLUMES) *in = args;
    REMOTE_RET(STORAGE_POOL_LIST_VOLUMES) *out = ret;
    int r = names_room(out, in->maxnames, VOLUMES_MAX, err);
    struct pool *pool = r < 0 ? NULL : lock_active(call, &in->pool, err);
    if (!pool)
        return r < 0 ? r : -EINVAL;
    for (size_t i = 0; i < pool->volume_count && i < (size_t)in->maxnames && r == 0; i++)
        r = names_add(out, pool->volumes[i]->config.name, err);
    return unlock(pool, r);
}

CALL(list_all_volumes)
{
    const REMOTE_ARGS(STORAGE_POOL_LIST_ALL_VOLUMES) *in = args;
    REMOTE_RET(STORAGE_POOL_LIST_ALL_VOLUMES) *out = ret;
    if (storage_check_flags(call, in->flags, 0, err) < 0)
        return -EINVAL;
    struct pool *pool = lock_active(call, &in->pool, err);
    if (!pool)
        return -EINVAL;
    out->result = (u_int)pool->volume_count;
    if (!in->want_list)
        return unlock(pool, 0);
    out->vols.vols_val = calloc(pool->volume_count + 1, sizeof(wire_volume));
    int r = out->vols.vols_val ? 0 : storage_no_memory(err);
    for (size_t i = 0; i < pool->volume_count && r == 0; i++)
        r = wire_volume_fill(&out->vols.vols_val[out->vols.vols_len++], pool, pool->volumes[i],
                             err);
    return unlock(pool, r);
}

/* ----------------------------------------------------------------- looking for volumes */

CALL(lookup_volume_by_name)
{
    const REMOTE_ARGS(STORAGE_VOL_LOOKUP_BY_NAME) *in = args;
    REMOTE_RET(STORAGE_VOL_LOOKUP_BY_NAME) *out = ret;
    struct pool *pool = lock_active(call, &in->pool, err);
    if (!pool)
        return -EINVAL;
    const struct volume *volume = volume_find(pool, in->name);
    int r = volume ? wire_volume_fill(&out->volume, pool, volume, err)
                   : storage_error(err, VIR_ERR_NO_STORAGE_VOL,
                                   "no storage vol with matching name '%s'", in->name);
    return unlock(pool, r);
}

/* A volume lies right below its pool: the path's directory says which pool it is. */
static int find_by_path(struct storage *storage, const char *path, wire_volume *out,
                        struct kv_error *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return -ENOENT;
    size_t len = slash == path ? 1 : (size_t)(slash - path);
    int r = -ENOENT;
    pthread_mutex_lock(&storage->lock);
    list_for_each (node, &storage->pools) {
        const struct pool *pool = list_entry(node, struct pool, node);
        const char *target = pool->config->path;
        if (!pool->active || strlen(target) != len || strncmp(target, path, len) != 0)
            continue;
        const struct volume *volume = volume_find(pool, slash + 1);
        if (volume) {
            r = wire_volume_fill(out, pool, volume, err);
            break;
        }
    }
    pthread_mutex_unlock(&storage->lock);
    return r;
}

CALL(lookup_volume_by_key)
{
    const REMOTE_ARGS(STORAGE_VOL_LOOKUP_BY_KEY) *in = args;
    REMOTE_RET(STORAGE_VOL_LOOKUP_BY_KEY) *out = ret;
    int r = find_by_path(storage_of(call), in->key, &out->volume, err);
    return r == -ENOENT ? storage_error(err, VIR_ERR_NO_STORAGE_VOL,
                                        "no storage vol with matching key %s", in->key)
                        : r;
}

CALL(lookup_volume_by_path)
{
    const REMOTE_ARGS(STORAGE_VOL_LOOKUP_BY_PATH) *in = args;
    REMOTE_RET(STORAGE_VOL_LOOKUP_BY_PATH) *out = ret;
    cleanup_free char *path = strdup(in->path);
    if (!path)
        return storage_no_memory(err);
    model_path_tidy(path);
    int r = find_by_path(storage_of(call), path, &out->volume, err);
    if (r != -ENOENT)
        return r;
    return strcmp(path, in->path) == 0
               ? storage_error(err, VIR_ERR_NO_STORAGE_VOL,
                               "no storage vol with matching path '%s'", path)
               : storage_error(err, VIR_ERR_NO_STORAGE_VOL,
                               "no storage vol with matching path '%s' (%s)", in->path, path);
}

/* --------------------------------------------------------------------------- the driver */

CALL(find_sources)
{
    const REMOTE_ARGS(CONNECT_FIND_STORAGE_POOL_SOURCES) *in = args;
    if (storage_check_flags(call, in->flags, 0, err) < 0)
        return -EINVAL;
    const char *const *type = model_pool_types;
    while (*type && strcmp(*type, in->type) != 0)
        type++;
    if (!*type)
        return storage_error(err, VIR_ERR_INTERNAL_ERROR, "unknown storage pool type %s", in->type);
    return storage_error(err, VIR_ERR_NO_SUPPORT,
                         "pool type '%s' does not support source discovery", in->type);
}

CALL(capabilities)
{
    const REMOTE_ARGS(CONNECT_GET_STORAGE_POOL_CAPABILITIES) *in = args;
    REMOTE_RET(CONNECT_GET_STORAGE_POOL_CAPABILITIES) *out = ret;
    if (storage_check_flags(call, in->flags, 0, err) < 0)
        return -EINVAL;
    out->capabilities = model_pool_capabilities();
    return out->capabilities ? 0 : storage_no_memory(err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_CONNECT_NUM_OF_STORAGE_POOLS, num_of_pools, 0},
    {REMOTE_PROC_CONNECT_LIST_STORAGE_POOLS, list_pools, 0},
    {REMOTE_PROC_CONNECT_NUM_OF_DEFINED_STORAGE_POOLS, num_of_defined_pools, 0},
    {REMOTE_PROC_CONNECT_LIST_DEFINED_STORAGE_POOLS, list_defined_pools, 0},
    {REMOTE_PROC_CONNECT_LIST_ALL_STORAGE_POOLS, list_all_pools, 0},
    {REMOTE_PROC_STORAGE_POOL_LOOKUP_BY_NAME, lookup_pool_by_name, 0},
    {REMOTE_PROC_STORAGE_POOL_LOOKUP_BY_UUID, lookup_pool_by_uuid, 0},
    {REMOTE_PROC_STORAGE_POOL_LOOKUP_BY_VOLUME, lookup_pool_by_volume, 0},
    {REMOTE_PROC_STORAGE_POOL_LOOKUP_BY_TARGET_PATH, lookup_pool_by_target_path, 0},
    {REMOTE_PROC_STORAGE_POOL_NUM_OF_VOLUMES, num_of_volumes, 0},
    {REMOTE_PROC_STORAGE_POOL_LIST_VOLUMES, list_volumes, 0},
    {REMOTE_PROC_STORAGE_POOL_LIST_ALL_VOLUMES, list_all_volumes, 0},
    {REMOTE_PROC_STORAGE_VOL_LOOKUP_BY_NAME, lookup_volume_by_name, 0},
    {REMOTE_PROC_STORAGE_VOL_LOOKUP_BY_KEY, lookup_volume_by_key, 0},
    {REMOTE_PROC_STORAGE_VOL_LOOKUP_BY_PATH, lookup_volume_by_path, 0},
    {REMOTE_PROC_CONNECT_FIND_STORAGE_POOL_SOURCES, find_sources, 0},
    {REMOTE_PROC_CONNECT_GET_STORAGE_POOL_CAPABILITIES, capabilities, 0},
};
const struct storage_rows storage_list_rows = {rows, ARRAY_SIZE(rows)};
