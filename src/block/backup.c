/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job "backup": the target becomes what the source is at the moment when the
 * job starts. A copy-before-write filter comes between the source and its
 * guest; the job copies what the guest does not change. With sync none it
 * copies nothing itself, and a target that stands on the source shows that
 * moment to its readers (pull backup).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/drivers.h"
#include "block/filter_copy_before_write.h"
#include "block/filter_snapshot_access.h"
#include "block/graph_internal.h"
#include "block/job_copy.h"
#include "block/job_internal.h"
#include "block/tracker.h"
#include "block/tracker_bitmaps.h"

#define IDLE_NAP_NS INT64_C(100000000)

struct backup {
    struct job job;
    struct block_node *source, *target, *filter; /* references */
    struct block_root *root;                     /* on the source */
    struct copy_before_write *cbw;               /* the filter's */
    struct block_node *fleece; /* of the target's chain, stood on source; NULL: none */
    enum job_sync sync;
    char *bitmap;
    enum job_bitmap_mode bitmap_mode;
    struct block_bitmap_bits saved; /* of the bitmap, as it was; bits NULL: not cleared */
    uint8_t *buffer;
};

static struct backup *backup_of(struct job *job)
{
    return container_of(job, struct backup, job);
}

/* --------------------------------------------------------------------- the work */

/* The next range to copy from *at on, in one piece. False: none. */
static bool next_piece(struct backup *b, uint64_t *at, uint64_t *len)
{
    const struct job_copy copy = {.source = b->source,
                                  .target = b->target,
                                  .align = b->cbw->cluster,
                                  .stored_zeros = b->cbw->stored_zeros};
    while (dirty_bitmap_next(b->cbw->todo, *at, at, len)) {
        uint64_t skipped = job_skip_zeros(&copy, *at, *len);
        if (!skipped) {
            *len = MIN(*len, (uint64_t)JOB_COPY_PIECE);
            return true;
        }
        /* A guest may have written there since: then it has copied, and zeros are no news. */
        *at += skipped;
    }
    return false;
}

static int copy_piece(struct backup *b, uint64_t at, uint64_t len, bool *is_read)
{
    block_root_enter(b->root);
    int rc = copy_before_write_copy(b->cbw, b->source, at, len, b->buffer, is_read);
    block_root_leave(b->root);
    return rc;
}

/* What the layer itself has not is not copied with sync top. What a guest wrote since is copied
 * already. */
static int keep_top_only(struct backup *b, struct kv_error *err)
{
    uint64_t size = block_size(b->source), at = 0;
    while (at < size) {
        struct block_extent extent;
        int rc = job_checkpoint(&b->job);
        if (rc < 0)
            return rc;
        block_root_enter(b->root);
        rc = block_status_above(b->source, b->source->backing, at, size - at, &extent);
        block_root_leave(b->root);
        if (rc < 0)
            return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s'", b->source->name);
        uint64_t from = ALIGN_UP(at, b->cbw->cluster);
        uint64_t to = at + extent.len == size ? size : ALIGN_DOWN(at + extent.len, b->cbw->cluster);
        if (!(extent.flags & BLOCK_STATUS_ALLOCATED) && from < to)
            dirty_bitmap_clear(b->cbw->todo, from, to - from);
        at += extent.len;
    }
    return 0;
}

static int broken(struct backup *b, struct kv_error *err)
{
    int rc = atomic_load(&b->cbw->broken);
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc,
                                   "what the guest overwrote could not be copied to '%s'",
                                   block_node_name(b->target))
                  : 0;
}

static int copy_all(struct backup *b, struct kv_error *err)
{
    struct job *job = &b->job;
    uint64_t at = 0, len, total = dirty_bitmap_count(b->cbw->todo);
    atomic_store(&job->total, total);
    while (next_piece(b, &at, &len)) {
        bool is_read;
        int rc = job_throttle(job, len);
        if (rc == 0)
            rc = copy_piece(b, at, len, &is_read);
        if (rc == 0)
            rc = broken(b, err);
        else if (rc != -ECANCELED)
            rc = job_io_failed(job, is_read, rc, err);
        if (rc < 0)
            return rc;
        atomic_store(&job->current, total - dirty_bitmap_count(b->cbw->todo));
        at += rc > 0 ? len : 0;
    }
    atomic_store(&job->current, total);
    return broken(b, err);
}

