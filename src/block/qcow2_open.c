/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opening and closing a qcow2 image: header, L1 and refcount tables, the
 * backing and data files, the state that everything else works on; and what
 * has to happen before the first write.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "block/description.h"
#include "block/qcow2_bitmap.h"
#include "block/qcow2_crypto.h"
#include "block/qcow2_snapshot.h"

#define SECTOR 512u
#define L2_CACHE_MAX MIB(32)
#define REFCOUNT_CACHE_MAX MIB(8)
#define CACHE_MIN KIB(64)
#define GROW_MIN MIB(4)
#define GROW_MAX MIB(64)

/* ---------------------------------------------------------------- the file */

int qcow2_file_read(struct block_node *file, uint64_t offset, void *buffer, uint64_t len)
{
    uint64_t size = block_size(file);
    uint64_t there = file->info.growable || range_within(offset, len, 0, size) ? len
                     : offset < size                                           ? size - offset
                                                                               : 0;
    memset((uint8_t *)buffer + there, 0, len - there);
    return there ? block_pread(file, offset, buffer, there) : 0;
}

int qcow2_file_grow(struct block_node *file, uint64_t end)
{
    uint64_t size = block_size(file);
    if (end <= size)
        return 0;
    if (end > INT64_MAX - GROW_MAX)
        return -EFBIG;
    uint64_t step = MIN(MAX(ALIGN_UP(size / 4, SECTOR), GROW_MIN), GROW_MAX);
    int rc = block_resize(file, MAX(ALIGN_UP(end, SECTOR), size + step), NULL);
    /* A limit of the host may be nearer than the step. */
    return rc < 0 ? block_resize(file, ALIGN_UP(end, SECTOR), NULL) : 0;
}

/* ---------------------------------------------------------------- the tables */

static int load_table(struct qcow2 *s, const char *what, uint64_t offset, uint64_t entries,
                      uint64_t **out, uint8_t **dirty, struct kv_error *err)
{
    uint64_t bytes = entries * sizeof(uint64_t);
    cleanup_free uint64_t *table = calloc(1, MAX(bytes, (uint64_t)SECTOR));
    cleanup_free uint8_t *flags = calloc(1, bytes / SECTOR + 1);
    if (!table || !flags)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    int rc = qcow2_file_read(s->file, offset, table, bytes);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': reading the %s", s->node->name, what);
    for (uint64_t i = 0; i < entries; i++)
        table[i] = be64toh(table[i]);
    free(*out);
    free(*dirty);
    *out = take_ptr(table);
    *dirty = take_ptr(flags);
    return 0;
}

