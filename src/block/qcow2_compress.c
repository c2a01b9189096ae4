/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Compressed clusters of a qcow2 image (spec "Compressed Clusters Descriptor").
 * Reading goes through a small cache, as a guest reads a cluster in pieces.
 * Written ones are packed byte by byte: s->packing is where the next one goes.
 * Each holds a reference to every host cluster that it has bytes in. A host
 * cluster that lost one takes no more (qcow2_free() sets packing to 0).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/compress.h"
#include "block/qcow2.h"

#define CACHE_BYTES MIB(1)
#define CACHE_MAX 16u
#define SECTOR 512u

struct cached {
    uint64_t entry; /* L2 entry; 0: unused */
    uint64_t used;  /* clock of the last use */
    uint8_t *data;  /* a decompressed cluster; NULL until first used */
};

struct qcow2_compress {
    pthread_mutex_t lock; /* innermost */
    uint64_t clock;
    unsigned count;
    struct cached cached[CACHE_MAX];
};

int qcow2_compress_init(struct qcow2 *s, struct kv_error *err)
{
    int rc = compress_prepare(s->header.compression_type, err);
    if (rc < 0)
        return rc;
    s->compress = calloc(1, sizeof(*s->compress));
    if (!s->compress)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    pthread_mutex_init(&s->compress->lock, NULL);
    s->compress->count = (unsigned)MIN(MAX(CACHE_BYTES >> s->cluster_bits, 1u), CACHE_MAX);
    return 0;
}

void qcow2_compress_free(struct qcow2 *s)
{
    struct qcow2_compress *c = s->compress;
    if (!c)
        return;
    for (unsigned i = 0; i < c->count; i++)
        free(c->cached[i].data);
    pthread_mutex_destroy(&c->lock);
    free(c);
    s->compress = NULL;
}

/* ----------------------------------------------------------------- the cache */

static bool cache_lookup(struct qcow2 *s, uint64_t entry, uint8_t *buffer)
{
    struct qcow2_compress *c = s->compress;
    bool found = false;
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->count && !found; i++) {
        if (c->cached[i].entry != entry)
            continue;
        found = true;
        c->cached[i].used = ++c->clock;
        memcpy(buffer, c->cached[i].data, s->cluster_size);
    }
    pthread_mutex_unlock(&c->lock);
    return found;
}

static void cache_insert(struct qcow2 *s, uint64_t entry, const uint8_t *buffer)
{
    struct qcow2_compress *c = s->compress;
    pthread_mutex_lock(&c->lock);
    struct cached *oldest = &c->cached[0];
    for (unsigned i = 0; i < c->count; i++) {
        if (c->cached[i].entry == entry || c->cached[i].used < oldest->used)
            oldest = &c->cached[i];
        if (oldest->entry == entry)
            break;
    }
    if (!oldest->data)
        oldest->data = malloc(s->cluster_size);
    if (oldest->data) {
        memcpy(oldest->data, buffer, s->cluster_size);
        oldest->entry = entry;
        oldest->used = ++c->clock;
    }
    pthread_mutex_unlock(&c->lock);
}

/* Other bytes lie at this place from now on. */
static void cache_forget(struct qcow2 *s, uint64_t offset)
{
    struct qcow2_compress *c = s->compress;
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->count; i++) {
        uint64_t at, len;
        qcow2_compressed_place(s, c->cached[i].entry, &at, &len);
        if (c->cached[i].entry && at == offset)
            c->cached[i].entry = c->cached[i].used = 0;
    }
    pthread_mutex_unlock(&c->lock);
}

/* ------------------------------------------------------------------- reading */

int qcow2_read_compressed(struct qcow2 *s, uint64_t entry, uint8_t *buffer)
{
    uint64_t offset, len;
    if (cache_lookup(s, entry, buffer))
        return 0;
    qcow2_compressed_place(s, entry, &offset, &len);
    cleanup_free uint8_t *packed = malloc(len);
    if (!packed)
        return -ENOMEM;
    int rc = qcow2_file_read(s->file, offset, packed, len);
    if (rc == 0)
        rc = decompress_cluster(s->header.compression_type, buffer, s->cluster_size, packed, len);
    if (rc == 0)
        cache_insert(s, entry, buffer);
    return rc;
}

/* ------------------------------------------------------------------- packing */

static uint64_t cluster_of(const struct qcow2 *s, uint64_t offset)
{
    return offset >> s->cluster_bits;
}

/* Gives back the references that place_bytes() took. Under lock. */
static void unplace_bytes(struct qcow2 *s, uint64_t offset, uint64_t len)
{
    uint64_t first = cluster_of(s, offset);
    qcow2_refcount_add(s, first, cluster_of(s, offset + len - 1) - first + 1, -1);
    s->packing = 0;
}

