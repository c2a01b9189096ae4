/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fast path: one io_uring a queue. Made before the jail closes, used by
 * the queue's I/O thread alone. Requests are collected and sent with a system
 * call a batch, or few where the disk would wait for it; what the kernel could answer at once (page
 * cache) is completed in the same call, the rest when the ring's eventfd wakes the queue's loop. A
 * transfer that came back short or was interrupted is finished by a worker.
 * Called by block.c.
 */
#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "block/driver.h"

#define DEPTH_MAX 4096u
#define REAP_BATCH 64

struct uring {
    struct io_uring ring;
    struct block_queue *queue;
    struct loop_source source;
    int event_fd;      /* signalled on completions, never read: watched by edge */
    bool disabled;     /* enabled by the thread that is going to use it (SINGLE_ISSUER) */
    bool failed;       /* could not be enabled: of no use */
    bool deferred;     /* completions wait for a system call of ours (DEFER_TASKRUN) */
    bool working;      /* completions are being delivered */
    unsigned queued;   /* in the submission queue, not sent */
    unsigned inflight; /* queued or sent, not completed */
};

/* From the best to the plainest: the first needs Linux 6.1, the second 5.19, the third 5.10. */
static const unsigned setup_flags[] = {
    IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_R_DISABLED | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
        IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_R_DISABLED,
    0,
};

static void completed(void *opaque, uint32_t events);

/* The ring's own descriptor would do for watching, but kernels differ in whether they wake who
 * polls it for deferred completions; an eventfd is signalled by all. */
static int watch(struct uring *ring)
{
    ring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->event_fd < 0)
        return -errno;
    int rc = io_uring_register_eventfd(&ring->ring, ring->event_fd);
    if (rc == 0)
        rc = loop_add(ring->queue->loop, &ring->source, ring->event_fd, EPOLLIN | EPOLLET,
                      completed, ring);
    return rc;
}

/* By system call: liburing 2.3 declares functions for what is used here and does not export them.
 */
static int ring_register(struct uring *ring, unsigned what, const void *arg, unsigned count)
{
    return syscall(SYS_io_uring_register, ring->ring.ring_fd, what, arg, count) < 0 ? -errno : 0;
}

/* The rings are a way around system-call filters, so they carry reads, writes and flushes of the
 * registered file and nothing else. */
static int restrict_operations(struct uring *ring)
{
    static const uint8_t allowed[] = {IORING_OP_READ, IORING_OP_READV, IORING_OP_WRITE,
                                      IORING_OP_WRITEV, IORING_OP_FSYNC};
    struct io_uring_restriction rules[ARRAY_SIZE(allowed) + 3];
    unsigned n = 0;
    memset(rules, 0, sizeof(rules));
    for (unsigned i = 0; i < ARRAY_SIZE(allowed); i++) {
        rules[n].opcode = IORING_RESTRICTION_SQE_OP;
        rules[n++].sqe_op = allowed[i];
    }
    rules[n].opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED;
    rules[n++].sqe_flags = IOSQE_FIXED_FILE;
    rules[n].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
    rules[n++].sqe_flags = IOSQE_FIXED_FILE;
    rules[n].opcode = IORING_RESTRICTION_REGISTER_OP;
    rules[n++].register_op = IORING_REGISTER_FILES_UPDATE;
    return ring_register(ring, IORING_REGISTER_RESTRICTIONS, rules, n);
}

int uring_create(struct uring **out, struct block_queue *queue, int fd, unsigned depth)
{
    struct uring *ring = calloc(1, sizeof(*ring));
    if (!ring)
        return -ENOMEM;
    ring->queue = queue;
    ring->source = LOOP_SOURCE_INIT;
    ring->event_fd = -1;
    depth = MIN(MAX(depth, 1u), DEPTH_MAX);

    int rc = -EINVAL;
    for (unsigned i = 0; i < ARRAY_SIZE(setup_flags) && rc == -EINVAL; i++) {
        struct io_uring_params params = {.flags = setup_flags[i] | IORING_SETUP_CLAMP};
        rc = io_uring_queue_init_params(depth, &ring->ring, &params);
        ring->disabled = params.flags & IORING_SETUP_R_DISABLED;
        ring->deferred = params.flags & IORING_SETUP_DEFER_TASKRUN;
    }
    if (rc < 0) {
        free(ring);
        return rc;
    }
    rc = io_uring_register_files(&ring->ring, &fd, 1);
    if (rc == 0)
        rc = watch(ring);
    if (rc == 0 && ring->disabled)
        rc = restrict_operations(ring);
    if (rc < 0) {
        uring_free(ring);
        return rc;
    }
    *out = ring;
    return 0;
}

void uring_free(struct uring *ring)
{
    if (!ring)
        return;
    loop_remove(&ring->source);
    io_uring_queue_exit(&ring->ring);
    if (ring->event_fd >= 0)
        close(ring->event_fd);
    free(ring);
}

static bool enable(struct uring *ring)
{
    int rc = ring_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    ring->disabled = false;
    ring->failed = rc < 0;
    if (ring->failed)
        log_error("block: io_uring cannot be enabled (errno %d), using threads", -rc);
    return !ring->failed;
}

int uring_set_file(struct uring *ring, int fd)
{
    const struct io_uring_files_update update = {.fds = (uintptr_t)&fd};
    if (ring->failed || (ring->disabled && !enable(ring)))
        return -EIO;
    return ring_register(ring, IORING_REGISTER_FILES_UPDATE, &update, 1);
}

