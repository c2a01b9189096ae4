/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that tell about volumes. Each looks at the file anew. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "daemon/storage/internal.h"

static void put_back(struct pool *pool, struct volume *volume, struct model_volume *seen)
{
    pthread_mutex_lock(&pool->storage->lock);
    if (!volume->building) {
        struct model_volume old = volume->config;
        volume->config = *seen;
        *seen = old;
    }
    volume_unref(volume);
    pthread_mutex_unlock(&pool->storage->lock);
}

/* Calls say() with what the volume is now. */
static int look(struct rpc_call *call, const wire_volume *wire,
                int (*say)(void *ret, const struct model_volume *seen, unsigned flags), void *ret,
                unsigned flags, struct kv_error *err)
{
    struct pool *pool;
    struct model_volume seen;
    struct volume *volume = call_volume_lock(call, wire, &pool, err);
    if (!volume)
        return -ENOENT;
    int r = volume_config_copy(&seen, &volume->config);
    bool building = volume->building;
    if (r == 0)
        volume->refs++;
    pthread_mutex_unlock(&pool->storage->lock);
    if (r < 0) {
        pool_put(pool);
        return storage_no_memory(err);
    }
    r = building ? probe_sizes(&seen) : probe_volume(&seen);
    if (building && r == -ENOENT)
        r = 0; /* not even begun */
    if (r == 0)
        r = say(ret, &seen, flags) < 0 ? storage_no_memory(err) : 0;
    else if (r == -ENOENT)
        r = storage_error(err, VIR_ERR_NO_STORAGE_VOL, "no storage vol with matching path '%s'",
                          seen.path);
    else
        r = storage_error(err, VIR_ERR_SYSTEM_ERROR, "cannot open volume '%s': %s", seen.path,
                          strerror(-r));
    put_back(pool, volume, &seen);
    model_volume_clear(&seen);
    pool_put(pool);
    return r;
}

static int say_info(void *ret, const struct model_volume *seen, unsigned flags)
{
    REMOTE_RET(STORAGE_VOL_GET_INFO_FLAGS) *out = ret;
    out->type = (char)seen->type;
    out->capacity = seen->capacity;
    out->allocation = flags & VIR_STORAGE_VOL_GET_PHYSICAL ? seen->physical : seen->allocation;
    return 0;
}

static int say_xml(void *ret, const struct model_volume *seen, unsigned flags)
{
    REMOTE_RET(STORAGE_VOL_GET_XML_DESC) *out = ret;
    out->xml = model_volume_format(seen);
    return out->xml ? 0 : -ENOMEM;
}

CALL(get_info)
{
    const REMOTE_ARGS(STORAGE_VOL_GET_INFO) *in = args;
    return look(call, &in->volume, say_info, ret, 0, err);
}

CALL(get_info_flags)
{
    const REMOTE_ARGS(STORAGE_VOL_GET_INFO_FLAGS) *in = args;
    if (storage_check_flags(call, in->flags, VIR_STORAGE_VOL_GET_PHYSICAL, err) < 0)
        return -EINVAL;
    return look(call, &in->volume, say_info, ret, in->flags, err);
}

CALL(get_xml)
{
    const REMOTE_ARGS(STORAGE_VOL_GET_XML_DESC) *in = args;
    if (storage_check_flags(call, in->flags, 0, err) < 0)
        return -EINVAL;
    return look(call, &in->volume, say_xml, ret, 0, err);
}

CALL(get_path)
{
    const REMOTE_ARGS(STORAGE_VOL_GET_PATH) *in = args;
    REMOTE_RET(STORAGE_VOL_GET_PATH) *out = ret;
    struct pool *pool;
    const struct volume *volume = call_volume_lock(call, &in->volume, &pool, err);
    if (!volume)
        return -ENOENT;
    out->name = strdup(volume->config.path);
    pthread_mutex_unlock(&pool->storage->lock);
    pool_put(pool);
    return out->name ? 0 : storage_no_memory(err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_STORAGE_VOL_GET_INFO, get_info, 0},
    {REMOTE_PROC_STORAGE_VOL_GET_INFO_FLAGS, get_info_flags, 0},
    {REMOTE_PROC_STORAGE_VOL_GET_XML_DESC, get_xml, 0},
    {REMOTE_PROC_STORAGE_VOL_GET_PATH, get_path, 0},
};
const struct storage_rows storage_volume_rows = {rows, ARRAY_SIZE(rows)};
