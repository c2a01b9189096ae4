/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A queue's way to an NBD server: requests go from the queue's thread to the
 * socket, and that thread's loop serves the replies, without a worker in
 * between. What does not fit (unaligned ranges, ones beyond the server's
 * limits, a connection that is lost) is left to the workers.
 *
 * The library's connection is shared with threads that make blocking calls, and
 * one of them may serve the reply of a request of the queue: then the queue's
 * loop is told. A lane belongs to its queue's thread but for what is said.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "block/nbd_client_internal.h"

#define WAIT_MS 10 /* so long block_drain() looks at the socket alone */
#define SPARE_MAX 64

/* A request on its way; remote.send is in the library's hands. */
struct lane_op {
    struct nbd_op op;
    struct block_lane *lane;
    struct block_request *request;
    uint8_t *bounce;  /* for memory in pieces; NULL: none */
    struct list node; /* lane->finished, or lane->spare */
};

struct block_lane {
    struct block_queue *queue;
    /* There while requests are in flight, and within block_queue_enter(). */
    struct nbd_client *client;
    struct nbd_link *link;
    unsigned inflight;
    struct loop_source source; /* a duplicate of the socket, so that its number stays ours */
    unsigned generation;       /* of the connection that source is of */
    struct loop_work work;     /* somebody else served replies */

    bool mine;            /* the queue's thread is at it; under the connection's lock */
    struct list finished; /* under the connection's lock */

    struct list spare; /* lane_ops for reuse */
    unsigned spare_count;
};

/* ------------------------------------------------------------------------ replies */

/* Under the connection's lock, on any thread. */
static void op_done(struct remote_op *remote_op)
{
    struct lane_op *lo = container_of(remote_op, struct lane_op, op.remote);
    struct block_lane *lane = lo->lane;
    bool first = list_empty(&lane->finished);
    list_add_tail(&lane->finished, &lo->node);
    if (first && !lane->mine)
        loop_post(lane->queue->loop, &lane->work);
}

static void put_op(struct block_lane *lane, struct lane_op *lo)
{
    free(lo->bounce);
    lo->bounce = NULL;
    if (lane->spare_count == SPARE_MAX) {
        free(lo);
        return;
    }
    list_add_tail(&lane->spare, &lo->node);
    lane->spare_count++;
}

static void complete(struct block_lane *lane, struct lane_op *lo)
{
    struct block_request *request = lo->request;
    int result = lo->op.remote.result;
    if (result == 0 && lo->bounce && request->op == BLOCK_READ)
        iov_from_buffer(request->iov, request->iov_count, 0, lo->bounce, request->len);
    if (request->op == BLOCK_WRITE)
        atomic_fetch_add(&lane->client->changes, 1);
    atomic_fetch_sub(&lane->link->remote.load, 1);
    lane->inflight--;
    put_op(lane, lo);
    if (result == -ENOTCONN)
        block_go_slow(request); /* a worker waits for the server to come back */
    else
        block_complete(request, result);
}

/* Under the connection's lock. */
static void collect(struct block_lane *lane, struct list *finished)
{
    list_init(finished);
    while (!list_empty(&lane->finished)) {
        struct list *node = lane->finished.next;
        list_del(node);
        list_add_tail(finished, node);
    }
}

/* Completions may submit more. After the last of those in flight the queue may turn to another
 * node: lane and connection are not touched any more. */
static void complete_all(struct block_lane *lane, struct list *finished)
{
    while (!list_empty(finished)) {
        struct lane_op *lo = list_entry(finished->next, struct lane_op, node);
        list_del(&lo->node);
        complete(lane, lo);
    }
}

static void take_finished(struct block_lane *lane)
{
    struct list finished;
    pthread_mutex_lock(&lane->link->remote.lock);
    collect(lane, &finished);
    pthread_mutex_unlock(&lane->link->remote.lock);
    complete_all(lane, &finished);
}

/* --------------------------------------------------------------------- the socket */

static void socket_ready(void *opaque, uint32_t events);

static void forget_socket(struct block_lane *lane)
{
    int fd = lane->source.fd;
    loop_remove(&lane->source);
    if (fd >= 0)
        close(fd);
    lane->source = LOOP_SOURCE_INIT;
}

static void socket_ready(void *opaque, uint32_t events);

/* Watches for what the library waits for, on the connection that there is. */
static void watch(struct block_lane *lane)
{
    struct remote *remote = &lane->link->remote;
    short wanted;
    unsigned generation;
    int own = -1;
    pthread_mutex_lock(&remote->lock);
    int fd = remote_wanted(remote, &wanted, &generation);
    bool stale = fd < 0 || generation != lane->generation;
    if (fd >= 0 && (stale || !lane->source.loop))
        own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&remote->lock);
    uint32_t events = (wanted & POLLIN ? EPOLLIN : 0) | (wanted & POLLOUT ? EPOLLOUT : 0);
    if (lane->source.loop && stale)
        forget_socket(lane);
    if (lane->source.loop && lane->source.events != events)
        loop_modify(&lane->source, events);
    if (own < 0)
        return;
    lane->generation = generation;
    if (loop_add(lane->queue->loop, &lane->source, own, events, socket_ready, lane) < 0)
        close(own);
}

/* Serves what the socket is ready for, and completes what was answered. There are requests in
 * flight, so the queue's node and connection stay. */
static void serve(struct block_lane *lane, short revents)
{
    struct block_queue *queue = lane->queue;
    struct remote *remote = &lane->link->remote;
    struct list finished;
    pthread_mutex_lock(&remote->lock);
    lane->mine = true;
    remote_serve(remote, lane->generation, revents);
    lane->mine = false;
    collect(lane, &finished);
    pthread_mutex_unlock(&remote->lock);
    complete_all(lane, &finished);
    if (queue->lane == lane && lane->inflight)
        watch(lane);
}

