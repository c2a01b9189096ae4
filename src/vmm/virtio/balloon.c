/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-balloon (virtio 1.2, 5.5), the device: pages that the driver puts into
 * the balloon or reports as free go back to the host, neighbours together; the
 * driver's statistics are asked for at an interval. All queues are served by
 * one loop; the control thread asks through the functions at the end.
 *
 * A page that was given back reads as zeroes and comes back when it is touched,
 * so a driver need not tell before it takes pages out of the balloon again.
 */
#include "vmm/virtio/balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/util.h"
#include "vmm/machine/machine.h"

#define QUEUE_SIZE 128
#define SEGMENTS_MAX 256
#define PAGE_SIZE                                                                                  \
    UINT64_C(4096)                /* of a page frame number (5.5.6), whatever the host's pages are \
                                   */
#define PFNS_MAX 1024             /* sorted at a time */
#define REQUEST_BYTES_MAX KIB(64) /* page frame numbers in one request; Linux sends 1 KiB */
#define ROUND_MAX 32              /* requests before other sources of the loop get their turn */
#define DISCARDS_MAX 4096         /* the same for ranges given back, a system call each */
#define STATS_MAX 64              /* entries of one request that are looked at */
#define INTERVAL_MAX_S UINT64_C(86400)

enum { INFLATE, DEFLATE, STATS, REPORTING, REPORTING_SPARSE, QUEUES };

static const char *const stat_names[VIRTIO_BALLOON_S_NR] =
    VIRTIO_BALLOON_S_NAMES_WITH_PREFIX("stat-");

struct virtio_balloon {
    struct virtio_device dev;
    struct virtio_balloon_config config;
    struct balloon_backend backend;

    /* The loop's. */
    struct iovec iov[SEGMENTS_MAX];
    uint32_t pfns[PFNS_MAX];
    unsigned discards; /* in this round */
    struct loop_timer stats_timer;
    bool stats_held; /* the driver's buffer waits here until statistics are wanted again */
    struct virtqueue_chain stats_chain;
    struct iovec stats_iov[SEGMENTS_MAX];

    pthread_mutex_t lock;    /* everything below: the loop writes, the control thread reads */
    uint64_t stats_interval; /* seconds; the control thread writes it on the loop */
    int64_t stats[VIRTIO_BALLOON_S_NR];
    time_t stats_time;
    atomic_uint_fast64_t discarded; /* bytes */
};

struct virtio_balloon *balloon_of(struct virtio_device *dev)
{
    return container_of(dev, struct virtio_balloon, dev);
}

/* Gives back what of a range is memory. */
static void discard(struct virtio_balloon *b, uint64_t gpa, uint64_t len)
{
    for (unsigned i = 0; i < b->dev.mem->region_count; i++) {
        const struct guest_mem_region *r = &b->dev.mem->regions[i];
        if (!ranges_overlap(gpa, len, r->gpa, r->size))
            continue;
        uint64_t start = MAX(gpa, r->gpa);
        uint64_t end = MIN(gpa + len, r->gpa + r->size);
        b->backend.discard(b->backend.opaque, start, end - start);
        b->discards++;
        atomic_fetch_add(&b->discarded, end - start);
    }
}

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void discard_pfns(struct virtio_balloon *b, size_t count)
{
    qsort(b->pfns, count, sizeof(b->pfns[0]), by_number);
    for (size_t i = 0; i < count;) {
        uint64_t first = b->pfns[i], end = first + 1;
        for (i++; i < count && b->pfns[i] <= end; i++)
            end = (uint64_t)b->pfns[i] + 1;
        discard(b, first * PAGE_SIZE, (end - first) * PAGE_SIZE);
    }
}

static void inflate(struct virtio_balloon *b, const struct virtqueue_chain *chain)
{
    size_t offset = 0, got;
    do {
        got = virtqueue_read_out(chain, offset, b->pfns, sizeof(b->pfns));
        offset += got;
        discard_pfns(b, got / sizeof(b->pfns[0]));
    } while (got == sizeof(b->pfns));
}

/* The driver takes pages back: they are there when it touches them. */
static void deflate(struct virtio_balloon *b, const struct virtqueue_chain *chain)
{
}

static uint64_t gpa_of(const struct guest_mem *mem, const void *hva)
{
    for (unsigned i = 0; i < mem->region_count; i++) {
        const struct guest_mem_region *r = &mem->regions[i];
        uint64_t offset = (uint64_t)((const uint8_t *)hva - r->hva);
        if (offset < r->size)
            return r->gpa + offset;
    }
    return 0;
}

/* Buffers are the free pages themselves (5.5.6.7). */
static void report(struct virtio_balloon *b, const struct virtqueue_chain *chain)
{
    /* A page that has to read as the guest's poison cannot be given back (5.5.6.7.2). */
    if (virtio_has(&b->dev, VIRTIO_BALLOON_F_PAGE_POISON) && b->config.poison_val)
        return;
    for (unsigned i = 0; i < chain->in_count; i++) {
        const struct iovec *iov = &chain->iov[chain->out_count + i];
        uint64_t gpa = gpa_of(b->dev.mem, iov->iov_base);
        uint64_t start = ALIGN_UP(gpa, PAGE_SIZE), end = ALIGN_DOWN(gpa + iov->iov_len, PAGE_SIZE);
        if (start < end)
            discard(b, start, end - start);
    }
}

