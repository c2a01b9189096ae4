/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Procedures that define, start, stop and describe pools. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "daemon/state/state.h"
#include "daemon/storage/internal.h"
#include "model/uuid.h"

#define CREATE_FLAGS                                                                     \
    (VIR_STORAGE_POOL_CREATE_WITH_BUILD | VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE | \
     VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE)
#define BUILD_FLAGS                                                                               \
    (VIR_STORAGE_POOL_BUILD_NEW | VIR_STORAGE_POOL_BUILD_REPAIR | VIR_STORAGE_POOL_BUILD_RESIZE | \
     VIR_STORAGE_POOL_BUILD_NO_OVERWRITE | VIR_STORAGE_POOL_BUILD_OVERWRITE)

/* ------------------------------------------------------------------------ defining */

/* With the lock. Whether a document may stand beside the others; *same: the pool of its uuid. */
static int check_place(struct storage *storage, const struct model_pool *config, bool to_start,
                       struct pool **same, struct kv_error *err)
{
    char uuid[UUID_TEXT];
    *same = pool_by_uuid(storage, config->uuid);
    uuid_format(config->uuid, uuid);
    if (*same && strcmp((*same)->config->name, config->name) != 0)
        return storage_error(err, VIR_ERR_OPERATION_FAILED,
                             "pool '%s' is already defined with uuid %s", (*same)->config->name,
                             uuid);
    if (*same && to_start && (*same)->active)
        return storage_error(err, VIR_ERR_OPERATION_INVALID, "pool is already active as '%s'",
                             config->name);
    const struct pool *other = *same ? NULL : pool_by_name(storage, config->name);
    if (other) {
        uuid_format(other->uuid, uuid);
        return storage_error(err, VIR_ERR_OPERATION_FAILED, "pool '%s' already exists with uuid %s",
                             config->name, uuid);
    }
    list_for_each (node, &storage->pools) {
        const struct pool *pool = list_entry(node, struct pool, node);
        if (pool != *same && strcmp(pool->config->path, config->path) == 0)
            return storage_error(err, VIR_ERR_OPERATION_FAILED,
                                 "Storage source conflict with pool: '%s'", pool->config->name);
    }
    if (!*same && storage->count >= POOLS_MAX)
        return storage_error(err, VIR_ERR_OPERATION_FAILED,
                             "there are %d pools, more are not possible", POOLS_MAX);
    return 0;
}

/* With storage.define. A new pool, listed; or the one that has the uuid already. */
static struct pool *place(struct storage *storage, struct model_pool *config, bool to_start,
                          bool *fresh, struct kv_error *err)
{
    struct pool *pool = NULL;
    pthread_mutex_lock(&storage->lock);
    int r = check_place(storage, config, to_start, &pool, err);
    *fresh = r == 0 && !pool;
    if (r == 0)
        pool_ref(pool);
    pthread_mutex_unlock(&storage->lock);
    if (r == 0 && !pool)
        return pool_create(storage, config);
    if (r < 0)
        model_pool_free(config);
    return r < 0 ? NULL : pool;
}

static void set_config(struct pool *pool, struct model_pool *config)
{
    pthread_mutex_lock(&pool->storage->lock);
    struct model_pool **slot = pool->active ? &pool->next_config : &pool->config;
    model_pool_free(*slot);
    *slot = config;
    pthread_mutex_unlock(&pool->storage->lock);
}

static int reply_pool(wire_pool *out, struct pool *pool, struct kv_error *err)
{
    pthread_mutex_lock(&pool->storage->lock);
    int r = wire_pool_fill(out, pool, err);
    pthread_mutex_unlock(&pool->storage->lock);
    return r;
}

static void list_pool(struct pool *pool)
{
    pthread_mutex_lock(&pool->storage->lock);
    pool_list(pool);
    pthread_mutex_unlock(&pool->storage->lock);
}

static void unlist_pool(struct pool *pool)
{
    pthread_mutex_lock(&pool->storage->lock);
    pool_unlist(pool);
    pthread_mutex_unlock(&pool->storage->lock);
}

/* What place() found may have changed while its job was waited for. */
static int check_still(struct pool *pool, bool fresh, bool to_start, struct kv_error *err)
{
    int r = 0;
    pthread_mutex_lock(&pool->storage->lock);
    if (!fresh && !pool->listed)
        r = storage_error(err, VIR_ERR_NO_STORAGE_POOL, "no storage pool with matching name '%s'",
                          pool->config->name);
    else if (to_start && pool->active)
        r = storage_error(err, VIR_ERR_OPERATION_INVALID, "pool is already active as '%s'",
                          pool->config->name);
    pthread_mutex_unlock(&pool->storage->lock);
    return r;
}