static void socket_ready(void *opaque, uint32_t events)
{
    struct block_lane *lane = opaque;
    struct block_queue *queue = lane->queue;
    if (!lane->inflight) {
        /* The server went away, perhaps the node too. The next request looks for another one. */
        forget_socket(lane);
        return;
    }
    serve(lane, (short)((events & EPOLLIN ? POLLIN : 0) | (events & EPOLLOUT ? POLLOUT : 0) |
                        (events & (EPOLLHUP | EPOLLERR) ? POLLHUP : 0)));
    block_kick(queue);
}

static void others_served(void *opaque)
{
    struct block_lane *lane = opaque;
    struct block_queue *queue = lane->queue;
    if (lane->inflight)
        take_finished(lane);
    block_kick(queue);
}

/* ----------------------------------------------------------------------- requests */

static struct lane_op *get_op(struct block_lane *lane)
{
    if (list_empty(&lane->spare))
        return calloc(1, sizeof(struct lane_op));
    struct lane_op *lo = list_entry(lane->spare.next, struct lane_op, node);
    list_del(&lo->node);
    lane->spare_count--;
    return lo;
}

/* Whether the server takes it as it is. */
static bool fits(const struct block_lane *lane, const struct block_request *request,
                 uint32_t *flags)
{
    const struct nbd_server_facts *facts = &lane->client->facts;
    *flags = 0;
    if (request->op == BLOCK_FLUSH)
        return facts->flush;
    if (request->op == BLOCK_WRITE && block_is_durable(lane->client->node, request->fua)) {
        if (facts->flush && !facts->fua)
            return false;
        *flags = facts->flush ? LIBNBD_CMD_FLAG_FUA : 0;
    }
    return (request->op == BLOCK_READ || request->op == BLOCK_WRITE) &&
           IS_ALIGNED(request->host_offset | request->len, facts->block_min) &&
           request->len <= facts->payload_max &&
           range_within(request->host_offset, request->len, 0, facts->size);
}

static bool lane_submit(struct block_lane *lane, struct block_request *request)
{
    uint32_t flags;
    if (request->progress || !fits(lane, request, &flags))
        return false;
    struct lane_op *lo = get_op(lane);
    if (!lo)
        return false;
    lo->lane = lane;
    lo->request = request;
    if (request->op != BLOCK_FLUSH && request->iov_count != 1) {
        lo->bounce = malloc(request->len);
        if (!lo->bounce) {
            put_op(lane, lo);
            return false;
        }
        if (request->op == BLOCK_WRITE)
            iov_to_buffer(request->iov, request->iov_count, 0, lo->bounce, request->len);
    }
    lo->op = (struct nbd_op){
        .kind = request->op == BLOCK_READ    ? NBD_OP_READ
                : request->op == BLOCK_WRITE ? NBD_OP_WRITE
                                             : NBD_OP_FLUSH,
        .offset = request->op == BLOCK_FLUSH ? 0 : request->host_offset,
        .len = request->len,
        .buffer = lo->bounce                   ? lo->bounce
                  : request->op == BLOCK_FLUSH ? NULL
                                               : request->iov->iov_base,
        .flags = flags,
    };
    nbd_op_init(&lo->op, lane->link);
    lo->op.remote.done = op_done;
    struct remote *remote = &lane->link->remote;
    pthread_mutex_lock(&remote->lock);
    lane->mine = true;
    bool sent = remote_start(remote, &lo->op.remote);
    lane->mine = false;
    pthread_mutex_unlock(&remote->lock);
    if (!sent) {
        put_op(lane, lo);
        return false;
    }
    atomic_fetch_add(&remote->load, 1);
    lane->inflight++;
    return true;
}

static void lane_kick(struct block_lane *lane)
{
    take_finished(lane);
    watch(lane);
}

static bool lane_wait(struct block_lane *lane)
{
    if (!lane->inflight)
        return false;
    watch(lane);
    struct pollfd pfd = {.fd = lane->source.fd,
                         .events = (short)((lane->source.events & EPOLLIN ? POLLIN : 0) |
                                           (lane->source.events & EPOLLOUT ? POLLOUT : 0))};
    if (poll(&pfd, 1, WAIT_MS) > 0)
        serve(lane, pfd.revents);
    else
        take_finished(lane);
    return true;
}

/* -------------------------------------------------------------------- open, close */

static int lane_open(struct block_lane **out, struct block_node *node, struct block_queue *queue)
{
    struct block_lane *lane = calloc(1, sizeof(*lane));
    if (!lane)
        return -ENOMEM;
    lane->queue = queue;
    lane->client = node->state;
    lane->link = nbd_client_link_for_queue(lane->client);
    pthread_mutex_lock(&lane->link->remote.lock);
    lane->link->remote.loops++;
    pthread_mutex_unlock(&lane->link->remote.lock);
    lane->source = LOOP_SOURCE_INIT;
    lane->work = (struct loop_work){.fn = others_served, .opaque = lane};
    list_init(&lane->finished);
    list_init(&lane->spare);
    *out = lane;
    return 0;
}

/* The node may be gone already: nothing of it is touched. */
static void lane_close(struct block_lane *lane)
{
    loop_unpost(lane->queue->loop, &lane->work);
    forget_socket(lane);
    while (!list_empty(&lane->spare)) {
        struct lane_op *lo = list_entry(lane->spare.next, struct lane_op, node);
        list_del(&lo->node);
        free(lo);
    }
    free(lane);
}

const struct block_lane_ops nbd_client_lanes = {
    .open = lane_open,
    .close = lane_close,
    .submit = lane_submit,
    .kick = lane_kick,
    .wait = lane_wait,
};
