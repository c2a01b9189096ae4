/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who registered for which events, and the events' packets; see event.h. */
#include "rpc/event.h"

#include <errno.h>
#include <libvirt/libvirt.h>
#include <stdlib.h>

#include "base/log.h"
#include "model/api_error.h"
#include "rpc/internal.h"

#define REGISTRATIONS_MAX 4096 /* of a client */
#define BODY_USUAL 4096

struct event_kind {
    unsigned callback; /* procedure that carries it behind a callback's number; 0: there is none */
    unsigned legacy;   /* and without one, for clients that registered the old way; 0: none */
    unsigned skip;     /* bytes of the body that the old way does not know */
};

#define BOTH(id, name) \
    [id] = {REMOTE_PROC_DOMAIN_EVENT_CALLBACK_##name, REMOTE_PROC_DOMAIN_EVENT_##name, 0}
#define BOTH_WITH_REASON(id, name) \
    [id] = {REMOTE_PROC_DOMAIN_EVENT_CALLBACK_##name, REMOTE_PROC_DOMAIN_EVENT_##name, 4}
#define ONE(id, name) [id] = {REMOTE_PROC_##name, 0, 0}
#define NIC_MAC_CHANGE 27            /* of libvirt 11.2 */
#define METADATA_CHANGE_OF_NETWORK 1 /* of libvirt 9.7 */

static const struct event_kind domain_events[] = {
    BOTH(VIR_DOMAIN_EVENT_ID_LIFECYCLE, LIFECYCLE),
    BOTH(VIR_DOMAIN_EVENT_ID_REBOOT, REBOOT),
    BOTH(VIR_DOMAIN_EVENT_ID_RTC_CHANGE, RTC_CHANGE),
    BOTH(VIR_DOMAIN_EVENT_ID_WATCHDOG, WATCHDOG),
    BOTH(VIR_DOMAIN_EVENT_ID_IO_ERROR, IO_ERROR),
    BOTH(VIR_DOMAIN_EVENT_ID_GRAPHICS, GRAPHICS),
    BOTH(VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, IO_ERROR_REASON),
    BOTH(VIR_DOMAIN_EVENT_ID_CONTROL_ERROR, CONTROL_ERROR),
    BOTH(VIR_DOMAIN_EVENT_ID_BLOCK_JOB, BLOCK_JOB),
    BOTH(VIR_DOMAIN_EVENT_ID_DISK_CHANGE, DISK_CHANGE),
    BOTH(VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, TRAY_CHANGE),
    BOTH_WITH_REASON(VIR_DOMAIN_EVENT_ID_PMWAKEUP, PMWAKEUP),
    BOTH_WITH_REASON(VIR_DOMAIN_EVENT_ID_PMSUSPEND, PMSUSPEND),
    BOTH(VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, BALLOON_CHANGE),
    BOTH_WITH_REASON(VIR_DOMAIN_EVENT_ID_PMSUSPEND_DISK, PMSUSPEND_DISK),
    BOTH(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, DEVICE_REMOVED),
    ONE(VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, DOMAIN_EVENT_BLOCK_JOB_2),
    ONE(VIR_DOMAIN_EVENT_ID_TUNABLE, DOMAIN_EVENT_CALLBACK_TUNABLE),
    ONE(VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE),
    ONE(VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, DOMAIN_EVENT_CALLBACK_DEVICE_ADDED),
    ONE(VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, DOMAIN_EVENT_CALLBACK_MIGRATION_ITERATION),
    ONE(VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, DOMAIN_EVENT_CALLBACK_JOB_COMPLETED),
    ONE(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, DOMAIN_EVENT_CALLBACK_DEVICE_REMOVAL_FAILED),
    ONE(VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, DOMAIN_EVENT_CALLBACK_METADATA_CHANGE),
    ONE(VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD, DOMAIN_EVENT_BLOCK_THRESHOLD),
    ONE(VIR_DOMAIN_EVENT_ID_MEMORY_FAILURE, DOMAIN_EVENT_MEMORY_FAILURE),
    ONE(VIR_DOMAIN_EVENT_ID_MEMORY_DEVICE_SIZE_CHANGE, DOMAIN_EVENT_MEMORY_DEVICE_SIZE_CHANGE),
    ONE(NIC_MAC_CHANGE, DOMAIN_EVENT_NIC_MAC_CHANGE),
};
static const struct event_kind network_events[] = {
    ONE(VIR_NETWORK_EVENT_ID_LIFECYCLE, NETWORK_EVENT_LIFECYCLE),
    ONE(METADATA_CHANGE_OF_NETWORK, NETWORK_EVENT_CALLBACK_METADATA_CHANGE),
};
static const struct event_kind pool_events[] = {
    ONE(VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE, STORAGE_POOL_EVENT_LIFECYCLE),
    ONE(VIR_STORAGE_POOL_EVENT_ID_REFRESH, STORAGE_POOL_EVENT_REFRESH),
};
static const struct event_kind device_events[] = {
    ONE(VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, NODE_DEVICE_EVENT_LIFECYCLE),
    ONE(VIR_NODE_DEVICE_EVENT_ID_UPDATE, NODE_DEVICE_EVENT_UPDATE),
};
static const struct event_kind secret_events[] = {
    ONE(VIR_SECRET_EVENT_ID_LIFECYCLE, SECRET_EVENT_LIFECYCLE),
    ONE(VIR_SECRET_EVENT_ID_VALUE_CHANGED, SECRET_EVENT_VALUE_CHANGED),
};

static const struct {
    const struct event_kind *kinds;
    unsigned n;
    unsigned first; /* number among all kinds */
} classes[RPC_EVENTS_CLASSES] = {
    [RPC_EVENTS_DOMAIN] = {domain_events, ARRAY_SIZE(domain_events), 0},
    [RPC_EVENTS_NETWORK] = {network_events, ARRAY_SIZE(network_events), 32},
    [RPC_EVENTS_POOL] = {pool_events, ARRAY_SIZE(pool_events), 40},
    [RPC_EVENTS_DEVICE] = {device_events, ARRAY_SIZE(device_events), 48},
    [RPC_EVENTS_SECRET] = {secret_events, ARRAY_SIZE(secret_events), 56},
};
#define ALL_KINDS 64
_Static_assert(ARRAY_SIZE(domain_events) <= 32, "kinds are counted in windows");

struct registration {
    struct list node; /* server's, events_lock */
    struct rpc_client *client;
    enum rpc_event_class class;
    int id;
    int callback; /* its number; -1: the old way */
    bool by_id;   /* the old way, by the event's number */
    char *object; /* uuid as 16 bytes or a name; NULL: all */
};

static const struct event_kind *find_kind(enum rpc_event_class class, int id)
{
    if (id < 0 || (unsigned)id >= classes[class].n)
        return NULL;
    return &classes[class].kinds[id];
}

int events_init(struct rpc_server *server)
{
    pthread_mutex_init(&server->events_lock, NULL);
    list_init(&server->registrations);
    server->wanted = calloc(ALL_KINDS, sizeof(*server->wanted));
    return server->wanted ? 0 : -ENOMEM;
}

void events_free(struct rpc_server *server)
{
    pthread_mutex_destroy(&server->events_lock);
    free(server->wanted);
}

bool rpc_event_wanted(struct rpc_server *server, enum rpc_event_class class, int id)
{
    return find_kind(class, id) &&
           atomic_load(&server->wanted[classes[class].first + (unsigned)id]);
}

/* ------------------------------------------------------------------ sending */

static bool is_about(const struct registration *registration, enum rpc_event_class class,
                     const void *object)
{
    if (!registration->object)
        return true;
    if (class == RPC_EVENTS_DEVICE)
        return strcmp(registration->object, object) == 0;
    return memcmp(registration->object, object, sizeof(wire_uuid)) == 0;
}

/* body: behind room for the head and a callback's number. */
static void send_event(const struct registration *to, const struct event_kind *kind,
                       uint8_t *packet, size_t body_len)
{
    struct packet_header header = {
        .program = REMOTE_PROGRAM, .version = 1, .type = PACKET_MESSAGE, .status = PACKET_OK};
    uint8_t *body = packet + PACKET_HEAD + 4;
    if (to->callback >= 0) {
        header.procedure = (int32_t)kind->callback;
        packet_put_u32(body - 4, (uint32_t)to->callback);
        packet_put_head(packet, &header, body_len + 4);
        client_send(to->client, packet, PACKET_HEAD + 4 + body_len, NULL, 0, SEND_EVENT);
        return;
    }
    if (!kind->legacy)
        return;
    uint8_t *start = body + kind->skip - PACKET_HEAD;
    uint8_t covered[PACKET_HEAD];
    memcpy(covered, start, sizeof(covered));
    header.procedure = (int32_t)kind->legacy;
    packet_put_head(start, &header, body_len - kind->skip);
    client_send(to->client, start, PACKET_HEAD + body_len - kind->skip, NULL, 0, SEND_EVENT);
    memcpy(start, covered, sizeof(covered));
}

static uint8_t *encode_body(xdrproc_t code, const void *body, uint8_t *usual, size_t *len)
{
    void *value = (void *)(uintptr_t)body;
    size_t size = BODY_USUAL, before = PACKET_HEAD + 4;
    uint8_t *packet = usual;
    for (int attempt = 0; packet && attempt < 2; attempt++) {
        XDR xdr;
        xdrmem_create(&xdr, (char *)packet + before, (u_int)(size - before), XDR_ENCODE);
        bool fits = code(&xdr, value);
        *len = xdr_getpos(&xdr);
        xdr_destroy(&xdr);
        if (fits)
            return packet;
        size = before + xdr_sizeof(code, value);
        if (attempt == 0 && size > BODY_USUAL && size <= PACKET_MAX)
            packet = malloc(size);
        else
            break;
    }
    if (packet != usual)
        free(packet);
    return NULL;
}

void rpc_event_emit(struct rpc_server *server, enum rpc_event_class class, int id,
                    const void *object, const void *body)
{
    const struct event_kind *kind = find_kind(class, id);
    if (!kind || !rpc_event_wanted(server, class, id))
        return;
    uint8_t usual[BODY_USUAL];
    size_t len;
    uint8_t *packet = encode_body(remote_procedures[kind->callback].ret_code, body, usual, &len);
    if (!packet) {
        log_error("an event (class %d, number %d) could not be encoded", class, id);
        return;
    }
    pthread_mutex_lock(&server->events_lock);
    list_for_each (node, &server->registrations) {
        struct registration *to = list_entry(node, struct registration, node);
        if (to->class == class && to->id == id && is_about(to, class, object))
            send_event(to, kind, packet, len);
    }
    pthread_mutex_unlock(&server->events_lock);
    if (packet != usual)
        free(packet);
}

void events_say_goodbye(struct rpc_server *server)
{
    uint8_t packet[PACKET_HEAD + 4];
    const struct packet_header header = {.program = REMOTE_PROGRAM,
                                         .version = 1,
                                         .procedure = REMOTE_PROC_CONNECT_EVENT_CONNECTION_CLOSED,
                                         .type = PACKET_MESSAGE,
                                         .status = PACKET_OK};
    packet_put_head(packet, &header, 4);
    packet_put_u32(packet + PACKET_HEAD, VIR_CONNECT_CLOSE_REASON_EOF);
    list_for_each (node, &server->services[RPC_SERVICE_MAIN].clients) {
        struct rpc_client *client = list_entry(node, struct rpc_client, node);
        if (client->close_callback)
            client_send(client, packet, sizeof(packet), NULL, 0, SEND_EVENT);
    }
}

/* -------------------------------------------------------------- registering */

/* With events_lock. */
static void drop(struct rpc_server *server, struct registration *registration)
{
    list_del(&registration->node);
    atomic_fetch_sub(
        &server->wanted[classes[registration->class].first + (unsigned)registration->id], 1);
    registration->client->n_registrations--;
    free(registration->object);
    free(registration);
}

void events_forget(struct rpc_client *client)
{
    struct rpc_server *server = client->server;
    pthread_mutex_lock(&server->events_lock);
    list_for_each_safe (node, &server->registrations) {
        struct registration *registration = list_entry(node, struct registration, node);
        if (registration->client == client)
            drop(server, registration);
    }
    pthread_mutex_unlock(&server->events_lock);
}

static int add(struct rpc_client *client, const struct registration *like, struct kv_error *err)
{
    struct rpc_server *server = client->server;
    struct registration *registration = malloc(sizeof(*registration));
    if (!registration) {
        free(like->object);
        return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    *registration = *like;
    registration->client = client;
    pthread_mutex_lock(&server->events_lock);
    bool room = client->n_registrations < REGISTRATIONS_MAX;
    if (room) {
        list_add_tail(&server->registrations, &registration->node);
        atomic_fetch_add(&server->wanted[classes[like->class].first + (unsigned)like->id], 1);
        client->n_registrations++;
    }
    pthread_mutex_unlock(&server->events_lock);
    if (room)
        return 0;
    free(registration->object);
    free(registration);
    return api_error(err, VIR_ERR_OPERATION_FAILED,
                     "%d callbacks are registered, more are not possible", REGISTRATIONS_MAX);
}

/* True when there was such a one. by_id and callback as in struct registration. */
static bool remove_one(struct rpc_client *client, enum rpc_event_class class, int id, int callback,
                       bool by_id)
{
    struct rpc_server *server = client->server;
    struct registration *found = NULL;
    pthread_mutex_lock(&server->events_lock);
    list_for_each (node, &server->registrations) {
        struct registration *one = list_entry(node, struct registration, node);
        if (one->client == client && one->class == class && (id < 0 || one->id == id) &&
            one->callback == callback && one->by_id == by_id) {
            found = one;
            break;
        }
    }
    if (found)
        drop(server, found);
    pthread_mutex_unlock(&server->events_lock);
    return found;
}

static int check_id(enum rpc_event_class class, int id, bool legacy, struct kv_error *err)
{
    const struct event_kind *kind = find_kind(class, id);
    if (!kind || (legacy && !kind->legacy))
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR, "unsupported event ID %d",
                              id);
    return 0;
}

static int register_lifecycle(struct rpc_call *call, const void *args, void *ret,
                              struct kv_error *err)
{
    REMOTE_RET(CONNECT_DOMAIN_EVENT_REGISTER) *out = ret;
    const struct registration like = {
        .class = RPC_EVENTS_DOMAIN, .id = VIR_DOMAIN_EVENT_ID_LIFECYCLE, .callback = -1};
    if (call->client->legacy_events)
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR,
                              "domain event %d already registered", like.id);
    int r = add(call->client, &like, err);
    call->client->legacy_events = r == 0;
    out->cb_registered = 1;
    return r;
}

static int deregister_lifecycle(struct rpc_call *call, const void *args, void *ret,
                                struct kv_error *err)
{
    REMOTE_RET(CONNECT_DOMAIN_EVENT_DEREGISTER) *out = ret;
    call->client->legacy_events = false;
    if (!remove_one(call->client, RPC_EVENTS_DOMAIN, VIR_DOMAIN_EVENT_ID_LIFECYCLE, -1, false))
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR,
                              "domain event %d not registered", VIR_DOMAIN_EVENT_ID_LIFECYCLE);
    out->cb_registered = 0;
    return 0;
}

