/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VNC server's socket, clock and viewers as a whole; see vnc.h. */
#include "vmm/display/vnc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "block/tls_server.h"
#include "vmm/devices/classes.h"
#include "vmm/display/vnc_client.h"
#include "vmm/jail/jail.h"
#include "vmm/machine/machine.h"

#define INTERVAL_MIN_NS INT64_C(33000000)
#define INTERVAL_MAX_NS INT64_C(500000000) /* of a screen on which nothing happens */
#define BACKLOG 16

struct vnc_config {
    char *listen, *websocket, *tls_dir, *password, *id;
    bool tls_verify;
    int share;
};

static const char *const shares[] = {
    [VNC_SHARE_IGNORE] = "ignore",
    [VNC_SHARE_ALLOW_EXCLUSIVE] = "allow-exclusive",
    [VNC_SHARE_FORCE_SHARED] = "force-shared",
    NULL,
};

static const struct option_spec vnc_options[] = {
    OPTION(STRING, struct vnc_config, listen, .required = true,
           .help = "ADDRESS:PORT, unix:PATH, fd:N of a listening socket, or none"),
    OPTION(STRING, struct vnc_config, websocket,
           .help = "ADDRESS:PORT or fd:N: where browsers connect"),
    OPTION_NAMED("tls-dir", STRING, struct vnc_config, tls_dir,
                 .help = "folder with ca-cert.pem, server-cert.pem, server-key.pem: every viewer "
                         "has to use TLS"),
    OPTION_NAMED("tls-verify", BOOL, struct vnc_config, tls_verify,
                 .help = "viewers need a certificate, too"),
    OPTION(STRING, struct vnc_config, password,
           .help =
               "what viewers must know, 8 bytes count; empty: nobody enters before set_password"),
    OPTION(ENUM, struct vnc_config, share, .values = shares,
           .help = "what becomes of viewers that want to be alone"),
    OPTION(STRING, struct vnc_config, id, .help = "name of the server"),
    OPTION_END,
};

/* ---------------------------------------------------------------- looking */

static void look(void *opaque);

static void arm(struct vnc *vnc)
{
    loop_timer_arm(&vnc->display->thread.loop, &vnc->timer, vnc->interval_ns, look, vnc);
}

/* While nothing happens the looks become rarer, without a viewer that waits there are none. */
static void look(void *opaque)
{
    struct vnc *vnc = opaque;
    bool waits = false;
    vnc->changed = false;
    display_refresh(vnc->display);
    vnc->interval_ns =
        vnc->changed ? INTERVAL_MIN_NS : MIN(vnc->interval_ns * 3 / 2, INTERVAL_MAX_NS);
    list_for_each_safe (node, &vnc->clients) {
        struct vnc_client *client = vnc_client_of(node);
        if (!vnc_client_update(client))
            vnc_client_free(client);
        else
            waits = waits || vnc_client_waits(client);
    }
    if (waits)
        arm(vnc);
}

void vnc_look_soon(struct vnc *vnc)
{
    bool sooner = vnc->interval_ns > INTERVAL_MIN_NS;
    vnc->interval_ns = INTERVAL_MIN_NS;
    if (sooner || !vnc->timer.loop)
        arm(vnc);
}

static void damaged(void *opaque, const struct display_rect *rect)
{
    struct vnc *vnc = opaque;
    vnc->changed = true;
    list_for_each (node, &vnc->clients)
        vnc_client_damage(vnc_client_of(node), rect);
}

static void resized(void *opaque)
{
    struct vnc *vnc = opaque;
    vnc->changed = true;
    list_for_each (node, &vnc->clients)
        vnc_client_resized(vnc_client_of(node));
}

static void stirred(void *opaque)
{
    struct vnc *vnc = opaque;
    list_for_each (node, &vnc->clients) {
        if (vnc_client_waits(vnc_client_of(node))) {
            vnc_look_soon(vnc);
            return;
        }
    }
}

/* Somebody copied a text. */
static void copied(void *opaque)
{
    struct vnc *vnc = opaque;
    list_for_each_safe (node, &vnc->clients) {
        struct vnc_client *client = vnc_client_of(node);
        vnc_clipboard_look(client);
        if (!vnc_client_update(client))
            vnc_client_free(client);
    }
}

void vnc_join_clipboard(struct vnc *vnc)
{
    if (vnc->clipboard || !vnc->machine->platform.clipboard)
        return;
    vnc->clipboard = vnc->machine->platform.clipboard;
    vnc->clipboard_work = (struct loop_work){.fn = copied, .opaque = vnc};
    clipboard_join(vnc->clipboard, CLIPBOARD_VIEWERS, &vnc->display->thread.loop,
                   &vnc->clipboard_work);
}

static const struct display_viewer_ops viewer_ops = {
    .damaged = damaged, .resized = resized, .stirred = stirred};

/* ---------------------------------------------------------------- QMP */

static const struct device_ops device_ops;