static int compare_entries(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Two entries for one block: what is allocated by one is free by the other, and a small file could
 * claim any number of clusters. */
static int find_doubles(const uint64_t *table, uint64_t entries, bool *found)
{
    uint64_t n = 0;
    *found = false;
    cleanup_free uint64_t *sorted = malloc(entries ? entries * sizeof(*sorted) : 1);
    if (!sorted)
        return -ENOMEM;
    for (uint64_t i = 0; i < entries; i++) {
        if (table[i])
            sorted[n++] = table[i];
    }
    if (n > 1)
        qsort(sorted, n, sizeof(*sorted), compare_entries);
    for (uint64_t i = 1; i < n && !*found; i++)
        *found = sorted[i] == sorted[i - 1];
    return 0;
}

static void free_list(struct qcow2_freed **list)
{
    while (*list) {
        struct qcow2_freed *next = (*list)->next;
        free(*list);
        *list = next;
    }
}

int qcow2_reload(struct qcow2 *s, struct kv_error *err)
{
    const struct qcow2_header *h = &s->header;
    pthread_mutex_lock(&s->lock);
    qcow2_cache_forget(s, &s->l2, 0, UINT64_MAX);
    qcow2_cache_forget(s, &s->refcounts, 0, UINT64_MAX);
    free_list(&s->freed);
    free_list(&s->settled);
    free_list(&s->grace);
    s->freed_clusters = 0;
    s->free_hint = 0;
    s->packing = 0;
    s->data_barrier = false;
    s->l1_dirty_any = s->reftable_dirty_any = false;
    s->reftable_entries = (uint64_t)h->reftable_clusters << (s->cluster_bits - 3);
    int rc = load_table(s, "L1 table", h->l1_offset, h->l1_size, &s->l1, &s->l1_dirty, err);
    if (rc == 0)
        rc = load_table(s, "refcount table", h->reftable_offset, s->reftable_entries, &s->reftable,
                        &s->reftable_dirty, err);
    if (rc == 0 && (rc = find_doubles(s->reftable, s->reftable_entries, &s->reftable_doubled)) < 0)
        kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", s->node->name);
    /* Only a file that gets longer by our writing is known to be empty there. */
    s->fresh_from =
        s->file->info.growable ? ALIGN_UP(block_size(s->file), s->cluster_size) : UINT64_MAX;
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---------------------------------------------------------------- options */

static int init_caches(struct qcow2 *s, const json_t *description, struct kv_error *err)
{
    uint64_t l2_need = qcow2_clusters(s, s->header.size) * s->l2_entry_size;
    uint64_t l2 = UINT64_MAX, refcounts = UINT64_MAX, both = UINT64_MAX;
    description_number(description, "l2-cache-size", &l2);
    description_number(description, "refcount-cache-size", &refcounts);
    description_number(description, "cache-size", &both);
    if (both != UINT64_MAX) {
        if (l2 != UINT64_MAX && refcounts != UINT64_MAX)
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': cache-size, l2-cache-size and refcount-cache-size may not "
                                "be set at the same time",
                                s->node->name);
        if ((l2 != UINT64_MAX && l2 > both) || (refcounts != UINT64_MAX && refcounts > both))
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': l2-cache-size and refcount-cache-size may not exceed "
                                "cache-size",
                                s->node->name);
        if (l2 == UINT64_MAX)
            l2 = refcounts != UINT64_MAX ? both - refcounts : both - both / 5;
        if (refcounts == UINT64_MAX)
            refcounts = both - l2;
    }
    if (l2 == UINT64_MAX)
        l2 = MIN(l2_need, L2_CACHE_MAX);
    if (refcounts == UINT64_MAX)
        refcounts = REFCOUNT_CACHE_MAX;
    int rc = qcow2_cache_init(s, &s->l2, MAX(l2, CACHE_MIN));
    if (rc == 0)
        rc = qcow2_cache_init(s, &s->refcounts, MAX(refcounts, CACHE_MIN));
    return rc == 0 ? 0 : kv_error_set(err, KV_ERR_BLOCK, -rc, "'%s': out of memory", s->node->name);
}

static int apply_lazy_option(struct qcow2 *s, const json_t *description, struct kv_error *err)
{
    bool on;
    s->lazy = s->header.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
    if (!description_bool(description, "lazy-refcounts", &on))
        return 0;
    if (on && !s->v3)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': lazy refcounts need version 3 (compat=1.1)", s->node->name);
    s->lazy = on;
    return 0;
}

/* ---------------------------------------------------------------- children */

static int open_data_file(struct qcow2 *s, const struct block_open_options *options,
                          struct kv_error *err)
{
    s->data = s->file;
    if (!s->has_data_file)
        return 0;
    s->data = NULL;
    const json_t *given = json_object_get(options->description, "data-file");
    if (!given && !s->data_path)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': 'data-file' is required for this image", s->node->name);
    int rc = block_open_child(&s->data, s->node, given, s->data_path, "raw", s->readonly, err);
    if (rc < 0)
        return kv_error_prefix(err, "'%s': data file", s->node->name);
    uint64_t size = ALIGN_UP(s->header.size, (uint64_t)SECTOR);
    if (!s->readonly && block_size(s->data) < size)
        rc = block_resize(s->data, size, err);
    return rc;
}

static int open_backing(struct qcow2 *s, const struct block_open_options *options,
                        struct kv_error *err)
{
    const json_t *given = json_object_get(options->description, "backing");
    bool none = options->no_backing || json_is_null(given);
    if (none || (!given && !s->backing_path))
        return 0;
    int rc = block_open_child(&s->node->backing, s->node, given, s->backing_path,
                              given ? NULL : s->backing_format, true, err);
    /* A long chain says it once. */
    return rc == -ELOOP ? rc : rc < 0 ? kv_error_prefix(err, "Could not open backing file") : 0;
}