static void note_sent(struct uring *ring, int sent)
{
    if (sent > 0)
        ring->queued -= MIN((unsigned)sent, ring->queued);
}

/*
 * A disk with little to do is not kept waiting for the rest of a burst: never more requests wait
 * here than are under way. So a burst to an idle disk goes out as 1, 1, 2, 4, ... requests, and
 * one to a busy disk in a single call. With the page cache a read is done within the call, so that
 * nothing idles meanwhile. What the kernel does not take now goes with the next call.
 */
static void send_early(struct uring *ring)
{
    if (block_cache_is_direct(ring->queue->leaf->options.cache) &&
        ring->queued > ring->inflight - ring->queued)
        note_sent(ring, io_uring_submit(&ring->ring));
}

bool uring_submit(struct uring *ring, struct block_request *request)
{
    if (ring->failed || (ring->disabled && !enable(ring)))
        return false;
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->ring);
    if (!sqe)
        return false;

    bool single = request->iov_count == 1;
    switch (request->op) {
    case BLOCK_READ:
        if (single)
            io_uring_prep_read(sqe, 0, request->iov[0].iov_base, (unsigned)request->len,
                               request->host_offset);
        else
            io_uring_prep_readv(sqe, 0, request->iov, request->iov_count, request->host_offset);
        break;
    case BLOCK_WRITE:
        if (single)
            io_uring_prep_write(sqe, 0, request->iov[0].iov_base, (unsigned)request->len,
                                request->host_offset);
        else
            io_uring_prep_writev(sqe, 0, request->iov, request->iov_count, request->host_offset);
        if (block_is_durable(ring->queue->node, request->fua))
            sqe->rw_flags = RWF_DSYNC;
        break;
    default:
        io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
        break;
    }
    io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    io_uring_sqe_set_data(sqe, request);
    ring->queued++;
    ring->inflight++;
    send_early(ring);
    return true;
}

static void finish(struct block_request *request, int res)
{
    bool transfer = request->op == BLOCK_READ || request->op == BLOCK_WRITE;
    if (res == -EINTR || res == -EAGAIN) {
        block_go_slow(request);
    } else if (res >= 0 && transfer && (uint64_t)res < request->len) {
        request->progress = (uint64_t)res;
        block_go_slow(request);
    } else {
        block_complete(request, MIN(res, 0));
    }
}

static void reap(struct uring *ring)
{
    struct io_uring_cqe *cqes[REAP_BATCH];
    unsigned n;
    while ((n = io_uring_peek_batch_cqe(&ring->ring, cqes, REAP_BATCH)) > 0) {
        struct block_request *requests[REAP_BATCH];
        int results[REAP_BATCH];
        for (unsigned i = 0; i < n; i++) {
            requests[i] = io_uring_cqe_get_data(cqes[i]);
            results[i] = cqes[i]->res;
        }
        io_uring_cq_advance(&ring->ring, n);
        ring->inflight -= n;
        for (unsigned i = 0; i < n; i++)
            finish(requests[i], results[i]);
    }
}

/* One system call: sends, collects, and waits for a completion when asked to. */
static void enter(struct uring *ring, unsigned wait)
{
    int rc;
    do {
        rc = wait             ? io_uring_submit_and_wait(&ring->ring, wait)
             : ring->deferred ? io_uring_submit_and_get_events(&ring->ring)
                              : io_uring_submit(&ring->ring);
    } while (rc == -EINTR);
    note_sent(ring, rc);
    if (rc < 0 && rc != -EAGAIN && rc != -EBUSY)
        log_error("block: io_uring_enter failed (errno %d)", -rc);
}

/* The kernel may take less than all when it is short of memory. The rest goes with the next call,
 * at the latest when something completes; so it must not stop while nothing can. */
static void send_queued(struct uring *ring)
{
    while (ring->queued) {
        enter(ring, 0);
        if (ring->inflight != ring->queued)
            break;
    }
}

/* The kernel holds back completions until it is asked for them. */
static bool kernel_waits(const struct uring *ring)
{
    return __atomic_load_n(ring->ring.sq.kflags, __ATOMIC_RELAXED) &
           (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

/*
 * Sends and completes all there is. What completes meanwhile needs no event:
 * they are switched off here, and after switching them on again one more look
 * finds what came in between. The kernel's word that it waits may be stale: it
 * says so after the work was added, which may have been done by then, and does
 * not take it back before there is other work. So it is asked once, not until
 * it is silent.
 */
void uring_kick(struct uring *ring)
{
    if (ring->working) {
        send_queued(ring);
        return;
    }
    ring->working = true;
    do {
        io_uring_cq_eventfd_toggle(&ring->ring, false);
        send_queued(ring);
        if (kernel_waits(ring))
            enter(ring, 0);
        reap(ring);
        io_uring_cq_eventfd_toggle(&ring->ring, true);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (kernel_waits(ring))
            enter(ring, 0);
    } while (io_uring_cq_ready(&ring->ring));
    ring->working = false;
}

static void completed(void *opaque, uint32_t events)
{
    struct uring *ring = opaque;
    uring_kick(ring);
    block_end_batch(ring->queue);
}

bool uring_wait(struct uring *ring)
{
    if (ring->inflight == 0)
        return false;
    enter(ring, 1);
    reap(ring);
    return true;
}
