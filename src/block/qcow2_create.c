/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * New qcow2 images: checks that the options go together, lays out the first
 * metadata (header, refcount table and blocks, an empty L1 table, in this
 * order from the file's start), and measures what an image would need.
 */
#include "block/qcow2_create.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"

static const char *const compat_names[] = {"0.10", "1.1", "v2", "v3", NULL};
static const char *const preallocation_names[] = {"off", "metadata", "falloc", "full", NULL};
static const char *const compression_names[] = {"zlib", "zstd", NULL};
static const char *const crypt_names[] = {"none", "aes", "luks", NULL}; /* QCOW2_CRYPT_* */

const struct option_spec qcow2_create_options[] = {
    OPTION(SIZE, struct qcow2_create, size, .help = "Virtual disk size"),
    OPTION(STRING, struct qcow2_create, backing_file, .help = "File name of a base image"),
    OPTION(STRING, struct qcow2_create, backing_fmt, .help = "Image format of the base image"),
    OPTION(SIZE, struct qcow2_create, cluster_size, .help = "qcow2 cluster size"),
    OPTION(ENUM, struct qcow2_create, compat, .values = compat_names,
           .help = "Compatibility level (v2 [0.10] or v3 [1.1])"),
    OPTION(ENUM, struct qcow2_create, compression_type, .values = compression_names,
           .help = "Compression method used for image cluster compression"),
    OPTION(STRING, struct qcow2_create, data_file, .help = "File name of an external data file"),
    OPTION(BOOL, struct qcow2_create, data_file_raw,
           .help = "The external data file must stay valid as a raw image"),
    LUKS_OPTIONS("encrypt.", struct qcow2_create, luks),
    OPTION_NAMED("encrypt.format", ENUM, struct qcow2_create, encrypt_format, .values = crypt_names,
                 .help = "Encrypt the image, format choices: 'luks'"),
    OPTION(BOOL, struct qcow2_create, encryption,
           .help = "Not supported: the old AES encryption; see encrypt.format"),
    OPTION(BOOL, struct qcow2_create, extended_l2, .help = "Extended L2 tables"),
    OPTION(BOOL, struct qcow2_create, lazy_refcounts, .help = "Postpone refcount updates"),
    OPTION(ENUM, struct qcow2_create, preallocation, .values = preallocation_names,
           .help = "Preallocation mode (allowed values: off, metadata, falloc, full)"),
    OPTION(UINT, struct qcow2_create, refcount_bits,
           .help = "Width of a reference count entry in bits"),
    OPTION_END,
};

void qcow2_create_defaults(void *opaque)
{
    struct qcow2_create *config = opaque;
    config->compat = 1;
    config->cluster_size = KIB(64);
    config->refcount_bits = 16;
    luks_config_defaults(&config->luks);
}

/* ---------------------------------------------------------------- checking */

static bool is_power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}

