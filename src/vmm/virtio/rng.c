/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * virtio-rng (virtio 1.2, 5.4): one queue whose buffers are filled with random
 * bytes, from the kernel's generator or from a source that was opened at the
 * start, no faster than a limit says. All of it runs on the queue's loop.
 */
#include "vmm/virtio/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/ratelimit.h"
#include "base/util.h"
#include "block/block.h"
#include "vmm/machine/machine.h"
#include "vmm/virtio/classes.h"

#define QUEUE_SIZE 64
#define SEGMENTS_MAX 64
#define BYTES_MAX KIB(64) /* of one answer; the driver asks again for more */
#define ROUND_MAX 16      /* answers before other sources of the loop get their turn */
#define PERIOD_DEFAULT_MS 1000
#define SOURCE_RETRY_NS INT64_C(10000000)

struct rng {
    struct virtio_device dev;
    int fd; /* -1: the kernel's generator */
    struct ratelimit limit;
    struct loop_timer timer; /* armed: requests wait for the limit or for the source */
    atomic_uint_fast64_t bytes, throttled;
    struct iovec iov[SEGMENTS_MAX];
};

static struct rng *of(struct virtio_device *dev)
{
    return container_of(dev, struct rng, dev);
}

/* Fills the first len bytes of the chain's buffers. How many came, 0 at the end of the source, or
 * -errno. */
static ssize_t fill(struct rng *rng, const struct virtqueue_chain *chain, size_t len)
{
    size_t done = 0;
    for (unsigned i = 0; i < chain->in_count && done < len; i++) {
        const struct iovec *iov = &chain->iov[chain->out_count + i];
        size_t part = MIN(iov->iov_len, len - done);
        ssize_t n = rng->fd < 0 ? getrandom(iov->iov_base, part, GRND_NONBLOCK)
                                : read(rng->fd, iov->iov_base, part);
        if (n < 0)
            return done ? (ssize_t)done : -errno;
        done += (size_t)n;
        if ((size_t)n < part)
            break;
    }
    return (ssize_t)done;
}

static void serve(void *opaque);

/* One answer. True when there may be another one. */
static bool answer(struct rng *rng, struct virtio_queue *queue)
{
    struct virtqueue_chain chain = {.iov = rng->iov, .iov_max = SEGMENTS_MAX};
    if (virtqueue_pop(&queue->ring, &chain) <= 0)
        return false;
    size_t len = MIN(chain.in_bytes, BYTES_MAX);
    if (rng->limit.rate)
        len = MIN(len, rng->limit.burst);
    int64_t wait = ratelimit_take(&rng->limit, len, clock_monotonic_ns());
    if (wait > 0) {
        atomic_fetch_add(&rng->throttled, 1);
    } else {
        ssize_t n = len ? fill(rng, &chain, len) : 0;
        if (n > 0 || len == 0) {
            ratelimit_return(&rng->limit, len - (size_t)n);
            atomic_fetch_add(&rng->bytes, (uint64_t)n);
            virtqueue_push(&queue->ring, &chain, (uint32_t)n);
            return true;
        }
        ratelimit_return(&rng->limit, len);
        if (n == -EAGAIN || n == -EINTR)
            wait = SOURCE_RETRY_NS;
        else
            virtio_fail(&rng->dev, n == 0 ? "its source has ended" : "its source cannot be read");
    }
    virtqueue_unpop(&queue->ring, &chain);
    if (wait > 0)
        loop_timer_arm(queue->loop, &rng->timer, wait, serve, rng);
    return false;
}

static void serve(void *opaque)
{
    struct rng *rng = opaque;
    struct virtio_queue *queue = &rng->dev.queues[0];
    unsigned answers = 0;
    if (rng->timer.loop || atomic_load(&rng->dev.needs_reset))
        return;
    do {
        while (answers < ROUND_MAX && answer(rng, queue))
            answers++;
    } while (answers < ROUND_MAX && !rng->timer.loop && !atomic_load(&rng->dev.needs_reset) &&
             virtqueue_enable_kick(&queue->ring));
    if (virtio_queue_broken(queue))
        return;
    virtio_queue_notify(queue);
    if (answers == ROUND_MAX)
        virtio_queue_again(queue);
}

static void kick(struct virtio_device *dev, struct virtio_queue *queue)
{
    serve(of(dev));
}

static void stop(struct virtio_device *dev)
{
    loop_timer_cancel(&of(dev)->timer);
}

