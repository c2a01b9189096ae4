/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of virtio-blk (virtio 1.2, 5.2.6): taken off the ring in batches,
 * checked, handed to the block engine with the guest's own buffers, answered.
 * A chain that has no room for header and status breaks the ring; anything
 * else that is wrong is answered with an error status. A request that the host
 * failed to carry out is reported, held or passed over as the policy says.
 * Everything here runs on the queue's loop.
 */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/blk_internal.h"

/* Requests of one queue before the other devices of the loop get their turn. */
#define BUDGET 128

static void count(uint64_t *counter, uint64_t amount)
{
    __atomic_store_n(counter, *counter + amount, __ATOMIC_RELAXED);
}

static struct blk_request *request_get(struct blk_queue *queue)
{
    struct blk_request *request;
    if (!list_empty(&queue->free)) {
        request = list_entry(queue->free.next, struct blk_request, node);
        list_del(&request->node);
        return request;
    }
    if (queue->touched == queue->virtio->size_max)
        return NULL;
    unsigned index = queue->touched++;
    request = &queue->requests[index];
    request->queue = queue;
    request->chain.iov = &queue->iov[(size_t)index * BLK_IOV_MAX];
    request->chain.iov_max = BLK_IOV_MAX;
    list_init(&request->node);
    return request;
}

static void request_put(struct blk_request *request)
{
    list_add_tail(request->queue->free.next, &request->node);
}

static void answer(struct blk_request *request, uint8_t status)
{
    struct virtqueue_chain *chain = &request->chain;
    *request->status = status;
    if (request->cut)
        request->cut->iov_len++;
    virtqueue_push(&request->queue->virtio->ring, chain,
                   status == VIRTIO_BLK_S_OK ? request->written : 1);
    request_put(request);
}

/* The guest asked for what cannot be. */
static void refuse(struct blk_request *request, uint8_t status)
{
    count(&request->queue->stats.kind[request->kind].invalid, 1);
    answer(request, status);
}

static void account(struct blk_request *request)
{
    struct blk_queue *queue = request->queue;
    __typeof__(&queue->stats.kind[0]) stat = &queue->stats.kind[request->kind];
    if (queue->now_ns == 0)
        queue->now_ns = clock_monotonic_ns();
    uint64_t elapsed = (uint64_t)MAX(queue->now_ns - request->start_ns, INT64_C(1));
    unsigned bucket = 64 - (unsigned)__builtin_clzll(elapsed / 1000 | 1);
    if (elapsed < 1000)
        bucket = 0;
    count(&stat->ops, 1);
    count(&stat->bytes, request->io.len);
    count(&stat->nanoseconds, elapsed);
    count(&stat->latency[MIN(bucket, BLK_LATENCY_BUCKETS - 1u)], 1);
}

static void emit_error(struct blk_request *request, enum blk_policy action, int code)
{
    static const char *const actions[] = {
        [BLK_POLICY_REPORT] = "report",
        [BLK_POLICY_STOP] = "stop",
        [BLK_POLICY_IGNORE] = "ignore",
    };
    struct blk *blk = request->queue->blk;
    char node_name[sizeof(blk->node_name)];
    if (action != BLK_POLICY_STOP && !log_limit_pass(&request->queue->error_events))
        return;
    pthread_mutex_lock(&blk->name_lock);
    memcpy(node_name, blk->node_name, sizeof(node_name));
    pthread_mutex_unlock(&blk->name_lock);
    machine_emit(blk->virtio.machine, "BLOCK_IO_ERROR",
                 json_pack("{s:s, s:s, s:s, s:s, s:b, s:s}", "device", blk->id, "node-name",
                           node_name, "operation", request->io.op == BLOCK_READ ? "read" : "write",
                           "action", actions[action], "nospace", code == ENOSPC, "reason",
                           strerror(code)));
}

