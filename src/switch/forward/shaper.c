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

/* A frame that waits, its bytes behind it. Where a record would not fit before the ring's end, one
 * with WRAP stands for the rest of it, or less than a record is left. */
struct record {
    struct frame frame;
    size_t size; /* of the record; WRAP: the next is at the ring's begin */
};
#define WRAP SIZE_MAX

struct shaper *shaper_new(struct port *port, const struct meter_rates *rates)
{
    struct shaper *shaper = calloc(1, sizeof(*shaper));
    if (!shaper)
        return NULL;
    shaper->size = MIN(MAX(rates->average / QUEUE_PARTS_OF_SECOND, QUEUE_MIN), QUEUE_MAX);
    shaper->size = ALIGN_UP(shaper->size, _Alignof(struct record));
    shaper->queue = malloc(shaper->size);
    if (!shaper->queue) {
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
    free(shaper->queue);
    free(shaper);
}

static uint32_t bytes_of(const struct frame *frame)
{
    return FRAME_HEAD + frame->rest_bytes;
}

/* --- The queue ------------------------------------------------------------- */

static struct record *record_at(const struct shaper *shaper, size_t offset)
{
    return (struct record *)(void *)(shaper->queue + offset);
}

/* Room for a record at the tail, which moves to the ring's begin if need be; NULL: there is none.
 */
static struct record *make_room(struct shaper *shaper, size_t size)
{
    bool wrapped = shaper->waiting && shaper->tail <= shaper->head;
    if (shaper->waiting == 0)
        shaper->head = shaper->tail = 0;
    size_t end = wrapped ? shaper->head : shaper->size;
    if (end - shaper->tail >= size)
        return record_at(shaper, shaper->tail);
    if (wrapped || shaper->head < size)
        return NULL;
    if (shaper->size - shaper->tail >= sizeof(struct record))
        record_at(shaper, shaper->tail)->size = WRAP;
    shaper->tail = 0;
    return record_at(shaper, 0);
}

static bool enqueue(struct shaper *shaper, const struct frame *frame)
{
    size_t size = ALIGN_UP(sizeof(struct record) + frame->rest_bytes, _Alignof(struct record));
    struct record *record = make_room(shaper, size);
    if (!record)
        return false;
    *record = (struct record){.frame = *frame, .size = size};
    uint8_t *to = (uint8_t *)(record + 1);
    for (unsigned i = 0; i < frame->rest_count; i++) {
        memcpy(to, frame->rest[i].iov_base, frame->rest[i].iov_len);
        to += frame->rest[i].iov_len;
    }
    shaper->tail += size;
    shaper->waiting++;
    return true;
}

/* The one that waits longest. Some do. */
static struct record *first(struct shaper *shaper)
{
    if (shaper->size - shaper->head < sizeof(struct record) ||
        record_at(shaper, shaper->head)->size == WRAP)
        shaper->head = 0;
    return record_at(shaper, shaper->head);
}

/* --- Sending --------------------------------------------------------------- */

void shaper_send(struct shaper *shaper, const struct frame *frames)
{
    struct port *port = shaper->port;
    struct forward *forward = port->forward;
    unsigned now = 0;
    for (unsigned i = 0; i < port->pending_count; i++) {
        const struct frame *frame = &frames[port->pending[i]];
        if (!shaper->waiting && meter_take(&shaper->meter, bytes_of(frame), forward->now_ns)) {
            port->pending[now++] = port->pending[i];
            continue;
        }
        if (!shaper->waiting)
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
    while (shaper->waiting && count < FRAME_BURST) {
        struct record *record = first(shaper);
        if (!meter_take(&shaper->meter, bytes_of(&record->frame), port->forward->now_ns))
            break;
        frames[count] = record->frame;
        frames[count].one = (struct iovec){record + 1, record->frame.rest_bytes};
        frames[count].rest_count = 1;
        port->pending[count] = (uint8_t)count;
        shaper->head += record->size;
        shaper->waiting--;
        count++;
    }
    for (unsigned i = 0; i < count; i++)
        frames[i].rest = &frames[i].one;
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
    shaper->waiting = 0;
}