static void metrics(struct virtio_device *dev, json_t *out)
{
    struct rng *rng = of(dev);
    json_object_set_new(out, "bytes", json_integer((json_int_t)atomic_load(&rng->bytes)));
    json_object_set_new(out, "throttled", json_integer((json_int_t)atomic_load(&rng->throttled)));
}

static void rng_free(struct virtio_device *dev)
{
    struct rng *rng = of(dev);
    virtio_device_destroy(dev);
    if (rng->fd >= 0)
        close(rng->fd);
    free(rng);
}

static const struct virtio_device_ops rng_ops = {
    .device_id = VIRTIO_ID_RNG,
    .removable = true,
    .kick = kick,
    .stop = stop,
    .metrics = metrics,
    .free = rng_free,
};

static int check_limit(const struct rng_config *config, struct kv_error *err)
{
    if (config->period && !config->max_bytes)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "period is given without max-bytes, which it belongs to");
    return 0;
}

int rng_create(struct virtio_device **out, const struct rng_config *config, struct guest_mem *mem,
               struct loop *loop, struct kv_error *err)
{
    static const uint16_t sizes[] = {QUEUE_SIZE};
    int rc = check_limit(config, err);
    if (rc < 0)
        return rc;
    struct rng *rng = calloc(1, sizeof(*rng));
    if (!rng)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "virtio-rng: out of memory");
    rc = virtio_device_init(&rng->dev, &rng_ops, "virtio-rng", 0, NULL, 0, ARRAY_SIZE(sizes), sizes,
                            mem, loop, err);
    if (rc < 0) {
        free(rng);
        return rc;
    }
    uint64_t period = config->period ? config->period : PERIOD_DEFAULT_MS;
    uint64_t rate = (uint64_t)((unsigned __int128)config->max_bytes * 1000 / period);
    if (config->max_bytes)
        ratelimit_init(&rng->limit, MAX(rate, 1), config->max_bytes);
    rng->fd = config->fd;
    *out = &rng->dev;
    return 0;
}

static const struct option_spec rng_options[] = {
    OPTION(STRING, struct rng_config, id, .help = "name of the device"),
    OPTION(UINT, struct rng_config, slot, .max = 30, .help = VIRTIO_PCI_SLOT_HELP),
    OPTION(STRING, struct rng_config, source,
           .help =
               "file that random bytes are read from, such as /dev/hwrng; default: the kernel's "
               "generator"),
    OPTION(FD, struct rng_config, fd, .help = "the same as an open descriptor"),
    OPTION_NAMED("max-bytes", SIZE, struct rng_config, max_bytes, .min = 1,
                 .help = "no more than so many bytes in a period"),
    OPTION(UINT, struct rng_config, period, .min = 1, .max = 86400000,
           .help = "milliseconds; default 1000"),
    OPTION_END,
};

static void defaults(void *config)
{
    struct rng_config *rng = config;
    rng->fd = -1;
}

/* A source that would make the loop wait is asked again later instead. */
static int open_source(const struct rng_config *config, struct kv_error *err)
{
    cleanup_fd int fd = config->fd;
    if (config->source && fd >= 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL, "source and fd are given; one is possible");
    if (config->source)
        fd = open(config->source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (config->source && fd < 0)
        return kv_error_errno(err, KV_ERR_DEVICE, errno, "source '%s'", config->source);
    if (fd < 0)
        return -1;
    int rc = fd_set_nonblocking(fd, true);
    return rc == 0 ? take_fd(&fd)
                   : kv_error_errno(err, KV_ERR_DEVICE, -rc, "descriptor %d", config->fd);
}

static const char *plug_obstacle(const void *config)
{
    return ((const struct rng_config *)config)->source && block_is_sealed()
               ? "in its jail it opens no files; 'fd' is possible"
               : NULL;
}

static int create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    struct rng_config config = *(const struct rng_config *)opaque;
    struct virtio_device *dev;
    struct kv_error local = {0};
    int fd = open_source(&config, &local);
    if (local.code) {
        *err = local;
        return -local.code;
    }
    cleanup_fd int opened = fd;
    config.fd = fd;
    int rc = rng_create(&dev, &config, &machine->mem, machine_pick_loop(machine), err);
    if (rc < 0)
        return rc;
    take_fd(&opened);
    return virtio_pci_create(machine, dev, config.id, config.slot, err);
}

const struct device_class virtio_rng_class = {
    .option = "rng",
    .implied = "source",
    .help = "random numbers for the guest",
    .options = rng_options,
    .config_size = sizeof(struct rng_config),
    .defaults = defaults,
    .create = create,
    .plug_obstacle = plug_obstacle,
};
