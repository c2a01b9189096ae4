/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The header of a qcow2 image and its extensions: read and checked once when
 * an image is opened, written anew when something in it changes (spec
 * "Header", "Header extensions", "Feature name table").
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "block/qcow2.h"

#define FEATURE_NAME_LEN 46u
#define FEATURE_ENTRY 48u

struct feature_name {
    uint8_t type, bit; /* type 0: incompatible, 1: compatible, 2: autoclear */
    const char *name;
};

/* QEMU's names, so that its messages and ours agree. */
static const struct feature_name feature_names[] = {
    {0, 0, "dirty bit"},        {0, 1, "corrupt bit"},         {0, 2, "external data file"},
    {0, 3, "compression type"}, {0, 4, "extended L2 entries"}, {1, 0, "lazy refcounts"},
    {2, 0, "bitmaps"},          {2, 1, "raw external data"},
};

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return be32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

static void put32(uint8_t *p, uint32_t v)
{
    v = htobe32(v);
    memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
}

#define FAIL(s, err, code, ...) qcow2_header_fail(s, err, code, __VA_ARGS__)

static int __attribute__((format(printf, 4, 5)))
qcow2_header_fail(const struct qcow2 *s, struct kv_error *err, int code, const char *fmt, ...)
{
    char text[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    return kv_error_set(err, KV_ERR_BLOCK, code, "'%s': %s", s->node->name, text);
}

int qcow2_check_table(const struct qcow2 *s, const char *what, uint64_t offset, uint64_t entries,
                      unsigned entry_size, uint64_t max_bytes, struct kv_error *err)
{
    if (entries > max_bytes / entry_size)
        return FAIL(s, err, EFBIG, "%s has %" PRIu64 " entries; up to %" PRIu64 " are supported",
                    what, entries, max_bytes / entry_size);
    if (offset & ((UINT64_C(1) << s->cluster_bits) - 1))
        return FAIL(s, err, EINVAL, "%s lies at %" PRIu64 ", which is no cluster's start", what,
                    offset);
    if (offset > INT64_MAX - entries * entry_size)
        return FAIL(s, err, EINVAL, "%s lies at %" PRIu64 ", beyond any file", what, offset);
    return 0;
}

/* ------------------------------------------------------------- reading */

static void decode(struct qcow2_header *h, const uint8_t *p)
{
    h->version = get32(p + 4);
    h->backing_offset = get64(p + 8);
    h->backing_size = get32(p + 16);
    h->cluster_bits = get32(p + 20);
    h->size = get64(p + 24);
    h->crypt_method = get32(p + 32);
    h->l1_size = get32(p + 36);
    h->l1_offset = get64(p + 40);
    h->reftable_offset = get64(p + 48);
    h->reftable_clusters = get32(p + 56);
    h->nb_snapshots = get32(p + 60);
    h->snapshots_offset = get64(p + 64);
    h->refcount_order = 4;
    h->length = QCOW2_V2_HEADER;
    if (h->version < 3)
        return;
    h->incompatible = get64(p + 72);
    h->compatible = get64(p + 80);
    h->autoclear = get64(p + 88);
    h->refcount_order = get32(p + 96);
    h->length = get32(p + 100);
}

/* What the rest of reading relies on: version, cluster size, header length. */
static int check_shape(struct qcow2 *s, const uint8_t *p, struct kv_error *err)
{
    struct qcow2_header *h = &s->header;
    if (get32(p) != QCOW2_MAGIC)
        return FAIL(s, err, EINVAL, "not a qcow2 image: it does not begin with QFI\\xfb");
    if (get32(p + 4) != 2 && get32(p + 4) != 3)
        return FAIL(s, err, ENOTSUP, "header says version %u; versions 2 and 3 are supported",
                    get32(p + 4));
    decode(h, p);
    if (h->cluster_bits < QCOW2_MIN_CLUSTER_BITS || h->cluster_bits > QCOW2_MAX_CLUSTER_BITS)
        return FAIL(s, err, EINVAL,
                    "cluster_bits is %u; %u (512 bytes) to %u (2 MiB) are supported",
                    h->cluster_bits, QCOW2_MIN_CLUSTER_BITS, QCOW2_MAX_CLUSTER_BITS);
    s->cluster_bits = h->cluster_bits;
    s->cluster_size = UINT64_C(1) << h->cluster_bits;
    if (h->version == 3 &&
        (h->length < QCOW2_V3_HEADER || h->length > s->cluster_size || h->length % 8))
        return FAIL(s, err, EINVAL,
                    "header length is %u; a multiple of 8 from %u to the cluster size of %" PRIu64
                    " is expected",
                    h->length, QCOW2_V3_HEADER, s->cluster_size);
    return 0;
}

static char *copy_string(const uint8_t *p, size_t len)
{
    char *text = malloc(len + 1);
    if (!text)
        return NULL;
    memcpy(text, p, len);
    text[len] = '\0';
    return text;
}

/* One extension. 0, or -errno. */
static int read_extension(struct qcow2 *s, uint32_t type, const uint8_t *p, uint32_t len,
                          struct kv_error *err)
{
    char **text = type == QCOW2_EXT_BACKING_FORMAT ? &s->backing_format
                  : type == QCOW2_EXT_DATA_FILE    ? &s->data_path
                                                   : NULL;
    if (text) {
        if (len > QCOW2_MAX_BACKING_NAME || *text)
            return FAIL(s, err, EINVAL, "header extension %#x is %s", type,
                        *text ? "there twice" : "longer than 1023 bytes");
        *text = copy_string(p, len);
        return *text ? 0 : FAIL(s, err, ENOMEM, "out of memory");
    }
    switch (type) {
    case QCOW2_EXT_FEATURE_NAMES: /* written anew; looked at for unknown features only */
        return 0;
    case QCOW2_EXT_CRYPTO:
        if (len != 16 || s->header.crypt_method != QCOW2_CRYPT_LUKS)
            return FAIL(s, err, EINVAL,
                        "encryption header extension of %u bytes with crypt_method %u; 16 bytes "
                        "and 2 (LUKS) are expected",
                        len, s->header.crypt_method);
        s->crypto_offset = get64(p);
        s->crypto_len = get64(p + 8);
        return qcow2_check_table(s, "encryption header", s->crypto_offset, s->crypto_len, 1,
                                 MIB(32), err);
    case QCOW2_EXT_BITMAPS:
        if (len != 24)
            return FAIL(s, err, EINVAL, "bitmaps extension has %u bytes; 24 are expected", len);
        s->bitmap_count = get32(p);
        s->bitmap_directory_size = get64(p + 8);
        s->bitmap_directory_offset = get64(p + 16);
        if (s->bitmap_count == 0 || s->bitmap_count > 65535)
            return FAIL(s, err, EINVAL, "%u bitmaps; 1 to 65535 are supported", s->bitmap_count);
        return qcow2_check_table(s, "bitmap directory", s->bitmap_directory_offset,
                                 s->bitmap_directory_size, 1, MIB(64), err);
    default: {
        struct qcow2_extension *grown =
            realloc(s->extensions, (s->extension_count + 1) * sizeof(*s->extensions));
        uint8_t *data = malloc(len ? len : 1);
        if (grown)
            s->extensions = grown;
        if (!grown || !data) {
            free(data);
            return FAIL(s, err, ENOMEM, "out of memory");
        }
        memcpy(data, p, len);
        s->extensions[s->extension_count++] = (struct qcow2_extension){type, len, data};
        return 0;
    }
    }
}

/* Calls fn for each extension between the header and end. */
static int walk_extensions(struct qcow2 *s, const uint8_t *cluster, uint64_t end,
                           int (*fn)(struct qcow2 *s, uint32_t type, const uint8_t *p, uint32_t len,
                                     struct kv_error *err),
                           struct kv_error *err)
{
    uint64_t at = s->header.length;
    while (at + 8 <= end) {
        uint32_t type = get32(cluster + at), len = get32(cluster + at + 4);
        at += 8;
        if (type == QCOW2_EXT_END)
            return 0;
        if (len > end - at)
            return FAIL(s, err, EINVAL,
                        "header extension %#x of %u bytes does not fit into the header", type, len);
        int rc = fn(s, type, cluster + at, len, err);
        if (rc)
            return rc;
        at += ALIGN_UP((uint64_t)len, 8);
    }
    return 0;
}

/* For the message: the image's own names of the incompatible features that are not known here. */
static int name_unknown(struct qcow2 *s, uint32_t type, const uint8_t *p, uint32_t len,
                        struct kv_error *err)
{
    if (type != QCOW2_EXT_FEATURE_NAMES)
        return 0;
    uint64_t unknown = s->header.incompatible & ~QCOW2_INCOMPAT_KNOWN;
    char names[200] = "";
    for (uint32_t at = 0; at + FEATURE_ENTRY <= len; at += FEATURE_ENTRY) {
        if (p[at] != 0 || p[at + 1] > 63 || !(unknown & BIT(p[at + 1])))
            continue;
        size_t used = strlen(names);
        snprintf(names + used, sizeof(names) - used, "%s%.*s", used ? ", " : "",
                 (int)FEATURE_NAME_LEN, (const char *)p + at + 2);
        unknown &= ~BIT(p[at + 1]);
    }
    size_t used = strlen(names);
    if (unknown)
        snprintf(names + used, sizeof(names) - used, "%sunknown feature bits %#" PRIx64,
                 used ? ", " : "", unknown);
    return FAIL(s, err, ENOTSUP, "unsupported qcow2 feature(s): %s", names);
}

static int check_features(struct qcow2 *s, const uint8_t *cluster, uint64_t end,
                          struct kv_error *err)
{
    struct qcow2_header *h = &s->header;
    uint64_t unknown = h->incompatible & ~QCOW2_INCOMPAT_KNOWN;
    if (unknown) {
        int rc = walk_extensions(s, cluster, end, name_unknown, err);
        return rc ? rc
                  : FAIL(s, err, ENOTSUP,
                         "unsupported qcow2 feature(s): incompatible bits %#" PRIx64, unknown);
    }
    if (h->length > QCOW2_V3_HEADER)
        h->compression_type = cluster[QCOW2_V3_HEADER];
    bool compression_bit = h->incompatible & QCOW2_INCOMPAT_COMPRESSION;
    if (compression_bit != (h->compression_type != QCOW2_COMPRESSION_ZLIB))
        return FAIL(s, err, EINVAL, "compression type %u %s its feature bit", h->compression_type,
                    compression_bit ? "with" : "without");
    if (h->compression_type > QCOW2_COMPRESSION_ZSTD)
        return FAIL(s, err, ENOTSUP, "compression type %u; 0 (zlib) and 1 (zstd) are supported",
                    h->compression_type);
    if (h->refcount_order > 6)
        return FAIL(s, err, EINVAL, "refcount order is %u; up to 6 (64 bits) is possible",
                    h->refcount_order);
    s->extended_l2 = h->incompatible & QCOW2_INCOMPAT_EXT_L2;
    if (s->extended_l2 && h->cluster_bits < QCOW2_MIN_EXT_L2_CLUSTER_BITS)
        return FAIL(s, err, EINVAL,
                    "extended L2 entries with clusters of %" PRIu64 " bytes; 16 KiB are the least",
                    s->cluster_size);
    s->has_data_file = h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
    s->data_file_raw = h->autoclear & QCOW2_AUTOCLEAR_RAW_DATA;
    if (s->data_file_raw && !s->has_data_file)
        return FAIL(s, err, EINVAL, "raw external data without an external data file");
    if (h->crypt_method > QCOW2_CRYPT_LUKS)
        return FAIL(s, err, ENOTSUP, "crypt_method is %u; 0 (none) to 2 (LUKS) are defined",
                    h->crypt_method);
    return 0;
}

static void set_constants(struct qcow2 *s)
{
    const struct qcow2_header *h = &s->header;
    s->v3 = h->version >= 3;
    s->l2_entry_size = s->extended_l2 ? 16 : 8;
    s->l2_bits = s->cluster_bits - (s->extended_l2 ? 4 : 3);
    s->subcluster_bits = s->cluster_bits - (s->extended_l2 ? 5 : 0);
    s->refcount_order = h->refcount_order;
    s->refcount_max = h->refcount_order == 6 ? UINT64_MAX : BIT(1u << h->refcount_order) - 1;
    s->refblock_bits = s->cluster_bits + 3 - h->refcount_order;
    s->slice_bits = MIN(s->cluster_bits, 12u);
    s->slice_size = UINT32_C(1) << s->slice_bits;
}

static int check_tables(struct qcow2 *s, struct kv_error *err)
{
    const struct qcow2_header *h = &s->header;
    /* Each L1 entry's share of the disk must be addressable. */
    if (h->size > INT64_MAX - s->cluster_size)
        return FAIL(s, err, EFBIG, "virtual size is %" PRIu64 " bytes", h->size);
    int rc = qcow2_check_table(s, "L1 table", h->l1_offset, h->l1_size, 8, QCOW2_MAX_L1_BYTES, err);
    if (rc == 0 && h->l1_size < qcow2_l1_entries(s, h->size))
        return FAIL(s, err, EINVAL,
                    "L1 table has %u entries; %" PRIu64 " are needed for %" PRIu64 " bytes",
                    h->l1_size, qcow2_l1_entries(s, h->size), h->size);
    if (rc == 0)
        rc = qcow2_check_table(s, "refcount table", h->reftable_offset, h->reftable_clusters,
                               (unsigned)s->cluster_size, QCOW2_MAX_REFTABLE_BYTES, err);
    if (rc == 0 && (h->l1_offset == 0 && h->l1_size))
        return FAIL(s, err, EINVAL, "L1 table lies over the header");
    if (rc == 0 && (h->reftable_offset == 0 || h->reftable_clusters == 0))
        return FAIL(s, err, EINVAL, "there is no refcount table");
    if (rc == 0 && h->nb_snapshots)
        rc = qcow2_check_table(s, "snapshot table", h->snapshots_offset, h->nb_snapshots, 40,
                               QCOW2_MAX_SNAPSHOT_TABLE, err);
    if (rc == 0 && h->nb_snapshots > QCOW2_MAX_SNAPSHOTS)
        return FAIL(s, err, EFBIG, "%u snapshots; up to %u are supported", h->nb_snapshots,
                    QCOW2_MAX_SNAPSHOTS);
    if (rc == 0 && s->has_data_file && h->nb_snapshots)
        return FAIL(s, err, EINVAL, "snapshots and an external data file exclude each other");
    return rc;
}

static int read_names(struct qcow2 *s, const uint8_t *cluster, struct kv_error *err)
{
    const struct qcow2_header *h = &s->header;
    if (h->backing_offset) {
        if (h->backing_size > QCOW2_MAX_BACKING_NAME || h->backing_offset > s->cluster_size ||
            h->backing_size > s->cluster_size - h->backing_offset)
            return FAIL(s, err, EINVAL,
                        "backing file name of %u bytes at %" PRIu64
                        "; up to 1023 bytes within the first cluster are expected",
                        h->backing_size, h->backing_offset);
        if (h->backing_size) {
            s->backing_path = copy_string(cluster + h->backing_offset, h->backing_size);
            if (!s->backing_path)
                return FAIL(s, err, ENOMEM, "out of memory");
        }
        if (s->data_file_raw)
            return FAIL(s, err, EINVAL, "a backing file and raw external data exclude each other");
    }
    if (s->has_data_file || !s->data_path)
        return 0;
    return FAIL(s, err, EINVAL, "data file name without the external data file feature");
}

static int keep_tail(struct qcow2 *s, const uint8_t *cluster, struct kv_error *err)
{
    /* compression_type and its padding are ours. */
    uint32_t known = QCOW2_V3_HEADER + 8;
    if (s->header.length <= known)
        return 0;
    s->header_tail_len = s->header.length - known;
    s->header_tail = malloc(s->header_tail_len);
    if (!s->header_tail)
        return FAIL(s, err, ENOMEM, "out of memory");
    memcpy(s->header_tail, cluster + known, s->header_tail_len);
    return 0;
}

int qcow2_header_read(struct qcow2 *s, bool check, struct kv_error *err)
{
    uint8_t head[512];
    int rc = qcow2_file_read(s->file, 0, head, sizeof(head));
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': reading the header", s->node->name);
    rc = check_shape(s, head, err);
    if (rc < 0)
        return rc;
    cleanup_free uint8_t *cluster = malloc(s->cluster_size);
    if (!cluster)
        return FAIL(s, err, ENOMEM, "out of memory");
    rc = qcow2_file_read(s->file, 0, cluster, s->cluster_size);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': reading the header", s->node->name);

    uint64_t end = s->cluster_size;
    if (s->header.backing_offset >= s->header.length && s->header.backing_offset < end)
        end = s->header.backing_offset;
    rc = check_features(s, cluster, end, err);
    if (rc < 0)
        return rc;
    set_constants(s);
    rc = check_tables(s, err);
    if (rc == 0)
        rc = walk_extensions(s, cluster, end, read_extension, err);
    if (rc == 0)
        rc = read_names(s, cluster, err);
    if (rc == 0)
        rc = keep_tail(s, cluster, err);
    if (rc == 0 && s->header.crypt_method == QCOW2_CRYPT_LUKS && !s->crypto_offset)
        return FAIL(s, err, EINVAL, "encrypted with LUKS, but there is no encryption header");
    /* Without the bit the directory may be stale; it is neither used nor freed. */
    if (rc == 0 && (s->header.autoclear & QCOW2_AUTOCLEAR_BITMAPS) && !s->bitmap_count && !check)
        return FAIL(s, err, EINVAL, "marked to have bitmaps, but there is no bitmaps extension");
    return rc;
}

void qcow2_header_free(struct qcow2 *s)
{
    free(s->backing_path);
    free(s->backing_format);
    free(s->data_path);
    free(s->header_tail);
    for (unsigned i = 0; i < s->extension_count; i++)
        free(s->extensions[i].data);
    free(s->extensions);
    s->backing_path = s->backing_format = s->data_path = NULL;
    s->header_tail = NULL;
    s->header_tail_len = 0;
    s->extensions = NULL;
    s->extension_count = 0;
}

/* ------------------------------------------------------------- writing */

struct writer {
    uint8_t *cluster;
    uint64_t at, end;
    bool full;
};

static void put_extension(struct writer *w, uint32_t type, const void *data, uint32_t len)
{
    uint64_t padded = ALIGN_UP((uint64_t)len, 8);
    if (w->full || w->end - w->at < 8 + padded) {
        w->full = true;
        return;
    }
    put32(w->cluster + w->at, type);
    put32(w->cluster + w->at + 4, len);
    if (len)
        memcpy(w->cluster + w->at + 8, data, len);
    w->at += 8 + padded;
}

static void put_fixed(const struct qcow2 *s, uint8_t *p)
{
    const struct qcow2_header *h = &s->header;
    put32(p, QCOW2_MAGIC);
    put32(p + 4, h->version);
    put32(p + 20, h->cluster_bits);
    put64(p + 24, h->size);
    put32(p + 32, h->crypt_method);
    put32(p + 36, h->l1_size);
    put64(p + 40, h->l1_offset);
    put64(p + 48, h->reftable_offset);
    put32(p + 56, h->reftable_clusters);
    put32(p + 60, h->nb_snapshots);
    put64(p + 64, h->snapshots_offset);
    if (h->version < 3)
        return;
    put64(p + 72, h->incompatible);
    put64(p + 80, h->compatible);
    put64(p + 88, h->autoclear);
    put32(p + 96, h->refcount_order);
    put32(p + 100, h->length);
    if (h->length > QCOW2_V3_HEADER)
        p[QCOW2_V3_HEADER] = h->compression_type;
    if (s->header_tail_len)
        memcpy(p + QCOW2_V3_HEADER + 8, s->header_tail, s->header_tail_len);
}

static void put_feature_names(struct writer *w)
{
    uint8_t table[ARRAY_SIZE(feature_names) * FEATURE_ENTRY] = {0};
    for (unsigned i = 0; i < ARRAY_SIZE(feature_names); i++) {
        uint8_t *p = table + i * FEATURE_ENTRY;
        p[0] = feature_names[i].type;
        p[1] = feature_names[i].bit;
        memcpy(p + 2, feature_names[i].name, strlen(feature_names[i].name));
    }
    struct writer before = *w;
    put_extension(w, QCOW2_EXT_FEATURE_NAMES, table, sizeof(table));
    /* Only a help for readers: left out where a small cluster has no room. */
    if (w->full)
        *w = before;
}

static void put_extensions(const struct qcow2 *s, struct writer *w)
{
    if (s->backing_path && s->backing_format)
        put_extension(w, QCOW2_EXT_BACKING_FORMAT, s->backing_format,
                      (uint32_t)strlen(s->backing_format));
    if (s->has_data_file && s->data_path)
        put_extension(w, QCOW2_EXT_DATA_FILE, s->data_path, (uint32_t)strlen(s->data_path));
    if (s->crypto_offset) {
        uint8_t pointer[16];
        put64(pointer, s->crypto_offset);
        put64(pointer + 8, s->crypto_len);
        put_extension(w, QCOW2_EXT_CRYPTO, pointer, sizeof(pointer));
    }
    if (s->bitmap_count) {
        uint8_t bitmaps[24] = {0};
        put32(bitmaps, s->bitmap_count);
        put64(bitmaps + 8, s->bitmap_directory_size);
        put64(bitmaps + 16, s->bitmap_directory_offset);
        put_extension(w, QCOW2_EXT_BITMAPS, bitmaps, sizeof(bitmaps));
    }
    for (unsigned i = 0; i < s->extension_count; i++)
        put_extension(w, s->extensions[i].type, s->extensions[i].data, s->extensions[i].len);
}

int qcow2_header_write(struct qcow2 *s, struct kv_error *err)
{
    struct qcow2_header *h = &s->header;
    cleanup_free uint8_t *cluster = calloc(1, s->cluster_size);
    if (!cluster)
        return FAIL(s, err, ENOMEM, "out of memory");
    uint32_t backing_size = s->backing_path ? (uint32_t)strlen(s->backing_path) : 0;
    if (h->version >= 3 && h->length < QCOW2_V3_HEADER + 8)
        h->length = QCOW2_V3_HEADER + 8;
    put_fixed(s, cluster);

    struct writer w = {.cluster = cluster, .at = h->length, .end = s->cluster_size};
    uint64_t reserved = 8 + (uint64_t)backing_size; /* the end mark and the name behind it */
    if (w.end < w.at + reserved)
        w.full = true;
    else
        w.end -= reserved;
    put_extensions(s, &w);
    if (h->version >= 3)
        put_feature_names(&w);
    if (w.full)
        return FAIL(s, err, ENOSPC, "the header does not fit into a cluster of %" PRIu64 " bytes",
                    s->cluster_size);
    h->backing_size = backing_size;
    h->backing_offset = 0;
    if (s->backing_path) {
        h->backing_offset = w.at + 8;
        memcpy(cluster + h->backing_offset, s->backing_path, backing_size);
        put64(cluster + 8, h->backing_offset);
        put32(cluster + 16, backing_size);
    }
    int rc = qcow2_file_grow(s->file, s->cluster_size);
    if (rc == 0)
        rc = block_pwrite(s->file, 0, cluster, s->cluster_size, 0);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': writing the header", s->node->name);
    return 0;
}

int qcow2_header_set_features(struct qcow2 *s, uint64_t incompatible, uint64_t compatible,
                              uint64_t autoclear)
{
    uint8_t words[24];
    put64(words, incompatible);
    put64(words + 8, compatible);
    put64(words + 16, autoclear);
    int rc = block_pwrite(s->file, 72, words, sizeof(words), 0);
    if (rc == 0)
        rc = block_flush(s->file);
    if (rc == 0) {
        s->header.incompatible = incompatible;
        s->header.compatible = compatible;
        s->header.autoclear = autoclear;
    }
    return rc;
}

/* ------------------------------------------------------- another backing file */

/*
 * A header that is written as a whole may be torn by a power cut: the name of
 * the backing file often lies across sectors. So a new name is written to where
 * nothing is, and then one sector makes it the image's.
 */
#define ATOMIC 512u

struct layout {
    uint8_t first[ATOMIC]; /* as it is in the file */
    uint64_t end;          /* of the extensions */
    uint64_t format;       /* where the backing format's extension begins; 0: there is none */
    uint32_t format_len;
};

static int read_layout(struct qcow2 *s, struct layout *out)
{
    cleanup_free uint8_t *cluster = malloc(s->cluster_size);
    *out = (struct layout){.end = s->header.length};
    int rc = cluster ? qcow2_file_read(s->file, 0, cluster, s->cluster_size) : -ENOMEM;
    if (rc < 0)
        return rc;
    memcpy(out->first, cluster, ATOMIC);
    while (out->end + 8 <= s->cluster_size) {
        uint32_t type = get32(cluster + out->end), len = get32(cluster + out->end + 4);
        if (type == QCOW2_EXT_BACKING_FORMAT) {
            out->format = out->end;
            out->format_len = len;
        }
        out->end += 8;
        if (type == QCOW2_EXT_END)
            break;
        out->end += ALIGN_UP((uint64_t)len, 8);
    }
    return 0;
}

/* Where a name of len bytes touches neither the extensions nor the name of now; 0: nowhere. */
static uint64_t free_place(const struct qcow2 *s, const struct layout *layout, uint64_t len)
{
    uint64_t begin = s->header.backing_offset, end = ALIGN_UP(begin + s->header.backing_size, 8);
    if (begin < layout->end)
        return 0;
    if (len <= s->cluster_size && end <= s->cluster_size - len)
        return end;
    return layout->end + len <= begin ? layout->end : 0;
}

/* The first sector says another format; false: it has no room for that. */
static bool patch_format(struct layout *layout, const char *format)
{
    size_t len = format ? strlen(format) : 0;
    if (!format)
        return !layout->format; /* what is there would be wrong */
    if (!layout->format || layout->format + 8 + ALIGN_UP(len, 8) > ATOMIC ||
        ALIGN_UP(len, 8) != ALIGN_UP((size_t)layout->format_len, 8))
        return false;
    put32(layout->first + layout->format + 4, (uint32_t)len);
    memset(layout->first + layout->format + 8, 0, ALIGN_UP(len, 8));
    memcpy(layout->first + layout->format + 8, format, len);
    return true;
}

int qcow2_header_switch_backing(struct qcow2 *s, const char *path, const char *format, bool *done)
{
    struct layout layout;
    uint64_t len = path ? strlen(path) : 0, place = 0;
    if (!s->header.backing_offset || s->cluster_size <= ATOMIC)
        return 0;
    int rc = read_layout(s, &layout);
    if (rc < 0)
        return rc;
    if (path) {
        place = free_place(s, &layout, len);
        if (!place || !patch_format(&layout, format))
            return 0;
        rc = block_pwrite(s->file, place, path, len, 0);
        if (rc == 0)
            rc = block_flush(s->file);
    }
    put64(layout.first + 8, place);
    put32(layout.first + 16, (uint32_t)len);
    if (rc == 0)
        rc = block_pwrite(s->file, 0, layout.first, ATOMIC, 0);
    if (rc < 0)
        return rc;
    s->header.backing_offset = place;
    s->header.backing_size = (uint32_t)len;
    *done = true;
    return 0;
}
