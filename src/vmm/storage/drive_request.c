/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of a drive on their way to the block engine and back: limits,
 * counters, and what becomes of those that the host failed to carry out: they
 * are reported, held until the machine goes on, or passed over as the policy
 * says. Everything here but making and freeing runs on the queue's loop.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vmm/machine/machine.h"
#include "vmm/storage/drive.h"

#define PIECES_MAX 1024 /* of memory in one request of the host's kernel (IOV_MAX) */

void drive_count(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(counter, *counter + amount, __ATOMIC_RELAXED);
}

void drive_count_invalid(struct drive_queue *queue, enum drive_stat_kind kind)
{
    drive_count(&queue->stats.kind[kind].invalid, 1);
}

bool drive_holds(const struct drive *drive, uint64_t sector, uint64_t count)
{
    return range_within(sector, count, 0, drive_sectors(drive));
}

static void account(struct drive_request *request)
{
    struct drive_queue *queue = request->queue;
    __typeof__(&queue->stats.kind[0]) stat = &queue->stats.kind[request->kind];
    if (queue->now_ns == 0)
        queue->now_ns = clock_monotonic_ns();
    uint64_t elapsed = (uint64_t)MAX(queue->now_ns - request->start_ns, INT64_C(1));
    unsigned bucket = 64 - (unsigned)__builtin_clzll(elapsed / 1000 | 1);
    if (elapsed < 1000)
        bucket = 0;
    drive_count(&stat->ops, 1);
    drive_count(&stat->bytes, request->io.len);
    drive_count(&stat->nanoseconds, elapsed);
    drive_count(&stat->latency[MIN(bucket, DRIVE_LATENCY_BUCKETS - 1u)], 1);
}

static void emit_error(struct drive_request *request, enum drive_policy action, int code)
{
    static const char *const actions[] = {
        [DRIVE_POLICY_REPORT] = "report",
        [DRIVE_POLICY_STOP] = "stop",
        [DRIVE_POLICY_IGNORE] = "ignore",
    };
    struct drive *drive = request->queue->drive;
    char node_name[sizeof(drive->node_name)];
    if (action != DRIVE_POLICY_STOP && !log_limit_pass(&request->queue->error_events))
        return;
    pthread_mutex_lock(&drive->name_lock);
    memcpy(node_name, drive->node_name, sizeof(node_name));
    pthread_mutex_unlock(&drive->name_lock);
    machine_emit(drive->machine, "BLOCK_IO_ERROR",
                 json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "device", drive->id, "node-name",
                           node_name, "operation", request->io.op == BLOCK_READ ? "read" : "write",
                           "action", actions[action], "nospace", code == ENOSPC, "reason",
                           strerror(code)));
}

/* The host failed. */
static void fail(struct drive_request *request, int code)
{
    struct drive_queue *queue = request->queue;
    struct drive *drive = queue->drive;
    enum drive_policy policy = request->io.op == BLOCK_READ ? drive->rerror : drive->werror;
    if (policy == DRIVE_POLICY_ENOSPC)
        policy = code == ENOSPC ? DRIVE_POLICY_STOP : DRIVE_POLICY_REPORT;

    drive_count(&queue->stats.kind[request->kind].failed, 1);
    atomic_store(&drive->io_status, code == ENOSPC ? DRIVE_STATUS_NOSPACE : DRIVE_STATUS_FAILED);
    emit_error(request, policy, code);
    if (policy != DRIVE_POLICY_STOP) {
        request->done(request, policy != DRIVE_POLICY_IGNORE);
        return;
    }
    list_add_tail(&queue->held, &request->node);
    if (drive->machine)
        machine_request(drive->machine, REQUEST_IO_ERROR);
}

/* io: its iov is where the next part begins. */
static void take_part(struct drive_request *request)
{
    struct block_request *io = &request->io;
    io->iov_count = MIN(request->iov_left, (unsigned)PIECES_MAX);
    request->iov_left -= io->iov_count;
    io->len = 0;
    for (unsigned i = 0; i < io->iov_count; i++)
        io->len += io->iov[i].iov_len;
}