/* With storage.define. */
static int define(struct storage *storage, struct model_pool *config, wire_pool *out,
                  struct kv_error *err)
{
    bool fresh;
    cleanup_pool struct pool *pool = place(storage, config, false, &fresh, err);
    if (!pool)
        return -EINVAL;
    pthread_mutex_lock(&pool->job);
    int r = check_still(pool, fresh, false, err);
    if (r == 0)
        r = pool_store(pool, config, err);
    if (r == 0) {
        if (!fresh)
            set_config(pool, config);
        else
            list_pool(pool);
        pthread_mutex_lock(&storage->lock);
        pool->persistent = true;
        pthread_mutex_unlock(&storage->lock);
    } else if (!fresh) {
        model_pool_free(config);
    }
    pthread_mutex_unlock(&pool->job);
    if (r == 0) {
        pool_tell(pool, VIR_STORAGE_POOL_EVENT_DEFINED);
        r = reply_pool(out, pool, err);
    }
    return r;
}

CALL(define_xml)
{
    const REMOTE_ARGS(STORAGE_POOL_DEFINE_XML) *in = args;
    REMOTE_RET(STORAGE_POOL_DEFINE_XML) *out = ret;
    struct storage *storage = storage_of(call);
    struct model_pool *config;
    int r = storage_check_flags(call, in->flags, VIR_STORAGE_POOL_DEFINE_VALIDATE, err);
    if (r == 0)
        r = model_pool_parse(&config, in->xml, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&storage->define);
    r = define(storage, config, &out->pool, err);
    pthread_mutex_unlock(&storage->define);
    return r;
}

static unsigned build_flags(unsigned create_flags)
{
    unsigned flags = 0;
    if (create_flags & VIR_STORAGE_POOL_CREATE_WITH_BUILD_OVERWRITE)
        flags |= VIR_STORAGE_POOL_BUILD_OVERWRITE;
    if (create_flags & VIR_STORAGE_POOL_CREATE_WITH_BUILD_NO_OVERWRITE)
        flags |= VIR_STORAGE_POOL_BUILD_NO_OVERWRITE;
    return flags;
}

/* With the pool's job. */
static int build_and_start(struct pool *pool, unsigned flags, struct kv_error *err)
{
    int r = flags & CREATE_FLAGS ? pool_build(pool, build_flags(flags), err) : 0;
    return r < 0 ? r : pool_start(pool, err);
}

/* With storage.define. A persistent pool of the uuid keeps its definition, for when it is stopped.
 */
static int create_transient(struct storage *storage, struct model_pool *config, unsigned flags,
                            wire_pool *out, struct kv_error *err)
{
    bool fresh;
    cleanup_pool struct pool *pool = place(storage, config, true, &fresh, err);
    if (!pool)
        return -EINVAL;
    pthread_mutex_lock(&pool->job);
    int r = check_still(pool, fresh, true, err);
    if (r < 0) {
        pthread_mutex_unlock(&pool->job);
        model_pool_free(config);
        return r;
    }
    if (fresh) {
        list_pool(pool);
    } else {
        pthread_mutex_lock(&storage->lock);
        model_pool_free(pool->next_config);
        pool->next_config = pool->config;
        pool->config = config;
        pthread_mutex_unlock(&storage->lock);
    }
    r = build_and_start(pool, flags, err);
    if (r < 0 && fresh) {
        unlist_pool(pool);
    } else if (r < 0) {
        pthread_mutex_lock(&storage->lock);
        model_pool_free(pool->config);
        pool->config = take_ptr(pool->next_config);
        pthread_mutex_unlock(&storage->lock);
    }
    pthread_mutex_unlock(&pool->job);
    return r < 0 ? r : reply_pool(out, pool, err);
}

CALL(create_xml)
{
    const REMOTE_ARGS(STORAGE_POOL_CREATE_XML) *in = args;
    REMOTE_RET(STORAGE_POOL_CREATE_XML) *out = ret;
    struct storage *storage = storage_of(call);
    struct model_pool *config;
    int r = storage_check_flags(call, in->flags, CREATE_FLAGS, err);
    if (r == 0)
        r = model_pool_parse(&config, in->xml, err);
    if (r < 0)
        return r;
    pthread_mutex_lock(&storage->define);
    r = create_transient(storage, config, in->flags, &out->pool, err);
    pthread_mutex_unlock(&storage->define);
    return r;
}

