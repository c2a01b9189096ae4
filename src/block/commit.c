/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The job "commit": the data of layers above base goes into base. In the middle
 * of a chain nobody writes: it is copied, made durable, then the overlays of
 * top are told to stand on base. The layer that devices write to is committed
 * by a mirror into its own base (mirror.c). Until the very end each layer shows
 * what it showed before: base changes only where layers above it hide it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/graph_internal.h"
#include "block/job_copy.h"
#include "block/mirror.h"

#define OVERLAYS_MAX 64

struct commit {
    struct job job;
    struct block_node *top, *base;             /* references */
    struct block_node *overlays[OVERLAYS_MAX]; /* of top; references */
    bool overlay_was_readonly[OVERLAYS_MAX];
    unsigned overlay_count;
    struct block_root *root;
    char *backing_file;
    bool base_was_readonly;
    struct job_copy copy;
};

static struct commit *commit_of(struct job *job)
{
    return container_of(job, struct commit, job);
}

/* ------------------------------------------------------------------- the work */

/* The piece from offset on that is of one kind, copied if it is above base. *len: its length. */
static int commit_piece(struct commit *c, uint64_t offset, uint64_t *len, bool *is_read)
{
    struct block_extent extent;
    block_root_enter(c->root);
    int rc = block_status_above(c->top, c->base, offset, *len, &extent);
    *is_read = rc < 0;
    if (rc == 0) {
        *len = extent.len;
        if (extent.flags & BLOCK_STATUS_ALLOCATED)
            rc = job_copy_piece(&c->copy, offset, *len, is_read);
    }
    block_root_leave(c->root);
    return rc;
}

static int commit_run(struct job *job, struct kv_error *err)
{
    struct commit *c = commit_of(job);
    uint64_t size = block_size(c->top);
    atomic_store(&job->total, size);
    for (uint64_t offset = 0; offset < size;) {
        bool is_read = false;
        uint64_t len = MIN(size - offset, JOB_COPY_PIECE);
        int rc = job_throttle(job, len);
        if (rc == 0)
            rc = commit_piece(c, offset, &len, &is_read);
        if (rc < 0 && rc != -ECANCELED) {
            rc = job_io_failed(job, is_read, rc, err);
            /* Passed over; or tried again. */
            len = rc > 0 ? len : 0;
        }
        if (rc < 0)
            return rc;
        offset += len;
        atomic_store(&job->current, offset);
    }
    return 0;
}

static int turn_overlays(struct commit *c, struct kv_error *err)
{
    const struct block_node *base = c->base;
    while (base->driver->is_filter)
        base = base->file;
    int rc = 0;
    for (unsigned i = 0; i < c->overlay_count && rc == 0; i++) {
        struct block_node *overlay = c->overlays[i];
        rc = block_change_backing_file(overlay, c->backing_file ? c->backing_file : base->name,
                                       base->driver->name, err);
        if (rc == 0)
            rc = block_set_backing(overlay, c->base, err);
    }
    return rc;
}

static int commit_prepare(struct job *job, struct kv_error *err)
{
    struct commit *c = commit_of(job);
    block_graph_begin(&c->base, 1);
    int rc = block_flush(c->base);
    if (rc < 0)
        rc = kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be flushed", c->base->name);
    else
        rc = turn_overlays(c, err);
    block_graph_end();
    return rc;
}

/* What was so before. */
static void reopen_readonly(struct commit *c)
{
    if (c->base_was_readonly)
        job_open_readonly(&c->job, &c->base);
    for (unsigned i = 0; i < c->overlay_count; i++) {
        if (c->overlay_was_readonly[i])
            job_open_readonly(&c->job, &c->overlays[i]);
    }
}

static void free_commit(struct commit *c)
{
    for (unsigned i = 0; i < c->overlay_count; i++)
        block_close(c->overlays[i]);
    block_root_free(c->root);
    block_close(c->top);
    block_close(c->base);
    free(c->copy.buffer);
    free(c->backing_file);
}

static void commit_clean(struct job *job, bool failed)
{
    struct commit *c = commit_of(job);
    reopen_readonly(c);
    free_commit(c);
}

/* ----------------------------------------------------------------------- start */

static const struct job_kind commit_kind = {
    .type = JOB_COMMIT,
    .run = commit_run,
    .prepare = commit_prepare,
    .clean = commit_clean,
};

static struct block_node *below(const struct block_node *node)
{
    return node->driver->is_filter ? node->file : node->backing;
}

/* base lies under top; NULL: the lowest one. */
static int find_base(struct block_node *top, struct block_node **base, struct kv_error *err)
{
    struct block_node *node = top;
    while (node != *base && below(node))
        node = below(node);
    if (*base && node != *base)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s' is not in the backing chain of '%s'",
                            block_node_name(*base), block_node_name(top));
    *base = node;
    return node == top
               ? kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s' has nothing below it to commit into",
                              block_node_name(top))
               : 0;
}