static int register_any(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_DOMAIN_EVENT_REGISTER_ANY) *in = args;
    int r = check_id(RPC_EVENTS_DOMAIN, in->event_id, true, err);
    if (r < 0)
        return r;
    /* Once is enough: all callbacks of the client's side hang on it. */
    remove_one(call->client, RPC_EVENTS_DOMAIN, in->event_id, -1, true);
    const struct registration like = {
        .class = RPC_EVENTS_DOMAIN, .id = in->event_id, .callback = -1, .by_id = true};
    return add(call->client, &like, err);
}

static int deregister_any(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    const REMOTE_ARGS(CONNECT_DOMAIN_EVENT_DEREGISTER_ANY) *in = args;
    int r = check_id(RPC_EVENTS_DOMAIN, in->event_id, true, err);
    if (r < 0)
        return r;
    if (!remove_one(call->client, RPC_EVENTS_DOMAIN, in->event_id, -1, true))
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR,
                              "domain event %d not registered", in->event_id);
    return 0;
}

static int register_callback(struct rpc_call *call, enum rpc_event_class class, int id,
                             char *object, wire_callback_id *out, struct kv_error *err)
{
    int r = check_id(class, id, false, err);
    if (r < 0) {
        free(object);
        return r;
    }
    const struct registration like = {
        .class = class, .id = id, .callback = call->client->next_callback, .object = object};
    r = add(call->client, &like, err);
    if (r == 0)
        out->callback_id = call->client->next_callback++;
    return r;
}

