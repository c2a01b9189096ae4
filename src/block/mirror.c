/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job "mirror": a target becomes and stays a copy of a node that a guest
 * writes to, until devices go on on the target (job_complete()) or the copy is
 * left as it is at a moment (cancelled when ready). A tracker notes what is
 * written; what is dirty is copied again, the last of it while the devices are
 * held. With copy-mode write-blocking a filter sends writes to both sides.
 *
 * The commit of an active image is the same with its own base as the target.
 */
#include "block/mirror.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/drivers.h"
#include "block/filter_mirror.h"
#include "block/graph_internal.h"
#include "block/job_copy.h"
#include "block/tracker.h"

#define GRANULARITY_MIN 512u
#define GRANULARITY_DEFAULT KIB(64)
/* So little may be left to copy while devices are held; or so often it was tried. */
#define HELD_BYTES MIB(4)
#define ROUNDS_MAX 20
#define READY_NAP_NS INT64_C(20000000)
#define STATUS_PIECE (UINT64_C(1) << 30)

struct mirror {
    struct job job;
    struct block_node *source, *target; /* references */
    struct block_node *base;            /* only layers above it are copied; NULL: all; a pointer */
    struct block_node *filter;          /* write-blocking; a reference */
    struct block_root *source_root, *target_root;
    char *replaces, *filter_name;
    enum job_sync sync;
    bool restore_readonly, pivoted;
    atomic_bool want_blocking;     /* set by others */
    atomic_bool blocking;          /* it is; read by others */
    struct block_tracker *tracker; /* on source */
    struct mirror_sync both;
    struct job_copy copy;
    uint64_t piece; /* bytes copied at once */
};

static struct mirror *mirror_of(struct job *job)
{
    return container_of(job, struct mirror, job);
}

/* ---------------------------------------------------------------- write-blocking */

/* Under a section of the source. */
static int block_writes(struct mirror *m, struct kv_error *err)
{
    int rc =
        block_graph_insert_driver(m->source, &block_mirror_driver, m->filter_name, &m->filter, err);
    if (rc < 0)
        return rc;
    m->both.dirty = m->tracker->bits;
    filter_mirror_connect(m->filter, m->target, &m->both);
    atomic_store(&m->tracker->enabled, false);
    atomic_store(&m->blocking, true);
    return 0;
}

/* Done by the job's own thread. */
static int mirror_set_copy_mode(struct job *job, enum job_copy_mode mode, struct kv_error *err)
{
    if (mode != JOB_COPY_WRITE_BLOCKING)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Change to copy mode 'background' is not possible; to write-blocking "
                            "it is");
    atomic_store(&mirror_of(job)->want_blocking, true);
    return 0;
}

static int follow_copy_mode(struct mirror *m, struct kv_error *err)
{
    if (m->filter || !atomic_load(&m->want_blocking))
        return 0;
    block_graph_begin(&m->source, 1);
    int rc = block_writes(m, err);
    block_graph_end();
    return rc;
}

static bool mirror_actively_synced(const struct job *job)
{
    const struct mirror *m = container_of(job, const struct mirror, job);
    return atomic_load(&m->blocking) && job->ready;
}

/* --------------------------------------------------------------------- copying */

static void show_progress(struct mirror *m)
{
    atomic_store(&m->job.total,
                 atomic_load(&m->job.current) + dirty_bitmap_count(m->tracker->bits));
}

/* What is there when it starts. */
static int mark_all(struct mirror *m, struct kv_error *err)
{
    struct block_node *target = m->sync == JOB_SYNC_FULL && !m->base ? m->target : NULL;
    struct block_node *above = m->base;
    uint64_t size = block_size(m->source), offset = 0;
    if (m->sync == JOB_SYNC_TOP && !above)
        above = m->source->backing;
    while (offset < size && m->sync != JOB_SYNC_NONE) {
        uint64_t done = 0;
        int rc = job_checkpoint(&m->job);
        if (rc < 0)
            return rc;
        block_root_enter_both(m->source_root, m->target_root);
        rc = job_mark_allocated(m->source, above, target, offset, MIN(size - offset, STATUS_PIECE),
                                m->tracker->bits, &done);
        block_root_leave_both(m->source_root, m->target_root);
        if (rc < 0)
            rc = job_io_failed(&m->job, true, rc, err);
        if (rc < 0)
            return rc;
        /* Passed over: it is copied to be safe. */
        if (rc > 0) {
            done = MIN(size - offset, STATUS_PIECE);
            dirty_bitmap_set(m->tracker->bits, offset, done);
        }
        offset += done;
    }
    return 0;
}

static int copy_piece(struct mirror *m, uint64_t offset, uint64_t len, bool *is_read)
{
    struct range_lock range;
    block_root_enter_both(m->source_root, m->target_root);
    range_lock(&m->both.locks, &range, offset, len);
    /* What is written from here on is dirty again. */
    dirty_bitmap_clear(m->tracker->bits, offset, len);
    int rc = job_copy_piece(&m->copy, offset, len, is_read);
    if (rc < 0)
        dirty_bitmap_set(m->tracker->bits, offset, len);
    range_unlock(&m->both.locks, &range);
    block_root_leave_both(m->source_root, m->target_root);
    return rc;
}

