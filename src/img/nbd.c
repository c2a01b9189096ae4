/* SPDX-License-Identifier: GPL-2.0-or-later */
/* kvasir-img nbd: serves an image over the network, with qemu-nbd's options. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"
#include "block/nbd_serve.h"
#include "block/tls_creds.h"
#include "img/img.h"

struct nbd_args {
    struct img_args args;
    const char *port, *bind, *socket, *shared, *export_name, *description, *offset, *pid_file;
    const char *snapshot, *bitmap, *cache, *aio, *discard, *detect_zeroes, *tls_creds;
    bool persistent, verbose, readonly, allocation_depth, fork, nocache;
};

static const struct img_option nbd_options[] = {
    IMG_OPTION('p', "port", IMG_TEXT, nbd_args, port, "PORT", "TCP port (default: 10809)"),
    IMG_OPTION('b', "bind", IMG_TEXT, nbd_args, bind, "ADDRESS", "address (default: every one)"),
    IMG_OPTION('k', "socket", IMG_TEXT, nbd_args, socket, "PATH", "a unix socket instead of TCP"),
    IMG_OPTION('e', "shared", IMG_TEXT, nbd_args, shared, "N",
               "clients at a time (default: 1); 0: any number"),
    IMG_OPTION('t', "persistent", IMG_FLAG, nbd_args, persistent, NULL,
               "stay when the last client left"),
    IMG_OPTION('v', "verbose", IMG_FLAG, nbd_args, verbose, NULL, "tell more"),
    IMG_OPTION('x', "export-name", IMG_TEXT, nbd_args, export_name, "NAME",
               "name of the export (default: empty)"),
    IMG_OPTION('D', "description", IMG_TEXT, nbd_args, description, "TEXT",
               "what clients are told about it"),
    IMG_OPTION('o', "offset", IMG_TEXT, nbd_args, offset, "OFFSET",
               "serve a raw image from there on"),
    IMG_OPTION('A', "allocation-depth", IMG_FLAG, nbd_args, allocation_depth, NULL,
               "tell which image of the chain holds what"),
    IMG_OPTION('B', "bitmap", IMG_TEXT, nbd_args, bitmap, "NAME",
               "tell which ranges are dirty in this persistent bitmap"),
    IMG_OPTION('f', "format", IMG_TEXT, nbd_args, args.format, "FMT",
               "format of the image (default: found by its content)"),
    IMG_OPTION('r', "read-only", IMG_FLAG, nbd_args, readonly, NULL, "clients cannot write"),
    IMG_OPTION('l', "load-snapshot", IMG_TEXT, nbd_args, snapshot, "SNAPSHOT",
               "serve this snapshot of the image; read-only"),
    IMG_OPTION('n', "nocache", IMG_FLAG, nbd_args, nocache, NULL, "as --cache=none"),
    IMG_OPTION(0, "cache", IMG_TEXT, nbd_args, cache, "CACHE", "cache mode (default: writeback)"),
    IMG_OPTION(0, "aio", IMG_TEXT, nbd_args, aio, "AIO", "threads, native or io_uring"),
    IMG_OPTION(0, "discard", IMG_TEXT, nbd_args, discard, "ignore|unmap",
               "whether discards give space back"),
    IMG_OPTION(0, "detect-zeroes", IMG_TEXT, nbd_args, detect_zeroes, "off|on|unmap",
               "whether written zeros become holes"),
    IMG_OPTION(0, "fork", IMG_FLAG, nbd_args, fork, NULL,
               "go to the background when clients can come"),
    IMG_OPTION(0, "pid-file", IMG_TEXT, nbd_args, pid_file, "PATH",
               "write the server's process number there"),
    IMG_OPTION(0, "tls-creds", IMG_TEXT, nbd_args, tls_creds, "ID",
               "clients must use TLS, with a tls-creds object"),
    IMG_OBJECT(nbd_args),
    IMG_IMAGE_OPTS(nbd_args),
    IMG_OPTIONS_END,
};

struct served {
    const struct nbd_args *args;
    struct img_open how;
    struct block_node *node;
    struct nbd_bitmap bitmap;
};

static int detect_zeroes(struct served *served, struct kv_error *err)
{
    const char *mode = served->args->detect_zeroes;
    if (!mode || strcmp(mode, "off") == 0 || !served->how.writable)
        return 0;
    json_t *filter = json_pack("{s:s, s:s}", "driver", "detect-zeroes", "detect-zeroes", mode);
    int rc = block_insert_filter(&served->node, filter, err);
    json_decref(filter);
    return rc;
}

static int open_image(void *opaque, struct nbd_export_options *export, struct kv_error *err)
{
    struct served *served = opaque;
    served->node = img_open_image(&served->how);
    if (!served->node ||
        (served->args->snapshot && img_load_snapshot(served->node, served->args->snapshot) < 0)) {
        block_close(served->node);
        /* What was wrong is said already. */
        return kv_error_set(err, KV_ERR_BLOCK, ECANCELED, "nothing is served");
    }
    if (served->args->bitmap) {
        int rc = nbd_bitmap_open(&served->bitmap, served->node, served->args->bitmap, err);
        if (rc < 0) {
            block_close(served->node);
            return rc;
        }
        export->bitmaps = &served->bitmap;
        export->bitmap_count = 1;
    }
    int rc = detect_zeroes(served, err);
    if (rc < 0) {
        nbd_bitmap_close(&served->bitmap);
        block_close(served->node);
        return rc;
    }
    export->node = served->node;
    export->readonly = !served->how.writable;
    return 0;
}

