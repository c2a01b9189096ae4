/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Rate limits of a disk, those of a throttle group (block/throttle.h) that
 * several disks may share. Each queue keeps what must wait, in order, reads and
 * writes apart, so that a limit on one does not hold up the other. Called by
 * drive.c and drive_request.c.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/util.h"
#include "vmm/storage/drive.h"

static enum drive_direction direction(const struct drive_request *request)
{
    return request->io.op == BLOCK_READ ? DRIVE_DIRECTION_READ : DRIVE_DIRECTION_WRITE;
}

/* 0: it may go, or how many nanoseconds to wait. A group is let go of only after every queue's
 * loop has passed by. */
static int64_t take(struct drive *drive, const struct drive_request *request)
{
    struct throttle_group *group = atomic_load(&drive->throttle);
    return group ? throttle_take(group, request->io.op, request->io.len) : 0;
}

static void serve_waiting(struct drive_queue *queue, enum drive_direction dir);

static void serve_reads(void *opaque)
{
    serve_waiting(opaque, DRIVE_DIRECTION_READ);
}

static void serve_writes(void *opaque)
{
    serve_waiting(opaque, DRIVE_DIRECTION_WRITE);
}

static void arm(struct drive_queue *queue, enum drive_direction dir, int64_t wait)
{
    loop_timer_arm(queue->loop, &queue->throttle_timer[dir], wait,
                   dir == DRIVE_DIRECTION_READ ? serve_reads : serve_writes, queue);
}

static void serve_waiting(struct drive_queue *queue, enum drive_direction dir)
{
    struct list *waiting = &queue->throttled[dir];
    while (!list_empty(waiting)) {
        struct drive_request *request = list_entry(waiting->next, struct drive_request, node);
        int64_t wait = take(queue->drive, request);
        if (wait) {
            arm(queue, dir, wait);
            break;
        }
        list_del(&request->node);
        block_submit(queue->io, &request->io);
    }
    drive_kick(queue);
}

bool drive_throttle_admit(struct drive_request *request)
{
    struct drive_queue *queue = request->queue;
    if (!atomic_load(&queue->drive->throttle) || request->io.op == BLOCK_FLUSH)
        return true;
    enum drive_direction dir = direction(request);
    if (list_empty(&queue->throttled[dir])) {
        int64_t wait = take(queue->drive, request);
        if (wait == 0)
            return true;
        arm(queue, dir, wait);
    }
    list_add_tail(&queue->throttled[dir], &request->node);
    return false;
}

void drive_throttle_flush(struct drive_queue *queue)
{
    for (unsigned dir = 0; dir < DRIVE_DIRECTIONS; dir++) {
        struct list *waiting = &queue->throttled[dir];
        loop_timer_cancel(&queue->throttle_timer[dir]);
        while (!list_empty(waiting)) {
            struct drive_request *request = list_entry(waiting->next, struct drive_request, node);
            list_del(&request->node);
            block_submit(queue->io, &request->io);
        }
    }
}

/* On the queue's loop: the limits are others now. */
static void look_again(void *opaque)
{
    for (unsigned dir = 0; dir < DRIVE_DIRECTIONS; dir++)
        serve_waiting(opaque, (enum drive_direction)dir);
}

void drive_throttle_changed(struct drive *drive)
{
    for (unsigned i = 0; i < drive->queue_count; i++)
        loop_call(drive->queues[i]->loop, look_again, drive->queues[i]);
}

int drive_set_throttle(struct drive *drive, const char *name, struct kv_error *err)
{
    struct throttle_group *group = name ? throttle_group_get(name) : NULL;
    char *copy = name ? strdup(name) : NULL;
    if (name && (!group || !copy)) {
        throttle_group_put(group);
        free(copy);
        return kv_error_set(err, KV_ERR_DEVICE, group ? ENOMEM : ENOENT,
                            "disk '%s': no throttle group '%s'", drive->id, name);
    }
    struct throttle_group *old = atomic_exchange(&drive->throttle, group);
    free(drive->throttle_name);
    drive->throttle_name = copy;
    if (drive->queues)
        drive_throttle_changed(drive);
    throttle_group_put(old);
    return 0;
}

int drive_throttle_init(struct drive *drive, const struct drive_config *config,
                        struct kv_error *err)
{
    const char *name = config->throttle_group ? config->throttle_group : drive->id;
    struct throttle_limits known;
    bool limited = false;
    for (unsigned i = 0; i < THROTTLE_KINDS; i++)
        limited |= config->limits.limits[i].average || config->limits.limits[i].max;
    if (!limited && !config->throttle_group)
        return 0;
    /* The first disk of a group says its limits. */
    if (limited || throttle_group_limits(name, &known) < 0) {
        int rc = throttle_group_set(name, &config->limits, err);
        if (rc < 0)
            return kv_error_prefix(err, "disk '%s'", drive->id);
    }
    return drive_set_throttle(drive, name, err);
}

void drive_throttle_destroy(struct drive *drive)
{
    throttle_group_put(atomic_load(&drive->throttle));
    free(drive->throttle_name);
}
