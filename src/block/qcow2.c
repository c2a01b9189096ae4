/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The qcow2 driver's table; what each function does is in the qcow2_*.c file of its subject. */
#include <errno.h>

#include "block/drivers.h"
#include "block/qcow2_bitmap.h"
#include "block/qcow2_check.h"
#include "block/qcow2_create.h"
#include "block/qcow2_snapshot.h"

static int qcow2_probe(const uint8_t *head, size_t len, const char *name)
{
    uint32_t words[2];
    if (len < sizeof(words))
        return 0;
    memcpy(words, head, sizeof(words));
    return be32toh(words[0]) == QCOW2_MAGIC && be32toh(words[1]) >= 2 ? 100 : 0;
}

static int qcow2_get_size(struct block_node *node, uint64_t *size, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    pthread_mutex_lock(&s->lock);
    *size = ALIGN_UP(s->header.size, 512u);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static int64_t qcow2_allocated_size(const struct block_node *node)
{
    const struct qcow2 *s = qcow2_of(node);
    int64_t file = block_allocated_size(s->file);
    if (s->data == s->file || file < 0)
        return file;
    int64_t data = block_allocated_size(s->data);
    return data < 0 ? data : file + data;
}

static int qcow2_driver_flush(struct block_node *node)
{
    struct qcow2 *s = qcow2_of(node);
    pthread_rwlock_rdlock(&s->gate);
    int rc = qcow2_flush(s);
    pthread_rwlock_unlock(&s->gate);
    return rc;
}

static const char *qcow2_backing_path(const struct block_node *node)
{
    return qcow2_of(node)->backing_path;
}

static const char *qcow2_backing_format(const struct block_node *node)
{
    return qcow2_of(node)->backing_format;
}

static const struct block_key qcow2_keys[] = {
    {"backing", BLOCK_KEY_ANY},
    {"cache-size", BLOCK_KEY_NUMBER},
    {"data-file", BLOCK_KEY_ANY},
    {"encrypt.format", BLOCK_KEY_TEXT},
    {"encrypt.key-secret", BLOCK_KEY_TEXT},
    {"l2-cache-size", BLOCK_KEY_NUMBER},
    {"lazy-refcounts", BLOCK_KEY_BOOL},
    {"refcount-cache-size", BLOCK_KEY_NUMBER},
    {NULL, 0},
};

const struct block_driver block_qcow2_driver = {
    .name = "qcow2",
    .keys = qcow2_keys,
    .probe = qcow2_probe,
    .open = qcow2_open,
    .close = qcow2_close,
    .get_size = qcow2_get_size,
    .resize = qcow2_resize,
    .allocated_size = qcow2_allocated_size,
    .preadv = qcow2_preadv,
    .pwritev = qcow2_pwritev,
    .write_zeroes = qcow2_write_zeroes,
    .discard = qcow2_discard,
    .flush = qcow2_driver_flush,
    .flush_is_deep = true,
    .status = qcow2_status,
    .map = qcow2_map,
    .mapped_done = qcow2_mapped_done,
    .create_options = qcow2_create_options,
    .create_config_size = sizeof(struct qcow2_create),
    .create_defaults = qcow2_create_defaults,
    .create = qcow2_create,
    .measure = qcow2_measure,
    .amend = qcow2_amend,
    .specific_info = qcow2_specific_info,
    .backing_path = qcow2_backing_path,
    .backing_format = qcow2_backing_format,
    .set_backing = qcow2_set_backing,
    .make_empty = qcow2_make_empty,
    .check = qcow2_check,
    .snapshots = &qcow2_snapshot_ops,
    .bitmaps = &qcow2_bitmap_ops,
    .bitmaps_info = qcow2_bitmaps_info,
    .bitmap_read = qcow2_bitmap_read,
};
