/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that make, change and remove volumes. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/storage/internal.h"

/* ------------------------------------------------------------------------------ making */

static int check_name(const struct pool *pool, const char *name, struct kv_error *err)
{
    if (strchr(name, '/'))
        return storage_error(err, VIR_ERR_OPERATION_INVALID, "volume name '%s' cannot contain '/'",
                             name);
    for (const char *p = name; *p; p++) {
        if (iscntrl((unsigned char)*p))
            return storage_error(err, VIR_ERR_OPERATION_INVALID,
                                 "volume name '%s' cannot contain control characters", name);
    }
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return storage_error(err, VIR_ERR_OPERATION_INVALID,
                             "volume target path '%s/%s' already exists", pool->config->path, name);
    return 0;
}

/* With the pool's job. The volume is listed as one that is being built. config is taken. */
static struct volume *announce(struct pool *pool, struct model_volume *config, bool copy,
                               struct kv_error *err)
{
    struct storage *storage = pool->storage;
    struct volume *volume = NULL;
    pthread_mutex_lock(&storage->lock);
    int r = pool_check_active(pool, err);
    if (r == 0 && volume_find(pool, config->name))
        r = copy ? storage_error(err, VIR_ERR_INTERNAL_ERROR,
                                 "storage volume name '%s' already in use.", config->name)
                 : storage_error(err, VIR_ERR_STORAGE_VOL_EXIST, "'%s'", config->name);
    if (r == 0)
        r = check_name(pool, config->name, err);
    if (r == 0) {
        volume = volume_new(pool->config->path, config->name);
        if (!volume)
            r = storage_no_memory(err);
    }
    if (r == 0) {
        config->path = strdup(volume->config.path);
        model_volume_clear(&volume->config);
        volume->config = *config;
        *config = (struct model_volume){0};
        volume->building = true;
        r = volume->config.path ? volume_add(pool, volume) : -ENOMEM;
        if (r < 0) {
            volume_unref(volume);
            storage_error(err, VIR_ERR_OPERATION_FAILED, "pool '%s' has no room for more volumes",
                          pool->config->name);
        }
    }
    if (r == 0) {
        volume->refs++;
        pool->jobs++;
    }
    pthread_mutex_unlock(&storage->lock);
    model_volume_free(config);
    return r < 0 ? NULL : volume;
}

/* Ends what announce() began. */
static int conclude(struct pool *pool, struct volume *volume, int result, wire_volume *out,
                    struct kv_error *err)
{
    struct storage *storage = pool->storage;
    struct model_volume seen;
    pool_measure(pool);
    pthread_mutex_lock(&storage->lock);
    int copied = result == 0 ? volume_config_copy(&seen, &volume->config) : -1;
    pthread_mutex_unlock(&storage->lock);
    if (copied == 0)
        probe_volume(&seen);
    pthread_mutex_lock(&storage->lock);
    pool->jobs--;
    volume->building = false;
    if (copied == 0) {
        struct model_volume old = volume->config;
        volume->config = seen;
        seen = old;
    }
    if (result < 0)
        volume_remove(pool, volume);
    else
        result = wire_volume_fill(out, pool, volume, err);
    volume_unref(volume);
    pthread_mutex_unlock(&storage->lock);
    if (copied == 0)
        model_volume_clear(&seen);
    return result;
}

static int make(struct pool *pool, struct model_volume *config, struct volume_use *source,
                unsigned flags, wire_volume *out, struct kv_error *err)
{
    pthread_mutex_lock(&pool->job);
    struct volume *volume = announce(pool, config, source != NULL, err);
    pthread_mutex_unlock(&pool->job);
    if (!volume)
        return -EINVAL;
    /* Nobody changes what is being built. */
    int r = image_create(&volume->config, source ? &source->config : NULL, flags, err);
    return conclude(pool, volume, r, out, err);
}

CALL(create_xml)
{
    const REMOTE_ARGS(STORAGE_VOL_CREATE_XML) *in = args;
    REMOTE_RET(STORAGE_VOL_CREATE_XML) *out = ret;
    struct model_volume *config;
    unsigned known = VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA | VIR_STORAGE_VOL_CREATE_VALIDATE;
    if (storage_check_flags(call, in->flags, known, err) < 0)
        return -EINVAL;
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&pool->storage->lock);
    int r = pool_check_active(pool, err);
    pthread_mutex_unlock(&pool->storage->lock);
    if (r == 0)
        r = model_volume_parse(&config, in->xml, 0, err);
    return r < 0 ? r : make(pool, config, NULL, in->flags, &out->volume, err);
}

CALL(create_xml_from)
{
    const REMOTE_ARGS(STORAGE_VOL_CREATE_XML_FROM) *in = args;
    REMOTE_RET(STORAGE_VOL_CREATE_XML_FROM) *out = ret;
    struct model_volume *config;
    struct volume_use use;
    struct pool *source_pool;
    unsigned known = VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA | VIR_STORAGE_VOL_CREATE_REFLINK |
                     VIR_STORAGE_VOL_CREATE_VALIDATE;
    if (storage_check_flags(call, in->flags, known, err) < 0)
        return -EINVAL;
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    struct volume *source = call_volume_lock(call, &in->clonevol, &source_pool, err);
    if (!source)
        return -ENOENT;
    int r = volume_use_begin(&use, source_pool, source, false, err);
    pthread_mutex_unlock(&pool->storage->lock);
    pool_put(source_pool);
    if (r < 0)
        return r;
    r = model_volume_parse(&config, in->xml, MODEL_VOLUME_NO_CAPACITY, err);
    if (r == 0)
        r = make(pool, config, &use, in->flags, &out->volume, err);
    volume_use_end(&use);
    return r;
}