/* Behind what was packed last, if there is room or the next host cluster is free. 1: not there. */
static int append_bytes(struct qcow2 *s, uint64_t len, uint64_t *offset)
{
    uint64_t start = s->packing, next = ALIGN_UP(start, s->cluster_size), count = 1;
    bool fresh, spills = start + len > next;
    if (start == 0)
        return 1;
    if (spills) {
        int rc = qcow2_alloc_at(s, next, &count, &fresh);
        if (rc < 0 || count == 0)
            return rc < 0 ? rc : 1;
    }
    if (start < next) { /* one more in a cluster that is used already */
        int rc = qcow2_refcount_add(s, cluster_of(s, start), 1, 1);
        if (rc < 0) {
            if (spills)
                qcow2_refcount_add(s, cluster_of(s, next), 1, -1);
            return rc == -ERANGE ? 1 : rc;
        }
    }
    *offset = start;
    return 0;
}

/* Room for len bytes, less than a cluster, referenced. Under lock. */
static int place_bytes(struct qcow2 *s, uint64_t len, uint64_t *offset)
{
    int rc = append_bytes(s, len, offset);
    if (rc == 1) {
        uint64_t count = 1;
        bool fresh;
        rc = qcow2_alloc(s, &count, offset, &fresh);
    }
    if (rc < 0)
        return rc;
    s->packing = *offset + len;
    return 0;
}

/* 0: such a place cannot be described (it lies too far back in the file). */
static uint64_t make_entry(const struct qcow2 *s, uint64_t offset, uint64_t len)
{
    unsigned shift = 62 - (s->cluster_bits - 8);
    uint64_t sectors = (offset + len - 1) / SECTOR - offset / SECTOR;
    if (offset + len > MIN(BIT(shift), QCOW2_MAX_HOST_OFFSET))
        return 0;
    return QCOW2_COMPRESSED | sectors << shift | offset;
}

/* ------------------------------------------------------------------- writing */

static int set_entry(struct qcow2 *s, uint64_t guest, uint64_t entry)
{
    struct qcow2_l2_ref ref;
    int rc = qcow2_l2_get(s, guest, true, &ref);
    if (rc < 0)
        return rc;
    uint64_t old = qcow2_l2_entry(s, &ref, 0);
    qcow2_l2_set(s, &ref, 0, entry, 0);
    s->data_barrier = true;
    qcow2_l2_put(s, &ref);
    /* Without memory to remember it, the old cluster leaks. */
    qcow2_free_entry(s, old, true);
    return 0;
}

/* Under gate, between enter and leave. -EFBIG: the place is one that no entry can describe. */
static int store_packed(struct qcow2 *s, uint64_t guest, const uint8_t *packed, uint64_t len)
{
    struct qcow2_inflight inflight;
    uint64_t offset, entry = 0;
    pthread_mutex_lock(&s->lock);
    qcow2_inflight_begin(s, &inflight, guest >> s->cluster_bits, 1);
    int rc = place_bytes(s, len, &offset);
    if (rc == 0) {
        entry = make_entry(s, offset, len);
        pthread_mutex_unlock(&s->lock);
        cache_forget(s, offset);
        rc = entry ? block_pwrite(s->file, offset, packed, len, 0) : -EFBIG;
        pthread_mutex_lock(&s->lock);
        if (rc == 0)
            rc = set_entry(s, guest, entry);
        if (rc < 0)
            unplace_bytes(s, offset, len);
    }
    qcow2_inflight_end(s, &inflight);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int write_cluster(struct qcow2 *s, uint64_t guest, uint64_t len, const struct iovec *iov,
                         unsigned count, uint64_t iov_offset, uint8_t *plain, uint8_t *packed)
{
    iov_to_buffer(iov, count, iov_offset, plain, len);
    memset(plain + len, 0, s->cluster_size - len);
    ssize_t n = compress_cluster(s->header.compression_type, packed, s->cluster_size - 1, plain,
                                 s->cluster_size);
    if (n < 0 && n != -ENOSPC)
        return (int)n;
    bool smaller = n >= 0, linked;
    pthread_rwlock_rdlock(&s->gate);
    unsigned epoch = qcow2_enter(s);
    int rc = qcow2_track(s, guest, len);
    if (rc == 0)
        rc = smaller ? store_packed(s, guest, packed, (uint64_t)n) : -EFBIG;
    if (rc == -EFBIG)
        rc = qcow2_write_range(s, guest, len, &(struct iovec){plain, len}, 1, 0, &linked);
    qcow2_leave(s, epoch);
    pthread_rwlock_unlock(&s->gate);
    return rc;
}

int qcow2_write_compressed(struct block_node *node, uint64_t offset, uint64_t len,
                           const struct iovec *iov, unsigned count)
{
    struct qcow2 *s = qcow2_of(node);
    if (s->crypto || s->has_data_file)
        return -ENOTSUP;
    if (qcow2_in_cluster(s, offset) ||
        (qcow2_in_cluster(s, len) && offset + len != block_size(node)))
        return -EINVAL;
    cleanup_free uint8_t *plain = malloc(s->cluster_size), *packed = malloc(s->cluster_size);
    if (!plain || !packed)
        return -ENOMEM;
    int rc = qcow2_prepare_write(s);
    for (uint64_t done = 0; done < len && rc == 0; done += s->cluster_size) {
        uint64_t part = MIN(len - done, s->cluster_size);
        rc = qcow2_balance(s);
        if (rc == 0)
            rc = write_cluster(s, offset + done, part, iov, count, done, plain, packed);
    }
    return rc;
}
