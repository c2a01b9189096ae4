/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Serial ports, consoles and channels of a domain: the host's ends are opened
 * here and handed over, but for pseudo-terminals, which the monitor makes so
 * that they live as long as it does.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/util.h"
#include "daemon/machine/config.h"
#include "daemon/machine/machine_internal.h"
#include "model/api_error.h"

#define CONNECT_MS 5000

/* --------------------------------------------------------------------- sockets */

static int bind_socket(int fd, const struct addrinfo *address)
{
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, address->ai_addr, address->ai_addrlen) < 0)
        return -errno;
    return address->ai_socktype == SOCK_STREAM && listen(fd, 1) < 0 ? -errno : 0;
}

static int connect_socket(int fd, const struct addrinfo *address)
{
    const struct timeval patience = {.tv_sec = CONNECT_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0)
        return errno == EINPROGRESS ? -ETIMEDOUT : -errno;
    return 0;
}

int config_open_inet(const char *host, const char *service, int type, bool listens,
                     struct kv_error *err)
{
    struct addrinfo hints = {.ai_socktype = type, .ai_flags = listens ? AI_PASSIVE : 0}, *list;
    int code = getaddrinfo(host, service, &hints, &list);
    if (code)
        return api_error(err, VIR_ERR_SYSTEM_ERROR, "address '%s:%s': %s", host ? host : "",
                         service ? service : "", gai_strerror(code));
    int rc = -EADDRNOTAVAIL, fd = -1;
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
        rc = fd < 0 ? -errno : listens ? bind_socket(fd, a) : connect_socket(fd, a);
        if (rc < 0 && fd >= 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(list);
    return fd >= 0 ? fd
                   : kv_error_errno(err, KV_ERR_CONTROL, -rc, "address '%s:%s'", host ? host : "",
                                    service ? service : "");
}

/* ------------------------------------------------------------- one host's end */

struct end {
    struct plan *plan;
    struct model_domain *domain;
    struct model_chardev *chardev;
    const char *alias;
    json_t *fact; /* for the record: "type", and "path" where one can connect */
};

static int refuse(const struct end *end, const char *what, struct kv_error *err)
{
    return api_error(err, VIR_ERR_CONFIG_UNSUPPORTED, "character device '%s': %s", end->alias,
                     what);
}

static int open_path(const struct end *end, int flags, struct kv_error *err)
{
    const char *path = end->chardev->path;
    if (!path)
        return refuse(end, "a path is missing", err);
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    return fd < 0 ? kv_error_errno(err, KV_ERR_CONTROL, errno, "Unable to open file: %s", path)
                  : fd;
}

static int open_file(struct end *end, struct kv_error *err)
{
    return open_path(end, O_WRONLY | O_CREAT | O_APPEND | (end->chardev->append ? 0 : O_TRUNC),
                     err);
}

/* A terminal of the host becomes a plain line. */
static int open_device(struct end *end, struct kv_error *err)
{
    struct termios raw;
    int fd = open_path(end, O_RDWR, err);
    if (fd >= 0 && tcgetattr(fd, &raw) == 0) {
        cfmakeraw(&raw);
        tcsetattr(fd, TCSANOW, &raw);
    }
    return fd;
}

static int open_pipe(struct end *end, struct kv_error *err)
{
    return open_path(end, O_RDWR, err); /* both ways, so that it has no end */
}

static int open_unix(struct end *end, struct kv_error *err)
{
    struct model_chardev *chardev = end->chardev;
    char own[512];
    if (!chardev->listen && !chardev->path)
        return refuse(end, "a path is missing", err);
    if (!chardev->listen) {
        int fd = fd_connect_unix(chardev->path);
        return fd >= 0 ? fd
                       : kv_error_errno(err, KV_ERR_CONTROL, -fd, "character device '%s': '%s'",
                                        end->alias, chardev->path);
    }
    if (!chardev->path) {
        snprintf(own, sizeof(own), "%s/%s.%s", end->plan->host->run_dir, end->plan->uuid,
                 end->alias);
        int rc = model_chardev_set_path(end->domain, chardev, own);
        if (rc < 0)
            return api_error(err, VIR_ERR_NO_MEMORY, NULL);
    }
    json_object_set_new(end->fact, "path", json_string(chardev->path));
    return plan_listen(end->plan, chardev->path, err);
}

static int open_tcp(struct end *end, struct kv_error *err)
{
    const struct model_chardev *chardev = end->chardev;
    if (chardev->telnet)
        return refuse(end, "telnet is not possible; raw is", err);
    return config_open_inet(chardev->host, chardev->service, SOCK_STREAM, chardev->listen, err);
}

static int open_udp(struct end *end, struct kv_error *err)
{
    const struct model_chardev *chardev = end->chardev;
    int fd = -1;
    if (chardev->bind_host || chardev->bind_service)
        return refuse(end, "a source address of UDP is not possible", err);
    fd = config_open_inet(chardev->host, chardev->service, SOCK_DGRAM, false, err);
    return fd;
}

static const struct {
    const char *type;
    int (*open)(struct end *end, struct kv_error *err); /* NULL: text says it all */
    const char *text;
} ends[] = {
    [MODEL_CHARDEV_NULL] = {"null", NULL, "null"},
    [MODEL_CHARDEV_PTY] = {"pty", NULL, "pty"},
    [MODEL_CHARDEV_FILE] = {"file", open_file},
    [MODEL_CHARDEV_DEV] = {"dev", open_device},
    [MODEL_CHARDEV_PIPE] = {"pipe", open_pipe},
    [MODEL_CHARDEV_UNIX] = {"unix", open_unix},
    [MODEL_CHARDEV_TCP] = {"tcp", open_tcp},
    [MODEL_CHARDEV_UDP] = {"udp", open_udp},
    [MODEL_CHARDEV_VDAGENT] = {"qemu-vdagent", NULL, "vdagent"},
    [MODEL_CHARDEV_STDIO] = {"stdio", NULL, NULL},
};

static int open_end(struct end *end, json_t **out, struct kv_error *err)
{
    unsigned type = (unsigned)end->chardev->type;
    if (type >= ARRAY_SIZE(ends) || (!ends[type].open && !ends[type].text))
        return refuse(end, "a daemon has no standard input and output", err);
    if (end->chardev->reconnect)
        return refuse(end, "reconnecting is not possible", err);
    json_object_set_new(end->fact, "type", json_string(ends[type].type));
    if (ends[type].text) {
        bool idle = type == MODEL_CHARDEV_VDAGENT && !end->chardev->clipboard;
        *out = json_string(idle ? "null" : ends[type].text);
        return 0;
    }
    int fd = ends[type].open(end, err);
    if (fd < 0)
        return fd;
    *out = plan_fd_text(end->plan, fd, err);
    return *out ? 0 : -ENOMEM;
}

/* -------------------------------------------------------------------- logs */

/* The monitor keeps LOG_FILES files of LOG_BYTES by itself: it can do so without the daemon. */
#define LOG_BYTES "2M"
#define LOG_FILES 4

static int add_log(struct end *end, json_t *options, struct kv_error *err)
{
    const char *path = end->chardev->log;
    char numbers[LOG_FILES * 12] = "", name[512];
    size_t len = 0;
    for (unsigned i = 0; path && i < LOG_FILES; i++) {
        int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW;
        snprintf(name, sizeof(name), i ? "%s.%u" : "%s", path, i - 1);
        int fd = open(name, flags | (end->chardev->log_append ? 0 : O_TRUNC), 0600);
        if (fd < 0)
            return kv_error_errno(err, KV_ERR_CONTROL, errno, "Unable to open file: %s", name);
        int rc = plan_add_fd(end->plan, fd, err);
        if (rc < 0)
            return rc;
        len += (size_t)snprintf(numbers + len, sizeof(numbers) - len, i ? ":%d" : "%d", fd);
    }
    if (path) {
        config_set_text(options, "log-fds", numbers);
        config_set_text(options, "log-size", LOG_BYTES);
    }
    return 0;
}

/* ------------------------------------------------------------------ the devices */

static int add_device(struct end *end, const char *option, json_t *options, struct kv_error *err)
{
    json_t *text = NULL;
    int rc = open_end(end, &text, err);
    if (rc == 0) {
        json_object_set_new(options, "chardev", text);
        rc = add_log(end, options, err);
    }
    if (rc == 0)
        rc = plan_note(end->plan, "chardevs", end->alias, json_incref(end->fact), err);
    if (rc < 0) {
        json_decref(options);
        return rc;
    }
    return plan_add(end->plan, option, options, err);
}

/* The channel that the daemon itself speaks on: one where it can connect. */
static void note_agent(struct plan *plan, const struct end *end)
{
    const json_t *path = json_object_get(end->fact, "path");
    if (path)
        json_object_set_new(plan->record.json, "agent",
                            json_pack("{s:s, s:O}", "alias", end->alias, "path", path));
}

static int add_one(struct plan *plan, struct model_domain *domain, struct model_chardev *chardev,
                   const char *option, const char *fallback, unsigned index, struct kv_error *err)
{
    char alias[64];
    snprintf(alias, sizeof(alias), "%s%u", fallback, index);
    struct end end = {.plan = plan, .domain = domain, .chardev = chardev};
    end.alias = chardev->device.alias ? chardev->device.alias : alias;
    end.fact = json_object();
    json_t *options = json_pack("{s:s}", "id", end.alias);
    if (chardev->device.kind == MODEL_CHANNEL)
        config_set_text(options, "name", chardev->name);
    for (unsigned i = 0; chardev->device.kind != MODEL_SERIAL && i < domain->controller_count;
         i++) {
        if (strcmp(domain->controllers[i].type, "virtio-serial") == 0)
            config_set_slot(options, &domain->controllers[i].device);
    }
    int rc = add_device(&end, option, options, err);
    if (rc == 0 && chardev->name && strcmp(chardev->name, MACHINE_AGENT_CHANNEL) == 0)
        note_agent(plan, &end);
    json_decref(end.fact);
    return rc;
}

/* A console that is the first serial port: whoever asks for it gets that. */
static int note_twin(struct plan *plan, const struct model_domain *domain,
                     const struct model_chardev *console, struct kv_error *err)
{
    const char *alias = console->device.alias ? console->device.alias : "console0";
    const char *serial = domain->serial_count && domain->serials[0].device.alias
                             ? domain->serials[0].device.alias
                             : "serial0";
    return plan_note(plan, "twins", alias, json_string(serial), err);
}

int config_add_chardevs(struct plan *plan, struct model_domain *domain, struct kv_error *err)
{
    int rc = 0;
    for (unsigned i = 0; rc == 0 && i < domain->serial_count; i++)
        rc = add_one(plan, domain, &domain->serials[i], "serial", "serial", i, err);
    for (unsigned i = 0; rc == 0 && i < domain->console_count; i++) {
        struct model_chardev *console = &domain->consoles[i];
        if (console->twin) {
            rc = note_twin(plan, domain, console, err);
        } else {
            rc = add_one(plan, domain, console, "console", "console", i, err);
        }
    }
    for (unsigned i = 0; rc == 0 && i < domain->channel_count; i++)
        rc = add_one(plan, domain, &domain->channels[i], "port", "channel", i, err);
    if (rc < 0)
        return rc;
    /* virsh console without a name: libvirt takes the first console, else the first serial port. */
    const char *first = domain->console_count && !domain->consoles[0].twin
                            ? domain->consoles[0].device.alias
                        : domain->serial_count ? domain->serials[0].device.alias
                                               : NULL;
    if (first)
        json_object_set_new(plan->record.json, "first-console", json_string(first));
    return 0;
}