CALL(undefine)
{
    const REMOTE_ARGS(STORAGE_POOL_UNDEFINE) *in = args;
    struct storage *storage = storage_of(call);
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&storage->define);
    pthread_mutex_lock(&pool->job);
    pthread_mutex_lock(&storage->lock);
    int r = pool_check_inactive(pool, "still", err);
    if (r == 0)
        r = pool_check_idle(pool, err);
    pthread_mutex_unlock(&storage->lock);
    if (r == 0 && pool->listed)
        r = state_delete(storage->daemon->state, STATE_POOL, pool->uuid, err);
    if (r == 0)
        unlist_pool(pool);
    pthread_mutex_unlock(&pool->job);
    pthread_mutex_unlock(&storage->define);
    if (r == 0)
        pool_tell(pool, VIR_STORAGE_POOL_EVENT_UNDEFINED);
    return r;
}

/* ------------------------------------------------------------------------ changing */

enum condition {
    INACTIVE_ALREADY, /* "is already active" is the error */
    INACTIVE_STILL,
    ACTIVE,
};

/* The pool of a call with its job; NULL when the condition does not hold. */
static struct pool *begin(struct rpc_call *call, const wire_pool *wire, enum condition condition,
                          bool idle, struct kv_error *err)
{
    struct pool *pool = call_pool(call, wire, err);
    if (!pool)
        return NULL;
    pthread_mutex_lock(&pool->job);
    pthread_mutex_lock(&pool->storage->lock);
    int r = !pool->listed ? storage_error(err, VIR_ERR_NO_STORAGE_POOL,
                                          "no storage pool with matching name '%s'", wire->name)
            : condition == ACTIVE
                ? pool_check_active(pool, err)
                : pool_check_inactive(pool, condition == INACTIVE_STILL ? "still" : "already", err);
    if (r == 0 && idle)
        r = pool_check_idle(pool, err);
    pthread_mutex_unlock(&pool->storage->lock);
    if (r == 0)
        return pool;
    pthread_mutex_unlock(&pool->job);
    pool_put(pool);
    return NULL;
}

static int end(struct pool *pool, int result)
{
    pthread_mutex_unlock(&pool->job);
    pool_put(pool);
    return result;
}

CALL(create)
{
    const REMOTE_ARGS(STORAGE_POOL_CREATE) *in = args;
    if (storage_check_flags(call, in->flags, CREATE_FLAGS, err) < 0)
        return -EINVAL;
    struct pool *pool = begin(call, &in->pool, INACTIVE_ALREADY, false, err);
    return pool ? end(pool, build_and_start(pool, in->flags, err)) : -EINVAL;
}

CALL(build)
{
    const REMOTE_ARGS(STORAGE_POOL_BUILD) *in = args;
    if (storage_check_flags(call, in->flags, BUILD_FLAGS, err) < 0)
        return -EINVAL;
    struct pool *pool = begin(call, &in->pool, INACTIVE_ALREADY, false, err);
    if (!pool)
        return -EINVAL;
    int r = pool_build(pool, in->flags, err);
    if (r == 0)
        pool_tell(pool, VIR_STORAGE_POOL_EVENT_CREATED);
    return end(pool, r);
}

CALL(destroy)
{
    const REMOTE_ARGS(STORAGE_POOL_DESTROY) *in = args;
    struct pool *pool = begin(call, &in->pool, ACTIVE, true, err);
    if (!pool)
        return -EINVAL;
    pool_stop(pool);
    if (!pool->persistent)
        unlist_pool(pool);
    return end(pool, 0);
}

CALL(delete)
{
    const REMOTE_ARGS(STORAGE_POOL_DELETE) *in = args;
    unsigned known = VIR_STORAGE_POOL_DELETE_NORMAL | VIR_STORAGE_POOL_DELETE_ZEROED;
    if (storage_check_flags(call, in->flags, known, err) < 0)
        return -EINVAL;
    struct pool *pool = begin(call, &in->pool, INACTIVE_STILL, true, err);
    if (!pool)
        return -EINVAL;
    int r = pool_delete(pool, err);
    if (r == 0)
        pool_tell(pool, VIR_STORAGE_POOL_EVENT_DELETED);
    return end(pool, r);
}

/* A directory that cannot be read any more is no pool any more. */
CALL(refresh)
{
    const REMOTE_ARGS(STORAGE_POOL_REFRESH) *in = args;
    if (storage_check_flags(call, in->flags, 0, err) < 0)
        return -EINVAL;
    struct pool *pool = begin(call, &in->pool, ACTIVE, false, err);
    if (!pool)
        return -EINVAL;
    int r = pool_refresh(pool, err);
    if (r == 0) {
        pool_tell_refresh(pool);
        return end(pool, 0);
    }
    pthread_mutex_lock(&pool->storage->lock);
    bool idle = pool->jobs == 0;
    pthread_mutex_unlock(&pool->storage->lock);
    if (idle) {
        pool_stop(pool);
        if (!pool->persistent)
            unlist_pool(pool);
    }
    return end(pool, r);
}