/* Ignored errors left something out: it is tried until it works. */
static int backup_run(struct job *job, struct kv_error *err)
{
    struct backup *b = backup_of(job);
    int rc = 0;
    if (b->sync == JOB_SYNC_NONE) {
        while ((rc = job_checkpoint(job)) == 0 && (rc = broken(b, err)) == 0)
            job_nap(job, IDLE_NAP_NS);
        return rc;
    }
    if (b->sync == JOB_SYNC_TOP && b->source->backing)
        rc = keep_top_only(b, err);
    if (rc == 0)
        rc = copy_all(b, err);
    uint64_t at = 0, len;
    while (rc == 0 && next_piece(b, &at, &len)) {
        job_nap(job, IDLE_NAP_NS);
        rc = copy_all(b, err);
        at = 0;
    }
    return rc;
}

static int backup_prepare(struct job *job, struct kv_error *err)
{
    struct backup *b = backup_of(job);
    int rc = block_flush(b->target);
    return rc < 0
               ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be flushed", b->target->name)
               : broken(b, err);
}

/* ------------------------------------------------------------------------ the end */

/* What was cleared when the job began comes back, or what of it was not copied. */
static void settle_bitmap(struct backup *b, bool failed)
{
    struct block_bitmap_bits *saved = &b->saved;
    if (!saved->bits || !failed)
        return;
    if (b->bitmap_mode == JOB_BITMAP_ALWAYS && b->cbw) {
        uint64_t at, run;
        for (uint64_t n = 0; n < saved->count; n++) {
            uint64_t offset = n * saved->granularity;
            bool left = dirty_bitmap_next(b->cbw->todo, offset, &at, &run) &&
                        at < offset + saved->granularity;
            if (!left)
                saved->bits[n / 8] &= (uint8_t) ~(1u << (n % 8));
        }
    }
    block_bitmap_mark(b->source, b->bitmap, saved, NULL);
}

static void set_bitmap_busy(struct backup *b, bool busy)
{
    struct block_tracker *tracker = b->bitmap ? block_tracker_find(b->source, b->bitmap) : NULL;
    if (tracker)
        tracker->busy = busy;
}

/* As far as it was set up. */
static void free_backup(struct backup *b, bool failed)
{
    block_graph_begin(&b->source, 1);
    set_bitmap_busy(b, false);
    settle_bitmap(b, failed);
    if (b->fleece)
        block_set_backing(b->fleece, b->source, NULL);
    if (b->filter)
        block_graph_remove_filter(b->filter, NULL);
    block_graph_end();
    block_root_free(b->root);
    block_close(b->fleece);
    block_close(b->filter);
    block_close(b->source);
    block_close(b->target);
    free(b->saved.bits);
    free(b->buffer);
    free(b->bitmap);
}

static void backup_clean(struct job *job, bool failed)
{
    free_backup(backup_of(job), failed);
}

/* ------------------------------------------------------------------------- start */

static const struct job_kind backup_kind = {
    .type = JOB_BACKUP,
    .run = backup_run,
    .prepare = backup_prepare,
    .clean = backup_clean,
};

static int insert_filter(struct backup *b, const char *name, bool compress, struct kv_error *err)
{
    json_t *description =
        json_pack("{s:s, s:s, s:s, s:s*}", "driver", "copy-before-write", "target",
                  block_node_name(b->target), "on-cbw-error", "break-snapshot", "node-name", name);
    if (!description)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "job '%s': out of memory", b->job.id);
    int rc = block_graph_insert_filter(b->source, description, &b->filter, err);
    json_decref(description);
    if (rc < 0)
        return rc;
    b->cbw = copy_before_write_of(b->filter);
    b->cbw->write_flags = compress ? BLOCK_COMPRESSED : 0;
    b->cbw->stored_zeros = b->sync == JOB_SYNC_TOP || b->sync == JOB_SYNC_BITMAP;
    return 0;
}

/* The node of the target's chain whose backing is the source; NULL: it does not stand on it. */
static struct block_node *find_fleece(const struct backup *b)
{
    struct block_node *node = b->target;
    while (node && node->backing != b->source)
        node = node->driver->is_filter ? node->file : node->backing;
    return node;
}