struct overlays {
    const struct block_node *top;
    struct block_node **nodes;
    unsigned count;
};

static int add_overlay(void *opaque, struct block_node *node)
{
    struct overlays *o = opaque;
    if (node->backing == o->top && o->count < OVERLAYS_MAX)
        o->nodes[o->count++] = block_ref(node);
    return 0;
}

static int claim_chain(struct job *job, struct block_node *top, struct block_node *base,
                       struct kv_error *err)
{
    int rc = job_claim(job, top, err);
    for (struct block_node *node = top; rc == 0 && node != base;) {
        node = below(node);
        rc = job_claim(job, node, err);
    }
    return rc;
}

/* Writable, and large enough for what top has. *base, a reference, may become another node. */
static int open_base(struct job *job, const struct block_node *top, struct block_node **base,
                     int fd, struct kv_error *err)
{
    int rc = job_open_writable(job, base, fd, err);
    if (rc == 0 && block_size(*base) < block_size(top)) {
        block_graph_begin(base, 1);
        rc = block_resize(*base, block_size(top), err);
        block_graph_end();
    }
    return rc;
}

static int start_active(const struct commit_options *o, struct block_node *base,
                        const struct job_options *options, struct kv_error *err)
{
    struct job *job;
    if (o->backing_file)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'backing-file' specified, but 'top' is the active layer");
    int rc = mirror_new_commit(&job, options, err);
    if (rc < 0)
        return rc;
    bool was_readonly = base->info.readonly;
    base = block_ref(base);
    rc = claim_chain(job, o->top, base, err);
    if (rc == 0)
        rc = open_base(job, o->top, &base, o->base_fd, err);
    if (rc < 0)
        job_drop(job);
    else
        rc = mirror_start_commit(job, o->top, base, was_readonly, err);
    block_close(base);
    return rc;
}

static int open_overlays(struct commit *c, struct block_node **overlays, unsigned count,
                         struct kv_error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < count && rc == 0; i++) {
        bool readonly = overlays[i]->info.readonly;
        rc = job_claim(&c->job, overlays[i], err);
        if (rc < 0)
            break;
        c->overlays[c->overlay_count++] = block_ref(overlays[i]);
        rc = readonly ? job_open_writable(&c->job, &c->overlays[i], -1, err) : 0;
        c->overlay_was_readonly[i] = rc == 0 && readonly;
    }
    return rc;
}

/* With claims, to the running job. */
static int set_up(struct commit *c, const struct commit_options *o, struct block_node **overlays,
                  unsigned count, struct kv_error *err)
{
    int rc = claim_chain(&c->job, c->top, c->base, err);
    if (rc == 0)
        rc = open_overlays(c, overlays, count, err);
    bool readonly = c->base->info.readonly;
    if (rc == 0)
        rc = open_base(&c->job, c->top, &c->base, o->base_fd, err);
    c->base_was_readonly = rc == 0 && readonly;
    if (rc == 0)
        rc = block_root_create(&c->root, c->top, NULL, 0, err);
    c->copy.source = c->top;
    c->copy.target = c->base;
    return rc < 0 ? rc : job_start(&c->job, err);
}

static int start_intermediate(const struct commit_options *o, struct block_node *base,
                              const struct job_options *options, struct block_node **overlays,
                              unsigned count, struct kv_error *err)
{
    struct job *job;
    int rc = job_new(&job, sizeof(struct commit), &commit_kind, options, err);
    if (rc < 0)
        return rc;
    struct commit *c = commit_of(job);
    c->top = block_ref(o->top);
    c->base = block_ref(base);
    c->copy.buffer = job_copy_buffer();
    c->backing_file = o->backing_file ? strdup(o->backing_file) : NULL;
    if (!c->copy.buffer || (o->backing_file && !c->backing_file))
        rc = kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "job '%s': out of memory", job->id);
    if (rc == 0)
        rc = set_up(c, o, overlays, count, err);
    if (rc < 0) {
        reopen_readonly(c);
        free_commit(c);
        job_drop(job);
    }
    return rc;
}

int commit_start(const struct commit_options *o, struct kv_error *err)
{
    struct block_node *overlays[OVERLAYS_MAX], *base = o->base;
    struct overlays found = {.top = o->top, .nodes = overlays};
    struct job_options options = o->job;
    options.on_source_error = options.on_target_error;
    int rc = find_base(o->top, &base, err);
    if (rc < 0)
        return rc;
    block_nodes_each(add_overlay, &found);
    rc = found.count ? start_intermediate(o, base, &options, overlays, found.count, err)
                     : start_active(o, base, &options, err);
    while (found.count)
        block_close(overlays[--found.count]);
    return rc;
}
