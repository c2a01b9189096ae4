/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preallocation: clusters are mapped before they are written, so that later
 * writes change no metadata; optionally with space on the host. Called for new
 * images and for what a resize adds.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "block/qcow2_create.h"

static bool is_empty(const struct qcow2 *s, const struct qcow2_l2_ref *ref, unsigned i)
{
    return qcow2_l2_entry(s, ref, i) == 0 && qcow2_l2_bitmap(s, ref, i) == 0;
}

static int give_space(struct qcow2 *s, uint64_t host, uint64_t len, int preallocation, bool fresh)
{
    if (preallocation == QCOW2_PREALLOC_METADATA && fresh)
        return 0;
    if (preallocation != QCOW2_PREALLOC_FULL)
        return block_write_zeroes(s->data, host, len, 0);
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < len; at += BLOCK_ZEROS_SIZE)
        rc = block_pwrite(s->data, host + at, block_zeros(), MIN(len - at, BLOCK_ZEROS_SIZE), 0);
    return rc;
}

/* Unallocated clusters from *guest on, as many as lie in one slice and in the host in a row;
 * *guest moves on. Under lock. */
static int preallocate_some(struct qcow2 *s, uint64_t *guest, uint64_t end, int preallocation)
{
    struct qcow2_l2_ref ref;
    bool fresh = s->has_data_file;
    int rc = qcow2_l2_get(s, *guest, true, &ref);
    if (rc < 0)
        return rc;
    uint64_t max = MIN(qcow2_clusters(s, end - *guest), (uint64_t)ref.count), count = 0;
    while (count < max && is_empty(s, &ref, (unsigned)count))
        count++;
    if (count == 0) {
        *guest += s->cluster_size;
        qcow2_l2_put(s, &ref);
        return 0;
    }
    uint64_t host = *guest, len;
    if (!s->has_data_file)
        rc = qcow2_alloc(s, &count, &host, &fresh);
    len = count << s->cluster_bits;
    if (s->has_data_file)
        len = MIN(len, block_size(s->data) - MIN(host, block_size(s->data)));
    if (rc == 0) {
        rc = give_space(s, host, len, preallocation, fresh);
        if (rc < 0 && !s->has_data_file)
            qcow2_refcount_add(s, host >> s->cluster_bits, count, -1);
    }
    for (uint64_t i = 0; rc == 0 && i < count; i++)
        qcow2_l2_set(s, &ref, (unsigned)i, (host + (i << s->cluster_bits)) | QCOW2_COPIED, 0);
    s->data_barrier = true;
    qcow2_l2_put(s, &ref);
    *guest += count << s->cluster_bits;
    return rc;
}

int qcow2_preallocate(struct qcow2 *s, uint64_t offset, uint64_t end, int preallocation,
                      struct kv_error *err)
{
    if (s->crypto)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': clusters of encrypted images are not preallocated",
                            s->node->name);
    int rc = qcow2_prepare_write(s);
    for (uint64_t at = ALIGN_DOWN(offset, s->cluster_size); rc == 0 && at < end;) {
        pthread_mutex_lock(&s->lock);
        rc = preallocate_some(s, &at, end, preallocation);
        pthread_mutex_unlock(&s->lock);
        if (rc == 0)
            rc = qcow2_balance(s);
    }
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': Could not preallocate", s->node->name);
    return 0;
}