/* Once through what is dirty. held: nobody writes, nothing waits. */
static int copy_dirty(struct mirror *m, bool held, bool *is_read, struct kv_error *err)
{
    uint64_t at = 0, len;
    while (dirty_bitmap_next(m->tracker->bits, at, &at, &len)) {
        len = MIN(len, m->piece);
        int rc = held ? 0 : job_throttle(&m->job, len);
        if (rc == 0)
            rc = copy_piece(m, at, len, is_read);
        if (rc < 0 && rc != -ECANCELED && !held)
            rc = job_io_failed(&m->job, *is_read, rc, err);
        else if (rc == 0)
            atomic_fetch_add(&m->job.current, len);
        if (rc < 0)
            return rc;
        if (!held)
            show_progress(m);
        at += rc > 0 ? len : 0;
    }
    return 0;
}

static int become_ready(struct mirror *m, struct kv_error *err)
{
    int rc = block_flush(m->target);
    if (rc < 0)
        return MIN(job_io_failed(&m->job, false, rc, err), 0);
    job_set_ready(&m->job);
    return 0;
}

static int mirror_run(struct job *job, struct kv_error *err)
{
    struct mirror *m = mirror_of(job);
    bool is_read;
    int rc = mark_all(m, err);
    while (rc == 0) {
        show_progress(m);
        rc = copy_dirty(m, false, &is_read, err);
        uint64_t left = dirty_bitmap_count(m->tracker->bits);
        if (rc == 0 && !job->ready && left <= m->piece)
            rc = become_ready(m, err);
        if (rc == 0 && job->ready && job_should_end(job))
            break;
        if (rc == 0 && left == 0)
            job_nap(job, READY_NAP_NS);
        rc = rc < 0 ? rc : job_checkpoint(job);
        if (rc == 0)
            rc = follow_copy_mode(m, err);
    }
    return rc;
}

/* ----------------------------------------------------------------------- the end */

static int pivot(struct mirror *m, struct kv_error *err)
{
    struct block_node *from = m->filter ? m->filter : m->source, *named = NULL;
    if (m->replaces && strcmp(m->replaces, block_node_name(m->source)) != 0) {
        named = block_find_node(m->replaces, err);
        if (!named)
            return -ENODEV;
        from = named;
    }
    int rc = block_replace_node(from, m->target, err);
    m->pivoted = rc == 0;
    block_close(named);
    return rc;
}

/* The devices are held. */
static int finish_held(struct mirror *m, bool *is_read, struct kv_error *err)
{
    int rc = copy_dirty(m, true, is_read, err);
    if (rc == 0)
        rc = block_flush(m->target);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "the last of it could not be copied");
    return job_is_cancelled_softly(&m->job) ? 0 : pivot(m, err);
}

static int mirror_prepare(struct job *job, struct kv_error *err)
{
    struct mirror *m = mirror_of(job);
    bool is_read;
    int rc = 0;
    for (int i = 0; i < ROUNDS_MAX && rc == 0; i++) {
        if (dirty_bitmap_count(m->tracker->bits) <= HELD_BYTES)
            break;
        rc = copy_dirty(m, false, &is_read, err);
    }
    if (rc < 0)
        return rc;
    struct block_node *const nodes[] = {m->source, m->target};
    block_graph_begin(nodes, 2);
    rc = finish_held(m, &is_read, err);
    block_graph_end();
    return rc;
}

static void free_mirror(struct mirror *m)
{
    block_root_free(m->source_root);
    block_root_free(m->target_root);
    block_close(m->filter);
    block_close(m->source);
    block_close(m->target);
    block_tracker_free(m->tracker);
    range_locks_destroy(&m->both.locks);
    free(m->copy.buffer);
    free(m->replaces);
    free(m->filter_name);
}

static void mirror_clean(struct job *job, bool failed)
{
    struct mirror *m = mirror_of(job);
    block_graph_begin(&m->source, 1);
    if (m->filter)
        block_graph_remove_filter(m->filter, NULL);
    block_tracker_detach(m->source, m->tracker);
    block_graph_end();
    if (m->restore_readonly && !m->pivoted)
        job_open_readonly(job, &m->target);
    free_mirror(m);
}

/* ------------------------------------------------------------------------- start */

static const struct job_kind mirror_kind = {
    .type = JOB_MIRROR,
    .run = mirror_run,
    .prepare = mirror_prepare,
    .clean = mirror_clean,
    .set_copy_mode = mirror_set_copy_mode,
    .actively_synced = mirror_actively_synced,
    .has_ready = true,
};

static const struct job_kind commit_kind = {
    .type = JOB_COMMIT,
    .run = mirror_run,
    .prepare = mirror_prepare,
    .clean = mirror_clean,
    .has_ready = true,
};

