/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Patches between bridges; see patch.h. */
#include "switch/ports/patch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/forward/offload.h"
#include "switch/forward/record_ring.h"
#include "switch/ports/incoming.h"

#define QUEUE_BYTES MIB(4) /* some bursts of long segments; only what is used takes memory */

struct patch_port {
    struct port port;
    struct patch_port *other; /* NULL: there is none, or it has another peer; our thread's */
    struct list node;         /* among patches */
    char peer[PORT_NAME_MAX];
    int wake_fd;              /* the other's thread wakes us by it */
    pthread_mutex_t lock;     /* of the rest, as bridges may be of different threads */
    struct record_ring queue; /* what comes in here */
    bool asleep;
};

/* A frame in the queue; its bytes follow, as they go over a wire. */
struct record {
    uint8_t hops; /* patches that it has passed */
    uint32_t len; /* from the header on */
    struct virtio_net_hdr header;
};

static const struct port_ops patch_port_ops;

/* Patches that are on bridges; the control thread's. */
static struct list patches = {&patches, &patches};
/* What those frames have passed that the thread delivers; 0: frames that come from elsewhere. */
static _Thread_local unsigned delivered_hops;

static struct patch_port *patch_of(struct port *port)
{
    return container_of(port, struct patch_port, port);
}

struct port *patch_port_new(const char *peer, struct kv_error *err)
{
    if (!*peer || strlen(peer) >= PORT_NAME_MAX) {
        kv_error_set(err, KV_ERR_CONFIG, EINVAL, "peer '%.100s': a name has 1 to %d characters",
                     peer, PORT_NAME_MAX - 1);
        return NULL;
    }
    struct patch_port *patch = calloc(1, sizeof(*patch));
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!patch || wake_fd < 0 || record_ring_init(&patch->queue, QUEUE_BYTES) < 0) {
        kv_error_errno(err, KV_ERR_NET, errno, "patch");
        if (wake_fd >= 0)
            close(wake_fd);
        free(patch);
        return NULL;
    }
    patch->port.ops = &patch_port_ops;
    patch->port.leaves = patch->port.takes = INCOMING_LEAVES;
    patch->wake_fd = wake_fd;
    list_init(&patch->node);
    pthread_mutex_init(&patch->lock, NULL);
    snprintf(patch->peer, sizeof(patch->peer), "%s", peer);
    return &patch->port;
}

void patch_port_free(struct port *port)
{
    struct patch_port *patch = patch_of(port);
    record_ring_free(&patch->queue);
    pthread_mutex_destroy(&patch->lock);
    close(patch->wake_fd);
    free(patch);
}

const char *patch_port_peer(struct port *port)
{
    return patch_of(port)->peer;
}

/* --- Coming and going: the control thread ------------------------------------------ */

struct start {
    struct patch_port *patch;
    int rc;
};

struct link {
    struct patch_port *patch, *other;
};

static void connect_here(void *opaque)
{
    const struct link *link = opaque;
    link->patch->other = link->other;
    link->patch->port.up = link->other != NULL;
}

static void connect_to(struct patch_port *patch, struct patch_port *other)
{
    struct link link = {patch, other};
    forward_run(patch->port.forward, connect_here, &link);
}

/* The one on a bridge that the patch names and that names it, or NULL. */
static struct patch_port *find_other(const struct patch_port *patch)
{
    list_for_each (node, &patches) {
        struct patch_port *other = list_entry(node, struct patch_port, node);
        if (strcmp(other->port.name, patch->peer) == 0 &&
            strcmp(other->peer, patch->port.name) == 0)
            return other;
    }
    return NULL;
}

static void watch_here(void *opaque)
{
    struct start *start = opaque;
    struct port *port = &start->patch->port;
    start->rc = forward_watch(port->forward, port, start->patch->wake_fd);
}

static void unwatch_here(void *opaque)
{
    struct patch_port *patch = opaque;
    forward_unwatch(patch->port.forward, patch->wake_fd);
}

int patch_port_start(struct port *port, struct kv_error *err)
{
    struct patch_port *patch = patch_of(port), *other = find_other(patch);
    struct start start = {.patch = patch};
    forward_run(port->forward, watch_here, &start);
    if (start.rc < 0)
        return kv_error_errno(err, KV_ERR_NET, -start.rc, "its events");
    list_add_tail(&patches, &patch->node);
    if (other) {
        connect_to(patch, other);
        connect_to(other, patch);
    }
    return 0;
}

