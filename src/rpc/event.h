/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events of domains, networks, pools, devices and secrets. A driver emits; the server knows who
 * registered for what (one object or all, by callback or the old way) and sends. A client
 * that does not read what it asked for is disconnected once too much waits for it.
 */
#ifndef KV_RPC_EVENT_H
#define KV_RPC_EVENT_H

#include <stdint.h>

#include "rpc/procedure.h"

struct rpc_server;

/* What an event is about; numbers of events are counted in each. */
enum rpc_event_class {
    RPC_EVENTS_DOMAIN,  /* VIR_DOMAIN_EVENT_ID_* */
    RPC_EVENTS_NETWORK, /* VIR_NETWORK_EVENT_ID_* */
    RPC_EVENTS_POOL,    /* VIR_STORAGE_POOL_EVENT_ID_* */
    RPC_EVENTS_DEVICE,  /* VIR_NODE_DEVICE_EVENT_ID_* */
    RPC_EVENTS_SECRET,  /* VIR_SECRET_EVENT_ID_* */
    RPC_EVENTS_CLASSES,
};

/*
 * Tells all who registered for event `id` of the class. object is the uuid (16 bytes), or
 * for devices the name. body is the event's type in rpc/protocol/events.x, as the table
 * in event.c pairs them: for VIR_DOMAIN_EVENT_ID_LIFECYCLE a
 * REMOTE_RET(DOMAIN_EVENT_CALLBACK_LIFECYCLE). It is encoded before the function returns and
 * stays the caller's. Any thread; never blocks. A client gets events in the order in which
 * they were emitted, and an event emitted inside a handler before that handler's reply.
 */
void rpc_event_emit(struct rpc_server *server, enum rpc_event_class class, int id,
                    const void *object, const void *body);

/* Whether anybody registered for it: what is costly to find out need not be. */
bool rpc_event_wanted(struct rpc_server *server, enum rpc_event_class class, int id);

#endif