/* What the target shows of the source is the source as it is now. */
static int set_up_fleece(struct backup *b, struct kv_error *err)
{
    struct block_node *fleece = find_fleece(b), *access = block_ref(b->filter);
    int rc = 0;
    if (fleece)
        rc = block_insert_driver(&access, &block_snapshot_access_driver, NULL, err);
    if (fleece && rc == 0) {
        snapshot_access_stand_on(access, b->source);
        rc = block_set_backing(fleece, access, err);
        b->fleece = rc == 0 ? block_ref(fleece) : NULL;
    }
    block_close(access);
    return rc;
}

/* The bitmap says what is copied; from now on it records anew. */
static int take_bitmap(struct backup *b, struct kv_error *err)
{
    struct block_bitmap_bits bits = {0};
    if (!b->bitmap)
        return 0;
    int rc = block_bitmap_get(b->source, b->bitmap, &bits, err);
    if (rc < 0)
        return rc;
    if (b->sync == JOB_SYNC_BITMAP) {
        dirty_bitmap_clear(b->cbw->todo, 0, block_size(b->source));
        block_bits_to_dirty(&bits, b->cbw->todo);
    }
    if (b->bitmap_mode != JOB_BITMAP_NEVER)
        rc = block_bitmap_clear(b->source, b->bitmap, err);
    if (rc == 0 && b->bitmap_mode != JOB_BITMAP_NEVER)
        b->saved = bits;
    else
        free(bits.bits);
    set_bitmap_busy(b, rc == 0);
    return rc;
}

/* All of one moment. */
static int begin(struct backup *b, const struct backup_options *o, struct kv_error *err)
{
    struct block_node *const nodes[] = {b->source, b->target};
    block_graph_begin(nodes, 2);
    int rc = insert_filter(b, o->filter_name, o->compress, err);
    if (rc == 0)
        rc = take_bitmap(b, err);
    if (rc == 0)
        rc = set_up_fleece(b, err);
    if (rc == 0)
        rc = block_root_create(&b->root, b->source, NULL, 0, err);
    if (rc == 0)
        rc = job_start(&b->job, err);
    block_graph_end();
    return rc;
}

static int check_options(const struct backup_options *o, struct kv_error *err)
{
    bool by_bitmap = o->sync == JOB_SYNC_INCREMENTAL || o->sync == JOB_SYNC_BITMAP;
    if (o->source == o->target)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Source and target cannot be the same");
    if (o->target->info.readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EROFS, "Node '%s' is read-only",
                            block_node_name(o->target));
    if (block_size(o->source) != block_size(o->target))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Source and target image have different sizes");
    if (by_bitmap && !o->bitmap)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "must provide a valid bitmap name for '%s' sync mode",
                            o->sync == JOB_SYNC_BITMAP ? "bitmap" : "incremental");
    if (o->sync == JOB_SYNC_INCREMENTAL && o->bitmap_mode != JOB_BITMAP_ON_SUCCESS)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Bitmap sync mode must be 'on-success' when using sync mode "
                            "'incremental'");
    if (o->sync == JOB_SYNC_NONE && o->bitmap)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "sync mode 'none' does not produce meaningful bitmap outputs");
    return 0;
}

int backup_start(const struct backup_options *o, struct kv_error *err)
{
    struct job *job;
    int rc = check_options(o, err);
    if (rc == 0)
        rc = job_new(&job, sizeof(struct backup), &backup_kind, &o->job, err);
    if (rc < 0)
        return rc;
    struct backup *b = backup_of(job);
    b->source = block_ref(o->source);
    b->target = block_ref(o->target);
    b->sync = o->sync == JOB_SYNC_INCREMENTAL ? JOB_SYNC_BITMAP : o->sync;
    b->bitmap_mode = o->bitmap_mode;
    b->bitmap = o->bitmap ? strdup(o->bitmap) : NULL;
    b->buffer = job_copy_buffer();
    if (!b->buffer || (o->bitmap && !b->bitmap))
        rc = kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "job '%s': out of memory", job->id);
    if (rc == 0)
        rc = job_claim(job, o->source, err);
    if (rc == 0)
        rc = job_claim(job, o->target, err);
    if (rc == 0)
        rc = begin(b, o, err);
    if (rc < 0) {
        free_backup(b, true);
        job_drop(job);
    }
    return rc;
}