struct vnc *vnc_find(struct machine *machine)
{
    list_for_each (node, &machine->devices) {
        struct device *device = list_entry(node, struct device, node);
        if (device->ops == &device_ops)
            return container_of(device, struct vnc, device);
    }
    return NULL;
}

/* What the control thread wants done on the display's. */
struct change {
    struct vnc *vnc;
    const char *password;
    int64_t until;
    int fd;
    unsigned kind;
    bool done;
};

static void change_password(void *opaque)
{
    struct change *change = opaque;
    change->vnc->needs_password = true;
    snprintf(change->vnc->password, sizeof(change->vnc->password), "%s", change->password);
}

int vnc_set_password(struct vnc *vnc, const char *password, struct kv_error *err)
{
    if (!vnc->has_passwords)
        return kv_error_set(err, KV_ERR_DEVICE, ENOENT,
                            "there was no libnettle for passwords when the machine was started");
    struct change change = {.vnc = vnc, .password = password};
    loop_call(&vnc->display->thread.loop, change_password, &change);
    return 0;
}

static void change_end(void *opaque)
{
    struct change *change = opaque;
    change->vnc->password_until = change->until;
}

void vnc_expire_password(struct vnc *vnc, int64_t until)
{
    struct change change = {.vnc = vnc, .until = until};
    loop_call(&vnc->display->thread.loop, change_end, &change);
}

static void add_viewer(void *opaque)
{
    struct change *change = opaque;
    change->done = vnc_client_add(change->vnc, change->fd, change->kind);
}

int vnc_add_viewer(struct vnc *vnc, int fd, bool trusted)
{
    struct change change = {.vnc = vnc, .fd = fd, .kind = trusted ? VNC_TRUSTED : 0};
    fd_set_nonblocking(fd, true);
    loop_call(&vnc->display->thread.loop, add_viewer, &change);
    return change.done ? 0 : -ENOSPC;
}

json_t *vnc_describe(struct vnc *vnc)
{
    const struct vnc_listener *plain = &vnc->plain;
    const char *colon = strrchr(plain->address, ':');
    bool tcp = !plain->path && colon && strncmp(plain->address, "fd:", 3) != 0;
    return json_pack("{s:b, s:s, s:s, s:s%, s:s}", "enabled", 1, "auth",
                     vnc_auth_name(vnc->tls, vnc->needs_password), "family", tcp ? "ipv4" : "unix",
                     "host", plain->address,
                     tcp ? (size_t)(colon - plain->address) : strlen(plain->address), "service",
                     tcp ? colon + 1 : "");
}

/* ---------------------------------------------------------------- socket */

static void on_viewer(void *opaque, uint32_t events)
{
    struct vnc_listener *listener = opaque;
    struct vnc *vnc = listener->vnc;
    int on = 1, fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* refused on unix sockets */
    vnc_client_add(vnc, fd, listener == &vnc->websocket ? VNC_WEBSOCKET : 0);
}

static int listen_tcp(const char *text, struct kv_error *err)
{
    const char *colon = strrchr(text, ':');
    cleanup_free char *host = colon ? strndup(text, (size_t)(colon - text)) : NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int on = 1;
    size_t len = host ? strlen(host) : 0;
    char *address = host;
    if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        address++;
    }
    if (!host || getaddrinfo(*address ? address : NULL, colon + 1, &hints, &found) != 0)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "listen '%s' is no address; accepted: 127.0.0.1:5900, [::1]:5900, "
                            "unix:PATH, fd:N, none",
                            text);
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    int rc = 0;
    if (fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0)
        rc = kv_error_errno(err, KV_ERR_DEVICE, errno, "listen '%s'", text);
    freeaddrinfo(found);
    if (rc < 0 && fd >= 0)
        close(fd);
    return rc < 0 ? rc : fd;
}

static int open_socket(struct vnc_listener *listener, struct kv_error *err)
{
    const char *text = listener->address;
    if (strcmp(text, "none") == 0)
        return 0;
    if (strncmp(text, "unix:", 5) == 0) {
        listener->fd = fd_listen_unix(text + 5, err);
        if (listener->fd < 0)
            return listener->fd;
        jail_remove_at_exit(text + 5);
        listener->path = strdup(text + 5);
        return 0;
    }
    if (sscanf(text, "fd:%d", &listener->fd) == 1) {
        int rc = fd_set_nonblocking(listener->fd, true);
        return rc < 0 ? kv_error_errno(err, KV_ERR_DEVICE, -rc, "listen '%s'", text) : 0;
    }
    listener->fd = listen_tcp(text, err);
    return MIN(listener->fd, 0);
}

/* NULL: nobody is waited for. */
static int open_listener(struct vnc *vnc, struct vnc_listener *listener, const char *address,
                         struct kv_error *err)
{
    if (!address)
        return 0;
    listener->address = strdup(address);
    if (!listener->address)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "vnc: out of memory");
    int rc = open_socket(listener, err);
    if (rc < 0 || listener->fd < 0)
        return rc;
    rc = loop_add(&vnc->display->thread.loop, &listener->source, listener->fd, EPOLLIN, on_viewer,
                  listener);
    return rc < 0 ? kv_error_errno(err, KV_ERR_DEVICE, -rc, "listen '%s'", address) : 0;
}