/* Each row: what is asked, and why it cannot be. */
static int check_config(const struct qcow2_create *c, struct kv_error *err)
{
    bool v3 = qcow2_create_version(c) >= 3;
    const struct {
        bool refused;
        const char *why;
    } rules[] = {
        {!is_power_of_two(c->cluster_size) || c->cluster_size < 512 || c->cluster_size > MIB(2),
         "Cluster size must be a power of two between 512 and 2048k"},
        {!is_power_of_two(c->refcount_bits) || c->refcount_bits > 64,
         "Refcount width must be a power of two and may not exceed 64 bits"},
        {!v3 && c->refcount_bits != 16,
         "Different refcount widths than 16 bits require compatibility level 1.1 or above (use "
         "version=v3 or greater)"},
        {!v3 && c->lazy_refcounts,
         "Lazy refcounts only supported with compatibility level 1.1 and above (use version=v3 or "
         "greater)"},
        {!v3 && c->extended_l2,
         "Extended L2 entries are only supported with compatibility level 1.1 and above (use "
         "version=v3 or greater)"},
        {!v3 && c->data_file,
         "External data files are only supported with compatibility level 1.1 and above (use "
         "version=v3 or greater)"},
        {!v3 && c->compression_type != QCOW2_COMPRESSION_ZLIB,
         "Non-zlib compression type is only supported with compatibility level 1.1 and above (use "
         "version=v3 or greater)"},
        {c->extended_l2 && c->cluster_size < KIB(16),
         "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes"},
        {c->data_file_raw && !c->data_file, "data-file-raw requires data-file"},
        {c->data_file_raw && c->backing_file,
         "Backing file and data-file-raw cannot be used at the same time"},
        {c->backing_file && c->preallocation != QCOW2_PREALLOC_OFF && !c->extended_l2,
         "Backing file and preallocation can only be used at the same time if extended_l2 is "
         "enabled"},
        {c->encryption || c->encrypt_format == QCOW2_CRYPT_AES,
         "The old AES encryption of qcow2 is not supported; use encrypt.format=luks"},
        {c->encrypt_format == QCOW2_CRYPT_LUKS && !c->luks.key_secret,
         "Parameter 'encrypt.key-secret' is required for cipher"},
        {c->encrypt_format == QCOW2_CRYPT_NONE && c->luks.key_secret,
         "Parameter 'encrypt.format' is required for encrypt.key-secret"},
        {c->encrypt_format && c->preallocation != QCOW2_PREALLOC_OFF,
         "Preallocation of encrypted images is not supported: their zeros would have to be "
         "written; convert a raw image of zeros instead"},
        {c->encrypt_format && c->data_file_raw,
         "The data file of an encrypted image is no valid raw image"},
        {c->backing_fmt && !c->backing_file, "Backing format cannot be used without backing file"},
        {c->backing_file && strlen(c->backing_file) > QCOW2_MAX_BACKING_NAME,
         "The name of the backing file has more than 1023 bytes"},
        {c->data_file && strlen(c->data_file) > QCOW2_MAX_BACKING_NAME,
         "The name of the data file has more than 1023 bytes"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(rules); i++) {
        if (rules[i].refused)
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "%s", rules[i].why);
    }
    return 0;
}

/* ---------------------------------------------------------------- layout */

static uint64_t div_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

/* Clusters in this order from the file's start. */
struct layout {
    uint64_t reftable, refblocks, l1, total;
    uint64_t l1_entries;
};

static int plan(const struct qcow2_create *c, struct layout *out, struct kv_error *err)
{
    uint64_t cs = c->cluster_size, per_block = cs * 8 / c->refcount_bits;
    uint64_t l2_span = cs / (c->extended_l2 ? 16 : 8) * cs;
    out->l1_entries = div_up(c->size, l2_span);
    if (c->size > INT64_MAX - cs || out->l1_entries > QCOW2_MAX_L1_BYTES / 8)
        return kv_error_set(err, KV_ERR_BLOCK, EFBIG,
                            "Image size %" PRIu64 " needs a larger cluster size than %" PRIu64
                            ": up to %" PRIu64 " bytes are possible with it",
                            c->size, cs, QCOW2_MAX_L1_BYTES / 8 * l2_span);
    out->l1 = div_up(MAX(out->l1_entries, UINT64_C(1)) * 8, cs);
    out->refblocks = out->reftable = 1;
    for (;;) {
        out->total = 1 + out->reftable + out->refblocks + out->l1;
        uint64_t blocks = div_up(out->total, per_block), table = div_up(blocks * 8, cs);
        if (blocks == out->refblocks && table == out->reftable)
            return 0;
        out->refblocks = blocks;
        out->reftable = table;
    }
}

static int write_refcounts(struct qcow2 *s, const struct layout *layout)
{
    uint64_t cs = s->cluster_size, first_block = 1 + layout->reftable;
    cleanup_free uint64_t *table = calloc(layout->reftable, cs);
    cleanup_free uint8_t *block = malloc(cs);
    if (!table || !block)
        return -ENOMEM;
    uint64_t left = layout->total;
    for (uint64_t i = 0; i < layout->refblocks; i++) {
        uint64_t here = MIN(left, BIT(s->refblock_bits));
        memset(block, 0, cs);
        for (uint64_t j = 0; j < here; j++)
            qcow2_refcount_store(block, s->refcount_order, j, 1);
        left -= here;
        table[i] = htobe64((first_block + i) * cs);
        int rc = block_pwrite(s->file, (first_block + i) * cs, block, cs, 0);
        if (rc < 0)
            return rc;
    }
    return block_pwrite(s->file, cs, table, layout->reftable * cs, 0);
}

