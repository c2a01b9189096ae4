/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Enabled persistent bitmaps while an image is written to: their bits are
 * loaded before the first write, and the bitmaps marked in use on disk; each
 * write marks what it touches; they are stored when the image is closed or when
 * somebody wants to change them. After a crash they are known to be unusable.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "block/dirty_bitmap.h"
#include "block/qcow2_bitmap.h"

struct qcow2_tracked {
    struct qcow2_tracked *next;
    char *name;
    struct dirty_bitmap *bits;
    uint64_t granularity; /* bytes */
    bool enabled;         /* writes are recorded in it */
};

static void forget(struct qcow2 *s)
{
    while (s->tracked) {
        struct qcow2_tracked *next = s->tracked->next;
        dirty_bitmap_free(s->tracked->bits);
        free(s->tracked->name);
        free(s->tracked);
        s->tracked = next;
    }
    atomic_store(&s->bitmaps_ready, false);
}

void qcow2_bitmaps_forget(struct qcow2 *s)
{
    forget(s);
}

static int track(struct qcow2 *s, const struct qcow2_bitmap *bitmap, struct kv_error *err)
{
    struct block_bitmap_bits bits;
    int rc = qcow2_bitmap_load_bits(s, bitmap, &bits, err);
    if (rc < 0)
        return rc;
    struct qcow2_tracked *tracked = calloc(1, sizeof(*tracked));
    if (tracked) {
        tracked->name = strdup(bitmap->name);
        tracked->bits = dirty_bitmap_create(s->header.size, bits.granularity);
        tracked->granularity = bits.granularity;
        tracked->enabled = bits.enabled;
        tracked->next = s->tracked;
        s->tracked = tracked;
    }
    if (!tracked || !tracked->name || !tracked->bits)
        rc = kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory");
    else
        dirty_bitmap_load(tracked->bits, bits.bits);
    free(bits.bits);
    return rc;
}

/* disabled: those, too, that record nothing. Under bitmaps_lock. */
static int load(struct qcow2 *s, bool disabled, struct kv_error *err)
{
    struct qcow2_bitmap_list list;
    int rc = qcow2_bitmaps_load(s, &list, err);
    for (uint32_t i = 0; i < list.count && rc == 0; i++) {
        uint32_t flags = list.bitmaps[i].flags;
        if (!(flags & QCOW2_BITMAP_IN_USE) && (disabled || (flags & QCOW2_BITMAP_AUTO)))
            rc = track(s, &list.bitmaps[i], err);
    }
    if (rc == 0 && s->tracked && (rc = qcow2_bitmaps_mark_in_use(s, &list, disabled)) < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -rc, "the bitmap directory cannot be written");
    qcow2_bitmaps_free(&list);
    return rc;
}

/* Bitmaps that cannot be kept right are told to be wrong. */
static int give_up(struct qcow2 *s, const char *why)
{
    log_warning("disk '%s': its dirty bitmaps can no longer be used: %s", s->node->name, why);
    forget(s);
    pthread_mutex_lock(&s->lock);
    int rc = qcow2_header_set_features(s, s->header.incompatible, s->header.compatible,
                                       s->header.autoclear & ~QCOW2_AUTOCLEAR_BITMAPS);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int wake(struct qcow2 *s)
{
    struct kv_error why = {0};
    int rc = 0;
    pthread_mutex_lock(&s->bitmaps_lock);
    if (!atomic_load(&s->bitmaps_ready)) {
        rc = load(s, false, &why);
        if (rc < 0)
            rc = give_up(s, why.message);
        atomic_store(&s->bitmaps_ready, rc == 0);
    }
    pthread_mutex_unlock(&s->bitmaps_lock);
    return rc;
}

int qcow2_track(struct qcow2 *s, uint64_t offset, uint64_t len)
{
    int rc = atomic_load(&s->bitmaps_ready) ? 0 : wake(s);
    for (struct qcow2_tracked *t = s->tracked; rc == 0 && t; t = t->next) {
        if (t->enabled)
            dirty_bitmap_set(t->bits, offset, len);
    }
    return rc;
}

int qcow2_bitmaps_take_all(struct qcow2 *s, struct kv_error *err)
{
    int rc = qcow2_bitmaps_rest(s, err);
    if (rc == 0)
        rc = load(s, true, err);
    if (rc < 0)
        return rc;
    atomic_store(&s->bitmaps_ready, true);
    return 0;
}

int qcow2_bitmaps_resized(struct qcow2 *s)
{
    int rc = 0;
    for (struct qcow2_tracked *t = s->tracked; t; t = t->next) {
        struct dirty_bitmap *bits = dirty_bitmap_create(s->header.size, t->granularity);
        if (!bits) {
            rc = -ENOMEM;
            continue;
        }
        dirty_bitmap_merge(bits, t->bits);
        dirty_bitmap_free(t->bits);
        t->bits = bits;
    }
    return rc ? give_up(s, "out of memory") : 0;
}

/* ------------------------------------------------------------------- storing */

static const struct qcow2_tracked *find(const struct qcow2 *s, const char *name)
{
    const struct qcow2_tracked *t = s->tracked;
    while (t && strcmp(t->name, name) != 0)
        t = t->next;
    return t;
}

int qcow2_bitmap_tracked(struct qcow2 *s, const char *name, struct block_bitmap_bits *out)
{
    const struct qcow2_tracked *t = atomic_load(&s->bitmaps_ready) ? find(s, name) : NULL;
    if (!t)
        return 0;
    *out = (struct block_bitmap_bits){.granularity = t->granularity, .enabled = t->enabled};
    out->count = s->header.size / t->granularity + (s->header.size % t->granularity != 0);
    out->bits = calloc(1, dirty_bitmap_bytes(t->bits) + 1);
    if (!out->bits)
        return -ENOMEM;
    dirty_bitmap_store(t->bits, out->bits);
    return 1;
}

static int store_one(struct qcow2 *s, struct qcow2_bitmap *bitmap, const struct qcow2_tracked *t,
                     struct kv_error *err)
{
    cleanup_free uint8_t *bits = calloc(1, dirty_bitmap_bytes(t->bits) + 1);
    if (!bits)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory");
    dirty_bitmap_store(t->bits, bits);
    bitmap->flags &= ~(uint32_t)QCOW2_BITMAP_IN_USE;
    return qcow2_bitmap_write(s, bitmap, bits, err);
}

int qcow2_bitmaps_rest(struct qcow2 *s, struct kv_error *err)
{
    struct qcow2_bitmap_list list, before;
    if (!s->tracked) {
        forget(s);
        return 0;
    }
    int rc = qcow2_bitmaps_load(s, &list, err);
    if (rc < 0)
        return rc;
    /* The tables as they were: only numbers are looked at. */
    before = list;
    before.bitmaps = calloc(MAX(list.count, 1u), sizeof(*before.bitmaps));
    if (!before.bitmaps)
        rc = kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory");
    for (uint32_t i = 0; i < list.count && rc == 0; i++) {
        const struct qcow2_tracked *t = find(s, list.bitmaps[i].name);
        if (!t)
            continue;
        before.bitmaps[i] = list.bitmaps[i];
        rc = store_one(s, &list.bitmaps[i], t, err);
    }
    if (rc == 0)
        rc = qcow2_bitmaps_store(s, &list, err);
    for (uint32_t i = 0; i < list.count && rc == 0; i++) {
        if (before.bitmaps[i].table_size)
            qcow2_bitmap_release(s, &before.bitmaps[i]);
    }
    free(before.bitmaps);
    qcow2_bitmaps_free(&list);
    if (rc == 0)
        forget(s);
    return rc;
}
