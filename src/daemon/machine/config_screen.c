/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A domain's screen: the monitor's VGA, inputs, and the socket that viewers connect to, which is
 * opened here. Its password comes later, over the control socket (screen.c): until then nobody
 * enters.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "daemon/machine/config.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define ADDRESS_DEFAULT "127.0.0.1"
#define BACKLOG 16

static int add_video(struct plan *plan, const struct model_video *video, struct kv_error *err)
{
    json_t *options = json_pack("{s:s}", "model", video->virtio ? "virtio" : "std");
    config_set_number(options, "memory", video->vram_kib * 1024);
    config_set_text(options, "id", video->device.alias);
    config_set_slot(options, &video->device);
    config_set_number(options, "xres", video->xres);
    config_set_number(options, "yres", video->yres);
    return plan_add(plan, "vga", options, err);
}

static const char *address_of(const struct model_graphics *graphics)
{
    return graphics->address ? graphics->address : ADDRESS_DEFAULT;
}

/* Ports that are chosen, of which the first that nobody listens on is taken. */
struct range {
    const char *name; /* libvirt's, for messages */
    unsigned first;
};

/* Returns the descriptor, *port what it became; 0 before: it is chosen. */
static int listen_port(const char *address, const struct range *range, unsigned *port,
                       struct kv_error *err)
{
    bool chosen = !*port;
    int fd;
    *port = chosen ? range->first : *port;
    do {
        char service[12];
        snprintf(service, sizeof(service), "%u", *port);
        fd = config_open_inet(address, service, SOCK_STREAM, true, err);
    } while (fd == -EADDRINUSE && chosen && ++*port <= MODEL_VNC_PORT_LAST);
    if (fd == -EADDRINUSE && chosen)
        return api_error(err, VIR_ERR_INTERNAL_ERROR,
                         "Unable to find an unused port in range '%s' (%u-%d)", range->name,
                         range->first, MODEL_VNC_PORT_LAST);
    if (fd >= 0)
        listen(fd, BACKLOG);
    return fd;
}

static int listen_address(struct model_domain *domain, struct kv_error *err)
{
    static const struct range range = {"vnc", MODEL_VNC_PORT_FIRST};
    const struct model_graphics *graphics = domain->graphics;
    const char *address = address_of(graphics);
    unsigned port = graphics->autoport ? 0 : graphics->port;
    int fd = listen_port(address, &range, &port, err);
    if (fd < 0)
        return fd;
    char *own = strdup(address); /* the document's may move */
    int rc = own ? model_graphics_set_port(domain, port, own) : -ENOMEM;
    free(own);
    if (rc == 0)
        return fd;
    close(fd);
    return api_error(err, VIR_ERR_NO_MEMORY, NULL);
}

static int listen_socket(struct plan *plan, struct model_domain *domain, struct kv_error *err)
{
    char own[512];
    if (!domain->graphics->socket) {
        snprintf(own, sizeof(own), "%s/%s.vnc", plan->host->run_dir, plan->uuid);
        if (model_graphics_set_socket(domain, own) < 0)
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    return plan_listen(plan, domain->graphics->socket, err);
}

static int add_websocket(struct plan *plan, struct model_domain *domain, json_t *options,
                         struct kv_error *err)
{
    static const struct range range = {"webSocket", MODEL_WEBSOCKET_PORT_FIRST};
    unsigned port = domain->graphics->websocket;
    int fd = listen_port(address_of(domain->graphics), &range, &port, err);
    json_t *where = fd < 0 ? NULL : plan_fd_text(plan, fd, err);
    if (!where)
        return fd < 0 ? fd : -ENOMEM;
    json_object_set_new(options, "websocket", where);
    return model_graphics_set_websocket(domain, port) < 0 ? api_error(err, VIR_ERR_NO_MEMORY, NULL)
                                                          : 0;
}

static int add_graphics(struct plan *plan, struct model_domain *domain, struct kv_error *err)
{
    const struct model_graphics *graphics = domain->graphics;
    const char *share = graphics->share_policy ? graphics->share_policy : "allow-exclusive";
    json_t *where = NULL;
    if (graphics->listen == MODEL_LISTEN_NONE) {
        where = json_string("none");
    } else {
        int fd = graphics->listen == MODEL_LISTEN_SOCKET ? listen_socket(plan, domain, err)
                                                         : listen_address(domain, err);
        if (fd < 0)
            return fd;
        where = plan_fd_text(plan, fd, err);
    }
    if (!where)
        return -ENOMEM;
    json_t *options = json_pack("{s:o, s:s}", "listen", where, "share", share);
    if (graphics->password)
        json_object_set_new(options, "password", json_string(""));
    if (plan->host->vnc_tls_dir) {
        config_set_text(options, "tls-dir", plan->host->vnc_tls_dir);
        json_object_set_new(options, "tls-verify", json_boolean(plan->host->vnc_tls_verify));
    }
    int rc = graphics->has_websocket ? add_websocket(plan, domain, options, err) : 0;
    if (rc == 0)
        return plan_add(plan, "vnc", options, err);
    json_decref(options);
    return rc;
}

/* The others are parts of the screen. */
static int add_input(struct plan *plan, const struct model_input *input, struct kv_error *err)
{
    static const char *const types[] = {[MODEL_INPUT_MOUSE] = "mouse",
                                        [MODEL_INPUT_TABLET] = "tablet",
                                        [MODEL_INPUT_KEYBOARD] = "keyboard"};
    if (!input->virtio && !input->usb)
        return 0;
    json_t *options = json_pack("{s:s, s:s}", "type", types[input->type], "bus",
                                input->virtio ? "virtio" : "usb");
    if (input->virtio) {
        config_set_text(options, "id", input->device.alias);
        config_set_slot(options, &input->device);
    }
    config_set_number(options, "port", input->port);
    return plan_add(plan, "input", options, err);
}

int config_add_screen(struct plan *plan, struct model_domain *domain, struct kv_error *err)
{
    bool screen = domain->video && !domain->video->none;
    int rc = screen ? add_video(plan, domain->video, err) : 0;
    if (rc == 0 && screen && domain->graphics)
        rc = add_graphics(plan, domain, err);
    return rc;
}

int config_add_inputs(struct plan *plan, const struct model_domain *domain, struct kv_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < domain->input_count; i++)
        rc = add_input(plan, &domain->inputs[i], err);
    return rc;
}
