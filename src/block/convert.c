/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Copying between nodes; see convert.h. One thread at a time takes the next
 * piece under the lock: a range of one kind (data, zeros) of one source. Then
 * it reads the piece while others do the same, waits until the pieces before
 * have been written, and writes.
 */
#include "block/convert.h"

#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/ratelimit.h"
#include "base/util.h"
#include "block/driver.h"

#define SECTOR 512u
#define PIECE MIB(2)
#define AHEAD_MAX 2u /* pieces that were read and wait for their turn to be written */
#define OFFLOAD_PIECE MIB(16)
#define ZEROS_PIECE GIB(1)
#define ZEROS_BUFFER KIB(64)

enum piece_kind { PIECE_DATA, PIECE_ZERO, PIECE_KEEP };

struct piece {
    enum piece_kind kind;
    struct block_node *source;
    uint64_t source_offset; /* bytes */
    uint64_t offset, len;   /* in the target; bytes */
    uint64_t ticket;        /* pieces are written in this order */
    struct block_node *file;
    uint64_t host_offset; /* of the bytes in file; NULL file: they are not there as they are */
};

struct copy {
    struct block_convert *convert;
    uint64_t total;
    uint32_t unit; /* zeros are looked for in pieces of the target of this size and alignment */
    bool whole_clusters; /* pieces end where clusters of the target do */
    bool can_clone;

    pthread_mutex_t lock;
    /* For the worker with a ticket, by its remainder: it is served now, or the copy failed. */
    pthread_cond_t turns[CONVERT_MAX_WORKERS];
    unsigned source;       /* index of the source that pieces are taken from */
    uint64_t source_start; /* its place in the target */
    uint64_t next;         /* bytes in the target taken so far */
    uint64_t extent_end;   /* how far extent is known, in the target */
    struct piece extent;   /* of next; len is not used */
    uint64_t next_ticket, now_serving;
    unsigned ahead;                     /* workers that wait for their turn */
    pthread_cond_t room;                /* ahead has become less, or there is nothing to wait for */
    void *buffers[CONVERT_MAX_WORKERS]; /* free ones; the last one was used last */
    unsigned buffer_count;
    uint64_t done; /* bytes, for progress */
    struct ratelimit limit;
    int failure; /* first -errno */
};

static uint64_t buffer_size(const struct copy *copy)
{
    return MAX(PIECE, (uint64_t)copy->unit);
}

static void fail(struct copy *copy, int rc, uint64_t offset, bool writing)
{
    pthread_mutex_lock(&copy->lock);
    if (copy->failure == 0) {
        copy->failure = rc;
        copy->convert->failed_offset = offset;
        copy->convert->failed_writing = writing;
    }
    for (unsigned i = 0; i < CONVERT_MAX_WORKERS; i++)
        pthread_cond_broadcast(&copy->turns[i]);
    pthread_cond_broadcast(&copy->room);
    pthread_mutex_unlock(&copy->lock);
}

/* ------------------------------------------------------------ what is next */

static enum piece_kind kind_of(const struct block_convert *convert,
                               const struct block_extent *extent)
{
    if (convert->keep_unallocated && !(extent->flags & BLOCK_STATUS_ALLOCATED))
        return PIECE_KEEP;
    if ((extent->flags & BLOCK_STATUS_ZERO) && convert->sparse)
        return PIECE_ZERO;
    return PIECE_DATA;
}

/* Allocated in an image, but a hole of the file under it: zeros need not be read. */
static void look_below(struct block_extent *extent)
{
    const unsigned known = BLOCK_STATUS_DATA | BLOCK_STATUS_OFFSET;
    struct block_extent below;
    if ((extent->flags & known) != known || (extent->flags & BLOCK_STATUS_ZERO) ||
        block_status(extent->file, extent->host_offset, extent->len, &below) < 0 ||
        !(below.flags & BLOCK_STATUS_ZERO))
        return;
    extent->len = MIN(extent->len, below.len);
    extent->flags |= BLOCK_STATUS_ZERO;
}

/* What lies at copy->next, into copy->extent. Under lock. */
static int find_extent(struct copy *copy)
{
    const struct block_convert *convert = copy->convert;
    struct block_node *source = convert->sources[copy->source];
    uint64_t size = block_size(source), at = copy->next - copy->source_start;
    struct block_extent extent;
    int rc = block_status_above(source, convert->base, at, size - at, &extent);
    if (rc == -EIO && convert->salvage) {
        extent = (struct block_extent){.len = MIN(PIECE, size - at),
                                       .flags = BLOCK_STATUS_DATA | BLOCK_STATUS_ALLOCATED};
        rc = 0;
    }
    if (rc < 0)
        return rc;
    look_below(&extent);
    bool as_it_is = (extent.flags & BLOCK_STATUS_OFFSET) && (extent.flags & BLOCK_STATUS_DATA);
    copy->extent = (struct piece){.kind = kind_of(convert, &extent),
                                  .source = source,
                                  .source_offset = at,
                                  .offset = copy->next,
                                  .file = as_it_is ? extent.file : NULL,
                                  .host_offset = extent.host_offset};
    copy->extent_end = copy->next + extent.len;
    return 0;
}

