/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Sockets of a bridge's OpenFlow; see openflow.h. */
#include "switch/openflow/openflow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "switch/openflow/connection.h"

static void accept_at(struct loop_source *source, struct openflow *openflow, bool snoops)
{
    int fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0 && connection_add(openflow, fd, snoops) < 0)
        close(fd);
}

static void on_management(void *opaque, uint32_t events)
{
    struct openflow *openflow = opaque;
    accept_at(&openflow->management, openflow, false);
}

static void on_snoop(void *opaque, uint32_t events)
{
    struct openflow *openflow = opaque;
    accept_at(&openflow->snoop, openflow, true);
}

/* The path, allocated, or NULL with err. */
static char *listen_at(struct openflow *openflow, struct loop_source *source, const char *directory,
                       const char *suffix, void (*fn)(void *opaque, uint32_t events),
                       struct kv_error *err)
{
    char *path;
    if (asprintf(&path, "%s/%s.%s", directory, openflow->bridge->name, suffix) < 0) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "OpenFlow");
        return NULL;
    }
    int fd = inherited_listen_unix(path, err);
    if (fd < 0) {
        free(path);
        return NULL;
    }
    int rc = loop_add(openflow->loop, source, fd, EPOLLIN, fn, openflow);
    if (rc < 0) {
        close(fd);
        unlink(path);
        free(path);
        kv_error_errno(err, KV_ERR_NET, -rc, "OpenFlow");
        return NULL;
    }
    return path;
}

static void unlisten(struct loop_source *source, char *path)
{
    if (!path)
        return;
    loop_remove(source);
    close(source->fd);
    unlink(path);
    free(path);
}

struct openflow *openflow_start(struct bridge *bridge, struct loop *loop, const char *directory,
                                struct kv_error *err)
{
    if (strchr(bridge->name, '/')) {
        kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                     "bridge '%s': with OpenFlow a name without '/' is accepted", bridge->name);
        return NULL;
    }
    struct openflow *openflow = calloc(1, sizeof(*openflow));
    if (!openflow) {
        kv_error_errno(err, KV_ERR_NET, ENOMEM, "OpenFlow");
        return NULL;
    }
    openflow->bridge = bridge;
    openflow->loop = loop;
    list_init(&openflow->connections);
    openflow->management = openflow->snoop = LOOP_SOURCE_INIT;
    if (ring_init(&openflow->packets, loop, FLOW_PACKET_SLOTS, sizeof(struct flow_packet),
                  openflow_packet, openflow, err) < 0) {
        free(openflow);
        return NULL;
    }
    int rc = flows_init(&openflow->flows, bridge, &openflow->packets);
    if (rc < 0)
        kv_error_errno(err, KV_ERR_NET, -rc, "flows of bridge '%s'", bridge->name);
    if (rc == 0)
        openflow->management_path =
            listen_at(openflow, &openflow->management, directory, "mgmt", on_management, err);
    if (openflow->management_path)
        openflow->snoop_path =
            listen_at(openflow, &openflow->snoop, directory, "snoop", on_snoop, err);
    if (!openflow->snoop_path) {
        openflow_stop(openflow);
        return NULL;
    }
    return openflow;
}

void openflow_stop(struct openflow *openflow)
{
    if (!openflow)
        return;
    list_for_each_safe (node, &openflow->connections)
        connection_free(list_entry(node, struct connection, node));
    unlisten(&openflow->management, openflow->management_path);
    unlisten(&openflow->snoop, openflow->snoop_path);
    loop_timer_cancel(&openflow->expiry);
    flows_destroy(&openflow->flows);
    ring_destroy(&openflow->packets);
    free(openflow);
}
