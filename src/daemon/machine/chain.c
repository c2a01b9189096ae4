/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Opens a disk's image and all images under it, so that the monitor needs no
 * path of the host: each file becomes a set of its descriptors, and the
 * description names every layer, also where an image's header would do. What a
 * header says is believed only as far as it was written by us or named by the
 * document: a guest could have written it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "block/driver.h"
#include "daemon/machine/config.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define DEPTH_MAX 200
#define QCOW2_MAGIC "QFI\xfb"
#define QCOW2_EXTERNAL_DATA 4 /* bit of the incompatible features, at byte 72, big-endian */

struct chain {
    struct plan *plan;
    const struct machine_start *start;
    unsigned depth;
};

static int describe(struct chain *chain, const struct model_image *image, bool readonly,
                    json_t **out, struct kv_error *err);
static int describe_volume(struct chain *chain, const struct model_image *image, bool readonly,
                           json_t **out, struct kv_error *err);

/* ------------------------------------------------------------------- protocols */

static int open_file(struct chain *chain, const struct model_image *image, bool readonly, int *fd,
                     json_t **out, struct kv_error *err)
{
    json_t *path = NULL;
    *fd = open(image->path, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (*fd < 0)
        return kv_error_errno(err, KV_ERR_BLOCK, errno, "Could not open '%s'", image->path);
    fd_set_nonblocking(*fd, false);
    int rc = plan_add_file(chain->plan, *fd, image->path, &path, err);
    if (rc == 0)
        *out = json_pack("{s:s, s:o}", "driver", "file", "filename", path);
    return rc;
}

static int describe_nbd(const struct model_image *image, json_t **out, struct kv_error *err)
{
    if (image->tls)
        return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "TLS of an NBD disk");
    bool is_unix = image->transport && strcmp(image->transport, "unix") == 0;
    json_t *server = is_unix ? json_pack("{s:s, s:s}", "type", "unix", "path", image->socket)
                             : json_pack("{s:s, s:s, s:s}", "type", "inet", "host", image->host,
                                         "port", image->port ? image->port : "10809");
    *out = json_pack("{s:s, s:o}", "driver", "nbd", "server", server);
    if (*out)
        config_set_text(*out, "export", image->export);
    return *out ? 0
                : api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "an NBD disk needs host or socket");
}

/* ---------------------------------------------------------------- what is under */

/* An image whose data lies elsewhere would have the monitor open what a header names. */
static int refuse_external_data(int fd, const char *path, struct kv_error *err)
{
    uint8_t head[80];
    if (pread(fd, head, sizeof(head), 0) != sizeof(head) || memcmp(head, QCOW2_MAGIC, 4) != 0 ||
        head[7] < 3 || !(head[79] & QCOW2_EXTERNAL_DATA))
        return 0;
    return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                     "'%s' keeps its data in another file; 'kvasir-img convert' makes one of both",
                     path);
}

/* path and format are to be freed; NULL: there is no backing image, or its format is not said. */
static int read_header(const struct model_image *image, int fd, char **path, char **format,
                       struct kv_error *err)
{
    struct block_node *node;
    *path = *format = NULL;
    int rc = refuse_external_data(fd, image->path, err);
    int copy = rc < 0 ? rc : fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0)
        return rc < 0 ? rc : kv_error_errno(err, KV_ERR_BLOCK, errno, "'%s'", image->path);
    const struct block_open_options options = {
        .fd = copy,
        .format = image->format,
        .readonly = true,
        .unlocked = true,
        .no_backing = true,
        .no_io = true,
        .aio = BLOCK_AIO_THREADS,
    };
    rc = block_open(&node, &options, err);
    if (rc < 0)
        return kv_error_prefix(err, "'%s'", image->path);
    const struct block_driver *driver = node->driver;
    const char *named = driver->backing_path ? driver->backing_path(node) : NULL;
    const char *form = named && driver->backing_format ? driver->backing_format(node) : NULL;
    if (named && *named && strncmp(named, "json:", 5) == 0)
        rc = api_error(err, VIR_ERR_CONFIG_UNSUPPORTED,
                       "'%s' has a description as its backing image; <backingStore> can name it",
                       image->path);
    else if (named && *named)
        *path = block_resolve_path(image->path, named);
    if (form && *form)
        *format = strdup(form);
    block_close(node);
    return rc;
}