static int deregister_callback(struct rpc_call *call, enum rpc_event_class class, const void *args,
                               struct kv_error *err)
{
    const wire_callback_id *in = args;
    if (in->callback_id < 0 || !remove_one(call->client, class, -1, in->callback_id, false))
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR,
                              "callback %d not registered", in->callback_id);
    return 0;
}

static char *copy_uuid(const char *uuid)
{
    char *copy = malloc(sizeof(wire_uuid));
    return copy ? memcpy(copy, uuid, sizeof(wire_uuid)) : NULL;
}

/* A pair of handlers a class: registering by callback, and taking it back. */
#define CLASS_HANDLERS(lower, upper, class, object_of)                                \
    static int register_##lower(struct rpc_call *call, const void *args, void *ret,   \
                                struct kv_error *err)                                 \
    {                                                                                 \
        const REMOTE_ARGS(CONNECT_##upper##_REGISTER_ANY) *in = args;                 \
        return register_callback(call, class, in->event_id, object_of, ret, err);     \
    }                                                                                 \
    static int deregister_##lower(struct rpc_call *call, const void *args, void *ret, \
                                  struct kv_error *err)                               \
    {                                                                                 \
        return deregister_callback(call, class, args, err);                           \
    }

CLASS_HANDLERS(domain, DOMAIN_EVENT_CALLBACK, RPC_EVENTS_DOMAIN,
               in->dom ? copy_uuid(in->dom->uuid) : NULL)
