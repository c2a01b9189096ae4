/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shaping; see shaper.h. */
#include "switch/forward/shaper.h"

#include <stdlib.h>

#include "base/util.h"
#include "switch/forward/forward.h"
#include "switch/forward/offload.h"

/* A twentieth of a second at the average rate waits at most: more would be delay, not throughput.
 * The least is enough for the windows of a few connections. */
#define QUEUE_PARTS_OF_SECOND 20
#define QUEUE_MIN KIB(256)
#define QUEUE_MAX MIB(4)

struct shaper *shaper_new(struct port *port, const struct meter_rates *rates)
{
    struct shaper *shaper = calloc(1, sizeof(*shaper));
    if (!shaper)
        return NULL;
    size_t size = MIN(MAX(rates->average / QUEUE_PARTS_OF_SECOND, QUEUE_MIN), QUEUE_MAX);
    if (record_ring_init(&shaper->queue, size) < 0) {
        free(shaper);
        return NULL;
    }
    shaper->port = port;
    list_init(&shaper->node);
    meter_init(&shaper->meter, rates, SHAPER_PAUSE_NS);
    return shaper;
}

void shaper_free(struct shaper *shaper)
{
    if (!shaper)
        return;
    record_ring_free(&shaper->queue);
    free(shaper);
}

static uint32_t bytes_of(const struct frame *frame)
{
    return FRAME_HEAD + frame->rest_bytes;
}

/* The frame, its bytes behind it. */
static bool enqueue(struct shaper *shaper, const struct frame *frame)
{
    struct frame *waiting =
        record_ring_push(&shaper->queue, sizeof(struct frame) + frame->rest_bytes);
    if (!waiting)
        return false;
    *waiting = *frame;
    uint8_t *to = (uint8_t *)(waiting + 1);
    for (unsigned i = 0; i < frame->rest_count; i++) {
        memcpy(to, frame->rest[i].iov_base, frame->rest[i].iov_len);
        to += frame->rest[i].iov_len;
    }
    return true;
}

/* --- Sending --------------------------------------------------------------- */

void shaper_send(struct shaper *shaper, const struct frame *frames)
{
    struct port *port = shaper->port;
    struct forward *forward = port->forward;
    unsigned now = 0;
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        if (!shaper->queue.count && meter_take(&shaper->meter, bytes_of(frame), forward->now_ns)) {
            port->pending[now++] = port->pending[i];
            continue;
        }
        if (!shaper->queue.count)
            list_add_tail(&forward->shaped, &shaper->node);
        if (!enqueue(shaper, frame))
            port_drop(port, DROP_QUEUE_FULL);
    }
    port->pending_count = (uint8_t)now;
    if (now)
        offload_send(port, frames);
}

void shaper_release(struct shaper *shaper)
{
    struct port *port = shaper->port;
    struct frame frames[FRAME_BURST];
    unsigned count = 0;
    while (shaper->queue.count && count < FRAME_BURST) {
        size_t cursor = record_ring_begin(&shaper->queue);
        const struct frame *waiting = record_ring_next(&shaper->queue, &cursor);
        if (!meter_take(&shaper->meter, bytes_of(waiting), port->forward->now_ns))
            break;
        frames[count] = *waiting;
        frames[count].one = (struct iovec){(void *)(waiting + 1), waiting->rest_bytes};
        frames[count].rest_count = 1;
        port->pending[count] = (uint8_t)count;
        record_ring_pop(&shaper->queue);
        count++;
    }
    for (unsigned i = 0; i < count; i++)
        frames[i].rest = &frames[i].one;
    port->pending_count = (uint8_t)count;
    if (count)
        offload_send(port, frames);
    port->pending_count = 0;
    if (!shaper->queue.count)
        list_del(&shaper->node);
}

void shaper_stop(struct shaper *shaper)
{
    list_del(&shaper->node);
    shaper->queue.count = 0;
}