static void close_image(void *opaque)
{
    struct served *served = opaque;
    nbd_bitmap_close(&served->bitmap);
    block_close(served->node);
    served->node = NULL;
}

/* ------------------------------------------------------------- the arguments */

/* The tls-creds object that --tls-creds names. */
static int find_credentials(const struct nbd_args *args, struct nbd_serve_options *serve)
{
    struct kv_error err = {0};
    const struct tls_creds *creds = tls_creds_find(args->tls_creds, true, &err);
    if (!creds)
        return img_error("%s", err.message);
    serve->tls = creds->psk ? NBD_SERVE_PSK : NBD_SERVE_X509;
    serve->tls_dir = creds->dir;
    serve->tls_verify_peer = creds->verify_peer;
    return IMG_OK;
}

static int parse_modes(const struct nbd_args *args, struct img_open *how)
{
    const char *cache = args->nocache ? "none" : args->cache;
    if (args->nocache && args->cache)
        return img_error("-n and --cache can only be specified once");
    if (img_parse_cache("cache", cache, &how->cache) < 0)
        return IMG_FAILED;
    if (args->aio && strcmp(args->aio, "threads") == 0)
        how->aio = BLOCK_AIO_THREADS;
    else if (args->aio && strcmp(args->aio, "io_uring") == 0)
        how->aio = BLOCK_AIO_IO_URING;
    else if (args->aio && strcmp(args->aio, "native") != 0)
        return img_error("invalid aio mode `%s'", args->aio);
    if (args->discard && strcmp(args->discard, "unmap") != 0 && strcmp(args->discard, "on") != 0 &&
        strcmp(args->discard, "ignore") != 0 && strcmp(args->discard, "off") != 0)
        return img_error("Invalid discard mode `%s'", args->discard);
    if (args->detect_zeroes && strcmp(args->detect_zeroes, "off") != 0 &&
        strcmp(args->detect_zeroes, "on") != 0 && strcmp(args->detect_zeroes, "unmap") != 0)
        return img_error("Failed to parse detect_zeroes mode: invalid value '%s'",
                         args->detect_zeroes);
    how->keep_discarded =
        !args->discard || (args->discard[0] != 'u' && strcmp(args->discard, "on") != 0);
    return IMG_OK;
}

/* -o: a window of a raw file, as a description. Allocated. */
static int describe_window(const struct nbd_args *args, struct img_open *how, char **description)
{
    uint64_t offset;
    if (img_parse_size("offset", args->offset, 0, INT64_MAX, &offset) < 0)
        return IMG_FAILED;
    if (how->image_opts || !how->format || strcmp(how->format, "raw") != 0)
        return img_error("Offset is only possible with -f raw");
    json_t *object = json_pack("{s:s,s:I,s:{s:s,s:s}}", "driver", "raw", "offset",
                               (json_int_t)offset, "file", "driver", "file", "filename", how->name);
    cleanup_free char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!text || asprintf(description, "json:%s", text) < 0)
        return img_error("'%s' cannot be written as JSON", how->name);
    how->name = *description;
    how->format = NULL;
    return IMG_OK;
}

static int serve(const struct nbd_args *args, struct nbd_serve_options *serve,
                 struct served *served)
{
    struct kv_error err = {0};
    bool is_parent = false;
    serve->open = open_image;
    serve->close = close_image;
    serve->opaque = served;
    int rc = nbd_serve(serve, &is_parent, &err);
    if (rc < 0 && err.code != ECANCELED)
        img_error("%s", err.message);
    return rc < 0 ? IMG_FAILED : IMG_OK;
}

static int run(void *opaque, char **operands, unsigned count)
{
    const struct nbd_args *args = opaque;
    struct nbd_serve_options options = {.socket = args->socket,
                                        .bind = args->bind,
                                        .port = args->port,
                                        .export_name = args->export_name,
                                        .description = args->description,
                                        .shared = 1,
                                        .persistent = args->persistent,
                                        .readonly = args->readonly || args->snapshot,
                                        .allocation_depth = args->allocation_depth,
                                        .fork = args->fork,
                                        .pid_file = args->pid_file};
    cleanup_free char *description = NULL;
    uint64_t shared = 1;
    if (count != 1)
        return img_usage_error("Invalid number of arguments");
    if (args->shared && (parse_u64(args->shared, &shared) < 0 || shared > INT32_MAX))
        return img_error("Invalid shared device number '%s'", args->shared);
    if (args->socket && args->socket[0] != '/')
        return img_error("socket path must be absolute");
    if (args->socket && (args->port || args->bind))
        return img_error("-k is for a unix socket, -b and -p are for TCP");
    options.shared = (unsigned)shared;
    if (args->verbose)
        log_level = LOG_INFO;
    struct served served = {.args = args, .how = img_open_from(&args->args, operands[0])};
    served.how.writable = !options.readonly;
    if (parse_modes(args, &served.how) != IMG_OK ||
        (args->tls_creds && find_credentials(args, &options) != IMG_OK) ||
        (args->offset && describe_window(args, &served.how, &description) != IMG_OK))
        return IMG_FAILED;
    return serve(args, &options, &served);
}

const struct img_command img_nbd = {
    .name = "nbd",
    .operands = "FILE",
    .help = "serve an image over the network (NBD)",
    .options = nbd_options,
    .args_size = sizeof(struct nbd_args),
    .run = run,
};