static char *copy_name(const char *name)
{
    return name && *name ? strdup(name) : NULL;
}

/* Header fields and constants as they will be read back. */
static void fill_header(struct qcow2 *s, const struct qcow2_create *c, const struct layout *layout)
{
    struct qcow2_header *h = &s->header;
    h->version = qcow2_create_version(c);
    h->cluster_bits = (uint32_t)__builtin_ctzll(c->cluster_size);
    h->size = c->size;
    h->l1_size = (uint32_t)layout->l1_entries;
    h->reftable_offset = c->cluster_size;
    h->reftable_clusters = (uint32_t)layout->reftable;
    h->l1_offset = (1 + layout->reftable + layout->refblocks) * c->cluster_size;
    h->refcount_order = (uint32_t)__builtin_ctzll(c->refcount_bits);
    h->length = h->version >= 3 ? QCOW2_V3_HEADER + 8 : QCOW2_V2_HEADER;
    h->compression_type = (uint8_t)c->compression_type;
    if (c->compression_type != QCOW2_COMPRESSION_ZLIB)
        h->incompatible |= QCOW2_INCOMPAT_COMPRESSION;
    if (c->extended_l2)
        h->incompatible |= QCOW2_INCOMPAT_EXT_L2;
    if (c->data_file)
        h->incompatible |= QCOW2_INCOMPAT_DATA_FILE;
    if (c->data_file_raw)
        h->autoclear |= QCOW2_AUTOCLEAR_RAW_DATA;
    if (c->lazy_refcounts)
        h->compatible |= QCOW2_COMPAT_LAZY_REFCOUNTS;
    s->cluster_bits = h->cluster_bits;
    s->cluster_size = c->cluster_size;
    s->refcount_order = h->refcount_order;
    s->refblock_bits = s->cluster_bits + 3 - h->refcount_order;
    s->has_data_file = c->data_file;
}

static int write_image(struct block_node *file, const struct qcow2_create *c,
                       const struct layout *layout, struct kv_error *err)
{
    struct qcow2 s = {.node = file, .file = file};
    fill_header(&s, c, layout);
    s.backing_path = copy_name(c->backing_file);
    s.backing_format = copy_name(c->backing_fmt);
    s.data_path = copy_name(c->data_file);
    int rc = write_refcounts(&s, layout);
    if (rc == 0)
        rc = block_write_zeroes(file, s.header.l1_offset,
                                MAX(layout->l1_entries * 8, UINT64_C(512)), 0);
    if (rc < 0)
        rc = kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': writing the metadata", file->name);
    /* Last, so that there is no image before it is one. */
    if (rc == 0)
        rc = qcow2_header_write(&s, err);
    qcow2_header_free(&s);
    return rc;
}

static int create_data_file(const char *path, const struct qcow2_create *c, struct kv_error *err)
{
    cleanup_free char *resolved = block_resolve_path(path, c->data_file);
    if (!resolved)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "'%s': out of memory", path);
    return block_create_file(resolved, ALIGN_UP(c->size, UINT64_C(512)), err);
}

/* The new image in use. */
static int open_new(const char *path, struct block_node **node, struct kv_error *err)
{
    const struct block_open_options options = {
        .path = path, .fd = -1, .format = "qcow2", .no_backing = true};
    return block_open(node, &options, err);
}

static int encrypt(const char *path, const struct qcow2_create *c, struct kv_error *err)
{
    struct block_node *node;
    if (c->encrypt_format == QCOW2_CRYPT_NONE)
        return 0;
    int rc = open_new(path, &node, err);
    if (rc < 0)
        return rc;
    rc = qcow2_crypto_create(qcow2_of(node), &c->luks, err);
    block_close(node);
    return rc;
}

static int preallocate(const char *path, const struct qcow2_create *c, struct kv_error *err)
{
    /* A raw data file shows what the mapping says only if everything is mapped. */
    int mode = c->preallocation == QCOW2_PREALLOC_OFF && c->data_file_raw ? QCOW2_PREALLOC_METADATA
                                                                          : c->preallocation;
    if (mode == QCOW2_PREALLOC_OFF || c->size == 0)
        return 0;
    struct block_node *node;
    int rc = open_new(path, &node, err);
    if (rc < 0)
        return rc;
    rc = qcow2_preallocate(qcow2_of(node), 0, c->size, mode, err);
    block_close(node);
    return rc;
}