static void close_listener(struct vnc_listener *listener)
{
    if (listener->fd >= 0)
        close(listener->fd);
    if (listener->path)
        unlink(listener->path); /* in the jail there is nothing at that name */
    free(listener->path);
    free(listener->address);
}

/* ---------------------------------------------------------------- device */

void vnc_init(struct vnc *vnc, struct machine *machine)
{
    vnc->machine = machine;
    vnc->display = machine->platform.display;
    vnc->name = machine->config.name ? machine->config.name : "kvasir";
    vnc->plain = vnc->websocket =
        (struct vnc_listener){.vnc = vnc, .fd = -1, .source = LOOP_SOURCE_INIT};
    vnc->interval_ns = INTERVAL_MIN_NS;
    list_init(&vnc->clients);
    vnc->display->viewer = &viewer_ops;
    vnc->display->viewer_opaque = vnc;
}

static void end_on_thread(void *opaque)
{
    struct vnc *vnc = opaque;
    vnc->display->viewer = NULL;
    if (vnc->clipboard)
        clipboard_leave(vnc->clipboard, CLIPBOARD_VIEWERS);
    loop_remove(&vnc->plain.source);
    loop_remove(&vnc->websocket.source);
    loop_timer_cancel(&vnc->timer);
    list_for_each_safe (node, &vnc->clients)
        vnc_client_free(vnc_client_of(node));
}

void vnc_end(struct vnc *vnc)
{
    loop_call(&vnc->display->thread.loop, end_on_thread, vnc);
}

static void free_device(struct device *device)
{
    struct vnc *vnc = container_of(device, struct vnc, device);
    vnc_end(vnc);
    close_listener(&vnc->plain);
    close_listener(&vnc->websocket);
    tls_server_free(vnc->tls);
    explicit_bzero(vnc->password, sizeof(vnc->password));
    free(vnc);
}

static const struct device_ops device_ops = {
    .type = "vnc",
    .free = free_device,
};

/* What the sockets' viewers need of libraries and files, before the jail. */
static int prepare(struct vnc *vnc, const struct vnc_config *config, struct kv_error *err)
{
    struct kv_error missing;
    vnc->has_passwords = vnc_password_load(config->password ? err : &missing) == 0;
    if (config->password && !vnc->has_passwords)
        return -ENOENT;
    if (vnc_zlib_load(&missing) < 0)
        log_info("vnc: pictures are not compressed: %s", missing.message);
    if (config->websocket && strncmp(config->websocket, "unix:", 5) == 0)
        return kv_error_set(err, KV_ERR_CONFIG, EINVAL,
                            "websocket '%s': a browser has no unix sockets; accepted: "
                            "127.0.0.1:5700, [::1]:5700, fd:N",
                            config->websocket);
    int rc = config->websocket ? vnc_websocket_load(err) : 0;
    if (rc == 0 && config->tls_dir)
        rc = tls_server_open_x509(&vnc->tls, config->tls_dir, config->tls_verify, err);
    if (rc == 0 && config->tls_verify && !config->tls_dir)
        rc = kv_error_set(err, KV_ERR_CONFIG, EINVAL, "tls-verify comes with tls-dir");
    return rc;
}

static int vnc_create(struct machine *machine, const void *opaque, struct kv_error *err)
{
    const struct vnc_config *config = opaque;
    if (!machine->platform.display)
        return kv_error_set(err, KV_ERR_DEVICE, EINVAL,
                            "there is no screen to be seen; accepted: --vga before it");
    struct vnc *vnc = calloc(1, sizeof(*vnc));
    if (!vnc)
        return kv_error_set(err, KV_ERR_DEVICE, ENOMEM, "vnc: out of memory");
    vnc_init(vnc, machine);
    vnc->share = (enum vnc_share)config->share;
    vnc->needs_password = config->password;
    snprintf(vnc->password, sizeof(vnc->password), "%s", config->password ? config->password : "");
    int rc = prepare(vnc, config, err);
    if (rc == 0)
        rc = device_register(machine, &vnc->device, &device_ops, config->id, err);
    if (rc == 0) {
        rc = open_listener(vnc, &vnc->plain, config->listen, err);
        if (rc == 0)
            rc = open_listener(vnc, &vnc->websocket, config->websocket, err);
        if (rc < 0)
            device_unregister(&vnc->device);
    }
    if (rc < 0)
        free_device(&vnc->device);
    return rc;
}

const struct device_class vnc_class = {
    .option = "vnc",
    .implied = "listen",
    .help = "viewers of the screen by VNC",
    .options = vnc_options,
    .config_size = sizeof(struct vnc_config),
    .create = vnc_create,
    .max = 1,
};