/* Data is taken up to the end of the target's cluster, all else only in whole ones: a cluster is
 * written once. */
static uint64_t piece_end(const struct copy *copy, struct piece *piece, uint64_t source_end)
{
    const uint64_t unit = copy->unit, start = copy->next, end = copy->extent_end;
    uint64_t most = piece->kind == PIECE_KEEP               ? UINT64_MAX
                    : piece->kind == PIECE_ZERO             ? ZEROS_PIECE
                    : piece->file && copy->convert->offload ? OFFLOAD_PIECE
                                                            : PIECE;
    uint64_t cluster_end = MIN(ALIGN_UP(start + 1, unit), source_end);
    if (!copy->whole_clusters)
        return MIN(end, MAX(cluster_end, start + MIN(most, end - start)));
    uint64_t whole = end == source_end ? end : ALIGN_DOWN(end, unit);
    if (whole <= start || (piece->kind != PIECE_DATA && !IS_ALIGNED(start, unit))) {
        /* The cluster holds more than this extent. */
        piece->kind = PIECE_DATA;
        piece->file = NULL;
        return cluster_end;
    }
    return whole - start <= most ? whole : MAX(ALIGN_DOWN(start + most, unit), cluster_end);
}

/* The next piece to work on. False: there is none. */
static bool take_piece(struct copy *copy, struct piece *piece)
{
    int64_t wait_ns = 0;
    pthread_mutex_lock(&copy->lock);
    while (copy->failure == 0 && copy->next < copy->total && copy->ahead >= AHEAD_MAX)
        pthread_cond_wait(&copy->room, &copy->lock);
    int rc = copy->failure;
    while (rc == 0 && copy->next < copy->total &&
           copy->next == copy->source_start + block_size(copy->convert->sources[copy->source])) {
        copy->source_start = copy->next;
        copy->source++;
        copy->extent_end = copy->next;
    }
    bool any = rc == 0 && copy->next < copy->total;
    if (any && copy->next >= copy->extent_end)
        rc = find_extent(copy);
    if (any && rc == 0) {
        uint64_t source_end = copy->source_start + block_size(copy->convert->sources[copy->source]);
        *piece = copy->extent;
        uint64_t skipped = copy->next - piece->offset;
        piece->offset += skipped;
        piece->source_offset += skipped;
        piece->host_offset += skipped;
        uint64_t end = piece_end(copy, piece, source_end);
        piece->len = end - copy->next;
        piece->ticket = copy->next_ticket++;
        copy->next = end;
        while (copy->limit.rate && piece->kind == PIECE_DATA &&
               (wait_ns = ratelimit_take(&copy->limit, piece->len, clock_monotonic_ns())) > 0) {
            struct timespec pause = {wait_ns / 1000000000, wait_ns % 1000000000};
            nanosleep(&pause, NULL);
        }
    }
    if (copy->next == copy->total)
        pthread_cond_broadcast(&copy->room);
    pthread_mutex_unlock(&copy->lock);
    if (rc < 0)
        fail(copy, rc, copy->next, false);
    return any && rc == 0;
}

/* --------------------------------------------------------------- one piece */

/* Waits until the pieces before are written. False: the copy failed meanwhile. */
static bool wait_turn(struct copy *copy, const struct piece *piece)
{
    bool ordered = !copy->convert->out_of_order && !copy->convert->compress;
    pthread_mutex_lock(&copy->lock);
    copy->ahead++;
    while (ordered && copy->failure == 0 && copy->now_serving != piece->ticket)
        pthread_cond_wait(&copy->turns[piece->ticket % CONVERT_MAX_WORKERS], &copy->lock);
    copy->ahead--;
    pthread_cond_signal(&copy->room);
    bool go = copy->failure == 0;
    pthread_mutex_unlock(&copy->lock);
    return go;
}

static void end_turn(struct copy *copy, const struct piece *piece)
{
    struct block_convert *convert = copy->convert;
    pthread_mutex_lock(&copy->lock);
    copy->now_serving++;
    copy->done += piece->len;
    if (convert->progress)
        convert->progress(convert->opaque, copy->done, copy->total);
    pthread_cond_broadcast(&copy->turns[copy->now_serving % CONVERT_MAX_WORKERS]);
    pthread_mutex_unlock(&copy->lock);
}

