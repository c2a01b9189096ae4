/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What kvasir-img bitmap does with the persistent bitmaps of a qcow2 image:
 * each change writes new clusters and a new directory, switches to it by the
 * header and then frees what was there before.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "block/qcow2_bitmap.h"

#define GRANULARITY_MIN 512u
#define GRANULARITY_MAX BIT(31)
#define DEFAULT_MIN KIB(4)
#define DEFAULT_MAX KIB(64)
#define NAME_MAX_LEN 1023u
#define COUNT_MAX 65535u
#define TYPE_DIRTY 1u

/* One change: the image is the caller's from begin() to end(). */
struct change {
    struct qcow2 *s;
    struct qcow2_bitmap_list list;
    struct qcow2_bitmap *bitmap; /* in list: the one that was asked for; NULL: not there */
    struct qcow2_bitmap before;  /* its table that is replaced; table_size 0: none */
};

static int begin(struct change *c, struct block_node *node, const char *name, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    *c = (struct change){.s = s};
    if (!s->v3)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "Cannot store dirty bitmaps in qcow2 v2 files");
    int rc = qcow2_prepare_write(s);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be written to", node->name);
    qcow2_exclusive_begin(s);
    rc = qcow2_bitmaps_rest(s, err);
    if (rc == 0)
        rc = qcow2_bitmaps_load(s, &c->list, err);
    for (uint32_t i = 0; i < c->list.count && rc == 0; i++) {
        if (strcmp(c->list.bitmaps[i].name, name) == 0)
            c->bitmap = &c->list.bitmaps[i];
    }
    if (rc < 0)
        qcow2_exclusive_end(s);
    return rc;
}

/* rc 0: the list becomes the image's. */
static int end(struct change *c, int rc, struct kv_error *err)
{
    if (rc == 0)
        rc = qcow2_bitmaps_store(c->s, &c->list, err);
    if (rc == 0 && c->before.table_size)
        qcow2_bitmap_release(c->s, &c->before);
    qcow2_bitmaps_free(&c->list);
    qcow2_exclusive_end(c->s);
    return rc;
}

/* The bitmap is there and can be used. */
static int check_usable(const struct change *c, const char *name, struct kv_error *err)
{
    if (!c->bitmap)
        return kv_error_set(err, KV_ERR_BLOCK, ENOENT, "Dirty bitmap '%s' not found", name);
    if (c->bitmap->flags & QCOW2_BITMAP_IN_USE)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Bitmap '%s' is inconsistent and cannot be used; try removing it from "
                            "disk",
                            name);
    if (c->bitmap->extra_len && !(c->bitmap->flags & QCOW2_BITMAP_EXTRA_COMPATIBLE))
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "Bitmap '%s' has extra data that is not known", name);
    return 0;
}

static int check_new(const struct change *c, const char *name, uint64_t granularity,
                     struct kv_error *err)
{
    if (c->bitmap)
        return kv_error_set(err, KV_ERR_BLOCK, EEXIST, "Bitmap already exists: %s", name);
    if (!*name || strlen(name) > NAME_MAX_LEN)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "the name of a bitmap has 1 to 1023 bytes, not %zu", strlen(name));
    if ((granularity & (granularity - 1)) || granularity < GRANULARITY_MIN ||
        granularity > GRANULARITY_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Granularity must be a power of 2 from 512 bytes to 2 GiB");
    if (c->list.count >= COUNT_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, ENOSPC,
                            "Maximum number of persistent bitmaps is already reached");
    return 0;
}

/* One more entry at the list's end. */
static int append(struct change *c, const char *name, uint64_t granularity, bool enabled,
                  struct kv_error *err)
{
    struct qcow2_bitmap *larger = realloc(c->list.bitmaps, (c->list.count + 1) * sizeof(*larger));
    char *copy = strdup(name);
    if (larger)
        c->list.bitmaps = larger;
    if (!larger || !copy) {
        free(copy);
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory");
    }
    c->bitmap = &larger[c->list.count++];
    *c->bitmap = (struct qcow2_bitmap){
        .name = copy,
        .flags = enabled ? QCOW2_BITMAP_AUTO : 0,
        .type = TYPE_DIRTY,
        .granularity_bits = (uint8_t)__builtin_ctzll(granularity),
    };
    return 0;
}

static int add(struct block_node *node, const char *name, uint32_t granularity, bool enabled,
               struct kv_error *err)
{
    struct change c;
    int rc = begin(&c, node, name, err);
    if (rc < 0)
        return rc;
    uint64_t bytes =
        granularity ? granularity : MIN(MAX(c.s->cluster_size, DEFAULT_MIN), DEFAULT_MAX);
    rc = check_new(&c, name, bytes, err);
    if (rc == 0)
        rc = append(&c, name, bytes, enabled, err);
    if (rc == 0)
        rc = qcow2_bitmap_write(c.s, c.bitmap, NULL, err);
    return end(&c, rc, err);
}

