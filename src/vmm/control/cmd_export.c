/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The built-in NBD server: nodes of the machine's disks, live, for backup and migration tools. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "block/nbd_server.h"
#include "vmm/control/action.h"
#include "vmm/control/blockdev.h"
#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"

struct export
{
    struct list link;
    char *id, *name;
    struct block_node *node;
    struct nbd_bitmap bitmaps[NBD_BITMAPS_MAX];
    unsigned bitmap_count;
};

static struct nbd_server *server;
static struct list exports = {&exports, &exports};

static struct export *find_export(const char *key, const char *(*key_of)(const struct export *))
{
    list_for_each (pos, &exports) {
        struct export *export = list_entry(pos, struct export, link);
        if (strcmp(key_of(export), key) == 0)
            return export;
    }
    return NULL;
}

static const char *id_of(const struct export *export)
{
    return export->id;
}

static const char *name_of(const struct export *export)
{
    return export->name;
}

static void export_free(struct export *export)
{
    list_del(&export->link);
    for (unsigned i = 0; i < export->bitmap_count; i++) {
        free((char *)export->bitmaps[i].name);
        nbd_bitmap_close(&export->bitmaps[i]);
    }
    block_close(export->node);
    free(export->id);
    free(export->name);
    free(export);
}

/* Its clients are gone when this returns. */
static void end_export(struct machine *machine, struct export *export)
{
    struct kv_error err = {0};
    nbd_server_remove_export(server, export->name, &err);
    if (machine)
        machine_emit(machine, "BLOCK_EXPORT_DELETED", json_pack("{s:s}", "id", export->id));
    export_free(export);
}

static void stop_server(struct machine *machine)
{
    while (!list_empty(&exports))
        end_export(machine, list_entry(exports.next, struct export, link));
    nbd_server_free(server);
    server = NULL;
}

void exports_stop(void)
{
    stop_server(NULL);
}

/* -------------------------------------------------------------------------- server */

static const char *member(const json_t *data, const char *name)
{
    return json_string_value(json_object_get(data, name));
}

/* {"type": "unix", "data": {"path": P}}, "inet" with "host" and "port", "fd" with "str". */
static int listen_at(struct qmp_call *call, const json_t *addr)
{
    struct kv_error *err = &call->error;
    const json_t *data = json_object_get(addr, "data");
    const char *type = member(addr, "type");
    /* Newer clients write the members flat. */
    data = json_is_object(data) ? data : addr;
    if (type && strcmp(type, "fd") == 0 && member(data, "str")) {
        int fd = qmp_fd_take(call->server, member(data, "str"));
        if (fd >= 0)
            return nbd_server_listen_fd(server, fd, err);
        return kv_error_set(err, KV_ERR_CONTROL, ENOENT, "File descriptor named '%.100s' not found",
                            member(data, "str"));
    }
    if (block_is_sealed())
        return kv_error_set(err, KV_ERR_CONTROL, EACCES,
                            "a jailed process makes no socket: a listening one is named by getfd "
                            "and given as 'addr' with type fd and str");
    if (type && strcmp(type, "unix") == 0 && member(data, "path"))
        return nbd_server_listen_unix(server, member(data, "path"), err);
    if (type && strcmp(type, "inet") == 0 && member(data, "port"))
        return nbd_server_listen_tcp(server, member(data, "host"), member(data, "port"), err);
    return kv_error_set(err, KV_ERR_CONTROL, EINVAL,
                        "'addr' needs type unix (path), inet (host, port) or fd (str)");
}

static json_t *server_start(struct qmp_call *call)
{
    int64_t max = 0;
    if (server)
        return qmp_fail(call, QMP_GENERIC_ERROR, "NBD server already running");
    if (qmp_integer(call, "max-connections", &max) && (max < 0 || max > 4096))
        return qmp_fail(call, QMP_GENERIC_ERROR,
                        "Parameter 'max-connections' expects a value of 0 to 4096");
    const struct nbd_server_options options = {.max_connections = (unsigned)max};
    int rc = nbd_server_create(&server, &options, &call->error);
    if (rc == 0)
        rc = listen_at(call, json_object_get(call->arguments, "addr"));
    if (rc == 0)
        return qmp_done();
    stop_server(call->machine);
    return NULL;
}

