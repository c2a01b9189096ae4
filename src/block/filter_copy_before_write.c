/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter "copy-before-write": before a write changes a piece of the disk for
 * the first time, what was there is copied to the target. So source and target
 * together hold the disk as it was when the filter came.
 *
 *   {"driver": "copy-before-write", "file": ..., "target": ...,
 *    "on-cbw-error": "break-guest-write" | "break-snapshot"}
 *
 * Reads, and writes where nothing is left to copy, go on unseen.
 */
#include "block/filter_copy_before_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/drivers.h"
#include "block/filter.h"
#include "block/job_copy.h"

#define CLUSTER_MIN KIB(64)

struct copy_before_write *copy_before_write_of(const struct block_node *node)
{
    return node->driver == &block_copy_before_write_driver ? node->state : NULL;
}

void copy_before_write_put(struct copy_before_write *cbw)
{
    if (atomic_fetch_sub(&cbw->refs, 1) > 1)
        return;
    range_locks_destroy(&cbw->locks);
    dirty_bitmap_free(cbw->todo);
    free(cbw);
}

/* ----------------------------------------------------------------- open, close */

static int choose_policy(struct copy_before_write *cbw, const json_t *description,
                         struct kv_error *err)
{
    const char *policy = json_string_value(json_object_get(description, "on-cbw-error"));
    cbw->break_snapshot = policy && strcmp(policy, "break-snapshot") == 0;
    return !policy || cbw->break_snapshot || strcmp(policy, "break-guest-write") == 0
               ? 0
               : kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                              "'on-cbw-error' is break-guest-write or break-snapshot, not '%s'",
                              policy);
}

static int open_target(struct block_node *node, const json_t *description, struct kv_error *err)
{
    const json_t *target = json_object_get(description, "target");
    if (!target)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s': copy-before-write needs a 'target'",
                            node->name);
    int rc = block_open_child(&node->target, node, target, NULL, NULL, false, err);
    if (rc < 0)
        return rc;
    if (node->target->info.readonly || block_size(node->target) < block_size(node->file)) {
        rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                          "'%s', the target, is read-only or smaller than '%s'", node->target->name,
                          node->name);
        block_close(take_ptr(node->target));
    }
    return rc;
}

static int cbw_open(struct block_node *node, const struct block_open_options *options,
                    struct kv_error *err)
{
    int rc = open_target(node, options->description, err);
    if (rc < 0)
        return rc;
    struct copy_before_write *cbw = calloc(1, sizeof(*cbw));
    if (cbw) {
        atomic_store(&cbw->refs, 1);
        range_locks_init(&cbw->locks);
        cbw->target = node->target;
        cbw->cluster =
            MIN(MAX((uint64_t)node->target->info.cluster_size, CLUSTER_MIN), JOB_COPY_PIECE);
        cbw->todo = dirty_bitmap_create(block_size(node->file), cbw->cluster);
    }
    if (!cbw || !cbw->todo)
        rc = kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    else
        rc = choose_policy(cbw, options->description, err);
    if (rc < 0) {
        if (cbw)
            copy_before_write_put(cbw);
        block_close(take_ptr(node->target));
        return rc;
    }
    dirty_bitmap_set(cbw->todo, 0, block_size(node->file));
    node->info = node->file->info;
    node->state = cbw;
    return 0;
}

static void cbw_close(struct block_node *node)
{
    copy_before_write_put(node->state);
}

/* -------------------------------------------------------------------- copying */

/* Up to JOB_COPY_PIECE that somebody else may have copied meanwhile. */
static int copy_locked(struct copy_before_write *cbw, struct block_node *source, uint64_t offset,
                       uint64_t len, uint8_t *buffer, bool *is_read)
{
    const struct job_copy copy = {.source = source,
                                  .target = cbw->target,
                                  .buffer = buffer,
                                  .align = cbw->cluster,
                                  .stored_zeros = cbw->stored_zeros,
                                  .write_flags = cbw->write_flags};
    uint64_t at = offset, run;
    while (dirty_bitmap_next(cbw->todo, at, &at, &run) && at < offset + len) {
        run = MIN(run, offset + len - at);
        int rc = job_copy_piece(&copy, at, run, is_read);
        if (rc < 0)
            return rc;
        dirty_bitmap_clear(cbw->todo, at, run);
        at += run;
    }
    return 0;
}