/* A queue whose requests are done at once. */
static void serve(struct virtio_balloon *b, struct virtio_queue *queue,
                  void (*request)(struct virtio_balloon *b, const struct virtqueue_chain *chain))
{
    unsigned round = 0;
    bool more;
    b->discards = 0;
    do {
        struct virtqueue_chain chain = {.iov = b->iov, .iov_max = SEGMENTS_MAX};
        while ((more = round < ROUND_MAX && b->discards < DISCARDS_MAX) &&
               virtqueue_pop(&queue->ring, &chain) == 1) {
            if (chain.out_bytes > REQUEST_BYTES_MAX) {
                virtqueue_unpop(&queue->ring, &chain);
                virtqueue_break(&queue->ring, "a request has more than 64 KiB of page numbers");
                break;
            }
            request(b, &chain);
            virtqueue_push(&queue->ring, &chain, 0);
            round++;
        }
    } while (more && virtqueue_enable_kick(&queue->ring));
    if (virtio_queue_broken(queue))
        return;
    virtio_queue_notify(queue);
    if (!more)
        virtio_queue_again(queue);
}

static void take_stats(struct virtio_balloon *b, const struct virtqueue_chain *chain)
{
    struct virtio_balloon_stat stat;
    pthread_mutex_lock(&b->lock);
    for (unsigned i = 0; i < STATS_MAX; i++) {
        if (virtqueue_read_out(chain, i * sizeof(stat), &stat, sizeof(stat)) < sizeof(stat))
            break;
        if (stat.tag < VIRTIO_BALLOON_S_NR)
            b->stats[stat.tag] = (int64_t)stat.val;
    }
    b->stats_time = time(NULL);
    pthread_mutex_unlock(&b->lock);
}

static void ask_for_stats(void *opaque);

static void arm_stats(struct virtio_balloon *b)
{
    loop_timer_cancel(&b->stats_timer);
    if (b->stats_interval && atomic_load(&b->dev.queues[STATS].active))
        loop_timer_arm(b->dev.queues[STATS].loop, &b->stats_timer,
                       (int64_t)b->stats_interval * 1000000000, ask_for_stats, b);
}

/* The buffer goes back and forth: the driver fills it, the device keeps it until it wants new
 * statistics (5.5.6.3). */
static void serve_stats(struct virtio_balloon *b, struct virtio_queue *queue)
{
    if (b->stats_held)
        return;
    b->stats_chain = (struct virtqueue_chain){.iov = b->stats_iov, .iov_max = SEGMENTS_MAX};
    int rc;
    do {
        rc = virtqueue_pop(&queue->ring, &b->stats_chain);
    } while (rc == 0 && virtqueue_enable_kick(&queue->ring));
    if (rc != 1) {
        virtio_queue_broken(queue);
        return;
    }
    b->stats_held = true;
    take_stats(b, &b->stats_chain);
}

static void ask_for_stats(void *opaque)
{
    struct virtio_balloon *b = opaque;
    struct virtio_queue *queue = &b->dev.queues[STATS];
    if (b->stats_held && !atomic_load(&b->dev.needs_reset)) {
        b->stats_held = false;
        virtqueue_push(&queue->ring, &b->stats_chain, 0);
        virtio_queue_notify(queue);
        serve_stats(b, queue);
    }
    arm_stats(b);
}

static void kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    struct virtio_balloon *b = balloon_of(dev);
    if (queue->index == INFLATE)
        serve(b, queue, inflate);
    else if (queue->index == DEFLATE)
        serve(b, queue, deflate);
    else if (queue->index == STATS && virtio_has(dev, VIRTIO_BALLOON_F_STATS_VQ))
        serve_stats(b, queue);
    /* The specification numbers queues that are not there too (5.5.2); Linux before 6.10 does not.
     * So whatever further queue is used is the one for reporting. */
    else if (virtio_has(dev, VIRTIO_BALLOON_F_REPORTING))
        serve(b, queue, report);
}

static void queue_start(struct virtio_device *dev, struct virtio_queue *queue)
{
    if (queue->index == STATS && virtio_has(dev, VIRTIO_BALLOON_F_STATS_VQ))
        arm_stats(balloon_of(dev));
}

static void stop(struct virtio_device *dev)
{
    struct virtio_balloon *b = balloon_of(dev);
    loop_timer_cancel(&b->stats_timer);
    if (b->stats_held)
        virtqueue_unpop(&dev->queues[STATS].ring, &b->stats_chain);
    b->stats_held = false;
}

static void forget_stats(struct virtio_balloon *b)
{
    pthread_mutex_lock(&b->lock);
    for (unsigned i = 0; i < VIRTIO_BALLOON_S_NR; i++)
        b->stats[i] = -1;
    b->stats_time = 0;
    pthread_mutex_unlock(&b->lock);
}

