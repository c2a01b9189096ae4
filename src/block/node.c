/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Nodes: found by path or description, opened with what lies under them, and
 * closed. The protocol comes from the path's beginning, the format from its
 * name or the file's first bytes.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/util.h"
#include "block/description.h"
#include "block/drivers.h"
#include "block/graph.h"
#include "block/tracker.h"

#define PROBE_SIZE 2048
#define DEPTH_MAX 200 /* nodes over nodes: a chain that goes on is a loop */

static __thread unsigned open_depth;

static const char *string_member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* ------------------------------------------------------------- the protocol */

static const struct block_driver *protocol_of_path(const char *path)
{
    const struct block_driver *driver;
    for (unsigned i = 0; (driver = block_driver_at(i)); i++) {
        const char *const *prefixes = driver->prefixes;
        for (; prefixes && *prefixes; prefixes++) {
            if (strncmp(path, *prefixes, strlen(*prefixes)) == 0)
                return driver;
        }
    }
    return &block_file_driver;
}

/* Without what others are for: names, children, and what is said anew when it is opened again. */
static json_t *members_of_its_own(const json_t *description, const struct block_driver *driver)
{
    static const char *const others[] = {
        "node-name", "file", "image", "backing", "read-only", "auto-read-only", "detect-zeroes",
    };
    json_t *own = json_copy((json_t *)description);
    for (size_t i = 0; own && i < ARRAY_SIZE(others); i++)
        json_object_del(own, others[i]);
    if (own && !driver->is_protocol)
        json_object_del(own, "filename");
    return own;
}

static struct block_node *node_new(const struct block_driver *driver,
                                   const struct block_open_options *options)
{
    struct block_node *node = calloc(1, sizeof(*node));
    if (!node)
        return NULL;
    node->driver = driver;
    node->options = *options;
    node->options.path = node->options.format = NULL;
    node->options.description = NULL;
    const char *named = string_member(options->description, "node-name");
    int rc = options->path          ? asprintf(&node->name, "%s", options->path)
             : options->description ? asprintf(&node->name, "%s",
                                               string_member(options->description, "filename")
                                                   ? string_member(options->description, "filename")
                                                   : driver->name)
                                    : asprintf(&node->name, "descriptor %d", options->fd);
    if (rc >= 0 && named && !(node->node_name = strdup(named)))
        rc = -1;
    if (rc >= 0 && options->description &&
        !(node->described = members_of_its_own(options->description, driver)))
        rc = -1;
    if (rc < 0) {
        free(node->node_name);
        free(node->name);
        free(node);
        return NULL;
    }
    list_init(&node->all);
    node->refs = 1;
    return node;
}

static void node_free(struct block_node *node)
{
    block_close(node->target);
    block_close(node->backing);
    block_close(node->file);
    block_trackers_free(node);
    json_decref(node->described);
    free(node->node_name);
    free(node->name);
    free(node);
}

static int out_of_memory(struct kv_error *err)
{
    return kv_error_set(err, KV_ERR_BLOCK, ENOMEM, "disk: out of memory");
}

/* What is open becomes known, or is closed. */
static int publish(struct block_node **out, struct block_node *node, struct kv_error *err)
{
    int rc = block_node_register(node, err);
    if (rc < 0) {
        node->driver->close(node);
        node_free(node);
        return rc;
    }
    *out = node;
    return 0;
}

static int open_protocol(struct block_node **out, const struct block_driver *driver,
                         const struct block_open_options *options, struct kv_error *err)
{
    bool by_fd = !options->path && !options->description;
    struct block_node *node =
        by_fd && driver != &block_file_driver ? NULL : node_new(driver, options);
    if (!node) {
        if (!by_fd)
            return out_of_memory(err);
        close(options->fd);
        return driver == &block_file_driver ? out_of_memory(err)
                                            : kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                                                           "a descriptor is no '%s'", driver->name);
    }
    int rc = options->description ? description_check(options->description, driver, err) : 0;
    if (rc == 0)
        rc = driver->open(node, options, err);
    if (rc < 0) {
        node_free(node);
        return rc;
    }
    return publish(out, node, err);
}

/* --------------------------------------------------------------- the format */