/* The host failed. */
static void fail(struct blk_request *request, int code)
{
    struct blk_queue *queue = request->queue;
    struct blk *blk = queue->blk;
    enum blk_policy policy = request->io.op == BLOCK_READ ? blk->rerror : blk->werror;
    if (policy == BLK_POLICY_ENOSPC)
        policy = code == ENOSPC ? BLK_POLICY_STOP : BLK_POLICY_REPORT;

    count(&queue->stats.kind[request->kind].failed, 1);
    atomic_store(&blk->io_status, code == ENOSPC ? BLK_STATUS_NOSPACE : BLK_STATUS_FAILED);
    emit_error(request, policy, code);
    switch (policy) {
    case BLK_POLICY_STOP:
        list_add_tail(&queue->held, &request->node);
        if (blk->virtio.machine)
            machine_request(blk->virtio.machine, REQUEST_IO_ERROR);
        break;
    case BLK_POLICY_IGNORE:
        answer(request, VIRTIO_BLK_S_OK);
        break;
    default:
        answer(request, VIRTIO_BLK_S_IOERR);
        break;
    }
}

static void io_done(struct block_request *io, int result)
{
    struct blk_request *request = container_of(io, struct blk_request, io);
    if (result == -ECANCELED && request->queue->stopping) {
        list_add_tail(&request->queue->held, &request->node);
        return;
    }
    if (result < 0) {
        fail(request, -result);
        return;
    }
    account(request);
    answer(request, VIRTIO_BLK_S_OK);
}

void blk_batch_done(void *opaque)
{
    struct blk_queue *queue = opaque;
    queue->now_ns = 0;
    virtio_queue_notify(queue->virtio);
}

void blk_request_submit(struct blk_request *request)
{
    block_submit(request->queue->io, &request->io);
}

/* The range lies on the disk as it is now (5.2.6.2). */
static bool sectors_on_disk(const struct blk *blk, uint64_t sector, uint64_t count_)
{
    return range_within(sector, count_, 0, __atomic_load_n(&blk->sectors, __ATOMIC_RELAXED));
}

static void start_io(struct blk_request *request)
{
    request->io.done = io_done;
    request->io.fua = request->io.op != BLOCK_READ && request->io.op != BLOCK_FLUSH &&
                      !blk_is_writeback(request->queue->blk);
    if (blk_throttle_admit(request))
        blk_request_submit(request);
}

static void start_transfer(struct blk_request *request, const struct virtio_blk_outhdr *header,
                           enum block_op op, struct iovec *iov, unsigned iov_count, uint64_t len)
{
    const struct blk *blk = request->queue->blk;
    if (len % BLK_SECTOR || !sectors_on_disk(blk, header->sector, len / BLK_SECTOR) ||
        (op == BLOCK_WRITE && blk->readonly)) {
        refuse(request, VIRTIO_BLK_S_IOERR);
        return;
    }
    request->io.op = op;
    request->io.offset = header->sector * BLK_SECTOR;
    request->io.len = len;
    request->io.iov = iov;
    request->io.iov_count = iov_count;
    start_io(request);
}

static void start_read(struct blk_request *request, const struct virtio_blk_outhdr *header)
{
    struct virtqueue_chain *chain = &request->chain;
    struct iovec *iov = &chain->iov[chain->out_count];
    unsigned n = chain->in_count;
    request->written = (uint32_t)MIN(chain->in_bytes, UINT32_MAX);
    /* The status byte is not data. */
    while (iov[n - 1].iov_len == 0)
        n--;
    if (iov[n - 1].iov_len == 1) {
        n--;
    } else {
        request->cut = &iov[n - 1];
        request->cut->iov_len--;
    }
    start_transfer(request, header, BLOCK_READ, iov, n, chain->in_bytes - 1);
}

static void start_write(struct blk_request *request, const struct virtio_blk_outhdr *header)
{
    struct virtqueue_chain *chain = &request->chain;
    struct iovec *iov = chain->iov;
    unsigned n = chain->out_count;
    size_t skip = sizeof(*header);
    /* The header is not data; nobody needs its buffers any more. */
    while (n && skip >= iov->iov_len) {
        skip -= iov->iov_len;
        iov++;
        n--;
    }
    if (n && skip) {
        iov->iov_base = (char *)iov->iov_base + skip;
        iov->iov_len -= skip;
    }
    start_transfer(request, header, BLOCK_WRITE, iov, n, chain->out_bytes - sizeof(*header));
}