static int remove_bitmap(struct block_node *node, const char *name, struct kv_error *err)
{
    struct change c;
    int rc = begin(&c, node, name, err);
    if (rc < 0)
        return rc;
    if (!c.bitmap)
        return end(&c, check_usable(&c, name, err), err);
    c.before = *c.bitmap;
    free(c.bitmap->name);
    free(c.bitmap->extra);
    size_t behind = (size_t)(&c.list.bitmaps[c.list.count] - c.bitmap) - 1;
    memmove(c.bitmap, c.bitmap + 1, behind * sizeof(*c.bitmap));
    c.list.count--;
    return end(&c, 0, err);
}

static int clear_bitmap(struct block_node *node, const char *name, struct kv_error *err)
{
    struct change c;
    int rc = begin(&c, node, name, err);
    if (rc < 0)
        return rc;
    rc = check_usable(&c, name, err);
    if (rc == 0) {
        c.before = *c.bitmap;
        rc = qcow2_bitmap_write(c.s, c.bitmap, NULL, err);
    }
    return end(&c, rc, err);
}

static int enable(struct block_node *node, const char *name, bool enabled, struct kv_error *err)
{
    struct change c;
    int rc = begin(&c, node, name, err);
    if (rc < 0)
        return rc;
    rc = check_usable(&c, name, err);
    if (rc == 0) {
        c.bitmap->flags &= ~(uint32_t)QCOW2_BITMAP_AUTO;
        c.bitmap->flags |= enabled ? QCOW2_BITMAP_AUTO : 0;
    }
    return end(&c, rc, err);
}

/* Marks in to what is dirty in from; their granularities may differ. */
static void merge_bits(struct block_bitmap_bits *to, const struct block_bitmap_bits *from)
{
    for (uint64_t n = 0; n < from->count; n++) {
        if (!(from->bits[n / 8] >> (n % 8) & 1))
            continue;
        uint64_t first = n * from->granularity / to->granularity;
        uint64_t last = (n * from->granularity + from->granularity - 1) / to->granularity;
        for (uint64_t i = first; i <= MIN(last, to->count - 1); i++)
            to->bits[i / 8] |= (uint8_t)(1u << (i % 8));
    }
}

static int mark(struct block_node *node, const char *name, const struct block_bitmap_bits *from,
                struct kv_error *err)
{
    struct change c;
    struct block_bitmap_bits to = {0};
    int rc = node->driver->bitmap_read(node, name, &to, err);
    if (rc == 0 && from->count * from->granularity > to.count * to.granularity + from->granularity)
        rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                          "Bitmaps are of different sizes and can't be merged");
    if (rc == 0)
        rc = begin(&c, node, name, err);
    if (rc == 0) {
        merge_bits(&to, from);
        rc = check_usable(&c, name, err);
        if (rc == 0) {
            c.before = *c.bitmap;
            rc = qcow2_bitmap_write(c.s, c.bitmap, to.bits, err);
        }
        rc = end(&c, rc, err);
    }
    free(to.bits);
    return rc;
}

static int merge(struct block_node *node, const char *name, struct block_node *source,
                 const char *source_name, struct kv_error *err)
{
    struct block_bitmap_bits from = {0};
    if (!source->driver->bitmap_read)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP, "'%s': images of format %s have no bitmaps",
                            source->name, source->driver->name);
    int rc = source->driver->bitmap_read(source, source_name, &from, err);
    if (rc == 0)
        rc = mark(node, name, &from, err);
    free(from.bits);
    return rc;
}

const struct block_bitmap_ops qcow2_bitmap_ops = {
    .add = add,
    .remove = remove_bitmap,
    .clear = clear_bitmap,
    .enable = enable,
    .merge = merge,
    .mark = mark,
};

json_t *qcow2_bitmaps_info(struct block_node *node)
{
    struct qcow2 *s = qcow2_of(node);
    struct qcow2_bitmap_list list;
    pthread_rwlock_rdlock(&s->gate);
    int rc = qcow2_bitmaps_load(s, &list, NULL);
    pthread_rwlock_unlock(&s->gate);
    if (rc < 0 || list.count == 0)
        return NULL;
    json_t *all = json_array();
    for (uint32_t i = 0; i < list.count; i++) {
        const struct qcow2_bitmap *bitmap = &list.bitmaps[i];
        json_t *flags = json_array();
        if (bitmap->flags & QCOW2_BITMAP_IN_USE)
            json_array_append_new(flags, json_string("in-use"));
        if (bitmap->flags & QCOW2_BITMAP_AUTO)
            json_array_append_new(flags, json_string("auto"));
        json_array_append_new(all,
                              json_pack("{s:o,s:s,s:I}", "flags", flags, "name", bitmap->name,
                                        "granularity", (json_int_t)BIT(bitmap->granularity_bits)));
    }
    qcow2_bitmaps_free(&list);
    return all;
}