static const struct block_driver *probe(struct block_node *file)
{
    uint8_t head[PROBE_SIZE] = {0};
    const struct block_driver *best = &block_raw_driver;
    int best_score = 0;
    size_t len = MIN(sizeof(head), block_size(file));
    if (len && block_pread(file, 0, head, len) < 0)
        return best;
    const struct block_driver *driver;
    for (unsigned i = 0; (driver = block_driver_at(i)); i++) {
        int score = driver->probe ? driver->probe(head, len, file->name) : 0;
        if (score > best_score) {
            best = driver;
            best_score = score;
        }
    }
    return best;
}

static int find_driver(const struct block_driver **out, const char *name, struct kv_error *err)
{
    *out = block_driver_find(name);
    if (*out)
        return 0;
    char known[200] = "";
    const struct block_driver *driver;
    for (unsigned i = 0; (driver = block_driver_at(i)); i++) {
        size_t at = strlen(known);
        if (!driver->refused)
            snprintf(known + at, sizeof(known) - at, "%s%s", i ? ", " : "", driver->name);
    }
    return kv_error_set(err, KV_ERR_BLOCK, EINVAL, "Unknown driver '%s'; known are %s", name,
                        known);
}

/* A format or filter over a node that is open and stays the caller's on failure. */
static int open_over(struct block_node **out, const struct block_driver *driver,
                     struct block_node *file, const struct block_open_options *options,
                     struct kv_error *err)
{
    struct block_node *node = node_new(driver, options);
    if (!node)
        return out_of_memory(err);
    node->file = file;
    if (!options->path) {
        char *name = strdup(file->name);
        if (name) {
            free(node->name);
            node->name = name;
        }
    }
    int rc = options->description ? description_check(options->description, driver, err) : 0;
    if (rc == 0 && !options->readonly && !driver->pwritev && !driver->refused)
        rc =
            kv_error_set(err, KV_ERR_BLOCK, EROFS,
                         "'%s': images of format %s are read-only here; 'kvasir-img convert' makes "
                         "a qcow2 or raw image of it",
                         node->name, driver->name);
    if (rc == 0)
        rc = driver->open(node, options, err);
    if (rc < 0) {
        node->file = NULL;
        node_free(node);
        return rc;
    }
    if (!driver->is_filter)
        node->info.growable = false;
    rc = block_node_register(node, err);
    if (rc < 0) {
        driver->close(node);
        node->file = NULL;
        node_free(node);
        return rc;
    }
    *out = node;
    return 0;
}

/* Takes the file, also on failure. */
static int open_format(struct block_node **out, const struct block_driver *driver,
                       struct block_node *file, const struct block_open_options *options,
                       struct kv_error *err)
{
    int rc = open_over(out, driver, file, options, err);
    if (rc < 0)
        block_close(file);
    return rc;
}

int block_insert_driver(struct block_node **node, const struct block_driver *driver,
                        const json_t *description, struct kv_error *err)
{
    struct block_open_options options = (*node)->options;
    options.description = description;
    options.readonly = (*node)->info.readonly || !driver->pwritev;
    options.fd = -1;
    return open_over(node, driver, *node, &options, err);
}

int block_insert_filter(struct block_node **node, const json_t *description, struct kv_error *err)
{
    const struct block_driver *driver = NULL;
    const char *name = string_member(description, "driver");
    int rc = find_driver(&driver, name ? name : "", err);
    if (rc == 0 && !driver->is_filter)
        rc = kv_error_set(err, KV_ERR_BLOCK, EINVAL, "'%s' is no filter", name);
    return rc < 0 ? rc : block_insert_driver(node, driver, description, err);
}

/* --------------------------------------------------------- from a description */

static int open_described_node(struct block_node **out, const struct block_open_options *options,
                               struct kv_error *err)
{
    const json_t *description = options->description;
    struct block_open_options own = *options;
    struct block_node *file = NULL;
    const struct block_driver *driver = NULL;
    const char *name = string_member(description, "driver");