/* ---------------------------------------------------------------- states of the image */

static int refuse_broken(struct qcow2 *s, const struct block_open_options *options,
                         struct kv_error *err)
{
    bool corrupt = s->header.incompatible & QCOW2_INCOMPAT_CORRUPT;
    s->node->info.needs_repair =
        s->header.incompatible & (QCOW2_INCOMPAT_CORRUPT | QCOW2_INCOMPAT_DIRTY);
    if (s->readonly || options->check || !corrupt)
        return 0;
    return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                        "'%s': qcow2: Image is corrupt; cannot be opened read/write",
                        s->node->name);
}

/* Refcounts of a dirty image may be too low: they are counted anew before anything is written. */
static int repair_dirty(struct qcow2 *s, const struct block_open_options *options,
                        struct kv_error *err)
{
    if (s->readonly || options->check || !(s->header.incompatible & QCOW2_INCOMPAT_DIRTY))
        return 0;
    if (!s->node->driver->check)
        return kv_error_set(err, KV_ERR_BLOCK, EACCES,
                            "'%s': the image was not closed cleanly and its refcounts must be "
                            "repaired first",
                            s->node->name);
    struct block_check_result result = {0};
    int rc = s->node->driver->check(s->node, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &result, NULL,
                                    NULL, err);
    if (rc == 0 && (result.corruptions || result.check_errors))
        return kv_error_set(err, KV_ERR_BLOCK, EIO,
                            "'%s': the image was not closed cleanly and could not be repaired",
                            s->node->name);
    if (rc == 0 && qcow2_header_set_features(s, s->header.incompatible & ~QCOW2_INCOMPAT_DIRTY,
                                             s->header.compatible, s->header.autoclear) < 0)
        return kv_error_set(err, KV_ERR_BLOCK, EIO, "'%s': marking the image clean failed",
                            s->node->name);
    s->node->info.needs_repair = false;
    return rc;
}

int qcow2_corruption(struct qcow2 *s, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    log_guest("disk '%s': qcow2: %s%s", s->node->name, text,
              s->readonly ? "" : "; the image is marked corrupt and no longer written to");
    if (s->readonly || atomic_exchange(&s->corrupt, true))
        return -EIO;
    s->node->info.needs_repair = true;
    if (s->v3)
        qcow2_header_set_features(s, s->header.incompatible | QCOW2_INCOMPAT_CORRUPT,
                                  s->header.compatible, s->header.autoclear);
    return -EIO;
}