static void start_flush(struct blk_request *request, const struct virtio_blk_outhdr *header)
{
    request->io.op = BLOCK_FLUSH;
    request->io.offset = request->io.len = 0;
    request->io.iov_count = 0;
    start_io(request);
}

static void start_range(struct blk_request *request, enum block_op op, uint32_t allowed_flags)
{
    const struct blk *blk = request->queue->blk;
    struct virtio_blk_discard_write_zeroes range;
    uint64_t len = request->chain.out_bytes - sizeof(struct virtio_blk_outhdr);
    /* One segment a request is what the configuration space says. */
    if (len > sizeof(range)) {
        refuse(request, VIRTIO_BLK_S_UNSUPP);
        return;
    }
    if (virtqueue_read_out(&request->chain, sizeof(struct virtio_blk_outhdr), &range,
                           sizeof(range)) < sizeof(range)) {
        refuse(request, VIRTIO_BLK_S_IOERR);
        return;
    }
    if (range.flags & ~allowed_flags) {
        refuse(request, VIRTIO_BLK_S_UNSUPP);
        return;
    }
    if (range.num_sectors > BLK_RANGE_MAX ||
        !sectors_on_disk(blk, range.sector, range.num_sectors)) {
        refuse(request, VIRTIO_BLK_S_IOERR);
        return;
    }
    request->io.op = op;
    request->io.offset = range.sector * BLK_SECTOR;
    request->io.len = (uint64_t)range.num_sectors * BLK_SECTOR;
    request->io.iov_count = 0;
    request->io.unmap = blk->range_unmap && (range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
    start_io(request);
}

static void start_discard(struct blk_request *request, const struct virtio_blk_outhdr *header)
{
    start_range(request, BLOCK_DISCARD, 0);
}

static void start_zeroes(struct blk_request *request, const struct virtio_blk_outhdr *header)
{
    start_range(request, BLOCK_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
}

static void start_get_id(struct blk_request *request, const struct virtio_blk_outhdr *header)
{
    char id[VIRTIO_BLK_ID_BYTES] = "";
    const char *serial = request->queue->blk->serial;
    size_t room = (size_t)MIN(request->chain.in_bytes - 1, sizeof(id));
    if (serial)
        memcpy(id, serial, MIN(strlen(serial), sizeof(id)));
    virtqueue_write_in(&request->chain, 0, id, room);
    request->written = (uint32_t)room + 1;
    answer(request, VIRTIO_BLK_S_OK);
}

static const struct {
    uint32_t type;
    enum blk_stat_kind kind;
    int feature; /* that must be negotiated, or -1 */
    void (*start)(struct blk_request *request, const struct virtio_blk_outhdr *header);
} request_types[] = {
    {VIRTIO_BLK_T_IN, BLK_STAT_READ, -1, start_read},
    {VIRTIO_BLK_T_OUT, BLK_STAT_WRITE, -1, start_write},
    {VIRTIO_BLK_T_FLUSH, BLK_STAT_FLUSH, VIRTIO_BLK_F_FLUSH, start_flush},
    {VIRTIO_BLK_T_GET_ID, BLK_STAT_READ, -1, start_get_id},
    {VIRTIO_BLK_T_DISCARD, BLK_STAT_DISCARD, VIRTIO_BLK_F_DISCARD, start_discard},
    {VIRTIO_BLK_T_WRITE_ZEROES, BLK_STAT_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES, start_zeroes},
};

/* The last byte of the last buffer that is not empty (5.2.6). */
static uint8_t *find_status(const struct virtqueue_chain *chain)
{
    unsigned n = chain->out_count + chain->in_count;
    while (chain->iov[n - 1].iov_len == 0)
        n--;
    return (uint8_t *)chain->iov[n - 1].iov_base + chain->iov[n - 1].iov_len - 1;
}

static void start(struct blk_request *request)
{
    struct virtqueue_chain *chain = &request->chain;
    struct blk_queue *queue = request->queue;
    struct virtio_blk_outhdr header;
    if (chain->in_bytes == 0 ||
        virtqueue_read_out(chain, 0, &header, sizeof(header)) < sizeof(header)) {
        virtqueue_unpop(&queue->virtio->ring, chain);
        virtqueue_break(&queue->virtio->ring, chain->in_bytes
                                                  ? "a request is shorter than its header"
                                                  : "a request has no status byte");
        request_put(request);
        return;
    }
    request->status = find_status(chain);
    request->cut = NULL;
    request->written = 1;
    request->start_ns = queue->now_ns;
    request->io.unmap = request->io.fua = false;
    for (unsigned i = 0; i < ARRAY_SIZE(request_types); i++) {
        int feature = request_types[i].feature;
        if (request_types[i].type != header.type)
            continue;
        request->kind = request_types[i].kind;
        if (feature >= 0 && !virtio_has(&queue->blk->virtio, (unsigned)feature))
            break;
        request_types[i].start(request, &header);
        return;
    }
    answer(request, VIRTIO_BLK_S_UNSUPP);
}

/* Starts what the ring holds, up to the budget. False: there may be more. */
static bool take_batch(struct blk_queue *queue, unsigned *budget)
{
    struct virtqueue *ring = &queue->virtio->ring;
    queue->now_ns = clock_monotonic_ns();
    for (; *budget; --*budget) {
        struct blk_request *request = request_get(queue);
        if (!request) {
            virtqueue_break(ring, "more requests are in flight than the queue holds");
            return true;
        }
        if (virtqueue_pop(ring, &request->chain) <= 0) {
            request_put(request);
            return true;
        }
        start(request);
    }
    return false;
}

static void serve(void *opaque)
{
    struct blk_queue *queue = opaque;
    struct virtio_queue *virtio = queue->virtio;
    unsigned budget = BUDGET;
    bool more;
    do {
        virtqueue_disable_kick(&virtio->ring);
        bool all = take_batch(queue, &budget);
        queue->now_ns = 0;
        block_kick(queue->io);
        if (virtio_queue_broken(virtio))
            return;
        if (!all) {
            loop_timer_arm(virtio->loop, &queue->again, 1, serve, queue);
            break;
        }
        more = virtqueue_enable_kick(&virtio->ring);
    } while (more);
    virtio_queue_notify(virtio);
}

void blk_kick(struct virtio_device *dev, struct virtio_queue *virtio)
{
    struct blk *blk = container_of(dev, struct blk, virtio);
    struct blk_queue *queue = &blk->queues[virtio->index];
    if (!queue->again.loop)
        serve(queue);
}

void blk_queue_start(struct virtio_device *dev, struct virtio_queue *virtio)
{
    struct blk *blk = container_of(dev, struct blk, virtio);
    struct blk_queue *queue = &blk->queues[virtio->index];
    struct list retry;
    list_init(&retry);
    atomic_store(&blk->io_status, BLK_STATUS_OK);
    /* What fails again is held again. */
    while (!list_empty(&queue->held)) {
        struct list *node = queue->held.next;
        list_del(node);
        list_add_tail(&retry, node);
    }
    while (!list_empty(&retry)) {
        struct blk_request *request = list_entry(retry.next, struct blk_request, node);
        list_del(&request->node);
        blk_request_submit(request);
    }
    block_kick(queue->io);
}

void blk_queue_stop(struct virtio_device *dev, struct virtio_queue *virtio)
{
    struct blk *blk = container_of(dev, struct blk, virtio);
    struct blk_queue *queue = &blk->queues[virtio->index];
    loop_timer_cancel(&queue->again);
    /* What has not been begun because the graph changes is done when the device goes on. The loop
     * must not wait for the change: that may wait for another disk's queue on the same loop. */
    queue->stopping = true;
    blk_throttle_flush(queue);
    block_stop(queue->io);
    queue->stopping = false;
}

void blk_queue_forget(struct blk_queue *queue)
{
    queue->touched = 0;
    list_init(&queue->free);
    list_init(&queue->held);
}