int copy_before_write_copy(struct copy_before_write *cbw, struct block_node *source,
                           uint64_t offset, uint64_t len, uint8_t *buffer, bool *is_read)
{
    uint64_t end = MIN(ALIGN_UP(offset + len, cbw->cluster), block_size(source));
    uint64_t at = ALIGN_DOWN(offset, cbw->cluster), run;
    while (dirty_bitmap_next(cbw->todo, at, &at, &run) && at < end) {
        struct range_lock range;
        run = MIN(MIN(run, end - at), (uint64_t)JOB_COPY_PIECE);
        range_lock(&cbw->locks, &range, at, run);
        int rc = copy_locked(cbw, source, at, run, buffer, is_read);
        range_unlock(&cbw->locks, &range);
        if (rc < 0)
            return rc;
        at += run;
    }
    return 0;
}

static bool is_pending(const struct copy_before_write *cbw, uint64_t offset, uint64_t len)
{
    uint64_t at, run;
    return dirty_bitmap_next(cbw->todo, ALIGN_DOWN(offset, cbw->cluster), &at, &run) &&
           at < offset + len;
}

static int before_write(struct block_node *node, uint64_t offset, uint64_t len)
{
    struct copy_before_write *cbw = node->state;
    bool is_read;
    if (atomic_load(&cbw->broken) || !is_pending(cbw, offset, len))
        return 0;
    cleanup_free uint8_t *buffer = job_copy_buffer();
    int rc =
        buffer ? copy_before_write_copy(cbw, node->file, offset, len, buffer, &is_read) : -ENOMEM;
    if (rc == 0 || !cbw->break_snapshot)
        return rc;
    atomic_store(&cbw->broken, rc);
    return 0;
}

static int cbw_pwritev(struct block_node *node, uint64_t offset, uint64_t len,
                       const struct iovec *iov, unsigned count, unsigned flags)
{
    int rc = before_write(node, offset, len);
    return rc < 0 ? rc : block_pwritev(node->file, offset, len, iov, count, flags);
}

static int cbw_write_zeroes(struct block_node *node, uint64_t offset, uint64_t len, unsigned flags)
{
    int rc = before_write(node, offset, len);
    return rc < 0 ? rc : block_write_zeroes(node->file, offset, len, flags);
}

static int cbw_discard(struct block_node *node, uint64_t offset, uint64_t len)
{
    int rc = before_write(node, offset, len);
    return rc < 0 ? rc : block_discard(node->file, offset, len);
}

static void cbw_map(struct block_node *node, const struct block_request *request,
                    struct block_mapping *out)
{
    const struct copy_before_write *cbw = node->state;
    if (request->op == BLOCK_READ || atomic_load(&cbw->broken) ||
        !is_pending(cbw, request->offset, request->len))
        filter_map(node, request, out);
}

static const struct block_key cbw_keys[] = {
    {"target", BLOCK_KEY_ANY},
    {"on-cbw-error", BLOCK_KEY_TEXT},
    {NULL},
};

const struct block_driver block_copy_before_write_driver = {
    .name = "copy-before-write",
    .is_filter = true,
    .keys = cbw_keys,
    .open = cbw_open,
    .close = cbw_close,
    .get_size = filter_get_size,
    .preadv = filter_preadv,
    .pwritev = cbw_pwritev,
    .write_zeroes = cbw_write_zeroes,
    .discard = cbw_discard,
    .flush = filter_flush,
    .flush_is_deep = true,
    .status = filter_status,
    .map = cbw_map,
    .mapped_done = filter_mapped_done,
};