    int rc = 0;
    if (!name)
        name = options->format;
    if (name)
        rc = find_driver(&driver, name, err);
    /* Before anything under it is opened; what is probed is checked then. */
    if (rc == 0 && driver)
        rc = description_check(description, driver, err);
    if (rc == 0)
        rc = description_apply(description, &own, err);
    if (rc < 0)
        return rc;
    own.format = NULL;
    if (driver && driver->is_protocol) {
        own.path = string_member(description, "filename");
        return open_protocol(out, driver, &own, err);
    }
    json_t *under = json_object_get(description, "file");
    bool is_filter = driver && driver->is_filter;
    if (!under && is_filter)
        under = json_object_get(description, "image");
    struct block_open_options below = own;
    below.description = json_is_object(under) ? under : NULL;
    below.path = under ? NULL : string_member(description, "filename");
    if (json_is_string(under)) {
        file = block_find_node(json_string_value(under), err);
        if (!file)
            return -ENODEV;
        own.path = NULL;
        return open_format(out, driver ? driver : probe(file), file, &own, err);
    }
    if (!below.description && !below.path)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "A block device must be specified for \"file\": the description needs "
                            "'file' (an object) or 'filename'");
    /* Under a format lies a protocol unless the description says otherwise. */
    const char *filename = string_member(below.description, "filename");
    below.format = filename && !is_filter ? protocol_of_path(filename)->name : NULL;
    if (below.path && !is_filter) {
        rc = open_protocol(&file, protocol_of_path(below.path), &below, err);
    } else {
        rc = block_open(&file, &below, err);
    }
    if (rc < 0)
        return rc;
    own.path = NULL;
    return open_format(out, driver ? driver : probe(file), file, &own, err);
}

/* Detecting zeros is a member of any node's description, not a node that somebody describes. */
static int add_detect_zeroes(struct block_node **node, const json_t *description,
                             struct kv_error *err)
{
    const json_t *mode = json_object_get(description, "detect-zeroes");
    if (!mode || (json_is_string(mode) && strcmp(json_string_value(mode), "off") == 0))
        return 0;
    json_t *filter = json_pack("{s:s, s:O}", "driver", "detect-zeroes", "detect-zeroes", mode);
    if (!filter)
        return out_of_memory(err);
    int rc = block_insert_filter(node, filter, err);
    json_decref(filter);
    /* Whoever names the node means all of it. */
    if (rc == 0 && json_object_get(description, "node-name")) {
        block_graph_lock();
        char *name = (*node)->node_name;
        (*node)->node_name = (*node)->file->node_name;
        (*node)->file->node_name = name;
        block_graph_unlock();
    }
    return rc;
}

static int open_described(struct block_node **out, const struct block_open_options *options,
                          struct kv_error *err)
{
    int rc = open_described_node(out, options, err);
    if (rc < 0)
        return rc;
    rc = add_detect_zeroes(out, options->description, err);
    if (rc < 0)
        block_close(*out);
    return rc;
}

/* -------------------------------------------------------------------- border */

static int open_from_path(struct block_node **out, const struct block_open_options *options,
                          struct kv_error *err)
{
    const struct block_driver *driver = NULL;
    struct block_node *file;
    if (options->path && strncmp(options->path, "json:", 5) == 0) {
        json_t *description;
        int rc = description_parse(&description, options->path + 5, err);
        if (rc < 0)
            return rc;
        struct block_open_options described = *options;
        described.path = NULL;
        described.description = description;
        rc = open_described(out, &described, err);
        json_decref(description);
        return rc;
    }
    if (options->format) {
        int rc = find_driver(&driver, options->format, err);
        if (rc < 0) {
            if (!options->path)
                close(options->fd);
            return rc;
        }
    }
    const struct block_driver *protocol =
        options->path ? protocol_of_path(options->path) : &block_file_driver;
    if (driver && driver->is_protocol)
        return open_protocol(out, driver, options, err);
    int rc = open_protocol(&file, protocol, options, err);
    if (rc < 0)
        return rc;
    return open_format(out, driver ? driver : probe(file), file, options, err);
}

int block_open(struct block_node **out, const struct block_open_options *options,
               struct kv_error *err)
{
    if (open_depth >= DEPTH_MAX) {
        if (!options->path && !options->description)
            close(options->fd);
        return kv_error_set(err, KV_ERR_BLOCK, ELOOP,
                            "'%s': more than %d images over images; the backing chain is a loop",
                            options->path ? options->path : "disk", DEPTH_MAX);
    }
    open_depth++;
    int rc = options->description ? open_described(out, options, err)
                                  : open_from_path(out, options, err);
    open_depth--;
    return rc;
}