/* ---------------------------------------------------------------------------- removing */

CALL(delete)
{
    const REMOTE_ARGS(STORAGE_VOL_DELETE) *in = args;
    struct volume_use use;
    struct pool *pool;
    if (storage_check_flags(call, in->flags, 0, err) < 0)
        return -EINVAL;
    struct volume *volume = call_volume_lock(call, &in->volume, &pool, err);
    if (!volume)
        return -ENOENT;
    int r = volume_use_begin(&use, pool, volume, true, err);
    pthread_mutex_unlock(&pool->storage->lock);
    pool_put(pool);
    if (r < 0)
        return r;
    r = image_remove(&use.config, err);
    if (r == 0) {
        pthread_mutex_lock(&use.pool->storage->lock);
        volume_remove(use.pool, volume);
        pthread_mutex_unlock(&use.pool->storage->lock);
    }
    volume_use_end(&use);
    return r;
}

/* ---------------------------------------------------------------------------- changing */

/* The volume of a call for this call alone. */
static int begin(struct rpc_call *call, const wire_volume *wire, struct volume_use *use,
                 struct kv_error *err)
{
    struct pool *pool;
    struct volume *volume = call_volume_lock(call, wire, &pool, err);
    if (!volume)
        return -ENOENT;
    int r = volume_use_begin(use, pool, volume, true, err);
    pthread_mutex_unlock(&pool->storage->lock);
    pool_put(pool);
    return r;
}

static int new_capacity(const struct volume_use *use, uint64_t asked, unsigned flags,
                        uint64_t available, uint64_t *out, struct kv_error *err)
{
    uint64_t now = use->config.capacity, capacity = asked;
    if (flags & VIR_STORAGE_VOL_RESIZE_DELTA) {
        if (flags & VIR_STORAGE_VOL_RESIZE_SHRINK)
            capacity = now - MIN(now, asked);
        else if (__builtin_add_overflow(now, asked, &capacity))
            return storage_error(err, VIR_ERR_OVERFLOW, "value too large: %ju", (uintmax_t)asked);
    }
    if (capacity < now && !(flags & VIR_STORAGE_VOL_RESIZE_SHRINK))
        return storage_error(err, VIR_ERR_INVALID_ARG,
                             "Can't shrink capacity below current capacity unless shrink flag "
                             "explicitly specified");
    if (capacity < use->config.allocation)
        return storage_error(err, VIR_ERR_INVALID_ARG,
                             "can't shrink capacity below existing allocation");
    if ((flags & VIR_STORAGE_VOL_RESIZE_ALLOCATE) && capacity > now && capacity - now > available)
        return storage_error(err, VIR_ERR_OPERATION_FAILED,
                             "Not enough space left in storage pool");
    *out = capacity;
    return 0;
}

CALL(resize)
{
    const REMOTE_ARGS(STORAGE_VOL_RESIZE) *in = args;
    struct volume_use use;
    unsigned known = VIR_STORAGE_VOL_RESIZE_ALLOCATE | VIR_STORAGE_VOL_RESIZE_DELTA |
                     VIR_STORAGE_VOL_RESIZE_SHRINK;
    uint64_t capacity = 0;
    if (storage_check_flags(call, in->flags, known, err) < 0 ||
        begin(call, &in->volume, &use, err) < 0)
        return -EINVAL;
    probe_volume(&use.config);
    pthread_mutex_lock(&use.pool->storage->lock);
    uint64_t available = use.pool->config->available;
    pthread_mutex_unlock(&use.pool->storage->lock);
    int r = new_capacity(&use, in->capacity, in->flags, available, &capacity, err);
    if (r == 0)
        r = image_resize(&use.config, capacity, in->flags, err);
    volume_use_end(&use);
    return r;
}

static int wipe(struct rpc_call *call, const wire_volume *wire, unsigned algorithm, unsigned flags,
                struct kv_error *err)
{
    struct volume_use use;
    if (storage_check_flags(call, flags, 0, err) < 0 || begin(call, wire, &use, err) < 0)
        return -EINVAL;
    int r = image_wipe(&use.config, algorithm, err);
    volume_use_end(&use);
    return r;
}

CALL(wipe_zero)
{
    const REMOTE_ARGS(STORAGE_VOL_WIPE) *in = args;
    return wipe(call, &in->volume, VIR_STORAGE_VOL_WIPE_ALG_ZERO, in->flags, err);
}

CALL(wipe_pattern)
{
    const REMOTE_ARGS(STORAGE_VOL_WIPE_PATTERN) *in = args;
    return wipe(call, &in->volume, in->algorithm, in->flags, err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_STORAGE_VOL_CREATE_XML, create_xml, 0},
    {REMOTE_PROC_STORAGE_VOL_CREATE_XML_FROM, create_xml_from, 0},
    {REMOTE_PROC_STORAGE_VOL_DELETE, delete, 0},
    {REMOTE_PROC_STORAGE_VOL_RESIZE, resize, 0},
    {REMOTE_PROC_STORAGE_VOL_WIPE, wipe_zero, 0},
    {REMOTE_PROC_STORAGE_VOL_WIPE_PATTERN, wipe_pattern, 0},
};
const struct storage_rows storage_make_rows = {rows, ARRAY_SIZE(rows)};
