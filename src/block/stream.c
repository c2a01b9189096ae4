/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job "stream": an image gets the data of the layers between it and a base,
 * and stands on the base (or on nothing) afterwards. What is copied shows no
 * difference to anybody: it is there before, further down. A filter keeps the
 * guest's writes out of the piece that is being copied, so that nothing older
 * replaces them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "block/drivers.h"
#include "block/filter_mirror.h"
#include "block/graph_internal.h"
#include "block/job_copy.h"
#include "block/job_internal.h"

struct stream {
    struct job job;
    struct block_node *node, *base, *filter; /* references; base NULL: none */
    struct block_root *root;
    struct mirror_sync sync;
    char *backing_file;
    bool was_readonly, incomplete;
    uint8_t *buffer;
};

static struct stream *stream_of(struct job *job)
{
    return container_of(job, struct stream, job);
}

/* -------------------------------------------------------------------- the work */

/* Whether the piece comes from between; zeros need no place where nothing is below. *len: how much
 * is alike. */
static int is_missing(const struct stream *s, uint64_t offset, uint64_t *len, bool *missing,
                      bool *zero)
{
    struct block_extent here, below;
    struct block_node *backing = s->node->backing;
    *missing = false;
    int rc = block_status(s->node, offset, *len, &here);
    if (rc < 0)
        return rc;
    *len = here.len;
    if ((here.flags & BLOCK_STATUS_ALLOCATED) || !backing || backing == s->base)
        return 0;
    rc = block_status_above(backing, s->base, offset, *len, &below);
    if (rc < 0)
        return rc;
    *len = below.len;
    *zero = below.flags & BLOCK_STATUS_ZERO;
    *missing = (below.flags & BLOCK_STATUS_ALLOCATED) && (s->base || !*zero);
    return 0;
}

static int copy_piece(struct stream *s, uint64_t offset, uint64_t *len, bool *is_read)
{
    bool missing, zero = false;
    struct range_lock range;
    block_root_enter(s->root);
    range_lock(&s->sync.locks, &range, offset, *len);
    int rc = is_missing(s, offset, len, &missing, &zero);
    *is_read = true;
    if (rc == 0 && missing && !zero)
        rc = block_pread(s->node, offset, s->buffer, *len);
    if (rc == 0 && missing) {
        *is_read = false;
        rc = zero || buffer_is_zero(s->buffer, *len)
                 ? block_write_zeroes(s->node, offset, *len, BLOCK_UNMAP)
                 : block_pwrite(s->node, offset, s->buffer, *len, 0);
    }
    range_unlock(&s->sync.locks, &range);
    block_root_leave(s->root);
    return rc;
}

static int stream_run(struct job *job, struct kv_error *err)
{
    struct stream *s = stream_of(job);
    uint64_t size = block_size(s->node);
    atomic_store(&job->total, size);
    for (uint64_t offset = 0; offset < size;) {
        bool is_read = false;
        uint64_t len = MIN(size - offset, JOB_COPY_PIECE);
        int rc = job_throttle(job, len);
        if (rc == 0)
            rc = copy_piece(s, offset, &len, &is_read);
        if (rc < 0 && rc != -ECANCELED) {
            rc = job_io_failed(job, is_read, rc, err);
            len = rc > 0 ? len : 0;
            /* What could not be read is still needed from below. */
            s->incomplete |= rc > 0;
        }
        if (rc < 0)
            return rc;
        offset += len;
        atomic_store(&job->current, offset);
    }
    return s->incomplete ? kv_error_set(err, KV_ERR_BLOCK, EIO, "%s", strerror(EIO)) : 0;
}

static int stream_prepare(struct job *job, struct kv_error *err)
{
    struct stream *s = stream_of(job);
    const struct block_node *base = s->base;
    while (base && base->driver->is_filter)
        base = base->file;
    block_graph_begin(&s->node, 1);
    int rc = block_flush(s->node);
    if (rc < 0)
        rc = kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be flushed", s->node->name);
    if (rc == 0)
        rc = block_change_backing_file(s->node,
                                       !base             ? NULL
                                       : s->backing_file ? s->backing_file
                                                         : base->name,
                                       base ? base->driver->name : NULL, err);
    if (rc == 0)
        rc = block_set_backing(s->node, s->base, err);
    block_graph_end();
    return rc;
}

static void free_stream(struct stream *s)
{
    block_root_free(s->root);
    if (s->filter)
        block_graph_remove_filter(s->filter, NULL);
    block_close(s->filter);
    if (s->was_readonly)
        job_open_readonly(&s->job, &s->node);
    block_close(s->node);
    block_close(s->base);
    range_locks_destroy(&s->sync.locks);
    free(s->buffer);
    free(s->backing_file);
}

static void stream_clean(struct job *job, bool failed)
{
    free_stream(stream_of(job));
}

/* ------------------------------------------------------------------------ start */

static const struct job_kind stream_kind = {
    .type = JOB_STREAM,
    .run = stream_run,
    .prepare = stream_prepare,
    .clean = stream_clean,
};

static int claim_chain(struct stream *s, struct kv_error *err)
{
    int rc = 0;
    struct block_node *node = s->node;
    while (rc == 0 && node && node != s->base) {
        rc = job_claim(&s->job, node, err);
        node = node->driver->is_filter ? node->file : node->backing;
    }
    if (rc == 0 && node != s->base)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Node '%s' is not a backing image of '%s'",
                            block_node_name(s->base), block_node_name(s->node));
    return rc == 0 && s->base ? job_claim(&s->job, s->base, err) : rc;
}

static int insert_filter(struct stream *s, const char *name, struct kv_error *err)
{
    block_graph_begin(&s->node, 1);
    int rc = block_graph_insert_driver(s->node, &block_stream_driver, name, &s->filter, err);
    if (rc == 0)
        filter_mirror_connect(s->filter, NULL, &s->sync);
    block_graph_end();
    return rc;
}

static int set_up(struct stream *s, const struct stream_options *o, struct kv_error *err)
{
    s->buffer = job_copy_buffer();
    s->backing_file = o->backing_file ? strdup(o->backing_file) : NULL;
    if (!s->buffer || (o->backing_file && !s->backing_file))
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "job '%s': out of memory", s->job.id);
    int rc = claim_chain(s, err);
    bool readonly = s->node->info.readonly;
    if (rc == 0)
        rc = job_open_writable(&s->job, &s->node, o->node_fd, err);
    s->was_readonly = rc == 0 && readonly;
    if (rc == 0)
        rc = insert_filter(s, o->filter_name, err);
    if (rc == 0)
        rc = block_root_create(&s->root, s->node, NULL, 0, err);
    return rc < 0 ? rc : job_start(&s->job, err);
}

int stream_start(const struct stream_options *o, struct kv_error *err)
{
    struct job *job;
    struct job_options options = o->job;
    options.on_target_error = options.on_source_error;
    if (o->node->driver->is_filter || !o->node->driver->set_backing)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': images of format %s have no backing file to stream from",
                            o->node->name, o->node->driver->name);
    int rc = job_new(&job, sizeof(struct stream), &stream_kind, &options, err);
    if (rc < 0)
        return rc;
    struct stream *s = stream_of(job);
    range_locks_init(&s->sync.locks);
    s->node = block_ref(o->node);
    s->base = o->base ? block_ref(o->base) : NULL;
    rc = set_up(s, o, err);
    if (rc < 0) {
        free_stream(s);
        job_drop(job);
    }
    return rc;
}
