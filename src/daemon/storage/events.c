/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Events of pools. They are called without the storage's lock, and take it: a definition may be
 * replaced meanwhile. */
#include <string.h>

#include "daemon/storage/internal.h"
#include "rpc/event.h"

/* With the lock. */
static struct wire_pool wire_of(const struct pool *pool)
{
    struct wire_pool wire = {.name = pool->config->name};
    memcpy(wire.uuid, pool->uuid, sizeof(wire.uuid));
    return wire;
}

void pool_tell(struct pool *pool, int event)
{
    pthread_mutex_lock(&pool->storage->lock);
    const REMOTE_RET(STORAGE_POOL_EVENT_LIFECYCLE) body = {.pool = wire_of(pool), .event = event};
    rpc_event_emit(pool->storage->daemon->server, RPC_EVENTS_POOL,
                   VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, pool->uuid, &body);
    pthread_mutex_unlock(&pool->storage->lock);
}

void pool_tell_refresh(struct pool *pool)
{
    pthread_mutex_lock(&pool->storage->lock);
    const REMOTE_RET(STORAGE_POOL_EVENT_REFRESH) body = {.pool = wire_of(pool)};
    rpc_event_emit(pool->storage->daemon->server, RPC_EVENTS_POOL,
                   VIR_STORAGE_POOL_EVENT_ID_REFRESH, pool->uuid, &body);
    pthread_mutex_unlock(&pool->storage->lock);
}
