/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shaping; see shaper.h. */
#include "switch/forward/shaper.h"

#include <stdlib.h>

#include "base/util.h"
#include "switch/forward/bridge.h"
#include "switch/forward/forward.h"
#include "switch/forward/offload.h"

/* A twentieth of a second at the average rate waits at most: more would be delay, not throughput.
 * The least is enough for the windows of a few connections. */
#define BYTES_PARTS_OF_SECOND 20
#define BYTES_MIN KIB(256)
#define BYTES_MAX MIB(4)

#define SENDERS 8          /* queues; ports that share one have one share */
#define TURN_BYTES KIB(16) /* some frames, or a part of one whose segments are not cut */

static struct shaper *make(struct port *port, const struct meter_rates *rates, unsigned count)
{
    struct shaper *shaper = calloc(1, sizeof(*shaper) + count * sizeof(*shaper->queues));
    if (!shaper)
        return NULL;
    size_t bytes = rates->average ? rates->average / BYTES_PARTS_OF_SECOND : BYTES_MAX;
    shaper->bytes_max = MIN(MAX(bytes, BYTES_MIN), BYTES_MAX);
    shaper->rates = *rates;
    shaper->port = port;
    list_init(&shaper->node);
    meter_init(&shaper->meter, rates, SHAPER_PAUSE_NS);
    for (; shaper->queue_count < count; shaper->queue_count++) {
        /* Records have headers, and one of them may not fit at the ring's end. */
        if (record_ring_init(&shaper->queues[shaper->queue_count].waiting, 2 * shaper->bytes_max) <
            0) {
            shaper_free(shaper);
            return NULL;
        }
    }
    return shaper;
}

struct shaper *shaper_new(struct port *port, const struct meter_rates *rates)
{
    struct shaper *shaper = make(port, rates, SENDERS);
    if (shaper)
        shaper->by_sender = true;
    return shaper;
}

struct shaper *shaper_new_queues(struct port *port, const struct meter_rates *rates,
                                 const struct shaper_queue_rates *queues, unsigned count)
{
    struct shaper *shaper = make(port, rates, count);
    for (unsigned i = 0; shaper && i < count; i++) {
        struct shaper_queue *queue = &shaper->queues[i];
        queue->rates = queues[i];
        ratelimit_init(&queue->guaranteed, queues[i].guaranteed, 0);
        meter_init(&queue->most, &queues[i].most, SHAPER_PAUSE_NS);
    }
    return shaper;
}

void shaper_free(struct shaper *shaper)
{
    if (!shaper)
        return;
    for (unsigned i = 0; i < shaper->queue_count; i++)
        record_ring_free(&shaper->queues[i].waiting);
    free(shaper);
}

static uint32_t bytes_of(const struct frame *frame)
{
    return FRAME_HEAD + frame->rest_bytes;
}

/* --- The queues ------------------------------------------------------------- */

static struct shaper_queue *queue_for(struct shaper *shaper, const struct port *from)
{
    if (shaper->by_sender)
        return &shaper->queues[from ? from->index % SENDERS : 0];
    uint32_t id = shaper->port->bridge ? shaper->port->bridge->queue : 0;
    for (unsigned i = 0; i < shaper->queue_count; i++) {
        if (shaper->queues[i].rates.id == id)
            return &shaper->queues[i];
    }
    return &shaper->queues[0];
}

/* The one that waits longest in a queue that has some. */
static const struct frame *first(const struct shaper_queue *queue)
{
    size_t cursor = record_ring_begin(&queue->waiting);
    return record_ring_next(&queue->waiting, &cursor);
}

static void remove_first(struct shaper *shaper, struct shaper_queue *queue)
{
    uint32_t bytes = bytes_of(first(queue));
    queue->bytes -= bytes;
    shaper->bytes -= bytes;
    shaper->waiting--;
    record_ring_pop(&queue->waiting);
}

static struct shaper_queue *longest(struct shaper *shaper)
{
    struct shaper_queue *found = &shaper->queues[0];
    for (unsigned i = 1; i < shaper->queue_count; i++) {
        if (shaper->queues[i].bytes > found->bytes)
            found = &shaper->queues[i];
    }
    return found;
}

/* Whether there is room for as many bytes more. Who sends too much makes it. */
static bool make_room(struct shaper *shaper, struct shaper_queue *queue, uint32_t bytes)
{
    while (shaper->bytes + bytes > shaper->bytes_max) {
        struct shaper_queue *most = longest(shaper);
        if (most->bytes <= queue->bytes + bytes)
            return false;
        remove_first(shaper, most);
        port_drop(shaper->port, DROP_QUEUE_FULL);
    }
    return true;
}

static bool enqueue(struct shaper *shaper, struct shaper_queue *queue, const struct frame *frame)
{
    uint32_t bytes = bytes_of(frame);
    if (!make_room(shaper, queue, bytes))
        return false;
    struct frame *waiting =
        record_ring_push(&queue->waiting, sizeof(struct frame) + frame->rest_bytes);
    if (!waiting)
        return false;
    *waiting = *frame;
    uint8_t *to = (uint8_t *)(waiting + 1);
    for (unsigned i = 0; i < frame->rest_count; i++) {
        memcpy(to, frame->rest[i].iov_base, frame->rest[i].iov_len);
        to += frame->rest[i].iov_len;
    }
    queue->bytes += bytes;
    shaper->bytes += bytes;
    shaper->waiting++;
    return true;
}

