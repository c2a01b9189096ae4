/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img bench: many requests through a block queue, as a machine's disk sends them. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/loop.h"
#include "base/parse.h"
#include "base/util.h"
#include "img/img.h"

#define MAX_DEPTH 4096u
#define MAX_BUFFER MIB(1024)

struct bench_args {
    struct img_args args;
    const char *count, *depth, *size, *step, *offset, *pattern, *aio, *flush_interval;
    bool native, no_drain, write;
};

static const struct img_option bench_options[] = {
    IMG_OPTION('c', NULL, IMG_TEXT, bench_args, count, "N", "requests (default: 75000)"),
    IMG_OPTION('d', NULL, IMG_TEXT, bench_args, depth, "N",
               "requests at the same time (default: 64)"),
    IMG_OPTION('s', NULL, IMG_TEXT, bench_args, size, "SIZE", "bytes of a request (default: 4096)"),
    IMG_OPTION('S', NULL, IMG_TEXT, bench_args, step, "SIZE",
               "from the begin of a request to that of the next (default: its size)"),
    IMG_OPTION('o', NULL, IMG_TEXT, bench_args, offset, "OFFSET", "of the first request"),
    IMG_OPTION('w', NULL, IMG_FLAG, bench_args, write, NULL, "write instead of reading"),
    IMG_OPTION(0, "pattern", IMG_TEXT, bench_args, pattern, "BYTE", "what is written"),
    IMG_OPTION(0, "flush-interval", IMG_TEXT, bench_args, flush_interval, "N",
               "with -w: flush after so many requests"),
    IMG_OPTION(0, "no-drain", IMG_FLAG, bench_args, no_drain, NULL,
               "do not wait for the requests before a flush"),
    IMG_OPTION('i', NULL, IMG_TEXT, bench_args, aio, "AIO", "threads, native or io_uring"),
    IMG_OPTION('n', NULL, IMG_FLAG, bench_args, native, NULL, "native I/O (here: io_uring)"),
    IMG_CACHE(bench_args, "cache mode (default: writeback)"),
    IMG_FORMAT('f', bench_args),
    IMG_OBJECT(bench_args),
    IMG_IMAGE_OPTS(bench_args),
    IMG_QUIET(bench_args),
    IMG_SHARE(bench_args),
    IMG_OPTIONS_END,
};

struct slot {
    struct bench *bench;
    struct block_request request;
    struct iovec iov;
};

struct bench {
    uint64_t count, depth, size, step, offset, flush_interval, pattern;
    bool write, drain;
    uint64_t image_size;
    struct loop loop;
    struct block_queue *queue;
    struct slot *slots;
    uint8_t *buffers;
    unsigned *idle; /* slots without a request; a stack */
    unsigned idle_count;
    uint64_t sent, done; /* requests, flushes not counted */
    uint64_t next_flush; /* sent when that many are */
    bool flushing;
    struct block_request flush;
    int failure;
};

static void pump(struct bench *bench);

static void after(struct bench *bench, int result)
{
    if (result < 0 && bench->failure == 0)
        bench->failure = result;
    if (bench->failure || (bench->done == bench->count && !bench->flushing))
        loop_stop(&bench->loop);
}

static void request_done(struct block_request *request, int result)
{
    struct slot *slot = request->opaque;
    struct bench *bench = slot->bench;
    bench->idle[bench->idle_count++] = (unsigned)(slot - bench->slots);
    bench->done++;
    after(bench, result);
}

static void flush_done(struct block_request *request, int result)
{
    struct bench *bench = request->opaque;
    bench->flushing = false;
    after(bench, result);
}

static void send_flush(struct bench *bench)
{
    bench->flushing = true;
    bench->next_flush += bench->flush_interval;
    bench->flush = (struct block_request){.op = BLOCK_FLUSH, .done = flush_done, .opaque = bench};
    block_submit(bench->queue, &bench->flush);
}

static void send_request(struct bench *bench)
{
    unsigned i = bench->idle[--bench->idle_count];
    struct slot *slot = &bench->slots[i];
    slot->iov = (struct iovec){bench->buffers + i * bench->size, bench->size};
    slot->request = (struct block_request){.op = bench->write ? BLOCK_WRITE : BLOCK_READ,
                                           .offset = bench->offset,
                                           .len = bench->size,
                                           .iov = &slot->iov,
                                           .iov_count = 1,
                                           .done = request_done,
                                           .opaque = slot};
    bench->offset += bench->step;
    if (bench->image_size >= bench->size) {
        bench->offset %= bench->image_size;
        if (bench->image_size - bench->offset < bench->size)
            bench->offset = 0;
    }
    bench->sent++;
    block_submit(bench->queue, &slot->request);
}

/* Sends as much as may be under way. Also called after each batch of completions. */
static void pump(struct bench *bench)
{
    while (bench->failure == 0) {
        bool flush_due = bench->next_flush && bench->sent >= bench->next_flush;
        if (flush_due && (bench->flushing || (bench->drain && bench->sent != bench->done)))
            break;
        if (flush_due)
            send_flush(bench);
        else if (bench->flushing && bench->drain)
            break;
        else if (bench->sent < bench->count && bench->idle_count)
            send_request(bench);
        else
            break;
    }
    block_kick(bench->queue);
}

static void batch_done(void *opaque)
{
    pump(opaque);
}