void patch_port_stop(struct port *port)
{
    struct patch_port *patch = patch_of(port), *other = find_other(patch);
    list_del(&patch->node);
    if (other) {
        connect_to(other, NULL);
        connect_to(patch, NULL);
    }
    forward_run(port->forward, unwatch_here, patch);
}

/* --- Frames: forwarding threads ------------------------------------------------------ */

/* Those that wait, at most a burst, and where the first is. They stay where they are until they
 * are popped. */
static unsigned look_at_queue(struct patch_port *patch, size_t *cursor)
{
    pthread_mutex_lock(&patch->lock);
    unsigned waiting = MIN(patch->queue.count, FRAME_BURST);
    *cursor = record_ring_begin(&patch->queue);
    pthread_mutex_unlock(&patch->lock);
    return waiting;
}

static bool patch_poll(struct port *port)
{
    struct patch_port *patch = patch_of(port);
    size_t cursor;
    unsigned taken = 0, waiting = look_at_queue(patch, &cursor);
    if (waiting == 0)
        return false;
    incoming_begin(port);
    for (; taken < waiting; taken++) {
        const struct record *record = record_ring_next(&patch->queue, &cursor);
        if (taken && record->hops != delivered_hops)
            break;
        delivered_hops = record->hops;
        incoming_add_at((const uint8_t *)&record->header, record->len, NULL);
    }
    incoming_deliver();
    delivered_hops = 0;
    pthread_mutex_lock(&patch->lock);
    for (unsigned i = 0; i < taken; i++)
        record_ring_pop(&patch->queue);
    pthread_mutex_unlock(&patch->lock);
    return true;
}

static bool enqueue(struct port *port, struct record_ring *queue, const struct frame *frame)
{
    uint8_t head[FRAME_HEAD_MAX];
    unsigned head_len = frame_write_head(frame, port_sends_tagged(port, frame), head);
    uint32_t len = (uint32_t)INCOMING_HEADER + head_len + frame->rest_bytes;
    struct record *record = record_ring_push(queue, offsetof(struct record, header) + len);
    if (!record)
        return false;
    record->hops = (uint8_t)(delivered_hops + 1);
    record->len = len;
    offload_write(port, frame, head_len, &record->header);
    uint8_t *to = (uint8_t *)&record->header + INCOMING_HEADER;
    memcpy(to, head, head_len);
    to += head_len;
    for (unsigned i = 0; i < frame->rest_count; i++) {
        memcpy(to, frame->rest[i].iov_base, frame->rest[i].iov_len);
        to += frame->rest[i].iov_len;
    }
    port->counters.out_frames++;
    port->counters.out_bytes += head_len + frame->rest_bytes;
    return true;
}

static void patch_send(struct port *port, const struct frame *frames)
{
    struct patch_port *other = patch_of(port)->other;
    if (!other || delivered_hops == PATCH_HOPS_MAX) {
        port->counters.drops[other ? DROP_LOOP : DROP_DOWN] += port->pending_count;
        return;
    }
    pthread_mutex_lock(&other->lock);
    for (unsigned i = 0; i < port->pending_count; i++) {
        if (!enqueue(port, &other->queue, &frames[port->pending[i]]))
            port_drop(port, DROP_NO_BUFFER);
    }
    bool asleep = other->asleep;
    other->asleep = false;
    pthread_mutex_unlock(&other->lock);
    if (!asleep)
        return;
    if (other->port.forward == port->forward)
        forward_wake_port(&other->port);
    else
        eventfd_write(other->wake_fd, 1);
}

static enum port_sleep patch_sleep(struct port *port)
{
    struct patch_port *patch = patch_of(port);
    pthread_mutex_lock(&patch->lock);
    patch->asleep = patch->queue.count == 0;
    bool asleep = patch->asleep;
    pthread_mutex_unlock(&patch->lock);
    return asleep ? PORT_ASLEEP : PORT_HAS_WORK;
}

static void patch_wake(struct port *port)
{
    struct patch_port *patch = patch_of(port);
    pthread_mutex_lock(&patch->lock);
    patch->asleep = false;
    pthread_mutex_unlock(&patch->lock);
}

static const struct port_ops patch_port_ops = {
    .poll = patch_poll,
    .send = patch_send,
    .sleep = patch_sleep,
    .wake = patch_wake,
};