/* --- Whose turn it is ------------------------------------------------------------ */

enum taken {
    TAKEN,
    NOT_OF_QUEUE, /* the queue is too fast */
    NOT_AT_ALL,   /* all together are */
};

/* Takes the bytes off what the queue and the port may send now, or nothing. */
static enum taken take(struct shaper *shaper, struct shaper_queue *queue, uint32_t bytes)
{
    int64_t now_ns = shaper->port->forward->now_ns;
    bool limited = queue->rates.most.average;
    if (limited && !meter_take(&queue->most, bytes, now_ns))
        return NOT_OF_QUEUE;
    if (!shaper->rates.average || meter_take(&shaper->meter, bytes, now_ns))
        return TAKEN;
    if (limited)
        meter_return(&queue->most, bytes);
    return NOT_AT_ALL;
}

/* A queue that does not have what it is guaranteed yet. */
static struct shaper_queue *choose_guaranteed(struct shaper *shaper)
{
    int64_t now_ns = shaper->port->forward->now_ns;
    for (unsigned i = 0; i < shaper->queue_count; i++) {
        struct shaper_queue *queue = &shaper->queues[i];
        if (!queue->rates.guaranteed || !queue->waiting.count)
            continue;
        uint32_t bytes = bytes_of(first(queue));
        if (ratelimit_take(&queue->guaranteed, bytes, now_ns) > 0)
            continue;
        if (take(shaper, queue, bytes) == TAKEN)
            return queue;
        ratelimit_return(&queue->guaranteed, bytes);
    }
    return NULL;
}

/* Each queue that waits gets TURN_BYTES more when its turn comes, and sends what it may. */
static struct shaper_queue *choose_by_turn(struct shaper *shaper)
{
    for (unsigned idle = 0; idle < shaper->queue_count;) {
        struct shaper_queue *queue = &shaper->queues[shaper->turn];
        idle++;
        if (!queue->waiting.count) {
            queue->deficit = 0;
        } else if (queue->deficit < bytes_of(first(queue))) {
            queue->deficit += TURN_BYTES;
            idle = 0;
        } else {
            enum taken taken = take(shaper, queue, bytes_of(first(queue)));
            if (taken != NOT_OF_QUEUE) {
                queue->deficit -= taken == TAKEN ? bytes_of(first(queue)) : 0;
                return taken == TAKEN ? queue : NULL;
            }
        }
        shaper->turn = (shaper->turn + 1) % shaper->queue_count;
    }
    return NULL;
}

/* The queue whose first frame goes now, and was taken off its rates; NULL: none may. */
static struct shaper_queue *choose(struct shaper *shaper)
{
    struct shaper_queue *queue = shaper->by_sender ? NULL : choose_guaranteed(shaper);
    return queue ? queue : choose_by_turn(shaper);
}

/* --- Sending --------------------------------------------------------------- */

void shaper_send(struct shaper *shaper, const struct port *from, const struct frame *frames)
{
    struct port *port = shaper->port;
    struct shaper_queue *queue = queue_for(shaper, from);
    bool waited = shaper->waiting;
    unsigned now = 0;
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        if (!shaper->waiting && take(shaper, queue, bytes_of(frame)) == TAKEN) {
            port->pending[now++] = port->pending[i];
            continue;
        }
        if (!enqueue(shaper, queue, frame))
            port_drop(port, DROP_QUEUE_FULL);
    }
    if (!waited && shaper->waiting)
        list_add_tail(&port->forward->shaped, &shaper->node);
    port->pending_count = (uint8_t)now;
    if (now)
        offload_send(port, frames);
}

void shaper_release(struct shaper *shaper)
{
    struct port *port = shaper->port;
    struct shaper_queue *queue;
    struct frame frames[FRAME_BURST];
    unsigned count = 0;
    while (shaper->waiting && count < FRAME_BURST && (queue = choose(shaper)) != NULL) {
        const struct frame *waiting = first(queue);
        frames[count] = *waiting;
        frames[count].one = (struct iovec){(void *)(waiting + 1), waiting->rest_bytes};
        frames[count].rest = &frames[count].one;
        frames[count].rest_count = 1;
        port->pending[count] = (uint8_t)count;
        remove_first(shaper, queue);
        count++;
    }
    port->pending_count = (uint8_t)count;
    if (count)
        offload_send(port, frames);
    port->pending_count = 0;
    if (!shaper->waiting)
        list_del(&shaper->node);
}

void shaper_stop(struct shaper *shaper)
{
    list_del(&shaper->node);
    for (unsigned i = 0; i < shaper->queue_count; i++) {
        shaper->queues[i].waiting.count = 0;
        shaper->queues[i].bytes = 0;
    }
    shaper->waiting = 0;
    shaper->bytes = 0;
}
