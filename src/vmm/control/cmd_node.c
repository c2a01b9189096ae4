/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Nodes by name: adding, removing, describing them; and commands that have no place here, refused
 * with what does it instead. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/control/action.h"
#include "vmm/control/blockdev.h"
#include "vmm/control/commands.h"
#include "vmm/machine/machine.h"

/* A connection is named as getfd did; the engine knows numbers. False: there is none of that name.
 */
static bool take_connections(struct qmp_call *call, json_t *description)
{
    const char *key;
    json_t *value;
    json_t *type = json_object_get(description, "type"),
           *name = json_object_get(description, "str");
    if (json_is_string(type) && json_is_string(name) &&
        strcmp(json_string_value(type), "fd") == 0) {
        char number[16];
        int fd = qmp_fd_take(call->server, json_string_value(name));
        if (fd < 0) {
            qmp_fail(call, QMP_GENERIC_ERROR, "File descriptor named '%.100s' not found",
                     json_string_value(name));
            return false;
        }
        snprintf(number, sizeof(number), "%d", fd);
        json_object_set_new(description, "str", json_string(number));
    }
    json_object_foreach (description, key, value) {
        if (json_is_object(value) && !take_connections(call, value))
            return false;
    }
    return true;
}

static json_t *blockdev_add(struct qmp_call *call)
{
    json_t *description = json_deep_copy(call->arguments);
    if (!description)
        return qmp_fail(call, QMP_GENERIC_ERROR, "out of memory");
    const struct block_open_options options = {.description = description, .fd = -1};
    int rc = take_connections(call, description) ? block_node_add(&options, &call->error) : -EINVAL;
    json_decref(description);
    return rc < 0 ? NULL : qmp_done();
}

static json_t *blockdev_del(struct qmp_call *call)
{
    return block_node_del(qmp_string(call, "node-name"), &call->error) < 0 ? NULL : qmp_done();
}

struct found {
    struct block_node **nodes;
    unsigned count;
};

static int count_node(void *opaque, struct block_node *node)
{
    ++*(unsigned *)opaque;
    return 0;
}

static int take_node(void *opaque, struct block_node *node)
{
    struct found *found = opaque;
    found->nodes[found->count++] = block_ref(node);
    return 0;
}

/* Describing reads images, which must not happen with the graph locked. */
static json_t *query_nodes(struct qmp_call *call)
{
    json_t *list = json_array();
    struct found found = {0};
    unsigned count = 0;
    block_graph_lock();
    block_nodes_each(count_node, &count);
    found.nodes = calloc(count + 1, sizeof(struct block_node *));
    if (found.nodes)
        block_nodes_each(take_node, &found);
    block_graph_unlock();
    for (unsigned i = 0; i < found.count; i++) {
        json_array_append_new(list, block_describe_node(found.nodes[i]));
        block_close(found.nodes[i]);
    }
    free(found.nodes);
    return list;
}

static json_t *change_backing_file(struct qmp_call *call)
{
    const char *path = qmp_string(call, "backing-file");
    struct block_node *device = action_find_node(call, "device");
    struct block_node *node = device ? action_find_node(call, "image-node-name") : NULL;
    int rc = node ? 0 : -EINVAL;
    if (node) {
        block_graph_lock();
        bool below = block_stands_on(device, node);
        const struct block_node *backing = block_backing(node);
        const char *format = backing ? block_format(backing) : NULL;
        block_graph_unlock();
        if (!below) {
            rc = -EINVAL;
            qmp_fail(call, QMP_GENERIC_ERROR, "'%s' and image file are not in the same chain",
                     qmp_string(call, "device"));
        }
        if (rc == 0)
            rc = block_change_backing_file(node, *path ? path : NULL, format, &call->error);
    }
    block_close(device);
    block_close(node);
    return rc < 0 ? NULL : qmp_done();
}

static json_t *refuse(struct qmp_call *call)
{
    return qmp_fail(call, QMP_GENERIC_ERROR, "%s is %s", call->command->name, call->command->help);
}

static const struct qmp_argument add_arguments[] = {
    {"driver", QMP_STRING},
    {"node-name", QMP_STRING},
    {NULL},
};
static const struct qmp_argument del_arguments[] = {
    {"node-name", QMP_STRING},
    {NULL},
};
static const struct qmp_argument query_arguments[] = {
    {"flat", QMP_BOOLEAN, .optional = true},
    {NULL},
};
static const struct qmp_argument change_arguments[] = {
    {"device", QMP_STRING},
    {"image-node-name", QMP_STRING},
    {"backing-file", QMP_STRING},
    {NULL},
};

const struct qmp_command qmp_node_commands[] = {
    {"blockdev-add", "opens a node: an image, or what lies under or over one", blockdev_add,
     add_arguments, .open = true},
    {"blockdev-del", "closes a node that nobody uses", blockdev_del, del_arguments},
    {"query-named-block-nodes", "all nodes", query_nodes, query_arguments},
    {"change-backing-file", "what an image says about its backing file", change_backing_file,
     change_arguments},
    {"drive-mirror", "refused: blockdev-add and blockdev-mirror do it", refuse, .open = true},
    {"drive-backup", "refused: blockdev-add and blockdev-backup do it", refuse, .open = true},
    {NULL},
};
