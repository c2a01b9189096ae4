/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Opens images for all commands, says in qemu-img's words why one cannot be opened. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/description.h"
#include "block/secret.h"
#include "block/tls_creds.h"
#include "img/img.h"

int img_parse_cache(const char *what, const char *text, enum block_cache *out)
{
    static const struct {
        const char *name;
        enum block_cache cache;
    } modes[] = {
        {"none", BLOCK_CACHE_NONE},
        {"off", BLOCK_CACHE_NONE},
        {"writeback", BLOCK_CACHE_WRITEBACK},
        {"writethrough", BLOCK_CACHE_WRITETHROUGH},
        {"directsync", BLOCK_CACHE_DIRECTSYNC},
        {"unsafe", BLOCK_CACHE_UNSAFE},
    };
    if (!text)
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(modes); i++) {
        if (strcmp(text, modes[i].name) == 0) {
            *out = modes[i].cache;
            return 0;
        }
    }
    img_error("Invalid %s option: %s", what, text);
    return -EINVAL;
}

struct img_open img_open_from(const struct img_args *args, const char *name)
{
    return (struct img_open){.name = name,
                             .format = args->format,
                             .image_opts = args->image_opts,
                             .share = args->force_share,
                             .quiet = args->quiet,
                             .cache = BLOCK_CACHE_WRITEBACK};
}

/* Has the file itself the fault? Then the system's word for it, else 0. */
static int file_error(const struct img_open *how)
{
    const char *path = how->name, *colon = strchr(path, ':'), *slash = strchr(path, '/');
    if (strncmp(path, "file:", 5) == 0)
        path += 5;
    else if (how->image_opts || (colon && (!slash || colon < slash)))
        return 0;
    return access(path, how->writable ? R_OK | W_OK : R_OK) < 0 ? errno : 0;
}

static void say_not_opened(const struct img_open *how, const struct kv_error *err)
{
    int error = file_error(how);
    if (how->format && !block_driver_find(how->format))
        img_error("Could not open '%s': Unknown driver '%s'", how->name, how->format);
    else if (error)
        img_error("Could not open '%s': Could not open '%s': %s", how->name, how->name,
                  strerror(error));
    else if (err->code == EAGAIN)
        img_error("Could not open '%s': Failed to get %s\"write\" lock\nIs another process using "
                  "the image [%s]?",
                  how->name, how->writable ? "" : "shared ", how->name);
    else
        img_error("Could not open '%s': %s", how->name, err->message);
}

static void warn_of_probed_raw(const struct img_open *how, const struct block_node *node)
{
    if (how->format || how->image_opts || !how->writable || how->quiet ||
        strncmp(how->name, "json:", 5) == 0 || strcmp(block_format(node), "raw") != 0)
        return;
    fprintf(stderr,
            "WARNING: Image format was not specified for '%s' and probing guessed raw.\n"
            "         Automatically detecting the format is dangerous for raw images.\n"
            "         Specify the 'raw' format explicitly to say that it is meant.\n",
            how->name);
}

static json_t *describe_encrypted(const struct img_open *how)
{
    if (how->key_secret)
        return json_pack("{s:s,s:s,s:s}", "driver", how->format, "filename", how->name,
                         "key-secret", how->key_secret);
    return json_pack("{s:s,s:s,s:{s:s,s:s}}", "driver", how->format, "filename", how->name,
                     "encrypt", "format", "luks", "key-secret", how->encrypt_key_secret);
}

struct block_node *img_open_image(const struct img_open *how)
{
    struct block_open_options options = {
        .fd = -1,
        .format = how->format,
        .readonly = !how->writable,
        .cache = how->cache,
        .aio = how->aio,
        .discard = how->writable && !how->keep_discarded,
        .unlocked = how->share,
        .share_rw = how->share_rw,
        .no_backing = how->no_backing,
        .check = how->check,
        .no_io = how->no_io,
    };
    struct block_node *node = NULL;
    struct kv_error err = {0};
    json_t *description = NULL;
    int rc = 0;

    if (how->image_opts && how->format) {
        img_error("--image-opts and --format are mutually exclusive");
        return NULL;
    }
    if (how->image_opts) {
        if (!strchr(how->name, '=')) {
            img_error("Could not open '%s': Cannot find device='%s' nor node-name='%s'", how->name,
                      how->name, how->name);
            return NULL;
        }
        rc = description_from_options(&description, how->name, &err);
        options.description = description;
    } else if (how->key_secret || how->encrypt_key_secret) {
        description = describe_encrypted(how);
        options.description = description;
        options.format = NULL;
        rc = description ? 0 : kv_error_set(&err, KV_ERR_BLOCK, ENOMEM, "out of memory");
    } else {
        options.path = how->name;
    }
    if (rc == 0)
        rc = block_open(&node, &options, &err);
    json_decref(description);
    if (rc < 0) {
        say_not_opened(how, &err);
        return NULL;
    }
    warn_of_probed_raw(how, node);
    return node;
}

int img_add_objects(const struct img_list *objects)
{
    for (unsigned i = 0; i < objects->count; i++) {
        const char *text = objects->items[i].value;
        struct kv_error err = {0};
        size_t kind = strcspn(text, ",");
        if (strncmp(text, "qom-type=", 9) == 0) {
            text += 9;
            kind -= 9;
        }
        bool is_tls = strncmp(text, "tls-creds-", 10) == 0;
        if (!is_tls && (kind != strlen("secret") || strncmp(text, "secret", kind) != 0)) {
            img_error("Parameter 'qom-type' does not accept value '%.*s'", (int)kind, text);
            return -EINVAL;
        }
        int rc = is_tls ? tls_creds_add_text(text, &err) : secret_add_text(text, &err);
        if (rc < 0) {
            img_error("%s", err.message);
            return rc;
        }
    }
    return 0;
}