/* Sector by sector; what cannot be read becomes zeros. */
static void read_by_sectors(struct copy *copy, const struct piece *piece, uint8_t *buffer)
{
    struct block_convert *convert = copy->convert;
    for (uint64_t at = 0; at < piece->len; at += SECTOR) {
        uint64_t part = MIN(SECTOR, piece->len - at);
        int rc = block_pread(piece->source, piece->source_offset + at, buffer + at, part);
        if (rc == 0)
            continue;
        memset(buffer + at, 0, part);
        pthread_mutex_lock(&copy->lock);
        if (convert->read_failed)
            convert->read_failed(convert->opaque, piece->offset + at, -rc);
        pthread_mutex_unlock(&copy->lock);
    }
}

static int read_piece(struct copy *copy, const struct piece *piece, uint8_t *buffer)
{
    int rc = block_pread(piece->source, piece->source_offset, buffer, piece->len);
    if (rc < 0 && copy->convert->salvage) {
        read_by_sectors(copy, piece, buffer);
        return 0;
    }
    return rc;
}

static int write_zeros(struct copy *copy, uint64_t offset, uint64_t len)
{
    const struct block_convert *convert = copy->convert;
    if (convert->target_is_zero && !convert->keep_unallocated)
        return 0;
    return block_write_zeroes(convert->target, offset, len, BLOCK_UNMAP);
}

/* Data and runs of zeros in turn. */
static int write_piece(struct copy *copy, const struct piece *piece, const uint8_t *buffer)
{
    const struct block_convert *convert = copy->convert;
    unsigned flags = convert->compress ? BLOCK_COMPRESSED : 0;
    uint64_t at = 0;
    while (at < piece->len) {
        bool zero = false, first = true;
        uint64_t end = at;
        while (end < piece->len) {
            uint64_t next =
                MIN(ALIGN_UP(piece->offset + end + 1, (uint64_t)copy->unit) - piece->offset,
                    piece->len);
            bool is_zero = convert->sparse && buffer_is_zero(buffer + end, next - end);
            if (!first && is_zero != zero)
                break;
            zero = is_zero;
            first = false;
            end = next;
        }
        int rc =
            zero ? write_zeros(copy, piece->offset + at, end - at)
                 : block_pwrite(convert->target, piece->offset + at, buffer + at, end - at, flags);
        if (rc < 0)
            return rc;
        at = end;
    }
    return 0;
}

/* The descriptor and place of a piece in the target's file; -1: it is no plain file. */
static int target_place(const struct block_convert *convert, const struct piece *piece,
                        uint64_t *host_offset)
{
    struct block_node *target = convert->target;
    if (strcmp(target->driver->name, "raw") != 0 || !target->file->driver->ring_fd)
        return -1;
    const struct block_request write = {
        .op = BLOCK_WRITE, .offset = piece->offset, .len = piece->len};
    struct block_mapping mapping = {.kind = BLOCK_MAP_SLOW};
    target->driver->map(target, &write, &mapping);
    *host_offset = mapping.host_offset;
    return mapping.kind == BLOCK_MAP_HOST ? target->file->driver->ring_fd(target->file) : -1;
}

static bool clone_piece(struct copy *copy, const struct piece *piece, int from, int to,
                        uint64_t to_offset)
{
    struct file_clone_range range = {.src_fd = from,
                                     .src_offset = piece->host_offset,
                                     .src_length = piece->len,
                                     .dest_offset = to_offset};
    if (!__atomic_load_n(&copy->can_clone, __ATOMIC_RELAXED))
        return false;
    if (ioctl(to, FICLONERANGE, &range) == 0)
        return true;
    if (errno != EINVAL)
        __atomic_store_n(&copy->can_clone, false, __ATOMIC_RELAXED);
    return false;
}

/* Has the kernel copy between two files. False: it could not, or the piece is nothing of that
 * kind. */
static bool offload_piece(struct copy *copy, const struct piece *piece)
{
    const struct block_convert *convert = copy->convert;
    uint64_t to_offset;
    if (!piece->file || !piece->file->driver->ring_fd || convert->compress)
        return false;
    int from = piece->file->driver->ring_fd(piece->file);
    int to = target_place(convert, piece, &to_offset);
    if (from < 0 || to < 0)
        return false;
    if (clone_piece(copy, piece, from, to, to_offset))
        return true;
    if (!convert->offload)
        return false;
    off_t in = (off_t)piece->host_offset, out = (off_t)to_offset;
    for (uint64_t left = piece->len; left;) {
        ssize_t n = copy_file_range(from, &in, to, &out, left, 0);
        if (n <= 0)
            return false;
        left -= (uint64_t)n;
    }
    return true;
}