int block_open_again(struct block_node **out, const struct block_node *node, bool writable, int fd,
                     struct kv_error *err)
{
    struct block_open_options options = node->options;
    struct block_node *file;
    options.readonly = !writable;
    options.unlocked = false;
    options.no_backing = true;
    if (node->driver->is_protocol) {
        options.fd = fd;
        options.format = node->driver->name;
        options.description = fd < 0 ? node->described : NULL;
        options.path = fd < 0 && !options.description ? node->name : NULL;
        return block_open(out, &options, err);
    }
    int rc = block_open_again(&file, node->file, writable, fd, err);
    if (rc < 0)
        return rc;
    options.fd = -1;
    options.description = node->described;
    return open_format(out, node->driver, file, &options, err);
}

void block_close(struct block_node *node)
{
    if (!node || block_unref(node))
        return;
    node->driver->close(node);
    node_free(node);
}

int block_open_child(struct block_node **out, const struct block_node *parent,
                     const json_t *description, const char *path, const char *format, bool readonly,
                     struct kv_error *err)
{
    struct block_open_options options = parent->options;
    cleanup_free char *resolved = NULL;
    options.fd = -1;
    options.readonly = readonly;
    options.check = false;
    options.no_backing = false;
    options.description = json_is_object(description) ? description : NULL;
    options.format = format;
    if (json_is_string(description)) {
        *out = block_find_node(json_string_value(description), err);
        return *out ? 0 : -ENODEV;
    }
    if (!options.description) {
        resolved = block_resolve_path(parent->file ? parent->file->name : parent->name, path);
        if (!resolved)
            return out_of_memory(err);
        options.path = resolved;
    }
    return block_open(out, &options, err);
}

/* "scheme:" in front of the first slash. */
static bool has_protocol(const char *path)
{
    const char *colon = strchr(path, ':'), *slash = strchr(path, '/');
    return colon && (!slash || colon < slash);
}

char *block_resolve_path(const char *image, const char *path)
{
    char *result = NULL;
    const char *end = strrchr(image, '/');
    if (!end && has_protocol(image))
        end = strchr(image, ':');
    if (path[0] == '/' || has_protocol(path) || !end || strncmp(image, "json:", 5) == 0)
        return strdup(path);
    if (asprintf(&result, "%.*s%s", (int)(end + 1 - image), image, path) < 0)
        return NULL;
    return result;
}

/* ---------------------------------------------------------------------- jail */

static atomic_bool sealed;

void block_seal(void)
{
    atomic_store(&sealed, true);
}

bool block_is_sealed(void)
{
    return atomic_load(&sealed);
}

/* ------------------------------------------------------------------- answers */

const struct block_info *block_get_info(const struct block_node *node)
{
    return &node->info;
}

const char *block_name(const struct block_node *node)
{
    return node->name;
}

const char *block_format(const struct block_node *node)
{
    return node->driver->name;
}

struct block_node *block_file_child(const struct block_node *node)
{
    return node->file;
}

struct block_node *block_backing(const struct block_node *node)
{
    return node->backing;
}

int block_refresh(struct block_node *node, struct kv_error *err)
{
    uint64_t size;
    int rc = node->driver->get_size(node, &size, err);
    if (rc == 0)
        block_set_size(node, size);
    return rc;
}

int block_resize(struct block_node *node, uint64_t size, struct kv_error *err)
{
    if (node->info.readonly)
        return kv_error_set(err, KV_ERR_BLOCK, EACCES, "'%s' is read-only and cannot be resized",
                            node->name);
    if (size % 512 || size > INT64_MAX)
        return kv_error_set(err, KV_ERR_BLOCK, EINVAL,
                            "'%s': size %" PRIu64 " is not a multiple of 512 up to 2^63",
                            node->name, size);
    if (node->busy && !block_graph_is_changing())
        return kv_error_set(err, KV_ERR_BLOCK, EBUSY,
                            "Node '%s' is busy: block device is in use by block job: %s",
                            block_node_name(node), node->busy);
    if (!node->driver->resize)
        return kv_error_set(err, KV_ERR_BLOCK, ENOTSUP,
                            "'%s': the size of a %s image cannot be changed", node->name,
                            node->driver->name);
    int rc = node->driver->resize(node, size, err);
    return rc < 0 ? rc : block_refresh(node, err);
}

int64_t block_allocated_size(const struct block_node *node)
{
    if (node->driver->allocated_size)
        return node->driver->allocated_size(node);
    return node->file ? block_allocated_size(node->file) : -ENOTSUP;
}
