/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fast path of a queue: where a request's bytes lie, told without
 * blocking, so that the kernel's ring carries it out. Called on the queue's
 * thread. Besides reads and rewrites there are writes that fill new clusters
 * and need nothing copied: space is taken when the request is mapped, and the
 * L2 entries change when its data is written.
 */
#include <errno.h>
#include <stdlib.h>

#include "block/qcow2.h"

/* A mapped write into new clusters; its address is the token. */
struct fill {
    unsigned epoch;
    uint64_t guest, len; /* bytes that are written */
    uint64_t host;       /* of the first cluster */
    struct qcow2_inflight inflight;
    struct qcow2_l2_ref ref;
};

/* Other mapped requests have only their epoch to give back. */
static void *epoch_token(unsigned epoch)
{
    return (void *)(uintptr_t)(1 + 2 * (epoch & 1));
}

static bool is_epoch_token(const void *token)
{
    return (uintptr_t)token & 1;
}

/* ---------------------------------------------------------------- what is there */

/* Whether all of a request is one run in the cache. Under lock. */
static bool find_whole(struct qcow2 *s, uint64_t offset, uint64_t len, struct qcow2_run *run)
{
    if (!qcow2_lookup_cached(s, offset, len, run))
        return false;
    while (run->len < len) {
        struct qcow2_run next;
        if (!qcow2_lookup_cached(s, offset + run->len, len - run->len, &next) ||
            next.kind != run->kind || next.writable != run->writable ||
            (run->kind == QCOW2_NORMAL && next.host != run->host + run->len))
            return false;
        run->len += next.len;
    }
    return true;
}

static void map_present(struct qcow2 *s, const struct block_request *request,
                        const struct qcow2_run *run, struct block_mapping *out)
{
    bool write = request->op == BLOCK_WRITE;
    if (run->kind == QCOW2_NORMAL && (!write || run->writable)) {
        if (!range_within(run->host, run->len, 0, block_size(s->file)) ||
            (write && qcow2_metadata_at(s, run->host, run->len)))
            return;
        out->kind = BLOCK_MAP_HOST;
        out->host_offset = run->host;
    } else if (!write && (run->kind == QCOW2_ZEROS ||
                          (run->kind == QCOW2_UNALLOCATED && !s->node->backing))) {
        out->kind = BLOCK_MAP_ZERO;
    }
}

/* ---------------------------------------------------------------- new clusters */

/* Nothing would have to be copied around the request. */
static bool needs_no_copy(const struct qcow2 *s, const struct block_request *request,
                          const struct qcow2_run *run, bool *fresh_only)
{
    uint64_t granule = UINT64_C(1) << s->subcluster_bits;
    *fresh_only = !IS_ALIGNED(request->offset | request->len, granule);
    return !*fresh_only || run->kind == QCOW2_ZEROS || !s->node->backing;
}

/* The pinned slice in whose entries all of the request's clusters lie. Under lock. */
static bool find_entries(struct qcow2 *s, uint64_t guest, uint64_t count, struct qcow2_l2_ref *ref)
{
    if (!qcow2_l2_peek(s, guest, ref))
        return false;
    bool whole = count <= ref->count;
    for (unsigned i = 0; whole && i < count; i++) {
        uint64_t entry = qcow2_l2_entry(s, ref, i);
        /* Neither compressed nor with a host cluster: at most a zero flag. */
        whole = (entry & ~QCOW2_ZERO) == 0;
    }
    if (!whole)
        qcow2_l2_put(s, ref);
    return whole;
}

static void map_fill(struct qcow2 *s, const struct block_request *request,
                     const struct qcow2_run *run, unsigned epoch, struct block_mapping *out)
{
    bool fresh_only;
    uint64_t first = request->offset >> s->cluster_bits;
    uint64_t count = ((request->offset + request->len - 1) >> s->cluster_bits) - first + 1;
    if ((run->kind != QCOW2_UNALLOCATED && run->kind != QCOW2_ZEROS) || run->has_host ||
        block_is_durable(s->node, request->fua) || s->l2.dirty > s->l2.limit / 2 ||
        !needs_no_copy(s, request, run, &fresh_only) ||
        qcow2_inflight_free(s, first, count) != count)
        return;
    struct fill *fill = malloc(sizeof(*fill));
    if (!fill)
        return;
    *fill = (struct fill){.epoch = epoch, .guest = request->offset, .len = request->len};
    if (!find_entries(s, request->offset, count, &fill->ref)) {
        free(fill);
        return;
    }
    if (!qcow2_alloc_cached(s, count, fresh_only, &fill->host)) {
        qcow2_l2_put(s, &fill->ref);
        free(fill);
        return;
    }
    qcow2_inflight_begin(s, &fill->inflight, first, count);
    out->kind = BLOCK_MAP_HOST;
    out->host_offset = fill->host + qcow2_in_cluster(s, request->offset);
    out->token = fill;
}

static void finish_fill(struct qcow2 *s, struct fill *fill, int result)
{
    uint64_t count = fill->inflight.count;
    unsigned epoch = fill->epoch;
    pthread_mutex_lock(&s->lock);
    if (result == 0) {
        qcow2_link(s, &fill->ref, (unsigned)count, fill->inflight.first, fill->host, fill->guest,
                   fill->guest + fill->len);
        s->data_barrier = true;
    } else {
        qcow2_refcount_add(s, fill->host >> s->cluster_bits, count, -1);
    }
    qcow2_l2_put(s, &fill->ref);
    qcow2_inflight_end(s, &fill->inflight);
    pthread_mutex_unlock(&s->lock);
    free(fill);
    qcow2_leave(s, epoch);
}

/* ---------------------------------------------------------------- border */

static void map_locked(struct qcow2 *s, const struct block_request *request, unsigned epoch,
                       struct block_mapping *out)
{
    struct qcow2_run run;
    if (!find_whole(s, request->offset, request->len, &run))
        return;
    map_present(s, request, &run, out);
    if (out->kind == BLOCK_MAP_SLOW && request->op == BLOCK_WRITE)
        map_fill(s, request, &run, epoch, out);
}

void qcow2_map(struct block_node *node, const struct block_request *request,
               struct block_mapping *out)
{
    struct qcow2 *s = qcow2_of(node);
    if (s->data != s->file || s->crypto ||
        (request->op == BLOCK_WRITE && (!atomic_load(&s->modified) || atomic_load(&s->corrupt))))
        return;
    unsigned epoch = qcow2_enter(s);
    bool write = request->op == BLOCK_WRITE;
    if (!atomic_load(&s->exclusive) && (!write || atomic_load(&s->bitmaps_ready)) &&
        pthread_mutex_trylock(&s->lock) == 0) {
        map_locked(s, request, epoch, out);
        pthread_mutex_unlock(&s->lock);
        if (write && out->kind == BLOCK_MAP_HOST)
            qcow2_track(s, request->offset, request->len);
    }
    if (out->kind != BLOCK_MAP_HOST)
        qcow2_leave(s, epoch);
    else if (!out->token)
        out->token = epoch_token(epoch);
}

void qcow2_mapped_done(struct block_node *node, void *token, int result)
{
    struct qcow2 *s = qcow2_of(node);
    if (is_epoch_token(token))
        qcow2_leave(s, (unsigned)((uintptr_t)token >> 1));
    else
        finish_fill(s, token, result);
}
