/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The new process's side of an upgrade in place; see upgrade.h. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "switch/ports/inherited.h"
#include "switch/upgrade/upgrade.h"

#define ANSWER_MAX 4096

/* --- Asking ---------------------------------------------------------------------- */

/* The next line, without descriptors; -errno. */
static int read_line(int fd, char *line, size_t room)
{
    for (size_t len = 0; len + 1 < room; len++) {
        int rc = fd_read_all(fd, line + len, 1);
        if (rc < 0)
            return rc;
        if (line[len] == '\n') {
            line[len] = '\0';
            return 0;
        }
    }
    return -EPROTO;
}

int upgrade_begin(struct upgrade *upgrade, struct kv_error *err)
{
    static const char capabilities[] = "{\"execute\": \"qmp_capabilities\"}\n";
    char line[ANSWER_MAX];
    int pair[2], fd = fd_connect_unix(upgrade->control);
    if (fd < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, -fd, "--take-over: no switch at '%s'",
                              upgrade->control);
    upgrade->control_fd = fd;
    int rc = channel_set_timeout(fd);
    if (rc == 0)
        rc = read_line(fd, line, sizeof(line));
    if (rc == 0)
        rc = fd_write_all(fd, capabilities, strlen(capabilities));
    if (rc == 0)
        rc = read_line(fd, line, sizeof(line));
    if (rc == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        rc = -errno;
    if (rc < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, -rc, "--take-over: the switch at '%s'",
                              upgrade->control);
    upgrade->channel_fd = pair[0];
    upgrade->peer_fd = pair[1];
    return 0;
}

/* Why the old one does not hand over, or goes on. */
static int refused(const struct upgrade *upgrade, struct kv_error *err)
{
    char line[ANSWER_MAX];
    const char *why = NULL;
    json_t *answer =
        read_line(upgrade->control_fd, line, sizeof(line)) == 0 ? json_loads(line, 0, NULL) : NULL;
    json_unpack(answer, "{s:{s:s}}", "error", "desc", &why);
    kv_error_set(err, KV_ERR_CONTROL, EPROTO, "--take-over: the running switch goes on: %s",
                 why ? why : "it says nothing");
    json_decref(answer);
    return -EPROTO;
}

int upgrade_receive(struct upgrade *upgrade, struct kv_error *err)
{
    static const char request[] = "{\"execute\": \"hand-over\"}\n";
    int *fds = NULL, channel = upgrade->channel_fd;
    size_t fd_count = 0;
    ssize_t n = fd_send(upgrade->control_fd, request, strlen(request), &upgrade->peer_fd, 1);
    close(upgrade->peer_fd);
    upgrade->peer_fd = -1;
    if (n < 0 || channel_set_timeout(channel) < 0)
        return kv_error_errno(err, KV_ERR_CONTROL, EPIPE, "--take-over: the running switch");
    /* What it answers is a refusal: a switch that hands over says nothing before it ends. */
    struct pollfd wait[] = {{.fd = channel, .events = POLLIN},
                            {.fd = upgrade->control_fd, .events = POLLIN}};
    if (poll(wait, 2, CHANNEL_TIMEOUT_S * 1000) <= 0 || !(wait[0].revents & POLLIN))
        return refused(upgrade, err);
    upgrade->tables = BUFFER_INIT(CHANNEL_BYTES_MAX);
    int rc = channel_receive(channel, &upgrade->state, &fds, &fd_count, &upgrade->tables, err);
    json_t *ports = upgrade_ports(json_object_get(upgrade->state, "bridges"));
    inherited_begin(json_object_get(upgrade->state, "names"), ports, fds, fd_count);
    json_decref(ports);
    return rc < 0 ? kv_error_prefix(err, "--take-over") : 0;
}

/* --- Becoming what the other one was ---------------------------------------------- */

int upgrade_configure(struct upgrade *upgrade, struct kv_error *err)
{
    json_t *config = json_object_get(upgrade->state, "config");
    int rc = upgrade->ovsdb->sw ? vswitch_configure_filters(upgrade->sw, config, err)
                                : vswitch_configure_object(upgrade->sw, config, err);
    return rc < 0 ? kv_error_prefix(err, "--take-over") : 0;
}

int upgrade_finish(struct upgrade *upgrade, struct kv_error *err)
{
    const json_t *state = upgrade->state;
    json_t *report = json_object();
    int rc = upgrade_restore_bridges(upgrade->sw, json_object_get(state, "bridges"),
                                     &upgrade->tables, report, err);
    if (rc == 0 && (channel_say(upgrade->channel_fd, CHANNEL_READY) < 0 ||
                    channel_hear(upgrade->channel_fd, CHANNEL_GO) < 0))
        rc = refused(upgrade, err);
    if (rc < 0) {
        json_decref(report);
        return kv_error_prefix(err, "--take-over");
    }
    int64_t still_ns =
        clock_monotonic_ns() - json_integer_value(json_object_get(state, "paused-ns"));
    json_object_set(report, "from", json_object_get(state, "process"));
    json_object_set(report, "version", json_object_get(state, "version"));
    json_object_set_new(report, "still-us", json_integer((json_int_t)(still_ns / 1000)));
    upgrade->report = report;
    log_info("took over from process %lld: no frames moved for %lld us",
             (long long)json_integer_value(json_object_get(state, "process")),
             (long long)(still_ns / 1000));
    return 0;
}

void upgrade_end(struct upgrade *upgrade)
{
    inherited_end();
    if (upgrade->control_fd >= 0)
        close(upgrade->control_fd);
    if (upgrade->channel_fd >= 0)
        close(upgrade->channel_fd);
    upgrade->control_fd = upgrade->channel_fd = -1;
    json_decref(upgrade->state);
    upgrade->state = NULL;
    buffer_free(&upgrade->tables);
}
