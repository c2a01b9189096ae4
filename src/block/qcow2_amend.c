/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What can be asked about and changed in a qcow2 image's header: for info, amend and rebase. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "block/qcow2_create.h"

json_t *qcow2_specific_info(struct block_node *node)
{
    struct qcow2 *s = qcow2_of(node);
    const struct qcow2_header *h = &s->header;
    json_t *info = json_object();
    json_object_set_new(info, "compat", json_string(s->v3 ? "1.1" : "0.10"));
    json_object_set_new(
        info, "compression-type",
        json_string(h->compression_type == QCOW2_COMPRESSION_ZSTD ? "zstd" : "zlib"));
    if (s->v3)
        json_object_set_new(info, "lazy-refcounts",
                            json_boolean(h->compatible & QCOW2_COMPAT_LAZY_REFCOUNTS));
    json_object_set_new(info, "refcount-bits", json_integer(INT64_C(1) << s->refcount_order));
    if (s->has_data_file) {
        if (s->data_path)
            json_object_set_new(info, "data-file", json_string(s->data_path));
        json_object_set_new(info, "data-file-raw", json_boolean(s->data_file_raw));
    }
    if (s->crypto)
        json_object_set_new(info, "encrypt", qcow2_crypto_info(s));
    if (s->v3) {
        json_object_set_new(info, "corrupt",
                            json_boolean(h->incompatible & QCOW2_INCOMPAT_CORRUPT));
        json_object_set_new(info, "extended-l2", json_boolean(s->extended_l2));
    }
    return info;
}

static int replace_name(char **field, const char *name, struct kv_error *err)
{
    char *copy = name && *name ? strdup(name) : NULL;
    if (name && *name && !copy)
        return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "out of memory");
    free(*field);
    *field = copy;
    return 0;
}

int qcow2_set_backing(struct block_node *node, const char *path, const char *format,
                      struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    bool given = path && *path;
    if (given && strlen(path) > QCOW2_MAX_BACKING_NAME)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': the name of a backing file has up to 1023 bytes", node->name);
    if (given && s->data_file_raw)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Cannot set backing_file: This image uses a raw data file");
    int rc = qcow2_prepare_write(s);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be written to", node->name);
    qcow2_exclusive_begin(s);
    bool switched = false;
    rc = qcow2_header_switch_backing(s, given ? path : NULL, given ? format : NULL, &switched);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': writing the header", node->name);
    if (rc == 0)
        rc = replace_name(&s->backing_path, path, err);
    if (rc == 0)
        rc = replace_name(&s->backing_format, given ? format : NULL, err);
    if (rc == 0 && !switched)
        rc = qcow2_header_write(s, err);
    if (rc == 0)
        rc = block_flush(s->file);
    qcow2_exclusive_end(s);
    return rc;
}

/* ---------------------------------------------------------------- amend */

static int change_lazy(struct qcow2 *s, bool on, struct kv_error *err)
{
    if (!s->v3)
        return on ? kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                 "Lazy refcounts only supported with compatibility level 1.1 and "
                                 "above (use compat=1.1 or greater)")
                  : 0;
    uint64_t compatible = s->header.compatible & ~QCOW2_COMPAT_LAZY_REFCOUNTS;
    int rc = qcow2_header_set_features(s, s->header.incompatible,
                                       compatible | (on ? QCOW2_COMPAT_LAZY_REFCOUNTS : 0),
                                       s->header.autoclear);
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s': lazy refcounts", s->node->name)
                  : 0;
}

/* Another name for the data file; the open one stays. */
static int change_data_file(struct qcow2 *s, const char *path, struct kv_error *err)
{
    if (path && strlen(path) > QCOW2_MAX_BACKING_NAME)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': the name of a data file has up to 1023 bytes", s->node->name);
    int rc = replace_name(&s->data_path, path, err);
    if (rc == 0)
        rc = qcow2_header_write(s, err);
    return rc < 0 ? rc : block_flush(s->file);
}

static int upgrade(struct qcow2 *s, struct kv_error *err)
{
    if (s->v3)
        return 0;
    s->header.version = 3;
    int rc = qcow2_header_write(s, err);
    if (rc < 0) {
        s->header.version = 2;
        s->header.length = QCOW2_V2_HEADER;
        return rc;
    }
    s->v3 = true;
    rc = block_flush(s->file);
    return rc < 0 ? kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s'", s->node->name) : 0;
}