static int describe_named(struct chain *chain, const struct model_image *image, int fd,
                          json_t **out, struct kv_error *err)
{
    char *path, *format;
    int rc = read_header(image, fd, &path, &format, err);
    cleanup_free char *owned_path = path, *owned_format = format;
    if (rc < 0 || !path)
        return rc;
    if (!format)
        return api_error(err, VIR_ERR_OPERATION_INVALID,
                         "format of backing image '%s' of image '%s' was not specified in the "
                         "image metadata (See https://libvirt.org/kbase/backing_chains.html for "
                         "troubleshooting)",
                         path, image->path);
    const struct model_image backing = {.type = MODEL_STORAGE_FILE, .path = path, .format = format};
    if (strstr(path, "://"))
        return (*out = json_pack("{s:s, s:s}", "driver", format, "file", path))
                   ? 0
                   : api_error(err, VIR_ERR_NO_MEMORY, NULL);
    return describe(chain, &backing, true, out, err);
}

static bool has_backing(const char *format)
{
    static const char *const formats[] = {"qcow2", "qcow", "qed", "vmdk"};
    for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
        if (strcmp(formats[i], format) == 0)
            return true;
    }
    return false;
}

static int describe_backing(struct chain *chain, const struct model_image *image, int fd,
                            json_t **out, struct kv_error *err)
{
    if (image->backing)
        return describe(chain, image->backing, true, out, err);
    if (image->backing_end || fd < 0)
        return 0;
    return describe_named(chain, image, fd, out, err);
}

/* -------------------------------------------------------------------- one layer */

static int add_secret(struct chain *chain, const struct model_image *image, json_t *description,
                      struct kv_error *err)
{
    char *value = NULL, id[32];
    if (!chain->start->secret)
        return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "'%s' is encrypted", image->path);
    int rc = chain->start->secret(chain->start->opaque, &image->encryption_key, &value, err);
    if (rc < 0)
        return rc;
    snprintf(id, sizeof(id), "secret%u", chain->plan->secret_count++);
    rc = plan_add(chain->plan, "secret",
                  json_pack("{s:s, s:s, s:s}", "id", id, "data", value, "format", "base64"), err);
    explicit_bzero(value, strlen(value));
    free(value);
    if (rc == 0 && strcmp(image->format, "qcow2") == 0)
        json_object_set_new(description, "encrypt",
                            json_pack("{s:s, s:s}", "format", image->encryption, "key-secret", id));
    else if (rc == 0)
        json_object_set_new(description, "key-secret", json_string(id));
    return rc;
}

static int describe(struct chain *chain, const struct model_image *image, bool readonly,
                    json_t **out, struct kv_error *err)
{
    json_t *file = NULL, *backing = NULL;
    const char *format = image->format ? image->format : "raw";
    int fd = -1;
    if (++chain->depth > DEPTH_MAX)
        return api_error(err, VIR_ERR_OPERATION_FAILED,
                         "'%s': more than %d images over images; the backing chain is a loop",
                         image->path, DEPTH_MAX);
    if (image->type == MODEL_STORAGE_VOLUME)
        return describe_volume(chain, image, readonly, out, err);
    if (image->type != MODEL_STORAGE_NETWORK && !image->path)
        return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "a disk without a source");
    int rc = image->type == MODEL_STORAGE_NETWORK
                 ? describe_nbd(image, &file, err)
                 : open_file(chain, image, readonly, &fd, &file, err);
    if (rc == 0 && has_backing(format))
        rc = describe_backing(chain, image, fd, &backing, err);
    if (rc < 0) {
        json_decref(file);
        json_decref(backing);
        return rc;
    }
    bool encrypted = image->encryption && strcmp(image->encryption, "luks") == 0;
    const char *driver = encrypted && strcmp(format, "raw") == 0 ? "luks" : format;
    *out = json_pack("{s:s, s:o, s:b}", "driver", driver, "file", file, "read-only", readonly);
    if (has_backing(format))
        json_object_set_new(*out, "backing", backing ? backing : json_null());
    if (image->slice_size) {
        config_set_number(*out, "offset", image->slice_offset);
        config_set_number(*out, "size", image->slice_size);
    }
    rc = image->encryption ? add_secret(chain, image, *out, err) : 0;
    if (rc < 0)
        json_decref(take_ptr(*out));
    return rc;
}

static int describe_volume(struct chain *chain, const struct model_image *image, bool readonly,
                           json_t **out, struct kv_error *err)
{
    char *path = NULL;
    if (!chain->start->volume)
        return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "a volume of a storage pool");
    int rc = chain->start->volume(image->pool, image->volume, &path, err);
    struct model_image file = *image;
    file.type = MODEL_STORAGE_FILE;
    file.path = path;
    if (rc == 0)
        rc = describe(chain, &file, readonly, out, err);
    free(path);
    return rc;
}

int chain_open(struct plan *plan, const struct machine_start *start,
               const struct model_image *image, bool readonly, json_t **out, struct kv_error *err)
{
    struct chain chain = {.plan = plan, .start = start};
    return describe(&chain, image, readonly, out, err);
}