static json_t *server_stop(struct qmp_call *call)
{
    if (!server)
        return qmp_fail(call, QMP_GENERIC_ERROR, "NBD server not running");
    stop_server(call->machine);
    return qmp_done();
}

/* ------------------------------------------------------------------------- exports */

/* A name of the node's own chain, or {"node": NODE, "name": NAME}. */
static int add_bitmap(struct qmp_call *call, struct export *export, const json_t *row)
{
    const char *name = json_string_value(row), *in = NULL;
    if (json_is_object(row)) {
        name = member(row, "name");
        in = member(row, "node");
    }
    if (!name || (json_is_object(row) && !in)) {
        qmp_fail(call, QMP_GENERIC_ERROR,
                 "'bitmaps' holds names, or objects with 'node' and 'name'");
        return -EINVAL;
    }
    if (export->bitmap_count == NBD_BITMAPS_MAX) {
        qmp_fail(call, QMP_GENERIC_ERROR, "at most %d bitmaps are possible", NBD_BITMAPS_MAX);
        return -EINVAL;
    }
    struct block_node *node = in ? qmp_find_node(call, in) : block_ref(export->node);
    struct nbd_bitmap *bitmap = &export->bitmaps[export->bitmap_count];
    int rc = node ? nbd_bitmap_open(bitmap, node, name, &call->error) : -ENOENT;
    block_close(node);
    if (rc < 0)
        return rc;
    export->bitmap_count++;
    bitmap->name = strdup(name);
    return bitmap->name ? 0 : -ENOMEM;
}

static int add_bitmaps(struct qmp_call *call, struct export *export)
{
    const json_t *bitmaps = json_object_get(call->arguments, "bitmaps"), *row;
    const json_t *single = json_object_get(call->arguments, "bitmap");
    size_t i;
    int rc = single ? add_bitmap(call, export, single) : 0;
    json_array_foreach (bitmaps, i, row) {
        rc = rc < 0 ? rc : add_bitmap(call, export, row);
    }
    return rc;
}

/* id and name: by whom they are known later; node: argument that names it. */
static json_t *add_export(struct qmp_call *call, const char *id, const char *name, const char *node)
{
    if (!server)
        return qmp_fail(call, QMP_GENERIC_ERROR, "NBD server not running");
    if (find_export(id, id_of))
        return qmp_fail(call, QMP_GENERIC_ERROR, "Block export id '%.100s' is already in use", id);
    struct export *export = calloc(1, sizeof(*export));
    if (!export)
        return qmp_fail(call, QMP_GENERIC_ERROR, "out of memory");
    list_init(&export->link);
    export->id = strdup(id);
    export->name = strdup(name);
    export->node = action_find_node(call, node);
    bool writable = false, depth = false;
    qmp_boolean(call, "writable", &writable);
    qmp_boolean(call, "allocation-depth", &depth);
    int rc = export->id && export->name && export->node ? add_bitmaps(call, export) : -ENOMEM;
    if (rc == 0 && writable && block_get_info(export->node)->readonly)
        rc = kv_error_set(&call->error, KV_ERR_BLOCK, EROFS,
                          "Cannot export read-only node as "
                          "writable");
    if (rc == 0) {
        const struct nbd_export_options options = {
            .name = export->name,
            .description = qmp_string(call, "description"),
            .node = export->node,
            .readonly = !writable,
            .allocation_depth = depth,
            .bitmaps = export->bitmaps,
            .bitmap_count = export->bitmap_count,
        };
        rc = nbd_server_add_export(server, &options, &call->error);
    }
    if (rc == 0) {
        list_add_tail(&exports, &export->link);
        return qmp_done();
    }
    export_free(export);
    return call->error.code ? NULL : qmp_fail(call, QMP_GENERIC_ERROR, "out of memory");
}