static void next_part(struct drive_request *request)
{
    struct block_request *io = &request->io;
    request->len_done += io->len;
    io->offset += io->len;
    io->iov += io->iov_count;
    take_part(request);
    if (request->queue->stopping) {
        list_add_tail(&request->queue->held, &request->node);
        return;
    }
    block_submit(request->queue->io, io);
    block_kick(request->queue->io);
}

static void io_done(struct block_request *io, int result)
{
    struct drive_request *request = container_of(io, struct drive_request, io);
    if (result == -ECANCELED && request->queue->stopping) {
        list_add_tail(&request->queue->held, &request->node);
        return;
    }
    if (result < 0) {
        fail(request, -result);
        return;
    }
    if (request->iov_left) {
        next_part(request);
        return;
    }
    io->len += request->len_done;
    account(request);
    request->done(request, false);
}

void drive_submit(struct drive_request *request)
{
    request->io.done = io_done;
    request->iov_left = 0;
    request->len_done = 0;
    if (request->io.iov_count > PIECES_MAX) {
        request->iov_left = request->io.iov_count;
        take_part(request);
    }
    /* One that follows another which was just finished. */
    if (request->queue->stopping)
        list_add_tail(&request->queue->held, &request->node);
    else if (drive_throttle_admit(request))
        block_submit(request->queue->io, &request->io);
}

void drive_kick(struct drive_queue *queue)
{
    if (queue->io)
        block_kick(queue->io);
}

static void batch_done(void *opaque)
{
    struct drive_queue *queue = opaque;
    queue->now_ns = 0;
    if (queue->batch_done)
        queue->batch_done(queue->batch_opaque);
}

struct opening {
    struct drive_queue *queue;
    struct kv_error *err;
    int rc;
};

static void open_io(void *opaque)
{
    struct opening *opening = opaque;
    struct drive_queue *queue = opening->queue;
    opening->rc =
        block_root_queue(&queue->io, queue->drive->root, queue->loop, queue->depth, opening->err);
    if (opening->rc == 0)
        block_queue_set_batch(queue->io, batch_done, queue);
}

int drive_queue_open(struct drive_queue *queue, struct kv_error *err)
{
    struct opening opening = {.queue = queue, .err = err};
    loop_call(queue->loop, open_io, &opening);
    return opening.rc;
}

int drive_queue_init(struct drive_queue *queue, struct drive *drive, struct loop *loop,
                     unsigned depth, void (*done)(void *opaque), void *opaque, struct kv_error *err)
{
    *queue = (struct drive_queue){
        .drive = drive,
        .loop = loop,
        .depth = depth,
        .batch_done = done,
        .batch_opaque = opaque,
    };
    list_init(&queue->held);
    for (unsigned i = 0; i < DRIVE_DIRECTIONS; i++)
        list_init(&queue->throttled[i]);
    return drive_has_medium(drive) ? drive_queue_open(queue, err) : 0;
}

static void free_io(void *opaque)
{
    struct drive_queue *queue = opaque;
    block_queue_free(queue->io);
    queue->io = NULL;
}

void drive_queue_destroy(struct drive_queue *queue)
{
    if (queue->io)
        loop_call(queue->loop, free_io, queue);
}

void drive_queue_start(struct drive_queue *queue)
{
    struct list retry;
    list_init(&retry);
    atomic_store(&queue->drive->io_status, DRIVE_STATUS_OK);
    /* What fails again is held again. */
    while (!list_empty(&queue->held)) {
        struct list *node = queue->held.next;
        list_del(node);
        list_add_tail(&retry, node);
    }
    while (!list_empty(&retry)) {
        struct drive_request *request = list_entry(retry.next, struct drive_request, node);
        list_del(&request->node);
        if (queue->io)
            block_submit(queue->io, &request->io);
        else
            request->done(request, true); /* its medium was taken out meanwhile */
    }
    drive_kick(queue);
}

void drive_queue_stop(struct drive_queue *queue)
{
    /* What has not been begun because the graph changes is done when the device goes on. The loop
     * must not wait for the change: that may wait for another disk's queue on the same loop. */
    queue->stopping = true;
    drive_throttle_flush(queue);
    if (queue->io)
        block_stop(queue->io);
    queue->stopping = false;
}

void drive_queue_forget(struct drive_queue *queue)
{
    list_init(&queue->held);
}