CLASS_HANDLERS(network, NETWORK_EVENT, RPC_EVENTS_NETWORK,
               in->net ? copy_uuid(in->net->uuid) : NULL)
CLASS_HANDLERS(pool, STORAGE_POOL_EVENT, RPC_EVENTS_POOL,
               in->pool ? copy_uuid(in->pool->uuid) : NULL)
CLASS_HANDLERS(device, NODE_DEVICE_EVENT, RPC_EVENTS_DEVICE, in->dev ? strdup(in->dev->name) : NULL)
CLASS_HANDLERS(secret, SECRET_EVENT, RPC_EVENTS_SECRET,
               in->secret ? copy_uuid(in->secret->uuid) : NULL)

static int register_close(struct rpc_call *call, const void *args, void *ret, struct kv_error *err)
{
    if (call->client->close_callback)
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR,
                              "close callback already registered");
    call->client->close_callback = true;
    return 0;
}

static int unregister_close(struct rpc_call *call, const void *args, void *ret,
                            struct kv_error *err)
{
    if (!call->client->close_callback)
        return api_error_from(err, VIR_FROM_RPC, VIR_ERR_INTERNAL_ERROR,
                              "close callback not registered");
    call->client->close_callback = false;
    return 0;
}

/* All on the loop's thread, so a client's own fields need no lock. */
const struct rpc_handler event_handlers[] = {
    {REMOTE_PROC_CONNECT_DOMAIN_EVENT_REGISTER, register_lifecycle, RPC_INLINE},
    {REMOTE_PROC_CONNECT_DOMAIN_EVENT_DEREGISTER, deregister_lifecycle, RPC_INLINE},
    {REMOTE_PROC_CONNECT_DOMAIN_EVENT_REGISTER_ANY, register_any, RPC_INLINE},
    {REMOTE_PROC_CONNECT_DOMAIN_EVENT_DEREGISTER_ANY, deregister_any, RPC_INLINE},
    {REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY, register_domain, RPC_INLINE},
    {REMOTE_PROC_CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY, deregister_domain, RPC_INLINE},
    {REMOTE_PROC_CONNECT_NETWORK_EVENT_REGISTER_ANY, register_network, RPC_INLINE},
    {REMOTE_PROC_CONNECT_NETWORK_EVENT_DEREGISTER_ANY, deregister_network, RPC_INLINE},
    {REMOTE_PROC_CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY, register_pool, RPC_INLINE},
    {REMOTE_PROC_CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY, deregister_pool, RPC_INLINE},
    {REMOTE_PROC_CONNECT_NODE_DEVICE_EVENT_REGISTER_ANY, register_device, RPC_INLINE},
    {REMOTE_PROC_CONNECT_NODE_DEVICE_EVENT_DEREGISTER_ANY, deregister_device, RPC_INLINE},
    {REMOTE_PROC_CONNECT_SECRET_EVENT_REGISTER_ANY, register_secret, RPC_INLINE},
    {REMOTE_PROC_CONNECT_SECRET_EVENT_DEREGISTER_ANY, deregister_secret, RPC_INLINE},
    {REMOTE_PROC_CONNECT_REGISTER_CLOSE_CALLBACK, register_close, RPC_INLINE},
    {REMOTE_PROC_CONNECT_UNREGISTER_CLOSE_CALLBACK, unregister_close, RPC_INLINE},
    {0},
};