int qcow2_create(const char *path, const void *opaque, struct kv_error *err)
{
    struct qcow2_create config = *(const struct qcow2_create *)opaque;
    struct layout layout;
    struct block_node *file = NULL;
    config.size = ALIGN_UP(MIN(config.size, INT64_MAX - UINT64_C(511)), UINT64_C(512));
    int rc = check_config(&config, err);
    if (rc == 0)
        rc = plan(&config, &layout, err);
    if (rc == 0)
        rc = block_create_file(path, 0, err);
    if (rc == 0 && config.data_file)
        rc = create_data_file(path, &config, err);
    if (rc < 0)
        return rc;
    const struct block_open_options options = {.path = path, .fd = -1, .format = "raw"};
    rc = block_open(&file, &options, err);
    if (rc < 0)
        return rc;
    rc = write_image(file->file, &config, &layout, err);
    block_close(file);
    if (rc == 0)
        rc = encrypt(path, &config, err);
    return rc < 0 ? rc : preallocate(path, &config, err);
}

/* ---------------------------------------------------------------- measuring */

/* Bytes of refcount table and blocks for so many other clusters. */
static uint64_t refcount_bytes(uint64_t clusters, uint64_t cluster_size, uint64_t refcount_bits)
{
    uint64_t per_block = cluster_size * 8 / refcount_bits, blocks = 0, table = 0, last;
    do {
        last = blocks + table;
        blocks = div_up(clusters + last, per_block);
        table = div_up(blocks * 8, cluster_size);
    } while (blocks + table != last);
    return last * cluster_size;
}

/* An image all of whose clusters are allocated. */
static uint64_t full_bytes(const struct qcow2_create *c, uint64_t size)
{
    uint64_t cs = c->cluster_size, entry = c->extended_l2 ? 16 : 8;
    uint64_t l2_entries = ALIGN_UP(size / cs, cs / entry);
    uint64_t l1_entries = ALIGN_UP(l2_entries * entry / cs, cs / 8);
    uint64_t meta = cs + l2_entries * entry + l1_entries * 8;
    return meta + refcount_bytes((meta + size) / cs, cs, c->refcount_bits) + size;
}

/* Bytes of clusters that the source's data fills. */
static int data_bytes(const struct qcow2_create *c, struct block_node *source, uint64_t *out)
{
    uint64_t end = 0; /* of the last cluster that was counted */
    *out = 0;
    for (uint64_t at = 0; at < block_size(source);) {
        struct block_extent extent;
        int rc = block_status_above(source, NULL, at, block_size(source) - at, &extent);
        if (rc < 0)
            return rc;
        if (!(extent.flags & BLOCK_STATUS_ZERO) && (extent.flags & BLOCK_STATUS_DATA)) {
            uint64_t from = MAX(ALIGN_DOWN(at, c->cluster_size), end);
            end = ALIGN_UP(at + extent.len, c->cluster_size);
            *out += end - MIN(from, end);
        }
        at += extent.len;
    }
    return 0;
}

int qcow2_measure(const void *opaque, struct block_node *source, struct block_measure *out,
                  struct kv_error *err)
{
    struct qcow2_create config = *(const struct qcow2_create *)opaque;
    struct layout layout;
    uint64_t data = 0;
    if (source)
        config.size = block_size(source);
    int rc = check_config(&config, err);
    if (rc == 0)
        rc = plan(&config, &layout, err);
    if (rc < 0)
        return rc;
    uint64_t size = ALIGN_UP(config.size, config.cluster_size);
    if (config.preallocation >= QCOW2_PREALLOC_FALLOC || (source && config.backing_file))
        data = size;
    else if (source)
        rc = data_bytes(&config, source, &data);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': block status", source->name);
    uint64_t full = full_bytes(&config, size), header = 0;
    if (config.encrypt_format == QCOW2_CRYPT_LUKS)
        rc = luks_header_size(&config.luks, &header, err);
    if (rc < 0)
        return rc;
    full += ALIGN_UP(header, config.cluster_size);
    *out = (struct block_measure){full - size + data, full, UINT64_MAX};
    return 0;
}