int qcow2_prepare_write(struct qcow2 *s)
{
    if (s->readonly || atomic_load(&s->corrupt))
        return -EROFS;
    if (atomic_load(&s->modified))
        return 0;
    pthread_mutex_lock(&s->lock);
    int rc = 0;
    uint64_t incompatible = s->header.incompatible;
    /* Bitmaps stay valid: qcow2_track() keeps them. */
    uint64_t autoclear = s->header.autoclear & QCOW2_AUTOCLEAR_RAW_DATA;
    if (qcow2_bitmaps_valid(s))
        autoclear |= QCOW2_AUTOCLEAR_BITMAPS;
    if (s->lazy)
        incompatible |= QCOW2_INCOMPAT_DIRTY;
    if (s->v3 && (incompatible != s->header.incompatible || autoclear != s->header.autoclear))
        rc = qcow2_header_set_features(s, incompatible, s->header.compatible, autoclear);
    if (rc == 0)
        atomic_store(&s->modified, true);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* ---------------------------------------------------------------- open, close */

static void fill_info(struct qcow2 *s, const struct block_open_options *options)
{
    struct block_info *info = &s->node->info;
    const struct block_info *file = &s->data->info;
    bool repair = info->needs_repair;
    *info = (struct block_info){
        .request_alignment =
            s->crypto ? MAX(file->request_alignment, SECTOR) : file->request_alignment,
        .logical_block = SECTOR,
        .physical_block = file->physical_block,
        .cluster_size = (uint32_t)s->cluster_size,
        .readonly = s->readonly,
        .can_discard = options->discard && !s->readonly,
        .can_write_zeroes = !s->readonly,
        .discard_alignment = UINT32_C(1) << s->subcluster_bits,
        .volatile_cache = file->volatile_cache,
        .needs_repair = repair,
        .encrypted = s->crypto,
    };
    block_set_size(s->node, ALIGN_UP(s->header.size, (uint64_t)SECTOR));
}

static int open_checked(struct qcow2 *s, const struct block_open_options *options,
                        struct kv_error *err)
{
    int rc = qcow2_header_read(s, options->check, err);
    if (rc == 0)
        rc = refuse_broken(s, options, err);
    if (rc == 0 && !s->has_data_file)
        rc = qcow2_compress_init(s, err);
    if (rc == 0)
        rc = apply_lazy_option(s, options->description, err);
    if (rc == 0)
        rc = init_caches(s, options->description, err);
    if (rc == 0)
        rc = qcow2_reload(s, err);
    if (rc == 0)
        rc = qcow2_crypto_open(s, options, err);
    if (rc == 0)
        rc = open_data_file(s, options, err);
    if (rc < 0)
        return rc;
    fill_info(s, options);
    rc = repair_dirty(s, options, err);
    return rc < 0 ? rc : open_backing(s, options, err);
}

static void free_state(struct qcow2 *s)
{
    if (s->data != s->file)
        block_close(s->data);
    qcow2_snapshots_free(s->snapshots, s->header.nb_snapshots);
    qcow2_header_free(s);
    qcow2_compress_free(s);
    qcow2_bitmaps_forget(s);
    pthread_mutex_destroy(&s->bitmaps_lock);
    qcow2_crypto_free(s);
    qcow2_cache_free(&s->l2);
    qcow2_cache_free(&s->refcounts);
    free_list(&s->freed);
    free_list(&s->settled);
    free_list(&s->grace);
    free(s->l1);
    free(s->l1_dirty);
    free(s->reftable);
    free(s->reftable_dirty);
    pthread_cond_destroy(&s->inflight_cond);
    pthread_cond_destroy(&s->cache_cond);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->flush.cond);
    pthread_mutex_destroy(&s->flush_lock);
    pthread_rwlock_destroy(&s->gate);
    s->node->state = NULL;
    free(s);
}

int qcow2_open(struct block_node *node, const struct block_open_options *options,
               struct kv_error *err)
{
    struct qcow2 *s = calloc(1, sizeof(*s));
    if (!s)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", node->name);
    s->node = node;
    s->file = s->data = node->file;
    s->readonly = options->readonly;
    node->state = s;
    list_init(&s->inflight);
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&s->gate, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&s->flush_lock, NULL);
    pthread_cond_init(&s->flush.cond, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->bitmaps_lock, NULL);
    pthread_cond_init(&s->cache_cond, NULL);
    pthread_cond_init(&s->inflight_cond, NULL);

    int rc = open_checked(s, options, err);
    if (rc < 0)
        free_state(s);
    return rc;
}

/* The file was made longer in steps. */
static void cut_file(struct qcow2 *s)
{
    uint64_t end = MIN(s->fresh_from, block_size(s->file));
    if (s->grown && s->file->info.growable && end < block_size(s->file))
        block_resize(s->file, ALIGN_UP(end, SECTOR), NULL);
}

void qcow2_close(struct block_node *node)
{
    struct qcow2 *s = node->state;
    if (!s->readonly && atomic_load(&s->modified)) {
        struct kv_error why = {0};
        int rc = 0;
        s->lazy = false;
        if (!atomic_load(&s->corrupt) && qcow2_bitmaps_rest(s, &why) < 0)
            log_warning("disk '%s': its dirty bitmaps could not be stored: %s", node->name,
                        why.message);
        /* What the first round frees, the second writes. */
        for (int i = 0; i < 2 && rc == 0; i++)
            rc = qcow2_flush(s);
        if (rc < 0)
            log_warning("disk '%s': metadata could not be written back (errno %d)", node->name,
                        -rc);
        cut_file(s);
        if (rc == 0 && !atomic_load(&s->corrupt) && s->v3 &&
            (s->header.incompatible & QCOW2_INCOMPAT_DIRTY))
            qcow2_header_set_features(s, s->header.incompatible & ~QCOW2_INCOMPAT_DIRTY,
                                      s->header.compatible, s->header.autoclear);
    }
    free_state(s);
}