static uint32_t choose_granularity(const struct mirror *m, uint32_t asked)
{
    uint32_t cluster = m->target->info.cluster_size;
    uint32_t wanted = asked ? asked : cluster ? cluster : GRANULARITY_DEFAULT;
    return MIN(MAX(wanted, GRANULARITY_MIN), JOB_COPY_PIECE);
}

/* Everything but claims. On failure mirror_fail() undoes it. */
static int set_up(struct mirror *m, struct block_node *source, struct block_node *target,
                  uint32_t granularity, uint64_t buf_size, struct kv_error *err)
{
    range_locks_init(&m->both.locks);
    m->source = block_ref(source);
    m->target = block_ref(target);
    granularity = choose_granularity(m, granularity);
    m->piece = MIN(MAX(buf_size ? buf_size : JOB_COPY_PIECE, (uint64_t)granularity),
                   (uint64_t)JOB_COPY_PIECE);
    m->piece -= m->piece % granularity;
    m->copy.source = source;
    m->copy.target = target;
    m->copy.buffer = job_copy_buffer();
    m->tracker = block_tracker_create(source, NULL, granularity);
    if (!m->copy.buffer || !m->tracker)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "job '%s': out of memory", m->job.id);
    int rc = block_root_create(&m->source_root, source, NULL, 0, err);
    if (rc == 0)
        rc = block_root_create(&m->target_root, target, m->base ? NULL : m->job.id, BLOCK_USE_WRITE,
                               err);
    return rc;
}

/* Set up as far as it went. */
static void mirror_fail(struct mirror *m)
{
    free_mirror(m);
    job_drop(&m->job);
}

static int check_nodes(const struct mirror_options *o, struct kv_error *err)
{
    if (o->source == o->target)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Can't mirror node into itself");
    if (o->target->info.readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EROFS, "Node '%s' is read-only",
                            block_node_name(o->target));
    if (block_size(o->source) != block_size(o->target))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Source and target image have different sizes");
    if (o->sync > JOB_SYNC_NONE)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Sync mode not supported by mirror; full, top and none are");
    if (o->granularity && (o->granularity < GRANULARITY_MIN || o->granularity > MIB(64) ||
                           (o->granularity & (o->granularity - 1))))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Parameter 'granularity' expects a power of two in range [512B, 64MB]");
    return 0;
}

/* From here on writes are noted. */
static int begin(struct mirror *m, enum job_copy_mode mode, struct kv_error *err)
{
    int rc = 0;
    block_graph_begin(&m->source, 1);
    block_tracker_attach(m->source, m->tracker);
    if (mode == JOB_COPY_WRITE_BLOCKING)
        rc = block_writes(m, err);
    if (rc == 0)
        rc = job_start(&m->job, err);
    if (rc < 0) {
        if (m->filter)
            block_graph_remove_filter(m->filter, NULL);
        block_tracker_detach(m->source, m->tracker);
    }
    block_graph_end();
    return rc;
}

static int copy_names(struct mirror *m, const struct mirror_options *o, struct kv_error *err)
{
    m->replaces = o->replaces ? strdup(o->replaces) : NULL;
    m->filter_name = o->filter_name ? strdup(o->filter_name) : NULL;
    return (o->replaces && !m->replaces) || (o->filter_name && !m->filter_name)
               ? kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "job '%s': out of memory", m->job.id)
               : 0;
}

int mirror_start(const struct mirror_options *o, struct kv_error *err)
{
    struct job *job;
    int rc = check_nodes(o, err);
    if (rc == 0)
        rc = job_new(&job, sizeof(struct mirror), &mirror_kind, &o->job, err);
    if (rc < 0)
        return rc;
    struct mirror *m = mirror_of(job);
    m->sync = o->sync == JOB_SYNC_TOP && !o->source->backing ? JOB_SYNC_FULL : o->sync;
    m->copy.keep_zeros = o->no_unmap;
    m->copy.stored_zeros = m->sync == JOB_SYNC_TOP;
    rc = set_up(m, o->source, o->target, o->granularity, o->buf_size, err);
    if (rc == 0)
        rc = copy_names(m, o, err);
    if (rc == 0)
        rc = job_claim(job, o->source, err);
    if (rc == 0)
        rc = job_claim(job, o->target, err);
    if (rc == 0)
        rc = begin(m, o->copy_mode, err);
    if (rc < 0)
        mirror_fail(m);
    return rc;
}

int mirror_new_commit(struct job **out, const struct job_options *options, struct kv_error *err)
{
    return job_new(out, sizeof(struct mirror), &commit_kind, options, err);
}

int mirror_start_commit(struct job *job, struct block_node *top, struct block_node *base,
                        bool base_was_readonly, struct kv_error *err)
{
    struct mirror *m = mirror_of(job);
    m->base = base;
    m->restore_readonly = base_was_readonly;
    int rc = set_up(m, top, base, 0, 0, err);
    if (rc == 0)
        rc = begin(m, JOB_COPY_BACKGROUND, err);
    if (rc < 0)
        mirror_fail(m);
    return rc;
}