static int wanted_version(const struct qcow2 *s, const char *compat, struct kv_error *err)
{
    if (!compat)
        return (int)s->header.version;
    if (strcmp(compat, "1.1") == 0 || strcmp(compat, "v3") == 0)
        return 3;
    if (strcmp(compat, "0.10") != 0 && strcmp(compat, "v2") != 0)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Unknown compatibility level %s", compat);
    return 2;
}

/* The width in bits as its logarithm, or -errno. */
static int wanted_order(const struct qcow2 *s, const json_t *changes, int version,
                        struct kv_error *err)
{
    const json_t *given = json_object_get(changes, "refcount_bits");
    json_int_t bits = given ? json_integer_value(given) : INT64_C(1) << s->refcount_order;
    if (bits < 1 || bits > 64 || (bits & (bits - 1)))
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Refcount width must be a power of two and may not exceed 64 bits");
    if (version < 3 && bits != 16)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "Refcount widths other than 16 bits require compatibility level 1.1 or "
                            "above (use compat=1.1 or greater)");
    return __builtin_ctzll((unsigned long long)bits);
}

/* Checks everything before the first change. */
static int check_changes(struct qcow2 *s, const json_t *changes, struct kv_error *err)
{
    static const char *const known[] = {"compat",       "lazy_refcounts", "refcount_bits",
                                        "backing_file", "backing_fmt",    "size",
                                        "data_file",    "data_file_raw",  NULL};
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)changes, name, value) {
        unsigned i = 0;
        while (known[i] && strcmp(known[i], name) != 0)
            i++;
        if (!known[i])
            return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                "'%s': option '%s' cannot be changed; compat, lazy_refcounts, "
                                "refcount_bits, data_file, backing_file, backing_fmt and size can",
                                s->node->name, name);
    }
    if (json_object_get(changes, "data_file") && !s->has_data_file)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "data-file can only be set for images that use an external data file");
    const json_t *raw = json_object_get(changes, "data_file_raw");
    if (raw && json_is_true(raw) != s->data_file_raw)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "data-file-raw cannot be set on existing images");
    return wanted_version(s, json_string_value(json_object_get(changes, "compat")), err);
}

/* Options of key slots are alone. */
static int amend_keys(struct qcow2 *s, const json_t *changes, struct kv_error *err)
{
    static const char prefix[] = "encrypt.";
    const char *name;
    json_t *value, *plain = json_object();
    int rc = 0;
    json_object_foreach ((json_t *)changes, name, value) {
        if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
            rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                              "'%s': '%s' cannot be changed together with key slots", s->node->name,
                              name);
        else
            json_object_set(plain, name + sizeof(prefix) - 1, value);
    }
    if (rc == 0)
        rc = qcow2_crypto_amend(s, plain, err);
    json_decref(plain);
    return rc;
}

int qcow2_amend(struct block_node *node, const json_t *changes, struct kv_error *err)
{
    struct qcow2 *s = qcow2_of(node);
    if (json_object_get(changes, "encrypt.state"))
        return amend_keys(s, changes, err);
    const json_t *lazy = json_object_get(changes, "lazy_refcounts"),
                 *size = json_object_get(changes, "size"),
                 *data_file = json_object_get(changes, "data_file"),
                 *path = json_object_get(changes, "backing_file"),
                 *format = json_object_get(changes, "backing_fmt");
    int rc = check_changes(s, changes, err);
    if (rc < 0)
        return rc;
    int version = rc, order = wanted_order(s, changes, version, err);
    if (order < 0)
        return order;
    rc = qcow2_prepare_write(s);
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, -rc, "'%s' cannot be written to", node->name);
    qcow2_exclusive_begin(s);
    rc = version == 3 ? upgrade(s, err) : 0;
    if (rc == 0)
        rc = qcow2_change_refcounts(s, (unsigned)order, err);
    if (rc == 0 && version == 2)
        rc = qcow2_downgrade(s, err);
    if (rc == 0 && lazy)
        rc = change_lazy(s, json_is_true(lazy), err);
    if (rc == 0 && data_file)
        rc = change_data_file(s, json_string_value(data_file), err);
    qcow2_exclusive_end(s);
    if (rc == 0 && (path || format))
        rc = qcow2_set_backing(node, path ? json_string_value(path) : s->backing_path,
                               format ? json_string_value(format) : s->backing_format, err);
    if (rc == 0 && size)
        rc = block_resize(node, (uint64_t)json_integer_value(size), err);
    return rc;
}
