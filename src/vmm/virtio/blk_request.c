/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests of virtio-blk (virtio 1.2, 5.2.6): taken off the ring in batches,
 * checked, handed to the drive with the guest's own buffers, answered. A chain
 * that has no room for header and status breaks the ring; anything else that
 * is wrong is answered with an error status. Everything here runs on the
 * queue's loop.
 */
#include <string.h>

#include "base/util.h"
#include "vmm/virtio/blk_internal.h"

/* Requests of one queue before the other devices of the loop get their turn. */
#define BUDGET 128

static struct blk_request *request_get(struct blk_queue *queue)
{
    struct blk_request *request;
    if (!list_empty(&queue->free)) {
        request = list_entry(queue->free.next, struct blk_request, drive.node);
        list_del(&request->drive.node);
        return request;
    }
    if (queue->touched == queue->virtio->size_max)
        return NULL;
    unsigned index = queue->touched++;
    request = &queue->requests[index];
    request->queue = queue;
    request->drive.queue = &queue->drive;
    request->chain.iov = &queue->iov[(size_t)index * BLK_IOV_MAX];
    request->chain.iov_max = BLK_IOV_MAX;
    list_init(&request->drive.node);
    return request;
}

static void request_put(struct blk_request *request)
{
    list_add_tail(request->queue->free.next, &request->drive.node);
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
    drive_count_invalid(&request->queue->drive, request->drive.kind);
    answer(request, status);
}

static void io_done(struct drive_request *drive, bool failed)
{
    answer(container_of(drive, struct blk_request, drive),
           failed ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
}

void blk_batch_done(void *opaque)
{
    struct blk_queue *queue = opaque;
    virtio_queue_notify(queue->virtio);
}

static void start_io(struct blk_request *request)
{
    struct block_request *io = &request->drive.io;
    request->drive.done = io_done;
    io->fua =
        io->op != BLOCK_READ && io->op != BLOCK_FLUSH && !blk_is_writeback(request->queue->blk);
    drive_submit(&request->drive);
}

static void start_transfer(struct blk_request *request, const struct virtio_blk_outhdr *header,
                           enum block_op op, struct iovec *iov, unsigned iov_count, uint64_t len)
{
    const struct blk *blk = request->queue->blk;
    if (len % DRIVE_SECTOR || !drive_holds(&blk->drive, header->sector, len / DRIVE_SECTOR) ||
        (op == BLOCK_WRITE && blk->drive.readonly)) {
        refuse(request, VIRTIO_BLK_S_IOERR);
        return;
    }
    request->drive.io.op = op;
    request->drive.io.offset = header->sector * DRIVE_SECTOR;
    request->drive.io.len = len;
    request->drive.io.iov = iov;
    request->drive.io.iov_count = iov_count;
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
    request->drive.io.op = BLOCK_FLUSH;
    request->drive.io.offset = request->drive.io.len = 0;
    request->drive.io.iov_count = 0;
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
        !drive_holds(&blk->drive, range.sector, range.num_sectors)) {
        refuse(request, VIRTIO_BLK_S_IOERR);
        return;
    }
    request->drive.io.op = op;
    request->drive.io.offset = range.sector * DRIVE_SECTOR;
    request->drive.io.len = (uint64_t)range.num_sectors * DRIVE_SECTOR;
    request->drive.io.iov_count = 0;
    request->drive.io.unmap =
        blk->range_unmap && (range.flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP);
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
    const char *serial = request->queue->blk->drive.serial;
    size_t room = (size_t)MIN(request->chain.in_bytes - 1, sizeof(id));
    if (serial)
        memcpy(id, serial, MIN(strlen(serial), sizeof(id)));
    virtqueue_write_in(&request->chain, 0, id, room);
    request->written = (uint32_t)room + 1;
    answer(request, VIRTIO_BLK_S_OK);
}

static const struct {
    uint32_t type;
    enum drive_stat_kind kind;
    int feature; /* that must be negotiated, or -1 */
    void (*start)(struct blk_request *request, const struct virtio_blk_outhdr *header);
} request_types[] = {
    {VIRTIO_BLK_T_IN, DRIVE_STAT_READ, -1, start_read},
    {VIRTIO_BLK_T_OUT, DRIVE_STAT_WRITE, -1, start_write},
    {VIRTIO_BLK_T_FLUSH, DRIVE_STAT_FLUSH, VIRTIO_BLK_F_FLUSH, start_flush},
    {VIRTIO_BLK_T_GET_ID, DRIVE_STAT_READ, -1, start_get_id},
    {VIRTIO_BLK_T_DISCARD, DRIVE_STAT_DISCARD, VIRTIO_BLK_F_DISCARD, start_discard},
    {VIRTIO_BLK_T_WRITE_ZEROES, DRIVE_STAT_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES, start_zeroes},
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
    request->drive.start_ns = queue->drive.now_ns;
    request->drive.io.unmap = request->drive.io.fua = false;
    for (unsigned i = 0; i < ARRAY_SIZE(request_types); i++) {
        int feature = request_types[i].feature;
        if (request_types[i].type != header.type)
            continue;
        request->drive.kind = request_types[i].kind;
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
    queue->drive.now_ns = clock_monotonic_ns();
    for (; *budget; --*budget) {
        struct blk_request *request = request_get(queue);
        if (!request) {
            if (!virtqueue_empty(ring))
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
        queue->drive.now_ns = 0;
        drive_kick(&queue->drive);
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
    drive_queue_start(&blk->queues[virtio->index].drive);
}

void blk_queue_stop(struct virtio_device *dev, struct virtio_queue *virtio)
{
    struct blk *blk = container_of(dev, struct blk, virtio);
    struct blk_queue *queue = &blk->queues[virtio->index];
    loop_timer_cancel(&queue->again);
    drive_queue_stop(&queue->drive);
}

void blk_queue_forget(struct blk_queue *queue)
{
    queue->touched = 0;
    list_init(&queue->free);
    drive_queue_forget(&queue->drive);
}