/* A driver that starts anew has everything; how much it is asked to give up stays. */
static void reset(struct virtio_device *dev)
{
    struct virtio_balloon *b = balloon_of(dev);
    b->config.actual = 0;
    b->config.poison_val = 0;
    forget_stats(b);
}

/* The driver may say how large the balloon is, and its poison. */
static void config_write(struct virtio_device *dev, unsigned offset, const void *data, unsigned len)
{
    struct virtio_balloon *b = balloon_of(dev);
    if (len != 4)
        return;
    uint32_t value = (uint32_t)load_le(data, 4);
    if (offset == offsetof(struct virtio_balloon_config, actual)) {
        __atomic_store_n(&b->config.actual, value, __ATOMIC_RELAXED);
        machine_emit(dev->machine, "BALLOON_CHANGE",
                     json_pack("{s:I}", "actual", (json_int_t)balloon_device_actual(b)));
    } else if (offset == offsetof(struct virtio_balloon_config, poison_val) &&
               virtio_has(dev, VIRTIO_BALLOON_F_PAGE_POISON)) {
        b->config.poison_val = value;
    }
}

static void metrics(struct virtio_device *dev, json_t *out)
{
    struct virtio_balloon *b = balloon_of(dev);
    json_object_set_new(out, "actual", json_integer((json_int_t)balloon_device_actual(b)));
    json_object_set_new(out, "discarded", json_integer((json_int_t)atomic_load(&b->discarded)));
}

static void balloon_free(struct virtio_device *dev)
{
    struct virtio_balloon *b = balloon_of(dev);
    virtio_device_destroy(dev);
    if (dev->machine && dev->machine->platform.balloon == b)
        dev->machine->platform.balloon = NULL;
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static const struct virtio_device_ops balloon_ops = {
    .device_id = VIRTIO_ID_BALLOON,
    .config_write = config_write,
    .queue_start = queue_start,
    .stop = stop,
    .kick = kick,
    .reset = reset,
    .metrics = metrics,
    .free = balloon_free,
};

int balloon_create(struct virtio_device **out, const struct balloon_config *config,
                   const struct balloon_backend *backend, struct guest_mem *mem, struct loop *loop,
                   struct kv_error *err)
{
    static const uint16_t sizes[QUEUES] = {QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE,
                                           QUEUE_SIZE};
    uint64_t features = BIT(VIRTIO_BALLOON_F_STATS_VQ);
    if (config->deflate_on_oom)
        features |= BIT(VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
    if (config->free_page_reporting)
        features |= BIT(VIRTIO_BALLOON_F_REPORTING) | BIT(VIRTIO_BALLOON_F_PAGE_POISON);
    struct virtio_balloon *b = calloc(1, sizeof(*b));
    if (!b)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "virtio-balloon: out of memory");
    unsigned queues = config->free_page_reporting ? QUEUES : REPORTING;
    int rc = virtio_device_init(&b->dev, &balloon_ops, "virtio-balloon", features, &b->config,
                                sizeof(b->config), queues, sizes, mem, loop, err);
    if (rc < 0) {
        free(b);
        return rc;
    }
    pthread_mutex_init(&b->lock, NULL);
    b->backend = *backend;
    b->stats_interval = MIN(config->stats_interval, INTERVAL_MAX_S);
    forget_stats(b);
    *out = &b->dev;
    return 0;
}

void balloon_device_set_target(struct virtio_balloon *b, uint64_t bytes)
{
    uint64_t size = b->backend.memory_size;
    uint64_t pages = (size - MIN(bytes, size)) / PAGE_SIZE;
    __atomic_store_n(&b->config.num_pages, (uint32_t)MIN(pages, UINT32_MAX), __ATOMIC_RELAXED);
    virtio_config_changed(&b->dev);
}

uint64_t balloon_device_actual(struct virtio_balloon *b)
{
    uint64_t size = b->backend.memory_size;
    uint64_t given = PAGE_SIZE * __atomic_load_n(&b->config.actual, __ATOMIC_RELAXED);
    return size - MIN(given, size);
}

json_t *balloon_device_stats(struct virtio_balloon *b)
{
    json_t *stats = json_object();
    pthread_mutex_lock(&b->lock);
    for (unsigned i = 0; i < VIRTIO_BALLOON_S_NR; i++)
        json_object_set_new(stats, stat_names[i], json_integer(b->stats[i]));
    json_t *out = json_pack("{s:o, s:I}", "stats", stats, "last-update", (json_int_t)b->stats_time);
    pthread_mutex_unlock(&b->lock);
    return out;
}

struct new_interval {
    struct virtio_balloon *balloon;
    uint64_t seconds;
};

static void set_interval(void *opaque)
{
    struct new_interval *new = opaque;
    new->balloon->stats_interval = new->seconds;
    if (virtio_has(&new->balloon->dev, VIRTIO_BALLOON_F_STATS_VQ))
        arm_stats(new->balloon);
}

void balloon_device_set_stats_interval(struct virtio_balloon *b, uint64_t seconds)
{
    struct new_interval new = {.balloon = b, .seconds = MIN(seconds, INTERVAL_MAX_S)};
    loop_call(b->dev.queues[STATS].loop, set_interval, &new);
}