static json_t *export_add(struct qmp_call *call)
{
    const char *name = qmp_string(call, "name");
    return add_export(call, qmp_string(call, "id"), name ? name : qmp_string(call, "node-name"),
                      "node-name");
}

static json_t *server_add(struct qmp_call *call)
{
    const char *name = qmp_string(call, "name");
    name = name ? name : qmp_string(call, "device");
    return add_export(call, name, name, "device");
}

/* Clients are only sent away when that is asked for, or when there are none. */
static json_t *remove_export(struct qmp_call *call, struct export *export)
{
    bool hard = qmp_enum(call, "mode", 0) == 1;
    if (!export)
        return qmp_fail(call, QMP_GENERIC_ERROR, "Export '%.100s' is not found",
                        qmp_string(call, qmp_string(call, "id") ? "id" : "name"));
    if (!hard && nbd_server_export_users(server, export->name))
        return qmp_fail(call, QMP_GENERIC_ERROR, "export '%.100s' still in use", export->id);
    end_export(call->machine, export);
    return qmp_done();
}

static json_t *export_del(struct qmp_call *call)
{
    return remove_export(call, find_export(qmp_string(call, "id"), id_of));
}

static json_t *server_remove(struct qmp_call *call)
{
    return remove_export(call, find_export(qmp_string(call, "name"), name_of));
}

static json_t *query_exports(struct qmp_call *call)
{
    json_t *list = json_array();
    list_for_each (pos, &exports) {
        const struct export *export = list_entry(pos, struct export, link);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "id", export->id, "type",
                                              "nbd", "node-name", block_node_name(export->node),
                                              "shutting-down", 0));
    }
    return list;
}

/* -------------------------------------------------------------------------- tables */

static const char *const types[] = {"nbd", NULL};
static const char *const modes[] = {"safe", "hard", NULL};

static const struct qmp_argument start_arguments[] = {
    {"addr", QMP_OBJECT},
    {"max-connections", QMP_INTEGER, .optional = true},
    {NULL},
};
static const struct qmp_argument export_arguments[] = {
    {"type", QMP_STRING, .values = types},
    {"id", QMP_STRING},
    {"node-name", QMP_STRING},
    {"name", QMP_STRING, .optional = true},
    {"description", QMP_STRING, .optional = true},
    {"writable", QMP_BOOLEAN, .optional = true},
    {"bitmaps", QMP_ARRAY, .optional = true},
    {"allocation-depth", QMP_BOOLEAN, .optional = true},
    {NULL},
};
static const struct qmp_argument del_arguments[] = {
    {"id", QMP_STRING},
    {"mode", QMP_STRING, .optional = true, .values = modes},
    {NULL},
};
static const struct qmp_argument add_arguments[] = {
    {"device", QMP_STRING},
    {"name", QMP_STRING, .optional = true},
    {"description", QMP_STRING, .optional = true},
    {"writable", QMP_BOOLEAN, .optional = true},
    {"bitmap", QMP_STRING, .optional = true},
    {NULL},
};
static const struct qmp_argument remove_arguments[] = {
    {"name", QMP_STRING},
    {"mode", QMP_STRING, .optional = true, .values = modes},
    {NULL},
};

const struct qmp_command qmp_export_commands[] = {
    {"nbd-server-start", "listens for NBD clients; in a jail at a descriptor from getfd",
     server_start, start_arguments},
    {"nbd-server-stop", "ends all exports and their clients", server_stop},
    {"nbd-server-add", "exports a disk or node", server_add, add_arguments},
    {"nbd-server-remove", "ends an export", server_remove, remove_arguments},
    {"block-export-add", "exports a node", export_add, export_arguments},
    {"block-export-del", "ends an export", export_del, del_arguments},
    {"query-block-exports", "what is exported", query_exports},
    {NULL},
};