static int make_slots(struct bench *bench)
{
    void *buffers = NULL;
    bench->slots = calloc(bench->depth, sizeof(*bench->slots));
    bench->idle = calloc(bench->depth, sizeof(*bench->idle));
    if (posix_memalign(&buffers, 4096, MAX(bench->depth * bench->size, 1u)) || !bench->slots ||
        !bench->idle)
        return img_error("Out of memory");
    bench->buffers = buffers;
    memset(buffers, (int)bench->pattern, bench->depth * bench->size);
    for (unsigned i = 0; i < bench->depth; i++) {
        bench->slots[i].bench = bench;
        bench->idle[bench->idle_count++] = (unsigned)bench->depth - 1 - i;
    }
    return IMG_OK;
}

static int measure(struct bench *bench, struct block_node *node)
{
    struct kv_error err = {0};
    if (loop_init(&bench->loop, &err) < 0)
        return img_error("%s", err.message);
    int status = IMG_OK;
    if (block_queue_create(&bench->queue, node, &bench->loop, (unsigned)bench->depth + 1, &err) < 0)
        status = img_error("%s", err.message);
    if (status == IMG_OK) {
        block_queue_set_batch(bench->queue, batch_done, bench);
        int64_t begin = clock_monotonic_ns();
        pump(bench);
        if (bench->failure == 0 && (bench->done < bench->count || bench->flushing))
            loop_run(&bench->loop);
        block_drain(bench->queue);
        double seconds = (double)(clock_monotonic_ns() - begin) / 1e9;
        if (bench->failure)
            status = img_error("Failed request: %s",
                               strerror(bench->failure == -EINVAL ? EIO : -bench->failure));
        else
            printf("Run completed in %3.3f seconds.\n", seconds);
    }
    block_queue_free(bench->queue);
    loop_destroy(&bench->loop);
    return status;
}

/* ------------------------------------------------------------- the arguments */

static int parse_number(const char *what, const char *text, uint64_t max, uint64_t *out)
{
    if (text && (parse_u64(text, out) < 0 || *out > max)) {
        img_error("Invalid %s specified", what);
        return -EINVAL;
    }
    return 0;
}

static int parse_aio(const struct bench_args *args, enum block_aio *aio)
{
    const char *name = args->native ? "native" : args->aio;
    if (!name || strcmp(name, "threads") == 0)
        *aio = name ? BLOCK_AIO_THREADS : BLOCK_AIO_AUTO;
    else if (strcmp(name, "io_uring") == 0)
        *aio = BLOCK_AIO_IO_URING;
    else if (strcmp(name, "native") != 0)
        return img_error("Invalid aio option: %s", name), -EINVAL;
    return 0;
}

static int parse(const struct bench_args *args, struct bench *bench, struct img_open *how)
{
    *bench = (struct bench){
        .count = 75000, .depth = 64, .size = 4096, .drain = !args->no_drain, .write = args->write};
    if (parse_number("request count", args->count, INT32_MAX, &bench->count) < 0 ||
        parse_number("queue depth", args->depth, MAX_DEPTH, &bench->depth) < 0 ||
        (args->size && img_parse_size("buffer size", args->size, 1, INT32_MAX, &bench->size) < 0))
        return IMG_FAILED;
    bench->step = bench->size;
    if ((args->step && img_parse_size("step_size", args->step, 0, INT32_MAX, &bench->step) < 0) ||
        (args->offset &&
         img_parse_size("offset", args->offset, 0, INT64_MAX, &bench->offset) < 0) ||
        parse_number("pattern byte", args->pattern, 0xff, &bench->pattern) < 0 ||
        parse_number("flush interval", args->flush_interval, INT32_MAX, &bench->flush_interval) <
            0 ||
        parse_aio(args, &how->aio) < 0)
        return IMG_FAILED;
    if (bench->step == 0)
        bench->step = bench->size;
    bench->next_flush = bench->flush_interval;
    if (bench->depth == 0)
        return img_error("Invalid queue depth specified");
    if (bench->depth * bench->size > MAX_BUFFER)
        return img_error("Buffers of %" PRIu64 " bytes are needed; %" PRIu64 " are possible",
                         bench->depth * bench->size, MAX_BUFFER);
    if (!args->write && bench->flush_interval)
        return img_error("--flush-interval is only available in write tests");
    if (bench->flush_interval && bench->flush_interval < bench->depth)
        return img_error("Flush interval can't be smaller than depth");
    if (args->args.cache && img_parse_cache("cache mode", args->args.cache, &how->cache) < 0)
        return IMG_FAILED;
    return IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct bench_args *args = opaque;
    struct bench bench;
    if (count != 1)
        return img_usage_error("Expecting one image file name");
    struct img_open how = img_open_from(&args->args, operands[0]);
    how.writable = args->write;
    if (parse(args, &bench, &how) != IMG_OK)
        return IMG_FAILED;
    cleanup_image struct block_node *node = img_open_image(&how);
    if (!node)
        return IMG_FAILED;
    bench.image_size = block_get_info(node)->size;
    printf("Sending %" PRIu64 " %s requests, %" PRIu64 " bytes each, %" PRIu64
           " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 ")\n",
           bench.count, args->write ? "write" : "read", bench.size, bench.depth, bench.offset,
           bench.step);
    if (bench.flush_interval)
        printf("Sending flush every %" PRIu64 " requests\n", bench.flush_interval);
    int status = make_slots(&bench);
    if (status == IMG_OK && bench.count)
        status = measure(&bench, node);
    else if (status == IMG_OK)
        puts("Run completed in 0.000 seconds.");
    free(bench.buffers);
    free(bench.slots);
    free(bench.idle);
    return status;
}

const struct img_command img_bench = {
    .name = "bench",
    .operands = "FILE",
    .help = "measure how fast requests are",
    .options = bench_options,
    .args_size = sizeof(struct bench_args),
    .run = run,
};