/* A piece for offloading is larger than the buffer: it is read in parts. */
static int copy_parts(struct copy *copy, const struct piece *piece, uint8_t *buffer, bool *writing)
{
    struct piece part = *piece;
    for (uint64_t at = 0; at < piece->len; at += part.len) {
        part.offset = piece->offset + at;
        part.source_offset = piece->source_offset + at;
        part.len = MIN(buffer_size(copy), piece->len - at);
        int rc = read_piece(copy, &part, buffer);
        *writing = rc == 0;
        if (rc == 0)
            rc = write_piece(copy, &part, buffer);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int do_piece(struct copy *copy, const struct piece *piece, uint8_t *buffer, bool *writing)
{
    int rc = 0;
    *writing = piece->kind != PIECE_DATA;
    if (piece->kind == PIECE_DATA && offload_piece(copy, piece))
        return wait_turn(copy, piece) ? 0 : -ECANCELED;
    bool small = piece->kind == PIECE_DATA && piece->len <= buffer_size(copy);
    if (small)
        rc = read_piece(copy, piece, buffer);
    if (rc < 0)
        return rc;
    if (!wait_turn(copy, piece))
        return -ECANCELED;
    *writing = true;
    if (piece->kind == PIECE_ZERO)
        return write_zeros(copy, piece->offset, piece->len);
    if (piece->kind == PIECE_DATA)
        return small ? write_piece(copy, piece, buffer) : copy_parts(copy, piece, buffer, writing);
    return 0;
}

/* The buffer that was used last, so the likeliest to be in a cache. NULL: out of memory. */
static void *take_buffer(struct copy *copy)
{
    void *buffer = NULL;
    pthread_mutex_lock(&copy->lock);
    if (copy->buffer_count)
        buffer = copy->buffers[--copy->buffer_count];
    pthread_mutex_unlock(&copy->lock);
    if (!buffer && posix_memalign(&buffer, 4096, buffer_size(copy)))
        return NULL;
    return buffer;
}

static void give_back(struct copy *copy, void *buffer)
{
    pthread_mutex_lock(&copy->lock);
    copy->buffers[copy->buffer_count++] = buffer;
    pthread_mutex_unlock(&copy->lock);
}

static void *worker(void *opaque)
{
    struct copy *copy = opaque;
    struct piece piece;
    bool writing = false;
    while (take_piece(copy, &piece)) {
        void *buffer = take_buffer(copy);
        int rc = buffer ? do_piece(copy, &piece, buffer, &writing) : -ENOMEM;
        if (buffer)
            give_back(copy, buffer);
        if (rc < 0) {
            fail(copy, rc, piece.offset, writing);
            break;
        }
        end_turn(copy, &piece);
    }
    return NULL;
}

/* ------------------------------------------------------------------ border */

static uint32_t choose_unit(const struct block_convert *convert)
{
    uint32_t cluster = convert->target->info.cluster_size;
    uint32_t unit = MAX(convert->sparse, convert->target->info.request_alignment);
    unit = MAX(unit, SECTOR);
    if (convert->compress || !convert->keep_unallocated)
        unit = MAX(unit, cluster);
    while (unit & (unit - 1))
        unit &= unit - 1;
    return unit;
}

static void run_workers(struct copy *copy)
{
    pthread_t threads[CONVERT_MAX_WORKERS];
    unsigned started = 0, wanted = MIN(MAX(copy->convert->workers, 1u), CONVERT_MAX_WORKERS);
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, worker, copy) == 0)
        started++;
    worker(copy);
    while (started)
        pthread_join(threads[--started], NULL);
}

int block_convert(struct block_convert *convert)
{
    struct copy copy = {.convert = convert, .can_clone = convert->sparse != 0};
    for (unsigned i = 0; i < convert->source_count; i++)
        copy.total += block_size(convert->sources[i]);
    if (copy.total > block_size(convert->target))
        return -ENOSPC;
    copy.unit = choose_unit(convert);
    copy.whole_clusters = convert->compress || !convert->keep_unallocated;
    ratelimit_init(&copy.limit, convert->rate, 0);
    pthread_mutex_init(&copy.lock, NULL);
    for (unsigned i = 0; i < CONVERT_MAX_WORKERS; i++)
        pthread_cond_init(&copy.turns[i], NULL);
    pthread_cond_init(&copy.room, NULL);
    run_workers(&copy);
    while (copy.buffer_count)
        free(copy.buffers[--copy.buffer_count]);
    pthread_cond_destroy(&copy.room);
    for (unsigned i = 0; i < CONVERT_MAX_WORKERS; i++)
        pthread_cond_destroy(&copy.turns[i]);
    pthread_mutex_destroy(&copy.lock);
    return copy.failure;
}