CALL(set_autostart)
{
    const REMOTE_ARGS(STORAGE_POOL_SET_AUTOSTART) *in = args;
    bool wanted = in->autostart != 0;
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&pool->job);
    int r = 0;
    if (!pool->persistent)
        r = storage_error(err, VIR_ERR_INTERNAL_ERROR, "pool has no config file");
    else if (pool->autostart != wanted)
        r = state_set_autostart(pool->storage->daemon->state, STATE_POOL, pool->uuid, wanted, err);
    pthread_mutex_lock(&pool->storage->lock);
    if (r == 0)
        pool->autostart = wanted;
    pthread_mutex_unlock(&pool->storage->lock);
    pthread_mutex_unlock(&pool->job);
    return r;
}

/* ---------------------------------------------------------------------- describing */

CALL(get_autostart)
{
    const REMOTE_ARGS(STORAGE_POOL_GET_AUTOSTART) *in = args;
    REMOTE_RET(STORAGE_POOL_GET_AUTOSTART) *out = ret;
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&pool->storage->lock);
    out->autostart = pool->autostart;
    pthread_mutex_unlock(&pool->storage->lock);
    return 0;
}

CALL(is_active)
{
    const REMOTE_ARGS(STORAGE_POOL_IS_ACTIVE) *in = args;
    REMOTE_RET(STORAGE_POOL_IS_ACTIVE) *out = ret;
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&pool->storage->lock);
    out->active = pool->active;
    pthread_mutex_unlock(&pool->storage->lock);
    return 0;
}

CALL(is_persistent)
{
    const REMOTE_ARGS(STORAGE_POOL_IS_PERSISTENT) *in = args;
    REMOTE_RET(STORAGE_POOL_IS_PERSISTENT) *out = ret;
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&pool->storage->lock);
    out->persistent = pool->persistent;
    pthread_mutex_unlock(&pool->storage->lock);
    return 0;
}

CALL(get_info)
{
    const REMOTE_ARGS(STORAGE_POOL_GET_INFO) *in = args;
    REMOTE_RET(STORAGE_POOL_GET_INFO) *out = ret;
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&pool->storage->lock);
    out->state = pool->active ? VIR_STORAGE_POOL_RUNNING : VIR_STORAGE_POOL_INACTIVE;
    out->capacity = pool->config->capacity;
    out->allocation = pool->config->allocation;
    out->available = pool->config->available;
    pthread_mutex_unlock(&pool->storage->lock);
    return 0;
}

CALL(get_xml)
{
    const REMOTE_ARGS(STORAGE_POOL_GET_XML_DESC) *in = args;
    REMOTE_RET(STORAGE_POOL_GET_XML_DESC) *out = ret;
    if (storage_check_flags(call, in->flags, VIR_STORAGE_XML_INACTIVE, err) < 0)
        return -EINVAL;
    cleanup_pool struct pool *pool = call_pool(call, &in->pool, err);
    if (!pool)
        return -ENOENT;
    pthread_mutex_lock(&pool->storage->lock);
    bool next = (in->flags & VIR_STORAGE_XML_INACTIVE) && pool->next_config;
    out->xml = model_pool_format(next ? pool->next_config : pool->config);
    pthread_mutex_unlock(&pool->storage->lock);
    return out->xml ? 0 : storage_no_memory(err);
}

static const struct rpc_handler rows[] = {
    {REMOTE_PROC_STORAGE_POOL_DEFINE_XML, define_xml, 0},
    {REMOTE_PROC_STORAGE_POOL_CREATE_XML, create_xml, 0},
    {REMOTE_PROC_STORAGE_POOL_UNDEFINE, undefine, 0},
    {REMOTE_PROC_STORAGE_POOL_CREATE, create, 0},
    {REMOTE_PROC_STORAGE_POOL_BUILD, build, 0},
    {REMOTE_PROC_STORAGE_POOL_DESTROY, destroy, 0},
    {REMOTE_PROC_STORAGE_POOL_DELETE, delete, 0},
    {REMOTE_PROC_STORAGE_POOL_REFRESH, refresh, 0},
    {REMOTE_PROC_STORAGE_POOL_SET_AUTOSTART, set_autostart, 0},
    {REMOTE_PROC_STORAGE_POOL_GET_AUTOSTART, get_autostart, 0},
    {REMOTE_PROC_STORAGE_POOL_IS_ACTIVE, is_active, 0},
    {REMOTE_PROC_STORAGE_POOL_IS_PERSISTENT, is_persistent, 0},
    {REMOTE_PROC_STORAGE_POOL_GET_INFO, get_info, 0},
    {REMOTE_PROC_STORAGE_POOL_GET_XML_DESC, get_xml, 0},
};
const struct storage_rows storage_pool_rows = {rows, sizeof(rows) / sizeof(*rows)};
